//! Products of matrices that are used once, such as those of a reverse pass: packed on the way.

use std::ops::Range;

use super::lanes::PANEL;
use super::lines::Scratch;
use super::parallel;
use super::product::{Operand, Target, Units};
use super::share::share;
use super::storage::Storage;
use super::transpose::turn;

/// A matrix as it lies in memory, or the transpose of one.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
    /// From one row (of the transpose: from one column) to the next.
    stride: usize,
    turned: bool,
}

impl<'a> View<'a> {
    /// `cols` columns, row after row. Panics if they make no whole rows.
    pub(crate) fn new(data: &'a [f32], cols: usize) -> Self {
        let rows = data.len().checked_div(cols).unwrap_or(0);
        assert_eq!(data.len(), rows * cols, "whole rows");
        Self { data, rows, cols, stride: cols, turned: false }
    }

    /// `rows` rows of `cols` columns, each row `stride` elements after the last. Panics if they are not there.
    pub(crate) fn strided(data: &'a [f32], rows: usize, cols: usize, stride: usize) -> Self {
        assert!(stride >= cols && (rows == 0 || data.len() >= (rows - 1) * stride + cols), "rows that are there");
        Self { data, rows, cols, stride, turned: false }
    }

    /// Some rows and columns.
    fn part(self, rows: Range<usize>, cols: Range<usize>) -> Self {
        let (outer, inner) = if self.turned { (cols.start, rows.start) } else { (rows.start, cols.start) };
        Self { data: &self.data[outer * self.stride + inner..], rows: rows.len(), cols: cols.len(), ..self }
    }

    /// Its transpose.
    pub(crate) fn turned(self) -> Self {
        Self { rows: self.cols, cols: self.rows, turned: !self.turned, ..self }
    }
}

/// How a product is computed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct How {
    pub(crate) units: Units,
    /// Among how many threads it is shared; changes no bit.
    pub(crate) threads: usize,
    /// Whether elements of the right side are rounded to bf16 first.
    pub(crate) rounded: bool,
}

/// Columns (multiply-adds of an element) that are gone over together: a multiple of what tiles take at once.
const DEPTH: usize = 4096;
/// Elements of the left side that are laid out together, and of the right side: 4 and 8 MB.
const LEFT: usize = 1 << 20;
const RIGHT: usize = 2 << 20;

/// `c = a · bᵀ`, or `c += a · bᵀ` if `adds`; `c` is `a.rows × b.rows`. Panics if the sizes do not fit.
///
/// Large products are made piece by piece, so that what is packed stays small and near; the pieces change no bit.
pub(crate) fn gemm(how: How, a: View<'_>, b: View<'_>, c: &mut [f32], adds: bool) {
    assert_eq!((a.cols, c.len()), (b.cols, a.rows * b.rows), "sizes of a product");
    if c.is_empty() {
        return;
    }
    if a.cols == 0 {
        if !adds {
            c.fill(0.0);
        }
        return;
    }
    let width = b.rows;
    for columns in pieces(a.cols, DEPTH) {
        let (rows, panels) = (LEFT / columns.len(), RIGHT / columns.len());
        for outputs in pieces(b.rows, panels.next_multiple_of(PANEL)) {
            let (panels, storage) = right(how, b.part(outputs.clone(), columns.clone()));
            let data = bytemuck::cast_slice(&panels);
            let operand = Operand { storage, data, depth: columns.len(), stride: storage.panel_bytes(columns.len()) };
            for rows in pieces(a.rows, rows.next_multiple_of(64)) {
                let target = Target::some(&mut c[rows.start * width..rows.end * width], width, outputs.clone());
                let target = if adds || columns.start > 0 { target.adding() } else { target };
                let count = rows.len();
                let a = a.part(rows, columns.clone());
                if !a.turned && a.stride == a.cols {
                    share(how.units, &a.data[..count * a.cols], count, &[(operand, target)], how.threads);
                } else {
                    share(how.units, &rows_of(how, a), count, &[(operand, target)], how.threads);
                }
            }
        }
    }
}

/// `0..all` in pieces of `most`, the last perhaps shorter.
fn pieces(all: usize, most: usize) -> impl Iterator<Item = Range<usize>> {
    (0..all).step_by(most).map(move |from| from..(from + most).min(all))
}

/// The rows of a matrix that lie apart, or of a transpose, side by side.
fn rows_of(how: How, a: View<'_>) -> Scratch {
    let mut out = Scratch::take(a.rows * a.cols);
    let width = a.cols * PANEL;
    parallel::pieces_and_rest(how.threads, out.len(), &mut out, width, |i, some| {
        if a.turned {
            turn(&a.data[i * PANEL..], a.stride, (a.cols, some.len() / a.cols), some, a.cols);
        } else {
            for (to, from) in some.chunks_exact_mut(a.cols).zip(a.data[i * PANEL * a.stride..].chunks(a.stride)) {
                to.copy_from_slice(&from[..a.cols]);
            }
        }
    });
    out
}

