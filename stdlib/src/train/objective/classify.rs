//! Classification: which of several texts is the answer.

use evo_kernels::backprop::{Gradients, Network, Workspace};

use super::sums::{self, Scored};
use super::{Learned, Objective};
use crate::data::{Data, Template};
use crate::model::Model;
use crate::train::{Example, TrainError};

/// Minus the logarithm of the right label's share, where each label's text has the probability that the model gives it after the
/// prompt and the shares of all labels make up 1. What comes after a label counts for nothing, as for `multiple_choice`.
#[derive(Debug)]
pub struct Classification {
    /// One for each label of each row, in order.
    examples: Vec<Example>,
    labels: usize,
    right: Vec<usize>,
}

/// Labels that can be told apart.
///
/// # Errors
/// [`TrainError::Labels`] for fewer than two, one that is blank, or two that are equal.
pub fn check_labels(labels: &[&str]) -> Result<(), TrainError> {
    let wrong = |problem: String| Err(TrainError::Labels { problem });
    if labels.len() < 2 {
        return wrong(format!("{} labels leave nothing to choose", labels.len()));
    }
    for (i, label) in labels.iter().enumerate() {
        if label.trim().is_empty() {
            return wrong(format!("label {i} is blank"));
        }
        if labels.iter().take(i).any(|before| before.trim() == label.trim()) {
            return wrong(format!("two labels are `{}`", label.trim()));
        }
    }
    Ok(())
}

impl Classification {
    /// Learns which label comes after the prompt of each row: that which `expected` names, white space around it aside.
    ///
    /// # Errors
    /// [`TrainError::Labels`], [`TrainError::NoLabel`]; as [`crate::train::examples`].
    pub fn new(
        model: &Model,
        data: &Data,
        (prompt, expected): (&Template, &Template),
        labels: &[&str],
    ) -> Result<Self, TrainError> {
        check_labels(labels)?;
        let tokenizer = model.require_tokenizer()?;
        let encoded = labels.iter().map(|label| tokenizer.encode(label, false)).collect::<Result<Vec<_>, _>>()?;
        let mut examples = Vec::with_capacity(labels.len() * data.len());
        let mut right = Vec::with_capacity(data.len());
        let rows = prompt.render_all(data)?.into_iter().zip(expected.render_all(data)?);
        for (row, (prompt, answer)) in rows.enumerate() {
            let found = labels.iter().position(|label| label.trim() == answer.trim()).ok_or_else(|| {
                let labels = labels.iter().map(|label| label.trim().to_owned()).collect();
                TrainError::NoLabel { row, found: answer.trim().to_owned(), labels }
            })?;
            right.push(found);
            let prompt = tokenizer.encode(&prompt, true)?;
            for label in &encoded {
                let tokens = [prompt.as_slice(), label].concat();
                examples.push(Example::after(tokens, prompt.len()).check(model, row)?);
            }
        }
        if right.is_empty() {
            Err(TrainError::NothingToLearn)
        } else {
            Ok(Self { examples, labels: labels.len(), right })
        }
    }

    fn group(&self, row: usize) -> Option<&[Example]> {
        self.examples.get(row * self.labels..(row + 1) * self.labels)
    }

    /// Cross-entropy of the softmax over the labels' sums.
    fn score(&self, rows: &[usize], sums: &[f64]) -> Scored {
        let mut scored = Scored::default();
        let mut accurate = 0.0;
        for (row, sums) in rows.iter().zip(sums.chunks_exact(self.labels)) {
            let right = self.right.get(*row).copied().unwrap_or(0);
            let most = sums.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let total: f64 = sums.iter().map(|sum| (sum - most).exp()).sum();
            scored.loss += total.ln() + most - sums.get(right).copied().unwrap_or(most);
            let slope = |(i, sum): (usize, &f64)| (sum - most).exp() / total - f64::from(i == right);
            scored.slopes.extend(sums.iter().enumerate().map(slope));
            accurate += f64::from(sums.iter().position(|sum| *sum == most) == Some(right));
        }
        scored.metrics = vec![("accuracy", accurate)];
        scored
    }
}

impl Objective for Classification {
    fn units(&self) -> usize {
        self.right.len()
    }

    fn learn(
        &self,
        network: &Network,
        ws: &mut Workspace,
        units: &[usize],
        gradients: &mut Gradients,
    ) -> Result<Learned, TrainError> {
        let groups: Vec<&[Example]> = units.iter().filter_map(|row| self.group(*row)).collect();
        let score =
            |places: std::ops::Range<usize>, sums: &[f64]| Ok(self.score(units.get(places).unwrap_or_default(), sums));
        sums::learn(network, ws, (&groups, false), &score, gradients)
    }

    fn evaluate(&self, network: &Network, ws: &mut Workspace) -> Result<f64, TrainError> {
        let rows: Vec<usize> = (0..self.units()).collect();
        let groups: Vec<&[Example]> = rows.iter().filter_map(|row| self.group(*row)).collect();
        let score = |_: std::ops::Range<usize>, sums: &[f64]| Ok(self.score(&rows, sums));
        sums::evaluate(network, ws, &groups, &score)
    }
}
