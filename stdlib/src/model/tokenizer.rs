//! Tokenizers: text to token ids and back, with the file they came from kept for writing back.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{ModelError, Vocabulary};

/// A tokenizer as Hugging Face's `tokenizer.json` describes it.
#[derive(Clone)]
pub struct Tokenizer {
    pub(super) inner: Arc<tokenizers::Tokenizer>,
    pub(super) json: Arc<str>,
    path: PathBuf,
    pub(super) vocabulary: Arc<OnceLock<Result<Vocabulary, String>>>,
}

impl Tokenizer {
    /// The tokenizer described by `json`, the content of a `tokenizer.json`. `path` is where it came from, for errors.
    pub fn from_json(json: &str, path: &Path) -> Result<Self, ModelError> {
        let inner = json
            .parse::<tokenizers::Tokenizer>()
            .map_err(|e| ModelError::Tokenizer { path: path.to_path_buf(), cause: e.to_string() })?;
        Ok(Self { inner: Arc::new(inner), json: json.into(), path: path.to_path_buf(), vocabulary: Arc::default() })
    }

    /// The ids of `text`. Special tokens inside the text are recognised; with `add_special` the tokenizer's own, such as a
    /// begin token, are added around it.
    pub fn encode(&self, text: &str, add_special: bool) -> Result<Vec<u32>, ModelError> {
        self.inner
            .encode(text, add_special)
            .map(|encoding| encoding.get_ids().to_vec())
            .map_err(|e| self.error(&e.to_string()))
    }

    /// The text of `ids`; with `skip_special` without special tokens. Bytes that are no UTF-8 become U+FFFD.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String, ModelError> {
        self.inner.decode(ids, skip_special).map_err(|e| self.error(&e.to_string()))
    }

    /// The id of a token by its spelling in the vocabulary, such as `<|im_end|>`.
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The spelling of a token by its id.
    pub fn id_to_token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// Number of tokens, added ones included.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// The largest id that an encoding can hold; `None` for an empty vocabulary.
    pub fn largest_id(&self) -> Option<u32> {
        self.inner.get_vocab(true).into_values().max()
    }

    /// The content of `tokenizer.json`, as it was read or made.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// Hash of [`Tokenizer::json`]: equal for tokenizers that are alike byte for byte.
    pub fn fingerprint(&self) -> blake3::Hash {
        blake3::hash(self.json.as_bytes())
    }

    pub(super) fn error(&self, cause: &str) -> ModelError {
        ModelError::Tokenizer { path: self.path.clone(), cause: cause.into() }
    }
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokenizer({} tokens)", self.vocab_size())
    }
}

/// What a check needs to know of a tokenizer, read without building it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenizerHeader {
    /// As [`Tokenizer::fingerprint`].
    pub fingerprint: blake3::Hash,
    /// As [`Tokenizer::largest_id`].
    pub largest_id: Option<u32>,
}

impl TokenizerHeader {
    /// Reads the content of a `tokenizer.json`. `path` is where it came from, for errors.
    pub fn from_json(json: &str, path: &Path) -> Result<Self, ModelError> {
        let file: TokenizerFile = serde_json::from_str(json)
            .map_err(|e| ModelError::Tokenizer { path: path.to_path_buf(), cause: e.to_string() })?;
        let added = file.added_tokens.iter().map(|token| token.id).max();
        Ok(Self { fingerprint: blake3::hash(json.as_bytes()), largest_id: added.max(file.model.vocab.0) })
    }
}

#[derive(Deserialize)]
struct TokenizerFile {
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
    model: TokenizerModel,
}

#[derive(Deserialize)]
struct AddedToken {
    id: u32,
}

#[derive(Deserialize)]
struct TokenizerModel {
    vocab: LargestId,
}

/// The largest id of a vocabulary, which is an object from token to id, or (Unigram) a list in the order of ids.
struct LargestId(Option<u32>);

impl<'de> Deserialize<'de> for LargestId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Ids;
        impl<'de> Visitor<'de> for Ids {
            type Value = LargestId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a vocabulary")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<LargestId, A::Error> {
                let mut largest = None;
                while let Some((_, id)) = map.next_entry::<IgnoredAny, u32>()? {
                    largest = largest.max(Some(id));
                }
                Ok(LargestId(largest))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<LargestId, A::Error> {
                let mut count = 0u32;
                while seq.next_element::<IgnoredAny>()?.is_some() {
                    count = count.saturating_add(1);
                }
                Ok(LargestId(count.checked_sub(1)))
            }
        }
        deserializer.deserialize_any(Ids)
    }
}
