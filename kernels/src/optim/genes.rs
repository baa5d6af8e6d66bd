//! What a search vector stands for: genes, each decoded from one or more coordinates between 0 and 1.

use super::coordinate::{Cells, Coordinate, Kind};

/// One value of a genome.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Gene {
    /// A real number from `low` to `high`; with `log`, both are positive and equal ratios are equally far apart.
    Real {
        /// Least value.
        low: f64,
        /// Greatest value.
        high: f64,
        /// Whether the scale is logarithmic.
        log: bool,
    },
    /// An integer from `low` to `high`, both included; with `log`, both are at least 1.
    Int {
        /// Least value.
        low: i64,
        /// Greatest value.
        high: i64,
        /// Whether the scale is logarithmic.
        log: bool,
    },
    /// One of so many cases: the one whose coordinate is largest, the first of equals. One coordinate a case.
    OneOf {
        /// Number of cases.
        cases: usize,
    },
    /// Yes or no: yes above one half.
    Bool,
    /// An order of `0..length`: the indices sorted by their coordinates (random keys, Bean 1994). One coordinate an index.
    Permutation {
        /// Number of things to order.
        length: usize,
    },
}

/// A decoded gene.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Of [`Gene::Real`].
    Real(f64),
    /// Of [`Gene::Int`].
    Int(i64),
    /// Of [`Gene::OneOf`]: the case's number, from 0.
    Case(usize),
    /// Of [`Gene::Bool`].
    Bool(bool),
    /// Of [`Gene::Permutation`]: which index comes first, second, …
    Order(Vec<usize>),
}

/// What is wrong with a genome or a value of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GeneError {
    /// A gene has no value at all, or its ends do not suit its scale.
    #[error("gene {gene} is empty: {rule}")]
    Empty {
        /// The gene's position.
        gene: usize,
        /// What holds for the genes that are accepted.
        rule: &'static str,
    },
    /// A vector or a list of values has another length than the genome.
    #[error("{found} numbers for a genome of {expected}")]
    Length {
        /// Numbers needed.
        expected: usize,
        /// Numbers given.
        found: usize,
    },
    /// A value that its gene cannot take.
    #[error("gene {gene} cannot take this value")]
    Value {
        /// The gene's position.
        gene: usize,
    },
}

/// An ordered list of genes, and the map between their values and a search vector.
///
/// Every coordinate runs from 0 to 1, whatever its gene's range: a step size in coordinates is a share of the range.
#[derive(Clone, Debug, PartialEq)]
pub struct Space {
    genes: Vec<Gene>,
}

impl Space {
    /// A space of these genes.
    ///
    /// # Errors
    /// [`GeneError::Empty`] for a gene without a value: a range whose low end is above its high end or not finite, a log
    /// range that reaches 0, no cases.
    pub fn new(genes: Vec<Gene>) -> Result<Self, GeneError> {
        for (gene, description) in genes.iter().enumerate() {
            description.check().map_err(|rule| GeneError::Empty { gene, rule })?;
        }
        Ok(Self { genes })
    }

    /// The genes, in order.
    pub fn genes(&self) -> &[Gene] {
        &self.genes
    }

    /// Number of coordinates of a search vector.
    pub fn dimension(&self) -> usize {
        self.genes.iter().map(|gene| gene.width()).sum()
    }

    /// The coordinates for an optimizer, in the order of the genes.
    pub fn coordinates(&self) -> Vec<Coordinate> {
        let coordinate = |gene: &Gene| Coordinate { kind: gene.kind(), ..Coordinate::UNIT };
        self.genes.iter().flat_map(|gene| std::iter::repeat_n(coordinate(gene), gene.width())).collect()
    }

    /// The values that a search vector stands for, one a gene. Coordinates outside 0 to 1 count as the nearer end.
    ///
    /// # Errors
    /// A wrong length; a coordinate that is NaN.
    pub fn decode(&self, vector: &[f64]) -> Result<Vec<Value>, GeneError> {
        if vector.len() != self.dimension() {
            return Err(GeneError::Length { expected: self.dimension(), found: vector.len() });
        }
        let mut rest = vector;
        let decode_next = |(gene, description): (usize, &Gene)| {
            let (part, after) = rest.split_at(description.width());
            rest = after;
            if part.iter().any(|u| u.is_nan()) {
                return Err(GeneError::Value { gene });
            }
            Ok(description.decode(part))
        };
        self.genes.iter().enumerate().map(decode_next).collect()
    }

