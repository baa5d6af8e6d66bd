//! The seam between the embedding API and the language: checking, planning, running.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use evo_lang::diag::{Code, Diagnostic};
use evo_lang::hir::{GlobalKind, Program as Tree};
use evo_lang::plan::{Const, Demand, Elaborator, NodeId, Op, Options, PlannedRequest};
use evo_lang::span::SourceMap;
use evo_lang::types::Ty;
use evo_stdlib::Library;
use evo_stdlib::bind::Place;
use evo_stdlib::cx::Card;
use evo_stdlib::model::Device;
use evo_stdlib::task::Memory;
use indexmap::IndexMap;

use super::answers::{self, Outputs};
use super::away::Away;
use super::desk::{Desk, PRICES, Terms};
use super::estimate;
use super::host::{HostFunctions, ProgramHost};
use super::journal::Journal;
use super::log::EventLog;
use super::overview::{self, View};
use super::params;
use super::scheduler::Scheduler;
use super::selection;
use super::trainings::Trainings;
use super::world::{Found, World, datum};
use crate::datum::Datum;
use crate::device;
use crate::engine::nowhere;
use crate::engine::{Explanation, Failure, Form, Host, Overview, Param, Program, Settings};
use crate::events::Cancel;
use crate::project::files::ProgramFiles;
use crate::store::{Key, Store};
use crate::trials::Sandboxes;
use crate::workers::executable;

/// The width of plots drawn with text: fixed, because they are kept in the journal, which is equal on every terminal.
const PLOT_COLUMNS: usize = 80;

/// The standard library, read once a process. Its faults are faults of this build.
pub(crate) fn library() -> Result<Arc<Library>, Failure> {
    static LIBRARY: OnceLock<Result<Arc<Library>, String>> = OnceLock::new();
    let read = LIBRARY.get_or_init(|| Library::new().map(Arc::new).map_err(|faults| faults.join("; ")));
    read.clone().map_err(|faults| {
        Failure::placeless(
            3,
            Code::R0546,
            format!("the standard library is at odds with itself: {faults}"),
            "please report it",
        )
    })
}

/// A program after parsing and type checking.
#[derive(Debug)]
pub(crate) struct Checked {
    tree: Arc<Tree>,
    text: Arc<str>,
}

/// A plan's graph with what it was made from.
pub(crate) struct Planned {
    tree: Arc<Tree>,
    options: Options,
    base: PathBuf,
    /// Where input files are looked for after `base`.
    pub(crate) paths: Vec<PathBuf>,
    /// Evaluations at once, as the project has it.
    pub(crate) jobs: Option<usize>,
    /// What models are computed on instead of the CPU.
    pub(crate) device: Option<Device>,
    hash: Key,
    params: IndexMap<String, Datum>,
    seed: i64,
    pub(crate) functions: Arc<HostFunctions>,
    /// What the tree's places point into.
    pub(crate) sources: Arc<SourceMap>,
}

impl std::fmt::Debug for Planned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Planned").field("hash", &self.hash).field("params", &self.params).finish_non_exhaustive()
    }
}

/// The graph with every file's content in its identities: what a run begins with.
pub(crate) struct Ready {
    pub(crate) elaborator: Elaborator,
    pub(crate) requests: Vec<PlannedRequest>,
}

impl std::fmt::Debug for Ready {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ready").field("nodes", &self.elaborator.graph().len()).finish_non_exhaustive()
    }
}

/// All that a running plan may use.
#[derive(Debug)]
pub(crate) struct Scope<'a> {
    pub(crate) planned: &'a Planned,
    pub(crate) program: &'a str,
    pub(crate) log: &'a Arc<EventLog>,
    pub(crate) journal: &'a Arc<Journal>,
    pub(crate) store: Option<&'a Arc<Store>>,
    pub(crate) found: Option<&'a Arc<Found>>,
    pub(crate) cancel: &'a Cancel,
    pub(crate) jobs: usize,
    /// The memory of the machine, where it is known: candidates under way at once must fit into it.
    pub(crate) memory: Option<u64>,
    pub(crate) out: &'a Path,
    /// The run's name, for the commands that messages print; what is computed in memory has none.
    pub(crate) run: Option<&'a str>,
    /// What trainings write beside their results.
    pub(crate) trainings: Trainings,
    /// Processes that evaluate candidates, if there are any.
    pub(crate) away: Option<&'a Arc<Away>>,
    /// Who asks language models.
    pub(crate) desk: &'a Arc<Desk>,
}

