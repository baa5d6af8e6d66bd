//! Rows and panels taken apart for tiles, and the loops over all rows.

use std::arch::x86_64::*;
use std::ops::Range;

use super::tiles::{self, Ahead, Sums, TILE, Tiles, fetch};
use super::{COLS, PARTS, ROWS, weight_parts};
use crate::matmul::lanes::PANEL;
use crate::matmul::lines::Scratch;
use crate::matmul::parallel;
use crate::matmul::product::{Operand, Target, tile_count};
use crate::matmul::storage::{Storage, widen};

/// The left side of a product, taken apart: tile by tile of rows, then block by block of 32 columns, then part by part, each tile
/// row by row. Rows and columns that are not there are zero.
pub(crate) struct Parts {
    data: Scratch,
    pub(crate) rows: usize,
    pub(crate) depth: usize,
    /// Rows of each tile.
    height: usize,
}

impl Parts {
    /// Takes `rows` rows of `x` apart. Panics if there are no tiles.
    pub(crate) fn of(x: &[f32], rows: usize, threads: usize) -> Self {
        let depth = x.len() / rows.max(1);
        assert_eq!(rows * depth, x.len(), "whole rows");
        let tiles = tile_count(rows, ROWS);
        let (height, blocks) = (rows.div_ceil(tiles.max(1)), depth.div_ceil(COLS));
        // Two bf16 numbers are as large as a float.
        let size = blocks * PARTS * height * COLS / 2;
        let mut data = Scratch::take(tiles * size);
        parallel::pieces(threads, x.len() * 8, &mut data, size.max(1), |tile, out| {
            let rows = (tile * height).min(rows)..((tile + 1) * height).min(rows);
            rows_apart(&x[rows.start * depth..rows.end * depth], depth, height, bytemuck::cast_slice_mut(out));
        });
        Self { data, rows, depth, height }
    }

    /// Bytes of a block of one tile: all its parts.
    fn block_bytes(&self) -> usize {
        PARTS * self.height * COLS * 2
    }

    /// Blocks of columns.
    fn blocks(&self) -> usize {
        self.depth.div_ceil(COLS)
    }
}

/// Columns that sums go over before they wait in the target: as many as two panels' parts stay in the first cache.
const CHUNK: usize = 192;
/// The same for one tile of rows, so that weights are taken apart while the tiles work.
const SMALL_CHUNK: usize = 128;
/// Bytes of the rows that stay in the second cache while all panels go by.
const BLOCK: usize = 1 << 20;
/// Bytes from what is read to what is fetched meanwhile: a page, where the machine's own prefetching ends.
const AHEAD: usize = 4096;

/// [`super::multiply`] of many rows.
///
/// # Safety
/// As there, and the machine has tiles.
#[expect(unsafe_code, reason = "unchecked pointers in the innermost loops")]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16,f16c")]
pub(crate) unsafe fn multiply(
    x: &Parts,
    block: usize,
    operand: &Operand<'_>,
    range: Range<usize>,
    target: &Target<'_>,
) {
    // SAFETY: the caller's promise.
    unsafe {
        match weight_parts(operand.storage) {
            1 => multiply_parts::<1>(x, block, operand, range, target),
            _ => multiply_parts::<2>(x, block, operand, range, target),
        }
    }
}

/// The same for weights of `Q` parts.
///
/// # Safety
/// As [`multiply`].
#[expect(unsafe_code, reason = "unchecked pointers in the innermost loops")]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16,f16c")]
unsafe fn multiply_parts<const Q: usize>(
    x: &Parts,
    block: usize,
    operand: &Operand<'_>,
    range: Range<usize>,
    target: &Target<'_>,
) {
    assert!(x.depth >= block * COLS + operand.depth && x.rows == target.rows && x.height > 0);
    let count = x.rows.div_ceil(x.height);
    let some = (BLOCK / (x.blocks() * x.block_bytes())).max(1);
    // As many at a time in each turn.
    let some = count.div_ceil(count.div_ceil(some));
    let chunk = if count == 1 { SMALL_CHUNK } else { CHUNK } / if Q == 1 { 1 } else { 2 };
    let weights = chunk / COLS * Q * TILE;
    let mut scratch = Scratch::take(weights + chunk * PANEL + some * ROWS * 2 * PANEL);
    let (weights, rest) = scratch.split_at_mut(weights);
    let (wide, sums) = rest.split_at_mut(chunk * PANEL);
    // SAFETY: there are tiles.
    let _tiles = unsafe { Tiles::begin(x.height) };
    for first in (0..count).step_by(some) {
        let turn = first..(first + some).min(count);
        for panel in range.clone().step_by(2) {
            for from in (0..operand.depth).step_by(chunk) {
                let columns = from..(from + chunk).min(operand.depth);
                let panels = panel..(panel + 2).min(range.end);
                let place = Place { x, block: block + from / COLS, turn: turn.clone(), columns, target, panels };
                // SAFETY: the panels have those columns, and the memory is of the size that they take.
                unsafe {
                    if place.panels.len() == 2 {
                        take_apart::<Q, 4>(operand, &place, weights, wide);
                        place.multiply::<Q, 4>(operand, weights, sums);
                    } else {
                        take_apart::<Q, 2>(operand, &place, weights, wide);
                        place.multiply::<Q, 2>(operand, weights, sums);
                    }
                }
            }
        }
    }
}

