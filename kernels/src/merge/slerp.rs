//! Spherical interpolation of two models (Shoemake, "Animating rotation with quaternion curves", 1985).

use super::chunks::{sum_chunks, sum_lanes};
use super::element::Element;
use super::error::{MergeError, check_finite, check_models};
use super::merged::{Merged, Rule};

/// Vectors closer to one line than this cosine are interpolated linearly.
const COLLINEAR: f64 = 0.9995;

/// Writes the point at `t` on the way from `a` (0) to `b` (1), the whole tensors taken as vectors.
///
/// With φ the angle between them: (sin((1−t)φ)·a + sin(tφ)·b) / sin φ, on the vectors as they are, not normalised;
/// linear interpolation where abs(cos φ) > 0.9995. `t` outside 0 to 1 extrapolates. Computes in `f32`, norms in `f64`.
///
/// # Errors
/// Lengths that differ; a `t` that is not finite.
pub fn slerp<E: Element>(a: &[E], b: &[E], t: f64, out: &mut [E]) -> Result<(), MergeError> {
    check_models(&[a, b], out.len())?;
    Merged::slerp(a, b, t)?.write_all(&[a, b], out);
    Ok(())
}

impl<E: Element> Merged<E> {
    /// [`slerp`](slerp()), to be written range by range; the angle is measured now.
    ///
    /// # Errors
    /// As [`slerp`](slerp()).
    pub fn slerp(a: &[E], b: &[E], t: f64) -> Result<Self, MergeError> {
        check_models(&[a, b], a.len())?;
        check_finite("t", t)?;
        Ok(Self::new(Rule::Pair(coefficients(cosine(a, b), t))))
    }
}

fn coefficients(cosine: f64, t: f64) -> [f32; 2] {
    if cosine.abs() > COLLINEAR || cosine.is_nan() {
        return [(1.0 - t) as f32, t as f32];
    }
    let angle = libm::acos(cosine);
    let sine = libm::sin(angle);
    [(libm::sin((1.0 - t) * angle) / sine) as f32, (libm::sin(t * angle) / sine) as f32]
}

/// The cosine of the angle between two vectors of equal length; a norm of at most 1e-8 counts as 1.
fn cosine<E: Element>(a: &[E], b: &[E]) -> f64 {
    let [aa, bb, ab] = sum_chunks(a.len(), |range, _| {
        let (a, b) = (&a[range.clone()], &b[range]);
        sum_lanes(0..a.len(), |i| {
            let (x, y) = (f64::from(a[i].to_f32()), f64::from(b[i].to_f32()));
            [x * x, y * y, x * y]
        })
    });
    let norm = |square: f64| {
        if square.sqrt() > 1e-8 { square.sqrt() } else { 1.0 }
    };
    ab / (norm(aa) * norm(bb))
}
