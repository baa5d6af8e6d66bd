//! The session as a library: what is recomputed, what is refused, what is kept; and the transcript in the book.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails there")]

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};

use evo::datum::Datum;
use evo::engine::{Engine, Failure, HostFunction, RunOutcome, Session};
use evo::events::{Cancel, Event, EventKind, Shown, Status};
use evo::repl::{Output, Repl};
use evo::run::rows::OutputKind;
use evo::store::Key;

/// How often candidates were evaluated, by search.
#[derive(Default)]
struct Count(Mutex<BTreeMap<Key, usize>>);

impl Count {
    fn observer(self: &Arc<Count>) -> Arc<dyn evo::events::Observer> {
        let count = self.clone();
        Arc::new(move |event: &Event| {
            if let EventKind::Evaluation { search, cached: false, .. } = &event.kind {
                *count.0.lock().unwrap().entry(*search).or_default() += 1;
            }
        })
    }

    fn total(&self) -> usize {
        self.0.lock().unwrap().values().sum()
    }
}

fn session(folder: &Path) -> Session {
    Engine::builder().cwd(folder).jobs(1).build().session("session.evo")
}

#[track_caller]
fn enter(session: &mut Session, text: &str) -> Option<RunOutcome> {
    let entered = session.enter(text).unwrap_or_else(|failure| panic!("{text}: {failure}"));
    entered.evaluation.map(|evaluation| evaluation.start(vec![]).wait())
}

#[track_caller]
fn show(session: &mut Session, text: &str) -> Datum {
    let outcome = enter(session, text).unwrap();
    assert_eq!(outcome.status, Status::Done, "{text}: {:?}", outcome.failure);
    match &outcome.outputs[0].kind {
        OutputKind::Printed(Shown::Value(value)) => value.clone(),
        other => panic!("{text}: {other:?}"),
    }
}

fn refused(session: &mut Session, text: &str) -> Failure {
    session.enter(text).err().unwrap_or_else(|| panic!("{text} was taken"))
}

const SEARCHES: &str = "genome G { x: real in 0..1 }\nfitness up(g: G) = g.x\nfitness down(g: G) = -g.x\n\
                        evolve a { maximize: up, stop: { evaluations: 20 } }\n\
                        evolve b { maximize: down, stop: { evaluations: 20 } }";

#[test]
fn redefinition_recomputes_just_what_depends_on_it() {
    let folder = tempfile::tempdir().unwrap();
    let count = Arc::new(Count::default());
    let engine = Engine::builder().cwd(folder.path()).jobs(2).observer(count.observer()).build();
    let mut session = engine.session("session.evo");
    assert!(enter(&mut session, SEARCHES).is_none());
    assert_eq!(count.total(), 0, "a declaration computes nothing");
    let first = show(&mut session, "a.score");
    show(&mut session, "b.score");
    assert_eq!(count.total(), 40);
    // Shown again, or beside something new: nothing is computed.
    enter(&mut session, "let other = 3");
    assert_eq!(show(&mut session, "a.score"), first);
    assert_eq!(count.total(), 40);
    // One of the two searches depends on what is redefined.
    enter(&mut session, "fitness down(g: G) = -2 * g.x");
    assert_eq!(show(&mut session, "a.score"), first);
    assert_eq!(count.total(), 40);
    show(&mut session, "b.score");
    assert_eq!((count.total(), count.0.lock().unwrap().len()), (60, 3), "a search of its own, evaluated once");
    // As it was before: that is in the store.
    enter(&mut session, "fitness down(g: G) = -g.x");
    show(&mut session, "b.score");
    assert_eq!(count.total(), 60);
    // Both depend on the genome.
    enter(&mut session, "genome G { x: real in 0..2 }");
    show(&mut session, "a.score");
    show(&mut session, "b.score");
    assert_eq!(count.total(), 100);
}

#[test]
fn what_does_not_check_is_refused_and_the_session_stays() {
    let folder = tempfile::tempdir().unwrap();
    let mut session = session(folder.path());
    enter(&mut session, "let a = 1\nlet b = a + 1");
    let text = session.text();
    for (entry, code, place) in [
        ("let c = a +\n  nothing", "E0201", "entry:2:3"),
        ("let c = [1, ", "E0108", "entry:1:9"),
        ("a + nothing", "E0201", "entry:1:5"),
        ("1 +", "", "entry:1:"),
        ("let b = \"x\"\nlet b = 2", "E0202", "entry:2:5"),
        ("model m = hf(\"no/such/model\")", "", "entry:1:"),
    ] {
        let failure = refused(&mut session, entry);
        let found = failure.diagnostics[0].code.as_str();
        assert!(code.is_empty() || code == found, "{entry}: {failure}");
        assert!(failure.to_string().contains(place), "{entry}: {failure}");
        assert_eq!((session.text(), failure.exit_code), (text.clone(), 2), "{entry}");
    }
    assert_eq!(show(&mut session, "b"), Datum::Int(2));
}

