//! Binds `.evo` declarations to typed Rust functions.
//!
//! The declaration is the single truth. An implementation takes a struct of arguments made by [`args!`], whose fields
//! are compared with the declaration's parameters when the library is built; drift is an error that names both sides.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use evo_lang::library::Extern;
use evo_lang::plan::{Answer, Call, Const, Fact, Problem, RangeConst, Space};
use evo_lang::types::Ty;
use indexmap::IndexMap;

use crate::cx::{Cx, Failure};
use crate::value::{Callable, Stored, Value};

/// An implementation of a library function.
pub type Run = Box<dyn Fn(&Cx<'_>, Vec<Value>) -> Result<Value, Failure> + Send + Sync>;
/// What is known of a call before anything runs.
pub type Facts = fn(&Place, &Call<'_>, &mut Vec<Problem>) -> Answer;
/// What is known of a field of a fact's value.
pub type FieldFacts = fn(&Fact, &str) -> Option<Answer>;
/// Reads a kept object back; it takes the name of the node that it is the value of.
pub type Load = fn(Kept<'_>, &str) -> Result<Value, Failure>;

/// Where a program's files are.
#[derive(Clone, Debug)]
pub struct Place {
    /// The program file's directory.
    pub base: PathBuf,
    /// Folders to look in after it: the project's search paths.
    pub paths: Vec<PathBuf>,
    /// Whether contents are read whole for their identity (to run), or only what a check needs.
    pub whole: bool,
}

impl Place {
    /// Where an input path is: beside the program, else in the search paths, else in the working directory.
    pub fn input(&self, path: &str) -> PathBuf {
        let beside = self.base.join(path);
        if beside.exists() || Path::new(path).is_absolute() {
            return beside;
        }
        let found = self.paths.iter().map(|folder| folder.join(path)).find(|path| path.exists());
        found.unwrap_or_else(|| PathBuf::from(path))
    }
}

/// A kept object's form.
pub enum Kept<'a> {
    /// Bytes.
    Bytes(&'a [u8]),
    /// A directory.
    Files(&'a Path),
}

/// How a builtin is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Computes on a worker thread.
    Work,
    /// Directs other work through [`crate::cx::Effects::map`] and waits for it.
    Direct,
}

/// A bound library function.
pub struct Builtin {
    /// The implementation.
    pub run: Run,
    /// How it is run.
    pub manner: Manner,
    /// Whether its result is kept in the store across runs.
    pub keep: bool,
    signature: Vec<Field>,
}

/// A family of the library: its declarations and what implements them.
pub struct Module {
    /// The family's name.
    pub name: &'static str,
    /// Its declarations.
    pub source: &'static str,
    /// Implementations by function name and overload.
    pub builtins: IndexMap<(&'static str, u32), Builtin>,
    /// Facts by function name.
    pub facts: IndexMap<&'static str, Facts>,
    /// Facts of fields.
    pub field_facts: Vec<FieldFacts>,
    /// How kept objects are read back, by kind.
    pub loaders: IndexMap<&'static str, Load>,
}

impl Module {
    /// A family with nothing bound yet.
    pub fn new(name: &'static str, source: &'static str) -> Module {
        Module {
            name,
            source,
            builtins: IndexMap::new(),
            facts: IndexMap::new(),
            field_facts: Vec::new(),
            loaders: IndexMap::new(),
        }
    }

    /// Binds a function that computes.
    pub fn bind<A: Args + 'static, R: IntoValue + 'static>(
        self,
        name: &'static str,
        f: fn(&Cx<'_>, A) -> Result<R, Failure>,
    ) -> Module {
        self.bind_overload(name, 0, f)
    }

    /// Binds one overload of a function, counted from 0 in the order of declaration.
    pub fn bind_overload<A: Args + 'static, R: IntoValue + 'static>(
        mut self,
        name: &'static str,
        overload: u32,
        f: fn(&Cx<'_>, A) -> Result<R, Failure>,
    ) -> Module {
        let run: Run = Box::new(move |cx, values| Ok(f(cx, A::take(values)?)?.into_value()));
        let builtin = Builtin { run, manner: Manner::Work, keep: false, signature: A::signature() };
        self.builtins.insert((name, overload), builtin);
        self
    }

    /// Marks the function bound last: its results are kept in the store.
    pub fn kept(mut self) -> Module {
        if let Some((_, builtin)) = self.builtins.last_mut() {
            builtin.keep = true;
        }
        self
    }

    /// Marks the function bound last: it directs other work.
    pub fn directs(mut self) -> Module {
        if let Some((_, builtin)) = self.builtins.last_mut() {
            builtin.manner = Manner::Direct;
        }
        self
    }

    /// Binds what is known of a function's calls before anything runs.
    pub fn facts(mut self, name: &'static str, facts: Facts) -> Module {
        self.facts.insert(name, facts);
        self
    }

    /// Binds what is known of the fields of this family's facts.
    pub fn field_facts(mut self, facts: FieldFacts) -> Module {
        self.field_facts.push(facts);
        self
    }

    /// Binds how kept objects of a kind are read back.
    pub fn loads(mut self, kind: &'static str, load: Load) -> Module {
        self.loaders.insert(kind, load);
        self
    }

    /// Compares the bindings with the declarations; one sentence for each difference.
    pub fn drift(&self, declared: &[Arc<Extern>]) -> Vec<String> {
        let mut drift = Vec::new();
        for ext in declared.iter().filter(|ext| &*ext.family == self.name) {
            match self.builtins.get(&(&*ext.name, ext.overload)) {
                Some(builtin) => drift.extend(builtin.differences(ext)),
                None if evo_lang::ir::is_intrinsic(&ext.name) || self.facts.contains_key(&*ext.name) => {}
                None => drift.push(format!("`{}` is declared in {} but not bound", ext.name, self.name)),
            }
        }
        for (name, overload) in self.builtins.keys() {
            let is_declared =
                |ext: &&Arc<Extern>| &*ext.family == self.name && &*ext.name == *name && ext.overload == *overload;
            if !declared.iter().any(|ext| is_declared(&ext)) {
                drift.push(format!("`{name}` is bound in {} but not declared", self.name));
            }
        }
        drift
    }
}

impl Builtin {
    fn differences(&self, ext: &Extern) -> Option<String> {
        let declared: Vec<String> = ext.params.iter().map(|p| format!("{}: {}", p.name, p.ty)).collect();
        let rust: Vec<String> = self.signature.iter().map(|(name, _, ty)| format!("{name}: {ty}")).collect();
        let agree = ext.params.len() <= self.signature.len()
            && ext
                .params
                .iter()
                .zip(&self.signature)
                .all(|(p, (name, fits, _))| &*p.name == *name && (p.rest || fits(&p.ty)));
        let extra = self.signature.iter().skip(ext.params.len()).all(|(_, _, ty)| ty == "Space");
        if agree && extra {
            return None;
        }
        Some(format!("`{}`: declared ({}), Rust has ({})", ext.name, declared.join(", "), rust.join(", ")))
    }
}

/// A field of a struct of arguments: its name, the test of its declared type, its Rust type.
pub type Field = (&'static str, fn(&Ty) -> bool, String);

/// A struct of arguments; implemented by [`args!`].
pub trait Args: Sized {
    /// Name, type test and Rust type of each field.
    fn signature() -> Vec<Field>;
    /// Reads the values in the order of the declaration.
    fn take(values: Vec<Value>) -> Result<Self, Failure>;
}

/// A Rust type that an argument may have.
pub trait FromValue: Sized {
    /// Whether a parameter of this declared type is read as this Rust type.
    fn fits(ty: &Ty) -> bool;
    /// The type's name, for messages.
    fn rust() -> String;
    /// Reads the value.
    fn from_value(value: Value) -> Option<Self>;
}

/// A Rust type that a result may have.
pub trait IntoValue {
    /// As a value.
    fn into_value(self) -> Value;
}

/// Declares a struct of arguments, its fields in the order of the `.evo` declaration.
#[macro_export]
macro_rules! args {
    ($(#[$doc:meta])* $vis:vis struct $name:ident { $($(#[$fdoc:meta])* $field:ident : $ty:ty),* $(,)? }) => {
        $(#[$doc])*
        $vis struct $name { $($(#[$fdoc])* pub(crate) $field: $ty),* }
        impl $crate::bind::Args for $name {
            fn signature() -> Vec<$crate::bind::Field> {
                vec![$((stringify!($field), <$ty as $crate::bind::FromValue>::fits as fn(&evo_lang::types::Ty) -> bool,
                        <$ty as $crate::bind::FromValue>::rust())),*]
            }
            fn take(values: Vec<$crate::value::Value>) -> Result<Self, $crate::cx::Failure> {
                let mut values = values.into_iter();
                Ok($name { $($field: $crate::bind::argument(stringify!($field), values.next())?),* })
            }
        }
    };
}

/// A library object as an argument and a result: the Rust type behind the node type of that name.
macro_rules! node {
    ($rust:ty, $name:literal) => {
        impl $crate::bind::FromValue for $rust {
            fn fits(ty: &evo_lang::types::Ty) -> bool {
                ty.is_node($name)
            }
            fn rust() -> String {
                $name.to_owned()
            }
            fn from_value(value: $crate::value::Value) -> Option<Self> {
                value.downcast::<$rust>().cloned()
            }
        }
        impl $crate::bind::IntoValue for $rust {
            fn into_value(self) -> $crate::value::Value {
                $crate::value::Value::object(self)
            }
        }
    };
}
pub(crate) use node;

/// Reads one argument.
pub fn argument<T: FromValue>(name: &'static str, value: Option<Value>) -> Result<T, Failure> {
    let value = value.unwrap_or(Value::Plain(Const::Nothing));
    let found = value.describe();
    T::from_value(value).ok_or_else(|| {
        Failure::new("R0504", format!("`{name}` is {found} where {} is wanted", T::rust()))
            .param(name)
            .help("this is a fault of evo: please report it with the program")
    })
}

macro_rules! plain {
    ($rust:ty, $ty:pat, $name:literal, $from:pat => $value:expr, $self:ident => $into:expr) => {
        impl FromValue for $rust {
            fn fits(ty: &Ty) -> bool {
                matches!(ty, $ty)
            }
            fn rust() -> String {
                $name.to_owned()
            }
            fn from_value(value: Value) -> Option<Self> {
                match value {
                    Value::Plain($from) => Some($value),
                    _ => None,
                }
            }
        }
        impl IntoValue for $rust {
            fn into_value($self) -> Value {
                Value::Plain($into)
            }
        }
    };
}

plain!(i64, Ty::Int, "int", Const::Int(i) => i, self => Const::Int(self));
plain!(bool, Ty::Bool, "bool", Const::Bool(b) => b, self => Const::Bool(self));
plain!(Arc<str>, Ty::Text | Ty::Enum(_), "text", Const::Text(t) | Const::Case(_, t) => t, self => Const::Text(self));
plain!(RangeConst, Ty::Range(_), "range", Const::Range(r) => r, self => Const::Range(self));
plain!(Arc<Space>, _, "Space", Const::Space(s) => s, self => Const::Space(self));

impl FromValue for f64 {
    fn fits(ty: &Ty) -> bool {
        matches!(ty, Ty::Real | Ty::Duration | Ty::Bytes | Ty::Money)
    }
    fn rust() -> String {
        "real".to_owned()
    }
    fn from_value(value: Value) -> Option<Self> {
        value.plain()?.as_real()
    }
}

impl IntoValue for f64 {
    fn into_value(self) -> Value {
        Value::real(self)
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn fits(ty: &Ty) -> bool {
        T::fits(ty)
    }
    fn rust() -> String {
        T::rust()
    }
    fn from_value(value: Value) -> Option<Self> {
        if value.is_nothing() { Some(None) } else { T::from_value(value).map(Some) }
    }
}

impl<T: FromValue> FromValue for Vec<T> {
    fn fits(ty: &Ty) -> bool {
        matches!(ty, Ty::List(item) | Ty::Array(item, _) if T::fits(item))
    }
    fn rust() -> String {
        format!("[{}]", T::rust())
    }
    fn from_value(value: Value) -> Option<Self> {
        value.items()?.into_iter().map(T::from_value).collect()
    }
}

impl<T: IntoValue> IntoValue for Vec<T> {
    fn into_value(self) -> Value {
        Value::list(self.into_iter().map(T::into_value).collect())
    }
}

impl FromValue for Value {
    fn fits(_: &Ty) -> bool {
        true
    }
    fn rust() -> String {
        "any value".to_owned()
    }
    fn from_value(value: Value) -> Option<Self> {
        Some(value)
    }
}

impl IntoValue for Value {
    fn into_value(self) -> Value {
        self
    }
}

impl FromValue for Callable {
    fn fits(ty: &Ty) -> bool {
        matches!(ty, Ty::Fn(_))
    }
    fn rust() -> String {
        "function".to_owned()
    }
    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Function(function) => Some(Callable::Function(function)),
            Value::Code(code) => Some(Callable::Code(code)),
            _ => None,
        }
    }
}

/// What the store keeps of a value: plain data as bytes, objects in their own form.
pub fn stored(value: &Value) -> Stored<'_> {
    match value {
        Value::Plain(plain) => match crate::plain::encode(plain) {
            Some(bytes) => Stored::Bytes(bytes),
            None => Stored::No,
        },
        Value::Object(object) => object.stored(),
        _ => Stored::No,
    }
}
