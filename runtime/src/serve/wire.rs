//! What goes over the wire: fields of requests, and errors as OpenAI's clients read them.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use evo_stdlib::answer::{Answering, Form};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::shared::Shared;

/// Why a request is refused, or has failed.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    message: String,
    param: Option<String>,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), param: None }
    }

    /// A fault in a field.
    pub(super) fn field(name: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message).param(name)
    }

    pub(super) fn busy(message: impl Into<String>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, message)
    }

    /// The engine is gone.
    pub(super) fn ended() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "the server is about to end")
    }

    pub(super) fn late(limit: Duration) -> Self {
        let message = format!("the request took longer than {} s, the limit of this server", limit.as_secs_f64());
        Self::new(StatusCode::GATEWAY_TIMEOUT, message)
    }

    pub(super) fn param(mut self, name: &str) -> Self {
        self.param = Some(name.to_owned());
        self
    }

    pub(super) fn json(&self) -> Value {
        let kind = match self.status.as_u16() {
            401 => "authentication_error",
            404 => "not_found_error",
            429 => "rate_limit_error",
            500.. => "server_error",
            _ => "invalid_request_error",
        };
        json!({ "error": { "message": self.message, "type": kind, "param": self.param, "code": self.status.as_u16() } })
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, axum::Json(self.json())).into_response();
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// The fields of a request that are not read yet.
pub(super) struct Fields(Map<String, Value>);

/// Fields that change no answer.
const HARMLESS: [&str; 10] = [
    "user",
    "metadata",
    "store",
    "service_tier",
    "safety_identifier",
    "prompt_cache_key",
    "parallel_tool_calls",
    "reasoning_effort",
    "verbosity",
    "prompt_cache_retention",
];
/// Fields of OpenAI's interface that this server lacks; clients send them with values that ask for nothing.
const LACKING: [&str; 10] = [
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "tools",
    "tool_choice",
    "functions",
    "function_call",
    "suffix",
    "audio",
    "prediction",
];

impl Fields {
    /// Reads a body within the server's limits.
    pub(super) async fn of(body: Body, shared: &Shared) -> Result<Self, ApiError> {
        let (most, within) = (shared.limits.body, shared.limits.arrival);
        let bytes = match tokio::time::timeout(within, axum::body::to_bytes(body, most)).await {
            Ok(Ok(bytes)) => bytes,
            // Beside its length nothing is wrong with a body but that its connection breaks, when nobody reads this.
            Ok(Err(_)) => {
                let message = format!("the request has more than {most} bytes, the limit of this server");
                return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message));
            }
            Err(_) => {
                let message = format!("the request did not arrive within {} s", within.as_secs_f64());
                return Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, message));
            }
        };
        match serde_json::from_slice(&bytes) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err(ApiError::new(StatusCode::BAD_REQUEST, "the request is no JSON object")),
            Err(error) => Err(ApiError::new(StatusCode::BAD_REQUEST, format!("the request is no JSON: {error}"))),
        }
    }

    /// A field, if it is there; `null` is as if it were not.
    pub(super) fn take<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>, ApiError> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => serde_json::from_value(value)
                .map(Some)
                .map_err(|error| ApiError::field(name, format!("`{name}` cannot be read: {error}"))),
        }
    }

    /// A number within a range.
    pub(super) fn number(&mut self, name: &str, low: f64, high: f64) -> Result<Option<f64>, ApiError> {
        match self.take::<f64>(name)? {
            Some(x) if !(low..=high).contains(&x) => {
                Err(ApiError::field(name, format!("`{name}` is {x}, and must be from {low} to {high}")))
            }
            found => Ok(found),
        }
    }

    /// A whole number within a range.
    pub(super) fn count(&mut self, name: &str, low: usize, high: usize) -> Result<Option<usize>, ApiError> {
        match self.take::<usize>(name)? {
            Some(n) if !(low..=high).contains(&n) => {
                Err(ApiError::field(name, format!("`{name}` is {n}, and must be from {low} to {high}")))
            }
            found => Ok(found),
        }
    }

    /// Refuses what is left, unless it changes no answer: nothing that was asked for is left out in silence.
    pub(super) fn finish(self) -> Result<(), ApiError> {
        let is_nothing = |value: &Value| match value {
            Value::Null | Value::Bool(false) => true,
            Value::Number(n) => n.as_f64() == Some(0.0),
            Value::String(text) => text.is_empty() || text == "auto" || text == "none",
            Value::Array(items) => items.is_empty(),
            Value::Object(fields) => fields.is_empty(),
            Value::Bool(true) => false,
        };
        let asks = |(name, value): &(String, Value)| {
            let name = name.as_str();
            !(value.is_null() || HARMLESS.contains(&name) || LACKING.contains(&name) && is_nothing(value))
        };
        match self.0.into_iter().find(asks) {
            Some((name, _)) => Err(ApiError::field(&name, format!("this server has no `{name}`"))),
            None => Ok(()),
        }
    }
}

