//! Models: configuration, weights, tokenizer and chat template; reading and writing them.
//!
//! In reading order: [`tensor`] (shared read-only tensors), [`config`], [`families`] (what makes one model another), [`tokenizer`], [`template`] (chats as text),
//! [`error`] (everything that can be wrong), [`safetensors`], [`hf`] (model directories), [`gguf`], [`check`] (do the parts fit?), [`save`],
//! [`bytes`] and [`tiny`] (small models of one's own), [`decoder`] (ready to run), [`logits`]. A [`Model`] is a handle: cloning it copies no weight, and a child shares every tensor that it does not change.

pub mod bind;
mod blocks;
pub mod bytes;
pub mod check;
mod codes;
pub mod config;
pub mod decoder;
pub mod error;
pub mod families;
mod fields;
pub mod gguf;
pub mod hf;
pub mod logits;
mod map;
mod place;
pub mod safetensors;
pub mod save;
pub mod template;
pub mod tensor;
pub mod tiny;
pub mod tokenizer;
pub mod vocabulary;

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use serde_json::{Map, Value};

pub use check::{check_alike, check_finite, check_shapes, check_vocabulary};
pub use config::Config;
pub use error::{EntryFault, HeaderFault, ModelError};
pub use evo_kernels::decode::{DEVICES, Device, DeviceError};
pub use gguf::{gguf, gguf_header};
pub use hf::{ModelHeader, header, hf};
pub use logits::{Logits, Prompt, logits};
pub use place::Place;
pub use save::save;
pub use template::Message;
pub use tensor::{DType, LengthError, Recipe, Tensor, Tensors, View, ViewMut};
pub use tiny::{Tiny, llama_tiny};
pub use tokenizer::{Tokenizer, TokenizerHeader};
pub use vocabulary::Vocabulary;

/// A language model. Cloning shares everything.
#[derive(Clone, Debug)]
pub struct Model(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    parts: Parts,
    digest: OnceLock<blake3::Hash>,
}

/// What a [`Model`] is made of.
#[derive(Clone, Debug)]
pub struct Parts {
    /// What the model is called in messages: a path, or the name of a declaration.
    pub name: String,
    /// The configuration.
    pub config: Arc<Config>,
    /// The weights by Hugging Face's names.
    pub tensors: Arc<Tensors>,
    /// The tokenizer; a model without one works on token ids.
    pub tokenizer: Option<Arc<Tokenizer>>,
    /// The source of the chat template, in Jinja.
    pub chat_template: Option<Arc<str>>,
    /// `tokenizer_config.json`, for writing back and for the special tokens that chat templates name.
    pub tokenizer_config: Option<Arc<Map<String, Value>>>,
    /// `generation_config.json`, for writing back.
    pub generation_config: Option<Arc<Map<String, Value>>>,
    /// Where the model comes from.
    pub card: Arc<Card>,
}

/// Where a model comes from: what its README tells when it is saved.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Card {
    /// The program text that makes the model, such as the merge's declaration.
    pub recipe: Option<String>,
    /// The models that it was made from, by name or path.
    pub ancestors: Vec<String>,
    /// The ancestors' licences, as their cards name them, without repetition.
    pub licenses: Vec<String>,
    /// Hash of the program that made it.
    pub program: Option<String>,
    /// The record of the training that it comes from, if it comes from one.
    pub training: Option<Arc<crate::train::Record>>,
}

impl Model {
    /// A model of these parts.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(Inner { parts, digest: OnceLock::new() }))
    }

    /// The same model with other weights: a child that shares configuration and tokenizer.
    pub fn with_tensors(&self, name: impl Into<String>, tensors: Tensors, card: Card) -> Self {
        Self::new(Parts { name: name.into(), tensors: Arc::new(tensors), card: Arc::new(card), ..self.0.parts.clone() })
    }

    /// The same model under another name.
    pub fn named(&self, name: &str) -> Self {
        Self::new(Parts { name: name.to_owned(), ..self.0.parts.clone() })
    }

    /// The same model with another account of where it comes from.
    pub fn with_card(&self, card: Card) -> Self {
        Self::new(Parts { card: Arc::new(card), ..self.0.parts.clone() })
    }

    /// The tokens that end an answer: those of the generation configuration, else of the configuration.
    pub fn stop_ids(&self) -> Vec<u32> {
        let generation =
            self.generation_config.as_ref().and_then(|map| map.get("eos_token_id")).and_then(ids).unwrap_or_default();
        if generation.is_empty() { self.config.eos.clone() } else { generation }
    }

    /// The identity of the weights: a hash over names, element types, shapes and bytes, in the order of the names.
    ///
    /// It reads every weight once (about a second for 1 GB) and is kept with the model; tensors shared with another model are
    /// hashed once for both. Configuration and tokenizer are not part of it: see [`Model::identity`].
    pub fn digest(&self) -> blake3::Hash {
        *self.0.digest.get_or_init(|| digest(&self.tensors))
    }

    /// The identity of everything that decides what the model answers: weights, configuration, tokenizer and template.
    pub fn identity(&self) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.digest().as_bytes());
        let texts = [
            Value::Object(self.config.raw.clone()).to_string(),
            self.tokenizer.as_ref().map(|t| t.json().to_owned()).unwrap_or_default(),
            self.chat_template.as_deref().unwrap_or_default().to_owned(),
        ];
        for text in texts {
            hasher.update(blake3::hash(text.as_bytes()).as_bytes());
        }
        for id in self.stop_ids() {
            hasher.update(&id.to_le_bytes());
        }
        hasher.finalize()
    }

    /// The tokenizer, or the error that there is none.
    pub fn require_tokenizer(&self) -> Result<&Arc<Tokenizer>, ModelError> {
        self.tokenizer.as_ref().ok_or_else(|| ModelError::NoTokenizer { model: self.name.clone() })
    }
}

impl Deref for Model {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0.parts
    }
}

/// The hash of a set of tensors, as [`Model::digest`] defines it.
pub fn digest(tensors: &Tensors) -> blake3::Hash {
    let mut names: Vec<_> = tensors.iter().collect();
    names.sort_by_key(|(name, _)| name.as_str());
    let mut hasher = blake3::Hasher::new();
    for (name, tensor) in names {
        hasher.update(&(name.len() as u64).to_le_bytes());
        hasher.update(name.as_bytes());
        hasher.update(tensor.dtype().name().as_bytes());
        hasher.update(&(tensor.shape().len() as u64).to_le_bytes());
        for &size in tensor.shape() {
            hasher.update(&(size as u64).to_le_bytes());
        }
        hasher.update(tensor.digest().as_bytes());
    }
    hasher.finalize()
}

/// Token ids that JSON gives as a number or as a list of numbers; `None` for anything else.
fn ids(value: &Value) -> Option<Vec<u32>> {
    let one = |v: &Value| v.as_u64().and_then(|id| u32::try_from(id).ok());
    match value {
        Value::Array(list) => list.iter().map(one).collect(),
        other => one(other).map(|id| vec![id]),
    }
}
