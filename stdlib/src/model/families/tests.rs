//! Configurations as transformers writes them: both generations alike, defaults for what is absent, errors for nonsense.

use std::path::{Path, PathBuf};

use evo_kernels::decode::{Mlp, RopeScaling};
use serde_json::{Map, Value, json};

use super::super::{Config, ModelError};
use super::*;

fn conformance(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/conformance/families").join(file)
}

fn object(file: &str) -> Map<String, Value> {
    serde_json::from_str(&std::fs::read_to_string(conformance(file)).unwrap()).unwrap()
}

fn read(raw: &Map<String, Value>) -> Result<Config, ModelError> {
    Config::from_raw(raw.clone(), Path::new("config.json"))
}

/// The configuration of the small model `name`, as transformers 5 wrote it.
fn written(name: &str) -> Map<String, Value> {
    object(&format!("{name}/config.json"))
}

fn edited(mut raw: Map<String, Value>, edits: Value) -> Map<String, Value> {
    for (field, value) in edits.as_object().unwrap() {
        raw.insert(field.clone(), value.clone());
    }
    raw
}

/// The same as transformers 4 wrote it: rotations beside each other, an older name for the element type, and no types of
/// layers.
fn older(name: &str, edits: Value) -> Map<String, Value> {
    let mut raw = written(name);
    let dtype = raw.remove("dtype").unwrap();
    raw.insert("torch_dtype".into(), dtype);
    raw.remove("layer_types");
    raw.remove("no_rope_layers");
    if let Some(Value::Object(mut rope)) = raw.remove("rope_parameters") {
        if let Some(theta) = rope.remove("rope_theta") {
            raw.insert("rope_theta".into(), theta);
        }
        if let Some(part) = rope.remove("partial_rotary_factor") {
            raw.insert("partial_rotary_factor".into(), part);
        }
        let plain = rope.get("rope_type").is_none_or(|kind| kind == "default");
        raw.insert("rope_scaling".into(), if plain { Value::Null } else { Value::Object(rope) });
    }
    edited(raw, edits)
}

#[test]
fn both_generations_of_transformers_are_read_alike() {
    let gemma3 = json!({"rope_theta": 700.0, "rope_local_base_freq": 50.0, "sliding_window_pattern": 2,
        "rope_scaling": {"rope_type": "linear", "factor": 4.0}});
    let none = json!({});
    for (name, edits) in [
        ("untied", json!({"head_dim": null})),
        ("llama3_rope", none.clone()),
        ("mistral_window", none.clone()),
        ("qwen2", json!({"sliding_window": null, "max_window_layers": 28})),
        ("qwen2_window", none.clone()),
        ("qwen3", none.clone()),
        ("qwen3_window", json!({"layer_types": ["sliding_attention", "full_attention"]})),
        ("smollm3", none.clone()),
        ("phi3", none.clone()),
        ("phi3_longrope", none.clone()),
        ("gemma2", none.clone()),
        ("gemma3", gemma3),
        ("stablelm", none.clone()),
        ("stablelm_parallel", none.clone()),
        ("gpt2", none.clone()),
        ("mixtral", none.clone()),
        ("bert", none),
    ] {
        let (new, old) = (read(&written(name)).unwrap(), read(&older(name, edits)).unwrap());
        assert_eq!(new.decoder, old.decoder, "{name}");
        assert_eq!((new.dtype, &new.eos, new.pad), (old.dtype, &old.eos, old.pad), "{name}");
    }
}

