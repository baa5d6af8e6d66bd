//! The identity of a function: its code without spans and names, and the identities of all it reads.

use std::sync::Arc;

use super::closure::{Body, Env, InstanceId};
use super::elaborate::{Abort, Elaborator};
use super::key::{Hasher, Key};
use crate::hir::{Expr, ExprKind, GlobalKind, LocalId};
use crate::span::Span;
use crate::types::Ty;

/// Walks a body; locals bound inside are numbered in order of binding, all others are read from `env`.
pub(super) struct Walk<'e> {
    elaborator: &'e mut Elaborator,
    /// What is bound outside, and a stand-in for each local bound inside: programs that are set from one are looked into.
    env: Env,
    bound: Vec<LocalId>,
    hasher: Hasher,
}

impl<'e> Walk<'e> {
    /// The key of `body` as seen from `env`.
    pub(super) fn body(elaborator: &'e mut Elaborator, body: &Body, env: &Env) -> Result<Key, Abort> {
        let mut walk = Walk { elaborator, env: env.clone(), bound: Vec::new(), hasher: Hasher::new("code") };
        for param in body.params() {
            walk.bind(param.local, &param.ty);
            walk.hasher.text(&param.ty.to_string());
        }
        walk.expr(body.expr())?;
        Ok(walk.hasher.finish())
    }

    fn bind(&mut self, local: LocalId, ty: &Ty) {
        let stand_in = self.elaborator.hypothesis(ty, self.bound.len(), Span::default());
        self.bound.push(local);
        self.env.bind(local, stand_in);
    }

    /// Something of a used program, as far as it can be told before its params are.
    fn program(&mut self, look: impl FnOnce(&mut Elaborator, &Env) -> Result<Key, Abort>) {
        let env = &self.env;
        let key = match self.elaborator.quietly(|e| look(e, env)) {
            Ok(key) => key,
            Err(Abort) => self.elaborator.program_text(),
        };
        self.hasher.key(&key);
    }

    fn node(&mut self, id: super::NodeId) {
        let key = self.elaborator.graph().node(id).key;
        self.hasher.tag(1).key(&key);
    }

    fn local(&mut self, local: LocalId) -> Result<(), Abort> {
        if let Some(i) = self.bound.iter().rposition(|l| *l == local) {
            self.hasher.tag(2).number(i as u64);
            return Ok(());
        }
        match self.env.get(local) {
            Some(id) => self.node(id),
            None => return Err(Abort),
        }
        Ok(())
    }

