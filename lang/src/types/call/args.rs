//! Arguments to parameters: by place and by name, what is missing or too much, ranges.

use std::sync::Arc;

use super::{Arg, Value};
use crate::diag::{Code, Diagnostic};
use crate::hir::{Expr, ExprKind};
use crate::span::Span;
use crate::syntax::ast;
use crate::types::Ty;
use crate::types::cx::Checker;
use crate::types::expr::show;
use crate::types::ops::scalar;

/// A parameter as a call sees it.
pub(in crate::types) struct Slot {
    pub(in crate::types) name: Arc<str>,
    pub(in crate::types) ty: Ty,
    pub(in crate::types) needed: bool,
    pub(super) domain: Option<(f64, f64)>,
}

/// What a call is bound to.
pub(super) struct Bound<'e> {
    /// One for each parameter but the rest parameter.
    pub(super) slots: Vec<Option<Value<'e>>>,
    /// Arguments of the rest parameter.
    pub(super) rest: Vec<(&'e ast::Name, Value<'e>)>,
}

impl Checker<'_> {
    /// Puts arguments to parameters; reports what is missing, unknown or too much at the call.
    pub(super) fn bind_args<'e>(
        &mut self,
        what: &str,
        slots: &[Slot],
        has_rest: bool,
        args: Vec<Arg<'e>>,
        span: Span,
    ) -> Option<Bound<'e>> {
        self.ask_args(slots, &args);
        let span = self.callee(span);
        let mut bound = Bound { slots: slots.iter().map(|_| None).collect(), rest: Vec::new() };
        // The arguments that no parameter takes.
        let mut loose: Vec<Value<'e>> = Vec::new();
        let mut next = 0;
        let mut ok = true;
        let count = args.len();
        for arg in args {
            let index = match arg.name {
                Some(name) => slots.iter().position(|s| *s.name == *name.text),
                None => {
                    next += 1;
                    Some(next - 1)
                }
            };
            match (index.filter(|i| *i < slots.len()), arg.name) {
                (Some(i), name) => {
                    let taken = bound.slots.get(i).is_some_and(Option::is_some);
                    if taken {
                        let at = name.map_or(arg.value.span(), |n| n.span);
                        self.given_twice(what, slots.get(i), at, span);
                        loose.push(arg.value);
                        ok = false;
                    } else if let Some(slot) = bound.slots.get_mut(i) {
                        *slot = Some(arg.value);
                    }
                }
                (None, Some(name)) if has_rest => {
                    if bound.rest.iter().any(|(n, _)| n.text == name.text) {
                        self.twice(name, "argument");
                    } else {
                        bound.rest.push((name, arg.value));
                    }
                }
                (None, Some(name)) => {
                    let meant = self.unknown_argument(what, slots, name, span);
                    match meant.and_then(|i| bound.slots.get_mut(i)).filter(|slot| slot.is_none()) {
                        Some(slot) => *slot = Some(arg.value),
                        None => loose.push(arg.value),
                    }
                    ok = false;
                }
                (None, None) => {
                    if ok {
                        self.too_many(what, slots, count, arg.value.span(), span);
                    }
                    loose.push(arg.value);
                    ok = false;
                }
            }
        }
        if ok && self.complete(what, slots, &bound.slots, span) {
            return Some(bound);
        }
        // Where arguments are missing or too many, those without a name may stand in the place of others.
        let shifted = if ok || next > slots.len() { next } else { 0 };
        self.check_unbound(what, slots, bound, shifted);
        self.check_loose(loose);
        None
    }

    /// The arguments of a call that is reported already: what else is wrong with each, by itself. Those of the first
    /// `shifted` parameters may be meant for others.
    fn check_unbound(&mut self, what: &str, slots: &[Slot], bound: Bound<'_>, shifted: usize) {
        for (i, (slot, value)) in slots.iter().zip(bound.slots).enumerate() {
            let Some(value) = value else { continue };
            let want = self.body.metas.zonk(&slot.ty);
            let at_cursor = self.has_cursor(value.span());
            if !at_cursor && (i < shifted || want.has_vars()) {
                self.check_loose([value]);
                continue;
            }
            self.why.push(format!("the parameter `{}` of {what} is `{}`", slot.name, show(&want)));
            let found = if scalar(&want).is_some() && !at_cursor {
                // A function of numbers may take arrays too.
                let found = self.typed(value);
                if matches!(self.shallow(&found.ty), Ty::Array(..)) { found } else { self.expect(found, &want) }
            } else {
                self.check_arg(value, &want)
            };
            self.why.pop();
            self.check_domain(&found, slot, what.trim_matches('`'));
        }
        self.check_loose(bound.rest.into_iter().map(|(_, value)| value));
    }

    /// Arguments of which it is not known what they should be: what is wrong within them all the same.
    pub(in crate::types) fn check_loose<'e>(&mut self, values: impl IntoIterator<Item = Value<'e>>) {
        for value in values {
            if let Value::Written(e) = value {
                self.loose(e);
            }
        }
    }

    fn loose(&mut self, e: &ast::Expr) {
        match &e.kind {
            ast::ExprKind::Group(inner) => self.loose(inner),
            // A word may be meant as a case or as something else that is not a value.
            ast::ExprKind::Name(_) => self.ask_value(e, None),
            ast::ExprKind::List(items) | ast::ExprKind::Tuple(items) => items.iter().for_each(|i| self.loose(i)),
            ast::ExprKind::Record(fields) => fields.iter().for_each(|f| {
                if let ast::FieldValue::Expr(value) = &f.value {
                    self.loose(value);
                }
            }),
            ast::ExprKind::If(c, a, b) => {
                self.check(c, &Ty::Bool);
                self.loose(a);
                self.loose(b);
            }
            ast::ExprKind::Closure(names, body) => {
                let before = self.body.locals.len();
                for name in names {
                    self.bind(&name.text, Ty::Error);
                }
                self.loose(body);
                self.body.locals.truncate(before);
            }
            _ => drop(self.infer(e)),
        }
    }

    /// What stands before the arguments of a call, or its first line.
    fn callee(&self, call: Span) -> Span {
        let text = self.text.get(call.range()).unwrap_or("");
        let head = text.split(['(', '{', '\n']).next().map_or("", str::trim_end);
        if head.is_empty() { call } else { Span { end: call.start + head.len() as u32, ..call } }
    }

    /// Whether every parameter without a default is given.
    fn complete(&mut self, what: &str, slots: &[Slot], given: &[Option<Value<'_>>], span: Span) -> bool {
        let missing: Vec<String> = slots
            .iter()
            .zip(given)
            .filter(|(s, v)| s.needed && v.is_none())
            .map(|(s, _)| format!("`{}`", s.name))
            .collect();
        if !missing.is_empty() {
            let d = Diagnostic::error(
                Code::E0302,
                span,
                format!("{what} needs {}", missing.join(", ")),
                format!("{} is missing", missing.join(", ")),
            );
            self.report(d.note(takes(what, slots)).help("give each parameter that has no default"));
        }
        missing.is_empty()
    }

    fn given_twice(&mut self, what: &str, slot: Option<&Slot>, at: Span, span: Span) {
        let shown = slot.map_or("", |s| &s.name);
        let d = Diagnostic::error(Code::E0302, span, format!("{what} gets `{shown}` twice"), "");
        self.report(d.label(at, "second time").help("give each parameter once"));
    }

    fn too_many(&mut self, what: &str, slots: &[Slot], count: usize, at: Span, span: Span) {
        let plural = if slots.len() == 1 { "" } else { "s" };
        let title = format!("{what} takes {} argument{plural}, not {count}", slots.len());
        let d = Diagnostic::error(Code::E0302, span, title, "").label(at, "too many");
        self.report(d.note(takes(what, slots)).help("leave it out"));
    }

    /// Reports it; the parameter that was meant, if one is near.
    fn unknown_argument(&mut self, what: &str, slots: &[Slot], name: &ast::Name, span: Span) -> Option<usize> {
        let d = Diagnostic::error(Code::E0302, span, format!("{what} has no parameter `{}`", name.text), "")
            .label(name.span, "no such parameter");
        let d = d.note(takes(what, slots));
        let near = crate::diag::suggest(&name.text, slots.iter().map(|s| &*s.name));
        self.report(match near {
            Some(near) => d.help(format!("did you mean `{near}`?")).fix(name.span, near),
            None => d.help("leave it out"),
        });
        slots.iter().position(|s| near == Some(&*s.name))
    }

    /// The checked arguments; closures last, when the others have told what type parameters stand for.
    pub(super) fn check_args(
        &mut self,
        what: &str,
        slots: &[Slot],
        values: Vec<Option<Value<'_>>>,
    ) -> Vec<Option<Expr>> {
        let mut out: Vec<Option<Expr>> = values.iter().map(|_| None).collect();
        let mut values: Vec<Option<Value<'_>>> = values;
        for closures in [false, true] {
            for ((slot, value), out) in slots.iter().zip(&mut values).zip(&mut out) {
                if value.as_ref().is_some_and(|v| v.has_closure() == closures)
                    && let Some(value) = value.take()
                {
                    let shown = show(&self.body.metas.zonk(&slot.ty));
                    self.why.push(format!("the parameter `{}` of {what} is `{shown}`", slot.name));
                    let value = self.check_arg(value, &slot.ty);
                    self.why.pop();
                    self.check_domain(&value, slot, what.trim_matches('`'));
                    *out = Some(value);
                }
            }
        }
        out
    }

    pub(in crate::types) fn check_arg(&mut self, value: Value<'_>, want: &Ty) -> Expr {
        match value {
            Value::Written(e) => self.check(e, want),
            Value::Typed(e) => self.expect(*e, want),
        }
    }

    pub(in crate::types) fn typed(&mut self, value: Value<'_>) -> Expr {
        match value {
            Value::Written(e) => self.infer(e),
            Value::Typed(e) => *e,
        }
    }

    /// Literal arguments lie within the declared range.
    pub(super) fn check_domain(&mut self, value: &Expr, slot: &Slot, name: &str) {
        let Some((lo, hi)) = slot.domain else { return };
        if let ExprKind::Array(items) = &value.kind {
            items.iter().for_each(|i| self.check_domain(i, slot, name));
            return;
        }
        if let ExprKind::Convert(_, inner) = &value.kind
            && matches!(inner.kind, ExprKind::Array(_))
        {
            return self.check_domain(inner, slot, name);
        }
        if let Some(x) = self.constant_real(value).filter(|x| !(lo..=hi).contains(x)) {
            let title = format!("`{}` of `{name}` lies between {lo} and {hi}, and {x} does not", slot.name);
            let d = Diagnostic::error(Code::E0309, value.span, title, "out of range");
            self.report(d.help(format!("give a value from {lo} to {hi}")));
        }
    }
}

fn takes(what: &str, slots: &[Slot]) -> String {
    let one = |s: &Slot| format!("{}{}", s.name, if s.needed { "" } else { "?" });
    match slots {
        [] => format!("{what} takes no arguments"),
        _ => format!("{what} takes {}", slots.iter().map(one).collect::<Vec<_>>().join(", ")),
    }
}
