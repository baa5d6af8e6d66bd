//! A loaded program, its params, and what they are set to.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use evo_lang::diag::{self, Code, Diagnostic};
use evo_lang::span::SourceMap;
use indexmap::IndexMap;

use super::{Engine, Failure, Plan};
use crate::datum::Datum;
use crate::project::Project;
use crate::run::{execute, params};

/// What a param is set to.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParamValue {
    /// Text as on the command line: an expression of the language, or, for a `text` param, the text itself.
    Source(String),
    /// A value.
    Data(Datum),
}

impl From<String> for ParamValue {
    fn from(source: String) -> ParamValue {
        ParamValue::Source(source)
    }
}

impl From<Datum> for ParamValue {
    fn from(data: Datum) -> ParamValue {
        ParamValue::Data(data)
    }
}

impl From<i64> for ParamValue {
    fn from(number: i64) -> ParamValue {
        ParamValue::Data(Datum::Int(number))
    }
}

impl From<f64> for ParamValue {
    fn from(number: f64) -> ParamValue {
        ParamValue::Data(Datum::Real(number))
    }
}

/// What a plan depends on besides its program.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// Params by name.
    pub params: IndexMap<String, ParamValue>,
    /// The program's seed; by default the program's own `param seed`, else 0.
    pub seed: Option<i64>,
    /// Lowers effort: library declarations cap their effort parameters, data is cut short, `expect` is only shown.
    pub tiny: bool,
    /// Where models are computed: `cpu`, `amx`, `cuda`, `metal`; by default what the project says, else `amx` where the processor
    /// has it, else `cpu`.
    pub device: Option<String>,
}

impl Settings {
    /// Every default.
    pub fn new() -> Settings {
        Settings::default()
    }

    /// Sets a param.
    pub fn set(mut self, name: impl Into<String>, value: impl Into<ParamValue>) -> Settings {
        self.params.insert(name.into(), value.into());
        self
    }

    /// Sets the seed.
    pub fn seed(mut self, seed: i64) -> Settings {
        self.seed = Some(seed);
        self
    }

    /// Lowers effort.
    pub fn tiny(mut self, tiny: bool) -> Settings {
        self.tiny = tiny;
        self
    }

    /// Says where models are computed.
    pub fn device(mut self, device: impl Into<String>) -> Settings {
        self.device = Some(device.into());
        self
    }
}

/// A param as the program declares it.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Param {
    /// Its name.
    pub name: String,
    /// Its type as written in the language.
    pub ty: String,
    /// The default as written; without one it must be set.
    pub default: Option<String>,
    /// Its documentation.
    pub doc: String,
}

/// A form that a program takes on its way, for `evo check --emit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The syntax tree.
    Ast,
    /// Every declaration with its type.
    Types,
    /// The intermediate representation of numeric code.
    Ir,
    /// Cranelift's input for it.
    Clif,
    /// The graph of nodes.
    Plan,
}

/// A program that was read and checked; without errors it can be planned.
#[derive(Debug)]
pub struct Program {
    pub(crate) engine: Engine,
    pub(crate) name: String,
    pub(crate) file: String,
    pub(crate) text: Arc<str>,
    pub(crate) sources: Arc<SourceMap>,
    pub(crate) checked: execute::Checked,
    diagnostics: Vec<Diagnostic>,
    pub(crate) project: Option<Project>,
}

impl Program {
    pub(super) fn load(engine: &Engine, file: &Path) -> Result<Program, Failure> {
        let shown = file.display().to_string();
        let path = if file.is_absolute() { file.to_owned() } else { engine.host.root.join(file) };
        match fs::read(&path).map(String::from_utf8) {
            Ok(Ok(text)) => Ok(Program::of_text(engine, &shown, &text)),
            Ok(Err(error)) => {
                let at = error.utf8_error().valid_up_to();
                let title = format!("`{shown}` is not UTF-8 text (byte {at})");
                Err(Failure::placeless(2, Code::E0130, title, "save the file as UTF-8"))
            }
            Err(error) => Err(unreadable(&shown, &path, &error)),
        }
    }

