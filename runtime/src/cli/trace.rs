//! `evo trace`: a script in rhai as a loss in `.evo`.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueHint};
use evo_lang::diag::{Code, Diagnostic};
use evo_lang::span::{SourceMap, Span};
use serde_json::json;

use super::{Stop, screen};
use crate::engine::{Engine, Failure};
use crate::sandbox::{self, Job, Limits, Reason, Rejected, Sandbox, Verdict};
use crate::workers;

#[derive(Args, Debug)]
#[command(after_help = "\
The script is run once, on symbols, in a process of its own with limits on its steps, time and memory.
Exit code 1: the script is no loss, and why.

Examples:
  evo trace proposed.rhai                    print the loss that it is
  evo trace proposed.rhai > proposed.evo     then `use \"proposed.evo\" as best` and `best.proposed`
  evo trace - --name focal < reply.txt")]
pub(super) struct TraceArgs {
    /// The script, in rhai; `-` reads stdin
    #[arg(value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// What the loss is called [default: the file's name, or `proposed`]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Print one JSON object: the loss with the inputs it reads and its steps, or the reason
    #[arg(long)]
    json: bool,
}

/// Prints the declaration, or why there is none.
pub(super) fn trace(args: &TraceArgs) -> Result<u8, Stop> {
    let limits = Limits::default();
    let script = read(&args.file, limits.source)?;
    let name = name(args)?;
    let sandbox = Sandbox::new(Sandbox::spec(workers::executable(), &limits), 1);
    let job = Job { name, script, inputs: sandbox::inputs()?, limits };
    let verdict = checked(sandbox.trace(&job), &job)?;
    if args.json {
        screen::json(&object(&verdict))?;
    }
    match verdict {
        Verdict::Traced(traced) if !args.json => screen::exactly(&traced.source)?,
        Verdict::Traced(_) => {}
        Verdict::Rejected(_) if args.json => return Ok(1),
        Verdict::Rejected(rejected) => return Err(told(&args.file, &job, &rejected).into()),
    }
    Ok(0)
}

/// The verdict as JSON, a rejection with the code of its page.
fn object(verdict: &Verdict) -> serde_json::Value {
    match verdict {
        Verdict::Traced(traced) => json!({ "traced": traced }),
        Verdict::Rejected(rejected) => {
            let Rejected { reason, message, help, place } = rejected;
            let code = reason.code();
            json!({ "rejected": { "code": code, "reason": reason, "message": message, "help": help, "place": place } })
        }
    }
}

/// The script's text, of which no more is read than shows that it is too long.
fn read(file: &Path, most: usize) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let most = most as u64 + 1;
    let read = match file == Path::new("-") {
        true => std::io::stdin().take(most).read_to_end(&mut bytes),
        false => std::fs::File::open(file).and_then(|file| file.take(most).read_to_end(&mut bytes)),
    };
    read.map_err(|e| {
        let help = "name a script that exists, or `-` for stdin";
        Failure::placeless(2, Code::E0130, format!("`{}` cannot be read: {e}", file.display()), help)
    })?;
    // A character that is cut is the least of what is wrong with a script that is too long.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn name(args: &TraceArgs) -> Result<String, Failure> {
    if let Some(name) = &args.name {
        let help = "a name begins with a letter and has letters, digits and `_`";
        let wrong = || Failure::placeless(2, Code::E0135, format!("`{name}` is no name of a loss"), help);
        return evo_lang::is_public_name(name).then(|| name.clone()).ok_or_else(wrong);
    }
    let stem = args.file.file_stem().and_then(|stem| stem.to_str()).filter(|stem| evo_lang::is_public_name(stem));
    Ok(stem.unwrap_or("proposed").to_owned())
}

/// The verdict, once the declaration has been through the checker like any other, in the one style.
fn checked(verdict: Verdict, job: &Job) -> Result<Verdict, Failure> {
    let Verdict::Traced(mut traced) = verdict else { return Ok(verdict) };
    let file = format!("{}.evo", job.name);
    let found = Engine::new().load_text(&file, &traced.source);
    if found.diagnostics().iter().any(Diagnostic::is_error) {
        return Err(Failure::program(found.diagnostics().to_vec(), found.sources().clone()));
    }
    if let Ok(text) = evo_lang::fmt::format(&traced.source, Default::default()) {
        traced.source = text;
    }
    Ok(Verdict::Traced(traced))
}

/// A rejection as a diagnostic that points into the script.
fn told(file: &Path, job: &Job, rejected: &Rejected) -> Failure {
    let mut sources = SourceMap::new();
    let id = sources.add(&file.display().to_string(), &job.script);
    let at = rejected.place.and_then(|(line, column)| {
        let text = sources.file(id)?;
        let start = text.line_start(line) as usize;
        let into: usize = text.line(line).chars().take(column.saturating_sub(1)).map(char::len_utf8).sum();
        Some(Span::new(id, start + into, start + into + 1))
    });
    // What has no place is about the script's value, which is its last expression, or about the whole of it.
    let last = job.script.char_indices().rfind(|(_, c)| !c.is_whitespace() && !";}".contains(*c));
    let end = match (rejected.reason, last) {
        (Reason::Value, Some((start, c))) => Span::new(id, start, start + c.len_utf8()),
        _ => Span::new(id, 0, job.script.chars().next().map_or(0, char::len_utf8)),
    };
    let span = at.unwrap_or(end);
    let code = Code::find(rejected.reason.code()).unwrap_or(Code::R0567);
    let diagnostic = Diagnostic::error(code, span, &rejected.message, rejected.reason.label()).help(&rejected.help);
    Failure { exit_code: 1, diagnostics: vec![diagnostic], sources: Arc::new(sources) }
}
