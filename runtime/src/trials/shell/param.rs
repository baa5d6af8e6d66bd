//! Parameters and what `${…}` makes of them.

use super::ast::{Anchor, Index, Param, ParamOp, Word};
use super::expand::Fields;
use super::state::{Flow, Run, Shell, Value, show};

impl Shell {
    /// The value of a name or special parameter; nothing if it is unset.
    pub(crate) fn lookup(&mut self, name: &[u8]) -> Option<Vec<u8>> {
        let special = |value: String| Some(value.into_bytes());
        match name {
            b"?" => special(self.status.to_string()),
            b"#" => special(self.env.params.len().to_string()),
            b"$" => special("4242".to_owned()),
            b"!" => special("4243".to_owned()),
            b"-" => special("hB".to_owned()),
            b"0" => Some(self.env.name.clone()),
            b"@" | b"*" => Some(self.env.params.join(&b' ')),
            b"LINENO" => special(self.line.to_string()),
            b"RANDOM" => {
                // The same numbers in every run: a linear congruential generator.
                self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                special((self.seed >> 49).to_string())
            }
            b"SECONDS" => special("0".to_owned()),
            b"UID" | b"EUID" => special("1000".to_owned()),
            b"HOSTNAME" => special("localhost".to_owned()),
            _ if name.first().is_some_and(u8::is_ascii_digit) => {
                let at: usize = std::str::from_utf8(name).ok()?.parse().ok()?;
                self.env.params.get(at.checked_sub(1)?).cloned()
            }
            _ => self.text_of(name),
        }
    }

    /// The values that `$@`, `$*`, `${a[@]}` or `${a[*]}` stand for; nothing if the parameter is a single one.
    fn many(&self, param: &Param) -> Option<Vec<Vec<u8>>> {
        match (&param.index, param.name.as_slice()) {
            (None, b"@" | b"*") => Some(self.env.params.clone()),
            (Some(Index::All | Index::Joined), name) => {
                Some(match self.env.vars.get(name).and_then(|var| var.value.as_ref()) {
                    Some(Value::List(items)) => items.values().cloned().collect(),
                    Some(Value::Map(items)) => items.values().cloned().collect(),
                    Some(Value::Text(text)) => vec![text.clone()],
                    None => Vec::new(),
                })
            }
            _ => None,
        }
    }

    fn joined(param: &Param) -> bool {
        param.name == b"*" && param.index.is_none() || matches!(param.index, Some(Index::Joined))
    }

    fn one(&mut self, param: &Param) -> Run<Option<Vec<u8>>> {
        match &param.index {
            Some(index) => match self.index_text(index)? {
                Some(text) => self.element(&param.name, &text),
                None => Ok(None),
            },
            None => Ok(self.lookup(&param.name)),
        }
    }

    pub(crate) fn expand_param(&mut self, param: &Param, in_quotes: bool, fields: &mut Fields) -> Run<()> {
        match &param.op {
            ParamOp::Length => {
                let length = match self.many(param) {
                    Some(values) => values.len(),
                    None => self.defined(param)?.len(),
                };
                fields.value_in(length.to_string().as_bytes(), in_quotes);
                return Ok(());
            }
            ParamOp::Indirect => return self.indirect(param, in_quotes, fields),
            _ => {}
        }
        if let Some(values) = self.many(param) {
            let values = self.many_op(param, values)?;
            self.spread(param, &values, in_quotes, fields)?;
            return self.absent_many(param, in_quotes, fields);
        }
        match &param.op {
            ParamOp::Absent { op, colon, word } => self.absent(param, (*op, *colon, word), in_quotes, fields),
            op => {
                let value = self.defined(param)?;
                let value = self.apply(op, value)?;
                self.charge_bytes(value.len())?;
                fields.value_in(&value, in_quotes);
                Ok(())
            }
        }
    }

    /// The value of a parameter; with `set -u` an unset one is an error.
    fn defined(&mut self, param: &Param) -> Run<Vec<u8>> {
        match self.one(param)? {
            Some(value) => Ok(value),
            None if self.env.settings.nounset => {
                self.complain(&format!("{}: unbound variable", show(&param.name)))?;
                Err(Flow::Exit(127))
            }
            None => Ok(Vec::new()),
        }
    }

