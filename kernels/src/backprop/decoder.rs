//! The passes over the whole decoder.

use super::attention::{Attended, Queries, attend, attend_backward};
use super::ops::{Linear, Rotation, gated, gated_backward, norm, norm_backward, rotate, softmax};
use super::{Batch, Block, Weights, Workspace};
use crate::decode::{Activation, Config, Mlp, NormKind, Order, Rope};

/// What of `config` the passes do not know, if anything: they train what a Llama is made of.
pub fn unsupported(config: &Config) -> Option<&'static str> {
    let rotated = config.layers.first().and_then(|layer| layer.rope.as_ref());
    let whole = rotated.is_some_and(|rope| rope.width == config.head_dim && rope.amplitude() == 1.0);
    let plain_scale = config.attention_scale == 1.0 / (config.head_dim as f32).sqrt();
    [
        (config.qkv_bias || config.output_bias || config.mlp_bias, "projections with a bias"),
        (config.norm.kind != NormKind::Rms, "norms with a mean"),
        (config.order != Order::Before, "norms other than before a block's parts"),
        (config.qk_norm, "normed queries and keys"),
        (config.activation != Activation::Silu, "activations other than SiLU"),
        (matches!(config.mlp, Mlp::Experts { .. }), "experts"),
        (config.mlp != Mlp::Gated, "a feed-forward part without a gate"),
        (!plain_scale || config.embedding_scale != 1.0, "scales of its own"),
        (config.attention_cap.is_some() || config.logit_cap.is_some(), "soft caps"),
        (config.learned_positions || config.token_types > 0, "learned positions"),
        (!config.causal, "attention to later tokens"),
        (!config.layers.is_empty() && !whole, "partial rotation"),
        (config.layers.windows(2).any(|two| two[0] != two[1]), "blocks that differ"),
    ]
    .into_iter()
    .find_map(|(found, what)| found.then_some(what))
}

/// What the reverse pass needs of the forward pass, and the result.
pub struct Tape {
    /// The log-probability of each target, in the batch's order.
    pub log_probabilities: Vec<f32>,
    blocks: Vec<BlockTape>,
    rotation: Rotation,
    positions: Vec<usize>,
    last: Asking,
    head: HeadTape,
}

struct HeadTape {
    stream: Vec<f32>,
    normed: Vec<f32>,
    factors: Vec<f32>,
    probabilities: Vec<f32>,
}

impl Tape {
    /// The most probable token at each target (the smallest of equals), in the batch's order.
    pub fn predicted(&self, vocabulary: usize) -> Vec<u32> {
        let rows = self.head.probabilities.chunks_exact(vocabulary);
        rows.map(|row| {
            let best = (0..row.len()).reduce(|best, i| if row[i] > row[best] { i } else { best });
            best.unwrap_or(0) as u32
        })
        .collect()
    }
}

struct BlockTape {
    stream: Vec<f32>,
    attn_in: Vec<f32>,
    attn_factors: Vec<f32>,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    probabilities: Vec<f32>,
    attended: Vec<f32>,
    middle: Vec<f32>,
    mlp_in: Vec<f32>,
    mlp_factors: Vec<f32>,
    gate: Vec<f32>,
    up: Vec<f32>,
    gated: Vec<f32>,
}

impl BlockTape {
    /// All that came from the workspace.
    fn buffers(self) -> [Vec<f32>; 12] {
        [
            self.stream,
            self.attn_in,
            self.q,
            self.k,
            self.v,
            self.probabilities,
            self.attended,
            self.middle,
            self.mlp_in,
            self.gate,
            self.up,
            self.gated,
        ]
    }
}

/// The rows that ask in a block: all but in the last block, where only targets' rows matter.
#[derive(Clone)]
struct Asking {
    rows: Option<Vec<usize>>,
    spans: Vec<(usize, usize)>,
    positions: Vec<usize>,
}

impl Asking {
    fn all(batch: &Batch) -> Self {
        let positions = batch.spans.iter().flat_map(|&(start, end)| 0..end - start).collect();
        Self { rows: None, spans: batch.spans.clone(), positions }
    }

    fn targets(batch: &Batch) -> Self {
        let first = |row: usize| batch.rows.partition_point(|&r| r < row);
        let of = |&(start, end): &(usize, usize)| batch.rows[first(start)..first(end)].iter().map(move |r| r - start);
        Self {
            rows: Some(batch.rows.clone()),
            spans: batch.spans.iter().map(|&(start, end)| (first(start), first(end))).collect(),
            positions: batch.spans.iter().flat_map(of).collect(),
        }
    }

