//! Every program of the repository and every piece of code in its pages is written as `evo fmt` writes it.

use evo_lang::fmt::{Unformatted, format};
use evo_lang::span::FileId;
use evo_tests::fences::{Fence, Promise, fences};
use evo_tests::{files, root, text};

/// Texts that are as they are for a reason: what the formatter is tried with, and programs whose faults are the point.
const LEFT_ALONE: [&str; 3] = ["tests/fuzz/", "tests/golden/errors/", "tests/golden/lang/"];

#[test]
fn programs_are_formatted() {
    let bless = std::env::var_os("EVO_BLESS").is_some();
    let mut wrong = Vec::new();
    let programs = files().into_iter().filter(|path| path.ends_with(".evo") && !path.ends_with(".before.evo"));
    for path in programs.filter(|path| !LEFT_ALONE.iter().any(|folder| path.starts_with(folder))) {
        let old = text(&path).unwrap_or_default();
        match format(&old, FileId(0)) {
            Ok(new) if new == old => {}
            Ok(new) if bless => std::fs::write(root().join(&path), new).expect("the program can be written"),
            Ok(_) => wrong.push(format!("{path}: run `evo fmt {path}`")),
            Err(why) => wrong.push(format!("{path}: {why:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn code_in_pages_is_formatted() {
    let bless = std::env::var_os("EVO_BLESS").is_some();
    let mut wrong = Vec::new();
    for page in files().into_iter().filter(|path| path.ends_with(".md")) {
        let markdown = text(&page).unwrap_or_default();
        // Pages of codes have fences of their own kind, which the book shows as fences of the known kinds.
        let Ok(found) = fences(&page, &markdown) else { continue };
        // Lines of a program are as they are there, whatever stands around them.
        let is_own = |fence: &&Fence| !matches!(fence.promise, Promise::Example | Promise::From(_));
        for fence in found.iter().filter(is_own) {
            match format(&fence.code, FileId(0)) {
                Ok(new) if new.trim_end() == fence.code.trim_end() => {}
                Ok(new) if bless && markdown.contains(&fence.code) => {
                    let page = root().join(&page);
                    let now = std::fs::read_to_string(&page).expect("the page is there");
                    std::fs::write(page, now.replace(&fence.code, &new)).expect("the page can be written");
                }
                Ok(new) => wrong.push(format!("{fence} is not formatted; it should be\n{new}")),
                // A piece of a program, or a fault that is the point.
                Err(Unformatted::Syntax(_)) => {}
                Err(Unformatted::Changed) => wrong.push(format!("{fence} changes its meaning")),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
