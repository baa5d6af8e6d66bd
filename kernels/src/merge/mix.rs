//! Adding weighted task vectors to a base: plainly, or by the sign that most of their mass agrees on.

use super::element::Element;
use super::task_vector::TaskVector;

/// How the weighted task vectors become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Combine {
    /// Their sum in order, accumulated in `f32` and rounded once; the divisor is the weights' sum.
    Sum,
    /// Per element, the sum of those whose sign is that of the sum of all (TIES, arXiv 2306.01708, section 3.2).
    SignConsensus,
}

/// How a base and weighted task vectors become one tensor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mix {
    /// How task vectors are combined.
    pub(super) combine: Combine,
    /// Divide by the sum of the weights that took part; a sum of zero divides by one.
    pub(super) normalize: bool,
    /// Factor on the result.
    pub(super) lambda: f64,
}

impl Mix {
    /// Writes base + λ·mix(vectors) for a range that begins at element `start`, of which `inputs` are the base and the models.
    /// Each buffer of `scratch` is as long as `out`; there are two more than vectors.
    #[inline(always)]
    pub(super) fn write<E: Element>(
        &self,
        inputs: &[&[E]],
        vectors: &[TaskVector],
        start: usize,
        out: &mut [E],
        scratch: &mut [Vec<f32>],
    ) {
        let ([base, models @ ..], [mixed, divisor, parts @ ..]) = (inputs, scratch) else {
            return;
        };
        let each = vectors.iter().zip(models).zip(parts.iter_mut());
        match self.combine {
            Combine::Sum => {
                mixed.fill(0.0);
                each.for_each(|((vector, model), part)| vector.add(base, model, start, part, mixed));
                mixed.iter_mut().for_each(|x| *x = E::round(*x));
            }
            Combine::SignConsensus => {
                each.for_each(|((vector, model), part)| vector.write(base, model, start, part));
                sign_consensus::<E>(vectors, parts, mixed, divisor);
            }
        }
        if self.normalize && self.combine == Combine::Sum {
            let total = E::round(vectors.iter().map(TaskVector::weight).sum());
            divisor.fill(if total.abs() < 1e-8 { 1.0 } else { total });
        }
        if self.normalize {
            mixed.iter_mut().zip(divisor.iter()).for_each(|(x, d)| *x = E::round(*x / d));
        }
        if self.lambda != 1.0 {
            let lambda = self.lambda as f32;
            mixed.iter_mut().for_each(|x| *x = E::round(*x * lambda));
        }
        let pairs = base.iter().zip(mixed.iter());
        out.iter_mut().zip(pairs).for_each(|(y, (b, x))| *y = E::from_f32(b.to_f32() + x));
    }
}

#[inline(always)]
fn add_all(parts: &[Vec<f32>], sum: &mut [f32]) {
    sum.fill(0.0);
    for part in parts {
        sum.iter_mut().zip(part).for_each(|(s, x)| *s += x);
    }
}

/// Elects +1 where the parts' sum is at least 0, else −1, and adds up the parts that have the elected sign.
#[inline(always)]
fn sign_consensus<E: Element>(vectors: &[TaskVector], parts: &mut [Vec<f32>], mixed: &mut [f32], divisor: &mut [f32]) {
    add_all(parts, mixed);
    for part in parts.iter_mut() {
        for (x, elected) in part.iter_mut().zip(mixed.iter()) {
            let agrees = if *elected >= 0.0 { *x > 0.0 } else { *x < 0.0 };
            *x = if agrees || elected.is_nan() { *x } else { 0.0 };
        }
    }
    divisor.fill(0.0);
    for (vector, part) in vectors.iter().zip(parts.iter()) {
        let weight = vector.weight();
        divisor.iter_mut().zip(part).for_each(|(d, x)| *d += if *x == 0.0 { 0.0 } else { weight });
    }
    add_all(parts, mixed);
    mixed.iter_mut().for_each(|x| *x = E::round(*x));
    divisor.iter_mut().for_each(|d| {
        let total = E::round(*d);
        *d = if total == 0.0 { 1.0 } else { total };
    });
}
