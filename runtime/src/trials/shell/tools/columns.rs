//! `cut`, `paste`, `tr`, `join`.

use super::super::pattern::class;
use super::super::read::{Source, lines};
use super::super::state::{Run, Shell, show};
use super::super::words::escape;

/// `1,3-5,7-` as ranges from one.
fn ranges(text: &[u8]) -> Option<Vec<(usize, usize)>> {
    let mut ranges = Vec::new();
    for part in text.split(|byte| *byte == b',' || *byte == b' ') {
        let number = |text: &[u8], usual: usize| {
            if text.is_empty() { Some(usual) } else { std::str::from_utf8(text).ok()?.parse().ok() }
        };
        let range = match part.iter().position(|byte| *byte == b'-') {
            Some(_) if part == b"-" => return None,
            Some(at) => (number(&part[..at], 1)?, number(&part[at + 1..], usize::MAX)?),
            None => {
                let one = number(part, 0)?;
                (one, one)
            }
        };
        if range.0 == 0 || range.1 < range.0 {
            return None;
        }
        ranges.push(range);
    }
    Some(ranges)
}

const CUT_LONG: &[(&str, u8)] = &[
    ("fields", b'f'),
    ("delimiter", b'd'),
    ("characters", b'c'),
    ("bytes", b'b'),
    ("only-delimited", b's'),
    ("complement", b'\x01'),
    ("output-delimiter", b'\x02'),
];

pub(crate) fn cut(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let options = options!(shell, args, "f:d:c:b:s\x01\x02:n", CUT_LONG);
    let fields = options.value(b'f').is_some();
    let Some(list) = options.value(b'f').or_else(|| options.value(b'c')).or_else(|| options.value(b'b')) else {
        return shell.usage(b"cut", "you must specify a list of bytes, characters, or fields");
    };
    let Some(ranges) = ranges(list) else { return shell.usage(b"cut", &bad_list(list, fields)) };
    let delimiter = match options.value(b'd') {
        None => b'\t',
        Some([one]) => *one,
        Some(b"") => 0,
        Some(_) => return shell.usage(b"cut", "the delimiter must be a single character"),
    };
    let complement = options.has(b'\x01');
    let kept = |at: usize| ranges.iter().any(|(low, high)| (*low..=*high).contains(&at)) != complement;
    let joiner =
        options.value(b'\x02').map_or_else(|| if fields { vec![delimiter] } else { Vec::new() }, <[u8]>::to_vec);
    let (sources, all) = shell.sources("cut", &options.operands)?;
    for (_, mut source) in sources {
        while let Some((line, _)) = source.line(shell, b'\n')? {
            if fields && !line.contains(&delimiter) {
                if !options.has(b's') {
                    shell.out_line(&line)?;
                }
                continue;
            }
            if fields {
                let parts = line.split(|byte| *byte == delimiter).enumerate();
                let parts: Vec<&[u8]> = parts.filter(|(at, _)| kept(at + 1)).map(|(_, part)| part).collect();
                shell.out_line(&parts.join(joiner.as_slice()))?;
            } else {
                let bytes: Vec<u8> =
                    line.iter().enumerate().filter(|(at, _)| kept(at + 1)).map(|(_, byte)| *byte).collect();
                shell.out_line(&bytes)?;
            }
        }
    }
    Ok(i32::from(!all))
}

/// What is wrong with a list.
fn bad_list(list: &[u8], fields: bool) -> String {
    let zero = list.split(|byte| *byte == b',').any(|part| part == b"0");
    match (zero, fields) {
        (true, true) => "fields are numbered from 1".to_owned(),
        (true, false) => "byte/character positions are numbered from 1".to_owned(),
        (false, true) => format!("invalid field value '{}'", show(list)),
        (false, false) => format!("invalid byte/character position '{}'", show(list)),
    }
}

/// The texts that `paste -d` puts in turn, its escapes heeded.
fn delimiters(text: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let escaped = if text[at] == b'\\' { escape(&text[at + 1..], false) } else { None };
        if text[at..].starts_with(b"\\0") {
            all.push(Vec::new());
            at += 2;
        } else if let Some((bytes, read)) = escaped {
            all.push(bytes);
            at += 1 + read;
        } else {
            all.push(vec![text[at]]);
            at += 1;
        }
    }
    if all.is_empty() { vec![Vec::new()] } else { all }
}

