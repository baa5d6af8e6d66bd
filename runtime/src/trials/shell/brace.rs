//! Brace expansion: `{a,b}`, `{1..5}`, `{a..e..2}`.

use super::ast::{Part, Word};
use super::state::{Run, Shell};

/// A byte of unquoted text, or a part that braces do not look into.
#[derive(Debug, Clone)]
enum Unit {
    Byte(u8),
    Whole(Part),
}

impl Unit {
    fn is(&self, byte: u8) -> bool {
        matches!(self, Unit::Byte(own) if *own == byte)
    }
}

fn join(units: &[Unit]) -> Word {
    let mut word = Word::new();
    for unit in units {
        match (unit, word.last_mut()) {
            (Unit::Byte(byte), Some(Part::Bare(text))) => text.push(*byte),
            (Unit::Byte(byte), _) => word.push(Part::Bare(vec![*byte])),
            (Unit::Whole(part), _) => word.push(part.clone()),
        }
    }
    word
}

/// Where the brace that opens at `open` closes, and where its commas are.
fn close(units: &[Unit], open: usize) -> Option<(usize, Vec<usize>)> {
    let mut depth = 0usize;
    let mut commas = Vec::new();
    for (at, unit) in units.iter().enumerate().skip(open) {
        if unit.is(b'{') {
            depth += 1;
        } else if unit.is(b'}') {
            depth -= 1;
            if depth == 0 {
                return Some((at, commas));
            }
        } else if unit.is(b',') && depth == 1 {
            commas.push(at);
        }
    }
    None
}

fn number(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

impl Shell {
    /// The words that a word with braces stands for.
    pub(crate) fn braces(&mut self, word: &Word) -> Run<Vec<Word>> {
        if !word.iter().any(|part| matches!(part, Part::Bare(text) if text.contains(&b'{'))) {
            return Ok(vec![word.clone()]);
        }
        let mut units = Vec::new();
        for part in word {
            match part {
                Part::Bare(text) => units.extend(text.iter().map(|byte| Unit::Byte(*byte))),
                other => units.push(Unit::Whole(other.clone())),
            }
        }
        let mut done = Vec::new();
        for units in self.brace_units(&units)? {
            done.push(join(&units));
        }
        Ok(done)
    }

    fn brace_units(&mut self, units: &[Unit]) -> Run<Vec<Vec<Unit>>> {
        self.charge(1 + units.len() as u64 / 32)?;
        for open in 0..units.len() {
            if !units[open].is(b'{') {
                continue;
            }
            let Some((end, commas)) = close(units, open) else { continue };
            let choices = if commas.is_empty() {
                match self.range(&units[open + 1..end])? {
                    Some(choices) => choices,
                    None => continue,
                }
            } else {
                let mut choices = Vec::new();
                let mut from = open + 1;
                for to in commas.into_iter().chain([end]) {
                    let inner = &units[from..to];
                    choices.extend(self.nested(|shell| shell.brace_units(inner))?);
                    from = to + 1;
                }
                choices
            };
            let rests = self.nested(|shell| shell.brace_units(&units[end + 1..]))?;
            let mut words = Vec::new();
            for choice in &choices {
                for rest in &rests {
                    self.charge(1 + (open + choice.len() + rest.len()) as u64 / 8)?;
                    let mut word = units[..open].to_vec();
                    word.extend_from_slice(choice);
                    word.extend_from_slice(rest);
                    words.push(word);
                }
            }
            return Ok(words);
        }
        Ok(vec![units.to_vec()])
    }

    fn range(&mut self, inner: &[Unit]) -> Run<Option<Vec<Vec<Unit>>>> {
        let mut text = Vec::new();
        for unit in inner {
            let Unit::Byte(byte) = unit else { return Ok(None) };
            text.push(*byte);
        }
        let Ok(text) = String::from_utf8(text) else { return Ok(None) };
        let pieces: Vec<&str> = text.split("..").collect();
        let (from, to, step) = match pieces.as_slice() {
            [from, to] => (*from, *to, 1),
            [from, to, step] => match step.parse::<i64>() {
                Ok(step) => (*from, *to, step),
                Err(_) => return Ok(None),
            },
            _ => return Ok(None),
        };
        let step = i64::try_from(step.unsigned_abs().max(1)).unwrap_or(i64::MAX);
        let (low, high, letters) = match (number(from.as_bytes()), number(to.as_bytes())) {
            (Some(low), Some(high)) => (low, high, false),
            _ => match (from.as_bytes(), to.as_bytes()) {
                ([low], [high]) if low.is_ascii_alphabetic() && high.is_ascii_alphabetic() => {
                    (i64::from(*low), i64::from(*high), true)
                }
                _ => return Ok(None),
            },
        };
        let padded =
            |text: &str| text.trim_start_matches('-').len() > 1 && text.trim_start_matches('-').starts_with('0');
        let width = if !letters && (padded(from) || padded(to)) { from.len().max(to.len()).min(1000) } else { 0 };
        let mut choices = Vec::new();
        let mut value = low;
        loop {
            self.charge(1)?;
            let text = if letters {
                vec![u8::try_from(value).unwrap_or(b'?')]
            } else {
                format!("{value:0width$}").into_bytes()
            };
            choices.push(text.into_iter().map(Unit::Byte).collect());
            let next = if low <= high { value.checked_add(step) } else { value.checked_sub(step) };
            match next {
                Some(next) if (low <= high && next <= high) || (low > high && next >= high) => value = next,
                _ => return Ok(Some(choices)),
            }
        }
    }
}
