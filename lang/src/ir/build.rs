//! Numeric code from the typed tree.
//!
//! The elaborator (`plan`) calls [`outline`] for an expression of numeric type and [`outline_lambda`] for a numeric
//! closure. What is not numeric code itself is a *leaf*: a name of numeric type that is bound outside (a local of an
//! enclosing body, a declaration), a field or an item of a node, a call of a library function that is no intrinsic.
//! Leaves become the function's first inputs, in order of first use, equal ones once.

use crate::hir::{Expr, Param, Program};
use crate::ir::Module;
use crate::types::Len;

/// Code and what it reads.
#[derive(Clone, Debug)]
pub struct Outlined {
    /// The code; its last function is the entry.
    pub module: Module,
    /// The entry's inputs, before the parameters of a closure: evaluated by the caller where the code stands.
    pub leaves: Vec<Expr>,
}

/// The code of an expression; `None` if it is not numeric code: it is a leaf as a whole, or a leaf inside of it depends
/// on what the expression itself binds (`[score(m, t) for t in tasks]`), or a length is refused by `len`.
pub fn outline(program: &Program, e: &Expr, len: &mut dyn FnMut(&Len) -> Option<u64>) -> Option<Outlined> {
    let _ = (program, e, len);
    None
}

/// The code of a closure of these parameters: inputs are the leaves, then the parameters.
pub fn outline_lambda(
    program: &Program,
    params: &[Param],
    body: &Expr,
    len: &mut dyn FnMut(&Len) -> Option<u64>,
) -> Option<Outlined> {
    let _ = (program, params, body, len);
    None
}
