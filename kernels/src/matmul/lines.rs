//! Memory in whole lines of the cache, so that no load of a vector crosses from one line to the next.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A line of the cache.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Line(pub(crate) [f32; 16]);

impl Line {
    pub(crate) const ZERO: Self = Self([0.0; 16]);
}

/// The bytes of some lines.
pub(crate) fn line_bytes(lines: &[Line]) -> &[u8] {
    // SAFETY: `Line` is `[f32; 16]` of 64 bytes without padding; bytes need no alignment.
    #[expect(unsafe_code, reason = "a line is 64 bytes")]
    unsafe {
        std::slice::from_raw_parts(lines.as_ptr().cast(), size_of_val(lines))
    }
}

/// The bytes of some lines, to be written: every pattern of bits is a float.
pub(crate) fn line_bytes_mut(lines: &mut [Line]) -> &mut [u8] {
    // SAFETY: as above.
    #[expect(unsafe_code, reason = "a line is 64 bytes")]
    unsafe {
        std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), size_of_val(lines))
    }
}

/// Some lines: large ones in huge pages, where there are such.
#[derive(Default)]
pub(crate) enum Lines {
    #[default]
    None,
    Heap(Vec<Line>),
    #[cfg(target_os = "linux")]
    Huge(super::pages::Pages),
}

impl Lines {
    /// So many zeroed lines.
    fn zeroed(len: usize) -> Self {
        #[cfg(target_os = "linux")]
        if let Some(pages) = super::pages::Pages::map(len) {
            return Self::Huge(pages);
        }
        Self::Heap(vec![Line::ZERO; len])
    }
}

impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} lines", self.len())
    }
}

impl Deref for Lines {
    type Target = [Line];

    fn deref(&self) -> &[Line] {
        match self {
            Self::None => &[],
            Self::Heap(lines) => lines,
            #[cfg(target_os = "linux")]
            Self::Huge(lines) => lines,
        }
    }
}

impl DerefMut for Lines {
    fn deref_mut(&mut self) -> &mut [Line] {
        match self {
            Self::None => &mut [],
            Self::Heap(lines) => lines,
            #[cfg(target_os = "linux")]
            Self::Huge(lines) => lines,
        }
    }
}

/// What [`Reuse`] keeps.
struct Freed {
    /// How many want it to be kept.
    users: usize,
    by_len: BTreeMap<usize, Vec<Lines>>,
}

static FREED: Mutex<Freed> = Mutex::new(Freed { users: 0, by_len: BTreeMap::new() });

fn freed() -> MutexGuard<'static, Freed> {
    FREED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// While one of these lives, the memory of a matrix that is dropped is kept for the next one of its size, as that of one candidate
/// for the next: otherwise the system takes it back and clears it page by page for every candidate. What is kept is given
/// back with the last of these.
#[derive(Debug)]
pub struct Reuse(());

impl Reuse {
    /// Begins to keep memory.
    pub fn begin() -> Self {
        freed().users += 1;
        Self(())
    }
}

impl Drop for Reuse {
    fn drop(&mut self) {
        let mut freed = freed();
        freed.users -= 1;
        if freed.users == 0 {
            let kept = std::mem::take(&mut freed.by_len);
            // Given back after the lock.
            drop(freed);
            drop(kept);
        }
    }
}

/// `len` lines of any content.
pub(crate) fn take_lines(len: usize) -> Lines {
    let kept = freed().by_len.get_mut(&len).and_then(Vec::pop);
    kept.unwrap_or_else(|| Lines::zeroed(len))
}

/// Lines that are no longer needed.
pub(crate) fn give_lines(lines: Lines) {
    let mut freed = freed();
    if freed.users > 0 {
        freed.by_len.entry(lines.len()).or_default().push(lines);
    }
}

thread_local! {
    /// Memory that a thread keeps from one use to the next, so that it is not asked for, mapped and cleared each time.
    static KEPT: RefCell<Vec<Lines>> = const { RefCell::new(Vec::new()) };
}

/// Memory for some floats.
pub(crate) struct Buffer {
    lines: Lines,
    len: usize,
}

impl Buffer {
    /// `len` floats of any value, in the first of `kept` that fits best, else in new memory.
    pub(crate) fn take(kept: &mut Vec<Lines>, len: usize) -> Self {
        let needs = len.div_ceil(16);
        let fits = |lines: &Lines| (lines.len() < needs, lines.len().abs_diff(needs));
        let best = (0..kept.len()).min_by_key(|&i| fits(&kept[i]));
        let mut lines = best.map(|i| kept.swap_remove(i)).unwrap_or_default();
        if lines.len() < needs {
            lines = Lines::zeroed(needs);
        }
        Self { lines, len }
    }

    /// The memory, to be taken again.
    pub(crate) fn into_lines(self) -> Lines {
        self.lines
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &bytemuck::cast_slice(line_bytes(&self.lines))[..self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut bytemuck::cast_slice_mut(line_bytes_mut(&mut self.lines))[..self.len]
    }
}

/// Memory for some floats, of any value: it is for those who write before they read. Goes back to its thread when dropped.
pub(crate) struct Scratch(Buffer);

impl Scratch {
    /// `len` floats: in the smallest of the memory kept that suffices, else in more.
    pub(crate) fn take(len: usize) -> Self {
        Self(KEPT.with_borrow_mut(|kept| Buffer::take(kept, len)))
    }

    /// `len` zeros.
    pub(crate) fn zeroed(len: usize) -> Self {
        let mut scratch = Self::take(len);
        scratch.fill(0.0);
        scratch
    }
}

impl Deref for Scratch {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.0
    }
}

impl DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let lines = std::mem::take(&mut self.0.lines);
        // While a thread ends, the memory is freed instead.
        let _ = KEPT.try_with(|kept| {
            if let Ok(mut kept) = kept.try_borrow_mut() {
                kept.push(lines);
            }
        });
    }
}
