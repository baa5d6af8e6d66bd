//! The inner loops of the matrix product, for AVX-512, AVX2 and any other machine: the same chains of fused multiply-adds,
//! hence the same bits.

use std::marker::PhantomData;
use std::ops::Range;

use super::matrix::PANEL;

/// The right side of a product: panels of 32 output columns, each `depth × 32`.
pub(super) struct Panels<'a> {
    /// The panels, one every `stride` elements.
    pub data: &'a [f32],
    /// How many multiply-adds make one element.
    pub depth: usize,
    /// Distance from one panel to the next, at least `32 · depth`.
    pub stride: usize,
}

/// Where a product goes: a row-major matrix that several threads fill, each its own columns.
pub(super) struct Target<'a> {
    data: *mut f32,
    rows: usize,
    cols: usize,
    /// The column of the first panel.
    first: usize,
    /// Whether sums begin from what stands there, rather than from zero.
    adds: bool,
    _life: PhantomData<&'a mut [f32]>,
}

// SAFETY: a `Target` is only written through `product`, whose callers give each thread its own panels, that is columns.
#[expect(unsafe_code, reason = "threads write disjoint columns of one matrix")]
unsafe impl Sync for Target<'_> {}

impl<'a> Target<'a> {
    /// The matrix `data` of `cols` columns.
    pub(super) fn new(data: &'a mut [f32], cols: usize) -> Self {
        Self { rows: data.len() / cols, cols, first: 0, adds: false, data: data.as_mut_ptr(), _life: PhantomData }
    }

    /// The same from column `first` on.
    pub(super) fn from(self, first: usize) -> Self {
        Self { first, ..self }
    }

    /// The same with sums that begin from what stands there.
    pub(super) fn adding(self) -> Self {
        Self { adds: true, ..self }
    }
}

/// `target[i][j] = Σ x[i][k] · w[j][k]` for the columns `j` of the panels `range`; row `i` of `x` begins at `i · stride`.
///
/// Each panel of one target is given to one call only. Panics if `x` or the panels are shorter than that.
pub(super) fn product(x: &[f32], stride: usize, panels: &Panels<'_>, range: Range<usize>, target: &Target<'_>) {
    if range.is_empty() || target.rows == 0 {
        return;
    }
    assert!(stride >= panels.depth && panels.stride >= panels.depth * PANEL);
    assert!(x.len() >= (target.rows - 1) * stride + panels.depth);
    assert!(panels.data.len() >= (range.end - 1) * panels.stride + panels.depth * PANEL);
    assert!(target.first + (range.end - 1) * PANEL < target.cols);
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the feature is there, and the lengths are those asserted above.
            #[expect(unsafe_code, reason = "run-time choice of the instruction set")]
            return unsafe { x86::product_avx512(x, stride, panels, range, target) };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: as above.
            #[expect(unsafe_code, reason = "run-time choice of the instruction set")]
            return unsafe { x86::product_avx2(x, stride, panels, range, target) };
        }
    }
    // SAFETY: the lengths are those asserted above.
    #[expect(unsafe_code, reason = "the loops use unchecked pointers")]
    unsafe {
        product_with::<Portable>(x, stride, panels, range, target);
    }
}

/// A vector of floats of some machine.
trait Vector: Copy {
    /// Elements of one vector.
    const WIDTH: usize;
    /// Rows of the largest tile that stays in registers.
    const ROWS: usize;
    fn zero() -> Self;
    fn splat(x: f32) -> Self;
    /// `self · b + c`, rounded once.
    fn multiply_add(self, b: Self, c: Self) -> Self;
    /// Reads `WIDTH` elements, which must be there.
    #[expect(unsafe_code, reason = "reads through a pointer")]
    unsafe fn load(from: *const f32) -> Self;
    /// Writes `WIDTH` elements, which must be there.
    #[expect(unsafe_code, reason = "writes through a pointer")]
    unsafe fn store(self, to: *mut f32);
}

#[derive(Clone, Copy)]
struct Portable([f32; 8]);

#[expect(unsafe_code, reason = "implements loads and stores through pointers")]
impl Vector for Portable {
    const WIDTH: usize = 8;
    const ROWS: usize = 2;

    #[inline(always)]
    fn zero() -> Self {
        Self([0.0; 8])
    }

    #[inline(always)]
    fn splat(x: f32) -> Self {
        Self([x; 8])
    }

    #[inline(always)]
    fn multiply_add(self, b: Self, c: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i].mul_add(b.0[i], c.0[i])))
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller gives eight elements.
        Self(unsafe { from.cast::<[f32; 8]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller gives room for eight elements.
        unsafe { to.cast::<[f32; 8]>().write_unaligned(self.0) };
    }
}

