//! Further slips of an item that does not parse: the field, step or argument list that holds the first is blanked, and the
//! rest parsed again.

use pest::Parser;

use super::explain::explain;
use super::scan::{Kind, Tokens};
use super::{Grammar, Rule, position};
use crate::diag::{Code, Diagnostic};
use crate::span::FileId;

/// More slips of one item than this are not looked for.
const MOST: usize = 20;

/// What is wrong in the item `part` besides its first slip, of which `first` is the code and `at` the byte; places count
/// from the beginning of `part`. A slip whose reach is not known, such as a bracket that is left open, hides the rest.
pub(super) fn further(part: &str, first: Code, at: usize, file: FileId) -> Vec<Diagnostic> {
    let (mut text, mut code, mut at) = (part.to_owned(), first, at);
    let mut found: Vec<Diagnostic> = Vec::new();
    while found.len() < MOST && !matches!(code, Code::E0106 | Code::E0108 | Code::E0109) {
        let Some((blanked, end)) = blank(&text, at) else { break };
        text = blanked;
        let Err(failure) = Grammar::parse(Rule::one_item, &text) else { break };
        at = position(&failure);
        let tokens = Tokens::of(&text);
        let next = explain(&tokens, 0, tokens.all.len(), at, file);
        if at < end || (next.primary.span.start as usize) < end {
            break;
        }
        code = next.code;
        found.push(next);
    }
    found
}

/// The text without the part that holds the byte `at`, and up to where what is told comes of that.
fn blank(text: &str, at: usize) -> Option<(String, usize)> {
    let tokens = Tokens::of(text);
    let at = tokens.all.iter().position(|t| t.end > at)?;
    let Segment { from, to, value, emptied } = segment(&tokens, at)?;
    let (start, end) = (tokens.all.get(from)?.start, tokens.all.get(to)?.start);
    // Other strange characters may be brackets or quotes, whose reach is not known.
    let strange = (from..to).any(|i| {
        tokens.all.get(i).is_some_and(|t| t.kind == Kind::Unknown) && !matches!(tokens.text(i), "：" | "，" | "、")
    });
    if strange || start >= end {
        return None;
    }
    let mut out = String::with_capacity(text.len());
    out.push_str(text.get(..start)?);
    out.push(if value { '0' } else { ' ' });
    out.extend(text.as_bytes().get(start + 1..end)?.iter().map(|b| if *b == b'\n' { '\n' } else { ' ' }));
    out.push_str(text.get(end..)?);
    // Not every bracket may be empty.
    Some((out, if emptied { tokens.all.get(to)?.end } else { end }))
}

/// The tokens to blank.
struct Segment {
    from: usize,
    to: usize,
    /// Whether a value must take their place.
    value: bool,
    /// Whether they are all that a bracket holds.
    emptied: bool,
}

fn segment(tokens: &Tokens<'_>, at: usize) -> Option<Segment> {
    let around: Vec<(usize, usize)> = (0..at)
        .filter_map(|open| match tokens.all.get(open)?.kind {
            Kind::Open(Some(close)) if close >= at => Some((open, close)),
            _ => None,
        })
        .collect();
    let parts = around.iter().rev().filter(|(open, _)| tokens.text(*open) == "{").find_map(|&(open, close)| {
        let starts = starts(tokens, open, close);
        (!starts.is_empty()).then_some((open, close, starts))
    });
    let Some((open, close, starts)) = parts else {
        return around.last().filter(|(open, close)| close > &(open + 1)).map(|&(open, close)| Segment {
            from: open + 1,
            to: close,
            value: false,
            emptied: true,
        });
    };
    let complete =
        |start: usize| start == open + 1 || tokens.text(start - 1) == "," || tokens.ends_expression(start - 1);
    // A slip that is told at the beginning of a part may be one of the part before it.
    let before = |start: &&usize| **start + 1 < at && complete(**start);
    let from = starts.iter().rev().find(before).copied().unwrap_or(open + 1);
    let to = starts.iter().find(|start| **start > at).copied().unwrap_or(close);
    let steps = starts.iter().any(|&start| tokens.word(start) == Some("let"));
    Some(Segment { from, to, value: steps && to == close, emptied: false })
}

/// Where the fields or steps of a block begin.
fn starts(tokens: &Tokens<'_>, open: usize, close: usize) -> Vec<usize> {
    let (mut out, mut i) = (Vec::new(), open + 1);
    while i < close {
        let begins = i == open + 1
            || tokens.text(i - 1) == ","
            || tokens.all.get(i).is_some_and(|t| t.starts_line) && tokens.word(i - 1) != Some("let");
        let is_start = match tokens.word(i) {
            Some("let") => true,
            Some(_) => begins && matches!(tokens.text(i + 1), ":" | "="),
            None => false,
        };
        if is_start {
            out.push(i);
        }
        i = match tokens.all.get(i).map(|t| t.kind) {
            Some(Kind::Open(Some(end))) => end + 1,
            _ => i + 1,
        };
    }
    out
}
