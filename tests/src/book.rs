//! The pages of the book that are written by the code: the reference, from the library's declarations, and the error index, from
//! the pages of the codes. They are committed; a test compares them with what this module writes.

use crate::{files, text};
use evo_lang::diag::{Code, Page, render_all};
use evo_lang::span::SourceMap;
use evo_lang::syntax::ast::{Item, ItemKind, Param};
use evo_lang::syntax::parse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Where the pages of the book lie, from the root of the repository.
pub const PAGES: &str = "book/src/";

const NOTICE: &str = "<!-- Written from the code; `just bless` writes it anew. -->\n\n";

/// Every generated page, as (path below [`PAGES`], text), the summary among them.
///
/// # Errors
/// If a declaration of the library does not parse.
pub fn generated() -> Result<Vec<(String, String)>, String> {
    let families = families()?;
    let mut pages = vec![("errors.md".to_owned(), error_index())];
    pages.push(("reference/index.md".to_owned(), reference_index(&families)));
    pages.push(("SUMMARY.md".to_owned(), summary(&families)));
    pages.extend(families.into_iter().map(|family| (format!("reference/{}.md", family.name), family.page)));
    Ok(pages)
}

struct Family {
    name: String,
    /// What it is for, in one line.
    purpose: String,
    page: String,
    /// The names it declares, in order.
    names: Vec<String>,
}

/// The families of the library, one a folder of `stdlib/src` that holds `.evo` files, by name.
fn families() -> Result<Vec<Family>, String> {
    let mut sources: BTreeMap<String, String> = BTreeMap::new();
    for path in files() {
        let parts: Vec<&str> = path.split('/').collect();
        if let ["stdlib", "src", family, .., file] = parts[..]
            && file.ends_with(".evo")
        {
            let source = text(&path).ok_or_else(|| format!("{path} is not text"))?;
            sources.entry(family.to_owned()).or_default().push_str(&source);
        }
    }
    sources.into_iter().map(|(name, source)| family(name, &source)).collect()
}

fn family(name: String, source: &str) -> Result<Family, String> {
    let mut sources = SourceMap::new();
    let file = sources.add(&name, source);
    let (module, diagnostics) = parse(source, file);
    if !diagnostics.is_empty() {
        return Err(render_all(&diagnostics, &sources, false));
    }
    let mut page = format!("{NOTICE}# {name}\n\n{}\n", module.docs.join("\n").trim());
    let mut names: Vec<String> = Vec::new();
    for item in &module.items {
        let Some(declared) = declared_name(item) else {
            continue;
        };
        // The forms of one name stand together under it.
        if names.last() != Some(&declared) {
            let _ = write!(page, "\n## {declared}\n");
        }
        write_item(&mut page, item, source);
        names.push(declared);
    }
    let mut seen = BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    let purpose = module.docs.iter().map(|line| line.trim()).find(|line| !line.is_empty()).unwrap_or_default();
    Ok(Family { name, purpose: purpose.to_owned(), page, names })
}

fn declared_name(item: &Item) -> Option<String> {
    match &item.kind {
        ItemKind::Type(declared) => Some(declared.name.text.clone()),
        ItemKind::Decl(declared) if declared.kind.text == "kind" => Some(format!("kind {}", declared.name.text)),
        ItemKind::Decl(declared) => Some(declared.name.text.clone()),
        _ => None,
    }
}

/// One declaration: how it is written, what it does, its documented parameters, its examples.
fn write_item(page: &mut String, item: &Item, source: &str) {
    let span = item.span;
    let written = source.get(span.start as usize..span.end as usize).unwrap_or_default();
    let _ = write!(page, "\n```evo signature\n{}\n```\n", without_docs(written).trim_end());
    let (marks, prose): (Vec<&str>, Vec<&str>) =
        item.docs.iter().map(|line| line.trim()).partition(|line| line.starts_with(">>>") || line.starts_with('@'));
    let prose = prose.join("\n");
    if !prose.trim().is_empty() {
        let _ = write!(page, "\n{}\n", prose.trim());
    }
    write_params(page, item);
    for mark in marks.iter().filter(|mark| mark.starts_with('@')) {
        let _ = write!(page, "\n{}\n", mark_in_words(mark));
    }
    let examples: Vec<&str> = marks.iter().filter_map(|line| line.strip_prefix(">>>")).map(str::trim).collect();
    if !examples.is_empty() {
        let _ = write!(page, "\n```evo example\n{}\n```\n", examples.join("\n"));
    }
}

