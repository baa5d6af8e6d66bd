//! The intermediate representation of numeric code.
//!
//! Numeric code is pure, so its IR is functional: a [`Function`] is a [`Block`] of steps, each of which names one
//! value; blocks nest where control does (`if`, array building, folding). Every value is defined once, before its
//! uses, and has a [`Type`] of fixed size. There is no recursion: a function calls only functions that stand before
//! it in its [`Module`], and every loop has a static length, so that every program ends.
//!
//! Values are laid out flat, in 8-byte slots in declared order: `int` as its 64 bits, `real` as the bits of the
//! double, `bool` as 0 or 1, `text` as [`text_id`], arrays and structs as their parts one after another.
//!
//! In reading order: [`build`] makes IR from typed programs with a [`builder`]; [`verify`] checks every form;
//! [`simplify`] folds, and what it leaves has the code's identity; [`optimize`] makes that fast, [`ranges`] tells what in
//! it can fault; [`print`] writes the canonical text; [`interp`] is the oracle that compiled code is held to;
//! [`scalar`] has the scalar functions that both engines call. [`rows`] is code over a batch of rows: losses and
//! elementwise formulas. [`straight`] unrolls and inlines until no control is left, [`differentiate`] makes slopes of that.

use std::fmt;
use std::sync::Arc;

use crate::span::Span;

pub mod build;
pub mod builder;
pub mod cost;
pub mod differentiate;
mod fold;
pub mod interp;
pub mod optimize;
pub mod print;
pub mod ranges;
pub mod rows;
pub mod scalar;
pub mod simplify;
pub mod straight;
pub mod verify;
mod walk;

/// The most slots that one value may have: 128 MiB.
pub const MAX_SLOTS: u64 = 1 << 24;

/// A type of fixed size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// 64-bit signed whole number; an enumeration too, as the index of its case.
    Int,
    /// 64-bit float.
    Real,
    /// Truth value.
    Bool,
    /// Text that can only be compared for equality, held as its [`text_id`].
    Text,
    /// So many elements of one type.
    Array(Arc<Type>, u64),
    /// A record, tuple or genome: its fields in declared order.
    Struct(Arc<[Type]>),
}

impl Type {
    /// An array type.
    pub fn array(item: Type, len: u64) -> Type {
        Type::Array(Arc::new(item), len)
    }

    /// A struct type.
    pub fn structure(fields: impl Into<Arc<[Type]>>) -> Type {
        Type::Struct(fields.into())
    }

    /// How many slots a value takes (saturating; `verify` refuses more than [`MAX_SLOTS`]).
    pub fn slots(&self) -> u64 {
        match self {
            Type::Int | Type::Real | Type::Bool | Type::Text => 1,
            Type::Array(item, len) => item.slots().saturating_mul(*len),
            Type::Struct(fields) => fields.iter().fold(0, |sum, f| f.slots().saturating_add(sum)),
        }
    }

    /// Whether this is `int`, `real`, `bool` or `text`.
    pub fn is_scalar(&self) -> bool {
        !matches!(self, Type::Array(..) | Type::Struct(_))
    }
}

/// The slot that stands for a text: the first eight bytes of its BLAKE3 hash. Equal texts have equal identifiers on
/// every machine, and nothing needs to be interned.
pub fn text_id(text: &str) -> u64 {
    let hash = blake3::hash(text.as_bytes());
    let mut bytes = [0; 8];
    bytes.copy_from_slice(hash.as_bytes().split_at(8).0);
    u64::from_le_bytes(bytes)
}

/// A value of a function: an index into [`Function::values`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value(pub u32);

/// A function of a module: an index into [`Module::functions`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FuncId(pub u32);

/// Functions, each after those it calls.
#[derive(Clone, Debug, Default)]
pub struct Module {
    /// The functions.
    pub functions: Vec<Function>,
}

impl Module {
    /// A function by its index.
    pub fn function(&self, id: FuncId) -> Option<&Function> {
        self.functions.get(id.0 as usize)
    }

    /// The last function: the one that the others were made for.
    pub fn entry(&self) -> Option<FuncId> {
        u32::try_from(self.functions.len()).ok()?.checked_sub(1).map(FuncId)
    }
}

