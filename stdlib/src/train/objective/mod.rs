//! What a training learns: losses over units that are drawn in shuffled order, and their gradients.
//!
//! The loop ([`super::train`]) draws units, asks an [`Objective`] for the gradients of the mean loss over them, and steps. It knows
//! neither tokens nor losses.

pub(super) mod bind;
mod classify;
mod distill;
mod next_token;
mod parts;
mod preference;
mod reinforce;
mod spec;
mod sums;

#[cfg(test)]
mod tests;

use evo_kernels::backprop::{Gradients, Network, Workspace};

use super::TrainError;
use crate::model::Model;

pub use classify::{Classification, check_labels};
pub use distill::Distillation;
pub use next_token::NextToken;
pub use parts::PART;
pub use preference::{PairTemplates, Pairs, Preference, preference_accuracy};
pub use reinforce::{Baseline, ReinforceSettings, Reinforcement, Reward, Rollout};
pub use spec::ObjectiveSpec;

/// A loss over units, such as examples or pairs, with its gradient.
///
/// What it returns depends on nothing but the network and the units: neither on threads nor on what was asked before.
pub trait Objective: Sync {
    /// How many units there are; they are shuffled and drawn by number.
    fn units(&self) -> usize;

    /// Forward and reverse pass of these units (a whole batch, accumulated micro-batches and all): adds the gradients of the MEAN loss
    /// over them. How they are cut into parts that go through the network together is the objective's; it bounds memory and must
    /// not depend on the machine.
    ///
    /// # Errors
    /// [`TrainError`] if a unit cannot be learned.
    fn learn(
        &self,
        network: &Network,
        ws: &mut Workspace,
        units: &[usize],
        gradients: &mut Gradients,
    ) -> Result<Learned, TrainError>;

    /// The mean loss over all units; no gradients.
    ///
    /// # Errors
    /// [`TrainError`] if a unit cannot be scored.
    fn evaluate(&self, network: &Network, ws: &mut Workspace) -> Result<f64, TrainError>;
}

/// What came of the units of a step.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Learned {
    /// Their mean loss, before the step.
    pub loss: f64,
    /// The input tokens that went through the network.
    pub tokens: usize,
    /// Further means, such as the accuracy, by name.
    pub metrics: Vec<(&'static str, f64)>,
}

/// Whether a token means the same to both.
fn same_vocabulary(model: &Model, other: &Model) -> Result<(), TrainError> {
    let prints = [model, other].map(|model| model.tokenizer.as_ref().map(|t| t.fingerprint()));
    let sizes = (model.config.vocab_size, other.config.vocab_size);
    if sizes.0 == sizes.1 && prints[0] == prints[1] {
        return Ok(());
    }
    Err(TrainError::Vocabulary { model: model.name.clone(), other: other.name.clone(), sizes })
}
