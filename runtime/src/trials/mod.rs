//! Programs that models wrote, tried where they can do no harm.
//!
//! Rhai functions ([`rhai`]), queries ([`sql`]) and shell commands ([`shell`], on files in memory) are run by a worker, in whose memory they can do nothing but compute; it has a
//! limit of memory and is killed when it takes too long. A program for an interpreter of this machine ([`command`]) gets a process and a folder
//! of its own, confined by the kernel ([`confine`]). What a program does wrong is a verdict; what this machine lacks ends the run.

mod command;
mod confine;
mod rhai;
pub mod shell;
mod sql;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use evo_stdlib::task::{Trial, TrialKind, TrialLimits, Trials, Untried, Verdict};

pub(crate) use command::UNCONFINED;
pub use confine::Confinement;

use crate::workers::{Ask, Lost, Manner, Pool, Reply, STRIKES, Spec};
use command::Interpreter;

/// Memory that a worker takes before it runs anything.
const OWN: u64 = 192 << 20;

/// Where trials are run: workers and interpreters, found when they are first needed.
#[derive(Debug)]
pub struct Sandboxes {
    /// The executable that is `evo`.
    evo: PathBuf,
    /// Trials at one time.
    jobs: usize,
    /// Warm workers, by the memory that they may take.
    pools: Mutex<BTreeMap<u64, Arc<Pool>>>,
    interpreters: Mutex<BTreeMap<Vec<String>, Arc<Interpreter>>>,
}

impl Sandboxes {
    /// Runs so many trials at one time.
    pub fn new(evo: PathBuf, jobs: usize) -> Self {
        Self { evo, jobs: jobs.max(1), pools: Mutex::default(), interpreters: Mutex::default() }
    }

    fn one(&self, trial: &Trial, stop: Option<&AtomicBool>) -> Result<Verdict, Untried> {
        match &trial.kind {
            TrialKind::Command { argv, expected, processes } => {
                let interpreter = self.interpreter(argv)?;
                let never = AtomicBool::new(false);
                let stop = stop.unwrap_or(&never);
                let done = interpreter.run(&trial.program, (expected.as_deref(), *processes), &trial.limits, stop);
                let done = done.map_err(|error| Untried::Lacking(format!("no process could be run: {error}")))?;
                done.ok_or(Untried::Stopped)
            }
            TrialKind::Rhai { .. } | TrialKind::Sql { .. } | TrialKind::Shell { .. } => self.by_worker(trial, stop),
        }
    }

    fn by_worker(&self, trial: &Trial, stop: Option<&AtomicBool>) -> Result<Verdict, Untried> {
        let within = Duration::try_from_secs_f64(trial.limits.seconds).unwrap_or(Duration::MAX);
        let manner = Manner { within, strikes: STRIKES, stop };
        match self.pool(trial.limits.memory).ask(&Ask::Try(Box::new(trial.clone())), manner) {
            Ok(Reply::Tried(verdict)) => Ok(verdict),
            Ok(Reply::Failed(failed)) => Ok(Verdict::Failed(failed.title)),
            Ok(_) => Err(Untried::Lacking("a worker answers what it was not asked".into())),
            Err(Lost::Stopped) => Err(Untried::Stopped),
            Err(lost @ Lost::Start(_)) => Err(Untried::Lacking(lost.to_string())),
            Err(Lost::Deadline(_) | Lost::Processor) => {
                Ok(Verdict::Failed(format!("it takes longer than {} s", trial.limits.seconds)))
            }
            Err(Lost::Memory) => Ok(Verdict::Failed(format!("it needs more than {} MiB", trial.limits.memory >> 20))),
            Err(lost) => Ok(Verdict::Failed(cut(&lost.to_string()))),
        }
    }

    fn pool(&self, memory: u64) -> Arc<Pool> {
        let mut pools = locked(&self.pools);
        let spec = || Spec::small(&self.evo, OWN.saturating_add(memory));
        pools.entry(memory).or_insert_with(|| Arc::new(Pool::new(spec(), self.jobs))).clone()
    }

    fn interpreter(&self, argv: &[String]) -> Result<Arc<Interpreter>, Untried> {
        let mut known = locked(&self.interpreters);
        if let Some(found) = known.get(argv) {
            return Ok(found.clone());
        }
        let found = Arc::new(Interpreter::find(&self.evo, argv).map_err(Untried::Lacking)?);
        known.insert(argv.to_vec(), found.clone());
        Ok(found)
    }
}

