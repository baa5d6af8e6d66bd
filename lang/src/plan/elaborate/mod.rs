//! The elaborator: executes a checked program symbolically with its actual params, and so builds the graph.
//!
//! Functions over nodes are unfolded where they are called; numeric code is outlined and compiled; what is known
//! before anything runs is folded. The host is shown each library call once and answers with facts or problems. A
//! search's functions are unfolded once with stand-in arguments, so that what they would do is checked beforehand,
//! and again by [`Elaborator::apply`] for every candidate.

mod call;
mod code;
mod expr;
mod many;
mod program;
mod values;

use std::collections::BTreeMap;
use std::sync::Arc;

use indexmap::IndexMap;

use super::closure::{Body, Closure, Env, InstanceId};
use super::fingerprint::Walk;
use super::graph::{Fact, Graph, NodeId, Op};
use super::host::Host;
use super::key::{Hasher, Key};
use super::konst::Const;
use crate::diag::{Code, Diagnostic};
use crate::hir::{Expr, Function, Global, GlobalKind, ModuleId, Program, RequestKind};
use crate::span::Span;
use crate::types::Ty;

/// Elaboration cannot go on here; the reason has been reported.
#[derive(Clone, Copy, Debug)]
pub struct Abort;

pub(crate) type Result<T, E = Abort> = std::result::Result<T, E>;

/// How a program is elaborated.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Params of the entry program that are set from outside, by name.
    pub params: IndexMap<String, Const>,
    /// The seed, where it is set from outside.
    pub seed: Option<i64>,
    /// Lower effort: caps apply, and everything has an identity of its own.
    pub tiny: bool,
    /// What computes, if not what is usual: its results differ in their last bits, so everything has an identity of its own.
    pub device: Option<Arc<str>>,
}

impl Options {
    /// What enters every call's identity, if anything does.
    fn own_identity(&self) -> Option<Key> {
        match (&self.device, self.tiny) {
            (None, false) => None,
            (None, true) => Some(Key::of("tiny", &[])),
            (Some(device), false) => Some(Key::of("device", &[device.as_bytes()])),
            (Some(device), true) => Some(Key::of("tiny on device", &[device.as_bytes()])),
        }
    }
}

/// A request with its expressions as nodes. A part whose elaboration failed is absent (and reported).
#[derive(Clone, Debug)]
pub enum Demand {
    /// `save value to path`.
    Save {
        /// What is saved.
        value: NodeId,
        /// Where.
        path: Arc<str>,
    },
    /// `print value`.
    Print(NodeId),
    /// `plot value over range to path`.
    Plot {
        /// What is drawn.
        value: NodeId,
        /// The horizontal range, for functions.
        over: Option<NodeId>,
        /// The file; the terminal without one.
        path: Option<Arc<str>>,
    },
    /// `expect condition, message`.
    Expect {
        /// A `bool`.
        condition: NodeId,
        /// A `text`.
        message: Option<NodeId>,
    },
}

/// A demand and where it stands.
#[derive(Clone, Debug)]
pub struct PlannedRequest {
    /// What is demanded.
    pub demand: Demand,
    /// The request.
    pub span: Span,
    /// Its source text on one line.
    pub text: Arc<str>,
}

enum Slot {
    Todo,
    Busy,
    Done(NodeId),
    Failed,
}

struct Instance {
    module: ModuleId,
    args: BTreeMap<usize, NodeId>,
    seed: NodeId,
    key: Key,
    memo: Vec<Slot>,
    functions: BTreeMap<usize, Key>,
}

impl Instance {
    /// Declarations that failed are looked at again when they are asked for.
    fn forget_failures(&mut self) {
        self.memo.iter_mut().filter(|slot| matches!(slot, Slot::Failed)).for_each(|slot| *slot = Slot::Todo);
    }
}

/// Builds and grows the graph of one program.
pub struct Elaborator {
    program: Arc<Program>,
    host: Arc<dyn Host>,
    graph: Graph,
    options: Options,
    instances: Vec<Instance>,
    by_key: BTreeMap<Key, InstanceId>,
    /// Calls that the host answered with a value.
    known: BTreeMap<NodeId, NodeId>,
    /// The body of each closure with stand-in arguments.
    probes: BTreeMap<NodeId, Option<NodeId>>,
    codes: super::numeric::Codes,
    /// Calls of declared functions that have been unfolded.
    calls: BTreeMap<(InstanceId, usize, Vec<NodeId>), Option<NodeId>>,
    /// How deep declarations and calls lead to one another here.
    depth: usize,
    /// How many items of lists have been written out as nodes since the elaborator was last asked for something.
    planned: usize,
    diagnostics: Vec<Diagnostic>,
}

/// How deep declarations and calls may lead to one another.
const DEPTH_LIMIT: usize = 2000;

