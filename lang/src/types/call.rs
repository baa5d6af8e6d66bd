//! Calls: of library functions with their overloads and type parameters, of declared functions, of function values, and
//! of programs, whose params a block sets.

mod args;
mod derivative;
mod library;

use std::sync::Arc;

pub(super) use args::Slot;

use super::Ty;
use super::cx::{Checker, Meaning, Seen, What, is_private};
use super::expr::{poison, show};
use crate::diag::{Code, Diagnostic};
use crate::hir::{Expr, ExprKind, Function, GlobalKind, GlobalRef, Instance, ModuleId};
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
    pub(super) fn span(&self) -> Span {
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
        self.ask_value_at(at, None);
        match self.meaning(name) {
            Meaning::Local(id, ty) => self.call_value(Expr { kind: ExprKind::Local(id), ty, span: at }, args, span),
            Meaning::Own(index) => {
                let seen = self.own(index);
                match seen.what.clone() {
                    What::Function(f) => {
                        self.call_function(None, GlobalRef { module: self.id, index }, &f, name, args, span)
                    }
                    What::Use(module) => self.instance(Instance::of(module), args, span),
                    What::Extern(ext) => self.call_extern(&ext, args, span),
                    What::Error => self.lost_call(args, span),
                    What::Type => self.not_callable(&seen, name, at, args, span),
                    What::Value => {
                        let callee = self.name(name, at);
                        self.call_value(callee, args, span)
                    }
                }
            }
            Meaning::Library(index) => self.call_library(index, name, at, args, span),
            Meaning::Extern => self.call_overload(name, args, span),
            Meaning::Broken => self.lost_call(args, span),
            Meaning::Seed | Meaning::Unknown => {
                self.unknown_name(name, at);
                self.lost_call(args, span)
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

    fn not_callable(&mut self, seen: &Seen, name: &str, at: Span, args: Vec<Arg<'_>>, span: Span) -> Expr {
        let d = Diagnostic::error(
            Code::E0303,
            at,
            format!("`{name}` is a `{}` and cannot be called", seen.word),
            "not a function",
        );
        self.report(
            d.label(seen.name_span, "declared here")
                .help("call a function, or write a record `{ … }` where its type is expected"),
        );
        self.lost_call(args, span)
    }

    /// A call of nothing that is known: its arguments are checked by themselves.
    pub(super) fn lost_call(&mut self, args: Vec<Arg<'_>>, span: Span) -> Expr {
        self.check_loose(args.into_iter().map(|a| a.value));
        poison(span)
    }

    /// A call of a function value.
    pub(super) fn call_value(&mut self, callee: Expr, args: Vec<Arg<'_>>, span: Span) -> Expr {
        let callee = match callee.kind {
            ExprKind::Instance(set) => return self.instance(*set, args, span),
            kind => Expr { kind, ..callee },
        };
        match self.shallow(&callee.ty) {
            other if self.is_open(&other) => self.lost_call(args, span),
            Ty::Fn(f) => {
                let slots = f.params.iter().enumerate().map(|(i, (name, ty))| Slot {
                    name: name.clone().unwrap_or_else(|| format!("{}", i + 1).into()),
                    ty: ty.clone(),
                    needed: true,
                    domain: None,
                });
                let slots: Vec<Slot> = slots.collect();
                let Some(bound) = self.bind_args("this function", &slots, false, args, span) else {
                    return poison(span);
                };
                let args = self.check_args("this function", &slots, bound.slots).into_iter().flatten().collect();
                let kind = ExprKind::CallValue { function: Box::new(callee), args };
                Expr { kind, ty: f.result.clone(), span }
            }
            other => {
                let shown = show(&self.body.metas.zonk(&other));
                let d = Diagnostic::error(
                    Code::E0303,
                    callee.span,
                    format!("`{shown}` is not a function and cannot be called"),
                    format!("this is `{shown}`"),
                );
                self.report(d.help("leave the arguments out, or call a function"));
                self.lost_call(args, span)
            }
        }
    }

    /// A call of a declared function.
    fn call_function(
        &mut self,
        instance: Option<Expr>,
        reference: GlobalRef,
        f: &Arc<Function>,
        name: &str,
        args: Vec<Arg<'_>>,
        span: Span,
    ) -> Expr {
        let settings = self.gives_settings(reference, f, &args);
        let slots: Vec<Slot> = f
            .params
            .iter()
            .map(|p| (p, p.default.is_none() && !settings))
            .map(|(p, needed)| Slot { name: p.name.clone(), ty: p.ty.clone(), needed, domain: None })
            .collect();
        let what = format!("`{name}`");
        let result = f.body.ty.clone();
        if !settings {
            self.only_in_row_code(Some(reference), name, span);
        }
        let Some(bound) = self.bind_args(&what, &slots, false, args, span) else {
            let ty = if settings { Ty::Error } else { result };
            return Expr { kind: ExprKind::Error, ty, span };
        };
        let args = self.check_args(&what, &slots, bound.slots);
        if settings {
            return self.constructed(instance.map(Box::new), reference, &args, span).unwrap_or_else(|| poison(span));
        }
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
    pub(super) fn call_member(
        &mut self,
        base: Expr,
        module: ModuleId,
        global: usize,
        name: &ast::Name,
        args: Vec<Arg<'_>>,
        span: Span,
    ) -> Expr {
        let reference = GlobalRef { module, index: global };
        let Some(seen) = self.foreign(reference) else { return poison(span) };
        match seen.what.clone() {
            What::Function(f) => self.call_function(Some(base), reference, &f, &name.text, args, span),
            What::Error => self.lost_call(args, span),
            What::Type => self.not_callable(&seen, &name.text, name.span, args, span),
            What::Extern(ext) => self.call_extern(&ext, args, span),
            What::Use(used) => self.instance(Instance { outer: Some(base), ..Instance::of(used) }, args, span),
            What::Value => {
                let callee =
                    Expr { kind: ExprKind::Member { instance: Box::new(base), global }, ty: seen.ty, span: name.span };
                self.call_value(callee, args, span)
            }
        }
    }

    /// `qd { base: m }`: a program with some params set, besides those that are `set` already.
    fn instance(&mut self, mut set: Instance, args: Vec<Arg<'_>>, span: Span) -> Expr {
        let (modules, module) = (self.modules, set.module);
        let Some(program) = modules.get(module.0 as usize) else { return poison(span) };
        for arg in args {
            let Some(name) = arg.name else {
                let d = Diagnostic::error(
                    Code::E0302,
                    arg.value.span(),
                    format!("the params of `{}` are set by name", program.name),
                    "has no name",
                );
                self.report(d.help(format!("write `{} {{ name: value }}`", program.name)));
                continue;
            };
            if name.text == "seed" {
                if set.seed.is_some() {
                    self.twice(name, "param");
                    continue;
                }
                self.why.push(format!("the seed of `{}` is `int`", program.name));
                set.seed = Some(self.check_arg(arg.value, &Ty::Int));
                self.why.pop();
                continue;
            }
            let index = program
                .globals
                .iter()
                .position(|g| *g.name == *name.text && matches!(g.kind, GlobalKind::Param { .. } | GlobalKind::Error))
                .filter(|_| !is_private(&name.text));
            let Some((index, global)) = index.and_then(|i| Some((i, program.globals.get(i)?))) else {
                self.not_a_param(program, name);
                continue;
            };
            if set.args.iter().any(|(i, _)| *i == index) {
                self.twice(name, "param");
                continue;
            }
            self.why.push(format!("the param `{}` of `{}` is `{}`", name.text, program.name, show(&global.ty)));
            let value = self.check_arg(arg.value, &global.ty);
            self.why.pop();
            set.args.push((index, value));
        }
        Expr { kind: ExprKind::Instance(Box::new(set)), ty: Ty::Instance(module), span }
    }

    fn not_a_param(&mut self, program: &crate::hir::Module, name: &ast::Name) {
        let params = program.globals.iter().filter(|g| matches!(g.kind, GlobalKind::Param { .. })).map(|g| &*g.name);
        let params: Vec<&str> = params.filter(|name| !is_private(name)).collect();
        let d = Diagnostic::error(
            Code::E0211,
            name.span,
            format!("`{}` has no param `{}`", program.name, name.text),
            "no such param",
        );
        let d = match program.globals.iter().find(|g| *g.name == *name.text) {
            Some(g) if is_private(&g.name) => d.label(g.name_span, "private to its program"),
            Some(g) => d.label(g.name_span, format!("this is a `{}`", g.word)),
            None => d,
        };
        let d = if params.is_empty() {
            d.note("it has no params but `seed`")
        } else {
            d.note(format!("its params are {}", params.join(", ")))
        };
        self.report(match crate::diag::suggest(&name.text, params) {
            Some(near) => d.help(format!("did you mean `{near}`?")).fix(name.span, near),
            None => d.help("leave it out, or declare it there: `param …`"),
        });
    }

    /// The node type that a function is accepted as, because of its kind.
    pub(super) fn node_of(&self, e: &Expr) -> Option<Ty> {
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
