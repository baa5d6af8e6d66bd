//! Parses scripts: lists, pipelines, compound commands. Simple commands are in `simple.rs`, words in `words.rs`, `[[ ]]` in `conditions.rs`.

use super::ast::{AndOr, ArmEnd, CaseArm, Command, Kind, List, Part, Pipeline, Word};
use std::cell::OnceCell;
use std::rc::Rc;

/// Why a text is no script.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// What bash says of it, and the line.
    Syntax(String, usize),
    /// Nested deeper than the limit.
    Depth,
    /// Syntax that bash knows and this shell does not.
    Lacking(&'static str, usize),
}

pub(crate) type Parsed<T> = Result<T, Fault>;

pub(crate) struct Pending {
    pub(crate) delimiter: Vec<u8>,
    pub(crate) strip_tabs: bool,
    pub(crate) literal: bool,
    pub(crate) body: Rc<OnceCell<Word>>,
}

pub(crate) struct Parser<'a> {
    pub(crate) text: &'a [u8],
    pub(crate) at: usize,
    first_line: usize,
    counted: (usize, usize),
    pub(crate) pending: Vec<Pending>,
    depth: usize,
    deepest: usize,
}

const CLOSERS: &[&[u8]] = &[b"then", b"do", b"done", b"fi", b"else", b"elif", b"esac", b"}"];

pub(crate) fn is_name_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_'
}

pub(crate) fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

pub(crate) fn is_name(text: &[u8]) -> bool {
    text.first().is_some_and(|byte| is_name_start(*byte)) && text.iter().all(|byte| is_name_byte(*byte))
}

pub(crate) fn is_meta(byte: u8) -> bool {
    b" \t\n;&|<>()".contains(&byte)
}

/// The whole of `text` as a list of commands; `deepest` bounds how deep they may nest.
pub(crate) fn script(text: &[u8], first_line: usize, deepest: usize) -> Parsed<List> {
    let mut parser = Parser::new(text, first_line, deepest);
    let list = parser.list()?;
    if parser.at < text.len() { Err(parser.unexpected()) } else { Ok(list) }
}

impl<'a> Parser<'a> {
    pub(crate) fn new(text: &'a [u8], first_line: usize, deepest: usize) -> Self {
        Parser { text, at: 0, first_line, counted: (0, 0), pending: Vec::new(), depth: 0, deepest }
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    pub(crate) fn peek_at(&self, ahead: usize) -> Option<u8> {
        self.text.get(self.at + ahead).copied()
    }

    pub(crate) fn looks_at(&self, start: &[u8]) -> bool {
        self.text.get(self.at..).is_some_and(|rest| rest.starts_with(start))
    }

    pub(crate) fn accept(&mut self, start: &[u8]) -> bool {
        let yes = self.looks_at(start);
        if yes {
            self.at += start.len();
        }
        yes
    }

    pub(crate) fn line(&mut self) -> usize {
        let (from, newlines) = self.counted;
        let to = self.at.min(self.text.len());
        if to < from {
            return self.first_line + self.text[..to].iter().filter(|byte| **byte == b'\n').count();
        }
        let more = self.text[from..to].iter().filter(|byte| **byte == b'\n').count();
        self.counted = (to, newlines + more);
        self.first_line + newlines + more
    }

    pub(crate) fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= self.deepest {
            return Err(Fault::Depth);
        }
        self.depth += 1;
        let parsed = stacker::maybe_grow(128 << 10, 1 << 20, || parse(self));
        self.depth -= 1;
        parsed
    }

    pub(crate) fn deeper_limit(&self) -> usize {
        self.deepest.saturating_sub(self.depth + 1)
    }

    pub(crate) fn fault<T>(&mut self, message: &str) -> Parsed<T> {
        let line = self.line();
        Err(Fault::Syntax(message.to_owned(), line))
    }

    pub(crate) fn lacking<T>(&mut self, what: &'static str) -> Parsed<T> {
        let line = self.line();
        Err(Fault::Lacking(what, line))
    }

