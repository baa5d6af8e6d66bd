//! Numbers: declared here, compiled by `evo_lang::ir`.

mod blocks;
#[cfg(test)]
mod tests;

pub use blocks::blocks;

use crate::args;
use crate::bind::Module;
use crate::cx::{Cx, Failure};
use crate::value::Value;

/// The family `numeric`: every function in it but `zip` is an intrinsic of the compiler.
pub fn module() -> Module {
    Module::new("numeric", include_str!("numeric.evo")).bind("zip", zip)
}

args! { struct ZipArgs { a: Vec<Value>, b: Vec<Value> } }

/// Lists whose lengths only the run tells; of all others the plan makes pairs.
fn zip(_: &Cx<'_>, args: ZipArgs) -> Result<Value, Failure> {
    if args.a.len() != args.b.len() {
        let title = format!("`zip` takes lists of one length, not {} and {}", args.a.len(), args.b.len());
        return Err(Failure::new("R0503", title).help("give lists of one length"));
    }
    Ok(Value::list(args.a.into_iter().zip(args.b).map(|(a, b)| Value::tuple(vec![a, b])).collect()))
}