/// The loops over panels and tiles; `V` says with which instructions.
///
/// # Safety
/// The lengths are those that [`product`] asserts, and the machine has the instructions of `V`.
#[inline(always)]
#[expect(unsafe_code, reason = "unchecked pointers in the innermost loops")]
unsafe fn product_with<V: Vector>(
    x: &[f32],
    stride: usize,
    panels: &Panels<'_>,
    range: Range<usize>,
    target: &Target<'_>,
) {
    let blocks = target.rows.div_ceil(V::ROWS);
    let mut panel = range.start;
    while panel < range.end {
        // Few rows give too few independent chains to hide the latency of an addition: then several panels go together.
        let together = if target.rows <= 2 && range.end - panel >= 4 { 4 } else { 1 };
        for block in 0..blocks {
            let from = target.rows * block / blocks;
            let to = target.rows * (block + 1) / blocks;
            // SAFETY: rows `from..to` and panels `panel..panel + together` lie within the asserted lengths.
            unsafe {
                let place = Place {
                    x: x.as_ptr().add(from * stride),
                    stride,
                    w: panels.data.as_ptr().add(panel * panels.stride),
                    panel_stride: panels.stride,
                    depth: panels.depth,
                    out: target.data.add(from * target.cols),
                    cols: target.cols,
                    first: target.first + panel * PANEL,
                    adds: target.adds,
                };
                match (to - from, together) {
                    (1, 4) => tile::<V, 1, 4>(&place),
                    (2, 4) => tile::<V, 2, 4>(&place),
                    (1, _) => tile::<V, 1, 1>(&place),
                    (2, _) => tile::<V, 2, 1>(&place),
                    (3, _) => tile::<V, 3, 1>(&place),
                    (4, _) => tile::<V, 4, 1>(&place),
                    (5, _) => tile::<V, 5, 1>(&place),
                    (6, _) => tile::<V, 6, 1>(&place),
                    (7, _) => tile::<V, 7, 1>(&place),
                    (8, _) => tile::<V, 8, 1>(&place),
                    (9, _) => tile::<V, 9, 1>(&place),
                    (10, _) => tile::<V, 10, 1>(&place),
                    (11, _) => tile::<V, 11, 1>(&place),
                    _ => tile::<V, 12, 1>(&place),
                }
            }
        }
        panel += together;
    }
}

/// One tile's operands, at its first row and panel.
struct Place {
    x: *const f32,
    stride: usize,
    w: *const f32,
    panel_stride: usize,
    depth: usize,
    out: *mut f32,
    cols: usize,
    first: usize,
    adds: bool,
}

