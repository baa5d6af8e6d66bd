//! Vectors of four floats with NEON, which every 64-bit Arm machine has. Checked by the same tests as the others, where they
//! run on such a machine.

#![expect(unsafe_code, reason = "vector instructions, and loads and stores through pointers")]
#![allow(unused_unsafe, reason = "whether an instruction is safe to call depends on the version of the compiler")]

use std::arch::aarch64::*;

use super::lanes::Vector;

/// Four numbers of any type, through an array.
#[inline(always)]
fn from_array(numbers: [f32; 4]) -> float32x4_t {
    // SAFETY: the array has four elements.
    unsafe { vld1q_f32(numbers.as_ptr()) }
}

/// `words` shifted right by `bits`.
#[inline(always)]
fn shifted(words: uint32x4_t, bits: usize) -> uint32x4_t {
    // SAFETY: the machine has NEON.
    unsafe { vshlq_u32(words, vdupq_n_s32(-(bits as i32))) }
}

impl Vector for float32x4_t {
    const WIDTH: usize = 4;
    const ROWS: usize = 12;
    type Words = uint32x4_t;

    #[inline(always)]
    fn zero() -> Self {
        Self::splat(0.0)
    }

    #[inline(always)]
    fn splat(x: f32) -> Self {
        // SAFETY: the machine has NEON.
        unsafe { vdupq_n_f32(x) }
    }

    #[inline(always)]
    fn add(self, b: Self) -> Self {
        // SAFETY: as above.
        unsafe { vaddq_f32(self, b) }
    }

    #[inline(always)]
    fn multiply(self, b: Self) -> Self {
        // SAFETY: as above.
        unsafe { vmulq_f32(self, b) }
    }

    #[inline(always)]
    fn multiply_add(self, b: Self, c: Self) -> Self {
        // SAFETY: as above.
        unsafe { vfmaq_f32(c, self, b) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller gives four elements.
        unsafe { vld1q_f32(from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller gives room for four elements.
        unsafe { vst1q_f32(to, self) };
    }

    #[inline(always)]
    unsafe fn load_f16(from: *const u16) -> Self {
        // SAFETY: the caller gives four elements.
        let halves = unsafe { from.cast::<[u16; 4]>().read_unaligned() };
        from_array(halves.map(|x| half::f16::from_bits(x).to_f32()))
    }

    #[inline(always)]
    unsafe fn load_i8(from: *const i8) -> Self {
        // SAFETY: the caller gives four elements.
        from_array(unsafe { from.cast::<[i8; 4]>().read_unaligned() }.map(f32::from))
    }

    #[inline(always)]
    unsafe fn load_u8(from: *const u8) -> Self {
        // SAFETY: the caller gives four elements.
        from_array(unsafe { from.cast::<[u8; 4]>().read_unaligned() }.map(f32::from))
    }

    #[inline(always)]
    unsafe fn load_words(from: *const u32) -> Self::Words {
        // SAFETY: the caller gives four words.
        unsafe { vld1q_u32(from) }
    }

    #[inline(always)]
    fn low_halves(words: Self::Words) -> Self {
        // SAFETY: the machine has NEON.
        unsafe { vreinterpretq_f32_u32(vshlq_n_u32::<16>(words)) }
    }

    #[inline(always)]
    fn high_halves(words: Self::Words) -> Self {
        // SAFETY: as above.
        unsafe { vreinterpretq_f32_u32(vandq_u32(words, vdupq_n_u32(0xFFFF_0000))) }
    }

    #[inline(always)]
    fn nibbles(words: Self::Words, i: usize) -> Self {
        // SAFETY: as above.
        unsafe { vcvtq_f32_u32(vandq_u32(shifted(words, 4 * i), vdupq_n_u32(15))) }
    }

    #[inline(always)]
    fn centred_nibbles(words: Self::Words, i: usize) -> Self {
        Self::nibbles(words, i).add(Self::splat(-8.0))
    }

    #[inline(always)]
    fn upper_bits(words: Self::Words, i: usize) -> Self {
        // SAFETY: as above.
        let bits = unsafe { vcvtq_f32_u32(vandq_u32(shifted(words, 2 * i), vdupq_n_u32(3))) };
        bits.multiply_add(Self::splat(16.0), Self::splat(-32.0))
    }

    #[inline(always)]
    fn prefetch(_: *const u8) {}
}
