//! What can be wrong with the arguments of a merge, and the checks that all methods share.

use super::element::Element;

/// Why a merge was refused. Nothing has been written to the output when one of these is returned.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum MergeError {
    /// There is nothing to merge.
    #[error("a merge needs at least one model")]
    NoModels,
    /// A tensor has another number of elements than the output, or than the first tensor.
    #[error("{tensor} has {found} elements where {expected} are needed")]
    Length {
        /// Which tensor: the base or a model by its position.
        tensor: Operand,
        /// Elements of the output, or of the first tensor.
        expected: usize,
        /// Elements of the tensor.
        found: usize,
    },
    /// A parameter that is given per model does not have one value for each.
    #[error("`{parameter}` has {found} values for {expected} models")]
    Count {
        /// The parameter's name.
        parameter: &'static str,
        /// Number of models.
        expected: usize,
        /// Number of values.
        found: usize,
    },
    /// A parameter lies outside its range or is not finite.
    #[error("`{parameter}` is {value}: {rule}")]
    Parameter {
        /// The parameter's name.
        parameter: &'static str,
        /// The refused value.
        value: f64,
        /// What holds for the values that are accepted.
        rule: &'static str,
    },
    /// Weights that are to be normalised cancel out.
    #[error("the weights add up to {sum}, so they cannot be normalised")]
    ZeroWeightSum {
        /// The sum of the weights.
        sum: f64,
    },
}

/// Names an input in an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    /// The common ancestor.
    Base,
    /// The model at a position, counted from 0.
    Model(usize),
}

impl std::fmt::Display for Operand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Base => write!(f, "the base"),
            Self::Model(index) => write!(f, "model {index}"),
        }
    }
}

/// Checks that there is a model, and that all have one length.
pub(super) fn check_models<E: Element>(models: &[&[E]], len: usize) -> Result<(), MergeError> {
    if models.is_empty() {
        return Err(MergeError::NoModels);
    }
    models.iter().enumerate().try_for_each(|(i, model)| check_length(Operand::Model(i), model, len))
}

/// Checks one tensor's length.
pub(super) fn check_length<E: Element>(tensor: Operand, values: &[E], len: usize) -> Result<(), MergeError> {
    if values.len() != len {
        return Err(MergeError::Length { tensor, expected: len, found: values.len() });
    }
    Ok(())
}

/// Checks that a parameter has one finite value a model.
pub(super) fn check_per_model(parameter: &'static str, values: &[f64], models: usize) -> Result<(), MergeError> {
    if values.len() != models {
        return Err(MergeError::Count { parameter, expected: models, found: values.len() });
    }
    values.iter().try_for_each(|&value| check_finite(parameter, value))
}

/// Checks that a parameter is finite.
pub(super) fn check_finite(parameter: &'static str, value: f64) -> Result<(), MergeError> {
    if !value.is_finite() {
        return Err(MergeError::Parameter { parameter, value, rule: "it must be finite" });
    }
    Ok(())
}

/// Checks the densities: one a model, each from 0 to 1.
pub(super) fn check_densities(values: &[f64], models: usize) -> Result<(), MergeError> {
    check_per_model("density", values, models)?;
    match values.iter().find(|value| !(0.0..=1.0).contains(*value)) {
        None => Ok(()),
        Some(&value) => Err(MergeError::Parameter { parameter: "density", value, rule: "it must be from 0 to 1" }),
    }
}
