//! The book and the README: their pages are current and complete, and their code keeps what its info string promises.

use evo::engine::Settings;
use evo_tests::book::{PAGES, generated};
use evo_tests::fences::{Fence, Promise, fences};
use evo_tests::house::{House, Stage};
use evo_tests::{files, root, text};
use libtest_mimic::{Arguments, Failed, Trial};
use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Arc;

fn main() -> ExitCode {
    // Workers are started from the executable that runs: here, from this one.
    if std::env::args().nth(1).as_deref() == Some("worker") {
        return evo::cli::main();
    }
    let arguments = Arguments::from_args();
    let house = Arc::new(House::new());
    let mut trials: Vec<Trial> = match generated() {
        Ok(pages) => pages.into_iter().map(current).collect(),
        Err(problem) => vec![Trial::test("the library's declarations", || Err(problem.into()))],
    };
    trials.push(Trial::test("summary lists every page", || summary_is_complete().map_err(Failed::from)));
    for page in files().into_iter().filter(|path| is_page(path)) {
        let markdown = text(&page).unwrap_or_default();
        match fences(&page, &markdown) {
            Ok(found) => trials.extend(found.into_iter().map(|fence| kept(house.clone(), fence))),
            Err(problem) => trials.push(Trial::test(page, move || Err(problem.into()))),
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn is_page(path: &str) -> bool {
    path == "README.md" || (path.starts_with(PAGES) && path.ends_with(".md"))
}

/// Compares a generated page with the committed one; `EVO_BLESS=1` writes it.
fn current((page, wanted): (String, String)) -> Trial {
    Trial::test(format!("current {page}"), move || {
        let path = format!("{PAGES}{page}");
        let committed = text(&path).unwrap_or_default();
        if committed == wanted {
            return Ok(());
        }
        if std::env::var_os("EVO_BLESS").is_some() {
            let target = root().join(&path);
            std::fs::create_dir_all(target.parent().ok_or("a page lies in a folder")?)?;
            return Ok(std::fs::write(target, wanted)?);
        }
        let line = committed.lines().zip(wanted.lines()).take_while(|(a, b)| a == b).count() + 1;
        Err(format!("{path} differs from what the code writes, from line {line}: run `just bless`").into())
    })
}

/// Every page is in the summary, and every page of the summary exists and says something.
fn summary_is_complete() -> Result<(), String> {
    let summary = text(&format!("{PAGES}SUMMARY.md")).unwrap_or_default();
    let links = summary.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let listed: BTreeSet<String> = links.map(|link| format!("{PAGES}{link}")).collect();
    let present: BTreeSet<String> =
        files().into_iter().filter(|path| is_page(path) && path.starts_with(PAGES)).collect();
    let unlisted = present.iter().filter(|page| !listed.contains(*page) && !page.ends_with("SUMMARY.md"));
    let missing = listed.iter().filter(|page| text(page).unwrap_or_default().trim().lines().count() < 3);
    let wrong: Vec<String> = unlisted
        .map(|page| format!("{page} is not in the summary"))
        .chain(missing.map(|page| format!("{page} is in the summary and has no content")))
        .collect();
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

/// The trial that holds a fence to its promise.
fn kept(house: Arc<House>, fence: Fence) -> Trial {
    Trial::test(format!("{fence}"), move || {
        keep(&house, &fence).map_err(|problem| format!("{fence}: {problem}").into())
    })
}

fn keep(house: &House, fence: &Fence) -> Result<(), String> {
    // Programs in pages name the models that lie beside the programs of the repository.
    let take = |stage| house.take("programs/page.evo", &fence.code, stage, Settings::new());
    match &fence.promise {
        Promise::Works(stage) => same(
            &take(*stage).fine()?.join(
                "
",
            ),
            fence.prints.as_deref(),
        ),
        Promise::Fails(code, stage) => {
            let codes = take(*stage).codes;
            if codes.contains(code) { Ok(()) } else { Err(format!("raises {codes:?}, not {code}")) }
        }
        Promise::From(program) => {
            let source = text(&format!("programs/{program}")).ok_or(format!("programs/{program} does not exist"))?;
            if source.contains(fence.code.trim_end()) {
                Ok(())
            } else {
                Err(format!("these lines are not in {program}"))
            }
        }
        Promise::Signature | Promise::Fault => parses(&fence.code),
        Promise::Example => fence.code.lines().try_for_each(|line| example(house, line)),
    }
}

/// Holds `expression   // value` (or `// ~ value`, for a rounded one) to its value: both print alike, with four digits that count.
fn example(house: &House, line: &str) -> Result<(), String> {
    let (expression, value) = line.rsplit_once("//").ok_or(format!("`{line}` does not say what it gives"))?;
    let value = value.trim().trim_start_matches('~').trim();
    let program = format!("print {expression}\nprint {value}\n");
    let printed = house.take("programs/example.evo", &program, Stage::Run, Settings::new()).fine()?;
    match &printed[..] {
        [given, promised] if alike(given, promised) => Ok(()),
        [given, _] => Err(format!("`{}` gives {given}, not {value}", expression.trim())),
        _ => Err(format!("`{line}` prints {} times", printed.len())),
    }
}

/// Equal as texts, or as numbers: a real prints as `1.000` where its value is written `1`.
fn alike(given: &str, promised: &str) -> bool {
    let numbers = given.parse::<f64>().ok().zip(promised.parse::<f64>().ok());
    given == promised || numbers.is_some_and(|(given, promised)| given == promised)
}

/// Compares what a program printed with what its page says.
fn same(printed: &str, promised: Option<&str>) -> Result<(), String> {
    match promised {
        Some(promised) if promised.trim_end() != printed.trim_end() => Err(format!("prints\n{printed}")),
        _ => Ok(()),
    }
}

fn parses(code: &str) -> Result<(), String> {
    let (_, diagnostics) = evo_lang::syntax::parse(code, evo_lang::span::FileId(0));
    match diagnostics.first() {
        None => Ok(()),
        Some(first) => Err(format!("{}: {}", first.code, first.title)),
    }
}
