//! Vectors of floats of each machine, and the few operations on them that products are made of. All are exact or rounded
//! once, so the same code gives the same bits on all of them.

/// Rows of a panel, shared by everything that lays out or reads panels.
pub const PANEL: usize = 32;

/// A vector of floats of some machine.
///
/// A product is made in units of two vectors: at rows `lane..lane + WIDTH` of a panel, and at those sixteen further on.
#[expect(unsafe_code, reason = "reads and writes through pointers")]
pub(crate) trait Vector: Copy {
    /// Elements of one vector; a divisor of 16.
    const WIDTH: usize;
    /// Rows of the largest tile (by one unit) that stays in registers.
    const ROWS: usize;
    /// `WIDTH` words of 32 bits.
    type Words: Copy;

    fn zero() -> Self;
    fn splat(x: f32) -> Self;
    fn add(self, b: Self) -> Self;
    fn multiply(self, b: Self) -> Self;
    /// `self · b + c`, rounded once.
    fn multiply_add(self, b: Self, c: Self) -> Self;
    /// Reads `WIDTH` elements, which must be there.
    unsafe fn load(from: *const f32) -> Self;
    /// Writes `WIDTH` elements, which must be there.
    unsafe fn store(self, to: *mut f32);
    /// Reads `WIDTH` f16 elements, which must be there.
    unsafe fn load_f16(from: *const u16) -> Self;
    /// Reads `WIDTH` signed bytes, which must be there.
    unsafe fn load_i8(from: *const i8) -> Self;
    /// Reads `WIDTH` bytes, which must be there.
    unsafe fn load_u8(from: *const u8) -> Self;
    /// Reads `WIDTH` words, which must be there.
    unsafe fn load_words(from: *const u32) -> Self::Words;
    /// The lower halves of the words as bf16.
    fn low_halves(words: Self::Words) -> Self;
    /// The upper halves of the words as bf16.
    fn high_halves(words: Self::Words) -> Self;
    /// Four bits of each word, the `i`th from below: 0 to 15.
    fn nibbles(words: Self::Words, i: usize) -> Self;
    /// The same less 8.
    fn centred_nibbles(words: Self::Words, i: usize) -> Self;
    /// Two bits of each word, the `i`th from below, as the upper two of six: −32, −16, 0 or 16.
    fn upper_bits(words: Self::Words, i: usize) -> Self;
    /// Asks for the cache line of `at`, which may be any address, to be brought near.
    fn prefetch(at: *const u8);
}

/// Eight floats as an array, for machines without a type of their own.
#[derive(Clone, Copy)]
pub(crate) struct Portable([f32; 8]);

#[expect(unsafe_code, reason = "implements loads and stores through pointers")]
impl Vector for Portable {
    const WIDTH: usize = 8;
    const ROWS: usize = 4;
    type Words = [u32; 8];

    #[inline(always)]
    fn zero() -> Self {
        Self([0.0; 8])
    }

    #[inline(always)]
    fn splat(x: f32) -> Self {
        Self([x; 8])
    }

    #[inline(always)]
    fn add(self, b: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] + b.0[i]))
    }

    #[inline(always)]
    fn multiply(self, b: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] * b.0[i]))
    }

    #[inline(always)]
    fn multiply_add(self, b: Self, c: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i].mul_add(b.0[i], c.0[i])))
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller gives eight elements.
        Self(unsafe { from.cast::<[f32; 8]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller gives room for eight elements.
        unsafe { to.cast::<[f32; 8]>().write_unaligned(self.0) };
    }

    #[inline(always)]
    unsafe fn load_f16(from: *const u16) -> Self {
        // SAFETY: the caller gives eight elements.
        let halves = unsafe { from.cast::<[u16; 8]>().read_unaligned() };
        Self(halves.map(|x| half::f16::from_bits(x).to_f32()))
    }

    #[inline(always)]
    unsafe fn load_i8(from: *const i8) -> Self {
        // SAFETY: the caller gives eight elements.
        Self(unsafe { from.cast::<[i8; 8]>().read_unaligned() }.map(f32::from))
    }

    #[inline(always)]
    unsafe fn load_u8(from: *const u8) -> Self {
        // SAFETY: the caller gives eight elements.
        Self(unsafe { from.cast::<[u8; 8]>().read_unaligned() }.map(f32::from))
    }

    #[inline(always)]
    unsafe fn load_words(from: *const u32) -> Self::Words {
        // SAFETY: the caller gives eight words.
        unsafe { from.cast::<[u32; 8]>().read_unaligned() }
    }

    #[inline(always)]
    fn low_halves(words: Self::Words) -> Self {
        Self(words.map(|w| f32::from_bits(w << 16)))
    }

    #[inline(always)]
    fn high_halves(words: Self::Words) -> Self {
        Self(words.map(|w| f32::from_bits(w & 0xFFFF_0000)))
    }

    #[inline(always)]
    fn nibbles(words: Self::Words, i: usize) -> Self {
        Self(words.map(|w| (w >> (4 * i) & 15) as f32))
    }

    #[inline(always)]
    fn centred_nibbles(words: Self::Words, i: usize) -> Self {
        Self(words.map(|w| (w >> (4 * i) & 15) as f32 - 8.0))
    }

    #[inline(always)]
    fn upper_bits(words: Self::Words, i: usize) -> Self {
        Self(words.map(|w| ((w >> (2 * i) & 3) << 4) as f32 - 32.0))
    }

    #[inline(always)]
    fn prefetch(_: *const u8) {}
}

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "vector instructions, and loads and stores through pointers")]
mod x86 {
    use std::arch::x86_64::*;

