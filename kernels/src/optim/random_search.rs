//! Random search: uniform candidates, which learn nothing. The baseline for every other search.

use super::state::{Reader, Writer};
use super::{Coordinate, OptimError, Optimizer, StopReason, cost};
use crate::rng::Stream;

/// Candidates drawn uniformly within the bounds.
#[derive(Clone, Debug, PartialEq)]
pub struct RandomSearch {
    coordinates: Vec<Coordinate>,
    population: usize,
    stream: Stream,
    generation: u64,
    best_cost: f64,
    best: Vec<f64>,
}

impl RandomSearch {
    /// A search over bounded coordinates that asks for `population` candidates at a time.
    ///
    /// # Errors
    /// No coordinates; one without bounds or with an empty range; a population of 0.
    pub fn new(coordinates: Vec<Coordinate>, population: usize, stream: Stream) -> Result<Self, OptimError> {
        if coordinates.is_empty() {
            return Err(OptimError::NoCoordinates);
        }
        for (position, coordinate) in coordinates.iter().enumerate() {
            coordinate.check(position)?;
            if !coordinate.is_bounded() {
                let rule = "random search needs bounds";
                return Err(OptimError::Range {
                    coordinate: position,
                    low: coordinate.low,
                    high: coordinate.high,
                    rule,
                });
            }
        }
        if population == 0 {
            return Err(OptimError::Population { population, least: 1 });
        }
        let best = coordinates.iter().map(Coordinate::middle).collect();
        Ok(Self { coordinates, population, stream, generation: 0, best_cost: f64::INFINITY, best })
    }

    fn candidate(&self, index: usize) -> Vec<f64> {
        let stream = self.stream.at(self.generation).at(index as u64);
        let place = |(coordinate, i): (&Coordinate, u64)| coordinate.low + stream.uniform(i) * coordinate.unit();
        self.coordinates.iter().zip(0..).map(place).collect()
    }
}

impl Optimizer for RandomSearch {
    fn dimension(&self) -> usize {
        self.coordinates.len()
    }

    fn population(&self) -> usize {
        self.population
    }

    fn generation(&self) -> u64 {
        self.generation
    }

    fn ask(&self) -> Vec<Vec<f64>> {
        (0..self.population).map(|index| self.candidate(index)).collect()
    }

    fn tell(&mut self, costs: &[f64]) -> Result<(), OptimError> {
        if costs.len() != self.population {
            return Err(OptimError::Costs { expected: self.population, found: costs.len() });
        }
        for (index, value) in costs.iter().map(|value| cost(*value)).enumerate() {
            if value < self.best_cost {
                (self.best_cost, self.best) = (value, self.candidate(index));
            }
        }
        self.generation += 1;
        Ok(())
    }

    /// The best candidate so far, the middle of the ranges before there is one.
    fn favorite(&self) -> Vec<f64> {
        self.best.clone()
    }

    fn stop(&self) -> Option<StopReason> {
        None
    }

    fn state(&self) -> Vec<f64> {
        let mut out = Writer::default();
        out.count(self.generation);
        out.values(&[self.best_cost]);
        out.values(&self.best);
        out.finish()
    }

    fn restore(&mut self, state: &[f64]) -> Result<(), OptimError> {
        let mut input = Reader(state);
        let mut read = || {
            let restored = (input.count()?, input.value()?, input.values(self.coordinates.len())?);
            input.is_empty().then_some(restored)
        };
        (self.generation, self.best_cost, self.best) = read().ok_or(OptimError::State)?;
        Ok(())
    }
}
