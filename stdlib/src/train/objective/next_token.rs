//! Next-token prediction.

use evo_kernels::backprop::{Batch, Goal, Gradients, Network, Workspace};

use super::parts::{Part, parts};
use super::{Learned, Objective};
use crate::train::{Example, TrainError};

/// Minus the mean log-probability of the targets: nats a target token. What is given is not learned.
#[derive(Debug, Clone)]
pub struct NextToken {
    examples: Vec<Example>,
}

impl NextToken {
    /// Learns these examples.
    ///
    /// # Errors
    /// [`TrainError::NothingToLearn`] without an example, [`TrainError::NoTarget`] for one without a target.
    pub fn new(examples: Vec<Example>) -> Result<Self, TrainError> {
        if examples.is_empty() {
            return Err(TrainError::NothingToLearn);
        }
        match examples.iter().position(|example| example.targets() == 0) {
            Some(row) => Err(TrainError::NoTarget { row }),
            None => Ok(Self { examples }),
        }
    }

    /// The packed parts of these units.
    pub(super) fn parts(&self, units: &[usize]) -> Vec<Part> {
        parts(units.iter().filter_map(|index| self.examples.get(*index..*index + 1)))
    }
}

/// The targets of all parts, at least one.
pub(super) fn targets(parts: &[Part]) -> usize {
    parts.iter().map(|part| part.batch.targets()).sum::<usize>().max(1)
}

/// Forward and reverse of parts with one slope for every target; the sum of the targets' values.
pub(super) fn learn(
    network: &Network,
    ws: &mut Workspace,
    (parts, goal): (&[Part], &Goal<'_>),
    slope: f64,
    gradients: &mut Gradients,
) -> f64 {
    let one = |batch: &Batch| {
        let slopes = vec![slope as f32; batch.targets()];
        let values = network.learn(ws, batch, goal, &slopes, gradients);
        values.iter().map(|value| f64::from(*value)).sum::<f64>()
    };
    parts.iter().map(|part| &part.batch).map(one).sum()
}

impl Objective for NextToken {
    fn units(&self) -> usize {
        self.examples.len()
    }

    fn learn(
        &self,
        network: &Network,
        ws: &mut Workspace,
        units: &[usize],
        gradients: &mut Gradients,
    ) -> Result<Learned, TrainError> {
        let parts = self.parts(units);
        let count = targets(&parts) as f64;
        let sum = learn(network, ws, (&parts, &Goal::Tokens), -1.0 / count, gradients);
        let tokens = parts.iter().map(|part| part.batch.tokens()).sum();
        Ok(Learned { loss: -sum / count, tokens, metrics: Vec::new() })
    }

    fn evaluate(&self, network: &Network, ws: &mut Workspace) -> Result<f64, TrainError> {
        let parts = self.parts(&(0..self.units()).collect::<Vec<_>>());
        let mut sum = 0.0;
        for part in &parts {
            sum += network.log_probabilities(ws, &part.batch).iter().map(|&l| f64::from(l)).sum::<f64>();
        }
        Ok(-sum / targets(&parts) as f64)
    }
}