#[test]
fn what_is_absent_has_the_defaults_of_transformers() {
    let all: Vec<Map<String, Value>> =
        serde_json::from_str(&std::fs::read_to_string(conformance("defaults.json")).unwrap()).unwrap();
    let known: Vec<&str> = all.iter().map(|full| full["model_type"].as_str().unwrap()).collect();
    assert_eq!(known, NAMES);
    for full in all {
        let required = ["model_type", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers"];
        let required = required.into_iter().chain(["num_attention_heads", "n_embd", "n_layer", "n_head"]);
        let few: Map<String, Value> =
            required.filter_map(|field| Some((field.to_owned(), full.get(field)?.clone()))).collect();
        let (few, full) = (read(&few).unwrap(), read(&full).unwrap());
        assert_eq!(few.decoder, full.decoder, "{}", full.model_type);
    }
}

#[test]
fn each_family_makes_its_choices() {
    let config = |name: &str| read(&written(name)).unwrap();
    let windows = |name: &str| config(name).layers.iter().map(|layer| layer.window).collect::<Vec<_>>();
    assert_eq!(windows("mistral_window"), [Some(5), Some(5)]);
    assert_eq!(windows("qwen2"), [None, None]);
    assert_eq!(windows("qwen2_window"), [None, Some(5), Some(5)]);
    assert_eq!(windows("qwen3_window"), [Some(7), None]);
    assert_eq!(windows("gemma2"), [Some(5), None, Some(5)]);
    let rotated: Vec<bool> = config("smollm3").layers.iter().map(|layer| layer.rope.is_some()).collect();
    assert_eq!(rotated, [true, true, true, false, true]);
    let gemma = config("gemma3");
    let theta = |i: usize| gemma.layers[i].rope.as_ref().unwrap().theta;
    assert_eq!((theta(0), theta(1), theta(2)), (50.0, 700.0, 50.0));
    assert_eq!(gemma.attention_scale, (1.0 / 20f64.sqrt()) as f32);
    let phi = config("phi3_longrope");
    assert_eq!((phi.max_positions, phi.head_dim), (64, 8));
    let rope = phi.layers[0].rope.as_ref().unwrap();
    assert_eq!(rope.width, 4);
    assert!(matches!(&rope.scaling, RopeScaling::Each { factors, .. } if *factors == [1.0, 1.5]));
    assert_eq!(config("mixtral").mlp, Mlp::Experts { count: 4, chosen: 2 });
    assert_eq!(config("stablelm").layers[0].rope.as_ref().unwrap().width, 2);
    assert_eq!(config("gpt2").intermediate_size, 128);
    assert!(!config("bert").causal);
}

#[test]
fn a_null_is_none_where_none_is_a_choice() {
    let gemma = read(&edited(written("gemma2"), json!({"attn_logit_softcapping": null}))).unwrap();
    assert_eq!((gemma.attention_cap, gemma.logit_cap), (None, Some(7.0)));
    let mistral = read(&edited(written("mistral_window"), json!({"sliding_window": null}))).unwrap();
    assert!(mistral.layers.iter().all(|layer| layer.window.is_none()));
    let heads = read(&edited(written("qwen3"), json!({"num_key_value_heads": null}))).unwrap();
    assert_eq!(heads.num_kv_heads, 4);
}

#[test]
fn nonsense_is_refused_by_field() {
    let long = json!({"rope_parameters": {"rope_type": "longrope", "short_factor": [1.0]}});
    let words = json!({"rope_parameters": {"rope_type": "longrope", "short_factor": ["a"]}});
    let none = json!({"rope_parameters": {"rope_type": "longrope"}});
    for (name, edits, wanted) in [
        (
            "untied",
            json!({"num_attention_heads": 5, "num_key_value_heads": 5, "head_dim": null}),
            "num_attention_heads",
        ),
        ("gpt2", json!({"n_head": 5}), "n_head"),
        ("bert", json!({"num_attention_heads": 7}), "num_attention_heads"),
        ("qwen3", json!({"num_key_value_heads": 3}), "num_key_value_heads"),
        ("qwen3", json!({"hidden_act": "swiglu"}), "hidden_act"),
        ("gemma2", json!({"hidden_activation": "tanh"}), "hidden_activation"),
        ("gpt2", json!({"activation_function": "mish"}), "activation_function"),
        ("gemma2", json!({"layer_types": ["full_attention"]}), "layer_types"),
        ("qwen2", json!({"layer_types": vec!["full_attention"; 5]}), "layer_types"),
        ("untied", json!({"layer_types": ["full_attention"]}), "layer_types"),
        ("gemma3", json!({"layer_types": ["full_attention", "chunked_attention", "full_attention"]}), "layer_types"),
        ("gemma3", json!({"layer_types": "full_attention"}), "layer_types"),
        ("gemma3", json!({"use_bidirectional_attention": true}), "use_bidirectional_attention"),
        ("gemma2", json!({"query_pre_attn_scalar": 0}), "query_pre_attn_scalar"),
        ("gemma2", json!({"final_logit_softcapping": -1}), "final_logit_softcapping"),
        ("smollm3", json!({"no_rope_layers": [1, 1]}), "no_rope_layers"),
        ("smollm3", json!({"no_rope_layers": [1, 1, 1, 2, 1]}), "no_rope_layers"),
        ("stablelm", json!({"qk_layernorm": true}), "qk_layernorm"),
        ("stablelm", json!({"rope_parameters": {"partial_rotary_factor": 0.4}}), "partial_rotary_factor"),
        ("stablelm", json!({"rope_parameters": {"partial_rotary_factor": 1.5}}), "partial_rotary_factor"),
        ("qwen2", json!({"partial_rotary_factor": 0.5}), "partial_rotary_factor"),
        ("phi3_longrope", long, "short_factor"),
        ("phi3_longrope", words, "short_factor"),
        ("phi3_longrope", none, "short_factor"),
        ("gemma3", json!({"rope_parameters": {"sliding_attention": {"rope_type": "yarn"}}}), "rope_type"),
        ("mixtral", json!({"num_experts_per_tok": 5}), "num_experts_per_tok"),
        ("mixtral", json!({"num_local_experts": 0}), "num_local_experts"),
        ("mixtral", json!({"num_local_experts": 200_000_000}), "num_local_experts"),
        ("untied", json!({"num_hidden_layers": 200_000_000}), "num_hidden_layers"),
        ("gpt2", json!({"scale_attn_by_inverse_layer_idx": true}), "scale_attn_by_inverse_layer_idx"),
        ("bert", json!({"position_embedding_type": "relative_key"}), "position_embedding_type"),
        ("bert", json!({"is_decoder": true}), "is_decoder"),
        ("bert", json!({"type_vocab_size": 0}), "type_vocab_size"),
    ] {
        match read(&edited(written(name), edits.clone())) {
            Err(error @ ModelError::ConfigField { .. }) => {
                assert_eq!(error.code(), "E0402");
                let ModelError::ConfigField { field, .. } = error else { unreachable!() };
                assert_eq!(field, wanted, "{name} {edits}");
            }
            other => panic!("{name} {edits}: {other:?}"),
        }
    }
}

#[test]
fn older_names_are_understood() {
    let bert = of("bert").unwrap();
    assert_eq!(bert.canonical("bert.embeddings.LayerNorm.gamma"), "embeddings.LayerNorm.weight");
    assert_eq!(bert.canonical("encoder.layer.0.output.LayerNorm.beta"), "encoder.layer.0.output.LayerNorm.bias");
    assert!(bert.ignores("cls.predictions.bias") && bert.ignores("pooler.dense.weight"));
    let gpt = of("gpt2").unwrap();
    assert_eq!(gpt.canonical("h.0.attn.bias"), "transformer.h.0.attn.bias");
    assert_eq!(gpt.canonical("transformer.wte.weight"), "transformer.wte.weight");
    assert_eq!(gpt.canonical("lm_head.weight"), "lm_head.weight");
    assert!(gpt.ignores("transformer.h.0.attn.bias") && !gpt.ignores("transformer.h.0.attn.c_attn.bias"));
    assert_eq!(of("llama").unwrap().canonical("model.norm.weight"), "model.norm.weight");
}
