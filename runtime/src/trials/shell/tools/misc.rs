//! `seq`, `expr`, `yes`, `id`, `uname`, `sleep`, `env`, `printenv`, `which`, `bash`, `timeout`.

use super::super::numbers::{Directive, directive, leading_number};
use super::super::regex::{Dialect, Matcher};
use super::super::state::{Run, Shell, Value, Var, show};
use std::collections::BTreeMap;

/// What `seq` is asked for.
struct Sequence {
    separator: Vec<u8>,
    wide: bool,
    format: Option<Vec<u8>>,
    numbers: Vec<(f64, Vec<u8>)>,
}

fn sequence(shell: &mut Shell, args: &[Vec<u8>]) -> Run<Result<Sequence, i32>> {
    let mut separator = b"\n".to_vec();
    let (mut wide, mut format) = (false, None);
    let mut numbers = Vec::new();
    let mut rest = args[1..].iter();
    while let Some(arg) = rest.next() {
        match arg.as_slice() {
            b"-w" | b"--equal-width" => wide = true,
            b"-s" => separator = rest.next().cloned().unwrap_or_default(),
            b"-f" => format = rest.next().cloned(),
            [b'-', b's', tail @ ..] => separator = tail.to_vec(),
            [b'-', b'f', tail @ ..] => format = Some(tail.to_vec()),
            [b'-', first, ..] if !first.is_ascii_digit() && *first != b'.' => {
                shell.lack(&format!("seq {}", show(arg)));
                return shell.usage(b"seq", &format!("invalid option -- '{}'", char::from(*first))).map(Err);
            }
            text => {
                let (value, read) = leading_number(text);
                if read == 0 || read < text.len() {
                    return shell.usage(b"seq", &format!("invalid floating point argument: '{}'", show(text))).map(Err);
                }
                numbers.push((value, text.to_vec()));
            }
        }
    }
    Ok(Ok(Sequence { separator, wide, format, numbers }))
}

pub(crate) fn seq(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let Sequence { separator, wide, format, numbers } = match sequence(shell, args)? {
        Ok(sequence) => sequence,
        Err(status) => return Ok(status),
    };
    let one = (1.0, b"1".to_vec());
    let (first, step, last) = match numbers.as_slice() {
        [last] => (one.clone(), one, last.clone()),
        [first, last] => (first.clone(), one, last.clone()),
        [first, step, last] => (first.clone(), step.clone(), last.clone()),
        [] => return shell.usage(b"seq", "missing operand"),
        [_, _, _, (_, extra), ..] => return shell.usage(b"seq", &format!("extra operand '{}'", show(extra))),
    };
    if step.0 == 0.0 {
        return shell.usage(b"seq", &format!("invalid Zero increment value: '{}'", show(&step.1)));
    }
    let decimals = |text: &[u8]| text.iter().position(|byte| *byte == b'.').map_or(0, |at| text.len() - at - 1);
    let precision = decimals(&first.1).max(decimals(&step.1)).min(100);
    let width = if wide {
        let length = |value: f64| format!("{value:.precision$}").len();
        length(first.0).max(length(last.0)).min(1000)
    } else {
        0
    };
    let custom = format.as_deref().and_then(|text| {
        let at = text.iter().position(|byte| *byte == b'%')?;
        let (made, read) = directive(&text[at + 1..], &mut || 0)?;
        Some((text[..at].to_vec(), made, text[at + 1 + read..].to_vec()))
    });
    let plain = Directive {
        zero: wide,
        width: Some(width),
        precision: Some(precision),
        conversion: b'f',
        ..Directive::default()
    };
    let count = ((last.0 - first.0) / step.0 + 1e-10).floor();
    let mut at = 0.0;
    while at <= count {
        shell.charge(1)?;
        let value = first.0 + at * step.0;
        if at > 0.0 {
            shell.out(&separator)?;
        }
        match &custom {
            Some((before, made, behind)) => shell.out(&[before.as_slice(), &made.float(value), behind].concat())?,
            None => shell.out(&plain.float(if value == 0.0 { 0.0 } else { value }))?,
        }
        at += 1.0;
    }
    if count >= 0.0 {
        shell.out(b"\n")?;
    }
    Ok(0)
}

pub(crate) fn yes(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let mut line = if args.len() > 1 { args[1..].join(&b' ') } else { b"y".to_vec() };
    line.push(b'\n');
    let block = line.repeat((1024 / line.len()).max(1));
    loop {
        shell.charge(1)?;
        shell.out(&block)?;
    }
}

pub(crate) fn id(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let letters: Vec<u8> = args[1..].iter().flatten().copied().filter(|byte| *byte != b'-').collect();
    let named = letters.contains(&b'n');
    let text = if letters.contains(&b'u') || letters.contains(&b'g') || letters.contains(&b'G') {
        if named { "user" } else { "1000" }
    } else {
        "uid=1000(user) gid=1000(user) groups=1000(user)"
    };
    shell.out_line(text.as_bytes())?;
    Ok(0)
}

