//! Runs whose candidates are evaluated in worker processes: the same bits and the same journal, whatever becomes of the
//! workers; candidates that workers do not survive are recorded as failed.
//!
//! The test starts its own binary again as a peer that stands between a run and a real worker (the variable
//! `EVO_AWAY_PEER` says how it behaves) and passes messages on, but for some candidates.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails there")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use evo::engine::{Engine, Resume, RunOptions, RunOutcome, Settings, Workers};
use evo::events::{Event, EventKind, Observer, Outcome, Status};
use evo::run::journal::{self, Journal};
use evo::run::rows::Evaluation;
use evo::workers::{Ask, Request, read_frame, write_frame};

const EVO: &str = env!("CARGO_BIN_EXE_evo");
const PEER: &str = "EVO_AWAY_PEER";

/// Models, a training that candidates share, and a search whose candidates are merged and scored.
const MERGES: &str = r#"
model base = llama_tiny { layers: 2, width: 16, heads: 2, feed_forward: 24, context: 64 }
data english = word_problems { language: "en", left: 1..=9, right: 1..=9, count: 40, seed: 1 }
train calculator { start: base, on: english, steps: 4, batch: 8 }
task some = likelihood { data: english.first(8), prompt: "{question}\n", expected: "{answer}" }
genome Recipe { weight: real in 0..1.5 }
merge child(g: Recipe) = task_arithmetic { base: base, models: [calculator], weight: [g.weight] }
fitness skill(g: Recipe) = score(child(g), some)
evolve search { maximize: skill, by: cma_es { population: 4 }, stop: { evaluations: 24 } }
print table { evolved: search.score, weight: search.best.weight }
"#;

/// A search whose candidates are a library call, and one more whose candidates read what the first found.
const LOSSES: &str = r#"
genome Point { x: real in -3..3 }
fitness low(p: Point) = -loss_values(dpo, z: [p.x, 1.0])[0]
evolve first { maximize: low, by: random_search { population: 6 }, stop: { evaluations: 24 } }
print table { score: first.score }
"#;
const SECOND: &str = r#"
fitness near(p: Point) = -loss_values(cell, z: [p.x - first.best.x])[0]
evolve second { maximize: near, by: random_search { population: 6 }, stop: { evaluations: 6 } }
print table { second: second.score }
"#;