/// Some tiles of rows and columns by one panel or two.
struct Place<'a> {
    x: &'a Parts,
    /// Where the columns begin in the rows.
    block: usize,
    turn: Range<usize>,
    columns: Range<usize>,
    target: &'a Target<'a>,
    panels: Range<usize>,
}

impl Place<'_> {
    /// The sums of all those rows go on over those columns. Between the first and the last they wait in `sums`.
    ///
    /// # Safety
    /// As [`multiply`]; `weights` are those of the panels and the columns, `N` tiles side by side.
    #[inline(always)]
    #[expect(unsafe_code, reason = "unchecked pointers in the innermost loops")]
    unsafe fn multiply<const Q: usize, const N: usize>(
        &self,
        operand: &Operand<'_>,
        weights: &[f32],
        sums: &mut [f32],
    ) {
        let Self { x, block: first_block, turn, columns, target, panels } = self;
        let (block, blocks) = (x.block_bytes(), columns.len().div_ceil(COLS));
        let data = x.data.as_ptr().cast::<u8>();
        let column = target.first + panels.start * PANEL;
        let wide = N * PANEL / 2;
        let width = wide.min(target.cols - column);
        let (first, last) = (columns.start == 0, columns.end == operand.depth);
        let mut ahead = self.ahead(operand, turn.len() * blocks);
        for (tile, sums) in turn.clone().zip(sums.chunks_exact_mut(ROWS * wide)) {
            let rows = data.wrapping_add((tile * x.blocks() + first_block) * block);
            let row = tile * x.height;
            let there = x.height.min(target.rows - row);
            // SAFETY: the row is there.
            let at = unsafe { target.row(row).add(column) };
            let line = |r: usize| at.wrapping_add(r * target.stride);
            let waiting = Sums { at: sums.as_mut_ptr(), stride: wide * 4 };
            let whole = (there == x.height && width == wide).then_some(Sums { at, stride: target.stride * 4 });
            if first && target.adds && whole.is_none() {
                for (r, sums) in sums.chunks_exact_mut(wide).take(there).enumerate() {
                    // SAFETY: so many rows and columns are there.
                    unsafe { std::ptr::copy_nonoverlapping(line(r), sums.as_mut_ptr(), width) };
                }
            }
            let from = if first { target.adds.then_some(whole.unwrap_or(waiting)) } else { Some(waiting) };
            let to = if last { whole.unwrap_or(waiting) } else { waiting };
            // SAFETY: the tile and the columns are there, and the sums are this call's.
            unsafe { tiles::go_on::<Q, N>(rows, block / PARTS, weights.as_ptr().cast(), blocks, from, to, &mut ahead) };
            if last && whole.is_none() {
                for (r, sums) in sums.chunks_exact(wide).take(there).enumerate() {
                    // SAFETY: as above.
                    unsafe { std::ptr::copy_nonoverlapping(sums.as_ptr(), line(r), width) };
                }
            }
        }
    }

    /// What comes after these columns, to be fetched in so many steps.
    #[inline(always)]
    fn ahead(&self, operand: &Operand<'_>, steps: usize) -> Ahead {
        let bytes = operand.storage.panel_bytes(256);
        let (panel, from) =
            if self.columns.end < operand.depth { (self.panels.start, self.columns.end) } else { (self.panels.end, 0) };
        // With one tile of rows they are fetched earlier.
        let bytes_left = if self.x.rows <= ROWS { 0 } else { self.columns.len() * bytes / 256 };
        let lines = bytes_left.div_ceil(64 * steps);
        let at = |i: usize| operand.data.as_ptr().wrapping_add((panel + i) * operand.stride + from * bytes / 256);
        Ahead { at: [at(0), at(1)], lines }
    }
}

