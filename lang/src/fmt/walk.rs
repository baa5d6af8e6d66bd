//! From the parser's pairs to instructions. Each rule of the grammar has its function here, or a line in one.

mod bracket;
mod expr;

use pest::iterators::{Pair, Pairs};
use unicode_width::UnicodeWidthChar;

use super::layout::{Group, Op, Place};
use super::trivia::{Trivia, newline_before};
use crate::syntax::Rule;
use bracket::{BRACES, BRACKETS, PARENS};
use expr::Gap;

type P<'t> = Pair<'t, Rule>;

/// What stands between two tokens.
#[derive(Clone, Copy, Debug)]
enum Sep {
    /// Nothing.
    Tight,
    /// A space.
    Space,
    /// A place where the line may end: what stands there if it does not, and what ends it.
    Line((&'static str, bool), &'static str),
    /// The end of the line.
    Hard,
}

/// The instructions for a program.
pub(super) fn walk<'t>(text: &'t str, mut pairs: Pairs<'t, Rule>) -> Vec<Op<'t>> {
    let mut walk = Walk {
        text,
        ops: Vec::new(),
        at: 0,
        trivia: Trivia::default(),
        settled: false,
        fresh_line: false,
        hards: 0,
        ended: None,
        row: 0,
        counted: (0, 0),
    };
    for pair in pairs.next().into_iter().flat_map(Pair::into_inner) {
        match pair.as_rule() {
            Rule::file_doc => walk.doc(&pair),
            Rule::item => walk.item(pair),
            _ => {}
        }
    }
    walk.sep(Sep::Tight);
    walk.ops
}

struct Walk<'t> {
    text: &'t str,
    ops: Vec<Op<'t>>,
    /// Where the last token ended, or where the next begins.
    at: usize,
    /// What stands between the two, as far as it was read.
    trivia: Trivia,
    /// Whether what stands before the next token is settled.
    settled: bool,
    /// Whether the next token begins a line that an indentation began.
    fresh_line: bool,
    /// How many line ends were asked for.
    hards: usize,
    /// The group that ended with the last token, and whether it is one of braces.
    ended: Option<(usize, bool)>,
    /// The row of the last token, as [`Place`] counts them.
    row: usize,
    /// Up to where the columns of the source were counted, and the column there.
    counted: (usize, usize),
}

impl<'t> Walk<'t> {
    // ------------------------------------------------------------ tokens

    /// Reads on to the next token.
    fn advance(&mut self) {
        self.at = self.trivia.scan(self.text, self.at);
    }

    /// Whether the next token stands on another line than the last.
    fn newline(&mut self) -> bool {
        self.advance();
        self.trivia.newline
    }

    /// Passes over a comma that may be left out.
    fn comma(&mut self) {
        self.advance();
        if self.text.as_bytes().get(self.at) == Some(&b',') {
            self.at += 1;
            self.advance();
        }
    }

    /// Settles what stands before the next token: comments, and space.
    fn sep(&mut self, sep: Sep) {
        self.advance();
        self.settled = true;
        if self.trivia.comments.is_empty() {
            let blank = self.trivia.blank;
            self.next_row();
            match sep {
                Sep::Tight => {}
                Sep::Space => self.ops.push(Op::Space),
                Sep::Line(flat, broken) => self.ops.push(Op::Line { flat, broken }),
                Sep::Hard => self.hard(blank),
            }
            return;
        }
        if let Sep::Line(_, broken) = sep
            && !broken.is_empty()
        {
            self.ops.push(Op::Text(broken, None));
        }
        let blank = self.comments();
        self.hard(blank);
    }

    /// Writes the comments that were read: one after code on its line, others on lines of their own. Returns whether a
    /// blank line stands after them.
    fn comments(&mut self) -> bool {
        let mut blanks = false;
        for (i, comment) in std::mem::take(&mut self.trivia.comments).into_iter().enumerate() {
            let text = self.text.get(comment.start..comment.end).unwrap_or("");
            if i == 0 && !comment.own_line && !self.ops.is_empty() {
                let place = self.place(comment.start);
                self.ops.push(Op::Suffix(text, place));
            } else {
                blanks |= comment.blank;
                self.hard(comment.blank);
                self.ops.push(Op::Comment(text));
            }
        }
        let blank = self.trivia.blank;
        self.trivia.blank |= blanks;
        self.next_row();
        blank
    }

    fn next_row(&mut self) {
        let trivia = std::mem::take(&mut self.trivia);
        self.row += usize::from(trivia.newline) + usize::from(trivia.blank);
    }

    fn hard(&mut self, blank: bool) {
        self.hards += 1;
        self.ops.push(Op::Hard { blank });
    }

    /// Where a byte of the source stands, not before the last one asked for.
    fn place(&mut self, at: usize) -> Place {
        let (from, mut column) = self.counted;
        for c in self.text.get(from..at).unwrap_or("").chars() {
            column = if matches!(c, '\n' | '\r') { 0 } else { column + c.width().unwrap_or(1) };
        }
        self.counted = (at, column);
        let before = self.text.get(..at).unwrap_or("");
        let code = before.trim_end_matches([' ', '\t']);
        let gap = if code.is_empty() || code.ends_with(['\n', '\r']) { None } else { Some(before.len() - code.len()) };
        Place { row: self.row, column, gap }
    }

