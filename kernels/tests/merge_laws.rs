//! Laws of the merge methods, as properties over random tensors.
#![cfg(test)]

use evo_kernels::merge::{
    Dare, Element, Linear, MergeError, Merged, Operand, Scratch, TaskArithmetic, Ties, dare_linear, dare_ties, linear,
    slerp, task_arithmetic, ties,
};
use evo_kernels::rng::Stream;
use half::{bf16, f16};
use proptest::prelude::*;

fn tensor(seed: u64, len: usize) -> Vec<f32> {
    let mut values = vec![0.0; len];
    Stream::from_seed(seed).fill_normal(0, &mut values);
    values.into_iter().map(|x| x as f32).collect()
}

/// Calls a merge with a fresh output.
fn run<E: Default + Clone>(len: usize, merge: impl FnOnce(&mut [E]) -> Result<(), MergeError>) -> Vec<E> {
    let mut out = vec![E::default(); len];
    merge(&mut out).unwrap();
    out
}

fn near(a: &[f32], b: &[f32], tolerance: f32) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(x, y)| (x - y).abs() <= tolerance)
}

fn plain(weight: &[f64]) -> TaskArithmetic<'_> {
    TaskArithmetic { weight, ..Default::default() }
}

const UNNORMALIZED: Ties<'_> = Ties { weight: &[], density: &[], normalize: false, rescale: false, lambda: 1.0 };

