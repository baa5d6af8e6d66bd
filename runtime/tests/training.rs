//! Trainings in runs: what kills them, what they leave, and what goes on without them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails there")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use evo::run::dir;

/// Some hundred steps of a small model, then its table and its curve.
const PROGRAM: &str = "data sums = word_problems { language: \"en\", left: 1..=9, right: 1..=9, count: 60, seed: 1 }\n\
    data more = word_problems { language: \"en\", left: 1..=9, right: 1..=9, count: 10, seed: 2 }\n\
    train tuned {\n  start: llama_tiny { layers: 1, width: 32, seed: 3 }, on: sums\n  steps: 150, rate: 2e-3, batch: 8\n  \
    evaluate: more, every: 25, keep: best\n}\nprint tuned.training\nplot tuned.training to \"loss.svg\"\nsave tuned to \"tuned\"\n";

fn evo(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evo"));
    command.args(args).current_dir(folder).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn folder(program: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("p.evo"), program).unwrap();
    folder
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn checkpoints(folder: &Path) -> Vec<PathBuf> {
    let run = dir::list(&folder.join("runs")).unwrap_or_default().pop();
    let files = run.and_then(|run| fs::read_dir(run.join("checkpoints")).ok()).into_iter().flatten();
    files.map(|file| file.unwrap().path()).filter(|path| path.extension().is_none()).collect()
}

/// Starts a run that writes a checkpoint after each step, and ends it by a signal when there is one.
fn ended_by(signal: &str, folder: &Path) -> Output {
    let child = evo(folder, &["run", "p.evo", "--checkpoint-every", "0", "--jobs", "1"]).spawn().unwrap();
    let begun = (0..12_000).any(|_| {
        std::thread::sleep(Duration::from_millis(2));
        !checkpoints(folder).is_empty()
    });
    assert!(begun, "no checkpoint was written");
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
    child.wait_with_output().unwrap()
}

/// What a run left for its user.
fn left(folder: &Path) -> (Vec<u8>, Vec<u8>) {
    (fs::read(folder.join("loss.svg")).unwrap(), fs::read(folder.join("tuned/model.safetensors")).unwrap())
}

#[test]
#[cfg(unix)]
fn a_training_that_was_killed_goes_on_to_the_bit() {
    let calm = folder(PROGRAM);
    let expected = evo(calm.path(), &["run", "p.evo"]).output().unwrap();
    assert!(expected.status.success(), "{}", text(&expected.stderr));
    assert!(text(&expected.stdout).contains("evaluation"), "{}", text(&expected.stdout));
    assert!(checkpoints(calm.path()).is_empty());
    for (signal, jobs) in [("-KILL", "1"), ("-INT", "4")] {
        let place = folder(PROGRAM);
        let output = ended_by(signal, place.path());
        assert!(!output.status.success() && !place.path().join("loss.svg").exists());
        assert_eq!(checkpoints(place.path()).len(), 1, "{signal}");
        let resumed = evo(place.path(), &["run", "p.evo", "--resume", "--jobs", jobs, "--json"]).output().unwrap();
        assert!(resumed.status.success(), "{}", text(&resumed.stderr));
        let first = text(&resumed.stdout).lines().find(|line| line.contains("node_progress")).map(str::to_owned);
        let first: serde_json::Value = serde_json::from_str(&first.unwrap()).unwrap();
        assert!(first["done"].as_u64() > Some(0), "it begins where it was: {first}");
        assert_eq!(left(place.path()), left(calm.path()));
        assert!(checkpoints(place.path()).is_empty(), "what is done needs none");
        let again = evo(place.path(), &["run", "p.evo"]).output().unwrap();
        assert_eq!(text(&again.stdout), text(&expected.stdout), "the record comes from the store");
    }
}

#[test]
#[cfg(unix)]
fn a_damaged_checkpoint_is_told_and_a_foreign_one_refused() {
    let place = folder(PROGRAM);
    ended_by("-KILL", place.path());
    let path = checkpoints(place.path()).pop().unwrap();
    let bytes = fs::read(&path).unwrap();
    let foreign = {
        // Whole, but of another model: the digest behind the mark is another.
        let mut content = bytes[..bytes.len() - 32].to_vec();
        content[20] ^= 1;
        let sum = blake3::hash(&content);
        [content.as_slice(), sum.as_bytes()].concat()
    };
    fs::write(&path, foreign).unwrap();
    let refused = evo(place.path(), &["run", "p.evo", "--resume"]).output().unwrap();
    let err = text(&refused.stderr);
    assert!(refused.status.code() == Some(3) && err.contains("R0522") && err.contains("differs in its model"), "{err}");
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let anew = evo(place.path(), &["run", "p.evo", "--resume"]).output().unwrap();
    let err = text(&anew.stderr);
    assert!(anew.status.success() && err.contains("R0507") && err.contains("is damaged"), "{err}");
    assert!(place.path().join("loss.svg").exists());
}

#[test]
fn a_candidate_that_learns_nothing_fails_and_the_others_go_on() {
    let place = folder(
        "data sums = word_problems { language: \"en\", left: 1..=9, right: 1..=9, count: 20, seed: 1 }\n\
         model start = llama_tiny { layers: 1, width: 16, seed: 3 }\n\
         genome G { wild: bool }\n\
         fitness f(g: G) = {\n  let tuned = train {\n    start: start, on: sums, steps: 30, batch: 20, warmup: 0\n    \
         rate: if g.wild then 1e-15 else 1e-3\n  }\n  \
         score(tuned, likelihood { data: sums, prompt: \"{question}\\n\", expected: \"{answer}\" })\n}\n\
         evolve found { maximize: f, by: random_search { population: 6 }, stop: { evaluations: 6 } }\nprint found.best\n",
    );
    let output = evo(place.path(), &["run", "p.evo", "--json"]).output().unwrap();
    let out = text(&output.stdout);
    assert!(output.status.success(), "{out}{}", text(&output.stderr));
    let of = |what: &str| out.lines().filter(|line| line.contains("\"evaluation\"") && line.contains(what)).count();
    assert!(of("R0509") > 0 && of("\"scored\"") > 0, "{out}");
    assert_eq!(of("R0509") + of("\"scored\""), 6);
}

#[test]
fn curves_are_written_for_tensorboard() {
    let place = folder(PROGRAM);
    let output = evo(place.path(), &["run", "p.evo", "--tensorboard", "logs"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let run = fs::read_dir(place.path().join("logs")).unwrap().next().unwrap().unwrap().path();
    let training = fs::read_dir(run).unwrap().next().unwrap().unwrap().path();
    assert!(training.file_name().unwrap().to_string_lossy().starts_with("tuned-"));
    let file = fs::read_dir(training).unwrap().next().unwrap().unwrap().path();
    let bytes = fs::read(file).unwrap();
    // Records follow each other to the end: the first, 150 steps, 7 evaluations.
    let (mut at, mut count) = (0, 0);
    while at < bytes.len() {
        at += 16 + u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
        count += 1;
    }
    assert_eq!((at, count), (bytes.len(), 1 + 150 + 7));
}

#[test]
fn bad_settings_are_told_before_anything_runs() {
    let told = |settings: &str| {
        let place = folder(&format!(
            "data sums = word_problems {{ language: \"en\", left: 1..=9, right: 1..=9, count: 20, seed: 1 }}\n\
             train tuned {{ start: llama_tiny(), on: sums, {settings} }}\nprint parameters(tuned)\n"
        ));
        let output = evo(place.path(), &["check", "p.evo"]).output().unwrap();
        (output.status.code(), text(&output.stderr))
    };
    for (settings, code, words) in [
        ("rate: 0.0", "E0336", "a learning rate of 0 learns nothing"),
        ("steps: 0", "E0309", "`steps` of `train` lies between"),
        ("accumulate: 0", "E0309", "`accumulate` of `train` lies between"),
        ("steps: 3, epochs: 2", "E0336", "say the same thing"),
        ("patience: 2", "E0336", "`patience` needs data to evaluate on"),
        ("keep: best", "E0336", "`keep` needs data to evaluate on"),
        ("by: adamw { betas: (0.9, 1.0) }", "E0336", "a decay of 1"),
    ] {
        let (status, err) = told(settings);
        assert!(status == Some(2) && err.contains(code) && err.contains(words), "{settings}: {err}");
    }
    let (status, err) = told("evaluate: sums");
    assert!(status == Some(0) && err.contains("E0442") && err.contains("on the rows that it learns"), "{err}");
}
