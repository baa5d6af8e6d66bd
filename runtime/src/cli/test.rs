//! `evo test`: programs as tests.
//!
//! A program's `expect`s must hold, and it must print and complain as its comments say, if they say so; see
//! [`evo_lang::golden`] for how they say it.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, mpsc};

use clap::{Args, ValueHint};
use console::style;
use evo_lang::diag::{self, Code, Diagnostic};
use evo_lang::golden::{self, Section};
use evo_lang::span::SourceMap;
use evo_stdlib::plot::escape;

use super::args::DeviceArgs;
use super::{Stop, screen};
use crate::clock::Stopwatch;
use crate::engine::{Engine, Failure, RunOptions, Settings};
use crate::run::rows::OutputKind;
use crate::{files, render};

#[derive(Args, Debug)]
#[command(after_help = "\
A test is a program, or a section of one that begins with `// --- NAME check` or `// --- NAME run`. It passes
if its `expect`s hold and if it prints and complains as the comments at its end say:

  print 1 + 1
  // prints: 2

  let a = missing
  // error[E0201] 1:9 \"unknown name `missing`\"

Examples:
  evo test                                   every test below the working directory
  evo test tests/ --filter merge --tiny
  evo test tests/sums.evo --bless            write what it prints as what it should print
  evo test --junit report.xml

Exit code: 0 if all pass, 1 if one does not, or 2 if there is no test.")]
pub(super) struct TestArgs {
    /// Programs, and directories with programs [default: the working directory]
    #[arg(value_hint = ValueHint::AnyPath)]
    paths: Vec<PathBuf>,
    /// Only tests whose name contains this text
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Tests at once [default: all cores]; results do not depend on it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// Lower all effort; an `expect` is then shown, not enforced
    #[arg(long)]
    tiny: bool,
    #[command(flatten)]
    device: DeviceArgs,
    /// Also write a report in JUnit's XML
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    junit: Option<PathBuf>,
    /// Write what tests print and complain of into their files, as what is expected
    #[arg(long)]
    bless: bool,
}

/// A test: a file, or a section of one.
struct Test {
    file: PathBuf,
    /// Which section of the file.
    index: usize,
    section: Section,
    name: String,
}

/// What came of a test.
struct Came {
    seconds: f64,
    /// What it printed and complained of, as expectations.
    found: String,
    /// Why it does not pass; with `--bless`, but for expectations.
    problem: Option<String>,
}

/// Runs tests.
pub(super) fn test(args: &TestArgs) -> Result<u8, Stop> {
    let tests = tests(args)?;
    if tests.is_empty() {
        let title = match &args.filter {
            Some(text) => format!("no test's name contains `{text}`"),
            None => "there is no test here".to_owned(),
        };
        let help = "a test has an `expect`, or comments such as `// prints: 2`; `evo test --help` shows both";
        return Err(Failure::placeless(2, Code::R0518, title, help).into());
    }
    let watch = Stopwatch::start();
    let came = run_all(args, &tests)?;
    if args.bless {
        bless(&tests, &came)?;
    }
    if let Some(path) = &args.junit {
        let written = files::write_whole(path, junit(&tests, &came, watch.seconds()).as_bytes());
        written.map_err(|e| Failure::from(crate::DiskError::from_io(path, &e)))?;
    }
    let failed = came.iter().filter(|came| came.problem.is_some()).count();
    let tiny = if args.tiny { ", with effort lowered" } else { "" };
    let summary =
        format!("{} passed, {failed} failed in {}{tiny}", came.len() - failed, render::duration(watch.seconds()));
    screen::result(&summary)?;
    Ok(u8::from(failed > 0))
}

/// The tests of all paths, in the order given; those of a directory by name.
fn tests(args: &TestArgs) -> Result<Vec<Test>, Failure> {
    let here = [PathBuf::from(".")];
    let paths = if args.paths.is_empty() { &here[..] } else { &args.paths };
    let mut all = Vec::new();
    for path in paths {
        if path.is_dir() {
            let mut found = Vec::new();
            collect(path, &mut found).map_err(|e| crate::DiskError::from_io(path, &e))?;
            found.sort();
            for file in found {
                all.extend(of_file(file, false)?);
            }
        } else {
            all.extend(of_file(path.clone(), true)?);
        }
    }
    if let Some(text) = &args.filter {
        all.retain(|test| test.name.contains(text));
    }
    Ok(all)
}

