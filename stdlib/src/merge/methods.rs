//! The methods: each merges tensor by tensor with a kernel of `evo_kernels::merge`.

use evo_kernels::merge::{self as kernels, Dare, Linear, MergeError, TaskArithmetic, Ties};
use evo_kernels::rng::Stream;
use half::{bf16, f16};
use rayon::prelude::*;

use super::elementwise::Stored;
use super::weight::{TensorInfo, Weight};
use crate::args;
use crate::cx::{Cx, Failure};
use crate::model::{Card, Model, Tensor, Tensors, View};

args! {
    /// Arguments of `linear`.
    pub(super) struct LinearArgs { models: Vec<Model>, weight: Weight, normalize: bool }
}

args! {
    /// Arguments of `slerp`.
    pub(super) struct SlerpArgs { a: Model, b: Model, t: Weight }
}

args! {
    /// Arguments of `task_arithmetic`.
    pub(super) struct TaskArgs { base: Model, models: Vec<Model>, weight: Weight, normalize: bool, lambda: f64 }
}

args! {
    /// Arguments of `ties`.
    pub(super) struct TiesArgs { base: Model, models: Vec<Model>, weight: Weight, density: Weight, normalize: bool, rescale: bool, lambda: f64 }
}

args! {
    /// Arguments of `dare_ties`.
    pub(super) struct DareArgs { base: Model, models: Vec<Model>, weight: Weight, density: Weight, rescale: bool, normalize: bool, lambda: f64, seed: i64 }
}

/// A method on one tensor: the inputs' elements, all of one length, into `out`.
pub(super) trait Method: Sync {
    fn apply<E: Stored>(&self, inputs: &[&[E]], tensor: &TensorInfo, out: &mut [E]) -> Result<(), Failure>;
}

pub(super) fn linear(cx: &Cx<'_>, args: LinearArgs) -> Result<Model, Failure> {
    let models: Vec<&Model> = args.models.iter().collect();
    merge(cx, &models, &args)
}

impl Method for LinearArgs {
    fn apply<E: Stored>(&self, inputs: &[&[E]], tensor: &TensorInfo, out: &mut [E]) -> Result<(), Failure> {
        let weight = self.weight.at(inputs.len(), tensor)?;
        Ok(kernels::linear(inputs, &Linear { weight: &weight, normalize: self.normalize }, out)?)
    }
}

pub(super) fn slerp(cx: &Cx<'_>, args: SlerpArgs) -> Result<Model, Failure> {
    merge(cx, &[&args.a, &args.b], &args)
}

impl Method for SlerpArgs {
    fn apply<E: Stored>(&self, inputs: &[&[E]], tensor: &TensorInfo, out: &mut [E]) -> Result<(), Failure> {
        let [a, b] = inputs else {
            return Err(Failure::new("R0504", "slerp takes two models"));
        };
        let t = self.t.at(1, tensor)?.first().copied().unwrap_or_default();
        Ok(kernels::slerp(a, b, t, out)?)
    }
}

pub(super) fn task_arithmetic(cx: &Cx<'_>, args: TaskArgs) -> Result<Model, Failure> {
    merge(cx, &based(&args.base, &args.models), &args)
}

impl Method for TaskArgs {
    fn apply<E: Stored>(&self, inputs: &[&[E]], tensor: &TensorInfo, out: &mut [E]) -> Result<(), Failure> {
        let (base, models) = split(inputs)?;
        let weight = self.weight.at(models.len(), tensor)?;
        let params = TaskArithmetic { weight: &weight, normalize: self.normalize, lambda: self.lambda };
        Ok(kernels::task_arithmetic(base, models, &params, out)?)
    }
}

pub(super) fn ties(cx: &Cx<'_>, args: TiesArgs) -> Result<Model, Failure> {
    merge(cx, &based(&args.base, &args.models), &args)
}

impl Method for TiesArgs {
    fn apply<E: Stored>(&self, inputs: &[&[E]], tensor: &TensorInfo, out: &mut [E]) -> Result<(), Failure> {
        let (base, models) = split(inputs)?;
        let (weight, density) = (self.weight.at(models.len(), tensor)?, self.density.at(models.len(), tensor)?);
        let params = Ties {
            weight: &weight,
            density: &density,
            normalize: self.normalize,
            rescale: self.rescale,
            lambda: self.lambda,
        };
        Ok(kernels::ties(base, models, &params, out)?)
    }
}

pub(super) fn dare_ties(cx: &Cx<'_>, args: DareArgs) -> Result<Model, Failure> {
    merge(cx, &based(&args.base, &args.models), &args)
}

impl Method for DareArgs {
    fn apply<E: Stored>(&self, inputs: &[&[E]], tensor: &TensorInfo, out: &mut [E]) -> Result<(), Failure> {
        let (base, models) = split(inputs)?;
        let (weight, density) = (self.weight.at(models.len(), tensor)?, self.density.at(models.len(), tensor)?);
        let params = Dare {
            weight: &weight,
            density: &density,
            rescale: self.rescale,
            normalize: self.normalize,
            lambda: self.lambda,
        };
        // Keyed by seed and tensor alone, so that candidates of one search drop the same elements: the search sees its
        // genes' effect and not the masks'.
        let stream = Stream::from_seed(self.seed as u64).child("dare").child(&tensor.name);
        Ok(kernels::dare_ties(base, models, &params, stream, out)?)
    }
}

