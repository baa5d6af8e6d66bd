//! Functions of whole rows: exponential, softmax, norm, gate. Sums run over sixteen interleaved partial sums in a fixed
//! order, so the bits of a row depend on the row alone, on every machine.

pub(crate) mod skinny;
pub(crate) mod slopes;

/// Partial sums of a reduction.
const LANES: usize = 16;

/// `(tanh(x) / x − 1) / x²` as a polynomial in `x²`, highest power first; a Chebyshev fit for `x² < 0.4`, good to 5e-8.
const TANH: [f32; 5] = [-6.053_509e-3, 0.020_968_018, -0.053_844_94, 0.133_327_32, -0.333_333_28];

/// `log(erfc(z) / t) + z²` as a polynomial in `t = 1 / (1 + z / 2)`, highest power first; a Chebyshev fit for `z < 10`, good
/// to 5e-8.
const ERFC: [f32; 10] = [
    0.144_930_21,
    -0.680_827_2,
    1.156_733_8,
    -0.696_251_87,
    -0.080_280_44,
    1.267_588_1e-3,
    0.034_602_8,
    0.386_640_4,
    0.998_632_8,
    -1.265_448,
];

/// Compiles each function for the machine's vector instructions and picks one at run time. The code is the same for all, and
/// Rust neither reorders nor fuses floating-point operations by itself: only the speed differs.
macro_rules! for_each_machine {
    ($($(#[$doc:meta])* $vis:vis fn $name:ident($($arg:ident: $type:ty),* $(,)?) $(-> $ret:ty)? $body:block)*) => {$(
        $(#[$doc])*
        $vis fn $name($($arg: $type),*) $(-> $ret)? {
            #[inline(always)]
            fn body($($arg: $type),*) $(-> $ret)? $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx2,fma")]
                fn avx512($($arg: $type),*) $(-> $ret)? { body($($arg),*) }

                #[target_feature(enable = "avx2,fma")]
                fn avx2($($arg: $type),*) $(-> $ret)? { body($($arg),*) }

                if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                    if is_x86_feature_detected!("avx512f") {
                        // SAFETY: the features were just detected.
                        #[expect(unsafe_code, reason = "run-time choice of the instruction set")]
                        return unsafe { avx512($($arg),*) };
                    }
                    // SAFETY: the features were just detected.
                    #[expect(unsafe_code, reason = "run-time choice of the instruction set")]
                    return unsafe { avx2($($arg),*) };
                }
            }
            body($($arg),*)
        }
    )*};
}

pub(crate) use for_each_machine;

/// 1.5 · 2²³: its unit in the last place is 1.
const WHOLE: f32 = 12_582_912.0;

/// `eˣ` to 2 ulp: 0 below −87, `e⁸⁸` above 88, NaN for NaN.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    let vanishes = x < -87.0;
    let x = x.clamp(-87.0, 88.0);
    // Added to a float of this size, a number is rounded to a whole one, which the lowest bits of the sum count.
    let sum = x * std::f32::consts::LOG2_E + WHOLE;
    let n = sum - WHOLE;
    // ln 2 in two parts, the first short enough that n times it is exact.
    let r = n.mul_add(-1.428_606_8e-6, n.mul_add(-0.693_145_75, x));
    let mut p = 1.987_569_1e-4f32;
    for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = p.mul_add(r, c);
    }
    let p = (r * r).mul_add(p, r) + 1.0;
    let scale = f32::from_bits((sum.to_bits() << 23).wrapping_add(127 << 23));
    if vanishes { 0.0 } else { p * scale }
}

/// `tanh x`, to 2e-7 of its value; NaN for NaN.
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    let size = x.abs().min(10.0);
    // Far from zero by the exponential, near it by a polynomial that keeps the digits which the difference would lose.
    let far = 1.0 - 2.0 / (exp(2.0 * size) + 1.0);
    let s = size * size;
    let mut p = TANH[0];
    for &c in &TANH[1..] {
        p = p.mul_add(s, c);
    }
    let near = (s * size).mul_add(p, size);
    let value = if size < 0.625 { near } else { far };
    if x.is_nan() { x } else { value.copysign(x) }
}

