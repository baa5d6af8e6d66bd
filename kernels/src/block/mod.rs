//! Block operations: one elementwise function each, over blocks of rows that stay in the first-level cache.
//!
//! Compiled row code (the language's losses and elementwise merges) is a list of such operations. They come as tables
//! of functions, [`singles`] for `f32` and [`doubles`] for `f64`, chosen once for the machine: the same Rust code,
//! compiled for AVX-512, for AVX2 with FMA, and for any other machine (NEON among them). Rust neither reorders nor
//! fuses floating-point operations by itself, so all of them give the same bits.
//!
//! An operand is a slice as long as the output, or a slice of one element, which stands for all rows. Any length and
//! any alignment is right; lengths that are multiples of [`LANES`] are quickest. Comparisons yield 1 or 0, and
//! `select` takes its second operand where the first is not 0.
//!
//! # Accuracy
//!
//! `add sub mul div neg abs sqrt floor ceil round sign min max relu` and comparisons are exact or correctly rounded in
//! both types; `min` and `max` are NaN if either operand is, and take -0 for less than +0. The others, in units in
//! the last place of the true result over all arguments, subnormal results included:
//!
//! | | `exp` | `log` | `tanh` | `sigmoid` | `log_sigmoid`, `softplus` | `erf` | `sin`, `cos` | `pow` |
//! |---|---|---|---|---|---|---|---|---|
//! | `f32` | 1.1 | 1 | 3 | 2.8 | 2 | 2 | 1.6 | 1 |
//!
//! In `f64` there are the exact ones alone; the caller has scalar code for the others.

mod convert;
mod hint;
mod math;
mod simple;
mod slices;
#[cfg(test)]
mod tests;
mod widest;

pub use convert::{load_f16, store_f16};
pub use hint::prefetch;
use simple::{double, single};
pub use widest::{Loops, widest};

/// Lengths that are multiples of this run without a remainder on every machine.
pub const LANES: usize = 64;

/// A function of one operand.
pub type Map1<T> = fn(&[T], &mut [T]);
/// A function of two operands.
pub type Map2<T> = fn(&[T], &[T], &mut [T]);
/// A function of three operands.
pub type Map3<T> = fn(&[T], &[T], &[T], &mut [T]);
/// Two functions of one operand that share their work.
pub type Twin<T> = fn(&[T], &mut [T], &mut [T]);

#[inline(always)]
fn map1<T: Copy>(x: &[T], out: &mut [T], f: impl Fn(T) -> T) {
    match x {
        [x] => out.fill(f(*x)),
        _ => {
            assert_eq!(x.len(), out.len());
            out.iter_mut().zip(x).for_each(|(y, x)| *y = f(*x));
        }
    }
}

#[inline(always)]
fn map2<T: Copy>(a: &[T], b: &[T], out: &mut [T], f: impl Fn(T, T) -> T) {
    match (a, b) {
        ([a], _) => map1(b, out, |b| f(*a, b)),
        (_, [b]) => map1(a, out, |a| f(a, *b)),
        _ => {
            assert!(a.len() == out.len() && b.len() == out.len());
            out.iter_mut().zip(a).zip(b).for_each(|((y, a), b)| *y = f(*a, *b));
        }
    }
}

#[inline(always)]
fn map3<T: Copy>(a: &[T], b: &[T], c: &[T], out: &mut [T], f: impl Fn(T, T, T) -> T) {
    match (a, b, c) {
        ([a], _, _) => map2(b, c, out, |b, c| f(*a, b, c)),
        (_, [b], _) => map2(a, c, out, |a, c| f(a, *b, c)),
        (_, _, [c]) => map2(a, b, out, |a, b| f(a, b, *c)),
        _ => {
            assert!(a.len() == out.len() && b.len() == out.len() && c.len() == out.len());
            out.iter_mut().zip(a).zip(b).zip(c).for_each(|(((y, a), b), c)| *y = f(*a, *b, *c));
        }
    }
}

#[inline(always)]
fn twin<T: Copy>(x: &[T], first: &mut [T], second: &mut [T], f: impl Fn(T) -> (T, T)) {
    assert!(x.len() == first.len() && x.len() == second.len());
    first.iter_mut().zip(second).zip(x).for_each(|((y, z), x)| (*y, *z) = f(*x));
}

