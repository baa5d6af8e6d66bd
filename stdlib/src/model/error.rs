//! Everything that can be wrong with a model, a model's file or a question asked of a model.
//!
//! Each variant carries the file, the tensor and the numbers, so that the language layer can turn it into a coded diagnostic
//! without reading the message again. [`ModelError::help`] says what to do about it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use evo_kernels::decode::DecodeError;

use super::DType;
use super::codes::is_part;

/// What is wrong with a model, its files, or what was asked of it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ModelError {
    /// A device failed: out of memory, for example.
    #[error("the device `{name}` failed: {reason}")]
    Device {
        /// Which.
        name: &'static str,
        /// What it says.
        reason: String,
    },
    /// It was asked to stop.
    #[error("the run was asked to stop")]
    Stopped,
    /// A file or directory that must be there is not.
    #[error("no such file: `{}`", path.display())]
    Missing {
        /// The file or directory.
        path: PathBuf,
    },
    /// A file cannot be read.
    #[error("cannot read `{}`: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: Arc<io::Error>,
    },
    /// A file cannot be written, for a reason other than a full disk.
    #[error("cannot write `{}`: {source}", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// The operating system's reason.
        source: Arc<io::Error>,
    },
    /// The disk is full, or a quota is spent.
    #[error("no space left for `{}`", path.display())]
    DiskFull {
        /// The file that was being written.
        path: PathBuf,
    },
    /// A JSON file is not JSON, or not of the shape that its name promises.
    #[error("`{}` is not valid: {cause}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What the parser says, with line and column.
        cause: String,
    },
    /// A field of a model's configuration is missing or makes no sense.
    #[error("`{field}` in `{}` {cause}", path.display())]
    ConfigField {
        /// The configuration file.
        path: PathBuf,
        /// The field.
        field: String,
        /// What is wrong, to be read after the field's name.
        cause: String,
    },
    /// The architecture is none that the decoder knows.
    #[error("`{}` is a `{found}` model, an unknown architecture", path.display())]
    UnknownArchitecture {
        /// The configuration file, or the GGUF file.
        path: PathBuf,
        /// The name that was found.
        found: String,
        /// The names that are known.
        known: &'static [&'static str],
    },
    /// An encoder where a decoder is needed.
    #[error("`{model}` is a `{model_type}` model: an encoder, which continues no text")]
    NoDecoder {
        /// The model.
        model: String,
        /// The architecture.
        model_type: String,
    },
    /// A tensor file's header is broken as a whole.
    #[error("`{}` is not a valid tensor file: {fault}", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        fault: HeaderFault,
    },
    /// A tensor file's header tells something impossible about one tensor.
    #[error("tensor `{tensor}` in `{}` {fault}", path.display())]
    Entry {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// What is wrong, to be read after the tensor's name.
        fault: EntryFault,
    },
    /// The index of a sharded model names a file that is not there.
    #[error("shard `{shard}` named in `{}` is missing", index.display())]
    MissingShard {
        /// The index file.
        index: PathBuf,
        /// The shard's file name.
        shard: String,
    },
    /// The index of a sharded model and its shards tell different things about a tensor.
    #[error("tensor `{tensor}`: `{}` {cause}", index.display())]
    ShardIndex {
        /// The index file.
        index: PathBuf,
        /// The tensor.
        tensor: String,
        /// What is wrong, to be read after the index's name.
        cause: String,
    },
    /// The configuration asks for a tensor that the files lack.
    #[error("tensor `{tensor}` is missing from `{}`", path.display())]
    MissingTensor {
        /// Where the model came from.
        path: PathBuf,
        /// The tensor.
        tensor: String,
    },
    /// A file holds a tensor that the architecture does not have, so that ignoring it would give wrong answers.
    #[error("tensor `{tensor}` in `{}` has no place in a `{model_type}` model", path.display())]
    UnknownTensor {
        /// Where the model came from.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// The architecture.
        model_type: String,
    },
    /// A tensor's shape is not what the configuration says.
    #[error("tensor `{tensor}` in `{}` has shape {found:?}, but its configuration says {expected:?}", path.display())]
    Shape {
        /// Where the model came from.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// The shape by the configuration.
        expected: Vec<usize>,
        /// The shape by the file.
        found: Vec<usize>,
    },
    /// A tensor of weights holds something other than floating-point numbers.
    #[error("tensor `{tensor}` holds {dtype} where floating-point weights are needed")]
    NotFloat {
        /// The tensor.
        tensor: String,
        /// Its element type.
        dtype: DType,
    },
    /// A weight is NaN or infinite.
    #[error("tensor `{tensor}` holds {value} at element {index} ({count} such values)")]
    NotFinite {
        /// The tensor.
        tensor: String,
        /// The first such element, in row-major order.
        index: usize,
        /// Its value.
        value: f32,
        /// How many elements of this tensor are not finite.
        count: usize,
    },
    /// Two models that must be alike differ in a tensor.
    #[error("tensor `{tensor}` is {left} in one model and {right} in the other")]
    Unlike {
        /// The first tensor that differs.
        tensor: String,
        /// What it is in the first model: a shape, an element type, or `absent`.
        left: String,
        /// What it is in the second.
        right: String,
    },
    /// Weights that the decoder cannot use.
    #[error("the weights do not fit the configuration: {what}")]
    Weights {
        /// Which weight.
        what: String,
    },
    /// Text was asked of a model that has no tokenizer.
    #[error("`{model}` has no tokenizer")]
    NoTokenizer {
        /// The model.
        model: String,
    },
    /// A tokenizer cannot be read or fails on a text.
    #[error("tokenizer `{}`: {cause}", path.display())]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// What the tokenizer library says.
        cause: String,
    },
    /// The tokenizer knows more tokens than the model.
    #[error("the tokenizer of `{}` has ids up to {largest}, but the model's vocabulary ends at {vocab_size}", path.display())]
    Vocabulary {
        /// Where the model came from.
        path: PathBuf,
        /// The largest id that the tokenizer can give.
        largest: u32,
        /// The rows of the embedding.
        vocab_size: usize,
    },
    /// A chat was asked of a model without a chat template.
    #[error("`{model}` has no chat template")]
    NoTemplate {
        /// The model.
        model: String,
    },
    /// A chat template does not parse, or refuses the messages.
    #[error("chat template: {cause}")]
    Template {
        /// What the template engine says.
        cause: String,
    },
    /// A GGUF file is broken, or uses something that is not supported.
    #[error("`{}` is not a GGUF model that can be read: {cause}", path.display())]
    Gguf {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// A directory that a model should replace holds something that no model has.
    #[error("`{}` holds `{file}`, which is no part of a model", path.display())]
    Occupied {
        /// The directory.
        path: PathBuf,
        /// The first such entry.
        file: String,
    },
    /// A prompt without a token.
    #[error("the prompt is empty")]
    EmptyPrompt,
    /// A token id outside the vocabulary.
    #[error("token id {id} is outside the vocabulary of {vocab_size}")]
    TokenRange {
        /// The id.
        id: u32,
        /// The vocabulary's size.
        vocab_size: usize,
    },
    /// More tokens than the model has positions for.
    #[error("{length} tokens are more than the model's {limit} positions")]
    TooLong {
        /// Prompt and continuation together, in tokens.
        length: usize,
        /// The model's limit.
        limit: usize,
    },
}