/// What a mark of a declaration means, as a sentence.
fn mark_in_words(mark: &str) -> String {
    let words: Vec<&str> = mark.split_whitespace().collect();
    match words[..] {
        ["@tiny", name, cap] => format!("In a tiny run `{name}` is at most {cap}."),
        ["@elementwise"] => "Over arrays it works element by element.".to_owned(),
        ["@input", name] => format!("`{name}` is relative to the file of the program that reads it."),
        ["@as", node] => format!("A function of this kind is accepted where a `{node}` is expected."),
        ["@rows", ref inputs @ ..] => {
            format!("Computed over the rows of a batch, whose columns it takes by name: {}.", inputs.join(", "))
        }
        ["@static"] => "Known before anything runs, so that the lengths of arrays may use it.".to_owned(),
        _ => format!("Marked `{mark}`."),
    }
}

/// A declaration as written, but for the `///` lines that document its parameters: the page shows those as a list.
fn without_docs(written: &str) -> String {
    let lines: Vec<&str> = written.lines().filter(|line| !line.trim_start().starts_with("///")).collect();
    lines.join("\n")
}

fn write_params(page: &mut String, item: &Item) {
    let params: &[Param] = match &item.kind {
        ItemKind::Decl(declared) => declared.params.as_deref().unwrap_or_default(),
        ItemKind::Type(declared) => match declared.ty.as_ref().map(|ty| &ty.kind) {
            Some(evo_lang::syntax::ast::TyKind::Record(fields)) => fields,
            _ => &[],
        },
        _ => &[],
    };
    let documented: Vec<&Param> = params.iter().filter(|param| !param.docs.is_empty()).collect();
    if documented.is_empty() {
        return;
    }
    page.push('\n');
    for param in documented {
        let words: Vec<&str> = param.docs.iter().map(|line| line.trim()).collect();
        let _ = writeln!(page, "- `{}`: {}", param.name.text, words.join(" "));
    }
}

fn reference_index(families: &[Family]) -> String {
    let mut page = format!(
        "{NOTICE}# Reference\n\nWhat programs can call, by family. Each page is written from the library's declarations.\n\n"
    );
    page.push_str("| family | what it is for | names |\n|---|---|---|\n");
    for family in families {
        let names: Vec<String> = family.names.iter().map(|name| format!("`{name}`")).collect();
        let _ = writeln!(page, "| [{0}]({0}.md) | {1} | {2} |", family.name, family.purpose, names.join(" "));
    }
    page
}

/// The error index: every code's page, its headings one level down, its example marked with the code that it must raise.
fn error_index() -> String {
    let mut page = format!(
        "{NOTICE}# Error index\n\n`evo explain E0101` shows one of these in the terminal. `E01xx` is about how a program is written, `E02xx` \
         about names, `E03xx` about types and shapes, `E04xx` about models and data, `R05xx` about what shows only when a program runs. \
         Each example raises its code.\n"
    );
    for entry in Code::pages() {
        let (title, rest) = entry.text.split_once('\n').unwrap_or((entry.text, ""));
        let _ = write!(page, "\n#{title} {{#{code}}}\n\n{}\n", marked(entry, rest).trim(), code = entry.code);
    }
    page
}

/// The text of a code's page with promises on its fences: the first raises the code, later ones show how it is done right.
fn marked(page: &Page, text: &str) -> String {
    let Some((stage, example)) = page.example() else { return text.to_owned() };
    let (before, after) = text.split_once("```evo").unwrap_or((text, ""));
    let (_, after) = after.split_once('\n').unwrap_or_default();
    // Examples of several files are held to their codes by the language's own tests.
    let stage = if example.contains("use \"") { "fault" } else { stage };
    let promise = format!("fails={} {stage}", page.code);
    format!("{before}```evo {}\n{}", promise.trim(), after.replace("```evo\n", "```evo check\n"))
}

/// The summary as committed, with the list of reference pages written anew.
fn summary(families: &[Family]) -> String {
    let committed = text(&format!("{PAGES}SUMMARY.md")).unwrap_or_default();
    let by_hand =
        committed.lines().filter(|line| !line.contains("](reference/") || line.contains("](reference/index.md)"));
    let mut out = String::new();
    for line in by_hand {
        let _ = writeln!(out, "{line}");
        if line.contains("](reference/index.md)") {
            for family in families {
                let _ = writeln!(out, "  - [{0}](reference/{0}.md)", family.name);
            }
        }
    }
    out
}
