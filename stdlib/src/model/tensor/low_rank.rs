//! Tensors that differ from another by a matrix of low rank, as an adapter makes them: applied as such, never added up unless the
//! sum is asked for.

use std::sync::Arc;

use evo_kernels::matmul::Matrix;
use half::{bf16, f16};

use super::{Recipe, Tensor, ViewMut};

/// `base + b · a`.
struct LowRank {
    base: Tensor,
    a: Tensor,
    b: Tensor,
    rank: usize,
    cols: usize,
}

impl Tensor {
    /// The matrix `self + b · a`, of this one's element type: `a` is `rank × cols`, `b` is `rows × rank`, with whatever scale there is
    /// in one of them.
    ///
    /// The decoder shares this tensor's packed form and applies the difference at run time, `x · Wᵀ + (x · Aᵀ) · Bᵀ` in f32:
    /// see [`Matrix::with_low_rank`]. The elements themselves, as saving and merging ask for them, are the sum, rounded once to the
    /// element type.
    ///
    /// `None` if the sizes do not fit, or the elements are not floating-point.
    pub fn with_low_rank(&self, a: &Tensor, b: &Tensor) -> Option<Tensor> {
        let (&[rows, cols], &[rank, width], &[height, depth]) = (self.shape(), a.shape(), b.shape()) else {
            return None;
        };
        let floats = [self, a, b].iter().all(|tensor| tensor.dtype().is_float());
        if !floats || (width, height, depth) != (cols, rows, rank) {
            return None;
        }
        let recipe = LowRank { base: self.clone(), a: a.clone(), b: b.clone(), rank, cols };
        Some(Tensor::from_recipe(self.dtype(), vec![rows, cols], Arc::new(recipe)))
    }
}

impl LowRank {
    /// The elements from `start` on, in f32: the ranks are added to the base in ascending order, each by one multiply-add.
    fn elements(&self, start: usize, out: &mut [f32]) {
        self.base.read(start, out);
        let (Some(a), mut factors) = (self.a.to_f32(), vec![0.0; self.rank]) else { return };
        let mut at = start;
        let mut rest = out;
        while !rest.is_empty() {
            let (row, column) = (at / self.cols, at % self.cols);
            let (line, later) = rest.split_at_mut((self.cols - column).min(rest.len()));
            self.b.read(row * self.rank, &mut factors);
            for (factor, a) in factors.iter().zip(a.chunks_exact(self.cols)) {
                let a = a.get(column..column + line.len()).unwrap_or_default();
                line.iter_mut().zip(a).for_each(|(y, a)| *y = factor.mul_add(*a, *y));
            }
            at += line.len();
            rest = later;
        }
    }
}

impl Recipe for LowRank {
    fn write(&self, start: usize, out: ViewMut<'_>) {
        let wide = |len: usize| {
            let mut wide = vec![0.0; len];
            self.elements(start, &mut wide);
            wide.into_iter()
        };
        match out {
            ViewMut::F32(out) => self.elements(start, out),
            ViewMut::BF16(out) => {
                let all = wide(out.len());
                out.iter_mut().zip(all).for_each(|(y, x)| *y = bf16::from_f32(x))
            }
            ViewMut::F16(out) => {
                let all = wide(out.len());
                out.iter_mut().zip(all).for_each(|(y, x)| *y = f16::from_f32(x))
            }
        }
    }

    fn packed(&self, threads: usize) -> Option<Matrix> {
        Matrix::with_low_rank(self.base.packed(threads)?, self.a.packed(threads)?, self.b.packed(threads)?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::DType;
    use super::*;

    fn tensor(dtype: DType, rows: usize, cols: usize, phase: f32) -> Tensor {
        let values = (0..rows * cols).map(|i| (i as f32 * 0.71 + phase).sin()).collect();
        Tensor::from_f32_as(dtype, values, vec![rows, cols]).unwrap()
    }

    #[test]
    fn a_difference_is_applied_as_the_dense_sum_is() {
        let (rows, cols, rank) = (200, 33, 5);
        for dtype in [DType::F32, DType::BF16, DType::F16] {
            let base = tensor(dtype, rows, cols, 0.0);
            let (a, b) = (tensor(DType::F32, rank, cols, 1.0), tensor(dtype, rows, rank, 2.0));
            let sum = base.with_low_rank(&a, &b).unwrap();
            assert_eq!((sum.dtype(), sum.shape()), (dtype, [rows, cols].as_slice()));
            let stored = Tensor::from_bytes(dtype, vec![rows, cols], sum.data().into_owned()).unwrap();
            // Elements that begin within a row are those of the whole.
            let (mut part, mut whole) = (vec![0.0; 100], vec![0.0; rows * cols]);
            assert!(sum.read(50, &mut part) && stored.read(0, &mut whole));
            assert_eq!(part, whole[50..150]);
            let x: Vec<f32> = (0..3 * cols).map(|i| (i as f32).cos()).collect();
            let (mut thin, mut dense) = (vec![0.0; 3 * rows], vec![0.0; 3 * rows]);
            let packed = sum.packed(1).unwrap();
            packed.multiply(&x, &mut thin, 1);
            stored.packed(1).unwrap().multiply(&x, &mut dense, 1);
            let near = if dtype == DType::F32 { 1e-4 } else { 0.1 };
            assert!(thin.iter().zip(&dense).all(|(x, y)| (x - y).abs() < near));
            // Only the factors are packed anew.
            assert!(packed.bytes() < base.packed(1).unwrap().bytes());
        }
        let base = tensor(DType::F32, 4, 3, 0.0);
        let of = |rows, cols| tensor(DType::F32, rows, cols, 0.0);
        assert!(base.with_low_rank(&of(2, 4), &of(4, 2)).is_none());
        assert!(base.with_low_rank(&of(2, 3), &of(3, 2)).is_none());
        assert!(base.with_low_rank(&of(2, 3), &of(4, 1)).is_none());
        let whole = Tensor::from_bytes(DType::I8, vec![4, 3], vec![0; 12]).unwrap();
        assert!(whole.with_low_rank(&of(2, 3), &of(4, 2)).is_none());
    }
}
