//! Declarations, parameters and steps that nothing uses.

use std::collections::BTreeSet;

use indexmap::IndexMap;

use super::{at_name, is_exempt};
use crate::diag::{Code, Diagnostic};
use crate::resolve::{Block, Mentions, mentions};
use crate::syntax::ast::{Body, Decl, Expr, ItemKind, Module, Name};

/// What an item declares, with its kind.
fn declared(kind: &ItemKind) -> Option<(&Name, &str)> {
    match kind {
        ItemKind::Decl(d) => Some((&d.name, &d.kind.text)),
        ItemKind::Type(t) => Some((&t.name, "type")),
        ItemKind::Use(u) => u.alias.as_ref().map(|name| (name, "use")),
        _ => None,
    }
}

/// The declarations that no request needs, but for those that only another of them uses; by name.
pub(super) fn declarations(tree: &Module) -> Vec<(String, Diagnostic)> {
    let items = tree.items.iter();
    let needs: IndexMap<&str, Vec<&str>> =
        items.clone().filter_map(|i| Some((declared(&i.kind)?.0.text.as_str(), mentions(i)))).collect();
    let mut alive: BTreeSet<&str> = BTreeSet::new();
    let requests = items.clone().filter(|i| declared(&i.kind).is_none()).flat_map(mentions);
    let kept = needs.keys().copied().filter(|name| is_exempt(name) || *name == "seed");
    let mut stack: Vec<&str> = requests.chain(kept).collect();
    while let Some(name) = stack.pop() {
        if alive.insert(name) {
            stack.extend(needs.get(name).into_iter().flatten());
        }
    }
    let used_by_dead: BTreeSet<&str> =
        needs.iter().filter(|(name, _)| !alive.contains(*name)).flat_map(|(_, n)| n.iter().copied()).collect();
    let dead = items.filter_map(|i| declared(&i.kind));
    let dead = dead.filter(|(name, _)| !alive.contains(&*name.text) && !used_by_dead.contains(&*name.text));
    dead.map(|(name, kind)| (name.text.clone(), unused(name, kind))).collect()
}

fn unused(name: &Name, kind: &str) -> Diagnostic {
    let what = if kind == "use" { "program".to_owned() } else { format!("`{kind}`") };
    at_name(Code::E0220, name, format!("the {what} `{}` is never used", name.text), "no request needs it")
        .help(format!("remove it, or keep it as `_{}`", name.text))
        .fix(name.span.head(), "_")
}

/// Parameters of functions and steps of bodies that nothing reads.
pub(super) fn steps(tree: &Module) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let decls = || tree.items.iter().filter_map(|i| if let ItemKind::Decl(d) = &i.kind { Some(&**d) } else { None });
    for item in &tree.items {
        for block in Mentions::of(item).blocks {
            self::block(block, &mut found);
        }
    }
    let named: BTreeSet<&str> = tree.items.iter().flat_map(|i| Mentions::of(i).named).collect();
    decls().filter(|d| !d.is_extern).for_each(|d| parameters(d, &named, &mut found));
    found
}

/// `{ let x = …  let y = …  result }`, from its end.
fn block((lets, result): Block<'_>, found: &mut Vec<Diagnostic>) {
    let mut read: BTreeSet<&str> = Mentions::of_expr(result).found.into_iter().collect();
    for step in lets.iter().rev() {
        let name = &step.name;
        if !read.remove(&*name.text) && !is_exempt(&name.text) {
            let title = format!("the step `{}` is never read", name.text);
            let d = at_name(Code::E0221, name, title, "nothing after it reads it");
            let d = d.help(format!("remove it, or keep it as `_{}`", name.text));
            found.push(d.fix(name.span.head(), "_"));
        }
        read.extend(Mentions::of_expr(&step.value).found);
    }
}

fn parameters(d: &Decl, named: &BTreeSet<&str>, found: &mut Vec<Diagnostic>) {
    let body: Vec<&str> = match &d.body {
        Some(Body::Value(e) | Body::Steps(e)) => Mentions::of_expr(e).found,
        Some(Body::Fields(fields, _)) => Mentions::of_fields(fields).found,
        None => return,
    };
    let mut read: BTreeSet<&str> = body.into_iter().collect();
    for p in d.params.iter().flatten().rev() {
        let name = &p.name;
        if !read.contains(&*name.text) && !is_exempt(&name.text) {
            let title = format!("`{}` never reads its parameter `{}`", d.name.text, name.text);
            let d = at_name(Code::E0221, name, title, "the body does not read it")
                .help(format!("remove it, or keep it as `_{}`", name.text));
            // A name that calls write is theirs too.
            found.push(if named.contains(&*name.text) { d } else { d.fix(name.span.head(), "_") });
        }
        read.extend(p.default.iter().flat_map(|e: &Expr| Mentions::of_expr(e).found));
    }
}
