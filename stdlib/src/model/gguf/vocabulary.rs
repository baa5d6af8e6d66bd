//! The tokenizer of a GGUF file, rebuilt as a `tokenizer.json`.

use std::path::Path;

use indexmap::IndexMap;
use serde_json::{Map, Value as Json, json};

use super::reader::Value;
use super::{gguf_error, text};
use crate::model::{ModelError, Tokenizer};

/// A way of cutting text before merging.
struct Cut {
    /// What files call it: `tokenizer.ggml.pre`.
    names: &'static [&'static str],
    /// What is a word; `None` for GPT-2's own rule.
    pattern: Option<&'static str>,
    /// Whether each digit is cut off first.
    digits: bool,
    /// Whether characters are composed first (NFC).
    composed: bool,
    /// Whether a word that is a token is taken as it is.
    whole_words: bool,
    /// Whether texts begin with the begin token if the file does not say.
    begins: bool,
}

const GPT2: Cut =
    Cut { names: &["gpt-2"], pattern: None, digits: false, composed: false, whole_words: false, begins: false };

/// The ways that are known: those of the `tokenizer.json` of the families.
static CUTS: [Cut; 6] = [
    GPT2,
    Cut { names: &["smollm"], digits: true, ..GPT2 },
    Cut {
        names: &["llama-bpe", "llama3", "llama-v3", "smaug-bpe", "smollm3"],
        pattern: Some(concat!(
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|",
            r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        )),
        whole_words: true,
        begins: true,
        ..GPT2
    },
    Cut {
        names: &["qwen2", "stablelm2"],
        pattern: Some(concat!(
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|",
            r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        )),
        composed: true,
        ..GPT2
    },
    Cut {
        names: &["gpt-4o"],
        pattern: Some(concat!(
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|",
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|",
            r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        )),
        ..GPT2
    },
    Cut {
        names: &["tekken"],
        pattern: Some(concat!(
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|",
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|",
            r"\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        )),
        whole_words: true,
        begins: true,
        ..GPT2
    },
];

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
    let tokens = texts(metadata, "tokenizer.ggml.tokens")?;
    let vocab: IndexMap<&str, usize> = tokens.iter().enumerate().map(|(id, token)| (*token, id)).collect();
    if vocab.len() != tokens.len() {
        return Err("its vocabulary has a token twice".into());
    }
    let mut file = match model {
        "gpt2" => byte_pairs(metadata, &tokens, &vocab)?,
        "llama" => pieces(metadata, &tokens, &vocab)?,
        other => {
            let known = "`gpt2` (byte-level BPE) and `llama` (SentencePiece) are known";
            return Err(format!("its tokenizer is of the kind `{other}`; {known}"));
        }
    };
    file["version"] = "1.0".into();
    file["added_tokens"] = added_tokens(metadata, &tokens).into();
    Ok(Some(file.to_string()))
}

/// A tokenizer of GPT-2's kind.
fn byte_pairs(
    metadata: &IndexMap<String, Value>,
    tokens: &[&str],
    vocab: &IndexMap<&str, usize>,
) -> Result<Json, String> {
    let merges = texts(metadata, "tokenizer.ggml.merges")?
        .into_iter()
        .map(|merge| match merge.split_once(' ') {
            Some((left, right)) => Ok(json!([left, right])),
            None => Err(format!("its merge `{merge}` is no pair")),
        })
        .collect::<Result<Vec<_>, _>>()?;
    let name = text(metadata, "tokenizer.ggml.pre").unwrap_or("gpt-2");
    let Some(cut) = CUTS.iter().find(|cut| cut.names.contains(&name)) else {
        let known: Vec<&str> = CUTS.iter().flat_map(|cut| cut.names).copied().collect();
        return Err(format!("its text is cut by the rules of `{name}`; known are {}", known.join(", ")));
    };
    Ok(json!({
        "normalizer": cut.composed.then(|| json!({"type": "NFC"})),
        "pre_tokenizer": pre_tokenizer(cut),
        "post_processor": begin_token(metadata, tokens, cut.begins),
        "decoder": byte_level(true),
        "model": {"type": "BPE", "ignore_merges": cut.whole_words, "vocab": vocab, "merges": merges},
    }))
}

/// A tokenizer of SentencePiece's kind: the pair that makes the token of the highest score is merged first, and what is no token
/// is written in bytes.
fn pieces(metadata: &IndexMap<String, Value>, tokens: &[&str], vocab: &IndexMap<&str, usize>) -> Result<Json, String> {
    let scores = match metadata.get("tokenizer.ggml.scores") {
        Some(Value::List(list)) if list.len() == tokens.len() => list.as_slice(),
        _ => return Err("`tokenizer.ggml.scores` is no list of a number for each token".into()),
    };
    let kinds = match metadata.get("tokenizer.ggml.token_type") {
        Some(Value::List(list)) if list.len() == tokens.len() => list.as_slice(),
        _ => return Err("`tokenizer.ggml.token_type` is no list of a number for each token".into()),
    };
    let begins_with_space = metadata.get("tokenizer.ggml.add_space_prefix") != Some(&Value::Bool(false));
    let mut normalizers = vec![json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"})];
    let mut decoders = vec![
        json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    if begins_with_space {
        normalizers.insert(0, json!({"type": "Prepend", "prepend": "▁"}));
        decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    let unknown = kinds.iter().position(|kind| *kind == Value::Int(2)).and_then(|id| tokens.get(id));
    Ok(json!({
        "normalizer": {"type": "Sequence", "normalizers": normalizers},
        "pre_tokenizer": null,
        "post_processor": begin_token(metadata, tokens, true),
        "decoder": {"type": "Sequence", "decoders": decoders},
        "model": {
            "type": "BPE", "unk_token": unknown, "fuse_unk": true, "byte_fallback": true,
            "vocab": vocab, "merges": merges(tokens, scores, kinds, vocab),
        },
    }))
}

/// The pairs that make a token, those of the highest score first; of equal ones the longer beginning, as in transformers.
fn merges(tokens: &[&str], scores: &[Value], kinds: &[Value], vocab: &IndexMap<&str, usize>) -> Vec<[String; 2]> {
    struct Pair<'a> {
        score: f64,
        left: &'a str,
        right: &'a str,
    }
    let mut pairs = Vec::new();
    for ((token, score), kind) in tokens.iter().zip(scores).zip(kinds) {
        let (Value::Float(score), Value::Int(1 | 4)) = (score, kind) else { continue };
        let mut own: Vec<(usize, usize, Pair<'_>)> = token
            .char_indices()
            .skip(1)
            .filter_map(|(at, _)| {
                let (left, right) = token.split_at(at);
                Some((*vocab.get(left)?, *vocab.get(right)?, Pair { score: *score, left, right }))
            })
            .collect();
        own.sort_by_key(|(left, right, _)| (*left, *right));
        pairs.extend(own.into_iter().map(|(_, _, pair)| pair));
    }
    let lengths = |pair: &Pair<'_>| (pair.left.chars().count(), pair.right.chars().count());
    pairs.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| lengths(b).cmp(&lengths(a))));
    pairs.into_iter().map(|pair| [pair.left.to_owned(), pair.right.to_owned()]).collect()
}

fn byte_level(use_regex: bool) -> Json {
    json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex})
}

