//! The part of an answer that counts.

use std::sync::{Arc, OnceLock};

use fancy_regex::Regex;

/// What of a generated text is compared with the expected one.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Extract {
    /// All of it.
    #[default]
    Whole,
    /// The first line that is not blank.
    FirstLine,
    /// The last number: digits with an optional sign, thousands separators (dropped) and a decimal part, in ASCII or
    /// full-width characters; trailing zeros of the decimal part do not count.
    LastNumber,
    /// The letter of a choice, in capitals: the last one after the word `answer` (or 答え, 正解), else the first in parentheses, else the first
    /// that begins a line and stands alone there or before `)`, `.` or `:`.
    Letter,
    /// What a regular expression finds.
    Pattern(Arc<Pattern>),
}

/// A regular expression, and which of its matches counts.
#[derive(Debug)]
pub struct Pattern {
    regex: Regex,
    is_last: bool,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        (self.regex.as_str(), self.is_last) == (other.regex.as_str(), other.is_last)
    }
}

impl Pattern {
    /// A pattern of the first or the last match, in the syntax of the crate `fancy-regex`: that of Rust's `regex` with look-around and
    /// references back.
    ///
    /// # Errors
    /// In words, if it cannot be read.
    pub fn new(pattern: &str, is_last: bool) -> Result<Self, String> {
        Ok(Self { regex: Regex::new(pattern).map_err(|error| error.to_string())?, is_last })
    }

    /// The first group of the match that has one, or the whole match. None is found where the search takes too many steps back.
    fn find(&self, text: &str) -> Option<String> {
        let mut all = self.regex.captures_iter(text).map_while(Result::ok);
        let found = if self.is_last { all.last() } else { all.next() }?;
        let group = found.iter().skip(1).flatten().next().or_else(|| found.get(0))?;
        Some(group.as_str().trim().to_owned())
    }
}

impl Extract {
    /// The part of `text` that counts, without surrounding white space; `None` if there is no such part.
    #[must_use]
    pub fn apply(&self, text: &str) -> Option<String> {
        match self {
            Self::Whole => Some(text.trim().to_owned()),
            Self::FirstLine => text.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned),
            Self::LastNumber => last_number(text),
            Self::Letter => letter(text),
            Self::Pattern(pattern) => pattern.find(text),
        }
    }

    /// The same of an expected answer, which may be given as the part that counts.
    #[must_use]
    pub fn of_expected(&self, text: &str) -> Option<String> {
        match self {
            Self::Letter | Self::Pattern(_) => self.apply(text).or_else(|| Self::Whole.apply(text)),
            Self::Whole | Self::FirstLine | Self::LastNumber => self.apply(text),
        }
    }
}

fn letter(text: &str) -> Option<String> {
    static RULES: OnceLock<Vec<Pattern>> = OnceLock::new();
    let rules = RULES.get_or_init(|| {
        let after_answer = r"(?:(?i:\banswer)|答え?|正解)(?i:\s+is|は)?[\s:：*]*[(（]?([A-ZＡ-Ｚ])\b";
        let rules = [
            (after_answer, true),
            (r"[(（]([A-ZＡ-Ｚ])[)）]", false),
            (r"(?m)^[\s*]*([A-ZＡ-Ｚ])(?=[).:：）*]|\s*$)", false),
        ];
        rules.iter().filter_map(|(rule, is_last)| Pattern::new(rule, *is_last).ok()).collect()
    });
    let lone = || Some(text.trim()).filter(|text| text.len() == 1 && text.chars().all(|c| c.is_ascii_lowercase()));
    let found = rules.iter().find_map(|rule| rule.find(text)).or_else(|| lone().map(str::to_uppercase))?;
    Some(found.chars().map(|c| if ('Ａ'..='Ｚ').contains(&c) { narrow_letter(c) } else { c }).collect())
}

/// The ASCII form of a full-width letter.
fn narrow_letter(c: char) -> char {
    char::from_u32(c as u32 - 0xFEE0).unwrap_or(c)
}