proptest! {
    #[test]
    fn slerp_begins_and_ends_at_its_models(seed: u64, len in 1usize..300) {
        let (a, b) = (tensor(seed, len), tensor(!seed, len));
        prop_assert_eq!(&run(len, |out| slerp(&a, &b, 0.0, out)), &a);
        prop_assert!(near(&run(len, |out| slerp(&a, &b, 1.0, out)), &b, 1e-6));
    }

    #[test]
    fn slerp_from_the_other_end_is_the_same_path(seed: u64, len in 2usize..300, t in 0.0..1.0f64) {
        let (a, b) = (tensor(seed, len), tensor(!seed, len));
        let (there, back) = (run(len, |out| slerp(&a, &b, t, out)), run(len, |out| slerp(&b, &a, 1.0 - t, out)));
        // Nearly opposite vectors have a small sine, by which rounding grows.
        prop_assert!(near(&there, &back, 1e-4));
    }

    #[test]
    fn slerp_between_vectors_of_one_norm_keeps_it(seed: u64, half in 2usize..200, t in 0.0..1.0f64) {
        let a = tensor(seed, 2 * half);
        let turned: Vec<f32> = a.chunks(2).flat_map(|p| [-p[1], p[0]]).collect(); // at a right angle
        let out = run(2 * half, |out| slerp(&a, &turned, t, out));
        let norm = |v: &[f32]| v.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        prop_assert!((norm(&out) / norm(&a) - 1.0).abs() < 1e-5);
    }

    #[test]
    fn equal_models_average_to_themselves(seed: u64, len in 1usize..300, w in prop::collection::vec(0.1..2.0f64, 1..5)) {
        let a = tensor(seed, len);
        let models = vec![&a[..]; w.len()];
        let out = run(len, |out| linear(&models, &Linear { weight: &w, normalize: true }, out));
        prop_assert!(near(&out, &a, 4e-6));
    }

    #[test]
    fn task_arithmetic_is_linear_in_its_weights(seed: u64, len in 1usize..300, u in -1.0..1.0f64, v in -1.0..1.0f64) {
        let (base, a, b) = (tensor(seed, len), tensor(seed ^ 1, len), tensor(seed ^ 2, len));
        let merged = |w: [f64; 2]| run(len, |out| task_arithmetic(&base, &[&a, &b], &plain(&w), out));
        let (left, right, both) = (merged([u, 0.0]), merged([0.0, v]), merged([u, v]));
        let sum: Vec<f32> = (0..len).map(|i| left[i] + right[i] - base[i]).collect();
        prop_assert!(near(&both, &sum, 1e-5));
    }

    #[test]
    fn weight_zero_or_lambda_zero_leaves_the_base(seed: u64, len in 1usize..300, d in 0.0..1.0f64) {
        let (base, a) = (tensor(seed, len), tensor(!seed, len));
        prop_assert_eq!(&run(len, |out| task_arithmetic(&base, &[&a], &plain(&[0.0]), out)), &base);
        let params = Ties { weight: &[1.0], density: &[d], lambda: 0.0, ..Default::default() };
        prop_assert_eq!(&run(len, |out| ties(&base, &[&a], &params, out)), &base);
        let params = Dare { weight: &[1.0], density: &[0.0], ..Default::default() };
        prop_assert_eq!(&run(len, |out| dare_linear(&base, &[&a], &params, Stream::from_seed(seed), out)), &base);
    }

    #[test]
    fn ties_of_one_whole_model_adds_its_weighted_task_vector(seed: u64, len in 1usize..300, w in -2.0..2.0f64) {
        let (base, a) = (tensor(seed, len), tensor(!seed, len));
        let params = Ties { weight: &[w], density: &[1.0], ..UNNORMALIZED };
        let expected = run(len, |out| task_arithmetic(&base, &[&a], &plain(&[w]), out));
        prop_assert_eq!(run(len, |out| ties(&base, &[&a], &params, out)), expected);
    }

    #[test]
    fn ties_changes_no_more_than_it_keeps(seed: u64, len in 1usize..300, d in 0.0..1.0f64) {
        let (base, a) = (tensor(seed, len), tensor(!seed, len));
        let params = Ties { weight: &[1.0], density: &[d], ..Default::default() };
        let out = run(len, |out| ties(&base, &[&a], &params, out));
        let changed = (0..len).filter(|&i| out[i] != base[i]).count();
        prop_assert_eq!(changed, if d == 0.0 { 0 } else { ((d * len as f64) as usize).max(1) });
    }

    #[test]
    fn opposite_task_vectors_leave_the_larger(len in 1usize..300, seed: u64) {
        // About a base of zero: b is -a/2, so every consensus is a's sign and only a remains.
        let (base, a) = (vec![0.0; len], tensor(seed, len));
        let b: Vec<f32> = a.iter().map(|x| -x / 2.0).collect();
        let params = Ties { weight: &[1.0, 1.0], density: &[1.0, 1.0], ..Default::default() };
        prop_assert_eq!(run(len, |out| ties(&base, &[&a, &b], &params, out)), a);
    }

    #[test]
    fn density_one_makes_dare_deterministic(seed: u64, len in 1usize..300, w in prop::collection::vec(-1.0..1.0f64, 2)) {
        let (base, a, b) = (tensor(seed, len), tensor(seed ^ 1, len), tensor(seed ^ 2, len));
        let (models, density) = ([&a[..], &b[..]], [1.0, 1.0]);
        let params = Dare { weight: &w, density: &density, ..Default::default() };
        let stream = Stream::from_seed(seed);
        let expected = run(len, |out| task_arithmetic(&base, &models, &plain(&w), out));
        prop_assert_eq!(run(len, |out| dare_linear(&base, &models, &params, stream, out)), expected);
        let expected = run(len, |out| ties(&base, &models, &Ties { weight: &w, density: &density, ..UNNORMALIZED }, out));
        prop_assert_eq!(run(len, |out| dare_ties(&base, &models, &params, stream, out)), expected);
    }

    #[test]
    fn narrow_types_are_near_the_wide_one(seed: u64, len in 1usize..200) {
        let wide = [tensor(seed, len), tensor(seed ^ 1, len), tensor(seed ^ 2, len)];
        let params = Ties { weight: &[0.6, 0.4], density: &[1.0, 1.0], ..Default::default() };
        let narrow = wide.clone().map(|v| v.into_iter().map(f16::from_f32).collect::<Vec<_>>());
        let exact = narrow.clone().map(|v| v.into_iter().map(f16::to_f32).collect::<Vec<_>>());
        let out = run(len, |out| ties(&narrow[0], &[&narrow[1], &narrow[2]], &params, out));
        let expected = run(len, |out| ties(&exact[0], &[&exact[1], &exact[2]], &params, out));
        let out: Vec<f32> = out.into_iter().map(f16::to_f32).collect();
        // Five roundings to 11 bits of values below 8; a sign may flip only where the sum is that close to 0.
        let sum = |i: usize| 0.6 * (exact[1][i] - exact[0][i]) + 0.4 * (exact[2][i] - exact[0][i]);
        let off = (0..len).filter(|&i| (out[i] - expected[i]).abs() > 0.02 && sum(i).abs() > 0.02).count();
        prop_assert_eq!(off, 0);
    }
}

