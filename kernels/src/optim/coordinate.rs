//! One real coordinate of a search vector: its bounds, what it is read as, and how a free variable maps into the bounds.

use super::OptimError;

/// What is read from a coordinate, as far as an optimizer should know.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// The number itself.
    Continuous,
    /// Only the cell in which it lies: an integer or a yes-or-no.
    Cells(Cells),
    /// Only its order among other coordinates: a choice by largest value, a permutation by random keys.
    Key,
}

/// A division of a coordinate's range into cells.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cells {
    /// This many cells of equal width.
    Even {
        /// Number of cells, at least 1.
        count: u64,
    },
    /// The integers `low` to `high`, both at least 1, on a log scale: edges at half-integers.
    Log {
        /// Least integer.
        low: i64,
        /// Greatest integer.
        high: i64,
    },
}

impl Cells {
    /// The number of the cell that holds `u`, a place in the range from 0 to 1.
    pub(super) fn index(self, u: f64) -> u64 {
        match self {
            Self::Even { count } => ((u * count as f64) as u64).min(count.saturating_sub(1)),
            Self::Log { low, high } => {
                let (from, to) = log_ends(low, high);
                let value = libm::exp(from + u * (to - from)).round();
                value.clamp(low as f64, high as f64) as u64 - low as u64
            }
        }
    }

    /// Lower and upper edge of the cell with this number, on 0 to 1.
    pub(super) fn edges(self, index: u64) -> (f64, f64) {
        match self {
            Self::Even { count } => (index as f64 / count as f64, (index + 1) as f64 / count as f64),
            Self::Log { low, high } => {
                let (from, to) = log_ends(low, high);
                let place = |value: f64| (libm::log(value) - from) / (to - from);
                let value = low as f64 + index as f64;
                (place(value - 0.5), place(value + 0.5))
            }
        }
    }
}

fn log_ends(low: i64, high: i64) -> (f64, f64) {
    (libm::log(low as f64 - 0.5), libm::log(high as f64 + 0.5))
}

/// The share of a range, at each end, over which the map into the bounds is curved.
const MARGIN: f64 = 0.05;

/// A coordinate of the search vector.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Coordinate {
    /// Lower bound; −∞ only if `high` is +∞.
    pub low: f64,
    /// Upper bound.
    pub high: f64,
    /// What is read from it.
    pub kind: Kind,
}

impl Coordinate {
    /// A continuous coordinate without bounds.
    pub const FREE: Self = Self { low: f64::NEG_INFINITY, high: f64::INFINITY, kind: Kind::Continuous };

    /// A continuous coordinate from 0 to 1.
    pub const UNIT: Self = Self { low: 0.0, high: 1.0, kind: Kind::Continuous };

    /// Whether there are bounds.
    pub fn is_bounded(&self) -> bool {
        self.low.is_finite() && self.high.is_finite()
    }

    /// Checks that the range is not empty and has both ends or none; `position` names it in an error.
    pub(super) fn check(&self, position: usize) -> Result<(), OptimError> {
        let range = |rule| OptimError::Range { coordinate: position, low: self.low, high: self.high, rule };
        let free = self.low == f64::NEG_INFINITY && self.high == f64::INFINITY;
        let width = self.high - self.low;
        let usable = free || (width > 0.0 && width.is_finite());
        if !usable {
            return Err(range("it needs a lower end below a higher one, or none at all"));
        }
        if free && self.kind != Kind::Continuous {
            return Err(range("only a continuous coordinate can be without bounds"));
        }
        Ok(())
    }

    /// The unit of step sizes: the width of the range, 1 without bounds.
    pub(super) fn unit(&self) -> f64 {
        if self.is_bounded() { self.high - self.low } else { 1.0 }
    }

    /// The middle of the range, 0 without bounds.
    pub fn middle(&self) -> f64 {
        if self.is_bounded() { self.low + (self.high - self.low) / 2.0 } else { 0.0 }
    }

    /// Maps any number into the bounds, continuously and with a continuous slope: the identity but for a margin of 5 % of
    /// the range at either end, where it is quadratic and turns back; beyond, it repeats mirrored.
    ///
    /// This is pycma's `BoundTransform` with margins that scale with the range.
    pub(super) fn to_bounds(self, y: f64) -> f64 {
        if !self.is_bounded() {
            return y;
        }
        let u = (y - self.low) / self.unit();
        let half_period = 1.0 + 2.0 * MARGIN; // from a turning point, -MARGIN, to the next, 1 + MARGIN
        let shifted = (u + MARGIN).rem_euclid(2.0 * half_period);
        let folded = if shifted > half_period { 2.0 * half_period - shifted } else { shifted } - MARGIN;
        let mapped = if folded < MARGIN {
            (folded + MARGIN).powi(2) / (4.0 * MARGIN)
        } else if folded > 1.0 - MARGIN {
            1.0 - (1.0 + MARGIN - folded).powi(2) / (4.0 * MARGIN)
        } else {
            folded
        };
        // Within the identity keep the number itself, free of rounding.
        if mapped == u { y } else { (self.low + mapped * self.unit()).clamp(self.low, self.high) }
    }