    pub(super) fn of_text(engine: &Engine, name: &str, text: &str) -> Program {
        let folder = Path::new(name).parent().unwrap_or(Path::new(""));
        let (project, unreadable) = match Project::of(&engine.host.root, folder) {
            Ok(project) => (project, None),
            Err((file, error)) => (None, Some(no_project(&file, &error))),
        };
        let paths = project.as_ref().map_or(&[][..], |p| &p.paths);
        let (checked, mut sources, mut diagnostics) = execute::check(&engine.host, name, text, paths);
        diagnostics.extend(unreadable.into_iter().flat_map(|failure| failure.diagnostics));
        if let Some(project) = &project {
            let declared: Vec<String> = checked.params().into_iter().map(|param| param.name).collect();
            let wrong = |name: &str, value: &ParamValue| params::wrong(&checked, name, value);
            diagnostics.extend(project.diagnostics(&mut sources, Path::new(name), &declared, &wrong));
        }
        diag::sort(&mut diagnostics);
        let stem = Path::new(name).file_stem().map_or("program".into(), |stem| stem.to_string_lossy().into_owned());
        let (engine, file, text) = (engine.clone(), name.to_owned(), text.into());
        Program { engine, name: stem, file, text, sources: Arc::new(sources), checked, diagnostics, project }
    }

    /// What `evo.toml` says, if there is one.
    pub fn project(&self) -> Option<&Project> {
        self.project.as_ref()
    }

    pub(crate) fn paths(&self) -> &[PathBuf] {
        self.project.as_ref().map_or(&[], |p| &p.paths)
    }

    /// The file's stem.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The texts that were read.
    pub fn sources(&self) -> &Arc<SourceMap> {
        &self.sources
    }

    /// What the text alone shows to be wrong or doubtful, in the order of places. Planning reads headers and first rows
    /// too, and finds more.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// The params in the order of their declarations.
    pub fn params(&self) -> Vec<Param> {
        self.checked.params()
    }

    /// Names of the declarations of a kind, such as `task`, in source order.
    pub fn declared(&self, kind: &str) -> Vec<String> {
        self.checked.declared(kind)
    }

    /// Whether something is wrong with `evo.toml`, which no setting mends.
    fn is_project_wrong(&self) -> bool {
        let in_project = |d: &Diagnostic| {
            let file = self.sources.file(d.primary.span.file);
            file.is_none() || file.zip(self.project.as_ref()).is_some_and(|(file, p)| *file.name == *p.file())
        };
        self.diagnostics.iter().any(|d| d.is_error() && in_project(d))
    }

    /// Settings with what the project says where they say nothing.
    fn settings(&self, settings: &Settings) -> Settings {
        let declared: Vec<String> = self.params().into_iter().map(|param| param.name).collect();
        self.project.as_ref().map_or_else(|| settings.clone(), |project| project.under(settings, &declared))
    }

    /// A dump of a form that does not need a plan; [`Plan::emit`] gives the others.
    pub fn emit(&self, form: Form) -> Option<String> {
        self.checked.emit(form, &self.sources)
    }

    /// Works out what has to be done, and checks it against the files that the program names: model headers, the first
    /// rows of data. Fails with all that is wrong, in the text or in the files.
    pub fn plan(&self, settings: &Settings) -> Result<Plan, Failure> {
        if self.is_project_wrong() {
            return Err(Failure::program(self.diagnostics.clone(), self.sources.clone()));
        }
        let settings = &self.settings(settings);
        let (planned, mut found) = execute::plan(&self.engine.host, self, settings).map_err(|found| {
            let mut found = [found, self.diagnostics.clone()].concat();
            diag::sort(&mut found);
            Failure::program(found, self.sources.clone())
        })?;
        diag::sort(&mut found);
        if diag::has_errors(&found) {
            return Err(Failure::program(found, planned.sources.clone()));
        }
        Ok(Plan::new(self, planned, settings, found))
    }
}

/// Why there is no project, though there is a file of that name.
pub(super) fn no_project(file: &Path, error: &io::Error) -> Failure {
    let title = format!("`{}` cannot be read: {error}", file.display());
    Failure::placeless(2, Code::E0130, title, "mend the file's permissions, or take it away")
}

fn unreadable(shown: &str, path: &Path, error: &io::Error) -> Failure {
    let (title, help) = match error.kind() {
        io::ErrorKind::NotFound => (format!("there is no file `{shown}`"), nearby(path)),
        io::ErrorKind::IsADirectory => (format!("`{shown}` is a directory"), "name the `.evo` file in it".to_owned()),
        _ => (format!("`{shown}` cannot be read: {error}"), "check the file's permissions".to_owned()),
    };
    Failure::placeless(2, Code::E0130, title, help)
}

/// The programs beside a file that is missing.
fn nearby(path: &Path) -> String {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".evo") && name != ".evo") // the store's folder
        .collect();
    names.sort();
    let wanted = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    match diag::suggest(&wanted, names.iter().map(String::as_str)) {
        Some(name) => format!("did you mean `{name}`?"),
        None if names.is_empty() => format!("no `.evo` file is in `{}`", folder.display()),
        None => format!(
            "`{}` has {}",
            folder.display(),
            names.iter().take(6).map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ")
        ),
    }
}
