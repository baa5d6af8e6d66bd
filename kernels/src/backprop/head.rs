//! The head: what the stream says of each target, forward and reverse, some targets at a time. No matrix of all logits is ever made.

use super::linear::LinearTape;
use super::rows::{NormReverse, Stats, gather};
use super::{Batch, Gradients, Network, Workspace};
use crate::decode::Linear;
use crate::matmul::lines::Buffer;
use crate::matmul::parallel;
use crate::vector;
use crate::vector::slopes;

/// Targets whose logits are made together.
pub const CHUNK: usize = 256;

/// What a pass asks of each target. Its value is better the higher it is.
#[derive(Clone, Copy, Debug, Default)]
pub enum Goal<'a> {
    /// The log-probability of the target token.
    #[default]
    Tokens,
    /// `−T² · KL(teacher ‖ student)`, both at temperature `T` (Hinton et al., 2015). The teacher has the same vocabulary.
    Teacher {
        /// Who knows better.
        network: &'a Network,
        /// What logits are divided by.
        temperature: f32,
    },
}

/// What the reverse of the head needs.
pub(super) struct HeadTape {
    /// The stream of the targets' rows, and what norming them found.
    stream: Buffer,
    stats: Option<Stats>,
    normed: Buffer,
}

/// The rows of a teacher.
struct Teacher<'a> {
    network: &'a Network,
    normed: Buffer,
    temperature: f32,
}

impl HeadTape {
    pub(super) fn give(self, ws: &mut Workspace) {
        ws.give_all([self.stream, self.normed]);
    }
}

impl Network {
    fn head_map(&self) -> Linear<usize, usize> {
        Linear { weight: self.tree.head, bias: None }
    }

    /// Norms the stream of the targets' rows.
    pub(super) fn head(&self, ws: &mut Workspace, stream: Buffer) -> HeadTape {
        match &self.tree.norm {
            Some(norm) => {
                let (normed, stats) = self.norm(ws, norm, &stream);
                HeadTape { stream, stats: Some(stats), normed }
            }
            None => {
                let normed = ws.copy(&stream);
                HeadTape { stream, stats: None, normed }
            }
        }
    }

    /// The logits of some targets.
    fn logits(&self, ws: &mut Workspace, rows: &[f32]) -> (Buffer, LinearTape) {
        let (mut logits, tape) = self.linear(ws, &self.head_map(), rows);
        if let Some(cap) = self.config.logit_cap {
            parallel::rows(ws.threads(), &mut logits, self.config.vocab_size, |_, row| vector::soft_cap(row, cap));
        }
        (logits, tape)
    }

    /// The log-probability of each target.
    pub(super) fn head_values(&self, ws: &mut Workspace, batch: &Batch, tape: &HeadTape) -> Vec<f32> {
        let hidden = self.config.hidden_size;
        let mut values = Vec::with_capacity(batch.targets.len());
        for (rows, targets) in tape.normed.chunks(CHUNK * hidden).zip(batch.targets.chunks(CHUNK)) {
            let (mut logits, map) = self.logits(ws, rows);
            map.give(ws);
            values.extend(log_probabilities(ws, self.config.vocab_size, &mut logits, targets, None));
            ws.give(logits);
        }
        values
    }

