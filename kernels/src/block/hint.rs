//! Hints to the processor's caches.

/// Bytes of a cache line.
const LINE: usize = 64;

/// Asks for the cache lines of `bytes` bytes from `start` on, to be read or, with `write`, to be written. Nothing is
/// read, so that any address will do; where there is no such instruction, nothing happens.
#[inline(always)]
pub fn prefetch(start: *const u8, bytes: usize, write: bool) {
    for offset in (0..bytes).step_by(LINE) {
        line(start.wrapping_add(offset), write);
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn line(at: *const u8, write: bool) {
    use std::arch::x86_64::{_MM_HINT_ET0, _MM_HINT_T0, _mm_prefetch};
    // SAFETY: a prefetch of any address, mapped or not, changes nothing but caches.
    #[expect(unsafe_code, reason = "an instruction that has no safe name")]
    unsafe {
        if write {
            _mm_prefetch::<_MM_HINT_ET0>(at.cast());
        } else {
            _mm_prefetch::<_MM_HINT_T0>(at.cast());
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn line(_: *const u8, _: bool) {}
