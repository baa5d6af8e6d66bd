//! A chart as SVG text.

use super::axis::Axis;
use super::style::{class, escape, number, open, text_width};
use super::{Chart, Mark, Series};
use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 440.0;
/// More dots than this are thinned evenly: the picture would only grow, not change.
const MOST_DOTS: usize = 4000;

/// Where the plotted area lies in the picture, and its axes.
struct Frame {
    left: f64,
    top: f64,
    right: f64,
    bottom: f64,
    x: Axis,
    y: Axis,
}

impl Frame {
    fn x(&self, value: f64) -> f64 {
        self.left + self.x.at(value) * (self.right - self.left)
    }

    fn y(&self, value: f64) -> f64 {
        self.bottom - self.y.at(value) * (self.bottom - self.top)
    }
}

/// Draws a chart as a self-contained SVG picture of 720 by 440 pixels: round ticks, a legend, light and dark colours.
/// Points that are not finite are left out and break a line; an empty chart keeps its axes.
pub fn to_svg(chart: &Chart) -> String {
    let mut out = open(WIDTH, HEIGHT, &chart.title);
    let mut top = 16.0;
    if !chart.title.is_empty() {
        top += 16.0;
        let _ = writeln!(out, r#"<text class="title" x="20" y="{}">{}</text>"#, number(top), escape(&chart.title));
        top += 6.0;
    }
    if !chart.note.is_empty() {
        top += 14.0;
        let _ = writeln!(out, r#"<text class="small" x="20" y="{}">{}</text>"#, number(top), escape(&chart.note));
        top += 4.0;
    }
    top = legend(&mut out, &chart.series, top);
    let x = Axis::fit(chart.finite_points().map(|point| point.0), 0.0, 8);
    let y = Axis::fit(chart.finite_points().map(|point| point.1), 0.05, 6);
    let widest = y.ticks().iter().map(|tick| text_width(&y.label(*tick))).fold(0.0, f64::max);
    let label = if chart.y_label.is_empty() { 0.0 } else { 20.0 };
    let frame =
        Frame { left: 24.0 + label + widest, top: top + 10.0, right: WIDTH - 24.0, bottom: HEIGHT - 52.0, x, y };
    axes(&mut out, &frame, chart);
    for (index, series) in chart.series.iter().enumerate() {
        let _ = writeln!(out, r#"<g class="{}">"#, class(index));
        draw(&mut out, &frame, series);
        out.push_str("</g>\n");
    }
    out.push_str("</svg>\n");
    out
}

/// Writes the legend in rows below `top` and returns where it ends; a single unnamed series has none.
fn legend(out: &mut String, series: &[Series], top: f64) -> f64 {
    let named: Vec<(usize, &Series)> =
        series.iter().enumerate().filter(|(_, series)| !series.name.is_empty()).collect();
    if named.is_empty() {
        return top;
    }
    let (mut x, mut y) = (20.0, top + 14.0);
    for (index, series) in named {
        let width = 26.0 + text_width(&series.name) + 18.0;
        if x > 20.0 && x + width > WIDTH - 20.0 {
            x = 20.0;
            y += 18.0;
        }
        let middle = number(y - 4.0);
        let _ = write!(out, r#"<g class="{}">"#, class(index));
        let _ = match series.mark {
            Mark::Points => write!(out, r#"<circle class="dot" cx="{}" cy="{middle}" r="4"/>"#, number(x + 10.0)),
            Mark::Line | Mark::Steps => write!(out, r#"<path class="line" d="M{} {middle}h20"/>"#, number(x)),
        };
        let _ =
            writeln!(out, r#"<text x="{}" y="{}">{}</text></g>"#, number(x + 26.0), number(y), escape(&series.name));
        x += width;
    }
    y + 6.0
}

fn axes(out: &mut String, frame: &Frame, chart: &Chart) {
    let Frame { left, top, right, bottom, .. } = *frame;
    for tick in frame.y.ticks() {
        let y = number(frame.y(tick));
        let _ = writeln!(out, r#"<path class="grid" d="M{} {y}H{}"/>"#, number(left), number(right));
        let _ = writeln!(
            out,
            r#"<text class="small" x="{}" y="{y}" dy="4" text-anchor="end">{}</text>"#,
            number(left - 8.0),
            frame.y.label(tick)
        );
    }
    for tick in frame.x.ticks() {
        let x = number(frame.x(tick));
        let _ = writeln!(out, r#"<path class="axis" d="M{x} {}v5"/>"#, number(bottom));
        let _ = writeln!(
            out,
            r#"<text class="small" x="{x}" y="{}" text-anchor="middle">{}</text>"#,
            number(bottom + 19.0),
            frame.x.label(tick)
        );
    }
    let _ = writeln!(out, r#"<path class="axis" d="M{} {}H{}"/>"#, number(left), number(bottom), number(right));
    let _ = writeln!(
        out,
        r#"<text x="{}" y="{}" text-anchor="middle">{}</text>"#,
        number((left + right) / 2.0),
        number(HEIGHT - 12.0),
        escape(&chart.x_label)
    );
    if !chart.y_label.is_empty() {
        let middle = number((top + bottom) / 2.0);
        let _ = writeln!(
            out,
            r#"<text x="22" y="{middle}" transform="rotate(-90 22 {middle})" text-anchor="middle">{}</text>"#,
            escape(&chart.y_label)
        );
    }
}

fn draw(out: &mut String, frame: &Frame, series: &Series) {
    let band: Vec<&(f64, f64, f64)> =
        series.band.iter().filter(|(x, low, high)| x.is_finite() && low.is_finite() && high.is_finite()).collect();
    if band.len() > 1 {
        let upper = band.iter().map(|(x, _, high)| (*x, *high));
        let lower = band.iter().rev().map(|(x, low, _)| (*x, *low));
        let corners: Vec<String> =
            upper.chain(lower).map(|(x, y)| format!("{} {}", number(frame.x(x)), number(frame.y(y)))).collect();
        let _ = writeln!(out, r#"<path class="band" d="M{}Z"/>"#, corners.join("L"));
    }
    match series.mark {
        Mark::Points => dots(out, frame, series),
        Mark::Line | Mark::Steps => line(out, frame, series),
    }
}

fn dots(out: &mut String, frame: &Frame, series: &Series) {
    let every = series.points.len().div_ceil(MOST_DOTS).max(1);
    let radius = if series.points.len() > 400 { 2.0 } else { 3.0 };
    for (x, y) in series.points.iter().step_by(every).filter(|(x, y)| x.is_finite() && y.is_finite()) {
        let _ = writeln!(
            out,
            r#"<circle class="dot" cx="{}" cy="{}" r="{}"/>"#,
            number(frame.x(*x)),
            number(frame.y(*y)),
            number(radius)
        );
    }
}

fn line(out: &mut String, frame: &Frame, series: &Series) {
    let mut path = String::new();
    let mut pen_down = false;
    for (x, y) in &series.points {
        if !(x.is_finite() && y.is_finite()) {
            pen_down = false;
            continue;
        }
        let (x, y) = (number(frame.x(*x)), number(frame.y(*y)));
        let _ = match (pen_down, series.mark) {
            (false, _) => write!(path, "M{x} {y}"),
            (true, Mark::Steps) => write!(path, "H{x}V{y}"),
            (true, _) => write!(path, "L{x} {y}"),
        };
        pen_down = true;
    }
    if let [(x, y)] = series.points[..]
        && x.is_finite()
        && y.is_finite()
    {
        let _ = writeln!(out, r#"<circle class="dot" cx="{}" cy="{}" r="3"/>"#, number(frame.x(x)), number(frame.y(y)));
    }
    let _ = writeln!(out, r#"<path class="line" d="{path}"/>"#);
}
