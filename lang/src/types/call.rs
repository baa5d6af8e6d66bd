//! Calls: of library functions with their overloads and type parameters, of declared functions, of function values, and
//! of programs, whose params a block sets.

use std::sync::Arc;

use super::cx::{Checker, Meaning, Seen, What};
use super::expr::{poison, show};
use super::ops::scalar;
use super::{FieldTy, RecordTy, Ty};
use crate::diag::{Code, Diagnostic};
use crate::hir::{Expr, ExprKind, Function, GlobalKind, GlobalRef, ModuleId};
use crate::library::Extern;
use crate::span::Span;
use crate::syntax::ast;

/// An argument.
#[derive(Clone)]
pub(super) struct Arg<'e> {
    pub(super) name: Option<&'e ast::Name>,
    pub(super) value: Value<'e>,
}

/// An argument's value: as written, or checked already.
#[derive(Clone)]
pub(super) enum Value<'e> {
    Written(&'e ast::Expr),
    Typed(Box<Expr>),
}

impl Value<'_> {
    fn span(&self) -> Span {
        match self {
            Value::Written(e) => e.span,
            Value::Typed(e) => e.span,
        }
    }

    /// Whether its type depends on what is expected: such arguments are checked after the others.
    fn has_closure(&self) -> bool {
        fn closure(e: &ast::Expr) -> bool {
            match &e.kind {
                ast::ExprKind::Closure(..) => true,
                ast::ExprKind::Group(e) => closure(e),
                ast::ExprKind::List(items) => items.iter().any(closure),
                ast::ExprKind::If(_, a, b) => closure(a) || closure(b),
                _ => false,
            }
        }
        matches!(self, Value::Written(e) if closure(e))
    }
}

/// The arguments of `f(a, name: b)`.
pub(super) fn args_of(args: &[ast::Arg]) -> Vec<Arg<'_>> {
    args.iter().map(|a| Arg { name: a.name.as_ref(), value: Value::Written(&a.value) }).collect()
}

/// A parameter as a call sees it.
struct Slot {
    name: Arc<str>,
    ty: Ty,
    needed: bool,
    domain: Option<(f64, f64)>,
}

/// What a call is bound to.
struct Bound<'e> {
    /// One for each parameter but the rest parameter.
    slots: Vec<Option<Value<'e>>>,
    /// Arguments of the rest parameter.
    rest: Vec<(&'e ast::Name, Value<'e>)>,
}

