//! The family `data` as the language sees it: the functions.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;

use evo_lang::plan::{Const, Fact, Key, RangeConst};

use super::facts::{self, DataFacts};
use super::{Cell, Data, DataError, Delimited, Ends, Language, Operation, Sentences, Template, WordProblems};
use crate::args;
use crate::bind::Module;
use crate::cx::{Cx, Failure};
use crate::value::{Object, Value};

/// The family `data`.
pub fn module() -> Module {
    Module::new("data", include_str!("data.evo"))
        .bind("jsonl", run_jsonl)
        .facts("jsonl", facts::jsonl)
        .bind("csv", run_csv)
        .facts("csv", facts::csv)
        .bind("tsv", run_tsv)
        .facts("tsv", facts::tsv)
        .bind("parquet", run_parquet)
        .facts("parquet", facts::parquet)
        .bind("word_problems", run_word_problems)
        .facts("word_problems", facts::word_problems)
        .bind("sentences", run_sentences)
        .facts("sentences", facts::sentences)
        .bind("split", run_split)
        .facts("split", facts::split)
        .bind("first", run_first)
        .facts("first", facts::cut)
        .bind("last", run_last)
        .facts("last", facts::cut)
        .bind("concat", run_concat)
        .facts("concat", facts::concat)
        .bind("mixture", run_mixture)
        .facts("mixture", facts::mixture)
        .bind("columns", run_columns)
        .facts("columns", facts::columns)
        .field_facts(facts::part)
}

args! { struct FileArgs { file: Arc<str>, columns: Vec<Arc<str>> } }
args! { struct DelimitedArgs { file: Arc<str>, columns: Vec<Arc<str>>, header: bool } }
args! {
    struct WordProblemsArgs {
        language: Arc<str>, operations: Vec<Arc<str>>, left: RangeConst, right: RangeConst, templates: RangeConst,
        count: i64, seed: i64,
    }
}
args! { struct SentencesArgs { language: Arc<str>, count: i64, seed: i64 } }
args! { struct SplitArgs { d: Data, sizes: Value } }
args! { struct CutArgs { d: Data, n: i64 } }
args! { struct ConcatArgs { a: Data, b: Data } }
args! { struct MixtureArgs { sources: Vec<Data>, by: Vec<f64>, ends: Arc<str>, seed: i64 } }
args! { struct ColumnsArgs { d: Data, templates: Value } }

/// In a tiny run a file is cut to its first rows.
const TINY_ROWS: usize = 96;

/// The form of a file of rows.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    /// JSON Lines.
    Jsonl,
    /// Comma- or tab-separated values.
    Delimited(Delimited),
    /// Parquet.
    Parquet,
}

impl Form {
    /// The first `limit` rows of a file.
    pub(super) fn read(self, path: &Path, columns: &[&str], limit: usize) -> Result<Data, DataError> {
        if let Form::Parquet = self {
            return super::parquet(path, columns, limit);
        }
        let name = path.display().to_string();
        let file = File::open(path).map_err(|e| DataError::Unreadable { file: name.clone(), reason: e.to_string() })?;
        let reader = BufReader::new(file);
        match self {
            Form::Delimited(form) => super::delimited(reader, &name, form, columns, limit),
            _ => super::jsonl(reader, &name, columns, limit),
        }
    }

    fn run(self, cx: &Cx<'_>, file: &str, columns: &[Arc<str>]) -> Result<Data, Failure> {
        let columns: Vec<&str> = columns.iter().map(|c| &**c).collect();
        let limit = if cx.tiny { TINY_ROWS } else { usize::MAX };
        Ok(self.read(&cx.effects.input(file), &columns, limit)?)
    }
}

fn run_jsonl(cx: &Cx<'_>, args: FileArgs) -> Result<Data, Failure> {
    Form::Jsonl.run(cx, &args.file, &args.columns)
}

fn run_csv(cx: &Cx<'_>, args: DelimitedArgs) -> Result<Data, Failure> {
    Form::Delimited(Delimited { tabs: false, header: args.header }).run(cx, &args.file, &args.columns)
}

fn run_tsv(cx: &Cx<'_>, args: DelimitedArgs) -> Result<Data, Failure> {
    Form::Delimited(Delimited { tabs: true, header: args.header }).run(cx, &args.file, &args.columns)
}

fn run_parquet(cx: &Cx<'_>, args: FileArgs) -> Result<Data, Failure> {
    Form::Parquet.run(cx, &args.file, &args.columns)
}

fn run_word_problems(_: &Cx<'_>, args: WordProblemsArgs) -> Result<Data, Failure> {
    let operations = args.operations.iter().map(|o| Operation::parse(o)).collect::<Result<Vec<_>, _>>()?;
    let (inclusive, templates) =
        (|r: RangeConst| r.whole_bounds().0..=r.whole_bounds().1 - 1, args.templates.whole_bounds());
    Ok(super::word_problems(&WordProblems {
        language: Language::parse(&args.language)?,
        operations,
        left: inclusive(args.left),
        right: inclusive(args.right),
        templates: templates.0.max(0) as usize..templates.1.max(0) as usize,
        count: args.count.max(0) as usize,
        seed: args.seed as u64,
    })?)
}

