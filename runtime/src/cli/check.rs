//! `evo check`.

use std::path::{Path, PathBuf};

use evo_lang::diag::{self, Diagnostic};
use evo_lang::span::SourceMap;
use serde_json::{Value, json};

use super::args::{CheckArgs, Emit, Report};
use super::{Stop, fix, screen, settings};
use crate::engine::{Engine, Failure, Form, Settings};

/// What was found so far, in the form that was asked for.
struct Found {
    report: Report,
    errors: usize,
    warnings: usize,
    /// For SARIF, which is one document.
    results: Vec<Value>,
}

/// Checks programs; 2 if one of them has errors, or warnings where they are denied.
pub(super) fn check(args: &CheckArgs) -> Result<u8, Stop> {
    let engine = Engine::new();
    let settings = settings(&args.settings);
    let report = if args.json { Report::Json } else { args.report };
    let mut found = Found { report, errors: 0, warnings: 0, results: Vec::new() };
    let main = if args.files.is_empty() { Some(engine.main_program()?) } else { None };
    let files: Vec<&Path> = args.files.iter().chain(&main).map(PathBuf::as_path).collect();
    for file in files {
        if args.fix {
            fix::fix(&engine, file, &settings, args.dry_run)?;
        }
        let (diagnostics, sources) = check_one(&engine, file, &settings, args.emit)?;
        found.show(&diagnostics, &sources)?;
    }
    found.end(args)?;
    let denied = args.deny_warnings && found.warnings > 0;
    Ok(if found.errors > 0 || denied { 2 } else { 0 })
}

pub(super) type Checked = (Vec<Diagnostic>, std::sync::Arc<SourceMap>);

fn check_one(engine: &Engine, file: &Path, settings: &Settings, emit: Option<Emit>) -> Result<Checked, Stop> {
    match emit {
        None => all(engine, file, settings),
        Some(emit) => emitted(engine, file, settings, form(emit)).or_else(refused),
    }
}

/// All that is wrong or doubtful with a program, the files that it names included.
pub(super) fn all(engine: &Engine, file: &Path, settings: &Settings) -> Result<Checked, Stop> {
    let checked = || -> Result<Checked, Stop> {
        let plan = engine.load(file)?.plan(settings)?;
        Ok((plan.warnings().to_vec(), plan.sources().clone()))
    };
    checked().or_else(refused)
}

fn refused(stop: Stop) -> Result<Checked, Stop> {
    match stop {
        Stop::Failure(Failure { diagnostics, sources, .. }, _) => Ok((diagnostics, sources)),
        other => Err(other),
    }
}

fn emitted(engine: &Engine, file: &Path, settings: &Settings, form: Form) -> Result<Checked, Stop> {
    let program = engine.load(file)?;
    if let Some(text) = program.emit(form) {
        screen::result(&text)?;
        return Ok((program.diagnostics().to_vec(), program.sources().clone()));
    }
    let plan = program.plan(settings)?;
    if let Some(text) = plan.emit(form) {
        screen::result(&text)?;
    }
    Ok((plan.warnings().to_vec(), plan.sources().clone()))
}

fn form(emit: Emit) -> Form {
    match emit {
        Emit::Ast => Form::Ast,
        Emit::Types => Form::Types,
        Emit::Ir => Form::Ir,
        Emit::Clif => Form::Clif,
        Emit::Plan => Form::Plan,
    }
}

impl Found {
    fn show(&mut self, diagnostics: &[Diagnostic], sources: &SourceMap) -> Result<(), Stop> {
        let errors = diagnostics.iter().filter(|d| d.is_error()).count();
        self.errors += errors;
        self.warnings += diagnostics.len() - errors;
        match self.report {
            Report::Human => screen::diagnostics(diagnostics, sources),
            Report::Json => screen::diagnostics_json(diagnostics, sources)?,
            Report::Sarif => self.results.extend(diagnostics.iter().map(|d| diag::sarif_result(d, sources))),
            Report::Github => {
                let lines: Vec<String> = diagnostics.iter().map(|d| annotation(d, sources)).collect();
                if !lines.is_empty() {
                    screen::result(&lines.join("\n"))?;
                }
            }
        }
        Ok(())
    }

    /// What stands after all files.
    fn end(&mut self, args: &CheckArgs) -> Result<(), Stop> {
        match self.report {
            Report::Sarif => {
                let results = std::mem::take(&mut self.results);
                screen::json(&diag::sarif_log(results, env!("CARGO_PKG_VERSION")))?;
            }
            Report::Human if args.emit.is_none() => screen::note(&self.summary(args)),
            _ => {}
        }
        Ok(())
    }

    fn summary(&self, args: &CheckArgs) -> String {
        let several = |count: usize, word: &str| match count {
            0 => format!("no {word}s"),
            1 => format!("1 {word}"),
            _ => format!("{count} {word}s"),
        };
        let denied = if args.deny_warnings { " (denied)" } else { "" };
        let warnings =
            if self.warnings > 0 { format!(", {}{denied}", several(self.warnings, "warning")) } else { String::new() };
        format!("{} checked: {}{warnings}", several(args.files.len().max(1), "program"), several(self.errors, "error"))
    }
}

/// A line that GitHub's runners show beside the code.
fn annotation(diagnostic: &Diagnostic, sources: &SourceMap) -> String {
    let object = diag::to_json(diagnostic, sources);
    let word = if diagnostic.is_error() { "error" } else { "warning" };
    let escaped = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |value: &Value| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        escaped(&text).replace(':', "%3A").replace(',', "%2C")
    };
    let place = match sources.file(diagnostic.primary.span.file) {
        None => String::new(),
        Some(_) => {
            let names = [("file", "file"), ("line", "line"), ("col", "column"), ("endLine", "end_line")];
            names.iter().map(|(name, key)| format!("{name}={},", property(&object[*key]))).collect()
        }
    };
    let words: Vec<&str> = diagnostic.notes.iter().chain(&diagnostic.help).map(String::as_str).collect();
    let message = std::iter::once(&*diagnostic.title).chain(words).collect::<Vec<_>>().join("\n");
    format!("::{word} {place}title={}::{}", property(&json!(diagnostic.code.as_str())), escaped(&message))
}
