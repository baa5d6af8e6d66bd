//! What is one for the batch: computed once, step by step, in 64-bit numbers.

use crate::ir::{Batch, Op, Unary, Value, scalar};

/// A uniform value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    Int(i64),
    Real(f64),
    Bool(bool),
}

impl Number {
    pub(super) fn real(self) -> f64 {
        match self {
            Number::Int(x) => x as f64,
            Number::Real(x) => x,
            Number::Bool(x) => f64::from(u8::from(x)),
        }
    }
}

/// A uniform step: what it defines, how, and after how many sweeps it can be computed.
#[derive(Clone, Debug)]
pub(super) struct UniformStep {
    pub(super) value: Value,
    pub(super) op: Op,
    pub(super) stage: u32,
}

/// The uniform value of a step; `at` gives those before it, `sum` the sums over rows. `None` for what is no row code.
pub(super) fn compute(op: &Op, rows: usize, at: impl Fn(Value) -> Number, sum: impl Fn() -> f64) -> Option<Number> {
    use Number::{Bool, Int, Real};
    Some(match op {
        Op::Int(x) => Int(*x),
        Op::Real(x) => Real(*x),
        Op::Bool(x) => Bool(*x),
        Op::Unary(op, x) => match (op, at(*x)) {
            (Unary::Not, Bool(x)) => Bool(!x),
            (Unary::ToReal, x) => Real(x.real()),
            (op, Real(x)) => Real(scalar::unary_real(*op, x)?),
            (op, Int(x)) => Int(scalar::unary_int(*op, x)?.ok()?),
            _ => return None,
        },
        Op::Binary(op, a, b) => match (at(*a), at(*b)) {
            (Real(a), Real(b)) if op.is_comparison() => Bool(scalar::compare(*op, &a, &b)?),
            (Int(a), Int(b)) if op.is_comparison() => Bool(scalar::compare(*op, &a, &b)?),
            (Bool(a), Bool(b)) => Bool(scalar::compare(*op, &a, &b)?),
            (Real(a), Real(b)) => Real(scalar::binary_real(*op, a, b)?),
            (Int(a), Int(b)) => Int(scalar::binary_int(*op, a, b)?.ok()?),
            _ => return None,
        },
        Op::Select { condition, then, otherwise } => at(if at(*condition) == Bool(true) { *then } else { *otherwise }),
        Op::Batch(Batch::Count) => Real(rows as f64),
        Op::Batch(Batch::Sum(_)) => Real(sum()),
        Op::Batch(Batch::Detach(x)) => at(*x),
        _ => return None,
    })
}
