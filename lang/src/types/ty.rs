//! The types of the language, as data.
//!
//! A [`Ty`] is cheap to clone. *Numeric* types (see [`Ty::is_numeric`]) have a fixed flat layout once their lengths
//! are known and may enter compiled code; every other type is a value that only the runtime touches.

use std::fmt;
use std::sync::Arc;

use crate::hir::{Expr, ModuleId};

/// A type of the language.
#[derive(Clone, Debug)]
pub enum Ty {
    /// Stands in after a reported error; agrees with everything, so that one cause gives one error.
    Error,
    /// 64-bit signed whole number.
    Int,
    /// 64-bit float.
    Real,
    /// Truth value.
    Bool,
    /// Unicode text.
    Text,
    /// A length of time; `90s`, `15min`, `4h`. Held in seconds.
    Duration,
    /// An amount of memory; `64MiB`, `8GB`. Held in bytes.
    Bytes,
    /// An amount of money in US dollars; `5usd`.
    Money,
    /// `T[n]`: an array whose length is known before anything runs.
    Array(Arc<Ty>, Len),
    /// `[T]`: a list.
    List(Arc<Ty>),
    /// `a..b` over `int` or `real`.
    Range(Arc<Ty>),
    /// `(A, B)`.
    Tuple(Arc<[Ty]>),
    /// `{ a: A, b: B }`.
    Record(Arc<RecordTy>),
    /// `one_of["a", "b"]`.
    Enum(Arc<EnumTy>),
    /// A declared genome; also usable as a record of its fields.
    Genome(Arc<GenomeTy>),
    /// `(A, B) -> C`.
    Fn(Arc<FnTy>),
    /// `A | B`.
    Union(Arc<[Ty]>),
    /// A value that the runtime computes: `Model`, `Data`, `Search<Recipe>`.
    Node(Arc<NodeTy>),
    /// An instance of a used program: `qd` or `qd { base: m }`.
    Instance(ModuleId),
    /// Any program instance.
    Program,
    /// A type parameter of a library declaration.
    Var(Arc<str>),
}

/// The length of an array: a number, or an expression known before anything runs, such as `layers(base)`.
#[derive(Clone, Debug)]
pub enum Len {
    /// A literal length.
    Const(u64),
    /// Evaluated by the elaborator where the type is used; `text` is its canonical spelling, for messages and for
    /// comparing two lengths that are the same expression.
    Static {
        /// The typed expression, an `int`.
        expr: Arc<Expr>,
        /// Its canonical spelling.
        text: Arc<str>,
    },
    /// Not fixed by the declaration (`real[]` in a library signature): any length.
    Any,
}

/// A record type. Field order is the layout order.
#[derive(Clone, Debug)]
pub struct RecordTy {
    /// The name it was declared by, for messages.
    pub name: Option<Arc<str>>,
    /// Its fields.
    pub fields: Vec<FieldTy>,
}

/// A field of a record type.
#[derive(Clone, Debug)]
pub struct FieldTy {
    /// The field's name.
    pub name: Arc<str>,
    /// The field's type.
    pub ty: Ty,
    /// The value taken where a literal leaves the field out.
    pub default: Option<Arc<Expr>>,
    /// May be left out although it has no default; the implementation then sees nothing.
    pub optional: bool,
    /// The cap that `--tiny` puts on it (library types only).
    pub tiny: Option<f64>,
    /// Documentation.
    pub doc: Arc<str>,
}

/// An enumeration: one of a fixed list of words. Held as the index of its case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnumTy {
    /// The name it was declared by.
    pub name: Option<Arc<str>>,
    /// The cases, in order.
    pub cases: Vec<Arc<str>>,
}

/// A genome's type; its ranges live in the declaration (`hir::Genome`).
#[derive(Clone, Debug)]
pub struct GenomeTy {
    /// The genome's name.
    pub name: Arc<str>,
    /// The module that declares it.
    pub module: ModuleId,
    /// Index of the declaration among the module's globals.
    pub global: usize,
    /// Its fields as a record.
    pub fields: Vec<FieldTy>,
}

/// A function type.
#[derive(Clone, Debug)]
pub struct FnTy {
    /// Inputs, with names where the type gives them.
    pub params: Vec<(Option<Arc<str>>, Ty)>,
    /// Result.
    pub result: Ty,
}

/// A node type with its type arguments.
#[derive(Clone, Debug)]
pub struct NodeTy {
    /// `Model`, `Search`, …
    pub name: Arc<str>,
    /// `Recipe` in `Search<Recipe>`.
    pub args: Vec<Ty>,
}