/// Takes some columns of panels apart: block by block of 32, part by part, tile by tile of 16 rows; each 1 kB, two columns of a row
/// in a word.
///
/// # Safety
/// The panels have the columns, which begin with a block; `out` has room for the blocks, `wide` for the columns.
#[expect(unsafe_code, reason = "unchecked pointers in the innermost loops")]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16,f16c")]
unsafe fn take_apart<const Q: usize, const N: usize>(
    operand: &Operand<'_>,
    place: &Place<'_>,
    out: &mut [f32],
    wide: &mut [f32],
) {
    let columns = place.columns.clone();
    // SAFETY: the caller's promise.
    unsafe {
        let bytes = operand.storage.panel_bytes(256);
        // One tile of rows is done so soon that memory sets the pace: the panels after these are fetched.
        let ahead = if place.x.rows <= ROWS { place.panels.len() * operand.stride } else { AHEAD };
        for (half, panel) in place.panels.clone().enumerate() {
            let base = operand.data.as_ptr().add(panel * operand.stride);
            let out = out.as_mut_ptr().cast::<u8>().add(half * 2 * TILE);
            if operand.storage == Storage::Bf16 {
                halves::<N>(base.add(columns.start * PANEL * 2), columns.len(), ahead, out);
                continue;
            }
            let floats = if operand.storage == Storage::F32 {
                base.cast::<f32>().add(columns.start * PANEL)
            } else {
                widen::<__m512>(operand.storage, base, columns.clone(), wide);
                wide.as_ptr()
            };
            let ahead = base.wrapping_add(columns.start * bytes / 256 + ahead);
            parts::<Q, N>(floats, columns.len(), ahead, bytes, out);
        }
    }
}

/// The lower halves of two columns' words side by side.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16,f16c")]
fn low(first: __m512i, second: __m512i) -> __m512i {
    _mm512_mask_blend_epi16(0xaaaa_aaaa, first, _mm512_slli_epi32::<16>(second))
}

/// The upper halves.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16,f16c")]
fn high(first: __m512i, second: __m512i) -> __m512i {
    _mm512_mask_blend_epi16(0xaaaa_aaaa, _mm512_srli_epi32::<16>(first), second)
}

/// Columns of bf16 panels, two at a time.
///
/// # Safety
/// They are there, and room for their blocks.
#[inline]
#[expect(unsafe_code, reason = "unchecked pointers in the innermost loops")]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16,f16c")]
unsafe fn halves<const N: usize>(from: *const u8, columns: usize, ahead: usize, out: *mut u8) {
    for pair in 0..columns.next_multiple_of(COLS) / 2 {
        let at = from.wrapping_add(pair * 128);
        fetch(at.wrapping_add(ahead));
        fetch(at.wrapping_add(ahead + 64));
        // SAFETY: the caller's promise; a column that is not there is not read.
        unsafe {
            let column = |i: usize| {
                if 2 * pair + i < columns { _mm512_loadu_si512(at.add(64 * i).cast()) } else { _mm512_setzero_si512() }
            };
            let (first, second) = (column(0), column(1));
            let out = out.add(pair / 16 * N * TILE + pair % 16 * 64);
            _mm512_store_si512(out.cast(), low(first, second));
            _mm512_store_si512(out.add(TILE).cast(), high(first, second));
        }
    }
}

