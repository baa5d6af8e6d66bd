//! Merge methods against mergekit's output; `tests/conformance/merge/README.md` says how the vectors were made.
#![cfg(test)]

use evo_kernels::merge::{
    Dare, Element, Linear, TaskArithmetic, Ties, dare_linear, dare_ties, linear, slerp, task_arithmetic, ties,
};
use evo_kernels::rng::Stream;
use half::bf16;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

type Weights<E> = BTreeMap<String, Vec<E>>;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/conformance/merge")
}

fn load<E: Element>(file: &str) -> Weights<E> {
    let bytes = std::fs::read(folder().join(file)).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let values = |view: &safetensors::tensor::TensorView<'_>| match view.dtype() {
        Dtype::F32 => {
            view.data().chunks_exact(4).map(|b| E::from_f32(f32::from_le_bytes(b.try_into().unwrap()))).collect()
        }
        Dtype::BF16 => view
            .data()
            .chunks_exact(2)
            .map(|b| E::from_f32(bf16::from_le_bytes(b.try_into().unwrap()).to_f32()))
            .collect(),
        other => panic!("unexpected dtype {other:?}"),
    };
    tensors.tensors().iter().map(|(name, view)| (name.clone(), values(view))).collect()
}

fn json(file: &str) -> Value {
    serde_json::from_slice(&std::fs::read(folder().join(file)).unwrap()).unwrap()
}

/// A recipe of `cases.json`; parameters given per model come first, then those of the whole merge, then the default.
struct Recipe(Value);

impl Recipe {
    fn of(case: &str) -> Self {
        Self(json("cases.json")[case].clone())
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.0[key].as_str()
    }

    fn inputs(&self) -> Vec<&Value> {
        let models = self.0["models"].as_array().unwrap().iter();
        models.filter(|m| m["model"] != self.0["base_model"]).collect()
    }

    fn per_model(&self, key: &str, default: f64) -> Vec<f64> {
        let value = |m: &Value| m["parameters"][key].as_f64().unwrap_or(default);
        self.inputs().into_iter().map(value).collect()
    }

    fn number(&self, key: &str, default: f64) -> f64 {
        self.0["parameters"][key].as_f64().unwrap_or(default)
    }

    fn flag(&self, key: &str, default: bool) -> bool {
        self.0["parameters"][key].as_bool().unwrap_or(default)
    }
}

fn merge<E: Element>(case: &str) -> Weights<E> {
    let recipe = Recipe::of(case);
    let model = |name: &str| load::<E>(&format!("models/{name}.safetensors"));
    let base = recipe.text("base_model").map(model);
    let inputs: Vec<Weights<E>> = recipe.inputs().iter().map(|m| model(m["model"].as_str().unwrap())).collect();
    let merged = inputs[0].keys().map(|name| {
        let base = base.as_ref().map(|b| &b[name][..]).unwrap_or(&[]);
        let models: Vec<&[E]> = inputs.iter().map(|m| &m[name][..]).collect();
        let mut out = vec![E::default(); models[0].len()];
        merge_tensor(&recipe, name, base, &models, &mut out);
        (name.clone(), out)
    });
    merged.collect()
}

fn merge_tensor<E: Element>(recipe: &Recipe, name: &str, base: &[E], models: &[&[E]], out: &mut [E]) {
    let (weight, density) = (&recipe.per_model("weight", f64::NAN)[..], &recipe.per_model("density", 1.0)[..]);
    let lambda = recipe.number("lambda", 1.0);
    let method = recipe.text("merge_method").unwrap();
    // Averages are normalised by default and sums are not; only DARE rescales by default.
    let normalize = recipe.flag("normalize", matches!(method, "linear" | "ties"));
    let rescale = recipe.flag("rescale", method.starts_with("dare"));
    let dare = Dare { weight, density, rescale, normalize, lambda };
    let stream = Stream::from_seed(42).child(name);
    match method {
        "linear" => linear(models, &Linear { weight, normalize }, out),
        "slerp" => slerp(base, models[0], recipe.number("t", f64::NAN), out),
        "task_arithmetic" => task_arithmetic(base, models, &TaskArithmetic { weight, normalize, lambda }, out),
        "ties" => ties(base, models, &Ties { weight, density, normalize, rescale, lambda }, out),
        "dare_linear" => dare_linear(base, models, &dare, stream, out),
        "dare_ties" => dare_ties(base, models, &dare, stream, out),
        other => panic!("unknown method {other}"),
    }
    .unwrap();
}

