//! A model's configuration: what the decoder needs, typed, beside the JSON that it was read from.

use std::path::Path;

use evo_kernels::decode;
use indexmap::IndexMap;
use serde_json::{Map, Value};

use super::families::{self, Family};
use super::fields::Fields;
use super::{DType, ModelError};

/// The configuration of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The shape of the decoder and the choices of its family.
    pub decoder: decode::Config,
    /// What models of this architecture have in common.
    pub family: &'static Family,
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
        let Some(family) = families::of(&model_type) else {
            return Err(ModelError::UnknownArchitecture {
                path: path.to_path_buf(),
                found: model_type,
                known: families::NAMES,
            });
        };
        Ok(Self {
            decoder: family.read(fields)?,
            family,
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
        let mut shapes = IndexMap::new();
        self.family.for_each_source(&self.decoder, |source| {
            shapes.entry(source.tensor).or_insert(source.shape);
        });
        shapes.into_iter().collect()
    }
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
    fn ids_are_one_or_several() {
        let (old, new) =
            (r#", "torch_dtype": "bfloat16", "eos_token_id": 2"#, r#", "dtype": "bfloat16", "eos_token_id": [2]"#);
        let (old, new) = (config(old).unwrap(), config(new).unwrap());
        assert_eq!((old.dtype, old.eos), (new.dtype, vec![2]));
        assert!(config("").unwrap().eos.is_empty());
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
