//! What can go wrong with a training.

use super::Divergence;
use crate::cx::Failure;
use crate::data::DataError;
use crate::model::ModelError;

/// A fault in a training's arguments, or its failure.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The data or a template does not fit.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The model has no tokenizer, or it failed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A setting is out of its domain.
    #[error("`{setting}` {problem}")]
    Setting {
        /// The setting's name.
        setting: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A part or a block that is to be trained is not there.
    #[error("`{model}` {problem}")]
    NoLayer {
        /// The model.
        model: String,
        /// What is not there, and what is.
        problem: String,
    },
    /// A weight is missing, has another shape, or is not a floating-point number.
    #[error("`{tensor}` of `{model}` {problem}")]
    Tensor {
        /// The model.
        model: String,
        /// The tensor's name.
        tensor: String,
        /// What is wrong with it.
        problem: String,
    },
    /// No example has a token to learn.
    #[error("the data has no token to learn")]
    NothingToLearn,
    /// An example is longer than the model's positions.
    #[error("row {row} has {tokens} tokens, `{model}` has {positions} positions")]
    TooLong {
        /// The row, counted from 0.
        row: usize,
        /// Its tokens.
        tokens: usize,
        /// The model.
        model: String,
        /// The model's positions.
        positions: usize,
    },
    /// A token id beyond the model's vocabulary.
    #[error("the tokenizer gives token {id}, `{model}` has {vocabulary} tokens")]
    UnknownToken {
        /// The id.
        id: u32,
        /// The model.
        model: String,
        /// The size of its vocabulary.
        vocabulary: usize,
    },
    /// Its loss or its gradient shows that it leads nowhere.
    #[error("training {} at step {step}: {what}", .what.verb())]
    Diverged {
        /// The step, counted from 1.
        step: usize,
        /// What is wrong.
        what: Divergence,
    },
    /// The checkpoint is of something else.
    #[error("the checkpoint for the training of `{model}` is of another training: it differs in its {part}")]
    OtherCheckpoint {
        /// The model that was to be trained.
        model: String,
        /// What differs.
        part: &'static str,
    },
    /// A checkpoint could not be read or written.
    #[error("{0}")]
    Checkpoint(Box<Failure>),
    /// The observer asked to stop.
    #[error("training was stopped after step {step}")]
    Stopped {
        /// The last finished step, counted from 1.
        step: usize,
    },
}
