//! The loops of the matrix product, the same for all machines and storages: the same chains of fused multiply-adds, hence the
//! same bits.
//!
//! Few rows read each weight once and use it once or twice, so memory sets the pace: weights are widened in registers, and
//! units of several panels go together, so that there are enough independent chains. Many rows take a panel in chunks of
//! columns: a chunk is widened once into a buffer that stays in the first cache, all tiles of rows go over it, and meanwhile
//! the next chunk is fetched. A chain is broken off at the end of a chunk and taken up again: its sum waits in a buffer.

use std::marker::PhantomData;
use std::ops::Range;

use super::lanes::{PANEL, Vector};
use super::lines::Scratch;
use super::product::{Operand, Target, tile_count, tile_rows};
use super::storage::{Read, Storage, for_storage, widen};

/// Bytes from what few rows read to what is fetched meanwhile: a page, where the machine's own prefetching ends.
const AHEAD: usize = 4096;
/// Floats of `x` that go over all panels together: 384 kB.
const BLOCK: usize = 96 << 10;
/// Columns that a tile takes between two fetches.
const GROUP: usize = 4;
/// Columns of a chunk: of 24 kB as floats. A multiple of the columns that share scales.
const CHUNK: usize = 192;

/// A product for one machine.
pub(crate) struct Whole<'a, V> {
    operand: &'a Operand<'a>,
    target: &'a Target<'a>,
    _machine: PhantomData<V>,
}

#[expect(unsafe_code, reason = "unchecked pointers in the innermost loops")]
impl<'a, V: Vector> Whole<'a, V> {
    /// Units of a panel.
    const UNITS: usize = 16 / V::WIDTH;

    #[inline(always)]
    pub(crate) fn new(operand: &'a Operand<'a>, target: &'a Target<'a>) -> Self {
        Self { operand, target, _machine: PhantomData }
    }

    /// Up to [`super::product::FEW`] rows.
    ///
    /// # Safety
    /// As [`super::product::multiply`].
    #[inline(always)]
    pub(crate) unsafe fn few(&self, x: &[f32], stride: usize, range: Range<usize>) {
        // SAFETY: the caller's promise.
        unsafe { for_storage!(self.operand.storage, S => self.few_of::<S>(x.as_ptr(), stride, range)) }
    }

    /// The same of a storage.
    ///
    /// # Safety
    /// As [`super::product::multiply`].
    #[inline(always)]
    unsafe fn few_of<S: Read>(&self, x: *const f32, stride: usize, range: Range<usize>) {
        let end = range.end * Self::UNITS;
        let mut unit = range.start * Self::UNITS;
        while unit < end {
            let left = end - unit;
            // SAFETY: the units are those of the caller's panels.
            unit += unsafe {
                match self.target.rows {
                    1 if S::STEP == 1 && left >= 4 => self.stream::<S, 1, 4>(x, stride, unit),
                    1 if left >= 2 => self.stream::<S, 1, 2>(x, stride, unit),
                    1 => self.stream::<S, 1, 1>(x, stride, unit),
                    2 if left >= 2 => self.stream::<S, 2, 2>(x, stride, unit),
                    2 => self.stream::<S, 2, 1>(x, stride, unit),
                    3 if left >= 2 => self.stream::<S, 3, 2>(x, stride, unit),
                    3 => self.stream::<S, 3, 1>(x, stride, unit),
                    _ if left >= 2 => self.stream::<S, 4, 2>(x, stride, unit),
                    _ => self.stream::<S, 4, 1>(x, stride, unit),
                }
            };
        }
    }

