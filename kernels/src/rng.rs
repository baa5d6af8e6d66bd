//! Counter-based random numbers: every draw is a pure function of a stream and an index.
//!
//! A [`Stream`] has no state that advances. Draw `i` of a stream is the same number whenever, wherever and on whichever
//! thread it is asked for, so results depend on neither thread count nor order, and nothing needs saving for a resume.
//! The generator is Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
//!
//! ```
//! use evo_kernels::rng::Stream;
//! let search = Stream::from_seed(7).child("search");
//! let candidate = search.at(3).at(12); // generation 3, candidate 12
//! assert_eq!(candidate.normal(0), candidate.normal(0));
//! ```
//!
//! The kinds of draw of one stream ([`Stream::u64`], [`Stream::u32`], [`Stream::normal`], …) read the same bits. Where two
//! kinds are needed for one purpose, take them from two sub-streams.

use std::f64::consts::TAU;

/// The multipliers and key increments of Philox4x32, from the paper's reference implementation.
const MULTIPLIER: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// Philox4x32 with ten rounds: a keyed bijection of 128-bit blocks.
#[inline]
pub fn philox4x32_10(key: [u32; 2], counter: [u32; 4]) -> [u32; 4] {
    let [mut k0, mut k1] = key;
    let mut c = counter;
    for _ in 0..10 {
        let a = u64::from(MULTIPLIER[0]) * u64::from(c[0]);
        let b = u64::from(MULTIPLIER[1]) * u64::from(c[2]);
        c = [(b >> 32) as u32 ^ c[1] ^ k0, b as u32, (a >> 32) as u32 ^ c[3] ^ k1, a as u32];
        k0 = k0.wrapping_add(WEYL[0]);
        k1 = k1.wrapping_add(WEYL[1]);
    }
    c
}

/// A random stream: a 128-bit identity from which any draw can be computed directly.
///
/// 64 bits of the identity are Philox's key and 64 the upper half of its counter; the lower half counts blocks of 128 bits.
/// Streams made by different routes ([`Stream::child`], [`Stream::at`]) coincide with a probability of about 2⁻¹²⁸ a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stream {
    key: [u32; 2],
    space: [u32; 2],
}

impl Stream {
    /// The stream of a program's or a search's seed.
    pub fn from_seed(seed: u64) -> Self {
        Self::from_digest(blake3::hash(&seed.to_le_bytes()).as_bytes())
    }

    /// The stream named by a 32-byte digest, such as a node's identity. The digest's first 16 bytes are used.
    pub fn from_digest(digest: &[u8; 32]) -> Self {
        let word = |i: usize| u32::from_le_bytes([digest[i], digest[i + 1], digest[i + 2], digest[i + 3]]);
        Self { key: [word(0), word(4)], space: [word(8), word(12)] }
    }

    /// The sub-stream called `label`: for another purpose, such as `"mask"`, or another tensor's name.
    pub fn child(self, label: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        for word in self.key.into_iter().chain(self.space) {
            hasher.update(&word.to_le_bytes());
        }
        hasher.update(label.as_bytes());
        Self::from_digest(hasher.finalize().as_bytes())
    }

    /// The sub-stream with number `index`: a generation, a candidate, a chunk. Cheaper than [`Stream::child`].
    pub fn at(self, index: u64) -> Self {
        // Another key than the draws', so that a sub-stream's identity is never a number that was drawn.
        let key = [self.key[0] ^ 0x5DEE_CE66, self.key[1] ^ 0xB5AD_4ECE];
        let [a, b, c, d] = philox4x32_10(key, self.counter(index));
        Self { key: [a, b], space: [c, d] }
    }

    #[inline]
    fn counter(self, block: u64) -> [u32; 4] {
        [block as u32, (block >> 32) as u32, self.space[0], self.space[1]]
    }

    #[inline]
    fn block(self, index: u64) -> [u32; 4] {
        philox4x32_10(self.key, self.counter(index))
    }

