//! Keeping the store small: what was used longest ago goes first.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::{SCHEMA, Size, Store, VERSION, open_lock};
use crate::clock;
use crate::db::{self, DiskError};
use crate::files;

/// What a cleaning leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// At most this many bytes; those used longest ago go first.
    pub max_bytes: Option<u64>,
    /// Only what was used within this many milliseconds.
    pub used_within_ms: Option<i64>,
    /// Look, but remove nothing.
    pub dry_run: bool,
}

/// What a cleaning did, or would do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct CleanReport {
    /// Entries before.
    pub entries: u64,
    /// Bytes before.
    pub bytes: u64,
    /// Entries removed.
    pub removed_entries: u64,
    /// Bytes removed with them.
    pub removed_bytes: u64,
    /// Bytes of rubbish removed, which processes left that were killed while they wrote.
    pub rubbish_bytes: u64,
}

impl Store {
    /// Removes entries until what stays is as `keep` says, and sweeps what killed processes left. `None` means that a
    /// process has the store open: nothing was done (a dry run may look all the same).
    pub fn clean(root: &Path, keep: Keep) -> Result<Option<CleanReport>, DiskError> {
        if !root.join("index.db").exists() {
            return Ok(Some(CleanReport::default()));
        }
        let lock = open_lock(root)?;
        if !keep.dry_run && lock.try_lock().is_err() {
            return Ok(None);
        }
        let path = root.join("index.db");
        let mut index = db::open(&path, SCHEMA, &[], VERSION)?;
        let report = sweep(root, &mut index, keep)?;
        if report.removed_entries > 0 && !keep.dry_run {
            index
                .execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE)")
                .map_err(|e| DiskError::from_sql(&path, &e))?;
        }
        Ok(Some(report))
    }
}

fn sweep(root: &Path, index: &mut Connection, keep: Keep) -> Result<CleanReport, DiskError> {
    let sql = |e: rusqlite::Error| DiskError::from_sql(&root.join("index.db"), &e);
    let step = index.transaction_with_behavior(TransactionBehavior::Immediate).map_err(sql)?;
    let mut entries: Vec<([u8; 32], u64, i64)> = {
        let mut rows = step.prepare("SELECT key, bytes, used FROM entries ORDER BY used DESC, key").map_err(sql)?;
        let found = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).map_err(sql)?;
        found.collect::<rusqlite::Result<_>>().map_err(sql)?
    };
    let before = Size { entries: entries.len() as u64, bytes: entries.iter().map(|e| e.1).sum() };
    let oldest = keep.used_within_ms.map(|within| clock::now_ms() - within);
    let mut kept = Size::default();
    let mut full = false;
    entries.retain(|(_, bytes, used)| {
        full |= keep.max_bytes.is_some_and(|max| kept.bytes + bytes > max);
        let stays = !full && oldest.is_none_or(|oldest| *used >= oldest);
        if stays {
            kept = Size { entries: kept.entries + 1, bytes: kept.bytes + bytes };
        }
        !stays
    });
    let removed: u64 = entries.iter().map(|e| e.1).sum();
    if !keep.dry_run {
        // Rows first: a file without a row is rubbish, a row without a file would be damage.
        for (key, ..) in &entries {
            step.execute("DELETE FROM entries WHERE key = ?1", [key]).map_err(sql)?;
        }
    }
    let known: BTreeSet<String> = {
        let mut rows = step.prepare("SELECT lower(hex(key)) FROM entries WHERE place <> 0").map_err(sql)?;
        let found = rows.query_map([], |row| row.get(0)).map_err(sql)?;
        found.collect::<rusqlite::Result<_>>().map_err(sql)?
    };
    step.commit().map_err(sql)?;
    let removed_files = if keep.dry_run { 0 } else { file_bytes_of(root, &entries, &known)? };
    let rubbish = sweep_rubbish(root, &known, keep.dry_run)?;
    Ok(CleanReport {
        entries: before.entries,
        bytes: before.bytes,
        removed_entries: entries.len() as u64,
        removed_bytes: removed,
        rubbish_bytes: rubbish.saturating_sub(removed_files),
    })
}

/// Bytes under `objects/` of entries whose rows are gone, which are no rubbish although nothing knows them any more.
fn file_bytes_of(root: &Path, removed: &[([u8; 32], u64, i64)], known: &BTreeSet<String>) -> Result<u64, DiskError> {
    let mut total = 0;
    for (key, ..) in removed {
        let name = super::Key(*key).to_string();
        let (shelf, _) = name.split_at(2);
        let path = root.join("objects").join(shelf).join(&name);
        if !known.contains(&name) && path.exists() {
            total += files::size_below(&path).map_err(|e| DiskError::from_io(&path, &e))?;
        }
    }
    Ok(total)
}

/// Removes all that no row knows; says how many bytes that was.
fn sweep_rubbish(root: &Path, known: &BTreeSet<String>, dry_run: bool) -> Result<u64, DiskError> {
    let mut total = 0;
    for folder in [root.join("tmp"), root.join("objects")] {
        let deep = folder.ends_with("objects");
        let at = |e: std::io::Error| DiskError::from_io(&folder, &e);
        for path in list(&folder).map_err(at)? {
            let inside = if deep { list(&path).map_err(at)? } else { vec![path] };
            for path in inside {
                let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                if deep && known.contains(&name) {
                    continue;
                }
                total += files::size_below(&path).map_err(at)?;
                if !dry_run {
                    files::remove(&path).map_err(at)?;
                }
            }
        }
    }
    Ok(total)
}

fn list(folder: &Path) -> std::io::Result<Vec<std::path::PathBuf>> {
    fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect()
}
