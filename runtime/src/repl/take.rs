//! Takes entries, one after the other, and says what comes of each.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use evo_lang::diag::{self, Code, Diagnostic};
use evo_lang::ide::{self, Completion};
use evo_lang::span::SourceMap;

use super::command::{self, Argument, Asked, COMMANDS, Command};
use super::jobs::{Jobs, Printer};
use super::{progress, show, signals};
use crate::cli::plan;
use crate::clock::Stopwatch;
use crate::engine::{Engine, Entered, Evaluation, Failure, ParamValue, RunOutcome, Session, Settings};
use crate::events::{Observer, Status};
use crate::render;

/// Where a session's text goes: results apart from everything about them.
pub trait Output: Send + Sync {
    /// Writes a result.
    ///
    /// # Errors
    /// If nobody reads results any more.
    fn result(&self, text: &str) -> io::Result<()>;

    /// Writes what is to be known besides.
    fn note(&self, text: &str);

    /// Whether escape sequences for colours are understood.
    fn colour(&self) -> bool {
        false
    }
}

/// What came of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// 0, or the exit code of a process that ends with this entry.
    pub code: u8,
    /// Whether the session is to be left.
    pub leaves: bool,
}

impl Taken {
    fn with(code: u8) -> Taken {
        Taken { code, leaves: false }
    }
}

/// A session that takes entries as text and answers as text.
pub struct Repl {
    session: Session,
    jobs: Jobs,
    output: Arc<dyn Output>,
    /// Shows how far a computation in the foreground is.
    watches: bool,
}

impl fmt::Debug for Repl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Repl").field("session", &self.session).finish_non_exhaustive()
    }
}

impl Repl {
    /// An empty session of an engine.
    pub fn new(engine: &Engine, output: Arc<dyn Output>) -> Repl {
        let printer = Printer::of(output.clone());
        Repl { session: engine.session("session.evo"), jobs: Jobs::new(printer), output, watches: false }
    }

    /// Shows bars while something is computed, and lets another printer write what the background says.
    pub(super) fn at_terminal(&mut self, printer: Printer) {
        self.watches = true;
        self.jobs.print_by(printer);
    }

    /// Begins with a program.
    pub(super) fn load(&mut self, file: &Path) -> Result<(), Failure> {
        let entered = self.session.load(file)?;
        self.warn(&entered);
        Ok(())
    }

    /// Begins with settings; params that the session does not declare are refused.
    pub(super) fn set(&mut self, settings: Settings) -> Result<(), Failure> {
        if settings != Settings::new() { self.session.set(settings) } else { Ok(()) }
    }

    /// Takes one entry: a command, items, an expression, or nothing. Several lines that are no entry together, as pasted
    /// ones, are taken one after the other, up to the first that fails.
    pub fn take(&mut self, entry: &str) -> Taken {
        let pieces = pieces(entry);
        if pieces.len() < 2 {
            return self.take_one(entry);
        }
        let mut last = Taken::default();
        for piece in &pieces {
            last = self.take_one(piece);
            if last.code != 0 || last.leaves {
                break;
            }
        }
        last
    }

    fn take_one(&mut self, entry: &str) -> Taken {
        let trimmed = entry.trim();
        if trimmed.is_empty() {
            return Taken::default();
        }
        if trimmed.starts_with(':') {
            return match command::read(trimmed) {
                Asked::Command(command, argument) => self.command(command, argument),
                Asked::Wrong(what, help) => self.wrong(&what, &help),
            };
        }
        match trimmed.strip_suffix('&') {
            Some(entry) => self.background(entry.trim_end()),
            None => self.enter(entry, false),
        }
    }

    /// How many jobs are under way.
    pub fn running(&self) -> usize {
        self.jobs.running()
    }

    /// Waits for all jobs; the largest of their exit codes.
    pub fn wait_all(&mut self) -> u8 {
        self.jobs.wait(None).unwrap_or(0)
    }

