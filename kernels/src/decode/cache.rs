//! Keys and values of the tokens that a sequence has seen, laid out as the matrix product wants them.

use super::Config;
use super::matrix::PANEL;

/// The keys and values of one sequence. Its size is fixed when it is made.
#[derive(Clone, Debug)]
pub struct Cache {
    layers: Vec<LayerCache>,
    len: usize,
    /// A multiple of [`PANEL`].
    capacity: usize,
    kv_heads: usize,
    head_dim: usize,
}

#[derive(Clone, Debug)]
struct LayerCache {
    /// `[head][position / 32][dimension][position % 32]`: panels whose columns are positions.
    keys: Vec<f32>,
    /// `[head][dimension / 32][position][dimension % 32]`: panels whose columns are dimensions.
    values: Vec<f32>,
}

impl Cache {
    /// An empty cache for at least `capacity` tokens.
    pub fn new(config: &Config, capacity: usize) -> Self {
        Self::sized(config.num_layers, config.num_kv_heads, config.head_dim, capacity)
    }

    fn sized(layers: usize, kv_heads: usize, head_dim: usize, capacity: usize) -> Self {
        let capacity = capacity.next_multiple_of(PANEL);
        let layer = LayerCache {
            keys: vec![0.0; kv_heads * capacity * head_dim],
            values: vec![0.0; kv_heads * capacity * head_dim.next_multiple_of(PANEL)],
        };
        Self { layers: vec![layer; layers], len: 0, capacity, kv_heads, head_dim }
    }

    /// A copy that has room for at least `capacity` tokens (more if this one holds more).
    pub fn fork(&self, capacity: usize) -> Self {
        let capacity = capacity.max(self.len);
        let mut fork = Self::sized(self.layers.len(), self.kv_heads, self.head_dim, capacity);
        fork.len = self.len;
        let key_panels = self.len.div_ceil(PANEL) * PANEL * self.head_dim;
        for (to, from) in fork.layers.iter_mut().zip(&self.layers) {
            let of = (fork.capacity * self.head_dim, self.capacity * self.head_dim);
            copy_heads(&mut to.keys, &from.keys, of, key_panels);
            let of = (fork.capacity * PANEL, self.capacity * PANEL);
            copy_heads(&mut to.values, &from.values, of, self.len * PANEL);
        }
        fork
    }

    /// Tokens seen.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no token was seen.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Tokens that there is room for, seen ones included.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Counts `n` more tokens as seen, after all layers have written theirs.
    pub(super) fn advance(&mut self, n: usize) {
        self.len += n;
    }

    /// Writes one token's keys and values, head after head, at `position`.
    pub(super) fn write(&mut self, layer: usize, position: usize, keys: &[f32], values: &[f32]) {
        assert!(position < self.capacity);
        let (head_dim, capacity) = (self.head_dim, self.capacity);
        let panels = head_dim.div_ceil(PANEL);
        let layer = &mut self.layers[layer];
        for head in 0..self.kv_heads {
            let from = head * head_dim..(head + 1) * head_dim;
            let first = (head * capacity + position / PANEL * PANEL) * head_dim + position % PANEL;
            for (d, &x) in keys[from.clone()].iter().enumerate() {
                layer.keys[first + d * PANEL] = x;
            }
            for (d, &x) in values[from].iter().enumerate() {
                let panel = head * panels + d / PANEL;
                layer.values[(panel * capacity + position) * PANEL + d % PANEL] = x;
            }
        }
    }

    /// The key panels of one head: `head_dim` deep, one every `head_dim · 32`.
    pub(super) fn keys(&self, layer: usize, head: usize) -> &[f32] {
        let size = self.capacity * self.head_dim;
        &self.layers[layer].keys[head * size..(head + 1) * size]
    }

    /// The value panels of one head: one every `capacity · 32`.
    pub(super) fn values(&self, layer: usize, head: usize) -> &[f32] {
        let size = self.capacity * self.head_dim.next_multiple_of(PANEL);
        &self.layers[layer].values[head * size..(head + 1) * size]
    }
}

/// Copies the first `len` elements of each block; blocks are `of.0` apart in `to` and `of.1` apart in `from`.
fn copy_heads(to: &mut [f32], from: &[f32], of: (usize, usize), len: usize) {
    if of.0 == 0 || of.1 == 0 {
        return;
    }
    for (to, from) in to.chunks_exact_mut(of.0).zip(from.chunks_exact(of.1)) {
        to[..len].copy_from_slice(&from[..len]);
    }
}