    /// All `R` rows by `P` units from `unit` on, whose sums stay in registers while the columns go by. Returns `P`.
    ///
    /// # Safety
    /// As [`super::product::multiply`]; the product has `R` rows and those units.
    #[inline(always)]
    unsafe fn stream<S: Read, const R: usize, const P: usize>(
        &self,
        x: *const f32,
        stride: usize,
        unit: usize,
    ) -> usize {
        let data = self.operand.data.as_ptr();
        let mut sums = [[[V::zero(); 2]; P]; R];
        // No closures here: they would be compiled without the instructions of `V`.
        let (mut panels, mut lanes) = ([data; P], [0; P]);
        // SAFETY: each panel lies within the data, each row within `x`.
        unsafe {
            for p in 0..P {
                panels[p] = data.add((unit + p) / Self::UNITS * self.operand.stride);
                lanes[p] = (unit + p) % Self::UNITS * V::WIDTH;
            }
            let column =
                |p: usize, v: usize| (unit + p) / Self::UNITS * PANEL + (unit + p) % Self::UNITS * V::WIDTH + v * 16;
            if self.target.adds {
                for (r, sums) in sums.iter_mut().enumerate() {
                    for (p, sums) in sums.iter_mut().enumerate() {
                        for (v, sum) in sums.iter_mut().enumerate() {
                            let mut line = [0.0; 16];
                            self.get(r, column(p, v), &mut line[..V::WIDTH]);
                            *sum = V::load(line.as_ptr());
                        }
                    }
                }
            }
            let bytes = self.operand.storage.panel_bytes(256);
            for shared in (0..self.operand.depth).step_by(S::SHARE) {
                let mut scales = [S::scales::<V>(panels[0], shared, lanes[0]); P];
                for p in 1..P {
                    scales[p] = S::scales(panels[p], shared, lanes[p]);
                }
                for step in (shared..shared + S::SHARE).step_by(S::STEP) {
                    let mut words = [S::words::<V>(panels[0], step, lanes[0]); P];
                    for p in 1..P {
                        words[p] = S::words(panels[p], step, lanes[p]);
                    }
                    for panel in panels {
                        for line in 0..S::LINES {
                            V::prefetch(panel.wrapping_add(AHEAD + step * bytes / 256 + 64 * line));
                        }
                    }
                    for i in 0..S::STEP {
                        for p in 0..P {
                            let w = S::column(&scales[p], &words[p], i);
                            for (r, sums) in sums.iter_mut().enumerate() {
                                let x = V::splat(*x.add(r * stride + step + i));
                                sums[p] = [x.multiply_add(w[0], sums[p][0]), x.multiply_add(w[1], sums[p][1])];
                            }
                        }
                    }
                }
            }
            for (r, sums) in sums.iter().enumerate() {
                for (p, sums) in sums.iter().enumerate() {
                    for (v, sum) in sums.iter().enumerate() {
                        let mut line = [0.0; 16];
                        sum.store(line.as_mut_ptr());
                        self.put(r, column(p, v), &line[..V::WIDTH]);
                    }
                }
            }
        }
        P
    }

    /// How many of the `width` columns from `column` on there are, and where they begin in row `r`.
    ///
    /// # Safety
    /// Row `r` is there.
    #[inline(always)]
    unsafe fn place(&self, r: usize, column: usize, width: usize) -> (usize, *mut f32) {
        let column = (self.target.first + column).min(self.target.cols);
        // SAFETY: row `r` of the target has `cols` elements.
        (width.min(self.target.cols - column), unsafe { self.target.row(r).add(column) })
    }

    /// Writes `line` into row `r` from `column` on, as far as there are columns.
    ///
    /// # Safety
    /// Row `r` is there, and the columns are this call's.
    #[inline(always)]
    unsafe fn put(&self, r: usize, column: usize, line: &[f32]) {
        // SAFETY: so many elements are there; the caller's promise.
        unsafe {
            let (width, out) = self.place(r, column, line.len());
            if width == PANEL {
                out.cast::<[f32; PANEL]>().write_unaligned(*line.as_ptr().cast());
            } else {
                std::ptr::copy_nonoverlapping(line.as_ptr(), out, width);
            }
        }
    }

    /// Reads `line` from row `r`: what [`Whole::put`] would overwrite if the product adds to what stands there, else zero.
    ///
    /// # Safety
    /// As [`Whole::put`].
    #[inline(always)]
    unsafe fn get(&self, r: usize, column: usize, line: &mut [f32]) {
        line.fill(0.0);
        if self.target.adds {
            // SAFETY: so many elements are there; the caller's promise.
            unsafe {
                let (width, from) = self.place(r, column, line.len());
                std::ptr::copy_nonoverlapping(from, line.as_mut_ptr(), width);
            }
        }
    }

