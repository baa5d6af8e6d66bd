//! Diagnostics as SARIF 2.1.0 (OASIS, 2020), which code-scanning services and editors read.

use serde_json::{Value, json};

use super::{Code, Diagnostic, Edit, Severity};
use crate::span::{LineColumn, SourceMap, Span};

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

/// A whole log of one run of the tool: the results of [`sarif_result`], and a rule for every code that they have, whose
/// help is the code's page. `version` is the tool's.
pub fn sarif_log(mut results: Vec<Value>, version: &str) -> Value {
    let used = |code: &Code| results.iter().any(|r| r["ruleId"] == code.as_str());
    let pages: Vec<_> = Code::pages().iter().filter(|p| used(&p.code)).collect();
    let rules: Vec<Value> = pages
        .iter()
        .map(|page| {
            let title = page.title().split_once(": ").map_or("", |(_, title)| title);
            json!({
                "id": page.code,
                "shortDescription": { "text": title },
                "help": { "text": page.text, "markdown": page.text },
            })
        })
        .collect();
    for result in &mut results {
        let rule = pages.iter().position(|p| result["ruleId"] == p.code.as_str());
        if let (Some(rule), Some(object)) = (rule, result.as_object_mut()) {
            object.insert("ruleIndex".into(), rule.into());
        }
    }
    let driver = json!({ "name": "evo", "version": version, "rules": rules });
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{ "tool": { "driver": driver }, "columnKind": "utf16CodeUnits", "results": results }],
    })
}

/// One diagnostic as a result: its message with notes and help, its places, its fix.
pub fn sarif_result(diagnostic: &Diagnostic, sources: &SourceMap) -> Value {
    let level = match diagnostic.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let notes = diagnostic.notes.iter().map(|note| format!("note: {note}"));
    let help = diagnostic.help.iter().map(|help| format!("help: {help}"));
    let lines: Vec<String> = std::iter::once(diagnostic.title.clone()).chain(notes).chain(help).collect();
    let mut result = json!({
        "ruleId": diagnostic.code,
        "level": level,
        "message": { "text": lines.join("\n") },
        "locations": locations(sources, diagnostic.primary.span, &diagnostic.primary.text),
    });
    let Some(object) = result.as_object_mut() else { return result };
    if !diagnostic.secondary.is_empty() {
        let related = diagnostic.secondary.iter().flat_map(|l| locations(sources, l.span, &l.text));
        object.insert("relatedLocations".into(), related.collect());
    }
    if !diagnostic.fix.is_empty() {
        let description = diagnostic.help.first().map_or(&diagnostic.title, |help| help);
        let changes = changes(sources, &diagnostic.fix);
        object.insert("fixes".into(), json!([{ "description": { "text": description }, "artifactChanges": changes }]));
    }
    result
}

/// One location, or none for what stands in no file.
fn locations(sources: &SourceMap, span: Span, text: &str) -> Vec<Value> {
    let Some(file) = sources.file(span.file) else { return Vec::new() };
    let artifact = json!({ "uri": uri(&file.name) });
    let mut location = json!({ "physicalLocation": { "artifactLocation": artifact, "region": region(sources, span) } });
    if let Some(object) = location.as_object_mut().filter(|_| !text.is_empty()) {
        object.insert("message".into(), json!({ "text": text }));
    }
    vec![location]
}

/// The edits, by file.
fn changes(sources: &SourceMap, edits: &[Edit]) -> Vec<Value> {
    let mut files: Vec<_> = edits.iter().map(|e| e.span.file).collect();
    files.dedup();
    let change = |id| {
        let replacements: Vec<Value> = edits
            .iter()
            .filter(|e| e.span.file == id)
            .map(|e| json!({ "deletedRegion": region(sources, e.span), "insertedContent": { "text": e.replacement } }))
            .collect();
        let name = sources.file(id).map_or("", |f| &*f.name);
        json!({ "artifactLocation": { "uri": uri(name) }, "replacements": replacements })
    };
    files.into_iter().map(change).collect()
}

/// Lines from 1, columns from 1 in UTF-16 code units, the end exclusive.
fn region(sources: &SourceMap, span: Span) -> Value {
    let (from, to) = (utf16(sources, span.head()), utf16(sources, span.tail()));
    json!({ "startLine": from.line, "startColumn": from.column, "endLine": to.line, "endColumn": to.column })
}

fn utf16(sources: &SourceMap, at: Span) -> LineColumn {
    let LineColumn { line, column } = sources.line_column(at);
    let text = sources.file(at.file).map_or("", |f| f.line(line));
    LineColumn { line, column: text.chars().take(column - 1).map(char::len_utf16).sum::<usize>() + 1 }
}

/// A relative or absolute path as a URI reference.
fn uri(path: &str) -> String {
    let path = path.replace('\\', "/");
    let mut out = String::new();
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' | b'~' => out.push(byte as char),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    if out.starts_with('/') { format!("file://{out}") } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_count_utf16_units_and_fixes_are_changes() {
        let mut sources = SourceMap::new();
        let text = "let a = \"日本😀\" + on\n";
        let id = sources.add("my programs/ä.evo", text);
        let at = text.find("on").unwrap();
        let span = Span::new(id, at, at + 2);
        let d = Diagnostic::error(Code::E0201, span, "unknown name `on`", "not declared")
            .label(Span::new(id, 4, 5), "here")
            .help("did you mean `one`?")
            .fix(span, "one")
            .fix(Span::new(id, 0, 0), "// ");
        let log = sarif_log(vec![sarif_result(&d, &sources)], "1.2.3");
        let run = &log["runs"][0];
        let result = &run["results"][0];
        let place = &result["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "my%20programs/%C3%A4.evo");
        let region = json!({ "startLine": 1, "startColumn": 18, "endLine": 1, "endColumn": 20 });
        assert_eq!(place["region"], region, "two units for the last character of the text");
        let change = &result["fixes"][0]["artifactChanges"][0]["replacements"];
        assert_eq!(change[0], json!({ "deletedRegion": region, "insertedContent": { "text": "one" } }));
        assert_eq!(change.as_array().map(Vec::len), Some(2));
        assert_eq!((&result["ruleIndex"], &run["tool"]["driver"]["rules"][0]["id"]), (&json!(0), &json!("E0201")));
        assert_eq!(uri("/tmp/a b"), "file:///tmp/a%20b");
    }

    #[test]
    fn what_stands_in_no_file_has_no_location() {
        let span = Span { file: crate::span::FileId(u32::MAX), start: 0, end: 0 };
        let result = sarif_result(&Diagnostic::error(Code::E0130, span, "no file", ""), &SourceMap::new());
        assert_eq!(result["locations"], json!([]));
    }
}
