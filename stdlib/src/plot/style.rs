//! The look that all SVG pictures share: colours for light and dark pages, fonts, and safe text.

use std::fmt::Write as _;
use unicode_width::UnicodeWidthStr;

/// Colours of the series, told apart by colour-blind readers too (Okabe and Ito, 2008): on a light page, on a dark one.
const SERIES: [(&str, &str); 6] = [
    ("#0072b2", "#56b4e9"),
    ("#d55e00", "#ff9d5c"),
    ("#008060", "#35c9a0"),
    ("#b0508a", "#e59cc8"),
    ("#9a6a00", "#f0c04a"),
    ("#5a5a5a", "#b4b4b4"),
];

/// The class of the `index`-th series; colours repeat after six.
pub(super) fn class(index: usize) -> String {
    format!("s{}", index % SERIES.len())
}

/// Opens an SVG picture of `width` by `height` with its title for screen readers, style and background.
pub(super) fn open(width: f64, height: f64, title: &str) -> String {
    let mut out = String::new();
    let name = escape(if title.is_empty() { "chart" } else { title });
    let _ = writeln!(
        out,
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{w}" height="{h}" viewBox="0 0 {w} {h}" role="img">"#,
        w = number(width),
        h = number(height)
    );
    let _ = writeln!(out, "<title>{name}</title>");
    out.push_str(&stylesheet());
    let _ = writeln!(out, r#"<rect class="page" width="{}" height="{}"/>"#, number(width), number(height));
    out
}

fn stylesheet() -> String {
    let mut light = String::new();
    let mut dark = String::new();
    for (index, (on_light, on_dark)) in SERIES.iter().enumerate() {
        for (sheet, colour) in [(&mut light, on_light), (&mut dark, on_dark)] {
            let _ = writeln!(sheet, "  .s{index} {{ color: {colour} }}");
        }
    }
    format!(
        "<style>
  text {{ font: 12px system-ui, -apple-system, 'Segoe UI', 'Noto Sans', sans-serif; fill: #333 }}
  .title {{ font-size: 16px; font-weight: 600; fill: #111 }}
  .small {{ fill: #666 }}
  .page {{ fill: #fff }}
  .grid {{ stroke: #e4e4e4; stroke-width: 1 }}
  .axis {{ stroke: #888; stroke-width: 1; fill: none }}
  .line {{ stroke: currentColor; stroke-width: 2; fill: none; stroke-linejoin: round }}
  .dot {{ fill: currentColor; fill-opacity: 0.45 }}
  .band {{ fill: currentColor; fill-opacity: 0.16 }}
{light}  @media (prefers-color-scheme: dark) {{
  text {{ fill: #ccc }}
  .title {{ fill: #f2f2f2 }}
  .small {{ fill: #999 }}
  .page {{ fill: #16181c }}
  .grid {{ stroke: #2c3036 }}
  .axis {{ stroke: #777 }}
{dark}  }}
</style>
"
    )
}

/// A number as SVG wants it: at most two decimals, no trailing zeros, never `-0`.
pub(super) fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// A text as SVG, HTML and XML hold it, in an element or an attribute; characters that XML forbids are left out.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {}
            c => out.push(c),
        }
    }
    out
}

/// About how wide `text` is when drawn, in pixels; wide characters, such as Japanese ones, count twice.
pub(super) fn text_width(text: &str) -> f64 {
    UnicodeWidthStr::width(text) as f64 * 6.8
}
