//! Objectives as the language sees them.

use std::any::Any;
use std::sync::Arc;

use evo_lang::plan::{Answer, Call, Const, Problem};

use super::{ObjectiveSpec, PairTemplates, Pairs, check_labels, preference_accuracy};
use crate::args;
use crate::bind::{Module, Place};
use crate::cx::{Cx, Failure};
use crate::data::{Data, DataError, DataFacts, Template, problem};
use crate::loss::Loss;
use crate::model::{Model, ModelError, ModelHeader};
use crate::train::{TrainError, Turns};
use crate::value::Object;

/// Binds the objectives in the family `train`.
pub(in crate::train) fn bind(module: Module) -> Module {
    module
        .bind("next_token", next_token)
        .facts("next_token", |_, _, _| Answer::Fact(Arc::new(ObjectiveFacts::Rows { teacher: None })))
        .bind("chat", chat)
        .facts("chat", chat_facts)
        .bind("preference", preference)
        .facts("preference", pair_facts)
        .bind("distill", distill)
        .facts("distill", distill_facts)
        .bind("classify", classify)
        .facts("classify", classify_facts)
        .bind("preference_accuracy", run_preference_accuracy)
        .kept()
        .facts("preference_accuracy", accuracy_facts)
}

args! { struct NextTokenArgs { learn: Arc<str> } }
args! { struct ChatArgs { messages: Arc<str>, learn: Arc<str> } }
args! {
    struct PreferenceArgs {
        l: Loss, beta: f64, reference: Option<Model>, prompt: Arc<str>, chosen: Arc<str>, rejected: Arc<str>,
    }
}
args! { struct DistillArgs { teacher: Model, temperature: f64, weight: f64 } }
args! { struct ClassifyArgs { labels: Vec<Arc<str>> } }
args! {
    struct AccuracyArgs {
        m: Model, data: Data, reference: Option<Model>, prompt: Arc<str>, chosen: Arc<str>, rejected: Arc<str>,
    }
}

fn next_token(_: &Cx<'_>, args: NextTokenArgs) -> Result<ObjectiveSpec, Failure> {
    Ok(ObjectiveSpec::NextToken { prompts: &*args.learn == "all" })
}

fn chat(_: &Cx<'_>, args: ChatArgs) -> Result<ObjectiveSpec, Failure> {
    let messages = Some(args.messages.to_string()).filter(|column| !column.is_empty());
    Ok(ObjectiveSpec::Chat { messages, turns: if &*args.learn == "last" { Turns::Last } else { Turns::All } })
}

fn templates(prompt: &str, chosen: &str, rejected: &str) -> Result<PairTemplates, DataError> {
    let [prompt, chosen, rejected] = [prompt, chosen, rejected].map(Template::parse);
    Ok(PairTemplates { prompt: prompt?, chosen: chosen?, rejected: rejected? })
}

fn preference(_: &Cx<'_>, args: PreferenceArgs) -> Result<ObjectiveSpec, Failure> {
    let templates = templates(&args.prompt, &args.chosen, &args.rejected)?;
    Ok(ObjectiveSpec::Preference { loss: args.l, beta: args.beta, reference: args.reference, templates })
}

fn distill(_: &Cx<'_>, args: DistillArgs) -> Result<ObjectiveSpec, Failure> {
    Ok(ObjectiveSpec::Distill { teacher: args.teacher, temperature: args.temperature, weight: args.weight })
}

fn classify(_: &Cx<'_>, args: ClassifyArgs) -> Result<ObjectiveSpec, Failure> {
    let labels: Vec<&str> = args.labels.iter().map(|label| &**label).collect();
    check_labels(&labels)?;
    Ok(ObjectiveSpec::Classify { labels: labels.into_iter().map(str::to_owned).collect() })
}

fn run_preference_accuracy(cx: &Cx<'_>, args: AccuracyArgs) -> Result<f64, Failure> {
    let templates = templates(&args.prompt, &args.chosen, &args.rejected)?;
    let pairs = Pairs::new(&args.m, &args.data, &templates)?;
    cx.check_cancelled()?;
    Ok(preference_accuracy(&args.m, args.reference.as_ref(), &pairs, &cx.place())?)
}

