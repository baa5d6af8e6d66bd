//! Losses that a model wrote, as scripts in rhai, become declarations in `.evo`: a script is run once, on symbols, in a
//! process of its own, and what it does to them is noted down. From then on it is a program like any other, with no
//! effects.
//!
//! rhai bounds what a script does, but not what it takes: [`Sandbox`] runs it in a worker that has so much memory and is
//! killed when it takes too long. [`Tracer`] is what runs inside: an engine that knows arithmetic, comparisons and the
//! functions of losses, and nothing else.

mod engine;
mod graph;
mod natives;
mod print;
mod refuse;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use engine::Tracer;

use crate::engine::Failure;
use crate::run::execute;
use crate::workers::{Ask, Lost, Manner, Pool, Reply, Spec};

/// What a script may take.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Steps of the engine.
    pub operations: u64,
    /// Milliseconds of tracing.
    pub tracing_ms: u64,
    /// Bytes of address space of the worker, its own code included.
    pub memory: u64,
    /// Milliseconds after which the worker is killed.
    pub deadline_ms: u64,
    /// Bytes of source text.
    pub source: usize,
    /// Nodes of the trace.
    pub nodes: usize,
    /// How deep expressions and blocks nest.
    pub depth: usize,
    /// How deep functions call each other.
    pub calls: usize,
    /// Functions that it may declare.
    pub functions: usize,
    /// Variables that may live at once.
    pub variables: usize,
    /// Characters of a text.
    pub text: usize,
    /// Elements of an array, those of arrays in it included.
    pub array: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            operations: 50_000,
            tracing_ms: 200,
            memory: 256 << 20,
            deadline_ms: 2000,
            source: 64 << 10,
            nodes: 2000,
            depth: 48,
            calls: 16,
            functions: 32,
            variables: 128,
            text: 1024,
            array: 64,
        }
    }
}

/// A script to be traced.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// What the loss is to be called; a name that `.evo` takes.
    pub name: String,
    /// The source text.
    pub script: String,
    /// The inputs that it may read, by name.
    pub inputs: Vec<String>,
    /// What it may take.
    pub limits: Limits,
}

/// What becomes of a script.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is a loss.
    Traced(Traced),
    /// It is none.
    Rejected(Rejected),
}

/// A traced loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Traced {
    /// Its declaration in `.evo`.
    pub source: String,
    /// The inputs that it reads.
    pub inputs: Vec<String>,
    /// The nodes of its trace that its value needs.
    pub nodes: usize,
}

/// Why a script is no loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rejected {
    /// In a word.
    pub reason: Reason,
    /// In a sentence.
    pub message: String,
    /// What to do.
    pub help: String,
    /// Line and column, counted from 1, where the script has such a place.
    pub place: Option<(usize, usize)>,
}

/// The kinds of reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It is no rhai.
    Syntax,
    /// It uses what there is not: a function, a variable, a word, a type.
    Unknown,
    /// It branches on a symbol.
    Branch,
    /// It divides whole numbers.
    IntegerDivision,
    /// The source is too long.
    Source,
    /// It takes too many steps.
    Operations,
    /// It takes too long.
    Time,
    /// It makes too many nodes.
    Nodes,
    /// It nests or recurses too deep.
    Depth,
    /// A text, an array or a number of variables or functions is too great.
    Size,
    /// It takes too much memory.
    Memory,
    /// Its arithmetic on plain numbers overflows or is not finite.
    Arithmetic,
    /// It gives up by itself.
    Thrown,
    /// Its value is no loss.
    Value,
    /// The worker that traced it was lost.
    Crash,
}

