//! `/v1/embeddings`: a vector of length one for each text, the mean of its tokens' rows.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use evo_stdlib::answer::service::Work;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::gather::{off, refused};
use super::shared::Shared;
use super::wire::{ApiError, Fields};

/// Texts that are given vectors at one time, so that answers to others go on between them.
const TEXTS: usize = 8;

/// Answers a request.
pub(super) async fn answer(State(shared): State<Arc<Shared>>, body: Body) -> Result<Json<Value>, ApiError> {
    let fields = Fields::of(body, &shared).await?;
    let _place = shared.place()?;
    let deadline = tokio::time::Instant::now() + shared.limits.time;
    let desk = shared.clone();
    let texts = off(move || read(&desk, fields)).await?;
    let tokens: usize = texts.iter().map(Vec::len).sum();
    let mut vectors = Vec::with_capacity(texts.len());
    for some in texts.chunks(TEXTS) {
        let (to, from) = oneshot::channel();
        let reply = Box::new(move |found| drop(to.send(found)));
        shared.hand_in(Work::Embed(some.to_vec(), reply))?;
        let found = tokio::time::timeout_at(deadline, from).await.map_err(|_| ApiError::late(shared.limits.time))?;
        vectors.extend(found.map_err(|_| ApiError::ended())?.map_err(|error| refused(&error))?);
    }
    let data = |(index, embedding)| json!({ "object": "embedding", "index": index, "embedding": embedding });
    let data: Vec<Value> = vectors.into_iter().enumerate().map(data).collect();
    let usage = json!({ "prompt_tokens": tokens, "total_tokens": tokens });
    Ok(Json(json!({ "object": "list", "data": data, "model": shared.name, "usage": usage })))
}

fn read(shared: &Shared, mut fields: Fields) -> Result<Vec<Vec<u32>>, ApiError> {
    shared.check_name(fields.take("model")?)?;
    if fields.take::<String>("encoding_format")?.is_some_and(|format| format != "float") {
        return Err(ApiError::field("encoding_format", "vectors are written as numbers: `float`"));
    }
    let texts = texts(fields.take("input")?, shared)?;
    fields.finish()?;
    Ok(texts)
}

/// What is asked, in tokens: a text, a list of tokens, or a list of either.
fn texts(value: Option<Value>, shared: &Shared) -> Result<Vec<Vec<u32>>, ApiError> {
    let wrong = || ApiError::field("input", "`input` is no text, no list of tokens, and no list of either");
    let all = match value {
        Some(Value::Array(items)) if items.iter().all(Value::is_number) => vec![Value::Array(items)],
        Some(Value::Array(items)) => items,
        Some(one) => vec![one],
        None => return Err(ApiError::field("input", "`input` is missing")),
    };
    if all.len() > 2048 {
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "`input` has more than 2048 texts").param("input"));
    }
    let of = |value: Value| {
        let ids = match value {
            Value::String(text) => {
                shared.tokenizer.encode(&text, true).map_err(|e| ApiError::field("input", e.to_string()))?
            }
            value => serde_json::from_value(value).map_err(|_| wrong())?,
        };
        let limit = shared.model.config.max_positions;
        match ids.len() {
            0 => Err(ApiError::field("input", "a text of `input` is empty")),
            length if length > limit => {
                Err(ApiError::field("input", format!("a text of {length} tokens is longer than the model's {limit}")))
            }
            _ => Ok(ids),
        }
    };
    all.into_iter().map(of).collect()
}
