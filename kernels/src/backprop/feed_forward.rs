//! Feed-forward parts and mixtures of them, forward and reverse.

use super::linear::LinearTape;
use super::rows::{gather, scatter};
use super::{Gradients, Network, Workspace};
use crate::decode::{Activation, FeedForward, Layer, Mlp};
use crate::matmul::lines::Buffer;
use crate::matmul::parallel;
use crate::vector;
use crate::vector::slopes;

/// What the reverse of a feed-forward part needs, besides what went in.
pub(super) struct PartTape {
    gate: Option<(Buffer, LinearTape)>,
    up: (Buffer, LinearTape),
    down: LinearTape,
}

/// The same of a block's one part, or of its experts.
pub(super) enum FeedForwardTape {
    One(PartTape),
    Mixture {
        router: LinearTape,
        /// For each row the experts that it goes through, and its shares in them.
        shares: Vec<Vec<(usize, f32)>>,
        /// For each expert its rows, what they made, and its tape; none if it has no row.
        experts: Vec<Option<(Vec<usize>, Buffer, PartTape)>>,
    },
}

type Reverse2 = fn(&mut [f32], &mut [f32]);
type Reverse3 = fn(&mut [f32], &mut [f32], &mut [f32]);

fn forward_of(activation: Activation) -> fn(&mut [f32]) {
    match activation {
        Activation::Silu => vector::silu,
        Activation::Gelu => vector::gelu,
        Activation::GeluTanh => vector::gelu_tanh,
        Activation::Relu => vector::relu,
    }
}

fn reverse_of(activation: Activation) -> (Reverse2, Reverse3) {
    match activation {
        Activation::Silu => (slopes::silu, slopes::silu_gate),
        Activation::Gelu => (slopes::gelu, slopes::gelu_gate),
        Activation::GeluTanh => (slopes::gelu_tanh, slopes::gelu_tanh_gate),
        Activation::Relu => (slopes::relu, slopes::relu_gate),
    }
}

impl PartTape {
    fn give(self, ws: &mut Workspace) {
        for (buffer, tape) in self.gate.into_iter().chain([self.up]) {
            ws.give(buffer);
            tape.give(ws);
        }
        self.down.give(ws);
    }
}

impl FeedForwardTape {
    pub(super) fn give(self, ws: &mut Workspace) {
        match self {
            Self::One(tape) => tape.give(ws),
            Self::Mixture { router, experts, .. } => {
                router.give(ws);
                for (_, made, tape) in experts.into_iter().flatten() {
                    ws.give(made);
                    tape.give(ws);
                }
            }
        }
    }
}

impl Network {
    /// What a block's feed-forward part makes of `x`.
    pub(super) fn feed_forward(
        &self,
        ws: &mut Workspace,
        layer: &Layer<usize, usize>,
        x: &[f32],
    ) -> (Buffer, FeedForwardTape) {
        let (Some(router), Mlp::Experts { chosen, .. }) = (&layer.router, self.config.mlp) else {
            let (y, tape) = self.part(ws, &layer.experts[0], x);
            return (y, FeedForwardTape::One(tape));
        };
        let width = self.config.hidden_size;
        let (scores, router) = self.linear(ws, router, x);
        let shares: Vec<Vec<(usize, f32)>> =
            scores.chunks_exact(layer.experts.len()).map(|row| vector::shares(row, chosen)).collect();
        ws.give(scores);
        let mut out = ws.zeros(x.len());
        let mut experts = Vec::with_capacity(layer.experts.len());
        for (index, expert) in layer.experts.iter().enumerate() {
            let rows: Vec<usize> = (0..shares.len()).filter(|&i| share(&shares[i], index).is_some()).collect();
            if rows.is_empty() {
                experts.push(None);
                continue;
            }
            let some = gather(ws, x, Some(&rows), width);
            let (made, tape) = self.part(ws, expert, &some);
            ws.give(some);
            for (made, &i) in made.chunks_exact(width).zip(&rows) {
                let share = share(&shares[i], index).unwrap_or(0.0);
                vector::add_scaled(&mut out[i * width..(i + 1) * width], made, share);
            }
            experts.push(Some((rows, made, tape)));
        }
        (out, FeedForwardTape::Mixture { router, shares, experts })
    }

