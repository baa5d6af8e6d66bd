//! The passes held to finite differences, to themselves in other packings, and to the decoder.

use std::convert::Infallible;
use std::sync::Arc;

use super::*;
use crate::decode::{Activation, Config, LayerConfig, Mlp, Norm, NormKind, Order, Part, Rope, RopeScaling, Slot};
use crate::matmul::{Matrix, Units};
use crate::rng::Stream;

/// A Llama whose sizes fit no vector and no panel.
fn llama(layers: usize, tied_head: bool, window: Option<usize>) -> Config {
    let rope = Rope { theta: 100.0, width: 6, scaling: RopeScaling::None };
    Config {
        vocab_size: 23,
        hidden_size: 16,
        intermediate_size: 20,
        num_heads: 4,
        num_kv_heads: 2,
        head_dim: 6,
        max_positions: 64,
        layers: vec![LayerConfig { window, rope: Some(rope) }; layers],
        qkv_bias: false,
        tied_head,
        ..crate::decode::tests::config()
    }
}

/// Choices that families make, each with the others that go with it.
fn configs() -> Vec<Config> {
    let base = llama(2, false, None);
    let layer_norm = Norm { kind: NormKind::Layer, eps: 1e-5 };
    let partial = |width| Some(Rope { theta: 100.0, width, scaling: RopeScaling::None });
    let layer = |window, rope| LayerConfig { window, rope };
    vec![
        llama(1, true, None),
        llama(3, true, Some(4)),
        Config { qkv_bias: true, output_bias: true, mlp_bias: true, ..base.clone() },
        Config {
            order: Order::Around,
            qk_norm: true,
            activation: Activation::GeluTanh,
            attention_cap: Some(2.0),
            logit_cap: Some(3.0),
            embedding_scale: 4.0,
            attention_scale: 0.3,
            layers: vec![layer(Some(3), partial(6)), layer(None, None)],
            ..base.clone()
        },
        Config { order: Order::Parallel, norm: layer_norm, layers: vec![layer(None, partial(2)); 2], ..base.clone() },
        Config {
            norm: layer_norm,
            mlp: Mlp::Plain,
            activation: Activation::Gelu,
            qkv_bias: true,
            output_bias: true,
            mlp_bias: true,
            learned_positions: true,
            layers: vec![layer(None, None); 2],
            tied_head: true,
            num_kv_heads: 4,
            ..base.clone()
        },
        Config {
            order: Order::After,
            norm: layer_norm,
            mlp: Mlp::Plain,
            activation: Activation::Gelu,
            learned_positions: true,
            token_types: 2,
            causal: false,
            tied_head: true,
            layers: vec![layer(None, None); 2],
            ..base.clone()
        },
        Config { mlp: Mlp::Experts { count: 4, chosen: 2 }, ..base },
    ]
}

fn random(slot: &Slot, seed: u64) -> Vec<f32> {
    let name = format!("{:?} {:?} {:?} {}", slot.part, slot.layer, slot.expert, slot.bias);
    let stream = Stream::from_seed(seed).child(&name);
    let norm = slot.cols == 1 && !slot.bias && slot.part != Part::TokenType;
    let (mean, scale) = if norm { (1.0, 0.2) } else { (0.0, 0.4) };
    (0..(slot.rows * slot.cols) as u64).map(|i| (mean + scale * stream.normal(i)) as f32).collect()
}

fn frozen(slot: &Slot) -> Arc<Matrix> {
    Arc::new(Matrix::from_rows(slot.rows, slot.cols, &random(slot, 1), 1))
}

/// All trained.
fn network(config: &Config) -> Network {
    with(config, |slot| Start::Trained(random(slot, 1)), true)
}

fn with(config: &Config, matrix: impl Fn(&Slot) -> Start, vectors: bool) -> Network {
    let vector = |slot: &Slot| match vectors {
        true => StartVector::Trained(random(slot, 1)),
        false => StartVector::Frozen(random(slot, 1).into()),
    };
    let made = Network::new(config.clone(), |slot| Ok::<_, Infallible>(matrix(slot)), |slot| Ok(vector(slot)));
    match made {
        Ok(network) => network,
        Err(never) => match never {},
    }
}

