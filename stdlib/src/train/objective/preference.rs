//! Preferences: of two answers to a prompt, one is chosen.

use evo_kernels::backprop::{Gradients, Network, Workspace};

use super::sums::{self, Scored};
use super::{Learned, Objective};
use crate::data::{Data, Template};
use crate::loss::PairLoss;
use crate::model::{Model, Place};
use crate::train::examples::example;
use crate::train::{Example, TrainError};

/// The templates of a pair.
#[derive(Debug, Clone)]
pub struct PairTemplates {
    /// What is asked.
    pub prompt: Template,
    /// The better answer.
    pub chosen: Template,
    /// The worse one.
    pub rejected: Template,
}

/// Pairs in tokens: for each row its chosen and its rejected answer, after the prompt and with the end token.
#[derive(Debug, Clone)]
pub struct Pairs(Vec<Example>);

/// A loss over pairs, of the sums of their answers' log-probabilities under the policy and under a reference (direct preference
/// optimization; Rafailov et al., 2023), in the mean over the batch.
#[derive(Debug)]
pub struct Preference {
    pairs: Pairs,
    reference: Vec<[f64; 2]>,
    lengths: Vec<[f64; 2]>,
    loss: PairLoss,
    beta: f64,
}

impl Pairs {
    /// The pairs of all rows.
    ///
    /// # Errors
    /// As [`crate::train::examples`]; [`TrainError::EqualPairs`], [`TrainError::NothingToLearn`].
    pub fn new(model: &Model, data: &Data, templates: &PairTemplates) -> Result<Pairs, TrainError> {
        let prompts = templates.prompt.render_all(data)?;
        let answers = templates.chosen.render_all(data)?.into_iter().zip(templates.rejected.render_all(data)?);
        let mut pairs = Vec::with_capacity(2 * data.len());
        for (row, (prompt, (chosen, rejected))) in prompts.iter().zip(answers).enumerate() {
            for answer in [chosen, rejected] {
                pairs.push(example(model, row, prompt, &answer)?);
            }
        }
        match pairs.chunks_exact(2).all(|pair| pair.first() == pair.last()) {
            _ if pairs.is_empty() => Err(TrainError::NothingToLearn),
            true => Err(TrainError::EqualPairs),
            false => Ok(Pairs(pairs)),
        }
    }

    fn rows(&self) -> impl Iterator<Item = &[Example]> {
        self.0.chunks_exact(2)
    }

    /// The sums of the answers' log-probabilities under a model, by its decoder.
    ///
    /// # Errors
    /// [`TrainError::Model`], [`TrainError::TooLong`].
    pub fn log_probabilities(&self, model: &Model, place: &Place) -> Result<Vec<[f64; 2]>, TrainError> {
        let positions = model.config.max_positions;
        let long = self.0.iter().position(|example| example.tokens.len() > positions);
        if let Some(at) = long {
            let tokens = self.0.get(at).map_or(0, |example| example.tokens.len());
            return Err(TrainError::TooLong { row: at / 2, tokens, model: model.name.clone(), positions });
        }
        let split = |example: &Example| example.tokens.len() - example.targets();
        let texts = self.0.iter().map(|example| example.tokens.split_at(split(example))).collect::<Vec<_>>();
        let decoder = model.decoder(place.clone())?;
        let found = decoder.logprobs(&texts, place.threads).map_err(crate::model::ModelError::from)?;
        let sums: Vec<f64> = found.iter().map(|tokens| tokens.iter().map(|&l| f64::from(l)).sum()).collect();
        Ok(sums.chunks_exact(2).map(two).collect())
    }
}

fn two(pair: &[f64]) -> [f64; 2] {
    [pair.first().copied().unwrap_or_default(), pair.last().copied().unwrap_or_default()]
}

