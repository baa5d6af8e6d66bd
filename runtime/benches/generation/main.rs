//! A generation of a search on a real model: how much of its time is not spent in forward passes.
//!
//! `cargo bench -p evo --bench generation -- MODEL ROWS.jsonl [MERGE [COUNT [ROUNDS]]]`: MODEL is a Hugging Face directory, beside
//! which a copy with other weights is made and kept; of ROWS the first COUNT (64) `question`s and `answer`s are asked. CMA-ES searches
//! for a weight a layer of the MERGE (`linear`) of the two; each round is one generation of 16 candidates through the embedding API
//! with two jobs, then the same forward passes alone, on weights that are packed already, two at a time as a run has them.
//!
//! With `paths` for MERGE, or `paths:20`, each round asks 16 paths through the layers of both that begin with the same 20, each
//! alone and sharing what these give.

#![allow(unused_crate_dependencies, missing_docs, reason = "a benchmark")]
#![allow(clippy::disallowed_types, clippy::unwrap_used, clippy::print_stdout, clippy::panic, reason = "a benchmark")]

mod paths;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use evo::engine::{Engine, RunOptions, Settings};
use evo::events::{Event, EventKind, Observer};
use evo_stdlib::model::{Device, Model, Place, Tensor, Tensors, hf, save};

const CANDIDATES: usize = 16;
const JOBS: usize = 2;

/// When the search began, and when its generations were told.
#[derive(Default)]
struct Clock(Mutex<Vec<Moment>>);

impl Observer for Clock {
    fn event(&self, event: &Event) {
        let counts = match &event.kind {
            EventKind::NodeStarted { kind, .. } => kind == "evolve",
            EventKind::Generation { .. } => true,
            _ => false,
        };
        if counts {
            self.0.lock().unwrap().push(Moment::now());
        }
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let [model, rows, rest @ ..] = args.as_slice() else {
        return println!("usage: cargo bench -p evo --bench generation -- MODEL ROWS.jsonl [MERGE [COUNT [ROUNDS]]]");
    };
    let merge = rest.first().map_or("linear", String::as_str);
    let number = |i: usize, default| rest.get(i).map_or(default, |text: &String| text.parse().unwrap());
    let (count, rounds) = (number(1, 64), number(2, 3));
    let (model, rows) = (std::fs::canonicalize(model).unwrap(), std::fs::read_to_string(rows).unwrap());
    let other = perturbed(&model);
    let rows: Vec<&str> = rows.lines().take(count).collect();
    if let Some(shared) = merge.strip_prefix("paths") {
        let shared = shared.strip_prefix(':').map_or(20, |layers| layers.parse().unwrap());
        return paths::run(&model, &other, &rows, shared, rounds);
    }
    let pairs = tokens(&hf(&model).unwrap(), &rows);
    let tokens: usize = pairs.iter().map(|(p, a)| p.len() + a.len()).sum();
    println!("{} rows, {tokens} tokens, {CANDIDATES} candidates, {JOBS} jobs, {merge}", rows.len());
    let mut shares = Vec::new();
    for round in 0..rounds {
        let total = generation(&program(&model, &other, merge), &rows.join("\n"), round);
        let forward = forward(&model, &pairs);
        let outside = |of: fn(&Spent) -> f64| 100.0 * (1.0 - of(&forward) / of(&total));
        let (wall, processor) = (outside(|spent| spent.wall), outside(|spent| spent.user + spent.system));
        println!("generation {total}; forward {forward}; outside {wall:.1} % of wall, {processor:.1} % of processor");
        shares.push((wall, processor));
    }
    shares.sort_by(|a, b| a.1.total_cmp(&b.1));
    let (wall, processor) = shares[shares.len() / 2];
    println!("median: {wall:.1} % of wall, {processor:.1} % of processor");
}

/// Seconds: of the clock, and of the processor in this process and in the system for it.
struct Spent {
    wall: f64,
    user: f64,
    system: f64,
}

impl std::fmt::Display for Spent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.2} s ({:.2} + {:.2} of processor)", self.wall, self.user, self.system)
    }
}

/// A moment.
#[derive(Clone, Copy)]
struct Moment {
    wall: Instant,
    user: f64,
    system: f64,
}

impl Moment {
    fn now() -> Self {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let seconds = |i: usize| fields[i].parse::<f64>().unwrap() / 100.0;
        Self { wall: Instant::now(), user: seconds(11), system: seconds(12) }
    }

    fn since(&self, before: &Self) -> Spent {
        let wall = self.wall.duration_since(before.wall).as_secs_f64();
        Spent { wall, user: self.user - before.user, system: self.system - before.system }
    }
}