/// `R` rows by `P` panels, held in registers while the columns go by.
///
/// # Safety
/// `place` has `R` rows and `P` panels, and the machine has the instructions of `V`.
#[inline(always)]
#[expect(unsafe_code, reason = "unchecked pointers in the innermost loops")]
unsafe fn tile<V: Vector, const R: usize, const P: usize>(place: &Place) {
    const MOST: usize = PANEL / 8;
    let vectors = PANEL / V::WIDTH;
    let mut sums = [[[V::zero(); MOST]; P]; R];
    if place.adds {
        for (r, sums) in sums.iter_mut().enumerate() {
            for (p, sums) in sums.iter_mut().enumerate() {
                let column = place.first + p * PANEL;
                let mut line = [0.0f32; PANEL];
                // SAFETY: row `r` of the target has `cols` elements; `line` has `PANEL`.
                unsafe {
                    let from = place.out.add(r * place.cols + column);
                    std::ptr::copy_nonoverlapping(from, line.as_mut_ptr(), PANEL.min(place.cols - column));
                    for (v, sum) in sums.iter_mut().enumerate().take(vectors) {
                        *sum = V::load(line.as_ptr().add(v * V::WIDTH));
                    }
                }
            }
        }
    }
    for k in 0..place.depth {
        for p in 0..P {
            let mut w = [V::zero(); MOST];
            for (v, w) in w.iter_mut().enumerate().take(vectors) {
                // SAFETY: column `k` of panel `p` has `PANEL` elements.
                *w = unsafe { V::load(place.w.add(p * place.panel_stride + k * PANEL + v * V::WIDTH)) };
            }
            for (r, sums) in sums.iter_mut().enumerate() {
                // SAFETY: row `r` has `depth` elements.
                let x = V::splat(unsafe { *place.x.add(r * place.stride + k) });
                for v in 0..vectors {
                    sums[p][v] = x.multiply_add(w[v], sums[p][v]);
                }
            }
        }
    }
    for (r, sums) in sums.iter().enumerate() {
        for (p, sums) in sums.iter().enumerate() {
            let column = place.first + p * PANEL;
            let mut line = [0.0f32; PANEL];
            for (v, sum) in sums.iter().enumerate().take(vectors) {
                // SAFETY: `line` has `PANEL` elements.
                unsafe { sum.store(line.as_mut_ptr().add(v * V::WIDTH)) };
            }
            let width = PANEL.min(place.cols - column);
            // SAFETY: row `r` of the target has `cols` elements, of which this panel's are written by this call only.
            unsafe {
                let out = place.out.add(r * place.cols + column);
                std::ptr::copy_nonoverlapping(line.as_ptr(), out, width);
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "vector instructions load and store through pointers")]
mod x86 {
    use std::arch::x86_64::*;

    use super::*;

    impl Vector for __m512 {
        const WIDTH: usize = 16;
        const ROWS: usize = 12;

        #[inline(always)]
        fn zero() -> Self {
            // SAFETY: used inside `product_avx512` only.
            unsafe { _mm512_setzero_ps() }
        }

        #[inline(always)]
        fn splat(x: f32) -> Self {
            // SAFETY: as above.
            unsafe { _mm512_set1_ps(x) }
        }

        #[inline(always)]
        fn multiply_add(self, b: Self, c: Self) -> Self {
            // SAFETY: as above.
            unsafe { _mm512_fmadd_ps(self, b, c) }
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: as above; the caller gives sixteen elements.
            unsafe { _mm512_loadu_ps(from) }
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: as above; the caller gives room for sixteen elements.
            unsafe { _mm512_storeu_ps(to, self) };
        }
    }

    impl Vector for __m256 {
        const WIDTH: usize = 8;
        const ROWS: usize = 3;

        #[inline(always)]
        fn zero() -> Self {
            // SAFETY: used inside `product_avx2` only.
            unsafe { _mm256_setzero_ps() }
        }

        #[inline(always)]
        fn splat(x: f32) -> Self {
            // SAFETY: as above.
            unsafe { _mm256_set1_ps(x) }
        }

        #[inline(always)]
        fn multiply_add(self, b: Self, c: Self) -> Self {
            // SAFETY: as above.
            unsafe { _mm256_fmadd_ps(self, b, c) }
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: as above; the caller gives eight elements.
            unsafe { _mm256_loadu_ps(from) }
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: as above; the caller gives room for eight elements.
            unsafe { _mm256_storeu_ps(to, self) };
        }
    }

    /// # Safety
    /// As [`product_with`].
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn product_avx512(
        x: &[f32],
        stride: usize,
        panels: &Panels<'_>,
        range: Range<usize>,
        target: &Target<'_>,
    ) {
        // SAFETY: the caller's promise.
        unsafe { product_with::<__m512>(x, stride, panels, range, target) };
    }

    /// # Safety
    /// As [`product_with`].
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn product_avx2(
        x: &[f32],
        stride: usize,
        panels: &Panels<'_>,
        range: Range<usize>,
        target: &Target<'_>,
    ) {
        // SAFETY: the caller's promise.
        unsafe { product_with::<__m256>(x, stride, panels, range, target) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition: one chain of fused multiply-adds.
    fn chain(x: &[f32], w: impl Fn(usize) -> f32) -> f32 {
        x.iter().enumerate().fold(0.0, |sum, (k, x)| x.mul_add(w(k), sum))
    }

    #[test]
    fn every_instruction_set_gives_the_chain_bit_for_bit() {
        type Product = unsafe fn(&[f32], usize, &Panels<'_>, Range<usize>, &Target<'_>);
        let mut sets: Vec<Product> = vec![product_with::<Portable>];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                sets.push(x86::product_avx512);
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                sets.push(x86::product_avx2);
            }
        }
        let value = |i: usize| ((i * 2_654_435_761) % 1000) as f32 / 997.0 - 0.5;
        for (rows, depth, cols) in [(1usize, 7usize, 150usize), (2, 33, 129), (3, 5, 32), (13, 40, 70), (25, 1, 1)] {
            let panel_count = cols.div_ceil(PANEL);
            let w: Vec<f32> = (0..panel_count * depth * PANEL).map(value).collect();
            let stride = depth + 3;
            let x: Vec<f32> = (0..rows * stride).map(|i| value(i + 77)).collect();
            let panels = Panels { data: &w, depth, stride: depth * PANEL };
            for product in &sets {
                let mut y = vec![f32::NAN; rows * cols];
                let target = Target::new(&mut y, cols);
                // SAFETY: the lengths above are those that `product` asserts; the sets were detected.
                #[expect(unsafe_code, reason = "calls each instruction set directly")]
                unsafe {
                    product(&x, stride, &panels, 0..panel_count, &target);
                }
                for (i, y) in y.chunks(cols).enumerate() {
                    for (j, y) in y.iter().enumerate() {
                        let w = |k| w[(j / PANEL * depth + k) * PANEL + j % PANEL];
                        let expected = chain(&x[i * stride..][..depth], w);
                        assert_eq!(y.to_bits(), expected.to_bits(), "{rows} × {depth} × {cols} at {i}, {j}");
                    }
                }
            }
        }
    }
}
