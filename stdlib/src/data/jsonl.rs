//! JSON Lines: one object a line (jsonlines.org).

use std::io::BufRead;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::error::At;
use super::near::nearest;
use super::{Cell, Data, DataError};
use crate::model::Message;

/// Reads the first `limit` rows from `reader`, whose name in messages is `file`.
///
/// Each line is a JSON object; blank lines are skipped, fields that `columns` does not name are ignored. If `columns`
/// is empty, the first line's fields are the columns. Whole numbers within 64 bits are ints, other numbers reals; lists must
/// be of texts, or of messages: objects with the texts `role` and `content`.
///
/// # Errors
/// [`DataError::Unreadable`], [`DataError::BadJson`], [`DataError::MissingColumn`], [`DataError::NotScalar`], each with its
/// line; [`DataError::Empty`].
pub fn jsonl(reader: impl BufRead, file: &str, columns: &[&str], limit: usize) -> Result<Data, DataError> {
    let mut names: Vec<String> = columns.iter().map(|&name| name.to_owned()).collect();
    let mut rows = Vec::new();
    for (index, line) in reader.lines().enumerate() {
        if rows.len() == limit {
            break;
        }
        let text = line.map_err(|e| DataError::Unreadable { file: file.to_owned(), reason: e.to_string() })?;
        let text = text.trim_start_matches('\u{feff}').trim();
        if text.is_empty() {
            continue;
        }
        let place = Place { file, line: index + 1 };
        let object = place.object(text)?;
        if names.is_empty() {
            names = object.keys().cloned().collect();
        }
        rows.push(names.iter().map(|name| place.cell(&object, name)).collect::<Result<_, _>>()?);
    }
    if rows.is_empty() {
        return Err(DataError::Empty { file: file.to_owned() });
    }
    Data::new(&names.iter().map(String::as_str).collect::<Vec<_>>(), rows)
}

/// A line of a file, for messages.
struct Place<'a> {
    file: &'a str,
    line: usize,
}

impl Place<'_> {
    fn object(&self, text: &str) -> Result<Map<String, Value>, DataError> {
        let fault = |reason| DataError::BadJson { file: self.file.to_owned(), line: self.line, reason };
        match serde_json::from_str(text) {
            Ok(Value::Object(object)) => Ok(object),
            Ok(other) => Err(fault(format!("it is {}", kind(&other)))),
            Err(e) => Err(fault(format!("{e}").replace("line 1 ", ""))),
        }
    }

    fn cell(&self, object: &Map<String, Value>, name: &str) -> Result<Cell, DataError> {
        let Some(value) = object.get(name) else {
            return Err(DataError::MissingColumn {
                file: self.file.to_owned(),
                at: At::Line(self.line),
                column: name.to_owned(),
                found: object.keys().cloned().collect(),
                suggestion: nearest(name, object.keys().map(String::as_str)),
            });
        };
        let number = |n: &serde_json::Number| n.as_i64().map(Cell::Int).or(n.as_f64().map(Cell::Real));
        match value {
            Value::String(text) => Some(Cell::from(text.as_str())),
            Value::Bool(value) => Some(Cell::Bool(*value)),
            Value::Number(n) => number(n),
            Value::Array(items) => texts(items).map(Cell::List).or_else(|| chat(items).map(Cell::Chat)),
            _ => None,
        }
        .ok_or_else(|| DataError::NotScalar {
            file: self.file.to_owned(),
            at: At::Line(self.line),
            column: name.to_owned(),
            found: kind(value),
        })
    }
}

/// The items, if all are texts.
fn texts(items: &[Value]) -> Option<Arc<[Arc<str>]>> {
    items.iter().map(|item| item.as_str().map(Arc::from)).collect()
}

/// The messages, if all items are some.
fn chat(items: &[Value]) -> Option<Arc<[Message]>> {
    let text = |item: &Value, name: &str| Some(item.get(name)?.as_str()?.to_owned());
    items.iter().map(|item| Some(Message { role: text(item, "role")?, content: text(item, "content")? })).collect()
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a bool",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list of what is no text and no message",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "{\"q\": \"1+1\", \"a\": 2, \"x\": [1]}\n\n{\"a\": 0.5, \"q\": \"½\"}\r\n";

    #[test]
    fn named_columns_are_read_in_the_order_asked() {
        let data = jsonl(TWO.as_bytes(), "f", &["a", "q"], usize::MAX).unwrap();
        assert_eq!(data.columns(), ["a", "q"]);
        assert_eq!(data.rows()[0].cells(), [Cell::Int(2), "1+1".into()]);
        assert_eq!(data.rows()[1].cells(), [Cell::Real(0.5), "½".into()]);
    }

    #[test]
    fn a_list_of_texts_is_a_value() {
        let text = "{\"choices\": [\"a\", \"b\\n\"]}\n{\"choices\": []}\n";
        let data = jsonl(text.as_bytes(), "f", &[], 9).unwrap();
        assert_eq!(data.rows()[0].cells()[0].to_string(), r#"["a", "b\n"]"#);
        assert_eq!(data.rows()[1].cells(), [Cell::List([].into())]);
        assert!(matches!(jsonl(TWO.as_bytes(), "f", &["x"], 9), Err(DataError::NotScalar { at: At::Line(1), .. })));
    }

    #[test]
    fn a_head_reads_no_further_than_asked() {
        let text = "{\"q\": 1}\n{\"q\": tru\n";
        assert_eq!(jsonl(text.as_bytes(), "f", &[], 1).unwrap().len(), 1);
        assert!(matches!(jsonl(text.as_bytes(), "f", &[], 2), Err(DataError::BadJson { line: 2, .. })));
    }

    #[test]
    fn every_fault_names_its_line() {
        let fault = |text: &str| jsonl(text.as_bytes(), "f", &["question"], 9).unwrap_err();
        assert_eq!(fault(" \n"), DataError::Empty { file: "f".to_owned() });
        assert!(matches!(fault("\n[1]"), DataError::BadJson { line: 2, .. }));
        assert!(matches!(fault("{\"question\": null}"), DataError::NotScalar { at: At::Line(1), found: "null", .. }));
        match fault("{\"question\": 1}\n{\"questin\": 2}") {
            DataError::MissingColumn { at: At::Line(2), suggestion, .. } => {
                assert_eq!(suggestion.as_deref(), Some("questin"))
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(jsonl(&b"\xff\n"[..], "f", &[], 9), Err(DataError::Unreadable { .. })));
    }
}
