//! The effects of a running node: progress, cancellation, files, and applying functions to candidates.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use evo_lang::plan::{Key, Node, NodeId};
use evo_stdlib::cx::{Batch, Effects, Evaluated, Failure, Generation, Progress};
use evo_stdlib::llm::{Exchange, Proposer, Request};
use evo_stdlib::value::{Callable, NumericFn, Value};
use indexmap::IndexMap;

use super::away::Errands;
use super::journal::Past;
use super::rows::{Candidate, Evaluation};
use super::scheduler::{Finished, Scheduler, flat};
use super::trainings::Checkpoint;
use super::world::{datum, key, unjournaled};
use crate::clock::Stopwatch;
use crate::datum::Datum;
use crate::db::DiskError;
use crate::events::{EventKind, Metric, Outcome};

/// Checkpoints are so much rarer than the time one takes.
const COST: f64 = 20.0;

/// How far a node was, and when.
#[derive(Clone, Copy, Default)]
struct Pace {
    done: u64,
    amount: u64,
    seconds: f64,
}

/// When a node's last checkpoint was written (at first: when the node began), and the seconds that took.
#[derive(Clone, Copy)]
struct LastCheckpoint {
    clock: Stopwatch,
    took: f64,
}

/// The effects of one node.
pub(crate) struct NodeEffects {
    scheduler: Arc<Scheduler>,
    node: Arc<Node>,
    name: Arc<str>,
    clock: Stopwatch,
    past: OnceLock<Past>,
    pace: OnceLock<Pace>,
    last_checkpoint: Mutex<LastCheckpoint>,
    is_unwritten_told: AtomicBool,
}

/// A candidate on its way: known already, or a node that is being computed.
enum Pending {
    /// With the seconds it took.
    Known(Box<Evaluated>, f64),
    Node(NodeId, Key),
    /// In a worker process: the errand's number.
    Away(usize, Key),
}

/// How long a candidate took, and how long its generation until then.
struct Times {
    seconds: f64,
    elapsed: f64,
}

impl NodeEffects {
    pub(crate) fn new(scheduler: Arc<Scheduler>, node: Arc<Node>, name: Arc<str>) -> NodeEffects {
        let clock = Stopwatch::start();
        NodeEffects {
            scheduler,
            node,
            name,
            clock,
            past: OnceLock::new(),
            pace: OnceLock::new(),
            last_checkpoint: Mutex::new(LastCheckpoint { clock, took: 0.0 }),
            is_unwritten_told: AtomicBool::new(false),
        }
    }

    /// What an earlier segment of the run found out about this generation, by candidate.
    fn journaled(&self, at: Batch) -> Result<Vec<Evaluation>, Failure> {
        self.scheduler.world().journal.generation(&key(&self.node), at.generation).map_err(|e| unjournaled(&e.into()))
    }

    /// What earlier segments of the run left, read when it is first asked for: before this segment adds to it.
    fn past(&self) -> Result<Past, Failure> {
        if let Some(past) = self.past.get() {
            return Ok(*past);
        }
        let read = self.scheduler.world().journal.past(&key(&self.node));
        read.map(|past| *self.past.get_or_init(|| past)).map_err(|e| unjournaled(&e.into()))
    }

    /// What came of a candidate, and the seconds it took.
    fn wait(&self, pending: &Pending, errands: &Errands) -> Result<(Evaluated, f64), Failure> {
        Ok(match pending {
            Pending::Known(evaluated, seconds) => (Evaluated::clone(evaluated), *seconds),
            Pending::Node(id, node) => {
                let Finished { outcome, cached } = self.scheduler.wait(*id);
                (Evaluated { outcome, cached, node: *node }, self.scheduler.took(*id))
            }
            Pending::Away(number, node) => evaluated(errands.wait(*number)?, *node),
        })
    }

