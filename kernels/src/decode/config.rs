//! What makes one decoder another: the sizes, and the choices in which families of language models differ, as data.

/// The shape of a transformer and the choices that its family makes.
///
/// One [`Config`] describes a Llama, a Gemma, a GPT-2 or a BERT; there is no code per architecture.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Number of token ids; rows of the embedding.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the feed-forward part (of one expert, if there are experts).
    pub intermediate_size: usize,
    /// Number of query heads.
    pub num_heads: usize,
    /// Number of key and value heads; divides [`Config::num_heads`] (grouped-query attention).
    pub num_kv_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// The longest sequence that the model was made for.
    pub max_positions: usize,
    /// What each block sees, and how it knows positions; one entry a block.
    pub layers: Vec<LayerConfig>,
    /// All normalisations.
    pub norm: Norm,
    /// Where a block's normalisations are.
    pub order: Order,
    /// Whether each head of queries and keys is normed, before rotation.
    pub qk_norm: bool,
    /// The feed-forward part's activation.
    pub activation: Activation,
    /// The feed-forward part's form.
    pub mlp: Mlp,
    /// Whether the query, key and value projections have a bias.
    pub qkv_bias: bool,
    /// Whether the attention's output projection has a bias.
    pub output_bias: bool,
    /// Whether the feed-forward projections have a bias.
    pub mlp_bias: bool,
    /// What scores (queries times keys) are multiplied by; usually `1 / √head_dim`.
    pub attention_scale: f32,
    /// The soft cap `c` of scores: `c · tanh(score / c)` (Gemma 2).
    pub attention_cap: Option<f32>,
    /// The soft cap of logits.
    pub logit_cap: Option<f32>,
    /// What embeddings are multiplied by; usually 1.
    pub embedding_scale: f32,
    /// Whether a learned vector for each position is added to the embeddings.
    pub learned_positions: bool,
    /// Kinds of text that the embeddings tell apart, of which this decoder uses the first; usually 0.
    pub token_types: usize,
    /// Whether a token sees only itself and what lies before it.
    pub causal: bool,
    /// Whether the head is the embedding.
    pub tied_head: bool,
}

/// What one block does otherwise than its neighbours.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerConfig {
    /// How many positions back a token sees, itself included; `None` sees all.
    pub window: Option<usize>,
    /// How queries and keys are rotated; `None` leaves them.
    pub rope: Option<Rope>,
}

/// A normalisation and its constant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Norm {
    /// Which normalisation.
    pub kind: NormKind,
    /// Added to the mean of squares (the variance) before the root.
    pub eps: f32,
}

/// The normalisations that transformers use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormKind {
    /// Root mean square, scaled by the weight (Zhang and Sennrich, 2019).
    Rms,
    /// Mean and variance, scaled by the weight and moved by the bias (Ba et al., 2016).
    Layer,
}

/// Where a block's normalisations are. `A` is the attention, `F` the feed-forward part, each `N` a norm of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// `x += A(N(x))`, then `x += F(N(x))`: most decoders.
    Before,
    /// `x += N(A(N(x)))`, then `x += N(F(N(x)))`: Gemma 2 and 3.
    Around,
    /// `x = N(x + A(x))`, then `x = N(x + F(x))`, and a norm of the embeddings in place of the last one: BERT.
    After,
    /// `n = N(x)`, `x += A(n) + F(n)`: some StableLMs.
    Parallel,
}

/// The activations that transformers use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x · sigmoid(x)` (SwiGLU when it gates).
    Silu,
    /// `x · Φ(x)`, Φ being the normal distribution (Hendrycks and Gimpel, 2016).
    Gelu,
    /// GELU by its approximation with a hyperbolic tangent.
    GeluTanh,
    /// `max(x, 0)`.
    Relu,
}

/// The forms of the feed-forward part; `a` is the activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mlp {
    /// `down(a(gate(x)) · up(x))`.
    Gated,
    /// `down(a(up(x)))`.
    Plain,
    /// Of `count` gated parts each token goes through the `chosen` ones that a router finds most probable, weighted by
    /// these probabilities made to sum to one (Jiang et al., 2024, "Mixtral of experts").
    Experts {
        /// How many there are.
        count: usize,
        /// How many a token goes through.
        chosen: usize,
    },
}

/// Rotary position embedding (Su et al., 2021), in the half-split order of Hugging Face.
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// The base of the geometric series of wave lengths.
    pub theta: f64,
    /// How many of a head's first elements are rotated; even.
    pub width: usize,
    /// How the frequencies are stretched for longer contexts.
    pub scaling: RopeScaling,
}

/// How rotary frequencies are stretched.
#[derive(Clone, Debug, PartialEq)]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// All frequencies divided by `factor` (position interpolation).
    Linear {
        /// The divisor.
        factor: f64,
    },
    /// Llama 3.1's: low frequencies divided, high ones kept, a ramp between.
    Llama3 {
        /// The divisor of the low frequencies.
        factor: f64,
        /// Wave lengths above `original / low` are divided.
        low: f64,
        /// Wave lengths below `original / high` are kept.
        high: f64,
        /// The context length of the first training.
        original: f64,
    },
    /// Each frequency divided by its own factor, and rotated queries and keys multiplied by `amplitude` (LongRoPE, Ding et
    /// al., 2024).
    Each {
        /// The divisors, half as many as rotated elements.
        factors: Vec<f64>,
        /// The multiplier.
        amplitude: f64,
    },
}

impl Rope {
    /// The angle by which each pair of a head turns per position: `width / 2` values, in radians.
    pub fn frequencies(&self) -> Vec<f32> {
        (0..self.width / 2)
            .map(|i| {
                let exponent = 2.0 * i as f64 / self.width as f64;
                self.scaling.apply(i, 1.0 / libm::pow(self.theta, exponent)) as f32
            })
            .collect()
    }

    /// What rotated elements are multiplied by.
    pub fn amplitude(&self) -> f64 {
        if let RopeScaling::Each { amplitude, .. } = self.scaling { amplitude } else { 1.0 }
    }
}

impl RopeScaling {
    fn apply(&self, index: usize, frequency: f64) -> f64 {
        match *self {
            Self::Each { ref factors, .. } => frequency / factors[index],
            Self::None => frequency,
            Self::Linear { factor } => frequency / factor,
            Self::Llama3 { factor, low, high, original } => {
                let wave = std::f64::consts::TAU / frequency;
                if wave < original / high {
                    frequency
                } else if wave > original / low {
                    frequency / factor
                } else {
                    let smooth = (original / wave - low) / (high - low);
                    (1.0 - smooth) * frequency / factor + smooth * frequency
                }
            }
        }
    }
}

impl Config {
    /// Number of blocks.
    pub fn num_layers(&self) -> usize {
        self.layers.len()
    }

    /// Width of the queries of one token: heads × head width.
    pub fn query_size(&self) -> usize {
        self.num_heads * self.head_dim
    }

    /// Width of the keys (or values) of one token: key heads × head width.
    pub fn kv_size(&self) -> usize {
        self.num_kv_heads * self.head_dim
    }
}
