//! Every code's page shows an example that raises that very code. Pages whose examples need files or a run are held where
//! those are.

use evo_lang::diag::Code;
use evo_lang::library::Library;

#[test]
fn examples_raise_their_codes() {
    let (library, faults) = Library::parse(&[("test", include_str!("library.evo"))]);
    assert!(faults.is_empty());
    let mut wrong = Vec::new();
    for page in Code::pages() {
        let Some((stage, example)) = page.example() else { continue };
        if !stage.is_empty() {
            continue;
        }
        let name = format!("{}.evo", page.code);
        let checked = evo_lang::check(&name, example, &library, &|path| match path {
            "other.evo" => Ok("param width: int = 1\nlet result = width\nlet _half = 0.5".to_owned()),
            _ => Err("no such file".to_owned()),
        });
        let found: Vec<&str> = checked.diagnostics.iter().map(|d| d.code.as_str()).collect();
        if found != [page.code.as_str()] {
            wrong.push(format!("{}: {found:?}", page.code));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn fixes_settle_what_they_are_for_and_bring_nothing_new() {
    let (library, _) = Library::parse(&[("test", include_str!("library.evo"))]);
    let check = |text: &str| {
        evo_lang::check("main.evo", text, &library, &|path| match path {
            "other.evo" => Ok("param width: int = 1\nlet result = width".to_owned()),
            _ => Err("no such file".to_owned()),
        })
    };
    let pages = Code::pages().iter().filter_map(|p| p.example()).map(|(_, text)| text.to_owned());
    let golden = ["names", "types", "warnings"].map(|name| {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../tests/golden/lang/{name}.evo"));
        #[expect(clippy::disallowed_methods, reason = "a test reads its files")]
        std::fs::read_to_string(path).unwrap()
    });
    let sections = golden.iter().flat_map(|text| text.split("// --- ").skip(1));
    let sections = sections.filter_map(|s| Some(s.split_once('\n')?.1.split("\n// file ").next()?.to_owned()));
    let slips = SLIPS.iter().map(|s| (*s).to_owned());
    let (mut fixed, mut wrong) = (0, Vec::new());
    for text in pages.chain(sections).chain(slips) {
        let before = check(&text);
        let file = before.sources.find("main.evo").unwrap();
        for d in before.diagnostics.iter().filter(|d| !d.fix.is_empty()) {
            let patched = evo_lang::diag::patch(std::slice::from_ref(d), &before.sources, file);
            assert_eq!(patched.applied.len(), 1, "the fix of {} lies in the text: {text}", d.code);
            let after = check(&patched.text).diagnostics;
            let titles = |all: &[evo_lang::diag::Diagnostic]| all.iter().map(|d| d.title.clone()).collect::<Vec<_>>();
            let (was, is) = (titles(&before.diagnostics), titles(&after));
            // What an error hid, or only warnings without errors, may come to light; it is not of the fix's making.
            let same = is.iter().filter(|t| **t == d.title).count() < was.iter().filter(|t| **t == d.title).count();
            let new = after.iter().filter(|n| n.is_error() && !was.contains(&n.title)).count();
            if !same || new > 0 {
                wrong.push(format!("{}: {}\n{}\n=> {is:?}\n", d.code, d.title, patched.text));
            }
            fixed += 1;
        }
    }
    assert!(fixed > 60, "{fixed} fixes");
    assert!(wrong.is_empty(), "{} of {fixed}\n{}", wrong.len(), wrong.join("\n"));
}

/// Slips with a fix that no page and no golden section has.
const SLIPS: [&str; 14] = [
    "let a = 7\nlet b = a % 3",
    "let a = 'text'",
    "let a = [1 2]",
    "fn f(x: real) -> real {\n  y = 2 * x\n  y\n}",
    "let n: int = 7 / 2",
    "param k: int = 4\nlet n: int = k / 2",
    "let a = sqrt（1)",
    "let a = 1 × 2",
    "fn f(x: real) -> real = x\nlet a = f(x： 1)",
    "let a: 3",
    "let a = 3;",
    "a = 3",
    "let a = true && false",
    "fn f(x: real) -> real { return x }",
];
