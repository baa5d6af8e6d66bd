//! Heat maps: a value for each row and column, such as the weight that a merge gives each layer's attention and feed-forward part.

use super::axis::Axis;
use super::style::{escape, number, open, text_width};
use std::fmt::Write as _;
use unicode_width::UnicodeWidthStr;

/// A table of numbers shown as colours.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Heatmap {
    /// The heading; may be empty.
    pub title: String,
    /// What the columns are, such as "layer"; may be empty.
    pub x_label: String,
    /// The names of the columns.
    pub columns: Vec<String>,
    /// The rows: a name, and a value for each column; a missing or non-finite value leaves its cell empty.
    pub rows: Vec<(String, Vec<f64>)>,
    /// The values at the ends of the colour scale; by default the least and the greatest value, or as far below zero as above
    /// it where there are negative values.
    pub range: Option<(f64, f64)>,
}

type Colour = [f64; 3];

/// Viridis (van der Walt and Smith, 2015) at nine even places: evenly growing lightness, safe for colour-blind readers.
const SEQUENTIAL: [Colour; 9] = [
    [68.0, 1.0, 84.0],
    [71.0, 45.0, 123.0],
    [59.0, 82.0, 139.0],
    [44.0, 114.0, 142.0],
    [33.0, 145.0, 140.0],
    [40.0, 174.0, 128.0],
    [94.0, 201.0, 98.0],
    [173.0, 220.0, 48.0],
    [253.0, 231.0, 37.0],
];

/// Red to blue through grey (Brewer's RdBu), for ranges with zero in their middle.
const DIVERGING: [Colour; 5] =
    [[178.0, 24.0, 43.0], [239.0, 138.0, 98.0], [240.0, 240.0, 240.0], [103.0, 169.0, 207.0], [33.0, 102.0, 172.0]];

impl Heatmap {
    /// A heat map with the columns numbered from 0.
    pub fn new(title: impl Into<String>, x_label: impl Into<String>, rows: Vec<(String, Vec<f64>)>) -> Self {
        let columns = rows.iter().map(|(_, values)| values.len()).max().unwrap_or(0);
        let columns = (0..columns).map(|column| column.to_string()).collect();
        Heatmap { title: title.into(), x_label: x_label.into(), columns, rows, range: None }
    }

    /// The ends of the colour scale, low before high and not equal.
    fn ends(&self) -> (f64, f64) {
        let finite = || self.rows.iter().flat_map(|(_, values)| values).copied().filter(|value| value.is_finite());
        let (low, high) =
            self.range.filter(|(low, high)| low.is_finite() && high.is_finite() && low < high).unwrap_or_else(|| {
                let (low, high) = finite()
                    .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
                let far = low.abs().max(high.abs());
                if low < 0.0 && high.is_finite() { (-far, far) } else { (low, high) }
            });
        if low < high {
            (low, high)
        } else if low.is_finite() && low == high {
            (low - 0.5, low + 0.5)
        } else {
            (0.0, 1.0)
        }
    }

    /// Draws the map as a self-contained SVG picture: a coloured cell with its number for every value, and the scale at the right.
    pub fn to_svg(&self) -> String {
        let ends = self.ends();
        let names = self.rows.iter().map(|(name, _)| text_width(name)).fold(0.0, f64::max);
        let columns = self.columns.len().max(1) as f64;
        let cell = (840.0 / columns).clamp(14.0, 54.0);
        let (left, top) = (32.0 + names, if self.title.is_empty() { 20.0 } else { 48.0 });
        let height = 30.0;
        let grid_height = height * self.rows.len().max(1) as f64;
        let scale_height = grid_height.max(90.0);
        let right = left + cell * columns;
        let mut out = open(right + 90.0, top + scale_height.max(grid_height + 10.0) + 52.0, &self.title);
        let _ = writeln!(out, r#"<text class="title" x="20" y="32">{}</text>"#, escape(&self.title));
        for (index, (name, values)) in self.rows.iter().enumerate() {
            let y = top + height * index as f64;
            let _ = writeln!(
                out,
                r#"<text x="{}" y="{}" text-anchor="end">{}</text>"#,
                number(left - 10.0),
                number(y + height / 2.0 + 4.0),
                escape(name)
            );
            for (column, value) in values.iter().enumerate().filter(|(_, value)| value.is_finite()) {
                cell_svg(&mut out, (left + cell * column as f64, y, cell, height), *value, ends);
            }
        }
        self.column_names(&mut out, left, cell, top + grid_height);
        scale(&mut out, right + 24.0, top, scale_height, ends);
        out.push_str("</svg>\n");
        out
    }

    /// Writes the names of the columns below the grid, as many as fit, and what they are.
    fn column_names(&self, out: &mut String, left: f64, cell: f64, bottom: f64) {
        let widest = self.columns.iter().map(|name| text_width(name)).fold(1.0, f64::max);
        let every = ((widest + 4.0) / cell).ceil().max(1.0) as usize;
        for (column, name) in self.columns.iter().enumerate().step_by(every) {
            let x = left + cell * (column as f64 + 0.5);
            let _ = writeln!(
                out,
                r#"<text class="small" x="{}" y="{}" text-anchor="middle">{}</text>"#,
                number(x),
                number(bottom + 18.0),
                escape(name)
            );
        }
        let _ = writeln!(
            out,
            r#"<text x="{}" y="{}" text-anchor="middle">{}</text>"#,
            number(left + cell * self.columns.len() as f64 / 2.0),
            number(bottom + 40.0),
            escape(&self.x_label)
        );
    }

    /// Draws the map for a terminal: a row of block characters, higher for greater values, with the numbers beside them where
    /// `width` columns allow it. A map that is too wide even for bare blocks is cut at the right with an `…`.
    pub fn to_terminal(&self, width: usize) -> String {
        let (low, high) = self.ends();
        let names = self.rows.iter().map(|(name, _)| name.width()).max().unwrap_or(0);
        let room = width.saturating_sub(names + 3);
        let labels = self.columns.iter().map(|name| name.width()).max().unwrap_or(1);
        let cell = [7, labels + 1, 2, 1].into_iter().find(|cell| cell * self.columns.len() <= room).unwrap_or(1);
        let shown = (room / cell).min(self.columns.len());
        let cut = if shown < self.columns.len() { "…" } else { "" };
        let mut out = String::new();
        if !self.title.is_empty() {
            let _ = writeln!(out, "{}", self.title);
        }
        for (name, values) in &self.rows {
            let _ = write!(out, "{name}{}", " ".repeat(names - name.width() + 2));
            for value in values.iter().take(shown) {
                out.push_str(&cell_text(*value, (*value - low) / (high - low), cell));
            }
            let _ = writeln!(out, "{cut}");
        }
        let _ = write!(out, "{}", " ".repeat(names + 2));
        let every = (labels + 1).div_ceil(cell);
        for name in self.columns.iter().take(shown).step_by(every) {
            let _ = write!(out, "{name}{}", " ".repeat((cell * every).saturating_sub(name.width())));
        }
        let _ = write!(out, "\n{}{}  ▁ {low:.2}  █ {high:.2}", " ".repeat(names + 2), self.x_label);
        let lines: Vec<&str> = out.lines().map(str::trim_end).collect();
        lines.join("\n") + "\n"
    }
}

/// One cell for a terminal, `width` columns wide: a block as high as `share` says, and the number if it fits.
fn cell_text(value: f64, share: f64, width: usize) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let text = if !value.is_finite() {
        "·".to_owned()
    } else {
        let block = BLOCKS[((share.clamp(0.0, 1.0) * 7.0).round() as usize).min(7)];
        if width >= 7 { format!("{block}{}", short(value)) } else { block.to_string() }
    };
    format!("{text}{}", " ".repeat(width.saturating_sub(text.width())))
}

