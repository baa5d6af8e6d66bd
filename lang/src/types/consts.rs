//! What is known before anything runs: constants, static expressions, and their canonical spelling.

use super::cx::Checker;
use super::{Len, Ty};
use crate::hir::{BinaryOp, Expr, ExprKind, GlobalKind, UnaryOp};
use crate::span::Span;
use crate::syntax::ast;

impl Checker<'_> {
    /// The value of a whole number that the text alone tells.
    pub(super) fn constant_int(&self, e: &Expr) -> Option<i64> {
        match &e.kind {
            ExprKind::Int(i) => Some(*i),
            ExprKind::Unary(UnaryOp::Neg, x) => self.constant_int(x)?.checked_neg(),
            ExprKind::Binary(op, a, b) => {
                let (a, b) = (self.constant_int(a)?, self.constant_int(b)?);
                match op {
                    BinaryOp::Add => a.checked_add(b),
                    BinaryOp::Sub => a.checked_sub(b),
                    BinaryOp::Mul => a.checked_mul(b),
                    BinaryOp::Pow => a.checked_pow(u32::try_from(b).ok()?),
                    _ => None,
                }
            }
            ExprKind::Global(g) if g.module == self.id => match &self.done(g.index)?.kind {
                GlobalKind::Value(value) if matches!(value.kind, ExprKind::Int(_)) => self.constant_int(value),
                _ => None,
            },
            _ => None,
        }
    }

    /// The value of a number that the text alone tells.
    pub(super) fn constant_real(&self, e: &Expr) -> Option<f64> {
        match &e.kind {
            ExprKind::Real(r) | ExprKind::Quantity(r) => Some(*r),
            ExprKind::Convert(_, x) => self.constant_real(x),
            ExprKind::Unary(UnaryOp::Neg, x) => self.constant_real(x).map(|x| -x),
            ExprKind::Binary(op, a, b) if e.ty.is_numeric() => {
                let (a, b) = (self.constant_real(a)?, self.constant_real(b)?);
                match op {
                    BinaryOp::Add => Some(a + b),
                    BinaryOp::Sub => Some(a - b),
                    BinaryOp::Mul => Some(a * b),
                    BinaryOp::Div => Some(a / b),
                    _ => None,
                }
            }
            _ => self.constant_int(e).map(|i| i as f64),
        }
    }

    /// Where an expression depends on something that this declaration does not tell, and on what. Whether a library
    /// function's result is known from headers alone is found out when the plan is made.
    pub(super) fn not_static(&self, e: &Expr) -> Option<(Span, String)> {
        match &e.kind {
            ExprKind::Local(_) => Some((e.span, "depends on a parameter of this function".to_owned())),
            ExprKind::CallExtern { ext, args, .. } => {
                if ext.is_static {
                    None
                } else {
                    args.iter().flatten().find_map(|a| self.not_static(a))
                }
            }
            ExprKind::CallFunction { args, .. } => args.iter().flatten().find_map(|a| self.not_static(a)),
            ExprKind::Global(g) if g.module == self.id => match &self.done(g.index)?.kind {
                GlobalKind::Value(value) if e.ty.is_numeric() => self.not_static(value),
                _ => None,
            },
            ExprKind::Binary(_, a, b) => self.not_static(a).or_else(|| self.not_static(b)),
            ExprKind::Unary(_, a) | ExprKind::Convert(_, a) | ExprKind::Field { base: a, .. } => self.not_static(a),
            ExprKind::Index { base, index } => self.not_static(base).or_else(|| self.not_static(index)),
            ExprKind::If { condition, then, otherwise } => {
                [condition, then, otherwise].into_iter().find_map(|x| self.not_static(x))
            }
            _ => None,
        }
    }

    /// How many elements a comprehension over a range has, if that is known before anything runs.
    pub(super) fn range_length(&self, source: &Expr, text: &str) -> Option<Len> {
        let ExprKind::Range { lo, hi, inclusive } = &source.kind else { return None };
        let one = i64::from(*inclusive);
        if let (Some(lo), Some(hi)) = (self.constant_int(lo), self.constant_int(hi)) {
            return Some(Len::Const(hi.checked_add(one)?.checked_sub(lo)?.max(0).unsigned_abs()));
        }
        if self.not_static(lo).is_some() || self.not_static(hi).is_some() {
            return None;
        }
        let int = |kind| Expr { kind, ty: Ty::Int, span: source.span };
        let difference = int(ExprKind::Binary(BinaryOp::Sub, hi.clone(), lo.clone()));
        let expr = match one {
            0 => difference,
            _ => int(ExprKind::Binary(BinaryOp::Add, Box::new(difference), Box::new(int(ExprKind::Int(1))))),
        };
        Some(Len::Static { expr: std::sync::Arc::new(expr), text: format!("length of {text}").into() })
    }
}

/// The canonical spelling of an expression that a length is made of.
pub(super) fn spell(e: &ast::Expr) -> String {
    use ast::ExprKind::*;
    let list = |items: &[ast::Expr]| items.iter().map(spell).collect::<Vec<_>>().join(", ");
    match &e.kind {
        Number(n) => match n.value {
            ast::NumberValue::Int(i) => i.to_string(),
            ast::NumberValue::Real(r) => r.to_string(),
        },
        Name(n) => n.clone(),
        Text(t) => format!("{t:?}"),
        Bool(b) => b.to_string(),
        Group(inner) => match &inner.kind {
            Binary(..) | Unary(..) => format!("({})", spell(inner)),
            _ => spell(inner),
        },
        Binary(op, _, a, b) => format!("{} {} {}", spell(a), op.text(), spell(b)),
        Unary(ast::UnaryOp::Neg, a) => format!("-{}", spell(a)),
        Unary(ast::UnaryOp::Not, a) => format!("not {}", spell(a)),
        Dot(a, n) => format!("{}.{}", spell(a), n.text),
        Index(a, i) => format!("{}[{}]", spell(a), list(i)),
        List(items) => format!("[{}]", list(items)),
        Tuple(items) => format!("({})", list(items)),
        If(c, a, b) => format!("if {} then {} else {}", spell(c), spell(a), spell(b)),
        Call(f, args) => {
            let arg = |a: &ast::Arg| match &a.name {
                Some(n) => format!("{}: {}", n.text, spell(&a.value)),
                None => spell(&a.value),
            };
            format!("{}({})", spell(f), args.iter().map(arg).collect::<Vec<_>>().join(", "))
        }
        _ => format!("<{}..{}>", e.span.start, e.span.end),
    }
}