/// Parses and type-checks the entry file and all that it uses.
pub(crate) fn check(host: &Host, name: &str, text: &str, paths: &[PathBuf]) -> (Checked, SourceMap, Vec<Diagnostic>) {
    let library = match library() {
        Ok(library) => library,
        Err(failure) => {
            let tree = Tree { modules: Vec::new(), entry: evo_lang::hir::ModuleId(0) };
            return (Checked { tree: Arc::new(tree), text: text.into() }, SourceMap::new(), failure.diagnostics);
        }
    };
    let checked = evo_lang::check_with(name, text, library.declarations(), &ProgramFiles { root: &host.root, paths });
    (Checked { tree: Arc::new(checked.program), text: text.into() }, checked.sources, checked.diagnostics)
}

/// How the programs are read that a program uses.
pub(crate) fn loader(host: &Host) -> impl Fn(&str) -> Result<String, String> {
    |path: &str| std::fs::read_to_string(host.root.join(path)).map_err(|e| e.to_string())
}

/// Elaborates a checked program under settings, with headers and first rows read.
pub(crate) fn plan(
    host: &Host,
    program: &Program,
    settings: &Settings,
) -> Result<(Planned, Vec<Diagnostic>), Vec<Diagnostic>> {
    let checked = params::applied(host, program, settings)?;
    let of_project = program.project.as_ref().and_then(|project| project.device.as_deref());
    let device = device::open(settings.device.as_deref().or(of_project))?;
    let named = device.as_ref().map(|device| device.name().into());
    let mut planned = Planned {
        options: Options { params: checked.params, seed: settings.seed, tiny: settings.tiny, device: named },
        base: base(&host.root, Path::new(&program.file)),
        paths: program.project.as_ref().map(|p| p.paths.clone()).unwrap_or_default(),
        jobs: program.project.as_ref().and_then(|p| p.workers),
        device,
        hash: hash(&program.sources),
        params: IndexMap::new(),
        seed: settings.seed.unwrap_or(0),
        functions: host.functions.clone(),
        sources: checked.sources,
        tree: checked.tree,
    };
    let mut found = checked.diagnostics;
    // Where names or types are wrong somewhere, what does check is still planned: its files are looked at too.
    match planned.elaborate(false) {
        Ok((mut elaborator, requests)) => {
            let mut more = elaborator.take_diagnostics();
            more.extend(overview::conflicts(&elaborator, &requests));
            more.extend(selection::conflicts(&elaborator, &requests));
            more.extend(estimate::conflicts(&elaborator, host.memory));
            // One cause, one error: what the text alone shows is not told again.
            more.retain(|m| !found.iter().any(|d| d.is_error() && d.primary.span == m.primary.span));
            found.extend(more);
            evo_lang::diag::accept(&mut found, &planned.sources);
            planned.read_params(&mut elaborator);
        }
        Err(failure) => found.extend(failure.diagnostics),
    }
    Ok((planned, found))
}

/// The program's directory: what its input paths are relative to. Shown in messages, so without a `./`.
pub(crate) fn base(root: &Path, file: &Path) -> PathBuf {
    let folder = file.parent().unwrap_or(Path::new(""));
    if root == Path::new(".") { folder.to_owned() } else { root.join(folder) }
}

/// The hash of the program's files and of this version.
fn hash(sources: &SourceMap) -> Key {
    let mut hasher = blake3::Hasher::new();
    hasher.update(env!("CARGO_PKG_VERSION").as_bytes());
    for (_, file) in sources.files() {
        hasher.update(blake3::hash(file.text.as_bytes()).as_bytes());
    }
    hasher.finalize().into()
}