fn sequences() -> Vec<(Vec<u32>, usize)> {
    let stream = Stream::from_seed(2);
    let sequence = |index: u64, len: u64| (0..len).map(|i| stream.at(index).below(i, 23) as u32).collect();
    vec![(sequence(0, 9), 4), (sequence(1, 5), 1), (sequence(2, 12), 10), (sequence(3, 2), 1)]
}

fn batch(sequences: &[(Vec<u32>, usize)]) -> Batch {
    let mut batch = Batch::default();
    sequences.iter().for_each(|(tokens, given)| batch.push(tokens, *given));
    batch
}

/// A loss with unlike slopes, so that no slope can be forgotten.
fn slopes(batch: &Batch) -> Vec<f32> {
    (0..batch.targets()).map(|i| -0.3 - 0.1 * (i % 5) as f32).collect()
}

fn loss(network: &Network, goal: &Goal<'_>, batch: &Batch) -> f64 {
    let values = match goal {
        Goal::Tokens => network.log_probabilities(&mut Workspace::default(), batch),
        Goal::Teacher { .. } => {
            let slopes = slopes(batch);
            network.learn(&mut Workspace::default(), batch, goal, &slopes, &mut network.gradients())
        }
    };
    values.iter().zip(slopes(batch)).map(|(l, s)| f64::from(*l) * f64::from(s)).sum()
}

fn gradients(network: &Network, ws: Workspace, goal: &Goal<'_>, batch: &Batch) -> Gradients {
    let (mut gradients, mut ws) = (network.gradients(), ws);
    network.learn(&mut ws, batch, goal, &slopes(batch), &mut gradients);
    gradients
}

/// Moves each parameter along its own gradient and along a random direction: the loss must change by the inner product.
fn check_slopes(network: &mut Network, goal: &Goal<'_>, batch: &Batch) {
    let gradients = gradients(network, Workspace::default(), goal, batch);
    for (index, gradient) in gradients.iter().enumerate() {
        let length = gradient.iter().map(|g| g * g).sum::<f32>().sqrt();
        let what = format!("{:?} {:?}", network.parameters()[index].slot, network.parameters()[index].role);
        assert!(length > 0.0, "{what} has a gradient");
        let along: Vec<f32> = gradient.iter().map(|g| g / length).collect();
        let stream = Stream::from_seed(3).at(index as u64);
        let random = (0..along.len() as u64).map(|i| stream.normal(i) as f32 / (along.len() as f32).sqrt());
        let mixed = along.iter().zip(random).map(|(a, r)| 0.5 * a + r).collect::<Vec<f32>>();
        for direction in [along, mixed] {
            let before = network.parameters()[index].values.clone();
            let mut moved = |step: f32| {
                let values = &mut network.parameters_mut()[index].values;
                for ((w, before), d) in values.iter_mut().zip(&before).zip(&direction) {
                    *w = before + step * d;
                }
                loss(network, goal, batch)
            };
            let step = 4e-3;
            // Fourth-order central difference.
            let near = moved(step) - moved(-step);
            let far = moved(2.0 * step) - moved(-2.0 * step);
            moved(0.0);
            let measured = (8.0 * near - far) / (12.0 * f64::from(step));
            let expected: f64 = gradient.iter().zip(&direction).map(|(g, d)| f64::from(g * d)).sum();
            let tolerance = 2e-3 * f64::from(length) + 5e-4;
            assert!((measured - expected).abs() < tolerance, "{what}: {measured} against {expected}");
        }
    }
}

#[test]
fn gradients_of_every_choice_agree_with_finite_differences() {
    for mut config in configs() {
        if let Mlp::Experts { count, chosen } = &mut config.mlp {
            // A choice that changes on the way would be a jump; with all of them there is none.
            *chosen = *count;
        }
        check_slopes(&mut network(&config), &Goal::Tokens, &batch(&sequences()));
    }
}

#[test]
fn gradients_by_a_teacher_agree_with_finite_differences() {
    for cap in [None, Some(3.0)] {
        let config = Config { logit_cap: cap, ..llama(1, false, None) };
        let teacher = with(&llama(2, true, None), |slot| Start::Trained(random(slot, 9)), true);
        let goal = Goal::Teacher { network: &teacher, temperature: 2.0 };
        check_slopes(&mut network(&config), &goal, &batch(&sequences()));
    }
    // A model knows itself.
    let own = network(&llama(1, false, None));
    let goal = Goal::Teacher { network: &own, temperature: 1.5 };
    let batch = batch(&sequences());
    let mut gradients = own.gradients();
    let values = own.learn(&mut Workspace::default(), &batch, &goal, &slopes(&batch), &mut gradients);
    assert!(values.iter().all(|v| v.abs() < 1e-6));
    assert!(gradients.iter().flatten().all(|g| g.abs() < 1e-5));
}

