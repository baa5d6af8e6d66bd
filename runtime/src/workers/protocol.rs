//! What a worker and the one who asks it say to each other. `book/src/workers.md` is the same for people.

use std::path::PathBuf;

use evo_lang::span::Span;
use evo_stdlib::task::{self, Trial};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::process::Lost;
use crate::engine::ParamValue;
use crate::sandbox::{Job, Verdict};
use crate::store::Key;

/// The version of the protocol. A worker of another version is not asked anything.
pub const PROTOCOL: u32 = 1;

/// The first message of a worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// The protocol's version.
    pub protocol: u32,
    /// The version of `evo`.
    pub version: String,
}

impl Hello {
    /// What this executable says.
    pub fn own() -> Hello {
        Hello { protocol: PROTOCOL, version: env!("CARGO_PKG_VERSION").to_owned() }
    }
}

/// A request. One is under way at a time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Repeated by the answer.
    pub id: u64,
    /// What is asked.
    pub ask: Ask,
}

/// What can be asked of a worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// Trace a script that a model wrote.
    Trace(Box<Job>),
    /// Try a program that a model wrote.
    Try(Box<Trial>),
    /// Read and check a program, whose candidates are asked for after.
    Open(Box<Open>),
    /// Evaluate a candidate of the program that is open.
    Evaluate(Evaluate),
}

/// A program under its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Open {
    /// Where paths start.
    pub root: PathBuf,
    /// The program's file, as it was named.
    pub file: String,
    /// Its text.
    pub text: String,
    /// Params that were set.
    pub params: IndexMap<String, ParamValue>,
    /// The seed, if it was set.
    pub seed: Option<i64>,
    /// Whether effort is lowered.
    pub tiny: bool,
    /// The device, if one was named.
    pub device: Option<String>,
    /// The hash of the program and all that it uses: it must still be that.
    pub program: Key,
    /// Where results across runs are.
    pub store: Option<PathBuf>,
    /// Threads that the worker may take.
    pub threads: usize,
    /// The memory that its candidates share, where it is known.
    pub memory: Option<u64>,
}

/// A candidate: a function of the program and what it is applied to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluate {
    /// The function's identity.
    pub function: Key,
    /// Its arguments, such as a genome: plain values in the bytes of the store, as hexadecimal digits.
    pub arguments: Vec<String>,
    /// The identity of the result: where it differs, the worker has another program.
    pub node: Key,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The request's.
    pub id: u64,
    /// What came of it.
    pub reply: Reply,
}

/// What comes of a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// What became of a script.
    Traced(Verdict),
    /// What came of a program.
    Tried(task::Verdict),
    /// The program is open.
    Opened,
    /// What came of a candidate.
    Evaluated(Evaluated),
    /// The request could not be answered.
    Failed(Box<Failed>),
}

/// What came of a candidate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluated {
    /// Its value, in the bytes of the store as hexadecimal digits, or why it has none.
    pub outcome: Result<String, Box<Failed>>,
    /// Whether it came from the store.
    pub cached: bool,
    /// Seconds it took.
    pub seconds: f64,
    /// What the user should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
}

/// Something that the user should know and that stops nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Warning {
    /// The code, if it has one.
    pub code: Option<String>,
    /// The message.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

/// A request that could not be answered, as a coded failure.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Failed {
    /// The stable code.
    pub code: String,
    /// One sentence.
    pub title: String,
    /// Facts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What to do.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub help: String,
    /// The identity of what failed, where it is a part of a candidate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Key>,
    /// Where in numeric code it happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span: Option<Span>,
    /// The parameter whose argument is at fault, if one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub param: Option<String>,
}

/// Bytes as hexadecimal digits.
pub(crate) fn digits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of hexadecimal digits; nothing for any other text.
pub(crate) fn bytes(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok().filter(|p| p.len() == 2)?, 16).ok()).collect()
}

/// A message as bytes.
pub(super) fn encode(message: &impl Serialize) -> Result<Vec<u8>, Lost> {
    serde_json::to_vec(message).map_err(|error| Lost::Protocol(error.to_string()))
}

/// Whether a first message is that of a worker like this one.
pub(super) fn greeted(message: &[u8]) -> Result<(), Lost> {
    let hello: Hello = serde_json::from_slice(message).map_err(|error| Lost::Protocol(error.to_string()))?;
    let own = Hello::own();
    match hello == own {
        true => Ok(()),
        false => Err(Lost::Start(format!(
            "it is evo {} with protocol {}, and not evo {} with protocol {}",
            hello.version, hello.protocol, own.version, own.protocol
        ))),
    }
}

/// An answer that was read.
pub(super) fn answer(message: &[u8]) -> Result<Answer, Lost> {
    serde_json::from_slice(message).map_err(|error| Lost::Protocol(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_bytes_and_nothing_else_is() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(bytes(&digits(&all)), Some(all));
        assert_eq!(["0", "0g", "é0", "000"].map(bytes), [const { None }; 4]);
        assert_eq!(bytes(""), Some(Vec::new()));
    }
}