/// A pure function.
#[derive(Clone, Debug)]
pub struct Function {
    /// For dumps only; no part of the function's identity.
    pub name: Arc<str>,
    /// The type of every value, by index.
    pub values: Vec<Type>,
    /// The body; its params are the function's.
    pub body: Block,
}

impl Function {
    /// The type of a value.
    pub fn ty(&self, value: Value) -> Option<&Type> {
        self.values.get(value.0 as usize)
    }

    /// The types of the parameters.
    pub fn params(&self) -> impl Iterator<Item = &Type> {
        self.body.params.iter().filter_map(|p| self.ty(*p))
    }

    /// The type of the result.
    pub fn result(&self) -> Option<&Type> {
        self.ty(self.body.result)
    }

    /// Slots of all parameters together.
    pub fn input_slots(&self) -> u64 {
        self.params().fold(0, |sum, ty| sum.saturating_add(ty.slots()))
    }

    /// Slots of the result.
    pub fn output_slots(&self) -> u64 {
        self.result().map_or(0, Type::slots)
    }
}

/// Steps in order, and the value they are for.
#[derive(Clone, Debug)]
pub struct Block {
    /// Values bound where the block is entered.
    pub params: Vec<Value>,
    /// The steps.
    pub steps: Vec<Step>,
    /// What the block yields.
    pub result: Value,
}

/// One step: the definition of a value.
#[derive(Clone, Debug)]
pub struct Step {
    /// The value defined.
    pub value: Value,
    /// How.
    pub op: Op,
    /// Where it was written, for error messages only.
    pub span: Span,
}

/// The operations.
#[derive(Clone, Debug)]
pub enum Op {
    /// A whole number.
    Int(i64),
    /// A real.
    Real(f64),
    /// A truth value.
    Bool(bool),
    /// A text.
    Text(Arc<str>),
    /// A function of one scalar.
    Unary(Unary, Value),
    /// A function of two scalars.
    Binary(Binary, Value, Value),
    /// One of two scalars; both are computed.
    Select {
        /// A bool.
        condition: Value,
        /// Where it holds.
        then: Value,
        /// Where it does not.
        otherwise: Value,
    },
    /// One of two blocks; only that one is computed.
    If {
        /// A bool.
        condition: Value,
        /// Where it holds; no params.
        then: Block,
        /// Where it does not; no params.
        otherwise: Block,
    },
    /// A struct of its fields.
    Struct(Vec<Value>),
    /// A field of a struct.
    Field(Value, u32),
    /// An array of its elements; not empty.
    Array(Vec<Value>),
    /// An element of an array; [`Fault::Index`] outside of it.
    Index(Value, Value),
    /// `[body(i) for i in 0..len]`.
    Build {
        /// How many elements.
        len: u64,
        /// One param, the index; yields an element.
        body: Block,
    },
    /// `body(len - 1, … body(1, body(0, init)))`.
    Fold {
        /// How many times.
        len: u64,
        /// The first accumulator.
        init: Value,
        /// Two params, index and accumulator; yields the next accumulator.
        body: Block,
    },
    /// A call of an earlier function of the module.
    Call(FuncId, Vec<Value>),
    /// An operation over all rows of a batch; in [`rows`] alone, and refused everywhere else.
    Batch(Batch),
}

/// Operations that see all rows of a batch. Operands are reals that differ from row to row (but for
/// [`Batch::Detach`], which takes any real).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Batch {
    /// The sum over all rows, one number for the batch. The order of additions depends on the number of rows alone,
    /// never on threads. 0 for no rows.
    Sum(Value),
    /// The number of rows, as a real: one number for the batch.
    Count,
    /// Row `i` gets the `value` of the row whose `key` is the `i`-th in ascending order. Stable: rows of equal keys
    /// keep their order (-0 equals +0); NaN keys come last, in order. `Sort { key: x, value: x }` sorts `x`.
    Sort {
        /// What decides the order.
        key: Value,
        /// What is put in that order.
        value: Value,
    },
    /// The inverse of [`Batch::Sort`] by the same key, and its adjoint: row `i` gets the `value` that stands at the
    /// place which row `i` takes when rows are sorted by `key`.
    Unsort {
        /// What decides the order.
        key: Value,
        /// What stands in that order.
        value: Value,
    },
    /// The value itself, but a constant to differentiation.
    Detach(Value),
}

