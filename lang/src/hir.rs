//! The typed tree: what the checker hands to the numeric compiler (`ir::build`) and to the elaborator (`plan`).
//!
//! Every name is resolved, every argument stands in the order of its declaration, every implicit conversion is
//! written out, every expression carries its type. Spans are kept for messages only: nothing that enters a node's
//! identity reads them.

use std::sync::Arc;

use crate::library::Extern;
use crate::span::{FileId, Span};
use crate::types::Ty;

/// Index of a module in [`Program::modules`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModuleId(pub u32);

/// A binding inside one body (a function, a closure, a `let` step): unique within the enclosing global.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalId(pub u32);

/// A declaration of a module, as seen from the *current* instance of that module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GlobalRef {
    /// The module that declares it: the current one, or the library's module of `.evo` functions.
    pub module: ModuleId,
    /// Index in [`Module::globals`].
    pub index: usize,
}

/// A checked program: the entry module and all that it uses, the library's own `.evo` functions among them.
#[derive(Clone, Debug)]
pub struct Program {
    /// All modules; a module stands after those it uses.
    pub modules: Vec<Module>,
    /// The module that the user named.
    pub entry: ModuleId,
}

/// A file of declarations and requests: a function of its params.
#[derive(Clone, Debug)]
pub struct Module {
    /// The file's stem, such as `quickstart`.
    pub name: Arc<str>,
    /// Where its text is.
    pub file: FileId,
    /// The path it was loaded by, for relative input paths; the entry's as the user gave it.
    pub path: Arc<str>,
    /// The `//!` text.
    pub doc: Arc<str>,
    /// Declarations in source order. Failed ones stay, with type `Error`.
    pub globals: Vec<Global>,
    /// Requests in source order.
    pub requests: Vec<Request>,
}

/// A declaration.
#[derive(Clone, Debug)]
pub struct Global {
    /// Its name.
    pub name: Arc<str>,
    /// The kind word: `model`, `fitness`, `let`, `fn`, `param`, `genome`, …
    pub word: Arc<str>,
    /// Where the name stands.
    pub name_span: Span,
    /// The whole declaration.
    pub span: Span,
    /// The `///` text.
    pub doc: Arc<str>,
    /// The type: of the value, or of the function.
    pub ty: Ty,
    /// What it is.
    pub kind: GlobalKind,
}

/// The sorts of declaration.
#[derive(Clone, Debug)]
pub enum GlobalKind {
    /// `param name: T = default`; without a default it must be set.
    Param {
        /// The default value.
        default: Option<Expr>,
        /// `in lo..hi`.
        domain: Option<Domain>,
    },
    /// Any kind with a value and no parameters.
    Value(Expr),
    /// Any kind with parameters.
    Function(Arc<Function>),
    /// `genome G { … }`.
    Genome(Arc<Genome>),
    /// `use "file.evo" as name`.
    Use(ModuleId),
    /// `type T = …`: nothing at run time.
    Type,
    /// `extern fn` of a program, bound by the host.
    Extern(Arc<Extern>),
    /// A declaration with a reported error.
    Error,
}

/// A function with its body.
#[derive(Clone, Debug)]
pub struct Function {
    /// Parameters in order.
    pub params: Vec<Param>,
    /// The body.
    pub body: Expr,
    /// Whether parameters, result and body are numeric code throughout, so that calls may be compiled.
    pub numeric: bool,
}

/// A parameter of a function or closure.
#[derive(Clone, Debug)]
pub struct Param {
    /// The binding it makes.
    pub local: LocalId,
    /// Its name.
    pub name: Arc<str>,
    /// Its type.
    pub ty: Ty,
    /// The value when a call leaves it out; sees the module's globals and the parameters before it.
    pub default: Option<Expr>,
}

/// A genome declaration: the search space that its fields span.
#[derive(Clone, Debug)]
pub struct Genome {
    /// Fields in order.
    pub fields: Vec<GenomeField>,
}

/// A gene or an array of genes.
#[derive(Clone, Debug)]
pub struct GenomeField {
    /// Its name.
    pub name: Arc<str>,
    /// `int`, `real`, `bool`, an enumeration, or (nested) arrays of one of these.
    pub ty: Ty,
    /// The range of `int` and `real` genes.
    pub domain: Option<Domain>,
    /// `permutation[n]`: the field's type is `int[n]` and its values are an order of `0..n`.
    pub permutation: bool,
    /// Where it stands.
    pub span: Span,
}

/// `in lo..hi log?`
#[derive(Clone, Debug)]
pub struct Domain {
    /// A range expression, known before anything runs.
    pub range: Expr,
    /// Searched on a logarithmic scale.
    pub log: bool,
    /// Where it stands.
    pub span: Span,
}

/// A demand.
#[derive(Clone, Debug)]
pub struct Request {
    /// What is asked for.
    pub kind: RequestKind,
    /// The whole request.
    pub span: Span,
    /// Its source text on one line, for titles.
    pub text: Arc<str>,
}

