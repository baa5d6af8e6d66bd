//! Preference losses: formulas over the rows of a batch, declared in the language itself, differentiated symbolically.
//!
//! A [`Loss`] is a closure of its inputs as row code. [`batch`] puts it behind the columns that a caller has, and
//! [`curve`] draws it.

mod batch;
mod curve;

use std::any::Any;
use std::sync::Arc;

use evo_lang::plan::Const;

use crate::args;
use crate::bind::{Module, node};
use crate::cx::{Cx, Failure};
use crate::value::{Callable, NumericFn, Object, Value};

pub use batch::{Batch, INPUTS};
pub use curve::curves;

/// The family `loss`.
pub fn module() -> Module {
    Module::new("loss", include_str!("loss.evo"))
        .bind("as_loss", as_loss)
        .bind("loss_values", batch::loss_values)
        .bind("loss_slopes", batch::loss_slopes)
}

/// A loss as a value.
#[derive(Clone)]
pub struct Loss {
    /// Its declared name.
    pub name: Arc<str>,
    /// The inputs that it takes, in the order of its parameters.
    pub inputs: Arc<[Arc<str>]>,
    /// The formula: row code of these inputs.
    pub formula: NumericFn,
}

node!(Loss, "Loss");

impl Object for Loss {
    fn kind(&self) -> &'static str {
        "Loss"
    }

    fn field(&self, name: &str) -> Option<Value> {
        (name == "name").then(|| Value::text(self.name.clone()))
    }

    fn show(&self) -> Const {
        Const::Text(self.name.clone())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

args! { struct AsLoss { name: Arc<str>, inputs: Vec<Arc<str>>, formula: Callable } }

fn as_loss(_: &Cx<'_>, args: AsLoss) -> Result<Loss, Failure> {
    match args.formula {
        Callable::Code(formula) => Ok(Loss { name: args.name, inputs: args.inputs.into(), formula }),
        Callable::Function(_) => Err(Failure::new("R0503", format!("the loss `{}` is not numeric code", args.name))
            .help("compute it from its inputs with numbers only")),
    }
}
