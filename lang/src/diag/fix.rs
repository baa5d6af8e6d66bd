//! The patches of diagnostics applied to a text.

use super::{Diagnostic, Edit};
use crate::span::{FileId, SourceMap};

/// A text after the patches of its diagnostics.
#[derive(Clone, Debug, PartialEq)]
pub struct Patched<'d> {
    /// The text.
    pub text: String,
    /// The diagnostics whose patches were applied, in their order.
    pub applied: Vec<&'d Diagnostic>,
}

/// The text of `file` with the patches of `diagnostics` applied: each whole or not at all, and of two that touch one
/// place the first. A patch that reaches into another file is left out. Check the text again for those left out.
pub fn patch<'d>(diagnostics: &'d [Diagnostic], sources: &SourceMap, file: FileId) -> Patched<'d> {
    let text = sources.file(file).map_or("", |f| &*f.text);
    let mut edits: Vec<&Edit> = Vec::new();
    let mut applied = Vec::new();
    for diagnostic in diagnostics.iter().filter(|d| !d.fix.is_empty()) {
        let fits = |e: &Edit| e.span.file == file && text.get(e.span.range()).is_some();
        let free = |e: &Edit| edits.iter().all(|other| !touch(e, other));
        if diagnostic.fix.iter().all(|e| fits(e) && free(e)) {
            edits.extend(&diagnostic.fix);
            applied.push(diagnostic);
        }
    }
    edits.sort_by_key(|e| e.span.start);
    let (mut out, mut at) = (String::with_capacity(text.len()), 0);
    for edit in edits {
        out.push_str(text.get(at..edit.span.start as usize).unwrap_or(""));
        out.push_str(&edit.replacement);
        at = edit.span.end as usize;
    }
    out.push_str(text.get(at..).unwrap_or(""));
    Patched { text: out, applied }
}

/// Whether two edits share a byte or the place between two bytes.
fn touch(a: &Edit, b: &Edit) -> bool {
    a.span.start <= b.span.end && b.span.start <= a.span.end
}

#[cfg(test)]
mod tests {
    use super::super::Code;
    use super::*;
    use crate::span::Span;

    #[test]
    fn patches_apply_whole_and_never_over_each_other() {
        let mut sources = SourceMap::new();
        let (file, other) = (sources.add("a.evo", "let äb = on + tow;"), sources.add("b.evo", "x"));
        let at = |start, end| Span::new(file, start, end);
        let d = |edits: &[(Span, &str)]| {
            let d = Diagnostic::error(Code::E0201, at(0, 1), "t", "l");
            edits.iter().fold(d, |d, (span, text)| d.fix(*span, *text))
        };
        let all = [
            d(&[(at(10, 12), "one")]),
            d(&[(at(11, 12), "x"), (at(0, 3), "y")]),
            d(&[(at(15, 18), "two"), (at(18, 19), "")]),
            d(&[(Span::new(other, 0, 1), "z")]),
            d(&[(at(5, 6), "inside a character")]),
            d(&[(at(0, 99), "outside")]),
            d(&[]),
        ];
        let patched = patch(&all, &sources, file);
        assert_eq!(patched.text, "let äb = one + two");
        assert_eq!(patched.applied, [&all[0], &all[2]]);
        assert_eq!(patch(&[], &sources, file).text, "let äb = on + tow;");
    }
}
