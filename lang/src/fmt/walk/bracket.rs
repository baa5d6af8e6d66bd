//! Brackets and what they hold.

use super::{Group, Op, P, Sep, Walk};
use crate::syntax::Rule;

/// How a kind of brackets is written.
#[derive(Debug)]
pub(super) struct Brackets {
    open: &'static str,
    close: &'static str,
    /// Whether a space stands inside of each.
    pad: bool,
    /// What ends a line between two elements.
    broken: &'static str,
}

/// Fields and steps: one a line, where they do not fit into one, without commas at the ends of lines.
pub(super) const BRACES: Brackets = Brackets { open: "{", close: "}", pad: true, broken: "" };
/// Arguments, parameters, tuples: as many a line as fit.
pub(super) const PARENS: Brackets = Brackets { open: "(", close: ")", pad: false, broken: "," };
/// Lists.
pub(super) const BRACKETS: Brackets = Brackets { open: "[", close: "]", pad: false, broken: "," };

/// What is known of a bracket's content once it is written.
struct Content {
    /// Whether the author broke a line between its elements.
    rows: bool,
    /// Line ends asked for before its last element.
    before_last: usize,
}

impl<'t> Walk<'t> {
    /// Brackets whose elements stand on one line, or on lines of their own. Elements that the author put on one line stay
    /// on one, if it is not too long.
    pub(super) fn bracket(&mut self, sep: Sep, style: &Brackets, items: Vec<P<'t>>, each: fn(&mut Self, P<'t>)) {
        if !self.settled {
            self.sep(sep);
        }
        let outer = self.open();
        self.mark(Sep::Tight, style.open);
        let (hards, count) = (self.hards, items.len());
        let pad = Sep::Line(("", style.pad), "");
        self.ops.push(Op::Indent { always: false });
        if count == 0 {
            self.comma();
            return self.close_empty(outer, style);
        }
        let mut rows = self.newline();
        self.trivia.close_up();
        self.sep(pad);
        let content = self.elements(style, items, each);
        rows |= content.rows;
        let inner = self.ended.filter(|(_, braces)| count == 1 || *braces);
        rows |= self.trailing();
        let hug = inner.filter(|_| !style.pad && !rows && content.before_last == hards).map(|(inner, _)| inner);
        self.ops.push(Op::Dedent);
        self.sep(pad);
        self.mark(Sep::Tight, style.close);
        let forced = rows || self.hards > hards && hug.is_none();
        self.hards += usize::from(forced);
        self.close(outer, Group { forced, fill: false, hug });
        self.ended = Some((outer, style.pad));
    }

    /// The elements with what separates them; each line of the author's is a group.
    fn elements(&mut self, style: &Brackets, items: Vec<P<'t>>, each: fn(&mut Self, P<'t>)) -> Content {
        let count = items.len();
        let mut content = Content { rows: false, before_last: self.hards };
        let (mut row, mut hards, mut in_row) = (self.open(), self.hards, 0);
        for (i, item) in items.into_iter().enumerate() {
            let clause = matches!(item.as_rule(), Rule::comprehension | Rule::comprehension_if);
            let broken = if clause { "" } else { style.broken };
            if i > 0 {
                self.comma();
                if self.newline() {
                    content.rows = true;
                    self.close_row(row, style, in_row > 1 && self.hards > hards, None);
                    if !broken.is_empty() {
                        self.ops.push(Op::Text(broken, None));
                    }
                    self.sep(Sep::Hard);
                    (row, hards, in_row) = (self.open(), self.hards, 0);
                } else {
                    self.sep(Sep::Line((if clause { "" } else { "," }, true), broken));
                }
            }
            if i + 1 == count {
                content.before_last = self.hards;
            }
            in_row += 1;
            match item.as_rule() {
                Rule::comprehension => self.comprehension(item),
                Rule::comprehension_if => self.clause(item.into_inner()),
                _ => each(self, item),
            }
        }
        // A last element that ends with braces may hold the only line ends of its row.
        let last = self.ended.filter(|(_, braces)| count == 1 || *braces);
        let hugs = last.is_some() && !style.pad && !content.rows && content.before_last == hards;
        self.close_row(row, style, in_row > 1 && self.hards > hards && !hugs, last.map(|(i, _)| i).filter(|_| hugs));
        self.ended = last;
        content
    }

    fn close_row(&mut self, row: usize, style: &Brackets, forced: bool, hug: Option<usize>) {
        self.close(row, Group { forced, fill: !style.pad, hug });
    }

    /// What stands before a closing bracket: a comma, comments. Whether the author put it on a line of its own.
    fn trailing(&mut self) -> bool {
        let ended = self.ended;
        self.comma();
        let newline = self.trivia.newline;
        if self.trivia.comments.is_empty() {
            self.next_row();
        } else {
            self.comments();
            self.hards += 1;
        }
        self.ended = ended;
        newline
    }

    fn close_empty(&mut self, outer: usize, style: &Brackets) {
        self.trivia.close_up();
        let forced = !self.trivia.comments.is_empty();
        self.trailing();
        self.ops.push(Op::Dedent);
        self.sep(Sep::Line(("", style.pad), ""));
        self.mark(Sep::Tight, style.close);
        self.close(outer, Group { forced, ..Group::default() });
    }

    /// A block of steps: each on a line of its own.
    pub(super) fn steps(&mut self, parts: Vec<P<'t>>) {
        if !self.settled {
            self.sep(Sep::Space);
        }
        let outer = self.open();
        self.mark(Sep::Space, "{");
        self.ops.push(Op::Indent { always: true });
        self.advance();
        self.trivia.close_up();
        for part in parts {
            self.sep(Sep::Hard);
            match part.as_rule() {
                Rule::let_step => self.let_step(part),
                _ => {
                    self.fresh_line = true;
                    self.expr(part);
                }
            }
        }
        self.trailing();
        self.ops.push(Op::Dedent);
        self.sep(Sep::Hard);
        self.mark(Sep::Tight, "}");
        self.close(outer, Group { forced: true, ..Group::default() });
        self.ended = Some((outer, true));
    }

    /// Brackets that no line ends in: indices, generics, patterns.
    pub(super) fn inline(
        &mut self,
        open: &'static str,
        items: Vec<P<'t>>,
        close: &'static str,
        each: fn(&mut Self, P<'t>),
    ) {
        self.mark(Sep::Tight, open);
        for (i, item) in items.into_iter().enumerate() {
            if i > 0 {
                self.mark(Sep::Tight, ",");
                self.sep(Sep::Space);
            } else {
                self.sep(Sep::Tight);
            }
            each(self, item);
        }
        self.comma();
        self.mark(Sep::Tight, close);
    }

    /// `for x in xs`; its `if` is an element of its own.
    fn comprehension(&mut self, pair: P<'t>) {
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::comprehension_if => {}
                Rule::pattern => {
                    self.sep(Sep::Space);
                    let tuple = part.as_str().starts_with('(');
                    match (tuple, part.clone().into_inner().next()) {
                        (false, Some(name)) => self.leaf(Sep::Space, &name),
                        _ => self.names("(", part, ")"),
                    }
                }
                Rule::expr => {
                    self.sep(Sep::Space);
                    self.expr(part);
                }
                _ => self.leaf(Sep::Space, &part),
            }
        }
    }
}
