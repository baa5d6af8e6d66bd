//! Memory that is used again, and how products are computed.

use crate::decode::Config;
use crate::matmul::Units;
use crate::matmul::gemm::How;
use crate::matmul::lines::{Buffer, Lines};

/// The buffers of earlier passes, and the threads and units that passes run on.
///
/// A training makes hundreds of large buffers a step; given back to the allocator, each costs the kernel fresh zeroed pages,
/// which took a quarter of the time alone and half of it beside other programs.
pub struct Workspace {
    threads: usize,
    units: Units,
    recomputes: bool,
    kept: Vec<Lines>,
}

impl std::fmt::Debug for Workspace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Workspace({} threads, {:?})", self.threads, self.units)
    }
}

impl Default for Workspace {
    fn default() -> Self {
        Self::new(1)
    }
}

impl Workspace {
    /// No buffers yet. Passes are shared among so many `threads`, which changes no bit.
    pub fn new(threads: usize) -> Self {
        Self { threads: threads.max(1), units: Units::Vectors, recomputes: false, kept: Vec::new() }
    }

    /// Products on other units, which must be available.
    #[must_use]
    pub fn on(self, units: Units) -> Self {
        Self { units, ..self }
    }

    /// Activation checkpointing (Chen et al., 2016): of each block only what went in is kept, and the block is computed
    /// again when its turn comes in the reverse pass. The same bits in less memory, for a third more work.
    #[must_use]
    pub fn recomputing(self, recomputes: bool) -> Self {
        Self { recomputes, ..self }
    }

    /// Among how many threads passes are shared.
    pub fn threads(&self) -> usize {
        self.threads
    }

    pub(super) fn units(&self) -> Units {
        self.units
    }

    pub(super) fn recomputes(&self) -> bool {
        self.recomputes
    }

    pub(super) fn how(&self, rounded: bool) -> How {
        How { units: self.units, threads: self.threads, rounded }
    }

    /// A buffer of any content.
    pub(super) fn take(&mut self, len: usize) -> Buffer {
        Buffer::take(&mut self.kept, len)
    }

    /// A buffer of zeros.
    pub(super) fn zeros(&mut self, len: usize) -> Buffer {
        let mut buffer = self.take(len);
        buffer.fill(0.0);
        buffer
    }

    /// A copy of `values`.
    pub(super) fn copy(&mut self, values: &[f32]) -> Buffer {
        let mut buffer = self.take(values.len());
        buffer.copy_from_slice(values);
        buffer
    }

    /// Takes a buffer back.
    pub(super) fn give(&mut self, buffer: Buffer) {
        self.kept.push(buffer.into_lines());
    }

    /// Takes buffers back.
    pub(super) fn give_all(&mut self, buffers: impl IntoIterator<Item = Buffer>) {
        buffers.into_iter().for_each(|buffer| self.give(buffer));
    }
}

/// Bytes that a pass over `tokens` tokens keeps until its reverse: what a plan of memory counts. The logits of
/// [`super::CHUNK`] targets are in it.
pub fn activation_bytes(config: &Config, tokens: usize, recomputes: bool) -> u64 {
    let experts = match config.mlp {
        crate::decode::Mlp::Experts { chosen, .. } => chosen,
        crate::decode::Mlp::Gated | crate::decode::Mlp::Plain => 1,
    };
    let block = 3 * config.hidden_size + 2 * config.query_size() + 2 * config.kv_size();
    let block = block + 2 * experts * config.intermediate_size;
    let streams = config.num_layers() * if recomputes { config.hidden_size } else { block };
    let once = 6 * block + 4 * config.hidden_size;
    let logits = 2 * config.vocab_size * super::CHUNK.min(tokens);
    4 * ((streams + once) as u64 * tokens as u64 + logits as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_that_fits_is_used_again() {
        let mut workspace = Workspace::default();
        let (large, small) = (workspace.zeros(1000), workspace.zeros(10));
        let (at_large, at_small) = (large.as_ptr(), small.as_ptr());
        workspace.give_all([large, small]);
        let (first, second) = (workspace.zeros(8), workspace.zeros(8));
        assert_eq!((first.as_ptr(), second.as_ptr()), (at_small, at_large));
        assert!(first.iter().chain(second.iter()).all(|v| *v == 0.0));
        assert_eq!(*workspace.copy(&[1.0, 2.0]), [1.0, 2.0]);
    }
}
