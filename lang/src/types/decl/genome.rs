//! Genomes: what a search may change, and from where to where.

use std::sync::Arc;

use crate::diag::{Code, Diagnostic};
use crate::hir::{Domain, Genome, GenomeField, GlobalKind};
use crate::syntax::ast::{self, Body};
use crate::types::cx::Checker;
use crate::types::expr::show;
use crate::types::{FieldTy, GenomeTy, Len, Ty};

impl Checker<'_> {
    pub(super) fn genome(&mut self, d: &ast::Decl, index: usize) -> Option<(Ty, GlobalKind)> {
        let Some(Body::Fields(fields, _)) = &d.body else {
            let diagnostic = Diagnostic::error(
                Code::E0311,
                d.name.span,
                format!("the genome `{}` has no fields", d.name.text),
                "no fields in braces",
            );
            self.report(diagnostic.help(format!("write `genome {} {{ weight: real in 0..1 }}`", d.name.text)));
            return None;
        };
        let mut genes: Vec<GenomeField> = Vec::new();
        for field in fields {
            if genes.iter().any(|g| *g.name == *field.name.text) {
                self.twice(&field.name, "field");
                continue;
            }
            genes.push(self.gene(field));
        }
        if genes.is_empty() {
            let diagnostic = Diagnostic::error(
                Code::E0312,
                d.name.span,
                format!("the genome `{}` has no fields", d.name.text),
                "nothing to search for",
            );
            self.report(diagnostic.help("declare what the search may change: `weight: real in 0..1`"));
        }
        let field = |g: &GenomeField| FieldTy {
            name: g.name.clone(),
            ty: g.ty.clone(),
            default: None,
            optional: false,
            tiny: None,
            doc: "".into(),
        };
        let ty = GenomeTy {
            name: d.name.text.as_str().into(),
            module: self.id,
            global: index,
            fields: genes.iter().map(field).collect(),
        };
        Some((Ty::Genome(Arc::new(ty)), GlobalKind::Genome(Arc::new(Genome { fields: genes }))))
    }

    fn gene(&mut self, field: &ast::Field) -> GenomeField {
        let written = match &field.value {
            ast::FieldValue::Ty(ty) => Some(ty.clone()),
            ast::FieldValue::Expr(e) => as_type(e),
        };
        let (mut ty, mut permutation) = (Ty::Error, false);
        match (&written, &field.value) {
            (Some(ast::Ty { kind: ast::TyKind::Index(base, len), .. }), _) if is_word(base, "permutation") => {
                let len = len.first().map_or(Len::Any, |e| self.length(e));
                (ty, permutation) = (Ty::Array(Arc::new(Ty::Int), len), true);
            }
            (Some(written), _) => ty = self.lower(written),
            (None, ast::FieldValue::Expr(e)) => {
                let d = Diagnostic::error(
                    Code::E0312,
                    e.span,
                    format!("the gene `{}` has no type", field.name.text),
                    "not a type",
                );
                self.report(d.help("a gene is `real in 0..1`, `int in 1..=8`, `bool`, `one_of[\"a\", \"b\"]` or `permutation[8]`, or an array of these"));
            }
            _ => {}
        }
        let domain = self.gene_domain(field, &ty, permutation);
        GenomeField { name: field.name.text.as_str().into(), ty, domain, permutation, span: field.name.span }
    }

    fn gene_domain(&mut self, field: &ast::Field, ty: &Ty, permutation: bool) -> Option<Domain> {
        let mut item = ty;
        while let Ty::Array(inner, _) = item {
            item = inner;
        }
        let name = &field.name.text;
        match (item, &field.domain) {
            (Ty::Error, _) => None,
            (Ty::Int | Ty::Real, Some(domain)) if !permutation => self.domain(domain, ty, "a gene"),
            (Ty::Int | Ty::Real, None) if !permutation => {
                let title = format!("the gene `{name}` has no range");
                let example = if matches!(item, Ty::Int) { "in 1..=8" } else { "in 0..1" };
                self.report(
                    Diagnostic::error(Code::E0312, field.name.span, title, "searched from where to where?")
                        .help(format!("add one: `{name}: {} {example}`", show(ty))),
                );
                None
            }
            (Ty::Bool | Ty::Enum(_) | Ty::Int, None) => None,
            (Ty::Bool | Ty::Enum(_) | Ty::Int | Ty::Real, Some(domain)) => {
                let title = format!("the gene `{name}` has no use for a range");
                self.report(
                    Diagnostic::error(Code::E0312, domain.range.span, title, "no range here").help("leave `in …` out"),
                );
                None
            }
            _ => {
                let title = format!("`{}` cannot be a gene", show(ty));
                self.report(
                    Diagnostic::error(Code::E0312, field.name.span, title, "not a gene")
                        .help("a gene is a `real`, `int`, `bool`, `one_of` or `permutation`, or an array of these"),
                );
                None
            }
        }
    }
}

fn is_word(ty: &ast::Ty, word: &str) -> bool {
    matches!(&ty.kind, ast::TyKind::Name(path, _) if path.len() == 1 && path.first().is_some_and(|n| n.text == word))
}

/// A gene's type, which is written where an expression stands.
fn as_type(e: &ast::Expr) -> Option<ast::Ty> {
    let kind = match &e.kind {
        ast::ExprKind::Name(n) => ast::TyKind::Name(vec![ast::Name { text: n.clone(), span: e.span }], Vec::new()),
        ast::ExprKind::Dot(base, member) => match as_type(base)?.kind {
            ast::TyKind::Name(mut path, _) => {
                path.push(member.clone());
                ast::TyKind::Name(path, Vec::new())
            }
            _ => return None,
        },
        ast::ExprKind::Index(base, index) => ast::TyKind::Index(Box::new(as_type(base)?), index.clone()),
        ast::ExprKind::Group(inner) => return as_type(inner),
        _ => return None,
    };
    Some(ast::Ty { span: e.span, kind })
}
