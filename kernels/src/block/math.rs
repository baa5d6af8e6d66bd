//! Functions of one `f32`, written without branches so that loops over them become vector code.
//!
//! Every step is an IEEE operation or a fused multiply-add, in a fixed order, so that each machine gives the same
//! bits. Polynomials are weighted minimax fits; arguments are reduced as in Cody and Waite (1980). Accuracies are in
//! units in the last place of the true value, over all floats; the tests hold each function to its figure.

/// 1.5 · 2²³: adding it to a number below 2²² in magnitude leaves that number, rounded, in the low bits.
const SHIFTER: f32 = 12_582_912.0;
/// ln 2 as the sum of two floats.
const LN2: (f32, f32) = (std::f32::consts::LN_2, -1.904_654_3e-9);

/// 2ᵏ for k in -126 ..= 127.
#[inline(always)]
fn power_of_two(k: i32) -> f32 {
    f32::from_bits((k.wrapping_add(127) << 23) as u32)
}

/// The whole number k nearest to x / ln 2, and x − k · ln 2; |x| at most 105.
#[inline(always)]
fn reduce(x: f32) -> (i32, f32) {
    let shifted = x.mul_add(std::f32::consts::LOG2_E, SHIFTER);
    let k = (shifted.to_bits() as i32).wrapping_sub(SHIFTER.to_bits() as i32);
    let n = shifted - SHIFTER;
    (k, n.mul_add(-LN2.1, n.mul_add(-LN2.0, x)))
}

#[inline(always)]
fn polynomial<const N: usize>(x: f32, coefficients: [f32; N]) -> f32 {
    let mut sum = coefficients[0];
    for c in &coefficients[1..] {
        sum = sum.mul_add(x, *c);
    }
    sum
}

/// eˣ for x that is not above 89 (or NaN), with gradual underflow.
///
/// Subnormal floats in an operation cost a hundred cycles, so a subnormal result is made as the whole number that its
/// bits are.
#[inline(always)]
fn exp_below_89(x: f32) -> f32 {
    // Below -104 the result rounds to 0; a comparison that is false for NaN lets NaN through.
    let x = if x < -104.0 { -104.0 } else { x };
    let (k, r) = reduce(x);
    let p = polynomial(r, [1.395_171_7e-3, 8.369_599e-3, 4.166_619e-2, 1.666_651_2e-1, 0.5]);
    let y = (r * r).mul_add(p, r) + 1.0;
    // False for NaN, whose k means nothing.
    let subnormal = x < -87.0 && k < -126;
    // In two factors, as 2ᵏ may itself be too large.
    let scale = if subnormal { 0 } else { k };
    let half = scale >> 1;
    let normal = y * power_of_two(half) * power_of_two(scale.wrapping_sub(half));
    let steps = y.mul_add(power_of_two(k.wrapping_add(149)), 8_388_608.0);
    let tiny = f32::from_bits(steps.to_bits().wrapping_sub(0x4B00_0000));
    if subnormal { tiny } else { normal }
}

/// eˣ, to 1.1 ulp.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    exp_below_89(if x > 89.0 { 89.0 } else { x })
}

/// log(1 + f) for f in √½ − 1 ..= √2 − 1, less f.
#[inline(always)]
fn log_tail(f: f32) -> f32 {
    let p = polynomial(
        f,
        [
            -7.633_924e-2,
            1.278_086_3e-1,
            -1.316_933_6e-1,
            1.419_980_1e-1,
            -1.662_228_4e-1,
            2.000_127_3e-1,
            -2.500_085e-1,
            3.333_333e-1,
        ],
    );
    let square = f * f;
    (square * f).mul_add(p, -0.5 * square)
}

