//! A chart as characters for a terminal: lines in braille dots (two by four to a character), points and further lines as marks.

use super::axis::Axis;
use super::{Chart, Mark, Series};
use std::fmt::Write as _;

/// The mark of each line after the first, which is drawn in braille.
const MARKS: [char; 5] = ['*', '+', 'x', 'o', '#'];

/// What is drawn where, a cell a character.
struct Canvas {
    width: usize,
    height: usize,
    marks: Vec<Option<char>>,
    dots: Vec<u8>,
}

/// Draws a chart as at most `height` lines of at most `width` columns, title, axes and legend included. The last line series is
/// drawn in braille, so that the one that matters most is the sharpest; dots of [`Mark::Points`] as `·`, further lines as `*`, `+` …
/// Bands and points that are not finite are left out. Sizes below 24 by 8 are taken as 24 by 8.
pub fn to_terminal(chart: &Chart, width: usize, height: usize) -> String {
    let (width, height) = (width.max(24), height.max(8));
    let x = Axis::fit(chart.finite_points().map(|point| point.0), 0.0, (width / 12).max(2));
    let legend = legend(chart, width);
    let heading: Vec<&str> =
        [&chart.title, &chart.note].into_iter().map(String::as_str).filter(|line| !line.is_empty()).collect();
    let heading = if height >= 12 { &heading[..] } else { heading.get(..1).unwrap_or_default() };
    let rows = height.saturating_sub(heading.len() + 2 + legend.len()).max(3);
    let y = Axis::fit(chart.finite_points().map(|point| point.1), 0.0, (rows / 3).clamp(2, 8));
    let labels: Vec<(usize, String)> =
        y.ticks().into_iter().map(|tick| (row_of(&y, tick, rows), y.label(tick))).collect();
    let gutter = labels.iter().map(|(_, label)| label.len()).max().unwrap_or(1);
    let mut canvas = Canvas::new(width.saturating_sub(gutter + 2).max(8), rows);
    canvas.draw(chart, &x, &y);

    let mut out = String::new();
    for line in heading {
        let _ = writeln!(out, "{}", cut(line, width));
    }
    for row in 0..rows {
        let label = labels.iter().find(|(at, _)| *at == row).map_or("", |(_, label)| label.as_str());
        let edge = if label.is_empty() { '│' } else { '┤' };
        let _ = writeln!(out, "{label:>gutter$} {edge}{}", canvas.row(row).trim_end());
    }
    let _ = writeln!(out, "{:gutter$} └{}", "", "─".repeat(canvas.width));
    let _ = writeln!(out, "{}", x_labels(&x, &chart.x_label, gutter + 2, canvas.width).trim_end());
    for line in legend {
        let _ = writeln!(out, "{line}");
    }
    out
}

/// The row that `value` falls in, counted from the top.
fn row_of(y: &Axis, value: f64, rows: usize) -> usize {
    ((1.0 - y.at(value)) * (rows * 4 - 1) as f64).round().max(0.0) as usize / 4
}

fn cut(line: &str, width: usize) -> String {
    line.chars().filter(|c| !c.is_control()).take(width).collect()
}

/// The line series drawn in braille: the last one.
fn sharpest(chart: &Chart) -> Option<usize> {
    chart.series.iter().rposition(|series| series.mark != Mark::Points)
}

/// How the series at `index` is drawn, as one character.
fn mark(chart: &Chart, index: usize) -> char {
    if sharpest(chart) == Some(index) {
        return '⣀';
    }
    let lines_before = chart.series.iter().take(index).filter(|series| series.mark != Mark::Points).count();
    match chart.series.get(index) {
        Some(series) if series.mark == Mark::Points => '·',
        _ => MARKS[lines_before % MARKS.len()],
    }
}

fn legend(chart: &Chart, width: usize) -> Vec<String> {
    let entries = chart.series.iter().enumerate().filter(|(_, series)| !series.name.is_empty());
    let mut lines: Vec<String> = Vec::new();
    for (index, series) in entries {
        let entry = format!("  {} {}", mark(chart, index), series.name);
        match lines.last_mut() {
            Some(line) if line.chars().count() + entry.chars().count() <= width => line.push_str(&entry),
            _ => lines.push(cut(&entry, width)),
        }
    }
    lines
}

