//! What `.evo` programs can call: one folder a family, its declarations beside the Rust that implements them.
//!
//! In reading order: [`model`] (models and their files), [`plot`] (pictures as text).

pub mod model;
pub mod plot;
