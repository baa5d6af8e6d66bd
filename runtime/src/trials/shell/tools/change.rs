//! Commands that change the tree: `mkdir`, `rmdir`, `rm`, `mv`, `cp`, `touch`, `ln`.

use super::super::files::{Content, Errno, Id, Node, Spot, join};
use super::super::options::Options;
use super::super::state::{Run, Shell, show};
use super::modes::new_mode;
use super::names::base_of;

fn missing(shell: &mut Shell, tool: &str, operands: &[Vec<u8>]) -> Run {
    match operands {
        [] => shell.usage(tool.as_bytes(), "missing file operand"),
        [one, ..] => {
            let what = format!("missing destination file operand after '{}'", show(one));
            shell.usage(tool.as_bytes(), &what)
        }
    }
}

pub(crate) fn mkdir(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let options = options!(shell, args, "pvm:", &[("parents", b'p'), ("verbose", b'v'), ("mode", b'm')]);
    if options.operands.is_empty() {
        return shell.usage(b"mkdir", "missing operand");
    }
    let umask = shell.env.umask;
    let mode = options.value(b'm').and_then(|text| new_mode(text, 0o777, true, 0)).unwrap_or(0o777 & !umask);
    let mut status = 0;
    for name in &options.operands {
        shell.charge(4)?;
        let cwd = shell.env.cwd.clone();
        let parents = options.has(b'p');
        let before = shell.files.find(&cwd, name, true);
        let made = if parents {
            shell.files.mkdir_all(&cwd, name).map(|()| {
                if let (Err(_), Ok(id)) = (before, shell.files.find(&cwd, name, true)) {
                    shell.files.chmod(id, mode);
                }
            })
        } else {
            shell.files.mkdir(&cwd, name, mode).map(|_| ())
        };
        shell.check_files()?;
        match made {
            Ok(()) if options.has(b'v') && before.is_err() => {
                shell.out_line(format!("mkdir: created directory '{}'", show(name)).as_bytes())?;
            }
            Ok(()) => {}
            Err(errno) => {
                shell.warn(&format!("mkdir: cannot create directory '{}': {}", show(name), errno.text()))?;
                status = 1;
            }
        }
    }
    Ok(status)
}

pub(crate) fn rmdir(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let options = options!(shell, args, "pv", &[("parents", b'p'), ("ignore-fail-on-non-empty", b'\x01')]);
    if options.operands.is_empty() {
        return shell.usage(b"rmdir", "missing operand");
    }
    let mut status = 0;
    for name in &options.operands {
        let mut path = name.clone();
        loop {
            let removed = shell.files.walk(&shell.env.cwd, &path, false).and_then(|spot| {
                let id = spot.id.ok_or(Errno::Missing)?;
                if !shell.files.node(id).is_some_and(Node::is_dir) {
                    return Err(Errno::NotDirectory);
                }
                shell.files.remove(spot.parent, &spot.name)
            });
            if let Err(errno) = removed {
                if !(errno == Errno::NotEmpty && options.has(b'\x01')) {
                    shell.warn(&format!("rmdir: failed to remove '{}': {}", show(&path), errno.text()))?;
                    status = 1;
                }
                break;
            }
            match path.iter().rposition(|byte| *byte == b'/') {
                Some(at) if options.has(b'p') && at > 0 => path.truncate(at),
                _ => break,
            }
        }
    }
    Ok(status)
}

/// Removes a path and, if it is a directory, what is in it; says each removal if wanted.
fn remove_tree(shell: &mut Shell, path: &[u8], spot: &Spot, verbose: bool) -> Run<Result<(), (Vec<u8>, Errno)>> {
    shell.charge(1)?;
    let Some(id) = spot.id else { return Ok(Err((path.to_vec(), Errno::Missing))) };
    if let Some(children) = shell.files.children(id) {
        let names: Vec<(Vec<u8>, Id)> = children.iter().map(|(name, id)| (name.clone(), *id)).collect();
        for (name, child) in names {
            let inner = Spot { parent: id, full: join(&spot.full, &name), name: name.clone(), id: Some(child) };
            let inner_path = join(path, &name);
            let removed = shell.nested(|shell| remove_tree(shell, &inner_path, &inner, verbose))?;
            if removed.is_err() {
                return Ok(removed);
            }
        }
    }
    let is_dir = shell.files.node(id).is_some_and(Node::is_dir);
    if let Err(errno) = shell.files.remove(spot.parent, &spot.name) {
        return Ok(Err((path.to_vec(), errno)));
    }
    if verbose {
        let what = if is_dir { "removed directory" } else { "removed" };
        shell.out_line(format!("{what} '{}'", show(path)).as_bytes())?;
    }
    Ok(Ok(()))
}

