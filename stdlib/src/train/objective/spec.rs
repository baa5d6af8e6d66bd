//! Objectives as programs name them, before there are a model and data.

use crate::data::{Data, Template};
use crate::loss::{Loss, PairLoss};
use crate::model::{Model, Place};
use crate::train::{TrainError, Turns, chat_examples, conversations, examples, two_turns};

use super::{Classification, Distillation, NextToken, Objective, PairTemplates, Pairs, Preference};

/// What is to be learned.
#[derive(Clone)]
pub enum ObjectiveSpec {
    /// The next token of answers, or of prompts too.
    NextToken {
        /// Whether prompts are learned too.
        prompts: bool,
    },
    /// What the assistant says in conversations.
    Chat {
        /// The column of conversations; without one a prompt and an answer make up each.
        messages: Option<String>,
        /// Which of the assistant's turns.
        turns: Turns,
    },
    /// The better of two answers.
    Preference {
        /// The loss of a pair.
        loss: Loss,
        /// What log-ratios are multiplied by.
        beta: f64,
        /// What the policy is held against; by default the model that is trained, as it begins.
        reference: Option<Model>,
        /// The templates of a pair.
        templates: PairTemplates,
    },
    /// What a teacher says comes next.
    Distill {
        /// Who knows better.
        teacher: Model,
        /// What logits are divided by.
        temperature: f64,
        /// The share of the teacher in the loss; that of the tokens is the rest.
        weight: f64,
    },
    /// Which of these texts is the answer.
    Classify {
        /// The texts.
        labels: Vec<String>,
    },
}

impl ObjectiveSpec {
    /// The word that makes it in a program.
    pub fn name(&self) -> &'static str {
        match self {
            Self::NextToken { .. } => "next_token",
            Self::Chat { .. } => "chat",
            Self::Preference { .. } => "preference",
            Self::Distill { .. } => "distill",
            Self::Classify { .. } => "classify",
        }
    }

    /// The objective for training `model` on `data`, whose rows give a prompt and an expected answer by these templates, unless
    /// the objective has templates of its own. All rows are tokenised and checked here.
    ///
    /// # Errors
    /// [`TrainError`] for the first row that cannot be learned.
    pub fn prepare(
        &self,
        model: &Model,
        data: &Data,
        (prompt, expected): (&Template, &Template),
        place: &Place,
    ) -> Result<Box<dyn Objective>, TrainError> {
        let rows = || examples(model, data, prompt, expected);
        Ok(match self {
            Self::NextToken { prompts } => {
                let mut rows = rows()?;
                if *prompts {
                    rows.iter_mut().for_each(|row| row.learned.iter_mut().skip(1).for_each(|learned| *learned = true));
                }
                Box::new(NextToken::new(rows)?)
            }
            Self::Chat { messages, turns } => {
                let chats = match messages {
                    Some(column) => conversations(data, column)?,
                    None => two_turns(data, prompt, expected)?,
                };
                Box::new(NextToken::new(chat_examples(model, &chats, *turns)?)?)
            }
            Self::Preference { loss, beta, reference, templates } => {
                let loss = PairLoss::new(loss, *beta).map_err(|failure| TrainError::Loss(Box::new(failure)))?;
                let pairs = Pairs::new(model, data, templates)?;
                let reference = reference.as_ref().unwrap_or(model);
                Box::new(Preference::new(model, pairs, (loss, *beta), reference, place)?)
            }
            Self::Distill { teacher, temperature, weight } => {
                let settings = (*temperature, *weight);
                Box::new(Distillation::new(model, rows()?, teacher, settings, place.threads)?)
            }
            Self::Classify { labels } => {
                let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
                Box::new(Classification::new(model, data, (prompt, expected), &labels)?)
            }
        })
    }
}
