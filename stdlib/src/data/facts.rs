//! What is known of data before they are made: columns, and numbers of rows.

use std::sync::Arc;

use evo_lang::plan::{Answer, Call, Const, Fact, Look, Problem};

use super::bind::Form;
use super::{Data, DataError, Delimited, Ends, Language, Operation, Template, WordProblems};
use crate::bind::Place;

/// What is known of data.
#[derive(Clone, Debug)]
pub struct DataFacts {
    /// The columns.
    pub columns: Vec<String>,
    /// How many rows, where known.
    pub rows: Option<usize>,
    /// The bytes of the longest cell of each column, written as templates write it, where known.
    pub longest: Option<Vec<usize>>,
    /// The columns of conversations, where known.
    pub chats: Option<Vec<String>>,
}

impl DataFacts {
    /// What is known of data that are there.
    pub fn of(data: &Data) -> Self {
        let (columns, rows) = (data.columns().to_vec(), Some(data.len()));
        Self { columns, rows, longest: Some(data.longest()), chats: Some(data.chats()) }
    }
}

/// Rows that a check reads of a file.
const HEAD: usize = 8;

fn facts(columns: &[&str], rows: Option<usize>) -> Answer {
    Answer::Fact(Arc::new(DataFacts {
        columns: columns.iter().map(|c| (*c).to_owned()).collect(),
        rows,
        longest: None,
        chats: Some(Vec::new()),
    }))
}

fn known(call: &Call<'_>, param: &str) -> Option<Const> {
    call.arg(param)?.constant().cloned()
}

pub(super) fn jsonl(place: &Place, call: &Call<'_>, problems: &mut Vec<Problem>) -> Answer {
    file(place, call, Form::Jsonl, problems)
}

pub(super) fn csv(place: &Place, call: &Call<'_>, problems: &mut Vec<Problem>) -> Answer {
    separated(place, call, false, problems)
}

pub(super) fn tsv(place: &Place, call: &Call<'_>, problems: &mut Vec<Problem>) -> Answer {
    separated(place, call, true, problems)
}

pub(super) fn parquet(place: &Place, call: &Call<'_>, problems: &mut Vec<Problem>) -> Answer {
    file(place, call, Form::Parquet, problems)
}

fn separated(place: &Place, call: &Call<'_>, tabs: bool, problems: &mut Vec<Problem>) -> Answer {
    let Some(Const::Bool(header)) = known(call, "header") else { return Answer::Unknown };
    file(place, call, Form::Delimited(Delimited { tabs, header }), problems)
}

/// Reads a file of rows: whole where its content enters identities, else its first rows.
fn file(place: &Place, call: &Call<'_>, form: Form, problems: &mut Vec<Problem>) -> Answer {
    let (Some(file), Some(columns)) = (known(call, "file"), known(call, "columns")) else {
        return Answer::Unknown;
    };
    let (Some(file), Some(columns)) = (file.as_text(), columns.items()) else {
        return Answer::Unknown;
    };
    let columns: Vec<&str> = columns.iter().filter_map(|c| c.as_text().map(|t| &**t)).collect();
    let path = place.input(file);
    let whole = place.whole && !call.tiny;
    let data = match form.read(&path, &columns, if whole { usize::MAX } else { HEAD }) {
        Ok(data) => data,
        Err(error) => {
            let is_of_columns = matches!(error, DataError::MissingColumn { .. } | DataError::RepeatedColumn { .. });
            problems.push(problem(&error, if is_of_columns { "columns" } else { "file" }));
            return Answer::Unknown;
        }
    };
    let known = if whole {
        DataFacts::of(&data)
    } else {
        DataFacts { columns: data.columns().to_vec(), rows: None, longest: None, chats: Some(data.chats()) }
    };
    let fact: Fact = Arc::new(known);
    if !place.whole {
        return Answer::Fact(fact);
    }
    match crate::files::content_key(&path) {
        Ok(key) => Answer::Content(fact, key),
        Err(_) => Answer::Fact(fact),
    }
}

