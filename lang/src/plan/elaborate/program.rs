//! Programs as functions of their params: instances, what names one, and where an instance's files lie.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Abort, Elaborator, Result};
use crate::diag::{Code, Diagnostic};
use crate::hir::{Expr, ExprKind, Global, GlobalKind, ModuleId};
use crate::plan::closure::{Env, InstanceId};
use crate::plan::graph::{NodeId, Op};
use crate::plan::key::{Hasher, Key};
use crate::plan::konst::Const;
use crate::span::Span;
use crate::types::Ty;

impl Elaborator {
    /// The instance that a global reference of `module` means, seen from `current`: itself, or the library's module.
    pub(crate) fn instance_for(&mut self, current: InstanceId, module: ModuleId) -> Result<InstanceId> {
        if self.instances[current.0 as usize].module == module {
            return Ok(current);
        }
        let seed = self.seed(current);
        Ok(self.add_instance(module, BTreeMap::new(), seed))
    }

    /// A declaration of `module` that a type mentions, such as a genome, or a length's param. Where a program is used with
    /// several params, all of its instances must agree on it.
    pub(super) fn reference(
        &mut self,
        current: InstanceId,
        module: ModuleId,
        index: usize,
        span: Span,
    ) -> Result<NodeId> {
        let foreign = self.instances[current.0 as usize].module != module && module != ModuleId(0);
        let of: Vec<InstanceId> = (0..self.instances.len() as u32)
            .map(InstanceId)
            .filter(|id| foreign && self.instances[id.0 as usize].module == module && !self.is_supposed(*id))
            .collect();
        let Some((first, others)) = of.split_first() else {
            let owner = self.instance_for(current, module)?;
            return self.global(owner, index);
        };
        let value = self.global(*first, index)?;
        for other in others {
            if self.global(*other, index)? != value {
                let name = self.declaration(*first, index).name.clone();
                let program = self.module(module).name.clone();
                return Err(self.fail(
                    Diagnostic::error(
                        Code::E0332,
                        span,
                        format!("`{program}` is used with several params, and `{name}` differs between them"),
                        "which one is meant?",
                    )
                    .help(format!("call a function of `{program}` that uses `{name}`, or declare it in this file")),
                ));
            }
        }
        Ok(value)
    }

    /// Whether an instance was made with stand-ins for its params.
    fn is_supposed(&self, id: InstanceId) -> bool {
        self.instances[id.0 as usize].args.values().any(|arg| self.graph.node(*arg).hypothetical)
    }

    /// The instance that an expression of a program's type names.
    pub(crate) fn instance(&mut self, e: &Expr, env: &Env) -> Result<InstanceId> {
        match &e.kind {
            ExprKind::Instance(set) => {
                let owner = match &set.outer {
                    Some(outer) => self.instance(outer, env)?,
                    None => env.instance,
                };
                let mut args = BTreeMap::new();
                for (index, value) in &set.args {
                    args.insert(*index, self.expr(value, env)?);
                }
                let seed = match &set.seed {
                    Some(seed) => self.expr(seed, env)?,
                    None => self.seed(owner),
                };
                Ok(self.add_instance(set.module, args, seed))
            }
            ExprKind::Global(global) => {
                let owner = self.instance_for(env.instance, global.module)?;
                self.declared_instance(owner, global.index, e)
            }
            ExprKind::Member { instance, global } => {
                let owner = self.instance(instance, env)?;
                self.declared_instance(owner, *global, e)
            }
            _ => {
                let id = self.expr(e, env)?;
                self.known_instance(id, e.span)
            }
        }
    }

    /// The program that a `use`, a `let` or a param names.
    fn declared_instance(&mut self, owner: InstanceId, index: usize, e: &Expr) -> Result<InstanceId> {
        match self.declaration(owner, index).kind.clone() {
            GlobalKind::Use(module) => {
                let seed = self.seed(owner);
                Ok(self.add_instance(module, BTreeMap::new(), seed))
            }
            GlobalKind::Value(value) => {
                let span = value.span;
                self.deeper(span, |me| me.instance(&value, &Env::new(owner)))
            }
            _ => {
                let id = self.global(owner, index)?;
                self.known_instance(id, e.span)
            }
        }
    }

    fn known_instance(&mut self, id: NodeId, span: Span) -> Result<InstanceId> {
        match self.graph.node(id).op {
            Op::Program(instance) => Ok(instance),
            _ => Err(self.fail(
                Diagnostic::error(
                    Code::E0332,
                    span,
                    "which program is meant must be known before the run",
                    "depends on a result",
                )
                .help("name a used program here, or choose between its results instead"),
            )),
        }
    }

    /// A `use` as a value.
    pub(super) fn used(&mut self, owner: InstanceId, module: ModuleId, global: &Global) -> Result<NodeId> {
        let seed = self.seed(owner);
        let instance = self.add_instance(module, BTreeMap::new(), seed);
        self.program_node(instance, global.ty.clone(), global.name_span)
    }

    /// A program as a value. Its identity is all that it declares, since any of it may be asked for.
    pub(super) fn program_node(&mut self, instance: InstanceId, ty: Ty, span: Span) -> Result<NodeId> {
        let program = self.program.clone();
        let module = &program.modules[self.instances[instance.0 as usize].module.0 as usize];
        let mut h = Hasher::new("program");
        for (index, global) in module.globals.iter().enumerate() {
            let key = match &global.kind {
                GlobalKind::Function(function) => self.function_key(instance, index, function)?,
                GlobalKind::Param { .. } | GlobalKind::Value(_) | GlobalKind::Genome(_) | GlobalKind::Use(_) => {
                    let id = self.global(instance, index)?;
                    self.graph.node(id).key
                }
                GlobalKind::Type | GlobalKind::Extern(_) => continue,
                GlobalKind::Error => return Err(Abort),
            };
            h.text(&global.name).key(&key);
        }
        h.key(&self.instance_key(instance));
        let key = h.finish();
        Ok(self.graph.add(Op::Program(instance), Vec::new(), ty, span, Some(&key)).0)
    }

