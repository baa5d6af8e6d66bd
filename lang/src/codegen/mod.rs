//! Machine code for numeric code: verified IR in, callable functions out, by way of Cranelift.
//!
//! The convention of a compiled function is `f(arguments, out, scratch, detail) -> code`. `arguments` has the parameters'
//! slots one after another, as the caller of [`Compiled`] gives them; for a function that others of its module call, it
//! has one word a parameter: a scalar's slot, or the address of an aggregate's slots. The result's slots go to `out`. Arrays that
//! live inside the function are laid out in `scratch`, whose size is known when the function is compiled, so that
//! nothing is allocated while code runs and no array can overflow a thread's stack. `code` is 0, or the number of the
//! place that raised a fault; an index that was out of range goes to `detail`.
//!
//! [`emit`] translates one function ([`scalars`], [`memory`], [`control`]), [`unit`] a module; [`raw`] is the one place
//! that calls into made code. Faults that [`ranges`](crate::ir::ranges) rules out are not checked for.

use std::fmt;

use crate::ir::verify::{IrError, verify};
use crate::ir::{FuncId, Module, NumericError, interp};

mod control;
mod emit;
mod memory;
mod pairs;
mod raw;
pub mod rows;
mod scalars;
mod unit;

pub use raw::Compiled;

/// The most scratch slots that a function and its callees may need together: 256 MiB.
pub const MAX_SCRATCH: u64 = 1 << 25;

/// Why a module was not compiled.
#[derive(Debug)]
pub enum CompileError {
    /// The IR is malformed, or a value in it too large.
    Ir(IrError),
    /// A function's intermediate arrays need more than [`MAX_SCRATCH`] slots.
    TooLarge {
        /// The function's name.
        function: String,
        /// The slots it needs.
        slots: u64,
    },
    /// The machine or the operating system refused; Cranelift's own words.
    Backend(String),
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CompileError::Ir(error) => error.fmt(f),
            CompileError::TooLarge { function, slots } => {
                write!(f, "`{function}` needs {slots} numbers in between; the limit is {MAX_SCRATCH}")
            }
            CompileError::Backend(message) => write!(f, "numeric code cannot be compiled here: {message}"),
        }
    }
}

impl std::error::Error for CompileError {}

impl From<IrError> for CompileError {
    fn from(error: IrError) -> Self {
        CompileError::Ir(error)
    }
}

/// Compiles all functions of a module for this machine.
///
/// ```
/// use evo_lang::{codegen, ir::{Binary, Module, Type, builder::Builder}};
/// let mut b = Builder::new("twice", &[Type::Real]);
/// let x = b.params()[0];
/// let sum = b.binary(Binary::Add, x, x)?;
/// let module = Module { functions: vec![b.finish(sum)?] };
/// let compiled = codegen::compile(&module)?;
/// let mut out = [0];
/// compiled.call(module.entry().unwrap(), &[21.0f64.to_bits()], &mut out)?;
/// assert_eq!(f64::from_bits(out[0]), 42.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// See [`CompileError`].
pub fn compile(module: &Module) -> Result<Compiled, CompileError> {
    verify(module)?;
    unit::Unit::new(module)?.finish(module, None)
}

/// The Cranelift IR of a module, as text.
///
/// # Errors
/// Those of [`compile`].
pub fn clif(module: &Module) -> Result<String, CompileError> {
    verify(module)?;
    let mut text = String::new();
    unit::Unit::new(module)?.finish(module, Some(&mut text))?;
    Ok(text)
}

/// Two engines that do not agree.
#[derive(Clone, Debug, PartialEq)]
pub struct Disagreement {
    /// What the interpreter said.
    pub interpreted: Result<Vec<u64>, NumericError>,
    /// What compiled code said.
    pub compiled: Result<Vec<u64>, NumericError>,
}

/// Runs a function through the interpreter and through compiled code; both must give the same slots or raise the same
/// error at the same place. Two NaNs are one, whatever their bits.
///
/// # Errors
/// The outer error is the engines' disagreement (or a module that does not compile, as `Err(Err(_))`); the inner
/// result is what both said.
pub fn evaluate_both(
    module: &Module,
    id: FuncId,
    inputs: &[u64],
) -> Result<Result<Vec<u64>, NumericError>, Result<Box<Disagreement>, CompileError>> {
    let code = compile(module).map_err(Err)?;
    let interpreted = interp::run(module, id, inputs);
    let mut out = vec![0; module.function(id).map_or(0, |f| f.output_slots() as usize)];
    let compiled = code.call(id, inputs, &mut out).map(|()| out);
    let result = module.function(id).and_then(|f| f.result());
    let same = match (&interpreted, &compiled) {
        (Ok(a), Ok(b)) => result.is_some_and(|ty| same_slots(ty, a, b)),
        (a, b) => a == b,
    };
    if same { Ok(compiled) } else { Err(Ok(Box::new(Disagreement { interpreted, compiled }))) }
}

/// Whether two results of a type are the same: bit for bit, but that one NaN is as good as another.
pub fn same_slots(ty: &crate::ir::Type, a: &[u64], b: &[u64]) -> bool {
    let mut real = Vec::new();
    mark_reals(ty, &mut real);
    let equal = |((a, b), real): ((&u64, &u64), &bool)| {
        a == b || (*real && f64::from_bits(*a).is_nan() && f64::from_bits(*b).is_nan())
    };
    a.len() == b.len() && a.iter().zip(b).zip(&real).all(equal)
}

fn mark_reals(ty: &crate::ir::Type, out: &mut Vec<bool>) {
    use crate::ir::Type;
    match ty {
        Type::Real => out.push(true),
        Type::Int | Type::Bool | Type::Text => out.push(false),
        Type::Array(item, len) => (0..*len).for_each(|_| mark_reals(item, out)),
        Type::Struct(fields) => fields.iter().for_each(|f| mark_reals(f, out)),
    }
}
