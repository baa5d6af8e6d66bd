//! Tiles and the vectors that stand for them against the definition, to the bit, where there are tiles.

use super::super::matrix::{Matrix, Storage, multiply_all};
use super::super::product::Units;
use super::super::product_tests::random;
use super::*;
use crate::rng::Stream;

fn parts(x: f32) -> [f32; 2] {
    let first = half::bf16::from_f32(x).to_f32();
    [first, half::bf16::from_f32(x - first).to_f32()]
}

/// The definition of [`super`], of a sum that begins with `start`.
fn definition(start: f32, x: &[f32], w: &[f32]) -> f32 {
    let mut sum = start;
    for (x, w) in x.chunks(COLS).zip(w.chunks(COLS)) {
        for (p, q) in [(0, 0), (1, 0), (0, 1)] {
            let mut both = [0.0f32; 2];
            for (k, (&x, &w)) in x.iter().zip(w).enumerate() {
                both[k % 2] = parts(x)[p].mul_add(parts(w)[q], both[k % 2]);
            }
            sum += both[0] + both[1];
        }
    }
    sum
}

fn rows_of(n: usize, cols: usize) -> Vec<f32> {
    let stream = Stream::from_seed((n * 1000 + cols) as u64);
    (0..n * cols).map(|i| stream.normal(i as u64) as f32).collect()
}

#[test]
fn every_storage_and_number_of_rows_gives_the_bits_of_the_definition() {
    if !Units::Tiles.available() {
        return;
    }
    for storage in Storage::ALL {
        let block = storage.block_cols();
        for (rows, cols) in [(1, 1), (32, 64), (70, 33), (97, 200), (33, 512)] {
            let cols = usize::next_multiple_of(cols, block);
            let (matrix, w) = random(storage, rows, cols);
            for n in [1, 2, 3, 16, 17, 70] {
                let x = rows_of(n, cols);
                let mut y = vec![f32::NAN; n * rows];
                matrix.multiply_on(Units::Tiles, &x, &mut y, 1);
                // Every element of few, some of many.
                for at in (0..n * rows).step_by(if n * rows * cols > 1 << 16 { 7 } else { 1 }) {
                    let (i, j) = (at / rows, at % rows);
                    let want = definition(0.0, &x[i * cols..(i + 1) * cols], &w[j * cols..(j + 1) * cols]);
                    assert_eq!(y[at].to_bits(), want.to_bits(), "{storage:?} {rows} × {cols}, {n} rows: {i}, {j}");
                }
            }
        }
    }
}

#[test]
fn no_sharing_and_no_company_changes_a_bit() {
    if !Units::Tiles.available() {
        return;
    }
    for storage in [Storage::F32, Storage::Bf16, Storage::Q4_1] {
        let (first, second) = (random(storage, 330, 96).0, random(storage, 65, 96).0);
        let x = rows_of(203, 96);
        let run = |rows: std::ops::Range<usize>, threads: usize| {
            let (mut a, mut b) = (vec![0.0; rows.len() * 330], vec![0.0; rows.len() * 65]);
            let mut products: Vec<(&Matrix, &mut [f32])> = vec![(&first, &mut a), (&second, &mut b)];
            multiply_all(Units::Tiles, &x[rows.start * 96..rows.end * 96], &mut products, threads);
            (a, b)
        };
        let all = run(0..203, 1);
        assert_eq!(all, run(0..203, 2));
        assert_eq!(all, run(0..203, 3));
        for some in [0..1, 7..9, 3..20, 100..203, 64..128] {
            let (a, b) = run(some.clone(), 2);
            assert_eq!(a, all.0[some.start * 330..some.end * 330]);
            assert_eq!(b, all.1[some.start * 65..some.end * 65]);
        }
    }
}

#[test]
fn products_are_those_of_the_vectors_up_to_rounding() {
    if !Units::Tiles.available() {
        return;
    }
    for storage in Storage::ALL {
        let (matrix, w) = random(storage, 64, 768);
        let x = rows_of(40, 768);
        let (mut y, mut plain) = (vec![0.0; 40 * 64], vec![0.0; 40 * 64]);
        matrix.multiply_on(Units::Tiles, &x, &mut y, 2);
        matrix.multiply(&x, &mut plain, 2);
        let length = |v: &[f32]| v.iter().map(|x| x * x).sum::<f32>().sqrt();
        for (at, (y, plain)) in y.iter().zip(&plain).enumerate() {
            let scale = length(&x[at / 64 * 768..][..768]) * length(&w[at % 64 * 768..][..768]);
            assert!((y - plain).abs() <= 1e-6 * scale, "{storage:?}: {y} for {plain}, of {scale}");
        }
    }
}

#[test]
fn sums_may_begin_with_what_stands_there() {
    if !Units::Tiles.available() {
        return;
    }
    let (matrix, w) = random(Storage::F32, 70, 100);
    for n in [1, 2, 5, 40] {
        let x = rows_of(n, 100);
        let mut y = rows_of(n, 70);
        let before = y.clone();
        let target = Target::new(&mut y, 70).adding();
        let rows = Rows::of(&x, n, 1);
        super::super::product::multiply(
            super::super::product::Input::Apart { rows: &rows, from: 0 },
            &matrix.operand(),
            0..3,
            &target,
        );
        for (at, y) in y.iter().enumerate() {
            let (i, j) = (at / 70, at % 70);
            let want = definition(before[at], &x[i * 100..(i + 1) * 100], &w[j * 100..(j + 1) * 100]);
            assert_eq!(y.to_bits(), want.to_bits(), "{n} rows: {i}, {j}");
        }
    }
}

#[test]
fn what_is_not_finite_stays_so() {
    if !Units::Tiles.available() {
        return;
    }
    for bad in [f32::NAN, f32::INFINITY, f32::from_bits(u32::MAX)] {
        for (in_x, n) in [(true, 1), (true, 20), (false, 1), (false, 20)] {
            let (mut w, mut x) = (rows_of(40, 64), rows_of(n, 64));
            if in_x {
                x[3] = bad
            } else {
                w[3] = bad
            }
            let mut y = vec![0.0; n * 40];
            Matrix::from_rows(40, 64, &w, 1).multiply_on(Units::Tiles, &x, &mut y, 1);
            assert!(!y[0].is_finite() && y[n * 40 - 1].is_finite() == (n > 1 || !in_x), "{bad} in x: {in_x}, {n} rows");
        }
    }
}
