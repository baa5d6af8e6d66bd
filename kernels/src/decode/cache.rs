//! Keys and values of the tokens that a sequence has seen, in pages that sequences share.
//!
//! A page holds 32 positions of all layers, laid out as the matrix product wants them. It belongs to every sequence that
//! begins with its tokens: a fork costs no copy, and a sequence that goes on from the middle of a shared page copies that
//! one page (Kwon et al., 2023, "Efficient memory management for large language model serving with PagedAttention").

use std::sync::Arc;

use candle_core::Tensor;

use super::Config;
use super::device::Seen;
use crate::matmul::lines::{Lines, give_lines, line_bytes, line_bytes_mut, take_lines};
use crate::matmul::matrix::PANEL;

/// The keys and values of one sequence. Cloning forks it: both share what was seen so far.
#[derive(Clone, Debug)]
pub struct Cache {
    shape: Shape,
    pages: Vec<Arc<Page>>,
    /// What each layer has seen, of a decoder on a device, which makes no pages.
    on_device: Vec<Seen>,
    len: usize,
}

/// What a page holds for each layer and head.
#[derive(Clone, Copy, Debug)]
struct Shape {
    /// The first layer that has keys and values here.
    first: usize,
    layers: usize,
    kv_heads: usize,
    head_dim: usize,
}

impl Shape {
    /// Elements of one head's keys: panels whose columns are positions, `[dimension][position]`.
    fn keys(self) -> usize {
        self.head_dim * PANEL
    }

    /// Elements of one head's values: panels whose columns are dimensions, `[dimension / 32][position][dimension % 32]`.
    fn values(self) -> usize {
        self.head_dim.next_multiple_of(PANEL) * PANEL
    }

    /// Where the keys of a head begin; its values follow them.
    fn head(self, layer: usize, head: usize) -> usize {
        ((layer - self.first) * self.kv_heads + head) * (self.keys() + self.values())
    }
}

/// 32 positions of all layers and heads.
#[derive(Debug)]
struct Page {
    lines: Lines,
    len: usize,
}

impl Page {
    /// `len` floats of any value: positions that were not seen are not used.
    fn new(len: usize) -> Self {
        Self { lines: take_lines(len.div_ceil(16)), len }
    }

    fn floats(&self) -> &[f32] {
        &bytemuck::cast_slice(line_bytes(&self.lines))[..self.len]
    }

    fn floats_mut(&mut self) -> &mut [f32] {
        &mut bytemuck::cast_slice_mut(line_bytes_mut(&mut self.lines))[..self.len]
    }
}

impl Clone for Page {
    fn clone(&self) -> Self {
        let mut copy = Self::new(self.len);
        copy.floats_mut().copy_from_slice(self.floats());
        copy
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        give_lines(std::mem::take(&mut self.lines));
    }
}

impl Cache {
    /// An empty cache.
    pub fn new(config: &Config) -> Self {
        Self::above(config, 0)
    }

    /// An empty cache of the layers from `first` on, for passes that begin there.
    pub(super) fn above(config: &Config, first: usize) -> Self {
        let layers = config.num_layers().saturating_sub(first);
        Self::of(Shape { first, layers, kv_heads: config.num_kv_heads, head_dim: config.head_dim })
    }

    /// A cache that counts tokens and holds nothing of them.
    pub(super) fn of_nothing() -> Self {
        Self::of(Shape { first: 0, layers: 0, kv_heads: 0, head_dim: 0 })
    }

    fn of(shape: Shape) -> Self {
        Self { shape, pages: Vec::new(), on_device: Vec::new(), len: 0 }
    }

    /// Tokens seen.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no token was seen.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What tells its pages from others'.
    #[cfg(test)]
    pub(super) fn page_ids(&self) -> impl Iterator<Item = usize> {
        self.pages.iter().map(|page| Arc::as_ptr(page).addr())
    }

    fn page_len(&self) -> usize {
        self.shape.head(self.shape.first + self.shape.layers, 0)
    }

    /// Counts `n` more tokens as seen, after all layers have written theirs.
    pub(super) fn advance(&mut self, n: usize) {
        self.len += n;
    }

    /// Adds new keys and values of a layer on a device, and gives all that it has seen. Layers come in their order.
    pub(super) fn seen(&mut self, layer: usize, keys: Tensor, values: Tensor) -> candle_core::Result<Seen> {
        let Some((old_keys, old_values)) = self.on_device.get_mut(layer) else {
            self.on_device.push((keys.clone(), values.clone()));
            return Ok((keys, values));
        };
        *old_keys = Tensor::cat(&[&*old_keys, &keys], 1)?;
        *old_values = Tensor::cat(&[&*old_values, &values], 1)?;
        Ok((old_keys.clone(), old_values.clone()))
    }

