//! `evo new`: a project to begin with, from a template.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};
use evo_lang::diag::{self, Code};

use super::{Stop, run, screen};
use crate::engine::Failure;
use crate::files;

include!(concat!(env!("OUT_DIR"), "/templates.rs"));

/// A project's files: path and content, in which `{{name}}` stands for the project's name.
struct Template {
    name: &'static str,
    files: &'static [(&'static str, &'static str)],
}

#[derive(Args, Debug)]
#[command(after_help = "\
A template is a folder with a program that checks and runs at once, with nothing to fetch.

Examples:
  evo new my-merge                           the template `merge`
  evo new my-merge --template merge
  evo new --list                             what templates there are")]
pub(super) struct NewArgs {
    /// The project's name, and the folder that is made; `path/to/NAME` makes it there
    #[arg(required_unless_present = "list", value_hint = ValueHint::DirPath)]
    name: Option<PathBuf>,
    /// The template to begin with
    #[arg(long, value_name = "TEMPLATE", default_value = "merge")]
    template: String,
    /// List the templates
    #[arg(long)]
    list: bool,
}

/// Makes a project, whole or not at all.
pub(super) fn new(args: &NewArgs) -> Result<u8, Stop> {
    let Some(folder) = args.name.as_ref().filter(|_| !args.list) else {
        let width = TEMPLATES.iter().map(|template| template.name.len()).max().unwrap_or(0);
        let line = |template: &Template| format!("{:width$}  {}", template.name, template.purpose());
        screen::result(&TEMPLATES.iter().map(line).collect::<Vec<_>>().join("\n"))?;
        return Ok(0);
    };
    let template =
        TEMPLATES.iter().find(|template| template.name == args.template).ok_or_else(|| unknown(&args.template))?;
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if !is_name(&name) {
        let title = format!("`{name}` is no name of a project");
        return Err(refused(title, "begin with a letter, go on with letters, digits, `-` and `_`, at most 64").into());
    }
    if is_taken(folder) {
        let title = format!("`{}` is there already, and is not empty", folder.display());
        return Err(refused(title, "choose another name, or empty the folder").into());
    }
    make(template, folder, &name).map_err(|e| Failure::from(crate::DiskError::from_io(folder, &e)))?;
    let shown = run::quoted(&folder.display().to_string());
    screen::result(&format!(
        "made {shown} from the template `{}`\n\n  cd {shown}\n  evo run main.evo --tiny",
        template.name
    ))?;
    Ok(0)
}

impl Template {
    /// What it is for: the first line of its README below the title.
    fn purpose(&self) -> &'static str {
        let readme = self.files.iter().find(|(path, _)| *path == "README.md").map_or("", |(_, text)| text);
        readme.lines().skip(1).find(|line| !line.trim().is_empty()).unwrap_or_default()
    }
}

fn refused(title: String, help: &str) -> Failure {
    Failure::placeless(2, Code::E0136, title, help)
}

fn unknown(name: &str) -> Failure {
    let names: Vec<&str> = TEMPLATES.iter().map(|template| template.name).collect();
    let listed = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let help =
        diag::suggest(name, names).map_or(format!("there are {listed}"), |near| format!("did you mean `{near}`?"));
    Failure::placeless(2, Code::E0135, format!("there is no template `{name}`"), help)
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.len() <= 64
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
}

fn is_taken(folder: &Path) -> bool {
    match fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

/// Writes the project aside and moves it to its place.
fn make(template: &Template, folder: &Path, name: &str) -> io::Result<()> {
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(parent)?;
    let aside = files::aside(parent, name);
    let written = write(template, &aside, name).and_then(|()| {
        if folder.is_dir() {
            fs::remove_dir(folder)?; // it is empty, or this fails
        }
        fs::rename(&aside, folder)
    });
    if written.is_err() {
        let _ = files::remove(&aside); // the first error is the one to report
    }
    written
}

fn write(template: &Template, folder: &Path, name: &str) -> io::Result<()> {
    for (path, text) in template.files {
        let path = folder.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, text.replace("{{name}}", name))?;
    }
    files::sync_below(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_words() {
        assert!(["a", "my-merge", "Merge_2"].into_iter().all(is_name));
        let long = "a".repeat(65);
        assert!(!["", "2a", "-a", "a b", "a/b", ".", "..", "é", long.as_str()].into_iter().any(is_name));
    }

    #[test]
    fn every_template_says_what_it_is_for_and_has_a_program() {
        assert!(!TEMPLATES.is_empty());
        for template in TEMPLATES {
            assert!(template.purpose().len() > 20, "{}", template.name);
            for wanted in ["main.evo", "README.md", ".gitignore", "evo.toml"] {
                assert!(template.files.iter().any(|(path, _)| *path == wanted), "{}: {wanted}", template.name);
            }
        }
    }
}