const RM_LONG: &[(&str, u8)] = &[
    ("recursive", b'r'),
    ("force", b'f'),
    ("verbose", b'v'),
    ("dir", b'd'),
    ("no-preserve-root", b'\x01'),
    ("preserve-root", b'\x02'),
];

pub(crate) fn rm(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let options = options!(shell, args, "rRfvdiI", RM_LONG);
    if options.operands.is_empty() && !options.has(b'f') {
        return shell.usage(b"rm", "missing operand");
    }
    let recursive = options.has(b'r') || options.has(b'R');
    let mut status = 0;
    for name in &options.operands {
        let fault = |why: &str| format!("rm: cannot remove '{}': {why}", show(name));
        let base = base_of(name);
        if recursive && (base == b"." || base == b"..") {
            let text = show(name);
            shell.warn(&format!("rm: refusing to remove '.' or '..' directory: skipping '{text}'"))?;
            status = 1;
            continue;
        }
        let spot = match shell.files.walk(&shell.env.cwd, name, false) {
            Ok(spot) if spot.id.is_some() => spot,
            other => {
                let errno = other.err().unwrap_or(Errno::Missing);
                if !(options.has(b'f') && matches!(errno, Errno::Missing | Errno::NotDirectory)) {
                    shell.warn(&fault(errno.text()))?;
                    status = 1;
                }
                continue;
            }
        };
        let is_dir = spot.id.and_then(|id| shell.files.node(id)).is_some_and(Node::is_dir);
        if spot.full == b"/" && recursive {
            shell.warn("rm: it is dangerous to operate recursively on '/'\nrm: use --no-preserve-root to override this failsafe")?;
            status = 1;
            continue;
        }
        if is_dir && !recursive && !options.has(b'd') {
            shell.warn(&fault("Is a directory"))?;
            status = 1;
            continue;
        }
        let removed = if recursive {
            remove_tree(shell, name, &spot, options.has(b'v'))?
        } else {
            shell.files.remove(spot.parent, &spot.name).map_err(|errno| (name.clone(), errno))
        };
        match removed {
            Err((path, errno)) => {
                shell.warn(&format!("rm: cannot remove '{}': {}", show(&path), errno.text()))?;
                status = 1;
            }
            Ok(()) if options.has(b'v') && !recursive => {
                shell.out_line(format!("removed '{}'", show(name)).as_bytes())?;
            }
            Ok(()) => {}
        }
    }
    Ok(status)
}

/// A path and where it goes.
type Pair = (Vec<u8>, Vec<u8>);

/// The sources, and for each where it goes; `None` after a complaint.
fn targets(shell: &mut Shell, tool: &str, options: &Options) -> Run<Option<Vec<Pair>>> {
    let mut operands = options.operands.clone();
    let directory = options.value(b't').map(<[u8]>::to_vec);
    let target = match directory.or_else(|| if operands.len() > 1 { operands.pop() } else { None }) {
        Some(target) => target,
        None => {
            missing(shell, tool, &operands)?;
            return Ok(None);
        }
    };
    let into = !options.has(b'T') && shell.path_is_dir(&target);
    if !into && (operands.len() > 1 || options.value(b't').is_some()) {
        let errno = match shell.files.find(&shell.env.cwd, &target, true) {
            Ok(_) => Errno::NotDirectory,
            Err(errno) => errno,
        };
        let text = show(&target);
        shell.warn(&format!("{tool}: target '{text}': {}", errno.text()))?;
        return Ok(None);
    }
    let place = |source: &Vec<u8>| if into { join(&target, base_of(source)) } else { target.clone() };
    Ok(Some(operands.iter().map(|source| (source.clone(), place(source))).collect()))
}

