//! exp, log, sin, cos and their kin in double precision, by short tables and short polynomials (Tang, 1989 and 1990).
//!
//! Only additions, multiplications, divisions, fused multiply-adds and bit operations, each rounded once as IEEE 754
//! says, and nothing of the machine's own library, so that every machine computes the same bits: one without an
//! instruction for the fused multiply-add computes it in software, slowly. No branch depends on where in its period or
//! binade an argument lies. All is inlined, so that code made for a better processor holds that processor's instructions.
//!
//! Tested against values of 400 bits (`lang/tests/accuracy`): exp, log within 0.55 ulp, sin, cos within 1 ulp, the
//! logistic family within 2 ulp, tanh within 3 ulp; denormal results of exp, which are rounded twice, within 1.

use super::tables::{
    ARC_1, ARC_2, ARC_3, ARC_STEPS, EXP, EXP_STEP_HIGH, EXP_STEP_LOW, EXP_STEPS, LN2_HIGH, LN2_LOW, LOG, SIN,
};

/// Added and subtracted again, it rounds a number below 2^51 to a whole one, which then stands in the low bits.
const ROUNDER: f64 = 6_755_399_441_055_744.0;

#[inline(always)]
fn power_of_two(exponent: i64) -> f64 {
    f64::from_bits(((1023 + exponent) as u64) << 52)
}

/// The parts of e^x for |x| < 800: 2^exponent, the nearest step's power and what it leaves, and e^rest - 1.
#[inline(always)]
fn exp_parts(x: f64) -> (i64, f64, f64, f64) {
    let shifted = x.mul_add(EXP_STEPS, ROUNDER);
    let steps = (shifted.to_bits() << 13) as i64 >> 13;
    let k = shifted - ROUNDER;
    let r = k.mul_add(-EXP_STEP_LOW, k.mul_add(-EXP_STEP_HIGH, x));
    let r2 = r * r;
    let (second, fourth) = (r.mul_add(1.0 / 6.0, 0.5), r.mul_add(1.0 / 120.0, 1.0 / 24.0));
    let p = r2.mul_add(r2.mul_add(fourth, second), r);
    let [high, low] = EXP[(steps & 127) as usize];
    (steps >> 7, f64::from_bits(high), f64::from_bits(low), p)
}

/// e to the x.
#[inline(always)]
pub fn exp(x: f64) -> f64 {
    // False for NaN too.
    if x.abs() < 708.0 {
        let (exponent, high, low, p) = exp_parts(x);
        let scale = power_of_two(exponent);
        return (high * scale) + (high * scale).mul_add(p, low * scale);
    }
    if x.is_nan() {
        return x;
    }
    if x > 709.8 {
        return f64::INFINITY;
    }
    if x < -745.2 {
        return 0.0;
    }
    // Two factors, so that neither overflows and a denormal result is rounded once.
    let (exponent, high, low, p) = exp_parts(x);
    let half = exponent / 2;
    (high + high.mul_add(p, low)) * power_of_two(half) * power_of_two(exponent - half)
}

/// e^x - 1 for 0 <= x <= 100.
#[inline(always)]
fn exp_minus_one(x: f64) -> f64 {
    let (exponent, high, low, p) = exp_parts(x);
    let scale = power_of_two(exponent);
    (high * scale - 1.0) + (high * scale).mul_add(p, low * scale)
}

