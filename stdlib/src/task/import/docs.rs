//! The documents of a data set, from local files.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::text::Doc;
use crate::data::{Cell, Data, Delimited, delimited, parquet};

/// The longest file of JSON, in bytes.
const BYTES: u64 = 1 << 30;

/// The form of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    Csv,
    Parquet,
}

/// The documents of several files, one after another; the error is in words.
pub(super) fn read(form: Form, files: &[PathBuf]) -> Result<Vec<Doc>, String> {
    let mut docs = Vec::new();
    for file in files {
        docs.extend(one(form, file)?);
    }
    match docs.is_empty() {
        true => Err("it has no rows".into()),
        false => Ok(docs),
    }
}

fn one(form: Form, path: &Path) -> Result<Vec<Doc>, String> {
    let name = path.display().to_string();
    let unreadable = |error: std::io::Error| format!("`{name}` cannot be read: {error}");
    let table = match form {
        Form::Json => {
            let mut text = String::new();
            let read = File::open(path).and_then(|file| file.take(BYTES + 1).read_to_string(&mut text));
            read.map_err(unreadable)?;
            if text.len() as u64 > BYTES {
                return Err(format!("`{name}` is longer than {BYTES} bytes"));
            }
            return json(&text).map_err(|why| format!("`{name}`, {why}"));
        }
        Form::Csv => {
            let reader = BufReader::new(File::open(path).map_err(unreadable)?);
            delimited(reader, &name, Delimited { tabs: false, header: true }, &[], usize::MAX)
        }
        Form::Parquet => parquet(path, &[], usize::MAX),
    };
    Ok(docs(&table.map_err(|error| error.to_string())?))
}

/// A list of objects, or an object a line.
fn json(text: &str) -> Result<Vec<Doc>, String> {
    let text = text.trim_start_matches('\u{feff}');
    let object = |(line, value): (usize, Json)| match value {
        Json::Object(doc) => Ok(doc),
        _ => Err(format!("line {line}: not an object")),
    };
    if text.trim_start().starts_with('[') {
        let items: Vec<Json> = serde_json::from_str(text).map_err(|error| error.to_string())?;
        return items.into_iter().map(|item| object((1, item))).collect();
    }
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let value = |(i, line): (usize, &str)| match serde_json::from_str(line) {
        Ok(value) => object((i + 1, value)),
        Err(error) => Err(format!("line {}: {error}", i + 1)),
    };
    lines.map(value).collect()
}

fn docs(data: &Data) -> Vec<Doc> {
    let doc = |cells: &[Cell]| data.columns().iter().cloned().zip(cells.iter().map(value)).collect();
    data.rows().iter().map(|row| doc(row.cells())).collect()
}

fn value(cell: &Cell) -> Json {
    match cell {
        Cell::Text(text) => Json::from(&**text),
        Cell::Int(number) => Json::from(*number),
        Cell::Real(number) => Json::from(*number),
        Cell::Bool(truth) => Json::from(*truth),
        Cell::List(items) => items.iter().map(|item| Json::from(&**item)).collect(),
        Cell::Chat(messages) => serde_json::to_value(&**messages).unwrap_or_default(),
    }
}
