//! What the checker knows while it checks one module: declarations, scopes, type variables, diagnostics.

use std::sync::Arc;

use indexmap::IndexMap;

use super::{Asked, Ty, unify::Metas};
use crate::diag::{Code, Diagnostic};
use crate::hir::{Function, Global, GlobalKind, GlobalRef, LocalId, Module, ModuleId};
use crate::library::{Extern, Library};
use crate::span::{SourceMap, Span};
use crate::syntax::ast;

/// Checks one module. The modules that it uses are checked already.
pub(crate) struct Checker<'a> {
    /// The library; while the library itself is read, what is read of it so far.
    pub(super) library: &'a Library,
    /// All modules checked so far; module 0 is the library's.
    pub(super) modules: &'a [Module],
    /// The texts of all of them, and of the library.
    pub(super) sources: &'a SourceMap,
    /// The module being checked.
    pub(super) id: ModuleId,
    /// Whether it is the library that is being read.
    pub(super) in_library: bool,
    /// Its text, for titles of requests.
    pub(super) text: &'a str,
    /// Names and what they declare.
    pub(super) names: IndexMap<String, usize>,
    /// One slot for each declaration.
    pub(super) slots: Vec<Slot<'a>>,
    /// Names that failing items would have declared.
    pub(super) broken: Vec<String>,
    /// Type parameters in scope.
    pub(super) generics: Vec<Arc<str>>,
    /// The body being checked.
    pub(super) body: Body,
    /// Slots whose check has begun and not ended, the outermost first.
    pub(super) stack: Vec<usize>,
    /// What a type is wanted for, for notes; the innermost last.
    pub(super) why: Vec<String>,
    /// Where an editor's cursor is: the first byte of the word that stands in for what may come there.
    pub(super) cursor: Option<u32>,
    /// What could stand at the cursor.
    pub(super) asked: Vec<Asked>,
    /// What was found.
    pub(super) diagnostics: Vec<Diagnostic>,
}

/// A declaration and how far its check has come.
pub(super) struct Slot<'a> {
    pub(super) docs: &'a [String],
    pub(super) span: Span,
    pub(super) name: &'a ast::Name,
    pub(super) source: Source<'a>,
    pub(super) state: State,
}

