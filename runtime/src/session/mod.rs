//! A session: a program that is entered piece by piece, as `evo repl` has it and as a host may.
//!
//! The session is a program's text, made of the items that were accepted. An entry adds items, puts new ones in the place
//! of those of the same name, or asks for something. It is checked as part of the whole program: what does not check, or
//! breaks what is there, is refused, and the session stays as it was. What an entry asks for is answered by the part of
//! the program that it needs: content identity, the store, and what the session's searches found see to it that nothing
//! else is computed, and nothing twice.
//!
//! ```no_run
//! use evo::engine::Engine;
//!
//! # fn main() -> Result<(), evo::engine::Failure> {
//! let mut session = Engine::new().session("session.evo");
//! session.enter("fn f(x: real) -> real = x * x")?;
//! if let Some(evaluation) = session.enter("f(3)")?.evaluation {
//!     println!("{:?}", evaluation.start(vec![]).wait().outputs);
//! }
//! # Ok(())
//! # }
//! ```

mod evaluation;
mod items;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use evo_lang::diag::{self, Code, Diagnostic};
use evo_lang::hir::RequestKind;
use evo_lang::ide::{self, Completion, Doc, Sort};
use evo_lang::span::{SourceMap, Span};

use crate::device;
use crate::engine::{Engine, Failure, Overview, Param, ParamValue, Plan, Program, Settings, nowhere};
use crate::events::Cancel;
use crate::run::execute;
use crate::run::world::Found;

use evaluation::Relay;
pub use evaluation::{Evaluation, Job};
use items::{Assembled, Item};

/// The name under which diagnostics show what was entered.
const ENTRY: &str = "entry";

/// A program in the making.
#[derive(Debug)]
pub struct Session {
    engine: Engine,
    file: String,
    items: Vec<Item>,
    settings: Settings,
    jobs: Option<usize>,
    /// What its searches found.
    found: Arc<Found>,
}

/// A declaration that an entry made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// Its name.
    pub name: String,
    /// The word it is declared with.
    pub word: String,
    /// Its type.
    pub ty: String,
    /// Whether another declaration of that name made place for it.
    pub replaced: bool,
}

/// What came of an entry.
#[derive(Debug)]
pub struct Entered {
    /// What it declared, in its order.
    pub declared: Vec<Declared>,
    /// What is doubtful about it.
    pub warnings: Vec<Diagnostic>,
    /// What the warnings point into.
    pub sources: Arc<SourceMap>,
    /// What it asks for, ready to be started.
    pub evaluation: Option<Evaluation>,
}

impl Session {
    pub(crate) fn new(engine: &Engine, file: String) -> Session {
        Session {
            engine: engine.clone(),
            file,
            items: Vec::new(),
            settings: Settings::new(),
            jobs: None,
            found: Arc::default(),
        }
    }

    /// Enters items (declarations, uses, requests) or an expression, which asks to be shown. Fails with all that is wrong,
    /// and then leaves the session as it was.
    pub fn enter(&mut self, text: &str) -> Result<Entered, Failure> {
        if !ide::looks_like_item(text) {
            let evaluation = self.evaluation(&[], Some(text), text)?;
            let (warnings, sources) = (Vec::new(), Arc::default());
            return Ok(Entered { declared: Vec::new(), warnings, sources, evaluation: Some(evaluation) });
        }
        let new = parsed(text)?;
        let entered = self.accept(&new, text)?;
        let requests: Vec<&Item> = new.iter().filter(|item| item.sort == Sort::Request).collect();
        let evaluation = if requests.is_empty() { None } else { Some(self.evaluation(&requests, None, text)?) };
        Ok(Entered { evaluation, ..entered })
    }

    /// Enters the items of a program; its requests belong to the session from then on, and nothing is run. An empty
    /// session takes the program's place: what it reads is relative to the program's folder.
    pub fn load(&mut self, file: &Path) -> Result<Entered, Failure> {
        let program = self.engine.load(file)?; // says what is wrong with the file itself
        if diag::has_errors(program.diagnostics()) {
            return Err(Failure::program(program.diagnostics().to_vec(), program.sources().clone()));
        }
        let before = self.file.clone();
        if self.items.is_empty() {
            let folder = file.parent().unwrap_or(Path::new(""));
            self.file = folder.join(file_name(&self.file)).display().to_string();
        }
        let text = program.text.to_string();
        let loaded = parsed(&text).and_then(|new| self.accept(&new, &text));
        if loaded.is_err() {
            self.file = before;
        }
        loaded
    }

