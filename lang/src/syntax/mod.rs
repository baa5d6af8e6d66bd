//! Text to syntax tree. [`parse`] never fails: it returns what parses, and diagnostics for each item that does not.

pub mod ast;
mod build;
mod explain;
mod recover;
pub(crate) mod scan;

use pest::Parser;

use crate::diag::{Code, Diagnostic};
use crate::span::{FileId, Span};
use ast::{Item, Module, Name};
pub(crate) use grammar::{Grammar, Rule};
use scan::Tokens;
pub(crate) use scan::is_reserved;

/// How deep brackets, `if`s, closures and signs may hold each other.
pub const NESTING_LIMIT: usize = 256;

/// How many levels an expression tree may have, long sums and long chains of `.field` included.
pub const DEPTH_LIMIT: usize = 1000;

/// Stack that a walk over the deepest tree needs, in bytes.
const STACK: usize = 48 << 20;

#[allow(
    missing_docs,
    reason = "the derived enumeration has one variant for each rule of the grammar, which is commented"
)]
mod grammar {
    #[derive(pest_derive::Parser)]
    #[grammar = "syntax/evo.pest"]
    pub(crate) struct Grammar;
}

/// Runs `f` with stack enough for a recursive walk over the deepest tree that [`parse`] makes. Every such walk begins in
/// it; where there is room, it costs nothing.
pub fn deep<R>(f: impl FnOnce() -> R) -> R {
    stacker::maybe_grow(STACK / 4, STACK, f)
}

/// Parses a file. The tree holds the items that parse; each item that does not gives a
/// diagnostic for each of its unrelated slips.
pub fn parse(text: &str, file: FileId) -> (Module, Vec<Diagnostic>) {
    deep(|| parse_here(text, file))
}

fn parse_here(text: &str, file: FileId) -> (Module, Vec<Diagnostic>) {
    if u32::try_from(text.len()).is_err() {
        let d = Diagnostic::error(Code::E0110, Span::new(file, 0, 0), "this file is larger than 4 GiB", "too large");
        return (Module::default(), vec![d.help("put data into a data file, not into a program")]);
    }
    let tokens = Tokens::of(text);
    if let Some(at) = tokens.too_deep(NESTING_LIMIT) {
        return (Module::default(), vec![build::too_deep(Span::new(file, at, at + 1))]);
    }
    let mut builder = build::Builder::new(&tokens, file, 0);
    let failure = match Grammar::parse(Rule::program, text) {
        Ok(pairs) => {
            let module = builder.module(pairs);
            return (module, builder.diagnostics);
        }
        Err(failure) => failure,
    };
    let (module, mut diagnostics) = parse_items(&tokens, file);
    if diagnostics.is_empty() {
        diagnostics.push(explain::explain(&tokens, 0, tokens.all.len(), position(&failure), file));
    }
    (module, diagnostics)
}

/// Cuts the file into items and parses each alone.
fn parse_items(tokens: &Tokens<'_>, file: FileId) -> (Module, Vec<Diagnostic>) {
    let (mut module, mut diagnostics) = (Module::default(), Vec::new());
    let mut heads = tokens.item_heads();
    if heads.first().is_none_or(|&h| h > 0) {
        heads.insert(0, 0);
    }
    for (i, &from) in heads.iter().enumerate() {
        let to = heads.get(i + 1).copied().unwrap_or(tokens.all.len());
        let start = if i == 0 { 0 } else { tokens.all.get(from).map_or(tokens.text.len(), |t| t.start) };
        let end = tokens.all.get(to).map_or(tokens.text.len(), |t| t.start);
        let part = tokens.text.get(start..end).unwrap_or("");
        let only_docs = tokens.all.get(from..to).is_none_or(|t| t.iter().all(|t| t.kind == scan::Kind::Doc));
        if i == 0 && only_docs && heads.len() > 1 {
            module.docs.extend((from..to).map(|t| build::doc_line(tokens.text(t))));
            continue;
        }
        match Grammar::parse(Rule::one_item, part) {
            Ok(pairs) => {
                let mut builder = build::Builder::new(tokens, file, start);
                let one = builder.module(pairs);
                module.docs.extend(one.docs);
                module.items.extend(one.items);
                diagnostics.append(&mut builder.diagnostics);
            }
            Err(failure) => {
                module.broken.extend(declared(tokens, from, to, file));
                let at = position(&failure);
                let first = explain::explain(tokens, from, to, start + at, file);
                let others = recover::further(part, first.code, at, file);
                diagnostics.push(first);
                diagnostics.extend(others.into_iter().map(|d| d.moved(|at| at + start as u32)));
            }
        }
    }
    (module, diagnostics)
}

fn position(failure: &pest::error::Error<Rule>) -> usize {
    match failure.location {
        pest::error::InputLocation::Pos(at) | pest::error::InputLocation::Span((at, _)) => at,
    }
}

/// A declaration whose value stands behind `:`, where its type belongs.
pub(crate) fn value_for_type(kind: &str, name: &str, colon: Span) -> Diagnostic {
    let title = format!("`{kind} {name}` is given its value with `=`, not with `:`");
    let d = Diagnostic::error(Code::E0105, colon, title, "write `=`");
    d.note("behind `:` stands a type").help(format!("`{kind} {name} = …`")).fix(colon, " =")
}

/// The name that a failing item would declare.
fn declared(tokens: &Tokens<'_>, from: usize, to: usize, file: FileId) -> Option<Name> {
    let first = (from..to).find(|&i| tokens.word(i).is_some_and(|w| w != "extern"))?;
    let head = tokens.word(first)?;
    if head == "use"
        && let Some(name) = used_in_open_text(tokens, first + 1, file)
    {
        return Some(name);
    }
    let index = match head {
        "use" | "import" => (first..to).find(|&i| tokens.word(i) == Some("as"))? + 1,
        _ if tokens.text(first + 1) == "=" => first,
        _ => first + 1,
    };
    if head != "use" && scan::is_request(head) || index >= to {
        return None;
    }
    let text = tokens.word(index)?.to_owned();
    let token = tokens.all.get(index)?;
    Some(Name { text, span: Span::new(file, token.start, token.end) })
}

/// The name in `use "file.evo as name`, whose text is not closed.
fn used_in_open_text(tokens: &Tokens<'_>, index: usize, file: FileId) -> Option<Name> {
    let token = tokens.all.get(index).filter(|t| t.kind == scan::Kind::Text { closed: false })?;
    let (_, name) = tokens.text(index).rsplit_once(" as ")?;
    let name = name.trim_end();
    let start = token.start + tokens.text(index).rfind(name)?;
    Some(Name { text: name.to_owned(), span: Span::new(file, start, start + name.len()) })
}

/// Parses one expression, as the command line and the tools have them.
pub fn parse_expr(text: &str, file: FileId) -> (Option<ast::Expr>, Vec<Diagnostic>) {
    let (module, diagnostics) = parse(&format!("print {text}"), file);
    let expr = module.items.into_iter().next().and_then(|Item { kind, .. }| match kind {
        ast::ItemKind::Print(e) => Some(e),
        _ => None,
    });
    (expr, diagnostics.into_iter().map(|d| d.moved(|at| at.saturating_sub(6))).collect())
}

#[cfg(test)]
mod tests;