    use super::Vector;

    impl Vector for __m512 {
        const WIDTH: usize = 16;
        const ROWS: usize = 14;
        type Words = __m512i;

        #[inline(always)]
        fn zero() -> Self {
            // SAFETY: the methods of this type are called only inside functions compiled for AVX-512.
            unsafe { _mm512_setzero_ps() }
        }

        #[inline(always)]
        fn splat(x: f32) -> Self {
            // SAFETY: as above.
            unsafe { _mm512_set1_ps(x) }
        }

        #[inline(always)]
        fn add(self, b: Self) -> Self {
            // SAFETY: as above.
            unsafe { _mm512_add_ps(self, b) }
        }

        #[inline(always)]
        fn multiply(self, b: Self) -> Self {
            // SAFETY: as above.
            unsafe { _mm512_mul_ps(self, b) }
        }

        #[inline(always)]
        fn multiply_add(self, b: Self, c: Self) -> Self {
            // SAFETY: as above.
            unsafe { _mm512_fmadd_ps(self, b, c) }
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: as above; the caller gives sixteen elements.
            unsafe { _mm512_loadu_ps(from) }
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: as above; the caller gives room for sixteen elements.
            unsafe { _mm512_storeu_ps(to, self) };
        }

        #[inline(always)]
        unsafe fn load_f16(from: *const u16) -> Self {
            // SAFETY: as above; the caller gives sixteen elements.
            unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())) }
        }

        #[inline(always)]
        unsafe fn load_i8(from: *const i8) -> Self {
            // SAFETY: as above; the caller gives sixteen elements.
            unsafe { _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(from.cast()))) }
        }

        #[inline(always)]
        unsafe fn load_u8(from: *const u8) -> Self {
            // SAFETY: as above; the caller gives sixteen elements.
            unsafe { _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(from.cast()))) }
        }

        #[inline(always)]
        unsafe fn load_words(from: *const u32) -> Self::Words {
            // SAFETY: as above; the caller gives sixteen words.
            unsafe { _mm512_loadu_si512(from.cast()) }
        }

        #[inline(always)]
        fn low_halves(words: Self::Words) -> Self {
            // SAFETY: as above.
            unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<16>(words)) }
        }

        #[inline(always)]
        fn high_halves(words: Self::Words) -> Self {
            // SAFETY: as above.
            unsafe { _mm512_castsi512_ps(_mm512_and_si512(words, _mm512_set1_epi32(-65_536))) }
        }

        #[inline(always)]
        fn nibbles(words: Self::Words, i: usize) -> Self {
            // SAFETY: as above. The permutation looks at the lowest four bits of each index alone.
            unsafe {
                let table = _mm512_setr_ps(0., 1., 2., 3., 4., 5., 6., 7., 8., 9., 10., 11., 12., 13., 14., 15.);
                _mm512_permutexvar_ps(_mm512_srlv_epi32(words, _mm512_set1_epi32(4 * i as i32)), table)
            }
        }

        #[inline(always)]
        fn centred_nibbles(words: Self::Words, i: usize) -> Self {
            // SAFETY: as above.
            unsafe {
                let table = _mm512_setr_ps(-8., -7., -6., -5., -4., -3., -2., -1., 0., 1., 2., 3., 4., 5., 6., 7.);
                _mm512_permutexvar_ps(_mm512_srlv_epi32(words, _mm512_set1_epi32(4 * i as i32)), table)
            }
        }

        #[inline(always)]
        fn upper_bits(words: Self::Words, i: usize) -> Self {
            // SAFETY: as above. The table repeats, so that the two bits above those wanted do not matter.
            unsafe {
                let table = _mm512_setr4_ps(-32., -16., 0., 16.);
                _mm512_permutexvar_ps(_mm512_srlv_epi32(words, _mm512_set1_epi32(2 * i as i32)), table)
            }
        }

        #[inline(always)]
        fn prefetch(at: *const u8) {
            // SAFETY: a prefetch reads nothing, whatever the address.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) };
        }
    }

    impl Vector for __m256 {
        const WIDTH: usize = 8;
        const ROWS: usize = 6;
        type Words = __m256i;

        #[inline(always)]
        fn zero() -> Self {
            // SAFETY: the methods of this type are called only inside functions compiled for AVX2, FMA and F16C.
            unsafe { _mm256_setzero_ps() }
        }

        #[inline(always)]
        fn splat(x: f32) -> Self {
            // SAFETY: as above.
            unsafe { _mm256_set1_ps(x) }
        }

        #[inline(always)]
        fn add(self, b: Self) -> Self {
            // SAFETY: as above.
            unsafe { _mm256_add_ps(self, b) }
        }

        #[inline(always)]
        fn multiply(self, b: Self) -> Self {
            // SAFETY: as above.
            unsafe { _mm256_mul_ps(self, b) }
        }

        #[inline(always)]
        fn multiply_add(self, b: Self, c: Self) -> Self {
            // SAFETY: as above.
            unsafe { _mm256_fmadd_ps(self, b, c) }
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: as above; the caller gives eight elements.
            unsafe { _mm256_loadu_ps(from) }
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: as above; the caller gives room for eight elements.
            unsafe { _mm256_storeu_ps(to, self) };
        }

        #[inline(always)]
        unsafe fn load_f16(from: *const u16) -> Self {
            // SAFETY: as above; the caller gives eight elements.
            unsafe { _mm256_cvtph_ps(_mm_loadu_si128(from.cast())) }
        }

        #[inline(always)]
        unsafe fn load_i8(from: *const i8) -> Self {
            // SAFETY: as above; the caller gives eight elements.
            unsafe { _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(from.cast()))) }
        }

        #[inline(always)]
        unsafe fn load_u8(from: *const u8) -> Self {
            // SAFETY: as above; the caller gives eight elements.
            unsafe { _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(from.cast()))) }
        }

        #[inline(always)]
        unsafe fn load_words(from: *const u32) -> Self::Words {
            // SAFETY: as above; the caller gives eight words.
            unsafe { _mm256_loadu_si256(from.cast()) }
        }

        #[inline(always)]
        fn low_halves(words: Self::Words) -> Self {
            // SAFETY: as above.
            unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<16>(words)) }
        }

        #[inline(always)]
        fn high_halves(words: Self::Words) -> Self {
            // SAFETY: as above.
            unsafe { _mm256_castsi256_ps(_mm256_and_si256(words, _mm256_set1_epi32(-65_536))) }
        }

        #[inline(always)]
        fn nibbles(words: Self::Words, i: usize) -> Self {
            // SAFETY: as above.
            unsafe {
                let shifted = _mm256_srlv_epi32(words, _mm256_set1_epi32(4 * i as i32));
                _mm256_cvtepi32_ps(_mm256_and_si256(shifted, _mm256_set1_epi32(15)))
            }
        }

        #[inline(always)]
        fn centred_nibbles(words: Self::Words, i: usize) -> Self {
            // SAFETY: as above.
            unsafe {
                let shifted = _mm256_srlv_epi32(words, _mm256_set1_epi32(4 * i as i32));
                let nibbles = _mm256_and_si256(shifted, _mm256_set1_epi32(15));
                _mm256_cvtepi32_ps(_mm256_sub_epi32(nibbles, _mm256_set1_epi32(8)))
            }
        }

        #[inline(always)]
        fn upper_bits(words: Self::Words, i: usize) -> Self {
            // SAFETY: as above. The table repeats, so that the bit above those wanted does not matter.
            unsafe {
                let table = _mm256_setr_ps(-32., -16., 0., 16., -32., -16., 0., 16.);
                _mm256_permutevar8x32_ps(table, _mm256_srlv_epi32(words, _mm256_set1_epi32(2 * i as i32)))
            }
        }

        #[inline(always)]
        fn prefetch(at: *const u8) {
            // SAFETY: a prefetch reads nothing, whatever the address.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) };
        }
    }
}
