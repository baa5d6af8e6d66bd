//! What goes into a product and comes out of it, and the choice of the machine's instructions.

use std::marker::PhantomData;
use std::ops::Range;

use super::lanes::{PANEL, Portable, Vector};
use super::storage::Storage;
use super::tile::Whole;
use super::{amx, parallel};

/// Rows up to which weights are widened in registers.
pub(crate) const FEW: usize = 4;

/// The right side of a product in f32: panels of 32 output columns, each `depth × 32`.
pub(crate) struct Panels<'a> {
    /// The panels, one every `stride` elements.
    pub data: &'a [f32],
    /// How many multiply-adds make one element.
    pub depth: usize,
    /// Distance from one panel to the next, at least `32 · depth`.
    pub stride: usize,
}

/// The right side of a product in any storage.
#[derive(Clone, Copy)]
pub(crate) struct Operand<'a> {
    /// How the panels are kept.
    pub storage: Storage,
    /// The panels, one every `stride` bytes.
    pub data: &'a [u8],
    /// How many multiply-adds make one element.
    pub depth: usize,
    /// Distance from one panel to the next.
    pub stride: usize,
}

/// Where a product goes: a row-major matrix that several threads fill, each its own columns.
pub(crate) struct Target<'a> {
    data: *mut f32,
    pub(crate) rows: usize,
    /// The column after the last.
    pub(crate) cols: usize,
    /// From one row to the next.
    pub(crate) stride: usize,
    /// The column of the first panel.
    pub(crate) first: usize,
    /// Whether sums begin from what stands there, rather than from zero.
    pub(crate) adds: bool,
    _life: PhantomData<&'a mut [f32]>,
}

// SAFETY: a `Target` is only written through `product`, whose callers give each thread its own panels, that is columns.
#[expect(unsafe_code, reason = "threads write disjoint columns of one matrix")]
unsafe impl Sync for Target<'_> {}

impl<'a> Target<'a> {
    /// The matrix `data` of `cols` columns.
    pub(crate) fn new(data: &'a mut [f32], cols: usize) -> Self {
        Self {
            rows: data.len() / cols,
            cols,
            stride: cols,
            first: 0,
            adds: false,
            data: data.as_mut_ptr(),
            _life: PhantomData,
        }
    }

    /// Some columns of the matrix `data`, the panels being those of the first of them; what lies after them stays as it is.
    pub(crate) fn some(data: &'a mut [f32], stride: usize, columns: Range<usize>) -> Self {
        assert!(columns.end <= stride);
        Self {
            rows: data.len() / stride,
            cols: columns.end,
            first: columns.start,
            stride,
            adds: false,
            data: data.as_mut_ptr(),
            _life: PhantomData,
        }
    }

    /// The same from column `first` on.
    pub(crate) fn from(self, first: usize) -> Self {
        Self { first, ..self }
    }

    /// Some of its rows, which must be there.
    pub(crate) fn rows(&self, rows: Range<usize>) -> Self {
        assert!(rows.start <= rows.end && rows.end <= self.rows);
        Self { data: self.data.wrapping_add(rows.start * self.stride), rows: rows.len(), ..*self }
    }

    /// The same with sums that begin from what stands there.
    pub(crate) fn adding(self) -> Self {
        Self { adds: true, ..self }
    }

    /// The start of row `r`, which is there.
    #[expect(unsafe_code, reason = "threads write disjoint parts of one matrix")]
    pub(crate) unsafe fn row(&self, r: usize) -> *mut f32 {
        // SAFETY: the caller's promise.
        unsafe { self.data.add(r * self.stride) }
    }
}

/// What computes products.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Units {
    /// Vector instructions, the widest that the machine has: the same bits on all machines.
    #[default]
    Vectors,
    /// The matrix tiles of newer x86 processors (AMX): several times as fast, and the same up to the rounding of f32.
    Tiles,
}

impl Units {
    /// Whether this machine has them.
    pub fn available(self) -> bool {
        match self {
            Self::Vectors => true,
            Self::Tiles => amx::available(),
        }
    }
}

