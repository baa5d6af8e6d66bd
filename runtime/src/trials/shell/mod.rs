//! A shell that is nowhere: POSIX `sh` with the commonest of bash and of coreutils, on a tree of files in memory.
//!
//! No process, file, clock, network or environment of the host is touched, so a script has nothing to climb out of, and
//! a run gives the same bytes everywhere. Text is bytes, as with `LC_ALL=C`. What the shell does not have it says: an
//! unknown command ends with status 127 and stands in [`Outcome::lacking`], as do options and syntax.
//!
//! Stages of a pipeline run one after the other. A stage that is not the last gets half of the steps left and is cut
//! when they, or the pipe, are used up, as if its reader had closed the pipe; only a reader that really reads that far
//! ends the run. So `yes | head -1` ends, and `yes | wc -l` is stopped.

#[macro_use]
mod options;

mod arith;
mod ast;
mod brace;
mod builtins;
mod conditions;
mod declare;
mod exec;
mod expand;
mod files;
mod input;
mod numbers;
mod param;
mod parse;
mod pattern;
mod read;
mod redirect;
mod regex;
mod simple;
mod state;
mod testing;
mod tools;
mod words;

#[cfg(test)]
mod tests;

pub use files::{Entry, Files};
use state::{Flow, Shell};

/// How much a script may use. Memory is bounded by them too: every 64 bytes that are made cost one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Commands, expansions, lines and blocks of bytes together.
    pub steps: u64,
    /// Bytes of each stream: standard output, standard error, a pipe, a substitution.
    pub output_bytes: usize,
    /// Bytes of all files together.
    pub file_bytes: usize,
    /// Files, directories and links together.
    pub files: usize,
    /// Nesting of syntax, calls and subshells.
    pub depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { steps: 2_000_000, output_bytes: 8 << 20, file_bytes: 16 << 20, files: 10_000, depth: 200 }
    }
}

/// The limit that ended a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// [`Limits::steps`]
    Steps,
    /// [`Limits::output_bytes`]
    OutputBytes,
    /// [`Limits::file_bytes`]
    FileBytes,
    /// [`Limits::files`]
    Files,
    /// [`Limits::depth`]
    Depth,
}

/// What a run gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The exit status; 137 if a limit stopped the run.
    pub status: i32,
    /// What was printed.
    pub stdout: Vec<u8>,
    /// What was said of errors.
    pub stderr: Vec<u8>,
    /// The limit that stopped the run, if one did.
    pub stopped: Option<Stopped>,
    /// Commands, options and syntax that the script wanted and the shell does not have, each once, in order.
    pub lacking: Vec<String>,
}

/// Runs `script` on `files`, which keep what it did to them.
///
/// ```
/// use evo::trials::shell::{Files, Limits, run};
/// let mut files = Files::new();
/// files.write("/home/user/log.txt", b"ok\nerror: disk\nok\n");
/// let outcome = run("grep -c error log.txt", &mut files, &Limits::default());
/// assert_eq!((outcome.status, outcome.stdout.as_slice()), (0, b"1\n".as_slice()));
/// ```
#[must_use]
pub fn run(script: &str, files: &mut Files, limits: &Limits) -> Outcome {
    let mut shell = Shell::new(std::mem::take(files), limits.clone());
    let ended = shell.run_text(script.as_bytes(), 1);
    let (status, stopped) = match ended {
        Ok(status) | Err(Flow::Exit(status) | Flow::Return(status)) => (status, None),
        Err(Flow::Stop(limit)) => (137, Some(limit)),
        Err(Flow::Cut) => (141, None),
        Err(Flow::Abandon) => (1, None),
        Err(Flow::Break(_) | Flow::Continue(_)) => (0, None),
    };
    let (stdout, stderr) = (shell.taken(1), shell.taken(2));
    *files = std::mem::take(&mut shell.files);
    Outcome { status, stdout, stderr, stopped, lacking: shell.lacking }
}