/// What the evaluations of a run have in common, so many of them at one time.
pub(crate) fn memory(elaborator: &Elaborator, scope: &Scope<'_>, workers: usize) -> Memory {
    let trials = Sandboxes::new(executable(), scope.jobs);
    Memory::new(estimate::residuals(elaborator, scope.memory, workers)).with_trials(Arc::new(trials))
}

/// Answers the plan's requests.
pub(crate) fn run(scope: &Scope<'_>, ready: Ready) -> Result<(), Failure> {
    let Ready { elaborator, requests } = ready;
    check_models(scope, &elaborator, &requests)?;
    let workers = estimate::workers(&elaborator, scope.memory, scope.jobs);
    let memory = memory(&elaborator, scope, workers);
    let world = World::new(elaborator, library()?, scope, scope.planned.place(), scope.planned.options.tiny, memory);
    let scheduler = Scheduler::new(world, scope.jobs, workers);
    let card = Card {
        program: scope.program.to_owned(),
        program_hash: scope.planned.hash.to_string(),
        tiny: scope.planned.options.tiny,
        ..Card::default()
    };
    let outputs = Outputs { out: scope.out, card, columns: PLOT_COLUMNS, run: scope.run };
    let done = scheduler.run(|| answers::answer_all(&scheduler, &requests, &outputs));
    if scope.cancel.is_stopped() && !done.complete {
        return Err(Failure::placeless(
            130,
            Code::R0500,
            "the run was asked to stop",
            "`evo run FILE --resume` goes on from here",
        ));
    }
    if done.failures.is_empty() {
        return Ok(());
    }
    // What only waits for a service or for money can go on as it is.
    let exit_code = if done.failures.iter().all(|d| matches!(d.code, Code::R0530 | Code::R0533)) { 4 } else { 3 };
    Err(Failure { exit_code, diagnostics: done.failures, sources: scope.planned.sources.clone() })
}

/// Looks whether the language models of a plan can be asked, before anything is spent.
fn check_models(scope: &Scope<'_>, elaborator: &Elaborator, requests: &[PlannedRequest]) -> Result<(), Failure> {
    let demanded: Vec<NodeId> = requests.iter().flat_map(|request| roots(&request.demand)).collect();
    scope.desk.check(elaborator, &demanded).map_err(|failure| {
        let code = Code::find(failure.code).unwrap_or(Code::R0530);
        let span = failure.node.map_or_else(nowhere, |id| elaborator.graph().node(id).span);
        let mut diagnostic = Diagnostic::error(code, span, failure.title.clone(), "cannot be asked");
        for note in failure.notes {
            diagnostic = diagnostic.note(note);
        }
        let exit_code = if code == Code::R0530 { 4 } else { 3 };
        let diagnostics = vec![diagnostic.help(failure.help.clone())];
        Failure { exit_code, diagnostics, sources: scope.planned.sources.clone() }
    })
}

impl Checked {
    /// The typed tree.
    pub(crate) fn tree(&self) -> &Arc<Tree> {
        &self.tree
    }

    /// The entry module's declarations.
    pub(crate) fn globals(&self) -> &[evo_lang::hir::Global] {
        let entry = self.tree.entry.0 as usize;
        self.tree.modules.get(entry).map_or(&[], |module| &module.globals)
    }

    /// The params in the order of their declarations.
    pub(crate) fn params(&self) -> Vec<Param> {
        let source = |e: &evo_lang::hir::Expr| {
            self.text.get(e.span.start as usize..e.span.end as usize).unwrap_or_default().to_owned()
        };
        let params = self.globals().iter().filter_map(|global| match &global.kind {
            GlobalKind::Param { default, .. } => Some(Param {
                name: global.name.to_string(),
                ty: global.ty.to_string(),
                default: default.as_ref().map(source),
                doc: global.doc.to_string(),
            }),
            _ => None,
        });
        params.collect()
    }

