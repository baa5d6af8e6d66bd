//! The command line as a user meets it: exit codes, streams, help that helps.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use evo::store::{Key, Store};

fn evo_in(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_evo"))
        .args(args)
        .current_dir(folder)
        .env_remove("RUST_BACKTRACE")
        .output()
        .unwrap()
}

fn evo(args: &[&str]) -> Output {
    evo_in(Path::new("."), args)
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

#[test]
fn explain_prints_pages_and_suggests() {
    let page = evo(&["explain", "e0201"]);
    assert_eq!(code(&page), 0);
    assert!(out(&page).starts_with("# E0201: "));
    let list = out(&evo(&["explain"]));
    assert!(list.lines().any(|line| line.starts_with("R0541: ")), "{list}");
    let json: serde_json::Value = serde_json::from_str(&out(&evo(&["explain", "R0541", "--json"]))).unwrap();
    assert_eq!(json["code"], "R0541");
    let unknown = evo(&["explain", "E02O1"]);
    assert_eq!((code(&unknown), out(&unknown).as_str()), (2, ""));
    assert!(err(&unknown).contains("did you mean `E0201`?"), "{}", err(&unknown));
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let script = out(&evo(&["completions", shell]));
        assert!(script.contains("resume") && script.contains("clean"), "{shell}");
    }
}

#[test]
fn a_wrong_command_line_is_exit_code_2_and_says_what_is_right() {
    for args in [
        &["run"][..],
        &["run", "a.evo", "--set", "a"],
        &["run", "a.evo", "--jobs", "0"],
        &["clean", "--max", "5 ells"],
        &["no"],
    ] {
        let output = evo(args);
        assert_eq!((code(&output), out(&output).as_str()), (2, ""), "{args:?}");
        assert!(err(&output).starts_with("error: ") && err(&output).contains("--help"), "{}", err(&output));
    }
}

#[test]
fn a_missing_or_unreadable_program_is_told_before_anything_else() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("quickstart.evo"), "print 1\n").unwrap();
    fs::write(folder.path().join("latin.evo"), b"let a = \"\xe9\"").unwrap();
    for command in ["run", "check", "plan"] {
        let output = evo_in(folder.path(), &[command, "quikstart.evo"]);
        assert_eq!(code(&output), 2, "{command}");
        assert!(err(&output).contains("error[E0130]: there is no file `quikstart.evo`"), "{}", err(&output));
        assert!(err(&output).contains("help: did you mean `quickstart.evo`?"), "{}", err(&output));
        let output = evo_in(folder.path(), &[command, "latin.evo"]);
        assert!(err(&output).contains("not UTF-8 text (byte 9)"), "{}", err(&output));
        assert_eq!(code(&evo_in(folder.path(), &[command, "."])), 2);
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing was made");
}

#[test]
fn syntax_errors_have_a_place_in_text_and_in_json() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.evo"), "let a = 7 % 2\n").unwrap();
    let output = evo_in(folder.path(), &["check", "a.evo"]);
    assert_eq!((code(&output), out(&output).as_str()), (2, ""));
    assert!(err(&output).contains("a.evo:1:11") && err(&output).contains("error[E0103]"), "{}", err(&output));
    assert!(!err(&output).contains('\u{1b}'), "no colours into a pipe");
    let colored = evo_in(folder.path(), &["check", "a.evo", "--color", "always"]);
    assert!(err(&colored).contains('\u{1b}'));
    for command in ["check", "run", "plan"] {
        let output = evo_in(folder.path(), &[command, "a.evo", "--json"]);
        assert_eq!(code(&output), 2, "{command}");
        let first: serde_json::Value = serde_json::from_str(out(&output).lines().next().unwrap()).unwrap();
        assert_eq!((&first["event"], &first["code"]), (&"diagnostic".into(), &"E0103".into()));
        assert_eq!((&first["line"], &first["column"]), (&1.into(), &11.into()));
    }
}

#[test]
fn clean_shows_and_bounds_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let empty = evo_in(folder.path(), &["clean"]);
    assert_eq!(code(&empty), 0);
    assert!(out(&empty).contains("store  ./.evo/store: 0 B in 0 entries"), "{}", out(&empty));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "looking makes nothing");
    let store = Store::open(&folder.path().join(".evo/store")).unwrap();
    for n in 0..10_u8 {
        store.put(&Key::of("test", &[&[n]]), &vec![n; 100_000]).unwrap();
    }
    let busy = evo_in(folder.path(), &["clean", "--all"]);
    assert_eq!(code(&busy), 3);
    assert!(err(&busy).contains("a run is using the store"), "{}", err(&busy));
    drop(store);
    assert!(out(&evo_in(folder.path(), &["clean"])).contains("1.0 MB in 10 entries\n"));
    let look = out(&evo_in(folder.path(), &["clean", "--max", "500kB", "--dry-run"]));
    assert!(look.contains("would remove 500 kB in 5 entries"), "{look}");
    let json = out(&evo_in(folder.path(), &["clean", "--max", "500kB", "--json"]));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["store"]["removed_bytes"], 500_000);
    let all = out(&evo_in(folder.path(), &["clean", "--all"]));
    assert!(all.contains("removed 500 kB in 5 entries"), "{all}");
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_evo"))
        .args(["explain"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((code(&output), err(&output).as_str()), (0, ""));
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_evo")).arg("explain").stdout(full).output().unwrap();
    assert_eq!(code(&output), 3);
    assert!(err(&output).contains("cannot be written"), "{}", err(&output));
}

#[test]
fn logits_says_what_is_wrong_and_prints_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("empty")).unwrap();
    fs::write(folder.path().join("not.gguf"), b"GGUX").unwrap();
    for args in [
        &["no-such-model", "--tokens", "1"][..],
        &["empty", "--text", "a"],
        &["not.gguf", "--tokens", "1,2"],
        &["empty"],
    ] {
        let output = evo_in(folder.path(), &[&["logits"], args].concat());
        assert_eq!((code(&output), out(&output).as_str()), (2, ""), "{args:?}");
        assert!(err(&output).starts_with("error: "), "{}", err(&output));
    }
}
