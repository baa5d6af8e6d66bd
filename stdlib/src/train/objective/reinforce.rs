//! Reinforcement: answers that the model writes itself, made likelier by their rewards.

use std::fmt;

use evo_kernels::backprop::{Gradients, Network, Workspace};

use super::parts::parts;
use super::{Learned, Objective, same_vocabulary};
use crate::answer::{Answering, Ended, answers};
use crate::model::{Model, ModelError, Place};
use crate::task::{Task, TaskError};
use crate::train::network::snapshot;
use crate::train::{Example, TrainError};

/// What a reward is held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Baseline {
    /// Nothing, as Transformer² has it.
    None,
    /// The mean reward of the other answers to the same prompt or, where a prompt has one answer, of the batch's other answers. An
    /// answer is not in its own baseline, so that the gradient stays unbiased (Kool et al., 2019).
    #[default]
    Others,
}

/// How answers are written and rewards weighed.
#[derive(Debug, Clone, PartialEq)]
pub struct ReinforceSettings {
    /// How answers are written. At a temperature of 0 there is nothing to compare them with but other prompts' answers.
    pub sampling: Answering,
    /// The longest answer, in tokens.
    pub max_tokens: usize,
    /// Answers a prompt.
    pub samples: usize,
    /// The weight of the divergence from the reference; 0 asks no reference.
    pub kl: f64,
    /// What rewards are held against.
    pub baseline: Baseline,
    /// Whether rewards of 0..1 are taken for −1..1: what is wrong is made less likely, not only what is right likelier.
    pub signed: bool,
    /// Whether advantages are divided by the standard deviation of the batch's rewards.
    pub normalised: bool,
}

impl Default for ReinforceSettings {
    /// Eight tokens, four answers a prompt drawn at temperature 1, held against each other, without a reference.
    fn default() -> Self {
        let mut sampling = Answering::GREEDY;
        sampling.sampling.temperature = 1.0;
        let (baseline, signed, normalised) = (Baseline::Others, false, false);
        Self { sampling, max_tokens: 8, samples: 4, kl: 0.0, baseline, signed, normalised }
    }
}

/// An answer that the model has written, with its reward.
#[derive(Debug, Clone, PartialEq)]
pub struct Rollout {
    /// The prompt and the answer, of which the answer is learned: with its end token, if the model has ended it.
    pub example: Example,
    /// The answer's text.
    pub text: String,
    /// From 0 to 1.
    pub reward: f64,
}

/// The reward of a text that answers a prompt, by the prompt's number: from 0 to 1.
pub type Reward<'a> = Box<dyn Fn(usize, &str) -> Result<f64, TrainError> + Send + Sync + 'a>;

/// REINFORCE (Williams, 1992) with a penalty for leaving a reference: the mean over the answers to a batch's prompts of
/// `−A · Σ log π(token) + kl · Σ k(token)`, where `A` is the answer's advantage and `k = r − 1 − log r`, `r = π_ref / π`, estimates the
/// divergence (Schulman, 2020). In expectation `k`'s gradient is that of KL(π_ref ‖ π), the direction that Transformer²'s code has.
///
/// Answers are written anew by the fast decoder whenever a batch is learned; their draws are keyed by the seed, the parameters and the
/// prompts, so that they differ from step to step and a resumed training draws as an uninterrupted one.
pub struct Reinforcement<'a> {
    model: Model,
    prompts: Vec<Vec<u32>>,
    reward: Reward<'a>,
    settings: ReinforceSettings,
    reference: Option<Model>,
    place: Place,
}

impl fmt::Debug for Reinforcement<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (prompts, settings) = (self.prompts.len(), &self.settings);
        f.debug_struct("Reinforcement").field("prompts", &prompts).field("settings", settings).finish_non_exhaustive()
    }
}

