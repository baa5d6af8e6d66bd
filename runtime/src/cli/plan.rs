//! `evo plan`.

use super::args::PlanArgs;
use super::{Stop, named, run, screen, settings};
use crate::datum::{Datum, Table};
use crate::engine::{Candidates, Engine, Failure, NodeView, Overview, Plan};
use crate::files;
use crate::render::{self, shortened};

/// Shows a program's plan.
pub(super) fn plan(args: &PlanArgs) -> Result<u8, Stop> {
    let in_form = |failure| Stop::Failure(failure, args.json);
    let engine = Engine::new();
    let file = named(&engine, args.file.as_deref()).map_err(in_form)?;
    let program = engine.load(&file).map_err(in_form)?;
    let plan = program.plan(&settings(&args.settings)).map_err(in_form)?;
    run::warn(&plan, args.json)?;
    if args.explain {
        run::explain(&plan).map_err(in_form)?;
    }
    if let Some(path) = &args.svg {
        let drawn = render::graph(&plan.overview()?);
        let written = files::write_whole(path, drawn.as_bytes());
        written.map_err(|e| Failure::from(crate::DiskError::from_io(path, &e)))?;
        screen::note(&format!("drew {}", path.display()));
        return Ok(0);
    }
    show(&plan, args.json).map(|()| 0)
}

/// Writes an overview of a plan to stdout.
pub(super) fn show(plan: &Plan, json: bool) -> Result<(), Stop> {
    let overview = plan.overview().map_err(|failure| Stop::Failure(failure, json))?;
    let written = if json { screen::json(&overview) } else { screen::result(&text(&overview)) };
    Ok(written?)
}

pub(crate) fn text(overview: &Overview) -> String {
    let names: Vec<&str> = overview.nodes.iter().map(|node| node.name.as_str()).collect();
    let columns = ["node", "kind", "from", "work", "time", "memory", "cost", ""].map(String::from).to_vec();
    let rows = overview.nodes.iter().map(|node| row(node, &names)).collect();
    let mut parts = vec![render::table(&without_empty(Table { title: None, columns, rows }))];
    parts.extend(total(&overview.nodes));
    parts.extend(overview.requests.iter().map(|request| format!("  {}", shortened(request, 100))));
    parts.join("\n")
}

fn row(node: &NodeView, names: &[&str]) -> Vec<Datum> {
    let text = |text: Option<String>| text.map_or(Datum::Missing, Datum::Text);
    let from: Vec<&str> = node.inputs.iter().filter_map(|input| names.get(*input).copied()).collect();
    let from = shortened(&from.join(", "), 32);
    let time = match node.seconds {
        Some(seconds) => Some(render::duration(seconds)),
        None => (!node.quick && !node.cached).then(|| "unknown".to_owned()),
    };
    let state = match (node.cached, node.quick) {
        (true, _) => Some("stored"),
        (false, true) => None,
        (false, false) => Some("to do"),
    };
    vec![
        Datum::Text(node.name.clone()),
        Datum::Text(node.kind.clone()),
        text((!from.is_empty()).then_some(from)),
        text(work(node)),
        text(time),
        text(node.memory.map(render::bytes)),
        text(node.cost.map(|cost| format!("{cost:.2} usd"))),
        text(state.map(str::to_owned)),
    ]
}

/// Leaves out columns in which nothing is known.
fn without_empty(table: Table) -> Table {
    let known = |index: usize| table.rows.iter().any(|row| row.get(index).is_some_and(|cell| *cell != Datum::Missing));
    let keep: Vec<bool> = (0..table.columns.len()).map(|index| index < 2 || known(index)).collect();
    fn pick<T>(items: Vec<T>, keep: &[bool]) -> Vec<T> {
        items.into_iter().zip(keep).filter(|(_, keep)| **keep).map(|(item, _)| item).collect()
    }
    let rows = table.rows.into_iter().map(|row| pick(row, &keep)).collect();
    Table { title: table.title, columns: pick(table.columns, &keep), rows }
}

/// What a node goes through.
fn work(node: &NodeView) -> Option<String> {
    let evaluations = || node.evaluations.map(|n| format!("{} evaluations", render::count(n)));
    let steps = || node.steps.map(|(n, batch)| format!("{} steps of {batch}", render::count(n)));
    let rows = || node.rows.map(|n| format!("{} rows", render::count(n)));
    evaluations().or_else(steps).or_else(rows)
}

