//! One block, forward and reverse.

use super::attention::{Asking, Attention};
use super::feed_forward::FeedForwardTape;
use super::linear::LinearTape;
use super::rotation::Rotations;
use super::rows::{NormReverse, Stats, add, gather, scatter};
use super::{Batch, Gradients, Network, Workspace};
use crate::decode::{Layer, NormWeights, Order};
use crate::matmul::lines::Buffer;

/// Which block of a pass, and over which rows.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) index: usize,
    pub(super) batch: &'a Batch,
    pub(super) all: &'a Asking,
    /// Which rows the block is computed of.
    pub(super) asking: &'a Asking,
    pub(super) rotations: &'a Rotations,
}

/// A result and what norming it found, if it was normed.
struct Out {
    /// The result before the norm.
    made: Buffer,
    stats: Stats,
}

/// What the reverse of a block needs besides what went in.
pub(super) struct BlockTape {
    attention_stats: Option<Stats>,
    attention: AttentionTape,
    /// What the attention made, if it is normed before it is added.
    attention_out: Option<Out>,
    /// The stream between the parts (asking rows), before the norm that some have there.
    middle: Buffer,
    middle_stats: Option<Stats>,
    feed_forward: FeedForwardTape,
    feed_forward_out: Option<Out>,
}

struct AttentionTape {
    q: Buffer,
    k: Buffer,
    v: Buffer,
    maps: [LinearTape; 4],
    /// Queries and keys before they were normed, with what norming found.
    normed: [Option<Out>; 2],
    attended: Buffer,
}

impl BlockTape {
    pub(super) fn give(self, ws: &mut Workspace) {
        self.attention.give(ws);
        ws.give_all([self.attention_out, self.feed_forward_out].into_iter().flatten().map(|out| out.made));
        ws.give(self.middle);
        self.feed_forward.give(ws);
    }
}

impl AttentionTape {
    fn give(self, ws: &mut Workspace) {
        ws.give_all([self.q, self.k, self.v, self.attended]);
        ws.give_all(self.normed.into_iter().flatten().map(|out| out.made));
        self.maps.into_iter().for_each(|map| map.give(ws));
    }
}

/// Keeps what norming found.
fn give_row(ws: &mut Workspace, normed: Option<(Buffer, Stats)>) -> Option<Stats> {
    normed.map(|(h, stats)| {
        ws.give(h);
        stats
    })
}

impl Network {
    /// A block: what it needs for its reverse, and the stream after it, of the asking rows.
    pub(super) fn block(&self, ws: &mut Workspace, rows: &Rows<'_>, stream: &[f32]) -> (BlockTape, Buffer) {
        let (layer, hidden) = (&self.tree.layers[rows.index], self.config.hidden_size);
        let asked = rows.asking.rows.as_deref();
        let before = layer.attention_norm.as_ref().map(|norm| self.norm(ws, norm, stream));
        let h = before.as_ref().map_or(stream, |(h, _)| h);
        let (made, attention) = self.attention(ws, rows, h);
        let mut middle = gather(ws, stream, asked, hidden);
        let order = self.config.order;
        let out_norm = layer.attention_out_norm.as_ref().filter(|_| order == Order::Around);
        let attention_out = self.add_out(ws, out_norm, made, &mut middle);
        let (next, middle_stats, feed_forward, feed_forward_out) = match order {
            Order::Parallel => {
                let h = gather(ws, h, asked, hidden);
                let (made, tape) = self.feed_forward(ws, layer, &h);
                ws.give(h);
                let mut next = ws.copy(&middle);
                self.add_out(ws, None, made, &mut next);
                (next, None, tape, None)
            }
            Order::Before | Order::Around => {
                let normed = layer.mlp_norm.as_ref().map(|norm| self.norm(ws, norm, &middle));
                let (made, tape) = self.feed_forward(ws, layer, normed.as_ref().map_or(&middle, |(h, _)| h));
                let mut next = ws.copy(&middle);
                let out_norm = layer.mlp_out_norm.as_ref().filter(|_| order == Order::Around);
                let out = self.add_out(ws, out_norm, made, &mut next);
                (next, give_row(ws, normed), tape, out)
            }
            Order::After => {
                let normed = layer.attention_out_norm.as_ref().map(|norm| self.norm(ws, norm, &middle));
                let (mut sum, stats) = normed.unwrap_or_else(|| (ws.copy(&middle), Stats::new()));
                let (made, tape) = self.feed_forward(ws, layer, &sum);
                self.add_out(ws, None, made, &mut sum);
                let out = layer.mlp_out_norm.as_ref().map(|norm| self.norm(ws, norm, &sum));
                let (next, found) = out.unwrap_or_else(|| (ws.copy(&sum), Stats::new()));
                (next, Some(stats), tape, Some(Out { made: sum, stats: found }))
            }
        };
        let attention_stats = give_row(ws, before);
        let tape = BlockTape {
            attention_stats,
            attention,
            attention_out,
            middle,
            middle_stats,
            feed_forward,
            feed_forward_out,
        };
        (tape, next)
    }