    /// Forgets all but the first `len` tokens, of a cache that is on no device.
    pub(super) fn cut(&mut self, len: usize) {
        debug_assert!(self.on_device.is_empty());
        if len < self.len {
            self.pages.truncate(len.div_ceil(PANEL));
            self.len = len;
        }
    }

    /// Makes room for `n` more tokens, in pages that are this cache's alone.
    pub(super) fn prepare(&mut self, n: usize) {
        if !self.len.is_multiple_of(PANEL)
            && let Some(last) = self.pages.last_mut()
        {
            Arc::make_mut(last);
        }
        while self.pages.len() * PANEL < self.len + n {
            self.pages.push(Arc::new(Page::new(self.page_len())));
        }
    }

    /// Where `n` more tokens, for which room was made, are to be written; `first` is the row of the first of them.
    pub(super) fn room(&mut self, n: usize, first: usize) -> impl Iterator<Item = Room<'_>> {
        let (shape, start, end) = (self.shape, self.len, self.len + n);
        self.pages.iter_mut().enumerate().skip(start / PANEL).map_while(move |(i, page)| {
            let (from, to) = (start.max(i * PANEL), end.min((i + 1) * PANEL));
            let page = Arc::make_mut(page).floats_mut();
            (from < to).then(|| Room { shape, page, lane: from % PANEL, row: first + from - start, count: to - from })
        })
    }

    /// The keys of one head in one page: a panel `head_dim` deep, whose columns are the positions.
    pub(super) fn keys(&self, layer: usize, head: usize, page: usize) -> &[f32] {
        &self.pages[page].floats()[self.shape.head(layer, head)..][..self.shape.keys()]
    }

    /// The values of one head in one page: panels 32 positions deep, whose columns are the dimensions.
    pub(super) fn values(&self, layer: usize, head: usize, page: usize) -> &[f32] {
        &self.pages[page].floats()[self.shape.head(layer, head) + self.shape.keys()..][..self.shape.values()]
    }
}

/// Some positions of one page.
pub(super) struct Room<'a> {
    shape: Shape,
    page: &'a mut [f32],
    lane: usize,
    row: usize,
    count: usize,
}

impl Room<'_> {
    /// Writes the keys and values of a layer: those rows of the batch that are these positions'.
    pub(super) fn write(&mut self, layer: usize, keys: &[f32], values: &[f32]) {
        let shape = self.shape;
        let (size, width) = (shape.head_dim, shape.kv_heads * shape.head_dim);
        let rows = self.row * width..(self.row + self.count) * width;
        let (keys, values) = (&keys[rows.clone()], &values[rows]);
        for head in 0..shape.kv_heads {
            let (to_keys, rest) = self.page[shape.head(layer, head)..].split_at_mut(shape.keys());
            for d in 0..size {
                let to = &mut to_keys[d * PANEL + self.lane..][..self.count];
                let from = keys[head * size + d..].iter().step_by(width);
                to.iter_mut().zip(from).for_each(|(to, &x)| *to = x);
            }
            for (i, values) in values.chunks_exact(width).enumerate() {
                for (panel, values) in values[head * size..(head + 1) * size].chunks(PANEL).enumerate() {
                    let at = (panel * PANEL + self.lane + i) * PANEL;
                    rest[at..at + values.len()].copy_from_slice(values);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    //! Sharing of pages.

    use super::*;

    #[test]
    fn a_fork_shares_whole_pages_and_copies_the_one_it_writes_to() {
        let shape = Shape { first: 0, layers: 2, kv_heads: 1, head_dim: 3 };
        let mut cache = Cache::of(shape);
        cache.prepare(40);
        // A row of another sequence comes before.
        let rows: Vec<f32> = (0..41 * 3).map(|i| (i / 3) as f32 - 1.0).collect();
        for mut room in cache.room(40, 1) {
            for layer in 0..2 {
                room.write(layer, &rows, &rows);
            }
        }
        cache.advance(40);
        let mut fork = cache.clone();
        fork.prepare(1);
        for mut room in fork.room(1, 0) {
            room.write(1, &[-1.0; 3], &[-2.0; 3]);
        }
        fork.advance(1);
        assert!(Arc::ptr_eq(&cache.pages[0], &fork.pages[0]));
        assert_eq!((cache.pages.len(), fork.pages.len()), (2, 2));
        assert_eq!((cache.keys(1, 0, 1)[8], fork.keys(1, 0, 1)[8]), (0.0, -1.0));
        assert_eq!((fork.keys(1, 0, 1)[7], fork.values(1, 0, 1)[8 * PANEL]), (39.0, -2.0));
    }
}
