//! What evaluation asks of a decoder: greedy answers and the log-probabilities of given ones, for many prompts at once.
//!
//! Tokens that all prompts begin with are computed once, and equal prompts once each. None of this changes a bit of a
//! result, since a row of [`Decoder::hidden`] depends on its own sequence alone.

use indexmap::IndexMap;

use super::{Cache, DecodeError, Decoder, Entry, vector};

/// Sequences that are open at one time; bounds the memory of their caches.
const OPEN: usize = 32;
/// Tokens of one pass; bounds the memory of activations, and is enough to keep the matrix product busy.
const PASS: usize = 512;
/// Rows that go through the head at one time; bounds the memory of logits.
const HEAD: usize = 64;
/// Common tokens for which it is worth keeping a cache to copy from.
const WORTH_SHARING: usize = 8;

/// A stretch of tokens to run on a cache.
struct Stretch<'a> {
    tokens: &'a [u32],
    cache: Cache,
    wanted: usize,
}

impl Decoder {
    /// The greedy continuation of each prompt: at most `max_tokens` ids, ending before the first of `stop`.
    /// Of equal logits the lowest id is taken.
    ///
    /// An error for an empty prompt, an id outside the vocabulary, or a prompt that with its answer outgrows the model.
    pub fn greedy(
        &self,
        prompts: &[Vec<u32>],
        max_tokens: usize,
        stop: &[u32],
        threads: usize,
    ) -> Result<Vec<Vec<u32>>, DecodeError> {
        let inputs: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
        self.check_prompts(&inputs, max_tokens)?;
        let (shared, base) = self.shared_prefix(&inputs, threads)?;
        let mut answers = vec![Vec::new(); prompts.len()];
        if max_tokens == 0 {
            return Ok(answers);
        }
        for first in (0..prompts.len()).step_by(OPEN) {
            let group = first..(first + OPEN).min(prompts.len());
            let mut stretches: Vec<Stretch<'_>> = inputs[group.clone()]
                .iter()
                .map(|prompt| Stretch {
                    tokens: &prompt[shared..],
                    cache: base.fork(prompt.len() + max_tokens),
                    wanted: 1,
                })
                .collect();
            let hidden = self.run(&mut stretches, threads)?;
            let caches = stretches.into_iter().map(|stretch| stretch.cache).collect();
            self.continue_greedily(hidden, caches, &mut answers[group], max_tokens, stop, threads)?;
        }
        Ok(answers)
    }

    /// The logits of the last token of `prompt`, and exactly `more` greedy ids after it.
    pub fn continued(&self, prompt: &[u32], more: usize, threads: usize) -> Result<(Vec<f32>, Vec<u32>), DecodeError> {
        self.check_prompts(&[prompt], more)?;
        let mut stretches = [Stretch { tokens: prompt, cache: self.cache(prompt.len() + more), wanted: 1 }];
        let hidden = self.run(&mut stretches, threads)?;
        let logits = self.logits(&hidden, threads);
        let mut answers = [Vec::new()];
        if more > 0 {
            let caches = stretches.into_iter().map(|stretch| stretch.cache).collect();
            self.continue_greedily(hidden, caches, &mut answers, more, &[], threads)?;
        }
        let [answer] = answers;
        Ok((logits, answer))
    }

    /// Token by token, until each answer ended or has `max_tokens`.
    fn continue_greedily(
        &self,
        mut hidden: Vec<f32>,
        caches: Vec<Cache>,
        answers: &mut [Vec<u32>],
        max_tokens: usize,
        stop: &[u32],
        threads: usize,
    ) -> Result<(), DecodeError> {
        let mut open: Vec<(usize, Cache)> = caches.into_iter().enumerate().collect();
        loop {
            let next = self.best(&hidden, threads);
            let mut tokens = Vec::new();
            let mut still_open = Vec::new();
            for ((index, cache), token) in open.into_iter().zip(next) {
                if stop.contains(&token) {
                    continue;
                }
                answers[index].push(token);
                if answers[index].len() < max_tokens {
                    tokens.push([token]);
                    still_open.push((index, cache));
                }
            }
            open = still_open;
            if open.is_empty() {
                return Ok(());
            }
            let mut batch: Vec<Entry<'_>> =
                open.iter_mut().zip(&tokens).map(|((_, cache), tokens)| Entry { tokens, cache, wanted: 1 }).collect();
            hidden = self.hidden(&mut batch, threads)?;
        }
    }

