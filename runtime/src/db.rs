//! SQLite as both the store's index and the run's journal open it, and its errors told apart.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use evo_lang::diag::Code;
use rusqlite::{Connection, ErrorCode};

/// How long one process waits for another's transaction.
const BUSY: Duration = Duration::from_secs(60);

/// Why something could not be read from or written to disk.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// No space is left.
    #[error("the disk is full: `{}` cannot be written", path.display())]
    Full {
        /// What was being written.
        path: PathBuf,
    },
    /// The place cannot be written to.
    #[error("`{}` cannot be written: {reason}", path.display())]
    Unwritable {
        /// What was being written.
        path: PathBuf,
        /// The system's reason.
        reason: String,
    },
    /// A file was made by a newer version.
    #[error("`{}` was written by a newer version of evo (format {found}, known {known})", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format's number.
        found: i64,
        /// The newest number that this version knows.
        known: i64,
    },
    /// The content is not what was written.
    #[error("`{}` is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Any other failure of the system.
    #[error("`{}`: {reason}", path.display())]
    Other {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        reason: String,
    },
}

impl DiskError {
    /// Sorts a failure of the file system by what the user can do about it.
    pub fn from_io(path: &Path, error: &io::Error) -> DiskError {
        let path = path.to_owned();
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                DiskError::Full { path }
            }
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::NotADirectory => {
                DiskError::Unwritable { path, reason: error.to_string() }
            }
            _ => DiskError::Other { path, reason: error.to_string() },
        }
    }

    /// Sorts a failure of SQLite by what the user can do about it.
    pub fn from_sql(path: &Path, error: &rusqlite::Error) -> DiskError {
        let reason = error.to_string();
        let path = path.to_owned();
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => DiskError::Full { path },
            Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
                DiskError::Unwritable { path, reason }
            }
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => DiskError::Damaged { path, reason },
            _ => DiskError::Other { path, reason },
        }
    }

    /// The diagnostic's code.
    pub fn code(&self) -> Code {
        match self {
            DiskError::Full { .. } => Code::R0541,
            DiskError::Unwritable { .. } => Code::R0542,
            DiskError::Newer { .. } | DiskError::Damaged { .. } | DiskError::Other { .. } => Code::R0543,
        }
    }

    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            DiskError::Full { .. } => {
                "free some space (`evo clean` shows what the store holds), then `evo run --resume`"
            }
            DiskError::Unwritable { .. } => "choose a place that can be written to, or change its permissions",
            DiskError::Newer { .. } => "use the newer version, or another directory",
            DiskError::Damaged { .. } => "move the file away; what it held is computed again",
            DiskError::Other { .. } => "once the cause is gone, `evo run --resume` continues the run",
        }
    }
}

/// Opens a database that survives `kill -9` at any moment and is shared by processes: write-ahead log, patient.
/// `schema` is run when the file is new; `version` numbers the format, from 1 on, and `upgrades` bring each earlier
/// format to the next.
pub(crate) fn open(path: &Path, schema: &str, upgrades: &[&str], version: i64) -> Result<Connection, DiskError> {
    let sort = |error: rusqlite::Error| DiskError::from_sql(path, &error);
    let mut connection = Connection::open(path).map_err(sort)?;
    connection.busy_timeout(BUSY).map_err(sort)?;
    // A committed transaction outlives the process; after a power cut the newest may be missing, never half there.
    connection.pragma_update(None, "journal_mode", "wal").map_err(sort)?;
    connection.pragma_update(None, "synchronous", "normal").map_err(sort)?;
    let step = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(sort)?;
    let found: i64 = step.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(sort)?;
    match found {
        0 => {
            step.execute_batch(schema).map_err(sort)?;
            step.pragma_update(None, "user_version", version).map_err(sort)?;
        }
        known if known == version => {}
        known if (1..version).contains(&known) => {
            for upgrade in upgrades.iter().skip(known as usize - 1) {
                step.execute_batch(upgrade).map_err(sort)?;
            }
            step.pragma_update(None, "user_version", version).map_err(sort)?;
        }
        _ => {
            return Err(DiskError::Newer { path: path.to_owned(), found, known: version });
        }
    }
    step.commit().map_err(sort)?;
    Ok(connection)
}
