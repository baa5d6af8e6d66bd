//! How each token of a tokenizer is written, in bytes: what a form that answers are held to is matched against.

use std::sync::Arc;

use llguidance::toktrie::{ApproximateTokEnv, TokEnv, TokRxInfo, TokTrie};
use serde_json::Value;

use super::ModelError;

/// The bytes of each token, and a trie over them.
pub struct Vocabulary {
    trie: TokEnv,
    end: u32,
}

impl Vocabulary {
    /// The vocabulary of the tokenizer that `json` describes. Byte-level tokenizers (GPT-2's kind) and those of SentencePiece's
    /// kind are known.
    pub(super) fn new(inner: &tokenizers::Tokenizer, json: &str) -> Result<Self, String> {
        let file: Value = serde_json::from_str(json).map_err(|e| e.to_string())?;
        let style =
            Style::of(&file["decoder"]).ok_or("its `decoder` is of a kind whose tokens have no bytes of their own")?;
        let largest = inner.get_vocab(true).into_values().max().map_or(0, |id| id as usize + 1);
        let added = inner.get_added_tokens_decoder();
        let spelled = |id: u32| match (added.get(&id), inner.id_to_token(id)) {
            (Some(token), _) if token.special => special(&token.content),
            (Some(token), _) => token.content.clone().into_bytes(),
            (None, Some(token)) => style.bytes(&token),
            (None, None) => special("<none>"),
        };
        let mut spellings: Vec<Vec<u8>> = (0..largest as u32).map(spelled).collect();
        let end = spellings.len() as u32;
        spellings.push(special("<end>"));
        let none = None;
        let info = TokRxInfo {
            tok_eos: end,
            vocab_size: end + 1,
            tok_bos: none,
            tok_pad: none,
            tok_unk: none,
            tok_end_of_turn: none,
        };
        Ok(Self { end, trie: Arc::new(ApproximateTokEnv::new(TokTrie::from(&info, &spellings))) })
    }

    /// The trie.
    pub(crate) fn trie(&self) -> TokEnv {
        self.trie.clone()
    }

    /// The id that stands for the end of an answer in the trie; no token has it.
    pub(crate) fn end(&self) -> u32 {
        self.end
    }
}

impl std::fmt::Debug for Vocabulary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Vocabulary({} tokens)", self.end)
    }
}

/// A spelling that no text has.
fn special(name: &str) -> Vec<u8> {
    [&[TokTrie::SPECIAL_TOKEN_MARKER], name.as_bytes()].concat()
}

/// How a tokenizer writes bytes as characters.
enum Style {
    /// Each byte is a printable character (GPT-2).
    ByteLevel,
    /// `▁` is a space, `<0x0A>` a byte (SentencePiece).
    Pieces,
}

impl Style {
    fn of(decoder: &Value) -> Option<Style> {
        let kinds: Vec<&str> = match decoder["decoders"].as_array() {
            Some(all) => all.iter().filter_map(|d| d["type"].as_str()).collect(),
            None => decoder["type"].as_str().into_iter().collect(),
        };
        if kinds.contains(&"ByteLevel") {
            Some(Style::ByteLevel)
        } else if kinds.iter().any(|kind| ["ByteFallback", "Metaspace", "Replace"].contains(kind)) {
            Some(Style::Pieces)
        } else {
            None
        }
    }

    fn bytes(&self, token: &str) -> Vec<u8> {
        match self {
            Style::ByteLevel => {
                let bytes: Option<Vec<u8>> = token.chars().map(byte).collect();
                bytes.unwrap_or_else(|| special(token))
            }
            Style::Pieces => match token.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>')) {
                Some(hex) if hex.len() == 2 => u8::from_str_radix(hex, 16).map_or_else(|_| token.into(), |b| vec![b]),
                _ => token.replace('▁', " ").into_bytes(),
            },
        }
    }
}

/// The byte that GPT-2's alphabet writes as this character: printable ones stand for themselves, the others, in their order,
/// are the characters from 256 on.
fn byte(c: char) -> Option<u8> {
    let plain = |b: u8| matches!(b, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    let code = u32::from(c);
    match u8::try_from(code) {
        Ok(b) => plain(b).then_some(b),
        Err(_) => (0..=255u8).filter(|&b| !plain(b)).nth(code as usize - 256),
    }
}

impl super::Tokenizer {
    /// How its tokens are written.
    pub fn vocabulary(&self) -> Result<&Vocabulary, ModelError> {
        let made = self.vocabulary.get_or_init(|| Vocabulary::new(&self.inner, &self.json));
        made.as_ref().map_err(|cause| self.error(cause))
    }
}

#[cfg(test)]
mod tests {
    //! Spellings.

    use super::*;

    #[test]
    fn every_byte_has_its_character() {
        // Of GPT-2: space is Ġ, line feed Ċ, and the last of the shifted ones (the soft hyphen) is Ń.
        assert_eq!(
            (byte('Ġ'), byte('Ċ'), byte('Ń'), byte('a'), byte('ÿ')),
            (Some(32), Some(10), Some(0xAD), Some(97), Some(255))
        );
        assert_eq!((byte('ń'), byte(' '), byte('漢')), (None, None, None));
        let all: std::collections::BTreeSet<u8> = (0..400).filter_map(char::from_u32).filter_map(byte).collect();
        assert_eq!(all.len(), 256);
    }

    #[test]
    fn pieces_are_texts_and_bytes() {
        let style = Style::of(
            &serde_json::json!({"type": "Sequence", "decoders": [{"type": "Replace"}, {"type": "ByteFallback"}]}),
        );
        let style = style.unwrap();
        assert_eq!(style.bytes("▁the"), b" the");
        assert_eq!(style.bytes("<0x0A>"), b"\n");
        assert_eq!(style.bytes("<0xZZ>"), b"<0xZZ>");
        assert!(Style::of(&Value::Null).is_none());
    }
}
