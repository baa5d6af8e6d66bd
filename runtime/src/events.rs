//! What happens in a run, as data: the events, who may watch them, and how a run is asked to stop.
//!
//! Every front end (the terminal, `--json`, `events.jsonl`, a host program) is an [`Observer`] of one stream of
//! [`Event`]s. An event carries a sequence number, which grows by one within a run directory even across resumes, and
//! the time; nothing that a result depends on is read from here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::datum::{Datum, Table};
use crate::store::Key;

/// One event: a line of `events.jsonl` and of `evo run --json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Counts from 0 without gaps over all segments of a run.
    pub sequence: u64,
    /// When it happened: UTC, RFC 3339 with milliseconds.
    pub time: String,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What an event says; its name in JSON is the field `event`, such as `"node_finished"`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EventKind {
    /// A segment of a run begins: its first, or one more after an interruption.
    RunStarted {
        /// The run directory's name.
        run: String,
        /// The program's name, which is its file's stem.
        program: String,
        /// The hash of the program and its params.
        program_hash: Key,
        /// The program's seed.
        seed: i64,
        /// Evaluations that may run at once.
        jobs: usize,
        /// Whether effort was lowered by `--tiny`.
        tiny: bool,
        /// 0 for the first segment, one more for each resume.
        segment: u32,
    },
    /// The segment ended, well or not.
    RunFinished {
        /// How it ended.
        status: Status,
        /// Wall-clock seconds of this segment.
        seconds: f64,
    },
    /// A node of the plan begins.
    NodeStarted {
        /// The node's identity.
        node: Key,
        /// What the user calls it, such as `calculator`.
        name: String,
        /// Its kind, such as `train`.
        kind: String,
    },
    /// How far a node is.
    NodeProgress {
        /// The node's identity.
        node: Key,
        /// What the user calls it.
        name: String,
        /// Work that is done, in the unit that `message` names or implies.
        done: u64,
        /// All of the work, where that is known.
        total: Option<u64>,
        /// What it is at, in a few words, or empty.
        message: String,
        /// Units a second, where measured.
        rate: Option<f64>,
        /// The figure to watch, such as the loss.
        metric: Option<Metric>,
        /// Further figures by name, such as `learning rate` and `tokens/s`.
        #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
        more: IndexMap<String, f64>,
        /// Seconds that are left at this rate, where that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        remaining: Option<f64>,
    },
    /// A node is done.
    NodeFinished {
        /// The node's identity.
        node: Key,
        /// What the user calls it.
        name: String,
        /// Where its value came from.
        outcome: NodeOutcome,
        /// Seconds it took.
        seconds: f64,
    },
    /// A search has told its candidates' scores to its optimizer.
    Generation {
        /// The search's identity.
        search: Key,
        /// What the user calls the search.
        name: String,
        /// Counts from 0.
        generation: u64,
        /// Evaluations so far.
        evaluations: u64,
        /// The most evaluations that its `stop` allows, where that is known.
        limit: Option<u64>,
        /// The best score so far.
        best: Option<f64>,
        /// The mean score of this generation's candidates that did not fail.
        mean: Option<f64>,
        /// The optimizer's step size, where it has one.
        sigma: Option<f64>,
        /// Anything else that the search reports, such as `coverage` or `qd_score`.
        #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
        more: IndexMap<String, f64>,
    },
    /// A candidate was evaluated.
    Evaluation {
        /// The search's identity.
        search: Key,
        /// The generation it belongs to.
        generation: u64,
        /// Its index within the generation.
        candidate: u64,
        /// Its scores, or why it failed.
        #[serde(flatten)]
        outcome: Outcome,
        /// Whether the outcome was known already.
        cached: bool,
        /// Seconds that the candidate's own nodes ran, all added up however many ran at once (and all attempts, where it was
        /// tried again); next to nothing where they were kept. What candidates share, and waiting, does not count.
        seconds: f64,
    },
    /// Something that the user should know and that stops nothing.
    Warning {
        /// The diagnostic's code, if it has one.
        code: Option<String>,
        /// The message, complete by itself.
        message: String,
        /// `FILE:LINE:COLUMN`, if it has a place.
        place: Option<String>,
        /// What to do about it, if anything.
        help: Option<String>,
    },
    /// A `print` request's result.
    Printed {
        /// The request's index among the program's requests.
        request: u32,
        /// What to show.
        shown: Shown,
    },
    /// A `plot` request's result.
    Plotted {
        /// The request's index among the program's requests.
        request: u32,
        /// The file that was written, if the request names one.
        path: Option<String>,
        /// The plot drawn with text, for the terminal.
        text: String,
    },
    /// A `save` request's result is in place.
    Saved {
        /// The request's index among the program's requests.
        request: u32,
        /// The file or directory.
        path: String,
        /// What lies there, such as `model`.
        what: String,
    },
    /// An `expect` request's answer.
    Expected {
        /// The request's index among the program's requests.
        request: u32,
        /// What was expected: the message or the expression's text.
        message: String,
        /// Whether it holds.
        holds: bool,
        /// Whether the answer counts (it is only shown in a tiny run).
        enforced: bool,
    },
    /// All that is finished so far is safe on disk.
    Checkpoint {
        /// The checkpoint's path within the run directory.
        path: String,
    },
    /// The run was asked to stop.
    Cancelled {
        /// Whether it stops at once rather than cleanly.
        now: bool,
    },
}

