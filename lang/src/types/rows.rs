//! Functions that are computed over the rows of a batch, such as losses: what they take by name, what only they may
//! use, and how they become values.

use std::sync::Arc;

use super::Ty;
use super::call::Arg;
use super::cx::{Checker, Source};
use super::numeric::free_locals;
use crate::diag::{Code, Diagnostic};
use crate::hir::{Expr, ExprKind, Function, GlobalKind, GlobalRef, Param};
use crate::span::Span;
use crate::syntax::ast;

impl Checker<'_> {
    /// The columns that functions of a kind take by name; none for kinds that are not computed over rows.
    fn columns(&self, word: &str) -> &[Arc<str>] {
        self.library.kinds.get(word).map_or(&[], |kind| &kind.rows)
    }

    /// Refuses what sees all rows of a batch (a library function, or a function that is itself row code) outside of
    /// row code.
    pub(super) fn only_in_row_code(&mut self, function: Option<GlobalRef>, name: &str, span: Span) {
        if let Some(reference) = function
            && self.word(reference).is_none_or(|word| self.columns(&word).is_empty())
        {
            return;
        }
        if self.is_in_row_code() {
            return;
        }
        let kinds: Vec<&str> = self.library.kinds.values().filter(|k| !k.rows.is_empty()).map(|k| &*k.name).collect();
        let kinds = kinds.join("` or `");
        let d = Diagnostic::error(
            Code::E0350,
            span,
            format!("`{name}` is computed over the rows of a batch, and there are none here"),
            "no batch",
        );
        self.report(d.help(match function {
            Some(_) => format!("give it rows, as in `{name}.loss_values(z: [0.5])`, or settings alone, by their names"),
            None => format!("use it in a declared `{kinds}`"),
        }));
    }

    /// Whether the declaration at hand is computed over rows.
    fn is_in_row_code(&self) -> bool {
        let here = self.stack.last().and_then(|i| self.slots.get(*i));
        matches!(here.map(|slot| slot.source), Some(Source::Decl(d)) if d.params.is_some() && !self.columns(&d.kind.text).is_empty())
    }

    /// Whether a call gives a function over rows settings alone, by their names, and so makes a value of it: `lrml(tau: 0.1)`.
    pub(super) fn gives_settings(&self, reference: GlobalRef, function: &Function, args: &[Arg<'_>]) -> bool {
        let Some(word) = self.word(reference) else { return false };
        let columns = self.columns(&word);
        let is_column = |name: &str| columns.iter().any(|c| **c == *name);
        !columns.is_empty()
            && !args.is_empty()
            && args.iter().all(|a| a.name.is_some_and(|name| !is_column(&name.text)))
            && function.params.iter().any(|p| is_column(&p.name))
            && self.library.kinds.get(&word).is_some_and(|kind| kind.value.is_some())
            && !self.is_in_row_code()
    }

    /// Checks the parameters of a function that is computed over rows, and that it reads one of its columns.
    pub(super) fn check_row_code(&mut self, d: &ast::Decl, params: &[Param], body: &Expr) {
        let columns = self.columns(&d.kind.text).to_vec();
        if columns.is_empty() {
            return;
        }
        let (kind, name) = (&d.kind.text, &d.name.text);
        let is_column = |p: &Param| columns.contains(&p.name);
        let written = d.params.as_deref().unwrap_or(&[]);
        for (param, written) in params.iter().zip(written) {
            if is_column(param) && !matches!(param.ty, Ty::Real | Ty::Error) {
                let title = format!("the input `{}` is `real`", param.name);
                let label = format!("this is `{}`", param.ty);
                let d = Diagnostic::error(Code::E0351, written.name.span, title, label);
                self.report(d.help(format!("write `{}: real`", param.name)));
            } else if !is_column(param) && param.default.is_none() {
                let title = format!("`{}` is no input of a `{kind}` and has no default", param.name);
                let d = Diagnostic::error(Code::E0351, written.name.span, title, "where would it come from?");
                let d = d.note(format!("the inputs are {}", columns.join(", ")));
                let near = crate::diag::suggest(&param.name, columns.iter().map(|c| &**c)).map(str::to_owned);
                self.report(match near {
                    Some(near) => d.help(format!("did you mean `{near}`?")).fix(written.name.span, near),
                    None => d.help(format!("give it a default: `{}: real = 0.1`", param.name)),
                });
            }
        }
        let read = free_locals(body);
        if !matches!(body.kind, ExprKind::Error) && !params.iter().any(|p| is_column(p) && read.contains(&p.local)) {
            let title = format!("the `{kind}` `{name}` is the same for every row");
            let d = Diagnostic::warning(Code::E0352, d.name.span, title, "reads none of its inputs");
            self.report(
                d.note(format!("the inputs are {}", columns.join(", "))).help("let its value depend on one of them"),
            );
        }
    }

    fn word(&self, reference: GlobalRef) -> Option<Arc<str>> {
        if reference.module == self.id {
            return self.done(reference.index).map(|g| g.word.clone());
        }
        self.foreign(reference).map(|seen| seen.word)
    }

    /// Functions of one kind side by side, such as several losses, as the nodes that they are accepted as.
    pub(super) fn functions_as_nodes(&mut self, items: Vec<Expr>) -> Vec<Expr> {
        let node = items.first().and_then(|e| self.node_of(e));
        match node {
            Some(Ty::Node(n)) if items.iter().all(|e| self.node_of(e).is_some_and(|t| t.is_node(&n.name))) => {
                items.into_iter().map(|e| self.as_node(e, Ty::Node(n.clone()))).collect()
            }
            _ => items,
        }
    }

    /// A function of a kind that is accepted as a node, such as a declared loss where a `Loss` is expected.
    pub(super) fn function_as_node(&mut self, e: &Expr, want: &Ty) -> Option<Expr> {
        let Ty::Node(node) = self.shallow(want) else { return None };
        let value = self.node_of(e)?;
        value.is_node(&node.name).then(|| self.as_node(e.clone(), value))
    }

    /// A function as the node that it is accepted as; anything else as it is.
    pub(super) fn as_node_if_any(&mut self, e: Expr) -> Expr {
        match self.node_of(&e) {
            Some(value) => self.as_node(e, value),
            None => e,
        }
    }

    /// `as_kind(name, inputs, (inputs) => function(inputs), …)`, where the library has that function.
    fn as_node(&mut self, e: Expr, value: Ty) -> Expr {
        let (instance, reference) = match &e.kind {
            ExprKind::Global(reference) => (None, *reference),
            ExprKind::Member { instance, global } => match instance.ty {
                Ty::Instance(module) => (Some(instance.clone()), GlobalRef { module, index: *global }),
                _ => return Expr { ty: value, ..e },
            },
            _ => return Expr { ty: value, ..e },
        };
        match self.constructed(instance, reference, &[], e.span) {
            Some(made) => made,
            None => Expr { ty: value, ..e },
        }
    }

    /// A function over rows as the node that it is accepted as, with settings in place of its parameters' defaults.
    pub(super) fn constructed(
        &mut self,
        instance: Option<Box<Expr>>,
        reference: GlobalRef,
        settings: &[Option<Expr>],
        span: Span,
    ) -> Option<Expr> {
        let word = self.word(reference)?;
        let value = self.library.kinds.get(&word)?.value.clone()?;
        let ext = self.library.overloads(&format!("as_{word}")).first()?.clone();
        let columns = self.columns(&word).to_vec();
        let GlobalKind::Function(function) = self.done_kind(reference)?.clone() else { return None };
        let name = match reference.module == self.id {
            true => self.done(reference.index)?.name.clone(),
            false => self.modules.get(reference.module.0 as usize)?.globals.get(reference.index)?.name.clone(),
        };
        let text = |t: &str| Expr { kind: ExprKind::Text(t.into()), ty: Ty::Text, span };
        let list = |items: Vec<Expr>| Expr { kind: ExprKind::Array(items), ty: Ty::List(Arc::new(Ty::Text)), span };
        let inputs = function.params.iter().filter(|p| columns.contains(&p.name));
        let inputs = list(inputs.map(|p| text(&p.name)).collect());
        let set: Vec<(Arc<str>, Expr)> = function
            .params
            .iter()
            .zip(settings)
            .filter_map(|(p, setting)| Some((p.name.clone(), setting.clone()?)))
            .collect();
        let names = list(set.iter().map(|(name, _)| text(name)).collect());
        let listing = self.listing(instance.as_deref(), reference, &function, settings);
        // Without a text of its own there are no pieces, and the settings alone tell one from another.
        let (pieces, values) = listing.map_or((Vec::new(), set), |listing| (listing.pieces, listing.holes));
        let source = list(pieces.iter().map(|piece| text(piece)).collect());
        let formula = self.over_columns(&function, &columns, (instance, reference), settings, span);
        let args = [text(&name), inputs, formula, names, source].map(Some).into();
        let kind = ExprKind::CallExtern { ext, args, rest: values, type_args: Vec::new() };
        Some(Expr { kind, ty: value, span })
    }

    /// The closure that takes a function's columns, with its other parameters set, or left to their defaults.
    fn over_columns(
        &mut self,
        function: &Function,
        columns: &[Arc<str>],
        (instance, reference): (Option<Box<Expr>>, GlobalRef),
        settings: &[Option<Expr>],
        span: Span,
    ) -> Expr {
        let outside = self.body.locals.len();
        let (mut params, mut args) = (Vec::new(), Vec::new());
        for (i, p) in function.params.iter().enumerate() {
            if !columns.contains(&p.name) {
                args.push(settings.get(i).cloned().flatten());
                continue;
            }
            let local = self.bind(&p.name, p.ty.clone());
            args.push(Some(Expr { kind: ExprKind::Local(local), ty: p.ty.clone(), span }));
            params.push(Param { local, name: p.name.clone(), ty: p.ty.clone(), default: None });
        }
        self.body.locals.truncate(outside);
        let kind = ExprKind::CallFunction { instance, function: reference, args };
        let body = Expr { kind, ty: function.body.ty.clone(), span };
        self.closed_over(params, body, span)
    }
}
