//! Weights of any values, in every storage.

use evo_kernels::matmul::{Matrix, Storage};
use evo_kernels::rng::Stream;

/// A matrix of any values.
pub(crate) fn matrix(storage: Storage, rows: usize, cols: usize, stream: &Stream) -> Matrix {
    let number = |i: usize| (stream.u32(i as u64) >> 8) as f32 / 1e8 - 0.08;
    match storage {
        Storage::F32 => Matrix::pack(rows, cols, 2, |rows, out| {
            for (i, row) in rows.zip(out.chunks_exact_mut(cols)) {
                row.iter_mut().enumerate().for_each(|(k, x)| *x = number(i * 7 + k));
            }
        }),
        Storage::Bf16 | Storage::F16 => Matrix::pack_halves(rows, cols, storage == Storage::F16, 2, |rows, out| {
            for (i, row) in rows.zip(out.chunks_exact_mut(cols)) {
                row.iter_mut().enumerate().for_each(|(k, x)| *x = (number(i * 7 + k).to_bits() >> 16) as u16 & 0xBFFF);
            }
        }),
        _ => {
            let len = cols / storage.block_cols() * storage.block_bytes();
            // Bytes below 60 make f16 scales between 0 and 1, whatever they are.
            let bytes: Vec<u8> = (0..len + rows).map(|i| (stream.u32(i as u64) % 60) as u8).collect();
            Matrix::pack_blocks(rows, cols, storage, 2, |i| &bytes[i..i + len]).unwrap()
        }
    }
}
