//! `evo explain`.

use evo_lang::diag::{Code, Page, suggest};
use serde_json::json;

use super::args::ExplainArgs;
use super::{Stop, screen};

/// Prints the page of a code, or the list of all codes.
pub(super) fn explain(args: &ExplainArgs) -> Result<u8, Stop> {
    let Some(wanted) = &args.code else {
        let as_json: Vec<_> = Code::pages().iter().map(object).collect();
        let lines: Vec<&str> = Code::pages().iter().map(Page::title).collect();
        if args.json {
            screen::json(&as_json)?;
        } else {
            screen::result(&lines.join("\n"))?;
        }
        return Ok(0);
    };
    if let Some(page) = Code::find(wanted).and_then(Code::page) {
        if args.json {
            screen::json(&object(page))?;
        } else {
            screen::result(page.text)?;
        }
        return Ok(0);
    }
    let near = suggest(&wanted.to_uppercase(), Code::pages().iter().map(|page| page.code.as_str()));
    let help = near.map_or("`evo explain` lists all codes".to_owned(), |near| format!("did you mean `{near}`?"));
    screen::note(&format!("error: there is no code `{wanted}`\n  help: {help}"));
    Ok(2)
}

fn object(page: &Page) -> serde_json::Value {
    json!({ "code": page.code, "title": page.title(), "text": page.text })
}
