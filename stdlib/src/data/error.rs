//! What can be wrong with data, said so that the caller can place it.

/// Which part of a file a fault is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// A line, counted from 1.
    Line(usize),
    /// A row, counted from 1, of a file that has no lines.
    Row(usize),
    /// The file as a whole.
    Whole,
}

impl std::fmt::Display for At {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            At::Line(line) => write!(f, "line {line} of "),
            At::Row(row) => write!(f, "row {row} of "),
            At::Whole => Ok(()),
        }
    }
}

/// A fault in a table, a file of rows, a generator's arguments or a template.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DataError {
    /// A column was asked for that the table does not have.
    #[error("there is no column `{name}`")]
    UnknownColumn {
        /// The name asked for.
        name: String,
        /// The columns there are, in order.
        columns: Vec<String>,
        /// The nearest of them, if one is near enough to be a slip.
        suggestion: Option<String>,
    },
    /// Two columns of one name.
    #[error("column `{name}` is named twice")]
    RepeatedColumn {
        /// The name.
        name: String,
    },
    /// A row has more or fewer cells than the table has columns.
    #[error("row {row} has {found} values, the table has {expected} columns")]
    RowLength {
        /// The row, counted from 0.
        row: usize,
        /// Its number of cells.
        found: usize,
        /// The number of columns.
        expected: usize,
    },
    /// The file holds no row.
    #[error("`{file}` holds no rows")]
    Empty {
        /// The file.
        file: String,
    },
    /// The file could not be read.
    #[error("cannot read `{file}`: {reason}")]
    Unreadable {
        /// The file.
        file: String,
        /// The operating system's reason.
        reason: String,
    },
    /// A line is not a JSON object.
    #[error("line {line} of `{file}` is not a JSON object: {reason}")]
    BadJson {
        /// The file.
        file: String,
        /// The line, counted from 1.
        line: usize,
        /// What the parser found.
        reason: String,
    },
    /// A record of delimited text is not one.
    #[error("line {line} of `{file}`: {reason}")]
    BadFields {
        /// The file.
        file: String,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A file is not Parquet, or not one that can be read.
    #[error("`{file}` cannot be read as Parquet: {reason}")]
    BadParquet {
        /// The file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A line, or a whole file, lacks a column.
    #[error("{at}`{file}` has no `{column}`")]
    MissingColumn {
        /// The file.
        file: String,
        /// Where.
        at: At,
        /// The column.
        column: String,
        /// What there is instead.
        found: Vec<String>,
        /// The nearest of those.
        suggestion: Option<String>,
    },
    /// A value is an object, null, or a list of what is no text.
    #[error("`{column}` in {at}`{file}` is {found}, not a text, a number, a bool, a list of texts or a conversation")]
    NotScalar {
        /// The file.
        file: String,
        /// Where.
        at: At,
        /// The column.
        column: String,
        /// What it is: "an object", "null".
        found: &'static str,
    },
    /// More rows were asked for than there are.
    #[error("{asked} rows were asked for{of}, there are {have}", of = part_of(part))]
    TooFewRows {
        /// The part of a split, or nothing.
        part: Option<String>,
        /// Rows asked for.
        asked: usize,
        /// Rows that were left for it.
        have: usize,
    },
    /// Tables with unlike columns cannot be joined.
    #[error("tables with unlike columns cannot be joined: {left:?} and {right:?}")]
    UnlikeColumns {
        /// The first table's columns.
        left: Vec<String>,
        /// The columns that differ from them.
        right: Vec<String>,
    },
    /// A template's text does not parse.
    #[error("template has {problem} at byte {offset}")]
    BadTemplate {
        /// What is wrong.
        problem: &'static str,
        /// Where, in bytes from the template's start.
        offset: usize,
    },
    /// A generator's argument is out of its domain.
    #[error("`{argument}` {problem}")]
    BadArgument {
        /// The argument's name.
        argument: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

fn part_of(part: &Option<String>) -> String {
    part.as_ref().map(|name| format!(" in `{name}`")).unwrap_or_default()
}

impl DataError {
    /// The stable code of its diagnostic.
    pub fn code(&self) -> &'static str {
        match self {
            DataError::Unreadable { .. } => "E0401",
            DataError::Empty { .. } => "E0411",
            DataError::BadJson { .. } | DataError::NotScalar { .. } | DataError::RowLength { .. } => "E0412",
            DataError::BadFields { .. } => "E0426",
            DataError::BadParquet { .. } => "E0427",
            DataError::MissingColumn { .. }
            | DataError::UnknownColumn { .. }
            | DataError::RepeatedColumn { .. }
            | DataError::UnlikeColumns { .. } => "E0413",
            DataError::TooFewRows { .. } => "E0414",
            DataError::BadTemplate { .. } => "E0415",
            DataError::BadArgument { .. } => "E0416",
        }
    }

    /// What is wrong, in a few words.
    pub fn label(&self) -> &'static str {
        match self {
            DataError::Unreadable { .. } => "cannot be read",
            DataError::Empty { .. } => "holds no rows",
            DataError::BadJson { .. } | DataError::NotScalar { .. } => "not one object of plain values a line",
            DataError::BadFields { .. } => "not a table of fields",
            DataError::BadParquet { .. } => "not readable Parquet",
            DataError::RowLength { .. } => "rows of unequal length",
            DataError::MissingColumn { .. } | DataError::UnknownColumn { .. } => "no such column",
            DataError::RepeatedColumn { .. } => "named twice",
            DataError::TooFewRows { .. } => "more rows than there are",
            DataError::UnlikeColumns { .. } => "other columns",
            DataError::BadTemplate { .. } => "not a template",
            DataError::BadArgument { .. } => "outside its domain",
        }
    }

    /// What to do about it.
    pub fn help(&self) -> String {
        match self {
            DataError::UnknownColumn { suggestion: Some(name), .. }
            | DataError::MissingColumn { suggestion: Some(name), .. } => {
                format!("did you mean `{name}`?")
            }
            DataError::UnknownColumn { columns, .. } => {
                format!("the columns are {}", columns.join(", "))
            }
            DataError::MissingColumn { found, .. } => format!("the columns are {}", found.join(", ")),
            DataError::RepeatedColumn { name } => format!("name `{name}` once"),
            DataError::RowLength { .. } => "give every row one value a column".into(),
            DataError::Empty { .. } => "write at least one row into it".into(),
            DataError::Unreadable { .. } => "check the path: it is relative to the program's file".into(),
            DataError::BadJson { .. } => "write one JSON object a line".into(),
            DataError::BadFields { .. } => {
                "give each line as many fields as the first; in CSV quote a field that holds a comma, a quote or a line \
                 break"
                    .into()
            }
            DataError::BadParquet { .. } => {
                "fetch the file again and compare its size; pages may be plain, snappy, gzip or zstd".into()
            }
            DataError::NotScalar { .. } => "keep only columns of texts, numbers, bools, lists of texts and conversations".into(),
            DataError::TooFewRows { have, .. } => format!("ask for at most {have}"),
            DataError::UnlikeColumns { .. } => "join tables with the same columns in the same order".into(),
            DataError::BadTemplate { .. } => "write columns as `{name}` and braces as `{{` and `}}`".into(),
            DataError::BadArgument { argument, .. } => format!("change `{argument}`"),
        }
    }
}