    /// Asks all jobs to stop, and waits until they have: what is finished is kept.
    pub fn cancel_all(&mut self) {
        self.jobs.cancel_all();
    }

    /// The session.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// What could stand at a byte of an entry that is being typed.
    pub fn complete(&self, entry: &str, offset: usize) -> Vec<Completion> {
        let Some(rest) = entry.strip_prefix(':') else { return self.session.complete(entry, offset) };
        let name = rest.split(char::is_whitespace).next().unwrap_or("");
        let path = |label: &str, start: usize, insert: String| Completion {
            label: label.to_owned(),
            kind: ide::CompletionKind::Keyword,
            detail: String::new(),
            range: start..offset,
            insert,
        };
        if offset <= name.len() + 1 {
            let typed = entry.get(1..offset).unwrap_or("");
            let fits = COMMANDS.iter().filter(|c| c.name.starts_with(typed));
            return fits.map(|c| path(c.name, 1, format!("{} ", c.name).trim_start().to_owned())).collect();
        }
        let Some(command) = COMMANDS.iter().find(|c| c.name == name) else { return Vec::new() };
        let start = 1 + name.len() + 1;
        let argument = entry.get(start..).unwrap_or("");
        let within = offset.saturating_sub(start);
        let typed = argument.get(..within).unwrap_or("");
        let words = |all: Vec<String>| {
            all.into_iter().filter(|w| w.starts_with(typed)).map(|w| path(&w, start, w.clone())).collect()
        };
        match command.argument {
            Argument::None => Vec::new(),
            Argument::Command => words(COMMANDS.iter().map(|c| c.name.to_owned()).collect()),
            Argument::Job => words(self.jobs.numbers().iter().map(usize::to_string).collect()),
            Argument::Setting => words(self.settable().into_iter().map(|(name, _)| format!("{name}=")).collect()),
            Argument::File => {
                files(typed).into_iter().map(|(at, name)| path(&name, start + at, name.clone())).collect()
            }
            Argument::Expression | Argument::Name => {
                let found = self.session.complete(&format!("({argument}"), within + 1);
                let back = |c: Completion| {
                    let range = c.range.start + start - 1..c.range.end + start - 1;
                    Completion { range, ..c }
                };
                found.into_iter().map(back).collect()
            }
        }
    }

    fn command(&mut self, command: Command, argument: &str) -> Taken {
        match command.name {
            "type" => self.answer(self.session.type_of(argument).or_else(|failure| self.of_type(argument, failure))),
            "doc" => match self.session.document(argument.trim_start_matches(':')) {
                docs if docs.is_empty() => self.undocumented(argument),
                docs => self.answer(Ok(show::docs(&docs))),
            },
            "plan" => {
                let expression = (!argument.is_empty()).then_some(argument);
                self.answer(self.session.plan(expression).map(|overview| plan::text(&overview)))
            }
            "time" => self.enter(argument, true),
            "run" => match self.session.run() {
                Ok(Some(evaluation)) => self.foreground(evaluation),
                Ok(None) => self.noted("the session has no requests"),
                Err(failure) => self.failed(&failure),
            },
            "list" => self.answer(Ok(self.session.text().trim_end().to_owned())),
            "drop" => match self.session.drop(argument) {
                Ok(()) => Taken::default(),
                Err(failure) => self.failed(&failure),
            },
            "reset" => {
                self.session.reset();
                self.noted("the session is empty")
            }
            "save" => self.save(argument),
            "load" => match self.session.load(Path::new(argument)) {
                Ok(entered) => self.entered(&entered),
                Err(failure) => self.failed(&failure),
            },
            "set" => self.setting(argument),
            "bg" => self.background(argument),
            "jobs" => {
                let lines = self.jobs.lines();
                if lines.is_empty() { self.noted("nothing runs") } else { self.answer(Ok(lines.join("\n"))) }
            }
            "wait" | "cancel" => self.job(command, argument),
            "help" => match command::help(argument) {
                Some(text) => self.answer(Ok(text)),
                None => self.wrong(&format!("there is no command `{argument}`"), "`:help` lists the commands"),
            },
            _ => Taken { code: 0, leaves: true },
        }
    }

