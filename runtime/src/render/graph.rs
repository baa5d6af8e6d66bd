//! A plan's graph as a drawing: layers from left to right, each node right of all that it reads.
//!
//! Layers are longest paths from the inputs, the order within a layer follows the mean place of a node's neighbours, in a few
//! sweeps there and back (Sugiyama, Tagawa and Toda, 1981), and an edge across several layers goes through a place of its own in each.

use std::fmt::Write;

use unicode_width::UnicodeWidthStr;

use crate::engine::{NodeView, Overview};
use crate::render::{count, duration, shortened};
use evo_stdlib::plot::escape;

const WIDTH: f64 = 200.0;
const HEIGHT: f64 = 46.0;
/// Between layers, and between the nodes of one.
const GAP: (f64, f64) = (70.0, 22.0);
const MARGIN: f64 = 24.0;
/// The height that an edge takes where it passes a layer.
const PASS: f64 = 8.0;
const SWEEPS: usize = 12;

/// A node, or the place of an edge in a layer that it passes.
struct Cell {
    /// Which node, if it is one.
    node: Option<usize>,
    layer: usize,
    before: Vec<usize>,
    after: Vec<usize>,
    y: f64,
}

impl Cell {
    fn height(&self) -> f64 {
        if self.node.is_some() { HEIGHT } else { PASS }
    }
}

/// The drawing, as SVG that follows the reader's choice of light or dark.
pub fn graph(overview: &Overview) -> String {
    let mut cells = cells(&overview.nodes);
    let layers = layers(&mut cells);
    place(&mut cells, &layers);
    let columns = layers.len().max(1) as f64;
    let bottom = cells.iter().map(|cell| cell.y + cell.height()).fold(HEIGHT, f64::max);
    let (width, height) = (2.0 * MARGIN + columns * WIDTH + (columns - 1.0) * GAP.0, bottom + 2.0 * MARGIN);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"13\">\n{STYLE}<rect class=\"back\" width=\"100%\" height=\"100%\"/>\n\
         <g transform=\"translate({MARGIN} {MARGIN})\">\n"
    );
    for (i, cell) in cells.iter().enumerate().filter(|(_, cell)| cell.node.is_some()) {
        for &next in &cell.after {
            edge(&mut out, &cells, i, next);
        }
    }
    for cell in &cells {
        if let Some(node) = cell.node.and_then(|i| overview.nodes.get(i)) {
            draw(&mut out, node, x(cell.layer), cell.y);
        }
    }
    out + "</g>\n</svg>\n"
}

const STYLE: &str = "<style>.back { fill: #fff } .box { fill: #f4f6f8; stroke: #8a97a5 } .stored { fill: #eef6ee; stroke: #7da27d } \
.search { fill: #fff4e2; stroke: #c58f3a } .edge { fill: none; stroke: #a3adb8; stroke-width: 1.4 } .name { fill: #1d2329; font-weight: 600 } \
.kind { fill: #5b6670; font-size: 11px } @media (prefers-color-scheme: dark) { .back { fill: #16181c } .box { fill: #23272e; stroke: #6d7884 } \
.stored { fill: #1e2b20; stroke: #6a8f6a } .search { fill: #33291a; stroke: #b98a45 } .edge { stroke: #5d6772 } .name { fill: #e2e5e9 } \
.kind { fill: #9aa4ae } }</style>\n";

fn x(layer: usize) -> f64 {
    layer as f64 * (WIDTH + GAP.0)
}

/// The nodes, and a place in each layer that an edge passes. Inputs stand before the nodes that read them.
fn cells(nodes: &[NodeView]) -> Vec<Cell> {
    let cell = |node, layer| Cell { node, layer, before: Vec::new(), after: Vec::new(), y: 0.0 };
    let mut all: Vec<Cell> = Vec::new();
    for (i, node) in nodes.iter().enumerate() {
        let layer =
            node.inputs.iter().filter(|input| **input < i).filter_map(|input| all.get(*input)).map(|c| c.layer + 1);
        let layer = layer.max().unwrap_or(0);
        all.push(cell(Some(i), layer));
    }
    for (i, node) in nodes.iter().enumerate() {
        for &input in node.inputs.iter().filter(|input| **input < i) {
            let (mut from, first, last) = (input, all[input].layer, all[i].layer);
            for layer in first + 1..last {
                all.push(cell(None, layer));
                let pass = all.len() - 1;
                all[from].after.push(pass);
                all[pass].before.push(from);
                from = pass;
            }
            all[from].after.push(i);
            all[i].before.push(from);
        }
    }
    all
}

