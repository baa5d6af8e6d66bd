//! A text that parses around the cursor, whatever else is broken: a stand-in takes the place of the word there, and what
//! is open behind it is closed.

use std::ops::Range;

use crate::span::FileId;
use crate::syntax::parse;
use crate::syntax::scan::{Kind, Tokens};

/// The word that stands in for what is to be completed.
pub(super) const STAND_IN: &str = "stand_in_";

/// What may have to follow the stand-in: nothing, the value of a field, the rest of an `if`, the end of a step.
const BEHIND: [&str; 7] = ["", ": 0", " = 0", " then 0 else 0", " else 0", " 0", ": 0 0"];

/// The text with `stand_in` at `word`, of which the item around it parses.
pub(super) fn repair(text: &str, word: Range<usize>, stand_in: &str) -> Option<String> {
    let (before, after) = (text.get(..word.start)?, text.get(word.end..)?);
    for behind in BEHIND.iter().take(3) {
        let whole = format!("{before}{stand_in}{behind}{after}");
        if parses_at(&whole, word.start) {
            return Some(whole);
        }
    }
    let head = head(&format!("{before}{stand_in}"), word.start);
    let kept = before.get(..head)?;
    let item = before.get(head..)?;
    let rest = next_item(text, word.end).and_then(|next| text.get(next..)).unwrap_or("");
    for closed in closings(item) {
        for behind in BEHIND {
            let cut = format!("{item}{stand_in}{behind}{closed}");
            if parses_at(&cut, item.len()) {
                return Some(format!("{kept}{cut}\n{rest}"));
            }
        }
    }
    None
}

/// Whether the item that holds a byte parses.
fn parses_at(text: &str, at: usize) -> bool {
    let (module, _) = parse(text, FileId::default());
    module.items.iter().any(|item| item.span.range().contains(&at))
}

/// Where the item begins that holds a byte.
fn head(text: &str, at: usize) -> usize {
    let tokens = Tokens::of(text);
    let starts = tokens.item_heads().into_iter().filter_map(|h| tokens.all.get(h)).map(|t| t.start);
    starts.take_while(|s| *s <= at).last().unwrap_or(0)
}

/// Where the next item begins behind a byte.
fn next_item(text: &str, behind: usize) -> Option<usize> {
    let tokens = Tokens::of(text);
    tokens.item_heads().into_iter().filter_map(|h| tokens.all.get(h)).map(|t| t.start).find(|s| *s >= behind)
}

/// What closes the brackets that a text leaves open, the innermost first; once plainly, once with a result for steps
/// that have none yet, and once with a body behind.
fn closings(text: &str) -> Vec<String> {
    let tokens = Tokens::of(text);
    let open = tokens.all.iter().enumerate().filter(|(_, t)| matches!(t.kind, Kind::Open(None)));
    let (mut plain, mut steps) = (String::new(), String::new());
    for (i, _) in open.collect::<Vec<_>>().into_iter().rev() {
        let close = match tokens.text(i) {
            "(" => ')',
            "[" => ']',
            _ => '}',
        };
        if tokens.text(i + 1) == "let" {
            steps += " 0";
        }
        plain.push(close);
        steps.push(close);
    }
    let body = format!("{plain} = 0");
    if plain == steps { vec![plain, body] } else { vec![plain, steps, body] }
}
