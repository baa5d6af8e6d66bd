//! A run: from a plan to its outcome.

use std::any::Any;
use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use evo_lang::diag::Code;

use super::{Failure, Plan};
use crate::clock::Stopwatch;
use crate::datum::Table;
use crate::db::DiskError;
use crate::events::{Cancel, EventKind, Shown, Status};
use crate::files;
use crate::panics;
use crate::run::away::Away;
use crate::run::desk::{Asked, Desk, Terms};
use crate::run::dir::{self, Identity, RunDir};
use crate::run::estimate;
use crate::run::execute::{self, Ready, Scope};
use crate::run::journal::Journal;
use crate::run::log::EventLog;
use crate::run::rows::{Output, OutputKind};
use crate::run::tensorboard::Board;
use crate::run::trainings::Trainings;
use crate::store::Store;
use crate::workers::Open;

pub use crate::run::away::Workers;

/// Which run to go on with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Resume {
    /// None: a new run. What other runs computed is found in the store all the same.
    #[default]
    No,
    /// The latest unfinished run of the same program, params and seed.
    Latest,
    /// A run by its name or path.
    Named(String),
}

/// How to run a plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunOptions {
    /// Evaluations at once; by default the engine's. Results do not depend on it.
    pub jobs: Option<usize>,
    /// Where relative output paths start; by default the engine's directory.
    pub out: Option<PathBuf>,
    /// Go on with an unfinished run.
    pub resume: Resume,
    /// Seconds between two checkpoints of a training, at least; by default 30. Changes no result.
    pub checkpoint_every: Option<f64>,
    /// Write the curves of trainings into this folder, as event files for TensorBoard.
    pub tensorboard: Option<PathBuf>,
    /// Evaluate candidates in worker processes. Results do not depend on it, but for candidates that are too late or ask for
    /// too much.
    pub workers: Option<Workers>,
    /// US dollars that language models may cost, at most, over all segments of the run.
    pub budget: Option<f64>,
    /// Tokens of questions and answers, at most, over all segments of the run.
    pub token_budget: Option<u64>,
    /// Take what language models say from the transcripts at this path (a run's directory, a folder, a file), and ask nobody.
    pub replay: Option<PathBuf>,
}

/// Seconds between two checkpoints of a training.
const CHECKPOINT_EVERY: f64 = 30.0;

/// What came of a run.
#[derive(Clone, Debug)]
pub struct RunOutcome {
    /// How it ended.
    pub status: Status,
    /// What the requests gave, in their order; those that were answered, if the run did not come to its end.
    pub outputs: Vec<Output>,
    /// The run directory; empty where [`Plan::evaluate`] needed none.
    pub run_dir: PathBuf,
    /// Why it did not come to its end, if it did not.
    pub failure: Option<Failure>,
    /// Wall-clock seconds of this segment.
    pub seconds: f64,
    /// What language models were asked, over all segments.
    pub asked: Asked,
}

impl RunOutcome {
    /// The process's exit code; see [`Status::exit_code`].
    pub fn exit_code(&self) -> u8 {
        self.status.exit_code()
    }

    /// The printed tables in the order of their requests.
    pub fn tables(&self) -> impl Iterator<Item = &Table> {
        self.outputs.iter().filter_map(|output| match &output.kind {
            OutputKind::Printed(Shown::Table(table)) => Some(table),
            _ => None,
        })
    }
}

/// A run that is ready to go.
#[derive(Debug)]
pub struct Run {
    plan: Plan,
    ready: Option<Ready>,
    jobs: usize,
    out: PathBuf,
    dir: RunDir,
    log: Arc<EventLog>,
    journal: Arc<Journal>,
    store: Arc<Store>,
    trainings: Trainings,
    away: Option<Arc<Away>>,
    desk: Arc<Desk>,
}

