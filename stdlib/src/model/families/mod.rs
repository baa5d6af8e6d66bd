//! The families of models that are read, as data: what each calls its fields and tensors, what it does when a field is
//! absent, and which of the decoder's choices it makes. There is no code per family.
//!
//! In reading order: [`read`] (a configuration from `config.json`), [`rope`] (its rotations), [`names`] (its tensors).

mod names;
mod read;
mod rope;
#[cfg(test)]
mod tests;

use evo_kernels::decode::{NormKind, Order, Part};

pub use names::Source;

/// One family of models.
#[derive(Debug, PartialEq)]
pub struct Family {
    /// Hugging Face's `model_type`.
    pub model_type: &'static str,
    /// What `config.json` calls the sizes.
    pub(super) keys: Keys,
    /// The choices of the decoder.
    choices: Choices,
    /// What absent fields mean.
    defaults: Defaults,
    /// What the tensors are called.
    tensors: Tensors,
}

/// The names of fields that not all families call alike.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Keys {
    pub(super) hidden_size: &'static str,
    pub(super) intermediate_size: &'static str,
    pub(super) num_layers: &'static str,
    pub(super) num_heads: &'static str,
    pub(super) max_positions: &'static str,
    activation: &'static str,
    pub(super) eps: &'static str,
}

/// What is the same in all models of a family, or follows from a field.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Choices {
    norm: NormKind,
    order: Order,
    /// A field that, when true, makes the order [`Order::Parallel`].
    parallel: Option<&'static str>,
    qk_norm: bool,
    gated: bool,
    /// Whether there are experts, counted by `num_local_experts` and `num_experts_per_tok`.
    experts: bool,
    qkv_bias: Bias,
    output_bias: Bias,
    mlp_bias: Bias,
    /// Whether embeddings are multiplied by the root of the width.
    scaled_embeddings: bool,
    positions: Positions,
    windows: Windows,
    causal: bool,
    /// Fields that ask for what the decoder does not do, unless they have this value.
    refused: &'static [(&'static str, Only)],
}

/// Whether projections have a bias.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Bias {
    Never,
    Always,
    /// If this field is true.
    If(&'static str),
}

/// How a family knows positions.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Positions {
    Learned,
    Rotary,
    /// Rotary but for the blocks with a zero in `no_rope_layers`, by default each `no_rope_layer_interval`-th.
    RotaryInSome,
}

/// Which blocks see a window only, the width of which is `sliding_window`.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Windows {
    Never,
    /// All blocks, if there is a width.
    Always,
    /// With `use_sliding_window`: those of `layer_types`, by default the ones from `max_window_layers` on.
    From,
    /// With `use_sliding_window`: those of `layer_types`, by default the ones without rotation.
    WithoutRope,
    /// Those of `layer_types`, by default all but each n-th: `sliding_window_pattern`, by default this.
    AllBut(usize),
}

/// The only value of a field that is supported.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Only {
    False,
    Text(&'static str),
}

/// What transformers assumes for absent fields; sizes that it would have to guess are required.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Defaults {
    eps: f64,
    activation: &'static str,
    /// `None` is as many as query heads.
    num_kv_heads: Option<usize>,
    /// `None` is the width shared by the heads.
    head_dim: Option<usize>,
    max_positions: usize,
    tied_head: bool,
    theta: f64,
    /// The base in blocks with a window, if it is another.
    local_theta: Option<f64>,
    /// How much of a head is rotated; `None` if the family always rotates all.
    partial: Option<f64>,
    window: Option<usize>,
    /// `query_pre_attn_scalar`, if the family has it.
    query_scalar: Option<f64>,
    /// `attn_logit_softcapping`, if the family has it.
    attention_cap: Option<f64>,
    /// `final_logit_softcapping`, if the family has it.
    logit_cap: Option<f64>,
}

