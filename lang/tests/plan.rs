//! The plan: identity by content, folding of what is known, params, programs in programs, lists that the run cuts short.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail loudly")]

use std::sync::{Arc, Mutex};

use evo_lang::diag::render_all;
use evo_lang::library::Library;
use evo_lang::plan::{Answer, Call, Const, Elaborator, Fact, Host, Key, NodeId, Op, Options, Problem};
use evo_lang::span::Span;

/// Knows how many layers a model has, and which files were asked for.
#[derive(Default)]
struct Known {
    read: Mutex<Vec<String>>,
}

impl Host for Known {
    fn call(&self, call: &Call<'_>, _: &mut Vec<Problem>) -> Answer {
        match &*call.ext().name {
            "llama_tiny" => match call.arg("layers").and_then(|l| l.constant()?.as_int()) {
                Some(layers) => Answer::Fact(Arc::new(layers)),
                None => Answer::Unknown,
            },
            "layers" => match call.arg("m").and_then(|m| m.fact::<i64>().copied()) {
                Some(layers) => Answer::Known(Const::Int(layers)),
                None => Answer::Unknown,
            },
            "hf" | "jsonl" => {
                let path = call.args().next().and_then(|p| p.constant()?.as_text().cloned());
                self.read.lock().unwrap().extend(path.map(|p| p.to_string()));
                Answer::Unknown
            }
            _ => Answer::Unknown,
        }
    }

    fn field(&self, _: &Fact, _: &str) -> Answer {
        Answer::Unknown
    }
}

struct Plan {
    elaborator: Elaborator,
    errors: Vec<String>,
    read: Vec<String>,
}

/// What programs of these tests begin with.
const HEAD: &str = "model m = llama_tiny { layers: 3 }\n\
    data d = word_problems { language: \"en\", left: 1..9, right: 1..9, count: 20 }\n\
    task t = likelihood { data: d, prompt: \"{question}\", expected: \"{answer}\" }\n";

fn library() -> &'static Library {
    static LIBRARY: std::sync::OnceLock<Library> = std::sync::OnceLock::new();
    LIBRARY.get_or_init(|| Library::parse(&[("test", include_str!("library.evo"))]).0)
}

/// The plan of a program; `files` are what it uses.
fn plan_with(text: &str, files: &[(&str, &str)], options: Options) -> Plan {
    let load = |path: &str| {
        let found = files.iter().find(|(name, _)| *name == path);
        found.map(|(_, text)| (*text).to_owned()).ok_or_else(|| "no such file".to_owned())
    };
    let checked = evo_lang::check("main.evo", text, library(), &load);
    assert!(!checked.has_errors(), "{}", render_all(&checked.diagnostics, &checked.sources, false));
    let host = Arc::new(Known::default());
    let mut elaborator = Elaborator::new(Arc::new(checked.program), host.clone(), options);
    let _ = elaborator.requests();
    let errors = elaborator.take_diagnostics().iter().map(|d| format!("{} {}", d.code, d.title)).collect();
    let read = host.read.lock().unwrap().clone();
    Plan { elaborator, errors, read }
}

fn plan(text: &str) -> Plan {
    let plan = plan_with(text, &[], Options::default());
    assert_eq!(plan.errors, [""; 0]);
    plan
}

impl Plan {
    fn id(&mut self, name: &str) -> NodeId {
        self.elaborator.named(name).unwrap().unwrap_or_else(|_| panic!("{name}: {:?}", self.errors))
    }

    fn key(&mut self, name: &str) -> Key {
        let id = self.id(name);
        self.elaborator.graph().node(id).key
    }

    fn value(&mut self, name: &str) -> Const {
        let id = self.id(name);
        self.elaborator.graph().constant(id).cloned().unwrap_or_else(|| panic!("{name} is not known"))
    }
}

fn key(text: &str) -> Key {
    plan(&format!("{HEAD}{text}")).key("x")
}

const TUNED: &str =
    "fn tuned(base: Model, n: int) -> Model = train { start: base, on: d, steps: 2 * n }\nmodel x = tuned(m, 5)";