/// The normal distribution `Φ(x)`, to 2e-7.
#[inline(always)]
fn normal_cdf(x: f32) -> f32 {
    // Half of erfc(z), z = |x| / √2, by a Chebyshev fit in t = 1 / (1 + z / 2).
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / z.mul_add(0.5, 1.0);
    let mut p = ERFC[0];
    for &c in &ERFC[1..] {
        p = p.mul_add(t, c);
    }
    let tail = 0.5 * t * exp((-z).mul_add(z, p));
    if x < 0.0 { tail } else { 1.0 - tail }
}

/// The `count` largest of some scores (of equals the first), with their shares of `Σ eˣ` among them; in order of index.
/// NaN is never chosen before a number.
pub(crate) fn shares(scores: &[f32], count: usize) -> Vec<(usize, f32)> {
    let key = |i: &usize| if scores[*i].is_nan() { f32::NEG_INFINITY } else { scores[*i] };
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| key(b).total_cmp(&key(a)).then(a.cmp(b)));
    order.truncate(count);
    order.sort_unstable();
    let mut values: Vec<f32> = order.iter().map(|&i| scores[i]).collect();
    softmax(&mut values);
    order.into_iter().zip(values).collect()
}

/// Sums partial sums pairwise.
#[inline(always)]
fn tree(mut lanes: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// The sum of `f` over a row.
#[inline(always)]
fn sum(row: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let chunks = row.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane = f(*lane, x);
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane = f(*lane, x);
    }
    tree(lanes)
}

/// Partial sums of the products of two rows.
#[inline(always)]
fn products(x: &[f32], y: &[f32]) -> [f32; LANES] {
    let mut lanes = [0.0; LANES];
    let ((xs, x_rest), (ys, y_rest)) = (x.as_chunks::<LANES>(), y.as_chunks::<LANES>());
    for (x, y) in xs.iter().zip(ys) {
        for i in 0..LANES {
            lanes[i] = x[i].mul_add(y[i], lanes[i]);
        }
    }
    for ((lane, &x), &y) in lanes.iter_mut().zip(x_rest).zip(y_rest) {
        *lane = x.mul_add(y, *lane);
    }
    lanes
}

#[inline(always)]
fn largest(row: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = row.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane = if x > *lane { x } else { *lane };
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane = if x > *lane { x } else { *lane };
    }
    lanes.into_iter().fold(f32::NEG_INFINITY, f32::max)
}

