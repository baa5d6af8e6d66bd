//! Walks the blocks of a row program.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::lower::{Code, Sweep};
use super::uniform::{Number, compute};
use super::{Blocks, CHUNK, Column, ColumnMut, LANES, Misfit, Storage};
use crate::ir::rows::order;
use crate::ir::{Type, Value};

mod ahead;
mod memory;
mod walk;

use memory::{Float, Scratch};
use walk::{Context, Yield, chunk};

/// Rows from which on several threads take part: below, waking them costs more than they save.
const WORTH_SHARING: usize = 2 * CHUNK;

/// Compiled row code. Runs may be made from many threads at once.
pub struct RowProgram {
    engine: Engine,
    blocks: Blocks,
}

enum Engine {
    Single(Program<f32>),
    Double(Program<f64>),
}

struct Program<T> {
    code: Code<T>,
    /// Memory of earlier runs.
    scratch: Mutex<Vec<Scratch<T>>>,
}

impl RowProgram {
    pub(super) fn single(code: Code<f32>, blocks: &Blocks) -> RowProgram {
        let engine = Engine::Single(Program { code, scratch: Mutex::default() });
        RowProgram { engine, blocks: *blocks }
    }

    pub(super) fn double(code: Code<f64>, blocks: &Blocks) -> RowProgram {
        let engine = Engine::Double(Program { code, scratch: Mutex::default() });
        RowProgram { engine, blocks: *blocks }
    }

    /// Which outputs are one number for the batch.
    pub fn numbers(&self) -> Vec<bool> {
        match &self.engine {
            Engine::Single(program) => program.code.outputs.iter().map(Result::is_err).collect(),
            Engine::Double(program) => program.code.outputs.iter().map(Result::is_err).collect(),
        }
    }

    /// Computes all outputs for `rows` rows. An input that is [`Column::InPlace`] is copied before its output is written;
    /// other inputs cannot alias outputs.
    ///
    /// # Errors
    /// Columns of other lengths or storage than the program was compiled for; nothing is written then.
    pub fn run(&self, rows: usize, inputs: &[Column<'_>], outputs: &mut [ColumnMut<'_>]) -> Result<(), Misfit> {
        match &self.engine {
            Engine::Single(program) => program.run(&self.blocks, rows, inputs, outputs),
            Engine::Double(program) => program.run(&self.blocks, rows, inputs, outputs),
        }
    }
}

impl std::fmt::Debug for RowProgram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (precision, sweeps, tiles) = match &self.engine {
            Engine::Single(p) => ("f32", &p.code.sweeps.iter().map(|s| s.code.len()).collect::<Vec<_>>(), p.code.tiles),
            Engine::Double(p) => ("f64", &p.code.sweeps.iter().map(|s| s.code.len()).collect::<Vec<_>>(), p.code.tiles),
        };
        write!(f, "RowProgram({precision}, operations a sweep {sweeps:?}, {tiles} tiles)")
    }
}

/// A chunk's rows, the part of the outputs that it writes, and what came of it.
struct Task<'o, T> {
    rows: Range<usize>,
    outputs: Vec<ColumnMut<'o>>,
    result: Option<Yield<T>>,
}

