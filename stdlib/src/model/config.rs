//! A model's configuration: what the decoder needs, typed, beside the JSON that it was read from.

use std::path::Path;

use evo_kernels::decode::{self, Activation, Norm, NormKind, Rope, RopeScaling};
use serde_json::{Map, Value};

use super::{DType, ModelError};

/// The architectures that the decoder knows, by Hugging Face's `model_type`.
pub const ARCHITECTURES: &[&str] = &["llama", "mistral", "qwen2"];

/// The largest size that a configuration may name; far beyond any model, far below any overflow.
const SIZE_LIMIT: u64 = 1 << 28;

/// The configuration of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The shape of the decoder and the choices of its family.
    pub decoder: decode::Config,
    /// The architecture by Hugging Face's name, such as `llama`.
    pub model_type: String,
    /// The element type that the weights are published in.
    pub dtype: DType,
    /// The token that begins a text, if any.
    pub bos: Option<u32>,
    /// The tokens that end a text.
    pub eos: Vec<u32>,
    /// The token that fills unused positions, if any.
    pub pad: Option<u32>,
    /// `config.json` as it was read (or as it would be written), so that saving a model loses nothing.
    pub raw: Map<String, Value>,
}

impl std::ops::Deref for Config {
    type Target = decode::Config;

    fn deref(&self) -> &decode::Config {
        &self.decoder
    }
}

impl Config {
    /// Reads a `config.json` as transformers 4 and 5 write it. `path` is where it came from, for errors.
    pub fn from_json(json: &str, path: &Path) -> Result<Self, ModelError> {
        let raw = serde_json::from_str(json)
            .map_err(|e| ModelError::Json { path: path.to_path_buf(), cause: e.to_string() })?;
        Self::from_raw(raw, path)
    }

    /// The same from JSON that is parsed already.
    pub fn from_raw(raw: Map<String, Value>, path: &Path) -> Result<Self, ModelError> {
        let fields = Fields { map: &raw, path };
        let model_type = fields.text("model_type")?.unwrap_or_default().to_owned();
        if !ARCHITECTURES.contains(&model_type.as_str()) {
            return Err(ModelError::UnknownArchitecture {
                path: path.to_path_buf(),
                found: model_type,
                known: ARCHITECTURES,
            });
        }
        Ok(Self {
            decoder: decoder(&fields, &model_type)?,
            dtype: dtype(&fields)?,
            bos: fields.ids("bos_token_id")?.first().copied(),
            eos: fields.ids("eos_token_id")?,
            pad: fields.ids("pad_token_id")?.first().copied(),
            model_type,
            raw,
        })
    }

    /// The names and shapes of the tensors that a model of this configuration has, by Hugging Face's convention.
    pub fn tensor_shapes(&self) -> Vec<(String, Vec<usize>)> {
        let d = &self.decoder;
        let (h, q, kv, f) = (d.hidden_size, d.query_size(), d.kv_size(), d.intermediate_size);
        let mut shapes = vec![("model.embed_tokens.weight".into(), vec![d.vocab_size, h])];
        for layer in 0..d.num_layers {
            let mut add = |part: &str, shape: Vec<usize>, bias: bool| {
                if bias {
                    shapes.push((format!("model.layers.{layer}.{part}.bias"), shape.iter().take(1).copied().collect()));
                }
                shapes.push((format!("model.layers.{layer}.{part}.weight"), shape));
            };
            add("input_layernorm", vec![h], false);
            add("self_attn.q_proj", vec![q, h], d.qkv_bias);
            add("self_attn.k_proj", vec![kv, h], d.qkv_bias);
            add("self_attn.v_proj", vec![kv, h], d.qkv_bias);
            add("self_attn.o_proj", vec![h, q], d.output_bias);
            add("post_attention_layernorm", vec![h], false);
            add("mlp.gate_proj", vec![f, h], d.mlp_bias);
            add("mlp.up_proj", vec![f, h], d.mlp_bias);
            add("mlp.down_proj", vec![h, f], d.mlp_bias);
        }
        shapes.push(("model.norm.weight".into(), vec![h]));
        if !d.tied_head {
            shapes.push(("lm_head.weight".into(), vec![d.vocab_size, h]));
        }
        shapes
    }
}

