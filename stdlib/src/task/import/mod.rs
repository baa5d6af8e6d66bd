//! Task files of the Language Model Evaluation Harness (github.com/EleutherAI/lm-evaluation-harness), read as version 0.4 reads them.
//!
//! [`import`] reads a YAML file and the local data that it names, and makes a [`Task`] of them: prompts, few-shot examples and choices are rendered to the
//! character as the harness renders them, into a table with the columns `prompt`, `target` and `choices`. Python is never run: a field that needs it, or
//! that changes results in a way not known here, is a [`Fault`] that names the field and its line.

mod build;
mod config;
mod docs;
mod fields;
mod filter;
mod random;
#[cfg(test)]
mod tests;
mod text;
mod yaml;

use std::path::{Path, PathBuf};

use super::Task;

pub use filter::Filtered;

/// What is asked of a task file.
pub struct Ask<'a> {
    /// The metric that makes the score; empty for the first of the file.
    pub metric: &'a str,
    /// The filter whose answers are scored; empty for the first of the file.
    pub filter: &'a str,
    /// The most rows.
    pub rows: usize,
    /// The longest answer, in tokens, whatever the file says.
    pub max_tokens: usize,
    /// Where a data file is that is not beside the task file.
    pub locate: &'a dyn Fn(&str) -> PathBuf,
}

/// A task, and every file that it was made of.
#[derive(Debug)]
pub struct Imported {
    /// The task.
    pub task: Task,
    /// The task file, what it includes, and the data.
    pub files: Vec<PathBuf>,
}

/// What is wrong with a task file.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// The file, if it is not the task file itself.
    pub file: Option<PathBuf>,
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong, in words.
    pub title: String,
    /// What to do.
    pub help: String,
}

impl Fault {
    fn new(line: usize, title: impl Into<String>) -> Self {
        Self { file: None, line: line.max(1), title: title.into(), help: String::new() }
    }

    fn help(self, help: impl Into<String>) -> Self {
        Self { help: help.into(), ..self }
    }
}

/// Makes a task of the task file at `path`.
///
/// # Errors
/// A [`Fault`] for a file that cannot be read, what has no meaning, or what only Python could tell.
pub fn import(path: &Path, ask: &Ask<'_>) -> Result<Imported, Fault> {
    let (fields, mut files) = fields::read(path)?;
    let config = config::Config::new(fields, ask)?;
    files.extend(config.files.values().flatten().cloned());
    Ok(Imported { task: build::task(&config, ask)?, files })
}
