//! Projects: what `evo.toml` says for the programs below its folder.

pub(crate) mod files;
pub(crate) mod read;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use evo_lang::diag::{self, Code, Diagnostic};
use evo_lang::span::{SourceMap, Span};
use indexmap::IndexMap;

use crate::engine::{ParamValue, Settings};

/// The file's name.
const FILE: &str = "evo.toml";

/// What `evo.toml` says. It is looked for in the program's folder and in those above it; the nearest counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Project {
    /// Its name.
    pub name: Option<String>,
    /// The program that runs where none is named.
    pub main: Option<PathBuf>,
    /// Folders in which used programs and input files are looked for after the program's own.
    pub paths: Vec<PathBuf>,
    /// Evaluations at once, where the command line does not say.
    pub workers: Option<usize>,
    /// Where models are computed, where the command line does not say.
    pub device: Option<String>,
    /// What params are, where the command line does not say: for each program what it declares of them.
    pub params: IndexMap<String, ParamValue>,
    /// The file's path, as messages show it.
    file: String,
    text: String,
    places: IndexMap<String, std::ops::Range<usize>>,
    faults: Vec<read::Fault>,
}

impl Project {
    /// The path of `evo.toml`, as messages show it.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The project of a program, or of a folder, relative to `root`.
    ///
    /// # Errors
    /// If there is an `evo.toml` that cannot be read.
    pub(crate) fn of(root: &Path, folder: &Path) -> Result<Option<Project>, (PathBuf, io::Error)> {
        let here = root.join(folder);
        let Ok(absolute) = std::path::absolute(if here.as_os_str().is_empty() { Path::new(".") } else { &here }) else {
            return Ok(None);
        };
        for folder in absolute.ancestors() {
            let file = folder.join(FILE);
            match fs::read_to_string(&file) {
                Ok(text) => return Ok(Some(read::project(&shown(folder), text))),
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
                Err(error) => return Err((shown(&file), error)),
            }
        }
        Ok(None)
    }

    /// Settings with what the project says where they say nothing.
    pub(crate) fn under(&self, settings: &Settings, declared: &[String]) -> Settings {
        let mut all = settings.clone();
        for (name, value) in self.params.iter().filter(|(name, _)| declared.contains(name)) {
            all.params.entry(name.clone()).or_insert_with(|| value.clone());
        }
        all
    }

    /// What is wrong with the file, its text added to the sources. `declared` are the params of the program at hand, and
    /// `wrong` says why one cannot be what it is set to.
    pub(crate) fn diagnostics(
        &self,
        sources: &mut SourceMap,
        program: &Path,
        declared: &[String],
        wrong: &dyn Fn(&str, &ParamValue) -> Option<Diagnostic>,
    ) -> Vec<Diagnostic> {
        let file = sources.add(&self.file, &self.text);
        let span = |range: &std::ops::Range<usize>| Span::new(file, range.start, range.end);
        let mut found: Vec<Diagnostic> = self
            .faults
            .iter()
            .map(|f| Diagnostic::error(f.code, span(&f.at), &f.title, &f.label).help(&f.help))
            .collect();
        let is_main = self.main.as_deref() == Some(program);
        for (name, value) in &self.params {
            let Some(at) = self.places.get(name) else { continue };
            if declared.contains(name) {
                found.extend(wrong(name, value).map(|mut d| {
                    d.primary = diag::Label { span: span(at), text: "set here".to_owned() };
                    d
                }));
            } else if is_main {
                let help = match diag::suggest(name, declared.iter().map(String::as_str)) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "set what the main program declares as `param`".to_owned(),
                };
                let title = format!("the project's main program has no param `{name}`");
                found.push(Diagnostic::error(Code::E0421, span(at), title, "no such param").help(help));
            }
        }
        found
    }
}

/// A path as messages show it: from the working directory, if it lies there.
fn shown(path: &Path) -> PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).map_or_else(|_| path.to_owned(), Path::to_owned)
}
