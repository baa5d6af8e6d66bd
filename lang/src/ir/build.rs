//! Numeric code from the typed tree.
//!
//! The elaborator (`plan`) calls [`outline`] for an expression of numeric type and [`outline_lambda`] for a numeric
//! closure. What is not numeric code itself is a *leaf*: a name of numeric type that is bound outside (a local of an
//! enclosing body, a declaration), a field or an item of a node, a call of a library function that is no intrinsic.
//! Leaves become the function's first inputs, in order of first use, equal ones once.
//!
//! Calls of the program's own functions become calls of IR functions, made once for each combination of argument
//! types; the leaves in their bodies become inputs of the callers. Closures bound by `let` are expanded where they
//! are called.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::builder::{Builder, Mark};
use super::straight::NotStraight;
use super::verify::IrError;
use super::{Binary, FuncId, Module, Op, Type, Unary, Value, simplify};
use crate::hir::{
    BinaryOp, Comprehension, Conversion, Expr, ExprKind, GlobalRef, Lambda, LocalId, Param, Program, UnaryOp,
};
use crate::span::Span;
use crate::types::{Len, Ty};

mod arith;
mod call;
mod derivative;
mod leaves;
#[cfg(test)]
mod tests;

pub(super) use arith::{is_intrinsic, is_over_rows};
use call::Made;
pub(super) use derivative::is_derivative;
pub use derivative::not_differentiable;
use leaves::{Place, Strict, closed, key};

/// Code and what it reads.
#[derive(Clone, Debug)]
pub struct Outlined {
    /// The code; its last function is the entry.
    pub module: Module,
    /// The entry's inputs, before the parameters of a closure: evaluated by the caller where the code stands.
    pub leaves: Vec<Expr>,
    /// For each leaf, whether it is read only where some condition holds. A caller that does not know such a leaf's
    /// value yet may prefer to evaluate the condition first.
    pub conditional: Vec<bool>,
}

/// Tells an array's length: of the program that code is made for, or of a used one (an expression of it, as that
/// program sees it), whose own lengths only it can tell.
pub type Lengths<'l> = &'l mut dyn FnMut(Option<&Expr>, &Len) -> Option<u64>;

/// The code of an expression; `None` if it is not numeric code: it is a leaf as a whole, or a leaf inside of it depends
/// on what the expression itself binds (`[score(m, t) for t in tasks]`), or a length is refused by `len`.
pub fn outline(program: &Program, e: &Expr, len: Lengths<'_>) -> Option<Outlined> {
    Lowering::new(program, len).entry(&[], e)
}

/// The code of a closure of these parameters: inputs are the leaves, then the parameters.
pub fn outline_lambda(program: &Program, params: &[Param], body: &Expr, len: Lengths<'_>) -> Option<Outlined> {
    Lowering::new(program, len).entry(params, body)
}

/// This is no numeric code; an enclosing expression may still be a leaf as a whole.
#[derive(Debug)]
struct Stop;

impl From<IrError> for Stop {
    fn from(_: IrError) -> Self {
        Stop
    }
}

type Lowered<T> = Result<T, Stop>;

/// What a local stands for.
#[derive(Clone)]
enum Bound<'a> {
    Value(Value),
    Lambda(&'a Lambda),
}

/// An IR function under construction.
struct Body<'a> {
    b: Builder,
    locals: BTreeMap<LocalId, Bound<'a>>,
    /// What each binding replaced, so that a failed attempt can be undone.
    undo: Vec<(LocalId, Option<Bound<'a>>)>,
    leaves: Vec<Leaf<'a>>,
}

impl<'a> Body<'a> {
    fn new(name: impl Into<Arc<str>>, params: &[Type]) -> Self {
        Body { b: Builder::new(name, params), locals: BTreeMap::new(), undo: Vec::new(), leaves: Vec::new() }
    }

    fn bind(&mut self, local: LocalId, bound: Bound<'a>) {
        let before = self.locals.insert(local, bound);
        self.undo.push((local, before));
    }

    fn unbind(&mut self, to: usize) {
        while self.undo.len() > to {
            match self.undo.pop() {
                Some((local, Some(before))) => drop(self.locals.insert(local, before)),
                Some((local, None)) => drop(self.locals.remove(&local)),
                None => {}
            }
        }
    }
}

