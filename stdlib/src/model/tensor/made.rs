//! Tensors whose elements are computed where they are needed: a candidate that is only asked things never has its weights in
//! rows, but straight in the panels that the decoder reads.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use evo_kernels::matmul::Matrix;
use half::slice::HalfBitsSliceExt;
use half::{bf16, f16};
use rayon::prelude::*;

use super::DType;

/// How the elements of a tensor are computed. Equal ranges give equal bits, whatever ranges are asked for.
pub trait Recipe: Send + Sync {
    /// Writes the elements from `start` on, counted row by row, into `out`, which is of the tensor's type and within it.
    fn write(&self, start: usize, out: ViewMut<'_>);

    /// The matrix in the decoder's form, if it is put together otherwise than from these elements.
    fn packed(&self, _threads: usize) -> Option<Matrix> {
        None
    }
}

/// Room for elements of a tensor of weights, in its own element type.
#[derive(Debug)]
pub enum ViewMut<'a> {
    /// F32 data.
    F32(&'a mut [f32]),
    /// BF16 data.
    BF16(&'a mut [bf16]),
    /// F16 data.
    F16(&'a mut [f16]),
}

/// Elements that one task computes.
const PART: usize = 1 << 16;

/// What a recipe makes, as far as it was made.
pub(super) struct Made {
    dtype: DType,
    len: usize,
    recipe: Arc<dyn Recipe>,
    values: OnceLock<Values>,
}

enum Values {
    F32(Vec<f32>),
    Half(Vec<u16>),
}

impl Values {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::F32(data) => bytemuck::cast_slice(data),
            Self::Half(data) => bytemuck::cast_slice(data),
        }
    }
}

/// What a recipe makes from some element on.
struct Rest(Arc<dyn Recipe>, usize);

impl Recipe for Rest {
    fn write(&self, start: usize, out: ViewMut<'_>) {
        self.0.write(self.1 + start, out);
    }
}

impl Made {
    pub(super) fn new(dtype: DType, len: usize, recipe: Arc<dyn Recipe>) -> Self {
        Self { dtype, len, recipe, values: OnceLock::new() }
    }

    /// The recipe of what begins at element `start`.
    pub(super) fn from(&self, start: usize) -> Arc<dyn Recipe> {
        Arc::new(Rest(Arc::clone(&self.recipe), start))
    }

    fn halves(&self, start: usize, out: &mut [u16]) {
        match self.dtype {
            DType::F16 => self.recipe.write(start, ViewMut::F16(out.reinterpret_cast_mut())),
            _ => self.recipe.write(start, ViewMut::BF16(out.reinterpret_cast_mut())),
        }
    }

    fn make(&self) -> Values {
        if self.dtype == DType::F32 {
            let mut data = vec![0.0; self.len];
            let parts = data.par_chunks_mut(PART).enumerate();
            parts.for_each(|(i, part)| self.recipe.write(i * PART, ViewMut::F32(part)));
            return Values::F32(data);
        }
        let mut data = vec![0; self.len];
        data.par_chunks_mut(PART).enumerate().for_each(|(i, part)| self.halves(i * PART, part));
        Values::Half(data)
    }

    /// All elements: computed when first asked for, and kept.
    pub(super) fn bytes(&self) -> &[u8] {
        if let Some(values) = self.values.get() {
            return values.bytes();
        }
        // Made before the lock is taken: a thread that waits for parts may begin another task, which may want this tensor.
        let values = self.make();
        self.values.get_or_init(|| values).bytes()
    }

    /// All elements, not kept.
    pub(super) fn data(&self) -> Cow<'_, [u8]> {
        match self.values.get() {
            Some(values) => Cow::Borrowed(values.bytes()),
            None => Cow::Owned(match self.make() {
                Values::F32(data) => bytemuck::cast_slice(&data).to_vec(),
                Values::Half(data) => bytemuck::cast_slice(&data).to_vec(),
            }),
        }
    }

    /// The matrix in the decoder's form, made panel by panel.
    pub(super) fn packed(&self, rows: usize, cols: usize, threads: usize) -> Option<Matrix> {
        if let Some(matrix) = self.recipe.packed(threads) {
            return Some(matrix);
        }
        if self.dtype == DType::F32 {
            let fill = |rows: Range<usize>, out: &mut [f32]| self.recipe.write(rows.start * cols, ViewMut::F32(out));
            return Some(Matrix::pack(rows, cols, threads, fill));
        }
        let fill = |rows: Range<usize>, out: &mut [u16]| self.halves(rows.start * cols, out);
        Some(Matrix::pack_halves(rows, cols, self.dtype == DType::F16, threads, fill))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Cut, Tensor};
    use super::*;

    /// Element `i` is `i / 4`.
    struct Quarters;

    impl Recipe for Quarters {
        fn write(&self, start: usize, out: ViewMut<'_>) {
            let value = |i: usize| (start + i) as f32 / 4.0;
            match out {
                ViewMut::F32(out) => out.iter_mut().enumerate().for_each(|(i, x)| *x = value(i)),
                ViewMut::BF16(out) => out.iter_mut().enumerate().for_each(|(i, x)| *x = bf16::from_f32(value(i))),
                ViewMut::F16(out) => out.iter_mut().enumerate().for_each(|(i, x)| *x = f16::from_f32(value(i))),
            }
        }
    }

    #[test]
    fn what_a_recipe_makes_is_what_a_stored_tensor_holds() {
        let (rows, cols) = (70, 9);
        for dtype in [DType::F32, DType::BF16, DType::F16] {
            let made = Tensor::from_recipe(dtype, vec![rows, cols], Arc::new(Quarters));
            let values = (0..rows * cols).map(|i| i as f32 / 4.0).collect();
            let stored = Tensor::from_f32_as(dtype, values, vec![rows, cols]).unwrap();
            let cut = Cut { rows: 3..68, transposed: false };
            for (made, stored) in [(&made, &stored), (&made.cut(&cut).unwrap(), &stored.cut(&cut).unwrap())] {
                let (ours, theirs) = (made.packed(2).unwrap(), stored.packed(1).unwrap());
                let (mut a, mut b) = (vec![0.0; cols], vec![0.0; cols]);
                for row in 0..ours.rows() {
                    ours.row(row, &mut a);
                    theirs.row(row, &mut b);
                    assert_eq!(a, b);
                }
                assert_eq!(made.data(), stored.data());
                assert_eq!(made.digest(), stored.digest());
                assert_eq!((made.bytes(), made.byte_len()), (stored.bytes(), stored.byte_len()));
                assert_eq!(made.to_f32(), stored.to_f32());
            }
        }
    }
}
