//! Parallel loops over fixed-size chunks: what a chunk computes, and the order in which chunks are combined, do not
//! depend on the number of threads.

use super::element::Element;
use rayon::prelude::*;
use std::ops::Range;

/// Elements a chunk. A chunk of `f32` scratch for one model fits the first-level cache.
pub(super) const CHUNK: usize = 8192;

/// Chunks that one task takes at least, so that small tensors stay on one thread.
const MIN_CHUNKS: usize = 4;

/// Writes `out` chunk by chunk. `write` gets a chunk's place in the tensor, its part of the output, and memory to work in.
pub(super) fn write_chunks<E: Element>(
    out: &mut [E],
    write: impl Fn(Range<usize>, &mut [E], &mut Vec<Vec<f32>>) + Sync,
) {
    out.par_chunks_mut(CHUNK).enumerate().with_min_len(MIN_CHUNKS).for_each_init(Vec::new, |scratch, (index, part)| {
        let start = index * CHUNK;
        write(start..start + part.len(), part, scratch);
    });
}

/// Computes a value for each chunk of `0..len`, in order. `scratch` is of the chunk's length, with arbitrary content.
pub(super) fn map_chunks<R: Send>(len: usize, map: impl Fn(Range<usize>, &mut [f32]) -> R + Sync) -> Vec<R> {
    (0..len.div_ceil(CHUNK))
        .into_par_iter()
        .with_min_len(MIN_CHUNKS)
        .map_init(
            || vec![0.0; CHUNK],
            |scratch, index| {
                let range = index * CHUNK..len.min((index + 1) * CHUNK);
                let len = range.len();
                map(range, &mut scratch[..len])
            },
        )
        .collect()
}

/// Adds up the chunks' values in order.
pub(super) fn sum_chunks<const N: usize>(
    len: usize,
    part: impl Fn(Range<usize>, &mut [f32]) -> [f64; N] + Sync,
) -> [f64; N] {
    let mut total = [0.0; N];
    for values in map_chunks(len, part) {
        total.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
    }
    total
}

/// Sums `term(i)` for `i` in `range` in `f64`, over eight lanes that are then added in order.
pub(super) fn sum_lanes<const N: usize>(range: Range<usize>, term: impl Fn(usize) -> [f64; N]) -> [f64; N] {
    const LANES: usize = 8;
    let mut lanes = [[0.0; N]; LANES];
    let whole = range.start + range.len() / LANES * LANES;
    for first in (range.start..whole).step_by(LANES) {
        for (lane, sums) in lanes.iter_mut().enumerate() {
            sums.iter_mut().zip(term(first + lane)).for_each(|(sum, value)| *sum += value);
        }
    }
    let rest = (whole..range.end).map(term);
    let mut total = [0.0; N];
    for values in lanes.into_iter().chain(rest) {
        total.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
    }
    total
}
