//! What a script can do with a symbol: operators, comparisons and the functions that losses are made of. Each is one node
//! of the trace.
//!
//! Plain numbers are computed as the script computes them; the functions are not: `exp(1.0)` is a node as well, so that its
//! bits are those of `.evo`, on every machine.

use rhai::{Dynamic, Engine, EvalAltResult};

use super::engine::{Shared, Trace, lock};
use super::graph::{Binary, Full, Id, Op};
use super::refuse::Refusal;

/// A number that differs from row to row, or that `.evo` computes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number(pub(super) Id);

/// A comparison of such numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Condition(pub(super) Id);

type Made<T> = Result<T, Box<EvalAltResult>>;

/// Functions of one number: their name in a script and in `.evo`.
const UNARY: &[(&str, &str)] = &[
    ("abs", "abs"),
    ("batch_mean", "batch_mean"),
    ("batch_sd", "batch_sd"),
    ("batch_sort", "batch_sort"),
    ("batch_std", "batch_sd"),
    ("batch_var", "batch_var"),
    ("ceil", "ceil"),
    ("cos", "cos"),
    ("detach", "detach"),
    ("erf", "erf"),
    ("exp", "exp"),
    ("floor", "floor"),
    ("ln", "log"),
    ("log", "log"),
    ("log_sigmoid", "log_sigmoid"),
    ("logsigmoid", "log_sigmoid"),
    ("relu", "relu"),
    ("round", "round"),
    ("sigmoid", "sigmoid"),
    ("sign", "sign"),
    ("sin", "sin"),
    ("softplus", "softplus"),
    ("sqrt", "sqrt"),
    ("tanh", "tanh"),
];

/// A number in a script: a symbol, or a plain one.
trait Operand: Clone + Send + Sync + 'static {
    fn id(self, trace: &mut Trace) -> Result<Id, Refusal>;
}

impl Operand for Number {
    fn id(self, _: &mut Trace) -> Result<Id, Refusal> {
        Ok(self.0)
    }
}

impl Operand for f64 {
    fn id(self, trace: &mut Trace) -> Result<Id, Refusal> {
        match self.is_finite() {
            true => trace.add(Op::Number(self.to_bits()), &[]),
            false => Err(Refusal::infinite(self)),
        }
    }
}

impl Operand for i64 {
    fn id(self, trace: &mut Trace) -> Result<Id, Refusal> {
        (self as f64).id(trace)
    }
}

/// A condition in a script: of symbols, or a plain one.
trait Truth: Clone + Send + Sync + 'static {
    fn id(self, trace: &mut Trace) -> Result<Id, Refusal>;
}

impl Truth for Condition {
    fn id(self, _: &mut Trace) -> Result<Id, Refusal> {
        Ok(self.0)
    }
}

impl Truth for bool {
    fn id(self, trace: &mut Trace) -> Result<Id, Refusal> {
        trace.add(Op::Truth(self), &[])
    }
}

impl Trace {
    fn add(&mut self, op: Op, reads: &[Id]) -> Result<Id, Refusal> {
        let most = self.limits().nodes;
        self.graph.add(op, reads).map_err(|Full| Refusal::nodes(most))
    }
}

/// The node that a value is.
pub(super) fn node(trace: &Shared, value: &Dynamic) -> Result<Id, Refusal> {
    of(&mut lock(trace), value)
}

fn of(trace: &mut Trace, value: &Dynamic) -> Result<Id, Refusal> {
    let value = value.flatten_clone();
    if let Some(number) = value.clone().try_cast::<Number>() {
        return Ok(number.0);
    }
    match (value.as_float(), value.as_int()) {
        (Ok(x), _) => x.id(trace),
        (_, Ok(x)) => x.id(trace),
        _ => Err(Refusal::no_number(value.type_name())),
    }
}

/// Makes all of it known to an engine.
pub(super) fn register(engine: &mut Engine, trace: &Shared) {
    for (name, evo) in UNARY {
        unary::<Number>(engine, trace, name, Op::Call(evo));
        unary::<f64>(engine, trace, name, Op::Call(evo));
        unary::<i64>(engine, trace, name, Op::Call(evo));
    }
    unary::<Number>(engine, trace, "-", Op::Negate);
    engine.register_fn("+", |x: Number| x);
    let sums = [("+", Binary::Add), ("-", Binary::Sub), ("*", Binary::Mul), ("/", Binary::Div)];
    for (name, op) in sums {
        mixed(engine, trace, name, Op::Binary(op));
    }
    for (name, op) in
        [("**", Op::Binary(Binary::Pow)), ("pow", Op::Call("pow")), ("min", Op::Call("min")), ("max", Op::Call("max"))]
    {
        mixed(engine, trace, name, op);
        plain(engine, trace, name, op);
    }
    comparisons(engine, trace);
    choices(engine, trace);
    refusals(engine);
    engine.register_fn("PI", || std::f64::consts::PI);
}

fn unary<T: Operand>(engine: &mut Engine, trace: &Shared, name: &str, op: Op) {
    let trace = trace.clone();
    engine.register_fn(name, move |x: T| -> Made<Number> {
        let mut trace = lock(&trace);
        let made = x.id(&mut trace).and_then(|x| trace.add(op, &[x]));
        made.map(Number).map_err(Refusal::ended)
    });
}

fn binary<A: Operand, B: Operand>(engine: &mut Engine, trace: &Shared, name: &str, op: Op) {
    let trace = trace.clone();
    engine.register_fn(name, move |a: A, b: B| -> Made<Number> {
        pair(&mut lock(&trace), op, a, b).map(Number).map_err(Refusal::ended)
    });
}

