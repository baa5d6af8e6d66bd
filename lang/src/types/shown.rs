//! What `plot` draws and `save` writes, as far as types tell.

use super::Ty;
use super::cx::Checker;
use super::expr::show;
use crate::diag::{Code, Diagnostic};
use crate::hir::Expr;
use crate::library::Drawn;
use crate::span::Span;

/// What a value is to `plot`.
enum Picture {
    /// Drawn with what the request gives.
    Fits,
    /// A function of one number without a range.
    NeedsRange,
    /// Drawn, but not over a range.
    NoRange,
    /// Not drawn.
    No,
}

impl Checker<'_> {
    /// Reports a value that `plot` cannot draw, with or without the range at `over`.
    pub(super) fn check_drawn(&mut self, value: &Expr, over: Option<Span>) {
        let ty = self.body.metas.zonk(&value.ty);
        let shown = show(&ty);
        let d = match self.picture(&ty, over.is_some()) {
            Picture::Fits => return,
            Picture::NeedsRange => {
                let title = format!("a function is drawn over a range, and `plot` has none for this `{shown}`");
                Diagnostic::error(Code::E0355, value.span, title, "over which numbers?")
                    .help("write `plot … over 0..1`, with the ends that it is to be drawn between")
            }
            Picture::NoRange => {
                let title = format!("`{shown}` is not drawn over a range");
                Diagnostic::error(Code::E0355, over.unwrap_or(value.span), title, "a range is not for it")
                    .label(value.span, format!("this is `{shown}`"))
                    .help("leave `over …` out: a range is for losses and functions of one number")
            }
            Picture::No => {
                let title = format!("`{shown}` cannot be drawn");
                Diagnostic::error(Code::E0355, value.span, title, "nothing to draw")
                    .note(self.drawn_types())
                    .help(self.instead_of(&ty, "plot"))
            }
        };
        self.report(d);
    }

    /// Reports a value that `save` cannot write.
    pub(super) fn check_saved(&mut self, value: &Expr) {
        let ty = self.body.metas.zonk(&value.ty);
        let is_saved = match &ty {
            Ty::Node(node) => self.library.types.get(&node.name).is_none_or(|decl| decl.saved),
            other => self.is_unclear(other),
        };
        if is_saved {
            return;
        }
        let shown = show(&ty);
        let saved = self.library.types().filter(|decl| decl.saved).map(|decl| format!("`{}`", decl.name));
        let note = format!("what is saved: {}", saved.collect::<Vec<_>>().join(", "));
        let d = Diagnostic::error(Code::E0355, value.span, format!("`{shown}` cannot be saved"), "nothing to save");
        self.report(d.note(note).help(self.instead_of(&ty, "save")));
    }

    fn picture(&self, ty: &Ty, has_range: bool) -> Picture {
        match ty {
            Ty::Node(node) => match (self.library.types.get(&node.name).map(|decl| decl.drawn), has_range) {
                (None | Some(Drawn::Over), _) | (Some(Drawn::Alone), false) => Picture::Fits,
                (Some(Drawn::Alone), true) => Picture::NoRange,
                (Some(Drawn::No), _) => Picture::No,
            },
            Ty::Fn(f) => match (f.params.as_slice(), &f.result, has_range) {
                ([(_, Ty::Real | Ty::Error)], Ty::Real | Ty::Int | Ty::Bool | Ty::Error, true) => Picture::Fits,
                ([(_, Ty::Real | Ty::Error)], Ty::Real | Ty::Int | Ty::Bool | Ty::Error, false) => Picture::NeedsRange,
                _ => Picture::No,
            },
            // Side by side go what a range is for.
            Ty::List(item) | Ty::Array(item, _) => match &**item {
                Ty::Node(node) if self.library.types.get(&node.name).is_some_and(|d| d.drawn == Drawn::Alone) => {
                    Picture::No
                }
                item => self.picture(item, has_range),
            },
            Ty::Tuple(items) => items.iter().map(|item| self.picture(item, has_range)).fold(Picture::Fits, worse),
            other if self.is_unclear(other) => Picture::Fits,
            _ => Picture::No,
        }
    }

    /// Whether a type does not tell what a value is, or has been reported, or will be.
    fn is_unclear(&self, ty: &Ty) -> bool {
        self.is_open(ty) || matches!(ty, Ty::Union(_) | Ty::Var(_) | Ty::Instance(_) | Ty::Program)
    }

    fn drawn_types(&self) -> String {
        let drawn = self.library.types().filter(|decl| decl.drawn != Drawn::No).map(|decl| format!("`{}`", decl.name));
        format!("what is drawn: {}, and a function of one `real`", drawn.collect::<Vec<_>>().join(", "))
    }

    /// A field that is drawn or saved instead, or `print`.
    fn instead_of(&self, ty: &Ty, request: &str) -> String {
        let Ty::Node(node) = ty else { return "`print` shows any value".to_owned() };
        let fits = |ty: &Ty| match ty {
            Ty::Node(field) => self.library.types.get(&field.name).is_some_and(|decl| match request {
                "plot" => decl.drawn != Drawn::No,
                _ => decl.saved,
            }),
            _ => false,
        };
        match self.library.node_fields(&node.name, &node.args).iter().find(|field| fits(&field.ty)) {
            Some(field) => format!("{request} its field `{}`", field.name),
            None => "`print` shows any value".to_owned(),
        }
    }
}

fn worse(a: Picture, b: Picture) -> Picture {
    match (&a, &b) {
        (Picture::Fits, _) => b,
        _ => a,
    }
}
