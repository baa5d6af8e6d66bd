//! Numbers: declared here, compiled by `evo_lang::ir`.

use crate::bind::Module;

/// The family `numeric`: every function in it is an intrinsic of the compiler.
pub fn module() -> Module {
    Module::new("numeric", include_str!("numeric.evo"))
}
