//! Projects and modules on disk: `evo.toml`, folders, search paths.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use evo_stdlib::model::DEVICES;

fn evo(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_evo")).args(args).current_dir(folder).output().unwrap()
}

fn put(folder: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

fn lines(output: &Output) -> Vec<String> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

fn refused(output: &Output) -> String {
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{told}");
    told
}

#[test]
fn a_folder_is_the_programs_in_it() {
    let folder = tempfile::tempdir().unwrap();
    put(
        folder.path(),
        &[
            ("main.evo", "use \"lib\" as lib\nuse lib.deep as deep\nprint lib.one.x + lib.deep.two.y + deep.two.y\n"),
            ("lib/one.evo", "use \"_own.evo\" as own\nlet x = own.z\n"),
            ("lib/_own.evo", "let z = 1\n"),
            ("lib/not-a-name.evo", "let broken = \n"),
            ("lib/deep/two.evo", "let y = 20\n"),
            ("lib/empty/notes.txt", ""),
        ],
    );
    assert_eq!(lines(&evo(folder.path(), &["run", "main.evo"])), ["41"]);
    put(folder.path(), &[("main.evo", "use \"lib\" as lib\nprint lib._own.z\n")]);
    let told = refused(&evo(folder.path(), &["check", "main.evo"]));
    assert!(told.contains("E0205") || told.contains("E0213"), "{told}");
    put(folder.path(), &[("main.evo", "use \"lib/empty\" as e\nprint 1\n")]);
    assert!(refused(&evo(folder.path(), &["check", "main.evo"])).contains("a folder without programs"));
    put(folder.path(), &[("main.evo", "use \"lib/oen.evo\" as one\nprint one.x\n")]);
    assert!(refused(&evo(folder.path(), &["check", "main.evo"])).contains("did you mean `lib/one.evo`?"));
    put(
        folder.path(),
        &[("lib/one.evo", "use \".\" as all\nlet x = 1\n"), ("main.evo", "use \"lib\" as lib\nprint lib.one.x\n")],
    );
    assert!(
        refused(&evo(folder.path(), &["check", "main.evo"])).contains("lib/one.evo:1:5"),
        "the first use that is written"
    );
}

#[test]
fn a_project_names_its_main_program_its_params_and_where_to_look() {
    let folder = tempfile::tempdir().unwrap();
    let toml = "name = \"p\"\nmain = \"src/main.evo\"\npaths = [\"lib\"]\nworkers = 1\n[params]\nn = 3\nword = \"hi\"\nother = 1\n";
    put(
        folder.path(),
        &[
            ("evo.toml", toml),
            (
                "src/main.evo",
                "use tools as tools\nparam n: int = 1\nparam word: text = \"\"\nparam other: int = 0\nprint tools.twice(n) + other\nprint word\n",
            ),
            ("src/second.evo", "use \"tools.evo\" as tools\nprint tools.twice(5)\n"),
            ("lib/tools.evo", "fn twice(x: int) -> int = 2 * x\n"),
            ("src/deep/x.txt", ""),
        ],
    );
    assert_eq!(lines(&evo(folder.path(), &["run"])), ["7", "hi"]);
    assert_eq!(lines(&evo(&folder.path().join("src/deep"), &["run"])), ["7", "hi"], "found upwards");
    assert_eq!(lines(&evo(folder.path(), &["run", "--set", "n=10"])), ["21", "hi"], "the command line counts for more");
    assert_eq!(
        lines(&evo(folder.path(), &["run", "src/second.evo"])),
        ["10"],
        "params that a program lacks are not its own"
    );
    assert!(evo(folder.path(), &["check"]).status.success());
}

#[test]
fn a_project_says_how_many_evaluations_run_at_once() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), &[("evo.toml", "main = \"a.evo\"\nworkers = 3\n"), ("a.evo", "print 1 + 1\n")]);
    let workers = |args: &[&str]| {
        let out = evo(folder.path(), args);
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let started =
            text.lines().find(|line| line.contains("run_started")).unwrap_or_else(|| panic!("{text}")).to_owned();
        serde_json::from_str::<serde_json::Value>(&started).unwrap()["jobs"].as_u64().unwrap()
    };
    assert_eq!(workers(&["run", "--json"]), 3);
    assert_eq!(workers(&["run", "--json", "--jobs", "2"]), 2, "the command line counts for more");
}

