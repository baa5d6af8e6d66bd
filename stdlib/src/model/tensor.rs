//! Read-only tensors that are shared, never copied: by the models that have them and by the files they come from.

mod cut;
mod low_rank;
mod made;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use evo_kernels::matmul::Matrix;
use half::vec::HalfFloatVecExt;
use half::{bf16, f16};
use indexmap::IndexMap;
use memmap2::Mmap;

pub use cut::Cut;
pub use made::{Recipe, ViewMut};

use super::blocks::{Blocks, copy};

#[cfg(target_endian = "big")]
compile_error!("tensor files are little-endian and are used in place; a big-endian machine needs a conversion here");

/// The tensors of a model by their Hugging Face names, in the order of the files.
pub type Tensors = IndexMap<String, Tensor>;

/// The type of a tensor's elements, named as in safetensors files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    /// 64-bit floating point.
    F64,
    /// 32-bit floating point.
    F32,
    /// 16-bit floating point (IEEE half).
    F16,
    /// The upper half of an F32.
    BF16,
    /// 64-bit signed integer.
    I64,
    /// 32-bit signed integer.
    I32,
    /// 16-bit signed integer.
    I16,
    /// 8-bit signed integer.
    I8,
    /// 64-bit unsigned integer.
    U64,
    /// 32-bit unsigned integer.
    U32,
    /// 16-bit unsigned integer.
    U16,
    /// 8-bit unsigned integer.
    U8,
    /// A byte that is 0 or 1.
    Bool,
    /// 8-bit floating point, 4 bits of exponent.
    F8E4M3,
    /// 8-bit floating point, 5 bits of exponent.
    F8E5M2,
}

impl DType {
    const ALL: [(Self, &'static str, usize); 15] = [
        (Self::F64, "F64", 8),
        (Self::F32, "F32", 4),
        (Self::F16, "F16", 2),
        (Self::BF16, "BF16", 2),
        (Self::I64, "I64", 8),
        (Self::I32, "I32", 4),
        (Self::I16, "I16", 2),
        (Self::I8, "I8", 1),
        (Self::U64, "U64", 8),
        (Self::U32, "U32", 4),
        (Self::U16, "U16", 2),
        (Self::U8, "U8", 1),
        (Self::Bool, "BOOL", 1),
        (Self::F8E4M3, "F8_E4M3", 1),
        (Self::F8E5M2, "F8_E5M2", 1),
    ];

    fn row(self) -> (Self, &'static str, usize) {
        Self::ALL.into_iter().find(|row| row.0 == self).unwrap_or((self, "F32", 4))
    }

    /// The type with this name in safetensors files, such as `BF16`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|row| row.1 == name).map(|row| row.0)
    }

    /// The name in safetensors files.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// Bytes of one element.
    pub fn size(self) -> usize {
        self.row().2
    }

