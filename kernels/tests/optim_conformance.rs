//! CMA-ES against pycma and cmaes; `tests/conformance/search/README.md` says how the vectors were made.
#![cfg(test)]

use evo_kernels::optim::{CmaEs, CmaParams, CmaSettings, Coordinate, Optimizer, default_population};
use evo_kernels::rng::Stream;
use evo_kernels::stats::median;
use serde_json::Value;
use std::path::Path;

fn json(file: &str) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/conformance/search");
    serde_json::from_slice(&std::fs::read(folder.join(file)).unwrap()).unwrap()
}

#[test]
fn constants_are_those_of_pycma() {
    let near = |name: &str, ours: f64, theirs: &Value| {
        let theirs = theirs.as_f64().unwrap();
        assert!((ours - theirs).abs() <= 1e-9 * theirs.abs().max(1.0), "{name}: {ours} is not {theirs}");
    };
    for (dimension, theirs) in json("cma_default_params.json")["dims"].as_object().unwrap() {
        let dimension: usize = dimension.parse().unwrap();
        let population = default_population(dimension);
        assert_eq!(population as u64, theirs["popsize"].as_u64().unwrap());
        let ours = CmaParams::new(dimension, population);
        assert_eq!(ours.mu as u64, theirs["mu"].as_u64().unwrap());
        for (name, value) in [
            ("mueff", ours.mu_eff),
            ("cc", ours.c_c),
            ("c1", ours.c_1),
            ("cmu", ours.c_mu),
            ("cs", ours.c_sigma),
            ("damps", ours.d_sigma),
            ("chiN", ours.chi_n),
        ] {
            near(name, value, &theirs[name]);
        }
        let weights = theirs["weights"].as_array().unwrap();
        assert_eq!(ours.weights.len(), weights.len());
        ours.weights.iter().zip(weights).for_each(|(a, b)| near("weight", *a, b));
    }
}

fn cost(function: &str, x: &[f64]) -> f64 {
    let n = x.len();
    match function {
        "sphere" => x.iter().map(|v| v * v).sum(),
        "ellipsoid" => (0..n).map(|i| 10f64.powf(6.0 * i as f64 / (n as f64 - 1.0)) * x[i] * x[i]).sum(),
        "rosenbrock" => x.windows(2).map(|w| 100.0 * (w[1] - w[0] * w[0]).powi(2) + (1.0 - w[0]).powi(2)).sum(),
        other => panic!("unknown function {other}"),
    }
}

/// Evaluations until the cost is below 1e-9, `None` if the search ends before.
fn evaluations(function: &str, dimension: usize, seed: u64) -> Option<f64> {
    let stream = Stream::from_seed(seed);
    let mut settings = CmaSettings::new(vec![Coordinate::FREE; dimension]);
    settings.start = (0..dimension as u64).map(|i| 6.0 * stream.child("start").uniform(i) - 3.0).collect();
    settings.sigma = 1.0;
    let mut search = CmaEs::new(settings, stream).unwrap();
    while search.stop().is_none() {
        let costs: Vec<f64> = search.ask().iter().map(|x| cost(function, x)).collect();
        search.tell(&costs).unwrap();
        if costs.iter().any(|c| *c < 1e-9) {
            return Some((search.generation() * search.population() as u64) as f64);
        }
    }
    None
}

/// The gates of the README, over 15 seeds.
fn takes_as_long_as_the_peers(dimension: usize) {
    let runs = &json("cma_distribution.json")["runs"];
    for function in ["sphere", "ellipsoid", "rosenbrock"] {
        let ours: Vec<f64> = (0..15).filter_map(|seed| evaluations(function, dimension, seed)).collect();
        let key = format!("{function}:{dimension}:d");
        let peers = ["pycma", "cmaes"].map(|library| &runs[library][&key]);
        let least = if function == "rosenbrock" { 11 } else { 15 };
        assert!(ours.len() >= least, "{key}: {} of 15", ours.len());
        let bound = |run: &Value, quartile: &str, factor: f64| run[quartile].as_f64().unwrap() * factor;
        let within = |run: &&Value| (bound(run, "q1", 0.8)..=bound(run, "q3", 1.25)).contains(&median(&ours));
        assert!(peers.iter().any(within), "{key}: median {} of {ours:?}", median(&ours));
    }
}

#[test]
fn five_dimensions_take_as_long_as_the_peers() {
    takes_as_long_as_the_peers(5);
}

/// Under `EVO_SLOW=1`.
#[test]
fn twenty_dimensions_take_as_long_as_the_peers() {
    if std::env::var_os("EVO_SLOW").is_some() {
        takes_as_long_as_the_peers(20);
    }
}
