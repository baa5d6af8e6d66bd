//! Losses of whole sequences: what they make of the sums of their targets' log-probabilities.

use std::ops::Range;

use evo_kernels::backprop::{Goal, Gradients, Network, Workspace};

use super::Learned;
use super::parts::{Part, parts};
use crate::train::{Example, TrainError};

/// What a loss says of some groups of a batch.
#[derive(Debug, Default)]
pub(super) struct Scored {
    /// The sum over the groups.
    pub(super) loss: f64,
    /// Its slope by the sum of each sequence.
    pub(super) slopes: Vec<f64>,
    /// Sums over the groups.
    pub(super) metrics: Vec<(&'static str, f64)>,
}

/// A loss over groups of sequences: given the places of groups in the batch and, in their order, the sum of the log-probabilities
/// of each sequence.
pub(super) type Score<'a> = &'a dyn Fn(Range<usize>, &[f64]) -> Result<Scored, TrainError>;

/// Forward and reverse of a batch of groups; the mean loss over the groups. If the loss couples groups, it sees all of them at
/// once: where the batch is more than one part, sums are computed before, without a tape, and each part goes through the network
/// twice.
pub(super) fn learn(
    network: &Network,
    ws: &mut Workspace,
    (groups, couples): (&[&[Example]], bool),
    score: Score<'_>,
    gradients: &mut Gradients,
) -> Result<Learned, TrainError> {
    let parts = parts(groups.iter().copied());
    let count = groups.len().max(1) as f64;
    let mut all = Scored::default();
    if couples && parts.len() > 1 {
        let sums = sums(network, ws, &parts);
        all = score(0..groups.len(), &sums)?;
        let mut slopes = all.slopes.as_slice();
        for part in &parts {
            let (own, rest) = slopes.split_at(part.targets.len().min(slopes.len()));
            slopes = rest;
            network.learn(ws, &part.batch, &Goal::Tokens, &mean(part, own, count), gradients);
        }
    } else {
        for part in &parts {
            let tape = network.forward(ws, &part.batch);
            let scored = score(part.groups.clone(), &part.sums(&tape.log_probabilities))?;
            network.backward(ws, &part.batch, tape, &mean(part, &scored.slopes, count), gradients);
            all.add(scored);
        }
    }
    let tokens = parts.iter().map(|part| part.batch.tokens()).sum();
    let metrics = all.metrics.into_iter().map(|(name, sum)| (name, sum / count)).collect();
    Ok(Learned { loss: all.loss / count, tokens, metrics })
}

/// The mean loss over groups, seen all at once; no gradients.
pub(super) fn evaluate(
    network: &Network,
    ws: &mut Workspace,
    groups: &[&[Example]],
    score: Score<'_>,
) -> Result<f64, TrainError> {
    let sums = sums(network, ws, &parts(groups.iter().copied()));
    Ok(score(0..groups.len(), &sums)?.loss / groups.len().max(1) as f64)
}

/// The sum of each sequence of all parts.
fn sums(network: &Network, ws: &mut Workspace, parts: &[Part]) -> Vec<f64> {
    parts.iter().flat_map(|part| part.sums(&network.log_probabilities(ws, &part.batch))).collect()
}

/// The slope of the mean by each target of a part.
fn mean(part: &Part, slopes: &[f64], count: f64) -> Vec<f32> {
    part.spread(&slopes.iter().map(|slope| slope / count).collect::<Vec<_>>())
}

impl Scored {
    fn add(&mut self, other: Scored) {
        self.loss += other.loss;
        for (name, value) in other.metrics {
            match self.metrics.iter_mut().find(|(known, _)| *known == name) {
                Some((_, sum)) => *sum += value,
                None => self.metrics.push((name, value)),
            }
        }
    }
}
