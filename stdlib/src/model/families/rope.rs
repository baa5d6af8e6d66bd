//! Rotations: `rope_parameters` of transformers 5, or `rope_theta` and `rope_scaling` of transformers 4.

use evo_kernels::decode::{Rope, RopeScaling};
use serde_json::{Map, Value};

use super::super::ModelError;
use super::super::fields::Fields;
use super::Defaults;

/// Where the rotations of a model are read.
pub(super) struct Rotations<'a> {
    pub(super) fields: &'a Fields<'a>,
    pub(super) defaults: &'a Defaults,
    pub(super) head_dim: usize,
    pub(super) max_positions: usize,
}

impl Rotations<'_> {
    /// The rotation of blocks that see a window only, or of the others.
    pub(super) fn rope(&self, sliding: bool) -> Result<Rope, ModelError> {
        let inner = self.parameters(sliding);
        let (key, default) = match self.defaults.local_theta {
            Some(local) if sliding => ("rope_local_base_freq", local),
            _ => ("rope_theta", self.defaults.theta),
        };
        let theta = inner.number("rope_theta", self.fields.number(key, default)?)?;
        if theta <= 1.0 {
            return Err(self.fields.error(key, format!("is {theta}; it must exceed 1")));
        }
        let width = self.width(&inner)?;
        Ok(Rope { theta, width, scaling: self.scaling(&inner, width)? })
    }

    /// The longest sequence that the decoder runs: the rotation of longer ones may be another.
    pub(super) fn limit(&self) -> Result<usize, ModelError> {
        match self.rope(false)?.scaling {
            RopeScaling::Each { .. } => Ok(self.max_positions.min(self.original(&self.parameters(false))?)),
            _ => Ok(self.max_positions),
        }
    }

    /// The parameters of these blocks: those of their kind, if they are told apart.
    fn parameters(&self, sliding: bool) -> Fields<'_> {
        static NONE: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
        let none = Fields { map: &NONE, path: self.fields.path };
        let kind = if sliding { "sliding_attention" } else { "full_attention" };
        let Some(all) = ["rope_parameters", "rope_scaling"].into_iter().find_map(|name| self.fields.object(name))
        else {
            return none;
        };
        let apart = ["sliding_attention", "full_attention"].into_iter().any(|kind| all.map.contains_key(kind));
        match all.object(kind) {
            Some(own) => own,
            // What transformers 4 wrote for Gemma 3 is of the other blocks alone.
            None if apart || (sliding && self.defaults.local_theta.is_some()) => none,
            None => all,
        }
    }

    /// How many elements of a head are rotated.
    fn width(&self, inner: &Fields<'_>) -> Result<usize, ModelError> {
        let field = "partial_rotary_factor";
        let given = inner.number(field, self.fields.number(field, self.defaults.partial.unwrap_or(1.0))?)?;
        if self.defaults.partial.is_none() && given != 1.0 {
            return Err(self.fields.error(field, format!("is {given}; this family rotates whole heads")));
        }
        let width = (self.head_dim as f64 * given) as usize;
        if given > 1.0 || width == 0 || !width.is_multiple_of(2) {
            let (field, cause) = if given == 1.0 {
                ("head_dim", format!("is {width}; rotary positions need an even width"))
            } else {
                (field, format!("is {given}, which rotates {width} of {} elements", self.head_dim))
            };
            return Err(self.fields.error(field, cause));
        }
        Ok(width)
    }

    fn scaling(&self, inner: &Fields<'_>, width: usize) -> Result<RopeScaling, ModelError> {
        let kind = match inner.text("rope_type")? {
            Some(kind) => kind,
            None => inner.text("type")?.unwrap_or("default"),
        };
        Ok(match kind {
            "default" => RopeScaling::None,
            "linear" => RopeScaling::Linear { factor: inner.positive("factor")? },
            "llama3" => RopeScaling::Llama3 {
                factor: inner.positive("factor")?,
                low: inner.positive("low_freq_factor")?,
                high: inner.positive("high_freq_factor")?,
                original: inner.positive("original_max_position_embeddings")?,
            },
            "longrope" | "su" => self.each(inner, width)?,
            other => {
                let cause = format!("is `{other}`; `default`, `linear`, `llama3` and `longrope` are known");
                return Err(self.fields.error("rope_type", cause));
            }
        })
    }

    /// LongRoPE, by the factors for sequences within the length of the first training.
    fn each(&self, inner: &Fields<'_>, width: usize) -> Result<RopeScaling, ModelError> {
        let positive = |value: &Value| value.as_f64().filter(|x| *x > 0.0 && x.is_finite());
        let field = "short_factor";
        let factors =
            inner.list(field, "positive numbers", positive)?.ok_or_else(|| inner.error(field, "is missing".into()))?;
        if factors.len() != width / 2 {
            let cause = format!("has {} entries for {} pairs of rotated elements", factors.len(), width / 2);
            return Err(inner.error(field, cause));
        }
        let original = self.original(inner)? as f64;
        let factor = inner.nullable("factor", None)?.unwrap_or(self.max_positions as f64 / original);
        let amplitude = match inner.nullable("attention_factor", None)? {
            Some(given) => given,
            None if factor <= 1.0 => 1.0,
            None => (1.0 + factor.ln() / original.ln()).sqrt(),
        };
        Ok(RopeScaling::Each { factors, amplitude })
    }

    /// The length of the first training.
    fn original(&self, inner: &Fields<'_>) -> Result<usize, ModelError> {
        let field = "original_max_position_embeddings";
        match self.fields.optional_size(field)? {
            Some(original) => Ok(original),
            None => inner.size_or(field, self.max_positions),
        }
    }
}
