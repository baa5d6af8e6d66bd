//! Brings the next block's columns to the cache while a block is computed, a few lines before each operation: the
//! processor's own prefetching sees each column only in bursts, a block long, and starts anew with each.

use super::super::{BLOCK, Blocks};

/// Bytes of a cache line.
const LINE: usize = 64;

/// Memory that the next block reads or writes, and how much of it was asked for.
pub(super) struct Ahead {
    /// Where a range begins, its bytes, and whether it is to be written.
    ranges: Vec<(*const u8, usize, bool)>,
    /// The range at hand, and the bytes of it that were asked for.
    at: (usize, usize),
    /// Bytes to ask for before an operation.
    share: usize,
}

impl Ahead {
    pub(super) fn new() -> Ahead {
        Ahead { ranges: Vec::new(), at: (0, 0), share: 0 }
    }

    /// Forgets what was asked for and what was not.
    pub(super) fn clear(&mut self) {
        self.ranges.clear();
        self.at = (0, 0);
    }

    /// Adds the block of a column that begins at `start`; it will be written, or read.
    pub(super) fn add<T>(&mut self, column: &[T], start: usize, write: bool) {
        if let Some(x) = column.get(start..column.len().min(start + BLOCK)) {
            self.ranges.push((x.as_ptr().cast(), size_of_val(x), write));
        }
    }

    /// Spreads what there is to ask for over so many operations.
    pub(super) fn spread(&mut self, operations: usize) {
        let lines: usize = self.ranges.iter().map(|(_, bytes, _)| bytes.div_ceil(LINE)).sum();
        self.share = lines.div_ceil(operations.max(1)) * LINE;
    }

    /// Asks for the next share.
    pub(super) fn ask(&mut self, blocks: &Blocks) {
        let mut left = self.share;
        while let (Some((start, bytes, write)), true) = (self.ranges.get(self.at.0), left > 0) {
            let piece = left.min(bytes.saturating_sub(self.at.1).next_multiple_of(LINE));
            (blocks.prefetch)(start.wrapping_add(self.at.1), piece, *write);
            left -= piece;
            self.at.1 += piece;
            if self.at.1 >= *bytes {
                self.at = (self.at.0 + 1, 0);
            }
        }
    }
}
