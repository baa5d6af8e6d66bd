//! What `.evo` programs can call: one folder a family, its declarations beside the Rust that implements them.
//!
//! In reading order: [`model`] (models and their files).

pub mod model;
