//! What code reads from outside: which expressions may be read there, when two of them are one, and which are read
//! whatever happens.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;

use crate::hir::{BinaryOp, Expr, ExprKind, GlobalKind, GlobalRef, Instance, LocalId, ModuleId, Program};
use crate::types::Ty;

/// A set of keys.
type Keys = BTreeSet<String>;

/// Whether an expression reads none of the locals for which `bound` holds.
pub(super) fn closed(e: &Expr, bound: &dyn Fn(LocalId) -> bool) -> bool {
    match &e.kind {
        ExprKind::Local(local) => !bound(*local),
        _ => {
            let mut all = true;
            e.children(&mut |child| all = all && closed(child, bound));
            all
        }
    }
}

/// What tells leaves apart: equal keys are equal expressions.
pub(super) fn key(e: &Expr) -> String {
    let mut out = String::new();
    if !write_key(e, &mut out) {
        out.clear();
        // An expression of another form is itself only; the tree does not move while it is read.
        let _ = write!(out, "@{:p}", std::ptr::from_ref(e));
    }
    out
}

/// A used program as the user's program sees it.
#[derive(Clone)]
pub(super) struct Place {
    instance: Arc<Expr>,
    key: Arc<str>,
}

impl Place {
    /// The program that `instance` names in the program `outer`; `None` for what has no such form.
    pub(super) fn of(instance: &Expr, outer: Option<&Place>) -> Option<Place> {
        let seen = match outer {
            Some(outer) => outer.seen(instance)?,
            None => instance.clone(),
        };
        // Told apart by the expression as it stands in the tree, which does not move.
        let key = outer.map_or_else(|| key(instance), |outer| outer.key(instance));
        Some(Place { instance: Arc::new(seen), key: key.into() })
    }

    /// What tells places apart.
    pub(super) fn name(&self) -> &str {
        &self.key
    }

    /// The program, as an expression of the user's program.
    pub(super) fn expr(&self) -> &Expr {
        &self.instance
    }

    /// What the program reads, as the user's program reads it; `None` for what has no such form.
    pub(super) fn seen(&self, e: &Expr) -> Option<Expr> {
        moved(e, &self.instance)
    }

    /// The key of what the program reads.
    pub(super) fn key(&self, e: &Expr) -> String {
        format!("{}~{}", self.key, key(e))
    }
}

fn moved(e: &Expr, instance: &Expr) -> Option<Expr> {
    let moved_all = |args: &[Option<Expr>]| -> Option<Vec<Option<Expr>>> {
        args.iter().map(|arg| arg.as_ref().map_or(Some(None), |arg| moved(arg, instance).map(Some))).collect()
    };
    let kind = match &e.kind {
        ExprKind::Global(at) if matches!(instance.ty, Ty::Instance(module) if module == at.module) => {
            ExprKind::Member { instance: Box::new(instance.clone()), global: at.index }
        }
        // The library's own declarations are the same for all programs.
        ExprKind::Global(at) if at.module == ModuleId(0) => e.kind.clone(),
        ExprKind::Member { instance: inner, global } => {
            ExprKind::Member { instance: Box::new(moved(inner, instance)?), global: *global }
        }
        ExprKind::Instance(set) => {
            let outer = match &set.outer {
                Some(outer) => moved(outer, instance)?,
                None => instance.clone(),
            };
            let args = set.args.iter().map(|(i, arg)| Some((*i, moved(arg, instance)?))).collect::<Option<_>>()?;
            let seed = match &set.seed {
                Some(seed) => Some(moved(seed, instance)?),
                None => None,
            };
            ExprKind::Instance(Box::new(Instance { outer: Some(outer), module: set.module, args, seed }))
        }
        ExprKind::Field { base, name, index } => {
            ExprKind::Field { base: Box::new(moved(base, instance)?), name: name.clone(), index: *index }
        }
        ExprKind::Index { base, index } => {
            ExprKind::Index { base: Box::new(moved(base, instance)?), index: Box::new(moved(index, instance)?) }
        }
        ExprKind::CallExtern { ext, args, rest, type_args } if rest.is_empty() => ExprKind::CallExtern {
            ext: ext.clone(),
            args: moved_all(args)?,
            rest: Vec::new(),
            type_args: type_args.clone(),
        },
        ExprKind::Int(_) | ExprKind::Real(_) | ExprKind::Bool(_) | ExprKind::Text(_) => e.kind.clone(),
        _ => return None,
    };
    Some(Expr { kind, ty: e.ty.clone(), span: e.span })
}

