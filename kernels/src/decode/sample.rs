//! The next token: greedy, or drawn at random from what temperature, top-k, top-p and min-p leave.
//!
//! Meanings and their order are those of Hugging Face transformers: repetition penalty, temperature, top-k, top-p, min-p,
//! draw. Draw `n` of an answer is draw `n` of its random stream, so an answer depends on its own seed alone.

use super::{Choose, Greedy};
use crate::rng::Stream;
use crate::vector;

/// How the next token is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Divides the logits; 0 takes the most likely token.
    pub temperature: f32,
    /// Only the `k` most likely tokens (and those as likely as the last of them); 0 leaves all.
    pub top_k: usize,
    /// Only the most likely tokens that together have at least this probability, in (0, 1]; 1 leaves all
    /// (nucleus sampling; Holtzman et al., 2020).
    pub top_p: f32,
    /// Only tokens at least this probable in proportion to the most likely one, in [0, 1] (Nguyen et al., 2024).
    pub min_p: f32,
    /// Divides the logits of tokens that the prompt or the answer has, if positive, else multiplies them; 1 does nothing
    /// (Keskar et al., 2019).
    pub repetition_penalty: f32,
}

impl Default for Sampling {
    /// Draws from the model's own distribution.
    fn default() -> Self {
        Self { temperature: 1.0, top_k: 0, top_p: 1.0, min_p: 0.0, repetition_penalty: 1.0 }
    }
}

/// Draws the tokens of one answer.
#[derive(Clone, Debug)]
pub struct Sampler<'a> {
    /// How to draw.
    pub sampling: Sampling,
    /// The ids that end an answer.
    pub stop: &'a [u32],
    /// The answer's random stream.
    pub stream: Stream,
    /// Ids of prompt and answer, ascending, each once; empty without a repetition penalty.
    seen: Vec<u32>,
    draws: u64,
}

impl<'a> Sampler<'a> {
    /// A sampler of the answer to `prompt`.
    pub fn new(sampling: Sampling, stop: &'a [u32], stream: Stream, prompt: &[u32]) -> Self {
        let mut seen = if sampling.repetition_penalty == 1.0 { Vec::new() } else { prompt.to_vec() };
        seen.sort_unstable();
        seen.dedup();
        Self { sampling, stop, stream, seen, draws: 0 }
    }
}

impl Choose for Sampler<'_> {
    fn choose(&mut self, logits: &mut [f32]) -> Option<u32> {
        let penalty = self.sampling.repetition_penalty;
        for &id in &self.seen {
            let x = &mut logits[id as usize];
            *x = if *x < 0.0 { *x * penalty } else { *x / penalty };
        }
        let id = if self.sampling.temperature == 0.0 {
            vector::argmax(logits) as u32
        } else {
            let draw = self.stream.uniform(self.draws);
            self.draws += 1;
            drawn(&self.sampling, logits, draw)
        };
        if penalty != 1.0
            && let Err(at) = self.seen.binary_search(&id)
        {
            self.seen.insert(at, id);
        }
        Greedy { stop: self.stop }.unless_stopped(id)
    }
}

/// The token that a uniform draw from [0, 1) falls on, going through those that are left in ascending order of their ids.
fn drawn(sampling: &Sampling, logits: &mut [f32], draw: f64) -> u32 {
    logits.iter_mut().for_each(|x| *x /= sampling.temperature);
    let left = left(sampling, logits);
    // Weights are relative to the largest logit; an infinite one takes all.
    let most = left.iter().fold(f32::NEG_INFINITY, |most, &(_, x)| most.max(x));
    if !most.is_finite() {
        return vector::argmax(logits) as u32;
    }
    let weights = left.iter().map(|&(id, x)| (id, libm::exp(f64::from(x) - f64::from(most))));
    let weights: Vec<(u32, f64)> = weights.collect();
    let mut rest = draw * weights.iter().map(|(_, w)| w).sum::<f64>();
    for &(id, weight) in &weights {
        if rest < weight {
            return id;
        }
        rest -= weight;
    }
    // Rounding can leave a last sliver; it belongs to the last token that has any weight.
    weights.iter().rev().find(|(_, weight)| *weight > 0.0).map_or(0, |&(id, _)| id)
}

/// The tokens that top-k, top-p and min-p leave, with their logits, in ascending order of their ids.
fn left(sampling: &Sampling, logits: &[f32]) -> Vec<(u32, f32)> {
    let all = logits.iter().enumerate().filter(|(_, x)| !x.is_nan());
    let mut left: Vec<(u32, f32)> = all.map(|(id, &x)| (id as u32, x)).collect();
    let descending = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    if sampling.top_k > 0 && sampling.top_k < left.len() {
        let (_, &mut (_, last), _) = left.select_nth_unstable_by(sampling.top_k - 1, descending);
        left.retain(|&(_, x)| x >= last);
    }
    let most = left.iter().fold(f32::NEG_INFINITY, |most, &(_, x)| most.max(x));
    let weight = |x: f32| libm::exp(f64::from(x) - f64::from(most));
    if sampling.top_p < 1.0 {
        left.sort_unstable_by(descending);
        let enough = f64::from(sampling.top_p) * left.iter().map(|&(_, x)| weight(x)).sum::<f64>();
        let mut sum = 0.0;
        let keep = left.iter().position(|&(_, x)| {
            sum += weight(x);
            sum >= enough
        });
        left.truncate(keep.map_or(left.len(), |last| last + 1));
    }
    if sampling.min_p > 0.0 {
        left.retain(|&(_, x)| weight(x) >= f64::from(sampling.min_p));
    }
    left.sort_unstable_by_key(|&(id, _)| id);
    left
}

