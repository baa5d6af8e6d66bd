//! `evo man`: manual pages, written from the command line's own grammar.

use std::path::{Path, PathBuf};

use clap::{Args, Command, CommandFactory, ValueHint};
use clap_mangen::Man;
use evo_lang::diag::{self, Code};

use super::args::Cli;
use super::{Stop, screen};
use crate::engine::Failure;
use crate::files;

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  evo man | man -l -                         read the page of evo
  evo man run | man -l -                     read that of a command
  evo man --out ~/.local/share/man/man1      write all pages: then `man evo-run` finds them")]
pub(super) struct ManArgs {
    /// The command; without one, evo's own page
    command: Option<String>,
    /// Write the pages of evo and of all its commands into this directory
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, conflicts_with = "command")]
    out: Option<PathBuf>,
}

/// Prints a page, or writes all.
pub(super) fn man(args: &ManArgs) -> Result<u8, Stop> {
    let mut evo = Cli::command();
    evo.build();
    if let Some(folder) = &args.out {
        return write_all(&evo, folder);
    }
    let page = match &args.command {
        None => page(evo.clone(), "evo"),
        Some(name) => match evo.find_subcommand(name) {
            Some(command) => page(command.clone(), &format!("evo-{name}")),
            None => return Err(unknown(&evo, name).into()),
        },
    };
    screen::result(&String::from_utf8_lossy(&page?))?;
    Ok(0)
}

fn page(command: Command, name: &str) -> std::io::Result<Vec<u8>> {
    let mut page = Vec::new();
    Man::new(command).title(name.to_uppercase()).render(&mut page)?;
    Ok(page)
}

fn write_all(evo: &Command, folder: &Path) -> Result<u8, Stop> {
    let failed = |e: std::io::Error| Failure::from(crate::DiskError::from_io(folder, &e));
    std::fs::create_dir_all(folder).map_err(failed)?;
    let commands = evo.get_subcommands().filter(|command| command.get_name() != "help");
    let named = commands.map(|command| (format!("evo-{}", command.get_name()), command));
    let all: Vec<(String, &Command)> = std::iter::once(("evo".to_owned(), evo)).chain(named).collect();
    for (name, command) in &all {
        let text = page((*command).clone(), name)?;
        files::write_whole(&folder.join(format!("{name}.1")), &text).map_err(failed)?;
    }
    screen::note(&format!("{} pages are in {}", all.len(), folder.display()));
    Ok(0)
}

fn unknown(evo: &Command, name: &str) -> Failure {
    let near = diag::suggest(name, evo.get_subcommands().map(Command::get_name));
    let help = near.map_or("`evo --help` lists the commands".to_owned(), |near| format!("did you mean `{near}`?"));
    Failure::placeless(2, Code::E0135, format!("evo has no command `{name}`"), help)
}
