//! The commands that are part of the shell itself.

use super::ast::Word;
use super::files::{Errno, Node, join};
use super::parse::is_name;
use super::state::{Flow, Run, Shell, Value, show};
use super::words::escape;
use super::{declare, input, tools};
use std::collections::BTreeMap;

pub(crate) type Builtin = fn(&mut Shell, &[Vec<u8>]) -> Run;
pub(crate) type Declarer = fn(&mut Shell, &[Vec<u8>], &[Word]) -> Run;

/// A builtin that looks at its words before expansion, for arrays.
pub(crate) fn declarer(name: &[u8]) -> Option<Declarer> {
    match name {
        b"declare" | b"local" | b"export" | b"readonly" | b"typeset" => Some(declare::declare),
        _ => None,
    }
}

pub(crate) fn find(name: &[u8]) -> Option<Builtin> {
    Some(match name {
        b":" | b"true" => |_, _| Ok(0),
        b"false" => |_, _| Ok(1),
        b"echo" => echo,
        b"cd" => cd,
        b"pwd" => pwd,
        b"exit" => exit,
        b"return" => leave,
        b"break" | b"continue" => loop_control,
        b"shift" => shift,
        b"set" => set,
        b"shopt" => shopt,
        b"unset" => unset,
        b"read" => input::read,
        b"mapfile" | b"readarray" => input::mapfile,
        b"eval" => eval,
        b"source" | b"." => source,
        b"test" | b"[" => |shell, args| shell.test_command(args),
        b"let" => arithmetic,
        b"exec" => exec,
        b"trap" => trap,
        b"wait" | b"hash" => |_, _| Ok(0),
        b"type" => kind,
        b"command" => command,
        b"builtin" => |shell, args| shell.run_args(&args[1..]),
        b"umask" => umask,
        b"getopts" => getopts,
        _ => return None,
    })
}

fn echo(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let mut at = 1;
    let (mut newline, mut escapes) = (true, false);
    while let Some(arg) = args.get(at) {
        let is_option = arg.len() > 1 && arg[0] == b'-' && arg[1..].iter().all(|byte| b"neE".contains(byte));
        if !is_option {
            break;
        }
        for byte in &arg[1..] {
            match byte {
                b'n' => newline = false,
                b'e' => escapes = true,
                _ => escapes = false,
            }
        }
        at += 1;
    }
    let mut text = args[at..].join(&b' ');
    if escapes {
        let (unescaped, stopped) = unescape(&text);
        text = unescaped;
        newline &= !stopped;
    }
    if newline {
        text.push(b'\n');
    }
    shell.out(&text)?;
    Ok(0)
}

/// The escapes of `echo -e` and `printf %b`; true if `\c` ended the output.
pub(crate) fn unescape(text: &[u8]) -> (Vec<u8>, bool) {
    let mut done = Vec::new();
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        at += 1;
        if byte != b'\\' {
            done.push(byte);
            continue;
        }
        if text.get(at) == Some(&b'c') {
            return (done, true);
        }
        match escape(&text[at..], true) {
            Some((bytes, read)) => {
                done.extend(bytes);
                at += read;
            }
            None => done.push(b'\\'),
        }
    }
    (done, false)
}

/// A path without `.`, `..` and double slashes, as `cd` keeps it.
pub(crate) fn tidy_path(cwd: &[u8], path: &[u8]) -> Vec<u8> {
    let whole = if path.starts_with(b"/") { path.to_vec() } else { join(cwd, path) };
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in whole.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    [b"/".as_slice(), &parts.join(&b'/')].concat()
}

fn cd(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let operands: Vec<&Vec<u8>> =
        args[1..].iter().filter(|arg| !matches!(arg.as_slice(), b"-P" | b"-L" | b"--")).collect();
    let back = operands.first().is_some_and(|arg| arg.as_slice() == b"-");
    let target = match operands.as_slice() {
        [] => shell.text_of(b"HOME").unwrap_or_default(),
        [_] if back => match shell.text_of(b"OLDPWD") {
            Some(old) => old,
            None => {
                shell.complain("cd: OLDPWD not set")?;
                return Ok(1);
            }
        },
        [one] => (*one).clone(),
        _ => {
            shell.complain("cd: too many arguments")?;
            return Ok(1);
        }
    };
    if target.is_empty() {
        return Ok(0);
    }
    let path = tidy_path(&shell.env.cwd, &target);
    let errno = match shell.files.find(b"/", &path, true).map(|id| shell.files.node(id).map(Node::is_dir)) {
        Ok(Some(true)) => None,
        Ok(_) => Some(Errno::NotDirectory),
        Err(errno) => Some(errno),
    };
    if let Some(errno) = errno {
        shell.complain(&format!("cd: {}: {}", show(&target), errno.text()))?;
        return Ok(1);
    }
    let old = std::mem::replace(&mut shell.env.cwd, path.clone());
    shell.assign(b"OLDPWD", old)?;
    shell.assign(b"PWD", path.clone())?;
    if back {
        shell.out_line(&path)?;
    }
    Ok(0)
}

