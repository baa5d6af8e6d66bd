//! Golden sections of the checker: `tests/golden/lang/*.evo`, many sections a file.
//!
//! A section begins with `// --- name check` or `// --- name types`. Its lines are counted from the one after that. It
//! ends with what is expected of it, as comments: `// error[E0201] 4:17 "…"` or `// warning[…] …` for each diagnostic, in
//! order; in `types` sections then `// name: type` for each declaration. `EVO_BLESS=1` rewrites the expectations.
//! `// file other.evo` begins another file of the section, which it may `use`.
//!
//! A `// --- name run` section sees the standard library's numbers. It ends with lines `// run f(2.0, [1, 3]) -> 7.5`, or
//! `-> error: …` for a fault. Each call is computed three ways that must agree to the bit: by the interpreter and by compiled
//! code, both with the arguments as run-time inputs, and by the plan, which folds what is known. Blessing keeps the calls
//! and rewrites the values.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test runner reads its files, and fails loudly"
)]

mod run;

use std::fmt::Write;
use std::path::{Path, PathBuf};

use evo_lang::golden;
use evo_lang::library::Library;
use libtest_mimic::{Arguments, Failed, Trial};

const LIBRARY: &str = include_str!("library.evo");

fn main() {
    let args = Arguments::from_args();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/lang");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "evo"));
    files.sort();
    let bless = std::env::var_os("EVO_BLESS").is_some();
    let mut trials = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let sections = sections(&text);
        if bless {
            std::fs::write(&file, sections.iter().map(blessed).collect::<String>()).unwrap();
        }
        let stem = file.file_stem().unwrap().to_string_lossy().into_owned();
        for section in sections.into_iter().filter(|s| !s.0.head.is_empty()) {
            let name = format!("{stem}::{}", section.name());
            trials.push(Trial::test(name, move || if bless { Ok(()) } else { section.run() }));
        }
    }
    libtest_mimic::run(&args, trials).exit();
}

/// A section of a golden file, as this runner takes it.
struct Section(golden::Section);

fn sections(text: &str) -> Vec<Section> {
    golden::sections(text).into_iter().map(Section).collect()
}

fn blessed(section: &Section) -> String {
    if section.0.head.is_empty() { section.0.text.clone() } else { section.0.with(&section.found()) }
}

impl Section {
    fn name(&self) -> String {
        self.0.title().0.replace(' ', "_")
    }

    fn run(&self) -> Result<(), Failed> {
        let found = self.found();
        if found.trim() == self.0.expected.trim() {
            return Ok(());
        }
        Err(format!("expected\n{}\nfound\n{found}\n{}", self.0.expected, self.rendered()).into())
    }

    fn is_run(&self) -> bool {
        self.0.head.ends_with(" run")
    }

    fn check(&self) -> evo_lang::Checked {
        if self.is_run() {
            return run::check(&self.0.text);
        }
        let (library, faults) = Library::parse(&[("test", LIBRARY)]);
        assert!(faults.is_empty(), "{}", evo_lang::diag::render_all(&faults, library.sources(), false));
        let mut parts = self.0.text.split("// file ");
        let entry = parts.next().unwrap_or("");
        let files: Vec<(&str, &str)> = parts.filter_map(|p| p.split_once('\n')).collect();
        evo_lang::check("main.evo", entry, &library, &|path| {
            files
                .iter()
                .find(|(name, _)| *name == path)
                .map(|(_, text)| (*text).to_owned())
                .ok_or_else(|| "no such file".to_owned())
        })
    }

    fn found(&self) -> String {
        let checked = self.check();
        let mut out = String::new();
        for d in &checked.diagnostics {
            out.push_str(&golden::expectation(d, &checked.sources, "main.evo"));
            assert!(!d.help.is_empty(), "{} has no help: {}", d.code, d.title);
        }
        if self.0.head.ends_with(" types") {
            let module = &checked.program.modules[checked.program.entry.0 as usize];
            for global in &module.globals {
                let numeric = match &global.kind {
                    evo_lang::hir::GlobalKind::Function(f) if f.numeric => "  (numeric)",
                    _ => "",
                };
                writeln!(out, "// type {}: {}{numeric}", global.name, global.ty).unwrap();
            }
        }
        if self.is_run() {
            for call in self.0.expected.lines().filter_map(|l| l.strip_prefix("// run ")) {
                let call = call.rsplit_once(" -> ").map_or(call, |(call, _)| call);
                writeln!(out, "// run {call} -> {}", run::evaluate(&self.0.text, call)).unwrap();
            }
        }
        if out.is_empty() {
            out.push_str("// no errors\n");
        }
        out
    }

    fn rendered(&self) -> String {
        let checked = self.check();
        evo_lang::diag::render_all(&checked.diagnostics, &checked.sources, false)
    }
}
