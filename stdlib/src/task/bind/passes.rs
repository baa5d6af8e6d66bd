//! Tasks whose answers are programs, as the language sees them.

use std::sync::Arc;

use evo_lang::plan::{Answer, Call, Problem};

use super::{check_columns, facts_of};
use crate::answer::Answering;
use crate::args;
use crate::bind::Place;
use crate::cx::{Cx, Failure};
use crate::data::{Data, DataFacts, Template, problem};
use crate::task::{COMPLETION, Language, Method, Order, Passes, Task, TrialLimits};

args! {
    pub(super) struct RhaiArgs {
        data: Data, prompt: Arc<str>, check: Arc<str>, program: Arc<str>, part: Arc<str>, samples: i64, k: i64,
        max_tokens: i64, by: Answering, steps: i64, time: f64, memory: f64,
    }
}
args! {
    pub(super) struct SqlArgs {
        data: Data, prompt: Arc<str>, setup: Arc<str>, expected: Arc<str>, order: Arc<str>, program: Arc<str>,
        part: Arc<str>, samples: i64, k: i64, max_tokens: i64, by: Answering, steps: i64, time: f64, memory: f64,
    }
}
args! {
    pub(super) struct ShellArgs {
        data: Data, prompt: Arc<str>, setup: Arc<str>, expected: Arc<str>, check: Arc<str>, program: Arc<str>,
        part: Arc<str>, samples: i64, k: i64, max_tokens: i64, by: Answering, steps: i64, time: f64, memory: f64,
    }
}
args! {
    pub(super) struct CommandArgs {
        data: Data, command: Vec<Arc<str>>, prompt: Arc<str>, expected: Arc<str>, processes: bool, program: Arc<str>,
        part: Arc<str>, samples: i64, k: i64, max_tokens: i64, by: Answering, time: f64, memory: f64,
    }
}

/// What all of them are given.
struct Asked {
    data: Data,
    prompt: Arc<str>,
    program: Arc<str>,
    part: Arc<str>,
    samples: i64,
    k: i64,
    max_tokens: i64,
    by: Answering,
    steps: i64,
    time: f64,
    memory: f64,
}

pub(super) fn rhai(_: &Cx<'_>, args: RhaiArgs) -> Result<Task, Failure> {
    let RhaiArgs { data, prompt, check, program, part, samples, k, max_tokens, by, steps, time, memory } = args;
    let language = Language::Rhai { check: Template::parse(&check)? };
    task(language, Asked { data, prompt, program, part, samples, k, max_tokens, by, steps, time, memory })
}

pub(super) fn sql(_: &Cx<'_>, args: SqlArgs) -> Result<Task, Failure> {
    let SqlArgs { data, prompt, setup, expected, order, program, part, samples, k, max_tokens, by, .. } = args;
    let order = match &*order {
        "kept" => Order::Kept,
        "any" => Order::Any,
        _ => Order::Auto,
    };
    let language = Language::Sql { setup: Template::parse(&setup)?, expected: Template::parse(&expected)?, order };
    let (steps, time, memory) = (args.steps, args.time, args.memory);
    task(language, Asked { data, prompt, program, part, samples, k, max_tokens, by, steps, time, memory })
}

pub(super) fn shell(_: &Cx<'_>, args: ShellArgs) -> Result<Task, Failure> {
    let ShellArgs { data, prompt, setup, expected, check, program, part, samples, k, max_tokens, by, .. } = args;
    let (setup, expected, check) = (Template::parse(&setup)?, given(&expected)?, given(&check)?);
    let (steps, time, memory) = (args.steps, args.time, args.memory);
    let language = Language::Shell { setup, expected, check };
    task(language, Asked { data, prompt, program, part, samples, k, max_tokens, by, steps, time, memory })
}

/// A template, unless it is empty.
fn given(text: &str) -> Result<Option<Template>, Failure> {
    if text.is_empty() { Ok(None) } else { Ok(Some(Template::parse(text)?)) }
}

