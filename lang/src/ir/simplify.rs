//! Makes IR smaller without changing what it computes, faults included: folds constants as both engines would
//! compute them, takes known branches, sees through structs and array literals, drops steps that nothing reads and
//! that cannot fail, drops functions that nothing calls. No rule of real arithmetic that IEEE 754 lacks is used.

use super::fold::{self, Known as Scalar};
use super::{Block, Function, Module, Op, Step, Unary, Value};

/// The module with its functions simplified; the entry stays last.
pub fn simplify(module: Module) -> Module {
    let mut fallible = Vec::new();
    let mut functions = Vec::new();
    for function in module.functions {
        let function = rewrite(function, &fallible);
        fallible.push(block_can_fail(&function.body, &fallible));
        functions.push(function);
    }
    reachable(functions)
}

/// What is known of a value.
#[derive(Clone, Debug)]
enum Known {
    Scalar(Scalar),
    Parts(Vec<Value>),
}

struct Rewriter {
    known: Vec<Option<Known>>,
    same: Vec<Value>,
}

fn rewrite(function: Function, fallible: &[bool]) -> Function {
    let count = function.values.len();
    let same = (0..count as u32).map(Value).collect();
    let mut rewriter = Rewriter { known: vec![None; count], same };
    let mut body = rewriter.block(function.body);
    let mut used = vec![false; count];
    mark_used(body.result, &mut used);
    drop_unread(&mut body, &mut used, fallible);
    Function { body, ..function }
}

impl Rewriter {
    fn get(&self, value: Value) -> Value {
        self.same.get(value.0 as usize).copied().unwrap_or(value)
    }

    fn known(&self, value: Value) -> Option<&Known> {
        self.known.get(value.0 as usize)?.as_ref()
    }

    fn scalar(&self, value: Value) -> Option<Scalar> {
        match self.known(value)? {
            Known::Scalar(scalar) => Some(*scalar),
            Known::Parts(_) => None,
        }
    }

    fn learn(&mut self, value: Value, op: &Op) {
        let known = match op {
            Op::Struct(parts) | Op::Array(parts) => Known::Parts(parts.clone()),
            op => match Scalar::of(op) {
                Some(scalar) => Known::Scalar(scalar),
                None => return,
            },
        };
        if let Some(slot) = self.known.get_mut(value.0 as usize) {
            *slot = Some(known);
        }
    }

    fn block(&mut self, block: Block) -> Block {
        let mut steps = Vec::with_capacity(block.steps.len());
        let result = self.splice(block.steps, block.result, &mut steps);
        Block { params: block.params, steps, result }
    }

    fn splice(&mut self, from: Vec<Step>, result: Value, into: &mut Vec<Step>) -> Value {
        for step in from {
            self.step(step, into);
        }
        self.get(result)
    }

    fn step(&mut self, step: Step, into: &mut Vec<Step>) {
        let Step { value, mut op, span } = step;
        op.each_operand_mut(&mut |v| *v = self.get(*v));
        let op = match op {
            Op::If { condition, then, otherwise } => match self.scalar(condition) {
                Some(Scalar::Bool(holds)) => {
                    let branch = if holds { then } else { otherwise };
                    let result = self.splice(branch.steps, branch.result, into);
                    return self.is(value, result);
                }
                _ => Op::If { condition, then: self.block(then), otherwise: self.block(otherwise) },
            },
            Op::Fold { len: 0, init, .. } => return self.is(value, init),
            Op::Build { len, body } => Op::Build { len, body: self.block(body) },
            Op::Fold { len, init, body } => Op::Fold { len, init, body: self.block(body) },
            op => op,
        };
        if let Some(other) = self.part(&op) {
            return self.is(value, other);
        }
        let op = fold::constant(&op, |v| self.scalar(v)).unwrap_or(op);
        self.learn(value, &op);
        into.push(Step { value, op, span });
    }

    fn is(&mut self, value: Value, other: Value) {
        if let Some(slot) = self.same.get_mut(value.0 as usize) {
            *slot = other;
        }
    }

    /// The value that an operation only passes on.
    fn part(&self, op: &Op) -> Option<Value> {
        match op {
            Op::Field(base, index) => match self.known(*base)? {
                Known::Parts(parts) => parts.get(*index as usize).copied(),
                _ => None,
            },
            Op::Index(base, index) => match (self.known(*base)?, self.scalar(*index)?) {
                (Known::Parts(parts), Scalar::Int(index)) => parts.get(usize::try_from(index).ok()?).copied(),
                _ => None,
            },
            Op::Select { condition, then, otherwise } => match self.scalar(*condition)? {
                Scalar::Bool(holds) => Some(if holds { *then } else { *otherwise }),
                _ => None,
            },
            _ => None,
        }
    }
}

