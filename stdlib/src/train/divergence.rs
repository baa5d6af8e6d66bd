//! When a training has gone wrong, and why: losses that are no numbers, that explode, or that do not move.

use std::collections::VecDeque;
use std::fmt;

/// Losses whose median is the level that a training has come to.
const WINDOW: usize = 32;
/// For so many steps in a row a loss must be far above its lowest level, or a gradient be zero.
const STEPS: usize = 20;
/// How far above: this, and this many times the level's size.
const ABOVE: f64 = 3.0;
/// Relative differences below this are none.
const SAME: f64 = 1e-6;
/// A loss below this has nothing left to learn.
const LEARNED: f64 = 1e-6;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Divergence {
    /// The loss is NaN or infinite.
    Loss {
        /// The loss.
        loss: f64,
        /// Whether a weight is not finite either, so that an earlier step spoilt it.
        weights: bool,
    },
    /// The gradient's norm is NaN or infinite.
    Gradient {
        /// The norm.
        norm: f64,
        /// The loss of that step.
        loss: f64,
    },
    /// The loss has been far above its lowest level for some steps.
    Explosion {
        /// The loss.
        loss: f64,
        /// The lowest median of some steps, or the first loss.
        level: f64,
        /// The steps.
        steps: usize,
    },
    /// The loss has not moved since the first step.
    Constant {
        /// The loss.
        loss: f64,
        /// The steps.
        steps: usize,
    },
    /// The gradient has been zero for some steps, although there is a loss.
    NoGradient {
        /// The loss.
        loss: f64,
        /// The steps.
        steps: usize,
    },
}

impl Divergence {
    /// What the training did, for a sentence.
    pub(super) fn verb(&self) -> &'static str {
        match self {
            Divergence::Constant { .. } | Divergence::NoGradient { .. } => "learned nothing",
            _ => "diverged",
        }
    }

    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Divergence::Loss { weights: true, .. } => "lower `rate`, lengthen `warmup`, or lower `clip`",
            Divergence::Loss { weights: false, .. } => {
                "look at the data for rows of an unusual length, and at a loss of one's own for divisions and logarithms"
            }
            Divergence::Gradient { .. } => "lower `rate`, or look at a loss of one's own for slopes that are infinite",
            Divergence::Explosion { .. } => "lower `rate`, lengthen `warmup`, or lower `clip`",
            Divergence::Constant { .. } => {
                "raise `rate`; of a preference loss, see that the chosen and the rejected answers differ"
            }
            Divergence::NoGradient { .. } => {
                "see that what is trained has a part in the loss, and that the loss is not flat where it is"
            }
        }
    }
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Divergence::Loss { loss, weights: true } => {
                write!(f, "the loss is {loss}, after an earlier step made weights that are not finite")
            }
            Divergence::Loss { loss, weights: false } => write!(f, "the loss is {loss}, with weights that are finite"),
            Divergence::Gradient { norm, loss } => write!(f, "the gradient's norm is {norm}, at a loss of {loss:.4}"),
            Divergence::Explosion { loss, level, steps } => {
                write!(f, "the loss is {loss:.4} and has been far above {level:.4} for {steps} steps")
            }
            Divergence::Constant { loss, steps } => {
                write!(f, "the loss is {loss:.6} and has not moved in {steps} steps")
            }
            Divergence::NoGradient { loss, steps } => {
                write!(f, "the gradient has been zero for {steps} steps, at a loss of {loss:.4}")
            }
        }
    }
}

/// Watches losses and norms, step by step.
#[derive(Debug, Default)]
pub(super) struct Watch {
    first: Option<f64>,
    level: f64,
    recent: VecDeque<f64>,
    above: usize,
    same: usize,
    has_moved: bool,
    still: usize,
}

impl Watch {
    /// One more step of finite values: what is wrong, if anything is.
    pub(super) fn step(&mut self, loss: f64, norm: f64) -> Option<Divergence> {
        let first = *self.first.get_or_insert_with(|| {
            self.level = loss;
            loss
        });
        self.still = if norm == 0.0 && loss.abs() > LEARNED { self.still + 1 } else { 0 };
        if self.still >= STEPS {
            return Some(Divergence::NoGradient { loss, steps: self.still });
        }
        self.has_moved |= (loss - first).abs() > SAME * first.abs();
        self.same += 1;
        if !self.has_moved && self.same > STEPS && loss.abs() > LEARNED {
            return Some(Divergence::Constant { loss, steps: self.same });
        }
        self.above = if loss > self.level + ABOVE + ABOVE * self.level.abs() { self.above + 1 } else { 0 };
        if self.above >= STEPS {
            return Some(Divergence::Explosion { loss, level: self.level, steps: self.above });
        }
        self.recent.push_back(loss);
        if self.recent.len() > WINDOW {
            self.recent.pop_front();
        }
        if self.recent.len() == WINDOW {
            let mut sorted: Vec<f64> = self.recent.iter().copied().collect();
            sorted.sort_by(f64::total_cmp);
            self.level = self.level.min(sorted.get(WINDOW / 2).copied().unwrap_or(loss));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The step, counted from 1, at which a course of losses and norms is found to be wrong.
    fn found(course: impl IntoIterator<Item = (f64, f64)>) -> Option<(usize, Divergence)> {
        let mut watch = Watch::default();
        course.into_iter().zip(1..).find_map(|((loss, norm), step)| Some((step, watch.step(loss, norm)?)))
    }

    #[test]
    fn an_explosion_is_told_after_its_steps_and_a_spike_is_none() {
        let falling = |step: usize| 0.5 + 10.0 / (step + 1) as f64;
        let spike = (0..400).map(|s| (if s % 50 == 49 { 60.0 } else { falling(s) }, 1.0));
        assert_eq!(found(spike), None);
        let exploding = (0..400).map(|s| (if s < 100 { falling(s) } else { 60.0 }, 1.0));
        let (step, what) = found(exploding).unwrap();
        assert_eq!(step, 100 + STEPS);
        assert!(matches!(what, Divergence::Explosion { loss: 60.0, level, .. } if level < 1.0), "{what}");
        // A loss below zero, such as a reward's, may rise towards zero.
        assert_eq!(found((0..200).map(|s| (-2.0 + s as f64 / 100.0, 1.0))), None);
    }

    #[test]
    fn a_loss_that_never_moved_is_told_and_one_that_has_come_to_rest_is_not() {
        let stuck = found((0..100).map(|_| (std::f64::consts::LN_2, 1e-9)));
        assert!(matches!(stuck, Some((21, Divergence::Constant { .. }))), "{stuck:?}");
        assert_eq!(found((0..100).map(|s| (if s == 0 { 2.0 } else { 0.693 }, 1e-3))), None);
        assert_eq!(found((0..100).map(|_| (0.0, 0.0))), None, "nothing is left to learn");
    }

    #[test]
    fn a_gradient_that_vanished_is_told() {
        let (step, what) = found((0..100).map(|s| (3.0 - 0.01 * s as f64, if s < 10 { 1.0 } else { 0.0 }))).unwrap();
        assert_eq!(step, 10 + STEPS);
        assert!(matches!(what, Divergence::NoGradient { .. }));
    }
}