pub(crate) fn uname(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let text = match args.get(1).map(Vec::as_slice) {
        None | Some(b"-s") => "Linux",
        Some(b"-m") => "x86_64",
        Some(b"-n") => "localhost",
        Some(b"-a") => "Linux localhost 0.0.0 x86_64 GNU/Linux",
        Some(other) => {
            let what = format!("uname {}", show(other));
            shell.lack(&what);
            return Ok(1);
        }
    };
    shell.out_line(text.as_bytes())?;
    Ok(0)
}

/// No time passes.
pub(crate) fn sleep(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    if args.len() < 2 {
        return shell.usage(b"sleep", "missing operand");
    }
    for text in &args[1..] {
        let (_, read) = leading_number(text);
        if read == 0 || !matches!(&text[read..], b"" | b"s" | b"m" | b"h" | b"d") {
            return shell.usage(b"sleep", &format!("invalid time interval '{}'", show(text)));
        }
    }
    Ok(0)
}

fn exported(shell: &Shell) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut all = Vec::new();
    for (name, var) in &shell.env.vars {
        if let (true, Some(Value::Text(text))) = (var.exported, &var.value) {
            all.push((name.clone(), text.clone()));
        }
    }
    all
}

pub(crate) fn env(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let mut rest = &args[1..];
    let mut changed: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
    loop {
        match rest {
            [option, tail @ ..] if option == b"-i" || option == b"-" => {
                changed.extend(exported(shell).into_iter().map(|(name, _)| (name, None)));
                rest = tail;
            }
            [option, name, tail @ ..] if option == b"-u" => {
                changed.insert(name.clone(), None);
                rest = tail;
            }
            [assign, tail @ ..] if assign.contains(&b'=') => {
                let at = assign.iter().position(|byte| *byte == b'=').unwrap_or(0);
                changed.insert(assign[..at].to_vec(), Some(assign[at + 1..].to_vec()));
                rest = tail;
            }
            _ => break,
        }
    }
    let rest = rest.to_vec();
    shell.subshell(|shell| {
        for (name, value) in changed {
            match value {
                Some(text) => {
                    let value = Some(Value::Text(text));
                    shell.env.vars.insert(name, Var { value, exported: true, ..Var::default() });
                }
                None => {
                    shell.env.vars.remove(&name);
                }
            }
        }
        if !rest.is_empty() {
            return shell.run_tool(&rest);
        }
        for (name, text) in exported(shell) {
            shell.out_line(&[name.as_slice(), b"=", &text].concat())?;
        }
        Ok(0)
    })
}

pub(crate) fn printenv(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let all = exported(shell);
    if args.len() < 2 {
        for (name, text) in all {
            shell.out_line(&[name.as_slice(), b"=", &text].concat())?;
        }
        return Ok(0);
    }
    let mut status = 0;
    for name in &args[1..] {
        match all.iter().find(|(own, _)| own == name) {
            Some((_, text)) => shell.out_line(text)?,
            None => status = 1,
        }
    }
    Ok(status)
}

pub(crate) fn which(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let mut status = 0;
    for name in args[1..].iter().filter(|arg| !arg.starts_with(b"-")) {
        if super::find(name).is_some() {
            shell.out_line(&[b"/usr/bin/".as_slice(), name].concat())?;
        } else {
            status = 1;
        }
    }
    Ok(status)
}

pub(crate) fn bash(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let mut rest = &args[1..];
    let mut settings = Vec::new();
    while let [option, tail @ ..] = rest {
        match option.as_slice() {
            b"-c" => {
                let [text, tail @ ..] = tail else { return Ok(2) };
                let (name, params) = match tail {
                    [name, params @ ..] => (name.clone(), params.to_vec()),
                    [] => (b"bash".to_vec(), Vec::new()),
                };
                let text = [settings.concat(), text.clone()].concat();
                return shell.run_script(&name, &text, &params);
            }
            [b'-', letters @ ..] if !letters.is_empty() && letters != b"-" => {
                settings.push([b"set -".as_slice(), letters, b"; "].concat());
                rest = tail;
            }
            _ => break,
        }
    }
    match rest {
        [] => {
            let text = super::super::read::Source::stdin(shell).rest(shell)?;
            shell.run_script(b"bash", &text, &[])
        }
        [file, params @ ..] => {
            let text = shell.files.find(&shell.env.cwd, file, true).and_then(|id| shell.files.bytes_of(id));
            match text {
                Ok(text) => {
                    let text = [settings.concat(), text.to_vec()].concat();
                    shell.run_script(file, &text, params)
                }
                Err(errno) => {
                    shell.complain(&format!("{}: {}", show(file), errno.text()))?;
                    Ok(127)
                }
            }
        }
    }
}

/// No time passes, so nothing is late.
pub(crate) fn timeout(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let at = args.iter().skip(1).position(|arg| !arg.starts_with(b"-")).map_or(args.len(), |at| at + 2);
    shell.run_tool(args.get(at..).unwrap_or_default())
}

struct Expr<'a> {
    words: &'a [Vec<u8>],
    at: usize,
    depth: usize,
}

type Operand = Result<Vec<u8>, String>;

