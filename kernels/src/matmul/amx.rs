//! Products on the matrix tiles (AMX) that newer x86 processors have.
//!
//! A tile instruction multiplies bf16 numbers and adds up in f32. A float goes in as two bf16 numbers, the one nearest to it and the
//! one nearest to what is left: they miss it by 2⁻¹⁸ of it at the most. Of the four products of parts that of both second ones
//! is left out, which is as small (Henry, Tang & Heinecke, 2019, "Leveraging the bfloat16 artificial intelligence datatype for
//! higher-precision computations"). A weight that is kept in bf16 has one part, so that two products remain. Weights stay packed
//! as they are for all other instructions: a panel is taken apart when its turn comes, and all rows go over it.
//!
//! An element is one sum whatever else is in the batch, on any number of threads, and in whatever storage that holds the same
//! numbers: for each block of 32 columns, and in it for the parts (first of the row, first of the weight), (second, first) and
//! (first, second), the multiply-adds of its even columns and those of its odd ones, each from zero in ascending order, are added
//! to each other and then to the element. Vector instructions give the same bits, and are faster for very few rows
//! ([`few`]), unless a sum is so small (2⁻¹²⁶) that tiles take it for zero.

use std::ops::Range;

use super::product::{Operand, Target};
use super::storage::Storage;

mod few;
mod panels;
#[cfg(test)]
mod tests;
mod tiles;

pub(crate) use panels::Parts;
pub(crate) use tiles::available;

/// Columns that a tile of bf16 numbers spans.
const COLS: usize = 32;
/// Rows of a tile at most.
const ROWS: usize = 16;
/// Parts of a float.
const PARTS: usize = 2;

/// Parts of the weights of a storage that are not all zero.
fn weight_parts(storage: Storage) -> usize {
    if storage == Storage::Bf16 { 1 } else { PARTS }
}

/// Rows of a product, ready for [`multiply`].
pub(crate) enum Rows {
    /// So few that vectors go over them.
    Few(few::Few),
    /// For tiles.
    Many(Parts),
}

impl Rows {
    /// Takes `rows` rows of `x` apart. Panics if there are no tiles.
    pub(crate) fn of(x: &[f32], rows: usize, threads: usize) -> Self {
        assert!(available(), "tiles");
        if rows <= few::ROWS { Self::Few(few::Few::of(x, rows)) } else { Self::Many(Parts::of(x, rows, threads)) }
    }

    /// How many.
    pub(crate) fn rows(&self) -> usize {
        match self {
            Self::Few(x) => x.rows,
            Self::Many(x) => x.rows,
        }
    }

    /// Columns of each.
    pub(crate) fn depth(&self) -> usize {
        match self {
            Self::Few(x) => x.depth,
            Self::Many(x) => x.depth,
        }
    }
}

/// [`super::product::multiply`] in this arithmetic, of the columns of `x` from `from` on.
///
/// # Safety
/// `x` has a row for each of the target's and, from `from` on, which is a multiple of 32, the operand's columns. The panels lie within the operand's data and, of the first 32 columns at least one, within the target; each is this call's alone.
#[expect(unsafe_code, reason = "unchecked pointers in the innermost loops")]
pub(crate) unsafe fn multiply(x: &Rows, from: usize, operand: &Operand<'_>, range: Range<usize>, target: &Target<'_>) {
    // SAFETY: the caller's promise; whoever made the rows has found that there are tiles, and so the vectors beside them.
    unsafe {
        match x {
            Rows::Few(x) => few::multiply(x, from, operand, range, target),
            Rows::Many(x) => panels::multiply(x, from / COLS, operand, range, target),
        }
    }
}
