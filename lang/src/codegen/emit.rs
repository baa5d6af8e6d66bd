//! Translates one IR function to Cranelift IR.
//!
//! Scalars are SSA values. So are the parts of a struct, and of a short array that is indexed by constants alone; other
//! arrays, and what holds them, are memory that is written once and then only read. Memory made inside a loop is made
//! again in the next round, so a value that outlives its round (an element, an accumulator) is copied out.
//!
//! Here are values, steps and faults; [`memory`](super::memory) loads, stores and copies; [`control`](super::control)
//! makes branches, loops and calls.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self as clif, InstBuilder, types};
use cranelift_frontend::FunctionBuilder;

use super::CompileError;
use super::memory::{Place, flags};
use super::pairs::{self, Sums};
use super::unit::Unit;
use crate::ir::ranges::Faults;
use crate::ir::verify::IrError;
use crate::ir::{Binary, Block, Fault, Function, NumericError, Op, Step, Type, Value, text_id};
use crate::span::Span;

/// Aggregates of at most so many scalars, or half as many if there are arrays in them, pass joins and rounds in SSA values.
const FLAT_LIMIT: u64 = 16;

/// Where a value is while code is made.
#[derive(Clone)]
pub(super) enum Rep {
    Scalar(clif::Value),
    Parts(Vec<Rep>),
    Memory(Place),
}

pub(super) struct Emitter<'a, 'f> {
    pub(super) unit: &'a mut Unit,
    pub(super) function: &'a Function,
    pub(super) b: FunctionBuilder<'f>,
    reps: Vec<Option<Rep>>,
    /// Whole numbers that are a value and a constant, summed without overflow; or the constant alone.
    offsets: Vec<Option<(Option<Value>, i64)>>,
    /// Arrays that are indexed by other than constants.
    indexed: Vec<bool>,
    pub(super) faults: Faults,
    /// How many steps read each value.
    pub(super) uses: Vec<u32>,
    /// The sums of the block that is being emitted.
    pub(super) sums: Sums<'a>,
    out: clif::Value,
    pub(super) scratch: clif::Value,
    pub(super) detail: clif::Value,
    /// Scratch slots taken: first those that callees share, then this function's own.
    pub(super) frame: u64,
}

pub(super) type Emitted<T> = Result<T, CompileError>;

pub(super) fn broken<T>() -> Emitted<T> {
    Err(CompileError::Ir(IrError::Malformed("a value of an unexpected form".into())))
}

pub(super) fn scalar_type(ty: &Type) -> Option<clif::Type> {
    match ty {
        Type::Int | Type::Text => Some(types::I64),
        Type::Real => Some(types::F64),
        Type::Bool => Some(types::I8),
        Type::Array(..) | Type::Struct(_) => None,
    }
}

/// The scalars of a type, if they are few.
fn flat(ty: &Type) -> Option<Vec<clif::Type>> {
    fn collect(ty: &Type, out: &mut Vec<clif::Type>) {
        match ty {
            Type::Array(item, len) => (0..*len).for_each(|_| collect(item, out)),
            Type::Struct(fields) => fields.iter().for_each(|f| collect(f, out)),
            scalar => out.extend(scalar_type(scalar)),
        }
    }
    let mut out = Vec::new();
    let limit = longest_array(ty).map_or(FLAT_LIMIT, |_| FLAT_LIMIT / 2);
    if ty.slots() > limit || longest_array(ty).is_some_and(|len| len > limit) {
        return None;
    }
    collect(ty, &mut out);
    Some(out)
}

/// The length of the longest array in a type, which may be of elements that take no slots.
fn longest_array(ty: &Type) -> Option<u64> {
    match ty {
        Type::Array(item, len) => longest_array(item).max(Some(*len)),
        Type::Struct(fields) => fields.iter().filter_map(longest_array).max(),
        _ => None,
    }
}

