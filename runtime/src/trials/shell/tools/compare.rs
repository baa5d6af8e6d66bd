//! `diff`, `cmp`, `comm`.

use super::super::files::join;
use super::super::options::Options;
use super::super::read::{Source, lines};
use super::super::state::{Run, Shell, show};
use similar::{Algorithm, DiffOp, capture_diff_slices};

/// The bytes of two operands; the complaint has been made if there are none.
fn both(shell: &mut Shell, tool: &str, operands: &[Vec<u8>]) -> Run<Option<(Vec<u8>, Vec<u8>)>> {
    let mut texts = Vec::new();
    let mut faults = 0;
    for name in operands {
        match Source::open(shell, name) {
            Ok(mut source) => texts.push(source.rest(shell)?),
            Err(errno) => {
                shell.warn_path(tool, name, errno)?;
                faults += 1;
            }
        }
    }
    let right = texts.pop();
    Ok(if faults > 0 { None } else { texts.pop().zip(right) })
}

pub(crate) fn comm(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let options = options!(shell, args, "123", &[]);
    if options.operands.len() != 2 {
        return shell.usage(b"comm", "missing operand");
    }
    let Some((left, right)) = both(shell, "comm", &options.operands)? else { return Ok(1) };
    let (left, right) = (lines(&left), lines(&right));
    let (mut at, mut from) = (0, 0);
    while at < left.len() || from < right.len() {
        let order = match (left.get(at), right.get(from)) {
            (Some(one), Some(two)) => one.cmp(two),
            (Some(_), None) => std::cmp::Ordering::Less,
            _ => std::cmp::Ordering::Greater,
        };
        let (column, line) = match order {
            std::cmp::Ordering::Less => (b'1', left[at]),
            std::cmp::Ordering::Greater => (b'2', right[from]),
            std::cmp::Ordering::Equal => (b'3', left[at]),
        };
        at += usize::from(order.is_le());
        from += usize::from(order.is_ge());
        if !options.has(column) {
            let tabs = (b'1'..column).filter(|before| !options.has(*before)).count();
            shell.out_line(&[vec![b'\t'; tabs].as_slice(), line].concat())?;
        }
    }
    Ok(0)
}

pub(crate) fn cmp(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let options = options!(shell, args, "sl", &[("silent", b's'), ("quiet", b's')]);
    let [one, two] = options.operands.as_slice() else { return shell.usage(b"cmp", "missing operand") };
    let Some((left, right)) = both(shell, "cmp", &options.operands)? else { return Ok(2) };
    if left == right {
        return Ok(0);
    }
    if options.has(b's') {
        return Ok(1);
    }
    let same = left.iter().zip(&right).take_while(|(left, right)| left == right).count();
    let line = left[..same].iter().filter(|byte| **byte == b'\n').count();
    let (one, two) = (show(one), show(two));
    if same == left.len() || same == right.len() {
        let shorter = if left.len() < right.len() { one } else { two };
        let place = match same {
            0 => "which is empty".to_owned(),
            _ if left[..same].ends_with(b"\n") => format!("after byte {same}, line {line}"),
            _ => format!("after byte {same}, in line {}", line + 1),
        };
        shell.warn(&format!("cmp: EOF on {shorter} {place}"))?;
    } else {
        shell.out_line(format!("{one} {two} differ: char {}, line {}", same + 1, line + 1).as_bytes())?;
    }
    Ok(1)
}

const LONG: &[(&str, u8)] = &[
    ("unified", b'u'),
    ("brief", b'q'),
    ("recursive", b'r'),
    ("report-identical-files", b's'),
    ("ignore-case", b'i'),
    ("ignore-all-space", b'w'),
    ("ignore-space-change", b'b'),
    ("ignore-blank-lines", b'B'),
    ("new-file", b'N'),
];

pub(crate) fn diff(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let options = options!(shell, args, "uqrsiwbNU:", LONG);
    let [one, two] = options.operands.as_slice() else {
        return shell.usage(b"diff", "missing operand");
    };
    let (one, two) = match (shell.path_is_dir(one), shell.path_is_dir(two)) {
        (true, true) => return directories(shell, one, two, &options),
        (true, false) => (join(one, super::names::base_of(two)), two.clone()),
        (false, true) => (one.clone(), join(two, super::names::base_of(one))),
        _ => (one.clone(), two.clone()),
    };
    pair(shell, &one, &two, &options, None)
}

fn directories(shell: &mut Shell, one: &[u8], two: &[u8], options: &Options) -> Run {
    let names = |shell: &Shell, path: &[u8]| -> Vec<Vec<u8>> {
        let id = shell.files.find(&shell.env.cwd, path, true).ok();
        id.and_then(|id| shell.files.children(id)).map(|all| all.keys().cloned().collect()).unwrap_or_default()
    };
    let (left, right) = (names(shell, one), names(shell, two));
    let mut all: Vec<Vec<u8>> = left.iter().chain(&right).cloned().collect();
    all.sort();
    all.dedup();
    let mut status = 0;
    for name in all {
        shell.charge(1)?;
        let only = if !right.contains(&name) {
            Some(one)
        } else if !left.contains(&name) {
            Some(two)
        } else {
            None
        };
        if let Some(place) = only {
            shell.out_line(format!("Only in {}: {}", show(place), show(&name)).as_bytes())?;
            status = 1;
            continue;
        }
        let (one, two) = (join(one, &name), join(two, &name));
        if shell.path_is_dir(&one) && shell.path_is_dir(&two) {
            if options.has(b'r') {
                status = status.max(shell.nested(|shell| directories(shell, &one, &two, options))?);
            } else {
                shell.out_line(format!("Common subdirectories: {} and {}", show(&one), show(&two)).as_bytes())?;
            }
            continue;
        }
        let flags: String = options.given.iter().map(|(letter, _)| format!("-{} ", char::from(*letter))).collect();
        let title = format!("diff {flags}{} {}", show(&one), show(&two));
        status = status.max(pair(shell, &one, &two, options, Some(&title))?);
    }
    Ok(status)
}

