//! Where in a text the cursor is, from its tokens alone.

use std::ops::Range;

use crate::syntax::scan::{Kind, Tokens, is_request};

/// What may stand at the cursor, as far as tokens tell.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Context {
    /// Nothing that could be told: a comment, a number, the name of a new declaration.
    Nothing,
    /// An item begins.
    Head,
    /// One of these words goes on.
    Clause(Vec<&'static str>),
    /// The program that a `use` names; the content of the text as far as the cursor, if it is a text.
    Used(Option<Range<usize>>),
    /// Inside a text: its content as far as the cursor.
    Text(Range<usize>),
    /// What the checker knows of the place.
    Ask,
}

/// A place in a text.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The word (or the text with its quotes) at the cursor; empty where there is none.
    pub(super) word: Range<usize>,
    pub(super) context: Context,
}

/// The place of a byte of a text.
pub(super) fn place(tokens: &Tokens<'_>, offset: usize) -> Place {
    let nothing = Place { word: offset..offset, context: Context::Nothing };
    let next = tokens.all.partition_point(|t| t.end < offset);
    let at = tokens.all.get(next).filter(|t| t.start < offset || t.kind == Kind::Word && t.start == offset);
    let (word, before) = match at.map(|t| t.kind) {
        Some(Kind::Doc | Kind::Number) => return nothing,
        Some(Kind::Text { closed }) => {
            let token = at.map_or(offset..offset, |t| t.start..t.end);
            let mark = if tokens.text(next).starts_with("\"\"\"") { 3 } else { 1 };
            let inner = token.start + mark..token.end - if closed { mark } else { 0 };
            if offset < inner.start || offset > inner.end {
                return nothing;
            }
            let content = inner.start..offset;
            let used = next.checked_sub(1).is_some_and(|p| tokens.text(p) == "use" && starts_item(tokens, p));
            let context = if used { Context::Used(Some(content)) } else { Context::Text(content) };
            return Place { word: token, context };
        }
        Some(Kind::Word) => (at.map_or(offset..offset, |t| t.start..t.end), next),
        // A bracket or a symbol that ends here stands before the cursor.
        Some(_) => (offset..offset, next + 1),
        None => (offset..offset, tokens.all.partition_point(|t| t.end <= offset)),
    };
    let gap = before.checked_sub(1).and_then(|p| tokens.all.get(p)).map_or(0, |t| t.end)..word.start;
    let gap = tokens.text.get(gap).unwrap_or("");
    if gap.rsplit('\n').next().is_some_and(|line| line.contains("//")) {
        return nothing;
    }
    let context = context(tokens, before, &word);
    Place { word, context }
}

/// The context behind the token before `before`.
fn context(tokens: &Tokens<'_>, before: usize, word: &Range<usize>) -> Context {
    let Some(p) = before.checked_sub(1) else { return Context::Head };
    let previous = tokens.text(p);
    let used =
        |i: usize| (0..=i).rev().find(|j| tokens.word(*j).is_none() && tokens.text(*j) != ".").map_or(0, |j| j + 1);
    match previous {
        "." => {
            let start = used(p);
            return if tokens.text(start) == "use" && starts_item(tokens, start) {
                Context::Used(None)
            } else {
                Context::Ask
            };
        }
        "use" if starts_item(tokens, p) => return Context::Used(None),
        "as" if p > 1 => return Context::Nothing,
        "let" => return Context::Nothing,
        "extern" if starts_item(tokens, p) => return Context::Head,
        _ => {}
    }
    if tokens.all.get(p).is_some_and(|t| t.kind == Kind::Doc) {
        return if opened(tokens, p).is_none() { Context::Head } else { Context::Ask };
    }
    let starts_line = tokens.text.get(..word.start).is_none_or(|head| head.is_empty() || head.ends_with('\n'));
    if starts_line && opened(tokens, p).is_none() && tokens.ends_expression(p) {
        return Context::Head;
    }
    if tokens.word(p).is_some() && starts_item(tokens, p) && !is_request(previous) {
        let behind = tokens.all.get(p).is_some_and(|t| t.end < word.start);
        if behind && !matches!(previous, "if" | "not") {
            return Context::Nothing;
        }
    }
    if tokens.ends_expression(p) && !starts_item(tokens, p) {
        return match inside(tokens, p) {
            Some(words) => Context::Clause(words),
            None => Context::Ask,
        };
    }
    Context::Ask
}

/// Whether an item may begin with a token: outside brackets, behind something complete.
fn starts_item(tokens: &Tokens<'_>, i: usize) -> bool {
    let Some(p) = i.checked_sub(1) else { return true };
    let line = tokens.all.get(i).is_some_and(|t| t.starts_line);
    let doc = tokens.all.get(p).is_some_and(|t| t.kind == Kind::Doc);
    line && opened(tokens, p).is_none() && (doc || tokens.ends_expression(p)) || tokens.text(p) == "extern"
}

/// The innermost bracket that is open behind the token `p`.
fn opened(tokens: &Tokens<'_>, p: usize) -> Option<usize> {
    (0..=p).rev().find(|i| match tokens.all.get(*i).map(|t| t.kind) {
        Some(Kind::Open(Some(close))) => close > p,
        Some(Kind::Open(None)) => true,
        _ => false,
    })
}

/// The words that may go on behind the complete expression that ends with the token `p`; nothing where a new argument
/// or field could begin as well.
fn inside(tokens: &Tokens<'_>, p: usize) -> Option<Vec<&'static str>> {
    let open = opened(tokens, p);
    let head = tokens.item_heads().into_iter().rev().find(|h| *h <= p).unwrap_or(0);
    let from = open.map_or(head, |o| o + 1);
    // Only what stands on the level at hand counts.
    let mut level: Vec<&str> = Vec::new();
    let mut i = from;
    while i <= p {
        match tokens.all.get(i).map(|t| t.kind) {
            Some(Kind::Open(Some(close))) if close <= p => i = close,
            Some(Kind::Symbol) if tokens.text(i) == "," => level.clear(),
            _ => level.push(tokens.text(i)),
        }
        i += 1;
    }
    let count = |word: &str| level.iter().filter(|w| **w == word).count();
    let mut words = Vec::new();
    if count("if") > count("then") {
        words.push("then");
    } else if count("then") > count("else") {
        words.push("else");
    }
    let bracket = open.map(|o| tokens.text(o));
    let domain = |words: &mut Vec<&'static str>| match (level.contains(&":"), level.contains(&"in")) {
        (true, true) => words.push("log"),
        (true, false) => words.push("in"),
        _ => {}
    };
    match (bracket, tokens.text(head)) {
        (Some("["), _) => words.push(match (count("for"), count("in")) {
            (0, _) => "for",
            (n, m) if n > m => "in",
            _ => "if",
        }),
        (Some("{"), "genome") => domain(&mut words),
        // Fields need no commas: behind one the next may begin.
        (Some("{"), _) => return None,
        (None, "save") if count("to") == 0 => words.push("to"),
        (None, "plot") if count("to") == 0 => {
            words.extend(if count("over") == 0 { &["over", "to"][..] } else { &["to"] });
        }
        (None, "use") if count("as") == 0 => words.push("as"),
        (None, "param") => domain(&mut words),
        _ => {}
    }
    words.extend(["and", "or"]);
    Some(words)
}
