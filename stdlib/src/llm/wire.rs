//! What comes back: a whole reply or a stream of events, bounded in size, read as it arrives. Fields that are unknown or null do no harm.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Why an answer ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// The model ended it.
    Stop,
    /// It reached `max_tokens`.
    Length,
    /// Anything else, as the server calls it.
    #[serde(untagged)]
    Other(String),
}

impl Finish {
    fn of(text: &str) -> Finish {
        match text {
            "stop" | "eos" => Finish::Stop,
            "length" => Finish::Length,
            other => Finish::Other(other.to_owned()),
        }
    }
}

/// Tokens of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Of the question.
    pub prompt_tokens: u64,
    /// Of the answer.
    pub completion_tokens: u64,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// What the model says.
    pub content: String,
    /// Why it ended.
    pub finish_reason: Finish,
    /// What the server calls the model that answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

/// Why what came is no reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// It broke off: another attempt may bring it whole.
    Broken(String),
    /// It is whole and no reply: another attempt would bring the same.
    Malformed(String),
}

/// How the body is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Whole,
    Events,
}

/// Takes a reply as it arrives.
#[derive(Debug)]
pub struct Hearing {
    kind: Option<Kind>,
    /// Bytes that may still come.
    left: usize,
    limit: usize,
    /// All of a whole reply; the last line of a stream, as far as it is there.
    bytes: Vec<u8>,
    /// The data of the event under way.
    data: String,
    content: String,
    finish: Option<Finish>,
    model: Option<String>,
    usage: Option<Usage>,
    is_done: bool,
}

impl Hearing {
    /// Takes at most `limit` bytes.
    pub fn new(limit: usize) -> Hearing {
        Hearing {
            kind: None,
            left: limit,
            limit,
            bytes: Vec::new(),
            data: String::new(),
            content: String::new(),
            finish: None,
            model: None,
            usage: None,
            is_done: false,
        }
    }

    /// Whether the stream has said that nothing more comes.
    pub fn is_done(&self) -> bool {
        self.is_done
    }

    /// Takes the next bytes of a body of this content type.
    ///
    /// # Errors
    /// What no further byte can mend.
    pub fn take(&mut self, content_type: &str, bytes: &[u8]) -> Result<(), Wrong> {
        let kind = match self.kind {
            Some(kind) => kind,
            None => *self.kind.insert(kind(content_type)?),
        };
        self.left = self
            .left
            .checked_sub(bytes.len())
            .ok_or_else(|| Wrong::Malformed(format!("it is longer than {} bytes", self.limit)))?;
        match kind {
            Kind::Whole => self.bytes.extend_from_slice(bytes),
            Kind::Events => {
                let mut rest = bytes;
                while let Some(at) = rest.iter().position(|byte| *byte == b'\n').filter(|_| !self.is_done) {
                    let (line, after) = rest.split_at(at);
                    self.bytes.extend_from_slice(line);
                    rest = after.get(1..).unwrap_or_default();
                    let line = std::mem::take(&mut self.bytes);
                    self.line(&line)?;
                }
                if !self.is_done {
                    self.bytes.extend_from_slice(rest);
                }
            }
        }
        Ok(())
    }

