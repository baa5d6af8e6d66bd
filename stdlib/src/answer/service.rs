//! Answers to requests that come and go: the part of a server that knows models and nothing of networks.
//!
//! One thread runs [`serve`]; others make [`Request`]s and are told of each token through a [`Sink`] of theirs. An answer depends on
//! the model, its request and its seed alone: it is the one that [`answers`](super::answers) gives, whatever else is asked.

use std::sync::Arc;

use evo_kernels::decode::{Choose, Continuous, DecodeError, Encoder, Pooling, Sampler, Serve, log_probability};
use evo_kernels::rng::Stream;

use super::form::Holder;
use super::write::Writer;
use super::{Answering, Ended};
use crate::model::{Model, Place, Tokenizer};
use crate::task::TaskError;

/// A token with the log-probability that the model gives it.
#[derive(Clone, Debug, PartialEq)]
pub struct Weighed {
    /// The token.
    pub id: u32,
    /// In nats, of the model's own distribution: before temperature, penalties and forms. None for the first token of a prompt.
    pub logprob: Option<f32>,
    /// The likeliest tokens in its place, the likeliest first.
    pub top: Vec<(u32, f32)>,
}

/// Who waits for an answer.
pub trait Sink: Send + Sync {
    /// What the model makes of the prompt's tokens, of a request that reads them; once, before the answer.
    fn prompt(&mut self, tokens: Vec<Weighed>);

    /// A token, with the text that has become certain by it; text may be empty, and ends before a stop text.
    fn more(&mut self, text: &str, token: Weighed);

    /// The answer is at its end, with the rest of its text.
    fn end(&mut self, rest: &str, ended: Result<Ended, TaskError>);

    /// Whether it is waited for still.
    fn is_wanted(&self) -> bool;
}

/// A prompt that is to be answered.
pub struct Request {
    prompt: Vec<u32>,
    max_tokens: usize,
    how: Answering,
    number: u64,
    holder: Option<Holder>,
    /// How many of the likeliest tokens are told with each.
    top: Option<usize>,
    /// Whether the prompt is read too.
    reads_prompt: bool,
    sink: Box<dyn Sink>,
}

impl Request {
    /// At most `max_tokens` tokens after `prompt`. The draws are those of answer `number` with `how`'s seed.
    ///
    /// # Errors
    /// [`TaskError::Decode`] for a prompt that with its answer outgrows the model, or is none of its vocabulary's;
    /// [`TaskError::Form`] for a form that it cannot write.
    pub fn new(
        model: &Model,
        prompt: Vec<u32>,
        max_tokens: usize,
        (how, number): (Answering, u64),
        sink: Box<dyn Sink>,
    ) -> Result<Self, TaskError> {
        let (length, limit) = (prompt.len().saturating_add(max_tokens), model.config.max_positions);
        if prompt.is_empty() {
            return Err(DecodeError::EmptyPrompt.into());
        }
        if length > limit {
            return Err(DecodeError::TooLong { length, limit }.into());
        }
        let vocab_size = model.config.decoder.vocab_size;
        if let Some(&id) = prompt.iter().find(|&&id| id as usize >= vocab_size) {
            return Err(DecodeError::TokenRange { id, vocab_size }.into());
        }
        let holder = match &how.form {
            Some(form) => Some(form.holder(model.require_tokenizer()?.vocabulary()?)?),
            None => None,
        };
        Ok(Self { prompt, max_tokens, how, number, holder, top: None, reads_prompt: false, sink })
    }

    /// Tells the log-probability of each token, and the `top` likeliest tokens in its place.
    #[must_use]
    pub fn weighed(self, top: usize) -> Self {
        Self { top: Some(top), ..self }
    }

    /// Tells of the prompt's tokens too.
    #[must_use]
    pub fn reading_prompt(self) -> Self {
        Self { reads_prompt: true, ..self }
    }
}

/// What a server is asked to do.
pub enum Work {
    /// To answer.
    Answer(Box<Request>),
    /// To give each text a vector of length one: its tokens' mean.
    Embed(Vec<Vec<u32>>, Reply),
}

/// Takes the vectors of some texts.
pub type Reply = Box<dyn FnOnce(Result<Vec<Vec<f32>>, TaskError>) + Send>;

/// What is done, for those who watch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Answers that wait for a place.
    pub waiting: usize,
    /// Answers that are being written.
    pub open: usize,
    /// Tokens of prompts that were run, since it began.
    pub prompt_tokens: u64,
    /// Tokens of prompts that others' work has spared.
    pub spared_tokens: u64,
    /// Tokens of answers.
    pub chosen_tokens: u64,
}

/// Does what `next` brings, until it brings nothing more. `next` may wait if there is nothing to do ([`Load::waiting`] and
/// [`Load::open`] are 0), and must not otherwise.
///
/// # Errors
/// [`TaskError::Model`] without a tokenizer or for weights that make no decoder; [`TaskError::Decode`] if the device fails.
pub fn serve(model: &Model, place: &Place, mut next: impl FnMut(&Load) -> Option<Vec<Work>>) -> Result<(), TaskError> {
    let tokenizer = model.require_tokenizer()?;
    let ends = model.stop_ids();
    let mut serving = match model.config.causal {
        true => Some(Continuous::new(model.decoder(place.clone())?, place.threads)),
        false => None,
    };
    let mut encoder = None;
    let mut load = Load::default();
    while let Some(work) = next(&load) {
        for work in work {
            match (work, &mut serving) {
                (Work::Answer(request), Some(serving)) => {
                    let (prompt, max_tokens) = (request.prompt.clone(), request.max_tokens);
                    serving.admit(prompt, max_tokens, Served::new(*request, tokenizer, &ends))?;
                }
                (Work::Answer(mut request), None) => {
                    let model_type = model.config.model_type.clone();
                    let error = crate::model::ModelError::NoDecoder { model: model.name.clone(), model_type };
                    request.sink.end("", Err(error.into()));
                }
                (Work::Embed(texts, reply), _) => reply(embed(model, &mut encoder, &texts, place)),
            }
        }
        let Some(serving) = &mut serving else { continue };
        let stepped = serving.step()?;
        stepped.ended.into_iter().for_each(Served::finish);
        (load.waiting, load.open) = serving.sequences();
        load.prompt_tokens += stepped.prompt_tokens as u64;
        load.spared_tokens += stepped.spared_tokens as u64;
        load.chosen_tokens += stepped.chosen_tokens as u64;
    }
    Ok(())
}

