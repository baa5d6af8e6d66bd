//! Completion: what could stand at the cursor, by the checker's own account.

use std::ops::Range;
use std::sync::Arc;

use super::Source;
use super::place::{Context, place};
use super::repair::{STAND_IN, repair};
use super::walk::path_to;
use crate::hir::{ExprKind, Global, GlobalKind, Module, ModuleId};
use crate::library::Library;
use crate::resolve::{Checked, check_at};
use crate::syntax::scan::Tokens;
use crate::types::{Asked, Ty};

/// What is proposed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// What is shown.
    pub label: String,
    /// What it is.
    pub kind: CompletionKind,
    /// Its type, or a few words on it; may be empty.
    pub detail: String,
    /// The bytes that it replaces: what is typed of it so far.
    pub range: Range<usize>,
    /// What takes their place.
    pub insert: String,
}

/// The sorts of completion, the more likely first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CompletionKind {
    /// The case of an enumeration.
    Case,
    /// A field, or a declaration of a used program.
    Field,
    /// The name of an argument or a field.
    Argument,
    /// A parameter or a step in scope.
    Local,
    /// A declaration of the program.
    Declared,
    /// A function or value of the library.
    Library,
    /// A type.
    Type,
    /// The word at the head of a declaration.
    Kind,
    /// A word of the language.
    Keyword,
    /// A file or a folder.
    Path,
}

const CORE: [(&str, &str); 12] = [
    ("param", "a value that may be set from outside"),
    ("let", "a value"),
    ("fn", "a function"),
    ("genome", "a search space"),
    ("type", "a name for a type"),
    ("use", "another program"),
    ("extern", "a function of the host"),
    ("print", "shows a value"),
    ("plot", "draws a value"),
    ("save", "writes a value to a file"),
    ("expect", "makes the program a test"),
    ("kind", "a word for declarations (of the library)"),
];
const TYPES: [&str; 11] =
    ["int", "real", "bool", "text", "duration", "bytes", "money", "range", "one_of", "permutation", "Program"];

/// What could stand at a byte of a program's text, the likeliest first; empty where nothing can be told. Only what
/// begins with what is typed already is among it.
pub fn complete(source: &Source<'_>, offset: usize) -> Vec<Completion> {
    if !source.text.is_char_boundary(offset) {
        return Vec::new();
    }
    let tokens = Tokens::of(source.text);
    let place = place(&tokens, offset);
    let typed = place.word.start..offset;
    let mut found = Found { typed: source.text.get(typed.clone()).unwrap_or(""), range: typed, all: Vec::new() };
    match place.context {
        Context::Nothing => {}
        Context::Head => {
            for kind in source.library.kinds().filter(|k| k.name.as_ref() != "fn") {
                found.add(&kind.name, CompletionKind::Kind, first_line(&kind.doc));
            }
            for (word, what) in CORE {
                found.add(word, CompletionKind::Keyword, what);
            }
        }
        Context::Clause(words) => words.iter().for_each(|w| found.add(w, CompletionKind::Keyword, "")),
        Context::Used(content) => return programs(source, content, offset),
        Context::Text(content) => return inputs(source, place.word, content),
        Context::Ask => ask(source, place.word, &mut found),
    }
    found.sorted()
}

/// What is found so far.
struct Found<'t> {
    typed: &'t str,
    range: Range<usize>,
    /// With how well each fits, the best first.
    all: Vec<(u8, Completion)>,
}

impl Found<'_> {
    fn add(&mut self, label: &str, kind: CompletionKind, detail: impl Into<String>) {
        self.put(2, label, kind, detail, label.to_owned());
    }

    fn put(&mut self, rank: u8, label: &str, kind: CompletionKind, detail: impl Into<String>, insert: String) {
        let typed = self.typed.to_lowercase();
        let fits = label.to_lowercase().starts_with(&typed) && !label.starts_with(STAND_IN);
        if fits && !self.all.iter().any(|(_, c)| c.label == label && c.insert == insert) {
            let range = self.range.clone();
            self.all.push((rank, Completion { label: label.to_owned(), kind, detail: detail.into(), range, insert }));
        }
    }

    fn sorted(mut self) -> Vec<Completion> {
        let typed = self.typed;
        self.all.sort_by(|(rank, a), (other, b)| {
            let exact = |c: &Completion| !c.label.starts_with(typed);
            (exact(a), rank, a.kind, &a.label).cmp(&(exact(b), other, b.kind, &b.label))
        });
        self.all.into_iter().map(|(_, c)| c).collect()
    }
}

