//! Lists: comprehensions, pairs, and lists whose length only the run tells.
//!
//! A list is *known* if its length is. Where a condition of the run decides what a list holds, it is planned with its upper
//! bound: each item that may be left out stands in a choice between a list of it and an empty list, and [`Op::Concat`]
//! joins them. What is done to the items of such a list is done inside of the choices, so that nothing that is left out is
//! ever computed.

use super::expr::{OPERAND, item_type};
use super::{Abort, Elaborator, Result};
use crate::diag::{Code, Diagnostic};
use crate::hir::{BinaryOp, Comprehension, Conversion, Expr, ExprKind, LocalId};
use crate::plan::closure::Env;
use crate::plan::graph::{NodeId, Op};
use crate::plan::konst::Const;
use crate::types::Ty;

use super::values::LONGEST;

/// The most items of lists that are written out, as nodes or as one value.
pub(super) const PLANNED: usize = 1 << 20;

impl Elaborator {
    /// `[element for pattern in source if condition]`.
    pub(super) fn comprehension(&mut self, c: &Comprehension, e: &Expr, env: &Env) -> Result<NodeId> {
        let source = self.expr(&c.source, env)?;
        match self.each(source, c, e, env)? {
            Some(list) => Ok(list),
            // What is made of a list that stands in for an argument is a stand-in too.
            None if matches!(self.graph.node(source).op, Op::Hypothesis) => {
                Ok(self.graph.add(Op::Hypothesis, vec![source], e.ty.clone(), e.span, None).0)
            }
            None => Err(self.unknown_before_run(&c.source, "the greatest length of a comprehension's list")),
        }
    }

    /// The comprehension over one source; `None` where nothing bounds the source's length.
    fn each(&mut self, source: NodeId, c: &Comprehension, e: &Expr, env: &Env) -> Result<Option<NodeId>> {
        if let Some(items) = self.items(source, &c.source, env)? {
            return self.each_item(items, c, e, env).map(Some);
        }
        let node = self.graph.node(source).clone();
        match (&node.op, &*node.inputs) {
            (Op::Concat, parts) => {
                let mut joined = Vec::with_capacity(parts.len());
                for part in parts {
                    let Some(part) = self.each(*part, c, e, env)? else { return Ok(None) };
                    joined.push(part);
                }
                Ok(Some(self.graph.add(Op::Concat, joined, e.ty.clone(), e.span, None).0))
            }
            (Op::If, [condition, then, otherwise]) => {
                let (then, otherwise) = (self.each(*then, c, e, env)?, self.each(*otherwise, c, e, env)?);
                let (Some(then), Some(otherwise)) = (then, otherwise) else { return Ok(None) };
                Ok(Some(self.graph.add(Op::If, vec![*condition, then, otherwise], e.ty.clone(), e.span, None).0))
            }
            _ => Ok(None),
        }
    }

    fn each_item(&mut self, items: Vec<NodeId>, c: &Comprehension, e: &Expr, env: &Env) -> Result<NodeId> {
        let mut parts = Vec::new();
        let mut sure = Vec::with_capacity(items.len());
        for item in items {
            self.planned += 1;
            if self.planned > PLANNED {
                return Err(self.fail(
                    Diagnostic::error(
                        Code::E0337,
                        c.source.span,
                        format!("the lists of this plan have more than {PLANNED} items"),
                        "too many",
                    )
                    .help("go through shorter lists, or keep to numbers, which are compiled"),
                ));
            }
            let mut inner = env.clone();
            self.bind_pattern(&mut inner, c, item)?;
            let keep = c.condition.as_ref().map(|condition| self.expr(condition, &inner)).transpose()?;
            let known = keep.map(|keep| self.graph.constant(keep).cloned());
            match (keep, known) {
                (_, Some(Some(Const::Bool(false)))) => {}
                (Some(keep), Some(None)) => {
                    if !sure.is_empty() {
                        parts.push(self.list(std::mem::take(&mut sure), e));
                    }
                    let element = self.expr(&c.element, &inner)?;
                    let (one, none) = (self.list(vec![element], e), self.list(Vec::new(), e));
                    parts.push(self.graph.add(Op::If, vec![keep, one, none], e.ty.clone(), e.span, None).0);
                }
                _ => sure.push(self.expr(&c.element, &inner)?),
            }
        }
        if parts.is_empty() {
            return Ok(self.list(sure, e));
        }
        if !sure.is_empty() {
            parts.push(self.list(sure, e));
        }
        Ok(self.graph.add(Op::Concat, parts, e.ty.clone(), e.span, None).0)
    }