    /// What all requests of the session ask for.
    pub fn run(&self) -> Result<Option<Evaluation>, Failure> {
        let requests: Vec<&Item> = self.items.iter().filter(|item| item.sort == Sort::Request).collect();
        if requests.is_empty() { Ok(None) } else { self.evaluation(&requests, None, "").map(Some) }
    }

    /// Takes a declaration out, unless others need it.
    pub fn drop(&mut self, name: &str) -> Result<(), Failure> {
        let Some(at) = self.items.iter().position(|item| item.name.as_deref() == Some(name)) else {
            return Err(self.unknown(name));
        };
        let mut rest = self.items.clone();
        rest.remove(at);
        let program = self.engine.load_text(&self.file, &Assembled::of(&rest).text);
        if diag::has_errors(program.diagnostics()) {
            return Err(Failure::program(program.diagnostics().to_vec(), program.sources().clone()));
        }
        self.items = rest;
        Ok(())
    }

    /// Forgets all items; the settings stay.
    pub fn reset(&mut self) {
        self.items.clear();
        self.found.clear();
    }

    /// The program's text.
    pub fn text(&self) -> String {
        Assembled::of(&self.items).text
    }

    /// The program's text in the one style that programs have.
    pub fn formatted(&self) -> String {
        let text = self.text();
        evo_lang::fmt::format(&text, evo_lang::span::FileId::default()).unwrap_or(text)
    }

    /// The params that it declares.
    pub fn params(&self) -> Vec<Param> {
        self.engine.load_text(&self.file, &self.text()).params()
    }

    /// The path that the program would have.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// What the session's plans depend on besides its text.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Where models are computed.
    pub fn device(&self) -> String {
        let program = self.engine.load_text(&self.file, &self.text());
        let of_project = program.project().and_then(|project| project.device.as_deref());
        self.settings.device.as_deref().or(of_project).unwrap_or_else(|| device::usual()).to_owned()
    }

    /// Evaluations at once.
    pub fn jobs(&self) -> usize {
        self.jobs.unwrap_or(self.engine.jobs())
    }

    /// Sets how many evaluations run at once.
    pub fn set_jobs(&mut self, jobs: usize) {
        self.jobs = Some(jobs.max(1));
    }

    /// Sets what plans depend on besides the text; refused if the program cannot be planned with it.
    pub fn set(&mut self, settings: Settings) -> Result<(), Failure> {
        let program = self.engine.load_text(&self.file, &self.text());
        program.plan(&settings)?;
        self.settings = settings;
        Ok(())
    }

    /// Sets one param to an expression of the language; refused if the program has no such param or the value is wrong.
    pub fn set_param(&mut self, name: &str, value: &str) -> Result<(), Failure> {
        let mut settings = self.settings.clone();
        settings.params.insert(name.to_owned(), ParamValue::Source(value.to_owned()));
        self.set(settings)
    }

    /// The type of an expression, as the language writes it.
    pub fn type_of(&self, expression: &str) -> Result<String, Failure> {
        let (program, assembled) = self.asking(&self.engine, &[], Some(expression))?;
        if diag::has_errors(program.diagnostics()) {
            let (diagnostics, sources) = (program.diagnostics().to_vec(), program.sources());
            return Err(relocated(Failure::program(diagnostics, sources.clone()), &self.file, &assembled, expression));
        }
        let tree = program.checked.tree();
        let asked = tree.modules.get(tree.entry.0 as usize).and_then(|module| module.requests.last());
        Ok(asked.map_or(String::new(), |request| match &request.kind {
            RequestKind::Print(e) => e.ty.to_string(),
            _ => String::new(),
        }))
    }

    /// The plan of an expression, or of all the session's requests.
    pub fn plan(&self, expression: Option<&str>) -> Result<Overview, Failure> {
        let all: Vec<&Item> = self.items.iter().filter(|i| i.sort == Sort::Request && expression.is_none()).collect();
        self.planned(&self.engine, &all, expression, expression.unwrap_or_default())?.0.overview()
    }

    /// The documentation of a name: the session's own declaration, else the library's.
    pub fn document(&self, name: &str) -> Vec<Doc> {
        let Ok(library) = execute::library() else { return Vec::new() };
        let program = self.engine.load_text(&self.file, &self.text());
        let own = ((**program.checked.tree()).clone(), (**program.sources()).clone());
        ide::document(library.declarations(), Some(&own), name)
    }

    /// What could stand at a byte of an entry that is being typed, the likeliest first. Ranges are within the entry.
    pub fn complete(&self, entry: &str, offset: usize) -> Vec<Completion> {
        let before = self.text_without(entry);
        let at_item = |prefix: &str| self.complete_in(&format!("{before}\n{prefix}"), entry, offset);
        if ide::looks_like_item(entry) {
            return at_item("");
        }
        // A first word may begin a declaration as well as an expression.
        let is_first = entry.get(..offset).is_some_and(|typed| typed.chars().all(|c| c.is_alphanumeric() || c == '_'));
        let mut found = at_item("print ");
        if is_first {
            found.extend(at_item(""));
        }
        found
    }

