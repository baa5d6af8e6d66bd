//! Scripts that mean no good, each stopped within its limits and told for what it is; and scripts that are losses.
#![cfg(target_os = "linux")]
#![allow(clippy::disallowed_types, reason = "deadlines are measured")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails there")]

mod hostile;

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use evo::datum::Datum;
use evo::engine::{Engine, HostFunction, RunOptions, Settings};
use evo::sandbox::{Job, Limits, Reason, Sandbox, Traced, Tracer, Verdict, inputs};

const EVO: &str = env!("CARGO_BIN_EXE_evo");

/// DiscoPOP's winner as its authors' model might write it.
const LRML: &str = "let gate = sigmoid(z / 0.05);\n-sigmoid(-z / 0.05) * log_sigmoid(z) + gate * exp(-z)\n";

fn job(script: &str, limits: Limits) -> Job {
    static INPUTS: OnceLock<Vec<String>> = OnceLock::new();
    let inputs = INPUTS.get_or_init(|| inputs().unwrap()).clone();
    Job { name: "proposed".into(), script: script.into(), inputs, limits }
}

fn traced(script: &str) -> Traced {
    match Tracer::new().trace(&job(script, Limits::default())) {
        Verdict::Traced(traced) => traced,
        Verdict::Rejected(rejected) => panic!("{script}: {rejected:?}"),
    }
}

/// The most memory that a process has had so far, in bytes: of its address space, and in fact.
fn memory(process: u32) -> (u64, u64) {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
    };
    (field("VmPeak:"), field("VmHWM:"))
}

#[test]
fn hostile_scripts_are_stopped_and_told() {
    let limits = Limits::default();
    let sandbox = Sandbox::new(Sandbox::spec(EVO, &limits), 1);
    let valid = |after: &str| match sandbox.trace(&job(LRML, limits)) {
        Verdict::Traced(traced) => assert_eq!(traced.inputs, ["z"], "after {after}"),
        Verdict::Rejected(rejected) => panic!("after {after}: {rejected:?}"),
    };
    valid("the start");
    let cases = hostile::scripts();
    assert!(cases.len() >= 60, "{} scripts", cases.len());
    let mut wrong = String::new();
    for (script, reason) in &cases {
        let short: String = script.chars().take(60).collect();
        let clock = Instant::now();
        match sandbox.trace(&job(script, limits)) {
            Verdict::Rejected(found)
                if found.reason == *reason && !found.message.is_empty() && !found.help.is_empty() => {}
            other => drop(writeln!(wrong, "{short}: {reason:?} was expected: {other:?}")),
        }
        let took = clock.elapsed().as_millis() as u64;
        assert!(took < limits.deadline_ms, "{short} took {took} ms");
        valid(&short);
    }
    assert!(wrong.is_empty(), "{wrong}");
    let [worker] = sandbox.pool().idle()[..] else { panic!("one worker is idle") };
    let (space, resident) = memory(worker);
    assert!(space <= limits.memory && resident <= limits.memory, "{space} {resident}");
    assert_eq!(sandbox.pool().lost(), 0, "the engine's own limits stop all of them");
}

#[test]
fn a_script_that_passes_the_engines_limits_is_stopped_by_those_of_the_process() {
    let lax = Limits { operations: 0, tracing_ms: 600_000, text: 0, array: 0, nodes: usize::MAX, ..Limits::default() };
    let sandbox = Sandbox::new(Sandbox::spec(EVO, &lax), 1);
    let cases = [
        ("let s = \"ab\"; loop { s += s; }", lax, Reason::Memory),
        ("let x = z; loop { x = exp(x); }", Limits { deadline_ms: 30_000, ..lax }, Reason::Memory),
        ("loop { }", Limits { deadline_ms: 300, ..lax }, Reason::Time),
        ("loop { }", Limits { tracing_ms: 50, ..lax }, Reason::Time),
    ];
    for (script, limits, reason) in cases {
        let Verdict::Rejected(found) = sandbox.trace(&job(script, limits)) else { panic!("{script} was traced") };
        assert_eq!(found.reason, reason, "{script}: {found:?}");
        assert!(matches!(sandbox.trace(&job(LRML, Limits::default())), Verdict::Traced(_)), "after {script}");
    }
    assert_eq!(sandbox.pool().lost(), 3);
}

