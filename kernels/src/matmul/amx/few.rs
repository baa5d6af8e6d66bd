//! Very few rows: the arithmetic of tiles by vector instructions, which read each weight once and store no parts of it.

use std::arch::x86_64::*;
use std::ops::Range;

use super::{COLS, PARTS, weight_parts};
use crate::matmul::lanes::PANEL;
use crate::matmul::lines::Scratch;
use crate::matmul::product::{Operand, Target};
use crate::matmul::storage::{Read, for_storage};

/// Rows at the most.
pub(crate) const ROWS: usize = 2;

/// Bytes from what is read to what is fetched meanwhile: a page, where the machine's own prefetching ends.
const AHEAD: usize = 4096;

/// Rows taken apart: for each row each part, as floats.
pub(crate) struct Few {
    data: Scratch,
    pub(crate) rows: usize,
    pub(crate) depth: usize,
}

impl Few {
    /// Takes up to [`ROWS`] rows of `x` apart.
    pub(crate) fn of(x: &[f32], rows: usize) -> Self {
        let depth = x.len() / rows.max(1);
        assert!(rows <= ROWS && rows * depth == x.len(), "few whole rows");
        let mut data = Scratch::take(x.len() * PARTS);
        let nearest = |x: f32| half::bf16::from_f32(x).to_f32();
        for (row, out) in x.chunks_exact(depth.max(1)).zip(data.chunks_exact_mut((depth * PARTS).max(1))) {
            let (first, second) = out.split_at_mut(depth);
            for ((&x, first), second) in row.iter().zip(first).zip(second) {
                *first = nearest(x);
                *second = nearest(x - *first);
            }
        }
        Self { data, rows, depth }
    }
}

/// Rows from some column on.
struct Columns {
    /// That of the first part of the first row.
    at: *const f32,
    /// From one part to the next.
    depth: usize,
}

/// [`super::multiply`] of few rows.
///
/// # Safety
/// As there, and the machine has the instructions.
#[expect(unsafe_code, reason = "unchecked pointers in the innermost loops")]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16,f16c")]
pub(crate) unsafe fn multiply(x: &Few, from: usize, operand: &Operand<'_>, range: Range<usize>, target: &Target<'_>) {
    assert!(x.depth >= from + operand.depth && x.rows == target.rows);
    let x = &Columns { at: x.data[from..].as_ptr(), depth: x.depth };
    let mut panel = range.start;
    while panel < range.end {
        let two = panel + 1 < range.end;
        // SAFETY: the caller's promise; the panels are there.
        unsafe {
            match (weight_parts(operand.storage), target.rows) {
                (1, 1) if two => for_storage!(operand.storage, S => stream::<S, 1, 1, 2>(x, operand, panel, target)),
                (1, 1) => for_storage!(operand.storage, S => stream::<S, 1, 1, 1>(x, operand, panel, target)),
                (1, _) => for_storage!(operand.storage, S => stream::<S, 1, 2, 1>(x, operand, panel, target)),
                (_, 1) if two => for_storage!(operand.storage, S => stream::<S, 2, 1, 2>(x, operand, panel, target)),
                (_, 1) => for_storage!(operand.storage, S => stream::<S, 2, 1, 1>(x, operand, panel, target)),
                _ => for_storage!(operand.storage, S => stream::<S, 2, 2, 1>(x, operand, panel, target)),
            }
            panel += if target.rows == 1 && two { 2 } else { 1 };
        }
    }
}

/// The bf16 numbers nearest to some floats, ties to even, as floats.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn nearest(x: __m512) -> __m512 {
    // SAFETY: both types are 16 halves.
    #[expect(unsafe_code, reason = "a vector of another type")]
    let halves: __m256i = unsafe { std::mem::transmute(_mm512_cvtneps_pbh(x)) };
    _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(halves)))
}

/// `R` rows by `P` panels from `panel` on, of weights of `Q` parts.
///
/// # Safety
/// As [`multiply`].
#[inline]
#[expect(unsafe_code, reason = "unchecked pointers in the innermost loops")]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16,f16c")]
unsafe fn stream<S: Read, const Q: usize, const R: usize, const P: usize>(
    x: &Columns,
    operand: &Operand<'_>,
    panel: usize,
    target: &Target<'_>,
) {
    let depth = operand.depth;
    let data: [*const u8; P] =
        std::array::from_fn(|p| operand.data.as_ptr().wrapping_add((panel + p) * operand.stride));
    let mut sums = [[[_mm512_setzero_ps(); 2]; P]; R];
    // SAFETY: the panels lie within the data, the columns within the panels and the rows.
    unsafe {
        if target.adds {
            for (r, sums) in sums.iter_mut().enumerate() {
                for (p, sums) in sums.iter_mut().enumerate() {
                    let mut line = [0.0; PANEL];
                    let (at, width) = place(target, r, panel + p);
                    std::ptr::copy_nonoverlapping(at, line.as_mut_ptr(), width);
                    *sums = [_mm512_loadu_ps(line.as_ptr()), _mm512_loadu_ps(line.as_ptr().add(16))];
                }
            }
        }
        for block in (0..depth).step_by(COLS) {
            add_block::<S, Q, R, P>(x, operand, data, block..(block + COLS).min(depth), &mut sums);
        }
        for (r, sums) in sums.iter().enumerate() {
            for (p, sums) in sums.iter().enumerate() {
                let mut line = [0.0; PANEL];
                _mm512_storeu_ps(line.as_mut_ptr(), sums[0]);
                _mm512_storeu_ps(line.as_mut_ptr().add(16), sums[1]);
                let (at, width) = place(target, r, panel + p);
                std::ptr::copy_nonoverlapping(line.as_ptr(), at, width);
            }
        }
    }
}

