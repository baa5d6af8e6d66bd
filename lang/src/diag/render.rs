//! Diagnostics as text for people and as JSON for tools.

use std::fmt::Write;

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, SourceSpan, ThemeStyles};

use super::{Diagnostic, Label, Severity, cut};
use crate::span::{FileId, SourceMap};

const WIDTH: usize = 120;

/// A snippet without a message of its own: the header and the footer are ours.
#[derive(Debug)]
struct Snippet {
    severity: Severity,
    source: cut::Source,
    labels: Vec<LabeledSpan>,
}

impl std::fmt::Display for Snippet {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Ok(())
    }
}

impl std::error::Error for Snippet {}

impl miette::Diagnostic for Snippet {
    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        Some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.labels.iter().cloned()))
    }
}

/// One diagnostic as text that ends in a newline: title, snippets, notes and help. `FILE:LINE:COLUMN` of the primary
/// label is always in it; escape sequences are in it only when `colour` is true.
pub fn render(diagnostic: &Diagnostic, sources: &SourceMap, colour: bool) -> String {
    let mut out = header(diagnostic, colour);
    let primary = diagnostic.primary.span.file;
    let mut files = vec![primary];
    for label in &diagnostic.secondary {
        if !files.contains(&label.span.file) {
            files.push(label.span.file);
        }
    }
    for file in files {
        out.push_str(&snippet(diagnostic, sources, file, colour));
    }
    for note in &diagnostic.notes {
        let _ = writeln!(out, "  note: {}", note.replace('\n', "\n        "));
    }
    for help in &diagnostic.help {
        let _ = writeln!(out, "  help: {}", help.replace('\n', "\n        "));
    }
    out
}

/// All of them, with an empty line between two.
pub fn render_all(diagnostics: &[Diagnostic], sources: &SourceMap, colour: bool) -> String {
    diagnostics.iter().map(|d| render(d, sources, colour)).collect::<Vec<_>>().join("\n")
}

fn header(diagnostic: &Diagnostic, colour: bool) -> String {
    let (word, escape) = match diagnostic.severity {
        Severity::Error => ("error", "\u{1b}[1;31m"),
        Severity::Warning => ("warning", "\u{1b}[1;33m"),
    };
    let (on, off) = if colour { (escape, "\u{1b}[0m") } else { ("", "") };
    format!("{on}{word}[{}]{off}: {}\n", diagnostic.code, diagnostic.title)
}

fn snippet(diagnostic: &Diagnostic, sources: &SourceMap, id: FileId, colour: bool) -> String {
    let Some(file) = sources.file(id) else { return String::new() };
    let is_primary = diagnostic.primary.span.file == id;
    let primary = is_primary.then_some(&diagnostic.primary);
    let told: Vec<&Label> =
        primary.into_iter().chain(diagnostic.secondary.iter().filter(|l| l.span.file == id)).collect();
    let places: Vec<SourceSpan> = told.iter().map(|label| place(label, &file.text)).collect();
    let (source, places) = cut::Source::of(&file.name, &file.text, &places);
    let labels = told.iter().zip(places).enumerate().map(|(i, (label, place))| match i {
        0 if is_primary => LabeledSpan::new_primary_with_span(label_text(label), place),
        _ => LabeledSpan::new_with_span(label_text(label), place),
    });
    let snippet = Snippet { severity: diagnostic.severity, source, labels: labels.collect() };
    let theme = GraphicalTheme {
        styles: if colour { ThemeStyles::ansi() } else { ThemeStyles::none() },
        ..GraphicalTheme::unicode_nocolor()
    };
    let handler =
        GraphicalReportHandler::new_themed(theme).with_width(WIDTH).with_context_lines(1).without_cause_chain();
    let mut drawn = String::new();
    let whole = handler.render_report(&mut drawn, &snippet).is_ok();
    // The first line holds miette's icon for a message, which is empty here.
    let body = drawn.split_once('\n').map_or("", |(_, rest)| rest);
    let location = sources.location(diagnostic.primary.span);
    if whole && (!is_primary || strip_escapes(body).contains(&location)) {
        return body.to_owned();
    }
    format!("  at {location}\n{body}")
}

fn strip_escapes(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((head, tail)) = rest.split_once('\u{1b}') {
        out.push_str(head);
        rest = tail.split_once('m').map_or("", |(_, t)| t);
    }
    out + rest
}

