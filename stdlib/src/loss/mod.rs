//! Preference losses: formulas over the rows of a batch, declared in the language itself, differentiated symbolically.
//!
//! A [`Loss`] is a closure of its inputs as row code. [`batch`] puts it behind the columns that a caller has, [`PairLoss`]
//! behind those that training has, and [`curve`] draws it.

mod batch;
mod curve;
mod facts;
mod pairs;
mod source;

use std::any::Any;
use std::path::Path;
use std::sync::Arc;

use evo_lang::plan::Const;

use crate::args;
use crate::bind::{Module, node};
use crate::cx::{Card, Cx, Failure, Save};
use crate::value::{Callable, NumericFn, Object, Value};

pub use batch::{Batch, INPUTS};
pub use curve::curves;
pub use facts::LossInputs;
pub use pairs::{PairLoss, PairSlopes};

/// The family `loss`.
pub fn module() -> Module {
    Module::new("loss", include_str!("loss.evo"))
        .bind("as_loss", as_loss)
        .facts("as_loss", facts::as_loss)
        .bind("loss_values", batch::loss_values)
        .facts("loss_values", facts::over_columns)
        .bind("loss_slopes", batch::loss_slopes)
        .facts("loss_slopes", facts::over_columns)
}

/// A loss as a value.
#[derive(Clone)]
pub struct Loss {
    /// Its declared name, with the settings that it was given: `lrml(tau: 0.1)`.
    pub name: Arc<str>,
    /// The inputs that it takes, in the order of its parameters.
    pub inputs: Arc<[Arc<str>]>,
    /// The formula: row code of these inputs.
    pub formula: NumericFn,
    /// A program that declares it, with all that it needs; or why there is none.
    pub source: Result<Arc<str>, Arc<str>>,
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

    fn save(&self) -> Option<&dyn Save> {
        Some(self)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Save for Loss {
    fn save(&self, path: &Path, card: &Card) -> Result<(), Failure> {
        source::save(self, path, card)
    }
}

args! { struct AsLoss {
    name: Arc<str>, inputs: Vec<Arc<str>>, formula: Callable, settings: Vec<Arc<str>>, source: Vec<Arc<str>>, values: Value
} }

fn as_loss(_: &Cx<'_>, args: AsLoss) -> Result<Loss, Failure> {
    let values = match args.values.show() {
        Const::Record(values) => values.iter().map(|(_, value)| value.clone()).collect(),
        _ => Vec::new(),
    };
    let name = source::title(&args.name, &args.settings, &values);
    match args.formula {
        Callable::Code(formula) => {
            let source = source::filled(&args.source, &values).map_err(Arc::from);
            Ok(Loss { name, inputs: args.inputs.into(), formula, source })
        }
        Callable::Function(_) => Err(Failure::new("R0503", format!("the loss `{name}` is not numeric code"))
            .help("compute it from its inputs with numbers only")),
    }
}
