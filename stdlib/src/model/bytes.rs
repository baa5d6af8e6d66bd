//! A tokenizer whose tokens are bytes, for small models of one's own.
//!
//! Token `b` is the byte `b`, for 0 to 254. Byte 255 occurs in no UTF-8 text; its id is the end token [`END_TOKEN`], which also
//! pads. So the vocabulary has exactly 256 entries and every text goes through without loss. It is written as an ordinary
//! `tokenizer.json` (byte-level BPE without merges), which transformers loads too.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{ModelError, Tokenizer};

/// Number of tokens.
pub const VOCAB_SIZE: usize = 256;
/// The token that ends an answer.
pub const END: u32 = 255;
/// The spelling of [`END`] in texts.
pub const END_TOKEN: &str = "<|end|>";

/// The tokenizer.
pub fn tokenizer() -> Result<Tokenizer, ModelError> {
    Tokenizer::from_json(&tokenizer_json(), Path::new("tokenizer.json"))
}

/// The content of `tokenizer.json`.
fn tokenizer_json() -> String {
    let vocab: Map<String, Value> =
        byte_alphabet().into_iter().zip(0..END).map(|(c, id)| (c.to_string(), id.into())).collect();
    let byte_level = json!({
        "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false,
    });
    let file = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [{
            "id": END, "content": END_TOKEN, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true,
        }],
        "normalizer": null,
        "pre_tokenizer": byte_level,
        "post_processor": null,
        "decoder": byte_level,
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": vocab, "merges": [],
        },
    });
    file.to_string()
}

/// The content of `tokenizer_config.json`.
pub(super) fn tokenizer_config() -> Map<String, Value> {
    [
        ("tokenizer_class", "PreTrainedTokenizerFast".into()),
        ("eos_token", END_TOKEN.into()),
        ("pad_token", END_TOKEN.into()),
        ("clean_up_tokenization_spaces", false.into()),
    ]
    .into_iter()
    .map(|(name, value): (_, Value)| (name.to_owned(), value))
    .collect()
}

/// The character that stands for each byte in byte-level vocabularies, in the order of the bytes (Radford et al., 2019):
/// printable Latin-1 for itself, the others from U+0100 on.
pub(super) fn byte_alphabet() -> Vec<char> {
    let mut next = 0x100u32;
    (0..=255u32)
        .map(|byte| match byte {
            0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF => byte,
            _ => {
                next += 1;
                next - 1
            }
        })
        .filter_map(char::from_u32)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_bytes_and_come_back() {
        let tokenizer = tokenizer().unwrap();
        assert_eq!(tokenizer.vocab_size(), VOCAB_SIZE);
        assert_eq!(tokenizer.largest_id(), Some(END));
        let all: String = (0..0x2100).filter_map(char::from_u32).collect();
        for text in ["3 + 4 =\n", "りんごが三つ", "😀", "", "a\0b\u{7f}\r\n  c", &all] {
            let ids = tokenizer.encode(text, true).unwrap();
            let bytes: Vec<u32> = text.bytes().map(u32::from).collect();
            assert_eq!(ids, bytes, "{text}");
            assert_eq!(tokenizer.decode(&ids, true).unwrap(), text);
        }
        assert_eq!(tokenizer.encode("7<|end|>", false).unwrap(), [55, END]);
        assert_eq!(tokenizer.decode(&[55, END], true).unwrap(), "7");
    }
}
