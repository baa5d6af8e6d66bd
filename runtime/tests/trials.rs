//! Programs that models might write: what they may do, what they may not, and that nothing of them stays.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails there")]

use std::path::Path;
use std::process::Command;
use std::sync::atomic::AtomicBool;

use evo::trials::Sandboxes;
use evo_stdlib::task::{Order, Trial, TrialKind, TrialLimits, Trials, Untried, Verdict};

const EVO: &str = env!("CARGO_BIN_EXE_evo");

fn sandboxes() -> Sandboxes {
    Sandboxes::new(EVO.into(), 2)
}

fn limits() -> TrialLimits {
    TrialLimits { seconds: 5.0, ..TrialLimits::default() }
}

fn command(argv: &[&str], program: &str, limits: TrialLimits) -> Trial {
    let argv = argv.iter().map(|word| (*word).to_owned()).collect();
    Trial { program: program.into(), kind: TrialKind::Command { argv, expected: None, processes: false }, limits }
}

fn tried(trial: Trial) -> Verdict {
    sandboxes().try_all(&[trial], None).unwrap().remove(0)
}

/// A script for the system's shell, which may start no other program.
fn script(text: &str) -> Verdict {
    tried(command(&["sh"], text, limits()))
}

#[test]
fn programs_are_judged_by_their_end_and_what_they_print() {
    let print = |text: &str, expected: &str| {
        let mut trial = command(&["sh"], text, limits());
        if let TrialKind::Command { expected: to, .. } = &mut trial.kind {
            *to = Some(expected.into());
        }
        tried(trial)
    };
    assert_eq!(script("exit 0"), Verdict::Passed);
    assert_eq!(print("echo 7", "7"), Verdict::Passed);
    assert!(matches!(print("echo 8", "7"), Verdict::Failed(why) if why.contains("something else")));
    assert!(matches!(script("exit 3"), Verdict::Failed(why) if why.contains('3')));
    assert!(matches!(script("echo oh no >&2; exit 1"), Verdict::Failed(why) if why == "oh no"));
    assert_eq!(script("echo kept > a; read x < a; [ \"$x\" = kept ]"), Verdict::Passed);
}

#[test]
fn nothing_outside_of_its_folder_is_written_or_read() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "keep\n").unwrap();
    let at = secret.display();
    for attack in [
        format!("echo x > {at}"),
        format!("echo x >> {at}"),
        format!("read x < {at}"),
        format!("echo x > {}/new", folder.path().display()),
        format!("cd {} && echo x > new", folder.path().display()),
        "echo x > ../evo-trial".into(),
        "echo x > /usr/evo-trial".into(),
        "read x < /etc/passwd".into(),
        "read x < /proc/1/environ".into(),
        "read x < /proc/self/environ".into(),
        format!("read x < {}", Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml").display()),
        "kill -0 $PPID".into(),
        "kill -9 $PPID".into(),
        "ulimit -v unlimited".into(),
        "true | true".into(),
        "(exit 0) & wait".into(),
    ] {
        let found = script(&format!("{attack} && exit 0\nexit 1\n"));
        assert!(matches!(found, Verdict::Failed(_)), "{attack}: {found:?}");
    }
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), "keep\n");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn what_takes_too_much_is_ended() {
    let short = TrialLimits { seconds: 1.0, output: 1 << 16, ..limits() };
    let ended = |text: &str| tried(command(&["sh"], text, short));
    let why = |verdict: Verdict| match verdict {
        Verdict::Failed(why) => why,
        other => panic!("{other:?}"),
    };
    assert!(why(ended("while :; do :; done")).contains("longer than 1 s"));
    assert!(why(ended("while :; do echo spam; done")).contains("more than 65536 bytes"));
    // The file grows to its limit, and then the system ends the program.
    let filled =
        why(ended("while :; do echo 0123456789012345678901234567890123456789012345678901234567890123456789; done > a"));
    assert!(filled.contains("longer") || filled.contains("SIGXFSZ") || filled.contains("File too large"), "{filled}");
    // However the shell takes it that there is no more memory.
    assert!(matches!(ended("x=x; while :; do x=$x$x; done"), Verdict::Failed(_)));
}

/// This file's own tests as programs: what a shell cannot try.
fn inside(test: &str) -> Verdict {
    let own = std::env::current_exe().unwrap();
    tried(command(&[own.to_str().unwrap(), "--exact", "--ignored", "--test-threads=1", test], "", limits()))
}

