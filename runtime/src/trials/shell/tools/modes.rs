//! `chmod`, `chown`, `truncate`, `mktemp`.

use super::super::files::{Content, Errno, Id};
use super::super::state::{Run, Shell, show};

/// What `text` (`755`, `u+x,go-w`, `a=r`) makes of a mode.
pub(crate) fn new_mode(text: &[u8], mode: u32, is_dir: bool, umask: u32) -> Option<u32> {
    if text.iter().all(u8::is_ascii_digit) {
        return u32::from_str_radix(std::str::from_utf8(text).ok()?, 8).ok().filter(|mode| *mode <= 0o7777);
    }
    let mut mode = mode;
    for clause in text.split(|byte| *byte == b',') {
        let who_end = clause.iter().take_while(|byte| b"ugoa".contains(byte)).count();
        let mut who = 0u32;
        for letter in &clause[..who_end] {
            who |= match letter {
                b'u' => 0o4700,
                b'g' => 0o2070,
                b'o' => 0o1007,
                _ => 0o7777,
            };
        }
        let limit = if who_end == 0 { 0o7777 & !umask } else { who };
        let mut rest = &clause[who_end..];
        if rest.is_empty() {
            return None;
        }
        while let [op @ (b'+' | b'-' | b'='), tail @ ..] = rest {
            let end = tail.iter().position(|byte| b"+-=".contains(byte)).unwrap_or(tail.len());
            let mut bits = 0u32;
            for letter in &tail[..end] {
                bits |= match letter {
                    b'r' => 0o444,
                    b'w' => 0o222,
                    b'x' => 0o111,
                    b'X' if is_dir || mode & 0o111 != 0 => 0o111,
                    b'X' => 0,
                    b's' => 0o6000,
                    b't' => 0o1000,
                    b'u' => (mode >> 6 & 7) * 0o111,
                    b'g' => (mode >> 3 & 7) * 0o111,
                    b'o' => (mode & 7) * 0o111,
                    _ => return None,
                };
            }
            bits &= limit;
            mode = match op {
                b'+' => mode | bits,
                b'-' => mode & !bits,
                _ => mode & !(limit & 0o777) | bits,
            };
            rest = &tail[end..];
        }
        if !rest.is_empty() {
            return None;
        }
    }
    Some(mode)
}

pub(crate) fn chmod(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    // A mode such as `-x` is no option.
    let mut args = args.to_vec();
    for arg in args.iter_mut().skip(1) {
        if arg.len() > 1 && arg[0] == b'-' && arg[1..].iter().all(|byte| b"rwxXst".contains(byte)) {
            arg.insert(0, b'a');
            break;
        }
    }
    let options = options!(shell, &args, "Rvcf", &[("recursive", b'R'), ("verbose", b'v'), ("reference", b'\x01')]);
    let [text, names @ ..] = options.operands.as_slice() else {
        return shell.usage(b"chmod", "missing operand");
    };
    if names.is_empty() {
        return shell.usage(b"chmod", &format!("missing operand after '{}'", show(text)));
    }
    if new_mode(text, 0, false, 0).is_none() {
        return shell.usage(b"chmod", &format!("invalid mode: '{}'", show(text)));
    }
    let mut status = 0;
    for name in names {
        match shell.files.find(&shell.env.cwd, name, true) {
            Ok(id) => chmod_tree(shell, id, text, options.has(b'R'))?,
            Err(errno) => {
                shell.warn(&format!("chmod: cannot access '{}': {}", show(name), errno.text()))?;
                status = 1;
            }
        }
    }
    Ok(status)
}

fn chmod_tree(shell: &mut Shell, id: Id, text: &[u8], recursive: bool) -> Run<()> {
    shell.charge(1)?;
    let Some(node) = shell.files.node(id) else { return Ok(()) };
    if node.is_link() {
        return Ok(());
    }
    if let Some(mode) = new_mode(text, node.mode, node.is_dir(), shell.env.umask) {
        shell.files.chmod(id, mode);
    }
    if recursive {
        let children: Vec<Id> =
            shell.files.children(id).map(|children| children.values().copied().collect()).unwrap_or_default();
        for child in children {
            shell.nested(|shell| chmod_tree(shell, child, text, true))?;
        }
    }
    Ok(())
}

/// There is one user: changing owners has no effect, and the shell says that it lacks it.
pub(crate) fn chown(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let tool = show(&args[0]);
    shell.lack(&format!("{tool}: no effect, there is one user"));
    let mut status = 0;
    for name in args.iter().skip(1).filter(|arg| !arg.starts_with(b"-")).skip(1) {
        if let Err(errno) = shell.files.find(&shell.env.cwd, name, true) {
            shell.warn(&format!("{tool}: cannot access '{}': {}", show(name), errno.text()))?;
            status = 1;
        }
    }
    Ok(status)
}

pub(crate) fn truncate(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let options = options!(shell, args, "s:c", &[("size", b's')]);
    let Some(size) = options.value(b's').and_then(super::listing::size_in_bytes) else {
        return shell.usage(b"truncate", "you must specify either '--size' or '--reference'");
    };
    for name in &options.operands {
        let cwd = shell.env.cwd.clone();
        if size > shell.limits.file_bytes {
            return Err(super::super::state::Flow::Stop(super::super::Stopped::FileBytes));
        }
        shell.charge_bytes(size)?;
        match shell.files.open(&cwd, name, 0o666 & !shell.env.umask) {
            Ok(id) => shell.files.truncate(id, size),
            Err(errno) => {
                shell.warn(&format!("truncate: cannot open '{}' for writing: {}", show(name), errno.text()))?;
                return Ok(1);
            }
        }
        shell.check_files()?;
    }
    Ok(0)
}

/// Makes a file or directory whose name no other has; the names are the same in every run.
pub(crate) fn mktemp(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let options = options!(shell, args, "dup:tq", &[("directory", b'd')]);
    let template = options.operands.first().cloned().unwrap_or_else(|| b"/tmp/tmp.XXXXXXXXXX".to_vec());
    let marks = template.iter().rev().take_while(|byte| **byte == b'X').count();
    if marks < 3 {
        shell.warn(&format!("mktemp: too few X's in template '{}'", show(&template)))?;
        return Ok(1);
    }
    let cwd = shell.env.cwd.clone();
    for number in 0..100_000usize {
        shell.charge(1)?;
        let tail = format!("{number:0width$}", width = marks.min(1000));
        let path = [&template[..template.len() - marks], tail.as_bytes()].concat();
        let made = if options.has(b'd') {
            shell.files.mkdir(&cwd, &path, 0o700)
        } else {
            shell.files.create_at(&cwd, &path, Content::File(std::sync::Arc::default()), 0o600)
        };
        shell.check_files()?;
        match made {
            Ok(_) => {
                shell.out_line(&path)?;
                return Ok(0);
            }
            Err(Errno::Exists) => {}
            Err(errno) => {
                shell.warn(&format!(
                    "mktemp: failed to create file via template '{}': {}",
                    show(&template),
                    errno.text()
                ))?;
                return Ok(1);
            }
        }
    }
    Ok(1)
}
