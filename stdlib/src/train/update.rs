//! Which parameters a training has, as values of the language.

use std::any::Any;
use std::sync::Arc;

use evo_kernels::decode::{Config, Part, Slot};
use evo_lang::plan::{Answer, Call, Const, Fact, Key, Problem};

use super::TrainError;
use crate::args;
use crate::bind::Place;
use crate::cx::{Cx, Failure};
use crate::value::Object;

/// What of a model is trained.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Update {
    /// How.
    pub method: UpdateMethod,
    /// Whether trained matrices are multiplied as bf16 (the parameters, and what an optimizer adds to them, stay in f32). Default
    /// false.
    pub bf16: bool,
}

/// Which parameters a training has.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum UpdateMethod {
    /// Every weight.
    #[default]
    Full,
    /// A low-rank difference of each chosen matrix, `W + alpha / rank · B · A`; the rest stays (Hu et al., 2021, "LoRA").
    LowRank {
        /// Rows of `A`.
        rank: usize,
        /// The difference's weight, times the rank.
        alpha: f64,
        /// Which matrices.
        on: Places,
        /// Whether the lengths of the rows are trained apart (Liu et al., 2024, "DoRA").
        lengths: bool,
        /// Where `A` comes from; `B` begins at zero.
        seed: u64,
    },
    /// What each singular value of each chosen matrix is multiplied by (Sun et al., 2025, "Transformer²").
    Singular {
        /// Which matrices.
        on: Places,
    },
}

/// Which matrices of a model.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Places {
    /// The names of parts, such as `q` or `q_proj`; empty for all linear maps in blocks.
    pub parts: Vec<String>,
    /// Blocks, counted from 0; empty for all.
    pub layers: Vec<usize>,
}

/// The parts of a block that are linear maps, as they are called here.
const MAPS: [(Part, &str); 8] = [
    (Part::Q, "q"),
    (Part::K, "k"),
    (Part::V, "v"),
    (Part::O, "o"),
    (Part::Gate, "gate"),
    (Part::Up, "up"),
    (Part::Down, "down"),
    (Part::Router, "router"),
];

impl Places {
    /// Whether the matrix is one of them. All but routers are, if no parts are named.
    pub(super) fn holds(&self, slot: &Slot) -> bool {
        let Some((_, name)) = MAPS.iter().find(|(part, _)| *part == slot.part) else { return false };
        let named = |part: &String| part.strip_suffix("_proj").unwrap_or(part) == *name;
        let part = if self.parts.is_empty() { slot.part != Part::Router } else { self.parts.iter().any(named) };
        part && (self.layers.is_empty() || slot.layer.is_some_and(|layer| self.layers.contains(&layer)))
    }

    /// Whether each part and layer that is named is there.
    ///
    /// # Errors
    /// [`TrainError::NoLayer`] for the first that is not.
    pub(super) fn check(&self, name: &str, config: &Config) -> Result<(), TrainError> {
        let mut there: Vec<&'static str> = Vec::new();
        let first = config.slots().layers.into_iter().next();
        if let Some(layer) = first {
            let linear = [&layer.q, &layer.k, &layer.v, &layer.o].map(|map| map.weight.part);
            let more = layer
                .experts
                .iter()
                .take(1)
                .flat_map(|e| e.gate.iter().chain([&e.up, &e.down]).map(|map| map.weight.part).collect::<Vec<_>>());
            let router = layer.router.iter().map(|map| map.weight.part);
            let found: Vec<Part> = linear.into_iter().chain(more).chain(router).collect();
            there.extend(MAPS.iter().filter(|(part, _)| found.contains(part)).map(|(_, name)| *name));
        }
        let absent = self.parts.iter().find(|part| !there.contains(&part.strip_suffix("_proj").unwrap_or(part)));
        if let Some(part) = absent {
            let there = there.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            let problem = format!("has no linear map `{part}` in its blocks; it has {there}");
            return Err(TrainError::NoLayer { model: name.to_owned(), problem });
        }
        let count = config.num_layers();
        if let Some(layer) = self.layers.iter().find(|layer| **layer >= count) {
            let problem = format!("has {count} blocks, from 0 on, and no block {layer}");
            return Err(TrainError::NoLayer { model: name.to_owned(), problem });
        }
        Ok(())
    }
}

