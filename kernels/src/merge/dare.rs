//! DARE: drop elements of task vectors at random and rescale the rest (Yu et al., arXiv 2311.03099).

use super::element::Element;
use super::error::{MergeError, Operand, check_densities, check_finite, check_length, check_models, check_per_model};
use super::merged::{Merged, Rule};
use super::mix::{Combine, Mix};
use super::task_vector::TaskVector;
use crate::rng::Stream;

/// Parameters of [`dare_linear`] and [`dare_ties`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dare<'a> {
    /// One weight a model.
    pub weight: &'a [f64],
    /// The probability with which an element of a model's task vector remains, 0 to 1, one a model.
    pub density: &'a [f64],
    /// Scale what remains so that the task vector keeps its L1 norm (mergekit's rule; the paper divides by the density).
    /// Default: true.
    pub rescale: bool,
    /// Divide by the sum of the weights (`dare_ties`: of those that agreed on an element). Default: false.
    pub normalize: bool,
    /// Factor on the merged task vector. Default: 1.
    pub lambda: f64,
}

impl Default for Dare<'_> {
    fn default() -> Self {
        Self { weight: &[], density: &[], rescale: true, normalize: false, lambda: 1.0 }
    }
}

/// Writes θ₀ + λ·Σ w·mask(θ − θ₀), each step rounded to the element type.
///
/// `stream` belongs to this tensor: element `i` of model `k` remains by draw `i` of `stream.at(k)`. Density 1 keeps all
/// and is [`super::task_arithmetic`].
///
/// # Errors
/// No models; lengths that differ; parameters that are not finite or not one a model; a density outside 0 to 1.
pub fn dare_linear<E: Element>(
    base: &[E],
    models: &[&[E]],
    params: &Dare<'_>,
    stream: Stream,
    out: &mut [E],
) -> Result<(), MergeError> {
    check_length(Operand::Base, base, out.len())?;
    dare(Combine::Sum, base, models, params, stream)?.write_all(&[&[base], models].concat(), out);
    Ok(())
}

/// [`dare_linear`] with the sign consensus of [`super::ties`] in the place of the plain sum.
///
/// Density 1 keeps all and is [`super::ties`] of density 1.
///
/// # Errors
/// As [`dare_linear`].
pub fn dare_ties<E: Element>(
    base: &[E],
    models: &[&[E]],
    params: &Dare<'_>,
    stream: Stream,
    out: &mut [E],
) -> Result<(), MergeError> {
    check_length(Operand::Base, base, out.len())?;
    Merged::dare_ties(base, models, params, stream)?.write_all(&[&[base], models].concat(), out);
    Ok(())
}

impl<E: Element> Merged<E> {
    /// [`dare_ties`], to be written range by range: of the base, then of the models.
    ///
    /// # Errors
    /// As [`dare_linear`].
    pub fn dare_ties(base: &[E], models: &[&[E]], params: &Dare<'_>, stream: Stream) -> Result<Self, MergeError> {
        dare(Combine::SignConsensus, base, models, params, stream)
    }
}

fn dare<E: Element>(
    combine: Combine,
    base: &[E],
    models: &[&[E]],
    params: &Dare<'_>,
    stream: Stream,
) -> Result<Merged<E>, MergeError> {
    check_models(models, base.len())?;
    check_per_model("weight", params.weight, models.len())?;
    check_densities(params.density, models.len())?;
    check_finite("lambda", params.lambda)?;
    let settings = models.iter().zip(params.weight).zip(params.density).zip(0..);
    let vectors = settings
        .map(|(((model, &weight), &density), k)| {
            let vector = TaskVector::new::<E>(weight).keep_random(density, stream.at(k));
            if params.rescale { vector.rescale_l1(base, model) } else { vector }
        })
        .collect();
    let mix = Mix { combine, normalize: params.normalize, lambda: params.lambda };
    Ok(Merged::new(Rule::Task { vectors, mix }))
}
