//! Straight code: a function without calls, loops or branches, all of whose inner values are scalars.
//!
//! [`straighten`] runs a function's control, which is static, and keeps its arithmetic: calls are inlined, loops
//! unrolled, structs and arrays taken apart, branches whose condition is known taken. A branch whose condition is not
//! known becomes a selection of which both sides are computed; its sides may hold nothing that can fail. Equal steps
//! are made once and constants folded on the way, so that what is added later (slopes) shares what stands already.

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use super::builder::Builder;
use super::verify::IrError;
use super::{Batch, Binary, Block, Function, Module, Op, Type, Unary, Value, scalar};
use crate::span::Span;

/// The most steps that straight code has.
pub const MAX_STEPS: usize = 1 << 16;

/// Why code cannot be made straight.
#[derive(Clone, Debug, PartialEq)]
pub enum NotStraight {
    /// It would have more than [`MAX_STEPS`] steps.
    TooLong,
    /// Something that can fail stands where it may not: in a branch whose condition is not known, or in row code.
    CanFail(Span),
    /// An element of an array of aggregates is chosen by an index that is not known.
    Index(Span),
    /// The code was malformed to begin with.
    Malformed(IrError),
}

impl fmt::Display for NotStraight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotStraight::TooLong => write!(f, "unrolled, it has more than {MAX_STEPS} steps"),
            NotStraight::CanFail(_) => f.write_str("a step that can fail stands under a condition"),
            NotStraight::Index(_) => f.write_str("an index that is not known chooses among records or arrays"),
            NotStraight::Malformed(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for NotStraight {}

impl From<IrError> for NotStraight {
    fn from(error: IrError) -> Self {
        NotStraight::Malformed(error)
    }
}

type Made<T> = Result<T, NotStraight>;

/// A value while code is straightened.
#[derive(Clone, Debug)]
pub(super) enum Rep {
    Scalar(Value),
    Parts(Rc<[Rep]>),
}

impl Rep {
    /// Its scalars in order.
    pub(super) fn scalars(&self, into: &mut Vec<Value>) {
        match self {
            Rep::Scalar(value) => into.push(*value),
            Rep::Parts(parts) => parts.iter().for_each(|part| part.scalars(into)),
        }
    }
}

/// A constant.
#[derive(Clone, Copy, Debug)]
enum Known {
    Int(i64),
    Real(f64),
    Bool(bool),
}

/// Straight code under construction.
pub(super) struct Straight {
    pub(super) b: Builder,
    /// What each parameter is made of.
    pub(super) params: Vec<Rep>,
    /// The result so far.
    pub(super) result: Rep,
    result_type: Type,
    known: BTreeMap<Value, Known>,
    made: BTreeMap<String, Value>,
    /// For each value, whether it differs from row to row.
    row: Vec<bool>,
    in_rows: bool,
    conditions: usize,
    work: usize,
}

/// Straightens a module's entry. With `uniform` it is row code whose parameters are so marked.
pub(super) fn straighten(module: &Module, uniform: Option<&[bool]>) -> Made<Straight> {
    let malformed = || NotStraight::Malformed(IrError::Malformed("no entry".into()));
    let function = module.entry().and_then(|entry| module.function(entry)).ok_or_else(malformed)?;
    let types: Vec<Type> = function.params().cloned().collect();
    let b = Builder::new(function.name.clone(), &types);
    let mut s = Straight {
        row: types.iter().enumerate().map(|(i, _)| uniform.is_some_and(|u| u.get(i) != Some(&true))).collect(),
        b,
        params: Vec::new(),
        result: Rep::Parts(Rc::new([])),
        result_type: function.result().cloned().ok_or_else(malformed)?,
        known: BTreeMap::new(),
        made: BTreeMap::new(),
        in_rows: uniform.is_some(),
        conditions: 0,
        work: 0,
    };
    for (param, ty) in s.b.params().to_vec().into_iter().zip(&types) {
        let rep = s.open(param, ty)?;
        s.params.push(rep);
    }
    s.result = s.function(module, function, s.params.clone())?;
    Ok(s)
}

impl Straight {
    /// The function, which yields what the original did.
    pub(super) fn finish(mut self) -> Made<Function> {
        let (result, ty) = (self.result.clone(), self.result_type.clone());
        let result = self.close(&result, &ty)?;
        Ok(self.b.finish(result)?)
    }

    /// The result as one value, and the steps that stand now.
    pub(super) fn result_value(&mut self) -> Made<(Value, Vec<super::Step>)> {
        let (result, ty) = (self.result.clone(), self.result_type.clone());
        let steps = self.b.steps().to_vec();
        Ok((self.close(&result, &ty)?, steps))
    }

    /// Whether this is row code.
    pub(super) fn rows(&self) -> bool {
        self.in_rows
    }

    /// Takes a parameter apart.
    fn open(&mut self, value: Value, ty: &Type) -> Made<Rep> {
        let mut parts = Vec::new();
        match ty {
            Type::Array(item, len) => {
                for i in 0..*len {
                    let i = self.emit(Op::Int(i as i64))?;
                    let part = self.emit(Op::Index(value, i))?;
                    parts.push(self.open(part, item)?);
                }
            }
            Type::Struct(fields) => {
                for (i, field) in fields.iter().enumerate() {
                    let part = self.emit(Op::Field(value, i as u32))?;
                    parts.push(self.open(part, field)?);
                }
            }
            _ => return Ok(Rep::Scalar(value)),
        }
        Ok(Rep::Parts(parts.into()))
    }

    /// Puts a value of a type together.
    pub(super) fn close(&mut self, rep: &Rep, ty: &Type) -> Made<Value> {
        let parts = match rep {
            Rep::Scalar(value) => return Ok(*value),
            Rep::Parts(parts) => parts,
        };
        match ty {
            Type::Array(item, _) if !parts.is_empty() => {
                let parts = parts.iter().map(|part| self.close(part, item)).collect::<Made<Vec<_>>>()?;
                Ok(self.b.push(Op::Array(parts))?)
            }
            Type::Struct(fields) => {
                let parts =
                    parts.iter().zip(fields.iter()).map(|(p, ty)| self.close(p, ty)).collect::<Made<Vec<_>>>()?;
                Ok(self.b.push(Op::Struct(parts))?)
            }
            _ => Err(NotStraight::Malformed(IrError::Malformed("an empty array as a result".into()))),
        }
    }

    /// Whether a value differs from row to row.
    pub(super) fn is_row(&self, value: Value) -> bool {
        self.row.get(value.0 as usize) == Some(&true)
    }

    /// The real that a value is known to be.
    pub(super) fn real(&self, value: Value) -> Option<f64> {
        if let Some(Known::Real(x)) = self.known.get(&value) { Some(*x) } else { None }
    }

    fn spend(&mut self) -> Made<()> {
        self.work += 1;
        if self.work > 8 * MAX_STEPS || self.b.steps().len() > MAX_STEPS { Err(NotStraight::TooLong) } else { Ok(()) }
    }

    /// Adds a step, or finds the one that is there.
    pub(super) fn emit(&mut self, op: Op) -> Made<Value> {
        self.spend()?;
        if let Some(value) = self.same(&op) {
            return Ok(value);
        }
        let op = self.fold(&op).unwrap_or(op);
        let key = format!("{op:?}");
        if let Some(value) = self.made.get(&key) {
            return Ok(*value);
        }
        if (self.conditions > 0 || self.in_rows) && self.can_fail(&op) {
            return Err(NotStraight::CanFail(self.b.span));
        }
        let row = match op {
            Op::Batch(Batch::Sum(_) | Batch::Count) => false,
            _ => op.operands().iter().any(|v| self.is_row(*v)),
        };
        let known = match op {
            Op::Int(x) => Some(Known::Int(x)),
            Op::Real(x) => Some(Known::Real(x)),
            Op::Bool(x) => Some(Known::Bool(x)),
            _ => None,
        };
        let value = self.b.push(op)?;
        if let Some(known) = known {
            self.known.insert(value, known);
        }
        self.row.resize(value.0 as usize + 1, false);
        if let Some(slot) = self.row.get_mut(value.0 as usize) {
            *slot = row;
        }
        self.made.insert(key, value);
        Ok(value)
    }

    /// The operand that an operation passes on, bit for bit.
    fn same(&self, op: &Op) -> Option<Value> {
        match op {
            Op::Binary(Binary::Mul, x, one) | Op::Binary(Binary::Div, x, one) if self.real(*one) == Some(1.0) => {
                Some(*x)
            }
            Op::Binary(Binary::Mul, one, x) if self.real(*one) == Some(1.0) => Some(*x),
            Op::Select { then, otherwise, .. } if then == otherwise => Some(*then),
            Op::Select { condition, then, otherwise } => match self.known.get(condition)? {
                Known::Bool(holds) => Some(if *holds { *then } else { *otherwise }),
                _ => None,
            },
            Op::Batch(Batch::Sort { key, value } | Batch::Unsort { key, value })
                if !self.is_row(*key) || !self.is_row(*value) =>
            {
                Some(*value)
            }
            _ => None,
        }
    }

    fn fold(&self, op: &Op) -> Option<Op> {
        let known = |v: &Value| self.known.get(v).copied();
        Some(match op {
            Op::Unary(unary, x) => match (unary, known(x)?) {
                (Unary::Not, Known::Bool(x)) => Op::Bool(!x),
                (Unary::ToReal, Known::Int(x)) => Op::Real(x as f64),
                (Unary::ToInt, Known::Real(x)) => Op::Int(scalar::to_int(x).ok()?),
                (_, Known::Real(x)) => Op::Real(scalar::unary_real(*unary, x)?),
                (_, Known::Int(x)) => Op::Int(scalar::unary_int(*unary, x)?.ok()?),
                _ => return None,
            },
            Op::Binary(binary, a, b) => match (known(a)?, known(b)?) {
                (Known::Int(a), Known::Int(b)) => match scalar::compare(*binary, &a, &b) {
                    Some(truth) => Op::Bool(truth),
                    None => Op::Int(scalar::binary_int(*binary, a, b)?.ok()?),
                },
                (Known::Real(a), Known::Real(b)) => match scalar::compare(*binary, &a, &b) {
                    Some(truth) => Op::Bool(truth),
                    None => Op::Real(scalar::binary_real(*binary, a, b)?),
                },
                (Known::Bool(a), Known::Bool(b)) => Op::Bool(scalar::compare(*binary, &a, &b)?),
                _ => return None,
            },
            _ => return None,
        })
    }

    fn can_fail(&self, op: &Op) -> bool {
        let whole = |v: &Value| self.b.ty(*v) == Type::Int;
        match op {
            Op::Unary(Unary::ToInt, _) | Op::Index(..) => true,
            Op::Unary(Unary::Neg | Unary::Abs, x) => whole(x),
            Op::Binary(Binary::IntDiv | Binary::Rem, ..) => true,
            Op::Binary(Binary::Add | Binary::Sub | Binary::Mul, x, _) => whole(x),
            _ => false,
        }
    }

    fn function(&mut self, module: &Module, function: &Function, args: Vec<Rep>) -> Made<Rep> {
        let mut frame = Frame { module, values: vec![None; function.values.len()] };
        self.block(&mut frame, &function.body, args)
    }

    fn block(&mut self, frame: &mut Frame<'_>, block: &Block, args: Vec<Rep>) -> Made<Rep> {
        for (param, arg) in block.params.iter().zip(args) {
            frame.set(*param, arg);
        }
        for step in &block.steps {
            self.b.span = step.span;
            let rep = self.step(frame, &step.op)?;
            frame.set(step.value, rep);
        }
        frame.get(block.result)
    }

    fn step(&mut self, frame: &mut Frame<'_>, op: &Op) -> Made<Rep> {
        self.spend()?;
        Ok(match op {
            Op::If { condition, then, otherwise } => {
                let condition = frame.scalar(*condition)?;
                match self.known.get(&condition) {
                    Some(Known::Bool(true)) => self.block(frame, then, Vec::new())?,
                    Some(Known::Bool(false)) => self.block(frame, otherwise, Vec::new())?,
                    _ => {
                        self.conditions += 1;
                        let then = self.block(frame, then, Vec::new())?;
                        let otherwise = self.block(frame, otherwise, Vec::new())?;
                        self.conditions -= 1;
                        self.choose(condition, &then, &otherwise)?
                    }
                }
            }
            Op::Struct(parts) | Op::Array(parts) => {
                Rep::Parts(parts.iter().map(|part| frame.get(*part)).collect::<Made<_>>()?)
            }
            Op::Field(base, index) => frame.part(*base, *index as usize)?,
            Op::Index(base, index) => {
                let index = frame.scalar(*index)?;
                let known = match self.known.get(&index) {
                    Some(Known::Int(i)) => usize::try_from(*i).ok(),
                    _ => None,
                };
                match (known, frame.get(*base)?) {
                    (Some(i), Rep::Parts(parts)) if i < parts.len() => frame.part(*base, i)?,
                    (_, Rep::Parts(parts)) => self.any_of(&parts, index)?,
                    (_, scalar) => scalar,
                }
            }
            Op::Build { len, body } => {
                let mut items = Vec::new();
                for i in 0..*len {
                    let i = Rep::Scalar(self.emit(Op::Int(i as i64))?);
                    items.push(self.block(frame, body, vec![i])?);
                }
                Rep::Parts(items.into())
            }
            Op::Fold { len, init, body } => {
                let mut state = frame.get(*init)?;
                for i in 0..*len {
                    let i = Rep::Scalar(self.emit(Op::Int(i as i64))?);
                    state = self.block(frame, body, vec![i, state])?;
                }
                state
            }
            Op::Call(id, args) => {
                let args = args.iter().map(|arg| frame.get(*arg)).collect::<Made<_>>()?;
                let Some(callee) = frame.module.function(*id) else { return malformed() };
                self.function(frame.module, callee, args)?
            }
            scalar => self.scalar(frame, scalar)?,
        })
    }

    /// A step on scalars, its operands put in.
    fn scalar(&mut self, frame: &Frame<'_>, op: &Op) -> Made<Rep> {
        let mut op = op.clone();
        let mut refused = None;
        op.each_operand_mut(&mut |v| match frame.scalar(*v) {
            Ok(scalar) => *v = scalar,
            Err(error) => refused = Some(error),
        });
        match (refused, op) {
            (Some(error), _) => Err(error),
            // The sum of what is one for the batch.
            (None, Op::Batch(Batch::Sum(x))) => Ok(Rep::Scalar(self.over_rows(x)?)),
            (None, op) => Ok(Rep::Scalar(self.emit(op)?)),
        }
    }

    /// The sum of a value over all rows, whatever its level.
    pub(super) fn over_rows(&mut self, x: Value) -> Made<Value> {
        if self.is_row(x) {
            return self.emit(Op::Batch(Batch::Sum(x)));
        }
        let count = self.emit(Op::Batch(Batch::Count))?;
        self.emit(Op::Binary(Binary::Mul, x, count))
    }

    fn choose(&mut self, condition: Value, then: &Rep, otherwise: &Rep) -> Made<Rep> {
        match (then, otherwise) {
            (Rep::Scalar(then), Rep::Scalar(otherwise)) => {
                let select = Op::Select { condition, then: *then, otherwise: *otherwise };
                Ok(Rep::Scalar(self.emit(select)?))
            }
            (Rep::Parts(then), Rep::Parts(otherwise)) => {
                let parts = then.iter().zip(otherwise.iter()).map(|(t, o)| self.choose(condition, t, o));
                Ok(Rep::Parts(parts.collect::<Made<_>>()?))
            }
            _ => malformed(),
        }
    }

    /// The element at an index that is not known, or known to be outside.
    fn any_of(&mut self, parts: &[Rep], index: Value) -> Made<Rep> {
        let scalar = |rep: &Rep| if let Rep::Scalar(value) = rep { Some(*value) } else { None };
        match parts.iter().map(scalar).collect::<Option<Vec<Value>>>() {
            Some(items) if !items.is_empty() => {
                let array = self.emit(Op::Array(items))?;
                Ok(Rep::Scalar(self.emit(Op::Index(array, index))?))
            }
            _ => Err(NotStraight::Index(self.b.span)),
        }
    }
}

fn malformed<T>() -> Made<T> {
    Err(NotStraight::Malformed(IrError::Malformed("a value of an unexpected form".into())))
}

/// A function's values while it is straightened.
struct Frame<'a> {
    module: &'a Module,
    values: Vec<Option<Rep>>,
}

impl Frame<'_> {
    fn set(&mut self, value: Value, rep: Rep) {
        if let Some(slot) = self.values.get_mut(value.0 as usize) {
            *slot = Some(rep);
        }
    }

    fn get(&self, value: Value) -> Made<Rep> {
        match self.values.get(value.0 as usize) {
            Some(Some(rep)) => Ok(rep.clone()),
            _ => malformed(),
        }
    }

    fn scalar(&self, value: Value) -> Made<Value> {
        match self.values.get(value.0 as usize) {
            Some(Some(Rep::Scalar(value))) => Ok(*value),
            _ => malformed(),
        }
    }

    fn part(&self, base: Value, index: usize) -> Made<Rep> {
        match self.values.get(base.0 as usize) {
            Some(Some(Rep::Parts(parts))) => parts.get(index).cloned().map_or_else(malformed, Ok),
            _ => malformed(),
        }
    }
}
