//! One walk over a function that leaves every step as simple as it is known to be, and computes equal steps once.

use std::collections::BTreeMap;

use super::Callee;
use crate::ir::fold::{self, Known};
use crate::ir::{Batch, Binary, Block, Function, Op, Step, Type, Unary, Value};
use crate::span::Span;

/// Steps that a walk may add to a function by calling in place and repeating.
const GROWTH: usize = 4096;
/// A loop is repeated in place if that makes no more steps than this, and not more rounds than [`ROUNDS`].
const REPEATED: usize = 128;
const ROUNDS: u64 = 16;
/// Rounds that are made one where a loop is long and its body has no more than [`STRIDDEN`] steps.
const STRIDE: u64 = 4;
const STRIDDEN: usize = 24;
/// Branches of at most so many steps become selections.
const SELECTED: usize = 6;
/// How deep blocks may be in one another where functions are called in place.
const DEEPEST: usize = 48;

/// Rewrites a function; calls of `callees` that are marked so are replaced by their bodies. With `last`, short loops are
/// repeated in place.
pub(super) fn rewrite(function: Function, callees: &[Callee], last: bool) -> Function {
    let count = function.values.len();
    let mut rewriter = Rewriter {
        values: function.values,
        made: vec![None; count],
        same: (0..count as u32).map(Value).collect(),
        seen: BTreeMap::new(),
        scope: Vec::new(),
        growth: GROWTH,
        level: 0,
        callees,
        last,
    };
    let params = function.body.params.clone();
    let mut steps = Vec::with_capacity(function.body.steps.len());
    let result = rewriter.splice(function.body.steps, function.body.result, &mut steps);
    Function { name: function.name, values: rewriter.values, body: Block { params, steps, result } }
}

/// How deep blocks are in one another.
pub(super) fn depth(block: &Block) -> usize {
    block.steps.iter().flat_map(|step| step.op.blocks().map(|inner| 1 + depth(inner))).max().unwrap_or(0)
}

pub(super) struct Rewriter<'m> {
    values: Vec<Type>,
    /// How a value is made, unless by an operation that holds blocks.
    made: Vec<Option<Op>>,
    same: Vec<Value>,
    /// What is computed already where the walk is, by its form.
    seen: BTreeMap<Vec<u64>, Value>,
    /// The forms first seen in each open block.
    scope: Vec<Vec<Vec<u64>>>,
    growth: usize,
    /// How many blocks are open.
    level: usize,
    callees: &'m [Callee],
    last: bool,
}

