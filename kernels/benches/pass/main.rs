//! Whole passes of a decoder of the shape of SmolLM2-135M, with weights of any values: what `stdlib`'s benchmark measures on the
//! real model, without reading one.
//!
//! `cargo bench -p evo-kernels --bench pass [-- WORD...]`; with words, only the lines that hold all of them, such as `Bf16
//! greedy`, `tiles`. Tokens (texts, for likelihoods) a second on two threads, the best of three.

#![allow(missing_docs, unused_crate_dependencies, reason = "a benchmark")]
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_types, reason = "a benchmark")]

#[path = "../matrix/weights.rs"]
mod weights;

use std::cell::LazyCell;
use std::sync::Arc;
use std::time::Instant;

use evo_kernels::decode::{
    Activation, Config, Decoder, Entry, LayerConfig, Mlp, Norm, NormKind, Order, Rope, RopeScaling,
};
use evo_kernels::matmul::{Storage, Units};
use evo_kernels::rng::Stream;

const THREADS: usize = 2;

/// SmolLM2-135M's.
fn config() -> Config {
    let rope = Rope { theta: 100_000.0, width: 64, scaling: RopeScaling::None };
    Config {
        vocab_size: 49_152,
        hidden_size: 576,
        intermediate_size: 1536,
        num_heads: 9,
        num_kv_heads: 3,
        head_dim: 64,
        max_positions: 8192,
        layers: vec![LayerConfig { window: None, rope: Some(rope) }; 30],
        norm: Norm { kind: NormKind::Rms, eps: 1e-5 },
        order: Order::Before,
        qk_norm: false,
        activation: Activation::Silu,
        mlp: Mlp::Gated,
        qkv_bias: false,
        output_bias: false,
        mlp_bias: false,
        attention_scale: 0.125,
        attention_cap: None,
        logit_cap: None,
        embedding_scale: 1.0,
        learned_positions: false,
        token_types: 0,
        causal: true,
        tied_head: true,
    }
}

fn decoder(storage: Storage) -> Decoder {
    let config = config();
    let stream = Stream::from_seed(3);
    let weights = config.slots().map(
        |slot| Arc::new(weights::matrix(storage, slot.rows, slot.cols, &stream)),
        |slot| vec![1.0; slot.rows * slot.cols].into(),
    );
    Decoder::new(config, weights).unwrap()
}

fn texts(count: usize, length: usize) -> Vec<Vec<u32>> {
    let stream = Stream::from_seed(9);
    (0..count).map(|i| (0..length).map(|k| stream.u32((i * length + k) as u64) % 49_152).collect()).collect()
}

fn best(mut f: impl FnMut()) -> f64 {
    (0..3)
        .map(|_| {
            let start = Instant::now();
            f();
            start.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min)
}

fn prompt(decoder: &Decoder, count: usize, length: usize) -> f64 {
    let texts = texts(count, length);
    let seconds = best(|| {
        let mut caches: Vec<_> = texts.iter().map(|_| decoder.cache()).collect();
        let mut batch: Vec<Entry<'_>> =
            texts.iter().zip(&mut caches).map(|(tokens, cache)| Entry { tokens, cache, wanted: 1 }).collect();
        let hidden = decoder.hidden(&mut batch, THREADS).unwrap();
        decoder.logits(&hidden, THREADS).unwrap();
    });
    (count * length) as f64 / seconds
}

fn greedy(decoder: &Decoder, count: usize, more: usize) -> f64 {
    let texts = texts(count, 16);
    let seconds = best(|| {
        decoder.greedy(&texts, more, &[], THREADS).unwrap();
    });
    (count * more) as f64 / seconds
}

/// Texts of 80 tokens whose last 40 are asked for, each with a beginning of its own.
fn likelihood(decoder: &Decoder, count: usize) -> f64 {
    let texts = texts(count, 80);
    let pairs: Vec<(&[u32], &[u32])> = texts.iter().map(|text| text.split_at(40)).collect();
    let seconds = best(|| {
        decoder.logprobs(&pairs, THREADS).unwrap();
    });
    count as f64 / seconds
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    for storage in [Storage::F32, Storage::Bf16, Storage::Q4_1] {
        let decoder = LazyCell::new(|| decoder(storage));
        let tell = |line: &str, rate: &dyn Fn(&Decoder) -> f64| {
            for (units, name) in [(Units::Vectors, "vectors"), (Units::Tiles, "tiles")] {
                let line = format!("{storage:?} {name} {line}");
                if units.available() && words.iter().all(|word| line.contains(word.as_str())) {
                    println!("{line:28} {:8.1}", rate(&decoder.clone().with(units)));
                }
            }
        };
        tell("prompt 1x512", &|d| prompt(d, 1, 512));
        tell("prompt 16x64", &|d| prompt(d, 16, 64));
        tell("greedy 1", &|d| greedy(d, 1, 64));
        tell("greedy 16", &|d| greedy(d, 16, 48));
        tell("greedy 64", &|d| greedy(d, 64, 32));
        tell("likelihood 64", &|d| likelihood(d, 64));
    }
}