/// What can be wrong with a tensor file's header as a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderFault {
    /// Too short to hold even the header's length.
    #[error("it has {has} bytes, fewer than the 8 of the header's length")]
    TooShort {
        /// The file's length.
        has: u64,
    },
    /// The header would end beyond the file.
    #[error("its header claims {claims} bytes, but only {has} follow")]
    HeaderBeyondFile {
        /// The claimed length.
        claims: u64,
        /// The bytes after the length field.
        has: u64,
    },
    /// The header is longer than any real one.
    #[error("its header claims {claims} bytes; the format allows {limit}")]
    HeaderTooLong {
        /// The claimed length.
        claims: u64,
        /// The format's limit.
        limit: u64,
    },
    /// The header is not the JSON object that the format asks for.
    #[error("its header is not readable: {cause}")]
    NotJson {
        /// What the parser says.
        cause: String,
    },
    /// Data that no tensor covers.
    #[error("{bytes} bytes from offset {from} belong to no tensor")]
    Gap {
        /// Where the unclaimed bytes begin, counted from the end of the header.
        from: u64,
        /// How many there are.
        bytes: u64,
    },
}

/// What can be wrong with one tensor's entry in a header.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryFault {
    /// An element type that is not known.
    #[error("has the unknown element type `{dtype}`")]
    UnknownDType {
        /// The type's name.
        dtype: String,
    },
    /// A shape whose size overflows.
    #[error("has an impossible shape {shape:?}")]
    Overflow {
        /// The shape.
        shape: Vec<u64>,
    },
    /// The begin lies behind the end.
    #[error("begins at offset {begin} and ends at {end}")]
    Reversed {
        /// The begin.
        begin: u64,
        /// The end.
        end: u64,
    },
    /// The data would end beyond the file: a truncated file, or a lie.
    #[error("ends at offset {end}, but the file holds only {has} bytes of data")]
    BeyondFile {
        /// The end.
        end: u64,
        /// The bytes of data in the file.
        has: u64,
    },
    /// Shape and offsets disagree.
    #[error("needs {needs} bytes for its shape, but its offsets give {has}")]
    Length {
        /// Bytes by shape and element type.
        needs: u64,
        /// Bytes by the offsets.
        has: u64,
    },
    /// Two tensors share bytes.
    #[error("overlaps tensor `{other}`")]
    Overlap {
        /// The other tensor.
        other: String,
    },
    /// The name was there before, in this file or in another shard.
    #[error("appears twice")]
    Duplicate,
}