const MV_LONG: &[(&str, u8)] =
    &[("force", b'f'), ("no-clobber", b'n'), ("verbose", b'v'), ("target-directory", b't'), ("update", b'u')];

pub(crate) fn mv(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let options = options!(shell, args, "finvt:Tu", MV_LONG);
    let Some(pairs) = targets(shell, "mv", &options)? else { return Ok(1) };
    let mut status = 0;
    for (from, to) in pairs {
        shell.charge(4)?;
        let cwd = shell.env.cwd.clone();
        let (source, target) = (shell.files.walk(&cwd, &from, false), shell.files.walk(&cwd, &to, false));
        let source = match source {
            Ok(source) if source.id.is_some() => source,
            other => {
                let errno = other.err().unwrap_or(Errno::Missing);
                shell.warn(&format!("mv: cannot stat '{}': {}", show(&from), errno.text()))?;
                status = 1;
                continue;
            }
        };
        let moved = match &target {
            Ok(target) if options.has(b'n') && target.id.is_some() => continue,
            Ok(target) if target.id == source.id => {
                shell.warn(&format!("mv: '{}' and '{}' are the same file", show(&from), show(&to)))?;
                status = 1;
                continue;
            }
            Ok(target) => shell.files.rename(&source, target),
            Err(errno) => Err(*errno),
        };
        let (from, to) = (show(&from), show(&to));
        let fault = match moved {
            Ok(()) => {
                if options.has(b'v') {
                    shell.out_line(format!("renamed '{from}' -> '{to}'").as_bytes())?;
                }
                continue;
            }
            Err(Errno::Invalid) => format!("mv: cannot move '{from}' to a subdirectory of itself, '{to}'"),
            Err(Errno::NotDirectory) if target.is_ok() => {
                format!("mv: cannot overwrite non-directory '{to}' with directory '{from}'")
            }
            Err(Errno::IsDirectory) => format!("mv: cannot overwrite directory '{to}' with non-directory '{from}'"),
            Err(errno) => format!("mv: cannot move '{from}' to '{to}': {}", errno.text()),
        };
        shell.warn(&fault)?;
        status = 1;
    }
    Ok(status)
}

const CP_LONG: &[(&str, u8)] = &[
    ("recursive", b'r'),
    ("archive", b'a'),
    ("force", b'f'),
    ("no-clobber", b'n'),
    ("verbose", b'v'),
    ("preserve", b'p'),
    ("target-directory", b't'),
    ("no-target-directory", b'T'),
];

pub(crate) fn cp(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let options = options!(shell, args, "rRafinvpt:TudLP", CP_LONG);
    let Some(pairs) = targets(shell, "cp", &options)? else { return Ok(1) };
    let recursive = options.given.iter().any(|(letter, _)| b"rRa".contains(letter));
    let mut status = 0;
    for (from, to) in pairs {
        let cwd = shell.env.cwd.clone();
        let follow = !recursive && !options.has(b'P') && !options.has(b'd') || options.has(b'L');
        let id = match shell.files.find(&cwd, &from, follow) {
            Ok(id) => id,
            Err(errno) => {
                shell.warn(&format!("cp: cannot stat '{}': {}", show(&from), errno.text()))?;
                status = 1;
                continue;
            }
        };
        if options.has(b'n') && shell.files.find(&cwd, &to, true).is_ok() {
            continue;
        }
        if let Some(fault) = uncopied(shell, id, (&from, &to), recursive) {
            shell.warn(&format!("cp: {fault}"))?;
            status = 1;
            continue;
        }
        status |= copy_tree(shell, id, &from, &to, &options)?;
    }
    Ok(status)
}

