//! Task files of the evaluation harness, as the language sees them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use evo_lang::plan::{Answer, Call, Fact, Key, Problem};

use super::TaskFacts;
use crate::args;
use crate::bind::Place;
use crate::cx::{Cx, Failure};
use crate::task::Task;
use crate::task::import::{Ask, Fault, Imported, import};
use crate::value::Object;

/// Rows that a check makes prompts of.
const HEAD: usize = 8;
/// Rows of a tiny run, and the tokens of its answers.
const TINY: (usize, usize) = (96, 8);

args! { pub(super) struct LmEvalArgs { file: Arc<str>, metric: Arc<str>, filter: Arc<str> } }

pub(super) fn lm_eval(cx: &Cx<'_>, args: LmEvalArgs) -> Result<Task, Failure> {
    let locate = |name: &str| cx.effects.input(name);
    let asked = ask((&args.metric, &args.filter), usize::MAX, cx.tiny, &locate);
    let path = locate(&args.file);
    let fault = |fault: Fault| {
        let problem = problem(&path, fault);
        Failure::new(problem.code, problem.title).param("file").help(problem.help)
    };
    Ok(import(&path, &asked).map_err(fault)?.task)
}

fn ask<'a>(
    (metric, filter): (&'a str, &'a str),
    rows: usize,
    tiny: bool,
    locate: &'a dyn Fn(&str) -> PathBuf,
) -> Ask<'a> {
    let (rows, max_tokens) = if tiny { (rows.min(TINY.0), TINY.1) } else { (rows, usize::MAX) };
    Ask { metric, filter, rows, max_tokens, locate }
}

pub(super) fn facts(place: &Place, call: &Call<'_>, problems: &mut Vec<Problem>) -> Answer {
    let text = |param| call.arg(param)?.constant()?.as_text().cloned();
    let (Some(file), Some(metric), Some(filter)) = (text("file"), text("metric"), text("filter")) else {
        return Answer::Unknown;
    };
    let locate = |name: &str| place.input(name);
    let rows = if place.whole { usize::MAX } else { HEAD };
    let path = locate(&file);
    let imported = match import(&path, &ask((&metric, &filter), rows, call.tiny, &locate)) {
        Ok(imported) => imported,
        Err(fault) => {
            problems.push(problem(&path, fault));
            return Answer::Unknown;
        }
    };
    let Some((_, Some(fact))) = imported.task.identity() else { return Answer::Unknown };
    if place.whole {
        return content(&imported).map_or(Answer::Unknown, |key| Answer::Content(fact, key));
    }
    // Of a few rows neither the number nor the longest is known.
    match fact.downcast_ref::<TaskFacts>() {
        Some(facts) => {
            let head: Fact = Arc::new(TaskFacts { rows: None, longest: None, ..facts.clone() });
            Answer::Fact(head)
        }
        None => Answer::Unknown,
    }
}

/// The identity of all that the task was made of.
fn content(imported: &Imported) -> Option<Key> {
    let keys = imported.files.iter().map(|file| crate::files::content_key(file).ok()).collect::<Option<Vec<_>>>()?;
    let parts: Vec<&[u8]> = keys.iter().map(|key| key.0.as_slice()).collect();
    Some(Key::of("lm_eval", &parts))
}

fn problem(path: &Path, fault: Fault) -> Problem {
    let file = fault.file.as_deref().unwrap_or(path).display();
    let help = if fault.help.is_empty() { "mend the line that is named".to_owned() } else { fault.help };
    Problem {
        code: "E0445",
        title: format!("`{file}`, line {}: {}", fault.line, fault.title),
        label: "no task that can be scored".into(),
        param: Some("file".into()),
        help,
        ..Problem::default()
    }
}
