//! Fuzz targets that need no other compiler: texts of the repository are damaged, or laid out anew, or drawn at random, and
//! given to one part of the language, which must keep its promises.
//!
//! Each target first replays its corpus, `tests/fuzz/corpus/TARGET/`: small files, one for each finding. Then it tries a fixed
//! number of mutants, the same in every run. By hand, `EVO_FUZZ=SECONDS[:SEED] cargo test -p evo-lang --test fuzz TARGET --
//! --nocapture` goes on for as long as that with other mutants; the one at hand lies in `target/tmp/TARGET-SEED.evo`, for those that take the
//! process with them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test reads files and the clock, and fails loudly"
)]

// The block operations are taken by path, so that this builds without the tensor crates. A target with a harness of its own
// runs none of their tests.
extern crate self as evo_kernels;

#[path = "../../../kernels/src/block/mod.rs"]
#[allow(dead_code, unreachable_pub, missing_docs, reason = "a module of another member")]
pub mod block;
#[path = "../../../stdlib/src/numeric/blocks.rs"]
#[allow(unreachable_pub, reason = "a module of another member")]
mod blocks;
mod mutate;
mod rows;
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Trial};
use mutate::Draw;

/// What takes longer than this hangs.
const DEADLINE: Duration = Duration::from_secs(120);

/// One part of the language and its promises.
#[derive(Clone, Copy)]
struct Target {
    name: &'static str,
    /// How many mutants a run of the tests tries.
    count: u64,
    /// Makes a mutant.
    make: fn(&mut Draw, &[String]) -> String,
    /// Says which promise a text breaks.
    work: fn(&str) -> Result<(), String>,
}

const TARGETS: [Target; 5] = [
    Target { name: "parse", count: 2000, make: mutate::damaged, work: targets::parse },
    Target { name: "check", count: 1500, make: mutate::damaged, work: targets::check },
    Target { name: "fmt", count: 1200, make: mutate::respaced, work: targets::fmt },
    Target { name: "differential", count: 1500, make: mutate::damaged, work: targets::differential },
    Target { name: "rows", count: 400, make: rows::program, work: rows::work },
];

fn main() {
    let args = Arguments::from_args();
    let trial = |target: Target| {
        Trial::test(target.name, move || {
            fuzz(target);
            Ok(())
        })
    };
    libtest_mimic::run(&args, TARGETS.map(trial).into()).exit();
}

fn fuzz(target: Target) {
    let asked = std::env::var("EVO_FUZZ").ok();
    let seed = asked.as_deref().and_then(|a| a.split_once(':')).map_or(1, |(_, seed)| seed.parse().unwrap());
    let seconds: Option<u64> = asked.as_deref().map(|a| a.split(':').next().unwrap().parse().unwrap());
    let (tell, told) = channel();
    let worker = std::thread::spawn(move || try_all(target, seed, seconds, &tell));
    let mut last = String::new();
    loop {
        match told.recv_timeout(DEADLINE) {
            Ok(Ok(text)) => last = text,
            Ok(Err(why)) => {
                std::fs::write(kept(target, seed), &last).unwrap();
                panic!("{why}\n--- in {} ---\n{last}", kept(target, seed).display());
            }
            Err(RecvTimeoutError::Timeout) => panic!("this hangs:\n{last}"),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    worker.join().unwrap();
}

/// Tries texts one after another; sends each before it is tried, then what went wrong with it.
fn try_all(target: Target, seed: u64, seconds: Option<u64>, tell: &Sender<Result<String, String>>) {
    for text in corpus(target.name) {
        if attempt(target, text, "a text of the corpus", tell).is_err() {
            return;
        }
    }
    let programs = targets::seeds(target.name);
    let began = Instant::now();
    let goes_on = |i: u64| seconds.map_or(i < target.count, |s| began.elapsed() < Duration::from_secs(s));
    let mut i = 0;
    while goes_on(i) {
        let text = (target.make)(&mut Draw(seed << 32 | i), &programs);
        if seconds.is_some() {
            std::fs::write(kept(target, seed), &text).unwrap();
        }
        if attempt(target, text, &format!("mutant {i} of seed {seed}"), tell).is_err() {
            return;
        }
        i += 1;
    }
    if seconds.is_some() {
        eprintln!("{}: {i} mutants of seed {seed} in {:.0?}", target.name, began.elapsed());
    }
}

fn attempt(target: Target, text: String, what: &str, tell: &Sender<Result<String, String>>) -> Result<(), ()> {
    tell.send(Ok(text.clone())).unwrap();
    let problem = match catch_unwind(AssertUnwindSafe(|| (target.work)(&text))) {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(why)) => format!("{}: {what}: {why}", target.name),
        Err(_) => format!("{}: {what} panics", target.name),
    };
    tell.send(Err(problem)).unwrap();
    Err(())
}

fn kept(target: Target, seed: u64) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{seed}.evo", target.name))
}

/// The findings of a target, in the order of their names.
fn corpus(name: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus").join(name);
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| String::from_utf8_lossy(&std::fs::read(file).unwrap()).into_owned()).collect()
}