    /// Evaluates a candidate that failed again, as often as it is worth and allowed; the seconds of all times.
    fn retried(&self, pending: &Pending, errands: &Errands, times: u32) -> Result<(Evaluated, f64), Failure> {
        let (mut found, mut seconds) = self.wait(pending, errands)?;
        for _ in 0..times {
            if !found.outcome.as_ref().is_err_and(|failure| failure.may_pass()) {
                break;
            }
            let (again, took) = match pending {
                // What the journal holds is how it ended: only what was computed just now may be tried again.
                Pending::Known(..) => break,
                Pending::Node(id, _) => {
                    self.scheduler.forget(&[*id]);
                    self.scheduler.demand(&[*id], true);
                    self.wait(pending, errands)?
                }
                Pending::Away(number, node) => evaluated(errands.again(&self.scheduler, *number)?, *node),
            };
            (found, seconds) = (again, seconds + took);
        }
        Ok((found, seconds))
    }

    fn start(
        &self,
        function: &Callable,
        args: Vec<Value>,
        known: Option<&Evaluation>,
        errands: &mut Errands,
    ) -> Pending {
        let replay = |node: &Key| known.filter(|e| e.node.0 == node.0).map(|e| replayed(&e.outcome));
        match function {
            Callable::Code(code) => {
                let slots = flat(&args);
                let node = match &slots {
                    Ok(slots) => Key::of(
                        "numeric",
                        &[&code.code.key.0, bytes(&code.captured).as_slice(), bytes(slots).as_slice()],
                    ),
                    Err(_) => self.node.key,
                };
                let known = replay(&node);
                let clock = Stopwatch::start();
                let outcome =
                    known.clone().unwrap_or_else(|| slots.and_then(|slots| call(code, &slots)).map_err(Arc::new));
                Pending::Known(Box::new(Evaluated { outcome, cached: known.is_some(), node }), clock.seconds())
            }
            Callable::Function(function) => match self.scheduler.world().apply(function.node, args.clone()) {
                Err(failure) => {
                    let outcome = Err(Arc::new(failure));
                    Pending::Known(Box::new(Evaluated { outcome, cached: false, node: function.key }), 0.0)
                }
                Ok(id) => {
                    let world = self.scheduler.world();
                    let node = world.node(id).key;
                    if let Some(outcome) = replay(&node) {
                        return Pending::Known(Box::new(Evaluated { outcome, cached: true, node }), 0.0);
                    }
                    match world.away.as_ref().and_then(|away| away.errand(world, function, &args, id)) {
                        Some(errand) => Pending::Away(errands.add(errand), node),
                        None => Pending::Node(id, node),
                    }
                }
            },
        }
    }

    /// Journals what came of a candidate; a failure of the run's own is not the candidate's.
    fn journal(&self, at: Batch, i: u64, genome: Datum, evaluated: &Evaluated, times: Times) -> Result<(), Failure> {
        let world = self.scheduler.world();
        let outcome = outcome(evaluated);
        if let Err(failure) = &evaluated.outcome {
            if failure.ends_run() {
                return Err(Failure::clone(failure));
            }
            if failure.is_cancelled {
                return Ok(());
            }
        }
        let candidate = at.first + i;
        let made = Candidate {
            search: key(&self.node),
            generation: at.generation,
            candidate,
            genome,
            operator: at.operator.into(),
            parents: Vec::new(), // of a method that samples a distribution
        };
        let found = Evaluation {
            search: key(&self.node),
            generation: at.generation,
            candidate,
            node: evaluated.node,
            outcome: outcome.clone(),
            seconds: times.seconds,
            elapsed: times.elapsed,
        };
        if let Some(replaying) = world.replaying.as_ref().filter(|replaying| replaying.is(&found)) {
            replaying.note(&self.scheduler, &found, evaluated.outcome.as_ref().err());
            world.cancel.stop();
            return Ok(());
        }
        let mut rows = made.rows();
        rows.push(found.row());
        world.journal.commit(rows).map_err(|error| unjournaled(&error))?;
        world.log.emit(EventKind::Evaluation {
            search: key(&self.node),
            generation: at.generation,
            candidate,
            outcome,
            cached: evaluated.cached,
            seconds: times.seconds,
        });
        Ok(())
    }
}

