//! What editors and the REPL ask about a program's text: completion, hover, colours, documentation, and how a text falls
//! into items. Places are byte offsets, answers are plain strings: this module knows no protocol and no terminal, and it
//! opens no file.
//!
//! All of it works on text that does not parse, because it is asked while somebody types. [`complete`] puts a stand-in
//! word where the cursor is, closes what is open, and lets the checker tell what could stand there.

mod complete;
mod doc;
mod highlight;
mod hover;
mod outline;
mod place;
mod repair;
mod walk;

pub use complete::{Completion, CompletionKind, complete};
pub use doc::{Doc, DocParam, document};
pub use highlight::{Class, highlight};
pub use hover::{Hover, hover};
pub use outline::{Outline, Sort, looks_like_item, outline, unfinished};

use crate::library::Library;

/// A program's text and what it is read against.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// The file's path, which used files and inputs are relative to.
    pub path: &'a str,
    /// The text, broken or not.
    pub text: &'a str,
    /// The standard library.
    pub library: &'a Library,
    /// Reads a used program; see [`crate::check`].
    pub loader: &'a dyn Fn(&str) -> Result<String, String>,
    /// The entries of a folder named in the text, such as `models/` (empty: the program's own folder); folders among
    /// them end in `/`.
    pub folder: &'a dyn Fn(&str) -> Vec<String>,
}

impl std::fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").field("path", &self.path).field("text", &self.text).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
