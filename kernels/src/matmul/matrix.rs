//! Packed matrices and the one matrix product that everything in the decoder is made of.
//!
//! A [`Matrix`] of `rows × cols` is kept in panels of 32 rows, each panel column by column (see [`Storage`]), so that the
//! product `y = x · Wᵀ` reads it from front to back. Every element of a product is one chain of fused multiply-adds over the
//! columns in ascending order, starting from zero. Nothing else enters it: the bits of `y[i][j]` depend on row `i` of `x` and
//! row `j` of `W` alone, whatever else is in the batch, on however many threads, on every machine, and in whatever storage
//! that holds the same numbers.

use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use super::blocks::{self, BlockError};
pub use super::lanes::PANEL;
pub use super::lines::Reuse;
use super::lines::{Line, Lines, Scratch, give_lines, line_bytes, line_bytes_mut, take_lines};
use super::parallel;
use super::product::{self, Input, Operand, Target, Units};
use super::share::share;
pub use super::storage::Storage;
use super::transpose::{transpose, transpose_pairs};

/// A matrix packed for `x · Wᵀ`.
pub struct Matrix {
    rows: usize,
    cols: usize,
    storage: Storage,
    /// The panels, one after the other; rows beyond the last are zero. None if the matrix is another and a difference.
    data: Lines,
    /// The other, and the difference.
    sum: Option<LowRank>,
}

/// `W + B · A`: a matrix and a difference of low rank.
struct LowRank {
    /// `W`, of any kind.
    base: Arc<Matrix>,
    /// `A`, a row for each rank.
    a: Arc<Matrix>,
    /// `B`, a column for each rank.
    b: Arc<Matrix>,
}

impl Matrix {
    /// Packs a `rows × cols` matrix as f32. `fill(rows, out)` writes some rows, at most 32, into `out`, row after row.
    pub fn pack(rows: usize, cols: usize, threads: usize, fill: impl Fn(Range<usize>, &mut [f32]) + Sync) -> Self {
        Self::build(rows, cols, Storage::F32, threads, |rows, panel| {
            let mut scratch = Scratch::take(rows.len() * cols);
            fill(rows, &mut scratch);
            transpose(&scratch, cols, bytemuck::cast_slice_mut(panel));
        })
    }

    /// Packs a row-major matrix as f32. Panics if `data` has not `rows · cols` elements.
    pub fn from_rows(rows: usize, cols: usize, data: &[f32], threads: usize) -> Self {
        assert_eq!(data.len(), rows * cols, "row-major data of {rows} × {cols}");
        Self::pack(rows, cols, threads, |rows, out| out.copy_from_slice(&data[rows.start * cols..rows.end * cols]))
    }

