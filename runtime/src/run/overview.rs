//! A plan for people: its nodes, what is cached, what changed, and outputs that collide.

use std::collections::BTreeMap;
use std::path::Path;

use evo_lang::diag::{Code, Diagnostic};
use evo_lang::plan::{Const, Demand, Elaborator, Node, NodeId, Op, PlannedRequest};

use super::execute::{demanded, library};
use crate::engine::{Explanation, Failure, Host, NodeView, Overview};
use crate::store::Store;

/// The nodes that requests demand, with what is known of their cost.
pub(crate) fn overview(host: &Host, elaborator: &Elaborator, requests: &[PlannedRequest]) -> Result<Overview, Failure> {
    let store = Store::open_if_there(&host.store)?;
    let ids: Vec<NodeId> =
        demanded(elaborator, requests).into_iter().filter(|id| is_shown(&node(elaborator, *id))).collect();
    let mut nodes = Vec::with_capacity(ids.len());
    for id in &ids {
        let node = node(elaborator, *id);
        nodes.push(NodeView {
            node: node.key,
            name: name(&node),
            kind: kind(&node),
            inputs: shown_inputs(elaborator, *id).iter().filter_map(|i| ids.iter().position(|id| id == i)).collect(),
            cached: is_cached(store.as_ref(), &node)?,
            evaluations: evaluations(elaborator, &node),
            seconds: None,
            memory: None,
            cost: None,
        });
    }
    Ok(Overview { nodes, requests: requests.iter().map(|r| r.text.to_string()).collect() })
}

fn node(elaborator: &Elaborator, id: NodeId) -> Node {
    (**elaborator.graph().node(id)).clone()
}

/// Library calls are shown; plain values and structure are not.
fn is_shown(node: &Node) -> bool {
    matches!(node.op, Op::Extern(_)) && !node.hypothetical
}

fn name(node: &Node) -> String {
    match (&node.label, &node.op) {
        (Some(label), _) => label.to_string(),
        (None, Op::Extern(ext)) => ext.name.to_string(),
        _ => String::new(),
    }
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

/// The evaluations that a search's `stop` allows, where it says so directly.
fn evaluations(elaborator: &Elaborator, node: &Node) -> Option<u64> {
    let Op::Extern(ext) = &node.op else { return None };
    let i = ext.params.iter().position(|p| &*p.name == "stop")?;
    let stop = elaborator.graph().constant(*node.inputs.get(i)?)?;
    stop.field("evaluations").and_then(Const::as_int).and_then(|n| u64::try_from(n).ok())
}

fn is_cached(store: Option<&Store>, node: &Node) -> Result<bool, Failure> {
    let Op::Extern(ext) = &node.op else { return Ok(false) };
    let keeps = library()?.builtin(ext).is_some_and(|b| b.keep);
    Ok(match store {
        Some(store) if keeps => store.has(&node.key)?,
        _ => false,
    })
}

/// For each kept node: cached, or which of its inputs is new.
pub(crate) fn explain(
    host: &Host,
    elaborator: &Elaborator,
    requests: &[PlannedRequest],
) -> Result<Vec<Explanation>, Failure> {
    let store = Store::open_if_there(&host.store)?;
    let last = LastPlan::read(&host.store);
    let mut now = LastPlan::default();
    let mut explanations = Vec::new();
    for id in demanded(elaborator, requests) {
        let node = node(elaborator, id);
        if !is_shown(&node) || node.label.is_none() && !is_cached(store.as_ref(), &node)? {
            continue;
        }
        let terms = terms(elaborator, &node);
        let name = name(&node);
        let reason = match last.terms.get(&name) {
            _ if is_cached(store.as_ref(), &node)? => "cached: nothing that it reads has changed".to_owned(),
            None => "new: no earlier plan had it".to_owned(),
            Some(before) => changed(before, &terms),
        };
        now.terms.insert(name.clone(), terms);
        explanations.push(Explanation { node: node.key, name, reason });
    }
    now.write(&host.store);
    Ok(explanations)
}

/// What enters a node's identity, by parameter: short keys.
fn terms(elaborator: &Elaborator, node: &Node) -> BTreeMap<String, String> {
    let Op::Extern(ext) = &node.op else { return BTreeMap::new() };
    let named = ext.params.iter().map(|p| p.name.to_string()).chain(std::iter::once("genome".to_owned()));
    let mut terms: BTreeMap<String, String> = named
        .zip(node.inputs.iter())
        .map(|(name, id)| {
            let key = match elaborator.graph().constant(*id) {
                Some(value) => short(&format!("{value:?}")),
                None => elaborator.graph().node(*id).key.short(),
            };
            (name, key)
        })
        .collect();
    terms.insert(
        "content".to_owned(),
        if node.inputs.iter().all(|i| elaborator.graph().constant(*i).is_some()) {
            node.key.short()
        } else {
            String::new()
        },
    );
    terms
}

fn short(text: &str) -> String {
    let mut text: String = text.chars().take(60).collect();
    if text.chars().count() == 60 {
        text.push('…');
    }
    text
}

fn changed(before: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> String {
    let terms: Vec<String> = now
        .iter()
        .filter(|(name, value)| before.get(*name) != Some(value) && !value.is_empty())
        .map(|(name, value)| match before.get(name) {
            Some(old) if name != "content" => format!("`{name}` was {old}, is {value}"),
            _ => format!("`{name}` changed"),
        })
        .collect();
    match terms.is_empty() {
        true => "not stored: nothing that it reads has changed".to_owned(),
        false => terms.join("; "),
    }
}

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
        if !matches!(&*ext.name, "hf" | "gguf" | "jsonl") {
            continue;
        }
        let read = node.inputs.first().and_then(|id| elaborator.graph().constant(*id)?.as_text().cloned());
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
            Op::Const(value) => format!("const {}", short(&format!("{value:?}"))),
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
        };
        let label = node.label.as_ref().map(|l| format!(" {l}")).unwrap_or_default();
        text.push_str(&format!("%{} {}{label}: {} = {what}\n", id.0, node.key.short(), node.ty));
    }
    for request in requests {
        text.push_str(&format!("{}\n", request.text));
    }
    text
}
