//! Next-token prediction.

use evo_kernels::backprop::{Batch, Goal, Gradients, Network, Workspace};

use super::{Learned, Objective};
use crate::train::{Example, TrainError};

/// Input tokens that go through the network together. A batch is cut into parts of about this size, which bounds memory
/// and keeps activations in the cache; it does not depend on the machine, since the cut orders the sums.
const PART: usize = 512;

/// Minus the mean log-probability of the targets: nats a target token. What is given is not learned.
#[derive(Debug, Clone)]
pub struct NextToken {
    examples: Vec<Example>,
}

impl NextToken {
    /// Learns these examples.
    ///
    /// # Errors
    /// [`TrainError::NothingToLearn`] if no example has a target.
    pub fn new(examples: Vec<Example>) -> Result<Self, TrainError> {
        match examples.iter().any(|example| example.tokens.len() > example.given.max(1)) {
            true => Ok(Self { examples }),
            false => Err(TrainError::NothingToLearn),
        }
    }
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
        let parts = parts(units.iter().filter_map(|index| self.examples.get(*index)));
        let targets = parts.iter().map(Batch::targets).sum::<usize>();
        let mut learned = Learned::default();
        for part in &parts {
            let slopes = vec![-1.0 / targets as f32; part.targets()];
            let values = network.learn(ws, part, &Goal::Tokens, &slopes, gradients);
            learned.loss -= values.iter().map(|&l| f64::from(l)).sum::<f64>();
            learned.tokens += part.tokens();
        }
        // A batch may hold only examples without a target.
        learned.loss /= targets.max(1) as f64;
        Ok(learned)
    }

    fn evaluate(&self, network: &Network, ws: &mut Workspace) -> Result<f64, TrainError> {
        let parts = parts(self.examples.iter());
        let targets = parts.iter().map(Batch::targets).sum::<usize>();
        let mut sum = 0.0;
        for part in &parts {
            sum -= network.log_probabilities(ws, part).iter().map(|&l| f64::from(l)).sum::<f64>();
        }
        Ok(sum / targets.max(1) as f64)
    }
}

/// Cuts a batch into packed parts of about [`PART`] tokens.
fn parts<'a>(examples: impl Iterator<Item = &'a Example>) -> Vec<Batch> {
    let mut parts: Vec<Batch> = Vec::new();
    for example in examples {
        match parts.last_mut() {
            Some(last) if last.tokens() + example.tokens.len() <= PART => last.push(&example.tokens, example.given),
            _ => {
                let mut part = Batch::default();
                part.push(&example.tokens, example.given);
                parts.push(part);
            }
        }
    }
    parts.retain(|part| part.targets() > 0);
    parts
}
