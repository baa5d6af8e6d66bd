//! Row programs over the real block operations, held to the interpreter.

use evo_lang::codegen::rows::{Column, ColumnMut, Precision, Storage, compile};
use evo_lang::ir::builder::Builder;
use evo_lang::ir::interp::run_rows;
use evo_lang::ir::rows::{RowFunction, mean, verify};
use evo_lang::ir::verify::IrError;
use evo_lang::ir::{Batch, Binary, Op, Type, Unary, Value, scalar};

use super::blocks;

type Made = Result<Value, IrError>;

fn code(params: usize, uniform: usize, body: impl FnOnce(&mut Builder, &[Value]) -> Made) -> RowFunction {
    let mut b = Builder::new("f", &vec![Type::Real; params + uniform]);
    let values = b.params().to_vec();
    let result = body(&mut b, &values).unwrap();
    let marks = (0..params + uniform).map(|i| i >= params).collect();
    let row = RowFunction { function: b.finish(result).unwrap(), uniform: marks };
    verify(&row).unwrap();
    row
}

fn column(rows: usize, k: usize, scale: f64) -> Vec<f64> {
    (0..rows).map(|i| f64::from((((i + 1) as f64 * (k as f64 + 1.37)).sin() * scale) as f32)).collect()
}

/// Both precisions, over columns of their own type: the outputs as doubles.
fn run(row: &RowFunction, rows: usize, inputs: &[Vec<f64>], precision: Precision) -> Vec<Vec<f64>> {
    let storage = if precision == Precision::Single { Storage::F32 } else { Storage::F64 };
    let outputs = vec![storage; row.columns().len()];
    let program = compile(row, precision, &vec![storage; inputs.len()], &outputs, &blocks()).unwrap();
    let single: Vec<Vec<f32>> = inputs.iter().map(|x| x.iter().map(|x| *x as f32).collect()).collect();
    let columns: Vec<Column<'_>> = row
        .uniform
        .iter()
        .zip(inputs.iter().zip(&single))
        .map(|(uniform, (wide, single))| match (uniform, precision) {
            (true, _) => Column::Number(wide[0]),
            (_, Precision::Single) => Column::F32(single),
            (_, Precision::Double) => Column::F64(wide),
        })
        .collect();
    let numbers = program.numbers();
    let mut wide: Vec<Vec<f64>> = numbers.iter().map(|n| vec![f64::NAN; if *n { 1 } else { rows }]).collect();
    let mut narrow: Vec<Vec<f32>> = numbers.iter().map(|n| vec![f32::NAN; if *n { 1 } else { rows }]).collect();
    let mut outs: Vec<ColumnMut<'_>> = wide
        .iter_mut()
        .zip(&mut narrow)
        .zip(&numbers)
        .map(|((wide, narrow), number)| match (number, precision) {
            (true, _) => ColumnMut::Number(&mut wide[0]),
            (_, Precision::Single) => ColumnMut::F32(narrow),
            (_, Precision::Double) => ColumnMut::F64(wide),
        })
        .collect();
    program.run(rows, &columns, &mut outs).unwrap();
    if precision == Precision::Single {
        for ((wide, narrow), _) in wide.iter_mut().zip(&narrow).zip(&numbers).filter(|(_, number)| !**number) {
            *wide = narrow.iter().map(|x| f64::from(*x)).collect();
        }
    }
    wide
}

/// The LRML loss over `z`, its slope and the mean of the loss, with `tau`: written by hand.
fn lrml() -> RowFunction {
    code(4, 2, |b, v| {
        let (beta, tau) = (v[4], v[5]);
        let (a, c) = (b.binary(Binary::Sub, v[0], v[2])?, b.binary(Binary::Sub, v[1], v[3])?);
        let rho = b.binary(Binary::Sub, a, c)?;
        let z = b.binary(Binary::Mul, beta, rho)?;
        let (one, minus) = (b.real(1.0)?, b.unary(Unary::Neg, z)?);
        let u = b.binary(Binary::Div, z, tau)?;
        let m = b.unary(Unary::Sigmoid, u)?;
        let rest = b.binary(Binary::Sub, one, m)?;
        let (sp, s, e) =
            (b.unary(Unary::Softplus, minus)?, b.unary(Unary::Sigmoid, minus)?, b.unary(Unary::Exp, minus)?);
        let (me, rs) = (b.binary(Binary::Mul, m, e)?, b.binary(Binary::Mul, rest, sp)?);
        let loss = b.binary(Binary::Add, rs, me)?;
        let total = mean(b, loss)?;
        let (gap, spread) = (b.binary(Binary::Sub, e, sp)?, b.binary(Binary::Mul, m, rest)?);
        let turn = b.binary(Binary::Mul, gap, spread)?;
        let turn = b.binary(Binary::Div, turn, tau)?;
        let fall = b.binary(Binary::Mul, rest, s)?;
        let fall = b.binary(Binary::Add, fall, me)?;
        let slope = b.binary(Binary::Sub, turn, fall)?;
        let up = b.binary(Binary::Mul, slope, beta)?;
        let down = b.unary(Unary::Neg, up)?;
        b.push(Op::Struct(vec![total, up, down]))
    })
}