    #[inline]
    fn block_u64(self, index: u64) -> [u64; 2] {
        let [a, b, c, d] = self.block(index);
        [u64::from(a) | u64::from(b) << 32, u64::from(c) | u64::from(d) << 32]
    }

    /// Draw `i` as 32 uniform bits.
    #[inline]
    pub fn u32(self, i: u64) -> u32 {
        self.block(i / 4)[(i % 4) as usize]
    }

    /// Draw `i` as 64 uniform bits.
    #[inline]
    pub fn u64(self, i: u64) -> u64 {
        self.block_u64(i / 2)[(i % 2) as usize]
    }

    /// Draw `i`, uniform on `[0, 1)` in steps of 2⁻⁵³.
    #[inline]
    pub fn uniform(self, i: u64) -> f64 {
        unit_f64(self.u64(i))
    }

    /// Draw `i`, uniform on `[0, 1)` in steps of 2⁻²⁴.
    #[inline]
    pub fn uniform_f32(self, i: u64) -> f32 {
        unit_f32(self.u32(i))
    }

    /// Draw `i` of a standard normal (Box and Muller, 1958); at most about 8.6 in magnitude.
    ///
    /// The transcendental functions are those of the `libm` crate, so the bits are the same on every machine.
    #[inline]
    pub fn normal(self, i: u64) -> f64 {
        box_muller(self.block_u64(i / 2))[(i % 2) as usize]
    }

    /// Draw `i`, uniform on `0..n`; 0 for `n` of 0. The probabilities differ from `1/n` by less than 2⁻⁶⁴.
    #[inline]
    pub fn below(self, i: u64, n: u64) -> u64 {
        // The high half of a product (Lemire, 2019), without the rejection: a draw must use exactly one index.
        ((u128::from(self.u64(i)) * u128::from(n)) >> 64) as u64
    }

    /// Whether draw `i` succeeds, with probability `p` in steps of 2⁻³²; `p` at or below 0 never does, at or above 1 always.
    #[inline]
    pub fn bernoulli(self, i: u64, p: f64) -> bool {
        u64::from(self.u32(i)) < bernoulli_threshold(p)
    }

    /// A uniformly random order of `0..n` (Fisher and Yates). Uses the draws `0..n`.
    pub fn permutation(self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for last in (1..n).rev() {
            order.swap(last, self.below(last as u64, last as u64 + 1) as usize);
        }
        order
    }

    /// Fills `out` with [`Stream::uniform`] of `start`, `start + 1`, …
    pub fn fill_uniform(self, start: u64, out: &mut [f64]) {
        self.fill2(start, out, |block| block.map(unit_f64));
    }

    /// Fills `out` with [`Stream::uniform_f32`] of `start`, `start + 1`, …
    pub fn fill_uniform_f32(self, start: u64, out: &mut [f32]) {
        self.fill4(start, out, unit_f32);
    }

    /// Fills `out` with [`Stream::normal`] of `start`, `start + 1`, …
    pub fn fill_normal(self, start: u64, out: &mut [f64]) {
        self.fill2(start, out, box_muller);
    }

    /// Fills `out` with [`Stream::bernoulli`] of `start`, `start + 1`, …, all with probability `p`.
    pub fn fill_bernoulli(self, start: u64, p: f64, out: &mut [bool]) {
        let threshold = bernoulli_threshold(p);
        self.fill4(start, out, |bits| u64::from(bits) < threshold);
    }

    fn fill2<T: Copy>(self, start: u64, out: &mut [T], draw: impl Fn([u64; 2]) -> [T; 2]) {
        let head = (start % 2).min(out.len() as u64) as usize;
        let (first, rest) = out.split_at_mut(head);
        if let [slot] = first {
            *slot = draw(self.block_u64(start / 2))[1];
        }
        for (block, pair) in (start.div_ceil(2)..).zip(rest.chunks_mut(2)) {
            let values = draw(self.block_u64(block));
            pair.copy_from_slice(&values[..pair.len()]);
        }
    }

