//! What a task file says, field by field.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use evo_kernels::decode::Sampling;
use serde_json::Value as Json;

use super::docs::Form;
use super::fields::{Field, Fields};
use super::filter::{Exact, Filter, Filtered, PyRegex};
use super::text::Doc;
use super::yaml::Kind;
use super::{Ask, Fault};
use crate::answer::Answering;
use crate::task::Compare;

/// Fields that change no result: names, notes, and what the harness itself does not use to score.
const HARMLESS: [&str; 9] = [
    "task",
    "task_alias",
    "tag",
    "group",
    "group_alias",
    "metadata",
    "version",
    "should_decontaminate",
    "doc_to_decontamination_query",
];

/// A whole task file.
pub(super) struct Config {
    pub(super) form: Form,
    /// The data files of each split.
    pub(super) files: BTreeMap<String, Vec<PathBuf>>,
    pub(super) data: Field,
    /// The split that is asked.
    pub(super) split: String,
    pub(super) layout: Layout,
    pub(super) description: Option<Field>,
    pub(super) shots: Shots,
    pub(super) output: Output,
}

/// How a document becomes text.
#[derive(Clone)]
pub(super) struct Layout {
    pub(super) text: Field,
    pub(super) target: Field,
    pub(super) choice: Option<Field>,
    pub(super) target_delimiter: String,
    pub(super) fewshot_delimiter: String,
}

/// The examples before each question.
pub(super) struct Shots {
    pub(super) count: usize,
    pub(super) is_first: bool,
    pub(super) from: From,
    /// Whether a question must not be its own example.
    pub(super) not_itself: bool,
    pub(super) layout: Layout,
    pub(super) at: Option<Field>,
}

/// Where examples come from.
pub(super) enum From {
    Split(String),
    Samples(Vec<Doc>),
}

/// What is asked of the model, and how it is scored.
pub(super) enum Output {
    Choice(Compare),
    Text(Box<Filtered>),
}

impl Config {
    pub(super) fn new(mut fields: Fields, ask: &Ask<'_>) -> Result<Self, Fault> {
        HARMLESS.iter().for_each(|name| drop(fields.take(name)));
        let (form, files, data) = dataset(&mut fields, ask)?;
        let mut splits = |name: &str| fields.take(name).map(|field| field.text()).transpose();
        let (training, validation) = (splits("training_split")?, splits("validation_split")?);
        let (test, fewshot) = (splits("test_split")?, splits("fewshot_split")?);
        let Some(split) = test.clone().or_else(|| validation.clone()) else {
            return Err(data.fault("neither `test_split` nor `validation_split` says which rows are asked"));
        };
        let must = |field: Option<Field>, name: &str| {
            field.ok_or_else(|| data.fault(format!("the field `{name}` is missing")))
        };
        let layout = Layout {
            text: must(fields.take("doc_to_text"), "doc_to_text")?,
            target: must(fields.take("doc_to_target"), "doc_to_target")?,
            choice: fields.take("doc_to_choice"),
            target_delimiter: delimiter(&mut fields, "target_delimiter")?.unwrap_or_else(|| " ".into()),
            fewshot_delimiter: delimiter(&mut fields, "fewshot_delimiter")?.unwrap_or_else(|| "\n\n".into()),
        };
        let fallback = training.or(validation).or_else(|| test.clone()).unwrap_or_default();
        let shots = Shots::new(&mut fields, &layout, (fewshot, test, fallback))?;
        let description = fields.take("description");
        for (name, one) in [("repeats", Kind::Int(1)), ("unsafe_code", Kind::Bool(false))] {
            if let Some(field) = fields.take(name).filter(|field| field.node.kind != one) {
                return Err(field.unfit(if name == "repeats" { "1: a question is asked once" } else { "`false`" }));
            }
        }
        let output = Output::new(&mut fields, &layout, ask)?;
        fields.end()?;
        Ok(Self { form, files, data, split, layout, description, shots, output })
    }
}

fn delimiter(fields: &mut Fields, name: &str) -> Result<Option<String>, Fault> {
    fields.take(name).map(|field| field.text()).transpose()
}

type Dataset = (Form, BTreeMap<String, Vec<PathBuf>>, Field);

