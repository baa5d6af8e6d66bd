//! What `.evo` programs can call: one folder a family, its declarations beside the Rust that implements them.
//!
//! In reading order: [`model`] (models and their files), [`data`] (tables and where they come from), [`plot`] (pictures as
//! text).

pub mod data;
pub mod model;
pub mod plot;
pub mod train;
