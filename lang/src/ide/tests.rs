//! What completion proposes at a cursor (`|` in the texts), and the rest of what editors ask.

use std::sync::LazyLock;

use super::*;
use crate::diag;

static LIBRARY: LazyLock<Library> = LazyLock::new(|| {
    let (library, found) = Library::parse(&[("all", include_str!("../../tests/library.evo"))]);
    assert!(found.is_empty(), "{}", diag::render_all(&found, library.sources(), false));
    library
});

fn loader(path: &str) -> Result<String, String> {
    match path {
        "qd.evo" => {
            Ok("param base: real = 1.0\nlet generalist = base * 2\nlet _hidden = 1\ngenome Recipe { k: real in 0..1 }"
                .into())
        }
        _ => Err("no such file".into()),
    }
}

fn folder(path: &str) -> Vec<String> {
    let entries: &[&str] = match path {
        "" => &["models/", "qd.evo", "data.jsonl", ".hidden"],
        "models/" => &["tiny/", "large/"],
        _ => &[],
    };
    entries.iter().map(|e| (*e).to_owned()).collect()
}

fn proposed(marked: &str) -> Vec<Completion> {
    let offset = marked.find('|').unwrap();
    let text = marked.replacen('|', "", 1);
    complete(&Source { path: "main.evo", text: &text, library: &LIBRARY, loader: &loader, folder: &folder }, offset)
}

fn labels(marked: &str) -> Vec<String> {
    proposed(marked).into_iter().map(|c| c.label).collect()
}

#[track_caller]
fn first(marked: &str, expected: &[&str]) {
    let found = labels(marked);
    assert_eq!(found.iter().take(expected.len()).collect::<Vec<_>>(), expected, "at {marked}: {found:?}");
}

#[track_caller]
fn only(marked: &str, expected: &[&str]) {
    assert_eq!(labels(marked), expected, "at {marked}");
}

#[track_caller]
fn among(marked: &str, expected: &[&str], absent: &[&str]) {
    let found = labels(marked);
    for name in expected {
        assert!(found.iter().any(|f| f == name), "{name} at {marked}: {found:?}");
    }
    for name in absent {
        assert!(!found.iter().any(|f| f == name), "{name} at {marked}: {found:?}");
    }
}

const GENOME: &str = "model base = hf(\"x\")\ngenome Recipe { k: real in 0..1 }\n";

#[test]
fn names_in_scope_stand_with_their_types() {
    let found = proposed("let width = 3\nfn f(weight: real) -> real {\n  let wide = weight * 2\n  w|\n}\n");
    let of = |label: &str| found.iter().find(|c| c.label == label).unwrap_or_else(|| panic!("{label}: {found:?}"));
    assert_eq!((of("weight").kind, of("weight").detail.as_str()), (CompletionKind::Local, "real"));
    assert_eq!((of("wide").kind, of("width").kind), (CompletionKind::Local, CompletionKind::Declared));
    assert_eq!(of("width").detail, "int");
    // What has the wanted type stands first.
    assert!(found.iter().position(|c| c.label == "weight") < found.iter().position(|c| c.label == "width"));
}

#[test]
fn fields_follow_a_dot_in_broken_text() {
    first(&format!("{GENOME}fn f(g: Recipe) -> real = g.|"), &["k"]);
    first(&format!("{GENOME}fn f(g: Recipe) -> real = 2 * (g.|\nlet y = 1"), &["k"]);
    first("let r = { alpha: 1, beta: 2 }\nprint r.a|", &["alpha"]);
    among("model m = hf(\"x\")\nlet n = m.|", &["part", "parameters", "layers"], &["jsonl"]);
    only("use \"qd.evo\" as qd\nlet x = qd.|", &["Recipe", "base", "generalist"]);
    only("use \"qd.evo\" as qd\nfn f(g: qd.|", &["Recipe"]);
}

#[test]
fn arguments_not_given_yet_are_proposed_by_name() {
    let found = proposed("model b = hf(\"x\")\ntrain t = train(b, |)");
    let named: Vec<&str> =
        found.iter().filter(|c| c.kind == CompletionKind::Argument).map(|c| c.insert.as_str()).collect();
    assert_eq!(named, ["on: ", "objective: ", "rate: ", "steps: "], "{found:?}");
    only("model b = hf(\"x\")\ntrain t { start: b, st|", &["steps"]);
    only("model b = hf(\"x\")\ntrain t {\n  start: b\n  |\n}\nlet after = 1", &["on", "objective", "rate", "steps"]);
    among("fn f(a: real, b: real) -> real = a + b\nprint f(a: 1, |", &["b", "sin"], &["a"]);
}

