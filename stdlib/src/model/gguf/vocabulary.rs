//! The tokenizer of a GGUF file, rebuilt as a `tokenizer.json`.

use std::path::Path;

use indexmap::IndexMap;
use serde_json::{Map, Value as Json, json};

use super::reader::Value;
use super::{gguf_error, text};
use crate::model::{ModelError, Tokenizer};

/// The ways of cutting text before merging that are known, by `tokenizer.ggml.pre`.
const PRE_TOKENIZERS: [&str; 2] = ["smollm", "gpt-2"];

/// The tokenizer, or `None` if the file has no vocabulary.
pub(super) fn tokenizer(metadata: &IndexMap<String, Value>, path: &Path) -> Result<Option<Tokenizer>, ModelError> {
    match tokenizer_json(metadata).map_err(|cause| gguf_error(path, cause))? {
        Some(json) => Tokenizer::from_json(&json, path).map(Some),
        None => Ok(None),
    }
}

/// The content of the `tokenizer.json`.
pub(super) fn tokenizer_json(metadata: &IndexMap<String, Value>) -> Result<Option<String>, String> {
    let model = match text(metadata, "tokenizer.ggml.model") {
        None | Some("none" | "no_vocab") => return Ok(None),
        Some(model) => model,
    };
    if model != "gpt2" {
        return Err(format!("its tokenizer is of the kind `{model}`; only `gpt2` (byte-level BPE) is known"));
    }
    let tokens = texts(metadata, "tokenizer.ggml.tokens")?;
    let vocab: Map<String, Json> =
        tokens.iter().enumerate().map(|(id, token)| ((*token).to_owned(), id.into())).collect();
    if vocab.len() != tokens.len() {
        return Err("its vocabulary has a token twice".into());
    }
    let merges = texts(metadata, "tokenizer.ggml.merges")?
        .into_iter()
        .map(|merge| match merge.split_once(' ') {
            Some((left, right)) => Ok(json!([left, right])),
            None => Err(format!("its merge `{merge}` is no pair")),
        })
        .collect::<Result<Vec<_>, _>>()?;
    let file = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added_tokens(metadata, &tokens),
        "normalizer": null,
        "pre_tokenizer": pre_tokenizer(text(metadata, "tokenizer.ggml.pre").unwrap_or("gpt-2"))?,
        "post_processor": begin_token(metadata, &tokens),
        "decoder": byte_level(),
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": vocab, "merges": merges,
        },
    });
    Ok(Some(file.to_string()))
}

fn byte_level() -> Json {
    json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true})
}

fn pre_tokenizer(name: &str) -> Result<Json, String> {
    match name {
        "smollm" => Ok(json!({
            "type": "Sequence",
            "pretokenizers": [{"type": "Digits", "individual_digits": true}, byte_level()],
        })),
        "gpt-2" => Ok(byte_level()),
        other => Err(format!("its text is cut by the rules of `{other}`; known are {}", PRE_TOKENIZERS.join(", "))),
    }
}

/// Control tokens (type 3) are special; user-defined ones (type 4) are recognised in texts but are not.
fn added_tokens(metadata: &IndexMap<String, Value>, tokens: &[&str]) -> Vec<Json> {
    let Some(Value::List(types)) = metadata.get("tokenizer.ggml.token_type") else {
        return Vec::new();
    };
    tokens
        .iter()
        .zip(types)
        .enumerate()
        .filter(|(_, (_, kind))| matches!(kind, Value::Int(3 | 4)))
        .map(|(id, (token, kind))| {
            json!({
                "id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": *kind == Value::Int(3),
            })
        })
        .collect()
}

/// The post-processor that puts the begin token first, if the file asks for it.
fn begin_token(metadata: &IndexMap<String, Value>, tokens: &[&str]) -> Option<Json> {
    if metadata.get("tokenizer.ggml.add_bos_token") != Some(&Value::Bool(true)) {
        return None;
    }
    let id = super::id(metadata, "bos_token_id")?;
    let token = tokens.get(id as usize)?;
    let special = json!({"SpecialToken": {"id": token, "type_id": 0}});
    let first = json!({"Sequence": {"id": "A", "type_id": 0}});
    let second = json!({"Sequence": {"id": "B", "type_id": 1}});
    Some(json!({
        "type": "TemplateProcessing",
        "single": [special, first],
        "pair": [special, first, special, second],
        "special_tokens": {*token: {"id": token, "ids": [id], "tokens": [token]}},
    }))
}

/// What `tokenizer_config.json` tells: the special tokens by their roles.
pub(super) fn tokenizer_config(metadata: &IndexMap<String, Value>) -> Map<String, Json> {
    let mut config = Map::new();
    config.insert("tokenizer_class".into(), "PreTrainedTokenizerFast".into());
    config.insert("clean_up_tokenization_spaces".into(), false.into());
    let tokens = texts(metadata, "tokenizer.ggml.tokens").unwrap_or_default();
    let roles = [
        ("bos_token", "bos_token_id"),
        ("eos_token", "eos_token_id"),
        ("unk_token", "unknown_token_id"),
        ("pad_token", "padding_token_id"),
    ];
    for (role, key) in roles {
        if let Some(token) = super::id(metadata, key).and_then(|id| tokens.get(id as usize)) {
            config.insert(role.into(), (*token).into());
        }
    }
    config
}

fn texts<'a>(metadata: &'a IndexMap<String, Value>, key: &str) -> Result<Vec<&'a str>, String> {
    let Some(Value::List(list)) = metadata.get(key) else {
        return Err(format!("`{key}` is missing"));
    };
    list.iter()
        .map(|value| match value {
            Value::Text(text) => Ok(text.as_str()),
            _ => Err(format!("`{key}` is no list of texts")),
        })
        .collect()
}
