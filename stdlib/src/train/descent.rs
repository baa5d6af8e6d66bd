//! How a training goes about it, as programs say it: `by: adamw { }`, `schedule`, `steps`, `evaluate` and what belongs to them.

use std::any::Any;
use std::sync::Arc;

use evo_kernels::optim::gradient::{AdamW, Adjust, Lion, Muon, Rule};
use evo_lang::plan::{Call, Const, Problem};

use super::{Keep, Schedule, Settings, TrainError, Update};
use crate::args;
use crate::bind::{FromValue, Module};
use crate::cx::{Cx, Failure};
use crate::value::{Object, Value};

/// A rule by which parameters follow gradients, as a value.
#[derive(Clone, Debug, PartialEq)]
pub struct Descent(pub Rule);

/// Binds the rules.
pub(super) fn bind(module: Module) -> Module {
    module
        .bind("adamw", adamw)
        .facts("adamw", betas_facts)
        .bind("lion", lion)
        .facts("lion", betas_facts)
        .bind("muon", muon)
        .facts("muon", betas_facts)
}

/// Two decays: `(0.9, 0.999)`.
struct Betas(f64, f64);

impl FromValue for Betas {
    fn fits(ty: &evo_lang::types::Ty) -> bool {
        <Value as FromValue>::fits(ty)
    }

    fn rust() -> String {
        "(real, real)".to_owned()
    }

    fn from_value(value: Value) -> Option<Betas> {
        let betas: Vec<f64> = value.items()?.iter().filter_map(|b| b.plain()?.as_real()).collect();
        Some(Betas(*betas.first()?, *betas.get(1)?))
    }
}

args! { struct AdamWArgs { betas: Betas, eps: f64, weight_decay: f64, decay_vectors: bool } }
args! { struct LionArgs { betas: Betas, weight_decay: f64, decay_vectors: bool } }
args! {
    struct MuonArgs {
        momentum: f64, nesterov: bool, iterations: i64, adjust: Arc<str>, weight_decay: f64, betas: Betas, eps: f64,
    }
}

fn adamw(_: &Cx<'_>, args: AdamWArgs) -> Result<Descent, Failure> {
    let AdamWArgs { betas: Betas(beta1, beta2), eps, weight_decay, decay_vectors } = args;
    Ok(Descent(Rule::AdamW(AdamW { beta1, beta2, eps, weight_decay, decay_vectors })))
}

fn lion(_: &Cx<'_>, args: LionArgs) -> Result<Descent, Failure> {
    let LionArgs { betas: Betas(beta1, beta2), weight_decay, decay_vectors } = args;
    Ok(Descent(Rule::Lion(Lion { beta1, beta2, weight_decay, decay_vectors })))
}

fn muon(_: &Cx<'_>, args: MuonArgs) -> Result<Descent, Failure> {
    let MuonArgs { momentum, nesterov, weight_decay, betas: Betas(beta1, beta2), eps, .. } = args;
    let adjust = if &*args.adjust == "original" { Adjust::Original } else { Adjust::MatchAdamW };
    let muon = Muon { momentum, nesterov, iterations: size(args.iterations), adjust, weight_decay };
    Ok(Descent(Rule::Muon(muon, AdamW { beta1, beta2, eps, weight_decay, decay_vectors: false })))
}

