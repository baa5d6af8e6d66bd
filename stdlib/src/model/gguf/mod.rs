//! Reading GGUF files: Llama-family weights under Hugging Face's names and in its order, of type F32 to whoever asks for
//! numbers, in the blocks of the file to the decoder.

mod reader;
mod vocabulary;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use candle_core::Device;
use candle_core::quantized::GgmlDType;
use candle_core::quantized::ggml_file::qtensor_from_ggml;
use evo_kernels::decode::Storage;
use indexmap::IndexMap;
use rayon::prelude::*;
use serde_json::{Map, Value as Json, json};

use self::reader::{Contents, Info, Value};
use super::blocks::Blocks;
use super::check::{check_shapes, check_vocabulary};
use super::safetensors::TensorHeader;
use super::tokenizer::TokenizerHeader;
use super::{Card, Config, DType, Model, ModelError, ModelHeader, Parts, Tensor};

/// The architectures that are read from GGUF files, by their names there.
const ARCHITECTURES: &[&str] = &["llama"];

/// Loads the GGUF file `path`: weights, and the tokenizer and chat template from the metadata. Matrices of the packings that
/// the decoder computes with stay in the mapped file, and are dequantised to f32 when their numbers are asked for; those of
/// others are dequantised at once. Query and key rows, which GGUF keeps in the order of interleaved rotation, are put back.
pub fn gguf(path: &Path) -> Result<Model, ModelError> {
    let file = Source::open(path)?;
    let tensors = file
        .names
        .par_iter()
        .map(|(name, info)| Ok((name.clone(), file.tensor(name, info)?)))
        .collect::<Result<Vec<_>, ModelError>>()?
        .into_iter()
        .collect();
    check_shapes(&file.config, &tensors, path)?;
    let metadata = &file.contents.metadata;
    let tokenizer = vocabulary::tokenizer(metadata, path)?;
    if let Some(tokenizer) = &tokenizer {
        check_vocabulary(tokenizer.largest_id(), file.config.vocab_size, path)?;
    }
    Ok(Model::new(Parts {
        name: path.display().to_string(),
        tensors: Arc::new(tensors),
        tokenizer_config: tokenizer.is_some().then(|| Arc::new(vocabulary::tokenizer_config(metadata))),
        tokenizer: tokenizer.map(Arc::new),
        chat_template: text(metadata, "tokenizer.chat_template").map(Into::into),
        generation_config: Some(Arc::new(generation_config(metadata))),
        card: Arc::new(Card {
            licenses: text(metadata, "general.license").map(str::to_owned).into_iter().collect(),
            ..Card::default()
        }),
        config: Arc::new(file.config),
    }))
}

/// What can be known about the GGUF file `path` without reading a weight.
pub fn gguf_header(path: &Path) -> Result<ModelHeader, ModelError> {
    let file = Source::open(path)?;
    let tensors: IndexMap<String, TensorHeader> = file
        .names
        .iter()
        .map(|(name, info)| (name.clone(), TensorHeader::new(DType::F32, info.shape.clone())))
        .collect();
    check_shapes(&file.config, &tensors, path)?;
    let metadata = &file.contents.metadata;
    let tokenizer = vocabulary::tokenizer_json(metadata)
        .map_err(|cause| gguf_error(path, cause))?
        .map(|json| TokenizerHeader::from_json(&json, path))
        .transpose()?;
    if let Some(tokenizer) = &tokenizer {
        check_vocabulary(tokenizer.largest_id, file.config.vocab_size, path)?;
    }
    Ok(ModelHeader {
        path: path.to_path_buf(),
        has_template: text(metadata, "tokenizer.chat_template").is_some(),
        tensors,
        tokenizer,
        config: Arc::new(file.config),
    })
}

/// An opened file: everything but the weights is read and checked.
struct Source<'a> {
    path: &'a Path,
    map: Arc<memmap2::Mmap>,
    contents: Contents,
    config: Config,
    /// The tensors under Hugging Face's names.
    names: Vec<(String, Info)>,
}