impl Trials for Sandboxes {
    fn try_all(&self, trials: &[Trial], stop: Option<&AtomicBool>) -> Result<Vec<Verdict>, Untried> {
        let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
        let work = || {
            let mut done = Vec::new();
            while !failed.load(Ordering::Relaxed) {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(trial) = trials.get(at) else { break };
                let found = self.one(trial, stop);
                failed.fetch_or(found.is_err(), Ordering::Relaxed);
                done.push((at, found));
            }
            done
        };
        let mut all: Vec<_> = std::thread::scope(|scope| {
            let helpers: Vec<_> = (1..self.jobs.min(trials.len())).map(|_| scope.spawn(work)).collect();
            let own = work();
            // A thread that broke off leaves its trials out, which is seen below.
            own.into_iter().chain(helpers.into_iter().flat_map(|helper| helper.join().unwrap_or_default())).collect()
        });
        all.sort_by_key(|(at, _)| *at);
        let verdicts = all.into_iter().map(|(_, found)| found).collect::<Result<Vec<_>, _>>()?;
        if verdicts.len() == trials.len() {
            Ok(verdicts)
        } else {
            Err(Untried::Lacking("a thread that watches programs broke off".into()))
        }
    }
}

/// What a worker does with a trial.
pub(crate) fn try_here(trial: &Trial) -> Verdict {
    let (program, limits) = (&trial.program, &trial.limits);
    match &trial.kind {
        TrialKind::Rhai { check } => rhai::try_functions(program, check, limits),
        TrialKind::Sql { setup, expected, order } => sql::try_query(program, setup, expected, *order, limits),
        TrialKind::Shell { setup, expected, check } => {
            try_commands(program, setup, (expected.as_deref(), check.as_deref()), limits)
        }
        TrialKind::Command { .. } => Verdict::Unfit("a worker runs no programs of this machine".into()),
    }
}

/// Tries shell commands on files that `setup` makes: what they print, and whether the commands of `check` succeed after them.
fn try_commands(
    program: &str,
    setup: &str,
    (expected, check): (Option<&str>, Option<&str>),
    limits: &TrialLimits,
) -> Verdict {
    let limits = shell::Limits {
        steps: limits.steps,
        output_bytes: usize::try_from(limits.output).unwrap_or(usize::MAX),
        ..shell::Limits::default()
    };
    let mut files = shell::Files::new();
    let made = shell::run(setup, &mut files, &limits);
    if made.status != 0 || !made.lacking.is_empty() {
        return Verdict::Unfit(format!("the commands that make the files: {}", told(&made)));
    }
    let done = shell::run(program, &mut files, &limits);
    if let Some(limit) = done.stopped {
        return Verdict::Failed(format!("it reaches its limit of {limit:?}"));
    }
    if expected.is_some_and(|expected| String::from_utf8_lossy(&done.stdout).trim_end() != expected.trim_end()) {
        // What the shell lacks may be why: whoever reads the reason should know.
        let lacks = if done.lacking.is_empty() { String::new() } else { format!("; {}", told(&done)) };
        return Verdict::Failed(cut(&format!("it prints something else than what is right{lacks}")));
    }
    let Some(check) = check else {
        let is_judged = expected.is_some() || done.status == 0;
        return if is_judged { Verdict::Passed } else { Verdict::Failed(told(&done)) };
    };
    let checked = shell::run(check, &mut files, &limits);
    match (checked.lacking.is_empty(), checked.status) {
        (false, _) => Verdict::Unfit(format!("the commands that check: {}", told(&checked))),
        (true, 0) => Verdict::Passed,
        (true, _) => Verdict::Failed("what it leaves is not what is right".into()),
    }
}

/// How commands ended, in a few words.
fn told(outcome: &shell::Outcome) -> String {
    let last = String::from_utf8_lossy(&outcome.stderr).lines().last().map(str::to_owned);
    match (outcome.lacking.as_slice(), outcome.stopped, last) {
        ([], None, last) => cut(&last.unwrap_or_else(|| format!("status {}", outcome.status))),
        ([], Some(limit), _) => format!("the limit of {limit:?}"),
        (lacking, ..) => cut(&format!("the shell has no {}", lacking.join(", "))),
    }
}

/// A reason, on one line and no longer than people read.
fn cut(text: &str) -> String {
    text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
