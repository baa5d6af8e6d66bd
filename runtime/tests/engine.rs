//! The embedding API: host functions, what becomes of failed candidates, limits by the clock, a journal that is contradicted.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails there")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use evo::datum::Datum;
use evo::engine::{Engine, Failure, HostFunction, Resume, RunOptions, RunOutcome, Settings};
use evo::events::{Cancel, Shown, Status};
use evo::run::journal;
use evo::run::rows::OutputKind;

fn engine(folder: &Path, functions: Vec<HostFunction>) -> Engine {
    let builder = Engine::builder().cwd(folder).jobs(2);
    functions.into_iter().fold(builder, |builder, function| builder.function(function)).build()
}

fn start(engine: &Engine, text: &str, resume: Resume) -> Result<RunOutcome, Failure> {
    let plan = engine.load_text("host.evo", text).plan(&Settings::new())?;
    Ok(plan.start(RunOptions { resume, ..RunOptions::default() })?.wait())
}

fn run(folder: &Path, text: &str, functions: Vec<HostFunction>) -> RunOutcome {
    start(&engine(folder, functions), text, Resume::No).unwrap()
}

fn resume(folder: &Path, text: &str, functions: Vec<HostFunction>) -> RunOutcome {
    start(&engine(folder, functions), text, Resume::Latest).unwrap()
}

fn printed(outcome: &RunOutcome) -> Vec<Shown> {
    let shown = |kind: &OutputKind| match kind {
        OutputKind::Printed(shown) => Some(shown.clone()),
        _ => None,
    };
    outcome.outputs.iter().filter_map(|output| shown(&output.kind)).collect()
}

fn code(outcome: &RunOutcome) -> &str {
    outcome.failure.as_ref().unwrap().diagnostics[0].code.as_str()
}

fn real(args: &[Datum]) -> f64 {
    match args {
        [Datum::Real(x), ..] => *x,
        other => panic!("one real is wanted, not {other:?}"),
    }
}

fn twice(version: &str) -> HostFunction {
    HostFunction::pure("twice", version, |args| Ok::<_, String>(Datum::Real(2.0 * real(args))))
}

/// Stops its run, as Ctrl-C does.
fn halt(cancel: &Cancel) -> HostFunction {
    let cancel = cancel.clone();
    HostFunction::with_effects("halt", "1", move |args| {
        cancel.stop();
        Ok::<_, String>(Datum::Real(real(args)))
    })
}

/// Runs until `halt` is called.
fn interrupted(folder: &Path, text: &str, functions: Vec<HostFunction>) -> RunOutcome {
    let cancel = Cancel::default();
    let builder = Engine::builder().cwd(folder).jobs(2).cancel(cancel.clone()).function(halt(&cancel));
    let engine = functions.into_iter().fold(builder, |builder, function| builder.function(function)).build();
    let outcome = start(&engine, text, Resume::No).unwrap();
    assert_eq!(outcome.status, Status::Interrupted);
    outcome
}

/// A `halt` that lets the run go on.
fn pass() -> HostFunction {
    HostFunction::with_effects("halt", "1", |args| Ok::<_, String>(Datum::Real(real(args))))
}

#[test]
fn host_functions_take_and_give_plain_values() {
    let folder = tempfile::tempdir().unwrap();
    let text = "extern fn twice(x: real) -> real\nextern fn words(text: text, n: int) -> { all: [text], n: int }\n\
                fn f(x: real) -> real = twice(x) + 1\nprint f(1.5)\nprint words(\"a b\", 2)";
    let words = HostFunction::pure("words", "1", |args| match args {
        [Datum::Text(text), Datum::Int(n)] => {
            let all: Vec<&str> = text.split(' ').collect();
            Ok([("n", Datum::Int(*n)), ("all", all.into())].into_iter().collect::<Datum>())
        }
        other => Err(format!("{other:?}")),
    });
    let outcome = run(folder.path(), text, vec![twice("1"), words]);
    assert_eq!(outcome.status, Status::Done, "{:?}", outcome.failure);
    let printed = printed(&outcome);
    assert_eq!(printed[0], Shown::Value(Datum::Real(4.0)));
    assert!(matches!(&printed[1], Shown::Table(table) if format!("{table:?}").contains("\"b\"")), "{printed:?}");
}