    /// Any number of rows: some tiles, as many as stay in the second cache, go over all panels, then the next.
    ///
    /// # Safety
    /// As [`super::product::multiply`].
    #[inline(always)]
    pub(crate) unsafe fn many<const PACKED: bool>(&self, x: &[f32], stride: usize, range: Range<usize>) {
        let (rows, tiles) = (self.target.rows, tile_count(self.target.rows, V::ROWS));
        let some = (BLOCK / (self.operand.depth.max(1) * V::ROWS)).max(1);
        let mut scratch = Scratch::take((CHUNK + some.min(tiles) * V::ROWS) * PANEL);
        let (chunk, sums) = scratch.split_at_mut(CHUNK * PANEL);
        for first in (0..tiles).step_by(some) {
            let tiles = Tiles { rows, tiles: first..(first + some).min(tiles), x: x.as_ptr(), stride };
            for panel in range.clone() {
                // SAFETY: the caller's promise; `sums` has a line for each row of so many tiles.
                unsafe { self.panel::<PACKED>(panel, &tiles, chunk, sums) };
            }
        }
    }

    /// Some tiles of rows by one panel.
    ///
    /// # Safety
    /// As [`super::product::multiply`]; `chunk` has 32 floats for each column of a chunk, `sums` for each row.
    #[inline(always)]
    unsafe fn panel<const PACKED: bool>(&self, panel: usize, tiles: &Tiles, chunk: &mut [f32], sums: &mut [f32]) {
        let operand = self.operand;
        let rows = tiles.covered(V::ROWS);
        for (r, line) in rows.clone().zip(sums.chunks_exact_mut(PANEL)) {
            // SAFETY: row `r` is there, and this panel is this call's.
            unsafe { self.get(r, panel * PANEL, line) };
        }
        for from in (0..operand.depth).step_by(CHUNK) {
            let to = (from + CHUNK).min(operand.depth);
            // SAFETY: the panel lies within the data, the columns within the panel and the rows of `x`.
            unsafe {
                let base = operand.data.as_ptr().add(panel * operand.stride);
                let w = if operand.storage == Storage::F32 {
                    base.cast::<f32>().add(from * PANEL)
                } else {
                    widen::<V>(operand.storage, base, from..to, chunk);
                    chunk.as_ptr()
                };
                let bytes = operand.storage.panel_bytes(CHUNK) / CHUNK;
                let place = Place {
                    x: tiles.x,
                    stride: tiles.stride,
                    from,
                    depth: to - from,
                    w,
                    sums: sums.as_mut_ptr(),
                    ahead: base.wrapping_add(to * bytes),
                    bytes: bytes * (to - from),
                    out: self.target.row(0).wrapping_add(self.target.first + panel * PANEL).cast(),
                    out_stride: if to == operand.depth { self.target.stride * 4 } else { 0 },
                };
                place.tiles::<V, PACKED>(tiles);
            }
        }
        for (r, line) in rows.zip(sums.chunks_exact(PANEL)) {
            // SAFETY: as above.
            unsafe { self.put(r, panel * PANEL, line) };
        }
    }
}

/// Some tiles of the rows of `x`.
struct Tiles {
    /// All rows, of which tiles are made.
    rows: usize,
    tiles: Range<usize>,
    x: *const f32,
    stride: usize,
}

impl Tiles {
    /// The rows of these tiles.
    fn covered(&self, most: usize) -> Range<usize> {
        tile_rows(self.rows, most, self.tiles.start).start..tile_rows(self.rows, most, self.tiles.end - 1).end
    }
}

/// The operands of all tiles of rows over one chunk of a panel.
#[derive(Clone, Copy)]
struct Place {
    /// All rows and columns.
    x: *const f32,
    stride: usize,
    /// The first column of the chunk, and how many.
    from: usize,
    depth: usize,
    /// The chunk: `depth × 32`.
    w: *const f32,
    /// A line of 32 sums for each row of these tiles, which the chunk continues.
    sums: *mut f32,
    /// What comes after the chunk, to be fetched meanwhile, and how much of it: in all, or of a tile for each group of columns.
    ahead: *const u8,
    bytes: usize,
    /// Where the sums of row 0 go in the end, and the bytes to the next row; 0 if this chunk is not the last.
    out: *const u8,
    out_stride: usize,
}

