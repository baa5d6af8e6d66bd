//! One slip is one error, at the slip: correct programs with a single slip of a catalogue, at each place that it fits.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test reads files and fails loudly"
)]

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use evo_lang::Checked;
use evo_lang::library::Library;

/// A program that checks, with the library that it is written for.
struct Program {
    name: String,
    text: String,
    library: Arc<Library>,
    folder: PathBuf,
}

impl Program {
    fn check(&self, text: &str) -> Checked {
        let loader = |path: &str| std::fs::read_to_string(self.folder.join(path)).map_err(|e| e.to_string());
        evo_lang::check("main.evo", text, &self.library, &loader)
    }
}

fn programs() -> Vec<Program> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    let mut families: Vec<(String, String)> = Vec::new();
    let mut folders: Vec<PathBuf> =
        std::fs::read_dir(root.join("stdlib/src")).unwrap().map(|e| e.unwrap().path()).collect();
    folders.sort();
    for folder in folders.iter().filter(|f| f.is_dir()) {
        for file in sorted(folder) {
            families.push((folder.file_name().unwrap().to_string_lossy().into_owned(), read(&file)));
        }
    }
    let families: Vec<(&str, &str)> = families.iter().map(|(n, t)| (&**n, &**t)).collect();
    let (real, faults) = Library::parse(&families);
    assert!(faults.is_empty(), "{}", evo_lang::diag::render_all(&faults, real.sources(), false));
    let (test, _) = Library::parse(&[("test", include_str!("library.evo"))]);
    let (real, test) = (Arc::new(real), Arc::new(test));
    let mut out = Vec::new();
    for (folder, library) in [("programs", &real), ("lang/tests/examples", &test), ("lang/tests/slips", &real)] {
        for file in sorted(&root.join(folder)) {
            let name = format!("{folder}/{}", file.file_name().unwrap().to_string_lossy());
            let program = Program { name, text: read(&file), library: library.clone(), folder: root.join(folder) };
            if !program.check(&program.text).has_errors() {
                out.push(program);
            }
        }
    }
    assert!(out.len() >= 8, "{} programs check", out.len());
    out
}

fn sorted(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "evo"));
    files.sort();
    files
}

/// A token: a word, a number with its unit, a text, or one symbol.
#[derive(Clone, Debug)]
struct Token {
    start: usize,
    end: usize,
    text: String,
}

fn tokens(text: &str) -> Vec<Token> {
    let bytes = text.as_bytes();
    let (mut at, mut out) = (0, Vec::new());
    let word = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
    while at < bytes.len() {
        let rest = &bytes[at..];
        let length = match rest[0] {
            b if b.is_ascii_whitespace() => {
                at += 1;
                continue;
            }
            _ if rest.starts_with(b"//") => {
                at += rest.iter().take_while(|b| **b != b'\n').count();
                continue;
            }
            _ if rest.starts_with(b"\"\"\"") => 6 + text[at + 3..].find("\"\"\"").unwrap(),
            b'"' => 2 + text[at + 1..].find('"').unwrap(),
            b if b.is_ascii_digit() => {
                let digits = rest.iter().take_while(|b| word(b)).count();
                match &rest[digits..] {
                    [b'.', d, ..] if d.is_ascii_digit() => {
                        digits + 1 + rest[digits + 1..].iter().take_while(|b| word(b) || **b == b'%').count()
                    }
                    [b'%', ..] => digits + 1,
                    _ => digits,
                }
            }
            b if word(&b) => rest.iter().take_while(|b| word(b)).count(),
            _ => ["..=", "=>", "->", "..", "==", "!=", "<=", ">="]
                .iter()
                .find(|s| rest.starts_with(s.as_bytes()))
                .map_or(1, |s| s.len()),
        };
        out.push(Token { start: at, end: at + length, text: text[at..at + length].to_owned() });
        at += length;
    }
    out
}

/// A change of a program, and where its one error must be: a place of the changed text that the diagnostic must name.
struct Slip {
    text: String,
    place: std::ops::Range<usize>,
}

/// The tokens of a program, for slips to choose from.
struct Tokens<'a> {
    program: &'a str,
    all: Vec<Token>,
    declared: Vec<String>,
}

const RESERVED: [&str; 11] = ["let", "if", "then", "else", "for", "in", "and", "or", "not", "true", "false"];
const CLAUSES: [&str; 11] = ["to", "over", "as", "log", "save", "print", "plot", "expect", "use", "extern", "type"];

