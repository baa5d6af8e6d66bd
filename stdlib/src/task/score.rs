//! A task and its evaluation.

use std::sync::Arc;

use evo_kernels::decode::Texts;

use super::choices::{Choices, Options};
use super::passes::{Frame, tried};
use super::{Extract, Filtered, Passes, TaskError, Tongue, Trial, Trials};
use crate::answer::{Answer, Answering, answers};
use crate::data::{Data, Template};
use crate::model::{Model, Place};

/// How answers are scored.
#[derive(Debug, Clone, PartialEq)]
pub enum Method {
    /// The share of rows whose answer, of at most `max_tokens` tokens, is the expected one: 0 to 1.
    ExactMatch {
        /// The longest answer, in tokens.
        max_tokens: usize,
        /// What of both texts is compared.
        extract: Extract,
        /// What language an answer must be in to count, if any.
        language: Option<Tongue>,
        /// How answers are written.
        by: Answering,
    },
    /// The log-probability (in nats) of the expected answer's tokens given the prompt, divided by their number, averaged over
    /// rows: at most 0. The end token is one of them, so that a model must also know where the answer ends, as
    /// `exact_match` asks of it; `end: false` leaves it out.
    Likelihood {
        /// Whether the model's end token counts.
        end: bool,
    },
    /// The share of rows for whose right choice the model has the highest log-likelihood given the prompt: 0 to 1. See
    /// [`Choices`].
    MultipleChoice(Choices),
    /// The share of rows whose answer, filtered, is the expected one: 0 to 1. See [`Filtered`].
    Filtered(Box<Filtered>),
    /// The share of problems that a program which the model writes solves, or the chance of it among `k`: 0 to 1.
    Passes(Box<Passes>),
}

impl Method {
    /// The tokens of the longest answer, of a method whose answers are written.
    pub fn max_tokens(&self) -> Option<usize> {
        match self {
            Self::ExactMatch { max_tokens, .. } => Some(*max_tokens),
            Self::Filtered(filtered) => Some(filtered.max_tokens),
            Self::Passes(passes) => Some(passes.max_tokens),
            Self::Likelihood { .. } | Self::MultipleChoice(_) => None,
        }
    }
}

/// What a model is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// The rows.
    pub data: Data,
    /// The prompt of a row.
    pub prompt: Template,
    /// The expected answer of a row.
    pub expected: Template,
    /// How answers are scored.
    pub method: Method,
}

/// A task in the tokens of a tokenizer. Cloning shares the texts, by which models that are asked them share what they compute.
#[derive(Debug, Clone)]
pub struct Prepared {
    method: Method,
    /// Of methods whose answers are written.
    prompts: Vec<Vec<u32>>,
    /// Of `exact_match`.
    expected: Vec<String>,
    choices: Vec<Options>,
    /// Of programs, with what runs them.
    frames: Vec<Frame>,
    trials: Option<Arc<dyn Trials>>,
    /// What log-probabilities are asked of: each row's answer, each row's choices, or, of `exact_match`, the first row's answer.
    texts: Arc<Texts>,
    /// The longest row with its answer, and how many tokens that is.
    longest: (usize, usize),
}

impl Prepared {
    fn new(method: Method, texts: Arc<Texts>) -> Self {
        let (prompts, expected, choices, frames) = Default::default();
        Self { method, prompts, expected, choices, frames, trials: None, texts, longest: (0, 0) }
    }

    /// Whether both are one and the same, so that models which are asked them can share what they compute.
    pub fn shares_texts(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.texts, &other.texts)
    }

    /// The same, with what runs programs that models write.
    #[must_use]
    pub fn with_trials(self, trials: Option<Arc<dyn Trials>>) -> Self {
        Self { trials, ..self }
    }

    /// The tokens of the longest answer, of a task whose answers are written.
    pub fn max_tokens(&self) -> Option<usize> {
        self.method.max_tokens()
    }

    /// The prompts in tokens, of a task whose answers are written.
    pub fn prompts(&self) -> &[Vec<u32>] {
        &self.prompts
    }

    /// The score of a row's answer, of a task whose answers are written; 0 of others.
    ///
    /// # Errors
    /// [`TaskError::Untried`] and [`TaskError::Unfit`] of programs.
    pub fn grade(&self, row: usize, answer: &str) -> Result<f64, TaskError> {
        let is_right = match &self.method {
            Method::ExactMatch { extract, language, .. } => {
                let found = extract.apply(answer);
                let is_expected = |expected: &String| found == extract.of_expected(expected);
                found.is_some()
                    && self.expected.get(row).is_some_and(is_expected)
                    && language.is_none_or(|language| language.is_of(answer))
            }
            Method::Filtered(filtered) => self.expected.get(row).is_some_and(|gold| filtered.is_right(answer, gold)),
            Method::Passes(passes) => {
                let trials: Vec<Trial> =
                    self.frames.get(row).map(|frame| passes.trial(frame, answer)).into_iter().collect();
                let verdicts = tried(self.trials()?.as_ref(), &trials, 1, None).map_err(|error| error.of_row(row))?;
                verdicts == [true]
            }
            Method::Likelihood { .. } | Method::MultipleChoice(_) => false,
        };
        Ok(f64::from(is_right))
    }

    fn trials(&self) -> Result<&Arc<dyn Trials>, TaskError> {
        self.trials.as_ref().ok_or_else(|| TaskError::Untried { why: "nothing is there to run them in".into() })
    }
}

