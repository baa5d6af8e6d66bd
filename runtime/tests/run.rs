//! Whole runs through the binary: the same end after kills, interruptions and with any number of jobs.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use evo::events::{Event, EventKind, NodeOutcome, Status};
use evo::run::dir::{self, Record};
use evo::run::journal;
use evo::store::Key;

const PROGRAM: &str = r#"
param evaluations: int = 24
model base = llama_tiny { layers: 2, width: 16, heads: 2, feed_forward: 24, context: 64 }
data english  = word_problems { language: "en", left: 1..=9, right: 1..=9, count: 60, seed: 1 }
data japanese = word_problems { language: "ja", left: 1..=9, right: 1..=9, count: 60, seed: 2 }
train calculator { start: base, on: english, steps: 6, batch: 8 }
train reader     { start: base, on: japanese, steps: 6, batch: 8 }
task some = likelihood { data: english.first(8), prompt: "{question}\n", expected: "{answer}" }
genome Recipe { weight: real[2] in 0..1.5 }
merge child(g: Recipe) = task_arithmetic { base: base, models: [calculator, reader], weight: [g.weight[0], g.weight[1]] }
fitness skill(g: Recipe) = score(child(g), some)
evolve search { maximize: skill, by: cma_es { population: 4 }, stop: { evaluations: evaluations } }
print table { calculator: score(calculator, some), evolved: search.score }
plot search.history to "fitness.svg"
save child(search.best) to "evolved"
expect search.score < 0.0, "a likelihood is below one"
"#;

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("small.evo"), PROGRAM).unwrap();
    folder
}

fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evo"));
    command.args(["run", "small.evo"]).args(args).current_dir(folder).env_remove("RUST_BACKTRACE");
    command
}

fn run(folder: &Path, args: &[&str]) -> Output {
    command(folder, args).output().unwrap()
}

