//! Calls: of library functions, of the program's own, and of numeric code.

use std::sync::Arc;

use super::{Abort, Elaborator, Result};
use crate::diag::{Code, Diagnostic};
use crate::hir::{Expr, ExprKind, GlobalKind, LocalId};
use crate::library::{Extern, ExternParam};
use crate::plan::closure::Env;
use crate::plan::graph::{NodeId, Op};
use crate::plan::host::{Answer, Call, Problem};
use crate::plan::konst::Const;
use crate::span::Span;
use crate::types::{Len, Ty};

use super::code::sees_plain;
use super::expr::OPERAND;

impl Elaborator {
    pub(super) fn call(
        &mut self,
        e: &Expr,
        ext: &Arc<Extern>,
        args: &[Option<Expr>],
        rest: &[(Arc<str>, Expr)],
        type_args: &[(Arc<str>, Ty)],
        env: &Env,
    ) -> Result<NodeId> {
        if !ext.family.is_empty() && crate::ir::is_derivative(&ext.name) {
            return self.derivative(e, ext, args, env);
        }
        let mut inputs = Vec::with_capacity(args.len() + 1);
        let mut failed = false;
        for (param, arg) in ext.params.iter().filter(|p| !p.rest).zip(args) {
            let id = match arg {
                Some(arg) => self.argument(arg, param, ext, env),
                None => Ok(self.graph.add_const(Const::Nothing, param.ty.clone(), e.span)),
            };
            match id {
                Ok(id) => {
                    if let (Some((lo, hi)), Some(arg)) = (param.domain, arg) {
                        failed |= self.check_argument(id, &param.name, lo, hi, arg.span).is_err();
                    }
                    inputs.push(id);
                }
                Err(Abort) => failed = true,
            }
        }
        if ext.params.iter().any(|p| p.rest) {
            match self.rest(rest, e, env) {
                Ok(id) => inputs.push(id),
                Err(Abort) => failed = true,
            }
        }
        if failed {
            return Err(Abort);
        }
        if !ext.family.is_empty() && crate::ir::is_intrinsic(&ext.name) && ext.result.is_numeric() {
            return match (&*ext.name, inputs.as_slice()) {
                ("sum" | "mean", [list]) if self.is_bounded(*list) => self.bounded_sum(e, ext, args, *list, env),
                _ => self.intrinsic(e, ext, args, &inputs, env),
            };
        }
        if let ("zip", false, [a, b]) = (&*ext.name, ext.family.is_empty(), inputs.as_slice())
            && let Some(pairs) = self.zip(*a, *b, e, args, env)?
        {
            return Ok(pairs);
        }
        for (_, ty) in type_args {
            if let Ty::Genome(genome) = ty {
                inputs.push(self.reference(env.instance, genome.module, genome.global, e.span)?);
            }
        }
        if let Some(closure) = inputs.iter().find_map(|id| self.uncompiled(*id)) {
            return Err(self.not_code(closure, &ext.name));
        }
        self.add_call(e, ext, args, inputs)
    }

    /// A closure of numbers that is no numeric code, in what a library function is given. The library computes those
    /// itself, such as a merge's weights; it has the engine apply only what sees genomes or nodes.
    fn uncompiled(&self, id: NodeId) -> Option<NodeId> {
        let node = self.graph.node(id);
        match &node.op {
            Op::Closure(c) if !c.body.params().is_empty() && sees_plain(c.body.params()) => Some(id),
            Op::List | Op::Tuple | Op::Record(_) | Op::If => node.inputs.iter().find_map(|id| self.uncompiled(*id)),
            _ => None,
        }
    }

    fn not_code(&mut self, closure: NodeId, name: &str) -> Abort {
        if self.probe(closure).is_none() {
            // Its body has been reported.
            return Abort;
        }
        let (span, label) = (self.graph.node(closure).span, self.graph.node(closure).label.clone());
        let what = label.map_or("this closure".to_owned(), |label| format!("`{label}`"));
        self.fail(
            Diagnostic::error(Code::E0338, span, format!("{what} is no numeric code"), "cannot be compiled")
                .note(format!(
                    "`{name}` computes it with numbers alone: models, results and programs that depend on its parameters \
                     are none"
                ))
                .help("let it call only what computes numbers from numbers; name other results before it"),
        )
    }

    /// An argument: an effort is capped in a tiny run, an input's path seen from the entry program's folder.
    fn argument(&mut self, arg: &Expr, param: &ExternParam, ext: &Extern, env: &Env) -> Result<NodeId> {
        let id = self.expr(arg, env)?;
        if arg.ty.has_program() {
            return Err(self.fail(
                Diagnostic::error(
                    Code::E0332,
                    arg.span,
                    format!("`{}` cannot take a program", ext.name),
                    "a used program",
                )
                .help("name one of its declarations, as in `program.name`"),
            ));
        }
        if param.input {
            return Ok(self.input_path(id, env.instance));
        }
        Ok(self.capped(id, param.tiny))
    }

