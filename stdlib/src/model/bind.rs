//! The family `model` as the language sees it.

use std::path::Path;
use std::sync::Arc;

use evo_kernels::rng::Stream;
use evo_lang::plan::{Answer, Call, Const, Fact, Key, Problem};

use super::safetensors::TensorHeader;
use super::tokenizer::TokenizerHeader;
use super::{Model, ModelError, ModelHeader, Tiny, gguf, gguf_header, header, hf, llama_tiny, save};
use crate::args;
use crate::bind::{Kept, Module, Place};
use crate::cx::{Card, Cx, Failure, Save};
use crate::train::Record;
use crate::value::{Object, Stored, Value};

/// The family `model`.
pub fn module() -> Module {
    Module::new("model", include_str!("model.evo"))
        .bind("hf", run_hf)
        .facts("hf", hf_facts)
        .bind("gguf", run_gguf)
        .facts("gguf", gguf_facts)
        .bind("llama_tiny", run_llama_tiny)
        .facts("llama_tiny", llama_tiny_facts)
        .bind("layers", run_layers)
        .facts("layers", layers_facts)
        .bind("parameters", run_parameters)
        .facts("parameters", parameters_facts)
        .loads("Model", load)
}

args! { struct HfArgs { dir: Arc<str> } }
args! { struct GgufArgs { file: Arc<str> } }
args! { struct ModelArgs { m: Model } }
args! {
    struct LlamaTinyArgs { layers: i64, width: i64, heads: i64, feed_forward: i64, context: i64, seed: i64 }
}

fn run_hf(cx: &Cx<'_>, args: HfArgs) -> Result<Model, Failure> {
    loaded(hf(&cx.effects.input(&args.dir)), &args.dir)
}

fn run_gguf(cx: &Cx<'_>, args: GgufArgs) -> Result<Model, Failure> {
    loaded(gguf(&cx.effects.input(&args.file)), &args.file)
}

/// A model from outside is believed only when all its weights are numbers. Cards call it what the program calls it, wherever
/// the program lies.
fn loaded(model: Result<Model, ModelError>, written: &str) -> Result<Model, Failure> {
    let model = model?;
    super::check_finite(&model.tensors)?;
    Ok(model.named(written))
}

fn run_llama_tiny(_: &Cx<'_>, args: LlamaTinyArgs) -> Result<Model, Failure> {
    Ok(llama_tiny(&args.sizes()?, Stream::from_seed(args.seed as u64))?)
}

impl LlamaTinyArgs {
    fn sizes(&self) -> Result<Tiny, Failure> {
        let size = |n: i64| usize::try_from(n).unwrap_or(0);
        if self.heads < 1 || self.width % self.heads != 0 || (self.width / self.heads) % 2 != 0 {
            return Err(Failure::new(
                "E0406",
                format!("a width of {} cannot be shared by {} heads", self.width, self.heads),
            )
            .param("heads")
            .help("the width must be an even multiple of the number of heads"));
        }
        Ok(Tiny {
            layers: size(self.layers),
            hidden: size(self.width),
            heads: size(self.heads),
            kv_heads: size(self.heads),
            intermediate: size(self.feed_forward),
            positions: size(self.context),
            tied: true,
        })
    }
}

fn run_layers(_: &Cx<'_>, args: ModelArgs) -> Result<i64, Failure> {
    Ok(args.m.config.num_layers() as i64)
}

fn run_parameters(_: &Cx<'_>, args: ModelArgs) -> Result<i64, Failure> {
    Ok(args.m.tensors.values().map(|t| t.len() as i64).sum())
}

fn hf_facts(place: &Place, call: &Call<'_>, problems: &mut Vec<Problem>) -> Answer {
    let Some(path) = call.arg("dir").and_then(|d| d.constant()?.as_text().cloned()) else {
        return Answer::Unknown;
    };
    let dir = place.input(&path);
    match header(&dir) {
        Ok(header) => content(place, Arc::new(header), (&dir, hf), problems, "dir"),
        Err(error) => {
            problems.push(problem(&error, "dir"));
            Answer::Unknown
        }
    }
}

fn gguf_facts(place: &Place, call: &Call<'_>, problems: &mut Vec<Problem>) -> Answer {
    let Some(path) = call.arg("file").and_then(|d| d.constant()?.as_text().cloned()) else {
        return Answer::Unknown;
    };
    let file = place.input(&path);
    match gguf_header(&file) {
        Ok(header) => content(place, Arc::new(header), (&file, gguf), problems, "file"),
        Err(error) => {
            problems.push(problem(&error, "file"));
            Answer::Unknown
        }
    }
}

/// Reads a model whole.
type Open = fn(&Path) -> Result<Model, ModelError>;

/// The header as a fact; before a run, with the identity of what the files hold, and the weights looked at: one that is
/// no number would spoil whatever is computed from them.
fn content(
    place: &Place,
    header: Arc<ModelHeader>,
    (path, open): (&Path, Open),
    problems: &mut Vec<Problem>,
    param: &str,
) -> Answer {
    let fact: Fact = Arc::new(header);
    if !place.whole {
        return Answer::Fact(fact);
    }
    if let Err(error) = open(path).and_then(|model| super::check_finite(&model.tensors)) {
        problems.push(problem(&error, param));
        return Answer::Unknown;
    }
    match crate::files::content_key(path) {
        Ok(key) => Answer::Content(fact, key),
        Err(error) => {
            problems.push(problem(&ModelError::read(path, error), param));
            Answer::Unknown
        }
    }
}

/// A model's fault as a finding at the argument that names it.
pub(crate) fn problem(error: &ModelError, param: &str) -> Problem {
    Problem {
        code: error.code(),
        title: error.to_string(),
        label: error.label().into(),
        param: Some(param.to_owned()),
        help: error.help(),
        ..Problem::default()
    }
}