    /// Whether weights can be of this type: F32, BF16 or F16 (and F64).
    pub fn is_float(self) -> bool {
        matches!(self, Self::F64 | Self::F32 | Self::F16 | Self::BF16)
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A read-only tensor, row-major. Cloning shares the data, which is a slice of a mapped file or owned memory.
#[derive(Clone)]
pub struct Tensor(Arc<Inner>);

struct Inner {
    dtype: DType,
    shape: Vec<usize>,
    storage: Storage,
    digest: OnceLock<blake3::Hash>,
    packed: OnceLock<Arc<Matrix>>,
    vector: OnceLock<Arc<[f32]>>,
    cuts: cut::Cuts,
}

enum Storage {
    Mapped { map: Arc<Mmap>, start: usize, len: usize },
    F32(Vec<f32>),
    Half(Vec<u16>),
    Bytes(Vec<u8>),
    Blocks(Blocks),
    Made(made::Made),
}

/// The data of a tensor of weights, borrowed in its own element type.
#[derive(Clone, Copy, Debug)]
pub enum View<'a> {
    /// F32 data.
    F32(&'a [f32]),
    /// BF16 data.
    BF16(&'a [bf16]),
    /// F16 data.
    F16(&'a [f16]),
}

/// Why a tensor cannot be made: the data's length is not what shape and element type ask for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{has} bytes of data for a {dtype} tensor of shape {shape:?}")]
pub struct LengthError {
    /// The element type.
    pub dtype: DType,
    /// The shape.
    pub shape: Vec<usize>,
    /// The data's length in bytes.
    pub has: usize,
}

impl Tensor {
    /// A tensor that owns f32 data. An error if the length is not the product of the shape.
    pub fn from_f32(data: Vec<f32>, shape: Vec<usize>) -> Result<Self, LengthError> {
        Self::new(DType::F32, shape, Storage::F32(data))
    }

    /// A tensor that owns bf16 data.
    pub fn from_bf16(data: Vec<bf16>, shape: Vec<usize>) -> Result<Self, LengthError> {
        let data = data.reinterpret_into();
        Self::new(DType::BF16, shape, Storage::Half(data))
    }

    /// A tensor that owns f16 data.
    pub fn from_f16(data: Vec<f16>, shape: Vec<usize>) -> Result<Self, LengthError> {
        let data = data.reinterpret_into();
        Self::new(DType::F16, shape, Storage::Half(data))
    }

    /// A tensor of any type that owns its little-endian bytes.
    pub fn from_bytes(dtype: DType, shape: Vec<usize>, bytes: Vec<u8>) -> Result<Self, LengthError> {
        Self::new(dtype, shape, Storage::Bytes(bytes))
    }

    /// A tensor of the floating-point type `dtype` with these values, rounded to nearest even; for F32 without a copy.
    /// Types other than F32, BF16, F16 give F32.
    pub fn from_f32_as(dtype: DType, data: Vec<f32>, shape: Vec<usize>) -> Result<Self, LengthError> {
        match dtype {
            DType::BF16 => Self::from_bf16(data.into_iter().map(bf16::from_f32).collect(), shape),
            DType::F16 => Self::from_f16(data.into_iter().map(f16::from_f32).collect(), shape),
            _ => Self::from_f32(data, shape),
        }
    }

    /// A tensor that is the slice `start..start + len` of a mapped file. An error if the slice leaves the file.
    pub(super) fn from_map(
        dtype: DType,
        shape: Vec<usize>,
        map: Arc<Mmap>,
        start: usize,
        len: usize,
    ) -> Result<Self, LengthError> {
        Self::new(dtype, shape, Storage::Mapped { map, start, len })
    }

    /// An F32 tensor that is a matrix of a GGUF file, whatever it is packed as there. Its numbers are computed when they are
    /// first asked for; the decoder takes the blocks as they are.
    pub(super) fn from_blocks(blocks: Blocks) -> Self {
        Self::unchecked(DType::F32, blocks.shape(), Storage::Blocks(blocks))
    }

    /// A tensor of F32, BF16 or F16 elements that `recipe` computes, whenever and wherever they are needed: straight into packed
    /// form for the decoder, as a whole for [`Tensor::bytes`]. Other types give F32.
    pub fn from_recipe(dtype: DType, shape: Vec<usize>, recipe: Arc<dyn Recipe>) -> Self {
        let dtype = if matches!(dtype, DType::BF16 | DType::F16) { dtype } else { DType::F32 };
        let made = made::Made::new(dtype, shape.iter().product(), recipe);
        Self::unchecked(dtype, shape, Storage::Made(made))
    }

    fn new(dtype: DType, shape: Vec<usize>, storage: Storage) -> Result<Self, LengthError> {
        let needs = shape.iter().try_fold(dtype.size(), |n, &d| n.checked_mul(d));
        let has = storage.bytes().len();
        if needs != Some(has) {
            return Err(LengthError { dtype, shape, has });
        }
        Ok(Self::unchecked(dtype, shape, storage))
    }

    fn unchecked(dtype: DType, shape: Vec<usize>, storage: Storage) -> Self {
        Self(Arc::new(Inner {
            dtype,
            shape,
            storage,
            digest: OnceLock::new(),
            packed: OnceLock::new(),
            vector: OnceLock::new(),
            cuts: cut::Cuts::default(),
        }))
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.0.dtype
    }

    /// The shape, outermost dimension first.
    pub fn shape(&self) -> &[usize] {
        &self.0.shape
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.0.shape.iter().product()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of bytes of the data.
    pub fn byte_len(&self) -> usize {
        self.len() * self.0.dtype.size()
    }

    /// The data as little-endian bytes. Those of a recipe, and of a packed matrix of a GGUF file as f32, are computed now, and kept.
    pub fn bytes(&self) -> &[u8] {
        self.0.storage.bytes()
    }

    /// The same, but nothing is kept that is not there already.
    pub fn data(&self) -> Cow<'_, [u8]> {
        match &self.0.storage {
            Storage::Made(made) => made.data(),
            storage => Cow::Borrowed(storage.bytes()),
        }
    }

    /// The data in its own type, without a copy: `None` for other types than F32, BF16, F16, and for a file that
    /// does not align its data (then [`Tensor::to_f32`] still reads it).
    pub fn view(&self) -> Option<View<'_>> {
        match self.0.dtype {
            DType::F32 => bytemuck::try_cast_slice(self.bytes()).ok().map(View::F32),
            DType::BF16 => bytemuck::try_cast_slice(self.bytes()).ok().map(View::BF16),
            DType::F16 => bytemuck::try_cast_slice(self.bytes()).ok().map(View::F16),
            _ => None,
        }
    }

    /// The values as f32: borrowed if that is how they are stored, else converted. `None` if the elements are not
    /// floating-point numbers ([`DType::is_float`]).
    pub fn to_f32(&self) -> Option<Cow<'_, [f32]>> {
        match self.view() {
            Some(View::F32(data)) => return Some(Cow::Borrowed(data)),
            Some(View::BF16(data)) => {
                return Some(Cow::Owned(data.iter().map(|x| x.to_f32()).collect()));
            }
            Some(View::F16(data)) => {
                return Some(Cow::Owned(data.iter().map(|x| x.to_f32()).collect()));
            }
            None => {}
        }
        let bytes = self.bytes();
        let values = match self.0.dtype {
            DType::F32 => each(bytes, f32::from_le_bytes),
            DType::F64 => each(bytes, |b| f64::from_le_bytes(b) as f32),
            DType::BF16 => each(bytes, |b| bf16::from_le_bytes(b).to_f32()),
            DType::F16 => each(bytes, |b| f16::from_le_bytes(b).to_f32()),
            _ => return None,
        };
        Some(Cow::Owned(values))
    }

    /// Writes the elements from `start` on as f32 into `out`: whether there are so many, of a floating-point type.
    pub fn read(&self, start: usize, out: &mut [f32]) -> bool {
        fn all<E: Copy>(from: &[E], start: usize, out: &mut [f32], convert: impl Fn(E) -> f32) -> bool {
            let from = from.get(start..start + out.len()).unwrap_or_default();
            out.iter_mut().zip(from).for_each(|(y, x)| *y = convert(*x));
            from.len() == out.len()
        }
        match self.view() {
            Some(View::F32(data)) => all(data, start, out, |x| x),
            Some(View::BF16(data)) => all(data, start, out, bf16::to_f32),
            Some(View::F16(data)) => all(data, start, out, f16::to_f32),
            None => self.to_f32().is_some_and(|data| all(&data, start, out, |x| x)),
        }
    }

    /// The matrix packed for the decoder: in its own type if that is BF16, F16 or F32, in the blocks of its GGUF file, else
    /// in f32; `None` unless it is two-dimensional and floating-point.
    ///
    /// Packed once and kept as long as the tensor lives, so that models that share the tensor share the packed form too.
    pub fn packed(&self, threads: usize) -> Option<Arc<Matrix>> {
        let &[rows, cols] = self.shape() else {
            return None;
        };
        if let Some(packed) = self.0.packed.get() {
            return Some(packed.clone());
        }
        let packed = match (&self.0.storage, self.0.dtype) {
            (Storage::Blocks(blocks), _) => blocks.packed(threads)?,
            (Storage::Made(made), _) => made.packed(rows, cols, threads)?,
            (_, DType::F32) => Matrix::pack(rows, cols, threads, |rows, out| self.copy_rows(rows, out)),
            (_, DType::BF16) => Matrix::pack_halves(rows, cols, false, threads, |rows, out| self.copy_rows(rows, out)),
            (_, DType::F16) => Matrix::pack_halves(rows, cols, true, threads, |rows, out| self.copy_rows(rows, out)),
            _ => Matrix::from_rows(rows, cols, &self.to_f32()?, threads),
        };
        Some(self.0.packed.get_or_init(|| Arc::new(packed)).clone())
    }

    /// Copies some rows of a matrix as they are.
    fn copy_rows<T: bytemuck::Pod>(&self, rows: Range<usize>, out: &mut [T]) {
        let len = self.0.shape.last().map_or(0, |cols| cols * self.0.dtype.size());
        copy(self.bytes().get(rows.start * len..rows.end * len).unwrap_or_default(), out);
    }

    /// The values as shared f32, for the decoder's norms and biases; kept as [`Tensor::packed`] is.
    pub fn vector(&self) -> Option<Arc<[f32]>> {
        let values = self.to_f32()?;
        Some(self.0.vector.get_or_init(|| values.into()).clone())
    }

    /// Whether both are one and the same tensor in memory. Equal tensors that were made apart are not.
    pub fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The blake3 hash of the bytes; computed once and kept with the tensor.
    pub fn digest(&self) -> blake3::Hash {
        *self.0.digest.get_or_init(|| {
            let mut hasher = blake3::Hasher::new();
            match &self.0.storage {
                Storage::Blocks(blocks) => blocks.each_row(|row| {
                    hasher.update(bytemuck::cast_slice(row));
                }),
                _ => {
                    hasher.update(&self.data());
                }
            }
            hasher.finalize()
        })
    }
}

impl Storage {
    fn bytes(&self) -> &[u8] {
        match self {
            // A slice that leaves the file is empty, and so fails the length test of every tensor but an empty one.
            Self::Mapped { map, start, len } => {
                start.checked_add(*len).and_then(|end| map.get(*start..end)).unwrap_or_default()
            }
            Self::F32(data) => bytemuck::cast_slice(data),
            Self::Half(data) => bytemuck::cast_slice(data),
            Self::Bytes(data) => data,
            Self::Blocks(blocks) => bytemuck::cast_slice(blocks.values()),
            Self::Made(made) => made.bytes(),
        }
    }
}

fn each<const N: usize>(bytes: &[u8], convert: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    bytes.as_chunks::<N>().0.iter().map(|chunk| convert(*chunk)).collect()
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:?}", self.0.dtype, self.0.shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_its_own_row() {
        for (dtype, name, size) in DType::ALL {
            assert_eq!(DType::from_name(name), Some(dtype));
            assert_eq!((dtype.name(), dtype.size()), (name, size));
        }
    }