/// A worker's executable that notes each start, and then is the real one, or this test as a peer.
fn executable(folder: &Path, peer: Option<&str>) -> PathBuf {
    let path = folder.join("worker.sh");
    let me = std::env::current_exe().unwrap();
    let starts = folder.join("starts");
    let rest = match peer {
        None => format!("exec {EVO} \"$@\""),
        // The harness writes to stdout, too: the protocol goes past it.
        Some(how) => format!("{PEER}={how} exec {} --exact a_peer --nocapture 3>&1 >&2", me.display()),
    };
    let mut file = File::create(&path).unwrap();
    write!(file, "#!/bin/sh\necho $$ >> {}\n{rest}\n", starts.display()).unwrap();
    file.set_permissions(fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn starts(folder: &Path) -> Vec<String> {
    fs::read_to_string(folder.join("starts")).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// Runs a program in a folder of its own.
fn run(folder: &Path, text: &str, workers: Option<Workers>, observers: Vec<Arc<dyn Observer>>) -> RunOutcome {
    let builder = Engine::builder().cwd(folder).jobs(2);
    let engine = observers.into_iter().fold(builder, |builder, observer| builder.observer(observer)).build();
    let plan = engine.load_text("p.evo", text).plan(&Settings::new()).unwrap();
    plan.start(RunOptions { workers, ..RunOptions::default() }).unwrap().wait()
}

fn workers(folder: &Path, peer: Option<&str>) -> Option<Workers> {
    Some(Workers { count: 2, program: Some(executable(folder, peer)), ..Workers::default() })
}

/// What a run leaves: its journal without times, and what it printed.
fn left(outcome: &RunOutcome) -> (BTreeMap<&'static str, Vec<Vec<String>>>, String) {
    assert_eq!(outcome.status, Status::Done, "{:?}", outcome.failure);
    (journal::content(&outcome.run_dir.join("run.db")).unwrap(), format!("{:?}", outcome.outputs))
}

fn evaluations(outcome: &RunOutcome) -> Vec<Evaluation> {
    let journal = Journal::open(&outcome.run_dir.join("run.db")).unwrap();
    let rows = journal::content(&outcome.run_dir.join("run.db")).unwrap();
    let mut searches: Vec<String> = rows["evaluations"].iter().map(|row| row[0].clone()).collect();
    searches.dedup();
    assert_eq!(searches.len(), 1, "{searches:?}");
    let key = searches[0].trim_start_matches("Text(\"").trim_end_matches("\")").parse().unwrap();
    journal.evaluations(&key).unwrap()
}

#[test]
fn workers_leave_what_one_process_leaves() {
    let (calm, away) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let one = run(calm.path(), MERGES, None, vec![]);
    let many = run(away.path(), MERGES, workers(away.path(), None), vec![]);
    assert_eq!(left(&one), left(&many));
    assert_eq!(starts(away.path()).len(), 2, "both workers were asked, and kept warm");
    assert!(starts(calm.path()).is_empty());
}

#[test]
fn no_more_workers_are_started_than_fit_into_memory() {
    let counts = [9_000_000, 1 << 40].map(|memory| {
        let folder = tempfile::tempdir().unwrap();
        let engine = Engine::builder().cwd(folder.path()).jobs(2).memory(memory).build();
        let plan = engine.load_text("p.evo", MERGES).plan(&Settings::new()).unwrap();
        let workers = workers(folder.path(), None);
        let outcome = plan.start(RunOptions { workers, ..RunOptions::default() }).unwrap().wait();
        assert_eq!(outcome.status, Status::Done, "{:?}", outcome.failure);
        starts(folder.path()).len()
    });
    assert_eq!(counts, [1, 2]);
}

#[test]
fn a_candidate_fails_with_the_words_and_places_that_it_has_here() {
    let text = LOSSES.replace("1.0])[0]", "1.0], rejected: [1.0])[0]").replace("24 }", "24 }, on_failure: abort");
    let told = [false, true].map(|is_away| {
        let folder = tempfile::tempdir().unwrap();
        let outcome = run(folder.path(), &text, workers(folder.path(), None).filter(|_| is_away), vec![]);
        let name = outcome.run_dir.file_name().unwrap().to_string_lossy().into_owned();
        assert_eq!(starts(folder.path()).is_empty(), !is_away);
        outcome.failure.unwrap().to_string().replace(&name, "RUN")
    });
    assert_eq!(told[0], told[1]);
    assert!(told[0].contains("R0503") && told[0].contains("p.evo:3:"), "{}", told[0]);
}

#[test]
fn candidates_that_cannot_go_away_are_evaluated_here() {
    let (calm, away) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let program = format!("{LOSSES}{SECOND}");
    let one = run(calm.path(), &program, None, vec![]);
    // Of the first search all go away; those of the second read what a search found.
    let many = run(away.path(), &program, workers(away.path(), None), vec![]);
    assert_eq!(left(&one), left(&many));
    assert!(!starts(away.path()).is_empty());
}

/// Kills a worker at every fifth evaluation: of those that live, the one that was started last.
struct Killer {
    folder: PathBuf,
    seen: AtomicUsize,
    killed: AtomicUsize,
}

impl Observer for Killer {
    fn event(&self, event: &Event) {
        if !matches!(event.kind, EventKind::Evaluation { .. }) || self.seen.fetch_add(1, Ordering::SeqCst) % 5 != 2 {
            return;
        }
        let is_alive = |process: &String| {
            fs::read_to_string(format!("/proc/{process}/cmdline")).is_ok_and(|command| command.contains("worker"))
        };
        if let Some(last) = starts(&self.folder).iter().rfind(|process| is_alive(process)) {
            let killed = Command::new("kill").args(["-9", last]).stderr(Stdio::null()).status().unwrap();
            self.killed.fetch_add(usize::from(killed.success()), Ordering::SeqCst);
        }
    }
}

#[test]
fn workers_that_are_killed_cost_nothing_but_time() {
    let (calm, away) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let one = run(calm.path(), MERGES, None, vec![]);
    let killer = Arc::new(Killer { folder: away.path().into(), seen: 0.into(), killed: 0.into() });
    let many = run(away.path(), MERGES, workers(away.path(), None), vec![killer.clone()]);
    assert_eq!(left(&one), left(&many));
    let killed = killer.killed.load(Ordering::SeqCst);
    assert!(killed >= 3, "{killed} were killed");
    assert!(starts(away.path()).len() > 2, "others were started instead");
}

/// Asks the run to stop after some evaluations.
struct Stopper(evo::events::Cancel, AtomicUsize);

impl Observer for Stopper {
    fn event(&self, event: &Event) {
        if matches!(event.kind, EventKind::Evaluation { .. }) && self.1.fetch_add(1, Ordering::SeqCst) == 9 {
            self.0.stop();
        }
    }
}

#[test]
fn a_run_that_is_stopped_goes_on_with_or_without_workers() {
    let (calm, away) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let one = run(calm.path(), MERGES, None, vec![]);
    let given = workers(away.path(), None);
    let cancel = evo::events::Cancel::new();
    let stopper = Arc::new(Stopper(cancel.clone(), 0.into()));
    let engine = Engine::builder().cwd(away.path()).jobs(2).cancel(cancel).observer(stopper).build();
    let plan = engine.load_text("p.evo", MERGES).plan(&Settings::new()).unwrap();
    let stopped = plan.start(RunOptions { workers: given, ..RunOptions::default() }).unwrap().wait();
    assert_eq!(stopped.status, Status::Interrupted, "{:?}", stopped.failure);
    let engine = Engine::builder().cwd(away.path()).jobs(2).build();
    let plan = engine.load_text("p.evo", MERGES).plan(&Settings::new()).unwrap();
    let resumed = plan.start(RunOptions { resume: Resume::Latest, ..RunOptions::default() }).unwrap().wait();
    assert_eq!(left(&one), left(&resumed));
}

/// Whether the peer misbehaves over a candidate.
fn is_cursed(node: evo::store::Key) -> bool {
    node.0[0].is_multiple_of(4)
}

#[test]
fn a_candidate_that_costs_three_workers_is_a_recorded_failure() {
    let folder = tempfile::tempdir().unwrap();
    let outcome = run(folder.path(), LOSSES, workers(folder.path(), Some("crash")), vec![]);
    assert_eq!(outcome.status, Status::Done, "{:?}", outcome.failure);
    let found = evaluations(&outcome);
    assert_eq!(found.len(), 24);
    let cursed = found.iter().filter(|e| is_cursed(e.node)).count();
    assert!(cursed > 0 && cursed < 24, "{cursed} of 24");
    for e in &found {
        let is_lost =
            matches!(&e.outcome, Outcome::Failed { code, reason } if code == "R0568" && reason.contains("3 workers"));
        assert_eq!(is_lost, is_cursed(e.node), "{:?}", e.outcome);
    }
    let crashes = fs::read_to_string(folder.path().join("misbehaved")).unwrap().lines().count();
    assert_eq!(crashes, 3 * cursed, "each cost three");
}

#[test]
fn a_candidate_that_is_late_is_a_recorded_failure() {
    let folder = tempfile::tempdir().unwrap();
    let given = Workers { deadline: Some(Duration::from_millis(400)), ..workers(folder.path(), Some("hang")).unwrap() };
    let few = LOSSES.replace("evaluations: 24", "evaluations: 6");
    let outcome = run(folder.path(), &few, Some(given), vec![]);
    assert_eq!(outcome.status, Status::Done, "{:?}", outcome.failure);
    let found = evaluations(&outcome);
    let cursed = found.iter().filter(|e| is_cursed(e.node)).count();
    assert!(cursed > 0 && cursed < found.len(), "{cursed} of {}", found.len());
    for e in &found {
        let is_late = matches!(&e.outcome, Outcome::Failed { code, .. } if code == "R0569");
        assert_eq!(is_late, is_cursed(e.node), "{:?}", e.outcome);
    }
    let hung = fs::read_to_string(folder.path().join("misbehaved")).unwrap().lines().count();
    assert_eq!(hung, cursed, "what is late is not tried again");
}

#[test]
fn a_run_without_workers_to_be_had_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let none = |program: &str| Workers { count: 1, program: Some(program.into()), ..Workers::default() };
    // A worker that cannot even open the program within its memory is nobody's candidate.
    let small = Workers { memory: Some(64 << 20), ..none(EVO) };
    for (workers, why) in
        [(none("no-such-program"), "no-such-program"), (none("false"), "exit status"), (small, "memory")]
    {
        let outcome = run(folder.path(), LOSSES, Some(workers), vec![]);
        let failure = outcome.failure.unwrap();
        assert_eq!((outcome.status, failure.diagnostics[0].code.as_str()), (Status::Failed, "R0505"), "{failure}");
        assert!(failure.title().contains(why), "{failure}");
    }
}

#[test]
fn a_file_that_changes_while_the_run_goes_on_is_told() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("z.evo"), "param at: real = 1.0\n").unwrap();
    let text = format!("use \"z.evo\" as other\n{}", LOSSES.replace("1.0]", "other.at]"));
    let engine = Engine::builder().cwd(folder.path()).jobs(1).build();
    let plan = engine.load_text("p.evo", &text).plan(&Settings::new()).unwrap();
    let workers = workers(folder.path(), None);
    let run = plan.start(RunOptions { workers, ..RunOptions::default() }).unwrap();
    fs::write(folder.path().join("z.evo"), "param at: real = 2.0\n").unwrap();
    let failure = run.wait().failure.unwrap();
    assert_eq!(failure.diagnostics[0].code.as_str(), "R0505", "{failure}");
    assert!(failure.title().contains("changed"), "{failure}");
}