fn write_key(e: &Expr, out: &mut String) -> bool {
    match &e.kind {
        ExprKind::Local(local) => {
            out.push_str(&local_key(*local));
            true
        }
        ExprKind::Global(global) => write!(out, "g{}.{}", global.module.0, global.index).is_ok(),
        ExprKind::Seed => write!(out, "seed").is_ok(),
        ExprKind::Int(value) => write!(out, "{value}").is_ok(),
        ExprKind::Field { base, name, .. } => write_key(base, out) && write!(out, ".{name}").is_ok(),
        ExprKind::Member { instance, global } => write_key(instance, out) && write!(out, ".{global}").is_ok(),
        ExprKind::CallExtern { ext, args, rest, .. } if rest.is_empty() => {
            let _ = write!(out, "{}/{}/{}(", ext.family, ext.name, ext.overload);
            args.iter().all(|arg| match arg {
                Some(arg) => write_key(arg, out) && write!(out, ",").is_ok(),
                None => write!(out, "_,").is_ok(),
            }) && write!(out, ")").is_ok()
        }
        _ => false,
    }
}

/// Finds which leaves are read whenever an expression is evaluated, whichever way its conditions turn out.
pub(super) struct Strict<'a> {
    program: &'a Program,
    /// Their keys: only these are looked for. With them those of locals, by which a `let` is followed to its value.
    leaves: Keys,
    functions: BTreeMap<GlobalRef, Keys>,
}

impl<'a> Strict<'a> {
    pub(super) fn new(program: &'a Program, leaves: Keys) -> Self {
        Strict { program, leaves, functions: BTreeMap::new() }
    }

    /// The keys of the leaves that are read. Locals that the expression binds are among them.
    pub(super) fn keys(&mut self, e: &'a Expr) -> Keys {
        let mut keys = match &e.kind {
            ExprKind::If { condition, then, otherwise } => {
                let (then, otherwise) = (self.keys(then), self.keys(otherwise));
                let mut keys = self.keys(condition);
                keys.extend(then.intersection(&otherwise).cloned());
                keys
            }
            ExprKind::Binary(BinaryOp::And | BinaryOp::Or, a, _) => self.keys(a),
            ExprKind::Let { local, value, body, .. } => {
                let mut keys = self.keys(body);
                if keys.contains(&local_key(*local)) {
                    keys.extend(self.keys(value));
                }
                keys
            }
            ExprKind::Comprehension(c) => {
                let mut keys = self.keys(&c.source);
                keys.extend(self.keys(&c.element));
                keys
            }
            ExprKind::CallFunction { instance, function, args } => {
                // A call that is a leaf is not looked into; a used program's function that is code reads nothing but its
                // arguments.
                let closed = instance.is_some() || self.leaves.contains(&key(e));
                let mut keys = if closed { Keys::new() } else { self.function(*function) };
                keys.extend(args.iter().flatten().flat_map(|arg| self.keys(arg)));
                keys
            }
            ExprKind::CallValue { function, args } => {
                let mut keys = self.keys(function);
                keys.extend(args.iter().flat_map(|arg| self.keys(arg)));
                keys
            }
            // It is asked for where it is called.
            ExprKind::Lambda(lambda) => self.keys(&lambda.body),
            _ => {
                let mut keys = Keys::new();
                e.children(&mut |child| keys.extend(self.keys(child)));
                keys
            }
        };
        let key = key(e);
        if key.starts_with(LOCAL) || self.leaves.contains(&key) {
            keys.insert(key);
        }
        keys
    }

    /// What a declared function reads besides its parameters.
    fn function(&mut self, at: GlobalRef) -> Keys {
        if let Some(keys) = self.functions.get(&at) {
            return keys.clone();
        }
        // Entered first, so that a call of itself ends.
        self.functions.insert(at, Keys::new());
        let program = self.program;
        let global = program.modules.get(at.module.0 as usize).and_then(|m| m.globals.get(at.index));
        let Some(GlobalKind::Function(function)) = global.map(|g| &g.kind) else { return Keys::new() };
        let mut keys = crate::syntax::deep(|| self.keys(&function.body));
        keys.retain(|key| !key.starts_with(LOCAL));
        self.functions.insert(at, keys.clone());
        keys
    }
}

const LOCAL: char = '%';

fn local_key(local: LocalId) -> String {
    format!("{LOCAL}{}", local.0)
}
