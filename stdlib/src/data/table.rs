//! The table: ordered named columns, rows of scalars, an identity by content.

use std::collections::BTreeSet;
use std::sync::Arc;

use evo_kernels::rng::Stream;

use super::DataError;
use super::near::nearest;
use crate::model::Message;

/// One value of a table.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// A text.
    Text(Arc<str>),
    /// A whole number.
    Int(i64),
    /// A real number.
    Real(f64),
    /// A truth value.
    Bool(bool),
    /// A list of texts, such as the choices of a question.
    List(Arc<[Arc<str>]>),
    /// A conversation: messages in order.
    Chat(Arc<[Message]>),
}

impl std::fmt::Display for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Cell::Text(text) => f.write_str(text),
            Cell::Int(value) => write!(f, "{value}"),
            Cell::Real(value) => write!(f, "{value}"),
            Cell::Bool(value) => write!(f, "{value}"),
            Cell::List(items) => f.debug_list().entries(items.iter()).finish(),
            Cell::Chat(messages) => f.write_str(&serde_json::to_string(&**messages).unwrap_or_default()),
        }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Cell {
        Cell::Text(text.into())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Cell {
        Cell::Text(text.into())
    }
}

impl From<i64> for Cell {
    fn from(value: i64) -> Cell {
        Cell::Int(value)
    }
}

impl From<f64> for Cell {
    fn from(value: f64) -> Cell {
        Cell::Real(value)
    }
}

impl From<bool> for Cell {
    fn from(value: bool) -> Cell {
        Cell::Bool(value)
    }
}

/// One row: its cells in column order, and the hash of them. Shared between all tables that hold it.
#[derive(Debug)]
pub struct Row {
    cells: Box<[Cell]>,
    hash: blake3::Hash,
}

impl Row {
    fn new(cells: Vec<Cell>) -> Row {
        let mut hasher = blake3::Hasher::new();
        for cell in &cells {
            match cell {
                Cell::Text(text) => {
                    hasher.update(b"t").update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes())
                }
                Cell::Int(value) => hasher.update(b"i").update(&value.to_le_bytes()),
                Cell::Real(value) => hasher.update(b"r").update(&value.to_bits().to_le_bytes()),
                Cell::Bool(value) => hasher.update(b"b").update(&[u8::from(*value)]),
                Cell::Chat(messages) => messages
                    .iter()
                    .flat_map(|m| [&m.role, &m.content])
                    .fold(hasher.update(b"c").update(&(messages.len() as u64).to_le_bytes()), |hasher, text| {
                        hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes())
                    }),
                Cell::List(items) => items
                    .iter()
                    .fold(hasher.update(b"l").update(&(items.len() as u64).to_le_bytes()), |hasher, text| {
                        hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes())
                    }),
            };
        }
        Row { cells: cells.into(), hash: hasher.finalize() }
    }

    /// The cells, in column order.
    #[must_use]
    pub fn cells(&self) -> &[Cell] {
        &self.cells
    }
}

/// An immutable table. Cloning and cutting share the rows.
#[derive(Debug, Clone)]
pub struct Data {
    columns: Arc<[String]>,
    rows: Arc<[Arc<Row>]>,
}

impl Data {
    /// A table of `rows`, each with one cell a column.
    ///
    /// # Errors
    /// [`DataError::RepeatedColumn`], [`DataError::RowLength`].
    pub fn new(columns: &[&str], rows: Vec<Vec<Cell>>) -> Result<Data, DataError> {
        let columns: Vec<String> = columns.iter().map(|&name| name.to_owned()).collect();
        if let Some((_, name)) =
            columns.iter().enumerate().find(|(i, name)| columns.iter().take(*i).any(|c| c == *name))
        {
            return Err(DataError::RepeatedColumn { name: name.clone() });
        }
        if let Some((row, cells)) = rows.iter().enumerate().find(|(_, cells)| cells.len() != columns.len()) {
            return Err(DataError::RowLength { row, found: cells.len(), expected: columns.len() });
        }
        let rows = rows.into_iter().map(|cells| Arc::new(Row::new(cells))).collect();
        Ok(Data { columns: columns.into(), rows })
    }

