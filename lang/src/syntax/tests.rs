//! What the parser promises: every rule of the syntax, one error for each slip, and no panic or hang on any text.

use super::*;

fn codes(text: &str) -> Vec<(&'static str, String)> {
    let mut map = crate::span::SourceMap::new();
    let id = map.add("t.evo", text);
    parse(text, id).1.iter().map(|d| (d.code.as_str(), map.location(d.primary.span)[6..].to_owned())).collect()
}

#[track_caller]
fn fails(text: &str, expected: &[(&str, &str)]) {
    let found = codes(text);
    let found: Vec<(&str, &str)> = found.iter().map(|(c, p)| (*c, p.as_str())).collect();
    assert_eq!(found, expected, "{text}\n{}", {
        let mut map = crate::span::SourceMap::new();
        let id = map.add("t.evo", text);
        crate::diag::render_all(&parse(text, id).1, &map, false)
    });
}

#[test]
fn failures_are_told_apart() {
    fails("let a = 1;\nlet b = 2", &[("E0102", "1:10")]);
    fails("let a = [1; 2]", &[("E0102", "1:11")]);
    let (_, told) = parse("let a = f(1; [2; 3])", FileId(0));
    assert_eq!(told.iter().map(|d| (d.fix.len(), d.help.concat())).collect::<Vec<_>>(), [(1, "write `,`".to_owned())]);
    fails("let a = 7 % 2", &[("E0103", "1:11")]);
    fails("let a = 7%2", &[("E0103", "1:10")]);
    fails("let f = x -> x + 1", &[("E0104", "1:11")]);
    fails("train t { start = m }", &[("E0105", "1:17")]);
    fails("let a = f(b = 2)", &[("E0105", "1:13")]);
    fails("let a = \"abc\nlet b = 1", &[("E0106", "1:9")]);
    fails("let if = 3", &[("E0107", "1:5")]);
    fails("model then = 3", &[("E0107", "1:7")]);
    fails("let a = f(1, [2, 3)\nlet b = 4", &[("E0108", "1:14")]);
    fails("let a = f(1\nlet b = 4", &[("E0108", "1:10")]);
    fails("let a = 1)\nlet b = 4", &[("E0109", "1:10")]);
    fails("let a = 'x'", &[("E0111", "1:9")]);
    fails("let a = b && c", &[("E0112", "1:11")]);
    fails("let a = if b = 1 then 2 else 3", &[("E0113", "1:14")]);
    fails("train t = adam\n{ start: m }", &[("E0114", "2:1")]);
    fails("a = 3", &[("E0115", "1:1")]);
    fails("score(a)", &[("E0115", "1:1")]);
    fails("let a = 1 < 2 < 3", &[("E0116", "1:15")]);
    fails("let a = if b then 1", &[("E0117", "1:20")]);
    fails("let a = 99999999999999999999", &[("E0118", "1:9")]);
    fails("let a = \"\\q\"", &[("E0119", "1:10")]);
    fails("/* no */ let a = 1", &[("E0120", "1:1")]);
    fails("train t {\n  start: a\n  on = b\n}", &[("E0105", "3:6")]);
    fails("fn f(x) = x", &[("E0311", "1:6")]);
    fails("fn f(x: real, y) = x", &[("E0311", "1:15")]);
    fails("let x = 3\nfor i in x { print i }\nif x then y", &[("E0115", "2:1"), ("E0115", "3:1")]);
    fails("fn f(x: real) { return x }", &[("E0101", "1:17")]);
    fails("let a = b ? 1 : 2", &[("E0112", "1:11")]);
    fails("let a = ", &[("E0101", "1:8")]);
    fails("let a = +", &[("E0101", "1:9")]);
    fails("print [1 2]", &[("E0101", "1:10")]);
}

#[test]
fn one_error_for_each_failing_item() {
    let text = "let a = 1;\nlet b = f(2\nmodel c = d\nlet e = x -> 1\nfn g(x: real) -> real {\n  let y = x %% 2\n  y\n}\nlet h = 3\n";
    fails(text, &[("E0102", "1:10"), ("E0108", "2:10"), ("E0104", "4:11"), ("E0103", "6:13")]);
    let (module, _) = parse(text, FileId(0));
    assert_eq!(module.items.len(), 2, "`c` and `h` still parse");
    let broken: Vec<&str> = module.broken.iter().map(|n| n.text.as_str()).collect();
    assert_eq!(broken, ["a", "b", "e", "g"]);
}

#[test]
fn precedence() {
    let shape = |text: &str| {
        let (expr, diagnostics) = parse_expr(text, FileId(0));
        assert!(diagnostics.is_empty(), "{text}: {diagnostics:?}");
        show(&expr.unwrap())
    };
    assert_eq!(shape("-a ^ b * c + d"), "(((-(a ^ b)) * c) + d)");
    assert_eq!(shape("a ^ b ^ c"), "(a ^ (b ^ c))");
    assert_eq!(shape("a ^ -b ^ c * d"), "((a ^ (-(b ^ c))) * d)");
    assert_eq!(shape("not a == b and c or d"), "(((not(a == b)) and c) or d)");
    assert_eq!(shape("a .. b + 1"), "(a .. (b + 1))");
    assert_eq!(shape("a - b - c"), "((a - b) - c)");
    assert_eq!(shape("a\n- b"), "(a - b)");
    assert_eq!(shape("x => x + 1"), "(x => (x + 1))");
    assert_eq!(shape("2 * -a * b"), "((2 * (-a)) * b)");
}