#[test]
fn input_files_are_found_through_the_search_paths() {
    let folder = tempfile::tempdir().unwrap();
    put(
        folder.path(),
        &[
            ("evo.toml", "paths = [\"shared\"]\n"),
            ("src/main.evo", "data d = jsonl(\"rows.jsonl\", columns: [\"a\"])\nprint d\n"),
            ("shared/rows.jsonl", "{\"a\": \"found\"}\n"),
        ],
    );
    let printed = lines(&evo(folder.path(), &["run", "src/main.evo"])).join("\n");
    assert!(printed.contains("found"), "{printed}");
}

#[test]
fn what_is_wrong_with_a_project_is_told_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), &[("a.evo", "param n: int = 1\nprint n\n")]);
    let told = |toml: &str| {
        put(folder.path(), &[("evo.toml", toml)]);
        refused(&evo(folder.path(), &["check", "a.evo"]))
    };
    for (toml, code, place) in [
        ("workers = = 2\n", "E0140", "evo.toml:1:11"),
        ("main = \"a.evo\"\nwokers = 2\n", "E0141", "evo.toml:2:1"),
        ("workers = \"two\"\n", "E0142", "evo.toml:1:11"),
        ("jobs = 2\n", "E0141", "evo.toml:1:1"),
        ("device = \"tpu\"\n", "E0143", "evo.toml:1:10"),
        ("[params]\nn = \"many\"\n", "E0422", "evo.toml:2:5"),
        ("main = \"a.evo\"\n[params]\nm = 1\n", "E0421", "evo.toml:3:5"),
    ] {
        let told = told(toml);
        assert!(told.contains(&format!("error[{code}]")) && told.contains(place), "{toml}: {told}");
        assert_eq!(told.matches("error[").count(), 1, "{told}");
    }
    put(folder.path(), &[("evo.toml", "workers = 2\n")]);
    assert!(refused(&evo(folder.path(), &["run"])).contains("E0130"));
}

#[test]
#[cfg(not(feature = "cuda"))]
fn a_device_that_is_not_built_in_is_refused_and_the_cpu_is_no_other_run() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), &[("a.evo", "print 1 + 1\n")]);
    let told = refused(&evo(folder.path(), &["run", "a.evo", "--device", "cuda"]));
    assert!(told.contains("error[E0143]") && told.contains("cargo install --features cuda"), "{told}");
    // Each command that computes with models takes a device, and says alike what is wrong with it.
    for args in [
        &["check", "a.evo"][..],
        &["plan", "a.evo"],
        &["eval", "m", "a.evo"],
        &["logits", "m", "--tokens", "1"],
        &["repl", "-e", "1"],
        &["test", "a.evo"],
    ] {
        let unknown = evo(folder.path(), &[args, &["--device", "tpu"]].concat());
        let told = String::from_utf8(unknown.stderr).unwrap();
        assert!(unknown.status.code() == Some(2) && told.contains(&DEVICES.join(", ")), "{args:?}: {told}");
    }
    for args in [&["run", "a.evo"][..], &["logits", "m", "--tokens", "1"], &["repl", "-e", "1"]] {
        let told = refused(&evo(folder.path(), &[args, &["--device", "cuda"]].concat()));
        assert!(told.contains("error[E0143]") && told.contains("cargo install --features cuda"), "{args:?}: {told}");
    }
    put(folder.path(), &[("evo.toml", "device = \"cuda\"\n")]);
    assert!(refused(&evo(folder.path(), &["logits", "m", "--tokens", "1"])).contains("error[E0143]"));
    put(folder.path(), &[("evo.toml", "device = \"cpu\"\n")]);
    assert!(evo(folder.path(), &["run", "a.evo", "--device", "cpu"]).status.success());
}
