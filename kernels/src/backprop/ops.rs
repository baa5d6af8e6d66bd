//! Operations on rows: products with a weight, the norm, the gated activation, rotation, softmax. Forward and reverse.
//!
//! Slices are row-major matrices. Reverse operations *add* to the gradients of weights, so that a batch may come in parts.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

use super::Workspace;

/// The sizes of a projection: `rows` vectors of `inputs` values become `rows` vectors of `outputs` values.
#[derive(Clone, Copy, Debug)]
pub(super) struct Linear {
    pub(super) rows: usize,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
}

impl Linear {
    /// `x · wᵀ`.
    pub(super) fn forward(self, ws: &mut Workspace, x: &[f32], w: &[f32]) -> Vec<f32> {
        let mut y = ws.zeros(self.rows * self.outputs);
        let dst = MatMut::from_row_major_slice_mut(&mut y, self.rows, self.outputs);
        matmul(dst, Accum::Replace, self.inputs_of(x), self.weight(w).transpose(), 1.0, Par::Seq);
        y
    }

    /// The gradient by `x`, added to `dx`.
    pub(super) fn backward_input(self, dy: &[f32], w: &[f32], dx: &mut [f32]) {
        let dst = MatMut::from_row_major_slice_mut(dx, self.rows, self.inputs);
        matmul(dst, Accum::Add, self.outputs_of(dy), self.weight(w), 1.0, Par::Seq);
    }

    /// The gradient by `w`, added to `dw`.
    pub(super) fn backward_weight(self, dy: &[f32], x: &[f32], dw: &mut [f32]) {
        let dst = MatMut::from_row_major_slice_mut(dw, self.outputs, self.inputs);
        matmul(dst, Accum::Add, self.outputs_of(dy).transpose(), self.inputs_of(x), 1.0, Par::Seq);
    }

    fn inputs_of(self, x: &[f32]) -> MatRef<'_, f32> {
        MatRef::from_row_major_slice(x, self.rows, self.inputs)
    }

    fn outputs_of(self, y: &[f32]) -> MatRef<'_, f32> {
        MatRef::from_row_major_slice(y, self.rows, self.outputs)
    }

    fn weight(self, w: &[f32]) -> MatRef<'_, f32> {
        MatRef::from_row_major_slice(w, self.outputs, self.inputs)
    }
}

/// The root-mean-square norm of each row, and the factor by which each row was scaled.
pub(super) fn norm(ws: &mut Workspace, x: &[f32], weight: &[f32], eps: f32) -> (Vec<f32>, Vec<f32>) {
    let width = weight.len();
    let mut y = ws.zeros(x.len());
    let mut factors = Vec::with_capacity(x.len() / width);
    for (x, y) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)) {
        let factor = 1.0 / (dot(x, x) / width as f32 + eps).sqrt();
        for ((y, x), w) in y.iter_mut().zip(x).zip(weight) {
            *y = x * factor * w;
        }
        factors.push(factor);
    }
    (y, factors)
}

/// The reverse of [`norm`]: adds to `dx` and `dw`.
pub(super) fn norm_backward(
    (x, factors): (&[f32], &[f32]),
    weight: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    dw: &mut [f32],
) {
    let width = weight.len();
    let mut scaled = vec![0.0; width];
    let rows = x.chunks_exact(width).zip(dy.chunks_exact(width)).zip(dx.chunks_exact_mut(width));
    for (((x, dy), dx), &factor) in rows.zip(factors) {
        for ((s, dy), w) in scaled.iter_mut().zip(dy).zip(weight) {
            *s = dy * w;
        }
        for ((dw, dy), x) in dw.iter_mut().zip(dy).zip(x) {
            *dw += dy * x * factor;
        }
        let along = dot(&scaled, x) * factor * factor / width as f32;
        for ((dx, s), x) in dx.iter_mut().zip(&scaled).zip(x) {
            *dx += factor * (s - x * along);
        }
    }
}

/// `silu(gate) · up`.
pub(super) fn gated(ws: &mut Workspace, gate: &[f32], up: &[f32]) -> Vec<f32> {
    let mut y = ws.copy(gate);
    y.iter_mut().zip(up).for_each(|(g, &u)| *g = *g * sigmoid(*g) * u);
    y
}

/// The reverse of [`gated`], in place: `gate` and `up` become their gradients.
pub(super) fn gated_backward(gate: &mut [f32], up: &mut [f32], dy: &[f32]) {
    for ((g, u), &dy) in gate.iter_mut().zip(up).zip(dy) {
        let s = sigmoid(*g);
        let (silu, slope) = (*g * s, s * (1.0 + *g * (1.0 - s)));
        *g = dy * *u * slope;
        *u = dy * silu;
    }
}

