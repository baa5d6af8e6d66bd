//! Expressions: what type they have, and whether they are what is wanted.
//!
//! [`Checker::check`] knows the wanted type and pushes it inwards, so that closures get their parameters' types, bare
//! words become cases of enumerations, and literals become what is expected; [`Checker::infer`] finds the type from the
//! expression alone.

mod many;
mod record;

use std::sync::Arc;

use super::cx::{Checker, Meaning, What};
use super::unify::lengths_agree;
use super::{FnTy, Len, Ty};
use crate::diag::{Code, Diagnostic};
use crate::hir::{self, Expr, ExprKind, GlobalRef, Instance, ModuleId};
use crate::span::Span;
use crate::syntax::ast;

/// The expression of a reported error.
pub(super) fn poison(span: Span) -> Expr {
    Expr { kind: ExprKind::Error, ty: Ty::Error, span }
}

/// Whether both operands are whole numbers, made reals to be divided.
fn is_division_of_whole(e: &Expr) -> bool {
    let whole = |e: &Expr| match &e.kind {
        ExprKind::Convert(hir::Conversion::IntToReal, _) => true,
        ExprKind::Real(r) => r.fract() == 0.0,
        _ => false,
    };
    matches!(&e.kind, ExprKind::Binary(_, a, b) if whole(a) && whole(b))
}