/// How a family's tensors are laid out.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Tensors {
    /// What comes before the number of a block.
    blocks: &'static str,
    /// The names of the parts, without `.weight`; for what is not here, Llama's.
    parts: &'static [(Part, Name)],
    /// Whether linear maps are kept `in × out`.
    transposed: bool,
    /// Whether norms are kept less one.
    norms_less_one: bool,
    /// A prefix that files have or lack; in memory all have it, or none.
    prefix: Prefix,
    /// Endings of older files' names, and today's.
    renamed: &'static [(&'static str, &'static str)],
    /// Beginnings and endings of tensors that answers do not need.
    ignored: &'static [&'static str],
}

/// The name of a part's tensor; `{}` is the number of the expert.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Name {
    /// Its own.
    Own(&'static str),
    /// One that it shares with other parts, whose outputs are in this order.
    Shared(&'static str, &'static [Part]),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Prefix {
    No,
    With(&'static str),
    Without(&'static str),
}

/// The family with this `model_type`.
pub fn of(model_type: &str) -> Option<&'static Family> {
    FAMILIES.iter().find(|family| family.model_type == model_type)
}

/// The names of all families.
pub const NAMES: &[&str] = &{
    let mut names = [""; FAMILIES.len()];
    let mut i = 0;
    while i < names.len() {
        names[i] = FAMILIES[i].model_type;
        i += 1;
    }
    names
};

const KEYS: Keys = Keys {
    hidden_size: "hidden_size",
    intermediate_size: "intermediate_size",
    num_layers: "num_hidden_layers",
    num_heads: "num_attention_heads",
    max_positions: "max_position_embeddings",
    activation: "hidden_act",
    eps: "rms_norm_eps",
};

const LLAMA: Family = Family {
    model_type: "llama",
    keys: KEYS,
    choices: Choices {
        norm: NormKind::Rms,
        order: Order::Before,
        parallel: None,
        qk_norm: false,
        gated: true,
        experts: false,
        qkv_bias: Bias::If("attention_bias"),
        output_bias: Bias::If("attention_bias"),
        mlp_bias: Bias::If("mlp_bias"),
        scaled_embeddings: false,
        positions: Positions::Rotary,
        windows: Windows::Never,
        causal: true,
        refused: &[],
    },
    defaults: Defaults {
        eps: 1e-6,
        activation: "silu",
        num_kv_heads: None,
        head_dim: None,
        max_positions: 2048,
        tied_head: false,
        theta: 10_000.0,
        local_theta: None,
        partial: None,
        window: None,
        query_scalar: None,
        attention_cap: None,
        logit_cap: None,
    },
    tensors: Tensors {
        blocks: "model.layers.",
        parts: &[],
        transposed: false,
        norms_less_one: false,
        prefix: Prefix::No,
        renamed: &[],
        ignored: &[".rotary_emb.inv_freq"],
    },
};

const NO_BIAS: Choices =
    Choices { qkv_bias: Bias::Never, output_bias: Bias::Never, mlp_bias: Bias::Never, ..LLAMA.choices };

const GEMMA: Family = Family {
    model_type: "gemma2",
    keys: Keys { activation: "hidden_activation", ..KEYS },
    choices: Choices {
        order: Order::Around,
        mlp_bias: Bias::Never,
        scaled_embeddings: true,
        windows: Windows::AllBut(2),
        refused: &[("use_bidirectional_attention", Only::False)],
        ..LLAMA.choices
    },
    defaults: Defaults {
        activation: "gelu_pytorch_tanh",
        num_kv_heads: Some(4),
        head_dim: Some(256),
        max_positions: 8192,
        tied_head: true,
        window: Some(4096),
        query_scalar: Some(256.0),
        attention_cap: Some(50.0),
        logit_cap: Some(30.0),
        ..LLAMA.defaults
    },
    tensors: Tensors {
        parts: &[
            (Part::AttentionOutNorm, Name::Own("post_attention_layernorm")),
            (Part::MlpNorm, Name::Own("pre_feedforward_layernorm")),
            (Part::MlpOutNorm, Name::Own("post_feedforward_layernorm")),
        ],
        norms_less_one: true,
        ..LLAMA.tensors
    },
};

/// All families.
static FAMILIES: [Family; 12] = [
    LLAMA,
    Family {
        model_type: "mistral",
        choices: Choices { windows: Windows::Always, ..NO_BIAS },
        defaults: Defaults { num_kv_heads: Some(8), max_positions: 131_072, window: Some(4096), ..LLAMA.defaults },
        ..LLAMA
    },
    Family {
        model_type: "mixtral",
        choices: Choices { windows: Windows::Always, experts: true, ..NO_BIAS },
        defaults: Defaults {
            eps: 1e-5,
            num_kv_heads: Some(8),
            max_positions: 131_072,
            theta: 1_000_000.0,
            ..LLAMA.defaults
        },
        tensors: Tensors {
            parts: &[
                (Part::Router, Name::Own("block_sparse_moe.gate")),
                (Part::Gate, Name::Own("block_sparse_moe.experts.{}.w1")),
                (Part::Down, Name::Own("block_sparse_moe.experts.{}.w2")),
                (Part::Up, Name::Own("block_sparse_moe.experts.{}.w3")),
            ],
            ..LLAMA.tensors
        },
        ..LLAMA
    },
    Family {
        model_type: "qwen2",
        choices: Choices { qkv_bias: Bias::Always, windows: Windows::From, ..NO_BIAS },
        defaults: Defaults { num_kv_heads: Some(32), max_positions: 32_768, window: Some(4096), ..LLAMA.defaults },
        ..LLAMA
    },
    Family {
        model_type: "qwen3",
        choices: Choices { qk_norm: true, mlp_bias: Bias::Never, windows: Windows::From, ..LLAMA.choices },
        defaults: Defaults {
            num_kv_heads: Some(32),
            head_dim: Some(128),
            max_positions: 32_768,
            window: Some(4096),
            ..LLAMA.defaults
        },
        ..LLAMA
    },
    Family {
        model_type: "smollm3",
        choices: Choices { positions: Positions::RotaryInSome, windows: Windows::WithoutRope, ..LLAMA.choices },
        defaults: Defaults {
            num_kv_heads: Some(4),
            max_positions: 32_768,
            tied_head: true,
            theta: 2_000_000.0,
            ..LLAMA.defaults
        },
        ..LLAMA
    },
    Family {
        model_type: "phi3",
        choices: Choices { windows: Windows::Always, ..NO_BIAS },
        defaults: Defaults { eps: 1e-5, max_positions: 4096, partial: Some(1.0), ..LLAMA.defaults },
        tensors: Tensors {
            parts: &[
                (Part::Q, Name::Shared("self_attn.qkv_proj", &[Part::Q, Part::K, Part::V])),
                (Part::K, Name::Shared("self_attn.qkv_proj", &[Part::Q, Part::K, Part::V])),
                (Part::V, Name::Shared("self_attn.qkv_proj", &[Part::Q, Part::K, Part::V])),
                (Part::Gate, Name::Shared("mlp.gate_up_proj", &[Part::Gate, Part::Up])),
                (Part::Up, Name::Shared("mlp.gate_up_proj", &[Part::Gate, Part::Up])),
            ],
            ..LLAMA.tensors
        },
        ..LLAMA
    },
    GEMMA,
    Family {
        model_type: "gemma3_text",
        choices: Choices { qk_norm: true, windows: Windows::AllBut(6), ..GEMMA.choices },
        defaults: Defaults {
            max_positions: 131_072,
            theta: 1_000_000.0,
            local_theta: Some(10_000.0),
            attention_cap: None,
            logit_cap: None,
            ..GEMMA.defaults
        },
        ..GEMMA
    },
    Family {
        model_type: "stablelm",
        keys: Keys { eps: "layer_norm_eps", ..KEYS },
        choices: Choices {
            norm: NormKind::Layer,
            parallel: Some("use_parallel_residual"),
            qkv_bias: Bias::If("use_qkv_bias"),
            refused: &[("qk_layernorm", Only::False)],
            ..NO_BIAS
        },
        defaults: Defaults {
            eps: 1e-5,
            num_kv_heads: Some(32),
            max_positions: 4096,
            partial: Some(0.25),
            ..LLAMA.defaults
        },
        ..LLAMA
    },
    Family {
        model_type: "gpt2",
        keys: Keys {
            hidden_size: "n_embd",
            intermediate_size: "n_inner",
            num_layers: "n_layer",
            num_heads: "n_head",
            max_positions: "n_positions",
            activation: "activation_function",
            eps: "layer_norm_epsilon",
        },
        choices: Choices {
            norm: NormKind::Layer,
            gated: false,
            positions: Positions::Learned,
            refused: &[("scale_attn_by_inverse_layer_idx", Only::False), ("add_cross_attention", Only::False)],
            ..BIASED
        },
        defaults: Defaults {
            eps: 1e-5,
            activation: "gelu_new",
            max_positions: 1024,
            tied_head: true,
            ..LLAMA.defaults
        },
        tensors: Tensors {
            blocks: "transformer.h.",
            parts: &[
                (Part::Embedding, Name::Own("transformer.wte")),
                (Part::Positions, Name::Own("transformer.wpe")),
                (Part::AttentionNorm, Name::Own("ln_1")),
                (Part::Q, Name::Shared("attn.c_attn", &[Part::Q, Part::K, Part::V])),
                (Part::K, Name::Shared("attn.c_attn", &[Part::Q, Part::K, Part::V])),
                (Part::V, Name::Shared("attn.c_attn", &[Part::Q, Part::K, Part::V])),
                (Part::O, Name::Own("attn.c_proj")),
                (Part::MlpNorm, Name::Own("ln_2")),
                (Part::Up, Name::Own("mlp.c_fc")),
                (Part::Down, Name::Own("mlp.c_proj")),
                (Part::Norm, Name::Own("transformer.ln_f")),
            ],
            transposed: true,
            prefix: Prefix::With("transformer."),
            ignored: &[".attn.bias", ".attn.masked_bias"],
            ..LLAMA.tensors
        },
    },
    Family {
        model_type: "bert",
        keys: Keys { eps: "layer_norm_eps", ..KEYS },
        choices: Choices {
            norm: NormKind::Layer,
            order: Order::After,
            gated: false,
            positions: Positions::Learned,
            causal: false,
            refused: &[
                ("is_decoder", Only::False),
                ("add_cross_attention", Only::False),
                ("position_embedding_type", Only::Text("absolute")),
            ],
            ..BIASED
        },
        defaults: Defaults { eps: 1e-12, activation: "gelu", max_positions: 512, tied_head: true, ..LLAMA.defaults },
        tensors: Tensors {
            blocks: "encoder.layer.",
            parts: &[
                (Part::Embedding, Name::Own("embeddings.word_embeddings")),
                (Part::Positions, Name::Own("embeddings.position_embeddings")),
                (Part::TokenType, Name::Own("embeddings.token_type_embeddings")),
                (Part::EmbeddingNorm, Name::Own("embeddings.LayerNorm")),
                (Part::Q, Name::Own("attention.self.query")),
                (Part::K, Name::Own("attention.self.key")),
                (Part::V, Name::Own("attention.self.value")),
                (Part::O, Name::Own("attention.output.dense")),
                (Part::AttentionOutNorm, Name::Own("attention.output.LayerNorm")),
                (Part::Up, Name::Own("intermediate.dense")),
                (Part::Down, Name::Own("output.dense")),
                (Part::MlpOutNorm, Name::Own("output.LayerNorm")),
            ],
            prefix: Prefix::Without("bert."),
            renamed: &[(".gamma", ".weight"), (".beta", ".bias")],
            ignored: &["pooler.", "cls.", "embeddings.position_ids"],
            ..LLAMA.tensors
        },
    },
];

const BIASED: Choices =
    Choices { qkv_bias: Bias::Always, output_bias: Bias::Always, mlp_bias: Bias::Always, ..LLAMA.choices };