    /// Writes the next token, of a length in bytes.
    fn token(&mut self, sep: Sep, length: usize) {
        if !self.settled {
            self.sep(sep);
        }
        self.settled = false;
        self.fresh_line = false;
        self.ended = None;
        let place = self.place(self.at);
        let text = self.text.get(self.at..self.at + length).unwrap_or("");
        self.ops.push(Op::Text(text, Some(place)));
        self.at += length;
    }

    /// Writes the next token, which the grammar gives as a text.
    fn mark(&mut self, sep: Sep, text: &'static str) {
        debug_assert!({
            self.advance();
            self.text[self.at..].starts_with(text)
        });
        self.token(sep, text.len());
    }

    /// Writes a pair that is one token.
    fn leaf(&mut self, sep: Sep, pair: &P<'t>) {
        self.token(sep, pair.as_str().trim_end().len());
    }

    /// Writes a line of documentation, `///` or `//!`.
    fn doc(&mut self, pair: &P<'t>) {
        if !self.settled {
            self.sep(Sep::Hard);
        }
        let line = pair.as_str().trim_end();
        let (mark, rest) = line.split_at(3);
        self.token(Sep::Hard, 3);
        if !rest.is_empty() {
            if !rest.starts_with([' ', '\t']) {
                self.ops.push(Op::Space);
            }
            self.ops.push(Op::Text(rest, None));
        }
        debug_assert!(mark.starts_with("//"));
        self.at += pair.as_str().len() - 3;
        self.sep(Sep::Hard);
    }

    // ------------------------------------------------------------ groups

    fn open(&mut self) -> usize {
        self.ops.push(Op::Open(Group::default()));
        self.ops.len() - 1
    }

    fn close(&mut self, open: usize, group: Group) {
        if let Some(Op::Open(slot)) = self.ops.get_mut(open) {
            *slot = group;
        }
        self.ops.push(Op::Close);
    }

    /// What may stand on a line of its own, further in, if the author put it there.
    fn keep(&mut self, write: impl FnOnce(&mut Self)) {
        if !self.newline() {
            self.sep(Sep::Space);
            return write(self);
        }
        self.ops.push(Op::Indent { always: true });
        self.sep(Sep::Hard);
        self.fresh_line = true;
        write(self);
        self.ops.push(Op::Dedent);
    }

    // ------------------------------------------------------------ items