/// Asks the checker.
fn ask(source: &Source<'_>, word: Range<usize>, found: &mut Found<'_>) {
    let Some(repaired) = repair(source.text, word.clone(), STAND_IN) else { return };
    let cursor = u32::try_from(word.start).ok();
    let (checked, asked) = check_at(source.path, &repaired, source.library, &source.loader, cursor);
    let scope = Scope { library: source.library, checked: &checked };
    for asked in asked {
        match asked {
            Asked::Value { want, locals } => scope.values(want.as_ref(), &locals, found),
            Asked::Member(base) => scope.members(&base, found),
            Asked::Named(places) => {
                for p in places {
                    let rank = if p.needed { 0 } else { 1 };
                    let detail = p.ty.to_string();
                    found.put(rank, &p.name, CompletionKind::Argument, detail, format!("{}: ", p.name));
                }
            }
            Asked::Type => scope.types(found),
            Asked::TypeOf(module) => scope.types_of(module, found),
        }
    }
}

struct Scope<'a> {
    library: &'a Library,
    checked: &'a Checked,
}

impl Scope<'_> {
    fn entry(&self) -> Option<&Module> {
        self.module(self.checked.program.entry)
    }

    fn module(&self, id: ModuleId) -> Option<&Module> {
        self.checked.program.modules.get(id.0 as usize)
    }

    /// Whatever is a value here; what has the wanted type stands first.
    fn values(&self, want: Option<&Ty>, locals: &[(Arc<str>, Ty)], found: &mut Found<'_>) {
        let wanted = want.map(Ty::to_string);
        let rank = |ty: &Ty| match &wanted {
            Some(want) if ty.to_string() == *want => 0,
            Some(want) if matches!(ty, Ty::Fn(f) if f.result.to_string() == *want) => 1,
            _ => 2,
        };
        want.into_iter().for_each(|want| cases(want, found));
        for (name, ty) in locals.iter().rev() {
            found.put(rank(ty), name, CompletionKind::Local, ty.to_string(), name.to_string());
        }
        for global in self.entry().map_or(&[][..], |m| &m.globals).iter().filter(|g| is_value(g)) {
            found.put(rank(&global.ty), &global.name, CompletionKind::Declared, about(global), global.name.to_string());
        }
        for ext in self.library.externs() {
            let ty = ext.fn_ty();
            found.put(rank(&ty), &ext.name, CompletionKind::Library, ty.to_string(), ext.name.to_string());
        }
        for global in self.library.module().globals.iter().filter(|g| is_value(g)) {
            found.put(rank(&global.ty), &global.name, CompletionKind::Library, about(global), global.name.to_string());
        }
        found.put(rank(&Ty::Int), "seed", CompletionKind::Library, "int", "seed".to_owned());
        for word in ["if", "not", "true", "false"] {
            let rank = if matches!(want, Some(Ty::Bool)) && word != "if" { 0 } else { 3 };
            found.put(rank, word, CompletionKind::Keyword, "", word.to_owned());
        }
    }

    /// Fields of a value, declarations of a program, and the functions that take the value first.
    fn members(&self, base: &Ty, found: &mut Found<'_>) {
        let fields = match base {
            Ty::Node(n) => self.library.node_fields(&n.name, &n.args),
            Ty::Instance(module) => {
                let hidden = |g: &&Global| !g.name.starts_with('_') && !matches!(g.kind, GlobalKind::Error);
                for global in self.module(*module).map_or(&[][..], |m| &m.globals).iter().filter(hidden) {
                    found.put(0, &global.name, CompletionKind::Field, about(global), global.name.to_string());
                }
                return;
            }
            other => other.fields().unwrap_or(&[]).to_vec(),
        };
        for field in &fields {
            found.put(0, &field.name, CompletionKind::Field, field.ty.to_string(), field.name.to_string());
        }
        let takes = |first: Option<&Ty>| first.is_some_and(|ty| same(ty, base));
        for global in self.entry().map_or(&[][..], |m| &m.globals) {
            if let Ty::Fn(f) = &global.ty
                && takes(f.params.first().map(|(_, ty)| ty))
            {
                found.put(1, &global.name, CompletionKind::Declared, about(global), global.name.to_string());
            }
        }
        for ext in self.library.externs().filter(|e| takes(e.params.first().map(|p| &p.ty))) {
            found.put(1, &ext.name, CompletionKind::Library, ext.fn_ty().to_string(), ext.name.to_string());
        }
    }

    fn types(&self, found: &mut Found<'_>) {
        self.types_of(self.checked.program.entry, found);
        for word in TYPES {
            found.put(1, word, CompletionKind::Type, "", word.to_owned());
        }
        for decl in self.library.types() {
            found.put(2, &decl.name, CompletionKind::Type, first_line(&decl.doc), decl.name.to_string());
        }
    }

    fn types_of(&self, module: ModuleId, found: &mut Found<'_>) {
        let is_type = |g: &&Global| matches!(g.kind, GlobalKind::Genome(_) | GlobalKind::Type | GlobalKind::Use(_));
        for global in self.module(module).map_or(&[][..], |m| &m.globals).iter().filter(is_type) {
            found.put(0, &global.name, CompletionKind::Type, &*global.word, global.name.to_string());
        }
    }
}

