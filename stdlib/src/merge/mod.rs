//! Merging models: weights per model, per tensor or by a closure; methods tensor by tensor.
//!
//! A merge reads its inputs' tensors and makes new ones in memory; a tensor that no input changes is shared, not copied.

mod facts;
mod methods;
mod weight;

use crate::bind::Module;

pub use weight::{TensorInfo, Weight};

/// The family `merge`.
pub fn module() -> Module {
    Module::new("merge", include_str!("merge.evo"))
        .bind("linear", methods::linear)
        .facts("linear", facts::merge)
        .bind("slerp", methods::slerp)
        .facts("slerp", facts::merge)
        .bind("task_arithmetic", methods::task_arithmetic)
        .facts("task_arithmetic", facts::merge)
        .bind("ties", methods::ties)
        .facts("ties", facts::merge)
        .bind("dare_ties", methods::dare_ties)
        .facts("dare_ties", facts::merge)
}
