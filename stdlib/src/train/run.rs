//! The training loop.

use std::ops::ControlFlow;

use evo_kernels::backprop::{AdamW, Batch, Goal, clip_norm};
use evo_kernels::rng::Stream;

use super::network::{Update, network, tuned};
use super::{Example, Settings, TrainError};
use crate::model::{Model, Place};

/// Input tokens that go through the decoder together. A batch is cut into parts of about this size, which bounds memory
/// and keeps activations in the cache; it does not depend on the machine, since the cut orders the sums.
const PART: usize = 512;

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

/// Tunes `model` on `examples` by next-token prediction and returns the tuned model, in f32.
///
/// The loss is the mean over the targets of a batch of minus their log-probability; prompts are masked. Examples come in an
/// order drawn from the seed, each once an epoch; a batch may straddle two epochs. The result depends on neither threads nor
/// the machine's load. `observe` is told of every step and may stop the training.
///
/// # Errors
/// [`TrainError::Setting`], [`TrainError::Tensor`], [`TrainError::NothingToLearn`] before the
/// first step; [`TrainError::Diverged`], [`TrainError::Stopped`] after.
pub fn train(
    model: &Model,
    examples: &[Example],
    settings: &Settings,
    place: &Place,
    observe: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
) -> Result<Model, TrainError> {
    settings.check()?;
    if !examples.iter().any(|example| example.tokens.len() > example.given.max(1)) {
        return Err(TrainError::NothingToLearn);
    }
    let mut network = network(model, &Update::default(), place.threads)?;
    let mut optimizer = AdamW::new(settings.optimizer(), network.parameters());
    let mut gradients = network.gradients();
    let mut order = Order::new(settings.seed, examples.len());
    let mut workspace = place.workspace();
    let mut tokens = 0;
    for step in 0..settings.steps {
        let parts = parts(order.next(settings.batch).filter_map(|index| examples.get(index)));
        let targets = parts.iter().map(Batch::targets).sum::<usize>();
        gradients.iter_mut().for_each(|gradient| gradient.fill(0.0));
        let mut loss = 0.0;
        for part in &parts {
            let slopes = vec![-1.0 / targets as f32; part.targets()];
            let values = network.learn(&mut workspace, part, &Goal::Tokens, &slopes, &mut gradients);
            loss -= values.iter().map(|&l| f64::from(l)).sum::<f64>();
            tokens += part.tokens();
        }
        // A batch may hold only examples without a target.
        let loss = loss / targets.max(1) as f64;
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