/// The result of one row.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The row's score.
    pub score: f64,
    /// The generated text, of `exact_match`; the choice that the model holds the likeliest, of `multiple_choice`.
    pub answer: Option<String>,
}

/// The result of a task.
#[derive(Debug, Clone, PartialEq)]
pub struct Score {
    /// The mean over rows; higher is better.
    pub value: f64,
    /// Each row's result, in the order of the data.
    pub records: Vec<Record>,
}

impl Task {
    /// The same questions and method on other data.
    ///
    /// # Errors
    /// [`TaskError::Data`] if the data lacks a template's column.
    pub fn on(&self, data: Data) -> Result<Task, TaskError> {
        let task = Task { data, ..self.clone() };
        task.check()?;
        Ok(task)
    }

    /// Whether there are rows and the templates' columns exist: what can be known without a model.
    ///
    /// # Errors
    /// [`TaskError::Empty`], [`TaskError::Data`].
    pub fn check(&self) -> Result<(), TaskError> {
        self.prompt.check(&self.data)?;
        self.expected.check(&self.data)?;
        match &self.method {
            Method::MultipleChoice(choices) => choices.check(&self.data)?,
            Method::Passes(passes) => passes.check(&self.data)?,
            Method::ExactMatch { .. } | Method::Filtered(_) | Method::Likelihood { .. } => {}
        }
        if self.data.is_empty() {
            return Err(TaskError::Empty);
        }
        Ok(())
    }

    /// The task in the tokens of `model`'s tokenizer, good for every model with this tokenizer and these stop tokens.
    ///
    /// Prompt and answer are tokenised apart, the prompt with the tokenizer's own special tokens, as training does.
    ///
    /// # Errors
    /// As [`Task::check`]; [`TaskError::Model`] without a tokenizer, [`TaskError::NoTokens`].
    pub fn prepare(&self, model: &Model) -> Result<Prepared, TaskError> {
        self.check()?;
        let tokenizer = model.require_tokenizer()?;
        let expected = self.expected.render_all(&self.data)?;
        let encode = |row: usize, text: &str, special, what| match tokenizer.encode(text, special)? {
            ids if ids.is_empty() => Err(TaskError::NoTokens { row, what }),
            ids => Ok(ids),
        };
        let all = |texts: &[String], special, what| -> Result<Vec<Vec<u32>>, TaskError> {
            texts.iter().enumerate().map(|(row, text)| encode(row, text, special, what)).collect()
        };
        let prompts = all(&self.prompt.render_all(&self.data)?, true, "prompt")?;
        let method = self.method.clone();
        if let Method::MultipleChoice(choices) = &self.method {
            let choices = choices.options(&self.data, &expected, &|row, text| encode(row, text, false, "choice"))?;
            // All choices of a prompt go on from one computation of it.
            let rows = prompts.iter().zip(&choices);
            let texts = Texts::new(rows.flat_map(|(p, options)| pairs(std::iter::repeat(p), &options.tokens)));
            let most = |options: &Options| options.tokens.iter().map(Vec::len).max().unwrap_or(0);
            let longest = longest(prompts.iter().zip(&choices).map(|(prompt, options)| prompt.len() + most(options)));
            let texts = Arc::new(texts);
            return Ok(Prepared { choices, longest, ..Prepared::new(method, texts) });
        }
        if let Method::Passes(passes) = &self.method {
            let frames = passes.frames(&self.data)?;
            let longest = longest(prompts.iter().map(|prompt| prompt.len().saturating_add(passes.max_tokens)));
            // Whether the weights make a probability is seen by the first prompt's own last token.
            let first = prompts.iter().take(1).filter_map(|prompt| prompt.split_at_checked(prompt.len() - 1));
            let texts = Arc::new(Texts::new(first.filter(|(before, _)| !before.is_empty())));
            return Ok(Prepared { prompts, frames, longest, ..Prepared::new(method, texts) });
        }
        let mut answers = all(&expected, false, "expected answer")?;
        if self.method == (Method::Likelihood { end: true }) {
            let end = model.stop_ids().first().copied();
            answers.iter_mut().for_each(|answer| answer.extend(end));
        }
        let room = |answer: &Vec<u32>| self.method.max_tokens().unwrap_or(answer.len());
        let longest =
            longest(prompts.iter().zip(&answers).map(|(prompt, answer)| prompt.len().saturating_add(room(answer))));
        let asked = if self.method.max_tokens().is_some() { 1 } else { answers.len() };
        let texts = Arc::new(Texts::new(pairs(&prompts, &answers).take(asked)));
        Ok(Prepared { prompts, expected, longest, ..Prepared::new(method, texts) })
    }
}

