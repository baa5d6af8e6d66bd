//! Runs the graph: each demanded node once, as soon as its inputs are there, on a fixed number of worker threads.
//!
//! A node whose result may be kept is looked up first: only where nothing is kept are its inputs demanded, so that what
//! leads to kept results is neither computed nor loaded.
//!
//! Builtins that only compute run on the workers. Those that direct other work (a search) run on threads of their own
//! and wait, so that no worker ever waits for another. What a search demands for its candidates is forgotten as soon
//! as nothing needs it; everything else stays for the run. Order of execution never changes a value.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use evo_lang::plan::{Const, Node, NodeId, Op};
use evo_stdlib::bind::Manner;
use evo_stdlib::cx::Failure;
use evo_stdlib::value::{Function, NumericFn, Value, numeric_failure};

use super::world::World;
use crate::clock::Stopwatch;

/// A node's value, or why it has none.
pub(crate) type Outcome = Result<Value, Arc<Failure>>;

/// A finished node.
#[derive(Clone)]
pub(crate) struct Finished {
    /// Its value.
    pub(crate) outcome: Outcome,
    /// Whether it came from the store, or all that it was built from did.
    pub(crate) cached: bool,
}

enum Phase {
    /// Its result may be kept: queued to be looked up, or being looked up. None of its inputs is demanded yet.
    Sought,
    /// Nothing is kept: its inputs are demanded next.
    Missed,
    /// So many inputs are not there yet.
    Waiting(usize),
    /// Queued or running.
    Started,
    Done(Finished),
}

struct Entry {
    node: Arc<Node>,
    phase: Phase,
    /// Nodes that wait for this one.
    dependents: Vec<NodeId>,
    /// The nodes that it reads, as far as they are demanded.
    reads: Vec<NodeId>,
    /// For a choice: the branch taken, once known.
    branch: Option<NodeId>,
    /// Seconds that it ran itself.
    ran: f64,
    /// Once done, for a candidate's node: seconds that it and those of its inputs ran that were made for candidates.
    took: BTreeMap<NodeId, f64>,
    /// How many unfinished nodes read the value.
    readers: usize,
    /// Demanded for a candidate only, and not as a result: forgotten after the last reader.
    passing: bool,
}

impl Entry {
    fn new(node: Arc<Node>, phase: Phase, passing: bool) -> Entry {
        Entry {
            node,
            phase,
            dependents: Vec::new(),
            reads: Vec::new(),
            branch: None,
            ran: 0.0,
            took: BTreeMap::new(),
            readers: 0,
            passing,
        }
    }
}

#[derive(Default)]
struct State {
    entries: BTreeMap<NodeId, Entry>,
    /// Ready work for candidates: latest first, so that a candidate's model is scored before the next is made.
    candidates: BTreeSet<NodeId>,
    /// Other ready work: in source order.
    others: BTreeSet<NodeId>,
    running: usize,
    closed: bool,
}

/// The scheduler of one run.
pub(crate) struct Scheduler {
    world: World,
    state: Mutex<State>,
    changed: Condvar,
    /// Threads of all work.
    jobs: usize,
    /// Nodes that are computed at once: as many as there are threads, or as fit into memory.
    workers: usize,
}

impl Scheduler {
    /// A scheduler with `workers` workers, started by [`Scheduler::run`], which share `jobs` threads.
    pub(crate) fn new(world: World, jobs: usize, workers: usize) -> Arc<Scheduler> {
        let (jobs, workers) = (jobs.max(1), workers.clamp(1, jobs.max(1)));
        Arc::new(Scheduler { world, state: Mutex::default(), changed: Condvar::new(), jobs, workers })
    }

    /// What the run computes in.
    pub(crate) fn world(&self) -> &World {
        &self.world
    }

