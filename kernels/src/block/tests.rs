//! Block operations: accuracy over all magnitudes, special values, tails, and the same bits from every table.

use super::*;

/// Floats of every magnitude and sign: each `step`-th bit pattern, and the ends of what is regular.
fn all_floats(step: usize) -> Vec<f32> {
    let special =
        [0.0, -0.0, 1.0, -1.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MIN_POSITIVE, f32::MAX, 1e-45];
    (0..=u32::MAX).step_by(step).map(f32::from_bits).chain(special).collect()
}

/// Distance from the true value in units in the last place of an `f32`.
fn ulps(found: f32, exact: f64) -> f64 {
    let rounded = exact as f32;
    if found.to_bits() == rounded.to_bits() || found.is_nan() && exact.is_nan() {
        return 0.0;
    }
    if found.is_nan() || exact.is_nan() || found.is_infinite() || rounded.is_infinite() {
        // Just below or above the largest float, an infinity may be off by a rounding.
        let edge = (exact.abs() / f64::from(f32::MAX) - 1.0).abs() < 1e-6;
        return if edge { 1.0 } else { f64::INFINITY };
    }
    let exponent = rounded.abs().max(f32::MIN_POSITIVE).to_bits() >> 23;
    let ulp = 2f64.powi(exponent as i32 - 150);
    (f64::from(found) - exact).abs() / ulp
}

fn sigmoid(x: f64) -> f64 {
    let e = libm::exp(-x.abs());
    if x < 0.0 { e / (1.0 + e) } else { 1.0 / (1.0 + e) }
}

fn softplus(x: f64) -> f64 {
    let positive = if x > 0.0 || x.is_nan() { x } else { 0.0 };
    positive + libm::log1p(libm::exp(-x.abs()))
}

type Case = (&'static str, fn(&Singles) -> Map1<f32>, fn(f64) -> f64, f64);

const CASES: [Case; 17] = [
    ("exp", |t| t.exp, libm::exp, 1.1),
    ("log", |t| t.log, libm::log, 1.0),
    ("tanh", |t| t.tanh, libm::tanh, 3.0),
    ("sigmoid", |t| t.sigmoid, sigmoid, 2.8),
    ("softplus", |t| t.softplus, softplus, 2.0),
    ("log_sigmoid", |t| t.log_sigmoid, |x| -softplus(-x), 2.0),
    ("erf", |t| t.erf, libm::erf, 2.0),
    ("sin", |t| t.sin, libm::sin, 1.6),
    ("cos", |t| t.cos, libm::cos, 1.6),
    ("sqrt", |t| t.sqrt, libm::sqrt, 0.5),
    ("neg", |t| t.neg, |x| -x, 0.0),
    ("abs", |t| t.abs, f64::abs, 0.0),
    ("floor", |t| t.floor, f64::floor, 0.0),
    ("ceil", |t| t.ceil, f64::ceil, 0.0),
    ("round", |t| t.round, libm::round, 0.0),
    ("relu", |t| t.relu, |x| if x.is_nan() || x > 0.0 { x } else { 0.0 }, 0.0),
    ("sign", |t| t.sign, |x| if x.is_nan() { x } else { f64::from(i8::from(x > 0.0) - i8::from(x < 0.0)) }, 0.0),
];

#[test]
fn each_function_keeps_its_stated_accuracy_over_all_floats() {
    let step = if std::env::var_os("EVO_SLOW").is_some() { 257 } else { 4801 };
    let floats = all_floats(step);
    let table = singles();
    let mut breaches = Vec::new();
    let mut out = vec![0.0; floats.len()];
    for (name, function, exact, bound) in CASES {
        function(table)(&floats, &mut out);
        let (mut worst, mut at) = (0.0, 0.0);
        for (x, y) in floats.iter().zip(&out) {
            let error = ulps(*y, exact(f64::from(*x)));
            if error > worst {
                (worst, at) = (error, *x);
            }
        }
        if worst > bound {
            breaches.push(format!("{name}: {worst} units in the last place at {at:e}, more than {bound}"));
        }
    }
    assert!(breaches.is_empty(), "{breaches:#?}");
}

#[test]
fn powers_keep_their_stated_accuracy() {
    let bases = all_floats(1 << 23 | 77_777);
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for x in bases.iter().chain(&[0.5, 2.0, 0.999, 1.001, -2.0, -3.0]) {
        for y in [0.0, -0.0, 0.5, 1.0, 2.0, 3.0, -1.0, 1.7, -31.4, 88.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
            a.push(*x);
            b.push(y);
        }
    }
    let mut out = vec![0.0; a.len()];
    (singles().pow)(&a, &b, &mut out);
    for ((x, y), z) in a.iter().zip(&b).zip(&out) {
        let exact = libm::pow(f64::from(*x), f64::from(*y));
        assert!(ulps(*z, exact) <= 1.0, "{x:e} to {y}: {z:e} for {exact:e}");
    }
}

/// Every class of machines gives the bits of the first, at any length and any alignment.
#[test]
fn all_classes_give_the_same_bits() {
    let floats = all_floats(1_500_007);
    let others: Vec<f32> = floats.iter().rev().copied().collect();
    let tables = single_tables::all();
    let first = tables[0];
    for table in &tables {
        for (name, function, ..) in CASES {
            for len in [0, 1, 7, 64, 65, 200, floats.len() - 3] {
                for start in [0, 1, 3] {
                    let x = &floats[start..start + len];
                    let (mut expected, mut found) = (vec![0.0; len + start], vec![0.0; len + start]);
                    function(first)(x, &mut expected[start..]);
                    function(table)(x, &mut found[start..]);
                    assert!(same(&expected, &found), "{name} of {len} from {start}");
                }
            }
        }
        let two: [fn(&Singles) -> Map2<f32>; 11] = [
            |t| t.add,
            |t| t.sub,
            |t| t.mul,
            |t| t.div,
            |t| t.min,
            |t| t.max,
            |t| t.eq,
            |t| t.ne,
            |t| t.lt,
            |t| t.le,
            |t| t.pow,
        ];
        for function in two {
            let n = floats.len();
            let (mut expected, mut found) = (vec![0.0; n], vec![0.0; n]);
            function(first)(&floats, &others, &mut expected);
            function(table)(&floats, &others, &mut found);
            assert!(same(&expected, &found));
            function(first)(&floats, &[1.5], &mut expected);
            function(table)(&floats, &[1.5; 1], &mut found);
            assert!(same(&expected, &found));
        }
        for len in [0, 1, 31, 32, 33, 1000] {
            let x: Vec<f32> = (0..len).map(|i| (i as f32 * 0.37).sin()).collect();
            assert_eq!((first.sum)(&x).to_bits(), (table.sum)(&x).to_bits());
            let exact: f64 = x.iter().map(|x| f64::from(*x)).sum();
            assert!(((table.sum)(&x) - exact).abs() <= 1e-5);
        }
        let mut narrow = (vec![0u16; floats.len()], vec![0u16; floats.len()]);
        (first.store_bf16)(&floats, &mut narrow.0);
        (table.store_bf16)(&floats, &mut narrow.1);
        assert_eq!(narrow.0, narrow.1);
    }
}

fn same(a: &[f32], b: &[f32]) -> bool {
    a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan())
}

