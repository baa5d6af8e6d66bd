//! Sharing work among threads such that no result can depend on how it was shared.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

/// Multiply-adds below which waking another thread costs more than it saves.
const WORTH_SHARING: usize = 1 << 18;

/// Shares of one thread, on average: several, so that a thread that comes late or is held up takes fewer.
const SHARES: usize = 8;

/// Calls `f` on ranges that together are `0..items`: on this thread if `threads` is 1 or `work` (in multiply-adds) is small,
/// else on it and others of the rayon pool. Each thread takes the next range when it is done with one.
pub(super) fn ranges(threads: usize, work: usize, items: usize, f: impl Fn(Range<usize>) + Sync + Send) {
    let shares = (threads * SHARES).min(items);
    if shares <= 1 || threads <= 1 || work < WORTH_SHARING {
        return f(0..items);
    }
    let next = AtomicUsize::new(0);
    let take = || {
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            if i >= shares {
                return;
            }
            f(items * i / shares..items * (i + 1) / shares);
        }
    };
    rayon::in_place_scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|_| take());
        }
        take();
    });
}

/// Applies `f` to each of the `width`-wide rows of `data`, with its index; shared as [`ranges`] does.
pub(super) fn rows(threads: usize, data: &mut [f32], width: usize, f: impl Fn(usize, &mut [f32]) + Sync + Send) {
    if threads <= 1 || data.len() * 8 < WORTH_SHARING {
        data.chunks_exact_mut(width).enumerate().for_each(|(i, row)| f(i, row));
    } else {
        data.par_chunks_exact_mut(width).with_min_len(8).enumerate().for_each(|(i, row)| f(i, row));
    }
}

/// The results of `f` on `0..items`, in order; shared as [`ranges`] does.
pub(super) fn map<T: Send>(threads: usize, work: usize, items: usize, f: impl Fn(usize) -> T + Sync + Send) -> Vec<T> {
    if threads <= 1 || work < WORTH_SHARING {
        (0..items).map(f).collect()
    } else {
        (0..items).into_par_iter().with_max_len(1).map(f).collect()
    }
}
