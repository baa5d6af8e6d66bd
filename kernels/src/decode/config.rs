//! What makes one decoder another: the sizes, and the choices in which families of language models differ, as data.

/// The shape of a decoder-only transformer and the choices that its family makes.
///
/// One [`Config`] describes a Llama, a Mistral or a SmolLM2; there is no code per architecture.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Number of token ids; rows of the embedding.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the feed-forward part.
    pub intermediate_size: usize,
    /// Number of blocks.
    pub num_layers: usize,
    /// Number of query heads.
    pub num_heads: usize,
    /// Number of key and value heads; divides [`Config::num_heads`] (grouped-query attention).
    pub num_kv_heads: usize,
    /// Width of one head; even.
    pub head_dim: usize,
    /// The longest sequence that the model was made for.
    pub max_positions: usize,
    /// The normalisation before each part and before the head.
    pub norm: Norm,
    /// The gate's activation in the feed-forward part.
    pub activation: Activation,
    /// Rotary position embedding.
    pub rope: Rope,
    /// Whether the query, key and value projections have a bias.
    pub qkv_bias: bool,
    /// Whether the attention's output projection has a bias.
    pub output_bias: bool,
    /// Whether the feed-forward projections have a bias.
    pub mlp_bias: bool,
    /// Whether the head is the embedding.
    pub tied_head: bool,
    /// How many positions back a token sees, itself included; `None` sees all.
    pub window: Option<usize>,
}

/// A normalisation and its constant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Norm {
    /// Which normalisation.
    pub kind: NormKind,
    /// Added to the mean of squares before the root.
    pub eps: f32,
}

/// The normalisations that decoders use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormKind {
    /// Root mean square, scaled by the weight (Zhang and Sennrich, 2019).
    Rms,
}

/// The activations that decoders use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x · sigmoid(x)` (SwiGLU when it gates).
    Silu,
}

/// Rotary position embedding (Su et al., 2021), in the half-split order of Hugging Face.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rope {
    /// The base of the geometric series of wave lengths.
    pub theta: f64,
    /// How the frequencies are stretched for longer contexts.
    pub scaling: RopeScaling,
}

/// How rotary frequencies are stretched.
#[derive(Clone, Copy, Debug, PartialEq)]
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
}

impl Rope {
    /// The angle by which each pair of a head turns per position: `head_dim / 2` values, in radians.
    pub fn frequencies(&self, head_dim: usize) -> Vec<f32> {
        (0..head_dim / 2)
            .map(|i| {
                let exponent = 2.0 * i as f64 / head_dim as f64;
                self.scaling.apply(1.0 / libm::pow(self.theta, exponent)) as f32
            })
            .collect()
    }
}

impl RopeScaling {
    fn apply(&self, frequency: f64) -> f64 {
        match *self {
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
    /// Width of the queries of one token: heads × head width.
    pub fn query_size(&self) -> usize {
        self.num_heads * self.head_dim
    }

    /// Width of the keys (or values) of one token: key heads × head width.
    pub fn kv_size(&self) -> usize {
        self.num_kv_heads * self.head_dim
    }
}
