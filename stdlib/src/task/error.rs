//! What can go wrong with a task.

use evo_kernels::decode::DecodeError;

use crate::answer::FormError;
use crate::data::DataError;
use crate::model::ModelError;

/// A fault in a task, or the failure of its evaluation.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// The data or a template does not fit.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The model has no tokenizer, or it failed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The decoder refused the tokens.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The form of answers cannot be written by the model.
    #[error(transparent)]
    Form(FormError),
    /// The data has no row.
    #[error("a task needs at least one row of data")]
    Empty,
    /// A row's prompt or expected answer has no token.
    #[error("row {row} has an empty {what}")]
    NoTokens {
        /// The row, counted from 0.
        row: usize,
        /// `prompt` or `expected` answer.
        what: &'static str,
    },
    /// A row's prompt with its answer is longer than the model.
    #[error("row {row} has {tokens} tokens with its answer, more than the model's {limit} positions")]
    TooLong {
        /// The longest row, counted from 0.
        row: usize,
        /// Its tokens, with as many of an answer as it may have.
        tokens: usize,
        /// The model's positions.
        limit: usize,
    },
    /// A row has no two choices.
    #[error("row {row} has {found} of the two choices at least that a question needs")]
    FewChoices {
        /// The row, counted from 0.
        row: usize,
        /// How many it has.
        found: usize,
    },
    /// The expected answer names no choice, or several.
    #[error("the answer `{answer}` of row {row} {} the choices {}", if *several { "could be several of" } else { "is none of" }, listed(choices))]
    NoChoice {
        /// The row, counted from 0.
        row: usize,
        /// The answer.
        answer: String,
        /// The choices.
        choices: Vec<String>,
        /// Whether it could be several.
        several: bool,
    },
    /// No program could pass a row's trial.
    #[error("the programs for row {row} cannot be judged: {why}")]
    Unfit {
        /// The row, counted from 0.
        row: usize,
        /// What of the trial is at fault.
        why: String,
    },
    /// This system cannot run programs that models write.
    #[error("programs that a model writes cannot be run here: {why}")]
    Untried {
        /// Why.
        why: String,
    },
    /// A score is not finite: the model's weights are broken.
    #[error("the log-probability of row {row} is {value}")]
    NotFinite {
        /// The first such row, counted from 0.
        row: usize,
        /// Its value.
        value: f64,
    },
}

impl TaskError {
    /// The same of another row, where it is about one trial alone.
    pub(super) fn of_row(self, row: usize) -> Self {
        match self {
            Self::Unfit { why, .. } => Self::Unfit { row, why },
            other => other,
        }
    }
}

fn listed(choices: &[String]) -> String {
    choices.iter().map(|choice| format!("`{choice}`")).collect::<Vec<_>>().join(", ")
}
