//! The tile instructions, and leave to use them.
//!
//! Rust has no stable intrinsics for them yet, so they are written as assembly. The tiles are registers that compiled code never
//! touches: what they hold between two of these blocks is ours alone.

use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count, _MM_HINT_T0, _mm_prefetch};
use std::sync::LazyLock;

use super::{COLS, PARTS};

/// Bytes of a row of a tile.
const LINE: usize = 64;
/// Bytes of a whole tile.
pub(crate) const TILE: usize = 16 * LINE;

/// Whether the machine has tiles, and the system lets us use them.
pub(crate) fn available() -> bool {
    static AVAILABLE: LazyLock<bool> = LazyLock::new(|| has_tiles() && permitted());
    *AVAILABLE
}

/// Tiles of bf16 numbers, and the vector instructions that weights are taken apart with.
fn has_tiles() -> bool {
    let vectors = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512bf16")
        && is_x86_feature_detected!("f16c");
    if !vectors || __cpuid(0).eax < 7 {
        return false;
    }
    let features = __cpuid_count(7, 0).edx;
    features >> 22 & 1 == 1 && features >> 24 & 1 == 1
}

/// Asks the system to keep the tiles of this process's threads when it switches between them.
fn permitted() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_long = 18;
    // SAFETY: the call takes two numbers and changes no memory of ours.
    #[expect(unsafe_code, reason = "a system call")]
    let refused = unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) };
    refused == 0
}

/// The shapes of the tiles of this thread, as `ldtilecfg` takes them.
#[repr(C, align(64))]
struct Shapes([u8; 64]);

/// This thread's tiles, until dropped: 0 to 3 for sums, 4 and 5 for the parts of rows, 6 and 7 for weights.
pub(crate) struct Tiles(());

impl Tiles {
    /// Tiles for rows `height` at a time.
    ///
    /// # Safety
    /// [`available`], and `height` is 1 to 16.
    #[expect(unsafe_code, reason = "tile instructions")]
    pub(crate) unsafe fn begin(height: usize) -> Self {
        let mut shapes = Shapes([0; 64]);
        shapes.0[0] = 1;
        for tile in 0..8 {
            shapes.0[16 + 2 * tile] = LINE as u8;
            shapes.0[48 + tile] = if tile >= 6 { (COLS / 2) as u8 } else { height as u8 };
        }
        // SAFETY: the shapes are within the limits of palette 1: 16 rows of 64 bytes.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const shapes, options(nostack, readonly, preserves_flags)) };
        Self(())
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        // SAFETY: they were begun, so the instruction is there.
        #[expect(unsafe_code, reason = "tile instructions")]
        unsafe {
            asm!("tilerelease", options(nostack, nomem, preserves_flags));
        }
    }
}

/// Where the sums of a tile of rows by 32 or 64 outputs stand: those of the first row, and the bytes from one row to the next.
#[derive(Clone, Copy)]
pub(crate) struct Sums {
    pub(crate) at: *mut f32,
    pub(crate) stride: usize,
}

/// What is fetched meanwhile.
#[derive(Clone, Copy)]
pub(crate) struct Ahead {
    /// From where on, in each panel.
    pub(crate) at: [*const u8; 2],
    /// How many lines with each block of columns.
    pub(crate) lines: usize,
}

/// Asks for a line to be brought near.
#[inline(always)]
pub(crate) fn fetch(at: *const u8) {
    // SAFETY: this reads nothing; any address will do.
    #[expect(unsafe_code, reason = "a hint about an address")]
    unsafe {
        _mm_prefetch::<_MM_HINT_T0>(at.cast());
    }
}

impl Ahead {
    /// Fetches some.
    #[inline(always)]
    fn fetch(&mut self) {
        for at in &mut self.at {
            for _ in 0..self.lines {
                fetch(*at);
                *at = at.wrapping_add(LINE);
            }
        }
    }
}

