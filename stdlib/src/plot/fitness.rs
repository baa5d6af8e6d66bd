//! The chart of a search: every candidate, each generation's middle half, and the best so far.

use super::{Chart, Mark, Series};

/// One evaluated candidate of a search's history, in the order of evaluation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evaluation {
    /// Which generation it belongs to, from 0.
    pub generation: usize,
    /// Its score; not finite where the evaluation failed.
    pub score: f64,
}

/// Which scores are better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Higher ones.
    Maximize,
    /// Lower ones.
    Minimize,
}

impl Goal {
    fn better(self, a: f64, b: f64) -> f64 {
        match self {
            Goal::Maximize => a.max(b),
            Goal::Minimize => a.min(b),
        }
    }
}

/// The chart of a search's history: a dot for each candidate, the median of each generation with a band from its lower to its
/// upper quartile, and the best so far as a staircase. Failed candidates have no dot; the note under the title counts them.
/// The horizontal axis counts evaluations from 1; a generation's median stands at its middle.
pub fn fitness(title: impl Into<String>, history: &[Evaluation], goal: Goal) -> Chart {
    let failed = history.iter().filter(|evaluation| !evaluation.score.is_finite()).count();
    let scored = || {
        history
            .iter()
            .enumerate()
            .map(|(at, evaluation)| ((at + 1) as f64, evaluation.score))
            .filter(|(_, score)| score.is_finite())
    };
    let mut best = f64::NAN;
    let mut so_far: Vec<(f64, f64)> = scored()
        .map(|(at, score)| {
            best = goal.better(best, score);
            (at, best)
        })
        .collect();
    if best.is_finite() && so_far.last().is_some_and(|(at, _)| *at < history.len() as f64) {
        so_far.push((history.len() as f64, best));
    }
    let generations = generations(history);
    let mut chart = Chart::new(title).axes("evaluations", "fitness");
    chart.note = match (failed, history.len()) {
        (_, 0) => "no evaluation yet".to_owned(),
        (0, n) => format!("{n} evaluations"),
        (failed, n) => format!("{n} evaluations, {failed} of them failed"),
    };
    chart = chart.with(Series::new("candidate", Mark::Points, scored()));
    if generations.len() > 1 {
        let middle = generations.iter().map(|(at, quartiles)| (*at, quartiles[1]));
        let band = generations.iter().map(|(at, quartiles)| (*at, quartiles[0], quartiles[2]));
        chart = chart.with(Series::new("generation's median and quartiles", Mark::Line, middle).with_band(band));
    }
    chart.with(Series::new("best so far", Mark::Steps, so_far))
}

/// For each generation with a finite score: its middle on the axis, and its quartiles.
fn generations(history: &[Evaluation]) -> Vec<(f64, [f64; 3])> {
    let mut found = Vec::new();
    let mut before = 0;
    for members in history.chunk_by(|a, b| a.generation == b.generation) {
        let mut scores: Vec<f64> =
            members.iter().map(|member| member.score).filter(|score| score.is_finite()).collect();
        scores.sort_by(f64::total_cmp);
        if !scores.is_empty() {
            let middle = before as f64 + (members.len() + 1) as f64 / 2.0;
            found.push((middle, [0.25, 0.5, 0.75].map(|share| quantile(&scores, share))));
        }
        before += members.len();
    }
    found
}

/// The quantile of ascending, non-empty `sorted` at `share`, interpolated linearly (type 7 of Hyndman and Fan, 1996).
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = share * (sorted.len() - 1) as f64;
    let (low, high) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    low + (high - low) * at.fract()
}
