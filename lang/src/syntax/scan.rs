//! A cheap scan of a text into tokens: for the nesting limit, for cutting a file into items after a syntax error, and
//! for telling from the token at the failure what went wrong. The grammar itself is `evo.pest`.

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A name, a kind, a reserved word.
    Word,
    /// A number with its unit.
    Number,
    /// A text, closed or not.
    Text {
        /// Whether its end was found.
        closed: bool,
    },
    /// `(`, `[` or `{`, with the token that closes it.
    Open(Option<usize>),
    /// `)`, `]` or `}`, with the token that opened it.
    Close(Option<usize>),
    /// `///` or `//!`
    Doc,
    /// Operators and separators.
    Symbol,
    /// A character that no token begins with.
    Unknown,
}

/// A token by its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token {
    /// What it is.
    pub(crate) kind: Kind,
    /// First byte.
    pub(crate) start: usize,
    /// One past the last byte.
    pub(crate) end: usize,
    /// Whether it is the first of its line.
    pub(crate) starts_line: bool,
    /// Whether it stands at the very beginning of its line.
    pub(crate) column0: bool,
}

/// The tokens of a text, with matched brackets.
pub(crate) struct Tokens<'a> {
    /// The text.
    pub(crate) text: &'a str,
    /// All tokens but white space and comments.
    pub(crate) all: Vec<Token>,
}

const RESERVED: [&str; 11] = ["let", "if", "then", "else", "for", "in", "and", "or", "not", "true", "false"];
const REQUESTS: [&str; 5] = ["save", "print", "plot", "expect", "use"];
const CLAUSES: [&str; 4] = ["to", "over", "as", "log"];
/// Longest first.
const SYMBOLS: [&str; 24] = [
    "..=", "=>", "->", "..", "==", "!=", "<=", ">=", "&&", "||", "**", "+=", "-=", "*=", "/=", "/*", "*/", "::", "++",
    "--", "<<", ">>", ":=", "??",
];

/// Whether a word cannot be a name.
pub(crate) fn is_reserved(word: &str) -> bool {
    RESERVED.contains(&word)
}

/// Whether a word begins a request.
pub(crate) fn is_request(word: &str) -> bool {
    REQUESTS.contains(&word)
}

impl<'a> Tokens<'a> {
    /// Scans a text; never fails.
    pub(crate) fn of(text: &'a str) -> Self {
        let mut all: Vec<Token> = Vec::with_capacity(text.len() / 4);
        let mut stack: Vec<usize> = Vec::new();
        let (mut at, mut line_start, mut starts_line) = (0, 0, true);
        while let Some(c) = text[at..].chars().next() {
            if c == '\n' {
                (at, line_start, starts_line) = (at + 1, at + 1, true);
                continue;
            }
            let (kind, length) = token(&text[at..], c);
            let Some(mut kind) = kind else {
                at += length;
                continue;
            };
            let index = all.len();
            match kind {
                Kind::Open(_) => stack.push(index),
                Kind::Close(_) => kind = Kind::Close(close(text, &mut all, &mut stack, c, index)),
                _ => {}
            }
            all.push(Token { kind, start: at, end: at + length, starts_line, column0: at == line_start });
            at += length;
            starts_line = false;
        }
        Self { text, all }
    }

    /// Where the last token ends that ends at or before `at`; `at` itself inside a token.
    pub(crate) fn end_before(&self, at: usize) -> usize {
        let after = self.all.partition_point(|t| t.end <= at);
        let inside = self.all.get(after).is_some_and(|t| t.start < at);
        if inside { at } else { after.checked_sub(1).and_then(|i| self.all.get(i)).map_or(0, |t| t.end) }
    }

