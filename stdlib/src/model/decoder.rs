//! From a model's tensors to a decoder that is ready to run.

use std::sync::Arc;

use evo_kernels::decode::{Decoder, Layer, Linear, Matrix, Weights};

use super::{Model, ModelError, Tensor};

impl Model {
    /// The model as a decoder. Each tensor is packed the first time that any model needs it and shared from then on, so
    /// the decoder of a child costs only the tensors that the child changed.
    ///
    /// Packed weights take as many bytes as their tensors and live as long as they do.
    pub fn decoder(&self, threads: usize) -> Result<Decoder, ModelError> {
        let source = Source { model: self, threads };
        let config = &self.config.decoder;
        let embedding = source.matrix("model.embed_tokens.weight")?;
        let head = if config.tied_head { embedding.clone() } else { source.matrix("lm_head.weight")? };
        let layers = (0..config.num_layers).map(|i| source.layer(i)).collect::<Result<_, _>>()?;
        let weights = Weights { embedding, layers, norm: source.vector("model.norm.weight")?, head };
        Ok(Decoder::new(config.clone(), weights)?)
    }
}

struct Source<'a> {
    model: &'a Model,
    threads: usize,
}

impl Source<'_> {
    fn layer(&self, i: usize) -> Result<Layer, ModelError> {
        let config = &self.model.config.decoder;
        let name = |part: &str| format!("model.layers.{i}.{part}");
        let attention = |part: &str, bias| self.linear(&name(&format!("self_attn.{part}_proj")), bias);
        let mlp = |part: &str| self.linear(&name(&format!("mlp.{part}_proj")), config.mlp_bias);
        Ok(Layer {
            attention_norm: self.vector(&name("input_layernorm.weight"))?,
            q: attention("q", config.qkv_bias)?,
            k: attention("k", config.qkv_bias)?,
            v: attention("v", config.qkv_bias)?,
            o: attention("o", config.output_bias)?,
            mlp_norm: self.vector(&name("post_attention_layernorm.weight"))?,
            gate: mlp("gate")?,
            up: mlp("up")?,
            down: mlp("down")?,
        })
    }

    fn linear(&self, name: &str, bias: bool) -> Result<Linear, ModelError> {
        Ok(Linear {
            weight: self.matrix(&format!("{name}.weight"))?,
            bias: bias.then(|| self.vector(&format!("{name}.bias"))).transpose()?,
        })
    }

    fn tensor(&self, name: &str) -> Result<&Tensor, ModelError> {
        self.model
            .tensors
            .get(name)
            .ok_or_else(|| ModelError::MissingTensor { path: self.model.name.clone().into(), tensor: name.into() })
    }

    fn matrix(&self, name: &str) -> Result<Arc<Matrix>, ModelError> {
        let tensor = self.tensor(name)?;
        tensor.packed(self.threads).ok_or_else(|| unusable(name, tensor))
    }

    fn vector(&self, name: &str) -> Result<Arc<[f32]>, ModelError> {
        let tensor = self.tensor(name)?;
        tensor.vector().ok_or_else(|| unusable(name, tensor))
    }
}

fn unusable(name: &str, tensor: &Tensor) -> ModelError {
    ModelError::Weights { what: format!("`{name}` is {tensor:?}") }
}