impl<'a, 'f> Emitter<'a, 'f> {
    /// With `flat_inputs`, all parameters' slots stand one after another; without, each has a word (see [`super`]).
    pub(super) fn new(
        unit: &'a mut Unit,
        function: &'a Function,
        faults: Faults,
        flat_inputs: bool,
        mut b: FunctionBuilder<'f>,
    ) -> Self {
        let entry = b.create_block();
        b.append_block_params_for_function_params(entry);
        b.switch_to_block(entry);
        let pointers: Vec<clif::Value> = b.block_params(entry).to_vec();
        let pointer = |i: usize| pointers.get(i).copied().unwrap_or(clif::Value::from_u32(0));
        let (words, out, scratch, detail) = (pointer(0), pointer(1), pointer(2), pointer(3));
        let count = function.values.len();
        let frame = callee_scratch(&unit.functions, &function.body);
        let (reps, offsets) = (vec![None; count], vec![None; count]);
        let (uses, sums) = (pairs::uses(function), Sums::default());
        let mut indexed = vec![false; count];
        mark_indexed(&function.body, &mut vec![false; count], &mut indexed);
        let mut emitter =
            Emitter { unit, function, b, reps, offsets, indexed, faults, uses, sums, out, scratch, detail, frame };
        let mut slots = 0;
        for (i, param) in function.body.params.iter().enumerate() {
            let Some(ty) = function.ty(*param) else { continue };
            let rep = match flat_inputs {
                true => emitter.load(ty, Place::input(words).at(slots)),
                false if ty.is_scalar() => emitter.load(ty, Place::input(words).at(i as u64)),
                false => {
                    let word = Place::input(words).at(i as u64);
                    let base = emitter.b.ins().load(types::I64, flags(), word.base, word.offset);
                    Rep::Memory(Place::input(base))
                }
            };
            slots += ty.slots();
            emitter.set(*param, rep);
        }
        emitter
    }

    /// Emits the body; returns the builder and the scratch slots that the function needs.
    pub(super) fn function(mut self) -> Emitted<(FunctionBuilder<'f>, u64)> {
        let out = Place::new(self.out);
        let function = self.function;
        self.block_into(&function.body, out)?;
        let done = self.b.ins().iconst(types::I64, 0);
        self.b.ins().return_(&[done]);
        self.b.seal_all_blocks();
        Ok((self.b, self.frame))
    }

    pub(super) fn set(&mut self, value: Value, rep: Rep) {
        if let Some(slot) = self.reps.get_mut(value.0 as usize) {
            *slot = Some(rep);
        }
    }

    /// Defines a value; one that is indexed goes to memory now, where all its uses see it.
    pub(super) fn define(&mut self, value: Value, rep: Rep) -> Emitted<()> {
        let rep = match rep {
            Rep::Parts(_) if self.is_indexed(value) => Rep::Memory(self.in_memory(self.ty(value)?, &rep)?),
            rep => rep,
        };
        self.set(value, rep);
        Ok(())
    }

    fn is_indexed(&self, value: Value) -> bool {
        self.indexed.get(value.0 as usize).copied().unwrap_or(true)
    }

    /// The scalars in which a value passes joins and rounds, unless it does in memory.
    pub(super) fn in_values(&self, value: Value) -> Option<Vec<clif::Type>> {
        if self.is_indexed(value) { None } else { flat(self.function.ty(value)?) }
    }

    pub(super) fn rep(&self, value: Value) -> Emitted<Rep> {
        match self.reps.get(value.0 as usize) {
            Some(Some(rep)) => Ok(rep.clone()),
            _ => broken(),
        }
    }

    pub(super) fn scalar(&self, value: Value) -> Emitted<clif::Value> {
        match self.rep(value)? {
            Rep::Scalar(value) => Ok(value),
            _ => broken(),
        }
    }

