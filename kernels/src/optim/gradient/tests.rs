//! PyTorch's steps, whatever the threads, and the same after a restore.

use super::*;
use crate::backprop::{Parameter, Role};
use crate::decode::{Part, Slot};
use crate::rng::Stream;

fn parameter(part: Part, layer: Option<usize>, rows: usize, cols: usize, values: Vec<f32>) -> Parameter {
    let slot = Slot { part, layer, expert: None, bias: false, rows, cols };
    Parameter { slot, role: Role::Weight, rows, cols, values }
}

/// `sin(1.7 i + k)` times `by`, in f32.
fn waves(count: usize, k: f64, by: f64) -> Vec<f32> {
    (0..count).map(|i| ((1.7 * i as f64 + k).sin() * 0.8) as f32 * by as f32).collect()
}

fn close(found: &[f32], expected: &[f32], within: f32) {
    assert_eq!(found.len(), expected.len());
    for (f, e) in found.iter().zip(expected) {
        assert!((f - e).abs() < within, "{f} {e}");
    }
}

/// Three steps at the rates 0.05, 0.1 and 0.02 with clipping to 1, as PyTorch 2.9.1 takes them (`torch.optim.AdamW`
/// with betas 0.9 and 0.98, weight decay 0.01; `clip_grad_norm_`), f32.
#[test]
fn adamw_takes_pytorchs_steps() {
    let mut parameters = [parameter(Part::Embedding, None, 4, 1, vec![0.5, -1.25, 2.0, 0.0])];
    let rule = AdamW { beta2: 0.98, weight_decay: 0.01, decay_vectors: true, ..AdamW::default() };
    let mut optimizer = Optimizer::new(Rule::AdamW(rule), &parameters);
    let steps = [
        (0.05, [0.1, -2.0, 3.0, 0.5], 3.641_428, [0.449_75, -1.199_375, 1.949, -0.05]),
        (0.1, [1e-4, 1.0, -0.5, 0.25], 1.145_644, [0.381_732_88, -1.225_438_2, 1.922_629_1, -0.148_409_84]),
        (0.02, [-0.3, 0.02, 4.0, 0.0], 4.011_284, [0.390_010_03, -1.229_490_4, 1.910_357_4, -0.163_676]),
    ];
    for (rate, gradient, norm, expected) in steps {
        let gradient = vec![gradient.to_vec()];
        let (measured, scale) = clip_norm(&gradient, Some(1.0), 1);
        assert!((measured - norm).abs() < 1e-5);
        optimizer.step(&mut parameters, &gradient, scale, rate, 1);
        close(&parameters[0].values, &expected, 1e-6);
    }
    assert_eq!(clip_norm(&vec![vec![3.0, 0.0, 4.0, 0.0]], None, 1), (5.0, 1.0));
    assert_eq!(clip_norm(&vec![vec![0.3, 0.0, 0.4, 0.0]], Some(1.0), 1).1, 1.0);
    assert!(clip_norm(&vec![vec![0.3], vec![f32::NAN]], Some(1.0), 1).0.is_nan());
}

/// Lion's formula in PyTorch 2.9.1 (Chen et al., 2023, algorithm 2), f32, weight decay 0.1; the third gradient is zero for two steps.
#[test]
fn lion_takes_the_papers_steps() {
    let mut parameters = [parameter(Part::Q, Some(0), 2, 2, waves(4, 0.3, 1.0))];
    let mut optimizer = Optimizer::new(Rule::Lion(Lion { weight_decay: 0.1, ..Lion::default() }), &parameters);
    let expected = [
        [0.185_234_08, 0.673_800_7, -0.421_749_6, -0.565_120_5],
        [0.083_381_75, 0.767_062_7, -0.417_532_1, -0.659_469_4],
        [0.063_214_99, 0.785_528_6, -0.396_697, -0.678_150_4],
    ];
    for (step, (rate, expected)) in [0.05, 0.1, 0.02].into_iter().zip(expected).enumerate() {
        let mut gradient = waves(4, 1.1 * step as f64 + 0.5, step as f64 + 1.0);
        if step < 2 {
            gradient[2] = 0.0;
        }
        optimizer.step(&mut parameters, &vec![gradient], 1.0, rate, 1);
        close(&parameters[0].values, &expected, 1e-6);
    }
}

const WIDE_ORIGINAL: [f32; 15] = [
    0.161_538, 0.696_301, -0.340_967, -0.608_438, 0.497_755, 0.482_977, -0.622_384, -0.322_595, 0.705_513, 0.140_792,
    -0.743_053, 0.053_063, 0.729_379, -0.241_017, -0.667_272,
];
const WIDE_MATCHED: [f32; 15] = [
    0.200_718, 0.706_709, -0.382_829, -0.608_059, 0.539_519, 0.470_285, -0.660_783, -0.300_008, 0.738_092, 0.109_810,
    -0.766_952, 0.088_889, 0.744_046, -0.280_622, -0.671_733,
];
const TALL_ORIGINAL: [f32; 12] = [
    0.111_286, 0.593_246, -0.309_519, -0.544_241, 0.487_199, 0.459_096, -0.632_528, -0.343_466, 0.735_854, 0.205_029,
    -0.790_317, -0.052_977,
];

