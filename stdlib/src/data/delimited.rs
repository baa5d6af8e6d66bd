//! Comma-separated and tab-separated values: one record a line, the first of which may name the columns.
//!
//! CSV is that of RFC 4180: a field that holds a comma, a quote or a line break stands in double quotes, a quote in it is
//! doubled. TSV is IANA's `text/tab-separated-values`: there is no quoting, and a field holds no tab and no line break. Both
//! take LF, CRLF, a byte-order mark, and pass over blank lines.
//!
//! A field that is written as a number is written, such as `42` or `-0.5`, is a number; everything else, `007` and `1.50`
//! among it, is a text. So a template always shows what stands in the file.

use std::io::BufRead;

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use super::error::At;
use super::near::nearest;
use super::{Cell, Data, DataError};

/// What separates the fields, and whether the first record names the columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delimited {
    /// Whether fields are separated by tabs, without quoting, rather than by commas.
    pub tabs: bool,
    /// Whether the first record holds the columns' names.
    pub header: bool,
}

/// Reads the first `limit` rows from `reader`, whose name in messages is `file`.
///
/// With a header, `columns` picks columns by name, in the order asked; without, it names the fields of each record in their
/// order. If `columns` is empty, there must be a header, and all its columns are read.
///
/// # Errors
/// [`DataError::Unreadable`], [`DataError::BadFields`] for a record of another length, a quote that is not closed or bytes
/// that are not UTF-8, each with its line; [`DataError::MissingColumn`] with the header's line, [`DataError::RepeatedColumn`],
/// [`DataError::Empty`].
pub fn delimited(
    reader: impl BufRead,
    file: &str,
    form: Delimited,
    columns: &[&str],
    limit: usize,
) -> Result<Data, DataError> {
    let mut records = Records::new(reader, file, form.tabs);
    let (names, picks) = match form.header {
        true => picked(&mut records, columns)?,
        false if columns.is_empty() => return Err(records.fault(1, "without a header `columns` names the fields")),
        false => (columns.iter().map(|&name| name.to_owned()).collect(), (0..columns.len()).collect::<Vec<_>>()),
    };
    let width = if form.header { records.width } else { Some(names.len()) };
    let mut rows = Vec::new();
    while rows.len() < limit
        && let Some(fields) = records.next()?
    {
        let expected = width.unwrap_or(fields.len());
        if fields.len() != expected {
            let counted = |n| if n == 1 { "1 field".to_owned() } else { format!("{n} fields") };
            let reason = format!("it has {}, not {}", counted(fields.len()), expected);
            return Err(records.fault(records.line, &reason));
        }
        rows.push(picks.iter().filter_map(|&i| fields.get(i)).map(|field| cell(field)).collect());
    }
    if rows.is_empty() {
        return Err(DataError::Empty { file: file.to_owned() });
    }
    Data::new(&names.iter().map(String::as_str).collect::<Vec<_>>(), rows)
}

/// The names of the columns that are read, and their places in a record.
fn picked(records: &mut Records<'_, impl BufRead>, columns: &[&str]) -> Result<(Vec<String>, Vec<usize>), DataError> {
    let Some(header) = records.next()? else { return Err(DataError::Empty { file: records.file.to_owned() }) };
    records.width = Some(header.len());
    if columns.is_empty() {
        let all = (0..header.len()).collect();
        return Ok((header, all));
    }
    let place = |&name: &&str| {
        header.iter().position(|column| column == name).ok_or_else(|| DataError::MissingColumn {
            file: records.file.to_owned(),
            at: At::Line(records.line),
            column: name.to_owned(),
            found: header.clone(),
            suggestion: nearest(name, header.iter().map(String::as_str)),
        })
    };
    let places = columns.iter().map(place).collect::<Result<Vec<_>, _>>()?;
    Ok((columns.iter().map(|&name| name.to_owned()).collect(), places))
}

/// A number where the text is just how that number is written, else a text.
fn cell(field: &str) -> Cell {
    let starts = field.starts_with(|c: char| c.is_ascii_digit() || c == '-');
    if let Some(number) = field.parse::<i64>().ok().filter(|n| starts && n.to_string() == field) {
        return Cell::Int(number);
    }
    match field.parse::<f64>().ok().filter(|x| starts && x.is_finite() && x.to_string() == field) {
        Some(number) => Cell::Real(number),
        None => Cell::from(field),
    }
}