#[derive(Clone)]
struct Leaf<'a> {
    key: String,
    expr: Cow<'a, Expr>,
    value: Value,
}

struct Lowering<'a, 'l> {
    program: &'a Program,
    len: Lengths<'l>,
    module: Module,
    /// By declaration, the program that it is read in, and the types of its arguments.
    made: BTreeMap<(GlobalRef, String, String), Option<Made<'a>>>,
    /// The used program whose function is being made.
    place: Option<Place>,
    /// Functions of a value and its gradient, by the function and its parameter that they are made of.
    slopes: BTreeMap<(FuncId, usize), FuncId>,
    /// Why a derivative could not be made.
    refused: Option<NotStraight>,
    /// How deep calls of declared functions are in one another here.
    calls: usize,
}

impl<'a, 'l> Lowering<'a, 'l> {
    fn new(program: &'a Program, len: Lengths<'l>) -> Self {
        Lowering {
            program,
            len,
            module: Module::default(),
            made: BTreeMap::new(),
            place: None,
            slopes: BTreeMap::new(),
            refused: None,
            calls: 0,
        }
    }

    fn len(&mut self, len: &Len) -> Option<u64> {
        (self.len)(self.place.as_ref().map(Place::expr), len)
    }

    fn entry(mut self, params: &'a [Param], root: &'a Expr) -> Option<Outlined> {
        let types: Option<Vec<Type>> = params.iter().map(|p| self.ty(&p.ty)).collect();
        let mut f = Body::new("code", &types?);
        let values = f.b.params().to_vec();
        for (param, value) in params.iter().zip(&values) {
            f.bind(param.local, Bound::Value(*value));
        }
        let result = self.form(&mut f, root).ok()?;
        if params.is_empty() && f.leaves.iter().any(|leaf| leaf.value == result) {
            return None;
        }
        let Body { mut b, leaves, .. } = f;
        b.set_params(leaves.iter().map(|leaf| leaf.value).chain(values).collect());
        self.module.functions.push(b.finish(result).ok()?);
        let strict = match leaves.is_empty() {
            true => Default::default(),
            false => Strict::new(self.program, leaves.iter().map(|leaf| leaf.key.clone()).collect()).keys(root),
        };
        Some(Outlined {
            module: simplify::simplify(self.module),
            conditional: leaves.iter().map(|leaf| !strict.contains(&leaf.key)).collect(),
            leaves: leaves.into_iter().map(|leaf| leaf.expr.into_owned()).collect(),
        })
    }

    /// The layout of a type; `None` for what compiled code cannot hold. Quantities are reals in their base unit.
    fn ty(&mut self, ty: &Ty) -> Option<Type> {
        Some(match ty {
            Ty::Int | Ty::Enum(_) => Type::Int,
            Ty::Real | Ty::Duration | Ty::Bytes | Ty::Money => Type::Real,
            Ty::Bool => Type::Bool,
            Ty::Text => Type::Text,
            Ty::Array(item, len) => Type::array(self.ty(item)?, self.len(len)?),
            Ty::Tuple(items) => Type::structure(items.iter().map(|t| self.ty(t)).collect::<Option<Vec<_>>>()?),
            Ty::Record(_) | Ty::Genome(_) => {
                Type::structure(ty.fields()?.iter().map(|f| self.ty(&f.ty)).collect::<Option<Vec<_>>>()?)
            }
            _ => return None,
        })
    }

    /// The value of an expression: its code, or else a leaf.
    fn lower(&mut self, f: &mut Body<'a>, e: &'a Expr) -> Lowered<Value> {
        let mark: Mark = f.b.mark();
        let (leaves, bindings) = (f.leaves.len(), f.undo.len());
        match self.form(f, e) {
            Ok(value) => Ok(value),
            Err(Stop) => {
                f.b.rollback(&mark);
                f.leaves.truncate(leaves);
                f.unbind(bindings);
                self.leaf(f, e)
            }
        }
    }

