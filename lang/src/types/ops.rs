//! Literals, units and operators.

use std::sync::Arc;

use super::cx::Checker;
use super::unify::lengths_agree;
use super::{Len, Ty};
use crate::diag::{Code, Diagnostic};
use crate::hir::{BinaryOp, Expr, ExprKind, UnaryOp};
use crate::span::Span;
use crate::syntax::ast::{self, NumberValue};

/// What a unit makes of its number.
fn unit(text: &str) -> Option<(Ty, f64)> {
    let binary = |n: i32| (Ty::Bytes, 1024f64.powi(n));
    let decimal = |n: i32| (Ty::Bytes, 1000f64.powi(n));
    Some(match text {
        "%" => (Ty::Real, 0.01),
        "ms" => (Ty::Duration, 0.001),
        "s" => (Ty::Duration, 1.0),
        "min" => (Ty::Duration, 60.0),
        "h" => (Ty::Duration, 3600.0),
        "d" => (Ty::Duration, 86_400.0),
        "B" => (Ty::Bytes, 1.0),
        "kB" | "KB" => decimal(1),
        "MB" => decimal(2),
        "GB" => decimal(3),
        "TB" => decimal(4),
        "KiB" => binary(1),
        "MiB" => binary(2),
        "GiB" => binary(3),
        "TiB" => binary(4),
        "usd" => (Ty::Money, 1.0),
        _ => return None,
    })
}

const UNITS: &str = "ms s min h d, B kB MB GB TB KiB MiB GiB TiB, usd, %";

