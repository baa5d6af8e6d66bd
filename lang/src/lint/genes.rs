//! Genes that nothing reads, and fitness functions that ignore their genome.

use std::collections::{BTreeMap, BTreeSet};

use super::{at_name, is_exempt};
use crate::diag::{Code, Diagnostic};
use crate::hir::{Conversion, Expr, ExprKind, GlobalKind, LocalId, Module, Param, RequestKind};
use crate::span::Span;
use crate::syntax::ast::{self, ItemKind};
use crate::types::{GenomeTy, Ty};

/// The warnings of a module; `is_dead` tells the declarations that are never used, which are told as such.
pub(super) fn genes(tree: &ast::Module, module: &Module, is_dead: &dyn Fn(&str) -> bool) -> Vec<Diagnostic> {
    let mut reads = Reads::default();
    for global in &module.globals {
        match &global.kind {
            GlobalKind::Param { default: Some(e), .. } | GlobalKind::Value(e) => reads.expr(e, false),
            GlobalKind::Function(f) => {
                f.params.iter().flat_map(|p| &p.default).for_each(|e| reads.expr(e, false));
                reads.expr(&f.body, false);
            }
            _ => {}
        }
    }
    for request in &module.requests {
        match &request.kind {
            RequestKind::Save { value, path } => [value, path].into_iter().for_each(|e| reads.expr(e, false)),
            RequestKind::Print(value) => reads.expr(value, false),
            RequestKind::Plot { value, .. } => reads.expr(value, false),
            RequestKind::Expect { condition, .. } => reads.expr(condition, true),
        }
    }
    let (mut found, ignored) = ignoring(tree, module, &reads);
    for (index, global) in module.globals.iter().enumerate() {
        let (GlobalKind::Genome(genome), Ty::Genome(ty)) = (&global.kind, &global.ty) else { continue };
        if is_dead(&global.name) || is_exempt(&global.name) || ignored.contains(&index) {
            continue;
        }
        let read = reads.genes.get(&(ty.module.0, ty.global));
        for (i, field) in genome.fields.iter().enumerate() {
            if is_exempt(&field.name) || read.is_some_and(|r| r.contains(&i)) {
                continue;
            }
            let name = ast::Name { text: field.name.to_string(), span: field.span };
            let title = format!("nothing reads the gene `{}` of `{}`", field.name, global.name);
            found.push(
                at_name(Code::E0222, &name, title, "searched, and without effect")
                    .note("a search spends evaluations on every gene, also on one that changes nothing")
                    .help(format!("read it in the fitness, remove it, or keep it as `_{}`", field.name)),
            );
        }
    }
    found
}

/// Functions given to a search that never read the genome; and the genomes, by their declarations. A closure is not given
/// one: the type of its parameter would not be known.
fn ignoring(tree: &ast::Module, module: &Module, reads: &Reads) -> (Vec<Diagnostic>, BTreeSet<usize>) {
    let (mut found, mut genomes) = (Vec::new(), BTreeSet::new());
    let mut tell = |span: Span, title: String, genome: &GenomeTy| {
        let d = Diagnostic::warning(Code::E0223, span, title, "reads no gene");
        let fields: Vec<String> = genome.fields.iter().map(|f| format!("`{}`", f.name)).collect();
        let d = d.note(format!("every candidate gets the same score; the genes are {}", fields.join(", ")));
        found.push(d.help("let it depend on the genome, so that there is something to search for"));
        genomes.insert(genome.global);
    };
    for (index, global) in module.globals.iter().enumerate() {
        let GlobalKind::Function(f) = &global.kind else { continue };
        if !reads.given.contains(&index) {
            continue;
        }
        let mut locals = BTreeSet::new();
        local_reads(&f.body, &mut locals);
        let decl = tree.items.iter().find_map(|i| match &i.kind {
            ItemKind::Decl(d) if d.name.span == global.name_span => Some(d),
            _ => None,
        });
        let written = decl.and_then(|d| d.params.as_ref());
        for (p, written) in f.params.iter().zip(written.into_iter().flatten()) {
            if let Some(genome) = ignored(p, &locals) {
                tell(written.name.span, format!("`{}` ignores its genome `{}`", global.name, p.name), genome);
            }
        }
    }
    (found, genomes)
}

fn ignored<'p>(p: &'p Param, locals: &BTreeSet<LocalId>) -> Option<&'p GenomeTy> {
    match &p.ty {
        Ty::Genome(genome) if !locals.contains(&p.local) && !is_exempt(&p.name) => Some(genome),
        _ => None,
    }
}

fn local_reads(e: &Expr, found: &mut BTreeSet<LocalId>) {
    if let ExprKind::Local(id) = &e.kind {
        found.insert(*id);
    }
    e.children(&mut |child| local_reads(child, found));
}

/// What a module reads of genomes.
#[derive(Default)]
struct Reads {
    /// For each genome, by module and declaration, the places of the fields that are read.
    genes: BTreeMap<(u32, usize), BTreeSet<usize>>,
    /// Functions of the module that a library function is given.
    given: BTreeSet<usize>,
}

impl Reads {
    /// `whole`: whether what stands around reads all that is in the value.
    fn expr(&mut self, e: &Expr, whole: bool) {
        if whole {
            self.all(&e.ty);
        }
        if let ExprKind::Field { base, index: Some(index), .. } = &e.kind
            && let Ty::Genome(g) = &base.ty
        {
            self.genes.entry((g.module.0, g.global)).or_default().insert(*index as usize);
        }
        if let ExprKind::CallExtern { args, .. } = &e.kind {
            args.iter().flatten().for_each(|a| self.given(a));
        }
        let inside = match &e.kind {
            ExprKind::CallExtern { .. }
            | ExprKind::CallValue { .. }
            | ExprKind::Binary(..)
            | ExprKind::Instance(_)
            | ExprKind::Convert(Conversion::GenomeToRecord | Conversion::ToUnion, _) => true,
            ExprKind::If { .. } => whole,
            _ => false,
        };
        e.children(&mut |child| self.expr(child, inside));
    }

    fn given(&mut self, arg: &Expr) {
        match &arg.kind {
            ExprKind::Convert(_, inner) => self.given(inner),
            ExprKind::Global(r) => drop(self.given.insert(r.index)),
            _ => {}
        }
    }

    fn all(&mut self, ty: &Ty) {
        match ty {
            Ty::Genome(g) => self.genes.entry((g.module.0, g.global)).or_default().extend(0..g.fields.len()),
            Ty::Array(item, _) | Ty::List(item) => self.all(item),
            Ty::Tuple(items) | Ty::Union(items) => items.iter().for_each(|t| self.all(t)),
            Ty::Record(r) => r.fields.iter().for_each(|f| self.all(&f.ty)),
            _ => {}
        }
    }
}