    fn leaf(&mut self, f: &mut Body<'a>, e: &'a Expr) -> Lowered<Value> {
        if !closed(e, &|local| f.locals.contains_key(&local)) {
            return Err(Stop);
        }
        let ty = self.ty(&e.ty).ok_or(Stop)?;
        let (key, expr) = match &self.place {
            Some(place) => (place.key(e), Cow::Owned(place.seen(e).ok_or(Stop)?)),
            None => (key(e), Cow::Borrowed(e)),
        };
        Ok(Self::input(f, key, expr, ty))
    }

    /// The input for a leaf; equal leaves share one.
    fn input(f: &mut Body<'a>, key: String, expr: Cow<'a, Expr>, ty: Type) -> Value {
        if let Some(known) = f.leaves.iter().find(|leaf| leaf.key == key) {
            return known.value;
        }
        let value = f.b.add_param(ty);
        f.leaves.push(Leaf { key, expr, value });
        value
    }

    /// The code of an expression that is numeric code at its head.
    #[allow(clippy::too_many_lines, reason = "one flat match over the sorts of expression")]
    fn form(&mut self, f: &mut Body<'a>, e: &'a Expr) -> Lowered<Value> {
        f.b.span = e.span;
        match &e.kind {
            ExprKind::Int(value) => Ok(f.b.int(*value)?),
            ExprKind::Real(value) | ExprKind::Quantity(value) => Ok(f.b.real(*value)?),
            ExprKind::Bool(value) => Ok(f.b.bool(*value)?),
            ExprKind::Text(text) => Ok(f.b.push(Op::Text(text.clone()))?),
            ExprKind::Case(index) if matches!(e.ty, Ty::Enum(_)) => Ok(f.b.int(i64::from(*index))?),
            ExprKind::Local(local) => match f.locals.get(local) {
                Some(Bound::Value(value)) => Ok(*value),
                Some(Bound::Lambda(_)) => Err(Stop),
                None => self.leaf(f, e),
            },
            ExprKind::Global(_) | ExprKind::Member { .. } | ExprKind::Seed => self.leaf(f, e),
            ExprKind::Field { base, index, .. } => self.field(f, e, base, *index),
            ExprKind::Index { base, index } => {
                let (base, index) = (self.lower(f, base)?, self.lower(f, index)?);
                f.b.span = e.span;
                Ok(f.b.push(Op::Index(base, index))?)
            }
            ExprKind::Array(items) if items.is_empty() => {
                let ty = self.ty(&e.ty).ok_or(Stop)?;
                zero(&mut f.b, &ty)
            }
            ExprKind::Array(items) => {
                let items = self.all(f, items)?;
                Ok(f.b.push(Op::Array(items))?)
            }
            ExprKind::Tuple(items) => {
                let items = self.all(f, items)?;
                Ok(f.b.push(Op::Struct(items))?)
            }
            ExprKind::Record(fields) => {
                let items = self.all(f, fields.iter().map(|(_, value)| value))?;
                Ok(f.b.push(Op::Struct(items))?)
            }
            ExprKind::If { condition, then, otherwise } => {
                let condition = self.lower(f, condition)?;
                self.branch(f, condition, |s, f| s.lower(f, then), |s, f| s.lower(f, otherwise))
            }
            ExprKind::Let { local, value, body, .. } => {
                let bound = match &value.kind {
                    ExprKind::Lambda(lambda) => Bound::Lambda(lambda),
                    _ => Bound::Value(self.lower(f, value)?),
                };
                f.bind(*local, bound);
                self.lower(f, body)
            }
            ExprKind::Comprehension(c) => self.comprehension(f, c, e),
            ExprKind::CallExtern { ext, args, .. } if is_derivative(&ext.name) => self.derivative(f, args, e.span),
            ExprKind::CallExtern { ext, args, rest, .. } if rest.is_empty() => {
                let args: Vec<&'a Expr> = args.iter().map(Option::as_ref).collect::<Option<_>>().ok_or(Stop)?;
                self.intrinsic(f, ext, &args, e.span)
            }
            ExprKind::CallFunction { instance, function, args } => {
                self.call(f, instance.as_deref(), *function, args, e.span)
            }
            ExprKind::CallValue { function, args } => self.expand(f, function, args),
            ExprKind::Unary(UnaryOp::Neg, x) => {
                let x = self.lower(f, x)?;
                self.map(f, e.span, &[x], &|b, x| b.unary(Unary::Neg, x[0]))
            }
            ExprKind::Unary(UnaryOp::Not, x) => {
                let x = self.lower(f, x)?;
                Ok(f.b.unary(Unary::Not, x)?)
            }
            ExprKind::Binary(op, a, b) => self.binary(f, *op, a, b, e.span),
            ExprKind::Convert(Conversion::ArrayToList | Conversion::GenomeToRecord, x) => self.lower(f, x),
            ExprKind::Convert(Conversion::IntToReal | Conversion::Elements, x) => {
                let x = self.lower(f, x)?;
                self.coerce(f, x, &e.ty)
            }
            _ => Err(Stop),
        }
    }

