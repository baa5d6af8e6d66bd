//! The embedding API: [`Engine`] → [`Program`] → [`Plan`] → [`Run`], with an [`Observer`] of events and a [`Cancel`] token.
//!
//! The command line uses nothing else.
//!
//! ```no_run
//! use evo::engine::{Engine, RunOptions, Settings};
//!
//! # fn main() -> Result<(), evo::engine::Failure> {
//! let engine = Engine::builder().jobs(2).build();
//! let program = engine.load("programs/quickstart.evo".as_ref())?;
//! let plan = program.plan(&Settings::new().set("evaluations", 60))?;
//! let outcome = plan.start(RunOptions::default())?.wait();
//! for table in outcome.tables() {
//!     println!("{}", evo::render::table(table));
//! }
//! # Ok(())
//! # }
//! ```

mod failure;
mod function;
mod plan;
mod program;
mod replay;
mod run;

use std::fmt;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use evo_lang::diag::Code;
use evo_stdlib::model::Device;

use crate::events::{Cancel, Observer};
use crate::project::Project;
use crate::run::dir::{self, Identity};
use crate::run::estimate;
use crate::run::host::HostFunctions;
use crate::run::world::Found;

pub use crate::run::desk::Asked;
pub use crate::session::{Declared, Entered, Evaluation, Job, Session};
pub use failure::Failure;
pub(crate) use failure::nowhere;
pub use function::HostFunction;
pub use plan::{Candidates, Explanation, NodeView, Overview, Plan};
pub use program::{Form, Param, ParamValue, Program, Settings};
pub use replay::{Replay, Replayed, Step};
pub use run::{Resume, Run, RunOptions, RunOutcome, Workers};

/// Where programs are loaded, planned and run. Cheap to clone: clones share everything.
#[derive(Clone, Debug)]
pub struct Engine {
    pub(crate) host: Arc<Host>,
}

/// What an engine was built with.
pub(crate) struct Host {
    pub(crate) root: PathBuf,
    pub(crate) store: PathBuf,
    pub(crate) runs: PathBuf,
    pub(crate) jobs: usize,
    /// Whether `jobs` was given, and so counts for more than a project's.
    pub(crate) has_given_jobs: bool,
    pub(crate) observers: Vec<Arc<dyn Observer>>,
    pub(crate) cancel: Cancel,
    pub(crate) functions: Arc<HostFunctions>,
    pub(crate) memory: Option<u64>,
    /// What searches found, where runs of one session share it.
    pub(crate) found: Option<Arc<Found>>,
}

impl fmt::Debug for Host {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Host { root, store, runs, jobs, has_given_jobs: _, observers, cancel: _, functions, memory, found: _ } =
            self;
        let mut shown = out.debug_struct("Host");
        shown.field("root", root).field("store", store).field("runs", runs).field("jobs", jobs);
        shown.field("functions", functions).field("memory", memory);
        shown.field("observers", &observers.len()).finish_non_exhaustive()
    }
}

impl Engine {
    /// An engine for the working directory, with all cores.
    pub fn new() -> Engine {
        Engine::builder().build()
    }

    /// An engine with settings of its own.
    pub fn builder() -> EngineBuilder {
        EngineBuilder::default()
    }

    /// Reads and checks a program. What is wrong with the program is in its diagnostics; an error means that there is no
    /// program: the file is missing or not text.
    pub fn load(&self, file: &Path) -> Result<Program, Failure> {
        Program::load(self, file)
    }

    /// The device of this name, else the one that the project in the working directory or above it names; `None` for our
    /// kernels on the CPU.
    pub(crate) fn device(&self, name: Option<&str>) -> Result<Option<Device>, Failure> {
        let settings = Settings { device: name.map(str::to_owned), ..Settings::new() };
        Ok(self.load_text("device.evo", "").plan(&settings)?.planned.device)
    }

    /// The program that a project, whose `evo.toml` is looked for in the working directory and above it, names as its main one.
    ///
    /// # Errors
    /// If there is no project, or it names none.
    pub fn main_program(&self) -> Result<PathBuf, Failure> {
        let found =
            Project::of(&self.host.root, Path::new("")).map_err(|(file, error)| program::no_project(&file, &error))?;
        let help = "name a program, or set `main = \"main.evo\"` in evo.toml";
        let title = match &found {
            Some(_) => "no program is named, and evo.toml has no `main`",
            None => "no program is named, and no evo.toml is here or above",
        };
        found.and_then(|p| p.main).ok_or_else(|| Failure::placeless(2, Code::E0130, title, help))
    }

    /// Checks a program that is no file. `name` stands for the file's path in diagnostics, and relative input paths
    /// start from its folder.
    pub fn load_text(&self, name: &str, text: &str) -> Program {
        Program::of_text(self, name, text)
    }

