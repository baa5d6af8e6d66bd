//! The architectures of GGUF files: which family each is, what its metadata say in the words of `config.json`, and what its
//! tensors are called.
//!
//! The names are those of llama.cpp's converter (<https://github.com/ggml-org/llama.cpp>, `gguf-py`), which writes one file
//! for each model of Hugging Face's.

use std::path::Path;

use evo_kernels::decode::{Part, Slot};
use serde_json::{Map, Value as Json, json};

use super::super::families::{self, Family, Source};
use super::super::{Config, ModelError};
use super::reader::{Contents, Value};
use super::{gguf_error, id, text};

/// One architecture.
pub(super) struct Architecture {
    /// `general.architecture`.
    name: &'static str,
    /// Whether it has experts, which the name does not tell.
    experts: bool,
    /// The family, by Hugging Face's `model_type`.
    model_type: &'static str,
    /// Hugging Face's class.
    class: &'static str,
    /// Whether rows of queries and keys stand in the order of interleaved rotation.
    pub(super) interleaved: bool,
    /// Fields of `config.json` that only some families have, and the metadata that they come from.
    fields: &'static [(&'static str, &'static str)],
    /// Fields that are true if a tensor is there.
    present: &'static [(&'static str, &'static str)],
}

/// The architectures that are read from GGUF files, by their names there.
const NAMES: &[&str] = &["llama", "qwen2", "qwen3", "smollm3", "phi3", "gemma2", "gemma3", "stablelm", "gpt2"];

const BIASES: &[(&str, &str)] = &[("attention_bias", "blk.0.attn_q.bias"), ("mlp_bias", "blk.0.ffn_gate.bias")];

const LLAMA: Architecture = Architecture {
    name: "llama",
    experts: false,
    model_type: "llama",
    class: "LlamaForCausalLM",
    interleaved: true,
    fields: &[],
    present: BIASES,
};

const PLAIN: Architecture = Architecture { interleaved: false, present: &[], ..LLAMA };

static ARCHITECTURES: [Architecture; 10] = [
    LLAMA,
    Architecture {
        experts: true,
        model_type: "mixtral",
        class: "MixtralForCausalLM",
        fields: &[("num_local_experts", "expert_count"), ("num_experts_per_tok", "expert_used_count")],
        present: &[],
        ..LLAMA
    },
    Architecture { name: "qwen2", model_type: "qwen2", class: "Qwen2ForCausalLM", ..PLAIN },
    Architecture {
        name: "qwen3",
        model_type: "qwen3",
        class: "Qwen3ForCausalLM",
        present: &[("attention_bias", "blk.0.attn_q.bias")],
        ..PLAIN
    },
    Architecture { name: "smollm3", model_type: "smollm3", class: "SmolLM3ForCausalLM", ..LLAMA },
    Architecture {
        name: "phi3",
        model_type: "phi3",
        class: "Phi3ForCausalLM",
        fields: &[("sliding_window", "attention.sliding_window")],
        ..PLAIN
    },
    Architecture {
        name: "gemma2",
        model_type: "gemma2",
        class: "Gemma2ForCausalLM",
        fields: &[
            ("sliding_window", "attention.sliding_window"),
            ("attn_logit_softcapping", "attn_logit_softcapping"),
            ("final_logit_softcapping", "final_logit_softcapping"),
        ],
        ..PLAIN
    },
    Architecture {
        name: "gemma3",
        model_type: "gemma3_text",
        class: "Gemma3ForCausalLM",
        fields: &[
            ("sliding_window", "attention.sliding_window"),
            ("sliding_window_pattern", "attention.sliding_window_pattern"),
            ("final_logit_softcapping", "final_logit_softcapping"),
            ("rope_local_base_freq", "rope.freq_base_swa"),
        ],
        ..PLAIN
    },
    Architecture {
        name: "stablelm",
        model_type: "stablelm",
        class: "StableLmForCausalLM",
        present: &[("use_qkv_bias", "blk.0.attn_q.bias"), ("qk_layernorm", "blk.0.attn_q_norm.weight")],
        ..PLAIN
    },
    Architecture { name: "gpt2", model_type: "gpt2", class: "GPT2LMHeadModel", ..PLAIN },
];

