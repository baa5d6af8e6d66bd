//! `sort` and `uniq`.

use super::super::numbers::leading_number;
use super::super::options::Options;
use super::super::read::lines;
use super::super::state::{Run, Shell, show};
use std::cmp::Ordering;

/// How keys are compared.
#[derive(Debug, Clone, Copy, Default)]
struct Rules {
    numeric: bool,
    human: bool,
    general: bool,
    version: bool,
    fold: bool,
    dictionary: bool,
    blanks: bool,
    reverse: bool,
}

impl Rules {
    fn set(&mut self, letter: u8) -> bool {
        match letter {
            b'n' => self.numeric = true,
            b'h' => self.human = true,
            b'g' => self.general = true,
            b'V' => self.version = true,
            b'f' => self.fold = true,
            b'd' => self.dictionary = true,
            b'b' => self.blanks = true,
            b'r' => self.reverse = true,
            _ => return false,
        }
        true
    }

    fn compare(self, left: &[u8], right: &[u8]) -> Ordering {
        let trim = |text: &[u8]| text.iter().take_while(|byte| b" \t".contains(byte)).count();
        let (left, right) = if self.blanks { (&left[trim(left)..], &right[trim(right)..]) } else { (left, right) };
        let value = |text: &[u8]| leading_number(text).0;
        let order = if self.numeric {
            plain(left).partial_cmp(&plain(right)).unwrap_or(Ordering::Equal)
        } else if self.general {
            value(left).partial_cmp(&value(right)).unwrap_or(Ordering::Equal)
        } else if self.human {
            scaled(left).partial_cmp(&scaled(right)).unwrap_or(Ordering::Equal)
        } else if self.version {
            versions(left, right)
        } else if self.fold || self.dictionary {
            self.seen(left).cmp(&self.seen(right))
        } else {
            left.cmp(right)
        };
        if self.reverse { order.reverse() } else { order }
    }

    fn seen(self, text: &[u8]) -> Vec<u8> {
        let counts = |byte: &u8| !self.dictionary || byte.is_ascii_alphanumeric() || b" \t".contains(byte);
        text.iter()
            .copied()
            .filter(counts)
            .map(|byte| if self.fold { byte.to_ascii_uppercase() } else { byte })
            .collect()
    }
}

/// The number at the start as `sort -n` reads it: no sign but `-`, no exponent.
fn plain(text: &[u8]) -> f64 {
    let start = text.iter().take_while(|byte| b" \t".contains(byte)).count();
    let rest = &text[start..];
    let end = rest
        .iter()
        .enumerate()
        .take_while(|(at, byte)| byte.is_ascii_digit() || **byte == b'.' || *at == 0 && **byte == b'-')
        .count();
    leading_number(&rest[..end]).0
}

fn scaled(text: &[u8]) -> f64 {
    let (value, read) = leading_number(text);
    let unit = text.get(read).and_then(|unit| b"KMGTPE".iter().position(|own| *own == unit.to_ascii_uppercase()));
    value * unit.map_or(1.0, |unit| 1024f64.powi(i32::try_from(unit).unwrap_or(0) + 1))
}

fn versions(left: &[u8], right: &[u8]) -> Ordering {
    let (mut left, mut right) = (left, right);
    while !left.is_empty() && !right.is_empty() {
        let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (a, b) = (digits(left), digits(right));
        if a > 0 && b > 0 {
            let strip = |text: &[u8]| text.iter().skip_while(|byte| **byte == b'0').copied().collect::<Vec<u8>>();
            let (x, y) = (strip(&left[..a]), strip(&right[..b]));
            let order = x.len().cmp(&y.len()).then_with(|| x.cmp(&y));
            if order.is_ne() {
                return order;
            }
            (left, right) = (&left[a..], &right[b..]);
        } else {
            if left[0] != right[0] {
                return left[0].cmp(&right[0]);
            }
            (left, right) = (&left[1..], &right[1..]);
        }
    }
    left.len().cmp(&right.len())
}

#[derive(Debug, Clone)]
struct Key {
    from: (usize, usize),
    to: Option<(usize, usize)>,
    rules: Rules,
}

/// `2,3nr`, `1.2,1.4`
fn key(text: &[u8], usual: Rules) -> Option<Key> {
    let mut rules = Rules::default();
    let mut own = false;
    let mut ends = Vec::new();
    for end in text.splitn(2, |byte| *byte == b',') {
        let letters = end.iter().position(u8::is_ascii_alphabetic).unwrap_or(end.len());
        for letter in &end[letters..] {
            own = true;
            if !rules.set(*letter) {
                return None;
            }
        }
        let mut numbers = end[..letters].splitn(2, |byte| *byte == b'.');
        let mut number = || numbers.next().map(|text| std::str::from_utf8(text).ok()?.parse::<usize>().ok());
        let field = number()??;
        let letter = match number() {
            Some(letter) => letter?,
            None => 0,
        };
        ends.push((field, letter));
    }
    let from = *ends.first().filter(|(field, _)| *field > 0)?;
    Some(Key { from, to: ends.get(1).copied(), rules: if own { rules } else { usual } })
}

