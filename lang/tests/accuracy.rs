//! The scalar functions are as accurate as they say, against values of 400 bits (`accuracy/make.py`).

use evo_lang::ir::{Binary, Unary, scalar};

/// How far `got` is from `high + low`, in units of the last place of `high`.
fn ulps(got: f64, high: f64, low: f64) -> f64 {
    let unit = f64::from_bits((high.abs().to_bits() & (0x7ff << 52)).max(1 << 52)) * f64::EPSILON;
    ((got - high) - low).abs() / unit
}

#[test]
fn functions_are_within_their_bounds() {
    let mut worst = std::collections::BTreeMap::new();
    for line in include_str!("accuracy/vectors.txt").lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split(' ');
        let name = words.next().unwrap();
        let numbers: Vec<f64> = words.map(|w| f64::from_bits(u64::from_str_radix(w, 16).unwrap())).collect();
        let (got, high, low) = match (name, numbers.as_slice()) {
            ("pow", [x, y, high, low]) => (scalar::binary_real(Binary::Pow, *x, *y).unwrap(), *high, *low),
            (name, [x, high, low]) => {
                let op = Unary::ALL.into_iter().find(|op| op.name() == name).unwrap();
                (scalar::unary_real(op, *x).unwrap(), *high, *low)
            }
            _ => panic!("{line}"),
        };
        let error =
            if high.is_infinite() { if got == high { 0.0 } else { f64::INFINITY } } else { ulps(got, high, low) };
        // A denormal result is rounded a second time.
        let name = if high.abs() < f64::MIN_POSITIVE { "denormal" } else { name };
        let entry = worst.entry(name).or_insert((0.0, 0, String::new()));
        entry.1 += 1;
        if error.is_nan() || error > entry.0 {
            (entry.0, entry.2) = (error, format!("{numbers:?} gave {got}"));
        }
    }
    let bounds = [
        ("exp", 0.55),
        ("log", 0.55),
        ("sin", 1.0),
        ("cos", 1.0),
        ("tanh", 3.0),
        ("sigmoid", 2.0),
        ("softplus", 2.0),
        ("log_sigmoid", 2.0),
        ("erf", 1.0),
        ("pow", 1.0),
        ("denormal", 1.0),
    ];
    assert_eq!(worst.len(), bounds.len());
    for (name, bound) in bounds {
        let (error, count, place) = &worst[name];
        println!("{name}: {error:.3} ulp");
        assert!(*count > 50 && *error <= bound, "{name} is {error} ulp off: {place}");
    }
}

#[test]
fn the_ends_of_the_number_line() {
    let (exp, log, sin, cos) = (scalar::math::exp, scalar::math::log, scalar::math::sin, scalar::math::cos);
    assert_eq!(
        (exp(f64::INFINITY), exp(f64::NEG_INFINITY), exp(710.0), exp(-746.0)),
        (f64::INFINITY, 0.0, f64::INFINITY, 0.0)
    );
    assert_eq!((exp(0.0), exp(-0.0), exp(-745.13) > 0.0, exp(709.78).is_finite()), (1.0, 1.0, true, true));
    assert_eq!((log(0.0), log(-0.0), log(f64::INFINITY)), (f64::NEG_INFINITY, f64::NEG_INFINITY, f64::INFINITY));
    assert_eq!((log(1.0).to_bits(), log(5e-324)), (0, -744.440_071_921_381_2));
    assert!(
        [exp(f64::NAN), log(f64::NAN), log(-1.0), sin(f64::INFINITY), cos(f64::NAN), cos(f64::NEG_INFINITY)]
            .iter()
            .all(|x| x.is_nan())
    );
    assert_eq!((sin(-0.0).to_bits(), cos(-0.0)), ((-0.0f64).to_bits(), 1.0));
    assert_eq!((sin(5e-324), sin(-1e-300)), (5e-324, -1e-300));
    for x in [0.1, 3.7, 31.4, 4000.0, 1e9] {
        assert_eq!((sin(-x), cos(-x)), (-sin(x), cos(x)));
    }
    let tanh = scalar::math::tanh;
    assert_eq!(
        (tanh(-0.0).to_bits(), tanh(1e300), tanh(-50.0), tanh(5e-324)),
        ((-0.0f64).to_bits(), 1.0, -1.0, 5e-324)
    );
    assert!(tanh(f64::NAN).is_nan() && scalar::math::sigmoid(f64::NAN).is_nan());
}

#[test]
fn rounding_goes_to_the_nearest_and_halves_away_from_zero() {
    let largest_below_half = 0.499_999_999_999_999_94;
    for x in [
        0.5,
        -0.5,
        1.5,
        2.5,
        -2.5,
        largest_below_half,
        -0.0,
        0.0,
        4_503_599_627_370_495.5,
        4_503_599_627_370_497.0,
        1e300,
        f64::INFINITY,
    ] {
        assert_eq!(scalar::math::round(x).to_bits(), x.round().to_bits(), "{x}");
    }
}
