//! Drops steps that nothing reads and that cannot fault.

use crate::ir::ranges::Faults;
use crate::ir::{Block, Function, Value};

/// Drops the dead steps of a function, whose faults are given.
pub(super) fn drop_unread(function: &mut Function, faults: &Faults) {
    let mut read = vec![false; function.values.len()];
    block(&mut function.body, &mut read, faults);
}

fn mark(value: Value, read: &mut [bool]) {
    if let Some(slot) = read.get_mut(value.0 as usize) {
        *slot = true;
    }
}

fn block(block: &mut Block, read: &mut [bool], faults: &Faults) {
    mark(block.result, read);
    let mut kept = Vec::with_capacity(block.steps.len());
    for mut step in std::mem::take(&mut block.steps).into_iter().rev() {
        let wanted = read.get(step.value.0 as usize).copied().unwrap_or(true);
        if !wanted && !faults.of(step.value).any() {
            continue;
        }
        for inner in step.op.blocks_mut() {
            self::block(inner, read, faults);
        }
        step.op.each_operand(&mut |v| mark(v, read));
        kept.push(step);
    }
    kept.reverse();
    block.steps = kept;
}
