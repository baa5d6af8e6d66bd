//! From the token at which the parser failed to a message in the language's own words.

use super::scan::{Kind, Tokens, is_request, is_reserved};
use crate::diag::{Code, Diagnostic};
use crate::span::{FileId, Span};

/// What failed: the tokens `from..to` of a file, at the byte `position`.
struct Failure<'a> {
    tokens: &'a Tokens<'a>,
    from: usize,
    to: usize,
    /// The token at the failure; `to` if the text ended too early.
    at: usize,
    file: FileId,
}

/// The diagnostic for the item of the tokens `from..to`, whose parse failed at `position`.
pub(super) fn explain(tokens: &Tokens<'_>, from: usize, to: usize, position: usize, file: FileId) -> Diagnostic {
    let at = (from..to).find(|&i| tokens.all.get(i).is_some_and(|t| t.end > position)).unwrap_or(to);
    let f = Failure { tokens, from, to, at, file };
    f.open_text()
        .or_else(|| f.percent())
        .or_else(|| f.symbol())
        .or_else(|| f.bracket())
        .or_else(|| f.value_for_type())
        .or_else(|| f.assignment())
        .or_else(|| f.habit())
        .or_else(|| f.reserved())
        .or_else(|| f.shape())
        .or_else(|| f.no_comma())
        .unwrap_or_else(|| f.unexpected())
}

