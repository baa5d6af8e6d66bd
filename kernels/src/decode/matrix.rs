//! Packed matrices and the one matrix product that everything in the decoder is made of.
//!
//! A [`Matrix`] of `rows × cols` is kept in panels of 32 rows, each panel column by column (see [`Storage`]), so that the
//! product `y = x · Wᵀ` reads it from front to back. Every element of a product is one chain of fused multiply-adds over the
//! columns in ascending order, starting from zero. Nothing else enters it: the bits of `y[i][j]` depend on row `i` of `x` and
//! row `j` of `W` alone, whatever else is in the batch, on however many threads, on every machine, and in whatever storage
//! that holds the same numbers.

use rayon::prelude::*;

use super::blocks::{self, BlockError};
pub use super::lanes::PANEL;
use super::lines::{Line, Scratch, line_bytes, line_bytes_mut};
use super::parallel;
use super::product::{self, Input, Operand, Target};
pub use super::storage::Storage;

/// A matrix packed for `x · Wᵀ`.
pub struct Matrix {
    rows: usize,
    cols: usize,
    storage: Storage,
    /// The panels, one after the other; rows beyond the last are zero.
    data: Vec<Line>,
}

impl Matrix {
    /// Packs a `rows × cols` matrix as f32. `fill(i, row)` writes row `i` into `row`, which has `cols` elements.
    pub fn pack(rows: usize, cols: usize, threads: usize, fill: impl Fn(usize, &mut [f32]) + Sync) -> Self {
        Self::build(rows, cols, Storage::F32, threads, |first, count, panel| {
            let mut some = vec![0.0f32; count * cols];
            for (i, row) in some.chunks_exact_mut(cols.max(1)).enumerate() {
                fill(first + i, row);
            }
            transpose(&some, cols, bytemuck::cast_slice_mut(panel), |lane| lane);
        })
    }

    /// Packs a row-major matrix as f32. Panics if `data` has not `rows · cols` elements.
    pub fn from_rows(rows: usize, cols: usize, data: &[f32], threads: usize) -> Self {
        assert_eq!(data.len(), rows * cols, "row-major data of {rows} × {cols}");
        Self::pack(rows, cols, threads, |i, row| {
            row.copy_from_slice(&data[i * cols..(i + 1) * cols]);
        })
    }

    /// Packs a matrix of 16-bit floating-point numbers as they are: [`Storage::F16`] if `f16`, else [`Storage::Bf16`].
    /// `fill(i, row)` writes the bits of row `i` into `row`, which has `cols` elements.
    pub fn pack_halves(
        rows: usize,
        cols: usize,
        f16: bool,
        threads: usize,
        fill: impl Fn(usize, &mut [u16]) + Sync,
    ) -> Self {
        let storage = if f16 { Storage::F16 } else { Storage::Bf16 };
        Self::build(rows, cols, storage, threads, |first, count, panel| {
            let mut some = vec![0u16; count * cols];
            for (i, row) in some.chunks_exact_mut(cols.max(1)).enumerate() {
                fill(first + i, row);
            }
            // Words hold rows `i` and `16 + i` of bf16 panels.
            let place = |lane| if f16 { lane } else { lane % 16 * 2 + lane / 16 };
            transpose(&some, cols, bytemuck::cast_slice_mut(panel), place);
        })
    }

