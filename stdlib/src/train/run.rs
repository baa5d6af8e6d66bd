//! The training loop.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::sync::Arc;

use evo_kernels::backprop::{Gradients, Network, Workspace};
use evo_kernels::optim::gradient::{Optimizer, clear, clip_norm};
use evo_kernels::rng::Stream;

use super::divergence::Watch;
use super::network::{network, tuned};
use super::record::{Record, Step};
use super::state::{self, Identity, Values};
use super::{Divergence, Keep, Learned, Objective, Settings, TrainError};
use crate::model::{Card, Model, Place};

/// What happens during a training.
#[derive(Debug)]
pub enum Event<'a> {
    /// It begins, or goes on from a checkpoint.
    Begun {
        /// The steps that are done.
        step: usize,
        /// The input tokens of those steps.
        tokens: usize,
    },
    /// A step is finished.
    Step {
        /// The step, counted from 1.
        step: usize,
        /// The mean loss of its batch, before the step; for next-token prediction in nats a target token.
        loss: f64,
        /// The learning rate it used.
        rate: f64,
        /// The norm of its gradient before clipping.
        norm: f64,
        /// The input tokens of all steps so far.
        tokens: usize,
        /// Further figures of the objective, such as the accuracy.
        metrics: &'a [(&'static str, f64)],
    },
    /// The evaluation data were scored.
    Evaluated {
        /// The steps that are done.
        step: usize,
        /// The mean loss.
        loss: f64,
    },
}

/// Where a training's checkpoints lie.
pub trait Checkpoints {
    /// The checkpoint that is there, if one is.
    ///
    /// # Errors
    /// If it cannot be read.
    fn load(&mut self) -> Result<Option<Vec<u8>>, TrainError>;

    /// Whether it is time for one. That may hang on a clock: when they are written changes no result.
    fn is_due(&mut self) -> bool;

    /// Puts one in place of the last, whole or not at all.
    ///
    /// # Errors
    /// If it cannot be written.
    fn save(&mut self, write: &dyn Fn(&mut dyn Write) -> io::Result<()>) -> Result<(), TrainError>;

    /// Says that the checkpoint that was there cannot be used and the training begins anew.
    fn damaged(&mut self);
}

/// A training: what of what, how, where.
pub struct Training<'a> {
    /// The model that is tuned.
    pub model: &'a Model,
    /// What it learns.
    pub objective: &'a dyn Objective,
    /// What it is evaluated on, if anything.
    pub evaluation: Option<&'a dyn Objective>,
    /// How.
    pub settings: &'a Settings,
    /// Where it is computed.
    pub place: &'a Place,
    /// Where its checkpoints lie and the identity of what model and settings do not say, such as the data.
    pub checkpoints: Option<(&'a mut dyn Checkpoints, [u8; 32])>,
}

/// Tunes `model` towards an objective, without evaluation or checkpoints: see [`Training::run`].
///
/// # Errors
/// Those of [`Training::run`].
pub fn train(
    model: &Model,
    objective: &dyn Objective,
    settings: &Settings,
    place: &Place,
    observe: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
) -> Result<Model, TrainError> {
    Training { model, objective, evaluation: None, settings, place, checkpoints: None }.run(observe)
}

