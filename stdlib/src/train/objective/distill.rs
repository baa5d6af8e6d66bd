//! Distillation: a teacher's distribution over the next token, not only the token.

use evo_kernels::backprop::{Goal, Gradients, Network, Workspace};

use super::next_token::{learn, targets};
use super::{Learned, NextToken, Objective, same_vocabulary};
use crate::model::Model;
use crate::train::network::network;
use crate::train::{Example, TrainError, Update};

/// `weight · T² · KL(teacher ‖ student)`, both at temperature `T`, and `1 − weight` of the next-token loss, in the mean over the
/// targets (Hinton et al., 2015, "Distilling the knowledge in a neural network").
#[derive(Debug)]
pub struct Distillation {
    examples: NextToken,
    teacher: Network,
    temperature: f32,
    weight: f64,
}

impl Distillation {
    /// Learns from `teacher` what comes next in these examples, which are `student`'s.
    ///
    /// # Errors
    /// [`TrainError::Vocabulary`] if the models do not share a tokenizer, [`TrainError::TooLong`] for an example that outgrows
    /// the teacher, [`TrainError::Setting`], and as [`NextToken::new`].
    pub fn new(
        student: &Model,
        examples: Vec<Example>,
        teacher: &Model,
        (temperature, weight): (f64, f64),
        threads: usize,
    ) -> Result<Self, TrainError> {
        let setting = |setting, holds: bool, problem: &str| match holds {
            true => Ok(()),
            false => Err(TrainError::Setting { setting, problem: problem.to_owned() }),
        };
        setting("temperature", temperature > 0.0 && temperature.is_finite(), "must be a positive number")?;
        setting("weight", (0.0..=1.0).contains(&weight), "must lie in 0..1")?;
        same_vocabulary(student, teacher)?;
        let positions = teacher.config.max_positions;
        let long =
            |(row, example): (usize, &Example)| Some((row, example.tokens.len())).filter(|(_, n)| *n > positions);
        if let Some((row, tokens)) = examples.iter().enumerate().find_map(long) {
            return Err(TrainError::TooLong { row, tokens, model: teacher.name.clone(), positions });
        }
        let teacher = network(teacher, &Update::default(), threads)?;
        Ok(Self { examples: NextToken::new(examples)?, teacher, temperature: temperature as f32, weight })
    }
}

impl Objective for Distillation {
    fn units(&self) -> usize {
        self.examples.units()
    }

    fn learn(
        &self,
        network: &Network,
        ws: &mut Workspace,
        units: &[usize],
        gradients: &mut Gradients,
    ) -> Result<Learned, TrainError> {
        let parts = self.examples.parts(units);
        let count = targets(&parts) as f64;
        let teacher = Goal::Teacher { network: &self.teacher, temperature: self.temperature };
        let mut loss = 0.0;
        let mut metrics = Vec::new();
        for (goal, weight, name) in
            [(&teacher, self.weight, "divergence"), (&Goal::Tokens, 1.0 - self.weight, "next_token")]
        {
            if weight > 0.0 {
                let mean = -learn(network, ws, (&parts, goal), -weight / count, gradients) / count;
                loss += weight * mean;
                metrics.push((name, mean));
            }
        }
        Ok(Learned { loss, tokens: parts.iter().map(|part| part.batch.tokens()).sum(), metrics })
    }

    /// As costly as learning: the engine tells a divergence only with its slopes.
    fn evaluate(&self, network: &Network, ws: &mut Workspace) -> Result<f64, TrainError> {
        let units: Vec<usize> = (0..self.units()).collect();
        let mut unused = network.gradients();
        Ok(self.learn(network, ws, &units, &mut unused)?.loss)
    }
}
