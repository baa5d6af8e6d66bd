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
