//! The tables of `run.db` and their rows.
//!
//! The columns of a table are its key, what is fixed by it, and what may differ from one run of a program to the next:
//! times (`seconds`, `elapsed`, `finished`) and process ids (`process`). Keys are written as hex, numbers that must come back to the
//! bit as JSON with all their digits, so that any SQLite tool can read a run.

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use crate::clock;
use crate::datum::Datum;
use crate::events::{Outcome, Shown};
use crate::store::Key;

/// A table's name and columns.
#[derive(Debug)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// The primary key.
    key: &'static [&'static str],
    /// What the key fixes.
    fixed: &'static [&'static str],
    /// What may differ between two runs.
    varying: &'static [&'static str],
}

/// Times and the process id, which most tables end with.
const VARYING: &[&str] = &["seconds REAL", "finished TEXT", "process INTEGER"];

/// Every candidate that a search made, with its genome as JSON.
pub static CANDIDATES: Table = Table {
    name: "candidates",
    key: &["search TEXT", "generation INTEGER", "candidate INTEGER"],
    fixed: &["genome TEXT", "operator TEXT"],
    varying: &[],
};

/// Which candidates a candidate was bred from.
pub static LINEAGE: Table = Table {
    name: "lineage",
    key: &["search TEXT", "generation INTEGER", "candidate INTEGER", "parent INTEGER"],
    fixed: &["parent_generation INTEGER", "parent_candidate INTEGER"],
    varying: &[],
};

/// What became of each candidate.
pub static EVALUATIONS: Table = Table {
    name: "evaluations",
    key: &["search TEXT", "generation INTEGER", "candidate INTEGER"],
    fixed: &["node TEXT", "outcome TEXT", "score REAL", "scores TEXT", "measures TEXT", "code TEXT", "reason TEXT"],
    varying: &["seconds REAL", "finished TEXT", "process INTEGER", "elapsed REAL"],
};

/// What brings a `run.db` of each earlier format to the next: format 1 held `elapsed` under the name `seconds`.
pub(crate) const UPGRADES: &[&str] =
    &["ALTER TABLE evaluations ADD COLUMN elapsed REAL; UPDATE evaluations SET elapsed = seconds;"];

/// Answers of language models and of host functions with effects.
pub static CALLS: Table = Table {
    name: "calls",
    key: &["request TEXT"],
    fixed: &["target TEXT", "question TEXT", "answer TEXT", "tokens_in INTEGER", "tokens_out INTEGER", "cost REAL"],
    varying: VARYING,
};

/// The nodes that are finished.
pub static NODES: Table =
    Table { name: "nodes", key: &["node TEXT"], fixed: &["name TEXT", "kind TEXT"], varying: VARYING };

/// What the program's requests gave.
pub static OUTPUTS: Table = Table {
    name: "outputs",
    key: &["request INTEGER"],
    fixed: &["kind TEXT", "path TEXT", "content TEXT"],
    varying: &["finished TEXT", "process INTEGER"],
};

/// All tables.
pub static TABLES: [&Table; 6] = [&CANDIDATES, &LINEAGE, &EVALUATIONS, &CALLS, &NODES, &OUTPUTS];

fn bare(column: &'static str) -> &'static str {
    column.split_once(' ').map_or(column, |(name, _)| name)
}

impl Table {
    /// The primary key's columns, separated by commas.
    pub(crate) fn keys(&self) -> String {
        self.key.iter().copied().map(bare).collect::<Vec<_>>().join(", ")
    }

    /// All columns but times and process ids.
    pub(crate) fn lasting(&self) -> Vec<&'static str> {
        self.key.iter().chain(self.fixed).copied().map(bare).collect()
    }

    fn all(&self) -> Vec<&'static str> {
        [self.key, self.fixed, self.varying].concat()
    }
}

/// The statements that make all tables.
pub(crate) fn schema() -> String {
    let make = |table: &Table| {
        format!(
            "CREATE TABLE {} ({}, PRIMARY KEY ({})) WITHOUT ROWID;\n",
            table.name,
            table.all().join(", "),
            table.keys()
        )
    };
    TABLES.into_iter().map(make).collect()
}

/// A row to be written: values for all columns of its table.
#[derive(Clone, Debug)]
pub struct Row {
    pub(crate) table: &'static Table,
    values: Vec<Value>,
}

impl Row {
    /// Inserts the row; `false` if its key is there already.
    pub(crate) fn insert(&self, to: &Connection) -> rusqlite::Result<bool> {
        let marks = vec!["?"; self.values.len()].join(", ");
        let sql = format!("INSERT INTO {} VALUES ({marks}) ON CONFLICT DO NOTHING", self.table.name);
        Ok(to.prepare_cached(&sql)?.execute(params_from_iter(&self.values))? > 0)
    }

