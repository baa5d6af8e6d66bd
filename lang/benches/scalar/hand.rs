//! The functions by hand, in Rust.

fn rastrigin<const N: usize>(x: &[f64]) -> f64 {
    let x: &[f64; N] = x.try_into().unwrap();
    let sum: f64 = x.iter().map(|v| v * v - 10.0 * (std::f64::consts::TAU * v).cos()).sum();
    10.0 * N as f64 + sum
}

fn rosenbrock<const N: usize>(x: &[f64]) -> f64 {
    let x: &[f64; N] = x.try_into().unwrap();
    let mut sum = 0.0;
    for i in 0..N - 1 {
        let (valley, slope) = (x[i + 1] - x[i] * x[i], 1.0 - x[i]);
        sum += 100.0 * (valley * valley) + slope * slope;
    }
    sum
}

fn formula(x: &[f64]) -> f64 {
    let &[a, b, c, d] = x else { unreachable!() };
    let s = a * b + c * d;
    let t = (a - c) / (1.0 + b * b);
    let u = (s * s + t * t + 0.5).sqrt();
    let v = (-(t * t)).exp() * (u - 0.25 * a);
    let w = a.max(b) - c.min(d) + (s - u).abs();
    let p = ((0.1 * u + 0.2) * u - 0.3) * u + 0.4;
    let q = (v + w) * (v - w) + p * p;
    let r = (1.0 + q * q).ln() / (2.0 + p.abs());
    let z = r.cos() * s + if q > 0.0 { t } else { u };
    z * z - 0.5 * r + w
}

/// A function of the case's name. Each call goes through its pointer, as a call of compiled code does.
pub(crate) fn function(case: &str) -> fn(&[f64]) -> f64 {
    match case {
        "rastrigin10" => rastrigin::<10>,
        "rastrigin100" => rastrigin::<100>,
        "rosenbrock10" => rosenbrock::<10>,
        "rosenbrock100" => rosenbrock::<100>,
        _ => formula,
    }
}
