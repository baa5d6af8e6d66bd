//! The engine that runs a script on symbols.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rhai::packages::{ArithmeticPackage, LogicPackage, Package};
use rhai::{AST, Array, CallFnOptions, Dynamic, Engine, EvalAltResult, Scope};

use super::graph::{Graph, Id, Op};
use super::natives::{self, Number};
use super::refuse::{self, Refusal};
use super::{Job, Limits, Rejected, Traced, Verdict, print, too_long};
use crate::clock::Stopwatch;

/// Steps between two looks at the clock.
const LOOK: u64 = 64;

/// Words of rhai that a loss does not need, and by which a script could hide what stopped it, run text as code, or hold
/// what has no bounds: growth of maps by index passes by the engine's own limits.
const WITHOUT: &[&str] = &["eval", "import", "export", "try", "catch", "switch", "Fn", "call", "curry", "#{"];

/// What a running script and the natives share.
#[derive(Debug)]
pub(super) struct Trace {
    pub(super) graph: Graph,
    clock: Stopwatch,
    limits: Limits,
}

impl Trace {
    /// What the script may take.
    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }
}

/// The trace of the script at hand.
pub(super) type Shared = Arc<Mutex<Trace>>;

/// The trace, for one caller at a time.
pub(super) fn lock(trace: &Shared) -> MutexGuard<'_, Trace> {
    trace.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs scripts on symbols, one after another: the engine is built once.
pub struct Tracer {
    engine: Engine,
    trace: Shared,
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracer").finish_non_exhaustive()
    }
}

impl Default for Tracer {
    fn default() -> Tracer {
        Tracer::new()
    }
}

impl Tracer {
    /// Builds the engine.
    pub fn new() -> Tracer {
        let trace = Trace { graph: Graph::default(), clock: Stopwatch::start(), limits: Limits::default() };
        let trace = Arc::new(Mutex::new(trace));
        let mut engine = Engine::new_raw();
        ArithmeticPackage::new().register_into_engine(&mut engine);
        LogicPackage::new().register_into_engine(&mut engine);
        // The engine's own operators would not ask ours, which refuse to divide whole numbers.
        engine.set_fast_operators(false).set_strict_variables(true);
        engine.set_allow_anonymous_fn(false).set_fail_on_invalid_map_property(true);
        for word in WITHOUT {
            engine.disable_symbol(*word);
        }
        engine.on_print(|_| ()).on_debug(|_, _, _| ());
        let watched = trace.clone();
        engine.on_progress(move |steps| {
            if steps % LOOK != 0 {
                return None;
            }
            let trace = lock(&watched);
            let is_over = trace.clock.seconds() * 1e3 > trace.limits.tracing_ms as f64;
            is_over.then(|| Dynamic::from(Refusal::time(trace.limits.tracing_ms)))
        });
        natives::register(&mut engine, &trace);
        Tracer { engine, trace }
    }

    /// One that knows `boom`, too.
    #[cfg(test)]
    pub(crate) fn with_a_native_that_panics() -> Tracer {
        let mut tracer = Tracer::new();
        tracer.engine.register_fn("boom", || -> f64 { panic!("boom") });
        tracer
    }

    /// Traces a script within its limits but for memory, which only a process of its own bounds.
    pub fn trace(&mut self, job: &Job) -> Verdict {
        match self.traced(job) {
            Ok(traced) => Verdict::Traced(traced),
            Err(rejected) => Verdict::Rejected(rejected),
        }
    }

    fn traced(&mut self, job: &Job) -> Result<Traced, Rejected> {
        if let Some(rejected) = too_long(job) {
            return Err(rejected);
        }
        self.limit(&job.limits);
        let mut scope = Scope::new();
        let mut symbols = Vec::with_capacity(job.inputs.len());
        {
            let mut trace = lock(&self.trace);
            trace.graph.clear(job.limits.nodes);
            trace.clock = Stopwatch::start();
            trace.limits = job.limits;
            for (i, input) in job.inputs.iter().enumerate() {
                let id = trace.graph.add(Op::Input(i as u32), &[]).map_err(|_| refuse::nodes(job.limits.nodes))?;
                symbols.push(Number(id));
                scope.push(input.as_str(), Number(id));
            }
        }
        let ast = self.engine.compile_with_scope(&scope, &job.script).map_err(|error| refuse::parsing(&error))?;
        let value = self.value(&ast, &mut scope, job, &symbols)?;
        self.finished(job, value)
    }

    fn limit(&mut self, limits: &Limits) {
        self.engine
            .set_max_operations(limits.operations)
            .set_max_call_levels(limits.calls)
            .set_max_expr_depths(limits.depth, limits.depth)
            .set_max_functions(limits.functions)
            .set_max_variables(limits.variables)
            .set_max_string_size(limits.text)
            .set_max_array_size(limits.array)
            .set_max_map_size(1);
    }

    /// What the script comes to: its last expression, or, where it only declares functions, what the one of them gives
    /// that is called `loss`, or that is alone.
    fn value(&self, ast: &AST, scope: &mut Scope<'_>, job: &Job, symbols: &[Number]) -> Result<Dynamic, Rejected> {
        let told = |error: Box<EvalAltResult>| refuse::evaluation(&error, &job.limits);
        let value: Dynamic = self.engine.eval_ast_with_scope(scope, ast).map_err(told)?;
        if !value.is_unit() {
            return Ok(value);
        }
        let functions: Vec<_> = ast.iter_functions().collect();
        let function = match functions.as_slice() {
            [one] => one,
            several => several.iter().find(|f| f.name == "loss").ok_or_else(refuse::nothing)?,
        };
        let symbol = |name: &&str| {
            let at = job.inputs.iter().position(|input| input == name);
            at.and_then(|at| symbols.get(at)).map(|symbol| Dynamic::from(*symbol))
        };
        let args: Result<Vec<Dynamic>, Rejected> = function
            .params
            .iter()
            .map(|name| symbol(name).ok_or_else(|| refuse::parameter(function.name, name, &job.inputs)))
            .collect();
        let options = CallFnOptions::new().eval_ast(false);
        self.engine.call_fn_with_options(options, scope, ast, function.name, args?).map_err(told)
    }

    /// The loss that a value is.
    fn finished(&self, job: &Job, value: Dynamic) -> Result<Traced, Rejected> {
        let roots = self.roots(value)?;
        let trace = lock(&self.trace);
        let (source, read) = print::declaration(&job.name, &trace.graph, &roots, &job.inputs);
        if read.is_empty() {
            return Err(refuse::constant());
        }
        let inputs = read.into_iter().filter_map(|i| job.inputs.get(i).cloned()).collect();
        Ok(Traced { source, inputs, nodes: trace.graph.reached(&roots).len() })
    }

    /// One node, or one for each of the two answers.
    fn roots(&self, value: Dynamic) -> Result<Vec<Id>, Rejected> {
        let node = |value: &Dynamic| natives::node(&self.trace, value).map_err(|refusal| refusal.0);
        let Some(array) = value.read_lock::<Array>() else { return Ok(vec![node(&value)?]) };
        match array.as_slice() {
            [chosen, rejected] => Ok(vec![node(chosen)?, node(rejected)?]),
            other => Err(refuse::length(other.len())),
        }
    }
}