    /// The id of the largest logit of each row.
    fn best(&self, hidden: &[f32], threads: usize) -> Vec<u32> {
        let mut ids = Vec::new();
        self.each_logits(hidden, threads, |_, logits| ids.push(vector::argmax(logits) as u32));
        ids
    }

    /// The log-probability of each token of each continuation, given its prompt and the continuation's earlier tokens.
    ///
    /// `pairs` are (prompt, continuation). An error for an empty prompt, an id outside the vocabulary, or a pair that
    /// outgrows the model. An empty continuation has no log-probabilities.
    pub fn logprobs(&self, pairs: &[(&[u32], &[u32])], threads: usize) -> Result<Vec<Vec<f32>>, DecodeError> {
        for &(prompt, continuation) in pairs {
            self.check_prompts(&[prompt], continuation.len())?;
            self.check_ids(continuation)?;
        }
        let mut by_prompt: IndexMap<&[u32], Vec<usize>> = IndexMap::new();
        for (i, (prompt, _)) in pairs.iter().enumerate() {
            by_prompt.entry(prompt).or_default().push(i);
        }
        let prompts: Vec<&[u32]> = by_prompt.keys().copied().collect();
        let (shared, base) = self.shared_prefix(&prompts, threads)?;
        let mut result = vec![Vec::new(); pairs.len()];
        let groups: Vec<(&[u32], Vec<usize>)> = by_prompt.into_iter().collect();
        for group in groups.chunks(OPEN) {
            self.logprobs_of(group, pairs, (shared, &base), &mut result, threads)?;
        }
        Ok(result)
    }

    /// The same for a few different prompts, each with the indices of its pairs: first the prompts, then, from copies of
    /// their caches, the continuations.
    fn logprobs_of(
        &self,
        group: &[(&[u32], Vec<usize>)],
        pairs: &[(&[u32], &[u32])],
        (shared, base): (usize, &Cache),
        result: &mut [Vec<f32>],
        threads: usize,
    ) -> Result<(), DecodeError> {
        let room = |indices: &[usize]| indices.iter().map(|&i| pairs[i].1.len()).max().unwrap_or(0);
        let mut stretches: Vec<Stretch<'_>> = group
            .iter()
            .map(|(prompt, indices)| Stretch {
                tokens: &prompt[shared..],
                cache: base.fork(prompt.len() + room(indices)),
                wanted: 1,
            })
            .collect();
        let hidden = self.run(&mut stretches, threads)?;
        self.each_logits(&hidden, threads, |row, logits| {
            for &i in &group[row].1 {
                if let Some(&first) = pairs[i].1.first() {
                    result[i].push(logprob(logits, first));
                }
            }
        });
        let rest: Vec<(usize, usize)> = group
            .iter()
            .enumerate()
            .flat_map(|(row, (_, indices))| indices.iter().map(move |&i| (row, i)))
            .filter(|&(_, i)| pairs[i].1.len() > 1)
            .collect();
        for some in rest.chunks(OPEN) {
            let mut continuations: Vec<Stretch<'_>> = some
                .iter()
                .map(|&(row, i)| {
                    let tokens = &pairs[i].1[..pairs[i].1.len() - 1];
                    let cache = &stretches[row].cache;
                    Stretch { tokens, cache: cache.fork(cache.len() + tokens.len()), wanted: tokens.len() }
                })
                .collect();
            let hidden = self.run(&mut continuations, threads)?;
            let targets = some.iter().flat_map(|&(_, i)| pairs[i].1[1..].iter().map(move |&id| (i, id)));
            let targets: Vec<(usize, u32)> = targets.collect();
            self.each_logits(&hidden, threads, |row, logits| {
                let (i, id) = targets[row];
                result[i].push(logprob(logits, id));
            });
        }
        Ok(())
    }

