//! Where each weight of a family's models lies in its files.

use std::borrow::Cow;
use std::ops::Range;

use evo_kernels::decode::{self, Part, Slot, Weights};

use super::super::tensor::Cut;
use super::{Family, Name, Prefix};

/// Llama's names.
const PARTS: &[(Part, Name)] = &[
    (Part::Embedding, Name::Own("model.embed_tokens")),
    (Part::AttentionNorm, Name::Own("input_layernorm")),
    (Part::Q, Name::Own("self_attn.q_proj")),
    (Part::K, Name::Own("self_attn.k_proj")),
    (Part::V, Name::Own("self_attn.v_proj")),
    (Part::QNorm, Name::Own("self_attn.q_norm")),
    (Part::KNorm, Name::Own("self_attn.k_norm")),
    (Part::O, Name::Own("self_attn.o_proj")),
    (Part::MlpNorm, Name::Own("post_attention_layernorm")),
    (Part::Gate, Name::Own("mlp.gate_proj")),
    (Part::Up, Name::Own("mlp.up_proj")),
    (Part::Down, Name::Own("mlp.down_proj")),
    (Part::Norm, Name::Own("model.norm")),
    (Part::Head, Name::Own("lm_head")),
];

/// Where one weight of the decoder comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// The weight's place in the decoder.
    pub slot: Slot,
    /// Whether other weights lie in the same tensor.
    pub shared: bool,
    /// The tensor's name.
    pub tensor: String,
    /// The tensor's shape.
    pub shape: Vec<usize>,
    /// What of the tensor is the weight; `None` for all of it, as it is.
    pub cut: Option<Cut>,
    /// What is added to each element.
    pub plus: f32,
}

impl Family {
    /// Where all weights of a model of this configuration come from.
    pub fn sources(&self, config: &decode::Config) -> Weights<Source, Source> {
        let source = |slot: &Slot| self.source(config, slot);
        config.slots().map(source, source)
    }

    /// Calls `f` with each of them, in the order of a pass.
    pub fn for_each_source(&self, config: &decode::Config, f: impl FnMut(Source)) {
        let f = std::cell::RefCell::new(f);
        let each = |slot: &Slot| f.borrow_mut()(self.source(config, slot));
        config.slots().map(each, each);
    }

    /// Whether each weight is a tensor of its own, kept as it is used: what training and the like work on.
    pub fn is_plain(&self) -> bool {
        let plain = |(_, name): &(Part, Name)| matches!(name, Name::Own(_));
        self.tensors.parts.iter().all(plain) && !self.tensors.transposed && !self.tensors.norms_less_one
    }

    /// Whether a tensor's name is of one that answers do not need.
    pub fn ignores(&self, name: &str) -> bool {
        self.tensors.ignored.iter().any(|part| name.starts_with(part) || name.ends_with(part))
    }

    /// What a tensor of a file is called in memory.
    pub fn canonical<'a>(&self, name: &'a str) -> Cow<'a, str> {
        let name = match self.tensors.prefix {
            Prefix::With(prefix) if !name.starts_with(prefix) && !name.starts_with("lm_head.") => {
                Cow::Owned(format!("{prefix}{name}"))
            }
            Prefix::Without(prefix) => Cow::Borrowed(name.strip_prefix(prefix).unwrap_or(name)),
            Prefix::With(_) | Prefix::No => Cow::Borrowed(name),
        };
        let older = self.tensors.renamed.iter().find_map(|(old, new)| Some((name.strip_suffix(old)?, *new)));
        match older {
            Some((stem, new)) => Cow::Owned(format!("{stem}{new}")),
            None => name,
        }
    }

    fn source(&self, config: &decode::Config, slot: &Slot) -> Source {
        let here = |parts: &[(Part, Name)]| parts.iter().find(|(part, _)| *part == slot.part).map(|(_, name)| *name);
        let name = here(self.tensors.parts).or_else(|| here(PARTS)).unwrap_or(Name::Own(""));
        let (name, rows, total) = match name {
            Name::Own(name) => (name, 0..slot.rows, slot.rows),
            Name::Shared(name, parts) => {
                let (rows, total) = share(config, slot.part, parts);
                (name, rows, total)
            }
        };
        let name = match slot.expert {
            Some(expert) => name.replace("{}", &expert.to_string()),
            None => name.to_owned(),
        };
        let kind = if slot.bias { "bias" } else { "weight" };
        let tensor = match slot.layer {
            Some(layer) => format!("{}{layer}.{name}.{kind}", self.tensors.blocks),
            None => format!("{name}.{kind}"),
        };
        if slot.part == Part::TokenType {
            let cut = Cut { rows: 0..1, transposed: false };
            let shape = vec![config.token_types, slot.rows];
            return Source { slot: *slot, shared: false, tensor, shape, cut: Some(cut), plus: 0.0 };
        }
        let vector = slot.cols == 1 && (slot.bias || is_norm(slot.part));
        let linear = !matches!(slot.part, Part::Embedding | Part::Positions | Part::Head | Part::Router);
        let transposed = self.tensors.transposed && linear && !vector;
        let shape = match (vector, transposed) {
            (true, _) => vec![total],
            (false, false) => vec![total, slot.cols],
            (false, true) => vec![slot.cols, total],
        };
        let whole = rows.len() == total && !transposed;
        let less_one = self.tensors.norms_less_one && is_norm(slot.part) && !slot.bias;
        let plus = if less_one { 1.0 } else { 0.0 };
        let shared = rows.len() < total;
        Source { slot: *slot, shared, tensor, shape, cut: (!whole).then_some(Cut { rows, transposed }), plus }
    }
}

/// Which outputs of a shared tensor are this part's, and how many there are.
fn share(config: &decode::Config, part: Part, parts: &[Part]) -> (Range<usize>, usize) {
    let outputs = |part: &Part| match part {
        Part::Q => config.query_size(),
        Part::K | Part::V => config.kv_size(),
        Part::Gate | Part::Up => config.intermediate_size,
        _ => 0,
    };
    let start: usize = parts.iter().take_while(|p| **p != part).map(outputs).sum();
    (start..start + outputs(&part), parts.iter().map(outputs).sum())
}

fn is_norm(part: Part) -> bool {
    use Part::*;
    matches!(part, EmbeddingNorm | AttentionNorm | QNorm | KNorm | AttentionOutNorm | MlpNorm | MlpOutNorm | Norm)
}
