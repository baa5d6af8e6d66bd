//! Writing a model directory as Hugging Face lays it out: whole, or not at all.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use safetensors::SafeTensorError;
use serde_json::{Map, Value, json};

use super::{Card, DType, Model, ModelError, Tensor, Tensors};

/// Bytes of tensors in one file, as transformers 4 shards.
const SHARD: usize = 5_000_000_000;

/// Writes `model` to the directory `dir`: weights in their own element types, in shards of 5 GB, configuration, tokenizer,
/// chat template, and a README that tells the model's [`Card`].
///
/// Everything is written beside `dir`, synced, and renamed into place, so `dir` is never half a model. A model that is there
/// already is replaced; a directory with anything else in it is refused. Missing parent directories are made.
pub fn save(model: &Model, dir: &Path) -> Result<(), ModelError> {
    save_sharded(model, dir, SHARD)
}

fn save_sharded(model: &Model, dir: &Path, shard: usize) -> Result<(), ModelError> {
    check_replaceable(dir)?;
    let (fresh, old) = (beside(dir, "writing"), beside(dir, "replaced"));
    if let Some(parent) = parent(dir) {
        fs::create_dir_all(parent).map_err(|e| ModelError::write(parent, e))?;
    }
    remove(&fresh)?;
    let written = write_all(model, &fresh, shard).and_then(|()| replace(dir, &fresh, &old));
    if written.is_err() {
        // The first error is the one to tell; what is left over is removed by the next attempt.
        let _ = remove(&fresh);
    }
    written
}

/// A sibling of `dir` with a name that says what it is for.
fn beside(dir: &Path, purpose: &str) -> PathBuf {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    dir.with_file_name(format!(".{name}.{purpose}"))
}

fn parent(dir: &Path) -> Option<&Path> {
    dir.parent().filter(|parent| !parent.as_os_str().is_empty())
}

fn remove(dir: &Path) -> Result<(), ModelError> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(ModelError::write(dir, e)),
        _ => Ok(()),
    }
}

/// Refuses to replace anything that saving has not written: a path without a name, a file, a directory with other files.
fn check_replaceable(dir: &Path) -> Result<(), ModelError> {
    let occupied = |file: String| ModelError::Occupied { path: dir.to_path_buf(), file };
    if dir.file_name().is_none() {
        return Err(occupied(".".into()));
    }
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(ModelError::write(dir, e)),
    };
    for entry in entries {
        let name = entry.map_err(|e| ModelError::write(dir, e))?.file_name();
        let name = name.to_string_lossy();
        let ours = name.ends_with(".safetensors")
            || name.ends_with(".json")
            || matches!(name.as_ref(), "README.md" | "chat_template.jinja");
        if !ours {
            return Err(occupied(name.into_owned()));
        }
    }
    Ok(())
}

fn replace(dir: &Path, fresh: &Path, old: &Path) -> Result<(), ModelError> {
    let failed = |e| ModelError::write(dir, e);
    remove(old)?;
    if dir.exists() {
        fs::rename(dir, old).map_err(failed)?;
    }
    if let Err(e) = fs::rename(fresh, dir) {
        let _ = fs::rename(old, dir);
        return Err(failed(e));
    }
    sync(parent(dir).unwrap_or(Path::new(".")))?;
    remove(old)
}

fn sync(path: &Path) -> Result<(), ModelError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(|e| ModelError::write(path, e))
}

fn write_all(model: &Model, dir: &Path, shard: usize) -> Result<(), ModelError> {
    fs::create_dir(dir).map_err(|e| ModelError::write(dir, e))?;
    write_json(&dir.join("config.json"), &config_json(model))?;
    write_tensors(&model.tensors, dir, shard)?;
    if let Some(config) = &model.generation_config {
        write_json(&dir.join("generation_config.json"), config)?;
    }
    if let Some(tokenizer) = &model.tokenizer {
        write_text(&dir.join("tokenizer.json"), tokenizer.json())?;
    }
    if let Some(config) = &model.tokenizer_config {
        write_json(&dir.join("tokenizer_config.json"), config)?;
    }
    if let Some(template) = &model.chat_template {
        write_text(&dir.join("chat_template.jinja"), template)?;
    }
    write_text(&dir.join("README.md"), &readme(&model.card))?;
    sync(dir)
}

