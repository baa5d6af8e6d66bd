//! How many steps code takes at the most: every loop has a fixed length, so that the whole follows from the text.

use super::{Block, Module, Op};

/// Steps of the module's entry; saturating.
pub fn cost(module: &Module) -> u64 {
    let mut costs = Vec::with_capacity(module.functions.len());
    for function in &module.functions {
        let made = block(&function.body, &costs);
        costs.push(made);
    }
    costs.last().copied().unwrap_or(0)
}

/// Steps of a block; `functions` has those of the functions that it may call.
pub(crate) fn block(b: &Block, functions: &[u64]) -> u64 {
    b.steps.iter().fold(1, |sum: u64, step| sum.saturating_add(self::step(&step.op, functions)))
}

fn step(op: &Op, functions: &[u64]) -> u64 {
    match op {
        Op::If { then, otherwise, .. } => block(then, functions).max(block(otherwise, functions)),
        Op::Build { len, body } | Op::Fold { len, body, .. } => block(body, functions).saturating_mul(*len),
        Op::Call(id, _) => functions.get(id.0 as usize).copied().unwrap_or(0).saturating_add(1),
        Op::Array(items) | Op::Struct(items) => items.len() as u64,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::super::builder::Builder;
    use super::super::{Binary, Module, Type};
    use super::cost;

    #[test]
    fn loops_multiply_and_calls_add() {
        let mut b = Builder::new("inner", &[Type::Int]);
        let x = b.params()[0];
        let sum = b.fold(10, x, |b, i, sum| b.binary(Binary::Add, sum, i)).unwrap();
        let inner = b.finish(sum).unwrap();
        let mut module = Module { functions: vec![inner] };
        let once = cost(&module);
        assert!((20..30).contains(&once), "{once}");
        let mut b = Builder::new("outer", &[Type::Int]);
        let x = b.params()[0];
        let sum = b.fold(1000, x, |b, _, sum| b.call(&module, super::super::FuncId(0), vec![sum])).unwrap();
        let outer = b.finish(sum).unwrap();
        module.functions.push(outer);
        assert!((1000 * once..1100 * once).contains(&cost(&module)), "{}", cost(&module));
    }
}