pub(super) fn command(_: &Cx<'_>, args: CommandArgs) -> Result<Task, Failure> {
    let CommandArgs { data, command, prompt, expected, processes, program, part, samples, k, max_tokens, by, .. } =
        args;
    let expected = given(&expected)?;
    let argv: Vec<String> = command.iter().map(|word| word.to_string()).collect();
    if argv.is_empty() {
        let help = "name an interpreter and its arguments: `[\"python3\", \"-I\"]`";
        return Err(Failure::new("E0443", "no command is named").param("command").help(help));
    }
    let (steps, time, memory) = (0, args.time, args.memory);
    let language = Language::Command { argv, expected, processes };
    task(language, Asked { data, prompt, program, part, samples, k, max_tokens, by, steps, time, memory })
}

fn task(language: Language, asked: Asked) -> Result<Task, Failure> {
    let (samples, k) = (asked.samples, asked.k);
    if let Some(problem) = draws(samples, k, f64::from(asked.by.sampling.temperature)) {
        return Err(Failure::new(problem.code, problem.title).param("samples").help(problem.help));
    }
    let count = |n: i64| usize::try_from(n).unwrap_or(1).max(1);
    let limits = TrialLimits {
        seconds: asked.time,
        memory: asked.memory as u64,
        steps: u64::try_from(asked.steps).unwrap_or(0),
        ..TrialLimits::default()
    };
    let method = Method::Passes(Box::new(Passes {
        language,
        program: Template::parse(&asked.program)?,
        fenced: &*asked.part == "fenced",
        samples: count(samples),
        k: count(k),
        max_tokens: count(asked.max_tokens),
        by: asked.by,
        limits,
    }));
    super::task(asked.data, &asked.prompt, "", method)
}

/// What is wrong with how often a problem is answered, if anything is.
fn draws(samples: i64, k: i64, temperature: f64) -> Option<Problem> {
    let problem = |title: String, help: &str| Problem {
        code: "E0443",
        title,
        label: "needs other answers".into(),
        param: Some("samples".into()),
        help: help.into(),
        ..Problem::default()
    };
    if k > samples {
        return Some(problem(format!("pass@{k} of {samples} answers"), "give at least as many `samples` as `k`"));
    }
    (samples > 1 && temperature == 0.0).then(|| {
        let help = "let answers be drawn: `by: sampling { temperature: 0.8 }`";
        problem(format!("{samples} answers to a problem, all of them the most likely one"), help)
    })
}

pub(super) fn facts(_: &Place, call: &Call<'_>, problems: &mut Vec<Problem>) -> Answer {
    let text = |param| Some((param, call.arg(param)?.constant()?.as_text().cloned()?));
    let texts = ["prompt", "check", "setup", "expected"].into_iter().filter_map(text).collect();
    let number = |param| call.arg(param).and_then(|arg| arg.constant()?.as_int());
    if let (Some(samples), Some(k)) = (number("samples"), number("k")) {
        // What the answers are drawn by is known when the task is made.
        problems.extend(draws(samples, k, 1.0));
    }
    if let Some((param, text)) = text("program") {
        match Template::parse(&text) {
            Ok(template) => {
                if let Some(facts) = call.arg("data").and_then(|data| data.fact::<DataFacts>()) {
                    let mut facts = facts.clone();
                    facts.columns.push(COMPLETION.to_owned());
                    check_columns(&template, &facts, param, problems);
                }
                if !template.columns().any(|name| name == COMPLETION) {
                    problems.push(Problem {
                        code: "E0443",
                        title: format!("a program without the answer: `{{{COMPLETION}}}` stands for it"),
                        label: "no answer in it".into(),
                        param: Some(param.into()),
                        help: format!("write `{{{COMPLETION}}}` where the model's answer belongs"),
                        ..Problem::default()
                    });
                }
            }
            Err(error) => problems.push(problem(&error, param)),
        }
    }
    facts_of(call, texts, problems)
}