    /// The columns' names, in order.
    #[must_use]
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The rows, in order.
    #[must_use]
    pub fn rows(&self) -> &[Arc<Row>] {
        &self.rows
    }

    /// The number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The position of column `name`.
    ///
    /// # Errors
    /// [`DataError::UnknownColumn`] with the nearest name.
    pub fn column_index(&self, name: &str) -> Result<usize, DataError> {
        self.columns.iter().position(|column| column == name).ok_or_else(|| DataError::UnknownColumn {
            name: name.to_owned(),
            columns: self.columns.to_vec(),
            suggestion: nearest(name, self.columns.iter().map(String::as_str)),
        })
    }

    /// The cells of column `name`, one a row.
    ///
    /// # Errors
    /// [`DataError::UnknownColumn`].
    pub fn column(&self, name: &str) -> Result<Vec<&Cell>, DataError> {
        let index = self.column_index(name)?;
        Ok(self.rows.iter().filter_map(|row| row.cells.get(index)).collect())
    }

    /// The columns whose first cell is a conversation.
    #[must_use]
    pub fn chats(&self) -> Vec<String> {
        let first = self.rows.first().map(|row| row.cells()).unwrap_or_default();
        let is_chat = |(name, cell): (&String, &Cell)| matches!(cell, Cell::Chat(_)).then(|| name.clone());
        self.columns.iter().zip(first).filter_map(is_chat).collect()
    }

    /// The bytes of the longest cell of each column, written as templates write it.
    #[must_use]
    pub fn longest(&self) -> Vec<usize> {
        let mut longest = vec![0; self.columns.len()];
        for row in self.rows.iter() {
            for (longest, cell) in longest.iter_mut().zip(&row.cells) {
                let len = if let Cell::Text(text) = cell { text.len() } else { cell.to_string().len() };
                *longest = len.max(*longest);
            }
        }
        longest
    }

    /// The hash of the columns' names and all rows in order: two tables with equal content have one hash.
    #[must_use]
    pub fn hash(&self) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(self.columns.len() as u64).to_le_bytes());
        for name in self.columns.iter() {
            hasher.update(&(name.len() as u64).to_le_bytes()).update(name.as_bytes());
        }
        for row in self.rows.iter() {
            hasher.update(row.hash.as_bytes());
        }
        hasher.finalize()
    }

    pub(super) fn with_rows(&self, rows: impl IntoIterator<Item = Arc<Row>>) -> Data {
        Data { columns: Arc::clone(&self.columns), rows: rows.into_iter().collect() }
    }

    /// The first `n` rows; all of them if there are fewer.
    #[must_use]
    pub fn first(&self, n: usize) -> Data {
        self.with_rows(self.rows.iter().take(n).cloned())
    }

    /// The last `n` rows, in their order; all of them if there are fewer.
    #[must_use]
    pub fn last(&self, n: usize) -> Data {
        self.with_rows(self.rows.iter().skip(self.len().saturating_sub(n)).cloned())
    }

    /// The rows of this table, then those of `other`, whose columns must be the same in the same order.
    ///
    /// # Errors
    /// [`DataError::UnlikeColumns`].
    pub fn concat(&self, other: &Data) -> Result<Data, DataError> {
        if self.columns != other.columns {
            return Err(DataError::UnlikeColumns { left: self.columns.to_vec(), right: other.columns.to_vec() });
        }
        Ok(self.with_rows(self.rows.iter().chain(other.rows.iter()).cloned()))
    }

    /// The rows in an order drawn from `seed` (Fisher and Yates).
    #[must_use]
    pub fn shuffle(&self, seed: u64) -> Data {
        let order = Stream::from_seed(seed).child("data.shuffle").permutation(self.len());
        self.with_rows(order.into_iter().filter_map(|index| self.rows.get(index).cloned()))
    }

    /// Named parts of the given sizes, in declared order, from the rows in their plain order (shuffle first if the
    /// order carries meaning; the generators' rows are already drawn at random).
    ///
    /// No row's content is in two parts: a later part passes over rows equal to one that an earlier part took, so
    /// what selects and what reports stay apart even if a file repeats itself. Within a part repeats stay. Rows that
    /// no part asks for are left out.
    ///
    /// # Errors
    /// [`DataError::TooFewRows`] if a part cannot be filled.
    pub fn split(&self, parts: &[(&str, usize)]) -> Result<Vec<(String, Data)>, DataError> {
        let mut taken: BTreeSet<[u8; 32]> = BTreeSet::new();
        let mut rest = self.rows.iter();
        let mut out = Vec::with_capacity(parts.len());
        for &(name, size) in parts {
            let rows: Vec<Arc<Row>> =
                rest.by_ref().filter(|row| !taken.contains(row.hash.as_bytes())).take(size).cloned().collect();
            if rows.len() < size {
                return Err(DataError::TooFewRows { part: Some(name.to_owned()), asked: size, have: rows.len() });
            }
            taken.extend(rows.iter().map(|row| *row.hash.as_bytes()));
            out.push((name.to_owned(), self.with_rows(rows)));
        }
        Ok(out)
    }
}

