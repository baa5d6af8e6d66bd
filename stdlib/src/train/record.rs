//! The record of a training: what each step and each evaluation gave. It stays with the model.

use std::any::Any;
use std::sync::Arc;

use evo_lang::plan::Const;

use crate::cx::Draw;
use crate::plain;
use crate::plot::{Chart, Mark, Series, to_svg, to_terminal};
use crate::value::Object;

/// What a training did.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Record {
    /// Its steps, from the first.
    pub steps: Vec<Step>,
    /// What the further figures of each step are called.
    pub metrics: Vec<String>,
    /// The evaluations: after how many steps, and the loss.
    pub evaluations: Vec<(usize, f64)>,
    /// After how many steps the parameters were taken that the training gave.
    pub kept: usize,
    /// Whether it ended before its last step for want of improvement.
    pub ended_early: bool,
}

/// A step of a training.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Step {
    /// The mean loss of its batch, before the step.
    pub loss: f64,
    /// The learning rate.
    pub rate: f64,
    /// The gradient's norm, before clipping.
    pub norm: f64,
    /// Input tokens of all steps so far.
    pub tokens: usize,
    /// Further figures, as [`Record::metrics`] names them.
    pub metrics: Vec<f64>,
}

/// What stands before a record's bytes.
const MARK: &[u8] = b"evo training 1\n";

/// Rows of a printed table.
const ROWS: usize = 12;
/// Rows of a terminal chart.
const TERMINAL_HEIGHT: usize = 16;

impl Record {
    /// The lowest evaluation, the earliest of equal ones: after how many steps, and the loss.
    pub fn best(&self) -> Option<(usize, f64)> {
        self.evaluations.iter().copied().reduce(|best, next| if next.1 < best.1 { next } else { best })
    }

    /// Evaluations since the best one.
    pub fn without_improvement(&self) -> usize {
        let best = self.best();
        self.evaluations.iter().rev().take_while(|e| best.is_some_and(|best| e.0 != best.0)).count()
    }

    /// As bytes, exactly.
    pub fn to_bytes(&self) -> Vec<u8> {
        let reals = |values: &[f64]| Const::List(values.iter().map(|x| Const::Real(*x)).collect());
        let column = |of: fn(&Step) -> f64| Const::List(self.steps.iter().map(|s| Const::Real(of(s))).collect());
        let steps: Vec<f64> = self.evaluations.iter().map(|e| e.0 as f64).collect();
        let losses: Vec<f64> = self.evaluations.iter().map(|e| e.1).collect();
        let whole = Const::List(Arc::from([
            column(|s| s.loss),
            column(|s| s.rate),
            column(|s| s.norm),
            column(|s| s.tokens as f64),
            Const::List(self.steps.iter().map(|s| reals(&s.metrics)).collect()),
            Const::List(self.metrics.iter().map(|name| Const::Text(name.as_str().into())).collect()),
            reals(&steps),
            reals(&losses),
            Const::Int(self.kept as i64),
            Const::Bool(self.ended_early),
        ]));
        [MARK, &plain::encode(&whole).unwrap_or_default()].concat()
    }

    /// From bytes that [`Record::to_bytes`] gave; nothing of others.
    pub fn from_bytes(bytes: &[u8]) -> Option<Record> {
        let whole = plain::decode(bytes.strip_prefix(MARK)?)?;
        let [loss, rate, norm, tokens, metrics, names, at, evaluated, kept, early] = whole.items()? else {
            return None;
        };
        let reals = |list: &Const| list.items()?.iter().map(Const::as_real).collect::<Option<Vec<f64>>>();
        let (loss, rate, norm, tokens) = (reals(loss)?, reals(rate)?, reals(norm)?, reals(tokens)?);
        let metrics: Vec<Vec<f64>> = metrics.items()?.iter().map(reals).collect::<Option<_>>()?;
        let names = names.items()?.iter().map(|name| Some(name.as_text()?.to_string())).collect::<Option<_>>()?;
        let columns = loss.into_iter().zip(rate).zip(norm.into_iter().zip(tokens)).zip(metrics);
        let steps = columns
            .map(|(((loss, rate), (norm, tokens)), metrics)| Step {
                loss,
                rate,
                norm,
                tokens: tokens as usize,
                metrics,
            })
            .collect();
        let evaluations = reals(at)?.into_iter().map(|step| step as usize).zip(reals(evaluated)?).collect();
        let kept = usize::try_from(kept.as_int()?).ok()?;
        let Const::Bool(ended_early) = early else { return None };
        Some(Record { steps, metrics: names, evaluations, kept, ended_early: *ended_early })
    }

