//! Optimizers that ask for the costs of candidates, generation by generation.
//!
//! An optimizer works on vectors of real [`Coordinate`]s and minimises. What the coordinates stand for (ranges on a log
//! scale, integers, choices, orders) is the business of [`Space`], which decodes such a vector into values.
//!
//! ```
//! use evo_kernels::optim::{CmaEs, CmaSettings, Gene, Optimizer, Space, Value};
//! use evo_kernels::rng::Stream;
//! let space = Space::new(vec![Gene::Real { low: -1.0, high: 4.0, log: false }, Gene::Int { low: 1, high: 8, log: false }])?;
//! let mut search = CmaEs::new(CmaSettings::new(space.coordinates()), Stream::from_seed(7))?;
//! while search.stop().is_none() && search.generation() < 40 {
//!     let cost = |x: &Vec<f64>| match space.decode(x).as_deref() {
//!         Ok([Value::Real(r), Value::Int(i)]) => (r - 2.0).powi(2) + (*i as f64 - 5.0).powi(2),
//!         _ => f64::NAN, // a failed candidate ranks last
//!     };
//!     let costs: Vec<f64> = search.ask().iter().map(cost).collect();
//!     search.tell(&costs)?;
//! }
//! let best = space.decode(&search.favorite())?;
//! assert_eq!(best[1], Value::Int(5));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - [`CmaEs`]: evolution of a normal distribution; [`RandomSearch`]: the baseline that every search should beat.
//! - Draws are keyed by (generation, candidate, coordinate), so [`Optimizer::ask`] is a pure function of the state: asking
//!   twice, or after a resume, gives the same candidates.

mod cma_es;
mod cma_params;
mod coordinate;
mod genes;
pub mod gradient;
mod random_search;
mod state;
mod stop;

pub use cma_es::{CmaEs, CmaSettings};
pub use cma_params::{CmaParams, default_population};
pub use coordinate::{Cells, Coordinate, Kind};
pub use genes::{Gene, GeneError, Space, Value};
pub use random_search::RandomSearch;
pub use stop::{StopReason, Tolerances};

/// A search that proposes candidates and learns from their costs.
pub trait Optimizer: Send {
    /// How many real coordinates a candidate has.
    fn dimension(&self) -> usize;

    /// How many candidates a generation has.
    fn population(&self) -> usize;

    /// How many generations have been told.
    fn generation(&self) -> u64;

    /// The candidates of the current generation, each within its coordinates' bounds. A pure function of the state.
    fn ask(&self) -> Vec<Vec<f64>>;

    /// Learns from the costs of all candidates of [`Optimizer::ask`], in its order; lower is better. NaN marks a candidate
    /// that failed: it ranks last, with +∞.
    ///
    /// # Errors
    /// [`OptimError::Costs`] if there is not one cost for each candidate; nothing has changed then.
    fn tell(&mut self, costs: &[f64]) -> Result<(), OptimError>;

    /// The point that the search would give now if it had to give one that it has not evaluated: the mean of a
    /// distribution, for instance.
    fn favorite(&self) -> Vec<f64>;

    /// Why the search should end, by its own criteria; `None` while it should go on.
    fn stop(&self) -> Option<StopReason>;

    /// All that changes from generation to generation, as plain numbers. Restoring it continues to the bit. Some may be
    /// infinite, so save their bits or a text form that knows infinities.
    fn state(&self) -> Vec<f64>;

    /// Takes up a state that [`Optimizer::state`] gave under the same settings and stream.
    ///
    /// # Errors
    /// [`OptimError::State`] if the numbers do not fit the settings; nothing has changed then.
    fn restore(&mut self, state: &[f64]) -> Result<(), OptimError>;
}

/// Why an optimizer refused its input.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum OptimError {
    /// There is nothing to search.
    #[error("a search needs at least one coordinate")]
    NoCoordinates,
    /// A coordinate's bounds are empty or not finite where they must be.
    #[error("coordinate {coordinate} has the range {low} to {high}: {rule}")]
    Range {
        /// The coordinate's position.
        coordinate: usize,
        /// Its lower bound.
        low: f64,
        /// Its upper bound.
        high: f64,
        /// What holds for the ranges that are accepted.
        rule: &'static str,
    },
    /// The start is not one finite value within the bounds for each coordinate.
    #[error("the start has no usable value for coordinate {coordinate}")]
    Start {
        /// The first coordinate without one.
        coordinate: usize,
    },
    /// The step size is not a positive number.
    #[error("`sigma` is {sigma}: it must be positive and finite")]
    Sigma {
        /// The refused value.
        sigma: f64,
    },
    /// The population is too small for the method.
    #[error("a population of {population} is too small: the least is {least}")]
    Population {
        /// The refused size.
        population: usize,
        /// The smallest size that works.
        least: usize,
    },
    /// Not one cost for each candidate.
    #[error("{found} costs for {expected} candidates")]
    Costs {
        /// The population.
        expected: usize,
        /// Number of costs.
        found: usize,
    },
    /// A saved state that does not belong to these settings.
    #[error("the saved state does not fit this search")]
    State,
}

/// The candidates from best to worst; NaN counts as +∞, the earlier one comes first among equals.
fn ranking(costs: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..costs.len()).collect();
    order.sort_by(|&a, &b| cost(costs[a]).total_cmp(&cost(costs[b])));
    order
}

/// A cost in which NaN has become +∞ and −0 has become 0.
fn cost(value: f64) -> f64 {
    if value.is_nan() { f64::INFINITY } else { value + 0.0 }
}
