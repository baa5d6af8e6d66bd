//! What stands for the matrix tiles on machines that have none: nothing can be made of it.

use std::ops::Range;

use super::product::{Operand, Target};

/// No rows were ever taken apart.
pub(crate) enum Rows {}

impl Rows {
    pub(crate) fn of(_x: &[f32], _rows: usize, _threads: usize) -> Self {
        unreachable!("there are no tiles: `Units::available` says so")
    }

    pub(crate) fn rows(&self) -> usize {
        match *self {}
    }

    pub(crate) fn depth(&self) -> usize {
        match *self {}
    }
}

pub(crate) fn available() -> bool {
    false
}

#[expect(unsafe_code, reason = "as where there are tiles")]
pub(crate) unsafe fn multiply(x: &Rows, _: usize, _: &Operand<'_>, _: Range<usize>, _: &Target<'_>) {
    match *x {}
}