/// The programs below a directory, but for what runs leave behind and what is hidden.
fn collect(folder: &Path, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if folder == Path::new(".") { PathBuf::from(&name) } else { entry.path() };
        let kind = entry.file_type()?;
        let is_left = name.starts_with('.') || matches!(name.as_str(), "runs" | "target" | "node_modules");
        if kind.is_dir() && !is_left {
            collect(&path, found)?;
        } else if kind.is_file() && name.ends_with(".evo") && !name.starts_with('.') {
            found.push(path);
        }
    }
    Ok(())
}

/// The tests of a file; one that is only found in a directory must have something to hold it to.
fn of_file(file: PathBuf, named: bool) -> Result<Vec<Test>, Failure> {
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        // It says what is wrong, and what is near.
        Err(_) => Engine::new().load(&file).map(|_| String::new())?,
    };
    let sections = golden::sections(&text);
    let shown = file.display().to_string();
    let is_whole = sections.len() == 1;
    let is_test = |section: &Section| {
        let expects = section.text.lines().any(|line| line.split_whitespace().next() == Some("expect"));
        !section.head.is_empty() || is_whole && (named || expects || !section.expected.is_empty())
    };
    let numbered = sections.into_iter().enumerate().filter(|(_, section)| is_test(section));
    let test = |(index, section): (usize, Section)| {
        let name = if is_whole { shown.clone() } else { format!("{shown} · {}", section.title().0) };
        Test { file: file.clone(), index, section, name }
    };
    Ok(numbered.map(test).collect())
}

/// Runs tests on several threads, and tells of each in their order as soon as all before it are told.
fn run_all(args: &TestArgs, tests: &[Test]) -> Result<Vec<Came>, Stop> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let jobs = args.jobs.map_or(cores, usize::from).min(tests.len());
    let place = tempfile::tempdir()?;
    let engine = Engine::builder().jobs(1).runs(place.path().join("runs")).build();
    let queue: Mutex<VecDeque<usize>> = Mutex::new((0..tests.len()).collect());
    let (send, receive) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            let (send, queue, engine, place) = (send.clone(), &queue, &engine, place.path());
            scope.spawn(move || {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some((i, test)) = next.and_then(|i| Some((i, tests.get(i)?))) else { return };
                    let came = take(args, engine, test, &place.join(i.to_string()));
                    if send.send((i, came)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(send);
        let mut waiting: std::collections::BTreeMap<usize, Came> = std::collections::BTreeMap::new();
        let mut told = Vec::with_capacity(tests.len());
        for (i, came) in receive {
            waiting.insert(i, came);
            while let (Some(came), Some(test)) = (waiting.remove(&told.len()), tests.get(told.len())) {
                tell(test, &came)?;
                told.push(came);
            }
        }
        Ok(told)
    })
}

fn tell(test: &Test, came: &Came) -> Result<(), Stop> {
    let word = match came.problem {
        None => style("ok    ").green(),
        Some(_) => style("FAILED").red().bold(),
    };
    let mut text = format!("{word} {}  {}", test.name, style(render::duration(came.seconds)).dim());
    for line in came.problem.iter().flat_map(|problem| problem.lines()) {
        text.push_str(&format!("\n    {line}").trim_end().to_owned().replace("\r", ""));
    }
    Ok(screen::result(&text)?)
}

/// Checks or runs a test in a folder of its own.
fn take(args: &TestArgs, engine: &Engine, test: &Test, out: &Path) -> Came {
    let watch = Stopwatch::start();
    let (found, problem) = match test.section.title().1 {
        "" | "run" => take_as(args, engine, test, Some(out)),
        "check" => take_as(args, engine, test, None),
        other => (String::new(), Some(format!("a section is taken by `check` or `run`, not by `{other}`"))),
    };
    Came { seconds: watch.seconds(), found, problem }
}

