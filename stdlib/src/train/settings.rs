//! How to train.

use evo_kernels::backprop::AdamWSettings;

use super::{TrainError, Update};

/// The settings of a training. The defaults are those of the quickstart's experts, but for `steps` and `rate`, which have
/// none that fits all.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Optimizer steps.
    pub steps: usize,
    /// The highest learning rate.
    pub rate: f64,
    /// Sequences a step. Default 32.
    pub batch: usize,
    /// Steps over which the rate rises linearly from 0. Default 10.
    pub warmup: usize,
    /// The steps for which the cosine is planned, at least `steps`; a training may stop before. Default `steps`.
    pub planned: Option<usize>,
    /// The share of `rate` that the cosine ends at. Default 0.1.
    pub floor: f64,
    /// Decay of the mean of gradients and of their squares. Default 0.9 and 0.999.
    pub betas: (f64, f64),
    /// Weight decay, decoupled from the gradient (AdamW), on every weight. Default 0.
    pub weight_decay: f64,
    /// The limit of the gradients' global norm; `None` does not clip. Default 1.
    pub clip: Option<f64>,
    /// Which order of the examples.
    pub seed: u64,
    /// What of the model is trained. Default every weight.
    pub update: Update,
    /// Activation checkpointing: activations are computed again for the reverse pass, rather than kept. Changes no bit. Default
    /// false.
    pub recompute: bool,
    /// A model is handed out after every so many steps. Default none.
    pub checkpoint_every: Option<usize>,
}

impl Settings {
    /// The defaults, for so many steps at this rate.
    #[must_use]
    pub fn new(steps: usize, rate: f64) -> Self {
        Self {
            steps,
            rate,
            batch: 32,
            warmup: 10,
            planned: None,
            floor: 0.1,
            betas: (0.9, 0.999),
            weight_decay: 0.0,
            clip: Some(1.0),
            seed: 0,
            update: Update::default(),
            recompute: false,
            checkpoint_every: None,
        }
    }

    /// The rate of a step, counted from 0: up over `warmup` steps, then down along half a cosine to `floor · rate`.
    #[must_use]
    pub fn rate_at(&self, step: usize) -> f64 {
        if step < self.warmup {
            return self.rate * (step + 1) as f64 / self.warmup as f64;
        }
        let planned = self.planned.unwrap_or(self.steps);
        let length = planned.saturating_sub(self.warmup).max(1);
        let done = ((step - self.warmup) as f64 / length as f64).min(1.0);
        let cosine = 0.5 * (1.0 + (std::f64::consts::PI * done).cos());
        self.rate * (self.floor + (1.0 - self.floor) * cosine)
    }

    pub(super) fn optimizer(&self) -> AdamWSettings {
        AdamWSettings { beta1: self.betas.0, beta2: self.betas.1, weight_decay: self.weight_decay, eps: 1e-8 }
    }

    /// Whether every setting lies in its domain.
    ///
    /// # Errors
    /// [`TrainError::Setting`] for the first that does not.
    pub fn check(&self) -> Result<(), TrainError> {
        let unit = |x: f64| (0.0..1.0).contains(&x);
        let positive = |x: f64| x > 0.0 && x.is_finite();
        let rules = [
            ("steps", self.steps > 0, "must be at least 1"),
            ("rate", positive(self.rate), "must be a positive number"),
            ("batch", self.batch > 0, "must be at least 1"),
            ("planned", self.planned.is_none_or(|p| p >= self.steps), "must be at least `steps`"),
            ("floor", (0.0..=1.0).contains(&self.floor), "must lie in 0..1"),
            ("betas", unit(self.betas.0) && unit(self.betas.1), "must lie in 0..1, below 1"),
            ("weight_decay", self.weight_decay >= 0.0 && self.weight_decay.is_finite(), "must not be negative"),
            ("clip", self.clip.is_none_or(positive), "must be a positive number"),
            ("checkpoint_every", self.checkpoint_every != Some(0), "must be at least 1"),
        ];
        match rules.into_iter().find(|(_, holds, _)| !holds) {
            Some((setting, _, problem)) => Err(TrainError::Setting { setting, problem: problem.to_owned() }),
            None => Ok(()),
        }
    }
}