impl From<DecodeError> for ModelError {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::TokenRange { id, vocab_size } => Self::TokenRange { id, vocab_size },
            DecodeError::EmptyPrompt => Self::EmptyPrompt,
            DecodeError::TooLong { length, limit } => Self::TooLong { length, limit },
            DecodeError::Weights { what } => Self::Weights { what },
            DecodeError::Device { name, reason } => Self::Device { name, reason },
            DecodeError::Stopped => Self::Stopped,
        }
    }
}

impl ModelError {
    /// The error of reading `path`: a missing file is told apart from an unreadable one.
    pub fn read(path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::NotFound => Self::Missing { path },
            _ => Self::Read { path, source: Arc::new(source) },
        }
    }

    /// The error of writing `path`: a full disk is told apart from other reasons.
    pub fn write(path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::DiskFull { path }
            }
            _ => Self::Write { path, source: Arc::new(source) },
        }
    }

    /// What to do about it, as one sentence in the imperative.
    pub fn help(&self) -> String {
        match self {
            Self::Missing { path } if is_part(path) => {
                "a Hugging Face directory holds `config.json` and `model.safetensors` or its shards: download what is missing"
                    .into()
            }
            Self::Missing { path } => {
                format!("check the path `{}`; paths in a program are relative to the program's file", path.display())
            }
            Self::Read { .. } => "check that the file may be read".into(),
            Self::Write { .. } => "choose a place that may be written to with `--out`".into(),
            Self::DiskFull { .. } => {
                "free some space (`evo clean` bounds the store), or choose another disk with `--out`".into()
            }
            Self::Json { .. } => "download the file again, or correct it".into(),
            Self::ConfigField { field, .. } => {
                format!("correct `{field}`, or take the configuration from the model's publisher")
            }
            Self::UnknownArchitecture { known, .. } => {
                format!("the known architectures are {}", known.join(", "))
            }
            Self::NoDecoder { .. } => "use a decoder, such as a Llama; an encoder gives vectors of texts".into(),
            Self::Header { .. } | Self::Entry { .. } => {
                "download the file again: it is damaged, or not what its name says".into()
            }
            Self::Gguf { .. } => {
                "download the file again if it is damaged; else take another quantisation, or the model's directory with `hf`"
                    .into()
            }
            Self::MissingShard { shard, .. } => format!("download `{shard}` as well"),
            Self::ShardIndex { .. } => "take the index and all shards from one download".into(),
            Self::MissingTensor { .. } | Self::UnknownTensor { .. } | Self::Weights { .. } | Self::Shape { .. } => {
                "take the configuration and the weights from one model".into()
            }
            Self::NotFloat { .. } => "convert the model to F32, BF16 or F16 first".into(),
            Self::NotFinite { .. } => "do not use this model: its training or merging has diverged".into(),
            Self::Unlike { .. } => "weight merges need models tuned from one ancestor".into(),
            Self::NoTokenizer { .. } => {
                "add the model's `tokenizer.json` to its directory, or give token ids instead of text".into()
            }
            Self::Tokenizer { .. } => "take `tokenizer.json` from the model's publisher".into(),
            Self::Vocabulary { .. } => "take the tokenizer and the weights from one model".into(),
            Self::NoTemplate { .. } => "write the prompt as plain text, or use an instruction-tuned model".into(),
            Self::Template { .. } => "check the roles of the messages, or write the prompt as plain text".into(),
            Self::Occupied { .. } => {
                "choose another path: saving replaces a directory only if it holds a saved model".into()
            }
            Self::Device { .. } => "free memory of the device, or compute with `--device cpu`".into(),
            Self::Stopped => "`evo run FILE --resume` goes on from here".into(),
            Self::EmptyPrompt => "give at least one token".into(),
            Self::TokenRange { vocab_size, .. } => {
                format!("ids run from 0 to {}", vocab_size.saturating_sub(1))
            }
            Self::TooLong { .. } => "shorten the prompt, or ask for fewer tokens".into(),
        }
    }
}
