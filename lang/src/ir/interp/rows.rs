//! Row code over columns: step by step, each value for all rows.

use super::super::rows::{RowFunction, order, verify};
use super::super::{Batch, Fault, NumericError, Op, Type, scalar};
use super::{Datum, binary, unary};
use crate::span::Span;

/// Runs row code over columns and returns its output columns. An input is a column of `rows` numbers, or one number
/// for a uniform parameter (a bool as 0 or 1); an output that is one number for the batch comes back as a column of
/// one. Sums are compensated, so that they can judge those of faster engines.
///
/// # Errors
/// [`Fault::Slots`] for inputs that do not fit the parameters or code that is no row code; nothing else can fail.
pub fn run_rows(row: &RowFunction, rows: usize, inputs: &[&[f64]]) -> Result<Vec<Vec<f64>>, NumericError> {
    let raise = |fault| NumericError { fault, span: Span::default() };
    let refuse =
        |expected: usize, given: usize| Err(raise(Fault::Slots { expected: expected as u64, given: given as u64 }));
    let function = &row.function;
    if verify(row).is_err() || inputs.len() != row.uniform.len() {
        return refuse(row.uniform.len(), inputs.len());
    }
    let mut frame = Columns { values: vec![Vec::new(); function.values.len()], rows };
    for (((param, ty), uniform), input) in
        function.body.params.iter().zip(function.params()).zip(&row.uniform).zip(inputs)
    {
        let expected = if *uniform { 1 } else { rows };
        if input.len() != expected {
            return refuse(expected, input.len());
        }
        let column = input.iter().map(|x| match ty {
            Type::Bool => Datum::Bool(*x != 0.0),
            Type::Int => Datum::Int(*x as i64),
            _ => Datum::Real(*x),
        });
        frame.set(param.0, column.collect());
    }
    for step in &function.body.steps {
        let column = frame.step(&step.op).map_err(|fault| NumericError { fault, span: step.span })?;
        frame.set(step.value.0, column);
    }
    Ok(row.columns().iter().map(|v| frame.reals(*v)).collect())
}

/// The values so far: a column each, of one datum where it is uniform.
struct Columns {
    values: Vec<Vec<Datum>>,
    rows: usize,
}

impl Columns {
    fn set(&mut self, value: u32, column: Vec<Datum>) {
        if let Some(slot) = self.values.get_mut(value as usize) {
            *slot = column;
        }
    }

    fn column(&self, value: u32) -> &[Datum] {
        self.values.get(value as usize).map_or(&[], Vec::as_slice)
    }

    fn reals(&self, value: super::Value) -> Vec<f64> {
        let real = |d: &Datum| if let Datum::Real(x) = d { *x } else { f64::NAN };
        self.column(value.0).iter().map(real).collect()
    }

    fn step(&self, op: &Op) -> Result<Vec<Datum>, Fault> {
        match op {
            Op::Batch(batch) => Ok(self.batch(*batch).into_iter().map(Datum::Real).collect()),
            Op::Int(x) => Ok(vec![Datum::Int(*x)]),
            Op::Real(x) => Ok(vec![Datum::Real(*x)]),
            Op::Bool(x) => Ok(vec![Datum::Bool(*x)]),
            _ => {
                let operands: Vec<&[Datum]> = op.operands().iter().map(|v| self.column(v.0)).collect();
                // Of one datum where all operands are, and so even if there are no rows.
                let rows = if operands.iter().all(|c| c.len() == 1) { 1 } else { self.rows };
                let at = |column: &&[Datum], i: usize| {
                    let i = if column.len() == 1 { 0 } else { i };
                    column.get(i).cloned().unwrap_or(Datum::Bool(false))
                };
                (0..rows).map(|i| apply(op, &operands.iter().map(|c| at(c, i)).collect::<Vec<_>>())).collect()
            }
        }
    }

    fn batch(&self, batch: Batch) -> Vec<f64> {
        match batch {
            Batch::Sum(x) => vec![scalar::sum(&self.reals(x))],
            Batch::Count => vec![self.rows as f64],
            Batch::Detach(x) => self.reals(x),
            Batch::Sort { key, value } => {
                let values = self.reals(value);
                order(&self.reals(key)).iter().filter_map(|i| values.get(*i).copied()).collect()
            }
            Batch::Unsort { key, value } => {
                let mut back = vec![f64::NAN; self.rows];
                for (i, value) in order(&self.reals(key)).into_iter().zip(self.reals(value)) {
                    if let Some(slot) = back.get_mut(i) {
                        *slot = value;
                    }
                }
                back
            }
        }
    }
}

fn apply(op: &Op, operands: &[Datum]) -> Result<Datum, Fault> {
    Ok(match (op, operands) {
        (Op::Unary(op, _), [x]) => unary(*op, x)?,
        (Op::Binary(op, ..), [a, b]) => binary(*op, a, b)?,
        (Op::Select { .. }, [condition, then, otherwise]) => {
            if matches!(condition, Datum::Bool(true)) {
                then.clone()
            } else {
                otherwise.clone()
            }
        }
        (Op::Struct(_) | Op::Array(_), parts) => Datum::Parts(parts.into()),
        _ => Datum::Bool(false),
    })
}
