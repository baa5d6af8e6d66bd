//! Answers a program's requests, in source order, as their values come in.

use std::path::Path;
use std::sync::Arc;

use evo_lang::diag::{Code, Diagnostic};
use evo_lang::plan::{Const, Demand, NodeId, PlannedRequest, RangeConst};
use evo_lang::span::Span;
use evo_stdlib::cx::{Card, Draw, Failure};
use evo_stdlib::value::Value;

use super::execute::roots;
use super::rows::{Output, OutputKind};
use super::scheduler::Scheduler;
use super::world::{datum, unjournaled};
use crate::datum::{Datum, Table};
use crate::db::DiskError;
use crate::events::{EventKind, Shown};
use crate::files;

/// What came of a run's requests.
#[derive(Debug, Default)]
pub(crate) struct Answered {
    /// Every request has its answer, or a failure that is told.
    pub(crate) complete: bool,
    /// Requests that failed.
    pub(crate) failures: Vec<Diagnostic>,
}

/// Where and under which name results go.
pub(crate) struct Outputs<'a> {
    /// Output paths are relative to it.
    pub(crate) out: &'a Path,
    /// What saved artifacts tell of their origin; the recipe is filled in.
    pub(crate) card: Card,
    /// The width of terminal plots.
    pub(crate) columns: usize,
    /// The run's name, if it has a directory.
    pub(crate) run: Option<&'a str>,
}

/// Demands everything, then answers each request when it is ready.
pub(crate) fn answer_all(scheduler: &Arc<Scheduler>, requests: &[PlannedRequest], outputs: &Outputs<'_>) -> Answered {
    let roots: Vec<NodeId> = requests.iter().flat_map(|r| roots(&r.demand)).collect();
    scheduler.demand(&roots, false);
    let mut done = Answered { complete: true, failures: Vec::new() };
    for (i, request) in requests.iter().enumerate() {
        let answer = Answer { scheduler, request, index: i as u32, outputs };
        if let Err(failure) = answer.give() {
            if failure.is_cancelled {
                done.complete = false;
                continue;
            }
            // What several requests need fails once.
            let diagnostic = diagnostic(scheduler, &failure, request.span, outputs.run);
            let is_same = |told: &Diagnostic| told.title == diagnostic.title && told.primary == diagnostic.primary;
            if !done.failures.iter().any(is_same) {
                done.failures.push(diagnostic);
            }
        }
    }
    done
}

struct Answer<'r> {
    scheduler: &'r Arc<Scheduler>,
    request: &'r PlannedRequest,
    index: u32,
    outputs: &'r Outputs<'r>,
}