fn is_map(slot: &Slot) -> bool {
    !matches!(slot.part, Part::Embedding | Part::Head | Part::Positions)
}

fn low_rank(slot: &Slot, lengths: bool) -> Start {
    let part = |name: &str, len: usize| {
        let stream = Stream::from_seed(4).child(&format!("{name} {:?} {:?}", slot.part, slot.layer));
        (0..len as u64).map(|i| 0.3 * stream.normal(i) as f32).collect::<Vec<f32>>()
    };
    let magnitude = lengths.then(|| part("length", slot.rows).iter().map(|x| x + 1.5).collect());
    Start::LowRank {
        base: frozen(slot),
        a: part("a", 3 * slot.cols),
        b: part("b", 3 * slot.rows),
        scale: 0.7,
        magnitude,
    }
}

#[test]
fn gradients_of_low_rank_differences_agree_with_finite_differences() {
    let config = Config { qkv_bias: true, ..llama(2, false, None) };
    let start = |slot: &Slot| if is_map(slot) { low_rank(slot, false) } else { Start::Frozen(frozen(slot)) };
    check_slopes(&mut with(&config, start, false), &Goal::Tokens, &batch(&sequences()));
}

/// With trained lengths the lengths that are divided by pass no gradient, so only the magnitudes' can be held to differences; a
/// change of the factors that keeps the rows' lengths would be needed for the others.
#[test]
fn gradients_of_trained_lengths_agree_with_finite_differences() {
    let config = Config { qkv_bias: true, ..llama(1, false, None) };
    let start = |slot: &Slot| if is_map(slot) { low_rank(slot, true) } else { Start::Frozen(frozen(slot)) };
    let mut network = with(&config, start, false);
    let batch = batch(&sequences());
    let gradients = gradients(&network, Workspace::default(), &Goal::Tokens, &batch);
    let mut checked = 0;
    for (index, gradient) in gradients.iter().enumerate() {
        assert!(gradient.iter().any(|g| *g != 0.0));
        if network.parameters()[index].role != Role::Magnitude {
            continue;
        }
        for at in [0, gradient.len() - 1] {
            let before = network.parameters()[index].values[at];
            let mut moved = |step: f32| {
                network.parameters_mut()[index].values[at] = before + step;
                loss(&network, &Goal::Tokens, &batch)
            };
            let measured = (moved(1e-2) - moved(-1e-2)) / 2e-2;
            moved(0.0);
            assert!((measured - f64::from(gradient[at])).abs() < 2e-3, "{measured} {}", gradient[at]);
            checked += 1;
        }
    }
    assert_eq!(checked, 14);
}

/// Vectors that stand at right angles to each other: what matters is that the matrix is `U · diag(s · z) · Vᵀ`.
fn singular(slot: &Slot) -> Start {
    let rank = slot.rows.min(slot.cols);
    let (u, vt) = (random(slot, 5), random(slot, 6));
    let s = (0..rank).map(|i| 1.0 / (1.0 + i as f32)).collect();
    Start::Singular(Arc::new(Frame { u: u[..slot.rows * rank].to_vec(), s, vt: vt[..rank * slot.cols].to_vec() }))
}

#[test]
fn gradients_of_singular_values_agree_with_finite_differences() {
    let start = |slot: &Slot| if is_map(slot) { singular(slot) } else { Start::Frozen(frozen(slot)) };
    let mut network = with(&llama(2, false, None), start, false);
    assert!(network.parameters().iter().all(|p| p.role == Role::SingularScale && p.cols == 1));
    check_slopes(&mut network, &Goal::Tokens, &batch(&sequences()));
}

#[test]
fn frozen_weights_compute_what_trained_ones_do() {
    for config in configs() {
        let batch = batch(&sequences());
        let left = with(&config, |slot| Start::Frozen(frozen(slot)), false);
        assert!(left.parameters().is_empty());
        let values = left.learn(&mut Workspace::default(), &batch, &Goal::Tokens, &slopes(&batch), &mut Vec::new());
        assert_eq!(values, network(&config).log_probabilities(&mut Workspace::default(), &batch));
    }
}