    pub(crate) fn unexpected(&mut self) -> Fault {
        let line = self.line();
        let rest = self.text.get(self.at..).unwrap_or_default();
        let token = match rest {
            [] => return Fault::Syntax("syntax error: unexpected end of file".to_owned(), line),
            [b'\n', ..] => "newline".to_owned(),
            [first, second, ..] if first == second && b";&|".contains(first) => {
                String::from_utf8_lossy(&rest[..2]).into_owned()
            }
            [first, ..] if is_meta(*first) => char::from(*first).to_string(),
            _ => {
                let end = rest.iter().position(|byte| is_meta(*byte)).unwrap_or(rest.len());
                String::from_utf8_lossy(&rest[..end]).into_owned()
            }
        };
        Fault::Syntax(format!("syntax error near unexpected token `{token}'"), line)
    }

    pub(crate) fn skip_blanks(&mut self) {
        loop {
            match self.peek() {
                Some(b' ' | b'\t') => self.at += 1,
                Some(b'\\') if self.peek_at(1) == Some(b'\n') => self.at += 2,
                Some(b'#') => {
                    while self.peek().is_some_and(|byte| byte != b'\n') {
                        self.at += 1;
                    }
                }
                _ => return,
            }
        }
    }

    /// Passes a newline and reads the here-documents that the line before it asked for.
    fn newline(&mut self) -> Parsed<()> {
        self.at += 1;
        for pending in std::mem::take(&mut self.pending) {
            let mut body = Vec::new();
            while self.at < self.text.len() {
                let rest = &self.text[self.at..];
                let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
                let mut line = &rest[..end];
                if pending.strip_tabs {
                    line = &line[line.iter().take_while(|byte| **byte == b'\t').count()..];
                }
                self.at = (self.at + end + 1).min(self.text.len());
                if line == pending.delimiter {
                    break;
                }
                body.extend_from_slice(line);
                body.push(b'\n');
            }
            let word = if pending.literal { vec![Part::Quoted(body)] } else { self.here_body(&body)? };
            let _ = pending.body.set(word);
        }
        Ok(())
    }

    fn here_body(&mut self, body: &[u8]) -> Parsed<Word> {
        let line = self.line();
        let mut inner = Parser::new(body, line, self.deeper_limit());
        inner.double_quoted(None)
    }

    pub(crate) fn skip_newlines(&mut self) -> Parsed<()> {
        loop {
            self.skip_blanks();
            if self.peek() != Some(b'\n') {
                return Ok(());
            }
            self.newline()?;
        }
    }

    /// The text up to the next metacharacter, if it is the reserved word `word`.
    fn at_reserved(&self, word: &[u8]) -> bool {
        self.looks_at(word) && self.peek_at(word.len()).is_none_or(is_meta)
    }

    fn reserved(&mut self, word: &[u8]) -> bool {
        let yes = self.at_reserved(word);
        if yes {
            self.at += word.len();
        }
        yes
    }

    fn need(&mut self, word: &[u8]) -> Parsed<()> {
        self.skip_newlines()?;
        if self.reserved(word) { Ok(()) } else { Err(self.unexpected()) }
    }

    fn list_ends(&self) -> bool {
        match self.peek() {
            None | Some(b')') => true,
            Some(b';') => self.peek_at(1).is_some_and(|byte| byte == b';' || byte == b'&'),
            _ => CLOSERS.iter().any(|word| self.at_reserved(word)),
        }
    }

    pub(crate) fn list(&mut self) -> Parsed<List> {
        self.nested(|parser| {
            let mut list = List::new();
            loop {
                parser.skip_newlines()?;
                if parser.list_ends() {
                    return Ok(list);
                }
                let mut and_or = parser.and_or()?;
                parser.skip_blanks();
                match parser.peek() {
                    Some(b';') if !parser.list_ends() => parser.at += 1,
                    Some(b'&') => {
                        parser.at += 1;
                        and_or.background = true;
                    }
                    Some(b'\n') => parser.newline()?,
                    _ => {
                        list.push(and_or);
                        return Ok(list);
                    }
                }
                list.push(and_or);
            }
        })
    }

