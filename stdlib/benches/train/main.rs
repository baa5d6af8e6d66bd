//! Training steps on a real model, for `tests/benches/train/run.py`: `train MODEL TOKENS full|lora f32|bf16 THREADS [DEVICE]`. Answers a
//! line `STEPS` with the seconds that these steps took and the loss of the last, and `peak` with the most memory that the
//! process ever held, in bytes. TOKENS is a file of rows, each step learns all of them.

#![allow(unused_crate_dependencies, missing_docs, reason = "a benchmark")]
#![allow(clippy::disallowed_types, clippy::unwrap_used, clippy::print_stdout, clippy::panic, reason = "a benchmark")]

use std::io::BufRead;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use evo_stdlib::model::{Device, Place, hf};
use evo_stdlib::train::{Event, Example, NextToken, Places, Settings, Update, UpdateMethod, train};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [model, tokens, mode, dtype, threads, more @ ..] = arguments.as_slice() else {
        panic!("train MODEL TOKENS full|lora f32|bf16 THREADS [DEVICE]");
    };
    let rows: Vec<Vec<u32>> = serde_json::from_str(&std::fs::read_to_string(tokens).unwrap()).unwrap();
    let batch = rows.len();
    let examples = rows.into_iter().map(|tokens| Example::after(tokens, 1)).collect();
    let objective = NextToken::new(examples).unwrap();
    let method = match mode.as_str() {
        "lora" => UpdateMethod::LowRank { rank: 8, alpha: 16.0, on: Places::default(), lengths: false, seed: 0 },
        _ => UpdateMethod::Full,
    };
    let update = Update { method, bf16: dtype == "bf16" };
    let settings = Settings { batch, warmup: 0, floor: 1.0, update, ..Settings::new(1 << 20, 1e-4) };
    let device = match more {
        [name] => Device::open(name).unwrap(),
        _ => Device::best(),
    };
    let place = Place { threads: threads.parse().unwrap(), device, ..Place::default() };
    let model = hf(Path::new(model)).unwrap();

    let mut lines = std::io::stdin().lock().lines().map_while(Result::ok);
    let mut wanted = next(&mut lines);
    let mut begun = Instant::now();
    let mut observe = |event: Event<'_>| {
        let Event::Step { loss, .. } = event else { return ControlFlow::Continue(()) };
        wanted = wanted.map(|steps| steps - 1);
        if wanted == Some(0) {
            println!("{} {loss}", begun.elapsed().as_secs_f64());
            wanted = next(&mut lines);
            begun = Instant::now();
        }
        if wanted.is_none() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    // Ends when there is nothing more to answer.
    train(&model, &objective, &settings, &place, &mut observe).unwrap_err();
}

/// How many steps are asked for next; questions after memory are answered.
fn next(lines: &mut impl Iterator<Item = String>) -> Option<usize> {
    loop {
        let line = lines.next()?;
        if line.trim() != "peak" {
            return Some(line.trim().parse().unwrap());
        }
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix("kB"));
        println!("{}", 1024 * kilobytes.unwrap().trim().parse::<u64>().unwrap());
    }
}