    fn queries<'a>(&'a self, batch: &'a Batch) -> Queries<'a> {
        Queries { asking: self.spans.clone(), positions: &self.positions, spans: &batch.spans }
    }

    /// The asking rows of `x`.
    fn gather(&self, x: &[f32], width: usize) -> Vec<f32> {
        match &self.rows {
            None => x.to_vec(),
            Some(rows) => rows.iter().flat_map(|r| &x[r * width..(r + 1) * width]).copied().collect(),
        }
    }

    /// Adds `x`, which has the asking rows only, to these rows of `all`.
    fn scatter(&self, x: &[f32], width: usize, all: &mut [f32]) {
        match &self.rows {
            None => add(all, x),
            Some(rows) => {
                for (r, x) in rows.iter().zip(x.chunks_exact(width)) {
                    add(&mut all[r * width..(r + 1) * width], x);
                }
            }
        }
    }
}

/// The forward pass: the log-probability of each target, and what [`backward`] needs.
///
/// Computed once a row: the last block, but for its keys and values, and the head only where there is a target. Weights must
/// have the shapes of [`Weights::shapes`], tokens lie below the vocabulary's size, and [`unsupported`] be `None`.
pub fn forward(ws: &mut Workspace, config: &Config, weights: &Weights<Vec<f32>>, batch: &Batch) -> Tape {
    check(config, weights, batch);
    let hidden = config.hidden_size;
    let longest = batch.spans.iter().map(|(start, end)| end - start).max().unwrap_or(0);
    let rope = config.layers.first().and_then(|layer| layer.rope.as_ref());
    let rotation = Rotation::new(&rope.map(Rope::frequencies).unwrap_or_default(), longest);
    let (all, last) = (Asking::all(batch), Asking::targets(batch));
    let mut stream = ws.zeros(batch.tokens.len() * hidden);
    for (row, &token) in stream.chunks_exact_mut(hidden).zip(&batch.tokens) {
        row.copy_from_slice(&weights.embed[token as usize * hidden..][..hidden]);
    }
    let mut blocks = Vec::with_capacity(weights.blocks.len());
    for (index, block) in weights.blocks.iter().enumerate() {
        let asking = if index + 1 == weights.blocks.len() { &last } else { &all };
        let (tape, next) = block_forward(ws, config, block, batch, (asking, &all, &rotation), stream);
        stream = next;
        blocks.push(tape);
    }
    if blocks.is_empty() {
        let asked = last.gather(&stream, hidden);
        stream = ws.copy(&asked);
    }
    let (normed, factors) = norm(ws, &stream, &weights.norm, config.norm.eps);
    let head = weights.head.as_ref().unwrap_or(&weights.embed);
    let mut probabilities = head_product(config, batch).forward(ws, &normed, head);
    let rows = probabilities.chunks_exact_mut(config.vocab_size).zip(&batch.targets);
    let log_probabilities = rows
        .map(|(row, &target)| {
            let logit = row[target as usize];
            logit - softmax(row)
        })
        .collect();
    let head = HeadTape { stream, normed, factors, probabilities };
    let positions = all.positions;
    Tape { log_probabilities, blocks, rotation, positions, last, head }
}

/// The reverse pass: adds to `gradients` the derivative, by each weight, of a loss whose derivative by the log-probability of
/// each target is `slopes`.
pub fn backward(
    ws: &mut Workspace,
    config: &Config,
    weights: &Weights<Vec<f32>>,
    batch: &Batch,
    tape: Tape,
    slopes: &[f32],
    gradients: &mut Weights<Vec<f32>>,
) {
    assert_eq!(slopes.len(), batch.targets.len(), "one slope for each target");
    let hidden = config.hidden_size;
    let Tape { blocks, rotation, positions, last, head, .. } = tape;
    let mut dstream = head_backward(ws, config, weights, batch, head, (slopes, &mut *gradients));
    if blocks.is_empty() {
        let mut every = ws.zeros(batch.tokens.len() * hidden);
        last.scatter(&dstream, hidden, &mut every);
        ws.give([std::mem::replace(&mut dstream, every)]);
    }
    let all = Asking { rows: None, spans: batch.spans.clone(), positions };
    let count = blocks.len();
    let layers = blocks.into_iter().zip(&weights.blocks).zip(&mut gradients.blocks);
    for (index, ((tape, block), gradient)) in layers.enumerate().rev() {
        let asking = if index + 1 == count { &last } else { &all };
        let rows = (asking, &all, &rotation);
        dstream = block_backward(ws, config, block, batch, rows, tape, (dstream, gradient));
    }
    for (&token, d) in batch.tokens.iter().zip(dstream.chunks_exact(hidden)) {
        add(&mut gradients.embed[token as usize * hidden..][..hidden], d);
    }
    ws.give([dstream]);
}