#[test]
fn losses_come_out_as_they_are_written_in_the_language() {
    let cases = [
        ("-log_sigmoid(z)", "loss proposed(z: real) = -log_sigmoid(z)\n"),
        ("fn loss(z) { max(0, 1 - z) }", "loss proposed(z: real) = max(0, 1 - z)\n"),
        (
            "fn square(x) { x * x } fn loss(z, beta) { square(z / beta - 0.5 / beta) }",
            "loss proposed(z: real, beta: real) {\n  let t1 = z / beta - 0.5 / beta\n  t1 * t1\n}\n",
        ),
        (
            "[sigmoid(-chosen), sigmoid(rejected)]",
            "loss proposed(chosen: real, rejected: real) -> real[2] = [sigmoid(-chosen), sigmoid(rejected)]\n",
        ),
        (
            "where(z > 0 & z <= 2.5 | !(z == 1), z ** 2, -0.5 * z)",
            "loss proposed(z: real) = where(z > 0 and z <= 2.5 or not z == 1, z ^ 2, -0.5 * z)\n",
        ),
        ("let w = 1.0 / 4.0; w * softplus(-z)", "loss proposed(z: real) = 0.25 * softplus(-z)\n"),
        ("-(-z) ** 2 - exp(-z)", "loss proposed(z: real) = (-(-z)) ^ 2 - exp(-z)\n"),
        (
            "let x = 0.0; let i = 0; while i < 3 { x += exp(-z * i); i += 1; } x",
            "loss proposed(z: real) = 0 + exp(-z * 0) + exp(-z * 1) + exp(-z * 2)\n",
        ),
        (
            "let m = batch_mean(z); if true { m * clamp(z, -1.0, 1.0) } else { z }",
            "loss proposed(z: real) = batch_mean(z) * clamp(z, -1, 1)\n",
        ),
    ];
    for (script, wanted) in cases {
        match Tracer::new().trace(&job(script, Limits::default())) {
            Verdict::Traced(traced) => assert_eq!(traced.source, wanted, "{script}"),
            Verdict::Rejected(rejected) => assert!(wanted.is_empty(), "{script}: {rejected:?}"),
        }
    }
}

/// Pieces of scripts, put together at random.
const PIECES: &[&str] = &[
    "z",
    "chosen",
    "beta",
    "0.5",
    "2",
    "-1",
    "1e308",
    "\"t\"",
    "true",
    "[",
    "]",
    "(",
    ")",
    "{",
    "}",
    ",",
    ";",
    " + ",
    " - ",
    " * ",
    " / ",
    " ** ",
    " ^ ",
    " > ",
    " == ",
    " & ",
    " && ",
    "!",
    "-",
    ".",
    "..",
    "let x = ",
    "x",
    "fn f(a) { ",
    "f(",
    "exp(",
    "where(",
    "max(",
    "clamp(",
    "batch_mean(",
    "if ",
    " else ",
    "while ",
    "loop { ",
    "break; ",
    "return ",
    "x += ",
    "x[0] = ",
    "throw ",
    "#{",
    "|a| ",
    "switch ",
    "eval(",
    "this",
    "\n",
    "//",
    "/*",
    "`${",
    "'",
    "0x",
    "const c = ",
    "in ",
    "for i in ",
    "log(",
    "9223372036854775807",
];

