//! Programs for an interpreter of this machine, such as Python: each in a folder and a confined process of its own.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use evo_stdlib::task::{TrialLimits, Verdict};

use super::confine::FILE;
use super::cut;
use crate::clock::Stopwatch;
use crate::workers::{environment, limits};

/// What the confined process ends with if it could not be confined, or the interpreter not be started.
pub(crate) const UNCONFINED: u8 = 125;
/// How often a waiting parent looks.
const LOOK: Duration = Duration::from_millis(5);
/// Bytes of all files in the program's folder.
const FOLDER: u64 = 4 * FILE;

/// An interpreter that was found and can be confined.
#[derive(Clone, Debug)]
pub(super) struct Interpreter {
    evo: PathBuf,
    argv: Vec<String>,
    readable: Vec<PathBuf>,
}

/// A process of the group is killed however its parent goes on.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        limits::kill_group(self.0.id());
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How a program ended.
enum End {
    Status(ExitStatus),
    Late,
    Full(&'static str),
    Stopped,
}

impl Interpreter {
    /// Finds the interpreter, and has it confined once with an empty program.
    ///
    /// # Errors
    /// In words, if it is not there or this system cannot confine it.
    pub(super) fn find(evo: &Path, argv: &[String]) -> Result<Self, String> {
        let name = argv.first().ok_or("no interpreter is named")?;
        let path = found(name).ok_or_else(|| format!("there is no `{name}` on this machine's PATH"))?;
        let real = path.canonicalize().map_err(|error| format!("{}: {error}", path.display()))?;
        let mut argv = argv.to_vec();
        if let Some(first) = argv.first_mut() {
            *first = path.display().to_string();
        }
        // What comes with it: `/home/me/venv` for `/home/me/venv/bin/python`, and the same of where that leads to.
        let home = |path: &Path| path.parent().and_then(Path::parent).map(Path::to_path_buf);
        let readable =
            [home(&path), home(&real)].into_iter().flatten().filter(|path| path.parent().is_some()).collect();
        let found = Self { evo: evo.to_path_buf(), argv, readable };
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mut probe = found.command(folder.path(), &TrialLimits::default(), false);
        let told = probe.arg("--probe").stderr(Stdio::piped()).output().map_err(|error| error.to_string())?;
        if told.status.success() { Ok(found) } else { Err(String::from_utf8_lossy(&told.stderr).trim().to_owned()) }
    }

    /// `evo confine` with the interpreter; what comes after is the interpreter's argument.
    fn command(&self, folder: &Path, limits: &TrialLimits, processes: bool) -> Command {
        let mut command = Command::new(&self.evo);
        command.arg("confine").arg("--folder").arg(folder).arg("--memory").arg(limits.memory.to_string());
        command.arg("--seconds").arg((limits.seconds.ceil() as u64).max(1).to_string());
        for path in &self.readable {
            command.arg("--readable").arg(path);
        }
        if processes {
            command.arg("--processes");
        }
        command.env_clear().envs(environment::allowed()).env("HOME", folder).env("TMPDIR", folder);
        command.env("PYTHONHASHSEED", "0").env("PYTHONDONTWRITEBYTECODE", "1");
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command
    }

    /// Tries a program.
    ///
    /// # Errors
    /// If the machine gives no process, folder or pipe; none if the run was asked to stop.
    pub(super) fn run(
        &self,
        program: &str,
        (expected, processes): (Option<&str>, bool),
        limits: &TrialLimits,
        stop: &AtomicBool,
    ) -> io::Result<Option<Verdict>> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("program"), program)?;
        let mut command = self.command(folder.path(), limits, processes);
        command.arg("--").args(&self.argv).arg("program").stderr(Stdio::piped());
        let mut group = Group(command.spawn()?);
        let (Some(out), Some(err)) = (group.0.stdout.take(), group.0.stderr.take()) else {
            return Err(io::Error::other("a process without pipes"));
        };
        let (out, err) = (collect(out, limits.output), collect(err, limits.output));
        let end = wait(&mut group.0, folder.path(), limits, stop)?;
        drop(group);
        let (out, err) = (out.recv().unwrap_or_default(), err.recv().unwrap_or_default());
        Ok(match end {
            End::Stopped => None,
            End::Late => Some(Verdict::Failed(format!("it takes longer than {} s", limits.seconds))),
            End::Full(what) => Some(Verdict::Failed(what.into())),
            End::Status(_) if out.len() as u64 > limits.output || err.len() as u64 > limits.output => {
                Some(Verdict::Failed(format!("it prints more than {} bytes", limits.output)))
            }
            End::Status(status) => Some(judged(status, &out, &err, expected)),
        })
    }
}

fn judged(status: ExitStatus, out: &[u8], err: &[u8], expected: Option<&str>) -> Verdict {
    if !status.success() {
        let last = String::from_utf8_lossy(err).lines().rev().find(|line| !line.trim().is_empty()).map(cut);
        return Verdict::Failed(last.unwrap_or_else(|| status.to_string()));
    }
    match expected {
        Some(expected) if String::from_utf8_lossy(out).trim_end() != expected.trim_end() => {
            Verdict::Failed("it prints something else than what is right".into())
        }
        _ => Verdict::Passed,
    }
}

/// An executable by its path, or by its name in one of PATH's folders.
fn found(name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|path| path.is_file());
    }
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// Reads a pipe to its end, and keeps one byte more than `most` of it.
fn collect(mut pipe: impl Read + Send + 'static, most: u64) -> Receiver<Vec<u8>> {
    let (to, from) = channel();
    let read = move || {
        let mut bytes = Vec::new();
        let _ = pipe.by_ref().take(most.saturating_add(1)).read_to_end(&mut bytes);
        drop(pipe); // who prints more is told so by the system
        let _ = to.send(bytes);
    };
    std::thread::spawn(read);
    from
}

fn wait(child: &mut Child, folder: &Path, limits: &TrialLimits, stop: &AtomicBool) -> io::Result<End> {
    let clock = Stopwatch::start();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(End::Status(status));
        }
        if stop.load(Ordering::Relaxed) {
            return Ok(End::Stopped);
        }
        if clock.seconds() > limits.seconds {
            return Ok(End::Late);
        }
        if size(folder) > FOLDER {
            return Ok(End::Full("it writes more files than it may"));
        }
        std::thread::sleep(LOOK);
    }
}

/// Bytes of the files below a folder, of those that can be seen.
fn size(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let one = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(what) if what.is_dir() => size(&entry.path()),
        Ok(what) => what.len().max(4096),
        Err(_) => 0,
    };
    entries.flatten().map(one).sum()
}
