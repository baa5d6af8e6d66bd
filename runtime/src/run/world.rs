//! What nodes are computed in: the graph, the library, the store, the journal, the events.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use evo_lang::library::Extern;
use evo_lang::plan::{Const, Elaborator, Key, Node, NodeId, Op};
use evo_lang::span::SourceMap;
use evo_stdlib::Library;
use evo_stdlib::bind::{Builtin, Kept, Manner, Place, stored};
use evo_stdlib::cx::{Cx, Failure};
use evo_stdlib::model::Device;
use evo_stdlib::task::Memory;
use evo_stdlib::value::{Stored, Value};

use super::away::Away;
use super::desk::Desk;
use super::effects::NodeEffects;
use super::execute::Scope;
use super::host::HostFunctions;
use super::journal::{Journal, JournalError};
use super::log::EventLog;
use super::naming;
use super::replay::Replaying;
use super::rows;
use super::scheduler::{Finished, Scheduler};
use super::trainings::Trainings;
use crate::clock::Stopwatch;
use crate::events::{Cancel, EventKind, NodeOutcome};
use crate::panics;
use crate::store::{self, Store};

/// What the searches of a session found, by identity: what a program's next run would search for again, a session has
/// at hand.
#[derive(Default)]
pub(crate) struct Found(Mutex<BTreeMap<Key, Value>>);

impl Found {
    fn get(&self, key: &Key) -> Option<Value> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    fn put(&self, key: Key, value: Value) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, value);
    }

    /// Forgets all.
    pub(crate) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl std::fmt::Debug for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Found").finish_non_exhaustive()
    }
}

/// The parts of a run that its nodes share.
pub(crate) struct World {
    /// Grows when a search applies its functions.
    elaborator: Mutex<Elaborator>,
    /// What is called.
    pub(crate) library: Arc<Library>,
    /// Results across runs; nothing is kept without it.
    pub(crate) store: Option<Arc<Store>>,
    /// What the host has bound.
    functions: Arc<HostFunctions>,
    /// What the graph's places point into.
    sources: Arc<SourceMap>,
    /// Results of this run.
    pub(crate) journal: Arc<Journal>,
    /// Who watches.
    pub(crate) log: Arc<EventLog>,
    /// Whether to stop.
    pub(crate) cancel: Cancel,
    /// Whether effort is lowered.
    pub(crate) tiny: bool,
    /// What models are computed on instead of the CPU.
    device: Option<Device>,
    /// What one evaluation leaves for the next.
    memory: Arc<Memory>,
    /// What searches found, across the runs of a session.
    found: Option<Arc<Found>>,
    /// What trainings write beside their results.
    pub(crate) trainings: Trainings,
    /// Processes that evaluate candidates, if there are any.
    pub(crate) away: Option<Arc<Away>>,
    /// Who asks language models.
    pub(crate) desk: Arc<Desk>,
    /// Where the program's files are.
    place: Place,
    given: Mutex<BTreeMap<Key, Value>>,
    /// Whether it has been told that results cannot be stored: of thousands of candidates the first is enough.
    is_unkept_told: AtomicBool,
    /// Nodes from this number on were made for candidates.
    first_candidate: AtomicU32,
    /// The candidate that is computed again, if that is what the world is for.
    pub(crate) replaying: Option<Arc<Replaying>>,
}

impl World {
    /// A world whose graph is what the program's requests need.
    pub(crate) fn new(
        elaborator: Elaborator,
        library: Arc<Library>,
        scope: &Scope<'_>,
        place: Place,
        tiny: bool,
        memory: Memory,
    ) -> World {
        let first = elaborator.graph().len() as u32;
        World {
            elaborator: Mutex::new(elaborator),
            library,
            functions: scope.planned.functions.clone(),
            sources: scope.planned.sources.clone(),
            store: scope.store.cloned(),
            journal: scope.journal.clone(),
            log: scope.log.clone(),
            cancel: scope.cancel.clone(),
            tiny,
            device: scope.planned.device.clone(),
            memory: Arc::new(memory),
            found: scope.found.cloned(),
            trainings: scope.trainings.clone(),
            away: scope.away.cloned(),
            desk: scope.desk.clone(),
            place,
            given: Mutex::default(),
            is_unkept_told: AtomicBool::new(false),
            first_candidate: AtomicU32::new(first),
            replaying: None,
        }
    }

