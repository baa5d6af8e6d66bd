//! What tokens cost: a table in a file that the user edits.
//!
//! ```toml
//! [models."some-model"]                     # US dollars for a million tokens
//! input = 0.15
//! output = 0.6
//!
//! [endpoints."http://127.0.0.1:8080/v1"]    # a server of one's own
//! free = true
//! ```

use indexmap::IndexMap;
use toml_edit::{ImDocument, TableLike};

/// US dollars for a million tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rate {
    /// Of the question.
    pub input: f64,
    /// Of the answer.
    pub output: f64,
}

impl Rate {
    /// What costs nothing.
    pub const FREE: Rate = Rate { input: 0.0, output: 0.0 };

    /// US dollars for so many tokens.
    pub fn cost(&self, tokens_in: u64, tokens_out: u64) -> f64 {
        (self.input * tokens_in as f64 + self.output * tokens_out as f64) / 1e6
    }
}

/// Why a price table cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct PriceError {
    /// Counts from 1.
    pub line: usize,
    /// What is wrong there.
    pub what: String,
}

/// Prices by model, and endpoints that cost nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PriceTable {
    models: IndexMap<String, Rate>,
    free: Vec<String>,
}

impl PriceTable {
    /// Reads a table.
    ///
    /// # Errors
    /// What is no TOML, an unknown key, and a price that is no number from 0 on.
    pub fn parse(text: &str) -> Result<PriceTable, PriceError> {
        let line = |at: usize| text.get(..at).map_or(1, |before| before.matches('\n').count() + 1);
        let document = ImDocument::parse(text).map_err(|error| PriceError {
            line: line(error.span().map_or(0, |span| span.start)),
            what: format!("no TOML: {}", error.message().trim().replace('\n', ", ")),
        })?;
        let mut table = PriceTable::default();
        for (section, item) in document.iter() {
            let at = place(document.as_table(), section, 0);
            let entries = item.as_table_like().filter(|_| matches!(section, "models" | "endpoints"));
            let entries = entries.ok_or_else(|| PriceError {
                line: line(at),
                what: format!("`{section}` is none of the tables `[models.NAME]` and `[endpoints.URL]`"),
            })?;
            for (name, item) in entries.iter() {
                let wrong = |what| PriceError { line: line(place(entries, name, at)), what };
                let fields = item.as_table_like();
                let fields = fields.ok_or_else(|| wrong(format!("`{name}` is no table of prices")))?;
                let read = if section == "models" { table.model(name, fields) } else { table.endpoint(name, fields) };
                read.map_err(wrong)?;
            }
        }
        Ok(table)
    }

    fn model(&mut self, name: &str, fields: &dyn TableLike) -> Result<(), String> {
        let mut rate = [None, None];
        for (key, item) in fields.iter() {
            let slot = match key {
                "input" => &mut rate[0],
                "output" => &mut rate[1],
                _ => return Err(format!("a model has `input` and `output`, not `{key}`")),
            };
            let value = item.as_float().or(item.as_integer().map(|whole| whole as f64));
            *slot = value.filter(|price| *price >= 0.0 && price.is_finite());
            if slot.is_none() {
                return Err(format!("`{key}` of `{name}` is a number from 0 on: US dollars for a million tokens"));
            }
        }
        let [Some(input), Some(output)] = rate else { return Err(format!("`{name}` needs both `input` and `output`")) };
        self.models.insert(name.to_owned(), Rate { input, output });
        Ok(())
    }

    fn endpoint(&mut self, url: &str, fields: &dyn TableLike) -> Result<(), String> {
        for (key, item) in fields.iter() {
            match (key, item.as_bool()) {
                ("free", Some(true)) => self.free.push(plain(url).to_owned()),
                ("free", Some(false)) => {}
                _ => return Err(format!("an endpoint has `free = true`, not `{key}`")),
            }
        }
        Ok(())
    }

    /// What a model costs at an endpoint, where the table says so.
    pub fn find(&self, endpoint: &str, model: &str) -> Option<Rate> {
        if self.free.iter().any(|free| free == plain(endpoint)) {
            return Some(Rate::FREE);
        }
        self.models.get(model).copied()
    }
}

/// Where a table has a key; tables that are only implied have none.
fn place(table: &dyn TableLike, key: &str, otherwise: usize) -> usize {
    table.get_key_value(key).and_then(|(key, _)| key.span()).map_or(otherwise, |span| span.start)
}

fn plain(url: &str) -> &str {
    url.trim_end_matches('/')
}
