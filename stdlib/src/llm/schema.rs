//! JSON Schema, the part of it that answers are described by: compiled once, then asked whether a value is of it, and if not, where and why.
//!
//! A keyword that constrains and is not known is refused, so that no schema promises what nobody holds.

use fancy_regex::Regex;
use serde_json::{Map, Value};

/// Values within values that are followed at most.
const DEPTH: usize = 64;

/// Keywords that say something and constrain nothing.
const NOTES: [&str; 12] = [
    "$schema",
    "$id",
    "$comment",
    "$defs",
    "definitions",
    "title",
    "description",
    "default",
    "examples",
    "format",
    "deprecated",
    "readOnly",
];

const KNOWN: [&str; 24] = [
    "type",
    "enum",
    "const",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minLength",
    "maxLength",
    "pattern",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "anyOf",
    "oneOf",
    "allOf",
    "$ref",
    "minProperties",
    "maxProperties",
];

/// A schema that is understood as a whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Schema {
    root: Value,
}

/// Why a text is no schema, or none that is known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SchemaError(String);

impl Schema {
    /// Reads a schema, and looks at every part of it.
    ///
    /// # Errors
    /// No JSON, a keyword that is not known, or one whose value is of the wrong kind.
    pub fn parse(text: &str) -> Result<Schema, SchemaError> {
        let root: Value =
            serde_json::from_str(text).map_err(|error| SchemaError(format!("the schema is no JSON: {error}")))?;
        let schema = Schema { root };
        schema.check(&schema.root, "#", 0).map_err(SchemaError)?;
        Ok(schema)
    }

    /// The schema itself.
    pub fn json(&self) -> &Value {
        &self.root
    }

    /// Whether a value is of the schema.
    ///
    /// # Errors
    /// The first place where it is not, and what is wanted there.
    pub fn admits(&self, value: &Value) -> Result<(), String> {
        self.fits(value, &self.root, "$", 0)
    }

    fn check(&self, schema: &Value, at: &str, depth: usize) -> Result<(), String> {
        let object = match schema {
            Value::Bool(_) => return Ok(()),
            Value::Object(object) if depth < DEPTH => object,
            Value::Object(_) => return Err(format!("the schema is deeper than {DEPTH} levels at {at}")),
            _ => return Err(format!("a schema is an object or a truth value, at {at}")),
        };
        for (key, value) in object {
            let here = format!("{at}/{key}");
            let wrong = |want: &str| Err(format!("`{key}` of the schema is {want}, at {here}"));
            match (key.as_str(), value) {
                ("properties" | "$defs" | "definitions", Value::Object(parts)) => {
                    parts.iter().try_for_each(|(name, part)| self.check(part, &format!("{here}/{name}"), depth + 1))?;
                }
                ("properties" | "$defs" | "definitions", _) => return wrong("an object of schemas"),
                ("items" | "additionalProperties", part) => self.check(part, &here, depth + 1)?,
                ("anyOf" | "oneOf" | "allOf", Value::Array(parts)) if !parts.is_empty() => {
                    parts.iter().try_for_each(|part| self.check(part, &here, depth + 1))?;
                }
                ("anyOf" | "oneOf" | "allOf" | "enum", Value::Array(parts)) if parts.is_empty() => {
                    return wrong("a list of one at least");
                }
                ("anyOf" | "oneOf" | "allOf" | "enum" | "required", value) if !value.is_array() => {
                    return wrong("a list");
                }
                ("type", value) if !types(value).all(|name| TYPES.contains(&name)) => return wrong("a type's name"),
                ("$ref", value) => drop(self.resolve(value)?),
                ("pattern", Value::String(pattern)) => {
                    Regex::new(pattern).map_err(|error| format!("`pattern` of the schema, at {here}: {error}"))?;
                }
                ("pattern", _) => return wrong("a text"),
                (key, value) if BOUNDS.contains(&key) && !value.is_number() => return wrong("a number"),
                (key, _) if KNOWN.contains(&key) || NOTES.contains(&key) => {}
                _ => return Err(format!("`{key}` of JSON Schema is not known, at {here}")),
            }
        }
        Ok(())
    }

