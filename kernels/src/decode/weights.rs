//! What a transformer's weights are: a tree in the shape that a configuration gives, of packed matrices, or of anything else
//! that there is one of for each weight (a size, a name, a file's tensor).

use std::convert::Infallible;
use std::sync::Arc;

use super::DecodeError;
use super::config::{Config, Mlp, NormKind, Order};
use crate::matmul::Matrix;

/// A linear map with an optional bias. Cloning shares the weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear<M = Arc<Matrix>, V = Arc<[f32]>> {
    /// `out × in`.
    pub weight: M,
    /// One element per output.
    pub bias: Option<V>,
}

/// The weights of one normalisation.
#[derive(Clone, Debug, PartialEq)]
pub struct NormWeights<V = Arc<[f32]>> {
    /// What normed elements are multiplied by.
    pub weight: V,
    /// What is then added.
    pub bias: Option<V>,
}

/// A feed-forward part, or one expert.
#[derive(Clone, Debug, PartialEq)]
pub struct FeedForward<M = Arc<Matrix>, V = Arc<[f32]>> {
    /// The gate, if the part is gated.
    pub gate: Option<Linear<M, V>>,
    /// From the residual stream.
    pub up: Linear<M, V>,
    /// Back to the residual stream.
    pub down: Linear<M, V>,
}

/// The weights of one block. Cloning shares them.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer<M = Arc<Matrix>, V = Arc<[f32]>> {
    /// The norm before the attention.
    pub attention_norm: Option<NormWeights<V>>,
    /// Query projection.
    pub q: Linear<M, V>,
    /// Key projection.
    pub k: Linear<M, V>,
    /// Value projection.
    pub v: Linear<M, V>,
    /// The norm of each head's queries.
    pub q_norm: Option<NormWeights<V>>,
    /// The norm of each head's keys.
    pub k_norm: Option<NormWeights<V>>,
    /// Output projection of the attention.
    pub o: Linear<M, V>,
    /// The norm after the attention.
    pub attention_out_norm: Option<NormWeights<V>>,
    /// The norm before the feed-forward part.
    pub mlp_norm: Option<NormWeights<V>>,
    /// Chooses among experts; `None` if there is one feed-forward part for all tokens.
    pub router: Option<Linear<M, V>>,
    /// The feed-forward part, or all experts.
    pub experts: Vec<FeedForward<M, V>>,
    /// The norm after the feed-forward part.
    pub mlp_out_norm: Option<NormWeights<V>>,
}

/// The weights of a transformer. Cloning shares them; models that share a tensor share its packed form.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights<M = Arc<Matrix>, V = Arc<[f32]>> {
    /// `vocabulary × hidden`.
    pub embedding: M,
    /// `positions × hidden`, if positions are learned.
    pub positions: Option<M>,
    /// What is added to every embedding: the vector of the first kind of text.
    pub token_type: Option<V>,
    /// The norm of the embeddings.
    pub embedding_norm: Option<NormWeights<V>>,
    /// The blocks.
    pub layers: Vec<Layer<M, V>>,
    /// The norm before the head.
    pub norm: Option<NormWeights<V>>,
    /// `vocabulary × hidden`; the embedding itself if the head is tied.
    pub head: M,
}

/// The kinds of weights; each has one place in a transformer, or one in each block or expert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// [`Weights::embedding`].
    Embedding,
    /// [`Weights::positions`].
    Positions,
    /// [`Weights::token_type`].
    TokenType,
    /// [`Weights::embedding_norm`].
    EmbeddingNorm,
    /// [`Layer::attention_norm`].
    AttentionNorm,
    /// [`Layer::q`].
    Q,
    /// [`Layer::k`].
    K,
    /// [`Layer::v`].
    V,
    /// [`Layer::q_norm`].
    QNorm,
    /// [`Layer::k_norm`].
    KNorm,
    /// [`Layer::o`].
    O,
    /// [`Layer::attention_out_norm`].
    AttentionOutNorm,
    /// [`Layer::mlp_norm`].
    MlpNorm,
    /// [`Layer::router`].
    Router,
    /// [`FeedForward::gate`].
    Gate,
    /// [`FeedForward::up`].
    Up,
    /// [`FeedForward::down`].
    Down,
    /// [`Layer::mlp_out_norm`].
    MlpOutNorm,
    /// [`Weights::norm`].
    Norm,
    /// [`Weights::head`].
    Head,
}

/// One weight's place and size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The kind.
    pub part: Part,
    /// The block, if it lies in one.
    pub layer: Option<usize>,
    /// The expert, if it belongs to one of several.
    pub expert: Option<usize>,
    /// Whether it is the bias of its part.
    pub bias: bool,
    /// Outputs of a linear map; elements of a vector.
    pub rows: usize,
    /// Inputs of a linear map; 1 for a vector.
    pub cols: usize,
}

