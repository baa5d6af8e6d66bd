//! Repeats one candidate of a run.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use evo_lang::diag::{self, Code, Diagnostic};
use evo_lang::span::SourceMap;
use indexmap::IndexMap;
use serde::Serialize;

use super::{Engine, Failure, ParamValue, Program, Settings};
use crate::datum::Datum;
use crate::device;
use crate::events::{Cancel, Event, EventKind, NodeOutcome, Observer, Outcome};
use crate::run::desk::Terms;
use crate::run::dir::{self, Identity, Record};
use crate::run::execute::Scope;
use crate::run::journal::Journal;
use crate::run::log::EventLog;
use crate::run::replay::{self, Recorded, Target};
use crate::run::trainings::Trainings;
use crate::store::{Key, Store};

/// Which candidate of which run to repeat.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Replay {
    /// The run: a directory, or its name under `runs`, or a part of its name that no other run has.
    pub run: String,
    /// The generation, from 0.
    pub generation: u64,
    /// The candidate within it, from 0.
    pub candidate: u64,
    /// The search's name, where a run has several.
    pub search: Option<String>,
    /// Params that a run's record cannot hold, such as models, as they were set.
    pub set: IndexMap<String, ParamValue>,
}

/// A step of the candidate's evaluation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    /// What it is called.
    pub name: String,
    /// Its kind, such as `score`.
    pub kind: String,
    /// Seconds it took.
    pub seconds: f64,
    /// Whether it came to its end.
    pub done: bool,
}

/// A candidate as the run recorded it and as it is now.
#[derive(Clone, Debug, Serialize)]
pub struct Replayed {
    /// The run's name.
    pub run: String,
    /// The search's name.
    pub search: String,
    /// The generation.
    pub generation: u64,
    /// The candidate.
    pub candidate: u64,
    /// Its genome.
    pub genome: Datum,
    /// What made it, such as `cma_es`.
    pub operator: String,
    /// What became of it in the run; nothing if the run ended before.
    pub before: Option<Outcome>,
    /// What became of it now.
    pub again: Outcome,
    /// Whether both are equal to the bit, and so is the identity of what was evaluated.
    pub equal: bool,
    /// Seconds it took in the run.
    pub seconds_before: Option<f64>,
    /// Seconds it took now.
    pub seconds: f64,
    /// The library calls that it took, in the order in which they ended.
    pub steps: Vec<Step>,
    /// Why it failed now, with its place in the program.
    #[serde(skip)]
    pub failure: Option<Diagnostic>,
    /// What the failure's place points into.
    #[serde(skip)]
    pub sources: Arc<SourceMap>,
}

impl Engine {
    /// Computes one candidate of a run again, and compares. Writes nothing to the run; what the candidate shares with others,
    /// such as a trained model, comes from the store, and of its own steps none does.
    ///
    /// # Errors
    /// R0517 if there is no such run or candidate, or if the program or its files are no longer what the run had.
    pub fn replay(&self, asked: &Replay) -> Result<Replayed, Failure> {
        let path = find(&self.host.runs, &asked.run)?;
        let record = Record::read(&path)?;
        let recorded = replay::recorded(&path.join("run.db"))?;
        let (target, name) = target(&recorded, asked, &record.run)?;
        let place = tempfile::tempdir().map_err(|e| crate::DiskError::from_io(&std::env::temp_dir(), &e))?;
        let copied = place.path().join("run.db");
        replay::copy(&path.join("run.db"), &copied)?;
        let planned = plan(self, &path, &record, &asked.set)?;
        replay::forget(&copied, &target)?;
        let cancel = Cancel::new();
        let steps = Arc::new(Steps::default());
        let log = Arc::new(EventLog::unwritten(vec![steps.clone()]));
        let journal = Arc::new(Journal::open(&copied)?);
        let store = Arc::new(Store::open(&self.host.store)?);
        let ready = planned.planned.ready()?;
        let terms = Terms { is_offline: true, ..Terms::default() };
        let desk = planned.planned.desk(&terms, &cancel)?;
        let scope = Scope {
            planned: &planned.planned,
            program: &record.identity.program,
            log: &log,
            journal: &journal,
            store: Some(&store),
            found: None,
            cancel: &cancel,
            jobs: self.host.jobs,
            memory: self.host.memory,
            out: place.path(),
            run: Some(&record.run),
            trainings: Trainings::default(),
            away: None,
            desk: &desk,
        };
        let again = replay::replay(&scope, ready, target)?.ok_or_else(|| {
            let title = format!("`{name}` no longer comes to candidate {}.{}", asked.generation, asked.candidate);
            wrong(title, "a file that the program reads has changed since: put it back as it was")
        })?;
        let sources = planned.sources().clone();
        let found =
            recorded.candidates.into_iter().find(|(made, _)| is(target, made.search, made.generation, made.candidate));
        let (made, before) = found.map_or((None, None), |(made, before)| (Some(made), before));
        let equal = before.as_ref().is_some_and(|b| same(&b.outcome, &again.outcome) && b.node == again.node);
        Ok(Replayed {
            run: record.run,
            search: name,
            generation: asked.generation,
            candidate: asked.candidate,
            genome: made.as_ref().map(|made| made.genome.clone()).unwrap_or_default(),
            operator: made.map(|made| made.operator).unwrap_or_default(),
            seconds_before: before.as_ref().map(|b| b.seconds),
            before: before.map(|b| b.outcome),
            again: again.outcome,
            equal,
            seconds: again.seconds,
            steps: steps.taken(),
            failure: again.failure,
            sources,
        })
    }
}

