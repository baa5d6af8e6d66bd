//! Laws of the client, on scripted transports, clocks and dice.

mod client;
mod form;
mod record;

use std::collections::VecDeque;
use std::sync::Mutex;

use serde_json::{Value, json};

use super::client::Heed;
use super::*;

/// What the script has the transport do.
pub(super) enum Act {
    /// Replies whole.
    Reply(u16, &'static str, String),
    /// Refuses, with `Retry-After`.
    Wait(u16, &'static str),
    /// Begins to reply with these parts, then breaks.
    Cut(Vec<&'static [u8]>),
    /// Does not reply.
    Fail(TransportError),
}

/// A transport, a clock and a die that do what they are told, and note what they are asked.
#[derive(Default)]
pub(super) struct World {
    acts: Mutex<VecDeque<Act>>,
    pub(super) sent: Mutex<Vec<Value>>,
    pub(super) slept: Mutex<Vec<f64>>,
    time: Mutex<f64>,
    /// Seconds that each attempt takes.
    pub(super) pace: f64,
}

impl World {
    pub(super) fn new(acts: impl IntoIterator<Item = Act>) -> World {
        World { acts: Mutex::new(acts.into_iter().collect()), ..World::default() }
    }

    pub(super) fn client(&self) -> Client<'_> {
        Client { transport: self, pace: self }
    }
}

impl Transport for World {
    fn post(&self, post: &Post<'_>, heed: &mut Heed<'_>) -> Result<Head, TransportError> {
        assert_eq!(post.endpoint, "http://there/v1");
        assert!(post.connect <= post.whole && post.first_byte <= post.whole);
        self.sent.lock().unwrap().push(serde_json::from_str(post.body).unwrap());
        *self.time.lock().unwrap() += self.pace;
        let act = self.acts.lock().unwrap().pop_front().expect("one more attempt than the script has");
        match act {
            Act::Reply(status, content_type, body) => {
                let head = Head { status, content_type: content_type.into(), ..Head::default() };
                for part in body.as_bytes().chunks(7) {
                    if heed(&head, part).is_break() {
                        break;
                    }
                }
                Ok(head)
            }
            Act::Wait(status, after) => {
                let head = Head { status, retry_after: Some(after.into()), ..Head::default() };
                let _ = heed(&head, b"{\"error\": {\"message\": \"slow down\"}}");
                Ok(head)
            }
            Act::Cut(parts) => {
                let head = Head { status: 200, content_type: "text/event-stream".into(), ..Head::default() };
                for part in parts {
                    let _ = heed(&head, part);
                }
                Err(TransportError::Broken("reset".into()))
            }
            Act::Fail(error) => Err(error),
        }
    }
}

impl Pace for World {
    fn now(&self) -> f64 {
        *self.time.lock().unwrap()
    }
    fn date(&self) -> i64 {
        1_000_000_000
    }
    fn sleep(&self, seconds: f64) {
        self.slept.lock().unwrap().push(seconds);
        *self.time.lock().unwrap() += seconds;
    }
    fn chance(&self) -> f64 {
        1.0
    }
    fn is_cancelled(&self) -> bool {
        false
    }
}

pub(super) fn request(prompt: &str) -> Request {
    Request {
        model: "m".into(),
        messages: vec![Message::new(Role::User, prompt)],
        temperature: 0.7,
        top_p: 1.0,
        max_tokens: 100,
        seed: None,
        format: Format::Text,
        attempt: 0,
    }
}

pub(super) fn line() -> Line {
    Line { endpoint: "http://there/v1".into(), rate: Rate { input: 1.0, output: 10.0 }, policy: Policy::default() }
}

/// A whole reply.
pub(super) fn whole(content: &str, finish: &str) -> Act {
    let body = json!({
        "id": null, "model": "m-1", "novelty": [1],
        "choices": [{ "index": 0, "finish_reason": finish, "logprobs": null, "message": { "role": "assistant", "content": content } }],
        "usage": { "prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12, "details": null },
    });
    Act::Reply(200, "application/json; charset=utf-8", body.to_string())
}

/// The same as a stream, in pieces.
pub(super) fn streamed(pieces: &[&str], finish: &str) -> Act {
    let mut body = String::from(": hello\r\n\r\n");
    for piece in pieces {
        let delta = json!({ "choices": [{ "delta": { "content": piece }, "finish_reason": null }], "usage": null });
        body += &format!("event: message\r\ndata: {delta}\r\n\r\n");
    }
    let last = json!({ "choices": [{ "delta": {}, "finish_reason": finish }] });
    let usage = json!({ "choices": [], "usage": { "prompt_tokens": 5, "completion_tokens": 7 } });
    body += &format!("data: {last}\n\ndata: {usage}\n\ndata: [DONE]\n\ndata: what comes after is not read");
    Act::Reply(200, "text/event-stream", body)
}
