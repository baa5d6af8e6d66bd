//! The `.evo` code in Markdown pages: every fence that begins with ` ```evo `, and what its info string says about it.
//!
//! | after `evo` | what the fence holds |
//! |---|---|
//! | `check` | a whole program that checks, the files that it names included |
//! | `run` | a whole program that runs; a ` ```text prints ` fence after it is what it prints |
//! | `tiny` | a whole program that runs with its effort lowered |
//! | `fails=E0201` | a whole program that is refused with that code (`plan`, `run` after it: by which command) |
//! | `fails=R0541 fault` | the same, where it takes more than the one program, as its comment or its `use` says: it parses |
//! | `from=quickstart.evo` | lines that stand in that program of `programs/` |
//! | `signature` | a declaration of the library: it parses |
//! | `example` | expressions, one a line, each with its value after `//` (a rounded one after `// ~`) |

use crate::house::Stage;
use std::fmt;

/// A piece of `.evo` code in a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The page, from the root of the repository.
    pub page: String,
    /// The line of the page on which the code begins, from 1.
    pub line: usize,
    /// What is promised of it.
    pub promise: Promise,
    /// The code.
    pub code: String,
    /// What a following ` ```text prints ` fence says that the program prints.
    pub prints: Option<String>,
}

/// What a fence's info string promises of its code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Promise {
    /// It can be taken as far as this without a complaint.
    Works(Stage),
    /// It is refused with this code at this stage.
    Fails(String, Stage),
    /// It is refused with a code where something else is wrong too, such as a full disk.
    Fault,
    /// It stands in this program.
    From(String),
    /// It parses as items.
    Signature,
    /// Each line's expression has the value that its comment says.
    Example,
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.page, self.line)
    }
}

/// The fences of a page, in order; an info string that is not known is an error that names its line.
///
/// # Errors
/// If an info string is not in the table above, or a fence is not closed.
pub fn fences(page: &str, markdown: &str) -> Result<Vec<Fence>, String> {
    let mut found: Vec<Fence> = Vec::new();
    let mut lines = markdown.lines().enumerate();
    let mut last_was_program = false;
    while let Some((at, line)) = lines.next() {
        let Some(info) = line.trim_start().strip_prefix("```") else {
            continue;
        };
        let indent = line.len() - line.trim_start().len();
        let mut code = String::new();
        loop {
            let (_, line) = lines.next().ok_or_else(|| format!("{page}:{}: a fence that is not closed", at + 1))?;
            if line.trim() == "```" {
                break;
            }
            code.push_str(line.get(indent..).unwrap_or(line.trim_start()));
            code.push('\n');
        }
        let words: Vec<&str> = info.split_whitespace().collect();
        match words[..] {
            ["text", "prints"] if last_was_program => {
                if let Some(fence) = found.last_mut() {
                    fence.prints = Some(code);
                }
            }
            ["text", "prints"] => {
                return Err(format!("{page}:{}: `prints` follows a fence that runs", at + 1));
            }
            ["evo", ..] => {
                let promise =
                    promise(&words[1..]).ok_or_else(|| format!("{page}:{}: `{info}` is not known", at + 1))?;
                found.push(Fence { page: page.to_owned(), line: at + 2, promise, code, prints: None });
            }
            _ => {}
        }
        last_was_program = matches!(words[..], ["evo", "run" | "tiny"]);
    }
    Ok(found)
}

fn promise(words: &[&str]) -> Option<Promise> {
    Some(match words {
        ["check"] => Promise::Works(Stage::Plan),
        ["run"] => Promise::Works(Stage::Run),
        ["tiny"] => Promise::Works(Stage::Tiny),
        ["signature"] => Promise::Signature,
        ["example"] => Promise::Example,
        [word] if word.starts_with("from=") => Promise::From(word.trim_start_matches("from=").to_owned()),
        [word, "fault"] if word.starts_with("fails=") => Promise::Fault,
        [word, stage @ ..] if word.starts_with("fails=") => {
            let stage = match stage {
                [] => Stage::Check,
                ["plan"] => Stage::Plan,
                ["run"] => Stage::Run,
                _ => return None,
            };
            Promise::Fails(word.trim_start_matches("fails=").to_owned(), stage)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fences_are_found_with_their_promises() {
        let page = "a\n```evo run\nprint 1\n```\n```text prints\n1\n```\n- b\n  ```evo fails=E0401 plan\n  x\n    y\n  ```\n```rust\nfn x() {}\n```\n";
        let found = fences("p.md", page).expect("all is known");
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].line, found[0].code.as_str()), (3, "print 1\n"));
        assert_eq!(found[0].prints.as_deref(), Some("1\n"));
        assert_eq!(found[1].promise, Promise::Fails("E0401".to_owned(), Stage::Plan));
        assert_eq!(found[1].code, "x\n  y\n");
    }

    #[test]
    fn unknown_words_and_open_fences_are_errors() {
        assert!(fences("p.md", "```evo rnu\n```\n").is_err());
        assert!(fences("p.md", "```evo\nprint 1\n```\n").is_err());
        assert!(fences("p.md", "```evo run\nprint 1\n").is_err());
        assert!(fences("p.md", "```text prints\n1\n```\n").is_err());
    }
}
