//! What is no error and yet probably not meant: declarations and steps that nothing uses, genes that nothing reads,
//! fitness functions that ignore their genome. Only a program that asks for results is looked at: one without requests is
//! a library, whose declarations are for those that use it. A name that begins with `_` says that it is meant so.

mod genes;
mod unused;

use crate::diag::{Code, Diagnostic};
use crate::hir::Module;
use crate::span::Span;
use crate::syntax::ast;

/// The warnings of a module without errors: as it is written, and as it was checked.
pub(crate) fn lint(tree: &ast::Module, module: &Module) -> Vec<Diagnostic> {
    if module.requests.is_empty() {
        return Vec::new();
    }
    let dead = unused::declarations(tree);
    let mut found: Vec<Diagnostic> = dead.iter().map(|(_, d)| d.clone()).collect();
    let is_dead = |name: &str| dead.iter().any(|(n, _)| n == name);
    let genes = genes::genes(tree, module, &is_dead);
    let told: Vec<Span> = genes.iter().map(|d| d.primary.span).collect();
    found.extend(genes);
    found.extend(unused::steps(tree).into_iter().filter(|d| !told.contains(&d.primary.span)));
    found
}

/// Whether a name says that nothing needs to use it.
fn is_exempt(name: &str) -> bool {
    name.starts_with('_')
}

/// A warning at a name.
fn at_name(code: Code, name: &ast::Name, title: String, label: &str) -> Diagnostic {
    Diagnostic::warning(code, name.span, title, label)
}
