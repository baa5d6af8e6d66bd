//! Functions of whole rows: exponential, softmax, norm, gate. Sums run over sixteen interleaved partial sums in a fixed
//! order, so the bits of a row depend on the row alone, on every machine.

/// Partial sums of a reduction.
const LANES: usize = 16;

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

/// `eˣ` to 2 ulp: 0 below −87, `e⁸⁸` above 88, NaN for NaN.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    let vanishes = x < -87.0;
    let x = x.clamp(-87.0, 88.0);
    let n = (x * std::f32::consts::LOG2_E).round_ties_even();
    // ln 2 in two parts, the first short enough that n times it is exact.
    let r = n.mul_add(-1.428_606_8e-6, n.mul_add(-0.693_145_75, x));
    let mut p = 1.987_569_1e-4f32;
    for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = p.mul_add(r, c);
    }
    let p = (r * r).mul_add(p, r) + 1.0;
    let scale = f32::from_bits((((n as i32) + 127) << 23) as u32);
    if vanishes { 0.0 } else { p * scale }
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
    pub fn softmax(row: &mut [f32]) {
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
    pub fn rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
        let mean = sum(x, |lane, x| x.mul_add(x, lane)) / x.len() as f32;
        let scale = 1.0 / (mean + eps).sqrt();
        for ((out, &x), &w) in out.iter_mut().zip(x).zip(weight) {
            *out = x * scale * w;
        }
    }

    /// `gate = gate · sigmoid(gate) · up`.
    pub fn silu_times(gate: &mut [f32], up: &[f32]) {
        for (g, &u) in gate.iter_mut().zip(up) {
            *g = *g / (1.0 + exp(-*g)) * u;
        }
    }

    /// The sum of a row.
    pub fn sum_of(row: &[f32]) -> f32 {
        sum(row, |lane, x| lane + x)
    }

    /// `x += y`.
    pub fn add(x: &mut [f32], y: &[f32]) {
        for (x, &y) in x.iter_mut().zip(y) {
            *x += y;
        }
    }

    /// `log Σ eˣ` of a row, the logarithm in f64. NaN if any element is.
    pub fn log_sum_exp(row: &[f32]) -> f64 {
        let top = largest(row);
        let total = sum(row, |lane, x| lane + exp(x - top));
        f64::from(top) + libm::log(f64::from(total))
    }

    /// The index of the largest element, the first of equals; 0 for an empty row. NaN is never the largest.
    pub fn argmax(row: &[f32]) -> usize {
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
