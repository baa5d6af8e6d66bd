//! Diagnostics: what is wrong, where, why, and what to do about it.
//!
//! A [`Diagnostic`] is plain data; [`render`] turns it into text for a terminal and [`to_json`] into
//! data for tools. Every error has a stable [`Code`] whose page (`codes/E0201.md`) explains the rule
//! and shows an example that raises that very code.

mod codes;
mod cut;
mod fix;
mod render;
mod sarif;

pub use codes::*;
pub use fix::{Patched, patch};
pub use render::{render, render_all, to_json};
pub use sarif::{sarif_log, sarif_result};

use serde::{Deserialize, Serialize};

use crate::span::Span;

/// How much a diagnostic matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The program cannot run.
    Error,
    /// The program runs; something is probably not as intended.
    Warning,
}

/// A place with a few words on what is to be seen there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// The place.
    pub span: Span,
    /// At most eight words; may be empty.
    pub text: String,
}

/// One change of a source text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edit {
    /// What is replaced; empty to insert.
    pub span: Span,
    /// What takes its place; empty to delete.
    pub replacement: String,
}

/// One thing wrong with a program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// The stable code.
    pub code: Code,
    /// Error or warning.
    pub severity: Severity,
    /// Lower case, without a full stop, names in backticks, complete by itself.
    pub title: String,
    /// What is wrong, here.
    pub primary: Label,
    /// Where the cause is.
    pub secondary: Vec<Label>,
    /// Facts, with numbers.
    pub notes: Vec<String>,
    /// What to do.
    pub help: Vec<String>,
    /// The same as a patch: edits that settle the matter together, none of which overlap; empty where there is no patch.
    pub fix: Vec<Edit>,
}

impl Diagnostic {
    /// An error at a place. `title` is complete by itself; `label` says in a few words what is wrong here.
    pub fn error(code: Code, span: Span, title: impl Into<String>, label: impl Into<String>) -> Self {
        Self {
            code,
            severity: Severity::Error,
            title: title.into(),
            primary: Label { span, text: label.into() },
            secondary: Vec::new(),
            notes: Vec::new(),
            help: Vec::new(),
            fix: Vec::new(),
        }
    }

    /// A warning at a place, as [`Diagnostic::error`].
    pub fn warning(code: Code, span: Span, title: impl Into<String>, label: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, span, title, label) }
    }

    /// Adds a label that points at the cause.
    pub fn label(mut self, span: Span, text: impl Into<String>) -> Self {
        self.secondary.push(Label { span, text: text.into() });
        self
    }

    /// Adds a fact.
    pub fn note(mut self, text: impl Into<String>) -> Self {
        self.notes.push(text.into());
        self
    }

    /// Adds something to do.
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help.push(text.into());
        self
    }

    /// Adds an edit to the patch that does it.
    pub fn fix(mut self, span: Span, replacement: impl Into<String>) -> Self {
        self.fix.push(Edit { span, replacement: replacement.into() });
        self
    }

    /// The same with every place in its file moved.
    pub(crate) fn moved(mut self, to: impl Fn(u32) -> u32) -> Self {
        let labels = std::iter::once(&mut self.primary.span).chain(self.secondary.iter_mut().map(|l| &mut l.span));
        for span in labels.chain(self.fix.iter_mut().map(|e| &mut e.span)) {
            (span.start, span.end) = (to(span.start), to(span.end));
        }
        self
    }

    /// Whether the program cannot run because of this.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// Whether any of them is an error.
pub fn has_errors(diagnostics: &[Diagnostic]) -> bool {
    diagnostics.iter().any(Diagnostic::is_error)
}

/// Puts diagnostics into the order of their places, errors and warnings mixed; equal ones are merged.
pub fn sort(diagnostics: &mut Vec<Diagnostic>) {
    diagnostics.sort_by(|a, b| (a.primary.span, a.code.as_str()).cmp(&(b.primary.span, b.code.as_str())));
    diagnostics.dedup();
}

/// Leaves out the warnings that the program says are meant: those whose code a comment names, as in
/// `// allow E0212: shorter here`, at the end of the line of their place or on the line above it.
pub fn accept(diagnostics: &mut Vec<Diagnostic>, sources: &crate::span::SourceMap) {
    diagnostics.retain(|d| {
        let Some(file) = sources.file(d.primary.span.file).filter(|_| !d.is_error()) else { return true };
        let line = file.line_column(d.primary.span.start).line;
        let above = file.line(line.saturating_sub(1));
        let is_comment = above.trim_start().starts_with("//");
        !(allows(file.line(line), d.code) || is_comment && allows(above, d.code))
    });
}

/// Whether a line ends with a comment that allows the code.
fn allows(line: &str, code: Code) -> bool {
    let Some((_, words)) = line.rsplit_once("// allow ") else { return false };
    words.split([' ', ',', ':']).any(|word| word == code.as_str())
}

/// The candidate nearest to `name`, within an edit distance of max(1, length / 3); ties go to the first.
pub fn suggest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (name.chars().count() / 3).max(1);
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        if candidate == name {
            continue;
        }
        let distance = edit_distance(name, candidate, limit);
        if distance <= limit && best.is_none_or(|(d, _)| distance < d) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, c)| c)
}

/// The optimal string alignment distance (a swap of neighbours counts once), or `limit + 1` when it is larger.
fn edit_distance(a: &str, b: &str, limit: usize) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) > limit {
        return limit + 1;
    }
    let mut rows = [vec![0; b.len() + 1], (0..=b.len()).collect::<Vec<_>>(), vec![0; b.len() + 1]];
    for (i, x) in a.iter().enumerate() {
        let [before, above, row] = &mut rows;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let mut d = (above[j] + usize::from(x != y)).min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i - 1] == *y && a[i] == b[j - 1] {
                d = d.min(before[j - 1] + 1);
            }
            row[j + 1] = d;
        }
        rows.rotate_left(1);
    }
    rows[1][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggestions_keep_to_the_distance() {
        assert_eq!(suggest("slrep", ["slerp", "sleep"]), Some("slerp"), "a swap is one edit");
        assert_eq!(suggest("linaer", ["linear"]), Some("linear"));
        assert_eq!(suggest("abc", ["xyz", "abd"]), Some("abd"));
        assert_eq!(suggest("abc", ["axz"]), None);
        assert_eq!(suggest("m", ["n"]), Some("n"));
        assert_eq!(edit_distance("kitten", "sitting", 9), 3);
    }
}