/// The records of a file, one after another.
struct Records<'a, R> {
    reader: R,
    file: &'a str,
    parser: Reader,
    /// What a record's fields hold, one after another, and where each ends.
    text: Vec<u8>,
    ends: Vec<usize>,
    has_begun: bool,
    is_over: bool,
    /// The line on which the last record began, from 1.
    line: usize,
    /// The fields of the header.
    width: Option<usize>,
}

impl<'a, R: BufRead> Records<'a, R> {
    fn new(reader: R, file: &'a str, tabs: bool) -> Records<'a, R> {
        let delimiter = if tabs { b'\t' } else { b',' };
        let parser = ReaderBuilder::new().delimiter(delimiter).quoting(!tabs).build();
        let (text, ends) = (vec![0; 1 << 12], vec![0; 64]);
        Records { reader, file, parser, text, ends, has_begun: false, is_over: false, line: 1, width: None }
    }

    fn fault(&self, line: usize, reason: &str) -> DataError {
        DataError::BadFields { file: self.file.to_owned(), line, reason: reason.to_owned() }
    }

    /// The next record's fields; nothing after the last.
    fn next(&mut self) -> Result<Option<Vec<String>>, DataError> {
        if !self.has_begun {
            self.has_begun = true;
            if self.reader.fill_buf().is_ok_and(|head| head.starts_with("\u{feff}".as_bytes())) {
                self.reader.consume(3);
            }
        }
        let (mut written, mut ended) = (0, 0);
        let mut closes_line = false;
        loop {
            let unreadable =
                |e: std::io::Error| DataError::Unreadable { file: self.file.into(), reason: e.to_string() };
            let input = self.reader.fill_buf().map_err(unreadable)?;
            // A line break after the last record closes it, unless a quote is open.
            let closing = input.is_empty() && !self.is_over;
            let input = if closing { b"\n" } else { input };
            self.is_over |= closing;
            let (result, read, wrote, ends) = self.parser.read_record(
                input,
                self.text.get_mut(written..).unwrap_or_default(),
                self.ends.get_mut(ended..).unwrap_or_default(),
            );
            if read > 0 {
                closes_line = input.get(read - 1) == Some(&b'\n');
            }
            if !closing {
                self.reader.consume(read);
            }
            (written, ended) = (written + wrote, ended + ends);
            match result {
                ReadRecordResult::Record => return self.fields(written, ended, closes_line).map(Some),
                ReadRecordResult::InputEmpty if closing && written + ended > 0 => {
                    let inner = self.text.iter().take(written).filter(|b| **b == b'\n').count();
                    let line = (self.parser.line() as usize).saturating_sub(inner).max(1);
                    return Err(self.fault(line, "a quote is not closed"));
                }
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => self.text.resize(self.text.len() * 2, 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                ReadRecordResult::End => return Ok(None),
            }
        }
    }

    fn fields(&mut self, written: usize, ended: usize, closes_line: bool) -> Result<Vec<String>, DataError> {
        let bytes = self.text.get(..written).unwrap_or_default();
        let inner = bytes.iter().filter(|b| **b == b'\n').count();
        self.line = (self.parser.line() as usize).saturating_sub(inner + usize::from(closes_line)).max(1);
        let mut fields = Vec::with_capacity(ended);
        let mut begin = 0;
        for &end in self.ends.iter().take(ended) {
            match std::str::from_utf8(bytes.get(begin..end).unwrap_or_default()) {
                Ok(field) => fields.push(field.to_owned()),
                Err(_) => {
                    let reason = format!("field {} is not UTF-8 text", fields.len() + 1);
                    return Err(self.fault(self.line, &reason));
                }
            }
            begin = end;
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::BufReader;

    const CSV: Delimited = Delimited { tabs: false, header: true };
    const TSV: Delimited = Delimited { tabs: true, header: false };

    fn csv(text: &str, columns: &[&str]) -> Result<Data, DataError> {
        // A buffer of three bytes: records cross its ends everywhere.
        delimited(BufReader::with_capacity(3, text.as_bytes()), "f", CSV, columns, usize::MAX)
    }

    fn cells(data: &Data) -> Vec<Vec<Cell>> {
        data.rows().iter().map(|row| row.cells().to_vec()).collect()
    }

    #[test]
    fn quotes_line_breaks_marks_and_both_line_ends_are_read() {
        let text = "\u{feff}q,a,note\r\n\"1, \"\"one\"\"\",2,x\r\n\r\n\"two\nlines\",0.5,\"\"\r\nlast,-3,007";
        let data = csv(text, &["a", "q"]).unwrap();
        assert_eq!(data.columns(), ["a", "q"]);
        let expected: Vec<Vec<Cell>> = vec![
            vec![2.into(), "1, \"one\"".into()],
            vec![0.5.into(), "two\nlines".into()],
            vec![(-3).into(), "last".into()],
        ];
        assert_eq!(cells(&data), expected);
        assert_eq!(csv(text, &[]).unwrap().columns(), ["q", "a", "note"]);
        let cut = delimited(text.as_bytes(), "f", CSV, &["note"], 1).unwrap();
        assert_eq!(cells(&cut), [[Cell::from("x")]]);
    }

    #[test]
    fn tabs_know_no_quotes() {
        let data = delimited("a \"b\t1\n\"c\t2".as_bytes(), "f", TSV, &["q", "n"], usize::MAX).unwrap();
        assert_eq!(cells(&data), [[Cell::from("a \"b"), 1.into()], [Cell::from("\"c"), 2.into()]]);
        let unnamed = delimited("a\t1\n".as_bytes(), "f", TSV, &[], 1);
        assert!(matches!(unnamed, Err(DataError::BadFields { line: 1, .. })));
    }

    #[test]
    fn only_what_is_written_as_a_number_is_one() {
        for (field, number) in [("42", true), ("-7", true), ("0.5", true), ("-0.25", true)] {
            assert_eq!(matches!(cell(field), Cell::Text(_)), !number, "{field}");
        }
        for field in ["007", "1.50", "+1", "1e3", "", "inf", "NaN", "-", "1_000", "99999999999999999999.5", " 1"] {
            assert_eq!(cell(field), Cell::from(field));
        }
    }

    #[test]
    fn every_fault_names_its_line() {
        let reason = |text: &str| match csv(text, &[]) {
            Err(DataError::BadFields { line, reason, .. }) => (line, reason),
            other => panic!("{other:?}"),
        };
        assert_eq!(reason("a,b\n1,2\n\n3\n"), (4, "it has 1 field, not 2".to_owned()));
        assert_eq!(reason("a,b\r\n1,\"x\r\ny\"\r\n3,4,5\r\n"), (4, "it has 3 fields, not 2".to_owned()));
        assert_eq!(reason("a,b\n1,2\n3,\"open\n5,6\n"), (3, "a quote is not closed".to_owned()));
        assert_eq!(reason("a,b\n\""), (2, "a quote is not closed".to_owned()));
        let broken = delimited(&b"a,b\n1,2\nx,\xff\n"[..], "f", CSV, &[], 9).unwrap_err();
        assert_eq!(broken.to_string(), "line 3 of `f`: field 2 is not UTF-8 text");
        assert_eq!(csv("a,b\n", &[]), Err(DataError::Empty { file: "f".into() }));
        assert_eq!(csv("", &[]), Err(DataError::Empty { file: "f".into() }));
        assert_eq!(csv("a,a\n1,2\n", &[]), Err(DataError::RepeatedColumn { name: "a".into() }));
        match csv("\nquestion,answer\n1,2\n", &["qestion"]) {
            Err(DataError::MissingColumn { at: At::Line(2), suggestion, .. }) => {
                assert_eq!(suggestion.as_deref(), Some("question"));
            }
            other => panic!("{other:?}"),
        }
    }

    fn quoted(field: &str) -> String {
        format!("\"{}\"", field.replace('"', "\"\""))
    }

    proptest! {
        #[test]
        fn what_is_written_quoted_comes_back(rows in prop::collection::vec(prop::array::uniform2("[a-c\",\r\n ü]{0,6}"), 1..6)) {
            let lines = rows.iter().map(|row| format!("{},{}\n", quoted(&row[0]), quoted(&row[1])));
            let text = "x,y\n".to_owned() + &lines.collect::<String>();
            let read = cells(&csv(&text, &[]).unwrap());
            let wrote: Vec<Vec<Cell>> = rows.iter().map(|row| row.iter().map(|f| Cell::from(f.as_str())).collect()).collect();
            prop_assert_eq!(read, wrote);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), tabs: bool, header: bool) {
            let _ = delimited(&bytes[..], "f", Delimited { tabs, header }, &["a", "b"], usize::MAX);
            let _ = delimited(&bytes[..], "f", Delimited { tabs, header: true }, &[], 3);
        }
    }
}
