//! Functions of one to three floats that every instruction set has, or nearly, for `f32` and `f64` alike.

macro_rules! simple {
    ($module:ident, $float:ident, $below_half:expr) => {
        pub(super) mod $module {
            type T = $float;

            #[inline(always)]
            pub(in super::super) fn truth(b: bool) -> T {
                if b { 1.0 } else { 0.0 }
            }

            /// -1, 0 or 1; NaN for NaN.
            #[inline(always)]
            pub(in super::super) fn sign(x: T) -> T {
                let y = if x > 0.0 { 1.0 } else { x + 0.0 };
                if x < 0.0 { -1.0 } else { y }
            }

            /// To the nearest whole number, halves away from zero.
            #[inline(always)]
            pub(in super::super) fn round(x: T) -> T {
                // The largest float below a half: with a half, the float below a half would go to 1.
                (x.abs() + $below_half).floor().copysign(x)
            }

            /// NaN if either is NaN, and -0 < +0.
            #[inline(always)]
            pub(in super::super) fn min(a: T, b: T) -> T {
                // The same number twice, but for zeros of both signs, whose bits together are those of -0.
                let (x, y) = (if a < b { a } else { b }, if b < a { b } else { a });
                let lesser = T::from_bits(x.to_bits() | y.to_bits());
                if a.is_nan() || b.is_nan() { a + b } else { lesser }
            }

            /// NaN if either is NaN, and -0 < +0.
            #[inline(always)]
            pub(in super::super) fn max(a: T, b: T) -> T {
                let (x, y) = (if a > b { a } else { b }, if b > a { b } else { a });
                let greater = T::from_bits(x.to_bits() & y.to_bits());
                if a.is_nan() || b.is_nan() { a + b } else { greater }
            }

            /// max(x, 0); NaN for NaN.
            #[inline(always)]
            pub(in super::super) fn relu(x: T) -> T {
                let y = if x > 0.0 { x } else { 0.0 };
                if x.is_nan() { x } else { y }
            }

            /// `a` where `mask` is not 0.
            #[inline(always)]
            pub(in super::super) fn select(mask: T, a: T, b: T) -> T {
                if mask != 0.0 { a } else { b }
            }
        }
    };
}

simple!(single, f32, 0.499_999_97);
simple!(double, f64, 0.499_999_999_999_999_94);
