//! Checks that IR is well formed: every value defined once and before its uses, every operation well typed, every
//! call to an earlier function, every value of bounded size. Nothing is compiled or interpreted unverified.

use std::fmt;

use super::{Binary, Block, FuncId, Function, MAX_SLOTS, Module, Op, Type, Unary, Value};

/// Malformed IR: a mistake of the code that built it, never of a program; but for [`IrError::TooLarge`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IrError {
    /// What is wrong, and with which operation.
    Malformed(String),
    /// A value of more than [`MAX_SLOTS`] slots.
    TooLarge {
        /// Its slots.
        slots: u64,
    },
}

impl fmt::Display for IrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IrError::Malformed(what) => write!(f, "malformed numeric code: {what}"),
            IrError::TooLarge { slots } => write!(f, "a value of {slots} numbers; the limit is {MAX_SLOTS}"),
        }
    }
}

impl std::error::Error for IrError {}

pub(crate) fn malformed<T>(what: impl Into<String>) -> Result<T, IrError> {
    Err(IrError::Malformed(what.into()))
}

/// Checks a whole module.
///
/// # Errors
/// The first thing found wrong.
pub fn verify(module: &Module) -> Result<(), IrError> {
    for (index, function) in module.functions.iter().enumerate() {
        let known = module.functions.get(..index).unwrap_or(&[]);
        function_in(known, function, false)?;
    }
    Ok(())
}

/// Checks one function that stands after those of `known`; operations over rows only where `rows` says so.
pub(super) fn function_in(known: &[Function], function: &Function, rows: bool) -> Result<(), IrError> {
    let mut checker = Checker { known, function, rows, defined: vec![Definition::None; function.values.len()] };
    checker.block(&function.body)?;
    match function.input_slots() {
        slots if slots > MAX_SLOTS => Err(IrError::TooLarge { slots }),
        _ => Ok(()),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Definition {
    None,
    Visible,
    Gone,
}

struct Checker<'a> {
    known: &'a [Function],
    function: &'a Function,
    rows: bool,
    defined: Vec<Definition>,
}

impl Checker<'_> {
    fn define(&mut self, value: Value) -> Result<(), IrError> {
        match self.defined.get_mut(value.0 as usize) {
            Some(state @ Definition::None) => *state = Definition::Visible,
            Some(_) => return malformed(format!("v{} is defined twice", value.0)),
            None => return malformed(format!("v{} has no type", value.0)),
        }
        check_size(self.ty(value)?)
    }

    fn ty(&self, value: Value) -> Result<&Type, IrError> {
        match (self.defined.get(value.0 as usize), self.function.ty(value)) {
            (Some(Definition::Visible), Some(ty)) => Ok(ty),
            _ => malformed(format!("v{} is used where it is not defined", value.0)),
        }
    }

    fn block(&mut self, block: &Block) -> Result<(), IrError> {
        for param in &block.params {
            self.define(*param)?;
        }
        for step in &block.steps {
            self.nested(&step.op)?;
            if matches!(step.op, Op::Batch(_)) && !self.rows {
                return malformed("an operation over rows outside of row code");
            }
            let ty = op_type(&step.op, self.known, &|v| self.ty(v).cloned(), &|v| self.function.ty(v).cloned())?;
            self.define(step.value)?;
            if self.ty(step.value)? != &ty {
                return malformed(format!("v{} is declared with another type than its operation's", step.value.0));
            }
        }
        self.ty(block.result)?;
        Ok(())
    }

    /// Checks the blocks inside an operation, whose values are gone afterwards.
    fn nested(&mut self, op: &Op) -> Result<(), IrError> {
        let blocks: [Option<&Block>; 2] = match op {
            Op::If { then, otherwise, .. } => [Some(then), Some(otherwise)],
            Op::Build { body, .. } | Op::Fold { body, .. } => [Some(body), None],
            _ => return Ok(()),
        };
        for block in blocks.into_iter().flatten() {
            self.block(block)?;
            let own = block.params.iter().chain(block.steps.iter().map(|s| &s.value));
            for value in own {
                if let Some(state) = self.defined.get_mut(value.0 as usize) {
                    *state = Definition::Gone;
                }
            }
        }
        Ok(())
    }
}

