//! `cat`, `head`, `tail`, `wc`, `tee`, `nl`, `rev`, `tac`, `fold`.

use super::super::files::Errno;
use super::super::read::{Source, lines};
use super::super::state::{Run, Shell, show};

const CAT_LONG: &[(&str, u8)] = &[
    ("number", b'n'),
    ("number-nonblank", b'b'),
    ("show-ends", b'E'),
    ("squeeze-blank", b's'),
    ("show-tabs", b'T'),
    ("show-all", b'A'),
];

pub(crate) fn cat(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let options = options!(shell, args, "nbEsTAvetu", CAT_LONG);
    let has = |letters: &[u8]| letters.iter().any(|letter| options.has(*letter));
    let (ends, tabs, squeeze) = (has(b"EAe"), has(b"TAt"), has(b"s"));
    let (sources, all) = shell.sources("cat", &options.operands)?;
    let mut number = 0;
    let mut blank_before = false;
    for (_, mut source) in sources {
        if !has(b"nbEsTAet") {
            source.copy(shell)?;
            continue;
        }
        while let Some((line, ended)) = source.line(shell, b'\n')? {
            if squeeze && line.is_empty() && blank_before {
                continue;
            }
            blank_before = line.is_empty();
            let mut text = Vec::new();
            if has(b"b") && !line.is_empty() || has(b"n") && !has(b"b") {
                number += 1;
                text.extend(format!("{number:6}\t").into_bytes());
            }
            for byte in line {
                if tabs && byte == b'\t' { text.extend(b"^I") } else { text.push(byte) }
            }
            if ended {
                text.extend_from_slice(if ends { b"$\n" } else { b"\n" });
            }
            shell.out(&text)?;
        }
    }
    Ok(i32::from(!all))
}

/// `5`, `-5`, `+5`, `2K`: the sign and the number.
fn count(text: &[u8]) -> Option<(u8, usize)> {
    let (sign, digits) = match text {
        [sign @ (b'-' | b'+'), rest @ ..] => (*sign, rest),
        _ => (b' ', text),
    };
    let (digits, factor) = match digits {
        [rest @ .., b'k' | b'K'] => (rest, 1 << 10),
        [rest @ .., b'M'] => (rest, 1 << 20),
        [rest @ .., b'b'] => (rest, 512),
        _ => (digits, 1),
    };
    let value: usize = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some((sign, value.saturating_mul(factor)))
}

/// `head -5` and `tail -5` as `-n 5`.
fn old_style(args: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut args = args.to_vec();
    if let Some(first) = args.get_mut(1)
        && first.len() > 1
        && matches!(first[0], b'-' | b'+')
        && first[1..].iter().all(u8::is_ascii_digit)
    {
        let sign: &[u8] = if first[0] == b'+' { b"+" } else { b"" };
        *first = [b"-n", sign, &first[1..]].concat();
    }
    args
}

const HEAD_LONG: &[(&str, u8)] =
    &[("lines", b'n'), ("bytes", b'c'), ("quiet", b'q'), ("silent", b'q'), ("verbose", b'v')];

pub(crate) fn head(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let args = old_style(args);
    let options = options!(shell, &args, "n:c:qv", HEAD_LONG);
    let bytes = options.last_of(b"nc") == Some(b'c');
    let text = options.value(if bytes { b'c' } else { b'n' }).unwrap_or(b"10").to_vec();
    let Some((sign, most)) = count(&text) else {
        let what = if bytes { "bytes" } else { "lines" };
        shell.warn(&format!("head: invalid number of {what}: '{}'", show(&text)))?;
        return Ok(1);
    };
    let headers = options.has(b'v') || options.operands.len() > 1 && !options.has(b'q');
    let (sources, all) = shell.sources("head", &options.operands)?;
    for (at, (name, mut source)) in sources.into_iter().enumerate() {
        if headers {
            header(shell, at, &name)?;
        }
        if bytes || sign == b'-' {
            let whole = if sign == b'-' { source.rest(shell)? } else { source.bytes(shell, most)? };
            let kept = match (bytes, sign) {
                (true, b'-') => whole.len().saturating_sub(most),
                (true, _) => whole.len().min(most),
                _ => {
                    let ends = line_ends(&whole);
                    ends.len().checked_sub(most + 1).and_then(|last| ends.get(last).copied()).unwrap_or(0)
                }
            };
            shell.out(&whole[..kept])?;
            continue;
        }
        for _ in 0..most {
            let Some((mut line, ended)) = source.line(shell, b'\n')? else { break };
            if ended {
                line.push(b'\n');
            }
            shell.out(&line)?;
        }
    }
    Ok(i32::from(!all))
}

/// Where each line ends, its newline included.
fn line_ends(text: &[u8]) -> Vec<usize> {
    let mut ends: Vec<usize> =
        text.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1).collect();
    if text.last().is_some_and(|byte| *byte != b'\n') {
        ends.push(text.len());
    }
    ends
}

