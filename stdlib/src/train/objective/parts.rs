//! Batches cut into parts that go through the network together.

use std::ops::Range;

use evo_kernels::backprop::Batch;

use crate::train::Example;

/// Input tokens of a part, about. It bounds memory and keeps activations in the cache; it does not depend on the machine,
/// since the cut orders the sums.
pub const PART: usize = 1024;

/// Whole groups of sequences, packed end to end; none sees another.
pub(super) struct Part {
    pub(super) batch: Batch,
    /// Which of the batch's groups.
    pub(super) groups: Range<usize>,
    /// The targets of each sequence.
    pub(super) targets: Vec<usize>,
}

impl Part {
    /// The sum over each sequence's targets.
    pub(super) fn sums(&self, values: &[f32]) -> Vec<f64> {
        let mut values = values.iter().map(|value| f64::from(*value));
        self.targets.iter().map(|count| values.by_ref().take(*count).sum()).collect()
    }

    /// A slope for each target from one for each sequence.
    pub(super) fn spread(&self, slopes: &[f64]) -> Vec<f32> {
        let each = self.targets.iter().zip(slopes);
        each.flat_map(|(count, slope)| std::iter::repeat_n(*slope as f32, *count)).collect()
    }
}

/// Cuts groups of sequences into parts of about [`PART`] tokens. A group is never cut; one that is longer is a part alone.
pub(super) fn parts<'a>(groups: impl IntoIterator<Item = &'a [Example]>) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    for (index, group) in groups.into_iter().enumerate() {
        let tokens: usize = group.iter().map(|example| example.tokens.len()).sum();
        let fits = parts.last().is_some_and(|last| last.batch.tokens() + tokens <= PART);
        if !fits {
            parts.push(Part { batch: Batch::default(), groups: index..index, targets: Vec::new() });
        }
        if let Some(part) = parts.last_mut() {
            part.groups.end = index + 1;
            for example in group {
                part.batch.push_masked(&example.tokens, &example.learned);
                part.targets.push(example.targets());
            }
        }
    }
    parts
}
