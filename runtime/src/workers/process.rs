//! One worker process: started with what it may see, asked with a deadline, and killed with all that it started.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::frame::{read_frame, write_frame};
use super::{environment, limits};
use crate::clock::Stopwatch;

/// How much of what a worker says on stderr is kept: its end.
const SAID: usize = 4096;

/// How long a worker that has closed its stdout may take to end before it is killed.
const PARTING: Duration = Duration::from_millis(500);

/// How often a waiting asker looks whether the run has been asked to stop.
const LOOK: Duration = Duration::from_millis(20);

/// What to start, and how.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The executable.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Where it works.
    pub folder: Option<PathBuf>,
    /// Variables beside those of the allow list.
    pub vars: Vec<(OsString, OsString)>,
}

impl Spec {
    /// `evo worker --stdio` of an executable that is `evo`, held to so many bytes of memory: see [`executable`].
    pub fn of(program: impl Into<PathBuf>, memory: Option<u64>) -> Spec {
        let mut args: Vec<OsString> = vec!["worker".into(), "--stdio".into()];
        if let Some(bytes) = memory {
            args.push(format!("--memory={bytes}").into());
        }
        Spec { program: program.into(), args, folder: None, vars: Vec::new() }
    }

    /// The same, for what has little to do: its threads do not reserve address space for more.
    pub fn small(program: impl Into<PathBuf>, memory: u64) -> Spec {
        let mut spec = Spec::of(program, Some(memory));
        // Each thread of glibc would reserve 64 MiB of the address space for itself.
        spec.vars.push(("MALLOC_ARENA_MAX".into(), "1".into()));
        spec
    }
}

/// The executable that workers are: what the variable `EVO_EXECUTABLE` names, as a program must set it that has the library built
/// in, or the one that runs.
pub fn executable() -> PathBuf {
    let named = std::env::var_os("EVO_EXECUTABLE").filter(|path| !path.is_empty()).map(PathBuf::from);
    named.or_else(|| std::env::current_exe().ok()).unwrap_or_else(|| PathBuf::from("evo"))
}

/// Why a worker gave no answer. It has ended, or was ended, with all processes of its group.
#[derive(Clone, Debug, PartialEq)]
pub enum Lost {
    /// It could not be started.
    Start(String),
    /// It took longer than it was given.
    Deadline(Duration),
    /// It asked for more memory than it may have.
    Memory,
    /// It computed for longer than it may.
    Processor,
    /// It recursed deeper than its stack.
    Stack,
    /// It ended: how, and the last that it said.
    Ended(String),
    /// What it wrote is not the protocol.
    Protocol(String),
    /// The run was asked to stop.
    Stopped,
}

impl Lost {
    /// Whether another worker might give an answer: this one crashed, or was killed from outside. What a limit ended,
    /// a limit ends again.
    pub fn may_pass(&self) -> bool {
        matches!(self, Lost::Ended(_) | Lost::Protocol(_))
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lost::Start(why) => write!(f, "the worker could not be started: {why}"),
            Lost::Deadline(given) => write!(f, "the worker gave no answer in {} s and was killed", given.as_secs_f64()),
            Lost::Memory => f.write_str("the worker asked for more memory than it may have"),
            Lost::Processor => f.write_str("the worker computed for longer than it may"),
            Lost::Stack => f.write_str("the worker recursed deeper than its stack"),
            Lost::Ended(how) => write!(f, "the worker {how}"),
            Lost::Protocol(what) => write!(f, "the worker does not speak the protocol: {what}"),
            Lost::Stopped => f.write_str("the run was asked to stop"),
        }
    }
}

impl std::error::Error for Lost {}

/// A running worker. Dropped, it is killed with its process group and waited for.
#[derive(Debug)]
pub struct Worker {
    child: Child,
    /// To the thread that writes: one that reads nothing must not hold up who asks.
    requests: Sender<Vec<u8>>,
    /// From the thread that reads.
    replies: Receiver<io::Result<Vec<u8>>>,
    said: Arc<Mutex<Vec<u8>>>,
    /// Hears what it says on stderr.
    listener: JoinHandle<()>,
    has_ended: bool,
}

impl Worker {
    /// Starts a worker: in a process group of its own, with nothing of the environment but what is allowed.
    ///
    /// # Errors
    /// If the process or its threads cannot be started.
    pub fn start(spec: &Spec) -> Result<Worker, Lost> {
        let failed = |error: io::Error| Lost::Start(format!("{}: {error}", spec.program.display()));
        let mut command = Command::new(&spec.program);
        command.args(&spec.args).env_clear().envs(environment::allowed()).envs(spec.vars.iter().cloned());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(folder) = &spec.folder {
            command.current_dir(folder);
        }
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child = command.spawn().map_err(failed)?;
        Worker::attend(child).map_err(failed)
    }