fn dataset(fields: &mut Fields, ask: &Ask<'_>) -> Result<Dataset, Fault> {
    let Some(path) = fields.take("dataset_path") else {
        return Err(Fault::new(1, "the field `dataset_path` is missing"));
    };
    let form = match path.node.text() {
        Some("json") => Form::Json,
        Some("csv") => Form::Csv,
        Some("parquet") => Form::Parquet,
        _ => {
            let help =
                "save the rows as a local file, and write `dataset_path: json` with `dataset_kwargs: {data_files: …}`";
            return Err(path.unfit("`json`, `csv` or `parquet`: nothing is downloaded").help(help));
        }
    };
    let Some(kwargs) = fields.take("dataset_kwargs") else {
        return Err(path.fault("`dataset_kwargs` with `data_files` is missing"));
    };
    let mut inner = kwargs.fields()?;
    let _ = inner.take("trust_remote_code");
    let Some(data) = inner.take("data_files") else {
        return Err(kwargs.fault("`dataset_kwargs.data_files` is missing"));
    };
    inner.end()?;
    let found = |field: &Field| field.texts().map(|names| names.iter().map(|name| located(field, name, ask)).collect());
    let files = match data.node.kind {
        Kind::Map(_) => {
            let name = |field: &Field| field.name.rsplit('.').next().unwrap_or_default().to_owned();
            data.fields()?.rest().iter().map(|field| Ok((name(field), found(field)?))).collect::<Result<_, Fault>>()?
        }
        _ => BTreeMap::from([("train".to_owned(), found(&data)?)]),
    };
    Ok((form, files, data))
}

/// Beside the task file, else where the program's files are.
fn located(field: &Field, name: &str, ask: &Ask<'_>) -> PathBuf {
    let beside = field.file.parent().unwrap_or(Path::new(".")).join(name);
    if beside.exists() { beside } else { (ask.locate)(name) }
}

impl Shots {
    /// The splits are the file's `fewshot_split`, its `test_split`, and where examples come from without the first.
    fn new(
        fields: &mut Fields,
        layout: &Layout,
        (split, test, fallback): (Option<String>, Option<String>, String),
    ) -> Result<Self, Fault> {
        let at = fields.take("num_fewshot");
        let count = at.as_ref().map(Field::count).transpose()?.unwrap_or(0);
        let (mut split, mut layout, mut is_first, mut samples) = (split, layout.clone(), false, None);
        if let Some(config) = fields.take("fewshot_config") {
            let mut inner = config.fields()?;
            if let Some(sampler) = inner.take("sampler") {
                is_first = match sampler.node.text() {
                    Some("first_n") => true,
                    Some("default") => false,
                    _ => return Err(sampler.unfit("`default` or `first_n`")),
                };
            }
            if let Some(own) = inner.take("split") {
                split = Some(own.text()?);
            }
            if let Some(field) = inner.take("samples") {
                samples = Some(docs(&field)?);
            }
            layout.text = inner.take("doc_to_text").unwrap_or(layout.text);
            layout.target = inner.take("doc_to_target").unwrap_or(layout.target);
            layout.choice = inner.take("doc_to_choice").or(layout.choice);
            layout.target_delimiter = delimiter(&mut inner, "target_delimiter")?.unwrap_or(layout.target_delimiter);
            layout.fewshot_delimiter = delimiter(&mut inner, "fewshot_delimiter")?.unwrap_or(layout.fewshot_delimiter);
            inner.end()?;
        }
        let from = match (split, samples) {
            (Some(split), _) => From::Split(split),
            (None, Some(samples)) => From::Samples(samples),
            (None, None) => From::Split(fallback),
        };
        let not_itself = matches!(&from, From::Split(split) if Some(split) == test.as_ref());
        Ok(Self { count, is_first, from, not_itself, layout, at })
    }
}

fn docs(field: &Field) -> Result<Vec<Doc>, Fault> {
    let doc = |item: Field| match item.node.json() {
        Some(Json::Object(doc)) => Ok(doc),
        _ => Err(item.unfit("a list of rows")),
    };
    field.items()?.into_iter().map(doc).collect()
}

impl Output {
    fn new(fields: &mut Fields, layout: &Layout, ask: &Ask<'_>) -> Result<Self, Fault> {
        let output = fields.take("output_type");
        let metric = chosen_metric(fields, ask)?;
        let filters = fields.take("filter_list");
        let generation = fields.take("generation_kwargs");
        match output.as_ref().map_or(Some("generate_until"), |field| field.node.text()) {
            Some("generate_until") => {
                let filtered = generated(generation, filters, metric, (&layout.fewshot_delimiter, ask))?;
                Ok(Self::Text(Box::new(filtered)))
            }
            Some("multiple_choice") => {
                if layout.choice.is_none() {
                    return Err(layout.text.fault("multiple choice without `doc_to_choice`"));
                }
                if let Some(field) = &filters
                    && !chosen_filters(field, ask)?.is_empty()
                {
                    return Err(field.fault("`filter_list` changes written answers, and choices are not written"));
                }
                compare(metric, ask).map(Self::Choice)
            }
            _ => {
                let field = output.unwrap_or_else(|| layout.text.clone());
                let help = "`likelihood(data, …)` scores the log-probability of given texts";
                Err(field.unfit("`multiple_choice` or `generate_until`").help(help))
            }
        }
    }
}

