//! What tracing a script costs: the engine, a script on an engine that is there, and the way to a worker and back.
//!
//! `cargo bench -p evo --bench sandbox`; medians of 2,000 each, of 50 for what starts processes.

#![allow(unused_crate_dependencies, missing_docs, reason = "a benchmark")]
#![allow(clippy::disallowed_types, clippy::unwrap_used, clippy::print_stdout, clippy::panic, reason = "a benchmark")]

use std::time::Instant;

use evo::sandbox::{Job, Limits, Sandbox, Tracer, Verdict, inputs};

const SCRIPTS: [(&str, &str); 3] = [
    ("dpo", "-log_sigmoid(z)"),
    ("lrml", "let gate = sigmoid(z / 0.05);\n-sigmoid(-z / 0.05) * log_sigmoid(z) + gate * exp(-z)"),
    (
        "aqfl",
        "fn loss(z) {\n  let u = z / 0.05;\n  let quantile = batch_sd(u) * batch_mean(sigmoid(-u));\n  \
         let moved = quantile + 0.05 * (sigmoid(batch_mean(u)) - quantile);\n  let distance = 0.1 * abs(u - moved);\n  \
         -sigmoid(distance) * log_sigmoid(z) + sigmoid(-distance) * relu(1.0 - z)\n}",
    ),
];

/// The median of the microseconds that something takes.
fn median(times: usize, mut what: impl FnMut()) -> f64 {
    let mut all: Vec<f64> = (0..times)
        .map(|_| {
            let clock = Instant::now();
            what();
            clock.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

fn main() {
    let limits = Limits::default();
    let inputs = inputs().unwrap();
    let job = |script: &str| Job { name: "l".into(), script: script.into(), inputs: inputs.clone(), limits };
    println!("engine                {:8.1} µs", median(50, || drop(Tracer::new())));
    let mut tracer = Tracer::new();
    let sandbox = Sandbox::new(Sandbox::spec(env!("CARGO_BIN_EXE_evo"), &limits), 1);
    for (name, script) in SCRIPTS {
        let job = job(script);
        let Verdict::Traced(traced) = tracer.trace(&job) else { panic!("{name} is no loss") };
        let here = median(2000, || drop(tracer.trace(&job)));
        let there = median(2000, || drop(sandbox.trace(&job)));
        println!("{name:6} {:3} nodes: trace {here:6.1} µs, by way of a worker {there:6.1} µs", traced.nodes);
    }
    let job = job(SCRIPTS[0].1);
    let fresh = || Sandbox::new(Sandbox::spec(env!("CARGO_BIN_EXE_evo"), &limits), 1).trace(&job);
    println!("a worker started, asked and ended {:8.1} µs", median(50, || drop(fresh())));
}