    /// Starts the threads that serve the pipes of a child.
    fn attend(mut child: Child) -> io::Result<Worker> {
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let said = Arc::new(Mutex::new(Vec::new()));
        let heard = said.clone();
        let (requests, to_write) = channel::<Vec<u8>>();
        let (to_answer, replies) = channel();
        let thread = |name: &str| std::thread::Builder::new().name(name.into());
        let listener = thread("of worker").spawn(move || stderr.into_iter().for_each(|pipe| listen(pipe, &heard)))?;
        // From here on an error drops the worker, and so ends it.
        let worker = Worker { child, requests, replies, said, listener, has_ended: false };
        thread("to worker").spawn(move || {
            let mut stdin = stdin;
            let mut write = |request: Vec<u8>| stdin.as_mut().map(|stdin| write_frame(stdin, &request));
            while let Some(Ok(())) = to_write.recv().ok().and_then(&mut write) {}
        })?;
        thread("from worker").spawn(move || stdout.into_iter().for_each(|pipe| read_replies(pipe, &to_answer)))?;
        Ok(worker)
    }

    /// Sends a message and waits for the next one. After an error the worker is no more.
    ///
    /// # Errors
    /// If no answer came, for one of the reasons that [`Lost`] has.
    pub fn ask(&mut self, request: Vec<u8>, within: Duration, stop: Option<&AtomicBool>) -> Result<Vec<u8>, Lost> {
        if self.requests.send(request).is_err() {
            return Err(self.ended());
        }
        self.next(within, stop)
    }

    /// Waits for a message.
    ///
    /// # Errors
    /// As [`Worker::ask`].
    pub fn next(&mut self, within: Duration, stop: Option<&AtomicBool>) -> Result<Vec<u8>, Lost> {
        let clock = Stopwatch::start();
        loop {
            let left = within.saturating_sub(Duration::from_secs_f64(clock.seconds()));
            let slice = if stop.is_some() { left.min(LOOK) } else { left };
            match self.replies.recv_timeout(slice) {
                Ok(Ok(reply)) => return Ok(reply),
                Ok(Err(error)) => {
                    self.end();
                    return Err(Lost::Protocol(error.to_string()));
                }
                Err(RecvTimeoutError::Disconnected) => return Err(self.ended()),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if stop.is_some_and(|stop| stop.load(Ordering::Relaxed)) {
                self.end();
                return Err(Lost::Stopped);
            }
            if clock.seconds() >= within.as_secs_f64() {
                self.end();
                return Err(Lost::Deadline(within));
            }
        }
    }

    /// Whether it is still there and waits for a request.
    pub fn is_waiting(&self) -> bool {
        matches!(self.replies.try_recv(), Err(TryRecvError::Empty))
    }

    /// The process's number, by which tests kill it.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// It has closed its stdout, as the end of a process does; one that goes on without ends here.
    fn ended(&mut self) -> Lost {
        let status = self.end();
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        told(status, &String::from_utf8_lossy(&said))
    }

    /// Kills the group and waits for the child. How a child ended that was ending already is not changed by it.
    fn end(&mut self) -> Option<ExitStatus> {
        if self.has_ended {
            return None;
        }
        self.has_ended = true;
        limits::kill_group(self.child.id());
        let _ = self.child.kill(); // where there are no groups
        let status = self.child.wait().ok();
        // Its last words are read by now, unless what left the group holds the pipe.
        let clock = Stopwatch::start();
        while !self.listener.is_finished() && clock.seconds() < PARTING.as_secs_f64() {
            std::thread::sleep(Duration::from_millis(1));
        }
        status
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.end();
    }
}

/// Hands over messages until the stream ends or is wrong.
fn read_replies(stdout: ChildStdout, to: &Sender<io::Result<Vec<u8>>>) {
    let mut stdout = BufReader::new(stdout);
    loop {
        let read = match read_frame(&mut stdout) {
            Ok(Some(message)) => Ok(message),
            Ok(None) => return,
            Err(error) => Err(error),
        };
        let is_over = read.is_err();
        if to.send(read).is_err() || is_over {
            return;
        }
    }
}

/// Keeps the end of what is said on stderr.
fn listen(mut stderr: ChildStderr, said: &Mutex<Vec<u8>>) {
    let mut buffer = [0; 1024];
    while let Ok(count @ 1..) = stderr.read(&mut buffer) {
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        said.extend_from_slice(buffer.get(..count).unwrap_or_default());
        let excess = said.len().saturating_sub(SAID);
        said.drain(..excess);
    }
}

/// What the end of a process and its last words tell.
fn told(status: Option<ExitStatus>, said: &str) -> Lost {
    // The words of Rust's standard library, which ends a process that gets no memory, or whose stack is full.
    if said.contains("memory allocation of ") && said.contains(" failed") {
        return Lost::Memory;
    }
    if said.contains("has overflowed its stack") {
        return Lost::Stack;
    }
    let how = match status {
        Some(status) => match signal(status) {
            Some(PROCESSOR) => return Lost::Processor,
            Some(number) => format!("was ended by signal {number}"),
            None => format!("ended with {status}"),
        },
        None => "ended".to_owned(),
    };
    let last = said.lines().rev().find(|line| !line.trim().is_empty());
    Lost::Ended(last.map_or(how.clone(), |last| format!("{how}: {}", last.trim())))
}

/// The signal of a process that has used up its processor time.
#[cfg(unix)]
const PROCESSOR: i32 = libc::SIGXCPU;
#[cfg(not(unix))]
const PROCESSOR: i32 = -1;

#[cfg(unix)]
fn signal(status: ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&status)
}

#[cfg(not(unix))]
fn signal(_: ExitStatus) -> Option<i32> {
    None
}
