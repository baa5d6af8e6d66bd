//! The standard library as the checker sees it: declarations as data, with no idea of what implements them.

use std::sync::Arc;

use crate::hir::Expr;
use crate::types::Ty;

/// A declaration `extern KIND name<generics>(params) -> result`.
#[derive(Clone, Debug)]
pub struct Extern {
    /// Its name, as called.
    pub name: Arc<str>,
    /// The kind word it is declared with: `fn`, `merge`, `train`, …
    pub word: Arc<str>,
    /// The library family (the module of declarations) it belongs to; empty for a user program's own `extern fn`.
    pub family: Arc<str>,
    /// Which overload of the name it is, counted from 0 in declaration order.
    pub overload: u32,
    /// Type parameters.
    pub generics: Vec<Arc<str>>,
    /// Parameters in order.
    pub params: Vec<ExternParam>,
    /// Result type.
    pub result: Ty,
    /// Documentation, without the `>>>` examples.
    pub doc: Arc<str>,
    /// The `>>>` examples, without the prompt.
    pub examples: Vec<Arc<str>>,
    /// Whether it is an elementwise numeric function of reals that also maps over arrays.
    pub elementwise: bool,
}

/// A parameter of an extern.
#[derive(Clone, Debug)]
pub struct ExternParam {
    /// Its name.
    pub name: Arc<str>,
    /// Its type; for a rest parameter, of each argument.
    pub ty: Ty,
    /// The default, in the library's own scope.
    pub default: Option<Expr>,
    /// `in lo..hi`: a range that constants are checked against.
    pub domain: Option<(f64, f64)>,
    /// `..rows: T`: any further named arguments.
    pub rest: bool,
    /// May be left out although it has no default; the implementation then sees nothing.
    pub optional: bool,
    /// The cap that `--tiny` puts on it.
    pub tiny: Option<f64>,
    /// Documentation.
    pub doc: Arc<str>,
}