pub(super) fn word_problems(_: &Place, call: &Call<'_>, problems: &mut Vec<Problem>) -> Answer {
    let count = known(call, "count").and_then(|c| c.as_int()).map(|n| n as usize);
    if let Err(error) = check_word_problems(call) {
        let param = if let DataError::BadArgument { argument, .. } = &error { argument } else { "language" };
        problems.push(problem(&error, param));
    }
    facts(&["question", "answer", "left", "right", "operation"], count)
}

/// A single problem drawn with the same arguments finds what is wrong with them.
fn check_word_problems(call: &Call<'_>) -> Result<(), DataError> {
    let range = |name: &str| match known(call, name) {
        Some(Const::Range(r)) => Some(r.whole_bounds()),
        _ => None,
    };
    let language = known(call, "language").and_then(|c| c.as_text().cloned());
    let operations = known(call, "operations").and_then(|c| Some(c.items()?.to_vec()));
    let (Some(language), Some(operations)) = (language, operations) else {
        return Ok(());
    };
    let (Some(left), Some(right), Some(templates)) = (range("left"), range("right"), range("templates")) else {
        return Ok(());
    };
    let operations =
        operations.iter().filter_map(|o| o.as_text()).map(|o| Operation::parse(o)).collect::<Result<Vec<_>, _>>()?;
    super::word_problems(&WordProblems {
        language: Language::parse(&language)?,
        operations,
        left: left.0..=left.1 - 1,
        right: right.0..=right.1 - 1,
        templates: templates.0.max(0) as usize..templates.1.max(0) as usize,
        count: 1,
        seed: 0,
    })?;
    Ok(())
}

pub(super) fn sentences(_: &Place, call: &Call<'_>, problems: &mut Vec<Problem>) -> Answer {
    if let Some(Err(error)) = known(call, "language").and_then(|c| c.as_text().map(|l| Language::parse(l))) {
        problems.push(problem(&error, "language"));
    }
    facts(&["text"], known(call, "count").and_then(|c| c.as_int()).map(|n| n as usize))
}

/// Facts of the parts of a split, by name.
struct SplitFacts(Vec<(String, DataFacts)>);

pub(super) fn split(_: &Place, call: &Call<'_>, problems: &mut Vec<Problem>) -> Answer {
    let Some(data) = fact_of(call.arg("d")) else {
        return Answer::Unknown;
    };
    let sizes = call.args().nth(1).and_then(|sizes| sizes.fields()).unwrap_or_default();
    let sizes: Vec<(String, usize)> = sizes
        .into_iter()
        .filter_map(|(name, size)| Some((name.to_string(), size.constant()?.as_int()?.max(0) as usize)))
        .collect();
    let asked: usize = sizes.iter().map(|(_, n)| n).sum();
    if let Some(rows) = data.rows.filter(|rows| asked > *rows && !call.tiny) {
        problems.push(problem(&DataError::TooFewRows { part: None, asked, have: rows }, "sizes"));
    }
    let part = |(name, rows)| (name, DataFacts { rows: Some(rows), ..data.clone() });
    Answer::Fact(Arc::new(SplitFacts(sizes.into_iter().map(part).collect())))
}

pub(super) fn part(fact: &Fact, name: &str) -> Option<Answer> {
    let parts = fact.downcast_ref::<SplitFacts>()?;
    let (_, part) = parts.0.iter().find(|(n, _)| n == name)?;
    Some(Answer::Fact(Arc::new(part.clone())))
}

pub(super) fn cut(_: &Place, call: &Call<'_>, _: &mut Vec<Problem>) -> Answer {
    let Some(data) = fact_of(call.arg("d")) else {
        return Answer::Unknown;
    };
    let n = known(call, "n").and_then(|c| c.as_int()).map(|n| n.max(0) as usize);
    let rows = n.map(|n| data.rows.map_or(n, |rows| rows.min(n)));
    Answer::Fact(Arc::new(DataFacts { rows, ..data.clone() }))
}