impl Checker<'_> {
    /// A number with its unit.
    pub(super) fn number(&mut self, n: &ast::Number, span: Span) -> Expr {
        let value = match n.value {
            NumberValue::Int(i) => i as f64,
            NumberValue::Real(r) => r,
        };
        let Some(name) = &n.unit else {
            return match n.value {
                NumberValue::Int(i) => Expr { kind: ExprKind::Int(i), ty: Ty::Int, span },
                NumberValue::Real(r) => Expr { kind: ExprKind::Real(r), ty: Ty::Real, span },
            };
        };
        match unit(&name.text) {
            Some((Ty::Real, _)) => Expr { kind: ExprKind::Real(value / 100.0), ty: Ty::Real, span },
            Some((ty, scale)) => Expr { kind: ExprKind::Quantity(value * scale), ty, span },
            None => {
                let title = format!("unknown unit `{}`", name.text);
                let units = UNITS.split([' ', ',']).filter(|u| !u.is_empty());
                let d =
                    Diagnostic::error(Code::E0308, name.span, title, "not a unit").note(format!("units are {UNITS}"));
                let near = in_full(&name.text).or_else(|| crate::diag::suggest(&name.text, units));
                let d = match near {
                    Some(near) => d.help(format!("did you mean `{near}`?")).fix(name.span, near),
                    None => d.help("write the number without a unit, or with one of these"),
                };
                self.report(d);
                Expr { kind: ExprKind::Error, ty: Ty::Error, span }
            }
        }
    }

    /// `-x`, `not x`.
    pub(super) fn unary(&mut self, op: ast::UnaryOp, value: Expr, span: Span) -> Expr {
        let ty = self.shallow(&value.ty);
        if self.is_open(&ty) {
            return Expr {
                kind: ExprKind::Error,
                ty: if op == ast::UnaryOp::Not { Ty::Bool } else { Ty::Error },
                span,
            };
        }
        match op {
            ast::UnaryOp::Not => {
                let value = self.expect(value, &Ty::Bool);
                Expr { kind: ExprKind::Unary(UnaryOp::Not, Box::new(value)), ty: Ty::Bool, span }
            }
            ast::UnaryOp::Neg => match (&value.kind, scalar(&ty)) {
                (ExprKind::Int(i), _) => Expr { kind: ExprKind::Int(-i), ty, span },
                (ExprKind::Real(r), _) => Expr { kind: ExprKind::Real(-r), ty, span },
                (ExprKind::Quantity(q), _) => Expr { kind: ExprKind::Quantity(-q), ty, span },
                (_, Some(Ty::Int | Ty::Real | Ty::Error)) => {
                    Expr { kind: ExprKind::Unary(UnaryOp::Neg, Box::new(value)), ty, span }
                }
                _ => {
                    self.operator_error("-", span, &[&value]);
                    Expr { kind: ExprKind::Error, ty: Ty::Error, span }
                }
            },
        }
    }

    /// Any operator between two checked operands but a range.
    pub(super) fn binary(&mut self, op: ast::BinaryOp, at: Span, a: Expr, b: Expr) -> Expr {
        let span = a.span.to(b.span);
        if self.is_open(&a.ty) || self.is_open(&b.ty) {
            let ty = if op.is_comparison() || matches!(op, ast::BinaryOp::And | ast::BinaryOp::Or) {
                Ty::Bool
            } else {
                Ty::Error
            };
            return Expr { kind: ExprKind::Error, ty, span };
        }
        match op {
            ast::BinaryOp::And | ast::BinaryOp::Or => {
                let (a, b) = (self.expect(a, &Ty::Bool), self.expect(b, &Ty::Bool));
                make(if op == ast::BinaryOp::And { BinaryOp::And } else { BinaryOp::Or }, a, b, Ty::Bool)
            }
            _ if op.is_comparison() => self.comparison(op, at, a, b),
            _ => self.arithmetic(op, at, a, b),
        }
    }

    fn comparison(&mut self, op: ast::BinaryOp, at: Span, a: Expr, b: Expr) -> Expr {
        let hir_op = match op {
            ast::BinaryOp::Eq => BinaryOp::Eq,
            ast::BinaryOp::Ne => BinaryOp::Ne,
            ast::BinaryOp::Lt => BinaryOp::Lt,
            ast::BinaryOp::Le => BinaryOp::Le,
            ast::BinaryOp::Gt => BinaryOp::Gt,
            _ => BinaryOp::Ge,
        };
        let equality = matches!(hir_op, BinaryOp::Eq | BinaryOp::Ne);
        let Some(ty) = self.join(&a.ty, &b.ty) else {
            self.operator_error(op.text(), at, &[&a, &b]);
            return Expr { kind: ExprKind::Error, ty: Ty::Bool, span: a.span.to(b.span) };
        };
        let ordered = matches!(ty, Ty::Int | Ty::Real | Ty::Duration | Ty::Bytes | Ty::Money);
        if !(ordered || equality && matches!(ty, Ty::Bool | Ty::Text | Ty::Enum(_))) {
            self.operator_error(op.text(), at, &[&a, &b]);
        }
        let (a, b) = (self.expect(a, &ty), self.expect(b, &ty));
        make(hir_op, a, b, Ty::Bool)
    }

    fn arithmetic(&mut self, op: ast::BinaryOp, at: Span, a: Expr, b: Expr) -> Expr {
        let span = a.span.to(b.span);
        let hir_op = match op {
            ast::BinaryOp::Add => BinaryOp::Add,
            ast::BinaryOp::Sub => BinaryOp::Sub,
            ast::BinaryOp::Mul => BinaryOp::Mul,
            ast::BinaryOp::Div => BinaryOp::Div,
            _ => BinaryOp::Pow,
        };
        let (ta, tb) = (self.shallow(&a.ty), self.shallow(&b.ty));
        if let Some(ty) = quantity(hir_op, &ta, &tb) {
            let (a, b) = (number_as_real(a), number_as_real(b));
            return make(hir_op, a, b, ty);
        }
        if hir_op == BinaryOp::Add && matches!((&ta, &tb), (Ty::Text, Ty::Text)) {
            return make(hir_op, a, b, Ty::Text);
        }
        let (Some(sa), Some(sb)) = (scalar(&ta), scalar(&tb)) else {
            self.operator_error(op.text(), at, &[&a, &b]);
            return Expr { kind: ExprKind::Error, ty: Ty::Error, span };
        };
        let Some(shape) = self.broadcast(&ta, &tb, at) else {
            return Expr { kind: ExprKind::Error, ty: Ty::Error, span };
        };
        let whole_power = hir_op == BinaryOp::Pow && matches!(b.kind, ExprKind::Int(n) if n >= 0);
        let item = match hir_op {
            BinaryOp::Div => Ty::Real,
            BinaryOp::Pow if !whole_power => Ty::Real,
            _ if matches!((&sa, &sb), (Ty::Int, Ty::Int)) => Ty::Int,
            _ => Ty::Real,
        };
        let a = self.with_item(a, &item);
        let b = if whole_power { b } else { self.with_item(b, &item) };
        make(hir_op, a, b, with_scalar(&shape, &item))
    }

    /// The operand with its numbers converted to `item`.
    fn with_item(&mut self, e: Expr, item: &Ty) -> Expr {
        let want = with_scalar(&self.shallow(&e.ty), item);
        self.coerce(e, &want).unwrap_or_else(|e| *e)
    }

    /// The shape of the result: the array's, where one side is a number.
    fn broadcast(&mut self, a: &Ty, b: &Ty, at: Span) -> Option<Ty> {
        match (a, b) {
            (Ty::Array(x, n), Ty::Array(y, m)) => {
                if !lengths_agree(n, m) {
                    let title = format!("arrays of lengths {n} and {m} do not combine");
                    let d = Diagnostic::error(Code::E0307, at, title, "lengths differ");
                    self.report(
                        d.note(format!("the operands are `{a}` and `{b}`"))
                            .help("combine arrays of one length, or an array and a number"),
                    );
                    return None;
                }
                let inner = self.broadcast(x, y, at)?;
                let len = if matches!(n, Len::Const(_)) { n } else { m };
                Some(Ty::Array(Arc::new(inner), len.clone()))
            }
            (Ty::Array(..), _) => Some(a.clone()),
            _ => Some(b.clone()),
        }
    }

    pub(super) fn operator_error(&mut self, op: &str, at: Span, operands: &[&Expr]) {
        let types: Vec<String> = operands.iter().map(|e| format!("`{}`", self.body.metas.zonk(&e.ty))).collect();
        let title = match types.as_slice() {
            [one] => format!("`{op}` does not take {one}"),
            _ => format!("`{op}` does not take {}", types.join(" and ")),
        };
        let mut d = Diagnostic::error(Code::E0305, at, title, "no such operation");
        for (e, ty) in operands.iter().zip(&types) {
            d = d.label(e.span, format!("this is {ty}"));
        }
        let nodes = operands.iter().any(|e| matches!(self.shallow(&e.ty), Ty::Node(_)));
        let help = match op {
            _ if nodes => "operators are for numbers; models and other nodes are combined by functions of the library",
            "==" | "!=" => "numbers, truth values, texts and enumerations are compared, each with its own type",
            "<" | "<=" | ">" | ">=" => "numbers, durations, bytes and money have an order",
            _ => "arithmetic is for numbers and arrays of numbers",
        };
        self.report(d.help(help));
    }
}

