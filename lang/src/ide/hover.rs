//! What a word of a program is: its type, and its documentation.

use std::ops::Range;
use std::sync::Arc;

use super::doc::{self, document};
use super::walk::path_to;
use crate::Checked;
use crate::hir::{Expr, ExprKind, Global, Module};
use crate::library::Library;
use crate::syntax::scan::{Kind, Tokens};
use crate::types::Ty;

/// What there is to say about a word.
#[derive(Clone, Debug, PartialEq)]
pub struct Hover {
    /// The word's bytes.
    pub range: Range<usize>,
    /// What it is, as the language writes it: `merge child: (Recipe) -> Model`.
    pub signature: String,
    /// Its documentation; may be empty.
    pub doc: Arc<str>,
}

/// What the word at a byte of the entry program is; nothing where there is nothing to say.
pub fn hover(checked: &Checked, library: &Library, offset: usize) -> Option<Hover> {
    crate::syntax::deep(|| {
        let module = checked.program.modules.get(checked.program.entry.0 as usize)?;
        let text = checked.sources.file(module.file)?.text.clone();
        let tokens = Tokens::of(&text);
        let at = tokens.all.iter().rposition(|t| t.start <= offset && offset <= t.end)?;
        let token = tokens.all.get(at)?;
        let range = token.start..token.end;
        let word = tokens.text(at);
        let found = match token.kind {
            Kind::Word => of_word(checked, library, module, &tokens, at, word),
            Kind::Number | Kind::Text { .. } => {
                path_to(module, token.start).last().map(|e| (e.ty.to_string(), Arc::from("")))
            }
            _ => None,
        };
        found.map(|(signature, doc)| Hover { range, signature, doc })
    })
}

type Said = (String, Arc<str>);

fn of_word(
    checked: &Checked,
    library: &Library,
    module: &Module,
    tokens: &Tokens<'_>,
    at: usize,
    word: &str,
) -> Option<Said> {
    let start = tokens.all.get(at)?.start;
    if let Some(global) = module.globals.iter().find(|g| g.name_span.start as usize == start) {
        return Some(of_global(global));
    }
    let path = path_to(module, start);
    if let Some(said) = path.last().and_then(|e| of_expr(checked, library, e, word)) {
        return Some(said);
    }
    if tokens.text(at + 1) == ":"
        && let Some(said) = path.iter().rev().find_map(|e| of_label(e, word))
    {
        return Some(said);
    }
    if let Some(global) = module.globals.iter().find(|g| *g.name == *word) {
        return Some(of_global(global));
    }
    let docs = document(library, None, word);
    let is_head = tokens.item_heads().contains(&at);
    let chosen = docs.iter().find(|d| (&*d.word == "kind") == is_head).or(docs.first());
    chosen.map(|d| (d.signature.clone(), d.text.clone()))
}

fn of_global(global: &Global) -> Said {
    (format!("{} {}: {}", global.word, global.name, global.ty), global.doc.clone())
}

/// What an expression says of a word in it that is not inside one of its parts.
fn of_expr(checked: &Checked, library: &Library, e: &Expr, word: &str) -> Option<Said> {
    let global = |module: crate::hir::ModuleId, index: usize| {
        checked.program.modules.get(module.0 as usize).and_then(|m| m.globals.get(index)).map(of_global)
    };
    let plain = || Some((format!("{word}: {}", e.ty), Arc::from("")));
    match &e.kind {
        ExprKind::Local(_) => plain(),
        ExprKind::Global(r) => global(r.module, r.index),
        ExprKind::Member { instance, global: index } => match instance.ty {
            Ty::Instance(module) => global(module, *index),
            _ => None,
        },
        ExprKind::CallFunction { function, .. } => {
            global(function.module, function.index).filter(|(s, _)| s.contains(word))
        }
        ExprKind::ExternRef(ext) | ExprKind::CallExtern { ext, .. } if &*ext.name == word => {
            let doc = doc::of_extern(ext, &checked.sources);
            Some((doc.signature, doc.text))
        }
        ExprKind::Field { base, name, .. } if &**name == word => {
            let fields = match &base.ty {
                Ty::Node(n) => library.node_fields(&n.name, &n.args),
                other => other.fields().unwrap_or(&[]).to_vec(),
            };
            let doc = fields.iter().find(|f| *f.name == *word).map_or(Arc::from(""), |f| f.doc.clone());
            Some((format!("{word}: {}", e.ty), doc))
        }
        ExprKind::Case(_) => Some((format!("{word}: {}", e.ty), Arc::from(""))),
        ExprKind::Convert(_, inner) => of_expr(checked, library, inner, word),
        ExprKind::Seed => Some(("seed: int".to_owned(), "The program's seed.".into())),
        _ => None,
    }
}

/// What a call or a record says of the name of one of its arguments or fields.
fn of_label(e: &Expr, word: &str) -> Option<Said> {
    match &e.kind {
        ExprKind::CallExtern { ext, .. } => {
            let p = ext.params.iter().find(|p| *p.name == *word)?;
            Some((format!("{word}: {}", p.ty), p.doc.clone()))
        }
        ExprKind::Record(_) => {
            let f = e.ty.fields()?.iter().find(|f| *f.name == *word)?;
            Some((format!("{word}: {}", f.ty), f.doc.clone()))
        }
        _ => None,
    }
}