fn pair(shell: &mut Shell, one: &[u8], two: &[u8], options: &Options, title: Option<&str>) -> Run {
    let Some((left, right)) = both(shell, "diff", &[one.to_vec(), two.to_vec()])? else { return Ok(2) };
    let folded = |text: &[u8]| -> Vec<Vec<u8>> {
        let end = !text.is_empty() && !text.ends_with(b"\n");
        let mut rows: Vec<Vec<u8>> = lines(text).into_iter().map(|line| folded_line(line, options)).collect();
        if let Some(last) = rows.last_mut().filter(|_| end) {
            // A last line without its newline is another line.
            last.extend_from_slice(b"\n\\");
        }
        rows
    };
    let (a, b) = (folded(&left), folded(&right));
    shell.charge(1 + (a.len() + b.len()) as u64)?;
    if a == b {
        if options.has(b's') {
            shell.out_line(format!("Files {} and {} are identical", show(one), show(two)).as_bytes())?;
        }
        return Ok(0);
    }
    if options.has(b'q') {
        shell.out_line(format!("Files {} and {} differ", show(one), show(two)).as_bytes())?;
        return Ok(1);
    }
    if let Some(title) = title {
        shell.out_line(title.as_bytes())?;
    }
    // Myers' method takes lines × differences steps.
    shell.charge((a.len() as u64 + b.len() as u64).pow(2) / 256)?;
    let ops = capture_diff_slices(Algorithm::Myers, &a, &b);
    let sides =
        Sides { left: lines(&left), right: lines(&right), ends: [left.ends_with(b"\n"), right.ends_with(b"\n")] };
    if options.has(b'u') || options.has(b'U') {
        let around = options.number(b'U').and_then(Result::ok).unwrap_or(3).min(1000);
        shell.out_line(format!("--- {}\t1970-01-01 00:00:00.000000000 +0000", show(one)).as_bytes())?;
        shell.out_line(format!("+++ {}\t1970-01-01 00:00:00.000000000 +0000", show(two)).as_bytes())?;
        for group in similar::group_diff_ops(ops, around) {
            unified(shell, &sides, &group)?;
        }
    } else {
        for op in ops.iter().filter(|op| !matches!(op, DiffOp::Equal { .. })) {
            normal(shell, &sides, op)?;
        }
    }
    Ok(1)
}

fn folded_line(line: &[u8], options: &Options) -> Vec<u8> {
    let mut line = if options.has(b'i') { line.to_ascii_lowercase() } else { line.to_vec() };
    if options.has(b'w') {
        line.retain(|byte| !byte.is_ascii_whitespace());
    } else if options.has(b'b') {
        let words: Vec<&[u8]> = line.split(u8::is_ascii_whitespace).collect();
        let mut kept: Vec<&[u8]> = Vec::new();
        for (at, word) in words.iter().enumerate() {
            if at == 0 || !word.is_empty() {
                kept.push(word);
            }
        }
        line = kept.join(&b' ');
    }
    line
}

struct Sides<'a> {
    left: Vec<&'a [u8]>,
    right: Vec<&'a [u8]>,
    ends: [bool; 2],
}

impl Sides<'_> {
    fn line(&self, shell: &mut Shell, mark: &[u8], side: usize, at: usize) -> Run<()> {
        let all = if side == 0 { &self.left } else { &self.right };
        shell.out_line(&[mark, all.get(at).copied().unwrap_or_default()].concat())?;
        if at + 1 == all.len() && !self.ends[side] {
            shell.out_line(b"\\ No newline at end of file")?;
        }
        Ok(())
    }
}

fn normal(shell: &mut Shell, sides: &Sides<'_>, op: &DiffOp) -> Run<()> {
    let (old, new) = (op.old_range(), op.new_range());
    let span = |range: &std::ops::Range<usize>| match range.len() {
        0 => range.start.to_string(),
        1 => (range.start + 1).to_string(),
        _ => format!("{},{}", range.start + 1, range.end),
    };
    let letter = if old.is_empty() {
        'a'
    } else if new.is_empty() {
        'd'
    } else {
        'c'
    };
    shell.out_line(format!("{}{letter}{}", span(&old), span(&new)).as_bytes())?;
    for at in old.clone() {
        sides.line(shell, b"< ", 0, at)?;
    }
    if letter == 'c' {
        shell.out_line(b"---")?;
    }
    for at in new {
        sides.line(shell, b"> ", 1, at)?;
    }
    Ok(())
}

fn unified(shell: &mut Shell, sides: &Sides<'_>, group: &[DiffOp]) -> Run<()> {
    let (Some(first), Some(last)) = (group.first(), group.last()) else { return Ok(()) };
    let span = |from: usize, to: usize| match to - from {
        0 => format!("{from},0"),
        1 => format!("{}", from + 1),
        count => format!("{},{count}", from + 1),
    };
    let old = span(first.old_range().start, last.old_range().end);
    let new = span(first.new_range().start, last.new_range().end);
    shell.out_line(format!("@@ -{old} +{new} @@").as_bytes())?;
    for op in group {
        if matches!(op, DiffOp::Equal { .. }) {
            for at in op.old_range() {
                sides.line(shell, b" ", 0, at)?;
            }
            continue;
        }
        for at in op.old_range() {
            sides.line(shell, b"-", 0, at)?;
        }
        for at in op.new_range() {
            sides.line(shell, b"+", 1, at)?;
        }
    }
    Ok(())
}
