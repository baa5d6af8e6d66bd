//! Reading a model directory as Hugging Face lays it out: whole, or only what a check needs.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::check::{check_shapes, check_vocabulary};
use super::safetensors::{self, TensorHeader};
use super::tokenizer::TokenizerHeader;
use super::{Card, Config, EntryFault, Model, ModelError, Parts, Tokenizer};

/// What can be known about a model without reading a weight: enough to check a program.
#[derive(Clone, Debug)]
pub struct ModelHeader {
    /// Where the model is.
    pub path: PathBuf,
    /// The configuration.
    pub config: Arc<Config>,
    /// Element type and shape of each tensor.
    pub tensors: IndexMap<String, TensorHeader>,
    /// The tokenizer's size and fingerprint; `None` without one.
    pub tokenizer: Option<TokenizerHeader>,
    /// Whether there is a chat template.
    pub has_template: bool,
}

/// Loads the model in the directory `dir`: configuration, weights (mapped, not read), tokenizer and chat template.
///
/// A directory without `tokenizer.json` loads. Configuration, tensor shapes and vocabulary are checked against each other;
/// whether all weights are finite is asked apart, with [`super::check_finite`], since that reads them all.
pub fn hf(dir: &Path) -> Result<Model, ModelError> {
    let config = read_config(dir)?;
    let tensors = canonical(&config, dir, read_tensors(dir, safetensors::open)?)?;
    check_shapes(&config, &tensors, dir)?;
    let tokenizer = match optional_text(&dir.join("tokenizer.json"))? {
        Some(json) => Some(Tokenizer::from_json(&json, &dir.join("tokenizer.json"))?),
        None => None,
    };
    if let Some(tokenizer) = &tokenizer {
        check_vocabulary(tokenizer.largest_id(), config.vocab_size, dir)?;
    }
    let tokenizer_config = optional_json(&dir.join("tokenizer_config.json"))?;
    Ok(Model::new(Parts {
        name: dir.display().to_string(),
        chat_template: chat_template(dir, tokenizer_config.as_ref())?.map(Into::into),
        config: Arc::new(config),
        tensors: Arc::new(tensors),
        tokenizer: tokenizer.map(Arc::new),
        tokenizer_config: tokenizer_config.map(Arc::new),
        generation_config: optional_json(&dir.join("generation_config.json"))?.map(Arc::new),
        card: Arc::new(card(dir)?),
    }))
}

/// Reads what [`ModelHeader`] holds of the model in `dir`, with the cross-checks of [`hf`], in milliseconds.
pub fn header(dir: &Path) -> Result<ModelHeader, ModelError> {
    let config = read_config(dir)?;
    let tensors = read_tensors(dir, |path| Ok(safetensors::read_header(path)?.tensors))?;
    let tensors = canonical(&config, dir, tensors)?;
    check_shapes(&config, &tensors, dir)?;
    let path = dir.join("tokenizer.json");
    let tokenizer = match optional_text(&path)? {
        Some(json) => Some(TokenizerHeader::from_json(&json, &path)?),
        None => None,
    };
    if let Some(tokenizer) = &tokenizer {
        check_vocabulary(tokenizer.largest_id, config.vocab_size, dir)?;
    }
    let tokenizer_config = optional_json(&dir.join("tokenizer_config.json"))?;
    Ok(ModelHeader {
        path: dir.to_path_buf(),
        has_template: chat_template(dir, tokenizer_config.as_ref())?.is_some(),
        config: Arc::new(config),
        tensors,
        tokenizer,
    })
}

fn read_config(dir: &Path) -> Result<Config, ModelError> {
    // A path that is no directory is told as such, rather than as a missing file inside it.
    std::fs::read_dir(dir).map_err(|e| ModelError::read(dir, e))?;
    let path = dir.join("config.json");
    let json = std::fs::read_to_string(&path).map_err(|e| ModelError::read(&path, e))?;
    Config::from_json(&json, &path)
}