/// The reverse of the head and its norm: the gradient by the stream after the last block.
fn head_backward(
    ws: &mut Workspace,
    config: &Config,
    weights: &Weights<Vec<f32>>,
    batch: &Batch,
    tape: HeadTape,
    (slopes, gradients): (&[f32], &mut Weights<Vec<f32>>),
) -> Vec<f32> {
    let HeadTape { stream, normed, factors, probabilities: mut dlogits } = tape;
    let rows = dlogits.chunks_exact_mut(config.vocab_size);
    for ((row, &target), slope) in rows.zip(&batch.targets).zip(slopes) {
        row.iter_mut().for_each(|p| *p *= -slope);
        row[target as usize] += slope;
    }
    let product = head_product(config, batch);
    let head = weights.head.as_ref().unwrap_or(&weights.embed);
    let mut dnormed = ws.zeros(normed.len());
    product.backward_input(&dlogits, head, &mut dnormed);
    let dhead = gradients.head.as_mut().unwrap_or(&mut gradients.embed);
    product.backward_weight(&dlogits, &normed, dhead);
    let mut dstream = ws.zeros(stream.len());
    let before = (stream.as_slice(), factors.as_slice());
    norm_backward(before, &weights.norm, &dnormed, &mut dstream, &mut gradients.norm);
    ws.give([dnormed, stream, normed, dlogits]);
    dstream
}

/// The rows that ask, all rows, and the angles.
type Rows<'a> = (&'a Asking, &'a Asking, &'a Rotation);

fn block_forward(
    ws: &mut Workspace,
    config: &Config,
    block: &Block<Vec<f32>>,
    batch: &Batch,
    (asking, all, rotation): Rows<'_>,
    stream: Vec<f32>,
) -> (BlockTape, Vec<f32>) {
    let p = Products::new(config, batch.tokens.len(), asking.positions.len());
    let (attn_in, attn_factors) = norm(ws, &stream, &block.attn_norm, config.norm.eps);
    let mut q = match &asking.rows {
        None => p.q.forward(ws, &attn_in, &block.q),
        Some(_) => p.q.forward(ws, &asking.gather(&attn_in, config.hidden_size), &block.q),
    };
    let mut k = p.kv.forward(ws, &attn_in, &block.k);
    let v = p.kv.forward(ws, &attn_in, &block.v);
    rotate(&mut q, config.query_size(), rotation, &asking.positions, false);
    rotate(&mut k, config.kv_size(), rotation, &all.positions, false);
    let (attended, probabilities) = attend(ws, config, &asking.queries(batch), &q, &k, &v);
    let mut middle = p.o.forward(ws, &attended, &block.o);
    match &asking.rows {
        None => add(&mut middle, &stream),
        Some(_) => add(&mut middle, &asking.gather(&stream, config.hidden_size)),
    }
    let (mlp_in, mlp_factors) = norm(ws, &middle, &block.mlp_norm, config.norm.eps);
    let gate = p.up.forward(ws, &mlp_in, &block.gate);
    let up = p.up.forward(ws, &mlp_in, &block.up);
    let gated = gated(ws, &gate, &up);
    let mut next = p.down.forward(ws, &gated, &block.down);
    add(&mut next, &middle);
    let tape = BlockTape {
        stream,
        attn_in,
        attn_factors,
        q,
        k,
        v,
        probabilities,
        attended,
        middle,
        mlp_in,
        mlp_factors,
        gate,
        up,
        gated,
    };
    (tape, next)
}