#[test]
fn an_unbound_host_function_is_a_check_error() {
    let folder = tempfile::tempdir().unwrap();
    let check = |text: &str| {
        let failure = start(&engine(folder.path(), vec![twice("1")]), text, Resume::No).err().unwrap();
        assert_eq!((failure.exit_code, failure.diagnostics[0].code.as_str()), (2, "E0424"));
        failure.to_string()
    };
    let near = check("extern fn twicce(x: real) -> real\nprint twicce(1.0)");
    assert!(near.contains("host.evo:2:7") && near.contains("did you mean `twice`?"), "{near}");
    let model = check("extern fn twice(m: Model) -> real\nprint twice(llama_tiny {})");
    assert!(model.contains("takes or gives a `Model`"), "{model}");
    assert!(!folder.path().join("runs").exists());
}

#[test]
fn a_host_function_that_fails_is_told_at_its_call() {
    let folder = tempfile::tempdir().unwrap();
    let text = "extern fn bad(x: real) -> real\nprint bad(1.0)";
    let cases: [(HostFunction, &str); 3] = [
        (HostFunction::pure("bad", "1", |_| Err("the service is down")), "`bad` failed: the service is down"),
        (HostFunction::pure("bad", "1", |_| Ok::<_, String>("text".into())), "not a `real`"),
        (HostFunction::pure("bad", "1", |_| -> Result<Datum, String> { panic!("it broke") }), "it broke"),
    ];
    for (function, message) in cases {
        let outcome = run(folder.path(), text, vec![function]);
        assert_eq!((outcome.exit_code(), code(&outcome)), (3, "R0515"));
        let told = outcome.failure.unwrap().to_string();
        assert!(told.contains(message) && told.contains("host.evo:2:7"), "{told}");
    }
}

#[test]
fn a_call_with_effects_is_made_once_and_replayed() {
    let folder = tempfile::tempdir().unwrap();
    // The run is halted after the first answer, on however many threads.
    let text = "extern fn ask(x: real) -> real\nextern fn halt(x: real) -> real\nlet a = ask(1.0)\nlet h = halt(a + 1)\n\
                print a\nprint ask(1.0) + h\nprint ask(h)";
    let count = Arc::new(AtomicU32::new(0));
    let calls = count.clone();
    let ask = HostFunction::with_effects("ask", "1", move |args| {
        let nth = calls.fetch_add(1, Ordering::SeqCst);
        Ok::<_, String>(Datum::Real(real(args) + 10.0 * f64::from(nth)))
    });
    interrupted(folder.path(), text, vec![ask.clone()]);
    assert_eq!(count.load(Ordering::SeqCst), 1);
    let outcome = resume(folder.path(), text, vec![ask, pass()]);
    assert_eq!(outcome.status, Status::Done, "{:?}", outcome.failure);
    assert_eq!(count.load(Ordering::SeqCst), 2, "ask(1.0) is replayed, ask(2.0) is asked");
    assert_eq!(printed(&outcome), [1.0, 3.0, 12.0].map(|x| Shown::Value(Datum::Real(x))));
}

const SEARCH: &str =
    "extern fn outside(x: real) -> real\ngenome G { x: real in 0..1 }\nfitness f(g: G) = outside(g.x)\n";

/// Fails the first `times` times for every argument.
fn flaky(times: usize) -> HostFunction {
    let seen = std::sync::Mutex::new(Vec::new());
    HostFunction::pure("outside", "1", move |args| {
        let mut seen = seen.lock().unwrap();
        let x = real(args);
        seen.push(x.to_bits());
        if seen.iter().filter(|bits| **bits == x.to_bits()).count() <= times { Err("busy") } else { Ok(Datum::Real(x)) }
    })
}

fn outcomes(outcome: &RunOutcome) -> Vec<String> {
    let content = journal::content(&outcome.run_dir.join("run.db")).unwrap();
    content["evaluations"].iter().map(|row| row[4].clone()).collect()
}

