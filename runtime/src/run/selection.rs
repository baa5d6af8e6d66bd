//! Data that both select and report: a search's result, printed with a score on the data that the search maximized on.

use std::collections::{BTreeMap, BTreeSet};

use evo_lang::diag::{Code, Diagnostic};
use evo_lang::plan::{Demand, Elaborator, Key, Node, NodeId, Op, PlannedRequest};
use evo_lang::span::Span;
use evo_stdlib::task::bind::TaskFacts;

/// Scores that a table reports on data by which the model was selected.
pub(crate) fn conflicts(elaborator: &Elaborator, requests: &[PlannedRequest]) -> Vec<Diagnostic> {
    let graph = Looked { elaborator };
    let searches: Vec<Search> = elaborator.graph().iter().filter_map(|(id, node)| graph.search(id, node)).collect();
    if searches.is_empty() {
        return Vec::new();
    }
    let by_key: BTreeMap<Key, NodeId> = elaborator.graph().iter().map(|(id, node)| (node.key, id)).collect();
    let printed = requests.iter().filter_map(|request| match request.demand {
        Demand::Print(value) => Some(value),
        _ => None,
    });
    let printed: Vec<NodeId> = printed.collect();
    let mut found = Vec::new();
    for id in graph.below(&printed, false) {
        let Some((model, data)) = graph.score(id) else { continue };
        let ancestors = graph.below(&[model], false);
        let overlaps = |(key, _): &&(Key, Span)| match (by_key.get(key), by_key.get(&data)) {
            (Some(a), Some(b)) => graph.below(&[*a], false).contains(b) || graph.below(&[*b], false).contains(a),
            _ => *key == data,
        };
        let searches = searches.iter().filter(|search| ancestors.contains(&search.id));
        let selects = searches.filter_map(|search| Some((search, search.selects.iter().find(overlaps)?)));
        if let Some((search, (_, at))) = selects.into_iter().next() {
            found.push(told(&search.name, elaborator.graph().node(id).span, *at));
        }
    }
    found
}

fn told(search: &str, score: Span, selects: Span) -> Diagnostic {
    Diagnostic::warning(
        Code::E0419,
        score,
        format!("the data that `{search}` selects by also report its result"),
        "reported on the same data",
    )
    .label(selects, format!("`{search}` maximizes on them here"))
    .note("a search fits the data that it maximizes on, so that this figure would be too good")
    .help("split the data, as `d.split { search: 64, test: 400 }`, and report on the other part; the fitness reached is `.score` of the search")
}

/// A search and the data by which it selects, each with the place that says so.
struct Search {
    id: NodeId,
    name: String,
    selects: Vec<(Key, Span)>,
}

struct Looked<'e> {
    elaborator: &'e Elaborator,
}

impl Looked<'_> {
    fn search(&self, id: NodeId, node: &Node) -> Option<Search> {
        let Op::Extern(ext) = &node.op else { return None };
        let maximize = ext.params.iter().position(|p| &*p.name == "maximize")?;
        let body = self.elaborator.probe(*node.inputs.get(maximize)?)?;
        let graph = self.elaborator.graph();
        // Only what depends on the candidate selects it.
        let scores = self.below(&[body], true).into_iter().filter(|id| graph.node(*id).hypothetical);
        let selects = scores.filter_map(|id| Some((self.score(id)?.1, graph.node(id).span))).collect();
        let name = node.label.as_deref().unwrap_or(&ext.name).to_owned();
        Some(Search { id, name, selects })
    }

    /// The model that a score is of, and the identity of its data.
    fn score(&self, id: NodeId) -> Option<(NodeId, Key)> {
        let graph = self.elaborator.graph();
        let node = graph.node(id);
        let Op::Extern(ext) = &node.op else { return None };
        let (model, task) = match (&*ext.family, &*ext.name, &*node.inputs) {
            ("task", "score", [model, task]) => (*model, *task),
            _ => return None,
        };
        let facts = graph.node(task).fact.as_ref()?.downcast_ref::<TaskFacts>()?;
        Some((model, facts.data))
    }

    /// Nodes and all that they are computed from; with `bodies`, what functions compute too.
    fn below(&self, roots: &[NodeId], bodies: bool) -> BTreeSet<NodeId> {
        let mut seen = BTreeSet::new();
        let mut stack = roots.to_vec();
        while let Some(id) = stack.pop() {
            if seen.insert(id) {
                stack.extend(self.elaborator.graph().node(id).inputs.iter());
                stack.extend(self.elaborator.probe(id).filter(|_| bodies));
            }
        }
        seen
    }
}
