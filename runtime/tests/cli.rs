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
    for args in
        [&["run", "a.evo", "--set", "a"][..], &["run", "a.evo", "--jobs", "0"], &["clean", "--max", "5 ells"], &["no"]]
    {
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
    assert!(out(&empty).contains("store  .evo/store: 0 B in 0 entries"), "{}", out(&empty));
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
    for (args, begin) in [
        (&["no-such-model", "--tokens", "1"][..], "error[E0401]: "),
        (&["empty", "--text", "a"], "error[E0401]: "),
        (&["not.gguf", "--tokens", "1,2"], "error[E0402]: "),
        (&["empty"], "error: "),
        (&["empty", "--tokens", "1", "--dtype", "f8"], "error: "),
    ] {
        let output = evo_in(folder.path(), &[&["logits"], args].concat());
        assert_eq!((code(&output), out(&output).as_str()), (2, ""), "{args:?}");
        assert!(err(&output).starts_with(begin) && err(&output).contains("help"), "{}", err(&output));
    }
}

/// A model to ask, made by a program.
const TINY: &str =
    "model m = llama_tiny { layers: 1, width: 8, heads: 1, feed_forward: 8, context: 64 }\nsave m to \"m\"\n";

#[test]
fn logits_of_rounded_weights_are_near_those_of_whole_ones() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("make.evo"), TINY).unwrap();
    assert_eq!(code(&evo_in(folder.path(), &["run", "make.evo"])), 0);
    let last = |dtype: &[&str]| -> Vec<f64> {
        let output = evo_in(folder.path(), &[&["logits", "m", "--tokens", "1,2,3", "--greedy", "2"], dtype].concat());
        let json: serde_json::Value = serde_json::from_str(&out(&output)).unwrap();
        assert_eq!(json["greedy"].as_array().unwrap().len(), 2);
        json["last_logits"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
    };
    let whole = last(&[]);
    assert_eq!(last(&["--dtype", "f32"]), whole);
    let off = |other: &[f64]| whole.iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    let (f16, bf16) = (off(&last(&["--dtype", "f16"])), off(&last(&["--dtype", "bf16"])));
    assert!(0.0 < f16 && f16 < bf16 && bf16 < 0.1, "{f16} {bf16}");
}

#[test]
fn eval_sets_the_params_of_the_tasks_and_finds_files_beside_them() {
    let folder = tempfile::tempdir().unwrap();
    let tasks = "param rows: int\nparam prompt: text = \"{q}\"\ndata d = jsonl(\"d.jsonl\", columns: [\"q\", \"a\"])\n\
                 task t = likelihood { data: d.first(rows), prompt: prompt, expected: \"{a}\" }\n";
    fs::write(folder.path().join("make.evo"), TINY).unwrap();
    fs::create_dir(folder.path().join("sub")).unwrap();
    fs::write(folder.path().join("sub/tasks.evo"), tasks).unwrap();
    fs::write(folder.path().join("sub/d.jsonl"), "{\"q\":\"1+1=\",\"a\":\"2\"}\n{\"q\":\"2+2=\",\"a\":\"4\"}\n")
        .unwrap();
    assert_eq!(code(&evo_in(folder.path(), &["run", "make.evo"])), 0);
    let eval = |args: &[&str]| evo_in(folder.path(), &[&["eval", "m", "sub/tasks.evo"], args].concat());
    let unset = eval(&[]);
    assert_eq!(code(&unset), 2);
    assert!(err(&unset).contains("error[E0333]") && err(&unset).contains("--set rows="), "{}", err(&unset));
    let (one, two) = (eval(&["--set", "rows=1"]), eval(&["--set", "rows=2"]));
    assert_eq!((code(&one), code(&two)), (0, 0), "{} {}", err(&one), err(&two));
    assert_ne!(out(&one), out(&two));
    let other = eval(&["--set", "rows=2", "--set", "prompt=What is {q}"]);
    assert!(code(&other) == 0 && out(&other) != out(&two), "{}", err(&other));
    for (set, expected) in [("row=1", "error[E0421]"), ("rows=many", "error[E0422]")] {
        let output = eval(&["--set", set]);
        assert_eq!(code(&output), 2);
        assert!(err(&output).contains(expected), "{}", err(&output));
    }
}

