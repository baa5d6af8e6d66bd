//! What a worker and the one who asks it say to each other. `book/src/workers.md` is the same for people.

use serde::{Deserialize, Serialize};

use super::process::Lost;
use crate::sandbox::{Job, Verdict};

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
    /// The request could not be answered.
    Failed(Failed),
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
