//! One pass over a batch of sequences: block by block, a row of the residual stream for each token.

use super::attention::{Span, attention};
use super::cache::Room;
use super::{Activation, Config, Decoder, Entry, FeedForward, Layer, Linear, Mlp, Norm, NormKind, NormWeights};
use super::{Order, Rope};
use crate::matmul::Matrix;
use crate::matmul::lines::Scratch;
use crate::matmul::matrix::multiply_all;
use crate::matmul::parallel;
use crate::vector;

/// The state of one pass over a batch.
pub(super) struct Pass<'a> {
    config: &'a Config,
    decoder: &'a Decoder,
    threads: usize,
    /// The residual stream, a row for each token.
    x: Scratch,
    /// The angles of each kind of rotation in the model.
    angles: Vec<Angles<'a>>,
}

/// Cosines and sines, half as many of each as rotated elements of a head, for each token.
struct Angles<'a> {
    rope: &'a Rope,
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl<'a> Pass<'a> {
    /// A pass that begins with the embeddings, or with the rows that it is given.
    pub(super) fn new(decoder: &'a Decoder, batch: &[Entry<'_>], rows: Option<&[f32]>, threads: usize) -> Self {
        let config = decoder.config();
        let mut pass = Self { config, decoder, threads, x: Scratch::take(0), angles: Vec::new() };
        match rows {
            Some(rows) => {
                pass.x = Scratch::take(rows.len());
                pass.x.copy_from_slice(rows);
            }
            None => pass.embed(batch),
        }
        for rope in config.layers.iter().filter_map(|layer| layer.rope.as_ref()) {
            if pass.angles.iter().all(|known| known.rope != rope) {
                pass.angles.push(angles(rope, batch));
            }
        }
        pass
    }

    fn embed(&mut self, batch: &[Entry<'_>]) {
        let (config, weights) = (self.config, self.decoder.weights());
        let tokens: Vec<(usize, u32)> = batch
            .iter()
            .flat_map(|entry| entry.tokens.iter().enumerate().map(|(i, &token)| (entry.cache.len() + i, token)))
            .collect();
        self.x = Scratch::take(tokens.len() * config.hidden_size);
        parallel::rows(self.threads, &mut self.x, config.hidden_size, |i, row| {
            let (position, token) = tokens[i];
            weights.embedding.row(token as usize, row);
            if config.embedding_scale != 1.0 {
                row.iter_mut().for_each(|x| *x *= config.embedding_scale);
            }
            if let Some(kind) = &weights.token_type {
                vector::add(row, kind);
            }
            if let Some(positions) = &weights.positions {
                let mut learned = Scratch::take(row.len());
                positions.row(position, &mut learned);
                vector::add(row, &learned);
            }
        });
        if let Some(weights) = &weights.embedding_norm {
            self.x = self.norm(&self.x, weights);
        }
    }

    /// The residual stream, a row for each token.
    pub(super) fn stream(&self) -> &[f32] {
        &self.x
    }

    fn rows(&self) -> usize {
        self.x.len() / self.config.hidden_size
    }

    /// One block: attention and feed-forward part, with norms where the family has them.
    pub(super) fn block(&mut self, index: usize, layer: &Layer, batch: &mut [Entry<'_>]) {
        let before = self.maybe_norm(&self.x, layer.attention_norm.as_ref());
        let mixed = self.attention(index, layer, before.as_deref().unwrap_or(&self.x), batch);
        match self.config.order {
            Order::Before | Order::Around => {
                self.add(mixed, layer.attention_out_norm.as_ref());
                let before = self.maybe_norm(&self.x, layer.mlp_norm.as_ref());
                let made = self.feed_forward(layer, before.as_deref().unwrap_or(&self.x));
                self.add(made, layer.mlp_out_norm.as_ref());
            }
            Order::Parallel => {
                let made = self.feed_forward(layer, before.as_deref().unwrap_or(&self.x));
                self.add(mixed, None);
                self.add(made, None);
            }
            Order::After => {
                self.add(mixed, None);
                self.norm_stream(layer.attention_out_norm.as_ref());
                let made = self.feed_forward(layer, &self.x);
                self.add(made, None);
                self.norm_stream(layer.mlp_out_norm.as_ref());
            }
        }
    }

    /// `x += N(y)`, or `x += y` without a norm.
    fn add(&mut self, y: Scratch, norm: Option<&NormWeights>) {
        let y = self.maybe_norm(&y, norm).unwrap_or(y);
        let width = self.config.hidden_size;
        parallel::rows(self.threads, &mut self.x, width, |i, row| vector::add(row, &y[i * width..(i + 1) * width]));
    }

    fn norm_stream(&mut self, norm: Option<&NormWeights>) {
        if let Some(normed) = self.maybe_norm(&self.x, norm) {
            self.x = normed;
        }
    }

    fn attention(&self, index: usize, layer: &Layer, h: &[f32], batch: &mut [Entry<'_>]) -> Scratch {
        let config = self.config;
        let [q, k, v] = self.linears([&layer.q, &layer.k, &layer.v], h);
        let mut q = self.maybe_norm(&q, layer.q_norm.as_ref()).unwrap_or(q);
        let mut k = self.maybe_norm(&k, layer.k_norm.as_ref()).unwrap_or(k);
        if let Some(rope) = &config.layers[index].rope
            && let Some(angles) = self.angles.iter().find(|angles| angles.rope == rope)
        {
            angles.rotate(&mut q, config.query_size(), config.head_dim, self.threads);
            angles.rotate(&mut k, config.kv_size(), config.head_dim, self.threads);
        }
        let mut rows = 0;
        let mut rooms: Vec<Room<'_>> = Vec::with_capacity(batch.len());
        for entry in batch.iter_mut() {
            rooms.extend(entry.cache.room(entry.tokens.len(), rows));
            rows += entry.tokens.len();
        }
        parallel::pieces(self.threads, k.len() * 16, &mut rooms, 1, |_, room| {
            room.iter_mut().for_each(|room| room.write(index, &k, &v));
        });
        let mut first = 0;
        let spans: Vec<Span<'_>> = batch
            .iter()
            .map(|entry| {
                let count = entry.tokens.len();
                first += count;
                Span { cache: &*entry.cache, first: first - count, count, start: entry.cache.len() }
            })
            .collect();
        let mut mixed = Scratch::take(q.len());
        attention(self.decoder.units(), config, index, &spans, &q, &mut mixed, self.threads);
        self.linear(&layer.o, &mixed)
    }

    fn feed_forward(&self, layer: &Layer, h: &[f32]) -> Scratch {
        match (&layer.router, self.config.mlp, layer.experts.as_slice()) {
            (Some(router), Mlp::Experts { chosen, .. }, experts) => self.mixture(router, experts, chosen, h),
            (_, _, [one]) => self.one_expert(one, h),
            _ => Scratch::zeroed(h.len()),
        }
    }

    fn one_expert(&self, expert: &FeedForward, h: &[f32]) -> Scratch {
        let width = self.config.intermediate_size;
        let activate = match self.config.activation {
            Activation::Silu => vector::silu,
            Activation::Gelu => vector::gelu,
            Activation::GeluTanh => vector::gelu_tanh,
            Activation::Relu => vector::relu,
        };
        let wide = match &expert.gate {
            Some(gate) => {
                let [mut gate, up] = self.linears([gate, &expert.up], h);
                parallel::rows(self.threads, &mut gate, width, |i, row| {
                    activate(row);
                    vector::multiply(row, &up[i * width..(i + 1) * width]);
                });
                gate
            }
            None => {
                let mut up = self.linear(&expert.up, h);
                parallel::rows(self.threads, &mut up, width, |_, row| activate(row));
                up
            }
        };
        self.linear(&expert.down, &wide)
    }

    /// Each row through its chosen experts, in the order of the experts, so that a row's sum is its own alone.
    fn mixture(&self, router: &Linear, experts: &[FeedForward], chosen: usize, h: &[f32]) -> Scratch {
        let width = self.config.hidden_size;
        let mut scores = self.linear(router, h);
        let shares: Vec<Vec<(usize, f32)>> =
            scores.chunks_exact_mut(experts.len()).map(|row| vector::shares(row, chosen)).collect();
        let mut out = Scratch::zeroed(h.len());
        for (index, expert) in experts.iter().enumerate() {
            let share = |row: &[(usize, f32)]| row.iter().find(|(e, _)| *e == index).map(|(_, share)| *share);
            let rows: Vec<(usize, f32)> =
                shares.iter().enumerate().filter_map(|(i, row)| Some((i, share(row)?))).collect();
            if rows.is_empty() {
                continue;
            }
            let some: Vec<f32> = rows.iter().flat_map(|(i, _)| &h[i * width..(i + 1) * width]).copied().collect();
            let made = self.one_expert(expert, &some);
            for ((i, share), made) in rows.into_iter().zip(made.chunks_exact(width)) {
                vector::add_scaled(&mut out[i * width..(i + 1) * width], made, share);
            }
        }
        out
    }

    fn maybe_norm(&self, x: &[f32], weights: Option<&NormWeights>) -> Option<Scratch> {
        weights.map(|weights| self.norm(x, weights))
    }

    /// Norms rows (or heads) that are as wide as the weights.
    fn norm(&self, x: &[f32], weights: &NormWeights) -> Scratch {
        let width = weights.weight.len();
        let mut out = Scratch::take(x.len());
        parallel::rows(self.threads, &mut out, width, |i, row| {
            norm_row(self.config.norm, &x[i * width..(i + 1) * width], weights, row);
        });
        out
    }

    fn linear(&self, linear: &Linear, x: &[f32]) -> Scratch {
        let [y] = self.linears([linear], x);
        y
    }

    /// Several maps of the same rows, shared among threads as one product.
    fn linears<const N: usize>(&self, linears: [&Linear; N], x: &[f32]) -> [Scratch; N] {
        let mut results = linears.map(|linear| Scratch::take(x.len() / linear.weight.cols() * linear.weight.rows()));
        let mut products: Vec<(&Matrix, &mut [f32])> =
            linears.iter().zip(&mut results).map(|(linear, y)| (&*linear.weight, &mut **y)).collect();
        multiply_all(self.decoder.units(), x, &mut products, self.threads);
        for (linear, y) in linears.iter().zip(&mut results) {
            if let Some(bias) = &linear.bias {
                parallel::rows(self.threads, y, bias.len(), |_, row| vector::add(row, bias));
            }
        }
        results
    }

    /// The rows that a result is wanted for, normed if the model norms them.
    pub(super) fn wanted(&self, batch: &[Entry<'_>]) -> Vec<f32> {
        let width = self.config.hidden_size;
        let mut out = Vec::new();
        let mut end = 0;
        for entry in batch {
            end += entry.tokens.len();
            let first = end - entry.wanted.min(entry.tokens.len());
            out.extend_from_slice(&self.x[first * width..end * width]);
        }
        debug_assert_eq!(end, self.rows());
        match &self.decoder.weights().norm {
            Some(weights) => self.norm(&out, weights).to_vec(),
            None => out,
        }
    }
}

fn norm_row(norm: Norm, x: &[f32], weights: &NormWeights, out: &mut [f32]) {
    match norm.kind {
        NormKind::Rms => vector::rms_norm(x, &weights.weight, norm.eps, out),
        NormKind::Layer => vector::layer_norm(x, &weights.weight, norm.eps, out),
    }
    if let Some(bias) = &weights.bias {
        vector::add(out, bias);
    }
}

fn angles<'a>(rope: &'a Rope, batch: &[Entry<'_>]) -> Angles<'a> {
    let frequencies = rope.frequencies();
    let amplitude = rope.amplitude();
    let mut angles = Angles { rope, cos: Vec::new(), sin: Vec::new() };
    for entry in batch {
        for position in entry.cache.len()..entry.cache.len() + entry.tokens.len() {
            for frequency in &frequencies {
                let angle = f64::from(position as f32 * frequency);
                angles.cos.push((libm::cos(angle) * amplitude) as f32);
                angles.sin.push((libm::sin(angle) * amplitude) as f32);
            }
        }
    }
    angles
}

impl Angles<'_> {
    /// Turns the first elements of each head of each row by its token's angles, halves against each other.
    fn rotate(&self, x: &mut [f32], width: usize, head_dim: usize, threads: usize) {
        let half = self.rope.width / 2;
        parallel::rows(threads, x, width, |i, row| {
            let at = i * half..(i + 1) * half;
            for head in row.chunks_exact_mut(head_dim) {
                vector::rotate(&mut head[..2 * half], &self.cos[at.clone()], &self.sin[at.clone()]);
            }
        });
    }
}
