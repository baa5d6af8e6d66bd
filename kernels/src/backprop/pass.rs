//! The passes over the whole transformer.

use super::attention::Asking;
use super::block::{BlockTape, Rows};
use super::head::{Goal, HeadTape, target_rows};
use super::network::Weight;
use super::rotation::Rotations;
use super::rows::{NormReverse, Stats, scatter};
use super::{Batch, Gradients, Network, Workspace};
use crate::matmul::lines::Buffer;
use crate::matmul::parallel;
use crate::vector;

/// What the reverse pass needs of the forward pass, and the result.
pub struct Tape {
    /// The log-probability of each target, in the batch's order.
    pub log_probabilities: Vec<f32>,
    body: Body,
    head: HeadTape,
}

/// What the reverse of everything before the head needs.
struct Body {
    all: Asking,
    /// Of the last block.
    last: Asking,
    rotations: Rotations,
    /// Of each block the stream that went in and, unless it is to be computed again, its tape.
    blocks: Vec<(Buffer, Option<BlockTape>)>,
    /// The embeddings before they were normed, if they are.
    embedded: Option<(Buffer, Stats)>,
}

impl Network {
    /// The log-probability of each target.
    ///
    /// # Panics
    /// If a token is not in the vocabulary, or a sequence is longer than the positions that were learned.
    pub fn log_probabilities(&self, ws: &mut Workspace, batch: &Batch) -> Vec<f32> {
        parallel::together(ws.threads(), || {
            let head = self.body(ws, batch);
            let values = self.head_values(ws, batch, &head);
            head.give(ws);
            values
        })
    }

    /// The forward pass: the log-probability of each target, and what [`Network::backward`] needs. The last block, but for its
    /// keys and values, and the head are computed only where there is a target.
    ///
    /// # Panics
    /// As [`Network::log_probabilities`].
    pub fn forward(&self, ws: &mut Workspace, batch: &Batch) -> Tape {
        parallel::together(ws.threads(), || {
            let (stream, body) = self.body_forward(ws, batch, true);
            let head = self.head(ws, stream);
            Tape { log_probabilities: self.head_values(ws, batch, &head), body, head }
        })
    }

    /// The reverse pass: adds to `gradients` the derivative, by each parameter, of a loss whose derivative by the log-probability
    /// of each target is `slopes`.
    ///
    /// # Panics
    /// If there is not one slope for each target, or not one gradient for each parameter.
    pub fn backward(&self, ws: &mut Workspace, batch: &Batch, tape: Tape, slopes: &[f32], gradients: &mut Gradients) {
        self.check_slopes(batch, slopes, gradients);
        parallel::together(ws.threads(), || {
            let goal = (&Goal::Tokens, slopes);
            let (_, dstream) = self.head_learn(ws, batch, tape.head, goal, gradients);
            self.body_reverse(ws, batch, tape.body, dstream, gradients);
        });
    }

    /// Forward and reverse at once, for slopes that are known before: the logits are made once. Returns the value of each target.
    ///
    /// # Panics
    /// As [`Network::forward`] and [`Network::backward`], and if a teacher has another vocabulary.
    pub fn learn(
        &self,
        ws: &mut Workspace,
        batch: &Batch,
        goal: &Goal<'_>,
        slopes: &[f32],
        gradients: &mut Gradients,
    ) -> Vec<f32> {
        self.check_slopes(batch, slopes, gradients);
        parallel::together(ws.threads(), || {
            let (stream, body) = self.body_forward(ws, batch, true);
            let head = self.head(ws, stream);
            let (values, dstream) = self.head_learn(ws, batch, head, (goal, slopes), gradients);
            self.body_reverse(ws, batch, body, dstream, gradients);
            values
        })
    }

    fn check_slopes(&self, batch: &Batch, slopes: &[f32], gradients: &Gradients) {
        assert_eq!(slopes.len(), batch.targets.len(), "one slope for each target");
        let fits = gradients.iter().zip(self.parameters()).all(|(g, p)| g.len() == p.values.len());
        assert!(fits && gradients.len() == self.parameters().len(), "one gradient for each parameter");
    }

    /// The normed stream of the targets' rows, of which no reverse is wanted.
    pub(super) fn body(&self, ws: &mut Workspace, batch: &Batch) -> HeadTape {
        let (stream, body) = self.body_forward(ws, batch, false);
        debug_assert!(body.blocks.is_empty());
        self.head(ws, stream)
    }

