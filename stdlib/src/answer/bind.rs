//! The family `answer` as the language sees it.

use std::any::Any;
use std::sync::Arc;

use evo_kernels::decode::Sampling;
use evo_lang::plan::{Answer, Call, Const, Fact, Key, Problem};

use super::{Answering, Form, FormError, answers};
use crate::args;
use crate::bind::{Module, Place};
use crate::cx::{Cx, Failure};
use crate::model::Model;
use crate::value::Object;

/// The family `answer`.
pub fn module() -> Module {
    Module::new("answer", include_str!("answer.evo"))
        .bind("sampling", sampling)
        .facts("sampling", sampling_facts)
        .bind("answers", run_answers)
        .kept()
}

args! {
    struct SamplingArgs {
        temperature: f64, top_k: i64, top_p: f64, min_p: f64, repetition_penalty: f64, stop: Vec<Arc<str>>,
        choices: Vec<Arc<str>>, pattern: Arc<str>, schema: Arc<str>, grammar: Arc<str>, seed: i64,
    }
}
args! { struct AnswersArgs { m: Model, prompts: Vec<Arc<str>>, max_tokens: i64, by: Answering } }

fn sampling(_: &Cx<'_>, args: SamplingArgs) -> Result<Answering, Failure> {
    let texts = |list: &[Arc<str>]| list.iter().map(|text| text.to_string()).collect::<Vec<_>>();
    let forms = forms(texts(&args.choices), &args.pattern, &args.schema, &args.grammar);
    let form = one_of(forms)?;
    if let Some(form) = &form {
        form.check()?;
    }
    Ok(Answering {
        sampling: Sampling {
            temperature: args.temperature as f32,
            top_k: usize::try_from(args.top_k).unwrap_or(0),
            top_p: args.top_p as f32,
            min_p: args.min_p as f32,
            repetition_penalty: args.repetition_penalty as f32,
        },
        seed: args.seed as u64,
        stop: texts(&args.stop).into_iter().filter(|stop| !stop.is_empty()).collect(),
        form,
    })
}

/// The forms that are given.
fn forms(choices: Vec<String>, pattern: &str, schema: &str, grammar: &str) -> Vec<Form> {
    let given = [
        (!choices.is_empty()).then_some(Form::Choices(choices)),
        (!pattern.is_empty()).then(|| Form::Pattern(pattern.into())),
        (!schema.is_empty()).then(|| Form::Schema(schema.into())),
        (!grammar.is_empty()).then(|| Form::Grammar(grammar.into())),
    ];
    given.into_iter().flatten().collect()
}

fn one_of(forms: Vec<Form>) -> Result<Option<Form>, Failure> {
    if let [first, second, ..] = forms.as_slice() {
        let title = format!("an answer has one form, not both a {} and a {}", first.name(), second.name());
        return Err(Failure::new("E0431", title).param(second.name()).help("keep one of them"));
    }
    Ok(forms.into_iter().next())
}

fn sampling_facts(_: &Place, call: &Call<'_>, problems: &mut Vec<Problem>) -> Answer {
    let text = |name| call.arg(name).and_then(|arg| arg.constant()?.as_text().cloned()).unwrap_or_default();
    let choices = call.arg("choices").and_then(|arg| Some(arg.constant()?.items()?.to_vec())).unwrap_or_default();
    let choices = choices.iter().filter_map(|choice| Some(choice.as_text()?.to_string())).collect();
    let forms = forms(choices, &text("pattern"), &text("schema"), &text("grammar"));
    let found = one_of(forms.clone()).and_then(|form| Ok(form.map_or(Ok(()), |form| form.check())?));
    if let Err(failure) = found {
        let param = failure.param.or(forms.first().map(Form::name));
        problems.push(Problem {
            code: failure.code,
            title: failure.title.into(),
            label: "cannot be held to".into(),
            param: param.map(str::to_owned),
            help: failure.help.into(),
            ..Problem::default()
        });
    }
    Answer::Unknown
}

fn run_answers(cx: &Cx<'_>, args: AnswersArgs) -> Result<Vec<Arc<str>>, Failure> {
    let tokenizer = args.m.require_tokenizer()?;
    let prompts = args.prompts.iter().map(|prompt| tokenizer.encode(prompt, true)).collect::<Result<Vec<_>, _>>()?;
    cx.check_cancelled()?;
    let max_tokens = usize::try_from(args.max_tokens).unwrap_or(1);
    fit(&prompts, max_tokens, args.m.config.max_positions)?;
    let answers = answers(&args.m, &prompts, max_tokens, &args.by, cx.place())?;
    Ok(answers.into_iter().map(|answer| answer.text.into()).collect())
}

/// Whether each prompt has a token, and with its answer no more than the model has positions.
fn fit(prompts: &[Vec<u32>], max_tokens: usize, limit: usize) -> Result<(), Failure> {
    for (i, tokens) in prompts.iter().map(Vec::len).enumerate() {
        if tokens == 0 {
            let title = format!("prompt {i} is empty");
            return Err(Failure::new("R0513", title).help("give a text of one character at least"));
        }
        if tokens.saturating_add(max_tokens) > limit {
            let title = format!("prompt {i} has {tokens} tokens, too many before an answer of {max_tokens}");
            let help = format!("shorten the prompt, or lower `max_tokens`: the model has {limit} positions");
            return Err(Failure::new("R0513", title).help(help));
        }
    }
    Ok(())
}

impl Object for Answering {
    fn kind(&self) -> &'static str {
        "Sampling"
    }

    fn identity(&self) -> Option<(Key, Option<Fact>)> {
        Some((Key::of("sampling", &[format!("{self:?}").as_bytes()]), None))
    }

    fn show(&self) -> Const {
        Const::Text(format!("{self:?}").into())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

crate::bind::node!(Answering, "Sampling");

impl From<FormError> for Failure {
    fn from(error: FormError) -> Failure {
        match error {
            FormError::Wrong { what, .. } => Failure::new("E0431", error.to_string()).param(what).help(match what {
                "pattern" => "see the syntax of Rust's `regex` crate; what looks around itself is not known",
                "schema" => "see llguidance's page on the parts of JSON Schema that it knows",
                "grammar" => "see llguidance's page on its variant of Lark",
                _ => "give texts that are not empty",
            }),
            FormError::Stuck { .. } => Failure::new("R0520", error.to_string())
                .help("give a form that the model's tokens can write, or a smaller one"),
            FormError::Model(error) => error.into(),
        }
    }
}
