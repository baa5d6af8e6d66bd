//! The reverse of functions of rows: what they add to the gradients of what they were given.

use super::{exp, normal_cdf, sum};

/// The slopes of an activation at `x`, and its value: `(value, slope)`.
macro_rules! gates {
    ($($gate:ident, $plain:ident: $x:ident => $body:expr;)*) => {
        super::for_each_machine! {$(
            /// The reverse of `activation(gate) · up`, in place: `gate` and `up` become their gradients, and `dy` what was made of them.
            pub(crate) fn $gate(gate: &mut [f32], up: &mut [f32], dy: &mut [f32]) {
                for ((g, u), d) in gate.iter_mut().zip(up.iter_mut()).zip(dy.iter_mut()) {
                    let $x = *g;
                    let (value, slope) = $body;
                    let (up, dy) = (*u, *d);
                    *g = dy * up * slope;
                    *u = dy * value;
                    *d = value * up;
                }
            }

            /// The reverse of an activation, in place: `x` becomes its gradient, and `dy` what was made of it.
            pub(crate) fn $plain(row: &mut [f32], dy: &mut [f32]) {
                for (x, d) in row.iter_mut().zip(dy.iter_mut()) {
                    let $x = *x;
                    let (value, slope) = $body;
                    *x = *d * slope;
                    *d = value;
                }
            }
        )*}
    };
}

gates! {
    silu_gate, silu: x => {
        let s = 1.0 / (1.0 + exp(-x));
        (x * s, s * x.mul_add(1.0 - s, 1.0))
    };
    gelu_gate, gelu: x => {
        let below = normal_cdf(x);
        let density = 0.398_942_3 * exp(-0.5 * x * x);
        (x * below, x.mul_add(density, below))
    };
    gelu_tanh_gate, gelu_tanh: x => {
        let u = 1.595_769_2 * (x * x * x).mul_add(0.044_715, x);
        let s = 1.0 / (1.0 + exp(-u));
        let along = 1.595_769_2 * (x * x).mul_add(0.134_145, 1.0);
        (x * s, (x * s * (1.0 - s)).mul_add(along, s))
    };
    relu_gate, relu: x => (if x < 0.0 { 0.0 } else { x }, if x > 0.0 { 1.0 } else { 0.0 });
}

super::for_each_machine! {
    /// The mean of a row and what its distance from it is multiplied by, of a norm by mean and variance.
    pub(crate) fn layer_scale(x: &[f32], eps: f32) -> (f32, f32) {
        let count = x.len() as f32;
        let mean = sum(x, |lane, x| lane + x) / count;
        let variance = sum(x, |lane, x| (x - mean).mul_add(x - mean, lane)) / count;
        (mean, 1.0 / (variance + eps).sqrt())
    }

    /// What a row is multiplied by, of a norm by the mean of squares; the mean that is taken off is 0.
    pub(crate) fn rms_scale(x: &[f32], eps: f32) -> (f32, f32) {
        let mean = sum(x, |lane, x| x.mul_add(x, lane)) / x.len() as f32;
        (0.0, 1.0 / (mean + eps).sqrt())
    }

    /// `out = (x − mean) · scale · weight`.
    pub(crate) fn norm(x: &[f32], stats: (f32, f32), weight: &[f32], out: &mut [f32]) {
        let (mean, scale) = stats;
        for ((out, &x), &w) in out.iter_mut().zip(x).zip(weight) {
            *out = (x - mean) * scale * w;
        }
    }

    /// The reverse of [`norm`] by `x`, whose mean is part of it if `centred`: added to `dx`.
    pub(crate) fn norm_input(x: &[f32], stats: (f32, f32), weight: &[f32], dy: &[f32], centred: bool, dx: &mut [f32]) {
        let (mean, scale) = stats;
        let count = x.len() as f32;
        let mut lanes = [[0.0f32; super::LANES]; 2];
        let mut go = |x: &[f32], dy: &[f32], w: &[f32]| {
            for (i, ((&x, &dy), &w)) in x.iter().zip(dy).zip(w).enumerate() {
                let g = dy * w;
                lanes[0][i] += g;
                lanes[1][i] = g.mul_add((x - mean) * scale, lanes[1][i]);
            }
        };
        let (xs, x_rest) = x.as_chunks::<{ super::LANES }>();
        let (dys, dy_rest) = dy.as_chunks::<{ super::LANES }>();
        let (ws, w_rest) = weight.as_chunks::<{ super::LANES }>();
        for ((x, dy), w) in xs.iter().zip(dys).zip(ws) {
            go(x, dy, w);
        }
        go(x_rest, dy_rest, w_rest);
        let [plain, along] = lanes.map(|lanes| super::tree(lanes) / count);
        let plain = if centred { plain } else { 0.0 };
        for (((dx, &x), &dy), &w) in dx.iter_mut().zip(x).zip(dy).zip(weight) {
            let normed = (x - mean) * scale;
            *dx += scale * ((-normed).mul_add(along, dy * w - plain));
        }
    }

    /// The reverse of [`norm`] by its weight: added to `dw`.
    pub(crate) fn norm_weight(x: &[f32], stats: (f32, f32), dy: &[f32], dw: &mut [f32]) {
        let (mean, scale) = stats;
        for ((dw, &x), &dy) in dw.iter_mut().zip(x).zip(dy) {
            *dw = dy.mul_add((x - mean) * scale, *dw);
        }
    }

    /// The reverse of a softmax: with the probabilities `p`, gradients by them become those by what they were made of.
    pub(crate) fn softmax(p: &[f32], d: &mut [f32]) {
        let mean = super::tree(super::products(p, d));
        for (d, &p) in d.iter_mut().zip(p) {
            *d = (*d - mean) * p;
        }
    }

    /// The reverse of a soft cap whose results are `capped`: `d` times its slope.
    pub(crate) fn soft_cap(capped: &[f32], cap: f32, d: &mut [f32]) {
        for (d, &y) in d.iter_mut().zip(capped) {
            let t = y / cap;
            *d *= (-t).mul_add(t, 1.0);
        }
    }

    /// Logits become `scale · e^(x − top)`.
    pub(crate) fn probabilities(row: &mut [f32], log_sum: f32, scale: f32) {
        for x in row.iter_mut() {
            *x = scale * exp(*x - log_sum);
        }
    }

    /// The sum of products of two rows.
    pub(crate) fn dot(x: &[f32], y: &[f32]) -> f32 {
        super::tree(super::products(x, y))
    }

    /// `x *= factors`.
    pub(crate) fn scale(x: &mut [f32], factor: f32) {
        for x in x.iter_mut() {
            *x *= factor;
        }
    }
}

