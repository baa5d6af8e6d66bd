//! When a value of one type is accepted where another is expected, and the conversion that it takes.
//!
//! Type variables of a body are `Ty::Var("?0")`, `Ty::Var("?1")`, …: `?` begins no name.

use std::sync::Arc;

use super::cx::Checker;
use super::{FieldTy, FnTy, GenomeTy, Len, Ty};
use crate::hir::{Conversion, Expr, ExprKind, Lambda, Param};

/// What the type variables of a body stand for.
#[derive(Clone, Debug, Default)]
pub(super) struct Metas(Vec<Option<Ty>>);

fn meta_index(name: &str) -> Option<usize> {
    name.strip_prefix('?')?.parse().ok()
}

impl Metas {
    /// A new type variable.
    pub(super) fn fresh(&mut self) -> Ty {
        self.0.push(None);
        Ty::Var(format!("?{}", self.0.len() - 1).into())
    }

    /// The type itself, not a variable that stands for it.
    pub(super) fn shallow(&self, ty: &Ty) -> Ty {
        let mut ty = ty.clone();
        while let Ty::Var(name) = &ty {
            match meta_index(name).and_then(|i| self.0.get(i)) {
                Some(Some(next)) => ty = next.clone(),
                _ => break,
            }
        }
        ty
    }

    /// The type with all variables that are known replaced.
    pub(super) fn zonk(&self, ty: &Ty) -> Ty {
        if self.0.is_empty() || !ty.has_vars() {
            return ty.clone();
        }
        ty.map_vars(&|name| {
            let known = meta_index(name).and_then(|i| self.0.get(i)).cloned().flatten()?;
            Some(self.zonk(&known))
        })
    }

