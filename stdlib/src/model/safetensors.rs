//! Reading safetensors files: a header that is believed only after every claim in it was checked, and data by mmap.
//!
//! The format: 8 bytes of header length (little-endian), a JSON object from tensor name to element type, shape and byte
//! offsets, then the data, which the tensors cover without gap or overlap (<https://github.com/huggingface/safetensors>).

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use indexmap::IndexMap;
use memmap2::Mmap;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use super::{DType, EntryFault, HeaderFault, ModelError, Tensor, Tensors};

/// The format's own limit on the length of a header.
const HEADER_LIMIT: u64 = 100_000_000;

/// What a header tells about one tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorHeader {
    /// The element type.
    pub dtype: DType,
    /// The shape, outermost dimension first.
    pub shape: Vec<usize>,
    /// Where the data begin, counted from the end of the header.
    begin: usize,
    /// Where they end.
    end: usize,
}

impl TensorHeader {
    /// A tensor of this type and shape that lies in no safetensors file.
    pub fn new(dtype: DType, shape: Vec<usize>) -> Self {
        Self { dtype, shape, begin: 0, end: 0 }
    }
}

/// The checked header of a file.
#[derive(Clone, Debug)]
pub struct FileHeader {
    /// The tensors by name, in the order of their data.
    pub tensors: IndexMap<String, TensorHeader>,
    /// Where the data begin in the file.
    data_start: usize,
}

/// Reads and checks the header of the safetensors file `path`; no weight is read.
pub fn read_header(path: &Path) -> Result<FileHeader, ModelError> {
    let mut file = File::open(path).map_err(|e| ModelError::read(path, e))?;
    let metadata = file.metadata().map_err(|e| ModelError::read(path, e))?;
    header_of(&mut file, metadata.len(), path)
}

/// All tensors of the safetensors file `path`, as slices of the mapped file.
///
/// The file must stay as it is while the tensors live: replace model files by renaming, as saving does here.
pub fn open(path: &Path) -> Result<Tensors, ModelError> {
    let mut file = File::open(path).map_err(|e| ModelError::read(path, e))?;
    let metadata = file.metadata().map_err(|e| ModelError::read(path, e))?;
    let header = header_of(&mut file, metadata.len(), path)?;
    let map = Arc::new(super::map::map(&file).map_err(|e| ModelError::read(path, e))?);
    header
        .tensors
        .into_iter()
        .map(|(name, entry)| {
            let tensor = slice(&map, header.data_start, &entry)
                .ok_or_else(|| entry_error(path, &name, beyond(&entry, map.len(), header.data_start)))?;
            Ok((name, tensor))
        })
        .collect()
}

fn slice(map: &Arc<Mmap>, data_start: usize, entry: &TensorHeader) -> Option<Tensor> {
    let start = data_start.checked_add(entry.begin)?;
    let len = entry.end - entry.begin;
    Tensor::from_map(entry.dtype, entry.shape.clone(), map.clone(), start, len).ok()
}

/// The file became shorter after its header was read.
fn beyond(entry: &TensorHeader, file: usize, data_start: usize) -> EntryFault {
    EntryFault::BeyondFile { end: entry.end as u64, has: file.saturating_sub(data_start) as u64 }
}

fn header_of(file: &mut File, file_len: u64, path: &Path) -> Result<FileHeader, ModelError> {
    let fault = |fault| ModelError::Header { path: path.to_path_buf(), fault };
    let Some(has) = file_len.checked_sub(8) else {
        return Err(fault(HeaderFault::TooShort { has: file_len }));
    };
    let mut length = [0u8; 8];
    file.read_exact(&mut length).map_err(|e| ModelError::read(path, e))?;
    let claims = u64::from_le_bytes(length);
    if claims > has {
        return Err(fault(HeaderFault::HeaderBeyondFile { claims, has }));
    }
    if claims > HEADER_LIMIT {
        let limit = HEADER_LIMIT;
        return Err(fault(HeaderFault::HeaderTooLong { claims, limit }));
    }
    let mut json = vec![0u8; claims as usize];
    file.read_exact(&mut json).map_err(|e| ModelError::read(path, e))?;
    let raw: RawHeader =
        serde_json::from_slice(&json).map_err(|e| fault(HeaderFault::NotJson { cause: e.to_string() }))?;
    Ok(FileHeader { tensors: check_entries(raw, has - claims, path)?, data_start: 8 + claims as usize })
}

/// Every claim of every entry, then that the entries cover the data exactly.
fn check_entries(raw: RawHeader, data_len: u64, path: &Path) -> Result<IndexMap<String, TensorHeader>, ModelError> {
    let mut tensors = IndexMap::new();
    for (name, entry) in raw.0 {
        let checked = check_entry(&entry, data_len).map_err(|f| entry_error(path, &name, f))?;
        if tensors.contains_key(&name) {
            return Err(entry_error(path, &name, EntryFault::Duplicate));
        }
        tensors.insert(name, checked);
    }
    tensors.sort_by(|_, a, _, b| (a.begin, a.end).cmp(&(b.begin, b.end)));
    check_cover(&tensors, data_len, path)?;
    Ok(tensors)
}

fn check_entry(entry: &RawEntry, data_len: u64) -> Result<TensorHeader, EntryFault> {
    let dtype =
        DType::from_name(&entry.dtype).ok_or_else(|| EntryFault::UnknownDType { dtype: entry.dtype.clone() })?;
    let overflow = || EntryFault::Overflow { shape: entry.shape.clone() };
    let needs = entry.shape.iter().try_fold(dtype.size() as u64, |n, &d| n.checked_mul(d)).ok_or_else(overflow)?;
    let shape = entry.shape.iter().map(|&d| usize::try_from(d).map_err(|_| overflow())).collect::<Result<_, _>>()?;
    let (begin, end) = entry.data_offsets;
    let has = end.checked_sub(begin).ok_or(EntryFault::Reversed { begin, end })?;
    if end > data_len {
        return Err(EntryFault::BeyondFile { end, has: data_len });
    }
    if needs != has {
        return Err(EntryFault::Length { needs, has });
    }
    Ok(TensorHeader { dtype, shape, begin: begin as usize, end: end as usize })
}

fn check_cover(tensors: &IndexMap<String, TensorHeader>, data_len: u64, path: &Path) -> Result<(), ModelError> {
    let gap = |from: usize, to: u64| ModelError::Header {
        path: path.to_path_buf(),
        fault: HeaderFault::Gap { from: from as u64, bytes: to - from as u64 },
    };
    let mut end = 0;
    let mut previous = "";
    for (name, entry) in tensors {
        if entry.begin < end {
            let other = previous.into();
            return Err(entry_error(path, name, EntryFault::Overlap { other }));
        }
        if entry.begin > end {
            return Err(gap(end, entry.begin as u64));
        }
        end = entry.end;
        previous = name;
    }
    if (end as u64) < data_len {
        return Err(gap(end, data_len));
    }
    Ok(())
}

fn entry_error(path: &Path, tensor: &str, fault: EntryFault) -> ModelError {
    ModelError::Entry { path: path.to_path_buf(), tensor: tensor.into(), fault }
}

/// The header as written: a list, so that a name that comes twice is seen.
struct RawHeader(Vec<(String, RawEntry)>);

#[derive(Deserialize)]
struct RawEntry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = RawHeader;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object from tensor names to their types, shapes and offsets")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader, A::Error> {
                let mut entries = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        map.next_value::<IgnoredAny>()?;
                    } else {
                        entries.push((name, map.next_value()?));
                    }
                }
                Ok(RawHeader(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}
