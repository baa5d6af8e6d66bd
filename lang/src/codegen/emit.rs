//! Translates one IR function to Cranelift IR.
//!
//! Scalars are SSA values. A struct that is taken apart stays in SSA values as well; arrays, and what holds them, are
//! memory that is written once and then only read. Memory made inside a loop is made again in the next round, so a
//! value that outlives its round (an element, an accumulator) is copied out.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self as clif, BlockArg, InstBuilder, MemFlagsData, types};
use cranelift_frontend::FunctionBuilder;
use cranelift_module::Module as _;

use super::CompileError;
use super::unit::Unit;
use crate::ir::verify::IrError;
use crate::ir::{Block, Fault, FuncId, Function, NumericError, Op, Step, Type, Value, text_id};
use crate::span::Span;

const SLOT: i32 = 8;
/// Aggregates of at most so many scalars and no arrays pass joins and rounds in SSA values.
const FLAT_LIMIT: usize = 16;
/// Aggregates of at most so many slots are copied without a loop.
const UNROLL_LIMIT: u64 = 8;

/// Where a value is while code is made.
#[derive(Clone)]
enum Rep {
    Scalar(clif::Value),
    Struct(Vec<Rep>),
    Memory(Place),
}

/// An address: a base and bytes from it.
#[derive(Clone, Copy)]
struct Place {
    base: clif::Value,
    offset: i32,
}

impl Place {
    fn at(self, slots: u64) -> Place {
        Place { offset: self.offset.saturating_add((slots as i32).saturating_mul(SLOT)), ..self }
    }
}

pub(super) struct Emitter<'a, 'f> {
    pub(super) unit: &'a mut Unit,
    function: &'a Function,
    pub(super) b: FunctionBuilder<'f>,
    reps: Vec<Option<Rep>>,
    /// For an int that is known to be in `0..n`, that `n`.
    bounds: Vec<Option<u64>>,
    out: clif::Value,
    scratch: clif::Value,
    detail: clif::Value,
    /// Scratch slots taken: first those that callees share, then this function's own.
    frame: u64,
}

pub(super) type Emitted<T> = Result<T, CompileError>;

pub(super) fn broken<T>() -> Emitted<T> {
    Err(CompileError::Ir(IrError::Malformed("a value of an unexpected form".into())))
}

fn flags() -> MemFlagsData {
    MemFlagsData::trusted()
}

fn scalar_type(ty: &Type) -> Option<clif::Type> {
    match ty {
        Type::Int | Type::Text => Some(types::I64),
        Type::Real => Some(types::F64),
        Type::Bool => Some(types::I8),
        Type::Array(..) | Type::Struct(_) => None,
    }
}

/// The scalars of a type, if it is small and holds no array.
fn flat(ty: &Type) -> Option<Vec<clif::Type>> {
    fn collect(ty: &Type, out: &mut Vec<clif::Type>) -> bool {
        match ty {
            Type::Array(..) => false,
            Type::Struct(fields) => fields.iter().all(|f| collect(f, out)),
            scalar => {
                out.extend(scalar_type(scalar));
                out.len() <= FLAT_LIMIT
            }
        }
    }
    let mut out = Vec::new();
    collect(ty, &mut out).then_some(out)
}

impl<'a, 'f> Emitter<'a, 'f> {
    pub(super) fn new(unit: &'a mut Unit, function: &'a Function, mut b: FunctionBuilder<'f>) -> Self {
        let entry = b.create_block();
        b.append_block_params_for_function_params(entry);
        b.switch_to_block(entry);
        let pointers: Vec<clif::Value> = b.block_params(entry).to_vec();
        let pointer = |i: usize| pointers.get(i).copied().unwrap_or(clif::Value::from_u32(0));
        let (words, out, scratch, detail) = (pointer(0), pointer(1), pointer(2), pointer(3));
        let count = function.values.len();
        let frame = callee_scratch(&unit.functions, &function.body);
        let (reps, bounds) = (vec![None; count], vec![None; count]);
        let mut emitter = Emitter { unit, function, b, reps, bounds, out, scratch, detail, frame };
        for (i, param) in function.body.params.iter().enumerate() {
            let word = Place { base: words, offset: 0 }.at(i as u64);
            let rep = match function.ty(*param) {
                Some(ty) if ty.is_scalar() => emitter.load(ty, word),
                _ => {
                    let base = emitter.b.ins().load(types::I64, flags(), word.base, word.offset);
                    Rep::Memory(Place { base, offset: 0 })
                }
            };
            emitter.set(*param, rep);
        }
        emitter
    }