/// What a test printed and complained of, and why it does not pass. It runs if there is a folder for what it saves.
fn take_as(args: &TestArgs, engine: &Engine, test: &Test, out: Option<&Path>) -> (String, Option<String>) {
    let file = test.file.display().to_string();
    let program = engine.load_text(&file, &test.section.text);
    let mut found = Found { file, ..Found::default() };
    let has_errors = diag::has_errors(program.diagnostics());
    found.add(program.diagnostics(), program.sources());
    if !has_errors {
        let settings = Settings { device: args.device.name.clone(), ..Settings::new().tiny(args.tiny) };
        match program.plan(&settings) {
            Err(failure) => found.refused(&failure),
            Ok(plan) => {
                found.add(plan.warnings(), &plan.sources().clone());
                if let Some(out) = out {
                    let options = RunOptions { out: Some(out.to_owned()), ..RunOptions::default() };
                    match plan.start(options) {
                        Err(failure) => found.refused(&failure),
                        Ok(run) => found.outcome(&run.wait(), args.tiny),
                    }
                }
            }
        }
    }
    found.judge(args, &test.section)
}

/// What is found out about a test.
#[derive(Default)]
struct Found {
    file: String,
    complaints: Vec<String>,
    printed: String,
    /// What is wrong, as a user reads it.
    rendered: String,
    /// Expectations that do not hold.
    refuted: Vec<String>,
    has_errors: bool,
}

impl Found {
    fn add(&mut self, diagnostics: &[Diagnostic], sources: &SourceMap) {
        for diagnostic in diagnostics {
            let line = golden::expectation(diagnostic, sources, &self.file);
            if !self.complaints.contains(&line) {
                self.complaints.push(line);
                self.has_errors |= diagnostic.is_error();
                self.rendered.push_str(&diag::render_all(std::slice::from_ref(diagnostic), sources, false));
            }
        }
    }

    fn refused(&mut self, failure: &Failure) {
        self.add(&failure.diagnostics, &failure.sources);
    }

    fn outcome(&mut self, outcome: &crate::engine::RunOutcome, tiny: bool) {
        if let Some(failure) = &outcome.failure {
            self.refused(failure);
        }
        for output in &outcome.outputs {
            match &output.kind {
                OutputKind::Printed(shown) => self.printed.push_str(&golden::printed(&render::shown(shown))),
                OutputKind::Expected { message, holds: false } if !tiny => self.refuted.push(message.clone()),
                _ => {}
            }
        }
    }

    /// The expectations that would fit, and why the test does not pass. Errors must be expected; what is printed and what is
    /// only doubtful is compared where the test says anything of it.
    fn judge(self, args: &TestArgs, section: &Section) -> (String, Option<String>) {
        let expected: Vec<&str> = section.expected.lines().collect();
        let is_print = |line: &&&str| line.starts_with("// prints:");
        let prints: String = expected.iter().filter(is_print).map(|line| format!("{}\n", line.trim_end())).collect();
        let told: String =
            expected.iter().filter(|l| !is_print(l)).map(|line| format!("{}\n", line.trim_end())).collect();
        let complaints = self.complaints.concat();
        let mut found = format!("{complaints}{}", self.printed);
        if found.is_empty() {
            found = "// no errors\n".to_owned();
        }
        let mut problems: Vec<String> =
            self.refuted.iter().map(|message| format!("does not hold: {message}")).collect();
        if args.bless {
            return (found, (!problems.is_empty()).then(|| problems.join("\n")));
        }
        let told = if told == "// no errors\n" { String::new() } else { told };
        let says = !section.head.is_empty() || !section.expected.is_empty();
        if says && told != complaints {
            problems.push(difference("complaints", &told, &complaints));
        }
        if self.has_errors && (!says || told.is_empty()) {
            problems.push(self.rendered.trim_end().to_owned());
        }
        if (!prints.is_empty() || section.title().1 == "run") && prints != self.printed {
            problems.push(difference("prints", &prints, &self.printed));
        }
        (found, (!problems.is_empty()).then(|| problems.join("\n")))
    }
}

