//! Candidates that are evaluated in worker processes: which of them can be, what they are asked, what comes back.
//!
//! A candidate can go away whose function belongs to the program, whose arguments and value are plain, and whose evaluation
//! is computation: no search within it, no function of the host, no call that needs a key. What it shares with others and
//! the store keeps, such as a trained model, is computed here first, once; the workers find it in the store. All other
//! candidates are evaluated here, as without workers.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use evo_lang::diag::Code;
use evo_lang::plan::{NodeId, Op};
use evo_lang::types::Ty;
use evo_stdlib::bind::Manner as Calls;
use evo_stdlib::cx::Failure;
use evo_stdlib::plain;
use evo_stdlib::value::{Function, Value};

use super::execute::is_plain;
use super::scheduler::{Finished, Scheduler};
use super::world::World;
use crate::events::EventKind;
use crate::panics;
use crate::workers::protocol::{Ask, Evaluate, Evaluated, Failed, Open, Reply, bytes, digits};
use crate::workers::{Lost, Manner, Pool, STRIKES, Spec, executable};

/// Families whose calls stay: they need keys, and the run's own journal and budget.
const STAY: &[&str] = &["llm"];

/// As good as for ever.
const EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Worker processes for the candidates of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Workers {
    /// How many.
    pub count: usize,
    /// Bytes of address space that each may take, mapped files and its own code included; by default as the system has it.
    pub memory: Option<u64>,
    /// How long a candidate may take before its worker is killed and it is recorded as failed; by default for ever.
    pub deadline: Option<Duration>,
    /// The executable, which must be `evo`; by default the running one.
    pub program: Option<PathBuf>,
}

/// The workers of a run.
#[derive(Debug)]
pub(crate) struct Away {
    pool: Pool,
    options: Workers,
}

/// A candidate that can go away.
#[derive(Debug)]
pub(super) struct Errand {
    /// Its node here.
    pub(super) id: NodeId,
    request: Ask,
    /// What it shares and the store keeps.
    needs: Vec<NodeId>,
}

impl Away {
    /// Workers for a program; none is started before a candidate needs it.
    pub(crate) fn new(options: Workers, open: Open) -> Away {
        let program = options.program.clone().unwrap_or_else(executable);
        let pool = Pool::new(Spec::of(program, options.memory), options.count).opening(Ask::Open(Box::new(open)));
        Away { pool, options }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.options.count.max(1)
    }

    /// What a worker is asked for a candidate that can go away.
    pub(super) fn errand(&self, world: &World, function: &Function, args: &[Value], id: NodeId) -> Option<Errand> {
        let node = world.node(id);
        if world.is_candidate(function.node) || !is_sendable(&node.ty) {
            return None;
        }
        let encode = |value: &Value| value.plain().as_ref().and_then(plain::encode).map(|bytes| digits(&bytes));
        let arguments = args.iter().map(encode).collect::<Option<_>>()?;
        let needs = needs(world, id)?;
        let request = Ask::Evaluate(Evaluate { function: function.key, arguments, node: node.key });
        Some(Errand { id, request, needs })
    }

    /// Evaluates a candidate in a worker, and the seconds that it took. An error means that the run cannot go on: there
    /// are no workers to be had.
    pub(super) fn run(&self, scheduler: &Scheduler, errand: &Errand) -> Result<(Finished, f64), Failure> {
        let world = scheduler.world();
        scheduler.demand(&errand.needs, false);
        if errand.needs.iter().any(|need| scheduler.wait(*need).outcome.is_err()) {
            return Ok(here(scheduler, errand.id));
        }
        let (within, stop) = (self.options.deadline.unwrap_or(EVER), world.cancel.flag());
        match self.pool.ask(&errand.request, Manner { within, strikes: STRIKES, stop: Some(&stop) }) {
            Ok(Reply::Evaluated(evaluated)) => Ok(self.taken(scheduler, errand, evaluated)),
            // A fault of evo over this candidate; the worker goes on.
            Ok(Reply::Failed(told)) if told.code == "R0504" => Ok((failed(failure(world, errand.id, &told)), 0.0)),
            Ok(Reply::Failed(told)) => Err(failure(world, errand.id, &told)),
            Ok(_) => Err(no_workers("a worker answers something else")),
            Err(lost) => Ok((failed(self.lost(&lost)?), 0.0)),
        }
    }

