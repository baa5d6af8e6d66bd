//! `evo repl`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::args::SettingArgs;
use super::{Stop, settings};
use crate::repl::{self, Options};

#[derive(Args, Debug)]
#[command(after_help = "\
An entry is a declaration, a request (print, plot, save, expect), or an expression, which is shown.
`:help` lists the commands. Ctrl-C stops what runs and keeps the session; Ctrl-D leaves.

Examples:
  evo repl                             an empty session in the working directory
  evo repl quickstart.evo              with a program's declarations; its requests wait for `:run`
  evo repl -e 'sqrt(2)'                answer and leave
  evo repl quickstart.evo < entries    answer entry by entry; end at the first that fails

Exit codes, where the input is no terminal: 0, 1 an `expect` does not hold, 2 an entry is wrong, 3 it failed.")]
pub(super) struct ReplArgs {
    /// A program to begin with
    #[arg(value_hint = ValueHint::FilePath)]
    pub(super) file: Option<PathBuf>,
    /// Take this entry instead of reading any (may be repeated)
    #[arg(short = 'e', long = "entry", value_name = "ENTRY", allow_hyphen_values = true)]
    pub(super) entries: Vec<String>,
    #[command(flatten)]
    pub(super) settings: SettingArgs,
    /// Evaluations at once [default: all cores]; results do not depend on it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) jobs: Option<u16>,
    /// Neither read nor write the history of entries
    #[arg(long)]
    pub(super) no_history: bool,
}

/// Runs a session.
pub(super) fn repl(args: ReplArgs) -> Result<u8, Stop> {
    let options = Options {
        settings: settings(&args.settings),
        file: args.file,
        entries: args.entries,
        jobs: args.jobs.map(usize::from),
        history: !args.no_history,
    };
    Ok(repl::run(options)?)
}