impl<'a> Failure<'a> {
    fn text(&self, index: usize) -> &'a str {
        if index < self.to { self.tokens.text(index) } else { "" }
    }

    fn kind(&self, index: usize) -> Option<Kind> {
        self.tokens.all.get(index).filter(|_| (self.from..self.to).contains(&index)).map(|t| t.kind)
    }

    fn span(&self, index: usize) -> Span {
        match self.tokens.all.get(index).filter(|_| index < self.to) {
            Some(t) => Span::new(self.file, t.start, t.end),
            None => {
                let end = index.checked_sub(1).and_then(|i| self.tokens.all.get(i)).map_or(0, |t| t.end);
                Span::new(self.file, end, end)
            }
        }
    }

    fn previous(&self) -> Option<usize> {
        self.at.checked_sub(1).filter(|p| *p >= self.from)
    }

    fn starts_line(&self, index: usize) -> bool {
        self.tokens.all.get(index).is_some_and(|t| t.starts_line)
    }

    /// The innermost bracket that is open before the failure.
    fn enclosing(&self) -> Option<usize> {
        let mut open = Vec::new();
        for i in self.from..self.at {
            match self.kind(i) {
                Some(Kind::Open(_)) => open.push(i),
                Some(Kind::Close(Some(_))) => drop(open.pop()),
                _ => {}
            }
        }
        open.pop()
    }

    fn open_text(&self) -> Option<Diagnostic> {
        if let Some(early) = self.open_before() {
            return Some(early);
        }
        let i = (self.from..self.to).find(|&i| self.kind(i) == Some(Kind::Text { closed: false }))?;
        let long = self.text(i).starts_with("\"\"\"");
        let mark = if long { "\"\"\"" } else { "\"" };
        let start = self.span(i);
        let opening = Span { end: start.start + mark.len() as u32, ..start };
        let title = if long { "text is not closed" } else { "text is not closed on its line" };
        let d = Diagnostic::error(Code::E0106, opening, title, format!("no `{mark}` closes it"));
        Some(if long {
            d.help("end the text with `\"\"\"`")
        } else {
            d.help("end the text with `\"`; a text of several lines stands between `\"\"\"` and `\"\"\"`")
                .fix(start.tail(), "\"")
        })
    }

    /// A text that ends where the next one should begin, so that something touches its end and the last one stays open.
    fn open_before(&self) -> Option<Diagnostic> {
        let last = (self.at..self.to).find(|&i| self.kind(i) == Some(Kind::Text { closed: false }))?;
        let touches = |i: usize| {
            self.kind(i) == Some(Kind::Text { closed: true })
                && matches!(self.kind(i + 1), Some(Kind::Word | Kind::Number | Kind::Open(_) | Kind::Unknown))
                && self.span(i).end == self.span(i + 1).start
        };
        let line = (self.from..=last).rev().find(|&i| self.starts_line(i)).unwrap_or(self.from);
        let text = self.span((line..self.at).find(|&i| touches(i))?);
        let opening = Span { end: text.start + 1, ..text };
        let title = "text is not closed where the next one begins";
        let d = Diagnostic::error(Code::E0106, opening, title, "no `\"` closes it in time");
        let d = d.label(text.tail(), "it ends here");
        Some(d.help("end the text with `\"`"))
    }

    /// `%` as an operator, or glued to a number that something follows.
    fn percent(&self) -> Option<Diagnostic> {
        let here = self.span(self.at);
        let at = if self.text(self.at) == "%" {
            here
        } else {
            let number =
                self.previous().filter(|&p| self.kind(p) == Some(Kind::Number) && self.text(p).ends_with('%'))?;
            if self.starts_line(self.at) || matches!(self.kind(self.at), Some(Kind::Close(_)) | None) {
                return None;
            }
            let end = self.span(number).end;
            Span { start: end - 1, end, ..here }
        };
        let d = Diagnostic::error(Code::E0103, at, "there is no `%` operator", "not an operator");
        let d = d.note("`%` touches a number, for per cent: `5%` is 0.05");
        let d = d.help("the remainder of a division is `rem(a, b)`");
        Some(match self.remainder() {
            Some((a, b)) => {
                let between = Span { start: a.end, end: b.start, ..a };
                d.fix(a.head(), "rem(").fix(between, ", ").fix(b.tail(), ")")
            }
            None => d,
        })
    }

    /// The operands of a `%` that stands between two names or numbers, and nothing that binds closer.
    fn remainder(&self) -> Option<(Span, Span)> {
        let (a, b) = (self.previous().filter(|_| self.text(self.at) == "%")?, self.at + 1);
        let simple = |i: usize| matches!(self.kind(i), Some(Kind::Word | Kind::Number));
        let before = a.checked_sub(1).filter(|i| *i >= self.from).map_or("", |i| self.text(i));
        let free = !matches!(before, "." | "^" | "*" | "/" | "-") && !matches!(self.text(b + 1), "." | "^" | "(" | "[");
        (simple(a) && simple(b) && free).then(|| (self.span(a), self.span(b)))
    }

    /// Symbols that other languages have.
    fn symbol(&self) -> Option<Diagnostic> {
        let here = self.span(self.at);
        let text = self.text(self.at);
        if text == ";" {
            if self.enclosing().is_some_and(|open| matches!(self.text(open), "(" | "[")) {
                let d =
                    Diagnostic::error(Code::E0102, here, "elements are separated by `,`", "not part of the language");
                return Some(d.help("write `,`").fix(here, ","));
            }
            let d = Diagnostic::error(Code::E0102, here, "a line does not end with `;`", "not part of the language");
            return Some(d.help("leave it out: an item ends where the next one begins").fix(here, ""));
        }
        if matches!(text, "/*" | "*/") {
            let d = Diagnostic::error(Code::E0120, here, "there are no block comments", "not a comment");
            return Some(d.help("begin each line of the comment with `//`"));
        }
        let head_open =
            self.enclosing().is_some_and(|o| self.kind(o) == Some(Kind::Open(None)) && self.opens_parameters(o));
        if text == "->"
            && self.previous().is_some_and(|p| self.tokens.ends_expression(p))
            && !self.in_head()
            && !head_open
        {
            let d = Diagnostic::error(Code::E0104, here, "`->` is for types only", "not a closure");
            return Some(d.help("a closure is written with `=>`: `x => x + 1`").fix(here, "=>"));
        }
        let better = match text {
            "&&" | "&" => "and",
            "||" => "or",
            "!" => "not",
            "**" => "^",
            _ => "",
        };
        if !better.is_empty() {
            let d = Diagnostic::error(Code::E0112, here, format!("there is no `{text}` operator"), "not an operator");
            return Some(d.help(format!("write `{better}`")).fix(here, if text == "!" { "not " } else { better }));
        }
        if matches!(text, "+=" | "-=" | "*=" | "/=" | "++" | "--" | ":=") {
            let d =
                Diagnostic::error(Code::E0112, here, format!("there is no `{text}` operator"), "values never change");
            return Some(d.help("give the new value a name of its own: `let next = …`"));
        }
        let unknown = [self.at, self.at + 1].into_iter().find(|&i| self.kind(i) == Some(Kind::Unknown));
        unknown.map(|i| self.unknown_character(i))
    }

    fn unknown_character(&self, index: usize) -> Diagnostic {
        let text = self.text(index);
        let text = text.get(..text.chars().next().map_or(0, char::len_utf8)).unwrap_or("");
        let here = self.span(index);
        let here = Span { end: here.start + text.len() as u32, ..here };
        let d = Diagnostic::error(Code::E0111, here, format!("`{text}` has no meaning here"), "unknown character");
        if let Some(narrow) = text.chars().next().and_then(narrow) {
            let d = d.note("outside of texts and comments a program is written in ASCII characters");
            return d.help(format!("write `{narrow}`")).fix(here, narrow);
        }
        if matches!(text, "'" | "`")
            && let Some(end) = self.same_on_line(index)
        {
            return d.help("texts stand between `\"` and `\"`").fix(here, "\"").fix(self.span(end), "\"");
        }
        match text {
            "'" | "`" | "‘" | "’" | "「" => d.help("texts stand between `\"` and `\"`"),
            "#" => d.help("comments begin with `//`").fix(here, "//"),
            "\u{3000}" | "\u{a0}" => d.help("write a space").fix(here, " "),
            _ => d.help("names are made of the letters a to z, digits and `_`; other characters belong into texts"),
        }
    }

    /// The next token of the same text on the line, if no text stands between.
    fn same_on_line(&self, index: usize) -> Option<usize> {
        let line = (index + 1..self.to).take_while(|&i| !self.starts_line(i));
        let end = line.clone().find(|&i| self.text(i) == self.text(index))?;
        line.take_while(|i| *i < end).all(|i| !matches!(self.kind(i), Some(Kind::Text { .. }))).then_some(end)
    }

    /// Whether the failure is in the head of a declaration, where `->` is at home.
    fn in_head(&self) -> bool {
        self.enclosing().is_none() && !(self.from..self.at).any(|i| self.text(i) == "=")
    }

    fn bracket(&self) -> Option<Diagnostic> {
        let unclosed = (self.from..self.to).rev().find(|&i| self.kind(i) == Some(Kind::Open(None)) && i < self.at);
        if let Some(open) = unclosed {
            let text = self.text(open);
            let closing = match text {
                "(" => ")",
                "[" => "]",
                _ => "}",
            };
            let d = Diagnostic::error(
                Code::E0108,
                self.span(open),
                format!("`{text}` is never closed"),
                format!("no `{closing}` closes it"),
            );
            let d = match self.kind(self.at) {
                Some(Kind::Close(_)) => d.label(self.span(self.at), "this closes another bracket"),
                _ => d,
            };
            return Some(d.help(format!("add `{closing}` where the part ends")));
        }
        if matches!(self.kind(self.at), Some(Kind::Close(None))) {
            let text = self.text(self.at);
            let d = Diagnostic::error(
                Code::E0109,
                self.span(self.at),
                format!("`{text}` closes nothing"),
                "nothing is open here",
            );
            return Some(d.help("leave it out, or open the bracket before").fix(self.span(self.at), ""));
        }
        None
    }

    fn begins_value(&self, index: usize) -> bool {
        matches!(self.kind(index), Some(Kind::Number | Kind::Text { .. }))
            || matches!(self.text(index), "(" | "{" | "+" | "*" | "/" | "true" | "false" | "if" | "not" | "-")
    }

    /// `model m: f(x)`, whose value stands where its type belongs.
    fn value_for_type(&self) -> Option<Diagnostic> {
        let head = self.from + if self.text(self.from) == "extern" { 1 } else { 0 };
        let head = (head..self.at).find(|&i| self.kind(i) != Some(Kind::Doc))?;
        let is_head = self.tokens.word(head).is_some() && self.tokens.word(head + 1).is_some();
        let has_value = (head..self.at).any(|i| self.text(i) == "=");
        if !is_head || self.text(head + 2) != ":" || has_value || !self.begins_value(self.at) {
            return None;
        }
        Some(super::value_for_type(self.text(head), self.text(head + 1), self.span(head + 2)))
    }

    fn assignment(&self) -> Option<Diagnostic> {
        // The parser may have failed at the name before it.
        let next = self.tokens.word(self.at).is_some() && self.text(self.at + 1) == "=" && self.enclosing().is_some();
        let at = if next { self.at + 1 } else { self.at };
        if self.text(at) != "=" {
            return None;
        }
        let (here, previous) = (self.span(at), at.checked_sub(1).filter(|p| *p >= self.from)?);
        let open = self.enclosing();
        let begins_field = self.tokens.word(previous).is_some()
            && previous
                .checked_sub(1)
                .is_some_and(|i| matches!(self.text(i), "," | "{" | "(") || self.starts_line(previous));
        if let Some(open) = open.filter(|_| begins_field) {
            let name = self.text(previous);
            if self.opens_steps(open) {
                let title = format!("`{name} = …` lacks its `let`");
                let d = Diagnostic::error(Code::E0115, self.span(previous), title, "no `let` before the step");
                let d = d.help(format!("a step of a body begins with `let`: `let {name} = …`"));
                return Some(d.fix(self.span(previous).head(), "let "));
            }
            let what = if self.text(open) == "(" { "an argument is named" } else { "a field is given its value" };
            let d = Diagnostic::error(Code::E0105, here, format!("{what} with `:`, not with `=`"), "write `:`");
            return Some(d.help(format!("`{name}: …`")).fix(here, ":"));
        }
        if open.is_none() && previous == self.from && self.tokens.word(previous).is_some() {
            let name = self.text(previous);
            let d = Diagnostic::error(
                Code::E0115,
                self.span(previous),
                format!("`{name} = …` lacks a kind"),
                "no kind before the name",
            );
            return Some(
                d.help(format!("begin with a kind: `let {name} = …`")).fix(self.span(previous).head(), "let "),
            );
        }
        let d = Diagnostic::error(Code::E0113, here, "`=` gives a name its value; it does not compare", "write `==`");
        Some(d.help("two values are compared with `==`").fix(here, "=="))
    }

    fn reserved(&self) -> Option<Diagnostic> {
        let is_name_place = |i: usize| {
            let after = self.text(i + 1);
            let before = i.checked_sub(1).filter(|b| *b >= self.from);
            let head = before == Some(self.from) || before.is_some_and(|b| self.text(b) == "let");
            matches!(after, "=" | ":" | "=>" | "{" | "(") && head || matches!(after, ":" | "=>" | "=")
        };
        let near = [Some(self.at), self.previous()];
        let i = near
            .into_iter()
            .flatten()
            .find(|&i| self.tokens.word(i).is_some_and(is_reserved) && i < self.to && is_name_place(i))?;
        let word = self.text(i);
        let d = Diagnostic::error(
            Code::E0107,
            self.span(i),
            format!("`{word}` is reserved and cannot be a name"),
            "reserved word",
        );
        Some(
            d.note("reserved are: let if then else for in and or not true false")
                .help(format!("choose another name, such as `{word}_`")),
        )
    }

    /// What the whole item looks like.
    fn shape(&self) -> Option<Diagnostic> {
        let here = self.span(self.at);
        let previous = self.previous();
        if self.text(self.at) == "{"
            && self.starts_line(self.at)
            && previous.is_some_and(|p| self.tokens.ends_expression(p))
        {
            let d = Diagnostic::error(
                Code::E0114,
                here,
                "the `{` of a call stands on the line of what it calls",
                "begins a line",
            );
            return Some(
                d.label(self.span(previous?), "the call is here").help("put the `{` at the end of the line before"),
            );
        }
        // Between the last `if` and the failure, one of the words that it needs is missing.
        let open = self.enclosing().map_or(self.from, |o| o + 1);
        let words: Vec<usize> =
            (open..self.at).filter(|&i| matches!(self.tokens.word(i), Some("if" | "then" | "else"))).collect();
        if let Some(&last) =
            words.last().filter(|&&i| self.tokens.word(i) != Some("else") && !self.in_comprehension(open))
            && previous.is_some_and(|p| self.tokens.ends_expression(p))
        {
            let word = self.text(last);
            let missing = if word == "if" { "then" } else { "else" };
            let d = Diagnostic::error(
                Code::E0117,
                here,
                format!("`{missing}` is missing after `{word}`"),
                format!("`{missing}` belongs here"),
            );
            return Some(d.label(self.span(last), "it begins here").help("every `if` has both: `if a then b else c`"));
        }
        if self.at <= self.from + 1 && self.enclosing().is_none() {
            let first = self.text(self.from);
            let is_word = self.tokens.word(self.from).is_some_and(|w| !is_request(w));
            let d = Diagnostic::error(
                Code::E0115,
                self.span(self.from),
                "this is neither a declaration nor a request",
                "no item begins like this",
            );
            let d = d.note("an item begins with a kind and a name (`let x = …`), or with `save`, `print`, `plot`, `expect` or `use`");
            return Some(match self.kind(self.from) {
                _ if is_word => {
                    d.help(format!("give the value a name, `let x = {first}…`, or ask for it, `print {first}…`"))
                }
                Some(Kind::Doc) => d.help("`//!` stands at the head of the file, `///` before an item, `//` anywhere"),
                _ => d.help("begin the item with its kind, or remove this"),
            });
        }
        None
    }

    fn in_comprehension(&self, open: usize) -> bool {
        (open..self.at).any(|i| self.tokens.word(i) == Some("for"))
    }

    /// Habits of other languages, told by the words around the failure.
    fn habit(&self) -> Option<Diagnostic> {
        let (first, here) = (self.text(self.from), self.span(self.at));
        if matches!(first, "for" | "while") {
            let title = format!("there is no `{first}` statement");
            let d = Diagnostic::error(Code::E0115, self.span(self.from), title, "not an item");
            return Some(d.help("go through a list inside one: `[f(x) for x in xs]`"));
        }
        if first == "import" {
            let d = Diagnostic::error(Code::E0115, self.span(self.from), "there is no `import`", "not an item");
            let d = d.help("another file is used with `use \"file.evo\" as name`");
            return Some(d.fix(self.span(self.from), "use"));
        }
        if first == "if" {
            let d =
                Diagnostic::error(Code::E0115, self.span(self.from), "an `if` is a value, not an item", "not an item");
            return Some(d.help("give it a name, `let x = if a then b else c`, or ask for it, `print if …`"));
        }
        let previous = self.previous()?;
        if self.text(previous) == "return" {
            let d = Diagnostic::error(Code::E0101, self.span(previous), "there is no `return`", "leave it out");
            return Some(d.help("a body ends with its value").fix(self.span(previous), ""));
        }
        let parameter = self.tokens.word(self.at).is_some() || self.tokens.word(previous).is_some();
        if parameter && self.enclosing().is_some_and(|open| self.opens_parameters(open)) {
            let name = if self.tokens.word(self.at).is_some() { self.at } else { previous };
            let shown = self.text(name);
            let d = Diagnostic::error(
                Code::E0311,
                self.span(name),
                format!("the parameter `{shown}` has no type"),
                "no type",
            );
            return Some(d.help(format!("write `{shown}: real`, or the type it has")));
        }
        if self.text(self.at) == "?" {
            let d = Diagnostic::error(Code::E0112, here, "there is no `?` operator", "not an operator");
            return Some(d.help("write `if a then b else c`"));
        }
        None
    }

    /// Whether the bracket opens the parameters of the item's declaration.
    fn opens_parameters(&self, open: usize) -> bool {
        let name = self.from + if self.text(self.from) == "extern" { 2 } else { 1 };
        self.text(open) == "(" && open == name + 1 && self.tokens.word(name).is_some()
    }

    /// Whether the bracket opens the steps of a function's body.
    fn opens_steps(&self, open: usize) -> bool {
        let has_parameters = (self.from..open).any(|i| self.text(i) == "(" && self.opens_parameters(i));
        let before = open.checked_sub(1).filter(|i| *i >= self.from);
        let typed = before.is_some_and(|b| (self.from..b).rev().take(8).any(|i| self.text(i) == "->"));
        let bound = before.is_some_and(|b| matches!(self.text(b), "=" | ")"));
        self.text(open) == "{" && has_parameters && (bound || typed && !(self.from..open).any(|i| self.text(i) == "="))
    }

    /// Two values side by side in a list or among arguments.
    fn no_comma(&self) -> Option<Diagnostic> {
        let open = self.enclosing().filter(|&o| matches!(self.text(o), "(" | "["))?;
        let previous = self.previous().filter(|&p| p > open && self.tokens.ends_expression(p))?;
        let begins = matches!(self.kind(self.at), Some(Kind::Word | Kind::Number | Kind::Text { .. }));
        let is_name = self.tokens.word(self.at).is_none_or(|w| !is_reserved(w));
        if !begins || !is_name || self.in_comprehension(open) {
            return None;
        }
        let shown = |i: usize| self.text(i).chars().take(24).collect::<String>();
        let title = format!("`{}` cannot follow `{}`", shown(self.at), shown(previous));
        let d = Diagnostic::error(Code::E0101, self.span(self.at), title, "a `,` is missing before it");
        Some(d.help("put a `,` between the two").fix(self.span(previous).tail(), ","))
    }

    fn unexpected(&self) -> Diagnostic {
        let text = self.text(self.at);
        let here = self.span(self.at);
        let shown: String = text.chars().take(24).collect();
        let after = self.previous().map(|p| self.text(p).chars().take(24).collect::<String>());
        let complete = self.previous().is_some_and(|p| self.tokens.ends_expression(p));
        if text.is_empty() {
            let title = after
                .as_ref()
                .map_or("an item is missing".to_owned(), |a| format!("the item ends too early, after `{a}`"));
            let wanted = if complete { "something is missing here" } else { "a value is missing here" };
            return Diagnostic::error(Code::E0101, here, title, wanted).help("complete the item, or remove it");
        }
        let title = match &after {
            Some(a) => format!("`{shown}` cannot follow `{a}`"),
            None => format!("`{shown}` cannot begin an item"),
        };
        let (label, help) = match self.kind(self.at) {
            Some(Kind::Doc) => ("documentation stands before an item or a field", "use `//` for a comment"),
            Some(Kind::Close(_)) if !complete => {
                ("a value is missing before it", "complete the value before the bracket")
            }
            _ if complete => ("not expected here", "is a `,`, an operator or a bracket missing before it?"),
            _ => ("a value belongs here", "write a value: a number, a text, a name, `( )`, `[ ]` or `{ }`"),
        };
        Diagnostic::error(Code::E0101, here, title, label).help(help)
    }
}

/// The character of ASCII that a wide one stands for.
fn narrow(wide: char) -> Option<String> {
    let narrow = match wide {
        '、' => ',',
        '“' | '”' => '"',
        '‘' | '’' => return None,
        '\u{2212}' | '\u{2013}' => '-',
        '×' => '*',
        '÷' => '/',
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(wide) - 0xfee0)?,
        _ => return None,
    };
    Some(narrow.to_string())
}
