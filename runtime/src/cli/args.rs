//! The command line's grammar and its help texts.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};

/// evo: declare models, data, tasks and searches; get evolved models.
#[derive(Debug, Parser)]
#[command(name = "evo", version, max_term_width = 100, subcommand_required = true, arg_required_else_help = true)]
#[command(after_help = "\
Examples:
  evo check quickstart.evo            what is wrong with a program, in milliseconds
  evo plan quickstart.evo             what it would compute, and how much
  evo run quickstart.evo              run it; results go to the working directory
  evo run quickstart.evo --resume     go on where a run was interrupted

Exit codes: 0 done, 1 the answer is no, 2 the program or the command line is wrong, 3 it failed,
4 cut short by a budget or a lost service, 130 interrupted; after 3, 4 and 130 `--resume` goes on.")]
pub(super) struct Cli {
    /// When to use colours
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    pub(super) color: Color,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Even into a file or pipe.
    Always,
    /// Not at all.
    Never,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run a program: compute what its requests ask for
    Run(RunArgs),
    /// Check programs without running them: names, types, model headers, first rows of data
    Check(CheckArgs),
    /// Show what a program would compute, with estimates, without computing it
    Plan(PlanArgs),
    /// Enter a program piece by piece, and see what comes of it
    Repl(super::repl::ReplArgs),
    /// Write programs in the one style
    Fmt(super::fmt::FmtArgs),
    /// Score a model on the tasks that a program declares
    Eval(EvalArgs),
    /// Serve a model to OpenAI's clients: chats, completions, embeddings
    Serve(super::serve::ServeArgs),
    /// Show how much the store and the runs take, and remove what is not needed
    Clean(CleanArgs),
    /// Print a model's logits as JSON, to compare with other runtimes
    Logits(LogitsArgs),
    /// Make a project from a template
    New(super::new::NewArgs),
    /// Show what a function, a kind or a type is and does
    Doc(super::doc::DocArgs),
    /// Run programs as tests
    Test(super::test::TestArgs),
    /// Repeat one candidate of a run, and compare
    Replay(super::replay::ReplayArgs),
    /// Turn a script that a model wrote into a loss, in a sandbox
    Trace(super::trace::TraceArgs),
    /// Explain an error code
    Explain(ExplainArgs),
    /// Print or write manual pages
    Man(super::man::ManArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
    /// Become a program that may do nothing but compute
    #[command(hide = true)]
    Confine(super::confine::ConfineArgs),
    /// Answer requests of another evo
    Worker(super::worker::WorkerArgs),
}

/// What a plan depends on besides the program.
#[derive(Args, Debug)]
pub(super) struct SettingArgs {
    /// Set a param (may be repeated)
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = name_and_value)]
    pub(super) set: Vec<(String, String)>,
    /// Set the program's seed
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(super) seed: Option<i64>,
    /// Lower all effort, to see in seconds that a program works; tables say so
    #[arg(long)]
    pub(super) tiny: bool,
    #[command(flatten)]
    pub(super) device: DeviceArgs,
}

