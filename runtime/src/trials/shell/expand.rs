//! Expands words: tilde, parameters, commands, arithmetic, then fields, then the names of files.

use super::arith::{self, Scope};
use super::ast::{Assign, Assigned, Index, List, ParamOp, Part, Word};
use super::files::join;
use super::pattern::{Pattern, is_pattern};
use super::state::{Flow, Run, Shell, Stream, Value, show};
use std::cell::RefCell;
use std::rc::Rc;

/// A field in the making: its bytes, and for each whether a glob may see it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Field {
    pub(crate) text: Vec<u8>,
    pub(crate) active: Vec<bool>,
}

impl Field {
    fn push(&mut self, bytes: &[u8], active: bool) {
        self.text.extend_from_slice(bytes);
        self.active.resize(self.text.len(), active);
    }
}

/// Gathers the fields of a word.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    done: Vec<Field>,
    now: Option<Field>,
    /// Are unquoted values split? Not in assignments and the like.
    split: bool,
    ifs: Vec<u8>,
}

impl Fields {
    pub(crate) fn quoted(&mut self, bytes: &[u8]) {
        self.now.get_or_insert_default().push(bytes, false);
    }

    fn bare(&mut self, bytes: &[u8]) {
        self.now.get_or_insert_default().push(bytes, true);
    }

    pub(crate) fn end_field(&mut self) {
        self.done.extend(self.now.take());
    }

    /// An unquoted value: parted at the bytes of `IFS`.
    fn value(&mut self, bytes: &[u8]) {
        if !self.split {
            return self.bare(bytes);
        }
        let mut at = 0;
        while at < bytes.len() {
            let byte = bytes[at];
            if !self.ifs.contains(&byte) {
                let length = bytes[at..].iter().position(|byte| self.ifs.contains(byte)).unwrap_or(bytes.len() - at);
                self.now.get_or_insert_default().push(&bytes[at..at + length], true);
                at += length;
                continue;
            }
            let blank = |byte: &u8| byte.is_ascii_whitespace();
            let mut hard = 0;
            while at < bytes.len() && self.ifs.contains(&bytes[at]) {
                if !blank(&bytes[at]) {
                    hard += 1;
                    if hard > 1 || self.now.is_none() {
                        break;
                    }
                }
                at += 1;
            }
            if hard > 0 && self.now.is_none() {
                // A separator with nothing before it makes an empty field.
                self.now = Some(Field::default());
                at += usize::from(at < bytes.len() && !blank(&bytes[at]));
            }
            self.end_field();
        }
    }

    pub(crate) fn value_in(&mut self, bytes: &[u8], in_quotes: bool) {
        if in_quotes { self.quoted(bytes) } else { self.value(bytes) }
    }
}

impl Scope for Shell {
    fn get(&mut self, name: &[u8], index: Option<&[u8]>) -> Vec<u8> {
        match index {
            None => self.lookup(name).unwrap_or_default(),
            Some(index) => self.element(name, index).ok().flatten().unwrap_or_default(),
        }
    }

    fn set(&mut self, name: &[u8], index: Option<&[u8]>, value: i64) -> Result<(), String> {
        let text = value.to_string().into_bytes();
        let done = match index {
            None => self.assign(name, text).map(|_| ()),
            Some(index) => self.assign_element(name, index, text, false),
        };
        done.map_err(|_| format!("{}: cannot assign", show(name)))
    }
}

impl Shell {
    fn fields(&self, split: bool) -> Fields {
        let ifs = self.text_of(b"IFS").unwrap_or_else(|| b" \t\n".to_vec());
        Fields { split, ifs, ..Fields::default() }
    }

    pub(crate) fn arithmetic(&mut self, text: &[u8]) -> Run<i64> {
        self.charge(1 + text.len() as u64 / 8)?;
        match arith::evaluate(text, self, 0) {
            Ok(value) => Ok(value),
            Err(message) => {
                self.complain(&message)?;
                Err(Flow::Abandon)
            }
        }
    }

    pub(crate) fn arithmetic_word(&mut self, word: &Word) -> Run<i64> {
        let text = self.expand_text(word)?;
        self.arithmetic(&text)
    }

    /// The arguments that words become.
    pub(crate) fn expand_words(&mut self, words: &[Word]) -> Run<Vec<Vec<u8>>> {
        let mut arguments = Vec::new();
        for word in words {
            for word in self.braces(word)? {
                if let [Part::Assign(assign)] = word.as_slice() {
                    arguments.push(self.assign_argument(assign)?);
                    continue;
                }
                let mut fields = self.fields(true);
                self.expand_into(&word, &mut fields)?;
                fields.end_field();
                for field in fields.done {
                    self.charge(1 + field.text.len() as u64 / 32)?;
                    self.glob_field(field, &mut arguments)?;
                }
            }
        }
        Ok(arguments)
    }

    fn assign_argument(&mut self, assign: &Assign) -> Run<Vec<u8>> {
        let mut text = assign.name.clone();
        if let Assigned::Text(word) = &assign.value {
            text.extend_from_slice(if assign.append { b"+=" } else { b"=" });
            text.extend(self.expand_assigned(word)?);
        }
        Ok(text)
    }

