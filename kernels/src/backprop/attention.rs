//! Attention within each packed sequence, forward and reverse. Scores are made block by block and made again for the reverse: no
//! matrix of all of them is ever kept (Dao et al., 2022).

use std::ops::Range;

use super::{Batch, Workspace};
use crate::decode::Config;
use crate::matmul::Units;
use crate::matmul::gemm::{How, View, gemm};
use crate::matmul::lines::{Buffer, Scratch};
use crate::matmul::parallel;
use crate::vector;
use crate::vector::slopes;

/// Rows of scores (tokens × heads of a group) that are made together.
const TOGETHER: usize = 64;

/// The rows that ask in a block: all of them, or those of targets where nothing else is wanted of it.
pub(super) struct Asking {
    /// The rows, unless all ask.
    pub(super) rows: Option<Vec<usize>>,
    /// For each sequence the first of its asking rows and the one after the last, among the asking rows.
    spans: Vec<(usize, usize)>,
    /// The position of each asking row within its sequence.
    pub(super) positions: Vec<usize>,
}

impl Asking {
    pub(super) fn all(batch: &Batch) -> Self {
        Self { rows: None, spans: batch.spans.clone(), positions: batch.positions() }
    }

    pub(super) fn targets(batch: &Batch) -> Self {
        let first = |row: usize| batch.rows.partition_point(|&r| r < row);
        let of = |&(start, end): &(usize, usize)| batch.rows[first(start)..first(end)].iter().map(move |r| r - start);
        Self {
            rows: Some(batch.rows.clone()),
            spans: batch.spans.iter().map(|&(start, end)| (first(start), first(end))).collect(),
            positions: batch.spans.iter().flat_map(of).collect(),
        }
    }
}

/// What attention reads: queries of the asking rows, rotated, and keys and values of all.
#[derive(Clone, Copy)]
pub(super) struct Attention<'a> {
    pub(super) config: &'a Config,
    pub(super) layer: usize,
    pub(super) asking: &'a Asking,
    pub(super) batch: &'a Batch,
    pub(super) q: &'a [f32],
    pub(super) k: &'a [f32],
    pub(super) v: &'a [f32],
}

/// One sequence and one key head, with the query heads that share it.
struct Task {
    sequence: usize,
    head: usize,
}

/// Some tokens of a task, and the positions that they see.
struct Block {
    /// Among the asking rows.
    tokens: Range<usize>,
    seen: Range<usize>,
}