    /// The commands of the next line that has any; an empty list at the end. Bash runs them before it reads on.
    pub(crate) fn next_line(&mut self) -> Parsed<List> {
        self.skip_newlines()?;
        let mut list = List::new();
        while self.peek().is_some() {
            if self.list_ends() {
                return Err(self.unexpected());
            }
            let mut and_or = self.and_or()?;
            self.skip_blanks();
            match self.peek() {
                Some(b';') if !self.list_ends() => self.at += 1,
                Some(b'&') => {
                    self.at += 1;
                    and_or.background = true;
                }
                Some(b'\n') | None => {}
                Some(_) => return Err(self.unexpected()),
            }
            list.push(and_or);
            self.skip_blanks();
            if self.peek() == Some(b'\n') {
                self.newline()?;
                break;
            }
        }
        Ok(list)
    }

    /// A list that holds a command at least.
    fn body(&mut self) -> Parsed<List> {
        let list = self.list()?;
        if list.is_empty() { Err(self.unexpected()) } else { Ok(list) }
    }

    fn and_or(&mut self) -> Parsed<AndOr> {
        let first = self.pipeline()?;
        let mut rest = Vec::new();
        loop {
            self.skip_blanks();
            let and = if self.accept(b"&&") {
                true
            } else if self.accept(b"||") {
                false
            } else {
                return Ok(AndOr { first, rest, background: false });
            };
            self.skip_newlines()?;
            rest.push((and, self.pipeline()?));
        }
    }

    fn pipeline(&mut self) -> Parsed<Pipeline> {
        self.skip_blanks();
        let mut negate = false;
        while self.reserved(b"!") {
            negate = !negate;
            self.skip_blanks();
        }
        if self.reserved(b"time") {
            return self.lacking("time");
        }
        let mut stages = Vec::new();
        loop {
            let command = self.command()?;
            self.skip_blanks();
            let both = self.looks_at(b"|&");
            if self.peek() != Some(b'|') || self.looks_at(b"||") {
                stages.push((command, false));
                return Ok(Pipeline { negate, stages });
            }
            self.at += if both { 2 } else { 1 };
            stages.push((command, both));
            self.skip_newlines()?;
        }
    }

    fn command(&mut self) -> Parsed<Command> {
        self.skip_blanks();
        let line = self.line();
        let kind = self.nested(|parser| match parser.peek() {
            None => Err(parser.unexpected()),
            Some(b'(') => parser.parenthesis().map(Some),
            Some(_) => parser.keyword(),
        })?;
        let Some(kind) = kind else { return self.simple(line) };
        let mut redirects = Vec::new();
        if !matches!(kind, Kind::Function { .. }) {
            self.skip_blanks();
            while let Some(redirect) = self.redirect()? {
                redirects.push(redirect);
                self.skip_blanks();
            }
        }
        Ok(Command { line, redirects, kind })
    }

    fn parenthesis(&mut self) -> Parsed<Kind> {
        if self.looks_at(b"((") {
            let start = self.at;
            self.at += 2;
            if let Some(word) = self.arithmetic_text()? {
                return Ok(Kind::Arith(word));
            }
            self.at = start;
        }
        self.at += 1;
        let list = self.body()?;
        if self.accept(b")") { Ok(Kind::Subshell(list)) } else { Err(self.unexpected()) }
    }

    fn keyword(&mut self) -> Parsed<Option<Kind>> {
        if self.reserved(b"{") {
            let list = self.body()?;
            self.need(b"}")?;
            return Ok(Some(Kind::Group(list)));
        }
        if self.reserved(b"if") {
            return self.conditional().map(Some);
        }
        for (word, until) in [(b"while" as &[u8], false), (b"until", true)] {
            if self.reserved(word) {
                let condition = self.body()?;
                let body = self.do_body()?;
                return Ok(Some(Kind::While { until, condition, body }));
            }
        }
        if self.reserved(b"for") {
            return self.for_loop().map(Some);
        }
        if self.reserved(b"case") {
            return self.case().map(Some);
        }
        if self.reserved(b"[[") {
            let test = self.test_any()?;
            self.skip_newlines()?;
            return if self.reserved(b"]]") { Ok(Some(Kind::Test(test))) } else { Err(self.unexpected()) };
        }
        if self.reserved(b"function") {
            self.skip_blanks();
            let name = self.plain_token();
            self.skip_blanks();
            if self.accept(b"(") {
                self.skip_blanks();
                self.accept(b")");
            }
            return self.function(name).map(Some);
        }
        if self.at_reserved(b"select") || self.at_reserved(b"coproc") {
            return self.lacking("select, coproc");
        }
        if CLOSERS.iter().any(|word| self.at_reserved(word)) {
            return Err(self.unexpected());
        }
        Ok(None)
    }