/// A function compiled for given target features. It is private to its class, whose table is handed out only where
/// the features were detected; that is what makes it safe to call.
macro_rules! run {
    ($name:ident [] ($($arg:ident: $ty:ty),*) $(-> $ret:ty)? $body:block) => {
        fn $name($($arg: $ty),*) $(-> $ret)? $body
    };
    ($name:ident [$features:literal] ($($arg:ident: $ty:ty),*) $(-> $ret:ty)? $body:block) => {
        fn $name($($arg: $ty),*) $(-> $ret)? {
            #[target_feature(enable = $features)]
            fn inner($($arg: $ty),*) $(-> $ret)? $body
            // SAFETY: reached only through this class's table, which `all` gives where the features are there.
            #[expect(unsafe_code, reason = "run-time choice of the instruction set")]
            unsafe {
                inner($($arg),*)
            }
        }
    };
}

/// The functions of one element type for one class of machines.
macro_rules! class {
    ($class:ident $features:tt $table:ident $float:ident
        { $($one:ident = $one_body:expr;)* } { $($two:ident = $two_body:expr;)* } { $($three:ident = $three_body:expr;)* }
        { $($slices:ident ($($arg:ident: $ty:ty),*) $(-> $ret:ty)?;)* } { $($twin:ident = $twin_body:expr;)* }) => {
        mod $class {
            #[allow(clippy::wildcard_imports, reason = "the operations of the parent")]
            use super::super::*;

            $(run! { $one $features (x: &[$float], out: &mut [$float]) { map1(x, out, $one_body) } })*
            $(run! { $two $features (a: &[$float], b: &[$float], out: &mut [$float]) { map2(a, b, out, $two_body) } })*
            $(run! { $three $features (a: &[$float], b: &[$float], c: &[$float], out: &mut [$float]) { map3(a, b, c, out, $three_body) } })*
            $(run! { $slices $features ($($arg: $ty),*) $(-> $ret)? { super::super::slices::$slices($($arg),*) } })*
            $(run! { $twin $features (x: &[$float], first: &mut [$float], second: &mut [$float]) { twin(x, first, second, $twin_body) } })*

            pub(super) static TABLE: $table =
                $table { $($one,)* $($two,)* $($three,)* $($slices,)* $($twin,)* };
        }
    };
}