fn pwd(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let mut path = shell.env.cwd.clone();
    if args.get(1).is_some_and(|arg| arg == b"-P") {
        path = shell.files.walk(b"/", &path, true).map_or(path, |spot| spot.full);
    }
    shell.out_line(&path)?;
    Ok(0)
}

pub(crate) fn number(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.trim().parse().ok()
}

fn status_of(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    match args.get(1) {
        None => Ok(shell.status),
        Some(text) => match number(text) {
            Some(value) => Ok((value & 255) as i32),
            None => {
                shell.complain(&format!("{}: {}: numeric argument required", show(&args[0]), show(text)))?;
                Ok(2)
            }
        },
    }
}

fn exit(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let status = status_of(shell, args)?;
    Err(Flow::Exit(status))
}

fn leave(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    if shell.env.locals.is_empty() && shell.env.name == b"bash" {
        shell.complain("return: can only `return' from a function or sourced script")?;
        return Ok(1);
    }
    let status = status_of(shell, args)?;
    Err(Flow::Return(status))
}

fn loop_control(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let name = show(&args[0]);
    if shell.env.loops == 0 {
        shell.complain(&format!("{name}: only meaningful in a `for', `while', or `until' loop"))?;
        return Ok(0);
    }
    let levels = args.get(1).map_or(Some(1), |text| number(text)).and_then(|levels| usize::try_from(levels).ok());
    let Some(levels) = levels.filter(|levels| *levels > 0) else {
        shell.complain(&format!("{name}: {}: loop count out of range", show(&args[1])))?;
        return Err(Flow::Break(1));
    };
    let levels = levels.min(shell.env.loops);
    Err(if name == "break" { Flow::Break(levels) } else { Flow::Continue(levels) })
}

fn shift(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let count = args.get(1).map_or(Some(1), |text| number(text)).and_then(|count| usize::try_from(count).ok());
    match count {
        Some(count) if count <= shell.env.params.len() => {
            shell.env.params.drain(..count);
            Ok(0)
        }
        _ => Ok(1),
    }
}

fn set(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    if args.len() == 1 {
        for (name, var) in shell.env.vars.clone() {
            if let Some(Value::Text(text)) = var.value {
                shell.out_line(&[name.as_slice(), b"=", &text].concat())?;
            }
        }
        return Ok(0);
    }
    let mut at = 1;
    while let Some(arg) = args.get(at) {
        at += 1;
        if arg == b"--" {
            shell.env.params = args[at..].to_vec();
            return Ok(0);
        }
        let (on, letters) = match arg.as_slice() {
            [b'-', letters @ ..] if !letters.is_empty() => (true, letters),
            [b'+', letters @ ..] if !letters.is_empty() => (false, letters),
            _ => {
                shell.env.params = args[at - 1..].to_vec();
                return Ok(0);
            }
        };
        for letter in letters {
            if *letter == b'o' {
                let Some(name) = args.get(at).cloned() else { return Ok(0) };
                at += 1;
                set_option(shell, &name, on)?;
            } else {
                let name: &[u8] = match letter {
                    b'e' => b"errexit",
                    b'u' => b"nounset",
                    b'f' => b"noglob",
                    b'x' => b"xtrace",
                    b'C' => b"noclobber",
                    b'E' | b'h' | b'B' | b'm' | b'b' | b'H' | b'T' => continue,
                    _ => &[*letter],
                };
                set_option(shell, name, on)?;
            }
        }
    }
    Ok(0)
}

