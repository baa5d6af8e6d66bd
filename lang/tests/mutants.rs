//! Programs damaged in many ways: none makes the parser, the checker or the plan panic, and none makes them work without
//! bound.
//!
//! The seed is fixed, so that every run tries the same mutants. `EVO_MUTANTS=SEED:COUNT` tries others, by hand, and leaves
//! the one at hand in a file of its own, for those that take the process with them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test reads files and fails loudly"
)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use evo_lang::library::Library;
use evo_lang::plan::{Answer, Call, Elaborator, Fact, Host, Options, Problem};

/// How many mutants are tried.
const COUNT: u64 = 1500;
/// Bytes beyond which mutants do not grow.
const LONGEST: usize = 20_000;
/// More nodes than any mutant of these programs has a reason to plan.
const NODES: usize = 3_000_000;
/// What takes longer than this hangs.
const DEADLINE: Duration = Duration::from_secs(120);

#[test]
fn damaged_programs_are_checked_to_the_end() {
    let asked = std::env::var("EVO_MUTANTS").ok();
    let by_hand = asked.is_some();
    let (seed, count) = match &asked {
        Some(asked) => {
            let (seed, count) = asked.split_once(':').unwrap();
            (seed.parse::<u64>().unwrap(), count.parse::<u64>().unwrap())
        }
        None => (1, COUNT),
    };
    let (tell, told) = channel();
    let worker = std::thread::spawn(move || try_all(seed, count, by_hand, &tell));
    let mut last = String::new();
    loop {
        match told.recv_timeout(DEADLINE) {
            Ok(Ok(text)) => last = text,
            Ok(Err(why)) => panic!("{why}:\n{last}"),
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => panic!("this hangs:\n{last}"),
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
        }
    }
    worker.join().unwrap();
}

/// Tries mutants one after another; sends each before it is tried, then what went wrong with it.
fn try_all(seed: u64, count: u64, keeps: bool, tell: &Sender<Result<String, String>>) {
    let programs = programs();
    assert!(programs.len() > 150, "{} programs to damage", programs.len());
    for i in 0..count {
        let mut draw = Draw(seed << 32 | i);
        let mut text: Vec<char> = draw.of::<str>(&programs).chars().collect();
        for _ in 0..=draw.below(4) {
            mutate(&mut text, &mut draw, &programs);
            text.truncate(LONGEST);
        }
        let text: String = text.into_iter().collect();
        if keeps {
            std::fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("mutant{seed}.evo")), &text).unwrap();
        }
        tell.send(Ok(text.clone())).unwrap();
        let problem = match catch_unwind(AssertUnwindSafe(|| work(&text))) {
            Ok(Ok(())) => continue,
            Ok(Err(why)) => why,
            Err(_) => format!("mutant {i} of seed {seed} panics"),
        };
        return tell.send(Err(problem)).unwrap();
    }
}

/// Checks and plans a program.
fn work(text: &str) -> Result<(), String> {
    let all = programs();
    let checked = evo_lang::check("main.evo", text, library(), &|path| {
        let found = all.iter().find(|program| path.len() % 7 == program.len() % 7);
        found.cloned().ok_or_else(|| "no such file".to_owned())
    });
    let shown = evo_lang::diag::render_all(&checked.diagnostics, &checked.sources, false);
    if let Some(d) = checked.diagnostics.iter().find(|d| d.help.is_empty()) {
        return Err(format!("no help: {d:?}"));
    }
    if shown.is_empty() != checked.diagnostics.is_empty() {
        return Err("nothing is shown".to_owned());
    }
    let mut elaborator = Elaborator::new(Arc::new(checked.program), Arc::new(KnowsNothing), Options::default());
    let _ = elaborator.requests();
    match elaborator.graph().len() {
        nodes if nodes > NODES => Err(format!("{nodes} nodes")),
        _ => Ok(()),
    }
}

/// All programs of the repository, but for the library's.
fn programs() -> Arc<Vec<String>> {
    static PROGRAMS: OnceLock<Arc<Vec<String>>> = OnceLock::new();
    PROGRAMS.get_or_init(|| Arc::new(read())).clone()
}

fn read() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = Vec::new();
    let mut folders: Vec<_> = ["programs", "tests/golden", "book/src", "lang/tests/examples", "lang/src/diag/codes"]
        .map(|f| root.join(f))
        .into();
    while let Some(folder) = folders.pop() {
        let mut entries: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            match path.extension().and_then(|e| e.to_str()) {
                _ if path.is_dir() => folders.push(path),
                Some("evo") => {
                    let text = std::fs::read_to_string(&path).unwrap();
                    found.extend(text.split("// --- ").map(str::to_owned));
                }
                Some("md") => {
                    let text = std::fs::read_to_string(&path).unwrap();
                    let fences = text.split("```evo").skip(1).filter_map(|f| f.split_once('\n')?.1.split("```").next());
                    found.extend(fences.map(str::to_owned));
                }
                _ => {}
            }
        }
    }
    found
}