impl Attention<'_> {
    fn group(&self) -> usize {
        self.config.num_heads / self.config.num_kv_heads
    }

    /// Width of what a task makes of a token: the queries of its heads.
    fn width(&self) -> usize {
        self.group() * self.config.head_dim
    }

    fn tasks(&self) -> Vec<Task> {
        let asks = |s: &usize| self.asking.spans[*s].0 < self.asking.spans[*s].1;
        let sequences = (0..self.batch.spans.len()).filter(asks);
        sequences.flat_map(|sequence| (0..self.config.num_kv_heads).map(move |head| Task { sequence, head })).collect()
    }

    fn work(&self) -> usize {
        let spans = self.asking.spans.iter().zip(&self.batch.spans);
        spans.map(|(a, s)| (a.1 - a.0) * (s.1 - s.0)).sum::<usize>() * self.config.query_size() * 2
    }

    fn blocks(&self, task: &Task) -> impl Iterator<Item = Block> {
        let (first, end) = self.asking.spans[task.sequence];
        let step = (TOGETHER / self.group()).max(1);
        (first..end).step_by(step).map(move |from| {
            let tokens = from..(from + step).min(end);
            let windows = tokens.clone().map(|token| self.window(task, token));
            let seen = windows.reduce(|a, b| a.start.min(b.start)..a.end.max(b.end)).unwrap_or(0..0);
            Block { tokens, seen }
        })
    }

    /// The positions that an asking row sees.
    fn window(&self, task: &Task, token: usize) -> Range<usize> {
        let position = self.asking.positions[token];
        let (start, end) = self.batch.spans[task.sequence];
        let first = self.config.layers[self.layer].window.map_or(0, |size| (position + 1).saturating_sub(size));
        first..if self.config.causal { position + 1 } else { end - start }
    }

    /// The keys or values of those positions.
    fn seen<'x>(&self, task: &Task, x: &'x [f32], seen: &Range<usize>) -> View<'x> {
        let (d, width) = (self.config.head_dim, self.config.kv_size());
        let first = self.batch.spans[task.sequence].0 + seen.start;
        View::strided(&x[first * width + task.head * d..], seen.len(), d, width)
    }

    /// A task's part of some asking rows: token by token, the heads of the group.
    fn part(&self, task: &Task, x: &[f32], block: &Block) -> Scratch {
        let (width, all) = (self.width(), self.config.query_size());
        let mut out = Scratch::take(block.tokens.len() * width);
        for (token, to) in block.tokens.clone().zip(out.chunks_exact_mut(width)) {
            to.copy_from_slice(&x[token * all + task.head * width..][..width]);
        }
        out
    }

    /// Probabilities of a block, rows × seen; and the scores, if they were capped. `q` becomes scaled.
    fn probabilities(&self, task: &Task, block: &Block, q: &mut [f32]) -> (Scratch, Option<Scratch>) {
        let (d, seen) = (self.config.head_dim, block.seen.len());
        slopes::scale(q, self.config.attention_scale);
        let mut scores = Scratch::take(q.len() / d * seen);
        gemm(ALONE, View::new(q, d), self.seen(task, self.k, &block.seen), &mut scores, false);
        let capped = self.config.attention_cap.map(|cap| {
            vector::soft_cap(&mut scores, cap);
            let mut copy = Scratch::take(scores.len());
            copy.copy_from_slice(&scores);
            copy
        });
        let group = self.group();
        for (i, row) in scores.chunks_exact_mut(seen).enumerate() {
            let window = self.window(task, block.tokens.start + i / group);
            let (first, end) = (window.start - block.seen.start, window.end - block.seen.start);
            row[..first].fill(0.0);
            row[end..].fill(0.0);
            vector::softmax(&mut row[first..end]);
        }
        (scores, capped)
    }

    /// What the asking rows make of the values that they see: asking rows × query size.
    pub(super) fn forward(&self, ws: &mut Workspace) -> Buffer {
        let (d, width) = (self.config.head_dim, self.width());
        let tasks = self.tasks();
        let mut made: Vec<Option<Vec<f32>>> = tasks.iter().map(|_| None).collect();
        parallel::pieces(ws.threads(), self.work(), &mut made, 1, |i, made| {
            let task = &tasks[i];
            let (first, end) = self.asking.spans[task.sequence];
            let mut out = vec![0.0; (end - first) * width];
            for block in self.blocks(task) {
                let mut q = self.part(task, self.q, &block);
                let (p, _) = self.probabilities(task, &block, &mut q);
                let rows = (block.tokens.start - first) * width..(block.tokens.end - first) * width;
                let values = self.seen(task, self.v, &block.seen);
                gemm(ALONE, View::new(&p, block.seen.len()), values.turned(), &mut out[rows], false);
            }
            debug_assert_eq!(out.len() % d, 0);
            made[0] = Some(out);
        });
        let mut out = ws.take(self.q.len());
        let width_all = self.config.query_size();
        for (task, made) in tasks.iter().zip(&made) {
            let Some(made) = made else { continue };
            for (token, from) in (self.asking.spans[task.sequence].0..).zip(made.chunks_exact(width)) {
                out[token * width_all + task.head * width..][..width].copy_from_slice(from);
            }
        }
        out
    }

    /// The reverse of [`Attention::forward`]: the gradients by queries, keys and values, of the shapes of these.
    pub(super) fn reverse(&self, ws: &mut Workspace, dout: &[f32]) -> [Buffer; 3] {
        let (d, width) = (self.config.head_dim, self.width());
        let tasks = self.tasks();
        let mut made: Vec<Option<[Vec<f32>; 3]>> = tasks.iter().map(|_| None).collect();
        parallel::pieces(ws.threads(), 3 * self.work(), &mut made, 1, |i, made| {
            made[0] = Some(self.reverse_of(&tasks[i], dout));
        });
        let (mut dq, mut dk, mut dv) = (ws.take(self.q.len()), ws.zeros(self.k.len()), ws.zeros(self.v.len()));
        let (queries, keys) = (self.config.query_size(), self.config.kv_size());
        for (task, made) in tasks.iter().zip(&made) {
            let Some([q, k, v]) = made else { continue };
            for (token, from) in (self.asking.spans[task.sequence].0..).zip(q.chunks_exact(width)) {
                dq[token * queries + task.head * width..][..width].copy_from_slice(from);
            }
            for (to, from) in [(&mut dk, k), (&mut dv, v)] {
                for (row, from) in (self.batch.spans[task.sequence].0..).zip(from.chunks_exact(d)) {
                    to[row * keys + task.head * d..][..d].copy_from_slice(from);
                }
            }
        }
        [dq, dk, dv]
    }

    /// The gradients of one task: its queries' token by token, keys' and values' position by position.
    fn reverse_of(&self, task: &Task, dout: &[f32]) -> [Vec<f32>; 3] {
        let (d, width) = (self.config.head_dim, self.width());
        let (first, end) = self.asking.spans[task.sequence];
        let (start, stop) = self.batch.spans[task.sequence];
        let mut dq = vec![0.0; (end - first) * width];
        let (mut dk, mut dv) = (vec![0.0; (stop - start) * d], vec![0.0; (stop - start) * d]);
        for block in self.blocks(task) {
            let mut q = self.part(task, self.q, &block);
            let dout = self.part(task, dout, &block);
            let (p, capped) = self.probabilities(task, &block, &mut q);
            let seen = block.seen.len();
            let there = block.seen.start * d..block.seen.end * d;
            let (queries, douts) = (View::new(&q, d), View::new(&dout, d));
            gemm(ALONE, View::new(&p, seen).turned(), douts.turned(), &mut dv[there.clone()], true);
            let mut ds = Scratch::take(p.len());
            gemm(ALONE, douts, self.seen(task, self.v, &block.seen), &mut ds, false);
            for (d, p) in ds.chunks_exact_mut(seen).zip(p.chunks_exact(seen)) {
                slopes::softmax(p, d);
            }
            if let (Some(cap), Some(capped)) = (self.config.attention_cap, &capped) {
                slopes::soft_cap(capped, cap, &mut ds);
            }
            let rows = (block.tokens.start - first) * width..(block.tokens.end - first) * width;
            let keys = self.seen(task, self.k, &block.seen);
            gemm(ALONE, View::new(&ds, seen), keys.turned(), &mut dq[rows.clone()], false);
            slopes::scale(&mut dq[rows], self.config.attention_scale);
            gemm(ALONE, View::new(&ds, seen).turned(), queries.turned(), &mut dk[there], true);
        }
        [dq, dk, dv]
    }
}

/// Products of a task, which is one thread's.
const ALONE: How = How { units: Units::Vectors, threads: 1, rounded: false };
