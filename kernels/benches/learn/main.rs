//! Speed of one training step's passes, on random weights: `cargo bench -p evo-kernels --bench learn -- [tiny|smollm2] [full|lora]
//! [f32|bf16] [cpu|amx] [THREADS] [recompute] [half]`. Prints milliseconds a pass, tokens a second and the peak memory.

#![allow(missing_docs, unused_crate_dependencies, reason = "a benchmark")]
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_types, reason = "a benchmark")]

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use evo_kernels::backprop::{Batch, Goal, Network, Start, StartVector, Workspace};
use evo_kernels::decode::{Activation, Config, LayerConfig, Mlp, Norm, NormKind, Order, Part, Rope, RopeScaling, Slot};
use evo_kernels::matmul::{Matrix, Units};
use evo_kernels::rng::Stream;

struct Size {
    hidden: usize,
    wide: usize,
    heads: (usize, usize),
    layers: usize,
    vocabulary: usize,
    /// Sequences a step, and tokens of each.
    batch: (usize, usize),
}

const TINY: Size = Size { hidden: 128, wide: 344, heads: (4, 2), layers: 4, vocabulary: 512, batch: (32, 64) };
const SMOLLM2: Size = Size { hidden: 576, wide: 1536, heads: (9, 3), layers: 30, vocabulary: 49_152, batch: (8, 128) };

fn config(size: &Size) -> Config {
    let head_dim = size.hidden / size.heads.0;
    let rope = Rope { theta: 10_000.0, width: head_dim, scaling: RopeScaling::None };
    Config {
        vocab_size: size.vocabulary,
        hidden_size: size.hidden,
        intermediate_size: size.wide,
        num_heads: size.heads.0,
        num_kv_heads: size.heads.1,
        head_dim,
        max_positions: 2048,
        layers: vec![LayerConfig { window: None, rope: Some(rope) }; size.layers],
        norm: Norm { kind: NormKind::Rms, eps: 1e-5 },
        order: Order::Before,
        qk_norm: false,
        activation: Activation::Silu,
        mlp: Mlp::Gated,
        qkv_bias: false,
        output_bias: false,
        mlp_bias: false,
        attention_scale: 1.0 / (head_dim as f32).sqrt(),
        attention_cap: None,
        logit_cap: None,
        embedding_scale: 1.0,
        learned_positions: false,
        token_types: 0,
        causal: true,
        tied_head: true,
    }
}

fn values(slot: &Slot) -> Vec<f32> {
    let stream = Stream::from_seed(1).child(&format!("{slot:?}"));
    let (mean, scale) = if slot.cols == 1 { (1.0, 0.0) } else { (0.0, 0.03) };
    (0..(slot.rows * slot.cols) as u64).map(|i| mean + scale * (stream.uniform(i) as f32 - 0.5)).collect()
}

fn network(config: Config, lora: bool, bf16: bool) -> Network {
    let matrix = |slot: &Slot| {
        let frozen = || {
            let values = values(slot);
            Arc::new(match bf16 {
                false => Matrix::from_rows(slot.rows, slot.cols, &values, 2),
                true => Matrix::pack_halves(slot.rows, slot.cols, false, 2, |rows, out| {
                    let some = &values[rows.start * slot.cols..rows.end * slot.cols];
                    out.iter_mut().zip(some).for_each(|(out, x)| *out = (x.to_bits() >> 16) as u16);
                }),
            })
        };
        Ok::<_, Infallible>(match (lora, slot.part) {
            (false, _) => Start::Trained(values(slot)),
            (true, Part::Embedding | Part::Head) => Start::Frozen(frozen()),
            (true, _) => Start::LowRank {
                base: frozen(),
                a: vec![0.01; 8 * slot.cols],
                b: vec![0.01; 8 * slot.rows],
                scale: 2.0,
                magnitude: None,
            },
        })
    };
    let vector = |slot: &Slot| {
        Ok(if lora { StartVector::Frozen(values(slot).into()) } else { StartVector::Trained(values(slot)) })
    };
    match Network::new(config, matrix, vector) {
        Ok(network) => network.rounded(bf16),
        Err(never) => match never {},
    }
}

fn peak() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("VmHWM unknown").to_owned()
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let has = |word: &str| args.iter().any(|arg| arg == word);
    let size = if has("smollm2") { SMOLLM2 } else { TINY };
    let threads = args.iter().find_map(|arg| arg.parse().ok()).unwrap_or(2);
    let units = if has("cpu") || !Units::Tiles.available() { Units::Vectors } else { Units::Tiles };
    let config = config(&size);
    let network = network(config, has("lora"), has("bf16"));
    let mut batch = Batch::default();
    let stream = Stream::from_seed(2);
    let sequences = if has("half") { size.batch.0 / 2 } else { size.batch.0 };
    for sequence in 0..sequences as u64 {
        let tokens: Vec<u32> =
            (0..=size.batch.1 as u64).map(|i| stream.at(sequence).below(i, size.vocabulary as u64) as u32).collect();
        batch.push(&tokens, 1);
    }
    let mut ws = Workspace::new(threads).on(units).recomputing(has("recompute"));
    let slopes = vec![-1.0 / batch.targets() as f32; batch.targets()];
    let mut gradients = network.gradients();
    let rounds = if has("smollm2") { 4 } else { 20 };
    for round in 0..rounds {
        let start = Instant::now();
        network.log_probabilities(&mut ws, &batch);
        let forward = start.elapsed().as_secs_f64();
        gradients.iter_mut().for_each(|g| g.fill(0.0));
        let start = Instant::now();
        network.learn(&mut ws, &batch, &Goal::Tokens, &slopes, &mut gradients);
        let both = start.elapsed().as_secs_f64();
        if round + 4 >= rounds {
            let rate = batch.tokens() as f64 / both;
            println!(
                "{units:?}: forward {:.1} ms, both {:.1} ms, {rate:.0} tokens/s, {}",
                forward * 1e3,
                both * 1e3,
                peak()
            );
        }
    }
}