impl<'a> Reinforcement<'a> {
    /// Learns to answer `prompts`, in `model`'s tokens, for a reward. `model` is the one that the network begins as, and the reference
    /// if none is given.
    ///
    /// # Errors
    /// [`TrainError::NothingToLearn`] without prompts, [`TrainError::TooLong`] for a prompt that with its answer outgrows the model,
    /// [`TrainError::Setting`], [`TrainError::Vocabulary`].
    pub fn new(
        model: &Model,
        prompts: Vec<Vec<u32>>,
        reward: Reward<'a>,
        settings: ReinforceSettings,
        (reference, place): (Option<&Model>, &Place),
    ) -> Result<Self, TrainError> {
        let rules = [
            ("max_tokens", settings.max_tokens > 0, "must be at least 1"),
            ("samples", settings.samples > 0, "must be at least 1"),
            ("kl", settings.kl >= 0.0 && settings.kl.is_finite(), "must not be negative"),
        ];
        if let Some((setting, _, problem)) = rules.into_iter().find(|(_, holds, _)| !holds) {
            return Err(TrainError::Setting { setting, problem: problem.to_owned() });
        }
        if prompts.is_empty() {
            return Err(TrainError::NothingToLearn);
        }
        let positions = model.config.max_positions;
        let room = |prompt: &Vec<u32>| prompt.len() + settings.max_tokens;
        if let Some((row, prompt)) = prompts.iter().enumerate().find(|(_, prompt)| room(prompt) > positions) {
            return Err(TrainError::TooLong { row, tokens: room(prompt), model: model.name.clone(), positions });
        }
        let reference = (settings.kl > 0.0).then(|| reference.unwrap_or(model).clone());
        if let Some(reference) = &reference {
            same_vocabulary(model, reference)?;
        }
        Ok(Self { model: model.clone(), prompts, reward, settings, reference, place: place.clone() })
    }

    /// Learns to answer the rows of a task, whose own score of each answer is the reward. Answers are as long as the task says.
    ///
    /// # Errors
    /// [`TrainError::Reward`] for a task whose answers are not written; as [`Reinforcement::new`].
    pub fn of_task(
        model: &Model,
        task: &Task,
        settings: ReinforceSettings,
        (reference, place): (Option<&Model>, &Place),
    ) -> Result<Self, TrainError> {
        let prepared = task.prepare(model).map_err(failed)?;
        let Some(max_tokens) = prepared.max_tokens() else {
            let problem = "scores log-probabilities, and a reward is of an answer that is written".to_owned();
            return Err(TrainError::Reward { problem });
        };
        let prompts = prepared.prompts().to_vec();
        let reward = Box::new(move |row: usize, text: &str| prepared.grade(row, text).map_err(failed));
        Self::new(model, prompts, reward, ReinforceSettings { max_tokens, ..settings }, (reference, place))
    }

    /// What `policy` answers to the prompts of these numbers, each as often as the settings say, one prompt after another.
    ///
    /// # Errors
    /// [`TrainError::Task`] if answers cannot be written.
    pub fn rollouts(&self, policy: &Model, units: &[usize], seed: u64) -> Result<Vec<Rollout>, TrainError> {
        let samples = self.settings.samples;
        let asked: Vec<usize> = units.iter().flat_map(|unit| std::iter::repeat_n(*unit, samples)).collect();
        let prompts: Vec<Vec<u32>> = asked.iter().filter_map(|unit| self.prompts.get(*unit).cloned()).collect();
        let how = Answering { seed, ..self.settings.sampling.clone() };
        let written = answers(policy, &prompts, self.settings.max_tokens, &how, self.place.clone()).map_err(failed)?;
        let end = policy.stop_ids().first().copied();
        let rollouts = asked.into_iter().zip(prompts).zip(written).map(|((unit, prompt), answer)| {
            let given = prompt.len();
            let end = end.filter(|_| answer.ended == Ended::Model);
            let tokens = prompt.into_iter().chain(answer.ids).chain(end).collect();
            let reward = self.reward(unit, &answer.text)?;
            Ok(Rollout { example: Example::after(tokens, given), text: answer.text, reward })
        });
        rollouts.collect()
    }

    /// The reward of a text that answers a prompt.
    ///
    /// # Errors
    /// [`TrainError::Task`] if it cannot be judged.
    pub fn reward(&self, unit: usize, text: &str) -> Result<f64, TrainError> {
        Ok((self.reward)(unit, text)?.clamp(0.0, 1.0))
    }

