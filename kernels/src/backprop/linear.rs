//! Linear maps, forward and reverse, whatever becomes of their weights.

use super::low_rank;
use super::network::{Frozen, Weight};
use super::rows::{add_columns, column_sums};
use super::{Gradients, Network, Workspace};
use crate::decode::{Linear, Slot};
use crate::matmul::gemm::{View, gemm};
use crate::matmul::lines::Buffer;
use crate::matmul::matrix::multiply_all;
use crate::matmul::parallel;
use crate::vector;
use crate::vector::slopes;

/// What the reverse of a linear map needs besides what went in.
#[derive(Default)]
pub(super) struct LinearTape {
    /// `x · Aᵀ` of a low-rank difference.
    narrow: Option<Buffer>,
    /// The result before its rows were brought to their trained lengths, and what it was multiplied by.
    plain: Option<(Buffer, Vec<f32>)>,
}

impl LinearTape {
    pub(super) fn give(self, ws: &mut Workspace) {
        ws.give_all(self.narrow);
        ws.give_all(self.plain.map(|(plain, _)| plain));
    }
}

impl Network {
    /// `x · Wᵀ + bias` of so many rows.
    pub(super) fn linear(&self, ws: &mut Workspace, map: &Linear<usize, usize>, x: &[f32]) -> (Buffer, LinearTape) {
        let (mut y, tape) = self.product(ws, map.weight, x);
        if let Some(bias) = map.bias {
            let bias = self.vector(bias).0;
            parallel::rows(ws.threads(), &mut y, bias.len(), |_, row| vector::add(row, bias));
        }
        (y, tape)
    }

    /// `x · Wᵀ`.
    pub(super) fn product(&self, ws: &mut Workspace, weight: usize, x: &[f32]) -> (Buffer, LinearTape) {
        let (slot, weight_of) = self.matrix(weight);
        let rows = x.len() / slot.cols;
        let mut y = ws.take(rows * slot.rows);
        let mut tape = LinearTape::default();
        let view = View::new(x, slot.cols);
        match weight_of {
            Weight::Trained(p) => {
                gemm(ws.how(self.rounded), view, View::new(self.values(*p), slot.cols), &mut y, false);
            }
            Weight::Frozen(frozen) => frozen_product(ws, &frozen.forward, x, &mut y),
            Weight::LowRank { base, a, b, scale, magnitude } => {
                frozen_product(ws, &base.forward, x, &mut y);
                let rank = self.parameters()[*a].rows;
                let mut narrow = ws.take(rows * rank);
                low_rank::narrow(ws, x, self.values(*a), slot.cols, *scale, &mut narrow);
                low_rank::widen(ws, &narrow, &low_rank::turned(self.values(*b), slot.rows, rank), slot.rows, &mut y);
                tape.narrow = Some(narrow);
                if let Some(magnitude) = magnitude {
                    let lengths = self.row_lengths(ws, slot, base, (*a, *b), *scale);
                    let factors: Vec<f32> = self.values(*magnitude).iter().zip(&lengths).map(|(m, n)| m / n).collect();
                    let plain = ws.copy(&y);
                    parallel::rows(ws.threads(), &mut y, slot.rows, |_, row| vector::multiply(row, &factors));
                    tape.plain = Some((plain, factors));
                }
            }
            Weight::Singular { .. } => {
                gemm(ws.how(self.rounded), view, View::new(self.composed(ws, weight), slot.cols), &mut y, false);
            }
        }
        (y, tape)
    }

    /// The length of each row of `W + scale · B · A`.
    fn row_lengths(&self, ws: &Workspace, slot: &Slot, base: &Frozen, (a, b): (usize, usize), scale: f32) -> Vec<f32> {
        let rank = self.parameters()[a].rows;
        let mut lengths = vec![0.0; slot.rows];
        parallel::pieces_and_rest(ws.threads(), slot.rows * slot.cols * rank, &mut lengths, 16, |i, some| {
            let mut row = vec![0.0; slot.cols];
            for (out, length) in (16 * i..).zip(some) {
                self.adapted_row(base, (a, b), scale, out, &mut row);
                *length = slopes::dot(&row, &row).sqrt();
            }
        });
        lengths
    }

    /// The reverse of [`Network::linear`]: gradients of the weights from `dy`, and that of `x`, which goes to `dx` or, if `adds`, is
    /// added to it. `dy` may be changed.
    pub(super) fn linear_reverse(
        &self,
        ws: &mut Workspace,
        map: &Linear<usize, usize>,
        (x, mut tape): (&[f32], LinearTape),
        dy: &mut [f32],
        (dx, adds): (&mut [f32], bool),
        gradients: &mut Gradients,
    ) {
        self.linear_input(ws, map, &mut tape, dy, (dx, adds), gradients);
        self.linear_weights(ws, map, (x, tape), dy, gradients);
    }