#[test]
fn fields_of_a_wanted_record_are_proposed() {
    let search = format!("{GENOME}fitness s(g: Recipe) = g.k\nevolve e {{ maximize: s, stop: {{ |");
    among(&search, &["generations", "evaluations"], &["maximize"]);
    let search = format!("{GENOME}fitness s(g: Recipe) = g.k\nevolve e {{ maximize: s, stop: {{ generations: 3, g|");
    only(&search, &[]);
}

#[test]
fn enumerations_propose_their_words() {
    first("fn f(t: Tensor) -> bool = t.part == a|", &["attention"]);
    first("type Color = one_of[\"red\", \"green\"]\nfn f(c: Color) -> int = 1\nprint f(|", &["green", "red", "c"]);
}

#[test]
fn types_stand_where_types_belong() {
    among(&format!("{GENOME}fn f(g: Re|"), &["Recipe"], &["base"]);
    among(&format!("{GENOME}param p: |"), &["int", "real", "Model", "Recipe"], &["base", "hf"]);
    among("genome G { weight: r|", &["real"], &[]);
}

#[test]
fn kinds_stand_at_the_head_of_an_item() {
    among("let a = 1\nm|", &["model", "merge"], &["parameters"]);
    among("|", &["model", "let", "print", "use"], &["sin"]);
    only("model m|", &[]);
    only("let a|", &[]);
    among("/// What it is.\nfit|", &["fitness"], &[]);
}

#[test]
fn clause_words_go_on() {
    among("model m = hf(\"x\")\nsave m t|", &["to"], &[]);
    among("print [x f|", &["for"], &[]);
    among("print [x for x i|", &["in"], &[]);
    among("print if true t|", &["then"], &[]);
    among("use \"qd.evo\" a|", &["as"], &[]);
    among("genome G { w: real i|", &["in"], &[]);
    among("genome G { w: real in 1..2 l|", &["log"], &[]);
    among("let a = true a|", &["and"], &[]);
}

#[test]
fn paths_complete_inside_inputs_and_uses() {
    only("model m = hf(\"|\")", &["data.jsonl", "models/", "qd.evo"]);
    only("model m = hf(\"models/t|\")\nlet a = 1", &["tiny/"]);
    only("model m = hf(\"models/t|", &["tiny/"]);
    let found = proposed("model m = hf(\"models/t|");
    assert_eq!((found[0].range.clone(), found[0].insert.as_str()), (21..22, "tiny/"));
    only("use \"|", &["models/", "qd.evo"]);
    assert_eq!(proposed("use q|")[0].insert, "\"qd.evo\" as qd");
    only("print \"models/|\"", &[]);
}

#[test]
fn nothing_is_proposed_in_comments_and_numbers() {
    only("let a = 1 // se|", &[]);
    only("/// se|", &[]);
    only("let a = 12|", &[]);
}

#[test]
fn a_derivative_is_by_a_parameter() {
    let text = "fn two(x: real, yaw: real) -> real = x * yaw\nlet s = slope(two, ";
    among(&format!("{text}by: |)"), &["x", "yaw"], &[]);
    among(&format!("{text}|)"), &["by"], &[]);
    among("let s = slo|", &["slope"], &[]);
}

#[test]
fn completion_never_panics_wherever_the_cursor_is() {
    let text = include_str!("../../tests/examples/quickstart.evo");
    let source = |text: &str, at: usize| {
        complete(&Source { path: "q.evo", text, library: &LIBRARY, loader: &loader, folder: &folder }, at)
    };
    for at in (0..=text.len()).step_by(31).filter(|at| text.is_char_boundary(*at)) {
        source(text, at);
        source(&text[..at], at);
    }
}

fn hovered(marked: &str) -> Option<(String, String)> {
    let offset = marked.find('|').unwrap();
    let text = marked.replacen('|', "", 1);
    let checked = crate::check("main.evo", &text, &LIBRARY, &loader);
    hover(&checked, &LIBRARY, offset).map(|h| (h.signature, h.doc.to_string()))
}

#[test]
fn hover_tells_types_and_documentation() {
    let said = |marked: &str| hovered(marked).unwrap_or_else(|| panic!("nothing at {marked}"));
    assert_eq!(said("/// How many.\nlet cou|nt = 3"), ("let count: int".into(), "How many.".into()));
    assert_eq!(said("/// How many.\nlet count = 3\nprint co|unt + 1").0, "let count: int");
    assert_eq!(said("fn f(x: real) -> real = x| + 1").0, "x: real");
    let (signature, doc) = said("model m = h|f(\"x\")");
    assert_eq!((signature.as_str(), doc.as_str()), ("extern model hf(dir: text) -> Model", "A model directory."));
    assert_eq!(
        said("model b = hf(\"x\")\ntrain t { start: b, on: d, ste|ps: 3 }\ndata d = jsonl(\"f\")").0,
        "steps: int"
    );
    assert_eq!(said("genome G { k: real in 0..1 }\nfn f(g: G) -> real = g.|k").0, "k: real");
    assert_eq!(said("mod|el m = hf(\"x\")").0, "kind model -> Model");
    assert_eq!(hovered("let a = 1 // com|ment"), None);
}