    fn indirect(&mut self, param: &Param, in_quotes: bool, fields: &mut Fields) -> Run<()> {
        if matches!(param.index, Some(Index::All | Index::Joined)) {
            let keys: Vec<Vec<u8>> = match self.env.vars.get(&param.name).and_then(|var| var.value.as_ref()) {
                Some(Value::List(items)) => items.keys().map(|key| key.to_string().into_bytes()).collect(),
                Some(Value::Map(items)) => items.keys().cloned().collect(),
                Some(Value::Text(_)) => vec![b"0".to_vec()],
                None => Vec::new(),
            };
            return self.spread(param, &keys, in_quotes, fields);
        }
        let name = self.defined(param)?;
        let value = self.lookup(&name).unwrap_or_default();
        fields.value_in(&value, in_quotes);
        Ok(())
    }

    fn spread(&mut self, param: &Param, values: &[Vec<u8>], in_quotes: bool, fields: &mut Fields) -> Run<()> {
        if in_quotes && Self::joined(param) {
            let ifs = self.text_of(b"IFS").unwrap_or_else(|| b" ".to_vec());
            let separator = ifs.get(..1).unwrap_or_default();
            let text = values.join(separator);
            self.charge_bytes(text.len())?;
            fields.quoted(&text);
            return Ok(());
        }
        for (at, value) in values.iter().enumerate() {
            self.charge(1 + value.len() as u64 / 64)?;
            if at > 0 {
                fields.end_field();
            }
            fields.value_in(value, in_quotes);
        }
        Ok(())
    }

    /// `${@:2}`, `${a[@]%x}` and the like.
    fn many_op(&mut self, param: &Param, values: Vec<Vec<u8>>) -> Run<Vec<Vec<u8>>> {
        Ok(match &param.op {
            ParamOp::Slice { offset, length } => {
                let mut values = values;
                if param.index.is_none() {
                    values.insert(0, self.env.name.clone());
                }
                let count = values.len() as i64;
                let mut from = self.arithmetic_word(offset)?;
                if from < 0 {
                    from += count;
                }
                let most = match length {
                    Some(word) => self.arithmetic_word(word)?,
                    None => count,
                };
                let from = usize::try_from(from).unwrap_or(usize::MAX);
                values.into_iter().skip(from).take(usize::try_from(most).unwrap_or(0)).collect()
            }
            ParamOp::Absent { op: b'+', .. } => Vec::new(),
            ParamOp::Absent { .. } => values,
            op => {
                let mut done = Vec::new();
                for value in values {
                    done.push(self.apply(op, value)?);
                }
                done
            }
        })
    }

    fn absent_many(&mut self, param: &Param, in_quotes: bool, fields: &mut Fields) -> Run<()> {
        let ParamOp::Absent { op, word, .. } = &param.op else { return Ok(()) };
        let empty = self.many(param).is_none_or(|values| values.is_empty());
        if empty != (*op == b'+') { self.default_word(word, in_quotes, fields) } else { Ok(()) }
    }

    fn default_word(&mut self, word: &Word, in_quotes: bool, fields: &mut Fields) -> Run<()> {
        if in_quotes {
            let text = self.expand_text(word)?;
            fields.quoted(&text);
            return Ok(());
        }
        self.expand_into(word, fields)
    }

    fn absent(
        &mut self,
        param: &Param,
        (op, colon, word): (u8, bool, &Word),
        in_quotes: bool,
        fields: &mut Fields,
    ) -> Run<()> {
        let value = self.one(param)?.filter(|value| !(colon && value.is_empty()));
        match (op, value) {
            (b'+', Some(_)) | (b'-', None) => self.default_word(word, in_quotes, fields),
            (b'+', None) => Ok(()),
            (b'=', None) => {
                let text = self.expand_text(word)?;
                match &param.index {
                    Some(Index::At(index)) => {
                        let index = self.expand_text(index)?;
                        self.assign_element(&param.name, &index, text.clone(), false)?;
                    }
                    _ => {
                        self.assign(&param.name, text.clone())?;
                    }
                }
                fields.value_in(&text, in_quotes);
                Ok(())
            }
            (b'?', None) => {
                let text = self.expand_text(word)?;
                let usual = if colon { "parameter null or not set" } else { "parameter not set" };
                let message = if text.is_empty() { usual.to_owned() } else { show(&text) };
                self.complain(&format!("{}: {message}", show(&param.name)))?;
                Err(Flow::Exit(127))
            }
            (_, Some(value)) => {
                self.charge_bytes(value.len())?;
                fields.value_in(&value, in_quotes);
                Ok(())
            }
            (_, None) => Ok(()),
        }
    }