/// What there is to do, and what is known of it.
fn total(nodes: &[NodeView]) -> Vec<String> {
    let long: Vec<&NodeView> = nodes.iter().filter(|node| !node.quick).collect();
    let stored = long.iter().filter(|node| node.cached).count();
    let to_do: Vec<&NodeView> = long.iter().copied().filter(|node| !node.cached).collect();
    let evaluations: u64 = to_do.iter().filter_map(|node| node.evaluations).sum();
    let seconds: f64 = to_do.iter().filter_map(|node| node.seconds).sum();
    let unknown = to_do.iter().filter(|node| node.seconds.is_none()).count();
    let cost: f64 = to_do.iter().filter_map(|node| node.cost).sum();
    let mut parts = vec![format!("{} nodes: {stored} stored, {} to do", nodes.len(), to_do.len())];
    if evaluations > 0 {
        parts[0] += &format!(" with at most {} evaluations", render::count(evaluations));
    }
    if !to_do.is_empty() {
        parts.push(match (seconds > 0.0, unknown) {
            (true, 0) => format!("time: about {}, as earlier runs measured it", render::duration(seconds)),
            (true, _) => {
                let several = if unknown == 1 { "node" } else { "nodes" };
                format!("time: about {} and {unknown} {several} that no run has measured", render::duration(seconds))
            }
            (false, _) => "time: unknown, since no run has measured these nodes".to_owned(),
        });
    }
    let models: u64 = nodes.iter().filter(|node| node.quick || node.kind == "train").filter_map(weights).sum();
    let most = to_do.iter().filter_map(|node| node.memory).max().unwrap_or(0);
    if models + most > 0 {
        parts.push(format!("memory: about {}, activations of trainings not counted", render::bytes(models + most)));
    }
    for node in to_do {
        let Some(Candidates { bytes, fit, residuals }) = node.candidates else { continue };
        let fits = match fit {
            Some(1) => ", one fits into memory at a time".to_owned(),
            Some(fit) => format!(", {} fit into memory at a time", render::count(fit)),
            None => String::new(),
        };
        let shared = match residuals {
            0 => String::new(),
            bytes => format!(", what they share at most {}", render::bytes(bytes)),
        };
        parts.push(format!("candidates of {}: about {} each{fits}{shared}", node.name, render::bytes(bytes)));
    }
    if cost > 0.0 {
        parts.push(format!("cost: at most {cost:.2} usd"));
    }
    parts
}

/// The bytes that a model keeps for the rest of the run: of a training a quarter of what it takes.
fn weights(node: &NodeView) -> Option<u64> {
    node.memory.map(|memory| if node.kind == "train" { memory / 4 } else { memory })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Key;

    #[test]
    fn shows_what_is_known_and_the_sum_of_what_is_left() {
        let node = |name: &str, kind: &str, inputs: Vec<usize>, cached: bool, seconds: Option<f64>| NodeView {
            node: Key::of("test", &[name.as_bytes()]),
            name: name.into(),
            kind: kind.into(),
            inputs,
            cached,
            quick: kind == "hf",
            evaluations: (kind == "evolve").then_some(1200),
            steps: (kind == "train").then_some((100, 32)),
            rows: (kind == "score").then_some(400),
            seconds,
            memory: (kind == "hf").then_some(3_000_000),
            candidates: (kind == "evolve").then_some(Candidates {
                bytes: 2_000_000,
                fit: Some(40),
                residuals: 2_000_000,
            }),
            cost: None,
        };
        let nodes = vec![
            node("base", "hf", vec![], false, None),
            node("reader", "train", vec![0], true, None),
            node("search", "evolve", vec![0, 1], false, Some(30.0)),
            node("score(m, t)", "score", vec![2], false, None),
        ];
        let text = text(&Overview { nodes, requests: vec!["print search.best".into()] });
        let expected = [
            "node         kind    from          work               time     memory",
            "───────────  ──────  ────────────  ─────────────────  ───────  ──────  ──────",
            "base         hf      –             –                  –        3.0 MB  –",
            "reader       train   base          100 steps of 32    –        –       stored",
            "search       evolve  base, reader  1,200 evaluations  30 s     –       to do",
            "score(m, t)  score   search        400 rows           unknown  –       to do",
            "4 nodes: 1 stored, 2 to do with at most 1,200 evaluations",
            "time: about 30 s and 1 node that no run has measured",
            "memory: about 3.0 MB, activations of trainings not counted",
            "candidates of search: about 2.0 MB each, 40 fit into memory at a time, what they share at most 2.0 MB",
            "  print search.best",
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }
}