    /// Whether there is any.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn bind(&mut self, index: usize, ty: Ty) -> bool {
        let ty = self.zonk(&ty);
        if matches!(&ty, Ty::Var(n) if meta_index(n) == Some(index)) {
            return true;
        }
        if self.occurs(index, &ty) {
            return false;
        }
        if let Some(slot) = self.0.get_mut(index) {
            *slot = Some(ty);
        }
        true
    }

    fn occurs(&self, index: usize, ty: &Ty) -> bool {
        let found = std::cell::Cell::new(false);
        ty.map_vars(&|name| {
            if meta_index(name) == Some(index) {
                found.set(true);
            }
            None
        });
        found.get()
    }

    /// Makes two types equal, if variables can be so chosen. Lengths agree unless they are different numbers: two
    /// different symbolic lengths are compared when the program's params are known.
    pub(super) fn unify(&mut self, a: &Ty, b: &Ty) -> bool {
        let (a, b) = (self.shallow(a), self.shallow(b));
        match (&a, &b) {
            // What an error leaves unknown is no second error elsewhere.
            (Ty::Var(x), Ty::Error) | (Ty::Error, Ty::Var(x)) if meta_index(x).is_some() => {
                self.bind(meta_index(x).unwrap_or(0), Ty::Error)
            }
            (Ty::Error, _) | (_, Ty::Error) => true,
            (Ty::Var(x), Ty::Var(y)) if x == y => true,
            (Ty::Var(x), _) if meta_index(x).is_some() => self.bind(meta_index(x).unwrap_or(0), b),
            (_, Ty::Var(y)) if meta_index(y).is_some() => self.bind(meta_index(y).unwrap_or(0), a),
            (Ty::Int, Ty::Int) | (Ty::Real, Ty::Real) | (Ty::Bool, Ty::Bool) | (Ty::Text, Ty::Text) => true,
            (Ty::Duration, Ty::Duration)
            | (Ty::Bytes, Ty::Bytes)
            | (Ty::Money, Ty::Money)
            | (Ty::Program, Ty::Program) => true,
            (Ty::Array(x, n), Ty::Array(y, m)) => lengths_agree(n, m) && self.unify(x, y),
            // `real[]` of a library declaration takes a list too.
            (Ty::List(x), Ty::Array(y, Len::Any)) => self.unify(x, y),
            (Ty::List(x), Ty::List(y)) | (Ty::Range(x), Ty::Range(y)) => self.unify(x, y),
            (Ty::Tuple(xs), Ty::Tuple(ys)) => self.unify_all(xs, ys),
            (Ty::Union(xs), Ty::Union(ys)) => self.unify_all(xs, ys),
            (Ty::Record(x), Ty::Record(y)) => self.unify_fields(&x.fields, &y.fields),
            (Ty::Enum(x), Ty::Enum(y)) => x.cases == y.cases,
            (Ty::Genome(x), Ty::Genome(y)) => same_genome(x, y),
            (Ty::Fn(x), Ty::Fn(y)) => self.unify_fns(x, y),
            (Ty::Node(x), Ty::Node(y)) => x.name == y.name && self.unify_all(&x.args, &y.args),
            (Ty::Instance(x), Ty::Instance(y)) => x == y,
            (Ty::Instance(_), Ty::Program) | (Ty::Program, Ty::Instance(_)) => true,
            _ => false,
        }
    }

    fn unify_all(&mut self, xs: &[Ty], ys: &[Ty]) -> bool {
        xs.len() == ys.len() && xs.iter().zip(ys).all(|(x, y)| self.unify(x, y))
    }

    fn unify_fields(&mut self, xs: &[FieldTy], ys: &[FieldTy]) -> bool {
        xs.len() == ys.len() && xs.iter().zip(ys).all(|(x, y)| x.name == y.name && self.unify(&x.ty, &y.ty))
    }

    fn unify_fns(&mut self, x: &FnTy, y: &FnTy) -> bool {
        x.params.len() == y.params.len()
            && x.params.iter().zip(&y.params).all(|((_, x), (_, y))| self.unify(x, y))
            && self.unify(&x.result, &y.result)
    }

    /// How a value of type `from` becomes one of type `to`; `None` if it does not. Nothing is decided on failure.
    pub(super) fn relate(&mut self, from: &Ty, to: &Ty) -> Option<How> {
        let before = self.0.clone();
        if self.unify(from, to) {
            return Some(How::Same);
        }
        self.0.clone_from(&before);
        let how = self.relate_unlike(from, to);
        if how.is_none() {
            self.0 = before;
        }
        how
    }

    fn relate_unlike(&mut self, from: &Ty, to: &Ty) -> Option<How> {
        let (from, to) = (self.shallow(from), self.shallow(to));
        match (&from, &to) {
            (Ty::Union(members), Ty::Union(_)) => members
                .iter()
                .all(|m| matches!(self.relate(m, &to), Some(How::Same | How::Convert(Conversion::ToUnion))))
                .then_some(How::Convert(Conversion::ToUnion)),
            (_, Ty::Union(members)) => self.relate_member(&from, members),
            (Ty::Int, Ty::Real) => Some(How::Convert(Conversion::IntToReal)),
            (Ty::Range(x), Ty::Range(y)) if matches!((self.shallow(x), self.shallow(y)), (Ty::Int, Ty::Real)) => {
                Some(How::Convert(Conversion::IntToReal))
            }
            (Ty::Array(x, n), Ty::Array(y, m)) => {
                (lengths_agree(n, m) && self.relate(x, y).is_some()).then_some(How::Convert(Conversion::Elements))
            }
            (Ty::List(x), Ty::List(y) | Ty::Array(y, Len::Any)) => {
                self.relate(x, y).map(|_| How::Convert(Conversion::Elements))
            }
            (Ty::Array(x, _), Ty::List(y)) => match self.relate(x, y)? {
                How::Same => Some(How::Convert(Conversion::ArrayToList)),
                _ => Some(How::ElementsToList),
            },
            (Ty::Tuple(xs), Ty::Tuple(ys)) => (xs.len() == ys.len()
                && xs.iter().zip(ys.iter()).all(|(x, y)| self.relate(x, y).is_some()))
            .then_some(How::Convert(Conversion::Elements)),
            (Ty::Genome(g), Ty::Record(r)) => {
                self.unify_fields(&g.fields, &r.fields).then_some(How::Convert(Conversion::GenomeToRecord))
            }
            (Ty::Record(x), Ty::Record(y)) => self.relate_records(&x.fields, &y.fields),
            (Ty::Fn(x), Ty::Fn(y)) => self.relate_fns(x, y),
            _ => None,
        }
    }

    fn relate_member(&mut self, from: &Ty, members: &[Ty]) -> Option<How> {
        // As it is, else without a change to its items, else as whatever it may become.
        let close: [fn(&How) -> bool; 3] = [
            |how| matches!(how, How::Same),
            |how| matches!(how, How::Convert(Conversion::ArrayToList | Conversion::GenomeToRecord)),
            |_| true,
        ];
        for is_close in close {
            for member in members {
                let before = self.0.clone();
                match self.relate(from, member) {
                    Some(how) if is_close(&how) => return Some(How::Member(member.clone())),
                    _ => self.0 = before,
                }
            }
        }
        None
    }

    /// Every field that is wanted is there, or may be left out; nothing is there that is not wanted.
    fn relate_records(&mut self, have: &[FieldTy], want: &[FieldTy]) -> Option<How> {
        if have.iter().any(|h| !want.iter().any(|w| w.name == h.name)) {
            return None;
        }
        for field in want {
            match have.iter().find(|h| h.name == field.name) {
                Some(h) => drop(self.relate(&h.ty, &field.ty)?),
                None if field.optional || field.default.is_some() => {}
                None => return None,
            }
        }
        Some(How::Rebuild)
    }

    fn relate_fns(&mut self, have: &FnTy, want: &FnTy) -> Option<How> {
        if have.params.len() != want.params.len() {
            return None;
        }
        for ((_, h), (_, w)) in have.params.iter().zip(&want.params) {
            self.relate(w, h)?;
        }
        self.relate(&have.result, &want.result)?;
        Some(How::Wrap)
    }
}

