//! Attention of a batch of sequences over their caches, grouped queries included.

use super::lines::Scratch;
use super::matrix::PANEL;
use super::product::{Panels, Target, product};
use super::{Cache, Config, parallel, vector};

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
pub(super) fn attention(config: &Config, layer: usize, spans: &[Span<'_>], q: &[f32], out: &mut [f32], threads: usize) {
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
            let made = run(config, layer, span, task, q);
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
fn run(config: &Config, layer: usize, span: &Span<'_>, task: &Task, q: &[f32]) -> Scratch {
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
    for page in pages.clone() {
        let keys = Panels { data: span.cache.keys(layer, task.head, page), depth: d, stride: d * PANEL };
        product(&queries, d, &keys, 0..1, &Target::new(&mut scores, seen).from(page * PANEL));
    }

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
    for page in pages {
        let depth = PANEL.min(seen - page * PANEL);
        let values = Panels { data: span.cache.values(layer, task.head, page), depth, stride: PANEL * PANEL };
        // Each sum goes on where the last page's ended: the chain is that over all positions.
        let target = Target::new(&mut out, padded).adding();
        product(&scores[page * PANEL..], seen, &values, 0..padded / PANEL, &target);
    }
    out
}