    /// The number nearest to the range that [`Coordinate::to_bounds`] maps to `x`, which lies in the bounds.
    pub(super) fn free_from(self, x: f64) -> f64 {
        if !self.is_bounded() {
            return x;
        }
        let u = (x - self.low) / self.unit();
        let free = if u < MARGIN {
            2.0 * (MARGIN * u.max(0.0)).sqrt() - MARGIN
        } else if u > 1.0 - MARGIN {
            1.0 + MARGIN - 2.0 * (MARGIN * (1.0 - u).max(0.0)).sqrt()
        } else {
            return x;
        };
        self.low + free * self.unit()
    }

    /// For a coordinate of cells: the larger of the width of the cell at `x` and twice the way to the next cell, which is
    /// what a step must be measured against lest the value freeze. 0 for other coordinates or a single cell.
    pub(super) fn step(self, x: f64) -> f64 {
        let Kind::Cells(cells) = self.kind else {
            return 0.0;
        };
        let u = (x - self.low) / self.unit();
        let (lower, upper) = cells.edges(cells.index(u));
        let below = if lower > 1e-12 { (u - lower).max(0.0) } else { f64::INFINITY };
        let above = if upper < 1.0 - 1e-12 { (upper - u).max(0.0) } else { f64::INFINITY };
        let nearest = below.min(above);
        if nearest.is_finite() { (upper - lower).max(2.0 * nearest) * self.unit() } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(low: f64, high: f64) -> Coordinate {
        Coordinate { low, high, kind: Kind::Continuous }
    }

    proptest! {
        #[test]
        fn everything_maps_into_the_bounds(y in -1e6..1e6f64, low in -10.0..10.0f64, width in 1e-3..100.0f64) {
            let c = range(low, low + width);
            prop_assert!((low..=low + width).contains(&c.to_bounds(y)));
        }

        #[test]
        fn the_map_and_its_inverse_agree(share in 0.0..=1.0f64, low in -10.0..10.0f64, width in 1e-3..100.0f64) {
            let c = range(low, low + width);
            let x = low + share * width;
            prop_assert!((c.to_bounds(c.free_from(x)) - x).abs() <= 1e-9 * width);
        }

        #[test]
        fn the_map_is_smooth(y in -3.0..4.0f64) {
            let (c, h) = (Coordinate::UNIT, 1e-6);
            let slope = |y: f64| (c.to_bounds(y + h) - c.to_bounds(y - h)) / (2.0 * h);
            prop_assert!(slope(y).abs() <= 1.0 + 1e-6);
            // The slope changes no faster than the second derivative, 1 / (2 · margin), allows.
            prop_assert!((slope(y + 1e-3) - slope(y)).abs() <= 1e-3 / (2.0 * MARGIN) + 1e-6);
        }

        #[test]
        fn cells_hold_their_own_edges(low in 1i64..20, more in 0i64..2000, u in 0.0..=1.0f64, count in 1u64..50) {
            for cells in [Cells::Log { low, high: low + more }, Cells::Even { count }] {
                let (lower, upper) = cells.edges(cells.index(u));
                prop_assert!(lower - 1e-9 <= u && u <= upper + 1e-9, "{:?}: {} {} {}", cells, lower, u, upper);
            }
        }
    }

    #[test]
    fn the_middle_of_the_range_maps_to_itself() {
        let c = range(-2.0, 6.0);
        for x in [-1.5, 0.1, 2.0, 5.5] {
            assert_eq!((c.to_bounds(x), c.free_from(x)), (x, x));
        }
        assert_eq!(c.to_bounds(-2.4), -2.0);
        assert!((c.to_bounds(6.4) - 6.0).abs() < 1e-12);
        assert_eq!(Coordinate::FREE.to_bounds(1e300), 1e300);
    }

    #[test]
    fn steps_reach_the_next_cell() {
        let two = Coordinate { kind: Kind::Cells(Cells::Even { count: 2 }), ..Coordinate::UNIT };
        assert_eq!((two.step(0.25), two.step(0.0), two.step(1.0)), (0.5, 1.0, 1.0));
        let one = Coordinate { kind: Kind::Cells(Cells::Even { count: 1 }), ..Coordinate::UNIT };
        assert_eq!((one.step(0.3), Coordinate::UNIT.step(0.3)), (0.0, 0.0));
    }

    #[test]
    fn bad_ranges_are_refused() {
        for (low, high) in [(1.0, 1.0), (2.0, 1.0), (f64::NAN, 1.0), (0.0, f64::INFINITY), (-f64::MAX, f64::MAX)] {
            assert!(range(low, high).check(3).is_err(), "{low} to {high}");
        }
        assert!(Coordinate { kind: Kind::Key, ..Coordinate::FREE }.check(0).is_err());
        assert!(Coordinate::FREE.check(0).is_ok() && Coordinate::UNIT.check(0).is_ok());
    }
}
