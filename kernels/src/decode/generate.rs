//! Answers to many prompts at once.
//!
//! Beginnings that prompts have in common are computed once, and as answers end, further prompts take their places in the
//! batch. None of this changes a bit of a result, since a row of [`Decoder::hidden`] depends on its own sequence alone.

use super::prefix::{Done, Prefixes};
use super::{Cache, DecodeError, Decoder, Entry};
use crate::matmul::lines::Scratch;
use crate::matmul::matrix::PANEL;
use crate::matmul::parallel;
use crate::vector;

/// Answers that are open at one time, if they are short.
const OPEN: usize = 64;
/// Positions that open answers may come to together, unless one alone comes to more; bounds the memory of their caches.
pub(super) const POSITIONS: usize = OPEN * 512;
/// Rows that go through the head at one time; bounds the memory of logits.
pub(super) const HEAD: usize = 64;

/// Positions of the pages of an answer that with its prompt has at most `longest` tokens.
pub(super) fn answer_positions(longest: usize) -> usize {
    longest.next_multiple_of(PANEL) + PANEL
}

/// Chooses the tokens of one answer.
pub trait Choose: Send {
    /// The next token, given the logits of all tokens, which may be changed; none ends the answer.
    fn choose(&mut self, logits: &mut [f32]) -> Option<u32>;
}

/// The token of the largest logit, of equals the lowest id; the answer ends before the first of `stop`.
#[derive(Clone, Copy, Debug)]
pub struct Greedy<'a> {
    /// The ids that end an answer.
    pub stop: &'a [u32],
}

impl Choose for Greedy<'_> {
    fn choose(&mut self, logits: &mut [f32]) -> Option<u32> {
        self.unless_stopped(vector::argmax(logits) as u32)
    }
}

impl Greedy<'_> {
    /// The id, unless it ends the answer.
    pub(super) fn unless_stopped(self, id: u32) -> Option<u32> {
        (!self.stop.contains(&id)).then_some(id)
    }
}

/// An answer that is not finished.
struct Open {
    prompt: usize,
    cache: Cache,
    /// The token to be run next.
    last: [u32; 1],
}

impl Decoder {
    /// The greedy continuation of each prompt: at most `max_tokens` ids, ending before the first of `stop`.
    /// Of equal logits the lowest id is taken. Errors are those of [`Decoder::generate`].
    pub fn greedy(
        &self,
        prompts: &[Vec<u32>],
        max_tokens: usize,
        stop: &[u32],
        threads: usize,
    ) -> Result<Vec<Vec<u32>>, DecodeError> {
        self.generate(prompts, &mut vec![Greedy { stop }; prompts.len()], max_tokens, threads)
    }

    /// An answer to each prompt, by a chooser of its own: at most `max_tokens` ids. Panics if there are not as many choosers
    /// as prompts.
    ///
    /// An error for an empty prompt, an id outside the vocabulary, or a prompt that with its answer outgrows the model.
    pub fn generate<C: Choose>(
        &self,
        prompts: &[Vec<u32>],
        choosers: &mut [C],
        max_tokens: usize,
        threads: usize,
    ) -> Result<Vec<Vec<u32>>, DecodeError> {
        assert_eq!(prompts.len(), choosers.len(), "a chooser for each prompt");
        for prompt in prompts {
            self.check_prompt(prompt, max_tokens)?;
        }
        parallel::together(threads, || self.generate_checked(prompts, choosers, max_tokens, threads))
    }

    /// The same of prompts that were checked. The last token of an answer, which is never run, need not fit the model.
    fn generate_checked<C: Choose>(
        &self,
        prompts: &[Vec<u32>],
        choosers: &mut [C],
        max_tokens: usize,
        threads: usize,
    ) -> Result<Vec<Vec<u32>>, DecodeError> {
        let mut answers = vec![Vec::new(); prompts.len()];
        if max_tokens == 0 {
            return Ok(answers);
        }
        let of_answers = self.of_answers();
        let texts: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
        let mut tree = Prefixes::new(&texts, prompts.iter().map(|prompt| prompt.len() - 1).collect(), &self.cache());
        let longest = prompts.iter().map(Vec::len).max().unwrap_or(0).saturating_add(max_tokens);
        let most = (POSITIONS / answer_positions(longest)).clamp(1, OPEN);
        let mut open: Vec<Open> = Vec::new();
        let width = self.config().hidden_size;
        let mut filling = false;
        while !tree.is_empty() || !open.is_empty() {
            // A few free places are not worth reading the weights for prompts in small pieces: half of them are, and then all
            // are taken, in as many passes as that needs.
            filling = open.len() <= most / 2 || filling && open.len() < most;
            let mut pass = tree.take(open.len(), if filling { most - open.len() } else { 0 });
            let mut batch: Vec<Entry<'_>> =
                open.iter_mut().map(|o| Entry { tokens: &o.last, cache: &mut o.cache, wanted: 1 }).collect();
            let (mut hidden, of_prompts) = match &of_answers {
                Some(other) => {
                    (other.hidden(&mut batch, threads)?, self.hidden(&mut tree.entries(&mut pass), threads)?)
                }
                None => {
                    batch.extend(tree.entries(&mut pass));
                    let mut hidden = self.hidden(&mut batch, threads)?;
                    let of_prompts = hidden.split_off(open.len() * width);
                    (hidden, of_prompts)
                }
            };
            let Done { hidden: first, rows, ends } = tree.finish(pass, of_prompts);
            open.extend(ends.into_iter().map(|end| Open { prompt: end.text, cache: end.cache, last: [0] }));
            for (row, first) in rows.iter().zip(first.chunks_exact(width)) {
                row.texts.iter().for_each(|_| hidden.extend(first)); // equal prompts share a row
            }
            let by = of_answers.as_ref().unwrap_or(self);
            let next = by.next(&hidden, open.iter().map(|o| o.prompt).collect(), choosers, threads)?;
            let mut next = next.into_iter();
            open.retain_mut(|o| match next.next().flatten() {
                Some(id) => {
                    answers[o.prompt].push(id);
                    o.last = [id];
                    answers[o.prompt].len() < max_tokens
                }
                None => false,
            });
        }
        Ok(answers)
    }