impl Elaborator {
    /// An elaborator for `program`; nothing is elaborated yet.
    pub fn new(program: Arc<Program>, host: Arc<dyn Host>, options: Options) -> Elaborator {
        let mut elaborator = Elaborator {
            program,
            host,
            graph: Graph::default(),
            options,
            instances: Vec::new(),
            by_key: BTreeMap::new(),
            known: BTreeMap::new(),
            probes: BTreeMap::new(),
            codes: Default::default(),
            calls: BTreeMap::new(),
            depth: 0,
            planned: 0,
            diagnostics: Vec::new(),
        };
        elaborator.start();
        elaborator
    }

    /// Makes the entry instance: instance 0.
    fn start(&mut self) {
        let entry = self.program.entry;
        let zero = self.graph.add_const(Const::Int(self.options.seed.unwrap_or(0)), Ty::Int, Span::default());
        let id = self.add_instance(entry, BTreeMap::new(), zero);
        let mut args = BTreeMap::new();
        let params = std::mem::take(&mut self.options.params);
        for (name, value) in params {
            let found = self.module(entry).globals.iter().position(|g| *g.name == *name);
            if let Some(index) = found {
                let (ty, span) = (self.declaration(id, index).ty.clone(), self.declaration(id, index).name_span);
                args.insert(index, self.graph.add_const(value, ty, span));
            }
        }
        self.instance_mut(id).args = args;
        if self.options.seed.is_none() {
            let declared = self.module(entry).globals.iter().position(|g| &*g.name == "seed" && &*g.word == "param");
            if let Some(Ok(seed)) = declared.map(|index| self.global(id, index)) {
                self.instance_mut(id).seed = seed;
            }
        }
    }

    /// The graph as it stands.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The entry program's instance.
    pub fn entry(&self) -> InstanceId {
        InstanceId(0)
    }

    /// The entry program's seed.
    pub fn entry_seed(&self) -> NodeId {
        self.seed(self.entry())
    }

    /// The diagnostics since the last call.
    pub fn take_diagnostics(&mut self) -> Vec<Diagnostic> {
        std::mem::take(&mut self.diagnostics)
    }

    /// Elaborates every declaration of the entry program (so that all of it is checked, asked for or not), then its
    /// requests, in source order.
    pub fn requests(&mut self) -> Vec<PlannedRequest> {
        // Once for all declarations: a stack for each would cost more than the rest.
        crate::syntax::deep(|| self.requests_here())
    }

    fn requests_here(&mut self) -> Vec<PlannedRequest> {
        let program = self.program.clone();
        let entry = self.entry();
        let module = &program.modules[program.entry.0 as usize];
        for (index, global) in module.globals.iter().enumerate() {
            if !matches!(global.kind, GlobalKind::Type | GlobalKind::Extern(_) | GlobalKind::Error | GlobalKind::Use(_))
            {
                let _ = self.global(entry, index);
            }
        }
        let mut planned = Vec::new();
        for request in &module.requests {
            if let Ok(demand) = self.demand(&request.kind) {
                planned.push(PlannedRequest { demand, span: request.span, text: request.text.clone() });
            }
        }
        planned
    }

    fn demand(&mut self, kind: &RequestKind) -> Result<Demand> {
        let env = Env::new(self.entry());
        Ok(match kind {
            RequestKind::Save { value, path } => {
                let value = self.shown(value, &env);
                let path = self.text(path, &env);
                Demand::Save { value: value?, path: path? }
            }
            RequestKind::Print(value) => Demand::Print(self.shown(value, &env)?),
            RequestKind::Plot { value, over, path } => Demand::Plot {
                value: self.shown(value, &env)?,
                over: over.as_ref().map(|e| self.expr(e, &env)).transpose()?,
                path: path.as_ref().map(|e| self.text(e, &env)).transpose()?,
            },
            RequestKind::Expect { condition, message } => Demand::Expect {
                condition: self.expr(condition, &env)?,
                message: message.as_ref().map(|e| self.expr(e, &env)).transpose()?,
            },
        })
    }

    /// What a request shows or saves: anything but a program.
    fn shown(&mut self, e: &Expr, env: &Env) -> Result<NodeId> {
        if e.ty.has_program() {
            return Err(self.fail(
                Diagnostic::error(Code::E0332, e.span, "a program is not a value to show", "a used program")
                    .help("name one of its declarations, as in `program.name`"),
            ));
        }
        self.expr(e, env)
    }

    /// A path: text that is known before anything runs.
    fn text(&mut self, e: &Expr, env: &Env) -> Result<Arc<str>> {
        let id = self.expr(e, env)?;
        match self.graph.constant(id) {
            Some(Const::Text(text)) => Ok(text.clone()),
            _ => Err(self.fail(
                Diagnostic::error(Code::E0330, e.span, "a path must be known before the run", "depends on a result")
                    .help("write the path as a literal or from params"),
            )),
        }
    }

