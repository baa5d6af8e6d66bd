//! A model's configuration: what the decoder needs, typed, beside the JSON that it was read from.

use evo_kernels::decode;
use serde_json::{Map, Value};

use super::DType;

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
