//! `/v1/completions`: what comes after a prompt, and what a model makes of the prompt itself.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use evo_stdlib::answer::Ended;
use evo_stdlib::answer::service::Weighed;
use serde_json::{Map, Value, json};

use super::gather::{self, Answer, Asked, Shape, finish_reason};
use super::shared::Shared;
use super::wire::{ApiError, Common, Fields, form};

/// Tokens of an answer unless said otherwise, as OpenAI has it.
const MAX_TOKENS: usize = 16;
/// The likeliest tokens that can be told with each.
const TOP: usize = 20;

/// Answers a request.
pub(super) async fn answer(State(shared): State<Arc<Shared>>, body: Body) -> Result<Response, ApiError> {
    gather::answer(shared, body, read).await
}

fn read(shared: &Shared, mut fields: Fields) -> Result<(Asked, Completion), ApiError> {
    let (number, seed) = shared.number();
    let mut common = Common::of(&mut fields, seed, shared)?;
    let prompts = prompts(fields.take("prompt")?, shared)?;
    if prompts.len() * common.n > shared.limits.choices {
        let message =
            format!("{} answers are more than the {} of one request", prompts.len() * common.n, shared.limits.choices);
        return Err(ApiError::field("n", message));
    }
    let echo = fields.take("echo")?.unwrap_or(false);
    let max_tokens = fields.count("max_tokens", usize::from(!echo), usize::MAX)?.unwrap_or(MAX_TOKENS);
    let top = fields.count("logprobs", 0, TOP)?;
    common.how.form = form(fields.take("response_format")?)?;
    if fields.take::<usize>("best_of")?.is_some_and(|best| best != common.n) {
        return Err(ApiError::field("best_of", "this server has no `best_of` other than `n`"));
    }
    fields.finish()?;
    let shape = Completion { echo: echo.then(|| prompts.iter().map(|p| p.text.clone()).collect()), n: common.n, top };
    let max_tokens = vec![max_tokens; prompts.len()];
    let prompts = prompts.into_iter().map(|prompt| prompt.ids).collect();
    let id = format!("cmpl-{number:08x}");
    Ok((Asked { id, prompts, max_tokens, common, top, reads_prompt: echo && top.is_some() }, shape))
}

/// A prompt, as text and in tokens.
struct Prompt {
    text: String,
    ids: Vec<u32>,
}

/// The prompts: a text, a list of tokens, or a list of either.
fn prompts(value: Option<Value>, shared: &Shared) -> Result<Vec<Prompt>, ApiError> {
    let wrong = || ApiError::field("prompt", "`prompt` is no text, no list of tokens, and no list of either");
    let all = match value {
        None => return Err(ApiError::field("prompt", "`prompt` is missing")),
        Some(Value::Array(items)) if items.is_empty() => return Err(ApiError::field("prompt", "`prompt` is empty")),
        Some(Value::Array(items)) if items.iter().all(Value::is_number) => vec![Value::Array(items)],
        Some(Value::Array(items)) => items,
        Some(one) => vec![one],
    };
    let of = |value: Value| match value {
        Value::String(text) => {
            let ids = shared.tokenizer.encode(&text, true).map_err(|e| ApiError::field("prompt", e.to_string()))?;
            Ok(Prompt { text, ids })
        }
        Value::Array(_) => {
            let ids: Vec<u32> = serde_json::from_value(value).map_err(|_| wrong())?;
            let text = shared.tokenizer.decode(&ids, false).map_err(|e| ApiError::field("prompt", e.to_string()))?;
            Ok(Prompt { text, ids })
        }
        _ => Err(wrong()),
    };
    all.into_iter().map(of).collect()
}

/// Completions as OpenAI's clients read them.
struct Completion {
    /// The prompts' texts, if they are told again.
    echo: Option<Vec<String>>,
    /// Answers to each prompt.
    n: usize,
    top: Option<usize>,
}

impl Completion {
    fn prompt(&self, index: usize) -> &str {
        self.echo.as_ref().and_then(|texts| texts.get(index / self.n.max(1))).map_or("", String::as_str)
    }

    fn logprobs<'a>(&self, tokens: impl Iterator<Item = &'a Weighed>, shared: &Shared) -> Value {
        if self.top.is_none() {
            return Value::Null;
        }
        let text = |id: u32| shared.tokenizer.decode(&[id], false).unwrap_or_default();
        let (mut texts, mut logprobs, mut tops, mut offsets, mut at) = (vec![], vec![], vec![], vec![], 0);
        for token in tokens {
            let own = text(token.id);
            offsets.push(at);
            at += own.chars().count();
            texts.push(own);
            logprobs.push(token.logprob);
            tops.push(token.logprob.map(|_| {
                // Several tokens may have one text: the likeliest stands for them.
                let each = token.top.iter().rev().map(|(id, logprob)| (text(*id), json!(logprob)));
                each.collect::<Map<String, Value>>()
            }));
        }
        json!({ "tokens": texts, "token_logprobs": logprobs, "top_logprobs": tops, "text_offset": offsets })
    }
}

impl Shape for Completion {
    fn object(&self) -> (&'static str, &'static str) {
        ("text_completion", "text_completion")
    }

    fn choice(&self, index: usize, answer: &Answer, shared: &Shared) -> Value {
        let logprobs = self.logprobs(answer.prompt.iter().chain(&answer.tokens), shared);
        let text = format!("{}{}", self.prompt(index), answer.text);
        json!({ "index": index, "text": text, "logprobs": logprobs, "finish_reason": answer.finish_reason() })
    }

    fn opening(&self, index: usize) -> Option<Value> {
        let text = self.prompt(index);
        let read = self.top.is_some(); // the text comes with what the model makes of it
        (self.echo.is_some() && !read)
            .then(|| json!({ "index": index, "text": text, "logprobs": null, "finish_reason": null }))
    }

    fn piece(&self, index: usize, text: &str, tokens: &[Weighed], ended: Option<Ended>, shared: &Shared) -> Value {
        let logprobs = if tokens.is_empty() { Value::Null } else { self.logprobs(tokens.iter(), shared) };
        json!({ "index": index, "text": text, "logprobs": logprobs, "finish_reason": ended.map(finish_reason) })
    }

    fn echo(&self, index: usize, prompt: Vec<Weighed>, shared: &Shared) -> Option<Value> {
        Some(json!({ "index": index, "text": self.prompt(index),
            "logprobs": self.logprobs(prompt.iter(), shared), "finish_reason": null }))
    }
}
