//! What a plan's nodes will take: time from what earlier runs measured, memory from the models' headers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use evo_lang::diag::{Code, Diagnostic};
use evo_lang::plan::{Const, Elaborator, Key, Node, NodeId, Op};
use evo_stdlib::data::DataFacts;
use evo_stdlib::model::safetensors::TensorHeader;
use evo_stdlib::model::{DType, ModelHeader};
use evo_stdlib::task::bind::TaskFacts;

use super::dir::{self, Record};
use super::journal;
use crate::engine::Candidates;
use crate::render;

/// Runs that are looked at, the newest first.
const RUNS: usize = 50;

/// Times that earlier runs took; of several the longest, since a run may have found half of it in the store.
#[derive(Default)]
pub(crate) struct Measured {
    by_node: BTreeMap<Key, f64>,
    /// Of whole (not tiny) runs of the same program, by kind and name.
    by_name: BTreeMap<(String, String), f64>,
    /// Seconds an evaluation, by the search's name.
    evaluation: BTreeMap<String, f64>,
}

impl Measured {
    /// What the journals in `runs` say. One that cannot be read says nothing.
    pub(crate) fn read(runs: &Path, program: &str) -> Measured {
        let mut measured = Measured::default();
        for run in dir::list(runs).unwrap_or_default().into_iter().rev().take(RUNS) {
            let (Ok(record), Ok(times)) = (Record::read(&run), journal::times(&run.join("run.db"))) else { continue };
            let is_like = record.identity.program == program && !record.identity.tiny;
            for time in times {
                longest(&mut measured.by_node, time.node, time.seconds);
                if !is_like {
                    continue;
                }
                if time.evaluations > 0 {
                    longest(&mut measured.evaluation, time.name.clone(), time.seconds / time.evaluations as f64);
                }
                longest(&mut measured.by_name, (time.kind, time.name), time.seconds);
            }
        }
        measured
    }

    /// The seconds that a node will take if it takes as long as before: the very node, else the node of this kind and
    /// name in an earlier run, a search by its evaluations.
    pub(crate) fn seconds(&self, node: &Key, kind: &str, name: &str, evaluations: Option<u64>) -> Option<f64> {
        let scaled = || Some(self.evaluation.get(name)? * evaluations? as f64);
        let named = || self.by_name.get(&(kind.to_owned(), name.to_owned())).copied();
        let known = self.by_node.get(node).copied();
        known.or_else(scaled).or_else(|| if self.evaluation.contains_key(name) { None } else { named() })
    }
}

fn longest<K: Ord>(of: &mut BTreeMap<K, f64>, key: K, seconds: f64) {
    let known = of.entry(key).or_insert(seconds);
    *known = known.max(seconds);
}

/// What a search's `stop` allows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Bounds {
    /// The most evaluations, where that is known before.
    pub(crate) evaluations: Option<u64>,
    /// The most seconds.
    pub(crate) seconds: Option<f64>,
}

/// The bounds of a search; none of any other node.
pub(crate) fn bounds(elaborator: &Elaborator, node: &Node) -> Bounds {
    let stop = argument(node, "stop");
    let limit = |name: &str| {
        let stop = elaborator.graph().constant(stop?)?;
        stop.field(name).and_then(Const::as_real)
    };
    let population = argument(node, "by").and_then(|by| {
        let by = elaborator.graph().node(by);
        elaborator.graph().constant(argument(by, "population")?)?.as_int()
    });
    let by_generations = limit("generations").zip(population).map(|(g, p)| g * p as f64);
    let evaluations = limit("evaluations").into_iter().chain(by_generations).min_by(f64::total_cmp);
    Bounds { evaluations: evaluations.map(|n| n.max(0.0) as u64), seconds: limit("time") }
}

/// The node that a call is given for a parameter.
fn argument(node: &Node, param: &str) -> Option<NodeId> {
    let Op::Extern(ext) = &node.op else { return None };
    let i = ext.params.iter().position(|p| &*p.name == param)?;
    node.inputs.get(i).copied()
}

/// How many rows a node makes, asks or scores, where that is known before.
pub(crate) fn rows(elaborator: &Elaborator, node: &Node) -> Option<u64> {
    let of = |node: &Node| {
        let fact = node.fact.as_ref()?;
        let data = fact.downcast_ref::<DataFacts>().and_then(|facts| facts.rows);
        data.or_else(|| fact.downcast_ref::<TaskFacts>()?.rows)
    };
    let task = argument(node, "t").map(|task| elaborator.graph().node(task));
    of(task.map_or(node, |task| task)).map(|rows| rows as u64)
}