fn is(target: Target, search: Key, generation: u64, candidate: u64) -> bool {
    target == Target { search, generation, candidate }
}

/// Equal to the bit.
fn same(a: &Outcome, b: &Outcome) -> bool {
    let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    match (a, b) {
        (Outcome::Scored { scores: a, measures: m }, Outcome::Scored { scores: b, measures: n }) => {
            (bits(a), bits(m)) == (bits(b), bits(n))
        }
        (a, b) => a == b,
    }
}

fn wrong(title: impl Into<String>, help: impl Into<String>) -> Failure {
    Failure::placeless(2, Code::R0517, title, help)
}

/// The directory of a run, by its path, its name, or a part of its name that no other has.
fn find(runs: &Path, name: &str) -> Result<PathBuf, Failure> {
    let places = [runs.join(name), PathBuf::from(name)];
    if let Some(path) = places.into_iter().find(|path| path.join("run.json").is_file()) {
        return Ok(path);
    }
    let all = dir::list(runs)?;
    let named = |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let names: Vec<String> = all.iter().map(named).collect();
    let part: Vec<usize> = (0..names.len()).filter(|i| !name.is_empty() && names[*i].contains(name)).collect();
    if let [only] = part[..] {
        return Ok(all[only].clone());
    }
    let listed = |names: &[&String]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let latest: Vec<&String> = names.iter().rev().take(3).collect();
    let help = match diag::suggest(name, names.iter().map(String::as_str)) {
        _ if part.len() > 1 => {
            format!("which of {}?", listed(&part.iter().rev().take(3).map(|i| &names[*i]).collect::<Vec<_>>()))
        }
        Some(near) => format!("did you mean `{near}`?"),
        None if names.is_empty() => format!("no run is in `{}`: name a run's directory", runs.display()),
        None => format!("the latest are {}", listed(&latest)),
    };
    Err(wrong(format!("there is no run `{name}`"), help))
}

/// Which search has the candidate, and what it is called.
fn target(recorded: &Recorded, asked: &Replay, run: &str) -> Result<(Target, String), Failure> {
    let name = |key: Key| {
        let named = recorded.names.iter().find(|(node, _)| *node == key).map(|(_, name)| name.clone());
        named.unwrap_or_else(|| key.short())
    };
    let mut searches: Vec<Key> = recorded.candidates.iter().map(|(made, _)| made.search).collect();
    searches.dedup();
    let names: Vec<String> = searches.iter().map(|key| name(*key)).collect();
    let listed = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if searches.is_empty() {
        return Err(wrong(format!("run `{run}` has no candidates"), "only candidates of a search are repeated"));
    }
    if let Some(wanted) = asked.search.as_ref().filter(|wanted| !names.contains(wanted)) {
        let near = diag::suggest(wanted, names.iter().map(String::as_str));
        let help = near.map_or(format!("its searches are {listed}"), |near| format!("did you mean `{near}`?"));
        return Err(wrong(format!("run `{run}` has no search `{wanted}`"), help));
    }
    let of = |key: &Key| asked.search.as_ref().is_none_or(|wanted| *wanted == name(*key));
    let with: Vec<Key> = searches.iter().copied().filter(of).collect();
    let is_it = |key: &&Key| {
        recorded.candidates.iter().any(|(made, _)| {
            (made.search, made.generation, made.candidate) == (**key, asked.generation, asked.candidate)
        })
    };
    let found: Vec<Key> = with.iter().filter(is_it).copied().collect();
    match found[..] {
        [search] => {
            let target = Target { search, generation: asked.generation, candidate: asked.candidate };
            Ok((target, name(search)))
        }
        [] => Err(absent(recorded, asked, &with, run)),
        _ => Err(wrong(
            format!("several searches of run `{run}` have a candidate {}.{}", asked.generation, asked.candidate),
            format!("choose one by `--search`: {listed}"),
        )),
    }
}

