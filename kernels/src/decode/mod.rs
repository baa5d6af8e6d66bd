//! One configurable transformer for evaluating language models: inference only, in f32.
//!
//! In reading order: [`config`] (what makes one decoder another), [`weights`] (the tree of them), [`cache`] (keys and values), [`decoder`] (a pass over a
//! batch), [`device`] (the same through candle), [`prefix`] (what many texts have in common), [`generate`] (answers to many prompts),
//! [`continuous`] (sequences that come and go), [`likelihood`]
//! (log-probabilities of many texts), [`residuals`] (what models with equal lower layers share), [`sample`] (the next token), [`embed`] (one vector for a text).
//!
//! Batches hold sequences of unequal length without padding: a row for each token, attention for each sequence. Every sum
//! is taken in an order that depends on its own row alone, so an answer has the same bits alone or in any batch, on one
//! thread or many, with AVX-512, AVX2 or neither.

mod attention;
pub mod cache;
pub mod config;
pub mod continuous;
#[cfg(test)]
mod continuous_tests;
pub mod decoder;
pub mod device;
pub mod embed;
pub mod generate;
pub mod likelihood;
mod pass;
mod prefix;
pub mod residuals;
#[cfg(test)]
mod residuals_tests;
pub mod sample;
#[cfg(test)]
pub(crate) mod tests;
pub mod weights;

pub use cache::Cache;
pub use config::{Activation, Config, LayerConfig, Mlp, Norm, NormKind, Order, Rope, RopeScaling};
pub use continuous::{Continuous, Serve, Stepped};
pub use decoder::{DecodeError, Decoder, Entry};
pub use device::{DEVICES, Device, DeviceError};
pub use embed::{Encoder, Pooling};
pub use generate::{Choose, Greedy};
pub use likelihood::Texts;
pub use residuals::Residuals;
pub use sample::{Sampler, Sampling, log_probability};
pub use weights::{FeedForward, Layer, Linear, NormWeights, Part, Slot, Weights};
