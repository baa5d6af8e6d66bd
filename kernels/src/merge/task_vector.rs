//! Task vectors: what a model adds to its base, masked, rescaled and weighted (Ilharco et al., arXiv 2212.04089).
//!
//! A task vector is never stored as a whole: [`TaskVector::write`] makes any range of it in a scratch buffer.

use super::chunks::{sum_chunks, sum_lanes};
use super::element::Element;
use super::select::{Largest, largest};
use crate::rng::Stream;
use std::ops::Range;

/// Which elements of a task vector remain.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mask {
    /// All of them.
    All,
    /// None of them.
    Nothing,
    /// Those of largest magnitude.
    Largest(Largest),
    /// Each by its own draw.
    Bernoulli { stream: Stream, probability: f64 },
}

/// What a method makes of θ − θ₀ of one model.
#[derive(Clone, Copy, Debug)]
pub(super) struct TaskVector {
    mask: Mask,
    scale: f32,
    weight: f32,
}

impl TaskVector {
    /// The whole difference. The weight is rounded to the element type.
    pub(super) fn new<E: Element>(weight: f64) -> Self {
        Self { mask: Mask::All, scale: 1.0, weight: E::round(weight as f32) }
    }

    /// Keeps the share `density` of two whole tensors' difference that is largest in magnitude: max(1, ⌊density·n⌋) elements.
    pub(super) fn keep_largest<E: Element>(mut self, base: &[E], model: &[E], density: f64) -> Self {
        let len = base.len();
        let keep = ((density * len as f64) as usize).max(1);
        self.mask = if density <= 0.0 {
            Mask::Nothing
        } else if keep >= len {
            Mask::All
        } else {
            Mask::Largest(largest(len, keep, |range, out| {
                difference(&base[range.clone()], &model[range], out);
                out.iter_mut().for_each(|x| *x = x.abs());
            }))
        };
        self
    }

    /// Keeps each element with probability `density`, by draw `i` of `stream` for element `i`.
    pub(super) fn keep_random(mut self, density: f64, stream: Stream) -> Self {
        self.mask = if density <= 0.0 {
            Mask::Nothing
        } else if density >= 1.0 {
            Mask::All
        } else {
            Mask::Bernoulli { stream, probability: density }
        };
        self
    }

    /// Scales what the mask left of two whole tensors' difference so that it has the L1 norm of the whole again; not if either
    /// is below 1e-7.
    pub(super) fn rescale_l1<E: Element>(mut self, base: &[E], model: &[E]) -> Self {
        if !matches!(self.mask, Mask::Largest(_) | Mask::Bernoulli { .. }) {
            return self;
        }
        let [whole, kept] = sum_chunks(base.len(), |range, values| {
            difference(&base[range.clone()], &model[range.clone()], values);
            let [whole] = l1(values);
            self.apply_mask(range, values);
            let [kept] = l1(values);
            [whole, kept]
        });
        if whole >= 1e-7 && kept >= 1e-7 {
            self.scale = (whole / kept) as f32;
        }
        self
    }

    /// The model's weight, in the precision of the element type.
    pub(super) fn weight(&self) -> f32 {
        self.weight
    }

    /// Writes a range of the masked, rescaled and weighted task vector, each step rounded to the element type. `base` and
    /// `model` are that range, which begins at element `start`.
    #[inline(always)]
    pub(super) fn write<E: Element>(&self, base: &[E], model: &[E], start: usize, out: &mut [f32]) {
        difference(base, model, out);
        self.apply_mask(start..start + out.len(), out);
        if self.scale != 1.0 {
            out.iter_mut().for_each(|x| *x = E::round(*x * self.scale));
        }
        out.iter_mut().for_each(|x| *x = E::round(*x * self.weight));
    }

    /// Adds what [`TaskVector::write`] writes, which takes the place of `part` unless it can be added at once.
    #[inline(always)]
    pub(super) fn add<E: Element>(&self, base: &[E], model: &[E], start: usize, part: &mut [f32], sum: &mut [f32]) {
        if matches!(self.mask, Mask::All) && self.scale == 1.0 {
            let pairs = model.iter().zip(base);
            sum.iter_mut().zip(pairs).for_each(|(s, (m, b))| {
                *s += E::round(E::round(m.to_f32() - b.to_f32()) * self.weight);
            });
        } else {
            self.write(base, model, start, part);
            sum.iter_mut().zip(part).for_each(|(s, x)| *s += *x);
        }
    }

    #[inline(always)]
    fn apply_mask(&self, range: Range<usize>, values: &mut [f32]) {
        match self.mask {
            Mask::All => {}
            Mask::Nothing => values.fill(0.0),
            Mask::Largest(set) => {
                values.iter_mut().zip(range).for_each(|(x, i)| *x = if set.contains(i, x.abs()) { *x } else { 0.0 });
            }
            Mask::Bernoulli { stream, probability } => {
                let mut kept = [false; 256];
                for (part, start) in values.chunks_mut(kept.len()).zip(range.step_by(kept.len())) {
                    stream.fill_bernoulli(start as u64, probability, &mut kept[..part.len()]);
                    part.iter_mut().zip(kept).for_each(|(x, keep)| *x = if keep { *x } else { 0.0 });
                }
            }
        }
    }
}

#[inline(always)]
fn difference<E: Element>(base: &[E], model: &[E], out: &mut [f32]) {
    let pairs = model.iter().zip(base);
    out.iter_mut().zip(pairs).for_each(|(x, (m, b))| *x = E::round(m.to_f32() - b.to_f32()));
}

fn l1(values: &[f32]) -> [f64; 1] {
    sum_lanes(0..values.len(), |i| [f64::from(values[i].abs())])
}
