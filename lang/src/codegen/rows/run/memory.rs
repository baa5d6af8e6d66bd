//! The memory of a run: columns in their storage types, and tiles.

use super::super::lower::Native;
use super::super::{BLOCK, Blocks, Column, ColumnMut, Storage};

/// A float type that rows are computed in.
pub(super) trait Float: Native + Copy + Default + Send + Sync + 'static {
    fn from_f64(x: f64) -> Self;
    fn to_f64(self) -> f64;
    /// A column that is stored as it is computed with.
    fn native<'a>(column: &Column<'a>) -> Option<&'a [Self]>;
    /// An output column that is stored as it is computed with, from where it is; else nothing.
    fn take_native<'a>(column: &mut ColumnMut<'a>) -> &'a mut [Self];
    /// An output column from where it is.
    fn take<'a>(column: &mut ColumnMut<'a>) -> ColumnMut<'a>;
    /// Widens rows of a column, from `start` on.
    fn load(blocks: &Blocks, column: Column<'_>, start: usize, out: &mut [Self]);
    /// Narrows rows into a column, from `start` on.
    fn store(blocks: &Blocks, x: &[Self], column: &mut ColumnMut<'_>, start: usize);
}

macro_rules! float {
    ($float:ident, $variant:ident) => {
        fn to_f64(self) -> f64 {
            f64::from(self)
        }

        fn native<'a>(column: &Column<'a>) -> Option<&'a [Self]> {
            if let Column::$variant(x) = column { Some(x) } else { None }
        }

        fn take_native<'a>(column: &mut ColumnMut<'a>) -> &'a mut [Self] {
            if let ColumnMut::$variant(x) = column { std::mem::take(x) } else { &mut [] }
        }

        fn take<'a>(column: &mut ColumnMut<'a>) -> ColumnMut<'a> {
            std::mem::replace(column, ColumnMut::$variant(&mut []))
        }
    };
}

impl Float for f32 {
    float!(f32, F32);

    fn from_f64(x: f64) -> f32 {
        x as f32
    }

    fn load(blocks: &Blocks, column: Column<'_>, start: usize, out: &mut [f32]) {
        match column {
            Column::F32(x) => rows(x, start, out, |x, out| out.copy_from_slice(x)),
            Column::F64(x) => rows(x, start, out, |x, out| out.iter_mut().zip(x).for_each(|(y, x)| *y = *x as f32)),
            Column::Bf16(x) => rows(x, start, out, blocks.load_bf16),
            Column::F16(x) => rows(x, start, out, blocks.load_f16),
            Column::Number(_) | Column::InPlace(_) => {}
        }
    }

    fn store(blocks: &Blocks, x: &[f32], column: &mut ColumnMut<'_>, start: usize) {
        match column {
            ColumnMut::F32(out) => rows_mut(x, out, start, |x, out| out.copy_from_slice(x)),
            ColumnMut::F64(out) => {
                rows_mut(x, out, start, |x, out| out.iter_mut().zip(x).for_each(|(y, x)| *y = f64::from(*x)));
            }
            ColumnMut::Bf16(out) => rows_mut(x, out, start, blocks.store_bf16),
            ColumnMut::F16(out) => rows_mut(x, out, start, blocks.store_f16),
            ColumnMut::Number(_) => {}
        }
    }
}

impl Float for f64 {
    float!(f64, F64);

    fn from_f64(x: f64) -> f64 {
        x
    }

    fn load(blocks: &Blocks, column: Column<'_>, start: usize, out: &mut [f64]) {
        if let Column::F64(x) = column {
            return rows(x, start, out, |x, out| out.copy_from_slice(x));
        }
        let mut single = [0f32; BLOCK];
        let Some(single) = single.get_mut(..out.len()) else { return };
        f32::load(blocks, column, start, single);
        out.iter_mut().zip(single).for_each(|(y, x)| *y = f64::from(*x));
    }

    fn store(blocks: &Blocks, x: &[f64], column: &mut ColumnMut<'_>, start: usize) {
        if let ColumnMut::F64(out) = column {
            return rows_mut(x, out, start, |x, out| out.copy_from_slice(x));
        }
        let mut single = [0f32; BLOCK];
        let Some(single) = single.get_mut(..x.len()) else { return };
        single.iter_mut().zip(x).for_each(|(y, x)| *y = *x as f32);
        f32::store(blocks, single, column, start);
    }
}

fn rows<S, T>(x: &[S], start: usize, out: &mut [T], f: impl FnOnce(&[S], &mut [T])) {
    if let Some(x) = x.get(start..start + out.len()) {
        f(x, out);
    }
}

fn rows_mut<S, T>(x: &[S], out: &mut [T], start: usize, f: impl FnOnce(&[S], &mut [T])) {
    if let Some(out) = out.get_mut(start..start + x.len()) {
        f(x, out);
    }
}

/// A copy of a column.
pub(super) enum Held {
    F32(Vec<f32>),
    F64(Vec<f64>),
    Bf16(Vec<u16>),
    F16(Vec<u16>),
}

impl Held {
    pub(super) fn column(&self) -> Column<'_> {
        match self {
            Held::F32(x) => Column::F32(x),
            Held::F64(x) => Column::F64(x),
            Held::Bf16(x) => Column::Bf16(x),
            Held::F16(x) => Column::F16(x),
        }
    }
}