fn program(model: &Path, other: &Path, merge: &str) -> String {
    let arguments = match merge {
        "linear" => "models: [base, other], weight: (m, t) => if m == 0 then 1 - g.w[t.layer] else g.w[t.layer]",
        "slerp" => "a: base, b: other, t: [t => g.w[t.layer]]",
        "elementwise" => "models: [base, other], f: (a, b) => a + g.w[0] * (b - a)",
        _ => "base: base, models: [other], weight: [t => g.w[t.layer]]",
    };
    format!(
        r#"
param seed: int = 1
model base = hf("{}")
model other = hf("{}")
data rows = jsonl("rows.jsonl", columns: ["question", "answer"])
task worked = likelihood {{ data: rows, prompt: "{{question}}\nAnswer:", expected: " {{answer}}" }}
genome Recipe {{ w: real[layers(base)] in 0..1 }}
merge child(g: Recipe) = {merge} {{ {arguments} }}
fitness skill(g: Recipe) = score(child(g), worked)
evolve search {{
  maximize: skill
  by: cma_es {{ population: {CANDIDATES}, sigma: 0.2 }}
  stop: {{ generations: 1 }}
}}
print search.score
"#,
        model.display(),
        other.display()
    )
}

/// What the one generation of a run takes, from its asking to its telling.
fn generation(program: &str, rows: &str, seed: usize) -> Spent {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("rows.jsonl"), rows).unwrap();
    let file = folder.path().join("generation.evo");
    std::fs::write(&file, program).unwrap();
    let clock = Arc::new(Clock::default());
    let engine = Engine::builder().cwd(folder.path()).jobs(JOBS).observer(clock.clone()).build();
    let program = engine.load(&file).unwrap_or_else(|e| panic!("{e}"));
    let plan = program.plan(&Settings::new().set("seed", seed as i64)).unwrap_or_else(|e| panic!("{e}"));
    let outcome = plan.start(RunOptions::default()).unwrap().wait();
    assert_eq!(outcome.exit_code(), 0, "{:?}", outcome.failure);
    let times = clock.0.lock().unwrap();
    let [start, told] = times.as_slice() else { panic!("one search of one generation") };
    told.since(start)
}

/// What is taken by as many forward passes as the generation has, with nothing between them.
fn forward(model: &Path, pairs: &[(Vec<u32>, Vec<u32>)]) -> Spent {
    let decoder =
        hf(model).unwrap().decoder(Place { threads: JOBS, device: Device::best(), ..Place::default() }).unwrap();
    let pairs: Vec<(&[u32], &[u32])> = pairs.iter().map(|(p, a)| (p.as_slice(), a.as_slice())).collect();
    let next = AtomicUsize::new(0);
    let start = Moment::now();
    std::thread::scope(|scope| {
        for _ in 0..JOBS {
            scope.spawn(|| {
                while next.fetch_add(1, Ordering::Relaxed) < CANDIDATES {
                    std::hint::black_box(decoder.logprobs(&pairs, 1).unwrap());
                }
            });
        }
    });
    Moment::now().since(&start)
}

fn tokens(model: &Model, rows: &[&str]) -> Vec<(Vec<u32>, Vec<u32>)> {
    let tokenizer = model.require_tokenizer().unwrap();
    let pair = |row: &&str| {
        let row: serde_json::Value = serde_json::from_str(row).unwrap();
        let text = |name: &str| row[name].as_str().unwrap().to_owned();
        let prompt = tokenizer.encode(&(text("question") + "\nAnswer:"), true).unwrap();
        let mut answer = tokenizer.encode(&format!(" {}", text("answer")), false).unwrap();
        answer.extend(model.stop_ids().first());
        (prompt, answer)
    };
    rows.iter().map(pair).collect()
}

/// The model with every weight changed a little, saved beside it.
fn perturbed(model: &Path) -> PathBuf {
    let folder = model.with_file_name(format!("{}-perturbed", model.file_name().unwrap().to_string_lossy()));
    if !folder.exists() {
        let base = hf(model).unwrap();
        let change = |(name, tensor): (&String, &Tensor)| {
            let values = tensor.to_f32().unwrap();
            let values = values.iter().enumerate().map(|(i, x)| x * (1.0 + 0.02 * (i as f32).sin())).collect();
            (name.clone(), Tensor::from_f32_as(tensor.dtype(), values, tensor.shape().to_vec()).unwrap())
        };
        let tensors: Tensors = base.tensors.iter().map(change).collect();
        save(&base.with_tensors("perturbed", tensors, base.card.as_ref().clone()), &folder).unwrap();
    }
    folder
}
