//! A decoder's configuration from `config.json`, as transformers 4 and 5 write it.

use evo_kernels::decode::{self, Activation, LayerConfig, Mlp, Norm, Order};
use serde_json::Value;

use super::super::ModelError;
use super::super::fields::Fields;
use super::rope::Rotations;
use super::{Bias, Family, Only, Positions, Windows};

/// The most blocks, or experts in all blocks, that a configuration may name; far beyond any model.
const LAYER_LIMIT: usize = 1 << 16;

impl Family {
    /// The configuration of the decoder for a model of this family.
    ///
    /// # Errors
    /// The first field that is missing, makes no sense, or asks for what the decoder does not do.
    pub(in super::super) fn read(&self, fields: Fields<'_>) -> Result<decode::Config, ModelError> {
        self.refuse(&fields)?;
        let (choices, defaults, keys) = (&self.choices, &self.defaults, &self.keys);
        let hidden_size = fields.size(keys.hidden_size)?;
        let (num_heads, num_kv_heads, head_dim) = self.heads(&fields, hidden_size)?;
        let bias = |bias| match bias {
            Bias::Never => Ok(false),
            Bias::Always => Ok(true),
            Bias::If(field) => fields.flag(field, false),
        };
        let num_layers = self.num_layers(&fields)?;
        let max_positions = fields.size_or(keys.max_positions, defaults.max_positions)?;
        let rotations = Rotations { fields: &fields, defaults, head_dim, max_positions };
        let parallel = choices.parallel.map_or(Ok(false), |field| fields.flag(field, false))?;
        let learned_positions = choices.positions == Positions::Learned;
        Ok(decode::Config {
            vocab_size: fields.size("vocab_size")?,
            hidden_size,
            intermediate_size: self.intermediate_size(&fields, hidden_size)?,
            num_heads,
            num_kv_heads,
            head_dim,
            max_positions: if learned_positions { max_positions } else { rotations.limit()? },
            layers: self.layers(&fields, num_layers, &rotations)?,
            norm: Norm { kind: choices.norm, eps: fields.number(keys.eps, defaults.eps)? as f32 },
            order: if parallel { Order::Parallel } else { choices.order },
            qk_norm: choices.qk_norm,
            activation: self.activation(&fields)?,
            mlp: self.mlp(&fields)?,
            qkv_bias: bias(choices.qkv_bias)?,
            output_bias: bias(choices.output_bias)?,
            mlp_bias: bias(choices.mlp_bias)?,
            attention_scale: self.attention_scale(&fields, head_dim)?,
            attention_cap: cap(&fields, "attn_logit_softcapping", defaults.attention_cap)?,
            logit_cap: cap(&fields, "final_logit_softcapping", defaults.logit_cap)?,
            embedding_scale: if choices.scaled_embeddings { (hidden_size as f32).sqrt() } else { 1.0 },
            learned_positions,
            token_types: if choices.causal { 0 } else { fields.size_or("type_vocab_size", 2)? },
            causal: choices.causal,
            tied_head: !choices.causal || fields.flag("tie_word_embeddings", defaults.tied_head)?,
        })
    }

    fn refuse(&self, fields: &Fields<'_>) -> Result<(), ModelError> {
        for &(field, only) in self.choices.refused {
            let (fits, wanted) = match only {
                Only::False => (!fields.flag(field, false)?, "false"),
                Only::Text(text) => (fields.text(field)?.is_none_or(|found| found == text), text),
            };
            if !fits {
                let found = fields.get(field).unwrap_or(&Value::Null);
                return Err(fields.error(field, format!("is {found}; only `{wanted}` is supported")));
            }
        }
        Ok(())
    }

    /// Query heads, key heads, and the width of one.
    fn heads(&self, fields: &Fields<'_>, hidden_size: usize) -> Result<(usize, usize, usize), ModelError> {
        let key = self.keys.num_heads;
        let num_heads = fields.size(key)?;
        let grouped = self.choices.positions != Positions::Learned;
        let kv_heads = if grouped {
            fields.nullable_size("num_key_value_heads", self.defaults.num_kv_heads)?.unwrap_or(num_heads)
        } else {
            num_heads
        };
        if !num_heads.is_multiple_of(kv_heads) {
            let cause = format!("is {kv_heads}, which does not divide {num_heads} attention heads");
            return Err(fields.error("num_key_value_heads", cause));
        }
        let given = if grouped { fields.optional_size("head_dim")?.or(self.defaults.head_dim) } else { None };
        if given.is_none() && !hidden_size.is_multiple_of(num_heads) {
            let cause = format!("is {num_heads}, which does not divide the width of {hidden_size}");
            return Err(fields.error(key, cause));
        }
        Ok((num_heads, kv_heads, given.unwrap_or(hidden_size / num_heads)))
    }

    /// Blocks; no more of them, or of experts in all, than any model has: each takes memory before a tensor is looked at.
    fn num_layers(&self, fields: &Fields<'_>) -> Result<usize, ModelError> {
        let key = self.keys.num_layers;
        let layers = fields.size(key)?;
        let experts = if self.choices.experts { fields.size_or("num_local_experts", 8)? } else { 1 };
        for (field, count, all) in [(key, layers, layers), ("num_local_experts", experts, layers * experts)] {
            if all > LAYER_LIMIT {
                let cause = format!("is {count}; models have up to {LAYER_LIMIT} layers, or experts in all layers");
                return Err(fields.error(field, cause));
            }
        }
        Ok(layers)
    }

