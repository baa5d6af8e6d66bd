//! The log-probabilities of given texts, many at once: what texts have in common is computed once, logits only where they
//! are asked for, and lower layers not at all where another model has left what they give. None of this changes a bit of a result,
//! since a row of [`Decoder::hidden`] depends on its own sequence alone.

use std::sync::{Arc, OnceLock};

use super::decoder::Stretch;
use super::prefix::Prefixes;
use super::residuals::Share;
use super::{Cache, DecodeError, Decoder};
use crate::matmul::parallel;
use crate::vector;

/// Prompts, each with a continuation whose log-probabilities models are asked for.
#[derive(Clone, Debug)]
pub struct Texts {
    /// Prompt and continuation in one, with the length of the prompt.
    texts: Vec<(Vec<u32>, usize)>,
    rows: OnceLock<usize>,
}

impl Texts {
    /// Texts of pairs (prompt, continuation).
    pub fn new<'a>(pairs: impl IntoIterator<Item = (&'a [u32], &'a [u32])>) -> Self {
        let texts = pairs.into_iter().map(|(prompt, continuation)| ([prompt, continuation].concat(), prompt.len()));
        Self { texts: texts.collect(), rows: OnceLock::new() }
    }

    /// Their number.
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// Those of which something is asked.
    fn asked(&self) -> impl Iterator<Item = (usize, &[u32], usize)> {
        let asked = self.texts.iter().enumerate().filter(|(_, (text, prompt))| text.len() > *prompt);
        asked.map(|(i, (text, prompt))| (i, text.as_slice(), *prompt))
    }

    /// The tree of their prefixes. The last token of a text is asked for, but nothing after it.
    fn tree(&self, cache: &Cache) -> Prefixes<'_> {
        let run: Vec<&[u32]> = self.asked().map(|(_, text, _)| &text[..text.len() - 1]).collect();
        Prefixes::new(&run, self.asked().map(|(_, _, prompt)| prompt - 1).collect(), cache)
    }

    /// Rows of all passes together. No prompt is empty.
    pub(super) fn rows(&self) -> usize {
        *self.rows.get_or_init(|| self.tree(&Cache::of_nothing()).rows())
    }
}

impl Decoder {
    /// The log-probability of each token of each continuation, given its prompt and the continuation's earlier tokens.
    ///
    /// `pairs` are (prompt, continuation). An error for an empty prompt, an id outside the vocabulary, or a pair that
    /// outgrows the model. An empty continuation has no log-probabilities.
    pub fn logprobs(&self, pairs: &[(&[u32], &[u32])], threads: usize) -> Result<Vec<Vec<f32>>, DecodeError> {
        let texts = Texts::new(pairs.iter().copied());
        self.check_texts(&texts)?;
        let found = parallel::together(threads, || self.run(&texts, &mut Share::default(), threads))?;
        Ok(found.unwrap_or_default())
    }

    /// The same of texts that other models are asked too: a decoder that [shares](Decoder::sharing) residuals takes from those
    /// before it what their lower layers have in common, and leaves it to those after it.
    ///
    /// # Errors
    /// As [`Decoder::logprobs`].
    pub fn likelihoods(&self, texts: &Arc<Texts>, threads: usize) -> Result<Vec<Vec<f32>>, DecodeError> {
        self.check_texts(texts)?;
        loop {
            let mut share = self.shared(texts);
            if let Some(found) = parallel::together(threads, || self.run(texts, &mut share, threads))? {
                share.finish();
                return Ok(found);
            }
        }
    }

    fn check_texts(&self, texts: &Texts) -> Result<(), DecodeError> {
        for (text, prompt) in &texts.texts {
            let (prompt, continuation) = text.split_at(*prompt);
            self.check_prompt(prompt, continuation.len())?;
            self.check_ids(continuation)?;
        }
        Ok(())
    }

    /// The same of texts that were checked; nothing if rows that it was to begin with were given up.
    pub(super) fn run(
        &self,
        texts: &Texts,
        share: &mut Share,
        threads: usize,
    ) -> Result<Option<Vec<Vec<f32>>>, DecodeError> {
        let asked: Vec<(usize, &[u32], usize)> = texts.asked().collect();
        let mut result: Vec<Vec<f32>> =
            texts.texts.iter().map(|(text, prompt)| Vec::with_capacity(text.len() - prompt)).collect();
        let mut tree = texts.tree(&Cache::above(self.config(), share.first_layer()));
        while !tree.is_empty() {
            let Ok(rows) = share.rows() else { return Ok(None) };
            let mut left = Vec::new();
            let stretch = Stretch {
                from: rows.as_ref().map(|rows| (share.first_layer(), rows.as_slice())),
                leave: share.leaves().map(|depth| (depth, &mut left)),
            };
            let done = tree.step(self, stretch, threads)?;
            share.next(left);
            let found = self.each_row(&done.hidden, threads, |row, logits| {
                let row = &done.rows[row];
                let sum = vector::log_sum_exp(logits);
                let of = |&text: &usize| (f64::from(logits[asked[text].1[row.position + 1] as usize]) - sum) as f32;
                row.texts.iter().map(of).collect::<Vec<f32>>()
            })?;
            for (row, found) in done.rows.iter().zip(found) {
                for (&text, x) in row.texts.iter().zip(found) {
                    result[asked[text].0].push(x);
                }
            }
        }
        Ok(Some(result))
    }
}
