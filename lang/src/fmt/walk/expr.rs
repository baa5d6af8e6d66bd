//! Expressions.

use super::bracket::{BRACKETS, PARENS};
use super::{Group, Op, P, Sep, Walk};
use crate::fmt::trivia::{newline_after, newline_before};
use crate::syntax::Rule;

/// An operand with the operator before it.
type Operand<'t> = (Option<P<'t>>, P<'t>);

/// What may happen before an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gap {
    /// The author broke the line.
    Broken,
    /// The line may break.
    Free,
    /// A comment ends the line after the operator.
    Comment,
    /// A fraction of two numbers, which the author wrote without spaces.
    Tight,
}

/// How tightly a range binds.
const RANGE: u8 = 5;

/// How tightly an operator binds.
fn binding(operator: &str) -> u8 {
    match operator {
        "or" => 1,
        "and" => 2,
        ".." | "..=" => RANGE,
        "+" | "-" => 6,
        "*" | "/" => 7,
        "^" => 9,
        _ => 4,
    }
}

impl<'t> Walk<'t> {
    pub(super) fn expr(&mut self, pair: P<'t>) {
        let mut operands: Vec<Operand<'t>> = Vec::new();
        let mut operator = None;
        for part in pair.into_inner() {
            if part.as_rule() == Rule::operand {
                operands.push((operator.take(), part));
            } else {
                operator = Some(part);
            }
        }
        self.operands(&operands);
    }