    fn complete_in(&self, before: &str, entry: &str, offset: usize) -> Vec<Completion> {
        let Ok(library) = execute::library() else { return Vec::new() };
        let text = format!("{before}{entry}\n");
        let folder = |path: &str| self.entries(path);
        let source = ide::Source {
            path: &self.file,
            text: &text,
            library: library.declarations(),
            loader: &execute::loader(&self.engine.host),
            folder: &folder,
        };
        let shift = |at: usize| at.saturating_sub(before.len());
        let back = |c: Completion| Completion { range: shift(c.range.start)..shift(c.range.end), ..c };
        ide::complete(&source, before.len() + offset).into_iter().map(back).collect()
    }

    /// The session's text but for what an unfinished entry is about to declare anew.
    fn text_without(&self, entry: &str) -> String {
        let declares = |item: &&Item| match &item.name {
            Some(name) => entry.split_whitespace().nth(1).is_none_or(|word| {
                word.split(|c: char| !c.is_alphanumeric() && c != '_').next() != Some(name.as_str())
            }),
            None => false,
        };
        let kept: Vec<Item> = self.items.iter().filter(declares).cloned().collect();
        Assembled::of(&kept).text
    }

    /// What lies in a folder that the program names: beside the program, and in the working directory.
    fn entries(&self, path: &str) -> Vec<String> {
        let root = &self.engine.host.root;
        let beside = execute::base(root, Path::new(&self.file)).join(path);
        let mut found = BTreeSet::new();
        for folder in [beside, PathBuf::from(path)] {
            let folder = if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder };
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten().take(1000) {
                let slash = if entry.path().is_dir() { "/" } else { "" };
                found.insert(format!("{}{slash}", entry.file_name().to_string_lossy()));
            }
        }
        found.into_iter().collect()
    }

    /// Checks new items as part of the session, and makes them part of it.
    fn accept(&mut self, new: &[Item], entry: &str) -> Result<Entered, Failure> {
        let (next, replaced) = items::with(&self.items, new);
        let assembled = Assembled::of(&next);
        let program = self.engine.load_text(&self.file, &assembled.text);
        let checked = if diag::has_errors(program.diagnostics()) {
            // What is wrong with the text is told before files are looked at.
            Err(Failure::program(program.diagnostics().to_vec(), program.sources().clone()))
        } else {
            program.plan(&self.within(&self.settings, &program))
        };
        let plan = checked.map_err(|failure| {
            let failure = relocated(failure, &self.file, &assembled, entry);
            broken(failure, &replaced)
        })?;
        let declared = |item: &Item| {
            let name = item.name.clone()?;
            let global = program.checked.globals().iter().find(|g| *g.name == *name)?;
            let replaced = replaced.contains(&name);
            Some(Declared { name, word: global.word.to_string(), ty: global.ty.to_string(), replaced })
        };
        let declared = new.iter().filter_map(declared).collect();
        let found = Failure::program(plan.warnings().to_vec(), plan.sources().clone());
        let Failure { mut diagnostics, sources, .. } = relocated(found, &self.file, &assembled, entry);
        // The rest of the session was warned of when it was entered, and what nothing uses yet may be used by the next entry.
        let is_new = |d: &Diagnostic| sources.file(d.primary.span.file).is_some_and(|f| &*f.name == ENTRY);
        diagnostics.retain(|d| is_new(d) && d.code != Code::E0220);
        self.items = next.into_iter().map(Item::settled).collect();
        Ok(Entered { declared, warnings: diagnostics, sources, evaluation: None })
    }

    /// The evaluation of some requests, or of an expression.
    fn evaluation(&self, requests: &[&Item], expression: Option<&str>, entry: &str) -> Result<Evaluation, Failure> {
        let (cancel, relay) = (Cancel::new(), Arc::new(Relay::default()));
        let engine = self.engine.apart(cancel.clone(), vec![relay.clone()], self.found.clone());
        let (plan, assembled) = self.planned(&engine, requests, expression, entry)?;
        let title = match expression {
            Some(expression) => one_line(expression),
            None => requests.iter().map(|r| one_line(&r.text)).collect::<Vec<_>>().join("; "),
        };
        let (file, entry) = (self.file.clone(), entry.to_owned());
        Ok(Evaluation {
            plan,
            cancel,
            relay,
            title,
            jobs: self.jobs,
            is_expression: expression.is_some(),
            relocate: Box::new(move |failure| relocated(failure, &file, &assembled, &entry)),
        })
    }

    fn planned(
        &self,
        engine: &Engine,
        requests: &[&Item],
        expression: Option<&str>,
        entry: &str,
    ) -> Result<(Plan, Assembled), Failure> {
        let (program, assembled) = self.asking(engine, requests, expression)?;
        let planned = if diag::has_errors(program.diagnostics()) {
            Err(Failure::program(program.diagnostics().to_vec(), program.sources().clone()))
        } else {
            program.plan(&self.within(&self.settings, &program))
        };
        match planned {
            Ok(plan) => Ok((plan, assembled)),
            Err(failure) => Err(relocated(failure, &self.file, &assembled, entry)),
        }
    }

    /// The part of the program that some requests, or an expression, need: the same for the same request, whatever else
    /// the session holds, so that an interrupted one goes on where it was.
    fn asking(
        &self,
        engine: &Engine,
        requests: &[&Item],
        expression: Option<&str>,
    ) -> Result<(Program, Assembled), Failure> {
        let asked = match expression {
            Some(text) => {
                if let (None, found) = evo_lang::syntax::parse_expr(text, entry_file(text).1) {
                    return Err(Failure::program(found, Arc::new(entry_file(text).0)));
                }
                vec![Item::showing(text)]
            }
            None => requests.iter().map(|r| (*r).clone()).collect(),
        };
        let part = items::needed(&self.items, &asked);
        let whole: Vec<Item> = part.into_iter().chain(asked.iter().cloned()).collect();
        let assembled = Assembled::of(&whole);
        Ok((engine.load_text(&self.file, &assembled.text), assembled))
    }

    /// Of the settings, those that a part of the program knows.
    fn within(&self, settings: &Settings, program: &Program) -> Settings {
        let known: Vec<String> = program.params().into_iter().map(|p| p.name).collect();
        let mut settings = settings.clone();
        settings.params.retain(|name, _| known.contains(name));
        settings
    }

    fn unknown(&self, name: &str) -> Failure {
        let names = self.items.iter().filter_map(|item| item.name.as_deref());
        let help = match diag::suggest(name, names) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "`:list` shows what the session declares".to_owned(),
        };
        Failure::placeless(2, Code::E0201, format!("the session declares no `{name}`"), help)
    }
}

