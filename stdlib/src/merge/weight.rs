//! `Weight`: a number, a list with one entry a model, or a closure over tensors.

use evo_lang::ir::text_id;
use evo_lang::plan::Const;
use evo_lang::types::Ty;

use crate::bind::FromValue;
use crate::cx::Failure;
use crate::value::{NumericFn, Value};

/// What a closure sees of the tensor at hand.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorInfo {
    /// Its name, as Hugging Face spells it.
    pub name: String,
    /// Its layer: 0 before the first block, the last layer after the last.
    pub layer: usize,
    /// How many layers there are.
    pub layers: usize,
    /// Its part, as the index of its case in the library's enumeration `Part`.
    pub part: u32,
    /// Its shape.
    pub shape: Vec<usize>,
}

impl TensorInfo {
    /// What a name and a shape tell, in a model of so many layers.
    pub fn new(name: &str, shape: &[usize], layers: usize) -> TensorInfo {
        let numbered = name.split('.').find_map(|word| word.parse::<usize>().ok());
        let before = is_embedding(name);
        let layer = numbered.unwrap_or(if before { 0 } else { layers.saturating_sub(1) });
        TensorInfo { name: name.to_owned(), layer, layers, part: part(name), shape: shape.to_vec() }
    }

    /// The record `Tensor` in slots: name, layer, depth, part, shape (padded with ones to four).
    fn slots(&self, out: &mut Vec<u64>) {
        let depth = if self.layers > 1 { self.layer as f64 / (self.layers - 1) as f64 } else { 0.0 };
        out.extend([text_id(&self.name), self.layer as u64, depth.to_bits(), u64::from(self.part)]);
        out.extend((0..4).map(|i| self.shape.get(i).copied().unwrap_or(1) as u64));
    }
}

fn part(name: &str) -> u32 {
    let is = |words: &[&str]| words.iter().any(|word| name.contains(word));
    if is(&["norm", "Norm", ".ln_"]) {
        2
    } else if is_embedding(name) {
        3
    } else if is(&["lm_head"]) {
        4
    } else if is(&["attn", "attention"]) {
        0
    } else if is(&["mlp", "feed_forward", "block_sparse_moe"]) || name.contains("layer.") {
        1
    } else {
        5
    }
}

fn is_embedding(name: &str) -> bool {
    ["embed", ".wte.", ".wpe."].iter().any(|word| name.contains(word))
}

/// How much of each model enters, tensor by tensor.
#[derive(Clone)]
pub enum Weight {
    /// One number for every model.
    All(f64),
    /// One entry a model.
    Each(Vec<Entry>),
    /// `(m, t) => …`.
    Closure(NumericFn),
}

/// A model's entry.
#[derive(Clone)]
pub enum Entry {
    /// A number.
    Number(f64),
    /// `t => …`.
    Closure(NumericFn),
}

impl Weight {
    /// The weight of each of `models` models at a tensor.
    pub fn at(&self, models: usize, tensor: &TensorInfo) -> Result<Vec<f64>, Failure> {
        let mut slots = Vec::new();
        match self {
            Weight::All(w) => Ok(vec![*w; models]),
            Weight::Each(entries) if entries.len() != models => {
                Err(Failure::new("R0510", format!("{} weights for {models} models", entries.len()))
                    .help("give one entry for each model, in their order"))
            }
            Weight::Each(entries) => {
                tensor.slots(&mut slots);
                entries.iter().map(|entry| entry.at(&slots)).collect()
            }
            Weight::Closure(f) => (0..models)
                .map(|m| {
                    slots.clear();
                    slots.push(m as u64);
                    tensor.slots(&mut slots);
                    real(&f.call(&slots)?)
                })
                .collect(),
        }
    }
}

impl Entry {
    fn at(&self, tensor: &[u64]) -> Result<f64, Failure> {
        match self {
            Entry::Number(w) => Ok(*w),
            Entry::Closure(f) => real(&f.call(tensor)?),
        }
    }

    fn from_value(value: Value) -> Option<Entry> {
        match value {
            Value::Code(f) if f.arity == 1 => Some(Entry::Closure(f)),
            other => other.plain()?.as_real().map(Entry::Number),
        }
    }
}

fn real(value: &Const) -> Result<f64, Failure> {
    value.as_real().ok_or_else(|| Failure::new("R0504", "a weight closure gave no number"))
}

impl FromValue for Weight {
    fn fits(ty: &Ty) -> bool {
        matches!(ty, Ty::Union(_) | Ty::Real)
    }

    fn rust() -> String {
        "Weight".to_owned()
    }

    fn from_value(value: Value) -> Option<Weight> {
        match value {
            Value::Code(f) if f.arity == 2 => Some(Weight::Closure(f)),
            // One closure of one parameter serves every model.
            Value::Plain(ref plain) if plain.as_real().is_some() => plain.as_real().map(Weight::All),
            other => other.items()?.into_iter().map(Entry::from_value).collect::<Option<_>>().map(Weight::Each),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The cases of `Part`, as merge.evo declares them.
    const PARTS: [&str; 6] = ["attention", "mlp", "norm", "embedding", "head", "other"];

    #[test]
    fn names_tell_layer_and_part() {
        let info = |name: &str| {
            let t = TensorInfo::new(name, &[4, 4], 6);
            (t.layer, PARTS[t.part as usize])
        };
        assert_eq!(info("model.layers.3.self_attn.q_proj.weight"), (3, "attention"));
        assert_eq!(info("model.layers.0.mlp.up_proj.weight"), (0, "mlp"));
        assert_eq!(info("model.layers.5.input_layernorm.weight"), (5, "norm"));
        assert_eq!(info("model.embed_tokens.weight"), (0, "embedding"));
        assert_eq!(info("model.norm.weight"), (5, "norm"));
        assert_eq!(info("lm_head.weight"), (5, "head"));
        assert_eq!(info("model.layers.2.block_sparse_moe.experts.4.w1.weight"), (2, "mlp"));
        assert_eq!(info("transformer.wpe.weight"), (0, "embedding"));
        assert_eq!(info("transformer.h.4.ln_1.bias"), (4, "norm"));
        assert_eq!(info("transformer.h.4.attn.c_attn.weight"), (4, "attention"));
        assert_eq!(info("transformer.ln_f.weight"), (5, "norm"));
        assert_eq!(info("encoder.layer.1.attention.output.dense.weight"), (1, "attention"));
        assert_eq!(info("encoder.layer.1.output.dense.weight"), (1, "mlp"));
        assert_eq!(info("encoder.layer.1.output.LayerNorm.weight"), (1, "norm"));
        assert_eq!(info("embeddings.LayerNorm.weight"), (0, "norm"));
    }

    #[test]
    fn a_list_of_the_wrong_length_is_refused() {
        let weight = Weight::Each(vec![Entry::Number(1.0)]);
        assert!(weight.at(2, &TensorInfo::new("a", &[1], 1)).is_err());
        assert_eq!(Weight::All(0.5).at(2, &TensorInfo::new("a", &[1], 1)).unwrap(), vec![0.5, 0.5]);
    }
}
