//! Workers and peers that only look like workers: deadlines, crashes, wrong words, strikes; nobody else is killed.
#![cfg(target_os = "linux")]
#![allow(clippy::disallowed_types, reason = "deadlines are measured")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails there")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use evo::sandbox::{Job, Limits, Verdict};
use evo::workers::{Answer, Ask, Hello, Lost, Manner, Pool, Reply, Request, Spec, Worker, read_frame, write_frame};

const EVO: &str = env!("CARGO_BIN_EXE_evo");
const SOON: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(30);

/// A peer that a shell plays, in a folder that it may write to.
fn peer(folder: &Path, script: &str) -> Spec {
    Spec { program: "sh".into(), args: vec!["-c".into(), script.into()], folder: Some(folder.into()), vars: Vec::new() }
}

/// A message as a file that a peer sends with `cat`.
fn message(folder: &Path, name: &str, message: &impl serde::Serialize) {
    let mut file = std::fs::File::create(folder.join(name)).unwrap();
    write_frame(&mut file, &serde_json::to_vec(message).unwrap()).unwrap();
}

fn ask(script: &str) -> Ask {
    let (name, inputs) = ("l".to_owned(), vec!["z".to_owned()]);
    Ask::Trace(Box::new(Job { name, script: script.to_owned(), inputs, limits: Limits::default() }))
}

fn manner(strikes: u32) -> Manner<'static> {
    Manner { within: LONG, strikes, stop: None }
}

/// Waits until a process that is not ours to wait for is gone.
fn is_gone(process: &str) -> bool {
    let path = PathBuf::from(format!("/proc/{process}"));
    (0..200).any(|_| {
        let state = std::fs::read_to_string(path.join("stat")).unwrap_or_default();
        let gone = state.is_empty() || state.contains(") Z ");
        if !gone {
            std::thread::sleep(Duration::from_millis(10));
        }
        gone
    })
}

#[test]
fn what_is_not_the_protocol_is_told_and_ends_the_peer() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    type Expected = fn(&Lost) -> bool;
    let cases: [(&str, Expected); 9] = [
        (
            "echo this is no worker at all; sleep 100",
            |lost| matches!(lost, Lost::Protocol(why) if why.contains("announced")),
        ),
        ("yes", |lost| matches!(lost, Lost::Protocol(_))),
        ("printf '\\377\\377\\377\\377'; sleep 100", |lost| matches!(lost, Lost::Protocol(_))),
        ("printf '\\377\\000\\000\\000cut'", |lost| matches!(lost, Lost::Protocol(why) if why.contains("within"))),
        ("printf '\\003\\000'", |lost| matches!(lost, Lost::Protocol(_))),
        (
            "echo the model is missing >&2; exit 7",
            |lost| matches!(lost, Lost::Ended(how) if how.contains('7') && how.contains("the model is missing")),
        ),
        ("kill -SEGV $$", |lost| matches!(lost, Lost::Ended(how) if how.contains("signal 11"))),
        ("exec >&-; sleep 100", |lost| matches!(lost, Lost::Ended(_))),
        ("sleep 100", |lost| *lost == Lost::Deadline(SOON)),
    ];
    for (script, is_expected) in cases {
        let mut worker = Worker::start(&peer(folder, script)).unwrap();
        let lost = worker.next(SOON, None).unwrap_err();
        assert!(is_expected(&lost), "{script}: {lost:?}");
    }
    let absent = Spec { program: "no-such-program".into(), ..peer(folder, "") };
    assert!(matches!(Worker::start(&absent), Err(Lost::Start(why)) if why.contains("no-such-program")));
}

#[test]
fn a_peer_that_reads_nothing_holds_nobody_up() {
    let folder = tempfile::tempdir().unwrap();
    let mut worker = Worker::start(&peer(folder.path(), "sleep 100")).unwrap();
    assert_eq!(worker.ask(vec![b' '; 8 << 20], SOON, None), Err(Lost::Deadline(SOON)));
}

#[test]
fn the_whole_group_is_killed_and_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let script = "sleep 1000 & echo $! > child; wait";
    let mut other = Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap();
    let mut worker = Worker::start(&peer(folder.path(), script)).unwrap();
    assert_eq!(worker.next(SOON, None), Err(Lost::Deadline(SOON)));
    let child = std::fs::read_to_string(folder.path().join("child")).unwrap();
    assert!(is_gone(child.trim()), "what the peer started is gone with it");
    assert!(other.try_wait().unwrap().is_none(), "what others started goes on");
    other.kill().unwrap();
    other.wait().unwrap();
    let worker = Worker::start(&peer(folder.path(), script)).unwrap();
    let id = worker.id().to_string();
    drop(worker);
    assert!(is_gone(&id), "one that is dropped is gone");
}

#[test]
fn a_peer_sees_nothing_of_the_environment_but_what_is_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let mut spec = peer(folder.path(), "env > seen");
    spec.vars.push(("MALLOC_ARENA_MAX".into(), "1".into()));
    assert!(matches!(Worker::start(&spec).unwrap().next(LONG, None), Err(Lost::Ended(_))));
    let seen = std::fs::read_to_string(folder.path().join("seen")).unwrap();
    let names: Vec<&str> = seen.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some() && names.contains(&"PATH"), "{names:?}");
    // What a shell sets by itself, what is allowed, and what was given.
    let known = [
        "CUDA_VISIBLE_DEVICES",
        "LD_LIBRARY_PATH",
        "PWD",
        "OLDPWD",
        "SHLVL",
        "_",
        "HOME",
        "LANG",
        "LC_ALL",
        "PATH",
        "RAYON_NUM_THREADS",
        "TMPDIR",
        "TZ",
        "MALLOC_ARENA_MAX",
    ];
    assert!(names.iter().all(|name| known.contains(name)), "{names:?}");
}