    /// Operands with the operators between them: those that bind least tightly break first, and all at once. The first
    /// operand's operator is not among them.
    fn operands(&mut self, operands: &[Operand<'t>]) {
        let least = operands.iter().skip(1).filter_map(|o| o.0.as_ref()).map(|op| binding(op.as_str())).min();
        let Some(least) = least else {
            return operands.iter().for_each(|(_, operand)| self.operand(operand.clone()));
        };
        let splits =
            |(i, o): &(usize, &Operand<'t>)| *i > 0 && o.0.as_ref().is_some_and(|op| binding(op.as_str()) == least);
        let mut starts: Vec<usize> = operands.iter().enumerate().filter(splits).map(|(i, _)| i).collect();
        starts.insert(0, 0);
        let ends = starts.iter().skip(1).copied().chain([operands.len()]);
        let parts: Vec<&[Operand<'t>]> =
            starts.iter().zip(ends).filter_map(|(from, to)| operands.get(*from..to)).collect();
        if least == RANGE {
            return self.range(&parts);
        }
        let gaps: Vec<Gap> = parts.iter().zip(parts.iter().skip(1)).map(|(a, b)| gap(self.text, a, b)).collect();
        self.chain(&gaps, |walk, i| {
            let Some(part) = parts.get(i) else { return };
            if let Some((Some(operator), _)) = part.first().filter(|_| i > 0) {
                let sep = if gaps.get(i - 1) == Some(&Gap::Tight) { Sep::Tight } else { Sep::Space };
                walk.leaf(sep, operator);
                walk.sep(sep);
            }
            walk.operands(part);
        });
    }

    /// Parts with a gap before each but the first: all that are free break, or none; where the author broke some, those
    /// do, and no others.
    pub(super) fn chain(&mut self, gaps: &[Gap], mut part: impl FnMut(&mut Self, usize)) {
        if gaps.iter().all(|gap| *gap == Gap::Tight) {
            return (0..=gaps.len()).for_each(|i| part(self, i));
        }
        let fresh = self.fresh_line;
        let forced = gaps.iter().any(|gap| matches!(gap, Gap::Broken | Gap::Comment));
        let open = self.open();
        part(self, 0);
        if !fresh {
            self.ops.push(Op::Indent { always: false });
        }
        for (i, gap) in gaps.iter().enumerate() {
            match gap {
                Gap::Broken => self.sep(Sep::Hard),
                Gap::Free if !forced => self.sep(Sep::Line(("", true), "")),
                Gap::Free | Gap::Comment | Gap::Tight => {}
            }
            part(self, i + 1);
        }
        if !fresh {
            self.ops.push(Op::Dedent);
        }
        self.close(open, Group { forced, ..Group::default() });
    }

    /// `a..b`, without spaces.
    fn range(&mut self, parts: &[&[Operand<'t>]]) {
        for (i, part) in parts.iter().enumerate() {
            if let Some((Some(operator), _)) = part.first().filter(|_| i > 0) {
                self.leaf(Sep::Tight, operator);
                self.sep(Sep::Tight);
            }
            self.operands(part);
        }
    }

    fn operand(&mut self, pair: P<'t>) {
        // Lines that begin with `.` stand further in than the first.
        let mut dots = false;
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::prefix => {
                    self.leaf(Sep::Tight, &part);
                    self.sep(if part.as_str() == "-" { Sep::Tight } else { Sep::Space });
                }
                Rule::closure => {
                    self.mark(Sep::Space, "=>");
                    self.keep(|walk| part.into_inner().for_each(|body| walk.expr(body)));
                }
                Rule::call => self.bracket(Sep::Tight, &PARENS, part.into_inner().collect(), Self::arg),
                Rule::index => self.index(part),
                Rule::block => part.into_inner().for_each(|fields| self.braces(fields)),
                Rule::dot => {
                    let newline = self.newline();
                    if newline && !std::mem::replace(&mut dots, true) {
                        self.ops.push(Op::Indent { always: true });
                    }
                    self.mark(if newline { Sep::Hard } else { Sep::Tight }, ".");
                    part.into_inner().for_each(|member| self.leaf(Sep::Tight, &member));
                }
                _ => self.primary(part),
            }
        }
        if dots {
            self.ops.push(Op::Dedent);
        }
    }

    fn primary(&mut self, pair: P<'t>) {
        match pair.as_rule() {
            Rule::record => pair.into_inner().for_each(|part| self.braces(part)),
            Rule::group => self.bracket(Sep::Tight, &PARENS, pair.into_inner().collect(), Self::expr),
            Rule::list => {
                let items = pair.into_inner().flat_map(|part| {
                    let clause = part.clone().into_inner().find(|p| p.as_rule() == Rule::comprehension_if);
                    std::iter::once(part.clone()).chain(clause.filter(|_| part.as_rule() == Rule::comprehension))
                });
                self.bracket(Sep::Tight, &BRACKETS, items.collect(), Self::expr);
            }
            Rule::if_expr => self.branches(pair),
            _ => self.leaf(Sep::Tight, &pair),
        }
    }

    fn arg(&mut self, pair: P<'t>) {
        for part in pair.into_inner() {
            if part.as_rule() == Rule::arg_name {
                part.into_inner().for_each(|name| self.leaf(Sep::Tight, &name));
                self.mark(Sep::Tight, ":");
                self.sep(Sep::Space);
            } else {
                self.expr(part);
            }
        }
    }

    /// `if … then … else if … then … else …`: each `else` on a line of its own, or none.
    fn branches(&mut self, pair: P<'t>) {
        let mut parts: Vec<P<'t>> = pair.into_inner().collect();
        while let Some(nested) = parts.last().and_then(only_if) {
            parts.pop();
            parts.extend(nested.into_inner());
        }
        let is_else = |p: &&P<'t>| p.as_rule() == Rule::kw_else;
        let elses: Vec<usize> = parts.iter().filter(is_else).map(|p| p.as_span().start()).collect();
        let gaps: Vec<Gap> = elses.into_iter().map(|at| self.else_gap(at)).collect();
        let ends: Vec<usize> =
            parts.iter().enumerate().filter(|(_, p)| p.as_rule() == Rule::kw_else).map(|(i, _)| i).collect();
        self.chain(&gaps, |walk, i| {
            let from = i.checked_sub(1).and_then(|i| ends.get(i)).copied().unwrap_or(0);
            let to = ends.get(i).copied().unwrap_or(parts.len());
            let mut after_then = false;
            for part in parts.get(from..to).unwrap_or(&[]).iter().cloned() {
                match part.as_rule() {
                    Rule::expr if after_then => walk.keep(|walk| walk.expr(part)),
                    Rule::expr => {
                        walk.sep(Sep::Space);
                        walk.expr(part);
                    }
                    rule => {
                        after_then = rule == Rule::kw_then;
                        walk.leaf(if i == 0 && rule == Rule::kw_if { Sep::Tight } else { Sep::Space }, &part);
                    }
                }
            }
        });
    }

    /// No line ends between a `}` and `else`.
    fn else_gap(&self, at: usize) -> Gap {
        let before = self.text.get(..at).unwrap_or("");
        if before.trim_end().ends_with('}') {
            return Gap::Tight;
        }
        let broken = newline_before(self.text, at) || newline_after(self.text, at + "else".len());
        if broken { Gap::Broken } else { Gap::Free }
    }
}

/// The `if` that is all of an expression.
fn only_if<'t>(pair: &P<'t>) -> Option<P<'t>> {
    let mut operands = pair.clone().into_inner();
    let (operand, None) = (operands.next()?, operands.next()) else { return None };
    let mut parts = operand.into_inner();
    let (first, None) = (parts.next()?, parts.next()) else { return None };
    Some(first).filter(|p| p.as_rule() == Rule::if_expr)
}

/// What may happen between two parts.
fn gap(text: &str, left: &[Operand<'_>], right: &[Operand<'_>]) -> Gap {
    let Some((Some(operator), first)) = right.first() else { return Gap::Free };
    let span = operator.as_span();
    if newline_before(text, span.start()) {
        return Gap::Broken;
    }
    if newline_after(text, span.end()) {
        let comment = text.get(span.end()..).is_some_and(|t| t.trim_start_matches([' ', '\t']).starts_with("//"));
        return if comment { Gap::Comment } else { Gap::Broken };
    }
    let touches = |at: usize| text.get(at..).is_some_and(|t| !t.starts_with([' ', '\t']));
    let is_number = |o: &P<'_>| o.as_str().bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'_'));
    let numbers =
        left.len() == 1 && right.len() == 1 && left.first().is_some_and(|(_, o)| is_number(o)) && is_number(first);
    let tight = operator.as_str() == "/" && numbers && touches(span.end()) && touches(span.start() - 1);
    if tight { Gap::Tight } else { Gap::Free }
}
