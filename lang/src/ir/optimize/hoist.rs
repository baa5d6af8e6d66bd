//! Moves steps that do not change from round to round out of loops.
//!
//! Only from the body itself, not from branches inside it, and only from loops that run at least once: then such a step
//! is sure to run. One that can fault moves only if nothing before it in the body can.

use crate::ir::ranges::Faults;
use crate::ir::{Block, Function, Op, Step, Value};

/// Moves what it can in every loop of a function.
pub(super) fn hoist(function: &mut Function, faults: &Faults) {
    let mut inside = vec![false; function.values.len()];
    block(&mut function.body, &mut inside, faults);
}

fn block(block: &mut Block, inside: &mut [bool], faults: &Faults) {
    let mut steps = Vec::with_capacity(block.steps.len());
    for mut step in std::mem::take(&mut block.steps) {
        for inner in step.op.blocks_mut() {
            self::block(inner, inside, faults);
        }
        if let Op::Build { len: 1.., body } | Op::Fold { len: 1.., body, .. } = &mut step.op {
            mark(body, inside, true);
            move_out(body, inside, faults, &mut steps);
            mark(body, inside, false);
        }
        steps.push(step);
    }
    block.steps = steps;
}

fn move_out(body: &mut Block, inside: &mut [bool], faults: &Faults, out: &mut Vec<Step>) {
    let mut clean = true;
    let mut kept = Vec::with_capacity(body.steps.len());
    for step in std::mem::take(&mut body.steps) {
        let can_fault = faults.of(step.value).any();
        if (clean || !can_fault) && !reads_inside(&step, inside) {
            mark_step(&step, inside, false);
            out.push(step);
        } else {
            clean &= !can_fault;
            kept.push(step);
        }
    }
    body.steps = kept;
}

/// Whether a step reads what the loop defines, other than what it defines itself.
fn reads_inside(step: &Step, inside: &mut [bool]) -> bool {
    fn reads(op: &Op, inside: &[bool]) -> bool {
        let mut found = false;
        op.each_operand(&mut |v| found |= is(inside, v));
        found || op.blocks().any(|block| is(inside, block.result) || block.steps.iter().any(|s| reads(&s.op, inside)))
    }
    // What the step defines inside itself is its own: for the while of the question it does not count.
    mark_step(step, inside, false);
    let found = reads(&step.op, inside);
    mark_step(step, inside, true);
    found
}

fn is(inside: &[bool], value: Value) -> bool {
    inside.get(value.0 as usize).copied().unwrap_or(true)
}

fn mark(block: &Block, inside: &mut [bool], to: bool) {
    for param in &block.params {
        if let Some(slot) = inside.get_mut(param.0 as usize) {
            *slot = to;
        }
    }
    block.steps.iter().for_each(|step| mark_step(step, inside, to));
}

fn mark_step(step: &Step, inside: &mut [bool], to: bool) {
    if let Some(slot) = inside.get_mut(step.value.0 as usize) {
        *slot = to;
    }
    step.op.blocks().for_each(|inner| mark(inner, inside, to));
}