fn start(folder: &Path, args: &[&str]) -> Child {
    command(folder, args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn succeed(output: Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    text(&output.stdout)
}

fn only_run(folder: &Path) -> PathBuf {
    let runs = dir::list(&folder.join("runs")).unwrap();
    assert_eq!(runs.len(), 1, "{runs:?}");
    runs[0].clone()
}

fn events(folder: &Path) -> Vec<Event> {
    let lines = fs::read_to_string(only_run(folder).join("events.jsonl")).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Every file that the program saved.
fn outputs(folder: &Path) -> BTreeMap<PathBuf, String> {
    // Texts are compared as they are, and anything else by what a failed comparison can still show.
    let show = |path: &Path| {
        String::from_utf8(fs::read(path).unwrap()).unwrap_or_else(|e| Key::of("file", &[e.as_bytes()]).to_string())
    };
    let mut found = BTreeMap::from([("fitness.svg".into(), show(&folder.join("fitness.svg")))]);
    for entry in fs::read_dir(folder.join("evolved")).unwrap() {
        let path = entry.unwrap().path();
        found.insert(path.strip_prefix(folder).unwrap().to_owned(), show(&path));
    }
    found
}

/// What a run leaves that another run of the program must leave too.
fn ends_alike(folder: &Path, calm: &Path) {
    assert_eq!(outputs(folder), outputs(calm));
    let content = |folder: &Path| journal::content(&only_run(folder).join("run.db")).unwrap();
    let (there, expected) = (content(folder), content(calm));
    assert!(expected["evaluations"].len() >= 24 && expected["candidates"].len() >= 24);
    assert_eq!(there, expected);
    assert_eq!(Record::read(&only_run(folder)).unwrap().status, Status::Done);
}

#[test]
fn one_job_and_two_give_the_same_and_a_second_run_computes_nothing() {
    let (one, two) = (folder(), folder());
    let first = succeed(run(one.path(), &["--jobs", "1"]));
    assert!(first.contains("calculator") && first.contains("saved model evolved"), "{first}");
    assert_eq!(succeed(run(two.path(), &["--jobs", "2"])), first);
    ends_alike(one.path(), two.path());
    fs::remove_dir_all(one.path().join("runs")).unwrap();
    assert_eq!(succeed(run(one.path(), &["--jobs", "2"])), first);
    let computed = events(one.path()).into_iter().filter(|event| {
        match &event.kind {
            // A search asks its optimizer anew; every candidate that it makes is known.
            EventKind::NodeFinished { outcome, name, .. } => *outcome == NodeOutcome::Computed && name != "search",
            EventKind::Evaluation { cached, .. } => !cached,
            _ => false,
        }
    });
    assert_eq!(computed.map(|event| event.kind).collect::<Vec<_>>(), []);
}

#[test]
fn killed_and_resumed_it_ends_the_same() {
    let calm = folder();
    let many = ["--set", "evaluations=240"];
    let expected = succeed(run(calm.path(), &many));
    for jobs in ["1", "2"] {
        let shot = folder();
        let mut kills = 0;
        for told in [0, 1, 4, 9, 15, 30, 60, 2] {
            let resumable = !dir::list(&shot.path().join("runs")).unwrap_or_default().is_empty();
            let how: &[&str] = if resumable { &["--jobs", jobs, "--resume"] } else { &["--jobs", jobs] };
            let enough = events_told(shot.path()) + told;
            let mut child = start(shot.path(), &[&many, how].concat());
            while events_told(shot.path()) < enough && child.try_wait().unwrap().is_none() {
                std::thread::sleep(Duration::from_micros(200));
            }
            child.kill().unwrap();
            if child.wait().unwrap().success() {
                break;
            }
            kills += 1;
        }
        assert!(kills >= 4, "only {kills} kills hit a running process");
        if Record::read(&only_run(shot.path())).unwrap().status != Status::Done {
            assert_eq!(succeed(run(shot.path(), &[&many[..], &["--jobs", jobs, "--resume"]].concat())), expected);
        }
        ends_alike(shot.path(), calm.path());
        no_evaluation_twice(shot.path());
    }
}

/// How many events a folder's run has written so far; 0 before there is a run.
fn events_told(folder: &Path) -> usize {
    let run = dir::list(&folder.join("runs")).unwrap_or_default().pop();
    let lines = run.and_then(|run| fs::read(run.join("events.jsonl")).ok());
    lines.map_or(0, |lines| lines.iter().filter(|byte| **byte == b'\n').count())
}

/// An evaluation that was computed is never computed again: later segments replay it.
fn no_evaluation_twice(folder: &Path) {
    let mut computed = std::collections::BTreeSet::new();
    for event in events(folder) {
        if let EventKind::Evaluation { search, generation, candidate, cached: false, .. } = event.kind {
            assert!(computed.insert((search, generation, candidate)), "{generation}.{candidate} was repeated");
        }
    }
}

#[test]
fn an_interruption_keeps_the_checkpoint_and_says_how_to_go_on() {
    let (calm, stopped) = (folder(), folder());
    let many = &["--set", "evaluations=400"];
    let expected = succeed(run(calm.path(), many));
    let (name, told) = interrupted(stopped.path(), many, "kill -INT {}");
    assert!(told.contains("interrupted after"), "{told}");
    assert_eq!(Record::read(&only_run(stopped.path())).unwrap().status, Status::Interrupted);
    let args = ["--set", "evaluations=400", "--resume", &name];
    assert_eq!(succeed(run(stopped.path(), &args)), expected);
    ends_alike(stopped.path(), calm.path());
    let again = run(stopped.path(), &args);
    assert_eq!(again.status.code(), Some(2));
    assert!(text(&again.stderr).contains("is finished: there is nothing to resume"), "{}", text(&again.stderr));
}

#[test]
fn a_second_interruption_ends_at_once_and_says_how_to_go_on() {
    let (calm, stopped) = (folder(), folder());
    let many = &["--set", "evaluations=400"];
    let expected = succeed(run(calm.path(), many));
    interrupted(stopped.path(), many, "kill -INT {}; kill -INT {}");
    assert_eq!(succeed(run(stopped.path(), &["--set", "evaluations=400", "--resume"])), expected);
    ends_alike(stopped.path(), calm.path());
}

/// Interrupts a run in its search (`{}` in the command is its process) and gives the run's name and what it told, which is how
/// to go on and no word of a failure.
fn interrupted(folder: &Path, args: &[&str], command: &str) -> (String, String) {
    let child = start(folder, args);
    wait_for_evaluations(folder);
    let interrupt = command.replace("{}", &child.id().to_string());
    assert!(Command::new("sh").args(["-c", &interrupt]).status().is_ok());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
    let told = text(&output.stderr);
    let name = only_run(folder).file_name().unwrap().to_string_lossy().into_owned();
    assert!(told.contains(&format!("to go on: evo run small.evo {} --resume {name}", args.join(" "))), "{told}");
    assert!(!told.contains("failed") && !told.contains("error"), "{told}");
    (name, told)
}

fn wait_for_evaluations(folder: &Path) {
    let begun = || {
        let runs = dir::list(&folder.join("runs")).unwrap_or_default();
        let lines = runs.first().and_then(|run| fs::read_to_string(run.join("events.jsonl")).ok());
        lines.is_some_and(|lines| lines.contains("\"evaluation\""))
    };
    let seen = (0..3000).any(|_| {
        std::thread::sleep(Duration::from_millis(5));
        begun()
    });
    assert!(seen, "no evaluation was made");
}

#[test]
fn json_is_one_event_a_line_and_nothing_else() {
    let folder = folder();
    let output = run(folder.path(), &["--json", "--tiny"]);
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
    let events: Vec<Event> = text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(matches!(events.first().unwrap().kind, EventKind::RunStarted { tiny: true, .. }));
    assert!(matches!(events.last().unwrap().kind, EventKind::RunFinished { status: Status::Done, .. }));
    assert!(events.iter().enumerate().all(|(i, event)| event.sequence == i as u64));
}

#[test]
fn a_tiny_run_says_so_and_a_dry_run_makes_nothing() {
    let folder = folder();
    let tiny = succeed(run(folder.path(), &["--tiny"]));
    assert!(tiny.contains("tiny run"), "{tiny}");
    let dry = tempfile::tempdir().unwrap();
    fs::write(dry.path().join("small.evo"), PROGRAM).unwrap();
    let shown = succeed(run(dry.path(), &["--dry-run"]));
    assert!(shown.contains("search") && shown.contains("24"), "{shown}");
    assert_eq!(fs::read_dir(dry.path()).unwrap().count(), 1);
}

#[test]
fn what_cannot_be_written_or_resumed_is_told_before_anything_is_computed() {
    let folder = folder();
    for (args, code, message) in [
        (&["--out", "small.evo/out"][..], 2, "error[R0542]"),
        (&["--resume"], 2, "error[R0544]: no unfinished run of `small`"),
        (&["--resume", "nothing"], 2, "error[R0544]: there is no run `nothing`"),
        (&["--set", "nothing=1"], 2, "error["),
        (&["--set", "evaluations=many"], 2, "error["),
    ] {
        let output = run(folder.path(), args);
        assert_eq!(output.status.code(), Some(code), "{args:?} {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(message), "{args:?} {}", text(&output.stderr));
        assert!(!folder.path().join("runs").exists() && text(&output.stdout).is_empty(), "{args:?}");
    }
}

#[test]
fn a_refuted_expectation_is_exit_code_1() {
    let folder = folder();
    let path = folder.path().join("small.evo");
    fs::write(&path, "print 1 + 1\nexpect 1 + 1 == 3, \"sums are odd\"\n").unwrap();
    let output = run(folder.path(), &[]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "2\nexpected: sums are odd: does not hold\n");
    assert_eq!(Record::read(&only_run(folder.path())).unwrap().status, Status::Refuted);
}

fn plan(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evo"));
    command.args(["plan", "small.evo"]).args(args).current_dir(folder).output().unwrap()
}

fn planned(folder: &Path, args: &[&str]) -> BTreeMap<String, serde_json::Value> {
    let json = succeed(plan(folder, &[&["--json"], args].concat()));
    let overview: serde_json::Value = serde_json::from_str(&json).unwrap();
    let nodes = overview["nodes"].as_array().unwrap();
    nodes.iter().map(|node| (node["name"].as_str().unwrap().to_owned(), node.clone())).collect()
}

#[test]
fn a_plan_says_what_is_stored_and_what_earlier_runs_measured() {
    let folder = folder();
    let before = succeed(plan(folder.path(), &[]));
    assert!(before.contains("time: unknown, since no run has measured these nodes"), "{before}");
    assert!(!folder.path().join("runs").exists() && !folder.path().join(".evo").exists(), "a plan makes nothing");
    succeed(run(folder.path(), &[]));
    let (same, more) = (planned(folder.path(), &[]), planned(folder.path(), &["--set", "evaluations=48"]));
    assert_eq!((&same["reader"]["cached"], &same["reader"]["seconds"]), (&true.into(), &serde_json::Value::Null));
    let seconds = |nodes: &BTreeMap<String, serde_json::Value>| nodes["search"]["seconds"].as_f64().unwrap();
    assert!((seconds(&more) - 2.0 * seconds(&same)).abs() < 1e-9, "twice the evaluations take twice as long");
    // Weights in f32; a training holds gradients and two moments too.
    let memory = |name: &str| same[name]["memory"].as_u64().unwrap();
    assert_eq!(memory("reader"), 4 * memory("base"));
    // A score packs the weights, and takes what a pass does.
    assert!(memory("score(calculator, some)") > memory("base"));
    assert!(same.contains_key("some"), "the task that only the fitness reads");
    let explained = plan(folder.path(), &["--set", "evaluations=48", "--explain"]);
    let explained = text(&explained.stderr);
    assert!(
        explained.contains("search: to do: `stop` was {\"evaluations\":24}, is {\"evaluations\":48}"),
        "{explained}"
    );
    assert!(explained.contains("reader: stored"), "{explained}");
}

/// Lists inside an argument keep their items, and a used program's function is code like one's own.
#[test]
fn arrays_of_a_used_program_become_lists_and_its_functions_code() {
    let folder = folder();
    let used = "param by: int = 2\nlet block = [[1.0, 2.0, 4.0], [8.0, 16.0, 32.5]]\n\
        fn row(n: int) -> int = rem(n, by)\nfn half(t: Tensor) -> real = block[0][t.layer] / by\n";
    let program = "use \"used.evo\" as used\nfn pick(w: real[2][3]) -> real[3] = [w[used.row(i)][i] for i in 0..3]\n\
        plot heatmap(block: used.block) to \"block.svg\"\nprint pick(used.block)\n\
        model base = llama_tiny { layers: 2, width: 16, heads: 2, feed_forward: 24, context: 64 }\n\
        model other = llama_tiny { layers: 2, width: 16, heads: 2, feed_forward: 24, context: 64, seed: 5 }\n\
        let whole = used { by: 1 }\n\
        task some = likelihood { data: word_problems { language: \"en\", count: 8, seed: 1 } }\n\
        let two = score(linear { models: [base, other], weight: [t => used.half(t), t => 1.0] }, some)\n\
        let one = score(linear { models: [base, other], weight: [t => whole.half(t), t => 1.0] }, some)\n\
        print two == score(linear { models: [base, other], weight: [t => if t.layer == 0 then 0.5 else 1.0, t => 1.0] }, some)\n\
        print one == score(linear { models: [base, other], weight: [t => if t.layer == 0 then 1.0 else 2.0, t => 1.0] }, some)\n";
    fs::write(folder.path().join("used.evo"), used).unwrap();
    fs::write(folder.path().join("small.evo"), program).unwrap();
    let printed = succeed(run(folder.path(), &[]));
    assert!(printed.contains("16.000") && !printed.contains("32.5"), "{printed}");
    assert!(printed.ends_with("true\ntrue\n"), "{printed}");
    let picture = fs::read_to_string(folder.path().join("block.svg")).unwrap();
    assert!(picture.contains("32.5") && picture.contains("block[1]"), "{picture}");
}

/// A weight may be a function that reads what a call computes; it is code all the same.
#[test]
fn a_weight_reads_the_number_of_layers() {
    let folder = folder();
    let program = "model base = llama_tiny { layers: 2, width: 16, heads: 2, feed_forward: 24, context: 64 }\n\
        model other = llama_tiny { layers: 2, width: 16, heads: 2, feed_forward: 24, context: 64, seed: 5 }\n\
        fn share(t: Tensor) -> real = (t.layer + 1) / layers(base)\n\
        fn second(t: Tensor) -> real = if t.layer == 0 then 0.5 else 1.0\n\
        merge read = linear { models: [base, other], weight: [t => share(t), t => 1.5 - share(t)] }\n\
        merge plain = linear { models: [base, other], weight: [t => second(t), t => 1.5 - second(t)] }\n\
        task some = likelihood { data: word_problems { language: \"en\", count: 8, seed: 1 } }\n\
        print score(read, some) == score(plain, some)\n";
    fs::write(folder.path().join("small.evo"), program).unwrap();
    assert_eq!(succeed(run(folder.path(), &[])), "true\n");
}
