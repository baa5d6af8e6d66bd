//! Event files that TensorBoard reads: scalars in records of TFRecord, one folder a training.
//!
//! A record is the length of its data (8 bytes, little-endian), that length's masked CRC-32C, the data, and theirs. The data are a
//! protobuf message `tensorflow.Event`: field 1 the time, 2 the step, 3 the file version of the first record, 5 a summary, whose
//! values (field 1) have a tag (1) and a `simple_value` (2).

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::clock;
use crate::db::DiskError;
use crate::store::Key;

/// The event files of a run.
#[derive(Clone)]
pub(crate) struct Board {
    folder: PathBuf,
    files: Arc<Mutex<BTreeMap<Key, File>>>,
}

impl fmt::Debug for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Board").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Board {
    /// Writes below `folder`, which is made if it is not there.
    pub(crate) fn open(folder: PathBuf) -> Result<Board, DiskError> {
        fs::create_dir_all(&folder).map_err(|e| DiskError::from_io(&folder, &e))?;
        Ok(Board { folder, files: Arc::default() })
    }

    /// Adds scalars of a step of a node that is called `name`.
    pub(crate) fn add(&self, node: &Key, name: &str, step: u64, values: &[(&str, f64)]) -> Result<(), DiskError> {
        let seconds = clock::now_ms() as f64 / 1000.0;
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = self.folder.join(format!("{}-{}", plain(name), node.short()));
        let written = (|| {
            if !files.contains_key(node) {
                files.insert(*node, begin(&folder, seconds)?);
            }
            let Some(file) = files.get_mut(node) else { return Ok(()) };
            file.write_all(&record(&scalars(seconds, step, values)))
        })();
        written.map_err(|e: io::Error| DiskError::from_io(&folder, &e))
    }

    /// No more comes of a node.
    pub(crate) fn close(&self, node: &Key) {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).remove(node);
    }
}

/// A new file with the record that every file begins with.
fn begin(folder: &Path, seconds: f64) -> io::Result<File> {
    fs::create_dir_all(folder)?;
    let name = |count: u32| format!("events.out.tfevents.{:010}.evo.{}.{count}", seconds as u64, std::process::id());
    for count in 0.. {
        match File::create_new(folder.join(name(count))) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => {
                let mut file = other?;
                file.write_all(&record(&version(seconds)))?;
                return Ok(file);
            }
        }
    }
    Err(io::Error::from(io::ErrorKind::AlreadyExists))
}

/// A name with nothing in it that a file system treats specially.
fn plain(name: &str) -> String {
    let keep = |c: char| if c.is_alphanumeric() || matches!(c, '_' | '-') { c } else { '_' };
    name.chars().map(keep).take(60).collect()
}

fn version(seconds: f64) -> Vec<u8> {
    let mut event = vec![0x09];
    event.extend(seconds.to_le_bytes());
    field(&mut event, 3, b"brain.Event:2");
    event
}

fn scalars(seconds: f64, step: u64, values: &[(&str, f64)]) -> Vec<u8> {
    let mut event = vec![0x09];
    event.extend(seconds.to_le_bytes());
    event.push(0x10);
    varint(&mut event, step);
    let mut summary = Vec::new();
    for (tag, x) in values {
        let mut value = Vec::new();
        field(&mut value, 1, tag.as_bytes());
        value.push(0x15);
        value.extend((*x as f32).to_le_bytes());
        field(&mut summary, 1, &value);
    }
    field(&mut event, 5, &summary);
    event
}

/// A field of bytes.
fn field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend(bytes);
}

fn varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut out = length.to_vec();
    out.extend(masked(&length).to_le_bytes());
    out.extend(data);
    out.extend(masked(data).to_le_bytes());
    out
}

/// The CRC as TFRecord stores it: turned by 15 bits, and a constant added.
fn masked(data: &[u8]) -> u32 {
    crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli), bit by bit: a step has a hundred bytes.
fn crc32c(data: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in data {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_rfc_3720() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
    }

    #[test]
    fn records_are_those_that_tensorboard_reads() {
        // The first record of a file, as TensorBoard's own writer gives it at this time.
        let first = record(&version(1.5));
        let event = [&[0x09][..], &1.5f64.to_le_bytes(), &[0x1a, 13], b"brain.Event:2"].concat();
        assert_eq!(first[..8], [24, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(first[8..12], [0xa3, 0x7f, 0x4b, 0x22]);
        assert_eq!(first[12..36], event);
        let step = scalars(1.5, 300, &[("loss", 0.5)]);
        let value = [&[0x0a, 4][..], b"loss", &[0x15], &0.5f32.to_le_bytes()].concat();
        let summary = [&[0x0a, value.len() as u8][..], &value].concat();
        let expected = [&event[..9], &[0x10, 0xac, 0x02], &[0x2a, summary.len() as u8], &summary].concat();
        assert_eq!(step, expected);
    }

    #[test]
    fn each_training_has_a_folder_and_each_segment_a_file() {
        let root = tempfile::tempdir().unwrap();
        let (one, two) = (Key::of("test", &[b"one"]), Key::of("test", &[b"two"]));
        for segment in 1..=2 {
            let board = Board::open(root.path().join("logs")).unwrap();
            board.add(&one, "tuned a/b", 1, &[("loss", 2.0)]).unwrap();
            board.add(&one, "tuned a/b", 2, &[("loss", 1.0)]).unwrap();
            board.add(&two, "other", 1, &[("loss", 2.0)]).unwrap();
            board.close(&one);
            let folder = root.path().join("logs").join(format!("tuned_a_b-{}", one.short()));
            assert_eq!(fs::read_dir(folder).unwrap().count(), segment);
        }
        assert_eq!(fs::read_dir(root.path().join("logs")).unwrap().count(), 2);
    }
}