fn mark_used(value: Value, used: &mut [bool]) {
    if let Some(slot) = used.get_mut(value.0 as usize) {
        *slot = true;
    }
}

fn drop_unread(block: &mut Block, used: &mut [bool], fallible: &[bool]) {
    let mut kept = Vec::with_capacity(block.steps.len());
    for mut step in std::mem::take(&mut block.steps).into_iter().rev() {
        let read = used.get(step.value.0 as usize).copied().unwrap_or(true);
        if !read && !can_fail(&step.op, fallible) {
            continue;
        }
        for inner in step.op.blocks_mut() {
            mark_used(inner.result, used);
            drop_unread(inner, used, fallible);
        }
        step.op.each_operand(&mut |v| mark_used(v, used));
        kept.push(step);
    }
    kept.reverse();
    block.steps = kept;
}

fn block_can_fail(block: &Block, fallible: &[bool]) -> bool {
    block.steps.iter().any(|step| can_fail(&step.op, fallible))
}

fn can_fail(op: &Op, fallible: &[bool]) -> bool {
    use super::Binary::*;
    match op {
        Op::Index(..) => true,
        // Which of these are on ints is not looked up: to keep one too many is harmless.
        Op::Unary(op, _) => matches!(op, Unary::Neg | Unary::Abs | Unary::ToInt),
        Op::Binary(op, ..) => matches!(op, Add | Sub | Mul | IntDiv | Rem),
        Op::Call(id, _) => fallible.get(id.0 as usize).copied().unwrap_or(true),
        op => op.blocks().any(|inner| block_can_fail(inner, fallible)),
    }
}

/// Keeps the entry and what it calls.
pub(super) fn reachable(functions: Vec<Function>) -> Module {
    let mut wanted = vec![false; functions.len()];
    if let Some(last) = wanted.last_mut() {
        *last = true;
    }
    for (index, function) in functions.iter().enumerate().rev() {
        if wanted.get(index) == Some(&true) {
            function.body.each_call(&mut |id| {
                if let Some(slot) = wanted.get_mut(id.0 as usize) {
                    *slot = true;
                }
            });
        }
    }
    let mut next = 0;
    let numbers: Vec<u32> = wanted
        .iter()
        .map(|wanted| {
            next += u32::from(*wanted);
            next.saturating_sub(1)
        })
        .collect();
    let mut kept: Vec<Function> = functions.into_iter().zip(&wanted).filter(|(_, w)| **w).map(|(f, _)| f).collect();
    for function in &mut kept {
        renumber(&mut function.body, &numbers);
    }
    Module { functions: kept }
}

fn renumber(block: &mut Block, numbers: &[u32]) {
    for step in &mut block.steps {
        if let Op::Call(id, _) = &mut step.op {
            id.0 = numbers.get(id.0 as usize).copied().unwrap_or(id.0);
        }
        for inner in step.op.blocks_mut() {
            renumber(inner, numbers);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::builder::Builder;
    use crate::ir::{Binary, Type, print};

    #[test]
    fn constants_fold_but_faults_stay() {
        let mut b = Builder::new("f", &[Type::Int]);
        let (two, zero) = (b.int(2).unwrap(), b.int(0).unwrap());
        let four = b.binary(Binary::Mul, two, two).unwrap();
        let _fault = b.binary(Binary::IntDiv, four, zero).unwrap();
        let _unread = b.real(1.0).unwrap();
        let x = b.params()[0];
        let sum = b.binary(Binary::Add, x, four).unwrap();
        let module = simplify(Module { functions: vec![b.finish(sum).unwrap()] });
        let text = print::canonical(&module);
        assert!(text.contains("int 4") && text.contains("int_div") && !text.contains("real"), "{text}");
    }

    #[test]
    fn a_known_branch_is_taken_and_uncalled_functions_go() {
        let mut unused = Builder::new("unused", &[]);
        let one = unused.int(1).unwrap();
        let mut b = Builder::new("f", &[Type::Int]);
        let x = b.params()[0];
        let yes = b.bool(true).unwrap();
        type E = crate::ir::verify::IrError;
        let chosen = b.branch(yes, |_| Ok::<_, E>(x), |b| b.int(9)).unwrap();
        let pair = b.push(Op::Struct(vec![chosen, yes])).unwrap();
        let back = b.push(Op::Field(pair, 0)).unwrap();
        let functions = vec![unused.finish(one).unwrap(), b.finish(back).unwrap()];
        let module = simplify(Module { functions });
        assert_eq!(print::canonical(&module), "fn f0(v0: int) -> int {\n  v0\n}\n");
    }
}