/// One block of columns.
///
/// # Safety
/// As [`multiply`]; `data` are the panels.
#[inline]
#[expect(unsafe_code, reason = "unchecked pointers in the innermost loops")]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16,f16c")]
unsafe fn add_block<S: Read, const Q: usize, const R: usize, const P: usize>(
    x: &Columns,
    operand: &Operand<'_>,
    data: [*const u8; P],
    columns: Range<usize>,
    sums: &mut [[[__m512; 2]; P]; R],
) {
    let bytes = operand.storage.panel_bytes(256);
    // SAFETY: the panels lie within the data, the columns within the panels and the rows.
    unsafe {
        // Sums of even and of odd columns: for both parts of a row with the first of a weight, and for the first with the second.
        let mut even = [[[[_mm512_setzero_ps(); 2]; 3]; P]; R];
        let mut odd = even;
        for shared in columns.clone().step_by(if S::SHARE == 1 { COLS } else { S::SHARE }) {
            let mut scales = [S::scales::<__m512>(data[0], shared, 0); P];
            for p in 1..P {
                scales[p] = S::scales(data[p], shared, 0);
            }
            let stop = if S::SHARE == 1 { columns.end } else { shared + S::SHARE };
            for step in (shared..stop).step_by(if S::STEP == 1 { 2 } else { S::STEP }) {
                for data in data {
                    for line in 0..S::LINES * if S::STEP == 1 { 2 } else { 1 } {
                        super::tiles::fetch(data.wrapping_add(AHEAD + step * bytes / 256 + 64 * line));
                    }
                }
                for p in 0..P {
                    let words = S::words::<__m512>(data[p], step, 0);
                    for i in (0..if S::STEP == 1 { 2 } else { S::STEP }).step_by(2) {
                        let first = S::column(&scales[p], &words, i);
                        add::<Q, R, P>(x, step + i, p, first, &mut even);
                        if S::STEP == 1 {
                            if step + 1 < columns.end {
                                let words = S::words::<__m512>(data[p], step + 1, 0);
                                add::<Q, R, P>(x, step + 1, p, S::column(&scales[p], &words, 0), &mut odd);
                            }
                        } else {
                            add::<Q, R, P>(x, step + i + 1, p, S::column(&scales[p], &words, i + 1), &mut odd);
                        }
                    }
                }
            }
        }
        for r in 0..R {
            for p in 0..P {
                for part in 0..PARTS + Q - 1 {
                    for v in 0..2 {
                        let both = _mm512_add_ps(even[r][p][part][v], odd[r][p][part][v]);
                        sums[r][p][v] = _mm512_add_ps(sums[r][p][v], both);
                    }
                }
            }
        }
    }
}

/// Where the columns of a panel stand in row `r`, and how many there are.
///
/// # Safety
/// The row and one of the columns are there.
#[inline(always)]
#[expect(unsafe_code, reason = "threads write disjoint parts of one matrix")]
unsafe fn place(target: &Target<'_>, r: usize, panel: usize) -> (*mut f32, usize) {
    let column = target.first + panel * PANEL;
    // SAFETY: the caller's promise.
    (unsafe { target.row(r).add(column) }, PANEL.min(target.cols - column))
}

/// The multiply-adds of column `k`.
///
/// # Safety
/// The column is there.
#[inline]
#[expect(unsafe_code, reason = "unchecked pointers in the innermost loops")]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn add<const Q: usize, const R: usize, const P: usize>(
    x: &Columns,
    k: usize,
    p: usize,
    w: [__m512; 2],
    sums: &mut [[[[__m512; 2]; 3]; P]; R],
) {
    let parts = if Q == 1 {
        [w, w]
    } else {
        let first = [nearest(w[0]), nearest(w[1])];
        [first, [nearest(_mm512_sub_ps(w[0], first[0])), nearest(_mm512_sub_ps(w[1], first[1]))]]
    };
    for (r, sums) in sums.iter_mut().enumerate() {
        // SAFETY: each row has its parts, each part its columns.
        let row = unsafe { x.at.add(r * PARTS * x.depth + k) };
        // SAFETY: as above.
        let x = unsafe { [_mm512_set1_ps(*row), _mm512_set1_ps(*row.add(x.depth))] };
        for v in 0..2 {
            sums[p][0][v] = _mm512_fmadd_ps(x[0], parts[0][v], sums[p][0][v]);
            sums[p][1][v] = _mm512_fmadd_ps(x[1], parts[0][v], sums[p][1][v]);
            if Q == 2 {
                sums[p][2][v] = _mm512_fmadd_ps(x[0], parts[1][v], sums[p][2][v]);
            }
        }
    }
}
