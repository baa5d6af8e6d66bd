//! Ranges and comprehensions.

use std::sync::Arc;

use super::show;
use crate::diag::{Code, Diagnostic};
use crate::hir::{self, Expr, ExprKind};
use crate::span::Span;
use crate::syntax::ast;
use crate::types::cx::Checker;
use crate::types::{Ty, consts};

impl Checker<'_> {
    pub(super) fn range(
        &mut self,
        op: ast::BinaryOp,
        a: &ast::Expr,
        b: &ast::Expr,
        item: Option<&Ty>,
        span: Span,
    ) -> Expr {
        let (lo, hi, item) = match item.map(|t| self.shallow(t)) {
            Some(item @ (Ty::Int | Ty::Real)) => (self.check(a, &item), self.check(b, &item), item),
            _ => {
                let (lo, hi) = (self.infer(a), self.infer(b));
                let whole = |e: &Expr| matches!(e.ty, Ty::Int | Ty::Error);
                let item = if whole(&lo) && whole(&hi) { Ty::Int } else { Ty::Real };
                (self.expect(lo, &item), self.expect(hi, &item), item)
            }
        };
        let inclusive = op == ast::BinaryOp::RangeIncl;
        if let (Some(first), Some(last)) = (self.constant_real(&lo), self.constant_real(&hi)) {
            let empty = if matches!(item, Ty::Int) && !inclusive { first >= last } else { first > last };
            if empty {
                let d = Diagnostic::error(
                    Code::E0309,
                    span,
                    format!("the range from {first} to {last} is empty"),
                    "holds no value",
                );
                let help = if first > last {
                    "write the smaller end first"
                } else {
                    "among integers `..` leaves its end out: write `..=` to include it"
                };
                self.report(d.help(help));
            }
        }
        let kind = ExprKind::Range { lo: Box::new(lo), hi: Box::new(hi), inclusive };
        Expr { kind, ty: Ty::Range(Arc::new(item)), span }
    }

    /// A list literal where one of several types is wanted. Elements of unlike types make a list of a union, if there is one
    /// among them.
    pub(super) fn list_in_union(&mut self, items: &[ast::Expr], members: &[Ty], want: &Ty, span: Span) -> Expr {
        let items: Vec<Expr> = items.iter().map(|i| self.infer(i)).collect();
        let first = items.first().map_or(Ty::Error, |i| i.ty.clone());
        let alike = items.iter().try_fold(first, |ty, item| self.join(&ty, &item.ty)).is_some();
        let union = members.iter().find(|m| matches!(m, Ty::List(item) if matches!(**item, Ty::Union(_)))).cloned();
        let found = match union {
            Some(Ty::List(item)) if !alike => {
                let items = items.into_iter().map(|i| self.expect(i, &item)).collect();
                Expr { kind: ExprKind::Array(items), ty: Ty::List(item), span }
            }
            _ => self.list_of(items, span),
        };
        self.expect(found, want)
    }

    pub(super) fn comprehension(&mut self, c: &ast::Comprehension, item: Option<&Ty>, span: Span) -> Expr {
        let source = self.infer(&c.source);
        let (element, length) = match self.shallow(&source.ty) {
            Ty::Array(item, len) => ((*item).clone(), Some(len)),
            Ty::List(item) => ((*item).clone(), None),
            Ty::Range(item) if matches!(self.shallow(&item), Ty::Int) => {
                (Ty::Int, self.range_length(&source, &consts::spell(&c.source)))
            }
            other if self.is_open(&other) => (Ty::Error, None),
            other => {
                let d = Diagnostic::error(
                    Code::E0315,
                    source.span,
                    format!("`{}` has no elements to go through", show(&self.body.metas.zonk(&other))),
                    "not a collection",
                );
                self.report(d.help("go through a list, an array or a range of integers"));
                (Ty::Error, None)
            }
        };
        let before = self.body.locals.len();
        let types = self.pattern(c, &element);
        let pattern: Vec<_> = c
            .pattern
            .iter()
            .zip(types)
            .map(|(n, ty)| (self.bind(&n.text, ty.clone()), Arc::from(n.text.as_str()), ty))
            .collect();
        let condition = c.condition.as_ref().map(|e| self.check(e, &Ty::Bool));
        let element = match item {
            Some(want) => self.check(&c.body, want),
            None => self.infer(&c.body),
        };
        self.body.locals.truncate(before);
        let of = Arc::new(item.cloned().unwrap_or_else(|| element.ty.clone()));
        let ty = match length {
            Some(len) if condition.is_none() => Ty::Array(of, len),
            _ => Ty::List(of),
        };
        Expr {
            kind: ExprKind::Comprehension(Box::new(hir::Comprehension { pattern, source, condition, element })),
            ty,
            span,
        }
    }

    /// The types of a pattern's names.
    fn pattern(&mut self, c: &ast::Comprehension, element: &Ty) -> Vec<Ty> {
        let unknown = || c.pattern.iter().map(|_| Ty::Error).collect();
        if !c.tuple {
            return vec![element.clone()];
        }
        match self.shallow(element) {
            Ty::Tuple(items) if items.len() == c.pattern.len() => items.to_vec(),
            other if self.is_open(&other) => unknown(),
            other => {
                let span = c.pattern.iter().map(|n| n.span).reduce(Span::to).unwrap_or(c.source.span);
                let title = format!(
                    "`{}` does not come apart into {} names",
                    show(&self.body.metas.zonk(&other)),
                    c.pattern.len()
                );
                let d = Diagnostic::error(Code::E0315, span, title, "does not fit the elements");
                self.report(d.help("`zip(a, b)` gives pairs: `for (x, y) in zip(a, b)`"));
                unknown()
            }
        }
    }
}
