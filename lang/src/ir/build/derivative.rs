//! Derivatives inside numeric code: `slope(f)(x)` and `gradient(f)(x)` as calls of functions made by differentiation.

use std::borrow::Cow;

use super::call::Made;
use super::leaves::closed;
use super::{Body, Bound, Leaf, Lengths, Lowered, Lowering, Stop};
use crate::hir::{Expr, ExprKind, Lambda, Program};
use crate::ir::straight::NotStraight;
use crate::ir::{FuncId, Module, Op, Type, Value, differentiate};
use crate::span::Span;

/// Whether a library function of this name makes a derivative of a function.
pub(in crate::ir) fn is_derivative(name: &str) -> bool {
    matches!(name, "slope" | "gradient")
}

/// Why an expression with derivatives in it is no code: the first derivative that cannot be taken, if that is why.
pub fn not_differentiable(program: &Program, e: &Expr, len: Lengths<'_>) -> Option<NotStraight> {
    let mut lowering = Lowering::new(program, len);
    let mut f = Body::new("code", &[]);
    let _ = lowering.lower(&mut f, e);
    lowering.refused
}

impl<'a> Lowering<'a, '_> {
    /// The derivative of a closure by one of its parameters, at the arguments that follow.
    pub(super) fn derivative(&mut self, f: &mut Body<'a>, args: &'a [Option<Expr>], span: Span) -> Lowered<Value> {
        let [Some(closure), Some(by), points @ ..] = args else { return Err(Stop) };
        let (ExprKind::Lambda(closure), ExprKind::Int(by)) = (&closure.kind, &by.kind) else { return Err(Stop) };
        let points = self.all(f, points.iter().flatten())?;
        let types = points.iter().map(|v| f.b.ty(*v)).collect();
        let made = self.closure_function(f, closure, types)?;
        let by = made.leaves.len() + usize::try_from(*by).map_err(|_| Stop)?;
        let id = self.differentiated(made.id, by)?;
        let mut inputs = Vec::with_capacity(made.leaves.len() + points.len());
        for (leaf, ty) in made.leaves {
            inputs.push(self.leaf_of_closure(f, leaf, ty)?);
        }
        inputs.extend(points);
        f.b.span = span;
        let both = f.b.call(&self.module, id, inputs)?;
        Ok(f.b.push(Op::Field(both, 1))?)
    }

    /// The IR function of a closure in `outer`. What it reads there are its leaves; closures there are expanded in it.
    fn closure_function(&mut self, outer: &Body<'a>, closure: &'a Lambda, types: Vec<Type>) -> Lowered<Made<'a>> {
        let mut f = Body::new("closure", &types);
        let params = f.b.params().to_vec();
        let closures = outer.locals.iter().filter(|(_, bound)| matches!(bound, Bound::Lambda(_)));
        f.locals.extend(closures.map(|(local, bound)| (*local, bound.clone())));
        for (param, value) in closure.params.iter().zip(&params) {
            f.bind(param.local, Bound::Value(*value));
        }
        let result = self.lower(&mut f, &closure.body)?;
        self.finish_function(f, params, result)
    }

    /// What a closure reads, where it stands: a local there, or from further outside.
    fn leaf_of_closure(&mut self, f: &mut Body<'a>, leaf: Leaf<'a>, ty: Type) -> Lowered<Value> {
        match leaf.expr {
            Cow::Borrowed(e) => self.lower(f, e),
            Cow::Owned(e) if closed(&e, &|local| f.locals.contains_key(&local)) => {
                Ok(Self::input(f, leaf.key, Cow::Owned(e), ty))
            }
            Cow::Owned(_) => Err(Stop),
        }
    }

    /// The function of a value and its gradient by a parameter, made once.
    fn differentiated(&mut self, id: FuncId, by: usize) -> Lowered<FuncId> {
        if let Some(made) = self.slopes.get(&(id, by)) {
            return Ok(*made);
        }
        let known = self.module.functions.get(..=id.0 as usize).unwrap_or_default().to_vec();
        let both = match differentiate::gradient(&Module { functions: known }, &[by]) {
            Ok(both) => both,
            Err(reason) => {
                self.refused.get_or_insert(reason);
                return Err(Stop);
            }
        };
        // Straight code calls nothing.
        self.module.functions.extend(both.functions);
        let made = self.module.entry().ok_or(Stop)?;
        self.slopes.insert((id, by), made);
        Ok(made)
    }
}