/// The natural logarithm, to 1 ulp: -∞ for 0, NaN below.
#[inline(always)]
pub(super) fn log(x: f32) -> f32 {
    let subnormal = x < f32::MIN_POSITIVE;
    let scaled = if subnormal { x * 33_554_432.0 } else { x };
    let bits = scaled.to_bits() as i32;
    // The exponent that leaves a mantissa in √½ .. √2.
    let e = bits.wrapping_sub(0x3F35_04F3) >> 23;
    let m = f32::from_bits(bits.wrapping_sub(e << 23) as u32);
    let n = e as f32 - if subnormal { 25.0 } else { 0.0 };
    let f = m - 1.0;
    let y = n.mul_add(LN2.0, f + n.mul_add(LN2.1, log_tail(f)));
    let y = if x == f32::INFINITY { x } else { y };
    let y = if x == 0.0 { f32::NEG_INFINITY } else { y };
    if x < 0.0 || x.is_nan() { f32::NAN } else { y }
}

/// log(1 + e) for e in 0 ..= 1.
#[inline(always)]
fn log1p_unit(e: f32) -> f32 {
    let upper = e > std::f32::consts::SQRT_2 - 1.0;
    let f = if upper { (e - 1.0) * 0.5 } else { e };
    let n = if upper { 1.0 } else { 0.0 };
    f32::mul_add(n, LN2.0, f + n.mul_add(LN2.1, log_tail(f)))
}

/// log(1 + eˣ), to 2 ulp, and 1 / (1 + e⁻ˣ), to 2.8 ulp, from one exponential.
#[inline(always)]
pub(super) fn softplus_and_sigmoid(x: f32) -> (f32, f32) {
    let e = exp_below_89(-x.abs());
    // Where e is so small that both results are e or 1 less nothing, it is kept out of the arithmetic.
    let vanishes = e < 1e-12;
    let seen = if vanishes { 0.0 } else { e };
    let upper = 1.0 / (1.0 + seen);
    let lower = if vanishes { e } else { seen * upper };
    let (tail, positive) = (log1p_unit(seen), if x > 0.0 { x } else { 0.0 });
    let softplus = positive + tail;
    let softplus = if vanishes && x < 0.0 { e } else { softplus };
    (softplus, if x < 0.0 { lower } else { upper })
}

/// log(1 + eˣ), to 2 ulp.
#[inline(always)]
pub(super) fn softplus(x: f32) -> f32 {
    softplus_and_sigmoid(x).0
}

/// 1 / (1 + e⁻ˣ), to 2.8 ulp.
#[inline(always)]
pub(super) fn sigmoid(x: f32) -> f32 {
    softplus_and_sigmoid(x).1
}

/// log(1 / (1 + e⁻ˣ)), to 2 ulp.
#[inline(always)]
pub(super) fn log_sigmoid(x: f32) -> f32 {
    -softplus(-x)
}

/// The hyperbolic tangent, to 3 ulp.
#[inline(always)]
pub(super) fn tanh(x: f32) -> f32 {
    let y = 2.0 * x.abs();
    let y = if y > 20.0 { 20.0 } else { y };
    let (k, r) = reduce(y);
    let p = polynomial(r, [1.991_503_1e-4, 1.394_206e-3, 8.333_271e-3, 4.166_634e-2, 1.666_666_7e-1, 0.5]);
    let scale = power_of_two(k);
    let less_one = scale.mul_add((r * r).mul_add(p, r), scale - 1.0);
    (less_one / (less_one + 2.0)).copysign(x)
}

/// The error function, to 2 ulp.
#[inline(always)]
pub(super) fn erf(x: f32) -> f32 {
    let t = x.abs();
    let s = t * t;
    let inner = polynomial(
        s,
        [8.345_225e-5, -8.137_437e-4, 5.200_634e-3, -2.685_927e-2, 1.128_369_4e-1, -3.761_263_5e-1, 1.283_791_7e-1],
    );
    let inner = inner.mul_add(t, t);
    // 1 − erfc, where erfc = e^−t(1 + p).
    let t = if t > 4.05 { 4.05 } else { t };
    let p = polynomial(
        t,
        [
            4.938_219e-6,
            -4.558_123e-5,
            -4.958_653_5e-5,
            2.930_157_1e-3,
            -2.267_413_8e-2,
            1.052_627e-1,
            6.356_253e-1,
            1.285_517_5e-1,
        ],
    );
    let outer = 1.0 - exp_below_89(-p.mul_add(t, t));
    let y = if s > 0.864_9 { outer } else { inner };
    let y = if x.is_nan() { x } else { y };
    y.copysign(x)
}

