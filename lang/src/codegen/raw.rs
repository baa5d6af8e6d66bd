//! The seam to made code: the only place in the crate that is unsafe. It owns the memory of compiled functions, gives
//! them the addresses of the Rust functions that they call, and calls them after checking every size.
#![allow(unsafe_code, reason = "calls made code; every call states why it is sound")]

use std::mem::MaybeUninit;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};

use cranelift_codegen::ir::Type as ClifType;
use cranelift_codegen::ir::types;
use cranelift_jit::{JITBuilder, JITModule};

use crate::ir::scalar::{self, math};
use crate::ir::{Binary, Fault, FuncId, NumericError, Type, Unary};
use crate::span::Span;

type Code = unsafe extern "C" fn(*const u64, *mut u64, *mut u64, *mut Detail) -> u64;

/// What code and its caller tell each other besides slots.
#[repr(C)]
struct Detail {
    /// From the code: an index that was out of range.
    index: i64,
    /// To the code: where it reads whether to stop.
    stop: *const AtomicBool,
}

/// Never asks to stop.
static GO_ON: AtomicBool = AtomicBool::new(false);

/// Words and scratch slots up to this many are on the caller's stack.
const FEW: usize = 64;

/// Compiled functions. Calls may be made from many threads at once; the machine code is freed when this is dropped.
pub struct Compiled {
    functions: Vec<Entry>,
    faults: Vec<NumericError>,
    memory: Mutex<Option<JITModule>>,
}

struct Entry {
    code: Code,
    /// Slots of each parameter and whether it is passed as a word; of a function that takes its slots as they come,
    /// nothing.
    words: Vec<(usize, bool)>,
    inputs: usize,
    outputs: usize,
    scratch: usize,
}

/// What [`Compiled`] must know of a function to call it.
pub(super) struct Shape<'a> {
    pub(super) id: cranelift_module::FuncId,
    pub(super) params: Vec<&'a Type>,
    pub(super) outputs: u64,
    pub(super) scratch: u64,
    /// Whether the function takes its inputs' slots as they come.
    pub(super) flat_inputs: bool,
}

impl Compiled {
    /// Takes a module whose functions are all defined and finalized and have the convention of [`super`].
    pub(super) fn new(jit: JITModule, shapes: &[Shape<'_>], faults: Vec<NumericError>) -> Compiled {
        let entry = |shape: &Shape<'_>| {
            let address = jit.get_finalized_function(shape.id);
            // SAFETY: `unit` declares every function with exactly this signature and calling convention, and the
            // memory that holds it lives as long as `self.memory`, that is, as long as this entry.
            let code = unsafe { std::mem::transmute::<*const u8, Code>(address) };
            let params: Vec<(usize, bool)> =
                shape.params.iter().map(|ty| (ty.slots() as usize, ty.is_scalar())).collect();
            let inputs = params.iter().map(|p| p.0).sum();
            let words = if shape.flat_inputs { Vec::new() } else { params };
            Entry { code, words, inputs, outputs: shape.outputs as usize, scratch: shape.scratch as usize }
        };
        let functions = shapes.iter().map(entry).collect();
        Compiled { functions, faults, memory: Mutex::new(Some(jit)) }
    }

    /// How many slots a function takes and yields.
    pub fn shape(&self, id: FuncId) -> Option<(usize, usize)> {
        self.functions.get(id.0 as usize).map(|f| (f.inputs, f.outputs))
    }

    /// Calls a function: `inputs` are its parameters' slots one after another, `out` receives the result's.
    ///
    /// # Errors
    /// The first fault in the order of steps (what `out` then holds is unspecified), or [`Fault::Slots`] where
    /// `inputs` or `out` has the wrong length.
    #[inline]
    pub fn call(&self, id: FuncId, inputs: &[u64], out: &mut [u64]) -> Result<(), NumericError> {
        self.call_until(id, inputs, out, &GO_ON)
    }

