//! The k largest of many magnitudes, without sorting them.

use super::chunks::{CHUNK, map_chunks};
use rayon::prelude::*;
use std::ops::Range;

/// A set of k elements: those above a threshold, and of those at it the first ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Largest {
    /// Bits of the smallest chosen magnitude. Non-negative floats order as their bits do; NaN counts as largest.
    threshold: u32,
    /// Elements at the threshold are chosen if their index is below this.
    tie_end: usize,
}

impl Largest {
    /// Whether the element at `index`, which has this magnitude, is chosen.
    #[inline(always)]
    pub(super) fn contains(self, index: usize, magnitude: f32) -> bool {
        let bits = magnitude.to_bits();
        bits > self.threshold || (bits == self.threshold && index < self.tie_end)
    }
}

/// Finds the `k` largest of `len` magnitudes, the earlier one first among equals, as a stable descending sort does.
///
/// `write` puts the magnitudes of a range into a slice; it is asked for each range twice, or thrice if only some of the
/// ties are chosen. `k` is from 1 to `len`.
pub(super) fn largest(len: usize, k: usize, write: impl Fn(Range<usize>, &mut [f32]) + Sync) -> Largest {
    debug_assert!(1 <= k && k <= len);
    let high = histogram(len, &write, |bits| Some(bits >> 16));
    let (high, above_high, _) = find_bin(&high, k);
    let low = histogram(len, &write, |bits| (bits >> 16 == high).then_some(bits & 0xFFFF));
    let (low, above_low, equal) = find_bin(&low, k - above_high);
    let threshold = high << 16 | low;
    let ties = k - above_high - above_low;
    let tie_end = if ties == equal { len } else { end_of_ties(len, ties, threshold, &write) };
    Largest { threshold, tie_end }
}

/// Counts the magnitudes by 16 of their bits.
fn histogram(
    len: usize,
    write: &(impl Fn(Range<usize>, &mut [f32]) + Sync),
    bin: impl Fn(u32) -> Option<u32> + Sync,
) -> Vec<usize> {
    const CHUNKS_A_TASK: usize = 64; // a histogram is as large as that many chunks
    let empty = || vec![0; 1 << 16];
    (0..len.div_ceil(CHUNK))
        .into_par_iter()
        .with_min_len(CHUNKS_A_TASK)
        .fold(
            || (empty(), vec![0.0; CHUNK]),
            |(mut counts, mut buffer), chunk| {
                let range = chunk * CHUNK..len.min((chunk + 1) * CHUNK);
                let magnitudes = &mut buffer[..range.len()];
                write(range, magnitudes);
                magnitudes.iter().filter_map(|m| bin(m.to_bits())).for_each(|b| counts[b as usize] += 1);
                (counts, buffer)
            },
        )
        .map(|(counts, _)| counts)
        .reduce(empty, |mut a, b| {
            a.iter_mut().zip(b).for_each(|(sum, count)| *sum += count);
            a
        })
}

/// The bin that holds the `k`-th largest, how many lie in the bins above it, and how many in it.
fn find_bin(counts: &[usize], k: usize) -> (u32, usize, usize) {
    let mut above = 0;
    for (bin, &count) in counts.iter().enumerate().rev() {
        if above + count >= k {
            return (bin as u32, above, count);
        }
        above += count;
    }
    (0, above, 0)
}

/// One more than the index of the element that is the `ties`-th at the threshold.
fn end_of_ties(len: usize, ties: usize, threshold: u32, write: &(impl Fn(Range<usize>, &mut [f32]) + Sync)) -> usize {
    let counts = map_chunks(len, |range, magnitudes| {
        write(range, magnitudes);
        magnitudes.iter().filter(|m| m.to_bits() == threshold).count()
    });
    let mut before = 0;
    for (chunk, count) in counts.into_iter().enumerate() {
        if before + count >= ties {
            let start = chunk * CHUNK;
            let mut magnitudes = vec![0.0; CHUNK.min(len - start)];
            write(start..start + magnitudes.len(), &mut magnitudes);
            let at_threshold = magnitudes.iter().enumerate().filter(|(_, m)| m.to_bits() == threshold);
            return at_threshold.map(|(i, _)| start + i + 1).nth(ties - before - 1).unwrap_or(len);
        }
        before += count;
    }
    len
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn choose(values: &[f32], k: usize) -> Vec<usize> {
        let set = largest(values.len(), k, |range, out| out.copy_from_slice(&values[range]));
        (0..values.len()).filter(|&i| set.contains(i, values[i])).collect()
    }

    fn by_sorting(values: &[f32], k: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
        order.truncate(k);
        order.sort();
        order
    }

    proptest! {
        #[test]
        fn agrees_with_a_stable_sort(levels in 1u32..50, len in 1usize..400, share in 0.0..1.0f64, seed: u64) {
            let stream = crate::rng::Stream::from_seed(seed);
            let values: Vec<f32> = (0..len as u64).map(|i| stream.below(i, levels.into()) as f32 * 1.7e-3).collect();
            let k = ((share * len as f64) as usize).max(1);
            prop_assert_eq!(choose(&values, k), by_sorting(&values, k));
        }
    }

    #[test]
    fn ties_and_thresholds_may_lie_in_any_chunk() {
        let stream = crate::rng::Stream::from_seed(9);
        let len = 5 * CHUNK + 17;
        let coarse: Vec<f32> = (0..len as u64).map(|i| stream.below(i, 3) as f32).collect();
        let fine: Vec<f32> = (0..len as u64).map(|i| stream.uniform_f32(i)).collect();
        for k in [1, 2, len / 3, len / 2 + 1, len - 1, len] {
            assert_eq!(choose(&coarse, k), by_sorting(&coarse, k));
            assert_eq!(choose(&fine, k), by_sorting(&fine, k));
        }
    }
}