#[cfg(test)]
mod tests {
    //! Slopes held to differences.

    use super::*;

    #[test]
    fn activations_have_the_slopes_of_their_values() {
        type Value = fn(f64) -> f64;
        type Two = fn(&mut [f32], &mut [f32]);
        type Three = fn(&mut [f32], &mut [f32], &mut [f32]);
        let exact: [(Two, Value); 4] = [
            (silu, |x| x / (1.0 + (-x).exp())),
            (gelu, |x| 0.5 * x * libm::erfc(-x / 2f64.sqrt())),
            (gelu_tanh, |x| {
                0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh())
            }),
            (relu, |x| x.max(0.0)),
        ];
        for (reverse, value) in exact {
            for i in -600..600 {
                let x = f64::from((f64::from(i) + 0.5) as f32 / 100.0);
                let (mut row, mut dy) = ([x as f32], [2.0]);
                reverse(&mut row, &mut dy);
                let slope = (value(x + 1e-5) - value(x - 1e-5)) / 2e-5;
                assert!((f64::from(row[0]) - 2.0 * slope).abs() < 4e-6, "{x}: {} {slope}", row[0]);
                assert!((f64::from(dy[0]) - value(x)).abs() < 2e-6);
            }
            let (mut row, mut dy) = ([f32::NAN], [1.0]);
            reverse(&mut row, &mut dy);
            assert!(dy[0].is_nan());
        }
        for (gate, plain) in
            [(silu_gate as Three, silu as Two), (gelu_gate, gelu), (gelu_tanh_gate, gelu_tanh), (relu_gate, relu)]
        {
            let (mut g, mut u, mut d) = ([0.7], [-1.5], [2.0]);
            gate(&mut g, &mut u, &mut d);
            let (mut x, mut dy) = ([0.7], [2.0]);
            plain(&mut x, &mut dy);
            assert_eq!((g[0], u[0], d[0]), (2.0 * -1.5 * x[0] / 2.0, 2.0 * dy[0], -1.5 * dy[0]));
        }
    }

    #[test]
    fn norms_have_the_slopes_of_their_values() {
        let x: Vec<f32> = (0..37).map(|i| (i as f32 * 0.7).sin() + 0.3).collect();
        let weight: Vec<f32> = (0..37).map(|i| 1.0 + 0.1 * (i as f32).cos()).collect();
        let dy: Vec<f32> = (0..37).map(|i| (i as f32 * 1.3).cos()).collect();
        for centred in [false, true] {
            let value = |x: &[f32], weight: &[f32]| -> f64 {
                let mut out = vec![0.0; 37];
                let stats = if centred { layer_scale(x, 1e-3) } else { rms_scale(x, 1e-3) };
                norm(x, stats, weight, &mut out);
                out.iter().zip(&dy).map(|(y, d)| f64::from(*y) * f64::from(*d)).sum()
            };
            let stats = if centred { layer_scale(&x, 1e-3) } else { rms_scale(&x, 1e-3) };
            let (mut dx, mut dw) = (vec![0.5; 37], vec![0.5; 37]);
            norm_input(&x, stats, &weight, &dy, centred, &mut dx);
            norm_weight(&x, stats, &dy, &mut dw);
            for i in 0..37 {
                let moved = |step: f32, of_weight: bool| {
                    let (mut x, mut weight) = (x.clone(), weight.clone());
                    if of_weight {
                        weight[i] += step
                    } else {
                        x[i] += step
                    }
                    value(&x, &weight)
                };
                for (of_weight, found) in [(false, dx[i]), (true, dw[i])] {
                    let slope = (moved(1e-2, of_weight) - moved(-1e-2, of_weight)) / 2e-2;
                    assert!((slope + 0.5 - f64::from(found)).abs() < 2e-4, "{i}: {found} {slope}");
                }
            }
        }
    }
}