impl Rewriter<'_> {
    pub(super) fn get(&self, value: Value) -> Value {
        self.same.get(value.0 as usize).copied().unwrap_or(value)
    }

    /// How a value is made, unless by blocks.
    pub(super) fn made(&self, value: Value) -> Option<&Op> {
        self.made.get(value.0 as usize)?.as_ref()
    }

    pub(super) fn known(&self, value: Value) -> Option<Known> {
        self.made(value).and_then(Known::of)
    }

    pub(super) fn ty(&self, value: Value) -> Option<&Type> {
        self.values.get(value.0 as usize)
    }

    /// A constant before the step at hand.
    pub(super) fn constant(&mut self, op: Op, into: &mut Vec<Step>) -> Value {
        let ty = if matches!(op, Op::Int(_)) { Type::Int } else { Type::Real };
        let value = self.fresh(ty);
        self.step(Step { value, op, span: Span::default() }, into);
        self.get(value)
    }

    fn fresh(&mut self, ty: Type) -> Value {
        let value = Value(self.values.len() as u32);
        self.values.push(ty);
        self.made.push(None);
        self.same.push(value);
        value
    }

    fn is(&mut self, value: Value, other: Value) {
        if let Some(slot) = self.same.get_mut(value.0 as usize) {
            *slot = other;
        }
    }

    fn splice(&mut self, from: Vec<Step>, result: Value, into: &mut Vec<Step>) -> Value {
        for step in from {
            self.step(step, into);
        }
        self.get(result)
    }

    /// An inner block; what is first computed in it is known in it alone.
    fn block(&mut self, block: Block) -> Block {
        self.scope.push(Vec::new());
        self.level += 1;
        let mut steps = Vec::with_capacity(block.steps.len());
        let result = self.splice(block.steps, block.result, &mut steps);
        self.level -= 1;
        for form in self.scope.pop().unwrap_or_default() {
            self.seen.remove(&form);
        }
        Block { params: block.params, steps, result }
    }

    fn step(&mut self, step: Step, into: &mut Vec<Step>) {
        let Step { value, mut op, span } = step;
        op.each_operand_mut(&mut |v| *v = self.get(*v));
        let op = match op {
            Op::If { condition, then, otherwise } => match self.known(condition) {
                Some(Known::Bool(holds)) => {
                    let branch = if holds { then } else { otherwise };
                    let result = self.splice(branch.steps, branch.result, into);
                    return self.is(value, result);
                }
                _ => match self.branches(value, condition, then, otherwise, into) {
                    Some(op) => op,
                    None => return,
                },
            },
            Op::Fold { len: 0, init, .. } => return self.is(value, init),
            Op::Build { len, body } if self.repeats(len, &body) => {
                let items = (0..len).map(|i| self.round(&body, i, None, span, into)).collect();
                Op::Array(items)
            }
            Op::Fold { len, init, body } if self.repeats(len, &body) => {
                let last = (0..len).fold(init, |state, i| self.round(&body, i, Some(state), span, into));
                return self.is(value, last);
            }
            Op::Fold { len, init, body } if self.strides(len, &body) => {
                return self.stride(value, len, init, &body, span, into);
            }
            Op::Build { len, body } => Op::Build { len, body: self.block(body) },
            Op::Fold { len, init, body } => Op::Fold { len, init, body: self.block(body) },
            Op::Call(id, args) => {
                let callees = self.callees;
                match callees.get(id.0 as usize) {
                    Some(callee) if self.calls_in_place(callee) => {
                        let result = self.instance(&callee.function, &args, into);
                        return self.is(value, result);
                    }
                    _ => Op::Call(id, args),
                }
            }
            op => op,
        };
        self.add(value, op, span, into);
    }

    /// Adds a step whose operands and blocks are rewritten.
    fn add(&mut self, value: Value, mut op: Op, span: Span, into: &mut Vec<Step>) {
        // Every rule makes the step simpler, so that this ends; the limit is for a rule that would not.
        for _ in 0..8 {
            if let Some(other) = self.passes_on(&op) {
                return self.is(value, other);
            }
            let simpler = match fold::constant(&op, |v| self.known(v)) {
                Some(constant) => Some(constant),
                None => self.simpler(&op, into),
            };
            match simpler {
                Some(simpler) => op = simpler,
                None => break,
            }
        }
        let form = Self::form(&op);
        if let Some(known) = self.seen.get(&form) {
            let known = *known;
            return self.is(value, known);
        }
        if let Some(open) = self.scope.last_mut() {
            open.push(form.clone());
        }
        self.seen.insert(form, value);
        if op.blocks().next().is_none()
            && let Some(slot) = self.made.get_mut(value.0 as usize)
        {
            *slot = Some(op.clone());
        }
        into.push(Step { value, op, span });
    }

    // Branches.

    /// A branch rewritten: as an `If`, or `None` where both sides are so short that they are computed for a selection.
    fn branches(
        &mut self,
        value: Value,
        condition: Value,
        then: Block,
        otherwise: Block,
        into: &mut Vec<Step>,
    ) -> Option<Op> {
        let (then, otherwise) = (self.block(then), self.block(otherwise));
        let scalar = self.ty(value).is_some_and(Type::is_scalar);
        if !scalar || then.steps.len() + otherwise.steps.len() > SELECTED {
            return Some(Op::If { condition, then, otherwise });
        }
        let cheap = |block: &Block| block.steps.iter().all(|step| self.is_cheap(&step.op));
        if !cheap(&then) || !cheap(&otherwise) {
            return Some(Op::If { condition, then, otherwise });
        }
        let chosen = (then.result, otherwise.result);
        for step in then.steps.into_iter().chain(otherwise.steps) {
            self.step(step, into);
        }
        let (then, otherwise) = (self.get(chosen.0), self.get(chosen.1));
        self.add(value, Op::Select { condition, then, otherwise }, Span::default(), into);
        None
    }

    /// Whether an operation never faults, whatever its operands, and costs little.
    fn is_cheap(&self, op: &Op) -> bool {
        use crate::ir::Binary::{Add, Max, Min, Mul, Sub};
        let real = |v: Value| self.ty(v) == Some(&Type::Real);
        match op {
            Op::Int(_) | Op::Real(_) | Op::Bool(_) | Op::Text(_) | Op::Select { .. } | Op::Field(..) => true,
            Op::Unary(Unary::Not | Unary::ToReal, _) => true,
            Op::Unary(Unary::Neg | Unary::Abs, x) => real(*x),
            Op::Binary(op, ..) if op.is_comparison() => true,
            Op::Binary(Add | Sub | Mul | Min | Max, x, _) => real(*x),
            _ => false,
        }
    }

    // Loops and calls in place.

    fn repeats(&self, len: u64, body: &Block) -> bool {
        self.last && len > 0 && repeated_size(len, body) <= REPEATED.min(self.growth) && len <= ROUNDS
    }

    /// Whether a loop is worth to go through in strides: long, with a short body.
    fn strides(&self, len: u64, body: &Block) -> bool {
        let straight = body.steps.iter().all(|s| s.op.blocks().next().is_none());
        self.last && self.level == 0 && len >= 2 * STRIDE && straight && body.steps.len() <= STRIDDEN
    }

    /// A fold of which each round is [`STRIDE`] rounds, which share what they read; the rounds left over follow.
    fn stride(&mut self, value: Value, len: u64, init: Value, body: &Block, span: Span, into: &mut Vec<Step>) {
        let ty = self.ty(value).cloned().unwrap_or(Type::Int);
        let (index, state) = (self.fresh(Type::Int), self.fresh(ty.clone()));
        self.scope.push(Vec::new());
        self.level += 1;
        let mut steps = Vec::with_capacity(body.steps.len() * STRIDE as usize);
        let stride = self.constant(Op::Int(STRIDE as i64), &mut steps);
        let first = self.computed(Op::Binary(Binary::Mul, index, stride), span, &mut steps);
        let mut result = state;
        for k in 0..STRIDE {
            let k = self.constant(Op::Int(k as i64), &mut steps);
            let at = self.computed(Op::Binary(Binary::Add, first, k), span, &mut steps);
            result = self.round_at(body, at, Some(result), &mut steps);
        }
        self.level -= 1;
        for form in self.scope.pop().unwrap_or_default() {
            self.seen.remove(&form);
        }
        let whole = len / STRIDE;
        let strides = self.fresh(ty);
        let body_of_strides = Block { params: vec![index, state], steps, result };
        self.add(strides, Op::Fold { len: whole, init, body: body_of_strides }, span, into);
        let strides = self.get(strides);
        let last = (whole * STRIDE..len).fold(strides, |state, i| self.round(body, i, Some(state), span, into));
        self.is(value, last);
    }

    /// A whole number computed before the step at hand.
    fn computed(&mut self, op: Op, span: Span, into: &mut Vec<Step>) -> Value {
        let value = self.fresh(Type::Int);
        self.step(Step { value, op, span }, into);
        self.get(value)
    }

    /// One round of a loop, in place.
    fn round(&mut self, body: &Block, i: u64, state: Option<Value>, span: Span, into: &mut Vec<Step>) -> Value {
        let index = self.computed(Op::Int(i as i64), span, into);
        self.round_at(body, index, state, into)
    }

    fn round_at(&mut self, body: &Block, index: Value, state: Option<Value>, into: &mut Vec<Step>) -> Value {
        self.growth = self.growth.saturating_sub(body.size());
        let mut names = BTreeMap::new();
        let body = self.renamed(body, &[], &mut names);
        let args = [Some(index), state];
        for (param, arg) in body.params.iter().zip(args.into_iter().flatten()) {
            self.is(*param, arg);
        }
        self.splice(body.steps, body.result, into)
    }

    fn calls_in_place(&self, callee: &Callee) -> bool {
        callee.inline && callee.size <= self.growth && self.level + callee.depth <= DEEPEST
    }

    /// The body of a function in place of a call.
    fn instance(&mut self, function: &Function, args: &[Value], into: &mut Vec<Step>) -> Value {
        self.growth = self.growth.saturating_sub(function.body.size());
        let mut names = BTreeMap::new();
        let body = self.renamed(&function.body, &function.values, &mut names);
        for (param, arg) in body.params.iter().zip(args) {
            self.is(*param, *arg);
        }
        self.splice(body.steps, body.result, into)
    }

    /// A copy of a block whose values are new; `types` are those of the function it comes from, if that is another.
    fn renamed(&mut self, block: &Block, types: &[Type], names: &mut BTreeMap<Value, Value>) -> Block {
        let new = |rewriter: &mut Self, names: &mut BTreeMap<Value, Value>, value: Value| {
            let own = rewriter.values.get(value.0 as usize).filter(|_| types.is_empty());
            let ty = own.or_else(|| types.get(value.0 as usize)).cloned().unwrap_or(Type::Int);
            let fresh = rewriter.fresh(ty);
            names.insert(value, fresh);
            fresh
        };
        let params = block.params.iter().map(|param| new(self, names, *param)).collect();
        let mut steps = Vec::with_capacity(block.steps.len());
        for step in &block.steps {
            let mut op = match &step.op {
                Op::If { condition, then, otherwise } => Op::If {
                    condition: *condition,
                    then: self.renamed(then, types, names),
                    otherwise: self.renamed(otherwise, types, names),
                },
                Op::Build { len, body } => Op::Build { len: *len, body: self.renamed(body, types, names) },
                Op::Fold { len, init, body } => {
                    Op::Fold { len: *len, init: *init, body: self.renamed(body, types, names) }
                }
                op => op.clone(),
            };
            op.each_operand_mut(&mut |v| *v = names.get(v).copied().unwrap_or(*v));
            let value = new(self, names, step.value);
            steps.push(Step { value, op, span: step.span });
        }
        let result = names.get(&block.result).copied().unwrap_or(block.result);
        Block { params, steps, result }
    }

    // Forms.

    /// What two steps have in common if they compute the same: the operation and its operands, those of commutative
    /// operations in order; values inside of blocks by their place.
    fn form(op: &Op) -> Vec<u64> {
        let mut form = Vec::with_capacity(4);
        let mut inner = BTreeMap::new();
        Self::write_form(op, &mut inner, &mut form);
        form
    }

    fn write_form(op: &Op, inner: &mut BTreeMap<Value, u64>, out: &mut Vec<u64>) {
        use crate::ir::Binary::{Add, Eq, Max, Min, Mul, Ne};
        let place = |v: Value| inner.get(&v).map_or(u64::from(v.0), |at| 1 << 40 | *at);
        match op {
            Op::Int(x) => out.extend([0, *x as u64]),
            Op::Real(x) => out.extend([1, x.to_bits()]),
            Op::Bool(x) => out.extend([2, u64::from(*x)]),
            Op::Text(text) => out.extend([3, crate::ir::text_id(text)]),
            Op::Unary(op, x) => out.extend([4, *op as u64, place(*x)]),
            Op::Binary(op, a, b) => {
                let (mut a, mut b) = (place(*a), place(*b));
                if matches!(op, Add | Mul | Min | Max | Eq | Ne) && a > b {
                    std::mem::swap(&mut a, &mut b);
                }
                out.extend([5, *op as u64, a, b]);
            }
            Op::Select { condition, then, otherwise } => {
                out.extend([6, place(*condition), place(*then), place(*otherwise)]);
            }
            Op::Struct(parts) | Op::Array(parts) => {
                out.extend([if matches!(op, Op::Struct(_)) { 7 } else { 8 }, parts.len() as u64]);
                out.extend(parts.iter().map(|part| place(*part)));
            }
            Op::Field(base, index) => out.extend([9, place(*base), u64::from(*index)]),
            Op::Index(base, index) => out.extend([10, place(*base), place(*index)]),
            Op::Call(id, args) => {
                out.extend([11, u64::from(id.0), args.len() as u64]);
                out.extend(args.iter().map(|arg| place(*arg)));
            }
            Op::If { condition, .. } => out.extend([12, place(*condition)]),
            Op::Build { len, .. } => out.extend([13, *len]),
            Op::Fold { len, init, .. } => out.extend([14, *len, place(*init)]),
            Op::Batch(batch) => {
                let which = match batch {
                    Batch::Sum(_) => 0,
                    Batch::Count => 1,
                    Batch::Sort { .. } => 2,
                    Batch::Unsort { .. } => 3,
                    Batch::Detach(_) => 4,
                };
                out.extend([15, which]);
                out.extend(batch.operands().map(place));
            }
        }
        for block in op.blocks() {
            out.push(block.steps.len() as u64);
            for param in &block.params {
                let at = inner.len() as u64;
                inner.insert(*param, at);
            }
            for step in &block.steps {
                Self::write_form(&step.op, inner, out);
                let at = inner.len() as u64;
                inner.insert(step.value, at);
            }
            let result = block.result;
            out.push(inner.get(&result).map_or(u64::from(result.0), |at| 1 << 40 | *at));
        }
    }
}

/// Steps that `len` rounds in place come to, short loops inside repeated too.
fn repeated_size(len: u64, body: &Block) -> usize {
    let step = |op: &Op| match op {
        Op::Build { len, body } | Op::Fold { len, body, .. } => {
            let all = repeated_size(*len, body);
            if all <= REPEATED && *len <= ROUNDS { all } else { REPEATED + 1 }
        }
        op => op.blocks().map(Block::size).sum(),
    };
    let round: usize = body.steps.iter().map(|s| 1 + step(&s.op)).sum();
    round.max(1).saturating_mul(len as usize)
}