args! { pub(super) struct FullArgs { precision: Arc<str> } }
args! { pub(super) struct LowRankArgs { rank: i64, alpha: f64, on: Vec<Arc<str>>, layers: Vec<i64>, seed: i64 } }
args! { pub(super) struct SingularArgs { on: Vec<Arc<str>>, layers: Vec<i64> } }

pub(super) fn full(_: &Cx<'_>, args: FullArgs) -> Result<Update, Failure> {
    Ok(Update { method: UpdateMethod::Full, bf16: &*args.precision == "bf16" })
}

pub(super) fn lora(_: &Cx<'_>, args: LowRankArgs) -> Result<Update, Failure> {
    low_rank(args, false)
}

pub(super) fn dora(_: &Cx<'_>, args: LowRankArgs) -> Result<Update, Failure> {
    low_rank(args, true)
}

pub(super) fn singular(_: &Cx<'_>, args: SingularArgs) -> Result<Update, Failure> {
    Ok(Update { method: UpdateMethod::Singular { on: places(&args.on, &args.layers)? }, bf16: false })
}

fn low_rank(args: LowRankArgs, lengths: bool) -> Result<Update, Failure> {
    let on = places(&args.on, &args.layers)?;
    let rank = usize::try_from(args.rank).unwrap_or(1);
    let method = UpdateMethod::LowRank { rank, alpha: args.alpha, on, lengths, seed: args.seed as u64 };
    Ok(Update { method, bf16: false })
}

fn places(on: &[Arc<str>], layers: &[i64]) -> Result<Places, Failure> {
    let block = |layer: &i64| {
        let title = format!("there is no block {layer}");
        usize::try_from(*layer).map_err(|_| Failure::new("E0440", title).param("layers").help("blocks count from 0"))
    };
    let layers = layers.iter().map(block).collect::<Result<_, _>>()?;
    Ok(Places { parts: on.iter().map(ToString::to_string).collect(), layers })
}

/// The places that a call names, for checks before anything runs.
#[derive(Debug)]
pub(super) struct UpdateFacts(pub(super) Places);

pub(super) fn facts(_: &Place, call: &Call<'_>, problems: &mut Vec<Problem>) -> Answer {
    let items = |name| call.arg(name).and_then(|arg| Some(arg.constant()?.items()?.to_vec())).unwrap_or_default();
    let on: Vec<Arc<str>> = items("on").iter().filter_map(|item| item.as_text().cloned()).collect();
    let layers: Vec<i64> = items("layers").iter().filter_map(Const::as_int).collect();
    match places(&on, &layers) {
        Ok(places) => Answer::Fact(Arc::new(UpdateFacts(places)) as Fact),
        Err(failure) => {
            problems.push(Problem {
                code: failure.code,
                title: failure.title.into(),
                label: "is none of the model's".into(),
                param: Some("layers".into()),
                help: failure.help.into(),
                ..Problem::default()
            });
            Answer::Unknown
        }
    }
}

impl Object for Update {
    fn kind(&self) -> &'static str {
        "Update"
    }

    fn identity(&self) -> Option<(Key, Option<Fact>)> {
        Some((Key::of("update", &[format!("{self:?}").as_bytes()]), None))
    }

    fn show(&self) -> Const {
        Const::Text(
            match &self.method {
                UpdateMethod::Full => "full",
                UpdateMethod::LowRank { lengths: false, .. } => "lora",
                UpdateMethod::LowRank { lengths: true, .. } => "dora",
                UpdateMethod::Singular { .. } => "singular",
            }
            .into(),
        )
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

crate::bind::node!(Update, "Update");