fn header(shell: &mut Shell, at: usize, name: &[u8]) -> Run<()> {
    let name = if name == b"-" { "standard input".to_owned() } else { show(name) };
    let gap = if at > 0 { "\n" } else { "" };
    shell.out(format!("{gap}==> {name} <==\n").as_bytes())
}

const TAIL_LONG: &[(&str, u8)] = &[("lines", b'n'), ("bytes", b'c'), ("quiet", b'q'), ("verbose", b'v')];

pub(crate) fn tail(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let args = old_style(args);
    let options = options!(shell, &args, "n:c:qv", TAIL_LONG);
    let bytes = options.last_of(b"nc") == Some(b'c');
    let text = options.value(if bytes { b'c' } else { b'n' }).unwrap_or(b"10").to_vec();
    let Some((sign, most)) = count(&text) else {
        let what = if bytes { "bytes" } else { "lines" };
        shell.warn(&format!("tail: invalid number of {what}: '{}'", show(&text)))?;
        return Ok(1);
    };
    let headers = options.has(b'v') || options.operands.len() > 1 && !options.has(b'q');
    let mut shown = 0;
    let mut status = 0;
    let names = if options.operands.is_empty() { vec![b"-".to_vec()] } else { options.operands.clone() };
    for name in &names {
        let mut source = match Source::open(shell, name) {
            Ok(source) => source,
            Err(errno) => {
                let verb = if errno == Errno::IsDirectory { "error reading" } else { "cannot open" };
                let tail = if errno == Errno::IsDirectory { "" } else { " for reading" };
                shell.warn(&format!("tail: {verb} '{}'{tail}: {}", show(name), errno.text()))?;
                status = 1;
                continue;
            }
        };
        if headers {
            header(shell, shown, name)?;
        }
        shown += 1;
        let whole = source.rest(shell)?;
        let ends = line_ends(&whole);
        let from = match (bytes, sign) {
            (true, b'+') => most.saturating_sub(1).min(whole.len()),
            (true, _) => whole.len().saturating_sub(most),
            (false, b'+') => match most {
                0 | 1 => 0,
                _ => ends.get(most - 2).copied().unwrap_or(whole.len()),
            },
            (false, _) => match ends.len().checked_sub(most) {
                None | Some(0) => 0,
                Some(skipped) => ends[skipped - 1],
            },
        };
        shell.out(&whole[from..])?;
    }
    Ok(status)
}

const WC_LONG: &[(&str, u8)] =
    &[("lines", b'l'), ("words", b'w'), ("bytes", b'c'), ("chars", b'm'), ("max-line-length", b'L')];

pub(crate) fn wc(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let options = options!(shell, args, "lwcmL", WC_LONG);
    let mut columns: Vec<u8> = b"lwmcL".iter().copied().filter(|letter| options.has(*letter)).collect();
    if columns.is_empty() {
        columns = b"lwc".to_vec();
    }
    let mut rows: Vec<(Vec<usize>, Option<Vec<u8>>)> = Vec::new();
    let mut totals = vec![0; columns.len()];
    let mut status = 0;
    let from_stdin = options.operands.is_empty();
    let names = if from_stdin { vec![b"-".to_vec()] } else { options.operands.clone() };
    let mut faults = Vec::new();
    for name in &names {
        let whole = match Source::open(shell, name) {
            Ok(mut source) => source.rest(shell)?,
            Err(errno) => {
                faults.push((rows.len(), format!("wc: {}: {}", show(name), errno.text())));
                status = 1;
                if errno != Errno::IsDirectory {
                    continue;
                }
                Vec::new()
            }
        };
        let counts: Vec<usize> = columns.iter().map(|letter| measure(&whole, *letter)).collect();
        for ((total, count), letter) in totals.iter_mut().zip(&counts).zip(&columns) {
            *total = if *letter == b'L' { (*total).max(*count) } else { *total + count };
        }
        rows.push((counts, (!from_stdin).then(|| name.clone())));
    }
    let sum = totals.iter().copied().max().unwrap_or(0).to_string().len();
    let size: usize = rows.iter().map(|(_, name)| name.as_ref().map_or(0, |name| size_of(shell, name))).sum();
    let width = if columns.len() == 1 && rows.len() <= 1 && names.len() == 1 {
        1
    } else if names.iter().any(|name| name == b"-") || status == 1 && names.iter().any(|name| shell.path_is_dir(name)) {
        7
    } else {
        sum.max(size.to_string().len())
    };
    if names.len() > 1 {
        rows.push((totals, Some(b"total".to_vec())));
    }
    let mut faults = faults.into_iter().peekable();
    for (at, (counts, name)) in rows.into_iter().enumerate() {
        while let Some((_, fault)) = faults.next_if(|(before, _)| *before <= at) {
            shell.warn(&fault)?;
        }
        let cells: Vec<String> = counts.iter().map(|count| format!("{count:width$}")).collect();
        let mut line = cells.join(" ").into_bytes();
        if let Some(name) = name {
            line.push(b' ');
            line.extend(name);
        }
        shell.out_line(&line)?;
    }
    for (_, fault) in faults {
        shell.warn(&fault)?;
    }
    Ok(status)
}