fn check_size(ty: &Type) -> Result<(), IrError> {
    let slots = ty.slots();
    if slots > MAX_SLOTS { Err(IrError::TooLarge { slots }) } else { Ok(()) }
}

/// The type of what `op` defines. `ty` gives the type of an operand, `inner` that of a value inside `op`'s blocks.
pub(crate) fn op_type(
    op: &Op,
    functions: &[Function],
    ty: &dyn Fn(Value) -> Result<Type, IrError>,
    inner: &dyn Fn(Value) -> Option<Type>,
) -> Result<Type, IrError> {
    let yields = |block: &Block| inner(block.result).ok_or_else(|| IrError::Malformed("a block without result".into()));
    match op {
        Op::Int(_) => Ok(Type::Int),
        Op::Real(_) => Ok(Type::Real),
        Op::Bool(_) => Ok(Type::Bool),
        Op::Text(_) => Ok(Type::Text),
        Op::Unary(unary, x) => unary_type(*unary, &ty(*x)?),
        Op::Binary(binary, a, b) => binary_type(*binary, &ty(*a)?, &ty(*b)?),
        Op::Select { condition, then, otherwise } => {
            let chosen = ty(*then)?;
            want(ty(*condition)? == Type::Bool && chosen.is_scalar() && ty(*otherwise)? == chosen, "select")?;
            Ok(chosen)
        }
        Op::If { condition, then, otherwise } => {
            want(then.params.is_empty() && otherwise.params.is_empty(), "if")?;
            let result = yields(then)?;
            want(ty(*condition)? == Type::Bool && yields(otherwise)? == result, "if")?;
            Ok(result)
        }
        Op::Struct(fields) => Ok(Type::structure(fields.iter().map(|f| ty(*f)).collect::<Result<Vec<_>, _>>()?)),
        Op::Field(base, index) => match ty(*base)? {
            Type::Struct(fields) => {
                fields.get(*index as usize).cloned().ok_or_else(|| IrError::Malformed("field".into()))
            }
            _ => malformed("field"),
        },
        Op::Array(items) => {
            let Some(first) = items.first() else { return malformed("empty array") };
            let item = ty(*first)?;
            for other in items {
                want(ty(*other)? == item, "array")?;
            }
            Ok(Type::array(item, items.len() as u64))
        }
        Op::Index(base, index) => {
            want(ty(*index)? == Type::Int, "index")?;
            match ty(*base)? {
                Type::Array(item, _) => Ok((*item).clone()),
                _ => malformed("index"),
            }
        }
        Op::Build { len, body } => {
            want(param_types(body, inner) == [Type::Int], "build")?;
            Ok(Type::array(yields(body)?, *len))
        }
        Op::Fold { len: _, init, body } => {
            let state = ty(*init)?;
            want(param_types(body, inner) == [Type::Int, state.clone()] && yields(body)? == state, "fold")?;
            Ok(state)
        }
        Op::Call(id, args) => call_type(functions, *id, args, ty),
        Op::Batch(batch) => {
            for operand in batch.operands() {
                want(ty(operand)? == Type::Real, batch.name())?;
            }
            Ok(Type::Real)
        }
    }
}

fn param_types(block: &Block, inner: &dyn Fn(Value) -> Option<Type>) -> Vec<Type> {
    block.params.iter().filter_map(|p| inner(*p)).collect()
}

fn call_type(
    functions: &[Function],
    id: FuncId,
    args: &[Value],
    ty: &dyn Fn(Value) -> Result<Type, IrError>,
) -> Result<Type, IrError> {
    let Some(callee) = functions.get(id.0 as usize) else { return malformed("a call of a later function") };
    want(callee.body.params.len() == args.len(), "call")?;
    for (param, arg) in callee.params().zip(args) {
        want(&ty(*arg)? == param, "call")?;
    }
    callee.result().cloned().ok_or_else(|| IrError::Malformed("call".into()))
}