impl<'a> Tokens<'a> {
    fn of(program: &'a str) -> Self {
        let mut tokens = Tokens { program, all: tokens(program), declared: Vec::new() };
        tokens.declared =
            (0..tokens.all.len()).filter(|&i| tokens.is_head(i)).map(|i| tokens.text(i + 1).to_owned()).collect();
        tokens
    }

    fn text(&self, i: usize) -> &str {
        self.all.get(i).map_or("", |t| &t.text)
    }

    fn before(&self, i: usize) -> &str {
        i.checked_sub(1).map_or("", |i| self.text(i))
    }

    fn is_word(&self, i: usize) -> bool {
        self.text(i).starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && !RESERVED.contains(&self.text(i))
            && !CLAUSES.contains(&self.text(i))
    }

    fn column0(&self, i: usize) -> bool {
        self.all.get(i).is_some_and(|t| t.start == 0 || self.program.as_bytes()[t.start - 1] == b'\n')
    }

    /// Whether the kind of a declaration stands here.
    fn is_head(&self, i: usize) -> bool {
        let kind = self.is_word(i) || matches!(self.text(i), "let" | "type");
        kind && self.column0(i) && self.is_word(i + 1)
    }

    /// Whether a declared name is used here.
    fn is_use(&self, i: usize) -> bool {
        self.is_word(i)
            && self.declared.iter().any(|d| d == self.text(i))
            && !matches!(self.before(i), "." | "as")
            && !matches!(self.text(i + 1), ":" | "=>")
            && !(i > 0 && self.is_head(i - 1))
    }

    /// The bracket that closes the one at `i`.
    fn closing(&self, i: usize) -> Option<usize> {
        let mut depth = 0;
        (i..self.all.len()).find(|&j| {
            depth += match self.text(j) {
                "(" | "[" | "{" => 1,
                ")" | "]" | "}" => -1,
                _ => 0,
            };
            depth == 0
        })
    }

    /// The innermost bracket around `i`.
    fn around(&self, i: usize) -> Option<usize> {
        (0..i).rev().find(|&j| matches!(self.text(j), "(" | "[" | "{") && self.closing(j).is_some_and(|c| c > i))
    }

    /// The outermost bracket that is open before the closing one at `i`.
    fn outermost(&self, i: usize) -> usize {
        (0..i)
            .find(|&j| matches!(self.text(j), "(" | "[" | "{") && self.closing(j).is_some_and(|c| c >= i))
            .unwrap_or(i)
    }

    fn ends_line(&self, i: usize) -> bool {
        let end = self.all[i].end;
        self.program[end..].lines().next().is_some_and(|l| l.trim().is_empty())
    }

    /// The program with the token at `i` replaced; the error is at what takes its place.
    fn replace(&self, i: usize, with: &str) -> Slip {
        let t = &self.all[i];
        let text = format!("{}{with}{}", &self.program[..t.start], &self.program[t.end..]);
        Slip { text, place: t.start..t.start + with.len().max(1) }
    }

    /// The same, with the error at the token `at`, which stands before it.
    fn replace_told_at(&self, i: usize, with: &str, at: usize) -> Slip {
        Slip { place: self.all[at].start..self.all[at].end, ..self.replace(i, with) }
    }

    /// The program with something put after the token at `i`.
    fn after(&self, i: usize, what: &str) -> Slip {
        let end = self.all[i].end;
        Slip { text: format!("{}{what}{}", &self.program[..end], &self.program[end..]), place: end..end + what.len() }
    }
}

