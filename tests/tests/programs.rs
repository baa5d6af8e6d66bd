//! Every program in `programs/` checks and, in tiny mode, runs.

use evo::engine::Settings;
use evo_tests::house::{House, Stage};
use evo_tests::{files, root, text};
use libtest_mimic::{Arguments, Failed, Trial};
use std::sync::Arc;

/// Files that a program reads and that do not lie in the repository: without them it is checked only.
const FETCHED: &[(&str, &str)] = &[("programs/smollm2_merge.evo", "programs/models/SmolLM2-135M-Instruct.gguf")];

fn main() {
    let arguments = Arguments::from_args();
    let house = Arc::new(House::new());
    let programs = files().into_iter().filter(|path| path.starts_with("programs/") && path.ends_with(".evo"));
    let trials = programs
        .map(|path| {
            let house = house.clone();
            Trial::test(path.clone(), move || works(&house, &path))
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit();
}

fn works(house: &House, path: &str) -> Result<(), Failed> {
    let source = text(path).ok_or("not text")?;
    let missing = FETCHED.iter().any(|(program, file)| *program == path && !root().join(file).exists());
    let stage = if missing { Stage::Check } else { Stage::Tiny };
    house.take(path, &source, stage, Settings::new()).fine()?;
    Ok(())
}
