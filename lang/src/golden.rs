//! Expectations in a program's comments: what the golden files of this repository and `evo test` read.
//!
//! ```text
//! // --- a name check          a section begins; its lines are counted from the next one
//! let a = missing
//! // error[E0201] 1:9 "unknown name `missing`"
//! // --- another name run
//! print 1 + 1
//! // prints: 2
//! ```
//!
//! A section ends with what is expected of it: a line for each error and warning in the order of their places, then one for
//! each printed line; `// no errors` where there is nothing. A file without sections is one, and its expectations may stand at
//! its end.

use crate::diag::Diagnostic;
use crate::span::SourceMap;

/// A program with what is expected of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section {
    /// Its first line, `// --- name form`; empty for what stands before the first section.
    pub head: String,
    /// The line of the file on which the text begins, from 1.
    pub line: usize,
    /// The program, each line with its end.
    pub text: String,
    /// The expectations, each line with its end.
    pub expected: String,
}

impl Section {
    /// Its name, and how it is taken: `check`, `run` …; both empty without a head.
    pub fn title(&self) -> (&str, &str) {
        let title = self.head.trim_start_matches("// --- ").trim();
        title.rsplit_once(' ').unwrap_or((title, ""))
    }

    /// The section as it would be with other expectations.
    pub fn with(&self, expected: &str) -> String {
        let head = if self.head.is_empty() { String::new() } else { format!("{}\n", self.head) };
        format!("{head}{}\n{expected}\n", self.text.trim_end())
    }
}

/// The sections of a file; the first is what stands before any head.
pub fn sections(text: &str) -> Vec<Section> {
    let mut all = vec![Section { line: 1, ..Section::default() }];
    for (at, line) in text.lines().enumerate() {
        let Some(section) = all.last_mut() else { break };
        if line.starts_with("// --- ") {
            all.push(Section { head: line.to_owned(), line: at + 2, ..Section::default() });
            continue;
        }
        let goes_on = !section.expected.is_empty() && line.starts_with("// ");
        let part = if is_expectation(line) || goes_on { &mut section.expected } else { &mut section.text };
        part.push_str(line);
        part.push('\n');
    }
    all
}

/// Whether a line says what is expected.
pub fn is_expectation(line: &str) -> bool {
    const FIRST: [&str; 5] = ["// error[", "// warning[", "// type ", "// run ", "// prints: "];
    FIRST.iter().any(|first| line.starts_with(first)) || matches!(line, "// no errors" | "// prints:")
}

/// A diagnostic as an expectation; `file` is the name of the program's own file, which is left out of the place.
pub fn expectation(diagnostic: &Diagnostic, sources: &SourceMap, file: &str) -> String {
    let word = if diagnostic.is_error() { "error" } else { "warning" };
    let place = sources.location(diagnostic.primary.span);
    let place = place.strip_prefix(file).and_then(|rest| rest.strip_prefix(':')).unwrap_or(&place);
    format!("// {word}[{}] {place} {:?}\n", diagnostic.code, diagnostic.title)
}

/// Printed text as expectations, one a line.
pub fn printed(text: &str) -> String {
    text.lines().map(|line| format!("// prints: {line}").trim_end().to_owned() + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_falls_into_sections_and_comes_back() {
        let text = "// about\n\n// --- one two check\nlet a = b\n// error[E0201] 1:9 \"x\"\n\n// --- three run\nprint 2\n// prints: 2\n";
        let all = sections(text);
        assert_eq!(
            all.iter().map(Section::title).collect::<Vec<_>>(),
            [("", ""), ("one two", "check"), ("three", "run")]
        );
        assert_eq!(all.iter().map(|s| s.line).collect::<Vec<_>>(), [1, 4, 8]);
        assert_eq!((all[2].text.as_str(), all[2].expected.as_str()), ("print 2\n", "// prints: 2\n"));
        assert_eq!(all[2].with(&all[2].expected).trim_end(), "// --- three run\nprint 2\n// prints: 2");
        assert_eq!(printed("a\n\nb"), "// prints: a\n// prints:\n// prints: b\n");
    }
}
