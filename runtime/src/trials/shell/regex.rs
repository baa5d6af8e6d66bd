//! POSIX regular expressions, basic and extended, on the `regex` crate (linear time); those with back-references on
//! `fancy-regex` with a limit on backtracking.

use super::pattern::class;
use super::state::show;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Basic,
    Extended,
}

#[derive(Debug, Clone)]
enum Engine {
    Linear(regex::bytes::Regex),
    Backtracking(fancy_regex::Regex),
}

/// A compiled expression.
#[derive(Debug, Clone)]
pub(crate) struct Matcher {
    engine: Engine,
    /// The longest match at a place, where an alternation may have taken a shorter one.
    longest: Option<regex_automata::meta::Regex>,
}

/// Where groups matched; the whole match first.
pub(crate) type Groups = Vec<Option<(usize, usize)>>;

const SIZE: usize = 1 << 20;

impl Matcher {
    pub(crate) fn new(pattern: &[u8], dialect: Dialect, fold: bool) -> Result<Self, String> {
        Self::with(pattern, dialect, fold, false)
    }

    /// `lines`: do `^` and `$` match at newlines too?
    pub(crate) fn with(pattern: &[u8], dialect: Dialect, fold: bool, lines: bool) -> Result<Self, String> {
        let made = translate(pattern, dialect)?;
        if made.back_reference {
            let mut builder = fancy_regex::RegexBuilder::new(&made.text);
            builder.case_insensitive(fold).multi_line(lines).backtrack_limit(100_000).delegate_size_limit(SIZE);
            let regex = builder.build().map_err(|_| "Invalid preceding regular expression".to_owned())?;
            return Ok(Matcher { engine: Engine::Backtracking(regex), longest: None });
        }
        let regex = regex::bytes::RegexBuilder::new(&made.text)
            .unicode(false)
            .case_insensitive(fold)
            .multi_line(lines)
            .dot_matches_new_line(true)
            .size_limit(SIZE)
            .dfa_size_limit(SIZE)
            .nest_limit(100)
            .build()
            .map_err(|error| match error {
                regex::Error::CompiledTooBig(_) => "Regular expression too big".to_owned(),
                _ => "Invalid preceding regular expression".to_owned(),
            })?;
        let longest = if made.alternation { longest(&made.text, fold, lines) } else { None };
        Ok(Matcher { engine: Engine::Linear(regex), longest })
    }

    pub(crate) fn is_match(&self, text: &[u8]) -> bool {
        match &self.engine {
            Engine::Linear(regex) => regex.is_match(text),
            Engine::Backtracking(_) => self.captures(text, 0).is_some(),
        }
    }

    /// The first match at `from` or behind.
    pub(crate) fn find(&self, text: &[u8], from: usize) -> Option<(usize, usize)> {
        match &self.engine {
            Engine::Linear(regex) => {
                let found = regex.find_at(text, from)?;
                Some((found.start(), self.end(text, found.start(), found.end())))
            }
            Engine::Backtracking(_) => *self.captures(text, from)?.first()?,
        }
    }

    fn end(&self, text: &[u8], start: usize, end: usize) -> usize {
        let Some(longest) = &self.longest else { return end };
        let input = regex_automata::Input::new(text).range(start..).anchored(regex_automata::Anchored::Yes);
        longest.find(input).map_or(end, |found| found.end().max(end))
    }

    pub(crate) fn captures(&self, text: &[u8], from: usize) -> Option<Groups> {
        match &self.engine {
            Engine::Linear(regex) => {
                let found = regex.captures_at(text, from)?;
                let mut groups: Groups =
                    found.iter().map(|group| group.map(|group| (group.start(), group.end()))).collect();
                if let Some(Some((start, end))) = groups.first_mut() {
                    *end = self.end(text, *start, *end);
                }
                Some(groups)
            }
            Engine::Backtracking(regex) => {
                let text = std::str::from_utf8(text).ok()?;
                let found = regex.captures_from_pos(text, from).ok()??;
                Some(found.iter().map(|group| group.map(|group| (group.start(), group.end()))).collect())
            }
        }
    }

    /// How many groups there are, the whole match not counted.
    pub(crate) fn groups(&self) -> usize {
        match &self.engine {
            Engine::Linear(regex) => regex.captures_len() - 1,
            Engine::Backtracking(regex) => regex.captures_len() - 1,
        }
    }
}

fn longest(pattern: &str, fold: bool, lines: bool) -> Option<regex_automata::meta::Regex> {
    let syntax = regex_automata::util::syntax::Config::new()
        .unicode(false)
        .utf8(false)
        .case_insensitive(fold)
        .multi_line(lines)
        .dot_matches_new_line(true);
    let config = regex_automata::meta::Config::new()
        .match_kind(regex_automata::MatchKind::All)
        .utf8_empty(false)
        .nfa_size_limit(Some(SIZE));
    regex_automata::meta::Builder::new().configure(config).syntax(syntax).build(pattern).ok()
}