fn block_backward(
    ws: &mut Workspace,
    config: &Config,
    block: &Block<Vec<f32>>,
    batch: &Batch,
    rows: Rows<'_>,
    mut tape: BlockTape,
    (dnext, gradient): (Vec<f32>, &mut Block<Vec<f32>>),
) -> Vec<f32> {
    let (asking, all, rotation) = rows;
    let hidden = config.hidden_size;
    let p = Products::new(config, batch.tokens.len(), asking.positions.len());
    let dmiddle = mlp_backward(ws, &p, block, &mut tape, (dnext, &mut *gradient));

    let mut dattended = ws.zeros(tape.attended.len());
    p.o.backward_input(&dmiddle, &block.o, &mut dattended);
    p.o.backward_weight(&dmiddle, &tape.attended, &mut gradient.o);
    let attended =
        Attended { q: &tape.q, k: &tape.k, v: &tape.v, out: &tape.attended, probabilities: &tape.probabilities };
    let (mut dq, mut dk, dv) = attend_backward(ws, config, &asking.queries(batch), &attended, &dattended);
    rotate(&mut dq, config.query_size(), rotation, &asking.positions, true);
    rotate(&mut dk, config.kv_size(), rotation, &all.positions, true);

    let mut dattn_in = ws.zeros(tape.attn_in.len());
    let mut dasked = ws.zeros(asking.positions.len() * hidden);
    p.q.backward_input(&dq, &block.q, &mut dasked);
    asking.scatter(&dasked, hidden, &mut dattn_in);
    match &asking.rows {
        None => p.q.backward_weight(&dq, &tape.attn_in, &mut gradient.q),
        Some(_) => {
            let asked = asking.gather(&tape.attn_in, hidden);
            p.q.backward_weight(&dq, &asked, &mut gradient.q);
        }
    }
    p.kv.backward_input(&dk, &block.k, &mut dattn_in);
    p.kv.backward_input(&dv, &block.v, &mut dattn_in);
    p.kv.backward_weight(&dk, &tape.attn_in, &mut gradient.k);
    p.kv.backward_weight(&dv, &tape.attn_in, &mut gradient.v);
    let mut dstream = ws.zeros(tape.stream.len());
    asking.scatter(&dmiddle, hidden, &mut dstream);
    let before = (tape.stream.as_slice(), tape.attn_factors.as_slice());
    norm_backward(before, &block.attn_norm, &dattn_in, &mut dstream, &mut gradient.attn_norm);
    ws.give([dmiddle, dattended, dq, dk, dv, dattn_in, dasked]);
    ws.give(tape.buffers());
    dstream
}

/// The reverse of the feed-forward part: from the gradient by the block's result to that by the stream before the part.
fn mlp_backward(
    ws: &mut Workspace,
    p: &Products,
    block: &Block<Vec<f32>>,
    tape: &mut BlockTape,
    (dnext, gradient): (Vec<f32>, &mut Block<Vec<f32>>),
) -> Vec<f32> {
    let mut dgated = ws.zeros(tape.gated.len());
    p.down.backward_input(&dnext, &block.down, &mut dgated);
    p.down.backward_weight(&dnext, &tape.gated, &mut gradient.down);
    gated_backward(&mut tape.gate, &mut tape.up, &dgated);
    let mut dmlp_in = ws.zeros(tape.mlp_in.len());
    p.up.backward_input(&tape.gate, &block.gate, &mut dmlp_in);
    p.up.backward_input(&tape.up, &block.up, &mut dmlp_in);
    p.up.backward_weight(&tape.gate, &tape.mlp_in, &mut gradient.gate);
    p.up.backward_weight(&tape.up, &tape.mlp_in, &mut gradient.up);
    let mut dmiddle = dnext;
    let before = (tape.middle.as_slice(), tape.mlp_factors.as_slice());
    norm_backward(before, &block.mlp_norm, &dmlp_in, &mut dmiddle, &mut gradient.mlp_norm);
    ws.give([dgated, dmlp_in]);
    dmiddle
}

/// The projections of a block over all rows and over the asking rows.
struct Products {
    q: Linear,
    kv: Linear,
    o: Linear,
    up: Linear,
    down: Linear,
}

impl Products {
    fn new(config: &Config, rows: usize, asking: usize) -> Self {
        let linear = |rows, inputs, outputs| Linear { rows, inputs, outputs };
        let (hidden, wide) = (config.hidden_size, config.intermediate_size);
        Self {
            q: linear(asking, hidden, config.query_size()),
            kv: linear(rows, hidden, config.kv_size()),
            o: linear(asking, config.query_size(), hidden),
            up: linear(asking, hidden, wide),
            down: linear(asking, wide, hidden),
        }
    }
}

fn head_product(config: &Config, batch: &Batch) -> Linear {
    Linear { rows: batch.targets.len(), inputs: config.hidden_size, outputs: config.vocab_size }
}

fn add(to: &mut [f32], x: &[f32]) {
    to.iter_mut().zip(x).for_each(|(to, x)| *to += x);
}

fn check(config: &Config, weights: &Weights<Vec<f32>>, batch: &Batch) {
    assert_eq!(unsupported(config), None, "the configuration is supported");
    let shapes = Weights::shapes(config);
    assert_eq!(weights.blocks.len(), shapes.blocks.len(), "one block for each layer");
    assert_eq!(weights.head.is_some(), shapes.head.is_some(), "a head unless it is tied");
    for (values, [rows, columns]) in weights.iter().zip(shapes.iter()) {
        assert_eq!(values.len(), rows * columns, "a weight has its shape");
    }
    assert!(batch.largest_id().is_none_or(|id| (id as usize) < config.vocab_size), "tokens are in the vocabulary");
}
