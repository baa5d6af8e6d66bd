//! Reading GGUF files: weights under Hugging Face's names and in its order, of type F32 to whoever asks for numbers, in the
//! blocks of the file to the decoder.
//!
//! In reading order: [`reader`] (the container), [`architectures`] (what metadata and tensors are called), [`vocabulary`] (the
//! tokenizer).

mod architectures;
mod reader;
mod vocabulary;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use candle_core::Device;
use candle_core::quantized::GgmlDType;
use candle_core::quantized::ggml_file::qtensor_from_ggml;
use evo_kernels::decode::Part;
use evo_kernels::matmul::Storage;
use indexmap::IndexMap;
use rayon::prelude::*;
use serde_json::{Map, Value as Json};

use self::architectures::Architecture;
use self::reader::{Contents, Info, Value};
use super::blocks::Blocks;
use super::check::{check_shapes, check_vocabulary};
use super::families::Source as Claim;
use super::safetensors::TensorHeader;
use super::tokenizer::TokenizerHeader;
use super::{Card, Config, DType, Model, ModelError, ModelHeader, Parts, Tensor};

/// Loads the GGUF file `path`: weights, and the tokenizer and chat template from the metadata. Matrices of the packings that
/// the decoder computes with stay in the mapped file, and are dequantised to f32 when their numbers are asked for; those of
/// others are dequantised at once. Query and key rows that GGUF keeps in the order of interleaved rotation are put back, as
/// are transposed matrices (GPT-2's, which are f32 then) and norms to which the file adds one (Gemma's).
pub fn gguf(path: &Path) -> Result<Model, ModelError> {
    let file = Source::open(path)?;
    let tensors = file
        .places
        .par_iter()
        .map(|(name, place)| Ok((name.clone(), file.tensor(name, place)?)))
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
    let tensors: IndexMap<String, TensorHeader> =
        file.places.iter().map(|(name, place)| (name.clone(), TensorHeader::new(DType::F32, place.shape()))).collect();
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
    /// The tensors by Hugging Face's names.
    places: Vec<(String, Place)>,
}

/// Where a tensor lies in a file, and what makes it that of Hugging Face.
struct Place {
    /// The whole tensor of the file, or the part of it that one expert is.
    info: Info,
    order: RowOrder,
    /// What the file adds to each element.
    plus: f32,
}

/// In what order a file keeps the elements of a tensor.
#[derive(Clone, Copy, PartialEq)]
enum RowOrder {
    Same,
    /// The rows of each of so many heads are those of an interleaved rotation.
    Interleaved(usize),
    Transposed,
}

impl Place {
    fn shape(&self) -> Vec<usize> {
        let shape = self.info.shape.iter().copied();
        if self.order == RowOrder::Transposed { shape.rev().collect() } else { shape.collect() }
    }
}

impl<'a> Source<'a> {
    fn open(path: &'a Path) -> Result<Self, ModelError> {
        let file = File::open(path).map_err(|e| ModelError::read(path, e))?;
        let map = Arc::new(super::map::map(&file).map_err(|e| ModelError::read(path, e))?);
        let contents = reader::read(&map).map_err(|cause| gguf_error(path, cause))?;
        if let Some(Value::Int(parts @ 2..)) = contents.metadata.get("split.count") {
            let cause = format!("it is one of {parts} parts; join them with `llama-gguf-split --merge`");
            return Err(gguf_error(path, cause));
        }
        let architecture = Architecture::of(&contents, path)?;
        let config = architecture.config(&contents, path, |name| match contents.tensors.get(name) {
            Some(info) => numbers(&map, info).map(Some).map_err(|cause| not_dequantised(path, name, &cause)),
            None => Ok(None),
        })?;
        let places = places(architecture, &config, &contents, path)?;
        Ok(Self { path, map, contents, config, places })
    }

