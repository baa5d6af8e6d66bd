//! Operations that look at more than one row: sums, storage types, and functions that mend single rows.

use super::{map1, map2, math};

/// Partial sums of a block.
const SUMS: usize = 32;

/// Sums a block over interleaved partial sums, which are then added in order in `f64`.
#[inline(always)]
pub(super) fn sum<T: Copy + Default + std::ops::AddAssign + Into<f64>>(x: &[T]) -> f64 {
    let mut lanes = [T::default(); SUMS];
    let chunks = x.chunks_exact(SUMS);
    let rest = chunks.remainder();
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(lane, x)| *lane += *x);
    }
    lanes.iter_mut().zip(rest).for_each(|(lane, x)| *lane += *x);
    lanes.into_iter().map(Into::into).sum()
}

/// A function that vector code covers but for a few rows, which are computed again, one by one.
#[inline(always)]
fn mend1(x: &[f32], out: &mut [f32], f: impl Fn(f32) -> f32, odd: impl Fn(f32) -> bool, exact: impl Fn(f64) -> f64) {
    map1(x, out, f);
    if x.iter().fold(false, |any, x| any | odd(*x)) {
        for (i, y) in out.iter_mut().enumerate() {
            let x = row(x, i);
            if odd(x) {
                *y = exact(f64::from(x)) as f32;
            }
        }
    }
}

#[inline(always)]
fn row(x: &[f32], i: usize) -> f32 {
    if x.len() == 1 { x[0] } else { x[i] }
}

#[inline(always)]
pub(super) fn sin(x: &[f32], out: &mut [f32]) {
    mend1(x, out, math::sin, math::many_turns, libm::sin);
}

#[inline(always)]
pub(super) fn cos(x: &[f32], out: &mut [f32]) {
    mend1(x, out, math::cos, math::many_turns, libm::cos);
}

#[inline(always)]
pub(super) fn pow(a: &[f32], b: &[f32], out: &mut [f32]) {
    map2(a, b, out, math::pow);
    let plain = |i| math::plain_power(row(a, i), row(b, i));
    if !(0..out.len()).fold(true, |all, i| all & plain(i)) {
        for (i, y) in out.iter_mut().enumerate().filter(|(i, _)| !plain(*i)) {
            *y = libm::pow(f64::from(row(a, i)), f64::from(row(b, i))) as f32;
        }
    }
}

#[inline(always)]
pub(super) fn load_bf16(x: &[u16], out: &mut [f32]) {
    assert_eq!(x.len(), out.len());
    out.iter_mut().zip(x).for_each(|(y, x)| *y = f32::from_bits(u32::from(*x) << 16));
}

#[inline(always)]
pub(super) fn store_bf16(x: &[f32], out: &mut [u16]) {
    assert_eq!(x.len(), out.len());
    for (y, x) in out.iter_mut().zip(x) {
        let bits = x.to_bits();
        let rounded = bits.wrapping_add(0x7FFF + ((bits >> 16) & 1));
        *y = (if x.is_nan() { bits | 0x0040_0000 } else { rounded } >> 16) as u16;
    }
}
