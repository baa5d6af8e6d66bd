//! How weights are kept in panels, and how a column of a panel comes back as floats.
//!
//! A panel holds 32 rows. Dense storages keep it column by column: 32 elements side by side; bf16 keeps rows `i` and `16 + i`
//! as the lower and upper half of a word, so that widening both takes a shift and a mask. Quantised storages keep the blocks
//! of 32 rows side by side, scales before numbers, and of 4-bit numbers eight columns of a row in a word. A column comes back as
//! exactly the floats that dequantising the tensor gives: those formats round once at the most.

use std::ops::Range;

use super::lanes::{PANEL, Vector};

/// How the weights of a matrix are kept. The names of the quantised ones are those of GGUF files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Storage {
    /// 32-bit floating point.
    F32,
    /// The upper half of an F32.
    Bf16,
    /// 16-bit floating point (IEEE half).
    F16,
    /// Blocks of 32: a scale, and 8 bits each.
    Q8_0,
    /// Blocks of 32: a scale, and 4 bits each.
    Q4_0,
    /// Blocks of 32: a scale, an offset, and 4 bits each.
    Q4_1,
    /// Blocks of 256: eight scales and offsets of 6 bits, and 4 bits each.
    Q4K,
    /// Blocks of 256: sixteen scales of 8 bits, and 6 bits each.
    Q6K,
}

impl Storage {
    /// All of them.
    pub const ALL: [Storage; 8] =
        [Self::F32, Self::Bf16, Self::F16, Self::Q8_0, Self::Q4_0, Self::Q4_1, Self::Q4K, Self::Q6K];

    /// Columns of a block; a quantised matrix has a whole number of them.
    pub fn block_cols(self) -> usize {
        match self {
            Self::F32 | Self::Bf16 | Self::F16 => 1,
            Self::Q8_0 | Self::Q4_0 | Self::Q4_1 => 32,
            Self::Q4K | Self::Q6K => 256,
        }
    }

    /// Bytes of a block of one row in GGUF files.
    pub fn block_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 | Self::F16 => 2,
            Self::Q8_0 => 34,
            Self::Q4_0 => 18,
            Self::Q4_1 => 20,
            Self::Q4K => 144,
            Self::Q6K => 210,
        }
    }

    /// Bytes of a panel of `cols` columns.
    pub(crate) fn panel_bytes(self, cols: usize) -> usize {
        // The scales of Q4_K are packed in 12 bytes in files, in 16 here.
        let bytes = if self == Self::Q4K { 148 } else { self.block_bytes() };
        cols * bytes * PANEL / self.block_cols()
    }
}

/// A storage as the product reads it. `lane` says which unit of a panel is meant: see [`Vector`].
#[expect(unsafe_code, reason = "reads through pointers")]
pub(crate) trait Read {
    /// Columns that share scales.
    const SHARE: usize;
    /// Columns that come from one load; a divisor of `SHARE`.
    const STEP: usize;
    /// Cache lines that `STEP` columns take, rounded up.
    const LINES: usize;
    /// What columns share.
    type Scales<V: Vector>: Copy;
    /// What is loaded for `STEP` columns.
    type Words<V: Vector>: Copy;

    /// The scales of columns from `k` on, a multiple of `SHARE`.
    ///
    /// # Safety
    /// `panel` points to a panel with those columns.
    unsafe fn scales<V: Vector>(panel: *const u8, k: usize, lane: usize) -> Self::Scales<V>;

    /// The numbers of columns from `k` on, a multiple of `STEP`.
    ///
    /// # Safety
    /// As [`Read::scales`].
    unsafe fn words<V: Vector>(panel: *const u8, k: usize, lane: usize) -> Self::Words<V>;

    /// Column `i` of a step.
    fn column<V: Vector>(scales: &Self::Scales<V>, words: &Self::Words<V>, i: usize) -> [V; 2];
}

/// 32 f16 numbers at `at`, of which the unit's.
///
/// # Safety
/// They must be there.
#[inline(always)]
#[expect(unsafe_code, reason = "reads through a pointer")]
unsafe fn f16_pair<V: Vector>(at: *const u8, lane: usize) -> [V; 2] {
    let at = at.cast::<u16>();
    // SAFETY: the caller's promise; `lane + WIDTH` is at most 16.
    unsafe { [V::load_f16(at.add(lane)), V::load_f16(at.add(16 + lane))] }
}

/// 32 words at `at`, of which the unit's.
///
/// # Safety
/// They must be there.
#[inline(always)]
#[expect(unsafe_code, reason = "reads through a pointer")]
unsafe fn word_pair<V: Vector>(at: *const u8, lane: usize) -> [V::Words; 2] {
    let at = at.cast::<u32>();
    // SAFETY: the caller's promise; `lane + WIDTH` is at most 16.
    unsafe { [V::load_words(at.add(lane)), V::load_words(at.add(16 + lane))] }
}

