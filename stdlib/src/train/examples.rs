//! Rows to token sequences.

use super::TrainError;
use crate::data::{Data, Template};
use crate::model::Model;

/// One sequence: what is given, then what is to be learned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// The prompt's tokens, the answer's, and the end token.
    pub tokens: Vec<u32>,
    /// How many of them are given; at least the first always is.
    pub given: usize,
}

/// The examples of all rows: `prompt` is given, `expected` and the model's end token (the first of
/// [`Model::stop_ids`], if it has one) are to be learned.
///
/// Prompt and answer are tokenised apart, so that learning and scoring see the tokens that generation sees. The prompt gets the
/// tokenizer's own special tokens (such as a begin token), the answer none. An empty prompt learns whole texts.
///
/// # Errors
/// [`TrainError::Data`] for an unknown column, [`TrainError::Model`] without a tokenizer, [`TrainError::TooLong`],
/// [`TrainError::UnknownToken`].
pub fn examples(
    model: &Model,
    data: &Data,
    prompt: &Template,
    expected: &Template,
) -> Result<Vec<Example>, TrainError> {
    let tokenizer = model.require_tokenizer()?;
    let end = model.stop_ids().first().copied();
    let rows = prompt.render_all(data)?.into_iter().zip(expected.render_all(data)?);
    let positions = model.config.max_positions;
    rows.enumerate()
        .map(|(row, (prompt, expected))| {
            let mut tokens = tokenizer.encode(&prompt, true)?;
            let given = tokens.len();
            tokens.extend(tokenizer.encode(&expected, false)?);
            tokens.extend(end);
            let name = || model.name.clone();
            if tokens.len() > positions {
                return Err(TrainError::TooLong { row, tokens: tokens.len(), model: name(), positions });
            }
            match tokens.iter().find(|id| **id as usize >= model.config.vocab_size) {
                Some(&id) => Err(TrainError::UnknownToken { id, model: name(), vocabulary: model.config.vocab_size }),
                None => Ok(Example { tokens, given }),
            }
        })
        .collect()
}