/// Natural logarithm.
#[inline(always)]
pub fn log(x: f64) -> f64 {
    let mut bits = x.to_bits();
    let mut shift = 0;
    // Zero, denormal, negative, infinite or NaN.
    if bits.wrapping_sub(0x0010_0000_0000_0000) >= 0x7fe0_0000_0000_0000 {
        if x == 0.0 {
            return f64::NEG_INFINITY;
        }
        if x.is_nan() || x < 0.0 {
            return f64::NAN;
        }
        if x == f64::INFINITY {
            return x;
        }
        bits = (x * 4_503_599_627_370_496.0).to_bits();
        shift = 52;
    }
    let from = bits.wrapping_sub(0x3fe6_0000_0000_0000);
    let exponent = (from as i64 >> 52) - shift;
    let m = bits.wrapping_sub(from & (0xfff << 52));
    let [inverse, log_high, log_low] = LOG[(from >> 45 & 127) as usize];
    let inverse = f64::from_bits(inverse);
    let m = f64::from_bits(m);
    let r = m.mul_add(inverse, -1.0);
    // What rounding it left: nothing next to one, where `inverse` is one.
    let product = m * inverse;
    let left = ((product - 1.0) - r) + m.mul_add(inverse, -product);
    let k = exponent as f64;
    // A multiple of 2^-42, exact. It is zero, or larger than r.
    let whole = k.mul_add(LN2_HIGH, f64::from_bits(log_high));
    let high = whole + r;
    let low = (whole - high) + r;
    let low = low + (left + k.mul_add(LN2_LOW, f64::from_bits(log_low)));
    let r2 = r * r;
    let (third, fifth) = (r.mul_add(-0.25, 1.0 / 3.0), r.mul_add(-1.0 / 6.0, 0.2));
    let seventh = r.mul_add(-0.125, 1.0 / 7.0);
    let from_third = r2.mul_add(r2.mul_add(seventh, fifth), third);
    high + r2.mul_add(r.mul_add(from_third, -0.5), low)
}

/// log(1 + x) for 0 <= x <= 1.
#[inline(always)]
fn log_one_plus(x: f64) -> f64 {
    let u = 1.0 + x;
    log(u) + (x - (u - 1.0)) / u
}

/// Beyond this the reduction below loses what it needs.
const FAR: f64 = 50_000.0;

/// The sine of x turned by `quarters` quarters of the circle; `None` where that needs more precision than is at hand.
#[inline(always)]
fn turned_sin(x: f64, quarters: i64) -> Option<f64> {
    if x.is_nan() || x.abs() >= FAR {
        return None;
    }
    let shifted = x.mul_add(ARC_STEPS, ROUNDER);
    let steps = shifted.to_bits() as i64;
    let k = shifted - ROUNDER;
    // x - k pi/64 as b + b_low: the first difference and the second product are exact.
    let first = k.mul_add(-ARC_1, x);
    let second = k * ARC_2;
    let b = first - second;
    let part = b - first;
    let lost = (first - (b - part)) - (second + part);
    let b_low = k.mul_add(-ARC_3, lost);
    let at = ((steps + 32 * quarters) & 127) as usize;
    let [sin, sin_low] = SIN[at].map(f64::from_bits);
    let cos = f64::from_bits(SIN[at + 32][0]);
    if sin == 0.0 && b.abs() < 1e-6 && k != 0.0 {
        return None;
    }
    let z = b * b;
    let sin_b = b * z * z.mul_add(z.mul_add(-1.0 / 5040.0, 1.0 / 120.0), -1.0 / 6.0);
    let cos_b = z * z.mul_add(z.mul_add(-1.0 / 720.0, 1.0 / 24.0), -0.5);
    Some(sin + cos.mul_add(b, sin.mul_add(cos_b, cos.mul_add(sin_b + b_low, sin_low))))
}

/// Sine of radians.
#[inline(always)]
pub fn sin(x: f64) -> f64 {
    if x.abs() < 1e-9 {
        return x;
    }
    turned_sin(x, 0).unwrap_or_else(|| libm::sin(x))
}

/// Cosine of radians.
#[inline(always)]
pub fn cos(x: f64) -> f64 {
    turned_sin(x, 1).unwrap_or_else(|| libm::cos(x))
}

/// Hyperbolic tangent.
#[inline(always)]
pub fn tanh(x: f64) -> f64 {
    let size = x.abs();
    if size > 22.0 {
        return 1f64.copysign(x);
    }
    let t = exp_minus_one(2.0 * size);
    (t / (t + 2.0)).copysign(x)
}

/// 1 / (1 + e^-x), without overflow at either end.
#[inline(always)]
pub fn sigmoid(x: f64) -> f64 {
    let e = exp(-x.abs());
    if x < 0.0 { e / (1.0 + e) } else { 1.0 / (1.0 + e) }
}

/// log(1 + e^x), without overflow and exact to rounding at both ends.
#[inline(always)]
pub fn softplus(x: f64) -> f64 {
    super::relu(x) + log_one_plus(exp(-x.abs()))
}

/// To the nearest whole number, halves away from zero.
pub fn round(x: f64) -> f64 {
    // Almost a half: what is added never carries what is below a half to the next whole number.
    const HALF: f64 = 0.499_999_999_999_999_94;
    (x + HALF.copysign(x)).trunc()
}
