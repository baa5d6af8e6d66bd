//! `/v1/chat/completions`: what the assistant says next.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use evo_stdlib::answer::Ended;
use evo_stdlib::answer::service::Weighed;
use evo_stdlib::model::Message;
use serde_json::{Value, json};

use super::gather::{self, Answer, Asked, Shape, finish_reason};
use super::shared::{Shared, now};
use super::wire::{ApiError, Common, Fields, form};

/// The likeliest tokens that can be told with each.
const TOP: usize = 20;

/// Answers a request.
pub(super) async fn answer(State(shared): State<Arc<Shared>>, body: Body) -> Result<Response, ApiError> {
    gather::answer(shared, body, read).await
}

fn read(shared: &Shared, mut fields: Fields) -> Result<(Asked, Chat), ApiError> {
    let (number, seed) = shared.number();
    let mut common = Common::of(&mut fields, seed, shared)?;
    let messages = messages(fields.take("messages")?)?;
    let today = i64::try_from(now()).ok();
    let of_messages = |error: &dyn std::fmt::Display| ApiError::field("messages", error.to_string());
    let text = shared.model.chat(&messages, today).map_err(|error| of_messages(&error))?;
    let ids = shared.tokenizer.encode(&text, false).map_err(|error| of_messages(&error))?;
    let asked = match fields.count("max_completion_tokens", 1, usize::MAX)? {
        Some(asked) => fields.take::<usize>("max_tokens").map(|_| Some(asked))?,
        None => fields.count("max_tokens", 1, usize::MAX)?,
    };
    let room = shared.model.config.max_positions.saturating_sub(ids.len()).max(1);
    let max_tokens = asked.unwrap_or(shared.limits.tokens.min(room));
    let wanted = fields.take("logprobs")?.unwrap_or(false);
    let top = fields.count("top_logprobs", 0, TOP)?;
    if top.is_some_and(|top| top > 0) && !wanted {
        return Err(ApiError::field("top_logprobs", "`top_logprobs` is told with `logprobs: true` alone"));
    }
    common.how.form = form(fields.take("response_format")?)?;
    fields.finish()?;
    let top = wanted.then(|| top.unwrap_or(0));
    let id = format!("chatcmpl-{number:08x}");
    Ok((Asked { id, prompts: vec![ids], max_tokens: vec![max_tokens], common, top, reads_prompt: false }, Chat { top }))
}

/// The conversation: contents are texts, or lists of parts that are texts.
fn messages(value: Option<Vec<Value>>) -> Result<Vec<Message>, ApiError> {
    let wrong = |message: String| ApiError::field("messages", message);
    let value = value.filter(|all| !all.is_empty()).ok_or_else(|| wrong("`messages` is missing or empty".into()))?;
    let of = |(i, message): (usize, &Value)| {
        let role = message.get("role").and_then(Value::as_str);
        let role = role.ok_or_else(|| wrong(format!("message {i} has no `role`")))?.to_owned();
        let content = match message.get("content") {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Array(parts)) => {
                let text = |part: &Value| part.get("text").and_then(Value::as_str).map(str::to_owned);
                let texts = parts.iter().map(text).collect::<Option<Vec<String>>>();
                texts.ok_or_else(|| wrong(format!("message {i} has a part that is no text")))?.concat()
            }
            _ => return Err(wrong(format!("message {i} has no `content` that is text"))),
        };
        Ok(Message { role, content })
    };
    value.iter().enumerate().map(of).collect()
}

/// Chats as OpenAI's clients read them.
struct Chat {
    top: Option<usize>,
}

impl Chat {
    fn logprobs(&self, tokens: &[Weighed], shared: &Shared) -> Value {
        if self.top.is_none() {
            return Value::Null;
        }
        let of = |id: u32, logprob: Option<f32>| {
            let text = shared.tokenizer.decode(&[id], false).unwrap_or_default();
            json!({ "bytes": text.as_bytes(), "token": text, "logprob": logprob })
        };
        let token = |token: &Weighed| {
            let mut object = of(token.id, token.logprob);
            let top: Vec<Value> = token.top.iter().map(|(id, logprob)| of(*id, Some(*logprob))).collect();
            if let Some(object) = object.as_object_mut() {
                object.insert("top_logprobs".into(), top.into());
            }
            object
        };
        json!({ "content": tokens.iter().map(token).collect::<Vec<Value>>() })
    }
}

impl Shape for Chat {
    fn object(&self) -> (&'static str, &'static str) {
        ("chat.completion", "chat.completion.chunk")
    }

    fn choice(&self, index: usize, answer: &Answer, shared: &Shared) -> Value {
        json!({ "index": index, "message": { "role": "assistant", "content": answer.text },
            "logprobs": self.logprobs(&answer.tokens, shared), "finish_reason": answer.finish_reason() })
    }

    fn opening(&self, index: usize) -> Option<Value> {
        let delta = json!({ "role": "assistant", "content": "" });
        Some(json!({ "index": index, "delta": delta, "logprobs": null, "finish_reason": null }))
    }

    fn piece(&self, index: usize, text: &str, tokens: &[Weighed], ended: Option<Ended>, shared: &Shared) -> Value {
        let delta = if text.is_empty() && ended.is_some() { json!({}) } else { json!({ "content": text }) };
        let logprobs = if tokens.is_empty() { Value::Null } else { self.logprobs(tokens, shared) };
        json!({ "index": index, "delta": delta, "logprobs": logprobs, "finish_reason": ended.map(finish_reason) })
    }

    fn echo(&self, _: usize, _: Vec<Weighed>, _: &Shared) -> Option<Value> {
        None
    }
}
