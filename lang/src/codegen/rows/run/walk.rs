//! One chunk at work: block by block, operation by operation.

use std::mem::take;
use std::ops::Range;

use super::super::lower::{Instr, Source, Sweep, Target};
use super::super::{BLOCK, Blocks, Column, ColumnMut, LANES, Table};
use super::ahead::Ahead;
use super::memory::{self, Float, Scratch};

/// What a sweep reads besides its rows.
pub(super) struct Context<'a, T> {
    pub(super) blocks: &'a Blocks,
    pub(super) table: &'a Table<T>,
    pub(super) inputs: &'a [Column<'a>],
    /// Uniform values, then constants.
    pub(super) uniform: &'a [T],
    pub(super) sorted: &'a [Vec<T>],
}

/// What a chunk yields besides its outputs.
pub(super) struct Yield<T> {
    pub(super) sums: Vec<f64>,
    pub(super) kept: Vec<Vec<T>>,
}

impl<T: Float> Yield<T> {
    pub(super) fn nothing(sweep: &Sweep<T>) -> Yield<T> {
        Yield { sums: vec![0.0; sweep.sums.len()], kept: vec![Vec::new(); sweep.kept] }
    }
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

impl Place {
    /// Whether the block has as many rows as its operations compute.
    fn whole(self) -> bool {
        self.len == self.padded
    }
}

/// A chunk at work on a block.
struct Walker<'w, T> {
    context: &'w Context<'w, T>,
    place: Place,
    /// Room for a block each: values, copies of inputs that cannot be read where they are, outputs that cannot be
    /// written there, and one to spare.
    tiles: Vec<&'w mut [T]>,
    first_input: usize,
    first_output: usize,
    /// The inputs that are stored as they are computed with; the others are empty.
    inputs: Vec<&'w [T]>,
    /// The chunk's part of the outputs that are stored so; the others are empty, and in `columns`.
    outputs: Vec<&'w mut [T]>,
    columns: Vec<ColumnMut<'w>>,
}