/// The tensors of one file or of all shards, each read by `open`.
fn read_tensors<T>(
    dir: &Path,
    open: impl Fn(&Path) -> Result<IndexMap<String, T>, ModelError>,
) -> Result<IndexMap<String, T>, ModelError> {
    let index = dir.join("model.safetensors.index.json");
    let single = dir.join("model.safetensors");
    let Some(json) = optional_text(&index)?.filter(|_| !single.exists()) else {
        return open(&single);
    };
    let index_json: ShardIndex =
        serde_json::from_str(&json).map_err(|e| ModelError::Json { path: index.clone(), cause: e.to_string() })?;
    let mut shards: Vec<&str> = index_json.weight_map.values().map(String::as_str).collect();
    shards.sort_unstable();
    shards.dedup();
    let mut tensors = IndexMap::new();
    for shard in shards {
        let path = shard_path(dir, &index, shard)?;
        for (name, tensor) in open(&path)? {
            check_listed(&index, &index_json, &name, shard)?;
            if tensors.insert(name.clone(), tensor).is_some() {
                return Err(ModelError::Entry { path, tensor: name, fault: EntryFault::Duplicate });
            }
        }
    }
    match index_json.weight_map.iter().find(|(name, _)| !tensors.contains_key(*name)) {
        Some((name, shard)) => Err(shard_error(&index, name, format!("puts it into `{shard}`, which lacks it"))),
        None => Ok(tensors),
    }
}

/// The tensors under the names that their family has for them, whatever the age of the file.
fn canonical<T>(config: &Config, dir: &Path, tensors: IndexMap<String, T>) -> Result<IndexMap<String, T>, ModelError> {
    let mut renamed = IndexMap::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        let name = config.family.canonical(&name).into_owned();
        if renamed.insert(name.clone(), tensor).is_some() {
            return Err(ModelError::Entry { path: dir.to_path_buf(), tensor: name, fault: EntryFault::Duplicate });
        }
    }
    Ok(renamed)
}

#[derive(Deserialize)]
struct ShardIndex {
    weight_map: IndexMap<String, String>,
}

/// The path of a shard: a plain file name, so that an index cannot reach out of its directory.
fn shard_path(dir: &Path, index: &Path, shard: &str) -> Result<PathBuf, ModelError> {
    let path = dir.join(shard);
    let plain = path.file_name().is_some_and(|name| name == shard);
    if plain && path.is_file() {
        return Ok(path);
    }
    Err(ModelError::MissingShard { index: index.to_path_buf(), shard: shard.into() })
}

fn check_listed(path: &Path, index: &ShardIndex, name: &str, shard: &str) -> Result<(), ModelError> {
    match index.weight_map.get(name) {
        Some(listed) if listed == shard => Ok(()),
        Some(listed) => {
            let cause = format!("puts it into `{listed}`, but it is in `{shard}`");
            Err(shard_error(path, name, cause))
        }
        None => Err(shard_error(path, name, format!("does not list it, but it is in `{shard}`"))),
    }
}

fn shard_error(index: &Path, tensor: &str, cause: String) -> ModelError {
    ModelError::ShardIndex { index: index.to_path_buf(), tensor: tensor.into(), cause }
}

/// `chat_template.jinja`, else the template in the tokenizer's configuration (the one called `default` of several).
fn chat_template(dir: &Path, config: Option<&Map<String, Value>>) -> Result<Option<String>, ModelError> {
    if let Some(source) = optional_text(&dir.join("chat_template.jinja"))? {
        return Ok(Some(source));
    }
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Ok(match config.and_then(|map| map.get("chat_template")) {
        Some(Value::Array(list)) => list
            .iter()
            .find(|entry| entry.get("name").and_then(Value::as_str) == Some("default"))
            .and_then(|entry| entry.get("template"))
            .and_then(text),
        Some(value) => text(value),
        None => None,
    })
}

/// The licence that the model's README names in its front matter.
fn card(dir: &Path) -> Result<Card, ModelError> {
    let readme = optional_text(&dir.join("README.md"))?.unwrap_or_default();
    let mut lines = readme.lines();
    let front = lines.next().is_some_and(|line| line.trim_end() == "---").then_some(lines);
    let license = front
        .into_iter()
        .flatten()
        .take_while(|line| line.trim_end() != "---")
        .find_map(|line| line.strip_prefix("license:"))
        .map(|value| value.trim().trim_matches('"').to_owned());
    Ok(Card { licenses: license.into_iter().collect(), ..Card::default() })
}

/// The content of a file that need not be there.
fn optional_text(path: &Path) -> Result<Option<String>, ModelError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(ModelError::read(path, e)),
    }
}

fn optional_json(path: &Path) -> Result<Option<Map<String, Value>>, ModelError> {
    optional_text(path)?
        .map(|text| {
            serde_json::from_str(&text).map_err(|e| ModelError::Json { path: path.to_path_buf(), cause: e.to_string() })
        })
        .transpose()
}