    /// `to += N(made)`, or `to += made` without a norm.
    fn add_out(
        &self,
        ws: &mut Workspace,
        norm: Option<&NormWeights<usize>>,
        made: Buffer,
        to: &mut [f32],
    ) -> Option<Out> {
        let hidden = self.config.hidden_size;
        let Some(norm) = norm else {
            add(ws, to, &made, hidden);
            ws.give(made);
            return None;
        };
        let (normed, stats) = self.norm(ws, norm, &made);
        add(ws, to, &normed, hidden);
        ws.give(normed);
        Some(Out { made, stats })
    }

    /// The reverse of [`Network::add_out`]: the gradient by `made`.
    fn add_out_reverse(
        &self,
        ws: &mut Workspace,
        norm: Option<&NormWeights<usize>>,
        out: Option<Out>,
        dy: &[f32],
        gradients: &mut Gradients,
    ) -> Buffer {
        let (Some(norm), Some(Out { made, stats })) = (norm, out) else { return ws.copy(dy) };
        let mut dmade = ws.zeros(made.len());
        self.norm_reverse(ws, norm, &NormReverse { x: &made, stats: &stats, dy }, &mut dmade, gradients);
        ws.give(made);
        dmade
    }

    /// The reverse of [`Network::block`]: from the gradient by the stream after it, that by the stream before.
    pub(super) fn block_reverse(
        &self,
        ws: &mut Workspace,
        rows: &Rows<'_>,
        (stream, tape): (&[f32], BlockTape),
        dnext: Buffer,
        gradients: &mut Gradients,
    ) -> Buffer {
        let (layer, hidden) = (&self.tree.layers[rows.index], self.config.hidden_size);
        let asked = rows.asking.rows.as_deref();
        let BlockTape {
            attention_stats,
            attention,
            attention_out,
            middle,
            middle_stats,
            feed_forward,
            feed_forward_out,
        } = tape;
        let parts = (middle, middle_stats, feed_forward, feed_forward_out);
        // What went into the attention, normed.
        let before = match (&layer.attention_norm, &attention_stats) {
            (Some(norm), Some(stats)) => Some(self.normed(ws, norm, stream, stats)),
            _ => None,
        };
        let h = before.as_deref().unwrap_or(stream);
        let mut dh = ws.zeros(h.len());
        let dmiddle = if self.config.order == Order::Parallel {
            let (middle, _, tape, _) = parts;
            ws.give(middle);
            let some = gather(ws, h, asked, hidden);
            let (mut dy, mut dsome) = (ws.copy(&dnext), ws.take(some.len()));
            self.feed_forward_reverse(ws, layer, (&some, tape), &mut dy, (&mut dsome, false), gradients);
            scatter(ws, &dsome, asked, hidden, &mut dh);
            ws.give_all([some, dy, dsome]);
            dnext
        } else {
            self.second_half_reverse(ws, layer, parts, dnext, gradients)
        };
        let out_norm = layer.attention_out_norm.as_ref().filter(|_| self.config.order == Order::Around);
        let mut dmade = self.add_out_reverse(ws, out_norm, attention_out, &dmiddle, gradients);
        self.attention_reverse(ws, rows, (h, attention), (&mut dmade, &mut dh), gradients);
        ws.give(dmade);
        let mut dstream = ws.zeros(stream.len());
        scatter(ws, &dmiddle, asked, hidden, &mut dstream);
        ws.give(dmiddle);
        match (&layer.attention_norm, &attention_stats) {
            (Some(norm), Some(stats)) => {
                let of = NormReverse { x: stream, stats, dy: &dh };
                self.norm_reverse(ws, norm, &of, &mut dstream, gradients);
            }
            _ => add(ws, &mut dstream, &dh, hidden),
        }
        ws.give(dh);
        ws.give_all(before);
        dstream
    }