    /// A line of a stream: `data:` adds to the event, an empty one ends it, others (comments, names) are passed over.
    fn line(&mut self, line: &[u8]) -> Result<(), Wrong> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = std::str::from_utf8(line).map_err(|_| Wrong::Malformed("it is not UTF-8".into()))?;
        if line.is_empty() {
            let data = std::mem::take(&mut self.data);
            return if data.is_empty() { Ok(()) } else { self.event(&data) };
        }
        if let Some(data) = line.strip_prefix("data:") {
            if !self.data.is_empty() {
                self.data.push('\n');
            }
            self.data.push_str(data.strip_prefix(' ').unwrap_or(data));
        }
        Ok(())
    }

    fn event(&mut self, data: &str) -> Result<(), Wrong> {
        if data == "[DONE]" {
            self.is_done = true;
            return Ok(());
        }
        let event: Value = serde_json::from_str(data)
            .map_err(|error| Wrong::Malformed(format!("an event of the stream is no JSON: {error}")))?;
        self.read(&event, "delta")
    }

    /// Reads an object of the stream, or the whole reply: what is there of it.
    fn read(&mut self, object: &Value, part: &str) -> Result<(), Wrong> {
        if let Some(error) = object.get("error").filter(|error| !error.is_null()) {
            return Err(Wrong::Broken(format!("the server says: {}", message(error))));
        }
        let usage = object.get("usage").filter(|usage| usage.is_object());
        let count = |usage: &Value, name| usage.get(name).and_then(Value::as_u64).unwrap_or(0);
        if let Some(usage) = usage {
            let (prompt, completion) = (count(usage, "prompt_tokens"), count(usage, "completion_tokens"));
            self.usage = Some(Usage { prompt_tokens: prompt, completion_tokens: completion });
        }
        if self.model.is_none() {
            self.model = object.get("model").and_then(Value::as_str).map(str::to_owned);
        }
        let Some(choice) = object.get("choices").and_then(|choices| choices.get(0)) else { return Ok(()) };
        match choice.get(part).and_then(|part| part.get("content")) {
            None | Some(Value::Null) => {}
            Some(Value::String(content)) => self.content.push_str(content),
            Some(_) => return Err(Wrong::Malformed("the answer's content is no text".into())),
        }
        if let Some(finish) = choice.get("finish_reason").and_then(Value::as_str) {
            self.finish = Some(Finish::of(finish));
        }
        Ok(())
    }

    /// The reply, when the body has come to its end; the tokens where the server counts them.
    ///
    /// # Errors
    /// It broke off, or is none.
    pub fn end(mut self) -> Result<(Reply, Option<Usage>), Wrong> {
        match self.kind {
            None => return Err(Wrong::Broken("it is empty".into())),
            Some(Kind::Events) => {
                if self.finish.is_none() {
                    return Err(Wrong::Broken("the stream ended before the answer did".into()));
                }
            }
            Some(Kind::Whole) => {
                let bytes = std::mem::take(&mut self.bytes);
                let text = std::str::from_utf8(&bytes).map_err(|_| Wrong::Malformed("it is not UTF-8".into()))?;
                let whole: Value = serde_json::from_str(text).map_err(|error| match error.is_eof() {
                    true => Wrong::Broken("it ends in mid-JSON".into()),
                    false => Wrong::Malformed(format!("it is no JSON: {error}")),
                })?;
                if whole.get("choices").and_then(|choices| choices.get(0)).is_none() && whole.get("error").is_none() {
                    return Err(Wrong::Malformed("it has no `choices`".into()));
                }
                self.read(&whole, "message")?;
            }
        }
        // A server that says nothing of why it ended has ended.
        let finish_reason = self.finish.unwrap_or(Finish::Stop);
        Ok((Reply { content: self.content, finish_reason, model: self.model }, self.usage))
    }
}

fn kind(content_type: &str) -> Result<Kind, Wrong> {
    let bare = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match bare.as_str() {
        "text/event-stream" => Ok(Kind::Events),
        "" | "application/json" => Ok(Kind::Whole),
        json if json.ends_with("+json") => Ok(Kind::Whole),
        other => Err(Wrong::Malformed(format!("it is `{}`, not JSON or events", clipped(other)))),
    }
}

/// Characters of a server's words that are shown.
const SHOWN: usize = 300;

/// What a server says is wrong, from the body of its refusal.
pub fn reason(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    match serde_json::from_str::<Value>(&text) {
        Ok(object) => match object.get("error").or_else(|| object.get("detail")) {
            Some(error) => message(error),
            None => message(&object),
        },
        Err(_) if text.trim().is_empty() => "it gives no reason".to_owned(),
        Err(_) => clipped(&text),
    }
}

fn message(error: &Value) -> String {
    match (error.get("message").and_then(Value::as_str), error.as_str()) {
        (Some(text), _) | (None, Some(text)) => clipped(text),
        (None, None) => clipped(&error.to_string()),
    }
}

/// A text of others on one line, without control characters, not too long.
pub fn clipped(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let text: String = text.trim().chars().map(plain).take(SHOWN + 1).collect();
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}