    fn all(&mut self, f: &mut Body<'a>, items: impl IntoIterator<Item = &'a Expr>) -> Lowered<Vec<Value>> {
        items.into_iter().map(|item| self.lower(f, item)).collect()
    }

    /// A field of a value at hand; a field of something outside is a leaf by itself, so that code reads no more than
    /// it needs.
    fn field(&mut self, f: &mut Body<'a>, e: &'a Expr, base: &'a Expr, index: Option<u32>) -> Lowered<Value> {
        let Some(index) = index else { return self.leaf(f, e) };
        if is_outer_place(base, f) {
            return self.leaf(f, e);
        }
        let base = self.lower(f, base)?;
        f.b.span = e.span;
        Ok(f.b.push(Op::Field(base, index))?)
    }

    fn branch(
        &mut self,
        f: &mut Body<'a>,
        condition: Value,
        then: impl FnOnce(&mut Self, &mut Body<'a>) -> Lowered<Value>,
        otherwise: impl FnOnce(&mut Self, &mut Body<'a>) -> Lowered<Value>,
    ) -> Lowered<Value> {
        f.b.open(&[]);
        let result = then(self, f)?;
        let then = f.b.close(result)?;
        f.b.open(&[]);
        let result = otherwise(self, f)?;
        let otherwise = f.b.close(result)?;
        Ok(f.b.push(Op::If { condition, then, otherwise })?)
    }

    /// `[element for pattern in source]`: over a range, an array, or arrays side by side.
    fn comprehension(&mut self, f: &mut Body<'a>, c: &'a Comprehension, e: &'a Expr) -> Lowered<Value> {
        if c.condition.is_some() {
            return Err(Stop);
        }
        let source = self.source(f, c, e)?;
        let index = f.b.open(&[Type::Int]).first().copied().ok_or(Stop)?;
        match (&source, c.pattern.as_slice()) {
            (Source::Range { first, .. }, [(local, ..)]) => {
                let item = f.b.binary(Binary::Add, *first, index)?;
                f.bind(*local, Bound::Value(item));
            }
            (Source::Arrays(arrays, _), pattern) => {
                let items =
                    arrays.iter().map(|array| f.b.push(Op::Index(*array, index))).collect::<Result<Vec<_>, _>>()?;
                self.bind_items(f, &items, pattern)?;
            }
            _ => return Err(Stop),
        }
        let element = self.lower(f, &c.element)?;
        let body = f.b.close(element)?;
        let (Source::Range { len, .. } | Source::Arrays(_, len)) = source;
        f.b.span = e.span;
        Ok(f.b.push(Op::Build { len, body })?)
    }

    fn bind_items(&mut self, f: &mut Body<'a>, items: &[Value], pattern: &[(LocalId, Arc<str>, Ty)]) -> Lowered<()> {
        match (items, pattern) {
            ([item], [(local, ..)]) => {
                f.bind(*local, Bound::Value(*item));
            }
            ([item], _) => {
                for (i, (local, ..)) in pattern.iter().enumerate() {
                    let part = f.b.push(Op::Field(*item, i as u32))?;
                    f.bind(*local, Bound::Value(part));
                }
            }
            (_, [(local, ..)]) => {
                let tuple = f.b.push(Op::Struct(items.to_vec()))?;
                f.bind(*local, Bound::Value(tuple));
            }
            _ => {
                for (item, (local, ..)) in items.iter().zip(pattern) {
                    f.bind(*local, Bound::Value(*item));
                }
            }
        }
        Ok(())
    }

    fn source(&mut self, f: &mut Body<'a>, c: &'a Comprehension, e: &'a Expr) -> Lowered<Source> {
        match &c.source.kind {
            ExprKind::Range { lo, hi, inclusive } => {
                let len = match &e.ty {
                    Ty::Array(_, len @ (Len::Const(_) | Len::Static { .. })) => self.len(len).ok_or(Stop)?,
                    _ => range_len(lo, hi, *inclusive).ok_or(Stop)?,
                };
                Ok(Source::Range { first: self.lower(f, lo)?, len })
            }
            ExprKind::CallExtern { ext, args, .. } if &*ext.name == "zip" => {
                let arrays = self.all(f, args.iter().flatten())?;
                let mut lens = arrays.iter().map(|array| array_len(&f.b, *array));
                let len = lens.next().flatten().ok_or(Stop)?;
                if lens.any(|other| other != Some(len)) {
                    return Err(Stop);
                }
                Ok(Source::Arrays(arrays, len))
            }
            _ => {
                let array = self.lower(f, &c.source)?;
                let len = array_len(&f.b, array).ok_or(Stop)?;
                Ok(Source::Arrays(vec![array], len))
            }
        }
    }

    fn binary(&mut self, f: &mut Body<'a>, op: BinaryOp, a: &'a Expr, b: &'a Expr, span: Span) -> Lowered<Value> {
        let left = self.lower(f, a)?;
        match op {
            BinaryOp::And => return self.branch(f, left, |s, f| s.lower(f, b), |_, f| Ok(f.b.bool(false)?)),
            BinaryOp::Or => return self.branch(f, left, |_, f| Ok(f.b.bool(true)?), |s, f| s.lower(f, b)),
            BinaryOp::Pow => {
                if let Some(exponent) = whole_literal(b) {
                    return self.power(f, left, exponent, b, span);
                }
            }
            _ => {}
        }
        let right = self.lower(f, b)?;
        f.b.span = span;
        self.operator(f, op, left, right, span)
    }
}

/// What a comprehension runs over.
enum Source {
    Range { first: Value, len: u64 },
    Arrays(Vec<Value>, u64),
}

fn array_len(b: &Builder, value: Value) -> Option<u64> {
    match b.ty(value) {
        Type::Array(_, len) => Some(len),
        _ => None,
    }
}

/// The length of a range of literals.
fn range_len(lo: &Expr, hi: &Expr, inclusive: bool) -> Option<u64> {
    let (ExprKind::Int(lo), ExprKind::Int(hi)) = (&lo.kind, &hi.kind) else { return None };
    u64::try_from(hi.checked_sub(*lo)?.checked_add(i64::from(inclusive))?.max(0)).ok()
}

fn whole_literal(e: &Expr) -> Option<i64> {
    match &e.kind {
        ExprKind::Int(value) => Some(*value),
        ExprKind::Convert(Conversion::IntToReal, x) => whole_literal(x),
        _ => None,
    }
}

/// A name bound outside, or a field of one.
fn is_outer_place(e: &Expr, f: &Body<'_>) -> bool {
    match &e.kind {
        ExprKind::Local(local) => !f.locals.contains_key(local),
        ExprKind::Global(_) | ExprKind::Member { .. } => true,
        ExprKind::Field { base, .. } => is_outer_place(base, f),
        _ => false,
    }
}

/// A value of a type, all zero: what an empty array is said to be made of.
fn zero(b: &mut Builder, ty: &Type) -> Lowered<Value> {
    Ok(match ty {
        Type::Int => b.int(0)?,
        Type::Real => b.real(0.0)?,
        Type::Bool => b.bool(false)?,
        Type::Text => b.push(Op::Text("".into()))?,
        Type::Array(item, len) => {
            b.open(&[Type::Int]);
            let element = zero(b, item)?;
            let body = b.close(element)?;
            b.push(Op::Build { len: *len, body })?
        }
        Type::Struct(fields) => {
            let fields = fields.iter().map(|f| zero(b, f)).collect::<Lowered<Vec<_>>>()?;
            b.push(Op::Struct(fields))?
        }
    })
}
