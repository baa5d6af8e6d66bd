//! Writing answers, many at once.

use std::sync::Arc;

use evo_kernels::decode::{Choose, Sampler, Sampling};
use evo_kernels::rng::Stream;

use super::form::Holder;
use super::{Form, FormError};
use crate::model::{Model, Place, Tokenizer};
use crate::task::TaskError;

/// How answers are written.
#[derive(Clone, Debug, PartialEq)]
pub struct Answering {
    /// How the next token is drawn.
    pub sampling: Sampling,
    /// Of the draws.
    pub seed: u64,
    /// Texts before the first of which an answer ends.
    pub stop: Vec<String>,
    /// The form that answers are held to.
    pub form: Option<Form>,
}

impl Answering {
    /// The most likely token each time.
    pub const GREEDY: Self = {
        let sampling = Sampling { temperature: 0.0, top_k: 0, top_p: 1.0, min_p: 0.0, repetition_penalty: 1.0 };
        Self { sampling, seed: 0, stop: Vec::new(), form: None }
    };
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its tokens, without the one that ended it.
    pub ids: Vec<u32>,
    /// Its text, up to a stop text.
    pub text: String,
    /// Why it is no longer.
    pub ended: Ended,
}

/// What ended an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The model.
    Model,
    /// A stop text.
    Stop,
    /// Its form is complete.
    Form,
    /// Its greatest length.
    Length,
}

/// The answer of at most `max_tokens` tokens to each prompt; draw `n` of prompt `i` depends on seed, `i` and `n` alone.
///
/// # Errors
/// [`TaskError::Model`] without a tokenizer or for weights that make no decoder, [`TaskError::Decode`] for a prompt that with
/// its answer outgrows the model, [`TaskError::Form`] for a form that the model cannot write.
pub fn answers(
    model: &Model,
    prompts: &[Vec<u32>],
    max_tokens: usize,
    how: &Answering,
    place: impl Into<Place>,
) -> Result<Vec<Answer>, TaskError> {
    let tokenizer = model.require_tokenizer()?;
    let ends = model.stop_ids();
    let holder = match &how.form {
        Some(form) => Some(form.holder(tokenizer.vocabulary()?)?),
        None => None,
    };
    let stream = Stream::from_seed(how.seed);
    let stop: Arc<[String]> = how.stop.clone().into();
    let writer = |(i, prompt): (usize, &Vec<u32>)| {
        let sampler = Sampler::new(how.sampling, &ends, stream.at(i as u64), prompt);
        Writer::new(sampler, holder.as_ref().map(Holder::fresh), tokenizer, stop.clone())
    };
    let mut writers: Vec<Writer<'_>> = prompts.iter().enumerate().map(writer).collect();
    let place = place.into();
    let threads = place.threads;
    model.decoder(place)?.generate(prompts, &mut writers, max_tokens, threads)?;
    writers.into_iter().map(Writer::finish).collect()
}

/// Writes one answer.
pub(super) struct Writer<'a> {
    sampler: Sampler<'a>,
    holder: Option<Holder>,
    pub(super) tokenizer: &'a Tokenizer,
    stop: Arc<[String]>,
    pub(super) ids: Vec<u32>,
    state: Result<Ended, TaskError>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(
        sampler: Sampler<'a>,
        holder: Option<Holder>,
        tokenizer: &'a Tokenizer,
        stop: Arc<[String]>,
    ) -> Self {
        Self { sampler, holder, tokenizer, stop, ids: Vec::new(), state: Ok(Ended::Length) }
    }

    /// How much at the end of `text` a stop text may begin with: what is not yet to be shown.
    pub(super) fn may_be_stop(&self, text: &str) -> usize {
        let begins = |n: &usize| {
            text.is_char_boundary(text.len() - n)
                && self.stop.iter().any(|stop| stop.len() > *n && stop.starts_with(&text[text.len() - n..]))
        };
        let longest = self.stop.iter().map(String::len).max().unwrap_or(0).min(text.len());
        (1..=longest).rev().find(begins).unwrap_or(0)
    }

    /// The next token, or what ends the answer.
    fn next(&mut self, logits: &mut [f32]) -> Result<Result<u32, Ended>, TaskError> {
        if let Some(holder) = &mut self.holder
            && !holder.limit(logits, self.sampler.stop)?
        {
            return Ok(Err(Ended::Form));
        }
        let Some(id) = self.sampler.choose(logits) else { return Ok(Err(Ended::Model)) };
        if let Some(holder) = &mut self.holder {
            holder.take(id)?;
        }
        self.ids.push(id);
        // A text of n bytes takes n tokens at most, and special ones have no text.
        let reach = self.stop.iter().map(String::len).max().map_or(0, |n| n + 4);
        let tail = self.ids.get(self.ids.len().saturating_sub(reach)..).unwrap_or_default();
        if reach > 0 && self.cut(&self.tokenizer.decode(tail, true)?).is_some() {
            return Ok(Err(Ended::Stop));
        }
        Ok(Ok(id))
    }

    /// Where the first stop text begins.
    fn cut(&self, text: &str) -> Option<usize> {
        self.stop.iter().filter_map(|stop| text.find(stop.as_str())).min()
    }

    pub(super) fn finish(mut self) -> Result<Answer, TaskError> {
        let ended = std::mem::replace(&mut self.state, Ok(Ended::Length))?;
        let mut text = self.tokenizer.decode(&self.ids, true)?;
        if let Some(end) = self.cut(&text) {
            text.truncate(end);
        }
        Ok(Answer { text, ids: self.ids, ended })
    }
}

impl Choose for Writer<'_> {
    fn choose(&mut self, logits: &mut [f32]) -> Option<u32> {
        match self.next(logits) {
            Ok(Ok(id)) => Some(id),
            Ok(Err(ended)) => {
                self.state = Ok(ended);
                None
            }
            Err(error) => {
                self.state = Err(error);
                None
            }
        }
    }
}

impl From<FormError> for TaskError {
    fn from(error: FormError) -> Self {
        match error {
            FormError::Model(error) => TaskError::Model(error),
            other => TaskError::Form(other),
        }
    }
}