/// Above this, sine and cosine are computed one by one.
const TURNS_LIMIT: f32 = 1e6;

/// Whether sine and cosine of `x` need the slow path.
#[inline(always)]
pub(super) fn many_turns(x: f32) -> bool {
    x.abs() > TURNS_LIMIT
}

/// The sine of x + `quarters` · π/2.
#[inline(always)]
fn sine(x: f32, quarters: i32) -> f32 {
    const SHIFTER: f64 = 6_755_399_441_055_744.0;
    let wide = f64::from(x);
    let shifted = wide.mul_add(std::f64::consts::FRAC_2_PI, SHIFTER);
    let k = (shifted.to_bits() as i32).wrapping_add(quarters);
    let n = shifted - SHIFTER;
    let r = n.mul_add(-6.123_233_995_736_766e-17, n.mul_add(-std::f64::consts::FRAC_PI_2, wide)) as f32;
    let s = r * r;
    let sine = polynomial(s, [2.717_94e-6, -1.983_929_5e-4, 8.333_329e-3, -1.666_666_7e-1]);
    let sine = (s * r).mul_add(sine, r);
    let cosine = polynomial(s, [2.443_484_5e-5, -1.388_733_7e-3, 4.166_664_6e-2]);
    let cosine = (s * s).mul_add(cosine, s.mul_add(-0.5, 1.0));
    let y = if k & 1 == 0 { sine } else { cosine };
    if k & 2 == 0 { y } else { -y }
}

/// The sine of radians, to 1.6 ulp, where not [`many_turns`]; NaN for ∞.
#[inline(always)]
pub(super) fn sin(x: f32) -> f32 {
    // -0 stays -0.
    if x == 0.0 { x } else { sine(x, 0) }
}

/// The cosine of radians, to 1.6 ulp, where not [`many_turns`]; NaN for ∞.
#[inline(always)]
pub(super) fn cos(x: f32) -> f32 {
    sine(x, 1)
}

/// Whether [`pow`] holds: a positive normal finite base, a finite exponent.
#[inline(always)]
pub(super) fn plain_power(x: f32, y: f32) -> bool {
    (f32::MIN_POSITIVE..f32::INFINITY).contains(&x) && y.abs() < f32::INFINITY
}

/// xʸ, to 1 ulp, where [`plain_power`] holds.
#[inline(always)]
pub(super) fn pow(x: f32, y: f32) -> f32 {
    const SHIFTER: f64 = 6_755_399_441_055_744.0;
    let bits = x.to_bits() as i32;
    let e = bits.wrapping_sub(0x3F35_04F3) >> 23;
    let m = f64::from(f32::from_bits(bits.wrapping_sub(e << 23) as u32));
    let z = (m - 1.0) / (m + 1.0);
    let s = z * z;
    let mut p = 0.245_839_797_506_506_67f64;
    for c in [
        0.261_193_590_876_733_44,
        0.320_624_376_648_467_16,
        0.412_198_285_815_773_67,
        0.577_078_017_999_993,
        0.961_796_693_922_773,
        2.885_390_081_777_924,
    ] {
        p = p.mul_add(s, c);
    }
    let exponent = f64::from(y) * (p.mul_add(z, f64::from(e)));
    let exponent = exponent.clamp(-200.0, 200.0);
    let shifted = exponent + SHIFTER;
    let k = (shifted.to_bits() as i64).wrapping_sub(SHIFTER.to_bits() as i64);
    let r = exponent - (shifted - SHIFTER);
    let mut p = 1.021_405_265_755_162_3e-7f64;
    for c in [
        1.325_968_940_541_447_9e-6,
        1.525_262_826_412_798e-5,
        1.540_343_357_510_364e-4,
        1.333_355_828_282_549e-3,
        9.618_129_194_157_75e-3,
        5.550_410_866_409_05e-2,
        2.402_265_069_563_922_8e-1,
        6.931_471_805_599_554e-1,
        1.0,
    ] {
        p = p.mul_add(r, c);
    }
    (p * f64::from_bits((k.wrapping_add(1023) << 52) as u64)) as f32
}
