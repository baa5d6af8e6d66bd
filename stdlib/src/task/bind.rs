//! The family `task` as the language sees it.

mod extract;
mod import;
mod passes;

use std::any::Any;
use std::sync::Arc;

use evo_kernels::decode::DecodeError;
use evo_kernels::stats;
use evo_lang::plan::{Answer, Call, Const, Fact, Key, Problem};

use extract::Demand;

use super::{AnswerForm, Choices, Compare, Extract, Method, Task, TaskError, score};
use crate::answer::Answering;
use crate::args;
use crate::bind::{Module, Place};
use crate::cx::{Cx, Failure};
use crate::data::{Data, DataFacts, Template, problem};
use crate::model::{Model, ModelError, ModelHeader};
use crate::value::{Object, Value};

/// The family `task`.
pub fn module() -> Module {
    Module::new("task", include_str!("task.evo"))
        .bind("exact_match", exact_match)
        .facts("exact_match", task_facts)
        .bind("regex", extract::regex)
        .facts("regex", extract::regex_facts)
        .bind("language", extract::language)
        .facts("language", extract::language_facts)
        .bind("lm_eval", import::lm_eval)
        .facts("lm_eval", import::facts)
        .bind("likelihood", likelihood)
        .facts("likelihood", task_facts)
        .bind("multiple_choice", multiple_choice)
        .facts("multiple_choice", choice_facts)
        .bind("pass_rhai", passes::rhai)
        .facts("pass_rhai", passes::facts)
        .bind("pass_sql", passes::sql)
        .facts("pass_sql", passes::facts)
        .bind("pass_shell", passes::shell)
        .facts("pass_shell", passes::facts)
        .bind("pass_command", passes::command)
        .facts("pass_command", passes::facts)
        .bind("on", on)
        .facts("on", on_facts)
        .bind("score", run_score)
        .kept()
        .facts("score", score_facts)
        .bind("scores", run_scores)
        .kept()
        .facts("scores", score_facts)
        .bind("confidence", confidence)
}

args! {
    struct ExactMatchArgs {
        data: Data, prompt: Arc<str>, expected: Arc<str>, max_tokens: i64, extract: Extract, also: Option<Demand>,
        by: Answering,
    }
}
args! { struct LikelihoodArgs { data: Data, prompt: Arc<str>, expected: Arc<str> } }
args! {
    struct MultipleChoiceArgs {
        data: Data, prompt: Arc<str>, choices: Vec<Arc<str>>, answer: Arc<str>, answer_as: Arc<str>, compare: Arc<str>,
    }
}
args! { struct OnArgs { t: Task, data: Data } }
args! { struct ScoreArgs { m: Model, t: Task } }
args! { struct ConfidenceArgs { scores: Vec<f64>, level: f64 } }

fn exact_match(_: &Cx<'_>, args: ExactMatchArgs) -> Result<Task, Failure> {
    let max_tokens = usize::try_from(args.max_tokens).unwrap_or(1);
    let language = args.also.map(|demand| demand.0);
    let method = Method::ExactMatch { max_tokens, extract: args.extract, language, by: args.by };
    task(args.data, &args.prompt, &args.expected, method)
}

fn likelihood(_: &Cx<'_>, args: LikelihoodArgs) -> Result<Task, Failure> {
    task(args.data, &args.prompt, &args.expected, Method::Likelihood { end: true })
}

fn multiple_choice(_: &Cx<'_>, args: MultipleChoiceArgs) -> Result<Task, Failure> {
    let templates = args.choices.iter().map(|text| Template::parse(text)).collect::<Result<_, _>>()?;
    let compare = match &*args.compare {
        "per_character" => Compare::PerCharacter,
        "per_byte" => Compare::PerByte,
        _ => Compare::Total,
    };
    let answer = match &*args.answer_as {
        "index" => AnswerForm::Index,
        "letter" => AnswerForm::Letter,
        "text" => AnswerForm::Text,
        _ => AnswerForm::Any,
    };
    let choices = Choices { templates, compare, answer };
    task(args.data, &args.prompt, &args.answer, Method::MultipleChoice(choices))
}

fn task(data: Data, prompt: &str, expected: &str, method: Method) -> Result<Task, Failure> {
    let task = Task { data, prompt: Template::parse(prompt)?, expected: Template::parse(expected)?, method };
    task.check()?;
    Ok(task)
}

fn on(_: &Cx<'_>, args: OnArgs) -> Result<Task, Failure> {
    Ok(args.t.on(args.data)?)
}

