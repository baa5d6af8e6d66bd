//! Parses scripts of `sed`.

use super::super::super::regex::{Dialect, Matcher};
use super::super::super::words::escape;

#[derive(Debug)]
pub(super) enum Address {
    Line(usize),
    Last,
    /// `first~step`
    Step(usize, usize),
    /// Nothing stands for the last expression used.
    Regex(Option<Matcher>),
    /// `+n`, behind a comma
    Plus(usize),
}

/// A piece of a replacement; `\U` and its kin change the letters behind them.
#[derive(Debug)]
pub(super) enum Piece {
    Text(Vec<u8>),
    Group(usize),
    Case(u8),
}

#[derive(Debug)]
pub(super) struct Substitution {
    pub(super) matcher: Option<Matcher>,
    pub(super) pieces: Vec<Piece>,
    pub(super) global: bool,
    pub(super) print: bool,
    pub(super) number: usize,
    pub(super) file: Option<Vec<u8>>,
}

#[derive(Debug)]
pub(super) enum Action {
    /// `{`: where its `}` is.
    Open(usize),
    Close,
    Substitute(Box<Substitution>),
    Translate(Box<[u8; 256]>),
    Append(Vec<u8>),
    Insert(Vec<u8>),
    Change(Vec<u8>),
    Quit(i32, bool),
    Label,
    /// `b`, `t` or `T` and where to go; the end if nowhere.
    Branch(u8, usize),
    Read(Vec<u8>),
    Write(Vec<u8>),
    /// A command that is one letter.
    Plain(u8),
}

#[derive(Debug)]
pub(super) struct Step {
    pub(super) from: Option<Address>,
    pub(super) to: Option<Address>,
    pub(super) negated: bool,
    pub(super) action: Action,
}

#[derive(Debug)]
pub(super) struct Script {
    pub(super) steps: Vec<Step>,
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    extended: bool,
}

type Parsed<T> = Result<T, String>;

pub(super) fn parse(text: &[u8], extended: bool) -> Parsed<Script> {
    let mut reader = Reader { text, at: 0, extended };
    let mut steps: Vec<Step> = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    let mut labels: Vec<(Vec<u8>, usize)> = Vec::new();
    let mut jumps: Vec<(usize, Vec<u8>)> = Vec::new();
    loop {
        reader.skip(b" \t\n;");
        let Some(first) = reader.peek() else { break };
        if first == b'#' {
            reader.line();
            continue;
        }
        let (from, to, negated) = reader.addresses()?;
        let Some(letter) = reader.peek() else { return reader.fault("missing command") };
        reader.at += 1;
        let action = match letter {
            b'{' => {
                open.push(steps.len());
                Action::Open(0)
            }
            b'}' => {
                let Some(start) = open.pop() else { return reader.fault("unexpected `}'") };
                let here = steps.len();
                if let Some(step) = steps.get_mut(start) {
                    step.action = Action::Open(here);
                }
                Action::Close
            }
            b':' => {
                let label = reader.label();
                labels.push((label, steps.len()));
                Action::Label
            }
            b'b' | b't' | b'T' => {
                let label = reader.label();
                jumps.push((steps.len(), label));
                Action::Branch(letter, usize::MAX)
            }
            _ => reader.action(letter)?,
        };
        steps.push(Step { from, to, negated, action });
    }
    if !open.is_empty() {
        return Err("char 0: unmatched `{'".to_owned());
    }
    link(&mut steps, jumps, &labels, text.len())?;
    Ok(Script { steps })
}

/// Points the branches at their labels.
fn link(steps: &mut [Step], jumps: Vec<Named>, labels: &[(Vec<u8>, usize)], end: usize) -> Parsed<()> {
    for (at, label) in jumps {
        if label.is_empty() {
            continue;
        }
        let Some((_, target)) = labels.iter().find(|(name, _)| *name == label) else {
            return Err(format!("char {}: can't find label for jump to `{}'", end, String::from_utf8_lossy(&label)));
        };
        if let Some(Step { action: Action::Branch(_, to), .. }) = steps.get_mut(at) {
            *to = *target;
        }
    }
    Ok(())
}

