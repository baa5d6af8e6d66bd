//! Tensors that are a part of another, or its transpose: kept with the whole, so that models that share it share them.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Storage, Tensor};

/// Which part of a tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Cut {
    /// These rows; of a transposed tensor these columns.
    pub rows: Range<usize>,
    /// Whether the tensor is transposed first.
    pub transposed: bool,
}

/// The parts of a tensor that were made.
#[derive(Default)]
pub(super) struct Cuts(Mutex<Vec<(Cut, Tensor)>>);

impl Tensor {
    /// This part of the tensor, as a tensor of its own; made once and kept as long as the whole lives. Rows of a mapped
    /// file are not copied.
    ///
    /// `None` if there are no such rows, or if the transpose of something other than a matrix is asked for.
    pub fn cut(&self, cut: &Cut) -> Option<Tensor> {
        let mut made = self.0.cuts.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, part)) = made.iter().find(|(known, _)| known == cut) {
            return Some(part.clone());
        }
        let part = if cut.transposed { self.columns(&cut.rows)? } else { self.rows(&cut.rows)? };
        made.push((cut.clone(), part.clone()));
        Some(part)
    }

    fn rows(&self, rows: &Range<usize>) -> Option<Tensor> {
        let (&count, rest) = self.shape().split_first()?;
        if rows.start > rows.end || rows.end > count {
            return None;
        }
        let size = rest.iter().product::<usize>() * self.dtype().size();
        let (from, len) = (rows.start * size, rows.len() * size);
        let storage = match &self.0.storage {
            Storage::Mapped { map, start, .. } => Storage::Mapped { map: Arc::clone(map), start: start + from, len },
            Storage::Made(made) => {
                let elements = rest.iter().product::<usize>();
                let shape = std::iter::once(rows.len()).chain(rest.iter().copied()).collect();
                return Some(Tensor::from_recipe(self.dtype(), shape, made.from(rows.start * elements)));
            }
            Storage::Blocks(blocks) if let Some(part) = blocks.rows(rows.clone()) => {
                return Some(Tensor::from_blocks(part));
            }
            owned => Storage::Bytes(owned.bytes().get(from..from + len)?.to_vec()),
        };
        let shape = std::iter::once(rows.len()).chain(rest.iter().copied()).collect();
        Tensor::new(self.dtype(), shape, storage).ok()
    }

    /// These columns of a matrix, as rows.
    fn columns(&self, columns: &Range<usize>) -> Option<Tensor> {
        let &[height, width] = self.shape() else { return None };
        if columns.start > columns.end || columns.end > width {
            return None;
        }
        let size = self.dtype().size();
        let bytes = self.bytes();
        let mut data = Vec::with_capacity(columns.len() * height * size);
        for column in columns.clone() {
            for row in 0..height {
                let at = (row * width + column) * size;
                data.extend_from_slice(bytes.get(at..at + size)?);
            }
        }
        Tensor::new(self.dtype(), vec![columns.len(), height], Storage::Bytes(data)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::super::DType;
    use super::*;

    fn values(tensor: &Tensor) -> Vec<f32> {
        tensor.to_f32().unwrap().into_owned()
    }

    #[test]
    fn parts_are_made_once_and_hold_what_they_should() {
        for dtype in [DType::F32, DType::BF16, DType::F16] {
            let data = (0..12).map(|x| x as f32).collect();
            let tensor = Tensor::from_f32_as(dtype, data, vec![3, 4]).unwrap();
            let rows = tensor.cut(&Cut { rows: 1..3, transposed: false }).unwrap();
            assert_eq!((rows.shape(), rows.dtype()), ([2, 4].as_slice(), dtype));
            assert_eq!(values(&rows), [4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0]);
            let columns = tensor.cut(&Cut { rows: 2..4, transposed: true }).unwrap();
            assert_eq!(columns.shape(), [2, 3]);
            assert_eq!(values(&columns), [2.0, 6.0, 10.0, 3.0, 7.0, 11.0]);
            assert!(rows.same(&tensor.cut(&Cut { rows: 1..3, transposed: false }).unwrap()));
            assert!(tensor.cut(&Cut { rows: 1..4, transposed: false }).is_none());
            assert!(tensor.cut(&Cut { rows: 1..5, transposed: true }).is_none());
        }
        let vector = Tensor::from_f32(vec![1.0, 2.0, 3.0], vec![3]).unwrap();
        assert_eq!(values(&vector.cut(&Cut { rows: 1..2, transposed: false }).unwrap()), [2.0]);
        assert!(vector.cut(&Cut { rows: 1..2, transposed: true }).is_none());
    }
}
