//! The decoder on a real model, for `tests/benches/decode/run.py`: reads a folder with `cases.json` and the model in several
//! formats, answers each line `FORMAT CASE` with seconds and a check sum. `peak` gives the machine's f32 operations and bytes read a second at that moment.

#![allow(unused_crate_dependencies, missing_docs, reason = "a benchmark")]
#![allow(clippy::disallowed_types, clippy::unwrap_used, clippy::print_stdout, clippy::panic, reason = "a benchmark")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::io::BufRead;
use std::path::Path;
use std::time::Instant;

use evo_kernels::decode::Decoder;
use evo_kernels::matmul::roofline;
use evo_stdlib::model::{Device, Place, gguf, hf};
use serde::Deserialize;

/// What is asked in one case.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Case {
    /// The logits after each prompt.
    Prompt { prompts: Vec<Vec<u32>> },
    /// Greedy tokens after each prompt.
    Greedy { prompts: Vec<Vec<u32>>, new: usize },
    /// The log-probability of each continuation, given its prompt.
    Likelihood { pairs: Vec<(Vec<u32>, Vec<u32>)> },
}

const THREADS: usize = 2;

fn main() {
    let folder = std::env::args().nth(1).unwrap();
    let folder = Path::new(&folder);
    let cases: BTreeMap<String, Case> =
        serde_json::from_str(&std::fs::read_to_string(folder.join("cases.json")).unwrap()).unwrap();
    let mut decoders: BTreeMap<String, Decoder> = BTreeMap::new();
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        if line == "peak" {
            let (flops, bytes) = peak();
            println!("{flops} {bytes}");
            continue;
        }
        let (format, case) = line.split_once(' ').unwrap();
        let decoder = decoders.entry(format.into()).or_insert_with(|| open(folder, format));
        let start = Instant::now();
        let check = run(decoder, &cases[case]);
        println!("{} {check}", start.elapsed().as_secs_f64());
    }
}

/// f32 operations a second, and bytes read from memory a second, on all threads.
fn peak() -> (f64, f64) {
    const ROUNDS: u64 = 2_000_000;
    let data = vec![1.0_f32; 1 << 26];
    let on_all = |work: &(dyn Fn(usize) -> f32 + Sync)| {
        let start = Instant::now();
        std::thread::scope(|scope| {
            let all: Vec<_> = (0..THREADS).map(|i| scope.spawn(move || black_box(work(i)))).collect();
            all.into_iter().for_each(|thread| assert!(!thread.join().unwrap().is_nan()));
        });
        start.elapsed().as_secs_f64()
    };
    let best = |work: &(dyn Fn(usize) -> f32 + Sync)| (0..3).map(|_| on_all(work)).fold(f64::MAX, f64::min);
    let part = data.len() / THREADS;
    let computing = best(&|_| roofline::multiply_adds(ROUNDS));
    let reading = best(&|i| roofline::read(&data[i * part..(i + 1) * part]));
    let operations = 2 * THREADS as u64 * ROUNDS * roofline::ROUND;
    (operations as f64 / computing, (4 * data.len()) as f64 / reading)
}

fn open(folder: &Path, format: &str) -> Decoder {
    let model = match format {
        "q4_1" => gguf(&folder.join("q4_1.gguf")).unwrap(),
        other => hf(&folder.join(other)).unwrap(),
    };
    model.decoder(Place { threads: THREADS, device: Device::best(), ..Place::default() }).unwrap()
}

/// A number that all implementations agree on but for rounding.
fn run(decoder: &Decoder, case: &Case) -> f64 {
    match case {
        Case::Prompt { prompts } => {
            let ids = decoder.greedy(prompts, 1, &[], THREADS).unwrap();
            ids.iter().flatten().map(|&id| f64::from(id)).sum()
        }
        Case::Greedy { prompts, new } => {
            let ids = decoder.greedy(prompts, *new, &[], THREADS).unwrap();
            ids.iter().flatten().map(|&id| f64::from(id)).sum()
        }
        Case::Likelihood { pairs } => {
            let pairs: Vec<(&[u32], &[u32])> = pairs.iter().map(|(p, c)| (p.as_slice(), c.as_slice())).collect();
            decoder.logprobs(&pairs, THREADS).unwrap().iter().flatten().map(|&x| f64::from(x)).sum()
        }
    }
}
