//! Instructions to lines: which groups break (after Wadler, "A prettier printer", 1998).

use unicode_width::UnicodeWidthStr;

use super::WIDTH;
use super::layout::{Group, Op, Place};

/// Columns of one level.
const INDENT: usize = 2;

/// A token of a line.
#[derive(Clone, Debug)]
pub(super) struct Piece<'t> {
    /// Its text.
    pub(super) text: &'t str,
    /// Whether a space stands before it.
    pub(super) space: bool,
    /// Where it stood.
    pub(super) place: Option<Place>,
}

/// A line of the formatted text.
#[derive(Clone, Debug, Default)]
pub(super) struct Line<'t> {
    /// Whether a blank line stands before it.
    pub(super) blank: bool,
    /// Its first column.
    pub(super) indent: usize,
    /// Its tokens.
    pub(super) pieces: Vec<Piece<'t>>,
    /// The comment after them.
    pub(super) comment: Option<(&'t str, Place)>,
    /// Whether all of it is a comment.
    pub(super) is_comment: bool,
}

/// How a group is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// On one line, apart from what is forced within it.
    Flat,
    /// Each of its places ends a line.
    Break,
    /// As many of its places end a line as must.
    Fill,
}

/// A group that is being printed.
#[derive(Clone, Copy, Debug)]
struct Frame {
    mode: Mode,
    /// How many lines there were when the element at hand began.
    element: usize,
}

/// Lays out a program.
pub(super) fn lines<'t>(ops: Vec<Op<'t>>) -> Vec<Line<'t>> {
    let mut printer = Printer {
        ops,
        lines: vec![Line::default()],
        frames: vec![Frame { mode: Mode::Break, element: 0 }],
        indents: Vec::new(),
        indent: 0,
        column: 0,
        space: false,
    };
    for at in 0..printer.ops.len() {
        printer.step(at);
    }
    printer.lines
}

struct Printer<'t> {
    ops: Vec<Op<'t>>,
    lines: Vec<Line<'t>>,
    frames: Vec<Frame>,
    /// What each open indentation adds.
    indents: Vec<usize>,
    indent: usize,
    column: usize,
    /// Whether a space is due before the next token.
    space: bool,
}

impl<'t> Printer<'t> {
    fn step(&mut self, at: usize) {
        let Some(op) = self.ops.get(at).cloned() else { return };
        match op {
            Op::Text(text, place) => self.text(text, place),
            Op::Comment(text) => {
                self.text(text, None);
                if let Some(line) = self.lines.last_mut() {
                    line.is_comment = true;
                }
            }
            Op::Suffix(text, place) => {
                if let Some(line) = self.lines.last_mut() {
                    line.comment = Some((text, place));
                }
            }
            Op::Space => self.space = true,
            Op::Hard { blank } => self.newline(blank),
            Op::Line { flat, broken } => self.line(at, flat, broken),
            Op::Open(group) => self.open(at, group),
            Op::Close => drop(self.frames.pop()),
            Op::Indent { always } => {
                let by = if always || self.frame().mode != Mode::Flat { INDENT } else { 0 };
                self.indents.push(by);
                self.indent += by;
            }
            Op::Dedent => self.indent -= self.indents.pop().unwrap_or(0),
        }
    }

    fn frame(&self) -> Frame {
        self.frames.last().copied().unwrap_or(Frame { mode: Mode::Break, element: 0 })
    }

    fn text(&mut self, text: &'t str, place: Option<Place>) {
        let indent = self.indent;
        let Some(line) = self.lines.last_mut() else { return };
        let first = line.pieces.is_empty();
        if first {
            line.indent = indent;
            self.column = indent;
        }
        let space = self.space && !first;
        self.space = false;
        self.column += usize::from(space);
        match text.rsplit_once('\n') {
            Some((_, last)) => self.column = last.width(),
            None => self.column += text.width(),
        }
        line.pieces.push(Piece { text, space, place });
    }

    fn newline(&mut self, blank: bool) {
        self.space = false;
        let blank = blank && (self.lines.len() > 1 || self.lines.iter().any(|line| !line.pieces.is_empty()));
        if let Some(line) = self.lines.last_mut().filter(|line| line.pieces.is_empty()) {
            line.blank |= blank;
            return;
        }
        self.lines.push(Line { blank, ..Line::default() });
        self.column = self.indent;
    }