pub(crate) fn expr(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    if args.len() < 2 {
        return shell.usage(b"expr", "missing operand").map(|_| 2);
    }
    shell.charge(args.len() as u64)?;
    let mut reader = Expr { words: &args[1..], at: 0, depth: 0 };
    let value = reader.level(0).and_then(|value| match reader.words.get(reader.at) {
        Some(word) => Err(format!("syntax error: unexpected argument '{}'", show(word))),
        None => Ok(value),
    });
    match value {
        Ok(value) => {
            shell.out_line(&value)?;
            Ok(i32::from(!truth(&value)))
        }
        Err(fault) => {
            shell.warn(&format!("expr: {fault}"))?;
            Ok(2)
        }
    }
}

fn truth(value: &[u8]) -> bool {
    !value.is_empty() && integer(value) != Some(0)
}

fn integer(value: &[u8]) -> Option<i64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

const EXPR: &[&[&[u8]]] =
    &[&[b"|"], &[b"&"], &[b"<=", b">=", b"!=", b"=", b"==", b"<", b">"], &[b"+", b"-"], &[b"*", b"/", b"%"], &[b":"]];

impl Expr<'_> {
    fn level(&mut self, level: usize) -> Operand {
        let Some(ops) = EXPR.get(level) else { return self.primary() };
        let mut left = self.level(level + 1)?;
        while let Some(op) = self.words.get(self.at).filter(|word| ops.contains(&word.as_slice())) {
            self.at += 1;
            let right = self.level(level + 1)?;
            left = Self::apply(op, left, right)?;
        }
        Ok(left)
    }

    fn apply(op: &[u8], left: Vec<u8>, right: Vec<u8>) -> Operand {
        let numbers = integer(&left).zip(integer(&right));
        let bool = |yes: bool| Ok(if yes { b"1".to_vec() } else { b"0".to_vec() });
        let order = numbers.map_or_else(|| left.cmp(&right), |(left, right)| left.cmp(&right));
        match op {
            b"|" => Ok(if truth(&left) {
                left
            } else if truth(&right) {
                right
            } else {
                b"0".to_vec()
            }),
            b"&" => Ok(if truth(&left) && truth(&right) { left } else { b"0".to_vec() }),
            b"<" => bool(order.is_lt()),
            b"<=" => bool(order.is_le()),
            b">" => bool(order.is_gt()),
            b">=" => bool(order.is_ge()),
            b"=" | b"==" => bool(order.is_eq()),
            b"!=" => bool(order.is_ne()),
            b":" => Self::matched(&left, &right),
            _ => {
                let (left, right) = numbers.ok_or_else(|| "non-integer argument".to_owned())?;
                let value = match op {
                    b"+" => left.wrapping_add(right),
                    b"-" => left.wrapping_sub(right),
                    b"*" => left.wrapping_mul(right),
                    _ if right == 0 => return Err("division by zero".to_owned()),
                    b"/" => left.wrapping_div(right),
                    _ => left.wrapping_rem(right),
                };
                Ok(value.to_string().into_bytes())
            }
        }
    }

    fn matched(text: &[u8], pattern: &[u8]) -> Operand {
        let matcher = Matcher::new(&[b"^".as_slice(), pattern].concat(), Dialect::Basic, false)?;
        let groups = matcher.captures(text, 0);
        if matcher.groups() > 0 {
            let first = groups.and_then(|groups| groups.get(1).copied().flatten());
            return Ok(first.map_or_else(Vec::new, |(from, to)| text[from..to].to_vec()));
        }
        let length = groups.and_then(|groups| groups.first().copied().flatten()).map_or(0, |(from, to)| to - from);
        Ok(length.to_string().into_bytes())
    }

    fn primary(&mut self) -> Operand {
        self.depth += 1;
        if self.depth > 1000 {
            return Err("syntax error".to_owned());
        }
        let Some(word) = self.words.get(self.at) else {
            let last = self.words.last().map(|word| show(word)).unwrap_or_default();
            return Err(format!("syntax error: missing argument after '{last}'"));
        };
        self.at += 1;
        let mut next = || {
            self.at += 1;
            self.words.get(self.at - 1).cloned().ok_or_else(|| "syntax error".to_owned())
        };
        match word.as_slice() {
            b"(" => {
                let depth = self.depth;
                if depth > 100 {
                    return Err("syntax error".to_owned());
                }
                let value = self.level(0)?;
                self.at += 1;
                Ok(value)
            }
            b"length" => Ok(next()?.len().to_string().into_bytes()),
            b"match" => {
                let (text, pattern) = (next()?, next()?);
                Self::matched(&text, &pattern)
            }
            b"index" => {
                let (text, set) = (next()?, next()?);
                let at = text.iter().position(|byte| set.contains(byte)).map_or(0, |at| at + 1);
                Ok(at.to_string().into_bytes())
            }
            b"substr" => {
                let (text, from, length) = (next()?, next()?, next()?);
                let from = integer(&from).and_then(|from| usize::try_from(from).ok()).unwrap_or(0);
                let length = integer(&length).and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
                if from == 0 {
                    return Ok(Vec::new());
                }
                Ok(text.into_iter().skip(from - 1).take(length).collect())
            }
            _ => Ok(word.clone()),
        }
    }
}
