//! The command line: a thin face over the embedding API.
//!
//! Results go to stdout; progress, diagnostics and everything else about them to stderr. Exit codes: 0 done, 1 the answer
//! is no, 2 the program or the command line is wrong, 3 it failed, 4 cut short, 130 interrupted.

mod args;
mod check;
mod clean;
mod confine;
mod doc;
mod eval;
mod explain;
mod fix;
mod fmt;
mod logits;
mod man;
mod new;
pub(crate) mod plan;
mod repl;
mod replay;
mod run;
pub(crate) mod screen;
mod serve;
mod test;
mod trace;
pub(crate) mod watch;
mod worker;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use evo_lang::diag::Code;

use crate::engine::{Engine, Failure, ParamValue, Settings};
use crate::panics;
use args::{Cli, Command, CompletionsArgs, SettingArgs};

/// Why a command ends early.
#[derive(Debug)]
enum Stop {
    /// With diagnostics; the flag says whether stdout is for JSON.
    Failure(Failure, bool),
    /// A result could not be written.
    Output(io::Error),
    /// With this exit code: why was told already.
    Told(u8),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Stop {
        Stop::Failure(failure, false)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        Stop::Output(error)
    }
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    screen::set_color(cli.color);
    panics::install_hook();
    let done = catch_unwind(AssertUnwindSafe(|| dispatch(cli.command)));
    let code = match done {
        Ok(Ok(code)) => code,
        Ok(Err(stop)) => report(&stop),
        Err(panic) => {
            let help = "please report it with the command and the program";
            report(&Failure::placeless(3, Code::R0546, panics::describe(panic.as_ref()), help).into())
        }
    };
    ExitCode::from(code)
}

fn dispatch(command: Command) -> Result<u8, Stop> {
    match command {
        Command::Run(args) => run::run(args),
        Command::Check(args) => check::check(&args),
        Command::Plan(args) => plan::plan(&args),
        Command::Repl(args) => repl::repl(args),
        Command::Fmt(args) => fmt::fmt(&args),
        Command::Eval(args) => eval::eval(&args),
        Command::Clean(args) => clean::clean(&args),
        Command::Logits(args) => logits::logits(&args),
        Command::New(args) => new::new(&args),
        Command::Doc(args) => doc::doc(&args),
        Command::Man(args) => man::man(&args),
        Command::Test(args) => test::test(&args),
        Command::Replay(args) => replay::replay(&args),
        Command::Serve(args) => serve::serve(&args),
        Command::Trace(args) => trace::trace(&args),
        Command::Confine(args) => Ok(confine::confine(&args)),
        Command::Worker(args) => worker::worker(&args),
        Command::Explain(args) => explain::explain(&args),
        Command::Completions(args) => Ok(completions(&args)),
    }
}

fn report(stop: &Stop) -> u8 {
    let written = match stop {
        Stop::Failure(failure, json) => screen::failure(failure, *json).map(|()| failure.exit_code),
        // Whoever read the results has left, as `head` does: that is no failure of ours.
        Stop::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(0),
        Stop::Output(error) => {
            screen::note(&format!("error: the results cannot be written: {error}"));
            Ok(3)
        }
        Stop::Told(code) => Ok(*code),
    };
    written.unwrap_or(3)
}

fn completions(args: &CompletionsArgs) -> u8 {
    clap_complete::generate(args.shell, &mut Cli::command(), "evo", &mut io::stdout());
    0
}

/// The program that is named, or the project's main one.
fn named(engine: &Engine, file: Option<&Path>) -> Result<PathBuf, Failure> {
    file.map_or_else(|| engine.main_program(), |file| Ok(file.to_owned()))
}

fn settings(args: &SettingArgs) -> Settings {
    let params = args.set.iter().map(|(name, value)| (name.clone(), ParamValue::Source(value.clone())));
    Settings { params: params.collect(), seed: args.seed, tiny: args.tiny, device: args.device.name.clone() }
}
