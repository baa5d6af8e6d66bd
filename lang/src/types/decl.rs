//! Declarations: each is checked when something needs it, so that their order in the file does not matter.

mod genome;
mod host;

use std::sync::Arc;

use super::cx::{Checker, Meaning, Source, State, error_global};
use super::expr::show;
use super::{FnTy, Ty};
use crate::diag::{Code, Diagnostic};
use crate::hir::{self, Domain, Expr, Function, Global, GlobalKind, Param};
use crate::span::Span;
use crate::syntax::ast::{self, Body};

/// How deep declarations may demand each other while they are checked. Those that do not form a cycle are checked in
/// the order of their dependencies, so that the depth stays small.
const DEMAND_LIMIT: usize = 400;

impl<'a> Checker<'a> {
    /// Checks a declaration, unless that has been done. One that is being checked depends on itself: a cycle.
    pub(super) fn demand(&mut self, index: usize) {
        match self.slots.get(index).map(|s| &s.state) {
            Some(State::Waiting) => {}
            Some(State::Checking) => return self.cycle(index),
            Some(State::Done(_)) | None => return,
        }
        if self.stack.len() > DEMAND_LIMIT {
            return self.too_long(index);
        }
        self.set(index, State::Checking);
        self.stack.push(index);
        let outer = (std::mem::take(&mut self.body), std::mem::take(&mut self.why), std::mem::take(&mut self.generics));
        let mut global = crate::syntax::deep(|| self.declaration(index));
        self.finish_body(&mut global);
        (self.body, self.why, self.generics) = outer;
        self.stack.pop();
        // A cycle found on the way has already made this declaration an error.
        if matches!(self.slots.get(index).map(|s| &s.state), Some(State::Checking)) {
            self.set(index, State::Done(Box::new(global)));
        }
    }

    /// Only a cycle makes so long a chain.
    fn too_long(&mut self, index: usize) {
        let Some(slot) = self.slots.get(index) else { return };
        let (name, span, whole) = (slot.name.text.clone(), slot.name.span, slot.span);
        let d = Diagnostic::error(
            Code::E0203,
            span,
            format!("`{name}` depends on itself through more than {DEMAND_LIMIT} others"),
            "part of a cycle",
        );
        self.report(d.help("break the cycle: one of them has to come first"));
        self.set(index, State::Done(Box::new(error_global(&name, "", span, whole))));
    }

    fn set(&mut self, index: usize, state: State) {
        if let Some(slot) = self.slots.get_mut(index) {
            slot.state = state;
        }
    }

    /// Reports a cycle at the first of its declarations in the file; all of them become errors.
    fn cycle(&mut self, index: usize) {
        let from = self.stack.iter().position(|i| *i == index).unwrap_or(0);
        let mut members: Vec<usize> = self.stack.get(from..).unwrap_or(&[]).to_vec();
        let first = members.iter().enumerate().min_by_key(|(_, i)| **i).map_or(0, |(at, _)| at);
        members.rotate_left(first);
        let name = |i: &usize| self.slots.get(*i).map_or("", |s| s.name.text.as_str());
        let mut path: Vec<&str> = members.iter().map(name).collect();
        path.push(path.first().copied().unwrap_or(""));
        let shown = path.join(" → ");
        let head = path.first().copied().unwrap_or("").to_owned();
        let functions = members.iter().all(|i| self.is_function(*i));
        let span = members.first().and_then(|i| self.slots.get(*i)).map_or(Span::default(), |s| s.name.span);
        let d = if functions {
            Diagnostic::error(Code::E0204, span, format!("`{head}` calls itself"), "recursion is refused")
                .help("a program always ends: go through a list with `[f(x) for x in xs]`, or use a search")
        } else {
            Diagnostic::error(Code::E0203, span, format!("`{head}` depends on itself"), "depends on itself")
                .help("break the cycle: one of them has to come first")
        };
        let mut d = if path.len() > 2 { d.note(format!("the cycle is {shown}")) } else { d };
        for i in members.iter().skip(1) {
            if let Some(slot) = self.slots.get(*i) {
                d = d.label(slot.name.span, "part of the cycle");
            }
        }
        self.report(d);
        for i in members {
            if let Some(slot) = self.slots.get(i) {
                let word = match slot.source {
                    Source::Decl(d) => d.kind.text.as_str(),
                    Source::Type(_) => "type",
                    Source::Use(_) => "use",
                };
                let global = error_global(&slot.name.text, word, slot.name.span, slot.span);
                self.set(i, State::Done(Box::new(global)));
            }
        }
    }

