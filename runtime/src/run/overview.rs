//! A plan for people: its nodes, what is cached, what changed, and outputs that collide.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use evo_lang::diag::{Code, Diagnostic};
use evo_lang::plan::{Demand, Elaborator, Node, NodeId, Op, PlannedRequest};
use evo_lang::span::SourceMap;
use evo_stdlib::bind::Manner;

use super::estimate::{self, Measured};
use super::execute::{Ready, demanded, library, roots};
use super::naming;
use super::world::datum;
use crate::engine::{Candidates, Explanation, Failure, Host, NodeView, Overview};
use crate::render::shortened;
use crate::store::Store;

/// What an overview is made from.
pub(crate) struct View<'v> {
    pub(crate) host: &'v Host,
    /// The program's name.
    pub(crate) program: &'v str,
    pub(crate) ready: &'v Ready,
    pub(crate) sources: &'v SourceMap,
}

/// The nodes that requests demand, with what is known of their cost.
pub(crate) fn overview(view: &View<'_>) -> Result<Overview, Failure> {
    let View { host, program, ready: Ready { elaborator, requests }, sources } = view;
    let store = Store::open_if_there(&host.store)?;
    let measured = Measured::read(&host.runs, program);
    let ids = shown(elaborator, requests);
    let workers = estimate::workers(elaborator, host.memory, host.jobs);
    let residuals = estimate::residuals(elaborator, host.memory, workers) as u64;
    let mut nodes = Vec::with_capacity(ids.len());
    for id in &ids {
        let node = elaborator.graph().node(*id);
        let (name, kind, cached) = (naming::name(node, sources), kind(node), is_cached(store.as_ref(), node)?);
        let bounds = estimate::bounds(elaborator, node);
        let before = measured.seconds(&node.key, &kind, &name, bounds.evaluations);
        let seconds = match (before, bounds.seconds) {
            (Some(before), Some(limit)) => Some(before.min(limit)),
            (before, limit) => before.or(limit),
        };
        nodes.push(NodeView {
            node: node.key,
            name,
            kind,
            inputs: shown_inputs(elaborator, *id).iter().filter_map(|i| ids.iter().position(|id| id == i)).collect(),
            cached,
            quick: is_quick(node)?,
            evaluations: bounds.evaluations,
            steps: estimate::steps(elaborator, node),
            rows: estimate::rows(elaborator, node),
            seconds: seconds.filter(|_| !cached),
            memory: estimate::memory(elaborator, node, workers),
            candidates: estimate::candidates(elaborator, node, host.memory)
                .map(|candidates| Candidates { residuals, ..candidates }),
            cost: None,
        });
    }
    Ok(Overview { nodes, requests: requests.iter().map(|r| r.text.to_string()).collect() })
}

/// Library calls that the requests need, those inside a search's functions included; inputs before users.
fn shown(elaborator: &Elaborator, requests: &[PlannedRequest]) -> Vec<NodeId> {
    let mut seen = BTreeSet::new();
    let mut stack: Vec<NodeId> = requests.iter().flat_map(|r| roots(&r.demand)).collect();
    while let Some(id) = stack.pop() {
        if seen.insert(id) {
            stack.extend(elaborator.graph().node(id).inputs.iter());
            stack.extend(elaborator.probe(id));
        }
    }
    seen.retain(|id| is_shown(elaborator.graph().node(*id)));
    inputs_first(elaborator, seen.into_iter().collect())
}

/// A search reads what its functions read: nodes that were made after it.
fn inputs_first(elaborator: &Elaborator, ids: Vec<NodeId>) -> Vec<NodeId> {
    let mut ordered = Vec::with_capacity(ids.len());
    let mut left = ids;
    while !left.is_empty() {
        let waits = |id: &NodeId| shown_inputs(elaborator, *id).iter().any(|input| left.contains(input));
        let (later, now): (Vec<NodeId>, Vec<NodeId>) = left.iter().partition(|id| waits(id));
        if now.is_empty() {
            ordered.extend(later);
            break;
        }
        ordered.extend(now);
        left = later;
    }
    ordered
}

/// Library calls are shown; plain values and structure are not.
fn is_shown(node: &Node) -> bool {
    matches!(node.op, Op::Extern(_)) && !node.hypothetical
}

fn kind(node: &Node) -> String {
    match &node.op {
        Op::Extern(ext) => ext.name.to_string(),
        _ => String::new(),
    }
}