/// The metric's name and field: the one that is asked for, else the first.
fn chosen_metric(fields: &mut Fields, ask: &Ask<'_>) -> Result<Option<(String, Field)>, Fault> {
    let Some(list) = fields.take("metric_list") else { return Ok(None) };
    let mut named = Vec::new();
    for item in list.items()? {
        let Some(name) = item.fields()?.take("metric") else {
            return Err(item.fault("a metric of `metric_list` without the field `metric`"));
        };
        match name.node.text() {
            Some(text) => named.push((text.to_owned(), item)),
            None => return Err(name.unfit("a text")),
        }
    }
    let names: Vec<String> = named.iter().map(|(name, _)| format!("`{name}`")).collect();
    match named.into_iter().find(|(name, _)| ask.metric.is_empty() || name == ask.metric) {
        Some(found) => Ok(Some(found)),
        None => Err(list
            .fault(format!("`{}` is none of its metrics", ask.metric))
            .help(format!("it has {}", names.join(", ")))),
    }
}

/// The arguments of a metric whose aggregation is the mean.
fn arguments(item: &Field) -> Result<Fields, Fault> {
    let mut inner = item.fields()?;
    for name in ["metric", "hf_evaluate"] {
        let _ = inner.take(name);
    }
    if let Some(field) = inner.take("aggregation").filter(|field| field.node.text() != Some("mean")) {
        return Err(field.unfit("`mean`"));
    }
    if let Some(field) = inner.take("higher_is_better").filter(|field| field.node.kind != Kind::Bool(true)) {
        return Err(field.unfit("`true`"));
    }
    Ok(inner)
}

fn compare(metric: Option<(String, Field)>, ask: &Ask<'_>) -> Result<Compare, Fault> {
    if let Some((_, item)) = &metric {
        arguments(item)?.end()?;
    }
    match metric.as_ref().map_or(if ask.metric.is_empty() { "acc" } else { ask.metric }, |(name, _)| name) {
        "acc" => Ok(Compare::Total),
        "acc_norm" => Ok(Compare::PerCharacter),
        "acc_bytes" => Ok(Compare::PerByte),
        other => Err(unknown_metric(other, metric.as_ref(), "`acc`, `acc_norm` and `acc_bytes`")),
    }
}

fn unknown_metric(name: &str, metric: Option<&(String, Field)>, known: &str) -> Fault {
    let title = format!("the metric `{name}` is not computed here");
    let fault = metric.map_or_else(|| Fault::new(1, title.clone()), |(_, item)| item.fault(title.clone()));
    fault.help(format!("name another by `metric: …`: {known} are"))
}

