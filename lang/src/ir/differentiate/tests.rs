//! Slopes against closed forms and finite differences, at kinks and on sides not taken.

use super::super::builder::Builder;
use super::super::interp::{run, run_rows};
use super::super::rows::{self, deviation};
use super::super::verify::{IrError, verify};
use super::*;
use proptest::prelude::*;

type Step<'a> = &'a dyn Fn(&mut Builder, Value) -> Result<Value, IrError>;

/// The slope at a point of a function of one real.
fn slope(body: Step<'_>, at: f64) -> f64 {
    let mut b = Builder::new("f", &[Type::Real]);
    let x = b.params()[0];
    let y = body(&mut b, x).unwrap();
    let module = Module { functions: vec![b.finish(y).unwrap()] };
    let both = gradient(&module, &[0]).unwrap();
    verify(&both).unwrap();
    f64::from_bits(run(&both, both.entry().unwrap(), &[at.to_bits()]).unwrap()[1])
}

#[test]
fn slopes_at_kinks_are_the_stated_ones() {
    let unary = |op: Unary, at: f64| slope(&|b, x| b.unary(op, x), at);
    assert_eq!(unary(Unary::Relu, 0.0), 0.0);
    assert_eq!(unary(Unary::Abs, 0.0), 0.0);
    assert_eq!((unary(Unary::Abs, -2.0), unary(Unary::Sign, 0.0), unary(Unary::Round, 0.4)), (-1.0, 0.0, 0.0));
    let with = |op: Binary, other: f64, at: f64| {
        slope(
            &|b, x| {
                let other = b.real(other)?;
                b.binary(op, x, other)
            },
            at,
        )
    };
    assert_eq!((with(Binary::Max, 1.0, 1.0), with(Binary::Min, 1.0, 1.0)), (0.5, 0.5));
    assert_eq!((with(Binary::Max, 1.0, 2.0), with(Binary::Min, 1.0, 2.0)), (1.0, 0.0));
    // Both sides of the tie are x: the halves make a whole.
    assert_eq!(slope(&|b, x| b.binary(Binary::Max, x, x), 3.0), 1.0);
    assert_eq!(
        (with(Binary::Pow, 0.0, 0.0), with(Binary::Pow, 1.0, 0.0), with(Binary::Pow, 3.0, -2.0)),
        (0.0, 1.0, 12.0)
    );
}

#[test]
fn a_side_not_taken_leaves_no_trace() {
    // where(x > 0, f(x), 0) with slopes that are infinite or undefined at 0 and below.
    let safe = |inner: Unary, at: f64| {
        slope(
            &|b, x| {
                let zero = b.real(0.0)?;
                let above = b.binary(Binary::Gt, x, zero)?;
                let y = b.unary(inner, x)?;
                let square = b.binary(Binary::Mul, y, y)?;
                b.push(Op::Select { condition: above, then: square, otherwise: zero })
            },
            at,
        )
    };
    for inner in [Unary::Sqrt, Unary::Log] {
        assert_eq!((safe(inner, 0.0), safe(inner, -1.0)), (0.0, 0.0), "{inner:?}");
    }
    // The side not taken overflows: exp(1000).
    let overflow = slope(
        &|b, x| {
            let zero = b.real(0.0)?;
            let below = b.binary(Binary::Lt, x, zero)?;
            let (e, inverse) = (b.unary(Unary::Exp, x)?, b.binary(Binary::Div, x, zero)?);
            let both = b.binary(Binary::Mul, e, inverse)?;
            b.push(Op::Select { condition: below, then: both, otherwise: x })
        },
        1000.0,
    );
    assert_eq!(overflow, 1.0);
}

#[test]
fn saturated_slopes_keep_their_digits() {
    let near = |a: f64, b: f64| assert!((a / b - 1.0).abs() < 1e-14, "{a} {b}");
    let unary = |op: Unary, at: f64| slope(&|b, x| b.unary(op, x), at);
    near(unary(Unary::LogSigmoid, 200.0), (-200.0f64).exp());
    near(unary(Unary::Softplus, -200.0), (-200.0f64).exp());
    near(unary(Unary::Sigmoid, 200.0), (-200.0f64).exp());
    near(unary(Unary::Tanh, 200.0), 4.0 * (-400.0f64).exp());
    near(unary(Unary::Tanh, -0.5), 1.0 - 0.5f64.tanh().powi(2));
    near(unary(Unary::Erf, 0.5), 2.0 / std::f64::consts::PI.sqrt() * (-0.25f64).exp());
}

