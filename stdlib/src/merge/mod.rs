//! Merging models: weights per model, per tensor or by a closure; methods tensor by tensor; and formulas of one's own,
//! element by element.
//!
//! A merge makes tensors that know how they are computed from its inputs' (see [`crate::model::Recipe`]); one that is only asked
//! things is computed straight into the decoder's form, one that is saved is computed for that. What a merge leaves as it is in an
//! input is shared, not copied.

mod elementwise;
mod facts;
mod methods;
mod rule;
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
        .bind("elementwise", elementwise::elementwise)
        .facts("elementwise", elementwise::check)
}
