//! Merging the weights of models: each method is a pure function from slices of equal length to one slice.
//!
//! A method sees one tensor at a time, flattened, in its storage type ([`Element`]: `f32`, `bf16` or `f16`). Parameters
//! that a recipe gives per model and tensor (weights, densities) arrive as plain numbers. The formulas are those of
//! mergekit 0.1.5, to which the methods are held by conformance tests.
//!
//! - Methods: [`linear`], [`slerp`], [`task_arithmetic`], [`ties`], [`dare`]; one file each.
//! - [`Merged`]: a merge that is ready to be written range by range, so that a result need never be there as a whole.
//! - Shared pieces: `task_vector` (differences to a base, masked, rescaled and weighted), `select` (the largest k),
//!   `mix` (sums and sign consensus), `chunks` (parallel loops and sums whose result is independent of the threads).
//!
//! Element types: `linear` and `slerp` compute in `f32` and round once at the end. The methods on task vectors compute in
//! the storage type: each difference, product and sum is rounded to it, as mergekit does. Norms are accumulated in `f64`.
//!
//! A NaN in an input reaches the output. Checking for one is left to whoever loads the weights.

mod chunks;
mod element;
mod error;
mod merged;
mod mix;
mod select;
mod task_vector;

pub mod dare;
pub mod linear;
pub mod slerp;
pub mod task_arithmetic;
pub mod ties;

pub use dare::{Dare, dare_linear, dare_ties};
pub use element::Element;
pub use error::{MergeError, Operand};
pub use linear::{Linear, linear};
pub use merged::{Merged, Scratch};
pub use slerp::slerp;
pub use task_arithmetic::{TaskArithmetic, task_arithmetic};
pub use ties::{Ties, ties};
