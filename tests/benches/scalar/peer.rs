//! The functions by hand in Rust, for this CPU. Answers as peer.c does. Built by run.py: rustc -C opt-level=3
//! -C target-cpu=native.

use std::hint::black_box;
use std::io::BufRead;
use std::time::Instant;

#[path = "../../../lang/benches/scalar/hand.rs"]
mod hand;

const SETS: usize = 256;

fn main() {
    for line in std::io::stdin().lock().lines() {
        let case = line.unwrap();
        let n = case.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or(4);
        let value = |s: usize, i: usize| ((i * 7919 + s * 104_729) % 10_007) as f64 / 10_007.0 * 4.0 - 2.0;
        let x: Vec<f64> = (0..SETS).flat_map(|s| (0..n).map(move |i| value(s, i))).collect();
        let f = hand::function(&case);
        let all = || -> f64 { black_box(&x).chunks_exact(n).map(black_box(f)).sum() };
        let sum = all();
        let start = Instant::now();
        let mut rounds = 0;
        while start.elapsed().as_secs_f64() < 0.02 {
            black_box(all());
            rounds += 1;
        }
        println!("{} {sum}", start.elapsed().as_secs_f64() * 1e9 / (rounds * SETS) as f64);
    }
}
