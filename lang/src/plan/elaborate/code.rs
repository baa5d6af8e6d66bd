//! Numeric code: expressions and closures outlined, compiled, and applied at once where their inputs are plain.

use std::sync::Arc;

use super::{Abort, Elaborator, Result};
use crate::diag::{self, Diagnostic};
use crate::hir::{Expr, ExprKind};
use crate::ir::{self, build};
use crate::plan::closure::{Body, Env};
use crate::plan::graph::{NodeId, Op};
use crate::plan::key::Key;
use crate::plan::numeric::Code;
use crate::span::Span;
use crate::types::{Len, Ty};

impl Elaborator {
    /// The expression as compiled code over its leaves; `None` if it is not numeric code.
    pub(crate) fn numeric(&mut self, e: &Expr, env: &Env) -> Result<Option<NodeId>> {
        let Some(outlined) = self.outlined(|program, lens| build::outline(program, e, lens), env)? else {
            return Ok(None);
        };
        // A call under a condition is left to an `if` node, which computes the chosen side only.
        let under_condition =
            || outlined.leaves.iter().zip(&outlined.conditional).filter(|(_, conditional)| **conditional);
        if under_condition().any(|(leaf, _)| !is_name(leaf)) {
            return Ok(None);
        }
        let mut inputs = Vec::with_capacity(outlined.leaves.len());
        for (leaf, conditional) in outlined.leaves.iter().zip(&outlined.conditional) {
            let id = self.leaf(leaf, e, env)?;
            if *conditional && self.graph.constant(id).is_none() {
                return Ok(None);
            }
            inputs.push(id);
        }
        let code = self.code(outlined.module, &e.ty);
        self.numeric_node(code, inputs, e.ty.clone(), e.span).map(Some)
    }

    /// A closure as compiled code over its captures; `None` if it is not numeric code.
    pub(crate) fn numeric_closure(&mut self, body: &Body, env: &Env, ty: &Ty, span: Span) -> Result<Option<NodeId>> {
        let outlined = match body {
            Body::Lambda(lambda) if lambda.numeric => {
                self.outlined(|program, lens| build::outline_lambda(program, &lambda.params, &lambda.body, lens), env)?
            }
            Body::Function(function) if function.numeric => self.outlined(
                |program, lens| build::outline_lambda(program, &function.params, &function.body, lens),
                env,
            )?,
            _ => None,
        };
        let Some(outlined) = outlined else { return Ok(None) };
        let mut inputs = Vec::with_capacity(outlined.leaves.len());
        for leaf in &outlined.leaves {
            inputs.push(self.leaf(leaf, body.expr(), env)?);
        }
        let code = self.code(outlined.module, &body.expr().ty);
        Ok(Some(self.graph.add(Op::NumericClosure(code), inputs, ty.clone(), span, None).0))
    }

    /// A leaf is a name, or a part that some node computes.
    fn leaf(&mut self, leaf: &Expr, whole: &Expr, env: &Env) -> Result<NodeId> {
        debug_assert!(!std::ptr::eq(leaf, whole));
        if let ExprKind::CallExtern { ext, args, rest, type_args } = &leaf.kind {
            return self.call(leaf, ext, args, rest, type_args, env);
        }
        self.expr(leaf, env)
    }

    fn outlined(
        &mut self,
        outline: impl FnOnce(&crate::hir::Program, &mut dyn FnMut(&Len) -> Option<u64>) -> Option<build::Outlined>,
        env: &Env,
    ) -> Result<Option<build::Outlined>> {
        let program = self.program.clone();
        let mut failed = false;
        let mut lens = |len: &Len| match self.len(len, Span::default(), env) {
            Ok(n) => Some(n),
            Err(_) => {
                failed = true;
                None
            }
        };
        let outlined = outline(&program, &mut lens);
        if failed { Err(Abort) } else { Ok(outlined) }
    }

    fn code(&mut self, module: ir::Module, result: &Ty) -> Arc<Code> {
        let text = ir::print::canonical(&module);
        let key = Key::of("code", &[text.as_bytes(), result.to_string().as_bytes()]);
        let make = || Arc::new(Code::new(key, result.clone(), module));
        self.codes.entry(key).or_insert_with(make).clone()
    }

    /// Code applied to nodes: computed at once where all of them are plain.
    pub(crate) fn numeric_node(&mut self, code: Arc<Code>, inputs: Vec<NodeId>, ty: Ty, span: Span) -> Result<NodeId> {
        let mut slots = Vec::new();
        let plain =
            inputs.iter().all(|id| self.graph.constant(*id).is_some_and(|value| value.flatten(&mut slots).is_some()));
        if !plain {
            return Ok(self.graph.add(Op::Numeric(code), inputs, ty, span, None).0);
        }
        match code.call(&slots) {
            Ok(value) => Ok(self.graph.add_const(value, ty, span)),
            Err(error) => {
                let at = if error.span.end > error.span.start { error.span } else { span };
                Err(self.fail(
                    Diagnostic::error(diag::Code::E0340, at, error.to_string(), "computed before the run")
                        .help("change the params or the expression so that this cannot happen"),
                ))
            }
        }
    }
}

/// A local or a declaration, or a field of one.
fn is_name(e: &Expr) -> bool {
    match &e.kind {
        ExprKind::Local(_) | ExprKind::Global(_) | ExprKind::Member { .. } | ExprKind::Seed => true,
        ExprKind::Field { base, .. } => is_name(base),
        _ => false,
    }
}