#[test]
fn functions_take_functions() {
    let mut plan = plan(
        "fn twice(f: (real) -> real, x: real) -> real = f(f(x))\n\
         fn halved(f: (real) -> real, x: real) -> real = twice(f, x) / 2\n\
         fn both(f: (real) -> real, xs: real[2]) -> real = f(xs[0]) + f(xs[1])\n\
         fn all(f: (real) -> real, xs: [real]) -> [real] = [f(x) for x in xs]\n\
         let a = twice(x => x + 1, 2)\nlet b = halved(x => 3 * x, 1)\nlet c = both(x => x ^ 2, [1, 2])\nlet d = all(x => x ^ 2, [1, 3])[1]",
    );
    for (name, value) in [("a", 4.0), ("b", 4.5), ("c", 5.0), ("d", 9.0)] {
        assert_eq!(plan.value(name).as_real(), Some(value), "{name}");
    }
}

#[test]
fn identity_does_not_see_how_a_program_is_written() {
    let same = |a: &str, b: &str| assert_eq!(key(a), key(b), "{a}\n{b}");
    same(TUNED, &format!("// a comment\n/// and a doc\n{TUNED}"));
    same(TUNED, &TUNED.replace(" = ", "   =\n    "));
    same(TUNED, &TUNED.replace("base", "start_from").replace(", n:", ", half:").replace("* n", "* half"));
    same(TUNED, &TUNED.replace("tuned", "made"));
    same(TUNED, "model x = train(m, d, steps: 10)");
    same(TUNED, "model x = train { steps: 3 + 7, on: d, start: m }");
    same(TUNED, &format!("let unused = score(m, t)\n{TUNED}"));
    same("fitness x(k: int) = score(m, t) * k", "fitness x(n: int) = score(m, t) * n");
    same(
        "fn x(q: Model) -> real { let a = score(q, t)  a + 1 }",
        "fn x(model: Model) -> real {\n  let b = score(model, t)\n  b + 1 }",
    );
}

#[test]
fn a_device_and_lowered_effort_give_everything_an_identity_of_its_own() {
    let text = format!("{HEAD}let x = score(m, t)");
    let key = |(device, tiny): (Option<&str>, bool)| {
        let options = Options { device: device.map(Into::into), tiny, ..Options::default() };
        plan_with(&text, &[], options).key("x")
    };
    let ways = [(None, false), (None, true), (Some("cuda"), false), (Some("metal"), false), (Some("cuda"), true)];
    let keys = ways.map(key);
    for (i, one) in keys.iter().enumerate() {
        assert!(!keys[..i].contains(one), "{:?}", ways[i]);
    }
    assert_eq!(key(ways[2]), keys[2]);
}

#[test]
fn identity_sees_each_term() {
    let differ = |a: &str, b: &str| assert_ne!(key(a), key(b), "{a}\n{b}");
    differ(TUNED, &TUNED.replace("2 * n", "3 * n"));
    differ(TUNED, &TUNED.replace("(m, 5)", "(m, 6)"));
    differ(TUNED, &TUNED.replace("(m, 5)", "(llama_tiny { layers: 2 }, 5)"));
    differ("model x = llama_tiny { seed: 1 }", "model x = llama_tiny { seed: 2 }");
    differ("model x = linear { models: [m, m] }", "model x = slerp { a: m, b: m }");
    differ(
        "model x = linear { models: [m, m], weight: [w => 1, w => 0.5] }",
        "model x = linear { models: [m, m], weight: [w => 1, w => 0.25] }",
    );
    differ("fn x(q: Model) -> real = score(q, t) + 1", "fn x(q: Model) -> real = score(q, t) + 2");
    differ("fn x(a: Model, b: Model) -> real = score(a, t)", "fn x(a: Model, b: Model) -> real = score(b, t)");
    let calls = |k: i32| format!("fn g(q: Model) -> real = score(q, t) * {k}\nfn x(q: Model) -> real = g(q)");
    differ(&calls(2), &calls(3));
    let reads = |k: i32| format!("let k = {k}\nfn x(q: Model) -> real = score(q, t) * k");
    differ(&reads(2), &reads(3));
}

