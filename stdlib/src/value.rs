//! Values as the runtime passes them between nodes.

use std::any::Any;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use evo_lang::ir::{Fault, NumericError};
use evo_lang::plan::{Code, Const, Fact, Key, NodeId};

use crate::cx::{Draw, Failure, Save};

/// A value of a node.
#[derive(Clone)]
pub enum Value {
    /// Plain data.
    Plain(Const),
    /// A list or array with parts that are not plain.
    List(Arc<[Value]>),
    /// A tuple with such parts.
    Tuple(Arc<[Value]>),
    /// A record with such parts, fields in order.
    Record(Arc<[(Arc<str>, Value)]>),
    /// A closure that is compiled code.
    Code(NumericFn),
    /// A closure over nodes: applied through [`crate::cx::Effects::map`].
    Function(Function),
    /// A model, data, a task, a search …
    Object(Arc<dyn Object>),
}

/// A compiled closure and what it captured.
#[derive(Clone)]
pub struct NumericFn {
    /// The code; its inputs are the captures, then the arguments.
    pub code: Arc<Code>,
    /// The captures, flat.
    pub captured: Arc<[u64]>,
    /// How many parameters it takes.
    pub arity: usize,
    /// Ends a call that loops for long, when it becomes true.
    pub stop: Arc<AtomicBool>,
}

impl NumericFn {
    /// Calls it with flat arguments.
    pub fn call(&self, args: &[u64]) -> Result<Const, Failure> {
        let mut slots = Vec::with_capacity(self.captured.len() + args.len());
        slots.extend_from_slice(&self.captured);
        slots.extend_from_slice(args);
        self.code.call_until(&slots, &self.stop).map_err(|e| numeric_failure(&e))
    }
}

/// The failure of numeric code that raises a fault, or was asked to stop.
pub fn numeric_failure(error: &NumericError) -> Failure {
    match error.fault {
        Fault::Stopped => Failure::cancelled(),
        _ => Failure {
            span: Some(Box::new(error.span)),
            ..Failure::new("R0503", error.to_string())
                .help("guard the expression, for instance with `where` or `clamp`")
        },
    }
}

/// A closure that only the engine can apply.
#[derive(Clone)]
pub struct Function {
    /// Its node.
    pub node: NodeId,
    /// Its identity.
    pub key: Key,
    /// The declared name, if it has one.
    pub name: Option<Arc<str>>,
}

/// A function value of either sort.
#[derive(Clone)]
pub enum Callable {
    /// Compiled code.
    Code(NumericFn),
    /// A closure over nodes.
    Function(Function),
}

/// A value with a Rust type of its own.
pub trait Object: Any + Send + Sync {
    /// The node type's name, such as `Model`.
    fn kind(&self) -> &'static str;

    /// Its readable field `name`, as the declaration lists them.
    fn field(&self, name: &str) -> Option<Value> {
        let _ = name;
        None
    }

    /// What `print` shows.
    fn show(&self) -> Const;

    /// Its identity by content and what is known of it, if it may be handed to a search's function.
    fn identity(&self) -> Option<(Key, Option<Fact>)> {
        None
    }

    /// How it is drawn, if it can be.
    fn draw(&self) -> Option<&dyn Draw> {
        None
    }

    /// How it is saved, if it can be.
    fn save(&self) -> Option<&dyn Save> {
        None
    }

    /// How it is kept in the store, if it is worth keeping.
    fn stored(&self) -> Stored<'_> {
        Stored::No
    }

    /// For downcasts.
    fn as_any(&self) -> &dyn Any;
}

/// Writes an object's files into an empty directory.
pub type WriteFiles<'a> = Box<dyn Fn(&Path) -> Result<(), Failure> + 'a>;

/// The forms in which an object may be kept.
pub enum Stored<'a> {
    /// Not kept: made anew when it is asked for.
    No,
    /// A few bytes.
    Bytes(Vec<u8>),
    /// Files, written into an empty directory that is given.
    Files(WriteFiles<'a>),
}

impl Value {
    /// An object.
    pub fn object(object: impl Object) -> Value {
        Value::Object(Arc::new(object))
    }