impl Preference {
    /// Learns `pairs` by `loss`, whose `beta` is given. The reference's log-probabilities are computed here, once.
    ///
    /// # Errors
    /// [`TrainError::Vocabulary`] if the reference has another tokenizer than `model`; as [`Pairs::log_probabilities`].
    pub fn new(
        model: &Model,
        pairs: Pairs,
        (loss, beta): (PairLoss, f64),
        reference: &Model,
        place: &Place,
    ) -> Result<Self, TrainError> {
        super::same_vocabulary(model, reference)?;
        let reference = pairs.log_probabilities(reference, place)?;
        let length = |pair: &[Example]| two(&pair.iter().map(|example| example.targets() as f64).collect::<Vec<_>>());
        let lengths = pairs.rows().map(length).collect();
        Ok(Self { pairs, reference, lengths, loss, beta })
    }

    /// The loss of some rows from the sums of their answers' log-probabilities; with the share of rows whose chosen answer gained
    /// more than the rejected one over the reference, and beta times by how much.
    fn score(&self, rows: &[usize], sums: &[f64]) -> Result<Scored, TrainError> {
        let policy: Vec<[f64; 2]> = sums.chunks_exact(2).map(two).collect();
        let of = |all: &[[f64; 2]]| rows.iter().filter_map(|row| all.get(*row).copied()).collect::<Vec<_>>();
        let (reference, lengths) = (of(&self.reference), of(&self.lengths));
        let found = self.loss.slopes(&policy, &reference, &lengths).map_err(|e| TrainError::Loss(Box::new(e)))?;
        let margins = policy.iter().zip(&reference).map(|(p, r)| self.beta * ((p[0] - r[0]) - (p[1] - r[1])));
        let (right, margin) = margins.fold((0.0, 0.0), |(right, sum), z| (right + f64::from(z > 0.0), sum + z));
        let slopes = found.slopes.into_iter().flatten().collect();
        Ok(Scored { loss: found.loss, slopes, metrics: vec![("accuracy", right), ("margin", margin)] })
    }
}

impl Objective for Preference {
    fn units(&self) -> usize {
        self.reference.len()
    }

    fn learn(
        &self,
        network: &Network,
        ws: &mut Workspace,
        units: &[usize],
        gradients: &mut Gradients,
    ) -> Result<Learned, TrainError> {
        let groups: Vec<&[Example]> = units.iter().filter_map(|row| self.pairs.0.get(2 * row..2 * row + 2)).collect();
        let score =
            |places: std::ops::Range<usize>, sums: &[f64]| self.score(units.get(places).unwrap_or_default(), sums);
        sums::learn(network, ws, (&groups, self.loss.couples()), &score, gradients)
    }

    fn evaluate(&self, network: &Network, ws: &mut Workspace) -> Result<f64, TrainError> {
        let groups: Vec<&[Example]> = self.pairs.rows().collect();
        let rows: Vec<usize> = (0..groups.len()).collect();
        let score = |_: std::ops::Range<usize>, sums: &[f64]| self.score(&rows, sums);
        sums::evaluate(network, ws, &groups, &score)
    }
}

/// The share of pairs whose chosen answer `model` holds likelier than the rejected one, by the sum of its tokens' log-probabilities;
/// with a reference, by how much likelier than the reference does. Equal ones count half.
///
/// # Errors
/// As [`Pairs::log_probabilities`].
pub fn preference_accuracy(
    model: &Model,
    reference: Option<&Model>,
    pairs: &Pairs,
    place: &Place,
) -> Result<f64, TrainError> {
    let policy = pairs.log_probabilities(model, place)?;
    let reference = match reference {
        Some(reference) => {
            super::same_vocabulary(model, reference)?;
            pairs.log_probabilities(reference, place)?
        }
        None => vec![[0.0; 2]; policy.len()],
    };
    let margins = policy.iter().zip(&reference).map(|(p, r)| (p[0] - r[0]) - (p[1] - r[1]));
    let right: f64 = margins.map(|z| if z > 0.0 { 1.0 } else { f64::from(z == 0.0) / 2.0 }).sum();
    Ok(right / policy.len().max(1) as f64)
}
