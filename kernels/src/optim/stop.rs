//! When a search should end by itself, and why, in words.

use super::state::{Reader, Writer};
use crate::stats::median;

/// Why a search ended by its own criteria. `Display` gives a sentence, with pycma's name of the criterion.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum StopReason {
    /// The costs of the last generation and the best costs of the last generations differ by less than `tolerance`.
    #[error("the search has converged: all recent costs lie within {tolerance:e} (tolfun)")]
    TolFun {
        /// The criterion's value.
        tolerance: f64,
    },
    /// The best costs of the last generations differ by less than `tolerance`.
    #[error("the search has converged: the best recent costs lie within {tolerance:e} (tolfunhist)")]
    TolFunHistory {
        /// The criterion's value.
        tolerance: f64,
    },
    /// All standard deviations are below `tolerance` of their coordinate's range.
    #[error("the search has converged: steps are below {tolerance:e} of every range (tolx)")]
    TolX {
        /// The criterion's value.
        tolerance: f64,
    },
    /// A standard deviation has grown to `factor` times its start.
    #[error("the search diverges: steps have grown {factor:e}-fold; try a larger sigma (tolfacupx)")]
    TolFacUpX {
        /// The criterion's value.
        factor: f64,
    },
    /// The step size has grown to `factor` times what the covariance matrix accounts for.
    #[error("the search diverges: sigma has grown {factor:e}-fold without effect (tolupsigma)")]
    TolUpSigma {
        /// The criterion's value.
        factor: f64,
    },
    /// The covariance matrix has this condition number.
    #[error("the search is ill-conditioned: the covariance has condition number {number:.1e} (tolconditioncov)")]
    Condition {
        /// The condition number reached.
        number: f64,
    },
    /// Neither the best nor the median cost has improved over so many generations.
    #[error("the search stagnates: no better cost over {generations} generations (tolstagnation)")]
    Stagnation {
        /// Generations since the best cost.
        generations: u64,
    },
    /// The mean has hardly moved for so many generations.
    #[error("the search stagnates: its mean has not moved for {generations} generations (tolxstagnation)")]
    XStagnation {
        /// Generations since it moved.
        generations: u64,
    },
    /// Three quarters of a generation have the same best cost, for so many generations.
    #[error("the fitness is flat: most candidates had the same cost for {generations} generations (tolflatfitness)")]
    FlatFitness {
        /// Generations in a row.
        generations: u64,
    },
    /// Adding a fifth of a standard deviation to a coordinate of the mean changes nothing.
    #[error("steps of coordinate {coordinate} are below the precision of its value (noeffectcoord)")]
    NoEffectCoordinate {
        /// The coordinate's position.
        coordinate: usize,
    },
    /// Adding a tenth of a standard deviation along a principal axis changes nothing.
    #[error("steps along principal axis {axis} are below the precision of the values (noeffectaxis)")]
    NoEffectAxis {
        /// The axis, by ascending variance.
        axis: usize,
    },
    /// The limit of generations for a search of this size.
    #[error("{limit} generations are over, the limit for a search of this size (maxiter)")]
    Generations {
        /// The limit.
        limit: u64,
    },
}

/// When CMA-ES should end; the defaults are pycma 4.5's.
#[derive(Clone, Debug, PartialEq)]
pub struct Tolerances {
    /// Range of the costs of a generation and of the recent best ones. Default 1e-11; 0 if all coordinates are cells.
    pub fun: f64,
    /// Range of the recent best costs. Default 1e-12; 0 if all coordinates are cells.
    pub fun_history: f64,
    /// Standard deviations as shares of the ranges. Default 1e-11.
    pub x: f64,
    /// Growth of a standard deviation. Default 1e3.
    pub up_x: f64,
    /// Growth of sigma beyond that of the largest axis. Default 1e20.
    pub up_sigma: f64,
    /// Condition number of the covariance matrix. Default 1e14.
    pub condition: f64,
    /// Generations over which best and median costs must improve. Default ⌊100 + 100 n^1.5 / population⌋.
    pub stagnation: u64,
    /// Distance that the mean must move within 20 + 10 % of the generations. Default 1e-9.
    pub x_stagnation: f64,
    /// Generations with a flat fitness that are borne. Default 1; 3 + 30 · (share of discrete coordinates) if there are any.
    pub flat: u64,
    /// Generations in all. Default ⌊100 + 150 (n + 3)² / √population⌋.
    pub generations: u64,
}

impl Tolerances {
    /// The defaults for a search of `dimension` coordinates, of which `discrete` are cells or keys.
    pub fn new(dimension: usize, population: usize, discrete: usize) -> Self {
        let (n, lambda) = (dimension as f64, population as f64);
        let all_discrete = discrete == dimension;
        Self {
            fun: if all_discrete { 0.0 } else { 1e-11 },
            fun_history: if all_discrete { 0.0 } else { 1e-12 },
            x: 1e-11,
            up_x: 1e3,
            up_sigma: 1e20,
            condition: 1e14,
            stagnation: (100.0 + 100.0 * n * n.sqrt() / lambda) as u64,
            x_stagnation: 1e-9,
            flat: if discrete == 0 { 1 } else { (3.0 + 30.0 * discrete as f64 / n) as u64 },
            generations: (100.0 + 150.0 * (n + 3.0).powi(2) / lambda.sqrt()) as u64,
        }
    }
}

