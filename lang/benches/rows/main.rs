//! Row programs: DPO and LRML with both gradients, and a merge of bf16 values, for `tests/benches/rows/run.py`.
//!
//! Answers a line `CASE ROWS` with nanoseconds a row and a check sum, and `compile` with microseconds for a formula of
//! fifty operations. The block operations are taken by path, so that the bench builds without the tensor crates.

#![allow(unreachable_pub, dead_code, missing_docs, unused_crate_dependencies, reason = "modules of other members")]
#![allow(clippy::disallowed_types, clippy::unwrap_used, clippy::print_stdout, clippy::panic, reason = "a benchmark")]

extern crate self as evo_kernels;

use std::io::BufRead;
use std::time::Instant;

use evo_lang::codegen::rows::{Column, ColumnMut, Precision, RowProgram, Storage, compile};
use evo_lang::ir::builder::Builder;
use evo_lang::ir::rows::{RowFunction, mean};
use evo_lang::ir::verify::IrError;
use evo_lang::ir::{Binary, Op, Type, Unary, Value};

#[path = "../../../kernels/src/block/mod.rs"]
pub mod block;
#[path = "../../../stdlib/src/numeric/blocks.rs"]
mod blocks;

type Made = Result<Value, IrError>;

fn code(params: usize, body: impl FnOnce(&mut Builder, &[Value]) -> Made) -> RowFunction {
    let mut b = Builder::new("f", &vec![Type::Real; params]);
    let values = b.params().to_vec();
    let result = body(&mut b, &values).unwrap();
    RowFunction { function: b.finish(result).unwrap(), uniform: vec![false; params] }
}

const BETA: f64 = 0.05;
const TAU: f64 = 0.05;

/// Mean loss, and its gradients with respect to the chosen and the rejected log-probability.
fn loss(of: impl Fn(&mut Builder, Value) -> Result<(Value, Value), IrError>) -> RowFunction {
    code(4, |b, v| {
        let (a, c) = (b.binary(Binary::Sub, v[0], v[2])?, b.binary(Binary::Sub, v[1], v[3])?);
        let rho = b.binary(Binary::Sub, a, c)?;
        let beta = b.real(BETA)?;
        let z = b.binary(Binary::Mul, beta, rho)?;
        let (value, slope) = of(b, z)?;
        let total = mean(b, value)?;
        let count = b.push(Op::Batch(evo_lang::ir::Batch::Count))?;
        let share = b.binary(Binary::Div, beta, count)?;
        let up = b.binary(Binary::Mul, slope, share)?;
        let down = b.unary(Unary::Neg, up)?;
        b.push(Op::Struct(vec![total, up, down]))
    })
}

fn dpo(b: &mut Builder, z: Value) -> Result<(Value, Value), IrError> {
    let minus = b.unary(Unary::Neg, z)?;
    let slope = b.unary(Unary::Sigmoid, minus)?;
    Ok((b.unary(Unary::Softplus, minus)?, b.unary(Unary::Neg, slope)?))
}

fn lrml(b: &mut Builder, z: Value) -> Result<(Value, Value), IrError> {
    let (one, steep, minus) = (b.real(1.0)?, b.real(1.0 / TAU)?, b.unary(Unary::Neg, z)?);
    let u = b.binary(Binary::Mul, z, steep)?;
    let m = b.unary(Unary::Sigmoid, u)?;
    let rest = b.binary(Binary::Sub, one, m)?;
    let (sp, s, e) = (b.unary(Unary::Softplus, minus)?, b.unary(Unary::Sigmoid, minus)?, b.unary(Unary::Exp, minus)?);
    let (me, rs) = (b.binary(Binary::Mul, m, e)?, b.binary(Binary::Mul, rest, sp)?);
    let value = b.binary(Binary::Add, rs, me)?;
    let (gap, spread) = (b.binary(Binary::Sub, e, sp)?, b.binary(Binary::Mul, m, rest)?);
    let turn = b.binary(Binary::Mul, gap, spread)?;
    let turn = b.binary(Binary::Mul, turn, steep)?;
    let fall = b.binary(Binary::Mul, rest, s)?;
    let fall = b.binary(Binary::Add, fall, me)?;
    Ok((value, b.binary(Binary::Sub, turn, fall)?))
}

