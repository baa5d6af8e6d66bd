//! Training: a model tuned on examples.
//!
//! In reading order: [`examples`] (rows to tokens), [`network`] (what of a model is trained), [`Settings`] (how to train; [`Settings::rate_at`] is the schedule), [`train`]
//! (the loop), [`TrainError`]. The gradients are those of [`evo_kernels::backprop`].

pub mod bind;
mod error;
mod examples;
pub mod network;
pub mod objective;
mod run;
mod settings;

#[cfg(test)]
mod tests;

pub use error::TrainError;
pub use examples::{Example, examples};
pub use objective::{Learned, NextToken, Objective};
pub use run::{Event, train};
pub use settings::Settings;
