//! What stands after a dot or in brackets: fields, declarations of used programs, elements.

use super::call::Arg;
use super::cx::{Checker, Meaning, What};
use super::expr::{poison, show};
use super::{FieldTy, Len, Ty};
use crate::diag::{Code, Diagnostic};
use crate::hir::{Expr, ExprKind, ModuleId};
use crate::span::Span;
use crate::syntax::ast;

/// What a dot leads to.
pub(super) enum Member {
    /// A field: its type and its place in the layout.
    Field(Ty, Option<u32>),
    /// A declaration of a used program.
    Declared(ModuleId, usize),
    /// The base was reported already.
    Poison,
    /// Nothing of that name.
    None,
}

impl Checker<'_> {
    /// The member `name` of a value of type `ty`.
    pub(super) fn find_member(&mut self, ty: &Ty, name: &str) -> Member {
        let in_layout = |fields: &[FieldTy]| match fields.iter().position(|f| *f.name == *name) {
            Some(i) => Member::Field(fields.get(i).map_or(Ty::Error, |f| f.ty.clone()), Some(i as u32)),
            None => Member::None,
        };
        match self.shallow(ty) {
            Ty::Record(r) => in_layout(&r.fields),
            Ty::Genome(g) => in_layout(&g.fields),
            Ty::Node(n) => match self.library.node_fields(&n.name, &n.args).into_iter().find(|f| *f.name == *name) {
                Some(field) => Member::Field(field.ty, None),
                None => Member::None,
            },
            Ty::Instance(module) => match self.member(module, name) {
                Some((index, _)) => Member::Declared(module, index),
                None => Member::None,
            },
            other if self.is_open(&other) => Member::Poison,
            _ => Member::None,
        }
    }

    /// `base.member` as a value.
    pub(super) fn dot(&mut self, base: &ast::Expr, member: &ast::Name, span: Span) -> Expr {
        let base = self.infer(base);
        self.ask_member(&base.ty, member);
        match self.find_member(&base.ty, &member.text) {
            Member::Field(ty, index) => {
                let kind = ExprKind::Field { base: Box::new(base), name: member.text.as_str().into(), index };
                Expr { kind, ty, span }
            }
            Member::Declared(module, global) => self.declared_member(base, module, global, member, span),
            Member::Poison => poison(span),
            Member::None => {
                self.no_member(&base, member);
                poison(span)
            }
        }
    }

    fn declared_member(&mut self, base: Expr, module: ModuleId, global: usize, name: &ast::Name, span: Span) -> Expr {
        let Some(seen) = self.foreign(crate::hir::GlobalRef { module, index: global }) else { return poison(span) };
        let ty = match seen.what {
            What::Error => return poison(span),
            What::Type => {
                let d = Diagnostic::error(
                    Code::E0301,
                    name.span,
                    format!("`{}` is a type, not a value", name.text),
                    "a value belongs here",
                );
                self.report(d.label(seen.name_span, "declared here").help("types stand after `:` and `->`"));
                return poison(span);
            }
            What::Use(used) => Ty::Instance(used),
            What::Value | What::Function(_) | What::Extern(_) => seen.ty,
        };
        Expr { kind: ExprKind::Member { instance: Box::new(base), global }, ty, span }
    }

    /// Reports a member that is not there.
    pub(super) fn no_member(&mut self, base: &Expr, member: &ast::Name) {
        let ty = self.body.metas.zonk(&base.ty);
        if let Ty::Instance(module) = ty {
            self.unknown_member(module, member);
            return;
        }
        let fields: Vec<String> = match &ty {
            Ty::Node(n) => self.library.node_fields(&n.name, &n.args).iter().map(|f| f.name.to_string()).collect(),
            _ => ty.fields().unwrap_or(&[]).iter().map(|f| f.name.to_string()).collect(),
        };
        let d = Diagnostic::error(
            Code::E0205,
            member.span,
            format!("`{}` has no field `{}`", show(&ty), member.text),
            "no such field",
        );
        let d = if fields.is_empty() { d } else { d.note(format!("its fields are {}", fields.join(", "))) };
        let callable = !matches!(self.meaning(&member.text), Meaning::Unknown | Meaning::Broken | Meaning::Seed);
        let d = match crate::diag::suggest(&member.text, fields.iter().map(String::as_str)) {
            Some(near) => d.help(format!("did you mean `{near}`?")).fix(member.span, near),
            None if callable => d.help(format!("`{0}` is a function: call it, `.{0}()`", member.text)),
            None => d.help("choose one of its fields, or a function that takes it"),
        };
        self.report(d);
    }

    /// `base[index]`
    pub(super) fn index(&mut self, base: &ast::Expr, index: &[ast::Expr], span: Span) -> Expr {
        let base = self.infer(base);
        let ([at], ty) = (index, self.shallow(&base.ty)) else {
            let d = Diagnostic::error(Code::E0305, span, "an element has one index", "several indices");
            self.report(d.help("write `x[i][j]` for arrays of arrays"));
            return poison(span);
        };
        let value = self.check(at, &Ty::Int);
        let constant = self.constant_int(&value);
        let length = match &ty {
            Ty::Array(_, Len::Const(n)) => Some(*n),
            Ty::Tuple(items) => Some(items.len() as u64),
            _ => None,
        };
        if let Some(i) = constant.filter(|i| *i < 0 || length.is_some_and(|n| i.unsigned_abs() >= n)) {
            self.outside(i, length, &base, at.span);
            return poison(span);
        }
        let item = match &ty {
            Ty::Array(item, _) | Ty::List(item) => (**item).clone(),
            Ty::Tuple(items) => match constant.and_then(|i| items.get(i as usize)) {
                Some(item) => {
                    let i = constant.unwrap_or(0);
                    let kind = ExprKind::Field {
                        base: Box::new(base),
                        name: i.to_string().into(),
                        index: u32::try_from(i).ok(),
                    };
                    return Expr { kind, ty: item.clone(), span };
                }
                None => {
                    let d = Diagnostic::error(
                        Code::E0305,
                        at.span,
                        "a tuple's index is a number written out",
                        "not a constant",
                    );
                    self.report(d.help("a tuple's parts have different types: write `x[0]`, `x[1]`"));
                    return poison(span);
                }
            },
            other if self.is_open(other) => return poison(span),
            other => {
                let d = Diagnostic::error(
                    Code::E0305,
                    base.span,
                    format!("`{}` has no elements", show(&self.body.metas.zonk(other))),
                    "not an array or a list",
                );
                self.report(d.help("fields are read with a dot: `x.field`"));
                return poison(span);
            }
        };
        Expr { kind: ExprKind::Index { base: Box::new(base), index: Box::new(value) }, ty: item, span }
    }

    fn outside(&mut self, i: i64, length: Option<u64>, base: &Expr, at: Span) {
        let (title, help) = match length {
            Some(0) => (format!("index {i} is outside of an empty array"), "there is nothing to read".to_owned()),
            Some(n) => (format!("index {i} is outside of `0..{n}`"), format!("the last element is `[{}]`", n - 1)),
            None => (format!("index {i} is negative"), "indices begin at 0".to_owned()),
        };
        let ty = show(&self.body.metas.zonk(&base.ty));
        let d =
            Diagnostic::error(Code::E0306, at, title, "no such element").label(base.span, format!("this is `{ty}`"));
        self.report(d.help(help));
    }

    /// `x.f(args)`: field `f` of `x` if there is one, else `f(x, args)`.
    pub(super) fn method(&mut self, base: &ast::Expr, member: &ast::Name, args: Vec<Arg<'_>>, span: Span) -> Expr {
        let base = self.infer(base);
        self.ask_member(&base.ty, member);
        match self.find_member(&base.ty, &member.text) {
            Member::Field(ty, index) => {
                let kind = ExprKind::Field { base: Box::new(base), name: member.text.as_str().into(), index };
                self.call_value(Expr { kind, ty, span: member.span }, args, span)
            }
            Member::Declared(module, global) => self.call_member(base, module, global, member, args, span),
            Member::Poison => poison(span),
            Member::None => {
                if matches!(self.meaning(&member.text), Meaning::Unknown) {
                    self.no_method(&base, member);
                    return poison(span);
                }
                let mut all = vec![Arg { name: None, value: super::call::Value::Typed(Box::new(base)) }];
                all.extend(args);
                self.call_name(&member.text, member.span, all, span)
            }
        }
    }

    fn no_method(&mut self, base: &Expr, member: &ast::Name) {
        if matches!(self.shallow(&base.ty), Ty::Instance(_)) {
            self.no_member(base, member);
            return;
        }
        let ty = show(&self.body.metas.zonk(&base.ty));
        let title = format!("there is no function `{}`, and `{ty}` has no such field", member.text);
        let d = Diagnostic::error(Code::E0201, member.span, title, "not declared");
        self.report(match self.suggest_name(&member.text) {
            Some(near) => d.help(format!("did you mean `{near}`?")).fix(member.span, near),
            None => d.help(format!("declare it: `fn {}(x: {ty}) = …`", member.text)),
        });
    }
}