impl Checker<'_> {
    /// The arguments of `f { name: b }`.
    pub(super) fn args_of_fields<'e>(&mut self, fields: &'e [ast::Field]) -> Vec<Arg<'e>> {
        let mut args = Vec::new();
        for field in fields {
            if let Some(value) = self.field_expr(field) {
                args.push(Arg { name: Some(&field.name), value: Value::Written(value) });
            }
        }
        args
    }

    /// A call of any expression.
    pub(super) fn call(&mut self, callee: &ast::Expr, args: Vec<Arg<'_>>, span: Span) -> Expr {
        match &callee.kind {
            ast::ExprKind::Name(name) => self.call_name(name, callee.span, args, span),
            ast::ExprKind::Dot(base, member) => self.method(base, member, args, span),
            ast::ExprKind::Group(inner) => self.call(inner, args, span),
            _ => {
                let callee = self.infer(callee);
                self.call_value(callee, args, span)
            }
        }
    }

    /// A call by name. `at` is where the name stands.
    pub(super) fn call_name(&mut self, name: &str, at: Span, args: Vec<Arg<'_>>, span: Span) -> Expr {
        match self.meaning(name) {
            Meaning::Local(id, ty) => self.call_value(Expr { kind: ExprKind::Local(id), ty, span: at }, args, span),
            Meaning::Own(index) => {
                let seen = self.own(index);
                match seen.what.clone() {
                    What::Function(f) => self.call_function(None, GlobalRef { module: self.id, index }, &f, name, args, span),
                    What::Use(module) => self.instance(module, args, span),
                    What::Extern(ext) => self.call_extern(&ext, args, span),
                    What::Error => poison(span),
                    What::Type => self.not_callable(&seen, name, at, span),
                    What::Value => {
                        let callee = self.name(name, at);
                        self.call_value(callee, args, span)
                    }
                }
            }
            Meaning::Library(index) => self.call_library(index, name, at, args, span),
            Meaning::Extern => self.call_overload(name, args, span),
            Meaning::Broken => poison(span),
            Meaning::Seed | Meaning::Unknown => {
                self.unknown_name(name, at);
                poison(span)
            }
        }
    }

    fn call_library(&mut self, index: usize, name: &str, at: Span, args: Vec<Arg<'_>>, span: Span) -> Expr {
        let reference = GlobalRef { module: ModuleId(0), index };
        match self.foreign(reference).map(|s| s.what) {
            Some(What::Function(f)) => self.call_function(None, reference, &f, name, args, span),
            _ => {
                let callee = self.name(name, at);
                self.call_value(callee, args, span)
            }
        }
    }

    fn not_callable(&mut self, seen: &Seen, name: &str, at: Span, span: Span) -> Expr {
        let d = Diagnostic::error(Code::E0303, at, format!("`{name}` is a `{}` and cannot be called", seen.word), "not a function");
        self.report(d.label(seen.name_span, "declared here").help("call a function, or write a record `{ … }` where its type is expected"));
        poison(span)
    }

    /// A call of a function value.
    pub(super) fn call_value(&mut self, callee: Expr, args: Vec<Arg<'_>>, span: Span) -> Expr {
        match self.shallow(&callee.ty) {
            other if self.is_open(&other) => poison(span),
            Ty::Fn(f) => {
                let slots = f.params.iter().enumerate().map(|(i, (name, ty))| Slot {
                    name: name.clone().unwrap_or_else(|| format!("{}", i + 1).into()),
                    ty: ty.clone(),
                    needed: true,
                    domain: None,
                });
                let slots: Vec<Slot> = slots.collect();
                let Some(bound) = self.bind_args("this function", &slots, false, args, span) else { return poison(span) };
                let args = self.check_args("this function", &slots, bound.slots).into_iter().flatten().collect();
                let kind = ExprKind::CallValue { function: Box::new(callee), args };
                Expr { kind, ty: f.result.clone(), span }
            }
            Ty::Instance(module) if matches!(callee.kind, ExprKind::Instance { .. }) => self.instance(module, args, span),
            other => {
                let shown = show(&self.body.metas.zonk(&other));
                let d = Diagnostic::error(Code::E0303, callee.span, format!("`{shown}` is not a function and cannot be called"), format!("this is `{shown}`"));
                self.report(d.help("leave the arguments out, or call a function"));
                poison(span)
            }
        }
    }

    /// A call of a declared function.
    fn call_function(&mut self, instance: Option<Expr>, reference: GlobalRef, f: &Arc<Function>, name: &str, args: Vec<Arg<'_>>, span: Span) -> Expr {
        let slots: Vec<Slot> =
            f.params.iter().map(|p| Slot { name: p.name.clone(), ty: p.ty.clone(), needed: p.default.is_none(), domain: None }).collect();
        let what = format!("`{name}`");
        let result = f.body.ty.clone();
        let Some(bound) = self.bind_args(&what, &slots, false, args, span) else { return Expr { kind: ExprKind::Error, ty: result, span } };
        let args = self.check_args(&what, &slots, bound.slots);
        let ty = match self.foreign_or_own_ty(reference) {
            Ty::Fn(f) => f.result.clone(),
            _ => result,
        };
        Expr { kind: ExprKind::CallFunction { instance: instance.map(Box::new), function: reference, args }, ty, span }
    }

    fn foreign_or_own_ty(&self, reference: GlobalRef) -> Ty {
        if reference.module == self.id {
            return self.done(reference.index).map_or(Ty::Error, |g| g.ty.clone());
        }
        self.foreign(reference).map_or(Ty::Error, |s| s.ty)
    }

    /// A call of a declaration of a used program.
    pub(super) fn call_member(&mut self, base: Expr, module: ModuleId, global: usize, name: &ast::Name, args: Vec<Arg<'_>>, span: Span) -> Expr {
        let reference = GlobalRef { module, index: global };
        let Some(seen) = self.foreign(reference) else { return poison(span) };
        match seen.what.clone() {
            What::Function(f) => self.call_function(Some(base), reference, &f, &name.text, args, span),
            What::Error => poison(span),
            What::Type => self.not_callable(&seen, &name.text, name.span, span),
            What::Extern(ext) => self.call_extern(&ext, args, span),
            What::Use(_) => {
                let d = Diagnostic::error(Code::E0303, name.span, format!("the params of `{}` are set where it is used", name.text), "a program inside a program");
                self.report(d.label(seen.name_span, "used here").help("`use` the program here as well, and set its params"));
                poison(span)
            }
            What::Value => {
                let callee = Expr { kind: ExprKind::Member { instance: Box::new(base), global }, ty: seen.ty, span: name.span };
                self.call_value(callee, args, span)
            }
        }
    }

    /// `qd { base: m }`: a program with some params set.
    fn instance(&mut self, module: ModuleId, args: Vec<Arg<'_>>, span: Span) -> Expr {
        let modules = self.modules;
        let Some(program) = modules.get(module.0 as usize) else { return poison(span) };
        let mut set: Vec<(usize, Expr)> = Vec::new();
        for arg in args {
            let Some(name) = arg.name else {
                let d = Diagnostic::error(Code::E0302, arg.value.span(), format!("the params of `{}` are set by name", program.name), "has no name");
                self.report(d.help(format!("write `{} {{ name: value }}`", program.name)));
                continue;
            };
            let index = program.globals.iter().position(|g| *g.name == *name.text && matches!(g.kind, GlobalKind::Param { .. } | GlobalKind::Error));
            let Some((index, global)) = index.and_then(|i| Some((i, program.globals.get(i)?))) else {
                self.not_a_param(program, name);
                continue;
            };
            if set.iter().any(|(i, _)| *i == index) {
                self.twice(name, "param");
                continue;
            }
            self.why.push(format!("the param `{}` of `{}` is `{}`", name.text, program.name, show(&global.ty)));
            let value = self.check_arg(arg.value, &global.ty);
            self.why.pop();
            set.push((index, value));
        }
        Expr { kind: ExprKind::Instance { module, args: set }, ty: Ty::Instance(module), span }
    }

    fn not_a_param(&mut self, program: &crate::hir::Module, name: &ast::Name) {
        let params: Vec<&str> = program.globals.iter().filter(|g| matches!(g.kind, GlobalKind::Param { .. })).map(|g| &*g.name).collect();
        let d = Diagnostic::error(Code::E0211, name.span, format!("`{}` has no param `{}`", program.name, name.text), "no such param");
        let d = match program.globals.iter().find(|g| *g.name == *name.text) {
            Some(g) => d.label(g.name_span, format!("this is a `{}`", g.word)),
            None => d,
        };
        let d = if params.is_empty() { d.note("it has no params but `seed`") } else { d.note(format!("its params are {}", params.join(", "))) };
        self.report(match crate::diag::suggest(&name.text, params) {
            Some(near) => d.help(format!("did you mean `{near}`?")).fix(name.span, near),
            None => d.help("leave it out, or declare it there: `param …`"),
        });
    }

    /// A call of an extern that may have several declarations: the type of the first argument decides.
    pub(super) fn call_overload(&mut self, name: &str, mut args: Vec<Arg<'_>>, span: Span) -> Expr {
        let candidates = self.library.overloads(name).to_vec();
        if let [one] = candidates.as_slice() {
            return self.call_extern(one, args, span);
        }
        let first_of = |ext: &Arc<Extern>| ext.params.first().map(|p| p.name.clone());
        let index = args.iter().position(|a| a.name.is_none()).or_else(|| {
            args.iter().position(|a| a.name.is_some_and(|n| candidates.iter().any(|c| first_of(c).is_some_and(|f| *f == *n.text))))
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
            let takes_fn = candidates.iter().find(|c| c.params.first().is_some_and(|p| matches!(p.ty, Ty::Fn(_) | Ty::Union(_))));
            return match takes_fn.or(candidates.first()) {
                Some(ext) => self.call_extern(&ext.clone(), args, span),
                None => poison(span),
            };
        }
        let by_name = arg.name.map(|n| n.text.clone());
        let value = self.typed(arg.value.clone());
        if self.is_open(&value.ty) {
            return poison(span);
        }
        let ty = value.ty.clone();
        arg.value = Value::Typed(Box::new(value));
        let named = |c: &&Arc<Extern>| by_name.as_ref().is_none_or(|n| first_of(c).is_some_and(|f| *f == **n));
        let accepting: Vec<Arc<Extern>> = candidates.iter().filter(named).filter(|c| self.accepts_first(c, &ty)).cloned().collect();
        match accepting.as_slice() {
            [] => {
                self.no_overload(name, &ty, &candidates, span);
                poison(span)
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
        matches!(ty, Ty::Fn(_)) && matches!(want, Ty::Node(n) if self.library.kinds.values().any(|k| k.value.as_ref().is_some_and(|v| v.is_node(&n.name))))
    }

    /// Among declarations that all take the first argument (an `int` is taken as a `real` too), the first that takes the
    /// other numbers as well.
    fn choose_numeric(&mut self, several: &[Arc<Extern>], fallback: &Arc<Extern>, args: &mut [Arg<'_>], first: usize) -> Arc<Extern> {
        for (i, arg) in args.iter_mut().enumerate() {
            if i != first && arg.name.is_none() && !arg.value.has_closure() {
                arg.value = Value::Typed(Box::new(self.typed(arg.value.clone())));
            }
        }
        let takes_all = |checker: &mut Self, ext: &Arc<Extern>| {
            let positional = args.iter().filter(|a| a.name.is_none());
            positional.zip(&ext.params).all(|(a, p)| match &a.value {
                Value::Typed(e) => {
                    let (want, _) = checker.instantiate(&ext.generics, &p.ty);
                    let item = scalar(&e.ty).filter(|_| ext.elementwise && scalar(&want).is_some());
                    checker.body.metas.clone().relate(item.as_ref().unwrap_or(&e.ty), &want).is_some()
                }
                Value::Written(_) => true,
            })
        };
        several.iter().find(|ext| takes_all(self, ext)).unwrap_or(fallback).clone()
    }

    fn no_overload(&mut self, name: &str, ty: &Ty, candidates: &[Arc<Extern>], span: Span) {
        let shown = show(&self.body.metas.zonk(ty));
        let takes: Vec<String> = candidates.iter().filter_map(|c| c.params.first()).map(|p| format!("`{}`", p.ty)).collect();
        let d = Diagnostic::error(Code::E0301, span, format!("`{name}` does not take `{shown}`"), format!("its first argument is `{shown}`"));
        self.report(d.note(format!("it is declared for {}", takes.join(", "))).help("give a first argument of one of these types"));
    }

    /// A call of a library function.
    pub(super) fn call_extern(&mut self, ext: &Arc<Extern>, args: Vec<Arg<'_>>, span: Span) -> Expr {
        let metas: Vec<Ty> = ext.generics.iter().map(|_| self.fresh()).collect();
        let mut slots = Vec::new();
        let mut rest = None;
        for p in &ext.params {
            let ty = p.ty.substitute(&ext.generics, &metas);
            if p.rest {
                rest = Some(ty);
            } else {
                slots.push(Slot { name: p.name.clone(), ty, needed: p.default.is_none() && !p.optional, domain: p.domain });
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
        let type_args = ext.generics.iter().cloned().zip(metas).collect();
        Expr { kind: ExprKind::CallExtern { ext: ext.clone(), args: given, rest: others, type_args }, ty, span }
    }

    /// A function of numbers over numbers or arrays: the result has the arrays' shape.
    fn call_elementwise(&mut self, ext: &Arc<Extern>, slots: &[Slot], values: Vec<Option<Value<'_>>>, result: &Ty, span: Span) -> Expr {
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
                    let want = super::ops::with_scalar(&ty, &slot.ty);
                    let agrees = shape.as_ref().is_none_or(|s| self.body.metas.relate(&with_real(&want), &with_real(s)).is_some());
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
        let ty = shape.map_or_else(|| result.clone(), |s| super::ops::with_scalar(&s, result));
        Expr { kind: ExprKind::CallExtern { ext: ext.clone(), args, rest: Vec::new(), type_args: Vec::new() }, ty, span }
    }

    /// Puts arguments to parameters; reports what is missing, unknown or too much at the call.
    fn bind_args<'e>(&mut self, what: &str, slots: &[Slot], has_rest: bool, args: Vec<Arg<'e>>, span: Span) -> Option<Bound<'e>> {
        let mut bound = Bound { slots: slots.iter().map(|_| None).collect(), rest: Vec::new() };
        let mut next = 0;
        let mut ok = true;
        let count = args.len();
        for arg in args {
            let index = match arg.name {
                Some(name) => slots.iter().position(|s| *s.name == *name.text),
                None => {
                    next += 1;
                    Some(next - 1)
                }
            };
            match (index.filter(|i| *i < slots.len()), arg.name) {
                (Some(i), name) => {
                    let taken = bound.slots.get(i).is_some_and(Option::is_some);
                    if taken {
                        let shown = slots.get(i).map_or("", |s| &s.name);
                        let at = name.map_or(arg.value.span(), |n| n.span);
                        let d = Diagnostic::error(Code::E0302, span, format!("{what} gets `{shown}` twice"), "").label(at, "second time");
                        self.report(d.help("give each parameter once"));
                        ok = false;
                    } else if let Some(slot) = bound.slots.get_mut(i) {
                        *slot = Some(arg.value);
                    }
                }
                (None, Some(name)) if has_rest => {
                    if bound.rest.iter().any(|(n, _)| n.text == name.text) {
                        self.twice(name, "argument");
                    } else {
                        bound.rest.push((name, arg.value));
                    }
                }
                (None, Some(name)) => {
                    self.unknown_argument(what, slots, name, span);
                    ok = false;
                }
                (None, None) => {
                    if ok {
                        let title = format!("{what} takes {} arguments, not {count}", slots.len());
                        let d = Diagnostic::error(Code::E0302, span, title, "").label(arg.value.span(), "too many");
                        self.report(d.note(takes(what, slots)).help("leave it out"));
                    }
                    ok = false;
                }
            }
        }
        let missing: Vec<String> = slots.iter().zip(&bound.slots).filter(|(s, v)| s.needed && v.is_none()).map(|(s, _)| format!("`{}`", s.name)).collect();
        if ok && !missing.is_empty() {
            let d = Diagnostic::error(Code::E0302, span, format!("{what} needs {}", missing.join(", ")), format!("{} is missing", missing.join(", ")));
            self.report(d.note(takes(what, slots)).help("give each parameter that has no default"));
            ok = false;
        }
        ok.then_some(bound)
    }

    fn unknown_argument(&mut self, what: &str, slots: &[Slot], name: &ast::Name, span: Span) {
        let d = Diagnostic::error(Code::E0302, span, format!("{what} has no parameter `{}`", name.text), "").label(name.span, "no such parameter");
        let d = d.note(takes(what, slots));
        self.report(match crate::diag::suggest(&name.text, slots.iter().map(|s| &*s.name)) {
            Some(near) => d.help(format!("did you mean `{near}`?")).fix(name.span, near),
            None => d.help("leave it out"),
        });
    }

    /// The checked arguments; closures last, when the others have told what type parameters stand for.
    fn check_args(&mut self, what: &str, slots: &[Slot], values: Vec<Option<Value<'_>>>) -> Vec<Option<Expr>> {
        let mut out: Vec<Option<Expr>> = values.iter().map(|_| None).collect();
        let mut values: Vec<Option<Value<'_>>> = values;
        for closures in [false, true] {
            for ((slot, value), out) in slots.iter().zip(&mut values).zip(&mut out) {
                if value.as_ref().is_some_and(|v| v.has_closure() == closures)
                    && let Some(value) = value.take()
                {
                    let shown = show(&self.body.metas.zonk(&slot.ty));
                    self.why.push(format!("the parameter `{}` of {what} is `{shown}`", slot.name));
                    let value = self.check_arg(value, &slot.ty);
                    self.why.pop();
                    self.check_domain(&value, slot, what.trim_matches('`'));
                    *out = Some(value);
                }
            }
        }
        out
    }

    fn check_arg(&mut self, value: Value<'_>, want: &Ty) -> Expr {
        match value {
            Value::Written(e) => self.check(e, want),
            Value::Typed(e) => self.expect(*e, want),
        }
    }

    fn typed(&mut self, value: Value<'_>) -> Expr {
        match value {
            Value::Written(e) => self.infer(e),
            Value::Typed(e) => *e,
        }
    }

    /// Literal arguments lie within the declared range.
    fn check_domain(&mut self, value: &Expr, slot: &Slot, name: &str) {
        let Some((lo, hi)) = slot.domain else { return };
        if let ExprKind::Array(items) = &value.kind {
            items.iter().for_each(|i| self.check_domain(i, slot, name));
            return;
        }
        if let ExprKind::Convert(_, inner) = &value.kind
            && matches!(inner.kind, ExprKind::Array(_))
        {
            return self.check_domain(inner, slot, name);
        }
        if let Some(x) = self.constant_real(value).filter(|x| !(lo..=hi).contains(x)) {
            let title = format!("`{}` of `{name}` lies between {lo} and {hi}, and {x} does not", slot.name);
            let d = Diagnostic::error(Code::E0309, value.span, title, "out of range");
            self.report(d.help(format!("give a value from {lo} to {hi}")));
        }
    }

    /// Functions of one kind side by side, such as several losses, as the nodes that they are accepted as.
    pub(super) fn functions_as_nodes(&self, items: Vec<Expr>) -> Vec<Expr> {
        let node = items.first().and_then(|e| self.node_of(e));
        match node {
            Some(Ty::Node(n)) if items.iter().all(|e| self.node_of(e).is_some_and(|t| t.is_node(&n.name))) => {
                items.into_iter().map(|e| Expr { ty: Ty::Node(n.clone()), ..e }).collect()
            }
            _ => items,
        }
    }

    /// A function of a kind that is accepted as a node, such as a declared loss where a `Loss` is expected.
    pub(super) fn function_as_node(&self, e: &Expr, want: &Ty) -> Option<Expr> {
        let Ty::Node(node) = self.shallow(want) else { return None };
        let value = self.node_of(e)?;
        value.is_node(&node.name).then(|| Expr { ty: value, ..e.clone() })
    }

    /// The node type that a function is accepted as, because of its kind.
    fn node_of(&self, e: &Expr) -> Option<Ty> {
        if !matches!(e.ty, Ty::Fn(_)) {
            return None;
        }
        let word = match &e.kind {
            ExprKind::Global(r) if r.module == self.id => self.done(r.index)?.word.clone(),
            ExprKind::Global(r) => self.foreign(*r)?.word,
            ExprKind::ExternRef(ext) => ext.word.clone(),
            ExprKind::Member { instance, global } => match instance.ty {
                Ty::Instance(module) => self.foreign(GlobalRef { module, index: *global })?.word,
                _ => return None,
            },
            _ => return None,
        };
        self.library.kinds.get(&word)?.value.clone()
    }

    /// The kind of a function that is called, for whether it is numeric code.
    pub(super) fn done_kind(&self, reference: GlobalRef) -> Option<&GlobalKind> {
        if reference.module == self.id {
            return self.done(reference.index).map(|g| &g.kind);
        }
        self.modules.get(reference.module.0 as usize)?.globals.get(reference.index).map(|g| &g.kind)
    }
}

fn with_real(ty: &Ty) -> Ty {
    super::ops::with_scalar(ty, &Ty::Real)
}

fn takes(what: &str, slots: &[Slot]) -> String {
    let one = |s: &Slot| format!("{}{}", s.name, if s.needed { "" } else { "?" });
    match slots {
        [] => format!("{what} takes no arguments"),
        _ => format!("{what} takes {}", slots.iter().map(one).collect::<Vec<_>>().join(", ")),
    }
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