/// A named figure that goes with progress.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// Such as `loss`.
    pub name: String,
    /// Its latest value.
    pub value: f64,
}

/// Where a node's value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeOutcome {
    /// It was computed now.
    Computed,
    /// It was found in the store or the journal.
    Cached,
    /// It failed; the diagnostic follows in the run's outcome.
    Failed,
    /// The run was asked to stop before it was done.
    Stopped,
}

/// What became of a candidate: failure is data, with a reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It has a score for each objective.
    Scored {
        /// One for each objective, in the search's order, all finite.
        scores: Vec<f64>,
        /// The behaviour's measures, if the search has any.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        measures: Vec<f64>,
    },
    /// It has none, and ranks last.
    Failed {
        /// The diagnostic's code, such as `R0502`.
        code: String,
        /// Why, complete by itself.
        reason: String,
    },
}

/// What a `print` shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shown {
    /// Rows and columns.
    Table(Table),
    /// A text as it stands.
    Text(String),
    /// One plain value.
    Value(Datum),
}

impl Shown {
    /// How a printed value is shown: records and lists of records as a table, the rest on a line.
    pub fn of(value: Datum) -> Shown {
        match value {
            Datum::Text(text) => Shown::Text(text),
            Datum::Record(_) => Shown::Table(Table::of(&value)),
            Datum::List(ref items) if !items.is_empty() && items.iter().all(|i| matches!(i, Datum::Record(_))) => {
                Shown::Table(Table::of(&value))
            }
            other => Shown::Value(other),
        }
    }
}

/// The state of a run, as `run.json` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It is under way, or was killed: which of the two, the directory's lock tells.
    Running,
    /// All requests are answered.
    Done,
    /// All requests are answered, and an `expect` does not hold.
    Refuted,
    /// It failed.
    Failed,
    /// A budget or a lost service cut it short; it can be resumed.
    CutShort,
    /// The user stopped it; it can be resumed.
    Interrupted,
}

impl Status {
    /// The process's exit code: 0 done, 1 the answer is no, 3 failed, 4 cut short, 130 interrupted.
    pub fn exit_code(self) -> u8 {
        match self {
            Status::Done => 0,
            Status::Refuted => 1,
            Status::Running | Status::Failed => 3,
            Status::CutShort => 4,
            Status::Interrupted => 130,
        }
    }

    /// Whether `--resume` may continue a run in this state (if no process is at it).
    pub fn can_resume(self) -> bool {
        matches!(self, Status::Running | Status::Failed | Status::CutShort | Status::Interrupted)
    }
}