    fn all<'x>(&mut self, items: impl IntoIterator<Item = &'x Expr>) -> Result<(), Abort> {
        items.into_iter().try_for_each(|item| self.expr(item))
    }

    fn optional<'x>(&mut self, items: impl ExactSizeIterator<Item = Option<&'x Expr>>) -> Result<(), Abort> {
        self.hasher.number(items.len() as u64);
        for item in items {
            match item {
                Some(item) => self.expr(item)?,
                None => {
                    self.hasher.tag(0);
                }
            }
        }
        Ok(())
    }

    /// One flat match over the sorts of expression, each under its own tag.
    #[expect(clippy::too_many_lines, reason = "one flat match: an arm for each sort of expression")]
    fn expr(&mut self, e: &Expr) -> Result<(), Abort> {
        match &e.kind {
            ExprKind::Int(i) => {
                self.hasher.tag(10).number(*i as u64);
            }
            ExprKind::Real(r) | ExprKind::Quantity(r) => {
                self.hasher.tag(11).number(r.to_bits());
            }
            ExprKind::Bool(b) => {
                self.hasher.tag(12).number(u64::from(*b));
            }
            ExprKind::Text(text) => {
                self.hasher.tag(13).text(text);
            }
            ExprKind::Case(i) => {
                self.hasher.tag(14).number(u64::from(*i)).text(&e.ty.to_string());
            }
            ExprKind::Seed => {
                let seed = self.elaborator.seed(self.env.instance);
                self.node(seed);
            }
            ExprKind::Local(local) => self.local(*local)?,
            ExprKind::Global(global) => {
                let instance = self.elaborator.instance_for(self.env.instance, global.module)?;
                self.global(instance, global.index)?;
            }
            ExprKind::ExternRef(ext) => {
                self.hasher.tag(15).text(&ext.family).text(&ext.name).number(u64::from(ext.overload));
            }
            ExprKind::Instance(set) => {
                self.hasher.tag(16).number(set.args.len() as u64);
                self.all(set.parts())?;
                self.program(|elaborator, env| {
                    let id = elaborator.expr(e, env)?;
                    Ok(elaborator.graph().node(id).key)
                });
            }
            ExprKind::Member { .. } => {
                self.hasher.tag(32);
                self.program(|elaborator, env| {
                    let id = elaborator.expr(e, env)?;
                    Ok(elaborator.graph().node(id).key)
                });
            }
            ExprKind::CallExtern { ext, args, rest, type_args } => {
                self.hasher.tag(17).text(&ext.family).text(&ext.name).number(u64::from(ext.overload));
                let is_aside = |i: usize| ext.params.get(i).is_some_and(|p| p.aside);
                self.optional(args.iter().enumerate().map(|(i, arg)| arg.as_ref().filter(|_| !is_aside(i))))?;
                for (name, value) in rest {
                    self.hasher.text(name);
                    self.expr(value)?;
                }
                for (name, ty) in type_args {
                    self.hasher.text(name).text(&ty.to_string());
                }
            }
            ExprKind::CallFunction { instance, function, args } => {
                self.hasher.tag(18);
                match instance {
                    Some(instance) => self.program(|elaborator, env| {
                        let owner = elaborator.instance(instance, env)?;
                        elaborator.declared_key(owner, function.index)
                    }),
                    None => {
                        let owner = self.elaborator.instance_for(self.env.instance, function.module)?;
                        self.global(owner, function.index)?;
                    }
                }
                self.optional(args.iter().map(Option::as_ref))?;
            }
            ExprKind::CallValue { function, args } => {
                self.hasher.tag(19);
                self.expr(function)?;
                self.all(args)?;
            }
            ExprKind::Field { base, name, .. } => {
                self.hasher.tag(20).text(name);
                self.expr(base)?;
            }
            ExprKind::Index { base, index } => {
                self.hasher.tag(21);
                self.all([&**base, &**index])?;
            }
            ExprKind::Array(items) | ExprKind::Tuple(items) => {
                self.hasher.tag(22).number(items.len() as u64);
                self.all(items)?;
            }
            ExprKind::Record(fields) => {
                self.hasher.tag(23).number(fields.len() as u64);
                for (name, value) in fields {
                    self.hasher.text(name);
                    self.expr(value)?;
                }
            }
            ExprKind::Comprehension(c) => {
                self.hasher.tag(24).number(c.pattern.len() as u64);
                self.expr(&c.source)?;
                for (local, _, ty) in &c.pattern {
                    self.bind(*local, ty);
                }
                self.all(c.condition.iter().chain([&c.element]))?;
            }
            ExprKind::If { condition, then, otherwise } => {
                self.hasher.tag(25);
                self.all([&**condition, &**then, &**otherwise])?;
            }
            ExprKind::Let { local, value, body, .. } => {
                self.hasher.tag(26);
                self.expr(value)?;
                self.bind(*local, &value.ty);
                self.expr(body)?;
            }
            ExprKind::Lambda(lambda) => {
                self.hasher.tag(27).number(lambda.params.len() as u64);
                for param in &lambda.params {
                    self.bind(param.local, &param.ty);
                }
                self.expr(&lambda.body)?;
            }
            ExprKind::Range { lo, hi, inclusive } => {
                self.hasher.tag(28).number(u64::from(*inclusive));
                self.all([&**lo, &**hi])?;
            }
            ExprKind::Unary(op, a) => {
                self.hasher.tag(29).number(*op as u64);
                self.expr(a)?;
            }
            ExprKind::Binary(op, a, b) => {
                self.hasher.tag(30).number(*op as u64);
                self.all([&**a, &**b])?;
            }
            ExprKind::Convert(conversion, a) => {
                self.hasher.tag(31).number(*conversion as u64).text(&e.ty.to_string());
                self.expr(a)?;
            }
            ExprKind::Error => return Err(Abort),
        }
        Ok(())
    }

    /// A value enters by its node's key, a function by its own fingerprint.
    fn global(&mut self, instance: InstanceId, index: usize) -> Result<(), Abort> {
        let key = self.elaborator.declared_key(instance, index)?;
        self.hasher.tag(3).key(&key);
        Ok(())
    }
}

impl Elaborator {
    /// The identity of a declaration: of its node, or of a function its fingerprint.
    fn declared_key(&mut self, instance: InstanceId, index: usize) -> Result<Key, Abort> {
        match &self.declaration(instance, index).kind {
            GlobalKind::Function(function) => {
                let function = Arc::clone(function);
                self.function_key(instance, index, &function)
            }
            _ => {
                let id = self.global(instance, index)?;
                Ok(self.graph().node(id).key)
            }
        }
    }
}