/// Where models are computed.
#[derive(Args, Debug)]
pub(super) struct DeviceArgs {
    /// Where models are computed [default: `device` of evo.toml, else amx where the processor has it, else cpu]; results of two devices differ in their last bits
    #[arg(long = "device", value_name = "NAME", value_parser = evo_stdlib::model::DEVICES)]
    pub(super) name: Option<String>,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  evo run quickstart.evo --set evaluations=60 --seed 3
  evo run quickstart.evo --tiny              seconds instead of minutes
  evo run quickstart.evo --resume            the latest unfinished run of this program
  evo run quickstart.evo --tensorboard logs  curves to look at with `tensorboard --logdir logs`
  evo run quickstart.evo --json > events.jsonl")]
pub(super) struct RunArgs {
    /// The program [default: the project's main program]
    #[arg(value_hint = ValueHint::FilePath)]
    pub(super) file: Option<PathBuf>,
    #[command(flatten)]
    pub(super) settings: SettingArgs,
    /// Evaluations at once [default: `workers` of evo.toml, else all cores]; results do not depend on it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) jobs: Option<u16>,
    #[command(flatten)]
    pub(super) workers: WorkersArgs,
    /// Where relative output paths start [default: the working directory]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(super) out: Option<PathBuf>,
    /// Print events as JSON, one a line, instead of text
    #[arg(long)]
    pub(super) json: bool,
    /// Check and plan only: compute nothing, write nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Go on with an unfinished run: the latest of this program, or the named one
    #[arg(long, value_name = "RUN", num_args = 0..=1, default_missing_value = "")]
    pub(super) resume: Option<String>,
    /// Say for each node why it has to be computed: what changed since the last run
    #[arg(long)]
    pub(super) explain: bool,
    /// Write the curves of trainings into this folder, as event files for TensorBoard
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(super) tensorboard: Option<PathBuf>,
    /// Seconds between two checkpoints of a training, at least [default: 30]; results do not depend on it
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(super) checkpoint_every: Option<f64>,
    /// What language models may cost at most, such as 5usd, over all segments of the run
    #[arg(long, value_name = "MONEY", value_parser = money)]
    pub(super) budget: Option<f64>,
    /// Tokens that language models may read and write at most, over all segments of the run
    #[arg(long, value_name = "N")]
    pub(super) token_budget: Option<u64>,
    /// Take what language models say from the transcripts of a run, a folder or a file, and ask nobody
    #[arg(long, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(super) replay: Option<PathBuf>,
}

/// Processes that evaluate candidates.
#[derive(Args, Debug)]
pub(super) struct WorkersArgs {
    /// Evaluate candidates in N worker processes: one that crashes costs its candidate, at worst; results do not depend on it
    #[arg(long = "workers", value_name = "N", value_parser = clap::value_parser!(u16).range(1..), conflicts_with = "tensorboard")]
    pub(super) count: Option<u16>,
    /// Hold each worker to this much memory, such as 4GiB, mapped files included
    #[arg(long = "worker-memory", value_name = "SIZE", value_parser = size, requires = "count")]
    pub(super) memory: Option<u64>,
    /// Give each candidate this long, such as 90s; one that is late is recorded as failed
    #[arg(long = "worker-deadline", value_name = "TIME", value_parser = humantime::parse_duration, requires = "count")]
    pub(super) deadline: Option<Duration>,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  evo check *.evo
  evo check quickstart.evo --emit types
  evo check *.evo --fix                      apply the suggestions that need no thought
  evo check *.evo --fix --dry-run            show what that would change
  evo check *.evo --deny-warnings            for continuous integration
  evo check quickstart.evo --json            one diagnostic a line, for editors
  evo check *.evo --report sarif > evo.sarif

Exit code: 0 (warnings too), or 2 if a program has errors.")]
pub(super) struct CheckArgs {
    /// The programs [default: the project's main program]
    #[arg(value_hint = ValueHint::FilePath)]
    pub(super) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(super) settings: SettingArgs,
    /// Print a form that the program takes on its way
    #[arg(long, value_enum, value_name = "FORM")]
    pub(super) emit: Option<Emit>,
    /// Print diagnostics as JSON, one a line
    #[arg(long, conflicts_with_all = ["emit", "report"])]
    pub(super) json: bool,
    /// How to print diagnostics
    #[arg(long, value_enum, value_name = "FORM", default_value = "human", conflicts_with = "emit")]
    pub(super) report: Report,
    /// Apply the fixes of diagnostics to the files, until nothing changes
    #[arg(long, conflicts_with = "emit")]
    pub(super) fix: bool,
    /// With `--fix`: print the difference, and write nothing
    #[arg(long, requires = "fix")]
    pub(super) dry_run: bool,
    /// Exit with 2 where there are warnings too
    #[arg(long)]
    pub(super) deny_warnings: bool,
}

/// How diagnostics are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Report {
    /// For people, on stderr
    Human,
    /// JSON, one diagnostic a line
    Json,
    /// One SARIF 2.1.0 document, for code scanning
    Sarif,
    /// Annotations that GitHub Actions show beside the code
    Github,
}

/// A form of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Emit {
    /// The syntax tree
    Ast,
    /// Every declaration with its type
    Types,
    /// The intermediate representation of numeric code
    Ir,
    /// Cranelift's input for it
    Clif,
    /// The graph of nodes
    Plan,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Times are those that earlier runs measured; where there is none, the time is unknown. Memory follows
from the headers of the models: weights, gradients and optimizer state, but not activations.

Examples:
  evo plan quickstart.evo --set evaluations=1000
  evo plan quickstart.evo --explain
  evo plan quickstart.evo --svg plan.svg     the graph as a drawing")]
pub(super) struct PlanArgs {
    /// The program [default: the project's main program]
    #[arg(value_hint = ValueHint::FilePath)]
    pub(super) file: Option<PathBuf>,
    #[command(flatten)]
    pub(super) settings: SettingArgs,
    /// Print one JSON object instead of text
    #[arg(long)]
    pub(super) json: bool,
    /// Say for each node why it has to be computed: what changed since the last run
    #[arg(long)]
    pub(super) explain: bool,
    /// Draw the graph of nodes into this file instead
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "json")]
    pub(super) svg: Option<PathBuf>,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  evo eval evolved tasks.evo                 a score for each `task` of tasks.evo
  evo eval model.gguf tasks.evo --set rows=50")]
