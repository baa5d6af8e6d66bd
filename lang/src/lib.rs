//! `evo-lang` turns `.evo` text into checked programs and machine code.
//!
//! It knows no files, no tensors, and no builtin beyond its declaration.

pub mod codegen;
pub mod diag;
pub mod fmt;
pub mod golden;
pub mod hir;
pub mod ide;
pub mod ir;
pub mod library;
mod lint;
pub mod plan;
mod resolve;
pub mod span;
pub mod syntax;
pub mod types;

pub use resolve::{Checked, Loader, Missing, check, check_with, folder_text, is_public_name, join};