/// The nearest shown nodes that a node is computed from, through structure and a search's functions.
fn shown_inputs(elaborator: &Elaborator, id: NodeId) -> Vec<NodeId> {
    let mut found = Vec::new();
    let mut seen = BTreeMap::new();
    let mut stack: Vec<NodeId> = elaborator.graph().node(id).inputs.to_vec();
    while let Some(id) = stack.pop() {
        if seen.insert(id, ()).is_some() {
            continue;
        }
        let node = elaborator.graph().node(id);
        if is_shown(node) {
            found.push(id);
            continue;
        }
        stack.extend(node.inputs.iter());
        stack.extend(elaborator.probe(id));
    }
    found.sort();
    found
}

/// Whether a node takes no time worth measuring: data, settings, a merge in memory.
fn is_quick(node: &Node) -> Result<bool, Failure> {
    let Op::Extern(ext) = &node.op else { return Ok(true) };
    Ok(library()?.builtin(ext).is_some_and(|b| !b.keep && b.manner == Manner::Work))
}

fn is_cached(store: Option<&Store>, node: &Node) -> Result<bool, Failure> {
    let Op::Extern(ext) = &node.op else { return Ok(false) };
    let keeps = library()?.builtin(ext).is_some_and(|b| b.keep);
    Ok(match store {
        Some(store) if keeps && !node.local => store.has(&node.key)?,
        _ => false,
    })
}

/// For each node that takes time: stored, or which of its inputs is new since the last run.
pub(crate) fn explain(view: &View<'_>) -> Result<Vec<Explanation>, Failure> {
    let store = Store::open_if_there(&view.host.store)?;
    let last = LastPlan::read(&view.host.store);
    let mut explanations = Vec::new();
    for (name, id) in explained(view)? {
        let node = view.ready.elaborator.graph().node(id);
        let before = last.terms.get(&name).map(|before| changed(before, &terms(&view.ready.elaborator, node)));
        let reason = match (before, is_quick(node)?) {
            _ if is_cached(store.as_ref(), node)? => "stored: nothing that it reads has changed".to_owned(),
            (None, _) => "new: no run had it before".to_owned(),
            (Some(changes), true) if changes.is_empty() => continue, // made anew by every run, in no time
            (Some(changes), _) if changes.is_empty() => {
                "to do: nothing has changed, but no result is stored".to_owned()
            }
            (Some(changes), _) => format!("to do: {}", changes.join("; ")),
        };
        explanations.push(Explanation { node: node.key, name, reason });
    }
    Ok(explanations)
}

/// Keeps the terms of a plan that is run: the next explanation is measured by them.
pub(crate) fn remember(view: &View<'_>) -> Result<(), Failure> {
    let mut now = LastPlan::default();
    for (name, id) in explained(view)? {
        let node = view.ready.elaborator.graph().node(id);
        now.terms.insert(name, terms(&view.ready.elaborator, node));
    }
    now.write(&view.host.store);
    Ok(())
}

/// The nodes that are worth an explanation, under names that tell them apart.
fn explained(view: &View<'_>) -> Result<Vec<(String, NodeId)>, Failure> {
    let Ready { elaborator, requests } = view.ready;
    let mut found: Vec<(String, NodeId)> = Vec::new();
    for id in shown(elaborator, requests) {
        let node = elaborator.graph().node(id);
        if is_quick(node)? && node.label.is_none() {
            continue;
        }
        let name = naming::name(node, view.sources);
        let again = found.iter().filter(|(other, _)| other.split(" #").next() == Some(&*name)).count();
        found.push((if again > 0 { format!("{name} #{}", again + 1) } else { name }, id));
    }
    Ok(found)
}

/// What enters a node's identity, by parameter: short keys.
fn terms(elaborator: &Elaborator, node: &Node) -> BTreeMap<String, String> {
    let Op::Extern(ext) = &node.op else { return BTreeMap::new() };
    let named = ext.params.iter().map(|p| p.name.to_string()).chain(std::iter::once("genome".to_owned()));
    let mut terms: BTreeMap<String, String> = named
        .zip(node.inputs.iter())
        .map(|(name, id)| {
            let key = match elaborator.graph().constant(*id) {
                Some(value) => shortened(&serde_json::to_string(&datum(value)).unwrap_or_default(), 60),
                None => format!("{COMPUTED}{}", elaborator.graph().node(*id).key.short()),
            };
            (name, key)
        })
        .collect();
    terms.insert(
        "content".to_owned(),
        if node.inputs.iter().all(|i| elaborator.graph().constant(*i).is_some()) {
            format!("{COMPUTED}{}", node.key.short())
        } else {
            String::new()
        },
    );
    terms
}

