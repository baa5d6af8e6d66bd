//! From a model to a network whose parameters are trained, and back.

use std::sync::Arc;

use evo_kernels::backprop::{Frame, Network, Start, StartVector, Workspace};
use evo_kernels::decode::Slot;
use evo_kernels::linalg::thin_svd;
use evo_kernels::rng::Stream;
use rayon::prelude::*;

use super::{TrainError, Update, UpdateMethod};
use crate::model::families::Source;
use crate::model::{Card, Model, Tensor, Tensors};

/// A model's weights as a network that trains what `update` says.
///
/// # Errors
/// [`TrainError::Tensor`] for a weight that is missing, has another shape or a value that is not finite;
/// [`TrainError::NoLayer`] for a part or a block that the model does not have.
pub fn network(model: &Model, update: &Update, threads: usize) -> Result<Network, TrainError> {
    let sources = sources(model);
    let source = |slot: &Slot| {
        let found = sources.iter().find(|source| source.slot == *slot);
        found.ok_or_else(|| fault(model, &format!("{:?}", slot.part), "has no name"))
    };
    let on = match &update.method {
        UpdateMethod::Full => None,
        UpdateMethod::LowRank { on, .. } | UpdateMethod::Singular { on } => Some(on),
    };
    if let Some(on) = on {
        on.check(&model.name, &model.config)?;
    }
    let frames = match &update.method {
        UpdateMethod::Singular { on } => decomposed(model, sources.iter().filter(|s| on.holds(&s.slot)), threads)?,
        UpdateMethod::Full | UpdateMethod::LowRank { .. } => Vec::new(),
    };
    let matrix = |slot: &Slot| {
        let source = source(slot)?;
        let chosen = on.is_some_and(|on| on.holds(slot));
        let base = || packed(model, source, threads);
        match &update.method {
            UpdateMethod::Full => Ok::<_, TrainError>(Start::Trained(values(model, source)?)),
            UpdateMethod::LowRank { rank, alpha, lengths, seed, .. } if chosen => {
                let base = base()?;
                let magnitude = lengths.then(|| row_lengths(&base));
                let a = first_factor(*seed, &source.tensor, source, *rank);
                let scale = (alpha / *rank as f64) as f32;
                Ok(Start::LowRank { base, a, b: vec![0.0; slot.rows * rank], scale, magnitude })
            }
            UpdateMethod::Singular { .. } if chosen => {
                let frame = frames.iter().find(|(known, _)| known == slot).map(|(_, frame)| Arc::clone(frame));
                frame.map(Start::Singular).ok_or_else(|| fault(model, &source.tensor, "was not decomposed"))
            }
            _ => Ok(Start::Frozen(base()?)),
        }
    };
    let vector = |slot: &Slot| {
        let values = values(model, source(slot)?)?;
        Ok(if on.is_none() { StartVector::Trained(values) } else { StartVector::Frozen(values.into()) })
    };
    Ok(Network::new(model.config.decoder.clone(), matrix, vector)?.rounded(update.bf16))
}

/// The singular values and vectors of some matrices, several at a time: found in f64, since what f32 leaves undone shows in
/// log-probabilities.
fn decomposed<'a>(
    model: &Model,
    sources: impl Iterator<Item = &'a Source>,
    threads: usize,
) -> Result<Vec<(Slot, Arc<Frame>)>, TrainError> {
    let one = |source: &Source| {
        let wide: Vec<f64> = values(model, source)?.into_iter().map(f64::from).collect();
        let svd = thin_svd(&wide, source.slot.rows, source.slot.cols)
            .map_err(|error| fault(model, &source.tensor, &format!("cannot be decomposed: {error}")))?;
        let narrow = |values: Vec<f64>| values.into_iter().map(|x| x as f32).collect();
        Ok((source.slot, Arc::new(Frame { u: narrow(svd.u), s: narrow(svd.s), vt: narrow(svd.vt) })))
    };
    let sources: Vec<&Source> = sources.collect();
    if threads > 1 {
        return sources.into_par_iter().map(one).collect();
    }
    sources.into_iter().map(one).collect()
}

/// `model` with the weights that were trained, in f32; the others stay as they are.
///
/// # Errors
/// [`TrainError::Tensor`] if a tensor cannot be made.
pub fn tuned(model: &Model, mut network: Network, ws: &Workspace) -> Result<Model, TrainError> {
    with_weights(model, |slot| network.take_weight(ws, slot))
}

/// The same of a network that goes on being trained.
///
/// # Errors
/// As [`tuned`].
pub fn snapshot(model: &Model, network: &Network, ws: &Workspace) -> Result<Model, TrainError> {
    with_weights(model, |slot| network.weight(ws, slot))
}