/// The steps of a training, and the examples of each.
pub(crate) fn steps(elaborator: &Elaborator, node: &Node) -> Option<(u64, u64)> {
    let constant = |param| elaborator.graph().constant(argument(node, param)?);
    let count = |param| u64::try_from(constant(param)?.as_int()?).ok();
    let is_left_out = |param| constant(param) == Some(&Const::Nothing);
    let usual = (is_left_out("steps") && is_left_out("epochs")).then_some(evo_stdlib::train::STEPS as u64);
    let accumulated = count("accumulate").unwrap_or(1);
    count("steps").or(usual).zip(count("batch").map(|batch| batch * accumulated))
}

/// Bytes that a node takes, as far as the headers tell: a model its weights, a training its weights, gradients and the
/// optimizer's two moments in f32 (activations come on top), a score the packed weights and a pass, a search that for each
/// candidate under way.
pub(crate) fn memory(elaborator: &Elaborator, node: &Node, jobs: usize) -> Option<u64> {
    let Op::Extern(ext) = &node.op else { return None };
    match (&*ext.family, &*ext.name) {
        ("train", _) => node.fact.as_ref()?.downcast_ref::<Arc<ModelHeader>>().map(|h| 16 * parameters(h)),
        ("task", "score") => evaluated(elaborator, node),
        ("search", _) => candidate(elaborator, node).map(|one| one * jobs as u64),
        _ => node.fact.as_ref()?.downcast_ref::<Arc<ModelHeader>>().map(|h| weights(h)),
    }
}

fn header(elaborator: &Elaborator, id: NodeId) -> Option<&Arc<ModelHeader>> {
    elaborator.graph().node(id).fact.as_ref()?.downcast_ref::<Arc<ModelHeader>>()
}

/// Bytes of one candidate of a search whose fitness scores models: that of the largest of them.
fn candidate(elaborator: &Elaborator, node: &Node) -> Option<u64> {
    let Op::Extern(ext) = &node.op else { return None };
    let body = elaborator.probe(argument(node, "maximize").filter(|_| &*ext.family == "search")?)?;
    scored(elaborator, body).into_iter().filter_map(|node| evaluated(elaborator, node)).max()
}

/// How many candidates of a search fit into a memory of this size beside the models that stay there; at least one, for what holds
/// none is told before.
pub(crate) fn candidates(elaborator: &Elaborator, node: &Node, memory_of_host: Option<u64>) -> Option<Candidates> {
    let bytes = candidate(elaborator, node).filter(|bytes| *bytes > 0)?;
    let fit = memory_of_host.map(|there| (there.saturating_sub(resident(elaborator)) / bytes).max(1));
    Some(Candidates { bytes, fit, residuals: 0 })
}

/// Bytes of the models that stay in memory.
fn resident(elaborator: &Elaborator) -> u64 {
    let stays = |node: &Node| match &node.op {
        Op::Extern(ext) if !node.hypothetical && matches!(&*ext.family, "model" | "train") => {
            node.fact.as_ref()?.downcast_ref::<Arc<ModelHeader>>().map(|h| weights(h))
        }
        _ => None,
    };
    elaborator.graph().iter().filter_map(|(_, node)| stays(node)).sum()
}

/// How many nodes may be computed at once, so that the candidates of every search fit into memory.
pub(crate) fn workers(elaborator: &Elaborator, memory_of_host: Option<u64>, jobs: usize) -> usize {
    let real = elaborator.graph().iter().filter(|(_, node)| !node.hypothetical);
    let fit = real.filter_map(|(_, node)| candidates(elaborator, node, memory_of_host)?.fit).min();
    fit.and_then(|fit| usize::try_from(fit).ok()).map_or(jobs, |fit| fit.min(jobs))
}

/// How many worker processes fit into memory beside the models of this one: each holds the models that stay, and a candidate.
pub(crate) fn processes(elaborator: &Elaborator, memory_of_host: Option<u64>, count: usize) -> usize {
    let stays = resident(elaborator);
    let real = elaborator.graph().iter().filter(|(_, node)| !node.hypothetical);
    let candidate = real.filter_map(|(_, node)| candidates(elaborator, node, None)).map(|one| one.bytes).max();
    let fit = memory_of_host.zip(candidate).map(|(there, bytes)| there.saturating_sub(stays) / (stays + bytes));
    fit.and_then(|fit| usize::try_from(fit).ok()).map_or(count, |fit| fit.clamp(1, count.max(1)))
}