    /// Embeddings and blocks: the stream of the targets' rows. Without `keeps` nothing is kept for a reverse.
    fn body_forward(&self, ws: &mut Workspace, batch: &Batch, keeps: bool) -> (Buffer, Body) {
        let config = &self.config;
        assert!(batch.largest_id().is_none_or(|id| (id as usize) < config.vocab_size), "tokens are in the vocabulary");
        let learned = config.learned_positions;
        assert!(!learned || batch.longest() <= config.max_positions, "sequences are no longer than learned positions");
        let (all, last) = (Asking::all(batch), Asking::targets(batch));
        let rotations = Rotations::new(config, batch.longest());
        let mut stream = self.embed(ws, batch, &all.positions);
        let mut embedded = None;
        if let Some(norm) = &self.tree.embedding_norm {
            let (normed, stats) = self.norm(ws, norm, &stream);
            embedded = Some((std::mem::replace(&mut stream, normed), stats));
        }
        let count = config.num_layers();
        let mut blocks = Vec::with_capacity(count);
        for index in 0..count {
            let asking = if index + 1 == count { &last } else { &all };
            let rows = Rows { index, batch, all: &all, asking, rotations: &rotations };
            let (tape, next) = self.block(ws, &rows, &stream);
            let before = std::mem::replace(&mut stream, next);
            if !keeps {
                tape.give(ws);
                ws.give(before);
            } else if ws.recomputes() {
                tape.give(ws);
                blocks.push((before, None));
            } else {
                blocks.push((before, Some(tape)));
            }
        }
        if count == 0 {
            let asked = target_rows(ws, &stream, batch, config.hidden_size);
            ws.give(std::mem::replace(&mut stream, asked));
        }
        (stream, Body { all, last, rotations, blocks, embedded })
    }

    fn body_reverse(
        &self,
        ws: &mut Workspace,
        batch: &Batch,
        body: Body,
        mut dstream: Buffer,
        gradients: &mut Gradients,
    ) {
        let Body { all, last, rotations, blocks, embedded } = body;
        let (count, hidden) = (blocks.len(), self.config.hidden_size);
        if count == 0 {
            let mut every = ws.zeros(batch.tokens.len() * hidden);
            scatter(ws, &dstream, Some(&batch.rows), hidden, &mut every);
            ws.give(std::mem::replace(&mut dstream, every));
        }
        for (index, (before, tape)) in blocks.into_iter().enumerate().rev() {
            let asking = if index + 1 == count { &last } else { &all };
            let rows = Rows { index, batch, all: &all, asking, rotations: &rotations };
            let tape = tape.unwrap_or_else(|| {
                let (tape, next) = self.block(ws, &rows, &before);
                ws.give(next);
                tape
            });
            dstream = self.block_reverse(ws, &rows, (&before, tape), dstream, gradients);
            ws.give(before);
        }
        if let (Some(norm), Some((x, stats))) = (&self.tree.embedding_norm, embedded) {
            let mut dx = ws.zeros(x.len());
            self.norm_reverse(ws, norm, &NormReverse { x: &x, stats: &stats, dy: &dstream }, &mut dx, gradients);
            ws.give_all([x, std::mem::replace(&mut dstream, dx)]);
        }
        self.embed_reverse(batch, &all.positions, &dstream, gradients);
        ws.give(dstream);
    }

    /// The embeddings of all tokens, with what else is added to them.
    fn embed(&self, ws: &mut Workspace, batch: &Batch, positions: &[usize]) -> Buffer {
        let hidden = self.config.hidden_size;
        let mut stream = ws.take(batch.tokens.len() * hidden);
        let scale = self.config.embedding_scale;
        let kind = self.tree.token_type.map(|kind| self.vector(kind).0);
        parallel::rows(ws.threads(), &mut stream, hidden, |i, row| {
            self.row(self.tree.embedding, batch.tokens[i] as usize, row);
            if scale != 1.0 {
                row.iter_mut().for_each(|x| *x *= scale);
            }
            if let Some(kind) = kind {
                vector::add(row, kind);
            }
            if let Some(learned) = self.tree.positions {
                let mut more = vec![0.0; hidden];
                self.row(learned, positions[i], &mut more);
                vector::add(row, &more);
            }
        });
        stream
    }

    /// Row `i` of a matrix. A difference of an embedding is none of those that are trained.
    fn row(&self, matrix: usize, i: usize, out: &mut [f32]) {
        match self.matrix(matrix).1 {
            Weight::Trained(p) => {
                let values = &self.values(*p)[i * out.len()..(i + 1) * out.len()];
                match self.rounded {
                    true => out.iter_mut().zip(values).for_each(|(o, v)| *o = half::bf16::from_f32(*v).to_f32()),
                    false => out.copy_from_slice(values),
                }
            }
            Weight::Frozen(frozen) | Weight::LowRank { base: frozen, .. } => frozen.forward.row(i, out),
            Weight::Singular { .. } => {}
        }
    }

    fn embed_reverse(&self, batch: &Batch, positions: &[usize], dstream: &[f32], gradients: &mut Gradients) {
        let hidden = self.config.hidden_size;
        let trained = |matrix: usize| match self.matrix(matrix).1 {
            Weight::Trained(p) => Some(*p),
            _ => None,
        };
        let scale = self.config.embedding_scale;
        if let Some(p) = trained(self.tree.embedding) {
            for (&token, d) in batch.tokens.iter().zip(dstream.chunks_exact(hidden)) {
                vector::add_scaled(&mut gradients[p][token as usize * hidden..][..hidden], d, scale);
            }
        }
        if let Some(p) = self.tree.positions.and_then(trained) {
            for (&position, d) in positions.iter().zip(dstream.chunks_exact(hidden)) {
                vector::add(&mut gradients[p][position * hidden..][..hidden], d);
            }
        }
        if let Some(p) = self.tree.token_type.and_then(|kind| self.vector(kind).1) {
            dstream.chunks_exact(hidden).for_each(|d| vector::add(&mut gradients[p], d));
        }
    }
}