    /// The token's text.
    pub(crate) fn text(&self, index: usize) -> &'a str {
        self.all.get(index).and_then(|t| self.text.get(t.start..t.end)).unwrap_or("")
    }

    /// The token's text if it is a word.
    pub(crate) fn word(&self, index: usize) -> Option<&'a str> {
        self.all.get(index).filter(|t| t.kind == Kind::Word).map(|_| self.text(index))
    }

    /// A word that may name something: neither reserved nor a clause word.
    fn free_word(&self, index: usize) -> Option<&'a str> {
        self.word(index).filter(|w| !is_reserved(w) && !CLAUSES.contains(w))
    }

    /// Where nesting first exceeds `limit`: brackets, `if`s, closures and unary operators that hold each other.
    pub(crate) fn too_deep(&self, limit: usize) -> Option<usize> {
        // For each open bracket, the depth that `if`s, closures and signs add inside it.
        let mut added = vec![0];
        let mut total = 0;
        for (i, token) in self.all.iter().enumerate() {
            let text = self.text(i);
            let here = match token.kind {
                Kind::Open(_) => {
                    added.push(0);
                    total += 1;
                    total
                }
                Kind::Close(_) if added.len() > 1 => {
                    total -= 1 + added.pop().unwrap_or(0);
                    0
                }
                Kind::Symbol | Kind::Word if matches!(text, "if" | "=>" | "->") || self.is_prefix(i, text) => {
                    total += 1;
                    added.last_mut().map_or(0, |n| {
                        *n += 1;
                        total
                    })
                }
                Kind::Symbol if matches!(text, "," | ":") => {
                    total -= added.last_mut().map_or(0, std::mem::take);
                    0
                }
                Kind::Word if text == "let" || self.free_word(i).is_some() && self.free_word(i + 1).is_some() => {
                    total -= added.last_mut().map_or(0, std::mem::take);
                    0
                }
                _ => 0,
            };
            if here > limit {
                return Some(token.start);
            }
        }
        None
    }

    fn is_prefix(&self, index: usize, text: &str) -> bool {
        text == "not" || matches!(text, "-" | "--") && !index.checked_sub(1).is_some_and(|p| self.ends_expression(p))
    }

    /// Whether an expression, a type or a body may end with this token.
    pub(crate) fn ends_expression(&self, index: usize) -> bool {
        match self.all.get(index).map(|t| t.kind) {
            Some(Kind::Word) => {
                let word = self.text(index);
                matches!(word, "true" | "false" | "log") || !is_reserved(word) && !matches!(word, "to" | "over" | "as")
            }
            Some(Kind::Number | Kind::Text { .. } | Kind::Close(_)) => true,
            _ => false,
        }
    }

    /// Whether an item may begin with this token, seen alone.
    fn looks_like_item(&self, index: usize) -> bool {
        let Some(first) = self.word(index) else { return false };
        let next = self.text(index + 1);
        if first == "let" {
            return self.word(index + 1).is_some();
        }
        if is_request(first) {
            let used_as_name = matches!(next, ":" | "=" | "=>" | "." | "," | ")" | "]" | "}" | "");
            return !used_as_name;
        }
        if matches!(first, "if" | "for") {
            // A statement of another language: after a complete expression neither word goes on.
            let starts_line = self.all.get(index).is_some_and(|t| t.starts_line);
            return starts_line && index.checked_sub(1).is_some_and(|p| self.ends_expression(p));
        }
        if is_reserved(first) || CLAUSES.contains(&first) {
            return false;
        }
        // A declaration whose kind was forgotten.
        if self.text(index + 1) == "=" && self.all.get(index).is_some_and(|t| t.column0) {
            return true;
        }
        // Two names side by side occur nowhere inside an expression.
        if self.free_word(index + 1).is_some_and(|w| !is_request(w)) {
            return true;
        }
        let (after, token) = (self.text(index + 2), self.all.get(index));
        self.word(index + 1).is_some_and(is_reserved)
            && (after == "=" && token.is_some_and(|t| t.starts_line)
                || matches!(after, "{" | "(" | ":") && token.is_some_and(|t| t.column0))
    }

    /// The tokens at which items begin. An item begins outside brackets after a complete expression, type or body; or, to
    /// recover from what is left open, at the beginning of a line if it looks like nothing but an item.
    pub(crate) fn item_heads(&self) -> Vec<usize> {
        let mut heads: Vec<usize> = Vec::new();
        let (mut depth, mut unclosed, mut i) = (0usize, 0usize, 0usize);
        let mut docs: Option<usize> = None;
        // Behind a character without meaning, such as `'`, words stand side by side that are no items.
        let mut strange = false;
        while let Some(token) = self.all.get(i) {
            strange = (strange || token.kind == Kind::Unknown) && !token.starts_line;
            match token.kind {
                Kind::Open(Some(_)) => depth += 1,
                Kind::Open(None) => unclosed += 1,
                Kind::Close(Some(_)) => depth = depth.saturating_sub(1),
                Kind::Doc if depth == 0 && self.text(i).starts_with("///") && (unclosed == 0 || token.column0) => {
                    docs.get_or_insert(i);
                    i += 1;
                    continue;
                }
                Kind::Word if depth == 0 && !strange && self.looks_like_item(i) => {
                    let after_complete = docs.is_some() || i == 0 || self.ends_expression(i - 1);
                    if token.column0 || after_complete && unclosed == 0 {
                        heads.push(docs.take().unwrap_or(i));
                        unclosed = 0;
                        i += if self.text(i) == "extern" { 2 } else { 1 };
                    }
                }
                _ => {}
            }
            docs = None;
            i += 1;
        }
        heads
    }
}

/// Pops the opening bracket of a closing one; brackets left open between the two stay unmatched.
fn close(text: &str, all: &mut [Token], stack: &mut Vec<usize>, closing: char, index: usize) -> Option<usize> {
    let opening = match closing {
        ')' => '(',
        ']' => '[',
        _ => '{',
    };
    let place = stack.iter().rposition(|&i| all.get(i).is_some_and(|t| text[t.start..].starts_with(opening)))?;
    let open = stack.get(place).copied()?;
    stack.truncate(place);
    if let Some(token) = all.get_mut(open) {
        token.kind = Kind::Open(Some(index));
    }
    Some(open)
}

