//! The decoder: weights under a configuration, and one pass over a batch of sequences of any lengths.

use std::sync::Arc;

use super::attention::{Span, attention};
use super::matrix::multiply_all;
use super::{Cache, Config, Matrix, parallel, vector};

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
}

/// A linear map with an optional bias. Cloning shares the weights.
#[derive(Clone, Debug)]
pub struct Linear {
    /// `out × in`.
    pub weight: Arc<Matrix>,
    /// One element per output.
    pub bias: Option<Arc<[f32]>>,
}

/// The weights of one block. Cloning shares them.
#[derive(Clone, Debug)]
pub struct Layer {
    /// The norm before the attention.
    pub attention_norm: Arc<[f32]>,
    /// Query projection.
    pub q: Linear,
    /// Key projection.
    pub k: Linear,
    /// Value projection.
    pub v: Linear,
    /// Output projection of the attention.
    pub o: Linear,
    /// The norm before the feed-forward part.
    pub mlp_norm: Arc<[f32]>,
    /// The gate.
    pub gate: Linear,
    /// What is gated.
    pub up: Linear,
    /// Back to the residual stream.
    pub down: Linear,
}

/// The weights of a decoder. Cloning shares them; models that share a tensor share its packed form.
#[derive(Clone, Debug)]
pub struct Weights {
    /// `vocabulary × hidden`.
    pub embedding: Arc<Matrix>,
    /// The blocks.
    pub layers: Vec<Layer>,
    /// The norm before the head.
    pub norm: Arc<[f32]>,
    /// `vocabulary × hidden`; the embedding itself if the head is tied.
    pub head: Arc<Matrix>,
}

