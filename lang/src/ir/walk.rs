//! What an operation reads and holds: the one place that passes over IR take it from.

use super::{Block, FuncId, Op, Value};

impl Op {
    /// The operands of the operation itself, not those inside its blocks, in the order they are written.
    pub fn operands(&self) -> Vec<Value> {
        let mut found = Vec::new();
        self.each_operand(&mut |v| found.push(v));
        found
    }

    /// Calls `each` with every operand of the operation itself, not with those inside its blocks.
    pub fn each_operand(&self, each: &mut dyn FnMut(Value)) {
        match self {
            Op::Int(_) | Op::Real(_) | Op::Bool(_) | Op::Text(_) | Op::Build { .. } => {}
            Op::Unary(_, x) | Op::Field(x, _) | Op::If { condition: x, .. } | Op::Fold { init: x, .. } => each(*x),
            Op::Binary(_, a, b) | Op::Index(a, b) => {
                each(*a);
                each(*b);
            }
            Op::Select { condition, then, otherwise } => {
                each(*condition);
                each(*then);
                each(*otherwise);
            }
            Op::Struct(parts) | Op::Array(parts) | Op::Call(_, parts) => parts.iter().copied().for_each(each),
            Op::Batch(batch) => batch.operands().for_each(each),
        }
    }

    /// Calls `each` with a reference to every operand of the operation itself, to replace it.
    pub fn each_operand_mut(&mut self, each: &mut dyn FnMut(&mut Value)) {
        match self {
            Op::Int(_) | Op::Real(_) | Op::Bool(_) | Op::Text(_) | Op::Build { .. } => {}
            Op::Unary(_, x) | Op::Field(x, _) | Op::If { condition: x, .. } | Op::Fold { init: x, .. } => each(x),
            Op::Binary(_, a, b) | Op::Index(a, b) => {
                each(a);
                each(b);
            }
            Op::Select { condition, then, otherwise } => {
                each(condition);
                each(then);
                each(otherwise);
            }
            Op::Struct(parts) | Op::Array(parts) | Op::Call(_, parts) => parts.iter_mut().for_each(each),
            Op::Batch(batch) => batch.operands_mut().for_each(each),
        }
    }

    /// The blocks inside the operation.
    pub fn blocks(&self) -> impl Iterator<Item = &Block> {
        let (first, second) = match self {
            Op::If { then, otherwise, .. } => (Some(then), Some(otherwise)),
            Op::Build { body, .. } | Op::Fold { body, .. } => (Some(body), None),
            _ => (None, None),
        };
        first.into_iter().chain(second)
    }

    /// The blocks inside the operation, to change them.
    pub fn blocks_mut(&mut self) -> impl Iterator<Item = &mut Block> {
        let (first, second) = match self {
            Op::If { then, otherwise, .. } => (Some(then), Some(otherwise)),
            Op::Build { body, .. } | Op::Fold { body, .. } => (Some(body), None),
            _ => (None, None),
        };
        first.into_iter().chain(second)
    }
}

impl Block {
    /// Calls `each` with the function of every call in the block and in those inside it.
    pub fn each_call(&self, each: &mut dyn FnMut(FuncId)) {
        for step in &self.steps {
            if let Op::Call(id, _) = &step.op {
                each(*id);
            }
            step.op.blocks().for_each(|inner| inner.each_call(each));
        }
    }

    /// Steps of the block and of those inside it.
    pub fn size(&self) -> usize {
        self.steps.iter().map(|step| 1 + step.op.blocks().map(Block::size).sum::<usize>()).sum()
    }
}