/// A vector for each text, by an encoder that is made when it is first needed.
fn embed(
    model: &Model,
    encoder: &mut Option<Encoder>,
    texts: &[Vec<u32>],
    place: &Place,
) -> Result<Vec<Vec<f32>>, TaskError> {
    let encoder = match encoder {
        Some(encoder) => encoder,
        None => encoder.insert(model.encoder(Pooling::Mean, true, place.clone())?),
    };
    let texts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
    let vectors = encoder.embed(&texts, place.threads)?;
    Ok(vectors.chunks_exact(encoder.size()).map(<[f32]>::to_vec).collect())
}

/// An answer that is being written.
struct Served<'a> {
    writer: Writer<'a>,
    shown: Shown,
    prompt: Vec<u32>,
    weighed: Vec<Weighed>,
    top: Option<usize>,
    reads_prompt: bool,
    sink: Box<dyn Sink>,
}

impl<'a> Served<'a> {
    fn new(request: Request, tokenizer: &'a Tokenizer, ends: &'a [u32]) -> Self {
        let Request { prompt, how, number, holder, top, reads_prompt, sink, .. } = request;
        let stream = Stream::from_seed(how.seed).at(number);
        let sampler = Sampler::new(how.sampling, ends, stream, &prompt);
        let stop: Arc<[String]> = how.stop.into();
        let writer = Writer::new(sampler, holder, tokenizer, stop);
        let first = prompt.first().map(|id| Weighed { id: *id, logprob: None, top: Vec::new() });
        let weighed = first.filter(|_| reads_prompt).into_iter().collect();
        Self { writer, shown: Shown::default(), prompt, weighed, top, reads_prompt, sink }
    }

    /// Tells of the whole prompt, before anything else.
    fn tell_prompt(&mut self) {
        if !self.weighed.is_empty() {
            self.sink.prompt(std::mem::take(&mut self.weighed));
        }
    }

    fn finish(mut self) {
        self.tell_prompt();
        match self.writer.finish() {
            Ok(answer) => {
                let rest = answer.text.strip_prefix(self.shown.text.as_str()).unwrap_or_default();
                self.sink.end(rest, Ok(answer.ended));
            }
            Err(error) => self.sink.end("", Err(error)),
        }
    }
}

impl Choose for Served<'_> {
    fn choose(&mut self, logits: &mut [f32]) -> Option<u32> {
        self.tell_prompt();
        let own = self.top.map(|top| (logits.to_vec(), top));
        let id = self.writer.choose(logits)?;
        let token = match own {
            Some((logits, top)) => weigh(id, &logits, top),
            None => Weighed { id, logprob: None, top: Vec::new() },
        };
        let text = self.shown.add(&self.writer);
        self.sink.more(&text, token);
        Some(id)
    }
}

impl Serve for Served<'_> {
    type Row = Weighed;

    fn reads_prompt(&self) -> bool {
        self.reads_prompt
    }

    fn digest(&self, position: usize, logits: &[f32]) -> Weighed {
        let id = self.prompt.get(position + 1).copied().unwrap_or_default();
        weigh(id, logits, self.top.unwrap_or(0))
    }

    fn read(&mut self, rows: Vec<Weighed>) {
        self.weighed.extend(rows);
    }

    fn is_wanted(&self) -> bool {
        self.sink.is_wanted()
    }
}

fn weigh(id: u32, logits: &[f32], top: usize) -> Weighed {
    let (logprob, top) = log_probability(logits, id, top);
    Weighed { id, logprob: Some(logprob), top }
}

/// The text of an answer that was shown so far: tokens may be parts of characters, and stop texts are never shown.
#[derive(Debug, Default)]
struct Shown {
    text: String,
    /// Certain, but perhaps the beginning of a stop text.
    held: String,
    /// The ids whose text was taken begin the text of the next ones here.
    from: usize,
    to: usize,
}

impl Shown {
    /// The text that has become certain by the latest id.
    fn add(&mut self, writer: &Writer<'_>) -> String {
        // A token's text depends on the one before it: by a space, for instance.
        let text = |ids: Option<&[u32]>| writer.tokenizer.decode(ids.unwrap_or_default(), true).unwrap_or_default();
        let before = text(writer.ids.get(self.from..self.to));
        let now = text(writer.ids.get(self.from..));
        if now.ends_with('\u{fffd}') {
            return String::new();
        }
        let Some(new) = now.strip_prefix(before.as_str()) else { return String::new() };
        (self.from, self.to) = (self.to, writer.ids.len());
        self.held.push_str(new);
        let certain = self.held.len() - writer.may_be_stop(&self.held);
        let shown: String = self.held.drain(..certain).collect();
        self.text.push_str(&shown);
        shown
    }
}