    fn declaration(&mut self, index: usize) -> Global {
        let Some(slot) = self.slots.get(index) else { return error_global("", "", Span::default(), Span::default()) };
        let (docs, span, name, source) = (slot.docs, slot.span, slot.name, slot.source);
        let (word, made) = match source {
            Source::Use(module) => ("use", module.map(|m| (Ty::Instance(m), GlobalKind::Use(m)))),
            Source::Type(item) => ("type", self.type_item(item)),
            Source::Decl(d) => (d.kind.text.as_str(), self.decl(d, index, span, docs)),
        };
        let (ty, kind) = made.unwrap_or((Ty::Error, GlobalKind::Error));
        let doc = super::marks::text(docs);
        Global { name: name.text.as_str().into(), word: word.into(), name_span: name.span, span, doc, ty, kind }
    }

    fn type_item(&mut self, item: &ast::TypeItem) -> Option<(Ty, GlobalKind)> {
        if item.is_extern {
            let d = Diagnostic::error(
                Code::E0311,
                item.name.span,
                "node types are declared by the library",
                "not in a program",
            );
            self.report(d.help("write `type … = …` for a record, an enumeration or a union"));
            return None;
        }
        if let Some(generic) = item.generics.first() {
            self.no_generics(generic);
            return None;
        }
        let Some(ty) = &item.ty else {
            let d = Diagnostic::error(
                Code::E0311,
                item.name.span,
                format!("`type {}` says nothing", item.name.text),
                "no type",
            );
            self.report(d.help(format!("write `type {} = …`", item.name.text)));
            return None;
        };
        Some((name_type(self.lower(ty), &item.name.text), GlobalKind::Type))
    }

    fn no_generics(&mut self, name: &ast::Name) {
        let d = Diagnostic::error(
            Code::E0311,
            name.span,
            "type parameters belong to declarations of the library",
            "not in a program",
        );
        self.report(d.help("write the type itself"));
    }

    fn decl(&mut self, d: &'a ast::Decl, index: usize, span: Span, docs: &[String]) -> Option<(Ty, GlobalKind)> {
        if let Some(generic) = d.generics.first() {
            self.no_generics(generic);
            return None;
        }
        match d.kind.text.as_str() {
            _ if d.is_extern => self.host_function(d, docs),
            "param" => self.param(d),
            "genome" => self.genome(d, index),
            "kind" => {
                let d = Diagnostic::error(
                    Code::E0311,
                    d.kind.span,
                    "kinds are declared by the library",
                    "not in a program",
                );
                self.report(d.help("use one of the library's kinds, or `let` and `fn`"));
                None
            }
            "let" | "fn" => self.bound(d, span),
            word if self.library.kinds.contains_key(word) => self.bound(d, span),
            _ => {
                self.unknown_kind(&d.kind);
                None
            }
        }
    }

    fn unknown_kind(&mut self, kind: &ast::Name) {
        let core = ["let", "fn", "param", "genome", "type", "use", "extern"];
        let known = core.into_iter().chain(self.library.kinds.keys().map(|k| &**k));
        let near = crate::diag::suggest(&kind.text, known).map(str::to_owned);
        let d = Diagnostic::error(Code::E0206, kind.span, format!("unknown kind `{}`", kind.text), "not a kind");
        self.report(match (near, kind.text.as_str()) {
            (Some(near), _) => d.help(format!("did you mean `{near}`?")).fix(kind.span, near),
            (None, "def" | "func" | "function") => d.help("functions are declared with `fn`").fix(kind.span, "fn"),
            (None, "var" | "const" | "val") => d.help("values are declared with `let`").fix(kind.span, "let"),
            (None, "import" | "include") => d.help("another file is used with `use \"file.evo\" as name`"),
            _ => d.help("a declaration begins with a kind, such as `let`, `fn`, `model`, `data` or `evolve`"),
        });
    }

