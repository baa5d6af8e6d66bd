//! Which functions and closures are numeric code throughout, so that they may be compiled.
//!
//! Numeric code computes with `int`, `real`, `bool`, enumerations, and arrays, tuples, records and genomes of these.
//! A parameter may also be a record of which only numeric fields are read, as `t.layer` of a tensor. A value that the
//! module declares (a param, a constant, a result of a run) may enter as a number.

use indexmap::IndexSet;

use super::Ty;
use crate::hir::{Expr, ExprKind, LocalId};

/// Whether a body computes with numbers only. `is_numeric_function` tells it of a declared function.
pub(super) fn is_numeric(e: &Expr, is_numeric_function: &dyn Fn(&crate::hir::GlobalRef) -> bool) -> bool {
    let ok = |e: &Expr| is_numeric(e, is_numeric_function);
    let typed = || e.ty.is_numeric() || matches!(e.ty, Ty::Range(_));
    match &e.kind {
        ExprKind::Error | ExprKind::Text(_) | ExprKind::Quantity(_) | ExprKind::Instance(_) | ExprKind::Lambda(_) => {
            false
        }
        ExprKind::ExternRef(_) => false,
        ExprKind::Field { base, .. } => e.ty.is_numeric() && (is_place(base) || ok(base)),
        ExprKind::Local(_)
        | ExprKind::Global(_)
        | ExprKind::Seed
        | ExprKind::Int(_)
        | ExprKind::Real(_)
        | ExprKind::Bool(_) => typed(),
        ExprKind::Case(_) | ExprKind::Member { .. } => typed(),
        ExprKind::CallExtern { ext, args, .. } if crate::ir::is_derivative(&ext.name) => {
            let numeric = |e: &Expr| if let ExprKind::Lambda(l) = &e.kind { ok(&l.body) } else { ok(e) };
            typed() && args.iter().flatten().all(numeric)
        }
        ExprKind::CallExtern { ext, args, rest, .. } => {
            typed() && rest.is_empty() && is_numeric_extern(ext) && args.iter().flatten().all(ok)
        }
        ExprKind::CallFunction { function, args, .. } => {
            typed() && is_numeric_function(function) && args.iter().flatten().all(|a| is_place(a) || ok(a))
        }
        ExprKind::CallValue { function, args } => {
            let numeric = match &function.kind {
                ExprKind::Lambda(l) => ok(&l.body),
                ExprKind::Global(reference) => is_numeric_function(reference),
                _ => false,
            };
            typed() && numeric && args.iter().all(ok)
        }
        ExprKind::Index { base, index } => typed() && ok(base) && ok(index),
        ExprKind::Array(items) | ExprKind::Tuple(items) => typed() && items.iter().all(ok),
        ExprKind::Record(fields) => typed() && fields.iter().all(|(_, v)| ok(v)),
        ExprKind::Comprehension(c) => {
            typed() && c.condition.is_none() && (ok(&c.source) || is_numeric_range(&c.source, &ok)) && ok(&c.element)
        }
        ExprKind::If { condition, then, otherwise } => typed() && ok(condition) && ok(then) && ok(otherwise),
        ExprKind::Let { value, body, .. } => typed() && ok(value) && ok(body),
        ExprKind::Range { .. } => is_numeric_range(e, &ok),
        ExprKind::Unary(_, a) | ExprKind::Convert(_, a) => typed() && ok(a),
        ExprKind::Binary(_, a, b) => typed() && ok(a) && ok(b),
    }
}

fn is_numeric_range(e: &Expr, ok: &dyn Fn(&Expr) -> bool) -> bool {
    matches!(&e.kind, ExprKind::Range { lo, hi, .. } if ok(lo) && ok(hi))
}

/// A local, or a field of one: what is read of it decides.
fn is_place(e: &Expr) -> bool {
    match &e.kind {
        ExprKind::Local(_) => matches!(e.ty, Ty::Record(_)) || e.ty.is_numeric(),
        ExprKind::Field { base, .. } => is_place(base),
        _ => false,
    }
}

/// Whether an extern is arithmetic that the compiler knows: numbers in, a number out.
fn is_numeric_extern(ext: &crate::library::Extern) -> bool {
    if ext.family.is_empty() || !crate::ir::is_intrinsic(&ext.name) {
        return false;
    }
    let numbers = |t: &Ty| t.is_numeric() || matches!(t, Ty::List(item) if item.is_numeric());
    &*ext.word == "fn"
        && numbers(&ext.result)
        && !ext.params.is_empty()
        && ext.params.iter().all(|p| numbers(&p.ty) && !p.rest)
}

/// The locals that an expression reads and does not bind, in order of first use.
pub(super) fn free_locals(e: &Expr) -> Vec<LocalId> {
    let mut free = IndexSet::new();
    collect(e, &mut Vec::new(), &mut free);
    free.into_iter().collect()
}

fn collect(e: &Expr, bound: &mut Vec<LocalId>, free: &mut IndexSet<LocalId>) {
    match &e.kind {
        ExprKind::Local(id) => {
            if !bound.contains(id) {
                free.insert(*id);
            }
        }
        ExprKind::Let { local, value, body, .. } => {
            collect(value, bound, free);
            bound.push(*local);
            collect(body, bound, free);
        }
        ExprKind::Comprehension(c) => {
            collect(&c.source, bound, free);
            bound.extend(c.pattern.iter().map(|(id, ..)| *id));
            c.condition.iter().for_each(|x| collect(x, bound, free));
            collect(&c.element, bound, free);
        }
        ExprKind::Lambda(l) => {
            bound.extend(l.params.iter().map(|p| p.local));
            collect(&l.body, bound, free);
        }
        _ => e.children(&mut |c| collect(c, bound, free)),
    }
}