fn show(e: &ast::Expr) -> String {
    use ast::ExprKind::*;
    match &e.kind {
        Name(n) => n.clone(),
        Number(n) => match n.value {
            ast::NumberValue::Int(i) => i.to_string(),
            ast::NumberValue::Real(r) => r.to_string(),
        },
        Unary(ast::UnaryOp::Neg, x) => format!("(-{})", show(x)),
        Unary(ast::UnaryOp::Not, x) => format!("(not{})", show(x)),
        Binary(op, _, a, b) => format!("({} {} {})", show(a), op.text(), show(b)),
        Closure(names, b) => {
            format!("({} => {})", names.iter().map(|n| n.text.as_str()).collect::<Vec<_>>().join(","), show(b))
        }
        Group(x) => show(x),
        other => format!("{other:?}"),
    }
}

#[test]
fn the_line_rules() {
    let count = |text: &str| {
        let (module, diagnostics) = parse(text, FileId(0));
        assert!(diagnostics.is_empty(), "{text}: {diagnostics:?}");
        module.items.len()
    };
    assert_eq!(count("let a = b\n- c"), 1);
    assert_eq!(count("let a = b // comment\n  .f(1)\nlet c = 1 // the end"), 2);
    let (module, _) = parse("let a = b // comment\n\n\nparam c: int // x\n // y\nlet d = 1", FileId(0));
    let spans: Vec<_> = module.items.iter().map(|i| (i.span.start, i.span.end)).collect();
    assert_eq!(spans, [(0, 9), (23, 35), (47, 56)], "spans end with the last token");
}

#[test]
fn deep_texts_are_refused_and_do_not_overflow() {
    let wrap = |n: usize| format!("let a = {}1{}", "(".repeat(n), ")".repeat(n));
    fails(&wrap(250), &[]);
    fails(&wrap(300), &[("E0110", "1:265")]);
    fails(&wrap(200_000), &[("E0110", "1:265")]);
    let lists = |n: usize| format!("let a = {}1{}", "[x => if ".repeat(n), " then 1 else 2]".repeat(n));
    fails(&lists(80), &[]);
    assert_eq!(codes(&lists(100_000)).len(), 1);
    assert_eq!(codes(&format!("let a = {}b", "- ".repeat(100_000))).len(), 1);
    assert_eq!(codes(&format!("let a = {}b", "x => ".repeat(100_000))).len(), 1);
    assert_eq!(codes(&format!("let a = b{}", " + b".repeat(100_000))).len(), 1);
    assert_eq!(codes(&format!("let a = b{}", " ^ b".repeat(100_000))).len(), 1);
    assert_eq!(codes(&format!("let a = b{}", ".c".repeat(100_000))).len(), 1);
    assert_eq!(codes(&format!("param a: {}int{}", "A<".repeat(100_000), ">".repeat(100_000))).len(), 1);
    assert_eq!(codes(&format!("let a = {}", "(".repeat(100_000))).len(), 1);
    assert_eq!(codes(&format!("let a = {}", "if ".repeat(100_000))).len(), 1);
}

#[test]
fn no_text_takes_long() {
    // Each would take exponential time if alternatives were tried again at every level.
    for text in ["x => ", "{ a: ", "f { a: ", "[", "(a, ", "(a: ", "{ let a = ", "if a then ", "f(", "not ", "\"a\" + "]
    {
        parse(&format!("let a = {}", text.repeat(200)), FileId(0));
        parse(&format!("fn f{} = 1", text.repeat(200)), FileId(0));
        parse(&format!("param a: {}", text.repeat(200)), FileId(0));
    }
}

proptest::proptest! {
    #[test]
    fn any_text_parses_without_panic(text in ".{0,200}") {
        parse(&text, FileId(0));
    }

    #[test]
    fn any_words_parse_without_panic(words in proptest::collection::vec(proptest::sample::select(WORDS.to_vec()), 0..60)) {
        let text = words.concat();
        let (_, diagnostics) = parse(&text, FileId(0));
        for d in diagnostics {
            assert!(d.primary.span.end as usize <= text.len(), "{d:?}");
        }
    }
}

const WORDS: [&str; 56] = [
    " ", " ", " ", "\n", "\n", "let", "if", "then", "else", "for", "in", "and", "or", "not", "true", "model", "fn",
    "extern", "type", "kind", "save", "print", "plot", "use", "to", "over", "as", "log", "a", "b", "x", "1", "2.5",
    "5%", "9s", "\"t\"", "\"", "\"\"\"", "\\", "(", ")", "[", "]", "{", "}", ":", ",", "=", "=>", "->", "..", "+", "-",
    "/// d\n", "// c\n", "é",
];