fn set_option(shell: &mut Shell, name: &[u8], on: bool) -> Run<()> {
    let settings = &mut shell.env.settings;
    match name {
        b"errexit" => settings.errexit = on,
        b"nounset" => settings.nounset = on,
        b"pipefail" => settings.pipefail = on,
        b"noglob" => settings.noglob = on,
        b"xtrace" => settings.xtrace = on,
        b"noclobber" => settings.noclobber = on,
        b"posix" | b"errtrace" | b"monitor" | b"history" => {}
        _ => {
            shell.lack(&format!("set -o {}", show(name)));
            shell.complain(&format!("set: {}: invalid option name", show(name)))?;
        }
    }
    Ok(())
}

fn shopt(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let on = args.iter().any(|arg| arg == b"-s");
    for name in args[1..].iter().filter(|arg| !arg.starts_with(b"-")) {
        match name.as_slice() {
            b"nullglob" => shell.env.settings.nullglob = on,
            b"dotglob" => shell.env.settings.dotglob = on,
            b"nocasematch" => shell.env.settings.nocasematch = on,
            b"expand_aliases" | b"lastpipe" if !on => {}
            _ => {
                shell.lack(&format!("shopt {}", show(name)));
                shell.complain(&format!("shopt: {}: invalid shell option name", show(name)))?;
                return Ok(1);
            }
        }
    }
    Ok(0)
}

fn unset(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let mut status = 0;
    let functions = args.get(1).is_some_and(|arg| arg == b"-f");
    for name in args[1..].iter().filter(|arg| !matches!(arg.as_slice(), b"-f" | b"-v")) {
        let (base, index) = declare::split_index(name);
        if shell.env.vars.get(&base).is_some_and(|var| var.readonly) {
            shell.complain(&format!("unset: {}: cannot unset: readonly variable", show(name)))?;
            status = 1;
        } else if let Some(index) = index {
            declare::unset_element(shell, &base, &index)?;
        } else if functions || !shell.env.vars.contains_key(name) {
            if !functions && !is_name(name) && !shell.env.functions.contains_key(name) {
                shell.complain(&format!("unset: `{}': not a valid identifier", show(name)))?;
                status = 1;
            }
            shell.env.functions.remove(name);
        } else {
            shell.env.vars.remove(name);
        }
    }
    Ok(status)
}

fn eval(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let text = args[1..].join(&b' ');
    shell.nested(|shell| shell.run_text(&text, 1))
}

fn source(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let Some(name) = args.get(1) else {
        shell.complain(&format!("{}: filename argument required", show(&args[0])))?;
        return Ok(2);
    };
    let text = shell.files.find(&shell.env.cwd, name, true).and_then(|id| shell.files.bytes_of(id));
    let text = match text {
        Ok(text) => text,
        Err(errno) => {
            shell.complain(&format!("{}: {}", show(name), errno.text()))?;
            return Ok(1);
        }
    };
    let params = (args.len() > 2).then(|| std::mem::replace(&mut shell.env.params, args[2..].to_vec()));
    shell.env.locals.push(BTreeMap::new());
    let ended = shell.nested(|shell| shell.run_text(&text, 1));
    shell.env.locals.pop();
    if let Some(params) = params {
        shell.env.params = params;
    }
    match ended {
        Err(Flow::Return(status)) => Ok(status),
        other => other,
    }
}

fn arithmetic(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let mut value = 0;
    for text in &args[1..] {
        value = match shell.arithmetic(text) {
            Err(Flow::Abandon) => return Ok(1),
            value => value?,
        };
    }
    Ok(i32::from(value == 0))
}

fn exec(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    if args.len() == 1 {
        return Ok(0);
    }
    let status = shell.run_tool(&args[1..])?;
    Err(Flow::Exit(status))
}

fn trap(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    if args.len() == 1 {
        return Ok(0);
    }
    shell.lack("trap");
    shell.warn("bash: trap: this shell has no signals")?;
    Ok(1)
}

/// What a name would run: `function`, `builtin`, `keyword` or the path of a tool.
pub(crate) fn describe(shell: &Shell, name: &[u8]) -> Option<String> {
    let keywords = "if then else elif fi for while until do done case esac in function { } ! [[ ]]";
    let text = show(name);
    if keywords.split(' ').any(|word| word == text) {
        return Some("keyword".to_owned());
    }
    if shell.env.functions.contains_key(name) {
        return Some("function".to_owned());
    }
    let also: [&[u8]; 1] = [b"printf"];
    if find(name).is_some() || declarer(name).is_some() || also.contains(&name) {
        return Some("builtin".to_owned());
    }
    tools::find(name).map(|_| format!("/usr/bin/{text}"))
}