#[test]
fn whatever_a_script_is_it_gets_a_verdict_and_what_is_traced_is_a_program() {
    let mut state = 11_u64;
    let mut next = |below: u32| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32 % below
    };
    let limits = Limits { operations: 2000, nodes: 300, ..Limits::default() };
    let (mut tracer, mut losses) = (Tracer::new(), 0);
    for round in 0..2000 {
        // Pieces alone, a formula, or a formula with pieces in it that do not belong there.
        let mut script = if round % 2 == 0 { String::new() } else { format!("let x = {}; x", formula(&mut next, 3)) };
        let pieces = [1 + next(9), 0, 1 + next(9), 1][round % 4];
        for _ in 0..pieces {
            let at = next(script.len() as u32 + 1) as usize;
            script.insert_str(at, PIECES[next(PIECES.len() as u32) as usize]);
        }
        match tracer.trace(&job(&script, limits)) {
            Verdict::Rejected(rejected) => {
                assert!(!rejected.message.is_empty() && !rejected.help.is_empty(), "{script}")
            }
            Verdict::Traced(traced) => {
                let found = Engine::new().load_text("p.evo", &traced.source);
                let errors: Vec<_> = found.diagnostics().iter().filter(|d| d.is_error()).collect();
                assert!(errors.is_empty(), "{script}\n{}\n{errors:?}", traced.source);
                losses += 1;
            }
        }
    }
    assert!(losses > 100, "{losses} are losses");
}

/// A random formula that is the same text in rhai and in `.evo`.
fn formula(next: &mut dyn FnMut(u32) -> u32, depth: u32) -> String {
    let leaf = ["z", "chosen", "beta", "0.5", "2.0", "1e-3", "3.25"];
    let unary = ["exp", "sigmoid", "log_sigmoid", "softplus", "tanh", "relu", "abs", "batch_mean", "sqrt"];
    let kind = if depth == 0 { 0 } else { next(8) };
    let word = next(if kind < 2 { 7 } else { 9 }) as usize;
    let mut part = || formula(next, depth.saturating_sub(1));
    match kind {
        0 | 1 => leaf[word].to_owned(),
        2 => format!("(-{})", part()),
        3 => format!("{}({})", unary[word], part()),
        4 => format!("max({}, {})", part(), part()),
        5 => format!("where({} > {}, {}, {})", part(), part(), part(), part()),
        _ => format!("({} {} {})", part(), ["+", "-", "*", "/"][word % 4], part()),
    }
}

#[test]
fn a_traced_formula_has_the_bits_of_the_formula() {
    let mut state = 7_u64;
    let mut next = |below: u32| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32 % below
    };
    let mut program = "extern fn probe(name: text, values: [real]) -> real\n".to_owned();
    let mut count = 0;
    while count < 40 {
        let text = formula(&mut next, 5);
        let Verdict::Traced(traced) = Tracer::new().trace(&job(&text, Limits::default())) else { continue };
        let _ = writeln!(program, "loss written{count}(z: real, chosen: real, beta: real) = {text}");
        program += &traced.source.replacen("proposed", &format!("traced{count}"), 1);
        for name in ["written", "traced"] {
            let of = format!("{name}{count}, z: [-3.0, -0.1, 0.0, 0.7, 40.0], chosen: [0.3, -0.2, 1.0, -5.0, 9.0]");
            let _ = writeln!(program, "print probe(\"{name}\", loss_values({of}))");
        }
        count += 1;
    }
    let probed = probe(&program);
    assert_eq!(probed.len(), 2 * count);
    let bits = |name: &str| -> Vec<Vec<u64>> {
        let of_name = probed.iter().filter(|(of, _)| of == name);
        of_name.map(|(_, values)| values.iter().map(|x| x.to_bits()).collect()).collect()
    };
    assert_eq!(bits("written"), bits("traced"), "{program}");
}