/// The words that an enumeration, or a union with one, takes.
fn cases(want: &Ty, found: &mut Found<'_>) {
    match want {
        Ty::Enum(e) => e.cases.iter().for_each(|case| {
            found.put(0, case, CompletionKind::Case, want.to_string(), case.to_string());
        }),
        Ty::Union(members) => members.iter().for_each(|m| cases(m, found)),
        _ => {}
    }
}

fn is_value(global: &Global) -> bool {
    use GlobalKind::*;
    matches!(global.kind, Param { .. } | Value(_) | Function(_) | Use(_) | Extern(_))
}

fn about(global: &Global) -> String {
    match global.kind {
        GlobalKind::Genome(_) | GlobalKind::Type | GlobalKind::Use(_) => global.word.to_string(),
        _ => global.ty.to_string(),
    }
}

/// Whether a function whose first parameter is `param` is worth proposing behind a value of type `ty`.
fn same(param: &Ty, ty: &Ty) -> bool {
    match (param, ty) {
        (Ty::Node(a), Ty::Node(b)) => a.name == b.name,
        (Ty::List(_) | Ty::Array(..), Ty::List(_) | Ty::Array(..)) => true,
        (Ty::Error | Ty::Var(_), _) | (_, Ty::Error) => false,
        _ => param.to_string() == ty.to_string(),
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or("")
}

/// The programs that a `use` may name: files and folders, in quotes unless the cursor is in a text.
fn programs(source: &Source<'_>, content: Option<Range<usize>>, offset: usize) -> Vec<Completion> {
    let fits = |entry: &str| entry.ends_with('/') || entry.ends_with(".evo") && entry != ".evo";
    match content {
        Some(content) => paths(source, content, &fits),
        None => {
            let typed = source.text.get(..offset).unwrap_or("").rsplit([' ', '\t', '\n']).next().unwrap_or("");
            let start = offset - typed.len();
            let (folder, part) = typed.rsplit_once('.').unwrap_or(("", typed));
            let folder = if folder.is_empty() { String::new() } else { folder.replace('.', "/") + "/" };
            let entries = (source.folder)(&folder).into_iter().filter(|e| fits(e) && e.starts_with(part));
            let quoted = |entry: String| {
                let insert = match entry.strip_suffix('/') {
                    Some(_) => format!("\"{folder}{entry}"),
                    None => format!("\"{folder}{entry}\" as {}", stem(&entry)),
                };
                Completion {
                    label: entry,
                    kind: CompletionKind::Path,
                    detail: String::new(),
                    range: start..offset,
                    insert,
                }
            };
            entries.map(quoted).collect()
        }
    }
}

fn stem(file: &str) -> String {
    file.trim_end_matches(".evo").replace(|c: char| !c.is_ascii_alphanumeric(), "_")
}

/// Files and folders, if the text at the cursor is the path of an input.
fn inputs(source: &Source<'_>, text: Range<usize>, content: Range<usize>) -> Vec<Completion> {
    let written = source.text.get(content.clone()).unwrap_or("").replace(['"', '\\'], "");
    let Some(repaired) = repair(source.text, text.clone(), &format!("\"{written}\"")) else { return Vec::new() };
    let (checked, _) = check_at(source.path, &repaired, source.library, &source.loader, None);
    let Some(module) = checked.program.modules.get(checked.program.entry.0 as usize) else { return Vec::new() };
    let is_input = path_to(module, text.start).iter().any(|e| match &e.kind {
        ExprKind::CallExtern { ext, args, .. } => ext.params.iter().zip(args).any(|(p, arg)| {
            let is_here = |e: &crate::hir::Expr| e.span.start as usize == text.start;
            p.input && arg.as_ref().is_some_and(is_here)
        }),
        _ => false,
    });
    if is_input { paths(source, content, &|_| true) } else { Vec::new() }
}

/// The entries of the folder that a path names so far.
fn paths(source: &Source<'_>, content: Range<usize>, fits: &dyn Fn(&str) -> bool) -> Vec<Completion> {
    let written = source.text.get(content.clone()).unwrap_or("");
    let at = written.rfind('/').map_or(0, |slash| slash + 1);
    let (folder, part) = written.split_at(at);
    let entries = (source.folder)(folder);
    let shown =
        entries.into_iter().filter(|e| fits(e) && e.starts_with(part) && (!e.starts_with('.') || !part.is_empty()));
    let range = content.start + at..content.end;
    let completion = |entry: String| Completion {
        label: entry.clone(),
        kind: CompletionKind::Path,
        detail: String::new(),
        range: range.clone(),
        insert: entry,
    };
    let mut all: Vec<Completion> = shown.map(completion).collect();
    all.sort_by(|a, b| a.label.cmp(&b.label));
    all
}
