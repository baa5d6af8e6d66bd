//! What a worker process costs beside evaluating in this process, on a fitness that takes no time worth measuring.
//!
//! `cargo bench -p evo --bench workers`: seconds of runs of 200 and of 2,200 evaluations, whose difference leaves out what a run
//! takes to begin; medians of three.

#![allow(unused_crate_dependencies, missing_docs, reason = "a benchmark")]
#![allow(clippy::disallowed_types, clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

use std::time::Instant;

use evo::engine::{Engine, RunOptions, Settings, Workers};

const PROGRAM: &str = "\
param evaluations: int
genome Point { x: real in -3..3 }
fitness low(p: Point) = -loss_values(dpo, z: [p.x])[0]
evolve search { maximize: low, by: random_search { population: 100 }, stop: { evaluations: evaluations } }
print search.score
";

/// Seconds of a run.
fn run(evaluations: i64, count: Option<usize>) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::builder().cwd(folder.path()).jobs(1).build();
    let plan = engine.load_text("p.evo", PROGRAM).plan(&Settings::new().set("evaluations", evaluations)).unwrap();
    let program = Some(env!("CARGO_BIN_EXE_evo").into());
    let workers = count.map(|count| Workers { count, program, ..Workers::default() });
    let clock = Instant::now();
    let outcome = plan.start(RunOptions { workers, ..RunOptions::default() }).unwrap().wait();
    assert!(outcome.failure.is_none(), "{:?}", outcome.failure);
    clock.elapsed().as_secs_f64()
}

fn main() {
    let each = |count| {
        let mut all: Vec<f64> = (0..3).map(|_| (run(2200, count) - run(200, count)) / 2000.0 * 1e6).collect();
        all.sort_by(f64::total_cmp);
        all[1]
    };
    let here = each(None);
    println!("in this process  {here:8.1} µs an evaluation");
    for count in [1, 2] {
        let there = each(Some(count));
        println!("{count} workers        {there:8.1} µs an evaluation, {:+.1} µs", there - here);
    }
}