fn run_sentences(_: &Cx<'_>, args: SentencesArgs) -> Result<Data, Failure> {
    let language = Language::parse(&args.language)?;
    Ok(super::sentences(&Sentences { language, count: args.count.max(0) as usize, seed: args.seed as u64 })?)
}

fn run_split(cx: &Cx<'_>, args: SplitArgs) -> Result<Value, Failure> {
    let Some(Const::Record(sizes)) = args.sizes.plain() else {
        return Err(Failure::new("R0504", "split without sizes"));
    };
    let sizes: Vec<(&str, usize)> =
        sizes.iter().map(|(n, v)| (&**n, v.as_int().unwrap_or(0).max(0) as usize)).collect();
    let parts = args.d.split(&fitted(&sizes, args.d.len(), cx.tiny))?;
    Ok(Value::record(parts.into_iter().map(|(name, part)| (name.into(), Value::object(part))).collect()))
}

/// In a tiny run the data are cut, and the parts shrink in proportion; each keeps a row at least.
fn fitted<'n>(sizes: &[(&'n str, usize)], rows: usize, tiny: bool) -> Vec<(&'n str, usize)> {
    let asked: usize = sizes.iter().map(|(_, n)| n).sum();
    if !tiny || asked <= rows {
        return sizes.to_vec();
    }
    sizes.iter().map(|(name, n)| (*name, (n * rows / asked.max(1)).max(1))).collect()
}

fn run_first(_: &Cx<'_>, args: CutArgs) -> Result<Data, Failure> {
    Ok(args.d.first(args.n.max(0) as usize))
}

fn run_last(_: &Cx<'_>, args: CutArgs) -> Result<Data, Failure> {
    Ok(args.d.last(args.n.max(0) as usize))
}

fn run_concat(_: &Cx<'_>, args: ConcatArgs) -> Result<Data, Failure> {
    Ok(args.a.concat(&args.b)?)
}

fn run_mixture(_: &Cx<'_>, args: MixtureArgs) -> Result<Data, Failure> {
    let ends = if &*args.ends == "first" { Ends::First } else { Ends::All };
    Ok(Data::mixture(&args.sources, &args.by, ends, args.seed as u64)?)
}

fn run_columns(_: &Cx<'_>, args: ColumnsArgs) -> Result<Data, Failure> {
    let Some(Const::Record(templates)) = args.templates.plain() else {
        return Err(Failure::new("R0504", "columns without templates"));
    };
    let parsed =
        |(name, text): &(Arc<str>, Const)| Ok((name.clone(), Template::parse(text.as_text().map_or("", |text| text))?));
    let templates = templates.iter().map(parsed).collect::<Result<Vec<_>, DataError>>()?;
    let named: Vec<(&str, Template)> = templates.iter().map(|(name, template)| (&**name, template.clone())).collect();
    Ok(args.d.with_columns(&named)?)
}

impl Object for Data {
    fn kind(&self) -> &'static str {
        "Data"
    }

    fn identity(&self) -> Option<(Key, Option<Fact>)> {
        let fact: Fact = Arc::new(DataFacts::of(self));
        Some((Key(*self.hash().as_bytes()), Some(fact)))
    }

    fn show(&self) -> Const {
        let row = |cells: &[Cell]| {
            Const::Record(
                self.columns().iter().zip(cells).map(|(name, cell)| (name.as_str().into(), plain(cell))).collect(),
            )
        };
        Const::List(self.rows().iter().map(|r| row(r.cells())).collect())
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

fn plain(cell: &Cell) -> Const {
    match cell {
        Cell::Text(text) => Const::Text(text.clone()),
        Cell::Int(i) => Const::Int(*i),
        Cell::Real(r) => Const::Real(*r),
        Cell::Bool(b) => Const::Bool(*b),
        Cell::List(items) => Const::List(items.iter().map(|text| Const::Text(text.clone())).collect()),
        Cell::Chat(messages) => {
            let field = |name: &str, text: &str| (name.into(), Const::Text(text.into()));
            let shown = messages.iter().map(|m| [field("role", &m.role), field("content", &m.content)]);
            Const::List(shown.map(|fields| Const::Record(fields.into())).collect())
        }
    }
}

crate::bind::node!(Data, "Data");

impl From<DataError> for Failure {
    fn from(error: DataError) -> Failure {
        Failure::new(error.code(), error.to_string()).help(error.help())
    }
}

#[cfg(test)]
mod tests {
    use super::fitted;

    #[test]
    fn parts_shrink_in_proportion_only_in_a_tiny_run() {
        let sizes = [("search", 64), ("test", 400)];
        assert_eq!(fitted(&sizes, 96, false), sizes.to_vec());
        assert_eq!(fitted(&sizes, 96, true), vec![("search", 13), ("test", 82)]);
        assert_eq!(fitted(&sizes, 500, true), sizes.to_vec());
    }
}