/// Copies of the columns that are read where they will be written.
pub(super) fn hold(inputs: &[Column<'_>], outputs: &[ColumnMut<'_>]) -> Vec<Option<Held>> {
    let copy = |input: &Column<'_>| {
        let Column::InPlace(output) = input else { return None };
        match outputs.get(*output)? {
            ColumnMut::F32(x) => Some(Held::F32(x.to_vec())),
            ColumnMut::F64(x) => Some(Held::F64(x.to_vec())),
            ColumnMut::Bf16(x) => Some(Held::Bf16(x.to_vec())),
            ColumnMut::F16(x) => Some(Held::F16(x.to_vec())),
            ColumnMut::Number(_) => None,
        }
    };
    inputs.iter().map(copy).collect()
}

/// Storage and rows of an input column.
pub(super) fn shape(column: &Column<'_>) -> Option<(Storage, usize)> {
    match column {
        Column::F32(x) => Some((Storage::F32, x.len())),
        Column::F64(x) => Some((Storage::F64, x.len())),
        Column::Bf16(x) => Some((Storage::Bf16, x.len())),
        Column::F16(x) => Some((Storage::F16, x.len())),
        Column::Number(_) | Column::InPlace(_) => None,
    }
}

/// Storage and rows of an output column.
pub(super) fn shape_mut(column: &ColumnMut<'_>) -> Option<(Storage, usize)> {
    shape(&view(column))
}

/// An output column, to be read.
pub(super) fn view<'a>(column: &'a ColumnMut<'_>) -> Column<'a> {
    match column {
        ColumnMut::F32(x) => Column::F32(x),
        ColumnMut::F64(x) => Column::F64(x),
        ColumnMut::Bf16(x) => Column::Bf16(x),
        ColumnMut::F16(x) => Column::F16(x),
        ColumnMut::Number(x) => Column::Number(**x),
    }
}

/// An output column, for a while.
pub(super) fn reborrow<'a>(column: &'a mut ColumnMut<'_>) -> ColumnMut<'a> {
    match column {
        ColumnMut::F32(x) => ColumnMut::F32(x),
        ColumnMut::F64(x) => ColumnMut::F64(x),
        ColumnMut::Bf16(x) => ColumnMut::Bf16(x),
        ColumnMut::F16(x) => ColumnMut::F16(x),
        ColumnMut::Number(x) => ColumnMut::Number(x),
    }
}

/// The first rows of an output column, and the rest. A number goes with the rest; no chunk writes it.
pub(super) fn split(column: ColumnMut<'_>, rows: usize) -> (ColumnMut<'_>, ColumnMut<'_>) {
    fn cut<T>(x: &mut [T], rows: usize) -> (&mut [T], &mut [T]) {
        x.split_at_mut(rows.min(x.len()))
    }
    match column {
        ColumnMut::F32(x) => {
            let (a, b) = cut(x, rows);
            (ColumnMut::F32(a), ColumnMut::F32(b))
        }
        ColumnMut::F64(x) => {
            let (a, b) = cut(x, rows);
            (ColumnMut::F64(a), ColumnMut::F64(b))
        }
        ColumnMut::Bf16(x) => {
            let (a, b) = cut(x, rows);
            (ColumnMut::Bf16(a), ColumnMut::Bf16(b))
        }
        ColumnMut::F16(x) => {
            let (a, b) = cut(x, rows);
            (ColumnMut::F16(a), ColumnMut::F16(b))
        }
        ColumnMut::Number(x) => (ColumnMut::F32(&mut []), ColumnMut::Number(x)),
    }
}

/// Copies rows bit for bit, if both columns are of one type.
pub(super) fn copy(from: &Column<'_>, start: usize, to: &mut ColumnMut<'_>, offset: usize, len: usize) -> bool {
    fn bits<T: Copy>(from: &[T], start: usize, to: &mut [T], offset: usize, len: usize) {
        if let (Some(from), Some(to)) = (from.get(start..start + len), to.get_mut(offset..offset + len)) {
            to.copy_from_slice(from);
        }
    }
    match (from, to) {
        (Column::F32(from), ColumnMut::F32(to)) => bits(from, start, to, offset, len),
        (Column::F64(from), ColumnMut::F64(to)) => bits(from, start, to, offset, len),
        (Column::Bf16(from), ColumnMut::Bf16(to)) | (Column::F16(from), ColumnMut::F16(to)) => {
            bits(from, start, to, offset, len);
        }
        _ => return false,
    }
    true
}

/// Bytes of a cache line.
const LINE: usize = 64;
/// Elements from tile to tile: beside a block's, some that keep tiles from lying at the same place of two pages.
const STRIDE: usize = BLOCK + LINE;

/// The memory of one thread at work: tiles, each room for a block of values on a cache line's boundary.
pub(super) struct Scratch<T> {
    memory: Vec<T>,
    first: usize,
    count: usize,
    /// How many tiles are for values; behind them are one for each input, one for each output, and one to spare.
    pub(super) values: usize,
}

impl<T: Float> Scratch<T> {
    pub(super) fn new(values: usize, inputs: usize, outputs: usize) -> Scratch<T> {
        let count = values + inputs + outputs + 1;
        let memory = vec![T::default(); count * STRIDE + LINE];
        // `align_offset` may decline; then the tiles are slower, not wrong.
        let first = memory.as_ptr().align_offset(LINE).min(LINE);
        Scratch { memory, first, count, values }
    }

    pub(super) fn tiles(&mut self) -> Vec<&mut [T]> {
        let memory = self.memory.get_mut(self.first..).unwrap_or(&mut []);
        memory.chunks_exact_mut(STRIDE).take(self.count).collect()
    }
}
