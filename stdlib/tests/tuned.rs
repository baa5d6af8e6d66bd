//! From models of every family to what is trained of them, and back.
#![cfg(test)]

use std::path::{Path, PathBuf};

use evo_kernels::backprop::{Batch, Role, Workspace};
use evo_stdlib::model::{Model, hf};
use evo_stdlib::train::network::{network, snapshot, tuned};
use evo_stdlib::train::{Places, TrainError, Update, UpdateMethod};

const FAMILIES: [&str; 20] = [
    "untied",
    "tied_biased",
    "llama3_rope",
    "mistral_window",
    "mixtral",
    "qwen2",
    "qwen2_window",
    "qwen3",
    "qwen3_window",
    "smollm3",
    "phi3",
    "phi3_longrope",
    "gemma2",
    "gemma2_plain",
    "gemma3",
    "gemma3_plain",
    "stablelm",
    "stablelm_parallel",
    "gpt2",
    "bert",
];

fn model(name: &str) -> Model {
    let dir: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/conformance/families").join(name);
    hf(&dir).unwrap()
}

fn updates() -> Vec<Update> {
    let low_rank = |lengths| UpdateMethod::LowRank { rank: 3, alpha: 6.0, on: Places::default(), lengths, seed: 1 };
    let methods =
        [UpdateMethod::Full, low_rank(false), low_rank(true), UpdateMethod::Singular { on: Places::default() }];
    methods.into_iter().map(|method| Update { method, bf16: false }).collect()
}

fn batch(model: &Model) -> Batch {
    let mut batch = Batch::default();
    for (seed, len) in [(1, 9), (2, 5)] {
        let tokens: Vec<u32> = (0..len).map(|i| (i * 7 + seed * 3) % model.config.vocab_size as u32).collect();
        batch.push(&tokens, 1);
    }
    batch
}

/// What a changed model says is what the network said.
#[test]
fn a_tuned_model_is_what_was_trained() {
    for name in FAMILIES {
        let model = model(name);
        let (batch, mut ws) = (batch(&model), Workspace::new(2));
        let before = network(&model, &Update::default(), 1).unwrap().log_probabilities(&mut ws, &batch);
        for update in updates() {
            let mut network = network(&model, &update, 1).unwrap();
            let near = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 5e-5);
            assert!(near(&network.log_probabilities(&mut ws, &batch), &before), "{name} {update:?} begins as it was");
            for (p, parameter) in network.parameters_mut().iter_mut().enumerate() {
                for (i, x) in parameter.values.iter_mut().enumerate() {
                    *x += 0.02 * ((7 * p + i) as f32).sin();
                }
            }
            let after = network.log_probabilities(&mut ws, &batch);
            assert!(!near(&after, &before), "{name} {update:?} has changed");
            let made = snapshot(&model, &network, &ws).unwrap();
            let again = network_of(&made).log_probabilities(&mut ws, &batch);
            assert!(near(&after, &again), "{name} {update:?}");
            assert_eq!(made.digest(), tuned(&model, network, &ws).unwrap().digest());
            assert_eq!(made.config, model.config);
            let shapes =
                |model: &Model| model.tensors.iter().map(|(n, t)| (n.clone(), t.shape().to_vec())).collect::<Vec<_>>();
            assert_eq!(shapes(&made), shapes(&model));
            if model.config.causal {
                let decoder = made.decoder(1).unwrap();
                let tokens: Vec<u32> = (0..9).map(|i| (i * 7 + 3) % model.config.vocab_size as u32).collect();
                let found = decoder.logprobs(&[tokens.split_at(1)], 1).unwrap();
                assert!(near(&found[0], &after[..8]), "{name} {update:?} in the decoder");
            }
        }
    }
}

fn network_of(model: &Model) -> evo_kernels::backprop::Network {
    network(model, &Update::default(), 1).unwrap()
}

#[test]
fn only_named_places_are_trained() {
    let model = model("untied");
    let on = |parts: &[&str], layers: &[usize]| Places {
        parts: parts.iter().map(ToString::to_string).collect(),
        layers: layers.to_vec(),
    };
    let lora =
        |on| Update { method: UpdateMethod::LowRank { rank: 2, alpha: 2.0, on, lengths: false, seed: 0 }, bf16: false };
    let some = network(&model, &lora(on(&["q_proj", "v"], &[1])), 1).unwrap();
    let roles: Vec<_> = some.parameters().iter().map(|p| (p.slot.part, p.slot.layer, p.role)).collect();
    use evo_kernels::decode::Part::{Q, V};
    let expected = [
        (Q, Some(1), Role::LowRankA),
        (Q, Some(1), Role::LowRankB),
        (V, Some(1), Role::LowRankA),
        (V, Some(1), Role::LowRankB),
    ];
    assert_eq!(roles, expected);
    let unchanged = snapshot(&model, &some, &Workspace::new(1)).unwrap();
    let changed = |name: &str| !unchanged.tensors[name].same(&model.tensors[name]);
    assert!(changed("model.layers.1.self_attn.q_proj.weight") && !changed("model.layers.0.self_attn.q_proj.weight"));
    for bad in [on(&["nothing"], &[]), on(&[], &[99])] {
        let refused = network(&model, &lora(bad), 1);
        assert!(matches!(refused, Err(TrainError::NoLayer { .. })), "{refused:?}");
    }
    // A GPT-2 has no gate.
    let refused = network(&crate::model("gpt2"), &lora(on(&["gate"], &[])), 1);
    assert!(refused.is_err_and(|error| error.to_string().contains("`q`, `k`, `v`, `o`, `up`, `down`")));
}
