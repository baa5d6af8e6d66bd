//! Where text goes: results to stdout, everything about them to stderr.

use std::io::{self, Write};

use console::style;
use evo_lang::diag::{self, Diagnostic};
use evo_lang::span::SourceMap;

use super::args::Color;
use crate::engine::Failure;

/// Decides once, for both streams, whether to use colours.
pub(super) fn set_color(color: Color) {
    if color != Color::Auto {
        console::set_colors_enabled(color == Color::Always);
        console::set_colors_enabled_stderr(color == Color::Always);
    }
}

/// Writes a result and a newline.
pub(crate) fn result(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    out.flush()
}

/// Writes a text as it is.
pub(super) fn exactly(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Writes a value as one line of JSON.
pub(super) fn json(value: &impl serde::Serialize) -> io::Result<()> {
    result(&serde_json::to_string(value).map_err(io::Error::other)?)
}

/// Writes a line about what happens. If stderr is gone, there is nobody to tell.
pub(crate) fn note(text: &str) {
    let mut err = io::stderr().lock();
    let _ = err.write_all(text.as_bytes());
    if !text.ends_with('\n') {
        let _ = err.write_all(b"\n");
    }
}

/// Writes diagnostics for people.
pub(crate) fn diagnostics(diagnostics: &[Diagnostic], sources: &SourceMap) {
    if !diagnostics.is_empty() {
        note(&diag::render_all(diagnostics, sources, console::colors_enabled_stderr()));
    }
}

/// Writes diagnostics as JSON, one a line, each an object whose `event` is `diagnostic`.
pub(super) fn diagnostics_json(diagnostics: &[Diagnostic], sources: &SourceMap) -> io::Result<()> {
    diagnostics.iter().try_for_each(|diagnostic| {
        let mut object = serde_json::json!({ "event": "diagnostic" });
        if let (Some(object), serde_json::Value::Object(mut fields)) =
            (object.as_object_mut(), diag::to_json(diagnostic, sources))
        {
            if sources.file(diagnostic.primary.span.file).is_none() {
                fields
                    .retain(|name, _| !matches!(name.as_str(), "file" | "line" | "column" | "end_line" | "end_column"));
            }
            object.append(&mut fields);
        }
        json(&object)
    })
}

/// Writes a failure in the form that the command was asked for.
pub(super) fn failure(failure: &Failure, as_json: bool) -> io::Result<()> {
    if as_json {
        return diagnostics_json(&failure.diagnostics, &failure.sources);
    }
    diagnostics(&failure.diagnostics, &failure.sources);
    Ok(())
}

/// Text that steps back, where colours are on.
pub(crate) fn dim(text: &str) -> String {
    style(text).for_stderr().dim().to_string()
}

/// The same for stdout.
pub(super) fn dim_result(text: &str) -> String {
    style(text).dim().to_string()
}

/// A warning's first word.
pub(super) fn warning_word(code: Option<&str>) -> String {
    let word = code.map_or("warning".to_owned(), |code| format!("warning[{code}]"));
    style(word).for_stderr().yellow().bold().to_string()
}

/// The first word of a line that tells a fix.
pub(super) fn fixed_word() -> String {
    style("fixed").for_stderr().green().bold().to_string()
}