pub(super) struct EvalArgs {
    /// A Hugging Face directory or a GGUF file
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(super) model: String,
    /// A program that declares tasks; `--set` sets its params, its own requests are ignored
    #[arg(value_hint = ValueHint::FilePath)]
    pub(super) tasks: PathBuf,
    #[command(flatten)]
    pub(super) settings: SettingArgs,
    /// Evaluations at once [default: `workers` of evo.toml, else all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) jobs: Option<u16>,
    /// Print events as JSON, one a line, instead of text
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  evo clean                                  show what there is; remove nothing
  evo clean --max 5GB                        bound the store: what was used longest ago goes first
  evo clean --older 30d --dry-run            what would go
  evo clean --runs 10                        keep the last ten finished run directories
  evo clean --all                            empty the store")]
pub(super) struct CleanArgs {
    /// Keep at most this much in the store, such as 5GB or 512MiB
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(super) max: Option<u64>,
    /// Remove from the store what was not used for this long, such as 30d or 12h
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(super) older: Option<Duration>,
    /// Empty the store; with `--runs`, remove unfinished runs too
    #[arg(long, conflicts_with_all = ["max", "older"])]
    pub(super) all: bool,
    /// Remove run directories but the last N finished ones; unfinished runs stay
    #[arg(long, value_name = "N")]
    pub(super) runs: Option<usize>,
    /// Show what would be removed; remove nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Print one JSON object instead of text
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("prompt").required(true))]
#[command(after_help = "\
Prints one JSON object and nothing else: `tokens` (the prompt's ids), `last_logits` (all logits of
the last position in id order), `greedy` (exactly N ids, not stopped at an end token).

Examples:
  evo logits models/tiny-bilingual --text \"12 + 3 = \" --greedy 4 --json
  evo logits model.gguf --tokens 1,2,3 --dtype bf16 --json
  evo logits model.gguf --tokens 1,2,3 --device cuda")]