fn decoder(fields: &Fields<'_>, model_type: &str) -> Result<decode::Config, ModelError> {
    let hidden_size = fields.size("hidden_size")?;
    let num_heads = fields.size("num_attention_heads")?;
    let num_kv_heads = fields.size_or("num_key_value_heads", num_heads)?;
    if !num_heads.is_multiple_of(num_kv_heads) {
        let cause = format!("is {num_kv_heads}, which does not divide {num_heads} attention heads");
        return Err(fields.error("num_key_value_heads", cause));
    }
    let head_dim = fields.size_or("head_dim", hidden_size / num_heads)?;
    if head_dim == 0 || !head_dim.is_multiple_of(2) {
        let cause = format!("is {head_dim}; rotary positions need an even width");
        return Err(fields.error("head_dim", cause));
    }
    let act = fields.text("hidden_act")?.unwrap_or("silu");
    if !matches!(act, "silu" | "swish") {
        return Err(fields.error("hidden_act", format!("is `{act}`; only `silu` is known")));
    }
    let qwen = model_type == "qwen2";
    let attention_bias = fields.flag("attention_bias", false)?;
    Ok(decode::Config {
        vocab_size: fields.size("vocab_size")?,
        hidden_size,
        intermediate_size: fields.size("intermediate_size")?,
        num_layers: fields.size("num_hidden_layers")?,
        num_heads,
        num_kv_heads,
        head_dim,
        max_positions: fields.size_or("max_position_embeddings", 2048)?,
        norm: Norm { kind: NormKind::Rms, eps: fields.number("rms_norm_eps", 1e-6)? as f32 },
        activation: Activation::Silu,
        rope: rope(fields)?,
        qkv_bias: qwen || attention_bias,
        output_bias: !qwen && attention_bias,
        mlp_bias: fields.flag("mlp_bias", false)?,
        tied_head: fields.flag("tie_word_embeddings", false)?,
        window: window(fields, model_type)?,
    })
}

/// Mistral always slides over its window; Qwen2 only if told to; Llama never.
fn window(fields: &Fields<'_>, model_type: &str) -> Result<Option<usize>, ModelError> {
    match model_type {
        "mistral" if !fields.map.contains_key("sliding_window") => Ok(Some(4096)),
        "mistral" => fields.optional_size("sliding_window"),
        "qwen2" if fields.flag("use_sliding_window", false)? => {
            Err(fields.error("use_sliding_window", "is true; windows that begin at a layer are not supported".into()))
        }
        _ => Ok(None),
    }
}

/// `rope_parameters` of transformers 5, or `rope_theta` and `rope_scaling` of transformers 4.
fn rope(fields: &Fields<'_>) -> Result<Rope, ModelError> {
    let nested = ["rope_parameters", "rope_scaling"].into_iter().find_map(|name| fields.map.get(name)?.as_object());
    let empty = Map::new();
    let inner = Fields { map: nested.unwrap_or(&empty), path: fields.path };
    let theta = inner.number("rope_theta", fields.number("rope_theta", 10_000.0)?)?;
    if theta <= 1.0 {
        return Err(fields.error("rope_theta", format!("is {theta}; it must exceed 1")));
    }
    for place in [fields, &inner] {
        let partial = place.number("partial_rotary_factor", 1.0)?;
        if partial != 1.0 {
            return Err(fields.error("partial_rotary_factor", format!("is {partial}; only full rotation is supported")));
        }
    }
    let kind = match inner.text("rope_type")? {
        Some(kind) => kind,
        None => inner.text("type")?.unwrap_or("default"),
    };
    let scaling = match kind {
        "default" => RopeScaling::None,
        "linear" => RopeScaling::Linear { factor: inner.positive("factor")? },
        "llama3" => RopeScaling::Llama3 {
            factor: inner.positive("factor")?,
            low: inner.positive("low_freq_factor")?,
            high: inner.positive("high_freq_factor")?,
            original: inner.positive("original_max_position_embeddings")?,
        },
        other => {
            let cause = format!("is `{other}`; `default`, `linear` and `llama3` are known");
            return Err(fields.error("rope_type", cause));
        }
    };
    Ok(Rope { theta, scaling })
}

/// `dtype` of transformers 5, or `torch_dtype` of transformers 4.
fn dtype(fields: &Fields<'_>) -> Result<DType, ModelError> {
    let name = match fields.text("dtype")? {
        Some(name) => name,
        None => fields.text("torch_dtype")?.unwrap_or("float32"),
    };
    match name {
        "float32" => Ok(DType::F32),
        "bfloat16" => Ok(DType::BF16),
        "float16" => Ok(DType::F16),
        other => Err(fields.error("dtype", format!("is `{other}`, which weights cannot have"))),
    }
}

/// Typed reading of a JSON object; `null` counts as absent.
struct Fields<'a> {
    map: &'a Map<String, Value>,
    path: &'a Path,
}