    fn apply(&mut self, op: &ParamOp, value: Vec<u8>) -> Run<Vec<u8>> {
        match op {
            ParamOp::Trim { suffix, longest, pattern } => {
                let pattern = self.expand_pattern(pattern)?;
                let count = value.len();
                let cut = |kept: usize| if *suffix { &value[kept..] } else { &value[..kept] };
                // The shortest part first; for a suffix that is the one that starts last.
                let from_short: Vec<usize> = if *suffix { (0..=count).rev().collect() } else { (0..=count).collect() };
                let from_short = match pattern.fixed_length() {
                    Some(length) if length > count => Vec::new(),
                    Some(length) => vec![if *suffix { count - length } else { length }],
                    None => from_short,
                };
                self.charge((from_short.len() * count) as u64 / 512 + 1)?;
                let found = if *longest {
                    from_short.iter().rev().find(|at| pattern.matches(cut(**at)))
                } else {
                    from_short.iter().find(|at| pattern.matches(cut(**at)))
                };
                Ok(match found {
                    Some(at) if *suffix => value[..*at].to_vec(),
                    Some(at) => value[*at..].to_vec(),
                    None => value,
                })
            }
            ParamOp::Replace { all, anchor, pattern, with } => self.replace(&value, *all, *anchor, pattern, with),
            ParamOp::Slice { offset, length } => {
                let count = value.len() as i64;
                let mut from = self.arithmetic_word(offset)?;
                if from < 0 {
                    from += count;
                }
                if from < 0 || from > count {
                    return Ok(Vec::new());
                }
                let mut to = count;
                if let Some(word) = length {
                    let length = self.arithmetic_word(word)?;
                    to = if length < 0 { count + length } else { from.saturating_add(length).min(count) };
                    if to < from {
                        self.complain(&format!("{length}: substring expression < 0"))?;
                        return Err(Flow::Abandon);
                    }
                }
                Ok(value.get(from as usize..to as usize).unwrap_or_default().to_vec())
            }
            ParamOp::Case { upper, all } => {
                let mut value = value;
                let count = if *all { value.len() } else { value.len().min(1) };
                for byte in &mut value[..count] {
                    *byte = if *upper { byte.to_ascii_uppercase() } else { byte.to_ascii_lowercase() };
                }
                Ok(value)
            }
            _ => Ok(value),
        }
    }

    fn replace(&mut self, value: &[u8], all: bool, anchor: Anchor, pattern: &Word, with: &Word) -> Run<Vec<u8>> {
        let pattern = self.expand_pattern(pattern)?;
        let with = self.expand_text(with)?;
        let mut done = Vec::new();
        let mut at = 0;
        let count = value.len();
        while at <= count {
            let rest = (count - at) as u64;
            let ends = match pattern.fixed_length() {
                Some(length) => (at + length..=count).take(1).collect(),
                None => (at..=count).rev().collect::<Vec<_>>(),
            };
            self.charge(1 + ends.len() as u64 * rest / 512)?;
            let fits = |end: &usize| (*end > at || anchor != Anchor::Anywhere) && pattern.matches(&value[at..*end]);
            let end = match anchor {
                Anchor::End => pattern.matches(&value[at..]).then_some(count),
                _ => ends.into_iter().find(fits),
            };
            match end {
                Some(end) => {
                    done.extend_from_slice(&with);
                    at = end;
                    if !all {
                        break;
                    }
                }
                None if anchor == Anchor::Start => break,
                None => {
                    done.extend(value.get(at));
                    at += 1;
                }
            }
            self.charge_bytes(with.len())?;
            if at == count && anchor != Anchor::End {
                break;
            }
        }
        done.extend_from_slice(value.get(at..).unwrap_or_default());
        Ok(done)
    }
}