impl Architecture {
    /// The architecture of a file.
    pub(super) fn of(contents: &Contents, path: &Path) -> Result<&'static Self, ModelError> {
        let name = text(&contents.metadata, "general.architecture").unwrap_or_default();
        let experts = matches!(contents.metadata.get(&format!("{name}.expert_count")), Some(Value::Int(1..)));
        ARCHITECTURES.iter().find(|one| one.name == name && one.experts == experts).ok_or_else(|| {
            ModelError::UnknownArchitecture { path: path.to_path_buf(), found: name.into(), known: NAMES }
        })
    }

    /// The configuration as Hugging Face would write it. `numbers` gives those of a tensor.
    pub(super) fn config(
        &self,
        contents: &Contents,
        path: &Path,
        numbers: impl Fn(&str) -> Result<Option<Vec<f32>>, ModelError>,
    ) -> Result<Config, ModelError> {
        let Some(family) = families::of(self.model_type) else {
            return Err(gguf_error(path, format!("its family `{}` is not known", self.model_type)));
        };
        let about = About { architecture: self.name, contents };
        let mut raw = about.sizes(family);
        for (field, key) in self.fields {
            put(&mut raw, field, about.json(key));
        }
        if raw.get("sliding_window") == Some(&json!(0)) {
            raw.insert("sliding_window".into(), Json::Null);
        }
        for (field, tensor) in self.present {
            raw.insert((*field).into(), about.has(tensor).into());
        }
        // Files say it of models that do not and are silent of some that do: llama.cpp looks at the tensors too.
        if self.name == "stablelm" {
            raw.insert("use_parallel_residual".into(), (!about.has("blk.0.ffn_norm.weight")).into());
        }
        self.rotation(&about, &mut raw, numbers)?;
        for role in ["bos_token_id", "eos_token_id"] {
            raw.insert(role.into(), id(&contents.metadata, role).map_or(Json::Null, Json::from));
        }
        raw.insert("pad_token_id".into(), id(&contents.metadata, "padding_token_id").map_or(Json::Null, Json::from));
        raw.insert("architectures".into(), json!([self.class]));
        raw.insert("model_type".into(), self.model_type.into());
        raw.insert("tie_word_embeddings".into(), (!about.has("output.weight")).into());
        raw.insert("dtype".into(), "float32".into());
        Config::from_raw(raw, path)
    }

    /// Widths of heads, and how they are rotated.
    fn rotation(
        &self,
        about: &About<'_>,
        raw: &mut Map<String, Json>,
        numbers: impl Fn(&str) -> Result<Option<Vec<f32>>, ModelError>,
    ) -> Result<(), ModelError> {
        if self.name == "gpt2" {
            return Ok(());
        }
        let size = |key: &str| about.json(key).as_u64().filter(|size| *size > 0);
        let shared = size("embedding_length").zip(size("attention.head_count"));
        let rotated = size("rope.dimension_count");
        let head_dim = size("attention.key_length")
            .or(rotated.filter(|_| self.interleaved))
            .or(shared.filter(|(width, heads)| width.is_multiple_of(*heads)).map(|(width, heads)| width / heads));
        put(raw, "head_dim", head_dim.into());
        if let (Some(rotated), Some(head_dim)) = (rotated, head_dim)
            && (rotated != head_dim || !self.interleaved)
        {
            raw.insert("partial_rotary_factor".into(), (rotated as f64 / head_dim as f64).into());
        } else if self.name == "stablelm" {
            raw.insert("partial_rotary_factor".into(), 1.0.into());
        }
        // What models of these sizes scale queries by; files do not say it.
        let largest = match self.name {
            "gemma2" => Some(46),
            "gemma3" => Some(62),
            _ => None,
        };
        if let Some(largest) = largest {
            let by_width = size("block_count") == Some(largest);
            let scalar = if by_width { shared.map(|(width, heads)| width / heads) } else { head_dim };
            put(raw, "query_pre_attn_scalar", scalar.into());
        }
        let theta = about.json("rope.freq_base");
        raw.insert("rope_theta".into(), if theta.is_null() { json!(10_000.0) } else { theta });
        let kind = text(&about.contents.metadata, &format!("{}.rope.scaling.type", self.name));
        let original = about.json("rope.scaling.original_context_length");
        let scaling = if let Some(short) = numbers("rope_factors_short.weight")? {
            let long = numbers("rope_factors_long.weight")?;
            each(short, long, &original, &about.json("rope.scaling.attn_factor"))
        } else if let Some(factors) = numbers("rope_freqs.weight")? {
            each(factors, None, &about.json("context_length"), &json!(1.0))
        } else {
            match kind {
                None | Some("none") => Json::Null,
                Some(kind) => json!({"rope_type": kind, "factor": about.json("rope.scaling.factor")}),
            }
        };
        put(raw, "rope_scaling", scaling);
        Ok(())
    }
}