    /// Of a type or a genome, which is no value, what it is.
    fn of_type(&self, name: &str, failure: Failure) -> Result<String, Failure> {
        let docs = self.session.document(name);
        if docs.is_empty() {
            Err(failure)
        } else {
            Ok(docs.iter().map(|d| d.signature.as_str()).collect::<Vec<_>>().join("\n"))
        }
    }

    fn undocumented(&self, name: &str) -> Taken {
        self.wrong(
            &format!("nothing is called `{name}`"),
            "`:doc` takes the name of a function, a kind, a type or a declaration",
        )
    }

    fn enter(&mut self, entry: &str, timed: bool) -> Taken {
        let clock = Stopwatch::start();
        // A bare name of what is no value is a question about it.
        if !entry.trim().contains(|c: char| !c.is_alphanumeric() && c != '_' && c != '.')
            && self.is_no_value(entry.trim())
        {
            return self.answer(Ok(show::docs(&self.session.document(entry.trim()))));
        }
        let entered = match self.session.enter(entry) {
            Ok(entered) => entered,
            Err(failure) => return self.failed(&failure),
        };
        let taken = self.entered(&entered);
        let Some(evaluation) = entered.evaluation else { return taken };
        let checked = clock.seconds();
        let taken = self.foreground(evaluation);
        if timed {
            let ran = clock.seconds() - checked;
            self.output.note(&format!("checked and planned in {}, computed in {}", fine(checked), fine(ran)));
        }
        taken
    }

    /// Whether a name stands for a function, a type, a genome or a kind.
    fn is_no_value(&self, name: &str) -> bool {
        if matches!(name, "true" | "false" | "seed") {
            return false;
        }
        match self.session.type_of(name) {
            Ok(ty) => ty.contains("->") && ty.starts_with('('),
            Err(_) => !self.session.document(name).is_empty(),
        }
    }

    fn entered(&self, entered: &Entered) -> Taken {
        self.warn(entered);
        for declared in &entered.declared {
            self.output.note(&self.dim(&show::declared(declared)));
        }
        Taken::default()
    }

    fn warn(&self, entered: &Entered) {
        self.tell(&entered.warnings, &entered.sources);
    }

    fn background(&mut self, entry: &str) -> Taken {
        let entered = match self.session.enter(entry) {
            Ok(entered) => entered,
            Err(failure) => return self.failed(&failure),
        };
        self.entered(&entered);
        match entered.evaluation {
            Some(evaluation) => {
                let (number, title) = self.jobs.start(evaluation);
                self.noted(&format!("[{number}] {title}"))
            }
            None => self.noted("a declaration computes nothing: show what it declares"),
        }
    }

    fn foreground(&mut self, evaluation: Evaluation) -> Taken {
        let (bars, watchers): (_, Vec<Arc<dyn Observer>>) = match self.watches {
            true => {
                let bars = Arc::new(progress::Bars::new());
                (Some(bars.clone()), vec![bars])
            }
            false => (None, Vec::new()),
        };
        let job = evaluation.start(watchers);
        let outcome = signals::in_foreground(&job, || job.wait_or_released());
        bars.iter().for_each(|bars| bars.finish());
        match outcome {
            Some(outcome) => self.outcome(&outcome, job.is_expression()),
            None => {
                let number = self.jobs.keep(job);
                self.noted(&format!("[{number}] is still stopping; `:jobs` tells when it has"))
            }
        }
    }