    /// Whether the row is there with the same content, but for times and process ids.
    pub(crate) fn is_there(&self, at: &Connection) -> rusqlite::Result<bool> {
        let columns = self.table.lasting();
        let same: Vec<String> = columns.iter().map(|column| format!("{column} IS ?")).collect();
        let sql = format!("SELECT 1 FROM {} WHERE {}", self.table.name, same.join(" AND "));
        at.prepare_cached(&sql)?.exists(params_from_iter(self.values.iter().take(columns.len())))
    }

    /// The primary key, for a message.
    pub(crate) fn key_text(&self) -> String {
        let parts = self.values.iter().take(self.table.key.len()).map(|value| match value {
            Value::Text(text) => text.chars().take(12).collect(),
            Value::Integer(number) => number.to_string(),
            other => format!("{other:?}"),
        });
        format!("({})", parts.collect::<Vec<String>>().join(", "))
    }
}

/// A candidate of a search.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The search's identity.
    pub search: Key,
    /// The generation it belongs to.
    pub generation: u64,
    /// Its index within the generation.
    pub candidate: u64,
    /// Its genes.
    pub genome: Datum,
    /// What made it: the method that sampled it, such as `cma_es`, or an operator such as `crossover`.
    pub operator: String,
    /// The generation and index of each parent.
    pub parents: Vec<(u64, u64)>,
}

impl Candidate {
    /// Its row and one for each parent.
    pub fn rows(&self) -> Vec<Row> {
        let at = || vec![hex(&self.search), int(self.generation), int(self.candidate)];
        let own = [at(), vec![json(&self.genome), text(&self.operator)]].concat();
        let parent = |(index, (generation, candidate)): (usize, &(u64, u64))| Row {
            table: &LINEAGE,
            values: [at(), vec![int(index as u64), int(*generation), int(*candidate)]].concat(),
        };
        std::iter::once(Row { table: &CANDIDATES, values: own })
            .chain(self.parents.iter().enumerate().map(parent))
            .collect()
    }

    /// Reads a row of `candidates`, without the parents.
    pub(crate) fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Candidate> {
        Ok(Candidate {
            search: read_key(row, "search")?,
            generation: row.get("generation")?,
            candidate: row.get("candidate")?,
            genome: read_json(row, "genome")?,
            operator: row.get("operator")?,
            parents: Vec::new(),
        })
    }
}

/// A finished evaluation.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// The search's identity.
    pub search: Key,
    /// The generation the candidate belongs to.
    pub generation: u64,
    /// The candidate's index within the generation.
    pub candidate: u64,
    /// The identity of the evaluated node.
    pub node: Key,
    /// What became of it.
    pub outcome: Outcome,
    /// Seconds that the candidate's own nodes ran, all added up however many ran at once (and all attempts, where it was
    /// tried again); next to nothing where they were kept. What candidates share, and waiting, does not count.
    pub seconds: f64,
    /// Seconds from the beginning of its generation, in the segment that finished it.
    pub elapsed: f64,
}

impl Evaluation {
    /// Its row.
    pub fn row(&self) -> Row {
        let null = || Value::Null;
        let (word, score, scores, measures, code, reason) = match &self.outcome {
            Outcome::Scored { scores, measures } => {
                let first = scores.first().map_or(Value::Null, |score| Value::Real(*score));
                ("scored", first, json(scores), json(measures), null(), null())
            }
            Outcome::Failed { code, reason } => ("failed", null(), null(), null(), text(code), text(reason)),
        };
        let mut values = vec![hex(&self.search), int(self.generation), int(self.candidate), hex(&self.node)];
        values.extend([text(word), score, scores, measures, code, reason]);
        values.extend(varying(self.seconds));
        values.push(Value::Real(self.elapsed));
        Row { table: &EVALUATIONS, values }
    }

    /// Reads a row of `evaluations`.
    pub(crate) fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Evaluation> {
        let outcome = if row.get::<_, String>("outcome")? == "scored" {
            Outcome::Scored { scores: read_json(row, "scores")?, measures: read_json(row, "measures")? }
        } else {
            Outcome::Failed { code: row.get("code")?, reason: row.get("reason")? }
        };
        Ok(Evaluation {
            search: read_key(row, "search")?,
            generation: row.get("generation")?,
            candidate: row.get("candidate")?,
            node: read_key(row, "node")?,
            outcome,
            seconds: row.get("seconds")?,
            elapsed: row.get("elapsed")?,
        })
    }
}

/// A call that has effects outside: asked once, replayed ever after.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The hash of everything that the answer depends on.
    pub request: Key,
    /// The language model or the host function.
    pub target: String,
    /// What was asked, as JSON.
    pub question: Datum,
    /// What was answered, as JSON.
    pub answer: Datum,
    /// Tokens sent.
    pub tokens_in: u64,
    /// Tokens received.
    pub tokens_out: u64,
    /// US dollars.
    pub cost: f64,
    /// Seconds it took.
    pub seconds: f64,
}