/// Adds the products of the parts of one block of rows with two tiles of weights at `$weights` to two tiles of sums: with the first
/// part of a weight both parts of the rows, with the second the first.
macro_rules! add_products {
    ($first:literal, $second:literal, $q:expr, $weights:expr) => {
        if $q == 0 {
            asm!("tileloadd tmm6, [{w} + {s}]", "tileloadd tmm7, [{w} + {s} + 1024]",
                concat!("tdpbf16ps ", $first, ", tmm4, tmm6"),
                concat!("tdpbf16ps ", $second, ", tmm4, tmm7"),
                concat!("tdpbf16ps ", $first, ", tmm5, tmm6"),
                concat!("tdpbf16ps ", $second, ", tmm5, tmm7"),
                w = in(reg) $weights, s = in(reg) LINE, options(nostack, readonly))
        } else {
            asm!("tileloadd tmm6, [{w} + {s}]", "tileloadd tmm7, [{w} + {s} + 1024]",
                concat!("tdpbf16ps ", $first, ", tmm4, tmm6"),
                concat!("tdpbf16ps ", $second, ", tmm4, tmm7"),
                w = in(reg) $weights, s = in(reg) LINE, options(nostack, readonly))
        }
    };
}

/// Sums of a tile of rows by `N` (2 or 4) tiles of 16 outputs go on over some blocks of columns.
///
/// `rows` is the first block of the rows, each block its parts of `part` bytes. `weights` is that of the weights, each block `Q`
/// times (once for each part of a weight) `N` tiles. Sums begin at zero if they come from nowhere.
///
/// # Safety
/// The thread has [`Tiles`] of the height of the rows, and all that is named lies where it is said to.
#[inline(always)]
#[expect(unsafe_code, reason = "tile instructions")]
pub(crate) unsafe fn go_on<const Q: usize, const N: usize>(
    rows: *const u8,
    part: usize,
    weights: *const u8,
    blocks: usize,
    from: Option<Sums>,
    to: Sums,
    ahead: &mut Ahead,
) {
    const { assert!(PARTS == 2 && Q >= 1 && Q <= PARTS && (N == 2 || N == 4)) };
    // SAFETY: the caller's promise.
    unsafe {
        if let Some(sums) = from {
            asm!("tileloadd tmm0, [{a} + {s}]", "tileloadd tmm1, [{a} + {s} + 64]",
                a = in(reg) sums.at, s = in(reg) sums.stride, options(nostack, readonly));
            if N == 4 {
                asm!("tileloadd tmm2, [{a} + {s} + 128]", "tileloadd tmm3, [{a} + {s} + 192]",
                    a = in(reg) sums.at, s = in(reg) sums.stride, options(nostack, readonly));
            }
        } else {
            asm!("tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3", options(nostack, nomem));
        }
        let (mut rows, mut weights) = (rows, weights);
        for _ in 0..blocks {
            asm!("tileloadd tmm4, [{a} + {s}]", "tileloadd tmm5, [{b} + {s}]",
                a = in(reg) rows, b = in(reg) rows.wrapping_add(part), s = in(reg) LINE, options(nostack, readonly));
            ahead.fetch();
            for q in 0..Q {
                add_products!("tmm0", "tmm1", q, weights);
                if N == 4 {
                    add_products!("tmm2", "tmm3", q, weights.wrapping_add(2 * TILE));
                }
                weights = weights.wrapping_add(N * TILE);
            }
            rows = rows.wrapping_add(PARTS * part);
        }
        asm!("tilestored [{a} + {s}], tmm0", "tilestored [{a} + {s} + 64], tmm1",
            a = in(reg) to.at, s = in(reg) to.stride, options(nostack));
        if N == 4 {
            asm!("tilestored [{a} + {s} + 128], tmm2", "tilestored [{a} + {s} + 192], tmm3",
                a = in(reg) to.at, s = in(reg) to.stride, options(nostack));
        }
    }
}
