//! What must be known before anything runs: lengths, ranges, search spaces.

use std::sync::Arc;

use super::{Abort, Elaborator, Result};
use crate::diag::{Code, Diagnostic};
use crate::hir::{Domain, Expr, Genome, GenomeField, Global};
use crate::plan::closure::Env;
use crate::plan::graph::NodeId;
use crate::plan::konst::{Const, GeneDomain, RangeConst, Space, SpaceField};
use crate::span::Span;
use crate::types::{Len, Ty};

/// No array that a program declares is longer: what it would allocate is a slip, not a search space.
pub(super) const LONGEST: i64 = 1 << 24;

impl Elaborator {
    /// An array's length.
    pub(crate) fn len(&mut self, len: &Len, span: Span, env: &Env) -> Result<u64> {
        match len {
            Len::Const(n) => Ok(*n),
            Len::Any => Err(Abort),
            Len::Static { expr, text } => {
                let id = self.expr(expr, env)?;
                match self.graph.constant(id) {
                    Some(Const::Int(n)) if (0..=LONGEST).contains(n) => Ok(*n as u64),
                    Some(Const::Int(n)) => {
                        let n = *n;
                        Err(self.fail(
                            Diagnostic::error(
                                Code::E0337,
                                expr.span,
                                format!("an array cannot have length {n}"),
                                format!("`{text}` is {n}"),
                            )
                            .help(format!("lengths are from 0 to {LONGEST}")),
                        ))
                    }
                    _ => {
                        let at = if expr.span.end > expr.span.start { expr.span } else { span };
                        let unknown = Expr { span: at, ..(**expr).clone() };
                        Err(self.unknown_before_run(&unknown, "an array's length"))
                    }
                }
            }
        }
    }

    /// A declared genome with its lengths and ranges.
    pub(super) fn space(&mut self, name: &Arc<str>, genome: &Genome, env: &Env) -> Result<Space> {
        let mut fields = Vec::with_capacity(genome.fields.len());
        let mut failed = false;
        for field in &genome.fields {
            match self.space_field(field, env) {
                Ok(field) => fields.push(field),
                Err(Abort) => failed = true,
            }
        }
        if failed {
            return Err(Abort);
        }
        Ok(Space { name: name.clone(), fields })
    }

    fn space_field(&mut self, field: &GenomeField, env: &Env) -> Result<SpaceField> {
        let mut shape = Vec::new();
        let mut ty = &field.ty;
        while let Ty::Array(item, len) = ty {
            shape.push(self.len(len, field.span, env)? as usize);
            ty = item;
        }
        let domain = match (ty, field.permutation) {
            (_, true) => GeneDomain::Permutation,
            (Ty::Bool, _) => GeneDomain::Bool,
            (Ty::Enum(e), _) => GeneDomain::OneOf(e.cases.clone()),
            (Ty::Int, _) => {
                let (range, log, span) = self.gene_range(field, env)?;
                let (lo, end) = range.whole_bounds();
                self.check_gene(field, lo as f64, (end - 1) as f64, log, span)?;
                GeneDomain::Int { lo, hi: end - 1, log }
            }
            _ => {
                let (range, log, span) = self.gene_range(field, env)?;
                self.check_gene(field, range.lo, range.hi, log, span)?;
                GeneDomain::Real { lo: range.lo, hi: range.hi, log }
            }
        };
        Ok(SpaceField { name: field.name.clone(), shape, domain })
    }

    fn gene_range(&mut self, field: &GenomeField, env: &Env) -> Result<(RangeConst, bool, Span)> {
        let Some(domain) = &field.domain else {
            return Err(self.fail(
                Diagnostic::error(
                    Code::E0312,
                    field.span,
                    format!("gene `{}` has no range", field.name),
                    "which values may it take?",
                )
                .help(format!("write one: `{} : {} in 0..1`", field.name, field.ty)),
            ));
        };
        let id = self.expr(&domain.range, env)?;
        match self.graph.constant(id) {
            Some(Const::Range(range)) => Ok((*range, domain.log, domain.span)),
            _ => Err(self.unknown_before_run(&domain.range, "the range of a gene")),
        }
    }

    fn check_gene(&mut self, field: &GenomeField, lo: f64, hi: f64, log: bool, span: Span) -> Result<()> {
        let name = &field.name;
        let problem = if !(lo.is_finite() && hi.is_finite()) {
            Some((
                format!("the range of gene `{name}` is not finite"),
                "an end is not finite",
                "give it two finite ends",
            ))
        } else if lo > hi || (lo == hi && matches!(innermost(&field.ty), Ty::Real)) {
            Some((
                format!("the range of gene `{name}` is empty"),
                "holds no value",
                "the first end must be below the last",
            ))
        } else if log && lo <= 0.0 {
            Some((
                format!("gene `{name}` is on a logarithmic scale from {lo}"),
                "must start above 0",
                "start the range above 0",
            ))
        } else {
            None
        };
        match problem {
            None => Ok(()),
            Some((title, label, help)) => Err(self.fail(Diagnostic::error(Code::E0339, span, title, label).help(help))),
        }
    }

    pub(super) fn check_domain(&mut self, id: NodeId, domain: &Domain, global: &Global, env: &Env) -> Result<()> {
        let range = self.expr(&domain.range, env)?;
        let (Some(Const::Range(range)), Some(value)) =
            (self.graph.constant(range).cloned(), self.graph.constant(id).and_then(Const::as_real))
        else {
            return Ok(());
        };
        let hi = if range.whole { (range.whole_bounds().1 - 1) as f64 } else { range.hi };
        if value >= range.lo && value <= hi {
            return Ok(());
        }
        Err(self.fail(
            Diagnostic::error(
                Code::E0336,
                global.name_span,
                format!("param `{}` is {value}, outside {} to {hi}", global.name, range.lo),
                "outside its range",
            )
            .label(domain.span, "declared here")
            .help(format!("set a value from {} to {hi}", range.lo)),
        ))
    }
}

fn innermost(ty: &Ty) -> &Ty {
    match ty {
        Ty::Array(item, _) => innermost(item),
        other => other,
    }
}
