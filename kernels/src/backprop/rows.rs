//! Sums over rows in an order of their own, and norms of rows.

use super::{Gradients, Network, Workspace};
use crate::decode::{Norm, NormKind, NormWeights};
use crate::matmul::lines::Buffer;
use crate::matmul::parallel;
use crate::vector;
use crate::vector::slopes;

/// Rows whose sum is taken apart from others', so that threads may share them.
const TOGETHER: usize = 64;

/// What `add(row, sums)` adds to `width` sums for each of `rows` rows: first those of 64 rows, then these, in ascending order.
pub(super) fn column_sums(
    ws: &Workspace,
    rows: usize,
    width: usize,
    add: impl Fn(usize, &mut [f32]) + Sync,
) -> Vec<f32> {
    let mut parts = vec![0.0; rows.div_ceil(TOGETHER) * width];
    parallel::pieces(ws.threads(), rows * width * 4, &mut parts, width, |i, sums| {
        (i * TOGETHER..((i + 1) * TOGETHER).min(rows)).for_each(|row| add(row, sums));
    });
    let mut sums = vec![0.0; width];
    parts.chunks_exact(width.max(1)).for_each(|part| vector::add(&mut sums, part));
    sums
}

/// Adds the sum of the rows of `x` to `sums`.
pub(super) fn add_columns(ws: &Workspace, x: &[f32], sums: &mut [f32]) {
    let width = sums.len();
    let rows = x.len() / width.max(1);
    vector::add(sums, &column_sums(ws, rows, width, |row, sums| vector::add(sums, &x[row * width..(row + 1) * width])));
}

/// `x += y`.
pub(super) fn add(ws: &Workspace, x: &mut [f32], y: &[f32], width: usize) {
    parallel::rows(ws.threads(), x, width, |i, row| vector::add(row, &y[i * width..(i + 1) * width]));
}

/// Some rows of `x`, side by side; all of them if none are named.
pub(super) fn gather(ws: &mut Workspace, x: &[f32], rows: Option<&[usize]>, width: usize) -> Buffer {
    let Some(rows) = rows else { return ws.copy(x) };
    let mut out = ws.take(rows.len() * width);
    for (out, row) in out.chunks_exact_mut(width).zip(rows) {
        out.copy_from_slice(&x[row * width..(row + 1) * width]);
    }
    out
}

/// The reverse of [`gather`]: adds to those rows of `to`.
pub(super) fn scatter(ws: &Workspace, x: &[f32], rows: Option<&[usize]>, width: usize, to: &mut [f32]) {
    let Some(rows) = rows else { return add(ws, to, x, width) };
    for (x, row) in x.chunks_exact(width).zip(rows) {
        vector::add(&mut to[row * width..(row + 1) * width], x);
    }
}

/// The mean of each row and what it was multiplied by.
pub(super) type Stats = Vec<(f32, f32)>;

/// The reverse of a norm, of rows or of heads as wide as its weight.
pub(super) struct NormReverse<'a> {
    pub(super) x: &'a [f32],
    pub(super) stats: &'a Stats,
    pub(super) dy: &'a [f32],
}

impl Network {
    /// Norms rows (or heads) that are as wide as the weight.
    pub(super) fn norm(&self, ws: &mut Workspace, norm: &NormWeights<usize>, x: &[f32]) -> (Buffer, Stats) {
        let width = self.vector(norm.weight).0.len();
        let Norm { kind, eps } = self.config.norm;
        let mut stats = vec![(0.0, 0.0); x.len() / width];
        parallel::pieces(ws.threads(), x.len() * 8, &mut stats, 1, |i, stats| {
            let row = &x[i * width..(i + 1) * width];
            stats[0] = match kind {
                NormKind::Rms => slopes::rms_scale(row, eps),
                NormKind::Layer => slopes::layer_scale(row, eps),
            };
        });
        (self.normed(ws, norm, x, &stats), stats)
    }

    /// The same with what was found before.
    pub(super) fn normed(&self, ws: &mut Workspace, norm: &NormWeights<usize>, x: &[f32], stats: &Stats) -> Buffer {
        let weight = self.vector(norm.weight).0;
        let bias = norm.bias.map(|bias| self.vector(bias).0);
        let width = weight.len();
        let mut out = ws.take(x.len());
        parallel::rows(ws.threads(), &mut out, width, |i, row| {
            slopes::norm(&x[i * width..(i + 1) * width], stats[i], weight, row);
            if let Some(bias) = bias {
                vector::add(row, bias);
            }
        });
        out
    }

    /// The reverse of [`Network::norm`]: adds to `dx`.
    pub(super) fn norm_reverse(
        &self,
        ws: &Workspace,
        norm: &NormWeights<usize>,
        of: &NormReverse<'_>,
        dx: &mut [f32],
        gradients: &mut Gradients,
    ) {
        let NormReverse { x, stats, dy } = *of;
        let (weight, trained) = self.vector(norm.weight);
        let width = weight.len();
        let line = |i: usize| i * width..(i + 1) * width;
        if let Some(p) = trained {
            let sums = column_sums(ws, stats.len(), width, |i, sums| {
                slopes::norm_weight(&x[line(i)], stats[i], &dy[line(i)], sums);
            });
            vector::add(&mut gradients[p], &sums);
        }
        if let Some((_, Some(p))) = norm.bias.map(|bias| self.vector(bias)) {
            add_columns(ws, dy, &mut gradients[p]);
        }
        let centred = self.config.norm.kind == NormKind::Layer;
        parallel::rows(ws.threads(), dx, width, |i, row| {
            slopes::norm_input(&x[line(i)], stats[i], weight, &dy[line(i)], centred, row);
        });
    }
}
