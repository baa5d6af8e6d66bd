//! A generation of paths through the layers of two models that begin alike: with and without sharing what their lower layers give.

use std::sync::atomic::{AtomicUsize, Ordering};

use evo_stdlib::data::{Cell, Data, Template};
use evo_stdlib::model::{Card, Device, Model, Place, Tensors, hf};
use evo_stdlib::task::{Memory, Method, Prepared, Task, score};

use super::{CANDIDATES, JOBS, Moment};

/// Bytes that residuals may take.
const LIMIT: usize = 1 << 30;

/// Asks all paths, whose first `shared` layers are the first model's, in two ways, in turns.
pub(super) fn run(model: &std::path::Path, other: &std::path::Path, rows: &[&str], shared: usize, rounds: usize) {
    let (base, other) = (hf(model).unwrap(), hf(other).unwrap());
    let task = task(rows).prepare(&base).unwrap();
    let paths: Vec<Model> = (0..CANDIDATES).map(|i| path(&base, &other, shared, i)).collect();
    // Layers are packed once, as a search has them from its first generations.
    paths.iter().for_each(|path| drop(path.decoder(JOBS).unwrap()));
    for _ in 0..rounds {
        let (alone, expected, _) = asked(&paths, &task, None);
        let memory = Memory::new(LIMIT);
        let (first, found, bytes) = asked(&paths, &task, Some(&memory));
        let (later, again, _) = asked(&paths, &task, Some(&memory));
        assert!(expected == found && expected == again, "sharing changes nothing");
        println!(
            "{CANDIDATES} paths, {shared} layers alike: alone {alone:.2} s, shared {first:.2} s, the next time {later:.2} s, {} MB kept",
            bytes >> 20
        );
    }
}

fn task(rows: &[&str]) -> Task {
    let row = |row: &&str| {
        let row: serde_json::Value = serde_json::from_str(row).unwrap();
        ["question", "answer"].map(|name| Cell::from(row[name].as_str().unwrap())).to_vec()
    };
    let data = Data::new(&["question", "answer"], rows.iter().map(row).collect()).unwrap();
    let template = |text| Template::parse(text).unwrap();
    let method = Method::Likelihood { end: true };
    Task { data, prompt: template("{question}\nAnswer:"), expected: template(" {answer}"), method }
}

/// A path as long as the model, whose upper layers are drawn from those of both.
fn path(base: &Model, other: &Model, shared: usize, candidate: usize) -> Model {
    let layers = base.config.num_layers();
    let steps: Vec<(&Model, usize)> = (0..layers)
        .map(|i| match i < shared {
            true => (base, i),
            false => {
                let draw = (candidate * layers + i).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
                (if draw.is_multiple_of(2) { base } else { other }, shared + draw / 2 % (layers - shared))
            }
        })
        .collect();
    let tensor = |name: &String| {
        let layer = name.split('.').find_map(|word| word.parse::<usize>().ok());
        let Some((from, at)) = layer.and_then(|layer| steps.get(layer)) else { return base.tensors[name].clone() };
        let source = name.replacen(&format!(".{}.", layer.unwrap()), &format!(".{at}."), 1);
        from.tensors[&source].clone()
    };
    let tensors: Tensors = base.tensors.keys().map(|name| (name.clone(), tensor(name))).collect();
    base.with_tensors(format!("path {candidate}"), tensors, Card::default())
}

/// Asks all, two at a time: seconds, scores, and the bytes that are kept after it.
fn asked(paths: &[Model], task: &Prepared, memory: Option<&Memory>) -> (f64, Vec<u64>, usize) {
    let next = AtomicUsize::new(0);
    let start = Moment::now();
    let mut scores: Vec<(usize, u64)> = std::thread::scope(|scope| {
        let one = |_| {
            scope.spawn(|| {
                let mut scores = Vec::new();
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    let Some(path) = paths.get(i) else { return scores };
                    let place = Place {
                        threads: 1,
                        device: Device::best(),
                        residuals: memory.map(|memory| memory.residuals.clone()),
                        ..Place::default()
                    };
                    scores.push((i, score(path, task, place).unwrap().value.to_bits()));
                }
            })
        };
        let jobs: Vec<_> = (0..JOBS).map(one).collect();
        jobs.into_iter().flat_map(|job| job.join().unwrap()).collect()
    });
    let spent = Moment::now().since(&start);
    scores.sort();
    (
        spent.wall,
        scores.into_iter().map(|(_, score)| score).collect(),
        memory.map_or(0, |memory| memory.residuals.bytes()),
    )
}