fn near(found: &[Vec<f64>], expected: &[Vec<f64>], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len());
    for (k, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert_eq!(found.len(), expected.len(), "{what}, output {k}");
        let size = expected.iter().filter(|x| x.is_finite()).fold(1.0f64, |a, x| a.max(x.abs()));
        for (i, (a, b)) in found.iter().zip(expected).enumerate() {
            let same = a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= tolerance * size;
            assert!(same, "{what}, output {k}, row {i}: {a:e} for {b:e}");
        }
    }
}

#[test]
fn a_loss_and_its_slopes_are_the_interpreters_at_every_length() {
    let row = lrml();
    for rows in [1, 2, 63, 64, 65, 511, 512, 513, 1000, 65_536, 65_537, 140_000] {
        let mut inputs: Vec<Vec<f64>> = (0..4).map(|k| column(rows, k, 30.0)).collect();
        inputs.extend([vec![0.05], vec![0.0625]]);
        let slices: Vec<&[f64]> = inputs.iter().map(Vec::as_slice).collect();
        let expected = run_rows(&row, rows, &slices).unwrap();
        near(&run(&row, rows, &inputs, Precision::Single), &expected, 2e-5, "f32");
        let double = run(&row, rows, &inputs, Precision::Double);
        near(&double[..1], &expected[..1], 1e-12, "the f64 mean");
        // Beyond sums, double precision is that of scalar code to the bit.
        near(&double[1..], &expected[1..], 0.0, "f64");
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let row = lrml();
    for rows in [40_000, 300_001] {
        let mut inputs: Vec<Vec<f64>> = (0..4).map(|k| column(rows, k, 30.0)).collect();
        inputs.extend([vec![0.05], vec![0.05]]);
        let with = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| run(&row, rows, &inputs, Precision::Single))
        };
        let one = with(1);
        assert!(one == with(2) && one == with(5));
    }
}

#[test]
fn what_sees_all_rows_is_the_interpreters() {
    let row = code(2, 0, |b, v| {
        let middle = mean(b, v[0])?;
        let off = b.binary(Binary::Sub, v[0], middle)?;
        let square = b.binary(Binary::Mul, off, off)?;
        let spread = mean(b, square)?;
        let root = b.unary(Unary::Sqrt, spread)?;
        let scaled = b.binary(Binary::Div, off, root)?;
        let sorted = b.push(Op::Batch(Batch::Sort { key: scaled, value: v[1] }))?;
        let twice = b.binary(Binary::Add, sorted, v[0])?;
        let back = b.push(Op::Batch(Batch::Unsort { key: scaled, value: twice }))?;
        let count = b.push(Op::Batch(Batch::Count))?;
        b.push(Op::Struct(vec![back, count, sorted, spread]))
    });
    for rows in [1, 100, 513, 70_000] {
        let inputs: Vec<Vec<f64>> = (0..2).map(|k| column(rows, k, 3.0)).collect();
        let slices: Vec<&[f64]> = inputs.iter().map(Vec::as_slice).collect();
        let expected = run_rows(&row, rows, &slices).unwrap();
        near(&run(&row, rows, &inputs, Precision::Double), &expected, 1e-10, "f64");
    }
}

