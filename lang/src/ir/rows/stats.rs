//! Batch statistics, built from sums and the number of rows.
//!
//! Each takes any real of row code under construction; of a value that is one for the batch, [`crate::ir::straight`]
//! writes the sum as a product.

use crate::ir::builder::Builder;
use crate::ir::verify::IrError;
use crate::ir::{Batch, Binary, Op, Unary, Value};

/// The mean over all rows. NaN for no rows.
///
/// # Errors
/// An operand that is not real.
pub fn mean(b: &mut Builder, x: Value) -> Result<Value, IrError> {
    let sum = b.push(Op::Batch(Batch::Sum(x)))?;
    let count = b.push(Op::Batch(Batch::Count))?;
    b.binary(Binary::Div, sum, count)
}

/// The variance over all rows: squared distances from the mean, summed in a second sweep, over `n - ddof`. With
/// `ddof` 0 it is the population's, with 1 the sample's. Of `ddof` rows or fewer it is NaN or infinite, as division
/// by zero is.
///
/// # Errors
/// Operands that are not real.
pub fn variance(b: &mut Builder, x: Value, ddof: Value) -> Result<Value, IrError> {
    let count = b.push(Op::Batch(Batch::Count))?;
    let middle = mean(b, x)?;
    let off = b.binary(Binary::Sub, x, middle)?;
    let square = b.binary(Binary::Mul, off, off)?;
    let squares = b.push(Op::Batch(Batch::Sum(square)))?;
    let degrees = b.binary(Binary::Sub, count, ddof)?;
    b.binary(Binary::Div, squares, degrees)
}

/// The standard deviation over all rows: the root of [`variance`]. Its slope at zero spread is 0: the root is taken of
/// 1 there, on a branch not taken.
///
/// # Errors
/// Operands that are not real.
pub fn deviation(b: &mut Builder, x: Value, ddof: Value) -> Result<Value, IrError> {
    let variance = variance(b, x, ddof)?;
    let (zero, one) = (b.real(0.0)?, b.real(1.0)?);
    let none = b.binary(Binary::Eq, variance, zero)?;
    let safe = b.push(Op::Select { condition: none, then: one, otherwise: variance })?;
    let root = b.unary(Unary::Sqrt, safe)?;
    b.push(Op::Select { condition: none, then: zero, otherwise: root })
}
