//! Parses words: quotes, parameters, command substitutions, arithmetic.

use super::ast::{Anchor, Index, List, Param, ParamOp, Part, Word};
use super::parse::{Fault, Parsed, Parser, is_meta, is_name_byte, is_name_start, script};
use std::rc::Rc;

fn bare(word: &mut Word, byte: u8) {
    if let Some(Part::Bare(text)) = word.last_mut() {
        text.push(byte);
    } else {
        word.push(Part::Bare(vec![byte]));
    }
}

fn quoted(word: &mut Word, bytes: &[u8]) {
    if let Some(Part::Quoted(text)) = word.last_mut() {
        text.extend_from_slice(bytes);
    } else {
        word.push(Part::Quoted(bytes.to_vec()));
    }
}

/// What `$'…'`, `echo -e` and `printf` make of the text behind a backslash: the bytes, and how much was read.
pub(crate) fn escape(rest: &[u8], octal_needs_zero: bool) -> Option<(Vec<u8>, usize)> {
    let digits = |from: usize, most: usize, radix: u32| -> (u32, usize) {
        let mut value = 0u32;
        let mut read = 0;
        while let Some(digit) = rest.get(from + read).and_then(|byte| char::from(*byte).to_digit(radix)) {
            if read == most {
                break;
            }
            value = value.wrapping_mul(radix).wrapping_add(digit);
            read += 1;
        }
        (value, read)
    };
    let unicode = |most: usize| -> Option<(Vec<u8>, usize)> {
        let (value, read) = digits(1, most, 16);
        let letter = char::from_u32(value).filter(|_| read > 0)?;
        Some((letter.to_string().into_bytes(), 1 + read))
    };
    let simple = |byte: u8| Some((vec![byte], 1));
    match *rest.first()? {
        b'n' => simple(b'\n'),
        b't' => simple(b'\t'),
        b'r' => simple(b'\r'),
        b'a' => simple(7),
        b'b' => simple(8),
        b'e' | b'E' => simple(27),
        b'f' => simple(12),
        b'v' => simple(11),
        b'\\' => simple(b'\\'),
        b'x' => {
            let (value, read) = digits(1, 2, 16);
            (read > 0).then(|| (vec![value.to_le_bytes()[0]], 1 + read))
        }
        b'u' => unicode(4),
        b'U' => unicode(8),
        b'0' if octal_needs_zero => {
            let (value, read) = digits(1, 3, 8);
            Some((vec![value.to_le_bytes()[0]], 1 + read))
        }
        b'0'..=b'7' if !octal_needs_zero => {
            let (value, read) = digits(0, 3, 8);
            Some((vec![value.to_le_bytes()[0]], read))
        }
        _ => None,
    }
}

