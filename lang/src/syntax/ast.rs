//! The syntax tree: what was written, with its places, before any name is looked up.

use crate::span::Span;

/// A word with its place.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Name {
    /// The word.
    pub text: String,
    /// Its place.
    pub span: Span,
}

/// Documentation lines (`///`) without their marks.
pub type Docs = Vec<String>;

/// One file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Module {
    /// The file's own documentation (`//!`).
    pub docs: Docs,
    /// The items in source order. Of a file with syntax errors, those that parse.
    pub items: Vec<Item>,
    /// Names that failing items would have declared: using one is no second error.
    pub broken: Vec<Name>,
}

/// A top-level item.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Its documentation.
    pub docs: Docs,
    /// All of it, without the documentation.
    pub span: Span,
    /// What it is.
    pub kind: ItemKind,
}

/// The kinds of items.
#[derive(Clone, Debug, PartialEq)]
pub enum ItemKind {
    /// `use "file.evo" as name`
    Use(Use),
    /// `type Name<G> = type`, or `extern type Name<G> = { … }`
    Type(TypeItem),
    /// Everything of the form `kind name …`.
    Decl(Box<Decl>),
    /// `save value to target`
    Save {
        /// What is saved.
        value: Expr,
        /// Where to: a text.
        to: Expr,
    },
    /// `print value`
    Print(Expr),
    /// `plot value over range to target`
    Plot {
        /// What is drawn.
        value: Expr,
        /// The range of the input, where a function is drawn.
        over: Option<Expr>,
        /// A file name; in the terminal without one.
        to: Option<Expr>,
    },
    /// `expect condition, message`
    Expect {
        /// What must hold.
        condition: Expr,
        /// A text to show if it does not.
        message: Option<Expr>,
    },
}

/// `use "file.evo" as name` or `use lib.name`.
#[derive(Clone, Debug, PartialEq)]
pub struct Use {
    /// The path as written; a dotted path `a.b` means `a/b.evo`.
    pub path: String,
    /// Whether it was written as a name, without quotes.
    pub named: bool,
    /// Where the path stands.
    pub span: Span,
    /// The name after `as`.
    pub alias: Option<Name>,
}

/// `type Name<G> = type`.
#[derive(Clone, Debug, PartialEq)]
pub struct TypeItem {
    /// Whether `extern` stands before it: an opaque node type.
    pub is_extern: bool,
    /// Its name.
    pub name: Name,
    /// Type parameters.
    pub generics: Vec<Name>,
    /// What it stands for; of an extern type the readable fields, as a record.
    pub ty: Option<Ty>,
}

/// `extern? kind name<generics>(params): type in range -> result = value`.
#[derive(Clone, Debug, PartialEq)]
pub struct Decl {
    /// Whether `extern` stands before it.
    pub is_extern: bool,
    /// The kind: `let`, `fn`, `param`, `genome`, `kind`, or one of the library's.
    pub kind: Name,
    /// The declared name.
    pub name: Name,
    /// Type parameters.
    pub generics: Vec<Name>,
    /// Parameters; `None` if no parentheses were written.
    pub params: Option<Vec<Param>>,
    /// `: type`
    pub ty: Option<Ty>,
    /// `in range`
    pub domain: Option<Domain>,
    /// `-> type`
    pub result: Option<Ty>,
    /// `= expr` or a body.
    pub body: Option<Body>,
}

/// What a declaration binds.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// `= expr`
    Value(Expr),
    /// `{ field: … }`
    Fields(Vec<Field>, Span),
    /// `{ let x = … expr }`
    Steps(Expr),
}

/// A parameter of a declaration, or a field of a record type.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    /// Its documentation.
    pub docs: Docs,
    /// `..name: T`: any further named arguments.
    pub rest: bool,
    /// Its name.
    pub name: Name,
    /// Its type.
    pub ty: Ty,
    /// `in range log?`
    pub domain: Option<Domain>,
    /// `= expr`
    pub default: Option<Expr>,
}

/// `in range`, on a logarithmic scale if `log` follows.
#[derive(Clone, Debug, PartialEq)]
pub struct Domain {
    /// The range.
    pub range: Expr,
    /// Whether `log` follows.
    pub log: bool,
}

/// A type as written.
#[derive(Clone, Debug, PartialEq)]
pub struct Ty {
    /// Its place.
    pub span: Span,
    /// What it is.
    pub kind: TyKind,
}

/// The forms of types.
#[derive(Clone, Debug, PartialEq)]
pub enum TyKind {
    /// `Model`, `qd.Recipe`, `Search<G>`
    Name(Vec<Name>, Vec<Ty>),
    /// `[T]`
    List(Box<Ty>),
    /// `T[n]`, `one_of["a", "b"]`
    Index(Box<Ty>, Vec<Expr>),
    /// `{ a: T, b: T = default }`
    Record(Vec<Param>),
    /// `(A, B)`; `(A)` is `A` itself.
    Tuple(Vec<Ty>),
    /// `(A, B) -> C`; inputs may have names.
    Fn(Vec<(Option<Name>, Ty)>, Box<Ty>),
    /// `A | B`
    Union(Vec<Ty>),
}

