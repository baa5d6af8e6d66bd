//! Expressions to nodes.

use std::sync::Arc;

use super::{Abort, Elaborator, Result};
use crate::diag::{Code, Diagnostic};
use crate::hir::{BinaryOp, Conversion, Expr, ExprKind, LocalId};
use crate::plan::closure::{Body, Env};
use crate::plan::graph::{NodeId, Op};
use crate::plan::host::Answer;
use crate::plan::konst::{Const, RangeConst};
use crate::types::Ty;

use super::many::PLANNED;
use super::values::LONGEST;

impl Elaborator {
    /// The node of an expression: compiled code where the whole of it is numeric, else its parts as nodes.
    pub(crate) fn expr(&mut self, e: &Expr, env: &Env) -> Result<NodeId> {
        if is_numeric_operation(e)
            && let Some(id) = self.numeric(e, env)?
        {
            return Ok(id);
        }
        self.structural(e, env)
    }

    pub(super) fn literal(&mut self, value: Const, e: &Expr) -> Result<NodeId> {
        Ok(self.graph.add_const(value, e.ty.clone(), e.span))
    }

    /// One flat match over the sorts of expression.
    #[expect(clippy::too_many_lines, reason = "one flat match: an arm for each sort of expression")]
    fn structural(&mut self, e: &Expr, env: &Env) -> Result<NodeId> {
        match &e.kind {
            ExprKind::Int(i) => self.literal(Const::Int(*i), e),
            ExprKind::Real(r) => self.literal(Const::Real(*r), e),
            ExprKind::Bool(b) => self.literal(Const::Bool(*b), e),
            ExprKind::Text(text) => self.literal(Const::Text(text.clone()), e),
            ExprKind::Quantity(q) => self.literal(Const::Quantity(*q), e),
            ExprKind::Case(i) => {
                let word = case_word(&e.ty, *i).ok_or(Abort)?;
                self.literal(Const::Case(*i, word), e)
            }
            ExprKind::Seed => Ok(self.seed(env.instance)),
            ExprKind::Local(local) => env.get(*local).ok_or(Abort),
            ExprKind::Global(global) => self.reference(env.instance, global.module, global.index, e.span),
            ExprKind::Member { instance, global } => {
                self.of_program(e, instance, env, &mut |me, instance| me.global(instance, *global))
            }
            ExprKind::ExternRef(ext) => Err(self.fail(
                Diagnostic::error(
                    Code::E0331,
                    e.span,
                    format!("`{}` cannot be passed on as a value", ext.name),
                    "a library function",
                )
                .help(format!("wrap it in a closure: `x => {}(x)`", ext.name)),
            )),
            ExprKind::Instance(_) => {
                let instance = self.instance(e, env)?;
                self.program_node(instance, e.ty.clone(), e.span)
            }
            ExprKind::CallExtern { ext, args, rest, type_args } => self.call(e, ext, args, rest, type_args, env),
            ExprKind::CallFunction { instance: Some(instance), function, args } => {
                self.of_program(e, instance, env, &mut |me, owner| {
                    me.call_function(e, owner, function.index, args, env)
                })
            }
            ExprKind::CallFunction { instance: None, function, args } => {
                let owner = self.instance_for(env.instance, function.module)?;
                self.call_function(e, owner, function.index, args, env)
            }
            ExprKind::CallValue { function, args } => {
                let callee = self.expr(function, env)?;
                let args = args.iter().map(|a| self.expr(a, env)).collect::<Result<Vec<_>>>()?;
                self.apply(callee, &args, e.span)
            }
            ExprKind::Field { base, name, index } => {
                let base = self.expr(base, env)?;
                self.field(base, name, *index, e)
            }
            ExprKind::Index { base, index } => {
                let (base, index) = (self.expr(base, env)?, self.expr(index, env)?);
                self.index(base, index, e)
            }
            ExprKind::Array(items) => {
                let items = items.iter().map(|item| self.expr(item, env)).collect::<Result<Vec<_>>>()?;
                Ok(self.list(items, e))
            }
            ExprKind::Tuple(items) => {
                let items = items.iter().map(|item| self.expr(item, env)).collect::<Result<Vec<_>>>()?;
                Ok(self.tuple(items, e))
            }
            ExprKind::Record(fields) => self.record(fields, e, env),
            ExprKind::Comprehension(c) => self.comprehension(c, e, env),
            ExprKind::If { condition, then, otherwise } => self.choice(condition, then, otherwise, e, env),
            ExprKind::Let { local, value, body, .. } => {
                let value = self.expr(value, env)?;
                let mut inner = env.clone();
                inner.bind(*local, value);
                self.expr(body, &inner)
            }
            ExprKind::Lambda(lambda) => {
                self.closure(Body::Lambda(lambda.clone()), env.clone(), None, e.ty.clone(), e.span)
            }
            ExprKind::Range { lo, hi, inclusive } => self.range(lo, hi, *inclusive, e, env),
            ExprKind::Unary(op, a) => {
                let operand = self.expr(a, env)?;
                let local = Expr { kind: ExprKind::Local(LocalId(OPERAND)), ..(**a).clone() };
                let expr = Expr { kind: ExprKind::Unary(*op, Box::new(local)), ..e.clone() };
                self.over(&expr, &[operand], env)
            }
            ExprKind::Binary(op, a, b) => self.binary(*op, a, b, e, env),
            ExprKind::Convert(conversion, a) => self.convert(*conversion, a, e, env),
            ExprKind::Error => Err(Abort),
        }
    }