#[test]
fn a_redefinition_that_breaks_others_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut session = session(folder.path());
    enter(&mut session, "let a = 1\nlet b = a + 1");
    let told = refused(&mut session, "let a = \"one\"").to_string();
    assert!(told.contains("session.evo:2:") && told.contains("needs the old `a`"), "{told}");
    assert_eq!(show(&mut session, "b"), Datum::Int(2));
    // Both at once are fine; each keeps its place.
    let entered = session.enter("let a = 1.5\nlet b = a * 2").unwrap();
    assert!(entered.declared.iter().all(|d| d.replaced), "{:?}", entered.declared);
    assert_eq!(show(&mut session, "b"), Datum::Real(3.0));
    assert_eq!(session.text(), "let a = 1.5\nlet b = a * 2\n");
    // What others need cannot be taken out.
    assert!(session.drop("a").unwrap_err().to_string().contains("unknown name `a`"));
    assert!(session.drop("bb").unwrap_err().to_string().contains("did you mean `b`?"));
    session.drop("b").unwrap();
    session.drop("a").unwrap();
    assert_eq!(session.text(), "");
}

/// Where a host function finds the token of the evaluation that calls it.
#[derive(Default)]
struct Stopper(Mutex<Option<Cancel>>, Condvar);

impl Stopper {
    fn give(&self, cancel: &Cancel) {
        *self.0.lock().unwrap() = Some(cancel.clone());
        self.1.notify_all();
    }

    fn take(&self) -> Cancel {
        let mut cancel = self.0.lock().unwrap();
        while cancel.is_none() {
            cancel = self.1.wait(cancel).unwrap();
        }
        cancel.clone().unwrap()
    }
}

#[test]
fn a_stopped_evaluation_keeps_the_session_and_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let count = Arc::new(Count::default());
    let (stopper, calls) = (Arc::new(Stopper::default()), Arc::new(Mutex::new(0)));
    let (to_stop, counted) = (stopper.clone(), calls.clone());
    let work = HostFunction::pure("work", "1", move |args| {
        let mut calls = counted.lock().unwrap();
        *calls += 1;
        if *calls == 7 {
            to_stop.take().stop();
        }
        Ok::<_, String>(args[0].clone())
    });
    let engine = Engine::builder().cwd(folder.path()).jobs(1).observer(count.observer()).function(work).build();
    let mut session = engine.session("session.evo");
    enter(
        &mut session,
        "extern fn work(x: real) -> real\ngenome G { x: real in 0..1 }\nfitness f(g: G) = work(g.x)\n\
         evolve s { maximize: f, by: random_search { population: 5 }, stop: { evaluations: 20 } }",
    );
    let job = session.enter("s.score").unwrap().evaluation.unwrap().start(vec![]);
    stopper.give(job.cancel());
    assert_eq!(job.wait().status, Status::Interrupted);
    let before = count.total();
    assert!((5..=7).contains(&before), "{before} of 20 are finished");
    assert_eq!(show(&mut session, "1 + 1"), Datum::Int(2), "the session goes on");
    // Even with something new in the session, and even in another session.
    enter(&mut session, "let other = 1");
    show(&mut session, "s.score");
    assert_eq!(count.total(), 20, "what was finished is not evaluated again");
}

#[test]
fn a_plain_expression_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let mut session = session(folder.path());
    enter(&mut session, "fn f(x: real) -> real = x ^ 2");
    assert_eq!(show(&mut session, "f(3)"), Datum::Real(9.0));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    // A search is a run; asked again, it leaves none.
    enter(&mut session, SEARCHES);
    let outcome = enter(&mut session, "a.score").unwrap();
    assert!(outcome.run_dir.join("run.json").is_file());
    let again = enter(&mut session, "a.score").unwrap();
    assert_eq!((again.run_dir.as_os_str().len(), again.outputs), (0, outcome.outputs));
    assert_eq!(fs::read_dir(folder.path().join("runs")).unwrap().count(), 1);
}