/// The sorts of request.
#[derive(Clone, Debug)]
pub enum RequestKind {
    /// `save value to path`.
    Save {
        /// What is saved.
        value: Expr,
        /// The path, a `text`.
        path: Expr,
    },
    /// `print value`.
    Print(Expr),
    /// `plot value over range to path`.
    Plot {
        /// What is drawn.
        value: Expr,
        /// The range of the horizontal axis, for functions.
        over: Option<Expr>,
        /// The file; without one, the terminal.
        path: Option<Expr>,
    },
    /// `expect condition, message`.
    Expect {
        /// A `bool`.
        condition: Expr,
        /// A `text`.
        message: Option<Expr>,
    },
}

/// A typed expression.
#[derive(Clone, Debug)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Its type.
    pub ty: Ty,
    /// Where it stands.
    pub span: Span,
}

impl Expr {
    /// Visits the expressions directly inside this one, in the order in which they stand.
    pub fn children<'e>(&'e self, visit: &mut dyn FnMut(&'e Expr)) {
        match &self.kind {
            ExprKind::Instance(instance) => instance.parts().for_each(visit),
            ExprKind::Member { instance: a, .. }
            | ExprKind::Field { base: a, .. }
            | ExprKind::Unary(_, a)
            | ExprKind::Convert(_, a) => visit(a),
            ExprKind::CallExtern { args, rest, .. } => {
                args.iter().flatten().chain(rest.iter().map(|(_, a)| a)).for_each(visit);
            }
            ExprKind::CallFunction { instance, args, .. } => {
                instance.iter().map(|i| &**i).chain(args.iter().flatten()).for_each(visit);
            }
            ExprKind::CallValue { function, args } => std::iter::once(&**function).chain(args).for_each(visit),
            ExprKind::Index { base: a, index: b }
            | ExprKind::Binary(_, a, b)
            | ExprKind::Range { lo: a, hi: b, .. }
            | ExprKind::Let { value: a, body: b, .. } => [a, b].into_iter().for_each(|e| visit(e)),
            ExprKind::Array(items) | ExprKind::Tuple(items) => items.iter().for_each(visit),
            ExprKind::Record(fields) => fields.iter().map(|(_, v)| v).for_each(visit),
            ExprKind::Comprehension(c) => {
                std::iter::once(&c.source).chain(&c.condition).chain(std::iter::once(&c.element)).for_each(visit);
            }
            ExprKind::If { condition, then, otherwise } => {
                [condition, then, otherwise].into_iter().for_each(|e| visit(e));
            }
            ExprKind::Lambda(l) => visit(&l.body),
            _ => {}
        }
    }
}

/// The sorts of expression.
#[derive(Clone, Debug)]
pub enum ExprKind {
    /// A whole number.
    Int(i64),
    /// A real number; `5%` is `0.05`.
    Real(f64),
    /// `true`, `false`.
    Bool(bool),
    /// Text with its escapes resolved.
    Text(Arc<str>),
    /// Seconds, bytes or dollars, as the type says.
    Quantity(f64),
    /// A case of the enumeration that is the expression's type.
    Case(u32),
    /// The program's seed: the default of library parameters that are declared `seed: int = seed`.
    Seed,
    /// A parameter or a `let` step.
    Local(LocalId),
    /// A declaration of the current module instance (or of the library's module). A function's name as a value too.
    Global(GlobalRef),
    /// An extern function as a value, such as `mean` in `f(mean)`.
    ExternRef(Arc<Extern>),
    /// `qd` or `qd { base: m }`: a program with some params set; those left out take their defaults.
    Instance(Box<Instance>),
    /// `instance.name`.
    Member {
        /// An expression of type `Ty::Instance`.
        instance: Box<Expr>,
        /// Index of the declaration among the module's globals.
        global: usize,
    },
    /// A call of a library function.
    CallExtern {
        /// The declaration.
        ext: Arc<Extern>,
        /// One for each parameter, in the order of the declaration, defaults filled in. `None` where an optional
        /// parameter (declared without default but as optional) is left out.
        args: Vec<Option<Expr>>,
        /// The named arguments of a `..rest` parameter, in the order of the call.
        rest: Vec<(Arc<str>, Expr)>,
        /// What the declaration's type parameters stand for here.
        type_args: Vec<(Arc<str>, Ty)>,
    },
    /// A call of a function declared in a module.
    CallFunction {
        /// The instance it belongs to; `None`: the current instance (or the library's).
        instance: Option<Box<Expr>>,
        /// The function.
        function: GlobalRef,
        /// One for each parameter; `None` takes the default.
        args: Vec<Option<Expr>>,
    },
    /// A call of a function value (a parameter or a field of function type).
    CallValue {
        /// The function.
        function: Box<Expr>,
        /// Its arguments.
        args: Vec<Expr>,
    },
    /// A field of a record, genome or tuple (`index` is its place), or of a node (`index` is `None`).
    Field {
        /// The value.
        base: Box<Expr>,
        /// The field's name.
        name: Arc<str>,
        /// Its place in the layout.
        index: Option<u32>,
    },
    /// `base[index]`.
    Index {
        /// An array or list.
        base: Box<Expr>,
        /// An `int`.
        index: Box<Expr>,
    },
    /// `[a, b]`: an array or a list, as the type says.
    Array(Vec<Expr>),
    /// `(a, b)`.
    Tuple(Vec<Expr>),
    /// `{ a: 1, b: 2 }`: one entry for each field of the type, in its order.
    Record(Vec<(Arc<str>, Expr)>),
    /// `[element for pattern in source if condition]`.
    Comprehension(Box<Comprehension>),
    /// `if c then a else b`.
    If {
        /// A `bool`.
        condition: Box<Expr>,
        /// Where it holds.
        then: Box<Expr>,
        /// Where it does not.
        otherwise: Box<Expr>,
    },
    /// `{ let x = value  body }`.
    Let {
        /// The binding.
        local: LocalId,
        /// Its name.
        name: Arc<str>,
        /// Its value.
        value: Box<Expr>,
        /// Where it may be used.
        body: Box<Expr>,
    },
    /// `x => e`.
    Lambda(Arc<Lambda>),
    /// `lo..hi`, `lo..=hi`.
    Range {
        /// First.
        lo: Box<Expr>,
        /// Last, or one past it.
        hi: Box<Expr>,
        /// Whether `hi` belongs to it.
        inclusive: bool,
    },
    /// `-x`, `not x`.
    Unary(UnaryOp, Box<Expr>),
    /// `a + b` and its kin. Operands have one type, but that arrays broadcast with scalars in arithmetic.
    Binary(BinaryOp, Box<Expr>, Box<Expr>),
    /// An implicit conversion, written out; the target is the expression's type.
    Convert(Conversion, Box<Expr>),
    /// A reported error.
    Error,
}