/// The left side of a product.
#[derive(Clone, Copy)]
pub(crate) enum Input<'a> {
    /// Row `i` begins at `i · stride`.
    Rows { x: &'a [f32], stride: usize },
    /// [`pack`]ed for the tiles of vector instructions.
    Packed(&'a [f32]),
    /// Taken apart for [`Units::Tiles`]; of each row the columns from `from` on, a multiple of 32.
    Apart { rows: &'a amx::Rows, from: usize },
}

/// Packs `rows` rows of `x`, as many as [`worth_packing`] says, for the machine's tiles: tile by tile, column by column.
pub(crate) fn pack(x: &[f32], rows: usize, threads: usize, out: &mut [f32]) {
    assert_eq!(x.len(), out.len());
    if x.is_empty() {
        return;
    }
    let (depth, most) = (x.len() / rows, rows_of_tile());
    let target = Target::new(out, depth);
    parallel::ranges(threads, x.len() * 4, tile_count(rows, most), 1, |tiles| {
        for tile in tiles {
            let rows = tile_rows(rows, most, tile);
            let height = rows.len();
            // SAFETY: the rows of different tiles do not overlap, and each tile is given to one thread.
            #[expect(unsafe_code, reason = "threads write disjoint rows of one matrix")]
            let out = unsafe { std::slice::from_raw_parts_mut(target.row(rows.start), height * depth) };
            let rows = &x[rows.start * depth..rows.end * depth];
            // As many columns at a time as stay in the first cache.
            for (some, out) in out.chunks_mut(64 * height).enumerate() {
                for (r, row) in rows.chunks_exact(depth).enumerate() {
                    for (column, &x) in out.chunks_exact_mut(height).zip(&row[some * 64..]) {
                        column[r] = x;
                    }
                }
            }
        }
    });
}

/// Whether so many rows go through tiles, and by enough panels to be packed first.
pub(crate) fn worth_packing(rows: usize, panels: usize) -> bool {
    rows > FEW && panels > 4
}

/// The panels that a thread should take at least: few rows go over several at a time.
pub(crate) fn grain(rows: usize) -> usize {
    if rows <= FEW { 4 } else { 1 }
}

/// Tiles that `rows` rows make, of at most `most` rows each.
pub(crate) fn tile_count(rows: usize, most: usize) -> usize {
    rows.div_ceil(most)
}

/// The rows of one tile: all are of as equal a height as possible.
pub(crate) fn tile_rows(rows: usize, most: usize, tile: usize) -> Range<usize> {
    let tiles = tile_count(rows, most);
    rows * tile / tiles..rows * (tile + 1) / tiles
}

/// `target[i][j] = Σ x[i][k] · w[j][k]` for the columns `j` of the panels `range`.
///
/// Each panel of one target is given to one call only. Panics if `x` or the panels are shorter than that.
pub(crate) fn product(x: Input<'_>, panels: &Panels<'_>, range: Range<usize>, target: &Target<'_>) {
    let data = bytemuck::cast_slice(panels.data);
    let operand = Operand { storage: Storage::F32, data, depth: panels.depth, stride: panels.stride * 4 };
    multiply(x, &operand, range, target);
}

/// [`product`] for any storage.
pub(crate) fn multiply(input: Input<'_>, operand: &Operand<'_>, range: Range<usize>, target: &Target<'_>) {
    if range.is_empty() || target.rows == 0 {
        return;
    }
    let panel = operand.storage.panel_bytes(operand.depth);
    match input {
        Input::Rows { x, stride } => {
            assert!(stride >= operand.depth && x.len() >= (target.rows - 1) * stride + operand.depth);
        }
        Input::Packed(x) => assert!(target.rows > FEW && x.len() == target.rows * operand.depth),
        Input::Apart { rows, from } => {
            assert!(rows.rows() == target.rows && from.is_multiple_of(32) && from + operand.depth <= rows.depth());
        }
    }
    assert!(operand.stride >= panel && operand.depth.is_multiple_of(operand.storage.block_cols()));
    assert!(operand.data.len() >= (range.end - 1) * operand.stride + panel);
    assert!(target.first + (range.end - 1) * PANEL < target.cols);
    if let Input::Apart { rows, from } = input {
        // SAFETY: the lengths are those asserted above, and rows are taken apart where there are tiles.
        #[expect(unsafe_code, reason = "run-time choice of the instruction set")]
        return unsafe { amx::multiply(rows, from, operand, range, target) };
    }
    // SAFETY: the lengths are those asserted above, and the machine has the instructions that were found.
    #[expect(unsafe_code, reason = "run-time choice of the instruction set")]
    unsafe {
        for_this_machine()(input, operand, range, target);
    }
}

/// A product for one set of instructions.
pub(crate) type Product = unsafe fn(Input<'_>, &Operand<'_>, Range<usize>, &Target<'_>);

/// The fastest that the machine can run.
fn for_this_machine() -> Product {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            return x86::product_avx512;
        }
        if has_avx2() {
            return x86::product_avx2;
        }
    }
    #[cfg(target_arch = "aarch64")]
    return product_with::<std::arch::aarch64::float32x4_t>;
    #[cfg(not(target_arch = "aarch64"))]
    product_with::<Portable>
}

/// Rows of a tile of the machine's [`Product`].
fn rows_of_tile() -> usize {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            return <std::arch::x86_64::__m512 as Vector>::ROWS;
        }
        if has_avx2() {
            return <std::arch::x86_64::__m256 as Vector>::ROWS;
        }
    }
    #[cfg(target_arch = "aarch64")]
    return <std::arch::aarch64::float32x4_t as Vector>::ROWS;
    #[cfg(not(target_arch = "aarch64"))]
    Portable::ROWS
}

