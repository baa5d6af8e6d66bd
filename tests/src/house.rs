//! Checks, plans and runs programs through the embedding API, each in a folder of its own that goes away; the store is shared by
//! all the programs of a test process, so that what two of them need is computed once.

use crate::root;
use evo::engine::{Engine, Failure, Program, RunOptions, Settings};
use evo::run::rows::OutputKind;
use evo_lang::diag::Diagnostic;
use std::path::Path;
use tempfile::TempDir;

/// A place to run programs in.
pub struct House {
    engine: Engine,
    place: TempDir,
}

/// How far a program is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Its text is checked.
    Check,
    /// The files that it names are read too.
    Plan,
    /// It runs.
    Run,
    /// It runs with its effort lowered.
    Tiny,
}

/// What came of a program.
#[derive(Debug, Default)]
pub struct Came {
    /// The codes of what is wrong, or, where nothing is, of what is doubtful; in the order of their places.
    pub codes: Vec<String>,
    /// The errors as a user reads them; empty if there are none.
    pub complaint: String,
    /// What it printed, one text for each `print`.
    pub printed: Vec<String>,
}

impl House {
    /// A new place with an empty store.
    ///
    /// # Panics
    /// If there is no place for temporary files.
    pub fn new() -> House {
        let place = tempfile::tempdir().expect("a temporary folder");
        let engine = Engine::builder().cwd(place.path()).jobs(2).build();
        House { engine, place }
    }

    /// Takes a program as far as `stage`; `name` stands for its path, from the root of the repository, and input paths start from its
    /// folder.
    pub fn take(&self, name: &str, text: &str, stage: Stage, settings: Settings) -> Came {
        let program = self.engine.load_text(&root().join(name).display().to_string(), text);
        let errors: Vec<Diagnostic> = program.diagnostics().iter().filter(|found| found.is_error()).cloned().collect();
        if !errors.is_empty() {
            return Came::refused(&Failure::program(errors, program.sources().clone()));
        }
        let doubts = |found: &[Diagnostic]| Came { codes: codes(found), ..Came::default() };
        match stage {
            Stage::Check => doubts(program.diagnostics()),
            Stage::Plan => {
                program.plan(&settings).map_or_else(|failure| Came::refused(&failure), |plan| doubts(plan.warnings()))
            }
            Stage::Run | Stage::Tiny => self.run(&program, &settings.tiny(stage == Stage::Tiny)),
        }
    }

    fn run(&self, program: &Program, settings: &Settings) -> Came {
        let out = tempfile::tempdir_in(self.place.path());
        let out = out.as_ref().map_or(self.place.path(), TempDir::path);
        match self.outcome(program, settings, out) {
            Ok(came) => came,
            Err(failure) => Came::refused(&failure),
        }
    }

    fn outcome(&self, program: &Program, settings: &Settings, out: &Path) -> Result<Came, Failure> {
        let options = RunOptions { out: Some(out.to_owned()), ..RunOptions::default() };
        let plan = program.plan(settings)?;
        let doubts = codes(plan.warnings());
        let outcome = plan.start(options)?.wait();
        let mut came = outcome.failure.as_ref().map(Came::refused).unwrap_or_default();
        came.codes.extend(doubts);
        if outcome.exit_code() != 0 {
            came.complaint.push_str(&format!("\nthe run ended as {:?}", outcome.status));
        }
        for output in &outcome.outputs {
            match &output.kind {
                OutputKind::Printed(shown) => {
                    came.printed.push(evo::render::shown(shown));
                }
                OutputKind::Expected { message, holds: false } if outcome.exit_code() != 0 => {
                    came.complaint.push_str(&format!("\nexpected: {message}"));
                }
                _ => {}
            }
        }
        Ok(came)
    }
}

impl Default for House {
    fn default() -> House {
        House::new()
    }
}

impl Came {
    fn refused(failure: &Failure) -> Came {
        let errors: Vec<Diagnostic> = failure.diagnostics.iter().filter(|found| found.is_error()).cloned().collect();
        Came { codes: codes(&errors), complaint: failure.to_string(), printed: Vec::new() }
    }

    /// What it printed, or the complaint.
    ///
    /// # Errors
    /// If the program was refused or warned of, failed, or an `expect` of it does not hold.
    pub fn fine(self) -> Result<Vec<String>, String> {
        match self {
            Came { complaint, .. } if !complaint.is_empty() => Err(complaint),
            Came { codes, .. } if !codes.is_empty() => Err(format!("warnings: {}", codes.join(" "))),
            Came { printed, .. } => Ok(printed),
        }
    }
}

fn codes(found: &[Diagnostic]) -> Vec<String> {
    found.iter().map(|diagnostic| diagnostic.code.to_string()).collect()
}
