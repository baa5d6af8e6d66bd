//! The texts of a document: Jinja as the harness sets it up, and what it prints as Python would.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Output, State, UndefinedBehavior, Value};
use serde_json::{Map, Value as Json};

use super::filter::PyRegex;

/// How much work one template may do for one document.
const FUEL: u64 = 1_000_000;
/// The longest text that a template may make.
const LONGEST: usize = 1 << 20;

/// A row of a data set: its fields by name.
pub(super) type Doc = Map<String, Json>;

/// What renders templates.
pub(super) struct Jinja(Environment<'static>);

impl Jinja {
    pub(super) fn new() -> Self {
        let mut environment = Environment::new();
        if let Ok(syntax) = SyntaxConfig::builder().keep_trailing_newline(true).build() {
            environment.set_syntax(syntax);
        }
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL));
        environment.set_unknown_method_callback(method);
        environment.set_formatter(print);
        environment.add_filter("regex_replace", regex_replace);
        Self(environment)
    }

    /// A template filled with a document's fields; the error is in words.
    pub(super) fn render(&self, template: &str, doc: &Doc) -> Result<String, String> {
        let text = self.0.render_str(template, Serde(doc)).map_err(|error| {
            let error: &Error = &error;
            error.detail().map_or_else(|| error.to_string(), |detail| format!("{}: {detail}", error.kind()))
        })?;
        if text.len() > LONGEST {
            return Err(format!("a text of {} bytes, where {LONGEST} are the most", text.len()));
        }
        Ok(text)
    }

    /// Whether a template can be read; the error is in words.
    pub(super) fn check(&self, template: &str) -> Result<(), String> {
        self.0.template_from_str(template).map(|_| ()).map_err(|error| error.to_string())
    }
}

/// Python's methods; `index` of a list is the one that tasks use most, to find the right choice by its label.
fn method(state: &mut State<'_, '_>, value: &Value, name: &str, args: &[Value]) -> Result<Value, Error> {
    match (name, args) {
        ("index", [item]) if value.kind() == ValueKind::Seq => {
            let at = value.try_iter()?.position(|other| other == *item);
            at.map(Value::from)
                .ok_or_else(|| Error::new(ErrorKind::InvalidOperation, format!("{item} is not in the list")))
        }
        _ => minijinja_contrib::pycompat::unknown_method_callback(state, value, name, args),
    }
}

fn print(out: &mut Output<'_>, _: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    let text = match value.kind() {
        ValueKind::Undefined => return Err(ErrorKind::UndefinedError.into()),
        ValueKind::String => value.as_str().unwrap_or_default().to_owned(),
        _ => python(value),
    };
    out.write_str(&text).map_err(Error::from)
}

/// A value as Python's `repr` writes it.
fn python(value: &Value) -> String {
    let items = |value: &Value| value.try_iter().map(|items| items.collect::<Vec<_>>()).unwrap_or_default();
    match value.kind() {
        ValueKind::None => "None".to_owned(),
        ValueKind::Bool => if value.is_true() { "True" } else { "False" }.to_owned(),
        ValueKind::String => quoted(value.as_str().unwrap_or_default()),
        ValueKind::Seq => format!("[{}]", items(value).iter().map(python).collect::<Vec<_>>().join(", ")),
        ValueKind::Map => {
            let field = |key: &Value| {
                format!("{}: {}", python(key), value.get_item(key).map_or_else(|_| "None".into(), |item| python(&item)))
            };
            format!("{{{}}}", items(value).iter().map(field).collect::<Vec<_>>().join(", "))
        }
        _ => value.to_string(),
    }
}

/// A text in the quotes that Python prefers.
fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::from(quote);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            c if c == quote => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out.push(quote);
    out
}

/// The harness's own filter: Python's `re.sub`.
fn regex_replace(text: String, pattern: String, replacement: String) -> Result<String, Error> {
    let bad = |why: String| Error::new(ErrorKind::InvalidOperation, why);
    let pattern = PyRegex::new(&pattern).map_err(bad)?;
    let mut with = String::new();
    let mut chars = replacement.replace('$', "$$").chars().collect::<Vec<_>>().into_iter().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek().copied()) {
            ('\\', Some(digit)) if digit.is_ascii_digit() => {
                chars.next();
                with.push_str(&format!("${{{digit}}}"));
            }
            ('\\', Some(next)) => {
                chars.next();
                with.push(if next == 'n' { '\n' } else { next });
            }
            _ => with.push(c),
        }
    }
    pattern
        .regex
        .try_replacen(&text, 0, with.as_str())
        .map(std::borrow::Cow::into_owned)
        .map_err(|e| bad(e.to_string()))
}

