//! Task arithmetic: weighted task vectors added to their base (Ilharco et al., arXiv 2212.04089).

use super::element::Element;
use super::error::{MergeError, Operand, check_finite, check_length, check_models, check_per_model};
use super::merged::{Merged, Rule};
use super::mix::{Combine, Mix};
use super::task_vector::TaskVector;

/// Parameters of [`task_arithmetic`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TaskArithmetic<'a> {
    /// One weight a model.
    pub weight: &'a [f64],
    /// Divide the sum by Σ w, unless that is below 1e-8 in magnitude. Default: false.
    pub normalize: bool,
    /// Factor on the sum of task vectors. Default: 1.
    pub lambda: f64,
}

impl Default for TaskArithmetic<'_> {
    fn default() -> Self {
        Self { weight: &[], normalize: false, lambda: 1.0 }
    }
}

/// Writes θ₀ + λ·Σ w·(θ − θ₀), each step rounded to the element type.
///
/// # Errors
/// No models; lengths that differ; parameters that are not finite or not one a model.
pub fn task_arithmetic<E: Element>(
    base: &[E],
    models: &[&[E]],
    params: &TaskArithmetic<'_>,
    out: &mut [E],
) -> Result<(), MergeError> {
    check_length(Operand::Base, base, out.len())?;
    Merged::task_arithmetic(base, models, params)?.write_all(&[&[base], models].concat(), out);
    Ok(())
}

impl<E: Element> Merged<E> {
    /// [`task_arithmetic`], to be written range by range: of the base, then of the models.
    ///
    /// # Errors
    /// As [`task_arithmetic`].
    pub fn task_arithmetic(base: &[E], models: &[&[E]], params: &TaskArithmetic<'_>) -> Result<Self, MergeError> {
        check_models(models, base.len())?;
        check_per_model("weight", params.weight, models.len())?;
        check_finite("lambda", params.lambda)?;
        let vectors = params.weight.iter().map(|&weight| TaskVector::new::<E>(weight)).collect();
        let mix = Mix { combine: Combine::Sum, normalize: params.normalize, lambda: params.lambda };
        Ok(Self::new(Rule::Task { vectors, mix }))
    }
}