fn size_of(shell: &Shell, name: &[u8]) -> usize {
    let id = shell.files.find(&shell.env.cwd, name, true);
    id.ok().and_then(|id| shell.files.node(id)).filter(|node| node.is_file()).map_or(0, |node| node.size())
}

fn measure(text: &[u8], what: u8) -> usize {
    match what {
        b'l' => text.iter().filter(|byte| **byte == b'\n').count(),
        b'w' => text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).count(),
        b'L' => lines(text).iter().map(|line| line.len()).max().unwrap_or(0),
        _ => text.len(),
    }
}

pub(crate) fn tee(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let options = options!(shell, args, "ai", &[("append", b'a')]);
    let text = Source::stdin(shell).rest(shell)?;
    shell.out(&text)?;
    let mut status = 0;
    for name in &options.operands {
        let opened = shell.open_output(name, options.has(b'a'));
        shell.check_files()?;
        match opened {
            Ok(fd) => {
                // Written through a descriptor of its own, so that limits hold.
                let saved = shell.env.fds.insert(99, fd);
                shell.write(99, &text)?;
                match saved {
                    Some(saved) => shell.env.fds.insert(99, saved),
                    None => shell.env.fds.remove(&99),
                };
            }
            Err(errno) => {
                shell.warn_path("tee", name, errno)?;
                status = 1;
            }
        }
    }
    Ok(status)
}

pub(crate) fn nl(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let options = options!(shell, args, "b:w:s:v:i:n:", &[("body-numbering", b'b')]);
    let number = |letter: u8, usual: usize| options.number(letter).and_then(Result::ok).unwrap_or(usual).min(4096);
    let (width, step) = (number(b'w', 6), number(b'i', 1));
    let mut next = number(b'v', 1);
    let separator = options.value(b's').unwrap_or(b"\t").to_vec();
    let every = options.value(b'b').is_some_and(|style| style == b"a");
    let none = options.value(b'b').is_some_and(|style| style == b"n");
    let style = options.value(b'n').unwrap_or(b"rn").to_vec();
    let (sources, all) = shell.sources("nl", &options.operands)?;
    for (_, mut source) in sources {
        while let Some((line, _)) = source.line(shell, b'\n')? {
            let mut text = if !none && (every || !line.is_empty()) {
                let mut text = match style.as_slice() {
                    b"ln" => format!("{next:<width$}"),
                    b"rz" => format!("{next:0width$}"),
                    _ => format!("{next:width$}"),
                }
                .into_bytes();
                text.extend_from_slice(&separator);
                next += step;
                text
            } else {
                vec![b' '; width + separator.len()]
            };
            text.extend(line);
            shell.out_line(&text)?;
        }
    }
    Ok(i32::from(!all))
}

pub(crate) fn rev(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let options = options!(shell, args, "", &[]);
    let (sources, all) = shell.sources("rev", &options.operands)?;
    for (_, mut source) in sources {
        while let Some((mut line, ended)) = source.line(shell, b'\n')? {
            line.reverse();
            if ended {
                line.push(b'\n');
            }
            shell.out(&line)?;
        }
    }
    Ok(i32::from(!all))
}

pub(crate) fn tac(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let options = options!(shell, args, "", &[]);
    let (sources, all) = shell.sources("tac", &options.operands)?;
    for (_, mut source) in sources {
        let whole = source.rest(shell)?;
        let mut end = whole.len();
        for start in line_ends(&whole).into_iter().rev().skip(1).chain([0]) {
            shell.out(&whole[start..end])?;
            end = start;
        }
    }
    Ok(i32::from(!all))
}

pub(crate) fn fold(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let options = options!(shell, args, "w:sb", &[("width", b'w'), ("spaces", b's'), ("bytes", b'b')]);
    let width = match options.number(b'w') {
        None => 80,
        Some(Ok(width)) if width > 0 => width,
        Some(other) => {
            let text = other.map_or_else(|text| text, |width| width.to_string());
            shell.warn(&format!("fold: invalid number of columns: '{text}'"))?;
            return Ok(1);
        }
    };
    let (sources, all) = shell.sources("fold", &options.operands)?;
    for (_, mut source) in sources {
        while let Some((line, ended)) = source.line(shell, b'\n')? {
            let mut rest = line.as_slice();
            while rest.len() > width {
                let space = rest[..width].iter().rposition(|byte| *byte == b' ').filter(|_| options.has(b's'));
                let cut = space.map_or(width, |at| at + 1);
                shell.out_line(&rest[..cut])?;
                rest = &rest[cut..];
            }
            shell.out(rest)?;
            if ended {
                shell.out(b"\n")?;
            }
        }
    }
    Ok(i32::from(!all))
}