#[test]
fn broken_text_has_colours() {
    let text = "/// doc\nmerge child(g: Recipe) = f { a: \"x\" } // why\nlet y = \"open\nprint §";
    let found = highlight(text);
    let classes: Vec<(&str, Class)> = found.iter().map(|(r, c)| (&text[r.clone()], *c)).collect();
    for expected in [
        ("/// doc", Class::Doc),
        ("merge", Class::Kind),
        ("child", Class::Declared),
        ("g", Class::Label),
        ("Recipe", Class::Type),
        ("f", Class::Function),
        ("\"x\"", Class::Text),
        ("// why", Class::Comment),
        ("let", Class::Keyword),
        ("\"open", Class::Error),
        ("print", Class::Keyword),
        ("§", Class::Error),
    ] {
        assert!(classes.contains(&expected), "{expected:?} in {classes:?}");
    }
    assert!(found.windows(2).all(|w| w[0].0.end <= w[1].0.start), "in order, without overlap: {found:?}");
}

#[test]
fn a_text_is_continued_until_it_is_complete() {
    for open in
        ["f(1,", "let a =", "let a = [1", "evolve s {", "1 +", "\"\"\"abc", "/// doc", "x =>", "if a then", "save m to"]
    {
        assert!(unfinished(open), "{open}");
    }
    for complete in ["", "1 + 2", "let a = 1", "evolve s { by: x }", "\"open", "f(1))", "x.best", "a;"] {
        assert!(!unfinished(complete), "{complete}");
    }
}

#[test]
fn items_are_told_from_expressions() {
    for item in ["let a = 1", "print x", "model m = hf(\"x\")", "use \"a\" as b", "/// doc\nlet a = 1", "genome G { }"]
    {
        assert!(looks_like_item(item), "{item}");
    }
    for expression in ["a", "a + b", "f(x)", "a and b", "if a then b else c", "[1, 2]", "not a", "search.best", "print"]
    {
        assert!(!looks_like_item(expression), "{expression}");
    }
}

#[test]
fn an_outline_gives_items_with_their_comments_and_mentions() {
    let text = "//! file\n\n// why\n/// doc\nlet a = b + sin(1) // behind\nprint a\nparam b: real = 2\n";
    let found = outline(text);
    let shown: Vec<(&str, Option<&str>)> = found.iter().map(|o| (&text[o.range.clone()], o.name.as_deref())).collect();
    assert_eq!(
        shown,
        [
            ("// why\n/// doc\nlet a = b + sin(1) // behind", Some("a")),
            ("print a", None),
            ("param b: real = 2", Some("b"))
        ]
    );
    assert_eq!(found[0].mentions, ["b", "sin"]);
    assert_eq!((found[1].sort, found[2].sort), (Sort::Request, Sort::Param));
    assert_eq!(found[1].mentions, ["a"]);
}

#[test]
fn documentation_of_the_library_and_of_a_program_is_one_form() {
    let docs = document(&LIBRARY, None, "train");
    assert_eq!(docs.iter().map(|d| &*d.word).collect::<Vec<_>>(), ["train", "kind"]);
    let plain = docs[0].plain();
    assert!(
        plain.starts_with("extern train train(\n  start: Model") && plain.contains("\n\nTunes a model."),
        "{plain}"
    );
    assert!(plain.ends_with("In a tiny run `steps` is at most 4."), "{plain}");
    assert_eq!(document(&LIBRARY, None, "parameters").len(), 2, "overloads");
    assert_eq!(document(&LIBRARY, None, "nothing"), []);
    let checked = crate::check(
        "main.evo",
        "use \"qd.evo\" as qd\n/// Twice.\nfn train(x: real) -> real = 2 * x",
        &LIBRARY,
        &loader,
    );
    let program = Some((checked.program, checked.sources));
    let own = document(&LIBRARY, program.as_ref(), "train");
    assert_eq!((own.len(), own[0].plain().as_str()), (1, "fn train(x: real) -> real = 2 * x\n\nTwice."));
    assert_eq!(document(&LIBRARY, program.as_ref(), "qd.generalist")[0].signature, "let generalist = base * 2");
}