/// Formulas drawn at random from every operation of row code.
#[test]
fn random_formulas_are_the_interpreters() {
    let (unary, binary) = (Unary::ALL, Binary::ALL);
    for seed in 0..300u64 {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut draw = |n: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % n
        };
        let row = code(3, 1, |b, v| {
            let (mut reals, mut bools) = (v.to_vec(), Vec::new());
            reals.push(b.real(0.5)?);
            bools.push(b.binary(Binary::Lt, v[0], v[1])?);
            for _ in 0..30 {
                let (x, y, c) = (reals[draw(reals.len())], reals[draw(reals.len())], bools[draw(bools.len())]);
                match draw(8) {
                    0..3 => match unary[draw(unary.len())] {
                        Unary::Not => bools.push(b.unary(Unary::Not, c)?),
                        Unary::ToReal | Unary::ToInt => {}
                        op => reals.push(b.unary(op, x)?),
                    },
                    3..6 => match binary[draw(binary.len())] {
                        Binary::IntDiv | Binary::Rem => {}
                        op if op.is_comparison() => bools.push(b.binary(op, x, y)?),
                        op => reals.push(b.binary(op, x, y)?),
                    },
                    6 => reals.push(b.push(Op::Select { condition: c, then: x, otherwise: y })?),
                    _ => {
                        let other = bools[draw(bools.len())];
                        bools.push(b.binary(Binary::Eq, c, other)?);
                    }
                }
            }
            let last = reals.len() - 1;
            b.push(Op::Struct(vec![reals[last], reals[last - 1], reals[last / 2]]))
        });
        let rows = 65 + seed as usize;
        let mut inputs: Vec<Vec<f64>> = (0..3).map(|k| column(rows, k, 3.0)).collect();
        inputs[0][5] = f64::NAN;
        inputs[1][6] = f64::INFINITY;
        inputs[2][7] = -0.0;
        inputs.push(vec![1.75]);
        let slices: Vec<&[f64]> = inputs.iter().map(Vec::as_slice).collect();
        let expected = run_rows(&row, rows, &slices).unwrap();
        near(&run(&row, rows, &inputs, Precision::Double), &expected, 0.0, &format!("formula {seed}"));
        // Single precision finds its way around the same code; its values are tested function by function.
        let single = run(&row, rows, &inputs, Precision::Single);
        assert!(single.iter().zip(&expected).all(|(a, b)| a.len() == b.len()));
    }
}

#[test]
fn a_program_works_in_place_and_in_every_storage() {
    let row = code(2, 0, |b, v| {
        let sum = b.binary(Binary::Add, v[0], v[1])?;
        b.push(Op::Struct(vec![v[1], sum]))
    });
    for rows in [5, 512, 700] {
        for storage in [Storage::Bf16, Storage::F16] {
            let program = compile(&row, Precision::Single, &[storage; 2], &[storage; 2], &blocks()).unwrap();
            let one = if storage == Storage::Bf16 { 0x3F80 } else { 0x3C00 };
            let two = 0x4000; // in either
            let (mut first, mut second) = (vec![one; rows], vec![one; rows]);
            fn make(storage: Storage, x: &mut [u16]) -> ColumnMut<'_> {
                if storage == Storage::Bf16 { ColumnMut::Bf16(x) } else { ColumnMut::F16(x) }
            }
            let mut outputs = [make(storage, &mut first), make(storage, &mut second)];
            // Crosswise: each output's column is also an input.
            program.run(rows, &[Column::InPlace(1), Column::InPlace(0)], &mut outputs).unwrap();
            assert_eq!((first, second), (vec![one; rows], vec![two; rows]));
        }
        let program = compile(&row, Precision::Single, &[Storage::F32; 2], &[Storage::F32; 2], &blocks()).unwrap();
        let (mut first, mut second) = (vec![1f32; rows], vec![3f32; rows]);
        let mut outputs = [ColumnMut::F32(&mut first), ColumnMut::F32(&mut second)];
        program.run(rows, &[Column::InPlace(0), Column::InPlace(1)], &mut outputs).unwrap();
        assert_eq!((first, second), (vec![3.0; rows], vec![4.0; rows]));
        let program = compile(&row, Precision::Double, &[Storage::F32; 2], &[Storage::F64; 2], &blocks()).unwrap();
        let (mut first, mut second, x) = (vec![0f64; rows], vec![0f64; rows], vec![1f32; rows]);
        let mut outputs = [ColumnMut::F64(&mut first), ColumnMut::F64(&mut second)];
        program.run(rows, &[Column::F32(&x), Column::F32(&x)], &mut outputs).unwrap();
        assert_eq!((first, second), (vec![1.0; rows], vec![2.0; rows]));
    }
}