    /// A declaration of the entry program by name.
    pub fn named(&mut self, name: &str) -> Option<std::result::Result<NodeId, Abort>> {
        let index = self.module(self.program.entry).globals.iter().position(|g| &*g.name == name)?;
        Some(self.global(self.entry(), index))
    }

    /// Applies a closure to arguments.
    pub fn apply(&mut self, closure: NodeId, args: &[NodeId], span: Span) -> Result<NodeId> {
        let node = self.graph.node(closure).clone();
        match &node.op {
            Op::Closure(c) => {
                let mut env = c.env.clone();
                for (param, arg) in c.body.params().iter().zip(args) {
                    env.bind(param.local, *arg);
                }
                self.deeper(span, |me| me.expr(c.body.expr(), &env))
            }
            Op::NumericClosure(code) => {
                let inputs = node.inputs.iter().chain(args).copied().collect();
                let ty = code.result.clone();
                self.numeric_node(code.clone(), inputs, ty, span)
            }
            // What an argument that stands in for a function will give is a stand-in too.
            _ if node.hypothetical => {
                let Ty::Fn(function) = &node.ty else { return Err(Abort) };
                let inputs = [closure].into_iter().chain(args.iter().copied()).collect();
                Ok(self.graph.add(Op::Hypothesis, inputs, function.result.clone(), span, None).0)
            }
            _ => Err(self.fail(
                Diagnostic::error(
                    Code::E0331,
                    span,
                    "which function is called must be known before the run",
                    "depends on a result",
                )
                .help("choose between values instead of functions"),
            )),
        }
    }

    /// The body of a closure applied to stand-ins: what each call of it will do.
    pub fn probe(&self, closure: NodeId) -> Option<NodeId> {
        self.probes.get(&closure).copied().flatten()
    }

    /// Adds a plain value.
    pub fn add_const(&mut self, value: Const, ty: Ty) -> NodeId {
        self.graph.add_const(value, ty, Span::default())
    }

    /// Adds a value that the runtime holds, under its key.
    pub fn add_given(&mut self, key: Key, ty: Ty, fact: Option<Fact>) -> NodeId {
        self.graph.add_given(key, ty, fact)
    }

    /// Records a diagnostic.
    pub(crate) fn fail(&mut self, diagnostic: Diagnostic) -> Abort {
        if !self.diagnostics.contains(&diagnostic) {
            self.diagnostics.push(diagnostic);
        }
        Abort
    }

    fn module(&self, id: ModuleId) -> &crate::hir::Module {
        &self.program.modules[id.0 as usize]
    }

    fn instance_mut(&mut self, id: InstanceId) -> &mut Instance {
        &mut self.instances[id.0 as usize]
    }

    pub(crate) fn declaration(&self, instance: InstanceId, index: usize) -> &Global {
        &self.module(self.instances[instance.0 as usize].module).globals[index]
    }

    pub(crate) fn seed(&self, instance: InstanceId) -> NodeId {
        self.instances[instance.0 as usize].seed
    }

    pub(crate) fn instance_key(&self, instance: InstanceId) -> Key {
        self.instances[instance.0 as usize].key
    }

    fn add_instance(&mut self, module: ModuleId, args: BTreeMap<usize, NodeId>, seed: NodeId) -> InstanceId {
        let mut h = Hasher::new("instance");
        h.number(u64::from(module.0)).key(&self.graph.node(seed).key);
        for (index, id) in &args {
            h.number(*index as u64).key(&self.graph.node(*id).key);
        }
        let key = h.finish();
        if let Some(id) = self.by_key.get(&key) {
            return *id;
        }
        let memo = self.module(module).globals.iter().map(|_| Slot::Todo).collect();
        let id = InstanceId(self.instances.len() as u32);
        self.instances.push(Instance { module, args, seed, key, memo, functions: BTreeMap::new() });
        self.by_key.insert(key, id);
        id
    }

    /// A declaration's value, elaborated once.
    pub(crate) fn global(&mut self, instance: InstanceId, index: usize) -> Result<NodeId> {
        match self.instances[instance.0 as usize].memo[index] {
            Slot::Done(id) => return Ok(id),
            Slot::Failed | Slot::Busy => return Err(Abort),
            Slot::Todo => {}
        }
        self.instance_mut(instance).memo[index] = Slot::Busy;
        let span = self.declaration(instance, index).name_span;
        let result = self.deeper(span, |me| me.evaluate(instance, index));
        self.instance_mut(instance).memo[index] = match result {
            Ok(id) => Slot::Done(id),
            Err(Abort) => Slot::Failed,
        };
        result
    }

