//! `evo logits`: one JSON object on stdout and nothing else.

use std::path::Path;

use evo_lang::diag::Code;
use evo_stdlib::model::{self, DType, Model, ModelError, Place, Prompt, Tensor};

use super::args::{Dtype, LogitsArgs};
use super::{Stop, screen};
use crate::engine::{Engine, Failure};

/// Prints the prompt's ids, the logits of its last position, and the greedy continuation.
pub(super) fn logits(args: &LogitsArgs) -> Result<u8, Stop> {
    let prompt = match (&args.text, &args.tokens) {
        (Some(text), _) => Prompt::Text(text),
        (None, tokens) => Prompt::Tokens(tokens.as_deref().unwrap_or_default()),
    };
    let engine = Engine::new();
    let device = engine.device(args.device.name.as_deref())?;
    let place = Place { threads: engine.jobs(), device, ..Place::default() };
    let model = open(&args.model, args.dtype).map_err(refused)?;
    let told = model::logits(&model, prompt, args.greedy, place).map_err(refused)?;
    screen::json(&told)?;
    Ok(0)
}

fn refused(error: ModelError) -> Failure {
    let code = Code::find(error.code()).unwrap_or(Code::E0401);
    Failure::placeless(2, code, error.to_string(), error.help())
}

/// Loads a Hugging Face directory or a GGUF file. Weights that are not numbers, or are none any more once they are
/// rounded, are refused: their logits mean nothing.
fn open(path: &Path, dtype: Option<Dtype>) -> Result<Model, ModelError> {
    let is_gguf = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"));
    let model = if is_gguf { model::gguf(path)? } else { model::hf(path)? };
    let model = match dtype {
        None => model,
        Some(Dtype::F32) => rounded(&model, DType::F32)?,
        Some(Dtype::Bf16) => rounded(&model, DType::BF16)?,
        Some(Dtype::F16) => rounded(&model, DType::F16)?,
    };
    model::check_finite(&model.tensors)?;
    Ok(model)
}

/// The model with its weights rounded to a type.
fn rounded(model: &Model, dtype: DType) -> Result<Model, ModelError> {
    let round = |(name, tensor): (&String, &Tensor)| {
        let values = tensor.to_f32().map(|values| values.into_owned());
        let tensor = values.and_then(|values| Tensor::from_f32_as(dtype, values, tensor.shape().to_vec()).ok());
        let unusable = || ModelError::Weights { what: format!("`{name}` cannot be rounded to {}", dtype.name()) };
        Ok((name.clone(), tensor.ok_or_else(unusable)?))
    };
    let tensors = model.tensors.iter().map(round).collect::<Result<_, ModelError>>()?;
    Ok(model.with_tensors(&*model.name, tensors, (*model.card).clone()))
}