/// Many chunks, so that several threads take part: the bits must be those of one thread.
#[test]
fn threads_do_not_change_a_merge() {
    let len = 300_001;
    let [base, a, b] =
        [1, 2, 3].map(|seed| -> Vec<bf16> { tensor(seed, len).into_iter().map(bf16::from_f32).collect() });
    let models = [&a[..], &b[..]];
    let (weight, density) = (&[0.7, 0.4][..], &[0.3, 0.6][..]);
    let all = || {
        let ties_params = Ties { weight, density, rescale: true, ..Default::default() };
        let dare_params = Dare { weight, density, ..Default::default() };
        [
            run(len, |out| slerp(&a, &b, 0.3, out)),
            run(len, |out| linear(&models, &Linear { weight, normalize: true }, out)),
            run(len, |out| ties(&base, &models, &ties_params, out)),
            run(len, |out| dare_ties(&base, &models, &dare_params, Stream::from_seed(1), out)),
        ]
    };
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let one = pool(1).install(all);
    assert_eq!(one, pool(4).install(all));
    assert!(one.iter().all(|out| out.iter().any(|x| *x != bf16::ZERO)));
}

#[test]
fn masks_differ_between_models_and_between_streams() {
    let len = 4000;
    let (base, a) = (vec![0.0f32; len], vec![1.0f32; len]);
    let params = Dare { weight: &[1.0, 2.0], density: &[0.5, 0.5], rescale: false, ..Default::default() };
    let out = |seed| run(len, |out| dare_linear(&base, &[&a, &a], &params, Stream::from_seed(seed), out));
    let first = out(1);
    for value in [0.0, 1.0, 2.0, 3.0] {
        let count = first.iter().filter(|x| **x == value).count();
        assert!((count as f64 - 1000.0).abs() < 5.0 * (1000.0f64 * 0.75).sqrt(), "{count} times {value}");
    }
    assert_eq!(first, out(1));
    assert_ne!(first, out(2));
}

#[test]
fn a_nan_reaches_the_output() {
    let (base, a, b) = ([0.0f32, 0.0], [f32::NAN, 1.0], [1.0, 1.0]);
    for density in [1.0, 0.5] {
        let params = Ties { weight: &[1.0, 1.0], density: &[density; 2], ..Default::default() };
        assert!(run(2, |out| ties(&base, &[&a, &b], &params, out))[0].is_nan());
    }
    assert!(run(2, |out| slerp(&a, &b, 0.5, out))[0].is_nan());
}

#[test]
fn empty_tensors_merge_to_nothing() {
    let none: [f32; 0] = [];
    let params = Ties { weight: &[1.0], density: &[0.5], rescale: true, ..Default::default() };
    assert!(run(0, |out: &mut [f32]| ties(&none, &[&none], &params, out)).is_empty());
    assert!(run(0, |out: &mut [f32]| slerp(&none, &none, 0.5, out)).is_empty());
}

/// Asserts that a merge of four elements fails, and leaves its output alone.
fn refused(expected: MergeError, merge: impl FnOnce(&mut [f32]) -> Result<(), MergeError>) {
    let mut out = [9.0; 4];
    assert_eq!(merge(&mut out), Err(expected));
    assert_eq!(out, [9.0; 4]);
}

#[test]
fn wrong_lengths_and_counts_are_refused() {
    let (base, a, short) = ([1.0f32; 4], [2.0f32; 4], [2.0f32; 3]);
    let length = |tensor| MergeError::Length { tensor, expected: 4, found: 3 };
    let weight = |weight| Linear { weight, normalize: true };
    refused(MergeError::NoModels, |out| linear(&[], &weight(&[]), out));
    refused(length(Operand::Model(1)), |out| linear(&[&a, &short], &weight(&[1.0, 1.0]), out));
    refused(length(Operand::Base), |out| task_arithmetic(&short, &[&a], &plain(&[1.0]), out));
    let count = MergeError::Count { parameter: "weight", expected: 1, found: 2 };
    refused(count, |out| task_arithmetic(&base, &[&a], &plain(&[1.0, 2.0]), out));
}