#[expect(unsafe_code, reason = "unchecked pointers in the innermost loops")]
impl Place {
    /// Goes over all tiles.
    ///
    /// # Safety
    /// Their rows are there, and the machine has the instructions of `V`.
    #[inline(always)]
    unsafe fn tiles<V: Vector, const PACKED: bool>(self, tiles: &Tiles) {
        let begin = tiles.covered(V::ROWS).start;
        // All tiles fetch an equal part of what comes next.
        let part = self.bytes / (tiles.tiles.len() * 16 / V::WIDTH);
        let mut place = self;
        place.bytes = part * GROUP / self.depth;
        for tile in tiles.tiles.clone() {
            let tile = tile_rows(tiles.rows, V::ROWS, tile);
            let (first, height) = (tile.start, tile.len());
            if self.out_stride > 0 {
                for r in tile {
                    let line = self.out.wrapping_add(r * self.out_stride);
                    V::prefetch(line);
                    V::prefetch(line.wrapping_add(64));
                }
            }
            for lane in (0..16).step_by(V::WIDTH) {
                // SAFETY: these rows and this unit are there.
                unsafe {
                    let column = if PACKED { self.from * height } else { self.from };
                    place.x = self.x.add(first * self.stride + column);
                    place.w = self.w.add(lane);
                    place.sums = self.sums.add((first - begin) * PANEL + lane);
                    place.tile_of::<V, PACKED>(height);
                }
                place.ahead = place.ahead.wrapping_add(part);
            }
        }
    }

    /// One tile of `height` rows.
    ///
    /// # Safety
    /// The rows are there, and the machine has the instructions of `V`.
    #[inline(always)]
    unsafe fn tile_of<V: Vector, const PACKED: bool>(self, height: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            match height {
                1 => self.tile::<V, PACKED, 1>(),
                2 => self.tile::<V, PACKED, 2>(),
                3 => self.tile::<V, PACKED, 3>(),
                4 => self.tile::<V, PACKED, 4>(),
                5 => self.tile::<V, PACKED, 5>(),
                6 => self.tile::<V, PACKED, 6>(),
                7 => self.tile::<V, PACKED, 7>(),
                8 => self.tile::<V, PACKED, 8>(),
                9 => self.tile::<V, PACKED, 9>(),
                10 => self.tile::<V, PACKED, 10>(),
                11 => self.tile::<V, PACKED, 11>(),
                12 => self.tile::<V, PACKED, 12>(),
                13 => self.tile::<V, PACKED, 13>(),
                _ => self.tile::<V, PACKED, 14>(),
            }
        }
    }

    /// `R` rows by one unit, held in registers while the columns of the chunk go by.
    ///
    /// # Safety
    /// The rows are there, and the machine has the instructions of `V`.
    #[inline(always)]
    unsafe fn tile<V: Vector, const PACKED: bool, const R: usize>(self) {
        if R > V::ROWS {
            return;
        }
        // SAFETY: row `r` has the columns of the chunk in `x` and a line in `sums`; the chunk has `depth` columns.
        unsafe {
            let mut sums = [[V::zero(); 2]; R];
            for (r, sum) in sums.iter_mut().enumerate() {
                *sum = [V::load(self.sums.add(r * PANEL)), V::load(self.sums.add(r * PANEL + 16))];
            }
            let whole = self.depth - self.depth % GROUP;
            for group in (0..whole).step_by(GROUP) {
                for line in 0..self.bytes.div_ceil(64) {
                    V::prefetch(self.ahead.wrapping_add(group / GROUP * self.bytes + line * 64));
                }
                for k in group..group + GROUP {
                    self.column::<V, PACKED, R>(k, &mut sums);
                }
            }
            for k in whole..self.depth {
                self.column::<V, PACKED, R>(k, &mut sums);
            }
            for (r, sum) in sums.iter().enumerate() {
                sum[0].store(self.sums.add(r * PANEL));
                sum[1].store(self.sums.add(r * PANEL + 16));
            }
        }
    }

    /// One column of the chunk.
    ///
    /// # Safety
    /// As [`Place::tile`], and the column is there.
    #[inline(always)]
    unsafe fn column<V: Vector, const PACKED: bool, const R: usize>(&self, k: usize, sums: &mut [[V; 2]; R]) {
        // SAFETY: the caller's promise.
        unsafe {
            let w = [V::load(self.w.add(k * PANEL)), V::load(self.w.add(k * PANEL + 16))];
            for (r, sums) in sums.iter_mut().enumerate() {
                let at = if PACKED { k * R + r } else { r * self.stride + k };
                let x = V::splat(*self.x.add(at));
                *sums = [x.multiply_add(w[0], sums[0]), x.multiply_add(w[1], sums[1])];
            }
        }
    }
}
