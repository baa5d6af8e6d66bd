//! CMA-ES: a normal distribution that learns where, how far and in which directions to step (Hansen and Ostermeier 2001;
//! Hansen, arXiv 1604.00772), with the constants, active update and stopping criteria of pycma 4.5.
//!
//! What is not pycma's:
//! - A failed candidate ranks last. A generation of equal costs counts as flat, never as converged.
//! - Bounds are pycma's smooth map, but its margins scale with the range.
//! - The standard deviation of an integer has pycma's lower bound of min(1/5, μ_eff/n) cells; where the mean is farther than
//!   half a cell from the next value, the bound grows with the way there, so that a value cannot freeze at the ends of its range.
//! - Ill-conditioned coordinates are not rescaled, and integers are not centered.

use super::cma_params::{CmaParams, default_population};
use super::state::{Reader, Writer};
use super::stop::{History, StopReason, Tolerances};
use super::{Coordinate, Kind, OptimError, Optimizer, cost, ranking};
use crate::linalg::symmetric_eigen;
use crate::rng::Stream;

/// How a CMA-ES begins and ends.
#[derive(Clone, Debug, PartialEq)]
pub struct CmaSettings {
    /// The coordinates to search.
    pub coordinates: Vec<Coordinate>,
    /// Where the mean begins, within the bounds. Default: the middle of each range, 0 without bounds.
    pub start: Vec<f64>,
    /// The first standard deviation, in units of each coordinate's range (of 1 without bounds). Default 1/6.
    pub sigma: f64,
    /// Candidates a generation, at least 2. Default [`default_population`].
    pub population: usize,
    /// When to stop. Default: [`Tolerances::new`] for the dimension and population.
    pub tolerances: Option<Tolerances>,
}

impl CmaSettings {
    /// The defaults for these coordinates.
    pub fn new(coordinates: Vec<Coordinate>) -> Self {
        Self {
            start: coordinates.iter().map(Coordinate::middle).collect(),
            sigma: 1.0 / 6.0,
            population: default_population(coordinates.len()),
            tolerances: None,
            coordinates,
        }
    }

    fn check(&self) -> Result<(), OptimError> {
        if self.coordinates.is_empty() {
            return Err(OptimError::NoCoordinates);
        }
        self.coordinates.iter().enumerate().try_for_each(|(position, coordinate)| coordinate.check(position))?;
        let usable = |i: usize| {
            let within = |x: &f64| x.is_finite() && (self.coordinates[i].low..=self.coordinates[i].high).contains(x);
            self.start.get(i).is_some_and(within)
        };
        let places = self.coordinates.len().max(self.start.len());
        if let Some(coordinate) = (0..places).find(|&i| i >= self.coordinates.len() || !usable(i)) {
            return Err(OptimError::Start { coordinate });
        }
        if !(self.sigma > 0.0 && self.sigma.is_finite()) {
            return Err(OptimError::Sigma { sigma: self.sigma });
        }
        if self.population < 2 {
            return Err(OptimError::Population { population: self.population, least: 2 });
        }
        Ok(())
    }
}

/// The search.
#[derive(Clone, Debug, PartialEq)]
pub struct CmaEs {
    coordinates: Vec<Coordinate>,
    params: CmaParams,
    tolerances: Tolerances,
    /// The first standard deviation, and its factor for each coordinate.
    first_sigma: f64,
    units: Vec<f64>,
    stream: Stream,
    state: State,
}

/// What a generation changes. Vectors have n entries, matrices n × n, row-major.
#[derive(Clone, Debug, PartialEq)]
struct State {
    generation: u64,
    /// The mean, before it is mapped into the bounds.
    mean: Vec<f64>,
    sigma: f64,
    /// Standard deviations are `sigma · scale[i] · sqrt(covariance[i][i])`.
    scale: Vec<f64>,
    path_sigma: Vec<f64>,
    path_c: Vec<f64>,
    covariance: Vec<f64>,
    /// Eigenvectors as rows, and the roots of the eigenvalues, of the covariance of generation `eigen_generation`.
    axes: Vec<f64>,
    lengths: Vec<f64>,
    eigen_generation: u64,
    history: History,
}

/// A candidate's draw: `z` is standard normal, `step` the sum of the axes, each times its length and its entry of `z`.
struct Draw {
    z: Vec<f64>,
    step: Vec<f64>,
}