impl Batch {
    /// The name in dumps.
    pub fn name(self) -> &'static str {
        match self {
            Batch::Sum(_) => "batch_sum",
            Batch::Count => "batch_count",
            Batch::Sort { .. } => "batch_sort",
            Batch::Unsort { .. } => "batch_unsort",
            Batch::Detach(_) => "detach",
        }
    }

    /// The operands.
    pub fn operands(&self) -> impl Iterator<Item = Value> + use<> {
        let (a, b) = match *self {
            Batch::Count => (None, None),
            Batch::Sum(x) | Batch::Detach(x) => (Some(x), None),
            Batch::Sort { key, value } | Batch::Unsort { key, value } => (Some(key), Some(value)),
        };
        a.into_iter().chain(b)
    }

    /// The operands, to be changed.
    pub fn operands_mut(&mut self) -> impl Iterator<Item = &mut Value> {
        let (a, b) = match self {
            Batch::Count => (None, None),
            Batch::Sum(x) | Batch::Detach(x) => (Some(x), None),
            Batch::Sort { key, value } | Batch::Unsort { key, value } => (Some(key), Some(value)),
        };
        a.into_iter().chain(b)
    }
}

/// Functions of one scalar. Operand and result have one type unless noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[rustfmt::skip]
pub enum Unary {
    /// `-x` (int, real). On int, [`Fault::Overflow`] for the least.
    Neg,
    /// `not x` (bool).
    Not,
    /// Absolute value (int, real). On int, [`Fault::Overflow`] for the least.
    Abs,
    /// -1, 0 or 1 (int, real); NaN for NaN.
    Sign,
    /// int → real, to the nearest.
    ToReal,
    /// real → int, towards zero; [`Fault::NotWhole`] for NaN and what does not fit.
    ToInt,
    /// Down to a whole number (real).
    Floor,
    /// Up to a whole number (real).
    Ceil,
    /// To the nearest whole number, halves away from zero (real).
    Round,
    /// Square root (real).
    Sqrt,
    /// e to the x (real).
    Exp,
    /// Natural logarithm (real).
    Log,
    /// Sine of radians (real).
    Sin,
    /// Cosine of radians (real).
    Cos,
    /// Hyperbolic tangent (real).
    Tanh,
    /// 1 / (1 + e^-x) (real).
    Sigmoid,
    /// log(sigmoid(x)) (real).
    LogSigmoid,
    /// log(1 + e^x) (real).
    Softplus,
    /// max(x, 0) (real); NaN for NaN.
    Relu,
    /// The error function (real).
    Erf,
}

impl Unary {
    /// All of them.
    pub const ALL: [Unary; 20] = [
        Unary::Neg,
        Unary::Not,
        Unary::Abs,
        Unary::Sign,
        Unary::ToReal,
        Unary::ToInt,
        Unary::Floor,
        Unary::Ceil,
        Unary::Round,
        Unary::Sqrt,
        Unary::Exp,
        Unary::Log,
        Unary::Sin,
        Unary::Cos,
        Unary::Tanh,
        Unary::Sigmoid,
        Unary::LogSigmoid,
        Unary::Softplus,
        Unary::Relu,
        Unary::Erf,
    ];

    /// The name in dumps.
    pub fn name(self) -> &'static str {
        match self {
            Unary::Neg => "neg",
            Unary::Not => "not",
            Unary::Abs => "abs",
            Unary::Sign => "sign",
            Unary::ToReal => "to_real",
            Unary::ToInt => "to_int",
            Unary::Floor => "floor",
            Unary::Ceil => "ceil",
            Unary::Round => "round",
            Unary::Sqrt => "sqrt",
            Unary::Exp => "exp",
            Unary::Log => "log",
            Unary::Sin => "sin",
            Unary::Cos => "cos",
            Unary::Tanh => "tanh",
            Unary::Sigmoid => "sigmoid",
            Unary::LogSigmoid => "log_sigmoid",
            Unary::Softplus => "softplus",
            Unary::Relu => "relu",
            Unary::Erf => "erf",
        }
    }
}

