//! The documentation of a declaration as data: one source for `:doc`, hover, `evo doc` and the pages made of them.

use std::fmt::Write;
use std::sync::Arc;

use crate::hir::{Global, GlobalKind, Program};
use crate::library::{Extern, Kind, Library, TypeDecl};
use crate::span::{SourceMap, Span};
use crate::syntax::scan::{Kind as Token, Tokens};

/// What there is to say about a declaration.
#[derive(Clone, Debug, PartialEq)]
pub struct Doc {
    /// Its name.
    pub name: Arc<str>,
    /// The word it is declared with: `merge`, `fn`, `type`, `kind`, `param` …
    pub word: Arc<str>,
    /// The family of the library that declares it; empty for a program's own.
    pub family: Arc<str>,
    /// The declaration as it is written, without its documentation.
    pub signature: String,
    /// What it does.
    pub text: Arc<str>,
    /// Parameters or fields, in their order.
    pub params: Vec<DocParam>,
    /// What its marks mean, a sentence each.
    pub remarks: Vec<String>,
    /// Examples, without the prompt.
    pub examples: Vec<Arc<str>>,
}

/// A parameter or a field.
#[derive(Clone, Debug, PartialEq)]
pub struct DocParam {
    /// Its name.
    pub name: Arc<str>,
    /// Its type as it is spelled.
    pub ty: String,
    /// Whether it must be given.
    pub needed: bool,
    /// The range that constants lie in, ends included.
    pub range: Option<(f64, f64)>,
    /// What it is for; often empty.
    pub text: Arc<str>,
}

/// The documentation of every declaration of a name: the program's own if it has one, else the library's (overloads of a
/// function, and a kind or a type of the same name, in this order).
pub fn document(library: &Library, program: Option<&(Program, SourceMap)>, name: &str) -> Vec<Doc> {
    if let Some((program, sources)) = program
        && let Some(doc) = own(program, sources, name)
    {
        return vec![doc];
    }
    let mut docs: Vec<Doc> = library.overloads(name).iter().map(|e| of_extern(e, &library.sources)).collect();
    let module = &library.module;
    docs.extend(module.globals.iter().filter(|g| *g.name == *name).map(|g| {
        let family = library.sources.file(g.span.file).map_or("", |f| &f.name);
        Doc { family: family.into(), ..of_global(g, &library.sources) }
    }));
    docs.extend(library.kinds.get(name).map(of_kind));
    docs.extend(library.types.get(name).map(|t| of_type(t, library)));
    docs
}

/// A declaration of the entry program, or `program.name` of one that it uses.
fn own(program: &Program, sources: &SourceMap, name: &str) -> Option<Doc> {
    let mut module = program.modules.get(program.entry.0 as usize)?;
    let mut parts = name.split('.').peekable();
    while let Some(part) = parts.next() {
        let global = module.globals.iter().find(|g| *g.name == *part)?;
        match (&global.kind, parts.peek()) {
            (_, None) => return Some(of_global(global, sources)),
            (GlobalKind::Use(used), Some(_)) => module = program.modules.get(used.0 as usize)?,
            _ => return None,
        }
    }
    None
}

/// The documentation of a library function.
pub(crate) fn of_extern(ext: &Extern, sources: &SourceMap) -> Doc {
    let param = |p: &crate::library::ExternParam| DocParam {
        name: if p.rest { format!("..{}", p.name).into() } else { p.name.clone() },
        ty: p.ty.to_string(),
        needed: p.default.is_none() && !p.optional && !p.rest,
        range: p.domain,
        text: p.doc.clone(),
    };
    let mut remarks = Vec::new();
    for p in &ext.params {
        if let Some(cap) = p.tiny {
            remarks.push(format!("In a tiny run `{}` is at most {cap}.", p.name));
        }
        if p.input {
            remarks.push(format!("`{}` is relative to the file of the program that reads it.", p.name));
        }
    }
    if ext.elementwise {
        remarks.push("Over arrays it works element by element.".to_owned());
    }
    if ext.is_static {
        remarks.push("Known before anything runs, so that the lengths of arrays may use it.".to_owned());
    }
    Doc {
        name: ext.name.clone(),
        word: ext.word.clone(),
        family: ext.family.clone(),
        signature: written(sources, ext.span),
        text: ext.doc.clone(),
        params: ext.params.iter().map(param).collect(),
        remarks,
        examples: ext.examples.clone(),
    }
}

