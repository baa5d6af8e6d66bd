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
        let written = if self.cursor.is_some() { args.clone() } else { Vec::new() };
        let span = self.callee(span);
        let mut bound = Bound { slots: slots.iter().map(|_| None).collect(), rest: Vec::new() };
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
                        let shown = slots.get(i).map_or("", |s| &s.name);
                        let at = name.map_or(arg.value.span(), |n| n.span);
                        let d = Diagnostic::error(Code::E0302, span, format!("{what} gets `{shown}` twice"), "")
                            .label(at, "second time");
                        self.report(d.help("give each parameter once"));
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
                    self.unknown_argument(what, slots, name, span);
                    ok = false;
                }
                (None, None) => {
                    if ok {
                        let plural = if slots.len() == 1 { "" } else { "s" };
                        let title = format!("{what} takes {} argument{plural}, not {count}", slots.len());
                        let d = Diagnostic::error(Code::E0302, span, title, "").label(arg.value.span(), "too many");
                        self.report(d.note(takes(what, slots)).help("leave it out"));
                    }
                    ok = false;
                }
            }
        }
        let complete = ok && self.complete(what, slots, &bound.slots, span);
        if !complete {
            self.ask_within(slots, &written);
        }
        complete.then_some(bound)
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

    fn unknown_argument(&mut self, what: &str, slots: &[Slot], name: &ast::Name, span: Span) {
        let d = Diagnostic::error(Code::E0302, span, format!("{what} has no parameter `{}`", name.text), "")
            .label(name.span, "no such parameter");
        let d = d.note(takes(what, slots));
        self.report(match crate::diag::suggest(&name.text, slots.iter().map(|s| &*s.name)) {
            Some(near) => d.help(format!("did you mean `{near}`?")).fix(name.span, near),
            None => d.help("leave it out"),
        });
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