/// Why a path cannot be copied, if so.
fn uncopied(shell: &Shell, id: Id, (from, to): (&[u8], &[u8]), recursive: bool) -> Option<String> {
    let cwd = &shell.env.cwd;
    let is_dir = shell.files.node(id).is_some_and(Node::is_dir);
    let (from_text, to_text) = (show(from), show(to));
    if is_dir && !recursive {
        return Some(format!("-r not specified; omitting directory '{from_text}'"));
    }
    if shell.files.find(cwd, to, true) == Ok(id) {
        return Some(format!("'{from_text}' and '{to_text}' are the same file"));
    }
    let inside = match (shell.files.walk(cwd, from, true), shell.files.walk(cwd, to, true)) {
        (Ok(source), Ok(target)) => join(&target.full, b"").starts_with(&join(&source.full, b"")),
        _ => false,
    };
    (is_dir && inside).then(|| format!("cannot copy a directory, '{from_text}', into itself, '{to_text}'"))
}

fn copy_tree(shell: &mut Shell, id: Id, from: &[u8], to: &[u8], options: &Options) -> Run {
    shell.charge(4)?;
    let Some(node) = shell.files.node(id).cloned() else { return Ok(0) };
    let cwd = shell.env.cwd.clone();
    let keep = options.has(b'p') || options.has(b'a');
    let made = match node.content {
        Content::Directory(children) => {
            let made = match shell.files.mkdir(&cwd, to, node.mode) {
                Err(Errno::Exists) if shell.path_is_dir(to) => Ok(()),
                other => other.map(|_| ()),
            };
            if made.is_ok() {
                if options.has(b'v') {
                    shell.out_line(format!("'{}' -> '{}'", show(from), show(to)).as_bytes())?;
                }
                let mut status = 0;
                for (name, child) in children {
                    let (from, to) = (join(from, &name), join(to, &name));
                    status |= shell.nested(|shell| copy_tree(shell, child, &from, &to, options))?;
                }
                return Ok(status);
            }
            made
        }
        Content::Link(target) => shell.files.create_at(&cwd, to, Content::Link(target), 0o777).map(|_| ()),
        Content::Null | Content::File(_) => match shell.files.bytes_of(id) {
            Err(errno) => {
                shell.warn(&format!("cp: cannot open '{}' for reading: {}", show(from), errno.text()))?;
                return Ok(1);
            }
            Ok(bytes) => {
                if shell.files.size() + bytes.len() > shell.limits.file_bytes {
                    return Err(super::super::state::Flow::Stop(super::super::Stopped::FileBytes));
                }
                shell.charge_bytes(bytes.len())?;
                let existed = shell.files.find(&cwd, to, true).is_ok();
                let umask = if keep { 0 } else { shell.env.umask };
                shell.files.open(&cwd, to, node.mode & !umask).map(|target| {
                    shell.files.truncate(target, 0);
                    shell.files.write_at(target, 0, &bytes);
                    if keep || !existed {
                        shell.files.chmod(target, node.mode & !umask);
                    }
                    if keep {
                        shell.files.set_changed(target, node.changed);
                    }
                })
            }
        },
    };
    copied(shell, made, (from, to), options.has(b'v'))
}

pub(crate) fn touch(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let options = options!(shell, args, "camt:d:r:h", &[("no-create", b'c'), ("date", b'd'), ("reference", b'r')]);
    if options.operands.is_empty() {
        return shell.usage(b"touch", "missing file operand");
    }
    if options.has(b't') || options.has(b'd') {
        shell.lack("touch -d, touch -t");
        shell.warn("touch: this shell has no clock")?;
        return Ok(1);
    }
    let like = options.value(b'r').and_then(|path| shell.files.find(&shell.env.cwd, path, true).ok());
    let like = like.and_then(|id| shell.files.node(id)).map(|node| node.changed);
    let mut status = 0;
    for name in &options.operands {
        let cwd = shell.env.cwd.clone();
        if options.has(b'c') && shell.files.find(&cwd, name, true).is_err() {
            continue;
        }
        let mode = 0o666 & !shell.env.umask;
        let opened = match shell.files.find(&cwd, name, true) {
            Ok(id) => Ok(id),
            Err(_) => shell.files.open(&cwd, name, mode),
        };
        match opened {
            Ok(id) => match like {
                Some(changed) => shell.files.set_changed(id, changed),
                None => shell.files.touch(id),
            },
            Err(errno) => {
                shell.warn(&format!("touch: cannot touch '{}': {}", show(name), errno.text()))?;
                status = 1;
            }
        }
        shell.check_files()?;
    }
    Ok(status)
}

