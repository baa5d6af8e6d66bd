//! The reference interpreter: the oracle that compiled code is held to. It walks the IR over structured values and
//! knows nothing of slots, frames or machine code, so that the two engines share no more than [`scalar`].

use std::sync::Arc;

use super::{
    Binary, Block, Fault, FuncId, Function, Module, NumericError, Op, Step, Type, Unary, Value, scalar, text_id,
};
use crate::span::Span;

mod rows;

pub use rows::run_rows;

/// A value while it is interpreted.
#[derive(Clone, Debug)]
enum Datum {
    Int(i64),
    Real(f64),
    Bool(bool),
    Text(u64),
    /// Elements of an array or fields of a struct.
    Parts(Arc<[Datum]>),
}

/// Runs a function on flat slots and returns its result's slots. The module must be verified.
///
/// # Errors
/// The first fault in the order of steps.
pub fn run(module: &Module, id: FuncId, inputs: &[u64]) -> Result<Vec<u64>, NumericError> {
    let here = |fault| NumericError { fault, span: Span::default() };
    let Some(function) = module.function(id) else {
        return Err(here(Fault::Slots { expected: 0, given: inputs.len() as u64 }));
    };
    if function.input_slots() != inputs.len() as u64 {
        return Err(here(Fault::Slots { expected: function.input_slots(), given: inputs.len() as u64 }));
    }
    let mut slots = inputs.iter().copied();
    let args: Vec<Datum> = function.params().map(|ty| read(ty, &mut slots)).collect();
    let result = call(module, function, &args)?;
    let mut out = Vec::new();
    write(&result, &mut out);
    Ok(out)
}

fn read(ty: &Type, slots: &mut impl Iterator<Item = u64>) -> Datum {
    match ty {
        Type::Int => Datum::Int(slots.next().unwrap_or_default() as i64),
        Type::Real => Datum::Real(f64::from_bits(slots.next().unwrap_or_default())),
        Type::Bool => Datum::Bool(slots.next().unwrap_or_default() != 0),
        Type::Text => Datum::Text(slots.next().unwrap_or_default()),
        Type::Array(item, len) => Datum::Parts((0..*len).map(|_| read(item, slots)).collect()),
        Type::Struct(fields) => Datum::Parts(fields.iter().map(|f| read(f, slots)).collect()),
    }
}

fn write(datum: &Datum, out: &mut Vec<u64>) {
    match datum {
        Datum::Int(value) => out.push(*value as u64),
        Datum::Real(value) => out.push(value.to_bits()),
        Datum::Bool(value) => out.push(u64::from(*value)),
        Datum::Text(value) => out.push(*value),
        Datum::Parts(parts) => parts.iter().for_each(|part| write(part, out)),
    }
}

fn call(module: &Module, function: &Function, args: &[Datum]) -> Result<Datum, NumericError> {
    let mut frame = Frame { module, values: vec![Datum::Bool(false); function.values.len()] };
    frame.block(&function.body, args)
}

struct Frame<'a> {
    module: &'a Module,
    values: Vec<Datum>,
}

impl Frame<'_> {
    fn set(&mut self, value: Value, datum: Datum) {
        if let Some(slot) = self.values.get_mut(value.0 as usize) {
            *slot = datum;
        }
    }

    fn get(&self, value: Value) -> Datum {
        self.values.get(value.0 as usize).cloned().unwrap_or(Datum::Bool(false))
    }

    fn all(&self, values: &[Value]) -> Arc<[Datum]> {
        values.iter().map(|v| self.get(*v)).collect()
    }

    fn truth(&self, value: Value) -> bool {
        matches!(self.get(value), Datum::Bool(true))
    }

    fn block(&mut self, block: &Block, args: &[Datum]) -> Result<Datum, NumericError> {
        for (param, arg) in block.params.iter().zip(args) {
            self.set(*param, arg.clone());
        }
        for step in &block.steps {
            let datum = self.step(step)?;
            self.set(step.value, datum);
        }
        Ok(self.get(block.result))
    }

    fn step(&mut self, step: &Step) -> Result<Datum, NumericError> {
        let raise = |fault| NumericError { fault, span: step.span };
        Ok(match &step.op {
            Op::Int(value) => Datum::Int(*value),
            Op::Real(value) => Datum::Real(*value),
            Op::Bool(value) => Datum::Bool(*value),
            Op::Text(text) => Datum::Text(text_id(text)),
            Op::Unary(op, x) => unary(*op, &self.get(*x)).map_err(raise)?,
            Op::Binary(op, a, b) => binary(*op, &self.get(*a), &self.get(*b)).map_err(raise)?,
            Op::Select { condition, then, otherwise } => {
                self.get(if self.truth(*condition) { *then } else { *otherwise })
            }
            Op::If { condition, then, otherwise } => {
                self.block(if self.truth(*condition) { then } else { otherwise }, &[])?
            }
            Op::Struct(parts) | Op::Array(parts) => Datum::Parts(self.all(parts)),
            Op::Field(base, index) => part(&self.get(*base), i64::from(*index)).map_err(raise)?,
            Op::Index(base, index) => {
                let Datum::Int(index) = self.get(*index) else { return Ok(Datum::Bool(false)) };
                part(&self.get(*base), index).map_err(raise)?
            }
            Op::Build { len, body } => {
                let mut items = Vec::new();
                for i in 0..*len {
                    items.push(self.block(body, &[Datum::Int(i as i64)])?);
                }
                Datum::Parts(items.into())
            }
            Op::Fold { len, init, body } => {
                let mut state = self.get(*init);
                for i in 0..*len {
                    state = self.block(body, &[Datum::Int(i as i64), state])?;
                }
                state
            }
            Op::Call(id, args) => match self.module.function(*id) {
                Some(function) => call(self.module, function, &self.all(args))?,
                None => Datum::Bool(false),
            },
            // Verified code of one row has none; see [`run_rows`].
            Op::Batch(_) => Datum::Bool(false),
        })
    }
}

