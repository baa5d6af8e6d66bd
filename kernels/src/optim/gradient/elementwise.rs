//! Rules that take each element by itself: AdamW and Lion.

use super::{AdamW, Lion, PIECE};
use crate::vector::for_each_machine;

/// A rule's numbers at one step.
#[derive(Clone, Copy)]
pub(super) enum Step {
    /// What is kept of a weight, the corrected rate, the correction of squares, epsilon, and the two means' decays.
    AdamW { keep: f32, rate: f32, correction: f32, eps: f32, betas: [f32; 2], rest: [f32; 2] },
    /// What is kept of a weight, the rate, and the decays.
    Lion { keep: f32, rate: f32, betas: [f32; 2], rest: [f32; 2] },
}

impl Step {
    pub(super) fn adamw(rule: &AdamW, steps: u64, is_vector: bool, rate: f64) -> Self {
        let AdamW { beta1, beta2, eps, weight_decay, decay_vectors } = *rule;
        let decay = if is_vector && !decay_vectors { 0.0 } else { weight_decay };
        let steps = i32::try_from(steps).unwrap_or(i32::MAX);
        Step::AdamW {
            keep: (1.0 - rate * decay) as f32,
            rate: (rate / (1.0 - beta1.powi(steps))) as f32,
            correction: (1.0 - beta2.powi(steps)).sqrt() as f32,
            eps: eps as f32,
            betas: [beta1 as f32, beta2 as f32],
            rest: [(1.0 - beta1) as f32, (1.0 - beta2) as f32],
        }
    }

    pub(super) fn lion(rule: &Lion, is_vector: bool, rate: f64) -> Self {
        let Lion { beta1, beta2, weight_decay, decay_vectors } = *rule;
        let decay = if is_vector && !decay_vectors { 0.0 } else { weight_decay };
        Step::Lion {
            keep: (1.0 - rate * decay) as f32,
            rate: rate as f32,
            betas: [beta1 as f32, beta2 as f32],
            rest: [(1.0 - beta1) as f32, (1.0 - beta2) as f32],
        }
    }
}

/// Some elements of one parameter and all that goes with them.
pub(super) struct Piece<'a> {
    step: Step,
    weights: &'a mut [f32],
    gradients: &'a [f32],
    first: &'a mut [f32],
    second: &'a mut [f32],
}

/// Cuts a parameter into pieces; `second` is empty for rules that have none.
pub(super) fn cut<'a>(
    step: Step,
    weights: &'a mut [f32],
    gradients: &'a [f32],
    first: &'a mut [f32],
    second: &'a mut [f32],
    pieces: &mut Vec<Piece<'a>>,
) {
    let mut seconds = second.chunks_mut(PIECE);
    let chunks = weights.chunks_mut(PIECE).zip(gradients.chunks(PIECE)).zip(first.chunks_mut(PIECE));
    for ((weights, gradients), first) in chunks {
        let second = seconds.next().unwrap_or_default();
        pieces.push(Piece { step, weights, gradients, first, second });
    }
}

impl Piece<'_> {
    pub(super) fn len(&self) -> usize {
        self.weights.len()
    }

    pub(super) fn run(&mut self, scale: f32) {
        let Piece { step, weights, gradients, first, second } = self;
        match *step {
            Step::AdamW { keep, rate, correction, eps, betas, rest } => {
                adamw(weights, gradients, (first, second), (keep, rate, correction, eps), (betas, rest), scale);
            }
            Step::Lion { keep, rate, betas, rest } => {
                lion(weights, gradients, first, (keep, rate), (betas, rest), scale)
            }
        }
    }
}

for_each_machine! {
    /// `numbers`: what is kept of a weight, the rate, the correction, epsilon.
    fn adamw(
        weights: &mut [f32], gradients: &[f32], moments: (&mut [f32], &mut [f32]), numbers: (f32, f32, f32, f32),
        betas: ([f32; 2], [f32; 2]), scale: f32,
    ) {
        let (keep, rate, correction, eps) = numbers;
        let ([b1, b2], [c1, c2]) = betas;
        let (first, second) = moments;
        for ((w, g), (m, v)) in weights.iter_mut().zip(gradients).zip(first.iter_mut().zip(second.iter_mut())) {
            let g = g * scale;
            *m = b1 * *m + c1 * g;
            *v = b2 * *v + c2 * g * g;
            *w = keep * *w - rate * *m / (v.sqrt() / correction + eps);
        }
    }

    /// `numbers`: what is kept of a weight, the rate.
    fn lion(
        weights: &mut [f32], gradients: &[f32], first: &mut [f32], numbers: (f32, f32), betas: ([f32; 2], [f32; 2]),
        scale: f32,
    ) {
        let (keep, rate) = numbers;
        let ([b1, b2], [c1, c2]) = betas;
        for ((w, g), m) in weights.iter_mut().zip(gradients).zip(first.iter_mut()) {
            let g = g * scale;
            let along = b1 * *m + c1 * g;
            // `signum` of zero is one: a weight without a gradient stays.
            let sign = if along == 0.0 { 0.0 } else { along.signum() };
            *w = keep * *w - rate * sign;
            *m = b2 * *m + c2 * g;
        }
    }
}