/// Rosenbrock's function with loops, a call, and a branch on each element.
fn rosenbrock(n: u64) -> Module {
    let mut term = Builder::new("term", &[Type::Real, Type::Real]);
    let (x, next) = (term.params()[0], term.params()[1]);
    let (one, hundred) = (term.real(1.0).unwrap(), term.real(100.0).unwrap());
    let square = term.binary(Binary::Mul, x, x).unwrap();
    let off = term.binary(Binary::Sub, next, square).unwrap();
    let off = term.binary(Binary::Mul, off, off).unwrap();
    let off = term.binary(Binary::Mul, hundred, off).unwrap();
    let rest = term.binary(Binary::Sub, one, x).unwrap();
    let rest = term.binary(Binary::Mul, rest, rest).unwrap();
    let sum = term.binary(Binary::Add, off, rest).unwrap();
    let mut module = Module { functions: vec![term.finish(sum).unwrap()] };
    let mut b = Builder::new("rosenbrock", &[Type::array(Type::Real, n)]);
    let (xs, zero) = (b.params()[0], b.real(0.0).unwrap());
    let sum = b.fold(n - 1, zero, |b, i, sum| {
        let one = b.int(1)?;
        let after = b.binary(Binary::Add, i, one)?;
        let (x, next) = (b.push(Op::Index(xs, i))?, b.push(Op::Index(xs, after))?);
        let term = b.call(&module, super::super::FuncId(0), vec![x, next])?;
        let above = b.binary(Binary::Gt, x, zero)?;
        let term = b.branch(above, |_| Ok::<_, IrError>(term), |b| b.binary(Binary::Add, term, term))?;
        b.binary(Binary::Add, sum, term)
    });
    let main = b.finish(sum.unwrap()).unwrap();
    module.functions.push(main);
    module
}

#[test]
fn loops_calls_and_branches_have_slopes_at_linear_cost() {
    let cost = |n: u64| super::super::cost::cost(&gradient(&rosenbrock(n), &[0]).unwrap());
    let (small, large) = (cost(50), cost(500));
    assert!(large < 11 * small, "{small} {large}");
    let both = gradient(&rosenbrock(3), &[0]).unwrap();
    let xs = [0.5, -1.5, 2.0];
    let slots = run(&both, both.entry().unwrap(), &xs.map(f64::to_bits)).unwrap();
    let got: Vec<f64> = slots[1..].iter().map(|s| f64::from_bits(*s)).collect();
    let [x, y, z] = xs;
    let first = -400.0 * x * (y - x * x) - 2.0 * (1.0 - x);
    let second = 200.0 * (y - x * x) + 2.0 * (-400.0 * y * (z - y * y) - 2.0 * (1.0 - y));
    let third = 2.0 * 200.0 * (z - y * y);
    for (got, want) in got.iter().zip([first, second, third]) {
        assert!((got - want).abs() < 1e-9, "{got} {want}");
    }
    assert!(matches!(gradient(&rosenbrock(40_000), &[0]), Err(NotStraight::TooLong)));
}

#[test]
fn an_element_chosen_at_run_time_takes_the_slope() {
    let mut b = Builder::new("pick", &[Type::array(Type::Real, 3), Type::Int]);
    let (xs, k) = (b.params()[0], b.params()[1]);
    let x = b.push(Op::Index(xs, k)).unwrap();
    let y = b.binary(Binary::Mul, x, x).unwrap();
    let both = gradient(&Module { functions: vec![b.finish(y).unwrap()] }, &[0]).unwrap();
    let bits = |x: f64| x.to_bits();
    let slots = |k: u64| run(&both, both.entry().unwrap(), &[bits(2.0), bits(3.0), bits(5.0), k]);
    assert_eq!(slots(1).unwrap(), [9.0, 0.0, 6.0, 0.0].map(bits));
    assert!(slots(3).is_err());
}

/// The gradient of a batch's sum by central differences, of the least-squares quality that f64 allows.
fn against_differences(row: &RowFunction, rows: usize, inputs: &[Vec<f64>]) {
    let wrt: Vec<usize> = (0..inputs.len()).collect();
    let both = row_gradient(row, &wrt).unwrap();
    let borrowed = |inputs: &[Vec<f64>]| inputs.to_vec();
    let total = |inputs: &[Vec<f64>]| -> f64 {
        let inputs: Vec<&[f64]> = inputs.iter().map(Vec::as_slice).collect();
        let columns = run_rows(row, rows, &inputs).unwrap();
        columns.iter().map(|c| if c.len() == 1 { c[0] * rows as f64 } else { c.iter().sum() }).sum()
    };
    let slices: Vec<&[f64]> = inputs.iter().map(Vec::as_slice).collect();
    let columns = run_rows(&both, rows, &slices).unwrap();
    for (p, gradient) in wrt.iter().zip(&columns[row.outputs()..]) {
        for i in 0..inputs[*p].len() {
            let moved = |by: f64| {
                let mut inputs = borrowed(inputs);
                inputs[*p][i] += by;
                total(&inputs)
            };
            let h = 1e-5;
            let numeric = (moved(h) - moved(-h)) / (2.0 * h);
            let exact = if gradient.len() == 1 && inputs[*p].len() > 1 { gradient[0] } else { gradient[i] };
            assert!((numeric - exact).abs() < 1e-6 * (1.0 + exact.abs()), "param {p} row {i}: {numeric} {exact}");
        }
    }
}