    /// Packs a matrix of quantised blocks as they are. `row(i)` gives the blocks of row `i` as GGUF files have them.
    ///
    /// An error if `cols` is no whole number of blocks, if `storage` is not made of blocks, or if a row is not of the
    /// length that its blocks have.
    pub fn pack_blocks<'a>(
        rows: usize,
        cols: usize,
        storage: Storage,
        threads: usize,
        row: impl Fn(usize) -> &'a [u8] + Sync,
    ) -> Result<Self, BlockError> {
        let needs = blocks::row_bytes(storage, cols)?;
        for i in 0..rows {
            blocks::check_row(row(i), needs)?;
        }
        Ok(Self::build(rows, cols, storage, threads, |first, count, panel| {
            for lane in 0..count {
                blocks::pack_row(storage, row(first + lane), lane, panel);
            }
        }))
    }

    /// Fills each panel: `fill(first row, number of rows, bytes)`; the bytes are zero before.
    fn build(
        rows: usize,
        cols: usize,
        storage: Storage,
        threads: usize,
        fill: impl Fn(usize, usize, &mut [u8]) + Sync,
    ) -> Self {
        let lines = storage.panel_bytes(cols) / size_of::<Line>();
        let mut data = vec![Line::ZERO; rows.div_ceil(PANEL) * lines];
        let one = |(panel, out): (usize, &mut [Line])| {
            let first = panel * PANEL;
            fill(first, PANEL.min(rows - first), line_bytes_mut(out));
        };
        if threads > 1 {
            data.par_chunks_mut(lines.max(1)).enumerate().for_each(one);
        } else {
            data.chunks_mut(lines.max(1)).enumerate().for_each(one);
        }
        Self { rows, cols, storage, data }
    }

    /// Number of rows: the width of a product.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns: the width of what is multiplied.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// How the elements are kept.
    pub fn storage(&self) -> Storage {
        self.storage
    }

    /// Bytes of memory that the elements take.
    pub fn bytes(&self) -> usize {
        size_of_val(self.data.as_slice())
    }

    /// Writes row `i` into `out` as f32. Panics if `i` or the length of `out` is out of range.
    pub fn row(&self, i: usize, out: &mut [f32]) {
        assert!(i < self.rows && out.len() == self.cols);
        let size = self.storage.panel_bytes(self.cols);
        let panel = &line_bytes(&self.data)[i / PANEL * size..][..size];
        blocks::unpack_row(self.storage, panel, i % PANEL, out);
    }

    /// `y = x · Wᵀ`, both row-major: `x` is `n × cols`, `y` becomes `n × rows`. Panics if the lengths do not fit.
    pub fn multiply(&self, x: &[f32], y: &mut [f32], threads: usize) {
        multiply_all(x, &mut [(self, y)], threads);
    }

    /// The matrix as the loops take it.
    pub(super) fn operand(&self) -> Operand<'_> {
        let stride = self.storage.panel_bytes(self.cols);
        Operand { storage: self.storage, data: line_bytes(&self.data), depth: self.cols, stride }
    }
}

/// Several products of one `x`, `y = x · Wᵀ` for each `(W, y)`, shared among threads as one. The bits are those of
/// [`Matrix::multiply`]. Panics if the lengths do not fit.
pub fn multiply_all(x: &[f32], products: &mut [(&Matrix, &mut [f32])], threads: usize) {
    let mut parts = Vec::with_capacity(products.len());
    let (mut panels, mut rows, mut work) = (0, 0, 0);
    for (matrix, y) in products {
        if matrix.rows == 0 || y.is_empty() {
            continue;
        }
        rows = y.len() / matrix.rows;
        assert_eq!(y.len(), rows * matrix.rows, "whole rows of the product");
        assert_eq!(x.len(), rows * matrix.cols, "as many rows in as out");
        parts.push((panels, *matrix, Target::new(y, matrix.rows)));
        panels += matrix.rows.div_ceil(PANEL);
        work += rows * matrix.rows * matrix.cols;
    }
    let share = |input: Input<'_>| {
        parallel::ranges(threads, work, panels, product::grain(rows), |range| {
            for (first, matrix, target) in &parts {
                let own = |panel: usize| panel.clamp(*first, first + matrix.rows.div_ceil(PANEL)) - first;
                product::multiply(input, &matrix.operand(), own(range.start)..own(range.end), target);
            }
        });
    };
    if product::worth_packing(rows, panels) {
        let mut scratch = Scratch::take(x.len());
        product::pack(x, rows, threads, &mut scratch);
        share(Input::Packed(&scratch));
    } else if let Some((_, matrix, _)) = parts.first() {
        share(Input::Rows { x, stride: matrix.cols });
    }
}

/// Writes up to 32 rows of `cols` elements into a panel, element `lane` of a column to `place(lane)`.
fn transpose<T: Copy>(rows: &[T], cols: usize, panel: &mut [T], place: impl Fn(usize) -> usize) {
    /// Columns at a time, so that what is written stays in the first cache.
    const SOME: usize = 64;
    for from in (0..cols).step_by(SOME) {
        let to = (from + SOME).min(cols);
        for (lane, row) in rows.chunks_exact(cols).enumerate() {
            let place = place(lane);
            for (column, &x) in panel[from * PANEL..to * PANEL].chunks_exact_mut(PANEL).zip(&row[from..to]) {
                column[place] = x;
            }
        }
    }
}

impl std::fmt::Debug for Matrix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Matrix({} × {}, {:?})", self.rows, self.cols, self.storage)
    }
}