fn pair<A: Operand, B: Operand>(trace: &mut Trace, op: Op, a: A, b: B) -> Result<Id, Refusal> {
    let (a, b) = (a.id(trace)?, b.id(trace)?);
    trace.add(op, &[a, b])
}

/// A function of two numbers of which one at least is a symbol.
fn mixed(engine: &mut Engine, trace: &Shared, name: &str, op: Op) {
    binary::<Number, Number>(engine, trace, name, op);
    binary::<Number, f64>(engine, trace, name, op);
    binary::<f64, Number>(engine, trace, name, op);
    binary::<Number, i64>(engine, trace, name, op);
    binary::<i64, Number>(engine, trace, name, op);
}

/// The same of two plain numbers.
fn plain(engine: &mut Engine, trace: &Shared, name: &str, op: Op) {
    binary::<f64, f64>(engine, trace, name, op);
    binary::<f64, i64>(engine, trace, name, op);
    binary::<i64, f64>(engine, trace, name, op);
    binary::<i64, i64>(engine, trace, name, op);
}

fn comparisons(engine: &mut Engine, trace: &Shared) {
    fn compare<A: Operand, B: Operand>(engine: &mut Engine, trace: &Shared, name: &str, op: Op) {
        let trace = trace.clone();
        engine.register_fn(name, move |a: A, b: B| -> Made<Condition> {
            pair(&mut lock(&trace), op, a, b).map(Condition).map_err(Refusal::ended)
        });
    }
    let words = [
        ("<", Binary::Lt),
        ("<=", Binary::Le),
        (">", Binary::Gt),
        (">=", Binary::Ge),
        ("==", Binary::Eq),
        ("!=", Binary::Ne),
    ];
    for (name, op) in words {
        let op = Op::Binary(op);
        compare::<Number, Number>(engine, trace, name, op);
        compare::<Number, f64>(engine, trace, name, op);
        compare::<f64, Number>(engine, trace, name, op);
        compare::<Number, i64>(engine, trace, name, op);
        compare::<i64, Number>(engine, trace, name, op);
    }
}

fn choices(engine: &mut Engine, trace: &Shared) {
    fn join<A: Truth, B: Truth>(engine: &mut Engine, trace: &Shared, name: &str, op: Op) {
        let trace = trace.clone();
        engine.register_fn(name, move |a: A, b: B| -> Made<Condition> {
            let mut trace = lock(&trace);
            let both = a.id(&mut trace).and_then(|a| Ok((a, b.id(&mut trace)?)));
            both.and_then(|(a, b)| trace.add(op, &[a, b])).map(Condition).map_err(Refusal::ended)
        });
    }
    for (name, op) in [("&", Op::Binary(Binary::And)), ("|", Op::Binary(Binary::Or))] {
        join::<Condition, Condition>(engine, trace, name, op);
        join::<Condition, bool>(engine, trace, name, op);
        join::<bool, Condition>(engine, trace, name, op);
    }
    let shared = trace.clone();
    engine.register_fn("!", move |c: Condition| -> Made<Condition> {
        lock(&shared).add(Op::Not, &[c.0]).map(Condition).map_err(Refusal::ended)
    });
    let shared = trace.clone();
    engine.register_fn("where", move |c: Dynamic, a: Dynamic, b: Dynamic| -> Made<Number> {
        choose(&mut lock(&shared), &c, &a, &b).map(Number).map_err(Refusal::ended)
    });
    let shared = trace.clone();
    engine.register_fn("clamp", move |x: Dynamic, lo: Dynamic, hi: Dynamic| -> Made<Number> {
        let mut trace = lock(&shared);
        let args = [of(&mut trace, &x), of(&mut trace, &lo), of(&mut trace, &hi)];
        let [x, lo, hi] = args;
        let made = x.and_then(|x| Ok([x, lo?, hi?])).and_then(|args| trace.add(Op::Call("clamp"), &args));
        made.map(Number).map_err(Refusal::ended)
    });
}

/// One of two numbers, row by row; at once where the condition is a plain one.
fn choose(trace: &mut Trace, c: &Dynamic, a: &Dynamic, b: &Dynamic) -> Result<Id, Refusal> {
    let (a, b) = (of(trace, a)?, of(trace, b)?);
    if let Ok(holds) = c.as_bool() {
        return Ok(if holds { a } else { b });
    }
    match c.flatten_clone().try_cast::<Condition>() {
        Some(condition) => trace.add(Op::Call("where"), &[condition.0, a, b]),
        None => Err(Refusal::no_condition(c.type_name())),
    }
}

/// What would go wrong in silence.
fn refusals(engine: &mut Engine) {
    engine.register_fn("/", |_: i64, _: i64| -> Made<i64> { Err(Refusal::division().ended()) });
    engine.register_fn("/=", |_: &mut i64, _: i64| -> Made<()> { Err(Refusal::division().ended()) });
    engine.register_fn("%", |_: i64, _: i64| -> Made<i64> { Err(Refusal::division().ended()) });
    engine.register_fn("%=", |_: &mut i64, _: i64| -> Made<()> { Err(Refusal::division().ended()) });
    // Exclusive or, which its author takes for a power.
    engine.register_fn("^", |_: i64, _: i64| -> Made<i64> { Err(Refusal::power().ended()) });
    engine.register_fn("^", |_: Number, _: Dynamic| -> Made<Number> { Err(Refusal::power().ended()) });
    engine.register_fn("^", |_: Dynamic, _: Number| -> Made<Number> { Err(Refusal::power().ended()) });
    engine.register_fn("^", |_: f64, _: Dynamic| -> Made<Number> { Err(Refusal::power().ended()) });
}