/// What a slot comes from.
#[derive(Clone, Copy)]
pub(super) enum Source<'a> {
    /// `kind name …`
    Decl(&'a ast::Decl),
    /// `type name = …`
    Type(&'a ast::TypeItem),
    /// `use … as name`, with the module if it could be read.
    Use(Option<ModuleId>),
}

/// How far the check of a slot has come.
pub(super) enum State {
    Waiting,
    Checking,
    Done(Box<Global>),
}

/// A body: its locals, its closures, its type variables.
#[derive(Default)]
pub(super) struct Body {
    /// Locals in scope, the innermost last.
    pub(super) locals: Vec<Local>,
    /// The next free id.
    pub(super) next: u32,
    /// Captures of the closures around, the outermost first, with the number of locals outside of each.
    pub(super) closures: Vec<(usize, Vec<LocalId>)>,
    /// Type variables.
    pub(super) metas: Metas,
}

/// A local in scope.
#[derive(Clone)]
pub(super) struct Local {
    pub(super) name: String,
    pub(super) id: LocalId,
    pub(super) ty: Ty,
}

/// What a name stands for.
pub(super) enum Meaning {
    /// A parameter or a `let` step.
    Local(LocalId, Ty),
    /// A declaration of the module being checked.
    Own(usize),
    /// A function or value of the library that is written in the language itself.
    Library(usize),
    /// Externs of the library.
    Extern,
    /// The program's seed, where no `param seed` is declared.
    Seed,
    /// A name that a failing item would have declared.
    Broken,
    /// Nothing.
    Unknown,
}

/// What is to be known of a declaration that is used.
#[derive(Clone)]
pub(super) struct Seen {
    pub(super) ty: Ty,
    pub(super) word: Arc<str>,
    pub(super) name_span: Span,
    pub(super) what: What,
}

/// The sort of a declaration that is used.
#[derive(Clone)]
pub(super) enum What {
    Value,
    Function(Arc<Function>),
    Use(ModuleId),
    Type,
    Extern(Arc<Extern>),
    Error,
}

impl Seen {
    fn of(global: &Global) -> Self {
        let what = match &global.kind {
            GlobalKind::Param { .. } | GlobalKind::Value(_) => What::Value,
            GlobalKind::Function(f) => What::Function(f.clone()),
            GlobalKind::Genome(_) | GlobalKind::Type => What::Type,
            GlobalKind::Use(module) => What::Use(*module),
            GlobalKind::Extern(ext) => What::Extern(ext.clone()),
            GlobalKind::Error => What::Error,
        };
        Self { ty: global.ty.clone(), word: global.word.clone(), name_span: global.name_span, what }
    }
}

impl<'a> Checker<'a> {
    pub(super) fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// Opens a local and returns its id.
    pub(super) fn bind(&mut self, name: &str, ty: Ty) -> LocalId {
        let id = LocalId(self.body.next);
        self.body.next += 1;
        self.body.locals.push(Local { name: name.to_owned(), id, ty });
        id
    }

    /// A local by name; closures between its binding and here capture it.
    pub(super) fn local(&mut self, name: &str) -> Option<(LocalId, Ty)> {
        let index = self.body.locals.iter().rposition(|l| l.name == name)?;
        let local = self.body.locals.get(index)?.clone();
        for (outside, captures) in &mut self.body.closures {
            if index < *outside && !captures.contains(&local.id) {
                captures.push(local.id);
            }
        }
        Some((local.id, local.ty))
    }

    /// Whether a declaration of this module has the name.
    pub(super) fn is_declared(&self, name: &str) -> bool {
        self.names.contains_key(name) || self.broken.iter().any(|b| b == name)
    }

    /// What a name stands for here.
    pub(super) fn meaning(&mut self, name: &str) -> Meaning {
        if let Some((id, ty)) = self.local(name) {
            return Meaning::Local(id, ty);
        }
        if let Some(&index) = self.names.get(name) {
            return Meaning::Own(index);
        }
        if self.broken.iter().any(|b| b == name) {
            return Meaning::Broken;
        }
        if let Some(index) = self.library.function(name) {
            return Meaning::Library(index);
        }
        if !self.library.overloads(name).is_empty() {
            return Meaning::Extern;
        }
        if name == "seed" { Meaning::Seed } else { Meaning::Unknown }
    }

    /// A declaration of this module, checked now if it has not been.
    pub(super) fn own(&mut self, index: usize) -> Seen {
        self.demand(index);
        match self.done(index) {
            Some(global) => Seen::of(global),
            None => Seen { ty: Ty::Error, word: "".into(), name_span: Span::default(), what: What::Error },
        }
    }

    /// The finished global of a slot.
    pub(super) fn done(&self, index: usize) -> Option<&Global> {
        match self.slots.get(index).map(|s| &s.state) {
            Some(State::Done(global)) => Some(global),
            _ => None,
        }
    }

    /// A declaration of another module, by name.
    pub(super) fn member(&self, module: ModuleId, name: &str) -> Option<(usize, Seen)> {
        if is_private(name) {
            return None;
        }
        let module = self.modules.get(module.0 as usize)?;
        module.globals.iter().position(|g| &*g.name == name).and_then(|i| Some((i, Seen::of(module.globals.get(i)?))))
    }

    /// A declaration of another module, by its place.
    pub(super) fn foreign(&self, reference: GlobalRef) -> Option<Seen> {
        self.modules.get(reference.module.0 as usize)?.globals.get(reference.index).map(Seen::of)
    }

    /// Names of a module's declarations, for suggestions.
    pub(super) fn member_names(&self, module: ModuleId) -> Vec<&'a str> {
        let globals = self.modules.get(module.0 as usize).map_or(&[][..], |m| &m.globals);
        globals.iter().map(|g| &*g.name).filter(|name| !is_private(name)).collect()
    }

    /// The nearest name that could have been meant by `name`.
    pub(super) fn suggest_name(&self, name: &str) -> Option<String> {
        let locals = self.body.locals.iter().rev().map(|l| l.name.as_str());
        // A declaration is not what its own value means.
        let globals = self.names.iter().filter(|(_, i)| !self.stack.contains(i)).map(|(n, _)| n.as_str());
        let globals = globals.chain(self.broken.iter().map(String::as_str));
        let library =
            self.library.externs.keys().map(|k| &**k).chain(self.library.module.globals.iter().map(|g| &*g.name));
        crate::diag::suggest(name, locals.chain(globals).chain(library)).map(str::to_owned)
    }

    /// An unknown name: one diagnostic at each place it is used.
    pub(super) fn unknown_name(&mut self, name: &str, span: Span) {
        let d = Diagnostic::error(Code::E0201, span, format!("unknown name `{name}`"), "not declared");
        let d = match self.suggest_name(name) {
            Some(near) => d.help(format!("did you mean `{near}`?")).fix(span, near),
            None if self.library.kinds.contains_key(name) => d
                .note(format!("`{name}` is a kind: it stands before a declared name"))
                .help("name a value or a function"),
            None if self.text.get(span.end as usize..).is_some_and(|rest| rest.starts_with('(')) => {
                d.help(format!("declare it: `fn {name}(…) = …`"))
            }
            None => d.help(format!("declare it: `let {name} = …`")),
        };
        self.report(d);
    }

    /// Whether the declaration is a function, for the wording of cycles.
    pub(super) fn is_function(&self, index: usize) -> bool {
        matches!(self.slots.get(index).map(|s| s.source), Some(Source::Decl(d)) if d.params.is_some())
    }
}

/// A global that stands for a declaration with a reported error.
pub(super) fn error_global(name: &str, word: &str, name_span: Span, span: Span) -> Global {
    Global {
        name: name.into(),
        word: word.into(),
        name_span,
        span,
        doc: "".into(),
        ty: Ty::Error,
        kind: GlobalKind::Error,
    }
}

/// Whether a name is of use in its own program alone.
pub(super) fn is_private(name: &str) -> bool {
    name.starts_with('_')
}
