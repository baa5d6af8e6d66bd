//! The product against its definition, for every storage, size and set of instructions.

use std::sync::Arc;

use super::blocks::{self, BlockError, dequantise, row_bytes};
use super::lanes::{PANEL, Portable};
use super::matrix::{Matrix, Storage, multiply_all};
use super::product::{self, Input, Product, Target, Units, product_with};
use crate::rng::Stream;

/// The definition: one chain of fused multiply-adds.
fn chain(x: &[f32], w: &[f32]) -> f32 {
    x.iter().zip(w).fold(0.0, |sum, (x, w)| x.mul_add(*w, sum))
}

fn sets() -> Vec<Product> {
    let mut sets: Vec<Product> = vec![product_with::<Portable>];
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            sets.push(product::x86::product_avx512);
        }
        if product::has_avx2() {
            sets.push(product::x86::product_avx2);
        }
    }
    #[cfg(target_arch = "aarch64")]
    sets.push(product_with::<std::arch::aarch64::float32x4_t>);
    sets
}

/// A matrix of random elements, and the same elements as rows of f32. All bytes occur in blocks; scales are finite.
pub(crate) fn random(storage: Storage, rows: usize, cols: usize) -> (Matrix, Vec<f32>) {
    let stream = Stream::from_seed(rows as u64).child(&format!("{storage:?}"));
    let mut plain = vec![0.0; rows * cols];
    for (i, x) in plain.iter_mut().enumerate() {
        *x = stream.normal(i as u64) as f32;
    }
    let matrix = match storage {
        Storage::F32 => Matrix::from_rows(rows, cols, &plain, 1),
        Storage::Bf16 | Storage::F16 => {
            let f16 = storage == Storage::F16;
            let halves: Vec<u16> = plain
                .iter()
                .map(|&x| if f16 { half::f16::from_f32(x).to_bits() } else { half::bf16::from_f32(x).to_bits() })
                .collect();
            for (x, &bits) in plain.iter_mut().zip(&halves) {
                *x = if f16 { half::f16::from_bits(bits).to_f32() } else { half::bf16::from_bits(bits).to_f32() };
            }
            let fill = |rows: std::ops::Range<usize>, out: &mut [u16]| {
                out.copy_from_slice(&halves[rows.start * cols..rows.end * cols])
            };
            Matrix::pack_halves(rows, cols, f16, 2, fill)
        }
        _ => {
            let size = blocks::row_bytes(storage, cols).unwrap();
            let mut bytes: Vec<u8> = (0..rows * size).map(|i| stream.u32(i as u64) as u8).collect();
            for block in bytes.chunks_exact_mut(storage.block_bytes()) {
                // The upper bytes of the f16 scales: no infinity, no NaN.
                for at in if storage == Storage::Q6K { [209, 209] } else { [1, 3] } {
                    if at == 1 || matches!(storage, Storage::Q4_1 | Storage::Q4K | Storage::Q6K) {
                        block[at] &= 0xBF;
                    }
                }
            }
            for (row, out) in bytes.chunks(size.max(1)).zip(plain.chunks_mut(cols.max(1))) {
                blocks::dequantise(storage, row, out).unwrap();
            }
            Matrix::pack_blocks(rows, cols, storage, 2, |i| &bytes[i * size..(i + 1) * size]).unwrap()
        }
    };
    (matrix, plain)
}

fn x(n: usize, stride: usize) -> Vec<f32> {
    let stream = Stream::from_seed(77);
    (0..n * stride).map(|i| stream.normal(i as u64) as f32).collect()
}

#[test]
fn every_storage_and_instruction_set_gives_the_chain_bit_for_bit() {
    for storage in Storage::ALL {
        let block = storage.block_cols();
        let dense = [(1usize, 7usize), (150, 33), (32, 1), (129, 5), (70, 400), (33, 193)];
        let whole = [(1, block), (150, block), (33, 768), (65, 256)];
        for (cols, depth) in if block == 1 { dense.as_slice() } else { whole.as_slice() } {
            let (cols, depth) = (*cols, *depth);
            let (matrix, plain) = random(storage, cols, depth);
            let most = if depth > 300 { [1, 2, 5, 17] } else { [3, 4, 13, 31] };
            let all: Vec<usize> = if depth < 40 { (1..=29).collect() } else { most.to_vec() };
            for rows in all {
                let stride = depth + 3;
                let x = x(rows, stride);
                let expected: Vec<u32> = (0..rows * cols)
                    .map(|at| chain(&x[at / cols * stride..][..depth], &plain[at % cols * depth..]).to_bits())
                    .collect();
                for product in sets() {
                    let mut y = vec![f32::NAN; rows * cols];
                    let target = Target::new(&mut y, cols);
                    // SAFETY: the lengths are those that `multiply` asserts; the sets were detected.
                    #[expect(unsafe_code, reason = "calls each instruction set directly")]
                    unsafe {
                        product(Input::Rows { x: &x, stride }, &matrix.operand(), 0..cols.div_ceil(PANEL), &target);
                    }
                    let found: Vec<u32> = y.iter().map(|y| y.to_bits()).collect();
                    assert!(found == expected, "{storage:?}: {rows} × {depth} → {cols}");
                }
            }
        }
    }
}

