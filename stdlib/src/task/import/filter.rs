//! What the harness does to an answer before it is compared, and how it is compared.

use fancy_regex::Regex;

use crate::answer::Answering;

/// Answers that are written, filtered, and compared exactly: the harness's `generate_until`.
#[derive(Debug, Clone, PartialEq)]
pub struct Filtered {
    /// The longest answer, in tokens.
    pub max_tokens: usize,
    /// How answers are written, and where they stop.
    pub by: Answering,
    /// Whether the expected answer is a JSON list of texts, any of which is right.
    pub several: bool,
    pub(super) filters: Vec<Filter>,
    pub(super) exact: Exact,
}

impl Filtered {
    /// Whether an answer is the expected one.
    #[must_use]
    pub fn is_right(&self, answer: &str, expected: &str) -> bool {
        let found = self.filters.iter().fold(answer.to_owned(), |text, filter| filter.apply(&text));
        let found = self.exact.plain(&found);
        if !self.several {
            return found == self.exact.plain(expected);
        }
        let golds: Vec<String> = serde_json::from_str(expected).unwrap_or_default();
        golds.iter().any(|gold| found == self.exact.plain(gold))
    }
}

/// One step of a filter.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Filter {
    Regex { pattern: PyRegex, select: i64, fallback: String },
    Lowercase,
    Uppercase,
    Trim,
}

impl Filter {
    fn apply(&self, text: &str) -> String {
        match self {
            Self::Regex { pattern, select, fallback } => {
                pattern.pick(text, *select).unwrap_or_else(|| fallback.clone())
            }
            Self::Lowercase => text.to_lowercase(),
            Self::Uppercase => text.to_uppercase(),
            Self::Trim => text.trim().to_owned(),
        }
    }
}

/// What does not count in the comparison.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Exact {
    pub(super) ignored: Vec<PyRegex>,
    pub(super) case: bool,
    pub(super) punctuation: bool,
    pub(super) numbers: bool,
}

impl Exact {
    fn plain(&self, text: &str) -> String {
        let mut text = self
            .ignored
            .iter()
            .fold(text.to_owned(), |text, pattern| pattern.regex.replace_all(&text, "").into_owned());
        if self.case {
            text = text.to_lowercase();
        }
        text.retain(|c| !(self.punctuation && c.is_ascii_punctuation() || self.numbers && c.is_ascii_digit()));
        text
    }
}

/// A regular expression in Python's syntax.
#[derive(Clone)]
pub(super) struct PyRegex {
    source: String,
    pub(super) regex: Regex,
}

impl std::fmt::Debug for PyRegex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.source)
    }
}

impl PartialEq for PyRegex {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl PyRegex {
    /// Reads a pattern; the error is in words.
    pub(super) fn new(source: &str) -> Result<Self, String> {
        let regex = Regex::new(&translated(source)).map_err(|error| error.to_string())?;
        Ok(Self { source: source.to_owned(), regex })
    }

