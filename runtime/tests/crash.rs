//! Killed at random moments and resumed, a run ends as if nobody had touched it, and repeats no finished evaluation.
//!
//! The test starts its own binary again as the writer (the variable `EVO_CRASH_WRITER` names the folder), kills it with
//! `SIGKILL` while it writes, and compares what lies on disk in the end.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use evo::datum::Datum;
use evo::events::{Event, EventKind, NodeOutcome, Outcome, Status};
use evo::run::dir::{self, Identity, Record, RunDir, RunDirError};
use evo::run::journal::{self, Journal};
use evo::run::log::EventLog;
use evo::run::rows::{Candidate, Evaluation, node_row};
use evo::store::{Found, Keep, Key, Store};

const WRITER: &str = "EVO_CRASH_WRITER";
const GENERATIONS: u64 = 12;
const POPULATION: u64 = 8;
const KILLS: u64 = 20;

/// A fixed sequence of numbers that look random.
fn mix(n: u64) -> u64 {
    let x = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9).wrapping_add(0x9e37_79b9_7f4a_7c15);
    (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb)
}

fn identity() -> Identity {
    let params = [("evaluations".to_owned(), Datum::Int(96))].into_iter().collect();
    let (program, program_hash) = ("crash".to_owned(), Key::of("test", &[b"crash"]));
    Identity { program, program_hash, params, seed: 7, tiny: false, device: None, out: PathBuf::from(".") }
}

/// What a run does, in small: trains once (an artifact in the store), then searches with two threads.
fn write_a_run(root: &Path) {
    let runs = root.join("runs");
    let mut run = match RunDir::resume_latest(&runs, &identity(), 2) {
        Err(RunDirError::NothingToResume { .. }) => RunDir::create(&runs, identity(), "crash.evo", "", 2).unwrap(),
        other => other.unwrap(),
    };
    let log = EventLog::open(&run.events(), vec![]).unwrap();
    let journal = Journal::open(&run.journal()).unwrap();
    let store = Store::open(&root.join("store")).unwrap();
    let trained = Key::of("test", &[b"trained"]);
    if !matches!(store.get(&trained).unwrap(), Found::Artifact(_)) {
        let make = |path: &Path| {
            fs::create_dir(path)?;
            (0..20).try_for_each(|i| fs::write(path.join(format!("shard-{i}")), vec![i; 10_000]))
        };
        store.put_artifact(&trained, make).unwrap();
    }
    journal.commit(vec![node_row(&trained, "calculator", "train", Some(0.0))]).unwrap();
    let search = Key::of("test", &[b"search"]);
    let finished: BTreeSet<(u64, u64)> =
        journal.evaluations(&search).unwrap().iter().map(|e| (e.generation, e.candidate)).collect();
    for generation in 0..GENERATIONS {
        let rows = (0..POPULATION).flat_map(|candidate| make_candidate(search, generation, candidate).rows()).collect();
        journal.commit(rows).unwrap();
        std::thread::scope(|scope| {
            for half in 0..2 {
                let (journal, log, store, finished) = (&journal, &log, &store, &finished);
                scope.spawn(move || {
                    for candidate in (half..POPULATION).step_by(2).filter(|c| !finished.contains(&(generation, *c))) {
                        evaluate(root, journal, log, store, (search, generation, candidate));
                    }
                });
            }
        });
    }
    run.finish(Status::Done, None).unwrap();
    log.emit(EventKind::RunFinished { status: Status::Done, seconds: 0.0 });
    assert!(log.failure().is_none());
}

fn make_candidate(search: Key, generation: u64, candidate: u64) -> Candidate {
    let genome = Datum::Real(mix(generation * 100 + candidate) as f64 / u64::MAX as f64);
    let parents = (0..generation.min(2)).map(|p| (generation - 1, (candidate + p) % POPULATION)).collect();
    Candidate { search, generation, candidate, genome, operator: "sample".into(), parents }
}

fn evaluate(root: &Path, journal: &Journal, log: &EventLog, store: &Store, at: (Key, u64, u64)) {
    let (search, generation, candidate) = at;
    note(root, "start", generation, candidate);
    std::thread::sleep(Duration::from_micros(500));
    let node = Key::of("test", &[format!("{generation}.{candidate}").as_bytes()]);
    store.put(&node, &generation.to_le_bytes()).unwrap();
    let score = mix(generation * 1000 + candidate) as f64 / 3.0;
    let outcome = match mix(candidate + 17 * generation) % 7 {
        0 => Outcome::Failed { code: "R0502".into(), reason: format!("candidate {candidate} is not finite") },
        _ => Outcome::Scored { scores: vec![score], measures: vec![] },
    };
    let row =
        Evaluation { search, generation, candidate, node, outcome: outcome.clone(), seconds: 0.0, elapsed: 0.0 }.row();
    journal.commit(vec![row]).unwrap();
    note(root, "done", generation, candidate);
    log.emit(EventKind::Evaluation { search, generation, candidate, outcome, cached: false, seconds: 0.0 });
}