    fn bind_pattern(&mut self, env: &mut Env, c: &Comprehension, item: NodeId) -> Result<()> {
        if let [(local, _, _)] = c.pattern.as_slice() {
            env.bind(*local, item);
            return Ok(());
        }
        for (i, (local, name, ty)) in c.pattern.iter().enumerate() {
            let part = Expr { kind: ExprKind::Error, ty: ty.clone(), span: c.source.span };
            let node = self.field(item, name, Some(i as u32), &part)?;
            env.bind(*local, node);
        }
        Ok(())
    }

    /// The items of a collection whose length is known.
    pub(super) fn items(&mut self, id: NodeId, of: &Expr, env: &Env) -> Result<Option<Vec<NodeId>>> {
        if let Some(items) = self.graph.items(id) {
            return Ok(Some(items.to_vec()));
        }
        let item_ty = item_type(&of.ty).cloned().unwrap_or(Ty::Error);
        match self.graph.constant(id).cloned() {
            Some(Const::Range(range)) => {
                let (first, end) = range.whole_bounds();
                if end.saturating_sub(first) > LONGEST {
                    return Err(self.too_long(of, end.saturating_sub(first)));
                }
                Ok(Some((first..end).map(|i| self.graph.add_const(Const::Int(i), Ty::Int, of.span)).collect()))
            }
            Some(value) => Ok(value.items().map(|items| {
                items.iter().map(|v| self.graph.add_const(v.clone(), item_ty.clone(), of.span)).collect()
            })),
            None => {
                let Ty::Array(_, len) = &of.ty else { return Ok(None) };
                let len = self.len(len, of.span, env)?;
                let mut items = Vec::new();
                for i in 0..len {
                    let index = self.graph.add_const(Const::Int(i as i64), Ty::Int, of.span);
                    items.push(self.graph.add(Op::Index, vec![id, index], item_ty.clone(), of.span, None).0);
                }
                Ok(Some(items))
            }
        }
    }

    fn too_long(&mut self, of: &Expr, len: i64) -> Abort {
        self.fail(
            Diagnostic::error(Code::E0337, of.span, format!("a list cannot have {len} items"), "too long")
                .help(format!("lists that are written out in a plan have at most {LONGEST} items")),
        )
    }

    /// `zip(a, b)` of lists whose items are at hand: their pairs. `None` where a length is left to the run.
    pub(super) fn zip(
        &mut self,
        a: NodeId,
        b: NodeId,
        e: &Expr,
        args: &[Option<Expr>],
        env: &Env,
    ) -> Result<Option<NodeId>> {
        let [Some(left), Some(right)] = args else { return Ok(None) };
        let (Some(a), Some(b)) = (self.items(a, left, env)?, self.items(b, right, env)?) else { return Ok(None) };
        if a.len() != b.len() {
            return Err(self.fail(
                Diagnostic::error(
                    Code::E0307,
                    e.span,
                    format!("`zip` takes lists of one length, not {} and {}", a.len(), b.len()),
                    "lengths differ",
                )
                .help("give lists of one length"),
            ));
        }
        let pair = item_type(&e.ty).cloned().unwrap_or(Ty::Error);
        let of = Expr { kind: ExprKind::Error, ty: pair, span: e.span };
        let pairs = a.into_iter().zip(b).map(|(a, b)| self.tuple(vec![a, b], &of)).collect();
        Ok(Some(self.list(pairs, e)))
    }

