//! What stands between tokens: white space and comments.

/// A comment as it stands in the text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Comment {
    /// Its first byte.
    pub(super) start: usize,
    /// One past its last byte that is no white space.
    pub(super) end: usize,
    /// Whether it begins its line.
    pub(super) own_line: bool,
    /// Whether a blank line stands before it.
    pub(super) blank: bool,
}

/// What stands before a token.
#[derive(Clone, Debug, Default)]
pub(super) struct Trivia {
    /// The comments, in order.
    pub(super) comments: Vec<Comment>,
    /// Whether the token does not stand on the line of the one before it.
    pub(super) newline: bool,
    /// Whether a blank line stands directly before the token.
    pub(super) blank: bool,
}

impl Trivia {
    /// Forgets a blank line before all of it.
    pub(super) fn close_up(&mut self) {
        match self.comments.first_mut() {
            Some(first) => first.blank = false,
            None => self.blank = false,
        }
    }

    /// Adds what stands at `at`, and returns where the next token begins.
    pub(super) fn scan(&mut self, text: &str, at: usize) -> usize {
        let bytes = text.as_bytes();
        let (mut at, mut newlines) = (at, 0);
        loop {
            match bytes.get(at) {
                Some(b'\n') => {
                    newlines += 1;
                    at += 1;
                }
                Some(b'\r') => {
                    newlines += usize::from(bytes.get(at + 1) != Some(&b'\n'));
                    at += 1;
                }
                Some(b' ' | b'\t') => at += 1,
                Some(b'/') if begins_comment(&bytes[at..]) => {
                    let rest = &text[at..];
                    let line = rest.split(['\n', '\r']).next().unwrap_or(rest);
                    let end = at + line.trim_end().len();
                    self.comments.push(Comment { start: at, end, own_line: newlines > 0, blank: newlines > 1 });
                    at += line.len();
                    self.newline = true;
                    newlines = 0;
                }
                _ => break,
            }
        }
        self.newline |= newlines > 0;
        self.blank |= newlines > 1;
        at
    }
}

/// Whether a comment, not documentation, begins here.
fn begins_comment(bytes: &[u8]) -> bool {
    bytes.starts_with(b"//") && !bytes.starts_with(b"//!") && (!bytes.starts_with(b"///") || bytes.starts_with(b"////"))
}

/// Whether white space without comments that holds a line end stands before a place.
pub(super) fn newline_before(text: &str, at: usize) -> bool {
    let before = text.get(..at).unwrap_or("");
    before
        .get(before.trim_end_matches([' ', '\t', '\r', '\n']).len()..)
        .is_some_and(|space| space.contains(['\n', '\r']))
}

/// Whether a line end or a comment stands between a place and the next token.
pub(super) fn newline_after(text: &str, at: usize) -> bool {
    let mut trivia = Trivia::default();
    trivia.scan(text, at);
    trivia.newline
}

/// The comments in a part of a text that holds no text literals and no documentation.
pub(super) fn comments(text: &str, from: usize, to: usize) -> Vec<&str> {
    let mut found = Vec::new();
    let mut at = from;
    while at < to {
        let mut trivia = Trivia::default();
        let next = trivia.scan(text, at);
        found.extend(trivia.comments.iter().filter(|c| c.start < to).filter_map(|c| text.get(c.start..c.end)));
        at = next.max(at) + text.get(next..).and_then(|t| t.chars().next()).map_or(1, char::len_utf8);
    }
    found
}