/// The terms that are not what they were. One that is computed itself has a line of its own.
fn changed(before: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> Vec<String> {
    let differs = |(name, value): &(&String, &String)| before.get(*name) != Some(*value) && !value.is_empty();
    let told = |(name, value): (&String, &String)| match before.get(name) {
        Some(old) if !value.starts_with(COMPUTED) && !old.starts_with(COMPUTED) => {
            format!("`{name}` was {old}, is {value}")
        }
        _ => format!("`{name}` changed"),
    };
    now.iter().filter(differs).map(told).collect()
}

/// Stands before the identity of a term that is no plain value.
const COMPUTED: char = '@';

/// The terms of the plan that `--explain` saw last, beside the store.
#[derive(Default, serde::Serialize, serde::Deserialize)]
struct LastPlan {
    terms: BTreeMap<String, BTreeMap<String, String>>,
}

impl LastPlan {
    const FILE: &'static str = "explained.json";

    fn read(store: &Path) -> LastPlan {
        let text = std::fs::read_to_string(store.join(Self::FILE)).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// A plan that cannot be kept only makes the next explanation poorer.
    fn write(&self, store: &Path) {
        if let Ok(text) = serde_json::to_vec(self) {
            let _ = crate::files::write_whole(&store.join(Self::FILE), &text);
        }
    }
}

/// Two outputs to one path, or a path both written and read.
pub(crate) fn conflicts(elaborator: &Elaborator, requests: &[PlannedRequest]) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let mut written = BTreeMap::new();
    for request in requests {
        let path = match &request.demand {
            Demand::Save { path, .. } | Demand::Plot { path: Some(path), .. } => path,
            _ => continue,
        };
        let normal = Path::new(&**path).components().collect::<std::path::PathBuf>();
        if let Some(first) = written.insert(normal, request.span) {
            found.push(
                Diagnostic::error(
                    Code::E0341,
                    request.span,
                    format!("two outputs go to `{path}`"),
                    "written a second time",
                )
                .label(first, "written here first")
                .help("give each output a path of its own"),
            );
        }
    }
    for (_, node) in elaborator.graph().iter() {
        let Op::Extern(ext) = &node.op else { continue };
        let Some(input) = ext.params.iter().position(|p| p.input).and_then(|i| node.inputs.get(i)) else { continue };
        let read = elaborator.graph().constant(*input).and_then(|path| path.as_text().cloned());
        let normal = read.map(|path| Path::new(&*path).components().collect::<std::path::PathBuf>());
        if let Some(first) = normal.and_then(|path| written.get(&path)) {
            found.push(
                Diagnostic::error(Code::E0341, *first, "a path is both written and read", "written here")
                    .label(node.span, "read here")
                    .help("write to another path"),
            );
        }
    }
    found
}

/// The graph as text, for `--emit plan`.
pub(crate) fn dump(elaborator: &Elaborator, requests: &[PlannedRequest]) -> String {
    let mut text = String::new();
    for id in demanded(elaborator, requests) {
        let node = elaborator.graph().node(id);
        let inputs: Vec<String> = node.inputs.iter().map(|i| format!("%{}", i.0)).collect();
        let what = match &node.op {
            Op::Const(value) => format!("const {}", shortened(&format!("{value:?}"), 60)),
            Op::Hypothesis => "stand-in".to_owned(),
            Op::Given => "given".to_owned(),
            Op::Extern(ext) => format!("{}({})", ext.name, inputs.join(", ")),
            Op::Numeric(code) => format!("code {}({})", code.key.short(), inputs.join(", ")),
            Op::NumericClosure(code) => format!("closure of code {}[{}]", code.key.short(), inputs.join(", ")),
            Op::Closure(closure) => match elaborator.probe(id) {
                Some(body) => format!("closure {} → %{}", closure.name.as_deref().unwrap_or(""), body.0),
                None => format!("closure {}", closure.name.as_deref().unwrap_or("")),
            },
            Op::List => format!("[{}]", inputs.join(", ")),
            Op::Tuple => format!("({})", inputs.join(", ")),
            Op::Record(names) => {
                let fields: Vec<String> = names.iter().zip(&inputs).map(|(n, i)| format!("{n}: {i}")).collect();
                format!("{{ {} }}", fields.join(", "))
            }
            Op::Field(name) => format!("{}.{name}", inputs.join("")),
            Op::Index => inputs.join(" at "),
            Op::If => format!("if {}", inputs.join(", ")),
            Op::Concat => inputs.join(" then "),
            Op::Program(_) => "program".to_owned(),
        };
        let label = node.label.as_ref().map(|l| format!(" {l}")).unwrap_or_default();
        text.push_str(&format!("%{} {}{label}: {} = {what}\n", id.0, node.key.short(), node.ty));
    }
    for request in requests {
        text.push_str(&format!("{}\n", request.text));
    }
    text
}
