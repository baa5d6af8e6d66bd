//! The content-addressed store `.evo/store/`: results of steps by the hash of all that went into them.
//!
//! Shared by all runs and processes that work in one directory. A small value lies in the SQLite index; a large one, and
//! any file or directory, lies under `objects/`. What is written appears whole or not at all: it is made aside in
//! `tmp/`, synced, renamed, and only then enters the index, so that `kill -9` leaves at most rubbish, which
//! [`Store::clean`] sweeps. What is read is compared with its checksum; what does not match is dropped and must be
//! computed again.

mod clean;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use crate::clock;
use crate::db::{self, DiskError};
use crate::files;

pub use clean::{CleanReport, Keep};
pub use evo_lang::plan::Key;

const VERSION: i64 = 1;
const SCHEMA: &str = "
    CREATE TABLE entries (
        key      BLOB PRIMARY KEY,
        place    INTEGER NOT NULL,   -- 0: `value`; 1: the value is a file under objects/; 2: an artifact is
        value    BLOB,
        checksum BLOB NOT NULL,
        bytes    INTEGER NOT NULL,
        created  INTEGER NOT NULL,   -- milliseconds since 1970
        used     INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX entries_by_use ON entries (used);";

/// Values up to this many bytes lie in the index.
const INLINE: usize = 64 << 10;

/// Why an entry is dropped.
const GONE: &str = "the file is gone";
const CHANGED: &str = "the content does not match its checksum";

/// How stale the time of last use may be.
const USED_RESOLUTION_MS: i64 = 60_000;

/// What the store holds under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing: compute it.
    Absent,
    /// The bytes of a value.
    Value(Vec<u8>),
    /// A file or directory, whole; it must not be changed.
    Artifact(PathBuf),
    /// What was there did not match its checksum and is dropped: warn why, and compute it again.
    Damaged(String),
}

/// How much the store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Number of entries.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// An open store. Any number of threads and processes may use one directory at the same time.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    index: Mutex<Connection>,
    /// Artifacts whose checksum this process has compared already.
    trusted: Mutex<BTreeSet<Key>>,
    /// Held shared while the store is open, so that nothing is cleaned away under a run.
    _lock: File,
}

/// Where an entry's content lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In the index.
    Index = 0,
    /// A value in a file of its own.
    File = 1,
    /// A file or directory that is handed out by its path.
    Artifact = 2,
}

struct Entry {
    place: i64,
    value: Option<Vec<u8>>,
    checksum: [u8; 32],
    bytes: u64,
    used: i64,
}

impl Store {
    /// Opens the store in `root` (by default `.evo/store`), and makes it if it is not there. Waits while another process
    /// cleans it. A damaged index is
    /// begun anew: the store is a cache.
    pub fn open(root: &Path) -> Result<Store, DiskError> {
        for folder in ["objects", "tmp"] {
            let folder = root.join(folder);
            fs::create_dir_all(&folder).map_err(|e| DiskError::from_io(&folder, &e))?;
        }
        let lock = open_lock(root)?;
        lock.lock_shared().map_err(|e| DiskError::from_io(&root.join("lock"), &e))?;
        let index = open_index(root, &lock)?;
        Ok(Store { root: root.to_owned(), index: Mutex::new(index), trusted: Mutex::default(), _lock: lock })
    }

    /// Opens the store in `root` if there is one: looking makes nothing.
    pub fn open_if_there(root: &Path) -> Result<Option<Store>, DiskError> {
        if root.join("index.db").exists() { Store::open(root).map(Some) } else { Ok(None) }
    }