pub(crate) fn paste(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let options = options!(shell, args, "d:s", &[("delimiters", b'd'), ("serial", b's')]);
    let delimiters: Vec<Vec<u8>> = match options.value(b'd') {
        None => vec![b"\t".to_vec()],
        Some(text) => delimiters(text),
    };
    let (sources, all) = shell.sources("paste", &options.operands)?;
    if !all {
        return Ok(1);
    }
    let from_stdin: Vec<bool> = sources.iter().map(|(name, _)| name == b"-").collect();
    let mut sources: Vec<Source> = sources.into_iter().map(|(_, source)| source).collect();
    if options.has(b's') {
        for mut source in sources {
            let whole = source.rest(shell)?;
            let mut text = Vec::new();
            for (at, line) in lines(&whole).into_iter().enumerate() {
                if at > 0 {
                    text.extend_from_slice(&delimiters[(at - 1) % delimiters.len()]);
                }
                text.extend_from_slice(line);
            }
            shell.out_line(&text)?;
        }
        return Ok(0);
    }
    loop {
        let mut text = Vec::new();
        let mut any = false;
        for (at, source) in sources.iter_mut().enumerate() {
            if at > 0 {
                text.extend_from_slice(&delimiters[(at - 1) % delimiters.len()]);
            }
            if from_stdin[at] {
                // Several `-` share standard input.
                *source = Source::stdin(shell);
            }
            if let Some((line, _)) = source.line(shell, b'\n')? {
                text.extend(line);
                any = true;
            }
        }
        if !any {
            return Ok(0);
        }
        shell.out_line(&text)?;
    }
}

/// The bytes that a set such as `a-z[:digit:]\n` names, in order.
fn set(text: &[u8]) -> Result<Vec<u8>, String> {
    let mut units: Vec<(u8, bool)> = Vec::new();
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with(b"[:")
            && let Some(length) = text[at + 2..].windows(2).position(|pair| pair == b":]")
        {
            let name = &text[at + 2..at + 2 + length];
            let known = class(name).ok_or_else(|| format!("invalid character class '{}'", show(name)))?;
            units.extend(known.into_iter().flat_map(|(low, high)| low..=high).map(|byte| (byte, false)));
            at += length + 4;
            continue;
        }
        if text[at] == b'\\' && at + 1 < text.len() {
            match escape(&text[at + 1..], false).filter(|_| !b"xeEuU".contains(&text[at + 1])) {
                Some((bytes, read)) => {
                    units.push((bytes.first().copied().unwrap_or(0), false));
                    at += 1 + read;
                }
                None => {
                    units.push((text[at + 1], false));
                    at += 2;
                }
            }
            continue;
        }
        units.push((text[at], text[at] == b'-'));
        at += 1;
    }
    let mut bytes = Vec::new();
    let mut at = 0;
    while let Some((low, _)) = units.get(at) {
        match (units.get(at + 1), units.get(at + 2)) {
            (Some((_, true)), Some((high, _))) => {
                if high < low {
                    let (low, high) = (char::from(*low), char::from(*high));
                    return Err(format!("range-endpoints of '{low}-{high}' are in reverse collating sequence order"));
                }
                bytes.extend(*low..=*high);
                at += 3;
            }
            _ => {
                bytes.push(*low);
                at += 1;
            }
        }
    }
    Ok(bytes)
}

const TR_LONG: &[(&str, u8)] = &[("delete", b'd'), ("squeeze-repeats", b's'), ("complement", b'c')];

