//! Numeric work on slices and tensors, with no notion of the language, of files or of a run.
//!
//! In reading order: [`rng`] (counter-based random streams) · [`stats`] (sums and summaries) · [`linalg`] (decompositions)
//! · [`block`] (elementwise functions over blocks of rows) · [`merge`] (merging the weights of models) · [`optim`] (searches) · [`matmul`] (packed matrices) · [`decode`] (one configurable transformer decoder)
//! · [`backprop`] (its gradients, for training).
//!
//! Every function here is a pure function of its arguments: its result depends on neither the number of threads nor the
//! order in which work happens to run. Sums are taken in a fixed order, and randomness comes only from [`rng`].

pub mod backprop;
pub mod block;
pub mod decode;
pub mod linalg;
pub mod matmul;
pub mod merge;
pub mod optim;
pub mod rng;
pub mod stats;
pub(crate) mod vector;
