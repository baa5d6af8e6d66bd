//! Cross-checks: the configuration against the tensors, the tokenizer against the vocabulary, one model against another.

use std::path::Path;

use indexmap::IndexMap;
use rayon::prelude::*;

use super::safetensors::TensorHeader;
use super::{Config, DType, ModelError, Tensor, Tensors};

/// What a check sees of a tensor, be it loaded or only its header.
pub trait Shaped {
    /// The element type.
    fn dtype(&self) -> DType;
    /// The shape.
    fn shape(&self) -> &[usize];
}

impl Shaped for Tensor {
    fn dtype(&self) -> DType {
        Tensor::dtype(self)
    }

    fn shape(&self) -> &[usize] {
        Tensor::shape(self)
    }
}

impl Shaped for TensorHeader {
    fn dtype(&self) -> DType {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }
}

/// Whether the tensors are those of the configuration: none missing, none of another shape or type, none unknown.
///
/// Two kinds are passed over, as everywhere: what the family's answers do not need, such as precomputed rotary frequencies,
/// and a head beside a tied embedding.
pub fn check_shapes<T: Shaped>(config: &Config, tensors: &IndexMap<String, T>, path: &Path) -> Result<(), ModelError> {
    let path_buf = || path.to_path_buf();
    let mut known = 0;
    for (name, expected) in config.tensor_shapes() {
        let Some(tensor) = tensors.get(&name) else {
            return Err(ModelError::MissingTensor { path: path_buf(), tensor: name });
        };
        known += 1;
        if tensor.shape() != expected {
            return Err(ModelError::Shape { path: path_buf(), tensor: name, expected, found: tensor.shape().to_vec() });
        }
        if !tensor.dtype().is_float() {
            return Err(ModelError::NotFloat { tensor: name, dtype: tensor.dtype() });
        }
    }
    if known == tensors.len() {
        return Ok(());
    }
    let expected: indexmap::IndexSet<String> = config.tensor_shapes().into_iter().map(|(name, _)| name).collect();
    let passed_over = |name: &str| config.family.ignores(name) || (config.tied_head && name == "lm_head.weight");
    match tensors.keys().find(|name| !expected.contains(*name) && !passed_over(name)) {
        Some(name) => Err(ModelError::UnknownTensor {
            path: path_buf(),
            tensor: name.clone(),
            model_type: config.model_type.clone(),
        }),
        None => Ok(()),
    }
}

/// Whether every id that a tokenizer can give is in the model's vocabulary.
pub fn check_vocabulary(largest: Option<u32>, vocab_size: usize, path: &Path) -> Result<(), ModelError> {
    match largest {
        Some(largest) if largest as usize >= vocab_size => {
            Err(ModelError::Vocabulary { path: path.to_path_buf(), largest, vocab_size })
        }
        _ => Ok(()),
    }
}

/// Whether every weight is a finite number. Reads them all, on the threads of the surrounding pool; the first tensor at
/// fault, in the order of the files, is told.
pub fn check_finite(tensors: &Tensors) -> Result<(), ModelError> {
    tensors
        .iter()
        .collect::<Vec<_>>()
        .into_par_iter()
        .find_map_first(|(name, tensor)| not_finite(name, tensor))
        .map_or(Ok(()), Err)
}

fn not_finite(name: &str, tensor: &Tensor) -> Option<ModelError> {
    let values = tensor.to_f32()?;
    let bad = || values.iter().enumerate().filter(|(_, x)| !x.is_finite());
    let (index, &value) = bad().next()?;
    Some(ModelError::NotFinite { tensor: name.into(), index, value, count: bad().count() })
}

/// Whether two models can be combined tensor by tensor: the same names, shapes and (with `dtypes`) element types.
pub fn check_alike<A: Shaped, B: Shaped>(
    left: &IndexMap<String, A>,
    right: &IndexMap<String, B>,
    dtypes: bool,
) -> Result<(), ModelError> {
    for (name, a) in left {
        let Some(b) = right.get(name) else {
            return Err(unlike(name, format!("{:?}", a.shape()), "absent".into()));
        };
        if a.shape() != b.shape() {
            return Err(unlike(name, format!("{:?}", a.shape()), format!("{:?}", b.shape())));
        }
        if dtypes && a.dtype() != b.dtype() {
            return Err(unlike(name, a.dtype().to_string(), b.dtype().to_string()));
        }
    }
    match right.iter().find(|(name, _)| !left.contains_key(*name)) {
        Some((name, b)) => Err(unlike(name, "absent".into(), format!("{:?}", b.shape()))),
        None => Ok(()),
    }
}

fn unlike(tensor: &str, left: String, right: String) -> ModelError {
    ModelError::Unlike { tensor: tensor.into(), left, right }
}
