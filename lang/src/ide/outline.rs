//! How a text falls into items, what each declares and mentions, and whether a text is to be continued.

use std::ops::Range;

use crate::resolve::mentions;
use crate::span::FileId;
use crate::syntax::ast::ItemKind;
use crate::syntax::scan::{Kind, Tokens, is_request};

/// What an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// `use … as name`
    Use,
    /// A declaration that is no param.
    Declaration,
    /// `param name …`
    Param,
    /// `save`, `print`, `plot` or `expect`.
    Request,
}

/// An item of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    /// What it is.
    pub sort: Sort,
    /// The name that it declares; nothing for a request.
    pub name: Option<String>,
    /// Its bytes with its documentation.
    pub range: Range<usize>,
    /// The names that it mentions, each once: of declarations, of library functions, of fields that look like either.
    pub mentions: Vec<String>,
}

/// The items of a text in their order; those that do not parse are left out. The comments before an item, on lines of
/// their own, and behind it, on its last line, belong to it.
pub fn outline(text: &str) -> Vec<Outline> {
    let (module, _) = crate::syntax::parse(text, FileId::default());
    let tokens = Tokens::of(text);
    let mut out: Vec<Outline> = Vec::with_capacity(module.items.len());
    crate::syntax::deep(|| {
        for item in &module.items {
            let (sort, name) = match &item.kind {
                ItemKind::Use(u) => (Sort::Use, u.alias.as_ref().map(|n| n.text.clone())),
                ItemKind::Type(t) => (Sort::Declaration, Some(t.name.text.clone())),
                ItemKind::Decl(d) if d.kind.text == "param" => (Sort::Param, Some(d.name.text.clone())),
                ItemKind::Decl(d) => (Sort::Declaration, Some(d.name.text.clone())),
                _ => (Sort::Request, None),
            };
            let mut names: Vec<String> = mentions(item).into_iter().map(str::to_owned).collect();
            names.sort();
            names.dedup();
            let floor = out.last().map_or(0, |o| o.range.end);
            let range = with_comments(&tokens, item.span.range(), floor);
            out.push(Outline { sort, name, range, mentions: names });
        }
    });
    out
}

/// The bytes of an item with its documentation and its comments.
fn with_comments(tokens: &Tokens<'_>, item: Range<usize>, floor: usize) -> Range<usize> {
    let text = tokens.text;
    let mut start = item.start;
    while let Some((at, line)) = line_before(text, start) {
        // A `//!` line is the file's, not the item's.
        if at < floor || !line.trim_start().starts_with("//") || line.trim_start().starts_with("//!") {
            break;
        }
        start = at;
    }
    let line_end = text.get(item.end..).and_then(|rest| rest.find('\n')).map_or(text.len(), |at| item.end + at);
    let rest = text.get(item.end..line_end).unwrap_or("");
    let end = if rest.trim_start().starts_with("//") { line_end } else { item.end };
    start..end
}

/// The line that ends right before the line of `at`, if nothing but blanks stands before `at` on its own line.
fn line_before(text: &str, at: usize) -> Option<(usize, &str)> {
    let head = text.get(..at)?;
    let head = head.trim_end_matches([' ', '\t']).strip_suffix('\n')?;
    let start = head.rfind('\n').map_or(0, |n| n + 1);
    Some((start, head.get(start..)?))
}

/// Whether a text begins as an item does, rather than as an expression.
pub fn looks_like_item(text: &str) -> bool {
    let tokens = Tokens::of(text);
    let first = (0..tokens.all.len()).find(|i| tokens.all.get(*i).is_some_and(|t| t.kind != Kind::Doc));
    let Some(first) = first else { return false };
    if first > 0 {
        return true; // documentation stands before items only
    }
    let Some(word) = tokens.word(first) else { return false };
    let next = tokens.text(first + 1);
    match word {
        "let" | "extern" => true,
        "if" | "not" | "true" | "false" => false,
        _ if is_request(word) => !matches!(next, "." | "" | "+" | "*" | "/" | "^" | "==" | ")" | "]"),
        _ => tokens.word(first + 1).is_some_and(|w| !matches!(w, "and" | "or")),
    }
}

/// Whether a text is to be continued: a bracket or a long text is open, or it ends where something must follow.
pub fn unfinished(text: &str) -> bool {
    let tokens = Tokens::of(text);
    let Some(last) = tokens.all.last() else { return false };
    if tokens.all.iter().any(|t| matches!(t.kind, Kind::Open(None))) {
        return true;
    }
    let end = tokens.text(tokens.all.len() - 1);
    match last.kind {
        Kind::Text { closed } => !closed && end.starts_with("\"\"\""),
        Kind::Doc => true,
        Kind::Symbol => !matches!(end, ";" | "%" | "!" | "&" | "?"),
        Kind::Word => {
            // `to` and its kin are names where nothing stands before them.
            let clause = matches!(end, "to" | "over" | "as") && tokens.all.len() > 2;
            let open = matches!(end, "if" | "then" | "else" | "for" | "in" | "and" | "or" | "not" | "let");
            open || clause || tokens.all.len() == 1 && matches!(end, "extern")
        }
        _ => false,
    }
}
