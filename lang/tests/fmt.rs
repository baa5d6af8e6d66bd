//! The formatter: `tests/golden/fmt/NAME.before.evo` becomes `NAME.after.evo` (`EVO_BLESS=1` writes it), and every program of
//! the repository is formatted. Its laws are in `fuzz`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test reads files and fails loudly"
)]

use std::path::{Path, PathBuf};

use evo_lang::fmt::{Unformatted, format};
use evo_lang::span::FileId;

fn of(text: &str) -> String {
    format(text, FileId(0)).unwrap()
}

fn files(folder: &str, end: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder);
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.to_string_lossy().ends_with(end));
    found.sort();
    assert!(!found.is_empty());
    found
}

#[test]
fn before_becomes_after() {
    for before in files("tests/golden/fmt", ".before.evo") {
        let after = PathBuf::from(before.to_string_lossy().replace(".before.", ".after."));
        let new = of(&std::fs::read_to_string(&before).unwrap());
        if std::env::var_os("EVO_BLESS").is_some() {
            std::fs::write(&after, &new).unwrap();
        }
        assert_eq!(new, std::fs::read_to_string(&after).unwrap(), "{}", before.display());
        assert_eq!(of(&new), new, "{}", after.display());
    }
}

#[test]
fn line_ends_stay_what_they_are() {
    assert_eq!(of("let a=1\r\n\r\n\r\nlet b = 2 // c\r\n"), "let a = 1\r\n\r\nlet b = 2 // c\r\n");
    assert_eq!(
        of("let t = \"\"\"\r\na\r\n\"\"\"\r\n"),
        "let t = \"\"\"\r\na\r\n\"\"\"\r\n",
        "a text's own are its value"
    );
    assert_eq!(of("let t = \"\"\"\na\r\nb\"\"\"\r\nlet a=1"), "let t = \"\"\"\na\r\nb\"\"\"\nlet a = 1\n");
    assert_eq!(of(""), "");
    assert_eq!(of("\n\n// only this \n\n"), "// only this\n");
}

#[test]
fn what_does_not_parse_is_left_alone() {
    let Err(Unformatted::Syntax(found)) = format("let a = (1\nlet b  =  2\n", FileId(0)) else { panic!("formatted") };
    assert_eq!(found[0].code.as_str(), "E0108");
}

#[test]
fn what_touches_and_what_begins_a_line_keeps_its_meaning() {
    // A block of a call stands on its callee's line; so the body of a declaration with a range must not.
    assert_eq!(of("genome G in a\n{ x: 1 }"), "genome G in a\n{ x: 1 }\n");
    assert_eq!(of("fn f(x: real) -> real { let a = x\n -x }"), "fn f(x: real) -> real {\n  let a = x\n  -x\n}\n");
    assert_eq!(of("fn f(x: real) -> real { let a = x -1\n a }"), "fn f(x: real) -> real {\n  let a = x - 1\n  a\n}\n");
    assert_eq!(of("fn f(x: real) -> real { let a = x\n (x) }"), "fn f(x: real) -> real {\n  let a = x\n  (x)\n}\n");
    assert_eq!(of("fn f(x: real) -> R { let a = x\n { b: a } }"), "fn f(x: real) -> R {\n  let a = x\n  { b: a }\n}\n");
    assert_eq!(of("let a = - - x--y"), "let a = --x - -y\n");
    assert_eq!(of("type A<G>=B<C<G>>"), "type A<G> = B<C<G>>\n");
}

#[test]
fn long_lines_break_at_their_outermost_bracket() {
    let names: Vec<String> = (0..12).map(|i| format!("a_long_name_{i}")).collect();
    let list = of(&format!("let a = f([{}])", names.join(",")));
    assert!(list.starts_with("let a = f([\n  a_long_name_0, a_long_name_1"), "{list}");
    assert!(list.ends_with("\n])\n") && list.lines().all(|l| l.len() <= 120), "{list}");
    let fields: Vec<String> = names.iter().map(|n| format!("{n}: 1")).collect();
    let record = of(&format!("let a = g {{ {} }}", fields.join(" ")));
    assert_eq!(record.lines().count(), 14, "{record}");
    let sum = of(&format!("let a = {}", names.join(" + ")));
    assert!(sum.starts_with("let a = a_long_name_0\n  + a_long_name_1\n  + "), "{sum}");
}