impl Object for Descent {
    fn kind(&self) -> &'static str {
        "Descent"
    }

    fn show(&self) -> Const {
        let name = match self.0 {
            Rule::AdamW(_) => "adamw",
            Rule::Lion(_) => "lion",
            Rule::Muon(..) => "muon",
        };
        Const::Text(name.into())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

crate::bind::node!(Descent, "Descent");

/// A count; of a negative number none, which the settings refuse.
pub(super) fn size(n: i64) -> usize {
    usize::try_from(n).unwrap_or(0)
}

/// What `train` is told of its way, apart from what it learns.
pub(super) struct Way {
    pub(super) steps: Option<i64>,
    pub(super) epochs: Option<i64>,
    pub(super) rate: f64,
    pub(super) by: Rule,
    pub(super) batch: i64,
    pub(super) accumulate: i64,
    pub(super) warmup: i64,
    pub(super) schedule: Arc<str>,
    pub(super) horizon: Option<i64>,
    pub(super) floor: f64,
    pub(super) decay: f64,
    pub(super) clip: f64,
    pub(super) every: i64,
    pub(super) patience: Option<i64>,
    pub(super) keep: Option<Arc<str>>,
    pub(super) update: Update,
    pub(super) recompute: bool,
    pub(super) seed: i64,
}

/// Steps where neither steps nor epochs are given.
pub const STEPS: usize = 100;
/// Steps of a tiny run, at the most.
const TINY_STEPS: usize = 4;

impl Way {
    /// The settings, where there are so many units; of a tiny run with few steps.
    ///
    /// # Errors
    /// [`TrainError::Setting`] if steps and epochs are given.
    pub(super) fn settings(&self, units: usize, is_evaluated: bool, tiny: bool) -> Result<Settings, TrainError> {
        let (batch, accumulate) = (size(self.batch), size(self.accumulate));
        let steps = match (self.steps, self.epochs) {
            (Some(_), Some(_)) => {
                let problem = "cannot be given beside `steps`".to_owned();
                return Err(TrainError::Setting { setting: "epochs", problem });
            }
            (None, Some(epochs)) => (size(epochs) * units).div_ceil((batch * accumulate).max(1)).max(1),
            (Some(steps), None) => size(steps),
            (None, None) => STEPS,
        };
        let steps = if tiny { steps.min(TINY_STEPS) } else { steps };
        let schedule = match &*self.schedule {
            "linear" => Schedule::Linear,
            "constant" => Schedule::Constant,
            "warmup_stable_decay" => Schedule::WarmupStableDecay { decay: self.decay },
            "inverse_sqrt" => Schedule::InverseSqrt,
            _ => Schedule::Cosine,
        };
        let keep = match self.keep.as_deref() {
            Some("best") => Keep::Best,
            None if is_evaluated && self.patience.is_some() => Keep::Best,
            _ => Keep::Last,
        };
        Ok(Settings {
            batch,
            accumulate,
            rule: self.by,
            schedule,
            warmup: size(self.warmup).min(steps),
            planned: self.horizon.map(|n| size(n).max(steps)),
            floor: self.floor,
            clip: (self.clip != 0.0).then_some(self.clip),
            every: size(self.every),
            patience: self.patience.map(size),
            keep,
            update: self.update.clone(),
            recompute: self.recompute,
            seed: self.seed as u64,
            ..Settings::new(steps, self.rate)
        })
    }
}

/// Betas out of their domain are told before anything runs.
fn betas_facts(_: &crate::bind::Place, call: &Call<'_>, problems: &mut Vec<Problem>) -> evo_lang::plan::Answer {
    let Some(betas) = call.arg("betas") else { return evo_lang::plan::Answer::Unknown };
    let known = betas.constant().and_then(Const::items).map(<[Const]>::to_vec);
    let written = || betas.items().unwrap_or_default().iter().filter_map(|b| b.constant().cloned()).collect();
    for beta in known.unwrap_or_else(written).iter().filter_map(Const::as_real) {
        if !(0.0..1.0).contains(&beta) {
            problems.push(refused("betas", format!("a decay of {beta} is out of its range"), "not in 0..1, below 1"));
        }
    }
    evo_lang::plan::Answer::Unknown
}

fn refused(param: &str, title: String, label: &str) -> Problem {
    Problem {
        code: "E0336",
        title,
        label: label.into(),
        param: Some(param.to_owned()),
        help: format!("give another `{param}`"),
        ..Problem::default()
    }
}

/// What is wrong with a training's arguments, as far as they are known before anything runs.
pub(super) fn check(call: &Call<'_>, problems: &mut Vec<Problem>) {
    let real = |name: &str| call.arg(name).and_then(|a| a.constant()?.as_real());
    let is_given = |name: &str| call.arg(name).is_some_and(|a| a.constant() != Some(&Const::Nothing));
    if let Some(rate) = real("rate").filter(|rate| !(*rate > 0.0 && rate.is_finite())) {
        problems.push(refused("rate", format!("a learning rate of {rate} learns nothing"), "must be above 0"));
    }
    if let Some(clip) = real("clip").filter(|clip| clip.is_nan()) {
        problems.push(refused("clip", format!("a limit of {clip} is none"), "must be a number"));
    }
    if is_given("steps") && is_given("epochs") {
        let problem = refused("epochs", "`steps` and `epochs` say the same thing".to_owned(), "beside `steps`");
        problems.push(Problem { help: "give one of `steps` and `epochs`".to_owned(), ..problem });
    }
    let is_evaluated = is_given("evaluate");
    let needs = |name: &str| is_given(name) && !is_evaluated;
    let best =
        call.arg("keep").is_some_and(|k| matches!(k.constant(), Some(Const::Case(_, word)) if &**word == "best"));
    for (name, is_wrong) in [("patience", needs("patience")), ("keep", best && !is_evaluated)] {
        if is_wrong {
            let title = format!("`{name}` needs data to evaluate on");
            let problem = refused(name, title, "nothing is evaluated");
            problems.push(Problem { help: "add `evaluate: DATA`, rows that are not trained on".to_owned(), ..problem });
        }
    }
    let same = call.arg("on").zip(call.arg("evaluate")).is_some_and(|(on, held)| on.key() == held.key());
    if same && is_evaluated {
        problems.push(Problem {
            code: "E0442",
            warning: true,
            title: "the training is evaluated on the rows that it learns".to_owned(),
            label: "the same data as `on`".to_owned(),
            param: Some("evaluate".to_owned()),
            help: "hold some rows out: give data that `on` does not hold".to_owned(),
            ..Problem::default()
        });
    }
}
