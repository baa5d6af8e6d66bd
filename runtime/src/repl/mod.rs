//! `evo repl`: a [`Session`](crate::session::Session) at a terminal, in a pipe, or in a transcript.
//!
//! In reading order: [`Repl`] takes entries and says what comes of them; `command` knows those that begin with a colon;
//! `show` puts results into text; `jobs` keeps what runs in the background; `editor` reads lines at a terminal, with
//! completion and colours; `signals` turns Ctrl-C into a clean stop.

mod command;
mod editor;
mod jobs;
mod progress;
mod show;
mod signals;
mod take;

use std::io::{self, BufRead, IsTerminal};
use std::path::PathBuf;
use std::sync::Arc;

use evo_lang::ide;

use crate::cli::screen;
use crate::engine::{Engine, Failure, Settings};

pub use take::{Output, Repl, Taken};

/// How a session begins.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// A program whose declarations it begins with.
    pub file: Option<PathBuf>,
    /// Entries to take instead of reading any.
    pub entries: Vec<String>,
    /// Params, seed, tiny.
    pub settings: Settings,
    /// Evaluations at once.
    pub jobs: Option<usize>,
    /// Whether entries are remembered across sessions.
    pub history: bool,
}

/// Writes to the process's streams.
struct Screen;

impl Output for Screen {
    fn result(&self, text: &str) -> io::Result<()> {
        screen::result(text)
    }

    fn note(&self, text: &str) {
        screen::note(text);
    }

    fn colour(&self) -> bool {
        console::colors_enabled_stderr()
    }
}

/// Runs a session to its end, and gives the process's exit code.
pub(crate) fn run(options: Options) -> Result<u8, Failure> {
    let builder = options.jobs.into_iter().fold(Engine::builder(), |builder, jobs| builder.jobs(jobs));
    let mut repl = Repl::new(&builder.build(), Arc::new(Screen));
    let interactive = options.entries.is_empty() && io::stdin().is_terminal();
    signals::install(interactive);
    if let Some(file) = &options.file {
        repl.load(file)?;
    }
    repl.set(options.settings)?;
    if interactive {
        return editor::interact(repl, options.history);
    }
    if options.entries.is_empty() {
        return Ok(piped(&mut repl, io::stdin().lock()));
    }
    let failed = options.entries.iter().map(|entry| repl.take(entry)).find(|taken| taken.code != 0);
    Ok(failed.map_or(0, |taken| taken.code).max(repl.wait_all()))
}

/// Takes entries from lines until one fails, or leaves, or none is left; waits for what runs in the background.
fn piped(repl: &mut Repl, lines: impl BufRead) -> u8 {
    let mut entry = String::new();
    for line in lines.lines() {
        let Ok(line) = line else {
            screen::note("error: the entries are not UTF-8 text");
            return 2;
        };
        entry += &line;
        if !line.trim().is_empty() && ide::unfinished(&entry) {
            entry.push('\n');
            continue;
        }
        let taken = repl.take(&std::mem::take(&mut entry));
        if taken.code != 0 || taken.leaves {
            return taken.code;
        }
    }
    let code = if entry.trim().is_empty() { 0 } else { repl.take(&entry).code };
    code.max(repl.wait_all())
}