/// Bytes that the residuals may take which candidates with equal lower layers share: as many as one candidate at the most, and
/// no more than the candidates leave that are under way at once.
pub(crate) fn residuals(elaborator: &Elaborator, memory_of_host: Option<u64>, workers: usize) -> usize {
    let real = elaborator.graph().iter().filter(|(_, node)| !node.hypothetical);
    let left = |candidates: Candidates| match memory_of_host {
        Some(there) => {
            candidates.bytes.min(there.saturating_sub(resident(elaborator) + candidates.bytes * workers as u64))
        }
        None => candidates.bytes,
    };
    let bytes = real.filter_map(|(_, node)| candidates(elaborator, node, memory_of_host)).map(left).min();
    bytes.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(0)
}

/// Nodes that no memory of this size holds, be it for themselves alone.
pub(crate) fn conflicts(elaborator: &Elaborator, memory_of_host: Option<u64>) -> Vec<Diagnostic> {
    let Some(there) = memory_of_host else { return Vec::new() };
    let needs = |node: &Node| memory(elaborator, node, 1).filter(|needed| *needed > there && resides(node));
    let real = elaborator.graph().iter().filter(|(_, node)| !node.hypothetical);
    real.filter_map(|(_, node)| Some(told(node, needs(node)?, there))).collect()
}

/// Whether a node's memory must be there at once: weights that are only mapped need not be.
fn resides(node: &Node) -> bool {
    matches!(&node.op, Op::Extern(ext) if matches!(&*ext.family, "train" | "task" | "search"))
}

fn told(node: &Node, needed: u64, there: u64) -> Diagnostic {
    let what = node.label.as_ref().map_or("this".to_owned(), |label| format!("`{label}`"));
    let (needed, there) = (render::bytes(needed), render::bytes(there));
    Diagnostic::error(
        Code::E0425,
        node.span,
        format!("{what} needs {needed} of memory, and there are {there}"),
        "does not fit into memory",
    )
    .note("that is for weights, and a training's gradients and optimizer state or an evaluation's pass; a search needs it for one candidate")
    .help("take a smaller model, or a machine with more memory")
}

/// The memory of this machine in bytes, where it can be told.
pub(crate) fn physical() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    total.split_whitespace().next()?.parse::<u64>().ok().map(|kibibytes| kibibytes * 1024)
}

/// Tokens of a text whose length is not known before.
const USUAL: usize = 512;

/// Bytes that a model takes while it is asked a task: its weights in the decoder's form, and the passes. A text has at most as many
/// tokens as bytes, but for those that the tokenizer puts around it.
fn evaluated(elaborator: &Elaborator, score: &Node) -> Option<u64> {
    let header = header(elaborator, *score.inputs.first()?)?;
    let task = argument(score, "t").and_then(|task| elaborator.graph().node(task).fact.as_ref()?.downcast_ref());
    let task: Option<&TaskFacts> = task;
    let answers = task.and_then(|task| task.answers);
    let longest = task.and_then(|task| task.longest).unwrap_or(USUAL) + answers.unwrap_or(0);
    let config = &header.config.decoder;
    let packed = |t: &TensorHeader| {
        let size = if matches!(t.dtype, DType::BF16 | DType::F16) { 2 } else { 4 };
        (t.shape.iter().product::<usize>() * size) as u64
    };
    let passes = config.pass_bytes(longest.min(config.max_positions), answers.is_some());
    Some(header.tensors.values().map(packed).sum::<u64>() + passes as u64)
}

/// The scores that a fitness asks for.
fn scored(elaborator: &Elaborator, body: NodeId) -> Vec<&Arc<Node>> {
    let (mut seen, mut stack, mut scores) = (BTreeSet::new(), vec![body], Vec::new());
    while let Some(id) = stack.pop() {
        if !seen.insert(id) {
            continue;
        }
        let node = elaborator.graph().node(id);
        if let Op::Extern(ext) = &node.op
            && (&*ext.family, &*ext.name) == ("task", "score")
        {
            scores.push(node);
        }
        stack.extend(node.inputs.iter());
    }
    scores
}

fn parameters(header: &ModelHeader) -> u64 {
    header.tensors.values().map(|t| t.shape.iter().product::<usize>() as u64).sum()
}

fn weights(header: &ModelHeader) -> u64 {
    header.tensors.values().map(|t| (t.shape.iter().product::<usize>() * t.dtype.size()) as u64).sum()
}
