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
        assert_eq!(uri("/data/a b"), "file:///data/a%20b");
    }

    /// Of the schema's objects: the properties that we write, those that it requires marked `!`, with the object that
    /// each holds, one or a list.
    const OBJECTS: [(&str, &[(&str, &str)]); 15] = [
        ("log", &[("$schema", ""), ("version!", ""), ("runs!", "run")]),
        ("run", &[("tool!", "tool"), ("columnKind", ""), ("results", "result")]),
        ("tool", &[("driver!", "driver")]),
        ("driver", &[("name!", ""), ("version", ""), ("rules", "rule")]),
        ("rule", &[("id!", ""), ("shortDescription", "message"), ("help", "help")]),
        ("message", &[("text!", "")]),
        ("help", &[("text!", ""), ("markdown", "")]),
        (
            "result",
            &[
                ("message!", "message"),
                ("ruleId", ""),
                ("ruleIndex", ""),
                ("level", ""),
                ("locations", "location"),
                ("relatedLocations", "location"),
                ("fixes", "fix"),
            ],
        ),
        ("location", &[("physicalLocation", "place"), ("message", "message")]),
        ("place", &[("artifactLocation", "artifact"), ("region", "region")]),
        ("artifact", &[("uri", "")]),
        ("region", &[("startLine", ""), ("startColumn", ""), ("endLine", ""), ("endColumn", "")]),
        ("fix", &[("description", "message"), ("artifactChanges!", "change")]),
        ("change", &[("artifactLocation!", "artifact"), ("replacements!", "replacement")]),
        ("replacement", &[("deletedRegion!", "region"), ("insertedContent", "message")]),
    ];

    /// The schema allows no other properties, wants these, and in lists of changes at least one.
    fn conforms(kind: &str, value: &Value) {
        let (_, known) = OBJECTS.iter().find(|(name, _)| *name == kind).unwrap();
        let object = value.as_object().unwrap_or_else(|| panic!("{kind}: {value}"));
        for (name, _) in known.iter().filter(|(name, _)| name.ends_with('!')) {
            assert!(object.contains_key(name.trim_end_matches('!')), "{kind} has no {name}: {value}");
        }
        for (name, inner) in object {
            let found = known.iter().find(|(known, _)| known.trim_end_matches('!') == name);
            let (_, holds) = found.unwrap_or_else(|| panic!("{kind} has no property {name}"));
            match inner {
                inner if holds.is_empty() => assert!(inner.is_string() || inner.as_u64().is_some(), "{name}: {inner}"),
                Value::Array(items) => {
                    assert!(!items.is_empty() || !matches!(*holds, "change" | "replacement"), "{name} is empty");
                    items.iter().for_each(|item| conforms(holds, item));
                }
                one => conforms(holds, one),
            }
        }
        if kind == "region" {
            assert!(object.values().all(|at| at.as_u64() >= Some(1)), "{value}");
        }
    }

    #[test]
    fn logs_have_the_properties_that_the_schema_requires_and_no_others() {
        let mut sources = SourceMap::new();
        let id = sources.add("a.evo", "print on\nprint off\n");
        let other = sources.add("b.evo", "let one = 1\n");
        let (on, one) = (Span::new(id, 6, 8), Span::new(other, 4, 7));
        let plain = Diagnostic::error(Code::E0130, Span { file: crate::span::FileId(u32::MAX), ..on }, "no file", "");
        let full = Diagnostic::warning(Code::E0201, on, "unknown name `on`", "not declared")
            .label(one, "here")
            .note("a note")
            .help("did you mean `one`?")
            .fix(on, "one")
            .fix(one, "on");
        for results in [vec![], vec![&plain], vec![&full, &plain]] {
            let results: Vec<Value> = results.into_iter().map(|d| sarif_result(d, &sources)).collect();
            let log = sarif_log(results, "1.2.3");
            conforms("log", &log);
            assert_eq!((&log["version"], &log["runs"][0]["columnKind"]), (&json!("2.1.0"), &json!("utf16CodeUnits")));
        }
    }

    #[test]
    fn what_stands_in_no_file_has_no_location() {
        let span = Span { file: crate::span::FileId(u32::MAX), start: 0, end: 0 };
        let result = sarif_result(&Diagnostic::error(Code::E0130, span, "no file", ""), &SourceMap::new());
        assert_eq!(result["locations"], json!([]));
    }
}
