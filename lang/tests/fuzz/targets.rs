//! The promises.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use evo_lang::codegen::{evaluate_both, same_slots};
use evo_lang::diag::{has_errors, render_all};
use evo_lang::fmt::{Unformatted, WIDTH, format};
use evo_lang::hir::{GlobalKind, Param};
use evo_lang::ir::simplify::simplify;
use evo_lang::ir::{FuncId, Module, Type, build, interp, print, verify};
use evo_lang::library::Library;
use evo_lang::plan::{Answer, Call, Elaborator, Fact, Host, Options, Problem};
use evo_lang::span::{FileId, SourceMap};

use crate::mutate::{Draw, same};

/// More nodes than any mutant of these programs has a reason to plan.
const NODES: usize = 3_000_000;

/// A text parses, or each of its errors has a place in it and a help.
pub(crate) fn parse(text: &str) -> Result<(), String> {
    let mut sources = SourceMap::new();
    let file = sources.add("main.evo", text);
    let (tree, found) = evo_lang::syntax::parse(text, file);
    for d in &found {
        let range = d.primary.span.range();
        if text.get(range.clone()).is_none() || d.help.is_empty() {
            return Err(format!("{range:?} is no place, or no help: {d:?}"));
        }
    }
    for item in &tree.items {
        if text.get(item.span.range()).is_none() {
            return Err(format!("{:?} is no place", item.span));
        }
    }
    if render_all(&found, &sources, false).is_empty() != found.is_empty() {
        return Err("nothing is shown".to_owned());
    }
    let (again, _) = evo_lang::syntax::parse(text, file);
    if again != tree { Err("it parses to another tree".to_owned()) } else { Ok(()) }
}

/// A program is checked and planned to the end, and each diagnostic has a help.
pub(crate) fn check(text: &str) -> Result<(), String> {
    let all = seeds("check");
    let checked = evo_lang::check("main.evo", text, library(), &|path| {
        let found = all.iter().find(|program| path.len() % 7 == program.len() % 7);
        found.cloned().ok_or_else(|| "no such file".to_owned())
    });
    let shown = render_all(&checked.diagnostics, &checked.sources, false);
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

/// What parses is formatted: to the same tree, with the same comments in the same order; and once is as good as twice.
pub(crate) fn fmt(text: &str) -> Result<(), String> {
    let (tree, found) = evo_lang::syntax::parse(text, FileId(0));
    let out = match format(text, FileId(0)) {
        Ok(out) => out,
        Err(Unformatted::Syntax(_)) if has_errors(&found) => return Ok(()),
        Err(why) => return Err(format!("{why:?}")),
    };
    let (new, found) = evo_lang::syntax::parse(&out, FileId(0));
    if !found.is_empty() || !same(&tree, &new) {
        return Err(format!("it says something else:\n{out}"));
    }
    if comments(text) != comments(&out) {
        return Err(format!("its comments differ: {:?} {:?}\n{out}", comments(text), comments(&out)));
    }
    let again = format(&out, FileId(0)).map_err(|why| format!("not formatted twice: {why:?}"))?;
    if again != out {
        return Err(format!("formatting twice is not once:\n{out}\n--- twice ---\n{again}"));
    }
    tidy(&out).map_err(|why| format!("{why}\n{out}"))
}

/// Formatted text has no white space at the ends of lines, no two blank lines, and no long line that could be broken.
fn tidy(out: &str) -> Result<(), String> {
    if out.contains("\"\"\"") {
        return Ok(()); // a long text may hold anything
    }
    let lines: Vec<&str> = out.lines().collect();
    for (i, line) in lines.iter().enumerate() {
        if line.ends_with([' ', '\t']) {
            return Err(format!("line {} ends with space", i + 1));
        }
        if line.is_empty() && lines.get(i + 1).is_none_or(|l| l.is_empty()) {
            return Err(format!("line {} is one blank line too many", i + 1));
        }
        // A line of one short call alone in its brackets is what breaking leaves.
        let code = line.split("//").next().unwrap_or("").trim_end();
        let aligned = code.trim_start().contains("  ");
        if code.chars().count() > 3 * WIDTH && code.contains(", ") && !code.contains(['"', '[', '<']) && !aligned {
            return Err(format!("line {} is {} columns long", i + 1, code.chars().count()));
        }
    }
    Ok(())
}

/// The comments of a text, found without the parser.
fn comments(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['"', '/']) {
        rest = &rest[at..];
        if rest.starts_with('"') {
            let mark = if rest.starts_with("\"\"\"") { "\"\"\"" } else { "\"" };
            let mut escaped = false;
            let inner = &rest[mark.len()..];
            let end = inner.char_indices().find(|(i, c)| {
                let ends = !escaped && inner[*i..].starts_with(mark);
                escaped = !escaped && *c == '\\';
                ends
            });
            rest = end.map_or("", |(i, _)| &inner[i + mark.len()..]);
        } else if rest.starts_with("//") {
            let line = rest.split(['\n', '\r']).next().unwrap_or(rest);
            let is_doc = line.starts_with("//!") || line.starts_with("///") && !line.starts_with("////");
            if !is_doc {
                found.push(line.trim_end());
            }
            rest = &rest[line.len()..];
        } else {
            rest = &rest[1..];
        }
    }
    found
}

