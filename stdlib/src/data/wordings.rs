//! The wordings of word problems. `{a}` and `{b}` are the two numbers, `{n}` a thing; the asked number is a + b or a − b.
//!
//! Questions are short, since each byte costs a byte-level model a token. Their order is part of the interface:
//! `templates: 0..2` means the first two.

use super::DataError;
use super::word_problems::Operation;

/// The language of generated text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// English, `"en"`.
    English,
    /// Japanese, `"ja"`.
    Japanese,
}

impl Language {
    /// Reads a language's code (ISO 639-1).
    ///
    /// # Errors
    /// [`DataError::BadArgument`] if it is neither `en` nor `ja`.
    pub fn parse(code: &str) -> Result<Language, DataError> {
        match code {
            "en" => Ok(Language::English),
            "ja" => Ok(Language::Japanese),
            other => Err(DataError::BadArgument {
                argument: "language",
                problem: format!("is \"{other}\", it can be \"en\" or \"ja\""),
            }),
        }
    }

    /// Its code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Language::English => "en",
            Language::Japanese => "ja",
        }
    }
}

const ENGLISH_ADD: &[&str] = &[
    "Tom has {a} {n} and buys {b}. How many?",
    "There are {a} {n}. Add {b}. How many?",
    "Mia had {a} {n} and found {b}. In total?",
    "{a} {n} and {b} more make how many?",
];

const ENGLISH_SUBTRACT: &[&str] = &[
    "Tom has {a} {n} and sells {b}. How many?",
    "There are {a} {n}. Take {b}. How many?",
    "Mia had {a} {n} and lost {b}. Left?",
    "{a} {n} less {b} leave how many?",
];

const ENGLISH_THINGS: &[&str] = &["eggs", "pens", "cards", "coins", "cups", "nuts", "keys", "hats"];

const JAPANESE_ADD: &[&str] = &[
    "{n}が{a}個ある。{b}個もらうと何個?",
    "{n}が{a}個あり、{b}個増えると何個?",
    "{n}が{a}個ある。{b}個買うと何個?",
    "{n}{a}個に{b}個加えると何個?",
];

const JAPANESE_SUBTRACT: &[&str] = &[
    "{n}が{a}個ある。{b}個食べると何個?",
    "{n}が{a}個あり、{b}個減ると何個?",
    "{n}が{a}個ある。{b}個売ると何個?",
    "{n}{a}個から{b}個配ると何個?",
];

pub(super) const JAPANESE_THINGS: &[&str] = &["りんご", "みかん", "卵", "飴", "餅", "柿", "栗", "梨"];

/// The things that problems in `language` are about.
pub(super) fn things(language: Language) -> &'static [&'static str] {
    match language {
        Language::English => ENGLISH_THINGS,
        Language::Japanese => JAPANESE_THINGS,
    }
}

/// The wordings of `operation` in `language`, in their fixed order.
pub(super) fn wordings(language: Language, operation: Operation) -> &'static [&'static str] {
    match (language, operation) {
        (Language::English, Operation::Add) => ENGLISH_ADD,
        (Language::English, Operation::Subtract) => ENGLISH_SUBTRACT,
        (Language::Japanese, Operation::Add) => JAPANESE_ADD,
        (Language::Japanese, Operation::Subtract) => JAPANESE_SUBTRACT,
    }
}

/// How many wordings there are of every operation in `language`: the bound of `templates`.
#[must_use]
pub fn template_count(language: Language) -> usize {
    Operation::ALL.iter().map(|&operation| wordings(language, operation).len()).min().unwrap_or(0)
}