#[test]
fn a_seed_enters_what_draws_and_nothing_else() {
    let text =
        format!("{HEAD}let n = layers(m)\nmodel own = llama_tiny {{ seed: 5 }}\nlet scored = score(own, t, seed: 1)");
    let with = |seed| plan_with(&text, &[], Options { seed: Some(seed), ..Options::default() });
    let (mut one, mut two) = (with(1), with(2));
    for name in ["n", "own"] {
        assert_eq!(one.key(name), two.key(name), "{name} draws nothing");
    }
    for name in ["m", "d", "t", "scored"] {
        assert_ne!(one.key(name), two.key(name), "{name} draws, or its input does");
    }
    let mut declared = plan(&format!("param seed: int = 2\n{text}"));
    assert_eq!(declared.key("m"), two.key("m"));
}

#[test]
fn params_enter_only_what_reads_them() {
    let text = format!(
        "param steps: int in 1..=50 = 10\n{HEAD}train x {{ start: m, on: d, steps: steps }}\nlet y = score(m, t)"
    );
    let with = |steps| {
        let params = [("steps".to_owned(), Const::Int(steps))].into_iter().collect();
        plan_with(&text, &[], Options { params, ..Options::default() })
    };
    let (mut ten, mut twenty, mut unset) = (with(10), with(20), plan(&text));
    assert_eq!(ten.key("x"), unset.key("x"));
    assert_ne!(ten.key("x"), twenty.key("x"));
    assert_eq!(ten.key("y"), twenty.key("y"));
    assert_eq!(twenty.value("steps"), Const::Int(20));
    assert_eq!(with(51).errors, ["E0336 param `steps` is 51, outside 1 to 50"]);
}

#[test]
fn a_changed_term_changes_the_input_it_is_named_by() {
    let inputs = |text: &str| {
        let mut plan = plan(&format!("{HEAD}{text}"));
        let id = plan.id("x");
        let node = plan.elaborator.graph().node(id).clone();
        let Op::Extern(ext) = &node.op else { panic!("{text} is no call") };
        let keys = node.inputs.iter().map(|i| plan.elaborator.graph().node(*i).key);
        ext.params.iter().map(|p| p.name.to_string()).zip(keys).collect::<Vec<_>>()
    };
    let before = inputs("train x { start: m, on: d, steps: 10, rate: 0.5 }");
    let after = inputs("train x { start: m, on: d, steps: 20, rate: 0.5 }");
    let changed: Vec<&str> = before.iter().zip(&after).filter(|(a, b)| a.1 != b.1).map(|(a, _)| a.0.as_str()).collect();
    assert_eq!(changed, ["steps"]);
}

#[test]
fn a_limit_extends_a_search_without_drawing_anew() {
    let search = |n: i32, sigma: f64| {
        let text = format!(
            "genome G {{ k: real in 0..1 }}\nfitness f(g: G) = -g.k\n\
             evolve x {{ maximize: f, by: cma_es {{ sigma: {sigma} }}, stop: {{ evaluations: {n} }} }}"
        );
        let mut plan = plan(&text);
        let id = plan.id("x");
        let node = plan.elaborator.graph().node(id).clone();
        (node.key, node.draw_key)
    };
    let (short, long, other) = (search(10, 0.5), search(20, 0.5), search(10, 0.25));
    assert_ne!(short.0, long.0);
    assert_eq!(short.1, long.1);
    assert_ne!(short.1, other.1);
}

#[test]
fn what_is_known_is_folded() {
    let mut plan = plan(&format!(
        "{HEAD}let n = 2 * layers(m) + 1
let weights = [0.5 ^ k for k in 0..layers(m)]
let path = \"models/\" + \"a\"
let big = if n > 6 then \"big\" else \"small\"
let odd = [k for k in 0..n if rem(k, 2) == 1]
let pairs = [a * b for (a, b) in zip(odd, [1, 10, 100])]
let record = {{ a: [1, 2], b: (true, 0.5) }}
let part = record.b[1] + record.a[1]
let time = 90s * 2
fn plus(x: int, y: int = 3) -> int = x + y
let called = plus(n) + plus(1, y: 1)"
    ));
    let int = |i| Const::Int(i);
    assert_eq!(plan.value("n"), int(7));
    assert_eq!(plan.value("weights"), Const::List([1.0, 0.5, 0.25].map(Const::Real).into()));
    assert_eq!(plan.value("path"), Const::Text("models/a".into()));
    assert_eq!(plan.value("big"), Const::Text("big".into()));
    assert_eq!(plan.value("odd"), Const::List([1, 3, 5].map(int).into()));
    assert_eq!(plan.value("pairs"), Const::List([1, 30, 500].map(int).into()));
    assert_eq!(plan.value("part"), Const::Real(2.5));
    assert_eq!(plan.value("time"), Const::Quantity(180.0));
    assert_eq!(plan.value("called"), int(12));
}

