//! `evo logits`: one JSON object on stdout and nothing else.

use std::path::Path;

use evo_stdlib::model::{self, Model, ModelError, Prompt};

use super::args::LogitsArgs;
use super::{Stop, screen};
use crate::engine::Engine;

/// Prints the prompt's ids, the logits of its last position, and the greedy continuation.
pub(super) fn logits(args: &LogitsArgs) -> Result<u8, Stop> {
    let prompt = match (&args.text, &args.tokens) {
        (Some(text), _) => Prompt::Text(text),
        (None, tokens) => Prompt::Tokens(tokens.as_deref().unwrap_or_default()),
    };
    let told = open(&args.model).and_then(|model| model::logits(&model, prompt, args.greedy, Engine::new().jobs()));
    match told {
        Ok(logits) => screen::json(&logits)?,
        Err(error) => {
            screen::note(&format!("error: {error}\n  help: {}", error.help()));
            return Ok(2);
        }
    }
    Ok(0)
}

/// Loads a Hugging Face directory or a GGUF file. Weights that are not numbers are refused: their logits mean nothing.
fn open(path: &Path) -> Result<Model, ModelError> {
    let is_gguf = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"));
    let model = if is_gguf { model::gguf(path)? } else { model::hf(path)? };
    model::check_finite(&model.tensors)?;
    Ok(model)
}
