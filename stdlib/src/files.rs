//! The identity of files by what they hold.

use std::io;
use std::path::{Path, PathBuf};

use evo_lang::plan::Key;

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
}