/// One line in a file outside the run, written with one system call.
fn note(root: &Path, what: &str, generation: u64, candidate: u64) {
    let mut file = File::options().create(true).append(true).open(root.join("notes")).unwrap();
    file.write_all(format!("{what} {generation} {candidate}\n").as_bytes()).unwrap();
}

/// How many lines [`note`] wrote so far.
fn lines_noted(root: &Path) -> usize {
    fs::read(root.join("notes")).map_or(0, |text| text.iter().filter(|byte| **byte == b'\n').count())
}

/// Runs in the child only; in the parent it passes at once.
#[test]
fn writer() {
    if let Some(root) = std::env::var_os(WRITER) {
        write_a_run(Path::new(&root));
    }
}

fn start_writer(root: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "writer", "--nocapture"])
        .env(WRITER, root)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

fn only_run(root: &Path) -> PathBuf {
    let runs = dir::list(&root.join("runs")).unwrap();
    assert_eq!(runs.len(), 1, "{runs:?}");
    runs[0].clone()
}

#[test]
fn killed_at_random_moments_the_end_is_the_same() {
    let (calm, shot) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    assert!(start_writer(calm.path()).wait().unwrap().success());
    for attempt in 0..KILLS {
        let mut child = start_writer(shot.path());
        // Each writer gets a few evaluations further, or is killed while it opens what its predecessors left.
        let enough = lines_noted(shot.path()) + (mix(attempt) % 6) as usize;
        while lines_noted(shot.path()) < enough && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_micros(100));
        }
        std::thread::sleep(Duration::from_micros(mix(attempt + KILLS) % 3_000));
        child.kill().unwrap();
        assert!(!child.wait().unwrap().success(), "writer {attempt} had ended before it was killed");
    }
    assert!(start_writer(shot.path()).wait().unwrap().success());
    let (calm_run, shot_run) = (only_run(calm.path()), only_run(shot.path()));
    assert_eq!(Record::read(&shot_run).unwrap().status, Status::Done);
    let expected = journal::content(&calm_run.join("run.db")).unwrap();
    assert_eq!(expected["evaluations"].len() as u64, GENERATIONS * POPULATION);
    assert_eq!(journal::content(&shot_run.join("run.db")).unwrap(), expected);
    check_notes(shot.path());
    check_events(&shot_run);
    check_store(&shot.path().join("store"));
}

/// No evaluation starts after it was done. (A kill between the commit and the note leaves one without its note.)
fn check_notes(root: &Path) {
    let (mut started, mut done) = (BTreeSet::new(), BTreeSet::new());
    for line in fs::read_to_string(root.join("notes")).unwrap().lines() {
        match line.split_once(' ').unwrap() {
            ("done", which) => assert!(done.insert(which.to_owned()), "{which} was done twice"),
            (_, which) => {
                assert!(!done.contains(which), "{which} was repeated");
                started.insert(which.to_owned());
            }
        }
    }
    assert_eq!(started.len() as u64, GENERATIONS * POPULATION);
}

fn check_events(run: &Path) {
    let text = fs::read_to_string(run.join("events.jsonl")).unwrap();
    let events: Vec<Event> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(events.iter().enumerate().all(|(i, event)| event.sequence == i as u64));
    assert!(matches!(events.last().unwrap().kind, EventKind::RunFinished { status: Status::Done, .. }));
    assert!(!events.iter().any(|e| matches!(&e.kind, EventKind::NodeFinished { outcome: NodeOutcome::Failed, .. })));
}

fn check_store(root: &Path) {
    let store = Store::open(root).unwrap();
    assert!(matches!(store.get(&Key::of("test", &[b"trained"])).unwrap(), Found::Artifact(_)));
    assert_eq!(store.size().unwrap().entries, 1 + GENERATIONS * POPULATION);
    drop(store);
    let report = Store::clean(root, Keep::default()).unwrap().unwrap();
    assert_eq!(report.removed_entries, 0);
}