fn library() -> &'static Library {
    static LIBRARY: OnceLock<Library> = OnceLock::new();
    LIBRARY.get_or_init(|| Library::parse(&[("test", include_str!("library.evo"))]).0)
}

/// Counter-based random numbers (SplitMix64, Steele et al., 2014).
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    fn of<'t, T: ?Sized>(&mut self, items: &'t [impl AsRef<T>]) -> &'t T {
        items[self.below(items.len())].as_ref()
    }
}

const PAIRS: [(&str, &str); 12] = [
    ("(", ")"),
    ("[", "]"),
    ("{ ", " }"),
    ("{ a: ", " }"),
    ("-", ""),
    ("not ", ""),
    ("if true then ", " else 1"),
    ("x => ", ""),
    ("[", " for i in 0..3]"),
    ("f(", ")"),
    ("", ".f"),
    ("", "[0]"),
];

const PIECES: [&str; 40] = [
    "9223372036854775807",
    "99999999999999999999",
    "-1",
    "1e308",
    "1e-400",
    "0.0/0.0",
    "1_000_000_000",
    "0..1000000000",
    "\"",
    "\"\"\"",
    "\\",
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    "=>",
    "->",
    "..",
    "..=",
    "//",
    "///",
    "//!",
    "\u{0}",
    "\u{7f}",
    "é",
    "日本",
    "\u{1f600}",
    "\u{200b}",
    "\r",
    "\t",
    "%",
    ";",
    "param seed: int = 1\n",
    "use \"a.evo\" as a\n",
    "fn f(x: real) -> real = f(x)\n",
    "genome G { x: real[3] in 0..1 }\n",
    "type T = { a: T }\n",
    "print a",
];

/// One change to a text: of characters, of tokens, or of lines.
fn mutate(text: &mut Vec<char>, draw: &mut Draw, programs: &[String]) {
    match draw.below(10) {
        0 => text.truncate(draw.below(text.len() + 1)),
        1 => {
            let (from, to) = part(text, draw, |_| true);
            drop(text.drain(from..to.min(from + 8)));
        }
        2 => insert(text, draw, |draw| draw.of::<str>(&PIECES).to_owned()),
        3 => {
            let (from, to) = part(text, draw, |_| true);
            let (open, close) = PAIRS[draw.below(PAIRS.len())];
            let depth = [1, 3, 40, 255, 300][draw.below(5)];
            text.splice(to..to, close.repeat(depth).chars());
            text.splice(from..from, open.repeat(depth).chars());
        }
        how @ 4..=6 => units(text, draw, programs, how, |c| !(c.is_alphanumeric() || *c == '_')),
        how => units(text, draw, programs, how - 3, |c| *c == '\n'),
    }
}

/// Deletes, doubles, swaps, or takes from another program, what stands between ends: a token or a line.
fn units(text: &mut Vec<char>, draw: &mut Draw, programs: &[String], how: usize, is_end: fn(&char) -> bool) {
    let (from, to) = part(text, draw, is_end);
    let unit = text[from..to].to_vec();
    match how {
        4 => drop(text.drain(from..to)),
        5 => insert(text, draw, |_| unit.iter().collect()),
        _ => {
            let other: Vec<char> = draw.of::<str>(programs).chars().collect();
            let (a, b) = part(&other, draw, is_end);
            drop(text.splice(from..to, other[a..b].iter().copied()));
        }
    }
}

fn insert(text: &mut Vec<char>, draw: &mut Draw, piece: impl FnOnce(&mut Draw) -> String) {
    let at = draw.below(text.len() + 1);
    let piece = piece(draw);
    drop(text.splice(at..at, piece.chars()));
}

/// From one end to the next, at a random place.
fn part(text: &[char], draw: &mut Draw, is_end: fn(&char) -> bool) -> (usize, usize) {
    let at = draw.below(text.len() + 1);
    let from = text[..at].iter().rposition(is_end).map_or(0, |i| i + 1);
    let to = text[at..].iter().position(is_end).map_or(text.len(), |i| at + i + 1);
    (from, to.max(from))
}

/// Nothing is known of the world.
struct KnowsNothing;

impl Host for KnowsNothing {
    fn call(&self, _: &Call<'_>, _: &mut Vec<Problem>) -> Answer {
        Answer::Unknown
    }

    fn field(&self, _: &Fact, _: &str) -> Answer {
        Answer::Unknown
    }
}
