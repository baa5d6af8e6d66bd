//! Prompts, answers and choices of every row, as the harness builds them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value as Json;

use super::config::{Config, From, Layout, Output};
use super::docs;
use super::fields::Field;
use super::random::Random;
use super::text::{Doc, Jinja, literal_list};
use super::yaml::Kind;
use super::{Ask, Fault};
use crate::data::{Cell, Data, Template};
use crate::task::{AnswerForm, Choices, Compare, Method, Task};

/// The seed of the harness's examples.
const SEED: u32 = 1234;
/// The most bytes that all prompts together may have.
const BYTES: usize = 1 << 30;

/// The task of a task file.
pub(super) fn task(config: &Config, ask: &Ask<'_>) -> Result<Task, Fault> {
    let mut maker = Maker { config, jinja: Jinja::new(), splits: BTreeMap::new() };
    maker.check()?;
    maker.read(&config.split)?;
    if let From::Split(split) = &config.shots.from
        && config.shots.count > 0
    {
        maker.read(split)?;
    }
    let prompts = maker.prompts(ask.rows)?;
    match &config.output {
        Output::Choice(compare) => maker.choices(prompts, *compare),
        Output::Text(_) => maker.texts(prompts),
    }
}

struct Maker<'a> {
    config: &'a Config,
    jinja: Jinja,
    splits: BTreeMap<String, Vec<Doc>>,
}

/// What `doc_to_target` gives.
enum Target {
    Place(i64),
    Text(String),
    Several(Vec<Json>),
}