fn run_score(cx: &Cx<'_>, args: ScoreArgs) -> Result<f64, Failure> {
    let prepared = cx.memory.prepared(&args.t, &args.m)?;
    cx.check_cancelled()?;
    Ok(score(&args.m, &prepared, cx.place())?.value)
}

fn run_scores(cx: &Cx<'_>, args: ScoreArgs) -> Result<Value, Failure> {
    let prepared = cx.memory.prepared(&args.t, &args.m)?;
    cx.check_cancelled()?;
    Ok(reals(score(&args.m, &prepared, cx.place())?.records.iter().map(|record| record.score)))
}

fn confidence(_: &Cx<'_>, args: ConfidenceArgs) -> Result<Value, Failure> {
    if args.scores.is_empty() {
        let help = "give the scores of one row at least";
        return Err(Failure::new("R0501", "no scores have no mean").param("scores").help(help));
    }
    let (low, high) = stats::confidence(&args.scores, args.level);
    Ok(reals([low, high].into_iter()))
}

fn reals(values: impl Iterator<Item = f64>) -> Value {
    Value::Plain(Const::List(values.map(Const::Real).collect()))
}

/// What is known of a task before it is made.
#[derive(Clone, Debug)]
pub struct TaskFacts {
    /// The data's columns that the templates name.
    templates: Vec<Template>,
    /// The identity of the data, for telling what selects from what reports.
    pub data: Key,
    /// How many rows the data have, where known.
    pub rows: Option<usize>,
    /// A bound on the bytes of a row's prompt and what comes after it, where known.
    pub longest: Option<usize>,
    /// The tokens of the longest answer, of a task whose answers are written.
    pub answers: Option<usize>,
}

impl TaskFacts {
    /// The first template is the prompt's; one of the others follows it.
    fn new(templates: Vec<Template>, data: Key, facts: Option<&DataFacts>, answers: Option<usize>) -> Self {
        let bytes = |template: &Template| template.longest(facts?);
        let after = templates.iter().skip(1).map(bytes).max().flatten().unwrap_or(0);
        let longest = templates.first().and_then(bytes).map(|prompt| prompt + after);
        Self { templates, data, rows: facts.and_then(|facts| facts.rows), longest, answers }
    }
}

fn task_facts(_: &Place, call: &Call<'_>, problems: &mut Vec<Problem>) -> Answer {
    let text = |param| Some((param, call.arg(param)?.constant()?.as_text().cloned()?));
    facts_of(call, ["prompt", "expected"].into_iter().filter_map(text).collect(), problems)
}

fn choice_facts(_: &Place, call: &Call<'_>, problems: &mut Vec<Problem>) -> Answer {
    let text = |param| Some((param, call.arg(param)?.constant()?.as_text().cloned()?));
    let mut texts: Vec<_> = ["prompt", "answer"].into_iter().filter_map(text).collect();
    if let Some(choices) = call.arg("choices").and_then(|choices| Some(choices.constant()?.items()?.to_vec())) {
        if choices.is_empty() {
            problems.push(Problem {
                code: "E0415",
                title: "a question without choices".into(),
                label: "no template".into(),
                param: Some("choices".into()),
                help: "give one template a choice, or one that names a column of lists".into(),
                ..Problem::default()
            });
        }
        texts.extend(choices.iter().filter_map(|choice| Some(("choices", choice.as_text()?.clone()))));
    }
    facts_of(call, texts, problems)
}

/// What is known of a task with these templates, each with the parameter that it is given as.
fn facts_of(call: &Call<'_>, texts: Vec<(&str, Arc<str>)>, problems: &mut Vec<Problem>) -> Answer {
    let Some(look) = call.arg("data") else {
        return Answer::Unknown;
    };
    let mut templates = Vec::new();
    for (param, text) in texts {
        match Template::parse(&text) {
            Ok(template) => {
                if let Some(facts) = look.fact::<DataFacts>() {
                    check_columns(&template, facts, param, problems);
                }
                templates.push(template);
            }
            Err(error) => problems.push(problem(&error, param)),
        }
    }
    let answers = call.arg("max_tokens").and_then(|n| usize::try_from(n.constant()?.as_int()?).ok());
    Answer::Fact(Arc::new(TaskFacts::new(templates, look.key(), look.fact(), answers)))
}

fn check_columns(template: &Template, facts: &DataFacts, param: &str, problems: &mut Vec<Problem>) {
    let columns: Vec<&str> = facts.columns.iter().map(String::as_str).collect();
    let Ok(empty) = Data::new(&columns, Vec::new()) else {
        return;
    };
    if let Err(error) = template.check(&empty) {
        problems.push(problem(&error, param));
    }
}

