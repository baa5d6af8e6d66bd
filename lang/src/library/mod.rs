//! The standard library as the checker sees it: declarations as data, with no idea of what implements them.
//!
//! Declarations are `.evo` text, parsed by the same grammar as user programs; [`Library::parse`] reads all families at
//! once, so that their order does not matter. What may be declared:
//!
//! ```text
//! /// Documentation; `>>> e  // ~ result` lines are examples, `@…` lines are marks (below).
//! kind merge -> Model                       // `merge x = e`: e must be a Model; `merge x(…) = e` is a function
//! kind evolve<G> -> Search<G>               // `evolve x { … }` calls the constructor named `evolve`
//! /// @as Loss
//! kind loss -> real | real[2]               // a function of this kind is accepted where a `Loss` is expected
//! extern type Search<G> = { best: G, score: real }   // a node type with its readable fields
//! type Part = one_of[attention, mlp]        // enumerations, unions, records with defaults, function types
//! extern merge slerp(a: Model, b: Model, t: Weight in 0..1 = 0.5) -> Model
//! extern fn sin(x: real) -> real
//! fn twice(x: real) -> real = 2 * x         // a function written in the language itself
//! ```
//!
//! * A default `seed: int = seed` means the program's seed. A default `= none` makes a parameter or a field optional:
//!   what is left out stays left out. Other defaults are expressions over the library.
//! * `..rows: T` takes any further named arguments. A result type `{ ..sizes: Data }` is a record with one field for
//!   each of them, as `split` has it.
//! * `in lo..hi` is a range that literal arguments are checked against; among integers `..` is half-open. `inf` is a bound.
//! * `real[]` is an array of any length; `range<int>` and `range<real>` (or `range`) are ranges; `Program` is any used
//!   program, `none` is no value.
//! * A name may be declared again with another type of the first parameter (overloads). A type parameter `<G>` stands
//!   for any type, programs among them, and is found from the arguments.
//! * Marks, as documentation lines: `@tiny steps 4` caps the parameter or field `steps` under `--tiny`;
//!   `@input file` says that the text `file` is a path to read, relative to the program's own file;
//!   `@drawn` on a node type says that `plot` draws its values, `@drawn over` that it draws them over a range too, and
//!   `@saved` that `save` writes them;
//!   `@aside text` says that the argument `text` changes nothing that is computed, and so enters no identity;
//!   `@as T` on a kind lets its functions be values of the node type `T`: a function of kind `k` becomes
//!   `as_k(name, inputs, formula, settings, source, …)`, if there is such a function, with the closure of its inputs;
//!   `@rows a b c` on a kind makes its functions row code: they are computed over the rows of a batch, whose columns
//!   they take by these names, and may use `batch_mean` and its kin; other parameters have defaults;
//!   `@elementwise` lets a function of reals map over arrays too; `@static` marks a function that is known before
//!   anything runs, such as `layers(m)`, and that array lengths may therefore use.

mod load;

use std::sync::Arc;

use indexmap::IndexMap;

use crate::diag::Diagnostic;
use crate::hir::{Expr, GlobalKind, Module};
use crate::span::{SourceMap, Span};
use crate::types::{FieldTy, Ty};

/// All declarations of the standard library.
#[derive(Clone, Debug)]
pub struct Library {
    pub(crate) sources: SourceMap,
    pub(crate) externs: IndexMap<Arc<str>, Vec<Arc<Extern>>>,
    pub(crate) kinds: IndexMap<Arc<str>, Kind>,
    pub(crate) types: IndexMap<Arc<str>, TypeDecl>,
    /// The functions written in the language itself: module 0 of every program.
    pub(crate) module: Module,
}

impl Library {
    /// Reads the families' declarations: pairs of a family's name and its text. A library with errors still has all
    /// that is right.
    pub fn parse(families: &[(&str, &str)]) -> (Library, Vec<Diagnostic>) {
        load::parse(families)
    }

    /// All externs, families and declarations in the order given, overloads of one name side by side.
    pub fn externs(&self) -> impl Iterator<Item = &Arc<Extern>> {
        self.externs.values().flatten()
    }

    /// The externs of one name, in declaration order.
    pub fn overloads(&self, name: &str) -> &[Arc<Extern>] {
        self.externs.get(name).map_or(&[], Vec::as_slice)
    }

    /// All kinds.
    pub fn kinds(&self) -> impl Iterator<Item = &Kind> {
        self.kinds.values()
    }

    /// All types.
    pub fn types(&self) -> impl Iterator<Item = &TypeDecl> {
        self.types.values()
    }

    /// The functions and values written in the language itself.
    pub fn module(&self) -> &Module {
        &self.module
    }

    /// The texts of the declarations; [`crate::check`] starts from these.
    pub fn sources(&self) -> &SourceMap {
        &self.sources
    }

