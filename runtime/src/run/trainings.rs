//! What trainings write beside their results: checkpoints, and event files for TensorBoard.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::tensorboard::Board;
use crate::db::DiskError;
use crate::files;
use crate::store::Key;

/// What trainings of a run write beside their results.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trainings {
    /// The checkpoints of the run; what is computed in memory has none.
    pub(crate) checkpoints: Option<Checkpoints>,
    /// Seconds between two of them, at least.
    pub(crate) every: f64,
    /// Curves for TensorBoard, if they are asked for.
    pub(crate) board: Option<Board>,
}

/// A folder of checkpoints, one a node.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    folder: PathBuf,
}

/// What lies under a node's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checkpoint {
    /// Nothing.
    Absent,
    /// What was written.
    Whole(Vec<u8>),
    /// Something else than what was written.
    Damaged,
}

/// Writes on, and takes the checksum of what it writes.
struct Summed<W> {
    out: W,
    sum: blake3::Hasher,
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.sum.update(bytes.get(..count).unwrap_or_default());
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Checkpoints {
    /// Those in `folder`, which is there.
    pub fn new(folder: PathBuf) -> Checkpoints {
        Checkpoints { folder }
    }

    fn path(&self, node: &Key) -> PathBuf {
        self.folder.join(node.to_string())
    }

    /// Puts what `write` writes in place of the node's last checkpoint: aside, with its checksum, synced, renamed.
    pub fn save(&self, node: &Key, write: &dyn Fn(&mut dyn Write) -> io::Result<()>) -> Result<(), DiskError> {
        let path = self.path(node);
        let aside = files::aside(&self.folder, &node.short());
        let written = written(&aside, write).and_then(|()| fs::rename(&aside, &path));
        if written.is_err() {
            let _ = files::remove(&aside); // the first error is the one to report
        }
        written.and_then(|()| files::sync_folder(&self.folder)).map_err(|e| DiskError::from_io(&path, &e))
    }

    /// Reads a node's checkpoint.
    pub fn load(&self, node: &Key) -> Result<Checkpoint, DiskError> {
        let path = self.path(node);
        let mut bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Checkpoint::Absent),
            other => other.map_err(|e| DiskError::from_io(&path, &e))?,
        };
        let is_whole = bytes.split_last_chunk::<32>().is_some_and(|(content, sum)| blake3::hash(content) == *sum);
        if !is_whole {
            return Ok(Checkpoint::Damaged);
        }
        bytes.truncate(bytes.len() - 32);
        Ok(Checkpoint::Whole(bytes))
    }

    /// Removes a node's checkpoint, if it has one.
    pub fn remove(&self, node: &Key) -> Result<(), DiskError> {
        let path = self.path(node);
        files::remove(&path).map_err(|e| DiskError::from_io(&path, &e))
    }
}

fn written(path: &Path, write: &dyn Fn(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut summed = Summed { out: BufWriter::with_capacity(1 << 20, File::create(path)?), sum: blake3::Hasher::new() };
    write(&mut summed)?;
    let sum = summed.sum.finalize();
    summed.out.write_all(sum.as_bytes())?;
    summed.out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_whole_or_damaged_or_gone() {
        let folder = tempfile::tempdir().unwrap();
        let all = Checkpoints::new(folder.path().to_owned());
        let node = Key::of("test", &[b"train"]);
        assert_eq!(all.load(&node).unwrap(), Checkpoint::Absent);
        all.save(&node, &|out| out.write_all(b"state 1")).unwrap();
        all.save(&node, &|out| out.write_all(b"state ").and_then(|()| out.write_all(b"2"))).unwrap();
        assert_eq!(all.load(&node).unwrap(), Checkpoint::Whole(b"state 2".to_vec()));
        // What cannot be written leaves the last one, and nothing beside it.
        let failed = all.save(&node, &|out| out.write_all(b"st").and(Err(io::Error::other("no"))));
        assert!(failed.is_err());
        assert_eq!(all.load(&node).unwrap(), Checkpoint::Whole(b"state 2".to_vec()));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let path = all.path(&node);
        let bytes = fs::read(&path).unwrap();
        for torn in [&bytes[..bytes.len() - 1], &bytes[..3], b""] {
            fs::write(&path, torn).unwrap();
            assert_eq!(all.load(&node).unwrap(), Checkpoint::Damaged);
        }
        all.remove(&node).unwrap();
        all.remove(&node).unwrap();
        assert_eq!(all.load(&node).unwrap(), Checkpoint::Absent);
    }
}