fn label_text(label: &Label) -> Option<String> {
    (!label.text.is_empty()).then(|| label.text.clone())
}

/// The bytes to underline: on character boundaries, and only the first line of a long span.
fn place(label: &Label, text: &str) -> SourceSpan {
    let mut start = (label.span.start as usize).min(text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    let mut end = (label.span.end as usize).clamp(start, text.len());
    while !text.is_char_boundary(end) {
        end += 1;
    }
    let part = text.get(start..end).unwrap_or("");
    let line = part.lines().next().unwrap_or("").len();
    (start, line.max(usize::from(!part.is_empty()))).into()
}

/// A diagnostic as a JSON object: `code`, `severity`, `title`, `file`, `line`, `column`, `end_line`, `end_column`,
/// `label`, `related` (the same places with a label each), `notes`, `help`, `fix` (places with a replacement each).
pub fn to_json(diagnostic: &Diagnostic, sources: &SourceMap) -> serde_json::Value {
    let place = |span: crate::span::Span| {
        let (from, to) = (sources.line_column(span), sources.line_column(span.tail()));
        let name = sources.file(span.file).map_or("?", |f| &f.name);
        serde_json::json!({ "file": name, "line": from.line, "column": from.column, "end_line": to.line, "end_column": to.column })
    };
    let with = |span, key: &str, text: &str| {
        let mut at = place(span);
        at[key] = text.into();
        at
    };
    let mut out = serde_json::json!({
        "code": diagnostic.code.as_str(),
        "severity": diagnostic.severity,
        "title": diagnostic.title,
    });
    if let (Some(out), Some(at)) =
        (out.as_object_mut(), with(diagnostic.primary.span, "label", &diagnostic.primary.text).as_object_mut())
    {
        out.append(at);
        out.insert("related".into(), diagnostic.secondary.iter().map(|l| with(l.span, "label", &l.text)).collect());
        out.insert("notes".into(), diagnostic.notes.clone().into());
        out.insert("help".into(), diagnostic.help.clone().into());
        out.insert("fix".into(), diagnostic.fix.iter().map(|e| with(e.span, "replacement", &e.replacement)).collect());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::{Code, suggest};
    use super::*;
    use crate::span::Span;

    fn example() -> (SourceMap, Diagnostic) {
        let mut sources = SourceMap::new();
        let id = sources.add("a.evo", "let one = 1\nlet two = on\n");
        let d = Diagnostic::error(Code::E0201, Span::new(id, 22, 24), "unknown name `on`", "no such name")
            .label(Span::new(id, 4, 7), "`one` is here")
            .note("names are case-sensitive")
            .help("did you mean `one`?")
            .fix(Span::new(id, 22, 24), "one");
        (sources, d)
    }

    #[test]
    fn shows_place_cause_and_help() {
        assert_eq!(suggest("on", ["one"]), Some("one"));
        let (sources, d) = example();
        let text = render(&d, &sources, false);
        for part in [
            "error[E0201]: unknown name `on`",
            "a.evo:2:11",
            "no such name",
            "`one` is here",
            "note: names",
            "help: did you",
        ] {
            assert!(text.contains(part), "{part} is missing:\n{text}");
        }
        assert!(!text.contains('\u{1b}'), "no escapes without colour");
        assert!(render(&d, &sources, true).contains('\u{1b}'));
    }

    #[test]
    fn never_fails_on_a_strange_span() {
        let (sources, mut d) = example();
        for (start, end) in [(0, 0), (24, 99), (900, 905), (11, 12), (3, 1)] {
            d.primary.span = Span::new(FileId(0), start, end);
            let text = render(&d, &sources, false);
            assert!(text.contains(&sources.location(d.primary.span)), "{text}");
        }
        d.primary.span.file = FileId(7);
        assert!(render(&d, &sources, false).contains("E0201"));
    }

    #[test]
    fn json_has_line_and_column() {
        let (sources, d) = example();
        let json = to_json(&d, &sources);
        assert_eq!((json["line"].as_u64(), json["column"].as_u64()), (Some(2), Some(11)));
        assert_eq!(json["fix"][0]["replacement"], "one");
        assert_eq!(json["related"][0]["line"], 1);
    }
}