/// 32 bytes at `at`, of which the unit's.
///
/// # Safety
/// They must be there.
#[inline(always)]
#[expect(unsafe_code, reason = "reads through a pointer")]
unsafe fn u8_pair<V: Vector>(at: *const u8, lane: usize) -> [V; 2] {
    // SAFETY: the caller's promise; `lane + WIDTH` is at most 16.
    unsafe { [V::load_u8(at.add(lane)), V::load_u8(at.add(16 + lane))] }
}

/// 32 signed bytes at `at`, of which the unit's.
///
/// # Safety
/// They must be there.
#[inline(always)]
#[expect(unsafe_code, reason = "reads through a pointer")]
unsafe fn i8_pair<V: Vector>(at: *const u8, lane: usize) -> [V; 2] {
    let at = at.cast::<i8>();
    // SAFETY: the caller's promise; `lane + WIDTH` is at most 16.
    unsafe { [V::load_i8(at.add(lane)), V::load_i8(at.add(16 + lane))] }
}

#[inline(always)]
fn times<V: Vector>(a: [V; 2], b: [V; 2]) -> [V; 2] {
    [a[0].multiply(b[0]), a[1].multiply(b[1])]
}

/// Implements [`Read`] for a storage; the pointer arithmetic of each stands in its own arms.
macro_rules! reads {
    ($($(#[$doc:meta])* $name:ident, share $share:literal, step $step:literal, lines $lines:literal,
        scales $scales:ty = |$sp:ident, $sk:ident, $sl:ident| $scales_body:expr,
        words $words:ty = |$wp:ident, $wk:ident, $wl:ident| $words_body:expr,
        column |$cs:ident, $cw:ident, $ci:ident| $column_body:expr;)*) => {$(
        $(#[$doc])*
        pub(crate) struct $name;

        #[expect(unsafe_code, reason = "reads through pointers")]
        impl Read for $name {
            const SHARE: usize = $share;
            const STEP: usize = $step;
            const LINES: usize = $lines;
            type Scales<V: Vector> = $scales;
            type Words<V: Vector> = $words;

            #[inline(always)]
            #[allow(unused_unsafe, reason = "dense storages have no scales to read")]
            unsafe fn scales<V: Vector>($sp: *const u8, $sk: usize, $sl: usize) -> Self::Scales<V> {
                // SAFETY: the caller's panel has column `k`, so the block that holds it lies within the panel.
                unsafe { $scales_body }
            }

            #[inline(always)]
            unsafe fn words<V: Vector>($wp: *const u8, $wk: usize, $wl: usize) -> Self::Words<V> {
                // SAFETY: as above.
                unsafe { $words_body }
            }

            #[inline(always)]
            fn column<V: Vector>($cs: &Self::Scales<V>, $cw: &Self::Words<V>, $ci: usize) -> [V; 2] {
                $column_body
            }
        }
    )*};
}

reads! {
    /// `[column][32]` floats.
    F32, share 1, step 1, lines 2,
    scales () = |_panel, _k, _lane| (),
    words [V; 2] = |panel, k, lane| {
        let at = panel.cast::<f32>().add(k * PANEL + lane);
        [V::load(at), V::load(at.add(16))]
    },
    column |_scales, words, _i| *words;

    /// `[column][16]` words of two bf16 numbers.
    Bf16, share 1, step 1, lines 1,
    scales () = |_panel, _k, _lane| (),
    words V::Words = |panel, k, lane| V::load_words(panel.cast::<u32>().add(k * 16 + lane)),
    column |_scales, words, _i| [V::low_halves(*words), V::high_halves(*words)];

    /// `[column][32]` f16 numbers.
    F16, share 1, step 1, lines 1,
    scales () = |_panel, _k, _lane| (),
    words [V; 2] = |panel, k, lane| f16_pair::<V>(panel.add(k * 64), lane),
    column |_scales, words, _i| *words;

    /// Blocks of 32 scales (f16) and `[column][32]` signed bytes.
    Q8_0, share 32, step 1, lines 1,
    scales [V; 2] = |panel, k, lane| f16_pair::<V>(panel.add(k / 32 * 1088), lane),
    words [V; 2] = |panel, k, lane| i8_pair::<V>(panel.add(k / 32 * 1088 + 64 + k % 32 * 32), lane),
    column |scales, words, _i| times(*words, *scales);

    /// Blocks of 32 scales (f16) and `[8 columns][32]` words.
    Q4_0, share 32, step 8, lines 3,
    scales [V; 2] = |panel, k, lane| f16_pair::<V>(panel.add(k / 32 * 576), lane),
    words [V::Words; 2] = |panel, k, lane| word_pair::<V>(panel.add(k / 32 * 576 + 64 + k % 32 * 16), lane),
    column |scales, words, i| times([V::centred_nibbles(words[0], i), V::centred_nibbles(words[1], i)], *scales);

    /// Blocks of 32 scales and 32 offsets (f16), and `[8 columns][32]` words.
    Q4_1, share 32, step 8, lines 3,
    scales [[V; 2]; 2] = |panel, k, lane| {
        let block = panel.add(k / 32 * 640);
        [f16_pair::<V>(block, lane), f16_pair::<V>(block.add(64), lane)]
    },
    words [V::Words; 2] = |panel, k, lane| word_pair::<V>(panel.add(k / 32 * 640 + 128 + k % 32 * 16), lane),
    column |scales, words, i| scaled_nibbles(scales, *words, i);

    /// Blocks of 32 scales and 32 scales of offsets (f16), then eight times 32 scales and 32 offsets (bytes), then
    /// `[8 columns][32]` words.
    Q4K, share 32, step 8, lines 3,
    scales [[V; 2]; 2] = |panel, k, lane| {
        let block = panel.add(k / 256 * 4736);
        let own = block.add(128 + k % 256 / 32 * 64);
        let scale = times(f16_pair::<V>(block, lane), u8_pair::<V>(own, lane));
        let offset = times(f16_pair::<V>(block.add(64), lane), u8_pair::<V>(own.add(32), lane));
        [scale, times(offset, [V::splat(-1.0); 2])]
    },
    words [V::Words; 2] = |panel, k, lane| word_pair::<V>(panel.add(k / 256 * 4736 + 640 + k % 256 * 16), lane),
    column |scales, words, i| scaled_nibbles(scales, *words, i);

    /// Blocks of 32 scales (f16), then sixteen times 32 scales (signed bytes), then for each 16 columns the lower four bits as
    /// `[8 columns][32]` words and the upper two as `[32]` words.
    Q6K, share 16, step 16, lines 7,
    scales [V; 2] = |panel, k, lane| {
        let block = panel.add(k / 256 * 6720);
        times(f16_pair::<V>(block, lane), i8_pair::<V>(block.add(64 + k % 256 / 16 * 32), lane))
    },
    words [[V::Words; 2]; 3] = |panel, k, lane| {
        let at = panel.add(k / 256 * 6720 + 576 + k % 256 / 16 * 384);
        [word_pair::<V>(at, lane), word_pair::<V>(at.add(128), lane), word_pair::<V>(at.add(256), lane)]
    },
    column |scales, words, i| {
        let (low, high) = (words[i / 8], words[2]);
        let first = V::nibbles(low[0], i % 8).add(V::upper_bits(high[0], i));
        let second = V::nibbles(low[1], i % 8).add(V::upper_bits(high[1], i));
        times([first, second], *scales)
    };
}

/// `scale · nibble + offset`, rounded once: the product of a scale of 17 bits and a nibble is exact.
#[inline(always)]
fn scaled_nibbles<V: Vector>(scales: &[[V; 2]; 2], words: [V::Words; 2], i: usize) -> [V; 2] {
    let [scale, offset] = scales;
    [
        scale[0].multiply_add(V::nibbles(words[0], i), offset[0]),
        scale[1].multiply_add(V::nibbles(words[1], i), offset[1]),
    ]
}

/// An expression of the [`Read`] that a storage is read as.
macro_rules! for_storage {
    ($storage:expr, $read:ident => $body:expr) => {
        for_storage!(@ $storage, $read, $body, F32 Bf16 F16 Q8_0 Q4_0 Q4_1 Q4K Q6K)
    };
    (@ $storage:expr, $read:ident, $body:expr, $($name:ident)*) => {
        match $storage {
            $($crate::matmul::storage::Storage::$name => {
                type $read = $crate::matmul::storage::$name;
                $body
            })*
        }
    };
}
pub(crate) use for_storage;

/// Writes columns of a panel as floats into `out`: 32 of a column side by side.
///
/// # Safety
/// The panel has those columns, which begin with a block's scales; the machine has the instructions of `V`.
#[inline(always)]
#[expect(unsafe_code, reason = "reads through pointers")]
pub(crate) unsafe fn widen<V: Vector>(storage: Storage, panel: *const u8, columns: Range<usize>, out: &mut [f32]) {
    // SAFETY: the caller's promise.
    unsafe { for_storage!(storage, S => widen_of::<S, V>(panel, columns, out)) }
}

/// The same of one storage.
///
/// # Safety
/// As [`widen`].
#[inline(always)]
#[expect(unsafe_code, reason = "reads through pointers")]
unsafe fn widen_of<S: Read, V: Vector>(panel: *const u8, columns: Range<usize>, out: &mut [f32]) {
    assert!(out.len() >= columns.len() * PANEL);
    for lane in (0..16).step_by(V::WIDTH) {
        // SAFETY: the caller's promise, and the length asserted above.
        unsafe {
            let mut to = out.as_mut_ptr().add(lane);
            for shared in columns.clone().step_by(S::SHARE) {
                let scales = S::scales::<V>(panel, shared, lane);
                for step in (shared..shared + S::SHARE).step_by(S::STEP) {
                    let words = S::words::<V>(panel, step, lane);
                    for i in 0..S::STEP {
                        let w = S::column(&scales, &words, i);
                        w[0].store(to);
                        w[1].store(to.add(16));
                        to = to.add(PANEL);
                    }
                }
            }
        }
    }
}