    /// A word that is one text: no fields, no names of files.
    pub(crate) fn expand_text(&mut self, word: &Word) -> Run<Vec<u8>> {
        Ok(self.expand_field(word)?.text)
    }

    /// The value of an assignment, in which a tilde behind a colon counts too.
    pub(crate) fn expand_assigned(&mut self, word: &Word) -> Run<Vec<u8>> {
        self.expand_text(word)
    }

    fn expand_field(&mut self, word: &Word) -> Run<Field> {
        let mut fields = self.fields(false);
        self.expand_into(word, &mut fields)?;
        fields.end_field();
        let mut whole = Field::default();
        for (at, field) in fields.done.into_iter().enumerate() {
            if at > 0 {
                whole.push(b" ", false);
            }
            whole.text.extend(field.text);
            whole.active.extend(field.active);
        }
        self.charge_bytes(whole.text.len())?;
        Ok(whole)
    }

    pub(crate) fn expand_pattern(&mut self, word: &Word) -> Run<Pattern> {
        let field = self.expand_field(word)?;
        Ok(Pattern::new(&field.text, &field.active))
    }

    /// A regular expression: what was quoted means only itself.
    pub(crate) fn expand_regex(&mut self, word: &Word) -> Run<Vec<u8>> {
        let field = self.expand_field(word)?;
        let mut text = Vec::new();
        for (byte, active) in field.text.iter().zip(&field.active) {
            if !active && b"\\.[]{}()*+?^$|".contains(byte) {
                text.push(b'\\');
            }
            text.push(*byte);
        }
        Ok(text)
    }

    pub(crate) fn expand_into(&mut self, word: &Word, fields: &mut Fields) -> Run<()> {
        for (at, part) in word.iter().enumerate() {
            self.charge(1)?;
            match part {
                Part::Bare(text) if at == 0 && text.first() == Some(&b'~') => {
                    let end = text.iter().position(|byte| *byte == b'/').unwrap_or(text.len());
                    let whole = end < text.len() || word.len() == 1;
                    match self.tilde(&text[1..end]).filter(|_| whole) {
                        Some(home) => {
                            fields.quoted(&home);
                            fields.bare(&text[end..]);
                        }
                        None => fields.bare(text),
                    }
                }
                Part::Bare(text) => fields.bare(text),
                Part::Quoted(text) => {
                    // `"$@"` without parameters is no field at all, not an empty one.
                    let before_all = text.is_empty() && word.iter().any(is_all);
                    if !before_all {
                        fields.quoted(text);
                    }
                }
                Part::Param { param, quoted } => {
                    self.nested(|shell| shell.expand_param(param, *quoted, fields))?;
                }
                Part::Command { list, quoted } => {
                    let text = self.substitute(list)?;
                    fields.value_in(&text, *quoted);
                }
                Part::Arith { word, quoted } => {
                    let value = self.nested(|shell| shell.arithmetic_word(word))?;
                    fields.value_in(value.to_string().as_bytes(), *quoted);
                }
                Part::Process(list) => {
                    let name = self.process_file(list)?;
                    fields.quoted(&name);
                }
                Part::Assign(_) => {}
            }
        }
        Ok(())
    }

    fn tilde(&self, name: &[u8]) -> Option<Vec<u8>> {
        match name {
            b"" => self.text_of(b"HOME"),
            b"+" => Some(self.env.cwd.clone()),
            b"-" => self.text_of(b"OLDPWD"),
            b"user" => Some(super::files::HOME.to_vec()),
            _ => None,
        }
    }

    /// What commands print, without the newlines at its end.
    pub(crate) fn substitute(&mut self, list: &Rc<List>) -> Run<Vec<u8>> {
        let bytes = self.captured(list)?;
        let mut text: Vec<u8> = bytes.into_iter().filter(|byte| *byte != 0).collect();
        while text.last() == Some(&b'\n') {
            text.pop();
        }
        Ok(text)
    }

    fn captured(&mut self, list: &Rc<List>) -> Run<Vec<u8>> {
        let buffer = Rc::new(RefCell::new(Stream::Buffer { bytes: Vec::new(), pipe: false }));
        let out = Rc::clone(&buffer);
        self.status = self.subshell(|shell| {
            shell.env.fds.insert(1, out);
            shell.run_list(list)
        })?;
        let mut stream = buffer.borrow_mut();
        Ok(if let Stream::Buffer { bytes, .. } = &mut *stream { std::mem::take(bytes) } else { Vec::new() })
    }

    fn process_file(&mut self, list: &Rc<List>) -> Run<Vec<u8>> {
        let status = self.status;
        let bytes = self.captured(list)?;
        self.status = status;
        self.processes += 1;
        let _ = self.files.mkdir(b"/", b"/dev/fd", 0o755);
        let path = format!("/dev/fd/{}", 63 - self.processes.min(60)).into_bytes();
        if let Ok(id) = self.files.open(b"/", &path, 0o600) {
            self.files.truncate(id, 0);
            self.files.write_at(id, 0, &bytes);
        }
        self.check_files()?;
        Ok(path)
    }