#[test]
fn rows_come_back_as_they_were() {
    for storage in Storage::ALL {
        for (rows, cols) in [(1, 256), (45, 512), (64, 256)] {
            let (matrix, plain) = random(storage, rows, cols);
            let mut row = vec![f32::NAN; cols];
            for (i, expected) in plain.chunks_exact(cols).enumerate() {
                matrix.row(i, &mut row);
                assert!(row.iter().zip(expected).all(|(a, b)| a.to_bits() == b.to_bits()), "{storage:?} row {i}");
            }
            let bits = 8.0 * matrix.bytes() as f64 / (rows.next_multiple_of(PANEL) * cols) as f64;
            let file = 8.0 * storage.block_bytes() as f64 / storage.block_cols() as f64;
            assert!(bits >= file && bits <= file + 0.13, "{storage:?} takes {bits} bits");
        }
    }
}

#[test]
fn several_products_at_once_are_the_products_alone() {
    for threads in [1, 2, 3] {
        for n in [1, 6, 45] {
            let x = x(n, 512);
            let matrices = [(Storage::Q4K, 700), (Storage::F32, 1), (Storage::Bf16, 0), (Storage::F16, 333)]
                .map(|(storage, rows)| random(storage, rows, 512).0);
            let mut together: Vec<Vec<f32>> = matrices.iter().map(|m| vec![f32::NAN; n * m.rows()]).collect();
            let mut products: Vec<_> = matrices.iter().zip(&mut together).map(|(m, y)| (m, y.as_mut_slice())).collect();
            multiply_all(Units::Vectors, &x, &mut products, threads);
            for (matrix, together) in matrices.iter().zip(&together) {
                let mut alone = vec![f32::NAN; n * matrix.rows()];
                matrix.multiply(&x, &mut alone, 1);
                assert_eq!(&alone, together);
                if matrix.rows() == 333 {
                    let mut row = vec![0.0; 512];
                    matrix.row(332, &mut row);
                    assert_eq!(alone[n * 333 - 1].to_bits(), chain(&x[(n - 1) * 512..], &row).to_bits());
                }
            }
        }
    }
}

#[test]
fn a_product_can_add_to_a_part_of_its_target() {
    let (matrix, plain) = random(Storage::F32, 70, 40);
    for rows in [1, 2, 3, 4, 5, 31] {
        let x = x(rows, 40);
        for product in sets() {
            let mut y = vec![0.5; rows * 100];
            let target = Target::new(&mut y, 100).from(30).adding();
            // SAFETY: the lengths are those that `multiply` asserts; the sets were detected.
            #[expect(unsafe_code, reason = "calls each instruction set directly")]
            unsafe {
                product(Input::Rows { x: &x, stride: 40 }, &matrix.operand(), 0..3, &target);
            }
            for (at, y) in y.iter().enumerate() {
                let mut expected = 0.5f32;
                if at % 100 >= 30 {
                    let pairs = x[at / 100 * 40..].iter().zip(&plain[(at % 100 - 30) * 40..][..40]);
                    expected = pairs.fold(0.5, |sum, (x, w)| x.mul_add(*w, sum));
                }
                assert_eq!(y.to_bits(), expected.to_bits(), "{rows} rows, {at}");
            }
        }
    }
}

#[test]
fn matrices_without_rows_or_columns_are_harmless() {
    let empty = Matrix::from_rows(0, 5, &[], 2);
    empty.multiply(&[], &mut [], 2);
    let narrow = Matrix::from_rows(3, 0, &[], 2);
    let mut y = [f32::NAN; 6];
    narrow.multiply(&[], &mut y, 1);
    assert_eq!(y, [0.0; 6]);
    let mut many = vec![f32::NAN; 27];
    narrow.multiply(&[], &mut many, 2);
    assert_eq!(many, [0.0; 27]);
}