/// Reals of every magnitude and sign, those that break things among them.
fn all_reals() -> Vec<f64> {
    let special =
        [0.0, -0.0, 0.5, -0.5, 1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE, 5e-324, 1e6];
    let patterns = (0..40_000u64).map(|i| f64::from_bits(i.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
    let usual = (0..40_000).map(|i| f64::from(i - 20_000) * 0.003_7);
    special.into_iter().chain(patterns).chain(usual).collect()
}

fn same_reals(found: &[f64], expected: impl Iterator<Item = f64>, what: &str) {
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!(a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan(), "{what} of real {i}: {a:e}, not {b:e}");
    }
}

#[test]
fn double_precision_is_scalar_code_to_the_bit() {
    let reals = all_reals();
    let others: Vec<f64> = reals.iter().rev().copied().collect();
    let table = blocks().f64;
    let (mut out, mut also) = (vec![0.0; reals.len()], vec![0.0; reals.len()]);
    for op in Unary::ALL.into_iter().filter(|op| scalar::unary_real(*op, 1.0).is_some()) {
        (table.unary)(op)(&reals, &mut out);
        same_reals(&out, reals.iter().map(|x| scalar::unary_real(op, *x).unwrap()), op.name());
    }
    for op in [Binary::Add, Binary::Sub, Binary::Mul, Binary::Div, Binary::Pow, Binary::Min, Binary::Max] {
        (table.binary)(op)(&reals, &others, &mut out);
        let expected = reals.iter().zip(&others).map(|(a, b)| scalar::binary_real(op, *a, *b).unwrap());
        same_reals(&out, expected, op.name());
    }
    (table.softplus_and_sigmoid)(&reals, &mut out, &mut also);
    same_reals(&out, reals.iter().map(|x| scalar::math::softplus(*x)), "softplus");
    same_reals(&also, reals.iter().map(|x| scalar::math::sigmoid(*x)), "sigmoid");
    (table.mul_add)(&reals, &others, &[0.25], &mut out);
    same_reals(&out, reals.iter().zip(&others).map(|(a, b)| a * b + 0.25), "mul_add");
}

#[test]
fn a_program_of_two_sweeps_works_in_place() {
    // The first output is written by the first sweep, over what the second reads.
    let row = code(1, 0, |b, v| {
        let (middle, twice) = (mean(b, v[0])?, b.binary(Binary::Add, v[0], v[0])?);
        let off = b.binary(Binary::Sub, v[0], middle)?;
        b.push(Op::Struct(vec![twice, off]))
    });
    let program = compile(&row, Precision::Single, &[Storage::F32], &[Storage::F32; 2], &blocks()).unwrap();
    for rows in [4, 600] {
        let x: Vec<f32> = (0..rows).map(|i| (i % 4) as f32).collect();
        let (mut first, mut second) = (x.clone(), vec![0f32; rows]);
        let mut outputs = [ColumnMut::F32(&mut first), ColumnMut::F32(&mut second)];
        program.run(rows, &[Column::InPlace(0)], &mut outputs).unwrap();
        assert!(x.iter().zip(&first).zip(&second).all(|((x, twice), off)| *twice == x + x && *off == x - 1.5));
    }
}

#[test]
fn columns_that_do_not_fit_are_refused() {
    let row = code(1, 0, |_, v| Ok(v[0]));
    let program = compile(&row, Precision::Single, &[Storage::F32], &[Storage::F32], &blocks()).unwrap();
    let (x, mut out, wide) = (vec![0f32; 9], vec![0f32; 10], vec![0f64; 10]);
    assert!(program.run(10, &[Column::F32(&x)], &mut [ColumnMut::F32(&mut out)]).is_err());
    assert!(program.run(10, &[Column::F64(&wide)], &mut [ColumnMut::F32(&mut out)]).is_err());
    assert!(program.run(10, &[Column::InPlace(1)], &mut [ColumnMut::F32(&mut out)]).is_err());
    assert!(program.run(10, &[], &mut []).is_err());
    assert!(program.run(0, &[Column::F32(&[])], &mut [ColumnMut::F32(&mut [])]).is_ok());
}