impl<'a> Fields<'a> {
    fn error(&self, field: &str, cause: String) -> ModelError {
        ModelError::ConfigField { path: self.path.to_path_buf(), field: field.into(), cause }
    }

    fn get(&self, field: &str) -> Option<&'a Value> {
        self.map.get(field).filter(|value| !value.is_null())
    }

    fn wrong(&self, field: &str, value: &Value, wanted: &str) -> ModelError {
        self.error(field, format!("is {value}, not {wanted}"))
    }

    fn optional_size(&self, field: &str) -> Result<Option<usize>, ModelError> {
        let Some(value) = self.get(field) else {
            return Ok(None);
        };
        match value.as_u64() {
            Some(n @ 1..=SIZE_LIMIT) => Ok(Some(n as usize)),
            _ => Err(self.wrong(field, value, "a positive whole number of sensible size")),
        }
    }

    fn size_or(&self, field: &str, default: usize) -> Result<usize, ModelError> {
        Ok(self.optional_size(field)?.unwrap_or(default))
    }

    fn size(&self, field: &str) -> Result<usize, ModelError> {
        self.optional_size(field)?.ok_or_else(|| self.error(field, "is missing".into()))
    }

    fn text(&self, field: &str) -> Result<Option<&'a str>, ModelError> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong(field, other, "a text")),
        }
    }

    fn flag(&self, field: &str, default: bool) -> Result<bool, ModelError> {
        match self.get(field) {
            None => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(self.wrong(field, other, "true or false")),
        }
    }

    fn number(&self, field: &str, default: f64) -> Result<f64, ModelError> {
        match self.get(field) {
            None => Ok(default),
            Some(value) => value.as_f64().filter(|x| x.is_finite()).ok_or_else(|| self.wrong(field, value, "a number")),
        }
    }

    fn positive(&self, field: &str) -> Result<f64, ModelError> {
        let value = self.number(field, 0.0)?;
        if value > 0.0 { Ok(value) } else { Err(self.error(field, "must be a positive number".into())) }
    }

    fn ids(&self, field: &str) -> Result<Vec<u32>, ModelError> {
        match self.get(field) {
            None => Ok(Vec::new()),
            Some(value) => {
                super::ids(value).ok_or_else(|| self.wrong(field, value, "a token id or a list of token ids"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(extra: &str) -> Result<Config, ModelError> {
        let json = format!(
            r#"{{"model_type": "llama", "vocab_size": 10, "hidden_size": 8, "intermediate_size": 16,
                "num_hidden_layers": 1, "num_attention_heads": 2 {extra}}}"#
        );
        Config::from_json(&json, Path::new("config.json"))
    }

    #[test]
    fn both_generations_of_transformers_are_read_alike() {
        let old = r#", "head_dim": null, "rope_theta": 500.0, "rope_scaling": {"type": "linear", "factor": 2.0},
            "torch_dtype": "bfloat16", "eos_token_id": 2"#;
        let new = r#", "head_dim": 4, "rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 500.0},
            "dtype": "bfloat16", "eos_token_id": [2]"#;
        let (old, new) = (config(old).unwrap(), config(new).unwrap());
        assert_eq!(old.decoder, new.decoder);
        assert_eq!((old.dtype, &old.eos), (new.dtype, &new.eos));
        assert_eq!(new.rope.scaling, RopeScaling::Linear { factor: 2.0 });
    }

    #[test]
    fn what_is_absent_has_the_defaults_of_transformers() {
        let config = config("").unwrap();
        assert_eq!(config.num_kv_heads, 2);
        assert_eq!(config.max_positions, 2048);
        assert_eq!(config.rope.theta, 10_000.0);
        assert_eq!(config.norm.eps, 1e-6);
        assert!(!config.tied_head && config.eos.is_empty() && config.window.is_none());
    }

    #[test]
    fn nonsense_is_refused_by_field() {
        for (extra, name) in [
            (r#", "head_dim": 3"#, "head_dim"),
            (r#", "rope_theta": -1"#, "rope_theta"),
            (r#", "rope_parameters": {"rope_type": "llama3"}"#, "factor"),
            (r#", "partial_rotary_factor": 0.5"#, "partial_rotary_factor"),
            (r#", "eos_token_id": "x""#, "eos_token_id"),
            (r#", "tie_word_embeddings": 1"#, "tie_word_embeddings"),
            (r#", "torch_dtype": "int8""#, "dtype"),
        ] {
            match config(extra) {
                Err(ModelError::ConfigField { field, .. }) => assert_eq!(field, name),
                other => panic!("{extra}: {other:?}"),
            }
        }
    }
}