fn generated(
    kwargs: Option<Field>,
    filters: Option<Field>,
    metric: Option<(String, Field)>,
    (until, ask): (&str, &Ask<'_>),
) -> Result<Filtered, Fault> {
    let name = metric.as_ref().map_or(if ask.metric.is_empty() { "exact_match" } else { ask.metric }, |(name, _)| name);
    if name != "exact_match" {
        return Err(unknown_metric(name, metric.as_ref(), "`exact_match` is"));
    }
    let exact = metric.as_ref().map(|(_, item)| exact(item)).transpose()?.unwrap_or_default();
    let filters = filters.as_ref().map(|list| chosen_filters(list, ask)).transpose()?.unwrap_or_default();
    let mut by = Answering { stop: vec![until.to_owned()], ..Answering::GREEDY };
    let mut max_tokens = 256;
    if let Some(field) = kwargs {
        let mut inner = field.fields()?;
        // The first of them counts, as in the harness.
        let names = ["max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens"];
        let given: Vec<Field> = names.iter().filter_map(|name| inner.take(name)).collect();
        if let Some(field) = given.first() {
            max_tokens = field.count()?.clamp(1, 65_535);
        }
        if let Some(field) = inner.take("until") {
            by.stop = field.texts()?;
        }
        by.sampling = sampling(&mut inner)?;
        inner.end()?;
    }
    by.stop.retain(|stop| !stop.is_empty());
    Ok(Filtered { max_tokens: max_tokens.min(ask.max_tokens), by, several: false, filters, exact })
}

/// Greedy unless `do_sample`, or without it a temperature, says otherwise.
fn sampling(inner: &mut Fields) -> Result<Sampling, Fault> {
    let asked = inner.take("do_sample");
    let is_drawn = asked.as_ref().map(Field::truth).transpose()?;
    let warm = inner.take("temperature");
    let temperature = warm.as_ref().map(Field::real).transpose()?;
    let share = inner.take("top_p");
    let top_p = share.as_ref().map(Field::real).transpose()?.unwrap_or(1.0);
    let top_k = inner.take("top_k").map(|field| field.count()).transpose()?.unwrap_or(0);
    if let Some(field) = warm.filter(|_| temperature.is_some_and(|t| !(0.0..=100.0).contains(&t))) {
        return Err(field.unfit("a temperature from 0 to 100"));
    }
    if let Some(field) = share.filter(|_| !(top_p > 0.0 && top_p <= 1.0)) {
        return Err(field.unfit("a share above 0, at most 1"));
    }
    match (is_drawn, temperature) {
        (Some(false), _) | (None, None) => Ok(Answering::GREEDY.sampling),
        (None, Some(0.0)) => Ok(Answering::GREEDY.sampling),
        (Some(true), None | Some(0.0)) => {
            let field = asked.map(|field| field.fault("`do_sample: true` without a temperature above 0"));
            Err(field.unwrap_or_else(|| Fault::new(1, "answers that are drawn without a temperature")))
        }
        (_, Some(temperature)) => {
            let (temperature, top_p) = (temperature as f32, top_p as f32);
            Ok(Sampling { temperature, top_p, top_k, ..Answering::GREEDY.sampling })
        }
    }
}

fn exact(item: &Field) -> Result<Exact, Fault> {
    let mut inner = arguments(item)?;
    let mut truth = |name: &str| inner.take(name).map_or(Ok(false), |field| field.truth());
    let (case, punctuation, numbers) = (truth("ignore_case")?, truth("ignore_punctuation")?, truth("ignore_numbers")?);
    let ignored = match inner.take("regexes_to_ignore") {
        Some(field) => field.texts()?.iter().map(|pattern| regex(&field, pattern)).collect::<Result<_, _>>()?,
        None => Vec::new(),
    };
    inner.end()?;
    Ok(Exact { ignored, case, punctuation, numbers })
}

fn regex(field: &Field, pattern: &str) -> Result<PyRegex, Fault> {
    PyRegex::new(pattern).map_err(|why| field.fault(format!("`{}` is no regular expression: {why}", field.name)))
}

/// The steps of the filter that is asked for, else of the first.
fn chosen_filters(list: &Field, ask: &Ask<'_>) -> Result<Vec<Filter>, Fault> {
    let mut names = Vec::new();
    for item in list.items()? {
        let mut inner = item.fields()?;
        let name = inner.take("name").map(|field| field.text()).transpose()?.unwrap_or_default();
        let steps = inner.take("filter");
        inner.end()?;
        if ask.filter.is_empty() || name == ask.filter {
            let steps = steps.ok_or_else(|| item.fault("a filter of `filter_list` without the field `filter`"))?;
            let steps = steps.items()?.iter().map(step).collect::<Result<Vec<_>, _>>()?;
            return Ok(steps.into_iter().flatten().collect());
        }
        names.push(format!("`{name}`"));
    }
    Err(list.fault(format!("`{}` is none of its filters", ask.filter)).help(format!("it has {}", names.join(", "))))
}

/// A step; none for one that changes nothing where a question is asked once.
fn step(item: &Field) -> Result<Option<Filter>, Fault> {
    let mut inner = item.fields()?;
    let Some(function) = inner.take("function") else {
        return Err(item.fault("a step of a filter without the field `function`"));
    };
    let filter = match function.node.text() {
        Some("take_first" | "majority_vote") => None,
        Some("lowercase") => Some(Filter::Lowercase),
        Some("uppercase") => Some(Filter::Uppercase),
        Some("remove_whitespace") => Some(Filter::Trim),
        Some("regex") => {
            let pattern = match inner.take("regex_pattern") {
                Some(field) => regex(&field, &field.text()?)?,
                None => regex(item, r"#### (\-?[0-9\.\,]+)")?,
            };
            let select = match inner.take("group_select") {
                Some(field) => match field.node.kind {
                    Kind::Int(n) => n,
                    _ => return Err(field.unfit("a whole number")),
                },
                None => 0,
            };
            let fallback = inner.take("fallback").map_or(Ok("[invalid]".to_owned()), |field| field.text())?;
            Some(Filter::Regex { pattern, select, fallback })
        }
        _ => {
            let known = "`regex`, `take_first`, `lowercase`, `uppercase`, `remove_whitespace` or `majority_vote`";
            return Err(function.unfit(known));
        }
    };
    inner.end()?;
    Ok(filter)
}
