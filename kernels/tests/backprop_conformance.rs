//! Training against PyTorch: the gradients of each part of a block, and the losses of a small decoder over training steps.
//! `tests/conformance/train/README.md` says how the vectors were made and what the tolerances come from.
#![cfg(test)]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;

use evo_kernels::backprop::{Batch, Frame, Goal, Network, Parameter, Role, Start, StartVector, Workspace};
use evo_kernels::decode::{Activation, Config, LayerConfig, Mlp, Norm, NormKind, Order, Part, Rope, RopeScaling, Slot};
use evo_kernels::matmul::Matrix;
use evo_kernels::optim::gradient::{AdamW, Optimizer, Rule, clip_norm};
use serde_json::Value;

fn json(file: &str) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/conformance/train");
    serde_json::from_slice(&std::fs::read(folder.join(file)).unwrap()).unwrap()
}

/// The numbers that `formula.py` calls `draw`.
fn draw(name: &str, count: usize) -> impl Iterator<Item = u64> + use<> {
    let seed = name
        .bytes()
        .fold(0xCBF2_9CE4_8422_2325_u64, |state, byte| (state ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3));
    (1..=count as u64).map(move |i| {
        let z = seed.wrapping_add(i.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    })
}

/// In steps of 2⁻²³ from -1 to 1.
fn uniform(name: &str, count: usize) -> impl Iterator<Item = f64> + use<> {
    draw(name, count).map(|z| (z >> 40) as f64 / f64::from(1 << 23) - 1.0)
}

fn weights(name: &str, count: usize, scale: f32, mean: f32) -> Vec<f32> {
    uniform(name, count).map(|u| mean + scale * u as f32).collect()
}

fn slopes(count: usize) -> Vec<f32> {
    (0..count).map(|i| -0.3 - 0.1 * (i % 5) as f32).collect()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

fn size(value: &Value) -> usize {
    value.as_u64().unwrap() as usize
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(number).collect()
}

fn is_norm(part: Part) -> bool {
    use Part::*;
    matches!(part, EmbeddingNorm | AttentionNorm | QNorm | KNorm | AttentionOutNorm | MlpNorm | MlpOutNorm | Norm)
}

/// What `blocks.py` calls a weight.
fn name_in_blocks(slot: &Slot) -> String {
    let part = match slot.part {
        Part::Embedding => "embedding",
        Part::Positions => "positions",
        Part::TokenType => "token type",
        Part::EmbeddingNorm => "embedding norm",
        Part::AttentionNorm => "attention norm",
        Part::Q => "q",
        Part::K => "k",
        Part::V => "v",
        Part::QNorm => "q norm",
        Part::KNorm => "k norm",
        Part::O => "o",
        Part::AttentionOutNorm => "attention out norm",
        Part::MlpNorm => "mlp norm",
        Part::Router => "router",
        Part::Gate => "gate",
        Part::Up => "up",
        Part::Down => "down",
        Part::MlpOutNorm => "mlp out norm",
        Part::Norm => "norm",
        Part::Head => "head",
    };
    let places = slot.layer.into_iter().chain(slot.expert).map(|i| format!("{i} ")).collect::<String>();
    format!("{places}{part}{}", if slot.bias { " bias" } else { "" })
}

/// What `blocks.py` says of a decoder.
fn config_of(c: &Value) -> Config {
    let maybe = |key: &str| c[key].as_f64().map(|x| x as f32);
    let says = |key: &str| c[key].as_bool().unwrap();
    let rope = Rope {
        theta: number(&c["theta"]),
        width: size(&c["rotated"]),
        scaling: match &c["divisors"] {
            Value::Null => RopeScaling::None,
            divisors => RopeScaling::Each { factors: numbers(divisors), amplitude: number(&c["amplitude"]) },
        },
    };
    let layer =
        LayerConfig { window: c["window"].as_u64().map(|n| n as usize), rope: (rope.width > 0).then_some(rope) };
    let layer_norm = c["norm"] == "layer";
    Config {
        vocab_size: size(&c["vocab"]),
        hidden_size: size(&c["hidden"]),
        intermediate_size: size(&c["wide"]),
        num_heads: size(&c["heads"]),
        num_kv_heads: size(&c["kv_heads"]),
        head_dim: size(&c["head"]),
        max_positions: size(&c["positions"]),
        layers: vec![layer; size(&c["layers"])],
        norm: Norm { kind: if layer_norm { NormKind::Layer } else { NormKind::Rms }, eps: number(&c["eps"]) as f32 },
        order: match c["order"].as_str().unwrap() {
            "around" => Order::Around,
            "after" => Order::After,
            "parallel" => Order::Parallel,
            _ => Order::Before,
        },
        qk_norm: says("qk_norm"),
        activation: match c["activation"].as_str().unwrap() {
            "gelu" => Activation::Gelu,
            "gelu_tanh" => Activation::GeluTanh,
            "relu" => Activation::Relu,
            _ => Activation::Silu,
        },
        mlp: match c["mlp"].as_str().unwrap() {
            "experts" => Mlp::Experts { count: size(&c["experts"]), chosen: size(&c["chosen"]) },
            "plain" => Mlp::Plain,
            _ => Mlp::Gated,
        },
        qkv_bias: says("bias"),
        output_bias: says("bias"),
        mlp_bias: says("bias"),
        attention_scale: number(&c["scale"]) as f32,
        attention_cap: maybe("cap"),
        logit_cap: maybe("logit_cap"),
        embedding_scale: number(&c["embedding_scale"]) as f32,
        learned_positions: says("learned_positions"),
        token_types: size(&c["token_types"]),
        causal: says("causal"),
        tied_head: says("tied"),
    }
}

/// A network of which every weight is trained, from `of`.
fn trained(config: &Config, of: impl Fn(&Slot) -> Vec<f32>) -> Network {
    let made = Network::new(
        config.clone(),
        |slot| Ok::<_, Infallible>(Start::Trained(of(slot))),
        |slot| Ok(StartVector::Trained(of(slot))),
    );
    made.unwrap_or_else(|never| match never {})
}

fn network_in_blocks(config: &Config, of: &str) -> Network {
    trained(config, |slot| {
        let (scale, mean) = if is_norm(slot.part) && !slot.bias { (0.3, 1.0) } else { (0.6, 0.0) };
        weights(&format!("{of}{}", name_in_blocks(slot)), slot.rows * slot.cols, scale, mean)
    })
}

/// Relative to the length of the gradient that `told` is of; `largest` is the length of the longest of the case.
fn assert_told(name: &str, gradient: &[f32], told: &Value, direction: &str, largest: f64) {
    let norm = number(&told["norm"]);
    // A gradient of nothing but rounding, such as that of a key's bias without rotation, has no length to compare with.
    let allowed = 1e-5 * norm.max(5e-3 * largest);
    let near = |what: &str, found: f64, expected: f64| {
        assert!((found - expected).abs() <= allowed, "{name}: {what} {found} is not {expected} (± {allowed:e})");
    };
    let wide = || gradient.iter().map(|&g| f64::from(g));
    let shape: usize = told["shape"].as_array().unwrap().iter().map(size).product();
    assert_eq!(gradient.len(), shape, "{name}");
    near("norm", wide().map(|g| g * g).sum::<f64>().sqrt(), norm);
    near("sum", wide().sum(), number(&told["sum"]));
    let direction = uniform(&format!("direction of {direction}"), gradient.len());
    near("along", wide().zip(direction).map(|(g, d)| g * d).sum(), number(&told["along"]));
    wide().zip(numbers(&told["first"])).for_each(|(found, expected)| near("element", found, expected));
}

/// Norms, rotations, attentions, activations, experts, heads and distillation, each in a decoder where it matters.
#[test]
fn every_part_of_a_block_has_pytorchs_gradient() {
    let cases = json("blocks.json");
    let cases = cases.as_object().unwrap();
    assert_eq!(cases.len(), 24);
    for (name, case) in cases {
        let config = config_of(case);
        let (student, teacher) = (network_in_blocks(&config, ""), network_in_blocks(&config, "teacher's "));
        let mut batch = Batch::default();
        for (i, length) in case["lengths"].as_array().unwrap().iter().enumerate() {
            let tokens = draw(&format!("tokens {i}"), size(length)).map(|z| (z % config.vocab_size as u64) as u32);
            batch.push(&tokens.collect::<Vec<_>>(), 1);
        }
        let expected = numbers(&case["values"]);
        let slopes = slopes(expected.len());
        let goal = match case["temperature"].as_f64() {
            Some(temperature) => Goal::Teacher { network: &teacher, temperature: temperature as f32 },
            None => Goal::Tokens,
        };
        let mut ws = Workspace::new(2);
        let mut gradients = student.gradients();
        let values = student.learn(&mut ws, &batch, &goal, &slopes, &mut gradients);
        assert_eq!(values.len(), expected.len(), "{name}");
        for (found, expected) in values.iter().zip(&expected) {
            let near = (f64::from(*found) - expected).abs() < 5e-6 * expected.abs().max(1.0);
            assert!(near, "{name}: {found} is not {expected}");
        }
        let told = case["gradients"].as_object().unwrap();
        let largest = told.values().map(|told| number(&told["norm"])).fold(0.0, f64::max);
        let names: Vec<String> = student.parameters().iter().map(|p| name_in_blocks(&p.slot)).collect();
        assert!(names.iter().all(|name| told.contains_key(name)) && names.len() == told.len(), "{name}: {names:?}");
        for (weight, gradient) in names.iter().zip(&gradients) {
            assert_told(&format!("{name}: {weight}"), gradient, &told[weight], weight, largest);
        }
    }
}

/// The decoder of `curves.py`.
fn small_decoder() -> Config {
    let rope = Rope { theta: 10_000.0, width: 32, scaling: RopeScaling::None };
    Config {
        vocab_size: 512,
        hidden_size: 128,
        intermediate_size: 344,
        num_heads: 4,
        num_kv_heads: 2,
        head_dim: 32,
        max_positions: 64,
        layers: vec![LayerConfig { window: None, rope: Some(rope) }; 4],
        norm: Norm { kind: NormKind::Rms, eps: 1e-5 },
        order: Order::Before,
        qk_norm: false,
        activation: Activation::Silu,
        mlp: Mlp::Gated,
        qkv_bias: false,
        output_bias: false,
        mlp_bias: false,
        attention_scale: 1.0 / 32_f32.sqrt(),
        attention_cap: None,
        logit_cap: None,
        embedding_scale: 1.0,
        learned_positions: false,
        token_types: 0,
        causal: true,
        tied_head: true,
    }
}

fn hugging_face_name(slot: &Slot) -> String {
    let part = match slot.part {
        Part::Embedding => return "model.embed_tokens.weight".into(),
        Part::Norm => return "model.norm.weight".into(),
        Part::AttentionNorm => "input_layernorm",
        Part::Q => "self_attn.q_proj",
        Part::K => "self_attn.k_proj",
        Part::V => "self_attn.v_proj",
        Part::O => "self_attn.o_proj",
        Part::MlpNorm => "post_attention_layernorm",
        Part::Gate => "mlp.gate_proj",
        Part::Up => "mlp.up_proj",
        Part::Down => "mlp.down_proj",
        other => panic!("{other:?}"),
    };
    format!("model.layers.{}.{part}.weight", slot.layer.unwrap())
}

fn small_weights(slot: &Slot) -> Vec<f32> {
    let (scale, mean) = if is_norm(slot.part) { (0.1, 1.0) } else { (0.15, 0.0) };
    weights(&hugging_face_name(slot), slot.rows * slot.cols, scale, mean)
}

/// What `curves.py` makes of a matrix in its run `name`.
fn start(name: &str, slot: &Slot) -> Start {
    let values = small_weights(slot);
    if name == "full" || name == "clipped" {
        return Start::Trained(values);
    }
    let base = Arc::new(Matrix::pack(slot.rows, slot.cols, 1, |rows, out| {
        out.copy_from_slice(&values[rows.start * slot.cols..rows.end * slot.cols]);
    }));
    let adapted = match name {
        "lora_qv" => matches!(slot.part, Part::Q | Part::V),
        _ => slot.part != Part::Embedding,
    };
    if !adapted {
        return Start::Frozen(base);
    }
    if name == "singular" {
        let matrix = faer::MatRef::from_row_major_slice(&values, slot.rows, slot.cols);
        let wide = faer::Mat::from_fn(slot.rows, slot.cols, |i, j| f64::from(matrix[(i, j)]));
        let svd = wide.thin_svd().unwrap();
        let rank = slot.rows.min(slot.cols);
        let values = |rows: usize, cols: usize, of: &dyn Fn(usize, usize) -> f64| {
            (0..rows * cols).map(|i| of(i / cols, i % cols) as f32).collect::<Vec<f32>>()
        };
        return Start::Singular(Arc::new(Frame {
            u: values(slot.rows, rank, &|i, j| svd.U()[(i, j)]),
            s: values(rank, 1, &|i, _| svd.S().column_vector()[i]),
            vt: values(rank, slot.cols, &|i, j| svd.V()[(j, i)]),
        }));
    }
    let length = |row: &[f32]| row.iter().map(|w| f64::from(*w) * f64::from(*w)).sum::<f64>().sqrt() as f32;
    Start::LowRank {
        base,
        a: weights(&format!("A of {}", hugging_face_name(slot)), 8 * slot.cols, 0.1, 0.0),
        b: vec![0.0; slot.rows * 8],
        scale: 2.0,
        magnitude: (name == "dora").then(|| values.chunks_exact(slot.cols).map(length).collect()),
    }
}

fn small_network(name: &str) -> Network {
    let adapts = name != "full" && name != "clipped";
    let made = Network::new(
        small_decoder(),
        |slot| Ok::<_, Infallible>(start(name, slot)),
        |slot| {
            let values = small_weights(slot);
            Ok(if adapts { StartVector::Frozen(values.into()) } else { StartVector::Trained(values) })
        },
    );
    made.unwrap_or_else(|never| match never {})
}

/// Tokens that follow from those before but for two bits of noise, and how many of them are given.
fn sequence(i: usize) -> (Vec<u32>, usize) {
    let d: Vec<u64> = draw(&format!("sequence {i}"), 36).collect();
    let (length, given, kind) = (9 + d[0] % 24, 1 + d[1] % 4, d[2] % 2);
    let mut token = d[3] % 61;
    let mut tokens = vec![token as u32];
    for j in 1..length as usize {
        token = (3 * token + 11 * kind + d[3 + j] % 4) % 61;
        tokens.push(token as u32);
    }
    (tokens, given as usize)
}

/// The losses of a run of `curves.json`.
fn curve(name: &str, run: &Value, network: &mut Network) -> Vec<f64> {
    let rule = AdamW { weight_decay: number(&run["weight_decay"]), decay_vectors: true, ..AdamW::default() };
    let mut optimizer = Optimizer::new(Rule::AdamW(rule), network.parameters());
    let mut ws = Workspace::new(2);
    let steps = size(&run["steps"]);
    let losses = (0..steps).map(|step| {
        let mut batch = Batch::default();
        for i in 0..16 {
            let (tokens, given) = sequence(16 * step + i);
            batch.push(&tokens, given);
        }
        let mut gradients = network.gradients();
        let slopes = vec![-1.0 / batch.targets() as f32; batch.targets()];
        let values = network.learn(&mut ws, &batch, &Goal::Tokens, &slopes, &mut gradients);
        let (_, scale) = clip_norm(&gradients, run["clip"].as_f64(), 2);
        optimizer.step(network.parameters_mut(), &gradients, scale, number(&run["rate"]), 2);
        -values.iter().map(|&value| f64::from(value)).sum::<f64>() / values.len() as f64
    });
    let losses: Vec<f64> = losses.collect();
    assert!(losses.iter().all(|loss| loss.is_finite()), "{name}");
    losses
}

/// 100 steps of all weights; 20 steps of LoRA, DoRA and singular values.
#[test]
fn a_small_decoder_learns_as_in_pytorch() {
    let runs = json("curves.json");
    for (name, run) in runs.as_object().unwrap() {
        let mut network = small_network(name);
        let learned: usize = network.parameters().iter().map(|p: &Parameter| p.values.len()).sum();
        assert_eq!(learned, size(&run["learned"]), "{name}");
        let expected = numbers(&run["losses"]);
        let found = curve(name, run, &mut network);
        assert_eq!(found.len(), expected.len());
        // PyTorch's own f32 is off by 1.2e-6 in the longest run.
        let worst = found.iter().zip(&expected).map(|(a, b)| (a / b - 1.0).abs()).fold(0.0, f64::max);
        println!("{name}: {} -> {}, off by {worst:e}", found[0], found[found.len() - 1]);
        assert!(worst < 1e-5, "{name}: off by {worst:e}\n{found:?}\n{expected:?}");
    }
}

#[test]
fn what_is_learned_of_an_adapted_matrix_has_its_role() {
    let roles = |name: &str| {
        let network = small_network(name);
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        network.parameters().iter().for_each(|p| *counts.entry(format!("{:?}", p.role)).or_default() += 1);
        counts.into_iter().collect::<Vec<_>>()
    };
    let count = |role: Role, count: usize| (format!("{role:?}"), count);
    assert_eq!(roles("full"), [count(Role::Weight, 38)]);
    assert_eq!(roles("lora_qv"), [count(Role::LowRankA, 8), count(Role::LowRankB, 8)]);
    assert_eq!(roles("dora"), [count(Role::LowRankA, 28), count(Role::LowRankB, 28), count(Role::Magnitude, 28)]);
    assert_eq!(roles("singular"), [count(Role::SingularScale, 28)]);
}
