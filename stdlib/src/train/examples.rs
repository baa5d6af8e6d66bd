//! Rows to token sequences.

use super::TrainError;
use crate::data::{Data, Template};
use crate::model::Model;

/// One sequence, and which of its tokens are to be learned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// Its tokens.
    pub tokens: Vec<u32>,
    /// For each token whether it is learned; the first never is, for nothing comes before it.
    pub learned: Vec<bool>,
}

impl Example {
    /// A sequence of which the first `given` tokens are given and the others learned.
    pub fn after(tokens: Vec<u32>, given: usize) -> Self {
        let learned = (0..tokens.len()).map(|i| i >= given.max(1)).collect();
        Self { tokens, learned }
    }

    /// How many of its tokens are learned.
    pub fn targets(&self) -> usize {
        self.learned.iter().skip(1).filter(|learned| **learned).count()
    }

    /// Whether `model` can take it, as row `row` of the data.
    ///
    /// # Errors
    /// [`TrainError::TooLong`], [`TrainError::UnknownToken`], [`TrainError::NoTarget`].
    pub(super) fn check(self, model: &Model, row: usize) -> Result<Self, TrainError> {
        let (name, positions, vocabulary) =
            (|| model.name.clone(), model.config.max_positions, model.config.vocab_size);
        if self.tokens.len() > positions {
            return Err(TrainError::TooLong { row, tokens: self.tokens.len(), model: name(), positions });
        }
        if let Some(&id) = self.tokens.iter().find(|id| **id as usize >= vocabulary) {
            return Err(TrainError::UnknownToken { id, model: name(), vocabulary });
        }
        if self.targets() == 0 { Err(TrainError::NoTarget { row }) } else { Ok(self) }
    }
}

/// The examples of all rows: `prompt` is given, `expected` and the model's end token (the first of
/// [`Model::stop_ids`], if it has one) are to be learned.
///
/// Prompt and answer are tokenised apart, so that learning and scoring see the tokens that generation sees. The prompt gets the
/// tokenizer's own special tokens (such as a begin token), the answer none. An empty prompt learns whole texts.
///
/// # Errors
/// [`TrainError::Data`] for an unknown column, [`TrainError::Model`] without a tokenizer, [`TrainError::TooLong`],
/// [`TrainError::UnknownToken`], [`TrainError::NoTarget`].
pub fn examples(
    model: &Model,
    data: &Data,
    prompt: &Template,
    expected: &Template,
) -> Result<Vec<Example>, TrainError> {
    let rows = prompt.render_all(data)?.into_iter().zip(expected.render_all(data)?);
    rows.enumerate().map(|(row, (prompt, expected))| example(model, row, &prompt, &expected)).collect()
}

/// The example of one row: a prompt and what is to be answered, up to the end token.
pub(super) fn example(model: &Model, row: usize, prompt: &str, expected: &str) -> Result<Example, TrainError> {
    let tokenizer = model.require_tokenizer()?;
    let mut tokens = tokenizer.encode(prompt, true)?;
    let given = tokens.len();
    tokens.extend(tokenizer.encode(expected, false)?);
    tokens.extend(model.stop_ids().first());
    Example::after(tokens, given).check(model, row)
}
