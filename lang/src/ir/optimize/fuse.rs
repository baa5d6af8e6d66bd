//! Fuses an array's making with its reading: where the one reader of a comprehension is a loop of the same length that
//! takes element `i` in round `i`, as the `sum` of it does, the element is computed there and no array is made.
//!
//! The array's elements then come round by round between the reader's own steps. So either making them cannot fault,
//! or nothing between the first element and the last read can.

use crate::ir::ranges::Faults;
use crate::ir::{Block, Function, Op, Step, Value};

/// Fuses what it can in a function.
pub(super) fn fuse(function: &mut Function, faults: &Faults) {
    let count = function.values.len();
    let mut fuser = Fuser { uses: vec![0; count], same: (0..count as u32).map(Value).collect(), faults, fused: false };
    fuser.count(&function.body);
    fuser.block(&mut function.body);
    if fuser.fused {
        fuser.rename(&mut function.body);
    }
}

struct Fuser<'a> {
    uses: Vec<u32>,
    same: Vec<Value>,
    faults: &'a Faults,
    fused: bool,
}

impl Fuser<'_> {
    fn used(&mut self, value: Value) {
        if let Some(slot) = self.uses.get_mut(value.0 as usize) {
            *slot += 1;
        }
    }

    fn count(&mut self, block: &Block) {
        for step in &block.steps {
            step.op.each_operand(&mut |v| self.used(v));
            step.op.blocks().for_each(|inner| self.count(inner));
        }
        self.used(block.result);
    }

    fn block(&mut self, block: &mut Block) {
        for step in &mut block.steps {
            step.op.blocks_mut().for_each(|inner| self.block(inner));
        }
        let mut at = 0;
        while at < block.steps.len() {
            match self.maker_for(block, at) {
                Some(maker) => {
                    self.join(block, maker, at);
                    // The reader stands one place earlier now, and may have another array to take in.
                    at -= 1;
                }
                None => at += 1,
            }
        }
    }

    /// The step that makes an array which the loop at `reader` may compute itself.
    fn maker_for(&self, block: &Block, reader: usize) -> Option<usize> {
        let step = block.steps.get(reader)?;
        let (len, body) = match &step.op {
            Op::Build { len, body } | Op::Fold { len, body, .. } => (*len, body),
            _ => return None,
        };
        let index = *body.params.first()?;
        (0..reader).rev().find(|maker| {
            let Some(Step { value, op: Op::Build { len: made, body: element }, .. }) = block.steps.get(*maker) else {
                return false;
            };
            let uses = self.uses.get(value.0 as usize).copied().unwrap_or(0);
            let calm = |steps: &[Step]| !steps.iter().any(|s| self.faults.of(s.value).any());
            let between = block.steps.get(maker + 1..reader).unwrap_or(&[]);
            uses > 0
                && self.reads(body, *value, index) == uses
                && (!self.faults.in_block(element) && *made >= len
                    || *made == len && calm(between) && !body.steps.iter().any(|s| self.faults.of(s.value).any()))
        })
    }

    /// Puts the steps that make an element before those that read it.
    fn join(&mut self, block: &mut Block, maker: usize, reader: usize) {
        let made = block.steps.remove(maker);
        let Op::Build { body: element, .. } = made.op else { return };
        let Some(step) = block.steps.get_mut(reader - 1) else { return };
        for body in step.op.blocks_mut() {
            if let (Some(own), Some(index)) = (element.params.first(), body.params.first().copied()) {
                self.is(*own, index);
                self.replace(body, made.value, element.result);
                if let Some(uses) = self.uses.get_mut(element.result.0 as usize) {
                    *uses = uses.saturating_sub(1);
                }
            }
            body.steps.splice(0..0, element.steps.iter().cloned());
        }
        self.fused = true;
    }

    /// Drops the reads of `array`; what they yield is `element`.
    fn replace(&mut self, block: &mut Block, array: Value, element: Value) {
        let mut gone = 0;
        let mut steps = std::mem::take(&mut block.steps);
        steps.retain(|step| match step.op {
            Op::Index(base, _) if self.get(base) == array => {
                let uses = self.uses.get(step.value.0 as usize).copied().unwrap_or(0);
                gone += uses;
                if let Some(slot) = self.same.get_mut(step.value.0 as usize) {
                    *slot = element;
                }
                false
            }
            _ => true,
        });
        block.steps = steps;
        if let Some(slot) = self.uses.get_mut(element.0 as usize) {
            *slot += gone;
        }
        for step in &mut block.steps {
            step.op.blocks_mut().for_each(|inner| self.replace(inner, array, element));
        }
    }

    fn is(&mut self, value: Value, other: Value) {
        if let Some(slot) = self.same.get_mut(value.0 as usize) {
            *slot = other;
        }
    }

    fn get(&self, mut value: Value) -> Value {
        while let Some(next) = self.same.get(value.0 as usize).copied().filter(|next| *next != value) {
            value = next;
        }
        value
    }

    fn rename(&self, block: &mut Block) {
        for step in &mut block.steps {
            step.op.each_operand_mut(&mut |v| *v = self.get(*v));
            step.op.blocks_mut().for_each(|inner| self.rename(inner));
        }
        block.result = self.get(block.result);
    }

    /// How often a block reads element `index` of `array`.
    fn reads(&self, block: &Block, array: Value, index: Value) -> u32 {
        let step = |op: &Op| match op {
            Op::Index(base, at) => u32::from(self.get(*base) == array && self.get(*at) == index),
            op => op.blocks().map(|inner| self.reads(inner, array, index)).sum(),
        };
        block.steps.iter().map(|s| step(&s.op)).sum()
    }
}
