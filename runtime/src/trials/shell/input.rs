//! `read` and `mapfile`.

use super::builtins::number;
use super::read::Source;
use super::state::{Run, Shell, Value, Var};
use std::collections::BTreeMap;

pub(crate) fn read(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let options = match shell.options(args, "+rp:d:n:N:a:st:u:e", &[])? {
        Ok(options) => options,
        Err(_) => return Ok(2),
    };
    let raw = options.has(b'r');
    let end = options.value(b'd').map_or(b'\n', |text| text.first().copied().unwrap_or(0));
    let fd = options.value(b'u').and_then(number).and_then(|fd| u32::try_from(fd).ok());
    let saved = shell.env.fds.get(&0).cloned();
    if let Some(stream) = fd.and_then(|fd| shell.env.fds.get(&fd).cloned()) {
        shell.env.fds.insert(0, stream);
    }
    let mut source = Source::stdin(shell);
    match saved {
        Some(saved) => shell.env.fds.insert(0, saved),
        None => shell.env.fds.remove(&0),
    };
    let most = options.number(b'n').or_else(|| options.number(b'N')).and_then(Result::ok);
    let (text, live, complete) = read_text(shell, &mut source, raw, end, most)?;
    let names = &options.operands;
    if let Some(array) = options.value(b'a') {
        let fields = split_read(shell, &text, &live, usize::MAX);
        let items: BTreeMap<usize, Vec<u8>> = fields.into_iter().enumerate().collect();
        shell.env.vars.insert(array.to_vec(), Var { value: Some(Value::List(items)), ..Var::default() });
    } else if names.is_empty() {
        shell.assign(b"REPLY", text)?;
    } else {
        let mut fields = split_read(shell, &text, &live, names.len()).into_iter();
        for name in names {
            let value = fields.next().unwrap_or_default();
            shell.assign(name, value)?;
        }
    }
    Ok(i32::from(!complete))
}

/// The bytes, which of them may part fields, and whether the line's end was seen.
type Line = (Vec<u8>, Vec<bool>, bool);

/// A line with its backslashes taken out, which bytes may part fields, and whether its end was seen.
fn read_text(shell: &mut Shell, source: &mut Source, raw: bool, end: u8, most: Option<usize>) -> Run<Line> {
    let (mut text, mut live) = (Vec::new(), Vec::new());
    if let Some(most) = most {
        while text.len() < most {
            let byte = source.bytes(shell, 1)?;
            match byte.first() {
                None => return Ok((text, live, false)),
                Some(byte) if *byte == end => break,
                Some(byte) => text.push(*byte),
            }
            live.push(true);
        }
        return Ok((text, live, true));
    }
    loop {
        let Some((line, ended)) = source.line(shell, end)? else { return Ok((text, live, false)) };
        let mut bytes = line.into_iter();
        let mut continued = false;
        while let Some(byte) = bytes.next() {
            if byte == b'\\' && !raw {
                match bytes.next() {
                    Some(next) => {
                        text.push(next);
                        live.push(false);
                    }
                    None => continued = true,
                }
            } else if byte != 0 {
                text.push(byte);
                live.push(true);
            }
        }
        if !(continued && ended) {
            return Ok((text, live, ended));
        }
    }
}

/// Parts a line at `IFS` into at most `most` fields, the last with all the rest.
fn split_read(shell: &Shell, text: &[u8], live: &[bool], most: usize) -> Vec<Vec<u8>> {
    let ifs = shell.text_of(b"IFS").unwrap_or_else(|| b" \t\n".to_vec());
    let parts = |at: usize| live[at] && ifs.contains(&text[at]);
    let blank = |at: usize| parts(at) && text[at].is_ascii_whitespace();
    let mut end = text.len();
    while end > 0 && blank(end - 1) {
        end -= 1;
    }
    let mut at = (0..end).find(|at| !blank(*at)).unwrap_or(end);
    let mut fields = Vec::new();
    while at < end {
        if fields.len() + 1 == most {
            let mut rest = text[at..end].to_vec();
            // One separator at the very end goes, if it is the only one.
            if parts(end - 1) && !(at..end - 1).any(parts) {
                rest.pop();
            }
            fields.push(rest);
            return fields;
        }
        let stop = (at..end).find(|at| parts(*at)).unwrap_or(end);
        fields.push(text[at..stop].to_vec());
        at = stop;
        while at < end && blank(at) {
            at += 1;
        }
        if at < end && parts(at) && at >= stop && !blank(at) {
            at += 1;
            while at < end && blank(at) {
                at += 1;
            }
        }
    }
    fields
}

pub(crate) fn mapfile(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let options = match shell.options(args, "+td:n:s:", &[])? {
        Ok(options) => options,
        Err(_) => return Ok(2),
    };
    let end = options.value(b'd').map_or(b'\n', |text| text.first().copied().unwrap_or(0));
    let most = options.number(b'n').and_then(Result::ok).filter(|most| *most > 0).unwrap_or(usize::MAX);
    let skip = options.number(b's').and_then(Result::ok).unwrap_or(0);
    let mut source = Source::stdin(shell);
    let mut items = BTreeMap::new();
    let mut seen = 0;
    while items.len() < most {
        let Some((mut line, ended)) = source.line(shell, end)? else { break };
        seen += 1;
        if seen <= skip {
            continue;
        }
        if ended && !options.has(b't') {
            line.push(end);
        }
        items.insert(items.len(), line);
    }
    let name = options.operands.first().cloned().unwrap_or_else(|| b"MAPFILE".to_vec());
    shell.env.vars.insert(name, Var { value: Some(Value::List(items)), ..Var::default() });
    Ok(0)
}