/// The score of `model` on a task that was prepared for a model with the same tokenizer.
///
/// # Errors
/// [`TaskError::Model`] for weights that make no decoder, [`TaskError::TooLong`] for a row that outgrows the model,
/// [`TaskError::NotFinite`] for weights that make no probability. Greedy answers tell nothing of that, so `exact_match` asks for
/// the first row's log-probability too.
pub fn score(model: &Model, task: &Prepared, place: impl Into<Place>) -> Result<Score, TaskError> {
    let place = &place.into();
    let ((row, tokens), limit) = (task.longest, model.config.max_positions);
    if tokens > limit {
        return Err(TaskError::TooLong { row, tokens, limit });
    }
    let records = match &task.method {
        Method::ExactMatch { max_tokens, by, .. } => {
            likelihood(model, task, place)?;
            exact_match(model, task, (*max_tokens, by), place)?
        }
        Method::Filtered(filtered) => {
            likelihood(model, task, place)?;
            exact_match(model, task, (filtered.max_tokens, &filtered.by), place)?
        }
        Method::Passes(passes) => {
            likelihood(model, task, place)?;
            passes.score(model, (&task.prompts, &task.frames), task.trials()?, place)?
        }
        Method::Likelihood { .. } => likelihood(model, task, place)?,
        Method::MultipleChoice(_) => multiple_choice(model, task, place)?,
    };
    let value = records.iter().map(|record| record.score).sum::<f64>() / records.len() as f64;
    Ok(Score { value, records })
}

/// The longest row, and its length.
fn longest(lengths: impl Iterator<Item = usize>) -> (usize, usize) {
    lengths.enumerate().fold((0, 0), |best, row| if row.1 > best.1 { row } else { best })
}

/// Prompts with what comes after them.
fn pairs<'a>(
    prompts: impl IntoIterator<Item = &'a Vec<u32>>,
    answers: &'a [Vec<u32>],
) -> impl Iterator<Item = (&'a [u32], &'a [u32])> {
    prompts.into_iter().zip(answers).map(|(prompt, answer)| (prompt.as_slice(), answer.as_slice()))
}

/// The log-probabilities of the answers.
fn likelihood(model: &Model, task: &Prepared, place: &Place) -> Result<Vec<Record>, TaskError> {
    let rows = model.decoder(place.clone())?.likelihoods(&task.texts, place.threads)?;
    rows.into_iter()
        .enumerate()
        .map(|(row, tokens)| {
            let score = tokens.iter().map(|&l| f64::from(l)).sum::<f64>() / tokens.len() as f64;
            if score.is_finite() {
                Ok(Record { score, answer: None })
            } else {
                Err(TaskError::NotFinite { row, value: score })
            }
        })
        .collect()
}

/// Which choices are the likeliest.
fn multiple_choice(model: &Model, task: &Prepared, place: &Place) -> Result<Vec<Record>, TaskError> {
    let mut logprobs = model.decoder(place.clone())?.likelihoods(&task.texts, place.threads)?.into_iter();
    let rows = task.choices.iter().enumerate().map(|(row, options)| {
        let of_row = logprobs.by_ref().take(options.tokens.len());
        let sums: Vec<f64> = of_row.map(|tokens| tokens.iter().map(|&l| f64::from(l)).sum()).collect();
        if let Some(&value) = sums.iter().find(|sum| !sum.is_finite()) {
            return Err(TaskError::NotFinite { row, value });
        }
        let chosen = options.chosen(&sums);
        let answer = options.texts.get(chosen).cloned();
        Ok(Record { score: f64::from(chosen == options.right), answer })
    });
    rows.collect()
}

fn exact_match(
    model: &Model,
    task: &Prepared,
    (max_tokens, by): (usize, &Answering),
    place: &Place,
) -> Result<Vec<Record>, TaskError> {
    let answers = answers(model, &task.prompts, max_tokens, by, place.clone())?;
    let record = |(row, answer): (usize, Answer)| {
        Ok(Record { score: task.grade(row, &answer.text)?, answer: Some(answer.text) })
    };
    answers.into_iter().enumerate().map(record).collect()
}