/// A factor for each frequency, as transformers writes it.
fn each(short: Vec<f32>, long: Option<Vec<f32>>, original: &Json, amplitude: &Json) -> Json {
    let long = long.unwrap_or_else(|| short.clone());
    let mut scaling = Map::new();
    scaling.insert("rope_type".into(), "longrope".into());
    scaling.insert("short_factor".into(), short.into());
    scaling.insert("long_factor".into(), long.into());
    put(&mut scaling, "original_max_position_embeddings", original.clone());
    put(&mut scaling, "attention_factor", amplitude.clone());
    scaling.into()
}

/// What a file says about itself.
struct About<'a> {
    architecture: &'static str,
    contents: &'a Contents,
}

impl About<'_> {
    /// What every model has.
    fn sizes(&self, family: &Family) -> Map<String, Json> {
        let keys = &family.keys;
        let mut raw = Map::new();
        let vocab = self.contents.tensors.get("token_embd.weight").and_then(|info| info.shape.first());
        put(&mut raw, "vocab_size", vocab.copied().into());
        for (field, key) in [
            (keys.hidden_size, "embedding_length"),
            (keys.intermediate_size, "feed_forward_length"),
            (keys.num_layers, "block_count"),
            (keys.num_heads, "attention.head_count"),
            ("num_key_value_heads", "attention.head_count"),
            ("num_key_value_heads", "attention.head_count_kv"),
            (keys.max_positions, "context_length"),
            (keys.eps, "attention.layer_norm_rms_epsilon"),
            (keys.eps, "attention.layer_norm_epsilon"),
        ] {
            put(&mut raw, field, self.json(key));
        }
        raw
    }

    /// A piece of metadata under the architecture's name; null if there is none.
    fn json(&self, key: &str) -> Json {
        self.contents.metadata.get(&format!("{}.{key}", self.architecture)).map_or(Json::Null, json)
    }

    fn has(&self, tensor: &str) -> bool {
        self.contents.tensors.contains_key(tensor)
    }
}

fn json(value: &Value) -> Json {
    match value {
        Value::Int(n) => i64::try_from(*n).map_or(Json::Null, Json::from),
        Value::Float(x) => (*x).into(),
        Value::Bool(flag) => (*flag).into(),
        Value::Text(text) => text.as_str().into(),
        // Sizes that differ from layer to layer are refused by the field that cannot be one.
        Value::List(list) => list.iter().map(json).collect::<Vec<_>>().into(),
    }
}

/// Writes a field that is not null.
fn put(raw: &mut Map<String, Json>, field: &str, value: Json) {
    if !value.is_null() {
        raw.insert(field.into(), value);
    }
}

/// Tensors that only say what the configuration already has.
pub(super) fn ignores(name: &str) -> bool {
    matches!(name, "rope_freqs.weight" | "rope_factors_long.weight" | "rope_factors_short.weight")
}

/// What the tensor that a weight comes from may be called. Experts lie in one tensor, or in older files in one each.
pub(super) fn names(source: &Source) -> Vec<String> {
    let Slot { part, layer, expert, bias, .. } = source.slot;
    let part = match part {
        Part::Q | Part::K | Part::V if source.shared => "attn_qkv",
        Part::Gate | Part::Up if source.shared => "ffn_up",
        Part::Embedding => "token_embd",
        Part::Positions => "position_embd",
        Part::AttentionNorm => "attn_norm",
        Part::Q => "attn_q",
        Part::K => "attn_k",
        Part::V => "attn_v",
        Part::QNorm => "attn_q_norm",
        Part::KNorm => "attn_k_norm",
        Part::O => "attn_output",
        Part::AttentionOutNorm => "post_attention_norm",
        Part::MlpNorm => "ffn_norm",
        Part::Router => "ffn_gate_inp",
        Part::Gate => "ffn_gate",
        Part::Up => "ffn_up",
        Part::Down => "ffn_down",
        Part::MlpOutNorm => "post_ffw_norm",
        Part::Norm => "output_norm",
        Part::Head => "output",
        // Only encoders have these, and no encoder is read.
        Part::TokenType => "token_types",
        Part::EmbeddingNorm => "token_embd_norm",
    };
    let kind = if bias { "bias" } else { "weight" };
    match (layer, expert) {
        (None, _) => vec![format!("{part}.{kind}")],
        (Some(layer), None) => vec![format!("blk.{layer}.{part}.{kind}")],
        (Some(layer), Some(e)) => {
            vec![format!("blk.{layer}.{part}_exps.{kind}"), format!("blk.{layer}.{part}.{e}.{kind}")]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_architecture_is_of_a_family_and_named() {
        for one in &ARCHITECTURES {
            assert!(families::of(one.model_type).is_some(), "{}", one.model_type);
            assert!(NAMES.contains(&one.name), "{}", one.name);
        }
        assert_eq!(NAMES.len(), ARCHITECTURES.iter().filter(|one| !one.experts).count());
    }
}
