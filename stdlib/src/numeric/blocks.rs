//! Joins the block operations of `evo_kernels` to the table that compiled row code calls.

use evo_kernels::block::{self, doubles, singles};
use evo_lang::codegen::rows::{Blocks, Map1, Map2, Table};
use evo_lang::ir::{Binary, Unary, scalar};
use rayon::prelude::*;

/// The block operations for this machine, and rayon's threads.
pub fn blocks() -> Blocks {
    Blocks {
        f32: Table {
            unary: single_unary,
            binary: single_binary,
            mul_add: singles().mul_add,
            select: singles().select,
            softplus_and_sigmoid: singles().softplus_and_sigmoid,
            sum: singles().sum,
        },
        f64: Table {
            unary: double_unary,
            binary: double_binary,
            mul_add: doubles().mul_add,
            select: doubles().select,
            softplus_and_sigmoid,
            sum: doubles().sum,
        },
        load_bf16: singles().load_bf16,
        store_bf16: singles().store_bf16,
        load_f16: block::load_f16,
        store_f16: block::store_f16,
        share,
    }
}

fn share(count: usize, run: &(dyn Fn(usize) + Sync)) {
    (0..count).into_par_iter().with_max_len(1).for_each(run);
}

macro_rules! functions {
    ($unary:ident, $binary:ident, $table:ident, $float:ident) => {
        fn $unary(op: Unary) -> Map1<$float> {
            let table = $table();
            match op {
                Unary::Neg => table.neg,
                Unary::Abs => table.abs,
                Unary::Sign => table.sign,
                Unary::Floor => table.floor,
                Unary::Ceil => table.ceil,
                Unary::Round => table.round,
                Unary::Sqrt => table.sqrt,
                Unary::Exp => table.exp,
                Unary::Log => table.log,
                Unary::Sin => table.sin,
                Unary::Cos => table.cos,
                Unary::Tanh => table.tanh,
                Unary::Sigmoid => table.sigmoid,
                Unary::LogSigmoid => table.log_sigmoid,
                Unary::Softplus => table.softplus,
                Unary::Relu => table.relu,
                Unary::Erf => table.erf,
                // Row code is lowered without these.
                Unary::Not | Unary::ToReal | Unary::ToInt => |x, out| out.copy_from_slice(x),
            }
        }

        fn $binary(op: Binary) -> Map2<$float> {
            let table = $table();
            match op {
                Binary::Add => table.add,
                Binary::Sub => table.sub,
                Binary::Mul => table.mul,
                Binary::Div | Binary::IntDiv | Binary::Rem => table.div,
                Binary::Pow => table.pow,
                Binary::Min => table.min,
                Binary::Max => table.max,
                Binary::Eq => table.eq,
                Binary::Ne => table.ne,
                Binary::Lt | Binary::Gt => table.lt,
                Binary::Le | Binary::Ge => table.le,
            }
        }
    };
}

functions!(single_unary, single_binary, singles, f32);
functions!(plain_unary, plain_binary, doubles, f64);

/// In double precision, what is no single instruction is computed as scalar code computes it, to the bit.
macro_rules! scalar_functions {
    ($($name:ident $op:ident;)*) => {
        $(fn $name(x: &[f64], out: &mut [f64]) {
            for (y, x) in out.iter_mut().zip(x) {
                *y = scalar::unary_real(Unary::$op, *x).unwrap_or(f64::NAN);
            }
        })*

        fn double_unary(op: Unary) -> Map1<f64> {
            match op {
                $(Unary::$op => $name,)*
                op => plain_unary(op),
            }
        }
    };
}

scalar_functions! {
    exp Exp;
    log Log;
    sin Sin;
    cos Cos;
    tanh Tanh;
    sigmoid Sigmoid;
    log_sigmoid LogSigmoid;
    softplus Softplus;
    erf Erf;
}

fn double_binary(op: Binary) -> Map2<f64> {
    if op == Binary::Pow { pow } else { plain_binary(op) }
}

fn pow(a: &[f64], b: &[f64], out: &mut [f64]) {
    for ((y, a), b) in out.iter_mut().zip(a.iter().cycle()).zip(b.iter().cycle()) {
        *y = scalar::binary_real(Binary::Pow, *a, *b).unwrap_or(f64::NAN);
    }
}

fn softplus_and_sigmoid(x: &[f64], first: &mut [f64], second: &mut [f64]) {
    softplus(x, first);
    sigmoid(x, second);
}
