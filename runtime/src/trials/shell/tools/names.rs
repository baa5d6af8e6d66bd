//! Paths as text: `basename`, `dirname`, `realpath`, `readlink`.

use super::super::builtins::tidy_path;
use super::super::files::Content;
use super::super::state::{Run, Shell};

fn without_slashes(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|byte| *byte != b'/').map_or(0, |at| at + 1);
    if end == 0 && !path.is_empty() { &path[..1] } else { &path[..end] }
}

pub(crate) fn base_of(path: &[u8]) -> &[u8] {
    let path = without_slashes(path);
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) if path.len() > 1 => &path[at + 1..],
        _ => path,
    }
}

pub(crate) fn basename(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let options = options!(shell, args, "+as:z", &[("suffix", b's'), ("multiple", b'a')]);
    let many = options.has(b'a') || options.has(b's');
    let (names, suffix) = match options.operands.as_slice() {
        [] => return shell.usage(b"basename", "missing operand"),
        [name, suffix] if !many => (vec![name.clone()], suffix.clone()),
        [_, _, extra, ..] if !many => {
            let what = format!("extra operand '{}'", super::super::state::show(extra));
            return shell.usage(b"basename", &what);
        }
        names => (names.to_vec(), options.value(b's').unwrap_or_default().to_vec()),
    };
    for name in names {
        let base = base_of(&name);
        let base = base.strip_suffix(suffix.as_slice()).filter(|rest| !rest.is_empty()).unwrap_or(base).to_vec();
        shell.out_line(&base)?;
    }
    Ok(0)
}

pub(crate) fn directory_of(path: &[u8]) -> &[u8] {
    let path = without_slashes(path);
    match path.iter().rposition(|byte| *byte == b'/') {
        None => b".",
        Some(0) => b"/",
        Some(at) => without_slashes(&path[..at]),
    }
}

pub(crate) fn dirname(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let options = options!(shell, args, "z", &[]);
    if options.operands.is_empty() {
        return shell.usage(b"dirname", "missing operand");
    }
    for name in &options.operands {
        shell.out_line(directory_of(name))?;
    }
    Ok(0)
}

const REALPATH_LONG: &[(&str, u8)] =
    &[("canonicalize", b'f'), ("canonicalize-missing", b'm'), ("no-symlinks", b's'), ("relative-to", b'R')];

pub(crate) fn realpath(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let tool = super::super::state::show(&args[0]);
    let options = options!(shell, args, "femsqnR:", REALPATH_LONG);
    if options.operands.is_empty() {
        return shell.usage(&args[0], "missing operand");
    }
    let plain_link = tool == "readlink" && !options.given.iter().any(|(letter, _)| b"fem".contains(letter));
    let mut status = 0;
    for name in &options.operands {
        if plain_link {
            let id = shell.files.find(&shell.env.cwd, name, false);
            match id.ok().and_then(|id| shell.files.node(id)).map(|node| node.content.clone()) {
                Some(Content::Link(target)) => shell.out_line(&target)?,
                _ => status = 1,
            }
            continue;
        }
        let found = if options.has(b's') {
            Ok(tidy_path(&shell.env.cwd, name))
        } else {
            match shell.files.walk(&shell.env.cwd, name, true) {
                Ok(spot) if spot.id.is_none() && options.has(b'e') => Err(super::super::files::Errno::Missing),
                Ok(spot) => Ok(spot.full),
                Err(_) if options.has(b'm') => Ok(tidy_path(&shell.env.cwd, name)),
                Err(errno) => Err(errno),
            }
        };
        match found {
            Ok(mut path) => {
                if let Some(base) = options.value(b'R') {
                    path = relative(&path, &tidy_path(&shell.env.cwd, base));
                }
                shell.out_line(&path)?;
            }
            Err(errno) => {
                if tool == "realpath" && !options.has(b'q') {
                    shell.warn_path(&tool, name, errno)?;
                }
                status = 1;
            }
        }
    }
    Ok(status)
}

fn relative(path: &[u8], base: &[u8]) -> Vec<u8> {
    let parts = |path: &[u8]| -> Vec<Vec<u8>> {
        path.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).map(<[u8]>::to_vec).collect()
    };
    let (path, base) = (parts(path), parts(base));
    let same = path.iter().zip(&base).take_while(|(left, right)| left == right).count();
    let mut steps: Vec<Vec<u8>> = vec![b"..".to_vec(); base.len() - same];
    steps.extend_from_slice(&path[same..]);
    if steps.is_empty() { b".".to_vec() } else { steps.join(&b'/') }
}
