//! The identity of files by what they hold.

use std::io;
use std::path::{Path, PathBuf};

use evo_lang::plan::Key;

/// The key of a file's bytes, or of a directory's files (those directly in it, by name).
pub(crate) fn content_key(path: &Path) -> io::Result<Key> {
    let mut files: Vec<PathBuf> = Vec::new();
    if path.is_dir() {
        for entry in std::fs::read_dir(path)? {
            let entry = entry?.path();
            if entry.is_file() {
                files.push(entry);
            }
        }
        files.sort();
    } else {
        files.push(path.to_path_buf());
    }
    let mut all = blake3::Hasher::new();
    for file in files {
        let name = file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let mut one = blake3::Hasher::new();
        one.update_reader(std::fs::File::open(&file)?)?;
        all.update(blake3::hash(name.as_bytes()).as_bytes());
        all.update(one.finalize().as_bytes());
    }
    Ok(Key(*all.finalize().as_bytes()))
}
