//! What was said, line by line, so that it can be said again: JSON Lines in the run's folder `llm/`.

use evo_lang::plan::Key;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::client::{Exchange, Said};
use super::request::{Request, key_of};
use super::wire::{Reply, Usage};

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// With an answer.
    Response(Reply),
    /// The server does not know the form that was asked for.
    Unsupported {
        /// HTTP's number.
        status: u16,
        /// Its reason.
        reason: String,
    },
    /// Without an answer, and not without cost. It is never said again.
    Failed {
        /// The code.
        code: String,
        /// Why.
        reason: String,
    },
}

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The request's SHA-256, as hex; a line without one is given its request's.
    #[serde(default)]
    pub key: String,
    /// Where it was asked.
    pub endpoint: String,
    /// The canonical request.
    pub request: Value,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// Tokens.
    pub usage: Usage,
    /// Seconds it took.
    pub latency: f64,
    /// US dollars.
    pub price: f64,
    /// How often it was sent.
    pub attempts: u32,
}

impl Entry {
    /// The line of a call that has come to an end.
    pub fn new(endpoint: &str, request: &Request, exchange: &Exchange) -> Entry {
        let outcome = match &exchange.said {
            Said::Reply(reply) => Outcome::Response(reply.clone()),
            Said::Unsupported { status, reason } => Outcome::Unsupported { status: *status, reason: reason.clone() },
        };
        let Exchange { usage, seconds, cost, attempts, .. } = *exchange;
        Entry { outcome, usage, latency: seconds, price: cost, attempts, ..Entry::of(endpoint, request) }
    }

    /// The line of a call that failed and may have cost something.
    pub fn failed(endpoint: &str, request: &Request, code: &str, reason: String, price: f64, tokens: u64) -> Entry {
        let usage = Usage { prompt_tokens: tokens, completion_tokens: 0 };
        let outcome = Outcome::Failed { code: code.to_owned(), reason };
        Entry { outcome, usage, price, ..Entry::of(endpoint, request) }
    }

    fn of(endpoint: &str, request: &Request) -> Entry {
        Entry {
            key: request.key().to_string(),
            endpoint: endpoint.to_owned(),
            request: serde_json::from_str(&request.canonical()).unwrap_or(Value::Null),
            outcome: Outcome::Failed { code: String::new(), reason: String::new() },
            usage: Usage::default(),
            latency: 0.0,
            price: 0.0,
            attempts: 0,
        }
    }

    /// What was said, if it can be said again.
    pub fn exchange(&self) -> Option<Exchange> {
        let said = match &self.outcome {
            Outcome::Response(reply) => Said::Reply(reply.clone()),
            Outcome::Unsupported { status, reason } => Said::Unsupported { status: *status, reason: reason.clone() },
            Outcome::Failed { .. } => return None,
        };
        let Entry { usage, latency, price, attempts, .. } = *self;
        Some(Exchange { said, usage, cost: price, seconds: latency, attempts })
    }

    /// The line with its end.
    pub fn line(&self) -> String {
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }
}

/// Why a transcript cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is none of a transcript: {reason}")]
pub struct TranscriptError {
    /// Counts from 1.
    pub line: usize,
    /// Why.
    pub reason: String,
}

/// Transcripts that are at hand.
#[derive(Clone, Debug, Default)]
pub struct Recorded {
    entries: IndexMap<String, Vec<Entry>>,
    price: f64,
    tokens: u64,
}

impl Recorded {
    /// Adds the lines of a file, and says whether all of them are whole: a last one that was being written when its process ended is left out.
    ///
    /// # Errors
    /// A line that was written whole and is none.
    pub fn read(&mut self, text: &[u8]) -> Result<bool, TranscriptError> {
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let (lines, torn) = text.split_at(whole);
        for (i, line) in lines.split(|byte| *byte == b'\n').enumerate() {
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let wrong = |reason: String| TranscriptError { line: i + 1, reason };
            let mut entry: Entry = serde_json::from_slice(line).map_err(|error| wrong(error.to_string()))?;
            let key = key_of(&entry.request.to_string()).to_string();
            if entry.key.is_empty() {
                entry.key = key;
            } else if entry.key != key {
                return Err(wrong("its key is not its request's".into()));
            }
            self.add(entry);
        }
        Ok(torn.is_empty())
    }

    /// Adds a line. Of two answers to one request at one endpoint the first stays.
    pub fn add(&mut self, entry: Entry) {
        self.price += entry.price;
        self.tokens += entry.usage.prompt_tokens + entry.usage.completion_tokens;
        self.entries.entry(entry.key.clone()).or_default().push(entry);
    }

    /// What was said to a request: at this endpoint, or, where it was asked at one other alone, there. A transcript so holds good wherever
    /// the server stands now.
    pub fn find(&self, endpoint: &str, key: &Key) -> Option<Exchange> {
        let entries = self.entries.get(&key.to_string())?;
        let answered = || entries.iter().filter(|entry| !matches!(entry.outcome, Outcome::Failed { .. }));
        if let Some(entry) = answered().find(|entry| entry.endpoint == endpoint) {
            return entry.exchange();
        }
        let first = answered().next()?;
        answered().all(|entry| entry.endpoint == first.endpoint).then(|| first.exchange())?
    }

    /// What was said to a request at this very endpoint.
    pub fn find_at(&self, endpoint: &str, key: &Key) -> Option<Exchange> {
        let entries = self.entries.get(&key.to_string())?;
        entries.iter().filter(|entry| entry.endpoint == endpoint).find_map(Entry::exchange)
    }

    /// US dollars and tokens of all lines.
    pub fn spent(&self) -> (f64, u64) {
        (self.price, self.tokens)
    }

    /// The number of requests.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}
