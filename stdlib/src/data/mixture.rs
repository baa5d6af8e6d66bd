//! Tables mixed in stated proportions, and columns made anew so that tables of different form can be.

use std::sync::Arc;

use evo_kernels::rng::Stream;

use super::{Cell, Data, DataError, Row, Template};

/// Rows that a mixture may have.
const MOST: f64 = 1e8;

/// When a mixture ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// When each row of every source has been taken; rows of sources that end before come again, in a new order.
    All,
    /// When the first source ends; rows of the others are left out.
    First,
}

/// How many rows each source gives. `shares` need not make up 1.
///
/// # Errors
/// [`DataError::BadArgument`] for shares that are negative, all 0 or not one for each source, a source without rows, and proportions
/// that would repeat a source without end.
pub fn mixed_rows(lengths: &[usize], shares: &[f64], ends: Ends) -> Result<Vec<usize>, DataError> {
    let wrong = |problem: String| Err(DataError::BadArgument { argument: "by", problem });
    if lengths.len() != shares.len() {
        return wrong(format!("has {} shares, and there are {} sources", shares.len(), lengths.len()));
    }
    if let Some(share) = shares.iter().find(|share| **share < 0.0 || !share.is_finite()) {
        return wrong(format!("holds {share}, and a share is not negative"));
    }
    let total: f64 = shares.iter().sum();
    if total <= 0.0 {
        return wrong("gives no source a share".to_owned());
    }
    let taken = lengths.iter().zip(shares).filter(|(_, share)| **share > 0.0);
    if taken.clone().any(|(length, _)| *length == 0) {
        return wrong("gives a share to a source without rows".to_owned());
    }
    let whole = taken.map(|(length, share)| *length as f64 * total / share);
    let rows = match ends {
        Ends::All => whole.fold(0.0, f64::max),
        Ends::First => whole.fold(f64::INFINITY, f64::min),
    };
    if rows > MOST {
        return wrong(format!("asks for {rows:.0} rows until the last source ends, more than {MOST:.0}"));
    }
    Ok(shares.iter().map(|share| (rows * share / total).round() as usize).collect())
}

impl Data {
    /// The rows of several tables in the proportions of `shares`, within half a row each, in an order drawn from `seed`.
    ///
    /// # Errors
    /// [`DataError::UnlikeColumns`], and as [`mixed_rows`].
    pub fn mixture(sources: &[Data], shares: &[f64], ends: Ends, seed: u64) -> Result<Data, DataError> {
        let lengths: Vec<usize> = sources.iter().map(Data::len).collect();
        let counts = mixed_rows(&lengths, shares, ends)?;
        let Some(first) = sources.first() else {
            return Err(DataError::BadArgument { argument: "by", problem: "has no source".to_owned() });
        };
        let stream = Stream::from_seed(seed).child("data.mixture");
        let mut rows: Vec<Arc<Row>> = Vec::with_capacity(counts.iter().sum());
        for (index, (source, count)) in sources.iter().zip(&counts).enumerate() {
            if source.columns() != first.columns() {
                let (left, right) = (first.columns().to_vec(), source.columns().to_vec());
                return Err(DataError::UnlikeColumns { left, right });
            }
            let stream = stream.at(index as u64);
            let rounds = count.div_ceil(source.len().max(1)) as u64;
            let drawn = (0..rounds).flat_map(|round| stream.at(round).permutation(source.len())).take(*count);
            rows.extend(drawn.filter_map(|row| source.rows().get(row).cloned()));
        }
        let order = stream.child("order").permutation(rows.len());
        Ok(first.with_rows(order.into_iter().filter_map(|row| rows.get(row).cloned())))
    }

