//! The decoder on a real model, for `tests/benches/decode/run.py`: reads a folder with `cases.json` and the model in several
//! formats, answers each line `FORMAT CASE` with seconds and a check sum. `peak` gives the machine's rates of the same moment.

#![allow(unused_crate_dependencies, missing_docs, reason = "a benchmark")]
#![allow(clippy::disallowed_types, clippy::unwrap_used, clippy::print_stdout, clippy::panic, reason = "a benchmark")]

use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::Path;
use std::time::Instant;

use evo_kernels::decode::Decoder;
use evo_stdlib::model::{gguf, hf};
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
        let (format, case) = line.split_once(' ').unwrap();
        let decoder = decoders.entry(format.into()).or_insert_with(|| open(folder, format));
        let start = Instant::now();
        let check = run(decoder, &cases[case]);
        println!("{} {check}", start.elapsed().as_secs_f64());
    }
}

fn open(folder: &Path, format: &str) -> Decoder {
    let model = match format {
        "q4_1" => gguf(&folder.join("q4_1.gguf")).unwrap(),
        other => hf(&folder.join(other)).unwrap(),
    };
    model.decoder(THREADS).unwrap()
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
