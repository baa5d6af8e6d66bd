//! Constants computed while code is made, as both engines would compute them.

use super::{Op, Unary, scalar};

/// A scalar that is known.
#[derive(Clone, Copy, Debug)]
pub(super) enum Known {
    Int(i64),
    Real(f64),
    Bool(bool),
}

impl Known {
    /// What a constant says; none of another operation.
    pub(super) fn of(op: &Op) -> Option<Known> {
        Some(match op {
            Op::Int(x) => Known::Int(*x),
            Op::Real(x) => Known::Real(*x),
            Op::Bool(x) => Known::Bool(*x),
            _ => return None,
        })
    }
}

/// The constant that an operation on constants yields; none where it would fail.
pub(super) fn constant(op: &Op, known: impl Fn(super::Value) -> Option<Known>) -> Option<Op> {
    Some(match op {
        Op::Unary(unary, x) => match (unary, known(*x)?) {
            (Unary::Not, Known::Bool(x)) => Op::Bool(!x),
            (Unary::ToReal, Known::Int(x)) => Op::Real(x as f64),
            (Unary::ToInt, Known::Real(x)) => Op::Int(scalar::to_int(x).ok()?),
            (_, Known::Real(x)) => real(scalar::unary_real(*unary, x)?),
            (_, Known::Int(x)) => Op::Int(scalar::unary_int(*unary, x)?.ok()?),
            _ => return None,
        },
        Op::Binary(binary, a, b) => match (known(*a)?, known(*b)?) {
            (Known::Int(a), Known::Int(b)) => match scalar::compare(*binary, &a, &b) {
                Some(truth) => Op::Bool(truth),
                None => Op::Int(scalar::binary_int(*binary, a, b)?.ok()?),
            },
            (Known::Real(a), Known::Real(b)) => match scalar::compare(*binary, &a, &b) {
                Some(truth) => Op::Bool(truth),
                None => real(scalar::binary_real(*binary, a, b)?),
            },
            (Known::Bool(a), Known::Bool(b)) => Op::Bool(scalar::compare(*binary, &a, &b)?),
            _ => return None,
        },
        _ => return None,
    })
}

/// One NaN stands for all.
fn real(x: f64) -> Op {
    Op::Real(if x.is_nan() { f64::NAN } else { x })
}
