//! Training: a model tuned on examples.
//!
//! In reading order: [`examples`] (rows to tokens), [`Update`] (what of a model is trained), [`network`] (from a model to that, and back), [`Settings`] (how to train; [`Settings::rate_at`] is the schedule), [`train`]
//! (the loop), [`TrainError`]. The gradients are those of [`evo_kernels::backprop`].

pub mod bind;
mod chat;
mod descent;
mod divergence;
mod error;
mod examples;
pub mod network;
pub mod objective;
mod record;
mod report;
mod run;
mod settings;
mod state;
mod update;

#[cfg(test)]
mod run_tests;
#[cfg(test)]
mod tests;

pub use chat::{Turns, chat_examples, conversations, two_turns};
pub use descent::{Descent, STEPS};
pub use divergence::Divergence;
pub use error::TrainError;
pub use examples::{Example, examples};
pub use objective::{Learned, NextToken, Objective, ObjectiveSpec};
pub use record::{Record, Step};
pub use run::{Checkpoints, Event, Training, train};
pub use settings::{Keep, Schedule, Settings};
pub use update::{Places, Update, UpdateMethod};