impl Key {
    fn part<'a>(&self, line: &'a [u8], separator: Option<u8>) -> &'a [u8] {
        let starts = field_starts(line, separator);
        let field_end = |field: usize| match starts.get(field) {
            Some(next) => *next - usize::from(separator.is_some()),
            None => line.len(),
        };
        let Some(&start) = starts.get(self.from.0 - 1) else { return &[] };
        let blanks = |at: usize| {
            if self.rules.blanks { line[at..].iter().take_while(|byte| b" \t".contains(byte)).count() } else { 0 }
        };
        let start = (start + blanks(start) + self.from.1.saturating_sub(1)).min(line.len());
        let end = match self.to {
            None => line.len(),
            Some((0, _)) => line.len(),
            Some((field, 0)) => field_end(field),
            Some((field, letter)) => {
                starts.get(field - 1).map_or(line.len(), |at| (at + blanks(*at) + letter).min(line.len()))
            }
        };
        line.get(start..end.max(start)).unwrap_or_default()
    }
}

/// Where each field begins; without a separator a field has the blanks before it.
fn field_starts(line: &[u8], separator: Option<u8>) -> Vec<usize> {
    let mut starts = vec![0];
    match separator {
        Some(separator) => {
            starts.extend(line.iter().enumerate().filter(|(_, byte)| **byte == separator).map(|(at, _)| at + 1))
        }
        None => {
            let blank = |at: usize| b" \t".contains(&line[at]);
            starts.extend((1..line.len()).filter(|at| blank(*at) && !blank(*at - 1)));
        }
    }
    starts
}

const SORT_LONG: &[(&str, u8)] = &[
    ("numeric-sort", b'n'),
    ("reverse", b'r'),
    ("unique", b'u'),
    ("key", b'k'),
    ("field-separator", b't'),
    ("human-numeric-sort", b'h'),
    ("ignore-case", b'f'),
    ("version-sort", b'V'),
    ("stable", b's'),
    ("check", b'c'),
    ("output", b'o'),
    ("zero-terminated", b'z'),
];

pub(crate) fn sort(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let options = options!(shell, args, "nruk:t:hfVsbdgco:zmCM", SORT_LONG);
    if options.has(b'M') {
        shell.lack("sort -M");
        return Ok(2);
    }
    let mut usual = Rules::default();
    for (letter, _) in &options.given {
        usual.set(*letter);
    }
    let separator = match options.value(b't') {
        None => None,
        Some(b"\\0") => Some(0),
        Some([one]) => Some(*one),
        Some(text) => {
            let text = show(text);
            shell.warn(&format!("sort: multi-character tab '{text}'"))?;
            return Ok(2);
        }
    };
    let mut keys = Vec::new();
    for text in options.values(b'k') {
        match key(text, usual) {
            Some(key) => keys.push(key),
            None => {
                let text = show(text);
                shell.warn(&format!("sort: invalid key specification '{text}'"))?;
                return Ok(2);
            }
        }
    }
    let mut whole = Vec::new();
    let end = if options.has(b'z') { 0 } else { b'\n' };
    let names = if options.operands.is_empty() { vec![b"-".to_vec()] } else { options.operands.clone() };
    for name in &names {
        match super::super::read::Source::open(shell, name) {
            Ok(mut source) => whole.extend(source.rest(shell)?),
            Err(errno) => {
                let verb = if errno == super::super::files::Errno::IsDirectory { "read failed" } else { "cannot read" };
                shell.warn(&format!("sort: {verb}: {}: {}", show(name), errno.text()))?;
                return Ok(2);
            }
        }
        if whole.last().is_some_and(|byte| *byte != end) {
            whole.push(end);
        }
    }
    let mut rows: Vec<&[u8]> = whole.split(|byte| *byte == end).collect();
    rows.pop();
    shell.charge(rows.len() as u64 * 4)?;
    finish(shell, rows, &options, &keys, usual, separator, end)
}

