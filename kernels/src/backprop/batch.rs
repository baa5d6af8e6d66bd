//! Sequences packed end to end, with the tokens to be predicted.

/// Sequences packed without padding, and the rows whose next token is a target. No sequence sees another.
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
        self.push_some(sequence, |i| i >= given.max(1));
    }

    /// Adds a sequence of which those tokens are targets whose `learned` is true; the first never is, since nothing comes before
    /// it. Tokens after the last target are left out.
    ///
    /// A sequence without a target adds nothing. Panics if there is not one `learned` for each token.
    pub fn push_masked(&mut self, sequence: &[u32], learned: &[bool]) {
        assert_eq!(sequence.len(), learned.len(), "one flag for each token");
        self.push_some(sequence, |i| i > 0 && learned[i]);
    }

    fn push_some(&mut self, sequence: &[u32], learned: impl Fn(usize) -> bool) {
        let Some(last) = (1..sequence.len()).rev().find(|&i| learned(i)) else { return };
        let start = self.tokens.len();
        self.tokens.extend(&sequence[..last]);
        self.spans.push((start, self.tokens.len()));
        for i in (1..=last).filter(|&i| learned(i)) {
            self.rows.push(start + i - 1);
            self.targets.push(sequence[i]);
        }
    }

    /// Adds a sequence for an encoder, which sees all of it: the row of each token whose `targets` entry is some predicts that.
    /// A sequence without a target adds nothing. Panics if there is not one entry for each token.
    pub fn push_aligned(&mut self, sequence: &[u32], targets: &[Option<u32>]) {
        assert_eq!(sequence.len(), targets.len(), "one entry for each token");
        if targets.iter().all(Option::is_none) {
            return;
        }
        let start = self.tokens.len();
        self.tokens.extend(sequence);
        self.spans.push((start, self.tokens.len()));
        for (i, target) in targets.iter().enumerate() {
            if let Some(target) = target {
                self.rows.push(start + i);
                self.targets.push(*target);
            }
        }
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

    /// The length of the longest sequence.
    pub fn longest(&self) -> usize {
        self.spans.iter().map(|(start, end)| end - start).max().unwrap_or(0)
    }

    /// The largest token id, among inputs and targets.
    pub fn largest_id(&self) -> Option<u32> {
        self.tokens.iter().chain(&self.targets).copied().max()
    }

    /// Each row's position in its sequence.
    pub(super) fn positions(&self) -> Vec<usize> {
        self.spans.iter().flat_map(|&(start, end)| 0..end - start).collect()
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
        assert_eq!((batch.positions(), batch.longest()), (vec![0, 1, 2, 0], 3));
    }

    #[test]
    fn a_mask_says_which_tokens_are_targets() {
        let mut batch = Batch::default();
        batch.push_masked(&[1, 2, 3, 4, 5], &[true, true, false, true, false]);
        batch.push_masked(&[6, 7], &[true, false]);
        assert_eq!(batch.tokens, [1, 2, 3]);
        assert_eq!((batch.rows, batch.targets), (vec![0, 2], vec![2, 4]));
        let mut batch = Batch::default();
        batch.push_aligned(&[1, 2, 3], &[None, Some(9), None]);
        assert_eq!((batch.tokens, batch.rows, batch.targets), (vec![1, 2, 3], vec![1], vec![9]));
    }
}