/// What chats and completions have in common.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) how: Answering,
    pub(super) n: usize,
    pub(super) stream: bool,
    pub(super) include_usage: bool,
}

impl Common {
    /// Reads these fields. Temperature is 1 unless said otherwise; `seed` is that of the draws.
    pub(super) fn of(fields: &mut Fields, seed: u64, shared: &Shared) -> Result<Self, ApiError> {
        shared.check_name(fields.take("model")?)?;
        let mut how = Answering { seed, ..Answering::GREEDY };
        how.sampling.temperature = fields.number("temperature", 0.0, 2.0)?.unwrap_or(1.0) as f32;
        how.sampling.top_p = fields.number("top_p", 0.0, 1.0)?.unwrap_or(1.0) as f32;
        how.sampling.min_p = fields.number("min_p", 0.0, 1.0)?.unwrap_or(0.0) as f32;
        how.sampling.top_k = fields.count("top_k", 0, usize::MAX)?.unwrap_or(0);
        how.sampling.repetition_penalty = fields.number("repetition_penalty", 0.01, 100.0)?.unwrap_or(1.0) as f32;
        if how.sampling.top_p == 0.0 {
            how.sampling.top_k = 1; // no mass at all: the likeliest token alone
            how.sampling.top_p = 1.0;
        }
        if let Some(seed) = fields.take::<i64>("seed")? {
            how.seed = seed as u64;
        }
        how.stop = match fields.take::<Value>("stop")? {
            None => Vec::new(),
            Some(Value::String(text)) => vec![text],
            Some(texts) => serde_json::from_value(texts)
                .map_err(|_| ApiError::field("stop", "`stop` is neither a text nor a list of texts"))?,
        };
        how.stop.retain(|text| !text.is_empty());
        if how.stop.len() > 16 || how.stop.iter().any(|text| text.len() > 256) {
            return Err(ApiError::field("stop", "`stop` has more than 16 texts, or one of more than 256 bytes"));
        }
        let n = fields.count("n", 1, shared.limits.choices)?.unwrap_or(1);
        let stream = fields.take("stream")?.unwrap_or(false);
        let options: Option<Map<String, Value>> = fields.take("stream_options")?;
        let include_usage = options.is_some_and(|options| options.get("include_usage") == Some(&Value::Bool(true)));
        Ok(Self { how, n, stream, include_usage })
    }
}

/// The form that `response_format` asks for.
pub(super) fn form(format: Option<Value>) -> Result<Option<Form>, ApiError> {
    let Some(format) = format else { return Ok(None) };
    let wrong = |message: &str| ApiError::field("response_format", message);
    match format.get("type").and_then(Value::as_str) {
        Some("text") => Ok(None),
        Some("json_object") => Ok(Some(Form::Schema(r#"{"type": "object"}"#.to_owned()))),
        Some("json_schema") => {
            let schema = format.get("json_schema").and_then(|schema| schema.get("schema"));
            let schema = schema.ok_or_else(|| wrong("`json_schema` has no `schema`"))?;
            Ok(Some(Form::Schema(schema.to_string())))
        }
        _ => Err(wrong("the types are `text`, `json_object` and `json_schema`")),
    }
}
