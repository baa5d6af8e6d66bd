//! What people type on their first day, and how it is told: `tests/golden/errors/*.evo`, each with its rendered
//! diagnostics beside it as `.txt`. `EVO_BLESS=1` rewrites those. What they use lies in `used/`.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test reads files and fails loudly")]

use std::path::{Path, PathBuf};

use evo_lang::library::Library;

fn in_order(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    paths
}

/// The standard library's declarations, without what implements them.
fn library() -> Library {
    let is_evo = |p: &PathBuf| p.extension().is_some_and(|e| e == "evo");
    let folders = in_order(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../stdlib/src"));
    let files = folders.iter().filter(|f| f.is_dir()).flat_map(|f| in_order(f)).filter(is_evo);
    let texts: Vec<String> = files.map(|f| std::fs::read_to_string(f).unwrap()).collect();
    let families: Vec<(&str, &str)> = texts.iter().map(|t| ("std", t.as_str())).collect();
    let (library, faults) = Library::parse(&families);
    assert!(faults.is_empty(), "{}", evo_lang::diag::render_all(&faults, library.sources(), false));
    library
}

#[test]
fn wrong_programs_read_well() {
    let library = library();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/errors");
    let programs: Vec<PathBuf> =
        in_order(&folder).into_iter().filter(|p| p.extension().is_some_and(|e| e == "evo")).collect();
    assert!(programs.len() >= 40, "{} wrong programs", programs.len());
    let mut wrong = Vec::new();
    for program in programs {
        let name = program.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&program).unwrap();
        let used = |path: &str| std::fs::read_to_string(folder.join(path)).map_err(|_| "no such file".to_owned());
        let checked = evo_lang::check(&name, &text, &library, &used);
        let rendered = evo_lang::diag::render_all(&checked.diagnostics, &checked.sources, false);
        let beside = program.with_extension("txt");
        if std::env::var_os("EVO_BLESS").is_some() {
            std::fs::write(&beside, &rendered).unwrap();
        }
        let expected = std::fs::read_to_string(&beside).unwrap_or_default();
        if rendered != expected || rendered.is_empty() {
            wrong.push(format!("{name}: expected\n{expected}\nfound\n{rendered}"));
        }
        for d in &checked.diagnostics {
            assert!(!d.help.is_empty(), "{name}: {} has no help", d.code);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