    /// The same world, in which one candidate is computed again: of candidates nothing is looked up, and every step is told.
    pub(crate) fn replaying(self, replaying: Arc<Replaying>) -> World {
        World { replaying: Some(replaying), ..self }
    }

    /// The elaborator, for one caller at a time.
    pub(crate) fn elaborator(&self) -> MutexGuard<'_, Elaborator> {
        self.elaborator.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn node(&self, id: NodeId) -> Arc<Node> {
        self.elaborator().graph().node(id).clone()
    }

    pub(crate) fn is_candidate(&self, id: NodeId) -> bool {
        id.0 >= self.first_candidate.load(Ordering::Relaxed)
    }

    pub(crate) fn given(&self, key: &Key) -> Option<Value> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    /// Holds a value that candidates are made from, under its key.
    pub(crate) fn give(&self, key: Key, value: Value) {
        self.given.lock().unwrap_or_else(PoisonError::into_inner).insert(key, value);
    }

    /// Where an input path is: beside the program, then in the working directory.
    pub(crate) fn input(&self, path: &str) -> PathBuf {
        self.place.input(path)
    }

    pub(crate) fn manner(&self, ext: &Extern) -> Manner {
        self.library.builtin(ext).map_or(Manner::Work, |builtin| builtin.manner)
    }

    /// Whether a node's result is kept across runs.
    pub(crate) fn keeps(&self, node: &Node) -> bool {
        self.stores(node) || self.holds(node)
    }

    /// Whether a node's result goes to the store.
    fn stores(&self, node: &Node) -> bool {
        let Op::Extern(ext) = &node.op else { return false };
        !node.local && self.store.is_some() && self.library.builtin(ext).is_some_and(|builtin| builtin.keep)
    }

    /// Whether a node's result is held in memory for the session: a search's, which no store keeps.
    fn holds(&self, node: &Node) -> bool {
        let Op::Extern(ext) = &node.op else { return false };
        self.found.is_some() && self.library.builtin(ext).is_some_and(|builtin| builtin.manner == Manner::Direct)
    }

    /// Whether the user is told of a call.
    fn shows(&self, id: NodeId, builtin: &Builtin) -> bool {
        match self.is_candidate(id) {
            true => self.replaying.is_some(),
            false => builtin.keep || builtin.manner == Manner::Direct,
        }
    }

    /// A node that the store keeps: its result. Reads the disk.
    pub(crate) fn find(&self, id: NodeId) -> Option<Finished> {
        let node = self.node(id);
        let Op::Extern(ext) = &node.op else { return None };
        let builtin = self.library.builtin(ext)?;
        if self.cancel.is_stopped() {
            return Some(failed(Failure::cancelled()));
        }
        if self.replaying.is_some() && self.is_candidate(id) {
            return None;
        }
        let clock = Stopwatch::start();
        let name = node.label.clone().unwrap_or_else(|| ext.name.clone());
        let mut outcome = Ok(self.kept(&node, &name)?);
        if self.shows(id, builtin) {
            let title = naming::name(&node, &self.sources);
            self.started(&node, ext, &title);
            if let Err(failure) = self.finished(&node, ext, &title, NodeOutcome::Cached, clock.seconds()) {
                outcome = Err(Arc::new(Failure { node: failure.node.or(Some(id)), ..failure }));
            }
        }
        Some(Finished { outcome, cached: true })
    }

