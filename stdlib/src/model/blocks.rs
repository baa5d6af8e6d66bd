//! Matrices of a GGUF file, left in the file as they are packed there until numbers are asked for.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use evo_kernels::matmul::blocks::{dequantise, row_bytes};
use evo_kernels::matmul::{Matrix, Storage};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use memmap2::Mmap;
use rayon::prelude::*;

/// A matrix within a mapped file.
pub(super) struct Blocks {
    map: Arc<Mmap>,
    storage: Storage,
    cols: usize,
    /// Where each row begins in the file, and how many bytes it takes.
    start: usize,
    row_bytes: usize,
    /// Rows of a head whose halves the file interleaves; 0 if rows stand as they are.
    head_dim: usize,
    rows: usize,
    /// The numbers, once they were asked for.
    values: OnceLock<Vec<f32>>,
}

impl Blocks {
    /// The `rows × cols` matrix of `len` bytes from `start` on; `None` if that is not its length, or not in the file.
    ///
    /// If `head_dim` is not 0, each so many rows are a head, whose row `2i + a` in the file is row `a · head_dim / 2 + i`
    /// here.
    pub(super) fn new(
        map: Arc<Mmap>,
        storage: Storage,
        (rows, cols): (usize, usize),
        (start, len): (usize, usize),
        head_dim: usize,
    ) -> Option<Self> {
        let row_bytes = match storage {
            Storage::F32 => cols.checked_mul(4)?,
            Storage::F16 | Storage::Bf16 => cols.checked_mul(2)?,
            _ => row_bytes(storage, cols).ok()?,
        };
        let fits = row_bytes.checked_mul(rows) == Some(len) && start.checked_add(len)? <= map.len();
        let whole = head_dim == 0 || head_dim.is_multiple_of(2) && rows.is_multiple_of(head_dim);
        (fits && whole).then(|| Self { map, storage, cols, start, row_bytes, head_dim, rows, values: OnceLock::new() })
    }

    /// Rows and columns.
    pub(super) fn shape(&self) -> Vec<usize> {
        vec![self.rows, self.cols]
    }

    /// Some of the rows, as a matrix of its own; `None` of one that interleaves heads.
    pub(super) fn rows(&self, rows: Range<usize>) -> Option<Self> {
        let within = rows.start <= rows.end && rows.end <= self.rows && self.head_dim == 0;
        within.then(|| Self {
            map: Arc::clone(&self.map),
            start: self.start + rows.start * self.row_bytes,
            rows: rows.len(),
            values: OnceLock::new(),
            ..*self
        })
    }

    /// Row `i` as the file has it; nothing if there is no such row.
    fn row(&self, i: usize) -> &[u8] {
        let half = self.head_dim / 2;
        let i = if half == 0 { i } else { i - i % self.head_dim + 2 * (i % half) + i % self.head_dim / half };
        let start = self.start + i * self.row_bytes;
        self.map.get(start..start + self.row_bytes).unwrap_or_default()
    }

    /// Writes row `i` as f32 into `out`.
    fn numbers(&self, i: usize, out: &mut [f32]) {
        let row = self.row(i);
        match self.storage {
            Storage::F32 => copy(row, out),
            Storage::F16 => {
                let mut halves = vec![f16::ZERO; out.len()];
                copy(row, &mut halves);
                halves.convert_to_f32_slice(out);
            }
            Storage::Bf16 => {
                let mut halves = vec![bf16::ZERO; out.len()];
                copy(row, &mut halves);
                halves.convert_to_f32_slice(out);
            }
            // The lengths were compared when the matrix was made.
            _ => dequantise(self.storage, row, out).unwrap_or_default(),
        }
    }

    /// All numbers: computed when first asked for, and kept.
    pub(super) fn values(&self) -> &[f32] {
        if let Some(values) = self.values.get() {
            return values;
        }
        let mut values = vec![0.0; self.rows * self.cols];
        values.par_chunks_exact_mut(self.cols.max(1)).enumerate().for_each(|(i, row)| self.numbers(i, row));
        self.values.get_or_init(|| values)
    }

    /// Calls `f` with row after row of numbers, without keeping them.
    pub(super) fn each_row(&self, mut f: impl FnMut(&[f32])) {
        let mut row = vec![0.0; self.cols];
        for i in 0..self.rows {
            self.numbers(i, &mut row);
            f(&row);
        }
    }

    /// Copies some rows as the file has them.
    fn copy_rows<T: bytemuck::Pod>(&self, rows: Range<usize>, out: &mut [T]) {
        for (i, row) in rows.zip(out.chunks_exact_mut(self.cols.max(1))) {
            copy(self.row(i), row);
        }
    }

    /// The matrix packed for the decoder, in the file's own storage.
    pub(super) fn packed(&self, threads: usize) -> Option<Matrix> {
        let (rows, cols) = (self.rows, self.cols);
        match self.storage {
            Storage::F32 => Some(Matrix::pack(rows, cols, threads, |rows, out| self.copy_rows(rows, out))),
            Storage::F16 | Storage::Bf16 => {
                let f16 = self.storage == Storage::F16;
                Some(Matrix::pack_halves(rows, cols, f16, threads, |rows, out| self.copy_rows(rows, out)))
            }
            storage => Matrix::pack_blocks(rows, cols, storage, threads, |i| self.row(i)).ok(),
        }
    }
}

/// Copies the bytes of numbers, aligned or not; nothing if their number is another.
pub(super) fn copy<T: bytemuck::Pod>(from: &[u8], to: &mut [T]) {
    let to: &mut [u8] = bytemuck::cast_slice_mut(to);
    if from.len() == to.len() {
        to.copy_from_slice(from);
    }
}