fn make(op: BinaryOp, a: Expr, b: Expr, ty: Ty) -> Expr {
    let span = a.span.to(b.span);
    Expr { kind: ExprKind::Binary(op, Box::new(a), Box::new(b)), ty, span }
}

/// `int` or `real` of a number or an array of numbers.
pub(super) fn scalar(ty: &Ty) -> Option<Ty> {
    match ty {
        Ty::Int | Ty::Real | Ty::Error => Some(ty.clone()),
        Ty::Array(item, _) => scalar(item),
        _ => None,
    }
}

/// The type with its innermost element replaced.
pub(super) fn with_scalar(ty: &Ty, item: &Ty) -> Ty {
    match ty {
        Ty::Array(inner, len) => Ty::Array(Arc::new(with_scalar(inner, item)), len.clone()),
        _ => item.clone(),
    }
}

/// Sums and multiples of durations, bytes and money.
fn quantity(op: BinaryOp, a: &Ty, b: &Ty) -> Option<Ty> {
    let is_quantity = |t: &Ty| matches!(t, Ty::Duration | Ty::Bytes | Ty::Money);
    let is_number = |t: &Ty| matches!(t, Ty::Int | Ty::Real);
    let same = std::mem::discriminant(a) == std::mem::discriminant(b);
    match op {
        BinaryOp::Add | BinaryOp::Sub if is_quantity(a) && same => Some(a.clone()),
        BinaryOp::Mul if is_quantity(a) && is_number(b) => Some(a.clone()),
        BinaryOp::Mul if is_quantity(b) && is_number(a) => Some(b.clone()),
        BinaryOp::Div if is_quantity(a) && is_number(b) => Some(a.clone()),
        BinaryOp::Div if is_quantity(a) && same => Some(Ty::Real),
        _ => None,
    }
}

/// Next to a quantity a number is real.
fn number_as_real(e: Expr) -> Expr {
    match (&e.ty, &e.kind) {
        (Ty::Int, ExprKind::Int(i)) => Expr { kind: ExprKind::Real(*i as f64), ty: Ty::Real, span: e.span },
        (Ty::Int, _) => {
            Expr { ty: Ty::Real, span: e.span, kind: ExprKind::Convert(crate::hir::Conversion::IntToReal, Box::new(e)) }
        }
        _ => e,
    }
}

/// The unit that people write out.
fn in_full(word: &str) -> Option<&'static str> {
    Some(match word.to_ascii_lowercase().trim_end_matches('s') {
        "sec" | "second" => "s",
        "m" | "minute" | "min" => "min",
        "hr" | "hour" => "h",
        "day" => "d",
        "dollar" => "usd",
        "percent" => "%",
        _ => return None,
    })
}