    #[test]
    fn length_must_fit_the_shape() {
        assert!(Tensor::from_f32(vec![0.0; 5], vec![2, 3]).is_err());
        assert!(Tensor::from_bytes(DType::F32, vec![usize::MAX, 8], vec![]).is_err());
        assert!(Tensor::from_f32(vec![], vec![0, 3]).is_ok());
    }

    #[test]
    fn a_file_that_does_not_align_its_data_reads_the_same() {
        use std::io::Write;

        let values = [1.5f32, -2.25, 1e-3, 7.0];
        for dtype in [DType::F32, DType::BF16, DType::F16] {
            let aligned = Tensor::from_f32_as(dtype, values.to_vec(), vec![2, 2]).unwrap();
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&[0]).unwrap();
            file.write_all(aligned.bytes()).unwrap();
            let map = Arc::new(super::super::map::map(&file).unwrap());
            let len = aligned.bytes().len();
            let odd = Tensor::from_map(dtype, vec![2, 2], map.clone(), 1, len).unwrap();
            assert!(odd.view().is_none());
            assert_eq!(odd.to_f32(), aligned.to_f32());
            let (mut a, mut b) = ([0.0; 2], [0.0; 2]);
            odd.packed(1).unwrap().row(1, &mut a);
            aligned.packed(1).unwrap().row(1, &mut b);
            assert_eq!(a, b);
            assert!(Tensor::from_map(dtype, vec![2, 2], map, 2, len).is_err());
        }
    }

    #[test]
    fn halves_round_trip() {
        let values = vec![0.0, 1.0, -3.5, 65504.0];
        for dtype in [DType::BF16, DType::F16, DType::F32] {
            let tensor = Tensor::from_f32_as(dtype, values.clone(), vec![4]).unwrap();
            assert_eq!(tensor.dtype(), dtype);
            if dtype != DType::BF16 {
                assert_eq!(tensor.to_f32().unwrap().as_ref(), values.as_slice());
            }
        }
    }
}
