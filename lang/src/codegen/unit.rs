//! Compiles the functions of a module one after another into one piece of executable memory.

use std::fmt::Write;

use cranelift_codegen::ir::{AbiParam, Signature, UserFuncName, types};
use cranelift_codegen::settings::{self, Configurable};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_jit::{ArenaMemoryProvider, JITBuilder, JITModule};
use cranelift_module::{FuncId as Linked, Linkage, Module as _, default_libcall_names};

use super::emit::Emitter;
use super::raw::{self, Compiled, Routine, Shape};
use super::{CompileError, MAX_SCRATCH};
use crate::ir::ranges::faults;
use crate::ir::{Block, Module, NumericError, Op, cost};

fn backend(error: impl std::fmt::Display) -> CompileError {
    CompileError::Backend(error.to_string())
}

/// A module while it is compiled.
pub(super) struct Unit {
    pub(super) jit: JITModule,
    /// The compiled functions so far, and the scratch slots of each together with its callees.
    pub(super) functions: Vec<(Linked, u64)>,
    routines: Vec<(&'static str, Linked)>,
    pub(super) faults: Vec<NumericError>,
    /// Steps of each compiled function.
    pub(super) costs: Vec<u64>,
    signature: Signature,
}

impl Unit {
    pub(super) fn new(module: &Module) -> Result<Unit, CompileError> {
        let mut flags = settings::builder();
        let checked = if cfg!(debug_assertions) { "true" } else { "false" };
        for (name, value) in [
            ("use_colocated_libcalls", "false"),
            ("is_pic", "false"),
            ("unwind_info", "false"),
            ("enable_verifier", checked),
            ("opt_level", "speed"),
        ] {
            flags.set(name, value).map_err(backend)?;
        }
        let isa = cranelift_native::builder().map_err(backend)?;
        let isa = isa.finish(settings::Flags::new(flags)).map_err(backend)?;
        let mut builder = JITBuilder::with_isa(isa, default_libcall_names());
        raw::define_symbols(&mut builder);
        // Address space, not memory: pages are taken as they are filled.
        let reserve = module.functions.iter().map(|f| 1024 + 512 * size(&f.body)).sum::<usize>() + (1 << 16);
        builder.memory_provider(Box::new(ArenaMemoryProvider::new_with_size(reserve).map_err(backend)?));
        let jit = JITModule::new(builder);
        let mut signature = jit.make_signature();
        signature.params = vec![AbiParam::new(types::I64); 4];
        signature.returns = vec![AbiParam::new(types::I64)];
        Ok(Unit { jit, functions: Vec::new(), routines: Vec::new(), faults: Vec::new(), costs: Vec::new(), signature })
    }

    /// Compiles every function; with `text`, writes its Cranelift IR there too.
    pub(super) fn finish(mut self, module: &Module, mut text: Option<&mut String>) -> Result<Compiled, CompileError> {
        let mut context = self.jit.make_context();
        let mut builders = FunctionBuilderContext::new();
        let target = self.jit.target_config();
        let mut called = vec![false; module.functions.len()];
        let mut mark = |id: crate::ir::FuncId| {
            if let Some(slot) = called.get_mut(id.0 as usize) {
                *slot = true;
            }
        };
        module.functions.iter().for_each(|f| f.body.each_call(&mut mark));
        let mut fallible = Vec::with_capacity(module.functions.len());
        for (index, function) in module.functions.iter().enumerate() {
            let faults = faults(function, &fallible);
            fallible.push(faults.in_block(&function.body));
            let flat_inputs = !called.get(index).copied().unwrap_or(true);
            let id = self.jit.declare_anonymous_function(&self.signature).map_err(backend)?;
            context.func.signature = self.signature.clone();
            context.func.name = UserFuncName::user(0, id.as_u32());
            let builder = FunctionBuilder::new(&mut context.func, &mut builders);
            let (builder, scratch) = Emitter::new(&mut self, function, faults, flat_inputs, builder).function()?;
            builder.finalize(target);
            if scratch > MAX_SCRATCH {
                return Err(CompileError::TooLarge { function: function.name.to_string(), slots: scratch });
            }
            if let Some(text) = &mut text {
                let _ = writeln!(text, "; f{index} {}\n{}", function.name, context.func.display());
            }
            self.jit.define_function(id, &mut context).map_err(backend)?;
            self.jit.clear_context(&mut context);
            self.functions.push((id, scratch));
            let steps = cost::block(&function.body, &self.costs);
            self.costs.push(steps);
        }
        self.jit.finalize_definitions().map_err(backend)?;
        let shapes: Vec<Shape<'_>> = module
            .functions
            .iter()
            .zip(&self.functions)
            .zip(&called)
            .map(|((f, (id, scratch)), called)| Shape {
                id: *id,
                params: f.params().collect(),
                outputs: f.output_slots(),
                scratch: *scratch,
                flat_inputs: !called,
            })
            .collect();
        Ok(Compiled::new(self.jit, &shapes, self.faults))
    }

    /// The linker's name of a routine, declared at its first use.
    pub(super) fn routine(&mut self, routine: Routine) -> Result<Linked, CompileError> {
        if let Some((_, id)) = self.routines.iter().find(|(name, _)| *name == routine.name) {
            return Ok(*id);
        }
        let mut signature = self.jit.make_signature();
        signature.params = routine.params.iter().map(|ty| AbiParam::new(*ty)).collect();
        signature.returns = vec![AbiParam::new(types::F64)];
        let id = self.jit.declare_function(routine.name, Linkage::Import, &signature).map_err(backend)?;
        self.routines.push((routine.name, id));
        Ok(id)
    }
}

/// Steps and operands of a block and those inside it: code size is proportional to it.
fn size(block: &Block) -> usize {
    let step = |op: &Op| match op {
        Op::If { then, otherwise, .. } => size(then) + size(otherwise),
        Op::Build { body, .. } | Op::Fold { body, .. } => size(body),
        Op::Struct(parts) | Op::Array(parts) | Op::Call(_, parts) => parts.len(),
        _ => 1,
    };
    block.steps.iter().map(|s| 1 + step(&s.op)).sum::<usize>() + 1
}

impl From<cranelift_module::ModuleError> for CompileError {
    fn from(error: cranelift_module::ModuleError) -> Self {
        backend(error)
    }
}