#[test]
fn every_weight_receives_a_gradient() {
    for config in configs() {
        let network = network(&config);
        let gradients = gradients(&network, Workspace::default(), &Goal::Tokens, &batch(&sequences()));
        for (parameter, gradient) in network.parameters().iter().zip(&gradients) {
            let zeros = gradient.iter().filter(|g| **g == 0.0).count();
            // Of an embedding only the rows of tokens that occur, of experts only those that are chosen, of biases of keys none: a
            // softmax does not see them.
            let some = matches!(parameter.slot.part, Part::Embedding | Part::Positions | Part::Router)
                || parameter.slot.expert.is_some();
            let bias_of_keys = parameter.slot.part == Part::K && parameter.slot.bias;
            let expected = if some || bias_of_keys { gradient.len() - usize::from(some) } else { 0 };
            assert!(zeros <= expected, "{:?}: {zeros} zeros in {}", parameter.slot, gradient.len());
        }
    }
}

#[test]
fn packing_and_the_choice_of_targets_change_no_probability() {
    for config in configs() {
        let network = network(&config);
        let packed = network.log_probabilities(&mut Workspace::default(), &batch(&sequences()));
        let mut alone = Vec::new();
        for (tokens, given) in sequences() {
            let every = network.log_probabilities(&mut Workspace::default(), &batch(&[(tokens, 1)]));
            alone.extend_from_slice(&every[given - 1..]);
        }
        assert_eq!(packed, alone, "to the bit, since no sum goes over rows");
    }
}

#[test]
fn gradients_are_the_same_bits_however_they_are_computed() {
    for config in configs() {
        let network = network(&config);
        let batch = batch(&sequences());
        for units in [Units::Vectors, Units::Tiles].into_iter().filter(|units| units.available()) {
            let of = |ws: Workspace| gradients(&network, ws.on(units), &Goal::Tokens, &batch);
            let one = of(Workspace::new(1));
            assert_eq!(one, of(Workspace::new(3)));
            assert_eq!(one, of(Workspace::new(2).recomputing(true)));
            let mut ws = Workspace::new(2).on(units);
            let mut apart = network.gradients();
            for _ in 0..2 {
                apart.iter_mut().for_each(|g| g.fill(0.0));
                let tape = network.forward(&mut ws, &batch);
                network.backward(&mut ws, &batch, tape, &slopes(&batch), &mut apart);
            }
            assert_eq!(one, apart);
        }
    }
}

#[test]
fn gradients_add_up_over_parts_of_a_batch() {
    let network = network(&llama(2, false, None));
    let mut parts = network.gradients();
    for one in sequences() {
        let batch = batch(&[one]);
        let slopes = vec![-1.0; batch.targets()];
        network.learn(&mut Workspace::default(), &batch, &Goal::Tokens, &slopes, &mut parts);
    }
    let mut whole = network.gradients();
    let batch = batch(&sequences());
    let slopes = vec![-1.0; batch.targets()];
    network.learn(&mut Workspace::default(), &batch, &Goal::Tokens, &slopes, &mut whole);
    for (a, b) in parts.iter().flatten().zip(whole.iter().flatten()) {
        assert!((a - b).abs() < 1e-4, "{a} {b}");
    }
}

#[test]
fn rounded_weights_are_those_of_bf16() {
    let config = llama(2, true, None);
    let rounded =
        |slot: &Slot| -> Vec<f32> { random(slot, 1).into_iter().map(|x| half::bf16::from_f32(x).to_f32()).collect() };
    let batch = batch(&sequences());
    let plain = with(&config, |slot| Start::Trained(rounded(slot)), true);
    let masters = network(&config).rounded(true);
    let of = |network: &Network| gradients(network, Workspace::default(), &Goal::Tokens, &batch);
    assert_eq!(of(&plain), of(&masters));
}

#[test]
fn nan_reaches_the_result() {
    for index in [0, 2, 5, 8] {
        let mut network = network(&llama(2, true, None));
        network.parameters_mut()[index].values[3] = f32::NAN;
        let values = network.log_probabilities(&mut Workspace::default(), &batch(&[(vec![0; 8], 1)]));
        assert!(values.iter().any(|l| l.is_nan()), "parameter {index}");
    }
}