    /// [`Compiled::call`], ended early by [`Fault::Stopped`] soon after `stop` becomes true: within about a millisecond.
    ///
    /// # Errors
    /// Those of [`Compiled::call`].
    #[inline]
    pub fn call_until(
        &self,
        id: FuncId,
        inputs: &[u64],
        out: &mut [u64],
        stop: &AtomicBool,
    ) -> Result<(), NumericError> {
        let entry = self.entry(id, inputs.len(), out.len(), 1)?;
        let rows = 1;
        entry.run(rows, inputs, out, stop).map_err(|(_, code, index)| self.error(code, index))
    }

    /// Calls a function on many arguments: `inputs` holds those of each call one after another, `out` receives as many
    /// results. The calls are made in order; what a call costs beside the code is little.
    ///
    /// # Errors
    /// The number of the first call that faults, and its error; the results before it stand. [`Fault::Slots`], as of
    /// the call 0, where `inputs` or `out` is not as long as `calls` calls want.
    pub fn call_many(
        &self,
        id: FuncId,
        calls: usize,
        inputs: &[u64],
        out: &mut [u64],
    ) -> Result<(), (usize, NumericError)> {
        let entry = self.entry(id, inputs.len(), out.len(), calls).map_err(|error| (0, error))?;
        entry.run(calls, inputs, out, &GO_ON).map_err(|(row, code, index)| (row, self.error(code, index)))
    }

    /// The function, if inputs and result of `calls` calls have the right lengths.
    #[inline]
    fn entry(&self, id: FuncId, inputs: usize, outputs: usize, calls: usize) -> Result<&Entry, NumericError> {
        let slots = |expected: usize, given: usize| {
            let fault = Fault::Slots { expected: expected as u64, given: given as u64 };
            NumericError { fault, span: Span::default() }
        };
        let Some(entry) = self.functions.get(id.0 as usize) else { return Err(slots(0, inputs)) };
        for (expected, given) in [(entry.inputs, inputs), (entry.outputs, outputs)] {
            if expected.checked_mul(calls) != Some(given) {
                return Err(slots(expected.saturating_mul(calls), given));
            }
        }
        Ok(entry)
    }

    #[cold]
    fn error(&self, code: u64, index: i64) -> NumericError {
        let raised = self.faults.get(code as usize - 1).copied();
        let mut error = raised.unwrap_or(NumericError { fault: Fault::Overflow, span: Span::default() });
        if let Fault::Index { index: at, .. } = &mut error.fault {
            *at = index;
        }
        error
    }
}

impl Entry {
    /// Makes `calls` calls on slots of which there are enough for them; tells which one faulted, its code and index.
    #[inline]
    fn run(&self, calls: usize, inputs: &[u64], out: &mut [u64], stop: &AtomicBool) -> Result<(), (usize, u64, i64)> {
        debug_assert!(inputs.len() == calls * self.inputs && out.len() == calls * self.outputs);
        let mut few = [const { MaybeUninit::<u64>::uninit() }; FEW];
        let mut many: Vec<MaybeUninit<u64>> = Vec::new();
        let scratch = if self.scratch <= FEW {
            few.as_mut_ptr()
        } else {
            many.reserve_exact(self.scratch);
            many.as_mut_ptr()
        };
        let mut words: Vec<u64> = Vec::with_capacity(self.words.len());
        let mut detail = Detail { index: 0, stop };
        let (mut input, mut output) = (inputs.as_ptr(), out.as_mut_ptr());
        for row in 0..calls {
            let arguments = if self.words.is_empty() {
                input
            } else {
                words.clear();
                let mut rest = inputs.get(row * self.inputs..).unwrap_or(&[]);
                for (slots, scalar) in &self.words {
                    let (own, after) = rest.split_at(*slots);
                    words.push(if *scalar { own.first().copied().unwrap_or_default() } else { own.as_ptr() as u64 });
                    rest = after;
                }
                words.as_ptr()
            };
            // SAFETY: the code was compiled from verified IR. It reads `inputs` slots of this row's, or one word for
            // each parameter and, behind the address of an aggregate, as many slots as that parameter has; it writes
            // `outputs` slots of this row's, at most `scratch` slots of `scratch` (and reads of them only what it
            // wrote), and `detail`. All lengths were checked by `entry`, the regions are disjoint, and every index that
            // the IR does not bound is compared with its array's length before it is used.
            let code = unsafe { (self.code)(arguments, output, scratch.cast(), &mut detail) };
            if code != 0 {
                return Err((row, code, detail.index));
            }
            // SAFETY: there are `calls` rows of slots in both, so that these are at most one past the end.
            unsafe {
                input = input.add(self.inputs);
                output = output.add(self.outputs);
            }
        }
        Ok(())
    }
}

