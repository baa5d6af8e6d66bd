//! From a model's tensors to a decoder, or an encoder, that is ready to run.

use std::sync::Arc;

use evo_kernels::decode::{Decoder, Encoder, Pooling};
use evo_kernels::matmul::Matrix;

use super::families::Source;
use super::{Model, ModelError, Place, Tensor};

impl Model {
    /// The model as a decoder. Each tensor is packed the first time that any model needs it and shared from then on, so
    /// the decoder of a child costs only the tensors that the child changed.
    ///
    /// Packed weights take as many bytes as their tensors and live as long as they do.
    ///
    /// # Errors
    /// Tensors that do not fit the configuration, and a model that is an encoder.
    pub fn decoder(&self, place: impl Into<Place>) -> Result<Decoder, ModelError> {
        if !self.config.causal {
            let model_type = self.config.model_type.clone();
            return Err(ModelError::NoDecoder { model: self.name.clone(), model_type });
        }
        self.transformer(&place.into())
    }

    /// The model as an encoder: a BERT, or any decoder. `normalise` gives vectors of length one.
    ///
    /// # Errors
    /// Tensors that do not fit the configuration.
    pub fn encoder(&self, pooling: Pooling, normalise: bool, place: impl Into<Place>) -> Result<Encoder, ModelError> {
        Ok(Encoder::new(self.transformer(&place.into())?, pooling, normalise))
    }

    fn transformer(&self, place: &Place) -> Result<Decoder, ModelError> {
        let config = &self.config.decoder;
        let weights = self
            .config
            .family
            .sources(config)
            .try_map(|source| self.matrix(source, place.threads), |source| self.vector(source))?;
        place.bring(Decoder::new(config.clone(), weights)?)
    }

    fn tensor(&self, source: &Source) -> Result<Tensor, ModelError> {
        let name = &source.tensor;
        let tensor = self
            .tensors
            .get(name)
            .ok_or_else(|| ModelError::MissingTensor { path: self.name.clone().into(), tensor: name.clone() })?;
        match &source.cut {
            None => Ok(tensor.clone()),
            Some(cut) => tensor.cut(cut).ok_or_else(|| unusable(name, tensor)),
        }
    }

    fn matrix(&self, source: &Source, threads: usize) -> Result<Arc<Matrix>, ModelError> {
        let tensor = self.tensor(source)?;
        tensor.packed(threads).ok_or_else(|| unusable(&source.tensor, &tensor))
    }

    fn vector(&self, source: &Source) -> Result<Arc<[f32]>, ModelError> {
        let tensor = self.tensor(source)?;
        let values = tensor.vector().ok_or_else(|| unusable(&source.tensor, &tensor))?;
        if source.plus == 0.0 {
            return Ok(values);
        }
        Ok(values.iter().map(|x| x + source.plus).collect())
    }
}

fn unusable(name: &str, tensor: &Tensor) -> ModelError {
    ModelError::Weights { what: format!("`{name}` is {tensor:?}") }
}
