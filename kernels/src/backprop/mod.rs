//! The decoder's forward and reverse pass, for training: what [`crate::decode`] computes, with gradients.
//!
//! In reading order: [`Weights`] (one of anything for each weight), [`Batch`] (packed sequences with their targets),
//! [`forward`] and [`backward`] (the passes), [`AdamW`] (the update), [`Workspace`] (buffers used again); `ops` holds the row operations, `attention` the
//! only one that mixes rows.
//!
//! The reverse pass is written by hand, for three measured reasons: candle's fused norm, softmax and rope pass no gradient
//! and say nothing; its graph of small operations trains a 0.8-million-parameter model at a quarter of PyTorch's
//! speed; and packing (no padding, the last block computed only where a target is) needs row sets that tensors of
//! equal length do not express. The passes know no loss: [`forward`] yields a log-probability for each target,
//! [`backward`] takes the loss's derivative by each, so likelihood and preference losses are one code.
//!
//! Everything here runs on the calling thread, and every sum has a fixed order: the same bits on any number of cores.

mod adamw;
mod attention;
mod batch;
mod decoder;
mod ops;
mod weights;
mod workspace;

#[cfg(test)]
mod tests;

pub use adamw::{AdamW, AdamWSettings, clip_norm};
pub use batch::Batch;
pub use decoder::{Tape, backward, forward, unsupported};
pub use weights::{Block, Weights};
pub use workspace::Workspace;