    /// Parts that this sort of declaration does not have.
    fn refuse(&mut self, d: &ast::Decl, what: &str, parts: &[(&str, Option<Span>)]) -> bool {
        let Some((part, span)) = parts.iter().find_map(|(p, s)| s.map(|s| (p, s))) else { return false };
        let diagnostic = Diagnostic::error(Code::E0311, span, format!("{what} has no {part}"), "does not belong here");
        self.report(diagnostic.label(d.name.span, "the declaration").help("leave it out"));
        true
    }

    fn param(&mut self, d: &ast::Decl) -> Option<(Ty, GlobalKind)> {
        let fields = match &d.body {
            Some(Body::Fields(_, span)) => Some(*span),
            Some(Body::Steps(e)) => Some(e.span),
            _ => None,
        };
        let inputs = d.params.as_ref().map(|_| d.name.span);
        if self.refuse(
            d,
            "a param",
            &[("parameters", inputs), ("body in braces", fields), ("result type", d.result.as_ref().map(|t| t.span))],
        ) {
            return None;
        }
        let wanted = d.ty.as_ref().map(|t| self.lower(t));
        let optional = match &d.body {
            Some(Body::Value(e)) => Some(e),
            _ => None,
        };
        let (ty, default) = match (wanted, optional) {
            (Some(ty), Some(e)) => {
                self.why.push(format!("the param `{}` is `{}`", d.name.text, show(&ty)));
                let value = self.check(e, &ty);
                self.why.pop();
                (ty, Some(value))
            }
            (Some(ty), None) => (ty, None),
            (None, Some(e)) => {
                let value = self.infer(e);
                (value.ty.clone(), Some(value))
            }
            (None, None) => {
                let title = format!("the param `{}` has neither a type nor a default", d.name.text);
                self.report(
                    Diagnostic::error(Code::E0311, d.name.span, title, "what is it?")
                        .help(format!("write `param {}: int`, or give it a default", d.name.text)),
                );
                return None;
            }
        };
        if d.name.text == "seed" && !matches!(ty, Ty::Int | Ty::Error) {
            let title = "the program's seed is an `int`";
            self.report(
                Diagnostic::error(Code::E0301, d.name.span, title, format!("this is `{}`", show(&ty)))
                    .help("write `param seed: int = 7`"),
            );
        }
        let domain = d.domain.as_ref().and_then(|dom| self.domain(dom, &ty, "a param"));
        Some((ty, GlobalKind::Param { default, domain }))
    }

    /// `in lo..hi log?` of a number or an array of numbers.
    fn domain(&mut self, domain: &ast::Domain, ty: &Ty, what: &str) -> Option<Domain> {
        let Some(item) = super::ops::scalar(ty).filter(|t| !matches!(t, Ty::Error)) else {
            if !matches!(ty, Ty::Error) {
                let d = Diagnostic::error(
                    Code::E0312,
                    domain.range.span,
                    format!("{what} of type `{}` has no range", show(ty)),
                    "no range here",
                );
                self.report(d.help("ranges are for `int` and `real`"));
            }
            return None;
        };
        let range = self.check(&domain.range, &Ty::Range(Arc::new(item)));
        if domain.log
            && let hir::ExprKind::Range { lo, .. } = &range.kind
            && self.constant_real(lo).is_some_and(|lo| lo <= 0.0)
        {
            let d =
                Diagnostic::error(Code::E0309, lo.span, "a logarithmic range begins above zero", "has no logarithm");
            self.report(d.help("give a small positive number, such as `1e-6`"));
        }
        Some(Domain { span: domain.range.span, range, log: domain.log })
    }

