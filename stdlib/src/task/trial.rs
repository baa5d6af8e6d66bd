//! Programs that models write, and what they are held to: run by the runtime, in its sandboxes, never by this crate.

use serde::{Deserialize, Serialize};

/// A program that a model wrote, and how it is tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// The whole program.
    pub program: String,
    /// What it is, and what it is held to.
    pub kind: TrialKind,
    /// What bounds it.
    pub limits: TrialLimits,
}

/// The kinds of programs that can be tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum TrialKind {
    /// Functions in rhai: `check`, an expression over them, must be `true`.
    Rhai {
        /// It.
        check: String,
    },
    /// A query on an SQLite database in memory: its rows must be those of `expected`.
    Sql {
        /// The statements that make the database.
        setup: String,
        /// A query whose rows are the right ones.
        expected: String,
        /// Whether the order of rows counts.
        order: Order,
    },
    /// Shell commands on files in memory.
    Shell {
        /// Commands that make the files.
        setup: String,
        /// What the program must print, but for white space at its end; anything, without it.
        expected: Option<String>,
        /// Commands that must succeed after it.
        check: Option<String>,
    },
    /// A program for an interpreter of this machine, as a file whose name is the last argument; it must end with status 0.
    Command {
        /// The interpreter and its arguments.
        argv: Vec<String>,
        /// What it must print, but for white space at its end; anything, without it.
        expected: Option<String>,
        /// Whether it may start processes.
        processes: bool,
    },
}

/// When the order of a query's rows counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// When the expected query has an `ORDER BY` of its own.
    Auto,
    /// Always.
    Kept,
    /// Never.
    Any,
}

/// What bounds a program.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrialLimits {
    /// Seconds until it is killed.
    pub seconds: f64,
    /// Bytes of memory.
    pub memory: u64,
    /// Operations of rhai, steps of SQLite's machine, or steps of the shell.
    pub steps: u64,
    /// Bytes that it may print, and rows that a query may give.
    pub output: u64,
    /// See `output`.
    pub rows: u64,
}

impl Default for TrialLimits {
    fn default() -> Self {
        Self { seconds: 10.0, memory: 512 << 20, steps: 10_000_000, output: 1 << 20, rows: 10_000 }
    }
}

/// What came of a trial.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Verdict {
    /// It did what it had to.
    Passed,
    /// It did not: why, in a few words.
    Failed(String),
    /// The trial itself is at fault: what the program is held to cannot be computed. No program could pass.
    Unfit(String),
}
