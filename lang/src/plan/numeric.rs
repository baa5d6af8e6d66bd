//! Compiled numeric code as the graph sees it: inputs and result as plain values.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use super::key::Key;
use super::konst::Const;
use crate::codegen::{self, Compiled};
use crate::ir::{self, FuncId, NumericError};
use crate::types::Ty;

/// A numeric function of its inputs, compiled when it is first called.
pub struct Code {
    /// The identity: the hash of the canonical IR, as it was before it is optimised, and of the version of the scalar
    /// functions. Optimising changes no result.
    pub key: Key,
    /// The type of the result.
    pub result: Ty,
    shape: Shape,
    module: ir::Module,
    compiled: OnceLock<std::result::Result<(Compiled, FuncId), String>>,
}

/// Never asks to stop.
static GO_ON: AtomicBool = AtomicBool::new(false);

/// Code that exists already, by identity and result shape.
pub(crate) type Codes = BTreeMap<Key, Arc<Code>>;

/// The layout of a plain numeric value, with its lengths.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Shape {
    Int,
    Real,
    Bool,
    Case(Vec<Arc<str>>),
    List(usize, Box<Shape>),
    Tuple(Vec<Shape>),
    Record(Vec<(Arc<str>, Shape)>),
}

impl Shape {
    /// How a result of this type reads, laid out as the code says: lengths stand there, names in the type.
    fn new(ty: &Ty, layout: &ir::Type) -> Shape {
        let fields = || ty.fields().unwrap_or_default();
        match (ty, layout) {
            (Ty::Enum(e), _) => Shape::Case(e.cases.clone()),
            (Ty::Array(item, _) | Ty::List(item), ir::Type::Array(inner, len)) => {
                Shape::List(*len as usize, Box::new(Shape::new(item, inner)))
            }
            (Ty::Tuple(items), ir::Type::Struct(inner)) => {
                Shape::Tuple(items.iter().zip(inner.iter()).map(|(t, l)| Shape::new(t, l)).collect())
            }
            (Ty::Record(_) | Ty::Genome(_), ir::Type::Struct(inner)) => Shape::Record(
                fields().iter().zip(inner.iter()).map(|(f, l)| (f.name.clone(), Shape::new(&f.ty, l))).collect(),
            ),
            (_, ir::Type::Int) => Shape::Int,
            (_, ir::Type::Bool) => Shape::Bool,
            _ => Shape::Real,
        }
    }

    fn read(&self, slots: &mut std::slice::Iter<'_, u64>) -> Option<Const> {
        Some(match self {
            Shape::Int => Const::Int(*slots.next()? as i64),
            Shape::Real => Const::Real(f64::from_bits(*slots.next()?)),
            Shape::Bool => Const::Bool(*slots.next()? != 0),
            Shape::Case(words) => {
                let i = *slots.next()? as u32;
                Const::Case(i, words.get(i as usize)?.clone())
            }
            Shape::List(n, item) => Const::List((0..*n).map(|_| item.read(slots)).collect::<Option<_>>()?),
            Shape::Tuple(items) => Const::Tuple(items.iter().map(|item| item.read(slots)).collect::<Option<_>>()?),
            Shape::Record(fields) => Const::Record(
                fields.iter().map(|(name, item)| Some((name.clone(), item.read(slots)?))).collect::<Option<_>>()?,
            ),
        })
    }
}

impl Code {
    /// Code that has not been compiled yet.
    pub(crate) fn new(key: Key, result: Ty, module: ir::Module) -> Code {
        let layout = module.entry().and_then(|entry| module.function(entry)?.result());
        let shape = layout.map_or(Shape::Real, |layout| Shape::new(&result, layout));
        Code { key, result, shape, module, compiled: OnceLock::new() }
    }

    /// Applies the code to plain inputs laid out one after another, and reads its result.
    ///
    /// # Errors
    /// The fault that it raises.
    pub fn call(&self, inputs: &[u64]) -> std::result::Result<Const, NumericError> {
        self.call_until(inputs, &GO_ON)
    }

    /// [`Code::call`], ended early by [`Fault::Stopped`](ir::Fault::Stopped) soon after `stop` becomes true.
    ///
    /// # Errors
    /// Those of [`Code::call`].
    pub fn call_until(&self, inputs: &[u64], stop: &AtomicBool) -> std::result::Result<Const, NumericError> {
        let mut output = Vec::new();
        self.call_slots(inputs, &mut output, stop)?;
        Ok(self.shape.read(&mut output.iter()).unwrap_or(Const::Nothing))
    }

    fn call_slots(
        &self,
        inputs: &[u64],
        output: &mut Vec<u64>,
        stop: &AtomicBool,
    ) -> std::result::Result<(), NumericError> {
        let compiled = self.compiled.get_or_init(|| {
            let fast = ir::optimize::optimize(&self.module);
            let compiled = codegen::compile(&fast).map_err(|e| e.to_string())?;
            Ok((compiled, fast.entry().unwrap_or(FuncId(0))))
        });
        let Some(entry) = self.module.entry() else { return Ok(()) };
        output.clear();
        output.resize(self.module.function(entry).map_or(0, |f| f.output_slots() as usize), 0);
        match compiled {
            Ok((compiled, entry)) => compiled.call_until(*entry, inputs, output, stop),
            // A machine that Cranelift does not know still runs programs, slower.
            Err(_) => ir::interp::run(&self.module, entry, inputs).map(|slots| *output = slots),
        }
    }

    /// The code as text, for `--emit ir`.
    pub fn ir(&self) -> String {
        ir::print::canonical(&self.module)
    }

    /// The module itself.
    pub fn module(&self) -> &ir::Module {
        &self.module
    }
}
