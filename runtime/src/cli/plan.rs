//! `evo plan`.

use super::args::PlanArgs;
use super::{Stop, run, screen, settings};
use crate::datum::{Datum, Table};
use crate::engine::{Engine, NodeView, Overview, Plan};
use crate::render;

/// Shows a program's plan.
pub(super) fn plan(args: &PlanArgs) -> Result<u8, Stop> {
    let in_form = |failure| Stop::Failure(failure, args.json);
    let program = Engine::new().load(&args.file).map_err(in_form)?;
    let plan = program.plan(&settings(&args.settings)).map_err(in_form)?;
    run::warn(&plan, args.json)?;
    show(&plan, args.json).map(|()| 0)
}

/// Writes an overview of a plan to stdout.
pub(super) fn show(plan: &Plan, json: bool) -> Result<(), Stop> {
    let overview = plan.overview().map_err(|failure| Stop::Failure(failure, json))?;
    let written = if json { screen::json(&overview) } else { screen::result(&text(&overview)) };
    Ok(written?)
}

fn text(overview: &Overview) -> String {
    let names: Vec<&str> = overview.nodes.iter().map(|node| node.name.as_str()).collect();
    let columns = ["node", "kind", "from", "evaluations", "time", "memory", "cost", ""].map(String::from).to_vec();
    let rows = overview.nodes.iter().map(|node| row(node, &names)).collect();
    let mut parts = vec![render::table(&without_empty(Table { title: None, columns, rows }))];
    parts.push(total(&overview.nodes));
    parts.extend(overview.requests.iter().map(|request| format!("  {request}")));
    parts.join("\n")
}

fn row(node: &NodeView, names: &[&str]) -> Vec<Datum> {
    let text = |text: Option<String>| text.map_or(Datum::Missing, Datum::Text);
    let from: Vec<&str> = node.inputs.iter().filter_map(|input| names.get(*input).copied()).collect();
    vec![
        Datum::Text(node.name.clone()),
        Datum::Text(node.kind.clone()),
        text((!from.is_empty()).then(|| from.join(", "))),
        node.evaluations.map_or(Datum::Missing, |count| Datum::Text(render::count(count))),
        text(node.seconds.map(render::duration)),
        text(node.memory.map(render::bytes)),
        text(node.cost.map(|cost| format!("{cost:.2} usd"))),
        text(node.cached.then(|| "stored".to_owned())),
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

fn total(nodes: &[NodeView]) -> String {
    let stored = nodes.iter().filter(|node| node.cached).count();
    let to_do = || nodes.iter().filter(|node| !node.cached);
    let evaluations: u64 = to_do().filter_map(|node| node.evaluations).sum();
    let seconds: f64 = to_do().filter_map(|node| node.seconds).sum();
    let cost: f64 = to_do().filter_map(|node| node.cost).sum();
    let mut parts = vec![format!("{} nodes", nodes.len())];
    if stored > 0 {
        parts.push(format!("{stored} stored"));
    }
    if evaluations > 0 {
        parts.push(format!("at most {} evaluations", render::count(evaluations)));
    }
    if seconds > 0.0 {
        parts.push(format!("about {} on one core", render::duration(seconds)));
    }
    if cost > 0.0 {
        parts.push(format!("at most {cost:.2} usd"));
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Key;

    #[test]
    fn shows_what_is_known_and_the_sum_of_what_is_left() {
        let node = |name: &str, kind: &str, inputs: Vec<usize>, cached: bool, evaluations: Option<u64>| NodeView {
            node: Key::of("test", &[name.as_bytes()]),
            name: name.into(),
            kind: kind.into(),
            inputs,
            cached,
            evaluations,
            seconds: Some(30.0),
            memory: None,
            cost: None,
        };
        let nodes =
            vec![node("reader", "train", vec![], true, None), node("search", "evolve", vec![0], false, Some(1200))];
        let text = text(&Overview { nodes, requests: vec!["print search.best".into()] });
        let expected = [
            "node    kind    from    evaluations  time",
            "──────  ──────  ──────  ───────────  ────  ──────",
            "reader  train   –       –            30 s  stored",
            "search  evolve  reader  1,200        30 s  –",
            "2 nodes, 1 stored, at most 1,200 evaluations, about 30 s on one core",
            "  print search.best",
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }
}
