//! Checksums of what lies on disk, and files that appear whole or not at all.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

pub(crate) use evo_stdlib::files::{aside, sync_folder, write_whole};

/// Removes a file or a whole directory; one that is gone already is no error.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// All files below a path, sorted by their path relative to it; a file gives itself under the empty path.
pub(crate) fn files_below(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    if fs::symlink_metadata(root)?.is_file() {
        return Ok(vec![root.to_owned()]);
    }
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Bytes of all files below a path.
pub(crate) fn size_below(root: &Path) -> io::Result<u64> {
    files_below(root)?.iter().map(|file| fs::metadata(file).map(|found| found.len())).sum()
}

/// The hash of a file's bytes, or of a directory's relative paths, lengths and bytes; with the total of bytes.
pub(crate) fn checksum(root: &Path) -> io::Result<(blake3::Hash, u64)> {
    let mut hasher = blake3::Hasher::new();
    let mut total = 0;
    let mut buffer = vec![0; 1 << 20];
    for file in files_below(root)? {
        let name = file.strip_prefix(root).unwrap_or(&file).to_string_lossy().into_owned();
        let mut content = blake3::Hasher::new();
        let mut reader = File::open(&file)?;
        let mut length = 0_u64;
        loop {
            let count = reader.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            content.update(buffer.get(..count).unwrap_or_default());
            length += count as u64;
        }
        hasher.update(&(name.len() as u64).to_le_bytes()).update(name.as_bytes());
        hasher.update(&length.to_le_bytes()).update(content.finalize().as_bytes());
        total += length;
    }
    Ok((hasher.finalize(), total))
}

/// Syncs every file below a path, and the folders that hold them.
pub(crate) fn sync_below(root: &Path) -> io::Result<()> {
    let files = files_below(root)?;
    for file in &files {
        File::open(file)?.sync_all()?;
    }
    let mut folders: Vec<&Path> = files.iter().filter_map(|file| file.parent()).collect();
    folders.dedup();
    folders.into_iter().filter(|folder| folder.starts_with(root)).try_for_each(sync_folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_sees_names_lengths_and_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir(root.join("sub")).unwrap();
        fs::write(root.join("a"), b"one").unwrap();
        fs::write(root.join("sub/b"), b"two").unwrap();
        let (before, bytes) = checksum(root).unwrap();
        assert_eq!(bytes, 6);
        assert_eq!(checksum(root).unwrap().0, before);
        fs::write(root.join("sub/b"), b"twO").unwrap();
        assert_ne!(checksum(root).unwrap().0, before);
        fs::write(root.join("sub/b"), b"two").unwrap();
        fs::rename(root.join("sub/b"), root.join("sub/c")).unwrap();
        assert_ne!(checksum(root).unwrap().0, before);
    }
}
