//! Walks over typed trees: which expressions hold a place.

use crate::hir::{Expr, GlobalKind, Module, RequestKind};

/// The expressions of a module that stand by themselves: bodies, defaults, ranges, requests.
pub(crate) fn roots(module: &Module) -> Vec<&Expr> {
    let mut out = Vec::new();
    for global in &module.globals {
        match &global.kind {
            GlobalKind::Param { default, domain } => {
                out.extend(default);
                out.extend(domain.iter().map(|d| &d.range));
            }
            GlobalKind::Value(e) => out.push(e),
            GlobalKind::Function(f) => {
                out.extend(f.params.iter().filter_map(|p| p.default.as_ref()));
                out.push(&f.body);
            }
            GlobalKind::Genome(g) => out.extend(g.fields.iter().filter_map(|f| f.domain.as_ref()).map(|d| &d.range)),
            GlobalKind::Use(_) | GlobalKind::Type | GlobalKind::Extern(_) | GlobalKind::Error => {}
        }
    }
    for request in &module.requests {
        match &request.kind {
            RequestKind::Save { value, path } => out.extend([value, path]),
            RequestKind::Print(e) => out.push(e),
            RequestKind::Plot { value, over, path } => {
                out.push(value);
                out.extend(over.iter().chain(path));
            }
            RequestKind::Expect { condition, message } => {
                out.push(condition);
                out.extend(message);
            }
        }
    }
    out
}

/// The expressions of a module that hold the byte `at`, the outermost first. Defaults that a call fills in stand in
/// other files and are not among them.
pub(crate) fn path_to(module: &Module, at: usize) -> Vec<&Expr> {
    let holds = |e: &Expr| {
        let range = e.span.range();
        e.span.file == module.file && range.start <= at && at < range.end
    };
    let mut path = Vec::new();
    let mut level = roots(module);
    // The innermost wins: conversions and steps share their place with what they hold.
    while let Some(next) = level.iter().rev().copied().find(|e| holds(e)) {
        path.push(next);
        level = Vec::new();
        next.children(&mut |child| level.push(child));
    }
    path
}