impl Effects for NodeEffects {
    fn progress(&self, p: Progress) {
        let seconds = self.clock.seconds();
        let now = Pace { done: p.done, amount: p.amount.map_or(0, |(_, amount)| amount), seconds };
        // What an earlier segment did took none of this one's time: a node that says where it begins is measured from there.
        let first = *self.pace.get_or_init(|| if p.metric.is_none() { now } else { Pace::default() });
        let pace = |done: u64, since: u64| {
            (done > since && seconds > first.seconds).then(|| (done - since) as f64 / (seconds - first.seconds))
        };
        let rate = pace(p.done, first.done);
        let mut more: IndexMap<String, f64> = p.figures.iter().map(|f| (f.name.to_owned(), f.value)).collect();
        if let Some((name, amount)) = p.amount {
            more.extend(pace(amount, first.amount).map(|pace| (format!("{name}/s"), pace)));
        }
        let remaining = p.total.zip(rate).map(|(total, rate)| total.saturating_sub(p.done) as f64 / rate);
        self.scheduler.world().log.emit(EventKind::NodeProgress {
            node: key(&self.node),
            name: self.name.to_string(),
            done: p.done,
            total: p.total,
            message: p.message,
            rate,
            metric: p.metric.map(|(name, value)| Metric { name: name.to_owned(), value }),
            more,
            remaining,
        });
    }

    fn cancelled(&self) -> bool {
        self.scheduler.world().cancel.is_stopped()
    }

    fn input(&self, path: &str) -> PathBuf {
        self.scheduler.world().input(path)
    }

    fn map(&self, function: &Callable, args: Vec<Vec<Value>>, at: Batch) -> Result<Vec<Evaluated>, Failure> {
        let known = self.journaled(at)?;
        let clock = Stopwatch::start();
        let earlier = |i: usize| known.iter().find(|e| e.candidate == at.first + i as u64);
        let mut errands = Errands::default();
        let pending: Vec<Pending> = args
            .iter()
            .enumerate()
            .map(|(i, args)| self.start(function, args.clone(), earlier(i), &mut errands))
            .collect();
        let roots: Vec<NodeId> =
            pending.iter().filter_map(|p| if let Pending::Node(id, _) = p { Some(*id) } else { None }).collect();
        self.scheduler.demand(&roots, true);
        let all = errands.during(&self.scheduler, || {
            let mut all = Vec::with_capacity(pending.len());
            for (i, (pending, args)) in pending.iter().zip(&args).enumerate() {
                let (evaluated, seconds) = self.retried(pending, &errands, at.retries)?;
                let genome = args.first().map_or(Datum::Missing, |value| datum(&value.show()));
                self.journal(at, i as u64, genome, &evaluated, Times { seconds, elapsed: clock.seconds() })?;
                all.push(evaluated);
            }
            Ok(all)
        })?;
        self.scheduler.forget(&roots);
        Ok(all)
    }

    fn is_over(&self, generation: u64, limit: f64) -> Result<bool, Failure> {
        let past = self.past()?;
        if past.last.is_some_and(|last| generation <= last) {
            return Ok(false);
        }
        Ok(past.is_finished || past.seconds + self.clock.seconds() >= limit)
    }

    fn generation(&self, g: Generation) {
        self.scheduler.world().log.emit(EventKind::Generation {
            search: key(&self.node),
            name: self.name.to_string(),
            generation: g.generation,
            evaluations: g.evaluations,
            limit: g.limit,
            best: g.best,
            mean: g.mean,
            sigma: g.sigma,
            more: Default::default(),
        });
    }