#[test]
fn parameters_out_of_range_are_refused() {
    let (base, a) = ([1.0f32; 4], [2.0f32; 4]);
    let weight = |weight| Linear { weight, normalize: true };
    let zero_sum = |sum| MergeError::ZeroWeightSum { sum };
    refused(zero_sum(0.0), |out| linear(&[&a], &weight(&[0.0]), out));
    refused(zero_sum(0.1 + 0.2 - 0.3), |out| linear(&[&a, &a], &weight(&[0.1 + 0.2, -0.3]), out));
    let bad = |parameter, value, rule| MergeError::Parameter { parameter, value, rule };
    let params = Ties { weight: &[1.0], density: &[1.5], ..Default::default() };
    refused(bad("density", 1.5, "it must be from 0 to 1"), |out| ties(&base, &[&a], &params, out));
    let infinite = bad("t", f64::INFINITY, "it must be finite");
    refused(infinite, |out| slerp(&base, &a, f64::INFINITY, out));
}

/// The merge written in ranges that begin and end anywhere.
fn in_ranges<E: Element>(merged: &Merged<E>, inputs: &[&[E]], cuts: &[usize]) -> Vec<E> {
    let len = inputs[0].len();
    let mut out = vec![E::default(); len];
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (len + 1)).chain([0, len]).collect();
    ends.sort();
    let mut scratch = Scratch::new();
    for ends in ends.windows(2) {
        let range = ends[0]..ends[1];
        let some: Vec<&[E]> = inputs.iter().map(|input| &input[range.clone()]).collect();
        merged.write(&some, range.start, &mut out[range], &mut scratch);
    }
    out
}

proptest! {
    #[test]
    fn a_merge_in_ranges_is_the_whole(seed: u64, len in 1usize..5000, cuts in prop::collection::vec(0usize..5000, 0..6)) {
        let all: [Vec<bf16>; 3] = std::array::from_fn(|i| {
            tensor(seed ^ i as u64, len).into_iter().map(bf16::from_f32).collect()
        });
        let [base, a, b] = [&all[0][..], &all[1], &all[2]];
        let (weight, density, stream) = ([0.7, -0.3], [0.4, 0.9], Stream::from_seed(seed));
        let (models, inputs) = ([a, b], [base, a, b]);
        let params = Linear { weight: &weight, normalize: true };
        let found = in_ranges(&Merged::linear(&models, &params).unwrap(), &models, &cuts);
        prop_assert_eq!(found, run(len, |out| linear(&models, &params, out)));
        let found = in_ranges(&Merged::slerp(a, b, 0.3).unwrap(), &models, &cuts);
        prop_assert_eq!(found, run(len, |out| slerp(a, b, 0.3, out)));
        let params = TaskArithmetic { weight: &weight, normalize: true, lambda: 0.9 };
        let found = in_ranges(&Merged::task_arithmetic(base, &models, &params).unwrap(), &inputs, &cuts);
        prop_assert_eq!(found, run(len, |out| task_arithmetic(base, &models, &params, out)));
        let params = Ties { weight: &weight, density: &density, rescale: true, ..Default::default() };
        let found = in_ranges(&Merged::ties(base, &models, &params).unwrap(), &inputs, &cuts);
        prop_assert_eq!(found, run(len, |out| ties(base, &models, &params, out)));
        let params = Dare { weight: &weight, density: &density, ..Default::default() };
        let found = in_ranges(&Merged::dare_ties(base, &models, &params, stream).unwrap(), &inputs, &cuts);
        prop_assert_eq!(found, run(len, |out| dare_ties(base, &models, &params, stream, out)));
    }
}

#[test]
fn a_merge_that_is_one_of_its_inputs_says_so() {
    let (base, a) = (tensor(1, 50), tensor(2, 50));
    let models = [&base[..], &a[..]];
    let linear = |weight: [f64; 2]| Merged::linear(&models, &Linear { weight: &weight, normalize: true }).unwrap();
    assert_eq!(linear([0.0, 1.0]).input(), Some(1));
    assert_eq!((linear([0.5, 0.5]).input(), linear([0.0, 2.0]).input()), (None, None));
    assert_eq!(in_ranges(&linear([0.0, 1.0]), &models, &[]), a);
    let slerp = |t| Merged::slerp(&base, &a, t).unwrap().input();
    assert_eq!((slerp(0.0), slerp(0.5)), (Some(0), None));
    let task = |w| Merged::task_arithmetic(&base, &[&a], &plain(&[w])).unwrap();
    assert_eq!((task(0.0).input(), task(1.0).input()), (Some(0), None));
    assert_eq!(in_ranges(&task(0.0), &models, &[]), base);
}
