//! `evo replay`: one candidate of a run again.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::{Stop, screen};
use crate::datum::{Datum, Table};
use crate::engine::{Engine, Failure, ParamValue, Replay, Replayed};
use crate::events::Outcome;
use crate::render;

#[derive(Args, Debug)]
#[command(after_help = "\
The candidate is computed anew, from its genome on: of its own steps nothing is taken from the store.
What it shares with others, such as a trained model, is. Nothing is written to the run.

Examples:
  evo replay runs/20260102T030405Z-quickstart-0123abcd --at 7.12
  evo replay 0123abcd --at 7.12              the part of its name that no other run has
  evo replay 0123abcd --at 0.3 --search merged --json

Exit code: 0 if score and identity are equal to the bit, or 1 if they are not.")]
pub(super) struct ReplayArgs {
    /// The run: its directory, its name under `runs/`, or a part of that name
    #[arg(value_hint = ValueHint::DirPath)]
    run: String,
    /// The candidate, as messages show it
    #[arg(long, value_name = "GENERATION.CANDIDATE", value_parser = place)]
    at: (u64, u64),
    /// The search, where the run has several
    #[arg(long, value_name = "NAME")]
    search: Option<String>,
    /// Set a param that is no plain value, such as a model, as the run had it (may be repeated)
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = super::args::name_and_value)]
    set: Vec<(String, String)>,
    /// Steps at once [default: all cores]; results do not depend on it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

fn place(text: &str) -> Result<(u64, u64), String> {
    let parsed = text.split_once('.').and_then(|(g, c)| Some((g.parse().ok()?, c.parse().ok()?)));
    parsed.ok_or_else(|| "write GENERATION.CANDIDATE, such as 7.12".to_owned())
}

/// Repeats a candidate.
pub(super) fn replay(args: &ReplayArgs) -> Result<u8, Stop> {
    let in_form = |failure: Failure| Stop::Failure(failure, args.json);
    let builder = args.jobs.into_iter().fold(Engine::builder(), |builder, jobs| builder.jobs(usize::from(jobs)));
    let run = PathBuf::from(&args.run).components().as_path().display().to_string();
    let set = args.set.iter().map(|(name, value)| (name.clone(), ParamValue::Source(value.clone()))).collect();
    let asked = Replay { run, generation: args.at.0, candidate: args.at.1, search: args.search.clone(), set };
    let found = builder.build().replay(&asked).map_err(in_form)?;
    if args.json {
        screen::json(&found)?;
    } else {
        screen::result(&text(&found))?;
    }
    if let Some(failure) = &found.failure {
        let failure = Failure { exit_code: 0, diagnostics: vec![failure.clone()], sources: found.sources.clone() };
        screen::failure(&failure, args.json)?;
    }
    Ok(u8::from(!found.equal))
}

fn text(found: &Replayed) -> String {
    let Replayed { run, search, generation, candidate, .. } = found;
    let made = if found.operator.is_empty() { String::new() } else { format!(", made by {}", found.operator) };
    let mut lines = vec![format!("candidate {generation}.{candidate} of `{search}` in {run}{made}")];
    lines.push(format!("genome  {}", exact(&found.genome)));
    let took = |seconds: Option<f64>| seconds.map(|s| format!("  in {}", time(s))).unwrap_or_default();
    let before = found.before.as_ref().map_or("not evaluated: the run ended before".to_owned(), outcome);
    lines.push(format!("before  {before}{}", took(found.seconds_before)));
    lines.push(format!("again   {}{}", outcome(&found.again), took(Some(found.seconds))));
    lines.push(match (found.equal, &found.before) {
        (true, _) => "equal to the bit".to_owned(),
        (false, None) => "nothing to compare with".to_owned(),
        (false, Some(_)) => "not equal: please report it with the program and the run".to_owned(),
    });
    if !found.steps.is_empty() {
        let row = |step: &crate::engine::Step| {
            let state = if step.done { "" } else { "failed" };
            let texts = [step.name.as_str(), step.kind.as_str(), &time(step.seconds), state];
            texts.map(|text| Datum::Text(text.to_owned())).to_vec()
        };
        let columns = ["step", "kind", "time", ""].map(String::from).to_vec();
        lines.push(String::new());
        lines.push(render::table(&Table { title: None, columns, rows: found.steps.iter().map(row).collect() }));
    }
    lines.join("\n")
}

/// Steps of small models take less than what a duration shows.
fn time(seconds: f64) -> String {
    if seconds < 1.0 { format!("{:.1} ms", seconds * 1e3) } else { render::duration(seconds) }
}

fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Scored { scores, .. } => scores.iter().map(f64::to_string).collect::<Vec<_>>().join(", "),
        Outcome::Failed { code, reason } => format!("failed with {code}: {reason}"),
    }
}

/// With every digit of its numbers.
fn exact(genome: &Datum) -> String {
    serde_json::to_string(genome).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::place;

    #[test]
    fn a_candidate_is_two_numbers() {
        assert_eq!(place("7.12"), Ok((7, 12)));
        for text in ["7", "7.", ".1", "7.12.1", "a.b", "-1.0", ""] {
            assert!(place(text).is_err(), "{text}");
        }
    }
}