    /// A numeric function over operands that are not numeric code themselves.
    fn intrinsic(
        &mut self,
        e: &Expr,
        ext: &Arc<Extern>,
        args: &[Option<Expr>],
        inputs: &[NodeId],
        env: &Env,
    ) -> Result<NodeId> {
        let operand = |i: usize, arg: &Expr| {
            let items = inputs.get(i).and_then(|id| match self.graph.constant(*id) {
                Some(value) => value.items().map(<[Const]>::len),
                None => self.graph.items(*id).map(<[NodeId]>::len),
            });
            // A list whose items are known is an array to compiled code.
            let ty = match (&arg.ty, items) {
                (Ty::List(item), Some(len)) => Ty::Array(item.clone(), Len::Const(len as u64)),
                (ty, _) => ty.clone(),
            };
            Expr { kind: ExprKind::Local(LocalId(OPERAND + i as u32)), ty, span: arg.span }
        };
        let locals = args.iter().enumerate().map(|(i, arg)| arg.as_ref().map(|arg| operand(i, arg)));
        let kind =
            ExprKind::CallExtern { ext: ext.clone(), args: locals.collect(), rest: Vec::new(), type_args: Vec::new() };
        self.over(&Expr { kind, ..e.clone() }, inputs, env)
    }

    fn rest(&mut self, rest: &[(Arc<str>, Expr)], e: &Expr, env: &Env) -> Result<NodeId> {
        let items: Vec<Result<NodeId>> = rest.iter().map(|(_, value)| self.expr(value, env)).collect();
        let items = items.into_iter().collect::<Result<Vec<_>>>()?;
        let names: Arc<[Arc<str>]> = rest.iter().map(|(name, _)| name.clone()).collect();
        Ok(self.graph.add(Op::Record(names), items, Ty::Error, e.span, None).0)
    }

    /// Adds the call and shows it to the host, once.
    fn add_call(&mut self, e: &Expr, ext: &Arc<Extern>, args: &[Option<Expr>], inputs: Vec<NodeId>) -> Result<NodeId> {
        let own = self.options.own_identity();
        let op = Op::Extern(ext.clone());
        let (id, fresh) = self.graph.add(op, inputs.clone(), e.ty.clone(), e.span, own.as_ref());
        if fresh {
            let mut problems = Vec::new();
            let call = Call { graph: &self.graph, ext, inputs: &inputs, tiny: self.options.tiny };
            let answer = self.host.clone().call(&call, &mut problems);
            let failed = problems.iter().any(|p| !p.warning);
            for problem in problems {
                self.report(problem, e, ext, args);
            }
            match answer {
                Answer::Known(value) => {
                    let known = self.graph.add_const(value, e.ty.clone(), e.span);
                    self.known.insert(id, known);
                }
                Answer::Fact(fact) => self.graph.set_fact(id, fact),
                Answer::Content(fact, content) => {
                    let op = Op::Extern(ext.clone());
                    let (content_id, _) = self.graph.add(op, inputs, e.ty.clone(), e.span, Some(&content));
                    self.graph.set_fact(content_id, fact);
                    self.known.insert(id, content_id);
                }
                Answer::Effect(version) => {
                    let op = Op::Extern(ext.clone());
                    let (versioned, _) = self.graph.add(op, inputs, e.ty.clone(), e.span, Some(&version));
                    self.graph.set_local(versioned);
                    self.known.insert(id, versioned);
                }
                Answer::Unknown => {}
            }
            if failed {
                return Err(Abort);
            }
        }
        Ok(self.known.get(&id).copied().unwrap_or(id))
    }

    /// A host's finding as a diagnostic at the argument at fault.
    fn report(&mut self, problem: Problem, e: &Expr, ext: &Extern, args: &[Option<Expr>]) {
        let at = problem.param.as_deref().and_then(|name| ext.params.iter().position(|p| &*p.name == name));
        let span = at.and_then(|i| args.get(i)).and_then(Option::as_ref).map_or(e.span, |arg| arg.span);
        let code = Code::find(problem.code).unwrap_or(Code::E0401);
        let mut diagnostic = match problem.warning {
            true => Diagnostic::warning(code, span, problem.title, problem.label),
            false => Diagnostic::error(code, span, problem.title, problem.label),
        };
        for note in problem.notes {
            diagnostic = diagnostic.note(note);
        }
        if !problem.help.is_empty() {
            diagnostic = diagnostic.help(problem.help);
        }
        self.fail(diagnostic);
    }

    fn check_argument(&mut self, id: NodeId, name: &str, lo: f64, hi: f64, span: Span) -> Result<()> {
        let Some(value) = self.graph.constant(id).and_then(Const::as_real) else { return Ok(()) };
        if value >= lo && value <= hi {
            return Ok(());
        }
        Err(self.fail(
            Diagnostic::error(
                Code::E0336,
                span,
                format!("`{name}` is {value}, outside {lo} to {hi}"),
                "outside its range",
            )
            .help(format!("choose a value from {lo} to {hi}")),
        ))
    }

    /// A call of a declared function: its body with the arguments bound.
    pub(super) fn call_function(
        &mut self,
        e: &Expr,
        owner: super::InstanceId,
        index: usize,
        args: &[Option<Expr>],
        env: &Env,
    ) -> Result<NodeId> {
        let function = match &self.declaration(owner, index).kind {
            GlobalKind::Function(function) => function.clone(),
            _ => return Err(Abort),
        };
        let mut inner = Env::new(owner);
        let mut values = Vec::with_capacity(function.params.len());
        for (i, param) in function.params.iter().enumerate() {
            let value = match (args.get(i).and_then(Option::as_ref), &param.default) {
                (Some(arg), _) => self.expr(arg, env)?,
                (None, Some(default)) => self.expr(default, &inner)?,
                (None, None) => return Err(Abort),
            };
            inner.bind(param.local, value);
            values.push(value);
        }
        // Equal calls are one: a chain of functions that each call the next twice does not double at every step.
        let call = (owner, index, values);
        if let Some(known) = self.calls.get(&call) {
            return known.ok_or(Abort);
        }
        let result = self.deeper(e.span, |me| me.expr(&function.body, &inner));
        self.calls.insert(call, result.ok());
        result
    }
}