/// What candidates there are instead.
fn absent(recorded: &Recorded, asked: &Replay, searches: &[Key], run: &str) -> Failure {
    let of_search = || recorded.candidates.iter().map(|(made, _)| made).filter(|made| searches.contains(&made.search));
    let last = of_search().map(|made| made.generation).max().unwrap_or(0);
    let in_generation = of_search().filter(|made| made.generation == asked.generation).map(|made| made.candidate).max();
    let help = match in_generation {
        Some(most) => format!("generation {} has candidates 0 to {most}", asked.generation),
        None => format!("its generations are 0 to {last}"),
    };
    wrong(format!("run `{run}` has no candidate {}.{}", asked.generation, asked.candidate), help)
}

/// The run's program under the run's settings, if both are still what they were.
fn plan(
    engine: &Engine,
    run: &Path,
    record: &Record,
    set: &IndexMap<String, ParamValue>,
) -> Result<super::Plan, Failure> {
    let path = run.join("program.evo");
    let text = std::fs::read_to_string(&path).map_err(|e| crate::DiskError::from_io(&path, &e))?;
    let program: Program = engine.load_text(&record.file, &text);
    if diag::has_errors(program.diagnostics()) {
        let errors = program.diagnostics().iter().filter(|d| d.is_error()).cloned().collect();
        return Err(Failure::program(errors, program.sources().clone()));
    }
    let is_plain = |ty: &str| {
        matches!(ty, "int" | "real" | "bool" | "text" | "duration" | "bytes" | "money") || ty.contains("one_of")
    };
    let mut params: IndexMap<String, ParamValue> = IndexMap::new();
    for param in program.params().into_iter().filter(|param| param.name != "seed" && is_plain(&param.ty)) {
        if let Some(value) = record.identity.params.get(&param.name) {
            params.insert(param.name, ParamValue::Data(value.clone()));
        }
    }
    params.extend(set.clone());
    let Identity { seed, tiny, ref device, .. } = record.identity;
    let device = Some(device::name(device.as_deref()).to_owned());
    let settings = Settings { params, seed: Some(seed), tiny, device };
    let plan = program.plan(&settings)?;
    // Where outputs went is no matter here.
    let now = Identity { out: record.identity.out.clone(), ..plan.identity.clone() };
    match record.identity.difference(&now) {
        None => Ok(plan),
        Some(what) => Err(wrong(
            format!("run `{}` differs in {what}", record.run),
            "params that are no plain values, such as models, are given again by `--set`; a program that a run uses must be as it was",
        )),
    }
}

/// Collects the steps that end.
#[derive(Default)]
struct Steps {
    kinds: Mutex<IndexMap<Key, String>>,
    taken: Mutex<Vec<Step>>,
}

impl Steps {
    fn taken(&self) -> Vec<Step> {
        std::mem::take(&mut self.taken.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Observer for Steps {
    fn event(&self, event: &Event) {
        match &event.kind {
            EventKind::NodeStarted { node, kind, .. } => {
                self.kinds.lock().unwrap_or_else(PoisonError::into_inner).insert(*node, kind.clone());
            }
            EventKind::NodeFinished { node, name, outcome, seconds } if *outcome != NodeOutcome::Stopped => {
                let kind = self.kinds.lock().unwrap_or_else(PoisonError::into_inner).get(node).cloned();
                let kind = kind.unwrap_or_default();
                let done = *outcome != NodeOutcome::Failed;
                let step = Step { name: name.clone(), kind, seconds: *seconds, done };
                self.taken.lock().unwrap_or_else(PoisonError::into_inner).push(step);
            }
            _ => {}
        }
    }
}
