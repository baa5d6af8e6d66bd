//! Calls of library functions: overloads, type parameters, functions of numbers over arrays.

use std::sync::Arc;

use super::args::Slot;
use super::{Arg, Value};
use crate::diag::{Code, Diagnostic};
use crate::hir::{Expr, ExprKind};
use crate::library::Extern;
use crate::span::Span;
use crate::types::cx::Checker;
use crate::types::expr::{poison, show};
use crate::types::ops::{scalar, with_scalar};
use crate::types::unify::How;
use crate::types::{FieldTy, Len, RecordTy, Ty};

impl Checker<'_> {
    /// A call of an extern that may have several declarations: the type of the first argument decides.
    pub(in crate::types) fn call_overload(&mut self, name: &str, mut args: Vec<Arg<'_>>, span: Span) -> Expr {
        let candidates = self.library.overloads(name).to_vec();
        if candidates.len() > 1 {
            self.ask_overloads(&candidates, &args);
        }
        if let [one] = candidates.as_slice() {
            return self.call_extern(one, args, span);
        }
        let first_of = |ext: &Arc<Extern>| ext.params.first().map(|p| p.name.clone());
        let index = args.iter().position(|a| a.name.is_none()).or_else(|| {
            args.iter().position(|a| {
                a.name.is_some_and(|n| candidates.iter().any(|c| first_of(c).is_some_and(|f| *f == *n.text)))
            })
        });
        let Some(index) = index else {
            let none = candidates.iter().find(|c| c.params.iter().all(|p| p.default.is_some() || p.optional || p.rest));
            return match none.or(candidates.first()) {
                Some(ext) => self.call_extern(&ext.clone(), args, span),
                None => poison(span),
            };
        };
        let Some(arg) = args.get_mut(index) else { return poison(span) };
        if arg.value.has_closure() {
            let takes_fn =
                candidates.iter().find(|c| c.params.first().is_some_and(|p| matches!(p.ty, Ty::Fn(_) | Ty::Union(_))));
            return match takes_fn.or(candidates.first()) {
                Some(ext) => self.call_extern(&ext.clone(), args, span),
                None => poison(span),
            };
        }
        let by_name = arg.name.map(|n| n.text.clone());
        let value = self.typed(arg.value.clone());
        if self.is_open(&value.ty) {
            args.remove(index);
            return self.lost_call(args, span);
        }
        let ty = value.ty.clone();
        arg.value = Value::Typed(Box::new(value));
        let named = |c: &&Arc<Extern>| by_name.as_ref().is_none_or(|n| first_of(c).is_some_and(|f| *f == **n));
        let accepting: Vec<Arc<Extern>> =
            candidates.iter().filter(named).filter(|c| self.accepts_first(c, &ty)).cloned().collect();
        match accepting.as_slice() {
            [] => {
                self.no_overload(name, &ty, &candidates, span);
                self.lost_call(args, span)
            }
            [one] => self.call_extern(one, args, span),
            [first, ..] => {
                let chosen = self.choose_numeric(&accepting, first, &mut args, index);
                self.call_extern(&chosen, args, span)
            }
        }
    }

    fn accepts_first(&mut self, ext: &Extern, ty: &Ty) -> bool {
        let Some(param) = ext.params.first() else { return false };
        let (want, _) = self.instantiate(&ext.generics, &param.ty);
        let item = scalar(ty).filter(|_| ext.elementwise && scalar(&want).is_some());
        let as_node = |checker: &Self| checker.kind_value(ty, &want);
        self.body.metas.clone().relate(item.as_ref().unwrap_or(ty), &want).is_some() || as_node(self)
    }

    /// Whether functions of some kind are accepted as the node type `want`, and `ty` is a function.
    fn kind_value(&self, ty: &Ty, want: &Ty) -> bool {
        matches!(ty, Ty::Fn(_))
            && matches!(want, Ty::Node(n) if self.library.kinds.values().any(|k| k.value.as_ref().is_some_and(|v| v.is_node(&n.name))))
    }

    /// Among declarations that all take the first argument (an `int` is taken as a `real` too), the one that takes the
    /// others as they are; failing that, the first that takes them at all.
    fn choose_numeric(
        &mut self,
        several: &[Arc<Extern>],
        fallback: &Arc<Extern>,
        args: &mut [Arg<'_>],
        first: usize,
    ) -> Arc<Extern> {
        for (i, arg) in args.iter_mut().enumerate() {
            if i != first && arg.name.is_none() && !arg.value.has_closure() {
                arg.value = Value::Typed(Box::new(self.typed(arg.value.clone())));
            }
        }
        let takes_all = |checker: &mut Self, ext: &Arc<Extern>, exactly: bool| {
            args.iter().enumerate().filter(|(i, a)| *i == first || a.name.is_none()).zip(&ext.params).all(
                |((_, a), p)| {
                    let Value::Typed(e) = &a.value else { return true };
                    let (want, _) = checker.instantiate(&ext.generics, &p.ty);
                    let item = scalar(&e.ty).filter(|_| ext.elementwise && scalar(&want).is_some());
                    match checker.body.metas.clone().relate(item.as_ref().unwrap_or(&e.ty), &want) {
                        Some(How::Same) => true,
                        Some(_) => !exactly,
                        None => false,
                    }
                },
            )
        };
        let exact = several.iter().find(|ext| takes_all(self, ext, true));
        let found = exact.or_else(|| several.iter().find(|ext| takes_all(self, ext, false)));
        found.unwrap_or(fallback).clone()
    }

    /// A result that is an array of any length has the length of the argument that is one.
    fn any_length_result(&self, ext: &Extern, result: Ty, given: &[Option<Expr>]) -> Ty {
        let Ty::Array(item, Len::Any) = &result else { return result };
        let is_any = |ty: &Ty| matches!(ty, Ty::Array(_, Len::Any));
        let source = ext.params.iter().filter(|p| !p.rest).zip(given).find(|(p, _)| is_any(&p.ty));
        match source.and_then(|(_, e)| e.as_ref()).map(|e| self.shallow(&e.ty)) {
            Some(Ty::Array(_, len)) => Ty::Array(item.clone(), len),
            Some(Ty::List(_)) => Ty::List(item.clone()),
            _ => result,
        }
    }

    fn no_overload(&mut self, name: &str, ty: &Ty, candidates: &[Arc<Extern>], span: Span) {
        let shown = show(&self.body.metas.zonk(ty));
        let takes: Vec<String> =
            candidates.iter().filter_map(|c| c.params.first()).map(|p| format!("`{}`", p.ty)).collect();
        let d = Diagnostic::error(
            Code::E0301,
            span,
            format!("`{name}` does not take `{shown}`"),
            format!("its first argument is `{shown}`"),
        );
        self.report(
            d.note(format!("it is declared for {}", takes.join(", ")))
                .help("give a first argument of one of these types"),
        );
    }

    /// A call of a library function.
    pub(in crate::types) fn call_extern(&mut self, ext: &Arc<Extern>, args: Vec<Arg<'_>>, span: Span) -> Expr {
        if !ext.family.is_empty() && crate::ir::is_derivative(&ext.name) {
            return self.call_derivative(ext, args, span);
        }
        if !ext.family.is_empty() && crate::ir::is_over_rows(&ext.name) {
            self.only_in_row_code(None, &ext.name, span);
        }
        let metas: Vec<Ty> = ext.generics.iter().map(|_| self.fresh()).collect();
        let mut slots = Vec::new();
        let mut rest = None;
        for p in &ext.params {
            let ty = p.ty.substitute(&ext.generics, &metas);
            if p.rest {
                rest = Some(ty);
            } else {
                slots.push(Slot {
                    name: p.name.clone(),
                    ty,
                    needed: p.default.is_none() && !p.optional,
                    domain: p.domain,
                });
            }
        }
        let result = ext.result.substitute(&ext.generics, &metas);
        let what = format!("`{}`", ext.name);
        let Some(bound) = self.bind_args(&what, &slots, rest.is_some(), args, span) else {
            let named = bound_result(&result, &[]);
            return Expr { kind: ExprKind::Error, ty: if ext.generics.is_empty() { named } else { Ty::Error }, span };
        };
        if ext.elementwise {
            return self.call_elementwise(ext, &slots, bound.slots, &result, span);
        }
        let mut given = self.check_args(&what, &slots, bound.slots);
        for (p, value) in ext.params.iter().filter(|p| !p.rest).zip(&mut given) {
            if value.is_none() {
                value.clone_from(&p.default);
            }
        }
        let mut others: Vec<(Arc<str>, Expr)> = Vec::new();
        for (name, value) in bound.rest {
            let ty = rest.clone().unwrap_or(Ty::Error);
            self.why.push(format!("`{}` of {what} is `{}`", name.text, show(&ty)));
            others.push((Arc::from(name.text.as_str()), self.check_arg(value, &ty)));
            self.why.pop();
        }
        let names: Vec<Arc<str>> = others.iter().map(|(n, _)| n.clone()).collect();
        let ty = bound_result(&self.body.metas.zonk(&result), &names);
        let ty = self.any_length_result(ext, ty, &given);
        let type_args = ext.generics.iter().cloned().zip(metas).collect();
        Expr { kind: ExprKind::CallExtern { ext: ext.clone(), args: given, rest: others, type_args }, ty, span }
    }

    /// A function of numbers over numbers or arrays: the result has the arrays' shape.
    fn call_elementwise(
        &mut self,
        ext: &Arc<Extern>,
        slots: &[Slot],
        values: Vec<Option<Value<'_>>>,
        result: &Ty,
        span: Span,
    ) -> Expr {
        let mut shape: Option<Ty> = None;
        let mut args = Vec::new();
        for ((slot, p), value) in slots.iter().zip(&ext.params).zip(values) {
            let Some(value) = value else {
                args.push(p.default.clone());
                continue;
            };
            let typed = self.typed(value);
            let ty = self.shallow(&typed.ty);
            let want = match (&ty, scalar(&ty)) {
                (Ty::Array(..), Some(_)) => {
                    let want = with_scalar(&ty, &slot.ty);
                    let agrees = shape
                        .as_ref()
                        .is_none_or(|s| self.body.metas.relate(&with_real(&want), &with_real(s)).is_some());
                    if !agrees {
                        let title = format!("the arrays given to `{}` differ in length", ext.name);
                        let d = Diagnostic::error(Code::E0307, typed.span, title, format!("this is `{ty}`"));
                        self.report(d.help("give arrays of one length, or numbers"));
                        return poison(span);
                    }
                    shape = Some(want.clone());
                    want
                }
                _ => slot.ty.clone(),
            };
            self.why.push(format!("the parameter `{}` of `{}` is `{}`", slot.name, ext.name, show(&slot.ty)));
            let value = self.expect(typed, &want);
            self.why.pop();
            self.check_domain(&value, slot, &ext.name);
            args.push(Some(value));
        }
        let ty = shape.map_or_else(|| result.clone(), |s| with_scalar(&s, result));
        Expr {
            kind: ExprKind::CallExtern { ext: ext.clone(), args, rest: Vec::new(), type_args: Vec::new() },
            ty,
            span,
        }
    }
}

fn with_real(ty: &Ty) -> Ty {
    with_scalar(ty, &Ty::Real)
}

/// The result type of a call whose rest arguments have these names: `{ ..sizes: Data }` becomes a record of them.
fn bound_result(result: &Ty, names: &[Arc<str>]) -> Ty {
    let Ty::Record(r) = result else { return result.clone() };
    let [field] = r.fields.as_slice() else { return result.clone() };
    if !field.name.starts_with("..") {
        return result.clone();
    }
    let fields = names.iter().map(|n| FieldTy { name: n.clone(), ..field.clone() }).collect();
    Ty::Record(Arc::new(RecordTy { name: None, fields }))
}