    /// Runs `body` while the workers work; they end with it.
    pub(crate) fn run<T>(self: &Arc<Self>, body: impl FnOnce() -> T) -> T {
        let workers: Vec<_> = (0..self.workers)
            .filter_map(|i| {
                let me = self.clone();
                std::thread::Builder::new().name(format!("worker {i}")).spawn(move || me.work()).ok()
            })
            .collect();
        let result = catch_unwind(AssertUnwindSafe(body));
        self.lock().closed = true;
        self.changed.notify_all();
        for worker in workers {
            let _ = worker.join();
        }
        match result {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Demands nodes without waiting. Those of a candidate are forgotten after use, but for the `roots` themselves.
    pub(crate) fn demand(&self, roots: &[NodeId], candidate: bool) {
        let mut state = self.lock();
        for root in roots {
            self.enter(&mut state, *root, candidate);
            if let Some(entry) = state.entries.get_mut(root) {
                entry.passing = false;
            }
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Waits for one node that was demanded.
    pub(crate) fn wait(&self, id: NodeId) -> Finished {
        let mut state = self.lock();
        loop {
            match state.entries.get(&id).map(|entry| &entry.phase) {
                Some(Phase::Done(finished)) => return finished.clone(),
                Some(_) if !state.closed => {}
                _ => return Finished { outcome: Err(Arc::new(Failure::cancelled())), cached: false },
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Seconds that a candidate's finished node took: it and all the candidates' nodes that it needed, added up however
    /// many ran at once. What is kept takes as long as it is looked up; what candidates share does not count.
    pub(crate) fn took(&self, id: NodeId) -> f64 {
        self.lock().entries.get(&id).map_or(0.0, |entry| entry.took.values().sum())
    }

    /// Forgets a candidate's result once it has been read.
    pub(crate) fn forget(&self, roots: &[NodeId]) {
        let mut state = self.lock();
        for root in roots {
            let done = |e: &Entry| matches!(e.phase, Phase::Done(_)) && e.readers == 0;
            if state.entries.get(root).is_some_and(done) {
                state.entries.remove(root);
            }
        }
    }

    /// Enters a node and all it needs, up to those that are looked up first. Iterative: graphs may be deep.
    fn enter(&self, state: &mut State, root: NodeId, candidate: bool) {
        let mut stack = vec![root];
        while let Some(id) = stack.pop() {
            let is_missed = match state.entries.get(&id).map(|entry| &entry.phase) {
                Some(Phase::Missed) => true,
                Some(_) => continue,
                None => false,
            };
            let node = self.world.node(id);
            let passing = candidate && self.world.is_candidate(id);
            if !is_missed && self.world.keeps(&node) {
                state.entries.insert(id, Entry::new(node, Phase::Sought, passing));
                self.queue(state, id);
                continue;
            }
            let needed = needed(&node);
            let absent: Vec<NodeId> = needed.iter().filter(|i| !state.entries.contains_key(i)).copied().collect();
            if !absent.is_empty() {
                stack.push(id);
                stack.extend(absent);
                continue;
            }
            let reads = needed.to_vec();
            let missing = reads.iter().filter(|input| Self::read_by(state, **input, id)).count();
            let entry = state.entries.entry(id).or_insert_with(|| Entry::new(node.clone(), Phase::Missed, passing));
            entry.phase = Phase::Waiting(missing);
            entry.reads = reads;
            if missing == 0 {
                self.start(state, id);
            }
        }
    }

    /// Queues a node for the workers.
    fn queue(&self, state: &mut State, id: NodeId) {
        let queue = if self.world.is_candidate(id) { &mut state.candidates } else { &mut state.others };
        queue.insert(id);
    }

    /// Notes that `reader` reads `input`; whether it has to wait for it.
    fn read_by(state: &mut State, input: NodeId, reader: NodeId) -> bool {
        let Some(entry) = state.entries.get_mut(&input) else { return false };
        entry.readers += 1;
        let waits = !matches!(entry.phase, Phase::Done(_));
        if waits {
            entry.dependents.push(reader);
        }
        waits
    }

    /// All inputs are there: structure is built at once, calls are queued.
    fn start(&self, state: &mut State, id: NodeId) {
        let Some(entry) = state.entries.get_mut(&id) else { return };
        let node = entry.node.clone();
        if matches!(node.op, Op::If) && entry.branch.is_none() {
            return self.choose(state, id, &node);
        }
        entry.phase = Phase::Started;
        match (&node.op, entry.branch) {
            (Op::Extern(_), _) => self.queue(state, id),
            (Op::If, Some(branch)) => {
                let finished = finished_of(state, branch);
                self.finish(state, id, finished);
            }
            _ => {
                let inputs: Vec<Finished> = node.inputs.iter().map(|i| finished_of(state, *i)).collect();
                let cached = inputs.iter().all(|f| f.cached);
                let values: Result<Vec<Value>, Arc<Failure>> = inputs.into_iter().map(|f| f.outcome).collect();
                let outcome = values.and_then(|values| self.structure(id, &node, values).map_err(Arc::new));
                self.finish(state, id, Finished { outcome, cached });
            }
        }
    }

    /// A choice has its condition: the chosen branch is demanded, the other is not.
    fn choose(&self, state: &mut State, id: NodeId, node: &Node) {
        let [condition, then, otherwise] = *node.inputs else { return };
        let chosen = finished_of(state, condition);
        let branch = match &chosen.outcome {
            Ok(Value::Plain(Const::Bool(holds))) => {
                if *holds {
                    then
                } else {
                    otherwise
                }
            }
            Ok(_) => {
                let failure = Failure::new("R0504", "a condition is neither true nor false");
                return self.finish(state, id, Finished { outcome: Err(Arc::new(failure)), cached: false });
            }
            Err(_) => return self.finish(state, id, chosen),
        };
        let candidate = self.world.is_candidate(id);
        self.enter(state, branch, candidate);
        let waits = Self::read_by(state, branch, id);
        if let Some(entry) = state.entries.get_mut(&id) {
            entry.branch = Some(branch);
            entry.reads.push(branch);
            entry.phase = Phase::Waiting(usize::from(waits));
        }
        if !waits {
            self.start(state, id);
        }
    }

    /// Records a node's value and starts those that waited for it. Iterative through the stack of `start` calls.
    fn finish(&self, state: &mut State, id: NodeId, finished: Finished) {
        let took = self.times(state, id);
        let Some(entry) = state.entries.get_mut(&id) else { return };
        entry.phase = Phase::Done(finished);
        entry.took = took;
        let dependents = std::mem::take(&mut entry.dependents);
        for input in std::mem::take(&mut entry.reads) {
            Self::release(state, input);
        }
        for dependent in dependents {
            let ready = match state.entries.get_mut(&dependent).map(|e| &mut e.phase) {
                Some(Phase::Waiting(missing)) => {
                    *missing = missing.saturating_sub(1);
                    *missing == 0
                }
                _ => false,
            };
            if ready {
                self.start(state, dependent);
            }
        }
    }

    /// What ran for a candidate's node, each node once however many ways lead to it; nothing for other nodes.
    fn times(&self, state: &State, id: NodeId) -> BTreeMap<NodeId, f64> {
        let mut took = BTreeMap::new();
        if let Some(entry) = state.entries.get(&id).filter(|_| self.world.is_candidate(id)) {
            let inputs = entry.reads.iter().filter_map(|input| state.entries.get(input));
            inputs.for_each(|input| took.extend(&input.took));
            if entry.ran > 0.0 {
                took.insert(id, entry.ran);
            }
        }
        took
    }

    /// Notes how long a node ran.
    fn ran(state: &mut State, id: NodeId, seconds: f64) {
        if let Some(entry) = state.entries.get_mut(&id) {
            entry.ran += seconds;
        }
    }

    /// One reader of `input` is done; a passing value without readers is forgotten.
    fn release(state: &mut State, input: NodeId) {
        let Some(entry) = state.entries.get_mut(&input) else { return };
        entry.readers = entry.readers.saturating_sub(1);
        if entry.readers == 0 && entry.passing && matches!(entry.phase, Phase::Done(_)) {
            state.entries.remove(&input);
        }
    }

    /// Nodes that are not library calls: plain structure and compiled code.
    fn structure(&self, id: NodeId, node: &Node, inputs: Vec<Value>) -> Result<Value, Failure> {
        let mut inputs = inputs;
        Ok(match &node.op {
            Op::Const(value) => Value::Plain(value.clone()),
            Op::Given => self.world.given(&node.key).ok_or_else(|| internal("a value that was handed in is gone"))?,
            Op::List => Value::list(inputs),
            Op::Tuple => Value::tuple(inputs),
            Op::Record(names) => Value::record(names.iter().cloned().zip(inputs).collect()),
            Op::Field(name) => {
                let base = inputs.pop().ok_or_else(|| internal("a field without a value"))?;
                base.field(name).ok_or_else(|| internal(&format!("{} has no field `{name}`", base.describe())))?
            }
            Op::Index => index(&inputs)?,
            Op::Numeric(code) => {
                let stop = self.world.cancel.flag();
                Value::Plain(code.call_until(&flat(&inputs)?, &stop).map_err(|e| numeric_failure(&e))?)
            }
            Op::NumericClosure(code) => Value::Code(NumericFn {
                code: code.clone(),
                captured: flat(&inputs)?.into(),
                arity: match &node.ty {
                    evo_lang::types::Ty::Fn(f) => f.params.len(),
                    _ => 0,
                },
                stop: self.world.cancel.flag(),
            }),
            Op::Closure(closure) => Value::Function(Function { node: id, key: node.key, name: closure.name.clone() }),
            Op::Concat => {
                let items = inputs.iter().map(Value::items).collect::<Option<Vec<_>>>();
                Value::list(items.ok_or_else(|| internal("a part of a list that is no list"))?.concat())
            }
            Op::Program(_) => return Err(internal("a program was to be run")),
            Op::Hypothesis => return Err(internal("a stand-in argument was to be run")),
            Op::Extern(_) | Op::If => return Err(internal("a call was taken for structure")),
        })
    }

    /// A worker's life.
    fn work(self: &Arc<Self>) {
        let mut state = self.lock();
        loop {
            let next = state.candidates.pop_last().or_else(|| state.others.pop_first());
            let Some(id) = next else {
                if state.closed {
                    return;
                }
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            if matches!(state.entries.get(&id).map(|entry| &entry.phase), Some(Phase::Sought)) {
                state = self.seek(state, id);
                continue;
            }
            let Some((node, inputs)) = gather(&state, id) else { continue };
            let directs = matches!(&node.op, Op::Extern(ext) if self.world.manner(ext) == Manner::Direct);
            if directs {
                let me = self.clone();
                let job = (node.clone(), inputs);
                let spawned = std::thread::Builder::new().name("director".into()).spawn(move || {
                    let clock = Stopwatch::start();
                    let finished = me.world.call(&me, id, &job.0, job.1, me.jobs);
                    me.complete(id, finished, clock.seconds());
                });
                if let Err(error) = spawned {
                    let failure = Failure::new("R0505", format!("no thread could be started: {error}"));
                    self.finish(&mut state, id, Finished { outcome: Err(Arc::new(failure)), cached: false });
                }
                continue;
            }
            state.running += 1;
            let busy = state.running + state.candidates.len() + state.others.len();
            let threads = (self.jobs / busy.clamp(1, self.workers)).max(1);
            drop(state);
            let clock = Stopwatch::start();
            let finished = self.world.call(self, id, &node, inputs, threads);
            let seconds = clock.seconds();
            state = self.lock();
            state.running -= 1;
            Self::ran(&mut state, id, seconds);
            self.finish(&mut state, id, finished);
            self.changed.notify_all();
        }
    }

    /// Looks a node up while the state is unlocked; what is not kept demands its inputs.
    fn seek<'s>(&'s self, mut state: MutexGuard<'s, State>, id: NodeId) -> MutexGuard<'s, State> {
        state.running += 1;
        drop(state);
        let clock = Stopwatch::start();
        let found = self.world.find(id);
        let seconds = clock.seconds();
        let mut state = self.lock();
        state.running -= 1;
        Self::ran(&mut state, id, seconds);
        match found {
            Some(finished) => self.finish(&mut state, id, finished),
            None => {
                if let Some(entry) = state.entries.get_mut(&id) {
                    entry.phase = Phase::Missed;
                }
                let candidate = self.world.is_candidate(id);
                self.enter(&mut state, id, candidate);
            }
        }
        self.changed.notify_all();
        state
    }

    fn complete(&self, id: NodeId, finished: Finished, seconds: f64) {
        let mut state = self.lock();
        Self::ran(&mut state, id, seconds);
        self.finish(&mut state, id, finished);
        drop(state);
        self.changed.notify_all();
    }
}

/// The inputs that a node needs before it can start: all, or for a choice its condition.
fn needed(node: &Node) -> &[NodeId] {
    match node.op {
        Op::If => node.inputs.get(..1).unwrap_or_default(),
        _ => &node.inputs,
    }
}

fn finished_of(state: &State, id: NodeId) -> Finished {
    match state.entries.get(&id).map(|e| &e.phase) {
        Some(Phase::Done(finished)) => finished.clone(),
        _ => Finished { outcome: Err(Arc::new(internal("an input was not there"))), cached: false },
    }
}

fn gather(state: &State, id: NodeId) -> Option<(Arc<Node>, Vec<Finished>)> {
    let node = state.entries.get(&id)?.node.clone();
    let inputs = node.inputs.iter().map(|i| finished_of(state, *i)).collect();
    Some((node, inputs))
}

/// Plain values one after another, in slots.
pub(crate) fn flat(values: &[Value]) -> Result<Vec<u64>, Failure> {
    let mut slots = Vec::new();
    for value in values {
        let plain = value.plain().and_then(|plain| plain.flatten(&mut slots));
        plain.ok_or_else(|| internal(&format!("{} was to enter compiled code", value.describe())))?;
    }
    Ok(slots)
}

fn index(inputs: &[Value]) -> Result<Value, Failure> {
    let [base, index] = inputs else { return Err(internal("an index without a list")) };
    let Some(Const::Int(i)) = index.plain() else { return Err(internal("an index that is no whole number")) };
    let items = base.items().ok_or_else(|| internal("an index into what is no list"))?;
    let found = usize::try_from(i).ok().and_then(|i| items.get(i)).cloned();
    found.ok_or_else(|| {
        Failure::new("R0506", format!("index {i} is outside a list of {}", items.len())).help("check the length first")
    })
}

fn internal(what: &str) -> Failure {
    Failure::new("R0504", what).help("this is a fault of evo: please report it with the program")
}
