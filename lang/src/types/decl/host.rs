//! Extern declarations: the library's, and the host functions of a program.

use std::sync::Arc;

use crate::diag::{Code, Diagnostic};
use crate::hir::GlobalKind;
use crate::library::{Extern, ExternParam};
use crate::syntax::ast::{self, Body};
use crate::types::cx::Checker;
use crate::types::{Ty, marks};

impl Checker<'_> {
    /// `extern fn name(…) -> T` of a program: bound by the host.
    pub(super) fn host_function(&mut self, d: &ast::Decl, docs: &[String]) -> Option<(Ty, GlobalKind)> {
        if d.kind.text != "fn" {
            let diagnostic = Diagnostic::error(
                Code::E0311,
                d.kind.span,
                format!("a program declares `extern fn`, not `extern {}`", d.kind.text),
                "not in a program",
            );
            self.report(diagnostic.help("host functions are functions: `extern fn name(x: text) -> real`"));
            return None;
        }
        let ext = self.extern_of(d, docs, "", 0)?;
        Some((ext.fn_ty(), GlobalKind::Extern(Arc::new(ext))))
    }

    /// The data of an `extern` declaration.
    pub(crate) fn extern_of(&mut self, d: &ast::Decl, docs: &[String], family: &str, overload: u32) -> Option<Extern> {
        let body = match &d.body {
            Some(Body::Value(e) | Body::Steps(e)) => Some(e.span),
            Some(Body::Fields(_, span)) => Some(*span),
            None => None,
        };
        if self.refuse(
            d,
            "an extern declaration",
            &[("body", body), ("type before its parameters", d.ty.as_ref().map(|t| t.span))],
        ) {
            return None;
        }
        let (Some(params), Some(result)) = (&d.params, &d.result) else {
            let part = if d.params.is_none() { "parameters" } else { "a result type" };
            let diagnostic = Diagnostic::error(
                Code::E0311,
                d.name.span,
                format!("an extern declaration needs {part}"),
                format!("no {part}"),
            );
            self.report(diagnostic.help(format!("write `extern {} {}(x: real) -> real`", d.kind.text, d.name.text)));
            return None;
        };
        self.generics = d.generics.iter().map(|g| Arc::from(g.text.as_str())).collect();
        let params = params.iter().map(|p| self.extern_param(p, docs)).collect();
        let result = self.lower(result);
        Some(Extern {
            name: d.name.text.as_str().into(),
            word: d.kind.text.as_str().into(),
            family: family.into(),
            overload,
            generics: self.generics.clone(),
            params,
            result,
            doc: marks::text(docs),
            examples: marks::examples(docs),
            elementwise: marks::has(docs, "@elementwise"),
            is_static: marks::has(docs, "@static"),
            span: d.name.span,
        })
    }

    fn extern_param(&mut self, p: &ast::Param, docs: &[String]) -> ExternParam {
        let ty = self.lower(&p.ty);
        let optional = self.is_none(p.default.as_ref());
        let default = p.default.as_ref().filter(|_| !optional).map(|e| self.check(e, &ty));
        let domain = p.domain.as_ref().and_then(|d| self.bounds(d, &ty));
        let tiny = marks::tiny(docs, &p.name.text).or_else(|| marks::tiny(&p.docs, &p.name.text));
        ExternParam {
            name: p.name.text.as_str().into(),
            ty,
            default,
            domain,
            rest: p.rest,
            optional,
            tiny,
            input: marks::names(docs, "@input", &p.name.text),
            aside: marks::names(docs, "@aside", &p.name.text),
            doc: marks::text(&p.docs),
        }
    }

    /// The bounds of a range of literals; among integers the end of `..` is left out.
    fn bounds(&mut self, domain: &ast::Domain, ty: &Ty) -> Option<(f64, f64)> {
        let ast::ExprKind::Binary(op, _, lo, hi) = &domain.range.kind else { return self.no_bounds(domain) };
        let end = |checker: &mut Self, e: &ast::Expr| match &e.kind {
            ast::ExprKind::Name(n) if n == "inf" => Some(f64::INFINITY),
            ast::ExprKind::Unary(ast::UnaryOp::Neg, x) if matches!(&x.kind, ast::ExprKind::Name(n) if n == "inf") => {
                Some(f64::NEG_INFINITY)
            }
            _ => {
                let value = checker.infer(e);
                checker.constant_real(&value)
            }
        };
        match (end(self, lo), end(self, hi)) {
            (Some(a), Some(b)) => {
                let open = *op == ast::BinaryOp::Range && matches!(ty, Ty::Int);
                Some((a, if open { b - 1.0 } else { b }))
            }
            _ => self.no_bounds(domain),
        }
    }

    fn no_bounds(&mut self, domain: &ast::Domain) -> Option<(f64, f64)> {
        let d = Diagnostic::error(
            Code::E0309,
            domain.range.span,
            "a declared range has literal ends",
            "not a literal range",
        );
        self.report(d.help("write numbers, such as `0..1`; `inf` is a bound"));
        None
    }
}