/// What is known of an objective before there is one.
#[derive(Clone, Debug)]
pub(crate) enum ObjectiveFacts {
    /// Prompts and expected answers, perhaps with a teacher.
    Rows {
        /// The teacher.
        teacher: Option<Arc<ModelHeader>>,
    },
    /// Conversations, of this column if there is one.
    Chat(Option<Arc<str>>),
    /// Pairs by these templates, perhaps with a reference.
    Pairs {
        /// Of the prompt and of both answers, as far as they are known.
        templates: Vec<Template>,
        /// What the policy is held against.
        reference: Option<Arc<ModelHeader>>,
    },
}

fn text(call: &Call<'_>, param: &str) -> Option<Arc<str>> {
    call.arg(param)?.constant()?.as_text().cloned()
}

fn header(call: &Call<'_>, param: &str) -> Option<Arc<ModelHeader>> {
    call.arg(param)?.fact::<Arc<ModelHeader>>().cloned()
}

fn chat_facts(_: &Place, call: &Call<'_>, _: &mut Vec<Problem>) -> Answer {
    let column = text(call, "messages").filter(|column| !column.is_empty());
    Answer::Fact(Arc::new(ObjectiveFacts::Chat(column)))
}

/// Templates of a pair; those that do not parse are told.
fn pair_templates(call: &Call<'_>, problems: &mut Vec<Problem>) -> Vec<Template> {
    let known = ["prompt", "chosen", "rejected"].into_iter().filter_map(|param| Some((param, text(call, param)?)));
    let mut templates = Vec::new();
    for (param, text) in known {
        match Template::parse(&text) {
            Ok(template) => templates.push(template),
            Err(error) => problems.push(problem(&error, param)),
        }
    }
    templates
}

fn pair_facts(_: &Place, call: &Call<'_>, problems: &mut Vec<Problem>) -> Answer {
    if let Some(beta) = call.arg("beta").and_then(|beta| beta.constant()?.as_real()).filter(|beta| *beta <= 0.0) {
        problems.push(Problem {
            code: "E0336",
            title: format!("`beta` is {beta}, and must be above 0"),
            label: "no positive number".into(),
            param: Some("beta".into()),
            help: "give a positive number, such as 0.1".into(),
            ..Problem::default()
        });
    }
    let (templates, reference) = (pair_templates(call, problems), header(call, "reference"));
    Answer::Fact(Arc::new(ObjectiveFacts::Pairs { templates, reference }))
}

fn distill_facts(_: &Place, call: &Call<'_>, _: &mut Vec<Problem>) -> Answer {
    Answer::Fact(Arc::new(ObjectiveFacts::Rows { teacher: header(call, "teacher") }))
}

fn classify_facts(_: &Place, call: &Call<'_>, problems: &mut Vec<Problem>) -> Answer {
    let labels = call.arg("labels").and_then(|labels| Some(labels.constant()?.items()?.to_vec()));
    let labels: Option<Vec<Arc<str>>> = labels.map(|all| all.iter().filter_map(|l| l.as_text().cloned()).collect());
    if let Some(labels) = labels
        && let Err(error) = check_labels(&labels.iter().map(|label| &**label).collect::<Vec<_>>())
    {
        problems.push(found(error.into(), "labels", "cannot be told apart"));
    }
    Answer::Fact(Arc::new(ObjectiveFacts::Rows { teacher: None }))
}

fn accuracy_facts(_: &Place, call: &Call<'_>, problems: &mut Vec<Problem>) -> Answer {
    let templates = pair_templates(call, problems);
    if let Some(data) = call.arg("data").and_then(|data| data.fact::<DataFacts>()) {
        check_columns(&templates, data, "data", problems);
    }
    if let (Some(model), Some(reference)) = (header(call, "m"), header(call, "reference")) {
        check_vocabulary(&model, &reference, "reference", problems);
    }
    Answer::Unknown
}

/// A failure that is known before a run as a finding at an argument.
fn found(failure: Failure, param: &str, label: &str) -> Problem {
    Problem {
        code: failure.code,
        title: failure.title.into(),
        label: label.into(),
        param: Some(param.to_owned()),
        help: failure.help.into(),
        ..Problem::default()
    }
}

