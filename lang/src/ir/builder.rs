//! Makes a [`Function`] step by step: numbers values, infers their types, keeps the open blocks.

use std::sync::Arc;

use super::verify::{IrError, malformed, op_type};
use super::{Binary, Block, Function, Module, Op, Step, Type, Unary, Value};
use crate::span::Span;

/// A function under construction.
///
/// ```
/// use evo_lang::ir::{Binary, Module, Type, builder::Builder, interp, print};
/// let mut module = Module::default();
/// let mut b = Builder::new("twice", &[Type::Int]);
/// let x = b.params()[0];
/// let sum = b.binary(Binary::Add, x, x)?;
/// module.functions.push(b.finish(sum)?);
/// assert_eq!(interp::run(&module, module.entry().unwrap(), &[21]), Ok(vec![42]));
/// # Ok::<(), evo_lang::ir::verify::IrError>(())
/// ```
#[derive(Debug)]
pub struct Builder {
    name: Arc<str>,
    values: Vec<Type>,
    params: Vec<Value>,
    open: Vec<(Vec<Value>, Vec<Step>)>,
    steps: Vec<Step>,
    /// The place that new steps get.
    pub span: Span,
}

/// A state of a [`Builder`].
pub(crate) struct Mark {
    values: usize,
    params: usize,
    open: usize,
    steps: usize,
}

impl Builder {
    /// Begins a function.
    pub fn new(name: impl Into<Arc<str>>, params: &[Type]) -> Builder {
        let mut builder = Builder {
            name: name.into(),
            values: Vec::new(),
            params: Vec::new(),
            open: Vec::new(),
            steps: Vec::new(),
            span: Span::default(),
        };
        builder.params = params.iter().map(|ty| builder.fresh(ty.clone())).collect();
        builder
    }

    /// The parameters.
    pub fn params(&self) -> &[Value] {
        &self.params
    }

    /// Adds a parameter after those there are.
    pub fn add_param(&mut self, ty: Type) -> Value {
        let value = self.fresh(ty);
        self.params.push(value);
        value
    }

    /// The steps of the innermost open block so far.
    pub(crate) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Puts the parameters in another order.
    pub(crate) fn set_params(&mut self, params: Vec<Value>) {
        self.params = params;
    }

    /// The state to which [`Builder::rollback`] returns.
    pub(crate) fn mark(&self) -> Mark {
        Mark { values: self.values.len(), params: self.params.len(), open: self.open.len(), steps: self.steps.len() }
    }

    /// Undoes everything since `mark`: steps, blocks opened and left open, parameters.
    pub(crate) fn rollback(&mut self, mark: &Mark) {
        while self.open.len() > mark.open {
            if let Some((_, outer)) = self.open.pop() {
                self.steps = outer;
            }
        }
        self.steps.truncate(mark.steps);
        self.params.truncate(mark.params);
        self.values.truncate(mark.values);
    }

    /// The type of a value of this function.
    pub fn ty(&self, value: Value) -> Type {
        self.values.get(value.0 as usize).cloned().unwrap_or(Type::Struct(Arc::new([])))
    }

    fn fresh(&mut self, ty: Type) -> Value {
        self.values.push(ty);
        Value(self.values.len() as u32 - 1)
    }

    /// Adds a step. Calls go through [`Builder::call`].
    ///
    /// # Errors
    /// Operands that the operation does not take.
    pub fn push(&mut self, op: Op) -> Result<Value, IrError> {
        self.push_in(op, &[])
    }

    fn push_in(&mut self, op: Op, functions: &[Function]) -> Result<Value, IrError> {
        let values = &self.values;
        let lookup = |v: Value| values.get(v.0 as usize).cloned();
        let known = |v: Value| lookup(v).ok_or_else(|| IrError::Malformed(format!("no v{}", v.0)));
        let ty = op_type(&op, functions, &known, &lookup)?;
        let value = self.fresh(ty);
        self.steps.push(Step { value, op, span: self.span });
        Ok(value)
    }

    /// Adds a call of a function of `module`.
    ///
    /// # Errors
    /// Arguments of other types than the function's parameters.
    pub fn call(&mut self, module: &Module, id: super::FuncId, args: Vec<Value>) -> Result<Value, IrError> {
        self.push_in(Op::Call(id, args), &module.functions)
    }