    /// Calls `f` with the logits of each row of `hidden`, in order.
    fn each_logits(&self, hidden: &[f32], threads: usize, mut f: impl FnMut(usize, &[f32])) {
        let mut row = 0;
        for block in hidden.chunks(HEAD * self.config().hidden_size) {
            let logits = self.logits(block, threads);
            for logits in logits.chunks_exact(self.config().vocab_size) {
                f(row, logits);
                row += 1;
            }
        }
    }

    /// Runs all stretches, in passes of bounded size; the wanted rows of all, in order.
    fn run(&self, stretches: &mut [Stretch<'_>], threads: usize) -> Result<Vec<f32>, DecodeError> {
        let mut hidden = Vec::new();
        let mut batch: Vec<Entry<'_>> = Vec::new();
        let mut room = PASS;
        for stretch in stretches {
            let mut rest = stretch.tokens;
            if !batch.is_empty() && rest.len() > room {
                hidden.extend(self.hidden(&mut std::mem::take(&mut batch), threads)?);
                room = PASS;
            }
            while rest.len() > PASS {
                let (tokens, later) = rest.split_at(PASS);
                let wanted = stretch.wanted.saturating_sub(later.len());
                let cache = &mut stretch.cache;
                hidden.extend(self.hidden(&mut [Entry { tokens, cache, wanted }], threads)?);
                rest = later;
            }
            room -= rest.len();
            batch.push(Entry { tokens: rest, cache: &mut stretch.cache, wanted: stretch.wanted.min(rest.len()) });
        }
        if !batch.is_empty() {
            hidden.extend(self.hidden(&mut batch, threads)?);
        }
        Ok(hidden)
    }

    /// The tokens that all prompts begin with (short of their last tokens), and a cache that has seen them.
    fn shared_prefix(&self, prompts: &[&[u32]], threads: usize) -> Result<(usize, Cache), DecodeError> {
        let mut shared = prompts.iter().map(|p| p.len() - 1).min().unwrap_or(0);
        if let Some((first, others)) = prompts.split_first() {
            for other in others {
                let same = first.iter().zip(*other).take(shared);
                shared = same.take_while(|(a, b)| a == b).count();
            }
            if !others.is_empty() && shared >= WORTH_SHARING {
                let cache = self.cache(shared);
                let tokens = &first[..shared];
                let mut stretches = [Stretch { tokens, cache, wanted: 0 }];
                self.run(&mut stretches, threads)?;
                let [stretch] = stretches;
                return Ok((shared, stretch.cache));
            }
        }
        Ok((0, self.cache(0)))
    }

    fn check_prompts(&self, prompts: &[&[u32]], more: usize) -> Result<(), DecodeError> {
        let limit = self.config().max_positions;
        for prompt in prompts {
            if prompt.is_empty() {
                return Err(DecodeError::EmptyPrompt);
            }
            self.check_ids(prompt)?;
            let length = prompt.len().saturating_add(more);
            if length > limit {
                return Err(DecodeError::TooLong { length, limit });
            }
        }
        Ok(())
    }

    fn check_ids(&self, ids: &[u32]) -> Result<(), DecodeError> {
        let vocab_size = self.config().vocab_size;
        match ids.iter().find(|&&id| id as usize >= vocab_size) {
            Some(&id) => Err(DecodeError::TokenRange { id, vocab_size }),
            None => Ok(()),
        }
    }
}

fn logprob(logits: &[f32], id: u32) -> f32 {
    (f64::from(logits[id as usize]) - vector::log_sum_exp(logits)) as f32
}