#[test]
fn two_functions_at_once_are_each_by_itself() {
    let floats = all_floats(1_000_003);
    let n = floats.len();
    let (mut a, mut b, mut c, mut d) = (vec![0.0; n], vec![0.0; n], vec![0.0; n], vec![0.0; n]);
    (singles().softplus_and_sigmoid)(&floats, &mut a, &mut b);
    (singles().softplus)(&floats, &mut c);
    (singles().sigmoid)(&floats, &mut d);
    assert!(same(&a, &c) && same(&b, &d));
}

#[test]
fn an_operand_of_one_element_stands_for_all_rows() {
    let x = [1.0f32, -2.0, 3.0];
    let mut out = [0.0; 3];
    (singles().sub)(&[1.0], &x, &mut out);
    assert_eq!(out, [0.0, 3.0, -2.0]);
    (singles().mul_add)(&x, &[2.0], &[1.0], &mut out);
    assert_eq!(out, [3.0, -3.0, 7.0]);
    (singles().select)(&[1.0, 0.0, f32::NAN], &x, &[9.0], &mut out);
    assert_eq!(out, [1.0, 9.0, 3.0]);
    (singles().pow)(&x, &[2.0], &mut out);
    assert_eq!(out, [1.0, 4.0, 9.0]);
}

#[test]
fn nan_and_signed_zero_are_those_of_scalar_code() {
    for table in single_tables::all() {
        let a = [f32::NAN, 1.0, 0.0, -0.0];
        let b = [1.0, f32::NAN, -0.0, 0.0];
        let mut out = [0.0; 4];
        (table.min)(&a, &b, &mut out);
        assert!(out[0].is_nan() && out[1].is_nan() && out[2].is_sign_negative() && out[3].is_sign_negative());
        (table.max)(&a, &b, &mut out);
        assert!(out[0].is_nan() && out[1].is_nan() && out[2].is_sign_positive() && out[3].is_sign_positive());
        (table.lt)(&a, &b, &mut out);
        assert_eq!(out, [0.0; 4]);
    }
    for table in double_tables::all() {
        let mut out = [0.0; 2];
        (table.max)(&[f64::NAN, 0.0], &[1.0, -0.0], &mut out);
        assert!(out[0].is_nan() && out[1].is_sign_positive());
        (table.round)(&[0.499_999_999_999_999_94, -2.5], &mut out);
        assert_eq!(out, [0.0, -3.0]);
    }
}

#[test]
fn storage_types_round_to_nearest() {
    let halves: Vec<u16> = (0..=u16::MAX).collect();
    let (mut wide, mut back) = (vec![0f32; halves.len()], vec![0u16; halves.len()]);
    for (load, store, is_nan) in [
        (singles().load_bf16, singles().store_bf16, (|b: u16| half::bf16::from_bits(b).is_nan()) as fn(u16) -> bool),
        (load_f16, store_f16, |b: u16| half::f16::from_bits(b).is_nan()),
    ] {
        load(&halves, &mut wide);
        store(&wide, &mut back);
        assert!(halves.iter().zip(&back).all(|(a, b)| a == b || is_nan(*a) && is_nan(*b)));
    }
    let x = [1.0 + 1.0 / 512.0, 1.0 + 3.0 / 256.0, 65519.0];
    let mut out = [0u16; 3];
    (singles().store_bf16)(&x, &mut out);
    assert_eq!(out.map(|b| half::bf16::from_bits(b).to_f32()), x.map(|x| half::bf16::from_f32(x).to_f32()));
    store_f16(&x, &mut out);
    assert_eq!(out.map(|b| half::f16::from_bits(b).to_f32()), x.map(|x| half::f16::from_f32(x).to_f32()));
}
