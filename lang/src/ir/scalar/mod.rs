//! The scalar functions of numeric code: one definition of each, which the interpreter calls and compiled code calls
//! or repeats instruction by instruction.
//!
//! Transcendental functions are [`math`]'s; `pow`, `erf`, and sine and cosine of large arguments, are those of the crate
//! `libm`. Both round each operation as IEEE 754 says, so that every machine computes the same bits. All are within 4 ulp.

use super::{Binary, Fault, Unary};

pub mod math;
mod tables;

/// Changes whenever some function yields other bits: results kept from before are then computed anew.
pub const VERSION: u8 = 3;

/// The lesser of two reals; NaN if either is NaN, and -0 < +0 (IEEE 754-2019 `minimum`).
pub fn minimum(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() {
        f64::NAN
    } else if a == b {
        if a.is_sign_negative() { a } else { b }
    } else if a < b {
        a
    } else {
        b
    }
}

/// The greater of two reals; NaN if either is NaN, and -0 < +0 (IEEE 754-2019 `maximum`).
pub fn maximum(a: f64, b: f64) -> f64 {
    -minimum(-a, -b)
}

/// -1, 0 or 1; NaN for NaN.
pub fn sign(x: f64) -> f64 {
    if x > 0.0 {
        1.0
    } else if x < 0.0 {
        -1.0
    } else {
        // Zero of either sign gives +0, NaN stays.
        x + 0.0
    }
}

/// log(sigmoid(x)) = -softplus(-x).
#[inline(always)]
pub fn log_sigmoid(x: f64) -> f64 {
    -math::softplus(-x)
}

/// max(x, 0); NaN for NaN.
#[inline(always)]
pub fn relu(x: f64) -> f64 {
    maximum(x, 0.0)
}

/// Neumaier's compensated sum, in order of rows.
pub fn sum(xs: &[f64]) -> f64 {
    let (mut total, mut lost) = (0.0f64, 0.0f64);
    for x in xs {
        let next = total + x;
        lost += if total.abs() >= x.abs() { (total - next) + x } else { (x - next) + total };
        total = next;
    }
    // Infinite totals have no compensation to speak of.
    if lost.is_finite() { total + lost } else { total }
}

/// A real to a whole number, towards zero.
///
/// # Errors
/// [`Fault::NotWhole`] for NaN and for what 64 bits do not hold.
pub fn to_int(x: f64) -> Result<i64, Fault> {
    // Both bounds are exact doubles; the upper one, 2^63, is itself too large.
    const BOUND: f64 = 9_223_372_036_854_775_808.0;
    if (-BOUND..BOUND).contains(&x) { Ok(x as i64) } else { Err(Fault::NotWhole) }
}

/// A function of one real that yields a real; `None` where `op` is not one.
pub fn unary_real(op: Unary, x: f64) -> Option<f64> {
    Some(match op {
        Unary::Neg => -x,
        Unary::Abs => x.abs(),
        Unary::Sign => sign(x),
        Unary::Floor => x.floor(),
        Unary::Ceil => x.ceil(),
        Unary::Round => math::round(x),
        Unary::Sqrt => x.sqrt(),
        Unary::Exp => math::exp(x),
        Unary::Log => math::log(x),
        Unary::Sin => math::sin(x),
        Unary::Cos => math::cos(x),
        Unary::Tanh => math::tanh(x),
        Unary::Sigmoid => math::sigmoid(x),
        Unary::LogSigmoid => log_sigmoid(x),
        Unary::Softplus => math::softplus(x),
        Unary::Relu => relu(x),
        Unary::Erf => libm::erf(x),
        Unary::Not | Unary::ToReal | Unary::ToInt => return None,
    })
}

/// A function of one int that yields an int; `None` where `op` is not one.
pub fn unary_int(op: Unary, x: i64) -> Option<Result<i64, Fault>> {
    Some(match op {
        Unary::Neg => x.checked_neg().ok_or(Fault::Overflow),
        Unary::Abs => x.checked_abs().ok_or(Fault::Overflow),
        Unary::Sign => Ok(x.signum()),
        _ => return None,
    })
}

