//! A merge of one tensor, ready to be written: what depends on the whole tensor is known, so that any range of the result can be
//! made where it is needed, and has the same bits wherever ranges begin and end.

use super::chunks::write_chunks;
use super::element::Element;
use super::mix::Mix;
use super::task_vector::TaskVector;
use crate::block::{Loops, prefetch, widest};
use std::marker::PhantomData;

/// Elements that are computed at a time: the scratch of several models stays in the first-level cache.
const SPAN: usize = 1024;

/// Elements after which memory is asked for that comes later: in small portions, so that no request waits for a free place.
const BLOCK: usize = 128;

/// Elements between what is computed and what is asked for.
const AHEAD: usize = 512;

/// Memory that writing a range takes; kept from one range to the next.
pub type Scratch = Vec<Vec<f32>>;

/// A merge of one tensor of elements of type `E`, from tensors whose ranges it is given in the same order: see
/// [`Merged::linear`] and its like.
#[derive(Clone, Debug)]
pub struct Merged<E> {
    rule: Rule,
    element: PhantomData<fn() -> E>,
}

#[derive(Clone, Debug)]
pub(super) enum Rule {
    /// Σ w·θ / divisor.
    Sum { weights: Vec<f32>, divisor: f32 },
    /// The first times one number and the second times another.
    Pair([f32; 2]),
    /// The base, which comes first, and task vectors.
    Task { vectors: Vec<TaskVector>, mix: Mix },
}

impl<E: Element> Merged<E> {
    pub(super) fn new(rule: Rule) -> Self {
        Self { rule, element: PhantomData }
    }

    /// The input that the result is equal to whatever its elements are, if there is one: that of weight 1 among zeros, or the
    /// base of task vectors that all have weight 0. (A zero of the other sign is equal, and an infinite or undefined element of
    /// an input of weight 0 plays no part.)
    pub fn input(&self) -> Option<usize> {
        let only = |weights: &[f32]| {
            let one = weights.iter().position(|&w| w == 1.0)?;
            weights.iter().enumerate().all(|(i, &w)| i == one || w == 0.0).then_some(one)
        };
        match &self.rule {
            Rule::Sum { weights, divisor } => only(weights).filter(|_| *divisor == 1.0),
            Rule::Pair(factors) => only(factors),
            Rule::Task { vectors, mix } => {
                (mix.lambda == 0.0 || vectors.iter().all(|vector| vector.weight() == 0.0)).then_some(0)
            }
        }
    }

    /// Writes the elements from `start` on into `out`, where `inputs` are that range of each tensor.
    ///
    /// Panics if there is not an input of that length for each tensor that the merge was made from.
    pub fn write(&self, inputs: &[&[E]], start: usize, out: &mut [E], scratch: &mut Scratch) {
        assert!(inputs.len() == self.inputs() && inputs.iter().all(|input| input.len() == out.len()));
        let buffers = if matches!(self.rule, Rule::Task { .. }) { self.inputs() + 1 } else { 0 };
        scratch.resize_with(buffers, Vec::new);
        let mut spans: Vec<&[E]> = Vec::with_capacity(inputs.len());
        for (i, out) in out.chunks_mut(SPAN).enumerate() {
            let range = i * SPAN..i * SPAN + out.len();
            scratch.iter_mut().for_each(|buffer| buffer.resize(out.len(), 0.0));
            spans.clear();
            spans.extend(inputs.iter().map(|input| &input[range.clone()]));
            widest(Span { merged: self, inputs: &spans, start: start + range.start, out, scratch });
        }
    }

    /// Writes all elements, in parallel.
    pub(super) fn write_all(&self, inputs: &[&[E]], out: &mut [E]) {
        write_chunks(out, |range, out, scratch| {
            let inputs: Vec<&[E]> = inputs.iter().map(|input| &input[range.clone()]).collect();
            self.write(&inputs, range.start, out, scratch);
        });
    }

    /// Number of tensors.
    fn inputs(&self) -> usize {
        match &self.rule {
            Rule::Sum { weights, .. } => weights.len(),
            Rule::Pair(factors) => factors.len(),
            Rule::Task { vectors, .. } => vectors.len() + 1,
        }
    }
}

/// Some elements of a merge.
struct Span<'a, E> {
    merged: &'a Merged<E>,
    inputs: &'a [&'a [E]],
    start: usize,
    out: &'a mut [E],
    scratch: &'a mut [Vec<f32>],
}

impl<E: Element> Loops for Span<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Span { merged, inputs, start, out, scratch } = self;
        match &merged.rule {
            Rule::Sum { weights, divisor } => match (inputs, weights.as_slice()) {
                ([a, b], [v, w]) if *divisor == 1.0 => pair(a, b, out, |a, b| (0.0 + v * a) + w * b),
                _ => sum(inputs, weights, *divisor, out),
            },
            Rule::Pair([v, w]) => {
                let [a, b] = inputs else { return };
                pair(a, b, out, |a, b| v * a + w * b);
            }
            Rule::Task { vectors, mix } => mix.write(inputs, vectors, start, out, scratch),
        }
    }
}

/// Two inputs, element by element.
#[inline(always)]
fn pair<E: Element>(a: &[E], b: &[E], out: &mut [E], f: impl Fn(f32, f32) -> f32) {
    for ((out, a), b) in out.chunks_mut(BLOCK).zip(a.chunks(BLOCK)).zip(b.chunks(BLOCK)) {
        ask(a);
        ask(b);
        let pairs = a.iter().zip(b);
        out.iter_mut().zip(pairs).for_each(|(y, (a, b))| *y = E::from_f32(f(a.to_f32(), b.to_f32())));
    }
}

/// Adds up in `f32`, in the order of the models, and rounds once.
#[inline(always)]
fn sum<E: Element>(inputs: &[&[E]], weights: &[f32], divisor: f32, out: &mut [E]) {
    for (i, out) in out.chunks_mut(BLOCK).enumerate() {
        let mut total = [0.0; BLOCK];
        for (input, weight) in inputs.iter().zip(weights) {
            let input = &input[i * BLOCK..][..out.len()];
            ask(input);
            total.iter_mut().zip(input).for_each(|(sum, x)| *sum += weight * x.to_f32());
        }
        if divisor != 1.0 {
            total.iter_mut().for_each(|sum| *sum /= divisor);
        }
        out.iter_mut().zip(total).for_each(|(y, sum)| *y = E::from_f32(sum));
    }
}

/// Asks for the memory that comes some way after a block.
#[inline(always)]
fn ask<E>(block: &[E]) {
    prefetch(block.as_ptr().wrapping_add(AHEAD).cast(), size_of_val(block), false);
}
