//! Sharing work among threads such that no result can depend on how it was shared.
//!
//! A pass has some hundred short pieces of work that are shared, one after the other. To wake a thread for each takes as long
//! as the work, so the threads come [`together`] once and wait for the next piece awake.

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Multiply-adds below which sharing costs more than it saves.
const WORTH_SHARING: usize = 1 << 17;

/// How often a waiting thread looks before it lets others run.
const PATIENCE: usize = 2000;

type Job<'a> = dyn Fn() + Sync + 'a;

/// Threads that wait for work of one leader.
struct Team {
    /// The number of jobs so far.
    round: AtomicUsize,
    /// Twice the helpers that are at the job; one more while they may join.
    state: AtomicUsize,
    /// Written by the leader while `state` is zero, read by helpers that have joined.
    job: UnsafeCell<*const Job<'static>>,
    over: AtomicBool,
    /// What a helper fell over.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

// SAFETY: `job` is written and read at different times, as said there; the closure that it points to is `Sync`.
#[expect(unsafe_code, reason = "threads share the place of a closure")]
unsafe impl Sync for Team {}

// SAFETY: as above; a helper that comes when the team is over reads nothing but that.
#[expect(unsafe_code, reason = "threads share the place of a closure")]
unsafe impl Send for Team {}

thread_local! {
    /// The team that this thread leads.
    static LED: Cell<*const Team> = const { Cell::new(std::ptr::null()) };
    /// Whether this thread is at its share of some work.
    static AT_WORK: Cell<bool> = const { Cell::new(false) };
}

/// Calls its function when dropped, be it by a panic.
struct Finally<F: FnMut()>(F);

impl<F: FnMut()> Drop for Finally<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Looks until `ready`.
fn wait(ready: impl Fn() -> bool) {
    let mut looked = 0;
    while !ready() {
        looked += 1;
        if looked < PATIENCE {
            std::hint::spin_loop();
        } else {
            std::thread::yield_now();
        }
    }
}

impl Team {
    /// Runs `job` on this thread and on those helpers that are free; all have left it when this returns. Panics if one of them does.
    fn lead(&self, job: &Job<'_>) {
        let job: *const Job<'_> = job;
        // SAFETY: only the lifetime changes. No helper joins when this function ends, and it waits for those that have.
        #[expect(unsafe_code, reason = "helpers borrow what this function waits for")]
        unsafe {
            *self.job.get() = std::mem::transmute::<*const Job<'_>, *const Job<'static>>(job);
        }
        self.state.store(1, Ordering::Release);
        self.round.fetch_add(1, Ordering::Release);
        let last = Finally(|| {
            self.state.fetch_sub(1, Ordering::AcqRel);
            wait(|| self.state.load(Ordering::Acquire) == 0);
        });
        self.run();
        drop(last);
        if let Some(panic) = self.panic.lock().unwrap_or_else(PoisonError::into_inner).take() {
            resume_unwind(panic);
        }
    }

    /// Runs the job.
    fn run(&self) {
        // SAFETY: the leader calls this between writing the job and taking it back, or a helper that has joined before that.
        #[expect(unsafe_code, reason = "the closure is borrowed from the leader")]
        let job = unsafe { &**self.job.get() };
        job();
    }

    /// Takes part in each job until the team parts.
    fn help(&self) {
        let mut seen = 0;
        loop {
            let changed = || self.round.load(Ordering::Acquire) != seen;
            wait(|| changed() || self.over.load(Ordering::Acquire));
            if self.over.load(Ordering::Acquire) {
                return;
            }
            seen = self.round.load(Ordering::Acquire);
            let join = |state: usize| (state % 2 == 1).then_some(state + 2);
            if self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, join).is_ok() {
                let _last = Finally(|| {
                    self.state.fetch_sub(2, Ordering::AcqRel);
                });
                if let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.run())) {
                    *self.panic.lock().unwrap_or_else(PoisonError::into_inner) = Some(panic);
                }
            }
        }
    }
}

/// Calls `f`, within which work is shared with `threads - 1` others of the rayon pool. They are kept busy all that time: `f`
/// should not wait for anything. Does nothing more if the threads are together already.
pub(crate) fn together<R>(threads: usize, f: impl FnOnce() -> R) -> R {
    if threads <= 1 || !LED.get().is_null() {
        return f();
    }
    let job: *const Job<'static> = &|| ();
    let over = AtomicBool::new(false);
    let team = Arc::new(Team { round: 0.into(), state: 0.into(), job: job.into(), over, panic: Mutex::default() });
    // A helper for whom no thread is free comes late, when the team may be over: no one waits for it.
    for _ in 1..threads {
        let team = Arc::clone(&team);
        rayon::spawn(move || team.help());
    }
    let _last = Finally(|| {
        LED.set(std::ptr::null());
        team.over.store(true, Ordering::Release);
    });
    LED.set(&raw const *team);
    f()
}

