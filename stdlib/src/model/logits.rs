//! The logits and the greedy continuation of one prompt: what `evo logits` shows, for checks against other runtimes.

use serde::Serialize;

use super::{Model, ModelError, Place};

/// A prompt: a text as it stands (no template, nothing added, special tokens recognised), or token ids.
#[derive(Clone, Copy, Debug)]
pub enum Prompt<'a> {
    /// Text.
    Text(&'a str),
    /// Ids.
    Tokens(&'a [u32]),
}

/// What `evo logits` tells.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Logits {
    /// The prompt's ids.
    pub tokens: Vec<u32>,
    /// All logits of the last prompt position, in the order of ids.
    pub last_logits: Vec<f32>,
    /// The greedy continuation, not stopped at an end token.
    pub greedy: Vec<u32>,
}

/// Runs `prompt` through `model` and continues it by exactly `greedy` tokens, in f32.
///
/// Errors: a text for a model without a tokenizer, an empty prompt, an id outside the vocabulary, prompt and continuation
/// longer than the model's positions.
pub fn logits(model: &Model, prompt: Prompt<'_>, greedy: usize, place: impl Into<Place>) -> Result<Logits, ModelError> {
    let tokens = match prompt {
        Prompt::Text(text) => model.require_tokenizer()?.encode(text, false)?,
        Prompt::Tokens(ids) => ids.to_vec(),
    };
    // What can be refused is refused before any weight is packed.
    let limit = model.config.max_positions;
    let vocab_size = model.config.vocab_size;
    let length = tokens.len().saturating_add(greedy);
    if tokens.is_empty() {
        return Err(ModelError::EmptyPrompt);
    }
    if length > limit {
        return Err(ModelError::TooLong { length, limit });
    }
    if let Some(&id) = tokens.iter().find(|&&id| id as usize >= vocab_size) {
        return Err(ModelError::TokenRange { id, vocab_size });
    }
    let place = place.into();
    let threads = place.threads;
    let decoder = model.decoder(place)?;
    let (last_logits, greedy) = decoder.continued(&tokens, greedy, threads)?;
    Ok(Logits { tokens, last_logits, greedy })
}
