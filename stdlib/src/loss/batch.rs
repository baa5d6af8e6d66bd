//! A loss over a batch that is given by columns: values and slopes.

use evo_lang::codegen::rows::{Column, ColumnMut, Precision, Storage, compile};
use evo_lang::ir::builder::Builder;
use evo_lang::ir::differentiate::row_gradient;
use evo_lang::ir::rows::RowFunction;
use evo_lang::ir::straight::NotStraight;
use evo_lang::ir::verify::IrError;
use evo_lang::ir::{Binary, Op, Type, Value as Ssa};

use std::sync::Arc;

use super::Loss;
use crate::args;
use crate::cx::{Cx, Failure};
use crate::numeric::blocks;

/// The columns that a loss may read, in the order of its declaration's inputs; `beta` besides is one number.
pub const INPUTS: [&str; 9] = [
    "z",
    "chosen",
    "rejected",
    "logp_chosen",
    "logp_rejected",
    "ref_chosen",
    "ref_rejected",
    "len_chosen",
    "len_rejected",
];

/// Columns of one length.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    columns: Vec<(&'static str, Vec<f64>)>,
    beta: f64,
}

args! { pub(super) struct Values {
    l: Loss, z: Option<Vec<f64>>, chosen: Option<Vec<f64>>, rejected: Option<Vec<f64>>,
    logp_chosen: Option<Vec<f64>>, logp_rejected: Option<Vec<f64>>,
    ref_chosen: Option<Vec<f64>>, ref_rejected: Option<Vec<f64>>,
    len_chosen: Option<Vec<f64>>, len_rejected: Option<Vec<f64>>, beta: f64
} }
args! { pub(super) struct Slopes {
    l: Loss, by: Arc<str>, z: Option<Vec<f64>>, chosen: Option<Vec<f64>>, rejected: Option<Vec<f64>>,
    logp_chosen: Option<Vec<f64>>, logp_rejected: Option<Vec<f64>>,
    ref_chosen: Option<Vec<f64>>, ref_rejected: Option<Vec<f64>>,
    len_chosen: Option<Vec<f64>>, len_rejected: Option<Vec<f64>>, beta: f64
} }

/// The batch of a call's arguments.
macro_rules! batch {
    ($args:ident) => {
        Batch::new(
            [
                $args.z,
                $args.chosen,
                $args.rejected,
                $args.logp_chosen,
                $args.logp_rejected,
                $args.ref_chosen,
                $args.ref_rejected,
                $args.len_chosen,
                $args.len_rejected,
            ],
            $args.beta,
        )
    };
}

pub(super) fn loss_values(_: &Cx<'_>, args: Values) -> Result<Vec<f64>, Failure> {
    Ok(batch!(args)?.values(&args.l)?.concat())
}

pub(super) fn loss_slopes(_: &Cx<'_>, args: Slopes) -> Result<Vec<f64>, Failure> {
    batch!(args)?.slopes(&args.l, &args.by)
}

impl Batch {
    /// A batch of these columns, in the order of [`INPUTS`].
    ///
    /// # Errors
    /// No column, columns of different lengths, or a `beta` that is not above 0.
    pub fn new(columns: [Option<Vec<f64>>; 9], beta: f64) -> Result<Batch, Failure> {
        let columns: Vec<(&str, Vec<f64>)> =
            INPUTS.into_iter().zip(columns).filter_map(|(name, column)| Some((name, column?))).collect();
        let Some((first, rows)) = columns.first().map(|(name, column)| (*name, column.len())) else {
            return Err(Failure::new("R0503", "a batch has no column").help("give it one, such as `z: [0.5, 1.0]`"));
        };
        if let Some((name, column)) = columns.iter().find(|(_, column)| column.len() != rows) {
            let title = format!("the columns of a batch are of one length, not {rows} and {}", column.len());
            return Err(Failure::new("R0503", title)
                .note(format!("`{first}` has {rows} rows, `{name}` {}", column.len()))
                .help("give as many numbers in each"));
        }
        if beta.is_nan() || beta <= 0.0 {
            let title = format!("`beta` is {beta}, and must be above 0");
            return Err(Failure::new("R0503", title).param("beta").help("give a positive number, such as 0.1"));
        }
        Ok(Batch { columns, beta })
    }

