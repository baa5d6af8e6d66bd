//! What a run is told of a training, and where the training's checkpoints lie in it.

use std::io::{self, Write};
use std::ops::ControlFlow;

use super::{Checkpoints, Event, TrainError};
use crate::cx::{Cx, Figure, Progress};

/// Tells a node's run how far its training is.
pub(super) struct Reporter<'a> {
    cx: &'a Cx<'a>,
    steps: usize,
    evaluated: Option<f64>,
}

impl<'a> Reporter<'a> {
    pub(super) fn new(cx: &'a Cx<'a>, steps: usize) -> Reporter<'a> {
        Reporter { cx, steps, evaluated: None }
    }

    /// Passes an event on; says whether the training goes on.
    pub(super) fn observe(&mut self, event: &Event<'_>) -> ControlFlow<()> {
        let effects = self.cx.effects;
        match *event {
            Event::Begun { step, tokens } => {
                effects.progress(Progress { amount: Some(("tokens", tokens as u64)), ..self.progress(step) });
            }
            Event::Step { step, loss, rate, norm, tokens, metrics } => {
                let mut scalars = vec![("loss", loss), ("learning_rate", rate), ("gradient_norm", norm)];
                scalars.extend(metrics);
                effects.scalars(step as u64, &scalars);
                let figures =
                    [("learning rate", rate)].into_iter().chain(self.evaluated.map(|loss| ("evaluation", loss)));
                effects.progress(Progress {
                    metric: Some(("loss", loss)),
                    figures: figures.map(|(name, value)| Figure { name, value }).collect(),
                    amount: Some(("tokens", tokens as u64)),
                    ..self.progress(step)
                });
            }
            Event::Evaluated { step, loss } => {
                self.evaluated = Some(loss);
                effects.scalars(step as u64, &[("evaluation_loss", loss)]);
            }
        }
        if effects.cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn progress(&self, step: usize) -> Progress {
        Progress {
            done: step as u64,
            total: Some(self.steps as u64),
            message: "steps".to_owned(),
            ..Progress::default()
        }
    }
}

/// The checkpoints of a node.
pub(super) struct NodeCheckpoints<'a> {
    pub(super) cx: &'a Cx<'a>,
}

impl Checkpoints for NodeCheckpoints<'_> {
    fn load(&mut self) -> Result<Option<Vec<u8>>, TrainError> {
        self.cx.effects.load_checkpoint().map_err(|failure| TrainError::Checkpoint(Box::new(failure)))
    }

    fn is_due(&mut self) -> bool {
        self.cx.effects.checkpoint_is_due()
    }

    fn save(&mut self, write: &dyn Fn(&mut dyn Write) -> io::Result<()>) -> Result<(), TrainError> {
        self.cx.effects.save_checkpoint(write).map_err(|failure| TrainError::Checkpoint(Box::new(failure)))
    }

    fn damaged(&mut self) {
        self.cx.effects.warn(
            "R0507",
            format!("the checkpoint of `{}` is damaged", self.cx.name),
            "the training begins anew",
        );
    }
}