    /// What a worker computed, as if it had been computed here.
    fn taken(&self, scheduler: &Scheduler, errand: &Errand, evaluated: Evaluated) -> (Finished, f64) {
        let world = scheduler.world();
        for warning in evaluated.warnings {
            let (code, message, help) = (warning.code, warning.message, warning.help);
            world.log.emit(EventKind::Warning { code, message, place: None, help });
        }
        let value = evaluated.outcome.map(|text| bytes(&text).and_then(|bytes| plain::decode(&bytes)));
        let outcome = match value {
            Ok(Some(value)) => Ok(Value::Plain(value)),
            Ok(None) => Err(Arc::new(no_workers("a worker's value cannot be read"))),
            Err(told) => Err(Arc::new(failure(world, errand.id, &told))),
        };
        (Finished { outcome, cached: evaluated.cached }, evaluated.seconds)
    }

    /// The failure of a candidate whose workers were lost.
    fn lost(&self, lost: &Lost) -> Result<Failure, Failure> {
        match lost {
            Lost::Stopped => Ok(Failure::cancelled()),
            Lost::Start(why) => Err(no_workers(why)),
            Lost::Deadline(given) => {
                let title = format!("the candidate took longer than {} s", given.as_secs_f64());
                Ok(Failure::new("R0569", title).help("give candidates more time with `--worker-deadline`"))
            }
            Lost::Ended(_) | Lost::Protocol(_) => {
                let title = format!("the candidate cost {STRIKES} workers");
                Ok(Failure::new("R0568", title).note(lost.to_string()).help("see what the last worker said"))
            }
            Lost::Memory | Lost::Processor | Lost::Stack => {
                let title = "the candidate asked for more than a worker has";
                let help = "give each worker more with `--worker-memory`, or have fewer of them";
                Ok(Failure::new("R0568", title).note(lost.to_string()).help(help))
            }
        }
    }
}

/// What comes of an errand: a result and its seconds, or why the run cannot go on.
type Done = Result<(Finished, f64), Failure>;

/// The errands of a batch, on their way as many at once as there are workers.
#[derive(Default)]
pub(super) struct Errands {
    all: Vec<Errand>,
    /// Equal candidates are one errand.
    known: BTreeMap<NodeId, usize>,
    next: AtomicUsize,
    done: Mutex<BTreeMap<usize, Done>>,
    changed: Condvar,
}

impl Errands {
    /// Takes an errand over; its number.
    pub(super) fn add(&mut self, errand: Errand) -> usize {
        let next = self.all.len();
        let number = *self.known.entry(errand.id).or_insert(next);
        if number == next {
            self.all.push(errand);
        }
        number
    }

    /// Has all errands run while `body` takes what comes of them; what it leaves is not begun any more.
    pub(super) fn during<T>(
        &self,
        scheduler: &Scheduler,
        body: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let Some(away) = scheduler.world().away.as_ref().filter(|_| !self.all.is_empty()) else { return body() };
        std::thread::scope(|scope| {
            for i in 0..away.count().min(self.all.len()) {
                let runner = std::thread::Builder::new().name("errand".into());
                match runner.spawn_scoped(scope, || self.run(away, scheduler)) {
                    Err(error) if i == 0 => return Err(no_workers(&error.to_string())),
                    _ => {} // fewer will do
                }
            }
            let taken = body();
            self.next.store(self.all.len(), Ordering::Relaxed);
            taken
        })
    }

