//! One configurable transformer decoder for evaluating language models: inference only, in f32.
//!
//! In reading order: [`config`] (what makes one decoder another).

pub mod config;

pub use config::{Activation, Config, Norm, NormKind, Rope, RopeScaling};