    /// Of Python's `findall`, the item at `select` (from the end, if negative): the whole match of a pattern without groups, the only group, or the
    /// first of several groups that is not empty. A search that takes too many steps back ends there.
    fn pick(&self, text: &str, select: i64) -> Option<String> {
        let mut all = Vec::new();
        let mut from = 0;
        while from <= text.len()
            && let Ok(Some(found)) = self.regex.captures_from_pos(text, from)
        {
            let Some(whole) = found.get(0) else { break };
            // An empty match moves on by a character, any other is gone on from, also by an empty one: as in Python since 3.7.
            from = if whole.start() == whole.end() {
                whole.end() + text.get(whole.end()..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8)
            } else {
                whole.end()
            };
            let groups: Vec<&str> = found.iter().skip(1).map(|group| group.map_or("", |g| g.as_str())).collect();
            all.push(match groups.as_slice() {
                [] => Some(whole.as_str()),
                [only] => Some(*only),
                several => several.iter().copied().find(|group| !group.is_empty()),
            });
        }
        let at = if select < 0 { all.len() as i64 + select } else { select };
        let found = all.get(usize::try_from(at).ok()?)?;
        found.map(|text| text.trim().to_owned())
    }
}

/// Python's syntax in that of `fancy-regex`: `$` is also before a last line break, `\Z` is the very end, and `[`, `&&` and their like have no
/// meaning of their own between brackets.
fn translated(source: &str) -> String {
    let lines = source.contains("(?m") || source.contains("(?sm") || source.contains("(?im");
    let mut out = String::new();
    let mut chars = source.chars().peekable();
    let mut class = None;
    while let Some(c) = chars.next() {
        match (c, class) {
            ('\\', _) => match chars.next() {
                Some('Z') => out.push_str(r"\z"),
                Some(next) => out.extend(['\\', next]),
                None => out.push('\\'),
            },
            ('[', None) => {
                out.push('[');
                if chars.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
                if chars.next_if_eq(&']').is_some() {
                    out.push_str(r"\]");
                }
                class = Some(());
            }
            (']', Some(())) => {
                out.push(']');
                class = None;
            }
            ('[' | '&' | '~', Some(())) => out.extend(['\\', c]),
            ('$', None) if !lines => out.push_str(r"(?=\n?\z)"),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pick(pattern: &str, text: &str, select: i64) -> Option<String> {
        PyRegex::new(pattern).unwrap().pick(text, select)
    }

    #[test]
    fn matches_are_those_of_findall() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(pick(r"#### (\-?[0-9\.\,]+)", "so #### 1,200\n#### 7.", 0), some("1,200"));
        let flexible = r"(-?[$0-9.,]{2,})|(-?[0-9]+)";
        assert_eq!(pick(flexible, "3 apples cost $4.50", -1), some("$4.50"));
        assert_eq!(pick(flexible, "3 apples, 4 pears", -1), some("4"));
        assert_eq!(pick("[0-9]+", "none", 0), None);
        assert_eq!(pick("(a)|b", "b", 0), some(""), "a lone group that has no part is an empty text");
        assert_eq!(pick("(a)|(b)|c", "c", 0), None, "of several groups none has a part");
        assert_eq!(pick("(.*)", "ab", -1), some(""), "an empty match follows a full one");
        assert_eq!(pick("a", "aa", 2), None);
        assert_eq!(pick("b$", "ab\n", 0), some("b"));
        assert_eq!(pick(r"b\Z", "ab\n", 0), None);
        assert_eq!(pick("[[(]x[]&&)]", "(x&", 0), some("(x&"));
        assert!(PyRegex::new("(").is_err());
        assert_eq!(pick("(a+)+(?=b)c", &"a".repeat(5000), 0), None, "what would take for ever is given up");
    }

    #[test]
    fn only_what_counts_is_compared() {
        let mut filtered = Filtered {
            max_tokens: 1,
            by: Answering::GREEDY,
            several: false,
            filters: Vec::new(),
            exact: Exact::default(),
        };
        assert!(filtered.is_right("4", "4") && !filtered.is_right(" 4", "4"), "white space counts");
        filtered.filters = vec![Filter::Trim, Filter::Uppercase];
        assert!(filtered.is_right(" a\n", "A"));
        filtered.filters = vec![Filter::Lowercase];
        assert!(!filtered.is_right("A", "A"), "filters are for answers alone");
        filtered.filters.clear();
        filtered.exact = Exact {
            ignored: vec![PyRegex::new(",").unwrap(), PyRegex::new("(?s).*#### ").unwrap()],
            case: true,
            punctuation: true,
            numbers: false,
        };
        assert!(filtered.is_right("1200.", "so\n#### 1,200") && filtered.is_right("Yes!", "yes"));
        filtered.several = true;
        assert!(filtered.is_right("b", r#"["a", "B"]"#) && !filtered.is_right("c", r#"["a", "b"]"#));
    }
}
