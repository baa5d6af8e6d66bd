//! The GGUF container: metadata and the table of tensors, believed only as far as the file's length allows.
//!
//! The format: `GGUF`, a version, counts, metadata (key, type, value), the table of tensors, padding, data
//! (<https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>). Versions 2 and 3, little-endian.

use candle_core::quantized::GgmlDType;
use indexmap::IndexMap;

/// How deep lists of lists may go; real files have plain lists.
const DEPTH: usize = 4;

/// Metadata by key, and tensors by their GGUF names, in the order of the file.
pub(super) struct Contents {
    /// The metadata.
    pub metadata: IndexMap<String, Value>,
    /// The tensors.
    pub tensors: IndexMap<String, Info>,
}

/// A metadata value; numbers of all widths become the widest of their kind.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// A whole number.
    Int(i128),
    /// A floating-point number.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// A text; bytes that are no UTF-8 became U+FFFD.
    Text(String),
    /// A list.
    List(Vec<Value>),
}

/// What the table tells about one tensor, checked against the file's length.
#[derive(Clone, Debug)]
pub(super) struct Info {
    /// How the numbers are packed.
    pub dtype: GgmlDType,
    /// The shape, outermost dimension first (the file has it the other way round).
    pub shape: Vec<usize>,
    /// Where the data begin in the file.
    pub start: usize,
    /// Bytes of data.
    pub len: usize,
}

/// Reads everything but the weights. The error says what is wrong, to be read after the file's name.
pub(super) fn read(bytes: &[u8]) -> Result<Contents, String> {
    let mut cursor = Cursor { bytes, at: 0 };
    if cursor.take(4)? != b"GGUF" {
        return Err("it does not begin with `GGUF`".into());
    }
    let version = cursor.u32()?;
    if !matches!(version, 2 | 3) {
        return Err(format!("its version is {version}; 2 and 3 are known"));
    }
    let tensor_count = cursor.count("tensors", 24)?;
    let metadata_count = cursor.count("metadata entries", 13)?;
    let mut metadata = IndexMap::new();
    for _ in 0..metadata_count {
        let key = cursor.text()?;
        let kind = cursor.u32()?;
        let value = cursor.value(kind, 0)?;
        if metadata.insert(key.clone(), value).is_some() {
            return Err(format!("metadata `{key}` appears twice"));
        }
    }
    let mut raw = Vec::new();
    for _ in 0..tensor_count {
        raw.push(cursor.tensor()?);
    }
    let alignment = match metadata.get("general.alignment") {
        None => 32,
        Some(Value::Int(n @ 1..=65_536)) => *n as usize,
        Some(other) => return Err(format!("its alignment is {other:?}")),
    };
    let data = cursor.at.next_multiple_of(alignment);
    Ok(Contents { metadata, tensors: place(raw, data, bytes.len())? })
}

struct RawInfo {
    name: String,
    dims: Vec<u64>,
    dtype: u32,
    offset: u64,
}

/// Checks sizes and places; no two tensors may overlap.
fn place(raw: Vec<RawInfo>, data: usize, file: usize) -> Result<IndexMap<String, Info>, String> {
    let mut tensors = IndexMap::new();
    for info in raw {
        let name = info.name;
        let bad = |cause: String| format!("tensor `{name}` {cause}");
        let checked = check(&info.dims, info.dtype, info.offset, data, file).map_err(bad)?;
        if tensors.insert(name.clone(), checked).is_some() {
            return Err(format!("tensor `{name}` appears twice"));
        }
    }
    let mut order: Vec<(&String, &Info)> = tensors.iter().collect();
    order.sort_by_key(|(_, info)| info.start);
    for pair in order.windows(2) {
        if let [(first, a), (second, b)] = pair
            && a.start + a.len > b.start
        {
            return Err(format!("tensor `{second}` overlaps tensor `{first}`"));
        }
    }
    Ok(tensors)
}

fn check(dims: &[u64], dtype: u32, offset: u64, data: usize, file: usize) -> Result<Info, String> {
    let dtype = ggml_dtype(dtype).ok_or_else(|| format!("has the unknown element type {dtype}"))?;
    let overflow = || format!("has an impossible shape {dims:?}");
    let elements =
        dims.iter().try_fold(1usize, |n, &d| n.checked_mul(usize::try_from(d).ok()?)).ok_or_else(overflow)?;
    let width = dims.first().copied().unwrap_or(1);
    if !width.is_multiple_of(dtype.block_size() as u64) {
        return Err(format!("has rows of {width}, no multiple of its block of {}", dtype.block_size()));
    }
    let len = (elements / dtype.block_size()).checked_mul(dtype.type_size()).ok_or_else(overflow)?;
    let start = usize::try_from(offset).ok().and_then(|offset| offset.checked_add(data));
    let end = start.and_then(|start| start.checked_add(len));
    match (start, end) {
        (Some(start), Some(end)) if end <= file => {
            Ok(Info { dtype, shape: dims.iter().rev().map(|&d| d as usize).collect(), start, len })
        }
        _ => Err(format!("needs {len} bytes at offset {offset}, but the file ends before")),
    }
}

