//! Memory in whole lines of the cache, so that no load of a vector crosses from one line to the next.

use std::cell::RefCell;

/// A line of the cache.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Line(pub(super) [f32; 16]);

impl Line {
    pub(super) const ZERO: Self = Self([0.0; 16]);
}

/// The bytes of some lines.
pub(super) fn line_bytes(lines: &[Line]) -> &[u8] {
    // SAFETY: `Line` is `[f32; 16]` of 64 bytes without padding; bytes need no alignment.
    #[expect(unsafe_code, reason = "a line is 64 bytes")]
    unsafe {
        std::slice::from_raw_parts(lines.as_ptr().cast(), size_of_val(lines))
    }
}

/// The bytes of some lines, to be written: every pattern of bits is a float.
pub(super) fn line_bytes_mut(lines: &mut [Line]) -> &mut [u8] {
    // SAFETY: as above.
    #[expect(unsafe_code, reason = "a line is 64 bytes")]
    unsafe {
        std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), size_of_val(lines))
    }
}

thread_local! {
    /// Memory that a thread keeps from one product to the next. Nothing in it is read that the same product did not write.
    static KEPT: RefCell<Vec<Vec<Line>>> = const { RefCell::new(Vec::new()) };
}

/// Memory of one product.
pub(super) struct Scratch(Vec<Line>);

impl Scratch {
    /// At least `len` floats, of any value.
    pub(super) fn take(len: usize) -> Self {
        let mut lines = KEPT.with_borrow_mut(Vec::pop).unwrap_or_default();
        lines.resize(lines.len().max(len.div_ceil(16)), Line::ZERO);
        Self(lines)
    }

    pub(super) fn floats(&mut self) -> &mut [f32] {
        bytemuck::cast_slice_mut(line_bytes_mut(&mut self.0))
    }

    pub(super) fn give_back(self) {
        KEPT.with_borrow_mut(|kept| kept.push(self.0));
    }
}
