//! A loss over pairs as training asks it: values and slopes by both answers' log-probabilities, compiled once.

use evo_lang::codegen::CompileError;
use evo_lang::codegen::rows::{Column, ColumnMut, Precision, RowProgram, Storage, compile};
use evo_lang::ir::differentiate::row_gradient;
use evo_lang::ir::rows::RowFunction;
use evo_lang::ir::straight::NotStraight;
use evo_lang::ir::{Batch as OverRows, Op};

use super::Loss;
use super::batch::{Batch, not_rows};
use crate::cx::Failure;
use crate::numeric::blocks;

/// The columns that training has.
const COLUMNS: [&str; 6] = ["logp_chosen", "logp_rejected", "ref_chosen", "ref_rejected", "len_chosen", "len_rejected"];

/// A loss that is ready to be trained with.
#[derive(Debug)]
pub struct PairLoss {
    program: RowProgram,
    /// Values a row.
    width: usize,
    couples: bool,
    beta: f64,
}

/// Why row code cannot be trained with.
#[derive(Debug)]
pub(crate) enum Wrong {
    Slopes(NotStraight),
    Code(CompileError),
}

/// What a loss says of a batch.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PairSlopes {
    /// The sum of the rows' losses; a row with two values counts as their mean.
    pub loss: f64,
    /// The slope of the sum by each row's log-probability of the chosen answer, and of the rejected one.
    pub slopes: Vec<[f64; 2]>,
}

impl PairLoss {
    /// Compiles the loss.
    ///
    /// # Errors
    /// A `beta` that is not above 0; a formula that has no slopes.
    pub fn new(loss: &Loss, beta: f64) -> Result<PairLoss, Failure> {
        let row = Batch::of_columns(&COLUMNS, beta)?.row_code(loss)?;
        Self::of_rows(&row, beta).map_err(|e| match e {
            Wrong::Slopes(e) => not_rows(loss, &e),
            Wrong::Code(e) => Failure::new("R0503", e.to_string()),
        })
    }

    /// Compiles row code of the columns that training has, and `beta`.
    pub(crate) fn of_rows(row: &RowFunction, beta: f64) -> Result<PairLoss, Wrong> {
        let over_rows = |op: &Op| matches!(op, Op::Batch(batch) if !matches!(batch, OverRows::Detach(_)));
        let couples = row.function.body.steps.iter().any(|step| over_rows(&step.op));
        let width = row.columns().len();
        let both = row_gradient(row, &[0, 1]).map_err(Wrong::Slopes)?;
        let wanted = vec![Storage::F64; both.columns().len()];
        let program = compile(&both, Precision::Double, &[Storage::F64; COLUMNS.len() + 1], &wanted, &blocks())
            .map_err(Wrong::Code)?;
        Ok(PairLoss { program, width, couples, beta })
    }

    /// Whether a row's loss depends on other rows.
    pub fn couples(&self) -> bool {
        self.couples
    }

    /// Values and slopes of a batch, given by columns: each answer's log-probability under the policy and under the reference,
    /// and its number of tokens.
    ///
    /// # Errors
    /// Columns of different lengths.
    pub fn slopes(
        &self,
        policy: &[[f64; 2]],
        reference: &[[f64; 2]],
        lengths: &[[f64; 2]],
    ) -> Result<PairSlopes, Failure> {
        let rows = policy.len();
        let column = |pairs: &[[f64; 2]], side: usize| pairs.iter().map(|pair| pair[side]).collect::<Vec<f64>>();
        let given: Vec<Vec<f64>> =
            [policy, reference, lengths].into_iter().flat_map(|pairs| [column(pairs, 0), column(pairs, 1)]).collect();
        let mut inputs: Vec<Column<'_>> = given.iter().map(|column| Column::F64(column)).collect();
        inputs.push(Column::Number(self.beta));
        let numbers = self.program.numbers();
        let mut columns = vec![vec![0.0; rows]; numbers.len()];
        let mut single = vec![0.0; numbers.len()];
        let places = columns.iter_mut().zip(&mut single).zip(&numbers);
        let mut outputs: Vec<ColumnMut<'_>> = places
            .map(|((column, one), number)| if *number { ColumnMut::Number(one) } else { ColumnMut::F64(column) })
            .collect();
        self.program.run(rows, &inputs, &mut outputs).map_err(|e| Failure::new("R0503", e.to_string()))?;
        for ((column, one), _) in columns.iter_mut().zip(&single).zip(&numbers).filter(|(_, number)| **number) {
            column.fill(*one);
        }
        let (values, by) = columns.split_at(self.width.min(columns.len()));
        let width = self.width.max(1) as f64;
        let loss = values.iter().flatten().sum::<f64>() / width;
        let side = |side: usize, row: usize| by.get(side).and_then(|c| c.get(row)).copied().unwrap_or(0.0) / width;
        Ok(PairSlopes { loss, slopes: (0..rows).map(|row| [side(0, row), side(1, row)]).collect() })
    }
}
