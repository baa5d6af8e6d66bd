//! The end of a check: type variables replaced by what they stand for, requests, the finished module.

use std::sync::Arc;

use super::cx::{Body, Checker, State};
use super::unify::Metas;
use super::{Asked, Ty};
use crate::hir::{Domain, Expr, ExprKind, Global, GlobalKind, Request, RequestKind};
use crate::span::Span;
use crate::syntax::ast;

impl Checker<'_> {
    /// Writes out the types in a declaration that its body's type variables stand for.
    pub(super) fn finish_body(&mut self, global: &mut Global) {
        if self.body.metas.is_empty() {
            return;
        }
        let metas = std::mem::take(&mut self.body.metas);
        global.ty = settle(&metas, &global.ty);
        let domain = |d: &mut Option<Domain>, c: &Self| d.iter_mut().for_each(|d| c.zonk_expr(&metas, &mut d.range));
        match &mut global.kind {
            GlobalKind::Value(e) => self.zonk_expr(&metas, e),
            GlobalKind::Param { default, domain: d } => {
                default.iter_mut().for_each(|e| self.zonk_expr(&metas, e));
                domain(d, self);
            }
            GlobalKind::Function(f) => {
                let f = Arc::make_mut(f);
                f.params.iter_mut().flat_map(|p| &mut p.default).for_each(|e| self.zonk_expr(&metas, e));
                self.zonk_expr(&metas, &mut f.body);
                f.numeric = self.is_numeric_body(&f.params, &f.body);
            }
            _ => {}
        }
    }

    fn zonk_expr(&self, metas: &Metas, e: &mut Expr) {
        let go = |e: &mut Expr| self.zonk_expr(metas, e);
        match &mut e.kind {
            ExprKind::Instance(instance) => instance.parts_mut().for_each(go),
            ExprKind::Member { instance: a, .. }
            | ExprKind::Field { base: a, .. }
            | ExprKind::Unary(_, a)
            | ExprKind::Convert(_, a) => go(a),
            ExprKind::CallExtern { args, rest, type_args, .. } => {
                args.iter_mut().flatten().for_each(go);
                rest.iter_mut().for_each(|(_, a)| go(a));
                type_args.iter_mut().for_each(|(_, t)| *t = settle(metas, t));
            }
            ExprKind::CallFunction { instance, args, .. } => {
                instance.iter_mut().for_each(|i| go(i));
                args.iter_mut().flatten().for_each(go);
            }
            ExprKind::CallValue { function, args } => {
                go(function);
                args.iter_mut().for_each(go);
            }
            ExprKind::Index { base: a, index: b }
            | ExprKind::Binary(_, a, b)
            | ExprKind::Range { lo: a, hi: b, .. } => {
                go(a);
                go(b);
            }
            ExprKind::Array(items) | ExprKind::Tuple(items) => items.iter_mut().for_each(go),
            ExprKind::Record(fields) => fields.iter_mut().for_each(|(_, v)| go(v)),
            ExprKind::Comprehension(c) => {
                c.pattern.iter_mut().for_each(|(_, _, ty)| *ty = settle(metas, ty));
                go(&mut c.source);
                c.condition.iter_mut().for_each(go);
                go(&mut c.element);
            }
            ExprKind::If { condition, then, otherwise } => [condition, then, otherwise].into_iter().for_each(|x| go(x)),
            ExprKind::Let { value, body, .. } => {
                go(value);
                go(body);
            }
            ExprKind::Lambda(l) => {
                let l = Arc::make_mut(l);
                l.params.iter_mut().for_each(|p| p.ty = settle(metas, &p.ty));
                go(&mut l.body);
                l.numeric = self.is_numeric_body(&l.params, &l.body);
            }
            _ => {}
        }
        e.ty = settle(metas, &e.ty);
    }

    /// A request. Its expressions are checked like a declaration's.
    pub(crate) fn request(&mut self, item: &ast::Item) -> Option<Request> {
        self.body = Body::default();
        let mut kind = match &item.kind {
            ast::ItemKind::Save { value, to } => {
                let value = self.infer(value);
                let value = self.as_node_if_any(value);
                self.check_saved(&value);
                RequestKind::Save { value, path: self.path(to, "where to save is") }
            }
            ast::ItemKind::Print(value) => {
                let value = self.infer(value);
                RequestKind::Print(self.as_node_if_any(value))
            }
            ast::ItemKind::Plot { value, over, to } => {
                let value = self.infer(value);
                let value = self.as_node_if_any(value);
                self.check_drawn(&value, over.as_ref().map(|e| e.span));
                let over = over.as_ref().map(|e| self.check(e, &Ty::Range(Arc::new(Ty::Real))));
                let path = to.as_ref().map(|e| self.path(e, "where to draw is"));
                RequestKind::Plot { value, over, path }
            }
            ast::ItemKind::Expect { condition, message } => {
                self.why.push("what is expected is `bool`".to_owned());
                let condition = self.check(condition, &Ty::Bool);
                self.why.pop();
                RequestKind::Expect { condition, message: message.as_ref().map(|e| self.path(e, "the message is")) }
            }
            ast::ItemKind::Use(_) | ast::ItemKind::Type(_) | ast::ItemKind::Decl(_) => return None,
        };
        let metas = std::mem::take(&mut self.body.metas);
        if !metas.is_empty() {
            match &mut kind {
                RequestKind::Save { value, path } => [value, path].into_iter().for_each(|e| self.zonk_expr(&metas, e)),
                RequestKind::Print(value) => self.zonk_expr(&metas, value),
                RequestKind::Plot { value, over, path } => {
                    std::iter::once(value).chain(over).chain(path).for_each(|e| self.zonk_expr(&metas, e));
                }
                RequestKind::Expect { condition, message } => {
                    std::iter::once(condition).chain(message).for_each(|e| self.zonk_expr(&metas, e));
                }
            }
        }
        Some(Request { kind, span: item.span, text: self.one_line(item.span).into() })
    }

    fn path(&mut self, e: &ast::Expr, what: &str) -> Expr {
        self.why.push(format!("{what} a text"));
        let e = self.check(e, &Ty::Text);
        self.why.pop();
        e
    }

    fn one_line(&self, span: Span) -> String {
        let text = self.text.get(span.range()).unwrap_or("");
        let lines = text.lines().map(|l| l.split(" //").next().unwrap_or("").trim());
        lines.filter(|l| !l.is_empty()).collect::<Vec<_>>().join(" ")
    }

    /// What could stand at the cursor, the outermost first.
    pub(crate) fn take_asked(&mut self) -> Vec<Asked> {
        std::mem::take(&mut self.asked)
    }

    /// The checked declarations, in source order.
    pub(crate) fn globals(self) -> (Vec<Global>, Vec<crate::diag::Diagnostic>) {
        let globals = self.slots.into_iter().map(|s| match s.state {
            State::Done(global) => *global,
            State::Waiting | State::Checking => super::cx::error_global(&s.name.text, "", s.name.span, s.span),
        });
        (globals.collect(), self.diagnostics)
    }
}

/// The type with all variables replaced; one that nothing determines is as good as any, and stays open.
fn settle(metas: &Metas, ty: &Ty) -> Ty {
    metas.zonk(ty).map_vars(&|name| name.starts_with('?').then_some(Ty::Error))
}
