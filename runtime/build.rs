//! Lists the templates of `evo new`: every folder of `templates/`, with all its files.

use std::error::Error;
use std::fmt::Write;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from).ok_or(format!("cargo sets {name}"));
    let root = set("CARGO_MANIFEST_DIR")?.join("templates");
    println!("cargo::rerun-if-changed={}", root.display());
    let mut out = "/// The templates, by name.\nstatic TEMPLATES: &[Template] = &[\n".to_owned();
    for folder in entries(&root)? {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        writeln!(out, "    Template {{ name: {name:?}, files: &[")?;
        let mut files = Vec::new();
        collect(&folder, &mut files)?;
        for file in files {
            let path = file.strip_prefix(&folder)?.to_string_lossy().replace('\\', "/");
            // A `.gitignore` among the templates would hide files of this repository.
            let path = path.replace("dot-gitignore", ".gitignore");
            writeln!(out, "        ({path:?}, include_str!({:?})),", file.display().to_string())?;
        }
        out.push_str("    ] },\n");
    }
    out.push_str("];\n");
    Ok(std::fs::write(set("OUT_DIR")?.join("templates.rs"), out)?)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    for entry in entries(folder)? {
        println!("cargo::rerun-if-changed={}", entry.display());
        if entry.is_dir() {
            collect(&entry, files)?;
        } else {
            files.push(entry);
        }
    }
    Ok(())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let read = std::fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut found = read.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
    found.sort();
    Ok(found)
}