#[test]
fn programs_are_loaded_and_saved_with_their_comments() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("lab")).unwrap();
    fs::write(folder.path().join("lab/other.evo"), "let three = 3").unwrap();
    let text = "//! A program.\n\nuse \"other.evo\" as other\n\n// Why it is two.\nparam n: int = 2   // or more\n\
                print n * other.three\nexpect n > 1\n";
    fs::write(folder.path().join("lab/program.evo"), text).unwrap();
    let mut session = session(folder.path());
    session.load("lab/program.evo".as_ref()).unwrap();
    assert_eq!(session.text(), text);
    assert_eq!(show(&mut session, "n"), Datum::Int(2));
    let outcome = session.run().unwrap().unwrap().start(vec![]).wait();
    assert_eq!((outcome.status, outcome.outputs.len()), (Status::Done, 2));
    session.set_param("n", "0").unwrap();
    assert_eq!(session.run().unwrap().unwrap().start(vec![]).wait().status, Status::Refuted);
    assert!(session.set_param("m", "0").unwrap_err().to_string().contains("no param `m`"));
    assert!(session.set_param("n", "many").unwrap_err().to_string().contains("cannot be `many`"));
    assert_eq!(show(&mut session, "n"), Datum::Int(0));
}

#[test]
fn a_program_is_loaded_into_a_session_that_has_items() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("program.evo"), "//! A program\n//! of two lines.\n\nlet b = a + 1\nlet a = 2\n")
        .unwrap();
    let mut session = session(folder.path());
    enter(&mut session, "let a = 1");
    session.load("program.evo".as_ref()).unwrap();
    assert_eq!(session.text(), "let a = 2\n// A program\n// of two lines.\n\nlet b = a + 1\n");
    assert_eq!(show(&mut session, "b"), Datum::Int(3));
}

#[test]
fn the_session_completes_explains_and_types() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("models/tiny")).unwrap();
    let mut session = session(folder.path());
    enter(&mut session, SEARCHES);
    enter(&mut session, "/// The answer.\nlet answer = 42");
    let labels =
        |entry: &str| -> Vec<String> { session.complete(entry, entry.len()).into_iter().map(|c| c.label).collect() };
    assert_eq!(labels("a.best.")[0], "x");
    assert_eq!(labels("answ"), ["answer", "answers"]);
    assert!(labels("ev").contains(&"evolve".to_owned()), "{:?}", labels("ev"));
    assert_eq!(labels("evolve c { maximize: up, st"), ["stop"]);
    assert_eq!(labels("hf(\"mod"), ["models/"]);
    let found = session.complete("2 * ans", 7);
    assert_eq!((found[0].range.clone(), found[0].insert.as_str()), (4..7, "answer"));
    assert_eq!(session.type_of("a.best").unwrap(), "G");
    assert!(session.type_of("nothing").is_err());
    assert_eq!(session.document("answer")[0].plain(), "let answer = 42\n\nThe answer.");
    assert!(session.document("cma_es")[0].plain().contains("Hansen"));
}

/// Keeps what is written.
#[derive(Default)]
struct Written(Mutex<Vec<String>>);

impl Written {
    fn take(&self) -> String {
        std::mem::take(&mut *self.0.lock().unwrap()).join("\n")
    }
}

impl Output for Written {
    fn result(&self, text: &str) -> io::Result<()> {
        self.0.lock().unwrap().push(text.to_owned());
        Ok(())
    }

    fn note(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
}

/// A host function that returns when it is let go.
fn gate() -> (HostFunction, Arc<(Mutex<bool>, Condvar)>) {
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let waited = gate.clone();
    let function = HostFunction::pure("gate", "1", move |args| {
        let mut open = waited.0.lock().unwrap();
        while !*open {
            open = waited.1.wait(open).unwrap();
        }
        Ok::<_, String>(args[0].clone())
    });
    (function, gate)
}

fn open(gate: &(Mutex<bool>, Condvar)) {
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
}

#[test]
fn jobs_run_in_the_background_and_are_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let (function, gate) = gate();
    let engine = Engine::builder().cwd(folder.path()).jobs(1).function(function).build();
    let written = Arc::new(Written::default());
    let mut repl = Repl::new(&engine, written.clone());
    repl.take("extern fn gate(x: real) -> real");
    written.take();
    assert_eq!(repl.take("gate(1) &").code, 0);
    repl.take(":bg gate(2)");
    assert_eq!(written.take(), "[1] gate(1)\n[2] gate(2)");
    // The session answers while they run.
    repl.take("1 + 1");
    repl.take(":jobs");
    assert_eq!((written.take().as_str(), repl.running()), ("2\n[1] gate(1)\n[2] gate(2)", 2));
    assert_eq!(repl.take(":cancel 9").code, 2);
    assert!(written.take().contains("there is no job 9"));
    repl.take(":cancel 2");
    repl.take(":jobs");
    assert!(written.take().contains("[2] gate(2) (stopping)"));
    open(&gate);
    repl.take(":wait");
    let told = written.take();
    assert!(told.contains("[1] gate(1): done") && told.contains("\n1.0"), "{told}");
    assert!(told.contains("[2] gate(2): "), "{told}");
    assert_eq!(repl.running(), 0);
    repl.take(":jobs");
    assert_eq!(written.take(), "nothing runs");
}