/// The items of an entry; what does not parse is told.
fn parsed(text: &str) -> Result<Vec<Item>, Failure> {
    let (sources, file) = entry_file(text);
    let (_, found) = evo_lang::syntax::parse(text, file);
    if diag::has_errors(&found) {
        return Err(Failure::program(found, Arc::new(sources)));
    }
    Ok(items::of(text))
}

fn entry_file(text: &str) -> (SourceMap, evo_lang::span::FileId) {
    let mut sources = SourceMap::new();
    let file = sources.add(ENTRY, text);
    (sources, file)
}

/// The failure with what points into the entry shown as the entry was typed.
fn relocated(failure: Failure, file: &str, assembled: &Assembled, entry: &str) -> Failure {
    let Failure { exit_code, mut diagnostics, sources } = failure;
    let Some(program) = sources.find(file) else { return Failure { exit_code, diagnostics, sources } };
    let mut sources = (*sources).clone();
    let shown = sources.add(ENTRY, entry);
    let there = |span: &mut Span| {
        if span.file == program
            && let Some(start) = assembled.in_entry(span.start as usize)
        {
            *span = Span::new(shown, start, start + (span.end - span.start) as usize);
        }
    };
    for diagnostic in &mut diagnostics {
        there(&mut diagnostic.primary.span);
        diagnostic.secondary.iter_mut().for_each(|label| there(&mut label.span));
    }
    Failure { exit_code, diagnostics, sources: Arc::new(sources) }
}

/// Says of errors elsewhere that the entry would cause them.
fn broken(mut failure: Failure, replaced: &BTreeSet<String>) -> Failure {
    if replaced.is_empty() {
        return failure;
    }
    let names = replaced.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    for diagnostic in &mut failure.diagnostics {
        let file = failure.sources.file(diagnostic.primary.span.file);
        let elsewhere = diagnostic.primary.span != nowhere() && file.is_none_or(|f| &*f.name != ENTRY);
        if elsewhere && diagnostic.is_error() {
            diagnostic.notes.push(format!("this needs the old {names}, which the session keeps"));
            diagnostic.help.push("enter both anew in one entry, or take this out first: `:drop NAME`".to_owned());
        }
    }
    failure
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn file_name(file: &str) -> String {
    Path::new(file).file_name().map_or("session.evo".into(), |name| name.to_string_lossy().into_owned())
}