    /// Emits the body; returns the builder and the scratch slots that the function needs.
    pub(super) fn function(mut self) -> Emitted<(FunctionBuilder<'f>, u64)> {
        let out = Place { base: self.out, offset: 0 };
        let function = self.function;
        self.block_into(&function.body, out)?;
        let done = self.b.ins().iconst(types::I64, 0);
        self.b.ins().return_(&[done]);
        self.b.seal_all_blocks();
        Ok((self.b, self.frame))
    }

    fn set(&mut self, value: Value, rep: Rep) {
        if let Some(slot) = self.reps.get_mut(value.0 as usize) {
            *slot = Some(rep);
        }
    }

    fn rep(&self, value: Value) -> Emitted<Rep> {
        match self.reps.get(value.0 as usize) {
            Some(Some(rep)) => Ok(rep.clone()),
            _ => broken(),
        }
    }

    fn scalar(&self, value: Value) -> Emitted<clif::Value> {
        match self.rep(value)? {
            Rep::Scalar(value) => Ok(value),
            _ => broken(),
        }
    }

    fn ty(&self, value: Value) -> Emitted<&'a Type> {
        match self.function.ty(value) {
            Some(ty) => Ok(ty),
            None => broken(),
        }
    }

    fn bound(&mut self, value: Value, bound: u64) {
        if let Some(slot) = self.bounds.get_mut(value.0 as usize) {
            *slot = Some(bound);
        }
    }

    /// Room for `slots` slots, this function's own.
    fn room(&mut self, slots: u64) -> Place {
        let place = Place { base: self.scratch, offset: 0 }.at(self.frame);
        self.frame = self.frame.saturating_add(slots);
        place
    }

    // Memory.

    fn load(&mut self, ty: &Type, place: Place) -> Rep {
        let word = |e: &mut Self, ty| e.b.ins().load(ty, flags(), place.base, place.offset);
        match ty {
            Type::Int | Type::Text => Rep::Scalar(word(self, types::I64)),
            Type::Real => Rep::Scalar(word(self, types::F64)),
            Type::Bool => {
                let word = word(self, types::I64);
                Rep::Scalar(self.b.ins().icmp_imm_u(IntCC::NotEqual, word, 0))
            }
            Type::Array(..) | Type::Struct(_) => Rep::Memory(place),
        }
    }

    fn store(&mut self, ty: &Type, rep: &Rep, place: Place) -> Emitted<()> {
        match (rep, ty) {
            (Rep::Scalar(value), _) => {
                let word = if *ty == Type::Bool { self.b.ins().uextend(types::I64, *value) } else { *value };
                self.b.ins().store(flags(), word, place.base, place.offset);
            }
            (Rep::Struct(parts), Type::Struct(fields)) => {
                let mut slots = 0;
                for (part, field) in parts.iter().zip(fields.iter()) {
                    self.store(field, part, place.at(slots))?;
                    slots += field.slots();
                }
            }
            (Rep::Memory(from), _) => self.copy(*from, place, ty.slots()),
            _ => return broken(),
        }
        Ok(())
    }

    fn copy(&mut self, from: Place, to: Place, slots: u64) {
        if from.base == to.base && from.offset == to.offset {
            return;
        }
        if slots <= UNROLL_LIMIT {
            for i in 0..slots {
                let (from, to) = (from.at(i), to.at(i));
                let word = self.b.ins().load(types::I64, flags(), from.base, from.offset);
                self.b.ins().store(flags(), word, to.base, to.offset);
            }
            return;
        }
        let (from, to) = (self.address(from), self.address(to));
        let (round, exit) = (self.b.create_block(), self.b.create_block());
        let i = self.b.append_block_param(round, types::I64);
        let zero = self.b.ins().iconst(types::I64, 0);
        self.b.ins().jump(round, &[BlockArg::Value(zero)]);
        self.b.switch_to_block(round);
        let source = self.b.ins().iadd(from, i);
        let target = self.b.ins().iadd(to, i);
        let word = self.b.ins().load(types::I64, flags(), source, 0);
        self.b.ins().store(flags(), word, target, 0);
        let next = self.b.ins().iadd_imm_u(i, i64::from(SLOT));
        let end = slots as i64 * i64::from(SLOT);
        let more = self.b.ins().icmp_imm_u(IntCC::UnsignedLessThan, next, end);
        self.b.ins().brif(more, round, &[BlockArg::Value(next)], exit, &[]);
        self.b.switch_to_block(exit);
    }

    fn address(&mut self, place: Place) -> clif::Value {
        if place.offset == 0 { place.base } else { self.b.ins().iadd_imm_s(place.base, i64::from(place.offset)) }
    }

    /// The value's slots in memory, written there now if they are in SSA values.
    fn in_memory(&mut self, ty: &Type, rep: &Rep) -> Emitted<Place> {
        if let Rep::Memory(place) = rep {
            return Ok(*place);
        }
        let place = self.room(ty.slots());
        self.store(ty, rep, place)?;
        Ok(place)
    }

    // Aggregates in SSA values.

    fn flatten(&mut self, ty: &Type, rep: &Rep, out: &mut Vec<BlockArg>) -> Emitted<()> {
        match (rep, ty) {
            (Rep::Scalar(value), _) => out.push(BlockArg::Value(*value)),
            (Rep::Struct(parts), Type::Struct(fields)) => {
                for (part, field) in parts.iter().zip(fields.iter()) {
                    self.flatten(field, part, out)?;
                }
            }
            (Rep::Memory(place), Type::Struct(fields)) => {
                let mut slots = 0;
                for field in fields.iter() {
                    let part = self.load(field, place.at(slots));
                    self.flatten(field, &part, out)?;
                    slots += field.slots();
                }
            }
            _ => return broken(),
        }
        Ok(())
    }

    fn gather(ty: &Type, values: &mut impl Iterator<Item = clif::Value>) -> Emitted<Rep> {
        Ok(match ty {
            Type::Struct(fields) => {
                Rep::Struct(fields.iter().map(|f| Self::gather(f, values)).collect::<Result<_, _>>()?)
            }
            _ => match values.next() {
                Some(value) => Rep::Scalar(value),
                None => return broken(),
            },
        })
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

    fn block(&mut self, block: &'a Block) -> Emitted<Rep> {
        for step in &block.steps {
            let rep = self.step(step, None)?;
            self.set(step.value, rep);
        }
        self.rep(block.result)
    }

    /// Emits a block so that its result's slots end up at `target`, made there where that can be.
    fn block_into(&mut self, block: &'a Block, target: Place) -> Emitted<()> {
        for step in &block.steps {
            let place = (step.value == block.result).then_some(target);
            let rep = self.step(step, place)?;
            self.set(step.value, rep);
        }
        let rep = self.rep(block.result)?;
        self.store(self.ty(block.result)?, &rep, target)
    }

    fn step(&mut self, step: &'a Step, target: Option<Place>) -> Emitted<Rep> {
        let ty = self.ty(step.value)?;
        Ok(match &step.op {
            Op::Int(value) => {
                if let Ok(value) = u64::try_from(*value) {
                    self.bound(step.value, value.saturating_add(1));
                }
                Rep::Scalar(self.b.ins().iconst(types::I64, *value))
            }
            Op::Real(value) => Rep::Scalar(self.b.ins().f64const(*value)),
            Op::Bool(value) => Rep::Scalar(self.b.ins().iconst(types::I8, i64::from(*value))),
            Op::Text(text) => Rep::Scalar(self.b.ins().iconst(types::I64, text_id(text) as i64)),
            Op::Unary(op, x) => {
                let operand = self.ty(*x)?;
                let x = self.scalar(*x)?;
                Rep::Scalar(self.unary(*op, operand, x, step.span)?)
            }
            Op::Binary(op, a, b) => {
                let operand = self.ty(*a)?;
                let (a, b) = (self.scalar(*a)?, self.scalar(*b)?);
                Rep::Scalar(self.binary(*op, operand, a, b, step.span)?)
            }
            Op::Select { condition, then, otherwise } => {
                let (c, t, o) = (self.scalar(*condition)?, self.scalar(*then)?, self.scalar(*otherwise)?);
                Rep::Scalar(self.b.ins().select(c, t, o))
            }
            Op::If { condition, then, otherwise } => self.choose(ty, *condition, then, otherwise, target)?,
            Op::Struct(fields) => Rep::Struct(fields.iter().map(|f| self.rep(*f)).collect::<Result<_, _>>()?),
            Op::Field(base, index) => self.field(*base, *index)?,
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
            Op::Index(base, index) => self.index(*base, *index, step.span)?,
            Op::Build { len, body } => self.build(ty, *len, body, target)?,
            Op::Fold { len, init, body } => self.fold(ty, *len, *init, body)?,
            Op::Call(id, args) => self.call(ty, *id, args, target)?,
            Op::Batch(_) => return broken(),
        })
    }

    fn field(&mut self, base: Value, index: u32) -> Emitted<Rep> {
        let Type::Struct(fields) = self.ty(base)? else { return broken() };
        match self.rep(base)? {
            Rep::Struct(parts) => parts.into_iter().nth(index as usize).map_or_else(broken, Ok),
            Rep::Memory(place) => {
                let before: u64 = fields.iter().take(index as usize).map(Type::slots).sum();
                let Some(field) = fields.get(index as usize) else { return broken() };
                Ok(self.load(field, place.at(before)))
            }
            Rep::Scalar(_) => broken(),
        }
    }

    fn index(&mut self, base: Value, index: Value, span: Span) -> Emitted<Rep> {
        let Type::Array(item, len) = self.ty(base)? else { return broken() };
        let Rep::Memory(place) = self.rep(base)? else { return broken() };
        let i = self.scalar(index)?;
        let known = self.bounds.get(index.0 as usize).copied().flatten();
        if known.is_none_or(|bound| bound > *len) {
            let bad = self.b.ins().icmp_imm_u(IntCC::UnsignedGreaterThanOrEqual, i, *len as i64);
            self.raise_if(bad, Fault::Index { index: 0, len: *len }, span, Some(i));
        }
        let element = self.element(place, i, item);
        Ok(self.load(item, element))
    }

    fn element(&mut self, array: Place, index: clif::Value, item: &Type) -> Place {
        let stride = item.slots() as i64 * i64::from(SLOT);
        let bytes = self.b.ins().imul_imm_u(index, stride);
        Place { base: self.b.ins().iadd(array.base, bytes), offset: array.offset }
    }

    fn choose(
        &mut self,
        ty: &'a Type,
        condition: Value,
        then: &'a Block,
        otherwise: &'a Block,
        target: Option<Place>,
    ) -> Emitted<Rep> {
        let condition = self.scalar(condition)?;
        let (yes, no, join) = (self.b.create_block(), self.b.create_block(), self.b.create_block());
        self.b.ins().brif(condition, yes, &[], no, &[]);
        let in_values = flat(ty);
        let target = target.filter(|_| in_values.is_none());
        for (block, branch) in [(yes, then), (no, otherwise)] {
            self.b.switch_to_block(block);
            let mut args = Vec::new();
            match (target, &in_values) {
                (Some(target), _) => self.block_into(branch, target)?,
                (None, Some(_)) => {
                    let rep = self.block(branch)?;
                    self.flatten(ty, &rep, &mut args)?;
                }
                (None, None) => {
                    let rep = self.block(branch)?;
                    let place = self.in_memory(ty, &rep)?;
                    args.push(BlockArg::Value(self.address(place)));
                }
            }
            self.b.ins().jump(join, &args);
        }
        self.b.switch_to_block(join);
        match (target, in_values) {
            (Some(target), _) => Ok(Rep::Memory(target)),
            (None, Some(scalars)) => {
                let values: Vec<_> = scalars.iter().map(|ty| self.b.append_block_param(join, *ty)).collect();
                Self::gather(ty, &mut values.into_iter())
            }
            (None, None) => {
                let base = self.b.append_block_param(join, types::I64);
                Ok(Rep::Memory(Place { base, offset: 0 }))
            }
        }
    }

    fn build(&mut self, ty: &'a Type, len: u64, body: &'a Block, target: Option<Place>) -> Emitted<Rep> {
        let Type::Array(item, _) = ty else { return broken() };
        let place = target.unwrap_or_else(|| self.room(ty.slots()));
        if len == 0 {
            return Ok(Rep::Memory(place));
        }
        self.rounds(len, body, &[], &[], |e, i, _| {
            let element = e.element(place, i, item);
            e.block_into(body, element)?;
            Ok(Vec::new())
        })?;
        Ok(Rep::Memory(place))
    }

    fn fold(&mut self, ty: &'a Type, len: u64, init: Value, body: &'a Block) -> Emitted<Rep> {
        let first = self.rep(init)?;
        let Some(state) = body.params.get(1).copied() else { return broken() };
        if len == 0 {
            return Ok(first);
        }
        if let Some(scalars) = flat(ty) {
            let mut args = Vec::new();
            self.flatten(ty, &first, &mut args)?;
            let last = self.rounds(len, body, &scalars, &args, |e, _, state_values| {
                let rep = Self::gather(ty, &mut state_values.iter().copied())?;
                e.set(state, rep);
                let next = e.block(body)?;
                let mut args = Vec::new();
                e.flatten(ty, &next, &mut args)?;
                Ok(args)
            })?;
            return Self::gather(ty, &mut last.into_iter());
        }
        // The next state may be made of parts of this one, so it is complete before this one is overwritten.
        let (now, next) = (self.room(ty.slots()), self.room(ty.slots()));
        self.store(ty, &first, now)?;
        self.set(state, Rep::Memory(now));
        self.rounds(len, body, &[], &[], |e, _, _| {
            e.block_into(body, next)?;
            e.copy(next, now, ty.slots());
            Ok(Vec::new())
        })?;
        Ok(Rep::Memory(now))
    }

    /// A loop of `len` rounds, at least one, that carries SSA values; returns them after the last round.
    fn rounds(
        &mut self,
        len: u64,
        body: &'a Block,
        carried: &[clif::Type],
        init: &[BlockArg],
        mut round: impl FnMut(&mut Self, clif::Value, &[clif::Value]) -> Emitted<Vec<BlockArg>>,
    ) -> Emitted<Vec<clif::Value>> {
        let (head, exit) = (self.b.create_block(), self.b.create_block());
        let i = self.b.append_block_param(head, types::I64);
        let now: Vec<_> = carried.iter().map(|ty| self.b.append_block_param(head, *ty)).collect();
        let last: Vec<_> = carried.iter().map(|ty| self.b.append_block_param(exit, *ty)).collect();
        let zero = self.b.ins().iconst(types::I64, 0);
        let enter: Vec<BlockArg> = std::iter::once(BlockArg::Value(zero)).chain(init.iter().copied()).collect();
        self.b.ins().jump(head, &enter);
        self.b.switch_to_block(head);
        if let Some(index) = body.params.first() {
            self.set(*index, Rep::Scalar(i));
            self.bound(*index, len);
        }
        let next = round(self, i, &now)?;
        let after = self.b.ins().iadd_imm_u(i, 1);
        let more = self.b.ins().icmp_imm_u(IntCC::UnsignedLessThan, after, len as i64);
        let again: Vec<BlockArg> = std::iter::once(BlockArg::Value(after)).chain(next.iter().copied()).collect();
        self.b.ins().brif(more, head, &again, exit, &next);
        self.b.switch_to_block(exit);
        Ok(last)
    }

    fn call(&mut self, ty: &'a Type, id: FuncId, args: &[Value], target: Option<Place>) -> Emitted<Rep> {
        let Some((linked, _)) = self.unit.functions.get(id.0 as usize).copied() else { return broken() };
        let words = self.room(args.len() as u64);
        for (i, arg) in args.iter().enumerate() {
            let (arg_ty, rep) = (self.ty(*arg)?, self.rep(*arg)?);
            let word = words.at(i as u64);
            if arg_ty.is_scalar() {
                self.store(arg_ty, &rep, word)?;
            } else {
                let place = self.in_memory(arg_ty, &rep)?;
                let address = self.address(place);
                self.b.ins().store(flags(), address, word.base, word.offset);
            }
        }
        let out = target.unwrap_or_else(|| self.room(ty.slots()));
        let (words, result) = (self.address(words), self.address(out));
        let callee = self.unit.jit.declare_func_in_func(linked, self.b.func);
        let call = self.b.ins().call(callee, &[words, result, self.scratch, self.detail]);
        let Some(code) = self.b.inst_results(call).first().copied() else { return broken() };
        let (raise, next) = (self.b.create_block(), self.b.create_block());
        self.b.set_cold_block(raise);
        self.b.ins().brif(code, raise, &[], next, &[]);
        self.b.switch_to_block(raise);
        self.b.ins().return_(&[code]);
        self.b.switch_to_block(next);
        Ok(self.load(ty, out))
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