/// A list of texts and whole numbers as Python writes one, as `ast.literal_eval` reads it. None for anything else.
pub(super) fn literal_list(text: &str) -> Option<Vec<Json>> {
    let body = text.trim().strip_prefix(['[', '(']).and_then(|body| body.strip_suffix([']', ')']))?;
    let mut chars = body.chars().peekable();
    let mut items = Vec::new();
    loop {
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        match chars.peek().copied() {
            None => return Some(items),
            Some(quote @ ('\'' | '"')) => {
                let mut item = String::new();
                // Texts side by side are one.
                while chars.next_if_eq(&quote).is_some() {
                    item.push_str(&literal_text(&mut chars, quote)?);
                    while chars.next_if(|c| c.is_whitespace()).is_some() {}
                }
                items.push(Json::String(item));
            }
            Some(_) => {
                let mut word = String::new();
                while let Some(c) = chars.next_if(|c| *c != ',') {
                    word.push(c);
                }
                items.push(word.trim().parse::<i64>().ok().map(Json::from)?);
            }
        }
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        match chars.next() {
            None => return Some(items),
            Some(',') => {}
            Some(_) => return None,
        }
    }
}

/// The rest of a text after its opening quote.
fn literal_text(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, quote: char) -> Option<String> {
    let mut text = String::new();
    loop {
        match chars.next()? {
            c if c == quote => return Some(text),
            '\n' => return None,
            '\\' => match chars.next()? {
                'n' => text.push('\n'),
                't' => text.push('\t'),
                'r' => text.push('\r'),
                '\n' => {}
                c @ ('\\' | '\'' | '"') => text.push(c),
                c @ ('x' | 'u' | 'U') => {
                    let digits = match c {
                        'x' => 2,
                        'u' => 4,
                        _ => 8,
                    };
                    let code: String = chars.by_ref().take(digits).collect();
                    text.push(u32::from_str_radix(&code, 16).ok().and_then(char::from_u32)?);
                }
                other => text.extend(['\\', other]),
            },
            c => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doc() -> Doc {
        let doc = serde_json::json!({"q": "it's", "n": 3, "ok": true, "no": null, "list": ["a", "b'c"], "in": {"k": [1]}, "x": 1.0});
        doc.as_object().unwrap().clone()
    }

    #[test]
    fn templates_print_as_in_python() {
        let jinja = Jinja::new();
        for (template, text) in [
            ("Q: {{q}}\n", "Q: it's\n"),
            ("{{ok}} {{no}} {{n}} {{x}}", "True None 3 1.0"),
            ("{{list}} {{in}}", "['a', \"b'c\"] {'k': [1]}"),
            ("{{q.strip()|upper}} {{list[1]}} {{list.index('a')}}", "IT'S b'c 0"),
            ("{% for c in list %}{{ loop.index }}{{ c }}\n{% endfor %}", "1a\n2b'c\n"),
            (r"{{ 'a1b22'|regex_replace('([0-9]+)', '<\\1>') }}", "a<1>b<22>"),
        ] {
            assert_eq!(jinja.render(template, &doc()).as_deref(), Ok(text), "{template}");
        }
    }

    #[test]
    fn faults_of_templates_are_told() {
        let jinja = Jinja::new();
        assert!(jinja.render("{{ missing }}", &doc()).is_err());
        assert!(jinja.check("{% for %}").is_err());
        let endless = "{% for a in range(9999) %}{% for b in range(9999) %}{{ b }}{% endfor %}{% endfor %}";
        assert!(jinja.render(endless, &doc()).is_err());
    }

    #[test]
    fn lists_are_those_of_literal_eval() {
        let list =
            |text| literal_list(text).map(|items| items.iter().map(Json::to_string).collect::<Vec<_>>().join(" "));
        for (text, expected) in [
            ("['a', \"b'c\", 3,]", Some(r#""a" "b'c" 3"#)),
            (r"['x\'y\n', '\u00e9' 'z']", Some(r#""x'y\n" "éz""#)),
            ("[]", Some("")),
            ("[a]", None),
            ("['a' b]", None),
            ("['a", None),
            ("x", None),
        ] {
            assert_eq!(list(text).as_deref(), expected, "{text}");
        }
    }
}