#[test]
fn there_is_no_network_no_process_and_no_way_to_make_one() {
    assert_eq!(inside("inside_all_is_refused"), Verdict::Passed);
    assert_eq!(inside("inside_threads_and_files_are_there"), Verdict::Passed);
    assert!(matches!(inside("inside_memory_ends"), Verdict::Failed(_)));
}

#[test]
#[ignore = "run by there_is_no_network_no_process_and_no_way_to_make_one, confined"]
fn inside_all_is_refused() {
    assert!(std::net::TcpListener::bind("127.0.0.1:0").is_err());
    assert!(std::net::UdpSocket::bind("127.0.0.1:0").is_err());
    assert!(
        std::net::TcpStream::connect("127.0.0.1:1").is_err_and(|e| e.kind() == std::io::ErrorKind::PermissionDenied)
    );
    assert!(std::os::unix::net::UnixDatagram::unbound().is_err());
    assert!(Command::new("true").status().is_err());
    assert!(std::fs::read_dir("/home").is_err() && std::fs::read_dir("/").is_err());
    assert!(std::fs::remove_file("/etc/hostname").is_err());
    assert!(std::fs::File::options().write(true).open("/dev/tty").is_err());
    assert!(std::env::vars_os().all(|(name, _)| !name.to_string_lossy().starts_with("CARGO")));
}

#[test]
#[ignore = "run by there_is_no_network_no_process_and_no_way_to_make_one, confined"]
fn inside_threads_and_files_are_there() {
    assert_eq!(std::thread::spawn(|| 7).join().unwrap(), 7);
    std::fs::create_dir("d").unwrap();
    std::fs::write("d/a", "text").unwrap();
    std::fs::rename("d/a", "d/b").unwrap();
    assert_eq!(std::fs::read_to_string("d/b").unwrap(), "text");
}

#[test]
#[ignore = "run by there_is_no_network_no_process_and_no_way_to_make_one, confined"]
fn inside_memory_ends() {
    let all: Vec<u8> = (0..1_u64 << 30).map(|i| i as u8).collect();
    assert_eq!(all.len(), 1 << 30);
}

#[test]
fn an_interpreter_that_is_not_there_runs_nothing() {
    let found = sandboxes().try_all(&[command(&["no-such-interpreter"], "", limits())], None);
    assert!(matches!(found, Err(Untried::Lacking(why)) if why.contains("no-such-interpreter")));
    let found = Sandboxes::new("/nowhere/evo".into(), 1).try_all(&[command(&["sh"], "", limits())], None);
    assert!(matches!(found, Err(Untried::Lacking(_))));
    let stop = AtomicBool::new(true);
    let found = sandboxes().try_all(&[command(&["sh"], "while :; do :; done", limits())], Some(&stop));
    assert_eq!(found, Err(Untried::Stopped));
}

#[test]
fn workers_try_queries_and_functions_in_order() {
    let sql = |query: &str| Trial {
        program: query.into(),
        kind: TrialKind::Sql {
            setup: "create table t (a); insert into t values (1), (2)".into(),
            expected: "select a from t".into(),
            order: Order::Auto,
        },
        limits: limits(),
    };
    let rhai = |program: &str| Trial {
        program: program.into(),
        kind: TrialKind::Rhai { check: "f(2) == 4".into() },
        limits: TrialLimits { seconds: 2.0, steps: 1_000_000_000, ..limits() },
    };
    let all = [
        sql("select a from t order by a desc"),
        sql("select 1"),
        rhai("fn f(x) { x * x }"),
        rhai("fn f(x) { let m = #{}; let i = 0; loop { m[`${i}`] = `${i} and something more than that`; i += 1; } }"),
        rhai("fn f(x) { let n = 0; loop { n += 1; } }"),
        sql("select a from t"),
    ];
    let found = sandboxes().try_all(&all, None).unwrap();
    let passed: Vec<bool> = found.iter().map(|verdict| *verdict == Verdict::Passed).collect();
    assert_eq!(passed, [true, false, true, false, false, true], "{found:?}");
}