/// A used program with some params set.
#[derive(Clone, Debug)]
pub struct Instance {
    /// In `lab.qd { base: m }`, the program whose `use` names this one.
    pub outer: Option<Expr>,
    /// The used module.
    pub module: ModuleId,
    /// Index of the param among the module's globals, and its value.
    pub args: Vec<(usize, Expr)>,
    /// The seed, which every program has; left out, it is that of `outer`, or of the program at hand.
    pub seed: Option<Expr>,
}

impl Instance {
    /// A module with no param set.
    pub fn of(module: ModuleId) -> Instance {
        Instance { outer: None, module, args: Vec::new(), seed: None }
    }

    /// The expressions inside.
    pub fn parts(&self) -> impl Iterator<Item = &Expr> {
        self.outer.iter().chain(self.args.iter().map(|(_, a)| a)).chain(&self.seed)
    }

    /// The expressions inside, to be changed.
    pub fn parts_mut(&mut self) -> impl Iterator<Item = &mut Expr> {
        self.outer.iter_mut().chain(self.args.iter_mut().map(|(_, a)| a)).chain(&mut self.seed)
    }
}

/// A comprehension.
#[derive(Clone, Debug)]
pub struct Comprehension {
    /// One binding for each name of the pattern; more than one takes a tuple apart.
    pub pattern: Vec<(LocalId, Arc<str>, Ty)>,
    /// A range of `int`, an array or a list.
    pub source: Expr,
    /// Keeps an element where it holds.
    pub condition: Option<Expr>,
    /// The element.
    pub element: Expr,
}

/// A closure.
#[derive(Clone, Debug)]
pub struct Lambda {
    /// Parameters in order.
    pub params: Vec<Param>,
    /// The body.
    pub body: Expr,
    /// Locals of enclosing bodies that it reads, in order of first use.
    pub captures: Vec<LocalId>,
    /// Whether parameters, result and body are numeric code (captures of node results enter as numbers).
    pub numeric: bool,
}

/// Prefix operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnaryOp {
    /// `-`.
    Neg,
    /// `not`.
    Not,
}

/// Infix operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    /// `+`.
    Add,
    /// `-`.
    Sub,
    /// `*`.
    Mul,
    /// `/`: always on reals.
    Div,
    /// `^`: reals; an `int` base with a literal whole exponent stays an `int`.
    Pow,
    /// `==`.
    Eq,
    /// `!=`.
    Ne,
    /// `<`.
    Lt,
    /// `<=`.
    Le,
    /// `>`.
    Gt,
    /// `>=`.
    Ge,
    /// `and`, not evaluating the right side where the left decides.
    And,
    /// `or`, likewise.
    Or,
}

/// Implicit conversions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Conversion {
    /// `int` to `real`, or a range of `int` to a range of `real`.
    IntToReal,
    /// `T[n]` to `[T]`.
    ArrayToList,
    /// Every element of an array, list or tuple converted (the element conversion is found from the two types).
    Elements,
    /// A member to its union.
    ToUnion,
    /// A genome to the record of its fields.
    GenomeToRecord,
}
