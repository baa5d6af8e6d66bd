//! Causal attention within each packed sequence, forward and reverse.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

use super::Workspace;
use super::ops::{dot, softmax};
use crate::decode::Config;

/// Which rows ask, and which sequence and position each belongs to.
pub(super) struct Queries<'a> {
    /// For each sequence the first of its asking rows and the one after the last, among the asking rows.
    pub(super) asking: Vec<(usize, usize)>,
    /// The position of each asking row within its sequence.
    pub(super) positions: &'a [usize],
    /// For each sequence its first row and the row after its last, among all rows.
    pub(super) spans: &'a [(usize, usize)],
}

/// One head of one sequence: where its values lie.
struct Head {
    /// The probabilities, asking rows × rows.
    probabilities: std::ops::Range<usize>,
    asking: (usize, usize),
    span: (usize, usize),
    /// The first value of the query head, and of the key head, in a row.
    query: usize,
    key: usize,
}

impl Queries<'_> {
    fn heads(&self, config: &Config) -> Vec<Head> {
        let group = config.num_heads / config.num_kv_heads;
        let mut offset = 0;
        let mut heads = Vec::with_capacity(self.spans.len() * config.num_heads);
        for (&asking, &span) in self.asking.iter().zip(self.spans) {
            for head in 0..config.num_heads {
                let size = (asking.1 - asking.0) * (span.1 - span.0);
                heads.push(Head {
                    probabilities: offset..offset + size,
                    asking,
                    span,
                    query: head * config.head_dim,
                    key: head / group * config.head_dim,
                });
                offset += size;
            }
        }
        heads
    }

    fn scores(&self, config: &Config) -> usize {
        let sizes = self.asking.iter().zip(self.spans).map(|(a, s)| (a.1 - a.0) * (s.1 - s.0));
        sizes.sum::<usize>() * config.num_heads
    }
}

/// The attended values of the asking rows, and all probabilities (sequence by sequence, head by head, asking rows × rows).
pub(super) fn attend(
    ws: &mut Workspace,
    config: &Config,
    queries: &Queries<'_>,
    q: &[f32],
    k: &[f32],
    v: &[f32],
) -> (Vec<f32>, Vec<f32>) {
    let (wide, narrow) = (config.query_size(), config.kv_size());
    let scale = 1.0 / (config.head_dim as f32).sqrt();
    let mut out = ws.zeros(q.len());
    let mut probabilities = ws.zeros(queries.scores(config));
    for head in queries.heads(config) {
        let (asked, len) = (head.asking.1 - head.asking.0, head.span.1 - head.span.0);
        if asked == 0 {
            continue;
        }
        let p = &mut probabilities[head.probabilities.clone()];
        let scores = MatMut::from_row_major_slice_mut(&mut *p, asked, len);
        let (hq, hk) = (part(q, head.asking, wide, head.query, config), part(k, head.span, narrow, head.key, config));
        matmul(scores, Accum::Replace, hq, hk.transpose(), scale, Par::Seq);
        for (row, &position) in p.chunks_exact_mut(len).zip(&queries.positions[head.asking.0..head.asking.1]) {
            let seen = window(config, position);
            row[..seen.start].fill(0.0);
            row[seen.end..].fill(0.0);
            softmax(&mut row[seen]);
        }
        let dst = part_mut(&mut out, head.asking, wide, head.query, config);
        let hv = part(v, head.span, narrow, head.key, config);
        matmul(dst, Accum::Replace, MatRef::from_row_major_slice(p, asked, len), hv, 1.0, Par::Seq);
    }
    (out, probabilities)
}

/// What the reverse of [`attend`] reads.
pub(super) struct Attended<'a> {
    pub(super) q: &'a [f32],
    pub(super) k: &'a [f32],
    pub(super) v: &'a [f32],
    pub(super) out: &'a [f32],
    pub(super) probabilities: &'a [f32],
}

/// The reverse of [`attend`]: the gradients by queries, keys and values.
pub(super) fn attend_backward(
    ws: &mut Workspace,
    config: &Config,
    queries: &Queries<'_>,
    tape: &Attended<'_>,
    dout: &[f32],
) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let (wide, narrow) = (config.query_size(), config.kv_size());
    let scale = 1.0 / (config.head_dim as f32).sqrt();
    let (mut dq, mut dk, mut dv) = (ws.zeros(tape.q.len()), ws.zeros(tape.k.len()), ws.zeros(tape.v.len()));
    let mut dscores = Vec::new();
    for head in queries.heads(config) {
        let (asked, len) = (head.asking.1 - head.asking.0, head.span.1 - head.span.0);
        if asked == 0 {
            continue;
        }
        let p = &tape.probabilities[head.probabilities.clone()];
        let weights = MatRef::from_row_major_slice(p, asked, len);
        let hdout = part(dout, head.asking, wide, head.query, config);
        let hdv = part_mut(&mut dv, head.span, narrow, head.key, config);
        matmul(hdv, Accum::Add, weights.transpose(), hdout, 1.0, Par::Seq);

        dscores.resize(asked * len, 0.0);
        let dst = MatMut::from_row_major_slice_mut(&mut dscores, asked, len);
        let hv = part(tape.v, head.span, narrow, head.key, config);
        matmul(dst, Accum::Replace, hdout, hv.transpose(), 1.0, Par::Seq);
        for (row, (d, p)) in (head.asking.0..).zip(dscores.chunks_exact_mut(len).zip(p.chunks_exact(len))) {
            let at = row * wide + head.query;
            let mean = dot(&dout[at..at + config.head_dim], &tape.out[at..at + config.head_dim]);
            for (d, p) in d.iter_mut().zip(p) {
                *d = (*d - mean) * p;
            }
        }
        let dscores = MatRef::from_row_major_slice(&dscores, asked, len);
        let hdq = part_mut(&mut dq, head.asking, wide, head.query, config);
        matmul(hdq, Accum::Replace, dscores, part(tape.k, head.span, narrow, head.key, config), scale, Par::Seq);
        let hdk = part_mut(&mut dk, head.span, narrow, head.key, config);
        let hq = part(tape.q, head.asking, wide, head.query, config);
        matmul(hdk, Accum::Add, dscores.transpose(), hq, scale, Par::Seq);
    }
    (dq, dk, dv)
}

/// The positions that the one at `position` sees.
fn window(config: &Config, position: usize) -> std::ops::Range<usize> {
    let first =
        config.layers.first().and_then(|layer| layer.window).map_or(0, |size| (position + 1).saturating_sub(size));
    first..position + 1
}

fn part<'a>(x: &'a [f32], rows: (usize, usize), width: usize, head: usize, config: &Config) -> MatRef<'a, f32> {
    MatRef::from_row_major_slice_with_stride(&x[rows.0 * width + head..], rows.1 - rows.0, config.head_dim, width)
}

fn part_mut<'a>(x: &'a mut [f32], rows: (usize, usize), width: usize, head: usize, config: &Config) -> MatMut<'a, f32> {
    let from = &mut x[rows.0 * width + head..];
    // Not `from_row_major_slice_with_stride_mut`: in faer 0.24.4 it swaps the two strides and writes beyond the slice.
    MatMut::from_column_major_slice_with_stride_mut(from, config.head_dim, rows.1 - rows.0, width).transpose_mut()
}
