//! Small Llamas with random weights, to be trained by a program.

use std::path::Path;
use std::sync::Arc;

use evo_kernels::rng::Stream;
use serde_json::{Value, json};

use super::{Card, Config, Model, ModelError, Parts, Tensor, bytes};

/// The sizes of a small Llama over bytes. The default has 812,160 parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tiny {
    /// Number of blocks; 4.
    pub layers: usize,
    /// Width of the residual stream; 128.
    pub hidden: usize,
    /// Number of query heads; 4.
    pub heads: usize,
    /// Number of key heads; 4.
    pub kv_heads: usize,
    /// Width of the feed-forward part; 336.
    pub intermediate: usize,
    /// Longest sequence; 512.
    pub positions: usize,
    /// Whether the head is the embedding; true.
    pub tied: bool,
}

impl Default for Tiny {
    fn default() -> Self {
        Self { layers: 4, hidden: 128, heads: 4, kv_heads: 4, intermediate: 336, positions: 512, tied: true }
    }
}

/// A Llama over bytes with fresh weights: norms one, all else normal with deviation 0.02, each tensor from a sub-stream
/// of its own name. Its tokenizer is that of [`bytes`].
pub fn llama_tiny(sizes: &Tiny, stream: Stream) -> Result<Model, ModelError> {
    let path = Path::new("llama_tiny");
    let raw = match raw_config(sizes) {
        Value::Object(map) => map,
        _ => Default::default(),
    };
    let config = Config::from_raw(raw, path)?;
    let tensors = config
        .tensor_shapes()
        .into_iter()
        .map(|(name, shape)| {
            let tensor = fresh(&name, shape, stream)?;
            Ok((name, tensor))
        })
        .collect::<Result<_, ModelError>>()?;
    Ok(Model::new(Parts {
        name: "llama_tiny".into(),
        config: Arc::new(config),
        tensors: Arc::new(tensors),
        tokenizer: Some(Arc::new(bytes::tokenizer()?)),
        chat_template: None,
        tokenizer_config: Some(Arc::new(bytes::tokenizer_config())),
        generation_config: None,
        card: Arc::new(Card::default()),
    }))
}

fn fresh(name: &str, shape: Vec<usize>, stream: Stream) -> Result<Tensor, ModelError> {
    let count: usize = shape.iter().product();
    let stream = stream.child(name);
    let data = if name.ends_with("norm.weight") {
        vec![1.0; count]
    } else {
        (0..count as u64).map(|i| (stream.normal(i) * 0.02) as f32).collect()
    };
    Tensor::from_f32(data, shape).map_err(|e| ModelError::Weights { what: e.to_string() })
}

fn raw_config(sizes: &Tiny) -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": bytes::VOCAB_SIZE,
        "hidden_size": sizes.hidden,
        "intermediate_size": sizes.intermediate,
        "num_hidden_layers": sizes.layers,
        "num_attention_heads": sizes.heads,
        "num_key_value_heads": sizes.kv_heads,
        "max_position_embeddings": sizes.positions,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "attention_bias": false,
        "mlp_bias": false,
        "tie_word_embeddings": sizes.tied,
        "bos_token_id": null,
        "eos_token_id": bytes::END,
        "pad_token_id": bytes::END,
        "initializer_range": 0.02,
        "dtype": "float32",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_has_the_size_of_the_quickstart() {
        let model = llama_tiny(&Tiny::default(), Stream::from_seed(1)).unwrap();
        let count: usize = model.tensors.values().map(Tensor::len).sum();
        assert_eq!(count, 812_160);
        assert_eq!(model.stop_ids(), [bytes::END]);
    }

    #[test]
    fn the_stream_decides_the_weights() {
        let sizes = Tiny { layers: 1, hidden: 8, heads: 2, kv_heads: 1, intermediate: 12, ..Tiny::default() };
        let model = |seed| llama_tiny(&sizes, Stream::from_seed(seed)).unwrap();
        assert_eq!(model(1).digest(), model(1).digest());
        assert_ne!(model(1).digest(), model(2).digest());
        let bad = Tiny { heads: 3, kv_heads: 2, ..sizes };
        assert!(matches!(llama_tiny(&bad, Stream::from_seed(1)), Err(ModelError::ConfigField { .. })));
    }
}
