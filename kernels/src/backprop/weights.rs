//! One value for each of the decoder's weights.

use crate::decode::Config;

/// Something for each weight of a decoder: its name, its values, its gradient, a moment.
///
/// Matrices are row-major, outputs × inputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights<T> {
    /// The embedding, vocabulary × hidden.
    pub embed: T,
    /// The blocks, from the first.
    pub blocks: Vec<Block<T>>,
    /// The norm before the head, hidden.
    pub norm: T,
    /// The head, vocabulary × hidden; `None` if it is the embedding.
    pub head: Option<T>,
}

/// Something for each weight of a block.
#[derive(Clone, Debug, PartialEq)]
pub struct Block<T> {
    /// The norm before attention, hidden.
    pub attn_norm: T,
    /// The query projection, query size × hidden.
    pub q: T,
    /// The key projection, key size × hidden.
    pub k: T,
    /// The value projection, key size × hidden.
    pub v: T,
    /// The output projection, hidden × query size.
    pub o: T,
    /// The norm before the feed-forward part, hidden.
    pub mlp_norm: T,
    /// The gate projection, intermediate × hidden.
    pub gate: T,
    /// The up projection, intermediate × hidden.
    pub up: T,
    /// The down projection, hidden × intermediate.
    pub down: T,
}

impl<T> Block<T> {
    fn try_map<U, E>(&self, f: &mut impl FnMut(&T) -> Result<U, E>) -> Result<Block<U>, E> {
        Ok(Block {
            attn_norm: f(&self.attn_norm)?,
            q: f(&self.q)?,
            k: f(&self.k)?,
            v: f(&self.v)?,
            o: f(&self.o)?,
            mlp_norm: f(&self.mlp_norm)?,
            gate: f(&self.gate)?,
            up: f(&self.up)?,
            down: f(&self.down)?,
        })
    }
}

impl<T> Weights<T> {
    /// `f` of each, in order.
    ///
    /// # Errors
    /// The first error of `f`.
    pub fn try_map<U, E>(&self, mut f: impl FnMut(&T) -> Result<U, E>) -> Result<Weights<U>, E> {
        Ok(Weights {
            embed: f(&self.embed)?,
            blocks: self.blocks.iter().map(|block| block.try_map(&mut f)).collect::<Result<_, E>>()?,
            norm: f(&self.norm)?,
            head: self.head.as_ref().map(f).transpose()?,
        })
    }

    /// `f` of each, in order.
    pub fn map<U>(&self, mut f: impl FnMut(&T) -> U) -> Weights<U> {
        match self.try_map(|value| Ok::<U, std::convert::Infallible>(f(value))) {
            Ok(mapped) => mapped,
            Err(never) => match never {},
        }
    }

    /// All of them, in order: the embedding, the blocks, the norm, the head.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        std::iter::once(&self.embed)
            .chain(
                self.blocks
                    .iter()
                    .flat_map(move |b| [&b.attn_norm, &b.q, &b.k, &b.v, &b.o, &b.mlp_norm, &b.gate, &b.up, &b.down]),
            )
            .chain([&self.norm])
            .chain(&self.head)
    }

    /// All of them, to be changed, in the order of [`Weights::iter`].
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        std::iter::once(&mut self.embed)
            .chain(self.blocks.iter_mut().flat_map(|b| {
                [
                    &mut b.attn_norm,
                    &mut b.q,
                    &mut b.k,
                    &mut b.v,
                    &mut b.o,
                    &mut b.mlp_norm,
                    &mut b.gate,
                    &mut b.up,
                    &mut b.down,
                ]
            }))
            .chain([&mut self.norm])
            .chain(&mut self.head)
    }
}

impl Weights<Vec<f32>> {
    /// Zeros in the shape of these.
    pub fn zeros_like(&self) -> Self {
        self.map(|values| vec![0.0; values.len()])
    }
}

impl Weights<String> {
    /// Hugging Face's names of the weights of a Llama-like decoder.
    pub fn names(config: &Config) -> Self {
        let block = |layer: usize| {
            let name = |part: &str| format!("model.layers.{layer}.{part}.weight");
            Block {
                attn_norm: name("input_layernorm"),
                q: name("self_attn.q_proj"),
                k: name("self_attn.k_proj"),
                v: name("self_attn.v_proj"),
                o: name("self_attn.o_proj"),
                mlp_norm: name("post_attention_layernorm"),
                gate: name("mlp.gate_proj"),
                up: name("mlp.up_proj"),
                down: name("mlp.down_proj"),
            }
        };
        Self {
            embed: "model.embed_tokens.weight".to_owned(),
            blocks: (0..config.num_layers()).map(block).collect(),
            norm: "model.norm.weight".to_owned(),
            head: (!config.tied_head).then(|| "lm_head.weight".to_owned()),
        }
    }
}

impl Weights<[usize; 2]> {
    /// The shapes of the weights, rows × columns; a norm is 1 × hidden.
    pub fn shapes(config: &Config) -> Self {
        let (hidden, wide) = (config.hidden_size, config.intermediate_size);
        let (queries, keys) = (config.query_size(), config.kv_size());
        let block = Block {
            attn_norm: [1, hidden],
            q: [queries, hidden],
            k: [keys, hidden],
            v: [keys, hidden],
            o: [hidden, queries],
            mlp_norm: [1, hidden],
            gate: [wide, hidden],
            up: [wide, hidden],
            down: [hidden, wide],
        };
        Self {
            embed: [config.vocab_size, hidden],
            blocks: vec![block; config.num_layers()],
            norm: [1, hidden],
            head: (!config.tied_head).then_some([config.vocab_size, hidden]),
        }
    }
}
