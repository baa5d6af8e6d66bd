//! From the families' texts to the library's data.

use std::sync::Arc;

use indexmap::IndexMap;

use super::{Drawn, Kind, Library, TypeDecl, TypeDef};
use crate::diag::{Code, Diagnostic};
use crate::hir::{Module, ModuleId};
use crate::resolve::{default_mentions, mentions, order};
use crate::span::{FileId, SourceMap};
use crate::syntax::ast::{self, Decl, Item, ItemKind, TyKind, TypeItem};
use crate::types::{Checker, Ty, doc_text, has_mark, name_type, tiny_marks};

/// An item with the family that declares it.
struct Entry<'a, T> {
    family: &'a str,
    item: &'a Item,
    it: &'a T,
}

/// Reads the families' declarations (see [`Library::parse`]).
pub(super) fn parse(families: &[(&str, &str)]) -> (Library, Vec<Diagnostic>) {
    crate::syntax::deep(|| {
        let mut loader = Loader::new();
        let trees: Vec<(&str, ast::Module)> =
            families.iter().map(|(family, text)| (*family, loader.read(family, text))).collect();
        loader.load(&trees);
        crate::diag::sort(&mut loader.diagnostics);
        (loader.library, loader.diagnostics)
    })
}

struct Loader {
    library: Library,
    diagnostics: Vec<Diagnostic>,
}

impl Loader {
    fn new() -> Self {
        let module = Module {
            name: "library".into(),
            file: FileId(0),
            path: "".into(),
            doc: "".into(),
            globals: Vec::new(),
            requests: Vec::new(),
        };
        let library = Library {
            sources: SourceMap::new(),
            externs: IndexMap::new(),
            kinds: IndexMap::new(),
            types: IndexMap::new(),
            module,
        };
        Self { library, diagnostics: Vec::new() }
    }

    fn read(&mut self, family: &str, text: &str) -> ast::Module {
        let file = self.library.sources.add(&format!("{family}/{family}.evo"), text);
        let (tree, diagnostics) = crate::syntax::parse(text, file);
        self.diagnostics.extend(diagnostics);
        tree
    }