    fn intermediate_size(&self, fields: &Fields<'_>, hidden_size: usize) -> Result<usize, ModelError> {
        match self.keys.intermediate_size {
            "n_inner" => fields.size_or("n_inner", 4 * hidden_size),
            key => fields.size(key),
        }
    }

    fn activation(&self, fields: &Fields<'_>) -> Result<Activation, ModelError> {
        let key = self.keys.activation;
        Ok(match fields.text(key)?.unwrap_or(self.defaults.activation) {
            "silu" | "swish" => Activation::Silu,
            "gelu" => Activation::Gelu,
            "gelu_pytorch_tanh" | "gelu_new" | "gelu_fast" => Activation::GeluTanh,
            "relu" => Activation::Relu,
            other => {
                let known = "`silu`, `gelu`, `gelu_new`, `gelu_pytorch_tanh` and `relu` are known";
                return Err(fields.error(key, format!("is `{other}`; {known}")));
            }
        })
    }

    fn mlp(&self, fields: &Fields<'_>) -> Result<Mlp, ModelError> {
        if !self.choices.experts {
            return Ok(if self.choices.gated { Mlp::Gated } else { Mlp::Plain });
        }
        let (count, chosen) = (fields.size_or("num_local_experts", 8)?, fields.size_or("num_experts_per_tok", 2)?);
        if chosen > count {
            let cause = format!("is {chosen}, more than the {count} experts that there are");
            return Err(fields.error("num_experts_per_tok", cause));
        }
        Ok(Mlp::Experts { count, chosen })
    }

    fn attention_scale(&self, fields: &Fields<'_>, head_dim: usize) -> Result<f32, ModelError> {
        match self.defaults.query_scalar {
            Some(default) => match fields.nullable("query_pre_attn_scalar", Some(default))? {
                Some(scalar) => Ok((1.0 / scalar.sqrt()) as f32),
                None => Err(fields.error("query_pre_attn_scalar", "is null".into())),
            },
            None if !fields.flag("scale_attn_weights", true)? => Ok(1.0),
            None => Ok(1.0 / (head_dim as f32).sqrt()),
        }
    }

    fn layers(
        &self,
        fields: &Fields<'_>,
        count: usize,
        rotations: &Rotations<'_>,
    ) -> Result<Vec<LayerConfig>, ModelError> {
        let rotated = self.rotated(fields, count)?;
        let sliding = self.sliding(fields, count, &rotated)?;
        let window = fields.nullable_size("sliding_window", self.defaults.window)?;
        rotated
            .into_iter()
            .zip(sliding)
            .map(|(rotated, sliding)| {
                let rope = rotated.then(|| rotations.rope(sliding)).transpose()?;
                Ok(LayerConfig { window: window.filter(|_| sliding), rope })
            })
            .collect()
    }

    /// Which blocks rotate.
    fn rotated(&self, fields: &Fields<'_>, count: usize) -> Result<Vec<bool>, ModelError> {
        if self.choices.positions != Positions::RotaryInSome {
            return Ok(vec![self.choices.positions == Positions::Rotary; count]);
        }
        let bit = |value: &Value| value.as_u64().filter(|&bit| bit < 2).map(|bit| bit == 1);
        match fields.list("no_rope_layers", "ones and zeros", bit)? {
            // transformers takes a longer list and reads its beginning.
            Some(list) if list.len() >= count => Ok(list.into_iter().take(count).collect()),
            Some(list) => Err(wrong_length(fields, "no_rope_layers", list.len(), count)),
            None => {
                let interval = fields.size_or("no_rope_layer_interval", 4)?;
                Ok((1..=count).map(|i| !i.is_multiple_of(interval)).collect())
            }
        }
    }

    /// Which blocks see a window only.
    fn sliding(&self, fields: &Fields<'_>, count: usize, rotated: &[bool]) -> Result<Vec<bool>, ModelError> {
        let kind = |value: &Value| match value.as_str()? {
            "full_attention" => Some(false),
            "sliding_attention" => Some(true),
            _ => None,
        };
        let types = fields.list("layer_types", "`full_attention` and `sliding_attention`", kind)?;
        if let Some(types) = &types
            && types.len() != count
        {
            return Err(wrong_length(fields, "layer_types", types.len(), count));
        }
        let switch = matches!(self.choices.windows, Windows::From | Windows::WithoutRope);
        if switch && !fields.flag("use_sliding_window", false)? {
            return Ok(vec![false; count]);
        }
        Ok(match (self.choices.windows, types) {
            (Windows::Never, _) => vec![false; count],
            (Windows::Always, _) => vec![true; count],
            (_, Some(types)) => types,
            (Windows::From, None) => {
                let first = fields.number("max_window_layers", 28.0)?;
                (0..count).map(|i| i as f64 >= first).collect()
            }
            (Windows::WithoutRope, None) => rotated.iter().map(|rotated| !rotated).collect(),
            (Windows::AllBut(default), None) => {
                let pattern = fields.size_or("sliding_window_pattern", default)?;
                (1..=count).map(|i| !i.is_multiple_of(pattern)).collect()
            }
        })
    }
}

fn cap(fields: &Fields<'_>, field: &str, default: Option<f64>) -> Result<Option<f32>, ModelError> {
    Ok(fields.nullable(field, default)?.map(|cap| cap as f32))
}

fn wrong_length(fields: &Fields<'_>, field: &str, found: usize, count: usize) -> ModelError {
    fields.error(field, format!("has {found} entries for {count} layers"))
}