/// The cells of each layer, in an order with few crossings.
fn layers(cells: &mut [Cell]) -> Vec<Vec<usize>> {
    let depth = cells.iter().map(|cell| cell.layer + 1).max().unwrap_or(0);
    let mut layers: Vec<Vec<usize>> = vec![Vec::new(); depth];
    for (i, cell) in cells.iter().enumerate() {
        layers[cell.layer].push(i);
    }
    let mut place = vec![0.0; cells.len()];
    let note = |layer: &[usize], place: &mut [f64]| {
        layer.iter().enumerate().for_each(|(at, &i)| place[i] = at as f64);
    };
    layers.iter().for_each(|layer| note(layer, &mut place));
    for sweep in 0..SWEEPS {
        let forth = sweep % 2 == 0;
        let order: Vec<usize> = if forth { (0..depth).collect() } else { (0..depth).rev().collect() };
        for at in order {
            let mean = |i: usize| {
                let near = if forth { &cells[i].before } else { &cells[i].after };
                if near.is_empty() { place[i] } else { near.iter().map(|&n| place[n]).sum::<f64>() / near.len() as f64 }
            };
            let mut keyed: Vec<(f64, usize)> = layers[at].iter().map(|&i| (mean(i), i)).collect();
            keyed.sort_by(|a, b| a.0.total_cmp(&b.0)); // stable: equal ones stay as they are
            layers[at] = keyed.into_iter().map(|(_, i)| i).collect();
            note(&layers[at], &mut place);
        }
    }
    layers
}

/// Heights: each cell as near to the middle of its neighbours as its layer's order allows.
fn place(cells: &mut [Cell], layers: &[Vec<usize>]) {
    for layer in layers {
        let mut y = 0.0;
        for &i in layer {
            cells[i].y = y;
            y += cells[i].height() + GAP.1;
        }
    }
    for sweep in 0..SWEEPS {
        for layer in layers {
            let wish = |i: usize| {
                let cell = &cells[i];
                let near: Vec<usize> = if sweep % 2 == 0 { cell.before.clone() } else { cell.after.clone() };
                let middle = |n: &usize| cells[*n].y + cells[*n].height() / 2.0;
                match near.len() {
                    0 => cell.y,
                    n => near.iter().map(middle).sum::<f64>() / n as f64 - cell.height() / 2.0,
                }
            };
            let wishes: Vec<f64> = layer.iter().map(|&i| wish(i)).collect();
            // Runs of cells that push each other are moved as one, so that their mean wish is met.
            let mut runs: Vec<(Vec<usize>, f64, f64)> = Vec::new(); // cells, sum of wished starts, height
            for (&i, wish) in layer.iter().zip(&wishes) {
                let mut run = (vec![i], *wish, cells[i].height() + GAP.1);
                while let Some(last) = runs.last() {
                    let start = |run: &(Vec<usize>, f64, f64)| run.1 / run.0.len() as f64;
                    if start(last) + last.2 <= start(&run) {
                        break;
                    }
                    let Some((mut ids, sum, height)) = runs.pop() else { break };
                    let moved = run.1 - height * run.0.len() as f64;
                    ids.extend(&run.0);
                    run = (ids, sum + moved, height + run.2);
                }
                runs.push(run);
            }
            for (ids, sum, _) in runs {
                let mut y = sum / ids.len() as f64;
                for i in ids {
                    cells[i].y = y;
                    y += cells[i].height() + GAP.1;
                }
            }
        }
    }
    let top = cells.iter().map(|cell| cell.y).fold(f64::INFINITY, f64::min);
    cells.iter_mut().for_each(|cell| cell.y -= top);
}

