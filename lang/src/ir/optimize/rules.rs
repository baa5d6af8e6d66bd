//! Identities that hold bit for bit in IEEE 754 arithmetic and in whole numbers, faults included.
//!
//! `x + 0` is `x` only where `x` cannot be -0 (`-0 + 0` is `+0`), `x * 0` is never 0 (NaN, infinities, signs), and nothing
//! is regrouped. A division by a power of two is a product where the inverse is exact.

use super::rewrite::Rewriter;
use crate::ir::fold::Known;
use crate::ir::{Batch, Binary, Op, Step, Type, Unary, Value};

impl Rewriter<'_> {
    /// The value that an operation only passes on.
    pub(super) fn passes_on(&self, op: &Op) -> Option<Value> {
        match op {
            Op::Field(base, index) => match self.made(*base)? {
                Op::Struct(parts) => parts.get(*index as usize).copied(),
                _ => None,
            },
            Op::Index(base, index) => match (self.made(*base)?, self.known(*index)?) {
                (Op::Array(parts), Known::Int(index)) => parts.get(usize::try_from(index).ok()?).copied(),
                _ => None,
            },
            Op::Struct(parts) => self.same_struct(parts),
            Op::Select { condition, then, otherwise } => match self.known(*condition) {
                Some(Known::Bool(holds)) => Some(if holds { *then } else { *otherwise }),
                _ if then == otherwise => Some(*then),
                _ => match (self.known(*then)?, self.known(*otherwise)?) {
                    (Known::Bool(true), Known::Bool(false)) => Some(*condition),
                    _ => None,
                },
            },
            Op::Unary(op, x) => match (op, self.made(*x)?) {
                (Unary::Not, Op::Unary(Unary::Not, y)) => Some(*y),
                (Unary::Neg, Op::Unary(Unary::Neg, y)) if self.is_real(*y) => Some(*y),
                (Unary::Abs, Op::Unary(Unary::Abs, _)) if self.is_real(*x) => Some(*x),
                (Unary::Relu, Op::Unary(Unary::Relu, _)) => Some(*x),
                (
                    Unary::Floor | Unary::Ceil | Unary::Round,
                    Op::Unary(Unary::Floor | Unary::Ceil | Unary::Round | Unary::ToReal, _),
                ) => Some(*x),
                _ => None,
            },
            Op::Binary(op, a, b) => self.operand(*op, *a, *b),
            // Only differentiation sees it, and that is over.
            Op::Batch(Batch::Detach(x)) => Some(*x),
            _ => None,
        }
    }

    /// The operand that a function of two yields.
    fn operand(&self, op: Binary, a: Value, b: Value) -> Option<Value> {
        if a == b && matches!(op, Binary::Min | Binary::Max) {
            return Some(a);
        }
        let (left, right) = (self.known(a), self.known(b));
        let is_zero = |x: f64| x == 0.0;
        match (op, left, right) {
            (Binary::Add, _, Some(Known::Int(0))) | (Binary::Sub, _, Some(Known::Int(0))) => Some(a),
            (Binary::Mul | Binary::IntDiv, _, Some(Known::Int(1))) => Some(a),
            (Binary::Add, Some(Known::Int(0)), _) | (Binary::Mul, Some(Known::Int(1)), _) => Some(b),
            (Binary::Mul, _, Some(Known::Int(0))) => Some(b),
            (Binary::Mul, Some(Known::Int(0)), _) => Some(a),
            (Binary::Add, _, Some(Known::Real(x))) if is_zero(x) && (x.is_sign_negative() || self.no_minus_zero(a)) => {
                Some(a)
            }
            (Binary::Add, Some(Known::Real(x)), _) if is_zero(x) && (x.is_sign_negative() || self.no_minus_zero(b)) => {
                Some(b)
            }
            (Binary::Sub, _, Some(Known::Real(x))) if is_zero(x) && (x.is_sign_positive() || self.no_minus_zero(a)) => {
                Some(a)
            }
            (Binary::Mul | Binary::Div | Binary::Pow, _, Some(Known::Real(1.0))) => Some(a),
            (Binary::Mul, Some(Known::Real(1.0)), _) => Some(b),
            _ => None,
        }
    }

    /// A simpler operation of the same result, or nothing.
    pub(super) fn simpler(&mut self, op: &Op, into: &mut Vec<Step>) -> Option<Op> {
        match op {
            Op::Binary(op, a, b) => self.simpler_binary(*op, *a, *b, into),
            Op::Unary(Unary::Abs, x) if self.is_real(*x) => match self.made(*x)? {
                Op::Unary(Unary::Neg, y) => Some(Op::Unary(Unary::Abs, *y)),
                _ => None,
            },
            Op::Unary(Unary::Not, x) => match self.made(*x)? {
                Op::Binary(op @ (Binary::Eq | Binary::Ne), a, b) => {
                    let op = if *op == Binary::Eq { Binary::Ne } else { Binary::Eq };
                    Some(Op::Binary(op, *a, *b))
                }
                Op::Binary(op, a, b) if op.is_comparison() && self.ty(*a) == Some(&Type::Int) => {
                    let opposite = match op {
                        Binary::Lt => Binary::Ge,
                        Binary::Le => Binary::Gt,
                        Binary::Gt => Binary::Le,
                        _ => Binary::Lt,
                    };
                    Some(Op::Binary(opposite, *a, *b))
                }
                _ => None,
            },
            Op::Select { condition, then, otherwise } => match (self.known(*then), self.known(*otherwise)) {
                (Some(Known::Bool(false)), Some(Known::Bool(true))) => Some(Op::Unary(Unary::Not, *condition)),
                _ => match self.made(*condition)? {
                    Op::Unary(Unary::Not, x) => Some(Op::Select { condition: *x, then: *otherwise, otherwise: *then }),
                    _ => None,
                },
            },
            _ => None,
        }
    }

    fn simpler_binary(&mut self, op: Binary, a: Value, b: Value, into: &mut Vec<Step>) -> Option<Op> {
        if a == b && self.ty(a) == Some(&Type::Int) {
            match op {
                Binary::Sub => return Some(Op::Int(0)),
                Binary::Eq | Binary::Le | Binary::Ge => return Some(Op::Bool(true)),
                Binary::Ne | Binary::Lt | Binary::Gt => return Some(Op::Bool(false)),
                _ => {}
            }
        }
        if let (Binary::Rem, Some(Known::Int(1))) = (op, self.known(b)) {
            return Some(Op::Int(0));
        }
        if !self.is_real(a) {
            return None;
        }
        let negated = |v: Value| match self.made(v) {
            Some(Op::Unary(Unary::Neg, x)) => Some(*x),
            _ => None,
        };
        match (op, negated(a), negated(b)) {
            (Binary::Add, _, Some(y)) => return Some(Op::Binary(Binary::Sub, a, y)),
            (Binary::Add, Some(x), _) => return Some(Op::Binary(Binary::Sub, b, x)),
            (Binary::Sub, _, Some(y)) => return Some(Op::Binary(Binary::Add, a, y)),
            (Binary::Mul | Binary::Div, Some(x), Some(y)) => return Some(Op::Binary(op, x, y)),
            _ => {}
        }
        match (op, self.known(b)) {
            (Binary::Mul | Binary::Div, Some(Known::Real(-1.0))) => Some(Op::Unary(Unary::Neg, a)),
            (Binary::Pow, Some(Known::Real(0.0))) => Some(Op::Real(1.0)),
            (Binary::Div, Some(Known::Real(x))) if exact_inverse(x) => {
                let inverse = self.constant(Op::Real(1.0 / x), into);
                Some(Op::Binary(Binary::Mul, a, inverse))
            }
            _ => match (op, self.known(a)) {
                (Binary::Mul, Some(Known::Real(-1.0))) => Some(Op::Unary(Unary::Neg, b)),
                _ => None,
            },
        }
    }

    fn is_real(&self, value: Value) -> bool {
        self.ty(value) == Some(&Type::Real)
    }

    /// Whether a real is known to be other than -0.
    fn no_minus_zero(&self, value: Value) -> bool {
        match self.made(value) {
            Some(Op::Real(x)) => x.to_bits() != (-0.0_f64).to_bits(),
            Some(Op::Unary(Unary::Abs | Unary::ToReal | Unary::Exp | Unary::Sigmoid | Unary::Sign, _)) => true,
            Some(Op::Binary(Binary::Mul, a, b)) => a == b,
            // A sum is -0 only if both its terms are.
            Some(Op::Binary(Binary::Add, a, b)) => {
                let other = |v: Value| matches!(self.made(v), Some(Op::Real(x)) if x.to_bits() != (-0.0_f64).to_bits());
                other(*a) || other(*b)
            }
            _ => false,
        }
    }

    /// The struct whose fields these are, in order and all of them.
    fn same_struct(&self, parts: &[Value]) -> Option<Value> {
        let mut whole = None;
        for (i, part) in parts.iter().enumerate() {
            match self.made(*part)? {
                Op::Field(base, index) if *index as usize == i && whole.is_none_or(|w| w == *base) => {
                    whole = Some(*base);
                }
                _ => return None,
            }
        }
        match self.ty(whole?)? {
            Type::Struct(fields) if fields.len() == parts.len() => whole,
            _ => None,
        }
    }
}

/// Whether 1 / x is exact: a power of two whose inverse is no denormal.
fn exact_inverse(x: f64) -> bool {
    let mantissa = x.to_bits() & ((1 << 52) - 1);
    mantissa == 0 && x.is_normal() && (1.0 / x).is_normal()
}