#[track_caller]
fn agrees_within(case: &str, tolerance: f32) {
    let (ours, theirs) = (merge::<f32>(case), load::<f32>(&format!("expected/{case}.safetensors")));
    assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
    for (name, theirs) in &theirs {
        assert_eq!(ours[name].len(), theirs.len(), "{name}");
        let worst = ours[name].iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst <= tolerance, "{case}, {name}: off by {worst:e}");
        assert!(ours[name].iter().all(|x| x.is_finite()), "{case}, {name}");
    }
}

#[test]
fn linear_methods() {
    agrees_within("linear", 1e-6);
    agrees_within("linear_nonorm", 1e-6);
}

#[test]
fn slerp_both_branches() {
    agrees_within("slerp", 1e-6);
    agrees_within("slerp_base_far", 1e-6);
}

#[test]
fn task_vectors() {
    agrees_within("task_arithmetic", 1e-6);
    agrees_within("task_arithmetic_norm_lambda", 1e-6);
}

#[test]
fn ties_with_and_without_rescale() {
    agrees_within("ties", 1e-6);
    agrees_within("ties_int8_rescale", 1e-6);
}

#[test]
fn linear_in_bf16_rounds_once() {
    let (ours, theirs) = (merge::<bf16>("linear_bf16"), load::<bf16>("expected/linear_bf16.safetensors"));
    // The weights are positive and the sums far from zero, so neighbours have neighbouring bits.
    let distance = |a: bf16, b: bf16| a.to_bits().abs_diff(b.to_bits());
    let pairs = theirs.iter().flat_map(|(name, theirs)| ours[name].iter().zip(theirs));
    let distances: Vec<u16> = pairs.map(|(a, b)| distance(*a, *b)).collect();
    let off = distances.iter().filter(|d| **d > 0).count();
    assert!(off * 1000 <= distances.len(), "{off} of {} differ", distances.len());
    assert!(distances.iter().all(|d| *d <= 1));
}

/// Exactly mergekit's bits, but for the elements whose magnitude equals a trimming threshold: which of those remain
/// is left open by its sort, and by rule the earlier ones here.
#[test]
fn ties_in_bf16_rounds_each_step() {
    let (ours, theirs) = (merge::<bf16>("ties_bf16"), load::<bf16>("expected/ties_bf16.safetensors"));
    let [base, a, b] = ["base", "a", "b"].map(|name| load::<bf16>(&format!("models/{name}.safetensors")));
    let (mut total, mut off) = (0, 0);
    for (name, theirs) in &theirs {
        let magnitudes = [&a, &b].map(|model| -> Vec<bf16> {
            let pairs = model[name].iter().zip(&base[name]);
            pairs.map(|(m, b)| bf16::from_f32((m.to_f32() - b.to_f32()).abs())).collect()
        });
        let thresholds = magnitudes.each_ref().map(|values| {
            let mut sorted = values.clone();
            sorted.sort_by(|x, y| y.total_cmp(x));
            sorted[values.len() / 2 - 1]
        });
        for (i, (x, y)) in ours[name].iter().zip(theirs).enumerate() {
            let tied = (0..2).any(|k| magnitudes[k][i] == thresholds[k]);
            assert!(tied || x == y, "{name}, element {i}: {x} is not {y}");
            off += usize::from(x != y);
            total += 1;
        }
    }
    assert!(off * 100 <= total * 4, "{off} of {total} differ");
}