fn kind(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let short = args.get(1).is_some_and(|arg| arg == b"-t");
    let mut status = 0;
    for name in args[1..].iter().filter(|arg| !arg.starts_with(b"-")) {
        let text = show(name);
        match describe(shell, name) {
            Some(what) if short => {
                let what = if what.starts_with('/') { "file" } else { &what };
                shell.out_line(what.as_bytes())?;
            }
            Some(what) if what.starts_with('/') => shell.out_line(format!("{text} is {what}").as_bytes())?,
            Some(what) if what == "function" => shell.out_line(format!("{text} is a function").as_bytes())?,
            Some(what) => shell.out_line(format!("{text} is a shell {what}").as_bytes())?,
            None => {
                if !short {
                    shell.complain(&format!("type: {text}: not found"))?;
                }
                status = 1;
            }
        }
    }
    Ok(status)
}

fn command(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    if args.get(1).is_some_and(|arg| arg == b"-v" || arg == b"-V") {
        let Some(name) = args.get(2) else { return Ok(1) };
        return match describe(shell, name) {
            Some(path) if path.starts_with('/') => {
                shell.out_line(path.as_bytes())?;
                Ok(0)
            }
            Some(_) => {
                shell.out_line(name)?;
                Ok(0)
            }
            None => Ok(1),
        };
    }
    let skip = 1 + usize::from(args.get(1).is_some_and(|arg| arg == b"-p"));
    shell.run_args(args.get(skip..).unwrap_or_default())
}

fn umask(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    match args.get(1) {
        None => {
            let text = format!("{:04o}", shell.env.umask);
            shell.out_line(text.as_bytes())?;
        }
        Some(text) => match u32::from_str_radix(&show(text), 8) {
            Ok(mask) => shell.env.umask = mask & 0o777,
            Err(_) => {
                shell.lack("umask with letters");
                return Ok(1);
            }
        },
    }
    Ok(0)
}

fn getopts(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let [_, spec, name, rest @ ..] = args else { return Ok(2) };
    let words = if rest.is_empty() { shell.env.params.clone() } else { rest.to_vec() };
    let mut index = shell.text_of(b"OPTIND").and_then(|text| number(&text)).unwrap_or(1).max(1) as usize;
    let inner = shell.text_of(b"OPTPOS").and_then(|text| number(&text)).unwrap_or(1).max(1) as usize;
    let word = words.get(index - 1).filter(|word| word.len() > 1 && word[0] == b'-');
    let Some(word) = word.filter(|word| word.as_slice() != b"--") else {
        index += usize::from(words.get(index - 1).is_some_and(|word| word == b"--"));
        shell.assign(b"OPTIND", index.to_string().into_bytes())?;
        shell.assign(name, b"?".to_vec())?;
        return Ok(1);
    };
    let letter = word.get(inner).copied().unwrap_or(b'?');
    let place = spec.iter().position(|own| *own == letter && letter != b':');
    let silent = spec.first() == Some(&b':');
    let mut answer = vec![letter];
    let mut next = inner + 1;
    shell.env.vars.remove(b"OPTARG".as_slice());
    match place {
        None => {
            answer = b"?".to_vec();
            if silent {
                shell.assign(b"OPTARG", vec![letter])?;
            } else {
                shell.complain(&format!("illegal option -- {}", char::from(letter)))?;
            }
        }
        Some(at) if spec.get(at + 1) == Some(&b':') => {
            let value = if next < word.len() {
                Some(word[next..].to_vec())
            } else {
                index += 1;
                words.get(index - 1).cloned()
            };
            next = usize::MAX;
            match value {
                Some(value) => {
                    shell.assign(b"OPTARG", value)?;
                }
                None if silent => {
                    answer = b":".to_vec();
                    shell.assign(b"OPTARG", vec![letter])?;
                }
                None => {
                    answer = b"?".to_vec();
                    shell.complain(&format!("option requires an argument -- {}", char::from(letter)))?;
                }
            }
        }
        Some(_) => {}
    }
    let ended = next >= word.len();
    index += usize::from(ended);
    shell.assign(b"OPTIND", index.to_string().into_bytes())?;
    shell.assign(b"OPTPOS", if ended { b"1".to_vec() } else { next.to_string().into_bytes() })?;
    shell.assign(name, answer)?;
    Ok(0)
}