/// Calls `f` on ranges that together are `0..items`: on this thread if `threads` is 1 or `work` (in multiply-adds) is small,
/// else on it and others. What is shared already is not shared further.
///
/// Each thread that is done with a range takes half of its part of what is left, at least `grain` items: the first ranges are
/// long, and with the last ones no thread waits long for another.
pub(crate) fn ranges(threads: usize, work: usize, items: usize, grain: usize, f: impl Fn(Range<usize>) + Sync) {
    if items <= grain || threads <= 1 || work < WORTH_SHARING || AT_WORK.get() {
        return f(0..items);
    }
    together(threads, || {
        let next = AtomicUsize::new(0);
        let end = |from: usize| from + ((items - from) / (2 * threads)).max(grain).min(items - from);
        let take = || {
            AT_WORK.set(true);
            let _last = Finally(|| AT_WORK.set(false));
            while let Ok(from) =
                next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |from| (from < items).then(|| end(from)))
            {
                f(from..end(from));
            }
        };
        // SAFETY: `together`, which is on this thread's stack, holds the team that this thread leads until it has unset it.
        #[expect(unsafe_code, reason = "the team is held on the stack of this thread")]
        match unsafe { LED.get().as_ref() } {
            Some(team) => team.lead(&take),
            None => take(),
        }
    });
}

/// Applies `f` to each of the `width`-wide pieces of `data`, with its index; shared as [`ranges`] does.
pub(crate) fn pieces<T: Send>(
    threads: usize,
    work: usize,
    data: &mut [T],
    width: usize,
    f: impl Fn(usize, &mut [T]) + Sync,
) {
    let whole = data.len() / width.max(1) * width;
    pieces_and_rest(threads, work, &mut data[..whole], width, f);
}

/// The same, with what is left as a shorter last piece.
pub(crate) fn pieces_and_rest<T: Send>(
    threads: usize,
    work: usize,
    data: &mut [T],
    width: usize,
    f: impl Fn(usize, &mut [T]) + Sync,
) {
    struct Start<T>(*mut T);
    // SAFETY: threads reach disjoint pieces through it, whose elements may be sent to them.
    #[expect(unsafe_code, reason = "threads write disjoint pieces of one slice")]
    unsafe impl<T: Send> Sync for Start<T> {}
    let (start, len) = (Start(data.as_mut_ptr()), data.len());
    ranges(threads, work, len.div_ceil(width.max(1)), 1, |range| {
        let start = &start;
        for i in range {
            let first = i * width;
            // SAFETY: the piece lies within the data, and each index is given to one call.
            #[expect(unsafe_code, reason = "threads write disjoint pieces of one slice")]
            f(i, unsafe { std::slice::from_raw_parts_mut(start.0.add(first), width.min(len - first)) });
        }
    });
}

/// The same of rows of floats by which a few operations for each are to be done.
pub(crate) fn rows(threads: usize, data: &mut [f32], width: usize, f: impl Fn(usize, &mut [f32]) + Sync) {
    pieces(threads, data.len() * 8, data, width, f);
}

#[cfg(test)]
mod tests {
    //! Every item once, whoever takes it, and no thread left behind.

    use super::*;

    #[test]
    fn each_piece_is_given_out_once_on_any_number_of_threads() {
        for threads in [1, 2, 3, 8] {
            let mut counts = vec![0u32; 1003];
            together(threads, || {
                for _ in 0..200 {
                    pieces(threads, WORTH_SHARING, &mut counts, 2, |i, piece| {
                        assert_eq!(piece.len(), 2);
                        piece.iter_mut().for_each(|n| *n += i as u32 % 5 + 1);
                    });
                }
            });
            for (i, &n) in counts[..1002].iter().enumerate() {
                assert_eq!(n, 200 * (i as u32 / 2 % 5 + 1));
            }
            assert_eq!(counts[1002], 0);
        }
    }

    #[test]
    fn shared_work_may_share_again_and_teams_may_lead_at_once() {
        let outer = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    ranges(2, WORTH_SHARING, 40, 3, |range| {
                        ranges(2, WORTH_SHARING, range.len(), 1, |inner| {
                            outer.fetch_add(inner.len(), Ordering::Relaxed);
                        });
                    });
                });
            }
        });
        assert_eq!(outer.into_inner(), 160);
    }

    #[test]
    fn no_one_waits_for_helpers_that_have_not_come() {
        use std::sync::mpsc::channel;
        // All threads of the pool are at something else until they are told.
        let (told, busy): (Vec<_>, Vec<_>) = (0..rayon::current_num_threads()).map(|_| channel::<()>()).unzip();
        for busy in busy {
            rayon::spawn(move || busy.recv().unwrap_or(()));
        }
        let (done, finished) = channel();
        std::thread::spawn(move || {
            let sum = AtomicUsize::new(0);
            let add = |range: Range<usize>| {
                sum.fetch_add(range.sum::<usize>(), Ordering::Relaxed);
            };
            together(3, || ranges(3, WORTH_SHARING, 16, 1, add));
            done.send(sum.into_inner()).unwrap_or(());
        });
        let sum = finished.recv_timeout(std::time::Duration::from_secs(60));
        drop(told);
        assert_eq!(sum, Ok(120));
    }

    #[test]
    fn a_panic_reaches_the_caller_and_leaves_no_team() {
        let fall = || ranges(2, WORTH_SHARING, 16, 1, |range| assert!(!range.contains(&9), "nine"));
        assert!(std::panic::catch_unwind(fall).is_err());
        assert!(LED.get().is_null());
        let sum = AtomicUsize::new(0);
        ranges(2, WORTH_SHARING, 16, 1, |range| {
            sum.fetch_add(range.sum::<usize>(), Ordering::Relaxed);
        });
        assert_eq!(sum.into_inner(), 120);
    }
}
