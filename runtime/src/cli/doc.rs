//! `evo doc`: what a declaration is and does, in the terminal or as a site of pages in one file.

use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};
use evo_lang::diag::{self, Code};
use evo_lang::hir::{GlobalKind, Program as Tree};
use evo_lang::ide::{self, Doc};
use evo_lang::library::Library;
use evo_lang::span::SourceMap;

use super::{Stop, screen};
use crate::engine::{Engine, Failure};
use crate::files;
use crate::http::without_keys;
use crate::render::site::{self, Family};
use crate::run::execute;

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  evo doc slerp                              a function: how it is called, what it does, examples
  evo doc Search                             a type and its fields
  evo doc                                    all names, by family
  evo doc blend --file my.evo                a declaration of a program of yours
  evo doc --open                             the whole reference in the browser
  evo doc --out docs --file my.evo           the same as docs/index.html, your program's declarations in it")]
pub(super) struct DocArgs {
    /// The name of a function, kind or type; of a used program's as `program.name`
    name: Option<String>,
    /// A program whose declarations count too
    #[arg(long, value_name = "PROGRAM", value_hint = ValueHint::FilePath)]
    file: Option<PathBuf>,
    /// Write the reference as one page of HTML into this directory
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, conflicts_with = "name")]
    out: Option<PathBuf>,
    /// Open the reference in the browser
    #[arg(long, conflicts_with = "name")]
    open: bool,
    /// Print JSON instead of text
    #[arg(long, conflicts_with_all = ["out", "open"])]
    json: bool,
}

/// Shows documentation.
pub(super) fn doc(args: &DocArgs) -> Result<u8, Stop> {
    let in_form = |failure| Stop::Failure(failure, args.json);
    let library = execute::library().map_err(in_form)?;
    let library = library.declarations();
    let program = args.file.as_deref().map(read).transpose().map_err(in_form)?;
    let program = program.as_ref();
    if args.out.is_some() || args.open {
        return write(args, &families(library, program)).map_err(Stop::from);
    }
    let Some(name) = &args.name else {
        return list(&families(library, program), args.json);
    };
    let docs = ide::document(library, program, name);
    if docs.is_empty() {
        return Err(in_form(unknown(&families(library, program), name)));
    }
    if args.json {
        screen::json(&docs.iter().map(object).collect::<Vec<_>>())?;
    } else {
        screen::result(&docs.iter().map(text).collect::<Vec<_>>().join("\n\n"))?;
    }
    Ok(0)
}

/// A program with the texts that its places point into; what is wrong with it does not keep it from being documented.
fn read(file: &Path) -> Result<(Tree, SourceMap), Failure> {
    let program = Engine::new().load(file)?;
    Ok((Tree::clone(program.checked.tree()), SourceMap::clone(program.sources())))
}

/// A declaration with all that is known of its parameters.
fn text(doc: &Doc) -> String {
    let head = match (&*doc.family, &*doc.word) {
        ("", word) => format!("{word} {}", doc.name),
        (family, word) => format!("{word} {}, of the family {family}", doc.name),
    };
    format!("{}\n{}", screen::dim_result(&head), doc.plain())
}

fn object(doc: &Doc) -> serde_json::Value {
    let params = doc.params.iter().map(|p| {
        let range = p.range.map(|(lo, hi)| [lo, hi]);
        serde_json::json!({ "name": &*p.name, "type": p.ty, "needed": p.needed, "range": range, "text": &*p.text })
    });
    serde_json::json!({
        "name": &*doc.name, "word": &*doc.word, "family": &*doc.family, "signature": doc.signature,
        "text": &*doc.text, "params": params.collect::<Vec<_>>(), "remarks": doc.remarks,
        "examples": doc.examples.iter().map(|e| e.to_string()).collect::<Vec<_>>(),
    })
}