    /// The reverse of a block's feed-forward half: the gradient by the stream between the halves.
    fn second_half_reverse(
        &self,
        ws: &mut Workspace,
        layer: &Layer<usize, usize>,
        (middle, stats, tape, out): (Buffer, Option<Stats>, FeedForwardTape, Option<Out>),
        dnext: Buffer,
        gradients: &mut Gradients,
    ) -> Buffer {
        let after = self.config.order == Order::After;
        let between = if after { &layer.attention_out_norm } else { &layer.mlp_norm };
        let h = match (between, &stats) {
            (Some(norm), Some(stats)) => self.normed(ws, norm, &middle, stats),
            _ => ws.copy(&middle),
        };
        let mut dh = ws.take(h.len());
        // The gradient by the sum of both, and by what the part made.
        let (mut dmiddle, mut dmade) = if after {
            let dsum = self.add_out_reverse(ws, layer.mlp_out_norm.as_ref(), out, &dnext, gradients);
            ws.give(dnext);
            let dmade = ws.copy(&dsum);
            (dsum, dmade)
        } else {
            let norm = layer.mlp_out_norm.as_ref().filter(|_| self.config.order == Order::Around);
            let dmade = self.add_out_reverse(ws, norm, out, &dnext, gradients);
            (dnext, dmade)
        };
        self.feed_forward_reverse(ws, layer, (&h, tape), &mut dmade, (&mut dh, false), gradients);
        if after {
            // The part and the sum begin with the same normed stream.
            add(ws, &mut dh, &dmiddle, self.config.hidden_size);
            dmiddle.fill(0.0);
        }
        match (between, &stats) {
            (Some(norm), Some(stats)) => {
                let of = NormReverse { x: &middle, stats, dy: &dh };
                self.norm_reverse(ws, norm, &of, &mut dmiddle, gradients);
            }
            _ => add(ws, &mut dmiddle, &dh, self.config.hidden_size),
        }
        ws.give_all([middle, h, dh, dmade]);
        dmiddle
    }

    /// The attention of the asking rows over `h`.
    fn attention(&self, ws: &mut Workspace, rows: &Rows<'_>, h: &[f32]) -> (Buffer, AttentionTape) {
        let (config, index, asking) = (&self.config, rows.index, rows.asking);
        let layer = &self.tree.layers[index];
        let (q, q_map) = match asking.rows.as_deref() {
            None => self.linear(ws, &layer.q, h),
            some => {
                let asked = gather(ws, h, some, config.hidden_size);
                let made = self.linear(ws, &layer.q, &asked);
                ws.give(asked);
                made
            }
        };
        let (k, k_map) = self.linear(ws, &layer.k, h);
        let (v, v_map) = self.linear(ws, &layer.v, h);
        let (mut q, q_out) = self.head_norm(ws, layer.q_norm.as_ref(), q);
        let (mut k, k_out) = self.head_norm(ws, layer.k_norm.as_ref(), k);
        if let Some(rope) = &config.layers[index].rope {
            rows.rotations.rotate(ws, rope, (&mut q, config.query_size()), config.head_dim, &asking.positions, false);
            rows.rotations.rotate(ws, rope, (&mut k, config.kv_size()), config.head_dim, &rows.all.positions, false);
        }
        let attention = Attention { config, layer: index, asking, batch: rows.batch, q: &q, k: &k, v: &v };
        let attended = attention.forward(ws);
        let (made, o_map) = self.linear(ws, &layer.o, &attended);
        (made, AttentionTape { q, k, v, maps: [q_map, k_map, v_map, o_map], normed: [q_out, k_out], attended })
    }

