//! Matrix decompositions on faer, always on one thread: their bits must not depend on how many threads there are.
//!
//! Matrices are row-major slices, as candle stores them.

use faer::diag::DiagMut;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::evd::{ComputeEigenvectors, self_adjoint_evd, self_adjoint_evd_scratch};
use faer::linalg::svd::{ComputeSvdVectors, svd, svd_scratch};
use faer::traits::RealField;
use faer::{Mat, MatRef, Par};

/// Why a decomposition was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinalgError {
    /// The number of values is not rows × columns.
    #[error("{found} values do not make a {rows} by {columns} matrix")]
    Shape {
        /// Rows asked for.
        rows: usize,
        /// Columns asked for.
        columns: usize,
        /// Values given.
        found: usize,
    },
    /// The matrix holds a NaN or an infinity.
    #[error("the matrix has a value that is not finite")]
    NotFinite,
    /// The iteration did not converge.
    #[error("the decomposition did not converge")]
    NoConvergence,
}

/// An element type of the decompositions: `f32` or `f64`.
pub trait Real: RealField + Copy {
    /// Whether the value is neither NaN nor infinite.
    fn is_finite(self) -> bool;
}

impl Real for f32 {
    fn is_finite(self) -> bool {
        f32::is_finite(self)
    }
}

impl Real for f64 {
    fn is_finite(self) -> bool {
        f64::is_finite(self)
    }
}

/// A = V·diag(values)·Vᵀ of a symmetric matrix.
#[derive(Clone, Debug, PartialEq)]
pub struct SymmetricEigen<T> {
    /// The n eigenvalues, ascending.
    pub values: Vec<T>,
    /// V, n by n and row-major: column j is the unit eigenvector of value j.
    pub vectors: Vec<T>,
}

/// Decomposes a symmetric n by n matrix; only its lower half is read.
///
/// # Errors
/// A wrong number of values; a value that is not finite; no convergence.
pub fn symmetric_eigen<T: Real>(matrix: &[T], n: usize) -> Result<SymmetricEigen<T>, LinalgError> {
    let matrix = view(matrix, n, n)?;
    let mut values = vec![T::zero_impl(); n];
    let mut vectors = Mat::zeros(n, n);
    let need = self_adjoint_evd_scratch::<T>(n, ComputeEigenvectors::Yes, Par::Seq, Default::default());
    self_adjoint_evd(
        matrix,
        DiagMut::from_slice_mut(&mut values),
        Some(vectors.as_mut()),
        Par::Seq,
        MemStack::new(&mut MemBuffer::new(need)),
        Default::default(),
    )
    .map_err(|_| LinalgError::NoConvergence)?;
    Ok(SymmetricEigen { values, vectors: row_major(vectors.as_ref()) })
}

/// A = U·diag(s)·Vᵀ with k = min(rows, columns) singular values.
#[derive(Clone, Debug, PartialEq)]
pub struct ThinSvd<T> {
    /// U, rows by k, row-major: its columns are orthonormal.
    pub u: Vec<T>,
    /// The k singular values, descending.
    pub s: Vec<T>,
    /// Vᵀ, k by columns, row-major: its rows are orthonormal.
    pub vt: Vec<T>,
}

/// Decomposes a row-major rows by columns matrix.
///
/// # Errors
/// A wrong number of values; a value that is not finite; no convergence.
pub fn thin_svd<T: Real>(matrix: &[T], rows: usize, columns: usize) -> Result<ThinSvd<T>, LinalgError> {
    let matrix = view(matrix, rows, columns)?;
    let k = rows.min(columns);
    let mut s = vec![T::zero_impl(); k];
    let (mut u, mut v) = (Mat::zeros(rows, k), Mat::zeros(columns, k));
    let thin = ComputeSvdVectors::Thin;
    let need = svd_scratch::<T>(rows, columns, thin, thin, Par::Seq, Default::default());
    svd(
        matrix,
        DiagMut::from_slice_mut(&mut s),
        Some(u.as_mut()),
        Some(v.as_mut()),
        Par::Seq,
        MemStack::new(&mut MemBuffer::new(need)),
        Default::default(),
    )
    .map_err(|_| LinalgError::NoConvergence)?;
    Ok(ThinSvd { u: row_major(u.as_ref()), s, vt: row_major(v.transpose()) })
}

