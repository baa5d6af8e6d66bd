//! `run` sections: one call, computed by the interpreter, by compiled code and by the plan.

use std::fmt::Write;
use std::sync::{Arc, OnceLock};

use evo_lang::codegen::{evaluate_both, same_slots};
use evo_lang::diag::render_all;
use evo_lang::hir::{Expr, ExprKind, GlobalKind, LocalId, Param, Program};
use evo_lang::ir::build::{Outlined, outline, outline_lambda};
use evo_lang::ir::{NumericError, interp};
use evo_lang::library::Library;
use evo_lang::plan::{Answer, Call, Const, Elaborator, Fact, Host, Problem};
use evo_lang::types::Len;

/// What the section's calls are named in the program that is checked.
const NAME: &str = "section_result";

fn library() -> &'static Library {
    static LIBRARY: OnceLock<Library> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let numeric = include_str!("../../../stdlib/src/numeric/numeric.evo");
        let (library, faults) = Library::parse(&[("numeric", numeric)]);
        assert!(faults.is_empty(), "{}", render_all(&faults, library.sources(), false));
        library
    })
}

/// The section as a program over the standard library's numbers.
pub(crate) fn check(text: &str) -> evo_lang::Checked {
    evo_lang::check("main.evo", text, library(), &|_| Err("a run section is one file".to_owned()))
}

/// The value of a call, or the fault that it raises; panics where two of the three ways disagree.
pub(crate) fn evaluate(text: &str, call: &str) -> String {
    let checked = check(&format!("{text}\nlet {NAME} = {call}\n"));
    let rendered = || render_all(&checked.diagnostics, &checked.sources, false);
    assert!(!checked.has_errors(), "{}", rendered());
    let program = Arc::new(checked.program.clone());
    let module = &program.modules[program.entry.0 as usize];
    let global = module.globals.iter().find(|g| &*g.name == NAME).unwrap();
    let GlobalKind::Value(e) = &global.kind else { panic!("{call} is no value") };
    let ran = with_inputs(&program, e).unwrap_or_else(|| panic!("`{call}` is no numeric code"));
    let (folded, ty) = folded(program.clone());
    match (ran, folded) {
        (Ok(slots), Ok(value)) => {
            let mut flat = Vec::new();
            value.flatten(&mut flat).unwrap();
            assert!(same_slots(&ty, &slots, &flat), "`{call}` runs to {slots:x?} but is folded to {flat:x?}");
            let mut out = String::new();
            show(&value, &mut out);
            out
        }
        (Err(error), Err(message)) => {
            assert_eq!(error.to_string(), message, "`{call}`");
            format!("error: {message}")
        }
        (ran, folded) => panic!("`{call}` runs to {ran:?} but is folded to {folded:?}"),
    }
}

/// The call with its arguments as inputs, through interpreter and compiled code; `None` if it is no numeric code.
fn with_inputs(program: &Program, e: &Expr) -> Option<Result<Vec<u64>, NumericError>> {
    let mut params = Vec::new();
    let mut given = Vec::new();
    let mut call = e.clone();
    if let ExprKind::CallFunction { args, .. } | ExprKind::CallExtern { args, .. } = &mut call.kind {
        for (i, arg) in args.iter_mut().enumerate() {
            let Some(arg) = arg.as_mut().filter(|a| a.ty.is_numeric()) else { continue };
            let local = LocalId(1 << 20 | i as u32);
            let read = Expr { kind: ExprKind::Local(local), ..arg.clone() };
            given.push(std::mem::replace(arg, read));
            params.push(Param { local, name: "".into(), ty: arg.ty.clone(), default: None });
        }
    }
    let code = outline_lambda(program, &params, &call, &mut lens)?;
    let mut slots = inputs(program, &code)?;
    for arg in &given {
        slots.extend(value(program, arg)?);
    }
    let both = evaluate_both(&code.module, code.module.entry()?, &slots);
    Some(both.unwrap_or_else(|why| panic!("the two engines disagree: {why:?}")))
}