/// The configuration as it was read, with the element type that the weights have now.
fn config_json(model: &Model) -> Map<String, Value> {
    let mut raw = model.config.raw.clone();
    let mut dtypes = model.tensors.values().map(Tensor::dtype);
    let name = match dtypes.next() {
        Some(first) if dtypes.all(|d| d == first) => match first {
            DType::F32 => "float32",
            DType::BF16 => "bfloat16",
            DType::F16 => "float16",
            _ => return raw,
        },
        _ => return raw,
    };
    let field = if raw.contains_key("torch_dtype") { "torch_dtype" } else { "dtype" };
    raw.insert(field.into(), name.into());
    raw
}

fn write_text(path: &Path, text: &str) -> Result<(), ModelError> {
    fs::write(path, text).map_err(|e| ModelError::write(path, e))?;
    sync(path)
}

fn write_json(path: &Path, map: &Map<String, Value>) -> Result<(), ModelError> {
    let text = serde_json::to_string_pretty(map).map_err(|e| ModelError::write(path, e.into()))?;
    write_text(path, &(text + "\n"))
}

fn write_tensors(tensors: &Tensors, dir: &Path, limit: usize) -> Result<(), ModelError> {
    let shards = shards(tensors, limit);
    if let [all] = shards.as_slice() {
        return write_shard(&dir.join("model.safetensors"), all);
    }
    let mut weight_map = Map::new();
    for (i, shard) in shards.iter().enumerate() {
        let name = format!("model-{:05}-of-{:05}.safetensors", i + 1, shards.len());
        write_shard(&dir.join(&name), shard)?;
        weight_map.extend(shard.iter().map(|(tensor, _)| ((*tensor).clone(), name.clone().into())));
    }
    let total: usize = tensors.values().map(Tensor::byte_len).sum();
    let mut index = Map::new();
    index.insert("metadata".into(), json!({ "total_size": total }));
    index.insert("weight_map".into(), Value::Object(weight_map));
    write_json(&dir.join("model.safetensors.index.json"), &index)
}

/// The tensors in files of at most `limit` bytes, or of one tensor that is larger.
fn shards(tensors: &Tensors, limit: usize) -> Vec<Vec<(&String, &Tensor)>> {
    let mut shards = vec![Vec::new()];
    let mut size = 0;
    for (name, tensor) in tensors {
        let bytes = tensor.byte_len();
        if size > 0 && size + bytes > limit {
            shards.push(Vec::new());
            size = 0;
        }
        size += bytes;
        if let Some(shard) = shards.last_mut() {
            shard.push((name, tensor));
        }
    }
    shards
}

fn write_shard(path: &Path, tensors: &[(&String, &Tensor)]) -> Result<(), ModelError> {
    let data = tensors.iter().map(|&(name, tensor)| (name, tensor));
    let format = [("format".to_owned(), "pt".to_owned())];
    safetensors::serialize_to_file(data, Some(format.into()), path).map_err(|e| match e {
        SafeTensorError::IoError(e) => ModelError::write(path, e),
        other => ModelError::write(path, std::io::Error::other(other.to_string())),
    })?;
    // The library writes files that only their owner may read; these are as public as the configuration beside them.
    fs::metadata(path.with_file_name("config.json"))
        .and_then(|config| fs::set_permissions(path, config.permissions()))
        .map_err(|e| ModelError::write(path, e))?;
    sync(path)
}

impl safetensors::View for &Tensor {
    fn dtype(&self) -> safetensors::Dtype {
        use safetensors::Dtype;
        match Tensor::dtype(self) {
            DType::F64 => Dtype::F64,
            DType::F32 => Dtype::F32,
            DType::F16 => Dtype::F16,
            DType::BF16 => Dtype::BF16,
            DType::I64 => Dtype::I64,
            DType::I32 => Dtype::I32,
            DType::I16 => Dtype::I16,
            DType::I8 => Dtype::I8,
            DType::U64 => Dtype::U64,
            DType::U32 => Dtype::U32,
            DType::U16 => Dtype::U16,
            DType::U8 => Dtype::U8,
            DType::Bool => Dtype::BOOL,
            DType::F8E4M3 => Dtype::F8_E4M3,
            DType::F8E5M2 => Dtype::F8_E5M2,
        }
    }

