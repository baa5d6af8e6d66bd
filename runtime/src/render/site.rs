//! The reference as one page of HTML: it needs no other file, no network, and reads well in light and in dark.

use std::fmt::Write;

use evo_lang::ide::{Class, Doc, DocParam, highlight};
use evo_stdlib::plot::escape;

/// Declarations that belong together.
#[derive(Clone, Debug)]
pub struct Family {
    /// Its name.
    pub name: String,
    /// Its declarations, forms of one name side by side.
    pub docs: Vec<Doc>,
}

impl Family {
    /// A family.
    pub fn new(name: &str, docs: Vec<Doc>) -> Family {
        Family { name: name.to_owned(), docs }
    }
}

const STYLE: &str = include_str!("site.css");
const SCRIPT: &str = include_str!("site.js");

/// The page.
pub fn page(families: &[Family]) -> String {
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>evo reference</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<nav>\n<h1>evo <span>{}</span></h1>\n\
         <input type=\"search\" id=\"search\" placeholder=\"Search names and texts  ( / )\" aria-label=\"Search\" autocomplete=\"off\">\n",
        env!("CARGO_PKG_VERSION")
    );
    for family in families {
        let _ = writeln!(out, "<h2>{}</h2>\n<ul>", escape(&family.name));
        let mut last = "";
        for doc in &family.docs {
            if last != &*doc.name {
                let _ = writeln!(out, "<li><a href=\"#{0}\">{1}</a></li>", anchor(family, doc), escape(&doc.name));
            }
            last = &doc.name;
        }
        out.push_str("</ul>\n");
    }
    out.push_str("</nav>\n<main>\n<p id=\"none\" hidden>Nothing has these words.</p>\n");
    for family in families {
        let _ = writeln!(out, "<section>\n<h2>{}</h2>", escape(&family.name));
        let mut last = "";
        for doc in &family.docs {
            article(&mut out, family, doc, last == &*doc.name);
            last = &doc.name;
        }
        out.push_str("</section>\n");
    }
    let _ = write!(out, "</main>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n");
    out
}

/// Where a declaration stands in the page.
fn anchor(family: &Family, doc: &Doc) -> String {
    let plain =
        |text: &str| text.chars().map(|c| if c.is_alphanumeric() || c == '_' { c } else { '-' }).collect::<String>();
    format!("{}.{}", plain(&family.name), plain(&doc.name))
}

fn article(out: &mut String, family: &Family, doc: &Doc, is_further: bool) {
    let id = if is_further { String::new() } else { format!(" id=\"{}\"", anchor(family, doc)) };
    let _ = write!(out, "<article{id} data-name=\"{}\">\n<h3>", escape(&doc.name.to_lowercase()));
    let _ = writeln!(out, "{} <small>{}</small></h3>", escape(&doc.name), escape(&doc.word));
    let _ = writeln!(out, "<pre>{}</pre>", colored(&doc.signature));
    paragraphs(out, &doc.text);
    if doc.params.iter().any(is_told) {
        out.push_str("<table>\n<tr><th>name</th><th>type</th><th></th></tr>\n");
        for param in &doc.params {
            row(out, param);
        }
        out.push_str("</table>\n");
    }
    for remark in &doc.remarks {
        let _ = writeln!(out, "<p class=\"remark\">{}</p>", inline(remark));
    }
    if !doc.examples.is_empty() {
        let examples: Vec<String> = doc.examples.iter().map(|example| colored(example)).collect();
        let _ = writeln!(out, "<pre class=\"example\">{}</pre>", examples.join("\n"));
    }
    out.push_str("</article>\n");
}

/// Whether a table says of a parameter what the signature does not.
fn is_told(param: &DocParam) -> bool {
    !param.text.is_empty()
}

fn row(out: &mut String, param: &DocParam) {
    let range = param.range.map(|(lo, hi)| format!("{lo} to {hi}"));
    let needed = param.needed.then(|| "must be given".to_owned());
    let facts: Vec<String> = range.into_iter().chain(needed).collect();
    let text = param.text.split_whitespace().collect::<Vec<_>>().join(" ");
    let facts = if facts.is_empty() { String::new() } else { format!("<small>{}</small>", escape(&facts.join(", "))) };
    let _ = writeln!(
        out,
        "<tr><td><code>{}</code></td><td><code>{}</code></td><td>{} {facts}</td></tr>",
        escape(&param.name),
        escape(&param.ty),
        inline(&text)
    );
}

fn paragraphs(out: &mut String, text: &str) {
    for paragraph in text.split("\n\n").filter(|paragraph| !paragraph.trim().is_empty()) {
        let _ = writeln!(out, "<p>{}</p>", inline(paragraph.trim()));
    }
}

/// Text in which back-quoted words are code.
fn inline(text: &str) -> String {
    let mut out = String::new();
    for (i, part) in text.split('`').enumerate() {
        let part = escape(part);
        if i % 2 == 1 {
            let _ = write!(out, "<code>{part}</code>");
        } else {
            out.push_str(&part);
        }
    }
    out
}

/// Code with the colours of its parts.
fn colored(code: &str) -> String {
    let mut out = String::new();
    let mut at = 0;
    for (range, class) in highlight(code) {
        let (Some(before), Some(part)) = (code.get(at..range.start), code.get(range.clone())) else { continue };
        let class = match class {
            Class::Keyword | Class::Kind => "k",
            Class::Declared | Class::Function => "f",
            Class::Type => "t",
            Class::Number | Class::Text => "n",
            Class::Comment | Class::Doc => "c",
            Class::Label | Class::Error => continue,
        };
        let _ = write!(out, "{}<i class=\"{class}\">{}</i>", escape(before), escape(part));
        at = range.end;
    }
    out.push_str(&escape(code.get(at..).unwrap_or_default()));
    out
}