    fn fill4<T: Copy>(self, start: u64, out: &mut [T], draw: impl Fn(u32) -> T) {
        let head = ((4 - start % 4) % 4).min(out.len() as u64) as usize;
        let (first, rest) = out.split_at_mut(head);
        for (i, slot) in (start..).zip(first) {
            *slot = draw(self.u32(i));
        }
        for (block, four) in (start.div_ceil(4)..).zip(rest.chunks_mut(4)) {
            let values = self.block(block).map(&draw);
            four.copy_from_slice(&values[..four.len()]);
        }
    }
}

#[inline]
fn unit_f64(bits: u64) -> f64 {
    (bits >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}

#[inline]
fn unit_f32(bits: u32) -> f32 {
    (bits >> 8) as f32 * (1.0 / (1u32 << 24) as f32)
}

fn bernoulli_threshold(p: f64) -> u64 {
    (p.clamp(0.0, 1.0) * (1u64 << 32) as f64) as u64
}

/// Two independent normals from two words of uniform bits.
#[inline]
fn box_muller(words: [u64; 2]) -> [f64; 2] {
    let radius = (-2.0 * libm::log(1.0 - unit_f64(words[0]))).sqrt(); // 1 - u lies in (0, 1]
    let (sin, cos) = libm::sincos(TAU * unit_f64(words[1]));
    [radius * cos, radius * sin]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rayon::prelude::*;

    /// Known answers from the authors' Random123 distribution (`kat_vectors`, philox 4x32 10).
    #[test]
    fn philox_known_answers() {
        assert_eq!(philox4x32_10([0; 2], [0; 4]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox4x32_10([!0; 2], [!0; 4]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        assert_eq!(
            philox4x32_10([0xa409_3822, 0x299f_31d0], [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    /// Journals and resumed runs rely on these numbers: they must never change.
    #[test]
    fn the_numbers_of_a_seed_are_fixed() {
        let stream = Stream::from_seed(42);
        assert_eq!(stream.u64(0), PINNED[0]);
        assert_eq!(stream.child("mask").u64(5), PINNED[1]);
        assert_eq!(stream.at(9).u64(1), PINNED[2]);
        assert_eq!(stream.normal(3).to_bits(), PINNED[3]);
    }
    const PINNED: [u64; 4] =
        [0x746f_bf6c_d3e5_f583, 0x48df_ec45_0a1b_22f7, 0x77f6_97e6_26c7_3639, 0xbffa_13fb_fe0b_dcca];

    #[test]
    fn normals_have_the_moments_and_tails_of_a_normal() {
        let n = 400_000;
        let mut x = vec![0.0; n];
        Stream::from_seed(1).fill_normal(0, &mut x);
        let mean_of = |f: &dyn Fn(f64) -> f64| x.iter().map(|&v| f(v)).sum::<f64>() / n as f64;
        // Each bound is about five standard errors.
        assert!(mean_of(&|v| v).abs() < 5.0 / (n as f64).sqrt());
        assert!((mean_of(&|v| v * v) - 1.0).abs() < 5.0 * (2.0 / n as f64).sqrt());
        assert!((mean_of(&|v| v.powi(4)) - 3.0).abs() < 5.0 * (96.0 / n as f64).sqrt());
        let beyond_two = mean_of(&|v| f64::from(v.abs() > 2.0));
        assert!((beyond_two - 0.045_500_26).abs() < 5.0 * (0.0434 / n as f64).sqrt());
    }

    #[test]
    fn uniforms_fill_their_range_evenly() {
        let n = 160_000;
        let mut counts = [0u32; 16];
        for i in 0..n {
            counts[(Stream::from_seed(2).uniform(i) * 16.0) as usize] += 1;
        }
        let expected = n as f64 / 16.0;
        let chi2: f64 = counts.iter().map(|&c| (f64::from(c) - expected).powi(2) / expected).sum();
        assert!(chi2 < 44.3, "chi² of 15 degrees of freedom at p = 1e-4, got {chi2}");
    }

    #[test]
    fn every_order_of_four_is_equally_likely() {
        let mut counts = std::collections::BTreeMap::new();
        let n = 24_000u64;
        for i in 0..n {
            *counts.entry(Stream::from_seed(3).at(i).permutation(4)).or_insert(0u32) += 1;
        }
        assert_eq!(counts.len(), 24);
        let chi2: f64 = counts.values().map(|&c| (f64::from(c) - 1000.0).powi(2) / 1000.0).sum();
        assert!(chi2 < 55.0, "chi² of 23 degrees of freedom at p = 2e-4, got {chi2}");
    }

    #[test]
    fn neighbouring_streams_are_uncorrelated() {
        let n = 100_000;
        let pair = |a: Stream, b: Stream| {
            let sum: f64 = (0..n).map(|i| (a.uniform(i) - 0.5) * (b.uniform(i) - 0.5)).sum();
            12.0 * sum / n as f64
        };
        let root = Stream::from_seed(4);
        for (a, b) in [
            (root.at(0), root.at(1)),
            (root, root.at(0)),
            (root.child("a"), root.child("b")),
            (root, Stream::from_seed(5)),
        ] {
            assert!(pair(a, b).abs() < 5.0 / (n as f64).sqrt());
        }
    }

    #[test]
    fn threads_do_not_change_a_stream() {
        let stream = Stream::from_seed(6);
        let one: Vec<u64> = (0..10_000).map(|i| stream.u64(i)).collect();
        let many: Vec<u64> = (0..10_000u64).into_par_iter().map(|i| stream.u64(i)).collect();
        assert_eq!(one, many);
    }

    proptest! {
        #[test]
        fn bulk_fills_are_the_indexed_draws(seed: u64, start in 0u64..1 << 40, len in 0usize..23, p in 0.0..1.0f64) {
            let s = Stream::from_seed(seed);
            let index = |k: usize| start + k as u64;
            let (mut a, mut b, mut c, mut d) = (vec![0.0; len], vec![0.0; len], vec![0.0f32; len], vec![false; len]);
            s.fill_uniform(start, &mut a);
            s.fill_normal(start, &mut b);
            s.fill_uniform_f32(start, &mut c);
            s.fill_bernoulli(start, p, &mut d);
            for k in 0..len {
                prop_assert_eq!(a[k].to_bits(), s.uniform(index(k)).to_bits());
                prop_assert_eq!(b[k].to_bits(), s.normal(index(k)).to_bits());
                prop_assert_eq!(c[k].to_bits(), s.uniform_f32(index(k)).to_bits());
                prop_assert_eq!(d[k], s.bernoulli(index(k), p));
            }
        }

        #[test]
        fn draws_do_not_depend_on_the_order_of_asking(seed: u64, mut indices in prop::collection::vec(0u64..1000, 1..50)) {
            let s = Stream::from_seed(seed);
            let before: std::collections::BTreeMap<u64, f64> = indices.iter().map(|&i| (i, s.normal(i))).collect();
            indices.reverse();
            for i in indices {
                prop_assert_eq!(before[&i].to_bits(), s.normal(i).to_bits());
            }
        }

        #[test]
        fn draws_stay_in_their_ranges(seed: u64, i: u64, n in 1u64..) {
            let s = Stream::from_seed(seed);
            prop_assert!((0.0..1.0).contains(&s.uniform(i)));
            prop_assert!((0.0..1.0).contains(&s.uniform_f32(i)));
            prop_assert!(s.normal(i).abs() < 8.7);
            prop_assert!(s.below(i, n) < n);
            prop_assert!(s.bernoulli(i, 1.0) && !s.bernoulli(i, 0.0));
            prop_assert_eq!(s.below(i, 0), 0);
        }

        #[test]
        fn labels_and_numbers_separate_streams(seed: u64, i: u64, j: u64) {
            let s = Stream::from_seed(seed);
            prop_assert_eq!(s.at(i) == s.at(j), i == j);
            prop_assert_ne!(s.child("a"), s.child("b"));
            prop_assert_ne!(s.child("a").child("b"), s.child("ab"));
        }
    }
}