const LN_LONG: &[(&str, u8)] = &[("symbolic", b's'), ("force", b'f'), ("no-dereference", b'n'), ("verbose", b'v')];

pub(crate) fn ln(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let options = options!(shell, args, "sfnvTt:r", LN_LONG);
    if options.has(b'r') {
        shell.lack("ln -r");
        return Ok(1);
    }
    let mut options = options;
    if options.operands.len() == 1 {
        options.operands.push(b".".to_vec());
    }
    if options.has(b'n')
        && options.operands.last().is_some_and(|path| {
            shell
                .files
                .find(&shell.env.cwd, path, false)
                .ok()
                .and_then(|id| shell.files.node(id))
                .is_some_and(Node::is_link)
        })
    {
        options.given.push((b'T', Vec::new()));
    }
    let Some(pairs) = targets(shell, "ln", &options)? else { return Ok(1) };
    let mut status = 0;
    for (from, to) in pairs {
        let cwd = shell.env.cwd.clone();
        let soft = options.has(b's');
        if options.has(b'f')
            && let Ok(spot) = shell.files.walk(&cwd, &to, false)
            && spot.id.and_then(|id| shell.files.node(id)).is_some_and(|node| !node.is_dir())
        {
            let _ = shell.files.remove(spot.parent, &spot.name);
        }
        let made = if soft {
            shell.files.create_at(&cwd, &to, Content::Link(from.clone()), 0o777).map(|_| ())
        } else {
            match shell.files.find(&cwd, &from, false) {
                Err(errno) => {
                    shell.warn(&format!("ln: failed to access '{}': {}", show(&from), errno.text()))?;
                    status = 1;
                    continue;
                }
                Ok(id) if shell.files.node(id).is_some_and(Node::is_dir) => {
                    shell.warn(&format!("ln: {}: hard link not allowed for directory", show(&from)))?;
                    status = 1;
                    continue;
                }
                Ok(id) => shell.files.hard_link(id, &cwd, &to),
            }
        };
        shell.check_files()?;
        status |= linked(shell, made, &from, &to, (soft, options.has(b'v')))?;
    }
    Ok(status)
}

/// Says how a link was made, or that it was not.
fn linked(shell: &mut Shell, made: Result<(), Errno>, from: &[u8], to: &[u8], (soft, verbose): (bool, bool)) -> Run {
    if let Err(errno) = made {
        let kind = if soft { "symbolic" } else { "hard" };
        let arrow = if soft { String::new() } else { format!(" => '{}'", show(from)) };
        shell.warn(&format!("ln: failed to create {kind} link '{}'{arrow}: {}", show(to), errno.text()))?;
        return Ok(1);
    } else if verbose {
        let arrow = if soft { "->" } else { "=>" };
        shell.out_line(format!("'{}' {arrow} '{}'", show(to), show(from)).as_bytes())?;
    }
    Ok(0)
}

/// Says how a path was copied, or that it was not.
fn copied(shell: &mut Shell, made: Result<(), Errno>, (from, to): (&[u8], &[u8]), verbose: bool) -> Run {
    shell.check_files()?;
    match made {
        Ok(()) => {
            if verbose {
                shell.out_line(format!("'{}' -> '{}'", show(from), show(to)).as_bytes())?;
            }
            Ok(0)
        }
        Err(errno) => {
            let exists = shell.files.find(&shell.env.cwd, to, true).is_ok();
            let verb = if exists && errno != Errno::Exists { "cannot open" } else { "cannot create regular file" };
            shell.warn(&format!("cp: {verb} '{}': {}", show(to), errno.text()))?;
            Ok(1)
        }
    }
}