/// Watches a run. Calls come from many threads, one at a time and in the order of the sequence numbers; they should
/// return quickly, because the run waits for them.
pub trait Observer: Send + Sync {
    /// Called once for each event.
    fn event(&self, event: &Event);
}

impl<F: Fn(&Event) + Send + Sync> Observer for F {
    fn event(&self, event: &Event) {
        self(event);
    }
}

/// A request to stop that many parts of a run share; clones are the same token.
///
/// The first [`stop`](Cancel::stop) asks for a clean end: running evaluations finish or give up soon, what is finished
/// is journaled, the process ends with 130. The second asks for an end at once; the journal is safe all the same.
#[derive(Clone, Debug, Default)]
pub struct Cancel {
    asked: Arc<AtomicU8>,
    /// What compiled code looks at while it loops.
    stop: Arc<AtomicBool>,
}

impl Cancel {
    /// A token that nobody has stopped.
    pub fn new() -> Cancel {
        Cancel::default()
    }

    /// Asks to stop; says how often that has been asked, this time included (at most 255).
    pub fn stop(&self) -> u8 {
        let add = |n: u8| Some(n.saturating_add(1));
        self.stop.store(true, Ordering::SeqCst);
        self.asked.fetch_update(Ordering::SeqCst, Ordering::SeqCst, add).unwrap_or(u8::MAX).saturating_add(1)
    }

    /// Becomes true when anyone asks to stop: numeric code that loops for long ends soon after.
    pub(crate) fn flag(&self) -> Arc<AtomicBool> {
        self.stop.clone()
    }

    /// Whether anyone asked to stop.
    pub fn is_stopped(&self) -> bool {
        self.asked.load(Ordering::SeqCst) > 0
    }

    /// Whether it was asked more than once, which means at once.
    pub fn is_immediate(&self) -> bool {
        self.asked.load(Ordering::SeqCst) > 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_json_object_and_comes_back_equal() {
        let kinds = vec![
            EventKind::Evaluation {
                search: Key::of("test", &[b"s"]),
                generation: 3,
                candidate: 1,
                outcome: Outcome::Failed { code: "R0502".into(), reason: "not finite\nat all".into() },
                cached: false,
                seconds: 0.25,
            },
            EventKind::Evaluation {
                search: Key::of("test", &[b"s"]),
                generation: 3,
                candidate: 2,
                outcome: Outcome::Scored { scores: vec![0.1 + 0.2], measures: vec![] },
                cached: true,
                seconds: 0.0,
            },
            EventKind::Printed { request: 0, shown: Shown::Value(Datum::Real(1.0)) },
            EventKind::RunFinished { status: Status::CutShort, seconds: 1.5 },
        ];
        for kind in kinds {
            let event = Event { sequence: 7, time: "2026-01-02T03:04:05.678Z".into(), kind };
            let line = serde_json::to_string(&event).unwrap();
            assert!(!line.contains('\n'), "{line}");
            assert_eq!(serde_json::from_str::<Event>(&line).unwrap(), event, "{line}");
        }
    }

    #[test]
    fn the_names_in_json_are_stable() {
        let event = Event {
            sequence: 0,
            time: "t".into(),
            kind: EventKind::Evaluation {
                search: Key::of("test", &[b"s"]),
                generation: 0,
                candidate: 4,
                outcome: Outcome::Scored { scores: vec![0.5], measures: vec![] },
                cached: false,
                seconds: 1.0,
            },
        };
        let json = serde_json::to_value(&event).unwrap();
        assert_eq!(json["event"], "evaluation");
        assert_eq!(json["outcome"], "scored");
        assert_eq!(json["scores"][0], 0.5);
        assert_eq!(json["candidate"], 4);
    }

    #[test]
    fn the_second_stop_means_at_once() {
        let cancel = Cancel::new();
        let clone = cancel.clone();
        assert!(!clone.is_stopped());
        assert_eq!(cancel.stop(), 1);
        assert!(clone.is_stopped() && !clone.is_immediate());
        assert_eq!(cancel.stop(), 2);
        assert!(clone.is_immediate());
    }
}