pub(crate) fn tr(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let options = options!(shell, args, "+dscCt", TR_LONG);
    let (delete, squeeze) = (options.has(b'd'), options.has(b's'));
    let operands = &options.operands;
    let Some(first) = operands.first() else { return shell.usage(b"tr", "missing operand") };
    if operands.len() == 1 && !delete && !squeeze {
        let what = format!("missing operand after '{}'\nTwo strings must be given when translating.", show(first));
        return shell.usage(b"tr", &what);
    }
    let sets = set(first).and_then(|first| Ok((first, operands.get(1).map(|text| set(text)).transpose()?)));
    let (mut from, to) = match sets {
        Ok(sets) => sets,
        Err(fault) => {
            shell.warn(&format!("tr: {fault}"))?;
            return Ok(1);
        }
    };
    if options.has(b'c') || options.has(b'C') {
        from = (0..=255).filter(|byte| !from.contains(byte)).collect();
    }
    let mut map: Vec<Option<u8>> = (0..=255).map(Some).collect();
    let mut squeezed = [false; 256];
    if delete {
        for byte in &from {
            map[usize::from(*byte)] = None;
        }
    } else if let Some(to) = &to {
        if to.is_empty() {
            shell.warn("tr: when not truncating set1, string2 must be non-empty")?;
            return Ok(1);
        }
        for (at, byte) in from.iter().enumerate() {
            map[usize::from(*byte)] = to.get(at).or(to.last()).copied();
        }
    }
    if squeeze {
        for byte in to.as_ref().unwrap_or(&from) {
            squeezed[usize::from(*byte)] = true;
        }
    }
    let mut source = Source::stdin(shell);
    while let Some((mut line, ended)) = source.line(shell, b'\n')? {
        if ended {
            line.push(b'\n');
        }
        // Runs that go on over a line's end are gathered with the rest below.
        if squeeze {
            line.extend(source.rest(shell)?);
        }
        let mut out: Vec<u8> = Vec::with_capacity(line.len());
        for byte in line {
            let Some(byte) = map[usize::from(byte)] else { continue };
            if !(squeezed[usize::from(byte)] && out.last() == Some(&byte)) {
                out.push(byte);
            }
        }
        shell.out(&out)?;
    }
    Ok(0)
}

fn parts(line: &[u8], separator: Option<u8>) -> Vec<Vec<u8>> {
    match separator {
        Some(separator) => line.split(|byte| *byte == separator).map(<[u8]>::to_vec).collect(),
        None => {
            let words = line.split(|byte| b" \t".contains(byte));
            words.filter(|word| !word.is_empty()).map(<[u8]>::to_vec).collect()
        }
    }
}

pub(crate) fn join_files(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let options = options!(shell, args, "t:1:2:j:a:", &[]);
    let field =
        |letter: u8| options.number(letter).or_else(|| options.number(b'j')).and_then(Result::ok).unwrap_or(1).max(1);
    let columns = [field(b'1'), field(b'2')];
    let separator = options.value(b't').and_then(|text| text.first().copied());
    let [_, _] = options.operands.as_slice() else { return shell.usage(b"join", "missing operand") };
    let (sources, all) = shell.sources("join", &options.operands)?;
    if !all {
        return Ok(1);
    }
    let mut tables: Vec<Vec<Vec<Vec<u8>>>> = Vec::new();
    for (_, mut source) in sources {
        let whole = source.rest(shell)?;
        tables.push(lines(&whole).into_iter().map(|line| parts(line, separator)).collect());
    }
    let [left, right] = tables.as_slice() else { return Ok(1) };
    let key = |row: &[Vec<u8>], side: usize| row.get(columns[side] - 1).cloned().unwrap_or_default();
    let unpaired = |side: &[u8]| options.values(b'a').contains(&side);
    let joiner = [separator.unwrap_or(b' ')];
    let others = |row: &[Vec<u8>], side: usize| -> Vec<Vec<u8>> {
        row.iter().enumerate().filter(|(at, _)| *at != columns[side] - 1).map(|(_, part)| part.clone()).collect()
    };
    let (mut at, mut from) = (0, 0);
    while at < left.len() || from < right.len() {
        shell.charge(1)?;
        let order = match (left.get(at), right.get(from)) {
            (Some(one), Some(two)) => key(one, 0).cmp(&key(two, 1)),
            (Some(_), None) => std::cmp::Ordering::Less,
            _ => std::cmp::Ordering::Greater,
        };
        if order.is_eq() {
            let same = key(&left[at], 0);
            let rows = right[from..].iter().take_while(|row| key(row, 1) == same).count();
            let ours = left[at..].iter().take_while(|row| key(row, 0) == same).count();
            for one in &left[at..at + ours] {
                for two in &right[from..from + rows] {
                    let row = [vec![same.clone()], others(one, 0), others(two, 1)].concat();
                    shell.out_line(&row.join(joiner.as_slice()))?;
                }
            }
            at += ours;
            from += rows;
            continue;
        }
        let (row, side, name): (_, _, &[u8]) =
            if order.is_lt() { (&left[at], 0, b"1") } else { (&right[from], 1, b"2") };
        if unpaired(name) {
            let row = [vec![key(row, side)], others(row, side)].concat();
            shell.out_line(&row.join(joiner.as_slice()))?;
        }
        if order.is_lt() { at += 1 } else { from += 1 }
    }
    Ok(0)
}
