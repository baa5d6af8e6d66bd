//! The seam between what programs compute and the world: every effect passes through [`Effects`].

use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use evo_kernels::decode::Device;
use evo_kernels::rng::Stream;
use evo_lang::plan::{Const, Key, NodeId};
use evo_lang::span::Span;

use crate::llm::{Exchange, Proposer, Request};
use crate::model::Place;
use crate::task::Memory;
use crate::value::{Callable, Value};

/// Implemented by the runtime: progress, cancellation, files, and the application of functions to candidates.
pub trait Effects: Sync {
    /// Tells how far the node is.
    fn progress(&self, progress: Progress);

    /// Whether the run has been asked to stop; long work returns [`Failure::cancelled`] soon after.
    fn cancelled(&self) -> bool;

    /// Where an input path of the program is.
    fn input(&self, path: &str) -> PathBuf;

    /// Applies a function to each list of arguments, in parallel: one result for each, in order. Every one is
    /// journaled as it is done. A candidate that fails is a result; an error means that the run itself cannot go on.
    fn map(&self, function: &Callable, args: Vec<Vec<Value>>, at: Batch) -> Result<Vec<Evaluated>, Failure>;

    /// Whether the node has taken `limit` seconds of wall clock, over all segments of the run, when `generation` is to
    /// begin. What was found once holds for ever: a resumed run ends where the journal says that it ended.
    fn is_over(&self, generation: u64, limit: f64) -> Result<bool, Failure>;

    /// A search has told its optimizer a generation's scores.
    fn generation(&self, report: Generation);