    /// An `int` constant.
    ///
    /// # Errors
    /// None; like the other shorthands it returns what [`Builder::push`] returns.
    pub fn int(&mut self, value: i64) -> Result<Value, IrError> {
        self.push(Op::Int(value))
    }

    /// A `real` constant.
    ///
    /// # Errors
    /// None.
    pub fn real(&mut self, value: f64) -> Result<Value, IrError> {
        self.push(Op::Real(value))
    }

    /// A `bool` constant.
    ///
    /// # Errors
    /// None.
    pub fn bool(&mut self, value: bool) -> Result<Value, IrError> {
        self.push(Op::Bool(value))
    }

    /// A function of one scalar.
    ///
    /// # Errors
    /// An operand of the wrong type.
    pub fn unary(&mut self, op: Unary, x: Value) -> Result<Value, IrError> {
        self.push(Op::Unary(op, x))
    }

    /// A function of two scalars.
    ///
    /// # Errors
    /// Operands of wrong or different types.
    pub fn binary(&mut self, op: Binary, a: Value, b: Value) -> Result<Value, IrError> {
        self.push(Op::Binary(op, a, b))
    }

    /// Opens a block with params of these types.
    pub fn open(&mut self, params: &[Type]) -> Vec<Value> {
        let params: Vec<Value> = params.iter().map(|ty| self.fresh(ty.clone())).collect();
        self.open.push((params.clone(), std::mem::take(&mut self.steps)));
        params
    }

    /// Closes the innermost open block; it yields `result`.
    ///
    /// # Errors
    /// No block is open.
    pub fn close(&mut self, result: Value) -> Result<Block, IrError> {
        let Some((params, outer)) = self.open.pop() else { return malformed("no open block") };
        Ok(Block { params, steps: std::mem::replace(&mut self.steps, outer), result })
    }

    /// `[body(i) for i in 0..len]`.
    ///
    /// # Errors
    /// Those of `body`.
    pub fn build<E: From<IrError>>(
        &mut self,
        len: u64,
        body: impl FnOnce(&mut Builder, Value) -> Result<Value, E>,
    ) -> Result<Value, E> {
        let params = self.open(&[Type::Int]);
        let result = body(self, first(&params)?)?;
        let body = self.close(result)?;
        Ok(self.push(Op::Build { len, body })?)
    }

    /// Folds `body(index, accumulator)` over `0..len`.
    ///
    /// # Errors
    /// Those of `body`.
    pub fn fold<E: From<IrError>>(
        &mut self,
        len: u64,
        init: Value,
        body: impl FnOnce(&mut Builder, Value, Value) -> Result<Value, E>,
    ) -> Result<Value, E> {
        let params = self.open(&[Type::Int, self.ty(init)]);
        let state = params.get(1).copied().unwrap_or(init);
        let result = body(self, first(&params)?, state)?;
        let body = self.close(result)?;
        Ok(self.push(Op::Fold { len, init, body })?)
    }

    /// `if condition then … else …`.
    ///
    /// # Errors
    /// Those of the branches; branches of different types.
    pub fn branch<E: From<IrError>>(
        &mut self,
        condition: Value,
        then: impl FnOnce(&mut Builder) -> Result<Value, E>,
        otherwise: impl FnOnce(&mut Builder) -> Result<Value, E>,
    ) -> Result<Value, E> {
        self.open(&[]);
        let result = then(self)?;
        let then = self.close(result)?;
        self.open(&[]);
        let result = otherwise(self)?;
        let otherwise = self.close(result)?;
        Ok(self.push(Op::If { condition, then, otherwise })?)
    }

    /// Ends the function.
    ///
    /// # Errors
    /// A block is still open.
    pub fn finish(self, result: Value) -> Result<Function, IrError> {
        if !self.open.is_empty() {
            return malformed("an open block");
        }
        let body = Block { params: self.params, steps: self.steps, result };
        Ok(Function { name: self.name, values: self.values, body })
    }
}

fn first(params: &[Value]) -> Result<Value, IrError> {
    params.first().copied().ok_or_else(|| IrError::Malformed("a block without params".into()))
}
