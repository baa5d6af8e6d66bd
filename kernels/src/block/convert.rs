//! Loads and stores of blocks in storage types, which arrive as bits. Widening is exact; narrowing rounds to nearest,
//! ties to even. Slices are of one length.

use half::f16;
use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};

/// `f16` to `f32`.
pub fn load_f16(x: &[u16], out: &mut [f32]) {
    x.reinterpret_cast::<f16>().convert_to_f32_slice(out);
}

/// `f32` to `f16`.
pub fn store_f16(x: &[f32], out: &mut [u16]) {
    out.reinterpret_cast_mut::<f16>().convert_from_f32_slice(x);
}
