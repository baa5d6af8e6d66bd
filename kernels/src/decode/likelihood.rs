//! The log-probabilities of given texts, many at once: what texts have in common is computed once, logits only where they
//! are asked for. None of this changes a bit of a result, since a row of [`Decoder::hidden`] depends on its own sequence
//! alone.

use super::prefix::Prefixes;
use super::{DecodeError, Decoder, parallel, vector};

impl Decoder {
    /// The log-probability of each token of each continuation, given its prompt and the continuation's earlier tokens.
    ///
    /// `pairs` are (prompt, continuation). An error for an empty prompt, an id outside the vocabulary, or a pair that
    /// outgrows the model. An empty continuation has no log-probabilities.
    pub fn logprobs(&self, pairs: &[(&[u32], &[u32])], threads: usize) -> Result<Vec<Vec<f32>>, DecodeError> {
        for &(prompt, continuation) in pairs {
            self.check_prompt(prompt, continuation.len())?;
            self.check_ids(continuation)?;
        }
        parallel::together(threads, || self.logprobs_checked(pairs, threads))
    }

    /// The same of pairs that were checked.
    fn logprobs_checked(&self, pairs: &[(&[u32], &[u32])], threads: usize) -> Result<Vec<Vec<f32>>, DecodeError> {
        let asked: Vec<usize> = (0..pairs.len()).filter(|&i| !pairs[i].1.is_empty()).collect();
        let texts: Vec<Vec<u32>> = asked.iter().map(|&i| [pairs[i].0, pairs[i].1].concat()).collect();
        // The last token of a text is asked for, but nothing after it.
        let run: Vec<&[u32]> = texts.iter().map(|text| &text[..text.len() - 1]).collect();
        let wanted = asked.iter().map(|&i| pairs[i].0.len() - 1).collect();
        let mut result: Vec<Vec<f32>> =
            pairs.iter().map(|(_, continuation)| Vec::with_capacity(continuation.len())).collect();
        let mut tree = Prefixes::new(self, &run, wanted);
        while !tree.is_empty() {
            let done = tree.step(threads)?;
            let found = self.each_row(&done.hidden, threads, |row, logits| {
                let row = &done.rows[row];
                let sum = vector::log_sum_exp(logits);
                let of = |&text: &usize| (f64::from(logits[texts[text][row.position + 1] as usize]) - sum) as f32;
                row.texts.iter().map(of).collect::<Vec<f32>>()
            })?;
            for (row, found) in done.rows.iter().zip(found) {
                for (&text, x) in row.texts.iter().zip(found) {
                    result[asked[text]].push(x);
                }
            }
        }
        Ok(result)
    }
}