impl Checker<'_> {
    /// The expression as one of type `want`; reported, if it is not.
    pub(super) fn check(&mut self, e: &ast::Expr, want: &Ty) -> Expr {
        let want = self.shallow(want);
        self.ask_value(e, Some(&want));
        match (&e.kind, &want) {
            (ast::ExprKind::Group(inner), _) => self.check(inner, &want),
            (ast::ExprKind::Name(name), Ty::Enum(cases)) => self.case(name, e.span, &cases.cases, &want),
            (ast::ExprKind::If(c, a, b), _) => {
                let condition = self.check(c, &Ty::Bool);
                let (then, otherwise) = (self.check(a, &want), self.check(b, &want));
                let kind = ExprKind::If {
                    condition: Box::new(condition),
                    then: Box::new(then),
                    otherwise: Box::new(otherwise),
                };
                Expr { kind, ty: want, span: e.span }
            }
            (ast::ExprKind::Block(lets, result), _) => self.block(lets, result, e.span, Some(&want)),
            (_, Ty::Union(members)) => self.check_union(e, &members.clone(), &want),
            (ast::ExprKind::List(items), Ty::List(item)) => {
                let items = items.iter().map(|i| self.check(i, item)).collect();
                Expr { kind: ExprKind::Array(items), ty: want.clone(), span: e.span }
            }
            (ast::ExprKind::List(items), Ty::Array(item, len)) => self.array(items, item, len, e.span),
            (ast::ExprKind::Comprehension(c), Ty::List(item) | Ty::Array(item, _)) => {
                let found = self.comprehension(c, Some(item), e.span);
                self.expect(found, &want)
            }
            (ast::ExprKind::Record(fields), Ty::Record(_) | Ty::Genome(_)) => self.record(fields, &want, e.span),
            (ast::ExprKind::Tuple(items), Ty::Tuple(types)) if items.len() == types.len() => {
                let items = items.iter().zip(types.iter()).map(|(i, ty)| self.check(i, ty)).collect();
                Expr { kind: ExprKind::Tuple(items), ty: want.clone(), span: e.span }
            }
            (ast::ExprKind::Closure(names, body), Ty::Fn(f)) => self.closure(names, body, &f.clone(), e.span),
            (
                ast::ExprKind::Binary(op @ (ast::BinaryOp::Range | ast::BinaryOp::RangeIncl), _, a, b),
                Ty::Range(item),
            ) => self.range(*op, a, b, Some(item), e.span),
            (ast::ExprKind::Name(name), Ty::Fn(_))
                if self.library.overloads(name).len() > 1 && matches!(self.meaning(name), Meaning::Extern) =>
            {
                self.overload_value(name, e.span, &want)
            }
            (ast::ExprKind::Binary(ast::BinaryOp::Div, at, a, b), Ty::Int) => self.whole_division(e, *at, a, b),
            _ => {
                let found = self.infer(e);
                self.expect(found, &want)
            }
        }
    }

    /// `a / b` where a whole number is expected: told to be `div(a, b)`, as a fix if both are whole.
    fn whole_division(&mut self, e: &ast::Expr, at: Span, a: &ast::Expr, b: &ast::Expr) -> Expr {
        let found = self.infer(e);
        if !matches!(self.shallow(&found.ty), Ty::Real) {
            return self.expect(found, &Ty::Int);
        }
        let title = "`/` divides reals; a whole number is expected here";
        let d = Diagnostic::error(Code::E0317, at, title, "the result is `real`");
        let d = d.help("`div(a, b)` is whole-number division, `rem(a, b)` its remainder");
        self.report(if is_division_of_whole(&found) {
            let between = Span { start: a.span.end, end: b.span.start, ..a.span };
            d.fix(a.span.head(), "div(").fix(between, ", ").fix(b.span.tail(), ")")
        } else {
            d
        });
        poison(e.span)
    }

    /// A checked expression as one of type `want`; reported, if it is not.
    pub(super) fn expect(&mut self, e: Expr, want: &Ty) -> Expr {
        match self.coerce(e, want) {
            Ok(e) => e,
            Err(e) => {
                self.mismatch(&e, want);
                poison(e.span)
            }
        }
    }

    fn mismatch(&mut self, e: &Expr, want: &Ty) {
        let (have, want) = (self.body.metas.zonk(&e.ty), self.body.metas.zonk(want));
        if let (Ty::Array(_, n), Ty::Array(_, m)) = (&have, &want)
            && !lengths_agree(n, m)
        {
            let d = Diagnostic::error(
                Code::E0307,
                e.span,
                format!("expected {m} elements, found {n}"),
                format!("has {n} elements"),
            );
            let d = d.note(format!("`{want}` is expected"));
            let d = self.because(d);
            self.report(d.help("write as many elements as the type says"));
            return;
        }
        let cases = match &want {
            Ty::Enum(e) => e.cases.clone(),
            _ => Vec::new(),
        };
        let (have, want) = (show(&have), show(&want));
        let want = self.alias(&want).unwrap_or(want);
        let d = Diagnostic::error(
            Code::E0301,
            e.span,
            format!("expected `{want}`, found `{have}`"),
            format!("this is `{have}`"),
        );
        let d = self.because(d);
        let d = self.mismatch_help(d, e, &want, &|word| cases.iter().any(|c| **c == *word));
        self.report(d);
    }

    /// The name that the library gives to a union.
    fn alias(&self, shown: &str) -> Option<String> {
        let named = |d: &&crate::library::TypeDecl| match &d.def {
            crate::library::TypeDef::Alias(ty @ Ty::Union(_)) => ty.to_string() == shown,
            _ => false,
        };
        self.library.types().find(named).map(|d| d.name.to_string())
    }

    fn because(&self, d: Diagnostic) -> Diagnostic {
        match self.why.last() {
            Some(why) => d.note(why.clone()),
            None => d,
        }
    }

    fn mismatch_help(&self, d: Diagnostic, e: &Expr, want: &str, is_case: &dyn Fn(&str) -> bool) -> Diagnostic {
        match (&e.kind, self.shallow(&e.ty)) {
            (ExprKind::ExternRef(ext), _) if show(&ext.result) == want => {
                let block = !ext.params.is_empty();
                d.help(format!("call it: `{}{}`", ext.name, if block { " { }" } else { "()" }))
            }
            (_, Ty::Fn(f)) if show(&f.result) == want => d.help("it is a function: call it"),
            (ExprKind::Text(t), _) if is_case(t) => {
                d.help(format!("write the case as a bare word: `{t}`")).fix(e.span, &**t)
            }
            (_, have) if want == format!("[{}]", show(&have)) => {
                d.help("put it into a list: `[…]`").fix(e.span.head(), "[").fix(e.span.tail(), "]")
            }
            (_, Ty::Real) if want == "int" => d.help(
                "nothing makes a whole number of a real: compute with whole ones, `+ - *`, `div(a, b)`, `rem(a, b)`",
            ),
            (_, Ty::Int | Ty::Real) if want == "text" => d.help("put it between quotes"),
            (_, Ty::Int | Ty::Real) if want == "duration" => d.help("add a unit: `90s`, `15min`, `4h`"),
            (_, Ty::Int | Ty::Real) if want == "bytes" => d.help("add a unit: `64MiB`, `8GB`"),
            (_, Ty::Int | Ty::Real) if want == "money" => d.help("add the unit: `5usd`"),
            _ => d.help(format!("give a value of type `{want}`")),
        }
    }

    /// A bare word where an enumeration is expected: one of its cases, whatever else has that name.
    fn case(&mut self, name: &str, span: Span, cases: &[Arc<str>], want: &Ty) -> Expr {
        if let Some(index) = cases.iter().position(|c| **c == *name) {
            return Expr { kind: ExprKind::Case(index as u32), ty: want.clone(), span };
        }
        if !matches!(self.meaning(name), Meaning::Unknown | Meaning::Extern | Meaning::Seed) {
            let found = self.name(name, span);
            return self.expect(found, want);
        }
        let near = crate::diag::suggest(name, cases.iter().map(|c| &**c)).map(str::to_owned);
        let d = Diagnostic::error(Code::E0316, span, format!("`{name}` is no case of `{}`", show(want)), "not a case");
        let d = d.note(format!("the cases are {}", cases.join(", ")));
        let d = self.because(d);
        self.report(match near {
            Some(near) => d.help(format!("did you mean `{near}`?")).fix(span, near),
            None => d.help("write one of the cases"),
        });
        poison(span)
    }

    /// Where one of several types is wanted, the form of the expression tells which.
    fn check_union(&mut self, e: &ast::Expr, members: &[Ty], want: &Ty) -> Expr {
        // A word that nothing else is called was meant as a case.
        let word = matches!(&e.kind, ast::ExprKind::Name(n) if matches!(self.meaning(n), Meaning::Unknown));
        let fits = |m: &&Ty| match (&e.kind, m) {
            (ast::ExprKind::Name(n), Ty::Enum(cases)) => cases.cases.iter().any(|c| **c == **n) || word,
            (ast::ExprKind::List(_) | ast::ExprKind::Comprehension(_), Ty::List(_) | Ty::Array(..)) => true,
            (ast::ExprKind::Closure(names, _), Ty::Fn(f)) => names.len() == f.params.len(),
            (ast::ExprKind::Record(_), Ty::Record(_) | Ty::Genome(_)) => true,
            (ast::ExprKind::Tuple(_), Ty::Tuple(_)) => true,
            (ast::ExprKind::Binary(ast::BinaryOp::Range | ast::BinaryOp::RangeIncl, ..), Ty::Range(_)) => true,
            _ => false,
        };
        let fitting: Vec<&Ty> = members.iter().filter(fits).collect();
        if let [member] = fitting.as_slice() {
            let inner = self.check(e, member);
            if matches!(inner.ty, Ty::Error) {
                return inner;
            }
            let kind = ExprKind::Convert(hir::Conversion::ToUnion, Box::new(inner));
            return Expr { kind, ty: want.clone(), span: e.span };
        }
        if let ast::ExprKind::Closure(names, _) = &e.kind {
            let arities: Vec<String> = members
                .iter()
                .filter_map(|m| if let Ty::Fn(f) = m { Some(f.params.len().to_string()) } else { None })
                .collect();
            let title = match arities.as_slice() {
                [] => format!("expected `{}`, found a closure", show(want)),
                _ => format!(
                    "a closure of {} parameters is expected, this one has {}",
                    arities.join(" or "),
                    names.len()
                ),
            };
            let d = Diagnostic::error(Code::E0301, e.span, title, "not this closure");
            let d = self.because(d);
            self.report(d.help(format!("`{}` is expected", show(want))));
            return poison(e.span);
        }
        if let ast::ExprKind::List(items) = &e.kind {
            return self.list_in_union(items, members, want, e.span);
        }
        let found = self.infer(e);
        self.expect(found, want)
    }

    fn array(&mut self, items: &[ast::Expr], item: &Ty, len: &Len, span: Span) -> Expr {
        let n = items.len() as u64;
        let items: Vec<Expr> = items.iter().map(|i| self.check(i, item)).collect();
        let ty = Ty::Array(Arc::new(item.clone()), Len::Const(n));
        let found = Expr { kind: ExprKind::Array(items), ty: ty.clone(), span };
        if lengths_agree(&Len::Const(n), len) {
            return found;
        }
        self.mismatch(&found, &Ty::Array(Arc::new(item.clone()), len.clone()));
        poison(span)
    }

    /// The type of an expression, from itself.
    pub(super) fn infer(&mut self, e: &ast::Expr) -> Expr {
        let span = e.span;
        self.ask_value(e, None);
        match &e.kind {
            ast::ExprKind::Number(n) => self.number(n, span),
            ast::ExprKind::Text(t) => Expr { kind: ExprKind::Text(t.as_str().into()), ty: Ty::Text, span },
            ast::ExprKind::Error => poison(span),
            ast::ExprKind::Bool(b) => Expr { kind: ExprKind::Bool(*b), ty: Ty::Bool, span },
            ast::ExprKind::Name(name) => self.name(name, span),
            ast::ExprKind::Group(inner) => self.infer(inner),
            ast::ExprKind::List(items) => self.list(items, span),
            ast::ExprKind::Tuple(items) => {
                let items: Vec<Expr> = items.iter().map(|i| self.infer(i)).collect();
                let ty = Ty::Tuple(items.iter().map(|i| i.ty.clone()).collect());
                self.of_fair_size(Expr { kind: ExprKind::Tuple(items), ty, span })
            }
            ast::ExprKind::Comprehension(c) => self.comprehension(c, None, span),
            ast::ExprKind::Record(fields) => {
                let record = self.new_record(fields, span);
                self.of_fair_size(record)
            }
            ast::ExprKind::Block(lets, result) => self.block(lets, result, span, None),
            ast::ExprKind::If(c, a, b) => self.if_expr(c, a, b, span),
            ast::ExprKind::Closure(names, body) => self.unknown_closure(names, body, span),
            ast::ExprKind::Unary(op, value) => {
                let value = self.infer(value);
                self.unary(*op, value, span)
            }
            ast::ExprKind::Binary(op @ (ast::BinaryOp::Range | ast::BinaryOp::RangeIncl), _, a, b) => {
                self.range(*op, a, b, None, span)
            }
            ast::ExprKind::Binary(op, at, a, b) => {
                let (a, b) = self.operands(*op, a, b);
                self.binary(*op, *at, a, b)
            }
            ast::ExprKind::Call(callee, args) => self.call(callee, super::call::args_of(args), span),
            ast::ExprKind::BlockCall(callee, fields) => {
                let args = self.args_of_fields(fields);
                self.call(callee, args, span)
            }
            ast::ExprKind::Index(base, index) => self.index(base, index, span),
            ast::ExprKind::Dot(base, member) => self.dot(base, member, span),
        }
    }

    /// The operands of an operator. Next to an enumeration a bare word is one of its cases.
    fn operands(&mut self, op: ast::BinaryOp, a: &ast::Expr, b: &ast::Expr) -> (Expr, Expr) {
        if !matches!(op, ast::BinaryOp::Eq | ast::BinaryOp::Ne) {
            return (self.infer(a), self.infer(b));
        }
        let word_first =
            matches!(&a.kind, ast::ExprKind::Name(n) if matches!(self.meaning(n), Meaning::Unknown | Meaning::Extern));
        let (first, second) = if word_first { (b, a) } else { (a, b) };
        let first = self.infer(first);
        let second = match (self.shallow(&first.ty), &second.kind) {
            (ty @ Ty::Enum(_), ast::ExprKind::Name(_)) => self.check(second, &ty),
            // It may be a case of what is not known because of a reported error.
            (Ty::Error, ast::ExprKind::Name(n)) if matches!(self.meaning(n), Meaning::Unknown) => poison(second.span),
            _ => self.infer(second),
        };
        if word_first { (second, first) } else { (first, second) }
    }

    /// A name as a value.
    pub(super) fn name(&mut self, name: &str, span: Span) -> Expr {
        match self.meaning(name) {
            Meaning::Local(id, ty) => Expr { kind: ExprKind::Local(id), ty, span },
            Meaning::Own(index) => {
                let reference = GlobalRef { module: self.id, index };
                let seen = self.own(index);
                match seen.what {
                    What::Use(module) => {
                        let kind = ExprKind::Instance(Box::new(Instance::of(module)));
                        Expr { kind, ty: Ty::Instance(module), span }
                    }
                    What::Type => self.type_as_value(name, span, seen.name_span),
                    What::Extern(ext) => Expr { ty: seen.ty, kind: ExprKind::ExternRef(ext), span },
                    What::Error => poison(span),
                    What::Value | What::Function(_) => Expr { kind: ExprKind::Global(reference), ty: seen.ty, span },
                }
            }
            Meaning::Library(index) => {
                let reference = GlobalRef { module: ModuleId(0), index };
                let ty = self.foreign(reference).map_or(Ty::Error, |s| s.ty);
                Expr { kind: ExprKind::Global(reference), ty, span }
            }
            Meaning::Extern => match self.library.overloads(name).first().cloned() {
                Some(ext) => {
                    let ty = self.instantiate(&ext.generics, &ext.fn_ty()).0;
                    Expr { kind: ExprKind::ExternRef(ext), ty, span }
                }
                None => poison(span),
            },
            Meaning::Seed => Expr { kind: ExprKind::Seed, ty: Ty::Int, span },
            Meaning::Broken => poison(span),
            Meaning::Unknown => {
                self.unknown_name(name, span);
                poison(span)
            }
        }
    }

    /// Of several externs of one name, the first whose type is the wanted one.
    fn overload_value(&mut self, name: &str, span: Span, want: &Ty) -> Expr {
        for ext in self.library.overloads(name).to_vec() {
            let ty = self.instantiate(&ext.generics, &ext.fn_ty()).0;
            let e = Expr { kind: ExprKind::ExternRef(ext), ty, span };
            if let Ok(e) = self.coerce(e, want) {
                return e;
            }
        }
        let found = self.name(name, span);
        self.expect(found, want)
    }

    fn type_as_value(&mut self, name: &str, span: Span, at: Span) -> Expr {
        let d =
            Diagnostic::error(Code::E0301, span, format!("`{name}` is a type, not a value"), "a value belongs here");
        self.report(d.label(at, "declared here").help("types stand after `:` and `->`"));
        poison(span)
    }

    /// Fresh type variables in the places of type parameters; the type with them, and what each stands for.
    pub(super) fn instantiate(&mut self, generics: &[Arc<str>], ty: &Ty) -> (Ty, Vec<Ty>) {
        let metas: Vec<Ty> = generics.iter().map(|_| self.fresh()).collect();
        (ty.substitute(generics, &metas), metas)
    }

    fn list(&mut self, items: &[ast::Expr], span: Span) -> Expr {
        let items = items.iter().map(|i| self.infer(i)).collect();
        self.list_of(items, span)
    }

    pub(super) fn list_of(&mut self, items: Vec<Expr>, span: Span) -> Expr {
        let items = self.functions_as_nodes(items);
        let len = Len::Const(items.len() as u64);
        let Some(first) = items.first() else {
            let item = self.fresh();
            return Expr { kind: ExprKind::Array(Vec::new()), ty: Ty::Array(Arc::new(item), len), span };
        };
        let mut ty = first.ty.clone();
        for item in items.iter().skip(1) {
            let Some(joined) = self.join(&ty, &item.ty) else {
                let (first, other) = (show(&self.body.metas.zonk(&ty)), show(&self.body.metas.zonk(&item.ty)));
                let d = Diagnostic::error(
                    Code::E0314,
                    item.span,
                    format!("the elements of a list have one type, not `{first}` and `{other}`"),
                    format!("this is `{other}`"),
                );
                self.report(
                    d.label(items.first().map_or(span, |f| f.span), format!("this is `{first}`"))
                        .help("make all elements of one type, or use a record"),
                );
                return poison(span);
            };
            ty = joined;
        }
        let items = items.into_iter().map(|i| self.expect(i, &ty)).collect();
        Expr { kind: ExprKind::Array(items), ty: Ty::Array(Arc::new(ty), len), span }
    }

    fn if_expr(&mut self, c: &ast::Expr, a: &ast::Expr, b: &ast::Expr, span: Span) -> Expr {
        let condition = self.check(c, &Ty::Bool);
        let branches = vec![self.infer(a), self.infer(b)];
        let mut branches = self.functions_as_nodes(branches).into_iter();
        let (Some(then), Some(otherwise)) = (branches.next(), branches.next()) else { return poison(span) };
        let Some(ty) = self.join(&then.ty, &otherwise.ty) else {
            let (one, other) = (show(&self.body.metas.zonk(&then.ty)), show(&self.body.metas.zonk(&otherwise.ty)));
            let d = Diagnostic::error(
                Code::E0314,
                otherwise.span,
                format!("both branches have one type, not `{one}` and `{other}`"),
                format!("this is `{other}`"),
            );
            self.report(d.label(then.span, format!("this is `{one}`")).help("make both branches of one type"));
            return poison(span);
        };
        let (then, otherwise) = (self.expect(then, &ty), self.expect(otherwise, &ty));
        let kind =
            ExprKind::If { condition: Box::new(condition), then: Box::new(then), otherwise: Box::new(otherwise) };
        Expr { kind, ty, span }
    }

    fn block(&mut self, lets: &[ast::Let], result: &ast::Expr, span: Span, want: Option<&Ty>) -> Expr {
        let before = self.body.locals.len();
        let mut bound = Vec::new();
        for step in lets {
            let value = match &step.ty {
                Some(ty) => {
                    let ty = self.lower(ty);
                    self.check(&step.value, &ty)
                }
                None => self.infer(&step.value),
            };
            if self.body.locals.iter().skip(before).any(|l| l.name == step.name.text) {
                let d = Diagnostic::error(
                    Code::E0202,
                    step.name.span,
                    format!("`{}` is declared twice in this body", step.name.text),
                    "second declaration",
                );
                self.report(d.help("values never change: give the second one a name of its own"));
            }
            let ty = match step.ty {
                Some(_) if matches!(value.ty, Ty::Error) => Ty::Error,
                _ => value.ty.clone(),
            };
            let local = self.bind(&step.name.text, ty);
            bound.push((local, step.name.text.as_str(), value));
        }
        let mut body = match want {
            Some(want) => self.check(result, want),
            None => self.infer(result),
        };
        self.body.locals.truncate(before);
        for (local, name, value) in bound.into_iter().rev() {
            let ty = body.ty.clone();
            body = Expr {
                kind: ExprKind::Let { local, name: name.into(), value: Box::new(value), body: Box::new(body) },
                ty,
                span,
            };
        }
        body
    }

    fn unknown_closure(&mut self, names: &[ast::Name], body: &ast::Expr, span: Span) -> Expr {
        if let Some(name) = names.first() {
            let d = Diagnostic::error(
                Code::E0313,
                name.span,
                format!("the type of `{}` is not known here", name.text),
                "which type?",
            );
            self.report(d.help(format!("declare a function, which names its types: `fn f({}: real) = …`", name.text)));
        }
        let params = names.iter().map(|_| (None, Ty::Error)).collect();
        self.closure(names, body, &FnTy { params, result: Ty::Error }, span)
    }

    fn closure(&mut self, names: &[ast::Name], body: &ast::Expr, want: &FnTy, span: Span) -> Expr {
        if names.len() != want.params.len() {
            let title =
                format!("a closure of {} parameters is expected, this one has {}", want.params.len(), names.len());
            let d = Diagnostic::error(Code::E0301, span, title, "wrong number of parameters");
            let d = self.because(d);
            self.report(
                d.help(format!("`{}` is expected", show(&self.body.metas.zonk(&Ty::Fn(Arc::new(want.clone())))))),
            );
            return poison(span);
        }
        let outside = self.body.locals.len();
        self.body.closures.push((outside, Vec::new()));
        let mut params = Vec::new();
        for (name, (_, ty)) in names.iter().zip(&want.params) {
            let mut ty = self.body.metas.zonk(ty);
            if matches!(&ty, Ty::Var(v) if v.starts_with('?')) {
                let d = Diagnostic::error(
                    Code::E0313,
                    name.span,
                    format!("the type of `{}` is not known here", name.text),
                    "which type?",
                );
                self.report(d.help("give a declared function, whose parameters have types"));
                ty = Ty::Error;
            }
            let local = self.bind(&name.text, ty.clone());
            params.push(hir::Param { local, name: name.text.as_str().into(), ty, default: None });
        }
        let body = if matches!(want.result, Ty::Error) { self.infer(body) } else { self.check(body, &want.result) };
        self.body.locals.truncate(outside);
        let captures = self.body.closures.pop().map_or(Vec::new(), |(_, c)| c);
        let inputs = params.iter().map(|p| (Some(p.name.clone()), p.ty.clone())).collect();
        let result = if matches!(want.result, Ty::Error) { body.ty.clone() } else { want.result.clone() };
        let numeric = self.is_numeric_body(&params, &body);
        let ty = Ty::Fn(Arc::new(FnTy { params: inputs, result }));
        Expr { kind: ExprKind::Lambda(Arc::new(hir::Lambda { params, body, captures, numeric })), ty, span }
    }

    /// Whether a function of these parameters is numeric code.
    pub(super) fn is_numeric_body(&self, params: &[hir::Param], body: &Expr) -> bool {
        let function = |r: &GlobalRef| match self.done_kind(*r) {
            Some(hir::GlobalKind::Function(f)) => f.numeric,
            Some(hir::GlobalKind::Value(Expr { kind: ExprKind::Lambda(l), .. })) => l.numeric,
            _ => false,
        };
        params.iter().all(|p| p.ty.is_numeric() || matches!(p.ty, Ty::Record(_)))
            && super::numeric::is_numeric(body, &function)
    }
}

/// A type for a message; type variables that nothing determines show as `?`.
pub(super) fn show(ty: &Ty) -> String {
    ty.map_vars(&|name| name.starts_with('?').then_some(Ty::Error)).to_string()
}