    fn outcome(&self, outcome: &RunOutcome, is_expression: bool) -> Taken {
        for output in &outcome.outputs {
            if self.output.result(&show::output(output, is_expression)).is_err() {
                return Taken { code: 0, leaves: true };
            }
        }
        match (&outcome.failure, outcome.status) {
            (_, Status::Interrupted) => {
                self.output.note("stopped: what is finished is kept; the same entry goes on with it");
            }
            (Some(failure), _) => self.tell(&failure.diagnostics, &failure.sources),
            (None, _) => {}
        }
        Taken::with(outcome.exit_code())
    }

    fn job(&mut self, command: Command, argument: &str) -> Taken {
        let number = match (argument.parse(), argument.is_empty()) {
            (Ok(number), _) => Some(number),
            (Err(_), true) => None,
            (Err(_), false) => return self.wrong(&format!("`{argument}` is no job"), "`:jobs` lists them by number"),
        };
        let found = match (command.name, number) {
            ("cancel", Some(number)) => self.jobs.cancel(number).then_some(0),
            (_, number) => self.jobs.wait(number),
        };
        match found {
            Some(code) => Taken::with(code),
            None => self.wrong(&format!("there is no job {argument}"), "`:jobs` lists them by number"),
        }
    }

    fn save(&self, file: &str) -> Taken {
        let path = Path::new(file);
        let path = if path.extension().is_some() { path.to_owned() } else { path.with_extension("evo") };
        let text = self.session.formatted();
        if let Err(error) = crate::files::write_whole(&path, text.as_bytes()) {
            return self.wrong(&format!("`{}` cannot be written: {error}", path.display()), "choose another place");
        }
        let set: Vec<String> = self.session.settings().params.keys().map(|name| format!("`{name}`")).collect();
        let left = match set.as_slice() {
            [] => String::new(),
            set => format!("; not with it, since `:set` is for this session: {}", set.join(", ")),
        };
        self.noted(&format!("saved {}{left}", path.display()))
    }

    /// What `:set` may set, with its value.
    fn settable(&self) -> Vec<(String, String)> {
        let Settings { params, seed, tiny, .. } = self.session.settings();
        let program = self.session.params();
        let value = |p: &crate::engine::Param| match params.get(&p.name) {
            Some(ParamValue::Source(source)) => source.clone(),
            Some(ParamValue::Data(data)) => render::datum(data),
            None => p.default.clone().unwrap_or_else(|| "(must be set)".to_owned()),
        };
        let declared = program.iter().filter(|p| p.name != "seed").map(|p| (p.name.clone(), value(p)));
        let own = program.iter().find(|p| p.name == "seed").map(value);
        let seed = seed.map_or(own.unwrap_or_else(|| "0".to_owned()), |seed| seed.to_string());
        declared
            .chain([
                ("seed".to_owned(), seed),
                ("tiny".to_owned(), tiny.to_string()),
                ("device".to_owned(), self.session.device()),
                ("jobs".to_owned(), self.session.jobs().to_string()),
            ])
            .collect()
    }

    fn setting(&mut self, argument: &str) -> Taken {
        if argument.is_empty() {
            let lines: Vec<String> =
                self.settable().into_iter().map(|(name, value)| format!("{name} = {value}")).collect();
            return self.answer(Ok(lines.join("\n")));
        }
        let Some((name, value)) = argument.split_once('=').map(|(n, v)| (n.trim(), v.trim())) else {
            return self.wrong("`:set` takes NAME=VALUE", "such as `:set seed=3`; `:set` alone shows what there is");
        };
        let settings = self.session.settings().clone();
        let wrong = |wanted: &str| Err((format!("`{name}` cannot be `{value}`"), format!("give it {wanted}")));
        let set = match name {
            "jobs" => match value.parse() {
                Ok(jobs @ 1..=65_535) => {
                    self.session.set_jobs(jobs);
                    Ok(Ok(()))
                }
                _ => wrong("a whole number from 1 on"),
            },
            "tiny" => match value.parse() {
                Ok(tiny) => Ok(self.session.set(Settings { tiny, ..settings })),
                Err(_) => wrong("`true` or `false`"),
            },
            "seed" => match value.parse() {
                Ok(seed) => Ok(self.session.set(Settings { seed: Some(seed), ..settings })),
                Err(_) => wrong("a whole number"),
            },
            "device" => Ok(self.session.set(Settings { device: Some(value.to_owned()), ..settings })),
            _ => Ok(self.session.set_param(name, value)),
        };
        match set {
            Ok(Ok(())) => Taken::default(),
            Ok(Err(failure)) => self.failed(&failure),
            Err((what, help)) => self.wrong(&what, &help),
        }
    }

