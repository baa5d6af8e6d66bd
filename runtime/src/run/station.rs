//! A program that is open in a worker: checked once, its models kept warm, its candidates computed as in any run.

use std::collections::BTreeMap;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use evo_lang::diag::{self, Code};
use evo_lang::plan::{Key, NodeId, Op};
use evo_stdlib::cx::Failure as NodeFailure;
use evo_stdlib::plain;
use evo_stdlib::value::Value;

use super::desk::Terms;
use super::execute::{self, Scope};
use super::journal::Journal;
use super::log::EventLog;
use super::scheduler::{Finished, Scheduler};
use super::trainings::Trainings;
use super::world::World;
use crate::engine::{Engine, Failure, Settings};
use crate::events::{Cancel, Event, EventKind, Observer};
use crate::store::Store;
use crate::workers::protocol::{Evaluate, Evaluated, Failed, Open, Warning, bytes, digits};

/// A program that is open. Its scheduler's threads end with it.
pub(crate) struct Station {
    scheduler: Arc<Scheduler>,
    /// The program's functions over nodes, by identity.
    functions: BTreeMap<Key, NodeId>,
    warnings: Arc<Warnings>,
    /// Held: the scheduler runs until it is dropped.
    _open: Sender<()>,
}

impl std::fmt::Debug for Station {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Station").field("functions", &self.functions.len()).finish_non_exhaustive()
    }
}

impl Station {
    /// Reads, checks and plans a program.
    pub(crate) fn open(open: &Open) -> Result<Station, Box<Failed>> {
        let threads = open.threads.max(1);
        let engine = Engine::builder().cwd(&open.root).jobs(threads).build();
        let program = engine.load_text(&open.file, &open.text);
        if diag::has_errors(program.diagnostics()) {
            return Err(refused("the program has errors where the worker reads it"));
        }
        let (params, device) = (open.params.clone(), open.device.clone());
        let plan =
            program.plan(&Settings { params, seed: open.seed, tiny: open.tiny, device }).map_err(|f| failed(&f))?;
        if plan.planned.program_hash() != open.program {
            return Err(refused("a program that is used has changed since the run began"));
        }
        let ready = plan.planned.ready().map_err(|f| failed(&f))?;
        let warnings = Arc::new(Warnings::default());
        let log = Arc::new(EventLog::unwritten(vec![warnings.clone()]));
        let journal = Arc::new(Journal::in_memory().map_err(|e| failed(&e.into()))?);
        let store = open.store.as_ref().map(|path| Store::open(path).map(Arc::new)).transpose();
        let store = store.map_err(|e| failed(&e.into()))?;
        let cancel = Cancel::new();
        // Candidates that ask language models stay with the coordinator.
        let terms = Terms { is_offline: true, ..Terms::default() };
        let desk = plan.planned.desk(&terms, &cancel).map_err(|f| failed(&f))?;
        let scope = Scope {
            planned: &plan.planned,
            program: &open.file,
            log: &log,
            journal: &journal,
            store: store.as_ref(),
            found: None,
            cancel: &cancel,
            jobs: threads,
            memory: open.memory,
            out: &open.root,
            run: None,
            trainings: Trainings::default(),
            away: None,
            desk: &desk,
        };
        let library = execute::library().map_err(|f| failed(&f))?;
        let memory = execute::memory(&ready.elaborator, &scope, threads);
        let nodes = ready.elaborator.graph().iter();
        let functions =
            nodes.filter(|(_, node)| matches!(node.op, Op::Closure(_))).map(|(id, node)| (node.key, id)).collect();
        let world = World::new(ready.elaborator, library, &scope, plan.planned.place(), open.tiny, memory);
        let scheduler = Scheduler::new(world, threads, threads);
        let (hold, until) = channel::<()>();
        let running = scheduler.clone();
        // Nothing is ever sent: it waits until the station is dropped.
        let life = move || running.run(|| until.recv().is_ok());
        let started = std::thread::Builder::new().name("station".into()).spawn(life);
        started.map_err(|e| refused(&format!("no thread could be started: {e}")))?;
        Ok(Station { scheduler, functions, warnings, _open: hold })
    }

    /// Computes a candidate.
    pub(crate) fn evaluate(&self, asked: &Evaluate) -> Result<Evaluated, Box<Failed>> {
        let function = self.functions.get(&asked.function).ok_or_else(|| refused("it has no such function"))?;
        let argument = |text: &String| bytes(text).and_then(|bytes| plain::decode(&bytes)).map(Value::Plain);
        let args: Option<Vec<Value>> = asked.arguments.iter().map(argument).collect();
        let args = args.ok_or_else(|| refused("an argument cannot be read"))?;
        let world = self.scheduler.world();
        let id = world.apply(*function, args).map_err(|failure| self.told(&failure))?;
        if world.node(id).key != asked.node {
            return Err(refused("a file that the program reads has changed since the run began"));
        }
        self.scheduler.demand(&[id], true);
        let Finished { outcome, cached } = self.scheduler.wait(id);
        let seconds = self.scheduler.took(id);
        self.scheduler.forget(&[id]);
        let outcome = match outcome {
            Ok(value) => match value.plain().as_ref().and_then(plain::encode) {
                Some(value) => Ok(digits(&value)),
                None => return Err(refused("the value of a candidate is no plain one")),
            },
            Err(failure) => Err(self.told(&failure)),
        };
        Ok(Evaluated { outcome, cached, seconds, warnings: self.warnings.take() })
    }

    /// A candidate's failure, with the identity of what failed.
    fn told(&self, failure: &NodeFailure) -> Box<Failed> {
        Box::new(Failed {
            code: failure.code.to_owned(),
            title: failure.title.to_string(),
            notes: failure.notes.clone(),
            help: failure.help.to_string(),
            node: failure.node.map(|id| self.scheduler.world().node(id).key),
            span: failure.span.as_deref().copied(),
            param: failure.param.map(str::to_owned),
        })
    }
}

/// A worker that cannot do what it is asked: the machine's fault, or somebody's who changed a file.
fn refused(what: &str) -> Box<Failed> {
    let help = "leave the program and its files as they are while it runs, then go on with `--resume`";
    Box::new(Failed { code: Code::R0505.as_str().into(), title: what.into(), help: help.into(), ..Failed::default() })
}

fn failed(failure: &Failure) -> Box<Failed> {
    let first = failure.diagnostics.first();
    let code = first.map_or(Code::R0505, |diagnostic| diagnostic.code);
    let help = first.map(|diagnostic| diagnostic.help.join("; ")).unwrap_or_default();
    Box::new(Failed { code: code.as_str().into(), title: failure.title().to_owned(), help, ..Failed::default() })
}

/// Collects warnings for the answer.
#[derive(Debug, Default)]
struct Warnings(Mutex<Vec<Warning>>);

impl Warnings {
    fn take(&self) -> Vec<Warning> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Observer for Warnings {
    fn event(&self, event: &Event) {
        if let EventKind::Warning { code, message, help, .. } = &event.kind {
            let warning = Warning { code: code.clone(), message: message.clone(), help: help.clone() };
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(warning);
        }
    }
}