#[test]
fn fmt_writes_what_changes_and_check_shows_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir_all(path("lib/.hidden")).unwrap();
    fs::write(path("a.evo"), "let a=1 // why\n").unwrap();
    fs::write(path("lib/b.evo"), "let b = 2\n").unwrap();
    fs::write(path("lib/.hidden/c.evo"), "let c=3\n").unwrap();
    let before = fs::metadata(path("lib/b.evo")).unwrap().modified().unwrap();
    let check = evo_in(folder.path(), &["fmt", "--check", "."]);
    assert_eq!(code(&check), 1, "{}", err(&check));
    assert!(out(&check).contains("-let a=1 // why\n+let a = 1 // why\n"), "{}", out(&check));
    assert_eq!(fs::read_to_string(path("a.evo")).unwrap(), "let a=1 // why\n");
    let done = evo_in(folder.path(), &["fmt", "."]);
    assert_eq!((code(&done), err(&done).trim()), (0, "1 formatted, 1 as they should be"));
    assert_eq!(fs::read_to_string(path("a.evo")).unwrap(), "let a = 1 // why\n");
    assert_eq!(fs::read_to_string(path("lib/.hidden/c.evo")).unwrap(), "let c=3\n");
    assert_eq!(fs::metadata(path("lib/b.evo")).unwrap().modified().unwrap(), before, "not written");
    assert_eq!(code(&evo_in(folder.path(), &["fmt", "--check", "a.evo", "lib"])), 0);
}

#[test]
fn fmt_leaves_alone_what_does_not_parse() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("bad.evo"), "let a = (1\n").unwrap();
    fs::write(folder.path().join("good.evo"), "let a=1").unwrap();
    let done = evo_in(folder.path(), &["fmt", "bad.evo", "good.evo", "none.evo"]);
    assert_eq!(code(&done), 2);
    assert!(err(&done).contains("bad.evo:1:9") && err(&done).contains("E0130"), "{}", err(&done));
    assert_eq!(fs::read_to_string(folder.path().join("bad.evo")).unwrap(), "let a = (1\n");
    assert_eq!(fs::read_to_string(folder.path().join("good.evo")).unwrap(), "let a = 1\n");
}

#[test]
fn fmt_formats_stdin() {
    let run = |args: &[&str], text: &str| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_evo"))
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    let done = run(&["fmt", "--stdin"], "let a=1");
    assert_eq!((code(&done), out(&done).as_str(), err(&done).as_str()), (0, "let a = 1\n", ""));
    let bad = run(&["fmt", "--stdin", "--stdin-path", "x/y.evo"], "let a = ");
    assert_eq!((code(&bad), out(&bad).as_str()), (2, ""));
    assert!(err(&bad).contains("x/y.evo:1:"), "{}", err(&bad));
    assert_eq!(code(&run(&["fmt", "--stdin", "--check"], "let a=1")), 1);
}

const SLIPS: &str = "param rate: real = 0.5;\nlet a = 7\nlet half: int = a / 2\nlet unused = 3\nprint hlaf\n";

#[test]
fn check_fixes_what_needs_no_thought() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.evo");
    fs::write(&file, SLIPS).unwrap();
    let dry = evo_in(folder.path(), &["check", "p.evo", "--fix", "--dry-run"]);
    assert_eq!(code(&dry), 2);
    assert!(out(&dry).contains("-print hlaf\n") && out(&dry).contains("+print half\n"), "{}", out(&dry));
    assert_eq!(fs::read_to_string(&file).unwrap(), SLIPS, "nothing is written");
    let fixed = evo_in(folder.path(), &["check", "p.evo", "--fix", "--deny-warnings"]);
    assert_eq!(code(&fixed), 0, "{}", err(&fixed));
    assert!(err(&fixed).contains("fixed[E0201] p.evo:5:7: `hlaf` → `half`"), "{}", err(&fixed));
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(text, "param _rate: real = 0.5\nlet a = 7\nlet half: int = div(a, 2)\nlet _unused = 3\nprint half\n");
    assert_eq!(fs::read_dir(folder.path()).unwrap().filter(|e| e.as_ref().unwrap().path().is_file()).count(), 1);
}