    /// How much better than its baseline each answer is.
    pub fn advantages(&self, rewards: &[f64]) -> Vec<f64> {
        let signed = |r: &f64| if self.settings.signed { 2.0 * r - 1.0 } else { *r };
        let rewards: Vec<f64> = rewards.iter().map(signed).collect();
        let group = if self.settings.samples > 1 { self.settings.samples } else { rewards.len().max(1) };
        let mut advantages = rewards.clone();
        if self.settings.baseline == Baseline::Others {
            for (own, group) in advantages.chunks_mut(group).zip(rewards.chunks(group)) {
                let (sum, others) = (group.iter().sum::<f64>(), group.len().saturating_sub(1).max(1) as f64);
                own.iter_mut().for_each(|a| *a -= (sum - *a) / others);
            }
        }
        if self.settings.normalised {
            let count = rewards.len().max(1) as f64;
            let mean = rewards.iter().sum::<f64>() / count;
            let deviation = (rewards.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / count).sqrt();
            advantages.iter_mut().for_each(|a| *a = if deviation > 0.0 { *a / deviation } else { 0.0 });
        }
        advantages
    }

    /// The reference's log-probability of each token of each answer; none without one.
    fn references(&self, rollouts: &[Rollout]) -> Result<Vec<Vec<f32>>, TrainError> {
        let Some(reference) = &self.reference else { return Ok(Vec::new()) };
        let split = |example: &Example| example.tokens.len() - example.targets();
        let texts: Vec<_> = rollouts.iter().map(|r| r.example.tokens.split_at(split(&r.example))).collect();
        let decoder = reference.decoder(self.place.clone())?;
        Ok(decoder.logprobs(&texts, self.place.threads).map_err(ModelError::from)?)
    }

    /// What the draws of a batch are keyed by.
    fn seed(&self, network: &Network, units: &[usize]) -> u64 {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.settings.sampling.seed.to_le_bytes());
        for parameter in network.parameters() {
            hasher.update(bytemuck::cast_slice(&parameter.values));
        }
        for unit in units {
            hasher.update(&(*unit as u64).to_le_bytes());
        }
        let mut seed = [0; 8];
        seed.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        u64::from_le_bytes(seed)
    }
}

fn failed(error: TaskError) -> TrainError {
    TrainError::Task(Box::new(error))
}

impl Objective for Reinforcement<'_> {
    fn units(&self) -> usize {
        self.prompts.len()
    }

    fn learn(
        &self,
        network: &Network,
        ws: &mut Workspace,
        units: &[usize],
        gradients: &mut Gradients,
    ) -> Result<Learned, TrainError> {
        let policy = snapshot(&self.model, network, ws)?;
        let rollouts = self.rollouts(&policy, units, self.seed(network, units))?;
        let references = self.references(&rollouts)?;
        let rewards: Vec<f64> = rollouts.iter().map(|rollout| rollout.reward).collect();
        let advantages = self.advantages(&rewards);
        let count = rollouts.len().max(1) as f64;
        let (mut loss, mut divergence, mut tokens) = (0.0, 0.0, 0);
        for part in parts(rollouts.iter().map(|rollout| std::slice::from_ref(&rollout.example))) {
            let tape = network.forward(ws, &part.batch);
            let mut slopes = Vec::with_capacity(part.batch.targets());
            let mut values = tape.log_probabilities.iter().map(|value| f64::from(*value));
            for (answer, targets) in part.groups.clone().zip(&part.targets) {
                let advantage = advantages.get(answer).copied().unwrap_or_default();
                let reference = references.get(answer);
                for (token, value) in values.by_ref().take(*targets).enumerate() {
                    let log_ratio = reference.and_then(|all| all.get(token)).map(|r| f64::from(*r) - value);
                    let (kl, slope) = log_ratio.map_or((0.0, 0.0), |x| (x.exp() - 1.0 - x, 1.0 - x.exp()));
                    loss += self.settings.kl * kl - advantage * value;
                    divergence += kl;
                    slopes.push(((self.settings.kl * slope - advantage) / count) as f32);
                }
            }
            network.backward(ws, &part.batch, tape, &slopes, gradients);
            tokens += part.batch.tokens();
        }
        let mut metrics = vec![("reward", rewards.iter().sum::<f64>() / count)];
        if self.reference.is_some() {
            metrics.push(("divergence", divergence / count));
        }
        Ok(Learned { loss: loss / count, tokens, metrics })
    }

    /// Minus the mean reward of all prompts' answers.
    fn evaluate(&self, network: &Network, ws: &mut Workspace) -> Result<f64, TrainError> {
        let units: Vec<usize> = (0..self.units()).collect();
        let policy = snapshot(&self.model, network, ws)?;
        let rollouts = self.rollouts(&policy, &units, self.seed(network, &units))?;
        Ok(-rollouts.iter().map(|rollout| rollout.reward).sum::<f64>() / rollouts.len().max(1) as f64)
    }
}