/// Functions of two scalars of one type; comparisons yield a bool, all others that type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[rustfmt::skip]
pub enum Binary {
    /// `a + b` (int, real). On int, [`Fault::Overflow`].
    Add,
    /// `a - b` (int, real). On int, [`Fault::Overflow`].
    Sub,
    /// `a * b` (int, real). On int, [`Fault::Overflow`].
    Mul,
    /// `a / b` (real).
    Div,
    /// `a ^ b` (real).
    Pow,
    /// `div(a, b)` towards zero (int); [`Fault::DivisionByZero`], [`Fault::Overflow`].
    IntDiv,
    /// `rem(a, b)` with the sign of `a` (int); [`Fault::DivisionByZero`], [`Fault::Overflow`].
    Rem,
    /// The lesser (int, real); NaN if either is NaN, and -0 < +0.
    Min,
    /// The greater (int, real); NaN if either is NaN, and -0 < +0.
    Max,
    /// `a == b` (any scalar).
    Eq,
    /// `a != b` (any scalar).
    Ne,
    /// `a < b` (int, real).
    Lt,
    /// `a <= b` (int, real).
    Le,
    /// `a > b` (int, real).
    Gt,
    /// `a >= b` (int, real).
    Ge,
}

impl Binary {
    /// All of them.
    pub const ALL: [Binary; 15] = [
        Binary::Add,
        Binary::Sub,
        Binary::Mul,
        Binary::Div,
        Binary::Pow,
        Binary::IntDiv,
        Binary::Rem,
        Binary::Min,
        Binary::Max,
        Binary::Eq,
        Binary::Ne,
        Binary::Lt,
        Binary::Le,
        Binary::Gt,
        Binary::Ge,
    ];

    /// The name in dumps.
    pub fn name(self) -> &'static str {
        match self {
            Binary::Add => "add",
            Binary::Sub => "sub",
            Binary::Mul => "mul",
            Binary::Div => "div",
            Binary::Pow => "pow",
            Binary::IntDiv => "int_div",
            Binary::Rem => "rem",
            Binary::Min => "min",
            Binary::Max => "max",
            Binary::Eq => "eq",
            Binary::Ne => "ne",
            Binary::Lt => "lt",
            Binary::Le => "le",
            Binary::Gt => "gt",
            Binary::Ge => "ge",
        }
    }

    /// Whether it yields a bool.
    pub fn is_comparison(self) -> bool {
        matches!(self, Binary::Eq | Binary::Ne | Binary::Lt | Binary::Le | Binary::Gt | Binary::Ge)
    }
}

/// What can go wrong while numeric code runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `index` in an array of `len` elements.
    Index {
        /// The index.
        index: i64,
        /// The array's length.
        len: u64,
    },
    /// `div` or `rem` by 0.
    DivisionByZero,
    /// A whole number that 64 bits do not hold.
    Overflow,
    /// A real that is no whole number of 64 bits (NaN, infinite or too large) where one is wanted.
    NotWhole,
    /// Someone asked for code that runs for long to stop.
    Stopped,
    /// The caller's slots do not fit the function: a mistake of the host, not of the program.
    Slots {
        /// Slots that the function takes or yields.
        expected: u64,
        /// Slots that the caller gave.
        given: u64,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Index { index, len } => write!(f, "index {index} is outside an array of {len}"),
            Fault::DivisionByZero => f.write_str("whole-number division by zero"),
            Fault::Overflow => f.write_str("the result does not fit an `int` (64 bits)"),
            Fault::NotWhole => f.write_str("this real number does not fit an `int` (64 bits)"),
            Fault::Stopped => f.write_str("stopped"),
            Fault::Slots { expected, given } => write!(f, "the function wants {expected} slots, not {given}"),
        }
    }
}

/// A [`Fault`] and the place of the step that raised it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NumericError {
    /// What happened.
    pub fault: Fault,
    /// Where.
    pub span: Span,
}

impl fmt::Display for NumericError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fault.fmt(f)
    }
}

impl std::error::Error for NumericError {}

/// Whether a library function of this name is numeric code that the compiler knows, such as `sin` or `clamp`.
pub fn is_intrinsic(name: &str) -> bool {
    build::is_intrinsic(name)
}

/// Whether it is one that sees all rows of a batch, such as `batch_mean`, and so belongs in row code alone.
pub fn is_over_rows(name: &str) -> bool {
    build::is_over_rows(name)
}

/// Whether a library function of this name makes a derivative of a function: `slope` and `gradient`.
pub fn is_derivative(name: &str) -> bool {
    build::is_derivative(name)
}