    /// Computes a call; what is kept of it has been looked for.
    pub(crate) fn call(
        &self,
        scheduler: &Arc<Scheduler>,
        id: NodeId,
        node: &Arc<Node>,
        inputs: Vec<Finished>,
        threads: usize,
    ) -> Finished {
        let mut values = Vec::with_capacity(inputs.len());
        for input in inputs {
            match input.outcome {
                Ok(value) => values.push(value),
                Err(failure) => return Finished { outcome: Err(failure), cached: false },
            }
        }
        let Op::Extern(ext) = &node.op else { return failed(Failure::new("R0504", "only calls are computed here")) };
        if self.cancel.is_stopped() {
            return failed(Failure::cancelled());
        }
        let at = |failure: Failure| Arc::new(Failure { node: failure.node.or(Some(id)), ..failure });
        if let Some(function) = self.functions.of(ext) {
            let outcome = function.call(&self.journal, node, ext, &values);
            return Finished { outcome: outcome.map_err(at), cached: false };
        }
        let Some(builtin) = self.library.builtin(ext) else {
            return failed(Failure::new("R0504", format!("`{}` has no implementation", ext.name)));
        };
        let name = node.label.clone().unwrap_or_else(|| ext.name.clone());
        let shown = self.shows(id, builtin);
        let title = naming::name(node, &self.sources);
        if shown {
            self.started(node, ext, &title);
        }
        let clock = Stopwatch::start();
        let mut outcome = self.compute(scheduler, node, builtin, &name, values, threads);
        if let (Ok(value), true) = (&outcome, self.keeps(node)) {
            self.keep(node, value, &name);
        }
        self.clear_away(node, outcome.as_ref().err());
        if shown {
            let how = match &outcome {
                Ok(_) => NodeOutcome::Computed,
                Err(failure) if failure.is_cancelled => NodeOutcome::Stopped,
                Err(_) => NodeOutcome::Failed,
            };
            if let Err(failure) = self.finished(node, ext, &title, how, clock.seconds()) {
                outcome = Err(failure);
            }
        }
        Finished { outcome: outcome.map_err(at), cached: false }
    }

    fn compute(
        &self,
        scheduler: &Arc<Scheduler>,
        node: &Arc<Node>,
        builtin: &Builtin,
        name: &Arc<str>,
        values: Vec<Value>,
        threads: usize,
    ) -> Result<Value, Failure> {
        let effects = NodeEffects::new(scheduler.clone(), node.clone(), name.clone());
        let cx = Cx {
            effects: &effects,
            key: node.key,
            draw_key: node.draw_key,
            name: name.clone(),
            threads,
            device: self.device.clone(),
            memory: self.memory.clone(),
            stop: self.cancel.flag(),
            tiny: self.tiny,
        };
        match catch_unwind(AssertUnwindSafe(|| (builtin.run)(&cx, values))) {
            Ok(result) => result,
            Err(panic) => {
                let text = panics::text(panic.as_ref());
                Err(Failure::new("R0504", format!("`{name}` stopped unexpectedly: {text}"))
                    .help("this is a fault of evo: please report it with the program"))
            }
        }
    }

    /// Removes what a node needed only until it was done; whoever goes on with the run has its value, or its failure again.
    fn clear_away(&self, node: &Node, failure: Option<&Failure>) {
        if let Some(board) = &self.trainings.board {
            board.close(&key(node));
        }
        let is_unfinished = failure.is_some_and(|failure| failure.is_cancelled || failure.may_pass());
        if let Some(checkpoints) = self.trainings.checkpoints.as_ref().filter(|_| !is_unfinished) {
            let _ = checkpoints.remove(&key(node)); // one that stays takes some room, and no more
        }
    }

    fn started(&self, node: &Node, ext: &Extern, name: &str) {
        self.log.emit(EventKind::NodeStarted { node: key(node), name: name.to_owned(), kind: ext.name.to_string() });
    }

    /// The row and the event of a finished node.
    fn finished(
        &self,
        node: &Node,
        ext: &Extern,
        name: &str,
        outcome: NodeOutcome,
        seconds: f64,
    ) -> Result<(), Failure> {
        let took = (outcome == NodeOutcome::Computed).then_some(seconds);
        let row = || rows::node_row(&key(node), name, &ext.name, took);
        let journaled = match outcome {
            NodeOutcome::Failed | NodeOutcome::Stopped => Ok(()),
            _ => self.journal.commit(vec![row()]).map_err(|e| unjournaled(&e)),
        };
        self.log.emit(EventKind::NodeFinished { node: key(node), name: name.to_owned(), outcome, seconds });
        journaled
    }