#[test]
fn a_failed_evaluation_is_tried_again_as_often_as_asked() {
    for (times, expected) in [(1, "failed"), (2, "scored")] {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "{SEARCH}evolve s {{ maximize: f, by: random_search {{ population: 3 }}, stop: {{ generations: 2 }}, \
             on_failure: retry({times}) }}\nprint s.score"
        );
        let outcome = run(folder.path(), &text, vec![flaky(2)]);
        assert_eq!(outcomes(&outcome), vec![format!("Text({expected:?})"); 6]);
        assert_eq!(outcome.exit_code(), if times == 2 { 0 } else { 3 });
    }
}

#[test]
fn abort_ends_the_search_with_the_first_failure() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "{SEARCH}evolve s {{ maximize: f, by: random_search {{ population: 4 }}, stop: {{ generations: 5 }}, \
         on_failure: abort }}\nprint s.score"
    );
    let below = HostFunction::pure("outside", "1", |args| {
        let x = real(args);
        if x > 0.5 { Err(format!("{x} is too much")) } else { Ok(Datum::Real(x)) }
    });
    let outcome = run(folder.path(), &text, vec![below]);
    assert_eq!((outcome.exit_code(), code(&outcome)), (3, "R0515"));
    let told = outcome.failure.as_ref().unwrap().to_string();
    assert!(told.contains("is too much") && told.contains("of generation 0; `on_failure: abort`"), "{told}");
    let nan = HostFunction::pure("outside", "1", |_| Ok::<_, String>(Datum::Real(f64::NAN)));
    assert_eq!(code(&run(folder.path(), &text, vec![nan.clone()])), "R0502");
    let outcome = run(folder.path(), &text.replace("abort", "rank_last"), vec![nan]);
    let told = outcome.failure.unwrap().to_string();
    assert!(told.contains("R0501") && told.contains("the last reason: the fitness is NaN"), "{told}");
}

#[test]
fn a_fault_in_numeric_code_is_told_at_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let text = "fn pick(x: real[2], i: int) -> real = x[i]\ngenome G { i: int in 2..5 }\n\
                fitness f(g: G) = pick([1.0, 2.0], g.i)\n\
                evolve s { maximize: f, by: random_search(), stop: { evaluations: 4 }, on_failure: abort }\nprint s.score";
    let outcome = run(folder.path(), text, vec![]);
    let diagnostic = &outcome.failure.as_ref().unwrap().diagnostics[0];
    let at = |part: &str| text.find(part).unwrap() as u32;
    let told = diagnostic.secondary.iter().map(|label| (label.span.start, label.text.as_str())).collect::<Vec<_>>();
    assert_eq!(diagnostic.code.as_str(), "R0503");
    assert!(told.contains(&(at("x[i]"), "the fault")), "{told:?}");
}

#[test]
fn candidates_say_what_made_them() {
    for method in ["cma_es", "random_search"] {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "genome G {{ x: real in 0..1 }}\nfitness f(g: G) = g.x\n\
             evolve s {{ maximize: f, by: {method} {{ population: 4 }}, stop: {{ generations: 2 }} }}\nprint s.score"
        );
        let outcome = run(folder.path(), &text, vec![]);
        let content = journal::content(&outcome.run_dir.join("run.db")).unwrap();
        assert_eq!(content["candidates"].len(), 8);
        assert!(content["candidates"].iter().all(|row| row[4] == format!("Text({method:?})")), "{content:?}");
        assert!(content["lineage"].is_empty(), "sampled from a distribution: no parents");
    }
}

fn timed(limit: &str) -> String {
    format!(
        "{SEARCH}extern fn halt(x: real) -> real\n\
         evolve s {{ maximize: f, by: random_search {{ population: 3 }}, stop: {{ generations: 9, time: {limit} }} }}\n\
         print s.ended\nprint s.history\nprint halt(halt(s.score))"
    )
}

fn slow() -> HostFunction {
    HostFunction::pure("outside", "1", |args| {
        std::thread::sleep(Duration::from_millis(2));
        Ok::<_, String>(Datum::Real(real(args)))
    })
}

