//! What `.evo` programs can call: one folder a family, its declarations beside the Rust that implements them.
//!
//! In reading order: [`model`] (models and their files), [`data`] (tables and where they come from), [`task`] (what models are
//! asked), [`train`] (tuning), [`plot`] (pictures as text).

pub mod data;
pub mod model;
pub mod plot;
pub mod task;
pub mod train;