    /// What `f` makes of the program that a node is; of both, where a condition of the run decides which it is.
    pub(super) fn of_program(
        &mut self,
        e: &Expr,
        instance: &Expr,
        env: &Env,
        f: &mut dyn FnMut(&mut Self, InstanceId) -> Result<NodeId>,
    ) -> Result<NodeId> {
        match &instance.kind {
            ExprKind::Instance(_) | ExprKind::Global(_) | ExprKind::Member { .. } => {
                let instance = self.instance(instance, env)?;
                f(self, instance)
            }
            _ => {
                let id = self.expr(instance, env)?;
                self.of_program_node(id, e, instance.span, f)
            }
        }
    }

    fn of_program_node(
        &mut self,
        id: NodeId,
        e: &Expr,
        span: Span,
        f: &mut dyn FnMut(&mut Self, InstanceId) -> Result<NodeId>,
    ) -> Result<NodeId> {
        let node = self.graph.node(id).clone();
        match (&node.op, &*node.inputs) {
            (Op::If, [condition, then, otherwise]) => {
                let then = self.of_program_node(*then, e, span, f)?;
                let otherwise = self.of_program_node(*otherwise, e, span, f)?;
                Ok(self.graph.add(Op::If, vec![*condition, then, otherwise], e.ty.clone(), e.span, None).0)
            }
            _ => {
                let instance = self.known_instance(id, span)?;
                f(self, instance)
            }
        }
    }

    /// Runs `f` and forgets what it reported and which declarations failed in it: a look ahead with stand-ins.
    pub(crate) fn quietly<T>(&mut self, f: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let before = self.diagnostics.len();
        let result = f(self);
        if self.diagnostics.len() > before || result.is_err() {
            self.diagnostics.truncate(before);
            self.calls.retain(|_, result| result.is_some());
            for instance in &mut self.instances {
                instance.forget_failures();
            }
        }
        result
    }

    /// The path of an input as seen from the entry program's folder: it is written relative to the program that reads it.
    pub(super) fn input_path(&mut self, id: NodeId, reader: InstanceId) -> NodeId {
        let node = self.graph.node(id).clone();
        let Op::Const(Const::Text(path)) = &node.op else { return id };
        let module = self.module(self.instances[reader.0 as usize].module);
        let seen = from_entry(&self.module(self.program.entry).path, &module.path, path);
        match seen {
            Some(seen) => self.graph.add_const(Const::Text(seen.into()), node.ty.clone(), node.span),
            None => id,
        }
    }

    /// The hash of a whole program as it was checked: the identity of what cannot be looked into.
    pub(crate) fn program_text(&self) -> Key {
        Key::of("text", &[format!("{:?}", self.program.modules).as_bytes()])
    }
}

/// `path` as written in the file `of`, seen from the folder of the file `entry`; `None` if that is the same.
fn from_entry(entry: &Arc<str>, of: &Arc<str>, path: &str) -> Option<String> {
    let is_absolute = |p: &str| p.starts_with(['/', '\\']) || p.get(1..2) == Some(":");
    let folder = |file: &str| -> Vec<String> {
        let (folder, _) = file.rsplit_once(['/', '\\']).unwrap_or_default();
        folder.split(['/', '\\']).filter(|p| !matches!(*p, "" | ".")).map(str::to_owned).collect()
    };
    if entry == of || is_absolute(path) {
        return None;
    }
    if is_absolute(of) && !is_absolute(entry) {
        let (folder, _) = of.rsplit_once(['/', '\\'])?;
        return Some(format!("{folder}/{path}"));
    }
    let (from, to) = (folder(entry), folder(of));
    let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = from.iter().skip(shared).map(|_| "..");
    let down = to.iter().skip(shared).map(String::as_str);
    let steps: Vec<&str> = up.chain(down).collect();
    (!steps.is_empty()).then(|| format!("{}/{path}", steps.join("/")))
}

#[cfg(test)]
mod tests {
    use super::from_entry;

    #[test]
    fn input_paths_are_seen_from_the_entry() {
        let see = |entry: &str, of: &str, path: &str| from_entry(&entry.into(), &of.into(), path);
        assert_eq!(see("a.evo", "a.evo", "models/x"), None);
        assert_eq!(see("a.evo", "b.evo", "models/x"), None);
        assert_eq!(see("a.evo", "lib/b.evo", "models/x").as_deref(), Some("lib/models/x"));
        assert_eq!(see("a.evo", "lib/b.evo", "/models/x"), None);
        assert_eq!(see("programs/a.evo", "programs/lib/b.evo", "x").as_deref(), Some("lib/x"));
        assert_eq!(see("x/y/a.evo", "x/b.evo", "d.jsonl").as_deref(), Some("../d.jsonl"));
        assert_eq!(see("x/y/a.evo", "x/z/b.evo", "d.jsonl").as_deref(), Some("../z/d.jsonl"));
        assert_eq!(see("/x/a.evo", "/x/lib/b.evo", "d").as_deref(), Some("lib/d"));
        assert_eq!(see("a.evo", "/lib/b.evo", "d").as_deref(), Some("/lib/d"));
    }
}
