//! The typed program as text: every declaration with its type.

use std::fmt::Write;

use crate::hir::{Domain, GlobalKind, Module, Program};

/// Every declaration of a program and of the programs it uses with its type, a line each; genes below their genome.
/// Numeric functions, which are compiled, are marked.
pub fn print(program: &Program) -> String {
    let mut out = String::new();
    for module in program.modules.iter().skip(1) {
        print_module(&mut out, module);
    }
    out
}

fn print_module(out: &mut String, module: &Module) {
    let _ = writeln!(out, "// {}", module.path);
    for global in &module.globals {
        let mark = match &global.kind {
            GlobalKind::Function(f) if f.numeric => "  // numeric",
            GlobalKind::Param { default: None, .. } => "  // required",
            _ => "",
        };
        let _ = writeln!(out, "{} {}: {}{mark}", global.word, global.name, global.ty);
        if let GlobalKind::Genome(genome) = &global.kind {
            for gene in &genome.fields {
                let ty = if gene.permutation { format!("permutation of {}", gene.ty) } else { gene.ty.to_string() };
                let scale = gene.domain.as_ref().map_or("", scale);
                let _ = writeln!(out, "    {}: {ty}{scale}", gene.name);
            }
        }
    }
}

fn scale(domain: &Domain) -> &'static str {
    if domain.log { "  // logarithmic" } else { "" }
}