    /// The values of a goal, and the reverse of the head at once: the gradient by the stream of the targets' rows.
    pub(super) fn head_learn(
        &self,
        ws: &mut Workspace,
        batch: &Batch,
        tape: HeadTape,
        (goal, slopes): (&Goal<'_>, &[f32]),
        gradients: &mut Gradients,
    ) -> (Vec<f32>, Buffer) {
        let (hidden, vocabulary, map) = (self.config.hidden_size, self.config.vocab_size, self.head_map());
        let teacher = match *goal {
            Goal::Tokens => None,
            Goal::Teacher { network, temperature } => {
                assert_eq!(network.config.vocab_size, vocabulary, "a teacher has its student's vocabulary");
                Some(Teacher { network, normed: network.body(ws, batch).normed, temperature })
            }
        };
        let mut dnormed = ws.take(tape.normed.len());
        let mut values = Vec::with_capacity(slopes.len());
        for (first, (rows, dx)) in
            (0..).step_by(CHUNK).zip(tape.normed.chunks(CHUNK * hidden).zip(dnormed.chunks_mut(CHUNK * hidden)))
        {
            let some = first..(first + CHUNK).min(slopes.len());
            let (mut logits, map_tape) = self.logits(ws, rows);
            let capped = self.config.logit_cap.map(|cap| (cap, ws.copy(&logits)));
            let slopes = &slopes[some.clone()];
            values.extend(match &teacher {
                None => log_probabilities(ws, vocabulary, &mut logits, &batch.targets[some], Some(slopes)),
                Some(teacher) => teacher.divergences(ws, &mut logits, some, slopes),
            });
            if let Some((cap, capped)) = capped {
                parallel::rows(ws.threads(), &mut logits, vocabulary, |i, row| {
                    slopes::soft_cap(&capped[i * vocabulary..(i + 1) * vocabulary], cap, row);
                });
                ws.give(capped);
            }
            self.linear_reverse(ws, &map, (rows, map_tape), &mut logits, (dx, false), gradients);
            ws.give(logits);
        }
        ws.give_all(teacher.map(|teacher| teacher.normed));
        let dstream = match (&self.tree.norm, &tape.stats) {
            (Some(norm), Some(stats)) => {
                let mut dstream = ws.zeros(tape.stream.len());
                let of = NormReverse { x: &tape.stream, stats, dy: &dnormed };
                self.norm_reverse(ws, norm, &of, &mut dstream, gradients);
                ws.give(dnormed);
                dstream
            }
            _ => dnormed,
        };
        tape.give(ws);
        (values, dstream)
    }
}

/// The log-probability of each target. With slopes the logits become the gradients of the log-probabilities times these.
fn log_probabilities(
    ws: &Workspace,
    vocabulary: usize,
    logits: &mut [f32],
    targets: &[u32],
    slopes: Option<&[f32]>,
) -> Vec<f32> {
    let mut values = vec![0.0; targets.len()];
    let mut rows: Vec<_> = logits.chunks_exact_mut(vocabulary).zip(values.iter_mut()).collect();
    parallel::pieces(ws.threads(), targets.len() * vocabulary * 8, &mut rows, 1, |i, row| {
        let (row, value) = &mut row[0];
        let target = targets[i] as usize;
        let log_sum = vector::log_sum_exp(row);
        **value = (f64::from(row[target]) - log_sum) as f32;
        if let Some(slopes) = slopes {
            slopes::probabilities(row, log_sum as f32, -slopes[i]);
            row[target] += slopes[i];
        }
    });
    drop(rows);
    values
}

impl Teacher<'_> {
    /// The value of each of some targets; the logits become the gradients of the values times the slopes.
    fn divergences(
        &self,
        ws: &mut Workspace,
        logits: &mut [f32],
        some: std::ops::Range<usize>,
        slopes: &[f32],
    ) -> Vec<f32> {
        let hidden = self.network.config.hidden_size;
        let vocabulary = self.network.config.vocab_size;
        let t = self.temperature;
        let (mut known, tape) = self.network.logits(ws, &self.normed[some.start * hidden..some.end * hidden]);
        tape.give(ws);
        let mut values = vec![0.0; slopes.len()];
        let rows = logits.chunks_exact_mut(vocabulary).zip(known.chunks_exact_mut(vocabulary)).zip(values.iter_mut());
        let mut rows: Vec<_> = rows.collect();
        parallel::pieces(ws.threads(), slopes.len() * vocabulary * 16, &mut rows, 1, |i, row| {
            let ((row, known), value) = &mut row[0];
            slopes::scale(row, 1.0 / t);
            slopes::scale(known, 1.0 / t);
            let (log_sum, known_sum) = (vector::log_sum_exp(row), vector::log_sum_exp(known));
            let mut divergence = 0.0;
            for (x, y) in row.iter_mut().zip(known.iter()) {
                let known = libm::exp(f64::from(*y) - known_sum);
                let (own, better) = (f64::from(*x) - log_sum, f64::from(*y) - known_sum);
                if known > 0.0 {
                    divergence += known * (better - own);
                }
                *x = (f64::from(slopes[i] * t) * (known - libm::exp(own))) as f32;
            }
            **value = -(divergence * f64::from(t * t)) as f32;
        });
        drop(rows);
        ws.give(known);
        values
    }
}

/// The rows of targets.
pub(super) fn target_rows(ws: &mut Workspace, x: &[f32], batch: &Batch, width: usize) -> Buffer {
    gather(ws, x, Some(&batch.rows), width)
}
