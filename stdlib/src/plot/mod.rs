//! Draws what a search found, as text: charts and heat maps, either as self-contained SVG or as characters for a terminal.
//!
//! Everything here is a pure function from data to text: the same data give the same bytes. An SVG carries its own style, follows
//! the reader's light or dark colour scheme, and names nothing outside itself. Values that are not finite are left out.
//!
//! ```
//! use evo_stdlib::plot::{Chart, Mark, Series, to_svg, to_terminal};
//! let chart = Chart::new("loss").axes("step", "loss").with(Series::new("train", Mark::Line, (0..9).map(|i| (f64::from(i), 1.0 / f64::from(i + 1)))));
//! assert!(to_svg(&chart).starts_with("<svg"));
//! assert!(to_terminal(&chart, 60, 16).lines().count() <= 16);
//! ```

mod axis;
mod fitness;
mod heat;
mod over;
mod style;
mod svg;
mod terminal;

pub use fitness::{Evaluation, Goal, fitness};
pub use heat::Heatmap;
pub use over::over;
pub use style::escape;
pub use svg::to_svg;
pub use terminal::to_terminal;

/// How the points of a [`Series`] are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Straight lines from point to point.
    Line,
    /// A staircase: each value holds until the next point, as a best-so-far does.
    Steps,
    /// A dot a point, nothing between them.
    Points,
}

/// One named set of points, in the order in which a line joins them.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// What the legend calls it.
    pub name: String,
    /// How its points are shown.
    pub mark: Mark,
    /// The points, as (x, y).
    pub points: Vec<(f64, f64)>,
    /// A shaded band around the points, as (x, low, high); empty for none. Terminals leave it out.
    pub band: Vec<(f64, f64, f64)>,
}

impl Series {
    /// A series without a band.
    pub fn new(name: impl Into<String>, mark: Mark, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        Series { name: name.into(), mark, points: points.into_iter().collect(), band: Vec::new() }
    }

    /// The same series with a shaded band, as (x, low, high).
    #[must_use]
    pub fn with_band(mut self, band: impl IntoIterator<Item = (f64, f64, f64)>) -> Self {
        self.band = band.into_iter().collect();
        self
    }
}

/// A picture with two axes and any number of series.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chart {
    /// The heading; may be empty.
    pub title: String,
    /// A line of small print under the heading, such as how many candidates failed; may be empty.
    pub note: String,
    /// What the horizontal axis measures.
    pub x_label: String,
    /// What the vertical axis measures.
    pub y_label: String,
    /// The series, later ones drawn over earlier ones.
    pub series: Vec<Series>,
}

impl Chart {
    /// An empty chart with a heading.
    pub fn new(title: impl Into<String>) -> Self {
        Chart { title: title.into(), ..Chart::default() }
    }

    /// The same chart with its axes named.
    #[must_use]
    pub fn axes(mut self, x: impl Into<String>, y: impl Into<String>) -> Self {
        self.x_label = x.into();
        self.y_label = y.into();
        self
    }

    /// The same chart with one more series.
    #[must_use]
    pub fn with(mut self, series: Series) -> Self {
        self.series.push(series);
        self
    }

    /// All finite points, bands among them.
    fn finite_points(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        let marks = self.series.iter().flat_map(|series| series.points.iter().copied());
        let bands =
            self.series.iter().flat_map(|series| &series.band).flat_map(|&(x, low, high)| [(x, low), (x, high)]);
        marks.chain(bands).filter(|(x, y)| x.is_finite() && y.is_finite())
    }
}

#[cfg(test)]
mod tests;