/// A step and the label that it goes to.
type Named = (usize, Vec<u8>);

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn skip(&mut self, bytes: &[u8]) {
        while self.peek().is_some_and(|byte| bytes.contains(&byte)) {
            self.at += 1;
        }
    }

    fn fault<T>(&self, what: &str) -> Parsed<T> {
        Err(format!("char {}: {what}", self.at))
    }

    fn line(&mut self) -> Vec<u8> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte != b'\n') {
            self.at += 1;
        }
        self.text[start..self.at].to_vec()
    }

    fn label(&mut self) -> Vec<u8> {
        self.skip(b" \t");
        let start = self.at;
        while self.peek().is_some_and(|byte| !b"\n;}".contains(&byte) && !byte.is_ascii_whitespace()) {
            self.at += 1;
        }
        self.text[start..self.at].to_vec()
    }

    fn number(&mut self) -> Option<usize> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        std::str::from_utf8(&self.text[start..self.at]).ok()?.parse().ok()
    }

    fn matcher(&mut self, pattern: &[u8], flags: &[u8]) -> Parsed<Option<Matcher>> {
        if pattern.is_empty() {
            return Ok(None);
        }
        let dialect = if self.extended { Dialect::Extended } else { Dialect::Basic };
        let fold = flags.iter().any(|flag| b"iI".contains(flag));
        let lines = flags.iter().any(|flag| b"mM".contains(flag));
        Matcher::with(pattern, dialect, fold, lines).map(Some).or_else(|fault| self.fault(&fault))
    }

    fn address(&mut self) -> Parsed<Option<Address>> {
        match self.peek() {
            Some(b'$') => {
                self.at += 1;
                Ok(Some(Address::Last))
            }
            Some(byte) if byte.is_ascii_digit() => {
                let first = self.number().unwrap_or(0);
                if self.peek() == Some(b'~') {
                    self.at += 1;
                    let step = self.number().unwrap_or(0);
                    return Ok(Some(Address::Step(first, step)));
                }
                Ok(Some(Address::Line(first)))
            }
            Some(b'/' | b'\\') => {
                if self.peek() == Some(b'\\') {
                    self.at += 1;
                }
                let Some(mark) = self.peek() else { return self.fault("unterminated address regex") };
                self.at += 1;
                let Some(pattern) = self.delimited(mark, true) else {
                    return self.fault("unterminated address regex");
                };
                let start = self.at;
                self.skip(b"IM");
                let flags = self.text[start..self.at].to_vec();
                Ok(Some(Address::Regex(self.matcher(&pattern, &flags)?)))
            }
            _ => Ok(None),
        }
    }

    fn addresses(&mut self) -> Parsed<(Option<Address>, Option<Address>, bool)> {
        let from = self.address()?;
        let mut to = None;
        self.skip(b" \t");
        if from.is_some() && self.peek() == Some(b',') {
            self.at += 1;
            self.skip(b" \t");
            to = self.second()?;
            if to.is_none() {
                return self.fault("unexpected `,'");
            }
        }
        self.skip(b" \t");
        let mut negated = false;
        while self.peek() == Some(b'!') {
            negated = true;
            self.at += 1;
            self.skip(b" \t");
        }
        Ok((from, to, negated))
    }

    fn second(&mut self) -> Parsed<Option<Address>> {
        if self.peek() == Some(b'+') {
            self.at += 1;
            return Ok(self.number().map(Address::Plus));
        }
        self.address()
    }

    /// The text up to an unescaped `mark`, which is passed; in an expression brackets hide it.
    fn delimited(&mut self, mark: u8, regex: bool) -> Option<Vec<u8>> {
        let mut text = Vec::new();
        let mut bracket = false;
        loop {
            let byte = self.peek()?;
            self.at += 1;
            match byte {
                b'\\' if !bracket => {
                    let next = self.peek()?;
                    self.at += 1;
                    if next == mark && !(regex && b".*[]^$+?(){}|".contains(&mark)) {
                        text.push(next);
                    } else {
                        text.extend_from_slice(&[b'\\', next]);
                    }
                    continue;
                }
                _ if byte == mark && !bracket => return Some(text),
                b'\n' if regex => return None,
                b'[' if regex && !bracket => {
                    bracket = true;
                    text.push(byte);
                    if self.peek() == Some(b'^') {
                        text.push(b'^');
                        self.at += 1;
                    }
                    if self.peek() == Some(b']') {
                        text.push(b']');
                        self.at += 1;
                    }
                    continue;
                }
                b'[' if bracket && self.peek() == Some(b':') => {
                    let rest = &self.text[self.at..];
                    let length = rest.windows(2).position(|pair| pair == b":]").map_or(0, |at| at + 2);
                    text.push(b'[');
                    text.extend_from_slice(&rest[..length]);
                    self.at += length;
                    continue;
                }
                b']' if bracket => bracket = false,
                _ => {}
            }
            text.push(byte);
        }
    }

    fn action(&mut self, letter: u8) -> Parsed<Action> {
        Ok(match letter {
            b's' => return self.substitute(),
            b'y' => return self.translate(),
            b'a' => Action::Append(self.text_argument()?),
            b'i' => Action::Insert(self.text_argument()?),
            b'c' => Action::Change(self.text_argument()?),
            b'q' | b'Q' => {
                self.skip(b" \t");
                let code = self.number().unwrap_or(0);
                self.ends()?;
                Action::Quit(i32::try_from(code).unwrap_or(0), letter == b'q')
            }
            b'r' | b'w' => {
                self.skip(b" \t");
                let name = self.line();
                if name.is_empty() {
                    return self.fault("missing filename in r/R/w/W commands");
                }
                if letter == b'r' { Action::Read(name) } else { Action::Write(name) }
            }
            b'p' | b'P' | b'd' | b'D' | b'n' | b'N' | b'g' | b'G' | b'h' | b'H' | b'x' | b'=' | b'l' | b'z' => {
                self.ends()?;
                Action::Plain(letter)
            }
            _ => return self.fault(&format!("unknown command: `{}'", char::from(letter))),
        })
    }

    fn ends(&mut self) -> Parsed<()> {
        self.skip(b" \t");
        match self.peek() {
            None | Some(b'\n' | b';' | b'}' | b'#') => Ok(()),
            Some(_) => {
                self.at += 1;
                self.fault("extra characters after command")
            }
        }
    }

    /// The text of `a`, `i`, `c`: the rest of the line, and lines behind a backslash.
    fn text_argument(&mut self) -> Parsed<Vec<u8>> {
        self.skip(b" \t");
        if self.peek() == Some(b'\\') {
            self.at += 1;
            self.skip(b" \t");
            if self.peek() == Some(b'\n') {
                self.at += 1;
            }
        }
        if self.peek().is_none() {
            return Err(format!("char {}: expected \\ after `a', `c' or `i'", self.at));
        }
        let mut text = Vec::new();
        while let Some(byte) = self.peek() {
            self.at += 1;
            match byte {
                b'\\' => {
                    if let Some(next) = self.peek() {
                        self.at += 1;
                        text.push(if next == b't' { b'\t' } else { next });
                    }
                }
                b'\n' => break,
                _ => text.push(byte),
            }
        }
        text.push(b'\n');
        Ok(text)
    }

    fn translate(&mut self) -> Parsed<Action> {
        let unterminated = "unterminated `y' command";
        let Some(mark) = self.peek() else { return self.fault(unterminated) };
        self.at += 1;
        let (Some(from), Some(to)) = (self.delimited(mark, false), self.delimited(mark, false)) else {
            return self.fault(unterminated);
        };
        let plain = |text: &[u8]| {
            let mut bytes = Vec::new();
            let mut rest = text.iter();
            while let Some(byte) = rest.next() {
                match byte {
                    b'\\' => bytes.push(match rest.next() {
                        Some(b'n') => b'\n',
                        Some(b't') => b'\t',
                        Some(other) => *other,
                        None => b'\\',
                    }),
                    _ => bytes.push(*byte),
                }
            }
            bytes
        };
        let (from, to) = (plain(&from), plain(&to));
        if from.len() != to.len() {
            return self.fault("strings for `y' command are different lengths");
        }
        let mut map = [0u8; 256];
        for (at, byte) in map.iter_mut().enumerate() {
            *byte = u8::try_from(at).unwrap_or(0);
        }
        for (from, to) in from.iter().zip(to) {
            map[usize::from(*from)] = to;
        }
        self.ends()?;
        Ok(Action::Translate(Box::new(map)))
    }

    fn substitute(&mut self) -> Parsed<Action> {
        let unterminated = "unterminated `s' command";
        let Some(mark) = self.peek() else { return self.fault(unterminated) };
        self.at += 1;
        let Some(pattern) = self.delimited(mark, true) else { return self.fault(unterminated) };
        let Some(with) = self.delimited(mark, false) else { return self.fault(unterminated) };
        let mut made =
            Substitution { matcher: None, pieces: pieces(&with), global: false, print: false, number: 1, file: None };
        let start = self.at;
        loop {
            match self.peek() {
                Some(b'g') => made.global = true,
                Some(b'p') => made.print = true,
                Some(b'i' | b'I' | b'm' | b'M') => {}
                Some(b'1'..=b'9') => {
                    made.number = self.number().unwrap_or(1);
                    continue;
                }
                Some(b'w') => {
                    self.at += 1;
                    self.skip(b" \t");
                    made.file = Some(self.line());
                    break;
                }
                Some(b'e') => return self.fault("this shell does not have the `e' flag"),
                Some(b'\n' | b';' | b'}' | b'#' | b' ' | b'\t') | None => break,
                Some(_) => {
                    self.at += 1;
                    return self.fault("unknown option to `s'");
                }
            }
            self.at += 1;
        }
        let flags = self.text[start..self.at].to_vec();
        let flags = if made.file.is_some() { &flags[..0] } else { flags.as_slice() };
        made.matcher = self.matcher(&pattern, flags)?;
        if made.file.is_none() {
            self.ends()?;
        }
        let groups = made.matcher.as_ref().map_or(9, Matcher::groups);
        let most =
            made.pieces.iter().map(|piece| if let Piece::Group(group) = piece { *group } else { 0 }).max().unwrap_or(0);
        if most > groups {
            return self.fault(&format!("invalid reference \\{most} on `s' command's RHS"));
        }
        Ok(Action::Substitute(Box::new(made)))
    }
}

fn pieces(with: &[u8]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut text = Vec::new();
    let mut at = 0;
    while let Some(&byte) = with.get(at) {
        at += 1;
        let special = match byte {
            b'&' => Some(Piece::Group(0)),
            b'\\' => {
                let next = with.get(at).copied().unwrap_or(b'\\');
                at += 1;
                match next {
                    b'0'..=b'9' => Some(Piece::Group(usize::from(next - b'0'))),
                    b'U' | b'L' | b'E' | b'u' | b'l' => Some(Piece::Case(next)),
                    b'n' | b't' | b'r' | b'f' | b'v' | b'a' => {
                        text.extend(escape(&[next], false).map(|(bytes, _)| bytes).unwrap_or_default());
                        None
                    }
                    _ => {
                        text.push(next);
                        None
                    }
                }
            }
            _ => {
                text.push(byte);
                None
            }
        };
        if let Some(piece) = special {
            if !text.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut text)));
            }
            pieces.push(piece);
        }
    }
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
    pieces
}