/// Makes one pass over the rows of a chunk; `outputs` are its part of the output columns.
pub(super) fn chunk<T: Float>(
    sweep: &Sweep<T>,
    context: &Context<'_, T>,
    rows: Range<usize>,
    outputs: &mut [ColumnMut<'_>],
    scratch: &mut Scratch<T>,
) -> Yield<T> {
    let mut result = Yield::nothing(sweep);
    let mut columns: Vec<ColumnMut<'_>> = outputs.iter_mut().map(memory::reborrow).collect();
    let place = Place { start: rows.start, offset: 0, len: 0, padded: 0 };
    let (first_input, first_output) = (scratch.values, scratch.values + context.inputs.len());
    let mut walker = Walker {
        context,
        place,
        tiles: scratch.tiles(),
        first_input,
        first_output,
        inputs: context.inputs.iter().map(|c| T::native(c).unwrap_or(&[])).collect(),
        outputs: columns.iter_mut().map(T::take_native).collect(),
        columns,
    };
    let mut ahead = Ahead::new();
    for start in rows.clone().step_by(BLOCK) {
        let len = BLOCK.min(rows.end - start);
        walker.place = Place { start, offset: start - rows.start, len, padded: len.next_multiple_of(LANES) };
        ahead.clear();
        if start + BLOCK < rows.end {
            walker.look_ahead(sweep, &mut ahead);
        }
        walker.begin(sweep);
        for instr in &sweep.code {
            ahead.ask(context.blocks);
            walker.step(instr, &mut result);
        }
        walker.end(sweep);
    }
    result
}

impl<'w, T: Float> Walker<'w, T> {
    /// Finds the memory of the next block.
    fn look_ahead(&self, sweep: &Sweep<T>, ahead: &mut Ahead) {
        let Place { start, offset, .. } = self.place;
        for column in sweep.reads.iter().filter_map(|i| self.context.inputs.get(*i)) {
            match column {
                Column::F32(x) => ahead.add(x, start + BLOCK, false),
                Column::F64(x) => ahead.add(x, start + BLOCK, false),
                Column::Bf16(x) | Column::F16(x) => ahead.add(x, start + BLOCK, false),
                Column::Number(_) | Column::InPlace(_) => {}
            }
        }
        for i in &sweep.writes {
            if let Some(x) = self.outputs.get(*i) {
                ahead.add(x, offset + BLOCK, true);
            }
            match self.columns.get(*i) {
                Some(ColumnMut::F32(x)) => ahead.add(x, offset + BLOCK, true),
                Some(ColumnMut::F64(x)) => ahead.add(x, offset + BLOCK, true),
                Some(ColumnMut::Bf16(x) | ColumnMut::F16(x)) => ahead.add(x, offset + BLOCK, true),
                Some(ColumnMut::Number(_)) | None => {}
            }
        }
        ahead.spread(sweep.code.len());
    }

    /// Copies the inputs of the last, shorter block, so that its operations can read as many rows as they compute.
    fn begin(&mut self, sweep: &Sweep<T>) {
        let Place { start, len, .. } = self.place;
        if self.place.whole() {
            return;
        }
        for i in &sweep.reads {
            let rows = self.inputs.get(*i).and_then(|x| x.get(start..start + len));
            let tile = self.tiles.get_mut(self.first_input + i).and_then(|t| t.get_mut(..len));
            if let (Some(rows), Some(tile)) = (rows, tile) {
                tile.copy_from_slice(rows);
            }
        }
    }

    /// Writes what the last, shorter block holds back.
    fn end(&mut self, sweep: &Sweep<T>) {
        let Place { offset, len, .. } = self.place;
        if self.place.whole() {
            return;
        }
        for i in &sweep.writes {
            let out = self.outputs.get_mut(*i).and_then(|out| out.get_mut(offset..offset + len));
            let tile = self.tiles.get(self.first_output + i).and_then(|t| t.get(..len));
            if let (Some(out), Some(tile)) = (out, tile) {
                out.copy_from_slice(tile);
            }
        }
    }

    #[inline]
    fn tile(&self, i: usize) -> &[T] {
        self.tiles.get(i).and_then(|t| t.get(..self.place.padded)).unwrap_or(&[])
    }

    #[inline]
    fn source(&self, source: Source) -> &[T] {
        let Place { start, offset, padded, .. } = self.place;
        let found = match source {
            Source::Tile(i) => return self.tile(i),
            Source::Uniform(i) => self.context.uniform.get(i..i + 1),
            Source::Sorted(i) => self.context.sorted.get(i).and_then(|c| c.get(start..start + padded)),
            Source::Input(i) if !self.place.whole() => return self.tile(self.first_input + i),
            Source::Input(i) => self.inputs.get(i).and_then(|c| c.get(start..start + padded)),
            Source::Output(i) if !self.place.whole() => return self.tile(self.first_output + i),
            Source::Output(i) => self.outputs.get(i).and_then(|o| o.get(offset..offset + padded)),
        };
        found.unwrap_or(&[])
    }

    /// Computes into a target, which is away meanwhile; `f` sees all else.
    #[inline]
    fn write(&mut self, target: Target, f: impl FnOnce(&mut Self, &mut [T])) {
        let Place { offset, padded, .. } = self.place;
        let (away, i, rows) = match target {
            Target::Output(i) if self.place.whole() => (true, i, offset..offset + padded),
            Target::Output(i) => (false, self.first_output + i, 0..padded),
            Target::Tile(i) => (false, i, 0..padded),
        };
        let slots = |w: &mut Self| if away { w.outputs.get_mut(i).map(take) } else { w.tiles.get_mut(i).map(take) };
        let Some(slot) = slots(self) else { return };
        if let Some(out) = slot.get_mut(rows) {
            f(self, out);
        }
        let back = if away { self.outputs.get_mut(i) } else { self.tiles.get_mut(i) };
        if let Some(back) = back {
            *back = slot;
        }
    }

    fn step(&mut self, instr: &Instr<T>, result: &mut Yield<T>) {
        let Place { start, len, .. } = self.place;
        match *instr {
            Instr::Load(input, tile) => self.write(Target::Tile(tile), |w, out| {
                if let (Some(column), Some(out)) = (w.context.inputs.get(input), out.get_mut(..len)) {
                    T::load(w.context.blocks, *column, start, out);
                }
            }),
            Instr::One(f, x, to) => self.write(to, |w, out| f(w.source(x), out)),
            Instr::Two(f, x, y, to) => self.write(to, |w, out| f(w.source(x), w.source(y), out)),
            Instr::Three(f, x, y, z, to) => self.write(to, |w, out| f(w.source(x), w.source(y), w.source(z), out)),
            Instr::Twin(x, first, second) => self.write(first, |w, one| {
                w.write(second, |w, two| (w.context.table.softplus_and_sigmoid)(w.source(x), one, two));
            }),
            Instr::Sum(i, x) => {
                let sum = self.source(x).get(..len).map_or(f64::NAN, self.context.table.sum);
                result.sums.get_mut(i).into_iter().for_each(|total| *total += sum);
            }
            Instr::Keep(i, x) => {
                let rows = self.source(x).get(..len).unwrap_or(&[]);
                result.kept.get_mut(i).into_iter().for_each(|kept| kept.extend_from_slice(rows));
            }
            Instr::Store(output, x) => self.store(output, x),
            Instr::Copy(input, output) => self.copy(input, output),
        }
    }

    fn is_native(&self, output: usize) -> bool {
        self.outputs.get(output).is_some_and(|out| !out.is_empty())
    }

    fn store(&mut self, output: usize, x: Source) {
        let Place { offset, len, .. } = self.place;
        if self.is_native(output) {
            return self.write(Target::Output(output), |w, out| out.copy_from_slice(w.source(x)));
        }
        let Some(mut column) = self.columns.get_mut(output).map(T::take) else { return };
        if let Some(x) = self.source(x).get(..len) {
            T::store(self.context.blocks, x, &mut column, offset);
        }
        if let Some(slot) = self.columns.get_mut(output) {
            *slot = column;
        }
    }

    /// Copies an input to an output: the bits, if both are stored alike.
    fn copy(&mut self, input: usize, output: usize) {
        let Place { start, offset, len, .. } = self.place;
        let Some(column) = self.context.inputs.get(input) else { return };
        if T::native(column).is_some() {
            return self.store(output, Source::Input(input));
        }
        let same = |to: &mut ColumnMut<'_>| memory::copy(column, start, to, offset, len);
        if !self.is_native(output) && self.columns.get_mut(output).is_some_and(same) {
            return;
        }
        let spare = self.tiles.len().saturating_sub(1);
        self.step(&Instr::Load(input, spare), &mut Yield { sums: Vec::new(), kept: Vec::new() });
        self.store(output, Source::Tile(spare));
    }
}