    /// What a reference within the document means.
    fn resolve(&self, reference: &Value) -> Result<&Value, String> {
        let text = reference.as_str().unwrap_or_default();
        let found = text.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
        found.ok_or_else(|| format!("`$ref` of the schema names no part of it: {reference}"))
    }

    fn fits(&self, value: &Value, schema: &Value, at: &str, depth: usize) -> Result<(), String> {
        let object = match schema {
            Value::Bool(true) => return Ok(()),
            Value::Object(object) if depth < DEPTH => object,
            Value::Object(_) => return Err(format!("`{at}` is deeper than {DEPTH} levels")),
            _ => return Err(format!("`{at}` may not be there")),
        };
        if let Some(reference) = object.get("$ref") {
            self.fits(value, self.resolve(reference)?, at, depth + 1)?;
        }
        if let Some(wanted) = object.get("type").filter(|wanted| !types(wanted).any(|name| is_of(value, name))) {
            return Err(format!("`{at}` is {}, not {}", named(value), types(wanted).collect::<Vec<_>>().join(" or ")));
        }
        if let Some(Value::Array(cases)) = object.get("enum").filter(|cases| !has(cases, value)) {
            return Err(format!("`{at}` is none of {}", Value::Array(cases.clone())));
        }
        if let Some(only) = object.get("const").filter(|only| !same(only, value)) {
            return Err(format!("`{at}` is not {only}"));
        }
        self.combined(value, object, at, depth)?;
        match value {
            Value::Object(fields) => self.fields(fields, object, at, depth),
            Value::Array(items) => self.items(items, object, at, depth),
            Value::String(text) => text_fits(text, object, at),
            Value::Number(number) => number_fits(number.as_f64().unwrap_or(f64::NAN), object, at),
            Value::Null | Value::Bool(_) => Ok(()),
        }
    }

    fn combined(&self, value: &Value, object: &Map<String, Value>, at: &str, depth: usize) -> Result<(), String> {
        let parts = |key| object.get(key).and_then(Value::as_array);
        for part in parts("allOf").into_iter().flatten() {
            self.fits(value, part, at, depth + 1)?;
        }
        for key in ["anyOf", "oneOf"] {
            let Some(parts) = parts(key) else { continue };
            let tried: Vec<_> = parts.iter().map(|part| self.fits(value, part, at, depth + 1)).collect();
            let count = tried.iter().filter(|tried| tried.is_ok()).count();
            if count == 0 {
                let why = tried.into_iter().find_map(Result::err).unwrap_or_default();
                return Err(format!("`{at}` is none of the {} forms it may have; of the first: {why}", parts.len()));
            }
            if key == "oneOf" && count > 1 {
                return Err(format!("`{at}` has {count} of the forms of which it may have one"));
            }
        }
        Ok(())
    }

    fn fields(
        &self,
        fields: &Map<String, Value>,
        object: &Map<String, Value>,
        at: &str,
        depth: usize,
    ) -> Result<(), String> {
        for name in object.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            if !fields.contains_key(name) {
                return Err(format!("`{at}` lacks `{name}`"));
            }
        }
        let parts = object.get("properties").and_then(Value::as_object);
        for (name, value) in fields {
            let here = format!("{at}.{name}");
            match (parts.and_then(|parts| parts.get(name)), object.get("additionalProperties")) {
                (Some(part), _) | (None, Some(part)) => self.fits(value, part, &here, depth + 1)?,
                (None, None) => {}
            }
        }
        count_fits(fields.len(), ["minProperties", "maxProperties"], "fields", object, at)
    }

    fn items(&self, items: &[Value], object: &Map<String, Value>, at: &str, depth: usize) -> Result<(), String> {
        if let Some(part) = object.get("items") {
            let each = |(i, item)| self.fits(item, part, &format!("{at}[{i}]"), depth + 1);
            items.iter().enumerate().try_for_each(each)?;
        }
        let is_unique = object.get("uniqueItems") == Some(&Value::Bool(true));
        if is_unique && (1..items.len()).any(|i| items.iter().take(i).any(|one| Some(one) == items.get(i))) {
            return Err(format!("`{at}` has an item twice"));
        }
        count_fits(items.len(), ["minItems", "maxItems"], "items", object, at)
    }
}