/// The record of costs and means that the criteria look back on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct History {
    /// Best costs of the last generations, the newest last.
    recent: Vec<f64>,
    /// Range of the last generation's costs.
    range: f64,
    /// Best and median cost of every fifth generation, the newest last.
    best: Vec<f64>,
    median: Vec<f64>,
    /// The best cost of all, and its generation.
    best_ever: f64,
    best_generation: u64,
    /// Generations in a row in which most costs were equal.
    flat: u64,
    /// Where the mean was when it last moved far enough, and when that was.
    anchor: Vec<f64>,
    anchor_generation: u64,
}

impl History {
    pub(super) fn new(mean: &[f64]) -> Self {
        Self {
            recent: Vec::new(),
            range: f64::INFINITY,
            best: Vec::new(),
            median: Vec::new(),
            best_ever: f64::INFINITY,
            best_generation: 0,
            flat: 0,
            anchor: mean.to_vec(),
            anchor_generation: 0,
        }
    }

    /// Records generation `generation` (from 1): its costs in ascending order and the new mean.
    pub(super) fn record(&mut self, generation: u64, sorted: &[f64], mean: &[f64], tolerances: &Tolerances) {
        let (n, lambda) = (mean.len(), sorted.len());
        let (best, worst) = (sorted[0], sorted[lambda - 1]);
        self.range = worst - best;
        self.recent.push(best);
        if self.recent.len() > 10 + 30 * n / lambda {
            self.recent.remove(0);
        }
        if generation.is_multiple_of(5) {
            self.best.push(best);
            self.median.push(median(sorted));
            if self.best.len() > 20_000 {
                self.best.remove(0);
                self.median.remove(0);
            }
        }
        if best < self.best_ever {
            (self.best_ever, self.best_generation) = (best, generation);
        }
        self.flat = if best < sorted[lambda * 3 / 4] { 0 } else { self.flat + 1 };
        let distance = self.anchor.iter().zip(mean).map(|(a, m)| (a - m).powi(2)).sum::<f64>().sqrt();
        let waiting = (generation - self.anchor_generation) as f64 / x_patience(generation);
        if distance > tolerances.x_stagnation * waiting.max(1.0).sqrt() {
            self.anchor = mean.to_vec();
            self.anchor_generation = generation;
        }
    }

    /// The first criterion that the record of costs meets, if any.
    pub(super) fn stop(&self, generation: u64, dimension: usize, lambda: usize, t: &Tolerances) -> Option<StopReason> {
        let highest = self.recent.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let lowest = self.recent.iter().copied().fold(f64::INFINITY, f64::min);
        let (long_enough, range) = (self.recent.len() > 9, highest - lowest);
        // Costs that are all equal say nothing about convergence: that is the flat fitness's case.
        if self.range > 0.0 && self.range < t.fun && range < t.fun {
            return Some(StopReason::TolFun { tolerance: t.fun });
        }
        if long_enough && range < t.fun_history {
            return Some(StopReason::TolFunHistory { tolerance: t.fun_history });
        }
        if self.flat > t.flat {
            return Some(StopReason::FlatFitness { generations: self.flat });
        }
        if self.stagnates(generation, dimension, lambda, t) {
            return Some(StopReason::Stagnation { generations: generation - self.best_generation });
        }
        let still = generation - self.anchor_generation;
        if still as f64 > x_patience(generation) {
            return Some(StopReason::XStagnation { generations: still });
        }
        (generation >= t.generations).then_some(StopReason::Generations { limit: t.generations })
    }

    fn stagnates(&self, generation: u64, dimension: usize, lambda: usize, t: &Tolerances) -> bool {
        let window = (t.stagnation as f64 / 10.0).max(self.best.len() as f64 / 10.0) as usize;
        let no_better = |record: &[f64]| {
            let (older, newer) = record[record.len() - 2 * window..].split_at(window);
            median(newer) >= median(older)
        };
        window > 0
            && generation as f64 > dimension as f64 * (5.0 + 100.0 / lambda as f64)
            && 2 * (generation - self.best_generation) > t.stagnation
            && self.best.len() > 100
            && 2 * window < self.best.len()
            && no_better(&self.median)
            && no_better(&self.best)
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.count(self.recent.len() as u64);
        out.values(&self.recent);
        out.values(&[self.range]);
        out.count(self.best.len() as u64);
        out.values(&self.best);
        out.values(&self.median);
        out.values(&[self.best_ever]);
        out.count(self.best_generation);
        out.count(self.flat);
        out.values(&self.anchor);
        out.count(self.anchor_generation);
    }

    pub(super) fn read(input: &mut Reader<'_>, dimension: usize) -> Option<Self> {
        let recent = input.count()? as usize;
        let recent = input.values(recent)?;
        let range = input.value()?;
        let records = input.count()? as usize;
        Some(Self {
            recent,
            range,
            best: input.values(records)?,
            median: input.values(records)?,
            best_ever: input.value()?,
            best_generation: input.count()?,
            flat: input.count()?,
            anchor: input.values(dimension)?,
            anchor_generation: input.count()?,
        })
    }
}

/// Generations for which the mean may stand still.
fn x_patience(generation: u64) -> f64 {
    20.0 + 0.1 * generation as f64
}
