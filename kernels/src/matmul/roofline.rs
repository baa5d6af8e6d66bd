//! What the machine can do at most, for measuring the decoder against it: multiply-adds in registers, and reading memory.

use super::product;
use crate::vector::sum_of;

/// Multiply-adds of one round of [`multiply_adds`].
pub const ROUND: u64 = 24 * 16;

/// Runs `rounds` rounds of independent multiply-adds that touch no memory, with the widest instructions of the machine: each
/// round is [`ROUND`] of them. The result is of no meaning, but must be used lest the work be left out.
pub fn multiply_adds(rounds: u64) -> f32 {
    product::multiply_adds(rounds)
}

/// The sum of `data` in the order of [`crate::vector`]: reads it once, with next to no arithmetic.
pub fn read(data: &[f32]) -> f32 {
    sum_of(data)
}