#[test]
fn three_strikes_and_a_request_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    message(folder, "hello", &Hello::own());
    let pool = Pool::new(peer(folder, "cat hello; echo one >> starts; head -c 4 > head; exit 3"), 2);
    let lost = pool.ask(&ask("-z"), manner(3)).unwrap_err();
    assert!(matches!(&lost, Lost::Ended(how) if how.contains('3')), "{lost:?}");
    assert_eq!(std::fs::read_to_string(folder.join("starts")).unwrap().lines().count(), 3);
    assert_eq!(pool.lost(), 3);
}

#[test]
fn what_never_says_hello_is_no_worker() {
    let folder = tempfile::tempdir().unwrap();
    for script in ["echo one >> starts; echo what is worker? >&2; exit 2", "echo one >> starts; echo hello"] {
        let pool = Pool::new(peer(folder.path(), script), 1);
        let lost = pool.ask(&ask("-z"), manner(1)).unwrap_err();
        assert!(matches!(lost, Lost::Start(_)), "{script}: {lost:?}");
        let starts = folder.path().join("starts");
        assert_eq!(std::fs::read_to_string(&starts).unwrap().lines().count(), 3, "it might have been killed");
        std::fs::remove_file(starts).unwrap();
    }
}

#[test]
fn one_that_recovers_within_its_strikes_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    message(folder, "hello", &Hello::own());
    message(folder, "answer", &Answer { id: 4, reply: Reply::Failed(Default::default()) });
    let script =
        "cat hello; echo one >> starts; if [ $(wc -l < starts) -lt 3 ]; then exit 3; fi; cat answer; sleep 100";
    let pool = Pool::new(peer(folder, script), 1);
    let reply = pool.ask(&ask("-z"), manner(3));
    assert_eq!(reply, Ok(Reply::Failed(Default::default())));
    // The same peer answers 4 again, whatever it is asked.
    std::fs::write(folder.join("starts"), "1\n2\n3\n").unwrap();
    let script = "cat hello; cat answer; sleep 100";
    let wrong = Pool::new(peer(folder, script), 1).ask(&ask("-z"), manner(1));
    assert!(matches!(wrong, Err(Lost::Protocol(why)) if why.contains("request 4")));
}

#[test]
fn a_worker_of_another_version_is_not_asked() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    message(folder, "hello", &Hello { version: "0.0.1".into(), ..Hello::own() });
    let pool = Pool::new(peer(folder, "cat hello; cat > asked"), 1);
    let lost = pool.ask(&ask("-z"), manner(3)).unwrap_err();
    assert!(matches!(&lost, Lost::Start(why) if why.contains("0.0.1")), "{lost:?}");
    assert_eq!(std::fs::read(folder.join("asked")).unwrap_or_default(), b"");
}

#[test]
fn a_worker_that_is_killed_while_idle_is_nobodys_strike() {
    let pool = Pool::new(Spec::of(EVO, Some(256 << 20)), 2);
    for _ in 0..3 {
        assert!(matches!(pool.ask(&ask("-z"), manner(1)), Ok(Reply::Traced(Verdict::Traced(_)))));
        let [worker] = pool.idle()[..] else { panic!("one worker is idle") };
        assert!(Command::new("kill").args(["-9", &worker.to_string()]).status().unwrap().success());
        assert!(is_gone(&worker.to_string()));
        std::thread::sleep(Duration::from_millis(50)); // the pipe's end is read by another thread
    }
    assert_eq!(pool.lost(), 2, "the third is still to be found out");
}

#[test]
fn a_worker_ends_with_the_one_who_asks() {
    let mut worker =
        Command::new(EVO).args(["worker", "--stdio"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = worker.stdout.take().unwrap();
    let hello: Hello = serde_json::from_slice(&read_frame(&mut stdout).unwrap().unwrap()).unwrap();
    assert_eq!(hello, Hello::own());
    let mut stdin = worker.stdin.take().unwrap();
    // Without limits of the engine it would go on for ever.
    let limits = Limits { operations: 0, tracing_ms: 600_000, ..Limits::default() };
    let (name, inputs) = ("l".to_owned(), vec!["z".to_owned()]);
    let job = Job { name, script: "loop { }".into(), inputs, limits };
    let request = Request { id: 1, ask: Ask::Trace(Box::new(job)) };
    write_frame(&mut stdin, &serde_json::to_vec(&request).unwrap()).unwrap();
    stdin.flush().unwrap();
    std::thread::sleep(Duration::from_millis(50));
    assert!(worker.try_wait().unwrap().is_none(), "it is at work");
    let clock = Instant::now();
    drop(stdin);
    assert!(worker.wait().unwrap().success());
    assert!(clock.elapsed() < Duration::from_secs(2));
}

#[test]
fn a_worker_that_has_used_up_its_processor_time_is_ended_by_the_system() {
    let limits = Limits { operations: 0, tracing_ms: 600_000, deadline_ms: 0, ..Limits::default() };
    let (name, inputs) = ("l".to_owned(), vec!["z".to_owned()]);
    let job = Job { name, script: "loop { }".into(), inputs, limits };
    let pool = Pool::new(Spec::of(EVO, None), 1);
    assert_eq!(pool.ask(&Ask::Trace(Box::new(job)), manner(3)), Err(Lost::Processor));
    assert_eq!(pool.lost(), 1, "what a limit ended is not tried again");
}