impl Training<'_> {
    /// Trains and returns the tuned model with its [`Record`] on its card.
    ///
    /// The objective's units come in an order drawn from the seed, each once an epoch; a batch may straddle two epochs. The result
    /// depends on neither threads nor the machine's load, nor on interruptions if there are checkpoints. `observe` is told of every
    /// step and may stop the training; a checkpoint is written then.
    ///
    /// # Errors
    /// [`TrainError::Setting`], [`TrainError::Tensor`], [`TrainError::OtherCheckpoint`] before the first step; then
    /// [`TrainError::Diverged`], [`TrainError::Stopped`], and what the objective or the checkpoints return.
    pub fn run(mut self, observe: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>) -> Result<Model, TrainError> {
        let settings = self.settings;
        settings.check()?;
        if self.evaluation.is_none() && (settings.patience.is_some() || settings.keep == Keep::Best) {
            let setting = if settings.patience.is_some() { "patience" } else { "keep" };
            return Err(TrainError::Setting { setting, problem: "needs data to evaluate on".to_owned() });
        }
        let network = network(self.model, &settings.update, self.place.threads)?;
        let mut loop_ = Loop::new(network, self.place, settings);
        self.resume(&mut loop_)?;
        let mut flow = observe(Event::Begun { step: loop_.done(), tokens: loop_.tokens() });
        while loop_.done() < settings.steps && !loop_.record.ended_early {
            if flow.is_break() {
                self.save(&loop_)?;
                return Err(TrainError::Stopped { step: loop_.done() });
            }
            self.evaluate(&mut loop_, observe)?;
            if loop_.record.ended_early {
                break;
            }
            let units = self.units(loop_.done(), &mut loop_.order);
            let learned = loop_.step(self.objective, settings, &units)?;
            let step = loop_.done();
            if let Some(Step { loss, rate, norm, tokens, .. }) = loop_.record.steps.last().cloned() {
                flow = observe(Event::Step { step, loss, rate, norm, tokens, metrics: &learned.metrics });
            }
            let is_due = |(checkpoints, _): &mut (&mut dyn Checkpoints, _)| checkpoints.is_due();
            if flow.is_continue() && step < settings.steps && self.checkpoints.as_mut().is_some_and(is_due) {
                self.save(&loop_)?;
            }
        }
        self.evaluate(&mut loop_, observe)?;
        self.finish(loop_)
    }

    /// The units of a step: `accumulate` batches of a permutation an epoch, one epoch after another. `order` is the last epoch's.
    fn units(&self, step: usize, order: &mut Option<(usize, Vec<usize>)>) -> Vec<usize> {
        let (settings, count) = (self.settings, self.objective.units());
        let stream = Stream::from_seed(settings.seed).child("train.order");
        let size = settings.batch * settings.accumulate;
        let drawn = (step * size..(step + 1) * size).filter_map(|draw| {
            let epoch = draw.checked_div(count)?;
            if order.as_ref().is_none_or(|(known, _)| *known != epoch) {
                *order = Some((epoch, stream.at(epoch as u64).permutation(count)));
            }
            order.as_ref().and_then(|(_, units)| units.get(draw % count).copied())
        });
        drawn.collect()
    }

    /// Scores the evaluation data if it is their turn: before the first step, after every so many, and after the last.
    fn evaluate(
        &self,
        loop_: &mut Loop,
        observe: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<(), TrainError> {
        let Some(objective) = self.evaluation else { return Ok(()) };
        let (settings, step) = (self.settings, loop_.done());
        let is_turn = step.is_multiple_of(settings.every) || step >= settings.steps;
        if !is_turn || loop_.record.evaluations.last().is_some_and(|(at, _)| *at == step) {
            return Ok(());
        }
        let loss = objective.evaluate(&loop_.network, &mut loop_.workspace)?;
        if !loss.is_finite() {
            let what = Divergence::Loss { loss, weights: !loop_.is_finite() };
            return Err(TrainError::Diverged { step, what });
        }
        loop_.record.evaluations.push((step, loss));
        if settings.keep == Keep::Best && loop_.record.best().is_some_and(|(best, _)| best == step) {
            loop_.best = Some(loop_.values());
        }
        loop_.record.ended_early =
            step < settings.steps && settings.patience.is_some_and(|p| loop_.record.without_improvement() >= p);
        // Whoever stops a training is heard after the next step.
        let _ = observe(Event::Evaluated { step, loss });
        Ok(())
    }

    /// The tuned model.
    fn finish(&self, mut loop_: Loop) -> Result<Model, TrainError> {
        loop_.record.kept = loop_.done();
        if let (Keep::Best, Some(best)) = (self.settings.keep, loop_.best.take()) {
            loop_.record.kept = loop_.record.best().map_or(0, |(step, _)| step);
            loop_.set(best);
        }
        // What the model is made of is all that is left in memory.
        let Loop { network, workspace, optimizer, gradients, record, .. } = loop_;
        drop((workspace, optimizer, gradients));
        let model = tuned(self.model, network, &self.place.workspace())?;
        let card = Card { training: Some(Arc::new(record)), ..(*model.card).clone() };
        Ok(model.with_card(card))
    }

    fn identity(&self, task: [u8; 32]) -> Identity {
        let settings = blake3::hash(format!("{} {:?}", env!("CARGO_PKG_VERSION"), self.settings).as_bytes());
        Identity { model: *self.model.identity().as_bytes(), settings: *settings.as_bytes(), task }
    }

    /// Takes up the checkpoint that is there.
    fn resume(&mut self, loop_: &mut Loop) -> Result<(), TrainError> {
        let Some((checkpoints, task)) = &mut self.checkpoints else { return Ok(()) };
        let Some(bytes) = checkpoints.load()? else { return Ok(()) };
        let task = *task;
        let own = self.identity(task);
        let read = state::read(&bytes);
        if let Some(part) = read.as_ref().and_then(|(found, _)| own.difference(found)) {
            return Err(TrainError::OtherCheckpoint { model: self.model.name.clone(), part });
        }
        let state = read.and_then(|(_, rest)| rest.state());
        let is_taken = state.is_some_and(|state| loop_.restore(state));
        if let (false, Some((checkpoints, _))) = (is_taken, &mut self.checkpoints) {
            checkpoints.damaged();
        }
        Ok(())
    }

    fn save(&mut self, loop_: &Loop) -> Result<(), TrainError> {
        let Some((_, task)) = &self.checkpoints else { return Ok(()) };
        let identity = self.identity(*task);
        let Some((checkpoints, _)) = &mut self.checkpoints else { return Ok(()) };
        checkpoints.save(&|out| {
            let parameters = loop_.network.parameters().iter().map(|p| p.values.as_slice());
            state::write(out, &identity, &loop_.record, parameters, loop_.best.as_ref(), loop_.optimizer.moments())
        })
    }
}