fn instant() -> HostFunction {
    HostFunction::pure("outside", "1", |args| Ok::<_, String>(Datum::Real(real(args))))
}

#[test]
fn a_search_that_time_ended_ends_there_again() {
    let folder = tempfile::tempdir().unwrap();
    let text = timed("1ms");
    let first = interrupted(folder.path(), &text, vec![slow()]);
    assert_eq!(outcomes(&first).len(), 3, "one generation of 3 takes 2 ms at least");
    // As if no time had passed: that the search had ended is what counts.
    let db = rusqlite::Connection::open(first.run_dir.join("run.db")).unwrap();
    db.execute("UPDATE evaluations SET elapsed = 0", []).unwrap();
    drop(db);
    let outcome = resume(folder.path(), &text, vec![instant(), pass()]);
    assert_eq!(outcome.status, Status::Done, "{:?}", outcome.failure);
    assert_eq!(printed(&outcome)[..2], printed(&first)[..2]);
    assert_eq!(outcomes(&outcome).len(), 3);
}

#[test]
fn time_counts_over_all_segments_of_a_run() {
    let folder = tempfile::tempdir().unwrap();
    // The run is stopped within its first generation, after its first evaluation.
    let text = timed("1h").replace("= outside(g.x)", "= halt(outside(g.x))");
    let first = interrupted(folder.path(), &text, vec![instant()]);
    let done = outcomes(&first).len();
    assert!((1..=3).contains(&done), "{done}");
    let db = rusqlite::Connection::open(first.run_dir.join("run.db")).unwrap();
    db.execute("UPDATE evaluations SET elapsed = 3601", []).unwrap();
    drop(db);
    let outcome = resume(folder.path(), &text, vec![instant(), pass()]);
    assert_eq!(outcome.status, Status::Done, "{:?}", outcome.failure);
    assert_eq!(outcomes(&outcome).len(), 3, "the generation is finished, and no other begun");
    assert_eq!(printed(&outcome)[0], Shown::Text("3600 s have passed".into()));
}

#[test]
fn what_hangs_on_the_clock_is_not_shared_across_runs() {
    let folder = tempfile::tempdir().unwrap();
    let text = "extern fn outside(x: real) -> real\n\
        model base = llama_tiny { layers: 1, width: 8, heads: 1, feed_forward: 8, context: 64 }\n\
        data d = word_problems { language: \"en\", left: 1..=9, right: 1..=9, count: 8, seed: 1 }\n\
        task t = likelihood { data: d }\ngenome G { x: real in 0..1 }\nfitness f(g: G) = outside(g.x)\n\
        evolve s { maximize: f, by: random_search { population: 2 }, stop: { time: 1ms } }\n\
        merge child(g: G) = linear { models: [base, base], weight: [g.x, 1 - g.x] }\n\
        print score(base, t)\nprint score(child(s.best), t)";
    let outcome = run(folder.path(), text, vec![slow()]);
    assert_eq!(outcome.status, Status::Done, "{:?}", outcome.failure);
    let overview = engine(folder.path(), vec![slow()]);
    let overview = overview.load_text("host.evo", text).plan(&Settings::new()).unwrap().overview().unwrap();
    let cached: Vec<bool> = overview.nodes.iter().filter(|n| n.kind == "score").map(|n| n.cached).collect();
    assert_eq!(cached, [true, false]);
}

/// A search over merges; `seen` sees every candidate whose merge is computed. The last request makes one more: what it
/// merges is known by the search, not by its weights.
fn merging(generations: u32) -> String {
    format!(
        "extern fn seen(x: real) -> real\n\
         model base = llama_tiny {{ layers: 1, width: 8, heads: 1, feed_forward: 8, context: 64 }}\n\
         data d = word_problems {{ language: \"en\", left: 1..=9, right: 1..=9, count: 8, seed: 1 }}\n\
         task t = likelihood {{ data: d }}\ngenome G {{ x: real in 0..1 }}\n\
         merge child(g: G) = linear {{ models: [base, base], weight: [seen(g.x), 0.5], normalize: false }}\n\
         fitness f(g: G) = score(child(g), t)\n\
         evolve s {{ maximize: f, by: cma_es {{ population: 3 }}, stop: {{ generations: {generations} }} }}\n\
         print s.score\nprint s.history\nprint score(child(s.best), t)"
    )
}