/// The right side in panels.
fn right(how: How, b: View<'_>) -> (Scratch, Storage) {
    let width = b.cols * PANEL;
    let panels = b.rows.div_ceil(PANEL);
    if !how.rounded {
        let mut out = Scratch::take(panels * width);
        parallel::pieces(how.threads, out.len(), &mut out, width, |i, panel| panel_of(b, i, panel));
        return (out, Storage::F32);
    }
    let mut out = Scratch::take(panels * width / 2);
    parallel::pieces(how.threads, 2 * out.len(), &mut out, width / 2, |i, words| {
        let mut panel = Scratch::take(width);
        panel_of(b, i, &mut panel);
        round(&panel, bytemuck::cast_slice_mut(words));
    });
    (out, Storage::Bf16)
}

/// Panel `i`: 32 rows, column by column; rows beyond the last are zero.
fn panel_of(b: View<'_>, i: usize, panel: &mut [f32]) {
    let first = i * PANEL;
    let count = PANEL.min(b.rows - first);
    if b.turned {
        for (line, from) in panel.chunks_exact_mut(PANEL).zip(b.data[first..].chunks(b.stride)) {
            line[..count].copy_from_slice(&from[..count]);
            line[count..].fill(0.0);
        }
    } else {
        if count < PANEL {
            panel.fill(0.0);
        }
        turn(&b.data[first * b.stride..], b.stride, (count, b.cols), panel, PANEL);
    }
}

/// Rounds a panel to bf16, whose words hold rows `i` and `16 + i`.
fn round(panel: &[f32], words: &mut [u32]) {
    let half = |x: f32| {
        let bits = x.to_bits();
        // To the nearest, of two the even one; a NaN stays one.
        let nearest = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
        if x.is_nan() { 0x7fc0 } else { nearest }
    };
    for (words, line) in words.chunks_exact_mut(PANEL / 2).zip(panel.chunks_exact(PANEL)) {
        let (low, high) = line.split_at(PANEL / 2);
        for ((word, &low), &high) in words.iter_mut().zip(low).zip(high) {
            *word = half(low) | half(high) << 16;
        }
    }
}

#[cfg(test)]
mod tests {
    //! Products of matrices and transposes, held to sums in f64.

    use super::*;
    use crate::rng::Stream;

    fn random(seed: u64, len: usize) -> Vec<f32> {
        (0..len as u64).map(|i| Stream::from_seed(seed).normal(i) as f32).collect()
    }

    fn element(view: View<'_>, i: usize, j: usize) -> f64 {
        let at = if view.turned { j * view.stride + i } else { i * view.stride + j };
        f64::from(view.data[at])
    }

    #[test]
    fn every_turn_and_size_gives_the_product() {
        for units in [Units::Vectors, Units::Tiles].into_iter().filter(|units| units.available()) {
            for (m, n, k) in
                [(1, 1, 1), (3, 40, 17), (33, 31, 64), (70, 65, 100), (2, 7, 0), (4, 550, 4100), (260, 33, 4099)]
            {
                let (a, b) = (random(1, m * k), random(2, n * k));
                for (a_turned, b_turned) in [(false, false), (true, false), (false, true), (true, true)] {
                    if k > 4000 && a_turned == b_turned {
                        continue;
                    }
                    let view = |data, rows, turned| match (turned, k) {
                        (_, 0) => View { data, rows, cols: 0, stride: 0, turned },
                        (true, _) => View::new(data, rows).turned(),
                        (false, _) => View::new(data, k),
                    };
                    let (a, b) = (view(&a, m, a_turned), view(&b, n, b_turned));
                    let mut ones = Vec::new();
                    for threads in [1, 3] {
                        let how = How { units, threads, rounded: false };
                        let mut c = vec![0.5; m * n];
                        gemm(how, a, b, &mut c, false);
                        gemm(how, a, b, &mut c, true);
                        for (at, &c) in c.iter().enumerate() {
                            let (i, j) = (at / n, at % n);
                            let sum: f64 = (0..k).map(|l| element(a, i, l) * element(b, j, l)).sum();
                            assert!(
                                (f64::from(c) - 2.0 * sum).abs() < 2e-5 * (k as f64 + 1.0).sqrt() * 4.0,
                                "{c} {sum}"
                            );
                        }
                        ones.push(c);
                    }
                    assert_eq!(ones[0], ones[1]);
                }
            }
        }
    }

    #[test]
    fn a_rounded_side_is_that_of_bf16() {
        let (m, n, k) = (9, 45, 70);
        let (a, b) = (random(1, m * k), random(2, n * k));
        let rounded: Vec<f32> = b.iter().map(|&x| half::bf16::from_f32(x).to_f32()).collect();
        for units in [Units::Vectors, Units::Tiles].into_iter().filter(|units| units.available()) {
            let product = |b: &[f32], rounded: bool| {
                let mut c = vec![0.0; m * n];
                gemm(How { units, threads: 2, rounded }, View::new(&a, k), View::new(b, k), &mut c, false);
                c
            };
            assert_eq!(product(&b, true), product(&rounded, false));
        }
        let mut words = [0; 16];
        let mut panel = [f32::INFINITY; 32];
        panel[16] = f32::NAN;
        round(&panel, &mut words);
        assert_eq!(words[..2], [0x7fc0_7f80, 0x7f80_7f80]);
    }
}