#[test]
fn shell_commands_are_judged_by_what_they_print_and_leave() {
    let shell = |program: &str, expected: Option<&str>, check: Option<&str>| {
        let setup = "mkdir -p /data; printf '3\\n1\\n2\\n' > /data/numbers".to_owned();
        let (expected, check) = (expected.map(str::to_owned), check.map(str::to_owned));
        let limits = TrialLimits { steps: 200_000, ..limits() };
        tried(Trial { program: program.into(), kind: TrialKind::Shell { setup, expected, check }, limits })
    };
    assert_eq!(shell("sort -n /data/numbers | head -1", Some("1"), None), Verdict::Passed);
    assert_eq!(
        shell("sort -rn /data/numbers > /data/sorted", None, Some("[ $(head -1 /data/sorted) = 3 ]")),
        Verdict::Passed
    );
    assert!(matches!(shell("rm -rf /data", None, Some("[ -s /data/numbers ]")), Verdict::Failed(_)));
    assert!(matches!(shell("cat /etc/passwd", None, None), Verdict::Failed(why) if why.contains("No such file")));
    assert!(matches!(shell("cd ../../../..; cat etc/hostname", None, None), Verdict::Failed(_)));
    assert!(matches!(shell("while :; do :; done", Some("x"), None), Verdict::Failed(why) if why.contains("Steps")));
    assert!(matches!(shell("python3 -c 'print(1)'", Some("1"), None), Verdict::Failed(why) if why.contains("python3")));
    assert!(matches!(shell("true", None, Some("awkward")), Verdict::Unfit(why) if why.contains("awkward")));
}

/// A whole program: a model that has learned sums is as right in SQL as in text.
#[test]
fn a_task_scores_programs() {
    let folder = tempfile::tempdir().unwrap();
    let program = r#"
let sums = word_problems { language: "en", left: 1..=3, right: 1..=3, count: 9, seed: 1 }
train tuned { start: llama_tiny { layers: 2, width: 32, heads: 2, seed: 3 }, on: sums, steps: 60, batch: 9, rate: 1e-2 }
task text = exact_match { data: sums, max_tokens: 4 }
task query = pass_sql { data: sums, setup: "", expected: "select {answer}", program: "select {completion}", max_tokens: 4 }
task function = pass_rhai { data: sums, check: "f() == {answer}", program: "fn f() {{ {completion} }}", max_tokens: 4 }
print score(tuned, text)
print score(tuned, query)
print score(tuned, function)
"#;
    std::fs::write(folder.path().join("p.evo"), program).unwrap();
    let output = Command::new(EVO).args(["run", "p.evo"]).current_dir(folder.path()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let scores: Vec<f64> = text.lines().filter_map(|line| line.split_whitespace().last()?.parse().ok()).collect();
    assert_eq!(scores.len(), 3, "{text}");
    assert!(scores[0] > 0.5 && scores[1] >= scores[0] && scores[2] >= scores[0], "{text}");
}

/// A task file of the evaluation harness is scored like any other task.
#[test]
fn a_task_file_is_scored() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    file(
        "rows.jsonl",
        "{\"q\": \"2 + 3 =\", \"c\": [\"4\", \"5\"], \"a\": 1}\n{\"q\": \"1 + 1 =\", \"c\": [\"2\", \"3\"], \"a\": 0}\n",
    );
    let head =
        "dataset_path: json\ndataset_kwargs: {data_files: rows.jsonl}\ntest_split: train\ndoc_to_text: \"{{q}}\"\n";
    file(
        "choice.yaml",
        &format!("{head}output_type: multiple_choice\ndoc_to_choice: \"{{{{c}}}}\"\ndoc_to_target: a\n"),
    );
    file(
        "answer.yaml",
        &format!(
            "{head}output_type: generate_until\ndoc_to_target: \"{{{{c[a]}}}}\"\ngeneration_kwargs: {{until: [\"\\n\"]}}\n"
        ),
    );
    let program = "let m = llama_tiny()\ntask choice = lm_eval(\"choice.yaml\")\ntask answer = lm_eval(\"answer.yaml\")\n\
        print scores(m, choice)\nprint score(m, answer)\n";
    file("p.evo", program);
    let output = Command::new(EVO).args(["run", "p.evo"]).current_dir(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    file(
        "choice.yaml",
        &format!("{head}output_type: multiple_choice\ndoc_to_choice: \"{{{{c}}}}\"\ndoc_to_target: !function f.g\n"),
    );
    let output = Command::new(EVO).args(["check", "p.evo"]).current_dir(folder.path()).output().unwrap();
    let text = String::from_utf8_lossy(&[output.stderr, output.stdout].concat()).into_owned();
    assert!(text.contains("E0445") && text.contains("line 7"), "{text}");
}
