//! How texts are damaged, and how their layout is changed without a change of meaning.

use evo_lang::diag::has_errors;
use evo_lang::span::FileId;
use evo_lang::syntax::parse;

/// Bytes beyond which mutants do not grow.
const LONGEST: usize = 20_000;

/// A text of the corpus, damaged in one to five places.
pub(crate) fn damaged(draw: &mut Draw, corpus: &[String]) -> String {
    let mut text: Vec<char> = draw.of::<str>(corpus).chars().collect();
    for _ in 0..=draw.below(4) {
        mutate(&mut text, draw, corpus);
        text.truncate(LONGEST);
    }
    text.into_iter().collect()
}

/// What may stand between two tokens.
const GAPS: [&str; 14] = [
    " ",
    "   ",
    "\n",
    "\n\n\n",
    "\t",
    "\r\n",
    "\n    ",
    " // c\n",
    "\n// own\n",
    " ///// five\n  ",
    "\n\n  // a\n\n  // b\n",
    "//touches\n",
    "  // \"text\" { (\n",
    "//\n",
];

/// A text of the corpus that parses, with white space and comments put in and taken out in many places: it says what it said.
pub(crate) fn respaced(draw: &mut Draw, corpus: &[String]) -> String {
    let mut text = draw.of::<str>(corpus).to_owned();
    if text.len() > 1500 {
        // A few lines of a long program: the places that matter are then met often.
        let from = text.char_indices().map(|(i, _)| i).nth(draw.below(text.chars().count() - 1400)).unwrap_or(0);
        text = text[from..].chars().take(1400).collect();
        text = text.split_once("\n\n").map_or(text.as_str(), |(_, rest)| rest).to_owned();
        text = text.rsplit_once("\n\n").map_or(text.as_str(), |(rest, _)| rest).to_owned();
    }
    if draw.below(4) > 0 {
        text =
            text.lines().filter(|line| !line.trim_start().starts_with("// ")).map(|line| format!("{line}\n")).collect();
    }
    let (mut tree, found) = parse(&text, FileId(0));
    if has_errors(&found) {
        return damaged(draw, corpus);
    }
    for _ in 0..draw.below(60) {
        let ends: Vec<usize> = text.char_indices().map(|(i, _)| i).chain([text.len()]).collect();
        let at = ends[draw.below(ends.len())];
        let white = text[at..].len() - text[at..].trim_start().len();
        let to = at + if draw.below(3) == 0 { white } else { 0 };
        let gap = if white > 0 && draw.below(4) == 0 { "" } else { draw.of::<str>(&GAPS) };
        let longer = draw.below(6) == 0;
        let gap = if longer { "_longer_than_it_was" } else { gap };
        let other = format!("{}{gap}{}", &text[..at], &text[if longer { at } else { to }..]);
        let (other_tree, found) = parse(&other, FileId(0));
        if !has_errors(&found) && (longer || draw.below(8) == 0 || same(&tree, &other_tree)) {
            (text, tree) = (other, other_tree);
        }
    }
    text
}

/// Whether two trees are equal but for places.
pub(crate) fn same(a: &evo_lang::syntax::ast::Module, b: &evo_lang::syntax::ast::Module) -> bool {
    shown(a) == shown(b)
}

/// A tree without its places, which show as `10..14`.
fn shown(tree: &evo_lang::syntax::ast::Module) -> String {
    let all = format!("{tree:?}");
    let mut out = String::with_capacity(all.len());
    for (i, part) in all.split("..").enumerate() {
        let part = if i == 0 { part } else { part.trim_start_matches(|c: char| c.is_ascii_digit()) };
        out.push_str(part.trim_end_matches(|c: char| c.is_ascii_digit()));
    }
    out
}

/// Counter-based random numbers (SplitMix64, Steele et al., 2014).
pub(crate) struct Draw(pub(crate) u64);

impl Draw {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    pub(crate) fn of<'t, T: ?Sized>(&mut self, items: &'t [impl AsRef<T>]) -> &'t T {
        items[self.below(items.len())].as_ref()
    }
}

const PAIRS: [(&str, &str); 12] = [
    ("(", ")"),
    ("[", "]"),
    ("{ ", " }"),
    ("{ a: ", " }"),
    ("-", ""),
    ("not ", ""),
    ("if true then ", " else 1"),
    ("x => ", ""),
    ("[", " for i in 0..3]"),
    ("f(", ")"),
    ("", ".f"),
    ("", "[0]"),
];

const PIECES: [&str; 40] = [
    "9223372036854775807",
    "99999999999999999999",
    "-1",
    "1e308",
    "1e-400",
    "0.0/0.0",
    "1_000_000_000",
    "0..1000000000",
    "\"",
    "\"\"\"",
    "\\",
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    "=>",
    "->",
    "..",
    "..=",
    "//",
    "///",
    "//!",
    "\u{0}",
    "\u{7f}",
    "é",
    "日本",
    "\u{1f600}",
    "\u{200b}",
    "\r",
    "\t",
    "%",
    ";",
    "param seed: int = 1\n",
    "use \"a.evo\" as a\n",
    "fn f(x: real) -> real = f(x)\n",
    "genome G { x: real[3] in 0..1 }\n",
    "type T = { a: T }\n",
    "print a",
];

/// One change to a text: of characters, of tokens, or of lines.
pub(crate) fn mutate(text: &mut Vec<char>, draw: &mut Draw, programs: &[String]) {
    match draw.below(10) {
        0 => text.truncate(draw.below(text.len() + 1)),
        1 => {
            let (from, to) = part(text, draw, |_| true);
            drop(text.drain(from..to.min(from + 8)));
        }
        2 => insert(text, draw, |draw| draw.of::<str>(&PIECES).to_owned()),
        3 => {
            let (from, to) = part(text, draw, |_| true);
            let (open, close) = PAIRS[draw.below(PAIRS.len())];
            let depth = [1, 3, 40, 255, 300][draw.below(5)];
            text.splice(to..to, close.repeat(depth).chars());
            text.splice(from..from, open.repeat(depth).chars());
        }
        how @ 4..=6 => units(text, draw, programs, how, |c| !(c.is_alphanumeric() || *c == '_')),
        how => units(text, draw, programs, how - 3, |c| *c == '\n'),
    }
}

/// Deletes, doubles, swaps, or takes from another program, what stands between ends: a token or a line.
fn units(text: &mut Vec<char>, draw: &mut Draw, programs: &[String], how: usize, is_end: fn(&char) -> bool) {
    let (from, to) = part(text, draw, is_end);
    let unit = text[from..to].to_vec();
    match how {
        4 => drop(text.drain(from..to)),
        5 => insert(text, draw, |_| unit.iter().collect()),
        _ => {
            let other: Vec<char> = draw.of::<str>(programs).chars().collect();
            let (a, b) = part(&other, draw, is_end);
            drop(text.splice(from..to, other[a..b].iter().copied()));
        }
    }
}

fn insert(text: &mut Vec<char>, draw: &mut Draw, piece: impl FnOnce(&mut Draw) -> String) {
    let at = draw.below(text.len() + 1);
    let piece = piece(draw);
    drop(text.splice(at..at, piece.chars()));
}

/// From one end to the next, at a random place.
fn part(text: &[char], draw: &mut Draw, is_end: fn(&char) -> bool) -> (usize, usize) {
    let at = draw.below(text.len() + 1);
    let from = text[..at].iter().rposition(is_end).map_or(0, |i| i + 1);
    let to = text[at..].iter().position(is_end).map_or(text.len(), |i| at + i + 1);
    (from, to.max(from))
}
