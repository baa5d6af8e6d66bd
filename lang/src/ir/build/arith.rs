//! Arithmetic: operators and the library's numeric functions, elementwise over arrays.

use crate::hir::{BinaryOp, Expr};
use crate::ir::builder::Builder;
use crate::ir::verify::IrError;
use crate::ir::{Batch, Binary, Op, Type, Unary, Value, rows};
use crate::library::Extern;
use crate::span::Span;
use crate::types::Ty;

use super::{Body, Lowered, Lowering, Stop, array_len};

/// Whether a library function of this name is numeric code that the compiler knows, such as `sin` or `clamp`.
pub(in crate::ir) fn is_intrinsic(name: &str) -> bool {
    unary(name).is_some()
        || binary(name).is_some()
        || matches!(name, "clamp" | "where" | "sum" | "mean")
        || is_over_rows(name)
        || super::is_derivative(name)
}

/// Whether a library function of this name sees all rows of a batch.
pub(in crate::ir) fn is_over_rows(name: &str) -> bool {
    matches!(name, "batch_mean" | "batch_var" | "batch_sd" | "batch_sort" | "detach")
}

fn unary(name: &str) -> Option<Unary> {
    Some(match name {
        "abs" => Unary::Abs,
        "sign" => Unary::Sign,
        "floor" => Unary::Floor,
        "ceil" => Unary::Ceil,
        "round" => Unary::Round,
        "sqrt" => Unary::Sqrt,
        "exp" => Unary::Exp,
        "log" => Unary::Log,
        "sin" => Unary::Sin,
        "cos" => Unary::Cos,
        "tanh" => Unary::Tanh,
        "sigmoid" => Unary::Sigmoid,
        "log_sigmoid" => Unary::LogSigmoid,
        "softplus" => Unary::Softplus,
        "relu" => Unary::Relu,
        "erf" => Unary::Erf,
        _ => return None,
    })
}

fn binary(name: &str) -> Option<Binary> {
    Some(match name {
        "min" => Binary::Min,
        "max" => Binary::Max,
        "pow" => Binary::Pow,
        "div" => Binary::IntDiv,
        "rem" => Binary::Rem,
        _ => return None,
    })
}

/// Code for scalars.
type Scalar<'s> = &'s dyn Fn(&mut Builder, &[Value]) -> Result<Value, IrError>;

/// A whole number made a real; anything else stays.
fn to_real(b: &mut Builder, x: Value) -> Result<Value, IrError> {
    if b.ty(x) == Type::Int { b.unary(Unary::ToReal, x) } else { Ok(x) }
}

