//! Calls inside numeric code: of closures, which are expanded, and of declared functions, each made once for each
//! combination of argument types.

use std::sync::Arc;

use super::leaves::{Place, closed};
use super::{Body, Bound, Leaf, Lowered, Lowering, Stop};
use crate::hir::{Expr, ExprKind, Function, GlobalKind, GlobalRef, Lambda};
use crate::ir::{FuncId, Type, Value};
use crate::span::Span;

/// How deep calls of declared functions may be in one piece of code. What goes deeper is taken apart by the plan.
const CALL_LIMIT: usize = 64;

/// An IR function made from a declared one, and the leaves that it takes before its arguments.
#[derive(Clone)]
pub(super) struct Made<'a> {
    pub(super) id: FuncId,
    pub(super) leaves: Vec<(Leaf<'a>, Type)>,
}

impl<'a> Lowering<'a, '_> {
    /// A call of a closure that is at hand: its body, with its parameters bound.
    pub(super) fn expand(&mut self, f: &mut Body<'a>, function: &'a Expr, args: &'a [Expr]) -> Lowered<Value> {
        let lambda: &'a Lambda = match &function.kind {
            ExprKind::Lambda(lambda) => lambda,
            ExprKind::Local(local) => match f.locals.get(local) {
                Some(Bound::Lambda(lambda)) => lambda,
                _ => return Err(Stop),
            },
            // A declared value that is a closure reads nothing but declarations.
            ExprKind::Global(at) => {
                let program = self.program;
                let global = program.modules.get(at.module.0 as usize).and_then(|m| m.globals.get(at.index));
                match global.map(|g| &g.kind) {
                    Some(GlobalKind::Value(Expr { kind: ExprKind::Lambda(lambda), .. })) => lambda,
                    _ => return Err(Stop),
                }
            }
            _ => return Err(Stop),
        };
        let args = self.all(f, args)?;
        for (param, arg) in lambda.params.iter().zip(args) {
            f.bind(param.local, Bound::Value(arg));
        }
        self.lower(f, &lambda.body)
    }

    /// A call of a declared function.
    pub(super) fn call(
        &mut self,
        f: &mut Body<'a>,
        elsewhere: Option<&'a Expr>,
        at: GlobalRef,
        args: &'a [Option<Expr>],
        span: Span,
    ) -> Lowered<Value> {
        let program = self.program;
        let global = program.modules.get(at.module.0 as usize).and_then(|m| m.globals.get(at.index)).ok_or(Stop)?;
        let GlobalKind::Function(function) = &global.kind else { return Err(Stop) };
        let mut values = Vec::new();
        let mut shape = String::new();
        for arg in args {
            match arg {
                Some(arg) => {
                    let value = self.lower(f, arg)?;
                    shape.push_str(&format!("{:?};", f.b.ty(value)));
                    values.push(Some(value));
                }
                None => {
                    shape.push_str("default;");
                    values.push(None);
                }
            }
        }
        let outer = self.place.clone();
        if let Some(instance) = elsewhere {
            if !closed(instance, &|local| f.locals.contains_key(&local)) {
                return Err(Stop);
            }
            self.place = Some(Place::of(instance, outer.as_ref()).ok_or(Stop)?);
        }
        let types = values.iter().map(|v| v.map(|v| f.b.ty(v))).collect();
        let made = self.made(at, &global.name, function, types, shape);
        self.place = outer;
        let made = made.ok_or(Stop)?;
        let mut inputs = Vec::new();
        for (leaf, ty) in made.leaves {
            inputs.push(Self::input(f, leaf.key, leaf.expr, ty));
        }
        inputs.extend(values.into_iter().flatten());
        f.b.span = span;
        Ok(f.b.call(&self.module, made.id, inputs)?)
    }

    /// The IR function of a declared one for arguments of this shape, made once.
    fn made(
        &mut self,
        at: GlobalRef,
        name: &Arc<str>,
        function: &'a Function,
        types: Vec<Option<Type>>,
        shape: String,
    ) -> Option<Made<'a>> {
        let key = (at, self.place.as_ref().map(|place| place.name().to_owned()).unwrap_or_default(), shape);
        if let Some(made) = self.made.get(&key) {
            return made.clone();
        }
        // Marked as refused while it is made, so that a call of itself ends.
        self.made.insert(key.clone(), None);
        if self.calls >= CALL_LIMIT {
            return None;
        }
        self.calls += 1;
        let made = crate::syntax::deep(|| self.function(name, function, types).ok());
        self.calls -= 1;
        self.made.insert(key, made.clone());
        made
    }

    /// Makes the IR function of a declared one for given argument types; `None` takes the default.
    fn function(&mut self, name: &Arc<str>, function: &'a Function, types: Vec<Option<Type>>) -> Lowered<Made<'a>> {
        let given: Vec<Type> = types.iter().flatten().cloned().collect();
        let mut f = Body::new(name.clone(), &given);
        let params = f.b.params().to_vec();
        let mut rest = params.iter();
        for (param, ty) in function.params.iter().zip(&types) {
            let value = match (ty, &param.default) {
                (Some(_), _) => *rest.next().ok_or(Stop)?,
                (None, Some(default)) => self.lower(&mut f, default)?,
                (None, None) => return Err(Stop),
            };
            f.bind(param.local, Bound::Value(value));
        }
        let result = self.lower(&mut f, &function.body)?;
        self.finish_function(f, params, result)
    }

    /// Ends an IR function: its leaves come before its parameters.
    pub(super) fn finish_function(&mut self, f: Body<'a>, params: Vec<Value>, result: Value) -> Lowered<Made<'a>> {
        let Body { mut b, leaves, .. } = f;
        b.set_params(leaves.iter().map(|leaf| leaf.value).chain(params).collect());
        let leaves = leaves.into_iter().map(|leaf| (b.ty(leaf.value), leaf)).map(|(ty, leaf)| (leaf, ty)).collect();
        self.module.functions.push(b.finish(result)?);
        let id = self.module.entry().ok_or(Stop)?;
        Ok(Made { id, leaves })
    }
}
