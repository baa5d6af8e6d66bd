//! The identity of files by what they hold, and files that appear whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use evo_lang::plan::Key;

/// A path that no other thread or process uses: `<stem>.<process>-<count>.tmp` in `folder`.
pub fn aside(folder: &Path, stem: &str) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    folder.join(format!("{stem}.{}-{count}.tmp", std::process::id()))
}

/// Writes a file so that a reader, or a crash at any moment, sees the old content or the new: aside, synced, renamed.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let stem = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let temporary = aside(folder, &stem);
    let written = File::create(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary); // the first error is the one to report
    }
    written?;
    sync_folder(folder)
}

/// Makes renames within a folder durable.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder).and_then(|file| file.sync_all()) {
        // Some file systems cannot sync a directory; the rename itself is atomic all the same.
        Err(error) if matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::InvalidInput) => Ok(()),
        other => other,
    }
}

/// What a model directory is read from; a README or a picture beside it changes no result.
const MODEL_FILES: [&str; 3] = ["json", "safetensors", "jinja"];

/// The key of a file's bytes, or of a model directory's files (those directly in it that make the model, by name).
pub(crate) fn content_key(path: &Path) -> io::Result<Key> {
    let mut files: Vec<PathBuf> = Vec::new();
    if path.is_dir() {
        for entry in std::fs::read_dir(path)? {
            let entry = entry?.path();
            let makes_the_model =
                entry.extension().is_some_and(|e| MODEL_FILES.iter().any(|known| e.eq_ignore_ascii_case(known)));
            if makes_the_model && entry.is_file() {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_its_weights_and_settings_not_its_card() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let key = || content_key(folder.path()).unwrap();
        write("config.json", "{}");
        write("README.md", "one");
        let first = key();
        write("README.md", "two");
        assert_eq!(key(), first);
        write("config.json", "{ }");
        assert_ne!(key(), first);
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.json");
        write_whole(&path, b"old").unwrap();
        write_whole(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        let missing = folder.path().join("no/such/folder/run.json");
        assert!(write_whole(&missing, b"x").is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