/// `name: value` in braces.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Its documentation.
    pub docs: Docs,
    /// Its name.
    pub name: Name,
    /// Its value; of a genome, its type written as an expression.
    pub value: FieldValue,
    /// `in range log?`, of a genome's field.
    pub domain: Option<Domain>,
}

/// What stands after a field's colon.
#[derive(Clone, Debug, PartialEq)]
pub enum FieldValue {
    /// An expression.
    Expr(Expr),
    /// A function type with named inputs, which is no expression.
    Ty(Ty),
}

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// Its place.
    pub span: Span,
    /// What it is.
    pub kind: ExprKind,
}

/// The forms of expressions.
#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    /// A number with its unit, if it has one.
    Number(Number),
    /// A text, its escapes resolved; braces are as written.
    Text(String),
    /// `true` or `false`
    Bool(bool),
    /// A name.
    Name(String),
    /// `[a, b]`
    List(Vec<Expr>),
    /// `[body for pattern in source if condition]`
    Comprehension(Box<Comprehension>),
    /// `{ a: x, b: y }`
    Record(Vec<Field>),
    /// `{ let x = … result }`
    Block(Vec<Let>, Box<Expr>),
    /// `if a then b else c`
    If(Box<Expr>, Box<Expr>, Box<Expr>),
    /// `x => e`
    Closure(Vec<Name>, Box<Expr>),
    /// `-x`, `not x`
    Unary(UnaryOp, Box<Expr>),
    /// `a + b`
    Binary(BinaryOp, Span, Box<Expr>, Box<Expr>),
    /// `f(a, name: b)`
    Call(Box<Expr>, Vec<Arg>),
    /// `f { name: b }`
    BlockCall(Box<Expr>, Vec<Field>),
    /// `x[i]`; several indices only in types.
    Index(Box<Expr>, Vec<Expr>),
    /// `x.member`
    Dot(Box<Expr>, Name),
    /// `(e)`
    Group(Box<Expr>),
    /// `(a, b)`
    Tuple(Vec<Expr>),
    /// Stands where an error was reported.
    Error,
}

/// A number as written.
#[derive(Clone, Debug, PartialEq)]
pub struct Number {
    /// Its value without the unit.
    pub value: NumberValue,
    /// The unit that touches it: `%`, `min`, `usd`.
    pub unit: Option<Name>,
}

/// The value of a number literal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NumberValue {
    /// Without point and exponent.
    Int(i64),
    /// With either.
    Real(f64),
}

/// `for pattern in source if condition`.
#[derive(Clone, Debug, PartialEq)]
pub struct Comprehension {
    /// The element.
    pub body: Expr,
    /// One name, or several for a tuple.
    pub pattern: Vec<Name>,
    /// Whether the pattern is in parentheses.
    pub tuple: bool,
    /// The collection.
    pub source: Expr,
    /// The filter.
    pub condition: Option<Expr>,
}

/// `let name: type = value`.
#[derive(Clone, Debug, PartialEq)]
pub struct Let {
    /// The name.
    pub name: Name,
    /// The type, if written.
    pub ty: Option<Ty>,
    /// The value.
    pub value: Expr,
}

/// An argument of a call.
#[derive(Clone, Debug, PartialEq)]
pub struct Arg {
    /// Its name, if written.
    pub name: Option<Name>,
    /// Its value.
    pub value: Expr,
}

/// Operators before their operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnaryOp {
    /// `-`
    Neg,
    /// `not`
    Not,
}

/// Operators between two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinaryOp {
    /// `or`
    Or,
    /// `and`
    And,
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
    /// `..`
    Range,
    /// `..=`
    RangeIncl,
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `^`
    Pow,
}

impl BinaryOp {
    /// The operator of that spelling.
    pub fn of(text: &str) -> Option<Self> {
        use BinaryOp::*;
        Some(match text {
            "or" => Or,
            "and" => And,
            "==" => Eq,
            "!=" => Ne,
            "<" => Lt,
            "<=" => Le,
            ">" => Gt,
            ">=" => Ge,
            ".." => Range,
            "..=" => RangeIncl,
            "+" => Add,
            "-" => Sub,
            "*" => Mul,
            "/" => Div,
            "^" => Pow,
            _ => return None,
        })
    }

    /// Its spelling.
    pub fn text(self) -> &'static str {
        use BinaryOp::*;
        match self {
            Or => "or",
            And => "and",
            Eq => "==",
            Ne => "!=",
            Lt => "<",
            Le => "<=",
            Gt => ">",
            Ge => ">=",
            Range => "..",
            RangeIncl => "..=",
            Add => "+",
            Sub => "-",
            Mul => "*",
            Div => "/",
            Pow => "^",
        }
    }

    /// Whether it compares.
    pub fn is_comparison(self) -> bool {
        use BinaryOp::*;
        matches!(self, Eq | Ne | Lt | Le | Gt | Ge)
    }
}