#[test]
fn a_closure_applied_is_the_program_written_out() {
    let mut plan = plan(&format!(
        "{HEAD}fn child(w: real) -> Model = linear {{ models: [m, own], weight: [w, 1 - w] }}
model own = llama_tiny {{ seed: 9 }}
fn fit(w: real, k: int) -> real = score(child(w / 2), t) * k + w
let x = score(linear {{ models: [m, own], weight: [0.25, 0.75] }}, t) * 3 + 0.5
fn half(w: real) -> real = w / 2
let y = 0.25"
    ));
    let (real, int) = (evo_lang::types::Ty::Real, evo_lang::types::Ty::Int);
    let w = plan.elaborator.add_const(Const::Real(0.5), real);
    let k = plan.elaborator.add_const(Const::Int(3), int);
    let (fit, half) = (plan.id("fit"), plan.id("half"));
    let applied = plan.elaborator.apply(fit, &[w, k], Span::default()).unwrap();
    let score = |plan: &Plan, id: NodeId| {
        let graph = plan.elaborator.graph();
        let calls = graph.node(id).inputs.iter().map(|i| graph.node(*i).key).collect::<Vec<_>>();
        calls.into_iter().find(|key| graph.iter().any(|(_, n)| n.key == *key && matches!(n.op, Op::Extern(_))))
    };
    let x = plan.id("x");
    assert_eq!(score(&plan, applied), score(&plan, x), "the same model, scored the same way");
    assert!(score(&plan, x).is_some());
    let again = plan.elaborator.apply(fit, &[w, k], Span::default()).unwrap();
    assert_eq!(applied, again);
    let halved = plan.elaborator.apply(half, &[w], Span::default()).unwrap();
    assert_eq!(halved, plan.id("y"));
}