    /// A batch without rows that has these columns.
    ///
    /// # Errors
    /// As [`Batch::new`].
    pub(super) fn of_columns(names: &[&str], beta: f64) -> Result<Batch, Failure> {
        Batch::new(INPUTS.map(|name| names.contains(&name).then(Vec::new)), beta)
    }

    /// How many rows it has.
    pub fn rows(&self) -> usize {
        self.columns.first().map_or(0, |(_, column)| column.len())
    }

    /// A loss's values: a column for each that it yields a row.
    ///
    /// # Errors
    /// A column that the loss reads and that does not follow from those given.
    pub fn values(&self, loss: &Loss) -> Result<Vec<Vec<f64>>, Failure> {
        let row = self.row_code(loss)?;
        self.run(&row)
    }

    /// The slopes of the sum of a loss's values by one of the columns given.
    ///
    /// # Errors
    /// As [`Batch::values`]; a column that is not given.
    pub fn slopes(&self, loss: &Loss, by: &str) -> Result<Vec<f64>, Failure> {
        let Some(at) = self.columns.iter().position(|(name, _)| *name == by) else {
            let given: Vec<String> = self.columns.iter().map(|(name, _)| format!("`{name}`")).collect();
            let title = format!("there is no slope by `{by}`, which the batch does not give");
            return Err(Failure::new("R0503", title)
                .note(format!("it gives {}", given.join(", ")))
                .param("by")
                .help("say which column to differentiate by: `by: chosen`"));
        };
        let both = row_gradient(&self.row_code(loss)?, &[at]).map_err(|e| not_rows(loss, &e))?;
        Ok(self.run(&both)?.pop().unwrap_or_default())
    }

    /// Values, and slopes by one column, in one pass.
    pub(super) fn both(&self, loss: &Loss, at: usize) -> Result<Vec<Vec<f64>>, Failure> {
        let both = row_gradient(&self.row_code(loss)?, &[at]).map_err(|e| not_rows(loss, &e))?;
        self.run(&both)
    }

    /// In double precision, by block operations; a column that is one number for the batch is that number a row.
    fn run(&self, row: &RowFunction) -> Result<Vec<Vec<f64>>, Failure> {
        let fault = |e: String| Failure::new("R0503", e);
        let storage = vec![Storage::F64; self.columns.len() + 1];
        let wanted = vec![Storage::F64; row.columns().len()];
        let program =
            compile(row, Precision::Double, &storage, &wanted, &blocks()).map_err(|e| fault(e.to_string()))?;
        let mut inputs: Vec<Column<'_>> = self.columns.iter().map(|(_, column)| Column::F64(column)).collect();
        inputs.push(Column::Number(self.beta));
        let numbers = program.numbers();
        let mut columns = vec![vec![0.0; self.rows()]; numbers.len()];
        let mut single = vec![0.0; numbers.len()];
        let places = columns.iter_mut().zip(&mut single).zip(&numbers);
        let mut outputs: Vec<ColumnMut<'_>> = places
            .map(|((column, one), number)| if *number { ColumnMut::Number(one) } else { ColumnMut::F64(column) })
            .collect();
        program.run(self.rows(), &inputs, &mut outputs).map_err(|e| fault(e.to_string()))?;
        for ((column, one), _) in columns.iter_mut().zip(&single).zip(&numbers).filter(|(_, number)| **number) {
            column.fill(*one);
        }
        Ok(columns)
    }

    /// The loss as a function of the columns given and `beta`.
    pub(super) fn row_code(&self, loss: &Loss) -> Result<RowFunction, Failure> {
        let mut module = loss.formula.code.module().clone();
        let malformed = |e: IrError| not_rows(loss, &NotStraight::Malformed(e));
        let Some(entry) = module.entry() else { return Err(malformed(IrError::Malformed("no code".into()))) };
        let types: Vec<Type> = module.function(entry).map(|f| f.params().cloned().collect()).unwrap_or_default();
        let mut inputs = Inputs {
            b: Builder::new(loss.name.clone(), &vec![Type::Real; self.columns.len() + 1]),
            given: self.columns.iter().map(|(name, _)| *name).collect(),
        };
        let mut captured = loss.formula.captured.iter();
        let mut args = Vec::with_capacity(types.len());
        for ty in types.iter().take(types.len().saturating_sub(loss.inputs.len())) {
            args.push(constant(&mut inputs.b, ty, &mut captured).map_err(malformed)?);
        }
        for name in loss.inputs.iter() {
            match inputs.get(name).map_err(malformed)? {
                Some(value) => args.push(value),
                None => return Err(missing(loss, name, &inputs.given)),
            }
        }
        let result = inputs.b.call(&module, entry, args).map_err(malformed)?;
        module.functions.push(inputs.b.finish(result).map_err(malformed)?);
        let mut uniform = vec![false; self.columns.len()];
        uniform.push(true);
        RowFunction::new(&module, uniform).map_err(|e| not_rows(loss, &e))
    }
}

