//! The functions of `lang/benches/scalar/functions.evo` as rhai scripts. Answers as peer.c does, and `compile CASE` with
//! microseconds. A package of its own, so that the language needs no other language to be built; built by run.py.

use std::io::BufRead;
use std::time::Instant;

use rhai::{Array, Engine, Scope};

const SCRIPT: &str = r#"
fn rastrigin(x) { let sum = 0.0; for v in x { sum += v * v - 10.0 * cos(6.283185307179586 * v); } 10.0 * x.len().to_float() + sum }
fn rosenbrock(x) {
    let sum = 0.0;
    for i in 0..x.len() - 1 {
        let valley = x[i + 1] - x[i] * x[i];
        let slope = 1.0 - x[i];
        sum += 100.0 * (valley * valley) + slope * slope;
    }
    sum
}
fn formula(x) {
    let a = x[0]; let b = x[1]; let c = x[2]; let d = x[3];
    let s = a * b + c * d;
    let t = (a - c) / (1.0 + b * b);
    let u = sqrt(s * s + t * t + 0.5);
    let v = exp(-(t * t)) * (u - 0.25 * a);
    let w = max(a, b) - min(c, d) + abs(s - u);
    let p = ((0.1 * u + 0.2) * u - 0.3) * u + 0.4;
    let q = (v + w) * (v - w) + p * p;
    let r = ln(1.0 + q * q) / (2.0 + abs(p));
    let z = cos(r) * s + if q > 0.0 { t } else { u };
    z * z - 0.5 * r + w
}
"#;


const SETS: usize = 256;

fn main() {
    let engine = Engine::new();
    let ast = engine.compile(SCRIPT).unwrap();
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let start = Instant::now();
        if line.starts_with("compile") {
            std::hint::black_box(engine.compile(SCRIPT).unwrap());
            println!("{}", start.elapsed().as_secs_f64() * 1e6);
            continue;
        }
        let name = line.trim_end_matches(|c: char| c.is_ascii_digit());
        let n = line[name.len()..].parse().unwrap_or(4);
        let value = |s: usize, i: usize| ((i * 7919 + s * 104_729) % 10_007) as f64 / 10_007.0 * 4.0 - 2.0;
        let sets: Vec<Array> = (0..SETS).map(|s| (0..n).map(|i| value(s, i).into()).collect()).collect();
        let all = || -> f64 {
            let call = |x: &Array| -> f64 { engine.call_fn(&mut Scope::new(), &ast, name, (x.clone(),)).unwrap() };
            sets.iter().map(call).sum()
        };
        let sum = all();
        let start = Instant::now();
        let mut rounds = 0;
        while start.elapsed().as_secs_f64() < 0.02 {
            all();
            rounds += 1;
        }
        println!("{} {sum}", start.elapsed().as_secs_f64() * 1e9 / (rounds * SETS) as f64);
    }
}