/// A curve from a node through the places that its edge passes to the node that reads it.
fn edge(out: &mut String, cells: &[Cell], from: usize, next: usize) {
    let middle = |i: usize| cells[i].y + cells[i].height() / 2.0;
    let (mut px, mut py) = (x(cells[from].layer) + WIDTH, middle(from));
    let _ = write!(out, "<path class=\"edge\" d=\"M{px:.1} {py:.1}");
    let mut at = next;
    loop {
        let (nx, ny) = (x(cells[at].layer), middle(at));
        let bend = (nx - px) / 2.0;
        let _ = write!(out, " C{:.1} {py:.1} {:.1} {ny:.1} {nx:.1} {ny:.1}", px + bend, nx - bend);
        if cells[at].node.is_some() {
            break;
        }
        let _ = write!(out, " H{:.1}", nx + WIDTH);
        (px, py) = (nx + WIDTH, ny);
        let Some(&further) = cells[at].after.first() else { break };
        at = further;
    }
    out.push_str("\"/>\n");
}

fn draw(out: &mut String, node: &NodeView, x: f64, y: f64) {
    let class = match (node.cached, node.evaluations) {
        (true, _) => "stored",
        (false, Some(_)) => "search",
        (false, None) => "box",
    };
    let facts = [
        Some(node.kind.clone()),
        node.evaluations.map(|n| format!("{} evaluations", count(n))),
        node.steps.map(|(n, _)| format!("{} steps", count(n))),
        node.rows.map(|n| format!("{} rows", count(n))),
        node.cached.then(|| "stored".to_owned()),
        node.seconds.map(duration),
    ];
    let facts = facts.into_iter().flatten().collect::<Vec<_>>().join(" · ");
    let _ = writeln!(
        out,
        "<g><title>{}</title><rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"7\"/>\
         <text class=\"name\" x=\"{:.1}\" y=\"{:.1}\">{}</text><text class=\"kind\" x=\"{:.1}\" y=\"{:.1}\">{}</text></g>",
        escape(&format!("{}\n{facts}", node.name)),
        x + 10.0,
        y + 19.0,
        escape(&fitting(&node.name, 21)),
        x + 10.0,
        y + 36.0,
        escape(&fitting(&facts, 29)),
    );
}

/// As much of a text as fits: so many narrow characters, or half as many wide ones.
fn fitting(text: &str, columns: usize) -> String {
    let mut longest = text.chars().count();
    while longest > 1 && shortened(text, longest).width() > columns {
        longest -= 1;
    }
    shortened(text, longest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Key;

    fn node(name: &str, inputs: &[usize]) -> NodeView {
        NodeView {
            node: Key::of("test", &[name.as_bytes()]),
            name: name.into(),
            kind: "train".into(),
            inputs: inputs.to_vec(),
            cached: false,
            quick: false,
            evaluations: None,
            steps: None,
            rows: None,
            seconds: None,
            memory: None,
            candidates: None,
            cost: None,
        }
    }

    #[test]
    fn every_edge_goes_to_the_right_and_no_two_cells_meet() {
        let nodes = vec![
            node("a", &[]),
            node("b", &[0]),
            node("c", &[0]),
            node("d", &[1, 2]),
            node("e", &[0, 3]),
            node("f", &[]),
        ];
        let mut cells = cells(&nodes);
        let layers = layers(&mut cells);
        place(&mut cells, &layers);
        for cell in &cells {
            assert!(cell.after.iter().all(|&next| cells[next].layer == cell.layer + 1));
        }
        for layer in &layers {
            for pair in layer.windows(2) {
                let bottom = cells[pair[0]].y + cells[pair[0]].height();
                assert!(cells[pair[1]].y + 1e-6 >= bottom + GAP.1, "{} {bottom}", cells[pair[1]].y);
            }
        }
        assert_eq!(cells[4].layer, 3);
    }

    #[test]
    fn a_drawing_names_every_node_once_and_escapes_it() {
        let nodes = vec![node("a<b>", &[]), node("c", &[0])];
        let svg = graph(&Overview { nodes, requests: vec![] });
        assert_eq!(svg.matches("class=\"name\"").count(), 2);
        assert_eq!(svg.matches("<path class=\"edge\"").count(), 1);
        assert!(svg.contains(">a&lt;b&gt;</text>") && !svg.contains("a<b>"));
        assert!(graph(&Overview::default()).contains("<svg"));
    }
}
