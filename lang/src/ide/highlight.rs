//! Colours for a text, broken or not: from its tokens alone.

use std::ops::Range;

use crate::syntax::scan::{Kind, Tokens, is_request, is_reserved};

/// How a piece of text is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// `let if then else for in and or not`, the words at the head of an item, and clause words where they stand.
    Keyword,
    /// The kind word of a declaration, such as `merge`.
    Kind,
    /// The name that a declaration declares.
    Declared,
    /// What is called.
    Function,
    /// The name of an argument or a field.
    Label,
    /// A type.
    Type,
    /// A number with its unit, `true` and `false`.
    Number,
    /// A text.
    Text,
    /// A comment.
    Comment,
    /// Documentation.
    Doc,
    /// A character that no word of the language begins with, or a text that is not closed.
    Error,
}

const TYPES: [&str; 9] = ["int", "real", "bool", "text", "duration", "bytes", "money", "one_of", "permutation"];

/// The pieces of a text that have a colour, in order and without overlap. What is not among them is plain.
pub fn highlight(text: &str) -> Vec<(Range<usize>, Class)> {
    let tokens = Tokens::of(text);
    let heads = head_words(&tokens);
    let mut out = Vec::new();
    let mut at = 0;
    for (i, token) in tokens.all.iter().enumerate() {
        comments(text, at..token.start, &mut out);
        at = token.end;
        if let Some(class) = class(&tokens, i, &heads) {
            out.push((token.start..token.end, class));
        }
    }
    comments(text, at..text.len(), &mut out);
    out
}

/// The tokens that begin items, documentation left out.
fn head_words(tokens: &Tokens<'_>) -> Vec<usize> {
    let begin = |head: usize| {
        (head..tokens.all.len()).find(|i| tokens.all.get(*i).is_some_and(|t| t.kind != Kind::Doc)).unwrap_or(head)
    };
    let mut heads: Vec<usize> = tokens.item_heads().into_iter().map(begin).collect();
    heads.dedup();
    heads
}

fn class(tokens: &Tokens<'_>, i: usize, heads: &[usize]) -> Option<Class> {
    let token = tokens.all.get(i)?;
    match token.kind {
        Kind::Number => Some(Class::Number),
        Kind::Text { closed: true } => Some(Class::Text),
        Kind::Text { closed: false } | Kind::Unknown => Some(Class::Error),
        Kind::Doc => Some(Class::Doc),
        Kind::Word => word(tokens, i, heads),
        Kind::Open(_) | Kind::Close(_) | Kind::Symbol => None,
    }
}

fn word(tokens: &Tokens<'_>, i: usize, heads: &[usize]) -> Option<Class> {
    let word = tokens.text(i);
    let before = i.checked_sub(1).map_or("", |p| tokens.text(p));
    let after = tokens.text(i + 1);
    let is_head = |i: usize| heads.binary_search(&i).is_ok();
    if before == "." {
        return (after == "(").then_some(Class::Function);
    }
    if matches!(word, "true" | "false") {
        return Some(Class::Number);
    }
    if is_head(i) {
        let core = is_request(word) || matches!(word, "let" | "type" | "extern" | "kind");
        return Some(if core { Class::Keyword } else { Class::Kind });
    }
    if is_reserved(word) {
        return Some(Class::Keyword);
    }
    let declares = |p: usize| is_head(p) && !is_request(tokens.text(p)) && tokens.text(p) != "extern";
    let behind_extern = |p: usize| p.checked_sub(1).is_some_and(|e| is_head(e) && tokens.text(e) == "extern");
    if i.checked_sub(1).is_some_and(|p| tokens.word(p).is_some() && (declares(p) || behind_extern(p))) {
        return Some(Class::Declared);
    }
    if behind_extern(i) {
        return Some(Class::Kind);
    }
    let ended = i.checked_sub(1).is_some_and(|p| tokens.ends_expression(p));
    if ended && matches!(word, "to" | "over" | "as" | "log") {
        return Some(Class::Keyword);
    }
    if after == ":" {
        return Some(Class::Label);
    }
    if TYPES.contains(&word) && matches!(before, ":" | "->" | "[" | "," | "(" | "|" | "<" | "=") {
        return Some(Class::Type);
    }
    if word.starts_with(|c: char| c.is_ascii_uppercase()) {
        return Some(Class::Type);
    }
    let touches = tokens.all.get(i).zip(tokens.all.get(i + 1)).is_some_and(|(a, b)| a.end == b.start);
    (after == "(" && touches || after == "{").then_some(Class::Function)
}

/// The comments between two tokens.
fn comments(text: &str, range: Range<usize>, out: &mut Vec<(Range<usize>, Class)>) {
    let gap = text.get(range.clone()).unwrap_or("");
    let mut from = 0;
    while let Some(start) = gap.get(from..).and_then(|rest| rest.find("//")).map(|at| from + at) {
        let end = gap.get(start..).and_then(|rest| rest.find('\n')).map_or(gap.len(), |at| start + at);
        out.push((range.start + start..range.start + end, Class::Comment));
        from = end;
    }
}