impl Drop for Compiled {
    fn drop(&mut self) {
        let memory = self.memory.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(jit) = memory.take() {
            // SAFETY: the addresses into this memory are private to `self`, which is being dropped, so that no call
            // is under way and none will come.
            unsafe { jit.free_memory() };
        }
    }
}

impl std::fmt::Debug for Compiled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Compiled({} functions)", self.functions.len())
    }
}

/// A Rust function that made code calls.
#[derive(Clone, Copy)]
pub(super) struct Routine {
    pub(super) name: &'static str,
    pub(super) params: &'static [ClifType],
}

macro_rules! routines {
    ($($op:ident $name:ident $symbol:literal $f:expr;)*) => {
        $(extern "C" fn $name(x: f64) -> f64 { $f(x) })*
        extern "C" fn pow(x: f64, y: f64) -> f64 { libm::pow(x, y) }

        /// The same functions, in instructions for the fused multiply-add.
        #[cfg(target_arch = "x86_64")]
        mod fused {
            use super::*;
            $(
                #[target_feature(enable = "fma")]
                pub(super) extern "C" fn $name(x: f64) -> f64 { $f(x) }
            )*
        }

        /// The routine that computes a function of one real; `None` where machine instructions do.
        pub(super) fn unary_routine(op: Unary) -> Option<Routine> {
            Some(match op {
                $(Unary::$op => Routine { name: $symbol, params: &[types::F64] },)*
                _ => return None,
            })
        }

        /// Makes the routines known to the linker, and those that stand in for instructions on old machines.
        pub(super) fn define_symbols(builder: &mut JITBuilder) {
            $(builder.symbol($symbol, $name as *const u8);)*
            #[cfg(target_arch = "x86_64")]
            if std::arch::is_x86_feature_detected!("fma") {
                $(builder.symbol($symbol, fused::$name as unsafe extern "C" fn(f64) -> f64 as *const u8);)*
            }
            builder.symbol("evo_pow", pow as *const u8);
            builder.symbol("floor", floor as *const u8);
            builder.symbol("ceil", ceil as *const u8);
            builder.symbol("trunc", trunc as *const u8);
        }
    };
}

routines! {
    Exp exp "evo_exp" math::exp;
    Log log "evo_log" math::log;
    Sin sin "evo_sin" math::sin;
    Cos cos "evo_cos" math::cos;
    Tanh tanh "evo_tanh" math::tanh;
    Sigmoid sigmoid "evo_sigmoid" math::sigmoid;
    LogSigmoid log_sigmoid "evo_log_sigmoid" scalar::log_sigmoid;
    Softplus softplus "evo_softplus" math::softplus;
    Erf erf "evo_erf" libm::erf;
}

/// The routine that computes a function of two reals; `None` where machine instructions do.
pub(super) fn binary_routine(op: Binary) -> Option<Routine> {
    (op == Binary::Pow).then_some(Routine { name: "evo_pow", params: &[types::F64, types::F64] })
}

extern "C" fn floor(x: f64) -> f64 {
    libm::floor(x)
}

extern "C" fn ceil(x: f64) -> f64 {
    libm::ceil(x)
}

extern "C" fn trunc(x: f64) -> f64 {
    libm::trunc(x)
}