    /// Runs errands until there are no more.
    fn run(&self, away: &Away, scheduler: &Scheduler) {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(errand) = self.all.get(number) else { return };
            let done = catch_unwind(AssertUnwindSafe(|| away.run(scheduler, errand)));
            let done = done.unwrap_or_else(|panic| Err(Failure::new("R0504", panics::text(panic.as_ref()))));
            self.done.lock().unwrap_or_else(PoisonError::into_inner).insert(number, done);
            self.changed.notify_all();
        }
    }

    /// Waits for what comes of an errand.
    pub(super) fn wait(&self, number: usize) -> Done {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(found) = done.get(&number) {
                return found.clone();
            }
            done = self.changed.wait(done).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Runs an errand once more.
    pub(super) fn again(&self, scheduler: &Scheduler, number: usize) -> Done {
        match (scheduler.world().away.as_ref(), self.all.get(number)) {
            (Some(away), Some(errand)) => away.run(scheduler, errand),
            _ => self.wait(number),
        }
    }
}

/// Evaluates a candidate in this process after all.
fn here(scheduler: &Scheduler, id: NodeId) -> (Finished, f64) {
    scheduler.demand(&[id], true);
    let finished = scheduler.wait(id);
    let took = scheduler.took(id);
    scheduler.forget(&[id]);
    (finished, took)
}

/// What a candidate's evaluation shares with others and the store keeps; nothing if the candidate cannot go away.
fn needs(world: &World, root: NodeId) -> Option<Vec<NodeId>> {
    let (mut needs, mut seen) = (Vec::new(), BTreeSet::new());
    let mut stack = vec![(root, false)];
    while let Some((id, is_choice)) = stack.pop() {
        if !seen.insert(id) {
            continue;
        }
        let node = world.node(id);
        match &node.op {
            Op::Given | Op::Hypothesis | Op::Program(_) => return None,
            Op::Extern(ext) => {
                let is_hosts = ext.family.is_empty();
                if is_hosts || STAY.contains(&&*ext.family) || world.manner(ext) == Calls::Direct {
                    return None;
                }
                if !world.is_candidate(id) && world.keeps(&node) {
                    // Under a choice it may not be needed at all.
                    if is_choice {
                        return None;
                    }
                    needs.push(id);
                    continue;
                }
            }
            _ => {}
        }
        let is_choice = is_choice || matches!(node.op, Op::If);
        stack.extend(node.inputs.iter().map(|input| (*input, is_choice)));
    }
    Some(needs)
}

/// Whether values of a type are plain.
fn is_sendable(ty: &Ty) -> bool {
    match ty {
        Ty::List(item) | Ty::Array(item, _) => is_sendable(item),
        other => is_plain(other),
    }
}

/// A failure as it would be here: with the node and the place.
fn failure(world: &World, root: NodeId, failed: &Failed) -> Failure {
    let code = Code::find(&failed.code).map_or("R0504", Code::as_str);
    let node = failed.node.and_then(|key| within(world, root).into_iter().find(|id| world.node(*id).key == key));
    Failure {
        notes: failed.notes.clone(),
        node: node.or(Some(root)),
        span: failed.span.map(Box::new),
        param: failed.param.as_deref().map(interned),
        ..Failure::new(code, failed.title.clone()).help(failed.help.clone())
    }
}

/// The name of a parameter, kept for good: there are as many as the library has.
fn interned(name: &str) -> &'static str {
    static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(name) {
        return known;
    }
    let kept: &'static str = Box::leak(name.into());
    names.insert(kept);
    kept
}

/// The nodes of an evaluation.
fn within(world: &World, root: NodeId) -> BTreeSet<NodeId> {
    let (mut seen, mut stack) = (BTreeSet::new(), vec![root]);
    while let Some(id) = stack.pop() {
        if seen.insert(id) {
            stack.extend(world.node(id).inputs.iter());
        }
    }
    seen
}

fn failed(failure: Failure) -> Finished {
    Finished { outcome: Err(Arc::new(failure)), cached: false }
}

/// Without workers the run cannot go on; what is finished is kept.
fn no_workers(why: &str) -> Failure {
    Failure::new("R0505", format!("candidates cannot be evaluated in workers: {why}"))
        .help("run without `--workers`, or go on with `--resume` once it is mended")
}