/// The table of one element type.
macro_rules! table {
    (
        $(#[$doc:meta])* $table:ident $module:ident $choose:ident $float:ident
        one { $($one:ident $one_doc:literal $one_body:expr;)* }
        two { $($two:ident $two_doc:literal $two_body:expr;)* }
        three { $($three:ident $three_doc:literal $three_body:expr;)* }
        slices { $($slices:ident $slices_doc:literal ($($arg:ident: $ty:ty),*) $(-> $ret:ty)?;)* }
        twins { $($twin:ident $twin_doc:literal $twin_body:expr;)* }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $table {
            $(#[doc = $one_doc] pub $one: Map1<$float>,)*
            $(#[doc = $two_doc] pub $two: Map2<$float>,)*
            $(#[doc = $three_doc] pub $three: Map3<$float>,)*
            $(#[doc = $slices_doc] pub $slices: fn($($ty),*) $(-> $ret)?,)*
            $(#[doc = $twin_doc] pub $twin: Twin<$float>,)*
        }

        mod $module {
            use super::$table;

            class! { portable [] $table $float { $($one = $one_body;)* } { $($two = $two_body;)* } { $($three = $three_body;)* }
                { $($slices ($($arg: $ty),*) $(-> $ret)?;)* } { $($twin = $twin_body;)* } }
            #[cfg(target_arch = "x86_64")]
            class! { avx2 ["avx2,fma"] $table $float { $($one = $one_body;)* } { $($two = $two_body;)* } { $($three = $three_body;)* }
                { $($slices ($($arg: $ty),*) $(-> $ret)?;)* } { $($twin = $twin_body;)* } }
            #[cfg(target_arch = "x86_64")]
            class! { avx512 ["avx512f,avx512bw,avx512dq,avx512vl,avx2,fma"] $table $float
                { $($one = $one_body;)* } { $($two = $two_body;)* } { $($three = $three_body;)* }
                { $($slices ($($arg: $ty),*) $(-> $ret)?;)* } { $($twin = $twin_body;)* } }

            /// The tables that this machine can run, the best first.
            pub(super) fn all() -> Vec<&'static $table> {
                let mut tables = Vec::new();
                #[cfg(target_arch = "x86_64")]
                if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                    let wide = is_x86_feature_detected!("avx512f")
                        && is_x86_feature_detected!("avx512bw")
                        && is_x86_feature_detected!("avx512dq")
                        && is_x86_feature_detected!("avx512vl");
                    if wide {
                        tables.push(&avx512::TABLE);
                    }
                    tables.push(&avx2::TABLE);
                }
                tables.push(&portable::TABLE);
                tables
            }
        }

        /// The table for this machine.
        pub fn $choose() -> &'static $table {
            static CHOSEN: std::sync::OnceLock<&'static $table> = std::sync::OnceLock::new();
            CHOSEN.get_or_init(|| $module::all()[0])
        }
    };
}

table! {
    /// The operations on `f32`.
    Singles single_tables singles f32
    one {
        neg "-x" |x: f32| -x;
        abs "|x|" |x: f32| x.abs();
        sign "-1, 0 or 1; NaN for NaN" single::sign;
        floor "down to a whole number" |x: f32| x.floor();
        ceil "up to a whole number" |x: f32| x.ceil();
        round "to the nearest whole number, halves away from zero" single::round;
        sqrt "√x" |x: f32| x.sqrt();
        relu "max(x, 0); NaN for NaN" single::relu;
        exp "eˣ" math::exp;
        log "the natural logarithm" math::log;
        tanh "the hyperbolic tangent" math::tanh;
        sigmoid "1 / (1 + e⁻ˣ)" math::sigmoid;
        log_sigmoid "log(1 / (1 + e⁻ˣ))" math::log_sigmoid;
        softplus "log(1 + eˣ)" math::softplus;
        erf "the error function" math::erf;
    }
    two {
        add "a + b" |a: f32, b: f32| a + b;
        sub "a − b" |a: f32, b: f32| a - b;
        mul "a · b" |a: f32, b: f32| a * b;
        div "a / b" |a: f32, b: f32| a / b;
        min "the lesser; NaN if either is" single::min;
        max "the greater; NaN if either is" single::max;
        eq "a = b" |a: f32, b: f32| single::truth(a == b);
        ne "a ≠ b" |a: f32, b: f32| single::truth(a != b);
        lt "a < b" |a: f32, b: f32| single::truth(a < b);
        le "a ≤ b" |a: f32, b: f32| single::truth(a <= b);
    }
    three {
        mul_add "a · b + c, rounded after each" |a: f32, b: f32, c: f32| a * b + c;
        select "b where a is not 0, else c" single::select;
    }
    slices {
        sin "the sine of radians" (x: &[f32], out: &mut [f32]);
        cos "the cosine of radians" (x: &[f32], out: &mut [f32]);
        pow "aᵇ" (a: &[f32], b: &[f32], out: &mut [f32]);
        load_bf16 "the bits of `bf16` to `f32`" (x: &[u16], out: &mut [f32]);
        store_bf16 "`f32` to the bits of the nearest `bf16`, ties to even" (x: &[f32], out: &mut [u16]);
        sum "the sum of a block: 32 interleaved partial sums, added in order in `f64`" (x: &[f32]) -> f64;
    }
    twins {
        softplus_and_sigmoid "log(1 + eˣ) and 1 / (1 + e⁻ˣ)" math::softplus_and_sigmoid;
    }
}

table! {
    /// The operations on `f64` that are an instruction or a few; the others are scalar code's, a row at a time.
    Doubles double_tables doubles f64
    one {
        neg "-x" |x: f64| -x;
        abs "|x|" |x: f64| x.abs();
        sign "-1, 0 or 1; NaN for NaN" double::sign;
        floor "down to a whole number" |x: f64| x.floor();
        ceil "up to a whole number" |x: f64| x.ceil();
        round "to the nearest whole number, halves away from zero" double::round;
        sqrt "√x" |x: f64| x.sqrt();
        relu "max(x, 0); NaN for NaN" double::relu;
    }
    two {
        add "a + b" |a: f64, b: f64| a + b;
        sub "a − b" |a: f64, b: f64| a - b;
        mul "a · b" |a: f64, b: f64| a * b;
        div "a / b" |a: f64, b: f64| a / b;
        min "the lesser; NaN if either is" double::min;
        max "the greater; NaN if either is" double::max;
        eq "a = b" |a: f64, b: f64| double::truth(a == b);
        ne "a ≠ b" |a: f64, b: f64| double::truth(a != b);
        lt "a < b" |a: f64, b: f64| double::truth(a < b);
        le "a ≤ b" |a: f64, b: f64| double::truth(a <= b);
    }
    three {
        mul_add "a · b + c, rounded after each" |a: f64, b: f64, c: f64| a * b + c;
        select "b where a is not 0, else c" double::select;
    }
    slices {
        sum "the sum of a block: 32 interleaved partial sums, added in order" (x: &[f64]) -> f64;
    }
    twins {}
}
