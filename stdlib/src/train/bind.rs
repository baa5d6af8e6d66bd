//! The family `train` as the language sees it.

use std::sync::Arc;

use evo_lang::plan::{Answer, Call, Problem};

use super::descent::{Descent, Way};
use super::report::{NodeCheckpoints, Reporter};
use super::update::{self, UpdateFacts};
use super::{Objective, ObjectiveSpec, TrainError, Training, Update};
use crate::args;
use crate::bind::{Module, Place};
use crate::cx::{Cx, Failure};
use crate::data::{Data, Template};
use crate::model::{Model, ModelHeader};

/// The family `train`.
pub fn module() -> Module {
    let module = Module::new("train", include_str!("train.evo"))
        .bind("full", update::full)
        .bind("lora", update::lora)
        .facts("lora", update::facts)
        .bind("dora", update::dora)
        .facts("dora", update::facts)
        .bind("singular", update::singular)
        .facts("singular", update::facts)
        .bind("train", run)
        .kept()
        .facts("train", facts);
    super::objective::bind::bind(super::descent::bind(module))
}

args! {
    struct TrainArgs {
        start: Model, on: Data, objective: ObjectiveSpec, prompt: Arc<str>, expected: Arc<str>, steps: Option<i64>,
        epochs: Option<i64>, rate: f64,
        by: Descent, batch: i64, accumulate: i64, warmup: i64, schedule: Arc<str>, horizon: Option<i64>, floor: f64, decay: f64,
        clip: f64, evaluate: Option<Data>, every: i64, patience: Option<i64>, keep: Option<Arc<str>>,
        update: Update, recompute: bool, seed: i64,
    }
}

impl TrainArgs {
    fn way(&self) -> Way {
        Way {
            steps: self.steps,
            epochs: self.epochs,
            rate: self.rate,
            by: self.by.0,
            batch: self.batch,
            accumulate: self.accumulate,
            warmup: self.warmup,
            schedule: self.schedule.clone(),
            horizon: self.horizon,
            floor: self.floor,
            decay: self.decay,
            clip: self.clip,
            every: self.every,
            patience: self.patience,
            keep: self.keep.clone(),
            update: self.update.clone(),
            recompute: self.recompute,
            seed: self.seed,
        }
    }
}

fn run(cx: &Cx<'_>, args: TrainArgs) -> Result<Model, Failure> {
    let (prompt, expected) = (Template::parse(&args.prompt)?, Template::parse(&args.expected)?);
    let place = cx.place();
    let objective = |data: &Data| args.objective.prepare(&args.start, data, (&prompt, &expected), &place);
    let learned = objective(&args.on)?;
    let held_out = args.evaluate.as_ref().map(objective).transpose()?;
    let settings = args.way().settings(learned.units(), held_out.is_some(), cx.tiny)?;
    let mut reporter = Reporter::new(cx, settings.steps);
    let mut checkpoints = NodeCheckpoints { cx };
    let training = Training {
        model: &args.start,
        objective: &*learned,
        evaluation: held_out.as_deref().map(|held_out| held_out as &dyn Objective),
        settings: &settings,
        place: &place,
        checkpoints: Some((&mut checkpoints, cx.key.0)),
    };
    let tuned = training.run(&mut |event| reporter.observe(&event))?;
    Ok(tuned.named(&cx.name))
}

fn facts(_: &Place, call: &Call<'_>, problems: &mut Vec<Problem>) -> Answer {
    super::descent::check(call, problems);
    super::objective::bind::check(call, problems);
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

impl From<TrainError> for Failure {
    fn from(error: TrainError) -> Failure {
        let text = error.to_string();
        match error {
            TrainError::Data(error) => error.into(),
            TrainError::Model(error) => error.into(),
            TrainError::Stopped { .. } => Failure::cancelled(),
            TrainError::Diverged { what, .. } => Failure::new("R0509", text).help(what.help()),
            TrainError::OtherCheckpoint { .. } => Failure::new("R0522", text)
                .help("leave `--resume` out to begin a new run; what both share is found in the store"),
            TrainError::Checkpoint(failure) => *failure,
            TrainError::Setting { .. } => Failure::new("E0336", text).help("change the argument"),
            TrainError::NoLayer { .. } => Failure::new("E0440", text).help("name parts and blocks that the model has"),
            TrainError::Tensor { .. } => {
                Failure::new("E0407", text).help("take the configuration and the weights from one model")
            }
            TrainError::NothingToLearn => {
                Failure::new("E0411", text).help("give rows whose expected answer is not empty")
            }
            TrainError::NoTarget { .. } => {
                Failure::new("R0521", text).help("drop the row, or give it an answer that is not empty")
            }
            TrainError::Conversation { .. } => Failure::new("R0521", text)
                .help("give each row a list of messages with `role` and `content`, of which one is the assistant's"),
            TrainError::EqualPairs => {
                Failure::new("R0521", text).help("give pairs of which one answer is better than the other")
            }
            TrainError::Labels { .. } => {
                Failure::new("E0433", text).help("give two labels or more, each with a text of its own")
            }
            TrainError::NoLabel { labels, .. } => {
                let known = labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
                Failure::new("R0516", text).help(format!("mend the row: the labels are {known}"))
            }
            TrainError::Vocabulary { .. } => {
                Failure::new("E0432", text).help("take a model that was trained with the same tokenizer")
            }
            TrainError::Reward { .. } => {
                Failure::new("E0435", text).help("take a task whose answers are written: `exact_match`")
            }
            TrainError::Loss(failure) => *failure,
            TrainError::Task(error) => (*error).into(),
            TrainError::TooLong { .. } => Failure::new("R0513", text).help("shorten the rows, or drop the long ones"),
            TrainError::UnknownToken { .. } => {
                Failure::new("E0408", text).help("take the tokenizer and the weights from one model")
            }
        }
    }
}
