//! Ctrl-C: stops what runs in the foreground, and keeps the session. A signal that comes while a line is being edited was
//! sent to end the process (at a terminal, Ctrl-C is a key then): it ends, and leaves the terminal as it was.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::cli::screen;
use crate::engine::Job;
use crate::http::without_keys;

static FOREGROUND: Mutex<Option<Job>> = Mutex::new(None);
static EDITS: AtomicBool = AtomicBool::new(false);
/// The terminal's settings as `stty -g` tells them.
static TERMINAL: Mutex<Option<String>> = Mutex::new(None);

/// The exit code of a process that a signal ends.
const ENDED: i32 = 130;

fn foreground() -> MutexGuard<'static, Option<Job>> {
    FOREGROUND.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes over Ctrl-C for the process.
pub(super) fn install(interactive: bool) {
    if interactive {
        *TERMINAL.lock().unwrap_or_else(PoisonError::into_inner) = stty(&["-g"]);
    }
    let handler = move || match &*foreground() {
        Some(job) => match job.cancel().stop() {
            1 => screen::note("stopping: what runs is brought to a safe point; Ctrl-C again does not wait for it"),
            _ if interactive => job.release(),
            _ => std::process::exit(ENDED),
        },
        None if interactive && !EDITS.load(Ordering::SeqCst) => {}
        None => {
            if let Some(settings) = &*TERMINAL.lock().unwrap_or_else(PoisonError::into_inner) {
                stty(&[settings]);
            }
            std::process::exit(ENDED);
        }
    };
    if let Err(error) = ctrlc::set_handler(handler) {
        screen::note(&format!("Ctrl-C will end the session at once: {error}"));
    }
}

fn stty(arguments: &[&str]) -> Option<String> {
    let mut command = Command::new("stty");
    let command = without_keys(&mut command).args(arguments).stdin(Stdio::inherit()).stderr(Stdio::null());
    let told = command.output().ok()?;
    let text = String::from_utf8(told.stdout).ok()?.trim().to_owned();
    (told.status.success() && !text.is_empty()).then_some(text)
}

/// Lets Ctrl-C stop a job as long as `wait` does.
pub(super) fn in_foreground<R>(job: &Job, wait: impl FnOnce() -> R) -> R {
    *foreground() = Some(job.clone());
    let result = wait();
    *foreground() = None;
    result
}

/// Notes that a line is being edited as long as `edit` does.
pub(super) fn while_editing<R>(edit: impl FnOnce() -> R) -> R {
    EDITS.store(true, Ordering::SeqCst);
    let result = edit();
    EDITS.store(false, Ordering::SeqCst);
    result
}