#[test]
fn the_command_line_has_workers() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("p.evo"), LOSSES).unwrap();
    let run = |args: &[&str]| {
        let mut command = Command::new(EVO);
        command.args(["run", "p.evo"]).args(args).current_dir(folder.path()).env_remove("RUST_BACKTRACE");
        command.output().unwrap()
    };
    let alone = run(&[]);
    let away = run(&["--workers", "2", "--worker-memory", "2GiB", "--worker-deadline", "1min"]);
    assert!(away.status.success(), "{}", String::from_utf8_lossy(&away.stderr));
    assert_eq!(alone.stdout, away.stdout);
    assert_eq!(run(&["--worker-memory", "2GiB"]).status.code(), Some(2), "without workers it has no meaning");
}

/// Not a test: what `EVO_AWAY_PEER` asks for. It stands between a run and a real worker.
#[test]
fn a_peer() {
    let Some(how) = std::env::var_os(PEER) else { return };
    let mut real = Command::new(EVO)
        .args(["worker", "--stdio"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (mut to, mut from) = (real.stdin.take().unwrap(), real.stdout.take().unwrap());
    let mut answers = File::options().write(true).open("/proc/self/fd/3").unwrap();
    let (mut requests, mut folder) = (std::io::stdin(), PathBuf::new());
    write_frame(&mut answers, &read_frame(&mut from).unwrap().unwrap()).unwrap();
    while let Some(message) = read_frame(&mut requests).unwrap() {
        match serde_json::from_slice::<Request>(&message).unwrap().ask {
            Ask::Open(open) => folder = open.root,
            Ask::Evaluate(asked) if is_cursed(asked.node) => {
                let mut noted = File::options().create(true).append(true).open(folder.join("misbehaved")).unwrap();
                writeln!(noted, "{}", asked.node).unwrap();
                if how == "hang" {
                    std::thread::sleep(Duration::from_secs(1000));
                }
                real.kill().unwrap();
                real.wait().unwrap();
                std::process::abort();
            }
            _ => {}
        }
        write_frame(&mut to, &message).unwrap();
        write_frame(&mut answers, &read_frame(&mut from).unwrap().unwrap()).unwrap();
    }
    real.kill().unwrap();
    real.wait().unwrap();
    std::process::exit(0);
}
