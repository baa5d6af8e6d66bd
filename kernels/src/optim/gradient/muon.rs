//! Muon: momentum whose matrix is brought near to the orthogonal one next to it.

use super::Muon;
use super::norm::squares;
use crate::backprop::Parameter;
use crate::matmul::Units;
use crate::matmul::gemm::{How, View, gemm};

/// The coefficients of the Newton-Schulz polynomial (Jordan et al., 2024).
const COEFFICIENTS: [f32; 3] = [3.4445, -4.7750, 2.0315];
/// The least norm that a matrix is divided by.
const EPS: f64 = 1e-7;

/// How the shape of a matrix of `rows` × `cols` changes its rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adjust {
    /// `√max(1, rows / cols)`: PyTorch's default and Jordan's own.
    Original,
    /// `0.2 · √max(rows, cols)`: steps as large as AdamW's, so that its rate and decay serve both (Liu et al., 2025).
    MatchAdamW,
}

impl Adjust {
    /// The factor.
    pub fn factor(self, rows: usize, cols: usize) -> f64 {
        match self {
            Adjust::Original => (rows as f64 / cols as f64).max(1.0).sqrt(),
            Adjust::MatchAdamW => 0.2 * (rows.max(cols) as f64).sqrt(),
        }
    }
}

impl Muon {
    /// One step of a matrix along its gradient times `scale`; `mean` is the mean of gradients so far.
    #[expect(clippy::too_many_arguments, reason = "one matrix, all that goes with it, and where it is computed")]
    pub(super) fn step(
        &self,
        units: Units,
        threads: usize,
        matrix: &mut Parameter,
        gradient: &[f32],
        mean: &mut [f32],
        scale: f32,
        rate: f64,
    ) {
        let (momentum, rest) = (self.momentum as f32, (1.0 - self.momentum) as f32);
        let mut update = vec![0.0; gradient.len()];
        for ((u, m), g) in update.iter_mut().zip(mean).zip(gradient) {
            let g = g * scale;
            *m += rest * (g - *m);
            *u = if self.nesterov { g + momentum * (*m - g) } else { *m };
        }
        let how = How { units, threads, rounded: units == Units::Tiles };
        let update = orthogonal(how, update, matrix.rows, matrix.cols, self.iterations);
        let keep = (1.0 - rate * self.weight_decay) as f32;
        let rate = (rate * self.adjust.factor(matrix.rows, matrix.cols)) as f32;
        matrix.values.iter_mut().zip(&update).for_each(|(w, u)| *w = keep * *w - rate * u);
    }
}

/// Near to `U Vᵀ` of the matrix `U S Vᵀ`: its singular values come to lie within about 0.7 and 1.2.
fn orthogonal(how: How, matrix: Vec<f32>, rows: usize, cols: usize, iterations: usize) -> Vec<f32> {
    let is_tall = rows > cols;
    let mut x = if is_tall { turned(&matrix, rows, cols) } else { matrix };
    let (rows, cols) = (rows.min(cols), rows.max(cols));
    let norm = squares(&x).sqrt().max(EPS) as f32;
    x.iter_mut().for_each(|x| *x /= norm);
    let [a, b, c] = COEFFICIENTS;
    let (mut gram, mut square) = (vec![0.0; rows * rows], vec![0.0; rows * rows]);
    let mut next = vec![0.0; x.len()];
    for _ in 0..iterations {
        gemm(how, View::new(&x, cols), View::new(&x, cols), &mut gram, false);
        gemm(how, View::new(&gram, rows), View::new(&gram, rows), &mut square, false);
        square.iter_mut().zip(&gram).for_each(|(s, g)| *s = b * g + c * *s);
        next.iter_mut().zip(&x).for_each(|(n, x)| *n = a * x);
        gemm(how, View::new(&square, rows), View::new(&x, cols).turned(), &mut next, true);
        std::mem::swap(&mut x, &mut next);
    }
    if is_tall { turned(&x, rows, cols) } else { x }
}

/// The transpose of `rows` × `cols`.
fn turned(x: &[f32], rows: usize, cols: usize) -> Vec<f32> {
    (0..cols).flat_map(|j| (0..rows).map(move |i| x[i * cols + j])).collect()
}
