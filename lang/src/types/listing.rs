//! A declared function with all that it needs, as the text of a program of its own.
//!
//! The text is taken from the sources as it was written. What a value of the program is, only the run knows: each is a
//! hole in the text, where its literal is to be written.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::cx::Checker;
use super::{Len, Ty};
use crate::hir::{Expr, ExprKind, Function, Global, GlobalKind, GlobalRef, ModuleId};

/// Pieces of text with a hole after each but the last, and what the holes hold.
#[derive(Default)]
pub(super) struct Listing {
    pub(super) pieces: Vec<String>,
    pub(super) holes: Vec<(Arc<str>, Expr)>,
}

impl Listing {
    fn text(&mut self, text: &str) {
        let is_open = self.holes.len() < self.pieces.len();
        match self.pieces.last_mut().filter(|_| is_open) {
            Some(piece) => piece.push_str(text),
            None => self.pieces.push(text.to_owned()),
        }
    }

    fn hole(&mut self, name: &Arc<str>, value: Expr) {
        if self.pieces.len() == self.holes.len() {
            self.pieces.push(String::new());
        }
        self.holes.push((name.clone(), value));
    }
}

/// What a function needs of its program, by the places of the declarations.
#[derive(Default)]
struct Needs {
    functions: BTreeSet<usize>,
    values: BTreeSet<usize>,
}

impl Checker<'_> {
    /// The function at `reference` of the program `instance`, with `settings` in place of its parameters' defaults;
    /// `None` if it needs what has no text of its own: another program, a node, the seed.
    pub(super) fn listing(
        &self,
        instance: Option<&Expr>,
        reference: GlobalRef,
        function: &Function,
        settings: &[Option<Expr>],
    ) -> Option<Listing> {
        let mut needs = Needs::default();
        self.needs_of(reference.module, function, &mut needs)?;
        let of = |index: &usize| self.global_at(GlobalRef { module: reference.module, index: *index });
        let mut listing = Listing::default();
        for index in &needs.values {
            let global = of(index)?;
            let kind = match instance {
                Some(program) => ExprKind::Member { instance: Box::new(program.clone()), global: *index },
                None => ExprKind::Global(GlobalRef { module: reference.module, index: *index }),
            };
            let ty = if has_fixed_lengths(&global.ty) { format!(": {}", global.ty) } else { String::new() };
            listing.text(&format!("let {}{ty} = ", global.name));
            listing.hole(&global.name, Expr { kind, ty: global.ty.clone(), span: global.name_span });
            listing.text("\n\n");
        }
        needs.functions.remove(&reference.index);
        let mut texts: Vec<String> =
            needs.functions.iter().map(|i| Some(self.text_of(of(i)?))).collect::<Option<_>>()?;
        let main = self.global_at(reference)?;
        self.types_named(reference.module, &self.text_of(main), &mut texts);
        texts.iter().for_each(|text| listing.text(&format!("{text}\n\n")));
        self.with_settings(main, function, settings, &mut listing);
        Some(listing)
    }

    /// The declaration's text with a hole for each setting.
    fn with_settings(&self, main: &Global, function: &Function, settings: &[Option<Expr>], listing: &mut Listing) {
        listing.text(&documented(main));
        let mut at = main.span;
        for (param, setting) in function.params.iter().zip(settings) {
            if let (Some(default), Some(setting)) = (&param.default, setting) {
                listing.text(self.sources.text(crate::span::Span { end: default.span.start, ..at }));
                listing.hole(&param.name, setting.clone());
                at.start = default.span.end;
            }
        }
        listing.text(self.sources.text(at));
        listing.text("\n");
    }

    fn global_at(&self, reference: GlobalRef) -> Option<&Global> {
        if reference.module == self.id {
            return self.done(reference.index);
        }
        self.modules.get(reference.module.0 as usize)?.globals.get(reference.index)
    }

    fn text_of(&self, global: &Global) -> String {
        documented(global) + self.sources.text(global.span)
    }

    /// Adds the types and genomes of the program that `main` and the texts name, and those that these name.
    fn types_named(&self, module: ModuleId, main: &str, texts: &mut Vec<String>) {
        let globals = |index| self.global_at(GlobalRef { module, index });
        let mut types: Vec<&Global> =
            (0..).map_while(globals).filter(|g| matches!(g.kind, GlobalKind::Type | GlobalKind::Genome(_))).collect();
        while let Some(at) = types.iter().position(|t| texts.iter().any(|x| names(x, &t.name)) || names(main, &t.name))
        {
            texts.insert(0, self.text_of(types.remove(at)));
        }
    }

    fn needs_of(&self, module: ModuleId, function: &Function, needs: &mut Needs) -> Option<()> {
        for param in &function.params {
            self.needs_of_type(module, &param.ty, needs)?;
            param.default.iter().try_for_each(|e| self.needs_of_expr(module, e, needs))?;
        }
        self.needs_of_expr(module, &function.body, needs)
    }

    fn needs_of_type(&self, module: ModuleId, ty: &Ty, needs: &mut Needs) -> Option<()> {
        match ty {
            Ty::Array(item, len) => {
                if let Len::Static { expr, .. } = len {
                    self.needs_of_expr(module, expr, needs)?;
                }
                self.needs_of_type(module, item, needs)
            }
            Ty::List(item) | Ty::Range(item) => self.needs_of_type(module, item, needs),
            Ty::Tuple(items) => items.iter().try_for_each(|item| self.needs_of_type(module, item, needs)),
            Ty::Node(_) | Ty::Instance(_) | Ty::Program | Ty::Error => None,
            _ => Some(()),
        }
    }

    fn needs_of_expr(&self, module: ModuleId, e: &Expr, needs: &mut Needs) -> Option<()> {
        self.needs_of_type(module, &e.ty, needs)?;
        match &e.kind {
            ExprKind::Seed | ExprKind::Instance(_) | ExprKind::Member { .. } | ExprKind::Error => return None,
            ExprKind::CallFunction { instance: Some(_), .. } => return None,
            ExprKind::CallFunction { function: at, .. } | ExprKind::Global(at) if at.module == module => {
                match &self.global_at(*at)?.kind {
                    GlobalKind::Function(function) => {
                        if needs.functions.insert(at.index) {
                            let function = function.clone();
                            crate::syntax::deep(|| self.needs_of(module, &function, needs))?;
                        }
                    }
                    GlobalKind::Value(_) | GlobalKind::Param { .. } if e.ty.is_numeric() => {
                        needs.values.insert(at.index);
                    }
                    _ => return None,
                }
            }
            _ => {}
        }
        let mut inside = Some(());
        e.children(&mut |child| {
            if inside.is_some() {
                inside = self.needs_of_expr(module, child, needs);
            }
        });
        inside
    }
}

/// The lines of documentation before a declaration.
fn documented(global: &Global) -> String {
    global.doc.lines().map(|line| format!("/// {line}").trim_end().to_owned() + "\n").collect()
}

fn has_fixed_lengths(ty: &Ty) -> bool {
    match ty {
        Ty::Array(item, len) => matches!(len, Len::Const(_)) && has_fixed_lengths(item),
        Ty::Tuple(items) => items.iter().all(has_fixed_lengths),
        Ty::Int | Ty::Real | Ty::Bool => true,
        Ty::Enum(e) => e.name.is_some(),
        Ty::Record(r) => r.name.is_some(),
        _ => false,
    }
}

/// Whether a text has this word.
fn names(text: &str, word: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w == word)
}
