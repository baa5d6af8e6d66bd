//! The shape of a parsed script.

use std::cell::OnceCell;
use std::rc::Rc;

/// One word before expansion.
pub(crate) type Word = Vec<Part>;
/// Commands run one after the other.
pub(crate) type List = Vec<AndOr>;

#[derive(Debug, Clone)]
pub(crate) enum Part {
    /// Unquoted text, in which globs, braces and a leading tilde count.
    Bare(Vec<u8>),
    /// Text out of quotes or behind a backslash, which means only itself.
    Quoted(Vec<u8>),
    Param {
        param: Box<Param>,
        quoted: bool,
    },
    Command {
        list: Rc<List>,
        quoted: bool,
    },
    Arith {
        word: Word,
        quoted: bool,
    },
    /// `<(…)`: the name of a file that holds what the commands print.
    Process(Rc<List>),
    /// `name=value` as an argument of `declare` and its kin.
    Assign(Box<Assign>),
}

#[derive(Debug, Clone)]
pub(crate) struct Param {
    pub(crate) name: Vec<u8>,
    pub(crate) index: Option<Index>,
    pub(crate) op: ParamOp,
}

#[derive(Debug, Clone)]
pub(crate) enum Index {
    /// `[@]`
    All,
    /// `[*]`
    Joined,
    At(Word),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Anchor {
    Anywhere,
    Start,
    End,
}

#[derive(Debug, Clone)]
pub(crate) enum ParamOp {
    Plain,
    Length,
    /// `${!name}`, `${!array[@]}`
    Indirect,
    /// `-`, `=`, `?` or `+`; with `colon` an empty value counts as none.
    Absent {
        op: u8,
        colon: bool,
        word: Word,
    },
    Trim {
        suffix: bool,
        longest: bool,
        pattern: Word,
    },
    Replace {
        all: bool,
        anchor: Anchor,
        pattern: Word,
        with: Word,
    },
    Slice {
        offset: Word,
        length: Option<Word>,
    },
    Case {
        upper: bool,
        all: bool,
    },
}

#[derive(Debug, Clone)]
pub(crate) enum Assigned {
    Text(Word),
    Array(Vec<(Option<Word>, Word)>),
}

#[derive(Debug, Clone)]
pub(crate) struct Assign {
    pub(crate) name: Vec<u8>,
    pub(crate) index: Option<Word>,
    pub(crate) append: bool,
    pub(crate) value: Assigned,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RedirectOp {
    Read,
    Write,
    Append,
    ReadWrite,
    /// `<&` and `>&`
    Duplicate,
    /// `&>`
    Both,
    /// `&>>`
    BothAppend,
    HereString,
    HereDocument,
}

#[derive(Debug, Clone)]
pub(crate) struct Redirect {
    pub(crate) fd: u32,
    pub(crate) op: RedirectOp,
    pub(crate) word: Word,
    /// The body of a here-document, read after the line that asks for it.
    pub(crate) body: Rc<OnceCell<Word>>,
}

#[derive(Debug, Clone)]
pub(crate) struct AndOr {
    pub(crate) first: Pipeline,
    /// `true` stands for `&&`, `false` for `||`.
    pub(crate) rest: Vec<(bool, Pipeline)>,
    pub(crate) background: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Pipeline {
    pub(crate) negate: bool,
    /// A stage and whether its standard error goes down the pipe too (`|&`).
    pub(crate) stages: Vec<(Command, bool)>,
}

#[derive(Debug, Clone)]
pub(crate) struct Command {
    pub(crate) line: usize,
    pub(crate) redirects: Vec<Redirect>,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Simple { assigns: Vec<Assign>, words: Vec<Word> },
    Group(List),
    Subshell(List),
    If { arms: Vec<(List, List)>, other: Option<List> },
    For { name: Vec<u8>, words: Option<Vec<Word>>, body: List },
    CountedFor { start: Word, condition: Word, step: Word, body: List },
    While { until: bool, condition: List, body: List },
    Case { word: Word, arms: Vec<CaseArm> },
    Arith(Word),
    Test(Test),
    Function { name: Vec<u8>, body: Rc<Command> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ArmEnd {
    /// `;;`
    Leave,
    /// `;&`
    FallThrough,
    /// `;;&`
    TestNext,
}

#[derive(Debug, Clone)]
pub(crate) struct CaseArm {
    pub(crate) patterns: Vec<Word>,
    pub(crate) body: List,
    pub(crate) end: ArmEnd,
}

/// What stands between `[[` and `]]`.
#[derive(Debug, Clone)]
pub(crate) enum Test {
    Not(Box<Test>),
    All(Vec<Test>),
    Any(Vec<Test>),
    Unary(Vec<u8>, Word),
    Binary(Word, Vec<u8>, Word),
    Word(Word),
}
