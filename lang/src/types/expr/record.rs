//! Record literals, with and without a type that is wanted.

use std::sync::Arc;

use super::show;
use crate::diag::{Code, Diagnostic};
use crate::hir::{Expr, ExprKind};
use crate::span::Span;
use crate::syntax::ast;
use crate::types::cx::Checker;
use crate::types::{FieldTy, RecordTy, Ty};

impl Checker<'_> {
    /// A record literal whose type is what it holds.
    pub(super) fn new_record(&mut self, fields: &[ast::Field], span: Span) -> Expr {
        let mut types: Vec<FieldTy> = Vec::new();
        let mut values = Vec::new();
        for field in fields {
            if types.iter().any(|f| *f.name == *field.name.text) {
                self.twice(&field.name, "field");
                continue;
            }
            let Some(value) = self.field_expr(field) else { continue };
            let value = self.infer(value);
            let name: Arc<str> = field.name.text.as_str().into();
            types.push(FieldTy {
                name: name.clone(),
                ty: value.ty.clone(),
                default: None,
                optional: false,
                tiny: None,
                doc: "".into(),
            });
            values.push((name, value));
        }
        Expr { kind: ExprKind::Record(values), ty: Ty::Record(Arc::new(RecordTy { name: None, fields: types })), span }
    }

    /// The value of a field outside of a genome.
    pub(in crate::types) fn field_expr<'e>(&mut self, field: &'e ast::Field) -> Option<&'e ast::Expr> {
        if let Some(domain) = &field.domain {
            let d =
                Diagnostic::error(Code::E0311, domain.range.span, "only a genome's field has a range", "no range here");
            self.report(d.help("leave `in …` out, or declare the field in a `genome`"));
        }
        match &field.value {
            ast::FieldValue::Expr(e) => Some(e),
            ast::FieldValue::Ty(ty) => {
                let d = Diagnostic::error(Code::E0301, ty.span, "a type stands where a value belongs", "a type");
                self.report(d.help("give a value; a closure is written `x => e`"));
                None
            }
        }
    }

    /// A record literal where the type is known: fields in its order, defaults filled in, optional ones left out.
    pub(super) fn record(&mut self, fields: &[ast::Field], want: &Ty, span: Span) -> Expr {
        let wanted: Vec<FieldTy> = want.fields().unwrap_or(&[]).to_vec();
        self.ask_fields(fields, &wanted);
        let mut given: Vec<Option<Expr>> = wanted.iter().map(|_| None).collect();
        let mut failed = false;
        for field in fields {
            let Some(index) = wanted.iter().position(|f| *f.name == *field.name.text) else {
                self.unknown_field_in(&field.name, want, &wanted);
                failed = true;
                continue;
            };
            if given.get(index).is_some_and(Option::is_some) {
                self.twice(&field.name, "field");
                continue;
            }
            let Some(value) = self.field_expr(field) else { continue };
            let ty = wanted.get(index).map_or(Ty::Error, |f| f.ty.clone());
            self.why.push(format!("the field `{}` is `{}`", field.name.text, show(&ty)));
            let value = self.check(value, &ty);
            self.why.pop();
            if let Some(slot) = given.get_mut(index) {
                *slot = Some(value);
            }
        }
        let mut out = Vec::new();
        let mut missing = Vec::new();
        for (field, value) in wanted.iter().zip(given) {
            match (value, &field.default) {
                (Some(value), _) => out.push((field.name.clone(), value)),
                (None, Some(default)) => out.push((field.name.clone(), (**default).clone())),
                (None, None) if field.optional => {}
                (None, None) => missing.push(format!("`{}`", field.name)),
            }
        }
        if !missing.is_empty() && !failed {
            let title = format!("the record lacks {}", missing.join(", "));
            let d = Diagnostic::error(Code::E0302, span, title, "incomplete");
            let d = self.because(d);
            self.report(d.note(format!("its type is `{}`", show(want))).help("give each field that has no default"));
        }
        Expr { kind: ExprKind::Record(out), ty: want.clone(), span }
    }

    fn unknown_field_in(&mut self, name: &ast::Name, want: &Ty, fields: &[FieldTy]) {
        let d = Diagnostic::error(
            Code::E0205,
            name.span,
            format!("`{}` has no field `{}`", show(want), name.text),
            "no such field",
        );
        let names: Vec<&str> = fields.iter().map(|f| &*f.name).collect();
        let d = d.note(format!("its fields are {}", names.join(", ")));
        self.report(match crate::diag::suggest(&name.text, names) {
            Some(near) => d.help(format!("did you mean `{near}`?")).fix(name.span, near),
            None => d.help("leave the field out"),
        });
    }
}
