//! What `plot value over range` draws: losses and functions of one number.

use evo_lang::plan::{Const, RangeConst};

use super::{Chart, Mark, Series, to_svg, to_terminal};
use crate::cx::{Draw, Failure};
use crate::loss::{Loss, curves};
use crate::value::{NumericFn, Value};

/// Rows of a terminal chart.
const TERMINAL_HEIGHT: usize = 16;
/// Points of a function's curve.
const POINTS: usize = 401;

impl Draw for Chart {
    fn svg(&self) -> String {
        to_svg(self)
    }

    fn terminal(&self, width: usize) -> String {
        to_terminal(self, width, TERMINAL_HEIGHT)
    }
}

/// The chart of a value over a range: a loss or several, a numeric function of one number or several. `None` for
/// what is no function of one number. Losses have a range of their own, -4 to 4, where none is given.
///
/// # Errors
/// An empty range, or a function that fails inside of it.
pub fn over(value: &Value, range: Option<RangeConst>) -> Option<Result<Chart, Failure>> {
    let items = value.items().unwrap_or_else(|| vec![value.clone()]);
    let losses: Option<Vec<&Loss>> = items.iter().map(Value::downcast::<Loss>).collect();
    if let Some(losses) = losses.filter(|losses| !losses.is_empty()) {
        let usual = RangeConst { lo: -4.0, hi: 4.0, inclusive: true, whole: false };
        return Some(curves(&losses, range.unwrap_or(usual)));
    }
    let code = |item: &Value| match item {
        Value::Code(code) if code.arity == 1 => Some(code.clone()),
        _ => None,
    };
    let functions: Vec<NumericFn> = items.iter().map(code).collect::<Option<_>>()?;
    Some(functions_over(&functions, range?))
}

fn functions_over(functions: &[NumericFn], range: RangeConst) -> Result<Chart, Failure> {
    let (lo, hi) = (range.lo, range.hi);
    if !(lo < hi && lo.is_finite() && hi.is_finite()) {
        return Err(Failure::new("R0503", format!("there is nothing to draw from {lo} to {hi}"))
            .help("give a range such as `-4..4`"));
    }
    let mut chart = Chart::new("").axes("x", "value");
    for (i, function) in functions.iter().enumerate() {
        let mut points = Vec::with_capacity(POINTS);
        for step in 0..POINTS {
            let x = lo + (hi - lo) * step as f64 / (POINTS - 1) as f64;
            let y = function.call(&[x.to_bits()])?;
            points.push((x, Const::as_real(&y).unwrap_or(f64::NAN)));
        }
        let name = if functions.len() == 1 { String::new() } else { format!("function {}", i + 1) };
        chart = chart.with(Series::new(name, Mark::Line, points));
    }
    Ok(chart)
}