    /// Compiled code over operands that are nodes; `e` reads them as locals `OPERAND`, `OPERAND + 1`, ….
    pub(super) fn over(&mut self, e: &Expr, operands: &[NodeId], env: &Env) -> Result<NodeId> {
        let mut inner = Env::new(env.instance);
        for (i, operand) in operands.iter().enumerate() {
            inner.bind(LocalId(OPERAND + i as u32), *operand);
        }
        match self.numeric(e, &inner)? {
            Some(id) => Ok(id),
            None => Err(self.fail(
                Diagnostic::error(
                    Code::E0331,
                    e.span,
                    "this can only be computed from values known before the run",
                    "depends on a result",
                )
                .note(format!("its type is `{}`", e.ty))
                .help("compute it from literals and params, or from numbers only"),
            )),
        }
    }

    fn binary(&mut self, op: BinaryOp, a: &Expr, b: &Expr, e: &Expr, env: &Env) -> Result<NodeId> {
        // The right side of `and` and `or` is computed only where the left does not decide.
        let decided = |truth| Expr { kind: ExprKind::Bool(truth), ..e.clone() };
        match op {
            BinaryOp::And => return self.choice(a, b, &decided(false), e, env),
            BinaryOp::Or => return self.choice(a, &decided(true), b, e, env),
            _ => {}
        }
        let (left, right) = (self.expr(a, env)?, self.expr(b, env)?);
        if let (Some(x), Some(y)) = (self.graph.constant(left), self.graph.constant(right))
            && let Some(value) = plain_binary(op, x, y)
        {
            if matches!(&value, Const::Text(text) if text.len() > LONGEST as usize) {
                return Err(self.fail(
                    Diagnostic::error(
                        Code::E0340,
                        e.span,
                        format!("a text of more than {LONGEST} bytes"),
                        "computed before the run",
                    )
                    .help("read long texts from a data file"),
                ));
            }
            return self.literal(value, e);
        }
        let operand = |i: u32, of: &Expr| Box::new(Expr { kind: ExprKind::Local(LocalId(OPERAND + i)), ..of.clone() });
        let expr = Expr { kind: ExprKind::Binary(op, operand(0, a), operand(1, b)), ..e.clone() };
        self.over(&expr, &[left, right], env)
    }

    fn convert(&mut self, conversion: Conversion, a: &Expr, e: &Expr, env: &Env) -> Result<NodeId> {
        let id = self.expr(a, env)?;
        if let Some(value) = self.graph.constant(id) {
            let value = converted(value, conversion, &e.ty);
            return self.literal(value, e);
        }
        match conversion {
            Conversion::ToUnion | Conversion::ArrayToList | Conversion::GenomeToRecord => Ok(id),
            Conversion::Elements if self.graph.items(id).is_some() => self.convert_items(id, a, e, env),
            Conversion::IntToReal | Conversion::Elements if a.ty.is_numeric() => {
                let local = Expr { kind: ExprKind::Local(LocalId(OPERAND)), ..a.clone() };
                let expr = Expr { kind: ExprKind::Convert(conversion, Box::new(local)), ..e.clone() };
                self.over(&expr, &[id], env)
            }
            Conversion::IntToReal | Conversion::Elements => Ok(id),
        }
    }

