//! Which declarations mention which, from the syntax alone: an order in which each comes after those it needs.

use crate::syntax::ast::{Body, Decl, Expr, ExprKind, Field, FieldValue, Item, ItemKind, Let, Param, Ty, TyKind};

/// The free names of an item. A bare word that turns out to be the case of an enumeration is among them, and so is a
/// function called after a dot that turns out to be a field: the order is a good one, not a proof.
pub(crate) fn mentions(item: &Item) -> Vec<&str> {
    Mentions::of(item).found
}

/// The free names of the defaults of a declaration's parameters.
pub(crate) fn default_mentions(d: &Decl) -> Vec<&str> {
    let mut m = Mentions::default();
    d.params.iter().flatten().flat_map(|p| &p.default).for_each(|e| m.expr(e));
    m.found
}

/// An order of `0..needs.len()` in which each comes after those it needs, as far as they form no cycle; otherwise the
/// order of the file.
pub(crate) fn order(needs: &[Vec<usize>]) -> Vec<usize> {
    let mut out = Vec::with_capacity(needs.len());
    let mut seen = vec![false; needs.len()];
    for root in 0..needs.len() {
        let mut stack = vec![(root, 0)];
        while let Some((node, next)) = stack.pop() {
            let Some(mark) = seen.get_mut(node) else { continue };
            if next == 0 && std::mem::replace(mark, true) {
                continue;
            }
            match needs.get(node).and_then(|n| n.get(next)) {
                Some(&child) => stack.extend([(node, next + 1), (child, 0)]),
                None => out.push(node),
            }
        }
    }
    out
}

/// A body with its steps.
pub(crate) type Block<'a> = (&'a [Let], &'a Expr);

/// What a part of the syntax tree mentions.
#[derive(Default)]
pub(crate) struct Mentions<'a> {
    bound: Vec<&'a str>,
    /// Its free names.
    pub(crate) found: Vec<&'a str>,
    /// The names of arguments and fields.
    pub(crate) named: Vec<&'a str>,
    /// Bodies with steps.
    pub(crate) blocks: Vec<Block<'a>>,
}

impl<'a> Mentions<'a> {
    /// What an item mentions.
    pub(crate) fn of(item: &'a Item) -> Self {
        let mut m = Self::default();
        match &item.kind {
            ItemKind::Decl(d) => m.decl(d),
            ItemKind::Type(t) => t.ty.iter().for_each(|t| m.ty(t)),
            ItemKind::Use(_) => {}
            ItemKind::Print(e) => m.expr(e),
            ItemKind::Save { value, to } => [value, to].into_iter().for_each(|e| m.expr(e)),
            ItemKind::Plot { value, over, to } => {
                std::iter::once(value).chain(over).chain(to).for_each(|e| m.expr(e));
            }
            ItemKind::Expect { condition, message } => {
                std::iter::once(condition).chain(message).for_each(|e| m.expr(e));
            }
        }
        m
    }

    /// What an expression mentions.
    pub(crate) fn of_expr(e: &'a Expr) -> Self {
        let mut m = Self::default();
        m.expr(e);
        m
    }

    /// What fields mention.
    pub(crate) fn of_fields(fields: &'a [Field]) -> Self {
        let mut m = Self::default();
        m.fields(fields);
        m
    }

    fn name(&mut self, name: &'a str) {
        if !self.bound.contains(&name) {
            self.found.push(name);
        }
    }

    fn decl(&mut self, d: &'a Decl) {
        self.bound.extend(d.generics.iter().map(|g| g.text.as_str()));
        d.params.iter().flatten().for_each(|p| self.param(p));
        d.ty.iter().chain(&d.result).for_each(|t| self.ty(t));
        d.domain.iter().for_each(|d| self.expr(&d.range));
        match &d.body {
            Some(Body::Value(e) | Body::Steps(e)) => self.expr(e),
            Some(Body::Fields(fields, _)) => self.fields(fields),
            None => {}
        }
    }

    fn param(&mut self, p: &'a Param) {
        self.ty(&p.ty);
        p.domain.iter().for_each(|d| self.expr(&d.range));
        p.default.iter().for_each(|e| self.expr(e));
        self.bound.push(&p.name.text);
    }