/// A function of two reals that yields a real; `None` where `op` is not one.
pub fn binary_real(op: Binary, a: f64, b: f64) -> Option<f64> {
    Some(match op {
        Binary::Add => a + b,
        Binary::Sub => a - b,
        Binary::Mul => a * b,
        Binary::Div => a / b,
        Binary::Pow => libm::pow(a, b),
        Binary::Min => minimum(a, b),
        Binary::Max => maximum(a, b),
        _ => return None,
    })
}

/// A function of two ints that yields an int; `None` where `op` is not one.
pub fn binary_int(op: Binary, a: i64, b: i64) -> Option<Result<i64, Fault>> {
    Some(match op {
        Binary::Add => a.checked_add(b).ok_or(Fault::Overflow),
        Binary::Sub => a.checked_sub(b).ok_or(Fault::Overflow),
        Binary::Mul => a.checked_mul(b).ok_or(Fault::Overflow),
        Binary::IntDiv | Binary::Rem if b == 0 => Err(Fault::DivisionByZero),
        Binary::IntDiv => a.checked_div(b).ok_or(Fault::Overflow),
        Binary::Rem => a.checked_rem(b).ok_or(Fault::Overflow),
        Binary::Min => Ok(a.min(b)),
        Binary::Max => Ok(a.max(b)),
        _ => return None,
    })
}

/// A comparison; `None` where `op` is not one.
pub fn compare<T: PartialOrd>(op: Binary, a: &T, b: &T) -> Option<bool> {
    Some(match op {
        Binary::Eq => a == b,
        Binary::Ne => a != b,
        Binary::Lt => a < b,
        Binary::Le => a <= b,
        Binary::Gt => a > b,
        Binary::Ge => a >= b,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::math::{sigmoid, softplus};
    use super::*;

    #[test]
    fn nan_passes_through_min_max_relu_and_sign() {
        for f in [minimum, maximum] {
            assert!(f(f64::NAN, 1.0).is_nan() && f(1.0, f64::NAN).is_nan());
        }
        assert!(relu(f64::NAN).is_nan() && sign(f64::NAN).is_nan());
        assert_eq!(minimum(0.0, -0.0).to_bits(), (-0.0f64).to_bits());
        assert_eq!(maximum(-0.0, 0.0).to_bits(), 0.0f64.to_bits());
        assert_eq!(sign(-0.0).to_bits(), 0.0f64.to_bits());
    }

    #[test]
    fn the_logistic_family_is_stable_at_both_ends() {
        assert_eq!((sigmoid(-1000.0), sigmoid(1000.0), sigmoid(0.0)), (0.0, 1.0, 0.5));
        assert_eq!((softplus(-1000.0), softplus(1000.0)), (0.0, 1000.0));
        assert_eq!(log_sigmoid(-1000.0), -1000.0);
        assert!(sigmoid(f64::NAN).is_nan() && softplus(f64::NAN).is_nan());
        // log(1 + e^-40) = e^-40 to within its square.
        assert!((softplus(-40.0) / libm::exp(-40.0) - 1.0).abs() < 1e-15);
        // Abramowitz and Stegun, table 7.1.
        assert!((libm::erf(0.5) - 0.520_499_877_813_046_5).abs() < 2e-16);
    }

    #[test]
    fn whole_numbers_that_do_not_fit_are_faults() {
        assert_eq!(to_int(-9.3e18), Err(Fault::NotWhole));
        assert_eq!(to_int(9_223_372_036_854_775_808.0), Err(Fault::NotWhole));
        assert_eq!(to_int(-9_223_372_036_854_775_808.0), Ok(i64::MIN));
        assert_eq!(to_int(f64::NAN), Err(Fault::NotWhole));
        assert_eq!(binary_int(Binary::Rem, i64::MIN, -1), Some(Err(Fault::Overflow)));
        assert_eq!(binary_int(Binary::Rem, -7, 3), Some(Ok(-1)));
        assert_eq!(binary_int(Binary::IntDiv, -7, 3), Some(Ok(-2)));
        assert_eq!(unary_int(Unary::Abs, i64::MIN), Some(Err(Fault::Overflow)));
    }
}