    /// Where the store is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What lies under a key, compared with its checksum (an artifact once a process).
    pub fn get(&self, key: &Key) -> Result<Found, DiskError> {
        let Some(entry) = self.entry(key)? else {
            return Ok(Found::Absent);
        };
        if clock::now_ms() - entry.used > USED_RESOLUTION_MS {
            self.touch(key)?;
        }
        if entry.place == Place::Artifact as i64 {
            return self.get_artifact(key, &entry);
        }
        let bytes = match entry.value {
            Some(bytes) => bytes,
            None => match fs::read(self.object(key)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return self.drop_damaged(key, GONE);
                }
                other => other.map_err(|e| DiskError::from_io(&self.object(key), &e))?,
            },
        };
        if blake3::hash(&bytes) == entry.checksum { Ok(Found::Value(bytes)) } else { self.drop_damaged(key, CHANGED) }
    }

    /// Whether something lies under a key. Nothing is compared: [`get`](Store::get) may still find it damaged.
    pub fn has(&self, key: &Key) -> Result<bool, DiskError> {
        let found = self.index().query_row("SELECT 1 FROM entries WHERE key = ?1", [key.0], |_| Ok(())).optional();
        found.map(|found| found.is_some()).map_err(|e| self.sql(&e))
    }

    /// Stores the bytes of a value. One that is there already stays: equal keys have equal values.
    pub fn put(&self, key: &Key, bytes: &[u8]) -> Result<(), DiskError> {
        let checksum = blake3::hash(bytes);
        if bytes.len() > INLINE {
            let write = |path: &Path| fs::write(path, bytes).map(|()| (checksum, bytes.len() as u64));
            return self.put_aside(key, Place::File, write).map(|_| ());
        }
        let row = Row { key, place: Place::Index, value: Some(bytes), checksum, bytes: bytes.len() as u64 };
        row.insert(&self.index()).map_err(|e| self.sql(&e))
    }

    /// Stores a file or a directory that `make` writes at the path it is given (which does not exist yet); says where it
    /// lies. It appears whole or not at all; if another thread or process was faster, theirs stays.
    pub fn put_artifact(&self, key: &Key, make: impl FnOnce(&Path) -> io::Result<()>) -> Result<PathBuf, DiskError> {
        self.put_aside(key, Place::Artifact, |path| make(path).and_then(|()| files::checksum(path)))
    }

    /// Notes that an entry was used now, which keeps it from being cleaned away early.
    pub fn touch(&self, key: &Key) -> Result<(), DiskError> {
        let sql = "UPDATE entries SET used = ?2 WHERE key = ?1";
        self.index().execute(sql, params![key.0, clock::now_ms()]).map(|_| ()).map_err(|e| self.sql(&e))
    }

    /// How much the store holds.
    pub fn size(&self) -> Result<Size, DiskError> {
        let sql = "SELECT count(*), coalesce(sum(bytes), 0) FROM entries";
        let sized = self.index().query_row(sql, [], |row| Ok(Size { entries: row.get(0)?, bytes: row.get(1)? }));
        sized.map_err(|e| self.sql(&e))
    }

    /// Where the artifact of a key lies, or would lie.
    fn object(&self, key: &Key) -> PathBuf {
        let name = key.to_string();
        let (shelf, _) = name.split_at(2);
        self.root.join("objects").join(shelf).join(&name)
    }

    fn index(&self) -> MutexGuard<'_, Connection> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn trusted(&self) -> MutexGuard<'_, BTreeSet<Key>> {
        self.trusted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sql(&self, error: &rusqlite::Error) -> DiskError {
        DiskError::from_sql(&self.root.join("index.db"), error)
    }

    fn entry(&self, key: &Key) -> Result<Option<Entry>, DiskError> {
        let sql = "SELECT place, value, checksum, bytes, used FROM entries WHERE key = ?1";
        let found = self.index().query_row(sql, [key.0], |row| {
            Ok(Entry {
                place: row.get(0)?,
                value: row.get(1)?,
                checksum: row.get(2)?,
                bytes: row.get(3)?,
                used: row.get(4)?,
            })
        });
        found.optional().map_err(|e| self.sql(&e))
    }

    fn get_artifact(&self, key: &Key, entry: &Entry) -> Result<Found, DiskError> {
        let path = self.object(key);
        if !self.trusted().contains(key) {
            match files::checksum(&path) {
                Ok((found, bytes)) if found == entry.checksum && bytes == entry.bytes => {}
                Ok(_) => return self.drop_damaged(key, CHANGED),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return self.drop_damaged(key, GONE);
                }
                Err(error) => return Err(DiskError::from_io(&path, &error)),
            }
            self.trusted().insert(*key);
        }
        Ok(Found::Artifact(path))
    }

    fn drop_damaged(&self, key: &Key, reason: &str) -> Result<Found, DiskError> {
        self.index().execute("DELETE FROM entries WHERE key = ?1", [key.0]).map_err(|e| self.sql(&e))?;
        self.discard(&self.object(key))?;
        Ok(Found::Damaged(reason.to_owned()))
    }

    /// Takes something out of sight in one step, then removes it.
    fn discard(&self, path: &Path) -> Result<(), DiskError> {
        let temporary = files::aside(&self.root.join("tmp"), "discarded");
        match fs::rename(path, &temporary) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(|e| DiskError::from_io(path, &e))?,
        }
        files::remove(&temporary).map_err(|e| DiskError::from_io(&temporary, &e))
    }

    fn put_aside(
        &self,
        key: &Key,
        place: Place,
        make: impl FnOnce(&Path) -> io::Result<(blake3::Hash, u64)>,
    ) -> Result<PathBuf, DiskError> {
        let temporary = files::aside(&self.root.join("tmp"), &key.short());
        let made = make(&temporary).and_then(|made| files::sync_below(&temporary).map(|()| made));
        let placed = made.map_err(|e| DiskError::from_io(&temporary, &e)).and_then(|(checksum, bytes)| {
            self.rename_in(&Row { key, place, value: None, checksum, bytes }, &temporary)
        });
        if placed.is_err() {
            let _ = files::remove(&temporary); // the first error is the one to report
        }
        placed
    }

    /// Moves what was made aside to its place and adds its row, under the index's write lock: two processes that made
    /// the same thing never see each other half-way.
    fn rename_in(&self, row: &Row<'_>, temporary: &Path) -> Result<PathBuf, DiskError> {
        let path = self.object(row.key);
        let shelf = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(shelf).map_err(|e| DiskError::from_io(shelf, &e))?;
        let mut index = self.index();
        let step = index.transaction_with_behavior(TransactionBehavior::Immediate).map_err(|e| self.sql(&e))?;
        let there = step.query_row("SELECT 1 FROM entries WHERE key = ?1", [row.key.0], |_| Ok(())).optional();
        if there.map_err(|e| self.sql(&e))?.is_some() {
            files::remove(temporary).map_err(|e| DiskError::from_io(temporary, &e))?;
            return Ok(path);
        }
        self.discard(&path)?; // without a row, it was left by a process that died
        fs::rename(temporary, &path).map_err(|e| DiskError::from_io(&path, &e))?;
        files::sync_folder(shelf).map_err(|e| DiskError::from_io(shelf, &e))?;
        row.insert(&step).and_then(|()| step.commit()).map_err(|e| self.sql(&e))?;
        self.trusted().insert(*row.key);
        Ok(path)
    }
}