    fn ty(&mut self, ty: &'a Ty) {
        match &ty.kind {
            TyKind::Name(path, args) => {
                path.first().iter().for_each(|n| self.name(&n.text));
                args.iter().for_each(|t| self.ty(t));
            }
            TyKind::List(item) => self.ty(item),
            TyKind::Index(item, lengths) => {
                self.ty(item);
                lengths.iter().for_each(|e| self.expr(e));
            }
            TyKind::Record(fields) => fields.iter().for_each(|f| {
                self.ty(&f.ty);
                f.default.iter().for_each(|e| self.expr(e));
            }),
            TyKind::Tuple(items) | TyKind::Union(items) => items.iter().for_each(|t| self.ty(t)),
            TyKind::Fn(inputs, result) => {
                inputs.iter().for_each(|(_, t)| self.ty(t));
                self.ty(result);
            }
        }
    }

    fn fields(&mut self, fields: &'a [Field]) {
        for field in fields {
            self.named.push(&field.name.text);
            match &field.value {
                FieldValue::Expr(e) => self.expr(e),
                FieldValue::Ty(t) => self.ty(t),
            }
            field.domain.iter().for_each(|d| self.expr(&d.range));
        }
    }

    fn callee(&mut self, callee: &'a Expr) {
        if let ExprKind::Dot(base, member) = &callee.kind {
            self.expr(base);
            self.name(&member.text);
        } else {
            self.expr(callee);
        }
    }

    /// Visits with more names bound.
    fn inside(&mut self, names: impl Iterator<Item = &'a str>, visit: impl FnOnce(&mut Self)) {
        let before = self.bound.len();
        self.bound.extend(names);
        visit(self);
        self.bound.truncate(before);
    }

    fn expr(&mut self, e: &'a Expr) {
        match &e.kind {
            ExprKind::Number(_) | ExprKind::Text(_) | ExprKind::Bool(_) | ExprKind::Error => {}
            ExprKind::Name(n) => self.name(n),
            ExprKind::List(items) | ExprKind::Tuple(items) => items.iter().for_each(|i| self.expr(i)),
            ExprKind::Comprehension(c) => {
                self.expr(&c.source);
                self.inside(c.pattern.iter().map(|n| n.text.as_str()), |m| {
                    c.condition.iter().for_each(|e| m.expr(e));
                    m.expr(&c.body);
                });
            }
            ExprKind::Record(fields) => self.fields(fields),
            ExprKind::Block(lets, result) => self.inside(std::iter::empty(), |m| {
                m.blocks.push((lets, result));
                for step in lets {
                    step.ty.iter().for_each(|t| m.ty(t));
                    m.expr(&step.value);
                    m.bound.push(&step.name.text);
                }
                m.expr(result);
            }),
            ExprKind::If(a, b, c) => [a, b, c].into_iter().for_each(|e| self.expr(e)),
            ExprKind::Closure(names, body) => self.inside(names.iter().map(|n| n.text.as_str()), |m| m.expr(body)),
            ExprKind::Unary(_, a) | ExprKind::Group(a) | ExprKind::Dot(a, _) => self.expr(a),
            ExprKind::Binary(_, _, a, b) => {
                self.expr(a);
                self.expr(b);
            }
            ExprKind::Call(callee, args) => {
                self.callee(callee);
                self.named.extend(args.iter().filter_map(|a| a.name.as_ref()).map(|n| n.text.as_str()));
                args.iter().for_each(|a| self.expr(&a.value));
            }
            ExprKind::BlockCall(callee, fields) => {
                self.callee(callee);
                self.fields(fields);
            }
            ExprKind::Index(base, index) => {
                self.expr(base);
                index.iter().for_each(|i| self.expr(i));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needed_ones_come_first() {
        assert_eq!(order(&[vec![1], vec![2], vec![]]), [2, 1, 0]);
        assert_eq!(order(&[vec![], vec![0], vec![]]), [0, 1, 2]);
        assert_eq!(order(&[vec![1], vec![0]]), [1, 0], "a cycle ends");
        let chain: Vec<Vec<usize>> = (0..200_000).map(|i| vec![(i + 1) % 200_000]).collect();
        assert_eq!(order(&chain).first(), Some(&199_999));
    }
}
