//! `evo fmt`.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueHint};
use evo_lang::diag::Code;
use evo_lang::fmt::{Unformatted, format};
use evo_lang::span::SourceMap;
use similar::TextDiff;

use super::{Stop, screen};
use crate::engine::Failure;
use crate::files::write_whole;

#[derive(Args, Debug)]
#[command(after_help = "\
There is one style, and there are no settings: two columns a level, lines of at most 120 columns of
code, commas only between fields of one line. Comments, blank lines and what you aligned stay.

Examples:
  evo fmt quickstart.evo
  evo fmt .                       every `.evo` file below this folder
  evo fmt --check .               change nothing; show what would change
  evo fmt --stdin < old.evo       to stdout, for editors

Exit code: 0, 1 if `--check` finds a file that is not formatted, 2 if a file does not parse.")]
pub(super) struct FmtArgs {
    /// Programs, or folders with programs
    #[arg(required_unless_present = "stdin", value_hint = ValueHint::AnyPath)]
    files: Vec<PathBuf>,
    /// Write nothing: print what would change
    #[arg(long)]
    check: bool,
    /// Format what stands on stdin, to stdout
    #[arg(long, conflicts_with = "files")]
    stdin: bool,
    /// What messages call the text on stdin
    #[arg(long, value_name = "PATH", requires = "stdin", default_value = "<stdin>", value_hint = ValueHint::FilePath)]
    stdin_path: String,
}

/// What became of the files.
#[derive(Default)]
struct Count {
    changed: usize,
    same: usize,
    code: u8,
}

/// Formats programs, or says which are not formatted.
pub(super) fn fmt(args: &FmtArgs) -> Result<u8, Stop> {
    let mut count = Count::default();
    if args.stdin {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes)?;
        let done = text_of(bytes, &args.stdin_path).and_then(|text| {
            let new = formatted(&text, &args.stdin_path)?;
            Ok((text, new))
        });
        match done {
            Ok((text, new)) if args.check => count.compare(&text, &new, &args.stdin_path)?,
            Ok((_, new)) => screen::exactly(&new)?,
            Err(failure) => count.failed(&failure)?,
        }
        return Ok(count.code);
    }
    for file in programs(&args.files, &mut count)? {
        match one(&file, args.check, &mut count) {
            Err(Stop::Failure(failure, _)) => count.failed(&failure)?,
            other => other?,
        }
    }
    let would = if args.check { "to be formatted" } else { "formatted" };
    screen::note(&format!("{} {would}, {} as they should be", count.changed, count.same));
    Ok(count.code)
}

fn one(file: &Path, check: bool, count: &mut Count) -> Result<(), Stop> {
    let shown = file.display().to_string();
    let text = text_of(fs::read(file).map_err(|error| unreadable(&shown, &error))?, &shown)?;
    let new = formatted(&text, &shown)?;
    if check {
        return count.compare(&text, &new, &shown);
    }
    if new == text {
        count.same += 1;
        return Ok(());
    }
    // A link stays a link, and a file keeps who may read it.
    let target = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let permissions = fs::metadata(&target).map(|found| found.permissions());
    write_whole(&target, new.as_bytes())
        .and_then(|()| permissions.map_or(Ok(()), |permissions| fs::set_permissions(&target, permissions)))
        .map_err(|error| {
            let title = format!("`{shown}` cannot be written: {error}");
            Failure::placeless(3, Code::R0542, title, "check the folder's permissions and free space")
        })?;
    count.changed += 1;
    Ok(())
}

impl Count {
    fn compare(&mut self, text: &str, new: &str, shown: &str) -> Result<(), Stop> {
        if text == new {
            self.same += 1;
            return Ok(());
        }
        self.changed += 1;
        self.code = self.code.max(1);
        let diff = TextDiff::from_lines(text, new);
        let (old_name, new_name) = (shown, format!("{shown} (formatted)"));
        screen::exactly(&diff.unified_diff().context_radius(3).header(old_name, &new_name).to_string())?;
        Ok(())
    }

    fn failed(&mut self, failure: &Failure) -> Result<(), Stop> {
        self.code = self.code.max(failure.exit_code);
        Ok(screen::failure(failure, false)?)
    }
}

fn formatted(text: &str, shown: &str) -> Result<String, Failure> {
    let mut sources = SourceMap::new();
    let file = sources.add(shown, text);
    format(text, file).map_err(|why| match why {
        Unformatted::Syntax(found) => Failure::program(found, Arc::new(sources)),
        Unformatted::Changed => {
            let title = format!("`{shown}` would mean something else when formatted, and is left as it is");
            Failure::placeless(3, Code::R0546, title, "please report it with the program")
        }
    })
}

fn text_of(bytes: Vec<u8>, shown: &str) -> Result<String, Failure> {
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Failure::placeless(2, Code::E0130, format!("`{shown}` is not UTF-8 text (byte {at})"), "save the file as UTF-8")
    })
}

fn unreadable(shown: &str, error: &io::Error) -> Failure {
    let help = "name a program, or a folder with programs";
    Failure::placeless(2, Code::E0130, format!("`{shown}` cannot be read: {error}"), help)
}

/// The programs that are named, and those in folders that are named, in the order of their paths. Hidden folders are
/// passed over, and so are links to folders.
fn programs(named: &[PathBuf], count: &mut Count) -> Result<Vec<PathBuf>, Stop> {
    let mut found = Vec::new();
    for path in named {
        if !path.is_dir() {
            found.push(path.clone());
            continue;
        }
        let mut folders = vec![path.clone()];
        while let Some(folder) = folders.pop() {
            let entries = match fs::read_dir(&folder) {
                Ok(entries) => entries,
                Err(error) => {
                    count.failed(&unreadable(&folder.display().to_string(), &error))?;
                    continue;
                }
            };
            for entry in entries.flatten() {
                let (name, kind) = (entry.file_name(), entry.file_type());
                let hidden = name.to_string_lossy().starts_with('.');
                match kind {
                    Ok(kind) if kind.is_dir() && !hidden => folders.push(entry.path()),
                    Ok(kind) if kind.is_file() && !hidden && entry.path().extension().is_some_and(|e| e == "evo") => {
                        found.push(entry.path());
                    }
                    _ => {}
                }
            }
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}
