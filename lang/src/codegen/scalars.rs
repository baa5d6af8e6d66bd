//! Scalar operations as machine instructions, or as calls of the routines in [`raw`].

use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{self as clif, InstBuilder, types};
use cranelift_module::Module as _;

use super::emit::{Emitted, Emitter, broken};
use super::raw::{self, Routine};
use crate::ir::ranges::Checks;
use crate::ir::{Binary, Fault, Type, Unary};
use crate::span::Span;

impl Emitter<'_, '_> {
    fn routine(&mut self, routine: Routine, args: &[clif::Value]) -> Emitted<clif::Value> {
        let linked = self.unit.routine(routine)?;
        let callee = self.unit.jit.declare_func_in_func(linked, self.b.func);
        let call = self.b.ins().call(callee, args);
        self.b.inst_results(call).first().copied().map_or_else(broken, Ok)
    }

    pub(super) fn unary(
        &mut self,
        op: Unary,
        ty: &Type,
        x: clif::Value,
        checks: Checks,
        span: Span,
    ) -> Emitted<clif::Value> {
        if let Some(routine) = raw::unary_routine(op) {
            return self.routine(routine, &[x]);
        }
        let int = *ty == Type::Int;
        Ok(match op {
            Unary::Neg | Unary::Abs if int => {
                if checks.range {
                    let least = self.b.ins().icmp_imm_s(IntCC::Equal, x, i64::MIN);
                    self.raise_if(least, Fault::Overflow, span, None);
                }
                if op == Unary::Neg { self.b.ins().ineg(x) } else { self.b.ins().iabs(x) }
            }
            Unary::Neg => self.b.ins().fneg(x),
            Unary::Abs => self.b.ins().fabs(x),
            Unary::Not => self.b.ins().bxor_imm_u(x, 1),
            Unary::Sign if int => {
                let up = self.b.ins().icmp_imm_s(IntCC::SignedGreaterThan, x, 0);
                let down = self.b.ins().sshr_imm_u(x, 63);
                let up = self.b.ins().uextend(types::I64, up);
                self.b.ins().bor(up, down)
            }
            Unary::Sign => {
                let zero = self.b.ins().f64const(0.0);
                let (one, minus) = (self.b.ins().f64const(1.0), self.b.ins().f64const(-1.0));
                let rest = self.b.ins().fadd(x, zero);
                let down = self.b.ins().fcmp(FloatCC::LessThan, x, zero);
                let low = self.b.ins().select(down, minus, rest);
                let up = self.b.ins().fcmp(FloatCC::GreaterThan, x, zero);
                self.b.ins().select(up, one, low)
            }
            Unary::ToReal => self.b.ins().fcvt_from_sint(types::F64, x),
            Unary::ToInt => {
                let low = self.b.ins().f64const(-9_223_372_036_854_775_808.0);
                let high = self.b.ins().f64const(9_223_372_036_854_775_808.0);
                let low = self.b.ins().fcmp(FloatCC::UnorderedOrLessThan, x, low);
                let high = self.b.ins().fcmp(FloatCC::UnorderedOrGreaterThanOrEqual, x, high);
                let bad = self.b.ins().bor(low, high);
                self.raise_if(bad, Fault::NotWhole, span, None);
                self.b.ins().fcvt_to_sint_sat(types::I64, x)
            }
            Unary::Floor => self.b.ins().floor(x),
            Unary::Ceil => self.b.ins().ceil(x),
            Unary::Round => {
                // As `scalar::math::round`.
                let half = self.b.ins().f64const(0.499_999_999_999_999_94);
                let half = self.b.ins().fcopysign(half, x);
                let moved = self.b.ins().fadd(x, half);
                self.b.ins().trunc(moved)
            }
            Unary::Sqrt => self.b.ins().sqrt(x),
            Unary::Relu => {
                let zero = self.b.ins().f64const(0.0);
                self.b.ins().fmax(x, zero)
            }
            _ => return broken(),
        })
    }

    pub(super) fn binary(
        &mut self,
        op: Binary,
        ty: &Type,
        a: clif::Value,
        b: clif::Value,
        checks: Checks,
        span: Span,
    ) -> Emitted<clif::Value> {
        if let Some(routine) = raw::binary_routine(op) {
            return self.routine(routine, &[a, b]);
        }
        if let (Some((int, float)), scalar) = (comparison(op), ty) {
            return Ok(if *scalar == Type::Real {
                self.b.ins().fcmp(float, a, b)
            } else {
                self.b.ins().icmp(int, a, b)
            });
        }
        if *ty == Type::Real {
            return Ok(match op {
                Binary::Add => self.b.ins().fadd(a, b),
                Binary::Sub => self.b.ins().fsub(a, b),
                Binary::Mul => self.b.ins().fmul(a, b),
                Binary::Div => self.b.ins().fdiv(a, b),
                Binary::Min => self.b.ins().fmin(a, b),
                Binary::Max => self.b.ins().fmax(a, b),
                _ => return broken(),
            });
        }
        let checked = match op {
            Binary::Add if !checks.range => return Ok(self.b.ins().iadd(a, b)),
            Binary::Sub if !checks.range => return Ok(self.b.ins().isub(a, b)),
            Binary::Mul if !checks.range => return Ok(self.b.ins().imul(a, b)),
            Binary::Add => self.b.ins().sadd_overflow(a, b),
            Binary::Sub => self.b.ins().ssub_overflow(a, b),
            Binary::Mul => self.b.ins().smul_overflow(a, b),
            Binary::Min => return Ok(self.b.ins().smin(a, b)),
            Binary::Max => return Ok(self.b.ins().smax(a, b)),
            Binary::IntDiv | Binary::Rem => return Ok(self.divide(op, a, b, checks, span)),
            _ => return broken(),
        };
        self.raise_if(checked.1, Fault::Overflow, span, None);
        Ok(checked.0)
    }

    fn divide(&mut self, op: Binary, a: clif::Value, b: clif::Value, checks: Checks, span: Span) -> clif::Value {
        if checks.zero {
            let zero = self.b.ins().icmp_imm_s(IntCC::Equal, b, 0);
            self.raise_if(zero, Fault::DivisionByZero, span, None);
        }
        if checks.range {
            let least = self.b.ins().icmp_imm_s(IntCC::Equal, a, i64::MIN);
            let minus = self.b.ins().icmp_imm_s(IntCC::Equal, b, -1);
            let bad = self.b.ins().band(least, minus);
            self.raise_if(bad, Fault::Overflow, span, None);
        }
        if op == Binary::IntDiv { self.b.ins().sdiv(a, b) } else { self.b.ins().srem(a, b) }
    }
}

/// The condition codes of a comparison. Bools and texts are compared for equality only.
fn comparison(op: Binary) -> Option<(IntCC, FloatCC)> {
    Some(match op {
        Binary::Eq => (IntCC::Equal, FloatCC::Equal),
        Binary::Ne => (IntCC::NotEqual, FloatCC::NotEqual),
        Binary::Lt => (IntCC::SignedLessThan, FloatCC::LessThan),
        Binary::Le => (IntCC::SignedLessThanOrEqual, FloatCC::LessThanOrEqual),
        Binary::Gt => (IntCC::SignedGreaterThan, FloatCC::GreaterThan),
        Binary::Ge => (IntCC::SignedGreaterThanOrEqual, FloatCC::GreaterThanOrEqual),
        _ => return None,
    })
}
