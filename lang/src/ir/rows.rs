//! Row code: a scalar formula that is computed for every row of a batch, with operations that see all rows.
//!
//! A [`RowFunction`] is one straight [`Function`]: no calls, loops or blocks, no aggregates but the result, no step
//! that can fail. Its parameters are scalars; each is *uniform* (one number for the batch, such as a loss's `tau`) or
//! *per row* (a column of reals). Its result is a real, or a struct (or an array, nested at will) of reals: one output
//! column for each slot, in order. What makes it more than a formula is [`Batch`]: sums over all rows, their number,
//! and sorting, from which mean, variance and standard deviation are built ([`mean`], [`variance`], [`deviation`]).
//!
//! Every value has a [`Level`] and a *stage* ([`levels`]). A uniform value is computed once, a row value for each row.
//! A value of stage `s` can be computed once the operations over rows of the stages before have been: an engine makes
//! one sweep over the rows for each stage, computes in it what the stage's sums need (again, rather than keeping it in
//! memory, unless it was sorted), and finishes the sums between sweeps. Code without [`Batch`] has stage 0 alone.
//!
//! [`verify`] says what is well formed, [`super::interp::run_rows`] what it means.

use super::straight::{self, NotStraight};
use super::verify::{IrError, function_in, malformed};
use super::{Batch, Binary, Function, Module, Op, Type, Unary, Value, simplify};

mod bind;
mod stats;

pub use stats::{deviation, mean, variance};

/// A function over the rows of a batch.
///
/// ```
/// use evo_lang::ir::{Batch, Binary, Op, Type, builder::Builder, interp, rows::RowFunction};
/// // Each row's share of the batch's sum, scaled.
/// let mut b = Builder::new("share", &[Type::Real, Type::Real]);
/// let (x, scale) = (b.params()[0], b.params()[1]);
/// let sum = b.push(Op::Batch(Batch::Sum(x)))?;
/// let share = b.binary(Binary::Div, x, sum)?;
/// let scaled = b.binary(Binary::Mul, share, scale)?;
/// let share = RowFunction { function: b.finish(scaled)?, uniform: vec![false, true] };
/// let columns = interp::run_rows(&share, 3, &[&[1.0, 2.0, 5.0], &[4.0]])?;
/// assert_eq!(columns, [[0.5, 1.0, 2.5]]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct RowFunction {
    /// The code.
    pub function: Function,
    /// For each parameter, whether it is one number for the whole batch.
    pub uniform: Vec<bool>,
}

impl RowFunction {
    /// Row code of a module's entry: calls inlined, loops unrolled, branches made selections of which both sides are
    /// computed, operations over rows on uniform values written without them, and simplified.
    ///
    /// # Errors
    /// What cannot be made straight, or has steps that can fail.
    pub fn new(module: &Module, uniform: Vec<bool>) -> Result<RowFunction, NotStraight> {
        let straight = straight::straighten(module, Some(&uniform))?;
        RowFunction { function: straight.finish()?, uniform }.simplified()
    }

    /// The same, simplified; checked, too.
    pub(super) fn simplified(self) -> Result<RowFunction, NotStraight> {
        let RowFunction { function, uniform } = self;
        let mut module = simplify::simplify(Module { functions: vec![function] });
        let Some(function) = module.functions.pop() else { return Err(NotStraight::TooLong) };
        let row = RowFunction { function, uniform };
        verify(&row)?;
        Ok(row)
    }

    /// How many output columns there are.
    pub fn outputs(&self) -> usize {
        self.function.output_slots() as usize
    }

    /// The real that each output column is of: the result, or the parts of which it is put together. Each has a level
    /// of its own; a uniform one is one number for the batch.
    pub fn columns(&self) -> Vec<Value> {
        // The aggregates by value: what is put together of many parts is many columns.
        let mut made: Vec<Option<&[Value]>> = vec![None; self.function.values.len()];
        for step in &self.function.body.steps {
            if let (Op::Struct(parts) | Op::Array(parts), Some(slot)) = (&step.op, made.get_mut(step.value.0 as usize))
            {
                *slot = Some(parts);
            }
        }
        let mut columns = Vec::new();
        columns_of(self.function.body.result, &made, &mut columns);
        columns
    }
}

fn columns_of(value: Value, made: &[Option<&[Value]>], into: &mut Vec<Value>) {
    match made.get(value.0 as usize) {
        Some(Some(parts)) => parts.iter().for_each(|part| columns_of(*part, made, into)),
        _ => into.push(value),
    }
}

