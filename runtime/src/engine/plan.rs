//! A plan: what a program's requests need, before anything is spent.

use std::sync::Arc;

use evo_lang::diag::Diagnostic;
use evo_lang::span::SourceMap;
use serde::Serialize;

use super::{Engine, Failure, Form, Program, Run, RunOptions, RunOutcome, Settings};
use crate::run::dir::Identity;
use crate::run::execute;
use crate::store::Key;

/// A node as `evo plan` shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NodeView {
    /// Its identity.
    pub node: Key,
    /// What the user calls it.
    pub name: String,
    /// Its kind, such as `train`.
    pub kind: String,
    /// Indices of the nodes that it reads, within the overview.
    pub inputs: Vec<usize>,
    /// Whether its value is in the store already.
    pub cached: bool,
    /// The most evaluations it makes, if it is a search.
    pub evaluations: Option<u64>,
    /// The steps of a training, and the examples of each.
    pub steps: Option<(u64, u64)>,
    /// The rows that it makes, asks or scores, where that is known before.
    pub rows: Option<u64>,
    /// Whether it takes no time worth measuring, as data, settings and merges in memory.
    pub quick: bool,
    /// Wall-clock seconds, as earlier runs measured it: the same node, or one of its name in an earlier run of the
    /// program, a search by its evaluations; at most what `stop` allows. Nothing where no run has measured it.
    pub seconds: Option<f64>,
    /// Bytes of memory, as far as the models' headers tell: weights, gradients and an optimizer's state, but not the activations
    /// of a training.
    pub memory: Option<u64>,
    /// Of a search whose fitness scores models: what its candidates take of the memory.
    pub candidates: Option<Candidates>,
    /// Estimated US dollars.
    pub cost: Option<f64>,
}

/// The candidates of a search and the memory, as far as the models' headers tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Candidates {
    /// Bytes of one candidate: weights in the decoder's form, activations and caches of the passes over its task.
    pub bytes: u64,
    /// How many fit beside the models that stay in memory; no more are evaluated at once, whatever the jobs. Nothing where the memory
    /// is not known.
    pub fit: Option<u64>,
    /// Bytes that the rows take at the most which candidates with equal lower layers share.
    pub residuals: u64,
}

/// A plan as data; inputs stand before the nodes that read them.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Overview {
    /// The nodes.
    pub nodes: Vec<NodeView>,
    /// The requests' source texts.
    pub requests: Vec<String>,
}

/// Why a node has to be computed, for `--explain`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// The node's identity.
    pub node: Key,
    /// What the user calls it.
    pub name: String,
    /// The term of its identity that changed since the last run, such as ``param `evaluations`: 60 → 120``.
    pub reason: String,
}

/// What a program's requests need, with every value named by its content.
#[derive(Debug)]
pub struct Plan {
    pub(super) engine: Engine,
    pub(super) identity: Identity,
    pub(super) file: String,
    pub(super) text: Arc<str>,
    pub(crate) planned: execute::Planned,
    /// As they were given.
    pub(super) settings: Settings,
    warnings: Vec<Diagnostic>,
}

impl Plan {
    pub(super) fn new(
        program: &Program,
        planned: execute::Planned,
        settings: &Settings,
        warnings: Vec<Diagnostic>,
    ) -> Plan {
        let identity = Identity {
            program: program.name.clone(),
            program_hash: planned.program_hash(),
            params: planned.params(),
            seed: planned.seed(),
            tiny: settings.tiny,
            device: planned.device.as_ref().map(|device| device.name().to_owned()),
            out: program.engine.host.root.clone(),
        };
        Plan {
            engine: program.engine.clone(),
            identity,
            file: program.file.clone(),
            text: program.text.clone(),
            planned,
            settings: settings.clone(),
            warnings,
        }
    }

    /// What is doubtful but stops nothing.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// The texts that were read.
    pub fn sources(&self) -> &Arc<SourceMap> {
        &self.planned.sources
    }

    /// The nodes, with what they are expected to take.
    pub fn overview(&self) -> Result<Overview, Failure> {
        self.planned.overview(&self.engine.host, &self.identity.program)
    }

    /// Why nodes have to be computed.
    pub fn explain(&self) -> Result<Vec<Explanation>, Failure> {
        self.planned.explain(&self.engine.host, &self.identity.program)
    }

    /// A dump of a form of the program; nothing for those that [`Program::emit`] gives.
    pub fn emit(&self, form: Form) -> Option<String> {
        self.planned.emit(form)
    }

    /// Prepares a run: makes or reopens its directory, opens journal and store. Fails before anything is spent if a
    /// place cannot be written to or there is nothing to resume.
    pub fn start(self, options: RunOptions) -> Result<Run, Failure> {
        Run::prepare(self, None, options)
    }

    /// Answers its requests, as a session does: a plan that holds nothing worth keeping runs in memory and leaves
    /// nothing behind; any other is a run, which goes on where one of the same program was interrupted, and whose
    /// directory stays only if something was computed or saved. `options.resume` is not looked at.
    pub fn evaluate(self, options: RunOptions) -> Result<RunOutcome, Failure> {
        super::run::evaluate(self, options)
    }
}
