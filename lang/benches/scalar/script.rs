//! The functions as rhai scripts.

use rhai::{AST, Array, Engine, Scope};

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

/// An engine with the script compiled.
pub(crate) struct Script {
    engine: Engine,
    ast: AST,
}

impl Script {
    pub(crate) fn new() -> Script {
        let engine = Engine::new();
        let ast = engine.compile(SCRIPT).unwrap();
        Script { engine, ast }
    }

    /// How long the script takes to be parsed, in microseconds.
    pub(crate) fn compile_time(&self) -> f64 {
        let start = std::time::Instant::now();
        std::hint::black_box(self.engine.compile(SCRIPT).unwrap());
        start.elapsed().as_secs_f64() * 1e6
    }

    pub(crate) fn call(&self, case: &str, x: &Array) -> f64 {
        let name = case.trim_end_matches(|c: char| c.is_ascii_digit());
        self.engine.call_fn(&mut Scope::new(), &self.ast, name, (x.clone(),)).unwrap()
    }
}