const INNER: &str = "param k: int = 2
param base: Model = llama_tiny { layers: 1 }
param seed: int = 100
genome G { genes: real[layers(base)] in 0..1 }
let v = k * 10
let n = layers(base)
fn f(x: int) -> int = x + k
model drawn = llama_tiny { layers: 2 }
data rows = jsonl(\"rows.jsonl\")
fn read(name: text) -> Data = jsonl(name)
print v";

const OUTER: &str = "use \"inner.evo\" as inner
param j: int = 3
let w = inner { k: j }.v
let set = inner { k: 7 }
model named = hf(\"models/x\")";

fn nested(text: &str) -> Plan {
    plan_with(text, &[("lib/inner.evo", INNER), ("lib/outer.evo", OUTER)], Options::default())
}

#[test]
fn a_program_is_a_function_of_its_params() {
    let mut plan = nested(
        "use \"lib/outer.evo\" as o
use \"lib/inner.evo\" as i
let a = o.w + o { j: 4 }.w
let b = o.inner.v + o.inner { k: 9 }.v
let c = (o { j: 1 }.inner { k: 5 }).f(1) + o.set.v
let d = i { k: 1, base: llama_tiny { layers: 5 } }
let e = d.n + d.v
let programs = [p.v for p in [i, d, o.set]]
let chosen = (if d.v > 5 then d else i).f(10)
fn of(p: int) -> int = i { k: p }.v
let g = of(6)
model one = i.drawn
model two = i { seed: 3 }.drawn
model three = o { seed: 3 }.inner.drawn",
    );
    assert_eq!(plan.errors, ["E0211 x"; 0]);
    let values = [("a", 70), ("b", 110), ("c", 76), ("e", 15), ("chosen", 11), ("g", 60)];
    for (name, value) in values {
        assert_eq!(plan.value(name), Const::Int(value), "{name}");
    }
    assert_eq!(plan.value("programs"), Const::List([20, 10, 70].map(Const::Int).into()));
    assert_ne!(plan.key("one"), plan.key("two"));
    assert_eq!(plan.key("two"), plan.key("three"), "a program inherits the seed of the one that it is used by");
}

#[test]
fn compiled_code_has_the_lengths_of_the_program_that_it_calls() {
    let inner = "param base: Model = llama_tiny { layers: 2 }\n\
        let scales: real[layers(base)] = [1.0 + k for k in 0..layers(base)]\n\
        fn at(i: int) -> real = scales[i] + sum([k for k in 0..layers(base)])\n\
        fn weighed(xs: real[layers(base)]) -> real = sum(xs * scales)";
    let outer = "use \"inner.evo\" as inner\nparam m: Model = llama_tiny { layers: 3 }\n\
        fn deep(i: int) -> real = inner { base: m }.at(i) + inner.at(1)";
    let text = format!(
        "{HEAD}use \"lib/inner.evo\" as i\nuse \"lib/outer.evo\" as o\n\
        let five = i {{ base: llama_tiny {{ layers: 5 }} }}\n\
        fn all(k: int) -> real = 100 * i.at(k) + five.at(k) + 10000 * o.deep(k)\n\
        merge merged = linear {{ models: [m, m], weight: (m, t) => i.at(m) * five.at(t.layer) }}\n\
        let one = all(1)\nlet two = five.weighed([1, 1, 1, 1, 1]) + i.weighed([1, 1])"
    );
    let files = [("lib/inner.evo", inner), ("lib/outer.evo", outer)];
    let mut plan = plan_with(&text, &files, Options::default());
    assert_eq!(plan.errors, [""; 0]);
    // Of two layers 2 + 1, of five 2 + 10, of three 2 + 3.
    assert_eq!(plan.value("one"), Const::Real(100.0 * 3.0 + 12.0 + 10000.0 * (5.0 + 3.0)));
    assert_eq!(plan.value("two"), Const::Real(15.0 + 3.0));
    let (merged, all) = (plan.id("merged"), plan.id("all"));
    let graph = plan.elaborator.graph();
    for closure in [graph.node(merged).inputs[1], all] {
        assert!(matches!(graph.node(closure).op, Op::NumericClosure(_)));
    }
}

#[test]
fn input_paths_are_relative_to_the_program_that_reads_them() {
    let text = "use \"lib/outer.evo\" as o\nuse \"lib/inner.evo\" as i\nmodel own = hf(\"models/own\")\n\
        let a = o.named\nlet b = i.rows\nlet c = i.read(\"more.jsonl\")\nlet d = i.read(\"/abs.jsonl\")";
    let mut plan = nested(text);
    assert_eq!(plan.errors, [""; 0]);
    plan.read.sort();
    assert_eq!(plan.read, ["/abs.jsonl", "lib/models/x", "lib/more.jsonl", "lib/rows.jsonl", "models/own"]);
}

#[test]
fn a_search_may_set_a_programs_params() {
    let inner = |extra: &str| {
        format!("param base: Model = llama_tiny {{ layers: 1 }}\nlet scored = score(base, t)\n{HEAD}{extra}")
    };
    let with = |inner: &str, text: &str| {
        let plan = plan_with(&format!("use \"inner.evo\" as i\n{text}"), &[("inner.evo", inner)], Options::default());
        assert_eq!(plan.errors, [""; 0]);
        plan
    };
    let text = "fn better(m: Model) -> real = i { base: m }.scored\n\
        fn sum_of(m: Model) -> real = sum([i { base: m, seed: s }.scored for s in 0..2])\n\
        model own = llama_tiny { layers: 2 }\nlet x = i { base: own }.scored";
    let mut plan = with(&inner(""), text);
    let (better, own, x) = (plan.id("better"), plan.id("own"), plan.id("x"));
    assert_eq!(plan.elaborator.apply(better, &[own], Span::default()).unwrap(), x);
    for name in ["better", "sum_of"] {
        let same = with(&inner("let unused = 1\n"), text).key(name);
        assert_eq!(plan.key(name), same, "{name} does not read what was added");
        let other = with(&inner("").replace("count: 20", "count: 21"), text).key(name);
        assert_ne!(plan.key(name), other, "{name} reads what was changed");
        let moved = with(&format!("// a comment\n{}", inner("")), text).key(name);
        assert_eq!(plan.key(name), moved, "{name} does not see comments");
    }
}

#[test]
fn what_cannot_be_planned_is_said() {
    let errors = |text: &str| nested(&format!("{HEAD}use \"lib/inner.evo\" as i\n{text}")).errors;
    let starts = |text: &str, code: &str| {
        let found = errors(text);
        assert!(matches!(&found[..], [one] if one.starts_with(code)), "{text}: {found:?}");
    };
    starts("print i", "E0332 a program is not a value to show");
    starts("print [p for p in [i, i { k: 3 }]]", "E0332 a program is not a value to show");
    starts(
        "let n = if score(m, t) > 0 then 2 else 3\nlet x = [k for k in 0..n]",
        "E0334 an array's length must be known",
    );
    starts(
        "let a = [1, 2]\nlet x = zip(a, [k for k in a if k > 1])",
        "E0307 `zip` takes lists of one length, not 2 and 1",
    );
    starts("let x = [k for k in 0..20000000 if score(m, t) > k]", "E0337 a list cannot have 20000000 items");
    starts("let x = [[linear { models: [m] } for k in 0..2000] for j in 0..2000]", "E0337 the lists of this plan");
    starts("let x = sum([k for k in 0..1000000000000])", "E0337 a value of 1000000000000 numbers");
    let weighed = |weight: &str| format!("merge x = linear {{ models: [m, m], weight: {weight} }}");
    starts(&weighed("(m, t) => sum([0.5 for k in 0..m])"), "E0334 the ends of a range must be known");
    starts(&weighed("(m, t) => parameters(llama_tiny { layers: m + 1 })"), "E0338 this closure is no numeric code");
    starts(&weighed("[t => (i { k: t.layer }).f(1), 1]"), "E0338 this closure is no numeric code");
    starts(
        "let a = i { k: 3 }\nlet b = i { base: m }\ngenome H { x: real in 0..1 }\nlet c = a.n + b.n\n\
        fn f(g: i.G) -> real = g.genes[0]\nevolve s { maximize: f, stop: { evaluations: 3 } }",
        "E0332 `inner` is used with several",
    );
}

#[test]
fn what_cannot_be_differentiated_is_said() {
    let errors = |text: &str| plan_with(&format!("{HEAD}{text}"), &[], Options::default()).errors;
    let found = errors(
        "fn f(xs: real[40000]) -> real = sum(xs * xs)\nlet g = gradient(f)\nfn h(x: real[40000]) -> real = gradient(f)(x)[0]",
    );
    let long = "E0354 there is no gradient of this function: unrolled, it has more than 65536 steps";
    assert_eq!(found, [long], "one cause, one error");
    let found = errors(
        "fn f(x: real, n: int) -> real = if x > 0 then x * div(6, n) else x\nfn g(n: int) -> real = slope(f)(0.5, n)",
    );
    assert_eq!(found, ["E0354 there is no slope of this function: a step that can fail stands under a condition"]);
    let found = errors("fn f(x: real) -> real = x * score(m, t)\nlet s = slope(f)(0.5)");
    assert_eq!(found, [""; 0], "a result of the run is a constant");
    let found = errors("fn f(x: real) -> real = parameters(llama_tiny { layers: round(x) })\nlet s = slope(f)(0.5)");
    assert_eq!(found, ["E0354 there is no slope of this function: it is no numeric code"]);
}

#[test]
fn a_derivative_reads_what_its_function_reads() {
    let mut plan = plan(&format!(
        "{HEAD}param k: real = 3\nlet found = score(m, t)\nfn f(x: real) -> real = k * x ^ 2 + found * x\n\
        let a = slope(x => k * x ^ 2)(2)\nlet b = slope(f)(2)\nlet c = slope(f)(found)\n\
        let chosen = if found > 0 then slope(f)(found) else 0\n\
        merge e = linear {{ models: [m, m], weight: (i, t) => slope(f)(t.depth) }}"
    ));
    assert_eq!(plan.value("a"), Const::Real(12.0));
    for name in ["b", "c", "chosen"] {
        let id = plan.id(name);
        let op = plan.elaborator.graph().node(id).op.clone();
        assert!(matches!(op, Op::Numeric(_) | Op::If), "{name}");
    }
    let merged = plan.id("e");
    let graph = plan.elaborator.graph();
    assert!(matches!(graph.node(graph.node(merged).inputs[1]).op, Op::NumericClosure(_)));
}

#[test]
fn a_list_that_the_run_cuts_short_is_planned_with_its_upper_bound() {
    let mut plan = plan(&format!(
        "{HEAD}let all = [llama_tiny {{ layers: k }} for k in 1..=3]
let good = [x for x in all if score(x, t) > -5]
let sizes = [parameters(x) for x in good]
let known = [k for k in 0..4 if k > 1 or score(m, t) > 0]
let total = sum(known)
let average = mean([score(x, t) for x in good])
let chosen: [int] = if score(m, t) > 0 then [1, 2] else [3]
let doubled = [2 * c for c in chosen]"
    ));
    let op = |plan: &mut Plan, name: &str| {
        let id = plan.id(name);
        plan.elaborator.graph().node(id).clone()
    };
    let good = op(&mut plan, "good");
    assert!(matches!(good.op, Op::Concat) && good.inputs.len() == 3);
    let sizes = op(&mut plan, "sizes");
    for part in sizes.inputs.iter() {
        let part = plan.elaborator.graph().node(*part);
        assert!(matches!(part.op, Op::If), "what is left out is never computed");
    }
    let known = op(&mut plan, "known");
    let parts: Vec<_> = known.inputs.iter().map(|i| plan.elaborator.graph().node(*i).op.clone()).collect();
    assert!(matches!(&parts[..], [Op::If, Op::If, Op::Const(Const::List(items))] if items.len() == 2));
    for name in ["total", "average"] {
        let node = op(&mut plan, name);
        assert!(matches!(node.op, Op::Numeric(_) | Op::If), "{name}");
    }
    assert!(matches!(op(&mut plan, "doubled").op, Op::If));
}

#[test]
fn long_and_branching_chains_end() {
    let chain = |n: usize, call: &dyn Fn(usize) -> String| -> String {
        (0..n).map(|i| format!("fn f{i}(x: real) -> real = {}\n", call(i + 1))).collect()
    };
    // Numeric, over nodes, and doubling at each step; then too long.
    let end = |n: usize, body: &str| format!("fn f{n}(x: real) -> real = {body}\nlet y = f0(1.0)\n");
    let mut one = plan(&(chain(300, &|i| format!("f{i}(x) + 1")) + &end(300, "x")));
    assert_eq!(one.value("y"), Const::Real(301.0));
    plan(&(chain(300, &|i| format!("f{i}(x) + score(m, t)")) + HEAD + &end(300, "score(m, t) * x")));
    plan(&(chain(60, &|i| format!("f{i}(x) + f{i}(x + score(m, t) * 0)")) + HEAD + &end(60, "score(m, t)")));
    let mut two = plan(&(chain(50, &|i| format!("f{i}(x) + f{i}(x)")) + &end(50, "x")));
    let y = two.id("y");
    assert!(matches!(two.elaborator.graph().node(y).op, Op::Numeric(_)), "2^50 steps are left to the run");
    let long = chain(2500, &|i| format!("f{i}(x) + score(m, t)")) + HEAD + &end(2500, "score(m, t) * x");
    assert_eq!(
        plan_with(&long, &[], Options::default()).errors[0],
        "E0110 calls and declarations lead to one another more than 2000 deep"
    );
    let lets: String = (0..1500).map(|i| format!("let a{i} = a{} + score(m, t)\n", i + 1)).collect();
    plan(&format!("{HEAD}{lets}let a1500 = 1.0"));
    let lists: String = (0..40).map(|i| format!("let b{} = [b{i}, b{i}]\n", i + 1)).collect();
    plan(&format!("let b0 = 1\n{lists}"));
    let texts: String = (0..40).map(|i| format!("let c{} = c{i} + c{i}\n", i + 1)).collect();
    let found = plan_with(&format!("let c0 = \"text\"\n{texts}"), &[], Options::default()).errors;
    assert_eq!(found, ["E0340 a text of more than 16777216 bytes"]);
}