/// All documented declarations: the program's and those of the programs it uses, then the library's by family.
fn families(library: &Library, program: Option<&(Tree, SourceMap)>) -> Vec<Family> {
    let mut all = Vec::new();
    if let Some((tree, _)) = program {
        for (i, module) in tree.modules.iter().enumerate().skip(1) {
            let prefix = if i == tree.entry.0 as usize { Some(String::new()) } else { prefix(tree, i) };
            let Some(prefix) = prefix else { continue };
            let names = module.globals.iter().filter(|g| !matches!(g.kind, GlobalKind::Use(_) | GlobalKind::Error));
            let docs = names.flat_map(|g| ide::document(library, program, &format!("{prefix}{}", g.name)));
            all.push(Family::new(&module.name, docs.collect()));
        }
    }
    let mut names: Vec<(&str, &str)> = library.externs().map(|e| (&*e.family, &*e.name)).collect();
    names.extend(library.kinds().map(|k| (&*k.family, &*k.name)));
    names.extend(library.types().map(|t| (&*t.family, &*t.name)));
    names.extend(library.module().globals.iter().map(|g| ("", &*g.name)));
    let mut seen = std::collections::BTreeSet::new();
    let docs: Vec<Doc> = names
        .iter()
        .filter(|(_, name)| seen.insert(*name))
        .flat_map(|(_, name)| ide::document(library, None, name))
        .collect();
    let mut by_family: std::collections::BTreeMap<String, Vec<Doc>> = std::collections::BTreeMap::new();
    for doc in docs {
        by_family.entry(doc.family.to_string()).or_default().push(doc);
    }
    all.extend(by_family.into_iter().map(|(family, docs)| Family::new(&family, docs)));
    all
}

/// How the entry program names what a used one declares.
fn prefix(tree: &Tree, module: usize) -> Option<String> {
    let entry = tree.modules.get(tree.entry.0 as usize)?;
    let used = entry.globals.iter().find(|g| matches!(g.kind, GlobalKind::Use(used) if used.0 as usize == module))?;
    Some(format!("{}.", used.name))
}

fn list(families: &[Family], json: bool) -> Result<u8, Stop> {
    if json {
        let docs: Vec<_> = families.iter().flat_map(|family| family.docs.iter().map(object)).collect();
        screen::json(&docs)?;
        return Ok(0);
    }
    let width = families.iter().map(|family| family.name.chars().count()).max().unwrap_or(0);
    let line = |family: &Family| {
        let mut names: Vec<&str> = family.docs.iter().map(|doc| &*doc.name).collect();
        names.dedup();
        format!("{:width$}  {}", family.name, names.join(" "))
    };
    screen::result(&families.iter().map(line).collect::<Vec<_>>().join("\n"))?;
    Ok(0)
}

fn unknown(families: &[Family], name: &str) -> Failure {
    let names = || families.iter().flat_map(|family| family.docs.iter().map(|doc| &*doc.name));
    let named: Vec<&str> = names().filter(|other| other.eq_ignore_ascii_case(name) || other.contains(name)).collect();
    let help = match (diag::suggest(name, names()), named.as_slice()) {
        (Some(near), _) => format!("did you mean `{near}`?"),
        (None, [_, ..]) if name.len() > 2 => {
            format!(
                "did you mean one of {}?",
                named.iter().take(5).map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ")
            )
        }
        _ => "`evo doc` lists all names; `--file PROGRAM` adds those of a program".to_owned(),
    };
    Failure::placeless(2, Code::E0135, format!("nothing is called `{name}`"), help)
}

/// Writes the reference; says where, and opens it if asked to.
fn write(args: &DocArgs, families: &[Family]) -> Result<u8, Failure> {
    let folder = args.out.clone().unwrap_or_else(|| PathBuf::from(".evo/doc"));
    let failed = |e: std::io::Error| Failure::from(crate::DiskError::from_io(&folder, &e));
    std::fs::create_dir_all(&folder).map_err(failed)?;
    let path = folder.join("index.html");
    files::write_whole(&path, site::page(families).as_bytes()).map_err(failed)?;
    screen::note(&format!("the reference is in {}", path.display()));
    if args.open && !opened(&path) {
        screen::note("no browser could be started: open that file in one");
    }
    Ok(0)
}

/// Hands a file to the desktop.
fn opened(path: &Path) -> bool {
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let quiet = std::process::Stdio::null;
    let mut command = std::process::Command::new(program);
    let command = without_keys(&mut command).arg(path).stdin(quiet()).stdout(quiet()).stderr(quiet());
    command.status().is_ok_and(|status| status.success())
}