impl Parser<'_> {
    /// One word, up to a blank or a metacharacter.
    pub(crate) fn word(&mut self) -> Parsed<Word> {
        self.word_until(&|byte| is_meta(byte))
    }

    /// A word up to an unquoted `end`, which is passed.
    pub(crate) fn until_byte(&mut self, end: u8) -> Parsed<Word> {
        let word = self.word_until(&|byte| byte == end)?;
        if self.peek() == Some(end) {
            self.at += 1;
            return Ok(word);
        }
        self.fault(&format!("unexpected EOF while looking for matching `{}'", char::from(end)))
    }

    pub(crate) fn word_until(&mut self, ends: &dyn Fn(u8) -> bool) -> Parsed<Word> {
        let mut word = Word::new();
        while let Some(byte) = self.peek() {
            let process = (byte == b'<' || byte == b'>') && self.peek_at(1) == Some(b'(');
            if process && word.is_empty() {
                if byte == b'>' {
                    return self.lacking(">( )");
                }
                self.at += 2;
                let list = self.substituted()?;
                word.push(Part::Process(Rc::new(list)));
                continue;
            }
            if ends(byte) {
                break;
            }
            match byte {
                b'\'' => {
                    self.at += 1;
                    let text = self.single_quoted()?;
                    quoted(&mut word, &text);
                }
                b'"' => {
                    self.at += 1;
                    let inner = self.nested(|parser| parser.double_quoted(Some(b'"')))?;
                    quoted(&mut word, b"");
                    word.extend(inner);
                }
                b'\\' => {
                    self.at += 1;
                    match self.peek() {
                        Some(b'\n') => {}
                        Some(next) => quoted(&mut word, &[next]),
                        None => bare(&mut word, b'\\'),
                    }
                    self.at += 1;
                }
                b'$' => self.dollar(&mut word, false)?,
                b'`' => self.backticks(&mut word, false)?,
                _ => {
                    bare(&mut word, byte);
                    self.at += 1;
                }
            }
        }
        self.at = self.at.min(self.text.len());
        Ok(word)
    }

    fn single_quoted(&mut self) -> Parsed<Vec<u8>> {
        let start = self.at;
        while let Some(byte) = self.peek() {
            self.at += 1;
            if byte == b'\'' {
                return Ok(self.text[start..self.at - 1].to_vec());
            }
        }
        self.fault("unexpected EOF while looking for matching `''")
    }

    /// Text in which only `$`, backticks and some backslashes count, up to `end` (passed) or to the end of the text.
    pub(crate) fn double_quoted(&mut self, end: Option<u8>) -> Parsed<Word> {
        let mut word = Word::new();
        loop {
            match self.peek() {
                None if end.is_none() => return Ok(word),
                None => return self.fault("unexpected EOF while looking for matching `\"'"),
                Some(byte) if Some(byte) == end => {
                    self.at += 1;
                    return Ok(word);
                }
                Some(b'\\') => {
                    self.at += 1;
                    match self.peek() {
                        Some(b'\n') => self.at += 1,
                        Some(next) if b"$`\\".contains(&next) || Some(next) == end => {
                            quoted(&mut word, &[next]);
                            self.at += 1;
                        }
                        _ => quoted(&mut word, b"\\"),
                    }
                }
                Some(b'$') => self.dollar(&mut word, true)?,
                Some(b'`') => self.backticks(&mut word, true)?,
                Some(byte) => {
                    quoted(&mut word, &[byte]);
                    self.at += 1;
                }
            }
        }
    }

    fn backticks(&mut self, word: &mut Word, in_quotes: bool) -> Parsed<()> {
        let line = self.line();
        self.at += 1;
        let mut inner = Vec::new();
        loop {
            match self.peek() {
                None => return self.fault("unexpected EOF while looking for matching ``'"),
                Some(b'`') => break,
                Some(b'\\') if self.peek_at(1).is_some_and(|byte| b"$`\\".contains(&byte)) => {
                    inner.extend(self.peek_at(1));
                    self.at += 1;
                }
                Some(byte) => inner.push(byte),
            }
            self.at += 1;
        }
        self.at += 1;
        let list = script(&inner, line, self.deeper_limit())?;
        word.push(Part::Command { list: Rc::new(list), quoted: in_quotes });
        Ok(())
    }

    /// The commands up to a closing parenthesis, which is passed.
    fn substituted(&mut self) -> Parsed<List> {
        let list = self.list()?;
        self.skip_newlines()?;
        if self.accept(b")") {
            return Ok(list);
        }
        if self.peek().is_none() {
            return self.fault("unexpected EOF while looking for matching `)'");
        }
        Err(self.unexpected())
    }

    fn dollar(&mut self, word: &mut Word, in_quotes: bool) -> Parsed<()> {
        self.at += 1;
        let plain = |name: Vec<u8>| Part::Param {
            param: Box::new(Param { name, index: None, op: ParamOp::Plain }),
            quoted: in_quotes,
        };
        match self.peek() {
            Some(b'(') => {
                if self.peek_at(1) == Some(b'(') {
                    let start = self.at;
                    self.at += 2;
                    if let Some(inner) = self.nested(Parser::arithmetic_text)? {
                        word.push(Part::Arith { word: inner, quoted: in_quotes });
                        return Ok(());
                    }
                    self.at = start;
                }
                self.at += 1;
                let list = self.substituted()?;
                word.push(Part::Command { list: Rc::new(list), quoted: in_quotes });
            }
            Some(b'{') => {
                self.at += 1;
                let param = self.nested(Parser::parameter)?;
                word.push(Part::Param { param: Box::new(param), quoted: in_quotes });
            }
            Some(byte) if is_name_start(byte) => {
                let start = self.at;
                while self.peek().is_some_and(is_name_byte) {
                    self.at += 1;
                }
                word.push(plain(self.text[start..self.at].to_vec()));
            }
            Some(byte) if byte.is_ascii_digit() || b"?#@*!$-".contains(&byte) => {
                self.at += 1;
                word.push(plain(vec![byte]));
            }
            Some(b'\'') if !in_quotes => {
                self.at += 1;
                let text = self.ansi_quoted()?;
                quoted(word, &text);
            }
            Some(b'"') if !in_quotes => {}
            _ if in_quotes => quoted(word, b"$"),
            _ => bare(word, b'$'),
        }
        Ok(())
    }

    fn ansi_quoted(&mut self) -> Parsed<Vec<u8>> {
        let mut text = Vec::new();
        loop {
            match self.peek() {
                None => return self.fault("unexpected EOF while looking for matching `''"),
                Some(b'\'') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => {
                    self.at += 1;
                    let rest = self.text.get(self.at..).unwrap_or_default();
                    if let Some((bytes, read)) = escape(rest, false) {
                        text.extend(bytes);
                        self.at += read;
                    } else if let Some(next) = self.peek() {
                        if !b"'\"?".contains(&next) {
                            text.push(b'\\');
                        }
                        text.push(next);
                        self.at += 1;
                    }
                }
                Some(byte) => {
                    text.push(byte);
                    self.at += 1;
                }
            }
        }
    }

    /// The text of `(( … ))` after its opening, closing passed; nothing if it is no arithmetic after all.
    pub(crate) fn arithmetic_text(&mut self) -> Parsed<Option<Word>> {
        let mut word = Word::new();
        let mut open = 0usize;
        while let Some(byte) = self.peek() {
            match byte {
                b'(' => open += 1,
                b')' if open > 0 => open -= 1,
                b')' => {
                    if self.peek_at(1) == Some(b')') {
                        self.at += 2;
                        return Ok(Some(word));
                    }
                    return Ok(None);
                }
                b'$' => {
                    self.dollar(&mut word, true)?;
                    continue;
                }
                b'`' => {
                    self.backticks(&mut word, true)?;
                    continue;
                }
                b'"' | b'\'' => {
                    self.at += 1;
                    continue;
                }
                _ => {}
            }
            quoted(&mut word, &[byte]);
            self.at += 1;
        }
        Ok(None)
    }

    /// What stands in `${…}`, the closing brace passed.
    fn parameter(&mut self) -> Parsed<Param> {
        let start = self.at;
        let mut before = ParamOp::Plain;
        let next = self.peek_at(1);
        if self.peek() == Some(b'#')
            && next.is_some_and(|byte| is_name_byte(byte) || b"@*?".contains(&byte) || byte == b'#')
            && !(next == Some(b'#') && self.peek_at(2) != Some(b'}'))
        {
            before = ParamOp::Length;
            self.at += 1;
        } else if self.peek() == Some(b'!') && next.is_some_and(is_name_byte) {
            before = ParamOp::Indirect;
            self.at += 1;
        }
        let name = self.parameter_name(start)?;
        let mut index = None;
        if self.peek() == Some(b'[') {
            self.at += 1;
            index = Some(if self.accept(b"@]") {
                Index::All
            } else if self.accept(b"*]") {
                Index::Joined
            } else {
                Index::At(self.until_byte(b']')?)
            });
        }
        if self.accept(b"}") {
            return Ok(Param { name, index, op: before });
        }
        if matches!(before, ParamOp::Indirect) {
            return self.lacking("${!prefix*} and ${!name…}");
        }
        if matches!(before, ParamOp::Length) {
            return self.bad_substitution(start);
        }
        let op = self.parameter_op(start)?;
        Ok(Param { name, index, op })
    }

    fn bad_substitution<T>(&mut self, start: usize) -> Parsed<T> {
        let rest = &self.text[start..];
        let end = rest.iter().position(|byte| *byte == b'}').unwrap_or(rest.len());
        let message = format!("${{{}}}: bad substitution", String::from_utf8_lossy(&rest[..end]));
        self.fault(&message)
    }

    fn parameter_name(&mut self, start: usize) -> Parsed<Vec<u8>> {
        let from = self.at;
        match self.peek() {
            Some(byte) if is_name_start(byte) => {
                while self.peek().is_some_and(is_name_byte) {
                    self.at += 1;
                }
            }
            Some(byte) if byte.is_ascii_digit() => {
                while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
                    self.at += 1;
                }
            }
            Some(byte) if b"?#@*!$-".contains(&byte) => self.at += 1,
            _ => return self.bad_substitution(start),
        }
        Ok(self.text[from..self.at].to_vec())
    }

    fn until_brace(&mut self) -> Parsed<Word> {
        self.until_byte(b'}')
    }

    fn parameter_op(&mut self, start: usize) -> Parsed<ParamOp> {
        let colon = self.looks_at(b":") && self.peek_at(1).is_some_and(|byte| b"-=?+".contains(&byte));
        if colon {
            self.at += 1;
        }
        let Some(op) = self.peek() else { return self.bad_substitution(start) };
        self.at += 1;
        Ok(match op {
            b'-' | b'=' | b'?' | b'+' => ParamOp::Absent { op, colon, word: self.until_brace()? },
            b'#' | b'%' => {
                let longest = self.accept(&[op]);
                ParamOp::Trim { suffix: op == b'%', longest, pattern: self.until_brace()? }
            }
            b'/' => self.replacement()?,
            b':' => {
                let offset = self.word_until(&|byte| byte == b':' || byte == b'}')?;
                let length = if self.accept(b":") {
                    Some(self.until_brace()?)
                } else if self.accept(b"}") {
                    None
                } else {
                    return self.bad_substitution(start);
                };
                ParamOp::Slice { offset, length }
            }
            b'^' | b',' => {
                let all = self.accept(&[op]);
                if !self.accept(b"}") {
                    return self.lacking("${x^pattern}");
                }
                ParamOp::Case { upper: op == b'^', all }
            }
            b'@' => return self.lacking("${x@…}"),
            _ => return self.bad_substitution(start),
        })
    }

    fn replacement(&mut self) -> Parsed<ParamOp> {
        let all = self.accept(b"/");
        let anchor = if all {
            Anchor::Anywhere
        } else if self.accept(b"#") {
            Anchor::Start
        } else if self.accept(b"%") {
            Anchor::End
        } else {
            Anchor::Anywhere
        };
        let pattern = self.word_until(&|byte| byte == b'/' || byte == b'}')?;
        let with = if self.accept(b"/") {
            self.until_brace()?
        } else {
            match self.until_brace() {
                Ok(_) => Word::new(),
                Err(Fault::Syntax(..)) => return self.fault("unexpected EOF while looking for matching `}'"),
                Err(other) => return Err(other),
            }
        };
        Ok(ParamOp::Replace { all, anchor, pattern, with })
    }
}
