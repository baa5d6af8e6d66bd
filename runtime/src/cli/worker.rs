//! `evo worker`: the other end of the workers' pipes.

use std::io;
use std::process;

use clap::Args;
use evo_lang::diag::Code;

use super::Stop;
use super::args::size;
use crate::engine::Failure;
use crate::workers::{self, limits};

#[derive(Args, Debug)]
#[command(after_help = "\
Started by evo itself, for what may crash, take too much or never end. Messages are JSON, each after
its length in four bytes; the page `workers.md` of the book has the protocol.")]
pub(super) struct WorkerArgs {
    /// Answer requests on stdin and stdout, which is the only way there is
    #[arg(long, required = true)]
    stdio: bool,
    /// Hold the process to this much memory, such as 256MiB, its own code included
    #[arg(long, value_name = "SIZE", value_parser = size)]
    memory: Option<u64>,
}

/// Answers until there are no more requests.
pub(super) fn worker(args: &WorkerArgs) -> Result<u8, Stop> {
    if let Some(bytes) = args.memory {
        limits::hold_memory(bytes).map_err(|error| unheld(&error))?;
    }
    // Who asks is gone: what is under way has nobody to tell.
    workers::serve(io::stdin(), io::stdout().lock(), || process::exit(0))?;
    Ok(0)
}

/// What cannot be held to its memory does not begin.
fn unheld(error: &io::Error) -> Failure {
    let why = limits::lacking().map_or_else(|| error.to_string(), str::to_owned);
    let help = "run it where the system has such a limit, as Linux does";
    Failure::placeless(3, Code::R0505, format!("the worker cannot be held to its memory: {why}"), help)
}
