//! Values in memory: places, loads, stores, copies; aggregates taken apart into SSA values and put together.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self as clif, BlockArg, InstBuilder, MemFlagsData, types};

use super::emit::{Emitted, Emitter, Rep, broken};
use crate::ir::Type;

const SLOT: i32 = 8;
/// Aggregates of at most so many slots are copied without a loop.
const UNROLL_LIMIT: u64 = 16;

/// An address: a base and bytes from it.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) base: clif::Value,
    pub(super) offset: i32,
    /// Whether what is there is an input, which no code changes, at an offset known here, so that it may be read at any
    /// time.
    pub(super) fixed: bool,
}

impl Place {
    /// Memory that is written while the code runs.
    pub(super) fn new(base: clif::Value) -> Place {
        Place { base, offset: 0, fixed: false }
    }

    /// Memory of the caller's arguments.
    pub(super) fn input(base: clif::Value) -> Place {
        Place { base, offset: 0, fixed: true }
    }

    /// So many slots further.
    pub(super) fn at(self, slots: u64) -> Place {
        Place { offset: self.offset.saturating_add((slots as i32).saturating_mul(SLOT)), ..self }
    }

    fn flags(self) -> MemFlagsData {
        if self.fixed { flags().with_readonly().with_can_move() } else { flags() }
    }
}

/// How slots are read and written: aligned, and never where there is no memory.
pub(super) fn flags() -> MemFlagsData {
    MemFlagsData::trusted()
}

impl Emitter<'_, '_> {
    /// The place of the element at a computed index.
    pub(super) fn element_at(&mut self, array: Place, index: clif::Value, item: &Type) -> Place {
        let stride = item.slots() * SLOT as u64;
        let bytes = match stride.is_power_of_two() {
            true => self.b.ins().ishl_imm_u(index, i64::from(stride.trailing_zeros())),
            false => self.b.ins().imul_imm_u(index, stride as i64),
        };
        Place { base: self.b.ins().iadd(array.base, bytes), offset: array.offset, fixed: false }
    }

    pub(super) fn load(&mut self, ty: &Type, place: Place) -> Rep {
        let word = |e: &mut Self, ty| e.b.ins().load(ty, place.flags(), place.base, place.offset);
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

    pub(super) fn store(&mut self, ty: &Type, rep: &Rep, place: Place) -> Emitted<()> {
        match (rep, ty) {
            (Rep::Scalar(value), _) => {
                let word = if *ty == Type::Bool { self.b.ins().uextend(types::I64, *value) } else { *value };
                self.b.ins().store(flags(), word, place.base, place.offset);
            }
            (Rep::Parts(parts), _) => {
                let mut slots = 0;
                for (part, part_ty) in parts.iter().zip(parts_of(ty)) {
                    self.store(part_ty, part, place.at(slots))?;
                    slots += part_ty.slots();
                }
            }
            (Rep::Memory(from), _) => self.copy(*from, place, ty.slots()),
        }
        Ok(())
    }

    pub(super) fn copy(&mut self, from: Place, to: Place, slots: u64) {
        if from.base == to.base && from.offset == to.offset {
            return;
        }
        if slots <= UNROLL_LIMIT {
            for i in 0..slots / 2 {
                self.copy_word(types::I64X2, from.at(2 * i), to.at(2 * i));
            }
            if slots % 2 == 1 {
                self.copy_word(types::I64, from.at(slots - 1), to.at(slots - 1));
            }
            return;
        }
        let pairs = slots / 2;
        let (round, exit) = (self.b.create_block(), self.b.create_block());
        let i = self.b.append_block_param(round, types::I64);
        let zero = self.b.ins().iconst(types::I64, 0);
        self.b.ins().jump(round, &[BlockArg::Value(zero)]);
        self.b.switch_to_block(round);
        let source = Place { base: self.b.ins().iadd(from.base, i), ..from };
        let target = Place { base: self.b.ins().iadd(to.base, i), ..to };
        self.copy_word(types::I64X2, source, target);
        let next = self.b.ins().iadd_imm_u(i, 2 * i64::from(SLOT));
        let end = pairs as i64 * 2 * i64::from(SLOT);
        let more = self.b.ins().icmp_imm_u(IntCC::UnsignedLessThan, next, end);
        self.b.ins().brif(more, round, &[BlockArg::Value(next)], exit, &[]);
        self.b.switch_to_block(exit);
        if slots % 2 == 1 {
            self.copy_word(types::I64, from.at(slots - 1), to.at(slots - 1));
        }
    }

    fn copy_word(&mut self, ty: clif::Type, from: Place, to: Place) {
        // Slots are aligned to 8 bytes, not to the 16 of a pair.
        let flags = MemFlagsData::new().with_notrap();
        let word = self.b.ins().load(ty, flags, from.base, from.offset);
        self.b.ins().store(flags, word, to.base, to.offset);
    }

    pub(super) fn address(&mut self, place: Place) -> clif::Value {
        if place.offset == 0 { place.base } else { self.b.ins().iadd_imm_s(place.base, i64::from(place.offset)) }
    }

    /// The value's slots in memory, written there now if they are in SSA values.
    pub(super) fn in_memory(&mut self, ty: &Type, rep: &Rep) -> Emitted<Place> {
        if let Rep::Memory(place) = rep {
            return Ok(*place);
        }
        let place = self.room(ty.slots());
        self.store(ty, rep, place)?;
        Ok(place)
    }

    // Aggregates in SSA values.

    pub(super) fn flatten(&mut self, ty: &Type, rep: &Rep, out: &mut Vec<BlockArg>) -> Emitted<()> {
        if let Rep::Scalar(value) = rep {
            out.push(BlockArg::Value(*value));
            return Ok(());
        }
        let mut slots = 0;
        for (i, part_ty) in parts_of(ty).enumerate() {
            let part = match rep {
                Rep::Parts(parts) => parts.get(i).cloned().map_or_else(broken, Ok)?,
                Rep::Memory(place) => self.load(part_ty, place.at(slots)),
                Rep::Scalar(_) => return broken(),
            };
            self.flatten(part_ty, &part, out)?;
            slots += part_ty.slots();
        }
        Ok(())
    }

    pub(super) fn gather(ty: &Type, values: &mut impl Iterator<Item = clif::Value>) -> Emitted<Rep> {
        if ty.is_scalar() {
            return values.next().map_or_else(broken, |value| Ok(Rep::Scalar(value)));
        }
        Ok(Rep::Parts(parts_of(ty).map(|part| Self::gather(part, values)).collect::<Result<_, _>>()?))
    }
}

/// The types of the elements or fields of an aggregate; none of a scalar.
fn parts_of(ty: &Type) -> impl Iterator<Item = &Type> {
    let (item, fields): (_, &[Type]) = match ty {
        Type::Array(item, len) => (Some(std::iter::repeat_n(&**item, *len as usize)), &[]),
        Type::Struct(fields) => (None, fields),
        _ => (None, &[]),
    };
    item.into_iter().flatten().chain(fields)
}
