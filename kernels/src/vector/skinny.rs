//! Products with a side of very few rows, such as the factors of a low-rank difference: the other side is read once, as it lies.

use super::{LANES, tree};

/// Rows of the narrow side that are gone over together.
const TOGETHER: usize = 4;

super::for_each_machine! {
    /// `out[r] = Σ x[k] · m[r][k]`, for each row of `m`.
    pub(crate) fn dots(x: &[f32], m: &[f32], out: &mut [f32]) {
        let width = x.len();
        for (rows, out) in m.chunks(TOGETHER * width).zip(out.chunks_mut(TOGETHER)) {
            let mut lanes = [[0.0f32; LANES]; TOGETHER];
            if rows.len() == TOGETHER * width {
                let (ab, cd) = rows.split_at(2 * width);
                let ((a, b), (c, d)) = (ab.split_at(width), cd.split_at(width));
                let (xs, x_rest) = x.as_chunks::<LANES>();
                let [(a, a_rest), (b, b_rest), (c, c_rest), (d, d_rest)] = [a, b, c, d].map(|m| m.as_chunks::<LANES>());
                for ((((x, a), b), c), d) in xs.iter().zip(a).zip(b).zip(c).zip(d) {
                    for i in 0..LANES {
                        lanes[0][i] = x[i].mul_add(a[i], lanes[0][i]);
                        lanes[1][i] = x[i].mul_add(b[i], lanes[1][i]);
                        lanes[2][i] = x[i].mul_add(c[i], lanes[2][i]);
                        lanes[3][i] = x[i].mul_add(d[i], lanes[3][i]);
                    }
                }
                for (lanes, rest) in lanes.iter_mut().zip([a_rest, b_rest, c_rest, d_rest]) {
                    for ((lane, &x), &m) in lanes.iter_mut().zip(x_rest).zip(rest) {
                        *lane = x.mul_add(m, *lane);
                    }
                }
            } else {
                for (row, lanes) in rows.chunks_exact(width).zip(&mut lanes) {
                    *lanes = super::products(x, row);
                }
            }
            for (out, lanes) in out.iter_mut().zip(lanes) {
                *out = tree(lanes);
            }
        }
    }

    /// `y[k] += Σ factors[r] · m[r][k]`.
    pub(crate) fn add_rows(factors: &[f32], m: &[f32], y: &mut [f32]) {
        let width = y.len();
        for (&factor, row) in factors.iter().zip(m.chunks_exact(width)) {
            for (y, &m) in y.iter_mut().zip(row) {
                *y = factor.mul_add(m, *y);
            }
        }
    }

    /// `out[r][k] += Σ factors[t][r] · x[t][k]` for the columns from `first` on, as many as each row of `out` has: over all rows `t` in
    /// ascending order. `stride` is the width of a row of `x`.
    pub(crate) fn add_outer(factors: &[f32], x: &[f32], stride: usize, first: usize, ranks: usize, out: &mut [f32]) {
        let width = out.len() / ranks;
        for (factors, x) in factors.chunks_exact(ranks).zip(x.chunks_exact(stride)) {
            let x = &x[first..first + width];
            for (&factor, out) in factors.iter().zip(out.chunks_exact_mut(width)) {
                for (y, &x) in out.iter_mut().zip(x) {
                    *y = factor.mul_add(x, *y);
                }
            }
        }
    }
}