fn seen(count: &Arc<AtomicU32>) -> HostFunction {
    let count = count.clone();
    HostFunction::pure("seen", "1", move |args| {
        count.fetch_add(1, Ordering::SeqCst);
        Ok::<_, String>(Datum::Real(real(args)))
    })
}

#[test]
fn what_leads_to_kept_scores_is_not_computed() {
    let count = Arc::new(AtomicU32::new(0));
    let merging = |folder: &Path, jobs: usize, generations: u32| {
        count.store(0, Ordering::SeqCst);
        let engine = Engine::builder().cwd(folder).jobs(jobs).function(seen(&count)).build();
        let outcome = start(&engine, &merging(generations), Resume::No).unwrap();
        assert_eq!(outcome.status, Status::Done, "{:?}", outcome.failure);
        let content = journal::content(&outcome.run_dir.join("run.db")).unwrap();
        ((printed(&outcome), content), count.load(Ordering::SeqCst))
    };
    for jobs in [1, 2] {
        let (calm, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (expected, merged) = merging(calm.path(), jobs, 4);
        assert_eq!(merged, 12 + 1);
        assert_eq!(merging(folder.path(), jobs, 2).1, 6 + 1);
        assert_eq!(merging(folder.path(), jobs, 4), (expected.clone(), 6 + 1), "extended: what is new");
        assert_eq!(merging(folder.path(), jobs, 4), (expected.clone(), 0), "again: nothing");
        // What is damaged in the store is computed from its inputs.
        let db = rusqlite::Connection::open(folder.path().join(".evo/store/index.db")).unwrap();
        assert!(db.execute("UPDATE entries SET value = x'00'", []).unwrap() >= 13);
        drop(db);
        assert_eq!(merging(folder.path(), jobs, 4), (expected, 12 + 1), "damaged: all");
    }
}

#[test]
fn a_candidate_takes_its_own_time() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "{SEARCH}evolve s {{ maximize: f, by: random_search {{ population: 4 }}, stop: {{ generations: 1 }} }}\n\
         print s.score"
    );
    let engine = Engine::builder().cwd(folder.path()).jobs(1).function(slow()).build();
    let outcome = start(&engine, &text, Resume::No).unwrap();
    let db = rusqlite::Connection::open(outcome.run_dir.join("run.db")).unwrap();
    let sql = "SELECT count(*), min(seconds), sum(seconds), max(elapsed) FROM evaluations";
    let (count, least, sum, elapsed): (u32, f64, f64, f64) =
        db.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))).unwrap();
    assert_eq!(count, 4);
    assert!(least >= 0.002, "each sleeps that long, but took {least}");
    assert!(sum <= elapsed, "one after another, they took {sum} of {elapsed}");
}

#[test]
fn a_contradicted_journal_ends_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let text =
        "extern fn noise(x: real) -> real\nextern fn halt(x: real) -> real\nprint noise(1.0)\nprint halt(halt(2.0))";
    let noise = |answer: f64| HostFunction::pure("noise", "1", move |_| Ok::<_, String>(Datum::Real(answer)));
    interrupted(folder.path(), text, vec![noise(0.25)]);
    let outcome = resume(folder.path(), text, vec![noise(0.75), pass()]);
    assert_eq!((outcome.exit_code(), code(&outcome)), (3, "R0545"));
    assert!(outcome.failure.unwrap().to_string().contains("host.evo:3:"));

    // The same within a search: a candidate that differs from the one that the journal holds.
    let folder = tempfile::tempdir().unwrap();
    let first = interrupted(folder.path(), &timed("1h"), vec![instant()]);
    let db = rusqlite::Connection::open(first.run_dir.join("run.db")).unwrap();
    db.execute("UPDATE candidates SET genome = '{\"x\":0.5}' WHERE generation = 1 AND candidate = 1", []).unwrap();
    drop(db);
    let outcome = resume(folder.path(), &timed("1h"), vec![instant(), pass()]);
    assert_eq!((outcome.exit_code(), code(&outcome)), (3, "R0545"));
    assert!(outcome.failure.unwrap().to_string().contains("`candidates` has a row"));
}