    fn shape(&self) -> &[usize] {
        Tensor::shape(self)
    }

    fn data(&self) -> std::borrow::Cow<'_, [u8]> {
        Tensor::data(self)
    }

    fn data_len(&self) -> usize {
        self.byte_len()
    }
}

/// The README: front matter that Hugging Face reads, then how the model was made.
fn readme(card: &Card) -> String {
    let mut text = String::from("---\nlibrary_name: transformers\n");
    match card.licenses.as_slice() {
        [] => {}
        [one] => text += &format!("license: {one}\n"),
        _ => text += "license: other\n",
    }
    if !card.ancestors.is_empty() {
        text += "base_model:\n";
        for ancestor in &card.ancestors {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "- {}", json!(ancestor));
        }
    }
    text += "tags:\n- evo\n---\n\nMade by evo, a language for evolutionary AI.\n";
    if let Some(program) = &card.program {
        let _ = write!(text, "\nProgram: `{program}`\n");
    }
    if !card.ancestors.is_empty() {
        text += "\n## Ancestors\n\n";
        for ancestor in &card.ancestors {
            let _ = writeln!(text, "- `{ancestor}`");
        }
    }
    if !card.licenses.is_empty() {
        let _ = write!(text, "\nLicences of the ancestors: {}\n", card.licenses.join(", "));
    }
    if let Some(recipe) = &card.recipe {
        let _ = write!(text, "\n## Recipe\n\n```text\n{}\n```\n", recipe.trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use evo_kernels::rng::Stream;

    use super::*;
    use crate::model::{Tiny, hf, llama_tiny};

    fn tiny() -> Model {
        let sizes = Tiny { layers: 2, hidden: 8, heads: 2, kv_heads: 1, intermediate: 12, ..Tiny::default() };
        llama_tiny(&sizes, Stream::from_seed(1)).unwrap()
    }

    #[test]
    fn shards_hold_what_one_file_would() {
        let place = tempfile::tempdir().unwrap();
        let model = tiny();
        for limit in [1, 1000, 9000, usize::MAX] {
            let dir = place.path().join(limit.to_string());
            save_sharded(&model, &dir, limit).unwrap();
            assert_eq!(hf(&dir).unwrap().identity(), model.identity());
            let single = dir.join("model.safetensors").exists();
            assert_eq!(single, limit == usize::MAX);
            assert_ne!(single, dir.join("model.safetensors.index.json").exists());
        }
    }

    #[cfg(unix)]
    #[test]
    fn weights_are_as_public_as_the_rest() {
        use std::os::unix::fs::PermissionsExt;

        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("model");
        save(&tiny(), &dir).unwrap();
        let mode = |name| fs::metadata(dir.join(name)).unwrap().permissions().mode();
        assert_eq!(mode("model.safetensors"), mode("README.md"));
    }

    #[test]
    fn the_card_tells_where_a_model_comes_from() {
        let card = Card {
            recipe: Some("merge child = linear { models: [a, b] }\n".into()),
            ancestors: vec!["models/a".into(), "x: \"y\"".into()],
            licenses: vec!["mit".into()],
            program: Some("abc".into()),
            training: None,
        };
        let text = readme(&card);
        assert!(text.starts_with("---\nlibrary_name: transformers\nlicense: mit\nbase_model:\n- \"models/a\"\n"));
        assert!(text.contains("- \"x: \\\"y\\\"\"\n"));
        assert!(text.contains("```text\nmerge child = linear { models: [a, b] }\n```"));
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("model");
        let model = tiny();
        let child = model.with_tensors("child", (*model.tensors).clone(), card);
        save(&child, &dir).unwrap();
        assert_eq!(hf(&dir).unwrap().card.licenses, ["mit"]);
    }
}
