//! Parses simple commands: assignments, words, redirections.

use super::ast::{Assign, Assigned, Command, Kind, Part, Redirect, RedirectOp, Word};
use super::parse::{Fault, Parsed, Parser, Pending, is_meta, is_name_byte, is_name_start};
use std::cell::OnceCell;
use std::rc::Rc;

impl Parser<'_> {
    pub(crate) fn simple(&mut self, line: usize) -> Parsed<Command> {
        let (mut assigns, mut words, mut redirects) = (Vec::new(), Vec::<Word>::new(), Vec::new());
        let mut declares = false;
        loop {
            self.skip_blanks();
            if let Some(redirect) = self.redirect()? {
                redirects.push(redirect);
                continue;
            }
            if self.looks_at(b"(")
                && words.len() == 1
                && assigns.is_empty()
                && redirects.is_empty()
                && let [Part::Bare(name)] = words[0].as_slice()
            {
                let name = name.clone();
                self.at += 1;
                self.skip_blanks();
                if !self.accept(b")") {
                    return Err(self.unexpected());
                }
                let kind = self.nested(|parser| parser.function(name))?;
                return Ok(Command { line, redirects, kind });
            }
            if self.peek().is_none_or(is_meta) && !self.looks_at(b"<(") {
                break;
            }
            if (words.is_empty() || declares)
                && let Some(assign) = self.assignment()?
            {
                if declares {
                    words.push(vec![Part::Assign(Box::new(assign))]);
                } else {
                    assigns.push(assign);
                }
                continue;
            }
            let word = self.word()?;
            if words.is_empty() {
                let declarers: [&[u8]; 5] = [b"declare", b"local", b"export", b"readonly", b"typeset"];
                declares = matches!(word.as_slice(), [Part::Bare(name)] if declarers.contains(&name.as_slice()));
            }
            words.push(word);
        }
        if words.is_empty() && assigns.is_empty() && redirects.is_empty() {
            return Err(self.unexpected());
        }
        Ok(Command { line, redirects, kind: Kind::Simple { assigns, words } })
    }

    fn assignment(&mut self) -> Parsed<Option<Assign>> {
        let start = self.at;
        if !self.peek().is_some_and(is_name_start) {
            return Ok(None);
        }
        while self.peek().is_some_and(is_name_byte) {
            self.at += 1;
        }
        let name = self.text[start..self.at].to_vec();
        let index = if self.peek() == Some(b'[') {
            self.at += 1;
            match self.until_byte(b']') {
                Ok(word) => Some(word),
                Err(Fault::Syntax(..)) => {
                    self.at = start;
                    return Ok(None);
                }
                Err(other) => return Err(other),
            }
        } else {
            None
        };
        let append = self.accept(b"+=");
        if !append && !self.accept(b"=") {
            self.at = start;
            return Ok(None);
        }
        let value = if index.is_none() && self.accept(b"(") {
            Assigned::Array(self.array()?)
        } else if self.peek().is_none_or(is_meta) && !self.looks_at(b"<(") {
            Assigned::Text(Word::new())
        } else {
            Assigned::Text(self.word()?)
        };
        Ok(Some(Assign { name, index, append, value }))
    }

    fn array(&mut self) -> Parsed<Vec<(Option<Word>, Word)>> {
        let mut items = Vec::new();
        loop {
            self.skip_newlines()?;
            if self.accept(b")") {
                return Ok(items);
            }
            let start = self.at;
            if self.accept(b"[") {
                let index = self.until_byte(b']')?;
                if self.accept(b"=") {
                    let value = if self.peek().is_none_or(is_meta) { Word::new() } else { self.word()? };
                    items.push((Some(index), value));
                    continue;
                }
                self.at = start;
            }
            if self.peek().is_none_or(is_meta) {
                return Err(self.unexpected());
            }
            items.push((None, self.word()?));
        }
    }

    pub(crate) fn redirect(&mut self) -> Parsed<Option<Redirect>> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        let digits = &self.text[start..self.at];
        let given = std::str::from_utf8(digits).ok().and_then(|text| text.parse::<u32>().ok());
        let ops: [(&[u8], RedirectOp, u32); 11] = [
            (b"<<<", RedirectOp::HereString, 0),
            (b"<<", RedirectOp::HereDocument, 0),
            (b"<&", RedirectOp::Duplicate, 0),
            (b"<>", RedirectOp::ReadWrite, 0),
            (b"<", RedirectOp::Read, 0),
            (b"&>>", RedirectOp::BothAppend, 1),
            (b"&>", RedirectOp::Both, 1),
            (b">>", RedirectOp::Append, 1),
            (b">&", RedirectOp::Duplicate, 1),
            (b">|", RedirectOp::Write, 1),
            (b">", RedirectOp::Write, 1),
        ];
        let process = self.looks_at(b"<(") || self.looks_at(b">(");
        let found = ops.into_iter().find(|(token, ..)| self.looks_at(token)).filter(|_| !process);
        let Some((token, op, usual)) = found.filter(|(token, ..)| start == self.at || token[0] != b'&') else {
            self.at = start;
            return Ok(None);
        };
        self.at += token.len();
        let strip_tabs = op == RedirectOp::HereDocument && self.accept(b"-");
        self.skip_blanks();
        if self.peek().is_none_or(is_meta) && !self.looks_at(b"<(") {
            return Err(self.unexpected());
        }
        let word = self.word()?;
        let body = Rc::new(OnceCell::new());
        if op == RedirectOp::HereDocument {
            let literal = word.iter().any(|part| matches!(part, Part::Quoted(_)));
            let mut delimiter = Vec::new();
            for part in &word {
                if let Part::Bare(text) | Part::Quoted(text) = part {
                    delimiter.extend_from_slice(text);
                }
            }
            self.pending.push(Pending { delimiter, strip_tabs, literal, body: Rc::clone(&body) });
        }
        Ok(Some(Redirect { fd: given.unwrap_or(usual), op, word, body }))
    }
}