impl Config {
    /// The places and sizes of all weights that a model of this configuration has.
    pub fn slots(&self) -> Weights<Slot, Slot> {
        let places = Places { config: self, layer: None, expert: None };
        let hidden = self.hidden_size;
        let embedding = places.slot(Part::Embedding, self.vocab_size, hidden);
        let after = self.order == Order::After;
        Weights {
            embedding,
            positions: self.learned_positions.then(|| places.slot(Part::Positions, self.max_positions, hidden)),
            token_type: (self.token_types > 0).then(|| places.slot(Part::TokenType, hidden, 1)),
            embedding_norm: after.then(|| places.norm(Part::EmbeddingNorm, hidden)),
            layers: (0..self.num_layers()).map(|i| Places { layer: Some(i), ..places }.layer()).collect(),
            norm: (!after).then(|| places.norm(Part::Norm, hidden)),
            head: if self.tied_head { embedding } else { places.slot(Part::Head, self.vocab_size, hidden) },
        }
    }
}

/// Makes the slots of one block, or of one expert, or of what belongs to none.
#[derive(Clone, Copy)]
struct Places<'a> {
    config: &'a Config,
    layer: Option<usize>,
    expert: Option<usize>,
}

impl Places<'_> {
    fn slot(&self, part: Part, rows: usize, cols: usize) -> Slot {
        Slot { part, layer: self.layer, expert: self.expert, bias: false, rows, cols }
    }

    fn norm(&self, part: Part, size: usize) -> NormWeights<Slot> {
        let weight = self.slot(part, size, 1);
        let bias = self.config.norm.kind == NormKind::Layer;
        NormWeights { weight, bias: bias.then_some(Slot { bias: true, ..weight }) }
    }

    fn linear(&self, part: Part, rows: usize, cols: usize, bias: bool) -> Linear<Slot, Slot> {
        let weight = self.slot(part, rows, cols);
        Linear { weight, bias: bias.then_some(Slot { bias: true, cols: 1, ..weight }) }
    }

    fn layer(&self) -> Layer<Slot, Slot> {
        let c = self.config;
        let (hidden, qkv) = (c.hidden_size, c.qkv_bias);
        let norm = |part, here: bool| here.then(|| self.norm(part, hidden));
        let head_norm = |part| c.qk_norm.then(|| self.norm(part, c.head_dim));
        let experts = match c.mlp {
            Mlp::Experts { count, .. } => {
                (0..count).map(|e| Places { expert: Some(e), ..*self }.feed_forward()).collect()
            }
            Mlp::Gated | Mlp::Plain => vec![self.feed_forward()],
        };
        Layer {
            attention_norm: norm(Part::AttentionNorm, c.order != Order::After),
            q: self.linear(Part::Q, c.query_size(), hidden, qkv),
            k: self.linear(Part::K, c.kv_size(), hidden, qkv),
            v: self.linear(Part::V, c.kv_size(), hidden, qkv),
            q_norm: head_norm(Part::QNorm),
            k_norm: head_norm(Part::KNorm),
            o: self.linear(Part::O, hidden, c.query_size(), c.output_bias),
            attention_out_norm: norm(Part::AttentionOutNorm, matches!(c.order, Order::Around | Order::After)),
            mlp_norm: norm(Part::MlpNorm, matches!(c.order, Order::Around | Order::Before)),
            router: match c.mlp {
                Mlp::Experts { count, .. } => Some(self.linear(Part::Router, count, hidden, false)),
                Mlp::Gated | Mlp::Plain => None,
            },
            experts,
            mlp_out_norm: norm(Part::MlpOutNorm, matches!(c.order, Order::Around | Order::After)),
        }
    }

    fn feed_forward(&self) -> FeedForward<Slot, Slot> {
        let c = self.config;
        let (hidden, wide, bias) = (c.hidden_size, c.intermediate_size, c.mlp_bias);
        FeedForward {
            gate: (c.mlp != Mlp::Plain).then(|| self.linear(Part::Gate, wide, hidden, bias)),
            up: self.linear(Part::Up, wide, hidden, bias),
            down: self.linear(Part::Down, hidden, wide, bias),
        }
    }
}

/// What each matrix and each vector of one tree becomes in another.
struct Map<F, G> {
    matrix: F,
    vector: G,
}

impl<F, G> Map<F, G> {
    fn linear<M, V, N, W, E>(&mut self, from: &Linear<M, V>) -> Result<Linear<N, W>, E>
    where
        F: FnMut(&M) -> Result<N, E>,
        G: FnMut(&V) -> Result<W, E>,
    {
        Ok(Linear { weight: (self.matrix)(&from.weight)?, bias: from.bias.as_ref().map(&mut self.vector).transpose()? })
    }

