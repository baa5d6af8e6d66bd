//! Places in source text: byte spans, files, and their lines and columns.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A file of a [`SourceMap`], by the order in which it was added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FileId(pub u32);

/// The bytes `start..end` of a file.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Span {
    /// The file.
    pub file: FileId,
    /// The first byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl std::fmt::Debug for Span {
    /// `start..end`, so that dumps of trees stay readable.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}..{}", self.start, self.end)
    }
}

impl Span {
    /// The bytes `start..end` of `file`; offsets beyond 4 GiB are cut to the largest that fits.
    pub fn new(file: FileId, start: usize, end: usize) -> Self {
        let cut = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Self { file, start: cut(start), end: cut(end) }
    }

    /// The smallest span that holds both; spans of two files give the first.
    pub fn to(self, other: Self) -> Self {
        if self.file != other.file {
            return self;
        }
        Self { file: self.file, start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    /// The bytes as a range, for slicing the file's text.
    pub fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }

    /// The empty span where this one starts.
    pub fn head(self) -> Self {
        Self { end: self.start, ..self }
    }

    /// The empty span where this one ends.
    pub fn tail(self) -> Self {
        Self { start: self.end, ..self }
    }
}

/// A line and a column, both counted from 1; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LineColumn {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

/// A source text with its name.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// The name that diagnostics show: a path as the user wrote it.
    pub name: Arc<str>,
    /// The text.
    pub text: Arc<str>,
    lines: Vec<u32>,
}

impl SourceFile {
    fn new(name: &str, text: &str) -> Self {
        let starts = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(i, _)| i as u32 + 1);
        Self { name: name.into(), text: text.into(), lines: std::iter::once(0).chain(starts).collect() }
    }

    /// The line and column of a byte offset; an offset past the end is the end's.
    pub fn line_column(&self, offset: u32) -> LineColumn {
        let mut at = (offset as usize).min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        let line = self.lines.partition_point(|&s| s as usize <= at).max(1);
        let start = self.lines.get(line - 1).map_or(0, |&s| s as usize);
        LineColumn { line, column: self.text.get(start..at).map_or(0, |s| s.chars().count()) + 1 }
    }

    /// The text of a line counted from 1, without its line end.
    pub fn line(&self, line: usize) -> &str {
        let Some(&start) = self.lines.get(line.wrapping_sub(1)) else { return "" };
        let end = self.lines.get(line).map_or(self.text.len(), |&e| e as usize);
        self.text.get(start as usize..end).unwrap_or("").trim_end_matches(['\n', '\r'])
    }

    /// The byte offset at which a line, counted from 1, starts.
    pub fn line_start(&self, line: usize) -> u32 {
        self.lines.get(line.wrapping_sub(1)).copied().unwrap_or(self.text.len() as u32)
    }
}

/// All source texts that a check has read.
#[derive(Clone, Debug, Default)]
pub struct SourceMap {
    files: Vec<SourceFile>,
}

impl SourceMap {
    /// An empty map.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a text under a name and returns its id. A name may occur more than once.
    pub fn add(&mut self, name: &str, text: &str) -> FileId {
        self.files.push(SourceFile::new(name, text));
        FileId(self.files.len() as u32 - 1)
    }

    /// The file of an id, if this map has it.
    pub fn file(&self, id: FileId) -> Option<&SourceFile> {
        self.files.get(id.0 as usize)
    }

    /// All files in the order in which they were added, with their ids.
    pub fn files(&self) -> impl Iterator<Item = (FileId, &SourceFile)> {
        self.files.iter().enumerate().map(|(i, f)| (FileId(i as u32), f))
    }

    /// The first file of that name.
    pub fn find(&self, name: &str) -> Option<FileId> {
        self.files().find(|(_, f)| &*f.name == name).map(|(id, _)| id)
    }

    /// The text of a span; empty when the span lies outside its file.
    pub fn text(&self, span: Span) -> &str {
        self.file(span.file).and_then(|f| f.text.get(span.range())).unwrap_or("")
    }

    /// The line and column at which a span starts.
    pub fn line_column(&self, span: Span) -> LineColumn {
        self.file(span.file).map_or(LineColumn { line: 1, column: 1 }, |f| f.line_column(span.start))
    }

    /// `FILE:LINE:COLUMN` of a span's start.
    pub fn location(&self, span: Span) -> String {
        let at = self.line_column(span);
        let name = self.file(span.file).map_or("?", |f| &f.name);
        format!("{name}:{}:{}", at.line, at.column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters() {
        let mut map = SourceMap::new();
        let id = map.add("a.evo", "let x = 1\nlet 日 = 2\n");
        let file = map.file(id).unwrap();
        assert_eq!(file.line_column(0), LineColumn { line: 1, column: 1 });
        assert_eq!(file.line_column(14), LineColumn { line: 2, column: 5 });
        assert_eq!(file.line_column(17), LineColumn { line: 2, column: 6 });
        assert_eq!(file.line_column(15), LineColumn { line: 2, column: 5 }, "inside a character");
        assert_eq!(file.line_column(999), LineColumn { line: 3, column: 1 });
        assert_eq!(file.line(2), "let 日 = 2");
        assert_eq!(map.location(Span::new(id, 10, 13)), "a.evo:2:1");
    }
}