pub(super) fn concat(_: &Place, call: &Call<'_>, problems: &mut Vec<Problem>) -> Answer {
    let (Some(a), Some(b)) = (fact_of(call.arg("a")), fact_of(call.arg("b"))) else {
        return Answer::Unknown;
    };
    if a.columns != b.columns {
        let error = DataError::UnlikeColumns { left: a.columns.clone(), right: b.columns.clone() };
        problems.push(problem(&error, "b"));
    }
    let rows = a.rows.zip(b.rows).map(|(x, y)| x + y);
    let longer = |(x, y): (&Vec<usize>, &Vec<usize>)| x.iter().zip(y).map(|(x, y)| *x.max(y)).collect();
    let longest = a.longest.as_ref().zip(b.longest.as_ref()).map(longer);
    Answer::Fact(Arc::new(DataFacts { columns: a.columns.clone(), rows, longest, chats: a.chats.clone() }))
}

pub(super) fn mixture(_: &Place, call: &Call<'_>, problems: &mut Vec<Problem>) -> Answer {
    let sources = call.arg("sources").and_then(|list| list.items()).unwrap_or_default();
    let shares = known(call, "by").and_then(|by| by.items()?.iter().map(Const::as_real).collect::<Option<Vec<f64>>>());
    let facts: Option<Vec<&DataFacts>> = sources.iter().map(|source| source.fact()).collect();
    let Some((first, facts)) = facts.and_then(|facts| Some(((*facts.first()?).clone(), facts))) else {
        return Answer::Unknown;
    };
    if let Some(other) = facts.iter().find(|other| other.columns != first.columns) {
        let error = DataError::UnlikeColumns { left: first.columns.clone(), right: other.columns.clone() };
        problems.push(problem(&error, "sources"));
    }
    let ends = match known(call, "ends").and_then(|ends| ends.as_text().cloned()) {
        Some(ends) if &*ends == "first" => Ends::First,
        _ => Ends::All,
    };
    let lengths: Option<Vec<usize>> = facts.iter().map(|facts| facts.rows).collect();
    // Of sources whose lengths are not known yet the shares alone are looked at.
    let counts =
        shares.map(|shares| super::mixed_rows(&lengths.clone().unwrap_or(vec![1; facts.len()]), &shares, ends));
    let rows = match counts {
        Some(Ok(counts)) => lengths.map(|_| counts.iter().sum()),
        Some(Err(error)) => {
            problems.push(problem(&error, "by"));
            None
        }
        None => None,
    };
    Answer::Fact(Arc::new(DataFacts { rows, longest: None, ..first }))
}

pub(super) fn columns(_: &Place, call: &Call<'_>, problems: &mut Vec<Problem>) -> Answer {
    let Some(data) = fact_of(call.arg("d")) else {
        return Answer::Unknown;
    };
    let before: Vec<&str> = data.columns.iter().map(String::as_str).collect();
    let Ok(empty) = Data::new(&before, Vec::new()) else { return Answer::Unknown };
    let (mut columns, mut chats) = (Vec::new(), Vec::new());
    for (name, text) in call.args().nth(1).and_then(|all| all.fields()).unwrap_or_default() {
        let Some(text) = text.constant().and_then(|text| text.as_text().cloned()) else { return Answer::Unknown };
        match Template::parse(&text).and_then(|template| template.check(&empty).map(|()| template)) {
            Ok(template) => {
                let was_chat = |column| data.chats.as_ref().is_some_and(|chats| chats.iter().any(|c| c == column));
                if template.only_column().is_some_and(was_chat) {
                    chats.push(name.to_string());
                }
            }
            Err(error) => problems.push(problem(&error, "templates")),
        }
        columns.push(name.to_string());
    }
    let chats = data.chats.as_ref().map(|_| chats);
    Answer::Fact(Arc::new(DataFacts { columns, rows: data.rows, longest: None, chats }))
}

fn fact_of<'g>(look: Option<Look<'g>>) -> Option<&'g DataFacts> {
    look?.fact()
}

/// A fault of data as a finding at the argument that names it.
pub(crate) fn problem(error: &DataError, param: &str) -> Problem {
    Problem {
        code: error.code(),
        title: error.to_string(),
        label: error.label().into(),
        param: Some(param.to_owned()),
        help: error.help(),
        ..Problem::default()
    }
}
