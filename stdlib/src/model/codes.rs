//! The stable codes of what can be wrong with a model, and a few words for the place.

use std::path::Path;

use super::ModelError;

impl ModelError {
    /// The stable code of its diagnostic.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing { .. } | Self::Read { .. } => "E0401",
            Self::Json { .. }
            | Self::ConfigField { .. }
            | Self::Header { .. }
            | Self::Entry { .. }
            | Self::Gguf { .. } => "E0402",
            Self::UnknownArchitecture { .. } | Self::NoDecoder { .. } => "E0403",
            Self::Unlike { .. } => "E0304",
            Self::MissingTensor { .. }
            | Self::UnknownTensor { .. }
            | Self::Shape { .. }
            | Self::NotFloat { .. }
            | Self::Weights { .. } => "E0407",
            Self::NoTokenizer { .. } | Self::Tokenizer { .. } | Self::Vocabulary { .. } => "E0408",
            Self::NotFinite { .. } => "E0409",
            Self::MissingShard { .. } | Self::ShardIndex { .. } => "E0410",
            Self::NoTemplate { .. } | Self::Template { .. } => "E0417",
            Self::Write { .. } | Self::Occupied { .. } => "R0512",
            Self::DiskFull { .. } => "R0541",
            Self::EmptyPrompt | Self::TokenRange { .. } | Self::TooLong { .. } => "R0513",
            Self::Device { .. } => "R0519",
            Self::Stopped => "R0500",
        }
    }

    /// What is wrong, in a few words.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Missing { path } if is_part(path) => "a file of the model is missing",
            Self::Missing { .. } => "there is nothing here",
            Self::Read { .. } => "cannot be read",
            Self::Json { .. } | Self::ConfigField { .. } => "its configuration is not usable",
            Self::Header { .. } | Self::Entry { .. } => "the file is damaged",
            Self::Gguf { .. } => "the file cannot be used",
            Self::UnknownArchitecture { .. } => "not an architecture that evo knows",
            Self::NoDecoder { .. } => "an encoder",
            Self::Unlike { .. } => "another shape",
            Self::MissingTensor { .. }
            | Self::UnknownTensor { .. }
            | Self::Shape { .. }
            | Self::NotFloat { .. }
            | Self::Weights { .. } => "weights and configuration do not agree",
            Self::NoTokenizer { .. } | Self::Tokenizer { .. } | Self::Vocabulary { .. } => "its tokenizer does not fit",
            Self::NotFinite { .. } => "has weights that are no numbers",
            Self::MissingShard { .. } | Self::ShardIndex { .. } => "a shard is missing",
            Self::NoTemplate { .. } | Self::Template { .. } => "no usable chat template",
            Self::Write { .. } => "cannot be written",
            Self::Occupied { .. } => "something else is there",
            Self::DiskFull { .. } => "the disk is full",
            Self::EmptyPrompt => "no token",
            Self::TokenRange { .. } => "outside the vocabulary",
            Self::TooLong { .. } => "longer than the context",
            Self::Device { .. } => "computed here",
            Self::Stopped => "stopped",
        }
    }
}

/// Whether a path names a file that every Hugging Face directory has.
pub(super) fn is_part(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "config.json" || name == "model.safetensors")
}