    /// The logits of the last token of `prompt`, and exactly `more` greedy ids after it.
    pub fn continued(&self, prompt: &[u32], more: usize, threads: usize) -> Result<(Vec<f32>, Vec<u32>), DecodeError> {
        struct Keep(Option<Vec<f32>>);
        impl Choose for Keep {
            fn choose(&mut self, logits: &mut [f32]) -> Option<u32> {
                self.0.get_or_insert_with(|| logits.to_vec());
                Greedy { stop: &[] }.choose(logits)
            }
        }
        self.check_prompt(prompt, more)?;
        let mut first = [Keep(None)];
        // The logits are those of a token that is chosen, be it wanted or not.
        let mut ids = self.generate_checked(&[prompt.to_vec()], &mut first, more.max(1), threads)?.concat();
        ids.truncate(more);
        let [Keep(logits)] = first;
        Ok((logits.unwrap_or_default(), ids))
    }

    /// What is chosen for each of some prompts, given a row of `hidden` for each.
    fn next<C: Choose>(
        &self,
        hidden: &[f32],
        prompts: Vec<usize>,
        choosers: &mut [C],
        threads: usize,
    ) -> Result<Vec<Option<u32>>, DecodeError> {
        let mut of: Vec<Option<&mut C>> = choosers.iter_mut().map(Some).collect();
        let mut next = Vec::with_capacity(prompts.len());
        let vocab = self.config().vocab_size;
        for (hidden, prompts) in hidden.chunks(HEAD * self.config().hidden_size).zip(prompts.chunks(HEAD)) {
            let mut logits = Scratch::take(prompts.len() * vocab);
            self.logits_into(hidden, &mut logits, threads)?;
            let choosers = prompts.iter().map(|&n| of[n].take());
            let mut work: Vec<_> =
                choosers.zip(logits.chunks_exact_mut(vocab)).map(|(c, row)| (c, row, None)).collect();
            parallel::pieces(threads, prompts.len() * vocab, &mut work, 1, |_, work| {
                for (chooser, logits, chosen) in work {
                    *chosen = chooser.as_mut().and_then(|chooser| chooser.choose(logits));
                }
            });
            next.extend(work.into_iter().map(|(_, _, chosen)| chosen));
        }
        Ok(next)
    }

    /// What `f` makes of the logits of each row of `hidden`, in order.
    pub(super) fn each_row<T: Send>(
        &self,
        hidden: &[f32],
        threads: usize,
        f: impl Fn(usize, &[f32]) -> T + Sync,
    ) -> Result<Vec<T>, DecodeError> {
        let (width, vocab) = (self.config().hidden_size, self.config().vocab_size);
        let mut found: Vec<Option<T>> = (0..hidden.len() / width).map(|_| None).collect();
        for (block, (hidden, found)) in hidden.chunks(HEAD * width).zip(found.chunks_mut(HEAD)).enumerate() {
            let mut logits = Scratch::take(found.len() * vocab);
            self.logits_into(hidden, &mut logits, threads)?;
            parallel::pieces(threads, logits.len() * 8, found, 1, |i, found| {
                found.fill_with(|| Some(f(block * HEAD + i, &logits[i * vocab..(i + 1) * vocab])));
            });
        }
        Ok(found.into_iter().flatten().collect())
    }

    pub(super) fn check_prompt(&self, prompt: &[u32], more: usize) -> Result<(), DecodeError> {
        if prompt.is_empty() {
            return Err(DecodeError::EmptyPrompt);
        }
        self.check_ids(prompt)?;
        let limit = self.config().max_positions;
        let length = prompt.len().saturating_add(more);
        if length > limit { Err(DecodeError::TooLong { length, limit }) } else { Ok(()) }
    }

    pub(super) fn check_ids(&self, ids: &[u32]) -> Result<(), DecodeError> {
        let vocab_size = self.config().vocab_size;
        match ids.iter().find(|&&id| id as usize >= vocab_size) {
            Some(&id) => Err(DecodeError::TokenRange { id, vocab_size }),
            None => Ok(()),
        }
    }
}