    /// The reverse of [`Network::feed_forward`]: the gradient by `x` goes to `dx`, or is added to it.
    pub(super) fn feed_forward_reverse(
        &self,
        ws: &mut Workspace,
        layer: &Layer<usize, usize>,
        (x, tape): (&[f32], FeedForwardTape),
        dy: &mut [f32],
        (dx, adds): (&mut [f32], bool),
        gradients: &mut Gradients,
    ) {
        let (router, shares, experts) = match tape {
            FeedForwardTape::One(tape) => {
                return self.part_reverse(ws, &layer.experts[0], (x, tape), dy, (dx, adds), gradients);
            }
            FeedForwardTape::Mixture { router, shares, experts } => (router, shares, experts),
        };
        let Some(router_map) = &layer.router else { return };
        let width = self.config.hidden_size;
        if !adds {
            dx.fill(0.0);
        }
        // For each row the slopes of its shares, in the order of its experts.
        let mut slopes_of: Vec<Vec<f32>> = shares.iter().map(|row| vec![0.0; row.len()]).collect();
        for (index, (expert, of)) in layer.experts.iter().zip(experts).enumerate() {
            let Some((rows, made, tape)) = of else { continue };
            let mut dmade = gather(ws, dy, Some(&rows), width);
            for ((d, made), &i) in dmade.chunks_exact_mut(width).zip(made.chunks_exact(width)).zip(&rows) {
                if let Some(at) = shares[i].iter().position(|(e, _)| *e == index) {
                    slopes_of[i][at] = slopes::dot(d, made);
                    slopes::scale(d, shares[i][at].1);
                }
            }
            let some = gather(ws, x, Some(&rows), width);
            let mut dsome = ws.take(some.len());
            self.part_reverse(ws, expert, (&some, tape), &mut dmade, (&mut dsome, false), gradients);
            scatter(ws, &dsome, Some(&rows), width, dx);
            ws.give_all([dmade, some, dsome, made]);
        }
        let count = layer.experts.len();
        let mut dscores = ws.zeros(shares.len() * count);
        for ((d, shares), slopes) in dscores.chunks_exact_mut(count).zip(&shares).zip(&slopes_of) {
            let mean: f32 = shares.iter().zip(slopes).map(|((_, share), slope)| share * slope).sum();
            for ((expert, share), slope) in shares.iter().zip(slopes) {
                d[*expert] = share * (slope - mean);
            }
        }
        self.linear_reverse(ws, router_map, (x, router), &mut dscores, (dx, true), gradients);
        ws.give(dscores);
    }

    /// `down(a(gate(x)) · up(x))`, or `down(a(up(x)))`.
    fn part(&self, ws: &mut Workspace, part: &FeedForward<usize, usize>, x: &[f32]) -> (Buffer, PartTape) {
        let width = self.config.intermediate_size;
        let activate = forward_of(self.config.activation);
        let gate = part.gate.as_ref().map(|gate| self.linear(ws, gate, x));
        let up = self.linear(ws, &part.up, x);
        let mut wide = ws.take(up.0.len());
        let (gates, ups) = (gate.as_ref().map(|(gate, _)| &**gate), &*up.0);
        parallel::rows(ws.threads(), &mut wide, width, |i, row| {
            let line = i * width..(i + 1) * width;
            row.copy_from_slice(&gates.unwrap_or(ups)[line.clone()]);
            activate(row);
            if gates.is_some() {
                vector::multiply(row, &ups[line]);
            }
        });
        let (y, down) = self.linear(ws, &part.down, &wide);
        ws.give(wide);
        (y, PartTape { gate, up, down })
    }

    fn part_reverse(
        &self,
        ws: &mut Workspace,
        part: &FeedForward<usize, usize>,
        (x, tape): (&[f32], PartTape),
        dy: &mut [f32],
        (dx, adds): (&mut [f32], bool),
        gradients: &mut Gradients,
    ) {
        let width = self.config.intermediate_size;
        let (plain, gated) = reverse_of(self.config.activation);
        let PartTape { gate, up: (mut up, up_tape), mut down } = tape;
        // The gradient of what `down` was given; then what it was given, which is made again for the gradient of its weight.
        let mut wide = ws.take(up.len());
        self.linear_input(ws, &part.down, &mut down, dy, (&mut wide, false), gradients);
        match gate {
            Some((mut gate, gate_tape)) => {
                three(ws, [&mut gate, &mut up, &mut wide], width, gated);
                self.linear_weights(ws, &part.down, (&wide, down), dy, gradients);
                if let Some(map) = &part.gate {
                    self.linear_reverse(ws, map, (x, gate_tape), &mut gate, (dx, adds), gradients);
                }
                self.linear_reverse(ws, &part.up, (x, up_tape), &mut up, (dx, true), gradients);
                ws.give(gate);
            }
            None => {
                two(ws, [&mut up, &mut wide], width, plain);
                self.linear_weights(ws, &part.down, (&wide, down), dy, gradients);
                self.linear_reverse(ws, &part.up, (x, up_tape), &mut up, (dx, adds), gradients);
            }
        }
        ws.give_all([up, wide]);
    }
}

/// `f` of each row of two matrices.
fn two(ws: &Workspace, [a, b]: [&mut [f32]; 2], width: usize, f: Reverse2) {
    let mut rows: Vec<_> = a.chunks_exact_mut(width).zip(b.chunks_exact_mut(width)).collect();
    parallel::pieces(ws.threads(), rows.len() * width * 16, &mut rows, 1, |_, row| f(row[0].0, row[0].1));
}

/// `f` of each row of three matrices.
fn three(ws: &Workspace, [a, b, c]: [&mut [f32]; 3], width: usize, f: Reverse3) {
    let rows = a.chunks_exact_mut(width).zip(b.chunks_exact_mut(width)).zip(c.chunks_exact_mut(width));
    let mut rows: Vec<_> = rows.collect();
    parallel::pieces(ws.threads(), rows.len() * width * 16, &mut rows, 1, |_, row| {
        let ((a, b), c) = &mut row[0];
        f(a, b, c);
    });
}

/// A row's share in an expert.
fn share(shares: &[(usize, f32)], expert: usize) -> Option<f32> {
    shares.iter().find(|(e, _)| *e == expert).map(|(_, share)| *share)
}