/// Expected and found, line by line: what stands in one of them only is marked.
fn difference(what: &str, expected: &str, found: &str) -> String {
    let (a, b): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), found.lines().collect());
    let head = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    let rest = |lines: &[&str]| lines.len() - head;
    let tail = a.iter().rev().zip(b.iter().rev()).take(rest(&a).min(rest(&b))).take_while(|(a, b)| a == b).count();
    let mut text = format!("{what}: - is expected, + is found");
    let part = |text: &mut String, mark: &str, lines: Option<&[&str]>| {
        for line in lines.unwrap_or_default() {
            text.push_str(&format!("\n{mark} {line}"));
        }
    };
    part(&mut text, " ", a.get(head.saturating_sub(2)..head));
    part(&mut text, "-", a.get(head..a.len() - tail));
    part(&mut text, "+", b.get(head..b.len() - tail));
    part(&mut text, " ", b.get(b.len() - tail..(b.len() - tail + 2).min(b.len())));
    text
}

/// Writes what was found into the files, each whole.
fn bless(tests: &[Test], came: &[Came]) -> Result<(), Failure> {
    let mut at = 0;
    while let Some(first) = tests.get(at) {
        let same = tests.iter().skip(at).take_while(|test| test.file == first.file).count();
        let of_file: Vec<(&Test, &Came)> = tests.iter().zip(came).skip(at).take(same).collect();
        at += same;
        let failed = |e: std::io::Error| Failure::from(crate::DiskError::from_io(&first.file, &e));
        let before = fs::read_to_string(&first.file).map_err(failed)?;
        let sections = golden::sections(&before);
        let blessed = sections.iter().enumerate().map(|(i, section)| {
            match of_file.iter().find(|(test, came)| test.index == i && !came.found.is_empty()) {
                Some((_, came)) => section.with(&came.found),
                None if section.head.is_empty() => section.text.clone() + section.expected.as_str(),
                None => format!("{}\n{}{}", section.head, section.text, section.expected),
            }
        });
        let after = blessed.collect::<String>().trim_end().to_owned() + "\n";
        if after != before {
            files::write_whole(&first.file, after.as_bytes()).map_err(failed)?;
        }
    }
    Ok(())
}

/// The report that continuous-integration services read.
fn junit(tests: &[Test], came: &[Came], seconds: f64) -> String {
    let failed = came.iter().filter(|came| came.problem.is_some()).count();
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n<testsuite name=\"evo test\" tests=\"{}\" failures=\"{failed}\" \
         errors=\"0\" time=\"{seconds:.3}\">\n",
        came.len()
    );
    for (test, came) in tests.iter().zip(came) {
        let file = escape(&test.file.display().to_string());
        let name = escape(&test.name);
        out.push_str(&format!("<testcase classname=\"{file}\" name=\"{name}\" time=\"{:.3}\"", came.seconds));
        match &came.problem {
            None => out.push_str("/>\n"),
            Some(problem) => {
                let first = escape(problem.lines().next().unwrap_or_default());
                out.push_str(&format!(">\n<failure message=\"{first}\">{}</failure>\n</testcase>\n", escape(problem)));
            }
        }
    }
    out + "</testsuite>\n</testsuites>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_shows_both_sides_and_what_is_around() {
        let text = difference("prints", "a\nb\nc\nd\n", "a\nb\nx\nd\n");
        assert_eq!(text.lines().skip(1).collect::<Vec<_>>(), ["  a", "  b", "- c", "+ x", "  d"]);
        assert!(difference("prints", "a\n", "").ends_with("\n- a"));
        assert!(difference("prints", "a\n", "a\na\n").ends_with("  a\n+ a"));
    }

    #[test]
    fn xml_holds_any_text() {
        assert_eq!(escape("a<b> & \"c\"\u{1b}[0m\n"), "a&lt;b&gt; &amp; &quot;c&quot;[0m\n");
    }
}
