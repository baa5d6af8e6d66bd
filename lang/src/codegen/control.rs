//! Branches, loops and calls.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self as clif, BlockArg, InstBuilder, MemFlagsData, types};
use cranelift_module::Module as _;

use super::emit::{Emitted, Emitter, Rep, broken};
use super::memory::{Place, flags};
use crate::ir::{Block, Fault, FuncId, Type, Value, cost};
use crate::span::Span;

/// Steps that may pass before a loop looks whether it is to stop: about a millisecond.
const PATIENCE: u64 = 1 << 20;

impl<'a> Emitter<'a, '_> {
    pub(super) fn choose(
        &mut self,
        value: Value,
        condition: Value,
        then: &'a Block,
        otherwise: &'a Block,
        target: Option<Place>,
    ) -> Emitted<Rep> {
        let ty = self.ty(value)?;
        let condition = self.scalar(condition)?;
        let (yes, no, join) = (self.b.create_block(), self.b.create_block(), self.b.create_block());
        self.b.ins().brif(condition, yes, &[], no, &[]);
        let in_values = self.in_values(value);
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
                Ok(Rep::Memory(Place::new(base)))
            }
        }
    }

    pub(super) fn build(
        &mut self,
        ty: &'a Type,
        len: u64,
        body: &'a Block,
        target: Option<Place>,
        span: Span,
    ) -> Emitted<Rep> {
        let Type::Array(item, _) = ty else { return broken() };
        let place = target.unwrap_or_else(|| self.room(ty.slots()));
        if len == 0 {
            return Ok(Rep::Memory(place));
        }
        self.rounds(len, body, span, &[], &[], |e, i, _| {
            let element = e.element_at(place, i, item);
            e.block_into(body, element)?;
            Ok(Vec::new())
        })?;
        Ok(Rep::Memory(place))
    }

    pub(super) fn fold(&mut self, value: Value, len: u64, init: Value, body: &'a Block, span: Span) -> Emitted<Rep> {
        let ty = self.ty(value)?;
        let first = self.rep(init)?;
        let Some(state) = body.params.get(1).copied() else { return broken() };
        if len == 0 {
            return Ok(first);
        }
        if let Some(scalars) = self.in_values(state) {
            let mut args = Vec::new();
            self.flatten(ty, &first, &mut args)?;
            let last = self.rounds(len, body, span, &scalars, &args, |e, _, state_values| {
                let rep = Self::gather(ty, &mut state_values.iter().copied())?;
                e.set(state, rep);
                let next = e.block(body)?;
                let mut args = Vec::new();
                e.flatten(ty, &next, &mut args)?;
                Ok(args)
            })?;
            return Self::gather(ty, &mut last.into_iter());
        }
        // The next state may be made of parts of this one, so it is complete before this one is overwritten: two places
        // that change their roles from round to round.
        let (now, next) = (self.room(ty.slots()), self.room(ty.slots()));
        self.store(ty, &first, now)?;
        let (now, next) = (self.address(now), self.address(next));
        let pointers = [types::I64; 2];
        let last =
            self.rounds(len, body, span, &pointers, &[BlockArg::Value(now), BlockArg::Value(next)], |e, _, places| {
                let &[now, next] = places else { return broken() };
                e.set(state, Rep::Memory(Place::new(now)));
                e.block_into(body, Place::new(next))?;
                Ok(vec![BlockArg::Value(next), BlockArg::Value(now)])
            })?;
        last.first().map_or_else(broken, |now| Ok(Rep::Memory(Place::new(*now))))
    }

    /// A loop of `len` rounds, at least one, that carries SSA values; returns them after the last round.
    fn rounds(
        &mut self,
        len: u64,
        body: &'a Block,
        span: Span,
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
        }
        let next = round(self, i, &now)?;
        self.stop_if_asked(len, body, span);
        let after = self.b.ins().iadd_imm_u(i, 1);
        let more = self.b.ins().icmp_imm_u(IntCC::UnsignedLessThan, after, len as i64);
        let again: Vec<BlockArg> = std::iter::once(BlockArg::Value(after)).chain(next.iter().copied()).collect();
        self.b.ins().brif(more, head, &again, exit, &next);
        self.b.switch_to_block(exit);
        Ok(last)
    }

    /// Between the rounds of a loop so long that someone may want it stopped; not in the loops inside of it, nor in those
    /// that only repeat such a loop.
    fn stop_if_asked(&mut self, len: u64, body: &Block, span: Span) {
        let round = cost::block(body, &self.unit.costs);
        if round >= PATIENCE || round.saturating_mul(len) < PATIENCE {
            return;
        }
        let flag = self.b.ins().load(types::I64, flags(), self.detail, 8);
        // Set by another thread at any time, so that no load of it stands for another.
        let asked = self.b.ins().atomic_load(types::I8, MemFlagsData::trusted(), flag);
        self.raise_if(asked, Fault::Stopped, span, None);
    }

    pub(super) fn call(&mut self, ty: &'a Type, id: FuncId, args: &[Value], target: Option<Place>) -> Emitted<Rep> {
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
