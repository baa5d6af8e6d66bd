//! Packed matrices and the one matrix product that everything in the decoder is made of.
//!
//! A [`Matrix`] of `rows × cols` is kept in panels of 32 rows, each panel column by column, so that the product
//! `y = x · Wᵀ` reads it from front to back. Every element of a product is one chain of fused multiply-adds over the columns
//! in ascending order, starting from zero. Nothing else enters it: the bits of `y[i][j]` depend on row `i` of `x` and row
//! `j` of `W` alone, whatever else is in the batch, on however many threads, on every machine.

use rayon::prelude::*;

use super::parallel;
use super::tile;

/// Rows of a panel.
pub const PANEL: usize = 32;

/// A matrix packed for `x · Wᵀ`.
pub struct Matrix {
    rows: usize,
    cols: usize,
    /// `[panel][column][row within the panel]`; rows beyond the last are zero.
    data: Vec<f32>,
}

impl Matrix {
    /// Packs a `rows × cols` matrix. `fill(i, row)` writes row `i` into `row`, which has `cols` elements and is zero before.
    pub fn pack(rows: usize, cols: usize, threads: usize, fill: impl Fn(usize, &mut [f32]) + Sync) -> Self {
        let panels = rows.div_ceil(PANEL);
        let mut data = vec![0.0; panels * cols * PANEL];
        let pack_panel = |(panel, out): (usize, &mut [f32])| {
            let mut row = vec![0.0; cols];
            for lane in 0..PANEL.min(rows - panel * PANEL) {
                row.fill(0.0);
                fill(panel * PANEL + lane, &mut row);
                for (column, &x) in out.chunks_exact_mut(PANEL).zip(&row) {
                    column[lane] = x;
                }
            }
        };
        let size = (cols * PANEL).max(1);
        if threads > 1 {
            data.par_chunks_mut(size).enumerate().for_each(pack_panel);
        } else {
            data.chunks_mut(size).enumerate().for_each(pack_panel);
        }
        Self { rows, cols, data }
    }

    /// Packs a row-major matrix. Panics if `data` has not `rows · cols` elements.
    pub fn from_rows(rows: usize, cols: usize, data: &[f32], threads: usize) -> Self {
        assert_eq!(data.len(), rows * cols, "row-major data of {rows} × {cols}");
        Self::pack(rows, cols, threads, |i, row| {
            row.copy_from_slice(&data[i * cols..(i + 1) * cols]);
        })
    }

    /// Number of rows: the width of a product.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns: the width of what is multiplied.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Copies row `i` into `out`. Panics if `i` or the length of `out` is out of range.
    pub fn row(&self, i: usize, out: &mut [f32]) {
        assert!(i < self.rows && out.len() == self.cols);
        let panel = &self.data[i / PANEL * self.cols * PANEL..][..self.cols * PANEL];
        for (x, column) in out.iter_mut().zip(panel.chunks_exact(PANEL)) {
            *x = column[i % PANEL];
        }
    }

    /// `y = x · Wᵀ`, both row-major: `x` is `n × cols`, `y` becomes `n × rows`. Panics if the lengths do not fit.
    pub fn multiply(&self, x: &[f32], y: &mut [f32], threads: usize) {
        if self.rows == 0 || y.is_empty() {
            return;
        }
        let n = y.len() / self.rows;
        assert_eq!(y.len(), n * self.rows, "whole rows of the product");
        assert_eq!(x.len(), n * self.cols, "as many rows in as out");
        let out = tile::Target::new(y, self.rows);
        let work = n * self.rows * self.cols;
        parallel::ranges(threads, work, self.rows.div_ceil(PANEL), |panels| {
            let operand = tile::Panels { data: &self.data, depth: self.cols, stride: self.cols * PANEL };
            tile::product(x, self.cols, &operand, panels, &out);
        });
    }
}

impl std::fmt::Debug for Matrix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Matrix({} × {})", self.rows, self.cols)
    }
}