    fn plain_token(&mut self) -> Vec<u8> {
        let start = self.at;
        while self.peek().is_some_and(|byte| !is_meta(byte)) {
            self.at += 1;
        }
        self.text[start..self.at].to_vec()
    }

    pub(crate) fn function(&mut self, name: Vec<u8>) -> Parsed<Kind> {
        self.skip_newlines()?;
        let body = self.command()?;
        if matches!(body.kind, Kind::Simple { .. }) {
            return Err(self.unexpected());
        }
        Ok(Kind::Function { name, body: Rc::new(body) })
    }

    fn conditional(&mut self) -> Parsed<Kind> {
        let mut arms = Vec::new();
        loop {
            let condition = self.body()?;
            self.need(b"then")?;
            arms.push((condition, self.body()?));
            self.skip_newlines()?;
            if self.reserved(b"elif") {
                continue;
            }
            let other = if self.reserved(b"else") { Some(self.body()?) } else { None };
            self.need(b"fi")?;
            return Ok(Kind::If { arms, other });
        }
    }

    fn do_body(&mut self) -> Parsed<List> {
        self.need(b"do")?;
        let body = self.body()?;
        self.need(b"done")?;
        Ok(body)
    }

    fn for_loop(&mut self) -> Parsed<Kind> {
        self.skip_blanks();
        if self.accept(b"((") {
            return self.counted_for();
        }
        let name = self.plain_token();
        if !is_name(&name) {
            return self.fault(&format!("`{}': not a valid identifier", String::from_utf8_lossy(&name)));
        }
        self.skip_newlines()?;
        let words = if self.reserved(b"in") {
            let mut words = Vec::new();
            self.skip_blanks();
            while self.peek().is_some_and(|byte| !is_meta(byte)) || self.looks_at(b"<(") {
                words.push(self.word()?);
                self.skip_blanks();
            }
            Some(words)
        } else {
            None
        };
        self.skip_blanks();
        self.accept(b";");
        let body = self.do_body()?;
        Ok(Kind::For { name, words, body })
    }

    fn counted_for(&mut self) -> Parsed<Kind> {
        let start = self.at;
        if self.arithmetic_text()?.is_none() {
            return Err(self.unexpected());
        }
        let text = self.text[start..self.at - 2].to_vec();
        let line = self.line();
        let mut pieces = Vec::new();
        for piece in text.split(|byte| *byte == b';') {
            pieces.push(Parser::new(piece, line, self.deeper_limit()).double_quoted(None)?);
        }
        let Ok([from, condition, step]) = <[Word; 3]>::try_from(pieces) else {
            return self.fault("syntax error: arithmetic expression required");
        };
        self.skip_blanks();
        self.accept(b";");
        self.skip_newlines()?;
        let body = if self.reserved(b"{") {
            let body = self.body()?;
            self.need(b"}")?;
            body
        } else {
            self.do_body()?
        };
        Ok(Kind::CountedFor { start: from, condition, step, body })
    }

    fn case(&mut self) -> Parsed<Kind> {
        self.skip_blanks();
        let word = self.word()?;
        self.need(b"in")?;
        let mut arms = Vec::new();
        loop {
            self.skip_newlines()?;
            if self.reserved(b"esac") {
                return Ok(Kind::Case { word, arms });
            }
            self.accept(b"(");
            let mut patterns = Vec::new();
            loop {
                self.skip_blanks();
                let pattern = self.word()?;
                if pattern.is_empty() {
                    return Err(self.unexpected());
                }
                patterns.push(pattern);
                self.skip_blanks();
                if self.accept(b"|") {
                    continue;
                }
                if self.accept(b")") {
                    break;
                }
                return Err(self.unexpected());
            }
            let body = self.list()?;
            self.skip_newlines()?;
            let end = if self.accept(b";;&") {
                ArmEnd::TestNext
            } else if self.accept(b";&") {
                ArmEnd::FallThrough
            } else if self.accept(b";;") || self.at_reserved(b"esac") {
                ArmEnd::Leave
            } else {
                return Err(self.unexpected());
            };
            arms.push(CaseArm { patterns, body, end });
        }
    }
}