/// Three steps of `torch.optim.Muon` (PyTorch 2.9.1, weight decay 0.1) whose Newton-Schulz iteration was told to stay in f32.
#[test]
fn muon_takes_pytorchs_steps() {
    let cases: [(usize, usize, Adjust, &[f32]); 3] = [
        (3, 5, Adjust::Original, &WIDE_ORIGINAL),
        (3, 5, Adjust::MatchAdamW, &WIDE_MATCHED),
        (6, 2, Adjust::Original, &TALL_ORIGINAL),
    ];
    for (rows, cols, adjust, expected) in cases {
        let mut parameters = [parameter(Part::Up, Some(0), rows, cols, waves(rows * cols, 0.3, 1.0))];
        let rule = Muon { adjust, weight_decay: 0.1, ..Muon::default() };
        let mut optimizer = Optimizer::new(Rule::Muon(rule, AdamW::default()), &parameters);
        for (step, rate) in [0.05, 0.1, 0.02].into_iter().enumerate() {
            let gradient = waves(rows * cols, 1.1 * step as f64 + 0.5, step as f64 + 1.0);
            optimizer.step(&mut parameters, &vec![gradient], 1.0, rate, 1);
        }
        close(&parameters[0].values, expected, 2e-5);
    }
}

fn network() -> (Vec<Parameter>, Gradients) {
    let stream = Stream::from_seed(3);
    let values = |index: u64, count: usize| (0..count as u64).map(|i| stream.at(index).normal(i) as f32).collect();
    let parameters = vec![
        parameter(Part::Embedding, None, 300, 96, values(0, 300 * 96)),
        parameter(Part::Q, Some(0), 96, 96, values(1, 96 * 96)),
        parameter(Part::Down, Some(0), 96, 200, values(2, 96 * 200)),
        parameter(Part::Norm, None, 96, 1, values(3, 96)),
    ];
    let gradients = parameters.iter().zip(9..).map(|(p, index)| values(index, p.values.len())).collect();
    (parameters, gradients)
}

const RULES: fn() -> [Rule; 3] = || {
    let adamw = AdamW { weight_decay: 0.1, ..AdamW::default() };
    [Rule::AdamW(adamw), Rule::Lion(Lion { weight_decay: 0.1, ..Lion::default() }), Rule::Muon(Muon::default(), adamw)]
};

#[test]
fn steps_are_the_same_to_the_bit_on_any_number_of_threads() {
    for rule in RULES() {
        let run = |threads: usize| {
            let (mut parameters, mut gradients) = network();
            let mut optimizer = Optimizer::new(rule, &parameters);
            for _ in 0..3 {
                let (norm, scale) = clip_norm(&gradients, Some(1.0), threads);
                assert!(norm > 100.0 && scale < 0.01);
                optimizer.step(&mut parameters, &gradients, scale, 1e-2, threads);
            }
            clear(&mut gradients, threads);
            assert!(gradients.iter().flatten().all(|g| *g == 0.0));
            parameters
        };
        let one = run(1);
        assert!(one == run(2) && one == run(4), "{rule:?}");
    }
}

#[test]
fn what_was_remembered_goes_on_to_the_bit() {
    for rule in RULES() {
        let (mut parameters, gradients) = network();
        let mut optimizer = Optimizer::new(rule, &parameters);
        optimizer.step(&mut parameters, &gradients, 1.0, 1e-2, 1);
        let mut resumed = Optimizer::new(rule, &parameters);
        resumed.restore(optimizer.moments().clone()).unwrap();
        let mut others = parameters.clone();
        optimizer.step(&mut parameters, &gradients, 0.5, 1e-2, 1);
        resumed.step(&mut others, &gradients, 0.5, 1e-2, 1);
        assert!(parameters == others && optimizer.moments() == resumed.moments(), "{rule:?}");
        let mut foreign = optimizer.moments().clone();
        foreign.first.pop();
        assert_eq!(resumed.restore(foreign), Err(OptimError::State));
        assert_eq!(optimizer.moments(), resumed.moments());
    }
}

#[test]
fn vectors_decay_only_if_they_are_asked_to() {
    for (decay_vectors, kept) in [(false, 2.0), (true, 2.0 * (1.0 - 0.1 * 0.5))] {
        let rule = AdamW { weight_decay: 0.5, decay_vectors, ..AdamW::default() };
        let mut parameters =
            [parameter(Part::Norm, None, 2, 1, vec![2.0; 2]), parameter(Part::Q, Some(0), 1, 2, vec![2.0; 2])];
        let mut optimizer = Optimizer::new(Rule::AdamW(rule), &parameters);
        optimizer.step(&mut parameters, &vec![vec![0.0; 2]; 2], 1.0, 0.1, 1);
        close(&parameters[0].values, &[kept; 2], 1e-6);
        close(&parameters[1].values, &[1.9; 2], 1e-6);
    }
}
