//! From a program's text to its typed tree: reads the files it uses, and checks each module after those it uses.

mod order;

pub(crate) use order::{Block, Mentions, default_mentions, mentions, order};

use indexmap::IndexMap;

use crate::diag::{Code, Diagnostic};
use crate::hir::{Module, ModuleId, Program};
use crate::library::Library;
use crate::span::{SourceMap, Span};
use crate::syntax::ast::{self, ItemKind};
use crate::types::{Asked, Checker, Uses, doc_text};

/// How deep programs may use programs.
const USE_LIMIT: usize = 64;

/// A checked program with all that was found.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The typed tree. Where there are errors, it holds all that is right.
    pub program: Program,
    /// The texts of the program and of the library, for rendering.
    pub sources: SourceMap,
    /// Errors and warnings, in the order of their places.
    pub diagnostics: Vec<Diagnostic>,
}

impl Checked {
    /// Whether the program cannot run.
    pub fn has_errors(&self) -> bool {
        crate::diag::has_errors(&self.diagnostics)
    }
}

/// Where used programs lie and what they hold.
pub trait Loader {
    /// The path of what the program at `from` uses as `path`: a file, or, with `/` at its end, a folder, whose programs are
    /// used together. A program used as a `named` one, `use a.b`, has the path `a/b.evo`.
    ///
    /// # Errors
    /// If there is none.
    fn find(&self, from: &str, path: &str, named: bool) -> Result<String, Missing>;

    /// The text at a path that [`Loader::find`] gave. That of a folder is [`folder_text`].
    ///
    /// # Errors
    /// If it cannot be read.
    fn read(&self, path: &str) -> Result<String, Missing>;
}

/// Why a used program cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// In a few words.
    pub why: String,
    /// What to do about it.
    pub help: String,
}

/// Files beside each other, by a function that reads them.
impl Loader for &dyn Fn(&str) -> Result<String, String> {
    fn find(&self, from: &str, path: &str, _: bool) -> Result<String, Missing> {
        Ok(join(from, path))
    }

    fn read(&self, path: &str) -> Result<String, Missing> {
        self(path).map_err(|why| Missing { why, help: "paths are relative to the file that uses them".to_owned() })
    }
}

/// The text of a folder as a program: it uses each of the folder's programs, given by their file names without `.evo`
/// and, for folders, with `/`, under its own name.
pub fn folder_text<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    let line = |name: &str| match name.strip_suffix('/') {
        Some(folder) => format!("use \"{name}\" as {folder}\n"),
        None => format!("use \"{name}.evo\" as {name}\n"),
    };
    names.into_iter().map(line).collect()
}

/// Whether a program of a folder may be named by this word.
pub fn is_public_name(word: &str) -> bool {
    let mut chars = word.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic())
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !crate::syntax::is_reserved(word)
}

/// Checks a program: the text of the file at `path` and of all files that it uses, which `loader` reads. `loader` gets
/// the path as written after `use`, joined to the folder of the using file; its error is a few words on why there is no
/// text.
pub fn check(path: &str, text: &str, library: &Library, loader: &dyn Fn(&str) -> Result<String, String>) -> Checked {
    check_with(path, text, library, &loader)
}

/// Checks a program as [`check`] does, with folders and search paths.
pub fn check_with(path: &str, text: &str, library: &Library, loader: &dyn Loader) -> Checked {
    check_at(path, text, library, loader, None).0
}

/// Checks a program, and tells what could stand at the word that begins at the byte `cursor` of its text.
pub(crate) fn check_at(
    path: &str,
    text: &str,
    library: &Library,
    loader: &dyn Loader,
    cursor: Option<u32>,
) -> (Checked, Vec<Asked>) {
    crate::syntax::deep(|| {
        let mut reader = Reader {
            library,
            loader,
            sources: library.sources.clone(),
            modules: vec![library.module.clone()],
            known: IndexMap::new(),
            reading: Vec::new(),
            cursor,
            asked: Vec::new(),
            diagnostics: Vec::new(),
        };
        let entry = reader.module(path, text);
        crate::diag::accept(&mut reader.diagnostics, &reader.sources);
        crate::diag::sort(&mut reader.diagnostics);
        let program = Program { modules: reader.modules, entry };
        let checked = Checked { program, sources: reader.sources, diagnostics: reader.diagnostics };
        (checked, reader.asked)
    })
}

