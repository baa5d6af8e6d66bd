//! `sed`.

mod parse;
mod run;

use super::super::files::Errno;
use super::super::read::Source;
use super::super::state::{Run, Shell, show};
use parse::Script;

const SED_LONG: &[(&str, u8)] = &[
    ("quiet", b'n'),
    ("silent", b'n'),
    ("expression", b'e'),
    ("regexp-extended", b'E'),
    ("file", b'f'),
    ("separate", b's'),
];

/// The suffix of `-i`, which takes one only if it is glued to it, and the arguments without it.
fn in_place(args: &[Vec<u8>]) -> (Option<Vec<u8>>, Vec<Vec<u8>>) {
    let mut suffix = None;
    let mut rest = vec![b"sed".to_vec()];
    let mut ended = false;
    for arg in &args[1..] {
        ended |= arg == b"--";
        match arg.as_slice() {
            [b'-', b'i', glued @ ..] if !ended => suffix = Some(glued.to_vec()),
            _ if !ended && arg.starts_with(b"--in-place") => suffix = Some(Vec::new()),
            [b'-', letters @ .., b'i']
                if !ended && !letters.is_empty() && letters.iter().all(|byte| b"nErs".contains(byte)) =>
            {
                suffix = Some(Vec::new());
                rest.push([b"-".as_slice(), letters].concat());
            }
            _ => rest.push(arg.clone()),
        }
    }
    (suffix, rest)
}

pub(crate) fn sed(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let (in_place, rest) = in_place(args);
    let mut options = options!(shell, &rest, "ne:f:Ersuz", SED_LONG);
    if options.has(b'z') {
        shell.lack("sed -z");
        return Ok(1);
    }
    let mut texts: Vec<Vec<u8>> = Vec::new();
    for (letter, value) in &options.given {
        match letter {
            b'e' => texts.push(value.clone()),
            b'f' => match Source::open(shell, value) {
                Ok(mut source) => texts.push(source.rest(shell)?),
                Err(errno) => {
                    shell.warn(&format!("sed: couldn't open file {}: {}", show(value), errno.text()))?;
                    return Ok(1);
                }
            },
            _ => {}
        }
    }
    if texts.is_empty() {
        if options.operands.is_empty() {
            shell.warn("Usage: sed [OPTION]... {script-only-if-no-other-script} [input-file]...")?;
            return Ok(1);
        }
        texts.push(options.operands.remove(0));
    }
    let extended = options.has(b'E') || options.has(b'r');
    let text = texts.join(&b'\n');
    shell.charge_bytes(text.len())?;
    let script = match parse::parse(&text, extended) {
        Ok(script) => script,
        Err(fault) => {
            shell.warn(&format!("sed: -e expression #1, {fault}"))?;
            return Ok(1);
        }
    };
    let quiet = options.has(b'n') || text.starts_with(b"#n\n");
    match in_place {
        Some(suffix) => each_in_place(shell, &script, quiet, &options.operands, &suffix),
        None if options.has(b's') => {
            let mut status = 0;
            for name in &options.operands {
                status |= stream(shell, &script, quiet, std::slice::from_ref(name))?;
            }
            Ok(status)
        }
        None => stream(shell, &script, quiet, &options.operands),
    }
}

fn unreadable(shell: &mut Shell, name: &[u8], errno: Errno) -> Run<()> {
    let name = show(name);
    shell.warn(&match errno {
        Errno::IsDirectory => format!("sed: couldn't edit {name}: not a regular file"),
        _ => format!("sed: can't read {name}: {}", errno.text()),
    })
}

fn stream(shell: &mut Shell, script: &Script, quiet: bool, names: &[Vec<u8>]) -> Run {
    let mut sources = Vec::new();
    let mut status = 0;
    if names.is_empty() {
        sources.push(Source::stdin(shell));
    }
    for name in names {
        match Source::open(shell, name) {
            Ok(source) => sources.push(source),
            Err(Errno::IsDirectory) => {
                shell.warn(&format!("sed: read error on {}: Is a directory", show(name)))?;
                status = 2;
            }
            Err(errno) => {
                unreadable(shell, name, errno)?;
                status = 2;
            }
        }
    }
    Ok(run::run(shell, script, quiet, sources)?.unwrap_or(status))
}

fn each_in_place(shell: &mut Shell, script: &Script, quiet: bool, names: &[Vec<u8>], suffix: &[u8]) -> Run {
    if names.is_empty() {
        shell.warn("sed: no input files")?;
        return Ok(1);
    }
    let mut status = 0;
    for name in names {
        let source = match Source::open(shell, name) {
            Ok(source) => source,
            Err(errno) => {
                unreadable(shell, name, errno)?;
                status = 4;
                continue;
            }
        };
        if !suffix.is_empty() {
            let backup = [name.as_slice(), suffix].concat();
            let saved = shell.files.find(&shell.env.cwd, name, true).and_then(|id| shell.files.bytes_of(id));
            let opened = shell.open_output(&backup, false);
            if let (Ok(bytes), Ok(fd)) = (saved, opened) {
                let out = shell.env.fds.insert(1, fd);
                let written = shell.out(&bytes);
                shell.env.fds.extend(out.map(|out| (1, out)));
                written?;
            }
        }
        let buffer = std::rc::Rc::new(std::cell::RefCell::new(super::super::state::Stream::Buffer {
            bytes: Vec::new(),
            pipe: false,
        }));
        let out = shell.env.fds.insert(1, buffer);
        let ended = run::run(shell, script, quiet, vec![source]);
        let text = shell.taken(1);
        shell.env.fds.extend(out.map(|out| (1, out)));
        let ended = ended?;
        match shell.open_output(name, false) {
            Ok(fd) => {
                let out = shell.env.fds.insert(1, fd);
                let written = shell.out(&text);
                shell.env.fds.extend(out.map(|out| (1, out)));
                written?;
            }
            Err(errno) => {
                shell.warn(&format!("sed: couldn't open file {}: {}", show(name), errno.text()))?;
                return Ok(4);
            }
        }
        if let Some(code) = ended {
            return Ok(code);
        }
    }
    Ok(status)
}
