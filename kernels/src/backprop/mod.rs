//! The transformer's forward and reverse pass, for training: what [`crate::decode`] computes, with gradients, for all families.
//!
//! In reading order: [`Network`] (what is trained of a transformer), [`Batch`] (packed sequences with their targets), `pass` (the
//! passes), `block`, `attention`, `feed_forward`, `linear`, `low_rank` (its parts, each with its reverse beside it), `rotation`, `rows` (what they have in common),
//! `head` ([`Goal`]s, some targets at a time), [`Workspace`] (buffers used again).
//!
//! The reverse pass is written by hand and whole, rather than as operations of candle's graph, for three measured reasons:
//! candle's fused norm, softmax and rope pass no gradient and say nothing; its graph of small operations trains a
//! 0.8-million-parameter model at a quarter of PyTorch's speed; and packing (no padding, the last block computed only where a target
//! is) needs row sets that tensors of equal length do not express. Candle's slow variants are the reference in tests. The passes know no
//! loss: a forward pass yields a log-probability for each target, a reverse pass takes the loss's derivative by each, so
//! likelihood and preference losses are one code.
//!
//! Every sum has a fixed order: the same bits on any number of threads.

mod attention;
mod batch;
mod block;
mod feed_forward;
mod head;
mod linear;
mod low_rank;
mod network;
mod pass;
mod rotation;
mod rows;
mod workspace;

#[cfg(test)]
mod tests;

pub use batch::Batch;
pub use head::{CHUNK, Goal};
pub use network::{Frame, Gradients, Network, Parameter, Role, Start, StartVector};
pub use pass::Tape;
pub use workspace::{Workspace, activation_bytes};