pub(super) struct LogitsArgs {
    /// A Hugging Face directory or a GGUF file
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(super) model: PathBuf,
    /// The prompt as it stands: no template, no token added; special tokens in it are recognised
    #[arg(long, group = "prompt", allow_hyphen_values = true)]
    pub(super) text: Option<String>,
    /// The prompt as token ids, separated by commas
    #[arg(long, group = "prompt", value_delimiter = ',', num_args = 1)]
    pub(super) tokens: Option<Vec<u32>>,
    /// Round the weights to this type first [default: take them as they are stored]; sums are in f32 with any
    #[arg(long, value_enum, value_name = "TYPE")]
    pub(super) dtype: Option<Dtype>,
    /// Also continue greedily by this many tokens
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) greedy: usize,
    #[command(flatten)]
    pub(super) device: DeviceArgs,
    /// The output's only form, named so that scripts say what they rely on
    #[arg(long)]
    pub(super) json: bool,
}

/// An element type of weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Dtype {
    /// 32 bits
    F32,
    /// 16 bits, 8 of them the exponent
    Bf16,
    /// 16 bits, 5 of them the exponent
    F16,
}

#[derive(Args, Debug)]
pub(super) struct ExplainArgs {
    /// The code, such as E0201; all codes are listed without one
    pub(super) code: Option<String>,
    /// Print JSON instead of Markdown
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Args, Debug)]
#[command(after_help = "Example:\n  evo completions bash > ~/.local/share/bash-completion/completions/evo")]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub(super) shell: clap_complete::Shell,
}

/// A number of seconds, not below 0.
fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds >= 0.0 && seconds.is_finite() => Ok(seconds),
        _ => Err(format!("`{text}` is no number of seconds")),
    }
}

/// US dollars, with or without their unit.
fn money(text: &str) -> Result<f64, String> {
    match text.strip_suffix("usd").unwrap_or(text).parse::<f64>() {
        Ok(money) if money >= 0.0 && money.is_finite() => Ok(money),
        _ => Err(format!("`{text}` is no sum of money: write it such as 5usd")),
    }
}

pub(super) fn name_and_value(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !is_name || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err(format!("`{name}` is no name of a param"));
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// An amount of bytes as programs write it: `5GB` (powers of 1000), `64MiB` (powers of 1024), or a plain number.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale = match unit.trim() {
        "" | "B" => 1.0,
        "kB" | "KB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "TB" => 1e12,
        "KiB" => 1024.0,
        "MiB" => 1024.0 * 1024.0,
        "GiB" => 1024.0 * 1024.0 * 1024.0,
        "TiB" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        other => return Err(format!("`{other}` is no unit: write 5GB, 512MiB …")),
    };
    let number: f64 = number.parse().map_err(|_| "write a size such as 5GB or 512MiB".to_owned())?;
    Ok((number * scale) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_grammar_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_and_option_has_a_help_text() {
        for command in Cli::command().get_subcommands() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for arg in command.get_arguments().filter(|arg| arg.get_id() != "help") {
                assert!(arg.get_help().is_some(), "{} {}", command.get_name(), arg.get_id());
            }
        }
    }

    #[test]
    fn sizes_and_settings_are_read() {
        assert_eq!(size("5GB"), Ok(5_000_000_000));
        assert_eq!(size("64MiB"), Ok(64 << 20));
        assert_eq!(size("1.5kB"), Ok(1500));
        assert!(size("5 parsecs").is_err() && size("GB").is_err() && size("").is_err());
        assert_eq!(name_and_value("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert!(name_and_value("a").is_err() && name_and_value("=b").is_err() && name_and_value("a b=c").is_err());
    }

    #[test]
    fn resume_takes_a_name_or_none() {
        let resume =
            |args: &[&str]| match Cli::try_parse_from([&["evo", "run", "a.evo"], args].concat()).unwrap().command {
                Command::Run(run) => run.resume,
                _ => None,
            };
        assert_eq!(resume(&[]), None);
        assert_eq!(resume(&["--resume"]), Some(String::new()));
        assert_eq!(
            resume(&["--resume", "20260102T030405Z-a-0123abcd"]).as_deref(),
            Some("20260102T030405Z-a-0123abcd")
        );
        assert_eq!(resume(&["--resume", "--tiny"]), Some(String::new()));
    }
}
