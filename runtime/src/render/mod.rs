//! Results as text for a terminal.

mod graph;
mod number;
pub mod site;
mod table;

use crate::datum::Datum;
use crate::events::Shown;

pub use graph::graph;
pub use number::{bytes, count, duration, real};
pub use table::table;

/// What a `print` shows, without a newline at its end.
pub fn shown(shown: &Shown) -> String {
    match shown {
        Shown::Table(data) => table(data),
        Shown::Text(text) => text.trim_end_matches('\n').to_owned(),
        Shown::Value(value) => datum(value),
    }
}

/// A value on one line, much as the language writes it; reals with four digits that count.
pub fn datum(value: &Datum) -> String {
    match value {
        Datum::Missing => "–".into(),
        Datum::Bool(value) => value.to_string(),
        Datum::Int(value) => value.to_string(),
        Datum::Real(value) => real(*value),
        Datum::Text(text) => text.clone(),
        Datum::List(items) => format!("[{}]", items.iter().map(datum).collect::<Vec<_>>().join(", ")),
        Datum::Record(fields) => {
            let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}: {}", datum(value))).collect();
            format!("{{ {} }}", fields.join(", "))
        }
    }
}

/// A text of so many characters at most.
pub fn shortened(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        None => text.to_owned(),
        Some(_) => text.chars().take(longest.saturating_sub(1)).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::shortened;

    #[test]
    fn long_texts_are_cut_to_the_character() {
        assert_eq!(shortened("合計", 2), "合計");
        assert_eq!(shortened("合計値", 2), "合…");
    }
}