    pub(super) fn ty(&self, value: Value) -> Emitted<&'a Type> {
        match self.function.ty(value) {
            Some(ty) => Ok(ty),
            None => broken(),
        }
    }

    /// Room for `slots` slots, this function's own.
    pub(super) fn room(&mut self, slots: u64) -> Place {
        let place = Place::new(self.scratch).at(self.frame);
        self.frame = self.frame.saturating_add(slots);
        place
    }

    // Faults.

    /// Leaves the function with `fault` where `bad` holds; `index` goes with an index out of range.
    pub(super) fn raise_if(&mut self, bad: clif::Value, fault: Fault, span: Span, index: Option<clif::Value>) {
        self.unit.faults.push(NumericError { fault, span });
        let number = self.unit.faults.len() as i64;
        let (raise, next) = (self.b.create_block(), self.b.create_block());
        self.b.set_cold_block(raise);
        self.b.ins().brif(bad, raise, &[], next, &[]);
        self.b.switch_to_block(raise);
        if let Some(index) = index {
            let detail = self.detail;
            self.b.ins().store(flags(), index, detail, 0);
        }
        let code = self.b.ins().iconst(types::I64, number);
        self.b.ins().return_(&[code]);
        self.b.switch_to_block(next);
    }

    // Blocks and steps.

    pub(super) fn block(&mut self, block: &'a Block) -> Emitted<Rep> {
        self.steps(block, None)?;
        self.rep(block.result)
    }

    /// Emits a block so that its result's slots end up at `target`, made there where that can be.
    pub(super) fn block_into(&mut self, block: &'a Block, target: Place) -> Emitted<()> {
        self.steps(block, Some(target))?;
        let rep = self.rep(block.result)?;
        self.store(self.ty(block.result)?, &rep, target)
    }

    fn steps(&mut self, block: &'a Block, target: Option<Place>) -> Emitted<()> {
        let sums = Sums::of(self.function, block, &self.uses);
        let outer = std::mem::replace(&mut self.sums, sums);
        for step in &block.steps {
            let place = target.filter(|_| step.value == block.result);
            let rep = self.step(step, place)?;
            self.define(step.value, rep)?;
        }
        self.sums = outer;
        Ok(())
    }

    fn step(&mut self, step: &'a Step, target: Option<Place>) -> Emitted<Rep> {
        let ty = self.ty(step.value)?;
        Ok(match &step.op {
            Op::Int(value) => {
                self.is_offset(step.value, None, *value);
                Rep::Scalar(self.b.ins().iconst(types::I64, *value))
            }
            Op::Real(value) => Rep::Scalar(self.b.ins().f64const(*value)),
            Op::Bool(value) => Rep::Scalar(self.b.ins().iconst(types::I8, i64::from(*value))),
            Op::Text(text) => Rep::Scalar(self.b.ins().iconst(types::I64, text_id(text) as i64)),
            Op::Unary(op, x) => {
                let operand = self.ty(*x)?;
                let x = self.scalar(*x)?;
                let checks = self.faults.of(step.value);
                Rep::Scalar(self.unary(*op, operand, x, checks, step.span)?)
            }
            Op::Binary(Binary::Add, ..) if let Some(terms) = self.sums.terms(step.value) => self.add_up(&terms)?,
            Op::Binary(op, a, b) => {
                let (operand, checks) = (self.ty(*a)?, self.faults.of(step.value));
                if *operand == Type::Int && !checks.any() {
                    self.note_offset(step.value, *op, *a, *b);
                }
                let (a, b) = (self.scalar(*a)?, self.scalar(*b)?);
                Rep::Scalar(self.binary(*op, operand, a, b, checks, step.span)?)
            }
            Op::Select { condition, then, otherwise } => {
                let (c, t, o) = (self.scalar(*condition)?, self.scalar(*then)?, self.scalar(*otherwise)?);
                Rep::Scalar(self.b.ins().select(c, t, o))
            }
            Op::If { condition, then, otherwise } => self.choose(step.value, *condition, then, otherwise, target)?,
            Op::Struct(fields) => Rep::Parts(fields.iter().map(|f| self.rep(*f)).collect::<Result<_, _>>()?),
            Op::Field(base, index) => self.field(*base, *index)?,
            Op::Array(items) if target.is_none() && self.in_values(step.value).is_some() => {
                Rep::Parts(items.iter().map(|item| self.rep(*item)).collect::<Result<_, _>>()?)
            }
            Op::Array(items) => {
                let place = target.unwrap_or_else(|| self.room(ty.slots()));
                let mut slots = 0;
                for item in items {
                    let (item_ty, rep) = (self.ty(*item)?, self.rep(*item)?);
                    self.store(item_ty, &rep, place.at(slots))?;
                    slots += item_ty.slots();
                }
                Rep::Memory(place)
            }
            Op::Index(base, index) => self.index(step, *base, *index)?,
            Op::Build { len, body } => self.build(ty, *len, body, target, step.span)?,
            Op::Fold { len, init, body } => self.fold(step.value, *len, *init, body, step.span)?,
            Op::Call(id, args) => self.call(ty, *id, args, target)?,
            Op::Batch(_) => return broken(),
        })
    }

    fn field(&mut self, base: Value, index: u32) -> Emitted<Rep> {
        let Type::Struct(fields) = self.ty(base)? else { return broken() };
        match self.rep(base)? {
            Rep::Parts(parts) => parts.into_iter().nth(index as usize).map_or_else(broken, Ok),
            Rep::Memory(place) => {
                let before: u64 = fields.iter().take(index as usize).map(Type::slots).sum();
                let Some(field) = fields.get(index as usize) else { return broken() };
                Ok(self.load(field, place.at(before)))
            }
            Rep::Scalar(_) => broken(),
        }
    }

    fn index(&mut self, step: &Step, base: Value, index: Value) -> Emitted<Rep> {
        let Type::Array(item, len) = self.ty(base)? else { return broken() };
        let (rep, i) = (self.rep(base)?, self.scalar(index)?);
        if self.faults.of(step.value).index {
            let bad = self.b.ins().icmp_imm_u(IntCC::UnsignedGreaterThanOrEqual, i, *len as i64);
            self.raise_if(bad, Fault::Index { index: 0, len: *len }, step.span, Some(i));
        }
        let (varying, fixed) = self.offset(index);
        match (rep, varying) {
            (Rep::Parts(parts), None) if !parts.is_empty() => {
                // Where the constant is out of range, the check above has left the function.
                let at = usize::try_from(fixed).unwrap_or(0).min(parts.len() - 1);
                parts.into_iter().nth(at).map_or_else(broken, Ok)
            }
            (Rep::Parts(_), _) => broken(),
            (Rep::Memory(place), None) if u64::try_from(fixed).is_ok_and(|at| at < *len) => {
                Ok(self.load(item, place.at(fixed as u64 * item.slots())))
            }
            (Rep::Memory(place), _) => {
                let element = self.element(place, index, item)?;
                Ok(self.load(item, element))
            }
            (Rep::Scalar(_), _) => broken(),
        }
    }

    /// The place of an element; the constant in its index goes to the offset.
    fn element(&mut self, array: Place, index: Value, item: &Type) -> Emitted<Place> {
        let near = 1 << 20;
        let (varying, fixed) = match self.offset(index) {
            (Some(varying), fixed) if (-near..near).contains(&fixed) && item.slots() < near as u64 => (varying, fixed),
            _ => (index, 0),
        };
        let i = self.scalar(varying)?;
        let place = self.element_at(array, i, item);
        Ok(Place { offset: place.offset.saturating_add((fixed * item.slots() as i64 * 8) as i32), ..place })
    }

    // Values that are another and a constant.

    pub(super) fn offset(&self, value: Value) -> (Option<Value>, i64) {
        self.offsets.get(value.0 as usize).copied().flatten().unwrap_or((Some(value), 0))
    }

    fn is_offset(&mut self, value: Value, varying: Option<Value>, fixed: i64) {
        if let Some(slot) = self.offsets.get_mut(value.0 as usize) {
            *slot = Some((varying, fixed));
        }
    }

    fn note_offset(&mut self, value: Value, op: Binary, a: Value, b: Value) {
        let ((a, x), (b, y)) = (self.offset(a), self.offset(b));
        let sum = match (op, a, b) {
            (Binary::Add, varying, None) | (Binary::Add, None, varying) => {
                x.checked_add(y).map(|fixed| (varying, fixed))
            }
            (Binary::Sub, varying, None) => x.checked_sub(y).map(|fixed| (varying, fixed)),
            _ => None,
        };
        if let Some((varying, fixed)) = sum {
            self.is_offset(value, varying, fixed);
        }
    }
}

