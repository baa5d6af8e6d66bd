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
    /// There is no example.
    #[error("the data has no token to learn")]
    NothingToLearn,
    /// An example has no token to learn.
    #[error("row {row} has no token to learn")]
    NoTarget {
        /// The row, counted from 0.
        row: usize,
    },
    /// A row's column holds no conversation, or one that cannot be learned.
    #[error("row {row}: {problem}")]
    Conversation {
        /// The row, counted from 0.
        row: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// All pairs are of equal answers, between which there is nothing to choose.
    #[error("the chosen answer of every pair is the rejected one too")]
    EqualPairs,
    /// Labels that cannot be told apart.
    #[error("{problem}")]
    Labels {
        /// What is wrong with them.
        problem: String,
    },
    /// The expected answer of a row is none of the labels.
    #[error("row {row} is `{found}`, which is no label")]
    NoLabel {
        /// The row, counted from 0.
        row: usize,
        /// The expected answer.
        found: String,
        /// The labels.
        labels: Vec<String>,
    },
    /// Two models whose tokens do not mean the same.
    #[error("`{model}` and `{other}` do not share a vocabulary: {} and {} tokens", sizes.0, sizes.1)]
    Vocabulary {
        /// The model that learns.
        model: String,
        /// The model that teaches, or that is the reference.
        other: String,
        /// The sizes of their vocabularies.
        sizes: (usize, usize),
    },
    /// A task that gives no reward for an answer.
    #[error("the task {problem}")]
    Reward {
        /// Why.
        problem: String,
    },
    /// The loss of pairs cannot be computed.
    #[error(transparent)]
    Loss(Box<crate::cx::Failure>),
    /// Answers could not be written or scored.
    #[error(transparent)]
    Task(Box<crate::task::TaskError>),
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
