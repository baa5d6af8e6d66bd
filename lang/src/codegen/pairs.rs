//! Sums of like terms, two terms at a time: where the terms of a sum are the same operations of other operands, as those
//! of an unrolled loop are, they are computed in the two lanes of one vector (superword-level parallelism; Larsen and
//! Amarasinghe, 2000). Each lane computes what the term alone would, and the terms are added in their order, so that the
//! sum has the same bits.
//!
//! The terms are also emitted one by one, before; Cranelift drops what nothing uses.

use std::collections::BTreeMap;

use cranelift_codegen::ir::{self as clif, InstBuilder, MemFlagsData, types};

use super::emit::{Emitted, Emitter, Rep};
use super::memory::Place;
use crate::ir::{Binary, Block, Function, Op, Type, Unary, Value};

/// Fewer terms are not worth the shuffles.
const LEAST_TERMS: usize = 4;
/// Operations that a pair of terms must save.
const LEAST_GAIN: i32 = 3;
/// How deep terms are compared.
const DEPTH: usize = 24;

/// The sums of a block, and what their terms are made of.
#[derive(Default)]
pub(super) struct Sums<'a> {
    ops: BTreeMap<Value, &'a Op>,
    /// For the last addition of each sum, what is added up: the first, then the others in order.
    terms: BTreeMap<Value, Vec<Value>>,
}

/// How two values become the lanes of a vector.
enum Pair {
    /// By one operation of pairs.
    Unary(Unary, (Value, Value)),
    Binary(Binary, (Value, Value), (Value, Value)),
    /// They stand side by side in memory.
    Load(Place),
    /// Both are this value.
    Same(Value),
    /// One beside the other.
    Apart,
}

impl<'a> Sums<'a> {
    /// The sums of a block of `function`; `uses` tells how many steps read each value.
    pub(super) fn of(function: &Function, block: &'a Block, uses: &[u32]) -> Sums<'a> {
        let mut sums = Sums::default();
        for step in &block.steps {
            let Op::Binary(Binary::Add, a, b) = step.op else { continue };
            if function.ty(step.value) == Some(&Type::Real) {
                let alone = uses.get(a.0 as usize) == Some(&1);
                let before = if alone { sums.terms.remove(&a) } else { None };
                let mut terms = before.unwrap_or_else(|| vec![a]);
                terms.push(b);
                sums.terms.insert(step.value, terms);
            }
        }
        sums.terms.retain(|_, terms| terms.len() > LEAST_TERMS);
        if !sums.terms.is_empty() {
            sums.ops.extend(block.steps.iter().map(|step| (step.value, &step.op)));
        }
        sums
    }

    /// What the sum adds up that ends with `last`.
    pub(super) fn terms(&self, last: Value) -> Option<Vec<Value>> {
        self.terms.get(&last).cloned()
    }
}

/// How many steps of a function read each value; a block's result counts as read.
pub(super) fn uses(function: &Function) -> Vec<u32> {
    fn count(block: &Block, uses: &mut [u32]) {
        let mut read = |value: Value| {
            if let Some(n) = uses.get_mut(value.0 as usize) {
                *n = n.saturating_add(1);
            }
        };
        read(block.result);
        for step in &block.steps {
            let mut operands = step.op.operands();
            operands.sort_unstable();
            operands.dedup();
            operands.into_iter().for_each(&mut read);
        }
        block.steps.iter().flat_map(|step| step.op.blocks()).for_each(|inner| count(inner, uses));
    }
    let mut uses = vec![0; function.values.len()];
    count(&function.body, &mut uses);
    uses
}

impl Emitter<'_, '_> {
    /// Emits a sum, by pairs of terms where that pays.
    pub(super) fn add_up(&mut self, terms: &[Value]) -> Emitted<Rep> {
        let Some((first, rest)) = terms.split_first() else { return super::emit::broken() };
        let mut sum = self.scalar(*first)?;
        for terms in rest.chunks(2) {
            let lanes = match *terms {
                [a, b] if self.gain((a, b), DEPTH, &mut Vec::new()) >= LEAST_GAIN => {
                    let vector = self.vector((a, b), DEPTH, &mut BTreeMap::new())?;
                    vec![self.b.ins().extractlane(vector, 0), self.b.ins().extractlane(vector, 1)]
                }
                _ => terms.iter().map(|term| self.scalar(*term)).collect::<Result<_, _>>()?,
            };
            for lane in lanes {
                sum = self.b.ins().fadd(sum, lane);
            }
        }
        Ok(Rep::Scalar(sum))
    }

