//! `slope(f, by: x)` and `gradient(f, by: xs)`: derivatives of functions, as functions of the same parameters.
//!
//! Each becomes a closure of these parameters whose body is the derivative at them: a call of the library function with
//! the differentiated closure, the index of its parameter, and the arguments.

use std::sync::Arc;

use super::args::Slot;
use super::{Arg, Value};
use crate::diag::{Code, Diagnostic};
use crate::hir::{Expr, ExprKind, GlobalKind, GlobalRef, Lambda, Param};
use crate::library::Extern;
use crate::span::Span;
use crate::syntax::ast;
use crate::types::cx::Checker;
use crate::types::expr::{poison, show};
use crate::types::numeric::free_locals;
use crate::types::{EnumTy, FnTy, Ty};

impl Checker<'_> {
    /// A call of `slope` or `gradient`.
    pub(in crate::types) fn call_derivative(&mut self, ext: &Arc<Extern>, args: Vec<Arg<'_>>, span: Span) -> Expr {
        let slot = |name: &str, needed| Slot { name: name.into(), ty: Ty::Error, needed, domain: None };
        let slots = [slot("f", true), slot("by", false)];
        let Some(bound) = self.bind_args(&format!("`{}`", ext.name), &slots, false, args, span) else {
            return poison(span);
        };
        let mut values = bound.slots.into_iter();
        let Some(f) = values.next().flatten() else { return poison(span) };
        let f = self.function_of_reals(f, &ext.name);
        let ty = match self.shallow(&f.ty) {
            Ty::Fn(ty) => ty,
            other => {
                if !self.is_open(&other) {
                    let shown = show(&self.body.metas.zonk(&other));
                    let d = Diagnostic::error(
                        Code::E0354,
                        f.span,
                        format!("`{}` takes a function, and this is `{shown}`", ext.name),
                        "not a function",
                    );
                    self.report(d.help(format!("give it a declared function, as in `{}(f)(x)`", ext.name)));
                }
                return poison(span);
            }
        };
        if !self.is_differentiable(&f, &ty, ext) {
            return poison(span);
        }
        match self.parameter(ext, &f, &ty, values.next().flatten()) {
            Some(by) => self.derivative(ext, f, &ty, by, span),
            None => poison(span),
        }
    }

    /// The function; the parameters of a closure that is written here are reals, if a slope is taken.
    fn function_of_reals(&mut self, f: Value<'_>, name: &str) -> Expr {
        let Value::Written(mut e) = f else { return self.typed(f) };
        while let ast::ExprKind::Group(inner) = &e.kind {
            e = inner;
        }
        match &e.kind {
            ast::ExprKind::Closure(names, _) if name == "slope" => {
                let params = names.iter().map(|name| (Some(name.text.as_str().into()), Ty::Real)).collect();
                self.check(e, &Ty::Fn(Arc::new(FnTy { params, result: Ty::Real })))
            }
            _ => self.infer(e),
        }
    }

    /// Reports a function without slopes.
    fn is_differentiable(&mut self, f: &Expr, ty: &FnTy, ext: &Extern) -> bool {
        let name = &ext.name;
        let refused = if self.node_of(f).is_some() {
            let title =
                format!("`{name}` is for functions of numbers, and this one is computed over the rows of a batch");
            Some((title, "over rows", "`loss_slopes` gives the slopes of a loss".to_owned()))
        } else if !matches!(ty.result, Ty::Real | Ty::Error) {
            let title = format!("a function that gives `{}` has no {name}: only a `real` has", show(&ty.result));
            let help = match ty.result {
                Ty::Int => "let it give a `real`, as in `1.0 * n`",
                _ => "let it give one `real`, such as an element or a sum",
            };
            Some((title, "gives no `real`", help.to_owned()))
        } else {
            None
        };
        let is_fine = refused.is_none();
        if let Some((title, label, help)) = refused {
            self.report(Diagnostic::error(Code::E0354, f.span, title, label).help(help));
        }
        is_fine
    }

    /// The parameter to differentiate by: the one that is named, or the only one that may be.
    fn parameter(&mut self, ext: &Extern, f: &Expr, ty: &FnTy, by: Option<Value<'_>>) -> Option<usize> {
        let is_slope = &*ext.name == "slope";
        let fits = |ty: &Ty| if is_slope { matches!(ty, Ty::Real) } else { is_reals(ty) };
        let wanted = if is_slope { "`real`" } else { "an array of `real`" };
        let names: Vec<Arc<str>> = ty
            .params
            .iter()
            .enumerate()
            .map(|(i, (name, _))| name.clone().unwrap_or_else(|| format!("{i}").into()))
            .collect();
        if let Some(by) = by {
            let span = by.span();
            let cases = Ty::Enum(Arc::new(EnumTy { name: None, cases: names.clone() }));
            self.why.push(format!("`by` names a parameter of the function: {}", names.join(", ")));
            let by = self.check_arg(by, &cases);
            self.why.pop();
            let ExprKind::Case(index) = by.kind else { return None };
            let param = &ty.params.get(index as usize)?.1;
            if fits(param) || matches!(param, Ty::Error) {
                return Some(index as usize);
            }
            let name = names.get(index as usize)?;
            let title = format!("`{}` is by {wanted}, and `{name}` is `{}`", ext.name, show(param));
            let d = Diagnostic::error(Code::E0354, span, title, format!("this is `{}`", show(param)));
            self.report(d.help(match (is_slope, param) {
                (true, param) if is_reals(param) => format!("write `gradient(…, by: {name})`"),
                (false, Ty::Real) => format!("write `slope(…, by: {name})`"),
                _ => "a function is differentiated by its `real`s alone".to_owned(),
            }));
            return None;
        }
        let fitting: Vec<usize> =
            (0..names.len()).filter(|i| ty.params.get(*i).is_some_and(|(_, ty)| fits(ty))).collect();
        if let [only] = fitting.as_slice() {
            return Some(*only);
        }
        let takes: Vec<String> =
            names.iter().zip(&ty.params).map(|(name, (_, ty))| format!("{name}: {}", show(ty))).collect();
        let (title, label) = match fitting.as_slice() {
            [] => (format!("the function has no parameter that is {wanted}"), "by what?".to_owned()),
            _ => (
                format!("the function has {} parameters that are {wanted}", fitting.len()),
                "by which of them?".to_owned(),
            ),
        };
        let other =
            (0..names.len()).find(|i| ty.params.get(*i).is_some_and(|(_, ty)| is_reals(ty) || matches!(ty, Ty::Real)));
        let help = match (fitting.first().and_then(|i| names.get(*i)), other) {
            (Some(name), _) => format!("say which: `{}(…, by: {name})`", ext.name),
            (None, Some(_)) => format!("`{}` is for such a parameter", if is_slope { "gradient" } else { "slope" }),
            (None, None) => "a function is differentiated by its `real`s alone".to_owned(),
        };
        if !ty.params.iter().any(|(_, ty)| matches!(ty, Ty::Error)) {
            let d = Diagnostic::error(Code::E0354, f.span, title, label).note(format!("it takes {}", takes.join(", ")));
            self.report(d.help(help));
        }
        None
    }

    /// `(x, …) => slope(f, by, x, …)`, where `f` is a closure.
    fn derivative(&mut self, ext: &Arc<Extern>, f: Expr, ty: &FnTy, by: usize, span: Span) -> Expr {
        let f = match f.kind {
            ExprKind::Lambda(_) => f,
            _ => self.as_closure(f, ty),
        };
        let outside = self.body.locals.len();
        let params = self.fresh_params(ty);
        self.body.locals.truncate(outside);
        let at = params.iter().map(|p| Some(Expr { kind: ExprKind::Local(p.local), ty: p.ty.clone(), span }));
        let index = Expr { kind: ExprKind::Int(by as i64), ty: Ty::Int, span };
        let result = params.get(by).map_or(Ty::Error, |p| p.ty.clone());
        let args = [Some(f), Some(index)].into_iter().chain(at).collect();
        let kind = ExprKind::CallExtern { ext: ext.clone(), args, rest: Vec::new(), type_args: Vec::new() };
        self.closed_over(params, Expr { kind, ty: result, span }, span)
    }

    /// A function as a closure that calls it.
    fn as_closure(&mut self, f: Expr, ty: &FnTy) -> Expr {
        let span = f.span;
        let outside = self.body.locals.len();
        let params = self.fresh_params(ty);
        self.body.locals.truncate(outside);
        let args: Vec<Expr> =
            params.iter().map(|p| Expr { kind: ExprKind::Local(p.local), ty: p.ty.clone(), span }).collect();
        let some = |args: Vec<Expr>| args.into_iter().map(Some).collect();
        let function = |reference| match self.done_kind(reference) {
            Some(GlobalKind::Function(_)) => Some(reference),
            _ => None,
        };
        let kind = match f.kind {
            ExprKind::Global(reference) if function(reference).is_some() => {
                ExprKind::CallFunction { instance: None, function: reference, args: some(args) }
            }
            ExprKind::Member { instance, global } => match instance.ty {
                Ty::Instance(module) if function(GlobalRef { module, index: global }).is_some() => {
                    let function = GlobalRef { module, index: global };
                    ExprKind::CallFunction { instance: Some(instance), function, args: some(args) }
                }
                _ => {
                    let kind = ExprKind::Member { instance, global };
                    ExprKind::CallValue { function: Box::new(Expr { kind, ty: f.ty, span }), args }
                }
            },
            ExprKind::ExternRef(ext) => {
                ExprKind::CallExtern { ext, args: some(args), rest: Vec::new(), type_args: Vec::new() }
            }
            kind => ExprKind::CallValue { function: Box::new(Expr { kind, ty: f.ty, span }), args },
        };
        self.closed_over(params, Expr { kind, ty: ty.result.clone(), span }, span)
    }

    fn fresh_params(&mut self, ty: &FnTy) -> Vec<Param> {
        let named = |i: usize, name: &Option<Arc<str>>| name.clone().unwrap_or_else(|| format!("{i}").into());
        let mut params = Vec::with_capacity(ty.params.len());
        for (i, (name, ty)) in ty.params.iter().enumerate() {
            let name = named(i, name);
            params.push(Param { local: self.bind(&name, ty.clone()), name, ty: ty.clone(), default: None });
        }
        params
    }

    /// The closure of a body.
    pub(in crate::types) fn closed_over(&self, params: Vec<Param>, body: Expr, span: Span) -> Expr {
        let captures = free_locals(&body).into_iter().filter(|l| params.iter().all(|p| p.local != *l)).collect();
        let numeric = self.is_numeric_body(&params, &body);
        let inputs = params.iter().map(|p| (Some(p.name.clone()), p.ty.clone())).collect();
        let ty = Ty::Fn(Arc::new(FnTy { params: inputs, result: body.ty.clone() }));
        Expr { kind: ExprKind::Lambda(Arc::new(Lambda { params, body, captures, numeric })), ty, span }
    }
}

/// An array (of arrays) of reals.
fn is_reals(ty: &Ty) -> bool {
    matches!(ty, Ty::Array(item, _) if matches!(**item, Ty::Real) || is_reals(item))
}