    /// Figures of one step of long work, each under its name: what a run may keep for a viewer of curves.
    fn scalars(&self, step: u64, values: &[(&'static str, f64)]);

    /// Tells the user of something that stops nothing.
    fn warn(&self, code: &'static str, message: String, help: &str);

    /// Asks a language model, or says again what it said to the same request in this run. Every answer is journaled.
    fn chat(&self, proposer: &Proposer, request: &Request) -> Result<Exchange, Failure>;

    /// The node's checkpoint, if an earlier segment of the run left one that is whole; of one that is not, the user is told.
    fn load_checkpoint(&self) -> Result<Option<Vec<u8>>, Failure>;

    /// Whether it is time to write a checkpoint. The clock decides when, and nothing else: no result may hang on it.
    fn checkpoint_is_due(&self) -> bool;

    /// Puts what `write` writes in place of the node's checkpoint, whole or not at all. It goes when the node is done.
    fn save_checkpoint(&self, write: &dyn Fn(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure>;
}

/// Which generation of a search a batch of candidates is, and how it was made.
#[derive(Clone, Copy, Debug)]
pub struct Batch {
    /// Counts from 0.
    pub generation: u64,
    /// The number of the first candidate within the generation.
    pub first: u64,
    /// What made the candidates, such as `cma_es`. Methods that sample a distribution have no parents.
    pub operator: &'static str,
    /// How often an evaluation that failed is tried again, where that may help.
    pub retries: u32,
}

/// What came of one evaluation.
#[derive(Clone, Debug)]
pub struct Evaluated {
    /// The value, or why there is none.
    pub outcome: Result<Value, Arc<Failure>>,
    /// Whether it was known from an earlier evaluation.
    pub cached: bool,
    /// The identity of what was evaluated.
    pub node: Key,
}

/// How far a node is.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Units done.
    pub done: u64,
    /// Units in all, where known.
    pub total: Option<u64>,
    /// What it is at, in a few words.
    pub message: String,
    /// The figure to watch and its name, such as the loss.
    pub metric: Option<(&'static str, f64)>,
    /// Further figures, such as the learning rate.
    pub figures: Vec<Figure>,
    /// What has been gone through so far and its name, such as tokens: told as so many a second.
    pub amount: Option<(&'static str, u64)>,
}

/// A figure with its name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure {
    /// Such as `learning rate`.
    pub name: &'static str,
    /// Its latest value.
    pub value: f64,
}

/// A generation's account.
#[derive(Clone, Debug, Default)]
pub struct Generation {
    /// Counts from 0.
    pub generation: u64,
    /// Evaluations so far.
    pub evaluations: u64,
    /// The most that its `stop` allows, where known.
    pub limit: Option<u64>,
    /// The best score so far.
    pub best: Option<f64>,
    /// The mean score of the generation's candidates that did not fail.
    pub mean: Option<f64>,
    /// The optimizer's step size.
    pub sigma: Option<f64>,
}

/// What a running builtin is given besides its arguments.
pub struct Cx<'e> {
    /// The world.
    pub effects: &'e dyn Effects,
    /// The node's identity.
    pub key: Key,
    /// The identity that random draws are keyed by: raising a `stop` leaves it as it is.
    pub draw_key: Key,
    /// The declared name, or the builtin's.
    pub name: Arc<str>,
    /// How many threads it may use; never changes a result.
    pub threads: usize,
    /// What models are computed on instead of the CPU.
    pub device: Option<Device>,
    /// What one evaluation leaves for the next; never changes a result.
    pub memory: Arc<Memory>,
    /// Becomes true when the run is asked to stop.
    pub stop: Arc<AtomicBool>,
    /// Whether the run is a tiny one.
    pub tiny: bool,
}

impl Cx<'_> {
    /// The node's own random stream.
    pub fn stream(&self) -> Stream {
        Stream::from_digest(&self.draw_key.0)
    }

    /// Where models are computed.
    pub fn place(&self) -> Place {
        let (device, residuals) = (self.device.clone(), Some(self.memory.residuals.clone()));
        Place { threads: self.threads, device, stop: Some(self.stop.clone()), residuals }
    }

    /// Returns the failure that a cancelled run ends with, if it has been cancelled.
    pub fn check_cancelled(&self) -> Result<(), Failure> {
        if self.effects.cancelled() { Err(Failure::cancelled()) } else { Ok(()) }
    }

    /// Tells how far the node is.
    pub fn progress(&self, done: u64, total: u64, message: impl Into<String>, metric: Option<(&'static str, f64)>) {
        self.effects.progress(Progress {
            done,
            total: Some(total),
            message: message.into(),
            metric,
            ..Progress::default()
        });
    }
}

/// Why a node has no value.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// The stable code, such as `R0501`.
    pub code: &'static str,
    /// One complete sentence without capital or full stop.
    pub title: Box<str>,
    /// Facts with numbers.
    pub notes: Vec<String>,
    /// What to do.
    pub help: Box<str>,
    /// The parameter whose argument is at fault, if one is.
    pub param: Option<&'static str>,
    /// Whether the run was asked to stop.
    pub is_cancelled: bool,
    /// The node that failed; filled in by the runtime.
    pub node: Option<NodeId>,
    /// The generation and the candidate that it is about, where a search failed for one of them.
    pub candidate: Option<Box<(u64, u64)>>,
    /// Where in numeric code it happened.
    pub span: Option<Box<Span>>,
}

impl Failure {
    /// A failure with a code and a sentence.
    pub fn new(code: &'static str, title: impl Into<String>) -> Failure {
        Failure {
            code,
            title: title.into().into(),
            notes: Vec::new(),
            help: Box::default(),
            param: None,
            is_cancelled: false,
            node: None,
            candidate: None,
            span: None,
        }
    }

    /// The failure of a node that was asked to stop.
    pub fn cancelled() -> Failure {
        Failure { is_cancelled: true, ..Failure::new("R0500", "the run was asked to stop") }
    }

    /// Whether trying again may help: the machine, a file or a host function failed, and not the computation, which
    /// gives the same for the same inputs.
    pub fn may_pass(&self) -> bool {
        matches!(self.code, "R0504" | "R0505" | "R0507" | "R0515" | "R0535")
    }

    /// Whether the run itself cannot go on: its own files cannot be written, its journal is contradicted, or a language model cannot be
    /// asked, which says nothing of the candidate that would ask it.
    pub fn ends_run(&self) -> bool {
        self.cuts_short() || matches!(self.code, "R0531" | "R0534" | "R0537" | "R0541" | "R0542" | "R0543" | "R0545")
    }

    /// Whether the run can go on later as it is: a service does not answer, or the budget is used up.
    pub fn cuts_short(&self) -> bool {
        matches!(self.code, "R0530" | "R0533")
    }

    /// Says which candidate it is about.
    pub fn at(mut self, generation: u64, candidate: u64) -> Failure {
        self.candidate = Some(Box::new((generation, candidate)));
        self
    }

    /// Adds what to do.
    pub fn help(mut self, help: impl Into<String>) -> Failure {
        self.help = help.into().into();
        self
    }

    /// Adds a fact.
    pub fn note(mut self, note: impl Into<String>) -> Failure {
        self.notes.push(note.into());
        self
    }

    /// Names the argument at fault.
    pub fn param(mut self, param: &'static str) -> Failure {
        self.param = Some(param);
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.title)
    }
}

impl std::error::Error for Failure {}

/// Writes text for `print` and `plot`: a thing that can be drawn.
pub trait Draw {
    /// As SVG.
    fn svg(&self) -> String;
    /// As text, `width` columns wide.
    fn terminal(&self, width: usize) -> String;
}

/// What `save` can write.
pub trait Save {
    /// Writes the whole thing to `path`, or nothing. `card` says where it comes from.
    fn save(&self, path: &Path, card: &Card) -> Result<(), Failure>;
}

/// Where a saved artifact comes from.
#[derive(Clone, Debug, Default)]
pub struct Card {
    /// The program's name.
    pub program: String,
    /// The program's hash.
    pub program_hash: String,
    /// The source text of the request's value.
    pub recipe: String,
    /// Resolved params, by name.
    pub params: Vec<(String, Const)>,
    /// Whether it comes from a tiny run.
    pub tiny: bool,
}