impl Ty {
    /// A node type without arguments.
    pub fn node(name: &str) -> Ty {
        Ty::Node(Arc::new(NodeTy { name: name.into(), args: Vec::new() }))
    }

    /// Whether values of this type may enter compiled code: `int`, `real`, `bool`, enumerations, and arrays, tuples,
    /// records and genomes of these.
    pub fn is_numeric(&self) -> bool {
        match self {
            Ty::Int | Ty::Real | Ty::Bool | Ty::Enum(_) => true,
            Ty::Array(item, _) => item.is_numeric(),
            Ty::Tuple(items) => items.iter().all(Ty::is_numeric),
            Ty::Record(record) => record.fields.iter().all(|f| f.ty.is_numeric()),
            Ty::Genome(genome) => genome.fields.iter().all(|f| f.ty.is_numeric()),
            _ => false,
        }
    }

    /// This type with each of the type parameters `names` replaced by the type at its place in `args`.
    pub fn substitute(&self, names: &[Arc<str>], args: &[Ty]) -> Ty {
        if names.is_empty() {
            return self.clone();
        }
        self.map_vars(&|name| names.iter().position(|n| n == name).and_then(|i| args.get(i)).cloned())
    }

    /// This type with every type parameter for which `replace` gives a type replaced by it.
    pub(crate) fn map_vars(&self, replace: &impl Fn(&Arc<str>) -> Option<Ty>) -> Ty {
        let field = |f: &FieldTy| FieldTy { ty: f.ty.map_vars(replace), ..f.clone() };
        let all = |items: &[Ty]| items.iter().map(|t| t.map_vars(replace)).collect::<Vec<_>>();
        match self {
            Ty::Var(name) => replace(name).unwrap_or_else(|| self.clone()),
            _ if !self.has_vars() => self.clone(),
            Ty::Array(item, len) => Ty::Array(Arc::new(item.map_vars(replace)), len.clone()),
            Ty::List(item) => Ty::List(Arc::new(item.map_vars(replace))),
            Ty::Range(item) => Ty::Range(Arc::new(item.map_vars(replace))),
            Ty::Tuple(items) => Ty::Tuple(all(items).into()),
            Ty::Union(items) => Ty::Union(all(items).into()),
            Ty::Record(r) => {
                Ty::Record(Arc::new(RecordTy { name: r.name.clone(), fields: r.fields.iter().map(field).collect() }))
            }
            Ty::Fn(f) => {
                let params = f.params.iter().map(|(n, t)| (n.clone(), t.map_vars(replace))).collect();
                Ty::Fn(Arc::new(FnTy { params, result: f.result.map_vars(replace) }))
            }
            Ty::Node(n) => Ty::Node(Arc::new(NodeTy { name: n.name.clone(), args: all(&n.args) })),
            _ => self.clone(),
        }
    }

    /// Whether a type parameter occurs in it.
    pub(crate) fn has_vars(&self) -> bool {
        self.has(&|ty| matches!(ty, Ty::Var(_)))
    }

    /// Whether values of this type hold programs or take them.
    pub(crate) fn has_program(&self) -> bool {
        self.has(&|ty| matches!(ty, Ty::Instance(_) | Ty::Program))
    }

    /// Whether it, or a type in it, is of a sort.
    fn has(&self, is: &impl Fn(&Ty) -> bool) -> bool {
        is(self)
            || match self {
                Ty::Array(item, _) | Ty::List(item) | Ty::Range(item) => item.has(is),
                Ty::Tuple(items) | Ty::Union(items) => items.iter().any(|t| t.has(is)),
                Ty::Record(r) => r.fields.iter().any(|f| f.ty.has(is)),
                Ty::Fn(f) => f.result.has(is) || f.params.iter().any(|(_, t)| t.has(is)),
                Ty::Node(n) => n.args.iter().any(|t| t.has(is)),
                _ => false,
            }
    }

    /// Whether it is made of more than `limit` types.
    pub(crate) fn is_larger_than(&self, limit: usize) -> bool {
        let mut seen = 0;
        let mut stack = vec![self];
        while let Some(ty) = stack.pop() {
            seen += 1;
            if seen > limit {
                return true;
            }
            stack.extend(ty.parts());
        }
        false
    }

