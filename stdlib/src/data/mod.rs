//! Data: immutable tables, where they come from (files, generators) and how they are cut.
//!
//! [`Data`] is the table every task and training reads. [`jsonl()`], [`delimited()`] and [`parquet()`] load one from
//! a file, [`word_problems`] and
//! [`sentences`] make one from a seed, [`Data::first`], [`Data::last`], [`Data::concat`], [`Data::mixture`], [`Data::with_columns`], [`Data::shuffle`] and
//! [`Data::split`] cut and join them, and [`Template`] turns a row into text.

pub mod bind;
mod delimited;
mod error;
mod facts;
mod jsonl;
mod mixture;
mod near;
mod parquet;
mod sentences;
mod table;
mod template;
mod word_problems;
mod wordings;

pub use delimited::{Delimited, delimited};
pub use error::{At, DataError};
pub use facts::DataFacts;
pub(crate) use facts::problem;
pub use jsonl::jsonl;
pub use mixture::{Ends, mixed_rows};
pub use parquet::parquet;
pub use sentences::{Sentences, sentences};
pub use table::{Cell, Data, Row};
pub use template::Template;
pub use word_problems::{Operation, WordProblems, word_problems};
pub use wordings::{Language, template_count};
