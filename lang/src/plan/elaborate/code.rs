//! Numeric code: expressions and closures outlined, compiled, and applied at once where their inputs are plain.

use std::sync::Arc;

use super::expr::OPERAND;
use super::{Abort, Elaborator, Result};
use crate::diag::{self, Diagnostic};
use crate::hir::{Expr, ExprKind, LocalId, Param};
use crate::ir::straight::NotStraight;
use crate::ir::{self, build};
use crate::library::Extern;
use crate::plan::closure::{Body, Env};
use crate::plan::graph::{NodeId, Op};
use crate::plan::key::Key;
use crate::plan::numeric::Code;
use crate::span::Span;
use crate::types::{Len, Ty};

/// The most steps that are computed before the run.
const FOLDED: u64 = 1 << 26;

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
        let code = self.code(outlined.module, &e.ty, e.span)?;
        self.numeric_node(code, inputs, e.ty.clone(), e.span).map(Some)
    }

    /// A closure as compiled code over its captures; `None` if it is not numeric code.
    pub(crate) fn numeric_closure(&mut self, body: &Body, env: &Env, ty: &Ty, span: Span) -> Result<Option<NodeId>> {
        let outlined = match body {
            Body::Lambda(lambda) if lambda.numeric || sees_plain(&lambda.params) => {
                self.outlined(|program, lens| build::outline_lambda(program, &lambda.params, &lambda.body, lens), env)?
            }
            Body::Function(function) if function.numeric || sees_plain(&function.params) => self.outlined(
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
        let code = self.code(outlined.module, &body.expr().ty, span)?;
        Ok(Some(self.graph.add(Op::NumericClosure(code), inputs, ty.clone(), span, None).0))
    }

    /// The derivative of a closure where its arguments are nodes of their own; reported, if there is none.
    pub(super) fn derivative(
        &mut self,
        e: &Expr,
        ext: &Arc<Extern>,
        args: &[Option<Expr>],
        env: &Env,
    ) -> Result<NodeId> {
        let mut inner = env.clone();
        let mut read = args.to_vec();
        for (i, arg) in read.iter_mut().flatten().enumerate().skip(2) {
            let local = LocalId(OPERAND + i as u32);
            let id = self.expr(arg, env)?;
            inner.bind(local, id);
            arg.kind = ExprKind::Local(local);
        }
        let kind = ExprKind::CallExtern { ext: ext.clone(), args: read, rest: Vec::new(), type_args: Vec::new() };
        let call = Expr { kind, ..e.clone() };
        match self.numeric(&call, &inner)? {
            Some(id) => Ok(id),
            None => Err(self.not_differentiable(&call, ext, &inner)),
        }
    }

    fn not_differentiable(&mut self, call: &Expr, ext: &Extern, env: &Env) -> Abort {
        let program = self.program.clone();
        let reason = {
            let mut lens = |place: Option<&Expr>, len: &Len| self.len_of(place, len, env)?.ok();
            build::not_differentiable(&program, call, &mut lens)
        };
        let name = &ext.name;
        let of = |span: Span| if span.end > span.start { span } else { call.span };
        let title = |reason: &str| format!("there is no {name} of this function: {reason}");
        self.fail(match reason {
            Some(reason @ NotStraight::TooLong) => {
                Diagnostic::error(diag::Code::E0354, call.span, title(&reason.to_string()), "too long to differentiate")
                    .note("loops are written out to be differentiated, one round after another")
                    .help("differentiate a part with shorter loops")
            }
            Some(reason @ (NotStraight::CanFail(at) | NotStraight::Index(at))) => Diagnostic::error(
                diag::Code::E0354,
                of(at),
                title(&reason.to_string()),
                "cannot be differentiated past",
            )
            .label(call.span, format!("the {name} is taken here"))
            .note("both sides of a condition are computed, and a zero is passed back by the one not taken")
            .help("take indices and whole-number arithmetic out of the `if`, or choose between reals"),
            Some(NotStraight::Malformed(_)) | None => {
                Diagnostic::error(diag::Code::E0354, call.span, title("it is no numeric code"), "cannot be compiled")
                    .note("a function that comes as an argument, and models and their scores, are none")
                    .help("give a declared function, or a closure, that computes with numbers alone")
            }
        })
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
        outline: impl FnOnce(&crate::hir::Program, build::Lengths<'_>) -> Option<build::Outlined>,
        env: &Env,
    ) -> Result<Option<build::Outlined>> {
        let program = self.program.clone();
        let mut failed = false;
        let mut lens = |place: Option<&Expr>, len: &Len| {
            let n = self.len_of(place, len, env);
            failed |= matches!(n, Some(Err(Abort)));
            n?.ok()
        };
        let outlined = outline(&program, &mut lens);
        if failed { Err(Abort) } else { Ok(outlined) }
    }

    /// A length of the program at hand, or of a used one; `None` where the run chooses that program.
    fn len_of(&mut self, place: Option<&Expr>, len: &Len, env: &Env) -> Option<Result<u64>> {
        let inner = match place {
            Some(place) => Env::new(self.quietly(|me| me.instance(place, env)).ok()?),
            None => env.clone(),
        };
        Some(self.len(len, Span::default(), &inner))
    }

    fn code(&mut self, module: ir::Module, result: &Ty, span: Span) -> Result<Arc<Code>> {
        let text = ir::print::canonical(&module);
        let key = Key::of("code", &[&[ir::scalar::VERSION], text.as_bytes(), result.to_string().as_bytes()]);
        if let Some(code) = self.codes.get(&key) {
            return Ok(code.clone());
        }
        if let Err(error @ ir::verify::IrError::TooLarge { .. }) = ir::verify::verify(&module) {
            return Err(self.fail(
                Diagnostic::error(diag::Code::E0337, span, error.to_string(), "too large")
                    .help("compute with shorter arrays"),
            ));
        }
        let code = Arc::new(Code::new(key, result.clone(), module));
        self.codes.insert(key, code.clone());
        Ok(code)
    }

    /// Code applied to nodes: computed at once where all of them are plain.
    pub(crate) fn numeric_node(&mut self, code: Arc<Code>, inputs: Vec<NodeId>, ty: Ty, span: Span) -> Result<NodeId> {
        let mut slots = Vec::new();
        let plain =
            inputs.iter().all(|id| self.graph.constant(*id).is_some_and(|value| value.flatten(&mut slots).is_some()));
        // What takes long is left to the run, where it is shown and can be stopped.
        if !plain || ir::cost::cost(code.module()) > FOLDED {
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

/// Whether a closure sees numbers and records at hand, such as a tensor, and neither genomes nor nodes: then it is code even
/// where it reads what a call computes, such as `layers(base)`.
pub(super) fn sees_plain(params: &[Param]) -> bool {
    params.iter().all(|p| matches!(p.ty, Ty::Int | Ty::Real | Ty::Bool | Ty::Enum(_) | Ty::Record(_)))
}

/// A local or a declaration, or a field of one.
fn is_name(e: &Expr) -> bool {
    match &e.kind {
        ExprKind::Local(_) | ExprKind::Global(_) | ExprKind::Member { .. } | ExprKind::Seed => true,
        ExprKind::Field { base, .. } => is_name(base),
        _ => false,
    }
}