#[cfg(target_arch = "x86_64")]
pub(crate) fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c")
}

/// # Safety
/// The lengths are those that [`multiply`] asserts, and the machine has the instructions of `V`.
#[inline(always)]
#[expect(unsafe_code, reason = "unchecked pointers in the innermost loops")]
pub(crate) unsafe fn product_with<V: Vector>(
    input: Input<'_>,
    operand: &Operand<'_>,
    range: Range<usize>,
    target: &Target<'_>,
) {
    let whole = Whole::<V>::new(operand, target);
    // SAFETY: the caller's promise.
    unsafe {
        match input {
            Input::Rows { x, stride } if target.rows <= FEW => whole.few(x, stride, range),
            Input::Rows { x, stride } => whole.many::<false>(x, stride, range),
            Input::Packed(x) => whole.many::<true>(x, operand.depth, range),
            Input::Apart { .. } => {}
        }
    }
}

/// As [`super::roofline::multiply_adds`].
pub(crate) fn multiply_adds(rounds: u64) -> f32 {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the feature is there.
            #[expect(unsafe_code, reason = "run-time choice of the instruction set")]
            return unsafe { x86::multiply_adds_avx512(rounds) };
        }
        if has_avx2() {
            // SAFETY: as above.
            #[expect(unsafe_code, reason = "run-time choice of the instruction set")]
            return unsafe { x86::multiply_adds_avx2(rounds) };
        }
    }
    #[cfg(target_arch = "aarch64")]
    return multiply_adds_with::<std::arch::aarch64::float32x4_t, 24>(rounds);
    #[cfg(not(target_arch = "aarch64"))]
    multiply_adds_with::<Portable, 2>(rounds)
}

/// `N` vectors that take part in 24 · 16 / (N · WIDTH) multiply-adds each a round.
#[inline(always)]
fn multiply_adds_with<V: Vector, const N: usize>(rounds: u64) -> f32 {
    let mut sums = [V::zero(); N];
    let (mut a, mut b) = (V::splat(1.0), V::splat(1.0e-3));
    for _ in 0..rounds {
        (a, b) = std::hint::black_box((a, b));
        for _ in 0..24 * 16 / (N * V::WIDTH) {
            for sum in &mut sums {
                *sum = a.multiply_add(b, *sum);
            }
        }
    }
    let mut line = [0.0; PANEL];
    for sum in sums {
        // SAFETY: a vector has no more elements than a panel has rows.
        #[expect(unsafe_code, reason = "writes through a pointer")]
        unsafe {
            sum.store(line.as_mut_ptr());
        }
        std::hint::black_box(&mut line);
    }
    line[0]
}

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "unchecked pointers in the innermost loops")]
pub(crate) mod x86 {
    use std::arch::x86_64::{__m256, __m512};

    use super::*;

    /// # Safety
    /// As [`product_with`].
    #[target_feature(enable = "avx512f")]
    pub(crate) unsafe fn product_avx512(
        input: Input<'_>,
        operand: &Operand<'_>,
        range: Range<usize>,
        target: &Target<'_>,
    ) {
        // SAFETY: the caller's promise.
        unsafe { product_with::<__m512>(input, operand, range, target) };
    }

    /// # Safety
    /// As [`product_with`].
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(crate) unsafe fn product_avx2(
        input: Input<'_>,
        operand: &Operand<'_>,
        range: Range<usize>,
        target: &Target<'_>,
    ) {
        // SAFETY: the caller's promise.
        unsafe { product_with::<__m256>(input, operand, range, target) };
    }

    /// As [`multiply_adds`].
    #[target_feature(enable = "avx512f")]
    pub(crate) fn multiply_adds_avx512(rounds: u64) -> f32 {
        multiply_adds_with::<__m512, 24>(rounds)
    }

    /// As [`multiply_adds`].
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(crate) fn multiply_adds_avx2(rounds: u64) -> f32 {
        multiply_adds_with::<__m256, 12>(rounds)
    }
}