    fn scalars(&self, step: u64, values: &[(&'static str, f64)]) {
        let world = self.scheduler.world();
        let Some(board) = &world.trainings.board else { return };
        if let Err(error) = board.add(&key(&self.node), &self.name, step, values)
            && !self.is_unwritten_told.swap(true, Ordering::Relaxed)
        {
            world.log.warn(error.code().as_str(), format!("a curve could not be written: {error}"), error.help());
        }
    }

    fn warn(&self, code: &'static str, message: String, help: &str) {
        self.scheduler.world().log.warn(code, message, help);
    }

    fn chat(&self, proposer: &Proposer, request: &Request) -> Result<Exchange, Failure> {
        let world = self.scheduler.world();
        world.desk.chat(&world.journal, proposer, request)
    }

    fn load_checkpoint(&self) -> Result<Option<Vec<u8>>, Failure> {
        let world = self.scheduler.world();
        let Some(checkpoints) = &world.trainings.checkpoints else { return Ok(None) };
        match checkpoints.load(&key(&self.node)).map_err(|error| unwritten(&error))? {
            Checkpoint::Absent => Ok(None),
            Checkpoint::Whole(bytes) => Ok(Some(bytes)),
            Checkpoint::Damaged => {
                let message = format!("the checkpoint of `{}` is damaged", self.name);
                world.log.warn("R0507", message, "it is computed from its beginning");
                Ok(None)
            }
        }
    }

    fn checkpoint_is_due(&self) -> bool {
        let trainings = &self.scheduler.world().trainings;
        let last = *self.last_checkpoint.lock().unwrap_or_else(PoisonError::into_inner);
        trainings.checkpoints.is_some() && last.clock.seconds() >= trainings.every.max(COST * last.took)
    }

    fn save_checkpoint(&self, write: &dyn Fn(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
        let Some(checkpoints) = &self.scheduler.world().trainings.checkpoints else { return Ok(()) };
        let clock = Stopwatch::start();
        checkpoints.save(&key(&self.node), write).map_err(|error| unwritten(&error))?;
        let mut last = self.last_checkpoint.lock().unwrap_or_else(PoisonError::into_inner);
        *last = LastCheckpoint { clock: Stopwatch::start(), took: clock.seconds() };
        Ok(())
    }
}

fn evaluated((finished, seconds): (Finished, f64), node: Key) -> (Evaluated, f64) {
    (Evaluated { outcome: finished.outcome, cached: finished.cached, node }, seconds)
}

/// A checkpoint that cannot be read or written: a fault of the disk.
fn unwritten(error: &DiskError) -> Failure {
    Failure::new(error.code().as_str(), error.to_string()).help(error.help())
}

fn call(code: &NumericFn, slots: &[u64]) -> Result<Value, Failure> {
    code.call(slots).map(Value::Plain)
}

fn bytes(slots: &[u64]) -> Vec<u8> {
    slots.iter().flat_map(|slot| slot.to_le_bytes()).collect()
}

/// A score is a finite real; anything else fails the candidate.
fn outcome(evaluated: &Evaluated) -> Outcome {
    match &evaluated.outcome {
        Ok(value) => match value.plain().as_ref().and_then(evo_lang::plan::Const::as_real) {
            Some(score) if score.is_finite() => Outcome::Scored { scores: vec![score], measures: Vec::new() },
            _ => Outcome::Failed { code: "R0502".into(), reason: "the fitness is not finite".into() },
        },
        Err(failure) => Outcome::Failed { code: failure.code.into(), reason: failure.title.to_string() },
    }
}

fn replayed(outcome: &Outcome) -> Result<Value, Arc<Failure>> {
    match outcome {
        Outcome::Scored { scores, .. } => Ok(Value::real(scores.first().copied().unwrap_or(f64::NAN))),
        Outcome::Failed { code, reason } => {
            let code = evo_lang::diag::Code::find(code).map_or("R0501", evo_lang::diag::Code::as_str);
            Err(Arc::new(Failure::new(code, reason.clone())))
        }
    }
}
