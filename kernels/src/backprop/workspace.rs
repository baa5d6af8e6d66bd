//! Buffers that are used again.

/// The buffers of earlier passes. A training makes hundreds of large ones a step; given back to the allocator, each
/// costs the kernel fresh zeroed pages, which took a quarter of the time alone and half of it beside other programs.
#[derive(Debug, Default)]
pub struct Workspace {
    free: Vec<Vec<f32>>,
}

impl Workspace {
    /// A buffer of `len` zeros: the smallest free one that holds them, else a new one.
    pub(super) fn zeros(&mut self, len: usize) -> Vec<f32> {
        let fits = self.free.iter().enumerate().filter(|(_, buffer)| buffer.capacity() >= len);
        let best = fits.min_by_key(|(_, buffer)| buffer.capacity()).map(|(index, _)| index);
        // Room to spare, so that a part with a few more tokens finds it again.
        let mut buffer = match best {
            Some(index) => self.free.swap_remove(index),
            None => Vec::with_capacity(len + len / 8),
        };
        buffer.clear();
        buffer.resize(len, 0.0);
        buffer
    }

    /// A copy of `values`.
    pub(super) fn copy(&mut self, values: &[f32]) -> Vec<f32> {
        let mut buffer = self.zeros(values.len());
        buffer.copy_from_slice(values);
        buffer
    }

    /// Takes buffers back.
    pub(super) fn give(&mut self, buffers: impl IntoIterator<Item = Vec<f32>>) {
        self.free.extend(buffers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_that_fits_is_used_again_and_zeroed() {
        let mut workspace = Workspace::default();
        let (large, small) = (vec![1.0; 100], vec![2.0; 10]);
        let (at_large, at_small) = (large.as_ptr(), small.as_ptr());
        workspace.give([large, small]);
        let (first, second) = (workspace.zeros(8), workspace.zeros(8));
        assert_eq!((first.as_ptr(), second.as_ptr()), (at_small, at_large));
        assert!(first.iter().chain(&second).all(|v| *v == 0.0));
        assert_eq!(workspace.copy(&[1.0, 2.0]), [1.0, 2.0]);
    }
}
