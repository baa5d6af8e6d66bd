//! `evo check --fix`: the patches of diagnostics, applied until nothing changes.

use std::path::Path;

use evo_lang::diag::{self, Diagnostic};
use evo_lang::span::{FileId, SourceMap};
use similar::TextDiff;

use super::check::all;
use super::{Stop, screen};
use crate::engine::{Engine, Failure, Settings};
use crate::files;

/// How often a text is checked again after its patches. Each round must change it; programs need two or three.
const ROUNDS: usize = 100;

/// Applies the patches of a program's diagnostics to its file, round by round, and says what was done; with `dry_run`
/// shows the difference and writes nothing. Files that it uses are left alone: name them too.
pub(super) fn fix(engine: &Engine, file: &Path, settings: &Settings, dry_run: bool) -> Result<(), Stop> {
    let Ok(before) = std::fs::read_to_string(file) else { return Ok(()) }; // the check itself says why
    let shown = file.display().to_string();
    let mut text = before.clone();
    let mut done = Vec::new();
    for round in 0..ROUNDS {
        let (diagnostics, sources) =
            if round == 0 { all(engine, file, settings)? } else { of_text(engine, &shown, &text, settings) };
        let Some(id) = entry(&sources, &shown) else { break };
        let patched = diag::patch(&diagnostics, &sources, id);
        if patched.applied.is_empty() || patched.text == text {
            break;
        }
        done.extend(patched.applied.iter().map(|d| told(d, &sources)));
        text = patched.text;
    }
    if text == before {
        return Ok(());
    }
    if dry_run {
        let names = (shown.clone(), format!("{shown} (fixed)"));
        let diff = TextDiff::from_lines(&before, &text);
        screen::result(&diff.unified_diff().header(&names.0, &names.1).to_string())?;
    } else {
        files::write_whole(file, text.as_bytes()).map_err(|error| {
            let title = format!("`{shown}` cannot be written: {error}");
            Failure::placeless(3, diag::Code::R0542, title, "check the permissions of the file and its folder")
        })?;
    }
    screen::note(&done.join("\n"));
    Ok(())
}

fn of_text(
    engine: &Engine,
    name: &str,
    text: &str,
    settings: &Settings,
) -> (Vec<Diagnostic>, std::sync::Arc<SourceMap>) {
    let program = engine.load_text(name, text);
    match program.plan(settings) {
        Ok(plan) => (plan.warnings().to_vec(), plan.sources().clone()),
        Err(failure) => (failure.diagnostics, failure.sources),
    }
}

/// The program's own file among those that were read.
fn entry(sources: &SourceMap, name: &str) -> Option<FileId> {
    sources.find(name)
}

/// One line on what was done.
fn told(diagnostic: &Diagnostic, sources: &SourceMap) -> String {
    let place = sources.location(diagnostic.primary.span);
    let change = |e: &diag::Edit| {
        let old = sources.text(e.span);
        match (old.is_empty(), e.replacement.is_empty()) {
            (true, _) => format!("`{}` added", e.replacement.trim()),
            (_, true) => format!("`{}` removed", old.trim()),
            _ => format!("`{}` → `{}`", old.trim(), e.replacement.trim()),
        }
    };
    let changes: Vec<String> = diagnostic.fix.iter().map(change).collect();
    format!("{}[{}] {place}: {}", screen::fixed_word(), diagnostic.code, changes.join(", "))
}
