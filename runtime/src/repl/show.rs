//! Results as a session shows them: short where a value is long, exact where it is a number.

use evo_lang::ide::Doc;

use crate::datum::{Datum, Table};
use crate::engine::Declared;
use crate::events::Shown;
use crate::render;
use crate::run::rows::{Output, OutputKind};

/// Rows of a table that are shown of a bare expression: so many at its head, and so many at its end.
const ROWS: (usize, usize) = (16, 4);

/// Items of a list that are shown on a line.
const ITEMS: (usize, usize) = (12, 3);

/// What a request gave; a bare expression is shown short.
pub(super) fn output(output: &Output, is_expression: bool) -> String {
    match &output.kind {
        OutputKind::Printed(shown) if is_expression => value(shown),
        OutputKind::Printed(shown) => render::shown(shown),
        OutputKind::Saved { path, what } => format!("saved {what} {path}"),
        OutputKind::Plotted { path: Some(path), .. } => format!("plotted {path}"),
        OutputKind::Plotted { path: None, text } => text.clone(),
        OutputKind::Expected { message, holds } => {
            format!("expected: {message}: {}", if *holds { "holds" } else { "does not hold" })
        }
    }
}

/// A declaration that was accepted.
pub(super) fn declared(d: &Declared) -> String {
    let again = if d.replaced { " (redefined)" } else { "" };
    format!("{} {}: {}{again}", d.word, d.name, d.ty)
}

/// Documentation, one form below the other.
pub(super) fn docs(docs: &[Doc]) -> String {
    docs.iter().map(Doc::plain).collect::<Vec<_>>().join("\n\n")
}

fn value(shown: &Shown) -> String {
    match shown {
        Shown::Value(Datum::List(items)) => list(items.iter()),
        Shown::Value(value) => scalar(value),
        Shown::Text(_) => render::shown(shown),
        // A plain list comes as a table of its items: on a line it is read faster.
        Shown::Table(table) if is_list(table) => list(table.rows.iter().filter_map(|row| row.get(1))),
        Shown::Table(table) => short(table),
    }
}

fn is_list(table: &Table) -> bool {
    let scalars = table.rows.iter().all(|row| row.get(1).is_some_and(Datum::is_scalar));
    table.title.is_none() && table.columns == ["index", "value"] && scalars
}

fn scalar(value: &Datum) -> String {
    match value {
        Datum::Real(real) => exact(*real),
        other => render::datum(other),
    }
}

/// A real with all the digits that tell it from its neighbours.
fn exact(real: f64) -> String {
    if real.is_nan() { "nan".into() } else { format!("{real:?}") }
}

fn list<'d>(items: impl Iterator<Item = &'d Datum>) -> String {
    let items: Vec<&Datum> = items.collect();
    let text = |item: &&Datum| match item {
        Datum::Text(text) => format!("{text:?}"),
        other => scalar(other),
    };
    let (head, tail) = ITEMS;
    if items.len() <= head + tail + 1 {
        return format!("[{}]", items.iter().map(text).collect::<Vec<_>>().join(", "));
    }
    let first = items.iter().take(head).map(text);
    let last = items.iter().skip(items.len() - tail).map(text);
    let shown: Vec<String> = first.chain(["…".to_owned()]).chain(last).collect();
    format!("[{}]  ({} items)", shown.join(", "), render::count(items.len() as u64))
}

fn short(table: &Table) -> String {
    let (head, tail) = ROWS;
    if table.rows.len() <= head + tail + 1 {
        return render::table(table);
    }
    let first = table.rows.iter().take(head).cloned();
    let last = table.rows.iter().skip(table.rows.len() - tail).cloned();
    let drawn = render::table(&Table { rows: first.chain(last).collect(), ..table.clone() });
    let mut lines: Vec<&str> = drawn.lines().collect();
    lines.insert(lines.len() - tail, "…");
    format!("{}\n{} rows; `print` shows them all", lines.join("\n"), render::count(table.rows.len() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(value: Datum) -> String {
        let kind = OutputKind::Printed(match value {
            Datum::List(_) | Datum::Record(_) => Shown::Table(Table::of(&value)),
            plain => Shown::Value(plain),
        });
        output(&Output { request: 0, kind }, true)
    }

    #[test]
    fn numbers_are_exact() {
        assert_eq!(shown(Datum::Real(0.1 + 0.2)), "0.30000000000000004");
        assert_eq!(shown(Datum::Real(4.0)), "4.0");
        assert_eq!(shown(Datum::Real(1e300)), "1e300");
        assert_eq!(shown(Datum::Real(f64::NAN)), "nan");
        assert_eq!(shown(Datum::Int(4)), "4");
    }

    #[test]
    fn long_lists_and_tables_are_shortened() {
        assert_eq!(shown(vec![1_i64, 2, 3].into()), "[1, 2, 3]");
        let long = shown((0..1000_i64).collect::<Vec<_>>().into());
        assert_eq!(long, "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, …, 997, 998, 999]  (1,000 items)");
        let rows: Vec<Datum> = (0..100_i64).map(|i| [("a", i), ("b", 2 * i)].into_iter().collect()).collect();
        let table = shown(Datum::List(rows.clone()));
        assert_eq!(table.lines().count(), 2 + 16 + 1 + 4 + 1, "{table}");
        assert!(table.ends_with("100 rows; `print` shows them all"), "{table}");
        let whole = Output { request: 0, kind: OutputKind::Printed(Shown::Table(Table::of(&Datum::List(rows)))) };
        assert_eq!(output(&whole, false).lines().count(), 102);
    }
}
