//! Functions of one `f64`, as scalar numeric code computes them.

/// log(1 + eˣ) and 1 / (1 + e⁻ˣ), without overflow at either end.
#[inline(always)]
pub(super) fn softplus_and_sigmoid(x: f64) -> (f64, f64) {
    let e = libm::exp(-x.abs());
    let positive = if x > 0.0 || x.is_nan() { x } else { 0.0 };
    (positive + libm::log1p(e), if x < 0.0 { e / (1.0 + e) } else { 1.0 / (1.0 + e) })
}
