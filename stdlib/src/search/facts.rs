//! What is known of a search before it starts: whether it ends, and by limits that it has.

use evo_lang::plan::{Answer, Call, Const, Look, Problem};

use crate::bind::Place;

/// The limits that bound a search whatever it finds.
const BOUNDS: [&str; 3] = ["generations", "evaluations", "time"];

/// Limits that belong to other searches, whose, and what to write instead.
const FOREIGN: [(&str, &str, &str); 2] = [
    ("rounds", "`rounds` counts the rounds of `descent`", "give `generations` instead"),
    (
        "cost",
        "`cost` counts what a search itself asks of language models, and an `evolve` asks none",
        "leave `cost` out; `evo run --budget` bounds what the fitness may ask",
    ),
];

/// A search that nothing bounds, or that is bounded by what it does not have, is refused before it starts.
pub(super) fn evolve(_: &Place, call: &Call<'_>, problems: &mut Vec<Problem>) -> Answer {
    let Some(stop) = call.arg("stop") else {
        return Answer::Unknown;
    };
    let problem = |code, title, label: &str, help: String| Problem {
        code,
        title,
        label: label.to_owned(),
        param: Some("stop".into()),
        help,
        ..Problem::default()
    };
    for (name, why, help) in FOREIGN {
        if given(stop, name) == Some(true) {
            let title = format!("`{}` has no limit `{name}`", call.ext().name);
            let found = problem("E0420", title, &format!("`{name}` does not apply"), help.to_owned());
            problems.push(Problem { notes: vec![why.to_owned()], ..found });
        }
    }
    if BOUNDS.iter().all(|name| given(stop, name) == Some(false)) {
        let help = "add `evaluations: 200`, `generations: 20` or `time: 15min`".to_owned();
        let found = problem("E0418", format!("`{}` has no end", call.ext().name), "bounds nothing", help);
        problems.push(Problem { notes: vec!["`plateau` and `target` alone may never be met".into()], ..found });
        return Answer::Unknown;
    }
    for name in BOUNDS {
        let Some(amount) = amount(stop, name).filter(|n| *n < if name == "time" { f64::MIN_POSITIVE } else { 1.0 })
        else {
            continue;
        };
        let (shown, help) = match name {
            "time" => (format!("{amount} s"), "give some time, such as `time: 15min`".to_owned()),
            _ => (format!("{amount} {name}"), format!("give `{name}` at least 1")),
        };
        let title = format!("a budget of {shown} allows no generation");
        problems.push(problem("E0418", title, &format!("`{name}` is too small"), help));
    }
    Answer::Unknown
}

/// Whether a limit is given; nothing where that is not known yet.
fn given(stop: Look<'_>, name: &str) -> Option<bool> {
    match (stop.constant(), stop.field(name)) {
        (Some(record), _) => Some(record.field(name).is_some_and(|v| *v != Const::Nothing)),
        (None, Some(field)) => Some(field.constant() != Some(&Const::Nothing)),
        (None, None) => None,
    }
}

fn amount(stop: Look<'_>, name: &str) -> Option<f64> {
    let constant = match stop.constant() {
        Some(record) => record.field(name),
        None => stop.field(name)?.constant(),
    };
    constant?.as_real()
}