    /// A real.
    pub fn real(x: f64) -> Value {
        Value::Plain(Const::Real(x))
    }

    /// Text.
    pub fn text(text: impl Into<Arc<str>>) -> Value {
        Value::Plain(Const::Text(text.into()))
    }

    /// A list, plain if its items are.
    pub fn list(items: Vec<Value>) -> Value {
        match items.iter().map(Value::plain).collect::<Option<Vec<_>>>() {
            Some(plain) => Value::Plain(Const::List(plain.into())),
            None => Value::List(items.into()),
        }
    }

    /// A tuple, plain if its items are.
    pub fn tuple(items: Vec<Value>) -> Value {
        match items.iter().map(Value::plain).collect::<Option<Vec<_>>>() {
            Some(plain) => Value::Plain(Const::Tuple(plain.into())),
            None => Value::Tuple(items.into()),
        }
    }

    /// A record, plain if its fields are.
    pub fn record(fields: Vec<(Arc<str>, Value)>) -> Value {
        match fields.iter().map(|(n, v)| Some((n.clone(), v.plain()?))).collect::<Option<Vec<_>>>() {
            Some(plain) => Value::Plain(Const::Record(plain.into())),
            None => Value::Record(fields.into()),
        }
    }

    /// The plain data, if it is plain.
    pub fn plain(&self) -> Option<Const> {
        match self {
            Value::Plain(value) => Some(value.clone()),
            _ => None,
        }
    }

    /// Whether an optional argument was left out.
    pub fn is_nothing(&self) -> bool {
        matches!(self, Value::Plain(Const::Nothing))
    }

    /// The object, if it is a `T`.
    pub fn downcast<T: Object>(&self) -> Option<&T> {
        match self {
            Value::Object(object) => object.as_any().downcast_ref(),
            _ => None,
        }
    }

    /// A field of a record or an object.
    pub fn field(&self, name: &str) -> Option<Value> {
        match self {
            Value::Plain(value) => value.field(name).cloned().map(Value::Plain),
            Value::Record(fields) => fields.iter().find(|(n, _)| &**n == name).map(|(_, v)| v.clone()),
            Value::Object(object) => object.field(name),
            _ => None,
        }
    }

    /// The items of a list or tuple.
    pub fn items(&self) -> Option<Vec<Value>> {
        match self {
            Value::Plain(value) => Some(value.items()?.iter().cloned().map(Value::Plain).collect()),
            Value::List(items) | Value::Tuple(items) => Some(items.to_vec()),
            _ => None,
        }
    }

    /// What `print` shows: objects by their own account, closures as such.
    pub fn show(&self) -> Const {
        match self {
            Value::Plain(value) => value.clone(),
            Value::List(items) => Const::List(items.iter().map(Value::show).collect()),
            Value::Tuple(items) => Const::Tuple(items.iter().map(Value::show).collect()),
            Value::Record(fields) => Const::Record(fields.iter().map(|(n, v)| (n.clone(), v.show())).collect()),
            Value::Code(_) | Value::Function(_) => Const::Text("a function".into()),
            Value::Object(object) => object.show(),
        }
    }

    /// What it is, for messages.
    pub fn describe(&self) -> &'static str {
        match self {
            Value::Plain(Const::Nothing) => "nothing",
            Value::Plain(Const::Int(_)) => "int",
            Value::Plain(Const::Real(_)) => "real",
            Value::Plain(Const::Bool(_)) => "bool",
            Value::Plain(Const::Text(_)) => "text",
            Value::Plain(Const::Quantity(_)) => "a quantity",
            Value::Plain(Const::Case(..)) => "a word",
            Value::Plain(Const::Range(_)) => "a range",
            Value::Plain(Const::Space(_)) => "a genome",
            Value::Plain(Const::List(_)) | Value::List(_) => "a list",
            Value::Plain(Const::Tuple(_)) | Value::Tuple(_) => "a tuple",
            Value::Plain(Const::Record(_)) | Value::Record(_) => "a record",
            Value::Code(_) | Value::Function(_) => "a function",
            Value::Object(object) => object.kind(),
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Plain(value) => value.fmt(f),
            other => f.write_str(other.describe()),
        }
    }
}