    /// The token that stops this engine's runs.
    pub fn cancel(&self) -> &Cancel {
        &self.host.cancel
    }

    /// The same engine with a token of its own and more watchers, for one of a session's runs, which share what their
    /// searches found.
    pub(crate) fn apart(&self, cancel: Cancel, observers: Vec<Arc<dyn Observer>>, found: Arc<Found>) -> Engine {
        let Host { root, store, runs, jobs, has_given_jobs, observers: known, cancel: _, functions, memory, found: _ } =
            &*self.host;
        let host = Host {
            root: root.clone(),
            store: store.clone(),
            runs: runs.clone(),
            jobs: *jobs,
            has_given_jobs: *has_given_jobs,
            observers: known.iter().cloned().chain(observers).collect(),
            cancel,
            functions: functions.clone(),
            memory: *memory,
            found: Some(found),
        };
        Engine { host: Arc::new(host) }
    }

    /// A session: a program that is entered piece by piece. `file` is the path that the program would have; what it
    /// reads is relative to its folder.
    pub fn session(&self, file: impl Into<String>) -> Session {
        Session::new(self, file.into())
    }

    /// The latest unfinished run of a program that no process is at.
    pub(crate) fn unfinished(&self, identity: &Identity) -> Result<Option<String>, Failure> {
        Ok(dir::unfinished(&self.host.runs, identity)?)
    }

    /// The shared store's directory.
    pub fn store(&self) -> &Path {
        &self.host.store
    }

    /// Where run directories are made.
    pub fn runs(&self) -> &Path {
        &self.host.runs
    }

    /// Evaluations at once, where a run does not say otherwise.
    pub fn jobs(&self) -> usize {
        self.host.jobs
    }
}

impl Default for Engine {
    fn default() -> Engine {
        Engine::new()
    }
}

/// Settings of an [`Engine`]; whatever is not set has its default.
#[derive(Default)]
pub struct EngineBuilder {
    root: Option<PathBuf>,
    store: Option<PathBuf>,
    runs: Option<PathBuf>,
    jobs: Option<usize>,
    observers: Vec<Arc<dyn Observer>>,
    cancel: Cancel,
    functions: HostFunctions,
    memory: Option<u64>,
}

impl fmt::Debug for EngineBuilder {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("EngineBuilder").field("root", &self.root).finish_non_exhaustive()
    }
}

impl EngineBuilder {
    /// The directory to work in, by default the process's: `.evo/store`, `runs` and relative output paths lie in it.
    pub fn cwd(mut self, root: impl Into<PathBuf>) -> EngineBuilder {
        self.root = Some(root.into());
        self
    }

    /// The store, by default `.evo/store`.
    pub fn store(mut self, store: impl Into<PathBuf>) -> EngineBuilder {
        self.store = Some(store.into());
        self
    }

    /// Where run directories are made, by default `runs`.
    pub fn runs(mut self, runs: impl Into<PathBuf>) -> EngineBuilder {
        self.runs = Some(runs.into());
        self
    }

    /// Evaluations at once, by default the number of cores. Results do not depend on it.
    pub fn jobs(mut self, jobs: usize) -> EngineBuilder {
        self.jobs = Some(jobs.max(1));
        self
    }

    /// Adds a watcher of every run.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> EngineBuilder {
        self.observers.push(observer);
        self
    }

    /// The memory that a program may need, in bytes, by default the machine's: one that needs more is refused before it runs.
    pub fn memory(mut self, bytes: u64) -> EngineBuilder {
        self.memory = Some(bytes);
        self
    }

    /// Binds a host function: programs declare it by `extern fn` under its name. Of one name the last counts.
    pub fn function(mut self, function: HostFunction) -> EngineBuilder {
        self.functions.0.push(function);
        self
    }

    /// The token that stops runs, where the host has one already.
    pub fn cancel(mut self, cancel: Cancel) -> EngineBuilder {
        self.cancel = cancel;
        self
    }

    /// The engine.
    pub fn build(self) -> Engine {
        let root = self.root.unwrap_or_else(|| PathBuf::from("."));
        let cores = || std::thread::available_parallelism().map_or(1, NonZero::get);
        // Paths are shown: those in the working directory without a `./`.
        let below = |path: &str| if root == Path::new(".") { PathBuf::from(path) } else { root.join(path) };
        let host = Host {
            store: self.store.unwrap_or_else(|| below(".evo/store")),
            runs: self.runs.unwrap_or_else(|| below("runs")),
            jobs: self.jobs.unwrap_or_else(cores),
            has_given_jobs: self.jobs.is_some(),
            observers: self.observers,
            cancel: self.cancel,
            functions: Arc::new(self.functions),
            memory: self.memory.or_else(estimate::physical),
            found: None,
            root,
        };
        Engine { host: Arc::new(host) }
    }
}