#[test]
fn batch_operations_hand_slopes_across_rows() {
    let mut b = Builder::new("coupled", &[Type::Real, Type::Real, Type::Real]);
    let (x, y, tau) = (b.params()[0], b.params()[1], b.params()[2]);
    let one = b.real(1.0).unwrap();
    let u = b.binary(Binary::Div, x, tau).unwrap();
    let spread = deviation(&mut b, u, one).unwrap();
    let sorted = b.push(Op::Batch(Batch::Sort { key: u, value: u })).unwrap();
    let held = b.push(Op::Batch(Batch::Detach(sorted))).unwrap();
    let gate = b.unary(Unary::Tanh, y).unwrap();
    let product = b.binary(Binary::Mul, sorted, gate).unwrap();
    let shifted = b.binary(Binary::Add, product, spread).unwrap();
    let squared = b.binary(Binary::Mul, shifted, shifted).unwrap();
    // What is detached moves the value, never the slope; here it cancels.
    let zero = b.binary(Binary::Sub, held, held).unwrap();
    let result = b.binary(Binary::Add, squared, zero).unwrap();
    let row = RowFunction { function: b.finish(result).unwrap(), uniform: vec![false, false, true] };
    rows::verify(&row).unwrap();
    let x = vec![0.3, -1.2, 2.5, 0.9, -0.4];
    let y = vec![1.0, 0.5, -0.7, 0.2, 0.1];
    against_differences(&row, 5, &[x, y, vec![0.8]]);
}

#[test]
fn the_spread_of_equal_rows_has_slope_zero() {
    let mut b = Builder::new("spread", &[Type::Real]);
    let (x, zero) = (b.params()[0], b.real(0.0).unwrap());
    let spread = deviation(&mut b, x, zero).unwrap();
    let row = RowFunction { function: b.finish(spread).unwrap(), uniform: vec![false] };
    let both = row_gradient(&row, &[0]).unwrap();
    assert_eq!(run_rows(&both, 3, &[&[2.0, 2.0, 2.0]]).unwrap(), [vec![0.0], vec![0.0, 0.0, 0.0]]);
}

/// A smooth row function read off a tape: every result is bounded, so that differences are trustworthy.
fn smooth(tape: &[u32]) -> RowFunction {
    let mut b = Builder::new("smooth", &[Type::Real, Type::Real, Type::Real]);
    let mut pool = b.params().to_vec();
    let one = b.real(1.0).unwrap();
    for entry in tape {
        let pick = |n: u32| pool[(entry / n) as usize % pool.len()];
        let (x, y) = (pick(16), pick(1024));
        let bounded = |b: &mut Builder, x| b.unary(Unary::Tanh, x);
        let made = match entry % 12 {
            0 => b.unary(Unary::Sin, x),
            1 => bounded(&mut b, x).and_then(|t| b.unary(Unary::Exp, t)),
            2 => b
                .unary(Unary::Softplus, x)
                .and_then(|s| b.binary(Binary::Add, s, one))
                .and_then(|s| b.unary(Unary::Log, s)),
            3 => b.unary(Unary::Sigmoid, x),
            4 => b.unary(Unary::LogSigmoid, x).and_then(|t| b.unary(Unary::Tanh, t)),
            5 => b.unary(Unary::Erf, x),
            6 => bounded(&mut b, x).and_then(|t| b.binary(Binary::Mul, t, y)).and_then(|m| b.unary(Unary::Cos, m)),
            7 => b.binary(Binary::Sub, x, y).and_then(|d| bounded(&mut b, d)),
            8 => b.unary(Unary::Exp, one).and_then(|e| {
                let s = b.unary(Unary::Sigmoid, y)?;
                let base = b.binary(Binary::Add, s, e)?;
                let t = b.unary(Unary::Tanh, x)?;
                b.binary(Binary::Pow, base, t)
            }),
            9 => b.unary(Unary::Sigmoid, y).and_then(|s| b.binary(Binary::Add, s, one)).and_then(|s| {
                let t = b.unary(Unary::Tanh, x)?;
                let q = b.binary(Binary::Div, t, s)?;
                let root = b.unary(Unary::Sqrt, s)?;
                b.binary(Binary::Mul, q, root)
            }),
            10 => rows::mean(&mut b, x).and_then(|m| bounded(&mut b, m)),
            _ => rows::variance(&mut b, x, one).and_then(|v| bounded(&mut b, v)),
        };
        pool.push(made.unwrap());
    }
    let last = *pool.last().unwrap();
    let module = Module { functions: vec![b.finish(last).unwrap()] };
    RowFunction::new(&module, vec![false, false, true]).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_row_code_agrees_with_differences(
        tape in prop::collection::vec(any::<u32>(), 1..14),
        x in prop::collection::vec(-2.0..2.0f64, 4),
        y in prop::collection::vec(-2.0..2.0f64, 4),
        k in -2.0..2.0f64,
    ) {
        against_differences(&smooth(&tape), 4, &[x, y, vec![k]]);
    }
}
