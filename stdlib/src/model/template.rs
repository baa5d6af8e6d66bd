//! Chat templates: messages to the text that an instruction-tuned model was taught to answer.
//!
//! Hugging Face keeps them as Jinja with a handful of additions (`raise_exception`, `strftime_now`, Python's string
//! methods). They are rendered here without a clock: a template that asks for the date gets the one that the caller gives,
//! and no `strftime_now` at all if none is given, for which templates have a fixed date of their own.

use chrono::DateTime;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde};
use minijinja::{Environment, Error, ErrorKind, Value};
use serde::Serialize;
use serde_json::Map;

use super::{Model, ModelError};

/// How much work a template may do; real ones need some thousands.
const FUEL: u64 = 10_000_000;

/// One message of a chat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message {
    /// Who speaks: `system`, `user` or `assistant`.
    pub role: String,
    /// What is said.
    pub content: String,
}

impl Message {
    /// What the user says.
    pub fn user(content: impl Into<String>) -> Self {
        Self { role: "user".into(), content: content.into() }
    }
}

impl Model {
    /// `messages` as the text that the model's chat template makes of them, open for the assistant's answer.
    /// `now` are the seconds since 1970 that `strftime_now` shows. The text holds its special tokens:
    /// encode it without adding any.
    pub fn chat(&self, messages: &[Message], now: Option<i64>) -> Result<String, ModelError> {
        self.conversation(messages, true, now)
    }

    /// The same, open for the assistant's answer or ending with the last message.
    ///
    /// # Errors
    /// [`ModelError::NoTemplate`], [`ModelError::Template`].
    pub fn conversation(&self, messages: &[Message], open: bool, now: Option<i64>) -> Result<String, ModelError> {
        let source =
            self.chat_template.as_deref().ok_or_else(|| ModelError::NoTemplate { model: self.name.clone() })?;
        let empty = Map::new();
        let config = self.tokenizer_config.as_deref().unwrap_or(&empty);
        render(source, messages, open, config, now)
    }
}

/// Renders the template `source`, open for the assistant's answer or not. `config` is the tokenizer's configuration, whose `bos_token` and kin templates may name.
pub fn render(
    source: &str,
    messages: &[Message],
    open: bool,
    config: &Map<String, serde_json::Value>,
    now: Option<i64>,
) -> Result<String, ModelError> {
    let failed = |e: Error| ModelError::Template { cause: e.detail().map_or_else(|| e.to_string(), str::to_owned) };
    let mut environment = environment(now);
    environment.add_template("chat", source).map_err(|e| ModelError::Template { cause: e.to_string() })?;
    let mut context = Map::new();
    for name in ["bos_token", "eos_token", "pad_token", "unk_token"] {
        if let Some(token) = config.get(name).and_then(token_text) {
            context.insert(name.into(), token.into());
        }
    }
    let messages = serde_json::to_value(messages).map_err(|e| ModelError::Template { cause: e.to_string() })?;
    context.insert("messages".into(), messages);
    context.insert("add_generation_prompt".into(), open.into());
    environment.get_template("chat").and_then(|template| template.render(Serde(&context))).map_err(failed)
}

/// A special token is given as a text or as an object with its `content`.
fn token_text(value: &serde_json::Value) -> Option<&str> {
    value.as_str().or_else(|| value.get("content").and_then(serde_json::Value::as_str))
}

fn environment<'a>(now: Option<i64>) -> Environment<'a> {
    let mut environment = Environment::new();
    if let Ok(syntax) = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build() {
        environment.set_syntax(syntax);
    }
    environment.set_fuel(Some(FUEL));
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_filter("tojson", to_json);
    environment.add_function("raise_exception", |message: String| {
        Err::<Value, _>(Error::new(ErrorKind::InvalidOperation, message))
    });
    if let Some(seconds) = now {
        environment.add_function("strftime_now", move |format: String| strftime(seconds, &format));
    }
    environment
}

fn strftime(seconds: i64, format: &str) -> Result<String, Error> {
    use std::fmt::Write;
    let bad = || Error::new(ErrorKind::InvalidOperation, format!("cannot format a date as `{format}`"));
    let date = DateTime::from_timestamp(seconds, 0).ok_or_else(bad)?;
    let mut text = String::new();
    write!(text, "{}", date.format(format)).map_err(|_| bad())?;
    Ok(text)
}

/// JSON as Python's `json.dumps(x, ensure_ascii=False)` spaces it; minijinja's own filter escapes for HTML.
fn to_json(value: Value, options: Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = options.get("indent")?;
    let bad = |e: serde_json::Error| Error::new(ErrorKind::BadSerialization, e.to_string());
    let mut bytes = Vec::new();
    match indent {
        Some(width) => {
            let spaces = " ".repeat(width.min(16));
            let pretty = serde_json::ser::PrettyFormatter::with_indent(spaces.as_bytes());
            let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, pretty);
            value.serialize(&mut serializer).map_err(bad)?;
        }
        None => {
            let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, PythonSpacing);
            value.serialize(&mut serializer).map_err(bad)?;
        }
    }
    String::from_utf8(bytes).map_err(|e| Error::new(ErrorKind::BadSerialization, e.to_string()))
}

struct PythonSpacing;

impl serde_json::ser::Formatter for PythonSpacing {
    fn begin_array_value<W: ?Sized + std::io::Write>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(&mut self, writer: &mut W) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(source: &str, now: Option<i64>) -> Result<String, ModelError> {
        let config = serde_json::json!({"bos_token": {"content": "<s>"}, "eos_token": "</s>"});
        render(source, &[Message::user(" <hi> ")], true, config.as_object().unwrap(), now)
    }

    #[test]
    fn what_hugging_face_templates_use() {
        let cases = [
            ("{{ bos_token }}{{ messages[0]['content'] | trim }}{{ eos_token }}", "<s><hi></s>"),
            ("{{ messages[0].content.strip() }}", "<hi>"),
            ("{{ messages | tojson }}", r#"[{"role": "user", "content": " <hi> "}]"#),
            ("{% for m in messages %}\n  {% if loop.first %}\na\n  {% endif %}\n{% endfor %}", "a\n"),
            ("{% if strftime_now is defined %}now{% else %}fixed{% endif %}", "fixed"),
            ("{{ messages[0]['role'] == 'user' and add_generation_prompt }}", "True"),
        ];
        for (source, expected) in cases {
            assert_eq!(with(source, None).unwrap(), expected, "{source}");
        }
        assert_eq!(with("{{ strftime_now('%d %b %Y') }}", Some(86_400)).unwrap(), "02 Jan 1970");
    }

    #[test]
    fn refusals_are_errors_with_their_own_words() {
        let Err(ModelError::Template { cause }) = with("{{ raise_exception('no system role') }}", None) else {
            panic!("must fail");
        };
        assert_eq!(cause, "no system role");
        assert!(with("{% for %}", None).is_err());
        assert!(with("{{ strftime_now('%Q') }}", Some(0)).is_err());
        let endless = "{% for a in range(9999) %}{% for b in range(9999) %}{{ b }}{% endfor %}{% endfor %}";
        assert!(with(endless, None).is_err());
    }
}
