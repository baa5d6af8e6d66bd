//! A run that is asked to stop ends soon, whatever compiled code is at work, and goes on later.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails there")]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use evo::engine::{Engine, RunOptions, Settings};
use evo::events::Status;
use evo::run::dir::{self, Record};

/// A day of adding up, in a function that the run calls once, or once for each candidate.
const LONG: &str = "param rounds: int = 100000\n\
    fn inner(x: real) -> real = sum([sin(x + k) for k in 0..1000000])\n\
    fn long(x: real) -> real = sum([inner(x + j) for j in 0..1000000])\n";

/// How a program ends that is asked to stop a moment after it began, and what it had answered.
fn stopped(text: &str) -> (Status, usize) {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::builder().cwd(folder.path()).jobs(2).build();
    let plan = engine.load_text("long.evo", &format!("{LONG}{text}")).plan(&Settings::new()).unwrap();
    let run = plan.start(RunOptions::default()).unwrap();
    let cancel = run.cancel().clone();
    let outcome = std::thread::scope(|scope| {
        scope.spawn(move || {
            std::thread::sleep(Duration::from_millis(300));
            cancel.stop();
        });
        run.wait()
    });
    (outcome.status, outcome.outputs.len())
}

#[test]
fn a_long_numeric_call_ends_when_the_run_is_asked_to_stop() {
    assert_eq!(stopped("print 1\nprint long(rounds)\n"), (Status::Interrupted, 1));
}

#[test]
fn a_search_over_long_numeric_code_ends_too() {
    let search = "genome G { x: real in 0..1 }\nfitness slow(g: G) = long(g.x)\n\
        evolve found { maximize: slow, stop: { evaluations: 100 } }\nprint found.score\n";
    assert_eq!(stopped(search), (Status::Interrupted, 0));
}

#[test]
fn a_plot_of_long_numeric_code_ends_too() {
    assert_eq!(stopped("plot long over 0..1\n"), (Status::Interrupted, 0));
}

/// A model that is slow for its size alone, asked for one long answer and for the likelihood of long texts.
const ASKED: &str = "model m = llama_tiny { layers: 2, width: 64, context: 8192 }\nprint 1\n";
const ANSWER: &str = "print answers(m, [\"Once upon a time\"], max_tokens: 6000)\n";
const LIKELIHOOD: &str = "data d = jsonl(\"d.jsonl\", columns: [\"q\", \"a\"])\n\
    task t = likelihood { data: d, prompt: \"{q}\", expected: \"{a}\" }\nprint score(m, t)\n";

/// A folder with such a program and its data.
fn asked(request: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("p.evo"), format!("{ASKED}{request}")).unwrap();
    let row = |i: u32| format!("{{\"q\": \"{i} and \", \"a\": \"{}\"}}\n", format!("{} more, ", i * 7).repeat(500));
    fs::write(folder.path().join("d.jsonl"), (0..20).map(row).collect::<String>()).unwrap();
    folder
}

fn evo(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evo"));
    command.args(args).current_dir(folder).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What the only run of a folder has told.
fn told(folder: &Path) -> String {
    let run = dir::list(&folder.join("runs")).unwrap_or_default().pop();
    run.and_then(|run| fs::read_to_string(run.join("events.jsonl")).ok()).unwrap_or_default()
}

/// Sends the signal of Ctrl-C while the request's node is computed, and finds that the process ended within it, said how to go
/// on and left nothing half done; then it goes on, and ends as if it had not been interrupted.
fn interrupted_in(request: &str) {
    let (calm, stopped) = (asked(request), asked(request));
    let expected = evo(calm.path(), &["run", "p.evo"]).output().unwrap();
    assert!(expected.status.success());
    let child = evo(stopped.path(), &["run", "p.evo"]).spawn().unwrap();
    let begun = (0..6000).any(|_| {
        std::thread::sleep(Duration::from_millis(5));
        told(stopped.path()).contains("\"node_started\"")
    });
    assert!(begun, "nothing was begun");
    std::thread::sleep(Duration::from_millis(50));
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{err}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "1\n");
    assert!(err.contains("interrupted after") && err.contains("to go on: evo run p.evo --resume "), "{err}");
    assert!(!err.contains("error") && !err.contains("panic"), "{err}");
    let events = told(stopped.path());
    let stopped_in_it = events.contains("\"outcome\":\"stopped\"") && !events.contains("\"outcome\":\"computed\"");
    assert!(stopped_in_it && events.contains("\"status\":\"interrupted\""), "{events}");
    assert!(
        events.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()),
        "whole lines: {events}"
    );
    let run = dir::list(&stopped.path().join("runs")).unwrap().pop().unwrap();
    assert_eq!(Record::read(&run).unwrap().status, Status::Interrupted);
    let mut left: Vec<_> = fs::read_dir(stopped.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, [".evo", "d.jsonl", "p.evo", "runs"]);
    let resumed = evo(stopped.path(), &["run", "p.evo", "--resume"]).output().unwrap();
    assert_eq!((resumed.status.code(), &resumed.stdout), (Some(0), &expected.stdout));
}

#[test]
#[cfg(unix)]
fn ctrl_c_ends_a_run_in_the_middle_of_an_answer() {
    interrupted_in(ANSWER);
}

#[test]
#[cfg(unix)]
fn ctrl_c_ends_a_run_in_the_middle_of_likelihoods() {
    interrupted_in(LIKELIHOOD);
}
