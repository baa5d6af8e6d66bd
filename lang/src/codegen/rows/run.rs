//! Walks the blocks of a row program.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::lower::{Code, Instr, Source, Sweep, Target};
use super::uniform::{Number, compute};
use super::{BLOCK, Blocks, CHUNK, Column, ColumnMut, LANES, Misfit, Storage};
use crate::ir::rows::order;
use crate::ir::{Type, Value};

mod memory;

use memory::{Float, Scratch, Tile};

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

    /// Computes all outputs for `rows` rows. An input that is [`Column::InPlace`] is read, block by block, before its
    /// output is written, so that a program may work in place; other inputs cannot alias outputs.
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

/// What a sweep reads besides its rows.
struct Context<'a, T> {
    blocks: &'a Blocks,
    inputs: &'a [Column<'a>],
    /// Uniform values, then constants.
    uniform: &'a [T],
    sorted: &'a [Vec<T>],
}

/// What a chunk yields besides its outputs.
struct Yield<T> {
    sums: Vec<f64>,
    kept: Vec<Vec<T>>,
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
        let mut sorted: Vec<Vec<T>> = vec![Vec::new(); self.code.sorted];
        for (stage, sweep) in self.code.sweeps.iter().enumerate() {
            self.uniform(stage as u32..stage as u32 + 1, rows, &mut numbers);
            if sweep.code.is_empty() {
                continue;
            }
            let known = numbers.iter().map(|n| n.real()).chain(self.code.constants.iter().copied());
            let uniform: Vec<T> = known.map(T::from_f64).collect();
            let context = Context { blocks, inputs, uniform: &uniform, sorted: &sorted };
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
        let mut total = Yield { sums: vec![0.0; sweep.sums.len()], kept: vec![Vec::new(); sweep.kept] };
        if rows <= CHUNK {
            let mut scratch = self.scratch();
            total = self.chunk(sweep, context, 0..rows, &mut rest, &mut scratch);
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
            task.result = Some(self.chunk(sweep, context, task.rows.clone(), &mut task.outputs, &mut scratch));
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

    fn chunk(
        &self,
        sweep: &Sweep<T>,
        context: &Context<'_, T>,
        rows: Range<usize>,
        outputs: &mut [ColumnMut<'_>],
        scratch: &mut Scratch<T>,
    ) -> Yield<T> {
        let mut result = Yield { sums: vec![0.0; sweep.sums.len()], kept: vec![Vec::new(); sweep.kept] };
        let first = rows.start;
        for start in rows.clone().step_by(BLOCK) {
            let len = BLOCK.min(rows.end - start);
            let place = Place { start, offset: start - first, len, padded: len.next_multiple_of(LANES) };
            let mut block = Block { context, place, outputs, scratch, table: &self.code.table };
            block.begin();
            for instr in &sweep.code {
                block.step(instr, &mut result);
            }
            block.end();
        }
        result
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

/// Where a block lies.
#[derive(Clone, Copy)]
struct Place {
    /// Its first row in the inputs.
    start: usize,
    /// Its first row in the chunk's part of the outputs.
    offset: usize,
    len: usize,
    padded: usize,
}

/// A block at work.
struct Block<'b, 'o, T> {
    context: &'b Context<'b, T>,
    place: Place,
    outputs: &'b mut [ColumnMut<'o>],
    scratch: &'b mut Scratch<T>,
    table: &'b super::Table<T>,
}

impl<T: Float> Block<'_, '_, T> {
    fn whole(&self) -> bool {
        self.place.len == self.place.padded
    }

    /// Copies the inputs that cannot be read where they are: those in place, and in the last, shorter block, those
    /// that are computed with as they are stored.
    fn begin(&mut self) {
        let Place { start, offset, len, .. } = self.place;
        for (i, input) in self.context.inputs.iter().enumerate() {
            let Some(tile) = self.scratch.inputs.get_mut(i) else { continue };
            match input {
                Column::InPlace(output) => {
                    if let Some(output) = self.outputs.get(*output) {
                        T::load(self.context.blocks, memory::view(output), offset, tile.get_mut(len));
                    }
                }
                other if len % LANES != 0 && T::native(other).is_some() => {
                    T::load(self.context.blocks, *other, start, tile.get_mut(len));
                }
                _ => {}
            }
        }
    }

    /// Writes what the last, shorter block holds back.
    fn end(&mut self) {
        if self.whole() {
            return;
        }
        let Place { offset, len, .. } = self.place;
        for (output, tile) in self.outputs.iter_mut().zip(&mut self.scratch.outputs) {
            if tile.written {
                if let Some(out) = T::native_mut(output).and_then(|out| out.get_mut(offset..offset + len)) {
                    out.copy_from_slice(tile.get(len));
                }
                tile.written = false;
            }
        }
    }

    fn in_place(&self, input: usize) -> bool {
        matches!(self.context.inputs.get(input), Some(Column::InPlace(_)))
    }

    fn source(&self, source: Source) -> &[T] {
        let Place { start, offset, padded, .. } = self.place;
        let found = match source {
            Source::Tile(i) => self.scratch.tiles.get(i).map(|t| t.get(padded)),
            Source::Uniform(i) => self.context.uniform.get(i..i + 1),
            Source::Sorted(i) => self.context.sorted.get(i).and_then(|c| c.get(start..start + padded)),
            Source::Input(i) if !self.whole() || self.in_place(i) => self.scratch.inputs.get(i).map(|t| t.get(padded)),
            Source::Input(i) => {
                self.context.inputs.get(i).and_then(|c| T::native(c)).and_then(|c| c.get(start..start + padded))
            }
            Source::Output(i) if !self.whole() => self.scratch.outputs.get(i).map(|t| t.get(padded)),
            Source::Output(i) => {
                self.outputs.get(i).and_then(|o| T::native_ref(o)).and_then(|o| o.get(offset..offset + padded))
            }
        };
        found.unwrap_or(&[])
    }

    /// Computes into a target; `f` sees all else.
    fn write(&mut self, target: Target, f: impl FnOnce(&mut Self, &mut [T])) {
        let Place { offset, padded, .. } = self.place;
        match target {
            Target::Output(i) if self.whole() => {
                let Some(mut taken) = self.outputs.get_mut(i).map(|o| std::mem::replace(o, T::nothing())) else {
                    return;
                };
                if let Some(out) = T::native_mut(&mut taken).and_then(|out| out.get_mut(offset..offset + padded)) {
                    f(self, out);
                }
                if let Some(output) = self.outputs.get_mut(i) {
                    *output = taken;
                }
            }
            Target::Output(i) => {
                let mut tile = self.scratch.outputs.get_mut(i).map(std::mem::take).unwrap_or_default();
                tile.written = true;
                f(self, tile.get_mut(padded));
                if let Some(slot) = self.scratch.outputs.get_mut(i) {
                    *slot = tile;
                }
            }
            Target::Tile(i) => {
                let mut tile = self.scratch.tiles.get_mut(i).map(std::mem::take).unwrap_or_default();
                f(self, tile.get_mut(padded));
                if let Some(slot) = self.scratch.tiles.get_mut(i) {
                    *slot = tile;
                }
            }
        }
    }

    fn step(&mut self, instr: &Instr<T>, result: &mut Yield<T>) {
        let Place { start, len, .. } = self.place;
        match *instr {
            Instr::Load(input, tile) => self.write(Target::Tile(tile), |b, out| {
                let Some(out) = out.get_mut(..len) else { return };
                match b.context.inputs.get(input) {
                    Some(Column::InPlace(_)) => {
                        b.scratch.inputs.get(input).into_iter().for_each(|t| out.copy_from_slice(t.get(len)));
                    }
                    Some(column) => T::load(b.context.blocks, *column, start, out),
                    None => {}
                }
            }),
            Instr::One(f, x, to) => self.write(to, |b, out| f(b.source(x), out)),
            Instr::Two(f, x, y, to) => self.write(to, |b, out| f(b.source(x), b.source(y), out)),
            Instr::Three(f, x, y, z, to) => self.write(to, |b, out| f(b.source(x), b.source(y), b.source(z), out)),
            Instr::Twin(x, first, second) => self.write(first, |b, one| {
                b.write(second, |b, two| (b.table.softplus_and_sigmoid)(b.source(x), one, two));
            }),
            Instr::Sum(i, x) => {
                let sum = self.source(x).get(..len).map_or(f64::NAN, self.table.sum);
                result.sums.get_mut(i).into_iter().for_each(|total| *total += sum);
            }
            Instr::Keep(i, x) => {
                let rows = self.source(x).get(..len).unwrap_or(&[]);
                result.kept.get_mut(i).into_iter().for_each(|kept| kept.extend_from_slice(rows));
            }
            Instr::Store(output, x) => self.store(output, |b| b.source(x)),
            Instr::Copy(input, output) => self.copy(input, output),
        }
    }

    fn store(&mut self, output: usize, x: impl for<'t> Fn(&'t Self) -> &'t [T]) {
        let Place { offset, len, .. } = self.place;
        let Some(mut taken) = self.outputs.get_mut(output).map(|o| std::mem::replace(o, T::nothing())) else { return };
        if let Some(x) = x(self).get(..len) {
            T::store(self.context.blocks, x, &mut taken, offset);
        }
        if let Some(output) = self.outputs.get_mut(output) {
            *output = taken;
        }
    }

    /// Copies an input to an output: the bits, if both are stored alike.
    fn copy(&mut self, input: usize, output: usize) {
        let Place { start, offset, len, .. } = self.place;
        let Some(column) = self.context.inputs.get(input) else { return };
        if let Column::InPlace(_) = column {
            return self.store(output, |b| b.scratch.inputs.get(input).map_or(&[], |t| t.get(len)));
        }
        if self.outputs.get_mut(output).is_some_and(|out| memory::copy(column, start, out, offset, len)) {
            return;
        }
        let mut tile = self.scratch.spare.pop().unwrap_or_default();
        T::load(self.context.blocks, *column, start, tile.get_mut(len));
        self.store_tile(output, &tile);
        self.scratch.spare.push(tile);
    }

    fn store_tile(&mut self, output: usize, tile: &Tile<T>) {
        let Place { offset, len, .. } = self.place;
        if let Some(output) = self.outputs.get_mut(output) {
            T::store(self.context.blocks, tile.get(len), output, offset);
        }
    }
}