    fn chart(&self) -> Chart {
        let note = match (self.steps.last(), self.best()) {
            (None, _) => "not trained".to_owned(),
            (Some(_), None) => format!("{} steps", self.steps.len()),
            (Some(_), Some((step, loss))) => {
                format!("{} steps; lowest evaluation {loss:.4} after {step}", self.steps.len())
            }
        };
        let points = |values: Vec<f64>| (1..).map(|step| step as f64).zip(values).collect::<Vec<(f64, f64)>>();
        let losses: Vec<f64> = self.steps.iter().map(|step| step.loss).collect();
        let chart = Chart { note, ..Chart::new("training").axes("step", "loss") };
        let width = (losses.len() / 50).max(1);
        let chart = chart.with(Series::new("a batch", Mark::Points, points(losses.clone())));
        let chart = chart.with(Series::new("smoothed", Mark::Line, points(smoothed(&losses, width))));
        let evaluations: Vec<(f64, f64)> = self.evaluations.iter().map(|(step, loss)| (*step as f64, *loss)).collect();
        match evaluations.is_empty() {
            true => chart,
            false => chart.with(Series::new("evaluation", Mark::Line, evaluations)),
        }
    }
}

/// The mean of the finite values within `width` steps before and after each.
fn smoothed(values: &[f64], width: usize) -> Vec<f64> {
    (0..values.len())
        .map(|i| {
            // As many to either side, so that the ends do not lean.
            let reach = width.min(i).min(values.len() - 1 - i);
            let near = values.get(i - reach..=i + reach).unwrap_or_default().iter().filter(|x| x.is_finite());
            let (sum, count) = near.fold((0.0, 0), |(sum, count), x| (sum + x, count + 1));
            if count == 0 { f64::NAN } else { sum / f64::from(count) }
        })
        .collect()
}

impl Draw for Record {
    fn svg(&self) -> String {
        to_svg(&self.chart())
    }

    fn terminal(&self, width: usize) -> String {
        to_terminal(&self.chart(), width, TERMINAL_HEIGHT)
    }
}

/// What programs see: `model.training`.
impl Object for Record {
    fn kind(&self) -> &'static str {
        "Training"
    }

    /// A dozen of its steps, the first and the last among them, with the evaluation that came last.
    fn show(&self) -> Const {
        let count = self.steps.len();
        let last = count.saturating_sub(1);
        let mut shown: Vec<usize> = (0..ROWS).map(|i| (i * last + (ROWS - 1) / 2) / (ROWS - 1)).collect();
        shown.dedup();
        let row = |i: &usize| {
            let step = self.steps.get(*i)?;
            let evaluated = self.evaluations.iter().rev().find(|(at, _)| *at <= i + 1);
            let mut fields = vec![
                ("step".into(), Const::Int(*i as i64 + 1)),
                ("loss".into(), Const::Real(step.loss)),
                ("rate".into(), Const::Real(step.rate)),
                ("norm".into(), Const::Real(step.norm)),
                ("tokens".into(), Const::Int(step.tokens as i64)),
            ];
            let metrics = self.metrics.iter().zip(&step.metrics);
            fields.extend(metrics.map(|(name, value)| (name.as_str().into(), Const::Real(*value))));
            if let Some((_, loss)) = evaluated {
                fields.push(("evaluation".into(), Const::Real(*loss)));
            }
            Some(Const::Record(fields.into()))
        };
        Const::List(shown.iter().filter_map(row).collect())
    }

    fn draw(&self) -> Option<&dyn Draw> {
        Some(self)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let step = |i: usize| Step {
            loss: 3.0 / (i + 1) as f64,
            rate: 1e-3,
            norm: if i == 7 { f64::NAN } else { 0.5 },
            tokens: 10 * (i + 1),
            metrics: vec![i as f64],
        };
        let evaluations = vec![(0, 3.0), (20, 1.0), (40, 0.5), (60, 0.5), (80, 0.75)];
        let metrics = vec!["accuracy".to_owned()];
        Record { steps: (0..100).map(step).collect(), metrics, evaluations, kept: 40, ended_early: true }
    }

    #[test]
    fn its_bytes_are_exact_and_torn_ones_are_refused() {
        let bytes = record().to_bytes();
        let read = Record::from_bytes(&bytes).unwrap();
        assert_eq!(read.to_bytes(), bytes);
        assert_eq!((read.best(), read.without_improvement()), (Some((40, 0.5)), 2));
        assert_eq!(read.evaluations, record().evaluations);
        for end in [0, 5, MARK.len(), bytes.len() - 1] {
            assert_eq!(Record::from_bytes(&bytes[..end]), None);
        }
    }

    #[test]
    fn a_table_shows_the_first_and_the_last_step() {
        let Const::List(rows) = record().show() else { panic!("a table") };
        assert_eq!(rows.len(), ROWS);
        let at = |row: &Const, name: &str| row.field(name).unwrap().clone();
        assert_eq!((at(&rows[0], "step"), at(&rows[11], "step")), (Const::Int(1), Const::Int(100)));
        assert_eq!((at(&rows[0], "evaluation"), at(&rows[11], "evaluation")), (Const::Real(3.0), Const::Real(0.75)));
        assert_eq!(Record::default().show(), Const::List(Arc::from([])));
    }

    #[test]
    fn its_curve_is_drawn_with_evaluations() {
        let svg = record().svg();
        for word in ["training", "step", "loss", "smoothed", "evaluation", "lowest evaluation 0.5000 after 40"] {
            assert!(svg.contains(word), "{word}");
        }
        assert!(record().terminal(80).lines().count() > 8);
        assert!(Record::default().svg().contains("not trained"));
    }
}
