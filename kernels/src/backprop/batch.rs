//! Sequences packed end to end, with the tokens to be predicted.

/// Sequences packed without padding, and the rows whose next token is a target.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// The input tokens of all sequences, end to end.
    pub(super) tokens: Vec<u32>,
    /// For each sequence its first row and the row after its last.
    pub(super) spans: Vec<(usize, usize)>,
    /// The rows that predict a target, ascending.
    pub(super) rows: Vec<usize>,
    /// What each of them should predict.
    pub(super) targets: Vec<u32>,
}

impl Batch {
    /// Adds a sequence whose first `given` tokens (at least one) are given and whose others are targets.
    ///
    /// A sequence without a target adds nothing.
    pub fn push(&mut self, sequence: &[u32], given: usize) {
        let given = given.max(1);
        if sequence.len() <= given {
            return;
        }
        let start = self.tokens.len();
        self.tokens.extend(&sequence[..sequence.len() - 1]);
        self.spans.push((start, self.tokens.len()));
        self.rows.extend(start + given - 1..self.tokens.len());
        self.targets.extend(&sequence[given..]);
    }

    /// The number of input tokens.
    pub fn tokens(&self) -> usize {
        self.tokens.len()
    }

    /// The number of targets.
    pub fn targets(&self) -> usize {
        self.targets.len()
    }

    /// The number of sequences.
    pub fn sequences(&self) -> usize {
        self.spans.len()
    }

    /// The largest token id, among inputs and targets.
    pub fn largest_id(&self) -> Option<u32> {
        self.tokens.iter().chain(&self.targets).copied().max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_target_is_predicted_by_the_row_before_it() {
        let mut batch = Batch::default();
        batch.push(&[1, 2, 3, 4], 2);
        batch.push(&[5], 1);
        batch.push(&[6, 7], 0);
        assert_eq!(batch.tokens, [1, 2, 3, 6]);
        assert_eq!(batch.spans, [(0, 3), (3, 4)]);
        assert_eq!(batch.rows, [1, 2, 3]);
        assert_eq!(batch.targets, [3, 4, 7]);
    }
}
