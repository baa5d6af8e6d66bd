//! How long 500 numeric functions of 10 operations take to compile, and what a call costs.
//! `cargo bench -p evo-lang --bench compile`
#![allow(
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs,
    reason = "a benchmark reads the clock and prints"
)]

use std::time::Instant;

use evo_lang::codegen::compile;
use evo_lang::ir::builder::Builder;
use evo_lang::ir::{Binary, FuncId, Module, Type, Unary};

fn main() {
    let mut module = Module::default();
    for i in 0..500 {
        let mut b = Builder::new(format!("f{i}"), &[Type::Real, Type::Real]);
        let (x, y) = (b.params()[0], b.params()[1]);
        let mut value = x;
        for k in 0..9 {
            let op = [Binary::Add, Binary::Mul, Binary::Sub, Binary::Div, Binary::Max][(i + k) % 5];
            value = b.binary(op, value, if k % 2 == 0 { y } else { x }).unwrap();
        }
        value = b.unary(Unary::Exp, value).unwrap();
        module.functions.push(b.finish(value).unwrap());
    }
    let mut times: Vec<f64> = (0..15)
        .map(|_| {
            let start = Instant::now();
            let code = compile(&module).unwrap();
            let time = start.elapsed().as_secs_f64();
            drop(code);
            time
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("500 functions of 10 operations: median {:.1} ms, best {:.1} ms", times[7] * 1e3, times[0] * 1e3);

    let code = compile(&module).unwrap();
    let mut out = [0];
    let inputs = [0.3f64.to_bits(), 0.7f64.to_bits()];
    let start = Instant::now();
    for _ in 0..1_000_000 {
        code.call(FuncId(0), &inputs, &mut out).unwrap();
    }
    println!("a call of ten operations, exp among them: {:.1} ns", start.elapsed().as_secs_f64() * 1e3);
}
