//! Row code over columns: a list of block operations for each sweep over the rows.
//!
//! [`compile`] turns a [`RowFunction`] into a [`RowProgram`]. Row values are computed block by block, [`BLOCK`] rows at
//! a time, by operations that work on *tiles*, which stay in the first-level cache; uniform values are computed once,
//! in double precision, between the sweeps. The operations are not made here: they are vector code, compiled ahead of
//! time for several instruction sets, and reach the language as a table of function pointers, [`Blocks`], that its
//! caller gives. [`lower`] makes the lists, [`uniform`] computes what is one for the batch, [`run`] walks the blocks.
//!
//! Results are the same for any number of threads: a row depends on its own inputs and the uniform values alone, and
//! sums are taken block by block, then over chunks of blocks in order, whoever computed them.

use crate::codegen::CompileError;
use crate::ir::rows::RowFunction;
use crate::ir::{Binary, Unary};

mod lower;
mod run;
mod uniform;

pub use run::RowProgram;

/// Rows of a block.
pub const BLOCK: usize = 512;
/// Blocks are padded to a multiple of this many rows, so that operations have no remainder.
pub const LANES: usize = 64;
/// Rows of a chunk, the share of work that one thread takes at a time.
pub const CHUNK: usize = 128 * BLOCK;

/// A function of one operand, as long as the output.
pub type Map1<T> = fn(&[T], &mut [T]);
/// A function of two operands. An operand is as long as the output, or one element that stands for all rows.
pub type Map2<T> = fn(&[T], &[T], &mut [T]);
/// A function of three operands, as of two.
pub type Map3<T> = fn(&[T], &[T], &[T], &mut [T]);

/// The block operations of one float type. Truth values are 1 and 0.
#[derive(Clone, Copy)]
pub struct Table<T> {
    /// Functions of one real; never asked for `not`, `to_real` and `to_int`.
    pub unary: fn(Unary) -> Map1<T>,
    /// Functions of two reals; never asked for whole-number division, `gt` and `ge`.
    pub binary: fn(Binary) -> Map2<T>,
    /// `a · b + c`, rounded after each.
    pub mul_add: Map3<T>,
    /// The second operand where the first is not 0, else the third.
    pub select: Map3<T>,
    /// `softplus` and `sigmoid` of one operand, which is as long as the outputs.
    pub softplus_and_sigmoid: fn(&[T], &mut [T], &mut [T]),
    /// The sum of a block in a fixed order, with an error below that of so many roundings of `T`.
    pub sum: fn(&[T]) -> f64,
}

/// Everything that row programs call: block operations, loads and stores, and threads.
#[derive(Clone, Copy)]
pub struct Blocks {
    /// Single precision.
    pub f32: Table<f32>,
    /// Double precision.
    pub f64: Table<f64>,
    /// The bits of `bf16` to `f32`.
    pub load_bf16: fn(&[u16], &mut [f32]),
    /// `f32` to the bits of the nearest `bf16`.
    pub store_bf16: fn(&[f32], &mut [u16]),
    /// The bits of `f16` to `f32`.
    pub load_f16: fn(&[u16], &mut [f32]),
    /// `f32` to the bits of the nearest `f16`.
    pub store_f16: fn(&[f32], &mut [u16]),
    /// Asks for the cache lines of so many bytes from an address on, which need not be one of memory; with `true`, to
    /// write them.
    pub prefetch: fn(*const u8, usize, bool),
    /// Calls the closure with each of `0..n`, on as many threads as there are.
    pub share: fn(usize, &(dyn Fn(usize) + Sync)),
}

/// The element type of a column in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Storage {
    /// 32-bit float.
    F32,
    /// 64-bit float.
    F64,
    /// Brain float, as bits.
    Bf16,
    /// Half float, as bits.
    F16,
}

/// The float type that row values are computed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Precision {
    /// `f32`.
    Single,
    /// `f64`.
    Double,
}

/// What an input parameter reads.
#[derive(Clone, Copy, Debug)]
pub enum Column<'a> {
    /// One number for all rows; a bool as 0 or 1.
    Number(f64),
    /// A column.
    F32(&'a [f32]),
    /// A column.
    F64(&'a [f64]),
    /// A column, as bits.
    Bf16(&'a [u16]),
    /// A column, as bits.
    F16(&'a [u16]),
    /// What the output column of this index holds before: the program works in place.
    InPlace(usize),
}

/// Where an output goes.
#[derive(Debug)]
pub enum ColumnMut<'a> {
    /// One number, for an output that is uniform.
    Number(&'a mut f64),
    /// A column.
    F32(&'a mut [f32]),
    /// A column.
    F64(&'a mut [f64]),
    /// A column, as bits.
    Bf16(&'a mut [u16]),
    /// A column, as bits.
    F16(&'a mut [u16]),
}

/// Columns that do not fit a row program: a mistake of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit(pub String);

impl std::fmt::Display for Misfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "columns that do not fit the code: {}", self.0)
    }
}

impl std::error::Error for Misfit {}

/// Compiles row code for columns of given storage: one entry a parameter and one an output, of which those that are
/// uniform are not looked at.
///
/// # Errors
/// Malformed row code.
pub fn compile(
    row: &RowFunction,
    precision: Precision,
    inputs: &[Storage],
    outputs: &[Storage],
    blocks: &Blocks,
) -> Result<RowProgram, CompileError> {
    crate::ir::rows::verify(row)?;
    let layout = lower::Layout { inputs, outputs };
    Ok(match precision {
        Precision::Single => RowProgram::single(lower::lower(row, &layout, &blocks.f32)?, blocks),
        Precision::Double => RowProgram::double(lower::lower(row, &layout, &blocks.f64)?, blocks),
    })
}
