//! How to train.

use evo_kernels::optim::gradient::{AdamW, Lion, Muon, Rule};

use super::{TrainError, Update};

/// The settings of a training. The defaults are those of the quickstart's experts, but for `steps` and `rate`, which have
/// none that fits all.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Optimizer steps.
    pub steps: usize,
    /// The highest learning rate.
    pub rate: f64,
    /// Units a batch. Default 32.
    pub batch: usize,
    /// Batches a step: the gradient is that of the mean over all their units, as of one large batch. Default 1.
    pub accumulate: usize,
    /// How parameters follow gradients. Default AdamW.
    pub rule: Rule,
    /// How the rate goes on after its warm-up. Default [`Schedule::Cosine`].
    pub schedule: Schedule,
    /// Steps over which the rate rises linearly from 0. Default 10.
    pub warmup: usize,
    /// The steps for which the schedule is planned, at least `steps`; a training may stop before. Default `steps`.
    pub planned: Option<usize>,
    /// The share of `rate` that a falling schedule ends at. Default 0.1.
    pub floor: f64,
    /// The limit of the gradients' global norm; `None` does not clip. Default 1.
    pub clip: Option<f64>,
    /// Evaluations come after every so many steps, besides before the first and after the last. Default 20.
    pub every: usize,
    /// The training ends after so many evaluations in a row without a new best. Default none.
    pub patience: Option<usize>,
    /// Which parameters the training gives. Default [`Keep::Last`].
    pub keep: Keep,
    /// What of the model is trained. Default all of it.
    pub update: Update,
    /// Activation checkpointing: activations are computed again for the reverse pass, rather than kept. Changes no bit. Default
    /// false.
    pub recompute: bool,
    /// Which order of the units.
    pub seed: u64,
}

/// How the rate goes on after its warm-up, as a share of the highest; `done` is the share of the way, in 0..1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Schedule {
    /// Down along half a cosine to the floor (Loshchilov and Hutter, 2017).
    Cosine,
    /// Down along a line to the floor.
    Linear,
    /// It stays.
    Constant,
    /// It stays, and over the last share `decay` of the way falls along a line to the floor (Hu et al., 2024).
    WarmupStableDecay {
        /// The share.
        decay: f64,
    },
    /// `√(warmup / step)` (Vaswani et al., 2017), not below the floor.
    InverseSqrt,
}

/// Which parameters a training gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Those after the last step.
    Last,
    /// Those with the lowest loss of an evaluation; the earliest of equal ones.
    Best,
}

impl Settings {
    /// The defaults, for so many steps at this rate.
    #[must_use]
    pub fn new(steps: usize, rate: f64) -> Self {
        Self {
            steps,
            rate,
            batch: 32,
            accumulate: 1,
            rule: Rule::AdamW(AdamW::default()),
            schedule: Schedule::Cosine,
            warmup: 10,
            planned: None,
            floor: 0.1,
            clip: Some(1.0),
            every: 20,
            patience: None,
            keep: Keep::Last,
            update: Update::default(),
            recompute: false,
            seed: 0,
        }
    }

    /// The rate of a step, counted from 0: up over `warmup` steps, then as the schedule has it.
    #[must_use]
    pub fn rate_at(&self, step: usize) -> f64 {
        if step < self.warmup {
            return self.rate * (step + 1) as f64 / self.warmup as f64;
        }
        let planned = self.planned.unwrap_or(self.steps);
        let length = planned.saturating_sub(self.warmup).max(1) as f64;
        let after = (step - self.warmup) as f64;
        let done = (after / length).min(1.0);
        let falling = |share: f64| self.floor + (1.0 - self.floor) * share;
        self.rate
            * match self.schedule {
                Schedule::Cosine => falling(0.5 * (1.0 + (std::f64::consts::PI * done).cos())),
                Schedule::Linear => falling(1.0 - done),
                Schedule::Constant => 1.0,
                Schedule::WarmupStableDecay { decay } => {
                    if done <= 1.0 - decay {
                        1.0
                    } else {
                        falling((1.0 - done) / decay)
                    }
                }
                Schedule::InverseSqrt => {
                    let warmup = self.warmup.max(1) as f64;
                    (warmup / (warmup + after)).sqrt().max(self.floor)
                }
            }
    }

    /// Whether every setting lies in its domain.
    ///
    /// # Errors
    /// [`TrainError::Setting`] for the first that does not.
    pub fn check(&self) -> Result<(), TrainError> {
        let positive = |x: f64| x > 0.0 && x.is_finite();
        let share = |x: f64| (0.0..=1.0).contains(&x);
        let decay = match self.schedule {
            Schedule::WarmupStableDecay { decay } => decay > 0.0 && decay <= 1.0,
            _ => true,
        };
        let rules = [
            ("steps", self.steps > 0, "must be at least 1"),
            ("rate", positive(self.rate), "must be a positive number"),
            ("batch", self.batch > 0, "must be at least 1"),
            ("accumulate", self.accumulate > 0, "must be at least 1"),
            ("horizon", self.planned.is_none_or(|p| p >= self.steps), "must be at least `steps`"),
            ("floor", share(self.floor), "must lie in 0..1"),
            ("decay", decay, "must lie in 0..1, above 0"),
            ("clip", self.clip.is_none_or(positive), "must be a positive number"),
            ("every", self.every > 0, "must be at least 1"),
            ("patience", self.patience != Some(0), "must be at least 1"),
        ];
        let rules = rules.into_iter().chain(of_rule(&self.rule));
        match rules.into_iter().find(|(_, holds, _)| !holds) {
            Some((setting, _, problem)) => Err(TrainError::Setting { setting, problem: problem.to_owned() }),
            None => Ok(()),
        }
    }
}

/// What must hold of a rule's constants.
fn of_rule(rule: &Rule) -> Vec<(&'static str, bool, &'static str)> {
    let unit = |x: f64| (0.0..1.0).contains(&x);
    let (betas, decay) = ("must lie in 0..1, below 1", "must be a number, not below 0");
    let decays = |x: f64| x >= 0.0 && x.is_finite();
    match rule {
        Rule::AdamW(AdamW { beta1, beta2, eps, weight_decay, .. }) => vec![
            ("betas", unit(*beta1) && unit(*beta2), betas),
            ("eps", *eps > 0.0 && eps.is_finite(), "must be a positive number"),
            ("weight_decay", decays(*weight_decay), decay),
        ],
        Rule::Lion(Lion { beta1, beta2, weight_decay, .. }) => {
            vec![("betas", unit(*beta1) && unit(*beta2), betas), ("weight_decay", decays(*weight_decay), decay)]
        }
        Rule::Muon(Muon { momentum, iterations, weight_decay, .. }, rest) => {
            let mut rules = vec![
                ("momentum", unit(*momentum), betas),
                ("iterations", (1..100).contains(iterations), "must lie in 1..100"),
                ("weight_decay", decays(*weight_decay), decay),
            ];
            rules.extend(of_rule(&Rule::AdamW(*rest)));
            rules
        }
    }
}