/// The numbers under the horizontal axis, each centred under its tick where there is room, and the axis' name after them.
fn x_labels(x: &Axis, name: &str, indent: usize, width: usize) -> String {
    let mut line: Vec<char> = vec![' '; indent + width];
    let mut free_from = 0;
    for tick in x.ticks() {
        let label = x.label(tick);
        let centre = indent + (x.at(tick) * (width - 1) as f64).round() as usize;
        let start = centre.saturating_sub(label.len() / 2).min((indent + width).saturating_sub(label.len()));
        if start < free_from {
            continue;
        }
        for (place, c) in line.iter_mut().skip(start).zip(label.chars()) {
            *place = c;
        }
        free_from = start + label.len() + 1;
    }
    let mut text: String = line.into_iter().collect();
    if free_from + name.chars().count() < indent + width {
        text = text.trim_end().to_owned() + " " + name;
    }
    text
}

impl Canvas {
    fn new(width: usize, height: usize) -> Self {
        Canvas { width, height, marks: vec![None; width * height], dots: vec![0; width * height] }
    }

    fn draw(&mut self, chart: &Chart, x: &Axis, y: &Axis) {
        for (index, series) in chart.series.iter().enumerate() {
            let braille = sharpest(chart) == Some(index);
            let glyph = mark(chart, index);
            let mut last: Option<(i64, i64)> = None;
            for (from, to) in segments(series) {
                let place = |(px, py): (f64, f64)| {
                    let column = x.at(px) * (self.width * 2 - 1) as f64;
                    let row = (1.0 - y.at(py)) * (self.height * 4 - 1) as f64;
                    (column.round() as i64, row.round() as i64)
                };
                let (from, to) = (place(from), place(to));
                for dot in line_between(from, to).skip(usize::from(last == Some(from) && from != to)) {
                    self.dot(dot, braille, glyph);
                }
                last = Some(to);
            }
        }
    }

    /// Sets the dot at (column, row), counted in braille dots from the top left.
    fn dot(&mut self, (column, row): (i64, i64), braille: bool, glyph: char) {
        const BITS: [[u8; 2]; 4] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];
        let (Ok(column), Ok(row)) = (usize::try_from(column), usize::try_from(row)) else {
            return;
        };
        if column / 2 >= self.width || row / 4 >= self.height {
            return;
        }
        let cell = row / 4 * self.width + column / 2;
        if braille {
            self.dots[cell] |= BITS[row % 4][column % 2];
        } else {
            self.marks[cell] = Some(glyph);
        }
    }

    fn row(&self, row: usize) -> String {
        let cells = row * self.width..(row + 1) * self.width;
        let shown = self.dots[cells.clone()].iter().zip(&self.marks[cells]);
        shown
            .map(
                |(dots, mark)| {
                    if *dots > 0 {
                        char::from_u32(0x2800 + u32::from(*dots)).unwrap_or(' ')
                    } else {
                        mark.unwrap_or(' ')
                    }
                },
            )
            .collect()
    }
}

/// The straight pieces that a series is made of; a dot is a piece without length.
fn segments(series: &Series) -> Vec<((f64, f64), (f64, f64))> {
    let finite = |point: &(f64, f64)| point.0.is_finite() && point.1.is_finite();
    let mut pieces = Vec::new();
    let mut last: Option<(f64, f64)> = None;
    for point in &series.points {
        if !finite(point) {
            last = None;
            continue;
        }
        match (series.mark, last) {
            (Mark::Points, _) | (_, None) => pieces.push((*point, *point)),
            (Mark::Line, Some(from)) => pieces.push((from, *point)),
            (Mark::Steps, Some(from)) => {
                let corner = (point.0, from.1);
                pieces.extend([(from, corner), (corner, *point)]);
            }
        }
        last = Some(*point);
    }
    pieces
}

/// The dots from `from` to `to`, both included (Bresenham, 1965).
fn line_between(from: (i64, i64), to: (i64, i64)) -> impl Iterator<Item = (i64, i64)> {
    let steps = (to.0 - from.0).abs().max((to.1 - from.1).abs());
    (0..=steps).map(move |step| {
        let along = |a: i64, b: i64| {
            if steps == 0 { a } else { a + ((b - a) * step * 2 + (b - a).signum() * steps) / (steps * 2) }
        };
        (along(from.0, to.0), along(from.1, to.1))
    })
}