impl CmaEs {
    /// A search that draws from `stream`.
    ///
    /// # Errors
    /// No coordinates; an empty range; a start outside the bounds; a sigma that is not positive; a population below 2.
    pub fn new(settings: CmaSettings, stream: Stream) -> Result<Self, OptimError> {
        settings.check()?;
        let CmaSettings { coordinates, start, sigma, population, tolerances } = settings;
        let n = coordinates.len();
        let discrete = coordinates.iter().filter(|coordinate| coordinate.kind != Kind::Continuous).count();
        let mean: Vec<f64> = coordinates.iter().zip(start).map(|(c, x)| c.free_from(x)).collect();
        let units: Vec<f64> = coordinates.iter().map(Coordinate::unit).collect();
        let identity: Vec<f64> = (0..n * n).map(|i| if i / n == i % n { 1.0 } else { 0.0 }).collect();
        let state = State {
            generation: 0,
            history: History::new(&mean),
            mean,
            sigma,
            scale: units.clone(),
            path_sigma: vec![0.0; n],
            path_c: vec![0.0; n],
            covariance: identity.clone(),
            axes: identity,
            lengths: vec![1.0; n],
            eigen_generation: 0,
        };
        let params = CmaParams::new(n, population);
        let tolerances = tolerances.unwrap_or_else(|| Tolerances::new(n, population, discrete));
        let mut search = Self { coordinates, params, tolerances, first_sigma: sigma, units, stream, state };
        search.widen_cells();
        Ok(search)
    }

    /// The constants in use.
    pub fn params(&self) -> &CmaParams {
        &self.params
    }

    /// The step size.
    pub fn sigma(&self) -> f64 {
        self.state.sigma
    }

    /// The standard deviation of each coordinate.
    pub fn deviations(&self) -> Vec<f64> {
        let n = self.dimension();
        let s = &self.state;
        (0..n).map(|i| s.sigma * s.scale[i] * s.covariance[i * n + i].sqrt()).collect()
    }

    fn draws(&self) -> Vec<Draw> {
        let n = self.dimension();
        let draw = |index: u64| {
            let mut z = vec![0.0; n];
            self.stream.at(self.state.generation).at(index).fill_normal(0, &mut z);
            Draw { z, step: vec![0.0; n] }
        };
        let mut draws: Vec<Draw> = (0..self.population() as u64).map(draw).collect();
        // All candidates at once, so that the matrix is read once.
        for (j, (axis, length)) in self.state.axes.chunks_exact(n).zip(&self.state.lengths).enumerate() {
            for Draw { z, step } in &mut draws {
                add_scaled(step, length * z[j], axis);
            }
        }
        draws
    }

    /// Moves the mean to the weighted mean of the best, and both paths along; returns whether the step-size path is short
    /// enough for the rank-one update (h_σ).
    fn move_mean(&mut self, best_first: &[&Draw]) -> bool {
        let n = self.dimension();
        let p = &self.params;
        let weighted = |part: &dyn Fn(&Draw) -> &[f64]| {
            let mut sum = vec![0.0; n];
            for (weight, draw) in p.weights[..p.mu].iter().zip(best_first) {
                add_scaled(&mut sum, *weight, part(draw));
            }
            sum
        };
        let (step, z) = (weighted(&|draw| &draw.step), weighted(&|draw| &draw.z));
        let mut whitened = vec![0.0; n];
        for (axis, z) in self.state.axes.chunks_exact(n).zip(&z) {
            add_scaled(&mut whitened, *z, axis);
        }
        let s = &mut self.state;
        for ((mean, scale), step) in s.mean.iter_mut().zip(&s.scale).zip(&step) {
            *mean += s.sigma * scale * step;
        }
        let gain = (p.c_sigma * (2.0 - p.c_sigma) * p.mu_eff).sqrt();
        s.path_sigma.iter_mut().zip(&whitened).for_each(|(x, w)| *x = (1.0 - p.c_sigma) * *x + gain * w);
        let expected = 1.0 - (1.0 - p.c_sigma).powi(2 * s.generation.min(1 << 20) as i32);
        let short = square(&s.path_sigma) / expected / (n as f64) < 2.0 + 4.0 / (n as f64 + 1.0);
        let gain = if short { (p.c_c * (2.0 - p.c_c) * p.mu_eff).sqrt() } else { 0.0 };
        s.path_c.iter_mut().zip(&step).for_each(|(x, w)| *x = (1.0 - p.c_c) * *x + gain * w);
        short
    }