    fn answer(&self, answer: Result<String, Failure>) -> Taken {
        match answer {
            Ok(text) if text.is_empty() => Taken::default(),
            Ok(text) => match self.output.result(&text) {
                Ok(()) => Taken::default(),
                Err(_) => Taken { code: 0, leaves: true },
            },
            Err(failure) => self.failed(&failure),
        }
    }

    fn noted(&self, text: &str) -> Taken {
        self.output.note(&self.dim(text));
        Taken::default()
    }

    fn wrong(&self, what: &str, help: &str) -> Taken {
        self.failed(&Failure::placeless(2, Code::E0139, what, help))
    }

    fn failed(&self, failure: &Failure) -> Taken {
        self.tell(&failure.diagnostics, &failure.sources);
        Taken::with(failure.exit_code)
    }

    fn tell(&self, diagnostics: &[Diagnostic], sources: &SourceMap) {
        if !diagnostics.is_empty() {
            self.output.note(diag::render_all(diagnostics, sources, self.output.colour()).trim_end());
        }
    }

    fn dim(&self, text: &str) -> String {
        if self.output.colour() { crate::cli::screen::dim(text) } else { text.to_owned() }
    }
}

/// The entries that a text holds: one, if it parses as a whole; else what its lines make, unfinished ones going on with
/// the next.
fn pieces(text: &str) -> Vec<String> {
    let is_command = text.trim_start().starts_with(':');
    let file = evo_lang::span::FileId::default();
    let whole = if ide::looks_like_item(text) {
        evo_lang::syntax::parse(text, file).1.is_empty()
    } else {
        evo_lang::syntax::parse_expr(text, file).1.is_empty()
    };
    if whole && !is_command || !text.trim().contains('\n') {
        return vec![text.to_owned()];
    }
    let (mut pieces, mut piece) = (Vec::new(), String::new());
    for line in text.lines() {
        piece += line;
        let is_done = piece.trim_start().starts_with(':') || !ide::unfinished(&piece);
        if is_done && !piece.trim().is_empty() {
            pieces.push(std::mem::take(&mut piece));
        } else if !piece.is_empty() {
            piece.push('\n');
        }
    }
    if !piece.trim().is_empty() {
        pieces.push(piece);
    }
    pieces
}

/// A short time.
fn fine(seconds: f64) -> String {
    if seconds < 1.0 { format!("{:.1} ms", seconds * 1e3) } else { render::duration(seconds) }
}

/// The programs and folders that a path names so far: where the name begins in it, and the name.
fn files(typed: &str) -> Vec<(usize, String)> {
    let at = typed.rfind('/').map_or(0, |slash| slash + 1);
    let (folder, part) = typed.split_at(at);
    let folder = if folder.is_empty() { "." } else { folder };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let name = |entry: std::fs::DirEntry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() { name + "/" } else { name }
    };
    let mut names: Vec<String> = entries
        .map(name)
        .filter(|name| name.starts_with(part) && (name.ends_with('/') || name.ends_with(".evo")))
        .filter(|name| !name.starts_with('.') || part.starts_with('.'))
        .collect();
    names.sort();
    names.into_iter().map(|name| (at, name)).collect()
}