impl PartialEq for Data {
    fn eq(&self, other: &Data) -> bool {
        self.hash() == other.hash()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(values: &[i64]) -> Data {
        Data::new(&["n"], values.iter().map(|&n| vec![Cell::Int(n)]).collect()).unwrap()
    }

    fn values(data: &Data) -> Vec<String> {
        data.column("n").unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn cutting_and_joining_give_back_the_table() {
        let all = numbers(&[1, 2, 3, 4, 5]);
        assert_eq!(all.first(2).concat(&all.last(3)).unwrap(), all);
        assert_eq!(all.first(9), all);
        assert_eq!(all.last(9), all);
        assert_ne!(all.first(4), all);
        assert!(all.first(0).is_empty());
    }

    #[test]
    fn identity_is_content_not_history() {
        assert_eq!(numbers(&[1, 2]).hash(), numbers(&[1, 2, 3]).first(2).hash());
        assert_ne!(numbers(&[1, 2]).hash(), numbers(&[2, 1]).hash());
        let text = Data::new(&["n"], vec![vec!["1".into()]]).unwrap();
        assert_ne!(text.hash(), numbers(&[1]).hash());
        let split = Data::new(&["a", "b"], vec![vec!["x".into(), "yz".into()]]).unwrap();
        let moved = Data::new(&["a", "b"], vec![vec!["xy".into(), "z".into()]]).unwrap();
        assert_ne!(split.hash(), moved.hash());
    }

    #[test]
    fn parts_share_no_content() {
        let parts = numbers(&[1, 1, 2, 1, 2, 3, 4]).split(&[("a", 3), ("b", 2)]).unwrap();
        assert_eq!(values(&parts[0].1), ["1", "1", "2"]);
        assert_eq!(values(&parts[1].1), ["3", "4"]);
        let short = numbers(&[1, 1, 2, 1]).split(&[("a", 3), ("b", 1)]);
        assert_eq!(short, Err(DataError::TooFewRows { part: Some("b".to_owned()), asked: 1, have: 0 }));
    }

    #[test]
    fn a_shuffle_is_a_permutation_fixed_by_its_seed() {
        let all = numbers(&(0..100).collect::<Vec<_>>());
        assert_eq!(all.shuffle(1), all.shuffle(1));
        assert_ne!(all.shuffle(1), all.shuffle(2));
        let mut sorted: Vec<usize> = values(&all.shuffle(1)).iter().map(|v| v.parse().unwrap()).collect();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn faults_are_named() {
        let data = Data::new(&["question", "answer"], vec![vec!["q".into(), 1.into()]]).unwrap();
        match data.column("anwser") {
            Err(DataError::UnknownColumn { suggestion, .. }) => {
                assert_eq!(suggestion.as_deref(), Some("answer"))
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(data.concat(&numbers(&[1])), Err(DataError::UnlikeColumns { .. })));
        assert!(matches!(Data::new(&["a", "a"], vec![]), Err(DataError::RepeatedColumn { .. })));
        let ragged = Data::new(&["a"], vec![vec![], vec![]]);
        assert_eq!(ragged, Err(DataError::RowLength { row: 0, found: 0, expected: 1 }));
    }
}
