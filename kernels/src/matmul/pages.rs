//! Large pieces of memory in huge pages.
//!
//! Weights are read from front to back, a page of 4 kB after another, and finding each costs a walk through the tables of the
//! system (two, in a virtual machine). In pages of 2 MB there are as good as none.

use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use super::lines::Line;

/// Bytes of a huge page.
const HUGE: usize = 2 << 20;

/// Zeroed lines of memory of this process's own.
pub(crate) struct Pages {
    start: NonNull<Line>,
    len: usize,
}

// SAFETY: the memory belongs to its owner alone, as that of a `Vec`.
#[expect(unsafe_code, reason = "memory may be handed to another thread")]
unsafe impl Send for Pages {}
// SAFETY: as above.
#[expect(unsafe_code, reason = "memory may be read by several threads")]
unsafe impl Sync for Pages {}

impl Pages {
    fn bytes(&self) -> usize {
        (self.len * size_of::<Line>()).next_multiple_of(HUGE)
    }

    /// `len` lines; `None` if more than a fifth of the huge pages that they take would be empty, or the system gives none.
    pub(crate) fn map(len: usize) -> Option<Self> {
        let size = len.checked_mul(size_of::<Line>())?;
        let bytes = size.checked_next_multiple_of(HUGE)?;
        if bytes - size > bytes / 5 || size == 0 {
            return None;
        }
        let (read_write, own) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping, which overlaps nothing; what lies before and after whole huge pages of it is given back.
        #[expect(unsafe_code, reason = "system calls")]
        unsafe {
            let mapped = libc::mmap(std::ptr::null_mut(), bytes + HUGE, read_write, own, -1, 0);
            if mapped == libc::MAP_FAILED {
                return None;
            }
            let before = mapped.align_offset(HUGE);
            let start = mapped.wrapping_byte_add(before);
            if before > 0 {
                libc::munmap(mapped, before);
            }
            if before < HUGE {
                libc::munmap(start.wrapping_byte_add(bytes), HUGE - before);
            }
            // Refused where the system has no huge pages: small ones will do.
            libc::madvise(start, bytes, libc::MADV_HUGEPAGE);
            Some(Self { start: NonNull::new(start.cast())?, len })
        }
    }
}

impl Deref for Pages {
    type Target = [Line];

    fn deref(&self) -> &[Line] {
        // SAFETY: so many lines were mapped, zeroed at first.
        #[expect(unsafe_code, reason = "memory of our own")]
        unsafe {
            std::slice::from_raw_parts(self.start.as_ptr(), self.len)
        }
    }
}

impl DerefMut for Pages {
    fn deref_mut(&mut self) -> &mut [Line] {
        // SAFETY: as above.
        #[expect(unsafe_code, reason = "memory of our own")]
        unsafe {
            std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len)
        }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: exactly what `map` kept.
        #[expect(unsafe_code, reason = "a system call")]
        unsafe {
            libc::munmap(self.start.as_ptr().cast(), self.bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    //! Memory that is there, aligned, zeroed, and gone when dropped.

    use super::*;

    #[test]
    fn large_memory_begins_at_a_huge_page_and_is_zero() {
        assert!(Pages::map(0).is_none() && Pages::map(HUGE / 100).is_none());
        assert!(Pages::map(usize::MAX / 64).is_none() && Pages::map(usize::MAX).is_none());
        for lines in [HUGE / 64, HUGE / 64 - 1, 2 * HUGE / 75, 4 * HUGE / 64] {
            let mut pages: Vec<Pages> = (0..4).map(|_| Pages::map(lines).unwrap()).collect();
            for (i, pages) in pages.iter_mut().enumerate() {
                assert_eq!((pages.len(), pages.as_ptr() as usize % HUGE), (lines, 0));
                assert!(pages.iter().all(|line| line.0 == [0.0; 16]));
                pages.fill(Line([i as f32; 16]));
            }
            for (i, pages) in pages.iter().enumerate() {
                assert!(pages.iter().all(|line| line.0 == [i as f32; 16]));
            }
        }
    }
}