    /// A search vector that decodes to these values (reals up to rounding): integers and yes-or-no at the middle of their
    /// cell, the chosen case at 2/3 and the others at 1/3, so that a search that starts there still tries the others.
    ///
    /// # Errors
    /// A wrong number of values; a value of another kind than its gene or outside its range.
    pub fn encode(&self, values: &[Value]) -> Result<Vec<f64>, GeneError> {
        if values.len() != self.genes.len() {
            return Err(GeneError::Length { expected: self.genes.len(), found: values.len() });
        }
        let mut vector = Vec::with_capacity(self.dimension());
        for (gene, (description, value)) in self.genes.iter().zip(values).enumerate() {
            vector.extend(description.encode(value).ok_or(GeneError::Value { gene })?);
        }
        Ok(vector)
    }
}

impl Gene {
    fn check(self) -> Result<(), &'static str> {
        let (valid, rule) = match self {
            Self::Real { low, high, log: false } => {
                (low <= high && (high - low).is_finite(), "its low end must not be above its high end, both finite")
            }
            Self::Real { low, high, log: true } => (
                0.0 < low && low <= high && high.is_finite(),
                "a log range needs positive finite ends, low before high",
            ),
            Self::Int { low, high, log: false } => {
                (low <= high && high.abs_diff(low) < 1 << 52, "its low end must not be above its high end")
            }
            Self::Int { low, high, log: true } => {
                (1 <= low && low <= high && high < 1 << 52, "a log range of integers needs 1 or more, low before high")
            }
            Self::OneOf { cases } => (cases > 0, "it needs at least one case"),
            Self::Bool => (true, ""),
            Self::Permutation { length } => (length > 0, "it needs at least one thing to order"),
        };
        if valid { Ok(()) } else { Err(rule) }
    }

    /// Number of coordinates.
    fn width(self) -> usize {
        match self {
            Self::OneOf { cases } => cases,
            Self::Permutation { length } => length,
            _ => 1,
        }
    }

    fn kind(self) -> Kind {
        match self {
            Self::Real { .. } => Kind::Continuous,
            Self::Int { low, high, log: false } => Kind::Cells(Cells::Even { count: high.abs_diff(low) + 1 }),
            Self::Int { low, high, log: true } => Kind::Cells(Cells::Log { low, high }),
            Self::Bool => Kind::Cells(Cells::Even { count: 2 }),
            Self::OneOf { .. } | Self::Permutation { .. } => Kind::Key,
        }
    }

    /// Decodes [`Gene::width`] coordinates, none of them NaN.
    fn decode(self, part: &[f64]) -> Value {
        let unit = part.first().map_or(0.0, |u| u.clamp(0.0, 1.0));
        match self {
            Self::Real { low, high, log } => {
                let value = if log {
                    libm::exp(libm::log(low) + unit * (libm::log(high) - libm::log(low)))
                } else {
                    low + unit * (high - low)
                };
                Value::Real(value.clamp(low, high))
            }
            Self::Int { low, .. } => match self.kind() {
                Kind::Cells(cells) => Value::Int(low + cells.index(unit) as i64),
                _ => Value::Int(low),
            },
            Self::OneOf { .. } => {
                let better = |best: usize, i: usize| if part[i] > part[best] { i } else { best };
                Value::Case((0..part.len()).fold(0, better))
            }
            Self::Bool => Value::Bool(unit > 0.5),
            Self::Permutation { length } => {
                let mut order: Vec<usize> = (0..length).collect();
                order.sort_by(|&a, &b| part[a].total_cmp(&part[b]));
                Value::Order(order)
            }
        }
    }

    fn encode(self, value: &Value) -> Option<Vec<f64>> {
        match (self, value) {
            (Self::Real { low, high, log }, Value::Real(v)) if (low..=high).contains(v) => {
                let share = match log {
                    true => (libm::log(*v) - libm::log(low)) / (libm::log(high) - libm::log(low)),
                    false => (v - low) / (high - low),
                };
                Some(vec![if low == high { 0.5 } else { share.clamp(0.0, 1.0) }])
            }
            (Self::Int { low, high, .. }, Value::Int(v)) if (low..=high).contains(v) => match self.kind() {
                Kind::Cells(cells) => {
                    let (lower, upper) = cells.edges(v.abs_diff(low));
                    Some(vec![(lower + upper) / 2.0])
                }
                _ => None,
            },
            (Self::OneOf { cases }, Value::Case(chosen)) if *chosen < cases => {
                Some((0..cases).map(|i| if i == *chosen { 2.0 / 3.0 } else { 1.0 / 3.0 }).collect())
            }
            (Self::Bool, Value::Bool(yes)) => Some(vec![if *yes { 0.75 } else { 0.25 }]),
            (Self::Permutation { length }, Value::Order(order)) if order.len() == length => {
                let mut keys = vec![f64::NAN; length];
                for (rank, &index) in order.iter().enumerate() {
                    *keys.get_mut(index)? = (rank as f64 + 0.5) / length as f64;
                }
                keys.iter().all(|key| !key.is_nan()).then_some(keys)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Stream;
    use proptest::prelude::*;

    fn every_kind() -> Space {
        Space::new(vec![
            Gene::Real { low: -2.0, high: 3.0, log: false },
            Gene::Real { low: 1e-5, high: 1e-1, log: true },
            Gene::Int { low: -3, high: 3, log: false },
            Gene::Int { low: 1, high: 512, log: true },
            Gene::OneOf { cases: 3 },
            Gene::Bool,
            Gene::Permutation { length: 5 },
        ])
        .unwrap()
    }

    proptest! {
        #[test]
        fn what_was_decoded_encodes_to_itself(u in prop::collection::vec(0.0..=1.0f64, 13)) {
            let space = every_kind();
            let values = space.decode(&u).unwrap();
            let again = space.decode(&space.encode(&values).unwrap()).unwrap();
            for (a, b) in values.iter().zip(&again) {
                match (a, b) {
                    (Value::Real(a), Value::Real(b)) => prop_assert!((a - b).abs() <= 1e-12 * a.abs().max(1.0)),
                    _ => prop_assert_eq!(a, b),
                }
            }
        }

        #[test]
        fn any_vector_decodes_within_the_ranges(u in prop::collection::vec(-10.0..10.0f64, 13)) {
            let values = every_kind().decode(&u).unwrap();
            prop_assert!(every_kind().encode(&values).is_ok());
        }
    }

    #[test]
    fn uniform_coordinates_make_uniform_values() {
        let space = every_kind();
        let n = 21_000;
        let mut counts = [[0u32; 7]; 3];
        for i in 0..n {
            let mut u = vec![0.0; space.dimension()];
            Stream::from_seed(8).at(i).fill_uniform(0, &mut u);
            let values = space.decode(&u).unwrap();
            if let [_, _, Value::Int(v), _, Value::Case(case), _, Value::Order(order)] = &values[..] {
                counts[0][(v + 3) as usize] += 1;
                counts[1][*case] += 1;
                counts[2][order[0]] += 1;
            }
        }
        for (row, cells) in counts.iter().zip([7, 3, 5]) {
            let expected = n as f64 / cells as f64;
            assert!(row[..cells].iter().all(|&c| (f64::from(c) - expected).abs() < 5.0 * expected.sqrt()), "{row:?}");
        }
    }

    #[test]
    fn ends_and_ties() {
        let space = every_kind();
        let low = space.decode(&[0.0; 13]).unwrap();
        let high = space.decode(&[1.0; 13]).unwrap();
        assert_eq!(low[..4], [Value::Real(-2.0), Value::Real(1e-5), Value::Int(-3), Value::Int(1)]);
        assert_eq!(high[..4], [Value::Real(3.0), Value::Real(1e-1), Value::Int(3), Value::Int(512)]);
        assert_eq!(low[4..], [Value::Case(0), Value::Bool(false), Value::Order(vec![0, 1, 2, 3, 4])]);
        assert_eq!(space.decode(&[0.5; 13]).unwrap()[5], Value::Bool(false));
    }

    #[test]
    fn empty_genes_and_wrong_values_are_refused() {
        let empty = [
            Gene::Real { low: 1.0, high: 0.0, log: false },
            Gene::Real { low: 0.0, high: 1.0, log: true },
            Gene::Real { low: f64::NAN, high: 1.0, log: false },
            Gene::Int { low: 2, high: 1, log: false },
            Gene::Int { low: i64::MIN, high: i64::MAX, log: false },
            Gene::OneOf { cases: 0 },
            Gene::Permutation { length: 0 },
        ];
        for gene in empty {
            assert!(matches!(Space::new(vec![Gene::Bool, gene]), Err(GeneError::Empty { gene: 1, .. })), "{gene:?}");
        }
    }

    #[test]
    fn wrong_values_are_refused() {
        let int = Gene::Int { low: 0, high: 3, log: false };
        let space = Space::new(vec![int, Gene::Permutation { length: 2 }]).unwrap();
        let encode = |int: Value, order: &[usize]| space.encode(&[int, Value::Order(order.to_vec())]);
        let value = |gene| GeneError::Value { gene };
        let length = GeneError::Length { expected: 3, found: 2 };
        assert_eq!(encode(Value::Int(4), &[0, 1]), Err(value(0)));
        assert_eq!(encode(Value::Bool(true), &[0, 1]), Err(value(0)));
        assert_eq!(encode(Value::Int(0), &[1, 1]), Err(value(1)));
        assert_eq!(space.decode(&[0.5; 2]), Err(length));
        assert_eq!(space.decode(&[0.5, f64::NAN, 0.5]), Err(value(1)));
    }
}
