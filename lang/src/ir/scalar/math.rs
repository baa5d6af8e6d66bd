//! exp, log, sin, cos and their kin in double precision, by short tables and short polynomials (Tang, 1989 and 1990).
//!
//! Only additions, multiplications, divisions and bit operations, each rounded as IEEE 754 says: no fused
//! multiply-add, and nothing of the machine's own library, so that every machine computes the same bits. No branch
//! depends on where in its period or binade an argument lies.
//!
//! Tested against values of 400 bits (`lang/tests/accuracy`): exp, log within 0.55 ulp, sin, cos within 1 ulp, the
//! logistic family within 2 ulp, tanh within 3 ulp; denormal results of exp, which are rounded twice, within 1.

use super::tables::{
    ARC_1, ARC_2, ARC_3, ARC_STEPS, EXP, EXP_STEP_HIGH, EXP_STEP_LOW, EXP_STEPS, LN2_HIGH, LN2_LOW, LOG, SIN,
};

/// Added and subtracted again, it rounds a number below 2^51 to a whole one, which then stands in the low bits.
const ROUNDER: f64 = 6_755_399_441_055_744.0;

fn power_of_two(exponent: i64) -> f64 {
    f64::from_bits(((1023 + exponent) as u64) << 52)
}

/// The parts of e^x for |x| < 800: 2^exponent, the nearest step's power and what it leaves, and e^rest - 1.
#[inline]
fn exp_parts(x: f64) -> (i64, f64, f64, f64) {
    let shifted = x * EXP_STEPS + ROUNDER;
    let steps = (shifted.to_bits() << 13) as i64 >> 13;
    let k = shifted - ROUNDER;
    let r = (x - k * EXP_STEP_HIGH) - k * EXP_STEP_LOW;
    let r2 = r * r;
    let p = r + r2 * ((0.5 + r * (1.0 / 6.0)) + r2 * ((1.0 / 24.0) + r * (1.0 / 120.0)));
    let [high, low] = EXP[(steps & 127) as usize];
    (steps >> 7, f64::from_bits(high), f64::from_bits(low), p)
}

/// e to the x.
pub fn exp(x: f64) -> f64 {
    // False for NaN too.
    if x.abs() < 708.0 {
        let (exponent, high, low, p) = exp_parts(x);
        return (high + (low + high * p)) * power_of_two(exponent);
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
    (high + (low + high * p)) * power_of_two(half) * power_of_two(exponent - half)
}

/// e^x - 1 for 0 <= x <= 100.
fn exp_minus_one(x: f64) -> f64 {
    let (exponent, high, low, p) = exp_parts(x);
    let scale = power_of_two(exponent);
    (high * scale - 1.0) + (low * scale + high * scale * p)
}

/// Natural logarithm.
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
    // m * inverse - 1 without an error: both products and the difference are exact.
    let m_high = f64::from_bits(m & !0x7ff_ffff);
    let m_low = f64::from_bits(m) - m_high;
    let r_high = m_high * inverse - 1.0;
    let r_low = m_low * inverse;
    let r = r_high + r_low;
    let left = r_low - (r - r_high);
    let k = exponent as f64;
    let whole = k * LN2_HIGH + f64::from_bits(log_high);
    let high = whole + r;
    let from_r = high - whole;
    let low = (whole - (high - from_r)) + (r - from_r);
    let low = low + (left + (k * LN2_LOW + f64::from_bits(log_low)));
    let r2 = r * r;
    let third = (1.0 / 3.0 - r * 0.25) + r2 * ((0.2 - r * (1.0 / 6.0)) + r2 * (1.0 / 7.0 - r * 0.125));
    high + (low + (r2 * -0.5 + r * r2 * third))
}

/// log(1 + x) for 0 <= x <= 1.
fn log_one_plus(x: f64) -> f64 {
    let u = 1.0 + x;
    log(u) + (x - (u - 1.0)) / u
}

/// Beyond this the reduction below loses what it needs.
const FAR: f64 = 50_000.0;

/// The sine of x turned by `quarters` quarters of the circle; `None` where that needs more precision than is at hand.
#[inline]
fn turned_sin(x: f64, quarters: i64) -> Option<f64> {
    if x.is_nan() || x.abs() >= FAR {
        return None;
    }
    let shifted = x * ARC_STEPS + ROUNDER;
    let steps = shifted.to_bits() as i64;
    let k = shifted - ROUNDER;
    // x - k pi/64 as b + b_low: the first two products and the first difference are exact.
    let first = x - k * ARC_1;
    let second = k * ARC_2;
    let near = first - second;
    let part = near - first;
    let lost = (first - (near - part)) - (second + part);
    let third = k * ARC_3 - lost;
    let b = near - third;
    let b_low = (near - b) - third;
    let at = ((steps + 32 * quarters) & 127) as usize;
    let [sin, sin_low] = SIN[at].map(f64::from_bits);
    let cos = f64::from_bits(SIN[at + 32][0]);
    if sin == 0.0 && b.abs() < 1e-6 && k != 0.0 {
        return None;
    }
    let z = b * b;
    let sin_b = b * z * (-1.0 / 6.0 + z * (1.0 / 120.0 - z * (1.0 / 5040.0)));
    let cos_b = z * (-0.5 + z * (1.0 / 24.0 - z * (1.0 / 720.0)));
    Some(sin + (cos * b + (sin_low + (sin * cos_b + cos * (sin_b + b_low)))))
}

/// Sine of radians.
pub fn sin(x: f64) -> f64 {
    if x.abs() < 1e-9 {
        return x;
    }
    turned_sin(x, 0).unwrap_or_else(|| libm::sin(x))
}

/// Cosine of radians.
pub fn cos(x: f64) -> f64 {
    turned_sin(x, 1).unwrap_or_else(|| libm::cos(x))
}

/// Hyperbolic tangent.
pub fn tanh(x: f64) -> f64 {
    let size = x.abs();
    if size > 22.0 {
        return 1f64.copysign(x);
    }
    let t = exp_minus_one(2.0 * size);
    (t / (t + 2.0)).copysign(x)
}

/// 1 / (1 + e^-x), without overflow at either end.
pub fn sigmoid(x: f64) -> f64 {
    let e = exp(-x.abs());
    if x < 0.0 { e / (1.0 + e) } else { 1.0 / (1.0 + e) }
}

/// log(1 + e^x), without overflow and exact to rounding at both ends.
pub fn softplus(x: f64) -> f64 {
    super::relu(x) + log_one_plus(exp(-x.abs()))
}

/// To the nearest whole number, halves away from zero.
pub fn round(x: f64) -> f64 {
    // Almost a half: what is added never carries what is below a half to the next whole number.
    const HALF: f64 = 0.499_999_999_999_999_94;
    (x + HALF.copysign(x)).trunc()
}