    /// Removes what `<(…)` left behind.
    pub(crate) fn drop_process_files(&mut self, keep: usize) {
        while self.processes > keep {
            let path = format!("/dev/fd/{}", 63 - self.processes.min(60)).into_bytes();
            self.processes -= 1;
            if let Ok(spot) = self.files.walk(b"/", &path, false) {
                let _ = self.files.remove(spot.parent, &spot.name);
            }
        }
        if let Ok(spot) = self.files.walk(b"/", b"/dev/fd", false) {
            let _ = self.files.remove(spot.parent, &spot.name);
        }
    }

    fn glob_field(&mut self, field: Field, arguments: &mut Vec<Vec<u8>>) -> Run<()> {
        if self.env.settings.noglob || !is_pattern(&field.text, &field.active) {
            arguments.push(field.text);
            return Ok(());
        }
        let mut found = self.glob(&field)?;
        if found.is_empty() {
            if !self.env.settings.nullglob {
                arguments.push(field.text);
            }
            return Ok(());
        }
        found.sort();
        arguments.extend(found);
        Ok(())
    }

    /// The paths that a pattern fits.
    fn glob(&mut self, field: &Field) -> Run<Vec<Vec<u8>>> {
        let mut starts: Vec<Vec<u8>> = vec![Vec::new()];
        let mut from = 0;
        while from < field.text.len() && !starts.is_empty() {
            let rest = &field.text[from..];
            let slashes = rest.iter().take_while(|byte| **byte == b'/').count();
            for start in &mut starts {
                start.extend_from_slice(&rest[..slashes]);
            }
            from += slashes;
            let rest = &field.text[from..];
            let length = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
            if length == 0 {
                break;
            }
            let (text, active) = (&rest[..length], &field.active[from..from + length]);
            let last = from + length == field.text.len();
            from += length;
            let mut next = Vec::new();
            for start in starts {
                self.glob_step(&start, text, active, last, &mut next)?;
            }
            starts = next;
        }
        Ok(starts)
    }

    fn glob_step(
        &mut self,
        start: &[u8],
        text: &[u8],
        active: &[bool],
        last: bool,
        next: &mut Vec<Vec<u8>>,
    ) -> Run<()> {
        self.charge(1)?;
        let with = |name: &[u8]| [start, name].concat();
        if !is_pattern(text, active) {
            let path = with(text);
            if self.files.find(&self.env.cwd, &path, !last).is_ok() {
                next.push(path);
            }
            return Ok(());
        }
        let pattern = Pattern::new(text, active);
        let directory: &[u8] = if start.is_empty() { b"." } else { start };
        let Ok(id) = self.files.find(&self.env.cwd, directory, true) else { return Ok(()) };
        let Some(children) = self.files.children(id) else { return Ok(()) };
        let hidden = text.first() == Some(&b'.') || self.env.settings.dotglob;
        let names: Vec<Vec<u8>> =
            children.keys().filter(|name| hidden || name.first() != Some(&b'.')).cloned().collect();
        for name in names {
            self.charge(1)?;
            if pattern.matches(&name) && (last || self.path_is_dir(&join(directory, &name))) {
                next.push(with(&name));
            }
        }
        Ok(())
    }

    /// One element of an array, by the text of its subscript.
    pub(crate) fn element(&mut self, name: &[u8], index: &[u8]) -> Run<Option<Vec<u8>>> {
        match self.env.vars.get(name).and_then(|var| var.value.as_ref()) {
            Some(Value::Map(items)) => Ok(items.get(index).cloned()),
            Some(Value::List(items)) => {
                let last = items.keys().next_back().copied();
                let at = self.subscript(index, last)?;
                let Some(Value::List(items)) = self.env.vars.get(name).and_then(|var| var.value.as_ref()) else {
                    return Ok(None);
                };
                Ok(at.and_then(|at| items.get(&at).cloned()))
            }
            Some(Value::Text(text)) => {
                let text = text.clone();
                let at = self.subscript(index, Some(0))?;
                Ok((at == Some(0)).then_some(text))
            }
            None => Ok(None),
        }
    }

    pub(crate) fn subscript(&mut self, index: &[u8], last: Option<usize>) -> Run<Option<usize>> {
        let at = self.arithmetic(index)?;
        if at < 0 {
            let from = last.map_or(0, |last| last as i64 + 1) + at;
            return Ok(usize::try_from(from).ok());
        }
        Ok(usize::try_from(at).ok())
    }

    /// The subscript of a parameter, expanded.
    pub(crate) fn index_text(&mut self, index: &Index) -> Run<Option<Vec<u8>>> {
        match index {
            Index::At(word) => self.expand_text(word).map(Some),
            _ => Ok(None),
        }
    }
}

fn is_all(part: &Part) -> bool {
    let Part::Param { param, quoted: true } = part else { return false };
    matches!(param.op, ParamOp::Plain | ParamOp::Slice { .. })
        && (param.name == b"@" || matches!(param.index, Some(Index::All)))
}