#[test]
fn blocks_of_the_wrong_size_are_refused() {
    let pack = |cols, storage, row: &[u8]| Matrix::pack_blocks(1, cols, storage, 1, |_| row).map(|_| ());
    assert_eq!(pack(48, Storage::Q8_0, &[0; 51]), Err(BlockError::Cols { cols: 48, block: 32 }));
    assert_eq!(pack(64, Storage::Q4_0, &[0; 35]), Err(BlockError::Length { needs: 36, has: 35 }));
    assert_eq!(pack(64, Storage::F16, &[0; 128]), Err(BlockError::Dense(Storage::F16)));
    assert_eq!(row_bytes(Storage::Q6K, 512), Ok(420));
    let mut out = [0.0; 256];
    assert_eq!(dequantise(Storage::Q4K, &[0; 143], &mut out), Err(BlockError::Length { needs: 144, has: 143 }));
}

#[test]
fn a_low_rank_difference_is_the_dense_sum_and_shares_its_base() {
    let (rows, cols) = (75, 41);
    for storage in [Storage::F32, Storage::Bf16, Storage::F16] {
        let (base, plain) = random(storage, rows, cols);
        let base = Arc::new(base);
        for rank in [0, 1, 8, 33] {
            let (a, a_plain) = random(storage, rank, cols);
            let (b, b_plain) = random(Storage::F32, rows, rank);
            let (a, b) = (Arc::new(a), Arc::new(b));
            let sum = Matrix::with_low_rank(base.clone(), a.clone(), b.clone()).unwrap();
            assert_eq!((sum.rows(), sum.cols(), sum.bytes()), (rows, cols, a.bytes() + b.bytes()));
            let dense: Vec<f64> = (0..rows * cols)
                .map(|i| {
                    let product =
                        |k: usize| f64::from(b_plain[i / cols * rank + k]) * f64::from(a_plain[k * cols + i % cols]);
                    f64::from(plain[i]) + (0..rank).map(product).sum::<f64>()
                })
                .collect();
            let mut row = vec![0.0; cols];
            sum.row(rows - 1, &mut row);
            let last = &dense[(rows - 1) * cols..];
            assert!(row.iter().zip(last).all(|(x, y)| (f64::from(*x) - y).abs() < 1e-4));
            for n in [1, 5, 40] {
                let x: Vec<f32> = (0..n * cols).map(|i| (i as f32 * 0.37).sin()).collect();
                let (mut y, mut other) = (vec![0.0; n * rows], vec![0.0; n * rows]);
                // Beside another product of the same rows, on two threads and on one.
                multiply_all(Units::Vectors, &x, &mut [(&*base, &mut other), (&sum, &mut y)], 2);
                let mut alone = vec![0.0; n * rows];
                sum.multiply(&x, &mut alone, 1);
                assert_eq!(y, alone);
                for (i, &found) in y.iter().enumerate() {
                    let (x, w) = (&x[i / rows * cols..][..cols], &dense[i % rows * cols..][..cols]);
                    let expected: f64 = x.iter().zip(w).map(|(x, w)| f64::from(*x) * w).sum();
                    assert!((f64::from(found) - expected).abs() < 2e-3, "{storage:?} {rank} {n}: {found} {expected}");
                }
                if rank == 0 {
                    assert_eq!(y, other);
                }
            }
            // A difference on top of a difference, and one whose factor is one.
            let twice = Matrix::with_low_rank(Arc::new(sum), a.clone(), b.clone()).unwrap();
            let mut found = vec![0.0; cols];
            twice.row(0, &mut found);
            let mut once = vec![0.0; cols];
            base.row(0, &mut once);
            let expected = dense.iter().zip(&once).map(|(sum, base)| 2.0 * sum - f64::from(*base));
            assert!(found.iter().zip(expected).all(|(x, y)| (f64::from(*x) - y).abs() < 1e-4));
        }
    }
    let of = |rows, cols| Arc::new(Matrix::from_rows(rows, cols, &vec![0.0; rows * cols], 1));
    assert!(Matrix::with_low_rank(of(4, 3), of(2, 3), of(4, 1)).is_none());
    assert!(Matrix::with_low_rank(of(4, 3), of(2, 4), of(4, 2)).is_none());
    assert!(Matrix::with_low_rank(of(4, 3), of(2, 3), of(3, 2)).is_none());
}