/// Reads modules, each once.
struct Reader<'l> {
    library: &'l Library,
    loader: &'l dyn Loader,
    sources: SourceMap,
    modules: Vec<Module>,
    known: IndexMap<String, ModuleId>,
    /// Paths whose `use`s are being read, the entry first, each with the `use` at hand.
    reading: Vec<(String, Span)>,
    /// Where the entry is asked about, and what the checker answers.
    cursor: Option<u32>,
    asked: Vec<Asked>,
    diagnostics: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn module(&mut self, path: &str, text: &str) -> ModuleId {
        let file = self.sources.add(path, text);
        let (tree, mut diagnostics) = crate::syntax::parse(text, file);
        self.diagnostics.append(&mut diagnostics);
        self.reading.push((normal(path), Span::new(file, 0, 0)));
        let used: Uses = tree
            .items
            .iter()
            .map(|item| if let ItemKind::Use(u) = &item.kind { self.used(path, u) } else { None })
            .collect();
        self.reading.pop();
        let id = ModuleId(self.modules.len() as u32);
        let mut checker = Checker::new(self.library, &self.modules, &self.sources, id, text);
        checker.ask_at(self.cursor.filter(|_| self.reading.is_empty()));
        checker.declare(&tree, &used);
        checker.check_all(&tree);
        let requests = tree.items.iter().filter_map(|item| checker.request(item)).collect();
        self.asked.extend(checker.take_asked());
        let (globals, mut diagnostics) = checker.globals();
        // The names in a folder are its files'.
        diagnostics.retain(|d| d.is_error() || !path.ends_with('/'));
        self.diagnostics.append(&mut diagnostics);
        let stem = path.trim_end_matches('/');
        let name = stem.rsplit(['/', '\\']).next().unwrap_or(stem).trim_end_matches(".evo");
        let module =
            Module { name: name.into(), file, path: path.into(), doc: doc_text(&tree.docs), globals, requests };
        // Where there are errors, what they hide may be what uses the rest.
        let is_right = self.diagnostics.iter().all(|d| !d.is_error() || d.primary.span.file != file);
        if self.reading.is_empty() && is_right {
            self.diagnostics.extend(crate::lint::lint(&tree, &module));
        }
        self.modules.push(module);
        self.known.insert(normal(path), id);
        id
    }

    /// The module of a `use`, read now if it has not been.
    fn used(&mut self, from: &str, used: &ast::Use) -> Option<ModuleId> {
        let path = match self.loader.find(from, &used.path, used.named) {
            Ok(path) => path,
            Err(missing) => return self.missing(&join(from, &used.path), used.span, missing),
        };
        let known = normal(&path);
        if let Some(id) = self.known.get(&known) {
            return Some(*id);
        }
        if let Some((_, at)) = self.reading.last_mut() {
            *at = used.span;
        }
        if let Some(at) = self.reading.iter().position(|(r, _)| *r == known) {
            self.circle(at, &known);
            return None;
        }
        if self.reading.len() >= USE_LIMIT {
            let title = format!("programs use programs more than {USE_LIMIT} deep");
            let d = Diagnostic::error(Code::E0210, used.span, title, "too deep");
            self.diagnostics.push(d.help("use fewer files in between"));
            return None;
        }
        match self.loader.read(&path) {
            Ok(text) => Some(self.module(&path, &text)),
            Err(missing) => self.missing(&path, used.span, missing),
        }
    }

    fn missing(&mut self, path: &str, span: Span, missing: Missing) -> Option<ModuleId> {
        let d = Diagnostic::error(Code::E0209, span, format!("cannot read `{path}`"), missing.why);
        self.diagnostics.push(d.help(missing.help));
        None
    }

    /// Reports a circle at its first `use`: that of the program that was read first.
    fn circle(&mut self, at: usize, path: &str) {
        let circle = self.reading.get(at..).unwrap_or(&[]);
        // A folder's `use`s are written nowhere.
        let is_written = |span: Span| self.sources.file(span.file).is_some_and(|f| !f.name.ends_with('/'));
        let Some((_, span)) = circle.iter().find(|(_, span)| is_written(*span)) else { return };
        let names: Vec<&str> = circle.iter().map(|(name, _)| name.as_str()).chain([path]).collect();
        let d = Diagnostic::error(Code::E0210, *span, format!("`{path}` uses itself"), "begins a circle");
        let d = d.note(format!("the circle is {}", names.join(" → ")));
        self.diagnostics.push(d.help("put what both need into a third file"));
    }
}

/// A path as written in a file, seen from where that file is.
pub fn join(from: &str, path: &str) -> String {
    match from.rsplit_once(['/', '\\']) {
        Some((folder, _)) if !path.starts_with('/') => normal(&format!("{folder}/{path}")),
        _ => normal(path),
    }
}

/// The path without `.` and, where that is possible, without `..`.
fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split(['/', '\\']) {
        match part {
            "." => {}
            "" if !parts.is_empty() => {}
            ".." if parts.last().is_some_and(|p| !matches!(*p, ".." | "")) => drop(parts.pop()),
            other => parts.push(other),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_joined_to_the_using_file() {
        assert_eq!(join("programs/a.evo", "lib/b.evo"), "programs/lib/b.evo");
        assert_eq!(join("a.evo", "./b.evo"), "b.evo");
        assert_eq!(join("x/y/a.evo", "../b.evo"), "x/b.evo");
        assert_eq!(join("../a.evo", "../b.evo"), "../../b.evo");
        assert_eq!(join("/x/a.evo", "b.evo"), "/x/b.evo");
        assert_eq!(join("x/a.evo", "/b.evo"), "/b.evo");
    }
}