impl Answer<'_> {
    fn give(&self) -> Result<(), Arc<Failure>> {
        match &self.request.demand {
            Demand::Print(value) => {
                let shown = self.shown(&self.value(*value)?.show());
                self.journal(OutputKind::Printed(shown.clone()))?;
                self.emit(EventKind::Printed { request: self.index, shown });
            }
            Demand::Plot { value, over, path } => {
                let value = self.value(*value)?;
                let range = match over {
                    Some(id) => match self.value(*id)?.plain() {
                        Some(Const::Range(range)) => Some(range),
                        _ => None,
                    },
                    None => None,
                };
                self.plot(&value, range, path.as_deref())?;
            }
            Demand::Save { value, path } => {
                let value = self.value(*value)?;
                self.save(&value, path)?;
            }
            Demand::Expect { condition, message } => {
                let holds = self.value(*condition)?.plain() == Some(Const::Bool(true));
                let message = match message {
                    Some(id) => self.value(*id)?.plain().and_then(|m| m.as_text().cloned()).unwrap_or_default(),
                    None => self.request.text.clone(),
                };
                let enforced = !self.scheduler.world().tiny;
                let message = message.to_string();
                self.journal(OutputKind::Expected { message: message.clone(), holds })?;
                self.emit(EventKind::Expected { request: self.index, message, holds, enforced });
            }
        }
        Ok(())
    }

    fn value(&self, id: NodeId) -> Result<Value, Arc<Failure>> {
        self.scheduler.wait(id).outcome
    }

    fn emit(&self, kind: EventKind) {
        self.scheduler.world().log.emit(kind);
    }

    fn shown(&self, value: &Const) -> Shown {
        let datum = datum(value);
        match datum {
            Datum::Text(text) => Shown::Text(text),
            Datum::Record(_) | Datum::List(_) => {
                let table = Table::of(&datum);
                Shown::Table(if self.scheduler.world().tiny {
                    table.titled("tiny run: effort lowered, figures mean nothing")
                } else {
                    table
                })
            }
            plain => Shown::Value(plain),
        }
    }

    fn plot(&self, value: &Value, range: Option<RangeConst>, path: Option<&str>) -> Result<(), Arc<Failure>> {
        let cannot = || {
            Failure::new("R0511", format!("{} cannot be drawn", value.describe()))
                .help("plot a search's history, a figure, or a loss or function over a range")
        };
        let chart = evo_stdlib::plot::over(value, range).transpose()?;
        let drawing: &dyn Draw = match (&chart, value) {
            (Some(chart), _) => chart,
            (None, Value::Object(object)) if range.is_none() => object.draw().ok_or_else(cannot)?,
            (None, Value::Object(_)) if range.is_some() => {
                return Err(Arc::new(
                    Failure::new("R0511", format!("{} cannot be drawn over a range", value.describe()))
                        .help("leave `over …` out; a range is for losses and functions of one number"),
                ));
            }
            _ => return Err(Arc::new(cannot())),
        };
        let written = match path {
            Some(path) => {
                let full = self.outputs.out.join(path);
                prepare(&full)?;
                files::write_whole(&full, drawing.svg().as_bytes()).map_err(|e| Arc::new(not_written(&full, &e)))?;
                Some(path.to_owned())
            }
            None => None,
        };
        let text = drawing.terminal(self.outputs.columns);
        self.journal(OutputKind::Plotted { path: written.clone(), text: text.clone() })?;
        self.emit(EventKind::Plotted { request: self.index, path: written, text });
        Ok(())
    }

    fn save(&self, value: &Value, path: &str) -> Result<(), Arc<Failure>> {
        let cannot =
            || Failure::new("R0511", format!("{} cannot be saved", value.describe())).help("save a model or a loss");
        let Value::Object(object) = value else { return Err(Arc::new(cannot())) };
        let saver = object.save().ok_or_else(cannot)?;
        let full = self.outputs.out.join(path);
        prepare(&full)?;
        let card = Card { recipe: self.request.text.to_string(), ..self.outputs.card.clone() };
        saver.save(&full, &card)?;
        let (path, what) = (path.to_owned(), object.kind().to_lowercase());
        self.journal(OutputKind::Saved { path: path.clone(), what: what.clone() })?;
        self.emit(EventKind::Saved { request: self.index, path, what });
        Ok(())
    }

    fn journal(&self, kind: OutputKind) -> Result<(), Arc<Failure>> {
        let output = Output { request: self.index, kind };
        self.scheduler.world().journal.commit(vec![output.row()]).map_err(|e| Arc::new(unjournaled(&e)))
    }
}

fn prepare(path: &Path) -> Result<(), Arc<Failure>> {
    let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) else { return Ok(()) };
    std::fs::create_dir_all(parent).map_err(|e| Arc::new(not_written(parent, &e)))
}

fn not_written(path: &Path, error: &std::io::Error) -> Failure {
    match DiskError::from_io(path, error) {
        full @ DiskError::Full { .. } => Failure::new(full.code().as_str(), full.to_string()).help(full.help()),
        _ => Failure::new("R0512", format!("`{}` cannot be written: {error}", path.display()))
            .help("choose another place with `--out`"),
    }
}

/// A failure as a diagnostic at the node that failed, else at the request; in a run, with the command that repeats the
/// candidate that it is about.
pub(super) fn diagnostic(scheduler: &Scheduler, failure: &Failure, request: Span, run: Option<&str>) -> Diagnostic {
    let node = failure.node.map(|id| scheduler.world().node(id));
    let span = node.as_ref().map(|n| n.span).filter(|s| s.end > s.start).unwrap_or(request);
    let code = Code::find(failure.code).unwrap_or(Code::R0501);
    let mut diagnostic = Diagnostic::error(code, span, failure.title.clone(), "failed here");
    if span != request {
        diagnostic = diagnostic.label(request, "asked for here");
    }
    if let Some(span) = failure.span.as_deref().filter(|s| s.end > s.start && **s != span) {
        diagnostic = diagnostic.label(*span, "the fault");
    }
    for note in &failure.notes {
        diagnostic = diagnostic.note(note.clone());
    }
    if !failure.help.is_empty() {
        diagnostic = diagnostic.help(failure.help.clone());
    }
    match (failure.candidate.as_deref(), run) {
        (Some((generation, candidate)), Some(run)) => {
            diagnostic.help(format!("to repeat it: `evo replay {run} --at {generation}.{candidate}`"))
        }
        _ => diagnostic,
    }
}
