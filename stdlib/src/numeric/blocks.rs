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
        prefetch: block::prefetch,
        share,
    }
}

fn share(count: usize, run: &(dyn Fn(usize) + Sync)) {
    (0..count).into_par_iter().with_max_len(1).for_each(run);
}

/// The functions of one element type: those that its table has, those given, and powers.
macro_rules! functions {
    ($unary:ident, $binary:ident, $table:ident, $float:ident, $pow:expr, $($op:ident $function:expr;)*) => {
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
                Unary::Relu => table.relu,
                $(Unary::$op => $function,)*
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
                Binary::Pow => $pow,
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

functions! { single_unary, single_binary, singles, f32, singles().pow,
    Exp singles().exp;
    Log singles().log;
    Sin singles().sin;
    Cos singles().cos;
    Tanh singles().tanh;
    Sigmoid singles().sigmoid;
    LogSigmoid singles().log_sigmoid;
    Softplus singles().softplus;
    Erf singles().erf;
}

// In double precision, what is no single instruction is computed as scalar code computes it, to the bit.
functions! { double_unary, double_binary, doubles, f64, pow,
    Exp |x, out| each(Unary::Exp, x, out);
    Log |x, out| each(Unary::Log, x, out);
    Sin |x, out| each(Unary::Sin, x, out);
    Cos |x, out| each(Unary::Cos, x, out);
    Tanh |x, out| each(Unary::Tanh, x, out);
    Sigmoid |x, out| each(Unary::Sigmoid, x, out);
    LogSigmoid |x, out| each(Unary::LogSigmoid, x, out);
    Softplus |x, out| each(Unary::Softplus, x, out);
    Erf |x, out| each(Unary::Erf, x, out);
}

#[inline(always)]
fn each(op: Unary, x: &[f64], out: &mut [f64]) {
    for (y, x) in out.iter_mut().zip(x) {
        *y = scalar::unary_real(op, *x).unwrap_or(f64::NAN);
    }
}

fn pow(a: &[f64], b: &[f64], out: &mut [f64]) {
    for ((y, a), b) in out.iter_mut().zip(a.iter().cycle()).zip(b.iter().cycle()) {
        *y = scalar::binary_real(Binary::Pow, *a, *b).unwrap_or(f64::NAN);
    }
}

fn softplus_and_sigmoid(x: &[f64], first: &mut [f64], second: &mut [f64]) {
    each(Unary::Softplus, x, first);
    each(Unary::Sigmoid, x, second);
}
