//! The instructions between the walk over a program and its lines.

/// Where a token stands in the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The row: lines that hold tokens are counted, and a blank line between them counts as one more.
    pub(super) row: usize,
    /// The column of its first character, from 0, as a terminal counts columns.
    pub(super) column: usize,
    /// Spaces between it and what stands before it on its line; none if it begins the line.
    pub(super) gap: Option<usize>,
}

/// One instruction.
#[derive(Clone, Debug)]
pub(super) enum Op<'t> {
    /// A token, or punctuation that the formatter sets (without a place).
    Text(&'t str, Option<Place>),
    /// A comment on a line of its own.
    Comment(&'t str),
    /// A comment after the code of its line.
    Suffix(&'t str, Place),
    /// One space.
    Space,
    /// A place where the line breaks if its group does: what stands there otherwise, and what ends the line.
    Line {
        /// In a group on one line: punctuation, and whether a space follows.
        flat: (&'static str, bool),
        /// At the end of a line.
        broken: &'static str,
    },
    /// A line end.
    Hard {
        /// Whether a blank line follows it.
        blank: bool,
    },
    /// What breaks as one.
    Open(Group),
    /// The end of a group.
    Close,
    /// Lines that begin from here on stand further in.
    Indent {
        /// If not, only where the group is broken.
        always: bool,
    },
    /// The end of an indentation.
    Dedent,
}

/// How a group is laid out.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Group {
    /// Whether it breaks even if it fits.
    pub(super) forced: bool,
    /// Whether, where it does not fit, each line takes as much as fits.
    pub(super) fill: bool,
    /// The group at its end that may break in its stead.
    pub(super) hug: Option<usize>,
}
