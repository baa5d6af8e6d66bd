//! What a node is called where it is shown: by its declaration, else as the program writes it.

use evo_lang::plan::{Node, Op};
use evo_lang::span::SourceMap;

use crate::render::shortened;

/// A longer text is cut.
const LONGEST: usize = 36;

/// The declared name; for a call without one its source text on one line, such as `score(reader, held_out)`.
pub(crate) fn name(node: &Node, sources: &SourceMap) -> String {
    if let Some(label) = &node.label {
        return label.to_string();
    }
    let Op::Extern(ext) = &node.op else { return String::new() };
    let span = node.span.start as usize..node.span.end as usize;
    let text = sources.file(node.span.file).and_then(|file| file.text.get(span)).unwrap_or_default();
    let text: Vec<&str> = text.split_whitespace().collect();
    let text = text.join(" ");
    // A call through another name, as of a library function's default, is no text of the program.
    if !text.contains(&*ext.name) {
        return ext.name.to_string();
    }
    shortened(&text, LONGEST)
}