/// Marks the arrays that are indexed by other than constants.
fn mark_indexed(block: &Block, constant: &mut [bool], indexed: &mut [bool]) {
    for step in &block.steps {
        match &step.op {
            Op::Int(_) => {
                if let Some(slot) = constant.get_mut(step.value.0 as usize) {
                    *slot = true;
                }
            }
            Op::Index(base, index) => {
                if let Some(slot) = indexed.get_mut(base.0 as usize) {
                    *slot |= !constant.get(index.0 as usize).copied().unwrap_or(false);
                }
            }
            op => op.blocks().for_each(|inner| mark_indexed(inner, constant, indexed)),
        }
    }
}

/// The scratch slots that the callees of a block share: the most that one of them needs.
fn callee_scratch(functions: &[(cranelift_module::FuncId, u64)], block: &Block) -> u64 {
    let step = |op: &Op| match op {
        Op::Call(id, _) => functions.get(id.0 as usize).map_or(0, |f| f.1),
        Op::If { then, otherwise, .. } => callee_scratch(functions, then).max(callee_scratch(functions, otherwise)),
        Op::Build { body, .. } | Op::Fold { body, .. } => callee_scratch(functions, body),
        _ => 0,
    };
    block.steps.iter().map(|s| step(&s.op)).max().unwrap_or(0)
}
