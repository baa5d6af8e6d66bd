//! Packed matrices and their products: what the decoder, forward and backward, is made of.
//!
//! In reading order: [`matrix`] (packed weights and `x · Wᵀ`), `product` (its operands, and the choice of instructions), `tile` (the
//! loops on vector instructions, `lanes` and `neon` being the vectors), `amx` (those on matrix tiles), `share` (among threads), `gemm` (products of matrices that are used once), [`blocks`] and `storage` (how elements
//! are kept), `transpose`, `lines` and `pages` (memory), `parallel` (sharing among threads), [`roofline`] (the machine's limits).

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub(crate) mod amx;
#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
#[path = "no_amx.rs"]
pub(crate) mod amx;
pub mod blocks;
pub(crate) mod gemm;
pub(crate) mod lanes;
pub(crate) mod lines;
pub mod matrix;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_os = "linux")]
mod pages;
pub(crate) mod parallel;
pub(crate) mod product;
#[cfg(test)]
mod product_tests;
pub mod roofline;
mod share;
mod storage;
mod tile;
pub(crate) mod transpose;

pub use matrix::{Matrix, Reuse, Storage};
pub use product::Units;