    fn norm<V, W, E>(&mut self, from: Option<&NormWeights<V>>) -> Result<Option<NormWeights<W>>, E>
    where
        G: FnMut(&V) -> Result<W, E>,
    {
        let Some(from) = from else { return Ok(None) };
        let weight = (self.vector)(&from.weight)?;
        Ok(Some(NormWeights { weight, bias: from.bias.as_ref().map(&mut self.vector).transpose()? }))
    }

    fn feed_forward<M, V, N, W, E>(&mut self, from: &FeedForward<M, V>) -> Result<FeedForward<N, W>, E>
    where
        F: FnMut(&M) -> Result<N, E>,
        G: FnMut(&V) -> Result<W, E>,
    {
        let gate = from.gate.as_ref().map(|gate| self.linear(gate)).transpose()?;
        Ok(FeedForward { gate, up: self.linear(&from.up)?, down: self.linear(&from.down)? })
    }

    fn layer<M, V, N, W, E>(&mut self, from: &Layer<M, V>) -> Result<Layer<N, W>, E>
    where
        F: FnMut(&M) -> Result<N, E>,
        G: FnMut(&V) -> Result<W, E>,
    {
        Ok(Layer {
            attention_norm: self.norm(from.attention_norm.as_ref())?,
            q: self.linear(&from.q)?,
            k: self.linear(&from.k)?,
            v: self.linear(&from.v)?,
            q_norm: self.norm(from.q_norm.as_ref())?,
            k_norm: self.norm(from.k_norm.as_ref())?,
            o: self.linear(&from.o)?,
            attention_out_norm: self.norm(from.attention_out_norm.as_ref())?,
            mlp_norm: self.norm(from.mlp_norm.as_ref())?,
            router: from.router.as_ref().map(|router| self.linear(router)).transpose()?,
            experts: from.experts.iter().map(|expert| self.feed_forward(expert)).collect::<Result<_, E>>()?,
            mlp_out_norm: self.norm(from.mlp_out_norm.as_ref())?,
        })
    }
}

impl<M, V> Weights<M, V> {
    /// The tree of what `matrix` and `vector` make of each weight, in the order of a pass.
    ///
    /// # Errors
    /// The first error of either.
    pub fn try_map<N, W, E>(
        &self,
        matrix: impl FnMut(&M) -> Result<N, E>,
        vector: impl FnMut(&V) -> Result<W, E>,
    ) -> Result<Weights<N, W>, E> {
        let mut map = Map { matrix, vector };
        Ok(Weights {
            embedding: (map.matrix)(&self.embedding)?,
            positions: self.positions.as_ref().map(&mut map.matrix).transpose()?,
            token_type: self.token_type.as_ref().map(&mut map.vector).transpose()?,
            embedding_norm: map.norm(self.embedding_norm.as_ref())?,
            layers: self.layers.iter().map(|layer| map.layer(layer)).collect::<Result<_, E>>()?,
            norm: map.norm(self.norm.as_ref())?,
            head: (map.matrix)(&self.head)?,
        })
    }

    /// The same of functions that cannot fail.
    pub fn map<N, W>(&self, mut matrix: impl FnMut(&M) -> N, mut vector: impl FnMut(&V) -> W) -> Weights<N, W> {
        match self.try_map(|m| Ok::<N, Infallible>(matrix(m)), |v| Ok(vector(v))) {
            Ok(mapped) => mapped,
            Err(never) => match never {},
        }
    }
}

/// Whether all weights are there, with the sizes of the configuration.
pub(super) fn check(config: &Config, weights: &Weights) -> Result<(), DecodeError> {
    let wrong = |what: String| Err(DecodeError::Weights { what });
    if config.num_kv_heads == 0 || !config.num_heads.is_multiple_of(config.num_kv_heads) {
        return wrong("number of heads".into());
    }
    let rotated = config.layers.iter().filter_map(|layer| layer.rope.as_ref());
    if rotated.into_iter().any(|rope| rope.width > config.head_dim || !rope.width.is_multiple_of(2)) {
        return wrong("rotated width of heads".into());
    }
    let expected = config.slots().map(|m| (m.rows, m.cols), |v| v.rows);
    let found = weights.map(|m| (m.rows(), m.cols()), |v| v.len());
    if expected.layers.len() != found.layers.len() {
        return wrong("number of layers".into());
    }
    if let Some(i) = expected.layers.iter().zip(&found.layers).position(|(a, b)| a != b) {
        return wrong(format!("layer {i}"));
    }
    if expected != found {
        return wrong("embedding, head or last norm".into());
    }
    Ok(())
}