    /// The rank-one and rank-μ updates. Steps with a negative weight count with a length of √n.
    fn adapt_covariance(&mut self, best_first: &[&Draw], short_path: bool) {
        let n = self.dimension();
        let (p, s) = (&self.params, &mut self.state);
        let c_1 = if short_path { p.c_1 } else { p.c_1 * (1.0 - p.c_c * (2.0 - p.c_c)) };
        let decay = 1.0 - c_1 - p.c_mu * p.weights.iter().sum::<f64>();
        let mut squares = vec![(p.c_1, &s.path_c)];
        for (&weight, draw) in p.weights.iter().zip(best_first) {
            let length = square(&draw.z).sqrt() + 1e-9;
            let factor = if weight < 0.0 { n as f64 / (length * length) } else { 1.0 };
            squares.push((p.c_mu * weight * factor, &draw.step));
        }
        for (i, row) in s.covariance.chunks_exact_mut(n).enumerate() {
            let lower_half = &mut row[..=i];
            lower_half.iter_mut().for_each(|c| *c *= decay);
            squares.iter().for_each(|(factor, x)| add_scaled(lower_half, factor * x[i], &x[..=i]));
        }
        for i in 0..n {
            for j in 0..i {
                s.covariance[j * n + i] = s.covariance[i * n + j];
            }
        }
    }

    fn adapt_sigma(&mut self) {
        let p = &self.params;
        let length = square(&self.state.path_sigma).sqrt();
        let change = p.c_sigma / p.d_sigma * (length / p.chi_n - 1.0);
        self.state.sigma *= libm::exp(change.clamp(-1.0, 1.0));
    }

    /// Keeps the standard deviation of an integer at min(1/5, μ_eff/n) of its step or more, so that it still changes.
    fn widen_cells(&mut self) {
        let least = (self.params.mu_eff / self.dimension() as f64).min(0.2);
        for (i, deviation) in self.deviations().into_iter().enumerate() {
            let coordinate = self.coordinates[i];
            let bound = least * coordinate.step(coordinate.to_bounds(self.state.mean[i]));
            if deviation < bound && deviation > 0.0 {
                self.state.scale[i] *= bound / deviation;
            }
        }
    }

    /// Renews the eigenvectors when they are old. A matrix that has lost its positive eigenvalues is first widened by
    /// the least old one; should that not help, the old eigenvectors remain in use.
    fn renew_axes(&mut self) {
        let n = self.dimension();
        let s = &mut self.state;
        if (s.generation as f64) < s.eigen_generation as f64 + self.params.eigen_gap {
            return;
        }
        s.eigen_generation = s.generation;
        let spare = s.lengths.iter().map(|length| length * length).fold(f64::INFINITY, f64::min);
        for _ in 0..10 {
            match symmetric_eigen(&s.covariance, n) {
                Ok(eigen) if eigen.values.iter().all(|value| *value > 0.0) => {
                    s.lengths = eigen.values.iter().map(|value| value.sqrt()).collect();
                    s.axes = (0..n * n).map(|i| eigen.vectors[i % n * n + i / n]).collect();
                    return;
                }
                _ => (0..n).for_each(|i| s.covariance[i * n + i] += spare),
            }
        }
    }

    fn stop_by_distribution(&self) -> Option<StopReason> {
        let (n, s, t) = (self.dimension(), &self.state, &self.tolerances);
        let deviations = self.deviations();
        let small = |i: usize| {
            let path = s.sigma * s.scale[i] * s.path_c[i];
            deviations[i] < t.x * self.units[i] && path < t.x * self.units[i]
        };
        if (0..n).all(small) {
            return Some(StopReason::TolX { tolerance: t.x });
        }
        if (0..n).any(|i| deviations[i] > t.up_x * self.first_sigma * self.units[i]) {
            return Some(StopReason::TolFacUpX { factor: t.up_x });
        }
        let (shortest, longest) = (s.lengths[0], s.lengths[n - 1]);
        if s.sigma / longest > t.up_sigma * self.first_sigma {
            return Some(StopReason::TolUpSigma { factor: t.up_sigma });
        }
        if longest > t.condition.sqrt() * shortest {
            return Some(StopReason::Condition { number: (longest / shortest).powi(2) });
        }
        if let Some(coordinate) = (0..n).find(|&i| s.mean[i] == s.mean[i] + 0.2 * deviations[i]) {
            return Some(StopReason::NoEffectCoordinate { coordinate });
        }
        let axis = (s.generation % n as u64) as usize;
        let step = |i: usize| 0.1 * s.sigma * s.lengths[axis] * s.scale[i] * s.axes[axis * n + i];
        (0..n).all(|i| s.mean[i] == s.mean[i] + step(i)).then_some(StopReason::NoEffectAxis { axis })
    }
}