impl<'a> Lowering<'a, '_> {
    /// A library function that compiled code computes itself.
    pub(super) fn intrinsic(
        &mut self,
        f: &mut Body<'a>,
        ext: &Extern,
        args: &[&'a Expr],
        span: Span,
    ) -> Lowered<Value> {
        if !is_intrinsic(&ext.name) {
            return Err(Stop);
        }
        let x = self.all(f, args.iter().copied())?;
        f.b.span = span;
        let name = &*ext.name;
        if let (Some(op), [_]) = (unary(name), x.as_slice()) {
            let whole = matches!(ext.result, Ty::Int) && !matches!(op, Unary::Abs | Unary::Sign);
            return self.map(f, span, &x, &|b, x| {
                let x = if whole { to_real(b, x[0])? } else { x[0] };
                let y = b.unary(op, x)?;
                if whole { b.unary(Unary::ToInt, y) } else { Ok(y) }
            });
        }
        match (name, x.as_slice()) {
            ("min" | "max", [xs]) => self.reduce(f, *xs, binary(name).ok_or(Stop)?),
            ("sum", [xs]) => self.sum(f, *xs),
            ("mean", [xs]) => self.mean(f, *xs),
            (name, operands) if is_over_rows(name) => Ok(over_rows(&mut f.b, name, operands)?),
            ("clamp", [_, _, _]) => self.map(f, span, &x, &|b, x| {
                let low = bounded(b, Binary::Max, x[0], x[1])?;
                bounded(b, Binary::Min, low, x[2])
            }),
            ("where", [_, _, _]) => self.map(f, span, &x, &|b, x| {
                let same = b.ty(x[1]) == b.ty(x[2]);
                let (then, otherwise) = if same { (x[1], x[2]) } else { (to_real(b, x[1])?, to_real(b, x[2])?) };
                b.push(Op::Select { condition: x[0], then, otherwise })
            }),
            (_, [_, _]) => {
                let op = binary(name).ok_or(Stop)?;
                self.map(f, span, &x, &|b, x| pair(b, op, x[0], x[1]))
            }
            _ => Err(Stop),
        }
    }

    /// An operator on values; comparisons of arrays and records are for equality only.
    pub(super) fn operator(
        &mut self,
        f: &mut Body<'a>,
        op: BinaryOp,
        a: Value,
        b: Value,
        span: Span,
    ) -> Lowered<Value> {
        let op = match op {
            BinaryOp::Add => Binary::Add,
            BinaryOp::Sub => Binary::Sub,
            BinaryOp::Mul => Binary::Mul,
            BinaryOp::Div => Binary::Div,
            BinaryOp::Pow => Binary::Pow,
            BinaryOp::Eq => return equal(&mut f.b, a, b),
            BinaryOp::Ne => {
                let same = equal(&mut f.b, a, b)?;
                return Ok(f.b.unary(Unary::Not, same)?);
            }
            BinaryOp::Lt => Binary::Lt,
            BinaryOp::Le => Binary::Le,
            BinaryOp::Gt => Binary::Gt,
            BinaryOp::Ge => Binary::Ge,
            BinaryOp::And | BinaryOp::Or => return Err(Stop),
        };
        self.map(f, span, &[a, b], &|b, x| pair(b, op, x[0], x[1]))
    }

    /// `x ^ n` for a literal whole `n`: products for an int `x`, and for a real where at most three of them (each exact to
    /// rounding) stay within 4 ulp; the inverse for -1.
    pub(super) fn power(
        &mut self,
        f: &mut Body<'a>,
        x: Value,
        n: i64,
        exponent: &'a Expr,
        span: Span,
    ) -> Lowered<Value> {
        let whole = f.b.ty(x) == Type::Int && matches!(exponent.ty, Ty::Int);
        if whole && (0..=64).contains(&n) {
            f.b.span = span;
            return int_power(&mut f.b, x, n);
        }
        if matches!(n, -1 | 2..=4) {
            return self.map(f, span, &[x], &|b, x| {
                let x = to_real(b, x[0])?;
                if n == -1 {
                    let one = b.real(1.0)?;
                    return b.binary(Binary::Div, one, x);
                }
                let square = b.binary(Binary::Mul, x, x)?;
                match n {
                    3 => b.binary(Binary::Mul, square, x),
                    4 => b.binary(Binary::Mul, square, square),
                    _ => Ok(square),
                }
            });
        }
        let n = f.b.real(n as f64)?;
        self.map(f, span, &[x, n], &|b, x| pair(b, Binary::Pow, x[0], x[1]))
    }

    /// `op` over scalars, or elementwise over arrays of one length, scalars repeated.
    pub(super) fn map(&mut self, f: &mut Body<'a>, span: Span, values: &[Value], op: Scalar<'_>) -> Lowered<Value> {
        f.b.span = span;
        let mut lens = values.iter().filter_map(|v| array_len(&f.b, *v));
        let Some(len) = lens.next() else { return Ok(op(&mut f.b, values)?) };
        if lens.any(|other| other != len) {
            return Err(Stop);
        }
        let index = f.b.open(&[Type::Int]).first().copied().ok_or(Stop)?;
        let mut items = Vec::with_capacity(values.len());
        for value in values {
            let item = if array_len(&f.b, *value).is_some() { f.b.push(Op::Index(*value, index))? } else { *value };
            items.push(item);
        }
        let item = self.map(f, span, &items, op)?;
        let body = f.b.close(item)?;
        Ok(f.b.push(Op::Build { len, body })?)
    }

    /// The value with its whole numbers made reals where `ty` has reals.
    pub(super) fn coerce(&mut self, f: &mut Body<'a>, x: Value, ty: &Ty) -> Lowered<Value> {
        match (f.b.ty(x), ty) {
            (Type::Int, Ty::Real) => Ok(f.b.unary(Unary::ToReal, x)?),
            (Type::Array(_, len), Ty::Array(item, _) | Ty::List(item)) => {
                let index = f.b.open(&[Type::Int]).first().copied().ok_or(Stop)?;
                let element = f.b.push(Op::Index(x, index))?;
                let element = self.coerce(f, element, item)?;
                let body = f.b.close(element)?;
                Ok(f.b.push(Op::Build { len, body })?)
            }
            (Type::Struct(_), Ty::Tuple(items)) => {
                let mut fields = Vec::with_capacity(items.len());
                for (i, item) in items.iter().enumerate() {
                    let field = f.b.push(Op::Field(x, i as u32))?;
                    fields.push(self.coerce(f, field, item)?);
                }
                Ok(f.b.push(Op::Struct(fields))?)
            }
            _ => Ok(x),
        }
    }

    fn sum(&mut self, f: &mut Body<'a>, xs: Value) -> Lowered<Value> {
        let Type::Array(item, len) = f.b.ty(xs) else { return Err(Stop) };
        let zero = if *item == Type::Int { f.b.int(0)? } else { f.b.real(0.0)? };
        f.b.fold(len, zero, |b, i, sum| {
            let x = b.push(Op::Index(xs, i))?;
            Ok(b.binary(Binary::Add, sum, x)?)
        })
    }

    fn mean(&mut self, f: &mut Body<'a>, xs: Value) -> Lowered<Value> {
        let len = array_len(&f.b, xs).ok_or(Stop)?;
        let sum = self.sum(f, xs)?;
        let sum = to_real(&mut f.b, sum)?;
        let count = f.b.real(len as f64)?;
        Ok(f.b.binary(Binary::Div, sum, count)?)
    }

    /// The least or greatest of an array that is not empty.
    fn reduce(&mut self, f: &mut Body<'a>, xs: Value, op: Binary) -> Lowered<Value> {
        let len = array_len(&f.b, xs).filter(|len| *len > 0).ok_or(Stop)?;
        let zero = f.b.int(0)?;
        let first = f.b.push(Op::Index(xs, zero))?;
        f.b.fold(len, first, |b, i, best| {
            let x = b.push(Op::Index(xs, i))?;
            Ok(b.binary(op, best, x)?)
        })
    }
}