/// The slips that one entry of the catalogue makes of the token at `i`.
type Make = fn(&Tokens<'_>, usize) -> Option<Slip>;

/// What people type: a name, and how it goes wrong at a token.
const CATALOGUE: &[(&str, Make)] = &[
    ("misspelt name", |t, i| t.is_use(i).then(|| t.replace(i, &format!("{}xyz", t.text(i))))),
    ("misspelt field", |t, i| {
        (t.before(i) == "." && t.is_word(i) && t.text(i + 1) != "." && t.text(i + 1) != "(")
            .then(|| t.replace(i, &format!("{}xyz", t.text(i))))
    }),
    ("misspelt kind", |t, i| (t.is_head(i) && t.text(i) != "let").then(|| t.replace(i, &format!("{}xyz", t.text(i))))),
    ("no kind", |t, i| {
        (t.is_head(i) && t.text(i + 2) == "=").then(|| {
            let name = &t.all[i + 1];
            let text = format!("{}{}", &t.program[..t.all[i].start], &t.program[name.start..]);
            Slip { text, place: t.all[i].start..t.all[i].start + name.text.len() }
        })
    }),
    ("misspelt argument", |t, i| {
        let call = t.around(i).is_some_and(|o| o > 0 && t.is_word(o - 1) && !t.is_head(o.saturating_sub(2)));
        // These take any further arguments.
        let any = t.around(i).is_some_and(|o| o > 0 && ["table", "split", "heatmap"].contains(&t.text(o - 1)));
        (t.is_word(i) && t.text(i + 1) == ":" && call && !any && matches!(t.before(i), "(" | "," | "{"))
            .then(|| t.replace(i, &format!("{}xyz", t.text(i))))
    }),
    ("reserved name", |t, i| {
        let alone = |name: &str| (0..t.all.len()).filter(|&j| t.text(j) == name).count() == 1;
        (i > 0 && t.is_head(i - 1) && alone(t.text(i))).then(|| t.replace(i, "then"))
    }),
    ("semicolon", |t, i| {
        (t.ends_line(i) && matches!(t.text(i), ")" | "]" | "}") && t.around(i).is_none()).then(|| t.after(i, ";"))
    }),
    ("semicolon inside", |t, i| {
        (t.ends_line(i) && t.is_word(i) && t.around(i).is_some_and(|o| t.text(o) == "{")).then(|| t.after(i, ";"))
    }),
    ("= for :", |t, i| {
        (t.text(i) == ":"
            && t.around(i).is_some_and(|o| o > 0 && t.is_word(o - 1))
            && t.is_word(i - 1)
            && !t.is_head(t.around(i).unwrap().saturating_sub(2)))
        .then(|| t.replace(i, " ="))
        .map(|s| Slip { place: s.place.start..s.place.end, ..s })
    }),
    (": for =", |t, i| {
        (t.text(i) == "=" && i > 1 && t.is_head(i - 2) && t.around(i).is_none()).then(|| t.replace(i, ":"))
    }),
    ("-> for =>", |t, i| (t.text(i) == "=>").then(|| t.replace(i, "->"))),
    ("no closing bracket", |t, i| {
        // Which of the brackets around it lacks its end, nobody can tell.
        let open = matches!(t.text(i), ")" | "]" | "}").then(|| t.outermost(i))?;
        Some(Slip { place: t.all[open].start..t.all[i].end, ..t.replace(i, " ") })
    }),
    ("another closing bracket", |t, i| {
        let open = (matches!(t.text(i), ")" | "]")).then(|| t.outermost(i))?;
        let slip = t.replace(i, if t.text(i) == ")" { "]" } else { ")" });
        Some(Slip { place: t.all[open].start..t.all[i].end, ..slip })
    }),
    ("a bracket too many", |t, i| (matches!(t.text(i), ")" | "]") && t.around(i).is_none()).then(|| t.after(i, ")"))),
    ("open text", |t, i| {
        let short = t.text(i).starts_with('"') && !t.text(i).starts_with("\"\"\"");
        let text = &t.text(i)[..t.text(i).len() - usize::from(short)];
        short.then(|| t.replace(i, text)).map(|s| Slip { place: t.all[i].start..t.all[i].start + 1, ..s })
    }),
    ("single quotes", |t, i| {
        let short = t.text(i).starts_with('"') && !t.text(i).contains(['\'', '{']) && !t.text(i).starts_with("\"\"\"");
        short.then(|| t.replace(i, &t.text(i).replace('"', "'")))
    }),
    ("% for *", |t, i| (t.text(i) == "*" && t.before(i) != "*").then(|| t.replace(i, "%"))),
    ("&& for and", |t, i| (t.text(i) == "and").then(|| t.replace(i, "&&"))),
    ("** for ^", |t, i| (t.text(i) == "^").then(|| t.replace(i, "**"))),
    ("= for ==", |t, i| (t.text(i) == "==").then(|| t.replace(i, "="))),
    ("unknown unit", |t, i| {
        let number = t.text(i).starts_with(|c: char| c.is_ascii_digit());
        let bare = number && t.text(i).chars().all(|c| c.is_ascii_digit());
        bare.then(|| t.replace(i, &format!("{}parsec", t.text(i))))
    }),
    ("text for a number", |t, i| {
        let number = t.text(i).starts_with(|c: char| c.is_ascii_digit());
        (number && t.before(i) == ":" && matches!(t.text(i + 1), "," | "}" | ")")).then(|| t.replace(i, "\"five\""))
    }),
    ("no comma", |t, i| {
        let list = t.around(i).filter(|&o| matches!(t.text(o), "(" | "["))?;
        let simple = |j: usize| t.is_word(j) || t.text(j).starts_with(|c: char| c.is_ascii_digit() || c == '"');
        (t.text(i) == "," && list > 0 && simple(i - 1) && simple(i + 1)).then(|| t.replace_told_at(i, " ", i + 1))
    }),
    ("two commas", |t, i| {
        (t.text(i) == "," && t.around(i).is_some())
            .then(|| t.after(i, ","))
            .map(|s| Slip { place: s.place.start - 1..s.place.end, ..s })
    }),
    ("no then", |t, i| {
        let open = (t.text(i) == "then").then(|| (0..i).rev().find(|&o| t.text(o) == "if"))??;
        Some(t.replace_told_at(i, " ", open))
    }),
    ("no value", |t, i| {
        let lone = t.before(i) == "=" && i > 2 && t.is_head(i - 3) && t.is_word(i) && t.ends_line(i);
        lone.then(|| t.replace(i, "")).map(|s| Slip { place: t.all[i - 3].start..t.all[i].end, ..s })
    }),
    ("twice", |t, i| {
        let line = t.program[t.all[i].start..].lines().next()?;
        let whole = t.is_head(i) && t.text(i + 2) == "=" && line.len() < 70 && t.around(i).is_none();
        let balanced = line.matches(['(', '[', '{']).count() == line.matches([')', ']', '}']).count();
        let ends = t.program[t.all[i].start + line.len()..]
            .trim_start_matches('\n')
            .starts_with(|c: char| c.is_alphabetic() || c == '/');
        (whole && balanced && ends && !line.contains("\"\"\"") && !line.ends_with(|c: char| "+-*/=,".contains(c))).then(
            || {
                let at = t.all[i].start + line.len() + 1;
                let text = format!("{}{line}\n{}", &t.program[..at], &t.program[at..]);
                Slip { text, place: at..at + line.len() }
            },
        )
    }),
    ("full-width colon", |t, i| {
        (t.text(i) == ":" && t.around(i).is_some()).then(|| t.replace(i, "：")).map(|s| Slip { place: s.place, ..s })
    }),
    ("full-width bracket", |t, i| (t.text(i) == "(" && t.closing(i).is_some()).then(|| t.replace(i, "（"))),
    ("statement", |t, i| {
        (t.column0(i) && i > 0 && t.is_head(i)).then(|| {
            let at = t.all[i].start;
            // Docs belong to what follows them: a statement between would be told of them.
            let before = t.program[..at].trim_end().lines().last().is_some_and(|l| l.starts_with("//"));
            let at = if before { return Slip { text: String::new(), place: 0..0 } } else { at };
            Slip {
                text: format!("{}for i in 0..3 {{ print i }}\n{}", &t.program[..at], &t.program[at..]),
                place: at..at + 27,
            }
        })
    }),
];

/// What is wrong with how a slip is told; `None` if nothing is.
fn told(program: &Program, slip: &Slip) -> Option<String> {
    let checked = program.check(&slip.text);
    let errors: Vec<_> = checked.diagnostics.iter().filter(|d| d.is_error()).collect();
    let at = |span: evo_lang::span::Span| {
        let (start, end) = (span.start as usize, span.end as usize);
        start <= slip.place.end && slip.place.start <= end && end - start < 400
    };
    let near = |d: &evo_lang::diag::Diagnostic| at(d.primary.span) || d.secondary.iter().any(|l| at(l.span));
    match errors.as_slice() {
        [one] if near(one) => None,
        _ => {
            let line = slip.text[..slip.place.start].lines().count();
            let mut out = format!("{} errors, the slip is near line {}\n", errors.len(), line.max(1));
            for d in errors.iter().take(3) {
                let _ = writeln!(out, "{}", evo_lang::diag::render(d, &checked.sources, false));
            }
            Some(out)
        }
    }
}

#[test]
fn one_slip_is_one_error_at_its_place() {
    let (mut wrong, mut tried, mut unused) = (Vec::new(), 0, Vec::new());
    let programs = programs();
    let only = std::env::var("EVO_SLIP").ok();
    // A quarter of the places tells most; continuous integration tries all.
    let slow = std::env::var_os("EVO_SLOW").is_some();
    for (name, make) in CATALOGUE.iter().filter(|(n, _)| only.as_ref().is_none_or(|o| o == n)) {
        let mut fits = 0;
        for program in &programs {
            let tokens = Tokens::of(&program.text);
            for i in 0..tokens.all.len() {
                let Some(slip) = make(&tokens, i).filter(|s| !s.text.is_empty()) else { continue };
                fits += 1;
                if !slow && fits % 4 != 1 {
                    continue;
                }
                wrong.extend(told(program, &slip).map(|why| format!("{name}, {}: {why}", program.name)));
            }
        }
        tried += fits;
        if fits < 2 {
            unused.push(*name);
        }
    }
    assert!(unused.is_empty(), "these fit nowhere: {unused:?}");
    let shown: Vec<&String> = wrong.iter().take(10).collect();
    assert!(
        wrong.is_empty(),
        "{} of {tried} slips:\n{}",
        wrong.len(),
        shown.iter().map(|w| w.as_str()).collect::<String>()
    );
}

/// Sixteen slips: in how it is written, names, types, shapes, units and ranges.
const SIXTEEN: &str = r#"let spare = 1;
let share = 5parsec
let half: int = 9 / 2
let third = hafl
model base = hf("models/base"
data sums = word_problems { language: "en", cuont: 10 }
train tuned { start: base, on: sums, steps: "many" }
let point = [1.0, 2.0][3]
genome Recipe { weight: real in 1..0 }
genome Flags { rate: real }
fn scale(x: real, k: int) -> real = x * k
let big = scale(2.0)
let word = 'en'
task t = likelihood { data = sums }
merge mix(g: Recipe) = linear { models: [base, tuned], weight: x -> 1.0 }
fitness f(g: Recipe) = score(mix(g), t)
evolve s { maximize: f, stop: { evaluation: 10 } }
print s.best + tuned
print scale(half, third) + big
"#;

#[test]
fn every_slip_of_a_file_is_told_once() {
    let program = programs().into_iter().find(|p| p.name.starts_with("programs/")).unwrap();
    let checked = program.check(SIXTEEN);
    let found: Vec<(String, usize)> = checked
        .diagnostics
        .iter()
        .map(|d| (d.code.to_string(), checked.sources.line_column(d.primary.span).line))
        .collect();
    let expected = [
        ("E0102", 1),
        ("E0308", 2),
        ("E0317", 3),
        ("E0201", 4),
        ("E0108", 5),
        ("E0302", 6),
        ("E0301", 7),
        ("E0306", 8),
        ("E0309", 9),
        ("E0312", 10),
        ("E0302", 12),
        ("E0111", 13),
        ("E0105", 14),
        ("E0104", 15),
        ("E0205", 17),
        ("E0305", 18),
    ];
    let expected: Vec<(String, usize)> = expected.iter().map(|(c, l)| ((*c).to_owned(), *l)).collect();
    let rendered = evo_lang::diag::render_all(&checked.diagnostics, &checked.sources, false);
    assert_eq!(found, expected, "{rendered}");
}

/// Two and three slips in one item: in a call, in a block of fields, in a body of steps.
const IN_ONE_ITEM: &str = r#"fn scale(x: real, k: int) -> real = x * k
data sums = word_problems { cuont: "ten", sede: hafl + 1 }
print scale(y: thrid + 1, k: "two")
print scael(frist + 1, [secnd * 2])
fn steps(x: real) -> real {
  let a = x % 2
  b = a + 1
  let c = a ** 2
  a + c
}
evolve s { maximize = f, stop: { evaluations: 10; }, islands: 3 4 }
print sums
"#;

#[test]
fn every_slip_of_an_item_is_told_once() {
    let program = programs().into_iter().find(|p| p.name.starts_with("programs/")).unwrap();
    let checked = program.check(IN_ONE_ITEM);
    let rendered = evo_lang::diag::render_all(&checked.diagnostics, &checked.sources, false);
    let place = |d: &evo_lang::diag::Diagnostic| {
        let at = d.secondary.first().filter(|_| d.code.as_str() == "E0302").map_or(d.primary.span, |l| l.span);
        (d.code.to_string(), IN_ONE_ITEM[at.range()].to_owned())
    };
    let found: Vec<(String, String)> = checked.diagnostics.iter().map(place).collect();
    let expected = [
        ("E0302", "cuont"),
        ("E0301", "\"ten\""),
        ("E0302", "sede"),
        ("E0201", "hafl"),
        ("E0302", "y"),
        ("E0201", "thrid"),
        ("E0301", "\"two\""),
        ("E0201", "scael"),
        ("E0201", "frist"),
        ("E0201", "secnd"),
        ("E0103", "%"),
        ("E0115", "b"),
        ("E0112", "**"),
        ("E0105", "="),
        ("E0102", ";"),
        ("E0101", "4"),
    ];
    let expected: Vec<(String, String)> = expected.iter().map(|(c, t)| ((*c).to_owned(), (*t).to_owned())).collect();
    let mut sorted = found.clone();
    let mut wanted = expected.clone();
    sorted.sort();
    wanted.sort();
    assert_eq!(sorted, wanted, "{rendered}");
}