    /// Converts a list literal item by item.
    fn convert_items(&mut self, id: NodeId, a: &Expr, e: &Expr, env: &Env) -> Result<NodeId> {
        let (Some(from), Some(to)) = (item_type(&a.ty), item_type(&e.ty)) else { return Ok(id) };
        if !(matches!(from, Ty::Int) && matches!(to, Ty::Real)) {
            return Ok(id);
        }
        let items = self.graph.items(id).unwrap_or_default().to_vec();
        let mut converted = Vec::with_capacity(items.len());
        for item in items {
            let local = Expr { kind: ExprKind::Local(LocalId(OPERAND)), ty: Ty::Int, span: e.span };
            let mut inner = Env::new(env.instance);
            inner.bind(LocalId(OPERAND), item);
            let expr =
                Expr { kind: ExprKind::Convert(Conversion::IntToReal, Box::new(local)), ty: Ty::Real, span: e.span };
            converted.push(self.expr(&expr, &inner)?);
        }
        Ok(self.list(converted, e))
    }

    /// A list, plain if all its items are.
    pub(super) fn list(&mut self, items: Vec<NodeId>, e: &Expr) -> NodeId {
        self.gather(items, e, Op::List, |_, values| Const::List(values.into()))
    }

    pub(super) fn tuple(&mut self, items: Vec<NodeId>, e: &Expr) -> NodeId {
        self.gather(items, e, Op::Tuple, |_, values| Const::Tuple(values.into()))
    }

    fn gather(&mut self, items: Vec<NodeId>, e: &Expr, op: Op, plain: impl Fn(&Op, Vec<Const>) -> Const) -> NodeId {
        let values: Option<Vec<Const>> = items.iter().map(|id| self.graph.constant(*id).cloned()).collect();
        // What is too large to be written out stays what it is made from.
        match values.map(|values| plain(&op, values)).filter(|value| !value.is_larger_than(PLANNED)) {
            Some(value) => self.graph.add_const(value, e.ty.clone(), e.span),
            None => self.graph.add(op, items, e.ty.clone(), e.span, None).0,
        }
    }

    fn record(&mut self, fields: &[(Arc<str>, Expr)], e: &Expr, env: &Env) -> Result<NodeId> {
        let mut items = Vec::with_capacity(fields.len());
        let mut failed = false;
        for (name, value) in fields {
            match self.expr(value, env) {
                Ok(id) => {
                    let cap = e.ty.fields().and_then(|fs| fs.iter().find(|f| f.name == *name)).and_then(|f| f.tiny);
                    items.push(self.capped(id, cap));
                }
                Err(Abort) => failed = true,
            }
        }
        if failed {
            return Err(Abort);
        }
        let names: Arc<[Arc<str>]> = fields.iter().map(|(name, _)| name.clone()).collect();
        Ok(self.gather(items, e, Op::Record(names.clone()), move |_, values| {
            Const::Record(names.iter().cloned().zip(values).collect())
        }))
    }

    /// In a tiny run, an effort above its cap is lowered to it.
    pub(super) fn capped(&mut self, id: NodeId, cap: Option<f64>) -> NodeId {
        let (Some(cap), true) = (cap, self.options.tiny) else { return id };
        let node = self.graph.node(id);
        let lowered = match &node.op {
            Op::Const(Const::Int(i)) if *i as f64 > cap => Const::Int(cap as i64),
            Op::Const(Const::Real(r)) if *r > cap => Const::Real(cap),
            Op::Const(Const::Quantity(q)) if *q > cap => Const::Quantity(cap),
            _ => return id,
        };
        let (ty, span) = (node.ty.clone(), node.span);
        self.graph.add_const(lowered, ty, span)
    }

