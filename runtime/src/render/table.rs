//! Tables as text: one line a row, columns wide enough for their widest cell, numbers in line.

use unicode_width::UnicodeWidthStr;

use super::number::decimals;
use super::{datum, real};
use crate::datum::{Datum, Table};

/// The most columns of the terminal that one cell may take; what is longer ends in `…`.
const WIDEST_CELL: usize = 60;

/// A table with its title above it and a line under the names of its columns, without a newline at its end. No line ends
/// in a blank. The reals of a column share one number of decimals, so that their points stand in line.
pub fn table(data: &Table) -> String {
    let columns: Vec<Column> = data.columns.iter().enumerate().map(|(i, name)| Column::new(name, i, data)).collect();
    let mut lines: Vec<String> = data.title.iter().cloned().collect();
    lines.push(line(columns.iter().map(|column| column.pad(&column.name))));
    lines.push(columns.iter().map(|column| "─".repeat(column.width)).collect::<Vec<_>>().join("  "));
    for row in 0..data.rows.len() {
        let cells = columns.iter().map(|column| column.pad(column.cells.get(row).map_or("", String::as_str)));
        lines.push(line(cells));
    }
    lines.join("\n")
}

fn line(cells: impl Iterator<Item = String>) -> String {
    cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
}

struct Column {
    name: String,
    cells: Vec<String>,
    width: usize,
    right: bool,
}

impl Column {
    fn new(name: &str, index: usize, data: &Table) -> Column {
        let values: Vec<&Datum> = data.rows.iter().map(|row| row.get(index).unwrap_or(&Datum::Missing)).collect();
        let decimals = shared_decimals(&values);
        let text = |value: &&Datum| {
            fit(&match (value, decimals) {
                (Datum::Real(number), Some(decimals)) if number.is_finite() => {
                    format!("{number:.decimals$}")
                }
                (value, _) => datum(value),
            })
        };
        let cells: Vec<String> = values.iter().map(text).collect();
        let name = fit(name);
        let width = cells.iter().chain([&name]).map(|cell| cell.width()).max().unwrap_or(0);
        let number = |value: &&Datum| matches!(value, Datum::Int(_) | Datum::Real(_) | Datum::Missing);
        let right = values.iter().all(number) && values.iter().any(|value| !matches!(value, Datum::Missing));
        Column { name, cells, width, right }
    }

    fn pad(&self, cell: &str) -> String {
        let blanks = " ".repeat(self.width.saturating_sub(cell.width()));
        if self.right { blanks + cell } else { format!("{cell}{blanks}") }
    }
}

/// Decimals for all reals of a column: as many as its largest needs for four digits, and at least as many as tell its
/// smallest from zero; nothing if they are too far apart for one form.
fn shared_decimals(values: &[&Datum]) -> Option<usize> {
    let sizes = values.iter().filter_map(|value| match value {
        Datum::Real(number) if number.is_finite() && *number != 0.0 => Some(number.abs()),
        _ => None,
    });
    let (least, most) = sizes.fold((f64::INFINITY, 0.0_f64), |(least, most), s| (least.min(s), most.max(s)));
    if most == 0.0 {
        return Some(3);
    }
    let plain = |size: f64| !real(size).contains('e');
    (plain(least) && plain(most) && most / least < 1e5).then(|| decimals(most).max(decimals(least).min(4)))
}

/// One line without control characters, cut to the widest cell.
fn fit(text: &str) -> String {
    let flat: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if flat.width() <= WIDEST_CELL {
        return flat;
    }
    let mut cut = String::new();
    for c in flat.chars() {
        cut.push(c);
        if cut.width() >= WIDEST_CELL {
            cut.pop();
            break;
        }
    }
    cut.trim_end().to_owned() + "…"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(rows: &[(&str, Datum)]) -> Table {
        Table::of(&rows.iter().cloned().collect())
    }

    #[test]
    fn numbers_stand_in_line() {
        let text = table(&of(&[("ancestor", 0.3325.into()), ("evolved", 0.61.into()), ("none", 0.0.into())]));
        assert_eq!(text, "name       value\n────────  ──────\nancestor  0.3325\nevolved   0.6100\nnone      0.0000");
    }

    #[test]
    fn whole_numbers_texts_and_gaps() {
        let rows = vec![
            vec![Datum::from("a"), Datum::Int(5), Datum::from("x")],
            vec![Datum::from("bb"), Datum::Int(1200), Datum::Missing],
        ];
        let columns = ["name", "count", "note"].map(String::from).to_vec();
        let text = table(&Table { title: Some("two rows (tiny run)".into()), columns, rows });
        assert_eq!(text, "two rows (tiny run)\nname  count  note\n────  ─────  ────\na         5  x\nbb     1200  –");
    }

    #[test]
    fn wide_characters_keep_the_columns_straight() {
        let text = table(&of(&[("日本語", 0.5.into()), ("en", 0.25.into())]));
        assert_eq!(text, "name     value\n──────  ──────\n日本語  0.5000\nen      0.2500");
        let lines: Vec<usize> = text.lines().map(|line| line.width()).collect();
        assert!(lines.iter().all(|width| *width == lines[0]), "{lines:?}");
    }

    #[test]
    fn a_cell_is_one_line_of_bounded_width() {
        let long = "長い文".repeat(40);
        let text = table(&of(&[("one", Datum::from(long.as_str())), ("two", "a\nb\u{1b}[31m".into())]));
        assert_eq!(text.lines().count(), 4);
        assert!(text.lines().all(|line| line.width() <= WIDEST_CELL + 6), "{text}");
        assert!(text.contains('…') && !text.contains('\u{1b}'));
    }

    #[test]
    fn reals_far_apart_keep_their_own_form() {
        let text = table(&of(&[("small", 1e-9.into()), ("large", 3e8.into()), ("mid", 0.5.into())]));
        assert!(text.contains("1.000e-9") && text.contains("3.000e8") && text.contains("0.5000"), "{text}");
        let text = table(&of(&[("parameters", 812_160.0.into()), ("bad", f64::NAN.into())]));
        assert!(text.contains("812160") && text.contains("nan"), "{text}");
    }

    #[test]
    fn an_empty_table_has_its_head() {
        assert_eq!(table(&Table { title: None, columns: vec!["a".into()], rows: vec![] }), "a\n─");
    }
}
