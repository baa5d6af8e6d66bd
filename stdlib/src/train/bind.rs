//! The family `train` as the language sees it.

use std::ops::ControlFlow;
use std::sync::Arc;

use evo_lang::plan::{Answer, Call, Problem};

use super::update::{self, UpdateFacts};
use super::{Event, NextToken, Settings, TrainError, Update, examples, train};
use crate::args;
use crate::bind::{Module, Place};
use crate::cx::{Cx, Failure};
use crate::data::{Data, DataFacts, Template, problem};
use crate::model::{Model, ModelHeader};
use crate::value::Value;

/// The family `train`.
pub fn module() -> Module {
    Module::new("train", include_str!("train.evo"))
        .bind("full", update::full)
        .bind("lora", update::lora)
        .facts("lora", update::facts)
        .bind("dora", update::dora)
        .facts("dora", update::facts)
        .bind("singular", update::singular)
        .facts("singular", update::facts)
        .bind("train", run)
        .kept()
        .facts("train", facts)
}

args! {
    struct TrainArgs {
        start: Model, on: Data, prompt: Arc<str>, expected: Arc<str>, steps: i64, rate: f64, batch: i64, warmup: i64,
        schedule: Arc<str>, horizon: Option<i64>, floor: f64, betas: Value, weight_decay: f64, clip: f64, update: Update, recompute: bool,
        seed: i64,
    }
}

fn run(cx: &Cx<'_>, args: TrainArgs) -> Result<Model, Failure> {
    let size = |n: i64| usize::try_from(n).unwrap_or(0);
    let steps = size(args.steps);
    let betas: Vec<f64> = args.betas.items().unwrap_or_default().iter().filter_map(|b| b.plain()?.as_real()).collect();
    let settings = Settings {
        batch: size(args.batch),
        warmup: size(args.warmup).min(steps),
        planned: args.horizon.map(|n| size(n).max(steps)),
        floor: if &*args.schedule == "constant" { 1.0 } else { args.floor },
        betas: (betas.first().copied().unwrap_or(0.9), betas.get(1).copied().unwrap_or(0.999)),
        weight_decay: args.weight_decay,
        clip: (args.clip > 0.0).then_some(args.clip),
        seed: args.seed as u64,
        update: args.update,
        recompute: args.recompute,
        ..Settings::new(steps, args.rate)
    };
    let rows = examples(&args.start, &args.on, &Template::parse(&args.prompt)?, &Template::parse(&args.expected)?)?;
    let mut observe = |event: Event<'_>| {
        if let Event::Step { step, loss, .. } = event {
            cx.progress(step as u64, steps as u64, "steps", Some(("loss", loss)));
        }
        if cx.effects.cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let tuned = train(&args.start, &NextToken::new(rows)?, &settings, &cx.place(), &mut observe)?;
    Ok(tuned.named(&cx.name))
}

fn facts(_: &Place, call: &Call<'_>, problems: &mut Vec<Problem>) -> Answer {
    if let Some(data) = call.arg("on").and_then(|d| d.fact::<DataFacts>()) {
        for param in ["prompt", "expected"] {
            check_template(call, param, data, problems);
        }
    }
    match call.arg("start").and_then(|m| m.fact::<Arc<ModelHeader>>()) {
        Some(header) => {
            if header.tokenizer.is_none() {
                problems.push(Problem {
                    code: "E0408",
                    title: format!("`{}` has no tokenizer, so it cannot learn text", header.path.display()),
                    label: "needs a tokenizer".into(),
                    param: Some("start".into()),
                    help: "add the model's `tokenizer.json` to its directory".into(),
                    ..Problem::default()
                });
            }
            let update = call.arg("update").and_then(|u| u.fact::<UpdateFacts>());
            if let Some(Err(error)) =
                update.map(|UpdateFacts(on)| on.check(&header.path.display().to_string(), &header.config))
            {
                problems.push(Problem {
                    code: "E0440",
                    title: error.to_string(),
                    label: "names what is not there".into(),
                    param: Some("update".into()),
                    help: "name parts and blocks that the model has".into(),
                    ..Problem::default()
                });
            }
            Answer::Fact(Arc::new(header.clone()))
        }
        None => Answer::Unknown,
    }
}

fn check_template(call: &Call<'_>, param: &str, data: &DataFacts, problems: &mut Vec<Problem>) {
    let Some(text) = call.arg(param).and_then(|a| a.constant()?.as_text().cloned()) else {
        return;
    };
    let columns: Vec<&str> = data.columns.iter().map(String::as_str).collect();
    let Ok(empty) = Data::new(&columns, Vec::new()) else {
        return;
    };
    if let Err(error) = Template::parse(&text).and_then(|template| template.check(&empty)) {
        problems.push(problem(&error, param));
    }
}

impl From<TrainError> for Failure {
    fn from(error: TrainError) -> Failure {
        let text = error.to_string();
        match error {
            TrainError::Data(error) => error.into(),
            TrainError::Model(error) => error.into(),
            TrainError::Stopped { .. } => Failure::cancelled(),
            TrainError::Diverged { .. } => Failure::new("R0509", text).help("lower `rate`, or lengthen `warmup`"),
            TrainError::Setting { .. } => Failure::new("E0336", text).help("change the argument"),
            TrainError::NoLayer { .. } => Failure::new("E0440", text).help("name parts and blocks that the model has"),
            TrainError::Tensor { .. } => {
                Failure::new("E0407", text).help("take the configuration and the weights from one model")
            }
            TrainError::NothingToLearn => {
                Failure::new("E0411", text).help("give rows whose expected answer is not empty")
            }
            TrainError::TooLong { .. } => Failure::new("R0513", text).help("shorten the rows, or drop the long ones"),
            TrainError::UnknownToken { .. } => {
                Failure::new("E0408", text).help("take the tokenizer and the weights from one model")
            }
        }
    }
}