    /// The function of that name that is written in the language itself, as its place in [`Library::module`].
    pub(crate) fn function(&self, name: &str) -> Option<usize> {
        self.module.globals.iter().position(|g| &*g.name == name && !matches!(g.kind, GlobalKind::Error))
    }

    /// The readable fields of a node type, its type parameters replaced by `args`.
    pub fn node_fields(&self, name: &str, args: &[Ty]) -> Vec<FieldTy> {
        let Some(decl) = self.types.get(name) else { return Vec::new() };
        let TypeDef::Node(fields) = &decl.def else { return Vec::new() };
        let with = |f: &FieldTy| FieldTy { ty: f.ty.substitute(&decl.generics, args), ..f.clone() };
        fields.iter().map(with).collect()
    }
}

/// `kind name<generics> -> result`.
#[derive(Clone, Debug)]
pub struct Kind {
    /// The word.
    pub name: Arc<str>,
    /// Type parameters.
    pub generics: Vec<Arc<str>>,
    /// The type of a declared value, and of the result of a declared function.
    pub result: Option<Ty>,
    /// The node type that a function of this kind is accepted as.
    pub value: Option<Ty>,
    /// The columns that functions of this kind may take by name, if they are computed over rows.
    pub rows: Vec<Arc<str>>,
    /// The family that declares it.
    pub family: Arc<str>,
    /// Documentation.
    pub doc: Arc<str>,
}

/// `type name = …` or `extern type name<generics> = { … }`.
#[derive(Clone, Debug)]
pub struct TypeDecl {
    /// The name.
    pub name: Arc<str>,
    /// Type parameters.
    pub generics: Vec<Arc<str>>,
    /// What it stands for.
    pub def: TypeDef,
    /// The family that declares it.
    pub family: Arc<str>,
    /// Whether `plot` draws its values, for a node type.
    pub drawn: Drawn,
    /// Whether `save` writes its values, for a node type.
    pub saved: bool,
    /// Documentation.
    pub doc: Arc<str>,
    /// Where its name stands.
    pub span: Span,
}

/// Whether `plot` draws the values of a type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Drawn {
    /// It does not.
    #[default]
    No,
    /// As they are.
    Alone,
    /// With or without a range, and several side by side.
    Over,
}

/// What a type name stands for.
#[derive(Clone, Debug)]
pub enum TypeDef {
    /// Another type.
    Alias(Ty),
    /// A node type with these readable fields.
    Node(Vec<FieldTy>),
}

/// A declaration `extern KIND name<generics>(params) -> result`.
#[derive(Clone, Debug)]
pub struct Extern {
    /// Its name, as called.
    pub name: Arc<str>,
    /// The kind word it is declared with: `fn`, `merge`, `train`, …
    pub word: Arc<str>,
    /// The library family (the module of declarations) it belongs to; empty for a user program's own `extern fn`.
    pub family: Arc<str>,
    /// Which overload of the name it is, counted from 0 in declaration order.
    pub overload: u32,
    /// Type parameters.
    pub generics: Vec<Arc<str>>,
    /// Parameters in order.
    pub params: Vec<ExternParam>,
    /// Result type.
    pub result: Ty,
    /// Documentation, without the `>>>` examples.
    pub doc: Arc<str>,
    /// The `>>>` examples, without the prompt.
    pub examples: Vec<Arc<str>>,
    /// Whether it is an elementwise numeric function of reals that also maps over arrays.
    pub elementwise: bool,
    /// Whether its value is known before anything runs, so that array lengths may use it.
    pub is_static: bool,
    /// Where its name stands.
    pub span: Span,
}

impl Extern {
    /// Its type as a value, without defaults and rest parameters.
    pub fn fn_ty(&self) -> Ty {
        let params = self.params.iter().filter(|p| !p.rest).map(|p| (Some(p.name.clone()), p.ty.clone())).collect();
        Ty::Fn(Arc::new(crate::types::FnTy { params, result: self.result.clone() }))
    }
}

/// A parameter of an extern.
#[derive(Clone, Debug)]
pub struct ExternParam {
    /// Its name.
    pub name: Arc<str>,
    /// Its type; for a rest parameter, of each argument.
    pub ty: Ty,
    /// The default, in the library's own scope.
    pub default: Option<Expr>,
    /// `in lo..hi`: a range that constants are checked against.
    pub domain: Option<(f64, f64)>,
    /// `..rows: T`: any further named arguments.
    pub rest: bool,
    /// May be left out although it has no default; the implementation then sees nothing.
    pub optional: bool,
    /// The cap that `--tiny` puts on it.
    pub tiny: Option<f64>,
    /// The path of an input: relative to the file of the program that reads it.
    pub input: bool,
    /// Changes nothing that is computed: it is no part of a call's identity.
    pub aside: bool,
    /// Documentation.
    pub doc: Arc<str>,
}