fn pre_tokenizer(cut: &Cut) -> Json {
    let first = match cut.pattern {
        Some(pattern) => {
            json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false})
        }
        None if cut.digits => json!({"type": "Digits", "individual_digits": true}),
        None => return byte_level(true),
    };
    json!({"type": "Sequence", "pretokenizers": [first, byte_level(cut.pattern.is_none())]})
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

/// The post-processor that puts the begin token first, if the file asks for it, or says nothing and its kind does.
fn begin_token(metadata: &IndexMap<String, Value>, tokens: &[&str], by_default: bool) -> Option<Json> {
    match metadata.get("tokenizer.ggml.add_bos_token") {
        Some(Value::Bool(true)) => {}
        None if by_default => {}
        _ => return None,
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

#[cfg(test)]
mod tests {
    //! Spellings of SentencePiece and of llama.cpp.

    use std::path::PathBuf;

    use serde::Deserialize;

    use super::super::reader;
    use super::*;

    #[derive(Deserialize)]
    struct Case {
        file: String,
        pre: Option<String>,
        text: String,
        ids: Vec<u32>,
    }

    #[test]
    fn texts_are_spelt_as_by_sentencepiece_and_llama_cpp() {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/conformance/gguf");
        let cases = std::fs::read_to_string(folder.join("vocabularies.json")).unwrap();
        let cases: Vec<Case> = serde_json::from_str(&cases).unwrap();
        assert!(cases.len() > 100);
        for case in &cases {
            let bytes = std::fs::read(folder.join(&case.file)).unwrap();
            let mut metadata = reader::read(&bytes).unwrap().metadata;
            if let Some(pre) = &case.pre {
                metadata.insert("tokenizer.ggml.pre".into(), Value::Text(pre.clone()));
            }
            let found = tokenizer(&metadata, Path::new(&case.file)).unwrap().unwrap();
            assert_eq!(
                found.encode(&case.text, false).unwrap(),
                case.ids,
                "{} {:?} {:?}",
                case.file,
                case.pre,
                case.text
            );
            assert_eq!(found.decode(&case.ids, false).unwrap(), case.text, "{} {:?}", case.file, case.pre);
            found.vocabulary().unwrap();
        }
    }
}