    /// Whether a node is a list of which only the greatest length is known.
    pub(super) fn is_bounded(&self, id: NodeId) -> bool {
        let node = self.graph.node(id);
        match (&node.op, &*node.inputs) {
            (Op::Concat, _) => true,
            (Op::If, [_, then, otherwise]) => {
                let list = |id| self.is_bounded(id) || self.plain_items(id).is_some();
                list(*then) && list(*otherwise)
            }
            _ => false,
        }
    }

    fn plain_items(&self, id: NodeId) -> Option<Vec<Result<NodeId, Const>>> {
        match (self.graph.items(id), self.graph.constant(id).and_then(Const::items)) {
            (Some(items), _) => Some(items.iter().map(|id| Ok(*id)).collect()),
            (None, Some(values)) => Some(values.iter().map(|value| Err(value.clone())).collect()),
            _ => None,
        }
    }

    /// `sum` and `mean` of a list of which only the greatest length is known, item after item as over any other.
    pub(super) fn bounded_sum(
        &mut self,
        e: &Expr,
        ext: &crate::library::Extern,
        args: &[Option<Expr>],
        list: NodeId,
        env: &Env,
    ) -> Result<NodeId> {
        let item = args.first().and_then(Option::as_ref).and_then(|a| item_type(&a.ty)).cloned().ok_or(Abort)?;
        let zero = if matches!(item, Ty::Int) { Const::Int(0) } else { Const::Real(0.0) };
        let zero = self.graph.add_const(zero, item.clone(), e.span);
        let of = Expr { kind: ExprKind::Error, ty: item.clone(), span: e.span };
        let sum = self.accumulated(zero, list, false, &of, env)?;
        if &*ext.name == "sum" {
            return Ok(sum);
        }
        let none = self.graph.add_const(Const::Int(0), Ty::Int, e.span);
        let count = Expr { ty: Ty::Int, ..of.clone() };
        let count = self.accumulated(none, list, true, &count, env)?;
        let operand = |i: u32, ty: &Ty| {
            let local = Expr { kind: ExprKind::Local(LocalId(OPERAND + i)), ty: ty.clone(), span: e.span };
            match ty {
                Ty::Int => {
                    let kind = ExprKind::Convert(Conversion::IntToReal, Box::new(local));
                    Box::new(Expr { kind, ty: Ty::Real, span: e.span })
                }
                _ => Box::new(local),
            }
        };
        let kind = ExprKind::Binary(BinaryOp::Div, operand(0, &item), operand(1, &Ty::Int));
        self.over(&Expr { kind, ..e.clone() }, &[sum, count], env)
    }

    /// `start` and the list's items, or the number of them, added up from the first to the last.
    fn accumulated(&mut self, start: NodeId, list: NodeId, counts: bool, of: &Expr, env: &Env) -> Result<NodeId> {
        if let Some(items) = self.plain_items(list) {
            let mut sum = start;
            for item in items {
                let item = match item {
                    _ if counts => self.graph.add_const(Const::Int(1), Ty::Int, of.span),
                    Ok(id) => id,
                    Err(value) => self.graph.add_const(value, of.ty.clone(), of.span),
                };
                let read = |i: u32| Box::new(Expr { kind: ExprKind::Local(LocalId(OPERAND + i)), ..of.clone() });
                let add = Expr { kind: ExprKind::Binary(BinaryOp::Add, read(0), read(1)), ..of.clone() };
                sum = self.over(&add, &[sum, item], env)?;
            }
            return Ok(sum);
        }
        let node = self.graph.node(list).clone();
        match (&node.op, &*node.inputs) {
            (Op::Concat, parts) => {
                parts.iter().try_fold(start, |sum, part| self.accumulated(sum, *part, counts, of, env))
            }
            (Op::If, [condition, then, otherwise]) => {
                let then = self.accumulated(start, *then, counts, of, env)?;
                let otherwise = self.accumulated(start, *otherwise, counts, of, env)?;
                Ok(self.graph.add(Op::If, vec![*condition, then, otherwise], of.ty.clone(), of.span, None).0)
            }
            _ => Err(Abort),
        }
    }
}