impl Optimizer for CmaEs {
    fn dimension(&self) -> usize {
        self.coordinates.len()
    }

    fn population(&self) -> usize {
        self.params.weights.len()
    }

    fn generation(&self) -> u64 {
        self.state.generation
    }

    fn ask(&self) -> Vec<Vec<f64>> {
        let s = &self.state;
        let point = |draw: Draw| {
            let place = |i: usize| self.coordinates[i].to_bounds(s.mean[i] + s.sigma * s.scale[i] * draw.step[i]);
            (0..self.dimension()).map(place).collect()
        };
        self.draws().into_iter().map(point).collect()
    }

    /// If all candidates failed, the distribution stays and the next generation has new draws.
    fn tell(&mut self, costs: &[f64]) -> Result<(), OptimError> {
        if costs.len() != self.population() {
            return Err(OptimError::Costs { expected: self.population(), found: costs.len() });
        }
        let order = ranking(costs);
        let sorted: Vec<f64> = order.iter().map(|&i| cost(costs[i])).collect();
        let draws = self.draws();
        self.state.generation += 1;
        if sorted[0] == f64::INFINITY {
            return Ok(());
        }
        let best_first: Vec<&Draw> = order.iter().map(|&i| &draws[i]).collect();
        let short_path = self.move_mean(&best_first);
        self.adapt_covariance(&best_first, short_path);
        self.adapt_sigma();
        self.widen_cells();
        self.renew_axes();
        let s = &mut self.state;
        s.history.record(s.generation, &sorted, &s.mean, &self.tolerances);
        Ok(())
    }

    /// The distribution's mean.
    fn favorite(&self) -> Vec<f64> {
        self.coordinates.iter().zip(&self.state.mean).map(|(c, y)| c.to_bounds(*y)).collect()
    }

    fn stop(&self) -> Option<StopReason> {
        let s = &self.state;
        if s.generation == 0 {
            return None;
        }
        let by_costs = || s.history.stop(s.generation, self.dimension(), self.population(), &self.tolerances);
        self.stop_by_distribution().or_else(by_costs)
    }

    fn state(&self) -> Vec<f64> {
        let s = &self.state;
        let mut out = Writer::default();
        out.count(s.generation);
        out.count(s.eigen_generation);
        out.values(&[s.sigma]);
        for part in [&s.mean, &s.scale, &s.path_sigma, &s.path_c, &s.lengths, &s.covariance, &s.axes] {
            out.values(part);
        }
        s.history.write(&mut out);
        out.finish()
    }

    fn restore(&mut self, state: &[f64]) -> Result<(), OptimError> {
        self.state = State::read(Reader(state), self.dimension()).ok_or(OptimError::State)?;
        Ok(())
    }
}

impl State {
    fn read(mut input: Reader<'_>, n: usize) -> Option<Self> {
        let state = Self {
            generation: input.count()?,
            eigen_generation: input.count()?,
            sigma: input.value()?,
            mean: input.values(n)?,
            scale: input.values(n)?,
            path_sigma: input.values(n)?,
            path_c: input.values(n)?,
            lengths: input.values(n)?,
            covariance: input.values(n * n)?,
            axes: input.values(n * n)?,
            history: History::read(&mut input, n)?,
        };
        input.is_empty().then_some(state)
    }
}

fn square(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum()
}

/// Adds factor · x to a sum.
fn add_scaled(sum: &mut [f64], factor: f64, x: &[f64]) {
    sum.iter_mut().zip(x).for_each(|(s, x)| *s += factor * x);
}