/// Whether data have the columns of templates.
fn check_columns(templates: &[Template], facts: &DataFacts, param: &str, problems: &mut Vec<Problem>) {
    let columns: Vec<&str> = facts.columns.iter().map(String::as_str).collect();
    let Ok(empty) = Data::new(&columns, Vec::new()) else { return };
    let wrong = templates.iter().find_map(|template| template.check(&empty).err());
    problems.extend(wrong.map(|error| problem(&error, param)));
}

fn check_vocabulary(model: &ModelHeader, other: &ModelHeader, param: &str, problems: &mut Vec<Problem>) {
    let sizes = (model.config.vocab_size, other.config.vocab_size);
    let prints = [model, other].map(|header| header.tokenizer.as_ref().map(|t| t.fingerprint));
    if sizes.0 == sizes.1 && prints[0] == prints[1] {
        return;
    }
    let [model, other] = [model, other].map(|header| header.path.display().to_string());
    let error = TrainError::Vocabulary { model, other, sizes };
    problems.push(found(error.into(), param, "other tokens"));
}

/// What is known to go wrong when a training learns this objective: the columns of its templates, conversations, a teacher's or
/// reference's vocabulary.
pub(in crate::train) fn check(call: &Call<'_>, problems: &mut Vec<Problem>) {
    let data = call.arg("on").and_then(|data| data.fact::<DataFacts>());
    let start = header(call, "start");
    let objective = call.arg("objective").and_then(|objective| objective.fact::<ObjectiveFacts>());
    match objective {
        Some(ObjectiveFacts::Chat(column)) => {
            if let Some(header) = start.filter(|header| !header.has_template) {
                let error = ModelError::NoTemplate { model: header.path.display().to_string() };
                let help = error.help();
                problems.push(Problem { help, ..found(error.into(), "objective", "no usable chat template") });
            }
            match (column, data) {
                (Some(column), Some(data)) => check_chats(column, data, problems),
                _ => check_rows(call, data, problems),
            }
        }
        Some(ObjectiveFacts::Pairs { templates, reference }) => {
            if let Some(data) = data {
                check_columns(templates, data, "objective", problems);
            }
            if let (Some(start), Some(reference)) = (start, reference) {
                check_vocabulary(&start, reference, "objective", problems);
            }
        }
        Some(ObjectiveFacts::Rows { teacher: Some(teacher) }) => {
            check_rows(call, data, problems);
            if let Some(start) = start {
                check_vocabulary(&start, teacher, "objective", problems);
            }
        }
        _ => check_rows(call, data, problems),
    }
}

/// The templates of the training itself.
fn check_rows(call: &Call<'_>, data: Option<&DataFacts>, problems: &mut Vec<Problem>) {
    for param in ["prompt", "expected"] {
        let Some(template) = text(call, param) else { continue };
        match (Template::parse(&template), data) {
            (Ok(template), Some(data)) => check_columns(&[template], data, param, problems),
            (Err(error), _) => problems.push(problem(&error, param)),
            _ => {}
        }
    }
}

/// Whether a column holds conversations.
fn check_chats(column: &str, data: &DataFacts, problems: &mut Vec<Problem>) {
    match Template::parse(&format!("{{{column}}}")) {
        Ok(_) if data.columns.iter().any(|known| known == column) => {
            if data.chats.as_ref().is_some_and(|chats| !chats.iter().any(|known| known == column)) {
                problems.push(Problem {
                    code: "E0434",
                    title: format!("the column `{column}` holds no conversations"),
                    label: "no list of messages".into(),
                    param: Some("objective".into()),
                    help:
                        "name a column of lists of `{\"role\": …, \"content\": …}`, or give `messages: \"\"` to make a \
                           conversation of `prompt` and `expected`"
                            .into(),
                    ..Problem::default()
                });
            }
        }
        Ok(template) => check_columns(&[template], data, "objective", problems),
        Err(error) => problems.push(problem(&error, "objective")),
    }
}

impl Object for ObjectiveSpec {
    fn kind(&self) -> &'static str {
        "Objective"
    }

    fn show(&self) -> Const {
        Const::Text(self.name().into())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

crate::bind::node!(ObjectiveSpec, "Objective");
