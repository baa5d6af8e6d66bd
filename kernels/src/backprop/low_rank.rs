//! Products with the factors of a low-rank difference.

use super::Workspace;
use crate::matmul::gemm::{View, gemm};
use crate::matmul::parallel;
use crate::matmul::transpose::turn;
use crate::vector;
use crate::vector::skinny;

/// Ranks up to which the other side is read as it lies, rather than packed.
const FEW: usize = 32;

/// Columns of a gradient that a thread takes together.
const COLUMNS: usize = 128;

/// `out = scale · x · Mᵀ`, where `m` is rank × width and `x` rows × width.
pub(super) fn narrow(ws: &Workspace, x: &[f32], m: &[f32], width: usize, scale: f32, out: &mut [f32]) {
    let rank = m.len() / width;
    if rank > FEW {
        gemm(ws.how(false), View::new(x, width), View::new(m, width), out, false);
    }
    parallel::pieces(ws.threads(), x.len() * rank, out, rank, |i, out| {
        if rank <= FEW {
            skinny::dots(&x[i * width..(i + 1) * width], m, out);
        }
        vector::slopes::scale(out, scale);
    });
}

/// `y += n · M`, where `n` is rows × rank and `m` rank × width.
pub(super) fn widen(ws: &Workspace, n: &[f32], m: &[f32], width: usize, y: &mut [f32]) {
    let rank = m.len() / width;
    if rank > FEW {
        return gemm(ws.how(false), View::new(n, rank), View::new(m, width).turned(), y, true);
    }
    parallel::pieces(ws.threads(), y.len() * rank, y, width, |i, y| {
        skinny::add_rows(&n[i * rank..(i + 1) * rank], m, y);
    });
}

/// The gradient `nᵀ · x`, rank × width.
pub(super) fn outer(ws: &mut Workspace, n: &[f32], x: &[f32], rank: usize, width: usize) -> Vec<f32> {
    let mut out = vec![0.0; rank * width];
    if rank > FEW {
        gemm(ws.how(false), View::new(n, rank).turned(), View::new(x, width).turned(), &mut out, false);
        return out;
    }
    // Column by column of blocks, so that threads share them; put into rows afterwards.
    let mut blocks = ws.zeros(rank * width);
    parallel::pieces_and_rest(ws.threads(), x.len() * rank, &mut blocks, rank * COLUMNS, |i, some| {
        skinny::add_outer(n, x, width, i * COLUMNS, rank, some);
    });
    for (i, block) in blocks.chunks(rank * COLUMNS).enumerate() {
        let columns = block.len() / rank;
        for (r, row) in block.chunks_exact(columns).enumerate() {
            out[r * width + i * COLUMNS..][..columns].copy_from_slice(row);
        }
    }
    ws.give(blocks);
    out
}

/// A matrix turned: `rows × cols` becomes `cols × rows`.
pub(super) fn turned(m: &[f32], rows: usize, cols: usize) -> Vec<f32> {
    let mut out = vec![0.0; m.len()];
    turn(m, cols, (rows, cols), &mut out, rows);
    out
}

#[cfg(test)]
mod tests {
    //! The narrow way gives what the wide one gives.

    use super::*;
    use crate::rng::Stream;

    #[test]
    fn few_ranks_and_many_give_the_same_products() {
        let random = |seed, len: usize| -> Vec<f32> {
            (0..len as u64).map(|i| Stream::from_seed(seed).normal(i) as f32).collect()
        };
        let (rows, width) = (37, 150);
        for rank in [1, 3, 4, 8, 33] {
            let (x, m, n) = (random(1, rows * width), random(2, rank * width), random(3, rows * rank));
            let sum = |f: &dyn Fn(usize) -> f64, count: usize| (0..count).map(f).sum::<f64>();
            let mut found = Vec::new();
            for threads in [1, 3] {
                let mut ws = Workspace::new(threads);
                let (mut out, mut y) = (vec![0.0; rows * rank], x.clone());
                narrow(&ws, &x, &m, width, 0.5, &mut out);
                widen(&ws, &n, &m, width, &mut y);
                found.push((out, y, outer(&mut ws, &n, &x, rank, width)));
            }
            assert_eq!(found[0], found[1]);
            let (out, y, product) = &found[0];
            let near =
                |found: f32, expected: f64| assert!((f64::from(found) - expected).abs() < 1e-4, "{found} {expected}");
            for r in 0..rank {
                for t in 0..rows {
                    let expected = sum(&|k| f64::from(x[t * width + k]) * f64::from(m[r * width + k]), width);
                    near(out[t * rank + r], 0.5 * expected);
                }
                for k in 0..width {
                    near(
                        product[r * width + k],
                        sum(&|t| f64::from(n[t * rank + r]) * f64::from(x[t * width + k]), rows),
                    );
                }
            }
            for t in 0..rows {
                for k in 0..width {
                    let more = sum(&|r| f64::from(n[t * rank + r]) * f64::from(m[r * width + k]), rank);
                    near(y[t * width + k], f64::from(x[t * width + k]) + more);
                }
            }
            assert_eq!(turned(&turned(&m, rank, width), width, rank), m);
        }
    }
}
