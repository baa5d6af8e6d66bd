//! Gradients against PyTorch's: every tensor of the small models of all families. `tests/conformance/train/README.md` says how
//! the vectors were made and what the tolerances come from.
#![cfg(test)]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::{Path, PathBuf};

use evo_kernels::backprop::{Batch, Goal, Gradients, Network, Start, StartVector, Workspace};
use evo_kernels::decode::Slot;
use evo_stdlib::model::families::Source;
use evo_stdlib::model::{Model, hf};
use serde::Deserialize;

/// What is told of one gradient.
#[derive(Deserialize)]
struct Told {
    shape: Vec<usize>,
    norm: f64,
    sum: f64,
    along: f64,
    first: Vec<f64>,
}

#[derive(Deserialize)]
struct Expected {
    log_probabilities: Vec<f64>,
    gradients: BTreeMap<String, Told>,
}

#[derive(Deserialize)]
struct Vectors {
    sequences: Vec<Vec<u32>>,
    learned: Vec<Vec<bool>>,
    slopes: Vec<f32>,
    #[serde(flatten)]
    models: BTreeMap<String, Expected>,
}

/// Relative to the gradient's length. PyTorch's own f32 is off by up to 6e-6.
const TOLERANCE: f64 = 3e-5;

fn conformance(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/conformance").join(folder)
}

fn vectors() -> Vectors {
    serde_json::from_slice(&std::fs::read(conformance("train/families.json")).unwrap()).unwrap()
}

/// The numbers that `formula.py` calls `uniform`.
fn uniform(name: &str, count: usize) -> impl Iterator<Item = f64> + use<> {
    let seed = name
        .bytes()
        .fold(0xCBF2_9CE4_8422_2325_u64, |state, byte| (state ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3));
    (1..=count as u64).map(move |i| {
        let z = seed.wrapping_add(i.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ z >> 31) >> 40) as f64 / f64::from(1 << 23) - 1.0
    })
}

/// Where the decoder's weights lie in the model's tensors.
fn sources(model: &Model) -> Vec<Source> {
    let mut sources = Vec::new();
    model.config.family.for_each_source(&model.config.decoder, |source| sources.push(source));
    sources
}

fn values(model: &Model, source: &Source) -> Vec<f32> {
    let tensor = &model.tensors[&source.tensor];
    let part = source.cut.as_ref().map_or_else(|| tensor.clone(), |cut| tensor.cut(cut).unwrap());
    part.to_f32().unwrap().iter().map(|x| x + source.plus).collect()
}

/// A network of which every weight is trained.
fn network(model: &Model) -> Network {
    let sources = sources(model);
    let of = |slot: &Slot| values(model, sources.iter().find(|source| source.slot == *slot).unwrap());
    let made = Network::new(
        model.config.decoder.clone(),
        |slot| Ok::<_, Infallible>(Start::Trained(of(slot))),
        |slot| Ok(StartVector::Trained(of(slot))),
    );
    made.unwrap_or_else(|never| match never {})
}

/// The sequences packed together. An encoder sees all of a sequence, a decoder what lies before.
fn batch(vectors: &Vectors, causal: bool) -> Batch {
    let mut batch = Batch::default();
    for (tokens, learned) in vectors.sequences.iter().zip(&vectors.learned) {
        if causal {
            batch.push_masked(tokens, learned);
        } else {
            let next = tokens.iter().zip(learned).skip(1);
            let targets: Vec<Option<u32>> = next.map(|(&token, &learned)| learned.then_some(token)).collect();
            batch.push_aligned(&tokens[..targets.len()], &targets);
        }
    }
    batch
}

/// The gradients of the model's tensors, of those of its decoder's weights.
fn by_tensor(model: &Model, network: &Network, gradients: &Gradients) -> BTreeMap<String, Vec<f64>> {
    let mut tensors: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for source in sources(model) {
        let index = network.parameters().iter().position(|parameter| parameter.slot == source.slot);
        let gradient = &gradients[index.unwrap()];
        let tensor =
            tensors.entry(source.tensor.clone()).or_insert_with(|| vec![0.0; source.shape.iter().product::<usize>()]);
        let (first, transposed) = source.cut.as_ref().map_or((0, false), |cut| (cut.rows.start, cut.transposed));
        // A vector that is the first row of a matrix.
        let cols = if source.slot.cols == 1 { 1 } else { source.slot.cols };
        let total = tensor.len() / cols;
        for (i, value) in gradient.iter().enumerate() {
            let (row, col) = (first + i / cols, i % cols);
            tensor[if transposed { col * total + row } else { row * cols + col }] = f64::from(*value);
        }
    }
    tensors
}

/// Whether a gradient is the one that is told of; `largest` is the length of the model's longest.
fn assert_told(name: &str, gradient: &[f64], told: &Told, largest: f64) {
    assert_eq!(gradient.len(), told.shape.iter().product::<usize>(), "{name}");
    // A gradient of nothing but rounding, such as that of a key's bias without rotation, has no length to compare with.
    let allowed = TOLERANCE * told.norm.max(1e-3 * largest);
    let near = |what: &str, found: f64, expected: f64| {
        assert!((found - expected).abs() <= allowed, "{name}: {what} {found} is not {expected} (± {allowed:e})");
    };
    near("norm", gradient.iter().map(|g| g * g).sum::<f64>().sqrt(), told.norm);
    near("sum", gradient.iter().sum(), told.sum);
    let direction = uniform(&format!("direction of {}", name.split_once(": ").unwrap().1), gradient.len());
    near("along", gradient.iter().zip(direction).map(|(g, d)| g * d).sum(), told.along);
    gradient.iter().zip(&told.first).for_each(|(found, expected)| near("element", *found, *expected));
}

#[test]
fn every_tensor_of_every_family_has_pytorchs_gradient() {
    let vectors = vectors();
    assert_eq!(vectors.models.len(), 20);
    for (name, expected) in &vectors.models {
        let model = hf(&conformance("families").join(name)).unwrap();
        let network = network(&model);
        let batch = batch(&vectors, model.config.causal);
        assert_eq!(batch.targets(), vectors.slopes.len());
        let mut ws = Workspace::new(2);
        let tape = network.forward(&mut ws, &batch);
        for (found, expected) in tape.log_probabilities.iter().zip(&expected.log_probabilities) {
            assert!((f64::from(*found) - expected).abs() < 2e-5, "{name}: {found} is not {expected}");
        }
        let mut gradients = network.gradients();
        network.backward(&mut ws, &batch, tape, &vectors.slopes, &mut gradients);
        let tensors = by_tensor(&model, &network, &gradients);
        assert!(tensors.keys().eq(expected.gradients.keys()), "{name}: {:?}", tensors.keys());
        let largest = expected.gradients.values().map(|told| told.norm).fold(0.0, f64::max);
        for (tensor, told) in &expected.gradients {
            assert_told(&format!("{name}: {tensor}"), &tensors[tensor], told, largest);
        }

        // Forward and reverse at once.
        let mut at_once = network.gradients();
        let found = network.learn(&mut ws, &batch, &Goal::Tokens, &vectors.slopes, &mut at_once);
        assert_eq!(found.len(), vectors.slopes.len());
        let tensors = by_tensor(&model, &network, &at_once);
        for (tensor, told) in &expected.gradients {
            assert_told(&format!("{name}: {tensor}"), &tensors[tensor], told, largest);
        }
    }
}