struct Translated {
    text: String,
    back_reference: bool,
    alternation: bool,
}

struct Reader<'a> {
    pattern: &'a [u8],
    at: usize,
    out: String,
    basic: bool,
    open: usize,
    groups: usize,
    back_reference: bool,
    alternation: bool,
}

fn literal(out: &mut String, byte: u8) {
    if byte.is_ascii_alphanumeric() || byte == b'_' || byte == b' ' {
        out.push(char::from(byte));
    } else {
        out.push_str(&format!("\\x{byte:02x}"));
    }
}

/// Writes a POSIX expression in the syntax of the `regex` crate.
fn translate(pattern: &[u8], dialect: Dialect) -> Result<Translated, String> {
    let basic = dialect == Dialect::Basic;
    let mut reader = Reader {
        pattern,
        at: 0,
        out: String::new(),
        basic,
        open: 0,
        groups: 0,
        back_reference: false,
        alternation: false,
    };
    reader.all()?;
    if reader.open > 0 {
        return Err("Unmatched ( or \\(".to_owned());
    }
    if reader.back_reference && !pattern.is_ascii() {
        return Err("Invalid back reference".to_owned());
    }
    Ok(Translated { text: reader.out, back_reference: reader.back_reference, alternation: reader.alternation })
}

impl Reader<'_> {
    fn peek(&self, ahead: usize) -> Option<u8> {
        self.pattern.get(self.at + ahead).copied()
    }

    fn at_start(&self) -> bool {
        let out = self.out.as_str();
        out.is_empty() || out.ends_with('(') && !out.ends_with("\\(") || out.ends_with('|') && !out.ends_with("\\|")
    }

    fn after_anchor(&self) -> bool {
        self.at_start() || self.out.ends_with('^')
    }

    fn all(&mut self) -> Result<(), String> {
        while let Some(byte) = self.peek(0) {
            self.at += 1;
            match byte {
                b'\\' => self.escaped()?,
                b'[' => self.bracket()?,
                b'.' => self.out.push('.'),
                b'*' if self.after_anchor() => {
                    if self.basic {
                        self.out.push_str("\\x2a");
                    }
                }
                b'*' => self.repeat('*'),
                b'^' if !self.basic || self.at_start() => self.out.push('^'),
                b'$' if !self.basic || self.ends_here() => self.out.push('$'),
                b'+' | b'?' if !self.basic => {
                    if !self.after_anchor() {
                        self.repeat(char::from(byte));
                    }
                }
                b'{' if !self.basic => self.interval()?,
                b'(' if !self.basic => self.group(),
                b')' if !self.basic && self.open > 0 => self.close(),
                b'|' if !self.basic => self.alternate(),
                _ => literal(&mut self.out, byte),
            }
        }
        Ok(())
    }

    /// A second repetition goes round the first: the crate would read `a*?` as a lazy one.
    fn repeat(&mut self, op: char) {
        if self.out.ends_with(['*', '+', '?', '}']) {
            if !(self.out.ends_with(op)) {
                // `a+*`, `a{2}*`: the atom's last repetition repeated is any number of it.
                self.wrap();
                self.out.push(op);
            }
            return;
        }
        self.out.push(op);
    }

    /// Puts the last atom with its repetition into a group of its own.
    fn wrap(&mut self) {
        let Some(start) = last_atom(&self.out) else { return };
        self.out.insert_str(start, "(?:");
        self.out.push(')');
    }

    fn ends_here(&self) -> bool {
        let rest = &self.pattern[self.at..];
        rest.is_empty() || rest.starts_with(b"\\)") || rest.starts_with(b"\\|") || rest.starts_with(b"\n")
    }

    fn group(&mut self) {
        self.open += 1;
        self.groups += 1;
        self.out.push('(');
    }

    fn close(&mut self) {
        self.open -= 1;
        self.out.push(')');
    }

    fn alternate(&mut self) {
        self.alternation = true;
        self.out.push('|');
    }

    fn escaped(&mut self) -> Result<(), String> {
        let Some(byte) = self.peek(0) else { return Err("Trailing backslash".to_owned()) };
        self.at += 1;
        match byte {
            b'(' if self.basic => self.group(),
            b')' if self.basic => {
                if self.open == 0 {
                    return Err("Unmatched ) or \\)".to_owned());
                }
                self.close();
            }
            b'|' if self.basic => self.alternate(),
            b'{' if self.basic => self.interval()?,
            b'+' | b'?' if self.basic && !self.after_anchor() => self.repeat(char::from(byte)),
            b'<' => self.out.push_str("\\b{start}"),
            b'>' => self.out.push_str("\\b{end}"),
            b'b' => self.out.push_str("\\b"),
            b'B' => self.out.push_str("\\B"),
            b'w' => self.out.push_str("[0-9A-Za-z_]"),
            b'W' => self.out.push_str("[^0-9A-Za-z_]"),
            b's' => self.out.push_str("[\\x09-\\x0d ]"),
            b'S' => self.out.push_str("[^\\x09-\\x0d ]"),
            b'`' => self.out.push_str("\\A"),
            b'\'' => self.out.push_str("\\z"),
            b'n' => self.out.push_str("\\n"),
            b't' => self.out.push_str("\\t"),
            b'1'..=b'9' => {
                if usize::from(byte - b'0') > self.groups {
                    return Err("Invalid back reference".to_owned());
                }
                self.back_reference = true;
                self.out.push_str(&format!("(?:\\{})", char::from(byte)));
            }
            _ => literal(&mut self.out, byte),
        }
        Ok(())
    }

    fn interval(&mut self) -> Result<(), String> {
        let end: &[u8] = if self.basic { b"\\}" } else { b"}" };
        let rest = &self.pattern[self.at..];
        let close = rest.windows(end.len()).position(|part| part == end);
        let inner = close.map(|close| show(&rest[..close]));
        let valid = inner.as_ref().is_some_and(|text| {
            let bounds: Vec<&str> = text.splitn(2, ',').collect();
            let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()) && text.len() < 6;
            bounds.iter().all(|bound| digits(bound)) && text.bytes().any(|byte| byte.is_ascii_digit() || byte == b',')
        });
        let (Some(inner), Some(close), true) = (inner, close, valid && !self.after_anchor()) else {
            if self.basic {
                return Err(if close.is_none() { "Unmatched \\{" } else { "Invalid content of \\{\\}" }.to_owned());
            }
            literal(&mut self.out, b'{');
            return Ok(());
        };
        self.at += close + end.len();
        let inner = if inner.starts_with(',') { format!("0{inner}") } else { inner };
        if self.out.ends_with(['*', '+', '?', '}']) {
            self.wrap();
        }
        self.out.push_str(&format!("{{{inner}}}"));
        Ok(())
    }

    fn bracket(&mut self) -> Result<(), String> {
        let unmatched = || "Unmatched [, [^, [:, [., or [=".to_owned();
        self.out.push('[');
        if self.peek(0) == Some(b'^') {
            self.out.push('^');
            self.at += 1;
        }
        let first = self.at;
        loop {
            let byte = self.peek(0).ok_or_else(unmatched)?;
            if byte == b']' && self.at > first {
                self.at += 1;
                self.out.push(']');
                return Ok(());
            }
            if byte == b'[' && self.peek(1) == Some(b':') {
                let rest = &self.pattern[self.at + 2..];
                let length = rest.windows(2).position(|part| part == b":]").ok_or_else(unmatched)?;
                let ranges = class(&rest[..length]).ok_or_else(|| "Invalid character class name".to_owned())?;
                for (low, high) in ranges {
                    self.out.push_str(&format!("\\x{low:02x}-\\x{high:02x}"));
                }
                self.at += length + 4;
                continue;
            }
            self.at += 1;
            // Within brackets awk and sed read a backslash before n or t as the control character.
            let mut low = byte;
            if byte == b'\\' && self.peek(0) == Some(b'n') {
                low = b'\n';
                self.at += 1;
            }
            if self.peek(0) == Some(b'-') && self.peek(1).is_some_and(|byte| byte != b']') {
                let high = self.peek(1).unwrap_or(low);
                self.at += 2;
                if high < low {
                    return Err("Invalid range end".to_owned());
                }
                self.out.push_str(&format!("\\x{low:02x}-\\x{high:02x}"));
            } else {
                self.out.push_str(&format!("\\x{low:02x}"));
            }
        }
    }
}

/// Where the last atom of a translated expression starts, its repetition included.
fn last_atom(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = bytes.len();
    loop {
        match bytes.get(at.checked_sub(1)?)? {
            b'*' | b'+' | b'?' => at -= 1,
            b'}' => at = text[..at].rfind('{')?,
            _ => break,
        }
    }
    match bytes[at - 1] {
        b')' => {
            let mut depth = 0usize;
            for start in (0..at).rev() {
                match bytes[start] {
                    b')' => depth += 1,
                    b'(' => {
                        depth -= 1;
                        if depth == 0 {
                            return Some(start);
                        }
                    }
                    _ => {}
                }
            }
            None
        }
        b']' => text[..at].rfind('['),
        _ if at >= 4 && bytes[at - 4] == b'\\' && bytes[at - 3] == b'x' => Some(at - 4),
        _ => Some(at - 1),
    }
}
