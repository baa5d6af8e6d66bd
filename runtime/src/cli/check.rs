//! `evo check`.

use std::path::Path;

use evo_lang::diag::{self, Diagnostic};
use evo_lang::span::SourceMap;

use super::args::{CheckArgs, Emit};
use super::{Stop, screen, settings};
use crate::engine::{Engine, Failure, Form, Settings};

#[derive(Default)]
struct Count {
    errors: usize,
    warnings: usize,
}

/// Checks programs; 2 if one of them has errors.
pub(super) fn check(args: &CheckArgs) -> Result<u8, Stop> {
    let engine = Engine::new();
    let settings = settings(&args.settings);
    let mut count = Count::default();
    for file in &args.files {
        match check_one(&engine, file, &settings, args.emit) {
            Ok(found) => count.show(&found.0, &found.1, args.json)?,
            Err(Stop::Failure(Failure { diagnostics, sources, .. }, _)) => {
                count.show(&diagnostics, &sources, args.json)?
            }
            Err(other) => return Err(other),
        }
    }
    if !args.json && args.emit.is_none() {
        screen::note(&count.summary(args.files.len()));
    }
    Ok(if count.errors > 0 { 2 } else { 0 })
}

type Found = (Vec<Diagnostic>, std::sync::Arc<SourceMap>);

fn check_one(engine: &Engine, file: &Path, settings: &Settings, emit: Option<Emit>) -> Result<Found, Stop> {
    let program = engine.load(file)?;
    let form = emit.map(form);
    if let Some(text) = form.and_then(|form| program.emit(form)) {
        screen::result(&text)?;
        return Ok((program.diagnostics().to_vec(), program.sources().clone()));
    }
    let plan = program.plan(settings)?;
    if let Some(text) = form.and_then(|form| plan.emit(form)) {
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

impl Count {
    fn show(&mut self, diagnostics: &[Diagnostic], sources: &SourceMap, json: bool) -> Result<(), Stop> {
        self.errors += diagnostics.iter().filter(|d| d.is_error()).count();
        self.warnings += diagnostics.iter().filter(|d| d.severity == diag::Severity::Warning).count();
        if json {
            screen::diagnostics_json(diagnostics, sources)?;
        } else {
            screen::diagnostics(diagnostics, sources);
        }
        Ok(())
    }

    fn summary(&self, files: usize) -> String {
        let several = |count: usize, word: &str| match count {
            0 => format!("no {word}s"),
            1 => format!("1 {word}"),
            _ => format!("{count} {word}s"),
        };
        let warnings =
            if self.warnings > 0 { format!(", {}", several(self.warnings, "warning")) } else { String::new() };
        format!("{} checked: {}{warnings}", several(files, "program"), several(self.errors, "error"))
    }
}