#[test]
fn commands_answer_and_tell_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let written = Arc::new(Written::default());
    let engine = Engine::builder().cwd(folder.path()).jobs(3).build();
    let mut repl = Repl::new(&engine, written.clone());
    let mut said = |entry: &str| {
        let taken = repl.take(entry);
        (taken.code, written.take())
    };
    assert_eq!(said("param rate: real = 0.5"), (0, "param rate: real".into()));
    assert_eq!(said(":type 2 * rate"), (0, "real".into()));
    let usual = evo_stdlib::model::Device::best().map_or("cpu", |device| device.name());
    let settings = format!("rate = 0.5\nseed = 0\ntiny = false\ndevice = {usual}\njobs = 3");
    assert_eq!(said(":set"), (0, settings));
    assert_eq!(said(":set rate=0.25"), (0, String::new()));
    assert_eq!(said("rate"), (0, "0.25".into()));
    assert_eq!(said(":set seed=three").0, 2);
    assert_eq!(said(":set device=cpu"), (0, String::new()));
    let (code, told) = said(":set device=tpu");
    assert!(code == 2 && told.contains("E0143") && told.contains("the devices are `cpu`"), "{told}");
    assert_eq!(said(":list"), (0, "param rate: real = 0.5".into()));
    assert!(said(":doc sigmoid").1.contains("fn sigmoid(x: real) -> real"));
    assert!(said("sigmoid").1.contains("fn sigmoid(x: real) -> real"), "a bare function is a question about it");
    assert_eq!(said(":doc nothing_at_all").0, 2);
    assert_eq!(said(":frobnicate").0, 2);
    assert_eq!(said("expect 1 > 2").0, 1);
    assert_eq!(said("[1, 2, 3]"), (0, "[1, 2, 3]".into()));
    assert_eq!(said("{ a: 1, b: 2 }").1.lines().count(), 4);
    assert!(said(":time rate").1.contains("computed in"));
    let file = folder.path().join("saved").display().to_string();
    assert_eq!(said(&format!(":save {file}")).0, 0);
    assert_eq!(said(":reset"), (0, "the session is empty".into()));
    assert_eq!(said(&format!(":load {file}.evo")).0, 0);
    assert!(said(":list").1.contains("expect 1 > 2"));
    assert_eq!(said(":run").0, 1);
    assert!(repl.take(":quit").leaves);
}

/// The fences of the book's page that are transcripts: entries behind `evo> `, and what each gives.
#[test]
fn the_transcript_of_the_book_is_what_a_session_says() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../book/src/repl.md");
    let text = fs::read_to_string(&page).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let written = Arc::new(Written::default());
    let mut repl = Repl::new(&Engine::builder().cwd(folder.path()).jobs(2).build(), written.clone());
    let (mut out, mut entries, mut inside) = (String::new(), 0, false);
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        inside = match line {
            "```text repl" => true,
            "```" => false,
            _ => inside,
        };
        match line.strip_prefix("evo> ").filter(|_| inside) {
            Some(entry) => {
                let mut entry = entry.to_owned();
                out += &format!("{line}\n");
                while evo_lang::ide::unfinished(&entry) {
                    let next = lines.next().unwrap();
                    out += &format!("{next}\n");
                    entry = format!("{entry}\n{next}");
                }
                repl.take(&entry);
                entries += 1;
                let said = written.take();
                out += &if said.is_empty() { said } else { said + "\n" };
                while lines.peek().is_some_and(|l| !l.starts_with("evo> ") && *l != "```") {
                    lines.next();
                }
            }
            None => out += &format!("{line}\n"),
        }
    }
    assert!(entries > 8, "{entries}");
    if std::env::var_os("EVO_BLESS").is_some() {
        fs::write(&page, &out).unwrap();
        return;
    }
    assert!(out == text, "the page differs from what a session says (EVO_BLESS=1 writes it anew):\n{out}");
}