fn part(base: &Datum, index: i64) -> Result<Datum, Fault> {
    let Datum::Parts(parts) = base else { return Ok(Datum::Bool(false)) };
    let found = usize::try_from(index).ok().and_then(|i| parts.get(i));
    found.cloned().ok_or(Fault::Index { index, len: parts.len() as u64 })
}

/// Operands of verified code always fit; what would not is answered with `false`.
fn unary(op: Unary, x: &Datum) -> Result<Datum, Fault> {
    Ok(match (op, x) {
        (Unary::Not, Datum::Bool(x)) => Datum::Bool(!x),
        (Unary::ToReal, Datum::Int(x)) => Datum::Real(*x as f64),
        (Unary::ToInt, Datum::Real(x)) => Datum::Int(scalar::to_int(*x)?),
        (_, Datum::Real(x)) => scalar::unary_real(op, *x).map_or(Datum::Bool(false), Datum::Real),
        (_, Datum::Int(x)) => match scalar::unary_int(op, *x) {
            Some(result) => Datum::Int(result?),
            None => Datum::Bool(false),
        },
        _ => Datum::Bool(false),
    })
}

fn binary(op: Binary, a: &Datum, b: &Datum) -> Result<Datum, Fault> {
    let compared = match (a, b) {
        (Datum::Int(a), Datum::Int(b)) => scalar::compare(op, a, b),
        (Datum::Real(a), Datum::Real(b)) => scalar::compare(op, a, b),
        (Datum::Bool(a), Datum::Bool(b)) => scalar::compare(op, a, b),
        (Datum::Text(a), Datum::Text(b)) => scalar::compare(op, a, b),
        _ => None,
    };
    if let Some(truth) = compared {
        return Ok(Datum::Bool(truth));
    }
    Ok(match (a, b) {
        (Datum::Real(a), Datum::Real(b)) => scalar::binary_real(op, *a, *b).map_or(Datum::Bool(false), Datum::Real),
        (Datum::Int(a), Datum::Int(b)) => match scalar::binary_int(op, *a, *b) {
            Some(result) => Datum::Int(result?),
            None => Datum::Bool(false),
        },
        _ => Datum::Bool(false),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::builder::Builder;

    #[test]
    fn an_index_outside_names_itself_the_length_and_the_place() {
        let mut b = Builder::new("f", &[Type::array(Type::Real, 3), Type::Int]);
        b.span = Span { start: 4, end: 9, ..Span::default() };
        let item = b.push(Op::Index(b.params()[0], b.params()[1])).unwrap();
        let module = Module { functions: vec![b.finish(item).unwrap()] };
        let bits = |x: f64| x.to_bits();
        let inputs = |i: i64| [bits(1.0), bits(2.0), bits(3.0), i as u64];
        assert_eq!(run(&module, FuncId(0), &inputs(2)), Ok(vec![bits(3.0)]));
        for index in [3, -1] {
            let error = run(&module, FuncId(0), &inputs(index)).unwrap_err();
            assert_eq!(error.fault, Fault::Index { index, len: 3 });
            assert_eq!(error.span.start, 4);
        }
    }

    #[test]
    fn only_the_chosen_branch_runs() {
        let mut b = Builder::new("f", &[Type::Int]);
        let x = b.params()[0];
        let zero = b.int(0).unwrap();
        let is_zero = b.binary(Binary::Eq, x, zero).unwrap();
        let ten = b.int(10).unwrap();
        let result =
            b.branch(is_zero, |_| Ok::<_, crate::ir::verify::IrError>(zero), |b| b.binary(Binary::IntDiv, ten, x));
        let module = Module { functions: vec![b.finish(result.unwrap()).unwrap()] };
        assert_eq!(run(&module, FuncId(0), &[0]), Ok(vec![0]));
        assert_eq!(run(&module, FuncId(0), &[5]), Ok(vec![2]));
    }
}