    fn tensor(&self, name: &str, place: &Place) -> Result<Tensor, ModelError> {
        let Place { info, order, plus } = place;
        if let (&[rows, cols], Some(storage)) = (info.shape.as_slice(), storage(info.dtype)) {
            let head_dim = match order {
                RowOrder::Interleaved(heads) if rows.is_multiple_of(2 * heads) => rows / heads,
                _ => 0,
            };
            let place = (info.start, info.len);
            if *order != RowOrder::Transposed
                && *plus == 0.0
                && let Some(blocks) = Blocks::new(self.map.clone(), storage, (rows, cols), place, head_dim)
            {
                return Ok(Tensor::from_blocks(blocks));
            }
        }
        let mut data = numbers(&self.map, info).map_err(|cause| not_dequantised(self.path, name, &cause))?;
        match (order, info.shape.as_slice()) {
            (RowOrder::Interleaved(heads), [rows, rest @ ..]) if rows.is_multiple_of(2 * heads) => {
                data = half_split(&data, rows / heads, rest.iter().product());
            }
            (RowOrder::Transposed, &[rows, cols]) => {
                data = (0..cols).flat_map(|col| data.iter().skip(col).step_by(cols).take(rows).copied()).collect();
            }
            _ => {}
        }
        data.iter_mut().for_each(|x| *x -= plus);
        Tensor::from_f32(data, place.shape()).map_err(|e| gguf_error(self.path, format!("tensor `{name}`: {e}")))
    }
}

/// The tensors of a file under Hugging Face's names, in the file's order.
fn places(
    architecture: &Architecture,
    config: &Config,
    contents: &Contents,
    path: &Path,
) -> Result<Vec<(String, Place)>, ModelError> {
    let mut claims: IndexMap<String, Vec<Claim>> = IndexMap::new();
    config.family.for_each_source(&config.decoder, |source| {
        for name in architectures::names(&source) {
            let claims = claims.entry(name).or_default();
            if claims.iter().all(|claim| claim.tensor != source.tensor) {
                claims.push(source.clone());
            }
        }
    });
    let mut places = IndexMap::new();
    for (name, info) in &contents.tensors {
        let Some(claims) = claims.get(name) else {
            if architectures::ignores(name) {
                continue;
            }
            let model_type = config.model_type.clone();
            return Err(ModelError::UnknownTensor { path: path.to_path_buf(), tensor: name.clone(), model_type });
        };
        for (index, claim) in claims.iter().enumerate() {
            let info = part(info, index, claims.len()).ok_or_else(|| {
                gguf_error(path, format!("tensor `{name}` has shape {:?} for {} experts", info.shape, claims.len()))
            })?;
            let order = match claim.slot.part {
                Part::Q if architecture.interleaved => RowOrder::Interleaved(config.num_heads),
                Part::K if architecture.interleaved => RowOrder::Interleaved(config.num_kv_heads),
                _ if claim.cut.as_ref().is_some_and(|cut| cut.transposed) => RowOrder::Transposed,
                _ => RowOrder::Same,
            };
            if places.insert(claim.tensor.clone(), Place { info, order, plus: claim.plus }).is_some() {
                return Err(gguf_error(path, format!("tensor `{name}` holds what another tensor does")));
            }
        }
    }
    Ok(places.into_iter().collect())
}

/// One of so many equal parts of a tensor that has one more dimension than they; the whole if there is one.
fn part(info: &Info, index: usize, count: usize) -> Option<Info> {
    if count == 1 {
        return Some(info.clone());
    }
    let (&first, rest) = info.shape.split_first()?;
    let len = info.len / count;
    (first == count).then(|| Info { dtype: info.dtype, shape: rest.to_vec(), start: info.start + index * len, len })
}

fn numbers(map: &[u8], info: &Info) -> Result<Vec<f32>, candle_core::Error> {
    let bytes = map.get(info.start..info.start + info.len).unwrap_or_default();
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

fn not_dequantised(path: &Path, name: &str, cause: &candle_core::Error) -> ModelError {
    gguf_error(path, format!("tensor `{name}` cannot be dequantised: {cause}"))
}

fn gguf_error(path: &Path, cause: String) -> ModelError {
    ModelError::Gguf { path: path.to_path_buf(), cause }
}