    /// `let`, `fn`, and the kinds of the library.
    fn bound(&mut self, d: &'a ast::Decl, span: Span) -> Option<(Ty, GlobalKind)> {
        if let Some(domain) = &d.domain {
            self.no_range(domain);
        }
        if d.params.is_some() {
            return self.function(d, span);
        }
        if let Some(result) = &d.result {
            self.refuse(d, "a value", &[("`->`; its type stands after `:`", Some(result.span))]);
            return None;
        }
        if d.kind.text == "fn" {
            let diagnostic = Diagnostic::error(
                Code::E0311,
                d.name.span,
                format!("the function `{}` has no parameters", d.name.text),
                "no parentheses",
            );
            self.report(diagnostic.help(format!("write `fn {}() = …`, or `let` for a value", d.name.text)));
            return None;
        }
        if let Some(ty) = d.ty.as_ref().filter(|ty| self.is_value(ty, d.body.is_none())) {
            let between = self.text.get(d.name.span.end as usize..ty.span.start as usize).unwrap_or("");
            let start = d.name.span.end as usize + between.find(':').unwrap_or(0);
            let colon = Span::new(ty.span.file, start, start + 1);
            self.report(crate::syntax::value_for_type(&d.kind.text, &d.name.text, colon));
            return None;
        }
        // A function of some kinds is a value of a node type, and so is a value that is declared as one.
        let value = self.library.kinds.get(d.kind.text.as_str()).and_then(|kind| kind.value.clone());
        let want = match &d.ty {
            Some(ty) => Some(self.lower(ty)),
            None => value.or_else(|| self.kind_result(&d.kind.text)),
        };
        let value = self.body_value(d, want.as_ref(), span)?;
        if matches!(value.ty, Ty::Error) {
            return None;
        }
        Some((value.ty.clone(), GlobalKind::Value(value)))
    }

    /// Whether what stands where a type belongs names a value: a declaration of the module or a library function, and of
    /// a used program where nothing follows.
    fn is_value(&mut self, ty: &ast::Ty, lone: bool) -> bool {
        let ast::TyKind::Name(path, _) = &ty.kind else { return false };
        let Some(first) = path.first() else { return false };
        if self.library.types.contains_key(first.text.as_str()) || self.generics.iter().any(|g| **g == *first.text) {
            return false;
        }
        match self.meaning(&first.text) {
            Meaning::Own(index) => match self.slots.get(index).map(|s| s.source) {
                Some(Source::Decl(d)) => {
                    let word = d.kind.text.as_str();
                    matches!(word, "let" | "param" | "fn") || self.library.kinds.contains_key(word)
                }
                Some(Source::Use(_)) => lone && path.len() > 1,
                _ => false,
            },
            Meaning::Library(_) | Meaning::Extern => true,
            _ => false,
        }
    }

    /// The type that a kind gives to what it declares, with new type variables.
    fn kind_result(&mut self, word: &str) -> Option<Ty> {
        let kind = self.library.kinds.get(word)?;
        let result = kind.result.as_ref()?;
        Some(self.instantiate(&kind.generics, result).0)
    }

    /// What stands after `=` or in braces.
    fn body_value(&mut self, d: &'a ast::Decl, want: Option<&Ty>, span: Span) -> Option<Expr> {
        if let Some(want) = want.filter(|_| d.kind.text != "let" && d.kind.text != "fn") {
            self.why.push(format!("a `{}` is `{}`", d.kind.text, show(want)));
        }
        let value = match &d.body {
            Some(Body::Value(e) | Body::Steps(e)) => match want {
                Some(want) => self.check(e, want),
                None => self.infer(e),
            },
            Some(Body::Fields(fields, at)) => {
                let constructor = !self.library.overloads(&d.kind.text).is_empty();
                if constructor {
                    let args = self.args_of_fields(fields);
                    let value = self.call_overload(&d.kind.text, args, span);
                    match want {
                        Some(want) => self.expect(value, want),
                        None => value,
                    }
                } else {
                    if d.kind.text != "let" && d.kind.text != "fn" {
                        let diagnostic = Diagnostic::error(
                            Code::E0311,
                            *at,
                            format!(
                                "`{} {} {{ … }}` needs a function named `{}`",
                                d.kind.text, d.name.text, d.kind.text
                            ),
                            "there is none",
                        );
                        self.report(diagnostic.help(format!("write `{} {} = …`", d.kind.text, d.name.text)));
                        return None;
                    }
                    let record = ast::Expr { span: *at, kind: ast::ExprKind::Record(fields.clone()) };
                    match want {
                        Some(want) => self.check(&record, want),
                        None => self.infer(&record),
                    }
                }
            }
            None => {
                let diagnostic = Diagnostic::error(
                    Code::E0311,
                    d.name.span,
                    format!("`{} {}` has no value", d.kind.text, d.name.text),
                    "no value",
                );
                self.report(diagnostic.help(format!("write `{} {} = …`", d.kind.text, d.name.text)));
                return None;
            }
        };
        self.why.clear();
        Some(value)
    }

