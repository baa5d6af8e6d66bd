//! What `print` and `plot` show: tables and figures.

use std::any::Any;
use std::sync::Arc;

use evo_lang::plan::Const;

use crate::args;
use crate::bind::{IntoValue, Module};
use crate::cx::{Cx, Draw, Failure};
use crate::plot::Heatmap;
use crate::value::{Object, Value};

/// The family `show`.
pub fn module() -> Module {
    Module::new("show", include_str!("show.evo")).bind("table", table).bind("heatmap", heatmap)
}

args! { struct TableArgs { rows: Value } }
args! { struct HeatmapArgs { title: Arc<str>, across: Arc<str>, rows: Value } }

fn table(_: &Cx<'_>, args: TableArgs) -> Result<Table, Failure> {
    Ok(Table(args.rows.show()))
}

/// Named rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Table(Const);

impl Object for Table {
    fn kind(&self) -> &'static str {
        "Table"
    }

    fn show(&self) -> Const {
        self.0.clone()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl IntoValue for Table {
    fn into_value(self) -> Value {
        Value::object(self)
    }
}

fn heatmap(_: &Cx<'_>, args: HeatmapArgs) -> Result<Figure, Failure> {
    let mut rows = Vec::new();
    let blocks = match args.rows.show() {
        Const::Record(blocks) => blocks,
        _ => Arc::from([]),
    };
    for (name, block) in blocks.iter() {
        for (i, row) in block.items().unwrap_or_default().iter().enumerate() {
            let values = row.items().unwrap_or_default().iter().filter_map(Const::as_real).collect();
            rows.push((format!("{name}[{i}]"), values));
        }
    }
    let widest = rows.iter().map(|(_, values): &(String, Vec<f64>)| values.len()).max().unwrap_or(0);
    let columns = (0..widest).map(|i| i.to_string()).collect::<Vec<_>>();
    Ok(Figure(Heatmap { title: args.title.to_string(), x_label: args.across.to_string(), columns, rows, range: None }))
}

/// A picture.
#[derive(Clone, Debug)]
pub struct Figure(Heatmap);

impl Object for Figure {
    fn kind(&self) -> &'static str {
        "Figure"
    }

    fn show(&self) -> Const {
        Const::Text(self.0.title.as_str().into())
    }

    fn draw(&self) -> Option<&dyn Draw> {
        Some(self)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Draw for Figure {
    fn svg(&self) -> String {
        self.0.to_svg()
    }

    fn terminal(&self, width: usize) -> String {
        self.0.to_terminal(width)
    }
}

impl IntoValue for Figure {
    fn into_value(self) -> Value {
        Value::object(self)
    }
}