/// The packings that candle reads, by ggml's numbers.
fn ggml_dtype(code: u32) -> Option<GgmlDType> {
    Some(match code {
        0 => GgmlDType::F32,
        1 => GgmlDType::F16,
        2 => GgmlDType::Q4_0,
        3 => GgmlDType::Q4_1,
        6 => GgmlDType::Q5_0,
        7 => GgmlDType::Q5_1,
        8 => GgmlDType::Q8_0,
        10 => GgmlDType::Q2K,
        11 => GgmlDType::Q3K,
        12 => GgmlDType::Q4K,
        13 => GgmlDType::Q5K,
        14 => GgmlDType::Q6K,
        30 => GgmlDType::BF16,
        _ => return None,
    })
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> usize {
        self.bytes.len() - self.at
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8], String> {
        let end = self.at.checked_add(n);
        match end.and_then(|end| self.bytes.get(self.at..end)) {
            Some(bytes) => {
                self.at += n;
                Ok(bytes)
            }
            None => Err(format!("it ends at byte {} within its header", self.bytes.len())),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn u32(&mut self) -> Result<u32, String> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, String> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A number of things that take at least `size` bytes each, hence no more than the rest of the file can hold.
    fn count(&mut self, what: &str, size: usize) -> Result<usize, String> {
        let claims = self.u64()?;
        let most = self.rest() / size;
        match usize::try_from(claims) {
            Ok(count) if count <= most => Ok(count),
            _ => Err(format!("it claims {claims} {what}, but is too short for them")),
        }
    }

    fn text(&mut self) -> Result<String, String> {
        let len = self.count("bytes of text", 1)?;
        Ok(String::from_utf8_lossy(self.take(len)?).into_owned())
    }

    fn value(&mut self, kind: u32, depth: usize) -> Result<Value, String> {
        Ok(match kind {
            0 => Value::Int(u8::from_le_bytes(self.array()?).into()),
            1 => Value::Int(i8::from_le_bytes(self.array()?).into()),
            2 => Value::Int(u16::from_le_bytes(self.array()?).into()),
            3 => Value::Int(i16::from_le_bytes(self.array()?).into()),
            4 => Value::Int(self.u32()?.into()),
            5 => Value::Int(i32::from_le_bytes(self.array()?).into()),
            6 => Value::Float(widen(f32::from_le_bytes(self.array()?))),
            7 => Value::Bool(self.array::<1>()? != [0]),
            8 => Value::Text(self.text()?),
            9 if depth < DEPTH => {
                let kind = self.u32()?;
                let count = self.count("list elements", least_size(kind))?;
                let list = (0..count).map(|_| self.value(kind, depth + 1));
                Value::List(list.collect::<Result<_, _>>()?)
            }
            10 => Value::Int(self.u64()?.into()),
            11 => Value::Int(i64::from_le_bytes(self.array()?).into()),
            12 => Value::Float(f64::from_le_bytes(self.array()?)),
            other => {
                return Err(format!("its metadata has a value of the unknown type {other}"));
            }
        })
    }

    fn tensor(&mut self) -> Result<RawInfo, String> {
        let name = self.text()?;
        let rank = self.u32()?;
        if rank > 4 {
            return Err(format!("tensor `{name}` has {rank} dimensions"));
        }
        let dims = (0..rank).map(|_| self.u64()).collect::<Result<_, _>>()?;
        Ok(RawInfo { name, dims, dtype: self.u32()?, offset: self.u64()? })
    }
}

/// The fewest bytes that a value of this type takes.
fn least_size(kind: u32) -> usize {
    match kind {
        2 | 3 => 2,
        4..=6 => 4,
        8 | 10..=12 => 8,
        9 => 12,
        _ => 1,
    }
}

/// The f64 that prints as the f32 does: 1e-5 rather than 9.999999747378752e-6.
fn widen(x: f32) -> f64 {
    x.to_string().parse().unwrap_or_else(|_| x.into())
}