#[test]
fn warnings_are_denied_where_asked_and_accepted_where_meant() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("p.evo"), "let unused = 3\nprint 1\n").unwrap();
    assert_eq!(code(&evo_in(folder.path(), &["check", "p.evo"])), 0);
    let denied = evo_in(folder.path(), &["check", "p.evo", "--deny-warnings"]);
    assert_eq!(code(&denied), 2);
    assert!(err(&denied).contains("warning[E0220]") && err(&denied).contains("1 warning (denied)"), "{}", err(&denied));
    fs::write(folder.path().join("p.evo"), "let unused = 3 // allow E0220: for tomorrow\nprint 1\n").unwrap();
    assert_eq!(code(&evo_in(folder.path(), &["check", "p.evo", "--deny-warnings"])), 0);
}

#[test]
fn diagnostics_as_json_sarif_and_annotations_have_their_forms() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("p.evo"), "let 名 = 1\nlet a = \"名\" + wto\nlet two = 2\nprint a\n").unwrap();
    fs::write(folder.path().join("q.evo"), "print 1\n").unwrap();
    let json = evo_in(folder.path(), &["check", "p.evo", "--json"]);
    for line in out(&json).lines() {
        let d: serde_json::Value = serde_json::from_str(line).unwrap();
        for text in ["event", "code", "severity", "title", "file", "label"] {
            assert!(d[text].is_string(), "{text}: {line}");
        }
        for number in ["line", "column", "end_line", "end_column"] {
            assert!(d[number].as_u64().is_some_and(|n| n > 0), "{number}: {line}");
        }
        for list in ["related", "notes", "help", "fix"] {
            assert!(d[list].is_array(), "{list}: {line}");
        }
        for edit in d["fix"].as_array().unwrap() {
            assert!(edit["replacement"].is_string() && edit["end_column"].is_u64(), "{line}");
        }
    }
    let output = evo_in(folder.path(), &["check", "p.evo", "q.evo", "--report", "sarif"]);
    assert_eq!(code(&output), 2);
    let log: serde_json::Value = serde_json::from_str(&out(&output)).unwrap();
    assert_eq!((log["version"].as_str(), log["runs"].as_array().map(Vec::len)), (Some("2.1.0"), Some(1)));
    let run = &log["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    let results = run["results"].as_array().unwrap();
    assert!(!results.is_empty() && run["columnKind"] == "utf16CodeUnits");
    for result in results {
        assert!(["error", "warning"].contains(&result["level"].as_str().unwrap()));
        assert!(result["message"]["text"].is_string());
        let rule = &rules[result["ruleIndex"].as_u64().unwrap() as usize];
        assert_eq!(rule["id"], result["ruleId"]);
        assert!(rule["help"]["text"].as_str().unwrap().contains("```evo"), "the code's page");
        let place = &result["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "p.evo");
        assert!(place["region"]["startColumn"].as_u64().unwrap() >= 1);
        for fix in result["fixes"].as_array().into_iter().flatten() {
            let change = &fix["artifactChanges"][0]["replacements"][0];
            assert!(change["deletedRegion"].is_object() && change["insertedContent"]["text"].is_string());
        }
    }
    assert!(results.iter().any(|r| r["fixes"].is_array()), "one has a fix");
    let lines = out(&evo_in(folder.path(), &["check", "p.evo", "--report", "github"]));
    assert!(lines.starts_with("::error file=p.evo,line=1,col=5,endLine=1,title=E0111::"), "{lines}");
}