/// The slots of an expression over literals and the section's own values.
fn value(program: &Program, e: &Expr) -> Option<Vec<u64>> {
    if let ExprKind::Global(global) = &e.kind {
        let global = &program.modules[global.module.0 as usize].globals[global.index];
        return match &global.kind {
            GlobalKind::Value(e) | GlobalKind::Param { default: Some(e), .. } => value(program, e),
            _ => None,
        };
    }
    let code = outline(program, e, &mut lens)?;
    let slots = inputs(program, &code)?;
    Some(interp::run(&code.module, code.module.entry()?, &slots).unwrap())
}

fn inputs(program: &Program, code: &Outlined) -> Option<Vec<u64>> {
    let mut slots = Vec::new();
    for leaf in &code.leaves {
        slots.extend(value(program, leaf)?);
    }
    Some(slots)
}

fn lens(_: Option<&Expr>, len: &Len) -> Option<u64> {
    match len {
        Len::Const(n) => Some(*n),
        _ => None,
    }
}

/// What the plan makes of the section's value, and its layout.
fn folded(program: Arc<Program>) -> (Result<Const, String>, evo_lang::ir::Type) {
    let mut elaborator = Elaborator::new(program, Arc::new(Knows), Default::default());
    let id = elaborator.named(NAME).unwrap();
    let diagnostics = elaborator.take_diagnostics();
    match id {
        Ok(id) => {
            let value = elaborator.graph().constant(id).cloned();
            let value = value.unwrap_or_else(|| panic!("the plan leaves it to the run"));
            let ty = layout(&value);
            (Ok(value), ty)
        }
        Err(_) => (Err(diagnostics[0].title.clone()), evo_lang::ir::Type::Int),
    }
}

fn layout(value: &Const) -> evo_lang::ir::Type {
    use evo_lang::ir::Type;
    match value {
        Const::Real(_) | Const::Quantity(_) => Type::Real,
        Const::Bool(_) => Type::Bool,
        Const::Text(_) => Type::Text,
        Const::List(items) | Const::Tuple(items) => Type::structure(items.iter().map(layout).collect::<Vec<_>>()),
        Const::Record(fields) => Type::structure(fields.iter().map(|(_, v)| layout(v)).collect::<Vec<_>>()),
        _ => Type::Int,
    }
}

/// Every bit of a real shows; words without quotes are cases.
fn show(value: &Const, out: &mut String) {
    let all = |items: &[Const], ends: [char; 2], out: &mut String| {
        out.push(ends[0]);
        for (i, item) in items.iter().enumerate() {
            out.push_str(if i == 0 { "" } else { ", " });
            show(item, out);
        }
        out.push(ends[1]);
    };
    match value {
        Const::List(items) => all(items, ['[', ']'], out),
        Const::Tuple(items) => all(items, ['(', ')'], out),
        Const::Record(fields) => {
            out.push_str("{ ");
            for (i, (name, item)) in fields.iter().enumerate() {
                write!(out, "{}{name}: ", if i == 0 { "" } else { ", " }).unwrap();
                show(item, out);
            }
            out.push_str(" }");
        }
        Const::Int(i) => write!(out, "{i}").unwrap(),
        Const::Real(r) | Const::Quantity(r) => write!(out, "{r:?}").unwrap(),
        Const::Bool(b) => write!(out, "{b}").unwrap(),
        Const::Text(text) => write!(out, "{text:?}").unwrap(),
        Const::Case(_, word) => out.push_str(word),
        other => panic!("{other:?} is no number"),
    }
}

/// Nothing is known of the world.
struct Knows;

impl Host for Knows {
    fn call(&self, _: &Call<'_>, _: &mut Vec<Problem>) -> Answer {
        Answer::Unknown
    }

    fn field(&self, _: &Fact, _: &str) -> Answer {
        Answer::Unknown
    }
}
