//! Losses as curves: value and slope over `z`.

use evo_lang::plan::RangeConst;

use super::{Batch, Loss};
use crate::cx::Failure;
use crate::plot::{Chart, Mark, Series};

/// Points of a curve.
const POINTS: usize = 401;

/// The curves of losses' values and slopes over a range of `z`, on rows of equal distance that make up one batch. The
/// chosen answer carries all of `z`: `rejected` is 0, `beta` 0.1, the reference's log-probabilities are 0, all answers
/// of length 1. Of a loss of two values a row, their sum is drawn.
///
/// # Errors
/// A range without inside, or a loss that is no row code.
pub fn curves(losses: &[&Loss], over: RangeConst) -> Result<Chart, Failure> {
    let (lo, hi) = (over.lo, over.hi);
    if !(lo < hi && lo.is_finite() && hi.is_finite()) {
        return Err(Failure::new("R0503", format!("there is nothing to draw from {lo} to {hi}"))
            .help("give a range such as `-4..4`"));
    }
    let beta = 0.1;
    let z: Vec<f64> = (0..POINTS).map(|i| lo + (hi - lo) * i as f64 / (POINTS - 1) as f64).collect();
    let fixed = |x: f64| Some(vec![x; POINTS]);
    let logp = z.iter().map(|z| z / beta).collect();
    let names: Vec<&str> = losses.iter().map(|l| &*l.name).collect();
    let mut chart = Chart::new(names.join(", ")).axes("z", "value and slope");
    let columns = [
        Some(z.clone()),
        Some(z.clone()),
        fixed(0.0),
        Some(logp),
        fixed(0.0),
        fixed(0.0),
        fixed(0.0),
        fixed(1.0),
        fixed(1.0),
    ];
    let batch = Batch::new(columns, beta)?;
    for loss in losses {
        let read = |name: &str| loss.inputs.iter().any(|input| &**input == name);
        let sources: Vec<(usize, f64)> = [("z", 0, 1.0), ("chosen", 1, 1.0), ("logp_chosen", 3, 1.0 / beta)]
            .into_iter()
            .filter(|(name, ..)| read(name))
            .map(|(_, at, scale)| (at, scale))
            .collect();
        let mut values = batch.values(loss)?;
        let mut slopes = vec![0.0; POINTS];
        for (at, scale) in sources {
            let columns = batch.both(loss, at)?;
            for (slope, by) in slopes.iter_mut().zip(columns.last().into_iter().flatten()) {
                *slope += scale * by;
            }
        }
        let first = values.remove(0);
        let total = first.iter().enumerate().map(|(i, x)| x + values.iter().filter_map(|c| c.get(i)).sum::<f64>());
        let points = |ys: Vec<f64>| z.iter().copied().zip(ys).collect::<Vec<_>>();
        chart = chart.with(Series::new(loss.name.to_string(), Mark::Line, points(total.collect())));
        chart = chart.with(Series::new(format!("{}'s slope", loss.name), Mark::Line, points(slopes)));
    }
    Ok(chart)
}