    /// A table of columns that templates make of these. A template that is one column and nothing else keeps its values as they are;
    /// others give texts.
    ///
    /// # Errors
    /// [`DataError::UnknownColumn`], [`DataError::RepeatedColumn`].
    pub fn with_columns(&self, templates: &[(&str, Template)]) -> Result<Data, DataError> {
        let column = |(_, template): &(&str, Template)| -> Result<Vec<Cell>, DataError> {
            match template.only_column() {
                Some(name) => Ok(self.column(name)?.into_iter().cloned().collect()),
                None => Ok(template.render_all(self)?.into_iter().map(Cell::from).collect()),
            }
        };
        let columns = templates.iter().map(column).collect::<Result<Vec<_>, _>>()?;
        let row = |i: usize| columns.iter().filter_map(|column| column.get(i).cloned()).collect();
        Data::new(&templates.iter().map(|(name, _)| *name).collect::<Vec<_>>(), (0..self.len()).map(row).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(from: i64, count: i64) -> Data {
        Data::new(&["n"], (from..from + count).map(|n| vec![Cell::Int(n)]).collect()).unwrap()
    }

    fn values(data: &Data) -> Vec<i64> {
        let value = |cell: &Cell| if let Cell::Int(n) = cell { *n } else { panic!("{cell}") };
        data.column("n").unwrap().into_iter().map(value).collect()
    }

    #[test]
    fn each_source_gives_its_share() {
        let sources = [numbers(0, 10), numbers(100, 70)];
        let all = Data::mixture(&sources, &[0.3, 0.7], Ends::All, 1).unwrap();
        let (small, large): (Vec<i64>, Vec<i64>) = values(&all).into_iter().partition(|n| *n < 100);
        assert_eq!((small.len(), large.len()), (30, 70));
        assert!((0..10).all(|n| small.iter().filter(|m| **m == n).count() == 3), "whole rounds");
        let mut sorted = large.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (100..170).collect::<Vec<_>>());
        assert_ne!(sorted, large, "shuffled");
        let first = Data::mixture(&sources, &[3.0, 7.0], Ends::First, 1).unwrap();
        let (small, large): (Vec<i64>, Vec<i64>) = values(&first).into_iter().partition(|n| *n < 100);
        assert_eq!((small.len(), large.len()), (10, 23));
        assert_eq!(all, Data::mixture(&sources, &[0.3, 0.7], Ends::All, 1).unwrap());
        assert_ne!(all, Data::mixture(&sources, &[0.3, 0.7], Ends::All, 2).unwrap());
    }

    #[test]
    fn proportions_that_make_no_sense_are_refused() {
        let problem = |lengths: &[usize], shares: &[f64]| match mixed_rows(lengths, shares, Ends::All) {
            Err(DataError::BadArgument { argument: "by", problem }) => problem,
            other => panic!("{other:?}"),
        };
        assert_eq!(problem(&[1, 2], &[1.0]), "has 1 shares, and there are 2 sources");
        assert_eq!(problem(&[1, 2], &[1.0, -0.5]), "holds -0.5, and a share is not negative");
        assert_eq!(problem(&[1, 2], &[0.0, 0.0]), "gives no source a share");
        assert_eq!(problem(&[0, 2], &[0.5, 0.5]), "gives a share to a source without rows");
        assert!(problem(&[9, 9], &[1.0, 1e-12]).starts_with("asks for"));
        assert_eq!(mixed_rows(&[0, 2], &[0.0, 0.5], Ends::All).unwrap(), [0, 2]);
        let unlike = Data::new(&["m"], vec![vec![1.into()]]).unwrap();
        let mixed = Data::mixture(&[numbers(0, 1), unlike], &[1.0, 1.0], Ends::All, 0);
        assert!(matches!(mixed, Err(DataError::UnlikeColumns { .. })));
    }

    #[test]
    fn columns_are_made_by_templates() {
        let template = |text| Template::parse(text).unwrap();
        let made = numbers(3, 2).with_columns(&[("same", template("{n}")), ("text", template("<{n}>"))]).unwrap();
        assert_eq!(made.columns(), ["same", "text"]);
        assert_eq!(made.rows()[1].cells(), [Cell::Int(4), "<4>".into()]);
        assert!(numbers(0, 1).with_columns(&[("a", template("{m}"))]).is_err());
    }
}
