//! Tasks: what a model is asked, and how its answers are scored.
//!
//! A [`Task`] is data, two templates and a [`Method`]; [`Task::prepare`] makes [`Prepared`] tokens of it for a tokenizer, once
//! for all candidates that share it (see [`Memory`]); [`score`] asks a model and gives a [`Score`]: the mean, and a [`Record`] for each row.
//! Higher is better. An example's score depends on that example alone, to the bit: not on its neighbours, the batch or the
//! threads; the mean adds them in the order of the rows.

pub mod bind;
mod choices;
mod error;
mod extract;
pub mod import;
mod language;
mod memory;
mod passes;
mod score;
mod trial;

#[cfg(test)]
mod tests;

pub use choices::{AnswerForm, Choices, Compare};
pub use error::TaskError;
pub use extract::{Extract, Pattern};
pub use import::Filtered;
pub use language::Tongue;
pub use memory::Memory;
pub use passes::{COMPLETION, Language, Passes, Trials, Untried, pass_at};
pub use score::{Method, Prepared, Record, Score, Task, score};
pub use trial::{Order, Trial, TrialKind, TrialLimits, Verdict};