impl Reason {
    /// The stable code of its page.
    pub fn code(self) -> &'static str {
        match self {
            Reason::Syntax | Reason::Unknown => "R0561",
            Reason::Branch => "R0562",
            Reason::IntegerDivision => "R0563",
            Reason::Source
            | Reason::Operations
            | Reason::Time
            | Reason::Nodes
            | Reason::Depth
            | Reason::Size
            | Reason::Memory => "R0564",
            Reason::Value => "R0565",
            Reason::Arithmetic | Reason::Thrown => "R0566",
            Reason::Crash => "R0567",
        }
    }

    /// What is wrong at the place, in a few words.
    pub fn label(self) -> &'static str {
        match self {
            Reason::Syntax => "cannot be read",
            Reason::Unknown => "not known here",
            Reason::Branch => "differs from row to row",
            Reason::IntegerDivision => "both are whole numbers",
            Reason::Source => "too long",
            Reason::Operations => "too many operations until here",
            Reason::Time => "too slow until here",
            Reason::Nodes => "one step too many",
            Reason::Depth => "too deep",
            Reason::Size | Reason::Memory => "too large",
            Reason::Arithmetic => "has no finite value",
            Reason::Thrown => "gives up here",
            Reason::Value => "no loss",
            Reason::Crash => "ended the worker",
        }
    }
}

impl Rejected {
    /// A rejection without a place.
    pub(crate) fn new(reason: Reason, message: impl Into<String>, help: impl Into<String>) -> Rejected {
        Rejected { reason, message: message.into(), help: help.into(), place: None }
    }
}

/// The inputs of a loss, as the library declares them.
///
/// # Errors
/// If the library is at odds with itself, which is a fault of this build.
pub fn inputs() -> Result<Vec<String>, Failure> {
    let library = execute::library()?;
    let kind = library.declarations().kinds().find(|kind| &*kind.name == "loss");
    Ok(kind.map(|kind| kind.rows.iter().map(|input| input.to_string()).collect()).unwrap_or_default())
}

/// Workers that trace scripts.
#[derive(Debug)]
pub struct Sandbox {
    pool: Pool,
}

impl Sandbox {
    /// A sandbox of so many workers, started as they are needed. The memory that a job may take is the worker's: it is
    /// set in `spec` (see [`Sandbox::spec`]).
    pub fn new(spec: Spec, workers: usize) -> Sandbox {
        Sandbox { pool: Pool::new(spec, workers) }
    }

    /// The worker of an executable that is `evo`, held to the memory of these limits.
    pub fn spec(program: impl Into<std::path::PathBuf>, limits: &Limits) -> Spec {
        Spec::small(program, limits.memory)
    }

    /// Traces a script. Whatever it does, this returns within its deadline.
    pub fn trace(&self, job: &Job) -> Verdict {
        if let Some(rejected) = too_long(job) {
            return Verdict::Rejected(rejected);
        }
        let within = Duration::from_millis(job.limits.deadline_ms);
        // What ended one worker would end another: a script gets one.
        let manner = Manner { within, strikes: 1, stop: None };
        match self.pool.ask(&Ask::Trace(Box::new(job.clone())), manner) {
            Ok(Reply::Traced(verdict)) => verdict,
            Ok(Reply::Failed(failed)) => Verdict::Rejected(Rejected::new(Reason::Crash, failed.title, failed.help)),
            Ok(_) => Verdict::Rejected(rejected(&Lost::Protocol("it answers another request".into()))),
            Err(lost) => Verdict::Rejected(rejected(&lost)),
        }
    }

    /// The workers, for those who watch them.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }
}

/// Source that is not even looked at.
fn too_long(job: &Job) -> Option<Rejected> {
    let (length, most) = (job.script.len(), job.limits.source);
    (length > most).then(|| {
        let message = format!("the script has {length} bytes of source, and {most} are allowed");
        Rejected::new(Reason::Source, message, "a loss is a few lines")
    })
}

fn rejected(lost: &Lost) -> Rejected {
    let (reason, help) = match lost {
        Lost::Deadline(_) | Lost::Processor => (Reason::Time, "a loss is a formula: leave loops out"),
        Lost::Memory => (Reason::Memory, "a loss is a formula: build no texts and lists"),
        Lost::Stack => (Reason::Depth, "let functions not call themselves"),
        _ => (Reason::Crash, "the script is recorded as rejected; others are not affected"),
    };
    Rejected::new(reason, lost.to_string(), help)
}