impl Run {
    pub(super) fn prepare(mut plan: Plan, ready: Option<Ready>, options: RunOptions) -> Result<Run, Failure> {
        let host = plan.engine.host.clone();
        let project = plan.planned.jobs.filter(|_| !host.has_given_jobs);
        let jobs = options.jobs.or(project).unwrap_or(host.jobs).max(1);
        let out = options.out.unwrap_or_else(|| host.root.clone());
        // A place that cannot be written to is the command line's fault; a disk that fills up later is not.
        probe(&out).map_err(|error| Failure { exit_code: 2, ..error.into() })?;
        let ready = match ready {
            Some(ready) => ready,
            None => plan.planned.ready()?,
        };
        plan.identity.out = out.clone();
        let dir = match &options.resume {
            Resume::No => RunDir::create(&host.runs, plan.identity.clone(), &plan.file, &plan.text, jobs)?,
            Resume::Latest => RunDir::resume_latest(&host.runs, &plan.identity, jobs)?,
            Resume::Named(name) => RunDir::resume_named(&host.runs, name, &plan.identity, jobs)?,
        };
        let log = Arc::new(EventLog::open(&dir.events(), host.observers.clone())?);
        let journal = Arc::new(Journal::open(&dir.journal())?);
        let store = Arc::new(Store::open(&host.store)?);
        let board = options.tensorboard.map(|folder| Board::open(folder.join(&dir.record().run))).transpose()?;
        let every = options.checkpoint_every.unwrap_or(CHECKPOINT_EVERY);
        let trainings = Trainings { checkpoints: Some(dir.checkpoints()), every, board };
        let terms = Terms {
            folder: Some(dir.llm()),
            replay: options.replay,
            is_offline: false,
            budget: options.budget,
            token_budget: options.token_budget,
        };
        let desk = plan.planned.desk(&terms, &host.cancel)?;
        plan.planned.remember(&host, &plan.identity.program, &ready)?;
        // Curves of candidates are written by this process, and functions of the host are bound to it.
        let stays = trainings.board.is_some() || !host.functions.0.is_empty();
        let away = options.workers.filter(|_| !stays).map(|workers| {
            let count = estimate::processes(&ready.elaborator, host.memory, workers.count);
            away(&plan, Workers { count, ..workers }, jobs)
        });
        Ok(Run { plan, ready: Some(ready), jobs, out, dir, log, journal, store, trainings, away, desk })
    }

    /// The run directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The token that stops it.
    pub fn cancel(&self) -> &Cancel {
        &self.plan.engine.host.cancel
    }

    /// Runs to the end, on this thread and as many more as the run has jobs. Never panics: an internal error is a
    /// failure like any other, and leaves a run that can be resumed.
    pub fn wait(mut self) -> RunOutcome {
        let watch = Stopwatch::start();
        self.log.emit(self.started());
        let ready = self.ready.take();
        let done = catch_unwind(AssertUnwindSafe(|| ready.map_or(Ok(()), |ready| execute::run(&self.scope(), ready))))
            .unwrap_or_else(|panic| Err(internal(panic.as_ref(), self.dir.path())));
        let done = match self.log.failure() {
            Some(error) => done.and(Err(error.into())),
            None => done,
        };
        let outputs = self.journal.outputs().unwrap_or_default();
        let (status, failure) = judge(&self.plan.identity, self.cancel(), done, &outputs);
        if status == Status::Interrupted {
            self.log.emit(EventKind::Cancelled { now: self.cancel().is_immediate() });
        }
        if status.can_resume() {
            self.log.emit(EventKind::Checkpoint { path: self.dir.path().display().to_string() });
        }
        let seconds = watch.seconds();
        self.log.emit(EventKind::RunFinished { status, seconds });
        let noted = self.dir.finish(status, failure.as_ref().map(|failure| failure.title().to_owned()));
        let failure = failure.or_else(|| noted.err().map(Failure::from));
        let status = if failure.is_some() && status == Status::Done { Status::Failed } else { status };
        RunOutcome { status, outputs, run_dir: self.dir.path().to_owned(), failure, seconds, asked: self.desk.asked() }
    }

    fn scope(&self) -> Scope<'_> {
        Scope {
            planned: &self.plan.planned,
            program: &self.plan.identity.program,
            log: &self.log,
            journal: &self.journal,
            store: Some(&self.store),
            found: self.plan.engine.host.found.as_ref(),
            cancel: self.cancel(),
            jobs: self.jobs,
            memory: self.plan.engine.host.memory,
            out: &self.out,
            run: Some(&self.dir.record().run),
            trainings: self.trainings.clone(),
            away: self.away.as_ref(),
            desk: &self.desk,
        }
    }

    fn started(&self) -> EventKind {
        let identity = &self.plan.identity;
        EventKind::RunStarted {
            run: self.dir.record().run.clone(),
            program: identity.program.clone(),
            program_hash: identity.program_hash,
            seed: identity.seed,
            jobs: self.jobs,
            tiny: identity.tiny,
            segment: self.dir.segment(),
        }
    }
}

/// The workers of a run, which know its program as it was loaded.
fn away(plan: &Plan, workers: Workers, jobs: usize) -> Arc<Away> {
    let (host, count) = (&plan.engine.host, workers.count.max(1));
    let open = Open {
        root: host.root.clone(),
        file: plan.file.clone(),
        text: plan.text.to_string(),
        params: plan.settings.params.clone(),
        seed: plan.settings.seed,
        tiny: plan.settings.tiny,
        device: plan.settings.device.clone(),
        program: plan.identity.program_hash,
        store: Some(host.store.clone()),
        threads: (jobs / count).max(1),
        memory: host.memory.map(|memory| memory / count as u64),
    };
    Arc::new(Away::new(workers, open))
}

