//! No text makes the parser or the checker panic, hang or overflow the stack.

use evo_lang::library::Library;
use proptest::prelude::*;

const EXAMPLES: [&str; 8] = [
    include_str!("examples/ai_scientist.evo"),
    include_str!("examples/cycleqd.evo"),
    include_str!("examples/discopop.evo"),
    include_str!("examples/evollm_jp.evo"),
    include_str!("examples/namm.evo"),
    include_str!("examples/quickstart.evo"),
    include_str!("examples/self_improving.evo"),
    include_str!("examples/transformer2.evo"),
];

fn library() -> &'static Library {
    static LIBRARY: std::sync::OnceLock<Library> = std::sync::OnceLock::new();
    LIBRARY.get_or_init(|| Library::parse(&[("test", include_str!("library.evo"))]).0)
}

fn check(text: &str) -> evo_lang::Checked {
    let checked = evo_lang::check("main.evo", text, library(), &|path| {
        EXAMPLES
            .iter()
            .zip(NAMES)
            .find(|(_, n)| path.ends_with(n))
            .map(|(t, _)| (*t).to_owned())
            .ok_or_else(|| "no such file".to_owned())
    });
    let rendered = evo_lang::diag::render_all(&checked.diagnostics, &checked.sources, false);
    for d in &checked.diagnostics {
        assert!(rendered.contains(&checked.sources.location(d.primary.span)), "{d:?}");
        assert!(!d.help.is_empty(), "no help: {d:?}");
    }
    checked
}

const NAMES: [&str; 8] = [
    "ai_scientist.evo",
    "cycleqd.evo",
    "discopop.evo",
    "evollm_jp.evo",
    "namm.evo",
    "quickstart.evo",
    "self_improving.evo",
    "transformer2.evo",
];

#[test]
fn the_examples_parse() {
    for (text, name) in EXAMPLES.iter().zip(NAMES) {
        let (_, diagnostics) = evo_lang::syntax::parse(text, evo_lang::span::FileId(0));
        assert!(diagnostics.is_empty(), "{name}: {diagnostics:?}");
    }
}

#[test]
fn the_examples_check_but_for_files_that_are_not_there() {
    for (text, name) in EXAMPLES.iter().zip(NAMES) {
        let checked = check(text);
        let errors: Vec<_> =
            checked.diagnostics.iter().filter(|d| d.is_error() && d.code.as_str() != "E0209").collect();
        assert!(
            errors.is_empty(),
            "{name}:\n{}",
            evo_lang::diag::render_all(&checked.diagnostics, &checked.sources, false)
        );
    }
}

#[test]
fn deep_programs_end() {
    let sum = vec!["x"; 900].join(" + ");
    check(&format!("fn f(x: real) -> real = {sum}"));
    check(&format!("let a = {}1{}", "[".repeat(250), "]".repeat(250)));
    check(&format!("let a = {}1", "if true then 1 else ".repeat(200)));
    check(&format!("fn f(x: real) -> real = {}x{}", "(1 + ".repeat(250), ")".repeat(250)));
    for deep in
        [("(", ")"), ("[", "]"), ("-", ""), ("not ", ""), ("1 + ", ""), ("f(", ")"), ("{ a: ", " }"), ("x => ", "")]
    {
        let nested = format!("let a = {}1{}", deep.0.repeat(10_000), deep.1.repeat(10_000));
        let found = check(&nested).diagnostics;
        assert!(matches!(&found[..], [one] if one.code.as_str() == "E0110"), "{}: {found:?}", deep.0);
    }
    let types: String =
        (0..40).map(|i| format!("let t{} = (t{i}, t{i})\ntype T{} = {{ a: T{i}, b: T{i} }}\n", i + 1, i + 1)).collect();
    let found = check(&format!("let t0 = 1\ntype T0 = int\n{types}")).diagnostics;
    assert!(found.len() >= 2 && found.iter().all(|d| d.code.as_str() == "E0110"), "{found:?}");
    let chain: String = (0..3000).map(|i| format!("let a{i} = a{} + 1\n", i + 1)).collect();
    assert_eq!(check(&(chain.clone() + "let a3000 = 1")).diagnostics.len(), 0);
    assert_eq!(check(&(chain + "let a3000 = a0")).diagnostics.len(), 1, "one long cycle is one error");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Bytes of an example are removed, doubled or replaced.
    #[test]
    fn mutated_examples(which in 0..8usize, edits in proptest::collection::vec((0..4u8, any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..6)) {
        let mut text: Vec<char> = EXAMPLES[which].chars().collect();
        for (how, at, other) in edits {
            let (i, j) = (at.index(text.len()), other.index(text.len()));
            match how {
                0 => drop(text.remove(i)),
                1 => text[i] = text[j],
                2 => text.insert(i, text[j]),
                _ => drop(text.drain(i.min(j)..(i.min(j) + i.abs_diff(j) % 40))),
            }
        }
        check(&text.into_iter().collect::<String>());
    }

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        check(&String::from_utf8_lossy(&bytes));
    }
}