/// The log-probability of a token in nats, and the `top` likeliest tokens with theirs, the likeliest first; of equal ones the
/// lowest id comes first.
pub fn log_probability(logits: &[f32], id: u32, top: usize) -> (f32, Vec<(u32, f32)>) {
    let sum = vector::log_sum_exp(logits);
    let of = |id: u32| (f64::from(logits[id as usize]) - sum) as f32;
    let mut best: Vec<u32> = Vec::with_capacity(top + 1);
    for (candidate, &x) in logits.iter().enumerate() {
        if best.len() == top && best.last().is_none_or(|&last| x <= logits[last as usize]) {
            continue;
        }
        best.insert(best.partition_point(|&better| logits[better as usize] >= x), candidate as u32);
        best.truncate(top);
    }
    (of(id), best.into_iter().map(|id| (id, of(id))).collect())
}

#[cfg(test)]
mod tests {
    //! What is left to draw from, and how often what is drawn.

    use super::*;

    const LOGITS: [f32; 5] = [0.0, 2.0, 1.0, f32::NEG_INFINITY, 2.0];

    fn kept(sampling: Sampling) -> Vec<u32> {
        left(&sampling, &LOGITS).into_iter().map(|(id, _)| id).collect()
    }

    #[test]
    fn each_limit_leaves_what_it_says() {
        let all = Sampling::default();
        assert_eq!(kept(all), [0, 1, 2, 3, 4]);
        assert_eq!(kept(Sampling { top_k: 1, ..all }), [1, 4], "as likely as the first");
        assert_eq!(kept(Sampling { top_k: 3, ..all }), [1, 2, 4]);
        // Probabilities: .397, .397, .146, .054, 0.
        assert_eq!(kept(Sampling { top_p: 0.39, ..all }), [1]);
        assert_eq!(kept(Sampling { top_p: 0.5, ..all }), [1, 4]);
        assert_eq!(kept(Sampling { top_p: 0.9, ..all }), [1, 2, 4]);
        assert_eq!(kept(Sampling { min_p: 0.36, ..all }), [1, 2, 4]);
        assert_eq!(kept(Sampling { top_p: 1e-9, min_p: 1.0, ..all }), [1]);
    }

    #[test]
    fn draws_follow_the_probabilities_and_the_seed() {
        let stream = Stream::from_seed(3);
        let sampling = Sampling { temperature: 0.5, ..Sampling::default() };
        let mut counts = [0usize; 5];
        let mut sampler = Sampler::new(sampling, &[], stream, &[]);
        for _ in 0..20_000 {
            counts[sampler.choose(&mut LOGITS.clone()).unwrap() as usize] += 1;
        }
        let weights: Vec<f64> = LOGITS.iter().map(|&x| f64::from(x * 2.0).exp()).collect();
        for (count, weight) in counts.iter().zip(&weights) {
            let share = weight / weights.iter().sum::<f64>();
            let deviation = (*count as f64 - 20_000.0 * share).abs();
            assert!(deviation <= 5.0 * (20_000.0 * share * (1.0 - share)).sqrt(), "{counts:?}");
        }
        let twice = |seed| {
            let mut sampler = Sampler::new(sampling, &[], Stream::from_seed(seed), &[]);
            (0..30).map(|_| sampler.choose(&mut LOGITS.clone()).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(twice(3), twice(3));
        assert_ne!(twice(3), twice(4));
    }

    #[test]
    fn a_penalty_counts_prompt_and_answer_and_stops_end_it() {
        let sampling = Sampling { temperature: 0.0, repetition_penalty: 2.5, ..Sampling::default() };
        let mut sampler = Sampler::new(sampling, &[0], Stream::from_seed(1), &[1, 1]);
        let logits = [0.7f32, 2.0, 1.0, -1.0];
        let next = |sampler: &mut Sampler<'_>| sampler.choose(&mut logits.clone());
        assert_eq!(next(&mut sampler), Some(2)); // 1 has 2 / 2.5 = .8
        assert_eq!(next(&mut sampler), Some(1)); // 2 has .4 now
        assert_eq!(next(&mut sampler), Some(1)); // a token is punished once, however often it came
        let mut sampler = Sampler::new(sampling, &[0], Stream::from_seed(1), &[1, 2]);
        assert_eq!(sampler.choose(&mut [0.9, 2.0, 1.0, -1.0]), None);
    }

    #[test]
    fn what_is_no_number_is_never_drawn() {
        let mut sampler = Sampler::new(Sampling::default(), &[], Stream::from_seed(1), &[]);
        assert_eq!(sampler.choose(&mut [f32::NAN, 0.5, f32::NAN]), Some(1));
        assert_eq!(sampler.choose(&mut [0.0, f32::INFINITY, 1.0]), Some(1));
        assert_eq!(sampler.choose(&mut [f32::NAN; 3]), Some(0));
    }

    #[test]
    fn the_likeliest_tokens_come_first_of_equals_the_lowest() {
        let (of_two, top) = log_probability(&LOGITS, 2, 3);
        assert_eq!(top.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [1, 4, 2]);
        assert_eq!(of_two, top[2].1);
        let sum: f64 = log_probability(&LOGITS, 0, 5).1.iter().map(|(_, l)| f64::from(*l).exp()).sum();
        assert!((sum - 1.0).abs() < 1e-6);
        assert_eq!(log_probability(&LOGITS, 2, 0).1, []);
    }
}
