//! What is asked, and its identity: the SHA-256 of one canonical text.

use evo_lang::plan::Key;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Who says a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The rules of the conversation.
    System,
    /// Who asks.
    User,
    /// The language model.
    Assistant,
}

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who says it.
    pub role: Role,
    /// What is said.
    pub content: String,
}

impl Message {
    /// A turn.
    pub fn new(role: Role, content: impl Into<String>) -> Message {
        Message { role, content: content.into() }
    }
}

/// The form that an answer is held to by the server.
#[derive(Clone, Debug, PartialEq)]
pub enum Format {
    /// Any text.
    Text,
    /// Some JSON object.
    Object,
    /// JSON of this schema, as servers of llama.cpp's kind are asked for it: an object with a schema.
    ObjectOf(Value),
    /// JSON of this schema. The order of its keys counts: servers write properties in it.
    Schema(Value),
}

/// Everything that an answer depends on, but for the server itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// What the endpoint calls the model.
    pub model: String,
    /// The conversation, the newest turn last.
    pub messages: Vec<Message>,
    /// Divides the logits before a draw.
    pub temperature: f64,
    /// Only the most likely tokens that together have this probability.
    pub top_p: f64,
    /// The most tokens of an answer.
    pub max_tokens: u32,
    /// Of the server's draws, where it heeds one.
    pub seed: Option<i64>,
    /// The form of the answer.
    pub format: Format,
    /// Tells answers to equal questions apart: it is not sent, but it is part of the identity.
    pub attempt: u32,
}

impl Request {
    /// The one text of this request: JSON, its keys in alphabetical order, no white space, numbers in their shortest form.
    pub fn canonical(&self) -> String {
        let messages: Vec<Value> =
            self.messages.iter().map(|m| json!({ "content": m.content, "role": m.role })).collect();
        let whole = json!({
            "attempt": self.attempt,
            "max_tokens": self.max_tokens,
            "messages": messages,
            "model": self.model,
            "response_format": self.response_format(),
            "seed": self.seed,
            "temperature": self.temperature + 0.0, // there is one zero
            "top_p": self.top_p + 0.0,
        });
        whole.to_string()
    }

    /// The SHA-256 of the canonical text.
    pub fn key(&self) -> Key {
        key_of(&self.canonical())
    }

    /// A bound on the tokens that the question takes: no tokenizer makes more tokens than there are bytes, and templates put a
    /// few around each message.
    pub fn most_tokens_in(&self) -> u64 {
        let texts: usize = self.messages.iter().map(|message| message.content.len() + 16).sum();
        let schema = match &self.format {
            Format::Schema(schema) | Format::ObjectOf(schema) => schema.to_string().len(),
            Format::Text | Format::Object => 0,
        };
        (texts + schema + 64) as u64
    }

    /// The body that is sent; `newer` uses the name that OpenAI's newer models want for `max_tokens`.
    pub fn body(&self, newer: bool) -> String {
        let mut body = json!({ "model": self.model, "messages": self.messages, "temperature": self.temperature });
        if let Some(body) = body.as_object_mut() {
            if self.top_p < 1.0 {
                body.insert("top_p".into(), json!(self.top_p));
            }
            let limit = if newer { "max_completion_tokens" } else { "max_tokens" };
            body.insert(limit.into(), json!(self.max_tokens));
            if let Some(seed) = self.seed {
                body.insert("seed".into(), json!(seed));
            }
            if self.format != Format::Text {
                body.insert("response_format".into(), self.response_format());
            }
            body.insert("stream".into(), json!(true));
            body.insert("stream_options".into(), json!({ "include_usage": true }));
        }
        body.to_string()
    }

    fn response_format(&self) -> Value {
        match &self.format {
            Format::Text => json!({ "type": "text" }),
            Format::Object => json!({ "type": "json_object" }),
            Format::ObjectOf(schema) => json!({ "type": "json_object", "schema": schema }),
            Format::Schema(schema) => {
                json!({ "type": "json_schema", "json_schema": { "name": "answer", "schema": schema } })
            }
        }
    }
}

/// The SHA-256 of a canonical text.
pub(super) fn key_of(canonical: &str) -> Key {
    Key(Sha256::digest(canonical.as_bytes()).into())
}