fn with_weights(model: &Model, mut weight: impl FnMut(&Slot) -> Option<Vec<f32>>) -> Result<Model, TrainError> {
    let mut tensors: Tensors = (*model.tensors).clone();
    let sources = sources(model);
    for (index, source) in sources.iter().enumerate() {
        let name = &source.tensor;
        if sources.iter().take(index).any(|before| before.tensor == *name) {
            continue;
        }
        // All weights that lie in this tensor.
        let mut whole: Option<Vec<f32>> = None;
        for source in sources.iter().filter(|s| s.tensor == *name) {
            let Some(part) = weight(&source.slot) else { continue };
            if source.cut.is_none() && source.plus == 0.0 {
                whole = Some(part);
                continue;
            }
            let tensor = model.tensors.get(name).ok_or_else(|| fault(model, name, "is missing"))?;
            let values = match whole.take() {
                Some(values) => values,
                None => tensor.to_f32().ok_or_else(|| fault(model, name, "is not of real numbers"))?.into_owned(),
            };
            whole = Some(placed(source, part, values));
        }
        let Some(values) = whole else { continue };
        let shape = model.tensors.get(name).map(|tensor| tensor.shape().to_vec()).unwrap_or_default();
        let tensor = Tensor::from_f32(values, shape).map_err(|e| fault(model, name, &e.to_string()))?;
        tensors.insert(name.clone(), tensor);
    }
    let card = Card { ancestors: vec![model.name.clone()], licenses: model.card.licenses.clone(), ..Card::default() };
    Ok(model.with_tensors(model.name.clone(), tensors, card))
}

/// Where each weight lies, each once.
fn sources(model: &Model) -> Vec<Source> {
    let mut all: Vec<Source> = Vec::new();
    model.config.family.for_each_source(&model.config, |source| {
        if !all.iter().any(|known| known.slot == source.slot) {
            all.push(source);
        }
    });
    all
}

/// Puts a weight into its place in the tensor that it lies in.
fn placed(source: &Source, part: Vec<f32>, mut whole: Vec<f32>) -> Vec<f32> {
    let cols = source.slot.cols;
    let stored = part.into_iter().map(|x| x - source.plus);
    let (first, transposed) = source.cut.as_ref().map_or((0, false), |cut| (cut.rows.start, cut.transposed));
    if transposed {
        let width = whole.len() / cols.max(1);
        for (i, x) in stored.enumerate() {
            let (row, column) = (i / cols, i % cols);
            if let Some(place) = whole.get_mut(column * width + first + row) {
                *place = x;
            }
        }
    } else {
        // A row of the tensor is a row of the weight; a vector cut out of a matrix is one row.
        let row = if cols == 1 && source.shape.len() == 2 { source.slot.rows } else { cols };
        whole.iter_mut().skip(first * row).zip(stored).for_each(|(place, x)| *place = x);
    }
    whole
}

fn fault(model: &Model, tensor: &str, problem: &str) -> TrainError {
    TrainError::Tensor { model: model.name.clone(), tensor: tensor.to_owned(), problem: problem.to_owned() }
}

/// The tensor that a weight is, or that is cut out for it.
fn tensor(model: &Model, source: &Source) -> Result<Tensor, TrainError> {
    let name = &source.tensor;
    let tensor = model.tensors.get(name).ok_or_else(|| fault(model, name, "is missing"))?;
    if tensor.shape() != source.shape {
        let problem = format!("has the shape {:?}, which the configuration does not ask for", tensor.shape());
        return Err(fault(model, name, &problem));
    }
    match &source.cut {
        None => Ok(tensor.clone()),
        Some(cut) => tensor.cut(cut).ok_or_else(|| fault(model, name, "has no such part")),
    }
}

/// A weight's values, row after row.
fn values(model: &Model, source: &Source) -> Result<Vec<f32>, TrainError> {
    let tensor = tensor(model, source)?;
    let not_real = || fault(model, &source.tensor, "is not a tensor of real numbers");
    let mut values = tensor.to_f32().ok_or_else(not_real)?.into_owned();
    if source.plus != 0.0 {
        values.iter_mut().for_each(|x| *x += source.plus);
    }
    finite(model, source, &values)?;
    Ok(values)
}

fn packed(model: &Model, source: &Source, threads: usize) -> Result<Arc<evo_kernels::matmul::Matrix>, TrainError> {
    let tensor = tensor(model, source)?;
    tensor.packed(threads).ok_or_else(|| fault(model, &source.tensor, "is not a tensor of real numbers"))
}

fn finite(model: &Model, source: &Source, values: &[f32]) -> Result<(), TrainError> {
    let finite = values.iter().all(|value| value.is_finite());
    if finite { Ok(()) } else { Err(fault(model, &source.tensor, "holds values that are not finite")) }
}

/// `A` of a low-rank difference: uniform in ±1/√inputs, as PEFT begins.
fn first_factor(seed: u64, name: &str, source: &Source, rank: usize) -> Vec<f32> {
    let place = format!("{name} {:?} {:?}", source.slot.part, source.slot.expert);
    let stream = Stream::from_seed(seed).child("train.low_rank").child(&place);
    let bound = 1.0 / (source.slot.cols as f64).sqrt();
    (0..(rank * source.slot.cols) as u64).map(|i| ((2.0 * stream.uniform(i) - 1.0) * bound) as f32).collect()
}

fn row_lengths(base: &evo_kernels::matmul::Matrix) -> Vec<f32> {
    let mut row = vec![0.0; base.cols()];
    (0..base.rows())
        .map(|i| {
            base.row(i, &mut row);
            row.iter().map(|x| x * x).sum::<f32>().sqrt()
        })
        .collect()
}