    fn evaluate(&mut self, instance: InstanceId, index: usize) -> Result<NodeId> {
        let global = self.declaration(instance, index).clone();
        let env = Env::new(instance);
        let id = match &global.kind {
            GlobalKind::Param { default, domain } => {
                self.param(instance, index, &global, default.as_ref(), domain.as_ref())?
            }
            GlobalKind::Value(value) => self.expr(value, &env)?,
            GlobalKind::Function(function) => self.closure(
                Body::Function(function.clone()),
                env,
                Some(global.name.clone()),
                global.ty.clone(),
                global.name_span,
            )?,
            GlobalKind::Use(module) => self.used(instance, *module, &global)?,
            GlobalKind::Genome(genome) => {
                let space = self.space(&global.name, genome, &env)?;
                self.graph.add_const(Const::Space(space.into()), global.ty.clone(), global.name_span)
            }
            _ => return Err(Abort),
        };
        if self.graph.constant(id).is_none() {
            self.graph.set_label(id, &global.name);
        }
        Ok(id)
    }

    fn param(
        &mut self,
        instance: InstanceId,
        index: usize,
        global: &Global,
        default: Option<&Expr>,
        domain: Option<&crate::hir::Domain>,
    ) -> Result<NodeId> {
        let given = self.instances[instance.0 as usize].args.get(&index).copied();
        let is_seed = &*global.name == "seed";
        let id = match (given, default) {
            (Some(id), _) => id,
            (None, _) if is_seed && (instance != self.entry() || self.options.seed.is_some()) => self.seed(instance),
            (None, Some(default)) => self.expr(default, &Env::new(instance))?,
            (None, None) => {
                return Err(self.fail(
                    Diagnostic::error(
                        Code::E0333,
                        global.name_span,
                        format!("param `{}` is not set", global.name),
                        "has no default",
                    )
                    .note(format!("its type is `{}`", global.ty))
                    .help(format!("set it: `--set {}=…`", global.name)),
                ));
            }
        };
        if let Some(domain) = domain {
            self.check_domain(id, domain, global, &Env::new(instance))?;
        }
        Ok(id)
    }

    /// The identity of a declared function: one walk an instance.
    pub(crate) fn function_key(&mut self, instance: InstanceId, index: usize, function: &Arc<Function>) -> Result<Key> {
        if let Some(key) = self.instances[instance.0 as usize].functions.get(&index) {
            return Ok(*key);
        }
        let key = Walk::body(self, &Body::Function(function.clone()), &Env::new(instance))?;
        self.instance_mut(instance).functions.insert(index, key);
        Ok(key)
    }

    /// A closure's node. Numeric bodies are compiled; others are unfolded once with stand-ins, to be checked.
    pub(crate) fn closure(
        &mut self,
        body: Body,
        env: Env,
        name: Option<Arc<str>>,
        ty: Ty,
        span: Span,
    ) -> Result<NodeId> {
        if let Some(id) = self.numeric_closure(&body, &env, &ty, span)? {
            return Ok(id);
        }
        let fingerprint = Walk::body(self, &body, &env)?;
        let op = Op::Closure(Arc::new(Closure { body: body.clone(), env: env.clone(), fingerprint, name }));
        let (id, fresh) = self.graph.add(op, Vec::new(), ty, span, None);
        if fresh {
            self.probes.insert(id, None);
            let mut inner = env;
            for (i, param) in body.params().iter().enumerate() {
                let arg = self.hypothesis(&param.ty, i, span);
                inner.bind(param.local, arg);
            }
            let probe = self.deeper(span, |me| me.expr(body.expr(), &inner)).ok();
            if probe.is_some_and(|body| self.graph.node(body).local) {
                self.graph.set_local(id);
            }
            self.probes.insert(id, probe);
        }
        Ok(id)
    }

    /// A stand-in for the `i`th argument.
    pub(crate) fn hypothesis(&mut self, ty: &Ty, i: usize, span: Span) -> NodeId {
        let salt = Key::of("hypothesis", &[ty.to_string().as_bytes(), &i.to_le_bytes()]);
        self.graph.add(Op::Hypothesis, Vec::new(), ty.clone(), span, Some(&salt)).0
    }

    /// Goes one declaration or call further in, with stack enough, up to a limit.
    pub(crate) fn deeper<T>(&mut self, span: Span, f: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth == 0 {
            self.planned = 0;
        }
        if self.depth >= DEPTH_LIMIT {
            let title = format!("calls and declarations lead to one another more than {DEPTH_LIMIT} deep");
            return Err(self.fail(
                Diagnostic::error(Code::E0110, span, title, "too deep")
                    .help("let fewer of them stand between a value and what it is made from"),
            ));
        }
        self.depth += 1;
        let result = crate::syntax::deep(|| f(self));
        self.depth -= 1;
        result
    }
}
