//! The seam to made code: the only place in the crate that is unsafe. It owns the memory of compiled functions, gives
//! them the addresses of the Rust functions that they call, and calls them after checking every size.
#![allow(unsafe_code, reason = "calls made code; every call states why it is sound")]

use std::sync::{Mutex, PoisonError};

use cranelift_codegen::ir::Type as ClifType;
use cranelift_codegen::ir::types;
use cranelift_jit::{JITBuilder, JITModule};

use crate::ir::{Binary, Fault, FuncId, NumericError, Type, Unary, scalar};
use crate::span::Span;

type Code = unsafe extern "C" fn(*const u64, *mut u64, *mut u64, *mut i64) -> u64;

/// Compiled functions. Calls may be made from many threads at once; the machine code is freed when this is dropped.
pub struct Compiled {
    functions: Vec<Entry>,
    faults: Vec<NumericError>,
    memory: Mutex<Option<JITModule>>,
}

struct Entry {
    code: Code,
    /// Slots of each parameter, and whether it is passed as a word.
    params: Vec<(usize, bool)>,
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
            Entry { code, params, inputs, outputs: shape.outputs as usize, scratch: shape.scratch as usize }
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
    pub fn call(&self, id: FuncId, inputs: &[u64], out: &mut [u64]) -> Result<(), NumericError> {
        let slots = |expected, given: usize| {
            let fault = Fault::Slots { expected: expected as u64, given: given as u64 };
            Err(NumericError { fault, span: Span::default() })
        };
        let Some(entry) = self.functions.get(id.0 as usize) else { return slots(0, inputs.len()) };
        if inputs.len() != entry.inputs {
            return slots(entry.inputs, inputs.len());
        }
        if out.len() != entry.outputs {
            return slots(entry.outputs, out.len());
        }
        let (mut few_words, mut few_slots) = ([0u64; 16], [0u64; 64]);
        let (mut many_words, mut many_slots) = (Vec::new(), Vec::new());
        let words = at_least(entry.params.len(), &mut few_words, &mut many_words);
        let scratch = at_least(entry.scratch, &mut few_slots, &mut many_slots);
        let mut rest = inputs;
        for (word, (slots, scalar)) in words.iter_mut().zip(&entry.params) {
            let (own, after) = rest.split_at(*slots);
            *word = if *scalar { own.first().copied().unwrap_or_default() } else { own.as_ptr() as u64 };
            rest = after;
        }
        let mut detail = 0i64;
        // SAFETY: the code was compiled from verified IR. It reads one word for each parameter and, behind the address
        // of an aggregate, as many slots as that parameter has, all of which lie in `inputs`; it writes `outputs` slots
        // of `out`, at most `scratch` slots of `scratch`, and `detail`. All lengths were checked above, the regions are
        // disjoint, and every index that the IR does not bound is compared with its array's length before it is used.
        let code = unsafe { (entry.code)(words.as_ptr(), out.as_mut_ptr(), scratch.as_mut_ptr(), &mut detail) };
        if code == 0 {
            return Ok(());
        }
        let raised = self.faults.get(code as usize - 1).copied();
        let mut error = raised.unwrap_or(NumericError { fault: Fault::Overflow, span: Span::default() });
        if let Fault::Index { index, .. } = &mut error.fault {
            *index = detail;
        }
        Err(error)
    }
}

fn at_least<'a>(len: usize, few: &'a mut [u64], many: &'a mut Vec<u64>) -> &'a mut [u64] {
    if len <= few.len() {
        few
    } else {
        many.resize(len, 0);
        many
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
            builder.symbol("evo_pow", pow as *const u8);
            builder.symbol("floor", floor as *const u8);
            builder.symbol("ceil", ceil as *const u8);
        }
    };
}

routines! {
    Round round "evo_round" libm::round;
    Exp exp "evo_exp" libm::exp;
    Log log "evo_log" libm::log;
    Sin sin "evo_sin" libm::sin;
    Cos cos "evo_cos" libm::cos;
    Tanh tanh "evo_tanh" libm::tanh;
    Sigmoid sigmoid "evo_sigmoid" scalar::sigmoid;
    LogSigmoid log_sigmoid "evo_log_sigmoid" scalar::log_sigmoid;
    Softplus softplus "evo_softplus" scalar::softplus;
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