    fn item(&mut self, pair: P<'t>) {
        if !self.settled {
            self.sep(Sep::Hard);
        }
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::doc => self.doc(&part),
                Rule::declaration | Rule::type_item => self.declaration(part),
                _ => self.request(part),
            }
        }
    }

    /// A declaration: its parts, and what stands between them.
    fn declaration(&mut self, pair: P<'t>) {
        let mut in_domain = false;
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::generics => self.names("<", part, ">"),
                Rule::params => self.bracket(Sep::Tight, &PARENS, part.into_inner().collect(), Self::param),
                Rule::type_note => self.type_note(part),
                Rule::domain => {
                    in_domain = true;
                    self.domain(part);
                }
                Rule::result => {
                    in_domain = false;
                    self.mark(Sep::Space, "->");
                    self.sep(Sep::Space);
                    part.into_inner().for_each(|t| self.ty(t));
                }
                Rule::body => {
                    // On the line of a range, `{` would be the block of a call.
                    self.sep(if in_domain { Sep::Hard } else { Sep::Space });
                    part.into_inner().for_each(|b| self.braces(b));
                }
                Rule::expr => self.value(|walk| walk.expr(part)),
                Rule::ty => self.value(|walk| walk.ty(part)),
                _ => self.leaf(Sep::Space, &part),
            }
        }
    }

    /// `= …`, on the next line if the author put it there.
    fn value(&mut self, write: impl FnOnce(&mut Self)) {
        self.mark(Sep::Space, "=");
        self.keep(write);
    }

    /// `use`, `save`, `print`, `plot`, `expect`.
    fn request(&mut self, pair: P<'t>) {
        let mut parts = pair.into_inner().peekable();
        let mut first = true;
        while let Some(part) = parts.next() {
            match part.as_rule() {
                Rule::expr => {
                    if self.next_is(b',') {
                        self.mark(Sep::Tight, ",");
                        self.keep(|walk| walk.expr(part));
                    } else {
                        self.sep(Sep::Space);
                        self.expr(part);
                    }
                }
                Rule::over | Rule::target => self.keep(|walk| walk.clause(part.into_inner())),
                Rule::kw_to => {
                    let value = parts.next();
                    self.keep(|walk| walk.clause(std::iter::once(part).chain(value)));
                }
                _ => self.leaf(if first { Sep::Hard } else { Sep::Space }, &part),
            }
            first = false;
        }
    }

    fn next_is(&mut self, byte: u8) -> bool {
        self.advance();
        self.text.as_bytes().get(self.at) == Some(&byte)
    }

    /// `to e`, `over e`.
    fn clause(&mut self, parts: impl Iterator<Item = P<'t>>) {
        for part in parts {
            if part.as_rule() == Rule::expr {
                self.sep(Sep::Space);
                self.expr(part);
            } else {
                self.leaf(Sep::Space, &part);
            }
        }
    }

    /// `<A, B>`, `(a, b)` of names.
    fn names(&mut self, open: &'static str, pair: P<'t>, close: &'static str) {
        self.inline(open, pair.into_inner().collect(), close, |walk, name| walk.leaf(Sep::Tight, &name));
    }

    /// `: type`
    fn type_note(&mut self, pair: P<'t>) {
        self.mark(Sep::Tight, ":");
        self.sep(Sep::Space);
        pair.into_inner().for_each(|t| self.ty(t));
    }

    /// ` in range log`
    fn domain(&mut self, pair: P<'t>) {
        self.clause(pair.into_inner());
    }

    /// A parameter, or a field of a record type or of a record.
    fn param(&mut self, pair: P<'t>) {
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::doc => self.doc(&part),
                Rule::rest | Rule::name | Rule::member => self.leaf(Sep::Tight, &part),
                Rule::domain => self.domain(part),
                Rule::default => self.value(|walk| part.into_inner().for_each(|e| walk.expr(e))),
                _ => {
                    self.mark(Sep::Tight, ":");
                    self.sep(Sep::Space);
                    match part.as_rule() {
                        Rule::ty => self.ty(part),
                        Rule::fn_type => part.into_inner().for_each(|t| self.ty(t)),
                        _ => self.expr(part),
                    }
                }
            }
        }
    }

    /// A body, a record, a block of steps.
    fn braces(&mut self, pair: P<'t>) {
        let rule = pair.as_rule();
        let parts: Vec<P<'t>> = pair.into_inner().collect();
        if rule == Rule::fields {
            self.bracket(Sep::Space, &BRACES, parts, Self::param);
        } else if parts.len() == 1 {
            self.bracket(Sep::Space, &BRACES, parts, Self::expr);
        } else {
            self.steps(parts);
        }
    }

    fn let_step(&mut self, pair: P<'t>) {
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::kw_let => self.leaf(Sep::Tight, &part),
                Rule::type_note => self.type_note(part),
                Rule::expr => self.value(|walk| walk.expr(part)),
                _ => self.leaf(Sep::Space, &part),
            }
        }
    }

    // ------------------------------------------------------------ types

    fn ty(&mut self, pair: P<'t>) {
        let arrows: Vec<P<'t>> = pair.into_inner().collect();
        let gap = |arrow: &P<'t>| {
            let start = arrow.as_span().start();
            let bar = self.text.get(..start).and_then(|t| t.rfind('|')).unwrap_or(start);
            let broken = newline_before(self.text, start) || newline_before(self.text, bar);
            if broken { Gap::Broken } else { Gap::Free }
        };
        let gaps: Vec<Gap> = arrows.iter().skip(1).map(gap).collect();
        self.chain(&gaps, |walk, i| {
            if i > 0 {
                walk.mark(Sep::Space, "|");
                walk.sep(Sep::Space);
            }
            arrows.iter().skip(i).take(1).for_each(|arrow| walk.arrow(arrow.clone()));
        });
    }

    fn arrow(&mut self, pair: P<'t>) {
        let mut first = true;
        for part in pair.into_inner() {
            if std::mem::take(&mut first) {
                self.atom(part);
            } else {
                self.mark(Sep::Space, "->");
                self.sep(Sep::Space);
                self.arrow(part);
            }
        }
    }

    fn atom(&mut self, pair: P<'t>) {
        for part in pair.into_inner() {
            let rule = part.as_rule();
            match rule {
                Rule::dim => self.index(part),
                Rule::ty_list => self.inline("[", part.into_inner().collect(), "]", Self::ty),
                Rule::ty_record => self.bracket(Sep::Tight, &BRACES, part.into_inner().collect(), Self::param),
                Rule::ty_paren => self.bracket(Sep::Tight, &PARENS, part.into_inner().collect(), Self::input),
                _ => part.into_inner().for_each(|part| match part.as_rule() {
                    Rule::path => self.leaf(Sep::Tight, &part),
                    _ => self.inline("<", part.into_inner().collect(), ">", Self::ty),
                }),
            }
        }
    }

    /// The input of a function type, with or without a name.
    fn input(&mut self, pair: P<'t>) {
        for part in pair.into_inner() {
            if part.as_rule() == Rule::name {
                self.leaf(Sep::Tight, &part);
                self.mark(Sep::Tight, ":");
                self.sep(Sep::Space);
            } else {
                self.ty(part);
            }
        }
    }

    /// `[i]`, `["a", "b"]` after a value or a type.
    fn index(&mut self, pair: P<'t>) {
        let parts: Vec<P<'t>> = pair.into_inner().collect();
        if parts.len() > 1 {
            self.bracket(Sep::Tight, &BRACKETS, parts, Self::expr);
        } else {
            self.inline("[", parts, "]", Self::expr);
        }
    }
}