fn finish(
    shell: &mut Shell,
    mut rows: Vec<&[u8]>,
    options: &Options,
    keys: &[Key],
    usual: Rules,
    separator: Option<u8>,
    end: u8,
) -> Run {
    let by_keys = |left: &[u8], right: &[u8]| {
        if keys.is_empty() {
            return usual.compare(left, right);
        }
        let orders = keys.iter().map(|key| key.rules.compare(key.part(left, separator), key.part(right, separator)));
        orders.into_iter().find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    };
    let last_resort = !options.has(b's') && !options.has(b'u');
    let whole = |left: &[u8], right: &[u8]| {
        let order = left.cmp(right);
        if usual.reverse { order.reverse() } else { order }
    };
    let compare = |left: &[u8], right: &[u8]| {
        by_keys(left, right).then_with(|| if last_resort { whole(left, right) } else { Ordering::Equal })
    };
    if options.has(b'c') || options.has(b'C') {
        let bad = |pair: &&[&[u8]]| {
            let order = compare(pair[0], pair[1]);
            order.is_gt() || options.has(b'u') && order.is_eq()
        };
        let found =
            rows.windows(2).enumerate().find(|(_, pair)| bad(pair)).map(|(at, pair)| (at + 2, pair[1].to_vec()));
        return match found {
            Some((line, text)) => {
                if options.has(b'c') {
                    let name = options.operands.first().map_or_else(|| "-".to_owned(), |name| show(name));
                    shell.warn(&format!("sort: {name}:{line}: disorder: {}", show(&text)))?;
                }
                Ok(1)
            }
            None => Ok(0),
        };
    }
    rows.sort_by(|left, right| compare(left, right));
    if options.has(b'u') {
        rows.dedup_by(|right, left| by_keys(left, right).is_eq());
    }
    let mut text = Vec::new();
    for row in rows {
        text.extend_from_slice(row);
        text.push(end);
    }
    let Some(name) = options.value(b'o') else {
        shell.out(&text)?;
        return Ok(0);
    };
    match shell.open_output(name, false) {
        Ok(fd) => {
            let out = shell.env.fds.insert(1, fd);
            let written = shell.out(&text);
            shell.env.fds.extend(out.map(|out| (1, out)));
            written?;
            Ok(0)
        }
        Err(errno) => {
            shell.warn(&format!("sort: open failed: {}: {}", show(name), errno.text()))?;
            Ok(2)
        }
    }
}

const UNIQ_LONG: &[(&str, u8)] = &[
    ("count", b'c'),
    ("repeated", b'd'),
    ("unique", b'u'),
    ("ignore-case", b'i'),
    ("skip-fields", b'f'),
    ("skip-chars", b's'),
    ("check-chars", b'w'),
    ("all-repeated", b'D'),
];

pub(crate) fn uniq(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let options = options!(shell, args, "cduif:s:w:D", UNIQ_LONG);
    let number = |letter: u8, usual: usize| options.number(letter).and_then(Result::ok).unwrap_or(usual);
    let (fields, skipped, width) = (number(b'f', 0), number(b's', 0), number(b'w', usize::MAX));
    let inputs = options.operands.get(..1).unwrap_or_default();
    let (sources, all) = shell.sources("uniq", inputs)?;
    if !all {
        return Ok(1);
    }
    let mut whole = Vec::new();
    for (_, mut source) in sources {
        whole.extend(source.rest(shell)?);
    }
    let seen = |line: &[u8]| {
        let mut at = 0;
        for _ in 0..fields {
            at += line[at..].iter().take_while(|byte| b" \t".contains(byte)).count();
            at += line[at..].iter().take_while(|byte| !b" \t".contains(byte)).count();
        }
        let rest = line.get(at + skipped..).unwrap_or_default();
        let rest = &rest[..rest.len().min(width)];
        if options.has(b'i') { rest.to_ascii_lowercase() } else { rest.to_vec() }
    };
    let rows = lines(&whole);
    shell.charge(rows.len() as u64)?;
    let mut text = Vec::new();
    for group in rows.chunk_by(|left, right| seen(left) == seen(right)) {
        let many = group.len() > 1;
        if (options.has(b'd') || options.has(b'D')) && !many || options.has(b'u') && many {
            continue;
        }
        let shown = if options.has(b'D') { group.len() } else { 1 };
        for line in &group[..shown] {
            if options.has(b'c') {
                text.extend(format!("{:7} ", group.len()).into_bytes());
            }
            text.extend_from_slice(line);
            text.push(b'\n');
        }
    }
    if let Some(name) = options.operands.get(1) {
        match shell.open_output(name, false) {
            Ok(fd) => {
                let out = shell.env.fds.insert(1, fd);
                let written = shell.out(&text);
                shell.env.fds.extend(out.map(|out| (1, out)));
                written?;
            }
            Err(errno) => {
                shell.warn_path("uniq", name, errno)?;
                return Ok(1);
            }
        }
        return Ok(0);
    }
    shell.out(&text)?;
    Ok(0)
}