    fn choice(&mut self, condition: &Expr, then: &Expr, otherwise: &Expr, e: &Expr, env: &Env) -> Result<NodeId> {
        let condition = self.expr(condition, env)?;
        if let Some(Const::Bool(holds)) = self.graph.constant(condition) {
            return self.expr(if *holds { then } else { otherwise }, env);
        }
        let then = self.expr(then, env);
        let otherwise = self.expr(otherwise, env);
        Ok(self.graph.add(Op::If, vec![condition, then?, otherwise?], e.ty.clone(), e.span, None).0)
    }

    fn range(&mut self, lo: &Expr, hi: &Expr, inclusive: bool, e: &Expr, env: &Env) -> Result<NodeId> {
        let whole = matches!(&e.ty, Ty::Range(item) if matches!(**item, Ty::Int));
        let (lo_id, hi_id) = (self.expr(lo, env)?, self.expr(hi, env)?);
        let ends =
            (self.graph.constant(lo_id).and_then(Const::as_real), self.graph.constant(hi_id).and_then(Const::as_real));
        match ends {
            (Some(lo), Some(hi)) => self.literal(Const::Range(RangeConst { lo, hi, inclusive, whole }), e),
            _ => Err(self.unknown_before_run(e, "the ends of a range")),
        }
    }

    pub(super) fn unknown_before_run(&mut self, e: &Expr, what: &str) -> Abort {
        self.fail(
            Diagnostic::error(
                Code::E0334,
                e.span,
                format!("{what} must be known before the run"),
                "depends on a result",
            )
            .help("compute it from literals, params and model headers such as `layers(m)`"),
        )
    }

    pub(super) fn field(&mut self, base: NodeId, name: &Arc<str>, index: Option<u32>, e: &Expr) -> Result<NodeId> {
        let node = self.graph.node(base).clone();
        let place = index.map(|i| i as usize);
        match &node.op {
            Op::Const(Const::Record(fields)) => {
                let found = fields.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
                return self.literal(found.ok_or(Abort)?, e);
            }
            Op::Const(Const::Tuple(items)) => {
                let found = place.and_then(|i| items.get(i)).cloned();
                return self.literal(found.ok_or(Abort)?, e);
            }
            Op::Record(names) => {
                if let Some(i) = names.iter().position(|n| n == name) {
                    return Ok(node.inputs[i]);
                }
            }
            Op::Tuple => {
                if let Some(id) = place.and_then(|i| node.inputs.get(i)) {
                    return Ok(*id);
                }
            }
            _ => {}
        }
        let (id, fresh) = self.graph.add(Op::Field(name.clone()), vec![base], e.ty.clone(), e.span, None);
        if fresh && let Some(fact) = &node.fact {
            match self.host.field(fact, name) {
                Answer::Known(value) => {
                    let known = self.graph.add_const(value, e.ty.clone(), e.span);
                    self.known.insert(id, known);
                }
                Answer::Fact(fact) | Answer::Content(fact, _) => self.graph.set_fact(id, fact),
                Answer::Unknown | Answer::Effect(_) => {}
            }
        }
        Ok(self.known.get(&id).copied().unwrap_or(id))
    }

    fn index(&mut self, base: NodeId, index: NodeId, e: &Expr) -> Result<NodeId> {
        let Some(Const::Int(i)) = self.graph.constant(index).cloned() else {
            return Ok(self.graph.add(Op::Index, vec![base, index], e.ty.clone(), e.span, None).0);
        };
        let len = match self.graph.constant(base) {
            Some(value) => value.items().map(<[Const]>::len),
            None => self.graph.items(base).map(<[NodeId]>::len),
        };
        let Some(len) = len else {
            return Ok(self.graph.add(Op::Index, vec![base, index], e.ty.clone(), e.span, None).0);
        };
        if i < 0 || i as usize >= len {
            return Err(self.fail(
                Diagnostic::error(
                    Code::E0335,
                    e.span,
                    format!("index {i} is outside a list of {len}"),
                    format!("there are {len}"),
                )
                .help(format!("indices run from 0 to {}", len.saturating_sub(1))),
            ));
        }
        if let Some(items) = self.graph.items(base) {
            return Ok(items[i as usize]);
        }
        let value = self.graph.constant(base).and_then(Const::items).map(|items| items[i as usize].clone());
        self.literal(value.ok_or(Abort)?, e)
    }
}