/// An entry as it is inserted.
struct Row<'a> {
    key: &'a Key,
    place: Place,
    value: Option<&'a [u8]>,
    checksum: blake3::Hash,
    bytes: u64,
}

impl Row<'_> {
    fn insert(&self, index: &Connection) -> rusqlite::Result<()> {
        let sql = "INSERT INTO entries VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6) ON CONFLICT DO NOTHING";
        let checksum = self.checksum.as_bytes();
        let now = clock::now_ms();
        index.execute(sql, params![self.key.0, self.place as i64, self.value, checksum, self.bytes, now]).map(|_| ())
    }
}

fn open_lock(root: &Path) -> Result<File, DiskError> {
    let path = root.join("lock");
    let opened = File::options().create(true).truncate(false).read(true).write(true).open(&path);
    opened.map_err(|e| DiskError::from_io(&path, &e))
}

/// Opens the index; one that is damaged is begun anew, if no other process has it open.
fn open_index(root: &Path, lock: &File) -> Result<Connection, DiskError> {
    let path = root.join("index.db");
    let at_lock = |e: io::Error| DiskError::from_io(&root.join("lock"), &e);
    match db::open(&path, SCHEMA, &[], VERSION) {
        Err(DiskError::Damaged { path: damaged, reason }) => {
            lock.unlock().map_err(at_lock)?;
            if lock.try_lock().is_err() {
                return Err(DiskError::Damaged { path: damaged, reason });
            }
            for suffix in ["", "-wal", "-shm"] {
                files::remove(&root.join(format!("index.db{suffix}"))).map_err(|e| DiskError::from_io(&path, &e))?;
            }
            lock.unlock().and_then(|()| lock.lock_shared()).map_err(at_lock)?;
            db::open(&path, SCHEMA, &[], VERSION)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests;
