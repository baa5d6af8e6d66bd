//! Scalar functions compiled by this crate beside the same ones by hand in Rust, run in turns.
//!
//! `cargo bench -p evo-lang --bench scalar` prints a table; with `RUSTFLAGS="-C target-cpu=native"` the functions by hand
//! are for this CPU too. With `--serve ours|many` it answers one line for each line `CASE` or `compile CASE` it reads: nanoseconds a call
//! and the sum of the results, or microseconds. `--show CASE` prints optimised IR and Cranelift's. `tests/benches/scalar/run.py` asks it so, in turns with the peers.
#![allow(
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs,
    reason = "a benchmark reads the clock and prints"
)]

use std::hint::black_box;
use std::io::BufRead;
use std::time::Instant;

use evo_lang::codegen::{Compiled, clif, compile};
use evo_lang::hir::{Expr, GlobalKind, Program};
use evo_lang::ir::build::outline_lambda;
use evo_lang::ir::optimize::optimize;
use evo_lang::ir::{FuncId, Module, print};
use evo_lang::library::Library;
use evo_lang::types::Len;

mod hand;

const CASES: [(&str, usize); 5] =
    [("rastrigin10", 10), ("rastrigin100", 100), ("rosenbrock10", 10), ("rosenbrock100", 100), ("formula", 4)];
/// Argument sets.
const SETS: usize = 256;
/// Seconds that one measurement takes.
const TIME: f64 = 0.02;
const ROUNDS: usize = 31;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let after = |flag: &str| args.iter().position(|a| a == flag).and_then(|at| args.get(at + 1));
    match (after("--serve"), after("--show")) {
        (Some(who), _) => serve(who),
        (None, Some(case)) => {
            let small = optimize(&Ours::new().module(case));
            println!("{}{}", print::canonical(&small), clif(&small).unwrap());
        }
        (None, None) => table(),
    }
}

/// The arguments of all calls, the same in every language.
fn arguments(n: usize) -> Vec<f64> {
    let value = |s: usize, i: usize| ((i * 7919 + s * 104_729) % 10_007) as f64 / 10_007.0 * 4.0 - 2.0;
    (0..SETS).flat_map(|s| (0..n).map(move |i| value(s, i))).collect()
}

struct Ours {
    program: Program,
}

impl Ours {
    fn new() -> Ours {
        let numeric = include_str!("../../../stdlib/src/numeric/numeric.evo");
        let (library, _) = Library::parse(&[("numeric", numeric)]);
        let text = include_str!("functions.evo");
        let checked = evo_lang::check("functions.evo", text, &library, &|_| Err("one file".to_owned()));
        assert!(!checked.has_errors(), "{:?}", checked.diagnostics);
        Ours { program: checked.program }
    }

    fn module(&self, case: &str) -> Module {
        let globals = &self.program.modules[self.program.entry.0 as usize].globals;
        let global = globals.iter().find(|g| &*g.name == case).unwrap();
        let GlobalKind::Function(function) = &global.kind else { unreachable!("{case} is a function") };
        let mut len = |_: Option<&Expr>, len: &Len| match len {
            Len::Const(n) => Some(*n),
            _ => None,
        };
        outline_lambda(&self.program, &function.params, &function.body, &mut len).unwrap().module
    }

    fn compile(&self, case: &str) -> (Compiled, FuncId) {
        let module = optimize(&self.module(case));
        (compile(&module).unwrap(), module.entry().unwrap())
    }
}

/// Nanoseconds a call, of a function that makes `SETS` calls; and what it says.
fn measure(mut all: impl FnMut() -> f64) -> (f64, f64) {
    let sum = all();
    let start = Instant::now();
    let mut rounds = 0;
    while start.elapsed().as_secs_f64() < TIME {
        black_box(all());
        rounds += 1;
    }
    (start.elapsed().as_secs_f64() * 1e9 / (rounds * SETS) as f64, sum)
}

fn one_by_one((code, entry): &(Compiled, FuncId), inputs: &[u64], n: usize) -> f64 {
    let mut sum = 0.0;
    for x in black_box(inputs).chunks_exact(n) {
        let mut out = [0];
        code.call(*entry, x, &mut out).unwrap();
        sum += f64::from_bits(out[0]);
    }
    sum
}

fn all_in_one((code, entry): &(Compiled, FuncId), inputs: &[u64], out: &mut [u64]) -> f64 {
    code.call_many(*entry, SETS, black_box(inputs), out).unwrap();
    out.iter().map(|x| f64::from_bits(*x)).sum()
}

fn by_hand(f: fn(&[f64]) -> f64, x: &[f64], n: usize) -> f64 {
    let f = black_box(f);
    black_box(x).chunks_exact(n).map(f).sum()
}

fn serve(who: &str) {
    let ours = Ours::new();
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["compile", case] => println!("{}", compile_time(&ours, case).2),
            [case] => {
                let n = CASES.iter().find(|c| c.0 == *case).unwrap().1;
                let x = arguments(n);
                let slots: Vec<u64> = x.iter().map(|x| x.to_bits()).collect();
                let (ns, sum) = match who {
                    "many" => {
                        let (code, mut out) = (ours.compile(case), vec![0; SETS]);
                        measure(|| all_in_one(&code, &slots, &mut out))
                    }
                    _ => {
                        let code = ours.compile(case);
                        measure(|| one_by_one(&code, &slots, n))
                    }
                };
                println!("{ns} {sum}");
            }
            _ => println!("?"),
        }
    }
}

/// Microseconds to make IR, to optimise it, and in all to machine code.
fn compile_time(ours: &Ours, case: &str) -> (f64, f64, f64) {
    let start = Instant::now();
    let module = ours.module(case);
    let made = start.elapsed().as_secs_f64() * 1e6;
    let small = optimize(&module);
    let optimized = start.elapsed().as_secs_f64() * 1e6;
    let code = compile(&small).unwrap();
    let all = start.elapsed().as_secs_f64() * 1e6;
    drop(code);
    (made, optimized - made, all)
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn table() {
    let ours = Ours::new();
    println!(
        "| | Rust by hand, ns | one call each, ratio | all in one call, ratio | IR, µs | optimised, µs | compiled in all, µs |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (case, n) in CASES {
        let x = arguments(n);
        let slots: Vec<u64> = x.iter().map(|x| x.to_bits()).collect();
        let (code, mut out) = (ours.compile(case), vec![0; SETS]);
        let f = hand::function(case);
        let (mut by, mut one, mut many) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let (hand_ns, expected) = measure(|| by_hand(f, &x, n));
            let (one_ns, sum) = measure(|| one_by_one(&code, &slots, n));
            let (many_ns, other) = measure(|| all_in_one(&code, &slots, &mut out));
            assert!((sum / expected - 1.0).abs() < 1e-12 && sum == other, "{case}: {sum} {other} {expected}");
            by.push(hand_ns);
            one.push(one_ns / hand_ns);
            many.push(many_ns / hand_ns);
        }
        let times: Vec<_> = (0..ROUNDS).map(|_| compile_time(&ours, case)).collect();
        println!(
            "| {case} | {:.1} | {:.2} | {:.2} | {:.0} | {:.0} | {:.0} |",
            median(by),
            median(one),
            median(many),
            median(times.iter().map(|t| t.0).collect()),
            median(times.iter().map(|t| t.1).collect()),
            median(times.iter().map(|t| t.2).collect()),
        );
    }
}