    /// Instructions that a pair saves: one for each operation of two, less one for each shuffle.
    fn gain(&self, pair: (Value, Value), depth: usize, seen: &mut Vec<(Value, Value)>) -> i32 {
        if seen.contains(&pair) {
            return 0;
        }
        seen.push(pair);
        match self.pair(pair, depth) {
            Pair::Unary(_, x) => 1 + self.gain(x, depth - 1, seen),
            Pair::Binary(_, a, b) => 1 + self.gain(a, depth - 1, seen) + self.gain(b, depth - 1, seen),
            Pair::Load(_) => 1,
            Pair::Same(_) => 0,
            Pair::Apart => -1,
        }
    }

    fn vector(
        &mut self,
        pair: (Value, Value),
        depth: usize,
        made: &mut BTreeMap<(Value, Value), clif::Value>,
    ) -> Emitted<clif::Value> {
        if let Some(vector) = made.get(&pair) {
            return Ok(*vector);
        }
        let vector = match self.pair(pair, depth) {
            Pair::Unary(op, x) => {
                let x = self.vector(x, depth - 1, made)?;
                match op {
                    Unary::Neg => self.b.ins().fneg(x),
                    Unary::Abs => self.b.ins().fabs(x),
                    _ => self.b.ins().sqrt(x),
                }
            }
            Pair::Binary(op, a, b) => {
                let (a, b) = (self.vector(a, depth - 1, made)?, self.vector(b, depth - 1, made)?);
                match op {
                    Binary::Add => self.b.ins().fadd(a, b),
                    Binary::Sub => self.b.ins().fsub(a, b),
                    Binary::Mul => self.b.ins().fmul(a, b),
                    _ => self.b.ins().fdiv(a, b),
                }
            }
            Pair::Load(place) => {
                // Slots are aligned to 8 bytes, not to the 16 of a pair.
                let flags = MemFlagsData::new().with_notrap();
                let flags = if place.fixed { flags.with_readonly().with_can_move() } else { flags };
                self.b.ins().load(types::F64X2, flags, place.base, place.offset)
            }
            Pair::Same(value) => {
                let value = self.scalar(value)?;
                self.b.ins().splat(types::F64X2, value)
            }
            Pair::Apart => {
                let (a, b) = (self.scalar(pair.0)?, self.scalar(pair.1)?);
                let both = self.b.ins().splat(types::F64X2, a);
                self.b.ins().insertlane(both, b, 1)
            }
        };
        made.insert(pair, vector);
        Ok(vector)
    }

    /// How a pair is made. A step whose value others read too stays apart: it is computed alone anyway.
    fn pair(&self, (a, b): (Value, Value), depth: usize) -> Pair {
        if a == b {
            return Pair::Same(a);
        }
        let alone = |v: Value| self.uses.get(v.0 as usize) == Some(&1) && depth > 0;
        match (self.sums.ops.get(&a), self.sums.ops.get(&b)) {
            (Some(Op::Real(x)), Some(Op::Real(y))) if x.to_bits() == y.to_bits() => Pair::Same(a),
            (Some(Op::Index(of, i)), Some(Op::Index(other, j))) if of == other => {
                self.side_by_side(*of, *i, *j).map_or(Pair::Apart, Pair::Load)
            }
            (Some(Op::Unary(op, x)), Some(Op::Unary(other, y)))
                if op == other && matches!(op, Unary::Neg | Unary::Abs | Unary::Sqrt) && alone(a) && alone(b) =>
            {
                if self.is_real(*x) { Pair::Unary(*op, (*x, *y)) } else { Pair::Apart }
            }
            (Some(Op::Binary(op, x, w)), Some(Op::Binary(other, y, z)))
                if op == other
                    && matches!(op, Binary::Add | Binary::Sub | Binary::Mul | Binary::Div)
                    && alone(a)
                    && alone(b) =>
            {
                if self.is_real(*x) {
                    Pair::Binary(*op, (*x, *y), (*w, *z))
                } else {
                    Pair::Apart
                }
            }
            _ => Pair::Apart,
        }
    }

    fn is_real(&self, value: Value) -> bool {
        self.function.ty(value) == Some(&Type::Real)
    }

    /// Where two elements of an array of reals stand in memory, if one follows the other there.
    fn side_by_side(&self, array: Value, first: Value, second: Value) -> Option<Place> {
        let (Type::Array(item, len), Rep::Memory(place)) = (self.function.ty(array)?, self.rep(array).ok()?) else {
            return None;
        };
        let ((None, i), (None, j)) = (self.offset(first), self.offset(second)) else { return None };
        let at = u64::try_from(i).ok()?;
        (**item == Type::Real && j == i + 1 && at + 1 < *len).then(|| place.at(at))
    }
}