impl<T: Float> Program<T> {
    fn run(
        &self,
        blocks: &Blocks,
        rows: usize,
        inputs: &[Column<'_>],
        outputs: &mut [ColumnMut<'_>],
    ) -> Result<(), Misfit> {
        self.check(rows, inputs, outputs)?;
        let mut numbers = vec![Number::Real(0.0); self.code.values];
        for (input, value, ty) in &self.code.params {
            if let (Some(Column::Number(x)), Some(slot)) = (inputs.get(*input), numbers.get_mut(value.0 as usize)) {
                *slot = match ty {
                    Type::Int => Number::Int(*x as i64),
                    Type::Bool => Number::Bool(*x != 0.0),
                    _ => Number::Real(*x),
                };
            }
        }
        let held = memory::hold(inputs, outputs);
        let inputs: Vec<Column<'_>> = inputs
            .iter()
            .enumerate()
            .map(|(i, input)| held.get(i).and_then(Option::as_ref).map_or(*input, memory::Held::column))
            .collect();
        let mut sorted: Vec<Vec<T>> = vec![Vec::new(); self.code.sorted];
        for (stage, sweep) in self.code.sweeps.iter().enumerate() {
            self.uniform(stage as u32..stage as u32 + 1, rows, &mut numbers);
            if sweep.code.is_empty() {
                continue;
            }
            let known = numbers.iter().map(|n| n.real()).chain(self.code.constants.iter().copied());
            let uniform: Vec<T> = known.map(T::from_f64).collect();
            let context =
                Context { blocks, table: &self.code.table, inputs: &inputs, uniform: &uniform, sorted: &sorted };
            let found = self.sweep(sweep, &context, rows, outputs);
            for (value, sum) in sweep.sums.iter().zip(found.sums) {
                if let Some(slot) = numbers.get_mut(value.0 as usize) {
                    *slot = Number::Real(sum);
                }
            }
            for sorting in &sweep.sorts {
                let kept = |i: usize| found.kept.get(i).map_or(&[][..], Vec::as_slice);
                let column = arrange(kept(sorting.key), kept(sorting.value), sorting.back);
                if let Some(slot) = sorted.get_mut(sorting.into) {
                    *slot = column;
                }
            }
        }
        self.uniform(self.code.sweeps.len() as u32..u32::MAX, rows, &mut numbers);
        for (output, made) in outputs.iter_mut().zip(&self.code.outputs) {
            if let (ColumnMut::Number(out), Err(value)) = (output, made) {
                **out = numbers.get(value.0 as usize).map_or(f64::NAN, |n| n.real());
            }
        }
        Ok(())
    }

    /// Computes the uniform values of some stages.
    fn uniform(&self, stages: Range<u32>, rows: usize, numbers: &mut [Number]) {
        for step in self.code.uniform.iter().filter(|step| stages.contains(&step.stage)) {
            let at = |v: Value| numbers.get(v.0 as usize).copied().unwrap_or(Number::Real(f64::NAN));
            let made = compute(&step.op, rows, at, || at(step.value).real());
            if let (Some(slot), Some(made)) = (numbers.get_mut(step.value.0 as usize), made) {
                *slot = made;
            }
        }
    }

    fn check(&self, rows: usize, inputs: &[Column<'_>], outputs: &[ColumnMut<'_>]) -> Result<(), Misfit> {
        let misfit = |what: String| Err(Misfit(what));
        if inputs.len() != self.code.inputs.len() || outputs.len() != self.code.outputs.len() {
            return misfit(format!("{} inputs and {} outputs", inputs.len(), outputs.len()));
        }
        let fits = |wanted: &Option<Storage>, found: Option<(Storage, usize)>| match (wanted, found) {
            (Some(storage), Some((found, len))) => *storage == found && len == rows,
            (wanted, found) => wanted.is_none() && found.is_none(),
        };
        for (i, (input, wanted)) in inputs.iter().zip(&self.code.inputs).enumerate() {
            let shape = match input {
                Column::InPlace(output) => outputs.get(*output).and_then(memory::shape_mut),
                other => memory::shape(other),
            };
            if !fits(wanted, shape) {
                return misfit(format!("input {i} is {shape:?}, not {wanted:?} of {rows} rows"));
            }
        }
        for (i, (output, wanted)) in outputs.iter().zip(&self.code.outputs).enumerate() {
            let shape = memory::shape_mut(output);
            if !fits(&wanted.as_ref().ok().copied(), shape) {
                return misfit(format!("output {i} is {shape:?}, not {wanted:?} of {rows} rows"));
            }
        }
        Ok(())
    }

    /// One pass over all rows, chunk by chunk.
    fn sweep(
        &self,
        sweep: &Sweep<T>,
        context: &Context<'_, T>,
        rows: usize,
        outputs: &mut [ColumnMut<'_>],
    ) -> Yield<T> {
        let mut rest: Vec<ColumnMut<'_>> = outputs.iter_mut().map(memory::reborrow).collect();
        let mut total = Yield::nothing(sweep);
        if rows <= CHUNK {
            let mut scratch = self.scratch();
            total = chunk(sweep, context, 0..rows, &mut rest, &mut scratch);
            self.give_back(scratch);
            return total;
        }
        let mut tasks: Vec<Mutex<Task<'_, T>>> = Vec::new();
        for start in (0..rows).step_by(CHUNK) {
            let rows = start..rows.min(start + CHUNK);
            let (mut own, mut after) = (Vec::new(), Vec::new());
            for output in rest {
                let (piece, others) = memory::split(output, rows.len());
                own.push(piece);
                after.push(others);
            }
            rest = after;
            tasks.push(Mutex::new(Task { rows, outputs: own, result: None }));
        }
        let one = |i: usize| {
            let Some(task) = tasks.get(i) else { return };
            let mut task = task.lock().unwrap_or_else(PoisonError::into_inner);
            let task = &mut *task;
            let mut scratch = self.scratch();
            task.result = Some(chunk(sweep, context, task.rows.clone(), &mut task.outputs, &mut scratch));
            self.give_back(scratch);
        };
        if rows < WORTH_SHARING {
            (0..tasks.len()).for_each(one);
        } else {
            (context.blocks.share)(tasks.len(), &one);
        }
        for task in tasks {
            let task = task.into_inner().unwrap_or_else(PoisonError::into_inner);
            let Some(part) = task.result else { continue };
            total.sums.iter_mut().zip(part.sums).for_each(|(total, part)| *total += part);
            total.kept.iter_mut().zip(part.kept).for_each(|(total, part)| total.extend(part));
        }
        total
    }

    fn scratch(&self) -> Scratch<T> {
        let kept = self.scratch.lock().unwrap_or_else(PoisonError::into_inner).pop();
        kept.unwrap_or_else(|| Scratch::new(self.code.tiles, self.code.inputs.len(), self.code.outputs.len()))
    }

    fn give_back(&self, scratch: Scratch<T>) {
        self.scratch.lock().unwrap_or_else(PoisonError::into_inner).push(scratch);
    }
}

/// Puts a column in the order of its keys, or back from there; padded so that whole blocks can be read.
fn arrange<T: Float>(keys: &[T], values: &[T], back: bool) -> Vec<T> {
    let keys: Vec<f64> = keys.iter().map(|k| k.to_f64()).collect();
    let mut column = vec![T::default(); values.len() + LANES];
    for (place, row) in order(&keys).into_iter().enumerate() {
        let (from, to) = if back { (place, row) } else { (row, place) };
        if let (Some(value), Some(slot)) = (values.get(from), column.get_mut(to)) {
            *slot = *value;
        }
    }
    column
}