impl Call {
    /// Its row.
    pub fn row(&self) -> Row {
        let mut values = vec![hex(&self.request), text(&self.target), json(&self.question), json(&self.answer)];
        values.extend([int(self.tokens_in), int(self.tokens_out), Value::Real(self.cost)]);
        values.extend(varying(self.seconds));
        Row { table: &CALLS, values }
    }

    /// Reads a row of `calls`.
    pub(crate) fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Call> {
        Ok(Call {
            request: read_key(row, "request")?,
            target: row.get("target")?,
            question: read_json(row, "question")?,
            answer: read_json(row, "answer")?,
            tokens_in: row.get("tokens_in")?,
            tokens_out: row.get("tokens_out")?,
            cost: row.get("cost")?,
            seconds: row.get("seconds")?,
        })
    }
}

/// The row of a finished node; without seconds if its value came from the store.
pub fn node_row(node: &Key, name: &str, kind: &str, seconds: Option<f64>) -> Row {
    let mut values = vec![hex(node), text(name), text(kind)];
    let [_, finished, process] = varying(0.0);
    values.extend([seconds.map_or(Value::Null, Value::Real), finished, process]);
    Row { table: &NODES, values }
}

/// What a request gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// The request's index among the program's requests.
    pub request: u32,
    /// What it gave.
    pub kind: OutputKind,
}

/// The forms of output.
#[derive(Clone, Debug, PartialEq)]
pub enum OutputKind {
    /// `print`.
    Printed(Shown),
    /// `save`.
    Saved {
        /// The file or directory.
        path: String,
        /// What lies there, such as `model`.
        what: String,
    },
    /// `plot`: the path, if the request names one, and the plot drawn with text.
    Plotted {
        /// The file.
        path: Option<String>,
        /// The same for a terminal.
        text: String,
    },
    /// `expect`.
    Expected {
        /// What was expected.
        message: String,
        /// Whether it holds.
        holds: bool,
    },
}

impl Output {
    /// Its row.
    pub fn row(&self) -> Row {
        let (kind, path, content) = match &self.kind {
            OutputKind::Printed(shown) => ("printed", Value::Null, json(shown)),
            OutputKind::Saved { path, what } => ("saved", text(path), json(what)),
            OutputKind::Plotted { path, text: drawn } => {
                ("plotted", path.as_deref().map_or(Value::Null, text), json(drawn))
            }
            OutputKind::Expected { message, holds } => ("expected", Value::Null, json(&(message, holds))),
        };
        let mut values = vec![int(u64::from(self.request)), text(kind), path, content];
        values.extend(varying(0.0).into_iter().skip(1));
        Row { table: &OUTPUTS, values }
    }

    /// Reads a row of `outputs`.
    pub(crate) fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Output> {
        let kind = match row.get::<_, String>("kind")?.as_str() {
            "printed" => OutputKind::Printed(read_json(row, "content")?),
            "saved" => OutputKind::Saved { path: row.get("path")?, what: read_json(row, "content")? },
            "plotted" => OutputKind::Plotted { path: row.get("path")?, text: read_json(row, "content")? },
            _ => {
                let (message, holds) = read_json(row, "content")?;
                OutputKind::Expected { message, holds }
            }
        };
        Ok(Output { request: row.get("request")?, kind })
    }
}

fn hex(key: &Key) -> Value {
    Value::Text(key.to_string())
}

fn int(number: u64) -> Value {
    Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// JSON with every digit of a number; what has no JSON is null, which no type of this module has.
fn json(value: &impl serde::Serialize) -> Value {
    serde_json::to_string(value).map_or(Value::Null, Value::Text)
}

fn varying(seconds: f64) -> [Value; 3] {
    [Value::Real(seconds), Value::Text(clock::now_text()), Value::Integer(i64::from(std::process::id()))]
}

fn read_key(row: &rusqlite::Row<'_>, column: &str) -> rusqlite::Result<Key> {
    row.get::<_, String>(column)?.parse().map_err(|error| unreadable(row, column, error))
}

fn read_json<T: serde::de::DeserializeOwned>(row: &rusqlite::Row<'_>, column: &str) -> rusqlite::Result<T> {
    serde_json::from_str(&row.get::<_, String>(column)?).map_err(|error| unreadable(row, column, error))
}

fn unreadable(
    row: &rusqlite::Row<'_>,
    column: &str,
    error: impl std::error::Error + Send + Sync + 'static,
) -> rusqlite::Error {
    let index = row.as_ref().column_index(column).unwrap_or_default();
    rusqlite::Error::FromSqlConversionFailure(index, rusqlite::types::Type::Text, Box::new(error))
}