/// Columns of floats, two at a time, in `Q` parts.
///
/// # Safety
/// As [`halves`].
#[inline]
#[expect(unsafe_code, reason = "unchecked pointers in the innermost loops")]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16,f16c")]
unsafe fn parts<const Q: usize, const N: usize>(
    from: *const f32,
    columns: usize,
    ahead: *const u8,
    bytes: usize,
    out: *mut u8,
) {
    // Bytes that two columns take where they come from.
    let step = bytes / 128;
    for pair in 0..columns.next_multiple_of(COLS) / 2 {
        for line in 0..step.div_ceil(64) {
            fetch(ahead.wrapping_add(pair * step + 64 * line));
        }
        for half in 0..2 {
            // SAFETY: the caller's promise; a column that is not there is not read.
            unsafe {
                let column = |i: usize| {
                    let k = 2 * pair + i;
                    if k < columns { _mm512_loadu_ps(from.add(k * PANEL + half * 16)) } else { _mm512_setzero_ps() }
                };
                let (mut first, mut second) = (column(0), column(1));
                let out = out.add(pair / 16 * Q * N * TILE + half * TILE + pair % 16 * 64);
                for q in 0..Q {
                    let nearest = nearest(first, second);
                    let nearest = _mm512_permutexvar_epi16(side_by_side(), nearest);
                    _mm512_store_si512(out.add(q * N * TILE).cast(), nearest);
                    first = _mm512_sub_ps(first, _mm512_castsi512_ps(_mm512_slli_epi32::<16>(nearest)));
                    second = _mm512_sub_ps(second, upper(nearest));
                }
            }
        }
    }
}

/// The bf16 numbers nearest to 16 floats and then 16 others, ties to even.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16,f16c")]
fn nearest(first: __m512, second: __m512) -> __m512i {
    // SAFETY: both types are 32 halves.
    #[expect(unsafe_code, reason = "a vector of another type")]
    unsafe {
        std::mem::transmute(_mm512_cvtne2ps_pbh(second, first))
    }
}

/// The upper halves of words as floats.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16,f16c")]
fn upper(words: __m512i) -> __m512 {
    _mm512_castsi512_ps(_mm512_and_si512(words, _mm512_set1_epi32(0xffff_0000_u32.cast_signed())))
}

/// Half `i` and half `16 + i`, for each `i` in turn.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16,f16c")]
fn side_by_side() -> __m512i {
    const ORDER: [u16; 32] = {
        let mut order = [0; 32];
        let mut i = 0;
        while i < 16 {
            order[2 * i] = i as u16;
            order[2 * i + 1] = 16 + i as u16;
            i += 1;
        }
        order
    };
    // SAFETY: 32 halves are there.
    #[expect(unsafe_code, reason = "a load of a vector")]
    unsafe {
        _mm512_loadu_si512(ORDER.as_ptr().cast())
    }
}

/// Takes the rows of a tile apart: block by block of 32 columns, part by part, row by row up to `height`.
pub(crate) fn rows_apart(x: &[f32], depth: usize, height: usize, out: &mut [u16]) {
    let size = PARTS * height * COLS;
    assert!(x.len().is_multiple_of(depth.max(1)) && x.len() <= height * depth);
    assert_eq!(out.len(), depth.div_ceil(COLS) * size);
    if super::available() {
        // SAFETY: who has tiles has those instructions.
        #[expect(unsafe_code, reason = "run-time choice of the instruction set")]
        unsafe {
            blocks_apart(x, depth, height, out);
        }
    }
}

/// The same, with the instructions of those who have tiles.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16,f16c")]
fn blocks_apart(x: &[f32], depth: usize, height: usize, out: &mut [u16]) {
    for (block, out) in out.chunks_exact_mut(PARTS * height * COLS).enumerate() {
        let columns = block * COLS..((block + 1) * COLS).min(depth);
        for (r, row) in x.chunks_exact(depth).enumerate() {
            let mut padded = [0.0; COLS];
            let line = if let Ok(line) = <&[f32; COLS]>::try_from(&row[columns.clone()]) {
                line
            } else {
                padded[..columns.len()].copy_from_slice(&row[columns.clone()]);
                &padded
            };
            // SAFETY: a line is two vectors; row `r` of each part lies within the block, as asserted before.
            #[expect(unsafe_code, reason = "loads and stores of vectors")]
            unsafe {
                let mut left = [_mm512_loadu_ps(line.as_ptr()), _mm512_loadu_ps(line.as_ptr().add(16))];
                for part in 0..PARTS {
                    let halves = nearest(left[0], left[1]);
                    let to = out.as_mut_ptr().add((part * height + r) * COLS);
                    _mm512_storeu_si512(to.cast(), halves);
                    let floats =
                        |halves: __m256i| _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(halves)));
                    left[0] = _mm512_sub_ps(left[0], floats(_mm512_castsi512_si256(halves)));
                    left[1] = _mm512_sub_ps(left[1], floats(_mm512_extracti64x4_epi64::<1>(halves)));
                }
            }
        }
        for part in 0..PARTS {
            out[(part * height + x.len() / depth) * COLS..(part + 1) * height * COLS].fill(0);
        }
    }
}
