//! Weighted sums and averages of models ("model soups", Wortsman et al., arXiv 2203.05482).

use super::element::Element;
use super::error::{MergeError, check_models, check_per_model};
use super::merged::{Merged, Rule};

/// Parameters of [`linear`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Linear<'a> {
    /// One weight a model.
    pub weight: &'a [f64],
    /// Divide by the sum of the weights. Default: true.
    pub normalize: bool,
}

impl Default for Linear<'_> {
    fn default() -> Self {
        Self { weight: &[], normalize: true }
    }
}

/// Writes Σ w·θ, divided by Σ w if `normalize`. Accumulates in `f32` in the order of the models and rounds once.
///
/// # Errors
/// No models; lengths that differ; weights that are not finite or not one a model; with `normalize`, weights that cancel
/// to less than 1e-8 of their magnitude ([`MergeError::ZeroWeightSum`]).
pub fn linear<E: Element>(models: &[&[E]], params: &Linear<'_>, out: &mut [E]) -> Result<(), MergeError> {
    check_models(models, out.len())?;
    Merged::linear(models, params)?.write_all(models, out);
    Ok(())
}

impl<E: Element> Merged<E> {
    /// [`linear`], to be written range by range.
    ///
    /// # Errors
    /// As [`linear`].
    pub fn linear(models: &[&[E]], params: &Linear<'_>) -> Result<Self, MergeError> {
        check_models(models, models.first().map_or(0, |model| model.len()))?;
        check_per_model("weight", params.weight, models.len())?;
        let sum: f64 = params.weight.iter().sum();
        let magnitude: f64 = params.weight.iter().map(|w| w.abs()).sum();
        if params.normalize && sum.abs() <= 1e-8 * magnitude {
            return Err(MergeError::ZeroWeightSum { sum });
        }
        let divisor = if params.normalize { sum as f32 } else { 1.0 };
        Ok(Self::new(Rule::Sum { weights: params.weight.iter().map(|&w| w as f32).collect(), divisor }))
    }
}
