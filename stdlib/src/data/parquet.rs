//! Apache Parquet (parquet.apache.org): columns in compressed pages, as datasets are published.
//!
//! Texts, whole numbers, reals and bools are read as such, a list of texts as a list. What a table cannot hold (bytes, times,
//! decimals, maps, records, lists of anything else, a null) is refused where a column of it is asked for. A 32-bit real is the
//! shortest decimal that rounds to it, as other tools print it.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, List, ListAccessor, Row};
use parquet::schema::types::Type;

use super::error::At;
use super::near::nearest;
use super::{Cell, Data, DataError};
use crate::model::Message;

/// Reads the first `limit` rows of a file. Columns that `columns` does not name are not decoded; if it is empty, all are read.
///
/// A damaged file is an error, however it is damaged: the reader's own panics are caught, and sizes that the footer states are
/// held against the file's before anything is read by them.
///
/// # Errors
/// [`DataError::Unreadable`], [`DataError::BadParquet`], [`DataError::NotScalar`] with its row, [`DataError::MissingColumn`],
/// [`DataError::Empty`].
pub fn parquet(path: &Path, columns: &[&str], limit: usize) -> Result<Data, DataError> {
    let source = Source { file: path.display().to_string() };
    let file =
        File::open(path).map_err(|e| DataError::Unreadable { file: source.file.clone(), reason: e.to_string() })?;
    let read = catch_unwind(AssertUnwindSafe(|| source.read(file, columns, limit)));
    read.unwrap_or_else(|_| Err(source.fault("its pages do not hold together")))
}

/// The messages, if all items of a list are some: groups with the texts `role` and `content`.
fn chat(list: &List) -> Option<Arc<[Message]>> {
    let text = |group: &Row, name: &str| match group.get_column_iter().find(|(column, _)| *column == name) {
        Some((_, Field::Str(text))) => Some(text.clone()),
        _ => None,
    };
    let message = |i| {
        let group = list.get_group(i).ok()?;
        Some(Message { role: text(group, "role")?, content: text(group, "content")? })
    };
    (0..list.len()).map(message).collect()
}

struct Source {
    file: String,
}

impl Source {
    fn fault(&self, reason: impl Into<String>) -> DataError {
        DataError::BadParquet { file: self.file.clone(), reason: reason.into() }
    }

    /// What the format's reader says, as one sentence without its own prefixes.
    fn refused(&self, error: &ParquetError) -> DataError {
        let text = error.to_string();
        let text = text.trim_start_matches("Parquet error: ").trim_start_matches("External: ");
        self.fault(text.lines().next().unwrap_or_default())
    }

    fn read(&self, file: File, columns: &[&str], limit: usize) -> Result<Data, DataError> {
        let length = file.metadata().map_or(0, |data| data.len());
        let reader = SerializedFileReader::new(file).map_err(|e| self.refused(&e))?;
        self.check_sizes(reader.metadata(), length)?;
        let schema = reader.metadata().file_metadata().schema();
        let chosen = self.chosen(schema, columns)?;
        let names: Vec<&str> = chosen.iter().map(|field| field.name()).collect();
        // The reader yields columns in the order of the schema; cells are put in the order asked.
        let in_schema = schema.get_fields().iter().filter(|field| names.contains(&field.name())).cloned().collect();
        let projection = Type::group_type_builder(schema.name()).with_fields(in_schema).build();
        let projection = projection.map_err(|e| self.refused(&e))?;
        let found = reader.get_row_iter(Some(projection)).map_err(|e| self.refused(&e))?;
        let mut rows = Vec::new();
        for (index, row) in found.take(limit).enumerate() {
            let row = row.map_err(|e| self.refused(&e))?;
            let cell = |name: &&str| {
                let value = row.get_column_iter().find(|(column, _)| column == name).map(|(_, value)| value);
                self.cell(index, name, value.unwrap_or(&Field::Null))
            };
            rows.push(names.iter().map(cell).collect::<Result<Vec<_>, _>>()?);
        }
        if rows.is_empty() {
            return Err(DataError::Empty { file: self.file.clone() });
        }
        Data::new(&names, rows)
    }

    /// Every column's bytes lie within the file, and counts are counts.
    fn check_sizes(&self, metadata: &ParquetMetaData, length: u64) -> Result<(), DataError> {
        for group in metadata.row_groups() {
            for column in group.columns() {
                let starts = [Some(column.data_page_offset()), column.dictionary_page_offset()];
                let begin = starts.into_iter().flatten().min().and_then(|at| u64::try_from(at).ok());
                let size = u64::try_from(column.compressed_size()).ok();
                let end = begin.zip(size).and_then(|(begin, size)| begin.checked_add(size));
                if end.is_none_or(|end| end > length) || column.num_values() < 0 || group.num_rows() < 0 {
                    return Err(self.fault(format!(
                        "its footer places column `{}` outside the file's {length} bytes",
                        column.column_path()
                    )));
                }
            }
        }
        Ok(())
    }

    fn chosen<'s>(&self, schema: &'s Type, columns: &[&str]) -> Result<Vec<&'s Arc<Type>>, DataError> {
        let fields = schema.get_fields();
        if columns.is_empty() {
            return Ok(fields.iter().collect());
        }
        let find = |&name: &&str| {
            fields.iter().find(|field| field.name() == name).ok_or_else(|| DataError::MissingColumn {
                file: self.file.clone(),
                at: At::Whole,
                column: name.to_owned(),
                found: fields.iter().map(|field| field.name().to_owned()).collect(),
                suggestion: nearest(name, fields.iter().map(|field| field.name())),
            })
        };
        columns.iter().map(find).collect()
    }

    fn cell(&self, row: usize, column: &str, value: &Field) -> Result<Cell, DataError> {
        let refused = |found| DataError::NotScalar {
            file: self.file.clone(),
            at: At::Row(row + 1),
            column: column.to_owned(),
            found,
        };
        Ok(match value {
            Field::Str(text) => Cell::from(text.as_str()),
            Field::Bool(value) => Cell::Bool(*value),
            Field::Byte(n) => Cell::Int((*n).into()),
            Field::Short(n) => Cell::Int((*n).into()),
            Field::Int(n) => Cell::Int((*n).into()),
            Field::Long(n) => Cell::Int(*n),
            Field::UByte(n) => Cell::Int((*n).into()),
            Field::UShort(n) => Cell::Int((*n).into()),
            Field::UInt(n) => Cell::Int((*n).into()),
            Field::ULong(n) => i64::try_from(*n).map_or(Cell::Real(*n as f64), Cell::Int),
            Field::Float16(x) => Cell::Real(f64::from(x.to_f32())),
            Field::Float(x) => Cell::Real(x.to_string().parse().unwrap_or(f64::from(*x))),
            Field::Double(x) => Cell::Real(*x),
            Field::ListInternal(list) => {
                let texts = (0..list.len()).map(|i| list.get_string(i).map(|text| Arc::from(text.as_str())));
                let texts: Result<Vec<Arc<str>>, _> = texts.collect();
                match texts {
                    Ok(texts) => Cell::List(texts.into()),
                    Err(_) => {
                        Cell::Chat(chat(list).ok_or_else(|| refused("a list of what is no text and no message"))?)
                    }
                }
            }
            Field::Null => return Err(refused("null")),
            Field::Bytes(_) => return Err(refused("bytes")),
            Field::Decimal(_) => return Err(refused("a decimal")),
            Field::Group(_) => return Err(refused("an object")),
            Field::MapInternal(_) => return Err(refused("a map")),
            _ => return Err(refused("a time")),
        })
    }
}