for_each_machine! {
    /// Turns scores into probabilities: `e^(x − max)` over their sum. A NaN makes the whole row NaN.
    pub(crate) fn softmax(row: &mut [f32]) {
        let top = largest(row);
        for x in row.iter_mut() {
            *x = exp(*x - top);
        }
        let scale = 1.0 / sum(row, |lane, x| lane + x);
        for x in row.iter_mut() {
            *x *= scale;
        }
    }

    /// `out = x / √(mean(x²) + eps) · weight` (Zhang and Sennrich, 2019).
    pub(crate) fn rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
        let mean = sum(x, |lane, x| x.mul_add(x, lane)) / x.len() as f32;
        let scale = 1.0 / (mean + eps).sqrt();
        for ((out, &x), &w) in out.iter_mut().zip(x).zip(weight) {
            *out = x * scale * w;
        }
    }

    /// `out = (x − mean) / √(variance + eps) · weight` (Ba et al., 2016).
    pub(crate) fn layer_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
        let count = x.len() as f32;
        let mean = sum(x, |lane, x| lane + x) / count;
        let variance = sum(x, |lane, x| (x - mean).mul_add(x - mean, lane)) / count;
        let scale = 1.0 / (variance + eps).sqrt();
        for ((out, &x), &w) in out.iter_mut().zip(x).zip(weight) {
            *out = (x - mean) * scale * w;
        }
    }

    /// `x = x · sigmoid(x)`.
    pub(crate) fn silu(row: &mut [f32]) {
        for x in row.iter_mut() {
            *x /= 1.0 + exp(-*x);
        }
    }

    /// `x = x · Φ(x)`, Φ being the normal distribution.
    pub(crate) fn gelu(row: &mut [f32]) {
        for x in row.iter_mut() {
            *x *= normal_cdf(*x);
        }
    }

    /// `x = x / 2 · (1 + tanh(√(2/π) · (x + 0.044715 x³)))`, GELU's usual approximation.
    pub(crate) fn gelu_tanh(row: &mut [f32]) {
        for x in row.iter_mut() {
            // (1 + tanh u) / 2 is the sigmoid of 2u; 2 · √(2/π) = 1.5957691216…
            let u = 1.595_769_2 * (*x * *x * *x).mul_add(0.044_715, *x);
            *x /= 1.0 + exp(-u);
        }
    }

    /// `x = max(x, 0)`; a NaN stays one.
    pub(crate) fn relu(row: &mut [f32]) {
        for x in row.iter_mut() {
            *x = if *x < 0.0 { 0.0 } else { *x };
        }
    }

    /// `x = cap · tanh(x / cap)`.
    pub(crate) fn soft_cap(row: &mut [f32], cap: f32) {
        for x in row.iter_mut() {
            *x = cap * tanh(*x / cap);
        }
    }

    /// `x = x · y`.
    pub(crate) fn multiply(x: &mut [f32], y: &[f32]) {
        for (x, &y) in x.iter_mut().zip(y) {
            *x *= y;
        }
    }

    /// `x += y · scale`.
    pub(crate) fn add_scaled(x: &mut [f32], y: &[f32], scale: f32) {
        for (x, &y) in x.iter_mut().zip(y) {
            *x = y.mul_add(scale, *x);
        }
    }

    /// Divides a row by its length; a row of zeros stays.
    pub(crate) fn unit(row: &mut [f32]) {
        let length = sum(row, |lane, x| x.mul_add(x, lane)).sqrt();
        if length > 0.0 {
            for x in row.iter_mut() {
                *x /= length;
            }
        }
    }

    /// Turns a row, half against half, by angles of these cosines and sines.
    pub(crate) fn rotate(row: &mut [f32], cos: &[f32], sin: &[f32]) {
        let (left, right) = row.split_at_mut(cos.len());
        for (((a, b), &cos), &sin) in left.iter_mut().zip(right).zip(cos).zip(sin) {
            (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
        }
    }

    /// The sum of a row.
    pub(crate) fn sum_of(row: &[f32]) -> f32 {
        sum(row, |lane, x| lane + x)
    }

    /// `x += y`.
    pub(crate) fn add(x: &mut [f32], y: &[f32]) {
        for (x, &y) in x.iter_mut().zip(y) {
            *x += y;
        }
    }

    /// `log Σ eˣ` of a row, the logarithm in f64. NaN if any element is.
    pub(crate) fn log_sum_exp(row: &[f32]) -> f64 {
        let top = largest(row);
        let total = sum(row, |lane, x| lane + exp(x - top));
        f64::from(top) + libm::log(f64::from(total))
    }

    /// The index of the largest element, the first of equals; 0 for an empty row. NaN is never the largest.
    pub(crate) fn argmax(row: &[f32]) -> usize {
        let top = largest(row);
        row.iter().position(|&x| x == top).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_within_two_ulp() {
        let mut worst = 0.0f64;
        for i in -86_000..88_000 {
            let x = i as f32 / 1000.0;
            let exact = f64::from(x).exp();
            let ulp = f64::from(f32::EPSILON) * exact;
            worst = worst.max((f64::from(exp(x)) - exact).abs() / ulp);
        }
        assert!(worst <= 2.0, "{worst}");
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(f32::NAN).is_nan());
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
    }

    #[test]
    fn activations_match_f64() {
        for i in -12_000i32..12_000 {
            let x = i as f32 / 1000.0;
            let wide = f64::from(x);
            let near = |name: &str, found: f32, exact: f64, tolerance: f64| {
                assert!((f64::from(found) - exact).abs() <= tolerance, "{name}({x}) = {found}, not {exact}");
            };
            let of = |f: fn(&mut [f32])| {
                let mut row = [x];
                f(&mut row);
                row[0]
            };
            let bound = 3e-7 * wide.abs().max(0.1);
            near("tanh", tanh(x), wide.tanh(), 2.5e-7 * wide.tanh().abs());
            near("silu", of(silu), wide / (1.0 + (-wide).exp()), bound);
            near("gelu", of(gelu), 0.5 * wide * libm::erfc(-wide / 2f64.sqrt()), bound);
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (wide + 0.044715 * wide.powi(3));
            near("gelu_tanh", of(gelu_tanh), 0.5 * wide * (1.0 + inner.tanh()), 2.0 * bound);
            near("relu", of(relu), wide.max(0.0), 0.0);
        }
        for f in [silu, gelu, gelu_tanh, relu] {
            let mut row = [f32::NAN, 1e30, -1e30];
            f(&mut row);
            assert!(row[0].is_nan() && row[1] == 1e30 && row[2].abs() < 1e-6, "{row:?}");
        }
        assert!(tanh(f32::NAN).is_nan());
        assert_eq!((tanh(f32::INFINITY), tanh(-1e30), tanh(0.0)), (1.0, -1.0, 0.0));
    }

    #[test]
    fn layer_norm_has_no_mean_and_unit_variance() {
        let row: Vec<f32> = (0..45).map(|i| (i as f32 * 0.7).sin() + 3.0).collect();
        let mut out = vec![0.0; 45];
        layer_norm(&row, &[2.0; 45], 0.0, &mut out);
        assert!(out.iter().sum::<f32>().abs() < 1e-4);
        assert!((out.iter().map(|x| x * x).sum::<f32>() / 45.0 - 4.0).abs() < 1e-5);
        unit(&mut out);
        assert!((out.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-6);
    }

    #[test]
    fn shares_go_to_the_largest() {
        assert_eq!(shares(&[1.0, 3.0, 3.0, 2.0], 2), [(1, 0.5), (2, 0.5)]);
        assert_eq!(shares(&[5.0, 5.0, 5.0], 1), [(0, 1.0)]);
        assert_eq!(shares(&[f32::NAN, 1.0], 1), [(1, 1.0)]);
    }

    #[test]
    fn softmax_sums_to_one_and_shows_nan() {
        let mut row: Vec<f32> = (0..37).map(|i| (i as f32 * 0.7).sin() * 20.0).collect();
        softmax(&mut row);
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        let mut bad = vec![0.0, f32::NAN, 1.0];
        softmax(&mut bad);
        assert!(bad.iter().all(|x| x.is_nan()));
    }

    #[test]
    fn log_sum_exp_matches_f64() {
        let row: Vec<f32> = (0..1001).map(|i| (i as f32 * 0.37).cos() * 12.0).collect();
        let exact = row.iter().map(|&x| f64::from(x).exp()).sum::<f64>().ln();
        assert!((log_sum_exp(&row) - exact).abs() < 1e-6);
        assert!(log_sum_exp(&[0.0, f32::NAN]).is_nan());
    }

    #[test]
    fn argmax_takes_the_first_of_equals() {
        assert_eq!(argmax(&[1.0, 3.0, 2.0, 3.0]), 1);
        assert_eq!(argmax(&[f32::NAN, 1.0]), 1);
        assert_eq!(argmax(&[f32::NAN, f32::NAN]), 0);
    }
}
