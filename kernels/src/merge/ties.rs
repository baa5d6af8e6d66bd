//! TIES: trim each task vector, elect signs, add up what agrees (Yadav et al., arXiv 2306.01708).

use super::element::Element;
use super::error::{MergeError, Operand, check_densities, check_finite, check_length, check_models, check_per_model};
use super::merged::{Merged, Rule};
use super::mix::{Combine, Mix};
use super::task_vector::TaskVector;

/// Parameters of [`ties`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ties<'a> {
    /// One weight a model.
    pub weight: &'a [f64],
    /// The share of each model's task vector that remains, 0 to 1, one a model; the largest in magnitude remain.
    pub density: &'a [f64],
    /// Divide each element by the sum of the weights that agreed on it. Default: true.
    pub normalize: bool,
    /// Scale each trimmed task vector back to its L1 norm. Default: false.
    pub rescale: bool,
    /// Factor on the merged task vector. Default: 1.
    pub lambda: f64,
}

impl Default for Ties<'_> {
    fn default() -> Self {
        Self { weight: &[], density: &[], normalize: true, rescale: false, lambda: 1.0 }
    }
}

/// Writes θ₀ + λ·m, where m adds up, per element, those weighted and trimmed task vectors whose sign is that of their sum
/// (plus for a sum of zero). Each step is rounded to the element type.
///
/// Of equal magnitudes at the trimming threshold the earlier ones remain. At least one element remains, unless the density is 0.
///
/// # Errors
/// No models; lengths that differ; parameters that are not finite or not one a model; a density outside 0 to 1.
pub fn ties<E: Element>(base: &[E], models: &[&[E]], params: &Ties<'_>, out: &mut [E]) -> Result<(), MergeError> {
    check_length(Operand::Base, base, out.len())?;
    Merged::ties(base, models, params)?.write_all(&[&[base], models].concat(), out);
    Ok(())
}

impl<E: Element> Merged<E> {
    /// [`ties`](ties()), to be written range by range: of the base, then of the models. What is trimmed is found now.
    ///
    /// # Errors
    /// As [`ties`](ties()).
    pub fn ties(base: &[E], models: &[&[E]], params: &Ties<'_>) -> Result<Self, MergeError> {
        check_models(models, base.len())?;
        check_per_model("weight", params.weight, models.len())?;
        check_densities(params.density, models.len())?;
        check_finite("lambda", params.lambda)?;
        let settings = models.iter().zip(params.weight).zip(params.density);
        let vectors = settings
            .map(|((model, &weight), &density)| {
                let vector = TaskVector::new::<E>(weight).keep_largest(base, model, density);
                if params.rescale { vector.rescale_l1(base, model) } else { vector }
            })
            .collect();
        let mix = Mix { combine: Combine::SignConsensus, normalize: params.normalize, lambda: params.lambda };
        Ok(Self::new(Rule::Task { vectors, mix }))
    }
}