    /// Names of the declarations of a kind.
    pub(crate) fn declared(&self, kind: &str) -> Vec<String> {
        self.globals().iter().filter(|g| &*g.word == kind).map(|g| g.name.to_string()).collect()
    }

    /// A dump of the syntax tree or of the types.
    pub(crate) fn emit(&self, form: Form, sources: &SourceMap) -> Option<String> {
        let module = self.tree.modules.get(self.tree.entry.0 as usize)?;
        match form {
            Form::Ast => sources.file(module.file).map(|file| {
                let (tree, _) = evo_lang::syntax::parse(&file.text, module.file);
                format!("{tree:#?}\n")
            }),
            Form::Types => Some(module.globals.iter().map(|g| format!("{} {}: {}\n", g.word, g.name, g.ty)).collect()),
            _ => None,
        }
    }
}

impl Planned {
    /// Whether effort is lowered.
    pub(crate) fn is_tiny(&self) -> bool {
        self.options.tiny
    }

    /// Where input files are.
    pub(crate) fn place(&self) -> Place {
        Place { base: self.base.clone(), paths: self.paths.clone(), whole: true }
    }

    /// Who asks language models under these terms.
    pub(crate) fn desk(&self, terms: &Terms, cancel: &Cancel) -> Result<Arc<Desk>, Failure> {
        let prices = self.place().input(PRICES);
        let opened = Desk::open(terms, &prices, cancel);
        opened.map(Arc::new).map_err(|failure| {
            let code = Code::find(failure.code).unwrap_or(Code::E0451);
            Failure::placeless(if code.as_str().starts_with('E') { 2 } else { 3 }, code, failure.title, failure.help)
        })
    }

    /// The graph of the requests. `whole` reads contents for their identity, as a run does; a check reads headers.
    pub(crate) fn elaborate(&self, whole: bool) -> Result<(Elaborator, Vec<PlannedRequest>), Failure> {
        let library = library()?.host(Place { whole, ..self.place() });
        let host = Arc::new(ProgramHost { library, functions: self.functions.clone() });
        let mut elaborator = Elaborator::new(self.tree.clone(), host, self.options.clone());
        let requests = elaborator.requests();
        Ok((elaborator, requests))
    }

    /// Reads all files whole: what they hold enters identities, and what is wrong with it is told before anything runs.
    pub(crate) fn ready(&self) -> Result<Ready, Failure> {
        let (mut elaborator, requests) = self.elaborate(true)?;
        let mut diagnostics = elaborator.take_diagnostics();
        if evo_lang::diag::has_errors(&diagnostics) {
            diagnostics.retain(Diagnostic::is_error);
            return Err(Failure::program(diagnostics, self.sources.clone()));
        }
        Ok(Ready { elaborator, requests })
    }

    /// Reads what the params came to.
    fn read_params(&mut self, elaborator: &mut Elaborator) {
        let Some(module) = self.tree.modules.get(self.tree.entry.0 as usize) else { return };
        let names =
            module.globals.iter().filter(|g| matches!(g.kind, GlobalKind::Param { .. })).map(|g| g.name.to_string());
        for name in names.collect::<Vec<_>>() {
            let Some(Ok(id)) = elaborator.named(&name) else { continue };
            let value = match elaborator.graph().constant(id) {
                Some(value) => datum(value),
                None => Datum::Text(elaborator.graph().node(id).key.to_string()),
            };
            self.params.insert(name, value);
        }
        let seed = elaborator.entry_seed();
        if let Some(Const::Int(seed)) = elaborator.graph().constant(seed) {
            self.seed = *seed;
        }
    }

    /// The hash of the program, all that it uses, and the version.
    pub(crate) fn program_hash(&self) -> Key {
        self.hash
    }

    /// The params as they were resolved.
    pub(crate) fn params(&self) -> IndexMap<String, Datum> {
        self.params.clone()
    }