fn based<'m>(base: &'m Model, models: &'m [Model]) -> Vec<&'m Model> {
    std::iter::once(base).chain(models).collect()
}

fn split<'i, 'e, E>(inputs: &'i [&'e [E]]) -> Result<(&'e [E], &'i [&'e [E]]), Failure> {
    let (base, models) = inputs.split_first().ok_or_else(no_models)?;
    Ok((base, models))
}

fn no_models() -> Failure {
    Failure::new("R0510", "a merge needs at least one model").help("name the models to merge: `models: [a, b]`")
}

/// Merges every tensor of the first input; parallel over tensors, with the same bits for any number of threads.
pub(super) fn merge(cx: &Cx<'_>, inputs: &[&Model], method: &impl Method) -> Result<Model, Failure> {
    let first = *inputs.first().ok_or_else(no_models)?;
    let layers = first.config.num_layers();
    let one = |(name, tensor): (&String, &Tensor)| {
        let info = TensorInfo::new(name, tensor.shape(), layers);
        let tensors = inputs.iter().map(|m| same(m, name, tensor)).collect::<Result<Vec<_>, _>>()?;
        Ok((name.clone(), merge_tensor(&tensors, &info, method)?))
    };
    let merged: Result<Tensors, Failure> = match cx.threads {
        1 => first.tensors.iter().map(one).collect(),
        _ => first
            .tensors
            .iter()
            .collect::<Vec<_>>()
            .into_par_iter()
            .map(one)
            .collect::<Result<Vec<_>, _>>()
            .map(|all| all.into_iter().collect()),
    };
    let mut licenses: Vec<String> = inputs.iter().flat_map(|m| m.card.licenses.clone()).collect();
    licenses.sort();
    licenses.dedup();
    let card = Card { ancestors: inputs.iter().map(|m| m.name.clone()).collect(), licenses, ..Card::default() };
    Ok(first.with_tensors(&*cx.name, merged?, card))
}

/// The tensor of that name, of that shape, in another input.
fn same<'m>(model: &'m Model, name: &str, like: &Tensor) -> Result<&'m Tensor, Failure> {
    let help = "weight merges need models tuned from one ancestor";
    let tensor = model
        .tensors
        .get(name)
        .ok_or_else(|| Failure::new("E0304", format!("`{}` has no tensor `{name}`", model.name)).help(help))?;
    if tensor.shape() != like.shape() {
        let (found, wanted) = (tensor.shape(), like.shape());
        return Err(Failure::new(
            "E0304",
            format!("tensor `{name}` of `{}` is {found:?} where {wanted:?} is wanted", model.name),
        )
        .help(help));
    }
    Ok(tensor)
}

/// One tensor: in its own element type where all inputs have one, else in `f32`; what is not floating-point is shared.
fn merge_tensor(inputs: &[&Tensor], info: &TensorInfo, method: &impl Method) -> Result<Tensor, Failure> {
    let Some(first) = inputs.first() else {
        return Err(no_models());
    };
    if !first.dtype().is_float() {
        return Ok((*first).clone());
    }
    let shape = first.shape().to_vec();
    let views: Option<Vec<View<'_>>> = inputs.iter().map(|t| t.view()).collect();
    let views = views.unwrap_or_default();
    let all_bf16: Option<Vec<&[bf16]>> =
        views.iter().map(|v| if let View::BF16(x) = v { Some(*x) } else { None }).collect();
    if let Some(inputs) = all_bf16.filter(|v| !v.is_empty()) {
        let mut out = vec![bf16::ZERO; first.len()];
        method.apply(&inputs, info, &mut out)?;
        return Tensor::from_bf16(out, shape).map_err(wrong_length);
    }
    let all_f16: Option<Vec<&[f16]>> =
        views.iter().map(|v| if let View::F16(x) = v { Some(*x) } else { None }).collect();
    if let Some(inputs) = all_f16.filter(|v| !v.is_empty()) {
        let mut out = vec![f16::ZERO; first.len()];
        method.apply(&inputs, info, &mut out)?;
        return Tensor::from_f16(out, shape).map_err(wrong_length);
    }
    let wide: Option<Vec<_>> = inputs.iter().map(|t| t.to_f32()).collect();
    let wide =
        wide.ok_or_else(|| Failure::new("E0304", format!("tensor `{}` is not of one kind in all models", info.name)))?;
    let inputs: Vec<&[f32]> = wide.iter().map(|x| &**x).collect();
    let mut out = vec![0f32; first.len()];
    method.apply(&inputs, info, &mut out)?;
    Tensor::from_f32(out, shape).map_err(wrong_length)
}

fn wrong_length(error: crate::model::LengthError) -> Failure {
    Failure::new("R0504", error.to_string())
}

impl From<MergeError> for Failure {
    fn from(error: MergeError) -> Failure {
        let help = match &error {
            MergeError::ZeroWeightSum { .. } => "set `normalize: false`, or choose weights that do not cancel",
            MergeError::Parameter { .. } | MergeError::Count { .. } => {
                "change the argument, or the range of the gene that makes it"
            }
            _ => "weight merges need models tuned from one ancestor",
        };
        Failure::new("R0510", error.to_string()).help(help)
    }
}
