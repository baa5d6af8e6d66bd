//! The methods: each merges tensor by tensor with a kernel of `evo_kernels::merge`.

use evo_kernels::merge::{Dare, Linear, MergeError, Merged, TaskArithmetic, Ties};
use evo_kernels::rng::Stream;
use rayon::prelude::*;

use super::rule::{Rule, Stored, merge_tensor};
use super::weight::{TensorInfo, Weight};
use crate::args;
use crate::cx::{Cx, Failure};
use crate::model::{Card, Model, Tensor, Tensors};

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

/// A method, given the inputs' elements of one tensor, all of one length. Whatever can be wrong is told now.
pub(super) trait Method: Sync {
    fn rule<E: Stored>(&self, inputs: &[&[E]], tensor: &TensorInfo) -> Result<Box<dyn Rule<E>>, Failure>;
}

pub(super) fn linear(cx: &Cx<'_>, args: LinearArgs) -> Result<Model, Failure> {
    let models: Vec<&Model> = args.models.iter().collect();
    merge(cx, &models, &args)
}

impl Method for LinearArgs {
    fn rule<E: Stored>(&self, inputs: &[&[E]], tensor: &TensorInfo) -> Result<Box<dyn Rule<E>>, Failure> {
        let weight = self.weight.at(inputs.len(), tensor)?;
        let params = Linear { weight: &weight, normalize: self.normalize };
        Ok(Box::new(Merged::linear(inputs, &params)?))
    }
}

pub(super) fn slerp(cx: &Cx<'_>, args: SlerpArgs) -> Result<Model, Failure> {
    merge(cx, &[&args.a, &args.b], &args)
}

impl Method for SlerpArgs {
    fn rule<E: Stored>(&self, inputs: &[&[E]], tensor: &TensorInfo) -> Result<Box<dyn Rule<E>>, Failure> {
        let [a, b] = inputs else {
            return Err(Failure::new("R0504", "slerp takes two models"));
        };
        let t = self.t.at(1, tensor)?.first().copied().unwrap_or_default();
        Ok(Box::new(Merged::slerp(a, b, t)?))
    }
}

pub(super) fn task_arithmetic(cx: &Cx<'_>, args: TaskArgs) -> Result<Model, Failure> {
    merge(cx, &based(&args.base, &args.models), &args)
}

impl Method for TaskArgs {
    fn rule<E: Stored>(&self, inputs: &[&[E]], tensor: &TensorInfo) -> Result<Box<dyn Rule<E>>, Failure> {
        let (base, models) = split(inputs)?;
        let weight = self.weight.at(models.len(), tensor)?;
        let params = TaskArithmetic { weight: &weight, normalize: self.normalize, lambda: self.lambda };
        Ok(Box::new(Merged::task_arithmetic(base, models, &params)?))
    }
}

pub(super) fn ties(cx: &Cx<'_>, args: TiesArgs) -> Result<Model, Failure> {
    merge(cx, &based(&args.base, &args.models), &args)
}

impl Method for TiesArgs {
    fn rule<E: Stored>(&self, inputs: &[&[E]], tensor: &TensorInfo) -> Result<Box<dyn Rule<E>>, Failure> {
        let (base, models) = split(inputs)?;
        let (weight, density) = (self.weight.at(models.len(), tensor)?, self.density.at(models.len(), tensor)?);
        let params = Ties {
            weight: &weight,
            density: &density,
            normalize: self.normalize,
            rescale: self.rescale,
            lambda: self.lambda,
        };
        Ok(Box::new(Merged::ties(base, models, &params)?))
    }
}

pub(super) fn dare_ties(cx: &Cx<'_>, args: DareArgs) -> Result<Model, Failure> {
    merge(cx, &based(&args.base, &args.models), &args)
}

impl Method for DareArgs {
    fn rule<E: Stored>(&self, inputs: &[&[E]], tensor: &TensorInfo) -> Result<Box<dyn Rule<E>>, Failure> {
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
        Ok(Box::new(Merged::dare_ties(base, models, &params, stream)?))
    }
}

fn based<'m>(base: &'m Model, models: &'m [Model]) -> Vec<&'m Model> {
    std::iter::once(base).chain(models).collect()
}

fn split<'i, 'e, E>(inputs: &'i [&'e [E]]) -> Result<(&'e [E], &'i [&'e [E]]), Failure> {
    let (base, models) = inputs.split_first().ok_or_else(no_models)?;
    Ok((base, models))
}

pub(super) fn no_models() -> Failure {
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