    /// A kept result; one that is damaged is dropped with a warning.
    fn kept(&self, node: &Node, name: &str) -> Option<Value> {
        if let Some(value) = self.found.as_ref().and_then(|found| found.get(&key(node))) {
            return Some(value);
        }
        if !self.stores(node) {
            return None;
        }
        let found = match self.store.as_ref()?.get(&key(node)) {
            Ok(found) => found,
            Err(error) => {
                self.log.warn(
                    "R0507",
                    format!("the store could not be read for `{name}`: {error}"),
                    "it is computed again",
                );
                return None;
            }
        };
        let loaded = match &found {
            store::Found::Absent => return None,
            store::Found::Damaged(why) => {
                self.log.warn(
                    "R0507",
                    format!("the stored result of `{name}` is damaged: {why}"),
                    "it is computed again",
                );
                return None;
            }
            store::Found::Value(bytes) => self.library.load(&node.ty, Kept::Bytes(bytes), name),
            store::Found::Artifact(path) => self.library.load(&node.ty, Kept::Files(path), name),
        };
        loaded
            .map_err(|failure| {
                self.log.warn(
                    "R0507",
                    format!("the stored result of `{name}` cannot be read: {failure}"),
                    "it is computed again",
                );
            })
            .ok()
    }

    fn keep(&self, node: &Node, value: &Value, name: &str) {
        if let Some(found) = self.found.as_ref().filter(|_| self.holds(node)) {
            found.put(key(node), value.clone());
        }
        let Some(store) = self.store.as_ref().filter(|_| self.stores(node)) else { return };
        let kept = match stored(value) {
            Stored::No => return,
            Stored::Bytes(bytes) => store.put(&key(node), &bytes).map_err(|e| e.to_string()),
            Stored::Files(write) => store
                .put_artifact(&key(node), |dir| write(dir).map_err(std::io::Error::other))
                .map(drop)
                .map_err(|e| e.to_string()),
        };
        if let Err(error) = kept
            && !self.is_unkept_told.swap(true, Ordering::Relaxed)
        {
            self.log.warn(
                "R0507",
                format!("the result of `{name}` could not be stored: {error}"),
                "free some disk space, or see `evo clean`; what cannot be stored is computed again by the next run",
            );
        }
    }

    /// Elaborates a closure's application.
    pub(crate) fn apply(&self, function: NodeId, args: Vec<Value>) -> Result<NodeId, Failure> {
        let mut elaborator = self.elaborator();
        let node = elaborator.graph().node(function).clone();
        let types = match &node.op {
            Op::Closure(closure) => closure.params(),
            _ => Vec::new(),
        };
        let mut ids = Vec::with_capacity(args.len());
        for (value, ty) in args.into_iter().zip(types) {
            ids.push(match value.plain() {
                Some(plain) => elaborator.add_const(plain, ty),
                None => {
                    let (key, fact) = self
                        .library
                        .identity(&value)
                        .ok_or_else(|| Failure::new("R0504", "a candidate has no identity"))?;
                    self.give(key, value);
                    elaborator.add_given(key, ty, fact)
                }
            });
        }
        let applied = elaborator.apply(function, &ids, node.span);
        let diagnostics = elaborator.take_diagnostics();
        applied.map_err(|_| match diagnostics.into_iter().find(evo_lang::diag::Diagnostic::is_error) {
            Some(d) => Failure::new("R0508", d.title).help(d.help.join("; ")),
            None => Failure::new("R0508", "the candidate cannot be evaluated"),
        })
    }
}

/// A journal that cannot be written, or that holds something else, ends the run.
pub(crate) fn unjournaled(error: &JournalError) -> Failure {
    Failure::new(error.code().as_str(), error.to_string()).help(error.help())
}

fn failed(failure: Failure) -> Finished {
    Finished { outcome: Err(Arc::new(failure)), cached: false }
}

/// The node's identity as the store and the journal write it.
pub(crate) fn key(node: &Node) -> crate::store::Key {
    node.key
}

/// Plain data as a datum.
pub(crate) fn datum(value: &Const) -> crate::datum::Datum {
    use crate::datum::Datum;
    match value {
        Const::Nothing | Const::Space(_) => Datum::Missing,
        Const::Int(i) => Datum::Int(*i),
        Const::Real(r) | Const::Quantity(r) => Datum::Real(*r),
        Const::Bool(b) => Datum::Bool(*b),
        Const::Text(text) | Const::Case(_, text) => Datum::Text(text.to_string()),
        Const::Range(r) => Datum::List(vec![Datum::Real(r.lo), Datum::Real(r.hi)]),
        Const::List(items) | Const::Tuple(items) => Datum::List(items.iter().map(datum).collect()),
        Const::Record(fields) => {
            Datum::Record(fields.iter().map(|(name, value)| (name.to_string(), datum(value))).collect())
        }
    }
}
