//! Parses what stands between `[[` and `]]`.

use super::ast::{Part, Test, Word};
use super::parse::{Parsed, Parser, is_meta};

const BINARY: &[&[u8]] =
    &[b"==", b"=~", b"!=", b"=", b"-eq", b"-ne", b"-lt", b"-le", b"-gt", b"-ge", b"-nt", b"-ot", b"-ef", b"<", b">"];

impl Parser<'_> {
    pub(crate) fn test_any(&mut self) -> Parsed<Test> {
        self.nested(|parser| {
            let mut tests = vec![parser.test_all()?];
            loop {
                parser.skip_newlines()?;
                if !parser.accept(b"||") {
                    break;
                }
                tests.push(parser.test_all()?);
            }
            Ok(if tests.len() == 1 { tests.remove(0) } else { Test::Any(tests) })
        })
    }

    fn test_all(&mut self) -> Parsed<Test> {
        let mut tests = vec![self.test_one()?];
        loop {
            self.skip_newlines()?;
            if !self.accept(b"&&") {
                break;
            }
            tests.push(self.test_one()?);
        }
        Ok(if tests.len() == 1 { tests.remove(0) } else { Test::All(tests) })
    }

    fn test_one(&mut self) -> Parsed<Test> {
        self.skip_newlines()?;
        if self.looks_at(b"!") && self.peek_at(1).is_none_or(is_meta) {
            self.at += 1;
            return self.nested(|parser| Ok(Test::Not(Box::new(parser.test_one()?))));
        }
        if self.accept(b"(") {
            let test = self.test_any()?;
            self.skip_newlines()?;
            return if self.accept(b")") { Ok(test) } else { Err(self.unexpected()) };
        }
        if self.peek().is_none_or(is_meta) {
            return Err(self.unexpected());
        }
        let first = self.word()?;
        self.skip_newlines()?;
        if let [Part::Bare(op)] = first.as_slice() {
            let unary = op.len() == 2 && op[0] == b'-' && b"abcdefghknoprstuvwxzGLNOS".contains(&op[1]);
            let ends = self.looks_at(b"]]") || self.looks_at(b"&&") || self.looks_at(b"||") || self.looks_at(b")");
            if unary && !ends && self.binary_ahead().is_none() {
                return Ok(Test::Unary(op.clone(), self.word()?));
            }
        }
        let Some(op) = self.binary_ahead() else { return Ok(Test::Word(first)) };
        self.at += op.len();
        self.skip_blanks();
        let second = if op == b"=~" { self.regex_word()? } else { self.word()? };
        Ok(Test::Binary(first, op.to_vec(), second))
    }

    fn binary_ahead(&self) -> Option<&'static [u8]> {
        let follows =
            |op: &&&[u8]| self.looks_at(op) && self.peek_at(op.len()).is_none_or(|byte| b" \t\n".contains(&byte));
        BINARY.iter().find(follows).copied()
    }

    /// A regular expression ends at a blank outside its parentheses.
    fn regex_word(&mut self) -> Parsed<Word> {
        let mut word = Word::new();
        let mut open = 0usize;
        while let Some(byte) = self.peek() {
            match byte {
                b' ' | b'\t' | b'\n' if open == 0 => break,
                b')' if open == 0 => break,
                b'(' => open += 1,
                b')' => open -= 1,
                b'\\' => {
                    // The backslash belongs to the expression.
                    let end = (self.at + 2).min(self.text.len());
                    word.push(Part::Bare(self.text[self.at..end].to_vec()));
                    self.at = end;
                    continue;
                }
                b'\'' | b'"' | b'$' | b'`' => {
                    let before = self.at;
                    let ends = |byte: u8| byte != b'\'' && byte != b'"' && byte != b'$' && byte != b'`';
                    word.extend(self.word_until(&ends)?);
                    if self.at > before {
                        continue;
                    }
                }
                _ => {}
            }
            word.push(Part::Bare(vec![byte]));
            self.at += 1;
        }
        Ok(word)
    }
}