/// Numeric functions compute the same in the interpreter and in compiled code, simplified or not.
pub(crate) fn differential(text: &str) -> Result<(), String> {
    let checked = evo_lang::check("main.evo", text, numbers(), &|_| Err("one file".to_owned()));
    let program = &checked.program;
    let mut draw = Draw(text.len() as u64);
    for global in &program.modules[program.entry.0 as usize].globals {
        let GlobalKind::Function(function) = &global.kind else { continue };
        let Some(code) = outlined(program, &function.params, &function.body) else { continue };
        if code.module.functions.len() > 64 || verify::verify(&code.module).is_err() {
            return Err(format!("{}: {:?}", global.name, verify::verify(&code.module)));
        }
        let Some(entry) = code.module.entry() else { continue };
        for _ in 0..3 {
            agree(&code.module, entry, &mut draw).map_err(|why| format!("{}: {why}", global.name))?;
        }
    }
    Ok(())
}

/// A numeric function as code; nothing if it is none.
pub(crate) fn outlined(
    program: &evo_lang::hir::Program,
    params: &[Param],
    body: &evo_lang::hir::Expr,
) -> Option<build::Outlined> {
    let mut length = |_: Option<&evo_lang::hir::Expr>, len: &evo_lang::types::Len| match len {
        evo_lang::types::Len::Const(n) => Some(*n).filter(|n| *n < 10_000),
        _ => None,
    };
    build::outline_lambda(program, params, body, &mut length)
}

fn agree(module: &Module, entry: FuncId, draw: &mut Draw) -> Result<(), String> {
    let function = &module.functions[entry.0 as usize];
    let mut inputs = Vec::new();
    function.params().for_each(|ty| slots(ty, draw, &mut inputs));
    let before = match evaluate_both(module, entry, &inputs) {
        Ok(both) => both,
        Err(why) => return Err(format!("{why:?}\n{}", print::canonical(module))),
    };
    let small = simplify(module.clone());
    verify::verify(&small).map_err(|e| format!("{e:?}"))?;
    let after = interp::run(&small, small.entry().unwrap_or(entry), &inputs);
    let same = match (&before, &after) {
        (Ok(a), Ok(b)) => function.result().is_some_and(|ty| same_slots(ty, a, b)),
        (a, b) => a == b,
    };
    if same { Ok(()) } else { Err(format!("{before:?} simplified is {after:?}\n{}", print::canonical(module))) }
}

/// Inputs of a type; the values are those that break things.
fn slots(ty: &Type, draw: &mut Draw, out: &mut Vec<u64>) {
    let ints = [0, 1, -1, 2, 3, 7, i64::MAX, i64::MIN, 4, -12];
    let reals = [0.0, -0.0, 1.0, -1.5, 0.5, 2.5, 1e300, -1e-300, f64::INFINITY, f64::NAN, 3.0, 40.0, -9.3e18];
    match ty {
        Type::Int => out.push(ints[draw.below(ints.len())] as u64),
        Type::Real => out.push(f64::to_bits(reals[draw.below(reals.len())])),
        Type::Bool => out.push(draw.below(2) as u64),
        Type::Text => out.push(evo_lang::ir::text_id("a")),
        Type::Array(item, len) => (0..*len).for_each(|_| slots(item, draw, out)),
        Type::Struct(fields) => fields.iter().for_each(|f| slots(f, draw, out)),
    }
}

/// The programs that mutants are made of: those of the repository, but for the library's.
pub(crate) fn seeds(target: &str) -> Arc<Vec<String>> {
    static PROGRAMS: OnceLock<Arc<Vec<String>>> = OnceLock::new();
    static NUMERIC: OnceLock<Arc<Vec<String>>> = OnceLock::new();
    let all = || {
        PROGRAMS.get_or_init(|| {
            let folders =
                ["programs", "tests/golden", "book/src", "lang/tests/examples", "lang/src/diag/codes", "stdlib/src"];
            Arc::new(read(&folders))
        })
    };
    if target != "differential" {
        return all().clone();
    }
    let numeric = || {
        let functions = |p: &&String| p.contains("fn ") && p.contains("// run") && !p.contains("extern");
        Arc::new(all().iter().filter(functions).cloned().collect())
    };
    NUMERIC.get_or_init(numeric).clone()
}

fn read(folders: &[&str]) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = Vec::new();
    let mut folders: Vec<_> = folders.iter().map(|f| root.join(f)).collect();
    while let Some(folder) = folders.pop() {
        let mut entries: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            match path.extension().and_then(|e| e.to_str()) {
                _ if path.is_dir() => folders.push(path),
                Some("evo") => {
                    let text = std::fs::read_to_string(&path).unwrap();
                    let sections = text.split("// --- ").enumerate();
                    // The first line of a section is its name.
                    found.extend(
                        sections
                            .filter_map(|(i, s)| if i == 0 { Some(s) } else { Some(s.split_once('\n')?.1) })
                            .map(str::to_owned),
                    );
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
    LIBRARY.get_or_init(|| Library::parse(&[("test", include_str!("../library.evo"))]).0)
}

/// The library of numeric code alone.
pub(crate) fn numbers() -> &'static Library {
    static LIBRARY: OnceLock<Library> = OnceLock::new();
    LIBRARY.get_or_init(|| Library::parse(&[("numeric", include_str!("../../../stdlib/src/numeric/numeric.evo"))]).0)
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