/// What a program hands to `probe(name, values)`, in order of its requests.
fn probe(program: &str) -> Vec<(String, Vec<f64>)> {
    let (folder, probed) = (tempfile::tempdir().unwrap(), Arc::<Mutex<Vec<_>>>::default());
    let into = probed.clone();
    let function = HostFunction::with_effects("probe", "1", move |args| match args {
        [Datum::Text(name), Datum::List(values)] => {
            let real = |x: &Datum| if let Datum::Real(x) = x { *x } else { panic!("{x:?}") };
            into.lock().unwrap().push((name.to_string(), values.iter().map(real).collect()));
            Ok(Datum::Real(0.0))
        }
        other => Err(format!("{other:?}")),
    });
    let engine = Engine::builder().cwd(folder.path()).jobs(1).function(function).build();
    let plan = engine.load_text("formulas.evo", program).plan(&Settings::new()).unwrap();
    let outcome = plan.start(RunOptions::default()).unwrap().wait();
    assert!(outcome.failure.is_none(), "{:?}\n{program}", outcome.failure);
    std::mem::take(&mut *probed.lock().unwrap())
}

#[test]
fn a_loss_traced_from_a_script_is_the_librarys() {
    let folder = tempfile::tempdir().unwrap();
    let traced = traced(LRML);
    assert_eq!((traced.nodes, traced.inputs.len()), (13, 1), "{}", traced.source);
    std::fs::write(folder.path().join("proposed.rhai"), LRML).unwrap();
    let told = evo(folder.path(), &["trace", "proposed.rhai"]);
    assert!(told.status.success(), "{told:?}");
    let source = String::from_utf8(told.stdout).unwrap();
    assert_eq!(source, traced.source);
    let mut program = format!("extern fn probe(name: text, values: [real]) -> real\n{source}");
    for (of, loss) in [("values", "lrml"), ("values", "proposed"), ("slopes", "lrml"), ("slopes", "proposed")] {
        let _ = writeln!(program, "print probe(\"{of}\", loss_{of}({loss}, z: [-30.0, -2.0, 0.0, 0.5, 7.0]))");
    }
    let [values, found, slopes, found_slopes] = &probe(&program)[..] else { panic!("four are probed") };
    assert_eq!((values, slopes), (found, found_slopes));
}

fn evo(folder: &Path, args: &[&str]) -> Output {
    Command::new(EVO).args(args).current_dir(folder).env_remove("RUST_BACKTRACE").output().unwrap()
}

#[test]
fn a_rejected_script_is_an_answer_that_is_no() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("s.rhai"), "let x = 1.0;\nif z > x { 0.0 } else { -z }\n").unwrap();
    let told = evo(folder.path(), &["trace", "s.rhai"]);
    let text = String::from_utf8(told.stderr).unwrap();
    assert_eq!((told.status.code(), told.stdout.len()), (Some(1), 0), "{text}");
    for words in ["error[R0562]: ", "s.rhai:2:6", "where(condition, a, b)"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let told = evo(folder.path(), &["trace", "s.rhai", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
    let found = &json["rejected"];
    assert_eq!(
        (told.status.code(), found["reason"].as_str(), found["code"].as_str()),
        (Some(1), Some("branch"), Some("R0562"))
    );
    assert_eq!(evo(folder.path(), &["trace", "absent.rhai"]).status.code(), Some(2));
    assert_eq!(evo(folder.path(), &["trace", "s.rhai", "--name", "2 many"]).status.code(), Some(2));
}

#[test]
fn each_code_of_a_rejection_is_what_its_page_shows() {
    for (code, script) in evo_lang::diag::Code::pages().iter().filter_map(|page| {
        let (_, example) = page.example().filter(|_| page.code.as_str().starts_with("R056"))?;
        Some((page.code, example.split_once(" says: ")?.1.trim().to_owned()))
    }) {
        let Verdict::Rejected(found) = Tracer::new().trace(&job(&script, Limits::default())) else {
            panic!("{code}: {script} is traced")
        };
        assert_eq!(found.reason.code(), code.as_str(), "{script}");
    }
}