/// Locals from this number on are operands of synthesised expressions; the checker never reaches it.
pub(super) const OPERAND: u32 = 0x8000_0000;

/// Whether compiling the expression is worth trying: a numeric result that is not just a literal or a name.
fn is_numeric_operation(e: &Expr) -> bool {
    let operation = matches!(
        e.kind,
        ExprKind::Unary(..)
            | ExprKind::Binary(..)
            | ExprKind::CallExtern { .. }
            | ExprKind::CallFunction { .. }
            | ExprKind::Index { .. }
            | ExprKind::If { .. }
            | ExprKind::Let { .. }
            | ExprKind::Comprehension(_)
            | ExprKind::Convert(..)
    );
    operation && e.ty.is_numeric()
}

fn case_word(ty: &Ty, index: u32) -> Option<Arc<str>> {
    match ty {
        Ty::Enum(e) => e.cases.get(index as usize).cloned(),
        Ty::Union(members) => members.iter().find_map(|member| case_word(member, index)),
        _ => None,
    }
}

pub(super) fn item_type(ty: &Ty) -> Option<&Ty> {
    match ty {
        Ty::Array(item, _) | Ty::List(item) | Ty::Range(item) => Some(item),
        _ => None,
    }
}

fn converted(value: &Const, conversion: Conversion, to: &Ty) -> Const {
    match (conversion, value) {
        (Conversion::IntToReal, Const::Int(i)) => Const::Real(*i as f64),
        (Conversion::IntToReal, Const::Range(r)) => Const::Range(RangeConst { whole: false, inclusive: true, ..*r }),
        (Conversion::Elements, _) => elements(value, to),
        _ => value.clone(),
    }
}

fn elements(value: &Const, to: &Ty) -> Const {
    match (value, to) {
        (Const::Int(i), Ty::Real) => Const::Real(*i as f64),
        (Const::List(items), Ty::Array(item, _) | Ty::List(item)) => {
            Const::List(items.iter().map(|v| elements(v, item)).collect())
        }
        (Const::Tuple(items), Ty::Tuple(types)) => {
            Const::Tuple(items.iter().zip(types.iter()).map(|(v, t)| elements(v, t)).collect())
        }
        _ => value.clone(),
    }
}

/// Operators on plain values that are not numeric code: text and quantities.
fn plain_binary(op: BinaryOp, x: &Const, y: &Const) -> Option<Const> {
    match (op, x, y) {
        (BinaryOp::Eq, Const::Text(a), Const::Text(b)) => Some(Const::Bool(a == b)),
        (BinaryOp::Ne, Const::Text(a), Const::Text(b)) => Some(Const::Bool(a != b)),
        (BinaryOp::Add, Const::Text(a), Const::Text(b)) => Some(Const::Text(format!("{a}{b}").into())),
        (_, Const::Quantity(a), Const::Quantity(b)) => match op {
            BinaryOp::Add => Some(Const::Quantity(a + b)),
            BinaryOp::Sub => Some(Const::Quantity(a - b)),
            BinaryOp::Div => Some(Const::Real(a / b)),
            BinaryOp::Eq => Some(Const::Bool(a == b)),
            BinaryOp::Ne => Some(Const::Bool(a != b)),
            BinaryOp::Lt => Some(Const::Bool(a < b)),
            BinaryOp::Le => Some(Const::Bool(a <= b)),
            BinaryOp::Gt => Some(Const::Bool(a > b)),
            BinaryOp::Ge => Some(Const::Bool(a >= b)),
            _ => None,
        },
        (BinaryOp::Mul, Const::Quantity(a), b) if !matches!(b, Const::Quantity(_)) => {
            b.as_real().map(|b| Const::Quantity(a * b))
        }
        (BinaryOp::Mul, a, Const::Quantity(b)) => a.as_real().map(|a| Const::Quantity(a * b)),
        (BinaryOp::Div, Const::Quantity(a), b) => b.as_real().map(|b| Const::Quantity(a / b)),
        _ => None,
    }
}
