//! Typed reading of JSON objects, with errors that name the field.

use std::path::Path;

use serde_json::{Map, Value};

use super::ModelError;

/// The largest size that a configuration may name; far beyond any model, far below any overflow.
const SIZE_LIMIT: u64 = 1 << 28;

/// Typed reading of a JSON object; `null` counts as absent.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    pub(super) map: &'a Map<String, Value>,
    pub(super) path: &'a Path,
}

impl<'a> Fields<'a> {
    pub(super) fn error(&self, field: &str, cause: String) -> ModelError {
        ModelError::ConfigField { path: self.path.to_path_buf(), field: field.into(), cause }
    }

    pub(super) fn get(&self, field: &str) -> Option<&'a Value> {
        self.map.get(field).filter(|value| !value.is_null())
    }

    pub(super) fn wrong(&self, field: &str, value: &Value, wanted: &str) -> ModelError {
        self.error(field, format!("is {value}, not {wanted}"))
    }

    pub(super) fn optional_size(&self, field: &str) -> Result<Option<usize>, ModelError> {
        let Some(value) = self.get(field) else {
            return Ok(None);
        };
        match value.as_u64() {
            Some(n @ 1..=SIZE_LIMIT) => Ok(Some(n as usize)),
            _ => Err(self.wrong(field, value, "a positive whole number of sensible size")),
        }
    }

    /// A number; `default` if it is absent, nothing if it is `null`.
    pub(super) fn nullable(&self, field: &str, default: Option<f64>) -> Result<Option<f64>, ModelError> {
        match self.map.get(field) {
            None => Ok(default),
            Some(Value::Null) => Ok(None),
            Some(_) => self.positive(field).map(Some),
        }
    }

    /// A size; `default` if it is absent, nothing if it is `null`.
    pub(super) fn nullable_size(&self, field: &str, default: Option<usize>) -> Result<Option<usize>, ModelError> {
        if self.map.contains_key(field) { self.optional_size(field) } else { Ok(default) }
    }

    /// The object at `field`, if there is one.
    pub(super) fn object(&self, field: &str) -> Option<Self> {
        Some(Self { map: self.get(field)?.as_object()?, path: self.path })
    }

    /// A list of whatever `item` reads; `what` says what that is.
    pub(super) fn list<T>(
        &self,
        field: &str,
        what: &str,
        item: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<Vec<T>>, ModelError> {
        let Some(value) = self.get(field) else { return Ok(None) };
        let items = value.as_array().and_then(|list| list.iter().map(item).collect::<Option<_>>());
        items.map(Some).ok_or_else(|| self.error(field, format!("is not a list of {what}")))
    }

    pub(super) fn size_or(&self, field: &str, default: usize) -> Result<usize, ModelError> {
        Ok(self.optional_size(field)?.unwrap_or(default))
    }

    pub(super) fn size(&self, field: &str) -> Result<usize, ModelError> {
        self.optional_size(field)?.ok_or_else(|| self.error(field, "is missing".into()))
    }

    pub(super) fn text(&self, field: &str) -> Result<Option<&'a str>, ModelError> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong(field, other, "a text")),
        }
    }

    pub(super) fn flag(&self, field: &str, default: bool) -> Result<bool, ModelError> {
        match self.get(field) {
            None => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(self.wrong(field, other, "true or false")),
        }
    }

    pub(super) fn number(&self, field: &str, default: f64) -> Result<f64, ModelError> {
        match self.get(field) {
            None => Ok(default),
            Some(value) => value.as_f64().filter(|x| x.is_finite()).ok_or_else(|| self.wrong(field, value, "a number")),
        }
    }

    pub(super) fn positive(&self, field: &str) -> Result<f64, ModelError> {
        let value = self.number(field, 0.0)?;
        if value > 0.0 { Ok(value) } else { Err(self.error(field, "must be a positive number".into())) }
    }

    pub(super) fn ids(&self, field: &str) -> Result<Vec<u32>, ModelError> {
        match self.get(field) {
            None => Ok(Vec::new()),
            Some(value) => {
                super::ids(value).ok_or_else(|| self.wrong(field, value, "a token id or a list of token ids"))
            }
        }
    }
}
