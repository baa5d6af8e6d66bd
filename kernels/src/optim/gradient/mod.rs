//! Optimizers that follow gradients: AdamW, Lion and Muon, and clipping by the global norm.
//!
//! A step is one pass over parameters, gradients and moments, shared among threads; no result depends on how many. What an
//! [`Optimizer`] remembers is plain data ([`Moments`]): taken up again under the same [`Rule`], it goes on to the bit.

mod elementwise;
mod muon;
mod norm;

#[cfg(test)]
mod tests;

use super::OptimError;
use crate::backprop::{Gradients, Parameter, Role};
use crate::matmul::{Units, parallel};

pub use muon::Adjust;
pub use norm::{clear, clip_norm};

/// Elements that a thread takes together.
const PIECE: usize = 1 << 14;

/// How parameters follow gradients. Weight decay is decoupled from the gradient: a step at rate `r` removes the share
/// `r · weight_decay` of each parameter that decays.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// AdamW (Loshchilov and Hutter, 2019), by PyTorch's formulas.
    AdamW(AdamW),
    /// Lion (Chen et al., 2023): the sign of a mean of gradients. Its rate is usually three to ten times smaller than AdamW's.
    Lion(Lion),
    /// Muon (Jordan et al., 2024) for the matrices within blocks, AdamW for all else: embeddings, the head, norms, biases.
    Muon(Muon, AdamW),
}

/// The constants of AdamW.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// The decay of the mean of gradients. Default 0.9.
    pub beta1: f64,
    /// The decay of the mean of squared gradients. Default 0.999.
    pub beta2: f64,
    /// Added to the root of the mean of squares. Default 1e-8.
    pub eps: f64,
    /// The share of a parameter that a step at rate 1 removes. Default 0 (PyTorch's is 0.01).
    pub weight_decay: f64,
    /// Whether vectors (norms, biases, lengths, singular scales) decay too. Default no; PyTorch decays all it is given.
    pub decay_vectors: bool,
}

impl Default for AdamW {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0, decay_vectors: false }
    }
}

/// The constants of Lion.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lion {
    /// The weight of the remembered mean in the step. Default 0.9.
    pub beta1: f64,
    /// The decay of the remembered mean. Default 0.99.
    pub beta2: f64,
    /// As of [`AdamW`]. Default 0.
    pub weight_decay: f64,
    /// As of [`AdamW`].
    pub decay_vectors: bool,
}

impl Default for Lion {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.99, weight_decay: 0.0, decay_vectors: false }
    }
}

/// The constants of Muon; those of its Newton-Schulz iteration are PyTorch's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Muon {
    /// The decay of the mean of gradients. Default 0.95.
    pub momentum: f64,
    /// Whether the step looks ahead along the mean (Nesterov). Default yes.
    pub nesterov: bool,
    /// Newton-Schulz iterations. Default 5.
    pub iterations: usize,
    /// How a matrix's shape changes its rate. Default [`Adjust::MatchAdamW`], so that one rate serves both rules.
    pub adjust: Adjust,
    /// As of [`AdamW`]. Default 0 (PyTorch's is 0.1).
    pub weight_decay: f64,
}

impl Default for Muon {
    fn default() -> Self {
        Self { momentum: 0.95, nesterov: true, iterations: 5, adjust: Adjust::MatchAdamW, weight_decay: 0.0 }
    }
}

/// What an optimizer remembers.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Moments {
    /// Steps taken.
    pub steps: u64,
    /// For each parameter the mean of its gradients.
    pub first: Vec<Vec<f32>>,
    /// For each parameter the mean of its squared gradients; empty where the rule has none.
    pub second: Vec<Vec<f32>>,
}

/// A rule and what it remembers of a network's gradients.
#[derive(Clone, Debug)]
pub struct Optimizer {
    rule: Rule,
    units: Units,
    moments: Moments,
}

impl Optimizer {
    /// No step taken, all moments zero.
    pub fn new(rule: Rule, parameters: &[Parameter]) -> Self {
        let zeros = |needed: &dyn Fn(&Parameter) -> bool| {
            let length = |p: &Parameter| if needed(p) { p.values.len() } else { 0 };
            parameters.iter().map(|p| vec![0.0; length(p)]).collect()
        };
        let second = |p: &Parameter| match rule {
            Rule::AdamW(_) => true,
            Rule::Lion(_) => false,
            Rule::Muon(..) => !is_hidden_matrix(p),
        };
        Self {
            rule,
            units: Units::Vectors,
            moments: Moments { steps: 0, first: zeros(&|_| true), second: zeros(&second) },
        }
    }

    /// The same with Muon's products on these units, which must be available; on tiles they are rounded to bf16, as PyTorch's are.
    #[must_use]
    pub fn on(self, units: Units) -> Self {
        Self { units, ..self }
    }

    /// One step at `rate` along `gradients`, each multiplied by `scale` (from [`clip_norm`]).
    ///
    /// Panics unless parameters and gradients have the shapes of those that it began with.
    pub fn step(&mut self, parameters: &mut [Parameter], gradients: &Gradients, scale: f32, rate: f64, threads: usize) {
        let Moments { steps, first, second } = &mut self.moments;
        assert_eq!((parameters.len(), gradients.len()), (first.len(), first.len()), "a gradient for each parameter");
        *steps += 1;
        let mut pieces = Vec::new();
        for (((p, g), m), v) in parameters.iter_mut().zip(gradients).zip(first).zip(second) {
            assert_eq!((p.values.len(), g.len()), (m.len(), m.len()), "a gradient for each value");
            let is_vector = p.cols <= 1;
            let rule = match &self.rule {
                Rule::Muon(rule, _) if is_hidden_matrix(p) => {
                    rule.step(self.units, threads, p, g, m, scale, rate);
                    continue;
                }
                Rule::AdamW(rule) | Rule::Muon(_, rule) => elementwise::Step::adamw(rule, *steps, is_vector, rate),
                Rule::Lion(rule) => elementwise::Step::lion(rule, is_vector, rate),
            };
            elementwise::cut(rule, &mut p.values, g, m, v, &mut pieces);
        }
        let work = pieces.iter().map(|piece| 16 * piece.len()).sum();
        parallel::pieces(threads, work, &mut pieces, 1, |_, pieces| {
            pieces.iter_mut().for_each(|piece| piece.run(scale))
        });
    }

    /// What it remembers.
    pub fn moments(&self) -> &Moments {
        &self.moments
    }

    /// Takes up what an optimizer of the same rule and the same parameters remembered.
    ///
    /// # Errors
    /// [`OptimError::State`] if it does not fit; nothing has changed then.
    pub fn restore(&mut self, moments: Moments) -> Result<(), OptimError> {
        let shape = |all: &[Vec<f32>]| all.iter().map(Vec::len).collect::<Vec<_>>();
        let fits = shape(&moments.first) == shape(&self.moments.first)
            && shape(&moments.second) == shape(&self.moments.second)
            && i32::try_from(moments.steps).is_ok();
        if !fits {
            return Err(OptimError::State);
        }
        self.moments = moments;
        Ok(())
    }
}

/// Whether Muon takes it: a matrix within a block.
fn is_hidden_matrix(p: &Parameter) -> bool {
    let is_matrix = matches!(p.role, Role::Weight | Role::LowRankA | Role::LowRankB) && p.cols > 1;
    is_matrix && p.slot.layer.is_some()
}
