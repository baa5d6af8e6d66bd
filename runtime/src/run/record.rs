//! `run.json`: what a run is and how it stands.

use std::fs;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::datum::Datum;
use crate::db::DiskError;
use crate::device;
use crate::events::Status;
use crate::store::Key;

/// What makes two runs the same run, so that one may continue the other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// The program's name: its file's stem.
    pub program: String,
    /// The hash of the program's text, of all that it uses, and of the version.
    pub program_hash: Key,
    /// The params as they were resolved.
    pub params: IndexMap<String, Datum>,
    /// The program's seed.
    pub seed: i64,
    /// Whether effort was lowered by `--tiny`.
    pub tiny: bool,
    /// What models were computed on, if not on the CPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Where outputs go.
    pub out: PathBuf,
}

/// The content of `run.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The run directory's name.
    pub run: String,
    /// The program's file as the user named it.
    pub file: String,
    /// What is run.
    #[serde(flatten)]
    pub identity: Identity,
    /// The version that made the run.
    pub version: String,
    /// How it stands.
    pub status: Status,
    /// Why it failed, where it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The first start and each resume.
    pub segments: Vec<Segment>,
}

/// One process's share of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    /// UTC.
    pub started: String,
    /// UTC; missing while it runs and when it was killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// The machine.
    pub host: String,
    /// The process.
    pub process: u32,
    /// Evaluations at once.
    pub jobs: usize,
}

impl Segment {
    /// This process's share, from now on.
    pub(crate) fn begin(jobs: usize) -> Segment {
        let host = gethostname::gethostname().to_string_lossy().into_owned();
        Segment { started: clock::now_text(), ended: None, host, process: std::process::id(), jobs }
    }
}

impl Record {
    /// Reads a directory's `run.json`.
    pub fn read(run: &Path) -> Result<Record, DiskError> {
        let path = run.join("run.json");
        let text = fs::read(&path).map_err(|e| DiskError::from_io(&path, &e))?;
        serde_json::from_slice(&text).map_err(|e| DiskError::Damaged { path, reason: e.to_string() })
    }
}

impl Identity {
    /// The hash that names the run directory.
    pub fn hash(&self) -> Key {
        Key::of("run", &[serde_json::to_string(self).unwrap_or_default().as_bytes()])
    }

    /// The first thing in which another one differs, for a message.
    pub(crate) fn difference(&self, other: &Identity) -> Option<String> {
        if self.program_hash != other.program_hash {
            return Some("its program, which has changed since".into());
        }
        let named = |name: &str, a: &dyn std::fmt::Display, b: &dyn std::fmt::Display| {
            Some(format!("`{name}`: {a} there, {b} here"))
        };
        if self.seed != other.seed {
            return named("seed", &self.seed, &other.seed);
        }
        if self.tiny != other.tiny {
            return named("--tiny", &self.tiny, &other.tiny);
        }
        if self.device != other.device {
            let [here, there] = [self, other].map(|identity| device::name(identity.device.as_deref()));
            return named("--device", &here, &there);
        }
        if self.out != other.out {
            return named("--out", &self.out.display(), &other.out.display());
        }
        let names = self.params.keys().chain(other.params.keys());
        let changed = names.into_iter().find(|name| self.params.get(*name) != other.params.get(*name))?;
        let show = |params: &IndexMap<String, Datum>| serde_json::to_string(&params.get(changed)).unwrap_or_default();
        named(changed, &show(&self.params), &show(&other.params))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_on_another_device_is_another_run() {
        let on = |device: Option<&str>| Identity {
            program: "p".into(),
            program_hash: Key::of("program", &[]),
            params: IndexMap::new(),
            seed: 0,
            tiny: false,
            device: device.map(str::to_owned),
            out: PathBuf::from("."),
        };
        let (usual, other) = (on(None), on(Some("cuda")));
        assert_ne!(usual.hash(), other.hash());
        assert_eq!(usual.difference(&other).unwrap_or_default(), "`--device`: cpu there, cuda here");
        assert_eq!(other.difference(&other), None);
    }
}
