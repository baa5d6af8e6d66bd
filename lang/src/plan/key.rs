//! Content identity: 32-byte keys.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The identity of a node: what it is computed from, never where it stands or when it ran.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub [u8; 32]);

impl Key {
    /// The key of some bytes under a label that keeps domains apart.
    pub fn of(label: &str, parts: &[&[u8]]) -> Key {
        let mut h = Hasher::new(label);
        for part in parts {
            h.bytes(part);
        }
        h.finish()
    }

    /// The first eight hexadecimal digits, for people.
    pub fn short(&self) -> String {
        self.0.iter().take(4).map(|b| format!("{b:02x}")).collect()
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

/// What is said of a text that is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAKey;

impl fmt::Display for NotAKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key is 64 hexadecimal digits")
    }
}

impl std::error::Error for NotAKey {}

impl FromStr for Key {
    type Err = NotAKey;

    fn from_str(text: &str) -> Result<Key, NotAKey> {
        blake3::Hash::from_hex(text).map(Key::from).map_err(|_| NotAKey)
    }
}

impl From<blake3::Hash> for Key {
    fn from(hash: blake3::Hash) -> Key {
        Key(*hash.as_bytes())
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Key, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

/// Builds a [`Key`]; every variable-length part is preceded by its length.
pub(crate) struct Hasher(blake3::Hasher);

impl Hasher {
    pub(crate) fn new(label: &str) -> Hasher {
        let mut h = Hasher(blake3::Hasher::new());
        h.text(label);
        h
    }

    pub(crate) fn tag(&mut self, tag: u8) -> &mut Self {
        self.0.update(&[tag]);
        self
    }

    pub(crate) fn number(&mut self, n: u64) -> &mut Self {
        self.0.update(&n.to_le_bytes());
        self
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.number(bytes.len() as u64);
        self.0.update(bytes);
        self
    }

    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    pub(crate) fn key(&mut self, key: &Key) -> &mut Self {
        self.0.update(&key.0);
        self
    }

    pub(crate) fn finish(&self) -> Key {
        Key(*self.0.finalize().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_json_come_back_equal() {
        let key = Key::of("test", &[b"evo"]);
        assert_eq!(key.to_string().len(), 64);
        assert!(key.to_string().starts_with(&key.short()));
        assert_eq!(key.to_string().parse(), Ok(key));
        assert_eq!("12".parse::<Key>(), Err(NotAKey));
        let json = serde_json::to_string(&key).unwrap();
        assert_eq!(serde_json::from_str::<Key>(&json).unwrap(), key);
    }
}