fn on_facts(_: &Place, call: &Call<'_>, problems: &mut Vec<Problem>) -> Answer {
    let (Some(task), Some(data)) = (call.arg("t"), call.arg("data")) else {
        return Answer::Unknown;
    };
    let Some(facts) = task.fact::<TaskFacts>() else {
        return Answer::Unknown;
    };
    if let Some(columns) = data.fact::<DataFacts>() {
        for template in &facts.templates {
            check_columns(template, columns, "data", problems);
        }
    }
    Answer::Fact(Arc::new(TaskFacts::new(facts.templates.clone(), data.key(), data.fact(), facts.answers)))
}

fn score_facts(_: &Place, call: &Call<'_>, problems: &mut Vec<Problem>) -> Answer {
    if let Some(header) = call.arg("m").and_then(|m| m.fact::<Arc<ModelHeader>>())
        && header.tokenizer.is_none()
    {
        problems.push(Problem {
            code: "E0408",
            title: format!("`{}` has no tokenizer, so it cannot be asked in text", header.path.display()),
            label: "needs a tokenizer".into(),
            param: Some("m".into()),
            help: "add the model's `tokenizer.json` to its directory".into(),
            ..Problem::default()
        });
    }
    Answer::Unknown
}

impl Object for Task {
    fn kind(&self) -> &'static str {
        "Task"
    }

    fn identity(&self) -> Option<(Key, Option<Fact>)> {
        let text = format!("{:?} {:?} {:?}", self.method, self.prompt, self.expected);
        let data = Key(*self.data.hash().as_bytes());
        let mut templates = vec![self.prompt.clone(), self.expected.clone()];
        match &self.method {
            Method::MultipleChoice(choices) => templates.extend(choices.templates.iter().cloned()),
            Method::Passes(passes) => templates.extend(passes.templates().cloned()),
            Method::ExactMatch { .. } | Method::Filtered(_) | Method::Likelihood { .. } => {}
        }
        let answers = self.method.max_tokens();
        let fact: Fact = Arc::new(TaskFacts::new(templates, data, Some(&DataFacts::of(&self.data)), answers));
        Some((Key::of("task", &[&data.0, text.as_bytes()]), Some(fact)))
    }

    fn show(&self) -> Const {
        Const::Text(format!("{:?} on {} rows", self.method, self.data.len()).into())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

crate::bind::node!(Task, "Task");

impl From<TaskError> for Failure {
    fn from(error: TaskError) -> Failure {
        match error {
            TaskError::Data(error) => error.into(),
            TaskError::Model(error) => error.into(),
            TaskError::Form(error) => error.into(),
            TaskError::Decode(error @ (DecodeError::Stopped | DecodeError::Device { .. })) => {
                ModelError::from(error).into()
            }
            TaskError::Decode(ref decode) => Failure::new("R0513", error.to_string()).help(match decode {
                DecodeError::EmptyPrompt => "give a prompt of one character at least, or drop the row",
                DecodeError::TooLong { .. } => "shorten the prompts, or lower `max_tokens`",
                DecodeError::TokenRange { .. } => "give the model the tokenizer that it was trained with",
                DecodeError::Weights { .. } | DecodeError::Device { .. } | DecodeError::Stopped => {
                    "save the model again with the program that made it"
                }
            }),
            TaskError::Empty => Failure::new("E0411", error.to_string()).help("give the task some data"),
            TaskError::NoTokens { .. } => {
                Failure::new("R0513", error.to_string()).help("change the template, or drop the row")
            }
            TaskError::TooLong { .. } => Failure::new("R0513", error.to_string())
                .help("drop the long rows, shorten the template, or lower `max_tokens`"),
            TaskError::FewChoices { .. } => {
                Failure::new("R0516", error.to_string()).help("drop the row, or mend its choices")
            }
            TaskError::NoChoice { several, .. } => Failure::new("R0516", error.to_string()).help(match several {
                true => "say by `answer_as` what an answer is: index, letter or text",
                false => "an answer is a choice's text, its letter from A, or its place from 0",
            }),
            TaskError::Unfit { .. } => Failure::new("R0523", error.to_string())
                .help("mend what the row's programs are held to: no program could pass"),
            TaskError::Untried { .. } => Failure::new("R0524", error.to_string())
                .help("run it where programs can be confined, or score something else"),
            TaskError::NotFinite { .. } => Failure::new("R0502", error.to_string())
                .help("the weights are broken: keep merge weights in smaller ranges"),
        }
    }
}
