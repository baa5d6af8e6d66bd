//! A run that is asked to stop ends soon, whatever compiled code is at work, and goes on later.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails there")]

use std::time::Duration;

use evo::engine::{Engine, RunOptions, Settings};
use evo::events::Status;

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