fn unary_type(op: Unary, x: &Type) -> Result<Type, IrError> {
    let (ok, result) = match op {
        Unary::Neg | Unary::Abs | Unary::Sign => (matches!(x, Type::Int | Type::Real), x.clone()),
        Unary::Not => (*x == Type::Bool, Type::Bool),
        Unary::ToReal => (*x == Type::Int, Type::Real),
        Unary::ToInt => (*x == Type::Real, Type::Int),
        _ => (*x == Type::Real, Type::Real),
    };
    want(ok, op.name())?;
    Ok(result)
}

fn binary_type(op: Binary, a: &Type, b: &Type) -> Result<Type, IrError> {
    let number = matches!(a, Type::Int | Type::Real);
    let ok = match op {
        Binary::Div | Binary::Pow => *a == Type::Real,
        Binary::IntDiv | Binary::Rem => *a == Type::Int,
        Binary::Eq | Binary::Ne => a.is_scalar(),
        _ => number,
    };
    want(ok && a == b, op.name())?;
    Ok(if op.is_comparison() { Type::Bool } else { a.clone() })
}

fn want(condition: bool, op: &str) -> Result<(), IrError> {
    if condition { Ok(()) } else { malformed(format!("wrong operands of `{op}`")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::Step;
    use crate::span::Span;

    fn module(values: Vec<Type>, params: Vec<Value>, ops: Vec<Op>, result: u32) -> Module {
        let first = params.len() as u32;
        let steps = ops
            .into_iter()
            .enumerate()
            .map(|(i, op)| Step { value: Value(first + i as u32), op, span: Span::default() })
            .collect();
        let body = Block { params, steps, result: Value(result) };
        Module { functions: vec![Function { name: "f".into(), values, body }] }
    }

    #[test]
    fn each_broken_form_is_refused() {
        let add = |a, b| Op::Binary(Binary::Add, Value(a), Value(b));
        let (int, real) = (Type::Int, Type::Real);
        assert_eq!(verify(&module(vec![int.clone(), int.clone()], vec![Value(0)], vec![add(0, 0)], 1)), Ok(()));
        let broken = [
            // Used before its definition; defined with another type; mixed operands; a result that is not there.
            module(vec![int.clone(), int.clone()], vec![Value(0)], vec![add(0, 1)], 1),
            module(vec![int.clone(), real.clone()], vec![Value(0)], vec![add(0, 0)], 1),
            module(vec![int.clone(), real, int.clone()], vec![Value(0), Value(1)], vec![add(0, 1)], 2),
            module(vec![int.clone()], vec![Value(0)], vec![], 7),
            // A call of itself; one value twice; a value of 2^25 slots.
            module(vec![int.clone(), int.clone()], vec![Value(0)], vec![Op::Call(FuncId(0), vec![Value(0)])], 1),
            module(vec![int.clone()], vec![Value(0), Value(0)], vec![], 0),
            module(vec![Type::array(int, 1 << 25)], vec![Value(0)], vec![], 0),
        ];
        for (i, case) in broken.iter().enumerate() {
            assert!(verify(case).is_err(), "case {i}");
        }
    }

    #[test]
    fn a_value_of_an_inner_block_is_gone_outside_of_it() {
        let step = |v, op| Step { value: Value(v), op, span: Span::default() };
        let body = Block { params: vec![Value(0)], steps: vec![step(1, Op::Int(1))], result: Value(1) };
        let outer = Block { params: vec![], steps: vec![step(2, Op::Build { len: 3, body })], result: Value(1) };
        let values = vec![Type::Int, Type::Int, Type::array(Type::Int, 3)];
        let module = Module { functions: vec![Function { name: "f".into(), values, body: outer }] };
        assert!(verify(&module).is_err());
    }
}