const TYPES: [&str; 7] = ["object", "array", "string", "number", "integer", "boolean", "null"];

const BOUNDS: [&str; 11] = [
    "minItems",
    "maxItems",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minProperties",
    "maxProperties",
];

/// The names of a `type`: one, or a list of them. What is no name is an empty one.
fn types(value: &Value) -> impl Iterator<Item = &str> {
    let all = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
    all.iter().map(|name| name.as_str().unwrap_or_default())
}

fn is_of(value: &Value, name: &str) -> bool {
    match value {
        Value::Null => name == "null",
        Value::Bool(_) => name == "boolean",
        Value::Number(number) => {
            let is_whole = number.as_f64().is_some_and(|n| n.fract() == 0.0);
            name == "number" || name == "integer" && is_whole
        }
        Value::String(_) => name == "string",
        Value::Array(_) => name == "array",
        Value::Object(_) => name == "object",
    }
}

fn named(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// Equal, where 1 and 1.0 are one number.
fn same(a: &Value, b: &Value) -> bool {
    a == b || matches!((a, b), (Value::Number(a), Value::Number(b)) if a.as_f64() == b.as_f64())
}

fn has(cases: &Value, value: &Value) -> bool {
    cases.as_array().is_some_and(|cases| cases.iter().any(|case| same(case, value)))
}

fn bound(object: &Map<String, Value>, key: &str) -> Option<f64> {
    object.get(key).and_then(Value::as_f64)
}

fn count_fits(
    count: usize,
    [least, most]: [&str; 2],
    what: &str,
    object: &Map<String, Value>,
    at: &str,
) -> Result<(), String> {
    if let Some(least) = bound(object, least).filter(|least| (count as f64) < *least) {
        return Err(format!("`{at}` has {count} {what}, fewer than {least}"));
    }
    match bound(object, most).filter(|most| count as f64 > *most) {
        Some(most) => Err(format!("`{at}` has {count} {what}, more than {most}")),
        None => Ok(()),
    }
}

fn text_fits(text: &str, object: &Map<String, Value>, at: &str) -> Result<(), String> {
    if let Some(pattern) = object.get("pattern").and_then(Value::as_str) {
        let is_match = Regex::new(pattern).is_ok_and(|regex| regex.is_match(text).unwrap_or(false));
        if !is_match {
            return Err(format!("`{at}` does not match the pattern `{pattern}`"));
        }
    }
    count_fits(text.chars().count(), ["minLength", "maxLength"], "characters", object, at)
}

fn number_fits(number: f64, object: &Map<String, Value>, at: &str) -> Result<(), String> {
    let broken = |key: &str, holds: fn(f64, f64) -> bool| bound(object, key).filter(|limit| !holds(number, *limit));
    let found = [
        (broken("minimum", |n, limit| n >= limit), "less than"),
        (broken("maximum", |n, limit| n <= limit), "more than"),
        (broken("exclusiveMinimum", |n, limit| n > limit), "not above"),
        (broken("exclusiveMaximum", |n, limit| n < limit), "not below"),
        (broken("multipleOf", |n, limit| limit > 0.0 && (n / limit).fract() == 0.0), "no multiple of"),
    ];
    match found.into_iter().find_map(|(limit, word)| Some((limit?, word))) {
        Some((limit, word)) => Err(format!("`{at}` is {number}, {word} {limit}")),
        None => Ok(()),
    }
}