/// Answers a plan in memory: for one that holds nothing worth keeping. There is no run directory, and no event tells of
/// a run, but those of its requests.
fn in_memory(plan: &Plan, ready: Ready, options: &RunOptions) -> Result<RunOutcome, Failure> {
    let watch = Stopwatch::start();
    let host = &plan.engine.host;
    let log = Arc::new(EventLog::unwritten(host.observers.clone()));
    let journal = Arc::new(Journal::in_memory()?);
    let RunOptions { budget, token_budget, ref replay, .. } = *options;
    let terms = Terms { budget, token_budget, replay: replay.clone(), ..Terms::default() };
    let desk = plan.planned.desk(&terms, &host.cancel)?;
    let scope = Scope {
        planned: &plan.planned,
        program: &plan.identity.program,
        log: &log,
        journal: &journal,
        store: None,
        found: host.found.as_ref(),
        cancel: &host.cancel,
        jobs: options.jobs.unwrap_or(host.jobs).max(1),
        memory: host.memory,
        out: options.out.as_ref().unwrap_or(&host.root),
        run: None,
        trainings: Trainings::default(),
        away: None,
        desk: &desk,
    };
    let done = catch_unwind(AssertUnwindSafe(|| execute::run(&scope, ready))).unwrap_or_else(|panic| {
        let help = "please report it with what was entered";
        Err(Failure::placeless(3, Code::R0546, panics::describe(panic.as_ref()), help))
    });
    let outputs = journal.outputs()?;
    let (status, failure) = judge(&plan.identity, &host.cancel, done, &outputs);
    let (seconds, asked) = (watch.seconds(), desk.asked());
    Ok(RunOutcome { status, outputs, run_dir: PathBuf::new(), failure, seconds, asked })
}

/// Runs a plan to its end; see [`Plan::evaluate`].
pub(super) fn evaluate(plan: Plan, options: RunOptions) -> Result<RunOutcome, Failure> {
    let ready = plan.planned.ready()?;
    if execute::is_fleeting(&plan.planned, &ready)? {
        return in_memory(&plan, ready, &options);
    }
    let unfinished = plan.engine.unfinished(&plan.identity)?;
    let resume = unfinished.map_or(Resume::No, Resume::Named);
    let run = Run::prepare(plan, Some(ready), RunOptions { resume, ..options })?;
    let path = run.dir.journal();
    let outcome = run.wait();
    let saved = outcome.outputs.iter().any(|o| matches!(o.kind, OutputKind::Saved { .. }));
    if outcome.status == Status::Done && !saved && crate::run::journal::times(&path)?.is_empty() {
        dir::remove(&outcome.run_dir)?;
        return Ok(RunOutcome { run_dir: PathBuf::new(), ..outcome });
    }
    Ok(outcome)
}

/// How a run ended.
fn judge(
    identity: &Identity,
    cancel: &Cancel,
    done: Result<(), Failure>,
    outputs: &[Output],
) -> (Status, Option<Failure>) {
    let refuted = |output: &Output| matches!(output.kind, OutputKind::Expected { holds: false, .. });
    match done {
        Ok(()) if !identity.tiny && outputs.iter().any(refuted) => (Status::Refuted, None),
        Ok(()) => (Status::Done, None),
        Err(failure) => {
            let status = match failure.exit_code {
                4 => Status::CutShort,
                130 => Status::Interrupted,
                _ if cancel.is_stopped() => Status::Interrupted,
                _ => Status::Failed,
            };
            (status, Some(failure))
        }
    }
}

/// Makes the output directory if need be, and finds out whether it can be written to.
fn probe(out: &Path) -> Result<(), DiskError> {
    let refused = |e: &io::Error| match DiskError::from_io(out, e) {
        DiskError::Other { path, reason } => DiskError::Unwritable { path, reason },
        other => other,
    };
    fs::create_dir_all(out).map_err(|e| refused(&e))?;
    let path = files::aside(out, ".evo-probe");
    let probed = fs::write(&path, b"evo").and_then(|()| fs::remove_file(&path));
    probed.map_err(|e| {
        let _ = fs::remove_file(&path); // the first error is the one to report
        refused(&e)
    })
}

/// A panic as a failure that says where the checkpoint is.
fn internal(panic: &(dyn Any + Send), run: &Path) -> Failure {
    let name = run.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let help = format!(
        "please report it; what is finished is safe in `{}`, and `evo run FILE --resume {name}` goes on from there",
        run.display()
    );
    Failure::placeless(3, Code::R0546, panics::describe(panic), help)
}