/// The token at the beginning of `rest`, whose first character is `c`, with its length; `None` for white space and comments.
fn token(rest: &str, c: char) -> (Option<Kind>, usize) {
    let run = |p: fn(u8) -> bool| rest.bytes().take_while(|b| p(*b)).count();
    match c {
        c if c.is_ascii_alphabetic() || c == '_' => (Some(Kind::Word), run(is_word)),
        c if c.is_ascii_digit() => (Some(Kind::Number), number(rest)),
        '"' => text(rest),
        '(' | '[' | '{' => (Some(Kind::Open(None)), 1),
        ')' | ']' | '}' => (Some(Kind::Close(None)), 1),
        '/' if rest.starts_with("//") => {
            let is_doc = rest.starts_with("//!") || rest.starts_with("///") && !rest.starts_with("////");
            (is_doc.then_some(Kind::Doc), run(|b| b != b'\n'))
        }
        ' ' | '\t' | '\r' => (None, 1),
        // A comment of another language, as a whole.
        '#' => (Some(Kind::Unknown), run(|b| b != b'\n')),
        _ => match SYMBOLS.iter().find(|s| rest.starts_with(**s)) {
            Some(symbol) => (Some(Kind::Symbol), symbol.len()),
            None if "+-*/^=<>.,:;%!|&?".contains(c) => (Some(Kind::Symbol), 1),
            None => (Some(Kind::Unknown), c.len_utf8()),
        },
    }
}

fn is_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_'
}

fn number(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let digits = |from: usize| from + bytes.iter().skip(from).take_while(|b| b.is_ascii_digit() || **b == b'_').count();
    let is_digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let mut end = digits(0);
    if bytes.get(end) == Some(&b'.') && is_digit(end + 1) {
        end = digits(end + 1);
    }
    if bytes.get(end).is_some_and(|b| b | 32 == b'e') {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        if is_digit(end + 1 + sign) {
            end = digits(end + 1 + sign);
        }
    }
    match bytes.get(end) {
        Some(b'%') => end + 1,
        Some(b) if b.is_ascii_alphabetic() => end + bytes.iter().skip(end).take_while(|b| is_word(**b)).count(),
        _ => end,
    }
}

fn text(rest: &str) -> (Option<Kind>, usize) {
    let (long, mark) = if rest.starts_with("\"\"\"") { (true, "\"\"\"") } else { (false, "\"") };
    let mut at = mark.len();
    while let Some(tail) = rest.get(at..) {
        if tail.starts_with(mark) {
            return (Some(Kind::Text { closed: true }), at + mark.len());
        }
        match tail.chars().next() {
            None => break,
            Some('\n') if !long => break,
            Some('\\') if tail.len() > 1 && (long || !tail.starts_with("\\\n")) => {
                at += 1 + tail.chars().nth(1).map_or(0, char::len_utf8);
            }
            Some(c) => at += c.len_utf8(),
        }
    }
    (Some(Kind::Text { closed: false }), at.min(rest.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heads(text: &str) -> Vec<&str> {
        let tokens = Tokens::of(text);
        tokens.item_heads().iter().map(|&i| text[tokens.all[i].start..].lines().next().unwrap()).collect()
    }

    #[test]
    fn items_begin_after_complete_expressions() {
        assert_eq!(heads("let a = 1\nmodel b = a\n  + 2 print b"), ["let a = 1", "model b = a", "print b"]);
        assert_eq!(
            heads("evolve s { by: x }\n/// doc\nfn f(x: real) -> real {\n let y = x\n y\n}"),
            ["evolve s { by: x }", "/// doc"]
        );
        assert_eq!(
            heads("param x: int\nplot a over b to \"c\" save x to y"),
            ["param x: int", "plot a over b to \"c\" save x to y", "save x to y"]
        );
        assert_eq!(
            heads("extern fn f(x: real) -> real\nextern type T\ntype U = T"),
            ["extern fn f(x: real) -> real", "extern type T", "type U = T"]
        );
    }

    #[test]
    fn an_open_bracket_does_not_swallow_the_rest() {
        assert_eq!(
            heads("let a = f(1\nlet b = 2\nmodel c = g { x: [1, 2 }\nmodel d = 1"),
            ["let a = f(1", "let b = 2", "model c = g { x: [1, 2 }", "model d = 1"]
        );
    }

    #[test]
    fn depth_counts_what_nests() {
        let deep = |n: usize| format!("let a = {}1{}", "(".repeat(n), ")".repeat(n));
        assert!(Tokens::of(&deep(256)).too_deep(256).is_none());
        assert_eq!(Tokens::of(&deep(257)).too_deep(256), Some(8 + 256));
        let ifs = "if a then b else ".repeat(300);
        assert!(Tokens::of(&format!("let a = {ifs} c")).too_deep(256).is_some());
        let many =
            "let a = if b then c else d\n".repeat(300) + "let r = { " + &"x: if b then c else d\n".repeat(300) + "}";
        assert!(Tokens::of(&many).too_deep(256).is_none());
    }
}