/// All that changes from step to step.
struct Loop {
    network: Network,
    workspace: Workspace,
    optimizer: Optimizer,
    gradients: Gradients,
    threads: usize,
    record: Record,
    watch: Watch,
    best: Option<Values>,
    order: Option<(usize, Vec<usize>)>,
}

impl Loop {
    fn new(network: Network, place: &Place, settings: &Settings) -> Loop {
        Loop {
            workspace: place.workspace().recomputing(settings.recompute),
            optimizer: Optimizer::new(settings.rule, network.parameters()).on(place.units()),
            gradients: network.gradients(),
            network,
            threads: place.threads,
            record: Record::default(),
            watch: Watch::default(),
            best: None,
            order: None,
        }
    }

    /// The steps that are done.
    fn done(&self) -> usize {
        self.record.steps.len()
    }

    /// The input tokens of those steps.
    fn tokens(&self) -> usize {
        self.record.steps.last().map_or(0, |last| last.tokens)
    }

    /// One step.
    fn step(&mut self, objective: &dyn Objective, settings: &Settings, units: &[usize]) -> Result<Learned, TrainError> {
        let step = self.done();
        clear(&mut self.gradients, self.threads);
        let learned = objective.learn(&self.network, &mut self.workspace, units, &mut self.gradients)?;
        let (norm, scale) = clip_norm(&self.gradients, settings.clip, self.threads);
        let (loss, rate) = (learned.loss, settings.rate_at(step));
        let wrong = if !loss.is_finite() {
            Some(Divergence::Loss { loss, weights: !self.is_finite() })
        } else if !norm.is_finite() {
            Some(Divergence::Gradient { norm, loss })
        } else {
            self.watched(loss, norm, learned.tokens)
        };
        if let Some(what) = wrong {
            return Err(TrainError::Diverged { step: step + 1, what });
        }
        self.optimizer.step(self.network.parameters_mut(), &self.gradients, scale, rate, self.threads);
        let tokens = self.tokens() + learned.tokens;
        if step == 0 {
            self.record.metrics = learned.metrics.iter().map(|(name, _)| (*name).to_owned()).collect();
        }
        let metrics = learned.metrics.iter().map(|(_, value)| *value).collect();
        self.record.steps.push(Step { loss, rate, norm, tokens, metrics });
        Ok(learned)
    }

    /// A batch may hold only units without anything to learn: that says nothing.
    fn watched(&mut self, loss: f64, norm: f64, tokens: usize) -> Option<Divergence> {
        if tokens == 0 { None } else { self.watch.step(loss, norm) }
    }

    fn is_finite(&self) -> bool {
        self.network.parameters().iter().all(|p| p.values.iter().all(|x| x.is_finite()))
    }

    fn values(&self) -> Values {
        self.network.parameters().iter().map(|p| p.values.clone()).collect()
    }

    fn set(&mut self, values: Values) {
        for (parameter, values) in self.network.parameters_mut().iter_mut().zip(values) {
            parameter.values = values;
        }
    }

    /// Takes up a state; says whether it fits.
    fn restore(&mut self, state: state::State) -> bool {
        let fits = |values: &Values| {
            let lengths = self.network.parameters().iter().map(|p| p.values.len());
            lengths.eq(values.iter().map(Vec::len))
        };
        let is_ours = fits(&state.parameters) && state.best.as_ref().is_none_or(fits);
        if !is_ours || self.optimizer.restore(state.moments).is_err() {
            return false;
        }
        self.set(state.parameters);
        self.best = state.best;
        self.record = state.record;
        // What the watch remembers follows from the record.
        let mut before = 0;
        for (loss, norm, tokens) in self.record.steps.iter().map(|s| (s.loss, s.norm, s.tokens)).collect::<Vec<_>>() {
            let _ = self.watched(loss, norm, tokens - before.min(tokens));
            before = tokens;
        }
        true
    }
}