fn merge() -> RowFunction {
    code(3, |b, v| {
        let (x, y) = (b.binary(Binary::Sub, v[1], v[0])?, b.binary(Binary::Sub, v[2], v[0])?);
        let (most, w) = (b.binary(Binary::Max, x, y)?, b.real(0.3)?);
        let step = b.binary(Binary::Mul, w, most)?;
        b.binary(Binary::Add, v[0], step)
    })
}

/// Fifty operations on four columns.
fn fifty() -> RowFunction {
    code(4, |b, v| {
        let mut x = v[0];
        for i in 0..50 {
            let y = v[i % 4];
            x = match i % 5 {
                0 => b.binary(Binary::Mul, x, y)?,
                1 => b.binary(Binary::Add, x, y)?,
                2 => b.unary(Unary::Tanh, x)?,
                3 => b.binary(Binary::Max, x, y)?,
                _ => b.binary(Binary::Sub, y, x)?,
            };
        }
        Ok(x)
    })
}

/// The program of a loss, for columns of `f32`.
fn program(row: &RowFunction) -> RowProgram {
    compile(row, Precision::Single, &[Storage::F32; 4], &[Storage::F32; 3], &blocks::blocks()).unwrap()
}

/// Nanoseconds a call, over about 30 ms.
fn time(mut call: impl FnMut()) -> f64 {
    call();
    let mut rounds = 1;
    loop {
        let start = Instant::now();
        (0..rounds).for_each(|_| call());
        let taken = start.elapsed().as_secs_f64();
        if taken > 0.03 {
            return taken * 1e9 / f64::from(rounds);
        }
        rounds *= 2;
    }
}

fn measure_loss(row: &RowFunction, rows: usize) -> (f64, f64) {
    let column = |k: usize| -> Vec<f32> {
        (0..rows).map(|i| ((i * 7919 + k * 104_729) % 10_007) as f32 / 10_007.0 * 40.0 - 20.0).collect()
    };
    let columns: Vec<Vec<f32>> = (0..4).map(column).collect();
    let inputs: Vec<Column<'_>> = columns.iter().map(|c| Column::F32(c)).collect();
    let (mut up, mut down, mut total) = (vec![0f32; rows], vec![0f32; rows], 0.0);
    let program = program(row);
    let taken = time(|| {
        let mut outputs = [ColumnMut::Number(&mut total), ColumnMut::F32(&mut up), ColumnMut::F32(&mut down)];
        program.run(rows, &inputs, &mut outputs).unwrap();
    });
    (taken / rows as f64, total)
}

fn measure_merge(rows: usize) -> (f64, f64) {
    let column = |k: usize| -> Vec<u16> { (0..rows).map(|i| 0x3F00 + ((i * 7 + k * 31) % 251) as u16).collect() };
    let columns: Vec<Vec<u16>> = (0..3).map(column).collect();
    let inputs: Vec<Column<'_>> = columns.iter().map(|c| Column::Bf16(c)).collect();
    let mut out = vec![0u16; rows];
    let program = compile(&merge(), Precision::Single, &[Storage::Bf16; 3], &[Storage::Bf16], &blocks::blocks());
    let program = program.unwrap();
    let taken = time(|| program.run(rows, &inputs, &mut [ColumnMut::Bf16(&mut out)]).unwrap());
    (taken / rows as f64, f64::from(half::bf16::from_bits(out[rows / 2]).to_f32()))
}

/// As many bytes copied as the merge reads and writes.
fn measure_copy(rows: usize) -> (f64, f64) {
    use rayon::prelude::*;
    let from = vec![1u8; rows * 4];
    let mut to = vec![0u8; rows * 4];
    let share = 1 << 20;
    let taken = time(|| {
        to.par_chunks_mut(share).zip(from.par_chunks(share)).for_each(|(to, from)| to.copy_from_slice(from));
    });
    (taken / rows as f64, f64::from(to[rows]))
}

fn main() {
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let (case, rows) = line.split_once(' ').unwrap_or((&line, "0"));
        let rows: usize = rows.trim().parse().unwrap();
        let (taken, check) = match case {
            "dpo" => measure_loss(&loss(dpo), rows),
            "lrml" => measure_loss(&loss(lrml), rows),
            "merge" => measure_merge(rows),
            "copy" => measure_copy(rows),
            "compile" => {
                let row = fifty();
                let make = || {
                    compile(&row, Precision::Single, &[Storage::F32; 4], &[Storage::F32], &blocks::blocks()).unwrap();
                };
                (time(make) / 1e3, 0.0)
            }
            _ => panic!("no case {case}"),
        };
        println!("{taken} {check}");
    }
}