fn llama_tiny_facts(_: &Place, call: &Call<'_>, problems: &mut Vec<Problem>) -> Answer {
    let get = |name: &str| call.arg(name).and_then(|a| a.constant()?.as_int());
    let all = (get("layers"), get("width"), get("heads"), get("feed_forward"), get("context"));
    let (Some(layers), Some(width), Some(heads), Some(feed_forward), Some(context)) = all else {
        return Answer::Unknown;
    };
    let args = LlamaTinyArgs { layers, width, heads, feed_forward, context, seed: 0 };
    // The smallest way to its header: shapes follow from the sizes, and one layer more or less is cheap to make.
    let made = args.sizes().and_then(|sizes| Ok(llama_tiny(&sizes, Stream::from_seed(0))?));
    match made {
        Ok(model) => Answer::Fact(Arc::new(Arc::new(header_of(&model)))),
        Err(failure) => {
            problems.push(Problem {
                code: failure.code,
                title: failure.title.into(),
                label: "does not divide the width".into(),
                param: failure.param.map(str::to_owned),
                help: failure.help.into(),
                ..Problem::default()
            });
            Answer::Unknown
        }
    }
}

fn layers_facts(_: &Place, call: &Call<'_>, _: &mut Vec<Problem>) -> Answer {
    match model_header(call) {
        Some(header) => Answer::Known(Const::Int(header.config.num_layers() as i64)),
        None => Answer::Unknown,
    }
}

fn parameters_facts(_: &Place, call: &Call<'_>, _: &mut Vec<Problem>) -> Answer {
    match model_header(call) {
        Some(header) => {
            let count = |t: &TensorHeader| t.shape.iter().product::<usize>() as i64;
            Answer::Known(Const::Int(header.tensors.values().map(count).sum()))
        }
        None => Answer::Unknown,
    }
}

fn model_header<'g>(call: &Call<'g>) -> Option<&'g Arc<ModelHeader>> {
    call.arg("m")?.fact()
}

/// Where a kept model lies within its directory of the store.
const STORED: &str = "model";
/// The record of its training.
const TRAINING: &str = "training";

/// What a check would know of a model that is here already.
fn header_of(model: &Model) -> ModelHeader {
    ModelHeader {
        path: model.name.clone().into(),
        config: model.config.clone(),
        tensors: model
            .tensors
            .iter()
            .map(|(name, t)| (name.clone(), TensorHeader::new(t.dtype(), t.shape().to_vec())))
            .collect(),
        tokenizer: model
            .tokenizer
            .as_ref()
            .and_then(|t| TokenizerHeader::from_json(t.json(), Path::new("tokenizer.json")).ok()),
        has_template: model.chat_template.is_some(),
    }
}

fn load(kept: Kept<'_>, name: &str) -> Result<Value, Failure> {
    match kept {
        Kept::Files(dir) => {
            let model = hf(&dir.join(STORED))?.named(name);
            Ok(Value::object(match kept_training(dir)? {
                Some(training) => {
                    model.with_card(super::Card { training: Some(training.into()), ..(*model.card).clone() })
                }
                None => model,
            }))
        }
        Kept::Bytes(_) => Err(Failure::new("R0507", "a model is kept as files")),
    }
}

/// The record of a training that lies beside a kept model.
fn kept_training(dir: &Path) -> Result<Option<Record>, Failure> {
    match std::fs::read(dir.join(TRAINING)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::new("R0507", format!("the record of a training cannot be read: {error}"))),
        Ok(bytes) => match Record::from_bytes(&bytes) {
            None => Err(Failure::new("R0507", "the record of a training is not what was written")),
            record => Ok(record),
        },
    }
}

impl Object for Model {
    fn kind(&self) -> &'static str {
        "Model"
    }

    fn field(&self, name: &str) -> Option<Value> {
        (name == "training").then(|| Value::object(self.card.training.as_deref().cloned().unwrap_or_default()))
    }

    fn show(&self) -> Const {
        let parameters: usize = self.tensors.values().map(super::Tensor::len).sum();
        let (config, name) = (&self.config, &self.name);
        let text = format!(
            "{name}: {}, {} × {}, {parameters} parameters",
            config.model_type,
            config.num_layers(),
            config.hidden_size
        );
        Const::Text(text.into())
    }

    fn identity(&self) -> Option<(Key, Option<Fact>)> {
        let fact: Fact = Arc::new(Arc::new(header_of(self)));
        Some((Key(*Model::identity(self).as_bytes()), Some(fact)))
    }

    fn stored(&self) -> Stored<'_> {
        Stored::Files(Box::new(|dir| {
            save(self, &dir.join(STORED))?;
            let Some(training) = &self.card.training else { return Ok(()) };
            std::fs::write(dir.join(TRAINING), training.to_bytes())
                .map_err(|error| Failure::new("R0507", format!("the record of a training cannot be kept: {error}")))
        }))
    }

    fn save(&self) -> Option<&dyn Save> {
        Some(self)
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

impl Save for Model {
    fn save(&self, path: &Path, card: &Card) -> Result<(), Failure> {
        let own = super::Card {
            recipe: Some(card.recipe.clone()),
            program: Some(card.program_hash.clone()),
            ..(*self.card).clone()
        };
        Ok(save(&self.with_card(own), path)?)
    }
}

crate::bind::node!(Model, "Model");

impl From<ModelError> for Failure {
    fn from(error: ModelError) -> Failure {
        if let ModelError::Stopped = error {
            return Failure::cancelled();
        }
        Failure::new(error.code(), error.to_string()).help(error.help())
    }
}