/// A decoder-only transformer, ready to run. Cloning shares the weights.
#[derive(Clone, Debug)]
pub struct Decoder {
    config: Config,
    weights: Weights,
    frequencies: Vec<f32>,
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
        check(&config, &weights)?;
        Ok(Self { frequencies: config.rope.frequencies(config.head_dim), config, weights })
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
    /// passes, not on `threads`.
    pub fn hidden(&self, batch: &mut [Entry<'_>], threads: usize) -> Result<Vec<f32>, DecodeError> {
        for entry in batch.iter() {
            self.check_entry(entry)?;
        }
        for entry in batch.iter_mut() {
            entry.cache.prepare(entry.tokens.len());
        }
        let mut pass = Pass::new(self, batch, threads);
        for (index, layer) in self.weights.layers.iter().enumerate() {
            pass.attention(index, layer, batch);
            pass.feed_forward(layer);
        }
        for entry in batch.iter_mut() {
            entry.cache.advance(entry.tokens.len());
        }
        Ok(pass.wanted(batch))
    }

    /// The logits of rows that [`Decoder::hidden`] gave: a row of `vocab_size` for each.
    pub fn logits(&self, hidden: &[f32], threads: usize) -> Vec<f32> {
        let rows = hidden.len() / self.config.hidden_size;
        let mut logits = vec![0.0; rows * self.config.vocab_size];
        self.weights.head.multiply(hidden, &mut logits, threads);
        logits
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

/// The state of one pass over a batch.
struct Pass<'a> {
    config: &'a Config,
    decoder: &'a Decoder,
    threads: usize,
    /// The residual stream, a row for each token.
    x: Vec<f32>,
    /// The normed stream, or what a part adds to it.
    h: Vec<f32>,
    /// Cosines and sines, `head_dim / 2` of each for each token.
    angles: Vec<(f32, f32)>,
}

impl<'a> Pass<'a> {
    fn new(decoder: &'a Decoder, batch: &[Entry<'_>], threads: usize) -> Self {
        let config = &decoder.config;
        let rows: usize = batch.iter().map(|entry| entry.tokens.len()).sum();
        let mut x = vec![0.0; rows * config.hidden_size];
        let tokens = batch.iter().flat_map(|entry| entry.tokens);
        for (row, &token) in x.chunks_exact_mut(config.hidden_size).zip(tokens) {
            decoder.weights.embedding.row(token as usize, row);
        }
        let mut angles = Vec::with_capacity(rows * config.head_dim / 2);
        for entry in batch {
            for position in entry.cache.len()..entry.cache.len() + entry.tokens.len() {
                angles.extend(decoder.frequencies.iter().map(|frequency| {
                    let angle = f64::from(position as f32 * frequency);
                    (libm::cos(angle) as f32, libm::sin(angle) as f32)
                }));
            }
        }
        Self { config, decoder, threads, h: vec![0.0; x.len()], x, angles }
    }

    fn rows(&self) -> usize {
        self.x.len() / self.config.hidden_size
    }

    fn attention(&mut self, index: usize, layer: &Layer, batch: &mut [Entry<'_>]) {
        self.norm(&layer.attention_norm);
        let [mut q, mut k, v] = self.linears([&layer.q, &layer.k, &layer.v], &self.h);
        self.rotate(&mut q, self.config.query_size());
        self.rotate(&mut k, self.config.kv_size());
        let kv = self.config.kv_size();
        let mut row = 0;
        for entry in batch.iter_mut() {
            for i in 0..entry.tokens.len() {
                let at = row * kv..(row + 1) * kv;
                let position = entry.cache.len() + i;
                entry.cache.write(index, position, &k[at.clone()], &v[at]);
                row += 1;
            }
        }
        let mut first = 0;
        let spans: Vec<Span<'_>> = batch
            .iter()
            .map(|entry| {
                let count = entry.tokens.len();
                first += count;
                Span { cache: &*entry.cache, first: first - count, count, start: entry.cache.len() }
            })
            .collect();
        let mut mixed = vec![0.0; q.len()];
        attention(self.config, index, &spans, &q, &mut mixed, self.threads);
        [self.h] = self.linears([&layer.o], &mixed);
        vector::add(&mut self.x, &self.h);
    }

    fn feed_forward(&mut self, layer: &Layer) {
        self.norm(&layer.mlp_norm);
        let [mut gate, up] = self.linears([&layer.gate, &layer.up], &self.h);
        let width = self.config.intermediate_size;
        parallel::rows(self.threads, &mut gate, width, |i, row| {
            vector::silu_times(row, &up[i * width..(i + 1) * width]);
        });
        [self.h] = self.linears([&layer.down], &gate);
        vector::add(&mut self.x, &self.h);
    }

    /// `h = norm(x)`.
    fn norm(&mut self, weight: &[f32]) {
        let width = self.config.hidden_size;
        let (x, eps) = (&self.x, self.config.norm.eps);
        parallel::rows(self.threads, &mut self.h, width, |i, row| {
            vector::rms_norm(&x[i * width..(i + 1) * width], weight, eps, row);
        });
    }

    /// Several maps of the same rows, shared among threads as one product.
    fn linears<const N: usize>(&self, linears: [&Linear; N], x: &[f32]) -> [Vec<f32>; N] {
        let mut results = linears.map(|linear| vec![0.0; self.rows() * linear.weight.rows()]);
        let mut products: Vec<(&Matrix, &mut [f32])> =
            linears.iter().zip(&mut results).map(|(linear, y)| (&*linear.weight, y.as_mut_slice())).collect();
        multiply_all(x, &mut products, self.threads);
        for (linear, y) in linears.iter().zip(&mut results) {
            if let Some(bias) = &linear.bias {
                y.chunks_exact_mut(bias.len()).for_each(|row| vector::add(row, bias));
            }
        }
        results
    }

    /// Turns each head of each row by its token's angles, halves against each other.
    fn rotate(&self, x: &mut [f32], width: usize) {
        let half = self.config.head_dim / 2;
        for (row, angles) in x.chunks_exact_mut(width).zip(self.angles.chunks_exact(half)) {
            for head in row.chunks_exact_mut(2 * half) {
                let (left, right) = head.split_at_mut(half);
                for ((a, b), &(cos, sin)) in left.iter_mut().zip(right).zip(angles) {
                    (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
                }
            }
        }
    }

    /// The normed rows that a result is wanted for.
    fn wanted(&self, batch: &[Entry<'_>]) -> Vec<f32> {
        let width = self.config.hidden_size;
        let mut out = Vec::new();
        let mut end = 0;
        for entry in batch {
            end += entry.tokens.len();
            for row in end - entry.wanted.min(entry.tokens.len())..end {
                let at = out.len();
                out.resize(at + width, 0.0);
                let x = &self.x[row * width..(row + 1) * width];
                let weight = &self.decoder.weights.norm;
                vector::rms_norm(x, weight, self.config.norm.eps, &mut out[at..]);
            }
        }
        out
    }
}

/// Whether all weights have the sizes of the configuration.
fn check(config: &Config, weights: &Weights) -> Result<(), DecodeError> {
    let (h, q, kv, f) = (config.hidden_size, config.query_size(), config.kv_size(), config.intermediate_size);
    let wrong = |what: &str| Err(DecodeError::Weights { what: what.into() });
    let matrix = |m: &Matrix, rows, cols| m.rows() == rows && m.cols() == cols;
    let linear =
        |l: &Linear, rows, cols| matrix(&l.weight, rows, cols) && l.bias.as_ref().is_none_or(|b| b.len() == rows);
    if !matrix(&weights.embedding, config.vocab_size, h) || !matrix(&weights.head, config.vocab_size, h) {
        return wrong("embedding or head");
    }
    if weights.layers.len() != config.num_layers || weights.norm.len() != h {
        return wrong("number of layers, or last norm");
    }
    if config.num_kv_heads == 0 || !config.num_heads.is_multiple_of(config.num_kv_heads) {
        return wrong("number of heads");
    }
    for (i, layer) in weights.layers.iter().enumerate() {
        let fits = linear(&layer.q, q, h)
            && linear(&layer.k, kv, h)
            && linear(&layer.v, kv, h)
            && linear(&layer.o, h, q)
            && linear(&layer.gate, f, h)
            && linear(&layer.up, f, h)
            && linear(&layer.down, h, f)
            && layer.attention_norm.len() == h
            && layer.mlp_norm.len() == h;
        if !fits {
            return wrong(&format!("layer {i}"));
        }
    }
    Ok(())
}
