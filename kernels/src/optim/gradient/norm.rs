//! The norm of all gradients together.

use super::PIECE;
use crate::backprop::Gradients;
use crate::matmul::parallel;

/// The norm of all gradients together, and the factor (at most 1) that brings it to `limit`, as PyTorch's `clip_grad_norm_` has it.
///
/// Summed in double precision over pieces in their order, whatever the number of threads. NaN if a gradient is.
pub fn clip_norm(gradients: &Gradients, limit: Option<f64>, threads: usize) -> (f64, f32) {
    let mut pieces: Vec<(&[f32], f64)> = gradients.iter().flat_map(|g| g.chunks(PIECE)).map(|g| (g, 0.0)).collect();
    let work = 2 * pieces.len() * PIECE;
    parallel::pieces(threads, work, &mut pieces, 1, |_, pieces| {
        pieces.iter_mut().for_each(|(g, sum)| *sum = squares(g))
    });
    let norm = pieces.iter().map(|(_, sum)| sum).sum::<f64>().sqrt();
    match limit {
        Some(limit) if norm > limit => (norm, (limit / (norm + 1e-6)) as f32),
        _ => (norm, 1.0),
    }
}

/// Sets all gradients to zero.
pub fn clear(gradients: &mut Gradients, threads: usize) {
    let mut pieces: Vec<&mut [f32]> = gradients.iter_mut().flat_map(|g| g.chunks_mut(PIECE)).collect();
    let work = pieces.len() * PIECE;
    parallel::pieces(threads, work, &mut pieces, 1, |_, pieces| pieces.iter_mut().for_each(|g| g.fill(0.0)));
}

crate::vector::for_each_machine! {
    /// The sum of squares, over eight interleaved sums.
    pub(super) fn squares(values: &[f32]) -> f64 {
        let mut sums = [0.0f64; 8];
        for chunk in values.chunks(8) {
            sums.iter_mut().zip(chunk).for_each(|(s, v)| *s += f64::from(*v) * f64::from(*v));
        }
        sums.iter().sum()
    }
}