/// The documentation of a program's declaration.
pub(crate) fn of_global(global: &Global, sources: &SourceMap) -> Doc {
    if let GlobalKind::Extern(ext) = &global.kind {
        return Doc { text: global.doc.clone(), ..of_extern(ext, sources) };
    }
    let param = |name: &Arc<str>, ty: &crate::types::Ty, needed: bool| DocParam {
        name: name.clone(),
        ty: ty.to_string(),
        needed,
        range: None,
        text: "".into(),
    };
    let params = match &global.kind {
        GlobalKind::Function(f) => f.params.iter().map(|p| param(&p.name, &p.ty, p.default.is_none())).collect(),
        GlobalKind::Genome(g) => g.fields.iter().map(|f| param(&f.name, &f.ty, true)).collect(),
        _ => Vec::new(),
    };
    Doc {
        name: global.name.clone(),
        word: global.word.clone(),
        family: "".into(),
        signature: without_docs(sources.text(global.span)),
        text: global.doc.clone(),
        params,
        remarks: Vec::new(),
        examples: Vec::new(),
    }
}

fn of_kind(kind: &Kind) -> Doc {
    let generics = if kind.generics.is_empty() { String::new() } else { format!("<{}>", kind.generics.join(", ")) };
    let result = kind.result.as_ref().map_or(String::new(), |ty| format!(" -> {ty}"));
    Doc {
        name: kind.name.clone(),
        word: "kind".into(),
        family: kind.family.clone(),
        signature: format!("kind {}{generics}{result}", kind.name),
        text: kind.doc.clone(),
        params: Vec::new(),
        remarks: Vec::new(),
        examples: Vec::new(),
    }
}

fn of_type(decl: &TypeDecl, library: &Library) -> Doc {
    use crate::library::TypeDef;
    use crate::types::Ty;
    let fields = match &decl.def {
        TypeDef::Node(fields) => fields.as_slice(),
        TypeDef::Alias(Ty::Record(record)) => record.fields.as_slice(),
        TypeDef::Alias(_) => &[],
    };
    let param = |f: &crate::types::FieldTy| DocParam {
        name: f.name.clone(),
        ty: f.ty.to_string(),
        needed: f.default.is_none() && !f.optional,
        range: None,
        text: f.doc.clone(),
    };
    Doc {
        name: decl.name.clone(),
        word: "type".into(),
        family: decl.family.clone(),
        signature: written(&library.sources, decl.span),
        text: decl.doc.clone(),
        params: fields.iter().map(param).collect(),
        remarks: Vec::new(),
        examples: Vec::new(),
    }
}

/// The declaration that holds a place, as it is written.
fn written(sources: &SourceMap, place: Span) -> String {
    let Some(file) = sources.file(place.file) else { return String::new() };
    let tokens = Tokens::of(&file.text);
    let heads: Vec<usize> = tokens.item_heads();
    let starts = heads.iter().filter_map(|h| tokens.all.get(*h)).map(|t| t.start).collect::<Vec<_>>();
    let next = starts.partition_point(|s| *s <= place.start as usize);
    let Some(start) = next.checked_sub(1).and_then(|i| starts.get(i)).copied() else { return String::new() };
    // Comments that lead to the next item are not part of this one: it ends with its last token.
    let end = match starts.get(next) {
        Some(end) => tokens.all.iter().rev().find(|t| t.start < *end && t.kind != Token::Doc).map_or(*end, |t| t.end),
        None => tokens.all.last().map_or(file.text.len(), |t| t.end),
    };
    without_docs(file.text.get(start..end).unwrap_or(""))
}

/// A declaration without the lines of its documentation.
fn without_docs(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("///"));
    lines.collect::<Vec<_>>().join("\n").trim().to_owned()
}

impl Doc {
    /// As plain text: the signature, what it does, what is known of its parameters, remarks, examples. Lines are as long
    /// as their author made them; no newline at the end.
    pub fn plain(&self) -> String {
        let mut out = self.signature.clone();
        if !self.text.is_empty() {
            let _ = write!(out, "\n\n{}", self.text);
        }
        let told: Vec<&DocParam> = self.params.iter().filter(|p| !p.text.is_empty()).collect();
        let width = told.iter().map(|p| p.name.chars().count()).max().unwrap_or(0);
        if !told.is_empty() {
            out.push('\n');
        }
        for p in told {
            let text = p.text.replace('\n', &format!("\n  {:width$}  ", ""));
            let _ = write!(out, "\n  {:width$}  {text}", p.name);
        }
        if !self.remarks.is_empty() {
            let _ = write!(out, "\n\n{}", self.remarks.join("\n"));
        }
        if !self.examples.is_empty() {
            out.push('\n');
            self.examples.iter().for_each(|e| out.extend(["\n  ", e]));
        }
        out
    }
}