/// Two genomes are one if one declaration makes them.
fn same_genome(a: &GenomeTy, b: &GenomeTy) -> bool {
    a.module == b.module && a.global == b.global
}

/// Whether two lengths can be equal.
pub(super) fn lengths_agree(a: &Len, b: &Len) -> bool {
    !matches!((a, b), (Len::Const(a), Len::Const(b)) if a != b)
}

/// How a value is accepted.
#[derive(Clone, Debug)]
pub(super) enum How {
    /// As it is.
    Same,
    /// By one conversion.
    Convert(Conversion),
    /// By converting the elements of an array and making it a list.
    ElementsToList,
    /// As this member of the union.
    Member(Ty),
    /// A record with other fields left out or in another order.
    Rebuild,
    /// A function inside a closure that converts its inputs and its result.
    Wrap,
}

impl Checker<'_> {
    /// A new type variable.
    pub(super) fn fresh(&mut self) -> Ty {
        self.body.metas.fresh()
    }

    /// The type as far as it is known.
    pub(super) fn shallow(&self, ty: &Ty) -> Ty {
        self.body.metas.shallow(ty)
    }

    /// The expression as one of type `want`, or back as it was.
    pub(super) fn coerce(&mut self, e: Expr, want: &Ty) -> Result<Expr, Box<Expr>> {
        if let Some(as_node) = self.function_as_node(&e, want) {
            return Ok(as_node);
        }
        match self.body.metas.relate(&e.ty, want) {
            Some(how) => Ok(self.convert(e, want, how)),
            None => Err(Box::new(e)),
        }
    }

    fn convert(&mut self, e: Expr, want: &Ty, how: How) -> Expr {
        let want = self.shallow(want);
        let by = |conversion: Conversion, e: Expr, ty: Ty| Expr {
            span: e.span,
            ty,
            kind: ExprKind::Convert(conversion, Box::new(e)),
        };
        match how {
            How::Same => match (&self.shallow(&e.ty), &want) {
                // The record's name, the length that is known: what is wanted says more.
                (Ty::Record(_), Ty::Record(r)) if r.name.is_some() => Expr { ty: want, ..e },
                _ => e,
            },
            How::Convert(Conversion::IntToReal) => match e.kind {
                ExprKind::Int(i) => Expr { kind: ExprKind::Real(i as f64), ty: want, ..e },
                _ => by(Conversion::IntToReal, e, want),
            },
            How::Convert(Conversion::ArrayToList) if matches!(e.kind, ExprKind::Array(_)) => Expr { ty: want, ..e },
            How::Convert(Conversion::Elements) => {
                // The length that is known, where any is wanted.
                let to = match (self.shallow(&e.ty), &want) {
                    (Ty::Array(_, len), Ty::Array(item, Len::Any)) => Ty::Array(item.clone(), len),
                    (Ty::List(_), Ty::Array(item, Len::Any)) => Ty::List(item.clone()),
                    _ => want,
                };
                by(Conversion::Elements, e, to)
            }
            How::Convert(conversion) => by(conversion, e, want),
            How::ElementsToList => {
                let len = match self.shallow(&e.ty) {
                    Ty::Array(_, len) => len,
                    _ => Len::Any,
                };
                let Ty::List(item) = &want else { return e };
                let middle = Ty::Array(item.clone(), len);
                let converted = by(Conversion::Elements, e, middle);
                by(Conversion::ArrayToList, converted, want)
            }
            How::Member(member) => {
                let inner = match self.coerce(e, &member) {
                    Ok(inner) => inner,
                    Err(e) => *e,
                };
                by(Conversion::ToUnion, inner, want)
            }
            How::Rebuild => self.rebuild(e, &want),
            How::Wrap => self.wrap(e, &want),
        }
    }

    /// A record with the fields of `want`, in its order.
    fn rebuild(&mut self, e: Expr, want: &Ty) -> Expr {
        let (Ty::Record(have), Ty::Record(to)) = (self.shallow(&e.ty), want) else { return e };
        let span = e.span;
        let local = self.bind("", e.ty.clone());
        self.body.locals.pop();
        let mut fields = Vec::new();
        for field in &to.fields {
            let Some(index) = have.fields.iter().position(|h| h.name == field.name) else {
                if let Some(default) = &field.default {
                    fields.push((field.name.clone(), (**default).clone()));
                }
                continue;
            };
            let base = Box::new(Expr { kind: ExprKind::Local(local), ty: e.ty.clone(), span });
            let ty = have.fields.get(index).map_or(Ty::Error, |f| f.ty.clone());
            let read =
                Expr { kind: ExprKind::Field { base, name: field.name.clone(), index: Some(index as u32) }, ty, span };
            fields.push((field.name.clone(), self.coerce(read, &field.ty).unwrap_or_else(|e| *e)));
        }
        let body = Box::new(Expr { kind: ExprKind::Record(fields), ty: want.clone(), span });
        Expr { kind: ExprKind::Let { local, name: "".into(), value: Box::new(e), body }, ty: want.clone(), span }
    }

    /// `f` as `x => f(x)`, with conversions on the way in and out.
    fn wrap(&mut self, e: Expr, want: &Ty) -> Expr {
        let (Ty::Fn(have), Ty::Fn(to)) = (self.shallow(&e.ty), want) else { return e };
        let span = e.span;
        let outside = self.body.locals.len();
        self.body.closures.push((outside, Vec::new()));
        let mut params = Vec::new();
        let mut args = Vec::new();
        for (i, (_, ty)) in to.params.iter().enumerate() {
            let local = self.bind("", ty.clone());
            params.push(Param { local, name: "".into(), ty: ty.clone(), default: None });
            let read = Expr { kind: ExprKind::Local(local), ty: ty.clone(), span };
            let takes = have.params.get(i).map_or(Ty::Error, |(_, t)| t.clone());
            args.push(self.coerce(read, &takes).unwrap_or_else(|e| *e));
        }
        let captured = super::numeric::free_locals(&e);
        let call = Expr { kind: ExprKind::CallValue { function: Box::new(e), args }, ty: have.result.clone(), span };
        let body = self.coerce(call, &to.result).unwrap_or_else(|e| *e);
        self.body.locals.truncate(outside);
        self.body.closures.pop();
        let lambda = Lambda { params, body, captures: captured, numeric: false };
        Expr { kind: ExprKind::Lambda(Arc::new(lambda)), ty: want.clone(), span }
    }

    /// Whether nothing is known of the type, because of a reported error or because nothing determines it.
    pub(super) fn is_open(&self, ty: &Ty) -> bool {
        match self.shallow(ty) {
            Ty::Error => true,
            Ty::Var(name) => name.starts_with('?'),
            _ => false,
        }
    }

    /// A type that both are accepted as: for the branches of an `if` and the elements of a list.
    pub(super) fn join(&mut self, a: &Ty, b: &Ty) -> Option<Ty> {
        if self.body.metas.relate(b, a).is_some() {
            return Some(self.shallow(a));
        }
        self.body.metas.relate(a, b).map(|_| self.shallow(b))
    }
}
