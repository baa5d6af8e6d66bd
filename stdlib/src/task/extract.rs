//! The part of an answer that counts.

/// What of a generated text is compared with the expected one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Extract {
    /// All of it.
    #[default]
    Whole,
    /// The first line that is not blank.
    FirstLine,
    /// The last number: digits with an optional sign, thousands separators (dropped) and a decimal part, in ASCII or
    /// full-width characters; trailing zeros of the decimal part do not count.
    LastNumber,
}

impl Extract {
    /// The part of `text` that counts, without surrounding white space; `None` if there is no such part.
    #[must_use]
    pub fn apply(self, text: &str) -> Option<String> {
        match self {
            Self::Whole => Some(text.trim().to_owned()),
            Self::FirstLine => text.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned),
            Self::LastNumber => last_number(text),
        }
    }
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
    fn lines_and_wholes_are_trimmed() {
        assert_eq!(Extract::FirstLine.apply("\n  12 \n13").as_deref(), Some("12"));
        assert_eq!(Extract::FirstLine.apply(" \n"), None);
        assert_eq!(Extract::Whole.apply(" 12\n").as_deref(), Some("12"));
    }
}
