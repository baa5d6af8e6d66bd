//! The decoder: weights under a configuration, and what can be asked of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::device::OnDevice;
use super::likelihood::Texts;
use super::pass::Pass;
use super::residuals::Share;
use super::{Cache, Config, Device, Layer, Residuals, Weights, weights};
use crate::matmul::{Storage, Units, parallel};
use crate::vector;

/// What can be wrong with what is asked of a decoder.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A token id outside the vocabulary.
    #[error("token id {id} is outside the vocabulary of {vocab_size}")]
    TokenRange {
        /// The id.
        id: u32,
        /// The vocabulary's size.
        vocab_size: usize,
    },
    /// A sequence that begins with no token.
    #[error("the prompt is empty")]
    EmptyPrompt,
    /// A sequence longer than the model's positions.
    #[error("{length} tokens are more than the model's {limit} positions")]
    TooLong {
        /// Tokens wanted.
        length: usize,
        /// Tokens possible.
        limit: usize,
    },
    /// Weights whose number or size is not what the configuration says.
    #[error("the weights do not fit the configuration: {what}")]
    Weights {
        /// Which weight.
        what: String,
    },
    /// A device failed: out of memory, for example.
    #[error("the device `{name}` failed: {reason}")]
    Device {
        /// Which.
        name: &'static str,
        /// What it says.
        reason: String,
    },
    /// It was asked to stop.
    #[error("stopped")]
    Stopped,
}

/// A decoder-only transformer, ready to run. Cloning shares the weights.
#[derive(Clone, Debug)]
pub struct Decoder {
    config: Config,
    weights: Weights,
    /// What computes products on the CPU.
    units: Units,
    /// The weights where candle computes with them, if it does.
    device: Option<OnDevice>,
    /// Ends all work soon after it becomes true.
    stop: Option<Arc<AtomicBool>>,
    /// What it shares with models that have its lower layers.
    residuals: Option<Arc<Residuals>>,
}

/// The layers that a pass goes through: all, unless it begins with rows that others left.
#[derive(Debug, Default)]
pub(super) struct Stretch<'a> {
    /// The rows after so many layers, instead of the embeddings. The caches are those of the layers above.
    pub(super) from: Option<(usize, &'a [f32])>,
    /// Where the rows after so many layers, more than those of `from`, are left.
    pub(super) leave: Option<(usize, &'a mut Vec<f32>)>,
}

/// One sequence of a batch: `tokens` come after those that `cache` has seen.
#[derive(Debug)]
pub struct Entry<'a> {
    /// The new tokens; at least one.
    pub tokens: &'a [u32],
    /// What was seen before; the new tokens are added.
    pub cache: &'a mut Cache,
    /// How many of the last tokens a result is wanted for.
    pub wanted: usize,
}

impl Decoder {
    /// A decoder of these weights. An error if one of them is not of the size that the configuration gives it.
    pub fn new(config: Config, weights: Weights) -> Result<Self, DecodeError> {
        weights::check(&config, &weights)?;
        Ok(Self { config, weights, units: Units::Vectors, device: None, stop: None, residuals: None })
    }

    /// The same decoder on a device. What it computes agrees with the CPU's up to rounding.
    ///
    /// # Errors
    /// [`DecodeError::Device`] if the weights do not fit there.
    pub fn on(self, device: &Device) -> Result<Self, DecodeError> {
        device.bring(self)
    }

    /// The same decoder, computed by candle.
    pub(super) fn computed_by(self, device: OnDevice) -> Self {
        Self { device: Some(device), ..self }
    }

    /// The same decoder, whose products are computed by `units`, which must be available.
    pub fn with(self, units: Units) -> Self {
        Self { units, ..self }
    }

    /// The same decoder, whose work ends with [`DecodeError::Stopped`] at the pass after `stop` has become true: a pass is one
    /// token of each open answer, or about 500 tokens of prompts.
    pub fn until(self, stop: Arc<AtomicBool>) -> Self {
        Self { stop: Some(stop), ..self }
    }

    /// The same decoder, which shares residuals with others: see [`Decoder::likelihoods`]. On a device it does not.
    pub fn sharing(self, residuals: Arc<Residuals>) -> Self {
        Self { residuals: Some(residuals), ..self }
    }

    /// What it takes from others that were asked these texts, and leaves to others.
    pub(super) fn shared(&self, texts: &Arc<Texts>) -> Share {
        let residuals = self.residuals.as_ref().filter(|_| self.device.is_none());
        residuals.map(|residuals| residuals.begin(self, texts)).unwrap_or_default()
    }

