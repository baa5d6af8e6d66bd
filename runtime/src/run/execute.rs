//! The seam between the embedding API and the language: checking, planning, running.

use std::path::Path;

use evo_lang::diag::{Code, Diagnostic};
use evo_lang::span::{FileId, SourceMap};
use evo_lang::syntax::{self, ast};
use indexmap::IndexMap;

use super::dir::{Identity, RunDir};
use super::journal::Journal;
use super::log::EventLog;
use super::rows::{Output, OutputKind};
use crate::datum::Datum;
use crate::engine::{Explanation, Failure, Form, Host, Overview, Param, Program, Settings};
use crate::events::{Cancel, EventKind, Shown};
use crate::store::{Key, Store};

/// A program after parsing and type checking.
#[derive(Debug)]
pub(crate) struct Checked {
    module: ast::Module,
}

/// A plan's graph with what it was made from.
#[derive(Debug)]
pub(crate) struct Planned {}

/// All that a running plan may use.
#[derive(Debug)]
pub(crate) struct Scope<'a> {
    pub(crate) planned: &'a Planned,
    pub(crate) sources: &'a SourceMap,
    pub(crate) host: &'a Host,
    pub(crate) identity: &'a Identity,
    pub(crate) dir: &'a RunDir,
    pub(crate) log: &'a EventLog,
    pub(crate) journal: &'a Journal,
    pub(crate) store: &'a Store,
    pub(crate) cancel: &'a Cancel,
    pub(crate) jobs: usize,
    pub(crate) out: &'a Path,
}

impl Scope<'_> {
    /// Notes down what a request gave, and shows it. A table of a tiny run says that it is one.
    pub(crate) fn answer(&self, request: u32, kind: OutputKind) -> Result<(), Failure> {
        let kind = match kind {
            OutputKind::Printed(Shown::Table(table)) if self.identity.tiny => {
                let title = table.title.as_ref().map_or("tiny run".to_owned(), |title| format!("{title} (tiny run)"));
                OutputKind::Printed(Shown::Table(table.titled(title)))
            }
            other => other,
        };
        let output = Output { request, kind };
        self.journal.commit(vec![output.row()])?;
        self.log.emit(match output.kind {
            OutputKind::Printed(shown) => EventKind::Printed { request, shown },
            OutputKind::Saved { path, what } => EventKind::Saved { request, path, what },
            OutputKind::Plotted { path, text } => EventKind::Plotted { request, path, text },
            OutputKind::Expected { message, holds } => {
                EventKind::Expected { request, message, holds, enforced: !self.identity.tiny }
            }
        });
        Ok(())
    }
}

/// Parses and type-checks the entry file and all that it uses; used files are added to `sources`.
pub(crate) fn check(_host: &Host, sources: &mut SourceMap, entry: FileId) -> (Checked, Vec<Diagnostic>) {
    let text = sources.file(entry).map(|file| file.text.clone()).unwrap_or_default();
    let (module, diagnostics) = syntax::parse(&text, entry);
    (Checked { module }, diagnostics)
}

/// Elaborates a checked program under settings, with headers and first rows read.
pub(crate) fn plan(_host: &Host, _program: &Program, _settings: &Settings) -> (Option<Planned>, Vec<Diagnostic>) {
    let span = crate::engine::nowhere();
    (None, vec![Diagnostic::error(Code::R0546, span, "programs cannot be planned yet", "")])
}

/// Answers the plan's requests.
pub(crate) fn run(_scope: &Scope<'_>) -> Result<(), Failure> {
    Err(Failure::placeless(3, Code::R0546, "plans cannot be run yet", ""))
}

impl Checked {
    /// The params in the order of their declarations.
    pub(crate) fn params(&self) -> Vec<Param> {
        Vec::new()
    }

    /// Names of the declarations of a kind.
    pub(crate) fn declared(&self, kind: &str) -> Vec<String> {
        let named = self.module.items.iter().filter_map(|item| match &item.kind {
            ast::ItemKind::Decl(decl) if decl.kind.text == kind => Some(decl.name.text.clone()),
            _ => None,
        });
        named.collect()
    }

    /// A dump of the syntax tree or of the types.
    pub(crate) fn emit(&self, form: Form, _sources: &SourceMap) -> Option<String> {
        (form == Form::Ast).then(|| format!("{:#?}\n", self.module))
    }
}

impl Planned {
    /// The hash of the program, all that it uses, and the version.
    pub(crate) fn program_hash(&self) -> Key {
        Key::of("program", &[b""])
    }

    /// The params as they were resolved.
    pub(crate) fn params(&self) -> IndexMap<String, Datum> {
        IndexMap::new()
    }

    /// The program's seed.
    pub(crate) fn seed(&self) -> i64 {
        0
    }

    /// The nodes with estimates.
    pub(crate) fn overview(&self, _host: &Host) -> Result<Overview, Failure> {
        Ok(Overview::default())
    }

    /// Which term of each node's identity changed.
    pub(crate) fn explain(&self, _host: &Host) -> Result<Vec<Explanation>, Failure> {
        Ok(Vec::new())
    }

    /// A dump of numeric code or of the graph.
    pub(crate) fn emit(&self, _form: Form) -> Option<String> {
        None
    }
}
