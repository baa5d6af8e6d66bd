//! The training loop.

use std::ops::ControlFlow;

use evo_kernels::backprop::{AdamW, clip_norm};
use evo_kernels::rng::Stream;

use super::network::{network, tuned};
use super::{Objective, Settings, TrainError};
use crate::model::{Model, Place};

/// What happens during a training.
#[derive(Debug)]
pub enum Event<'a> {
    /// A step is finished.
    Step {
        /// The step, counted from 1.
        step: usize,
        /// The mean loss of its batch: nats a target token, before the step.
        loss: f64,
        /// The learning rate it used.
        rate: f64,
        /// The norm of its gradient before clipping.
        norm: f64,
        /// The input tokens of all steps so far.
        tokens: usize,
    },
    /// A model as it is after a step ([`Settings::checkpoint_every`]).
    Checkpoint {
        /// The step, counted from 1.
        step: usize,
        /// The model.
        model: &'a Model,
    },
}

/// Tunes `model` towards an objective and returns the tuned model, in f32.
///
/// The objective's units come in an
/// order drawn from the seed, each once an epoch; a batch may straddle two epochs. The result depends on neither threads nor
/// the machine's load. `observe` is told of every step and may stop the training.
///
/// # Errors
/// [`TrainError::Setting`], [`TrainError::Tensor`] before the
/// first step; [`TrainError::Diverged`], [`TrainError::Stopped`] after.
pub fn train(
    model: &Model,
    objective: &dyn Objective,
    settings: &Settings,
    place: &Place,
    observe: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
) -> Result<Model, TrainError> {
    settings.check()?;
    let mut network = network(model, &settings.update, place.threads)?;
    let mut optimizer = AdamW::new(settings.optimizer(), network.parameters());
    let mut gradients = network.gradients();
    let mut order = Order::new(settings.seed, objective.units());
    let mut workspace = place.workspace().recomputing(settings.recompute);
    let mut tokens = 0;
    for step in 0..settings.steps {
        let units: Vec<usize> = order.next(settings.batch).collect();
        gradients.iter_mut().for_each(|gradient| gradient.fill(0.0));
        let learned = objective.learn(&network, &mut workspace, &units, &mut gradients)?;
        let loss = learned.loss;
        tokens += learned.tokens;
        let (norm, scale) = clip_norm(&gradients, settings.clip);
        for (what, value) in [("loss", loss), ("gradient", norm)] {
            if !value.is_finite() {
                return Err(TrainError::Diverged { step: step + 1, what, value });
            }
        }
        let rate = settings.rate_at(step);
        optimizer.step(network.parameters_mut(), &gradients, scale, rate);
        let step = step + 1;
        let mut flow = observe(Event::Step { step, loss, rate, norm, tokens });
        if settings.checkpoint_every.is_some_and(|every| step.is_multiple_of(every)) && flow.is_continue() {
            flow = observe(Event::Checkpoint { step, model: &tuned(model, &network, &workspace)? });
        }
        if flow.is_break() && step < settings.steps {
            return Err(TrainError::Stopped { step });
        }
    }
    tuned(model, &network, &workspace)
}

/// The order of the examples: a permutation an epoch, one after another.
struct Order {
    stream: Stream,
    epoch: u64,
    rest: std::vec::IntoIter<usize>,
    count: usize,
}

impl Order {
    fn new(seed: u64, count: usize) -> Self {
        Self { stream: Stream::from_seed(seed).child("train.order"), epoch: 0, rest: Vec::new().into_iter(), count }
    }

    fn next(&mut self, batch: usize) -> impl Iterator<Item = usize> {
        (0..batch).filter_map(|_| {
            if self.rest.len() == 0 {
                self.rest = self.stream.at(self.epoch).permutation(self.count).into_iter();
                self.epoch += 1;
            }
            self.rest.next()
        })
    }
}