#[test]
fn what_does_not_fit_into_memory_is_refused_before_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let text = "model base = llama_tiny { layers: 2, width: 64, heads: 2, feed_forward: 96, context: 64 }\n\
        data d = word_problems { language: \"en\", left: 1..=9, right: 1..=9, count: 8, seed: 1 }\n\
        train tuned { start: base, on: d, steps: 1, batch: 4 }\nprint parameters(tuned)";
    let parameters = 256 * 64 + 2 * (4 * 64 * 64 + 3 * 64 * 96 + 2 * 64) + 64;
    let start_with = |memory: u64| {
        let engine = Engine::builder().cwd(folder.path()).memory(memory).build();
        start(&engine, text, Resume::No)
    };
    let failure = start_with(16 * parameters - 1).err().unwrap();
    assert_eq!((failure.exit_code, failure.diagnostics[0].code.as_str()), (2, "E0425"));
    let told = failure.to_string();
    assert!(told.contains("`tuned` needs 1.4 MB of memory") && told.contains("host.evo:3:1"), "{told}");
    assert!(!folder.path().join("runs").exists());
    assert_eq!(start_with(16 * parameters).unwrap().exit_code(), 0);
}

#[test]
fn as_many_candidates_are_under_way_as_fit_into_memory() {
    let folder = tempfile::tempdir().unwrap();
    let text = "model base = llama_tiny { layers: 2, width: 32, heads: 2, feed_forward: 48, context: 64, seed: 1 }\n\
        model other = llama_tiny { layers: 2, width: 32, heads: 2, feed_forward: 48, context: 64, seed: 2 }\n\
        data d = word_problems { language: \"en\", left: 1..=9, right: 1..=9, count: 4, seed: 1 }\n\
        task sums = likelihood { data: d }\ngenome G { w: real[layers(base)] in 0..1 }\n\
        merge child(g: G) = linear { models: [base, other], weight: (m, t) => if m == 0 then 1 - g.w[t.layer] else g.w[t.layer] }\n\
        fitness skill(g: G) = score(child(g), sums)\n\
        evolve search { maximize: skill, by: cma_es { population: 5 }, stop: { generations: 2 }, seed: 3 }\nprint search.score";
    let engine = |memory: u64| {
        let store = folder.path().join(format!("store-{memory}"));
        Engine::builder().cwd(folder.path()).store(store).memory(memory).jobs(3).build()
    };
    let candidates = |memory: u64| {
        let plan = engine(memory).load_text("host.evo", text).plan(&Settings::new()).unwrap();
        plan.overview().unwrap().nodes.into_iter().find_map(|node| node.candidates).unwrap()
    };
    let much = candidates(1 << 40);
    // The packed weights of one, and what a pass takes.
    let parameters = 256 * 32 + 2 * (4 * 32 * 32 + 3 * 32 * 48 + 2 * 32) + 32;
    assert!(much.bytes > 4 * parameters && much.fit > Some(1000), "{much:?}");
    assert_eq!(candidates(much.bytes).fit, Some(1));
    assert_eq!(candidates(3 * much.bytes).fit, Some(2));
    let found = |memory: u64| {
        let outcome = start(&engine(memory), text, Resume::No).unwrap();
        assert_eq!(outcome.exit_code(), 0, "{:?}", outcome.failure.map(|failure| failure.to_string()));
        format!("{:?}", outcome.outputs)
    };
    assert_eq!(found(1 << 40), found(much.bytes));
    let failure = start(&engine(much.bytes - 1), text, Resume::No).err().unwrap();
    assert_eq!((failure.exit_code, failure.diagnostics[0].code.as_str()), (2, "E0425"));
}
