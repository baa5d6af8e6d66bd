//! Plain data that leaves a run: printed values and tables, params as they were resolved, numbers for a host program.

use indexmap::{IndexMap, IndexSet};
use serde::{Deserialize, Serialize};

/// A value without models, tensors or closures: what can be printed, and what JSON can say.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Datum {
    /// Nothing there.
    #[default]
    Missing,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A real number; JSON has no word for one that is not finite, so that it becomes `null`.
    Real(f64),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Datum>),
    /// Named fields, in their order.
    Record(IndexMap<String, Datum>),
}

impl From<f64> for Datum {
    fn from(value: f64) -> Datum {
        Datum::Real(value)
    }
}

impl From<i64> for Datum {
    fn from(value: i64) -> Datum {
        Datum::Int(value)
    }
}

impl From<bool> for Datum {
    fn from(value: bool) -> Datum {
        Datum::Bool(value)
    }
}

impl From<&str> for Datum {
    fn from(value: &str) -> Datum {
        Datum::Text(value.to_owned())
    }
}

impl<T: Into<Datum>> From<Vec<T>> for Datum {
    fn from(values: Vec<T>) -> Datum {
        Datum::List(values.into_iter().map(Into::into).collect())
    }
}

impl<K: Into<String>, V: Into<Datum>> FromIterator<(K, V)> for Datum {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(fields: I) -> Datum {
        Datum::Record(fields.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl Datum {
    /// Whether it is one cell by nature: not a list and not a record.
    pub fn is_scalar(&self) -> bool {
        !matches!(self, Datum::List(_) | Datum::Record(_))
    }

    /// Its entries by column name, if it spreads over columns: the fields of a record, or the items of a short list.
    fn spread(&self) -> Option<Vec<(String, &Datum)>> {
        match self {
            Datum::Record(fields) => Some(fields.iter().map(|(name, value)| (name.clone(), value)).collect()),
            Datum::List(items) if items.len() <= Table::WIDEST_LIST && items.iter().all(Datum::is_scalar) => {
                Some(items.iter().enumerate().map(|(i, value)| (format!("[{i}]"), value)).collect())
            }
            _ => None,
        }
    }
}

/// Rows under named columns.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// A line above the table, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The columns' names.
    pub columns: Vec<String>,
    /// The rows, each as long as `columns`.
    pub rows: Vec<Vec<Datum>>,
}

impl Table {
    /// A list with more items than this stays in one cell.
    pub const WIDEST_LIST: usize = 12;

    /// Lays a value out as a table.
    ///
    /// A record gives a row for each field, named in the first column; a list of records a row for each item; any other
    /// list a row for each item beside its index; a plain value one cell. Within a row, a record's fields and a short
    /// list's items get a column each.
    pub fn of(value: &Datum) -> Table {
        match value {
            Datum::Record(fields) => Table::named("name", fields.iter().map(|(k, v)| (Datum::Text(k.clone()), v))),
            Datum::List(items) if !items.is_empty() && items.iter().all(|i| matches!(i, Datum::Record(_))) => {
                Table::of_records(items)
            }
            Datum::List(items) => {
                Table::named("index", items.iter().enumerate().map(|(i, v)| (Datum::Int(i as i64), v)))
            }
            plain => Table { title: None, columns: vec!["value".into()], rows: vec![vec![plain.clone()]] },
        }
    }

    /// The same table under a title.
    pub fn titled(self, title: impl Into<String>) -> Table {
        Table { title: Some(title.into()), ..self }
    }

    fn of_records(items: &[Datum]) -> Table {
        let rows: Vec<Vec<(String, &Datum)>> = items.iter().map(|item| item.spread().unwrap_or_default()).collect();
        let columns = union(&rows);
        let rows = rows.iter().map(|row| columns.iter().map(|column| entry(row, column)).collect()).collect();
        Table { title: None, columns: columns.into_iter().collect(), rows }
    }

    fn named<'a>(first: &str, entries: impl Iterator<Item = (Datum, &'a Datum)>) -> Table {
        let rows: Vec<(Datum, Vec<(String, &Datum)>)> = entries
            .map(|(label, value)| (label, value.spread().unwrap_or_else(|| vec![("value".into(), value)])))
            .collect();
        let columns = union(rows.iter().map(|(_, row)| row));
        let mut names = vec![first.to_owned()];
        names.extend(columns.iter().cloned());
        let rows = rows
            .into_iter()
            .map(|(label, row)| std::iter::once(label).chain(columns.iter().map(|c| entry(&row, c))).collect())
            .collect();
        Table { title: None, columns: names, rows }
    }
}

fn union<'a>(rows: impl IntoIterator<Item = &'a Vec<(String, &'a Datum)>>) -> IndexSet<String> {
    rows.into_iter().flatten().map(|(name, _)| name.clone()).collect()
}

fn entry(row: &[(String, &Datum)], column: &str) -> Datum {
    row.iter().find(|(name, _)| name == column).map_or(Datum::Missing, |(_, value)| (*value).clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_numbers_is_a_row_each() {
        let table = Table::of(&[("base", 0.25), ("evolved", 0.5)].into_iter().collect());
        assert_eq!(table.columns, ["name", "value"]);
        assert_eq!(table.rows[1], [Datum::from("evolved"), Datum::Real(0.5)]);
    }

    #[test]
    fn lists_and_records_within_a_row_become_columns() {
        let coder: Datum = [("sql", 0.1), ("shell", 0.2)].into_iter().collect();
        let dba: Datum = [("shell", 0.4), ("coding", 0.3)].into_iter().collect();
        let table = Table::of(&[("coder", coder), ("dba", dba)].into_iter().collect());
        assert_eq!(table.columns, ["name", "sql", "shell", "coding"]);
        assert_eq!(table.rows[0], ["coder".into(), 0.1.into(), 0.2.into(), Datum::Missing]);
        assert_eq!(table.rows[1], ["dba".into(), Datum::Missing, 0.4.into(), 0.3.into()]);
        let table = Table::of(&[("seeds", vec![1.0, 2.0])].into_iter().collect());
        assert_eq!(table.columns, ["name", "[0]", "[1]"]);
    }

    #[test]
    fn a_long_list_stays_in_one_cell() {
        let table = Table::of(&[("history", vec![0.0; 40])].into_iter().collect());
        assert_eq!(table.columns, ["name", "value"]);
    }

    #[test]
    fn a_list_of_records_is_a_row_each() {
        let rows: Vec<Datum> =
            (0..3_i64).map(|i| [("rank", Datum::Int(i)), ("score", Datum::Real(0.5))].into_iter().collect()).collect();
        let table = Table::of(&Datum::List(rows));
        assert_eq!(table.columns, ["rank", "score"]);
        assert_eq!(table.rows.len(), 3);
    }

    #[test]
    fn data_comes_back_from_json_with_its_types() {
        let datum: Datum =
            [("n", Datum::Int(1)), ("x", Datum::Real(1.0)), ("s", "text".into()), ("none", Datum::Missing)]
                .into_iter()
                .collect();
        let json = serde_json::to_string(&datum).unwrap();
        assert_eq!(serde_json::from_str::<Datum>(&json).unwrap(), datum, "{json}");
    }
}