fn view<T: Real>(values: &[T], rows: usize, columns: usize) -> Result<MatRef<'_, T>, LinalgError> {
    if rows.checked_mul(columns) != Some(values.len()) {
        return Err(LinalgError::Shape { rows, columns, found: values.len() });
    }
    if !values.iter().all(|value| Real::is_finite(*value)) {
        return Err(LinalgError::NotFinite);
    }
    Ok(MatRef::from_row_major_slice(values, rows, columns))
}

fn row_major<T: Real>(matrix: MatRef<'_, T>) -> Vec<T> {
    let rows = 0..matrix.nrows();
    rows.flat_map(|i| (0..matrix.ncols()).map(move |j| matrix[(i, j)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Stream;
    use proptest::prelude::*;

    fn random(seed: u64, len: usize) -> Vec<f64> {
        let mut values = vec![0.0; len];
        Stream::from_seed(seed).fill_normal(0, &mut values);
        values
    }

    /// Row-major product of an m by k and a k by n matrix.
    fn product(a: &[f64], b: &[f64], m: usize, k: usize, n: usize) -> Vec<f64> {
        let entry = |i: usize, j: usize| (0..k).map(|l| a[i * k + l] * b[l * n + j]).sum();
        (0..m).flat_map(|i| (0..n).map(move |j| entry(i, j)).collect::<Vec<f64>>()).collect()
    }

    fn transpose(a: &[f64], rows: usize, columns: usize) -> Vec<f64> {
        (0..columns).flat_map(|j| (0..rows).map(move |i| a[i * columns + j])).collect()
    }

    fn near(a: &[f64], b: &[f64]) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(x, y)| (x - y).abs() < 1e-10)
    }

    fn scale_rows(a: &[f64], factors: &[f64], columns: usize) -> Vec<f64> {
        a.iter().enumerate().map(|(i, x)| x * factors[i / columns]).collect()
    }

    fn identity(n: usize) -> Vec<f64> {
        (0..n * n).map(|i| if i / n == i % n { 1.0 } else { 0.0 }).collect()
    }

    proptest! {
        #[test]
        fn eigenvectors_are_orthonormal_and_rebuild_the_matrix(seed: u64, n in 1usize..24) {
            let half = random(seed, n * n);
            let matrix: Vec<f64> = (0..n * n).map(|i| half[i] + half[i % n * n + i / n]).collect();
            let e = symmetric_eigen(&matrix, n).unwrap();
            let vt = transpose(&e.vectors, n, n);
            prop_assert!(e.values.is_sorted());
            prop_assert!(near(&product(&vt, &e.vectors, n, n, n), &identity(n)));
            prop_assert!(near(&product(&e.vectors, &scale_rows(&vt, &e.values, n), n, n, n), &matrix));
        }

        #[test]
        fn singular_vectors_are_orthonormal_and_rebuild_the_matrix(seed: u64, m in 1usize..20, n in 1usize..20) {
            let matrix = random(seed, m * n);
            let d = thin_svd(&matrix, m, n).unwrap();
            let k = m.min(n);
            prop_assert!(d.s.iter().rev().is_sorted() && d.s.iter().all(|s| *s >= 0.0));
            prop_assert!(near(&product(&transpose(&d.u, m, k), &d.u, k, m, k), &identity(k)));
            prop_assert!(near(&product(&d.vt, &transpose(&d.vt, k, n), k, n, k), &identity(k)));
            prop_assert!(near(&product(&d.u, &scale_rows(&d.vt, &d.s, n), m, k, n), &matrix));
        }
    }

    #[test]
    fn single_precision_agrees_with_double() {
        let wide = random(5, 40 * 17);
        let narrow: Vec<f32> = wide.iter().map(|x| *x as f32).collect();
        let (a, b) = (thin_svd(&wide, 40, 17).unwrap(), thin_svd(&narrow, 40, 17).unwrap());
        assert!(a.s.iter().zip(&b.s).all(|(x, y)| (x - f64::from(*y)).abs() < 1e-5));
    }

    #[test]
    fn bad_matrices_are_refused() {
        assert_eq!(thin_svd(&[1.0, f64::NAN], 1, 2), Err(LinalgError::NotFinite));
        let shape = LinalgError::Shape { rows: 2, columns: 2, found: 3 };
        assert_eq!(symmetric_eigen(&[1.0, 2.0, 3.0], 2), Err(shape));
    }
}
