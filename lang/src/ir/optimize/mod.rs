//! Makes IR fast without changing what it computes: the same bits (one NaN is as good as another), the same fault at
//! the same place.
//!
//! [`rewrite`] walks a function once: it folds constants, applies the identities of [`rules`], computes equal steps
//! once, calls small functions in place, repeats short loops, turns short branches into selections. [`fuse`] computes
//! an array's elements where the one loop that reads them wants them. [`hoist`] moves what does not change out of
//! loops. [`dead`] drops what nothing reads. A step that can fault (as [`ranges`](super::ranges) tells) is dropped or
//! moved by none of them unless its fault would show at the same place all the same.
//!
//! Identity (`plan::numeric`) is taken of code as `simplify` leaves it, before any of this, so that a better optimiser
//! makes no kept result stale.

use super::ranges::faults;
use super::rows::{self, RowFunction};
use super::{Function, Module};

mod dead;
mod fuse;
mod hoist;
mod rewrite;
mod rules;

/// What the optimiser knows of a function that stands before the one at hand.
struct Callee {
    function: Function,
    /// Whether calls are replaced by the body.
    inline: bool,
    size: usize,
    depth: usize,
}

/// Functions of at most so many steps are always called in place.
const SMALL: usize = 40;

/// The entry of a verified module and what it still calls, optimised; the entry stays last.
pub fn optimize(module: &Module) -> Module {
    let mut called = vec![0_usize; module.functions.len()];
    for function in &module.functions {
        function.body.each_call(&mut |id| {
            if let Some(count) = called.get_mut(id.0 as usize) {
                *count += 1;
            }
        });
    }
    let mut callees: Vec<Callee> = Vec::with_capacity(module.functions.len());
    let mut fallible = Vec::with_capacity(module.functions.len());
    for (function, calls) in module.functions.iter().zip(&called) {
        let function = self::function(function.clone(), &callees, &fallible);
        fallible.push(faults(&function, &fallible).in_block(&function.body));
        let (size, depth) = (function.body.size(), rewrite::depth(&function.body));
        callees.push(Callee { inline: size <= SMALL || *calls == 1, size, depth, function });
    }
    super::simplify::reachable(callees.into_iter().map(|callee| callee.function).collect())
}

/// Row code optimised, such as a loss's value and gradients in one function, which then share what they have in common.
/// [`Batch::Detach`](super::Batch::Detach) is gone from it: differentiate before.
pub fn optimize_rows(row: &RowFunction) -> RowFunction {
    let small = RowFunction { function: function(row.function.clone(), &[], &[]), uniform: row.uniform.clone() };
    // A column may turn out to be one number for the batch, over which there is no sum; such code stays as it is.
    if rows::verify(&small).is_ok() { small } else { row.clone() }
}

fn function(function: Function, callees: &[Callee], fallible: &[bool]) -> Function {
    let mut function = rewrite::rewrite(function, callees, false);
    let proved = faults(&function, fallible);
    dead::drop_unread(&mut function, &proved);
    if !function.body.steps.iter().any(|step| step.op.blocks().next().is_some()) {
        return function;
    }
    fuse::fuse(&mut function, &proved);
    let proved = faults(&function, fallible);
    hoist::hoist(&mut function, &proved);
    let mut function = rewrite::rewrite(function, &[], true);
    let proved = faults(&function, fallible);
    dead::drop_unread(&mut function, &proved);
    function
}
