//! `evo confine`: what `evo` starts for each program that a model wrote; nobody types it.

use std::path::PathBuf;

use clap::Args;

use super::screen;
use crate::trials::{Confinement, UNCONFINED};

/// What the program may do.
#[derive(Args, Debug)]
pub(super) struct ConfineArgs {
    /// The folder that it works in and may write
    #[arg(long)]
    folder: PathBuf,
    /// What it may read beside the system's programs and libraries (may be repeated)
    #[arg(long)]
    readable: Vec<PathBuf>,
    /// Bytes of memory
    #[arg(long)]
    memory: u64,
    /// Seconds of processor time
    #[arg(long)]
    seconds: u64,
    /// Let it start processes
    #[arg(long)]
    processes: bool,
    /// End at once: whether this system can confine a program
    #[arg(long)]
    probe: bool,
    /// The program and its arguments
    #[arg(last = true)]
    argv: Vec<String>,
}

/// Gives up what the program may not do and becomes the program.
pub(super) fn confine(args: &ConfineArgs) -> u8 {
    let confinement = Confinement {
        folder: args.folder.clone(),
        readable: args.readable.clone(),
        memory: args.memory,
        seconds: args.seconds,
        processes: args.processes,
    };
    let why = match (confinement.apply(), args.argv.split_first()) {
        (Err(why), _) => why,
        (Ok(()), _) if args.probe => return 0,
        (Ok(()), None) => "no program is named".into(),
        (Ok(()), Some((program, rest))) => become_program(program, rest),
    };
    screen::note(&why);
    UNCONFINED
}

#[cfg(unix)]
fn become_program(program: &str, rest: &[String]) -> String {
    let error = std::os::unix::process::CommandExt::exec(std::process::Command::new(program).args(rest));
    format!("{program}: {error}")
}

#[cfg(not(unix))]
fn become_program(program: &str, _: &[String]) -> String {
    format!("{program}: this system cannot replace a process by another program")
}