    /// Runs `f` with a checker for one declaration of the library.
    fn with<R>(&mut self, f: impl FnOnce(&mut Checker<'_>) -> R) -> R {
        let mut checker = Checker::new(&self.library, &[], &self.library.sources, ModuleId(0), "");
        checker.read_library();
        let out = f(&mut checker);
        let (_, diagnostics) = checker.globals();
        self.diagnostics.extend(diagnostics);
        out
    }

    fn load(&mut self, trees: &[(&str, ast::Module)]) {
        let (mut types, mut kinds, mut externs) = (Vec::new(), Vec::new(), Vec::new());
        let mut own = ast::Module::default();
        for (family, tree) in trees {
            for item in &tree.items {
                match &item.kind {
                    ItemKind::Type(it) => types.push(Entry { family, item, it }),
                    ItemKind::Decl(it) if it.kind.text == "kind" => kinds.push(Entry { family, item, it: &**it }),
                    ItemKind::Decl(it) if it.is_extern => externs.push(Entry { family, item, it: &**it }),
                    ItemKind::Decl(_) => own.items.push(item.clone()),
                    _ => {
                        let d =
                            Diagnostic::error(Code::E0311, item.span, "the library only declares", "not a declaration");
                        self.diagnostics.push(d.help("requests and `use` belong to programs"));
                    }
                }
            }
        }
        self.types(&types);
        self.kinds(&kinds);
        self.externs(&externs);
        self.functions(&own);
    }

    fn types(&mut self, entries: &[Entry<'_, TypeItem>]) {
        let mut unique: IndexMap<&str, &Entry<'_, TypeItem>> = IndexMap::new();
        for entry in entries {
            if let Some(first) = unique.get(entry.it.name.text.as_str()) {
                self.twice(&entry.it.name, &first.it.name);
                continue;
            }
            unique.insert(&entry.it.name.text, entry);
            let names = marked(entry.it.ty.as_ref());
            self.check_marks(entry.item, &names);
        }
        // Node types first, without their fields: anything may mention them.
        for entry in unique.values().filter(|e| e.it.is_extern) {
            self.add_type(entry, TypeDef::Node(Vec::new()));
        }
        let aliases: Vec<&Entry<'_, TypeItem>> = unique.values().copied().filter(|e| !e.it.is_extern).collect();
        let place = |name: &str| aliases.iter().position(|e| e.it.name.text == name);
        let needs: Vec<Vec<usize>> =
            aliases.iter().map(|e| mentions(e.item).into_iter().filter_map(place).collect()).collect();
        for index in order(&needs) {
            if let Some(entry) = aliases.get(index)
                && let Some(written) = &entry.it.ty
            {
                let ty = self.lower(entry, written);
                self.add_type(entry, TypeDef::Alias(name_type(ty, &entry.it.name.text)));
            }
        }
        for entry in unique.values().filter(|e| e.it.is_extern) {
            let Some(written) = &entry.it.ty else { continue };
            if !matches!(written.kind, TyKind::Record(_)) {
                let d = Diagnostic::error(
                    Code::E0311,
                    written.span,
                    "a node type is declared by its readable fields",
                    "not fields",
                );
                self.diagnostics.push(d.help("write `extern type T = { field: type }`, or nothing after the name"));
                continue;
            }
            if let Ty::Record(record) = self.lower(entry, written) {
                self.add_type(entry, TypeDef::Node(record.fields.clone()));
            }
        }
    }

    fn lower(&mut self, entry: &Entry<'_, TypeItem>, written: &ast::Ty) -> Ty {
        self.with(|c| c.library_type(written, &entry.it.generics, &entry.item.docs))
    }

    fn add_type(&mut self, entry: &Entry<'_, TypeItem>, def: TypeDef) {
        let name: Arc<str> = entry.it.name.text.as_str().into();
        let decl = TypeDecl {
            name: name.clone(),
            generics: names(&entry.it.generics),
            def,
            family: entry.family.into(),
            drawn: drawn(&entry.item.docs),
            saved: has_mark(&entry.item.docs, "@saved"),
            doc: doc_text(&entry.item.docs),
            span: entry.it.name.span,
        };
        self.library.types.insert(name, decl);
    }

    fn kinds(&mut self, entries: &[Entry<'_, Decl>]) {
        for entry in entries {
            let d = entry.it;
            let name: Arc<str> = d.name.text.as_str().into();
            if self.library.kinds.contains_key(&name) {
                self.twice(&d.name, &d.name);
                continue;
            }
            let result = d.result.as_ref().map(|t| self.with(|c| c.library_type(t, &d.generics, &[])));
            let value = mark(&entry.item.docs, "@as").and_then(|name| self.node_type(name, &d.name));
            let kind = Kind {
                name: name.clone(),
                generics: names(&d.generics),
                result,
                value,
                rows: words(&entry.item.docs, "@rows").map(Arc::from).collect(),
                family: entry.family.into(),
                doc: doc_text(&entry.item.docs),
            };
            self.library.kinds.insert(name, kind);
        }
    }

    /// The node type that a mark names.
    fn node_type(&mut self, name: &str, at: &ast::Name) -> Option<Ty> {
        if matches!(self.library.types.get(name), Some(TypeDecl { def: TypeDef::Node(_), .. })) {
            return Some(Ty::node(name));
        }
        let d =
            Diagnostic::error(Code::E0311, at.span, format!("the mark `@as {name}` names no node type"), "wrong mark");
        self.diagnostics.push(d.help("write `@as T`, where `extern type T` is declared"));
        None
    }

    /// Externs, each after those that its defaults call.
    fn externs(&mut self, entries: &[Entry<'_, Decl>]) {
        let mut places: IndexMap<&str, Vec<usize>> = IndexMap::new();
        for (i, entry) in entries.iter().enumerate() {
            places.entry(&entry.it.name.text).or_default().push(i);
        }
        let needs: Vec<Vec<usize>> = entries
            .iter()
            .map(|e| default_mentions(e.it).into_iter().filter_map(|n| places.get(n)).flatten().copied().collect())
            .collect();
        let mut made: Vec<Option<Arc<super::Extern>>> = entries.iter().map(|_| None).collect();
        for index in order(&needs) {
            let Some(entry) = entries.get(index) else { continue };
            let overload =
                places.get(entry.it.name.text.as_str()).and_then(|p| p.iter().position(|i| *i == index)).unwrap_or(0);
            let params: Vec<&str> = entry.it.params.iter().flatten().map(|p| p.name.text.as_str()).collect();
            self.check_marks(entry.item, &params);
            let ext =
                self.with(|c| c.extern_of(entry.it, &entry.item.docs, entry.family, overload as u32)).map(Arc::new);
            if let Some(ext) = &ext {
                self.library.externs.entry(ext.name.clone()).or_default().push(ext.clone());
            }
            if let Some(slot) = made.get_mut(index) {
                *slot = ext;
            }
        }
        // In the order of declaration, whatever the order of defaults was.
        self.library.externs.clear();
        for ext in made.into_iter().flatten() {
            self.library.externs.entry(ext.name.clone()).or_default().push(ext);
        }
    }

    /// Functions and values written in the language itself.
    fn functions(&mut self, own: &ast::Module) {
        let library = self.library.clone();
        let mut checker = Checker::new(&library, &[], &library.sources, ModuleId(0), "");
        checker.read_library();
        let used = own.items.iter().map(|_| None).collect();
        checker.declare(own, &used);
        checker.check_all(own);
        let (globals, diagnostics) = checker.globals();
        self.diagnostics.extend(diagnostics);
        self.library.module.globals = globals;
    }

    fn twice(&mut self, name: &ast::Name, first: &ast::Name) {
        let d = Diagnostic::error(
            Code::E0202,
            name.span,
            format!("`{}` is declared twice", name.text),
            "second declaration",
        );
        self.diagnostics.push(d.label(first.span, "first declared here").help("give one of them another name"));
    }

    /// A `@tiny` mark names a parameter and a number.
    fn check_marks(&mut self, item: &Item, names: &[&str]) {
        for (name, cap) in tiny_marks(&item.docs) {
            if cap.is_none() || !names.contains(&name) {
                let d = Diagnostic::error(
                    Code::E0311,
                    item.span.head(),
                    format!("the mark `@tiny {name}` caps nothing"),
                    "wrong mark",
                );
                self.diagnostics.push(d.help("write `@tiny NAME NUMBER`, where NAME is a parameter or a field"));
            }
        }
    }
}

fn drawn(docs: &[String]) -> Drawn {
    match (has_mark(docs, "@drawn"), mark(docs, "@drawn")) {
        (true, Some("over")) => Drawn::Over,
        (true, _) => Drawn::Alone,
        (false, _) => Drawn::No,
    }
}

/// The words after a mark.
fn words<'a>(docs: &'a [String], mark: &str) -> impl Iterator<Item = &'a str> {
    docs.iter().filter_map(move |l| l.strip_prefix(mark)).flat_map(str::split_whitespace)
}

/// The word after a mark.
fn mark<'a>(docs: &'a [String], mark: &str) -> Option<&'a str> {
    docs.iter().find_map(|l| l.strip_prefix(mark)?.split_whitespace().next())
}

fn names(generics: &[ast::Name]) -> Vec<Arc<str>> {
    generics.iter().map(|g| g.text.as_str().into()).collect()
}

/// The names of a record type's fields.
fn marked(ty: Option<&ast::Ty>) -> Vec<&str> {
    match ty.map(|t| &t.kind) {
        Some(TyKind::Record(fields)) => fields.iter().map(|f| f.name.text.as_str()).collect(),
        _ => Vec::new(),
    }
}