/// An operation on two scalars, as reals unless both are whole and the operation keeps them so.
fn pair(b: &mut Builder, op: Binary, x: Value, y: Value) -> Result<Value, IrError> {
    let real = matches!(op, Binary::Div | Binary::Pow) || b.ty(x) != b.ty(y);
    let (x, y) = if real { (to_real(b, x)?, to_real(b, y)?) } else { (x, y) };
    b.binary(op, x, y)
}

/// `x`, or the bound where `op` says so. At the bound it is `x` itself, whose slope passes there; NaN stays, of either.
fn bounded(b: &mut Builder, op: Binary, x: Value, bound: Value) -> Result<Value, IrError> {
    let (x, bound) = if b.ty(x) == b.ty(bound) { (x, bound) } else { (to_real(b, x)?, to_real(b, bound)?) };
    let inside = if op == Binary::Max { Binary::Ge } else { Binary::Le };
    let inside = b.binary(inside, x, bound)?;
    let otherwise = b.binary(op, x, bound)?;
    b.push(Op::Select { condition: inside, then: x, otherwise })
}

/// A statistic of a batch, or sorting, or a constant to differentiation.
fn over_rows(b: &mut Builder, name: &str, operands: &[Value]) -> Result<Value, IrError> {
    let operands = operands.iter().map(|x| to_real(b, *x)).collect::<Result<Vec<_>, _>>()?;
    match (name, operands.as_slice()) {
        ("batch_mean", [x]) => rows::mean(b, *x),
        ("batch_var", [x, ddof]) => rows::variance(b, *x, *ddof),
        ("batch_sd", [x, ddof]) => rows::deviation(b, *x, *ddof),
        ("batch_sort", [x]) => b.push(Op::Batch(Batch::Sort { key: *x, value: *x })),
        ("detach", [x]) => b.push(Op::Batch(Batch::Detach(*x))),
        _ => Err(IrError::Malformed(format!("`{name}` of {} operands", operands.len()))),
    }
}

/// Whether two values are the same in every part.
fn equal(b: &mut Builder, x: Value, y: Value) -> Lowered<Value> {
    match (b.ty(x), b.ty(y)) {
        (Type::Array(_, n), Type::Array(_, m)) if n == m => {
            let yes = b.bool(true)?;
            b.fold(n, yes, |b, i, same| {
                let (x, y) = (b.push(Op::Index(x, i))?, b.push(Op::Index(y, i))?);
                let item = equal(b, x, y)?;
                both(b, same, item)
            })
        }
        (Type::Struct(fields), Type::Struct(others)) if fields.len() == others.len() => {
            let mut same = b.bool(true)?;
            for i in 0..fields.len() as u32 {
                let (x, y) = (b.push(Op::Field(x, i))?, b.push(Op::Field(y, i))?);
                let field = equal(b, x, y)?;
                same = both(b, same, field)?;
            }
            Ok(same)
        }
        _ => Ok(pair(b, Binary::Eq, x, y)?),
    }
}

fn both(b: &mut Builder, x: Value, y: Value) -> Lowered<Value> {
    Ok(b.push(Op::Select { condition: x, then: y, otherwise: x })?)
}

/// Square and multiply, most significant bit first: no product is larger than the last.
fn int_power(b: &mut Builder, x: Value, n: i64) -> Lowered<Value> {
    let mut power = b.int(1)?;
    let mut begun = false;
    for bit in (0..7).rev() {
        if begun {
            power = b.binary(Binary::Mul, power, power)?;
        }
        if n >> bit & 1 == 1 {
            power = if begun { b.binary(Binary::Mul, power, x)? } else { x };
            begun = true;
        }
    }
    Ok(power)
}
