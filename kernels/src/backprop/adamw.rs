//! AdamW (Loshchilov and Hutter, "Decoupled weight decay regularization", 2019) and clipping by the global norm.

use super::{Gradients, Parameter};

/// The constants of [`AdamW`]; the defaults are PyTorch's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWSettings {
    /// The decay of the mean of gradients.
    pub beta1: f64,
    /// The decay of the mean of squared gradients.
    pub beta2: f64,
    /// Added to the root of the mean of squares.
    pub eps: f64,
    /// The share of each weight that a step at rate 1 removes.
    pub weight_decay: f64,
}

impl Default for AdamWSettings {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01 }
    }
}

/// The moments of every weight. One pass over memory a step, without temporaries: candle's makes about ten.
#[derive(Clone, Debug)]
pub struct AdamW {
    settings: AdamWSettings,
    first: Gradients,
    second: Gradients,
    steps: i32,
}

impl AdamW {
    /// No step taken, all moments zero.
    pub fn new(settings: AdamWSettings, parameters: &[Parameter]) -> Self {
        let zeros = || parameters.iter().map(|p| vec![0.0; p.values.len()]).collect();
        Self { settings, first: zeros(), second: zeros(), steps: 0 }
    }

    /// One step at `rate` along `gradients`, each multiplied by `scale` (from [`clip_norm`]).
    pub fn step(&mut self, parameters: &mut [Parameter], gradients: &Gradients, scale: f32, rate: f64) {
        self.steps += 1;
        let AdamWSettings { beta1, beta2, eps, weight_decay } = self.settings;
        let correction = (1.0 - beta2.powi(self.steps)).sqrt();
        let rate_hat = (rate / (1.0 - beta1.powi(self.steps))) as f32;
        let (keep, correction, eps) = ((1.0 - rate * weight_decay) as f32, correction as f32, eps as f32);
        let (b1, b2) = (beta1 as f32, beta2 as f32);
        let (c1, c2) = ((1.0 - beta1) as f32, (1.0 - beta2) as f32);
        let moments = self.first.iter_mut().zip(self.second.iter_mut());
        for ((weight, gradient), (first, second)) in parameters.iter_mut().zip(gradients).zip(moments) {
            let values = weight.values.iter_mut().zip(gradient);
            for ((w, g), (m, v)) in values.zip(first.iter_mut().zip(second.iter_mut())) {
                let g = g * scale;
                *m = b1 * *m + c1 * g;
                *v = b2 * *v + c2 * g * g;
                *w = keep * *w - rate_hat * *m / (v.sqrt() / correction + eps);
            }
        }
    }
}

/// The norm of all gradients together, and the factor (at most 1) that brings it to `limit`.
///
/// Summed in double precision, in the order of the weights.
pub fn clip_norm(gradients: &Gradients, limit: Option<f64>) -> (f64, f32) {
    let norm = gradients.iter().map(|g| squares(g)).sum::<f64>().sqrt();
    match limit {
        Some(limit) if norm > limit => (norm, (limit / (norm + 1e-6)) as f32),
        _ => (norm, 1.0),
    }
}

fn squares(values: &[f32]) -> f64 {
    let mut sums = [0.0f64; 8];
    for chunk in values.chunks(8) {
        sums.iter_mut().zip(chunk).for_each(|(s, v)| *s += f64::from(*v) * f64::from(*v));
    }
    sums.iter().sum()
}
