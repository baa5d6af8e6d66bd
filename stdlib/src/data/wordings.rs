//! The wordings of word problems. `{a}` and `{b}` are the two numbers; the asked number is a + b or a − b.
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
    "Tom has {a} apples and buys {b} more. How many now?",
    "{a} birds sit in a tree and {b} more come. How many?",
    "There are {a} red and {b} blue pens. How many in all?",
    "Mia read {a} pages, then {b} more. How many in total?",
];

const ENGLISH_SUBTRACT: &[&str] = &[
    "Tom has {a} apples and eats {b}. How many are left?",
    "{a} birds sit in a tree and {b} fly off. How many stay?",
    "There are {a} pens and {b} get lost. How many remain?",
    "Mia had {a} coins and spent {b}. How many are left?",
];

const JAPANESE_ADD: &[&str] = &[
    "りんごが{a}個、みかんが{b}個。合わせて何個?",
    "鳥が{a}羽いて、{b}羽来た。今は何羽?",
    "本を{a}冊持ち、{b}冊もらった。何冊ある?",
    "{a}円に{b}円を足すと、いくら?",
];

const JAPANESE_SUBTRACT: &[&str] = &[
    "りんごが{a}個。{b}個食べると、残りは何個?",
    "鳥が{a}羽いて、{b}羽飛んだ。今は何羽?",
    "本を{a}冊持ち、{b}冊あげた。何冊ある?",
    "{a}円から{b}円を引くと、いくら?",
];

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
    Operation::ALL
        .iter()
        .map(|&operation| wordings(language, operation).len())
        .min()
        .unwrap_or(0)
}