fn missing(loss: &Loss, name: &str, given: &[&str]) -> Failure {
    let given: Vec<String> = given.iter().map(|name| format!("`{name}`")).collect();
    Failure::new("R0503", format!("the loss `{}` reads `{name}`, which the batch does not give", loss.name))
        .note(format!("it gives {}", given.join(", ")))
        .note("`chosen`, `rejected` and `z` follow from the four log-probabilities, `z` from `chosen` and `rejected`")
        .help(format!("give it: `{name}: [0.5, 1.0]`"))
}

pub(super) fn not_rows(loss: &Loss, error: &NotStraight) -> Failure {
    Failure::new("R0503", format!("the loss `{}` cannot be computed over rows: {error}", loss.name))
        .help("write it without loops of a million rounds, array indices from data, or whole-number arithmetic on rows")
}

/// A captured value as a constant.
fn constant<'s>(b: &mut Builder, ty: &Type, slots: &mut impl Iterator<Item = &'s u64>) -> Result<Ssa, IrError> {
    match ty {
        Type::Array(item, len) => {
            let items = (0..*len).map(|_| constant(b, item, slots)).collect::<Result<Vec<_>, _>>()?;
            b.push(Op::Array(items))
        }
        Type::Struct(fields) => {
            let fields = fields.iter().map(|f| constant(b, f, slots)).collect::<Result<Vec<_>, _>>()?;
            b.push(Op::Struct(fields))
        }
        scalar => {
            let slot = slots.next().copied().unwrap_or_default();
            match scalar {
                Type::Int => b.int(slot as i64),
                Type::Bool => b.bool(slot != 0),
                _ => b.real(f64::from_bits(slot)),
            }
        }
    }
}

/// The inputs of a loss from those given: the first parameters, and `beta` after them.
struct Inputs {
    b: Builder,
    given: Vec<&'static str>,
}

impl Inputs {
    fn param(&self, index: usize) -> Option<Ssa> {
        self.b.params().get(index).copied()
    }

    /// An input by name, given or derived.
    fn get(&mut self, name: &str) -> Result<Option<Ssa>, IrError> {
        if name == "beta" {
            return Ok(self.param(self.given.len()));
        }
        if let Some(at) = self.given.iter().position(|given| *given == name) {
            return Ok(self.param(at));
        }
        match name {
            "chosen" | "rejected" => {
                let Some(ratio) = self.ratio(name)? else { return Ok(None) };
                self.scaled(ratio).map(Some)
            }
            "z" if self.given.contains(&"chosen") || self.given.contains(&"rejected") => {
                let (Some(chosen), Some(rejected)) = (self.get("chosen")?, self.get("rejected")?) else {
                    return Ok(None);
                };
                self.b.binary(Binary::Sub, chosen, rejected).map(Some)
            }
            "z" => {
                let (Some(chosen), Some(rejected)) = (self.ratio("chosen")?, self.ratio("rejected")?) else {
                    return Ok(None);
                };
                let difference = self.b.binary(Binary::Sub, chosen, rejected)?;
                self.scaled(difference).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The log-probability under the policy less that under the reference.
    fn ratio(&mut self, side: &str) -> Result<Option<Ssa>, IrError> {
        let (policy, reference) = (self.get(&format!("logp_{side}"))?, self.get(&format!("ref_{side}"))?);
        match (policy, reference) {
            (Some(policy), Some(reference)) => self.b.binary(Binary::Sub, policy, reference).map(Some),
            _ => Ok(None),
        }
    }

    fn scaled(&mut self, x: Ssa) -> Result<Ssa, IrError> {
        match self.param(self.given.len()) {
            Some(beta) => self.b.binary(Binary::Mul, beta, x),
            None => Ok(x),
        }
    }
}