    /// The part of [`Network::linear_reverse`] that needs no `x`; before the other.
    pub(super) fn linear_input(
        &self,
        ws: &mut Workspace,
        map: &Linear<usize, usize>,
        tape: &mut LinearTape,
        dy: &mut [f32],
        (dx, adds): (&mut [f32], bool),
        gradients: &mut Gradients,
    ) {
        if let Some(bias) = map.bias
            && let (_, Some(p)) = self.vector(bias)
        {
            add_columns(ws, dy, &mut gradients[p]);
        }
        let (slot, weight) = self.matrix(map.weight);
        match weight {
            Weight::Trained(p) => {
                let values = View::new(self.values(*p), slot.cols);
                gemm(ws.how(self.rounded), View::new(dy, slot.rows), values.turned(), dx, adds);
            }
            Weight::Frozen(frozen) => frozen_reverse(ws, frozen, dy, dx, adds),
            Weight::LowRank { base, a, b, scale, magnitude } => {
                if let (Some(magnitude), Some(lengthened)) = (magnitude, &tape.plain) {
                    self.lengths_reverse(ws, *magnitude, lengthened, dy, &mut gradients[*magnitude]);
                }
                let rank = self.parameters()[*a].rows;
                if let Some(narrow) = tape.narrow.take() {
                    let gradient = low_rank::outer(ws, &narrow, dy, rank, slot.rows);
                    vector::add(&mut gradients[*b], &low_rank::turned(&gradient, rank, slot.rows));
                    ws.give(narrow);
                }
                let mut dnarrow = ws.take(dx.len() / slot.cols * rank);
                let turned = low_rank::turned(self.values(*b), slot.rows, rank);
                low_rank::narrow(ws, dy, &turned, slot.rows, *scale, &mut dnarrow);
                frozen_reverse(ws, base, dy, dx, adds);
                low_rank::widen(ws, &dnarrow, self.values(*a), slot.cols, dx);
                tape.narrow = Some(dnarrow);
            }
            Weight::Singular { .. } => {
                let values = View::new(self.composed(ws, map.weight), slot.cols);
                gemm(ws.how(self.rounded), View::new(dy, slot.rows), values.turned(), dx, adds);
            }
        }
    }

    /// The part of [`Network::linear_reverse`] that needs `x`.
    pub(super) fn linear_weights(
        &self,
        ws: &mut Workspace,
        map: &Linear<usize, usize>,
        (x, tape): (&[f32], LinearTape),
        dy: &[f32],
        gradients: &mut Gradients,
    ) {
        let (slot, weight) = self.matrix(map.weight);
        let inputs = View::new(x, slot.cols).turned();
        match weight {
            Weight::Trained(p) => {
                gemm(ws.how(false), View::new(dy, slot.rows).turned(), inputs, &mut gradients[*p], true);
            }
            Weight::Frozen(_) => {}
            Weight::LowRank { a, .. } => {
                // What was narrow has become its gradient.
                if let Some(dnarrow) = &tape.narrow {
                    let rank = self.parameters()[*a].rows;
                    let gradient = low_rank::outer(ws, dnarrow, x, rank, slot.cols);
                    vector::add(&mut gradients[*a], &gradient);
                }
            }
            Weight::Singular { frame, z, .. } => {
                let rank = frame.s.len();
                let mut whole = ws.take(slot.rows * slot.cols);
                gemm(ws.how(false), View::new(dy, slot.rows).turned(), inputs, &mut whole, false);
                let mut turned = ws.take(rank * slot.cols);
                let along = View::new(&frame.u, rank).turned();
                gemm(ws.how(false), along, View::new(&whole, slot.cols).turned(), &mut turned, false);
                let rows = turned.chunks_exact(slot.cols).zip(frame.vt.chunks_exact(slot.cols));
                for ((g, (row, v)), s) in gradients[*z].iter_mut().zip(rows).zip(&frame.s) {
                    *g += s * slopes::dot(row, v);
                }
                ws.give_all([whole, turned]);
            }
        }
        tape.give(ws);
    }

    /// The gradient by the trained lengths; `dy` becomes that by the rows before they were brought to them.
    fn lengths_reverse(
        &self,
        ws: &Workspace,
        magnitude: usize,
        (plain, factors): &(Buffer, Vec<f32>),
        dy: &mut [f32],
        gradient: &mut [f32],
    ) {
        let width = factors.len();
        let sums = column_sums(ws, dy.len() / width, width, |row, sums| {
            let line = row * width..(row + 1) * width;
            for ((sum, d), y) in sums.iter_mut().zip(&dy[line.clone()]).zip(&plain[line]) {
                *sum = d.mul_add(*y, *sum);
            }
        });
        for (((g, sum), m), factor) in gradient.iter_mut().zip(&sums).zip(self.values(magnitude)).zip(factors) {
            *g += sum * factor / m;
        }
        parallel::rows(ws.threads(), dy, width, |_, row| vector::multiply(row, factors));
    }
}

fn frozen_product(ws: &Workspace, matrix: &crate::matmul::Matrix, x: &[f32], y: &mut [f32]) {
    multiply_all(ws.units(), x, &mut [(matrix, y)], ws.threads());
}

/// `dy · W`.
fn frozen_reverse(ws: &mut Workspace, frozen: &Frozen, dy: &[f32], dx: &mut [f32], adds: bool) {
    let matrix = frozen.reverse(ws.threads());
    if !adds {
        return frozen_product(ws, matrix, dy, dx);
    }
    let mut more = ws.take(dx.len());
    frozen_product(ws, matrix, dy, &mut more);
    let width = matrix.rows();
    parallel::rows(ws.threads(), dx, width, |i, row| vector::add(row, &more[i * width..(i + 1) * width]));
    ws.give(more);
}
