//! What the checker knows at one place of a module: for completion, which puts a stand-in word there and checks the rest
//! as ever. Nothing is recorded where no cursor is set.

use std::sync::Arc;

use super::call::{Arg, Slot};
use super::cx::Checker;
use super::{FieldTy, Ty};
use crate::hir::ModuleId;
use crate::library::Extern;
use crate::span::Span;
use crate::syntax::ast;

/// What could stand at the cursor.
#[derive(Clone, Debug)]
pub(crate) enum Asked {
    /// A value: of a type, where one is wanted.
    Value {
        /// The wanted type.
        want: Option<Ty>,
        /// Locals in scope, the innermost last.
        locals: Vec<(Arc<str>, Ty)>,
    },
    /// What stands after the dot behind a value of this type.
    Member(Ty),
    /// The name of an argument or of a field that is not given yet.
    Named(Vec<Place>),
    /// A type.
    Type,
    /// A type of a used program.
    TypeOf(ModuleId),
}

/// A parameter or a field that may be named.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) name: Arc<str>,
    pub(crate) ty: Ty,
    /// Whether it must be given.
    pub(crate) needed: bool,
}

impl Checker<'_> {
    /// Whether a word stands at the cursor.
    pub(super) fn is_cursor(&self, span: Span) -> bool {
        self.cursor == Some(span.start)
    }

    /// Whether the cursor is within.
    pub(super) fn has_cursor(&self, span: Span) -> bool {
        self.cursor.is_some_and(|at| span.start <= at && at < span.end)
    }

    /// Records that a value could stand at the cursor, if this is it.
    pub(super) fn ask_value(&mut self, e: &ast::Expr, want: Option<&Ty>) {
        if matches!(e.kind, ast::ExprKind::Name(_)) && self.is_cursor(e.span) {
            self.ask_value_at(e.span, want);
        }
    }

    /// Records that a value could stand at the cursor, if it is here.
    pub(super) fn ask_value_at(&mut self, at: Span, want: Option<&Ty>) {
        if self.is_cursor(at) {
            let want = want.map(|ty| self.body.metas.zonk(ty));
            let locals = self.body.locals.iter().map(|l| (l.name.as_str().into(), self.body.metas.zonk(&l.ty)));
            let locals = locals.collect();
            self.asked.push(Asked::Value { want, locals });
        }
    }

    /// Records which member is asked for, if it is at the cursor.
    pub(super) fn ask_member(&mut self, base: &Ty, member: &ast::Name) {
        if self.is_cursor(member.span) {
            let base = self.body.metas.zonk(base);
            self.asked.push(Asked::Member(base));
        }
    }

    /// Records that a type is asked for, if it is at the cursor.
    pub(super) fn ask_type(&mut self, path: &[ast::Name]) {
        match path {
            [name] if self.is_cursor(name.span) => self.asked.push(Asked::Type),
            [program, name] if self.is_cursor(name.span) => {
                if let Some(&index) = self.names.get(&program.text)
                    && let super::cx::What::Use(module) = self.own(index).what
                {
                    self.asked.push(Asked::TypeOf(module));
                }
            }
            _ => {}
        }
    }

    /// Records the fields of a record that could be named at the cursor.
    pub(super) fn ask_fields(&mut self, fields: &[ast::Field], wanted: &[FieldTy]) {
        if !fields.iter().any(|f| self.is_cursor(f.name.span)) {
            return;
        }
        let open = wanted.iter().filter(|w| fields.iter().all(|f| *f.name.text != *w.name));
        let places =
            open.map(|w| Place { name: w.name.clone(), ty: w.ty.clone(), needed: w.default.is_none() && !w.optional });
        self.asked.push(Asked::Named(places.collect()));
    }

    /// Records the parameters that could be named at the cursor.
    pub(super) fn ask_args(&mut self, slots: &[Slot], args: &[Arg<'_>]) {
        if !self.asks_name(args) {
            return;
        }
        let places: Vec<Place> =
            slots.iter().map(|s| Place { name: s.name.clone(), ty: s.ty.clone(), needed: s.needed }).collect();
        self.ask_places(places, args);
    }

    /// Records the parameters of several declarations of one name.
    pub(super) fn ask_overloads(&mut self, candidates: &[Arc<Extern>], args: &[Arg<'_>]) {
        if !self.asks_name(args) {
            return;
        }
        let mut places: Vec<Place> = Vec::new();
        for p in candidates.iter().flat_map(|c| &c.params).filter(|p| !p.rest) {
            if places.iter().all(|known| known.name != p.name) {
                let needed = p.default.is_none() && !p.optional;
                places.push(Place { name: p.name.clone(), ty: p.ty.clone(), needed });
            }
        }
        self.ask_places(places, args);
    }

    /// Whether an argument's name could stand at the cursor.
    fn asks_name(&self, args: &[Arg<'_>]) -> bool {
        self.cursor.is_some()
            && args.iter().any(|a| match a.name {
                Some(name) => self.is_cursor(name.span),
                None => self.is_cursor(a.value.span()),
            })
    }

    fn ask_places(&mut self, mut places: Vec<Place>, args: &[Arg<'_>]) {
        let by_place = args.iter().take_while(|a| a.name.is_none() && !self.is_cursor(a.value.span())).count();
        places.drain(..by_place.min(places.len()));
        places.retain(|p| args.iter().all(|a| a.name.is_none_or(|n| *n.text != *p.name)));
        for place in &mut places {
            place.ty = self.body.metas.zonk(&place.ty);
        }
        self.asked.push(Asked::Named(places));
    }
}