    /// The types directly inside it, but for a genome's.
    fn parts(&self) -> Vec<&Ty> {
        match self {
            Ty::Array(item, _) | Ty::List(item) | Ty::Range(item) => vec![item],
            Ty::Tuple(items) | Ty::Union(items) => items.iter().collect(),
            Ty::Record(r) => r.fields.iter().map(|f| &f.ty).collect(),
            Ty::Fn(f) => f.params.iter().map(|(_, t)| t).chain([&f.result]).collect(),
            Ty::Node(n) => n.args.iter().collect(),
            _ => Vec::new(),
        }
    }

    /// Whether this is the node type `name`.
    pub fn is_node(&self, name: &str) -> bool {
        matches!(self, Ty::Node(node) if &*node.name == name)
    }

    /// The fields of a record or genome type.
    pub fn fields(&self) -> Option<&[FieldTy]> {
        match self {
            Ty::Record(record) => Some(&record.fields),
            Ty::Genome(genome) => Some(&genome.fields),
            _ => None,
        }
    }
}

impl PartialEq for Len {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Len::Const(a), Len::Const(b)) => a == b,
            (Len::Static { text: a, .. }, Len::Static { text: b, .. }) => a == b,
            (Len::Any, Len::Any) => true,
            _ => false,
        }
    }
}

impl fmt::Display for Len {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Len::Const(n) => write!(f, "{n}"),
            Len::Static { text, .. } => f.write_str(text),
            Len::Any => Ok(()),
        }
    }
}

impl fmt::Display for Ty {
    /// As the type is spelled in a program.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ty::Error => f.write_str("?"),
            Ty::Int => f.write_str("int"),
            Ty::Real => f.write_str("real"),
            Ty::Bool => f.write_str("bool"),
            Ty::Text => f.write_str("text"),
            Ty::Duration => f.write_str("duration"),
            Ty::Bytes => f.write_str("bytes"),
            Ty::Money => f.write_str("money"),
            Ty::Array(item, len) => write_array(f, item, len),
            Ty::List(item) => write!(f, "[{item}]"),
            Ty::Range(item) => write!(f, "range of {item}"),
            Ty::Tuple(items) => write_list(f, "(", items, ", ", ")"),
            Ty::Record(record) => match &record.name {
                Some(name) => f.write_str(name),
                None => write_fields(f, &record.fields),
            },
            Ty::Enum(e) => match &e.name {
                Some(name) => f.write_str(name),
                None => {
                    f.write_str("one_of[")?;
                    for (i, case) in e.cases.iter().enumerate() {
                        write!(f, "{}\"{case}\"", if i == 0 { "" } else { ", " })?;
                    }
                    f.write_str("]")
                }
            },
            Ty::Genome(genome) => f.write_str(&genome.name),
            Ty::Fn(function) => {
                f.write_str("(")?;
                for (i, (_, ty)) in function.params.iter().enumerate() {
                    write!(f, "{}{ty}", if i == 0 { "" } else { ", " })?;
                }
                write!(f, ") -> {}", function.result)
            }
            Ty::Union(items) => write_list(f, "", items, " | ", ""),
            Ty::Node(node) if node.args.is_empty() => f.write_str(&node.name),
            Ty::Node(node) => {
                f.write_str(&node.name)?;
                write_list(f, "<", &node.args, ", ", ">")
            }
            Ty::Instance(_) | Ty::Program => f.write_str("Program"),
            Ty::Var(name) => f.write_str(name),
        }
    }
}

/// `T[a][b]` is `a` arrays of `b`, so the dimensions are written from the outside in.
fn write_array(f: &mut fmt::Formatter<'_>, item: &Ty, len: &Len) -> fmt::Result {
    let mut lens = vec![len];
    let mut inner = item;
    while let Ty::Array(next, len) = inner {
        lens.push(len);
        inner = next;
    }
    write!(f, "{inner}")?;
    lens.iter().try_for_each(|len| write!(f, "[{len}]"))
}

fn write_list(f: &mut fmt::Formatter<'_>, open: &str, items: &[Ty], sep: &str, close: &str) -> fmt::Result {
    f.write_str(open)?;
    for (i, item) in items.iter().enumerate() {
        write!(f, "{}{item}", if i == 0 { "" } else { sep })?;
    }
    f.write_str(close)
}

fn write_fields(f: &mut fmt::Formatter<'_>, fields: &[FieldTy]) -> fmt::Result {
    f.write_str("{ ")?;
    for (i, field) in fields.iter().enumerate() {
        write!(f, "{}{}: {}", if i == 0 { "" } else { ", " }, field.name, field.ty)?;
    }
    f.write_str(" }")
}