    fn line(&mut self, at: usize, flat: (&'static str, bool), broken: &'static str) {
        let frame = self.frame();
        let breaks = match frame.mode {
            Mode::Flat => false,
            Mode::Break => true,
            Mode::Fill => {
                let column = self.column + flat.0.len() + usize::from(flat.1);
                frame.element != self.lines.len() || !self.fits(at + 1, column, self.frames.len() - 1, true)
            }
        };
        let text = if breaks { broken } else { flat.0 };
        if !text.is_empty() {
            self.text(text, None);
        }
        if breaks {
            self.newline(false);
        } else {
            self.space |= flat.1;
        }
        let count = self.lines.len();
        if let Some(frame) = self.frames.last_mut() {
            frame.element = count;
        }
    }

    fn open(&mut self, at: usize, group: Group) {
        let column = self.column + usize::from(self.space);
        let mode = if group.forced {
            Mode::Break
        } else if self.fits(at + 1, column, self.frames.len(), false) {
            Mode::Flat
        } else if let Some(inner) = self.innermost(group, at, column) {
            if let Some(Op::Open(inner)) = self.ops.get_mut(inner) {
                inner.forced = true;
            }
            Mode::Flat
        } else if group.fill {
            Mode::Fill
        } else {
            Mode::Break
        };
        self.frames.push(Frame { mode, element: self.lines.len() });
    }

    /// The group at the end of the one at `at`, or at the end of that, which is the last that begins on this line.
    fn innermost(&self, mut group: Group, at: usize, column: usize) -> Option<usize> {
        let mut found = None;
        while let Some(inner) = group.hug.filter(|inner| self.head_fits(at + 1, *inner, column)) {
            found = Some(inner);
            group = match self.ops.get(inner) {
                Some(Op::Open(group)) => *group,
                _ => Group::default(),
            };
        }
        found
    }

    /// Whether what follows fits into the line, up to where a line ends or may end. It begins in a group above `enclosing`
    /// frames, whose own places end a line if `breaks`.
    fn fits(&self, from: usize, column: usize, mut enclosing: usize, breaks: bool) -> bool {
        let (mut local, mut outside, mut column) = (vec![breaks], false, column);
        for op in self.ops.iter().skip(from) {
            match op {
                Op::Text(text, _) | Op::Comment(text) => {
                    column += text.split('\n').next().unwrap_or("").width();
                    if column > WIDTH {
                        return false;
                    }
                    if text.contains('\n') {
                        return true;
                    }
                }
                Op::Space => column += 1,
                Op::Hard { .. } => return true,
                Op::Line { flat, broken } => {
                    let breaks = local.last().copied().unwrap_or_else(|| {
                        enclosing.checked_sub(1).and_then(|i| self.frames.get(i)).is_none_or(|f| f.mode != Mode::Flat)
                    });
                    if breaks {
                        return column + broken.len() <= WIDTH;
                    }
                    column += flat.0.len() + usize::from(flat.1);
                }
                Op::Open(group) => local.push(outside || group.forced),
                Op::Close if local.pop().is_none() => enclosing = enclosing.saturating_sub(1),
                Op::Close => outside |= local.is_empty(),
                Op::Suffix(..) | Op::Indent { .. } | Op::Dedent => {}
            }
        }
        true
    }

    /// Whether what stands before the group at `inner`, and its bracket, fit into the line.
    fn head_fits(&self, from: usize, inner: usize, mut column: usize) -> bool {
        for (i, op) in self.ops.iter().enumerate().skip(from) {
            match op {
                Op::Text(text, _) => {
                    column += text.width();
                    if i > inner || column > WIDTH || text.contains('\n') {
                        return column <= WIDTH && i > inner;
                    }
                }
                Op::Space => column += 1,
                Op::Line { flat, .. } => column += flat.0.len() + usize::from(flat.1),
                Op::Hard { .. } | Op::Comment(_) => return false,
                Op::Open(group) if group.forced => return false,
                _ => {}
            }
        }
        false
    }
}
