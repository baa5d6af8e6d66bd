//! Attention of a batch of sequences over their caches, grouped queries included.

use std::ops::Range;

use super::{Cache, Config};
use crate::matmul::lines::Scratch;
use crate::matmul::matrix::PANEL;
use crate::matmul::product::{Input, Panels, Target, Units, product};
use crate::matmul::{amx, parallel};
use crate::vector;

/// Query rows (tokens × heads of a group) that one task takes.
const TASK_ROWS: usize = 64;

/// One sequence's share of a batch: its tokens are rows `first..first + count`, at positions from `start` on.
pub(super) struct Span<'a> {
    /// The sequence's cache, which holds its keys and values up to the last of these tokens.
    pub cache: &'a Cache,
    /// The first row.
    pub first: usize,
    /// How many rows.
    pub count: usize,
    /// The position of the first row's token.
    pub start: usize,
}

/// A task: some tokens of one sequence, and one key head.
struct Task {
    span: usize,
    head: usize,
    from: usize,
    to: usize,
}

/// `out = softmax(q · kᵀ · scale) · v`, for each query head and token over the positions that it sees.
///
/// `q` and `out` have a row of `num_heads · head_dim` for each token of the batch.
pub(super) fn attention(
    units: Units,
    config: &Config,
    layer: usize,
    spans: &[Span<'_>],
    q: &[f32],
    out: &mut [f32],
    threads: usize,
) {
    let group = config.num_heads / config.num_kv_heads;
    let step = (TASK_ROWS / group).max(1);
    let mut tasks = Vec::new();
    let mut work = 0;
    for (span, s) in spans.iter().enumerate() {
        work += s.count * (s.start + s.count) * config.query_size() * 2;
        for from in (0..s.count).step_by(step) {
            let to = (from + step).min(s.count);
            tasks.extend((0..config.num_kv_heads).map(|head| Task { span, head, from, to }));
        }
    }
    let width = config.query_size();
    let target = Target::new(out, width);
    parallel::ranges(threads, work, tasks.len(), 1, |range| {
        for task in &tasks[range] {
            let span = &spans[task.span];
            let made = run(units, config, layer, span, task, q);
            for (i, line) in made.chunks_exact(made.len() / ((task.to - task.from) * group)).enumerate() {
                let at = (task.head * group + i % group) * config.head_dim;
                // SAFETY: tasks differ in their rows or in their heads, and each is given to one thread.
                #[expect(unsafe_code, reason = "threads write disjoint parts of one matrix")]
                let to = unsafe {
                    let row = target.row(span.first + task.from + i / group);
                    std::slice::from_raw_parts_mut(row.add(at), config.head_dim)
                };
                to.copy_from_slice(&line[..config.head_dim]);
            }
        }
    });
}

/// The rows of one task: token by token, the heads of the group; each padded to whole panels.
fn run(units: Units, config: &Config, layer: usize, span: &Span<'_>, task: &Task, q: &[f32]) -> Scratch {
    let group = config.num_heads / config.num_kv_heads;
    let d = config.head_dim;
    let width = config.query_size();
    let rows = (task.to - task.from) * group;
    let seen = span.start + if config.causal { task.to } else { span.count };
    let scale = config.attention_scale;
    let window = config.layers[layer].window;

    let mut queries = Scratch::take(rows * d);
    for (token, to) in (task.from..task.to).zip(queries.chunks_exact_mut(group * d)) {
        let at = (span.first + token) * width + task.head * group * d;
        to.iter_mut().zip(&q[at..at + group * d]).for_each(|(to, x)| *to = x * scale);
    }
    let pages = 0..seen.div_ceil(PANEL);
    let mut scores = Scratch::take(rows * seen);
    let left = Left::of(units, &queries, rows);
    for page in pages.clone() {
        let keys = Panels { data: span.cache.keys(layer, task.head, page), depth: d, stride: d * PANEL };
        left.product(0, &keys, 0..1, &Target::new(&mut scores, seen).from(page * PANEL));
    }
    drop(left);

    for (i, row) in scores.chunks_exact_mut(seen).enumerate() {
        let position = span.start + task.from + i / group;
        let first = window.map_or(0, |w| (position + 1).saturating_sub(w));
        let end = if config.causal { position + 1 } else { seen };
        row[..first].fill(0.0);
        row[end..].fill(0.0);
        if let Some(cap) = config.attention_cap {
            vector::soft_cap(&mut row[first..end], cap);
        }
        vector::softmax(&mut row[first..end]);
    }

    let padded = d.next_multiple_of(PANEL);
    let mut out = Scratch::zeroed(rows * padded);
    let left = Left::of(units, &scores, rows);
    for page in pages {
        let depth = PANEL.min(seen - page * PANEL);
        let values = Panels { data: span.cache.values(layer, task.head, page), depth, stride: PANEL * PANEL };
        // Each sum goes on where the last page's ended: the chain is that over all positions.
        let target = Target::new(&mut out, padded).adding();
        left.product(page * PANEL, &values, 0..padded / PANEL, &target);
    }
    drop(left);
    out
}

/// Rows that several products begin with.
enum Left<'a> {
    /// As they are, each so long.
    Plain(&'a [f32], usize),
    Apart(amx::Rows),
}

impl<'a> Left<'a> {
    fn of(units: Units, x: &'a [f32], rows: usize) -> Self {
        match units {
            Units::Vectors => Self::Plain(x, x.len() / rows),
            Units::Tiles => Self::Apart(amx::Rows::of(x, rows, 1)),
        }
    }

    /// The product of the columns from `from` on.
    fn product(&self, from: usize, panels: &Panels<'_>, range: Range<usize>, target: &Target<'_>) {
        match self {
            Self::Plain(x, stride) => product(Input::Rows { x: &x[from..], stride: *stride }, panels, range, target),
            Self::Apart(rows) => product(Input::Apart { rows, from }, panels, range, target),
        }
    }
}