impl Maker<'_> {
    /// Templates that cannot be read are told before any data are.
    fn check(&self) -> Result<(), Fault> {
        let (layout, shots) = (&self.config.layout, &self.config.shots.layout);
        let fields =
            [Some(&layout.text), Some(&layout.target), layout.choice.as_ref(), self.config.description.as_ref()];
        let fields =
            fields.into_iter().chain([Some(&shots.text), Some(&shots.target), shots.choice.as_ref()]).flatten();
        for field in fields {
            if let Kind::Function(_) = field.node.kind {
                return Err(field.unfit("a template"));
            }
            if let Some(template) = field.node.text() {
                self.jinja
                    .check(template)
                    .map_err(|why| field.fault(format!("`{}` is no template: {why}", field.name)))?;
            }
        }
        Ok(())
    }

    fn read(&mut self, split: &str) -> Result<(), Fault> {
        let config = self.config;
        let Some(files) = config.files.get(split) else {
            let known: Vec<_> = config.files.keys().map(|name| format!("`{name}`")).collect();
            let help = format!("`data_files` has {}; a single file is `train`", known.join(", "));
            return Err(config.data.fault(format!("there is no split `{split}`")).help(help));
        };
        if !self.splits.contains_key(split) {
            let docs = docs::read(config.form, files)
                .map_err(|why| config.data.fault(format!("the split `{split}`: {why}")))?;
            self.splits.insert(split.to_owned(), docs);
        }
        Ok(())
    }

    fn docs(&self, rows: usize) -> &[Doc] {
        let docs = self.splits.get(&self.config.split).map_or(&[][..], Vec::as_slice);
        docs.get(..rows).unwrap_or(docs)
    }

    /// The description, the examples and the question of each row.
    fn prompts(&self, rows: usize) -> Result<Vec<String>, Fault> {
        let (shots, mut random) = (&self.config.shots, Random::new(SEED));
        let pool: &[Doc] = match &shots.from {
            From::Samples(samples) => samples,
            From::Split(split) => self.splits.get(split).map_or(&[][..], Vec::as_slice),
        };
        let mut rendered: BTreeMap<usize, String> = BTreeMap::new();
        let (mut prompts, mut bytes) = (Vec::new(), 0);
        for (row, doc) in self.docs(rows).iter().enumerate() {
            let mut prompt = match &self.config.description {
                Some(field) => self.filled(field, doc, row)?,
                None => String::new(),
            };
            if shots.count > 0 {
                for at in self.examples(pool, doc, &mut random)? {
                    if let (None, Some(example)) = (rendered.get(&at), pool.get(at)) {
                        rendered.insert(at, self.example(example, at)?);
                    }
                    prompt.push_str(rendered.get(&at).map_or("", String::as_str));
                }
            }
            prompt.push_str(&self.question(&self.config.layout, doc, row)?);
            bytes += prompt.len();
            if bytes > BYTES {
                return Err(self.config.data.fault(format!("prompts of more than {BYTES} bytes together")));
            }
            prompts.push(prompt);
        }
        Ok(prompts)
    }

    /// Which rows of the pool are a question's examples.
    fn examples(&self, pool: &[Doc], doc: &Doc, random: &mut Random) -> Result<Vec<usize>, Fault> {
        let shots = &self.config.shots;
        let (n, spare) = (shots.count, usize::from(shots.not_itself));
        let is_other = |at: &usize| !shots.not_itself || pool.get(*at) != Some(doc);
        let chosen: Vec<usize> = if shots.is_first {
            (0..pool.len()).filter(is_other).take(n).collect()
        } else if n.saturating_add(spare) <= pool.len() {
            random.sample(pool.len(), n + spare).into_iter().filter(is_other).take(n).collect()
        } else {
            Vec::new()
        };
        if chosen.len() == n {
            return Ok(chosen);
        }
        let title = format!("{n} examples of {} rows, of which none may be the question", pool.len());
        Err(shots.at.as_ref().unwrap_or(&self.config.data).fault(title).help("lower `num_fewshot`"))
    }

    /// A question with its answer, and what parts it from the next.
    fn example(&self, doc: &Doc, row: usize) -> Result<String, Fault> {
        let layout = &self.config.shots.layout;
        let question = self.question(layout, doc, row)?;
        let answer = match self.target(layout, doc, row)? {
            Target::Text(text) => text,
            Target::Place(place) => match &layout.choice {
                Some(field) => {
                    let choices = self.choice(field, doc, row)?;
                    let text = usize::try_from(place).ok().and_then(|at| choices.get(at).cloned());
                    text.ok_or_else(|| layout.target.fault(format!("row {row} of the examples has no choice {place}")))?
                }
                None => {
                    let title = format!("the answer of example {row} is a number, not a text");
                    return Err(layout.target.fault(title).help("write it as a template: `\"{{answer}}\"`"));
                }
            },
            Target::Several(all) => match all.first() {
                Some(Json::String(text)) => text.clone(),
                _ => return Err(layout.target.fault(format!("the first answer of example {row} is not a text"))),
            },
        };
        Ok(match answer.is_empty() {
            true => question,
            false => format!("{question}{}{answer}{}", layout.target_delimiter, layout.fewshot_delimiter),
        })
    }

    fn question(&self, layout: &Layout, doc: &Doc, row: usize) -> Result<String, Fault> {
        let text = self.filled(&layout.text, doc, row)?;
        let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if layout.choice.is_some() && is_number && doc.get(layout.text.node.text().unwrap_or_default()).is_none() {
            let title =
                format!("`doc_to_text` of row {row} is the place of a choice: a prompt a choice is not asked here");
            return Err(layout.text.fault(title));
        }
        Ok(text)
    }

    /// The text of a column, or of a template.
    fn filled(&self, field: &Field, doc: &Doc, row: usize) -> Result<String, Fault> {
        let template = field.text()?;
        match doc.get(&template) {
            Some(Json::String(text)) => Ok(text.clone()),
            Some(_) => Err(field.fault(format!("column `{template}` of row {row} is not a text"))),
            None => self.jinja.render(&template, doc).map_err(|why| unfilled(field, row, &why)),
        }
    }

    fn target(&self, layout: &Layout, doc: &Doc, row: usize) -> Result<Target, Fault> {
        let field = &layout.target;
        let template = match &field.node.kind {
            Kind::Int(place) => return Ok(Target::Place(*place)),
            Kind::List(_) => {
                let Some(Json::Array(items)) = field.node.json() else { return Err(field.unfit("a list of texts")) };
                return Ok(Target::Several(items));
            }
            _ => field.text()?,
        };
        match doc.get(&template) {
            Some(Json::String(text)) => Ok(Target::Text(text.clone())),
            Some(Json::Bool(truth)) => Ok(Target::Place(i64::from(*truth))),
            Some(Json::Array(items)) => Ok(Target::Several(items.clone())),
            Some(value) => match value.as_i64() {
                Some(number) => Ok(Target::Place(number)),
                None => {
                    Err(field.fault(format!("column `{template}` of row {row} is neither a text nor a whole number")))
                }
            },
            None => {
                let text = self.jinja.render(&template, doc).map_err(|why| unfilled(field, row, &why))?;
                let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
                match text.parse() {
                    Ok(place) if is_number && layout.choice.is_some() => Ok(Target::Place(place)),
                    _ if text.len() >= 2 && text.starts_with('[') && text.ends_with(']') => {
                        Ok(literal_list(&text).map_or(Target::Text(text), Target::Several))
                    }
                    _ => Ok(Target::Text(text)),
                }
            }
        }
    }

    fn choice(&self, field: &Field, doc: &Doc, row: usize) -> Result<Vec<String>, Fault> {
        let items = match &field.node.kind {
            Kind::List(_) => field.node.json().and_then(|list| list.as_array().cloned()),
            Kind::Map(fields) => fields.iter().map(|(_, node)| node.json()).collect(),
            _ => {
                let template = field.text()?;
                match doc.get(&template) {
                    Some(value) => value.as_array().cloned(),
                    None => literal_list(&self.jinja.render(&template, doc).map_err(|why| unfilled(field, row, &why))?),
                }
            }
        };
        let Some(items) = items else {
            return Err(field.fault(format!("`doc_to_choice` of row {row} is no list of texts")));
        };
        let text = |item: &Json| item.as_str().map(str::to_owned);
        items.iter().map(text).collect::<Option<_>>().ok_or_else(|| {
            let help = "put quotes around it: YAML reads `yes` and `1` as something else";
            field.fault(format!("a choice of row {row} is not a text")).help(help)
        })
    }

    fn choices(&self, prompts: Vec<String>, compare: Compare) -> Result<Task, Fault> {
        let layout = &self.config.layout;
        let field = layout.choice.as_ref().unwrap_or(&layout.text);
        let delimiter = &layout.target_delimiter;
        let mut rows = Vec::new();
        for (row, (prompt, doc)) in prompts.iter().zip(self.docs(prompts.len())).enumerate() {
            let choices = self.choice(field, doc, row)?;
            let is_odd = |choice: &String| choice.is_empty() || choice.trim() != choice;
            if compare != Compare::Total && (choices.iter().any(is_odd) || !delimiter.trim().is_empty()) {
                let title = format!("the lengths of the choices of row {row} count white space or a delimiter");
                return Err(field.fault(title).help("name another metric: `metric: \"acc\"`"));
            }
            let right = match self.target(layout, doc, row)? {
                Target::Place(place) => usize::try_from(place).ok().filter(|at| *at < choices.len()),
                Target::Text(text) => choices.iter().position(|choice| *choice == text),
                Target::Several(_) => {
                    return Err(layout
                        .target
                        .fault(format!("row {row} has several right choices, where one is scored")));
                }
            };
            let Some(right) = right else {
                return Err(layout
                    .target
                    .fault(format!("the answer of row {row} is none of its {} choices", choices.len())));
            };
            // White space at the end of a prompt belongs to what follows it: so the harness splits its tokens.
            let kept = prompt.trim_end();
            let moved = prompt.get(kept.len()..).unwrap_or_default();
            let choices: Vec<Arc<str>> = choices.iter().map(|c| format!("{moved}{delimiter}{c}").into()).collect();
            rows.push(vec![Cell::from(kept), Cell::from(right as i64), Cell::List(choices.into())]);
        }
        let choices = Choices { templates: vec![self.template("{choices}")?], compare, answer: AnswerForm::Index };
        self.made(&["prompt", "target", "choices"], rows, Method::MultipleChoice(choices))
    }

    fn texts(&self, prompts: Vec<String>) -> Result<Task, Fault> {
        let Output::Text(filtered) = &self.config.output else {
            return Err(self.config.data.fault("answers that are not written"));
        };
        let layout = &self.config.layout;
        let (mut targets, mut several) = (Vec::new(), false);
        for (row, doc) in self.docs(prompts.len()).iter().enumerate() {
            let text = |item: &Json| item.as_str().map_or_else(|| item.to_string(), str::to_owned);
            let target = match (self.target(layout, doc, row)?, &layout.choice) {
                (Target::Several(all), None) => {
                    several = true;
                    all.iter().map(text).collect()
                }
                (Target::Place(place), Some(field)) => {
                    let choices = self.choice(field, doc, row)?;
                    let found = usize::try_from(place).ok().and_then(|at| choices.get(at).cloned());
                    let none = || layout.target.fault(format!("the answer of row {row} is none of its choices"));
                    vec![found.ok_or_else(none)?]
                }
                (Target::Place(number), None) => vec![number.to_string()],
                (Target::Text(text), None) => vec![text],
                (_, Some(_)) => {
                    return Err(layout.target.fault(format!("the answer of row {row} is not the place of a choice")));
                }
            };
            targets.push(target);
        }
        let cell = |target: Vec<String>| match several {
            true => Json::from(target).to_string(),
            false => target.into_iter().next().unwrap_or_default(),
        };
        let rows =
            prompts.into_iter().zip(targets).map(|(prompt, target)| vec![Cell::from(prompt), Cell::from(cell(target))]);
        let filtered = super::Filtered { several, ..(**filtered).clone() };
        self.made(&["prompt", "target"], rows.collect(), Method::Filtered(Box::new(filtered)))
    }

    fn template(&self, source: &str) -> Result<Template, Fault> {
        Template::parse(source).map_err(|error| self.config.data.fault(error.to_string()))
    }

    fn made(&self, columns: &[&str], rows: Vec<Vec<Cell>>, method: Method) -> Result<Task, Fault> {
        let data = Data::new(columns, rows).map_err(|error| self.config.data.fault(error.to_string()))?;
        Ok(Task { data, prompt: self.template("{prompt}")?, expected: self.template("{target}")?, method })
    }
}

fn unfilled(field: &Field, row: usize, why: &str) -> Fault {
    field.fault(format!("`{}` cannot be filled with row {row}: {why}", field.name))
}