    /// The program's seed.
    pub(crate) fn seed(&self) -> i64 {
        self.seed
    }

    /// The nodes with estimates.
    pub(crate) fn overview(&self, host: &Host, program: &str) -> Result<Overview, Failure> {
        let ready = self.ready()?;
        overview::overview(&View { host, program, ready: &ready, sources: &self.sources })
    }

    /// Which term of each node's identity changed since the last run.
    pub(crate) fn explain(&self, host: &Host, program: &str) -> Result<Vec<Explanation>, Failure> {
        let ready = self.ready()?;
        overview::explain(&View { host, program, ready: &ready, sources: &self.sources })
    }

    /// Keeps what the next explanation is measured by.
    pub(crate) fn remember(&self, host: &Host, program: &str, ready: &Ready) -> Result<(), Failure> {
        overview::remember(&View { host, program, ready, sources: &self.sources })
    }

    /// A dump of numeric code or of the graph.
    pub(crate) fn emit(&self, form: Form) -> Option<String> {
        let (elaborator, requests) = self.elaborate(false).ok()?;
        match form {
            Form::Plan => Some(overview::dump(&elaborator, &requests)),
            Form::Ir | Form::Clif => {
                let codes = elaborator.graph().iter().filter_map(|(_, node)| match &node.op {
                    Op::Numeric(code) | Op::NumericClosure(code) => Some(code.clone()),
                    _ => None,
                });
                let clif = |code: &evo_lang::plan::Code| {
                    evo_lang::codegen::clif(code.module()).unwrap_or_else(|e| e.to_string())
                };
                Some(
                    codes
                        .map(|code| if form == Form::Ir { code.ir() } else { clif(&code) })
                        .collect::<Vec<_>>()
                        .join("\n"),
                )
            }
            _ => None,
        }
    }
}

/// Whether a plan holds nothing that is worth a run of its own: no step whose result is kept, no search, no function of
/// the host.
pub(crate) fn is_fleeting(planned: &Planned, ready: &Ready) -> Result<bool, Failure> {
    let library = library()?;
    let is_work = |id: &NodeId| match &ready.elaborator.graph().node(*id).op {
        Op::Extern(ext) => {
            let directs = |b: &evo_stdlib::bind::Builtin| b.keep || b.manner == evo_stdlib::bind::Manner::Direct;
            planned.functions.of(ext).is_some() || library.builtin(ext).is_some_and(directs)
        }
        _ => false,
    };
    Ok(!demanded(&ready.elaborator, &ready.requests).iter().any(is_work))
}

/// All nodes that requests demand, inputs before users.
pub(crate) fn demanded(elaborator: &Elaborator, requests: &[PlannedRequest]) -> Vec<NodeId> {
    let mut seen = vec![false; elaborator.graph().len()];
    let mut stack: Vec<NodeId> = requests.iter().flat_map(|r| roots(&r.demand)).collect();
    while let Some(id) = stack.pop() {
        let Some(slot) = seen.get_mut(id.0 as usize).filter(|slot| !**slot) else { continue };
        *slot = true;
        stack.extend(elaborator.graph().node(id).inputs.iter());
    }
    seen.iter().enumerate().filter(|(_, seen)| **seen).map(|(i, _)| NodeId(i as u32)).collect()
}

/// The nodes that a request needs.
pub(crate) fn roots(demand: &Demand) -> Vec<NodeId> {
    match demand {
        Demand::Save { value, .. } | Demand::Print(value) => vec![*value],
        Demand::Plot { value, over, .. } => std::iter::once(*value).chain(*over).collect(),
        Demand::Expect { condition, message } => std::iter::once(*condition).chain(*message).collect(),
    }
}

/// Whether values of a type are plain data that a command line can spell.
pub(crate) fn is_plain(ty: &Ty) -> bool {
    matches!(ty, Ty::Int | Ty::Real | Ty::Bool | Ty::Text | Ty::Duration | Ty::Bytes | Ty::Money | Ty::Enum(_))
}