fn last_number(text: &str) -> Option<String> {
    let chars: Vec<char> = text.chars().map(narrow).collect();
    let digit = |i: usize| chars.get(i).is_some_and(char::is_ascii_digit);
    let last = (0..chars.len()).rev().find(|&i| digit(i))?;
    // Back over digits, and over separators that stand between digits.
    let mut first = last;
    while first > 0 {
        let before = first - 1;
        let joins = chars.get(before).is_some_and(|c| matches!(c, ',' | '.')) && before > 0 && digit(before - 1);
        if !digit(before) && !joins {
            break;
        }
        first = before;
    }
    let signed = first > 0 && chars.get(first - 1) == Some(&'-') && (first < 2 || !digit(first - 2));
    let body: String = chars.get(first..=last)?.iter().filter(|c| **c != ',').collect();
    // Of "1.2.3" (a version, a date) the last two groups are the number.
    let groups: Vec<&str> = body.split('.').collect();
    let (whole, part) = match groups.as_slice() {
        [.., whole, part] => (*whole, part.trim_end_matches('0')),
        _ => (body.as_str(), ""),
    };
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let sign = if signed && (whole != "0" || !part.is_empty()) { "-" } else { "" };
    let point = if part.is_empty() { "" } else { "." };
    Some(format!("{sign}{whole}{point}{part}"))
}

/// The ASCII form of a full-width digit, sign or separator.
fn narrow(c: char) -> char {
    match c {
        '０'..='９' | '，' | '．' | '－' => char::from_u32(c as u32 - 0xFEE0).unwrap_or(c),
        '−' => '-',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_number_is_found_in_its_plain_form() {
        let number = |text| Extract::LastNumber.apply(text);
        for (text, expected) in [
            ("3 and 14 make 17.", "17"),
            ("#### 1,234,500", "1234500"),
            ("答えは２７個です", "27"),
            ("about -3.50 degrees", "-3.5"),
            ("10-4", "4"),
            ("−7", "-7"),
            ("007 and 0.0", "0"),
            ("-0", "0"),
            ("5,", "5"),
            ("in 2.5.10", "5.1"),
        ] {
            assert_eq!(number(text).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(number("none"), None);
        assert_eq!(number(""), None);
    }

    #[test]
    fn the_letter_of_a_choice_is_found() {
        for (text, expected) in [
            ("B", Some("B")),
            ("b", Some("B")),
            (" (C) because of A.", Some("C")),
            ("D. Paris", Some("D")),
            ("A and B are wrong. The answer is (C).", Some("C")),
            ("Answer: B, or rather: the answer is **D**", Some("D")),
            ("答えは（Ｂ）です", Some("B")),
            ("I think that\nE: none", Some("E")),
            ("A man walks", None),
            ("no letter", None),
            ("", None),
        ] {
            assert_eq!(Extract::Letter.apply(text).as_deref(), expected, "{text}");
        }
        assert_eq!(Extract::Letter.of_expected("Paris").as_deref(), Some("Paris"));
    }

    #[test]
    fn a_pattern_finds_its_first_group() {
        let pattern = |regex, is_last| Extract::Pattern(Pattern::new(regex, is_last).unwrap().into());
        let text = "12 #### 7\n#### 1,000 \n";
        assert_eq!(pattern("#### (-?[0-9,]+)", false).apply(text).as_deref(), Some("7"));
        assert_eq!(pattern("#### (-?[0-9,]+)", true).apply(text).as_deref(), Some("1,000"));
        assert_eq!(pattern("(a)|[0-9]+", false).apply(text).as_deref(), Some("12"));
        assert_eq!(pattern("(?<=### )7", false).apply(text).as_deref(), Some("7"));
        assert_eq!(pattern("x", false).apply(text), None);
        assert_eq!(pattern("#### (.*)", false).of_expected(" 7 ").as_deref(), Some("7"));
        assert!(Pattern::new("(", false).is_err());
        // What would take for ever is given up.
        assert_eq!(pattern("(a+)+(?=b)c", false).apply(&"a".repeat(5000)), None);
    }

    #[test]
    fn lines_and_wholes_are_trimmed() {
        assert_eq!(Extract::FirstLine.apply("\n  12 \n13").as_deref(), Some("12"));
        assert_eq!(Extract::FirstLine.apply(" \n"), None);
        assert_eq!(Extract::Whole.apply(" 12\n").as_deref(), Some("12"));
    }
}
