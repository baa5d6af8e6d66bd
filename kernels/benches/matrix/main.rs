//! The matrix product of the decoder for every storage, against what the machine can do at most.
//!
//! `cargo bench -p evo-kernels --bench matrix [-- WORD...]` measures the shapes of SmolLM2-135M on one thread and two; with
//! words, only lines that hold one of them as a storage's name, a number of rows (`16x`), a shape (`576->1536`) or the units
//! (`tiles`, `vectors`). Weights are many matrices in turn, of 128 MB together, as in a model: none is found in a core's own cache.

#![allow(missing_docs, unused_crate_dependencies, reason = "a benchmark")]
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_types, reason = "a benchmark")]

use std::hint::black_box;
use std::time::Instant;

use evo_kernels::matmul::{Matrix, Storage, Units, roofline};
use evo_kernels::rng::Stream;

mod weights;

use weights::matrix;

/// Bytes that the weights of one measurement take together.
const WORKING_SET: usize = 128 << 20;
const SHAPES: [(usize, usize); 3] = [(576, 1536), (1536, 576), (576, 49_152)];
const ROWS: [usize; 6] = [1, 2, 4, 16, 64, 512];
/// The least seconds that `f` took in about a fifth of a second.
fn least(mut f: impl FnMut()) -> f64 {
    let start = Instant::now();
    let mut least = f64::INFINITY;
    let mut runs = 0;
    while runs < 3 || start.elapsed().as_secs_f64() < 0.2 {
        let one = Instant::now();
        f();
        least = least.min(one.elapsed().as_secs_f64());
        runs += 1;
    }
    least
}

/// Multiply-adds in registers, in GFLOP/s.
fn peak(threads: usize) -> f64 {
    let rounds = 1_000_000;
    let seconds = least(|| {
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| black_box(roofline::multiply_adds(black_box(rounds))));
            }
        });
    });
    (rounds * roofline::ROUND * 2 * threads as u64) as f64 / seconds / 1e9
}

/// Reading memory, in GB/s.
fn bandwidth(threads: usize, bytes: usize) -> f64 {
    let data = vec![1.0f32; bytes / 4];
    let seconds = least(|| {
        std::thread::scope(|scope| {
            for part in data.chunks(data.len().div_ceil(threads)) {
                scope.spawn(|| black_box(roofline::read(part)));
            }
        });
    });
    bytes as f64 / seconds / 1e9
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let asked = |kind: &[String], line: &str| kind.is_empty() || kind.iter().any(|word| word == line);
    let (shapes, words): (Vec<String>, Vec<String>) = words.into_iter().partition(|word| word.contains("->"));
    let (units_asked, words): (Vec<String>, Vec<String>) =
        words.into_iter().partition(|word| ["tiles", "vectors"].contains(&word.as_str()));
    let (rows_asked, storages): (Vec<String>, Vec<String>) = words.into_iter().partition(|word| word.ends_with('x'));
    rayon::ThreadPoolBuilder::new().num_threads(2).build_global().unwrap();
    for threads in [1, 2] {
        let (flops, read) = (peak(threads), bandwidth(threads, WORKING_SET));
        println!("{threads} threads: at most {flops:.0} GFLOP/s, {read:.1} GB/s");
    }
    println!("| storage | shape | units | rows | µs, 1 thread | GFLOP/s | GB/s | µs, 2 threads | GFLOP/s | GB/s |");
    println!("|---|---|---|--:|--:|--:|--:|--:|--:|--:|");
    let stream = Stream::from_seed(1);
    for storage in Storage::ALL.into_iter().filter(|s| asked(&storages, &format!("{s:?}"))) {
        for (cols, rows) in SHAPES.into_iter().filter(|s| asked(&shapes, &format!("{}->{}", s.0, s.1))) {
            let cols = cols.next_multiple_of(storage.block_cols());
            let one = matrix(storage, rows, cols, &stream);
            let mut matrices = vec![one];
            while matrices.len() * matrices[0].bytes() < WORKING_SET {
                matrices.push(matrix(storage, rows, cols, &stream));
            }
            for n in ROWS.into_iter().filter(|n| asked(&rows_asked, &format!("{n}x"))) {
                for (units, name) in [(Units::Vectors, "vectors"), (Units::Tiles, "tiles")] {
                    if units.available() && asked(&units_asked, name) {
                        let line = measure(units, &matrices, n);
                        println!("| {storage:?} | {cols} → {rows} | {name} | {n} {line}");
                    }
                }
            }
        }
    }
}

/// The figures of one line: `n` rows of `x` on some units.
fn measure(units: Units, matrices: &[Matrix], n: usize) -> String {
    let (rows, cols) = (matrices[0].rows(), matrices[0].cols());
    let x: Vec<f32> = (0..n * cols).map(|i| (i % 997) as f32 / 997.0 - 0.5).collect();
    let mut y = vec![0.0; n * rows];
    let mut line = String::from("|");
    // A pass over all matrices, or some of them if that takes long.
    let some = (1 << 29) / (n * rows * cols).max(1);
    let mut turn = matrices.iter().cycle();
    for threads in [1, 2] {
        let count = matrices.len().min(some.max(1));
        let mut pass = || {
            for matrix in turn.by_ref().take(count) {
                matrix.multiply_on(units, &x, &mut y, threads);
            }
            black_box(&mut y);
        };
        let seconds = least(&mut pass) / count as f64;
        let (flops, bytes) = ((2 * n * rows * cols) as f64 / seconds / 1e9, matrices[0].bytes() as f64 / seconds / 1e9);
        line += &format!(" {:.0} | {flops:.1} | {bytes:.1} |", seconds * 1e6);
    }
    line
}