/// Turns each head's pairs `(i, i + half)` of each row by its position's angle; backwards if `reverse`.
pub(super) fn rotate(x: &mut [f32], width: usize, tables: &Rotation, positions: &[usize], reverse: bool) {
    let half = tables.half;
    let sign = if reverse { -1.0 } else { 1.0 };
    for (row, &position) in x.chunks_exact_mut(width).zip(positions) {
        let cos = &tables.cos[position * half..][..half];
        let sin = &tables.sin[position * half..][..half];
        for head in row.chunks_exact_mut(2 * half) {
            let (a, b) = head.split_at_mut(half);
            for (((a, b), cos), sin) in a.iter_mut().zip(b).zip(cos).zip(sin) {
                let (x, y, sin) = (*a, *b, sin * sign);
                *a = x * cos - y * sin;
                *b = y * cos + x * sin;
            }
        }
    }
}

/// Cosines and sines of the rotary embedding, position by position.
pub(super) struct Rotation {
    half: usize,
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl Rotation {
    /// Tables for positions `0..positions`.
    pub(super) fn new(frequencies: &[f32], positions: usize) -> Self {
        let angles = (0..positions).flat_map(|p| frequencies.iter().map(move |f| p as f32 * f));
        let (sin, cos) = angles.map(f32::sin_cos).unzip();
        Self { half: frequencies.len(), cos, sin }
    }
}

/// The sum of products, in a fixed order that vectorises: 16 partial sums.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; 16];
    let (xs, ys) = (a.chunks_exact(16), b.chunks_exact(16));
    let tail: f32 = xs.remainder().iter().zip(ys.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in xs.zip(ys) {
        for ((s, x), y) in sums.iter_mut().zip(x).zip(y) {
            *s += x * y;
        }
    }
    sums.iter().sum::<f32>() + tail
}

/// Replaces each value by its exponential over the sum of all, and returns the logarithm of that sum.
pub(super) fn softmax(x: &mut [f32]) -> f32 {
    let largest = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    x.iter_mut().for_each(|v| *v = exp(*v - largest));
    let mut sums = [0.0f32; 16];
    for chunk in x.chunks(16) {
        sums.iter_mut().zip(chunk).for_each(|(s, v)| *s += v);
    }
    let sum: f32 = sums.iter().sum();
    let factor = 1.0 / sum;
    x.iter_mut().for_each(|v| *v *= factor);
    largest + sum.ln()
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// The exponential without a branch, so that loops over it vectorise: 2ⁿ · p(r) with |r| ≤ ln 2 / 2 (coefficients of
/// Cephes' `expf`, Moshier 1992); relative error below 2e-7, arguments clamped to −87.3..88. NaN stays NaN.
#[inline(always)]
fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 · 2²³: adding it rounds to a whole number, kept in the low bits.
    let x = if x < -87.3 { -87.3 } else { x };
    let x = if x > 88.0 { 88.0 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let p = 1.987_569_2e-4;
    let p = p * r + 1.398_2e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let p = p * r * r + r + 1.0;
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    p * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_accurate_and_keeps_nan() {
        for i in -8700..8800 {
            let x = i as f32 * 0.01;
            let error = (f64::from(exp(x)) / f64::from(x).exp() - 1.0).abs();
            assert!(error < 2e-7, "{x}: {error}");
        }
        assert!(exp(f32::NAN).is_nan());
        assert!(exp(-1e30) < 1.3e-38 && exp(f32::NEG_INFINITY) < 1.3e-38);
    }

    #[test]
    fn softmax_sums_to_one_and_tells_its_logarithm() {
        let mut x: Vec<f32> = (0..37).map(|i| (i as f32 * 0.7).sin() * 30.0).collect();
        let before = x.clone();
        let log_sum = softmax(&mut x);
        assert!((x.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        for (p, v) in x.iter().zip(before) {
            assert!((p.ln() - (v - log_sum)).abs() < 1e-4 || *p < 1e-20);
        }
    }

    #[test]
    fn turning_back_undoes_turning() {
        let tables = Rotation::new(&[1.0, 0.1], 4);
        let mut x: Vec<f32> = (0..16).map(|i| i as f32).collect();
        rotate(&mut x, 8, &tables, &[3, 2], false);
        assert!((x[0] - (-(3f32.sin()) * 2.0)).abs() < 1e-5);
        rotate(&mut x, 8, &tables, &[3, 2], true);
        assert!(x.iter().enumerate().all(|(i, v)| (v - i as f32).abs() < 1e-5));
    }
}
