//! Names of a module: one slot for each declaration, duplicates, names that hide the library's.

use indexmap::IndexMap;

use super::cx::{Body, Checker, Slot, Source, State};
use crate::diag::{Code, Diagnostic};
use crate::hir::{Module, ModuleId};
use crate::library::Library;
use crate::resolve::{mentions, order};
use crate::span::{SourceMap, Span};
use crate::syntax::ast::{self, ItemKind};

/// For each item of a module, the module that it uses, if it is a `use` that could be read.
pub(crate) type Uses = Vec<Option<ModuleId>>;

impl<'a> Checker<'a> {
    /// A checker for module `id`, whose text is `text`.
    pub(crate) fn new(
        library: &'a Library,
        modules: &'a [Module],
        sources: &'a SourceMap,
        id: ModuleId,
        text: &'a str,
    ) -> Self {
        Self {
            library,
            modules,
            sources,
            id,
            in_library: false,
            text,
            names: IndexMap::new(),
            slots: Vec::new(),
            broken: Vec::new(),
            generics: Vec::new(),
            body: Body::default(),
            stack: Vec::new(),
            why: Vec::new(),
            cursor: None,
            asked: Vec::new(),
            diagnostics: Vec::new(),
        }
    }

    /// Makes it a checker of the library's own declarations.
    pub(crate) fn read_library(&mut self) {
        self.in_library = true;
    }

    /// Lets it record what could stand at a byte of the module.
    pub(crate) fn ask_at(&mut self, cursor: Option<u32>) {
        self.cursor = cursor;
    }

    /// Gives the names of a module their slots.
    pub(crate) fn declare(&mut self, tree: &'a ast::Module, used: &Uses) {
        self.broken = tree.broken.iter().map(|n| n.text.clone()).collect();
        for (item, module) in tree.items.iter().zip(used) {
            let (name, source) = match &item.kind {
                ItemKind::Decl(d) => (&d.name, Source::Decl(d)),
                ItemKind::Type(t) => (&t.name, Source::Type(t)),
                ItemKind::Use(u) => match &u.alias {
                    Some(name) => (name, Source::Use(*module)),
                    None => {
                        self.unnamed_use(u);
                        continue;
                    }
                },
                _ => continue,
            };
            self.add(item, name, source);
        }
    }

    fn unnamed_use(&mut self, u: &ast::Use) {
        let stem = u.path.rsplit(['/', '\\']).next().unwrap_or("").trim_end_matches(".evo");
        let stem = stem.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        let d =
            Diagnostic::error(Code::E0311, u.span, format!("`{}` is used without a name", u.path), "no name after it");
        self.report(d.help(format!("write `use \"{}\" as {stem}`", u.path)));
    }

    fn add(&mut self, item: &'a ast::Item, name: &'a ast::Name, source: Source<'a>) {
        if let Some(first) = self.names.get(&name.text).and_then(|i| self.slots.get(*i)) {
            let d = Diagnostic::error(
                Code::E0202,
                name.span,
                format!("`{}` is declared twice", name.text),
                "second declaration",
            );
            let d = d.label(first.name.span, "first declared here");
            self.report(d.help("give one of them another name"));
            return;
        }
        self.hides_library(name, &source);
        self.names.insert(name.text.clone(), self.slots.len());
        self.slots.push(Slot { docs: &item.docs, span: item.span, name, source, state: State::Waiting });
    }

    /// A name that hides one of the library is worth a warning, unless both are of one kind.
    fn hides_library(&mut self, name: &ast::Name, source: &Source<'_>) {
        if self.in_library {
            return;
        }
        let word = match source {
            Source::Decl(d) => d.kind.text.as_str(),
            Source::Type(_) => "type",
            Source::Use(_) => "use",
        };
        let hidden = self.library.overloads(&name.text).first().map(|e| e.word.to_string());
        let function = |i: usize| self.library.module.globals.get(i).map(|g| g.word.to_string());
        let hidden = hidden.or_else(|| self.library.function(&name.text).and_then(function));
        if let Some(hidden) = hidden.filter(|h| h != word) {
            let title = format!("`{}` hides the library's {hidden} of that name", name.text);
            let d = Diagnostic::warning(Code::E0212, name.span, title, "hides a library name");
            self.report(d.help(format!("give this `{word}` another name to use both")));
        }
    }

    /// Checks all declarations, each after those it needs.
    pub(crate) fn check_all(&mut self, tree: &'a ast::Module) {
        let item_of: IndexMap<Span, &ast::Item> = tree.items.iter().map(|i| (i.span, i)).collect();
        let needs_of = |slot: &Slot<'_>| match item_of.get(&slot.span) {
            Some(item) => mentions(item).into_iter().filter_map(|n| self.names.get(n).copied()).collect(),
            None => Vec::new(),
        };
        let needs: Vec<Vec<usize>> = self.slots.iter().map(needs_of).collect();
        for index in order(&needs) {
            self.demand(index);
        }
    }
}
