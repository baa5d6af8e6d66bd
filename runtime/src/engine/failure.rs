//! Why something could not be done, with all that a person needs to mend it.

use std::fmt;
use std::sync::Arc;

use evo_lang::diag::{self, Code, Diagnostic};
use evo_lang::span::{FileId, SourceMap, Span};

use crate::db::DiskError;
use crate::run::dir::RunDirError;
use crate::run::journal::JournalError;

/// Why there is no plan, no run or no result: diagnostics, and the exit code that goes with them.
#[derive(Clone, Debug)]
pub struct Failure {
    /// 2: the program or the command line is wrong; 3: it failed; 4: cut short; 130: interrupted.
    pub exit_code: u8,
    /// What is wrong: at least one.
    pub diagnostics: Vec<Diagnostic>,
    /// The texts that the diagnostics point into.
    pub sources: Arc<SourceMap>,
}

impl Failure {
    /// What is wrong with a program.
    pub fn program(diagnostics: Vec<Diagnostic>, sources: Arc<SourceMap>) -> Failure {
        Failure { exit_code: 2, diagnostics, sources }
    }

    /// Something without a place in a program.
    pub fn placeless(exit_code: u8, code: Code, title: impl Into<String>, help: impl Into<String>) -> Failure {
        let diagnostic = Diagnostic::error(code, nowhere(), title, "").help(help);
        Failure { exit_code, diagnostics: vec![diagnostic], sources: Arc::default() }
    }

    /// The first title, for a log line.
    pub fn title(&self) -> &str {
        self.diagnostics.first().map_or("", |diagnostic| &diagnostic.title)
    }
}

/// The span of what stands in no file.
pub(crate) fn nowhere() -> Span {
    Span { file: FileId(u32::MAX), start: 0, end: 0 }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(diag::render_all(&self.diagnostics, &self.sources, false).trim_end())
    }
}

impl std::error::Error for Failure {}

impl From<DiskError> for Failure {
    fn from(error: DiskError) -> Failure {
        Failure::placeless(3, error.code(), error.to_string(), error.help())
    }
}

impl From<RunDirError> for Failure {
    fn from(error: RunDirError) -> Failure {
        match error {
            RunDirError::Disk(error) => error.into(),
            other => Failure::placeless(2, Code::R0544, other.to_string(), other.help()),
        }
    }
}

impl From<JournalError> for Failure {
    fn from(error: JournalError) -> Failure {
        Failure::placeless(3, error.code(), error.to_string(), error.help())
    }
}