impl<'a> Source<'a> {
    fn open(path: &'a Path) -> Result<Self, ModelError> {
        let file = File::open(path).map_err(|e| ModelError::read(path, e))?;
        let map = Arc::new(super::map::map(&file).map_err(|e| ModelError::read(path, e))?);
        let contents = reader::read(&map).map_err(|cause| gguf_error(path, cause))?;
        let config = config(&contents, path)?;
        let names = contents
            .tensors
            .iter()
            .map(|(name, info)| match hf_name(name) {
                Some(name) => Ok((name, info.clone())),
                None => Err(ModelError::UnknownTensor {
                    path: path.to_path_buf(),
                    tensor: name.clone(),
                    model_type: config.model_type.clone(),
                }),
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { path, map, contents, config, names })
    }

    fn tensor(&self, name: &str, info: &Info) -> Result<Tensor, ModelError> {
        let heads = if name.contains(".q_proj.") {
            self.config.num_heads
        } else if name.contains(".k_proj.") {
            self.config.num_kv_heads
        } else {
            0
        };
        if let (&[rows, cols], Some(storage)) = (info.shape.as_slice(), storage(info.dtype)) {
            let head_dim = if heads > 0 && rows.is_multiple_of(2 * heads) { rows / heads } else { 0 };
            let place = (info.start, info.len);
            if let Some(blocks) = Blocks::new(self.map.clone(), storage, (rows, cols), place, head_dim) {
                return Ok(Tensor::from_blocks(blocks));
            }
        }
        let data = self
            .numbers(info)
            .map_err(|cause| gguf_error(self.path, format!("tensor `{name}` cannot be dequantised: {cause}")))?;
        let data = match info.shape.split_first() {
            Some((&rows, rest)) if heads > 0 && rows.is_multiple_of(2 * heads) => {
                half_split(&data, rows / heads, rest.iter().product())
            }
            _ => data,
        };
        Tensor::from_f32(data, info.shape.clone()).map_err(|e| gguf_error(self.path, format!("tensor `{name}`: {e}")))
    }

    fn numbers(&self, info: &Info) -> Result<Vec<f32>, candle_core::Error> {
        let bytes = self.map.get(info.start..info.start + info.len).unwrap_or_default();
        // candle reads blocks in place, so they must be aligned, which a file need not do.
        let mut aligned = vec![0u64; info.len.div_ceil(8)];
        let buffer: &mut [u8] = bytemuck::cast_slice_mut(&mut aligned);
        if let Some(buffer) = buffer.get_mut(..bytes.len()) {
            buffer.copy_from_slice(bytes);
        }
        let buffer = bytemuck::cast_slice(&aligned).get(..info.len).unwrap_or_default();
        qtensor_from_ggml(info.dtype, buffer, info.shape.clone(), &Device::Cpu)?
            .dequantize(&Device::Cpu)?
            .flatten_all()?
            .to_vec1()
    }
}

/// The decoder's storage for a packing, if it has one.
fn storage(dtype: GgmlDType) -> Option<Storage> {
    Some(match dtype {
        GgmlDType::F32 => Storage::F32,
        GgmlDType::F16 => Storage::F16,
        GgmlDType::BF16 => Storage::Bf16,
        GgmlDType::Q8_0 => Storage::Q8_0,
        GgmlDType::Q4_0 => Storage::Q4_0,
        GgmlDType::Q4_1 => Storage::Q4_1,
        GgmlDType::Q4K => Storage::Q4K,
        GgmlDType::Q6K => Storage::Q6K,
        _ => return None,
    })
}

/// Within each head, row `2i + a` (pairs side by side) becomes row `a · head_dim / 2 + i` (halves side by side).
fn half_split(data: &[f32], head_dim: usize, cols: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(data.len());
    for head in data.chunks_exact((head_dim * cols).max(1)) {
        for a in 0..2 {
            for row in head.chunks_exact(cols.max(1)).skip(a).step_by(2) {
                out.extend_from_slice(row);
            }
        }
    }
    out
}

fn hf_name(name: &str) -> Option<String> {
    let plain = match name {
        "token_embd.weight" => "model.embed_tokens.weight",
        "output_norm.weight" => "model.norm.weight",
        "output.weight" => "lm_head.weight",
        _ => "",
    };
    if !plain.is_empty() {
        return Some(plain.into());
    }
    let (layer, rest) = name.strip_prefix("blk.")?.split_once('.')?;
    let layer: usize = layer.parse().ok()?;
    let (part, kind) = rest.rsplit_once('.')?;
    if !matches!(kind, "weight" | "bias") {
        return None;
    }
    let part = match part {
        "attn_norm" => "input_layernorm",
        "ffn_norm" => "post_attention_layernorm",
        "attn_q" => "self_attn.q_proj",
        "attn_k" => "self_attn.k_proj",
        "attn_v" => "self_attn.v_proj",
        "attn_output" => "self_attn.o_proj",
        "ffn_gate" => "mlp.gate_proj",
        "ffn_up" => "mlp.up_proj",
        "ffn_down" => "mlp.down_proj",
        _ => return None,
    };
    Some(format!("model.layers.{layer}.{part}.{kind}"))
}

/// The configuration as Hugging Face would write it.
fn config(contents: &Contents, path: &Path) -> Result<Config, ModelError> {
    let metadata = &contents.metadata;
    let architecture = text(metadata, "general.architecture").unwrap_or_default();
    if !ARCHITECTURES.contains(&architecture) {
        return Err(ModelError::UnknownArchitecture {
            path: path.to_path_buf(),
            found: architecture.into(),
            known: ARCHITECTURES,
        });
    }
    let number = |key: &str| match metadata.get(&format!("{architecture}.{key}")) {
        Some(Value::Int(n)) => i64::try_from(*n).map_or(Json::Null, Json::from),
        Some(Value::Float(x)) => (*x).into(),
        _ => Json::Null,
    };
    let vocab = contents.tensors.get("token_embd.weight").and_then(|info| info.shape.first());
    let scaling = text(metadata, &format!("{architecture}.rope.scaling.type"));
    let rope_scaling = match scaling {
        None | Some("none") => Json::Null,
        Some(kind) => json!({"rope_type": kind, "factor": number("rope.scaling.factor")}),
    };
    let mut head_dim = number("attention.key_length");
    if head_dim.is_null() {
        head_dim = number("rope.dimension_count");
    }
    let id = |key: &str| id(metadata, key).map_or(Json::Null, Json::from);
    let bias = |name: &str| contents.tensors.contains_key(name);
    let mut theta = number("rope.freq_base");
    if theta.is_null() {
        theta = json!(10_000.0);
    }
    let raw = json!({
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": vocab,
        "hidden_size": number("embedding_length"),
        "intermediate_size": number("feed_forward_length"),
        "num_hidden_layers": number("block_count"),
        "num_attention_heads": number("attention.head_count"),
        "num_key_value_heads": number("attention.head_count_kv"),
        "head_dim": head_dim,
        "max_position_embeddings": number("context_length"),
        "hidden_act": "silu",
        "rms_norm_eps": number("attention.layer_norm_rms_epsilon"),
        "rope_theta": theta,
        "rope_scaling": rope_scaling,
        "attention_bias": bias("blk.0.attn_q.bias"),
        "mlp_bias": bias("blk.0.ffn_gate.bias"),
        "tie_word_embeddings": !contents.tensors.contains_key("output.weight"),
        "bos_token_id": id("bos_token_id"),
        "eos_token_id": id("eos_token_id"),
        "pad_token_id": id("padding_token_id"),
        "dtype": "float32",
    });
    match raw {
        Json::Object(map) => Config::from_raw(map, path),
        _ => Err(gguf_error(path, "its configuration is no object".into())),
    }
}

fn generation_config(metadata: &IndexMap<String, Value>) -> Map<String, Json> {
    [("bos_token_id", "bos_token_id"), ("eos_token_id", "eos_token_id"), ("pad_token_id", "padding_token_id")]
        .into_iter()
        .filter_map(|(name, key)| Some((name.to_owned(), id(metadata, key)?.into())))
        .collect()
}

/// A token id of the tokenizer's metadata.
fn id(metadata: &IndexMap<String, Value>, key: &str) -> Option<u32> {
    match metadata.get(&format!("tokenizer.ggml.{key}")) {
        Some(Value::Int(id)) => u32::try_from(*id).ok(),
        _ => None,
    }
}

fn text<'a>(metadata: &'a IndexMap<String, Value>, key: &str) -> Option<&'a str> {
    match metadata.get(key) {
        Some(Value::Text(text)) => Some(text),
        _ => None,
    }
}

fn gguf_error(path: &Path, cause: String) -> ModelError {
    ModelError::Gguf { path: path.to_path_buf(), cause }
}