/// A number in at most five characters.
fn short(value: f64) -> String {
    let size = value.abs();
    if size < 10.0 {
        format!("{value:.2}")
    } else if size < 1000.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.0e}")
    }
}

fn colour(share: f64, diverging: bool) -> Colour {
    let stops: &[Colour] = if diverging { &DIVERGING } else { &SEQUENTIAL };
    let at = share.clamp(0.0, 1.0) * (stops.len() - 1) as f64;
    let (from, to) = (stops[at.floor() as usize], stops[at.ceil() as usize]);
    [0, 1, 2].map(|i| (from[i] + (to[i] - from[i]) * at.fract()).round())
}

fn hex([red, green, blue]: Colour) -> String {
    format!("#{:02x}{:02x}{:02x}", red as u8, green as u8, blue as u8)
}

fn diverging((low, high): (f64, f64)) -> bool {
    low < 0.0 && (low + high).abs() < (high - low) * 1e-9
}

fn cell_svg(out: &mut String, (x, y, width, height): (f64, f64, f64, f64), value: f64, ends: (f64, f64)) {
    let fill = colour((value - ends.0) / (ends.1 - ends.0), diverging(ends));
    let _ = write!(
        out,
        r#"<rect x="{}" y="{}" width="{}" height="{}" fill="{}"><title>{value}</title></rect>"#,
        number(x + 0.5),
        number(y + 0.5),
        number(width - 1.0),
        number(height - 1.0),
        hex(fill)
    );
    if width >= 34.0 {
        // Dark ink on light cells and the other way round, by relative luminance.
        let light = 0.2126 * fill[0] + 0.7152 * fill[1] + 0.0722 * fill[2] > 128.0;
        let ink = if light { "#111" } else { "#fff" };
        let (x, y) = (number(x + width / 2.0), number(y + height / 2.0 + 4.0));
        let _ = write!(out, r#"<text style="fill:{ink}" x="{x}" y="{y}" text-anchor="middle">{}</text>"#, short(value));
    }
    out.push('\n');
}

/// The colour scale: a column of 32 colours with round ticks beside it.
fn scale(out: &mut String, x: f64, top: f64, height: f64, ends: (f64, f64)) {
    let slice = height / 32.0;
    for index in 0..32 {
        let share = 1.0 - (f64::from(index) + 0.5) / 32.0;
        let _ = writeln!(
            out,
            r#"<rect x="{}" y="{}" width="12" height="{}" fill="{}"/>"#,
            number(x),
            number(top + slice * f64::from(index)),
            number(slice + 0.3),
            hex(colour(share, diverging(ends)))
        );
    }
    let axis = Axis::fit([ends.0, ends.1].into_iter(), 0.0, 4);
    for tick in axis.ticks() {
        let y = top + height * (1.0 - axis.at(tick));
        let _ = writeln!(
            out,
            r#"<text class="small" x="{}" y="{}" dy="4">{}</text>"#,
            number(x + 18.0),
            number(y),
            axis.label(tick)
        );
    }
}
