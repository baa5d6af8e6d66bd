//! The passes held to finite differences, to themselves in other packings, and to PyTorch's AdamW.

use super::*;
use crate::decode::{Config, LayerConfig, Rope, RopeScaling};
use crate::rng::Stream;

fn config(layers: usize, tied_head: bool, window: Option<usize>) -> Config {
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

fn weights(config: &Config) -> Weights<Vec<f32>> {
    let mut index = 0;
    Weights::shapes(config).map(|&[rows, columns]| {
        index += 1;
        let stream = Stream::from_seed(1).at(index);
        let (mean, scale) = if rows == 1 { (1.0, 0.2) } else { (0.0, 0.4) };
        (0..(rows * columns) as u64).map(|i| (mean + scale * stream.normal(i)) as f32).collect()
    })
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

fn loss(config: &Config, weights: &Weights<Vec<f32>>, batch: &Batch) -> f64 {
    let tape = forward(&mut Workspace::default(), config, weights, batch);
    tape.log_probabilities.iter().zip(slopes(batch)).map(|(l, s)| f64::from(*l) * f64::from(s)).sum()
}

fn gradients(config: &Config, weights: &Weights<Vec<f32>>, batch: &Batch) -> Weights<Vec<f32>> {
    let mut gradients = weights.zeros_like();
    let tape = forward(&mut Workspace::default(), config, weights, batch);
    backward(&mut Workspace::default(), config, weights, batch, tape, &slopes(batch), &mut gradients);
    gradients
}

/// Moves one weight along its own gradient and along a random direction: the loss must change by the inner product.
#[test]
fn gradients_agree_with_finite_differences() {
    for config in [config(1, true, None), config(2, false, None), config(3, true, Some(4))] {
        let (weights, batch) = (weights(&config), batch(&sequences()));
        let gradients = gradients(&config, &weights, &batch);
        for (index, gradient) in gradients.iter().enumerate() {
            let length = gradient.iter().map(|g| g * g).sum::<f32>().sqrt();
            let along: Vec<f32> = gradient.iter().map(|g| g / length).collect();
            let stream = Stream::from_seed(3).at(index as u64);
            let random = (0..along.len() as u64).map(|i| stream.normal(i) as f32 / (along.len() as f32).sqrt());
            let mixed = along.iter().zip(random).map(|(a, r)| 0.5 * a + r).collect::<Vec<f32>>();
            for direction in [along, mixed] {
                let moved = |step: f32| {
                    let mut weights = weights.clone();
                    let values = weights.iter_mut().nth(index).unwrap();
                    values.iter_mut().zip(&direction).for_each(|(w, d)| *w += step * d);
                    loss(&config, &weights, &batch)
                };
                let step = 4e-3;
                // Fourth-order central difference.
                let near = moved(step) - moved(-step);
                let far = moved(2.0 * step) - moved(-2.0 * step);
                let measured = (8.0 * near - far) / (12.0 * f64::from(step));
                let expected: f64 = gradient.iter().zip(&direction).map(|(g, d)| f64::from(g * d)).sum();
                let tolerance = 2e-3 * f64::from(length);
                assert!((measured - expected).abs() < tolerance, "weight {index}: {measured} against {expected}");
            }
        }
    }
}

#[test]
fn every_weight_receives_a_gradient() {
    for config in [config(1, false, None), config(3, true, None)] {
        let gradients = gradients(&config, &weights(&config), &batch(&sequences()));
        let names = Weights::names(&config);
        for (name, gradient) in names.iter().zip(gradients.iter()) {
            let zeros = gradient.iter().filter(|g| **g == 0.0).count();
            // Of a free embedding only the rows of tokens that occur.
            let expected = if name.contains("embed") && !config.tied_head { gradient.len() / 2 } else { 0 };
            assert!(zeros <= expected, "{name}: {zeros} zeros in {}", gradient.len());
        }
    }
}

#[test]
fn packing_and_the_choice_of_targets_change_no_probability() {
    for config in [config(2, true, None), config(2, true, Some(3))] {
        let weights = weights(&config);
        let packed = forward(&mut Workspace::default(), &config, &weights, &batch(&sequences())).log_probabilities;
        let mut alone = Vec::new();
        for (tokens, given) in sequences() {
            let every = forward(&mut Workspace::default(), &config, &weights, &batch(&[(tokens, 1)])).log_probabilities;
            alone.extend_from_slice(&every[given - 1..]);
        }
        assert_eq!(packed.len(), alone.len());
        for (a, b) in packed.iter().zip(&alone) {
            assert!((a - b).abs() < 2e-5, "{a} {b}");
        }
    }
}

#[test]
fn gradients_add_up_over_parts_of_a_batch() {
    let config = config(2, false, None);
    let weights = weights(&config);
    let slopes_of = |batch: &Batch| vec![-1.0; batch.targets()];
    let mut parts = weights.zeros_like();
    for one in sequences() {
        let batch = batch(&[one]);
        let tape = forward(&mut Workspace::default(), &config, &weights, &batch);
        backward(&mut Workspace::default(), &config, &weights, &batch, tape, &slopes_of(&batch), &mut parts);
    }
    let mut whole = weights.zeros_like();
    let batch = batch(&sequences());
    backward(
        &mut Workspace::default(),
        &config,
        &weights,
        &batch,
        forward(&mut Workspace::default(), &config, &weights, &batch),
        &slopes_of(&batch),
        &mut whole,
    );
    for (a, b) in parts.iter().zip(whole.iter()) {
        for (a, b) in a.iter().zip(b) {
            assert!((a - b).abs() < 1e-4, "{a} {b}");
        }
    }
}

#[test]
fn nan_reaches_the_result() {
    let config = config(2, true, None);
    for index in [0, 2, 5, 8] {
        let mut weights = weights(&config);
        weights.iter_mut().nth(index).unwrap()[3] = f32::NAN;
        let result = forward(&mut Workspace::default(), &config, &weights, &batch(&[(vec![0; 8], 1)]));
        assert!(result.log_probabilities.iter().any(|l| l.is_nan()), "weight {index}");
    }
}

/// Three steps at the rates 0.05, 0.1 and 0.02 with clipping to 1, as PyTorch 2.9.1 takes them (`torch.optim.AdamW`
/// with betas 0.9 and 0.98, weight decay 0.01; `clip_grad_norm_`), f32.
#[test]
fn adamw_takes_pytorchs_steps() {
    let one = |values: [f32; 4]| Weights { embed: values.to_vec(), blocks: vec![], norm: vec![], head: None };
    let settings = AdamWSettings { beta2: 0.98, ..AdamWSettings::default() };
    let mut weights = one([0.5, -1.25, 2.0, 0.0]);
    let mut optimizer = AdamW::new(settings, &weights);
    let steps = [
        (0.05, [0.1, -2.0, 3.0, 0.5], 3.641_428, [0.449_75, -1.199_375, 1.949, -0.05]),
        (0.1, [1e-4, 1.0, -0.5, 0.25], 1.145_644, [0.381_732_88, -1.225_438_2, 1.922_629_1, -0.148_409_84]),
        (0.02, [-0.3, 0.02, 4.0, 0.0], 4.011_284, [0.390_010_03, -1.229_490_4, 1.910_357_4, -0.163_676]),
    ];
    for (rate, gradient, norm, expected) in steps {
        let gradient = one(gradient);
        let (measured, scale) = clip_norm(&gradient, Some(1.0));
        assert!((measured - norm).abs() < 1e-5);
        optimizer.step(&mut weights, &gradient, scale, rate);
        for (w, e) in weights.embed.iter().zip(expected) {
            assert!((w - e).abs() < 1e-6, "{w} {e}");
        }
    }
    assert_eq!(clip_norm(&one([3.0, 0.0, 4.0, 0.0]), None), (5.0, 1.0));
    assert_eq!(clip_norm(&one([0.3, 0.0, 0.4, 0.0]), Some(1.0)).1, 1.0);
}