/// Whether a value is one for the batch or one for each row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// One for the batch.
    Uniform,
    /// One for each row.
    Row,
}

/// Where a value of row code belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// One for the batch, or one for each row.
    pub level: Level,
    /// How many operations over rows lie before it, one behind another. A sum is of the stage after that of what it
    /// sums, and so is what has been sorted.
    pub stage: u32,
}

/// Level and stage of every value, by index. Levels of aggregates are those of their least local part.
pub fn levels(row: &RowFunction) -> Vec<Placed> {
    let uniform = Placed { level: Level::Uniform, stage: 0 };
    let mut placed = vec![uniform; row.function.values.len()];
    let body = &row.function.body;
    for (param, uniform) in body.params.iter().zip(&row.uniform) {
        if let (Some(slot), false) = (placed.get_mut(param.0 as usize), uniform) {
            slot.level = Level::Row;
        }
    }
    for step in &body.steps {
        let mut at = uniform;
        step.op.each_operand(&mut |v| {
            let operand = placed.get(v.0 as usize).copied().unwrap_or(uniform);
            at = Placed { level: at.level.max(operand.level), stage: at.stage.max(operand.stage) };
        });
        match step.op {
            Op::Batch(Batch::Sum(_)) => at = Placed { level: Level::Uniform, stage: at.stage + 1 },
            Op::Batch(Batch::Sort { .. } | Batch::Unsort { .. }) => at.stage += 1,
            _ => {}
        }
        if let Some(slot) = placed.get_mut(step.value.0 as usize) {
            *slot = at;
        }
    }
    placed
}

/// Checks row code: well formed as any function is, straight, free of faults, with operations over rows only on values
/// that differ from row to row (the sum of a uniform `x` is written `x * count`).
///
/// # Errors
/// The first thing found wrong.
pub fn verify(row: &RowFunction) -> Result<(), IrError> {
    let function = &row.function;
    function_in(&[], function, true)?;
    if row.uniform.len() != function.body.params.len() {
        return malformed("row code has as many marks as parameters");
    }
    for (param, uniform) in function.params().zip(&row.uniform) {
        let fits = if *uniform { matches!(param, Type::Real | Type::Int | Type::Bool) } else { *param == Type::Real };
        if !fits {
            return malformed("a parameter of row code that is no number, or a column that is not real");
        }
    }
    if !function.result().is_some_and(all_real) {
        return malformed("row code yields reals");
    }
    let levels = levels(row);
    let level = |v: Value| levels.get(v.0 as usize).map_or(Level::Uniform, |p| p.level);
    for step in &function.body.steps {
        if !straight(function, &step.op) {
            return malformed("row code has no blocks, no calls, no steps that can fail");
        }
        match step.op {
            Op::Batch(Batch::Detach(_)) => {}
            Op::Batch(batch) if batch.operands().any(|v| level(v) == Level::Uniform) => {
                return malformed(format!("`{}` of one value for the batch", batch.name()));
            }
            _ => {}
        }
    }
    Ok(())
}

fn all_real(ty: &Type) -> bool {
    match ty {
        Type::Real => true,
        Type::Array(item, _) => all_real(item),
        Type::Struct(fields) => fields.iter().all(all_real),
        _ => false,
    }
}

/// Whether an operation may stand in row code.
fn straight(function: &Function, op: &Op) -> bool {
    let real = |v: &Value| function.ty(*v) == Some(&Type::Real);
    match op {
        Op::Unary(Unary::ToInt, _) => false,
        Op::Unary(Unary::Neg | Unary::Abs, x) => real(x),
        Op::Binary(Binary::Add | Binary::Sub | Binary::Mul, x, _) => real(x),
        Op::Binary(Binary::IntDiv | Binary::Rem, ..) => false,
        Op::Int(_) | Op::Real(_) | Op::Bool(_) | Op::Unary(..) | Op::Binary(..) | Op::Select { .. } => true,
        Op::Struct(_) | Op::Array(_) | Op::Batch(_) => true,
        Op::Text(_) | Op::If { .. } | Op::Field(..) | Op::Index(..) => false,
        Op::Build { .. } | Op::Fold { .. } | Op::Call(..) => false,
    }
}

/// The rows in ascending order of their keys: stable, -0 equal to +0, NaN last.
pub fn order(keys: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..keys.len()).collect();
    let key = |i: usize| keys.get(i).copied().unwrap_or(f64::NAN);
    order.sort_by(|a, b| {
        let (a, b) = (key(*a), key(*b));
        a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
    });
    order
}

#[cfg(test)]
mod tests;