    fn function(&mut self, d: &'a ast::Decl, span: Span) -> Option<(Ty, GlobalKind)> {
        if let Some(ty) = &d.ty {
            self.refuse(
                d,
                "a function",
                &[("`:` after its parameters; its result type stands after `->`", Some(ty.span))],
            );
            return None;
        }
        let params = self.function_params(d.params.as_deref().unwrap_or(&[]));
        let want = match &d.result {
            Some(ty) => Some(self.lower(ty)),
            None => self.kind_result(&d.kind.text),
        };
        let (want, body) = match want {
            Some(Ty::Union(members)) if d.result.is_none() => self.one_of_results(d, &members, span)?,
            want => {
                let body = self.body_value(d, want.as_ref(), span);
                (want, body)
            }
        };
        // With its type known, a function whose body fails can still be called.
        let result = match (&want, &body) {
            (Some(want), _) => self.body.metas.zonk(want),
            (None, Some(body)) => self.body.metas.zonk(&body.ty),
            (None, None) => return None,
        };
        let inputs = params.iter().map(|p| (Some(p.name.clone()), p.ty.clone())).collect();
        let ty = Ty::Fn(Arc::new(FnTy { params: inputs, result: result.clone() }));
        let body = body.unwrap_or(Expr { kind: hir::ExprKind::Error, ty: result, span });
        self.check_row_code(d, &params, &body);
        let numeric = self.is_numeric_body(&params, &body);
        Some((ty, GlobalKind::Function(Arc::new(Function { params, body, numeric }))))
    }

    /// A kind that allows several result types, as losses do: the body tells which one it is.
    fn one_of_results(&mut self, d: &'a ast::Decl, members: &[Ty], span: Span) -> Option<(Option<Ty>, Option<Expr>)> {
        let body = self.body_value(d, None, span)?;
        let union = Ty::Union(members.into());
        let member = members.iter().find(|m| self.body.metas.clone().relate(&body.ty, m).is_some()).cloned();
        let want = member.unwrap_or(union);
        self.why.push(format!("a `{}` is `{}`", d.kind.text, show(&Ty::Union(members.into()))));
        let body = self.expect(body, &want);
        self.why.pop();
        Some((Some(want), Some(body)))
    }

    fn function_params(&mut self, params: &[ast::Param]) -> Vec<Param> {
        let mut out: Vec<Param> = Vec::new();
        for p in params {
            if out.iter().any(|o| *o.name == *p.name.text) {
                self.twice(&p.name, "parameter");
                continue;
            }
            if let Some(domain) = &p.domain {
                self.no_range(domain);
            }
            if p.rest {
                let d = Diagnostic::error(
                    Code::E0311,
                    p.name.span,
                    "only functions of the library take any further arguments",
                    "`..` here",
                );
                self.report(d.help("take a list or a record"));
            }
            let ty = self.lower(&p.ty);
            self.why.push(format!("the parameter `{}` is `{}`", p.name.text, show(&ty)));
            let default = p.default.as_ref().map(|e| self.check(e, &ty));
            self.why.pop();
            let local = self.bind(&p.name.text, ty.clone());
            out.push(Param { local, name: p.name.text.as_str().into(), ty, default });
        }
        out
    }
}

/// A record or an enumeration gets the name that it is declared by.
pub(crate) fn name_type(ty: Ty, name: &str) -> Ty {
    match ty {
        Ty::Record(r) if r.name.is_none() => {
            Ty::Record(Arc::new(super::RecordTy { name: Some(name.into()), fields: r.fields.clone() }))
        }
        Ty::Enum(e) if e.name.is_none() => {
            Ty::Enum(Arc::new(super::EnumTy { name: Some(name.into()), cases: e.cases.clone() }))
        }
        other => other,
    }
}