    fn head_norm(&self, ws: &mut Workspace, norm: Option<&NormWeights<usize>>, x: Buffer) -> (Buffer, Option<Out>) {
        let Some(norm) = norm else { return (x, None) };
        let (normed, stats) = self.norm(ws, norm, &x);
        (normed, Some(Out { made: x, stats }))
    }

    /// The reverse of [`Network::attention`]: adds the gradient by `h` to `dh`.
    fn attention_reverse(
        &self,
        ws: &mut Workspace,
        rows: &Rows<'_>,
        (h, tape): (&[f32], AttentionTape),
        (dmade, dh): (&mut [f32], &mut [f32]),
        gradients: &mut Gradients,
    ) {
        let (config, index, asking) = (&self.config, rows.index, rows.asking);
        let layer = &self.tree.layers[index];
        let AttentionTape { q, k, v, maps: [q_map, k_map, v_map, o_map], normed: [q_out, k_out], attended } = tape;
        let mut dattended = ws.take(attended.len());
        self.linear_reverse(ws, &layer.o, (&attended, o_map), dmade, (&mut dattended, false), gradients);
        let attention = Attention { config, layer: index, asking, batch: rows.batch, q: &q, k: &k, v: &v };
        let [mut dq, mut dk, mut dv] = attention.reverse(ws, &dattended);
        ws.give_all([q, k, v, attended, dattended]);
        if let Some(rope) = &config.layers[index].rope {
            rows.rotations.rotate(ws, rope, (&mut dq, config.query_size()), config.head_dim, &asking.positions, true);
            rows.rotations.rotate(ws, rope, (&mut dk, config.kv_size()), config.head_dim, &rows.all.positions, true);
        }
        let mut dq = self.head_norm_reverse(ws, layer.q_norm.as_ref(), q_out, dq, gradients);
        let mut dk = self.head_norm_reverse(ws, layer.k_norm.as_ref(), k_out, dk, gradients);
        match asking.rows.as_deref() {
            None => self.linear_reverse(ws, &layer.q, (h, q_map), &mut dq, (dh, true), gradients),
            some => {
                let asked = gather(ws, h, some, config.hidden_size);
                let mut dasked = ws.take(asked.len());
                self.linear_reverse(ws, &layer.q, (&asked, q_map), &mut dq, (&mut dasked, false), gradients);
                scatter(ws, &dasked, some, config.hidden_size, dh);
                ws.give_all([asked, dasked]);
            }
        }
        self.linear_reverse(ws, &layer.k, (h, k_map), &mut dk, (dh, true), gradients);
        self.linear_reverse(ws, &layer.v, (h, v_map), &mut dv, (dh, true), gradients);
        ws.give_all([dq, dk, dv]);
    }

    fn head_norm_reverse(
        &self,
        ws: &mut Workspace,
        norm: Option<&NormWeights<usize>>,
        out: Option<Out>,
        dy: Buffer,
        gradients: &mut Gradients,
    ) -> Buffer {
        let (Some(norm), Some(Out { made, stats })) = (norm, out) else { return dy };
        let mut dx = ws.zeros(dy.len());
        self.norm_reverse(ws, norm, &NormReverse { x: &made, stats: &stats, dy: &dy }, &mut dx, gradients);
        ws.give_all([made, dy]);
        dx
    }
}