    /// What runs the tokens of answers, if not what runs prompts. Tiles are for many rows: few are faster on vectors, unless weights
    /// are kept in bf16, of which nothing is to be taken apart.
    pub(super) fn of_answers(&self) -> Option<Self> {
        let apart = |layer: &Layer| layer.q.weight.storage() != Storage::Bf16;
        let slow = self.units == Units::Tiles && self.weights.layers.iter().any(apart);
        slow.then(|| self.clone().with(Units::Vectors))
    }

    /// Whether candle computes it.
    pub(super) fn is_on_device(&self) -> bool {
        self.device.is_some()
    }

    /// What computes products on the CPU.
    pub(super) fn units(&self) -> Units {
        self.units
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The weights.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// An empty cache.
    pub fn cache(&self) -> Cache {
        Cache::new(&self.config)
    }

    /// Runs all tokens of a batch. The result has a row of the residual stream, normed and ready for the head, for each
    /// wanted token: entry by entry, in the order of the tokens.
    ///
    /// A row depends on its own sequence alone, to the bit: not on the rest of the batch, not on how a sequence is cut into
    /// passes (which only a causal one may be), not on `threads`.
    pub fn hidden(&self, batch: &mut [Entry<'_>], threads: usize) -> Result<Vec<f32>, DecodeError> {
        self.through(batch, Stretch::default(), threads)
    }

    /// The same through some layers; on a device through all.
    pub(super) fn through(
        &self,
        batch: &mut [Entry<'_>],
        stretch: Stretch<'_>,
        threads: usize,
    ) -> Result<Vec<f32>, DecodeError> {
        if self.stop.as_ref().is_some_and(|stop| stop.load(Ordering::Relaxed)) {
            return Err(DecodeError::Stopped);
        }
        for entry in batch.iter() {
            self.check_entry(entry)?;
        }
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        if let Some(device) = &self.device {
            let rows = device.hidden(&self.config, batch)?;
            batch.iter_mut().for_each(|entry| entry.cache.advance(entry.tokens.len()));
            return Ok(rows);
        }
        Ok(parallel::together(threads, || self.pass(batch, stretch, threads)))
    }

    /// [`Decoder::through`] of entries that were checked.
    fn pass(&self, batch: &mut [Entry<'_>], stretch: Stretch<'_>, threads: usize) -> Vec<f32> {
        for entry in batch.iter_mut() {
            entry.cache.prepare(entry.tokens.len());
        }
        let Stretch { from, mut leave } = stretch;
        let first = from.map_or(0, |(depth, _)| depth);
        let mut pass = Pass::new(self, batch, from.map(|(_, rows)| rows), threads);
        for (index, layer) in self.weights.layers.iter().enumerate().skip(first) {
            pass.block(index, layer, batch);
            if let Some((_, left)) = leave.as_mut().filter(|(depth, _)| *depth == index + 1) {
                left.extend_from_slice(pass.stream());
            }
        }
        for entry in batch.iter_mut() {
            entry.cache.advance(entry.tokens.len());
        }
        pass.wanted(batch)
    }

    /// The logits of rows that [`Decoder::hidden`] gave: a row of `vocab_size` for each.
    ///
    /// # Errors
    /// [`DecodeError::Device`] alone.
    pub fn logits(&self, hidden: &[f32], threads: usize) -> Result<Vec<f32>, DecodeError> {
        let mut logits = vec![0.0; hidden.len() / self.config.hidden_size * self.config.vocab_size];
        self.logits_into(hidden, &mut logits, threads)?;
        Ok(logits)
    }

    /// The same, written to `logits`.
    pub(super) fn logits_into(&self, hidden: &[f32], logits: &mut [f32], threads: usize) -> Result<(), DecodeError> {
        if let Some(device) = &self.device {
            logits.copy_from_slice(&device.logits(&self.config, hidden)?);
            return Ok(());
        }
        self.weights.head.multiply_on(self.units, hidden, logits, threads);
        if let Some(cap) = self.config.logit_cap {
            parallel::rows(threads, logits, self.config.vocab_size, |_, row| vector::soft_cap(row, cap));
        }
        Ok(())
    }

    fn check_entry(&self, entry: &Entry<'_>) -> Result<(), DecodeError> {
        let vocab_size = self.config.vocab_size;
        if let Some(&id) = entry.tokens.iter().find(|&&id| id as usize >= vocab_size) {
            return Err(DecodeError::TokenRange { id, vocab_size });
        }
        if entry.tokens.is_empty() {
            return Err(DecodeError::EmptyPrompt);
        }
        let length = entry.cache.len() + entry.tokens.len();
        let limit = self.config.max_positions;
        if length > limit {
            return Err(DecodeError::TooLong { length, limit });
        }
        Ok(())
    }
}