    /// Packs a matrix of 16-bit floating-point numbers as they are: [`Storage::F16`] if `f16`, else [`Storage::Bf16`].
    /// `fill(rows, out)` writes the bits of some rows, as in [`Matrix::pack`].
    pub fn pack_halves(
        rows: usize,
        cols: usize,
        f16: bool,
        threads: usize,
        fill: impl Fn(Range<usize>, &mut [u16]) + Sync,
    ) -> Self {
        let storage = if f16 { Storage::F16 } else { Storage::Bf16 };
        Self::build(rows, cols, storage, threads, |rows, panel| {
            let len = rows.len() * cols;
            let mut scratch = Scratch::take(len.div_ceil(2));
            let some = &mut bytemuck::cast_slice_mut(&mut scratch)[..len];
            fill(rows, some);
            if f16 {
                transpose(some, cols, bytemuck::cast_slice_mut(panel));
            } else {
                transpose_pairs(some, cols, bytemuck::cast_slice_mut(panel));
            }
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
        Ok(Self::build(rows, cols, storage, threads, |rows, panel| {
            for (lane, i) in rows.enumerate() {
                blocks::pack_row(storage, row(i), lane, panel);
            }
        }))
    }

    /// Fills each panel: `fill(rows, bytes)`; the bytes are zero before, unless it is a whole panel of a dense storage.
    fn build(
        rows: usize,
        cols: usize,
        storage: Storage,
        threads: usize,
        fill: impl Fn(Range<usize>, &mut [u8]) + Sync,
    ) -> Self {
        let lines = storage.panel_bytes(cols) / size_of::<Line>();
        let mut data = take_lines(rows.div_ceil(PANEL) * lines);
        let one = |(panel, out): (usize, &mut [Line])| {
            let first = panel * PANEL;
            if storage.block_cols() > 1 || first + PANEL > rows {
                out.fill(Line::ZERO);
            }
            fill(first..(first + PANEL).min(rows), line_bytes_mut(out));
        };
        if threads > 1 {
            data.par_chunks_mut(lines.max(1)).enumerate().for_each(one);
        } else {
            data.chunks_mut(lines.max(1)).enumerate().for_each(one);
        }
        Self { rows, cols, storage, data, sum: None }
    }

    /// The matrix `base + b · a` (a low-rank adaptation; Hu et al., 2021), which shares `base` with whatever else has it. A product is
    /// `x · Wᵀ + (x · Aᵀ) · Bᵀ`: each element goes on from that of the base by one multiply-add for each rank, in ascending order.
    ///
    /// `a` is `rank × cols`, `b` is `rows × rank`; `None` if they are not.
    pub fn with_low_rank(base: Arc<Matrix>, a: Arc<Matrix>, b: Arc<Matrix>) -> Option<Self> {
        let fits = a.cols == base.cols && b.rows == base.rows && a.rows == b.cols;
        let (rows, cols, storage) = (base.rows, base.cols, base.storage);
        fits.then(|| Self { rows, cols, storage, data: Lines::None, sum: Some(LowRank { base, a, b }) })
    }

    /// The matrix whose panels a product begins with.
    fn panels(&self) -> &Matrix {
        let mut matrix = self;
        while let Some(sum) = &matrix.sum {
            matrix = &sum.base;
        }
        matrix
    }

    /// Number of rows: the width of a product.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns: the width of what is multiplied.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// How the elements are kept, or those of the base of a difference.
    pub fn storage(&self) -> Storage {
        self.storage
    }

    /// Bytes of memory that the elements take, those of the base of a difference not counted.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.data) + self.sum.as_ref().map_or(0, |sum| sum.a.bytes() + sum.b.bytes())
    }

    /// Writes row `i` into `out` as f32. Panics if `i` or the length of `out` is out of range.
    pub fn row(&self, i: usize, out: &mut [f32]) {
        assert!(i < self.rows && out.len() == self.cols);
        if let Some(LowRank { base, a, b }) = &self.sum {
            base.row(i, out);
            let (mut factors, mut row) = (vec![0.0; b.cols], vec![0.0; a.cols]);
            b.row(i, &mut factors);
            for (rank, factor) in factors.into_iter().enumerate() {
                a.row(rank, &mut row);
                out.iter_mut().zip(&row).for_each(|(y, x)| *y = factor.mul_add(*x, *y));
            }
            return;
        }
        let size = self.storage.panel_bytes(self.cols);
        let panel = &line_bytes(&self.data)[i / PANEL * size..][..size];
        blocks::unpack_row(self.storage, panel, i % PANEL, out);
    }

    /// `y = x · Wᵀ`, both row-major: `x` is `n × cols`, `y` becomes `n × rows`. Panics if the lengths do not fit.
    pub fn multiply(&self, x: &[f32], y: &mut [f32], threads: usize) {
        self.multiply_on(Units::Vectors, x, y, threads);
    }

    /// [`Matrix::multiply`] on the units named, which must be available.
    pub fn multiply_on(&self, units: Units, x: &[f32], y: &mut [f32], threads: usize) {
        multiply_all(units, x, &mut [(self, y)], threads);
    }

    /// Adds `(x · Aᵀ) · Bᵀ` for each difference, the innermost first.
    fn add_low_rank(&self, x: &[f32], y: &mut [f32], threads: usize) {
        let Some(LowRank { base, a, b }) = &self.sum else { return };
        base.add_low_rank(x, y, threads);
        if self.rows == 0 || a.rows == 0 || y.is_empty() {
            return;
        }
        let rows = y.len() / self.rows;
        let mut narrow = vec![0.0; rows * a.rows];
        a.multiply(x, &mut narrow, threads);
        let target = Target::new(y, self.rows).adding();
        let (panels, operand) = (self.rows.div_ceil(PANEL), b.panels().operand());
        parallel::ranges(threads, rows * self.rows * a.rows, panels, product::grain(rows), |range| {
            product::multiply(Input::Rows { x: &narrow, stride: a.rows }, &operand, range, &target);
        });
        b.add_low_rank(&narrow, y, threads);
    }

    /// The matrix as the loops take it.
    pub(crate) fn operand(&self) -> Operand<'_> {
        let stride = self.storage.panel_bytes(self.cols);
        Operand { storage: self.storage, data: line_bytes(&self.data), depth: self.cols, stride }
    }
}

impl Drop for Matrix {
    fn drop(&mut self) {
        give_lines(std::mem::take(&mut self.data));
    }
}

/// Several products of one `x`, `y = x · Wᵀ` for each `(W, y)`, shared among threads as one. The bits are those of
/// [`Matrix::multiply`]. Panics if the lengths do not fit.
pub fn multiply_all(units: Units, x: &[f32], products: &mut [(&Matrix, &mut [f32])], threads: usize) {
    let mut shares = Vec::with_capacity(products.len());
    let mut rows = 0;
    for (matrix, y) in products.iter_mut() {
        if matrix.rows == 0 || y.is_empty() {
            continue;
        }
        rows = y.len() / matrix.rows;
        assert_eq!(y.len(), rows * matrix.rows, "whole rows of the product");
        assert_eq!(x.len(), rows * matrix.cols, "as many rows in as out");
        shares.push((matrix.panels().operand(), Target::new(y, matrix.rows)));
    }
    share(units, x, rows, &shares, threads);
    drop(shares);
    for (matrix, y) in products {
        matrix.add_low_rank(x, y, threads);
    }
}

impl std::fmt::Debug for Matrix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Matrix({} × {}, {:?})", self.rows, self.cols, self.storage)
    }
}
