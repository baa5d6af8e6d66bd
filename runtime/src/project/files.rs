//! Where used programs lie on disk: beside the program that uses them, then in the project's search paths. A folder is
//! the programs in it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use evo_lang::diag::suggest;
use evo_lang::{Loader, Missing, folder_text, is_public_name, join};

/// The files of a program.
#[derive(Debug)]
pub(crate) struct ProgramFiles<'a> {
    /// The directory that relative paths start from.
    pub(crate) root: &'a Path,
    /// Where to look besides.
    pub(crate) paths: &'a [PathBuf],
}

impl Loader for ProgramFiles<'_> {
    fn find(&self, from: &str, path: &str, named: bool) -> Result<String, Missing> {
        let elsewhere = self.paths.iter().filter(|_| !Path::new(path).is_absolute());
        let places: Vec<String> = std::iter::once(join(from, path))
            .chain(elsewhere.map(|folder| join(&format!("{}/", folder.display()), path)))
            .collect();
        for place in &places {
            if self.root.join(place).is_file() {
                return Ok(place.clone());
            }
            let folder = if named { place.strip_suffix(".evo") } else { Some(place.as_str()) };
            if let Some(folder) = folder.filter(|folder| self.root.join(folder).is_dir()) {
                return Ok(format!("{}/", folder.trim_end_matches('/')));
            }
        }
        let near = places.iter().find_map(|place| self.near(place, path));
        let help = near.map_or_else(
            || match self.paths.len() {
                0 => "paths are relative to the file that uses them".to_owned(),
                _ => "paths are relative to the file that uses them, then to the `paths` of evo.toml".to_owned(),
            },
            |near| format!("did you mean `{near}`?"),
        );
        Err(Missing { why: "no such file".to_owned(), help })
    }

    fn read(&self, path: &str) -> Result<String, Missing> {
        let full = self.root.join(path);
        let unreadable = |error: io::Error| Missing {
            why: if error.kind() == io::ErrorKind::InvalidData {
                "is not UTF-8 text".to_owned()
            } else {
                error.to_string()
            },
            help: "check the file and its permissions".to_owned(),
        };
        if !path.ends_with('/') {
            return fs::read_to_string(full).map_err(unreadable);
        }
        let names = programs(&full).map_err(unreadable)?;
        if names.is_empty() {
            let help = "a folder is used for the `.evo` files in it whose names can be names of programs".to_owned();
            return Err(Missing { why: "a folder without programs".to_owned(), help });
        }
        Ok(folder_text(names.iter().map(String::as_str)))
    }
}

impl ProgramFiles<'_> {
    /// What is there that a path may have meant, as it would be written.
    fn near(&self, place: &str, path: &str) -> Option<String> {
        let full = self.root.join(place);
        let wanted = full.file_name()?.to_string_lossy().into_owned();
        let entries =
            fs::read_dir(full.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))).ok()?;
        let mut names: Vec<String> = entries
            .flatten()
            .filter(|entry| entry.path().is_dir() || entry.path().extension().is_some_and(|e| e == "evo"))
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| !name.starts_with('.'))
            .collect();
        names.sort();
        let near = suggest(&wanted, names.iter().map(String::as_str))?;
        let written = path.rsplit_once('/').map_or_else(|| near.to_owned(), |(folder, _)| format!("{folder}/{near}"));
        Some(written)
    }
}

/// The programs in a folder that can be named from outside: files without their `.evo`, folders of such with `/`; sorted.
/// Of a file and a folder of one name it is the file.
fn programs(folder: &Path) -> io::Result<Vec<String>> {
    let mut names: Vec<String> = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let (stem, is_program) = match path.file_name().map(|name| name.to_string_lossy().into_owned()) {
            Some(name) if path.is_dir() => (format!("{name}/"), holds_programs(&path)),
            Some(name) if path.is_file() => match name.strip_suffix(".evo") {
                Some(stem) => (stem.to_owned(), true),
                None => continue,
            },
            _ => continue,
        };
        if is_program && is_public_name(stem.trim_end_matches('/')) {
            names.push(stem);
        }
    }
    names.sort();
    let files: Vec<String> = names.iter().filter(|name| !name.ends_with('/')).cloned().collect();
    names.retain(|name| name.strip_suffix('/').is_none_or(|folder| !files.iter().any(|file| file == folder)));
    Ok(names)
}

fn holds_programs(folder: &Path) -> bool {
    let is_program = |path: PathBuf| path.is_file() && path.extension().is_some_and(|e| e == "evo");
    fs::read_dir(folder).is_ok_and(|entries| entries.flatten().any(|entry| is_program(entry.path())))
}
