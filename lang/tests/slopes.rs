//! Derivatives of the functions of the golden sections against finite differences.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test reads its files, and fails loudly"
)]

mod run;

use std::path::Path;

use evo_lang::golden;
use evo_lang::hir::{Global, GlobalKind};
use evo_lang::types::{Len, Ty};

/// Where functions are differentiated: no kinks, some of every sign and size.
const POINTS: [[f64; 6]; 3] =
    [[0.3, 1.7, 0.6, 2.4, 1.1, 0.9], [1.3, 0.45, 2.2, 0.7, 1.9, 3.1], [-0.8, -1.6, 0.55, -2.3, 0.35, -0.15]];

/// A number, or an array of numbers, as an argument.
fn argument(ty: &Ty, numbers: &mut impl Iterator<Item = f64>) -> Option<String> {
    Some(match ty {
        Ty::Real => format!("{:?}", numbers.next()?),
        Ty::Int => "2".to_owned(),
        Ty::Bool => "true".to_owned(),
        Ty::Array(item, Len::Const(n)) => {
            let items: Option<Vec<String>> = (0..*n).map(|_| argument(item, numbers)).collect();
            format!("[{}]", items?.join(", "))
        }
        _ => return None,
    })
}

/// How many reals an argument takes.
fn reals(ty: &Ty) -> usize {
    match ty {
        Ty::Real => 1,
        Ty::Array(item, Len::Const(n)) => *n as usize * reals(item),
        _ => 0,
    }
}

/// The function's arguments with these numbers in them.
fn arguments(params: &[Ty], numbers: &[f64]) -> Option<String> {
    let mut numbers = numbers.iter().copied().cycle();
    let arguments: Option<Vec<String>> = params.iter().map(|ty| argument(ty, &mut numbers)).collect();
    Some(arguments?.join(", "))
}

fn numbers(text: &str) -> Option<Vec<f64>> {
    let bare = text.replace(['[', ']'], "");
    bare.split(", ").map(|x| x.parse().ok()).collect()
}

/// How often a derivative of a function agreed with differences of the function.
fn compare(text: &str, global: &Global) -> usize {
    let GlobalKind::Function(function) = &global.kind else { return 0 };
    if !function.numeric || !matches!(function.body.ty, Ty::Real) {
        return 0;
    }
    let params: Vec<Ty> = function.params.iter().map(|p| p.ty.clone()).collect();
    let name = &global.name;
    let mut compared = 0;
    for point in POINTS {
        let mut first = 0;
        for (param, ty) in function.params.iter().zip(&params) {
            let count = reals(ty);
            let at = first;
            first += count;
            let Some(given) = arguments(&params, &point).filter(|_| count > 0 && first <= point.len()) else {
                continue;
            };
            if run::evaluate(text, &format!("{name}({given})")).starts_with("error") {
                continue;
            }
            let taken = if matches!(ty, Ty::Real) { "slope" } else { "gradient" };
            let found = run::evaluate(text, &format!("{taken}({name}, by: {})({given})", param.name));
            let found = numbers(&found).unwrap_or_else(|| panic!("{name}: {found}"));
            for (i, found) in found.into_iter().enumerate() {
                let value = |step: f64| {
                    let mut moved = point;
                    moved[at + i] += step;
                    let value = run::evaluate(text, &format!("{name}({})", arguments(&params, &moved).unwrap()));
                    value.parse::<f64>().unwrap()
                };
                let step = 1e-5;
                let difference = (value(step) - value(-step)) / (2.0 * step);
                if difference.is_finite() {
                    let off = (found - difference).abs();
                    assert!(
                        off <= 1e-6 * (1.0 + difference.abs()),
                        "{name} by {}: {found}, not {difference}",
                        param.name
                    );
                    compared += 1;
                }
            }
        }
    }
    compared
}

#[test]
fn derivatives_agree_with_differences() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/lang");
    let mut compared = 0;
    for file in ["run.evo", "slopes.evo"] {
        let text = std::fs::read_to_string(folder.join(file)).unwrap();
        for section in golden::sections(&text).iter().filter(|s| s.head.ends_with(" run")) {
            let checked = run::check(&section.text);
            if checked.has_errors() {
                continue;
            }
            let module = &checked.program.modules[checked.program.entry.0 as usize];
            compared += module.globals.iter().map(|global| compare(&section.text, global)).sum::<usize>();
        }
    }
    assert!(compared > 100, "{compared} derivatives compared");
}