/// Differences to the base, for the 2-D tensors, concatenated.
fn differences(weights: &Weights<f32>) -> Vec<f32> {
    let base = load::<f32>("models/base.safetensors");
    let matrices = base.iter().filter(|(name, _)| !name.contains("norm"));
    matrices.flat_map(|(name, b)| weights[name].iter().zip(b).map(|(x, b)| x - b)).collect()
}

fn l1(values: &[f32]) -> f64 {
    values.iter().map(|x| f64::from(x.abs())).sum()
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
}

fn share(count: usize, of: usize) -> f64 {
    count as f64 / of as f64
}

#[test]
fn dare_drops_at_random_whatever_the_magnitude_and_keeps_the_l1_norm() {
    let delta = differences(&load("models/a.safetensors"));
    let kept = differences(&merge("dare_linear_seed42"));
    let mut changed: Vec<(f32, bool)> = delta.iter().zip(&kept).map(|(d, k)| (d.abs(), *k != 0.0)).collect();
    changed.retain(|(magnitude, _)| *magnitude > 0.0);
    changed.sort_by(|a, b| a.0.total_cmp(&b.0));
    let rate = |part: &[(f32, bool)]| share(part.iter().filter(|(_, kept)| *kept).count(), part.len());
    let n = changed.len();
    for part in [&changed[..], &changed[..n * 2 / 5], &changed[n * 9 / 10..]] {
        let four_deviations = 4.0 * (0.4 * 0.6 / part.len() as f64).sqrt();
        assert!((rate(part) - 0.4).abs() < four_deviations, "kept {} of {}", rate(part), part.len());
    }
    assert!((l1(&kept) / l1(&delta) - 1.0).abs() < 2e-6);
}

#[test]
fn dare_keeps_the_l1_norm_of_every_tensor() {
    let (base, a, merged) = (
        load::<f32>("models/base.safetensors"),
        load::<f32>("models/a.safetensors"),
        merge::<f32>("dare_linear_seed42"),
    );
    for (name, base) in &base {
        let difference =
            |model: &Weights<f32>| -> Vec<f32> { model[name].iter().zip(base).map(|(x, b)| x - b).collect() };
        // Adding a small difference to a base near 1 rounds it to 6e-8, about 2e-5 of it.
        let bound = if name.contains("norm") { 1e-4 } else { 2e-6 };
        let ratio = l1(&difference(&merged)) / l1(&difference(&a));
        assert!((ratio - 1.0).abs() < bound, "{name}: {ratio}");
    }
}

/// The same summary figures as mergekit's own draw, within what two independent draws may differ by.
#[test]
fn dare_has_the_statistics_of_mergekit() {
    let (a, b) = (differences(&load("models/a.safetensors")), differences(&load("models/b.safetensors")));
    for case in ["dare_linear_seed42", "dare_ties_seed42"] {
        let theirs = &json("stochastic_stats.json")[case];
        let expect = |key: &str| theirs[key].as_f64().unwrap();
        let out = differences(&merge(case));
        assert_eq!(out.len() as f64, expect("n"));
        let nonzero = share(out.iter().filter(|x| **x != 0.0).count(), out.len());
        let n = out.len() as f64;
        // Four deviations of a difference of two draws: sqrt(2 p (1 - p) / n) with p about 0.3 to 0.65.
        assert!((nonzero - expect("nonzero_out")).abs() < 4.0 * (2.0 * 0.25 / n).sqrt(), "{case}: {nonzero}");
        assert!((l1(&out) / expect("l1_out") - 1.0).abs() < 0.02, "{case}: {}", l1(&out));
        // A dot product of ~3e4 terms of one sign varies by about 1.2 %, twice that between two draws at two deviations.
        assert!((dot(&out, &a) / expect("dot_out_a") - 1.0).abs() < 0.05, "{case}: {}", dot(&out, &a));
        assert!((dot(&out, &b) - expect("dot_out_b")).abs() < 0.05 * expect("sq_b"), "{case}: {}", dot(&out, &b));
    }
}
